//! Whether a layer stands at an output. A command that only reads or changes a layer makes none: it says where none stands. Changes
//! nothing.

use super::{RequestError, RunError};
use crate::store::{Holder, Lease, Output, StoreError, places};

/// Whether a run has written to the output before, even one that has failed.
///
/// # Errors
/// I/O errors (exit 5).
pub fn has_layer(output: &Output) -> Result<bool, StoreError> {
    if let Some(folder) = output.folder() {
        return Ok(places::FOLDERS.iter().any(|name| folder.join(name).is_dir()));
    }
    for folder in [places::STATE, places::REPORTS, places::CURATED] {
        if !output.names(folder)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Fails where no layer stands: the name of the output is most likely mistyped.
///
/// # Errors
/// [`RequestError::NoLayer`] (exit 2); I/O errors (exit 5).
pub fn require_layer(output: &Output) -> Result<(), RunError> {
    if has_layer(output)? { Ok(()) } else { Err(RequestError::NoLayer(output.location()).into()) }
}

/// Warns where no layer stands, for an answer in JSON: its empty list looks the same for a layer without runs.
///
/// # Errors
/// I/O errors (exit 5).
pub fn warn_without_layer(output: &Output) -> Result<(), StoreError> {
    if !has_layer(output)? {
        tracing::warn!("{}", RequestError::NoLayer(output.location()));
    }
    Ok(())
}

/// The error of an output without a commit: a run that is at work there may bring the first one.
///
/// # Errors
/// I/O errors (exit 5).
pub(super) fn nothing_to_check(output: &Output) -> Result<RequestError, StoreError> {
    Ok(match Lease::at_work(output)? {
        Some(Holder { run_id, pid, host, .. }) => RequestError::NoLayerYet { output: output.location(), run_id, pid, host },
        None => RequestError::NothingToCheck(output.location()),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_layer_stands_where_a_run_has_written_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let stands = |name: &str| has_layer(&Output::new(folder.path().join(name))).unwrap();
        fs::create_dir_all(folder.path().join("other/notes")).unwrap();
        assert!(!stands("none") && !stands("other"));
        for (name, place) in [("failed", places::REPORTS), ("by_hand", places::CURATED), ("cut_off", places::STATE)] {
            fs::create_dir_all(folder.path().join(name).join(place)).unwrap();
            assert!(stands(name), "{name}");
        }
    }
}
