//! A user's own checks: every `*.sql` of a folder, and the checks of columns that `etl.toml` declares.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    BUILTIN, CheckError, Severity, UNIT_SLIP, column_check,
    layer_tables::fact_columns,
    query_text::{QueryText, TextError},
};
use crate::{
    model::{FactSchema, Tolerance},
    settings::{CheckedTable, ColumnCheck},
};

/// A user's own check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CustomCheck {
    /// The name of its file without the ending, or that of its declaration.
    pub name: String,
    /// What a violation means.
    pub severity: Severity,
    /// How many violations it accepts.
    pub tolerance: Tolerance,
    /// What it looks for.
    pub body: CheckBody,
}

/// What a user's own check looks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CheckBody {
    /// Each row that a query returns is a violation.
    Query {
        /// Its file.
        path: PathBuf,
        /// The query.
        query: QueryText,
    },
    /// A rule of a column.
    Column(ColumnCheck),
}

/// The declared checks in their order, then those of the folder by name. A run loads them before it reads its source, so that a
/// mistake costs no extraction.
///
/// # Errors
/// [`CheckError::Folder`] for I/O errors. [`CheckError::Custom`] for a file that is not one query, a comment that sets a severity or
/// a maximum wrongly, a name that another check has, and values that do not fit a column of `fact_order`.
pub fn load_custom(folder: Option<&Path>, columns: &[ColumnCheck], schema: &FactSchema) -> Result<Vec<CustomCheck>, CheckError> {
    let declared = columns.iter().map(|column| CustomCheck {
        name: column.name.clone(),
        severity: column.severity,
        tolerance: column.tolerance,
        body: CheckBody::Column(column.clone()),
    });
    let mut checks: Vec<CustomCheck> = Vec::new();
    let files = folder.map(load_folder).transpose()?.unwrap_or_default();
    for check in declared.chain(files) {
        let mut builtin = BUILTIN.iter().map(|builtin| builtin.name).chain([UNIT_SLIP]);
        if builtin.any(|name| name == check.name) || checks.iter().any(|earlier| earlier.name == check.name) {
            return Err(check.error(None, format!("another check is named `{}`: choose another name", check.name)));
        }
        if let CheckBody::Column(declared) = &check.body
            && declared.table == CheckedTable::FactOrder
        {
            column_check::compile(&check, declared, &fact_columns(schema))?;
        }
        checks.push(check);
    }
    Ok(checks)
}

impl CustomCheck {
    /// An error about the check. Lines are those of its file; a declared check has a line of its own.
    pub(super) fn error(&self, line: Option<usize>, detail: impl Into<String>) -> CheckError {
        match &self.body {
            CheckBody::Query { path, .. } => query_error(path, TextError { line, detail: detail.into() }),
            CheckBody::Column(column) => {
                let place = &column.place;
                CheckError::Custom { file: place.file.to_string(), line: Some(place.line), detail: detail.into() }
            }
        }
    }

    /// Whether it depends on the window.
    pub fn names_window(&self) -> bool {
        matches!(&self.body, CheckBody::Query { query, .. } if query.names_window())
    }

    /// Where it is defined.
    pub fn origin(&self) -> String {
        match &self.body {
            CheckBody::Query { path, .. } => path.display().to_string(),
            CheckBody::Column(column) => column.place.to_string(),
        }
    }
}

fn query_error(path: &Path, error: TextError) -> CheckError {
    CheckError::Custom { file: path.display().to_string(), line: error.line, detail: error.detail }
}

fn load_folder(folder: &Path) -> Result<Vec<CustomCheck>, CheckError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |error: std::io::Error| CheckError::Folder { path, detail: error.to_string() }
    };
    let mut paths = Vec::new();
    for entry in folder.read_dir().map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        // A link that leads nowhere is a check that does not run: reading it fails, and says so.
        if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("sql")) {
            paths.push(path);
        }
    }
    paths.sort();
    let load = |path: PathBuf| {
        let text = fs::read_to_string(&path).map_err(unreadable(&path))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let head = Head::parse(&text).map_err(|error| query_error(&path, error))?;
        let query = QueryText::parse(&text).map_err(|error| query_error(&path, error))?;
        let (severity, tolerance) = (head.severity.unwrap_or_default(), head.tolerance.unwrap_or_default());
        Ok(CustomCheck { name, severity, tolerance, body: CheckBody::Query { path, query } })
    };
    paths.into_iter().map(load).collect()
}

/// What the comments before a query set.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Head {
    severity: Option<Severity>,
    tolerance: Option<Tolerance>,
}

impl Head {
    fn parse(text: &str) -> Result<Head, TextError> {
        let mut head = Head::default();
        let lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines().map(str::trim);
        for (line, comment) in (1..).zip(lines.take_while(|line| line.is_empty() || line.starts_with("--"))) {
            let Some((key, value)) = comment.trim_start_matches('-').split_once(':') else { continue };
            let (key, value) = (key.trim(), value.trim());
            let refused = |detail: String| TextError { line: Some(line), detail };
            let is_repeated = match key {
                "severity" => {
                    let severity =
                        value.parse().map_err(|_| refused(format!("`{value}`: write `-- severity: error` or `-- severity: warn`")))?;
                    head.severity.replace(severity).is_some()
                }
                "max" => {
                    let detail = || format!("`{value}`: write a number of violations, `-- max: 5`, or a share of all rows, `-- max: 0.1%`");
                    head.tolerance.replace(tolerance(value).ok_or_else(|| refused(detail()))?).is_some()
                }
                _ => false,
            };
            if is_repeated {
                return Err(refused(format!("`{key}` is set twice")));
            }
        }
        Ok(head)
    }
}

fn tolerance(value: &str) -> Option<Tolerance> {
    match value.strip_suffix('%') {
        Some(percent) => Tolerance::percent(percent.trim_end()),
        None => value.parse().ok().map(Tolerance::Rows),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_comments_before_a_query_set_its_severity_and_its_maximum() {
        let head = |text: &str| Head::parse(text).map(|head| (head.severity, head.tolerance));
        let permille = Tolerance::Share { billionths: 1_000_000 };
        assert_eq!(head("-- severity: warn\nSELECT 1"), Ok((Some(Severity::Warn), None)));
        assert_eq!(head("--severity:error\n\n-- why\n-- max: 0.1%\nSELECT 1"), Ok((Some(Severity::Error), Some(permille))));
        assert_eq!(head("-- max: 5\r\n-- severity: warn\r\nSELECT 1"), Ok((Some(Severity::Warn), Some(Tolerance::Rows(5)))));
        assert_eq!(head("-- maximum: 5\nSELECT 1"), Ok((None, None)));
        assert_eq!(head("SELECT 1\n-- severity: warn"), Ok((None, None)));
        for (text, line) in [
            ("-- severity: fatal\nSELECT 1", 1),
            ("-- why\n-- max: many", 2),
            ("-- max: 101%", 1),
            ("-- max: -1", 1),
            ("-- max: 1\n\n-- max: 1", 3),
        ] {
            assert_eq!(head(text).unwrap_err().line, Some(line), "{text}");
        }
    }

    #[test]
    fn only_sql_files_are_checks_and_no_name_stands_twice() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("b.sql"), "SELECT 1;\n").unwrap();
        fs::write(dir.path().join("a.sql"), "-- severity: warn\nSELECT 2").unwrap();
        fs::write(dir.path().join("notes.md"), "").unwrap();
        let checks = load_custom(Some(dir.path()), &[], &FactSchema::default()).unwrap();
        assert_eq!(
            checks.iter().map(|check| (check.name.as_str(), check.severity)).collect::<Vec<_>>(),
            [("a", Severity::Warn), ("b", Severity::Error)]
        );
        assert!(matches!(load_custom(Some(&dir.path().join("none")), &[], &FactSchema::default()), Err(CheckError::Folder { .. })));
        fs::write(dir.path().join("fact_line_total.sql"), "SELECT 1").unwrap();
        let error = load_custom(Some(dir.path()), &[], &FactSchema::default()).unwrap_err().to_string();
        assert!(error.ends_with("fact_line_total.sql: another check is named `fact_line_total`: choose another name"), "{error}");
    }
}
