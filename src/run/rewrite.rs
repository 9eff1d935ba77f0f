//! `etl rewrite`: rewrites the layer, partition by partition, with the extra columns and in the file format that the settings name.
//!
//! A value that does not fit the new type of its column is lost, and so are the values of a column that the settings no longer
//! name. They are counted first, and a rewrite that loses some is refused unless it is forced. Quantities are never lost: line totals
//! are made of them.

use std::{collections::BTreeMap, path::Path};

use serde::Serialize;

use super::{
    RequestError, RunError,
    change::{LayerChange, manifest_of, report_of_change},
    lineage::{Change, tell_change, written_between},
    open::Opened,
    vacuum::remove_empty_partitions,
};
use crate::{
    cancel::Cancel,
    layer::{self, LayerColumns, OpenedLayer, QUANTITY, RewrittenPartition},
    model::{Dt, FileFormat, RunId, UtcMicros},
    report::{self, CommandName},
    settings::Settings,
    store::{Key, Lease, Output, Staging, places},
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
    /// Loses the values that do not fit, but for quantities.
    Forced,
}

/// What a rewrite did, or would do.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Rewritten {
    /// Partitions that were rewritten.
    pub rewritten: usize,
    /// Partitions that had the columns and the format already.
    pub unchanged: usize,
    /// Values that are lost, by column: they do not fit the new type, or their column is no longer named.
    pub values_lost: BTreeMap<String, u64>,
}

/// Rewrites every partition whose columns or format are not those of the settings. A reader of a partition sees it whole, as before or as
/// after. An interrupted rewrite goes on where it stopped.
///
/// # Errors
/// Values would be lost, or quantities even by force (exit 2); the output is held, a partition can't be parsed, I/O errors (exit 5).
pub fn rewrite(settings: &Settings, mode: RewriteMode, cancel: &Cancel) -> Result<Rewritten, RunError> {
    // Whether it is a dry run, the mode says, and not a variable.
    let settings = &Settings { dry_run: mode == RewriteMode::DryRun, ..settings.clone() };
    tell_change(settings, CommandName::Rewrite, cancel, |change| rewrite_layer(settings, mode, cancel, change))
}

fn rewrite_layer(settings: &Settings, mode: RewriteMode, cancel: &Cancel, told: &mut Change) -> Result<Rewritten, RunError> {
    let output = Output::open(&settings.output)?;
    let Opened { lease, layer, .. } = told.open(&output, settings, cancel)?;
    // Half of a layer may have the new format already, where a rewrite was cut off: the settings must say it again.
    let settings = &settings.with_quantity_of(layer.state.quantity);
    layer.state.verify_ids(&settings.schema())?;
    let format = settings.file_format.or_else(|| layer.state.file_format()).unwrap_or_default();
    let rewrite = Rewrite { settings, output: &output, format, lease: &lease, cancel };
    let found = rewrite.count(&layer)?;
    if mode == RewriteMode::DryRun {
        return Ok(found);
    }
    if let Some(lost) = found.values_lost.get(QUANTITY) {
        return Err(RequestError::QuantitiesLost(*lost).into());
    }
    if mode == RewriteMode::Safe && !found.values_lost.is_empty() {
        return Err(RequestError::ValuesLost(found.values_lost).into());
    }
    let written = rewrite.write();
    // What was put before an error stays.
    if settings.lineage.is_some()
        && let Ok(after) = OpenedLayer::open(&output)
    {
        told.commit = Some(after.number()).filter(|number| *number != layer.number());
        told.written = Some(written_between(&layer.state, &after.state));
    }
    written?;
    Ok(found)
}

struct Rewrite<'a> {
    settings: &'a Settings,
    output: &'a Output,
    /// The format that the files are to have.
    format: FileFormat,
    lease: &'a Lease,
    cancel: &'a Cancel,
}

/// What a rewrite finds of a partition.
enum Found {
    /// There is no file.
    Nothing,
    /// It has the columns and the format already.
    Unchanged,
    /// It gets new content.
    Rewritten(RewrittenPartition),
}

impl Rewrite<'_> {
    /// Counts what a rewrite does.
    fn count(&self, layer: &OpenedLayer) -> Result<Rewritten, RunError> {
        let mut found = Rewritten::default();
        for (dt, key) in layer::partition_files(self.output, layer)? {
            match self.partition(layer, dt, &key)? {
                Found::Nothing => {}
                Found::Unchanged => found.unchanged += 1,
                Found::Rewritten(rewritten) => {
                    found.rewritten += 1;
                    for (column, lost) in rewritten.values_lost {
                        *found.values_lost.entry(column).or_default() += lost;
                    }
                }
            }
        }
        Ok(found)
    }

    fn write(&self) -> Result<(), RunError> {
        let columns = LayerColumns::of(&self.settings.schema());
        let partitions: Vec<_> = layer::stored_partition_files(self.output)?.into_iter().collect();
        let batches = partitions.chunks(AT_ONCE).count();
        for (number, batch) in partitions.chunks(AT_ONCE).enumerate() {
            // The layer has the new columns only once all partitions are written.
            let columns = (number + 1 == batches).then(|| columns.clone());
            self.write_batch(batch, columns)?;
        }
        // In a bucket, a file of the old format stays as its header: a warehouse that loads the prefix would find two formats.
        remove_empty_partitions(self.output, &OpenedLayer::open(self.output)?.state)?;
        Ok(())
    }

    /// Rewrites some partitions in one commit.
    fn write_batch(&self, batch: &[(Dt, Key)], columns: Option<LayerColumns>) -> Result<(), RunError> {
        let base = OpenedLayer::open(self.output)?;
        let started_at = UtcMicros::now();
        let run_id = RunId::new(started_at);
        let mut staging = Staging::create(self.output, run_id.as_str())?;
        let mut next = base.state.clone();
        let mut before = base.state.clone();
        let mut written = Vec::new();
        for (dt, key) in batch {
            let Found::Rewritten(new) = self.partition(&base, *dt, key)? else { continue };
            if self.output.folder().is_some() {
                // The file may not be the one that was committed: what stands there can be put back.
                let bytes = self.output.read(key)?.unwrap_or_default();
                let is_committed = base.state.partitions.get(dt).is_some_and(|entry| entry.version.is_of(&bytes));
                if !is_committed {
                    before.partitions.insert(*dt, layer::found_entry(key, &bytes));
                }
            }
            let schema = self.settings.schema();
            let new_key = places::partition_file(*dt, self.format);
            let file = layer::encode(self.format, new.csv.clone(), &schema, Path::new(new_key.as_str()))?;
            let version = staging.put(&new_key, &file)?;
            if new_key != *key {
                staging.remove(key);
            }
            // The totals of orders have neither extra columns nor a format of their own.
            next.set_facts(*dt, layer::entry_of(&new.csv, version, *dt, &schema)?);
            written.push(*dt);
        }
        if written.is_empty() && columns.as_ref().is_none_or(|columns| *columns == next.layer_columns()) {
            return Ok(());
        }
        if let Some(columns) = columns {
            next.set_columns(columns);
        }
        manifest_of(self.output, self.settings, &mut staging, &run_id, &written, &next)?;
        // Each commit stands in the history: it may be in the way of an undo.
        let summary = report_of_change(CommandName::Rewrite, &run_id, started_at, &written, &[], base.number() + 1);
        staging.put(places::report(run_id.as_str()), &report::report_bytes(&summary))?;
        let change = LayerChange { output: self.output, base: &base, before: &before, lease: self.lease, cancel: self.cancel };
        let stopped = |error: RunError| super::stopped_or(self.cancel, error);
        change.commit(&mut staging, &run_id, "rewrite", &mut next, Vec::new()).map_err(stopped)
    }

    /// A partition with the new columns and of the new format.
    fn partition(&self, layer: &OpenedLayer, dt: Dt, key: &Key) -> Result<Found, RunError> {
        if let Some(stop) = self.cancel.stopped() {
            return Err(RunError::Interrupted(stop));
        }
        let entry = layer.state.partitions.get(&dt).filter(|_| self.output.folder().is_none());
        let bytes = match entry {
            Some(entry) => Some(self.output.read_version(&entry.version)?),
            None => self.output.read(key)?,
        };
        let Some(bytes) = bytes else { return Ok(Found::Nothing) };
        let path = self.output.at(key);
        let format = FileFormat::of_path(&path);
        let csv = layer::decode_stored(format, bytes, &path)?;
        Ok(match layer::rewritten(&csv, dt, &path, &self.settings.schema())? {
            Some(rewritten) => Found::Rewritten(rewritten),
            None if format == self.format => Found::Unchanged,
            None => Found::Rewritten(RewrittenPartition { csv, values_lost: BTreeMap::new() }),
        })
    }
}
