//! What to do where a run would lose records or lines, by the reason.

use crate::model::{QuantityType, Reason};

/// Of so many records or lines, one may be dropped, and it is still a load: as the alert `dropped_share` has it.
const ONE_OF: u64 = 20;

/// How much of a page a run would lose.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// Records or lines that would be dropped.
    pub(super) dropped: u64,
    /// Of how many.
    pub(super) of: u64,
}

impl Share {
    /// Whether it is no more than a load may lose.
    pub(super) fn is_small(self) -> bool {
        self.dropped * ONE_OF <= self.of
    }
}

/// What to do about records or lines that are dropped for a reason. `decimals` of the lines have a quantity with decimals.
pub(super) fn way_out(reason: Reason, decimals: u64, quantity: QuantityType) -> &'static str {
    match reason {
        Reason::InvalidJson => "each record is a JSON object: look at how the file was written",
        Reason::RecordTooLarge => "limits.record_bytes allows larger ones",
        Reason::RecordTooDeep => "limits.depth allows deeper ones",
        Reason::MissingOrderId => "name the path of the id: order_id in [orders.fields]",
        Reason::MissingCreatedAt => "name the path of the time: created_at in [orders.fields]",
        Reason::InvalidCreatedAt => "this is no time: see Times in docs/reference/orders.md, or name another path",
        Reason::EmptyItems => "name the path of the list of lines: lines in [orders.fields]",
        Reason::NoValidItems => "all its lines are dropped: see their reasons",
        Reason::InvalidLine => "each line is a JSON object: name another path of lines in [orders.fields]",
        Reason::MissingSku => "name the path of the sku: sku in [orders.line_fields]",
        Reason::InvalidQuantity if decimals > 0 && quantity == QuantityType::Whole => {
            "quantities have decimals: fact.quantity = \"decimal\""
        }
        Reason::InvalidQuantity => "this is no number that fits: name another path of quantity in [orders.line_fields]",
        Reason::InvalidPrice => "write amounts as 12.50, without a comma or a sign of the currency, or name another path",
        Reason::PriceOutOfRange => "it does not fit DECIMAL(18,4): is it in minor units? See scale",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_twenty_is_a_few() {
        let is_small = |dropped, of| Share { dropped, of }.is_small();
        assert!(is_small(0, 0) && is_small(1, 20) && is_small(10, 200));
        assert!(!is_small(1, 19) && !is_small(1, 1));
    }

    #[test]
    fn decimals_are_told_from_what_is_no_number() {
        let told = |decimals, quantity| way_out(Reason::InvalidQuantity, decimals, quantity);
        assert!(told(1, QuantityType::Whole).contains("fact.quantity"));
        assert!(!told(0, QuantityType::Whole).contains("fact.quantity") && !told(1, QuantityType::Decimal).contains("fact.quantity"));
    }
}
