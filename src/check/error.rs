//! Errors that keep the checks from running.

use std::path::PathBuf;

/// What keeps the checks from running. A violation is a result, not an error.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// A user's own check that can't be used.
    #[error("{file}{}: {detail}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Custom {
        /// Its file.
        file: String,
        /// The line, counted from 1.
        line: Option<usize>,
        /// The mistake, or DuckDB's words.
        detail: String,
    },
    /// The folder of checks can't be read.
    #[error("{}: can't read the checks: {detail}", path.display())]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// The I/O error.
        detail: String,
    },
    /// A file of the layer that DuckDB can't read.
    #[error("can't check the layer: {doing}: {detail}")]
    Layer {
        /// What was read or asked.
        doing: String,
        /// DuckDB's words.
        detail: String,
    },
    /// A value that DuckDB can't compute with, or a query that it does not know: the checks are at fault, and not the
    /// files.
    #[error("can't compute a check: {doing}: {detail}")]
    Query {
        /// What was asked.
        doing: String,
        /// DuckDB's words.
        detail: String,
    },
    /// The violating rows can't be written.
    #[error("{}: can't write the violating rows: {detail}", path.display())]
    Violations {
        /// The file or folder.
        path: PathBuf,
        /// The I/O error.
        detail: String,
    },
    /// DuckDB can't be started.
    #[error("DuckDB can't be started: {0}")]
    Engine(String),
    /// A signal came.
    #[error("interrupted")]
    Interrupted,
}
