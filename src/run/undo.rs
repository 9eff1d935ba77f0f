//! `etl undo`: puts the layer back to what it was before a run, as one more commit.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde::Serialize;

use super::{
    LaterRun, RequestError, RunError,
    change::{LayerChange, manifest_of, report_of_change},
    diff::{self, RowKey},
    lineage::{Change, tell_change, written_between},
    open::Opened,
    versions::{self, CommittedRun},
};
use crate::{
    cancel::Cancel,
    coverage::SourceInterval,
    join,
    layer::{LayerState, OpenedLayer, PartitionEntry, SideEntry, StoredSide},
    model::{DIM_PRODUCT, DIM_USER, DimensionSpec, Dt, Refund},
    report::{self, CommandName, Summary},
    settings::Settings,
    store::{
        Commit, Installed, Key, ObjectRef, Output, Staging, StoreError,
        places::{self, SideFact},
    },
};

/// What an undo did.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Undone {
    /// The run of the undo itself.
    pub run_id: String,
    /// The run that was undone.
    pub undone: String,
    /// Its commit.
    pub commit: u64,
    /// Partitions that got their content before back.
    pub partitions_written: Vec<Dt>,
    /// Partitions that did not exist before.
    pub partitions_removed: Vec<Dt>,
    /// Partitions whose totals of orders got their content before back.
    pub order_totals: Vec<Dt>,
    /// Days whose refunds got their content before back.
    pub refunds: Vec<Dt>,
    /// Dimensions that got their content before back.
    pub dimensions: Vec<String>,
    /// Dimensions that stay, because later runs rely on their members.
    pub dimensions_kept: Vec<String>,
    /// What was covered, and is no longer: the next `--since last` or `backfill --gaps` loads it.
    pub coverage_removed: Vec<SourceInterval>,
    /// What is covered again.
    pub coverage_restored: Vec<SourceInterval>,
}

/// Among how many of the latest runs those are looked for that can be undone.
const LATEST_RUNS: usize = 20;

/// Those of the latest runs that an undo would not refuse at first sight, the latest first: committed, kept, with something to undo, and
/// no later run has changed what they changed. Undone ones are none of them.
///
/// # Errors
/// I/O errors.
pub fn undoable_runs(settings: &Settings) -> Result<Vec<Summary>, RunError> {
    let output = Output::open(&settings.output)?;
    let now = OpenedLayer::open(&output)?.state;
    let runs = report::latest_runs(&output, LATEST_RUNS)?.into_iter().map(|(run, _)| run).filter(|run| run.commit.is_some());
    let runs: Vec<Summary> = runs.collect();
    let undone = report::undone_runs(&runs);
    let mut undoable = Vec::new();
    for run in runs.iter().filter(|run| !undone.contains_key(&run.run_id) && run.command != CommandName::Erase) {
        if is_undoable(&output, &run.run_id, &now)? {
            undoable.push(run.clone());
        }
    }
    Ok(undoable)
}

/// Whether an undo of a run would not be refused at first sight.
fn is_undoable(output: &Output, run_id: &str, now: &LayerState) -> Result<bool, RunError> {
    let Some(committed) = none_if_lost(versions::committed_run(output, run_id))? else { return Ok(false) };
    if !committed.has_changed_tables() {
        return Ok(false);
    }
    let Some(later) = none_if_lost(versions::commits_after(output, committed.commit.number).map_err(RunError::from))? else {
        return Ok(false);
    };
    let refused = refuse_erasure(&committed, &later)
        .and_then(|()| refuse_later(&committed, &later, now))
        .and_then(|()| refuse_other_columns(&committed, &later));
    Ok(refused.is_ok())
}

/// What an undo needs; `None` where it is no longer kept or damaged. A store that can't be read tells nothing of that.
fn none_if_lost<T>(found: Result<T, RunError>) -> Result<Option<T>, RunError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(RunError::Request(_) | RunError::Store(StoreError::Record { .. })) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Undoes a run. A dry run tells what that would do, and writes nothing.
///
/// # Errors
/// Later runs have changed what it changed, or what it replaced is no longer kept (exit 2); the output is held; I/O errors.
pub fn undo(settings: &Settings, run_id: &str, cancel: &Cancel) -> Result<Undone, RunError> {
    tell_change(settings, CommandName::Undo, cancel, |change| undo_run(settings, run_id, cancel, change))
}

fn undo_run(settings: &Settings, run_id: &str, cancel: &Cancel, told: &mut Change) -> Result<Undone, RunError> {
    let output = Output::open(&settings.output)?;
    let Opened { lease, layer, run_id: own } = told.open(&output, settings, cancel)?;
    let run = versions::committed_run(&output, run_id)?;
    let later = versions::commits_after(&output, run.commit.number)?;
    refuse_erasure(&run, &later)?;
    refuse_later(&run, &later, &layer.state)?;
    refuse_other_columns(&run, &later)?;
    refuse_doubles(&output, &run, &later, &layer.state)?;
    refuse_later_refunds(&output, &run, &later, &layer.state)?;
    let mut undo = Undo { output: &output, run: &run, is_newest: later.is_empty(), next: layer.state.clone(), put: Vec::new() };
    let mut staging = Staging::create(&output, own.as_str())?;
    let mut undone = Undone {
        run_id: own.to_string(),
        undone: run_id.to_owned(),
        commit: layer.number() + 1,
        partitions_written: Vec::new(),
        partitions_removed: Vec::new(),
        order_totals: Vec::new(),
        refunds: Vec::new(),
        dimensions: Vec::new(),
        dimensions_kept: Vec::new(),
        coverage_removed: Vec::new(),
        coverage_restored: Vec::new(),
    };
    undo.partitions(&mut staging, &mut undone)?;
    undo.sides(&mut staging, &mut undone)?;
    undo.dimensions(&mut staging, &mut undone)?;
    undo.forget();
    undone.coverage_removed = layer.state.coverage.beyond(&undo.next.coverage);
    undone.coverage_restored = undo.next.coverage.beyond(&layer.state.coverage);
    if settings.dry_run {
        // What was staged is removed with `staging`.
        return Ok(undone);
    }
    let Undo { mut next, put, .. } = undo;
    let summary =
        report_of_change(CommandName::Undo, &own, told.started_at, &undone.partitions_written, &undone.partitions_removed, undone.commit);
    let summary = Summary {
        undoes: Some(run_id.to_owned()),
        order_totals_changed: undone.order_totals.clone(),
        refunds_changed: undone.refunds.clone(),
        ..summary
    };
    manifest_of(&output, settings, &mut staging, &own, &undone.partitions_written, &next)?;
    staging.put(places::report(own.as_str()), &report::report_bytes(&summary))?;
    let change = LayerChange { output: &output, base: &layer, before: &layer.state, lease: &lease, cancel };
    change.commit(&mut staging, &own, "undo", &mut next, put).map_err(|error| super::stopped_or(cancel, error))?;
    told.commit = Some(undone.commit);
    told.written = Some(written_between(&layer.state, &next));
    Ok(undone)
}

/// Fails if a user was erased since: what the run replaced may name that user (contract, Personal data).
fn refuse_erasure(run: &CommittedRun, later: &[Commit]) -> Result<(), RequestError> {
    let Some(erasure) = later.iter().find(|commit| commit.command == CommandName::Erase.as_str()) else { return Ok(()) };
    Err(RequestError::BeforeErasure { run_id: run.commit.run_id.clone(), erasure: erasure.run_id.clone() })
}

/// Fails if a later run has changed a partition that this one changed.
fn refuse_later(run: &CommittedRun, later: &[Commit], now: &LayerState) -> Result<(), RequestError> {
    // Facts and totals of a day go back together: both must be as the run left them.
    let totals = run.sides().filter(|(fact, _)| *fact == SideFact::OrderTotals).map(|(_, dt)| dt);
    let days: BTreeSet<Dt> = run.partitions().chain(totals).collect();
    let of_days = days.iter().flat_map(|dt| {
        let facts = [&run.after, now].into_iter().filter_map(move |state| state.partitions.get(dt)).map(move |entry| entry.key(*dt));
        facts.chain([SideFact::OrderTotals.file(*dt)])
    });
    let touched: BTreeSet<Key> = versions::keys(&run.commit).cloned().chain(of_days).collect();
    let is_fact = |key: &Key| day_of(key).is_some();
    // By content: an undo of a later run puts the same content back as another object.
    let content = |state: &LayerState, key: &Key| state.version_at(key).map(|version| (version.bytes, version.checksum.clone()));
    let stands: BTreeSet<Key> = touched.into_iter().filter(|key| is_fact(key) && content(now, key) != content(&run.after, key)).collect();
    if stands.is_empty() {
        return Ok(());
    }
    let mut by_run: BTreeMap<LaterRun, BTreeSet<Dt>> = BTreeMap::new();
    for commit in later {
        for dt in versions::keys(commit).filter(|key| stands.contains(*key)).filter_map(day_of) {
            by_run.entry(later_run(commit)).or_default().insert(dt);
        }
    }
    // Also where no later run says so: somebody may have edited the files.
    Err(refused(run, by_run))
}

/// A later commit, as a refusal names it.
fn later_run(commit: &Commit) -> LaterRun {
    LaterRun { run_id: commit.run_id.clone(), command: commit.command.clone() }
}

fn refused(run: &CommittedRun, later: BTreeMap<LaterRun, BTreeSet<Dt>>) -> RequestError {
    RequestError::UndoRefused { run_id: run.commit.run_id.clone(), later }
}

/// Fails if there are later runs that an undo of `run` would contradict, each on these days.
fn refuse_any(run: &CommittedRun, later: BTreeMap<LaterRun, BTreeSet<Dt>>) -> Result<(), RequestError> {
    if later.is_empty() { Ok(()) } else { Err(refused(run, later)) }
}

/// Fails if later runs have put partitions with the columns that this run has changed: they would stand beside others.
fn refuse_other_columns(run: &CommittedRun, later: &[Commit]) -> Result<(), RequestError> {
    if run.before.layer_columns() == run.after.layer_columns() {
        return Ok(());
    }
    let days = |commit: &Commit| commit.put.iter().filter_map(|put| places::partition_of_key(&put.key)).collect::<BTreeSet<_>>();
    let by_run: BTreeMap<_, _> =
        later.iter().map(|commit| (later_run(commit), days(commit))).filter(|(_, days)| !days.is_empty()).collect();
    refuse_any(run, by_run)
}

/// The day of a file of facts, or of a side fact.
fn day_of(key: &Key) -> Option<Dt> {
    places::partition_of_key(key).or_else(|| SideFact::of_key(key).map(|(_, dt)| dt))
}

/// Fails if a row that would come back lies in a partition that a later run has put: a key has one row in the whole layer.
fn refuse_doubles(output: &Output, run: &CommittedRun, later: &[Commit], now: &LayerState) -> Result<(), RunError> {
    let mine: BTreeSet<Dt> = run.partitions().collect();
    let others = |commit: &Commit| -> BTreeSet<Dt> {
        commit.put.iter().filter_map(|put| places::partition_of_key(&put.key)).filter(|dt| !mine.contains(dt)).collect()
    };
    if later.iter().all(|commit| others(commit).is_empty()) {
        return Ok(());
    }
    let read = |version: &ObjectRef| versions::kept_version(output, &run.commit.run_id, version);
    let keys = |state: &LayerState, days: &BTreeSet<Dt>| -> Result<BTreeSet<RowKey>, RunError> {
        let mut keys = BTreeSet::new();
        for &dt in days {
            keys.extend(diff::rows_of(state, dt, &read)?.into_keys());
        }
        Ok(keys)
    };
    let stay = keys(now, &mine)?;
    let mut come_back = keys(&run.before, &mine)?;
    come_back.retain(|key| !stay.contains(key));
    let mut by_run: BTreeMap<LaterRun, BTreeSet<Dt>> = BTreeMap::new();
    for commit in later {
        for dt in others(commit) {
            if !keys(now, &[dt].into())?.is_disjoint(&come_back) {
                by_run.entry(later_run(commit)).or_default().insert(dt);
            }
        }
    }
    Ok(refuse_any(run, by_run)?)
}

/// Fails if a later run has changed refunds of an order whose rows this one has changed: they lie on other days than the order.
fn refuse_later_refunds(output: &Output, run: &CommittedRun, later: &[Commit], now: &LayerState) -> Result<(), RunError> {
    let refund_days =
        |commit: &Commit| -> BTreeSet<Dt> { versions::keys(commit).filter_map(|key| SideFact::Refunds.day_of_key(key)).collect() };
    let days: BTreeSet<Dt> = later.iter().flat_map(refund_days).collect();
    if days.is_empty() {
        return Ok(());
    }
    let read = |version: &ObjectRef| versions::kept_version(output, &run.commit.run_id, version);
    let mut mine: BTreeSet<String> = BTreeSet::new();
    for dt in run.partitions().collect::<BTreeSet<_>>() {
        let (before, after) = (diff::rows_of(&run.before, dt, &read)?, diff::rows_of(&run.after, dt, &read)?);
        let changed = before.keys().chain(after.keys()).filter(|key| before.get(*key) != after.get(*key));
        mine.extend(changed.map(|(order_id, _)| order_id.clone()));
    }
    let mut by_run: BTreeMap<LaterRun, BTreeSet<Dt>> = BTreeMap::new();
    for dt in days {
        let (then, now) = (refunds_by_order(&run.after, dt, &read)?, refunds_by_order(now, dt, &read)?);
        let mut changed = then.keys().chain(now.keys()).filter(|order_id| then.get(*order_id) != now.get(*order_id));
        if changed.any(|order_id| mine.contains(order_id)) {
            for commit in later.iter().filter(|commit| refund_days(commit).contains(&dt)) {
                by_run.entry(later_run(commit)).or_default().insert(dt);
            }
        }
    }
    Ok(refuse_any(run, by_run)?)
}

/// The refunds of a day, by their orders.
fn refunds_by_order(
    state: &LayerState,
    dt: Dt,
    read: &dyn Fn(&ObjectRef) -> Result<Vec<u8>, RunError>,
) -> Result<BTreeMap<String, Vec<Refund>>, RunError> {
    let mut by_order: BTreeMap<String, Vec<Refund>> = BTreeMap::new();
    let Some(entry) = state.refunds.get(&dt) else { return Ok(by_order) };
    let key = SideFact::Refunds.file(dt);
    for refund in StoredSide::<Refund>::parse(read(&entry.version)?, dt, Path::new(key.as_str()))?.rows {
        by_order.entry(refund.order_id.clone()).or_default().push(refund);
    }
    Ok(by_order)
}

struct Undo<'a> {
    output: &'a Output,
    run: &'a CommittedRun,
    /// Whether no run was committed since.
    is_newest: bool,
    next: LayerState,
    /// Objects that are installed again.
    put: Vec<Installed>,
}

impl Undo<'_> {
    fn partitions(&mut self, staging: &mut Staging, undone: &mut Undone) -> Result<(), RunError> {
        for dt in self.run.partitions().collect::<BTreeSet<_>>() {
            let before = self.run.before.partitions.get(&dt);
            // A rewrite may have put a file of another format there.
            let now = self.next.partitions.get(&dt).map(|entry| entry.key(dt));
            if let Some(now) = now.filter(|now| before.is_none_or(|before| before.key(dt) != *now)) {
                staging.remove(now);
            }
            match before {
                Some(entry) => {
                    let version = self.put_back(staging, entry.key(dt), &entry.version)?;
                    self.next.set_facts(dt, PartitionEntry { version, ..entry.clone() });
                    undone.partitions_written.push(dt);
                }
                None => {
                    self.next.partitions.remove(&dt);
                    undone.partitions_removed.push(dt);
                }
            }
        }
        Ok(())
    }

    /// After the facts: totals lie in partitions that have rows.
    fn sides(&mut self, staging: &mut Staging, undone: &mut Undone) -> Result<(), RunError> {
        for (fact, dt) in self.run.sides().collect::<BTreeSet<_>>() {
            let key = fact.file(dt);
            let entry = match self.run.before.side(fact, dt) {
                Some(entry) => {
                    let version = self.put_back(staging, key, &entry.version)?;
                    Some(SideEntry { version, ..entry.clone() })
                }
                None => {
                    staging.remove(key);
                    None
                }
            };
            self.next.set_side(fact, dt, entry);
            match fact {
                SideFact::OrderTotals => undone.order_totals.push(dt),
                SideFact::Refunds => undone.refunds.push(dt),
            }
        }
        Ok(())
    }

    /// Puts a kept version back. In a folder as a new file: its time is that of this commit, for tools that compare times.
    fn put_back(&mut self, staging: &mut Staging, key: Key, version: &ObjectRef) -> Result<ObjectRef, RunError> {
        // An object that was changed by hand, or is gone, can't be put back.
        let bytes = versions::kept_version(self.output, &self.run.commit.run_id, version)?;
        if self.output.folder().is_some() {
            return Ok(staging.put(key, &bytes)?);
        }
        self.put.push(Installed { key, version: version.clone() });
        Ok(version.clone())
    }

    /// Members that the run has brought stay where later runs may rely on them: an inner join must lose no revenue.
    fn dimensions(&mut self, staging: &mut Staging, undone: &mut Undone) -> Result<(), RunError> {
        for spec in [DIM_USER, DIM_PRODUCT] {
            let (before, after) = (self.run.before.dimensions.get(spec.name), self.run.after.dimensions.get(spec.name));
            if before == after {
                continue;
            }
            let key = places::dimension(&spec);
            if !self.is_newest {
                match self.with_missing_members(&spec, before)? {
                    Some(bytes) => {
                        self.next.dimensions.insert(spec.name.to_owned(), staging.put(&key, &bytes)?);
                        undone.dimensions.push(spec.name.to_owned());
                    }
                    None => undone.dimensions_kept.push(spec.name.to_owned()),
                }
                continue;
            }
            match before {
                Some(version) => {
                    let version = self.put_back(staging, key, version)?;
                    self.next.dimensions.insert(spec.name.to_owned(), version);
                }
                None => {
                    staging.remove(key);
                    self.next.dimensions.remove(spec.name);
                }
            }
            undone.dimensions.push(spec.name.to_owned());
        }
        Ok(())
    }

    /// The dimension as it is now, with the members that it had before the run and has no longer: rows that come back may name them.
    /// `None` where it has all of them.
    fn with_missing_members(&self, spec: &DimensionSpec, before: Option<&ObjectRef>) -> Result<Option<Vec<u8>>, RunError> {
        let (Some(before), Some(now)) = (before, self.next.dimensions.get(spec.name)) else { return Ok(None) };
        let earlier = versions::kept_version(self.output, &self.run.commit.run_id, before)?;
        let now = versions::kept_version(self.output, &self.run.commit.run_id, now)?;
        Ok(join::with_missing_members(spec, &now, &earlier)?)
    }

    /// What the run has loaded is no longer covered, and no price of it is the last one any more. Where later runs have added theirs,
    /// the next run reads the last prices from the whole layer.
    fn forget(&mut self) {
        let (before, after) = (&self.run.before, &self.run.after);
        // A rewrite has given the partitions other columns. Nothing else stands in them, or the undo was refused.
        if !before.partitions.is_empty() && before.layer_columns() != after.layer_columns() {
            self.next.set_columns(before.layer_columns());
        }
        if self.is_newest {
            self.next.coverage = self.run.before.coverage.clone();
            self.next.prices = self.run.before.prices.clone();
            self.next.inlined.extend(self.run.before.inlined.clone());
            self.next.shapes = self.run.before.shapes.clone();
        } else {
            let Undo { next, run, .. } = self;
            next.coverage.forget(&run.commit.run_id, &run.before.coverage, &run.after.coverage);
            if run.before.prices != run.after.prices {
                next.prices = None;
            }
        }
    }
}
