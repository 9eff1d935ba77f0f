//! What a run adds to a folder before it writes anything there: folders, and the lock of the leases. A run that has
//! written nothing takes them back, so that a dry run leaves no folder behind. Removes empty folders only; knows
//! nothing of what a run writes.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::{Output, places};

/// The folders that a run makes before it reads its source.
pub(super) const PREPARED: [&str; 3] = [places::CURATED, places::STAGING, places::REPORTS];

/// What was missing in an output when a run began.
#[derive(Debug)]
pub struct NewPlaces {
    /// The output, if it is a folder in which something was missing.
    root: Option<PathBuf>,
    /// The missing ones of the folders that a run makes first.
    prepared: BTreeSet<PathBuf>,
    /// The missing folders above those, the deepest first.
    above: Vec<PathBuf>,
}

impl NewPlaces {
    /// Looks at what is missing. A bucket has no folders.
    pub fn of(output: &Output) -> NewPlaces {
        let Some(root) = output.folder() else { return NewPlaces { root: None, prepared: BTreeSet::new(), above: Vec::new() } };
        let made: Vec<PathBuf> = PREPARED.iter().chain([&places::LEASES]).map(|folder| root.join(folder)).collect();
        let prepared: BTreeSet<PathBuf> = made.iter().filter(|folder| is_missing(folder)).cloned().collect();
        let above = made.iter().flat_map(|folder| folder.ancestors().skip(1));
        // Sorted, a folder comes before what lies in it.
        let above: BTreeSet<&Path> = above.filter(|folder| !folder.as_os_str().is_empty() && is_missing(folder)).collect();
        let above = above.into_iter().rev().map(Path::to_owned).collect();
        NewPlaces { root: Some(root.to_owned()).filter(|_| !prepared.is_empty()), prepared, above }
    }

    /// Removes what was missing, unless something was written meanwhile, or another run is at work. What can't be
    /// removed stays.
    pub fn remove_unused(self) {
        let Some(root) = &self.root else { return };
        let lock_path = root.join(places::LEASES_LOCK);
        // Held until all is removed: no other run takes a lease meanwhile.
        let lock = File::open(&lock_path).ok();
        let is_free = lock.as_ref().is_none_or(|lock| lock.try_lock().is_ok());
        if !is_free || !self.is_unused(root) {
            return;
        }
        let removed = |folder: &PathBuf| match fs::remove_dir(folder) {
            Err(error) => error.kind() == io::ErrorKind::NotFound,
            Ok(()) => true,
        };
        // Of the leases first: who finds their lock gone makes both again.
        let leases = root.join(places::LEASES);
        let (of_leases, others): (Vec<_>, Vec<_>) = self.prepared.iter().partition(|folder| **folder == leases);
        if !of_leases.into_iter().chain(others).all(removed) {
            return;
        }
        if self.above.contains(&root.join(places::STATE)) {
            // Without it the folders above are not empty, and stay.
            let _ = fs::remove_file(&lock_path);
        }
        // Up to the first folder in which something lies.
        let _ = self.above.iter().all(removed);
    }

    /// Whether nothing lies in the new folders but the lock of the leases.
    fn is_unused(&self, root: &Path) -> bool {
        let state = root.join(places::STATE);
        let names = |folder: &Path| -> Vec<OsString> {
            fs::read_dir(folder).map(|entries| entries.flatten().map(|entry| entry.file_name()).collect()).unwrap_or_default()
        };
        let own = [places::STAGING, places::LEASES, places::LEASES_LOCK].map(|place| root.join(place));
        let holds_more = |folder: &Path| names(folder).into_iter().any(|name| !own.contains(&folder.join(name)));
        let is_state_new = self.above.contains(&state);
        self.prepared.iter().all(|folder| names(folder).is_empty()) && !(is_state_new && holds_more(&state))
    }
}

fn is_missing(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(folder: &Path) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for entry in fs::read_dir(folder).unwrap().flatten() {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
        found.sort_unstable();
        found
    }

    /// What a run makes before it reads its source.
    fn begin(root: &Path) -> NewPlaces {
        let output = Output::new(root.to_owned());
        let new = NewPlaces::of(&output);
        output.prepare().unwrap();
        fs::create_dir_all(root.join(places::LEASES)).unwrap();
        fs::write(root.join(places::LEASES_LOCK), "").unwrap();
        new
    }

    #[test]
    fn a_run_that_wrote_nothing_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        begin(&dir.path().join("above/output")).remove_unused();
        assert_eq!(found(dir.path()), Vec::<String>::new(), "neither the output nor the folder above it");
        fs::create_dir(dir.path().join("there")).unwrap();
        begin(&dir.path().join("there")).remove_unused();
        assert_eq!(found(&dir.path().join("there")), Vec::<String>::new());
        assert_eq!(found(dir.path()), ["there"], "what was there stays");
    }

    #[test]
    fn what_others_have_put_stays() {
        for other in ["notes.txt", "curated/notes.txt", "state/leases/r2", "state/lock", "reports/r1.json"] {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join("output");
            let new = begin(&root);
            fs::write(root.join(other), "").unwrap();
            new.remove_unused();
            assert!(root.join(other).exists(), "{other}");
        }
    }

    #[test]
    fn a_layer_that_was_there_keeps_its_lock() {
        let dir = tempfile::tempdir().unwrap();
        drop(begin(dir.path()));
        fs::remove_dir(dir.path().join(places::CURATED)).unwrap();
        begin(dir.path()).remove_unused();
        assert_eq!(found(dir.path()), ["reports", "state"]);
        assert!(dir.path().join(places::LEASES_LOCK).exists());
    }

    #[test]
    fn while_another_run_takes_a_lease_nothing_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("output");
        let new = begin(&root);
        let lock = File::open(root.join(places::LEASES_LOCK)).unwrap();
        lock.lock().unwrap();
        new.remove_unused();
        assert_eq!(found(&root), ["curated", "reports", "state"]);
    }
}
