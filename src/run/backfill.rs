//! A window, loaded chunk by chunk, each a run of its own. Run again after a failure, it continues at the first chunk that is not
//! done. Which chunks are done is told by the coverage of the source.

use std::{
    collections::BTreeMap,
    str::FromStr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use super::{
    RequestError, RunError,
    job::{self, OrdersFrom, Outcome, Request},
    ledger,
    lineage::{Job, tell_unbegun},
    observer::Observer,
};
use crate::{
    cancel::Cancel,
    coverage::{Interval, SourceCoverage},
    lineage::Datasets,
    model::{UtcMicros, Window},
    report::CommandName,
    settings::{Chunk, Cursor, Settings, SettingsError, Source, When},
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
    /// Which part of the chunks this process loads; `None`: all of them.
    pub shard: Option<Shard>,
    /// How many chunks are loaded at once.
    pub jobs: usize,
    /// The switch that stops it.
    pub cancel: &'a Cancel,
    /// Who watches each run.
    pub observer: &'a dyn Observer,
}

/// A part of the chunks of a backfill: part `number` of `of`, counted from 0. The parts are of about the same size, and each is in
/// one piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shard {
    number: usize,
    of: usize,
}

impl Shard {
    /// Whether a chunk is in this part.
    pub(super) fn has(self, chunk: usize, chunks: usize) -> bool {
        chunks > 0 && chunk * self.of / chunks == self.number
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let parsed = text.split_once('/').and_then(|(number, of)| Some((number.trim().parse().ok()?, of.trim().parse().ok()?)));
        let (number, of): (usize, usize) = parsed.ok_or("write I/N, such as 0/20: part I, counted from 0, of N")?;
        if of == 0 || of > MOST_SHARDS {
            return Err(format!("write a number of parts from 1 to {MOST_SHARDS}"));
        }
        if number >= of {
            return Err(format!("parts are counted from 0: write 0/{of} to {}/{of}", of - 1));
        }
        Ok(Shard { number, of })
    }
}

/// The most parts of a backfill.
const MOST_SHARDS: usize = 10_000;

/// How a backfill ended.
pub struct BackfillOutcome {
    /// All chunks of the window.
    pub chunks: usize,
    /// Those that earlier calls have done.
    pub done_before: usize,
    /// The runs of this call, in the order of their chunks. One or more may have failed.
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

/// Loads the chunks, several at once if that is asked for. `before` is called for every chunk before it runs (its number from 0, of how
/// many, its window), `after` of its outcome. After a chunk that fails, no other is begun.
///
/// # Errors
/// A window without a beginning, and what the disk refuses; a chunk that fails is the last outcome.
pub fn backfill(
    request: &BackfillRequest<'_>,
    before: impl Fn(usize, usize, Window) + Sync,
    after: impl Fn(&Outcome) + Sync,
) -> Result<BackfillOutcome, RunError> {
    let job = Job { settings: request.settings, command: CommandName::Backfill, datasets: Datasets::Sources };
    tell_unbegun(job, request.cancel, load_chunks(request, before, after))
}

fn load_chunks(
    request: &BackfillRequest<'_>,
    before: impl Fn(usize, usize, Window) + Sync,
    after: impl Fn(&Outcome) + Sync,
) -> Result<BackfillOutcome, RunError> {
    let settings = request.settings;
    let orders = settings.orders.as_ref().ok_or(SettingsError::NoOrders)?;
    let ledger = ledger::of_output(&Output::open(&settings.output)?)?;
    let coverage = ledger.of(&ledger::identity(orders, settings));
    let chunks = planned(settings, request.chunk, request.choice, orders, coverage, UtcMicros::now())?;
    let all = chunks.len();
    let in_shard = |number: usize| request.shard.is_none_or(|shard| shard.has(number, all));
    let chunks: Vec<_> = chunks.into_iter().enumerate().filter(|(number, _)| in_shard(*number)).map(|(_, chunk)| chunk).collect();
    let done_before = chunks.iter().filter(|chunk| chunk.is_done).count();
    let restart = match (request.choice, chunks.first(), chunks.last()) {
        (ChunkChoice::All, Some(first), Some(last)) => {
            first.window.since.zip(last.window.until).and_then(|(start, end)| Interval::new(start, end))
        }
        _ => None,
    };
    let work: Vec<_> =
        chunks.iter().enumerate().filter(|(_, chunk)| !chunk.is_done).map(|(number, chunk)| (number, chunk.window)).collect();
    let queue = Queue { next: AtomicUsize::new(0), failed: AtomicBool::new(false), done: Mutex::new(BTreeMap::new()) };
    // The mark of a new beginning must be there before the other chunks are.
    let alone = usize::from(restart.is_some()).min(work.len());
    let load = |restart: Option<Interval>| {
        let place = queue.next.fetch_add(1, Ordering::Relaxed);
        let Some(&(number, window)) = work.get(place).filter(|_| !queue.failed.load(Ordering::Relaxed)) else { return false };
        before(number, chunks.len(), window);
        let run = load_chunk(request, window, restart);
        after(&run);
        if run.error.is_some() {
            queue.failed.store(true, Ordering::Relaxed);
        }
        queue.done.lock().unwrap_or_else(PoisonError::into_inner).insert(number, run);
        true
    };
    for _ in 0..alone {
        load(restart);
    }
    let span = tracing::Span::current();
    thread::scope(|scope| {
        for _ in 1..jobs_at_once(request, &work).clamp(1, work.len().max(1)) {
            scope.spawn(|| span.in_scope(|| while load(None) {}));
        }
        while load(None) {}
    });
    let runs = queue.done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect();
    Ok(BackfillOutcome { chunks: chunks.len(), done_before, runs })
}

/// How many chunks may be loaded at once: those that share days would only wait for each other.
fn jobs_at_once(request: &BackfillRequest<'_>, work: &[(usize, Window)]) -> usize {
    let begins_within_a_day =
        |(_, window): &(usize, Window)| window.since.is_some_and(|since| since.micros().rem_euclid(UtcMicros::DAY) != 0);
    let shares_days =
        request.settings.cursor != Cursor::Created || !request.chunk.is_of_whole_days() || work.iter().any(begins_within_a_day);
    if shares_days && request.jobs > 1 {
        tracing::warn!("these chunks share days, so they are loaded one after the other: --jobs needs chunks of whole days of created_at");
        return 1;
    }
    request.jobs
}

/// The chunks that are loaded, taken one by one by the threads.
struct Queue {
    next: AtomicUsize,
    /// Whether a chunk has failed: no other is begun.
    failed: AtomicBool,
    done: Mutex<BTreeMap<usize, Outcome>>,
}

fn load_chunk(request: &BackfillRequest<'_>, window: Window, restart: Option<Interval>) -> Outcome {
    job::execute(&Request {
        settings: request.settings,
        command: CommandName::Backfill,
        orders: OrdersFrom::Source,
        since: window.since.map(When::At),
        until: window.until.map(When::At),
        restart,
        diff: None,
        cancel: request.cancel,
        observer: request.observer,
    })
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
        // A gap without a beginning is one chunk.
        let chunks =
            within.flat_map(|gap| if gap.start == UtcMicros::MIN { vec![gap.window()] } else { chunks(gap.start, gap.end, chunk) });
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
    fn shards_have_each_chunk_once_and_in_one_piece() {
        for (chunks, of) in [(26, 4), (3, 5), (7, 7), (1, 1), (0, 3)] {
            let shards: Vec<Shard> = (0..of).map(|number| format!("{number}/{of}").parse().unwrap()).collect();
            let owner = |chunk| shards.iter().filter(|shard| shard.has(chunk, chunks)).collect::<Vec<_>>();
            let owners: Vec<usize> = (0..chunks).map(|chunk| owner(chunk)[0].number).collect();
            assert!((0..chunks).all(|chunk| owner(chunk).len() == 1) && owners.is_sorted(), "{chunks} {of}: {owners:?}");
        }
        for wrong in ["4/4", "1", "a/b", "0/0", "-1/2", ""] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }

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
