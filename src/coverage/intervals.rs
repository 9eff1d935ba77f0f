//! Sets of instants as sorted, disjoint intervals.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::{UtcMicros, Window, parse_time_text};

/// `[start, end)`. A start at [`UtcMicros::MIN`] is open: everything before the end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Interval {
    /// The first instant inside.
    pub start: UtcMicros,
    /// The first instant after.
    pub end: UtcMicros,
}

impl Interval {
    /// The interval, unless it is empty.
    pub fn new(start: UtcMicros, end: UtcMicros) -> Option<Interval> {
        (start < end).then_some(Interval { start, end })
    }

    /// A window up to an instant: what a run that started then has covered, never the future.
    pub fn of_window(window: Window, started_at: UtcMicros) -> Option<Interval> {
        let end = window.until.map_or(started_at, |until| until.min(started_at));
        Interval::new(window.since.unwrap_or(UtcMicros::MIN), end)
    }

    /// The same as a window.
    pub fn window(self) -> Window {
        Window { since: (self.start > UtcMicros::MIN).then_some(self.start), until: Some(self.end) }
    }

    /// Whether it has an instant in common with another.
    pub fn overlaps(self, other: Interval) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Whether an instant lies inside.
    pub fn contains(self, instant: UtcMicros) -> bool {
        self.start <= instant && instant < self.end
    }

    /// The part of it that lies in another.
    pub fn within(self, other: Interval) -> Option<Interval> {
        Interval::new(self.start.max(other.start), self.end.min(other.end))
    }

    /// What is left of it without another.
    pub fn without(self, other: Interval) -> impl Iterator<Item = Interval> {
        let pieces = if self.overlaps(other) {
            [Interval::new(self.start, other.start.min(self.end)), Interval::new(other.end.max(self.start), self.end)]
        } else {
            [Some(self), None]
        };
        pieces.into_iter().flatten()
    }
}

/// The same instants as sorted intervals that neither overlap nor touch.
pub fn merged(intervals: impl IntoIterator<Item = Interval>) -> Vec<Interval> {
    let mut sorted: Vec<_> = intervals.into_iter().collect();
    sorted.sort_unstable();
    let mut merged: Vec<Interval> = Vec::new();
    for interval in sorted {
        match merged.last_mut() {
            Some(last) if interval.start <= last.end => last.end = last.end.max(interval.end),
            _ => merged.push(interval),
        }
    }
    merged
}

/// What lies between merged intervals.
pub fn gaps(merged: &[Interval]) -> Vec<Interval> {
    merged.windows(2).filter_map(|pair| Interval::new(pair[0].end, pair[1].start)).collect()
}

/// What is left of intervals without others.
pub fn without_all(intervals: Vec<Interval>, others: &[Interval]) -> Vec<Interval> {
    others.iter().fold(intervals, |left, other| left.into_iter().flat_map(|interval| interval.without(*other)).collect())
}

#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(default)]
    since: Option<String>,
    until: String,
}

impl Serialize for Interval {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let since = self.window().since.map(UtcMicros::rfc3339);
        Written { since, until: self.end.rfc3339() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Interval, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let instant = |text: &str| parse_time_text(text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not a time")));
        let start = written.since.as_deref().map(instant).transpose()?.unwrap_or(UtcMicros::MIN);
        Interval::new(start, instant(&written.until)?).ok_or_else(|| serde::de::Error::custom("an empty interval"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn interval(start: i64, end: i64) -> Interval {
        Interval { start: UtcMicros::new(start).unwrap(), end: UtcMicros::new(end).unwrap() }
    }

    fn intervals() -> impl Strategy<Value = Vec<Interval>> {
        proptest::collection::vec((0..40_i64, 1..10_i64).prop_map(|(start, length)| interval(start, start + length)), 0..12)
    }

    fn holds(intervals: &[Interval], instant: i64) -> bool {
        intervals.iter().any(|interval| interval.contains(UtcMicros::new(instant).unwrap()))
    }

    proptest! {
        #[test]
        fn merged_intervals_hold_the_same_instants_and_do_not_touch(given in intervals()) {
            let merged = merged(given.clone());
            for instant in 0..60 {
                prop_assert_eq!(holds(&given, instant), holds(&merged, instant), "{}", instant);
            }
            prop_assert!(merged.windows(2).all(|pair| pair[0].end < pair[1].start));
        }

        #[test]
        fn gaps_are_all_that_lies_between(given in intervals()) {
            let merged = merged(given);
            let gaps = gaps(&merged);
            if let (Some(first), Some(last)) = (merged.first(), merged.last()) {
                for instant in first.start.micros()..last.end.micros() {
                    prop_assert!(holds(&merged, instant) != holds(&gaps, instant), "{}", instant);
                }
            } else {
                prop_assert!(gaps.is_empty());
            }
        }

        #[test]
        fn what_is_left_and_what_was_taken_are_the_whole(given in intervals(), start in 0..40_i64, length in 1..20_i64) {
            let taken = interval(start, start + length);
            for whole in given {
                let left: Vec<_> = whole.without(taken).collect();
                for instant in 0..60 {
                    let expected = holds(&[whole], instant) && !holds(&[taken], instant);
                    prop_assert_eq!(holds(&left, instant), expected, "{}", instant);
                }
            }
        }
    }

    #[test]
    fn a_run_covers_neither_the_future_nor_more_than_its_window() {
        let at = |day| UtcMicros::from_civil((2026, 1, day), 0, 0, 0).unwrap();
        let covered = |since: Option<u32>, until: Option<u32>| {
            let window = Window { since: since.map(|day| at(day.into())), until: until.map(|day| at(day.into())) };
            Interval::of_window(window, at(10)).map(|interval| (interval.window().since, interval.end))
        };
        assert_eq!(covered(None, None), Some((None, at(10))));
        assert_eq!(covered(Some(2), Some(5)), Some((Some(at(2)), at(5))));
        assert_eq!(covered(Some(2), Some(20)), Some((Some(at(2)), at(10))));
        assert_eq!(covered(Some(12), Some(20)), None);
    }

    #[test]
    fn an_interval_is_read_back_as_it_was_written() {
        for interval in [interval(5, 1_000_000), Interval { start: UtcMicros::MIN, end: UtcMicros::new(7).unwrap() }] {
            let text = serde_json::to_string(&interval).unwrap();
            assert_eq!(serde_json::from_str::<Interval>(&text).unwrap(), interval, "{text}");
        }
        assert!(serde_json::from_str::<Interval>(r#"{"since":"2026-01-02","until":"2026-01-01"}"#).is_err());
    }
}
