//! The words that all other rooms share: money, times, partitions, windows, reasons, the columns of the fact table and of
//! the dimensions; and what a text means as one of them, digit by digit.
//!
//! Not responsible for reading or writing anything: nothing here touches a byte of input, a disk or a network, and
//! nothing here imports another room of the crate.

mod address;
mod counted;
mod currency;
mod decimal;
mod dimensions;
mod dt;
mod duration;
mod erased;
mod fact;
mod field_path;
mod file_format;
mod json;
mod money;
mod order_total;
mod quantity;
mod raw_record;
mod reason;
mod refund;
mod revenue;
mod run_id;
mod run_pace;
mod schema;
mod severity;
mod shell;
mod text;
mod text_table;
mod time;
mod tolerance;
mod utc;
mod window;

pub use address::{addresses_in, addresses_of, addresses_of_id};
pub use counted::{counted, noun_of};
pub use currency::MinorUnits;
pub use decimal::{ParsedMoney, equal_numbers, is_same_value, parse_minor_money, parse_money, parse_whole, whole_number_text};
pub use dimensions::{ColumnType, DIM_PRODUCT, DIM_USER, DimensionSpec, FixedColumn, LONGEST_COLUMN_NAME};
pub use dt::Dt;
pub use duration::{elapsed_text, span_text};
pub use erased::{AddressOf, ErasedUsers, WITHHELD_RECORD, is_withheld, words_of};
pub use fact::{FACT_COLUMNS, FactBuilder, FactRows, FactType, Line, OrderHash, SEQ, order_hash};
pub use field_path::{FieldPath, FieldPathError, WILDCARD};
pub use file_format::{Compression, FileFormat};
pub use json::Pairs;
pub use money::{Money, MoneyError};
pub use order_total::{ORDER_AMOUNTS, ORDER_TOTAL_COLUMNS, OrderAmounts, OrderTotal, REFUNDED};
pub use quantity::{Quantity, QuantityType};
pub use raw_record::{CellTypes, RawRecord};
pub use reason::{DropCounts, Level, Reason};
pub use refund::{REFUND_COLUMNS, Refund};
pub(crate) use revenue::units_text;
pub use revenue::{CurrencyTotals, RevenueByDt, add_totals, currency_name};
pub use run_id::{NotARunId, RunId};
pub use run_pace::RunPace;
pub use schema::{ExtraColumn, ExtraType, FactSchema, LOCAL_DATE_COLUMN, LayerIds, SHOP_COLUMN};
pub use severity::Severity;
pub use shell::{shell_quoted, shell_word};
pub use text::{LONGEST_TEXT, clean_text, fitting_text, plain_name};
pub use text_table::TextTable;
pub use time::{
    clock_change_near, parse_time_in_zone, parse_time_number, parse_time_of_layer, parse_time_rfc2822, parse_time_text, shown_in_zone,
};
pub use tolerance::Tolerance;
pub use utc::UtcMicros;
pub use window::Window;
