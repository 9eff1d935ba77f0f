//! Totals by currency that are kept in plain integers, outside the frames, so that a check can hold the layer against them.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::{Dt, decimal::write_scaled};

/// Ten-thousandths by currency; `""` where there is none.
pub type CurrencyTotals = BTreeMap<String, i128>;

/// [`CurrencyTotals`] of each partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevenueByDt(BTreeMap<Dt, CurrencyTotals>);

/// Adds `units` ten-thousandths of a currency without allocating where the currency is known.
pub fn add_totals(totals: &mut CurrencyTotals, currency: Option<&str>, units: i128) {
    let currency = currency.unwrap_or("");
    match totals.get_mut(currency) {
        Some(sum) => *sum += units,
        None => {
            totals.insert(currency.to_owned(), units);
        }
    }
}

/// A currency, also where there is none.
pub fn currency_name(currency: &str) -> &str {
    if currency.is_empty() { "no currency" } else { currency }
}

impl RevenueByDt {
    /// Adds `units` ten-thousandths to a partition.
    pub fn add(&mut self, dt: Dt, currency: Option<&str>, units: i128) {
        add_totals(self.0.entry(dt).or_default(), currency, units);
    }

    /// Adds all of `other`.
    pub fn absorb(&mut self, other: &RevenueByDt) {
        for (dt, totals) in &other.0 {
            for (currency, units) in totals {
                self.add(*dt, Some(currency), *units);
            }
        }
    }

    /// The totals of one partition.
    pub fn of(&self, dt: Dt) -> CurrencyTotals {
        self.0.get(&dt).cloned().unwrap_or_default()
    }
}

/// Ten-thousandths as a decimal text with four places. A sum may have more digits than a `Decimal` can hold.
pub(crate) fn units_text(units: i128) -> String {
    if let Ok(decimal) = Decimal::try_from_i128_with_scale(units, 4) {
        return decimal.to_string();
    }
    let mut out = Vec::with_capacity(24);
    write_scaled(&mut out, units, 4);
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_written_with_four_places() {
        assert_eq!(units_text(12_345_678), "1234.5678");
        assert_eq!(units_text(-5), "-0.0005");
        assert_eq!(units_text(0), "0.0000");
        assert_eq!(units_text(i128::MAX), "17014118346046923173168730371588410.5727");
    }
}
