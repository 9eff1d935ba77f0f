//! The CSV of a dimension as it is stored: its columns, its rows with their keys, and rows written again.
//!
//! Reads bytes that others have fetched. Does not decide which rows stay, or which version of a member counts.

use std::path::{Path, PathBuf};

use csv::StringRecord;

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

/// Reads the rows of a dimension's CSV. Refuses a file that is damaged or was cut short.
pub(super) struct StoredMembers<'c> {
    spec: &'c DimensionSpec,
    /// The file, for errors.
    path: PathBuf,
    reader: csv::Reader<&'c [u8]>,
    /// The names of the columns.
    pub(super) columns: Vec<String>,
    /// The place of the key.
    key: usize,
}

impl<'c> StoredMembers<'c> {
    /// Reads the header of a file that lies at its place in the layer.
    ///
    /// # Errors
    /// As [`StoredMembers::open_at`].
    pub(super) fn open(spec: &'c DimensionSpec, csv: &'c [u8]) -> Result<StoredMembers<'c>, DimensionError> {
        StoredMembers::open_at(Path::new(&format!("dims/{0}/{0}.csv", spec.name)), spec, csv)
    }

    /// Reads the header of a file that lies at a path.
    ///
    /// # Errors
    /// [`DimensionError::Stored`] if the header can't be read or has no key, or if the last line has no line break.
    fn open_at(path: &Path, spec: &'c DimensionSpec, csv: &'c [u8]) -> Result<StoredMembers<'c>, DimensionError> {
        let damaged = |line: u64, detail: String| DimensionError::Stored { path: path.to_owned(), line, detail };
        let mut reader = csv::Reader::from_reader(csv);
        let header = reader.headers().map_err(|error| damaged(1, error.to_string()))?;
        let columns: Vec<String> = header.iter().map(str::to_owned).collect();
        let key = columns.iter().position(|column| column == spec.key());
        let key = key.ok_or_else(|| damaged(1, format!("there is no column {}", spec.key())))?;
        if csv.last() != Some(&b'\n') {
            let breaks = csv.iter().filter(|byte| **byte == b'\n').count() as u64;
            return Err(damaged(breaks + 1, "the last line has no line break: the file was cut short".into()));
        }
        Ok(StoredMembers { spec, path: path.to_owned(), reader, columns, key })
    }

    /// Fails unless the columns begin with those that each file of this dimension has.
    fn require_fixed_columns(&self) -> Result<(), DimensionError> {
        let fixed: Vec<&str> = self.spec.columns.iter().map(|column| column.name).chain([INFERRED]).collect();
        if self.columns.iter().map(String::as_str).take(fixed.len()).eq(fixed.iter().copied()) {
            return Ok(());
        }
        Err(self.damaged(1, format!("the columns are `{}`, not those of {}", self.columns.join(","), self.spec.name)))
    }

    /// The next row; `None` after the last one.
    ///
    /// # Errors
    /// As [`StoredMembers::read_row`].
    pub(super) fn next_row(&mut self) -> Result<Option<StringRecord>, DimensionError> {
        let mut row = StringRecord::new();
        Ok(self.read_row(&mut row)?.then_some(row))
    }

    /// Reads the next row into `row`. Returns `false` after the last one.
    ///
    /// # Errors
    /// [`DimensionError::Stored`] if the row can't be read or has no key.
    fn read_row(&mut self, row: &mut StringRecord) -> Result<bool, DimensionError> {
        let line = self.reader.position().line();
        match self.reader.read_record(row) {
            Err(error) => Err(self.damaged(line, error_text(&error))),
            Ok(false) => Ok(false),
            Ok(true) if self.key_of(row).is_empty() => Err(self.damaged(line, format!("{} is empty", self.spec.key()))),
            Ok(true) => Ok(true),
        }
    }

    /// The key of a row.
    pub(super) fn key_of<'r>(&self, row: &'r StringRecord) -> &'r str {
        row.get(self.key).unwrap_or_default()
    }

    fn damaged(&self, line: u64, detail: String) -> DimensionError {
        DimensionError::Stored { path: self.path.clone(), line, detail }
    }
}

fn error_text(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "not UTF-8".to_owned(),
        _ => error.to_string(),
    }
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
    let mut stored = StoredMembers::open_at(path, spec, bytes)?;
    stored.require_fixed_columns()?;
    let mut table = TextTable::default();
    let columns: Vec<_> = stored.columns.iter().map(|name| table.column_or_add(&name.to_lowercase())).collect();
    let mut row = StringRecord::new();
    while stored.read_row(&mut row)? {
        for (&column, text) in columns.iter().zip(&row) {
            if !text.is_empty() {
                table.set(column, text);
            }
        }
        table.end_row();
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
        let read = |text: &[u8]| StoredRows::read(&DIM_USER, Some(text.to_vec()), Path::new("dim.csv"));
        let stored = |text: &str| read(text.as_bytes()).map(drop).unwrap_err().to_string();
        assert!(stored("user_id,name\nU1,x\n").contains("dim.csv, line 1: the columns are `user_id,name`"));
        assert!(stored("").contains("dim.csv, line 1: there is no column user_id"));
        assert!(stored(&format!("{HEADER}U1,x,,,,fal")).contains("dim.csv, line 2: the last line has no line break"));
        assert!(stored(&format!("{HEADER}U1,x,,,,false\n,x,,,,false\n")).contains("line 3: user_id is empty"));
        let latin = [HEADER.as_bytes(), b"U1,Zo\xeb,,,,false\n"].concat();
        assert!(read(&latin).map(drop).unwrap_err().to_string().contains("dim.csv, line 2: not UTF-8"));
    }

    #[test]
    fn who_takes_the_rows_one_by_one_is_refused_alike() {
        let refusal = |text: &str| {
            let mut stored = match StoredMembers::open(&DIM_USER, text.as_bytes()) {
                Ok(stored) => stored,
                Err(error) => return error.to_string(),
            };
            loop {
                match stored.next_row() {
                    Ok(Some(_)) => {}
                    Ok(None) => return String::new(),
                    Err(error) => return error.to_string(),
                }
            }
        };
        assert_eq!(refusal(&format!("{HEADER}U1,x,,,,false\n")), "");
        let cut = refusal(&format!("{HEADER}U1,x,,,,false\nU2,y,,,,fal"));
        assert!(cut.starts_with("dims/dim_user/dim_user.csv, line 3: ") && cut.contains("cut short"), "{cut}");
        assert!(refusal(&format!("{HEADER},x,,,,false\n")).contains("line 2: user_id is empty"));
        assert!(refusal(&format!("{HEADER}U1,x\n")).contains("line 2: "));
    }
}
