//! Numbers as a person reads them: grouped digits, exact money with as many decimals as the report needs, shares of a width.
//! Computes in whole numbers alone.

use indicatif::{HumanBytes, HumanCount};

use crate::model::{DropCounts, UtcMicros, noun_of, units_text};

/// Ten-thousandths of a unit of money.
pub(super) const MONEY: i128 = 10_000;

/// How many decimals all amounts of a currency show: as few as lose nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Decimals {
    Two,
    Four,
}

impl Decimals {
    /// Two, if all of these amounts have no more.
    pub(super) fn of(amounts: impl IntoIterator<Item = i128>) -> Decimals {
        if amounts.into_iter().all(|units| units % 100 == 0) { Decimals::Two } else { Decimals::Four }
    }
}

/// A count: `1,234,567`.
pub(super) fn count(value: u64) -> String {
    HumanCount(value).to_string()
}

/// An amount of ten-thousandths, to the last digit: `-1,234.50`.
pub(super) fn money(units: i128, decimals: Decimals) -> String {
    let text = units_text(units);
    let (whole, fraction) = text.split_once('.').unwrap_or((text.as_str(), "0000"));
    let shown = match decimals {
        Decimals::Two => fraction.get(..2).unwrap_or(fraction),
        Decimals::Four => fraction,
    };
    format!("{}.{shown}", grouped(whole))
}

/// A size: `1.20 MiB`.
pub(super) fn bytes(value: u64) -> String {
    HumanBytes(value).to_string()
}

/// The digits of a whole number, in groups of three.
fn grouped(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let mut text = sign.to_owned();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A value in short, for a label: `1.5k`, `20M`. `one` is what makes one.
pub(super) fn short(value: i128, one: i128) -> String {
    let sizes = [(1_000_000_000, "bn"), (1_000_000, "M"), (1_000, "k"), (1, "")];
    let fits = |(size, _): &(i128, &str)| value.abs() >= one.saturating_mul(*size);
    let (size, suffix) = sizes.into_iter().find(fits).unwrap_or((1, ""));
    let hundredths = value.saturating_mul(100) / one.saturating_mul(size);
    let (whole, rest) = (hundredths.abs() / 100, hundredths.abs() % 100);
    let sign = if value < 0 { "−" } else { "" };
    match rest {
        0 => format!("{sign}{whole}{suffix}"),
        rest if rest % 10 == 0 => format!("{sign}{whole}.{}{suffix}", rest / 10),
        rest => format!("{sign}{whole}.{rest:02}{suffix}"),
    }
}

/// An instant to the second: `2026-01-31 10:00:00`, in UTC.
pub(super) fn instant(at: UtcMicros) -> String {
    let text = at.to_canonical();
    text.get(..19).unwrap_or(&text).to_owned()
}

/// A part of a whole in percent, with two decimals.
pub(super) fn percent(part: i128, whole: i128) -> String {
    let hundredths = part.saturating_mul(10_000) / whole.max(1);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// `1 run`, `2 runs`.
pub(super) fn counted(value: u64, noun: &str) -> String {
    format!("{} {}", count(value), noun_of(value, noun))
}

/// The path of a file beneath the output.
pub(super) fn beneath(location: &str, file: &str) -> String {
    format!("{}/{file}", location.trim_end_matches('/'))
}

/// What was dropped, with its units: `2 records, 3 lines`; `nothing`. The same words as on a terminal.
pub(super) fn drops(drops: DropCounts) -> String {
    let units = [(drops.records, "record"), (drops.lines, "line")];
    let shown: Vec<_> = units.into_iter().filter(|(value, _)| *value > 0).map(|(value, unit)| counted(value, unit)).collect();
    if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_grouped_and_loses_no_digit() {
        assert_eq!(money(12_345_678_900, Decimals::Two), "1,234,567.89");
        assert_eq!(money(-12_345_678, Decimals::Four), "-1,234.5678");
        assert_eq!(money(-5, Decimals::Four), "-0.0005");
        assert_eq!(Decimals::of([100, -500]), Decimals::Two);
        assert_eq!(Decimals::of([100, 5]), Decimals::Four);
        assert_eq!((count(0), count(999), count(1000), count(1_234_567)), ("0".into(), "999".into(), "1,000".into(), "1,234,567".into()));
    }

    #[test]
    fn an_instant_has_no_fraction() {
        let at = UtcMicros::from_civil((2026, 1, 31), 36_000, 250_000, 0).unwrap();
        assert_eq!(instant(at), "2026-01-31 10:00:00");
    }

    #[test]
    fn labels_are_short() {
        assert_eq!(short(15_000_000, MONEY), "1.5k");
        assert_eq!(short(-20_000 * 1_000_000, MONEY), "−2M");
        assert_eq!((short(0, 1), short(250, 1), short(5_000, MONEY)), ("0".into(), "250".into(), "0.5".into()));
        assert_eq!((percent(1, 3), percent(2, 2)), ("33.33".into(), "100.00".into()));
    }
}
