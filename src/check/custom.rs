//! A user's own checks: every `*.sql` of a folder; each row that the query returns is a violation.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{CheckError, Severity};

/// A user's own check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CustomCheck {
    /// The file's name without its ending.
    pub name: String,
    /// `error`, unless its first line is `-- severity: warn`.
    pub severity: Severity,
    /// The query.
    pub sql: String,
    /// The file.
    pub path: PathBuf,
}

/// The checks of a folder, by name.
///
/// # Errors
/// [`CheckError::Folder`] where the folder or a file can't be read; a severity that is neither `error` nor `warn`.
pub fn load_custom(folder: &Path) -> Result<Vec<CustomCheck>, CheckError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |error: std::io::Error| CheckError::Folder { path, detail: error.to_string() }
    };
    let mut paths = Vec::new();
    for entry in folder.read_dir().map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        if path.extension().is_some_and(|ending| ending == "sql") && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let sql = fs::read_to_string(&path).map_err(unreadable(&path))?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let severity = severity(&sql).map_err(|detail| CheckError::Folder { path: path.clone(), detail })?;
            Ok(CustomCheck { name, severity, sql: sql.trim_end().trim_end_matches(';').to_owned(), path })
        })
        .collect()
}

fn severity(sql: &str) -> Result<Severity, String> {
    let first = sql.lines().next().unwrap_or_default().trim();
    let Some(value) = first.strip_prefix("--").and_then(|comment| comment.trim().strip_prefix("severity:")) else {
        return Ok(Severity::Error);
    };
    match value.trim() {
        "error" => Ok(Severity::Error),
        "warn" => Ok(Severity::Warn),
        other => Err(format!("`{other}` is no severity: write `-- severity: warn` or `-- severity: error`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_softens_a_check() {
        assert_eq!(severity("-- severity: warn\nSELECT 1"), Ok(Severity::Warn));
        assert_eq!(severity("--severity:error\nSELECT 1"), Ok(Severity::Error));
        assert_eq!(severity("-- about something\nSELECT 1"), Ok(Severity::Error));
        assert_eq!(severity("SELECT 1\n-- severity: warn"), Ok(Severity::Error));
        assert!(severity("-- severity: fatal\nSELECT 1").is_err());
    }

    #[test]
    fn only_sql_files_are_checks_and_they_lose_their_semicolon() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("b.sql"), "SELECT 1;\n").unwrap();
        fs::write(dir.path().join("a.sql"), "-- severity: warn\nSELECT 2").unwrap();
        fs::write(dir.path().join("notes.md"), "").unwrap();
        let checks = load_custom(dir.path()).unwrap();
        assert_eq!(
            checks.iter().map(|check| (check.name.as_str(), check.severity)).collect::<Vec<_>>(),
            [("a", Severity::Warn), ("b", Severity::Error)]
        );
        assert_eq!(checks[1].sql, "SELECT 1");
        assert!(matches!(load_custom(&dir.path().join("none")), Err(CheckError::Folder { .. })));
    }
}
