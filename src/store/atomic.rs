//! Replaces single files, of an output or outside of one, such as the metrics file. Many files as one step are `publish`'s.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    time::Duration,
};

use tempfile::TempPath;

use super::{Content, StoreError, disk, process};

/// The mode of a new file, before the umask.
const NEW_FILE: u32 = 0o666;

/// Replaces a file so that a reader sees the old text or the new one, whole. A new file follows the umask; a file that exists
/// keeps its access, see [`disk::keep_access`].
///
/// # Errors
/// [`StoreError::Io`]; the file is then as before.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    put_in_place(stage_beside(path, Content::Bytes(bytes))?, path)
}

/// Replaces a file that holds a secret. A new one is its owner's alone; one that exists keeps its access.
///
/// # Errors
/// [`StoreError::Io`]; the file is then as before.
pub fn replace_secret(path: &Path, secret: &str) -> Result<(), StoreError> {
    let made = File::options().append(true).create(true).mode(0o600).open(path);
    made.map_err(StoreError::io("open", path))?;
    replace_file(path, secret.as_bytes())
}

/// What the names of staged files of this process begin with: it tells who is at work on them.
fn staged_prefix() -> String {
    format!("{STAGED}{}-{}-", process::machine(), std::process::id())
}

/// What the names of all staged files begin with.
const STAGED: &str = ".etl-";

/// A staged file of another machine is taken for abandoned after this long.
const ABANDONED_AFTER: Duration = Duration::from_secs(86_400);

/// Removes the staged files in a folder whose processes are dead. What can't be removed stays: it counts for nothing.
pub(super) fn remove_abandoned(folder: &Path) {
    for entry in folder.read_dir().into_iter().flatten().flatten() {
        let name = entry.file_name();
        if let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(STAGED)?.strip_suffix(".tmp"))
            && is_abandoned(rest, &entry)
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether nobody is at work on a staged file. `rest` is its name behind the prefix: machine, process, and random letters.
fn is_abandoned(rest: &str, entry: &fs::DirEntry) -> bool {
    let mut parts = rest.split('-');
    let (machine, process) = (parts.next(), parts.next().and_then(|pid| pid.parse().ok()));
    match process {
        Some(process) if machine == Some(process::machine().as_str()) => !process::is_running(process),
        _ => entry.metadata().and_then(|file| file.modified()).is_ok_and(|time| time.elapsed().is_ok_and(|age| age > ABANDONED_AFTER)),
    }
}

/// A file with this content in the folder of its place, with the access of the file that it replaces: durable, but for its name.
fn stage_beside(path: &Path, content: Content<'_>) -> Result<TempPath, StoreError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match stage_in(folder, path, content) {
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound && !folder.exists() => {
            Err(StoreError::MissingFolder { path: path.to_owned(), folder: folder.to_owned() })
        }
        staged => staged,
    }
}

/// As [`stage_beside`], in a folder of the same file system.
pub(super) fn stage_in(folder: &Path, path: &Path, content: Content<'_>) -> Result<TempPath, StoreError> {
    // A collector may read every `*.prom` of a folder: the staged file does not end so.
    let mut staged = tempfile::Builder::new()
        .prefix(&staged_prefix())
        .suffix(".tmp")
        .permissions(fs::Permissions::from_mode(NEW_FILE))
        .tempfile_in(folder)
        .map_err(|error| StoreError::io("create a file in", folder)(without_staged_name(error)))?;
    match content {
        Content::Bytes(bytes) => staged.write_all(bytes).map_err(StoreError::io("write", path))?,
        Content::File(from) => {
            let mut from = File::open(from).map_err(StoreError::io("open", from))?;
            io::copy(&mut from, staged.as_file_mut()).map_err(StoreError::io("write", path))?;
        }
    }
    disk::keep_access(staged.path(), path)?;
    staged.as_file().sync_all().map_err(StoreError::io("write", path))?;
    Ok(staged.into_temp_path())
}

/// The system's error alone: the name of a staged file says nothing to anybody.
fn without_staged_name(error: io::Error) -> io::Error {
    let text = error.to_string();
    match text.split_once(" at path ") {
        Some((cause, _)) => io::Error::new(error.kind(), cause),
        None => error,
    }
}

/// Renames a staged file to its place. The name is not durable yet.
pub(super) fn put_in_place(staged: TempPath, path: &Path) -> Result<(), StoreError> {
    // `persist` makes the system call itself. The library's rename is the one that every other file of the store goes through.
    fs::rename(&staged, path).map_err(StoreError::io("put in place", path))?;
    staged.keep().map(drop).map_err(|error| StoreError::io("put in place", path)(error.error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staged_files_of_dead_processes_are_removed_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let name = |machine: &str, pid: u32| format!("{STAGED}{machine}-{pid}-x.tmp");
        let own = process::machine();
        for name in [name(&own, std::process::id()), name(&own, 4_000_000_000), name("elsewhere", 1), "other.tmp".to_owned()] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        remove_abandoned(dir.path());
        let mut left: Vec<_> = dir.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        let mut expected = vec![name("elsewhere", 1), name(&own, std::process::id()), "other.tmp".to_owned()];
        expected.sort();
        assert_eq!(left, expected);
    }

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
        let refused = replace_file(&dir.path().join("no/such/file"), b"").unwrap_err().to_string();
        assert!(
            refused.contains("no/such/file: its folder") && refused.contains("does not exist") && !refused.contains(STAGED),
            "{refused}"
        );
    }
}
