//! `OpenLineage` events of runs (<https://openlineage.io>): which datasets a run reads and writes, column by column, and how it ended.
//!
//! ```text
//! settings, summary, what was written ──event──▶ JSON ──deliver──▶ a file, a server
//! ```
//! Responsible for the events and for their way. Events are made without any I/O, and hold no value of a record. That an event
//! does not arrive never changes how a run ends: it is one warning.

mod columns;
mod dataset;
mod deliver;
mod event;
mod facet;
mod reach;
mod run_uuid;

pub use dataset::{DatasetName, inputs_of};
pub use deliver::{LineageSender, tell_undelivered};
pub use event::{Datasets, EndedRun, LineageRun, RunState, WrittenLayer, WrittenTable};
pub use reach::{ServerAnswer, ask_server};
pub use run_uuid::run_uuid;
