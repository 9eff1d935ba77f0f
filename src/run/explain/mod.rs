//! What is known of one order: its rows in the layer, the versions that runs brought, what was dropped of it, the checks
//! that saw it, and what the warehouse holds.
//!
//! Puts together what others keep: the layer (index, lineage), the reports and the quarantine. Changes nothing.

mod checks;
mod dropped;
mod versions;
mod warehouse;

pub use checks::{FailedCheckOfOrder, RunChecks};
pub use dropped::{DroppedPart, NamedBy};
pub use versions::{Version, VersionLine};
pub use warehouse::WarehouseRows;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Serialize;

use super::{RequestError, RunError};
use crate::{
    cancel::Cancel,
    layer::{self, FoundBy, LineOutcome, LineageRetention, LineageRun, StoredRow},
    model::{Dt, RunId, UtcMicros, counted, order_hash},
    report::{self, Summary},
    settings::{MergeBy, Settings},
    store::Output,
};

/// Which order.
#[derive(Clone, Copy, Debug)]
pub struct ExplainRequest<'a> {
    /// The order, as `order_id` of `fact_order` has it.
    pub order_id: &'a str,
    /// Only the lines of this sku.
    pub sku: Option<&'a str>,
    /// Whether the warehouse is asked, too.
    pub warehouse: AskWarehouse,
}

/// Whether the warehouse is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AskWarehouse {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// What was searched.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LookedAt {
    /// Reports of runs.
    pub runs: usize,
    /// The start of the oldest of them.
    pub since: Option<UtcMicros>,
    /// Runs whose lineage is kept.
    pub runs_with_lineage: usize,
    /// The oldest of them.
    pub lineage_since: Option<UtcMicros>,
    /// Runs whose quarantine is kept.
    pub quarantines: usize,
    /// Partitions of the layer.
    pub partitions: usize,
    /// Partitions that were read for this answer.
    pub partitions_read: usize,
    /// How the partitions of the order were found.
    pub found_by: FoundBy,
}

impl LookedAt {
    /// All of it, as part of a sentence.
    pub fn text(&self) -> String {
        let since = |start: Option<UtcMicros>| start.map(|start| format!(" since {}", start.rfc3339())).unwrap_or_default();
        format!(
            "{}, {}{}, the lineage of {}{}, and {}",
            counted(self.partitions as u64, "partition"),
            counted(self.runs as u64, "run"),
            since(self.since),
            counted(self.runs_with_lineage as u64, "run"),
            since(self.lineage_since),
            counted(self.quarantines as u64, "quarantine")
        )
    }
}

/// What is known of an order.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The order.
    pub order_id: String,
    /// The sku that was asked for.
    pub sku: Option<String>,
    /// Its rows in the layer.
    pub rows: Vec<StoredRow>,
    /// The versions that runs brought, in the order of their commits.
    pub versions: Vec<Version>,
    /// Dropped records and lines of it.
    pub dropped: Vec<DroppedPart>,
    /// Runs whose checks saw its partitions.
    pub checks: Vec<RunChecks>,
    /// What the warehouse holds, if it was asked.
    pub warehouse: Option<WarehouseRows>,
    /// What the answer can't tell, and why.
    pub notes: Vec<String>,
    /// What was searched.
    pub looked_at: LookedAt,
}

/// Explains an order.
///
/// # Errors
/// Nothing knows the order, I/O errors, or the warehouse is not reached.
pub fn explain(settings: &Settings, request: &ExplainRequest<'_>, cancel: &Cancel) -> Result<Explanation, RunError> {
    let output = Output::open(&settings.output)?;
    let mut notes = Vec::new();
    let mut stored = layer::stored_order(&output, request.order_id)?;
    if let Some(sku) = request.sku {
        stored.rows.retain(|row| row.columns.get("sku") == Some(sku));
    }
    notes.extend(stored.unreadable.iter().map(|error| format!("a partition can't be read: {error}")));
    if stored.found_by == FoundBy::Scan && stored.partitions > 0 {
        notes.push("the index of orders is missing or damaged: all partitions were read; the next run makes it again".to_owned());
    }
    let reports = reports(&output)?;
    let mut kept = layer::stored_runs(&output)?;
    kept.retain(|run| is_of_commit(run, &reports));
    let mut history = versions::versions(&output, &kept, order_hash(request.order_id), &reports, settings.merge, &mut notes);
    if let Some(sku) = request.sku {
        versions::keep_sku(&mut history, sku);
    }
    let (dropped, quarantines) = dropped::dropped(&output, request, &reports)?;
    let dts = partitions_of(&stored.rows, &history);
    let seen = checks::Seen { dts: &dts, since: versions::first_run(&history) };
    let checks = checks::checks(&output, request.order_id, &seen, &reports)?;
    let warehouse = match request.warehouse {
        AskWarehouse::Yes => Some(warehouse::ask(settings, request, &stored.rows, cancel)?),
        AskWarehouse::No => None,
    };
    tell_limits(&stored.rows, &history, &kept, settings.merge, &mut notes);
    let looked_at = LookedAt {
        runs: reports.len(),
        since: reports.values().next().map(|report| report.started_at),
        runs_with_lineage: kept.len(),
        lineage_since: kept.first().and_then(|run| started_at(run, &reports)),
        quarantines,
        partitions: stored.partitions,
        partitions_read: stored.partitions_read,
        found_by: stored.found_by,
    };
    let is_known = !stored.rows.is_empty()
        || !history.is_empty()
        || !dropped.is_empty()
        || warehouse.as_ref().is_some_and(|warehouse| !warehouse.rows.is_empty());
    if !is_known {
        let mut looked_at = looked_at.text();
        notes.iter().for_each(|note| looked_at.push_str(&format!(". {note}")));
        let [runs, dropped] = ["runs", "quarantine"].map(|command| settings.command_line(command));
        looked_at.push_str(&format!(". `{runs}` lists what was loaded, and `{dropped}` what was dropped"));
        let sku = request.sku.map(str::to_owned);
        return Err(RequestError::UnknownOrder {
            output: settings.output.to_string(),
            order_id: request.order_id.to_owned(),
            sku,
            looked_at,
        }
        .into());
    }
    Ok(Explanation {
        order_id: request.order_id.to_owned(),
        sku: request.sku.map(str::to_owned),
        rows: stored.rows,
        versions: history,
        dropped,
        checks,
        warehouse,
        notes,
        looked_at,
    })
}

/// Whether a run was committed at the place that its lineage has. A run that was refused, or that merged again because another was
/// committed meanwhile, leaves lineage that counts for nothing.
fn is_of_commit(run: &LineageRun, reports: &BTreeMap<String, Summary>) -> bool {
    match reports.get(&run.run_id) {
        Some(report) if report.commit.is_some() => report.commit == Some(run.sequence),
        // Reports of versions before commits have no number.
        Some(report) => report.has_published() || report.status.is_success(),
        None => true,
    }
}

/// All reports, by run.
fn reports(output: &Output) -> Result<BTreeMap<String, Summary>, RunError> {
    let by_run = report::recorded_summaries(output)?.map(|run| run.map(|run| (run.run_id.clone(), run)));
    Ok(by_run.collect::<Result<_, _>>()?)
}

/// When a run started: its report says so, or else its name.
fn started_at(run: &LineageRun, reports: &BTreeMap<String, Summary>) -> Option<UtcMicros> {
    let by_name = || run.run_id.parse::<RunId>().ok()?.start();
    reports.get(&run.run_id).map(|report| report.started_at).or_else(by_name)
}

/// The partitions that hold or held the order.
fn partitions_of(rows: &[StoredRow], versions: &[Version]) -> BTreeSet<Dt> {
    let moved = versions.iter().flat_map(|version| version.moved_from.iter().copied());
    rows.iter().map(|row| row.dt).chain(versions.iter().map(|version| version.dt)).chain(moved).collect()
}

/// Adds what neither the lineage nor the layer explains.
fn tell_limits(rows: &[StoredRow], versions: &[Version], kept: &[LineageRun], merge: MergeBy, notes: &mut Vec<String>) {
    let mut last: BTreeMap<&str, &Version> = BTreeMap::new();
    for version in versions {
        last.extend(version.lines.iter().filter(|line| line.outcome.is_in_layer()).map(|line| (line.sku.as_str(), version)));
        // The version itself says why these rows are not in the layer.
        for line in version.lines.iter().filter(|line| line.outcome == LineOutcome::Deleted && version.undone_by.is_none()) {
            last.remove(line.sku.as_str());
        }
    }
    let sku_of = |row: &StoredRow| layer::kept_sku(row.columns.get("sku").unwrap_or_default()).to_owned();
    let stored: BTreeSet<String> = rows.iter().map(sku_of).collect();
    let unknown: Vec<_> = stored.iter().filter(|sku| !last.contains_key(sku.as_str())).map(|sku| format!("`{sku}`")).collect();
    if !unknown.is_empty() {
        let oldest =
            kept.first().map_or("no run has lineage here".to_owned(), |run| format!("the oldest lineage is that of run {}", run.run_id));
        notes.push(format!("no kept run tells which record brought the row of sku {}: {oldest}", unknown.join(", ")));
    }
    let is_missing = |(sku, version): &(&&str, &&Version)| !stored.contains(**sku) && version.undone_by.is_none();
    for (sku, version) in last.iter().filter(is_missing) {
        let has_successor = versions
            .iter()
            .rev()
            .find(|version| version.lines.iter().any(|line| line.outcome.is_in_layer()))
            .is_some_and(|newest| newest.run_id != version.run_id && !newest.lines.iter().any(|line| line.sku == **sku));
        let why = if merge == MergeBy::Order && has_successor {
            "a newer version of the order has no such line (merge = \"order\")"
        } else {
            "no kept run says why; the partition may have been changed by hand"
        };
        notes.push(format!("the row of sku `{sku}` that run {} brought is not in the layer: {why}", version.run_id));
    }
}

/// Whether the clock of this host tells ages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Clock {
    Trusted,
    Doubted,
}

/// How much lineage is kept: `explain.keep`, `retention` if that is shorter, and `explain.max_size`.
pub(super) fn lineage_retention(settings: &Settings) -> LineageRetention {
    let keep = settings.retention.map_or(settings.explain.keep, |retention| retention.min(settings.explain.keep));
    LineageRetention { keep, max_bytes: settings.explain.max_bytes }
}

/// Removes lineage that is past its retention: `explain.keep`, `retention` if that is shorter, and `explain.max_size`.
/// While the clock is doubted, no lineage is too old.
pub(super) fn retain_lineage(settings: &Settings, output: &Output, now: UtcMicros, clock: Clock) {
    let retention = lineage_retention(settings);
    let retention = if clock == Clock::Trusted { retention } else { LineageRetention { keep: Duration::MAX, ..retention } };
    match layer::remove_past_retention(output, retention, now) {
        Ok(removed) if removed.too_old + removed.beyond_bytes > 0 => tracing::info!(
            too_old = removed.too_old,
            beyond_max_size = removed.beyond_bytes,
            "the lineage of earlier runs has been removed: `etl explain` does not know them any more"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "lineage past its retention could not be removed"),
    }
}
