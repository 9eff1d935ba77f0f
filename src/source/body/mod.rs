//! Splits a body into its records and its envelope. The envelope tells about the next page, totals and errors.
//!
//! ```text
//! bytes ──cut──▶ records + envelope ──signals──▶ next page, totals, "there is more"
//!                                   ──reported_error──▶ the error that the server reports
//! ```
//! Does not send requests or open files: `http` and `files` supply the bytes.

mod beside;
mod cut;
mod node;
mod reported_error;
mod shape;
mod signals;

pub(super) use beside::{object_in_place_of_a_list, passed_over};
pub use cut::RECORD_KEYS;
pub(super) use cut::{CutBody, CutError, Cutter, Envelope, List, OVERSIZED, cut};
pub(super) use node::Node;
pub(super) use reported_error::{doubted_emptiness, is_fine_text, lone_error, lone_message, reported_error, reported_refusal};
pub(super) use shape::is_among;
pub use shape::{ErrorElements, PathReading, RecordShape};
pub(super) use signals::{LinkHeader, NextPage, OffsetPlace, SignalSource, Signals, is_page_relation};

use crate::model::FieldPath;

/// Where records are expected, for an error.
pub(super) fn looked_for(records: Option<&FieldPath>) -> String {
    match records {
        None => "expected an order, an array, or an object with an array under `data`, `orders`, `results`, `items` or `carts`".to_owned(),
        Some(path) if path.steps().is_empty() => "it is not an array (records = \".\")".to_owned(),
        Some(path) => format!("no array at `{path}`"),
    }
}
