//! From a record's bytes to typed columns: the paths of each field, money and times taken digit by digit, and the rules
//! by which malformed input is dropped (contract, Orders and Malformed input).
//!
//! Knows no network and no disk, and nothing of the layer that the rows go to.

mod decimal;
mod fields;
mod record;
mod scalar;
mod time;

pub use decimal::{parse_money, ParsedMoney};
pub use record::{Drop, NormalizedBatch, RecordNormalizer};
pub use scalar::clean_text;
pub use time::{parse_time_number, parse_time_text};
