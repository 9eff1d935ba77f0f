//! `etl plan`: what a run or a backfill would ask for, and why. Asks nothing and writes nothing.

use serde::Serialize;

use super::{
    RunError,
    backfill::{self, ChunkChoice},
    ledger,
    window::{AskedWindow, gap_before},
};
use crate::{
    coverage::{Interval, SourceCoverage, SourceIdentity},
    model::{UtcMicros, Window},
    settings::{Chunk, Settings, SettingsError, When},
    source,
    store::Output,
};

/// What is to be planned.
#[derive(Clone, Copy)]
pub struct PlanRequest<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// The chunk of a backfill, where one is to be planned.
    pub chunk: Option<Chunk>,
}

/// A chunk of a backfill.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PlannedChunk {
    /// Its beginning.
    pub since: Option<String>,
    /// Its end.
    pub until: Option<String>,
    /// `done`, or why it would be loaded: `not loaded`, `not over yet`.
    pub state: &'static str,
}

/// What a run or a backfill would ask for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Plan {
    /// The shop whose orders it is about; `None` in a layer of one source.
    pub shop: Option<String>,
    /// The source that coverage is kept under.
    #[serde(flatten)]
    pub identity: SourceIdentity,
    /// The run that it is about, as one types it. Where nothing says `--since`, that is `--since last`, as under cron.
    pub command: String,
    /// The window of that run.
    pub since: Option<String>,
    /// Its end; `None` is now.
    pub until: Option<String>,
    /// Why it begins there.
    pub why: String,
    /// The first request, without secrets; `None` for files.
    pub request: Option<String>,
    /// What has been loaded completely.
    pub covered: Vec<Interval>,
    /// What lies between, and was never loaded.
    pub gaps: Vec<Interval>,
    /// What the run would leave uncovered before its window.
    pub leaves_gap: Option<Interval>,
    /// Intervals that were loaded and had no order, between ones that had some.
    pub empty: Vec<Interval>,
    /// The chunks of the backfill that was asked for.
    pub chunks: Option<Vec<PlannedChunk>>,
}

/// Plans a run, and the backfill where a chunk is named.
///
/// # Errors
/// No orders are named, a window that is empty, or what the disk refuses.
pub fn plan(request: PlanRequest<'_>) -> Result<Plan, RunError> {
    let settings = request.settings;
    let orders = settings.orders.as_ref().ok_or(SettingsError::NoOrders)?;
    let now = UtcMicros::now();
    let ledger = ledger::of_output(&Output::open(&settings.output)?)?;
    let identity = ledger::identity(orders, settings);
    let coverage = ledger.of(&identity);
    let since = settings.since.unwrap_or(When::Last);
    let window = AskedWindow { since: Some(since), until: settings.until, lookback: settings.lookback }.resolve(coverage, now)?;
    let chunks = match request.chunk {
        Some(chunk) => Some(chunk_states(settings, chunk, coverage, now)?),
        None => None,
    };
    Ok(Plan {
        shop: settings.shop.as_ref().map(|shop| shop.name.clone()),
        command: settings.run_command_line(),
        since: window.since.map(UtcMicros::rfc3339),
        until: window.until.map(UtcMicros::rfc3339),
        why: why(since, window, coverage),
        request: source::first_request(orders, window, settings.cursor),
        covered: coverage.map(SourceCoverage::covered).unwrap_or_default(),
        gaps: coverage.map(SourceCoverage::gaps).unwrap_or_default(),
        leaves_gap: gap_before(window, coverage),
        empty: coverage.map(SourceCoverage::empty_between).unwrap_or_default(),
        chunks,
        identity,
    })
}

fn why(since: When, window: Window, coverage: Option<&SourceCoverage>) -> String {
    let covered = coverage.and_then(SourceCoverage::resume_point);
    match (since, covered) {
        (When::Last, None) => "nothing of this source has been loaded yet: everything is asked for".to_owned(),
        (When::Last, Some(end)) => {
            let gap = coverage.map(SourceCoverage::gaps).unwrap_or_default().into_iter().find(|gap| gap.start == end);
            let to = gap.map_or(String::new(), |gap| format!(", where a gap begins that ends at {}", gap.end));
            format!("the coverage that began with the first run ends at {end}{to}; --lookback goes back from there")
        }
        _ => format!("--since says so{}", if window.since.is_none() { " (everything)" } else { "" }),
    }
}

fn chunk_states(
    settings: &Settings,
    chunk: Chunk,
    coverage: Option<&SourceCoverage>,
    now: UtcMicros,
) -> Result<Vec<PlannedChunk>, RunError> {
    let orders = settings.orders.as_ref().ok_or(SettingsError::NoOrders)?;
    let planned = backfill::planned(settings, chunk, ChunkChoice::NotDone, orders, coverage, now)?;
    let state = |state: &backfill::ChunkState| match (state.is_done, state.window.until.is_some_and(|until| until > now)) {
        (true, _) => "done",
        (false, true) => "not over yet",
        (false, false) => "not loaded",
    };
    let chunk = |planned: &backfill::ChunkState| PlannedChunk {
        since: planned.window.since.map(UtcMicros::rfc3339),
        until: planned.window.until.map(UtcMicros::rfc3339),
        state: state(planned),
    };
    Ok(planned.iter().map(chunk).collect())
}
