//! Exact money: DECIMAL(18,4) as a number of ten-thousandths, without floats.

use std::fmt;

use super::decimal::{display, write_scaled};

/// An amount that fits DECIMAL(18,4), held in ten-thousandths (contract, Orders: "`unit_price` and `line_total` must fit").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Money(i64);

/// Why an amount is not a valid [`Money`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MoneyError {
    /// The text is not a decimal number.
    #[error("not a decimal number")]
    NotANumber,
    /// The number has more than 14 digits before the point.
    #[error("does not fit DECIMAL(18,4)")]
    OutOfRange,
}

impl Money {
    /// Decimal places of every amount.
    pub const SCALE: usize = 4;
    /// Digits of every amount.
    pub const PRECISION: usize = 18;
    /// The largest number of ten-thousandths: eighteen nines.
    const MAX_UNITS: i64 = 999_999_999_999_999_999;

    /// The amount 0.
    pub const ZERO: Money = Money(0);

    /// An amount of ten-thousandths.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] beyond eighteen digits.
    pub fn from_units(units: i128) -> Result<Money, MoneyError> {
        let units = i64::try_from(units).map_err(|_| MoneyError::OutOfRange)?;
        if units.unsigned_abs() > Self::MAX_UNITS.unsigned_abs() {
            return Err(MoneyError::OutOfRange);
        }
        Ok(Money(units))
    }

    /// The amount in ten-thousandths.
    pub fn units(self) -> i64 {
        self.0
    }

    /// Parses the canonical text of the layer, which has exactly four decimals. Any other text is an error.
    ///
    /// # Errors
    /// [`MoneyError::NotANumber`] for any other form, [`MoneyError::OutOfRange`] beyond eighteen digits.
    pub fn from_canonical(text: &[u8]) -> Result<Money, MoneyError> {
        let (negative, digits) = match text {
            [b'-', rest @ ..] => (true, rest),
            _ => (false, text),
        };
        let point = digits.len().checked_sub(Self::SCALE + 1).filter(|&point| point > 0 && digits[point] == b'.');
        let Some(point) = point else { return Err(MoneyError::NotANumber) };
        if point > Self::PRECISION - Self::SCALE {
            return Err(MoneyError::OutOfRange);
        }
        let mut units: i64 = 0;
        for (place, &digit) in digits.iter().enumerate() {
            match digit {
                b'0'..=b'9' => units = units * 10 + i64::from(digit - b'0'),
                b'.' if place == point => {}
                _ => return Err(MoneyError::NotANumber),
            }
        }
        Ok(Money(if negative { -units } else { units }))
    }

    /// Appends the canonical text: exactly four decimals (contract, Output: CSV).
    pub fn write(self, out: &mut Vec<u8>) {
        write_scaled(out, i128::from(self.0), 4);
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display(f, |out| self.write(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_text_round_trips() {
        for units in [0, 1, -1, 10_000, -10_001, 123_456_789, 999_999_999_999_999_999, -999_999_999_999_999_999] {
            let money = Money::from_units(units).unwrap();
            assert_eq!(Money::from_canonical(money.to_string().as_bytes()), Ok(money));
        }
        assert_eq!(Money::from_units(-5).unwrap().to_string(), "-0.0005");
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "1", "1.0", "1.00000", ".0000", "-.0000", "+1.0000", "1e4.0000", "1.00 0", "12.3456x"] {
            assert_eq!(Money::from_canonical(text.as_bytes()), Err(MoneyError::NotANumber), "{text}");
        }
        assert_eq!(Money::from_canonical(b"100000000000000.0000"), Err(MoneyError::OutOfRange));
    }

    #[test]
    fn the_range_is_eighteen_digits() {
        assert!(Money::from_units(999_999_999_999_999_999).is_ok());
        assert_eq!(Money::from_units(1_000_000_000_000_000_000), Err(MoneyError::OutOfRange));
        assert_eq!(Money::from_units(-1_000_000_000_000_000_000), Err(MoneyError::OutOfRange));
    }
}
