//! Replaces single files, of an output or outside of one, such as the metrics file. Knows no journal: many files as one step are
//! `publish`'s.

use std::{fs, io::Write, os::unix::fs::PermissionsExt, path::Path};

use super::{StoreError, disk};

/// The mode of a new file, before the umask.
const NEW_FILE: u32 = 0o666;

/// Replaces a file so that a reader sees the old text or the new one, whole. A new file follows the umask; a file that exists
/// keeps its access, see [`disk::keep_access`].
///
/// # Errors
/// [`StoreError::Io`]; the file is then as before.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    replace_from(folder, path, bytes)
}

/// As [`replace_file`], with the new file staged in `folder`, on the same disk. It is durable; its entry in its folder is not yet.
pub(super) fn replace_from(folder: &Path, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    // A collector may read every `*.prom` of a folder: the staged file does not end so.
    let mut staged = tempfile::Builder::new()
        .prefix(".etl-")
        .suffix(".tmp")
        .permissions(fs::Permissions::from_mode(NEW_FILE))
        .tempfile_in(folder)
        .map_err(StoreError::io("create a file in", folder))?;
    staged.write_all(bytes).map_err(StoreError::io("write", path))?;
    disk::keep_access(staged.path(), path)?;
    staged.as_file().sync_all().map_err(StoreError::io("write", path))?;
    // `persist` makes the system call itself. The library's rename is the one that every other file of the store goes through.
    let staged = staged.into_temp_path();
    fs::rename(&staged, path).map_err(StoreError::io("put in place", path))?;
    staged.keep().map_err(|error| StoreError::io("put in place", path)(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_is_replaced_whole_and_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let (path, plain) = (dir.path().join("etl.prom"), dir.path().join("plain"));
        fs::write(&plain, "").unwrap();
        replace_file(&path, b"1\n").unwrap();
        assert_eq!((mode(&path), fs::read(&path).unwrap()), (mode(&plain), b"1\n".to_vec()), "a new file follows the umask");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        replace_file(&path, b"2\n").unwrap();
        assert_eq!((mode(&path), fs::read(&path).unwrap()), (0o640, b"2\n".to_vec()));
        assert_eq!(dir.path().read_dir().unwrap().count(), 2, "nothing else is left");
        assert!(replace_file(&dir.path().join("no/such/file"), b"").is_err());
    }
}
