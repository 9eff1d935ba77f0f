//! The rows of a failing check as CSV: a header, RFC 4180, NULL as an empty unquoted field. Knows no SQL.

use std::{
    fs::{File, OpenOptions, create_dir_all},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use super::{CheckError, CheckResult};

/// The file of a check's violating rows, while rows are added to it.
pub(super) struct ViolationFile {
    path: PathBuf,
    out: BufWriter<File>,
    line: Vec<u8>,
}

impl ViolationFile {
    /// Opens the file of a check: a new one with a header, or the one that already has rows of this check.
    pub(super) fn open(folder: &Path, result: &CheckResult, columns: &[String]) -> Result<ViolationFile, CheckError> {
        let path = folder.join(format!("{}.csv", result.name));
        let failed = |error| failed(&path, &error);
        create_dir_all(folder).map_err(failed)?;
        let is_new = result.rows_kept.is_none();
        let file = if is_new { File::create(&path) } else { OpenOptions::new().append(true).open(&path) };
        let mut file = ViolationFile { out: BufWriter::new(file.map_err(failed)?), path: path.clone(), line: Vec::new() };
        if is_new {
            file.write(columns.iter().map(|name| Some(name.as_str())))?;
        }
        Ok(file)
    }

    /// Adds a row.
    pub(super) fn write<'v>(&mut self, values: impl Iterator<Item = Option<&'v str>>) -> Result<(), CheckError> {
        self.line.clear();
        for (place, value) in values.enumerate() {
            if place > 0 {
                self.line.push(b',');
            }
            match value {
                Some(text) if text.is_empty() || text.contains(['"', ',', '\n', '\r']) => {
                    self.line.push(b'"');
                    self.line.extend_from_slice(text.replace('"', "\"\"").as_bytes());
                    self.line.push(b'"');
                }
                Some(text) => self.line.extend_from_slice(text.as_bytes()),
                None => {}
            }
        }
        // A reader of CSV skips an empty line.
        if self.line.is_empty() {
            self.line.extend_from_slice(b"\"\"");
        }
        self.line.push(b'\n');
        self.out.write_all(&self.line).map_err(|error| failed(&self.path, &error))
    }

    /// Writes what is still in memory.
    pub(super) fn finish(mut self) -> Result<(), CheckError> {
        self.out.flush().map_err(|error| failed(&self.path, &error))
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
        let mut file = ViolationFile::open(&folder, &result, &columns).unwrap();
        file.write([Some("x \"y\""), None].into_iter()).unwrap();
        file.write([Some(""), Some("l1\nl2")].into_iter()).unwrap();
        file.finish().unwrap();
        result.rows_kept = Some(2);
        let mut file = ViolationFile::open(&folder, &result, &columns).unwrap();
        file.write([None].into_iter()).unwrap();
        file.finish().unwrap();
        let text = std::fs::read_to_string(folder.join("own.csv")).unwrap();
        assert_eq!(text, "a,\"b,c\"\n\"x \"\"y\"\"\",\n\"\",\"l1\nl2\"\n\"\"\n");
    }
}
