//! A window, loaded chunk by chunk, each a run of its own. Run again after a failure, it continues at the first chunk that is not
//! done. Which chunks are done is told by the coverage of the source.

use super::{
    RequestError, RunError,
    job::{self, Outcome, Request},
    ledger,
    observer::Observer,
};
use crate::{
    cancel::Cancel,
    coverage::{Interval, SourceCoverage},
    model::{UtcMicros, Window},
    report::CommandName,
    settings::{Chunk, Settings, SettingsError, Source, When},
    store::Output,
};

/// Which chunks of a window a backfill loads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChunkChoice {
    /// Those that are not done.
    NotDone,
    /// All, from the first.
    All,
    /// Those of the gaps in coverage.
    Gaps,
}

/// What is to be backfilled.
pub struct BackfillRequest<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// How much is loaded at once, as it was said.
    pub chunk: Chunk,
    /// Which chunks are loaded.
    pub choice: ChunkChoice,
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

impl BackfillOutcome {
    /// How many chunks are done: their ends had passed when their runs began, and nothing was missing.
    pub fn chunks_done(&self) -> usize {
        let is_done = |run: &&Outcome| {
            let summary = &run.summary;
            let is_past = summary.until.is_some_and(|until| until <= summary.started_at);
            summary.status.is_success() && is_past && !summary.completeness.all().any(|(_, completeness)| completeness.is_failed())
        };
        self.done_before + self.runs.iter().filter(is_done).count()
    }
}

/// A chunk, and whether its window was loaded before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ChunkState {
    pub(super) window: Window,
    pub(super) is_done: bool,
}

/// Loads chunk after chunk. `before` is called for every chunk before it runs (its number from 0, of how many, its window), `after`
/// of its outcome. The first chunk that fails ends it.
///
/// # Errors
/// A window without a beginning, and what the disk refuses; a chunk that fails is the last outcome.
pub fn backfill(
    request: &BackfillRequest<'_>,
    mut before: impl FnMut(usize, usize, Window),
    mut after: impl FnMut(&Outcome),
) -> Result<BackfillOutcome, RunError> {
    let settings = request.settings;
    let orders = settings.orders.as_ref().ok_or(SettingsError::NoOrders)?;
    let ledger = ledger::read(&Output::new(settings.output.clone()))?;
    let coverage = ledger.of(&ledger::identity(orders, settings.cursor));
    let chunks = planned(settings, request.chunk, request.choice, orders, coverage, UtcMicros::now())?;
    let done_before = chunks.iter().filter(|chunk| chunk.is_done).count();
    let mut outcome = BackfillOutcome { chunks: chunks.len(), done_before, runs: Vec::new() };
    let mut restart = match (request.choice, chunks.first(), chunks.last()) {
        (ChunkChoice::All, Some(first), Some(last)) => {
            first.window.since.zip(last.window.until).and_then(|(start, end)| Interval::new(start, end))
        }
        _ => None,
    };
    for (number, chunk) in chunks.iter().enumerate().filter(|(_, chunk)| !chunk.is_done) {
        before(number, chunks.len(), chunk.window);
        let run = job::execute(&Request {
            settings,
            command: CommandName::Backfill,
            replay_of: None,
            since: chunk.window.since.map(When::At),
            until: chunk.window.until.map(When::At),
            restart: restart.take(),
            cancel: request.cancel,
            observer: request.observer,
        });
        after(&run);
        let failed = run.error.is_some();
        outcome.runs.push(run);
        if failed {
            break;
        }
    }
    Ok(outcome)
}

/// The chunks of a backfill, in order.
pub(super) fn planned(
    settings: &Settings,
    chunk: Chunk,
    choice: ChunkChoice,
    orders: &Source,
    coverage: Option<&SourceCoverage>,
    now: UtcMicros,
) -> Result<Vec<ChunkState>, RequestError> {
    let window = asked(settings, chunk, now);
    if choice == ChunkChoice::Gaps {
        let gaps = coverage.map(SourceCoverage::gaps).unwrap_or_default();
        let within = gaps.into_iter().filter_map(|gap| {
            let start = window.since.map_or(gap.start, |since| since.max(gap.start));
            Interval::new(start, window.until.map_or(gap.end, |until| until.min(gap.end)))
        });
        let chunks = within.flat_map(|gap| chunks(gap.start, gap.end, chunk));
        return Ok(chunks.map(|window| ChunkState { window, is_done: false }).collect());
    }
    let since = window.since.ok_or(RequestError::NoBeginning)?;
    // An end that is not said must not move with the clock, or no rerun would be of the same window.
    let midnight = |instant: UtcMicros| instant.minus(instant.micros().rem_euclid(UtcMicros::DAY) - UtcMicros::DAY);
    let until = window.until.unwrap_or_else(|| midnight(now));
    if since >= until {
        return Err(RequestError::EmptyWindow { since, until });
    }
    let rules = ledger::rules(settings, orders);
    let is_done = |window: &Window| choice == ChunkChoice::NotDone && coverage.is_some_and(|coverage| coverage.is_done(*window, &rules));
    Ok(chunks(since, until, chunk).into_iter().map(|window| ChunkState { is_done: is_done(&window), window }).collect())
}

/// The window that was asked for. Ends that were said as ages begin with a chunk, so that a rerun has the same chunks.
fn asked(settings: &Settings, chunk: Chunk, now: UtcMicros) -> Window {
    let instant = |when: Option<When>| match when {
        Some(When::Ago(_)) => when.and_then(|when| when.instant(now)).map(|instant| chunk.floor(instant)),
        when => when.and_then(|when| when.instant(now)),
    };
    Window { since: instant(settings.since), until: instant(settings.until) }
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
