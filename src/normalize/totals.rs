//! The totals of a record's order: a row of `fact_order_total`, beside the rows of the lines.

use std::{borrow::Cow, collections::HashMap};

use crate::model::Money;

/// A row that a record brings beside those of its lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordRow<R> {
    /// The row.
    pub row: R,
    /// The number of its record in the batch: that of [`crate::model::SEQ`].
    pub record_number: u64,
}

/// Σ `line_total` of a record's lines. Of a sku that stands on several, the last line counts, as it does in the facts: so the sum is
/// that of the rows, and a line that is lost there is missing here. `None` if the sum does not fit.
pub(super) fn lines_total(skus: &[Cow<'_, str>], line_totals: &[Money], repeated_skus: u64) -> Option<Money> {
    let units = |money: &Money| i128::from(money.units());
    let sum: i128 = if repeated_skus == 0 {
        line_totals.iter().map(units).sum()
    } else {
        let last: HashMap<&str, &Money> = skus.iter().map(AsRef::as_ref).zip(line_totals).collect();
        last.into_values().map(units).sum()
    };
    Money::from_units(sum).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_repeated_sku_the_last_line_counts() {
        let money = |units: i128| Money::from_units(units).unwrap();
        let skus = ["a", "b", "a"].map(Cow::Borrowed);
        assert_eq!(lines_total(&skus, &[money(1), money(2), money(4)], 1), Some(money(6)));
        assert_eq!(lines_total(&skus[..2], &[money(1), money(2)], 0), Some(money(3)));
        let most = money(999_999_999_999_999_999);
        assert_eq!(lines_total(&skus[..2], &[most, most], 0), None);
    }
}
