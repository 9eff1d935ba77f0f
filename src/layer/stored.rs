//! A partition as it lies on disk.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, PoisonError},
};

use super::{LayerError, LayerState, PartitionEntry, PartitionRows, StoredSide, csv, file_format, side_fact::SideRow};
use crate::{
    model::{Dt, FactSchema, FileFormat, OrderTotal, Refund, UtcMicros},
    store::{self, Key, ObjectRef, Output, Tag, places},
};

/// A stored partition: its canonical CSV, and its rows in their order.
pub struct StoredPartition {
    /// The CSV, whatever the format of the file.
    pub bytes: Vec<u8>,
    /// Its rows.
    pub rows: PartitionRows,
}

impl StoredPartition {
    /// The partition of a file with these bytes. The end of its name tells its format.
    ///
    /// # Errors
    /// [`LayerError::Partition`] where it can't be parsed.
    pub fn parse(bytes: Vec<u8>, dt: Dt, path: &Path, schema: &FactSchema) -> Result<StoredPartition, LayerError> {
        let bytes = file_format::decode(FileFormat::of_path(path), bytes, path, schema)?;
        Ok(StoredPartition { rows: csv::read_compact(&bytes, dt, path, schema)?, bytes })
    }
}

/// Reads the partitions of a layer, as a state describes them.
pub struct StoredPartitions<'a> {
    output: &'a Output,
    state: &'a LayerState,
    schema: &'a FactSchema,
    /// The format of new partitions.
    format: FileFormat,
    /// The versions of the files in a bucket that were read.
    seen: Mutex<BTreeMap<Key, Option<Tag>>>,
}

impl<'a> StoredPartitions<'a> {
    /// The partitions of this state. New ones will have this format.
    pub fn new(output: &'a Output, state: &'a LayerState, schema: &'a FactSchema, format: FileFormat) -> StoredPartitions<'a> {
        StoredPartitions { output, state, schema, format, seen: Mutex::default() }
    }

    /// The entry of a partition; `None` where there is none.
    pub fn entry(&self, dt: Dt) -> Option<&PartitionEntry> {
        self.state.partitions.get(&dt)
    }

    /// Reads a partition; `None` where there is none. In a bucket, a local copy is left at its place.
    ///
    /// # Errors
    /// [`LayerError::Partition`] where it can't be parsed, [`LayerError::Changed`] where its file is not what the state says, or I/O
    /// errors.
    pub fn load(&self, dt: Dt) -> Result<Option<StoredPartition>, LayerError> {
        let Some(entry) = self.entry(dt) else {
            // A file that somebody else puts there meanwhile is found before the commit.
            self.see(places::partition_file(dt, self.format), None);
            return Ok(None);
        };
        let key = entry.key(dt);
        let path = self.output.at(&key);
        let bytes = match self.output.folder() {
            Some(_) => self.read_file(&path, &entry.version)?,
            None => self.fetch(&key, &entry.version)?,
        };
        StoredPartition::parse(bytes, dt, &path, self.schema).map(Some)
    }

    /// Removes the local copy of a partition in a bucket: where all of a window is looked at, the copies would need as much room.
    pub fn forget(&self, dt: Dt) {
        if let Some(entry) = self.entry(dt) {
            self.output.forget_local(&entry.key(dt));
        }
    }

    /// Reads the totals of a partition's orders; `None` where there are none. In a bucket, a local copy is left at their place.
    ///
    /// # Errors
    /// As [`StoredPartitions::load`].
    pub fn load_totals(&self, dt: Dt) -> Result<Option<StoredSide<OrderTotal>>, LayerError> {
        self.load_side(dt)
    }

    /// Reads the refunds of a day, likewise.
    ///
    /// # Errors
    /// As [`StoredPartitions::load`].
    pub fn load_refunds(&self, dt: Dt) -> Result<Option<StoredSide<Refund>>, LayerError> {
        self.load_side(dt)
    }

    fn load_side<R: SideRow>(&self, dt: Dt) -> Result<Option<StoredSide<R>>, LayerError> {
        let key = R::FACT.file(dt);
        let Some(entry) = self.state.side(R::FACT, dt) else {
            self.see(key, None);
            return Ok(None);
        };
        let path = self.output.at(&key);
        let bytes = match self.output.folder() {
            Some(_) => self.read_file(&path, &entry.version)?,
            None => self.fetch(&key, &entry.version)?,
        };
        StoredSide::parse(bytes, dt, &path).map(Some)
    }

    /// The content of a version in a folder: its file, or, where another run has replaced that meanwhile, its object.
    fn read_file(&self, path: &Path, version: &ObjectRef) -> Result<Vec<u8>, LayerError> {
        if let Some(bytes) = store::read(path)?.filter(|bytes| version.is_of(bytes)) {
            return Ok(bytes);
        }
        let kept = store::read(&self.output.at(&version.object))?.filter(|bytes| version.is_of(bytes));
        kept.ok_or_else(|| LayerError::Changed { path: path.to_owned() })
    }

    /// The content of a version in a bucket: its installed file if that is what the state says, else its object.
    fn fetch(&self, key: &Key, version: &ObjectRef) -> Result<Vec<u8>, LayerError> {
        let installed = self.output.object(key)?;
        self.see(key.clone(), installed.as_ref().map(|object| object.tag.clone()));
        let bytes = match installed.filter(|object| version.is_of(&object.bytes)) {
            Some(object) => object.bytes.into(),
            None => self.output.read_version(version)?,
        };
        store::write_staged(&self.output.at(key), &bytes)?;
        Ok(bytes)
    }

    fn see(&self, key: Key, tag: Option<Tag>) {
        if self.output.folder().is_none() {
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(key, tag);
        }
    }

    /// The versions of the files in a bucket that were read.
    pub fn seen(self) -> BTreeMap<Key, Option<Tag>> {
        self.seen.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `created_at` of a partition's newest row that does not lie after `now`; `None` where there is none, or no file.
///
/// # Errors
/// I/O errors. A row that can't be parsed is passed over: checks look at those.
pub fn newest_row(path: &Path, now: UtcMicros) -> Result<Option<UtcMicros>, LayerError> {
    let Some(bytes) = store::read(path)? else { return Ok(None) };
    let csv = file_format::decode_stored(FileFormat::of_path(path), bytes, path)?;
    let mut reader = ::csv::Reader::from_reader(csv.as_slice());
    let place = reader.byte_headers().ok().and_then(|names| names.iter().position(|name| name == b"created_at"));
    let rows = reader.byte_records().filter_map(Result::ok);
    let times = rows.filter_map(|row| UtcMicros::from_canonical(row.get(place?)?));
    Ok(times.filter(|time| *time <= now).max())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_ahead_is_not_the_newest_row() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("part-00000.csv");
        let at = |hour: i64| UtcMicros::from_civil((2026, 1, 31), hour * 3600, 0, 0).unwrap();
        assert_eq!(newest_row(&path, at(12)).unwrap(), None);
        std::fs::write(&path, "order_id,created_at\n\"A,\n1\",2026-01-31 10:00:00\nB,2026-01-31 11:00:00\nC,2026-01-31 13:00:00\n")
            .unwrap();
        assert_eq!(newest_row(&path, at(12)).unwrap(), Some(at(11)));
        assert_eq!(newest_row(&path, at(9)).unwrap(), None);
    }
}
