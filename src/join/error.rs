//! What is wrong with a dimension.

use std::path::PathBuf;

use polars::error::PolarsError;

/// What is wrong with a dimension.
#[derive(Debug, thiserror::Error)]
pub enum DimensionError {
    /// A stored dimension that does not read as what it should be. It is never overwritten.
    #[error("{}, line {line}: {detail}. Nothing was changed. Restore the file, or remove it: the next run with its source makes it anew", path.display())]
    Stored {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        detail: String,
    },
    /// A source in which no column holds the key.
    #[error("{source_name}: no column holds {key}: it has {found}, and one of {wanted} is needed")]
    NoKey {
        /// Which source.
        source_name: &'static str,
        /// The key.
        key: &'static str,
        /// The columns that it has.
        found: String,
        /// Those that would serve.
        wanted: String,
    },
    /// A column that the settings name and the dimension has not.
    #[error("{dimension} has no column `{column}`, which the settings name (`{setting}`)")]
    NoColumn {
        /// Which dimension.
        dimension: &'static str,
        /// The column.
        column: String,
        /// The setting.
        setting: &'static str,
    },
    /// A frame that Polars refuses.
    #[error("a frame could not be made: {0}")]
    Frame(#[from] PolarsError),
}
