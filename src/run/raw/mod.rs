//! The orders' records of runs as they were delivered: kept by run in `raw/`, and read again by `etl rebuild`.
//!
//! Decides nothing about records: all of them are kept, those that a run drops, skips or has no window for, too. Users and products
//! are not kept: their dimensions have all columns of the source.

mod choice;
mod line;
mod reader;
mod withhold;
mod writer;

pub use choice::Gaps;
pub(super) use choice::{RawInput, RawRun};
pub(super) use line::{RawHeader, RawLines};
pub(super) use reader::RawRead;
pub(super) use withhold::{each_record, withhold};
pub(super) use writer::RawWriter;
