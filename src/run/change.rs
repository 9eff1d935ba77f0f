//! A change of the layer by a command other than a run: one commit over the layer that it has read.

use std::{path::Path, time::Duration};

use super::{RunError, manifest};
use crate::{
    cancel::Cancel,
    layer::{self, LayerError, LayerState, OpenedLayer},
    model::{Dt, ExtraColumn, ExtraType, FactSchema, FileFormat, RunId, UtcMicros},
    report::{CommandName, Status, Summary},
    settings::Settings,
    store::{
        self, DecideError, Installed, Key, Lease, NewCommit, ObjectRef, Output, Read, Staging, StoreError,
        places::{self, SideFact},
    },
};

/// A change that is to be committed.
pub(super) struct LayerChange<'a> {
    pub(super) output: &'a Output,
    /// The layer that was read.
    pub(super) base: &'a OpenedLayer,
    /// Its state, as it was found.
    pub(super) before: &'a LayerState,
    pub(super) lease: &'a Lease,
    pub(super) cancel: &'a Cancel,
}

impl LayerChange<'_> {
    /// Commits what was staged, and the files of `kept` objects. `next` is the layer after it.
    ///
    /// # Errors
    /// Another run was committed meanwhile; a signal before the decision; I/O errors (exit 5).
    pub(super) fn commit(
        &self,
        staging: &mut Staging,
        run_id: &RunId,
        command: &str,
        next: &mut LayerState,
        kept: Vec<Installed>,
    ) -> Result<(), RunError> {
        let before = |key: &Key| self.before.version_at(key).cloned();
        staging.place(&before, self.cancel)?;
        note_times(self.output, staging, next)?;
        let removed = staging.removed(|key| empty_partition(next, key))?;
        let read = |key: &Key| Some(Read { key: key.clone(), checksum: before(key)?.checksum });
        let put: Vec<_> = staging.installed().into_iter().chain(kept).collect();
        let commit = NewCommit {
            run_id: run_id.to_string(),
            writer: format!("{run_id}@{}/{}", super::host(), std::process::id()),
            command: command.to_owned(),
            committed_at: UtcMicros::now().rfc3339(),
            reads: put.iter().filter_map(|put| read(&put.key)).collect(),
            put,
            remove: removed,
            told: staging.told(),
            layer: next.to_record()?,
        };
        match staging.decide(self.base.head.as_ref(), commit, &before, Some(self.lease)) {
            Ok(_) => Ok(()),
            Err(DecideError::Store(error)) => Err(error.into()),
            Err(DecideError::Moved) => {
                // An erasure may have been committed: what was put may name who was erased.
                if let Err(error) = staging.remove_placed() {
                    tracing::warn!(%error, "what this command had put could not be removed; after a day, `etl vacuum` removes it");
                }
                Err(StoreError::CommittedMeanwhile { location: self.output.location() }.into())
            }
        }
    }
}

/// The content of a partition, or of a side fact of one day, without rows: its header, in the format of its file.
pub(super) fn empty_partition(state: &LayerState, key: &Key) -> Result<Vec<u8>, StoreError> {
    if let Some((fact, _)) = SideFact::of_key(key) {
        return Ok(layer::side_fact_header(fact));
    }
    let text = |name: &String| ExtraColumn { name: name.clone(), kind: ExtraType::Text };
    let schema = FactSchema::new(state.columns.iter().map(text).collect());
    let mut header = Vec::new();
    layer::write_header(&mut header, &schema);
    let format = places::partition_format(key).unwrap_or_default();
    let refused = |error: LayerError| StoreError::Refused { location: key.to_string(), detail: error.to_string() };
    layer::encode(format, header, &schema, Path::new(key.as_str())).map_err(refused)
}

/// Whether the file of a partition, or of a side fact, has no rows.
///
/// # Errors
/// What the store refuses.
pub(super) fn is_empty_partition(output: &Output, key: &Key) -> Result<bool, StoreError> {
    let format = places::partition_format(key).or_else(|| SideFact::of_key(key).map(|_| FileFormat::default()));
    let (Some(format), Some(bytes)) = (format, output.read(key)?) else { return Ok(false) };
    let csv = layer::decode_stored(format, bytes, Path::new(key.as_str()));
    Ok(csv.is_ok_and(|csv| csv.iter().filter(|byte| **byte == b'\n').count() <= 1))
}

/// Notes the times of new files in a folder: what a later run compares.
pub(super) fn note_times(output: &Output, staging: &Staging, next: &mut LayerState) -> Result<(), StoreError> {
    if output.folder().is_none() {
        return Ok(());
    }
    for Installed { key, version } in staging.installed() {
        let noted = match (places::partition_of_key(&key), SideFact::of_key(&key)) {
            (Some(dt), _) => next.partitions.get_mut(&dt).map(|entry| &mut entry.modified_ns),
            (None, Some((fact, dt))) => next.side_mut(fact, dt).map(|entry| &mut entry.modified_ns),
            (None, None) => None,
        };
        let Some(noted) = noted else { continue };
        if let Some((_, modified_ns)) = store::size_and_time(&output.at(&version.object))? {
            *noted = modified_ns;
        }
    }
    Ok(())
}

/// The report of a command that changed the layer: it stands in the history beside the runs.
pub(super) fn report_of_change(
    command: CommandName,
    run_id: &RunId,
    started_at: UtcMicros,
    written: &[Dt],
    removed: &[Dt],
    commit: u64,
) -> Summary {
    let finished_at = UtcMicros::now();
    let seconds = Duration::from_micros(u64::try_from(finished_at.micros() - started_at.micros()).unwrap_or(0)).as_secs_f64();
    Summary {
        command,
        status: Status::Published,
        finished_at,
        execution_time_seconds: seconds,
        partitions_written: written.to_vec(),
        partitions_removed: removed.to_vec(),
        commit: Some(commit),
        ..Summary::new(run_id.to_string(), None, None, started_at)
    }
}

/// Stages the manifest of what a command has written, and that of the whole layer.
///
/// # Errors
/// I/O errors (exit 5).
pub(super) fn manifest_of(
    output: &Output,
    settings: &Settings,
    staging: &mut Staging,
    run_id: &RunId,
    written: &[Dt],
    next: &LayerState,
) -> Result<(), StoreError> {
    let url = settings.redshift.url.as_deref();
    let entry = |version: &ObjectRef| manifest::Entry { place: version.object.clone(), bytes: version.bytes };
    let of_run: Vec<_> = written.iter().filter_map(|dt| next.partitions.get(dt)).map(|partition| entry(&partition.version)).collect();
    if !of_run.is_empty() {
        staging.put(places::manifest(run_id.as_str()), &manifest::manifest(output, url, &of_run))?;
    }
    let whole: Vec<_> = next.partitions.values().map(|partition| entry(&partition.version)).collect();
    staging.put(places::WHOLE_MANIFEST, &manifest::manifest(output, url, &whole))?;
    Ok(())
}
