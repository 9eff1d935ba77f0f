//! The columns of `fact_refund`, the fact of what was given back, and a row of it. Not how it is stored.

use super::{Dt, FactType, Money, UtcMicros};

/// Name and type of each column of `fact_refund`. A quantity is a decimal here, whatever it is in `fact_order`.
pub const REFUND_COLUMNS: [(&str, FactType); 7] = [
    ("refund_id", FactType::Text),
    ("order_id", FactType::Text),
    ("sku", FactType::Text),
    ("quantity", FactType::Money),
    ("amount", FactType::Money),
    ("currency", FactType::Text),
    ("created_at", FactType::Timestamp),
];

/// A row of `fact_refund`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refund {
    /// The refund.
    pub refund_id: String,
    /// The order that it belongs to.
    pub order_id: String,
    /// What was given back: with the refund, the grain. `None`: what is in no line of the refund.
    pub sku: Option<String>,
    /// How many; `None` where the source says nothing.
    pub quantity: Option<Money>,
    /// The money that was given back: positive.
    pub amount: Money,
    /// Its currency.
    pub currency: Option<String>,
    /// When it was given back.
    pub created_at: UtcMicros,
}

impl Refund {
    /// The partition that the row lies in: the day of the refund, which is not that of its order.
    pub fn dt(&self) -> Dt {
        Dt::of(self.created_at)
    }
}
