//! `etl rewrite`: rewrites the layer, partition by partition, with the extra columns that the settings name.
//!
//! A value that does not fit the new type of its column is lost, and so are the values of a column that the settings no longer
//! name. They are counted first, and a rewrite that loses some is refused unless it is forced.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{RequestError, RunError, open::Opening};
use crate::{
    cancel::Cancel,
    layer,
    model::{RunId, UtcMicros},
    settings::Settings,
    store::{self, Output, Staging, places},
};

/// The number of partitions that are put in place at once: few enough that an interruption costs little.
const AT_ONCE: usize = 64;

/// How far a rewrite goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RewriteMode {
    /// Counts, and writes nothing.
    DryRun,
    /// Refuses to lose values.
    Safe,
    /// Loses the values that do not fit.
    Forced,
}

/// What a rewrite did, or would do.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Rewritten {
    /// Partitions that were rewritten.
    pub rewritten: usize,
    /// Partitions that had the columns already.
    pub unchanged: usize,
    /// Values that are lost, by column: they do not fit the new type, or their column is no longer named.
    pub values_lost: BTreeMap<String, u64>,
}

/// Rewrites every partition whose columns are not those of the settings. A reader of a partition sees it whole, as before or as
/// after. An interrupted rewrite goes on where it stopped.
///
/// # Errors
/// Values would be lost (exit 2), the output is held, a partition can't be parsed, I/O errors (exit 5).
pub fn rewrite(settings: &Settings, mode: RewriteMode, cancel: &Cancel) -> Result<Rewritten, RunError> {
    let output = Output::new(settings.output.clone());
    let started_at = UtcMicros::now();
    let _opened = Opening { output: &output, started_at, wait: settings.lock_wait, cancel }.open(RunId::new(started_at))?;
    let rewrite = Rewrite { settings, output: &output, cancel };
    let found = rewrite.count()?;
    if mode == RewriteMode::DryRun {
        return Ok(found);
    }
    if mode == RewriteMode::Safe && !found.values_lost.is_empty() {
        return Err(RequestError::ValuesLost(found.values_lost).into());
    }
    rewrite.write()?;
    Ok(found)
}

struct Rewrite<'a> {
    settings: &'a Settings,
    output: &'a Output,
    cancel: &'a Cancel,
}

impl Rewrite<'_> {
    /// Counts what a rewrite does.
    fn count(&self) -> Result<Rewritten, RunError> {
        let mut found = Rewritten::default();
        for dt in layer::partitions_on_disk(self.output)? {
            let Some(partition) = self.partition(dt)? else { continue };
            let Some(rewritten) = partition else {
                found.unchanged += 1;
                continue;
            };
            found.rewritten += 1;
            for (column, lost) in rewritten.values_lost {
                *found.values_lost.entry(column).or_default() += lost;
            }
        }
        Ok(found)
    }

    fn write(&self) -> Result<(), RunError> {
        let columns: Vec<_> = self.settings.schema().extra().iter().map(|column| column.name.clone()).collect();
        let before = layer::stored_columns(self.output)?;
        let partitions = layer::partitions_on_disk(self.output)?;
        let batches = partitions.chunks(AT_ONCE).count();
        for (number, batch) in partitions.chunks(AT_ONCE).enumerate() {
            let mut staging = Staging::create(self.output, RunId::new(UtcMicros::now()).as_str())?;
            let mut stamps = BTreeMap::new();
            for &dt in batch {
                if let Some(Some(rewritten)) = self.partition(dt)? {
                    stamps.insert(dt, staging.put(places::partition_file(dt), &rewritten.bytes)?);
                }
            }
            // The layer has the new columns only once all partitions are written.
            let last = number + 1 == batches;
            let named = if last { &columns } else { &before };
            if !stamps.is_empty() || last {
                layer::restamp(self.output, &mut staging, stamps, named.clone())?;
                staging.prepare(self.cancel).map_err(|error| super::stopped_or(self.cancel, error.into()))?.commit()?;
            }
        }
        Ok(())
    }

    /// A partition with the new columns: the inner `None` if it has them already, the outer one if there is no file.
    fn partition(&self, dt: crate::model::Dt) -> Result<Option<Option<layer::RewrittenPartition>>, RunError> {
        if let Some(stop) = self.cancel.stopped() {
            return Err(RunError::Interrupted(stop));
        }
        let path = self.output.at(places::partition_file(dt));
        let Some(bytes) = store::read(&path)? else { return Ok(None) };
        Ok(Some(layer::rewritten(&bytes, dt, &path, &self.settings.schema())?))
    }
}
