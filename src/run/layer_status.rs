//! What `etl status` answers: is the layer complete and healthy? Read from what runs have left; nothing is looked at anew.

use std::{collections::BTreeMap, fs};

use serde::Serialize;

use super::{RunError, ledger};
use crate::{
    coverage::{Interval, SourceCoverage, SourceIdentity},
    layer,
    model::{Dt, UtcMicros, parse_time_text},
    report::{self, RecordedCompleteness, RecordedRun, alert::OpenAlert, alert::OpenAlerts},
    store::{Output, places},
};

/// Among how many of the latest runs drops are counted.
const RUNS_COUNTED: usize = 20;

/// A run, in short.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[expect(missing_docs, reason = "each is a field of the summary, under its name")]
pub struct RunInShort {
    pub run_id: String,
    pub status: String,
    pub finished_at: String,
    /// Seconds since then.
    pub age_seconds: i64,
}

/// A check that failed when it was last run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[expect(missing_docs, reason = "each is a field of the summary, under its name")]
pub struct FailingCheck {
    pub name: String,
    pub severity: String,
    pub violations: u64,
    pub run_id: String,
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

/// An interval of a source that was never loaded, between ones that were.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CoverageGap {
    /// The source.
    #[serde(flatten)]
    pub identity: SourceIdentity,
    /// The interval.
    #[serde(flatten)]
    pub interval: Interval,
}

/// The layer on one screen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LayerStatus {
    /// The last run succeeded, no check fails, and no alert is open.
    pub healthy: bool,
    /// No day between the first and the last is without rows, and coverage has no gaps.
    pub complete: bool,
    /// Whether the last successful run had all that its source has.
    pub completeness: Option<RecordedCompleteness>,
    /// What was never loaded, between intervals that were.
    pub gaps: Vec<CoverageGap>,
    /// The last run.
    pub last_run: Option<RunInShort>,
    /// The last one that succeeded.
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
    /// Days between the first and the last that have no rows.
    pub days_without_rows: Vec<Dt>,
    /// Over how many runs drops are counted: the latest.
    pub runs_counted: usize,
    /// What those dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Checks that failed when they were last run.
    pub failing_checks: Vec<FailingCheck>,
    /// Alerts that are open.
    pub open_alerts: Vec<OpenAlert>,
}

/// Looks at an output.
///
/// # Errors
/// What the disk refuses.
pub fn layer_status(output: &Output) -> Result<LayerStatus, RunError> {
    let now = UtcMicros::now();
    let runs: Vec<RecordedRun> = report::latest_runs(output, RUNS_COUNTED)?.into_iter().map(|(run, _)| run).collect();
    let last_success = match runs.iter().find(|run| run.is_success()) {
        Some(run) => Some(run.clone()),
        None => report::recorded_runs(output)?.map(|(run, _)| run).find(RecordedRun::is_success),
    };
    let known = layer::published_entries(output).unwrap_or_default();
    let mut partitions = Vec::new();
    for dt in layer::partitions_on_disk(output)? {
        let Ok(metadata) = fs::metadata(output.at(places::partition_file(dt))) else { continue };
        let rows = known.get(&dt).filter(|entry| entry.stamp.bytes == metadata.len()).map(|entry| entry.rows);
        partitions.push(PartitionInShort { dt, bytes: metadata.len(), rows });
    }
    let mut dropped = BTreeMap::new();
    for (reason, count) in runs.iter().flat_map(|run| &run.dropped) {
        *dropped.entry(reason.clone()).or_default() += count;
    }
    let days_without_rows = days_between(&partitions);
    let gaps = gaps(output)?;
    let failing_checks = failing_checks(&runs);
    let open_alerts: Vec<_> = OpenAlerts::read(output)?.lasting().cloned().collect();
    // A run that found the output held is no verdict on the layer.
    let is_fine = |run: &RecordedRun| run.is_success() || matches!(run.status.as_str(), "locked" | "dry_run");
    Ok(LayerStatus {
        healthy: last_success.is_some()
            && runs.first().is_none_or(is_fine)
            && failing_checks.iter().all(|check| check.severity != "error")
            && open_alerts.is_empty(),
        complete: !partitions.is_empty() && days_without_rows.is_empty() && gaps.is_empty(),
        completeness: last_success.as_ref().map(|run| run.completeness.clone()),
        gaps,
        last_run: runs.first().map(|run| in_short(run, now)),
        last_success: last_success.map(|run| in_short(&run, now)),
        partitions: partitions.len(),
        rows: partitions.iter().map(|partition| partition.rows).sum(),
        bytes: partitions.iter().map(|partition| partition.bytes).sum(),
        first_dt: partitions.first().map(|partition| partition.dt),
        last_dt: partitions.last().map(|partition| partition.dt),
        largest: partitions.iter().max_by_key(|partition| partition.bytes).cloned(),
        days_without_rows,
        runs_counted: runs.len(),
        dropped,
        failing_checks,
        open_alerts,
    })
}

fn in_short(run: &RecordedRun, now: UtcMicros) -> RunInShort {
    let finished = parse_time_text(&run.finished_at).unwrap_or(now);
    RunInShort {
        run_id: run.run_id.clone(),
        status: run.status.clone(),
        finished_at: run.finished_at.clone(),
        age_seconds: (now.micros() - finished.micros()) / UtcMicros::SECOND,
    }
}

/// The gaps of all sources.
fn gaps(output: &Output) -> Result<Vec<CoverageGap>, RunError> {
    let ledger = ledger::read(output)?;
    let of = |coverage: &SourceCoverage| {
        let identity = coverage.identity.clone();
        coverage.gaps().into_iter().map(move |interval| CoverageGap { identity: identity.clone(), interval })
    };
    Ok(ledger.sources.iter().flat_map(of).collect())
}

/// The days between the partitions.
fn days_between(partitions: &[PartitionInShort]) -> Vec<Dt> {
    let gap = |pair: &[PartitionInShort]| (pair[0].dt.days() + 1..pair[1].dt.days()).filter_map(Dt::from_days).collect::<Vec<_>>();
    partitions.windows(2).flat_map(gap).collect()
}

/// Each check as it was last run, where it failed then.
fn failing_checks(runs: &[RecordedRun]) -> Vec<FailingCheck> {
    let mut last = BTreeMap::new();
    for run in runs {
        for check in &run.checks {
            last.entry(&check.name).or_insert((check, &run.run_id));
        }
    }
    let failing = last.into_values().filter(|(check, _)| !check.passed);
    failing
        .map(|(check, run_id)| FailingCheck {
            name: check.name.clone(),
            severity: check.severity.clone(),
            violations: check.violations,
            run_id: run_id.clone(),
        })
        .collect()
}
