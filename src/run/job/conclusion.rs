//! The end of a run, however it ends: its cause, its report, and the order of what follows it. What follows is in `run::conclude`.

use std::{collections::BTreeMap, path::PathBuf};

use super::{Job, request::Outcome};
use crate::{
    check,
    layer::{self, LayerError},
    model::Dt,
    net::redact,
    report::{self, Status},
    run::{RunError, conclude, observer::StageName, outside::refuse_metrics_inside_layer},
    store::LockError,
};

impl Job<'_> {
    /// The outcome, however the run ended. Its report is kept if the run has the output, or if another run holds it.
    pub(super) fn conclude(mut self, error: Option<RunError>) -> Outcome {
        // Once: of an attempt that another run was faster than, the log says nothing.
        check::log_failures(&self.summary.checks);
        self.clock.leave();
        self.count_so_far();
        let _span = tracing::info_span!("stage", stage = <&str>::from(StageName::Report)).entered();
        let published = matches!(error, Some(RunError::ChecksFailed { published: true, .. }));
        if let Some(error) = &error {
            self.summary.status = error.status();
            self.summary.error = Some(redact::text(&error.to_string()).into_owned());
            if !published {
                // The summary of a run that publishes nothing names no partition as written.
                self.summary.partitions_written.clear();
                self.summary.partitions_removed.clear();
                self.summary.order_totals_changed.clear();
                self.summary.refunds_changed.clear();
                self.summary.commit = None;
                self.summary.raw = None;
            }
        }
        let success = error.is_none();
        if self.lease.is_some() {
            let verdict = match self.verdict.take().filter(|_| success || published) {
                Some(verdict) => verdict,
                None => {
                    let (lease, ended) = (self.lease.as_ref(), conclude::ended(error.as_ref()));
                    let facts = self.facts().unwrap_or_else(|unread| {
                        conclude::warn_unread(ended, &unread, "the partitions can't be listed: alerts do not look at their rows");
                        BTreeMap::new()
                    });
                    conclude::judge(self.settings, &self.output, lease, &mut self.summary, ended, &facts)
                }
            };
            if !self.settings.dry_run {
                conclude::tell(self.settings, &self.output, self.lease.as_ref(), &mut self.summary, verdict);
            }
        }
        if let Some(RunError::Lock(LockError::Held { holder: Some(holder), .. })) = &error {
            conclude::judge_holder(self.settings, &self.output, &mut self.summary, holder);
        }
        let is_recorded = self.lease.is_some() || self.summary.status == Status::Locked;
        // The report of a run that is decided stands in its commit.
        let is_decided = error.as_ref().is_some_and(RunError::is_unfinished_publish);
        // Written again in a bucket only if the notices after the commit have told something new.
        let stands_in_commit = self.output.folder().is_none()
            && self.summary.commit.is_some()
            && self.summary.deliveries_failed.is_empty()
            && self.summary.recovered.is_empty();
        let is_written = is_recorded && !is_decided && !stands_in_commit && !self.settings.dry_run;
        let may_be_committed = error.as_ref().is_some_and(RunError::is_unknown_commit);
        let write = if may_be_committed { report::write_report_unless_told } else { report::write_report };
        if is_written && let Err(error) = write(&self.output, &self.summary) {
            tracing::warn!(%error, "the report of the run could not be written");
        }
        // Also of a run that could not open its output: a rule on the metrics must see that runs fail.
        if !self.settings.dry_run && refuse_metrics_inside_layer(self.settings, &self.output).is_ok() {
            conclude::write_metrics(&self.settings.metrics, &self.output, &self.summary);
        }
        if self.lease.is_some() && success && !self.settings.dry_run {
            conclude::retain(self.settings, &self.output, &self.summary);
        }
        Outcome { summary: self.summary, error, diff: self.diff }
    }

    /// The stored partitions.
    fn facts(&self) -> Result<BTreeMap<Dt, PathBuf>, LayerError> {
        let files = layer::stored_partition_files(&self.output)?;
        Ok(files.into_iter().map(|(dt, key)| (dt, self.output.at(key))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cancel::{Cancel, Stop},
        run::stopped_or,
        settings::SettingsError,
        store::StoreError,
    };

    fn refused() -> Box<StoreError> {
        Box::new(StoreError::io("rename", "curated")(std::io::ErrorKind::StorageFull.into()))
    }

    fn unfinished() -> RunError {
        StoreError::Unfinished { run_id: "one".into(), source: refused() }.into()
    }

    fn unknown() -> RunError {
        StoreError::UnknownCommit { run_id: "one".into(), source: refused() }.into()
    }

    fn checks() -> RunError {
        RunError::ChecksFailed { names: vec!["own".into()], published: false }
    }

    fn other() -> RunError {
        RunError::Internal("a thread has died".into())
    }

    #[test]
    fn a_signal_is_the_cause_unless_a_check_failed_or_the_run_may_be_committed() {
        let cancel = Cancel::default();
        let codes = || [other(), checks(), unfinished(), unknown()].map(|error| stopped_or(&cancel, error).exit_code());
        assert_eq!(codes(), [1, 4, 5, 5]);
        cancel.stop(Stop::Interrupt);
        assert_eq!(codes(), [130, 4, 5, 5]);
        assert!(stopped_or(&cancel, unfinished()).to_string().contains("next"), "the next command finishes it");
    }

    #[test]
    fn an_exit_code_has_its_status() {
        let no_orders = RunError::from(SettingsError::NoOrders);
        assert_eq!((no_orders.exit_code(), no_orders.status()), (2, Status::InvalidConfiguration));
        assert_eq!(RunError::ChecksFailed { names: Vec::new(), published: true }.status(), Status::ChecksFailed);
    }
}
