//! Local folders for what a run keeps only while it works: spills, downloads, DuckDB's temporary files. They lie in the
//! system's temporary folder, never in the output.

use std::{fs, path::Path};

use super::{StoreError, process};

/// What the names of these folders begin with; machine, process and its start follow.
const PREFIX: &str = "etl-scratch-";

/// A folder that is removed when it is dropped. A process that was killed leaves its folder; the next run removes it.
#[derive(Debug)]
pub struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    /// A new folder, for this user alone.
    ///
    /// # Errors
    /// I/O errors.
    pub fn create() -> Result<Scratch, StoreError> {
        Scratch::create_in(&std::env::temp_dir())
    }

    /// A new folder in this one.
    pub(super) fn create_in(parent: &Path) -> Result<Scratch, StoreError> {
        remove_abandoned(parent);
        let pid = std::process::id();
        let prefix = format!("{PREFIX}{}-{pid}-{}-", process::machine(), process::start_of(pid).unwrap_or_default());
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(parent);
        Ok(Scratch { folder: folder.map_err(StoreError::io("create a temporary folder in", parent))? })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes the folders of processes that were killed. What can't be removed is left: it may be another user's.
fn remove_abandoned(parent: &Path) {
    for entry in parent.read_dir().into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_abandoned) {
            tracing::debug!(path = %entry.path().display(), "the scratch folder of a run that was killed is removed");
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether a name is that of a folder whose process is dead. Only processes of this machine can be known to be.
fn is_abandoned(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else { return false };
    let mut parts = rest.split('-');
    let (Some(machine), Some(pid), Some(start)) = (parts.next(), parts.next(), parts.next()) else { return false };
    let Ok(pid) = pid.parse() else { return false };
    machine == process::machine() && process::start_of(pid).as_deref() != Some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_abandoned_once_its_process_is_dead() {
        let scratch = Scratch::create().unwrap();
        let name = scratch.path().file_name().unwrap().to_str().unwrap().to_owned();
        assert!(!is_abandoned(&name));
        let (machine, pid) = (process::machine(), std::process::id());
        assert!(is_abandoned(&format!("{PREFIX}{machine}-{pid}-1-x")), "another process of the same number");
        assert!(is_abandoned(&format!("{PREFIX}{machine}-4000000000-1-x")));
        assert!(!is_abandoned(&format!("{PREFIX}elsewhere-4000000000-1-x")) && !is_abandoned("etl-scratch-x") && !is_abandoned("other"));
        let path = scratch.path().to_owned();
        drop(scratch);
        assert!(!path.exists());
    }
}
