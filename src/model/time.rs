//! Parses the timestamps of sources (contract, Orders: `created_at`).

use super::{UtcMicros, decimal};

/// Parses a timestamp. Accepts RFC 3339, without an offset (UTC), a date alone, and the digits of an epoch. A space may replace
/// the `T` or precede the offset. As in PostgreSQL, the colon and minutes of an offset and the seconds of a time are optional.
pub fn parse_time_text(text: &str) -> Option<UtcMicros> {
    let bytes = text.as_bytes();
    if bytes.iter().all(u8::is_ascii_digit) {
        return epoch_of_digits(text);
    }
    let date = (number(bytes, 0, 4)?, number(bytes, 5, 2)?, number(bytes, 8, 2)?);
    if bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    if bytes.len() == 10 {
        return UtcMicros::from_civil(date, 0, 0, 0);
    }
    if !matches!(bytes[10], b'T' | b't' | b' ') {
        return None;
    }
    let (hour, minute) = (number(bytes, 11, 2)?, number(bytes, 14, 2)?);
    if bytes[13] != b':' || hour > 23 || minute > 59 {
        return None;
    }
    let (second, rest) = match bytes.get(16..)? {
        [b':', ..] => (number(bytes, 17, 2)?, &bytes[19..]),
        rest => (0, rest),
    };
    let (micros, rest) = fraction(rest)?;
    let offset = offset(rest)?;
    let instant = UtcMicros::from_civil(date, hour * 3600 + minute * 60 + second, micros, offset)?;
    // RFC 3339, 5.7: second 60 is a leap second, which is valid only at midnight UTC.
    let leap = second == 60 && instant.micros().rem_euclid(UtcMicros::DAY) < UtcMicros::SECOND;
    (second < 60 || leap).then_some(instant)
}

/// Parses a text of digits as an epoch. The number of digits must be that of a current epoch in seconds, milliseconds or
/// microseconds. Other numbers may be years, dates or serial days of a spreadsheet.
fn epoch_of_digits(digits: &str) -> Option<UtcMicros> {
    matches!(digits.len(), 9 | 10 | 12 | 13 | 15 | 16).then(|| parse_time_number(digits)).flatten()
}

/// Parses the text of a JSON number as an epoch: seconds, from 10^11 on milliseconds, from 10^14 on microseconds.
pub fn parse_time_number(digits: &str) -> Option<UtcMicros> {
    decimal::parse_epoch(digits.as_bytes())
}

/// Parses a timestamp as [`parse_time_text`] does. One without an offset is of a zone: in the hour that a clock repeats the earlier
/// instant, and in the hour that it leaves out the instant by the offset before.
pub fn parse_time_in_zone(text: &str, zone: chrono_tz::Tz) -> Option<UtcMicros> {
    let instant = parse_time_text(text)?;
    if has_offset(text) { Some(instant) } else { in_zone(instant, zone) }
}

/// Whether a valid timestamp says its offset. The digits of an epoch do.
fn has_offset(text: &str) -> bool {
    let time = text.as_bytes().get(10..).unwrap_or_default();
    text.bytes().all(|byte| byte.is_ascii_digit()) || time.iter().any(|byte| matches!(byte, b'Z' | b'z' | b'+' | b'-' | b'C' | b'c'))
}

/// The instant at which clocks of a zone show what this one shows in UTC.
fn in_zone(shown: UtcMicros, zone: chrono_tz::Tz) -> Option<UtcMicros> {
    use chrono::{MappedLocalTime, Offset, TimeZone};
    let local = chrono::DateTime::from_timestamp_micros(shown.micros())?.naive_utc();
    let offset = match zone.offset_from_local_datetime(&local) {
        MappedLocalTime::Single(offset) => offset,
        MappedLocalTime::Ambiguous(earlier, _) => earlier,
        MappedLocalTime::None => zone.offset_from_local_datetime(&(local - chrono::Duration::hours(3))).earliest()?,
    };
    UtcMicros::new(shown.micros() - i64::from(offset.fix().local_minus_utc()) * UtcMicros::SECOND)
}

/// What clocks of a zone show at an instant, as if it were UTC.
pub fn shown_in_zone(instant: UtcMicros, zone: chrono_tz::Tz) -> Option<UtcMicros> {
    use chrono::{Offset, TimeZone};
    let utc = chrono::DateTime::from_timestamp_micros(instant.micros())?.naive_utc();
    let offset = zone.offset_from_utc_datetime(&utc).fix().local_minus_utc();
    UtcMicros::new(instant.micros() + i64::from(offset) * UtcMicros::SECOND)
}

/// By how much clocks of a zone are set forward or back within three hours of an instant, in microseconds; 0 on nearly every day.
pub fn clock_change_near(instant: UtcMicros, zone: chrono_tz::Tz) -> i64 {
    const NEAR: i64 = 3 * 3600 * UtcMicros::SECOND;
    let ahead_of_utc = |instant: UtcMicros| shown_in_zone(instant, zone).map_or(0, |shown| shown.micros() - instant.micros());
    (ahead_of_utc(instant.minus(NEAR)) - ahead_of_utc(instant.minus(-NEAR))).abs()
}

/// Parses the date format of mail (RFC 2822): `Tue, 20 Nov 2012 00:00:00 +0000`.
pub fn parse_time_rfc2822(text: &str) -> Option<UtcMicros> {
    UtcMicros::new(chrono::DateTime::parse_from_rfc2822(text).ok()?.timestamp_micros())
}

/// The number with `width` digits at `start`.
fn number(bytes: &[u8], start: usize, width: usize) -> Option<i64> {
    bytes.get(start..start + width)?.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
}

/// The microseconds of `.123…`, truncated after the sixth digit, and the rest of the text.
fn fraction(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let [b'.' | b',', rest @ ..] = bytes else { return Some((0, bytes)) };
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let digits = rest[..count].iter().copied().chain(std::iter::repeat(b'0')).take(6);
    Some((digits.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')), &rest[count..]))
}

/// The offset in seconds east of Greenwich, after an optional space. An empty text is UTC.
fn offset(bytes: &[u8]) -> Option<i64> {
    let bytes = match bytes {
        [b' ', rest @ ..] if !rest.is_empty() => rest,
        bytes => bytes,
    };
    let (sign, digits) = match bytes {
        [] | [b'Z' | b'z'] => return Some(0),
        name if name.eq_ignore_ascii_case(b"UTC") => return Some(0),
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let hours = number(digits, 0, 2)?;
    let minutes = match digits.len() {
        2 => 0,
        4 => number(digits, 2, 2)?,
        5 if digits[2] == b':' => number(digits, 3, 2)?,
        _ => return None,
    };
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

/// The time of a text that the layer holds: a timestamp, or an epoch, also with decimals. Other digits are no time.
pub fn parse_time_of_layer(text: &str) -> Option<UtcMicros> {
    let is_epoch = |digits: &str| matches!(digits.len(), 9 | 10 | 12 | 13 | 15 | 16) && digits.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('.') {
        Some((whole, _)) if is_epoch(whole) => parse_time_number(text),
        _ => parse_time_text(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> Option<String> {
        parse_time_text(text).map(UtcMicros::rfc3339)
    }

    #[test]
    fn a_time_without_an_offset_is_of_its_zone() {
        let utc = |text: &str| parse_time_in_zone(text, chrono_tz::Europe::Paris).map(UtcMicros::rfc3339);
        for (text, expected) in [
            ("2026-01-10 23:30:00", "2026-01-10T22:30:00Z"),
            ("2026-07-10T23:30:00.5", "2026-07-10T21:30:00.500000Z"),
            ("2026-07-10", "2026-07-09T22:00:00Z"),
            ("2026-07-10T10:00:00Z", "2026-07-10T10:00:00Z"),
            ("2026-07-10 10:00:00 -0400", "2026-07-10T14:00:00Z"),
            ("2026-07-10 10:00:00 UTC", "2026-07-10T10:00:00Z"),
            // Clocks go back: the hour comes twice. They go forward: it does not come.
            ("2026-10-25 02:30:00", "2026-10-25T00:30:00Z"),
            ("2026-03-29 02:30:00", "2026-03-29T01:30:00Z"),
            ("1767225600", "2026-01-01T00:00:00Z"),
        ] {
            assert_eq!(utc(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(utc("soon"), None);
        let shown = shown_in_zone(parse_time_text("2026-07-10T21:30:00Z").unwrap(), chrono_tz::Europe::Paris);
        assert_eq!(shown.map(UtcMicros::rfc3339).as_deref(), Some("2026-07-10T23:30:00Z"));
    }

    #[test]
    fn every_form_of_the_contract_is_parsed() {
        for (text, expected) in [
            ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00Z"),
            ("2026-01-31t10:00:00z", "2026-01-31T10:00:00Z"),
            ("2026-01-31 10:00:00+02:00", "2026-01-31T08:00:00Z"),
            ("2026-01-31T23:30:00-05:00", "2026-02-01T04:30:00Z"),
            ("2026-01-31T10:00:00.1Z", "2026-01-31T10:00:00.100000Z"),
            ("2026-01-31T10:00:00.123456999+05:30", "2026-01-31T04:30:00.123456Z"),
            ("2026-01-31T10:00:00", "2026-01-31T10:00:00Z"),
            ("2026-01-31 10:00:00.5", "2026-01-31T10:00:00.500000Z"),
            ("2026-01-31 10:00", "2026-01-31T10:00:00Z"),
            ("2026-01-31", "2026-01-31T00:00:00Z"),
            ("2026-01-31 10:00:00+00", "2026-01-31T10:00:00Z"),
            ("2026-01-31T10:00:00+0530", "2026-01-31T04:30:00Z"),
            ("2024-02-29", "2024-02-29T00:00:00Z"),
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
            ("2016-12-31T18:59:60.9-05:00", "2017-01-01T00:00:00.900000Z"),
            ("2026-01-31 10:00:00 +0200", "2026-01-31T08:00:00Z"),
            ("2026-01-31 10:00:00 UTC", "2026-01-31T10:00:00Z"),
            ("2026-01-31T10:00:00.5 Z", "2026-01-31T10:00:00.500000Z"),
            ("2026-01-31 10:00 -05:00", "2026-01-31T15:00:00Z"),
            ("176981760", "1975-08-11T09:36:00Z"),
            ("1769817600", "2026-01-31T00:00:00Z"),
            ("176981760000", "1975-08-11T09:36:00Z"),
            ("1769817600123", "2026-01-31T00:00:00.123000Z"),
            ("1769817600123456", "2026-01-31T00:00:00.123456Z"),
            ("0001-01-01", "0001-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(utc(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "yesterday",
            "2026",
            "2026-1-1",
            "2026-13-01",
            "2026-02-29",
            "2026-01-31T",
            "2026-01-31T25:00:00Z",
            "2026-01-31T10:60:00Z",
            "2026-01-31T10:00:61Z",
            "2026-01-31T10:00:60Z",
            "2026-01-31T10:00:00.Z",
            "2026-01-31T10:00:00+24:00",
            "2026-01-31T10:00:00+2",
            "2026-01-31T10:00:00ZZ",
            "2026/01/31",
            "31.01.2026",
            "0000-06-01",
            "9999-12-31T23:59:59-01:00",
            "10000-01-01",
            "２０２６-01-31",
            "2026-01-31X10:00:00",
            "2026-01-31T10:00:00 ",
            "2026-01-31T10:00:00  +02:00",
            "2026-01-31T10:00:00 CET",
            "20260131",
            "45688",
            "17698176001",
            "17698176001234",
            "17698176001234567",
            "1769817600.5",
            "-1769817600",
        ] {
            assert_eq!(utc(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = parse_time_text(&text);
        }

        #[test]
        fn what_looks_like_a_time_agrees_with_chrono(text in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-][01][0-9]:[0-5][0-9])") {
            let chrono = chrono::DateTime::parse_from_rfc3339(&text).ok().and_then(|when| UtcMicros::new(when.timestamp_micros()));
            proptest::prop_assert_eq!(parse_time_text(&text), chrono);
        }
    }
}
