//! Single files: whole writes, whole reads, checksums, and fsync where it counts.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{StoreError, acl};

/// What tells whether a file is still the one that was published.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileStamp {
    /// Its size.
    pub bytes: u64,
    /// Its modification time, in nanoseconds since the epoch.
    pub modified_ns: u64,
    /// XXH3 of its content, in hex.
    pub checksum: String,
}

impl FileStamp {
    /// Whether size and time are those of the stamp: enough not to read the file.
    pub fn looks_like(&self, bytes: u64, modified_ns: u64) -> bool {
        self.bytes == bytes && self.modified_ns == modified_ns
    }
}

/// Size and checksum of a content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fingerprint {
    /// Its size.
    pub bytes: u64,
    /// XXH3 of it, in hex.
    pub checksum: String,
}

impl Fingerprint {
    /// That of a content.
    pub fn of(content: &[u8]) -> Fingerprint {
        Fingerprint { bytes: content.len() as u64, checksum: checksum(content) }
    }
}

/// XXH3 of some bytes, in hex.
pub(super) fn checksum(bytes: &[u8]) -> String {
    checksum_text(xxh3_64(bytes))
}

/// A checksum in hex.
pub(super) fn checksum_text(checksum: u64) -> String {
    format!("{checksum:016x}")
}

/// Size and modification time of a file; `None` where there is none.
pub(crate) fn size_and_time(path: &Path) -> Result<Option<(u64, u64)>, StoreError> {
    match fs::metadata(path) {
        Ok(metadata) => {
            let since_epoch = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
            Ok(Some((metadata.len(), u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("look at", path)(error)),
    }
}

/// What the disk says of a file or folder; `None` where there is none.
fn metadata_of(path: &Path) -> Result<Option<fs::Metadata>, StoreError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(StoreError::io("look at", path)(error)),
    }
}

/// Whether there is a file or folder. One that can't be looked at is an error, and not a missing one.
pub(crate) fn exists(path: &Path) -> Result<bool, StoreError> {
    Ok(metadata_of(path)?.is_some())
}

/// A file's content; `None` where there is none.
///
/// # Errors
/// [`StoreError::Io`].
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("read", path)(error)),
    }
}

/// A file, to be read; `None` where there is none.
///
/// # Errors
/// [`StoreError::Io`].
pub fn open_file(path: &Path) -> Result<Option<File>, StoreError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("read", path)(error)),
    }
}

/// Creates a folder and those above it.
pub(crate) fn create_folder(path: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(path).map_err(StoreError::io("create the folder", path))
}

/// Writes a file that no reader looks at yet. It is durable only after [`sync`].
pub(crate) fn write_staged(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    if let Some(folder) = path.parent() {
        create_folder(folder)?;
    }
    fs::write(path, bytes).map_err(StoreError::io("write", path))
}

/// Makes a file's content, or a folder's entries, durable.
pub(crate) fn sync(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(StoreError::io("sync", path))
}

/// Makes the entry of a file in its folder durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), StoreError> {
    path.parent().map_or(Ok(()), sync)
}

/// Gives a staged file the mode, group and owner of the file that it will replace, as far as this user may. A new file follows the
/// umask, and the group of a folder that hands its group on (setgid).
///
/// # Errors
/// [`StoreError::Io`].
pub(crate) fn keep_access(staged: &Path, place: &Path) -> Result<(), StoreError> {
    const SETGID: u32 = 0o2000;
    const PERMISSIONS: u32 = 0o7777;
    let failed = || StoreError::io("set the permissions of", staged);
    let now = fs::metadata(staged).map_err(failed())?;
    let set_group = |owner: Option<u32>, group: u32| {
        // Only a member of a group may give it a file, and only root may give files away.
        let given = std::os::unix::fs::chown(staged, owner, Some(group));
        if let Err(error) = given.or_else(|_| std::os::unix::fs::chown(staged, None, Some(group))) {
            tracing::debug!(path = %place.display(), %error, "the group of the file can't be kept");
        }
    };
    let Some(before) = metadata_of(place)? else {
        acl::inherit(staged, place);
        // The folder of a new partition does not exist yet: it takes its group from the one above.
        let folder = place.ancestors().skip(1).find_map(|folder| fs::metadata(folder).ok());
        // The folder in which the file was staged may hand on a group of its own.
        let inherited = folder.filter(|folder| folder.mode() & SETGID != 0).map(|folder| folder.gid());
        let group = inherited.or_else(|| fs::metadata("/proc/self").ok().map(|process| process.gid()));
        if let Some(group) = group.filter(|group| *group != now.gid()) {
            set_group(None, group);
        }
        return Ok(());
    };
    if (before.uid(), before.gid()) != (now.uid(), now.gid()) {
        set_group(Some(before.uid()), before.gid());
    }
    if before.mode() & PERMISSIONS != now.mode() & PERMISSIONS {
        fs::set_permissions(staged, fs::Permissions::from_mode(before.mode() & PERMISSIONS)).map_err(failed())?;
    }
    acl::keep(staged, place);
    Ok(())
}

/// The file system of a path; `None` where there is nothing.
pub(crate) fn device(path: &Path) -> Result<Option<u64>, StoreError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.dev())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("look at", path)(error)),
    }
}

/// Whether two paths are names of one file.
pub(crate) fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    identity(one).is_some_and(|one| identity(other) == Some(one))
}

/// Gives a file a second name, in place of a file of that name. Where the file system has no second names, or refuses them for this
/// file (another owner), it becomes a durable copy with the same time.
///
/// # Errors
/// [`StoreError::Io`].
pub(crate) fn second_name(file: &Path, name: &Path) -> Result<(), StoreError> {
    match fs::hard_link(file, name) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            remove_file(name)?;
            if fs::hard_link(file, name).is_ok() {
                return Ok(());
            }
        }
        Err(_) => {}
    }
    let copied = || {
        fs::copy(file, name)?;
        let copy = File::options().write(true).open(name)?;
        copy.set_modified(fs::metadata(file)?.modified()?)?;
        copy.sync_all()
    };
    copied().map_err(StoreError::io("keep a copy at", name))
}

/// Whether this process may create, replace and remove entries of a folder.
pub(crate) fn is_writable(folder: &Path) -> Result<(), StoreError> {
    use rustix::fs::{Access, access};
    access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| StoreError::io("write to the folder", folder)(error.into()))
}

/// The bytes that this user may still write where a file or folder lies.
///
/// # Errors
/// [`StoreError::Io`].
pub fn free_space(path: &Path) -> Result<u64, StoreError> {
    let found = rustix::fs::statvfs(path).map_err(|error| StoreError::io("look at the disk of", path)(error.into()))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Removes a file. A missing file is not an error.
///
/// # Errors
/// [`StoreError::Io`].
pub fn remove_file(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes a file, or a folder with its content. A missing one is not an error.
///
/// # Errors
/// [`StoreError::Io`].
pub fn remove(path: &Path) -> Result<(), StoreError> {
    // A link to a folder is removed as what it is: nothing behind it is this tool's.
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) { remove_folder(path) } else { remove_file(path) }
}

/// Removes a folder with its content. A missing folder is not an error.
pub(crate) fn remove_folder(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_looked_at_is_an_error_and_not_missing() {
        let dir = tempfile::tempdir().unwrap();
        let (file, unseen) = (dir.path().join("file"), dir.path().join("loop"));
        fs::write(&file, "here").unwrap();
        // A link to itself can't be followed, whoever the user is.
        std::os::unix::fs::symlink(&unseen, &unseen).unwrap();
        assert!(exists(&file).unwrap() && exists(dir.path()).unwrap());
        assert!(!exists(&dir.path().join("none")).unwrap() && !exists(&file.join("below")).unwrap());
        let error = exists(&unseen).unwrap_err().to_string();
        assert!(error.contains(&unseen.display().to_string()), "{error}");
        assert!(keep_access(&file, &unseen).is_err());
    }
}
