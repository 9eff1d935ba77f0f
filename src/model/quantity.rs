//! How many: a whole number, or a decimal for what is weighed or measured.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    FactType, Money, MoneyError,
    decimal::{display, write_scaled},
};

/// The type of the column `quantity`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuantityType {
    /// BIGINT.
    #[default]
    Whole,
    /// DECIMAL(18,4).
    Decimal,
}

impl QuantityType {
    /// The type of its column.
    pub fn column(self) -> FactType {
        match self {
            QuantityType::Whole => FactType::BigInt,
            QuantityType::Decimal => FactType::Money,
        }
    }
}

/// A quantity of one of the types.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quantity {
    kind: QuantityType,
    /// Of a decimal: ten-thousandths.
    units: i64,
}

/// Ten-thousandths of one.
const ONE: i128 = 10_000;

impl From<i64> for Quantity {
    fn from(units: i64) -> Quantity {
        Quantity { kind: QuantityType::Whole, units }
    }
}

impl Quantity {
    /// The quantity that a column of this type holds as these units: ones, or ten-thousandths.
    pub fn of_units(kind: QuantityType, units: i64) -> Quantity {
        Quantity { kind, units }
    }

    /// A decimal.
    pub fn of_decimal(decimal: Money) -> Quantity {
        Quantity { kind: QuantityType::Decimal, units: decimal.units() }
    }

    /// What a column of its own type holds of it.
    pub fn units(self) -> i64 {
        self.units
    }

    /// What a column of this type holds of it; `None` if it does not fit.
    pub fn units_of(self, kind: QuantityType) -> Option<i64> {
        match (self.kind, kind) {
            (own, wanted) if own == wanted => Some(self.units),
            (QuantityType::Whole, _) => Money::from_units(i128::from(self.units) * ONE).ok().map(Money::units),
            (QuantityType::Decimal, _) => (i128::from(self.units) % ONE == 0).then_some(self.units / 10_000),
        }
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.units == 0
    }

    /// The sum of two of the same type; `None` if it does not fit.
    pub fn plus(self, other: Quantity) -> Option<Quantity> {
        let units = self.units.checked_add(other.units_of(self.kind)?)?;
        let fits = self.kind == QuantityType::Whole || Money::from_units(units.into()).is_ok();
        fits.then_some(Quantity { units, ..self })
    }

    /// A price, this many times: exact for a whole number, else rounded half to even at four decimals.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] if the product does not fit DECIMAL(18,4).
    pub fn times(self, price: Money) -> Result<Money, MoneyError> {
        let product = i128::from(price.units()) * i128::from(self.units);
        match self.kind {
            QuantityType::Whole => Money::from_units(product),
            QuantityType::Decimal => Money::from_units(divided(product, ONE)),
        }
    }

    /// The price of one, of a total: rounded half to even at four decimals; 0 of nothing.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] if the quotient does not fit DECIMAL(18,4).
    pub fn share_of(self, total: Money) -> Result<Money, MoneyError> {
        if self.units == 0 {
            return Ok(Money::ZERO);
        }
        let scale = if self.kind == QuantityType::Decimal { ONE } else { 1 };
        Money::from_units(divided(i128::from(total.units()) * scale, self.units.into()))
    }

    /// Appends the text of the layer.
    pub fn write(self, out: &mut Vec<u8>) {
        match self.kind {
            QuantityType::Whole => out.extend_from_slice(itoa::Buffer::new().format(self.units).as_bytes()),
            QuantityType::Decimal => write_scaled(out, self.units.into(), 4),
        }
    }

    /// Reads the text of the layer.
    pub fn from_canonical(kind: QuantityType, text: &str) -> Option<Quantity> {
        match kind {
            QuantityType::Whole => text.parse().ok().map(|units| Quantity { kind, units }),
            QuantityType::Decimal => Money::from_canonical(text.as_bytes()).ok().map(Quantity::of_decimal),
        }
    }
}

/// A quotient, rounded half to even.
fn divided(dividend: i128, divisor: i128) -> i128 {
    let (cut, rest) = (dividend.div_euclid(divisor), dividend.rem_euclid(divisor));
    // `cut` × `divisor` + `rest` = `dividend` with 0 ≤ `rest` < |`divisor`|. Half of a unit is |`divisor`| / 2 above `cut` if `divisor`
    // is positive, and below `cut` if it is negative.
    match (2 * rest).cmp(&divisor.abs()) {
        std::cmp::Ordering::Less => cut,
        std::cmp::Ordering::Equal if cut % 2 == 0 => cut,
        _ => cut + divisor.signum(),
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display(f, |out| self.write(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(units: i64) -> Quantity {
        Quantity::of_units(QuantityType::Decimal, units)
    }

    fn money(units: i128) -> Money {
        Money::from_units(units).unwrap()
    }

    #[test]
    fn a_quotient_is_rounded_half_to_even_on_both_sides_of_zero() {
        for (units, quantity, expected) in [
            (10, 4, 2),
            (30, 4, 8),
            (11, 4, 3),
            (-10, 4, -2),
            (-30, 4, -8),
            (10, -4, -2),
            (30, -4, -8),
            (-10, -4, 2),
            (-30, -4, 8),
            (7, 3, 2),
            (8, 3, 3),
            (-8, 3, -3),
            (8, -3, -3),
            (5, 0, 0),
        ] {
            assert_eq!(Quantity::from(quantity).share_of(money(units)).unwrap().units(), expected, "{units} / {quantity}");
            let same = decimal(quantity * 10_000);
            assert_eq!(same.share_of(money(units)).unwrap().units(), expected, "{units} / {same}");
        }
    }

    #[test]
    fn decimals_are_multiplied_and_rounded_half_to_even() {
        assert_eq!(decimal(7_500).times(money(200_000)), Ok(money(150_000)));
        assert_eq!(decimal(5_000).times(money(1)), Ok(money(0)));
        assert_eq!(decimal(5_000).times(money(3)), Ok(money(2)));
        assert_eq!(decimal(7_500).share_of(money(150_000)), Ok(money(200_000)));
        assert_eq!(Quantity::from(2).times(money(999_999_999_999_999_999)), Err(MoneyError::OutOfRange));
        assert_eq!(decimal(999_999_999_999_999_999).plus(decimal(1)), None);
        assert_eq!(decimal(5_000).plus(decimal(7_500)).map(|sum| sum.to_string()).as_deref(), Some("1.2500"));
    }

    #[test]
    fn the_text_of_the_layer_is_that_of_the_type() {
        for (kind, text) in [(QuantityType::Whole, "-3"), (QuantityType::Decimal, "-0.7500"), (QuantityType::Decimal, "2.0000")] {
            assert_eq!(Quantity::from_canonical(kind, text).map(|quantity| quantity.to_string()).as_deref(), Some(text));
        }
        assert_eq!(Quantity::from_canonical(QuantityType::Decimal, "2"), None);
        assert_eq!(Quantity::from_canonical(QuantityType::Whole, "2.0000"), None);
        assert_eq!((Quantity::from(2).units_of(QuantityType::Decimal), decimal(7_500).units_of(QuantityType::Whole)), (Some(20_000), None));
    }
}
