//! A partition as it lies on disk.

use std::path::Path;

use polars::prelude::DataFrame;

use super::{LayerError, csv};
use crate::{
    model::{Dt, FactRows, FactSchema, UtcMicros},
    store::{self, Output, places},
};

/// A stored partition: its bytes, and its rows in their order.
pub struct StoredPartition {
    /// The file, byte for byte.
    pub bytes: Vec<u8>,
    /// Its rows.
    pub rows: FactRows,
}

impl StoredPartition {
    /// Reads a partition; `None` where there is none.
    ///
    /// # Errors
    /// [`LayerError::Partition`] where it can't be parsed, or what the disk refuses.
    pub fn load(output: &Output, dt: Dt, schema: &FactSchema) -> Result<Option<StoredPartition>, LayerError> {
        let path = output.at(places::partition_file(dt));
        let Some(bytes) = store::read(&path)? else { return Ok(None) };
        let frame: DataFrame = csv::read_partition(&bytes, dt, &path, schema)?.finish()?;
        Ok(Some(StoredPartition { rows: FactRows::new(&frame)?, bytes }))
    }
}

/// `created_at` of a partition's newest row that does not lie after `now`; `None` where there is none, or no file.
///
/// # Errors
/// I/O errors. A row that can't be parsed is passed over: checks look at those.
pub fn newest_row(path: &Path, now: UtcMicros) -> Result<Option<UtcMicros>, LayerError> {
    let Some(bytes) = store::read(path)? else { return Ok(None) };
    let mut reader = ::csv::Reader::from_reader(bytes.as_slice());
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
