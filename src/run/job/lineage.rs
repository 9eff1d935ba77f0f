//! The `OpenLineage` events of a run: what of it they tell, and when. How they look and how they travel is in `lineage`.

use std::collections::BTreeMap;

use super::request::{OrdersFrom, Outcome, Request};
use crate::{
    lineage::{EndedRun, LineageRun, LineageSender, OrdersDataset, WrittenLayer, WrittenTable},
    model::{DIM_PRODUCT, DIM_USER},
    net::redact,
    report::Summary,
    run::{
        RunError, by_settings,
        staged_run::{PartitionChange, StagedRun},
    },
    store::places,
};

/// The events of one run. Without settings, and for a dry run, there are none.
pub(super) struct RunLineage<'a> {
    active: Option<Active<'a>>,
}

struct Active<'a> {
    run: LineageRun<'a>,
    sender: LineageSender<'a>,
}

impl<'a> RunLineage<'a> {
    /// Tells that a run begins.
    pub(super) fn start(request: &Request<'a>, summary: &Summary) -> RunLineage<'a> {
        let settings = request.settings;
        let Some(lineage) = settings.lineage.as_ref().filter(|_| !settings.dry_run) else { return RunLineage { active: None } };
        let run = LineageRun {
            settings,
            lineage,
            run_id: summary.run_id.clone(),
            command: request.command,
            orders: match request.orders {
                OrdersFrom::Source => OrdersDataset::Source,
                OrdersFrom::Quarantine(_) => OrdersDataset::Kept(places::QUARANTINE),
                OrdersFrom::Raw(_) => OrdersDataset::Kept(places::RAW),
            },
            mapping: settings.orders.as_ref().map(|orders| by_settings::mapping(settings, &orders.profile)),
        };
        let mut sender = LineageSender::start(lineage, &settings.http.network);
        sender.send(&run.started(summary));
        RunLineage { active: Some(Active { run, sender }) }
    }

    /// Tells how it has ended.
    pub(super) fn finish(self, request: &Request<'_>, outcome: &Outcome, written: Option<&WrittenLayer>) {
        let Some(Active { run, mut sender }) = self.active else { return };
        let error = outcome.error.as_ref().map(|error| told(error, &outcome.summary));
        sender.send(&run.ended(EndedRun { summary: &outcome.summary, written, error: error.as_deref() }));
        sender.finish(&outcome.summary.run_id, request.cancel);
    }
}

/// What events say of an error. The text of an error that may show what a source or a file holds is not among it.
fn told(error: &RunError, summary: &Summary) -> String {
    match error {
        RunError::Request(_)
        | RunError::Settings(_)
        | RunError::Store(_)
        | RunError::Lock(_)
        | RunError::ChecksFailed { .. }
        | RunError::Interrupted(_) => redact::text(&error.to_string()).into_owned(),
        RunError::Source(_)
        | RunError::Layer(_)
        | RunError::Dimension(_)
        | RunError::Check(_)
        | RunError::SchemaChanged { .. }
        | RunError::TooManyDeletions { .. }
        | RunError::Warehouse(_)
        | RunError::Internal(_) => {
            let (status, code) = (summary.status.as_str(), error.exit_code());
            format!("{status} (exit {code}): the log of run {} says why, and its report does if it has one", summary.run_id)
        }
    }
}

/// What a run has put in place: the files of each table that it has written.
pub(super) fn written(staged: &StagedRun) -> WrittenLayer {
    let mut tables: BTreeMap<&'static str, WrittenTable> = BTreeMap::new();
    let is_written = |change: &PartitionChange| matches!(change, PartitionChange::Written);
    let mut add = |table: &'static str, rows: Option<u64>, bytes: u64| {
        let known = tables.entry(table).or_insert_with(|| WrittenTable { rows: Some(0), ..WrittenTable::default() });
        known.rows = known.rows.zip(rows).map(|(known, more)| known + more);
        known.bytes += bytes;
        known.files += 1;
    };
    for (dt, _) in staged.changes.iter().filter(|(_, change)| is_written(change)) {
        if let Some(entry) = staged.next.partitions.get(dt) {
            add("fact_order", Some(entry.rows), entry.version.bytes);
        }
    }
    for ((fact, dt), _) in staged.changed_sides.iter().filter(|(_, change)| is_written(change)) {
        if let Some(entry) = staged.next.side(*fact, *dt) {
            add(fact.table(), Some(entry.rows), entry.version.bytes);
        }
    }
    for spec in [DIM_USER, DIM_PRODUCT] {
        let (before, after) = (staged.catalog.state.dimensions.get(spec.name), staged.next.dimensions.get(spec.name));
        if let Some(version) = after.filter(|_| before != after) {
            add(spec.name, None, version.bytes);
        }
    }
    WrittenLayer { quantity: staged.next.quantity, tables }
}
