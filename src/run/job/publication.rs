//! Publishes a checked run, and compares it with the stored layer where that is asked for. How a publish is decided is in `run::publish`.

use std::collections::BTreeMap;

use super::{Job, lineage};
use crate::{
    layer::OpenedLayer,
    report::Status,
    run::{
        self, RunError,
        diff::{self, LayerDiff},
        observer::{RunClock, StageName},
        publish::{PublishError, Publisher, RunCoverage},
        staged_run::{CheckedRun, StagedRun},
    },
    store::{self, ObjectRef, Staging},
};

impl Job<'_> {
    /// Publishes a checked run. Gives it back if another run was committed first.
    pub(super) fn publish(
        &mut self,
        mut checked: CheckedRun,
        base: &OpenedLayer,
        staging: &mut Staging,
        coverage: RunCoverage,
    ) -> Result<Option<CheckedRun>, RunError> {
        if self.request.cancel.is_stopped() {
            return Err(run::interrupted(self.request.cancel));
        }
        let failed = checked.failed.clone();
        let publishes = !self.settings.dry_run;
        if let Some(limit) = self.request.diff {
            self.diff = Some(self.compare(&checked.staged, staging, limit)?);
        }
        self.summary.status = match (self.settings.dry_run, checked.staged.has_changes()) {
            (true, _) => Status::DryRun,
            (false, true) => Status::Published,
            (false, false) => Status::Unchanged,
        };
        if publishes {
            self.enter(StageName::Publish);
            self.count_so_far();
            let (settings, output, cancel) = (self.settings, &self.output, self.request.cancel);
            let clock = RunClock { began: self.began, stages: &self.clock, waited: self.waited };
            let publisher = Publisher { settings, output, lease: self.lease.as_ref(), cancel, clock };
            match publisher.publish(&mut checked, base, staging, coverage, &mut self.summary) {
                Ok(verdict) => self.verdict = Some(verdict),
                Err(PublishError::Moved) => return Ok(Some(checked)),
                Err(PublishError::Failed(error)) => return Err(error),
            }
            self.written = self.settings.lineage.is_some().then(|| lineage::written(&checked.staged));
            tracing::info!(status = self.summary.status.as_str(), partitions = self.summary.partitions_written.len(), "done");
        }
        if failed.is_empty() { Ok(None) } else { Err(RunError::ChecksFailed { names: failed, published: publishes }) }
    }

    /// What the run changes, row by row.
    fn compare(&self, staged: &StagedRun, staging: &Staging, limit: usize) -> Result<LayerDiff, RunError> {
        let staged_files: BTreeMap<_, _> = staging.installed().into_iter().map(|put| (put.version.object.clone(), put.key)).collect();
        let found: BTreeMap<_, _> = staged.catalog.found().iter().map(|(key, version)| (version.object.clone(), key.clone())).collect();
        let read = |version: &ObjectRef| match (staged_files.get(&version.object), found.get(&version.object)) {
            (Some(key), _) => Ok(store::read(&staging.staged(key))?.unwrap_or_default()),
            (None, Some(key)) => Ok(self.output.read(key)?.unwrap_or_default()),
            (None, None) => Ok(self.output.read_version(version)?),
        };
        diff::compare(&staged.catalog.state, &staged.next, limit, &read)
    }
}
