//! The rows of a failing check as CSV: a header, RFC 4180, NULL as an empty unquoted field. Knows no SQL.

use std::{
    fs::{File, OpenOptions, create_dir_all},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use super::{CheckError, CheckResult, VIOLATION_ROWS};
use crate::{layer::write_text, net::redact};

/// How many rows a file still takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RowLimit(u64);

impl RowLimit {
    /// What the file of a result still takes: [`VIOLATION_ROWS`] less the rows that it has.
    pub(super) fn of(result: &CheckResult) -> RowLimit {
        RowLimit(VIOLATION_ROWS.saturating_sub(result.rows_kept.unwrap_or(0)))
    }

    /// The number of rows.
    pub(super) fn rows(self) -> u64 {
        self.0
    }
}

/// The file of a check's violating rows, while rows are added to it.
pub(super) struct ViolationFile {
    path: PathBuf,
    out: BufWriter<File>,
    line: Vec<u8>,
    limit: RowLimit,
    rows: u64,
}

impl ViolationFile {
    /// Opens the file of a check: a new one with a header, or the one that already has rows of this check.
    pub(super) fn open(folder: &Path, result: &CheckResult, columns: &[String], limit: RowLimit) -> Result<ViolationFile, CheckError> {
        let path = folder.join(result.file_name());
        let failed = |error| failed(&path, &error);
        create_dir_all(folder).map_err(failed)?;
        let is_new = result.rows_kept.is_none();
        let file = if is_new { File::create(&path) } else { OpenOptions::new().append(true).open(&path) };
        let mut file = ViolationFile { out: BufWriter::new(file.map_err(failed)?), path: path.clone(), line: Vec::new(), limit, rows: 0 };
        if is_new {
            file.write_line(columns.iter().map(|name| Some(name.as_str())))?;
        }
        Ok(file)
    }

    /// Adds a row, unless the file is full.
    pub(super) fn write<'v>(&mut self, values: impl Iterator<Item = Option<&'v str>>) -> Result<(), CheckError> {
        if self.rows == self.limit.rows() {
            return Ok(());
        }
        self.rows += 1;
        self.write_line(values)
    }

    fn write_line<'v>(&mut self, values: impl Iterator<Item = Option<&'v str>>) -> Result<(), CheckError> {
        self.line.clear();
        for (place, value) in values.enumerate() {
            if place > 0 {
                self.line.push(b',');
            }
            match value.map(redact::text).as_deref() {
                // An empty text is quoted, so that it is not NULL.
                Some("") => self.line.extend_from_slice(b"\"\""),
                text => write_text(&mut self.line, text),
            }
        }
        // A reader of CSV skips an empty line.
        if self.line.is_empty() {
            self.line.extend_from_slice(b"\"\"");
        }
        self.line.push(b'\n');
        self.out.write_all(&self.line).map_err(|error| failed(&self.path, &error))
    }

    /// Writes what is still in memory. Returns how many rows were added.
    pub(super) fn finish(mut self) -> Result<u64, CheckError> {
        self.out.flush().map_err(|error| failed(&self.path, &error))?;
        Ok(self.rows)
    }
}

fn failed(path: &Path, error: &io::Error) -> CheckError {
    CheckError::Violations { path: path.to_owned(), detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Severity;

    #[test]
    fn rows_are_quoted_where_needed_and_added_to_those_of_earlier_groups() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        let mut result = CheckResult::new("own", Severity::Error);
        let columns = ["a".to_owned(), "b,c".to_owned()];
        let mut file = ViolationFile::open(&folder, &result, &columns, RowLimit(3)).unwrap();
        file.write([Some("x \"y\""), None].into_iter()).unwrap();
        file.write([Some(""), Some("l1\nl2")].into_iter()).unwrap();
        result.rows_kept = Some(file.finish().unwrap());
        assert_eq!((result.rows_kept, RowLimit::of(&result)), (Some(2), RowLimit(VIOLATION_ROWS - 2)));
        let mut file = ViolationFile::open(&folder, &result, &columns, RowLimit(1)).unwrap();
        file.write([None].into_iter()).unwrap();
        file.write([Some("no room")].into_iter()).unwrap();
        assert_eq!(file.finish().unwrap(), 1);
        let text = std::fs::read_to_string(folder.join("own.csv")).unwrap();
        assert_eq!(text, "a,\"b,c\"\n\"x \"\"y\"\"\",\n\"\",\"l1\nl2\"\n\"\"\n");
    }
}
