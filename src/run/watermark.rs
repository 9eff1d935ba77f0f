//! How far runs have covered the source: what `--since last` follows on.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    model::{UtcMicros, Window, parse_time_text},
    report,
    settings::{Cursor, SettingsError, When},
    store::{self, Output, Staging, StoreError},
};

/// Its place beneath the output.
const WATERMARK: &str = "state/watermark.json";

/// What runs have covered, by the time that their windows were on.
#[derive(Default, Serialize, Deserialize)]
struct Watermark {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    covered_until: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    updates_covered_until: Option<String>,
}

impl Watermark {
    fn stored(output: &Output) -> Result<Option<Watermark>, StoreError> {
        Ok(store::read(&output.at(WATERMARK))?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    fn of(&mut self, cursor: Cursor) -> &mut Option<String> {
        match cursor {
            Cursor::Created => &mut self.covered_until,
            Cursor::Updated => &mut self.updates_covered_until,
        }
    }
}

/// The furthest end that a successful run has covered. Where `state/` was removed, the reports still tell.
pub(super) fn read(output: &Output, cursor: Cursor) -> Result<Option<UtcMicros>, StoreError> {
    if let Some(mut watermark) = Watermark::stored(output)? {
        return Ok(watermark.of(cursor).as_deref().and_then(parse_time_text));
    }
    let successful = |run: &report::RecordedRun| {
        run.is_success() && run.command.as_deref() != Some("replay") && run.cursor.as_deref().unwrap_or("created_at") == cursor.column()
    };
    let covered = report::latest_runs(output, usize::MAX)?.into_iter().filter(|(run, _)| successful(run)).filter_map(|(run, _)| {
        let started_at = parse_time_text(&run.started_at)?;
        Some(run.until.as_deref().and_then(parse_time_text).map_or(started_at, |until| until.min(started_at)))
    });
    Ok(covered.max())
}

/// What a run of this window, started then, covers: never past its end, and never the future.
pub(super) fn covered(window: Window, started_at: UtcMicros) -> UtcMicros {
    window.until.map_or(started_at, |until| until.min(started_at))
}

/// Moves the watermark with the publish; never back, since a backfill of an old window uncovers nothing.
pub(super) fn stage(
    staging: &mut Staging,
    output: &Output,
    cursor: Cursor,
    before: Option<UtcMicros>,
    covered: UtcMicros,
) -> Result<(), StoreError> {
    let mut watermark = Watermark::stored(output)?.unwrap_or_default();
    *watermark.of(cursor) = Some(before.map_or(covered, |before| before.max(covered)).rfc3339());
    staging.put(WATERMARK, &serde_json::to_vec(&watermark).unwrap_or_default()).map(drop)
}

/// The window that was asked for.
pub(super) fn resolve(
    since: Option<When>,
    until: Option<When>,
    lookback: Duration,
    before: Option<UtcMicros>,
    now: UtcMicros,
) -> Result<Window, SettingsError> {
    let lookback = i64::try_from(lookback.as_micros()).unwrap_or(i64::MAX);
    let window = Window {
        since: match since {
            Some(When::Last) => before.map(|covered| covered.minus(lookback)),
            other => other.and_then(|when| when.instant(now)),
        },
        until: until.and_then(|when| when.instant(now)),
    };
    match (window.since, window.until) {
        (Some(since), Some(until)) if since >= until => {
            Err(SettingsError::Conflict(format!("the window is empty: it begins at {since} and ends at {until}")))
        }
        _ => Ok(window),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_follows_on_what_was_covered_less_the_lookback() {
        let at = |day| UtcMicros::from_civil((2026, 1, day), 0, 0, 0).unwrap();
        let since = |before| resolve(Some(When::Last), None, Duration::from_secs(86_400), before, at(31)).unwrap().since;
        assert_eq!(since(Some(at(10))), Some(at(9)));
        assert_eq!(since(None), None, "the first run loads everything");
        let empty = resolve(Some(When::At(at(2))), Some(When::At(at(2))), Duration::ZERO, None, at(31));
        assert!(empty.unwrap_err().to_string().contains("the window is empty"));
    }

    #[test]
    fn a_run_covers_neither_the_future_nor_more_than_its_window() {
        let at = |day| UtcMicros::from_civil((2026, 1, day), 0, 0, 0).unwrap();
        let until = |day| Window { since: None, until: Some(at(day)) };
        assert_eq!(covered(Window::default(), at(10)), at(10));
        assert_eq!(covered(until(5), at(10)), at(5));
        assert_eq!(covered(until(20), at(10)), at(10));
    }
}
