//! A window, loaded chunk by chunk, each a run of its own; rerun after a failure, it goes on at the first chunk that is not
//! done.

use std::{collections::BTreeSet, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    RunError,
    job::{self, Observer, Outcome, Request},
};
use crate::{
    cancel::Cancel,
    model::{UtcMicros, Window},
    report::CommandName,
    settings::{Chunk, Settings, SettingsError, When},
    store::{self, Output},
};

/// The folder of the progress of backfills beneath the output.
const PROGRESS: &str = "state/backfill";

/// What is to be backfilled.
pub struct BackfillRequest<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// How much is loaded at once, as it was said.
    pub chunk: Chunk,
    /// Whether what was done before counts no more.
    pub restart: bool,
    /// The switch that stops it.
    pub cancel: &'a Cancel,
    /// Who watches each run.
    pub observer: &'a dyn Observer,
}

/// How a backfill ended.
pub struct BackfillOutcome {
    /// All chunks of the window.
    pub chunks: usize,
    /// Those that earlier calls have done.
    pub done_before: usize,
    /// The runs of this call; the last one may have failed.
    pub runs: Vec<Outcome>,
}

/// Which chunks of a window are done: their beginnings.
#[derive(Default, Serialize, Deserialize)]
struct Progress {
    window: String,
    done: BTreeSet<String>,
}

/// Loads chunk after chunk. `each` is told of every chunk before it runs (its number from 0, of how many, its window) and
/// after (its outcome). The first chunk that fails ends it.
///
/// # Errors
/// A window without a beginning, and what the disk refuses; a chunk that fails is the last outcome.
pub fn backfill(
    request: &BackfillRequest<'_>,
    mut before: impl FnMut(usize, usize, Window),
    mut after: impl FnMut(&Outcome),
) -> Result<BackfillOutcome, RunError> {
    let now = UtcMicros::now();
    let instant = |when: Option<When>| when.and_then(|when| when.instant(now));
    let since = instant(request.settings.since)
        .ok_or_else(|| SettingsError::Conflict("a backfill needs a beginning: --since 2026-01-01".into()))?;
    // An end that is not said, or said as an age, must not move with the clock, or no rerun would be of the same window.
    let midnight = |instant: UtcMicros| instant.minus(instant.micros().rem_euclid(UtcMicros::DAY) - UtcMicros::DAY);
    let until = instant(request.settings.until).unwrap_or_else(|| midnight(now));
    if since >= until {
        return Err(SettingsError::Conflict(format!("the window is empty: it begins at {since} and ends at {until}")).into());
    }
    let chunks = chunks(since, until, request.chunk);
    let output = Output::new(request.settings.output.clone());
    let place = Path::new(PROGRESS).join(format!("{:?}-{}.json", request.chunk, since.rfc3339()).replace([' ', ':', '(', ')'], "_"));
    let mut progress = match store::read(&output.at(&place))? {
        Some(bytes) if !request.restart => serde_json::from_slice(&bytes).unwrap_or_default(),
        _ => Progress::default(),
    };
    progress.window = format!("{since}/{until}");
    let name = |chunk: &Window| format!("{}/{}", chunk.since.unwrap_or(since), chunk.until.unwrap_or(until));
    let done_before = chunks.iter().filter(|chunk| progress.done.contains(&name(chunk))).count();
    let mut outcome = BackfillOutcome { chunks: chunks.len(), done_before, runs: Vec::new() };
    for (number, chunk) in chunks.iter().enumerate() {
        if progress.done.contains(&name(chunk)) {
            continue;
        }
        before(number, chunks.len(), *chunk);
        let run = job::execute(&Request {
            settings: request.settings,
            command: CommandName::Backfill,
            replay_of: None,
            since: chunk.since.map(When::At),
            until: chunk.until.map(When::At),
            cancel: request.cancel,
            observer: request.observer,
        });
        after(&run);
        let failed = run.error.is_some();
        outcome.runs.push(run);
        if failed {
            break;
        }
        if !request.settings.dry_run {
            progress.done.insert(name(chunk));
            store::replace(&output, &place, &serde_json::to_vec(&progress).unwrap_or_default())?;
        }
    }
    Ok(outcome)
}

/// Cuts a window into chunks; the last one ends where the window does.
fn chunks(since: UtcMicros, until: UtcMicros, chunk: Chunk) -> Vec<Window> {
    let mut chunks = Vec::new();
    let mut start = since;
    for n in 1.. {
        let end = chunk.after(since, n).min(until);
        chunks.push(Window { since: Some(start), until: Some(end) });
        if end >= until {
            break;
        }
        start = end;
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_the_window_without_gap_or_overlap() {
        let at = |month, day| UtcMicros::from_civil((2026, month, day), 0, 0, 0).unwrap();
        for (chunk, count) in [("1d", 59), ("1w", 9), ("1mo", 2), ("1y", 1), ("12h", 118)] {
            let chunks = chunks(at(1, 1), at(3, 1), chunk.parse().unwrap());
            assert_eq!(chunks.len(), count, "{chunk}");
            assert_eq!((chunks[0].since, chunks[count - 1].until), (Some(at(1, 1)), Some(at(3, 1))));
            assert!(chunks.windows(2).all(|pair| pair[0].until == pair[1].since));
        }
    }
}
