//! A store in a local folder: whole and durable writes by rename, and puts that are refused where something is there.

use std::{
    fs::{self, File},
    io,
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use bytes::Bytes;

use super::{
    Key, StoreError, atomic, disk,
    object::{Condition, Content, Listed, Names, Object, PutError, Tag},
    places,
};
use crate::model::UtcMicros;

/// A folder as a store.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The store in this folder. Nothing is touched.
    pub fn new(root: PathBuf) -> Folder {
        Folder { root }
    }

    fn at(&self, key: &Key) -> PathBuf {
        self.root.join(key)
    }

    /// Whether the condition holds. Only a put that holds the lock of the folder may rely on it.
    fn holds(&self, place: &Path, condition: &Condition) -> Result<bool, StoreError> {
        Ok(match condition {
            Condition::Always => true,
            Condition::Absent => tag_of(place)?.is_none(),
            Condition::Is(tag) => tag_of(place)?.as_ref() == Some(tag),
        })
    }
}

/// Creates a folder and those above it, and makes their entries durable.
pub(super) fn create_durably(folder: &Path) -> Result<(), StoreError> {
    create_missing(folder)?.iter().try_for_each(|changed| disk::sync(changed))
}

/// Creates a folder and those above it. Returns the folders that have a new entry, which is not durable yet.
pub(super) fn create_missing(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let missing: Vec<_> = folder.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists()).collect();
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    disk::create_folder(folder)?;
    Ok(missing.iter().filter_map(|folder| folder.parent()).filter(|folder| folder.exists()).map(Path::to_owned).collect())
}

/// The version of a file: its inode, size and modification time.
fn tag_of(path: &Path) -> Result<Option<Tag>, StoreError> {
    match fs::metadata(path) {
        Ok(file) => Ok(Some(Tag(format!("{}-{}-{}.{}", file.ino(), file.len(), file.mtime(), file.mtime_nsec())))),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(StoreError::io("look at", path)(error)),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Renames a file to a place where nothing is. `false` if something is there.
fn rename_to_free_place(from: &Path, to: &Path) -> Result<bool, StoreError> {
    use rustix::{
        fs::{CWD, RenameFlags, renameat_with},
        io::Errno,
    };
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => return Ok(true),
        Err(Errno::EXIST) => return Ok(false),
        // A file system that does not know the flag: a second name is refused where something is, too.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        Err(error) => return Err(StoreError::io("put in place", to)(error.into())),
    }
    match fs::hard_link(from, to) {
        Ok(()) => Ok(fs::remove_file(from).is_ok() || !from.exists() || to.exists()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(StoreError::io("put in place", to)(error)),
    }
}

impl super::Store for Folder {
    fn location(&self) -> String {
        self.root.display().to_string()
    }

    fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        let path = self.at(key);
        let Some(tag) = tag_of(&path)? else { return Ok(None) };
        Ok(disk::read(&path)?.map(|bytes| Object { bytes: bytes.into(), tag }))
    }

    fn ranges(&self, key: &Key, ranges: &[Range<u64>]) -> Result<Option<Vec<Bytes>>, StoreError> {
        let path = self.at(key);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(StoreError::io("open", &path)(error)),
        };
        let part = |range: &Range<u64>| {
            let mut bytes = vec![0; usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0)];
            file.read_exact_at(&mut bytes, range.start).map_err(StoreError::io("read", &path))?;
            Ok(Bytes::from(bytes))
        };
        ranges.iter().map(part).collect::<Result<_, _>>().map(Some)
    }

    fn list(&self, prefix: &Key) -> Result<Vec<Listed>, StoreError> {
        let mut found = Vec::new();
        let mut folders = vec![self.at(prefix)];
        while let Some(folder) = folders.pop() {
            for entry in entries(&folder)? {
                let path = entry.path();
                let metadata = match fs::metadata(&path) {
                    Ok(metadata) => metadata,
                    Err(error) if is_missing(&error) => continue,
                    Err(error) => return Err(StoreError::io("look at", &path)(error)),
                };
                if metadata.is_dir() {
                    folders.push(path);
                    continue;
                }
                let since_epoch = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
                let modified = i64::try_from(since_epoch.as_micros()).ok().and_then(UtcMicros::new).unwrap_or(UtcMicros::MIN);
                let key = Key::new(path.strip_prefix(&self.root).unwrap_or(&path).to_string_lossy());
                found.push(Listed { key, bytes: metadata.len(), modified });
            }
        }
        found.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(found)
    }

    fn names(&self, prefix: &Key) -> Result<Names, StoreError> {
        let mut names = Names::default();
        for entry in entries(&self.at(prefix))? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            let is_folder = match fs::metadata(&path) {
                Ok(metadata) => metadata.is_dir(),
                // A link to nothing.
                Err(error) if is_missing(&error) => false,
                Err(error) => return Err(StoreError::io("look at", &path)(error)),
            };
            if is_folder { names.folders.push(name) } else { names.objects.push(name) }
        }
        names.folders.sort_unstable();
        names.objects.sort_unstable();
        Ok(names)
    }

    fn put(&self, key: &Key, content: Content<'_>, condition: &Condition) -> Result<Tag, PutError> {
        let place = self.at(key);
        let folder = place.parent().unwrap_or(&self.root);
        create_durably(folder)?;
        // Who lists the commits finds nothing else.
        let beside = if key.as_str().starts_with(places::COMMITS) { self.root.join(places::STATE) } else { folder.to_owned() };
        let staged = atomic::stage_in(&beside, &place, content)?;
        if *condition == Condition::Absent {
            if !rename_to_free_place(&staged, &place)? {
                return Err(PutError::Conflict);
            }
            // The name is gone: nothing is left to be removed.
            let _ = staged.keep();
        } else {
            // Writers of one folder agree by its lock; who only replaces needs none.
            let folder = place.parent().unwrap_or(&self.root).to_owned();
            let lock = File::open(&folder).map_err(StoreError::io("open", &folder))?;
            if *condition != Condition::Always {
                lock.lock().map_err(StoreError::io("lock", &folder))?;
            }
            if !self.holds(&place, condition)? {
                return Err(PutError::Conflict);
            }
            atomic::put_in_place(staged, &place)?;
        }
        disk::sync_parent(&place)?;
        Ok(tag_of(&place)?.unwrap_or(Tag(String::new())))
    }

    fn delete(&self, key: &Key, condition: &Condition) -> Result<(), PutError> {
        let place = self.at(key);
        if !self.holds(&place, condition)? {
            return Err(PutError::Conflict);
        }
        disk::remove_file(&place)?;
        if let Some(folder) = place.parent().filter(|folder| folder.exists()) {
            disk::sync(folder)?;
        }
        Ok(())
    }
}

/// The entries of a folder; none where there is no folder.
pub(super) fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>, StoreError> {
    match folder.read_dir() {
        Ok(entries) => entries.map(|entry| entry.map_err(StoreError::io("list", folder))).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(StoreError::io("list", folder)(error)),
    }
}
