//! A partition as it lies on disk.

use polars::prelude::DataFrame;

use super::{LayerError, csv};
use crate::{
    model::{Dt, FactRows, FactSchema},
    store::{self, Output},
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
        let path = output.at(csv::partition_file(dt));
        let Some(bytes) = store::read(&path)? else { return Ok(None) };
        let frame: DataFrame = csv::read_partition(&bytes, dt, &path, schema)?.finish()?;
        Ok(Some(StoredPartition { rows: FactRows::new(&frame)?, bytes }))
    }
}
