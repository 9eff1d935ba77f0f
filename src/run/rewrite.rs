//! `etl rewrite`: the layer, partition by partition, under the further columns that the settings name.

use std::collections::BTreeMap;

use super::{RunError, open};
use crate::{
    cancel::Cancel,
    layer::{self, partition_file},
    model::{RunId, UtcMicros},
    settings::Settings,
    store::{self, Output, Staging},
};

/// Partitions that are put in place at once: few enough that a cut-off costs little, enough that the journal does not.
const AT_ONCE: usize = 64;

/// What a rewrite did.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize)]
pub struct Rewritten {
    /// Partitions that were written anew.
    pub rewritten: usize,
    /// Partitions that had the columns already.
    pub unchanged: usize,
}

/// Rewrites every partition that has other columns than the settings say. A reader of one partition sees it whole, as before
/// or as after; cut off, it goes on where it stopped.
///
/// # Errors
/// The output is held, a partition can't be parsed, or what the disk refuses.
pub fn rewrite(settings: &Settings, cancel: &Cancel) -> Result<Rewritten, RunError> {
    let output = Output::new(settings.output.clone());
    let started_at = UtcMicros::now();
    let run_id = RunId::new(started_at);
    let _lock = open::open_output(&output, run_id.as_str(), started_at, settings.lock_wait, cancel)?;
    let schema = settings.schema();
    let columns: Vec<_> = schema.extra().iter().map(|column| column.name.clone()).collect();
    let before = layer::stored_columns(&output)?;
    let partitions = layer::partitions_on_disk(&output)?;
    let mut done = Rewritten::default();
    let batches = partitions.chunks(AT_ONCE).count();
    for (number, batch) in partitions.chunks(AT_ONCE).enumerate() {
        let mut staging = Staging::create(&output, RunId::new(started_at).as_str())?;
        let mut stamps = BTreeMap::new();
        for &dt in batch {
            if let Some(stop) = cancel.stopped() {
                return Err(RunError::Interrupted(stop));
            }
            let path = output.at(partition_file(dt));
            let Some(bytes) = store::read(&path)? else { continue };
            match layer::rewritten(&bytes, dt, &path, &schema)? {
                Some(bytes) => {
                    stamps.insert(dt, staging.put(partition_file(dt), &bytes)?);
                    done.rewritten += 1;
                }
                None => done.unchanged += 1,
            }
        }
        // Only once all are written does the layer have the new columns.
        let last = number + 1 == batches;
        let named = if last { &columns } else { &before };
        if !stamps.is_empty() || last {
            layer::restamp(&output, &mut staging, stamps, named.clone())?;
            staging.prepare(cancel).map_err(|error| super::stopped_or(cancel, error.into()))?.commit()?;
        }
    }
    Ok(done)
}
