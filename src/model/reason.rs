//! The reasons for dropping a record or a line (contract, Malformed input).

/// Whether a record or a line is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// The whole order document.
    Record,
    /// One line of the order.
    Line,
}

impl Level {
    /// The name in quarantine.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Record => "record",
            Level::Line => "line",
        }
    }
}

/// Why a record or a line is dropped. The order is the contract's: the first reason that applies counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
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
    pub const ALL: [Reason; 13] = [
        Reason::InvalidJson,
        Reason::RecordTooLarge,
        Reason::RecordTooDeep,
        Reason::MissingOrderId,
        Reason::MissingCreatedAt,
        Reason::InvalidCreatedAt,
        Reason::EmptyItems,
        Reason::NoValidItems,
        Reason::InvalidLine,
        Reason::MissingSku,
        Reason::InvalidQuantity,
        Reason::InvalidPrice,
        Reason::PriceOutOfRange,
    ];

    /// The name in the summary and in quarantine.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::InvalidJson => "invalid_json",
            Reason::RecordTooLarge => "record_too_large",
            Reason::RecordTooDeep => "record_too_deep",
            Reason::MissingOrderId => "missing_order_id",
            Reason::MissingCreatedAt => "missing_created_at",
            Reason::InvalidCreatedAt => "invalid_created_at",
            Reason::EmptyItems => "empty_items",
            Reason::NoValidItems => "no_valid_items",
            Reason::InvalidLine => "invalid_line",
            Reason::MissingSku => "missing_sku",
            Reason::InvalidQuantity => "invalid_quantity",
            Reason::InvalidPrice => "invalid_price",
            Reason::PriceOutOfRange => "price_out_of_range",
        }
    }

    /// Whether it drops a record or a line.
    pub fn level(self) -> Level {
        if self >= Reason::InvalidLine { Level::Line } else { Level::Record }
    }
}
