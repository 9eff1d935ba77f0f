//! Local folders for what a run keeps only while it works: spills, downloads, DuckDB's temporary files. They lie in the
//! system's temporary folder, never in the output.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::StoreError;

/// What the names of these folders begin with.
const PREFIX: &str = "etl-scratch-";

/// The file whose lock tells that the process of a folder lives.
const LOCK: &str = "lock";

/// A folder that is removed when it is dropped. A process that was killed leaves its folder; the next run removes it.
#[derive(Debug)]
pub struct Scratch {
    folder: tempfile::TempDir,
    /// The kernel lets go of it when the process dies.
    _lock: File,
}

impl Scratch {
    /// A new folder, for this user alone.
    ///
    /// # Errors
    /// I/O errors.
    pub fn create() -> Result<Scratch, StoreError> {
        let parent = std::env::temp_dir();
        remove_abandoned(&parent);
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&parent);
        let folder = folder.map_err(StoreError::io("create a temporary folder in", &parent))?;
        let path = folder.path().join(LOCK);
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(StoreError::io("create", &path))?;
        lock.lock().map_err(StoreError::io("lock", &path))?;
        Ok(Scratch { folder, _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes the folders of processes that were killed. What can't be removed is left: it may be another user's.
fn remove_abandoned(parent: &Path) {
    for entry in parent.read_dir().into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && is_abandoned(&path) {
            tracing::debug!(path = %path.display(), "the scratch folder of a run that was killed is removed");
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// Whether nobody holds the lock of a folder. A young folder may be at its beginning: its lock comes a moment later.
fn is_abandoned(folder: &Path) -> bool {
    let age = fs::metadata(folder).and_then(|folder| folder.modified()).ok().and_then(|time| time.elapsed().ok());
    if age.is_none_or(|age| age < BEGINNING) {
        return false;
    }
    let path: PathBuf = folder.join(LOCK);
    match OpenOptions::new().write(true).open(path) {
        Ok(lock) => !matches!(lock.try_lock(), Err(TryLockError::WouldBlock | TryLockError::Error(_))),
        // Killed before it had a lock, or while it was being removed.
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// How long a folder may be without a lock.
const BEGINNING: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_abandoned_once_its_lock_is_free() {
        let scratch = Scratch::create().unwrap();
        assert!(!is_abandoned(scratch.path()));
        let age = |folder: &Path| {
            let folder = File::open(folder).unwrap();
            folder.set_modified(std::time::SystemTime::now() - 2 * BEGINNING).unwrap();
        };
        let left = tempfile::tempdir().unwrap();
        fs::write(left.path().join(LOCK), "").unwrap();
        assert!(!is_abandoned(left.path()), "it may be at its beginning");
        age(left.path());
        assert!(is_abandoned(left.path()));
        age(scratch.path());
        assert!(!is_abandoned(scratch.path()), "its owner lives");
        let path = scratch.path().to_owned();
        drop(scratch);
        assert!(!path.exists());
    }
}
