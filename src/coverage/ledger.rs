//! The ledger: what runs have loaded, by the identity of their source.

use serde::{Deserialize, Serialize};

use super::intervals::{Interval, gaps, merged, without_all};
use crate::model::{UtcMicros, Window, parse_time_text};

/// Entries of a source beyond this are joined, the oldest first.
const MOST_ENTRIES: usize = 2000;

/// Sources beyond this are forgotten, those that were loaded longest ago first.
const MOST_SOURCES: usize = 500;

/// What makes a source the same source (contract, Terms).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct SourceIdentity {
    /// Its name in `etl.toml`, else its location without credentials and window parameters.
    pub source: String,
    /// The profile that it is read by.
    pub profile: String,
    /// The time that windows are on: `created_at` or `updated_at`.
    pub cursor: String,
}

/// An interval of a source.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SourceInterval {
    /// The source.
    #[serde(flatten)]
    pub identity: SourceIdentity,
    /// The interval.
    #[serde(flatten)]
    pub interval: Interval,
}

impl SourceInterval {
    /// Whether another interval of the same source lies in it.
    pub fn has(&self, other: &SourceInterval) -> bool {
        self.identity == other.identity && self.interval.start <= other.interval.start && other.interval.end <= self.interval.end
    }
}

/// An interval that a run has loaded completely.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LoadedInterval {
    /// The interval, or what is left of it beside later ones.
    #[serde(flatten)]
    pub interval: Interval,
    /// The run.
    pub run_id: String,
    /// When the run started.
    pub loaded_at: String,
    /// Records that lie in it; `None` where only a part of what the run loaded is left.
    pub records: Option<u64>,
    /// A fingerprint of the rules by which records became rows.
    pub rules: String,
}

/// A window of a backfill that was started again: what was loaded before does not count as done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Restart {
    #[serde(flatten)]
    interval: Interval,
    at: String,
}

/// The coverage of one source.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SourceCoverage {
    /// The source.
    #[serde(flatten)]
    pub identity: SourceIdentity,
    /// Where the window of its first run begins; `None` where that was open.
    first: Option<String>,
    /// Disjoint, in order.
    pub loaded: Vec<LoadedInterval>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    restarts: Vec<Restart>,
}

/// What runs have loaded.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// By source, those that were loaded last at the end.
    pub sources: Vec<SourceCoverage>,
}

impl Ledger {
    /// The coverage of a source.
    pub fn of(&self, identity: &SourceIdentity) -> Option<&SourceCoverage> {
        self.sources.iter().find(|coverage| coverage.identity == *identity)
    }

    /// What this ledger covers and another does not, by source.
    pub fn beyond(&self, other: &Ledger) -> Vec<SourceInterval> {
        let of_source = |coverage: &SourceCoverage| other.uncovered(&coverage.identity, coverage.covered());
        self.sources.iter().flat_map(of_source).collect()
    }

    /// The parts of these intervals of a source that are not covered.
    pub fn uncovered(&self, identity: &SourceIdentity, intervals: Vec<Interval>) -> Vec<SourceInterval> {
        let covered = self.of(identity).map(SourceCoverage::covered).unwrap_or_default();
        let left = without_all(intervals, &covered);
        left.into_iter().map(|interval| SourceInterval { identity: identity.clone(), interval }).collect()
    }

    /// Takes what a run has loaded. A first run that read nothing covers nothing: an empty shop, and credentials that see
    /// nothing, look the same.
    pub fn record(&mut self, identity: &SourceIdentity, loaded: LoadedInterval, records_read: u64) {
        let place = self.sources.iter().position(|coverage| coverage.identity == *identity);
        let mut coverage = match place {
            Some(place) => self.sources.remove(place),
            None => SourceCoverage { identity: identity.clone(), first: None, loaded: Vec::new(), restarts: Vec::new() },
        };
        if coverage.loaded.is_empty() {
            if records_read == 0 {
                return;
            }
            coverage.first = loaded.interval.window().since.map(UtcMicros::rfc3339);
        }
        coverage.record(loaded);
        self.sources.push(coverage);
        let surplus = self.sources.len().saturating_sub(MOST_SOURCES);
        self.sources.drain(..surplus);
    }

    /// Forgets what a run has loaded: it was undone. `before` and `after` are the ledger around its commit. Whoever has loaded a part
    /// of it again since then relied on rows that are gone now; what was covered before the run holds again.
    pub fn forget(&mut self, run_id: &str, before: &Ledger, after: &Ledger) {
        for coverage in &mut self.sources {
            let undone = after.of(&coverage.identity).into_iter().flat_map(|of_source| &of_source.loaded);
            let undone: Vec<Interval> = undone.filter(|loaded| loaded.run_id == run_id).map(|loaded| loaded.interval).collect();
            let earlier = before.of(&coverage.identity).map(|of_source| of_source.loaded.clone()).unwrap_or_default();
            for cut in undone {
                coverage.cut(cut);
                for loaded in &earlier {
                    if let Some(interval) = loaded.interval.within(cut) {
                        let records = if interval == loaded.interval { loaded.records } else { None };
                        coverage.loaded.push(LoadedInterval { interval, records, ..loaded.clone() });
                    }
                }
            }
            coverage.loaded.sort_by_key(|loaded| loaded.interval);
        }
    }

    /// Marks a window as begun again: chunks of it count as done only from then on.
    pub fn restart(&mut self, identity: &SourceIdentity, interval: Interval, at: UtcMicros) {
        if let Some(coverage) = self.sources.iter_mut().find(|coverage| coverage.identity == *identity) {
            coverage.restarts.retain(|restart| !(interval.start <= restart.interval.start && restart.interval.end <= interval.end));
            coverage.restarts.push(Restart { interval, at: at.rfc3339() });
        }
    }
}

impl SourceCoverage {
    fn record(&mut self, new: LoadedInterval) {
        self.cut(new.interval);
        self.loaded.push(new);
        self.loaded.sort_by_key(|loaded| loaded.interval);
        self.join_oldest();
    }

    /// Takes an interval out of what was loaded.
    fn cut(&mut self, cut: Interval) {
        let mut kept: Vec<LoadedInterval> = Vec::with_capacity(self.loaded.len() + 1);
        for old in std::mem::take(&mut self.loaded) {
            for piece in old.interval.without(cut) {
                // Of a part it is known how many records it has only where the whole has none.
                let records = if piece == old.interval { old.records } else { old.records.filter(|records| *records == 0) };
                kept.push(LoadedInterval { interval: piece, records, ..old.clone() });
            }
        }
        self.loaded = kept;
    }

    /// Keeps the ledger of a source that is loaded every hour for years small.
    fn join_oldest(&mut self) {
        while self.loaded.len() > MOST_ENTRIES {
            let touch = |pair: &[LoadedInterval]| pair[0].interval.end == pair[1].interval.start && pair[0].rules == pair[1].rules;
            let Some(place) = self.loaded.windows(2).position(touch) else { return };
            let earlier = self.loaded.remove(place);
            if let Some(later) = self.loaded.get_mut(place) {
                later.interval.start = earlier.interval.start;
                later.records = later.records.zip(earlier.records).map(|(later, earlier)| later + earlier);
            }
        }
    }

    /// What is covered, as disjoint intervals in order.
    pub fn covered(&self) -> Vec<Interval> {
        merged(self.loaded.iter().map(|loaded| loaded.interval))
    }

    /// What is not covered between intervals that are, and between the beginning of the first run and the first of them: that run
    /// may have been undone.
    pub fn gaps(&self) -> Vec<Interval> {
        let covered = self.covered();
        let at_first = covered.first().and_then(|interval| Interval::new(self.first(), interval.start));
        at_first.into_iter().chain(gaps(&covered)).collect()
    }

    /// Where `--since last` continues: the end of the interval that began with the first run. `None` is the beginning of time.
    pub fn resume_point(&self) -> Option<UtcMicros> {
        let (first, covered) = (self.first(), self.covered());
        match covered.first()? {
            // The first run was undone.
            interval if interval.start > first => Some(first).filter(|first| *first > UtcMicros::MIN),
            _ => covered.iter().find(|interval| interval.contains(first)).or(covered.first()).map(|interval| interval.end),
        }
    }

    /// Where the first run began.
    fn first(&self) -> UtcMicros {
        self.first.as_deref().and_then(parse_time_text).unwrap_or(UtcMicros::MIN)
    }

    /// Whether a window was loaded whole by these rules, since it was last started again.
    pub fn is_done(&self, window: Window, rules: &str) -> bool {
        let Some(until) = window.until else { return false };
        let Some(whole) = Interval::new(window.since.unwrap_or(UtcMicros::MIN), until) else { return true };
        let counts = |loaded: &&LoadedInterval| {
            let restarted =
                self.restarts.iter().any(|restart| restart.interval.overlaps(loaded.interval) && is_before(&loaded.loaded_at, &restart.at));
            loaded.rules == rules && !restarted
        };
        let done = merged(self.loaded.iter().filter(counts).map(|loaded| loaded.interval));
        done.iter().any(|interval| interval.start <= whole.start && whole.end <= interval.end)
    }

    /// Intervals that were loaded and had no record, between ones that had some.
    pub fn empty_between(&self) -> Vec<Interval> {
        let has_some = |loaded: &LoadedInterval| loaded.records != Some(0);
        let first = self.loaded.iter().position(has_some);
        let last = self.loaded.iter().rposition(has_some);
        let (Some(first), Some(last)) = (first, last) else { return Vec::new() };
        let between = self.loaded.get(first..last).unwrap_or_default();
        merged(between.iter().filter(|loaded| loaded.records == Some(0)).map(|loaded| loaded.interval))
    }
}

/// Whether a time, as it is written, lies before another.
fn is_before(earlier: &str, later: &str) -> bool {
    parse_time_text(earlier) < parse_time_text(later)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: i64) -> UtcMicros {
        UtcMicros::from_civil((2026, 1, 1), 0, 0, 0).unwrap().minus(-(day - 1) * UtcMicros::DAY)
    }

    fn identity() -> SourceIdentity {
        SourceIdentity { source: "shop".into(), profile: "default".into(), cursor: "created_at".into() }
    }

    fn interval(since: i64, until: i64) -> Interval {
        Interval { start: if since == 0 { UtcMicros::MIN } else { at(since) }, end: at(until) }
    }

    fn loaded(since: i64, until: i64, records: u64) -> LoadedInterval {
        let run_id = format!("r{since}-{until}");
        LoadedInterval {
            interval: interval(since, until),
            run_id,
            loaded_at: at(until).rfc3339(),
            records: Some(records),
            rules: "a".into(),
        }
    }

    fn ledger(runs: &[(i64, i64, u64)]) -> Ledger {
        let mut ledger = Ledger::default();
        for &(since, until, records) in runs {
            ledger.record(&identity(), loaded(since, until, records), records);
        }
        ledger
    }

    fn resume(runs: &[(i64, i64, u64)]) -> Option<UtcMicros> {
        ledger(runs).of(&identity()).and_then(SourceCoverage::resume_point)
    }

    #[test]
    fn last_continues_where_the_coverage_of_the_first_run_first_ends() {
        assert_eq!(resume(&[]), None);
        assert_eq!(resume(&[(0, 10, 5)]), Some(at(10)));
        assert_eq!(resume(&[(0, 10, 5), (29, 30, 1)]), Some(at(10)), "a gap is not jumped over");
        assert_eq!(resume(&[(0, 10, 5), (29, 30, 1), (9, 29, 1)]), Some(at(30)), "until it is filled");
        assert_eq!(resume(&[(20, 25, 5), (1, 5, 1)]), Some(at(25)), "an older window moves nothing");
        assert_eq!(resume(&[(20, 25, 5), (1, 20, 1)]), Some(at(25)));
        assert_eq!(resume(&[(0, 10, 0)]), None, "nothing was there");
        assert_eq!(resume(&[(0, 10, 5), (9, 11, 0)]), Some(at(11)), "a quiet day is covered");
    }

    #[test]
    fn sources_do_not_move_each_other() {
        let mut ledger = ledger(&[(0, 10, 5)]);
        let other = SourceIdentity { source: "corrections.ndjson".into(), ..identity() };
        ledger.record(&other, loaded(0, 30, 1), 1);
        assert_eq!(ledger.of(&identity()).unwrap().resume_point(), Some(at(10)));
        let by_update = SourceIdentity { cursor: "updated_at".into(), ..identity() };
        assert_eq!(ledger.of(&by_update), None);
    }

    #[test]
    fn what_one_ledger_covers_and_another_does_not_is_told() {
        let (before, after) = (ledger(&[(1, 10, 5), (12, 14, 1)]), ledger(&[(3, 5, 5)]));
        let intervals = |found: Vec<SourceInterval>| found.into_iter().map(|found| found.interval).collect::<Vec<_>>();
        assert_eq!(intervals(before.beyond(&after)), [interval(1, 3), interval(5, 10), interval(12, 14)]);
        assert!(intervals(after.beyond(&before)).is_empty());
        assert_eq!(intervals(before.beyond(&Ledger::default())), [interval(1, 10), interval(12, 14)]);
    }

    #[test]
    fn gaps_and_empty_intervals_are_told() {
        let ledger = ledger(&[(1, 2, 3), (2, 3, 0), (3, 4, 2), (6, 7, 1), (7, 8, 0)]);
        let coverage = ledger.of(&identity()).unwrap();
        assert_eq!(coverage.gaps(), [interval(4, 6)]);
        assert_eq!(coverage.empty_between(), [interval(2, 3)], "what comes last may still fill");
    }

    #[test]
    fn a_chunk_is_done_by_the_same_rules_and_since_it_was_started_again() {
        let mut ledger = ledger(&[(1, 2, 1), (2, 3, 1), (3, 4, 1)]);
        let done =
            |ledger: &Ledger, since, until, rules: &str| ledger.of(&identity()).unwrap().is_done(interval(since, until).window(), rules);
        assert!(done(&ledger, 1, 4, "a") && !done(&ledger, 1, 5, "a") && !done(&ledger, 1, 2, "b"));
        ledger.restart(&identity(), interval(1, 4), at(9));
        assert!(!done(&ledger, 1, 2, "a"));
        ledger.record(&identity(), LoadedInterval { loaded_at: at(10).rfc3339(), ..loaded(1, 2, 1) }, 1);
        assert!(done(&ledger, 1, 2, "a") && !done(&ledger, 2, 3, "a"));
    }

    #[test]
    fn later_runs_take_the_place_of_earlier_ones_and_the_ledger_stays_small() {
        let ledger = ledger(&[(1, 10, 7), (4, 6, 2)]);
        let coverage = ledger.of(&identity()).unwrap();
        let pieces: Vec<_> = coverage.loaded.iter().map(|loaded| (loaded.interval, loaded.records)).collect();
        assert_eq!(pieces, [(interval(1, 4), None), (interval(4, 6), Some(2)), (interval(6, 10), None)]);
        let many: Vec<_> = (1..3000).map(|day| (day, day + 1, 1)).collect();
        let ledger = super::tests::ledger(&many);
        let coverage = ledger.of(&identity()).unwrap();
        assert_eq!((coverage.loaded.len(), coverage.covered()), (MOST_ENTRIES, vec![interval(1, 3000)]));
        let text = serde_json::to_string(&ledger).unwrap();
        assert_eq!(serde_json::from_str::<Ledger>(&text).unwrap(), ledger);
    }
}
