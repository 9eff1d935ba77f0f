//! The versions of an order that runs brought, and why each line won or lost. The merge kept what it did; here each outcome
//! gets the rule of the contract that gives it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    layer::{self, IncomingVersion, LineOutcome, LineageRun, RecordSource, RecordUnit},
    model::{Dt, OrderHash, UtcMicros},
    report::{self, CommandName, Summary},
    settings::MergeBy,
    store::{Output, places},
};

/// A version of the order, as one record of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Version {
    /// The run.
    pub run_id: String,
    /// When the run started, if its report is kept.
    pub started_at: Option<UtcMicros>,
    /// The run that undid the run.
    pub undone_by: Option<String>,
    /// What the run was started as: `run`, `backfill`, `replay` or `demo`.
    pub command: Option<CommandName>,
    /// The record in the source.
    pub source: Option<RecordSource>,
    /// The same as a text, such as `orders.ndjson, line 3`.
    pub place: Option<String>,
    /// `updated_at` of the version.
    pub updated_at: Option<UtcMicros>,
    /// The partition that the version belongs to.
    pub dt: Dt,
    /// The partitions that its rows moved from, as far as lineage knows.
    pub moved_from: Vec<Dt>,
    /// What became of its lines: the outcome that all of them share, else `mixed`.
    pub outcome: &'static str,
    /// Why, if all of its lines share that, too.
    pub why: Option<String>,
    /// Its lines.
    pub lines: Vec<VersionLine>,
}

/// A line of a version.
#[derive(Clone, Debug, Serialize)]
pub struct VersionLine {
    /// Its sku; the first 255 bytes of a longer one.
    pub sku: String,
    /// What became of it.
    pub outcome: LineOutcome,
    /// Why, by the rules of "Which version of a row wins".
    pub why: String,
    /// The run of the version that it lost to, if that is known.
    pub lost_to: Option<String>,
}

impl Version {
    /// Whether no record brought it: the run deleted the order.
    pub fn is_deletion(&self) -> bool {
        self.lines.iter().all(|line| line.outcome.is_deletion())
    }
}

/// The version whose row of a sku lies in the layer.
#[derive(Clone)]
struct Holder {
    run_id: String,
    dt: Dt,
    updated_at: Option<UtcMicros>,
}

/// The versions of an order, in the order of the commits of their runs. A damaged lineage file becomes a note.
pub(super) fn versions(
    output: &Output,
    kept: &[LineageRun],
    order: OrderHash,
    reports: &BTreeMap<String, Summary>,
    merge: MergeBy,
    notes: &mut Vec<String>,
) -> Vec<Version> {
    let undone = report::undone_runs(reports.values());
    let mut holders: BTreeMap<String, Holder> = BTreeMap::new();
    let mut all = Vec::new();
    for run in kept {
        let mut incoming = match layer::versions_of(output, run, order) {
            Ok(incoming) => incoming,
            Err(error) => {
                notes.push(format!("what run {} brought can't be told: its lineage can't be read: {error}", run.run_id));
                continue;
            }
        };
        incoming.sort_by_key(|version| version.record);
        let report = reports.get(&run.run_id);
        let undone_by = undone.get(&run.run_id).cloned();
        let of_run = RunVersions { run_id: &run.run_id, incoming: &incoming, holders: &holders, merge, undone_by };
        all.extend((0..incoming.len()).map(|place| of_run.version(place, report)));
        if of_run.undone_by.is_some() {
            continue;
        }
        for version in &incoming {
            for line in version.lines.iter().filter(|line| line.outcome.is_in_layer()) {
                let holder = Holder { run_id: run.run_id.clone(), dt: version.dt, updated_at: version.updated_at };
                holders.insert(line.sku.clone(), holder);
            }
            for line in version.lines.iter().filter(|line| line.outcome == LineOutcome::Deleted) {
                holders.remove(&line.sku);
            }
        }
    }
    all
}

/// Keeps the lines of one sku, and the versions that have one.
pub(super) fn keep_sku(versions: &mut Vec<Version>, sku: &str) {
    for version in versions.iter_mut() {
        version.lines.retain(|line| line.sku == layer::kept_sku(sku));
        (version.outcome, version.why) = summarized(&version.lines);
    }
    versions.retain(|version| !version.lines.is_empty());
}

/// The outcome and its cause that all lines share.
fn summarized(lines: &[VersionLine]) -> (&'static str, Option<String>) {
    let Some(first) = lines.first() else { return ("unknown", None) };
    let outcome = if lines.iter().all(|line| line.outcome == first.outcome) { first.outcome.as_str() } else { "mixed" };
    (outcome, lines.iter().all(|line| line.why == first.why).then(|| first.why.clone()))
}

/// The versions of one run, beside those that the layer held before.
struct RunVersions<'a> {
    run_id: &'a str,
    incoming: &'a [IncomingVersion],
    holders: &'a BTreeMap<String, Holder>,
    merge: MergeBy,
    undone_by: Option<String>,
}

impl RunVersions<'_> {
    fn version(&self, place: usize, report: Option<&Summary>) -> Version {
        let incoming = &self.incoming[place];
        let lines: Vec<_> = (0..incoming.lines.len()).map(|line| self.line(place, line)).collect();
        let moved = incoming.lines.iter().filter(|line| line.outcome == LineOutcome::Moved);
        let mut moved_from: Vec<Dt> =
            moved.filter_map(|line| Some(self.holders.get(&line.sku)?.dt)).filter(|dt| *dt != incoming.dt).collect();
        moved_from.sort_unstable();
        moved_from.dedup();
        let (outcome, why) = summarized(&lines);
        let source = incoming.source.clone().map(|source| in_quarantine(source, report));
        Version {
            run_id: self.run_id.to_owned(),
            started_at: report.map(|report| report.started_at),
            undone_by: self.undone_by.clone(),
            command: report.map(|report| report.command),
            place: source.as_ref().map(place_of),
            source,
            updated_at: incoming.updated_at,
            dt: incoming.dt,
            moved_from,
            outcome,
            why,
            lines,
        }
    }

    fn line(&self, place: usize, number: usize) -> VersionLine {
        let version = &self.incoming[place];
        let line = &version.lines[number];
        let holder = self.holders.get(&line.sku);
        let (why, lost_to) = match line.outcome {
            LineOutcome::Unknown => ("the run did not keep what became of it".to_owned(), None),
            LineOutcome::Inserted => ("the layer had no row of this order and sku".to_owned(), None),
            LineOutcome::Unchanged => ("the layer already had this row, value by value".to_owned(), None),
            LineOutcome::Updated => (wins(version.updated_at, holder), None),
            LineOutcome::Moved => (moves(version, holder), None),
            LineOutcome::Superseded => self.superseded(version, &line.sku),
            LineOutcome::Duplicate => (self.duplicate(place, number), Some(self.run_id.to_owned())),
            LineOutcome::Deleted => {
                ("the source no longer had the order, and the run removed its rows (--delete-missing)".to_owned(), None)
            }
            LineOutcome::Marked => {
                ("the source no longer had the order, and its rows got the status `deleted` (--delete-missing mark)".to_owned(), None)
            }
        };
        VersionLine { sku: line.sku.clone(), outcome: line.outcome, why, lost_to }
    }

    fn superseded(&self, version: &IncomingVersion, sku: &str) -> (String, Option<String>) {
        // With `merge = "order"`, the stored version of the order wins as a whole, also over lines that it does not have.
        let of_order = self.holders.values().filter(|_| self.merge == MergeBy::Order).max_by_key(|holder| holder.updated_at);
        let mut holders = self.holders.get(sku).into_iter().chain(of_order);
        let Some(winner) = holders.find(|holder| holder.updated_at > version.updated_at) else {
            return ("the stored row is newer, and no kept run tells who brought it: the greatest updated_at wins".to_owned(), None);
        };
        let newer = shown(winner.updated_at);
        let why = match version.updated_at {
            None => {
                format!("it has no updated_at, and the stored row has ({newer}, run {}): a row without one is the oldest", winner.run_id)
            }
            Some(own) => {
                format!(
                    "its updated_at {own} is older than {newer} of the stored row (run {}): the greatest updated_at wins",
                    winner.run_id
                )
            }
        };
        (why, Some(winner.run_id.clone()))
    }

    fn duplicate(&self, place: usize, number: usize) -> String {
        let version = &self.incoming[place];
        let sku = &version.lines[number].sku;
        let is_not_duplicate = |line: &&layer::IncomingLine| line.outcome != LineOutcome::Duplicate;
        if version.lines.iter().skip(number + 1).filter(is_not_duplicate).any(|line| line.sku == *sku) {
            return "a later line of the same record has the same sku: the later line wins".to_owned();
        }
        let others = || self.incoming.iter().enumerate().filter(|(other, _)| *other != place).map(|(_, version)| version);
        let has_sku = |other: &&IncomingVersion| other.lines.iter().filter(is_not_duplicate).any(|line| line.sku == *sku);
        let has_any = |other: &&IncomingVersion| other.lines.iter().any(|line| line.outcome != LineOutcome::Duplicate);
        let Some(winner) = others().find(has_sku).or_else(|| others().find(has_any)) else {
            return "another record of the run won".to_owned();
        };
        let at = match (&winner.source, &version.source) {
            (None, _) => "another record".to_owned(),
            (Some(source), Some(own)) if own.location == source.location => number_of(source),
            (Some(source), _) => place_of(source),
        };
        match (version.updated_at, winner.updated_at) {
            (own, best) if own == best => {
                format!("{at} of the same run has the same updated_at ({}) and came later: the later record wins", shown(own))
            }
            (None, best) => format!("{at} of the same run has updated_at {}: a row without one is the oldest", shown(best)),
            (Some(own), best) => format!("{at} of the same run has updated_at {}, not {own}: the greatest updated_at wins", shown(best)),
        }
    }
}

/// The run that brought an order first: that of its first version, if the layer had no row of it then.
pub(super) fn first_run(versions: &[Version]) -> Option<&str> {
    let first = versions.first()?;
    let is_new = first.lines.iter().all(|line| matches!(line.outcome, LineOutcome::Inserted | LineOutcome::Duplicate));
    is_new.then_some(first.run_id.as_str())
}

/// The place of a record, as part of a sentence.
fn place_of(source: &RecordSource) -> String {
    format!("{}, {}", source.location, number_of(source))
}

/// The place of a record within its file or list.
fn number_of(source: &RecordSource) -> String {
    let page = source.page.map(|page| format!("page {page}, ")).unwrap_or_default();
    format!("{page}{} {}", source.unit.as_str(), source.number)
}

fn shown(updated_at: Option<UtcMicros>) -> String {
    updated_at.map_or("none".to_owned(), |updated_at| updated_at.to_string())
}

/// Why a version replaced the stored row.
fn wins(own: Option<UtcMicros>, holder: Option<&Holder>) -> String {
    let Some(Holder { run_id, updated_at, .. }) = holder else {
        return "it is not older than the stored row, and no kept run tells who brought that".to_owned();
    };
    match (own, *updated_at) {
        (own, stored) if own == stored => {
            let own = own.map_or("neither has updated_at".to_owned(), |own| format!("both have updated_at {own}"));
            format!("{own} (it and the stored row of run {run_id}): what is loaded wins over what is stored")
        }
        (own, None) => {
            format!("the stored row (run {run_id}) has no updated_at, and this has ({}): a row without one is the oldest", shown(own))
        }
        (own, stored) => {
            let (own, stored) = (shown(own), shown(stored));
            format!("its updated_at {own} is newer than {stored} of the stored row (run {run_id}): the greatest updated_at wins")
        }
    }
}

fn moves(version: &IncomingVersion, holder: Option<&Holder>) -> String {
    let from = holder.filter(|holder| holder.dt != version.dt).map_or("another partition".to_owned(), |holder| format!("dt={}", holder.dt));
    format!("its created_at belongs to dt={}, and the row left {from}: {}", version.dt, wins(version.updated_at, holder))
}

/// A replay reads a copy of a quarantine: the quarantine is what its reader knows.
fn in_quarantine(source: RecordSource, report: Option<&Summary>) -> RecordSource {
    match report.and_then(|report| report.replay_of.as_deref()) {
        Some(run_id) => RecordSource { location: places::quarantine(run_id).to_string(), unit: RecordUnit::Record, ..source },
        None => source,
    }
}
