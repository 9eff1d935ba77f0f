//! The CSV of a dimension as it is stored: its columns, its rows with their keys, and rows written again.

use super::DimensionError;
use crate::{layer, model::DimensionSpec};

/// Reads the rows of a dimension's CSV.
pub(super) struct StoredMembers<'c> {
    spec: &'c DimensionSpec,
    reader: csv::Reader<&'c [u8]>,
    /// The names of the columns.
    pub(super) columns: Vec<String>,
    /// The place of the key.
    key: usize,
}

impl<'c> StoredMembers<'c> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`DimensionError::Stored`] if it can't be read, or has no key.
    pub(super) fn open(spec: &'c DimensionSpec, csv: &'c [u8]) -> Result<StoredMembers<'c>, DimensionError> {
        let mut reader = csv::Reader::from_reader(csv);
        let header = reader.headers().map_err(|error| damaged(spec, 1, error.to_string()))?;
        let columns: Vec<String> = header.iter().map(str::to_owned).collect();
        let key = columns.iter().position(|column| column == spec.key());
        let key = key.ok_or_else(|| damaged(spec, 1, format!("there is no column {}", spec.key())))?;
        Ok(StoredMembers { spec, reader, columns, key })
    }

    /// The next row; `None` after the last one.
    ///
    /// # Errors
    /// [`DimensionError::Stored`] if it can't be read.
    pub(super) fn next_row(&mut self) -> Result<Option<csv::StringRecord>, DimensionError> {
        let mut record = csv::StringRecord::new();
        match self.reader.read_record(&mut record) {
            Ok(is_row) => Ok(is_row.then_some(record)),
            Err(error) => Err(damaged(self.spec, error.position().map_or(1, csv::Position::line), error.to_string())),
        }
    }

    /// The key of a row.
    pub(super) fn key_of<'r>(&self, row: &'r csv::StringRecord) -> &'r str {
        row.get(self.key).unwrap_or_default()
    }
}

fn damaged(spec: &DimensionSpec, line: u64, detail: String) -> DimensionError {
    DimensionError::Stored { path: format!("dims/{0}/{0}.csv", spec.name).into(), line, detail }
}

/// Appends a row.
pub(super) fn write_row<'t>(out: &mut Vec<u8>, texts: impl Iterator<Item = &'t str>) {
    for (place, text) in texts.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        layer::write_text(out, Some(text));
    }
    out.push(b'\n');
}
