//! What a run says of itself: its summary, and the summaries of the runs before it.
//!
//! Responsible for the shape of the summary and for keeping it, for the metrics made of it, for traces, and for who is told
//! of what. What a person sees of it is `cli`'s.

pub mod alert;
mod check_history;
mod history;
mod metrics;
mod quarantined;
mod retention;
mod summary;
mod summary_schema;
pub mod telemetry;

pub use alert::{Alert, AlertKind};
pub use check_history::{CheckHistory, CheckOfRun, CheckRecord, check_history};
pub(crate) use history::report_bytes;
pub use history::{
    latest_paces, latest_run, latest_runs, recorded_runs, recorded_summaries, undone_runs, write_report, write_report_unless_told,
};
pub use metrics::{Metric, Series, Unit, Value, embedded_metrics, metrics, open_metrics};
pub use quarantined::{Quarantined, Replays, RunOfDrops, Sample, quarantined, replayed_runs, replays_of};
pub use retention::{CurrentRun, Retained, Retention, remove_older};
pub use summary::{
    CommandName, DeletionCounts, ErasedCounts, RawKept, RebuildGap, RebuiltFrom, RunCompleteness, Status, Summary, ValueCounts, money_texts,
};
pub use summary_schema::summary_schema;
