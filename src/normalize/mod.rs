//! Converts the bytes of a record to typed columns: the paths of each field, exact parsing of money and times, and the
//! rules that drop malformed input (contract, Orders and Malformed input).
//!
//! Does not use the network, the disk or the layer that the rows go to.

mod amount;
mod fields;
mod json_scan;
mod key_order;
mod limits;
mod line_key;
mod look;
mod mapping;
mod mask;
mod members;
mod observe;
mod prefix;
mod raw_json;
mod read_paths;
mod record;
mod refunds;
mod scalar;
mod totals;
mod user_ids;
mod walk;

pub use look::{RecordViewer, SeenLine, SeenLines, SeenRecord, SeenValue};
pub use mapping::{LINE_FIELDS, Mapping, RECORD_FIELDS};
pub use mask::RecordsOf;
pub use members::{MOST_COLUMNS, MemberCounts, MemberNormalizer, Members, NO_COLUMN};
pub use observe::Sampling;
pub use read_paths::{ColumnPlace, ReadPaths};
pub use record::{
    BatchRules, Drop, EmptiedOrder, LineOfDrop, NormalizedBatch, ReadOrders, RecordCounts, RecordNormalizer, TimestampWindow,
};
pub use refunds::{DifferingRefunds, DroppedRefund, RepeatedRefund, Repeats};
pub use totals::RecordRow;
pub use user_ids::UserIds;
