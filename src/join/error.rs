//! Errors of dimensions.

use std::path::PathBuf;

use polars::error::PolarsError;

use crate::model::counted;

/// Why a dimension can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DimensionError {
    /// A stored dimension that is damaged. It is never overwritten.
    #[error("{}, line {line}: {detail}. Nothing was changed. Restore the file, or remove it: the next run with its source creates it again", path.display())]
    Stored {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        detail: String,
    },
    /// A source without a column for the key.
    #[error("{source_name}: there is no column for {key}: the columns are {found}, and one of {wanted} is needed")]
    NoKey {
        /// The name of the source.
        source_name: &'static str,
        /// The key.
        key: &'static str,
        /// The columns of the source.
        found: String,
        /// The names that a column for the key may have.
        wanted: String,
    },
    /// Old versions of members, which `scd = 1` would remove.
    #[error("{dimension} keeps {} of members, and `scd = 1` removes them. Set `scd = 2` to keep them; `--drop-history` removes them", counted(*versions as u64, "old version"))]
    OldVersions {
        /// The name of the dimension.
        dimension: &'static str,
        /// The number of old versions.
        versions: usize,
    },
    /// A column that the settings name is not in the dimension.
    #[error("{dimension} has no column `{column}`, which the settings name (`{setting}`)")]
    NoColumn {
        /// The name of the dimension.
        dimension: &'static str,
        /// The column.
        column: String,
        /// The setting.
        setting: &'static str,
    },
    /// Polars can't create a frame.
    #[error("a frame could not be created: {0}")]
    Frame(#[from] PolarsError),
}
