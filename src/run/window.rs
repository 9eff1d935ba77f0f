//! The window of a run: what was asked for, resolved against the clock and the coverage of the source.

use std::time::Duration;

use super::RequestError;
use crate::{
    coverage::{Interval, SourceCoverage},
    model::{UtcMicros, Window},
    settings::When,
};

/// The ends of a window, as they were asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct AskedWindow {
    /// The beginning.
    pub since: Option<When>,
    /// The end.
    pub until: Option<When>,
    /// What `last` goes back behind the end of what was covered.
    pub lookback: Duration,
}

impl AskedWindow {
    /// The window, for a source of this coverage.
    ///
    /// # Errors
    /// [`RequestError::EmptyWindow`], where it is empty.
    pub(super) fn resolve(self, coverage: Option<&SourceCoverage>, now: UtcMicros) -> Result<Window, RequestError> {
        let lookback = i64::try_from(self.lookback.as_micros()).unwrap_or(i64::MAX);
        let window = Window {
            since: match self.since {
                Some(When::Last) => coverage.and_then(SourceCoverage::resume_point).map(|covered| covered.minus(lookback)),
                other => other.and_then(|when| when.instant(now)),
            },
            until: self.until.and_then(|when| when.instant(now)),
        };
        match (window.since, window.until) {
            (Some(since), Some(until)) if since >= until => Err(RequestError::EmptyWindow { since, until }),
            _ => Ok(window),
        }
    }
}

/// What a run of this window leaves uncovered between itself and what was covered before.
pub(super) fn gap_before(window: Window, coverage: Option<&SourceCoverage>) -> Option<Interval> {
    let since = window.since?;
    let ends_before = coverage?.covered().into_iter().filter(|covered| covered.start < since).map(|covered| covered.end).max()?;
    Interval::new(ends_before, since)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        coverage::{Ledger, SourceIdentity},
        run::ledger,
    };

    fn at(day: i64) -> UtcMicros {
        UtcMicros::from_civil((2026, 1, day), 0, 0, 0).unwrap()
    }

    fn covered_to(day: i64) -> SourceCoverage {
        let identity = SourceIdentity { source: "s".into(), profile: "p".into(), cursor: "created_at".into() };
        let mut ledger = Ledger::default();
        ledger.record(&identity, ledger::loaded(Window::default(), at(day), "r", 1, "x").unwrap(), 1);
        ledger.of(&identity).unwrap().clone()
    }

    #[test]
    fn last_follows_on_what_was_covered_less_the_lookback() {
        let asked = AskedWindow { since: Some(When::Last), until: None, lookback: Duration::from_secs(86_400) };
        assert_eq!(asked.resolve(Some(&covered_to(10)), at(31)).unwrap().since, Some(at(9)));
        assert_eq!(asked.resolve(None, at(31)).unwrap().since, None, "the first run loads everything");
        let when = Some(When::At(at(2)));
        let empty = AskedWindow { since: when, until: when, lookback: Duration::ZERO }.resolve(None, at(31));
        assert!(empty.unwrap_err().to_string().contains("the window is empty"));
    }

    #[test]
    fn a_window_that_begins_past_what_is_covered_leaves_a_gap() {
        let gap = |since: i64| gap_before(Window { since: Some(at(since)), until: None }, Some(&covered_to(10)));
        assert_eq!(gap(20), Interval::new(at(10), at(20)));
        assert_eq!((gap(10), gap(9)), (None, None));
        assert_eq!(gap_before(Window { since: Some(at(20)), until: None }, None), None);
        assert_eq!(gap_before(Window::default(), Some(&covered_to(10))), None);
    }
}
