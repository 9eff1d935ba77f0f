//! Parses numbers digit by digit into exact money, whole numbers and instants, from a JSON number or a text of one. Never uses a
//! float, and never allocates memory for a large exponent.

use std::{borrow::Cow, fmt};

use super::{Money, MoneyError, UtcMicros};

/// The parts of a decimal number: ± `whole`.`fraction` × 10^`exponent`.
struct Decimal<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> Decimal<'a> {
    /// Parses a JSON number. Also accepts `+1`, `.5` and `5.`.
    fn parse(text: &'a [u8]) -> Option<Decimal<'a>> {
        let (negative, rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        let digits = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (whole, rest) = rest.split_at(digits(rest));
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => rest.split_at(digits(rest)),
            _ => (&rest[..0], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', rest @ ..] => parse_exponent(rest)?,
            _ => return None,
        };
        Some(Decimal { negative, whole, fraction, exponent })
    }

    /// The value × 10^`scale`, truncated to a whole number without sign, and the remainder. `None` if the number has more than
    /// 38 digits.
    fn scaled(&self, scale: i64) -> Option<(i128, Remainder)> {
        let digits = || self.whole.iter().chain(self.fraction).map(|digit| i128::from(digit - b'0'));
        if digits().all(|digit| digit == 0) {
            return Some((0, Remainder::Nothing));
        }
        let written = i64::try_from(self.whole.len() + self.fraction.len()).ok()?;
        // The number of digits before the point, after scaling.
        let kept = i64::try_from(self.whole.len()).ok()?.checked_add(self.exponent)?.checked_add(scale)?;
        if kept < 0 {
            // There are zeros between the point and the first digit.
            return Some((0, Remainder::BelowHalf));
        }
        let taken = usize::try_from(kept).ok()?;
        let mut value: i128 = 0;
        for digit in digits().take(taken).chain((written..kept).map(|_| 0)) {
            value = value.checked_mul(10)?.checked_add(digit)?;
        }
        let mut rest = digits().skip(taken);
        let first = rest.next().unwrap_or(0);
        let beyond = rest.any(|digit| digit != 0);
        let remainder = match first {
            0 if !beyond => Remainder::Nothing,
            0..5 => Remainder::BelowHalf,
            5 if !beyond => Remainder::Half,
            _ => Remainder::AboveHalf,
        };
        Some((value, remainder))
    }

    fn signed(&self, value: i128) -> i128 {
        if self.negative { -value } else { value }
    }
}

/// The truncated part of a number, compared with one unit of the last digit that is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Remainder {
    Nothing,
    BelowHalf,
    Half,
    AboveHalf,
}

impl Remainder {
    /// Whether half-to-even rounds `value` up.
    fn rounds_up(self, value: i128) -> bool {
        match self {
            Remainder::Nothing | Remainder::BelowHalf => false,
            Remainder::Half => value % 2 == 1,
            Remainder::AboveHalf => true,
        }
    }
}

/// Parses an exponent, clamped to ±10^9. Beyond that, every number except 0 is out of range or rounds to 0.
fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0_i64, |sum, digit| (sum * 10 + i64::from(digit - b'0')).min(1_000_000_000));
    Some(if negative { -value } else { value })
}

/// An amount, and whether more than four decimals had to be rounded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParsedMoney {
    /// The amount.
    pub money: Money,
    /// Whether rounding lost digits.
    pub rounded: bool,
}

impl ParsedMoney {
    /// The sum of both.
    ///
    /// # Errors
    /// A sum that does not fit.
    pub fn plus(self, other: ParsedMoney) -> Result<ParsedMoney, MoneyError> {
        let units = i128::from(self.money.units()) + i128::from(other.money.units());
        Ok(ParsedMoney { money: Money::from_units(units)?, rounded: self.rounded || other.rounded })
    }

    /// The sum of those amounts that are there; `None` where none is.
    ///
    /// # Errors
    /// That of the first amount that has one, or a sum that does not fit.
    pub fn sum(amounts: impl IntoIterator<Item = Result<Option<ParsedMoney>, MoneyError>>) -> Result<Option<ParsedMoney>, MoneyError> {
        amounts.into_iter().try_fold(None, |sum: Option<ParsedMoney>, amount| match (sum, amount?) {
            (Some(sum), Some(amount)) => sum.plus(amount).map(Some),
            (sum, amount) => Ok(sum.or(amount)),
        })
    }
}

/// Parses an amount, rounded half to even at four decimals (contract, Orders: `unit_price`).
///
/// # Errors
/// [`MoneyError::NotANumber`] if it is not a decimal number, [`MoneyError::OutOfRange`] if it does not fit DECIMAL(18,4).
pub fn parse_money(text: &[u8]) -> Result<ParsedMoney, MoneyError> {
    if let Some(parsed) = parse_short_money(text) {
        return Ok(parsed);
    }
    parse_minor_money(text, 0)
}

/// Parses an amount in minor units with this number of decimals.
///
/// # Errors
/// As [`parse_money`].
pub fn parse_minor_money(text: &[u8], decimals: u32) -> Result<ParsedMoney, MoneyError> {
    let decimal = Decimal::parse(text).ok_or(MoneyError::NotANumber)?;
    let (cut, remainder) = decimal.scaled(4 - i64::from(decimals)).ok_or(MoneyError::OutOfRange)?;
    let units = cut.checked_add(i128::from(remainder.rounds_up(cut))).ok_or(MoneyError::OutOfRange)?;
    Ok(ParsedMoney { money: Money::from_units(decimal.signed(units))?, rounded: remainder != Remainder::Nothing })
}

/// The canonical text of a DECIMAL(18, `scale`), rounded half to even; `None` if it is not a number or does not fit.
pub(super) fn canonical_decimal(text: &[u8], scale: u32) -> Option<String> {
    let decimal = Decimal::parse(text)?;
    let (cut, remainder) = decimal.scaled(i64::from(scale))?;
    let units = cut.checked_add(i128::from(remainder.rounds_up(cut)))?;
    if units >= 10_i128.pow(18) {
        return None;
    }
    let mut out = Vec::with_capacity(24);
    write_scaled(&mut out, decimal.signed(units), scale);
    String::from_utf8(out).ok()
}

/// Displays the text that a value writes into the layer.
pub(super) fn display(f: &mut fmt::Formatter<'_>, write: impl FnOnce(&mut Vec<u8>)) -> fmt::Result {
    let mut text = Vec::with_capacity(24);
    write(&mut text);
    f.write_str(&String::from_utf8_lossy(&text))
}

/// Appends `units` × 10^-`scale` as a decimal number with exactly `scale` decimals, at most 18.
#[inline(always)]
pub(super) fn write_scaled(out: &mut Vec<u8>, units: i128, scale: u32) {
    if units < 0 {
        out.push(b'-');
    }
    let (magnitude, mut divisor) = (units.unsigned_abs(), 10_u64.pow(scale));
    // Division by 128 bits costs ten times as much, and hardly any amount needs it.
    let mut fraction = match u64::try_from(magnitude) {
        Ok(magnitude) => {
            out.extend_from_slice(itoa::Buffer::new().format(magnitude / divisor).as_bytes());
            magnitude % divisor
        }
        Err(_) => {
            out.extend_from_slice(itoa::Buffer::new().format(magnitude / u128::from(divisor)).as_bytes());
            u64::try_from(magnitude % u128::from(divisor)).unwrap_or(0)
        }
    };
    if scale > 0 {
        out.push(b'.');
    }
    for _ in 0..scale {
        divisor /= 10;
        out.push(b'0' + u8::try_from(fraction / divisor).unwrap_or(0));
        fraction %= divisor;
    }
}

/// Parses the form of nearly every price: up to twelve digits, then at most four decimals. `None` for any other form.
fn parse_short_money(text: &[u8]) -> Option<ParsedMoney> {
    let mut units: i64 = 0;
    let mut decimals: Option<usize> = None;
    if text.len() > 13 || !text.first()?.is_ascii_digit() {
        return None;
    }
    for &byte in text {
        match byte {
            b'0'..=b'9' => {
                units = units * 10 + i64::from(byte - b'0');
                decimals = decimals.map(|count| count + 1);
            }
            b'.' if decimals.is_none() => decimals = Some(0),
            _ => return None,
        }
    }
    let units = match decimals {
        None => units * 10_000,
        Some(1) => units * 1000,
        Some(2) => units * 100,
        Some(3) => units * 10,
        Some(4) => units,
        Some(_) => return None,
    };
    Money::from_units(i128::from(units)).ok().map(|money| ParsedMoney { money, rounded: false })
}

/// Parses a whole number (contract, Orders: `quantity`). `2`, `2.0` and `2e0` are whole numbers, `2.5` is not.
pub fn parse_whole(text: &[u8]) -> Option<i64> {
    let decimal = Decimal::parse(text)?;
    let (value, remainder) = decimal.scaled(0)?;
    if remainder == Remainder::Nothing { i64::try_from(decimal.signed(value)).ok() } else { None }
}

/// The canonical text of a whole number (contract, Orders: `7.0` is 7, and `-0` is 0); `None` if the number is not
/// whole.
pub fn whole_number_text(digits: &str) -> Option<Cow<'_, str>> {
    if digits == "-0" {
        return Some(Cow::Borrowed("0"));
    }
    let is_plain = digits.strip_prefix('-').unwrap_or(digits).bytes().all(|byte| byte.is_ascii_digit());
    if is_plain && !digits.is_empty() && digits != "-" {
        return Some(Cow::Borrowed(digits));
    }
    let decimal = Decimal::parse(digits.as_bytes())?;
    let (value, remainder) = decimal.scaled(0)?;
    (remainder == Remainder::Nothing).then(|| Cow::Owned(decimal.signed(value).to_string()))
}

/// Whether two texts are the same number: `0`, `0.0` and `-0`.
pub fn equal_numbers(a: &str, b: &str) -> bool {
    const DECIMALS: i64 = 12;
    let exact = |text: &str| {
        let decimal = Decimal::parse(text.as_bytes())?;
        decimal.scaled(DECIMALS).filter(|(_, remainder)| *remainder == Remainder::Nothing).map(|(value, _)| decimal.signed(value))
    };
    exact(a).is_some_and(|a| exact(b) == Some(a))
}

/// Whether two texts are the same value: equal, or the same number.
pub fn is_same_value(a: &str, b: &str) -> bool {
    a == b || equal_numbers(a, b)
}

/// Parses an epoch (contract, Orders: `created_at`): seconds, from 10^11 on milliseconds, from 10^14 on microseconds. Truncates
/// digits beyond the microsecond.
pub(super) fn parse_epoch(text: &[u8]) -> Option<UtcMicros> {
    const MILLIS_FROM: i128 = 100_000_000_000;
    const MICROS_FROM: i128 = 100_000_000_000_000;
    let decimal = Decimal::parse(text)?;
    let decimals = match decimal.scaled(0)?.0 {
        MICROS_FROM.. => 0,
        MILLIS_FROM.. => 3,
        _ => 6,
    };
    let micros = decimal.signed(decimal.scaled(decimals)?.0);
    UtcMicros::new(i64::try_from(micros).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(text: &str) -> Result<(i64, bool), MoneyError> {
        parse_money(text.as_bytes()).map(|parsed| (parsed.money.units(), parsed.rounded))
    }

    #[test]
    fn money_is_exact() {
        for (text, expected) in [
            ("0", 0),
            ("-0", 0),
            ("19.90", 199_000),
            ("-1.5", -15_000),
            ("1e2", 1_000_000),
            ("1.25E-2", 125),
            ("0.1", 1000),
            (".5", 5000),
            ("5.", 50_000),
            ("+7", 70_000),
            ("99999999999999.9999", 999_999_999_999_999_999),
            ("0.00000000000000000000000000000000000000000000000000001e53", 10_000),
            ("0e999999999999999999999", 0),
            ("1.00000000", 10_000),
        ] {
            assert_eq!(units(text), Ok((expected, false)), "{text}");
        }
    }

    #[test]
    fn more_than_four_decimals_are_rounded_half_to_even() {
        for (text, expected) in [
            ("1.00005", 10_000),
            ("1.00015", 10_002),
            ("1.00025", 10_002),
            ("1.000251", 10_003),
            ("1.0000500000000000000000000000000000000000000001", 10_001),
            ("-1.00015", -10_002),
            ("0.00004", 0),
            ("1e-999999999999", 0),
            ("0.000000000001", 0),
        ] {
            assert_eq!(units(text), Ok((expected, true)), "{text}");
        }
    }

    #[test]
    fn not_a_number_and_out_of_range_are_different_errors() {
        for text in ["", "-", ".", "1,5", "$1", "1.2.3", "NaN", "Infinity", "0x10", "1e", "1e+", "1 2", "--1", "1e1.5"] {
            assert_eq!(units(text), Err(MoneyError::NotANumber), "{text}");
        }
        for text in
            ["100000000000000", "1e14", "-1e14", "1e999999999999", "99999999999999.99995", "123456789012345678901234567890123456789012"]
        {
            assert_eq!(units(text), Err(MoneyError::OutOfRange), "{text}");
        }
    }

    #[test]
    fn a_quantity_is_whole() {
        for (text, expected) in
            [("2", 2), ("2.0", 2), ("2e0", 2), ("0.2e1", 2), ("-3", -3), ("1e3", 1000), ("0", 0), ("9223372036854775807", i64::MAX)]
        {
            assert_eq!(parse_whole(text.as_bytes()), Some(expected), "{text}");
        }
        for text in ["2.5", "x", "", "1e-1", "9223372036854775808", "1e99"] {
            assert_eq!(parse_whole(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_size_of_an_epoch_decides_its_unit() {
        let micros = |text: &str| parse_epoch(text.as_bytes()).map(UtcMicros::micros);
        assert_eq!(micros("1769817600"), Some(1_769_817_600_000_000));
        assert_eq!(micros("1769817600.1234569"), Some(1_769_817_600_123_456));
        assert_eq!(micros("1769817600.99999999999"), Some(1_769_817_600_999_999));
        assert_eq!(micros("1769817600123"), Some(1_769_817_600_123_000));
        assert_eq!(micros("1769817600123.4567"), Some(1_769_817_600_123_456));
        assert_eq!(micros("99999999999"), Some(99_999_999_999_000_000));
        assert_eq!(micros("100000000000"), Some(100_000_000_000_000));
        assert_eq!(micros("1.7698176e9"), Some(1_769_817_600_000_000));
        assert_eq!(micros("-1.5"), Some(-1_500_000));
        assert_eq!(micros("0"), Some(0));
        assert_eq!(micros("1e30"), None);
        assert_eq!(micros("99999999999999"), Some(99_999_999_999_999_000));
        assert_eq!(micros("1769817600123456"), Some(1_769_817_600_123_456));
    }

    #[test]
    fn a_whole_number_has_one_text_as_an_id() {
        for (digits, id) in [
            ("7", "7"),
            ("7.0", "7"),
            ("7e2", "700"),
            ("-0.0", "0"),
            ("-0", "0"),
            ("70e-1", "7"),
            ("12345678901234567890123", "12345678901234567890123"),
        ] {
            assert_eq!(whole_number_text(digits).as_deref(), Some(id), "{digits}");
        }
        for digits in ["7.5", "1e99", "-", "", "x"] {
            assert_eq!(whole_number_text(digits), None, "{digits}");
        }
        assert!(equal_numbers("0", "-0.00") && equal_numbers("1e1", "10") && !equal_numbers("0", "x") && !equal_numbers("x", "x"));
    }

    #[test]
    fn scaled_integers_have_all_their_decimals() {
        let text = |units, scale| {
            let mut out = Vec::new();
            write_scaled(&mut out, units, scale);
            String::from_utf8(out).unwrap()
        };
        assert_eq!([text(-5, 4), text(12_345, 2), text(7, 0), text(0, 3)], ["-0.0005", "123.45", "7", "0.000"]);
        assert_eq!(text(i128::MAX, 4), "17014118346046923173168730371588410.5727");
    }

    proptest::proptest! {
        #[test]
        fn the_short_form_and_the_long_one_agree(text in "[0-9]{1,8}(\\.[0-9]{0,4})?") {
            let long = Decimal::parse(text.as_bytes()).and_then(|decimal| decimal.scaled(4)).map(|(units, _)| units);
            let parsed = parse_money(text.as_bytes()).map(|parsed| i128::from(parsed.money.units())).ok();
            proptest::prop_assert_eq!(parsed, long);
        }

        #[test]
        fn no_text_panics(text in "[-+0-9.eE]{0,60}") {
            let _ = (parse_money(text.as_bytes()), parse_whole(text.as_bytes()), parse_epoch(text.as_bytes()));
        }
    }
}
