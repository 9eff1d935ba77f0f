//! The reasons for dropping a record or a line (contract, Malformed input).

use serde::Serialize;
use strum::{IntoStaticStr, VariantArray};

/// Whether a record or a line is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Level {
    /// The whole order document.
    Record,
    /// One line of the order.
    Line,
}

impl Level {
    /// The name in quarantine.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The level of a name in quarantine. What names none is a whole record.
    pub fn named(name: &str) -> Level {
        if name == Level::Line.as_str() { Level::Line } else { Level::Record }
    }
}

/// Why a record or a line is dropped. The order is the contract's: the first reason that applies counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "each is named as the contract names it")]
pub enum Reason {
    InvalidJson,
    RecordTooLarge,
    RecordTooDeep,
    MissingOrderId,
    MissingCreatedAt,
    InvalidCreatedAt,
    EmptyItems,
    NoValidItems,
    InvalidLine,
    MissingSku,
    InvalidQuantity,
    InvalidPrice,
    PriceOutOfRange,
}

impl Reason {
    /// All reasons, in the contract's order.
    pub const ALL: &[Reason] = <Reason as VariantArray>::VARIANTS;

    /// The name in the summary and in quarantine.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether it drops a record before its date is compared with the window.
    pub fn precedes_window(self) -> bool {
        self < Reason::EmptyItems
    }

    /// Whether it drops a record or a line.
    pub fn level(self) -> Level {
        if self >= Reason::InvalidLine { Level::Line } else { Level::Record }
    }
}

/// How much was dropped: whole records, and lines of records. A record may have lost several lines.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct DropCounts {
    /// Records.
    pub records: u64,
    /// Lines.
    pub lines: u64,
}

impl DropCounts {
    /// Counts drops of a level.
    pub fn add(&mut self, level: Level, count: u64) {
        match level {
            Level::Record => self.records += count,
            Level::Line => self.lines += count,
        }
    }

    /// Adds other counts.
    pub fn absorb(&mut self, other: DropCounts) {
        self.records += other.records;
        self.lines += other.lines;
    }

    /// Whether nothing was dropped.
    pub fn is_none(self) -> bool {
        self == DropCounts::default()
    }
}
