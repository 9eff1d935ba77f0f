//! The `OpenLineage` events of whatever changes the layer: what they tell, and when. How they look and how they travel is in
//! `lineage`; what a run has written, a run counts itself.

use std::{
    collections::BTreeMap,
    panic::{self, AssertUnwindSafe},
};

use super::{RequestError, RunError, by_settings, outside::refuse_lineage_inside_layer};
use crate::{
    cancel::Cancel,
    layer::LayerState,
    lineage::{Datasets, EndedRun, LineageRun, LineageSender, WrittenLayer},
    model::{DIM_PRODUCT, DIM_USER, RunId, UtcMicros},
    net::redact,
    report::{CommandName, Status, Summary},
    settings::Settings,
    store::ObjectRef,
};

/// Whose events they are.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) settings: &'a Settings,
    pub(super) command: CommandName,
    pub(super) datasets: Datasets,
}

/// The events of one run. Without settings, and for a dry run, there are none.
pub(super) struct RunLineage<'a> {
    active: Option<Active<'a>>,
}

struct Active<'a> {
    run: LineageRun<'a>,
    sender: LineageSender<'a>,
}

/// How a run has ended.
#[derive(Clone, Copy)]
pub(super) struct RunEnd<'a> {
    pub(super) summary: &'a Summary,
    pub(super) error: Option<&'a RunError>,
    /// What it has put in place.
    pub(super) written: Option<&'a WrittenLayer>,
}

impl<'a> RunLineage<'a> {
    /// Tells that a run begins.
    pub(super) fn start(job: Job<'a>, summary: &Summary) -> RunLineage<'a> {
        let Job { settings, command, datasets } = job;
        let Some(lineage) = settings.lineage.as_ref().filter(|_| !settings.dry_run) else { return RunLineage { active: None } };
        let reads_records = matches!(datasets, Datasets::Sources | Datasets::Kept(_));
        let orders = settings.orders.as_ref().filter(|_| reads_records);
        let mapping = orders.map(|orders| by_settings::mapping(settings, &orders.profile));
        let run = LineageRun { settings, lineage, run_id: summary.run_id.clone(), command, datasets, mapping };
        // A file in the layer gets no event, not even the one that tells of its refusal.
        let file = lineage.file.as_deref().filter(|_| refuse_lineage_inside_layer(settings).is_ok());
        let mut sender = LineageSender::start(lineage, file, &settings.http.network);
        sender.send(&run.started(summary));
        RunLineage { active: Some(Active { run, sender }) }
    }

    /// Tells how it has ended.
    pub(super) fn finish(self, end: RunEnd<'_>, cancel: &Cancel) {
        let Some(Active { run, mut sender }) = self.active else { return };
        let error = end.error.map(|error| told(error, end.summary));
        sender.send(&run.ended(EndedRun { summary: end.summary, written: end.written, error: error.as_deref() }));
        sender.finish(&end.summary.run_id, cancel);
    }
}

/// What events say of an error. The text of an error that may show what a source or a file holds is not among it.
fn told(error: &RunError, summary: &Summary) -> String {
    match error {
        // It names users.
        RunError::Request(RequestError::UnknownUsers(_)) => see_log(error, summary),
        RunError::Request(_)
        | RunError::Settings(_)
        | RunError::Store(_)
        | RunError::Lock(_)
        | RunError::ChecksFailed { .. }
        | RunError::LayerMoves { .. }
        | RunError::Unchanged { .. }
        | RunError::InterruptedErasure { .. }
        | RunError::Interrupted(_) => redact::text(&error.to_string()).into_owned(),
        RunError::Source(_)
        | RunError::Layer(_)
        | RunError::Dimension(_)
        | RunError::Check(_)
        | RunError::SchemaChanged { .. }
        | RunError::TooManyDeletions { .. }
        | RunError::Warehouse(_)
        | RunError::Internal(_) => see_log(error, summary),
    }
}

fn see_log(error: &RunError, summary: &Summary) -> String {
    let (status, code) = (summary.status.as_str(), error.exit_code());
    format!("{status} (exit {code}): the log of run {} says why, and its report does if it has one", summary.run_id)
}

/// Tells that a command could not begin, by a beginning and a failure: no run says so.
pub fn tell_refused(settings: &Settings, command: CommandName, error: &RunError, cancel: &Cancel) {
    refused(Job { settings, command, datasets: Datasets::Unknown }, error, cancel);
}

/// Tells that a run could not begin, of which the datasets are known. Errors of settings are told where settings are read.
pub(super) fn tell_unbegun<T>(job: Job<'_>, cancel: &Cancel, begun: Result<T, RunError>) -> Result<T, RunError> {
    if let Err(error) = &begun
        && !matches!(error, RunError::Settings(_))
    {
        refused(job, error, cancel);
    }
    begun
}

fn refused(job: Job<'_>, error: &RunError, cancel: &Cancel) {
    let mut summary = begun_now(job.command);
    let lineage = RunLineage::start(job, &summary);
    summary.status = error.status();
    lineage.finish(RunEnd { summary: &summary, error: Some(error), written: None }, cancel);
}

fn begun_now(command: CommandName) -> Summary {
    let now = UtcMicros::now();
    Summary { command, ..Summary::new(RunId::new(now).to_string(), None, None, now) }
}

/// A change of the layer by a command other than a run, as far as its events tell of it.
pub(super) struct Change {
    pub(super) started_at: UtcMicros,
    /// Its name: a new one where the layer has a run of a later name.
    pub(super) run_id: RunId,
    /// Its last commit.
    pub(super) commit: Option<u64>,
    /// What it has put in place.
    pub(super) written: Option<WrittenLayer>,
}

impl Change {
    /// A change that begins now.
    pub(super) fn begin() -> Change {
        let started_at = UtcMicros::now();
        Change { started_at, run_id: RunId::new(started_at), commit: None, written: None }
    }
}

/// Does the work of a command that changes the layer, and tells its beginning and its end.
///
/// # Errors
/// Those of the work; a panic of it is an internal error.
pub(super) fn tell_change<T>(
    settings: &Settings,
    command: CommandName,
    cancel: &Cancel,
    work: impl FnOnce(&mut Change) -> Result<T, RunError>,
) -> Result<T, RunError> {
    let mut change = Change::begin();
    let mut summary = Summary { command, ..Summary::new(change.run_id.to_string(), None, None, change.started_at) };
    let lineage = RunLineage::start(Job { settings, command, datasets: Datasets::Tables }, &summary);
    let work = || {
        refuse_lineage_inside_layer(settings)?;
        work(&mut change)
    };
    let result = panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(RunError::of_panic(&*panic)));
    summary.status = match &result {
        Err(error) => error.status(),
        Ok(_) if change.commit.is_some() => Status::Published,
        Ok(_) => Status::Unchanged,
    };
    summary.run_id = change.run_id.to_string();
    summary.finished_at = UtcMicros::now();
    summary.commit = change.commit;
    lineage.finish(RunEnd { summary: &summary, error: result.as_ref().err(), written: change.written.as_ref() }, cancel);
    result
}

/// What has been put in place between two states of the layer: the files of each table that the later one has anew.
pub(super) fn written_between(before: &LayerState, after: &LayerState) -> WrittenLayer {
    let mut written = WrittenLayer { quantity: after.quantity, tables: BTreeMap::new() };
    let is_new = |old: Option<&ObjectRef>, new: &ObjectRef| old != Some(new);
    for (dt, entry) in &after.partitions {
        if is_new(before.partitions.get(dt).map(|old| &old.version), &entry.version) {
            written.add("fact_order", Some(entry.rows), entry.version.bytes);
        }
    }
    for (fact, dt, entry) in after.sides() {
        if is_new(before.side(fact, dt).map(|old| &old.version), &entry.version) {
            written.add(fact.table(), Some(entry.rows), entry.version.bytes);
        }
    }
    add_dimensions(&mut written, before, after);
    written
}

/// Adds the dimensions that the later of two states of the layer has anew.
pub(super) fn add_dimensions(written: &mut WrittenLayer, before: &LayerState, after: &LayerState) {
    for spec in [DIM_USER, DIM_PRODUCT] {
        let (old, new) = (before.dimensions.get(spec.name), after.dimensions.get(spec.name));
        if let Some(version) = new.filter(|_| old != new) {
            written.add(spec.name, None, version.bytes);
        }
    }
}
