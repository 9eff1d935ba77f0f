//! Publishes a checked run: stages its manifests, index, prices and report, and commits everything as one step.
//!
//! Takes only a [`CheckedRun`]. Decides nothing about the data.

use std::collections::BTreeMap;

use super::{
    RunError,
    change::{empty_partition, manifest_of, note_times},
    conclude::{self, Verdict},
    deletions, explain, ledger,
    observer::RunClock,
    staged_run::{CheckedRun, NewIndexEntries, StagedRun},
};
use crate::{
    cancel::Cancel,
    coverage::Interval,
    layer::{self, IndexedTable, LayerState, MergedPartition, OpenedLayer},
    model::{DIM_PRODUCT, DIM_USER, DimensionSpec, Dt, UtcMicros, Window},
    report::{self, Summary, alert::Ended},
    settings::Settings,
    store::{
        self, DecideError, Fingerprint, Inlined, Key, Lease, NewCommit, ObjectRef, Output, Staging, StoreError,
        places::{self, SideFact},
    },
};

/// The window of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunCoverage {
    pub(super) window: Window,
    /// The window of the backfill that starts again with this run.
    pub(super) restart: Option<Interval>,
}

/// Publishes a run.
pub(super) struct Publisher<'a> {
    pub(super) settings: &'a Settings,
    pub(super) output: &'a Output,
    pub(super) lease: Option<&'a Lease>,
    pub(super) cancel: &'a Cancel,
    pub(super) clock: RunClock<'a>,
}

/// Why a run is not published.
pub(super) enum PublishError {
    /// Another run was committed since this one read the layer.
    Moved,
    /// The run failed.
    Failed(RunError),
}

impl<E: Into<RunError>> From<E> for PublishError {
    fn from(error: E) -> PublishError {
        PublishError::Failed(error.into())
    }
}

impl Publisher<'_> {
    /// Stages the tool's own files and the report of the run, and commits. The summary must be complete, but for the commit itself.
    ///
    /// # Errors
    /// Another run was first; I/O errors (exit 5), a signal before the decision.
    pub(super) fn publish(
        &self,
        checked: &mut CheckedRun,
        base: &OpenedLayer,
        staging: &mut Staging,
        coverage: RunCoverage,
        summary: &mut Summary,
    ) -> Result<Verdict, PublishError> {
        let CheckedRun { staged, failed } = checked;
        summary.commit = Some(base.number() + 1);
        self.stage_state(staged, staging, summary)?;
        ledger::cover(&mut staged.next.coverage, coverage.restart, summary);
        staged.next.order_sources = deletions::sources_after(self.output, base.number(), &staged.catalog.state, summary)?;
        for result in summary.checks.iter().filter(|result| result.rows_kept.is_some()) {
            stage_written(staging, &places::violations(&summary.run_id).join(result.file_name()))?;
        }
        let before_state = staged.catalog.state.clone();
        let before = move |key: &Key| before_state.version_at(key).cloned();
        staged.catalog.found().iter().for_each(|(key, version)| staging.adopt(key.clone(), version.clone()));
        std::mem::take(&mut staged.seen).into_iter().for_each(|(key, tag)| staging.saw(key, tag));
        staging.place(&before, self.cancel)?;
        note_times(self.output, staging, &mut staged.next)?;
        if let Err(error) = self.refuse_changed(staged) {
            return Err(if has_moved(self.output, base)? { PublishError::Moved } else { error.into() });
        }
        // Later on, a bucket keeps the report as it is now. What takes the time of a publish is done: the objects are there.
        self.clock.count(summary);
        let ended = if failed.is_empty() { Ended::Success } else { Ended::ChecksFailed { published: true } };
        let verdict = conclude::judge(self.settings, self.output, self.lease, summary, ended, &staged.view.facts);
        staging.put(places::report(&summary.run_id), &report::report_bytes(summary))?;
        if !staged.changes.is_empty() {
            let run_id = summary.run_id.parse().map_err(|_| RunError::Internal("the run has no valid id".into()))?;
            manifest_of(self.output, self.settings, staging, &run_id, &summary.partitions_written, &staged.next)?;
        }
        let commit = self.new_commit(staged, staging, summary)?;
        match staging.decide(base.head.as_ref(), commit, &before, self.lease) {
            Ok(_) => Ok(verdict),
            Err(DecideError::Moved) => Err(PublishError::Moved),
            Err(DecideError::Store(error)) => Err(error.into()),
        }
    }

    /// Stages the indexes and the prices.
    fn stage_state(&self, staged: &mut StagedRun, staging: &mut Staging, summary: &Summary) -> Result<(), PublishError> {
        let NewIndexEntries { file, index_changed } = &staged.index;
        if *index_changed {
            staged.next.segments = staged.catalog.stage_index(IndexedTable::Orders, staging, &summary.run_id, file, self.cancel)?;
        }
        let NewIndexEntries { file, index_changed } = &staged.refund_index;
        if *index_changed {
            staged.next.refund_segments = staged.catalog.stage_index(IndexedTable::Refunds, staging, &summary.run_id, file, self.cancel)?;
        }
        if self.settings.unit_slip.is_some() {
            let is_new = staged.prices.absorb(&staged.merged.prices);
            // Prices that were read from the whole layer, as after an undo, are kept: else the next run reads all of it again.
            if is_new || staged.next.prices.is_none() && !staged.prices.is_empty() {
                staged.next.prices = Some(staged.prices.stage(staging, &summary.run_id)?);
            }
        }
        if staging.is_in_bucket() {
            self.inline_own(&mut staged.next, staging)?;
            layer::inline_lineage(&mut staged.next, staging, explain::lineage_retention(self.settings), summary.started_at)?;
            self.copy_beside(&staged.next, staging)?;
        }
        Ok(())
    }

    /// Takes small objects of the state into the record: this run puts them nowhere else, and the next one fetches them nowhere.
    fn inline_own(&self, next: &mut LayerState, staging: &mut Staging) -> Result<(), StoreError> {
        let versions: Vec<ObjectRef> = next.own_versions().filter(|version| !next.inlined.contains_key(&version.object)).cloned().collect();
        for version in versions.into_iter().filter(|version| version.bytes <= Inlined::MOST_IN_RECORD) {
            let Some(bytes) = self.content(&version.object, &version, staging)? else { continue };
            if let Some(content) = Inlined::new(&bytes, Inlined::MOST_IN_RECORD) {
                staging.unstage(&version.object);
                next.inlined.insert(version.object, content);
            }
        }
        Ok(())
    }

    /// Copies what the next run reads beside the record, as far as it is small: the dimensions, and the state that is too large for a
    /// record.
    fn copy_beside(&self, next: &LayerState, staging: &mut Staging) -> Result<(), StoreError> {
        let (mut copies, mut left) = (BTreeMap::new(), Inlined::MOST_BESIDE);
        let dimension = |spec: DimensionSpec| Some((places::dimension(&spec), next.dimensions.get(spec.name)?));
        let dimensions = [DIM_USER, DIM_PRODUCT].into_iter().filter_map(dimension);
        let own = next.own_versions().filter(|version| !next.inlined.contains_key(&version.object));
        for (key, version) in dimensions.chain(own.map(|version| (version.object.clone(), version))) {
            if version.bytes > left {
                continue;
            }
            let Some(bytes) = self.content(&key, version, staging)? else { continue };
            let Some(content) = Inlined::new(&bytes, left) else { continue };
            left -= version.bytes;
            copies.insert(key, content);
        }
        staging.copy_beside(copies);
        Ok(())
    }

    /// The content of a version at its place, if the run has staged it or has a local copy.
    fn content(&self, key: &Key, version: &ObjectRef, staging: &Staging) -> Result<Option<Vec<u8>>, StoreError> {
        let path = if staging.version(key).is_some() { staging.staged(key) } else { self.output.at(key) };
        Ok(store::read(&path)?.filter(|bytes| version.is_of(bytes)))
    }

    /// Fails if somebody has changed a file of a folder since it was read.
    fn refuse_changed(&self, staged: &StagedRun) -> Result<(), RunError> {
        if self.output.folder().is_none() {
            return Ok(());
        }
        let touched = staged.merged.partitions.values().map(|partition| &partition.merged);
        for MergedPartition { dt, .. } in touched {
            let entry = staged.catalog.state.partitions.get(dt);
            let path = self.output.at(entry.map_or_else(|| places::partition_file(*dt, staged.format), |entry| entry.key(*dt)));
            let now = store::size_and_time(&path)?;
            let is_same = match (entry, now) {
                (Some(entry), Some((bytes, modified_ns))) => entry.looks_like(bytes, modified_ns),
                (entry, now) => entry.is_none() && now.is_none(),
            };
            if !is_same {
                return Err(layer::LayerError::Changed { path }.into());
            }
        }
        let totals = staged.merged.partitions.keys().map(|dt| (SideFact::OrderTotals, *dt));
        let refunds = staged.merged.refunds.keys().map(|dt| (SideFact::Refunds, *dt));
        totals.chain(refunds).try_for_each(|(fact, dt)| self.refuse_changed_side(&staged.catalog.state, fact, dt))
    }

    /// The same for a side fact of one day.
    fn refuse_changed_side(&self, state: &LayerState, fact: SideFact, dt: Dt) -> Result<(), RunError> {
        let Some(entry) = state.side(fact, dt) else { return Ok(()) };
        let path = self.output.at(fact.file(dt));
        match store::size_and_time(&path)? {
            Some((bytes, modified_ns)) if entry.looks_like(bytes, modified_ns) => Ok(()),
            _ => Err(layer::LayerError::Changed { path }.into()),
        }
    }

    fn new_commit(&self, staged: &StagedRun, staging: &mut Staging, summary: &Summary) -> Result<NewCommit, StoreError> {
        let removed = staging.removed(|key| empty_partition(&staged.next, key))?;
        Ok(NewCommit {
            run_id: summary.run_id.clone(),
            writer: format!("{}@{}/{}", summary.run_id, super::host(), std::process::id()),
            command: summary.command.as_str().to_owned(),
            committed_at: UtcMicros::now().rfc3339(),
            reads: staged.reads.clone(),
            put: staging.installed(),
            remove: removed,
            told: staging.told(),
            layer: staged.next.to_record()?,
        })
    }
}

/// Whether another run was committed since a layer was read.
///
/// # Errors
/// I/O errors.
pub(super) fn has_moved(output: &Output, base: &OpenedLayer) -> Result<bool, StoreError> {
    Ok(store::head(output)?.map_or(0, |head| head.commit.number) != base.number())
}

impl StagedRun {
    /// Whether the layer changes.
    pub(super) fn has_changes(&self) -> bool {
        !self.changes.is_empty() || !self.changed_sides.is_empty() || self.dimensions_changed
    }
}

/// Takes up a file that a check has written where files of its place are staged.
fn stage_written(staging: &mut Staging, key: &Key) -> Result<(), StoreError> {
    let bytes = store::read(&staging.staged(key))?.unwrap_or_default();
    staging.put_written(key, Fingerprint::of(&bytes));
    Ok(())
}
