//! What `etl status` answers: is the layer complete and healthy? Read from what runs have left; no partition is read.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    RunError, conclude,
    health::{self, Evidence, LastRun, Unhealthy},
    ledger,
};
use crate::{
    check::Severity,
    coverage::{Ledger, SourceCoverage, SourceInterval},
    layer::{self, PartitionEntry},
    model::{DropCounts, Dt, RunId, UtcMicros},
    report::{
        self, Alert, CommandName, RunCompleteness, Status, Summary,
        alert::{
            OpenAlert, OpenAlerts,
            stuck::{self, Holding},
        },
    },
    settings::Settings,
    store::{self, HeldLease, Holder, Lease, Listed, Output, places},
};

/// Among how many of the latest runs drops are counted.
const RUNS_COUNTED: usize = 20;

/// A run, in short.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[expect(missing_docs, reason = "each is a field of the summary, under its name")]
pub struct RunInShort {
    pub run_id: String,
    pub command: CommandName,
    pub status: Status,
    pub finished_at: UtcMicros,
    /// Seconds since then.
    pub age_seconds: i64,
    /// The run that has undone it.
    pub undone_by: Option<String>,
}

/// A check that failed when it was last run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[expect(missing_docs, reason = "each is a field of the summary, under its name")]
pub struct FailingCheck {
    pub name: String,
    pub severity: Severity,
    pub violations: u64,
    pub run_id: String,
    /// Whether the layer has what the run brought.
    #[serde(skip)]
    pub is_in_layer: bool,
}

/// A shop, by its runs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ShopInShort {
    /// Its name.
    pub shop: String,
    /// Its last run, among those that are looked at.
    pub last_run: Option<RunInShort>,
    /// Its last one that succeeded.
    pub last_success: Option<RunInShort>,
}

/// A partition, in short.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PartitionInShort {
    /// Its day.
    pub dt: Dt,
    /// The size of its file.
    pub bytes: u64,
    /// Its rows, where the state knows them.
    pub rows: Option<u64>,
}

/// What an undone run had loaded, as far as no run covers it now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct UndoneLoad {
    /// The source, and the interval.
    #[serde(flatten)]
    pub place: SourceInterval,
    /// The run that had loaded it.
    pub run_id: String,
    /// The run that has undone that one.
    pub undone_by: String,
}

/// The run that holds the output, or has left a lease on it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct HeldBy {
    /// The run, its process, its host, and when it took the output.
    #[serde(flatten)]
    pub holder: Holder,
    /// Seconds since then.
    pub seconds: u64,
    /// Whether that is longer than `alerts.stuck_after`, and the run is at work.
    pub stuck: bool,
    /// Seconds since it renewed its lease, if it is dead or its machine sleeps; `None` while it is at work.
    pub silent_seconds: Option<u64>,
}

/// The records that runs have kept as they were delivered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RawInShort {
    /// The runs.
    pub runs: usize,
    /// The size of their files.
    pub bytes: u64,
    /// The first of the runs.
    pub first_run_id: String,
}

/// The layer on one screen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LayerStatus {
    /// The last run succeeded (of each shop, where there are several), no check fails, no alert is open, and no run is stuck.
    pub healthy: bool,
    /// Why it is not, the most urgent reason first; none if it is.
    pub reasons: Vec<Unhealthy>,
    /// Each shop of `etl.toml`; none in a layer of one source.
    pub shops: Vec<ShopInShort>,
    /// The run that holds the output now.
    pub held_by: Option<HeldBy>,
    /// No day between the first and the last is without rows, and coverage has no gaps.
    pub complete: bool,
    /// Whether the last successful run had all that its source has.
    pub completeness: Option<RunCompleteness>,
    /// What is not loaded, between intervals that are.
    pub gaps: Vec<SourceInterval>,
    /// What was loaded, then undone, and is not loaded since.
    pub undone: Vec<UndoneLoad>,
    /// The last run, or another change of the layer, such as an undo.
    pub last_run: Option<RunInShort>,
    /// The last run that has loaded orders with success.
    pub last_success: Option<RunInShort>,
    /// How many partitions there are.
    pub partitions: usize,
    /// Their rows, where the state knows them all.
    pub rows: Option<u64>,
    /// The size of their files.
    pub bytes: u64,
    /// The first day.
    pub first_dt: Option<Dt>,
    /// The last day.
    pub last_dt: Option<Dt>,
    /// The largest partition.
    pub largest: Option<PartitionInShort>,
    /// The records that runs have kept; `None` if there are none.
    pub raw: Option<RawInShort>,
    /// Days between the first and the last that have no rows.
    pub days_without_rows: Vec<Dt>,
    /// Over how many runs drops are counted: the latest.
    pub runs_counted: usize,
    /// What those dropped and no replay has read again, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// The same, records and lines apart.
    pub drops: DropCounts,
    /// What those dropped and a replay has read again.
    pub drops_replayed: DropCounts,
    /// Checks that failed when they were last run.
    pub failing_checks: Vec<FailingCheck>,
    /// Alerts that are open.
    pub open_alerts: Vec<OpenAlert>,
}

impl LayerStatus {
    /// What keeps it from being complete, in words; `None` if it is.
    pub fn missing(&self) -> Option<&'static str> {
        match (self.complete, self.partitions, self.gaps.is_empty()) {
            (true, ..) => None,
            (false, 0, _) => Some("without rows"),
            (false, _, true) => Some("days are missing"),
            (false, _, false) => Some("coverage has gaps"),
        }
    }
}

/// Looks at the output of these settings. Where a run is stuck that no run has found yet, the receivers of alerts are notified.
///
/// # Errors
/// I/O errors.
pub fn layer_status(settings: &Settings) -> Result<LayerStatus, RunError> {
    let output = &Output::open(&settings.output)?;
    let now = UtcMicros::now();
    let held_by = held_by(settings, output, now)?;
    let looked_at = RUNS_COUNTED * settings.shops.len().max(1);
    let runs: Vec<Summary> = report::latest_runs(output, looked_at)?.into_iter().map(|(run, _)| run).collect();
    let last_success = match runs.iter().find(|run| run.is_successful_load()) {
        Some(run) => Some(run.clone()),
        None => report::latest_run(output, Summary::is_successful_load)?,
    };
    let undone = report::undone_runs(&runs);
    let in_short = |run: &Summary| in_short(run, now, &undone);
    let partitions = partitions(output)?;
    let DropsOfRuns { by_reason: dropped, drops, replayed: drops_replayed } = drops_of(&runs);
    let days_without_rows = days_between(&partitions);
    let ledger = ledger::of_output(output)?;
    let gaps = gaps(&ledger);
    let failing_checks = failing_checks(runs.iter().filter(|run| !undone.contains_key(&run.run_id)));
    let mut open_alerts: Vec<_> = OpenAlerts::read(output)?.lasting().cloned().collect();
    open_alerts.extend(stuck::open(output)?);
    let reasons = health::reasons(&Evidence {
        settings,
        has_success: last_success.is_some(),
        held_by: held_by.as_ref(),
        last_runs: last_runs(settings, &runs, &undone)
            .into_iter()
            .map(|run| LastRun { run: in_short(run), shop: run.shop.as_deref() })
            .collect(),
        failing_checks: &failing_checks,
        open_alerts: &open_alerts,
    });
    Ok(LayerStatus {
        healthy: reasons.is_empty(),
        reasons,
        shops: settings.shops.iter().map(|shop| shop_in_short(shop, &runs, &in_short)).collect(),
        held_by,
        complete: !partitions.is_empty() && days_without_rows.is_empty() && gaps.is_empty(),
        completeness: last_success.as_ref().map(|run| run.completeness.clone()),
        gaps,
        undone: undone_loads(output, &ledger, &undone)?,
        last_run: runs.first().map(in_short),
        last_success: last_success.as_ref().map(in_short),
        partitions: partitions.len(),
        rows: partitions.iter().map(|partition| partition.rows).sum(),
        bytes: partitions.iter().map(|partition| partition.bytes).sum(),
        first_dt: partitions.first().map(|partition| partition.dt),
        last_dt: partitions.last().map(|partition| partition.dt),
        raw: raw(output)?,
        largest: partitions.iter().max_by_key(|partition| partition.bytes).cloned(),
        days_without_rows,
        runs_counted: runs.len(),
        dropped,
        drops,
        drops_replayed,
        failing_checks,
        open_alerts,
    })
}

/// The last run, and the last one of each shop; each of them once. An undo or an erasure says nothing of the source, and an undone run
/// is gone: the last run that loads and stands counts, if there is one.
fn last_runs<'r>(settings: &Settings, runs: &'r [Summary], undone: &BTreeMap<String, String>) -> Vec<&'r Summary> {
    let stand: Vec<&Summary> = runs.iter().filter(|run| run.command.is_load() && !undone.contains_key(&run.run_id)).collect();
    let of_shops = settings.shops.iter().filter_map(|shop| stand.iter().find(|run| run.shop.as_ref() == Some(shop)).copied());
    let mut last: Vec<&Summary> = stand.first().copied().or(runs.first()).into_iter().chain(of_shops).collect();
    let mut seen = BTreeSet::new();
    last.retain(|run| seen.insert(&run.run_id));
    last
}

/// What runs have dropped.
struct DropsOfRuns {
    /// Without what was replayed, by reason.
    by_reason: BTreeMap<String, u64>,
    /// The same, records and lines apart.
    drops: DropCounts,
    /// What was replayed.
    replayed: DropCounts,
}

/// What these runs, the latest first, have dropped: a later run among them may have replayed it.
fn drops_of(runs: &[Summary]) -> DropsOfRuns {
    let mut found = DropsOfRuns { by_reason: BTreeMap::new(), drops: DropCounts::default(), replayed: DropCounts::default() };
    let replayed = report::replayed_runs(runs);
    for run in runs {
        if replayed.contains(&run.run_id) {
            found.replayed.absorb(run.drops());
        } else {
            found.drops.absorb(run.drops());
            for (reason, count) in run.dropped_by_reason() {
                *found.by_reason.entry(reason.to_owned()).or_default() += count;
            }
        }
    }
    found
}

/// The partitions, in short.
fn partitions(output: &Output) -> Result<Vec<PartitionInShort>, RunError> {
    let known = layer::published_entries(output)?;
    if output.folder().is_none() {
        let short = |(dt, entry): (Dt, PartitionEntry)| PartitionInShort { dt, bytes: entry.version.bytes, rows: Some(entry.rows) };
        return Ok(known.into_iter().map(short).collect());
    }
    let mut partitions = Vec::new();
    for (dt, key) in layer::stored_partition_files(output)? {
        // A run may have removed it meanwhile.
        let Some((bytes, _)) = store::size_and_time(&output.at(key))? else { continue };
        let rows = known.get(&dt).filter(|entry| entry.version.bytes == bytes).map(|entry| entry.rows);
        partitions.push(PartitionInShort { dt, bytes, rows });
    }
    Ok(partitions)
}

/// The kept records, in short.
fn raw(output: &Output) -> Result<Option<RawInShort>, RunError> {
    let files = output.list(places::RAW)?;
    let run_of = |file: &Listed| places::run_of_folder(file.key.folder()?.rsplit_once('/')?.1).map(str::to_owned);
    let runs: BTreeSet<String> = files.iter().filter_map(run_of).collect();
    let short =
        |first: &String| RawInShort { runs: runs.len(), bytes: files.iter().map(|file| file.bytes).sum(), first_run_id: first.clone() };
    Ok(runs.first().map(short))
}

fn in_short(run: &Summary, now: UtcMicros, undone: &BTreeMap<String, String>) -> RunInShort {
    RunInShort {
        run_id: run.run_id.clone(),
        command: run.command,
        status: run.status,
        finished_at: run.finished_at,
        age_seconds: (now.micros() - run.finished_at.micros()) / UtcMicros::SECOND,
        undone_by: undone.get(&run.run_id).cloned(),
    }
}

fn shop_in_short(shop: &str, runs: &[Summary], in_short: &dyn Fn(&Summary) -> RunInShort) -> ShopInShort {
    let mut of_shop = runs.iter().filter(|run| run.shop.as_deref() == Some(shop)).peekable();
    let last_run = of_shop.peek().map(|run| in_short(run));
    let last_success = of_shop.find(|run| run.is_successful_load()).map(in_short);
    ShopInShort { shop: shop.to_owned(), last_run, last_success }
}

/// Who holds the output. Brings the alerts about stuck runs in line with it.
fn held_by(settings: &Settings, output: &Output, now: UtcMicros) -> Result<Option<HeldBy>, RunError> {
    // Of several, the one that has been at work the longest. One that is dead does not hang.
    let key = |held: &HeldLease| (held.silent_for.is_some(), held.holder.since.clone());
    let held = Lease::listed(output)?.into_iter().min_by_key(key);
    let at_work = held.as_ref().filter(|held| held.silent_for.is_none()).map(|held| &held.holder);
    let alert: Option<Alert> = at_work.and_then(|holder| stuck::judge(&settings.alerts, holder, now));
    // An alert about it that a run has raised is over when its lease is.
    let holding = held.as_ref().map_or(Holding::None, |held| Holding::By(&held.holder, alert.as_ref()));
    // Asked first: a store that refuses it is the error of the command, and nothing that keeps an alert from being sent.
    if stuck::is_kept(output)? || alert.is_some() {
        conclude::update_stuck(settings, output, RunId::new(now).as_str(), now, holding);
    }
    Ok(held.map(|HeldLease { holder, silent_for }| HeldBy {
        seconds: stuck::held_for(&holder, now).as_secs(),
        stuck: alert.is_some(),
        silent_seconds: silent_for.map(|silent| silent.as_secs()),
        holder,
    }))
}

/// The gaps of all sources.
fn gaps(ledger: &Ledger) -> Vec<SourceInterval> {
    let of = |coverage: &SourceCoverage| {
        let identity = coverage.identity.clone();
        coverage.gaps().into_iter().map(move |interval| SourceInterval { identity: identity.clone(), interval })
    };
    ledger.sources.iter().flat_map(of).collect()
}

/// What undone runs had loaded, as their reports tell it, and no run covers now. `undone` has the run of the undo of each.
fn undone_loads(output: &Output, ledger: &Ledger, undone: &BTreeMap<String, String>) -> Result<Vec<UndoneLoad>, RunError> {
    let mut loads: Vec<UndoneLoad> = Vec::new();
    // The latest first: what several of them had loaded is told once.
    for (run_id, undone_by) in undone.iter().rev() {
        let report = output.read(places::report(run_id))?.and_then(|bytes| Summary::from_json(&bytes).ok());
        let Some((identity, loaded)) = report.as_ref().filter(|run| ledger::adds_to_coverage(run)).and_then(ledger::loaded_by) else {
            continue;
        };
        for place in ledger.uncovered(&identity, vec![loaded.interval]) {
            if !loads.iter().any(|told| told.place.has(&place)) {
                loads.push(UndoneLoad { place, run_id: run_id.clone(), undone_by: undone_by.clone() });
            }
        }
    }
    Ok(loads)
}

/// The days between the partitions.
fn days_between(partitions: &[PartitionInShort]) -> Vec<Dt> {
    let gap = |pair: &[PartitionInShort]| (pair[0].dt.days() + 1..pair[1].dt.days()).filter_map(Dt::from_days).collect::<Vec<_>>();
    partitions.windows(2).flat_map(gap).collect()
}

/// Each check as it was last run, by each shop where there are several, where it failed then. The latest run comes first.
fn failing_checks<'r>(runs: impl Iterator<Item = &'r Summary>) -> Vec<FailingCheck> {
    let mut last = BTreeMap::new();
    for run in runs {
        for check in &run.checks {
            last.entry((&run.shop, &check.name)).or_insert((check, run));
        }
    }
    let failing = last.into_values().filter(|(check, _)| !check.passed);
    failing
        .map(|(check, run)| FailingCheck {
            name: check.name.clone(),
            severity: check.severity,
            violations: check.violations,
            run_id: run.run_id.clone(),
            is_in_layer: run.has_loaded(),
        })
        .collect()
}
