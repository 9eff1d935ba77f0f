//! The stages of a run, and who watches them. Knows nothing of what a stage does.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tracing::span::EnteredSpan;

use crate::{model::UtcMicros, normalize::RecordCounts, report::Summary, source::SourceCounts};

/// A stage of a run. Its name is that of the span and of the key in `stage_seconds`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum StageName {
    /// Takes the output and reads its state.
    Open,
    /// Reads users and products.
    Dimensions,
    /// Reads and normalizes the orders.
    Extract,
    /// Merges the partitions.
    Merge,
    /// Runs the checks.
    Check,
    /// Puts the new files in place.
    Publish,
    /// Writes the report and the metrics, and sends the alerts.
    Report,
}

/// Watches a run while it works. Called from several threads.
pub trait Observer: Sync {
    /// A stage begins.
    fn stage(&self, stage: StageName);
    /// Records were read.
    fn extracted(&self, records: &RecordCounts, source: &SourceCounts);
    /// Partitions are merged.
    fn merged(&self, done: usize, of: usize);
}

/// An observer that ignores everything.
pub struct NoObserver;

impl Observer for NoObserver {
    fn stage(&self, _: StageName) {}
    fn extracted(&self, _: &RecordCounts, _: &SourceCounts) {}
    fn merged(&self, _: usize, _: usize) {}
}

/// The current stage of a run, and the seconds of each.
#[derive(Default)]
pub(super) struct StageClock {
    current: Option<CurrentStage>,
    seconds: BTreeMap<String, f64>,
}

/// Since when a run is at work, and the seconds of its stages.
#[derive(Clone, Copy)]
pub(super) struct RunClock<'a> {
    pub(super) began: Instant,
    pub(super) stages: &'a StageClock,
    /// How long it has waited for other runs.
    pub(super) waited: Duration,
}

impl RunClock<'_> {
    /// Brings the times of a summary up to now.
    pub(super) fn count(self, summary: &mut Summary) {
        summary.stage_seconds = self.stages.seconds();
        summary.finished_at = UtcMicros::now();
        summary.execution_time_seconds = self.began.elapsed().as_secs_f64();
        summary.waited_seconds = self.waited.as_secs_f64();
    }
}

struct CurrentStage {
    name: &'static str,
    began: Instant,
    _span: EnteredSpan,
}

impl StageClock {
    /// Ends the current stage and begins another.
    pub(super) fn enter(&mut self, stage: StageName) {
        self.leave();
        let name = stage.into();
        self.current = Some(CurrentStage { name, began: Instant::now(), _span: tracing::info_span!("stage", stage = name).entered() });
    }

    /// Ends the current stage.
    pub(super) fn leave(&mut self) {
        let Some(stage) = self.current.take() else { return };
        let seconds = stage.began.elapsed().as_secs_f64();
        tracing::debug!(seconds, "the stage has ended");
        *self.seconds.entry(stage.name.to_owned()).or_default() += seconds;
    }

    /// The seconds of each stage, up to now.
    pub(super) fn seconds(&self) -> BTreeMap<String, f64> {
        let mut seconds = self.seconds.clone();
        if let Some(stage) = &self.current {
            *seconds.entry(stage.name.to_owned()).or_default() += stage.began.elapsed().as_secs_f64();
        }
        seconds
    }
}
