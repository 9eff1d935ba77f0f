//! What a body is made of: its records, and the envelope that speaks of other pages, of totals and of errors.
//!
//! ```text
//! bytes ──cut──▶ records + envelope ──signals──▶ next page, totals, "there is more"
//!                                   ──reported_error──▶ what the server says went wrong
//! ```
//! Knows no request and no file: `http` and `files` bring the bytes.

mod cut;
mod node;
mod reported_error;
mod shape;
mod signals;

pub use cut::RECORD_KEYS;
pub(super) use cut::{CutBody, CutError, Cutter, Envelope, List, OVERSIZED, cut};
pub(super) use node::Node;
pub(super) use reported_error::reported_error;
pub use shape::RecordShape;
pub(super) use signals::{LinkHeader, NextPage, OffsetPlace, SignalSource, Signals, is_page_relation};

use crate::model::FieldPath;

/// Where records are looked for, for an error.
pub(super) fn looked_for(records: Option<&FieldPath>) -> String {
    match records {
        None => "neither an order, nor an array, nor an object with one under `data`, `orders`, `results`, `items` or `carts`".to_owned(),
        Some(path) if path.steps().is_empty() => "it is no array (records = \".\")".to_owned(),
        Some(path) => format!("no array at `{path}`"),
    }
}
