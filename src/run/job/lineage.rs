//! What the `OpenLineage` events of a run tell of it: the datasets that it reads, and what it has written.

use std::collections::BTreeMap;

use super::request::{OrdersFrom, Request};
use crate::{
    lineage::{Datasets, WrittenLayer},
    run::{
        lineage::{Job, add_dimensions},
        staged_run::{PartitionChange, StagedRun},
    },
    store::places,
};

/// The run, as its events name it.
pub(super) fn job<'a>(request: &Request<'a>) -> Job<'a> {
    let datasets = match request.orders {
        OrdersFrom::Source => Datasets::Sources,
        OrdersFrom::Quarantine(_) => Datasets::Kept(places::QUARANTINE),
        OrdersFrom::Raw(_) => Datasets::Kept(places::RAW),
    };
    Job { settings: request.settings, command: request.command, datasets }
}

/// What a run has put in place: the files of each table that it has written.
pub(super) fn written(staged: &StagedRun) -> WrittenLayer {
    let mut written = WrittenLayer { quantity: staged.next.quantity, tables: BTreeMap::new() };
    let is_written = |change: &PartitionChange| matches!(change, PartitionChange::Written);
    for (dt, _) in staged.changes.iter().filter(|(_, change)| is_written(change)) {
        if let Some(entry) = staged.next.partitions.get(dt) {
            written.add("fact_order", Some(entry.rows), entry.version.bytes);
        }
    }
    for ((fact, dt), _) in staged.changed_sides.iter().filter(|(_, change)| is_written(change)) {
        if let Some(entry) = staged.next.side(*fact, *dt) {
            written.add(fact.table(), Some(entry.rows), entry.version.bytes);
        }
    }
    add_dimensions(&mut written, &staged.catalog.state, &staged.next);
    written
}
