//! Spans of time as they are written: `90s`, `10m`, `24h`, `7d`, `2w`; and the chunks of a backfill, which also know months.

use std::{str::FromStr, time::Duration};

use chrono::{DateTime, Datelike, Months, Utc};

use crate::model::UtcMicros;

/// A span of time: a whole number and one of `ms`, `s`, `m`, `h`, `d`, `w`.
///
/// # Errors
/// What to write instead.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let explain = || "write a whole number and a unit: 90s, 10m, 24h, 7d, 2w".to_owned();
    let (count, unit) = split(text).ok_or_else(explain)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 604_800_000,
        _ => return Err(explain()),
    };
    // A span is added to and subtracted from instants in microseconds, so it must fit there.
    let millis = count.checked_mul(millis).filter(|millis| *millis < u64::from(u32::MAX) * 1_000_000).ok_or_else(explain)?;
    Ok(Duration::from_millis(millis))
}

fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

/// The size of a chunk of a backfill.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chunk {
    /// A fixed span.
    Span(Duration),
    /// Calendar months.
    Months(u32),
}

impl FromStr for Chunk {
    type Err = String;

    fn from_str(text: &str) -> Result<Chunk, String> {
        let explain = || "write a whole number and a unit: 12h, 1d, 1w, 1mo, 1y".to_owned();
        match split(text).filter(|(count, _)| *count > 0).ok_or_else(explain)? {
            (count, "mo") => u32::try_from(count).ok().filter(|months| *months <= 12_000).map(Chunk::Months).ok_or_else(explain),
            (count, "y") => {
                u32::try_from(count).ok().filter(|years| *years <= 1000).map(|years| Chunk::Months(years * 12)).ok_or_else(explain)
            }
            _ => parse_span(text).map(Chunk::Span).map_err(|_| explain()),
        }
    }
}

impl Chunk {
    /// The start of the chunk that holds an instant: midnight, Monday, the first of a month or year, or a multiple of the
    /// span since 1970.
    pub fn floor(self, instant: UtcMicros) -> UtcMicros {
        /// The first Monday of 1970 lies four days after its beginning.
        const MONDAY: i64 = 4 * UtcMicros::DAY;
        match self {
            Chunk::Span(span) => {
                let span = i64::try_from(span.as_micros()).unwrap_or(i64::MAX).max(1);
                let shift = if span % (7 * UtcMicros::DAY) == 0 { MONDAY } else { 0 };
                instant.minus((instant.micros() - shift).rem_euclid(span))
            }
            Chunk::Months(months) => {
                let date = DateTime::<Utc>::from_timestamp_micros(instant.micros()).map(|instant| (instant.year(), instant.month0()));
                let Some((year, month)) = date else { return instant };
                let months = i64::from(months.max(1));
                let first = (i64::from(year) * 12 + i64::from(month)).div_euclid(months) * months;
                UtcMicros::from_civil((first.div_euclid(12), first.rem_euclid(12) + 1, 1), 0, 0, 0).unwrap_or(UtcMicros::MIN)
            }
        }
    }

    /// Whether chunks that begin at a midnight end at one.
    pub fn is_of_whole_days(self) -> bool {
        match self {
            Chunk::Span(span) => i64::try_from(span.as_micros()).is_ok_and(|span| span % UtcMicros::DAY == 0),
            Chunk::Months(_) => true,
        }
    }

    /// The `n`th instant after `start`. Counted from `start`, so that months from a 31st do not drift.
    pub fn after(self, start: UtcMicros, n: u32) -> UtcMicros {
        match self {
            Chunk::Span(span) => start.minus(-i64::try_from(span.as_micros()).unwrap_or(i64::MAX).saturating_mul(i64::from(n))),
            Chunk::Months(months) => DateTime::<Utc>::from_timestamp_micros(start.micros())
                .and_then(|start| start.checked_add_months(Months::new(months.saturating_mul(n))))
                .and_then(|end| UtcMicros::new(end.timestamp_micros()))
                .unwrap_or(UtcMicros::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units() {
        assert_eq!(parse_span("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(parse_span("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_span("2w"), Ok(Duration::from_secs(1_209_600)));
        for text in ["", "10", "m", "1.5h", "10 m", "18446744073709551615d", "é"] {
            assert!(parse_span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_instant_belongs_to_a_chunk_that_does_not_move_with_the_clock() {
        // A Saturday.
        let instant = UtcMicros::from_civil((2026, 1, 31), 37_000, 5, 0).unwrap();
        let floor = |chunk: &str| chunk.parse::<Chunk>().unwrap().floor(instant).rfc3339();
        assert_eq!(floor("1d"), "2026-01-31T00:00:00Z");
        assert_eq!(floor("12h"), "2026-01-31T00:00:00Z");
        assert_eq!(floor("1h"), "2026-01-31T10:00:00Z");
        assert_eq!(floor("1w"), "2026-01-26T00:00:00Z");
        assert_eq!(floor("1mo"), "2026-01-01T00:00:00Z");
        assert_eq!(floor("3mo"), "2026-01-01T00:00:00Z");
        assert_eq!(floor("1y"), "2026-01-01T00:00:00Z");
        assert_eq!("1mo".parse::<Chunk>().unwrap().floor(UtcMicros::MIN), UtcMicros::MIN);
    }

    #[test]
    fn months_keep_their_day() {
        let start = UtcMicros::from_civil((2026, 1, 31), 0, 0, 0).unwrap();
        let after = |chunk: &str, n| chunk.parse::<Chunk>().unwrap().after(start, n).rfc3339();
        assert_eq!(after("1mo", 1), "2026-02-28T00:00:00Z");
        assert_eq!(after("1mo", 2), "2026-03-31T00:00:00Z");
        assert_eq!(after("1y", 1), "2027-01-31T00:00:00Z");
        assert_eq!(after("1d", 3), "2026-02-03T00:00:00Z");
        for text in ["0d", "mo", "1x", "-1d"] {
            assert!(text.parse::<Chunk>().is_err(), "{text}");
        }
    }
}
