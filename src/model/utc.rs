//! Instants in UTC with microsecond precision, and their calendar.

use std::fmt;

/// Microseconds since 1970-01-01T00:00:00Z, of the years 1 to 9999 (contract, Orders: `created_at`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UtcMicros(i64);

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar.
/// The arithmetic is that of Howard Hinnant's `days_from_civil` (<https://howardhinnant.github.io/date_algorithms.html>).
pub(super) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The date, as (year, month, day), of a number of days from 1970-01-01.
pub(super) fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

/// The number of days of a month in a year.
pub(super) fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// The last two decimal digits of a number that is not negative.
pub(super) fn two_digits(value: i64) -> [u8; 2] {
    let [pair, ..] = (value % 100).to_le_bytes();
    [b'0' + pair / 10, b'0' + pair % 10]
}

impl UtcMicros {
    /// 0001-01-01T00:00:00Z.
    pub const MIN: UtcMicros = UtcMicros(-62_135_596_800_000_000);
    /// 9999-12-31T23:59:59.999999Z.
    pub const MAX: UtcMicros = UtcMicros(253_402_300_799_999_999);
    /// Microseconds of a second.
    pub const SECOND: i64 = 1_000_000;
    /// Microseconds of a day.
    pub const DAY: i64 = 86_400 * Self::SECOND;

    /// An instant; `None` outside the years 1 to 9999.
    pub fn new(micros: i64) -> Option<UtcMicros> {
        (Self::MIN.0..=Self::MAX.0).contains(&micros).then_some(UtcMicros(micros))
    }

    /// An instant of the calendar, with an offset east of Greenwich. `None` if the date or time is invalid, or if the instant in
    /// UTC is outside the years 1 to 9999. A leap second is the first instant of the next minute.
    pub fn from_civil(date: (i64, i64, i64), second_of_day: i64, micros: i64, offset_seconds: i64) -> Option<UtcMicros> {
        let (year, month, day) = date;
        if !(0..=9999).contains(&year) || !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
            return None;
        }
        let seconds = days_from_civil(year, month, day) * 86_400 + second_of_day - offset_seconds;
        UtcMicros::new(seconds * Self::SECOND + micros)
    }

    /// Microseconds since the epoch.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// The current time.
    pub fn now() -> UtcMicros {
        UtcMicros(chrono::Utc::now().timestamp_micros().clamp(Self::MIN.0, Self::MAX.0))
    }

    /// This instant minus `micros`, clamped to the years 1 to 9999.
    #[must_use]
    pub fn minus(self, micros: i64) -> UtcMicros {
        UtcMicros(self.0.saturating_sub(micros).clamp(Self::MIN.0, Self::MAX.0))
    }

    /// Appends `YYYY-MM-DD HH:MM:SS[.ffffff]` (contract, Output: CSV).
    pub fn write(self, out: &mut Vec<u8>) {
        self.write_with(out, b' ');
    }

    /// The text that [`UtcMicros::write`] writes.
    pub fn to_canonical(self) -> String {
        let mut out = Vec::with_capacity(26);
        self.write(&mut out);
        String::from_utf8(out).unwrap_or_default()
    }

    /// The RFC 3339 text, `2026-01-31T10:00:00Z`.
    pub fn rfc3339(self) -> String {
        let mut out = Vec::with_capacity(27);
        self.write_with(&mut out, b'T');
        out.push(b'Z');
        String::from_utf8(out).unwrap_or_default()
    }

    fn write_with(self, out: &mut Vec<u8>, separator: u8) {
        let (year, month, day) = civil_from_days(self.0.div_euclid(Self::DAY));
        let within = self.0.rem_euclid(Self::DAY);
        let (second, fraction) = (within / Self::SECOND, within % Self::SECOND);
        let (hour, within_hour) = (second / 3600, second % 3600);
        let ([y1, y2], [y3, y4]) = (two_digits(year / 100), two_digits(year));
        let ([mo1, mo2], [d1, d2]) = (two_digits(month), two_digits(day));
        let ([h1, h2], [mi1, mi2], [s1, s2]) = (two_digits(hour), two_digits(within_hour / 60), two_digits(within_hour % 60));
        out.extend_from_slice(&[y1, y2, y3, y4, b'-', mo1, mo2, b'-', d1, d2, separator, h1, h2, b':', mi1, mi2, b':', s1, s2]);
        if fraction != 0 {
            let ([f1, f2], [f3, f4], [f5, f6]) = (two_digits(fraction / 10_000), two_digits(fraction / 100), two_digits(fraction));
            out.extend_from_slice(&[b'.', f1, f2, f3, f4, f5, f6]);
        }
    }

    /// Parses the text that [`UtcMicros::write`] writes; `None` for any other text.
    pub fn from_canonical(text: &[u8]) -> Option<UtcMicros> {
        if !(text.len() == 19 || (text.len() == 26 && text[19] == b'.')) {
            return None;
        }
        if [text[4], text[7], text[10], text[13], text[16]] != *b"-- ::" {
            return None;
        }
        let number = |range: std::ops::Range<usize>| {
            text[range].iter().try_fold(0_i64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
        };
        let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let micros = if text.len() == 26 { number(20..26)? } else { 0 };
        UtcMicros::from_civil((number(0..4)?, number(5..7)?, number(8..10)?), hour * 3600 + minute * 60 + second, micros, 0)
    }
}

impl fmt::Display for UtcMicros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

impl serde::Serialize for UtcMicros {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.rfc3339())
    }
}

impl<'de> serde::Deserialize<'de> for UtcMicros {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<UtcMicros, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse_time_text(&text).ok_or_else(|| serde::de::Error::custom("not a time of RFC 3339"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_agrees_with_chrono_on_every_day() {
        use chrono::Datelike;
        let epoch = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
        for days in (UtcMicros::MIN.0 / UtcMicros::DAY)..=(UtcMicros::MAX.0 / UtcMicros::DAY) {
            let date = epoch + chrono::Duration::days(days);
            let civil = (i64::from(date.year()), i64::from(date.month()), i64::from(date.day()));
            assert_eq!(civil_from_days(days), civil);
            assert_eq!(days_from_civil(civil.0, civil.1, civil.2), days);
        }
    }

    #[test]
    fn canonical_text_round_trips() {
        for micros in [0, -1, 1, UtcMicros::MIN.0, UtcMicros::MAX.0, 1_769_817_600_123_456, 1_769_817_600_000_000] {
            let instant = UtcMicros::new(micros).unwrap();
            let mut text = Vec::new();
            instant.write(&mut text);
            assert_eq!(UtcMicros::from_canonical(&text), Some(instant));
        }
        for text in ["2026-02-30 00:00:00", "2026-01-01T00:00:00", "2026-01-01 24:00:00", "2026-01-01 00:00:00.1", "0000-01-01 00:00:00"] {
            assert_eq!(UtcMicros::from_canonical(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn years_outside_1_to_9999_are_invalid() {
        assert_eq!(UtcMicros::new(UtcMicros::MAX.0 + 1), None);
        assert_eq!(UtcMicros::from_civil((9999, 12, 31), 86_399, 0, -3600), None);
        assert_eq!(UtcMicros::from_civil((1, 1, 1), 0, 0, 3600), None);
        assert!(UtcMicros::from_civil((0, 12, 31), 86_399, 0, -3600).is_some());
    }
}
