//! The CSV of a dimension as it is stored: its columns, its rows with their keys, and rows written again.
//!
//! Reads bytes that others have fetched. Does not decide which rows stay, or which version of a member counts.

use std::path::Path;

use csv::ByteRecord;

use super::DimensionError;
use crate::{
    layer,
    model::{DimensionSpec, TextTable},
    store::Fingerprint,
};

/// The flag of a member that only facts name.
pub(super) const INFERRED: &str = DimensionSpec::FLAGS[0];

/// The columns of the versions of a member (`scd = 2`).
pub(super) const VERSION_COLUMNS: [&str; 3] = [DimensionSpec::FLAGS[1], DimensionSpec::FLAGS[2], DimensionSpec::FLAGS[3]];

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

/// The stored file of a dimension, read.
#[derive(Default)]
pub struct StoredRows {
    pub(super) table: TextTable,
    /// `None` if there is no file.
    pub(super) file: Option<Fingerprint>,
}

impl StoredRows {
    /// Reads the rows, and lets go of the bytes.
    ///
    /// # Errors
    /// [`DimensionError::Stored`] for a damaged file.
    pub fn read(spec: &DimensionSpec, stored: Option<Vec<u8>>, path: &Path) -> Result<StoredRows, DimensionError> {
        let Some(bytes) = stored else { return Ok(StoredRows::default()) };
        Ok(StoredRows { table: read_stored(spec, &bytes, path)?, file: Some(Fingerprint::of(&bytes)) })
    }
}

/// Reads a stored dimension. Columns after the fixed ones come from sources. Earlier versions of `etl` wrote names that differ in
/// case only: they are merged, and the first text counts.
fn read_stored(spec: &DimensionSpec, bytes: &[u8], path: &Path) -> Result<TextTable, DimensionError> {
    let damaged = |line: u64, detail: String| DimensionError::Stored { path: path.to_owned(), line, detail };
    let mut reader = csv::ReaderBuilder::new().from_reader(bytes);
    let header = reader.headers().map_err(|error| damaged(1, error.to_string()))?.clone();
    let fixed: Vec<_> = spec.columns.iter().map(|column| column.name).chain([INFERRED]).collect();
    if !header.iter().take(fixed.len()).eq(fixed.iter().copied()) {
        return Err(damaged(1, format!("the columns are `{}`, not those of {}", header.iter().collect::<Vec<_>>().join(","), spec.name)));
    }
    let mut table = TextTable::default();
    let columns: Vec<_> = header.iter().map(|name| table.column_or_add(&name.to_lowercase())).collect();
    let mut record = ByteRecord::new();
    loop {
        let line = reader.position().line();
        if !reader.read_byte_record(&mut record).map_err(|error| damaged(line, error.to_string()))? {
            break;
        }
        for (&column, value) in columns.iter().zip(&record) {
            let text = str::from_utf8(value).map_err(|_| damaged(line, "not UTF-8".into()))?;
            if !text.is_empty() {
                table.set(column, text);
            }
        }
        if record.get(0).is_none_or(<[u8]>::is_empty) {
            return Err(damaged(line, format!("{} is empty", spec.key())));
        }
        table.end_row();
    }
    if bytes.last() != Some(&b'\n') {
        return Err(damaged(reader.position().line(), "the last line has no line break: the file was cut short".into()));
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DIM_USER;

    const HEADER: &str = "user_id,name,email,country,created_at,inferred\n";

    #[test]
    fn a_damaged_file_is_an_error() {
        let read = |text: &str| StoredRows::read(&DIM_USER, Some(text.as_bytes().to_vec()), Path::new("dim.csv"));
        let stored = |text: &str| read(text).map(drop).unwrap_err().to_string();
        assert!(stored("user_id,name\nU1,x\n").contains("dim.csv, line 1: the columns are `user_id,name`"));
        assert!(stored(&format!("{HEADER}U1,x,,,,fal")).contains("cut short"));
        assert!(stored(&format!("{HEADER},x,,,,false\n")).contains("line 2: user_id is empty"));
    }
}
