//! The columns of `fact_order_total`, the fact at the grain of the order, and a row of it. Not how it is stored.

use super::{Dt, FactType, Money, UtcMicros};

/// The amounts that a source may say of an order, by the names that a profile knows them by, in the order of their columns.
pub const ORDER_AMOUNTS: [&str; 6] = ["discount", "shipping", "tax", "total", "refunded", "paid"];

/// The place of `refunded` among them.
pub const REFUNDED: usize = 4;

/// What a record says of each of [`ORDER_AMOUNTS`]; `None` where it, or its profile, says nothing.
pub type OrderAmounts = [Option<Money>; ORDER_AMOUNTS.len()];

/// Name and type of each column of `fact_order_total`.
pub const ORDER_TOTAL_COLUMNS: [(&str, FactType); 12] = [
    ("order_id", FactType::Text),
    ("currency", FactType::Text),
    ("lines_total", FactType::Money),
    ("discount_total", FactType::Money),
    ("shipping_total", FactType::Money),
    ("tax_total", FactType::Money),
    ("total", FactType::Money),
    ("refunded_total", FactType::Money),
    ("paid_total", FactType::Money),
    ("status", FactType::Text),
    ("created_at", FactType::Timestamp),
    ("updated_at", FactType::Timestamp),
];

/// A row of `fact_order_total`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OrderTotal {
    /// The order: the grain.
    pub order_id: String,
    /// Its currency.
    pub currency: Option<String>,
    /// Σ `line_total` of the lines that its record brings; `None` if the sum does not fit.
    pub lines_total: Option<Money>,
    /// What the record says of the order.
    pub amounts: OrderAmounts,
    /// Its status.
    pub status: Option<String>,
    /// When it was created.
    pub created_at: UtcMicros,
    /// When this version of it was made.
    pub updated_at: Option<UtcMicros>,
}

impl OrderTotal {
    /// The partition that the row lies in.
    pub fn dt(&self) -> Dt {
        Dt::of(self.created_at)
    }

    /// The money of the row, in the order of its columns.
    pub fn money(&self) -> impl Iterator<Item = Option<Money>> {
        std::iter::once(self.lines_total).chain(self.amounts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_of_amounts_have_the_order_of_the_amounts() {
        let columns = ORDER_TOTAL_COLUMNS.iter().filter(|(_, kind)| *kind == FactType::Money).skip(1);
        let names: Vec<_> = columns.map(|(name, _)| name.trim_end_matches("_total")).collect();
        assert_eq!(names, ORDER_AMOUNTS);
        assert_eq!(ORDER_AMOUNTS[REFUNDED], "refunded");
    }
}
