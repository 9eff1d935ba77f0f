//! What keeps the checks themselves from running.

use std::path::PathBuf;

/// What keeps the checks from running. A check that runs and finds something is no error.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// A user's own check that DuckDB refuses.
    #[error("{}: the query does not run: {detail}", path.display())]
    Custom {
        /// Its file.
        path: PathBuf,
        /// DuckDB's words.
        detail: String,
    },
    /// The folder of checks can't be read.
    #[error("{}: the checks there can't be read: {detail}", path.display())]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// A file of the layer that DuckDB can't read as what it should be.
    #[error("the layer does not read as it should, while {doing}: {detail}")]
    Layer {
        /// What was being read or asked.
        doing: String,
        /// DuckDB's words.
        detail: String,
    },
    /// DuckDB can't be started.
    #[error("DuckDB can't be started: {0}")]
    Engine(String),
    /// A signal came.
    #[error("interrupted")]
    Interrupted,
}
