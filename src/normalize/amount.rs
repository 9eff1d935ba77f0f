//! Amounts: converts the value of a field to money, from major or minor units. Text becomes [`Money`] once, digit by digit.

use super::{
    fields::{AmountUnits, Field},
    scalar::Scalar,
};
use crate::{
    model::{self, MoneyError, ParsedMoney, whole_number_text},
    settings::ScaleText,
};

/// The amount of a field; `None` if it is missing. `currency` is the currency of the record.
///
/// # Errors
/// [`MoneyError::NotANumber`] if the value is not a number, or if its units are unknown.
pub(super) fn amount(
    field: &Field,
    value: &Scalar<'_>,
    cells: &[Option<&str>],
    currency: Option<&str>,
) -> Result<Option<ParsedMoney>, MoneyError> {
    let text = match value {
        Scalar::Missing => return Ok(None),
        Scalar::Text(text) => text.as_bytes(),
        Scalar::Number(digits) => digits.as_bytes(),
        Scalar::Bool(_) | Scalar::Other => return Err(MoneyError::NotANumber),
    };
    let decimals = match &field.units {
        AmountUnits::Decimals(decimals) => Some(*decimals),
        AmountUnits::OfCurrency(minor) => currency.and_then(|currency| minor.decimals(currency)),
        AmountUnits::Beside { leaf, scale } => leaf.and_then(|leaf| cells[leaf]).and_then(|raw| decimals_beside(raw, *scale)),
    };
    match decimals.ok_or(MoneyError::NotANumber)? {
        0 => model::parse_money(text).map(Some),
        decimals => model::parse_minor_money(text, decimals).map(Some),
    }
}

/// The number of decimals that a scale value beside an amount means: `2` or `100` both mean two.
fn decimals_beside(raw: &str, scale: ScaleText) -> Option<u32> {
    const MAX_DECIMALS: u32 = 18;
    let number = match Scalar::of(raw) {
        Scalar::Number(digits) => whole_number_text(digits)?.into_owned(),
        Scalar::Text(text) => whole_number_text(&text)?.into_owned(),
        Scalar::Missing | Scalar::Bool(_) | Scalar::Other => return None,
    };
    let number: u64 = number.parse().ok()?;
    let power = (0..=MAX_DECIMALS).find(|&decimals| 10_u64.pow(decimals) == number);
    let decimals = u32::try_from(number).ok().filter(|decimals| *decimals <= MAX_DECIMALS);
    match scale {
        ScaleText::Decimals => decimals,
        ScaleText::Divisor => power,
        // No currency has one decimal or ten decimals, so 1 and 10 are divisors.
        ScaleText::DecimalsOrDivisor => power.or_else(|| decimals.filter(|decimals| *decimals < 10)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_beside_an_amount_is_a_number_of_decimals_or_a_divisor() {
        let decimals = |raw, scale| decimals_beside(raw, scale);
        for (raw, either, only_decimals, divisor) in [
            ("0", Some(0), Some(0), None),
            ("1", Some(0), Some(1), Some(0)),
            ("2", Some(2), Some(2), None),
            ("\"3\"", Some(3), Some(3), None),
            ("10", Some(1), Some(10), Some(1)),
            ("100.0", Some(2), None, Some(2)),
            ("1000000", Some(6), None, Some(6)),
            ("11", None, Some(11), None),
            ("-1", None, None, None),
            ("2.5", None, None, None),
            ("true", None, None, None),
            ("null", None, None, None),
            ("99999999999999999999", None, None, None),
        ] {
            assert_eq!(decimals(raw, ScaleText::DecimalsOrDivisor), either, "{raw}");
            assert_eq!(decimals(raw, ScaleText::Decimals), only_decimals, "{raw}");
            assert_eq!(decimals(raw, ScaleText::Divisor), divisor, "{raw}");
        }
    }
}
