//! What is wrong with the layer itself: exit 5.

use std::path::PathBuf;

use polars::error::PolarsError;

use crate::store::StoreError;

/// What is wrong with the layer, or what the disk refuses.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// A stored file that does not read as what it should be. It is never overwritten.
    #[error("{}, line {line}: {detail}. Nothing was changed. Restore the file, or remove it and load its day again", path.display())]
    Partition {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        detail: String,
    },
    /// A frame that Polars refuses.
    #[error("a frame could not be made: {0}")]
    Frame(#[from] PolarsError),
    /// What the disk refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A signal came.
    #[error("interrupted")]
    Interrupted,
}
