//! From a record's bytes to typed columns: the paths of each field, money and times taken digit by digit, and the rules
//! by which malformed input is dropped (contract, Orders and Malformed input).
//!
//! Knows no network and no disk, and nothing of the layer that the rows go to.

mod amount;
mod fields;
mod limits;
mod mapping;
mod members;
mod record;
mod scalar;
mod walk;

pub use mapping::{LINE_FIELDS, Mapping, RECORD_FIELDS};
pub use members::{MOST_COLUMNS, MemberCounts, MemberNormalizer, Members};
pub use record::{Drop, NormalizedBatch, RecordCounts, RecordNormalizer};
