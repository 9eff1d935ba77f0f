//! Publishes a checked run: stages its manifest, catalog, prices, coverage and report, and commits everything as one step.
//!
//! Takes only a [`CheckedRun`]. Decides nothing about the data.

use std::path::Path;

use super::{
    RunError,
    conclude::{self, Verdict},
    ledger, manifest,
    staged_run::{CheckedRun, NewIndexEntries, PartitionChange, StagedRun},
};
use crate::{
    cancel::Cancel,
    coverage::{Interval, Ledger},
    model::Window,
    report::{self, Summary, alert::Ended},
    settings::Settings,
    store::{self, Output, Staging, StoreError, places},
};

/// The window of a run, and the coverage of its source before it.
pub(super) struct RunCoverage {
    pub(super) ledger: Ledger,
    pub(super) window: Window,
    /// The window of the backfill that starts again with this run.
    pub(super) restart: Option<Interval>,
}

/// Publishes a run.
pub(super) struct Publisher<'a> {
    pub(super) settings: &'a Settings,
    pub(super) output: &'a Output,
    pub(super) cancel: &'a Cancel,
}

/// A publish that is staged: only the decision is missing.
pub(super) struct StagedPublish {
    staging: Staging,
    /// The alerts that the run raises.
    pub(super) verdict: Verdict,
}

impl Publisher<'_> {
    /// Stages the tool's own files and the report of the run. The summary must be complete, but for the commit itself.
    ///
    /// # Errors
    /// I/O errors (exit 5).
    pub(super) fn stage(&self, checked: CheckedRun, coverage: RunCoverage, summary: &mut Summary) -> Result<StagedPublish, RunError> {
        let CheckedRun { staged, failed } = checked;
        let changed = staged.has_changes();
        let StagedRun { mut staging, view, changes, catalog, index, mut prices, run_prices, .. } = staged;
        let written: Vec<_> = changes
            .iter()
            .filter_map(|(&dt, change)| match change {
                PartitionChange::Written(stamp) => Some(manifest::Entry { place: places::partition_file(dt), bytes: stamp.bytes }),
                PartitionChange::Removed => None,
            })
            .collect();
        if !written.is_empty() {
            let manifest = manifest::manifest(self.output, self.settings.redshift.url.as_deref(), &written);
            staging.put(places::manifest(&summary.run_id), &manifest)?;
        }
        let NewIndexEntries { file, index_changed } = index;
        if changed || index_changed {
            catalog.stage(&mut staging, &summary.run_id, &file)?;
        }
        if self.settings.unit_slip.is_some() && prices.absorb(&run_prices) {
            prices.stage(&mut staging)?;
        }
        for result in summary.checks.iter().filter(|result| result.rows_kept.is_some()) {
            stage_written(&mut staging, &places::violations(&summary.run_id).join(result.file_name()))?;
        }
        stage_coverage(&mut staging, coverage, summary)?;
        let ended = if failed.is_empty() { Ended::Success } else { Ended::ChecksFailed { published: true } };
        let verdict = conclude::judge(self.settings, self.output, summary, ended, &view.facts);
        staging.put(places::report(&summary.run_id), &report::report_bytes(summary))?;
        Ok(StagedPublish { staging, verdict })
    }

    /// Decides and publishes.
    ///
    /// # Errors
    /// I/O errors (exit 5), a signal before the decision.
    pub(super) fn commit(&self, staged: StagedPublish) -> Result<Verdict, StoreError> {
        staged.staging.prepare(self.cancel)?.commit()?;
        Ok(staged.verdict)
    }
}

impl StagedRun {
    /// Whether the layer changes.
    pub(super) fn has_changes(&self) -> bool {
        !self.changes.is_empty() || self.dimensions_changed
    }
}

/// Takes up a file that a check has written where files of its place are staged.
fn stage_written(staging: &mut Staging, place: &Path) -> Result<(), StoreError> {
    let staged = staging.staged(place);
    let bytes = store::read(&staged)?.unwrap_or_default();
    staging.put_written(place, bytes.len() as u64, store::checksum(&bytes))?;
    Ok(())
}

/// Adds the window to the coverage of its source, unless a source was incomplete.
fn stage_coverage(staging: &mut Staging, coverage: RunCoverage, summary: &Summary) -> Result<(), StoreError> {
    let RunCoverage { mut ledger, window, restart } = coverage;
    let Summary { identity, completeness, records, started_at, run_id, rules, .. } = summary;
    let Some(identity) = identity else { return Ok(()) };
    if completeness.all().any(|(_, completeness)| completeness.is_failed()) {
        return Ok(());
    }
    if let Some(interval) = restart {
        ledger.restart(identity, interval, *started_at);
    }
    let in_window = records.records_read - records.records_out_of_window;
    if let Some(loaded) = ledger::loaded(window, *started_at, run_id, in_window, rules) {
        ledger.record(identity, loaded, completeness.orders.as_ref().map_or(0, |orders| orders.read));
    }
    ledger::stage(staging, &ledger)
}
