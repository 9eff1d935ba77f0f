//! The name of a run.

use std::{
    fmt,
    str::FromStr,
    sync::atomic::{AtomicU32, Ordering},
};

use super::UtcMicros;

/// A sortable, unique name: `20260131T100000123456Z-01a2b30000`, the start in UTC, then process and count within it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RunId(String);

static COUNT: AtomicU32 = AtomicU32::new(0);

impl RunId {
    /// A name for a run that starts at `start`.
    pub fn new(start: UtcMicros) -> RunId {
        let mut text = start.rfc3339();
        if !text.contains('.') {
            text.insert_str(text.len() - 1, ".000000");
        }
        text.retain(|c| c.is_ascii_alphanumeric());
        let count = COUNT.fetch_add(1, Ordering::Relaxed) & 0xffff;
        RunId(format!("{text}-{:06x}{count:04x}", std::process::id() & 0x00ff_ffff))
    }

    /// A name for a run that starts at `start`, later than `earlier` even if the clock of its host was ahead.
    pub fn after(start: UtcMicros, earlier: &RunId) -> RunId {
        let next = earlier.start().map_or(start, |earlier| start.max(earlier.minus(-1)));
        RunId::new(next)
    }

    /// The start that the name tells, in UTC; `None` if that is no time.
    pub fn start(&self) -> Option<UtcMicros> {
        let digits = |range: std::ops::Range<usize>| self.0.get(range)?.parse::<i64>().ok();
        let (year, month, day) = (digits(0..4)?, digits(4..6)?, digits(6..8)?);
        let seconds = digits(9..11)? * 3600 + digits(11..13)? * 60 + digits(13..15)?;
        UtcMicros::from_civil((year, month, day), seconds, digits(15..21)?, 0)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is not the name of a run.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not the name of a run: names look like 20260131T100000123456Z-01a2b30000, and `etl runs` lists them")]
pub struct NotARunId(String);

impl FromStr for RunId {
    type Err = NotARunId;

    fn from_str(text: &str) -> Result<RunId, NotARunId> {
        let is_expected = |(place, byte): (usize, u8)| match place {
            8 => byte == b'T',
            21 => byte == b'Z',
            22 => byte == b'-',
            0..22 => byte.is_ascii_digit(),
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        };
        let is_name = text.len() == 33 && text.bytes().enumerate().all(is_expected);
        if is_name { Ok(RunId(text.to_owned())) } else { Err(NotARunId(text.to_owned())) }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_runs_sort_after_earlier_ones() {
        let start = UtcMicros::new(1_769_817_600_000_000).unwrap();
        let names: Vec<_> = [start, start.minus(-1), start.minus(-UtcMicros::DAY)].map(RunId::new).into();
        assert!(names.is_sorted());
        assert_ne!(RunId::new(start), RunId::new(start));
        assert_eq!(names[0].as_str().len(), names[1].as_str().len());
    }

    #[test]
    fn a_run_is_named_after_every_earlier_one_whatever_its_clock_says() {
        let start = UtcMicros::new(1_769_817_600_123_456).unwrap();
        let ahead = RunId::new(start.minus(-UtcMicros::DAY));
        assert_eq!(ahead.start(), Some(start.minus(-UtcMicros::DAY)));
        let next = RunId::after(start, &ahead);
        assert!(next > ahead && next.start() == Some(start.minus(-UtcMicros::DAY - 1)));
        assert_eq!(RunId::after(start, &RunId::new(start.minus(5))).start(), Some(start));
    }

    #[test]
    fn only_names_of_runs_are_read_back() {
        let name = RunId::new(UtcMicros::new(1_769_817_600_123_456).unwrap());
        assert_eq!(name.as_str().parse(), Ok(name.clone()));
        for text in [
            "",
            "..",
            "../../etc/passwd",
            "20260131T100000123456Z-01a2b3000/",
            "20260131T100000123456Z-01a2b300000",
            "20260131T100000Z-01a2b30000",
        ] {
            assert_eq!(text.parse::<RunId>(), Err(NotARunId(text.to_owned())));
        }
    }
}
