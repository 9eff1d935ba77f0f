//! Leases in a folder: a lease is a locked file that names its holder. The kernel lets go of it when the process dies,
//! however it dies.
//!
//! Takes leases, and tells which of them are held. Knows no commit: in a folder a lease says nothing of what was
//! installed.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::MetadataExt,
    path::Path,
    time::UNIX_EPOCH,
};

use super::{Attempt, Holder, LeaseKind, Scope};
use crate::{
    model::UtcMicros,
    store::{StoreError, folder::create_durably, places},
};

/// Takes a lease in a folder, unless a living run holds days in common. The lock of the list is held meanwhile.
pub(super) fn try_take(root: &Path, holder: &Holder) -> Result<Attempt, StoreError> {
    let _lock = lock_list(root)?;
    create_durably(&root.join(places::LEASES))?;
    if let Some(other) = living(root)?.into_iter().find(|other| other.run_id != holder.run_id && other.scope.overlaps(&holder.scope)) {
        return Ok(Attempt::Held(other));
    }
    let path = root.join(places::lease(&holder.run_id));
    let mut file = open_lock(&path)?;
    file.lock().map_err(StoreError::io("lock", &path))?;
    write_holder(&mut file, holder).map_err(StoreError::io("write", &path))?;
    Ok(Attempt::Had(LeaseKind::Folder { file, path }))
}

/// The lock of the list of leases. A run that has written nothing removes it with its folder: then both are made again.
fn lock_list(root: &Path) -> Result<File, StoreError> {
    const TRIES: usize = 100;
    let path = root.join(places::LEASES_LOCK);
    for _ in 0..TRIES {
        create_durably(&root.join(places::STATE))?;
        let lock = match open_lock(&path) {
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        lock.lock().map_err(StoreError::io("lock", &path))?;
        if is_at(&lock, &path) {
            return Ok(lock);
        }
    }
    Err(StoreError::StateRemoved { path })
}

/// Whether an open file still lies at a path.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let is_same = |held: &fs::Metadata| fs::metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (held.dev(), held.ino()));
    file.metadata().is_ok_and(|held| is_same(&held))
}

fn open_lock(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(StoreError::io("open", path))
}

/// The holders of the leases in a folder whose processes live. Leases of dead ones are removed.
pub(super) fn living(root: &Path) -> Result<Vec<Holder>, StoreError> {
    let folder = root.join(places::LEASES);
    let entries = match folder.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("list", &folder)(error)),
    };
    let mut holders = Vec::new();
    for entry in entries {
        let path = entry.map_err(StoreError::io("list", &folder))?.path();
        match look(&path)? {
            Looked::Gone => {}
            Looked::Alive(holder) => holders.push(holder),
            Looked::Dead => {
                // Another user's file may stay: it is not locked, and counts for nothing.
                let _ = fs::remove_file(&path);
            }
        }
    }
    Ok(holders)
}

enum Looked {
    Gone,
    Dead,
    Alive(Holder),
}

/// Whether the run of a lease lives. A shared lock: several commands may look at once.
fn look(path: &Path) -> Result<Looked, StoreError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Looked::Gone),
        Err(error) => return Err(StoreError::io("open", path)(error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Looked::Dead),
        Err(TryLockError::WouldBlock) => Ok(Looked::Alive(holder_of(&mut file, path))),
        Err(TryLockError::Error(error)) => Err(StoreError::io("lock", path)(error)),
    }
}

/// Whether the run of this name has a lease in a folder, and lives.
pub(in crate::store) fn lives(root: &Path, run_id: &str) -> bool {
    matches!(look(&root.join(places::lease(run_id))), Ok(Looked::Alive(_)))
}

/// The holder of a file that is locked. One that has not written its name holds everything at the latest since the file was written.
fn holder_of(file: &mut File, path: &Path) -> Holder {
    let run_id = path.file_stem().map_or("unknown".to_owned(), |name| name.to_string_lossy().into_owned());
    let unknown = |file: &File| {
        let written = file.metadata().and_then(|metadata| metadata.modified()).ok();
        let micros = written.and_then(|time| i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok());
        let since = micros.and_then(UtcMicros::new).unwrap_or_else(UtcMicros::now);
        Holder { run_id, pid: 0, host: "unknown".to_owned(), since: since.rfc3339(), scope: Scope::default() }
    };
    read_holder(file).unwrap_or_else(|_| unknown(file))
}

fn read_holder(file: &mut File) -> io::Result<Holder> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

fn write_holder(file: &mut File, holder: &Holder) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&serde_json::to_vec(holder)?)
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;
    use crate::store::{
        Lease, LockError, Output,
        lease::tests::{acquire, holder},
    };

    #[test]
    fn the_second_is_told_who_the_first_is_and_gets_it_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::new(dir.path().to_owned());
        let first = acquire(&output, &holder("one", None, None), Duration::ZERO).unwrap();
        let error = acquire(&output, &holder("two", None, None), Duration::ZERO).unwrap_err();
        assert!(error.to_string().contains("run one (process 7 on here, since 2026-01-01T00:00:00Z)"), "{error}");
        let waiting =
            thread::spawn(move || acquire(&output, &holder("two", None, None), Duration::from_secs(10)).map(|lease| lease.has_waited()));
        thread::sleep(Duration::from_millis(150));
        drop(first);
        assert!(waiting.join().unwrap().unwrap());
    }

    #[test]
    fn disjoint_days_are_held_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::new(dir.path().to_owned());
        let _first = acquire(&output, &holder("one", Some("2026-01-01"), Some("2026-01-08")), Duration::ZERO).unwrap();
        let _second = acquire(&output, &holder("two", Some("2026-01-08"), Some("2026-01-15")), Duration::ZERO).unwrap();
        let third = acquire(&output, &holder("three", Some("2026-01-14"), None), Duration::ZERO);
        assert!(matches!(third, Err(LockError::Held { holder: Some(holder), .. }) if holder.run_id == "two"));
        assert_eq!(Lease::listed(&output).unwrap().len(), 2);
    }

    #[test]
    fn the_holder_is_named_only_while_it_holds_the_output() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::new(dir.path().to_owned());
        assert_eq!(Lease::listed(&output).unwrap(), [], "no run has ever been here");
        let lease = acquire(&output, &holder("one", None, None), Duration::ZERO).unwrap();
        assert_eq!(Lease::at_work(&output).unwrap(), Some(holder("one", None, None)));
        fs::write(output.at(places::lease("one")), "{").unwrap();
        let unknown = Lease::at_work(&output).unwrap().unwrap();
        assert_eq!((unknown.run_id.as_str(), unknown.pid), ("one", 0), "a holder without a name holds it all the same");
        drop(lease);
        assert_eq!(Lease::listed(&output).unwrap(), []);
        assert!(acquire(&output, &holder("two", None, None), Duration::ZERO).is_ok());
    }

    #[test]
    fn a_lease_whose_file_was_removed_is_not_held_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::new(dir.path().to_owned());
        let lease = acquire(&output, &holder("one", None, None), Duration::ZERO).unwrap();
        assert!(lease.verify().is_ok());
        fs::remove_dir_all(output.at(places::STATE)).unwrap();
        assert!(matches!(lease.verify(), Err(StoreError::StateRemoved { .. })));
        let _second = acquire(&output, &holder("one", None, None), Duration::ZERO).unwrap();
        assert!(lease.verify().is_err(), "another file of the same name");
    }
}
