//! Replaces single files outside of an output, such as the metrics file. Files of an output have `disk::replace`, which stages
//! beside them.

use std::{fs, io, io::Write, os::unix::fs::MetadataExt, os::unix::fs::PermissionsExt, path::Path};

/// The mode of a new file, before the umask.
const NEW_FILE: u32 = 0o666;

/// Replaces a file so that a reader sees the old text or the new one, whole. A new file follows the umask; a file that exists
/// keeps its mode, and its group where this user may set it.
///
/// # Errors
/// I/O errors; the file is then as before.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let before = fs::metadata(path).ok();
    // A collector may read every `*.prom` of the folder: the staged file does not end so.
    let mut staged =
        tempfile::Builder::new().prefix(".etl-").suffix(".tmp").permissions(fs::Permissions::from_mode(NEW_FILE)).tempfile_in(folder)?;
    staged.write_all(bytes)?;
    if let Some(before) = before {
        let group = rustix::fs::Gid::from_raw(before.gid());
        // Only members of a group may give it a file.
        let _ = rustix::fs::fchown(staged.as_file(), None, Some(group));
        staged.as_file().set_permissions(before.permissions())?;
    }
    staged.persist(path)?;
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
