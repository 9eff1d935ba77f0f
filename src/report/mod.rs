//! What a run says of itself: its summary, and the summaries of the runs before it.
//!
//! Responsible for the shape of the summary and for keeping it. What a person sees of it is `cli`'s.

mod history;
mod summary;

pub(crate) use history::report_bytes;
pub use history::{RecordedRun, latest_runs, write_report};
pub use summary::{Alert, Status, Summary, money_texts};
