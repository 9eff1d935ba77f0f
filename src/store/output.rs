//! An output: the store that holds a layer, and local copies of its objects for whoever reads files. The places beneath it are
//! named in [`super::places`].

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use super::{
    Bucket, Condition, Content, Folder, Inlined, Key, ObjectRef, PutError, Scratch, Store, StoreError, disk,
    new_places::PREPARED,
    object::{Listed, Object},
    places,
};
use crate::settings::{OutputLocation, StorageSettings};

/// How many objects are fetched or put at once.
pub(super) const AT_ONCE: usize = 8;

/// An output.
#[derive(Clone, Debug)]
pub struct Output {
    store: Arc<dyn Store>,
    /// The folder itself, or the folder of local copies.
    local: Arc<LocalFolder>,
}

/// Where the files of an output are for who reads files.
#[derive(Debug)]
enum LocalFolder {
    /// The output is this folder.
    Output(PathBuf),
    /// The output is a bucket: copies of its objects lie here until the process ends.
    Copies(Scratch),
}

impl LocalFolder {
    fn path(&self) -> &Path {
        match self {
            LocalFolder::Output(folder) => folder,
            LocalFolder::Copies(folder) => folder.path(),
        }
    }
}

impl Output {
    /// The output in a folder; nothing is touched.
    pub fn new(root: PathBuf) -> Output {
        Output { store: Arc::new(Folder::new(root.clone())), local: Arc::new(LocalFolder::Output(root)) }
    }

    /// The output at a location. Nothing is read.
    ///
    /// # Errors
    /// Settings that the store refuses; no folder for local copies (exit 5).
    pub fn open(location: &OutputLocation) -> Result<Output, StoreError> {
        match location {
            OutputLocation::Folder(folder) => Ok(Output::new(folder.clone())),
            OutputLocation::Bucket(storage) => Output::in_bucket(storage),
        }
    }

    fn in_bucket(storage: &StorageSettings) -> Result<Output, StoreError> {
        Output::in_store(Arc::new(Bucket::open(storage)?))
    }

    /// The output in any store, with local copies in a temporary folder.
    ///
    /// # Errors
    /// No folder for local copies (exit 5).
    pub fn in_store(store: Arc<dyn Store>) -> Result<Output, StoreError> {
        Ok(Output::with_copies(store, Scratch::create()?))
    }

    /// The output in any store, with local copies in this folder.
    pub(super) fn with_copies(store: Arc<dyn Store>, copies: Scratch) -> Output {
        Output { store, local: Arc::new(LocalFolder::Copies(copies)) }
    }

    /// The store of the objects.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The folder of the output; `None` if it is a bucket.
    pub fn folder(&self) -> Option<&Path> {
        match &*self.local {
            LocalFolder::Output(folder) => Some(folder),
            LocalFolder::Copies(_) => None,
        }
    }

    /// Where the output is, for messages: a path or a URL.
    pub fn location(&self) -> String {
        self.store.location()
    }

    /// The local folder: that of the output, or that of its local copies.
    pub fn root(&self) -> &Path {
        self.local.path()
    }

    /// The local path of a key.
    pub fn at(&self, key: impl AsRef<Path>) -> PathBuf {
        self.root().join(key)
    }

    /// Creates the folders that every run needs.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn prepare(&self) -> Result<(), StoreError> {
        let Some(root) = self.folder() else { return Ok(()) };
        for folder in PREPARED {
            super::folder::create_durably(&root.join(folder))?;
        }
        self.refuse_other_devices(root)
    }

    /// Fails if a folder of the output lies on another file system: files could not be put in place by a rename.
    fn refuse_other_devices(&self, root: &Path) -> Result<(), StoreError> {
        let own = disk::device(root)?;
        let mut folders: Vec<PathBuf> = places::FOLDERS.iter().map(|folder| root.join(folder)).collect();
        folders.push(root.join(places::STAGING));
        folders.extend(self.names(places::CURATED)?.iter().map(|name| root.join(places::CURATED).join(name)));
        for folder in folders {
            if disk::device(&folder)?.is_some_and(|device| Some(device) != own) {
                return Err(StoreError::io("put files by a rename into", folder)(io::ErrorKind::CrossesDevices.into()));
            }
        }
        Ok(())
    }

    /// The content of an object; `None` where there is none.
    ///
    /// # Errors
    /// I/O errors (exit 5).
    pub fn read(&self, key: impl Into<Key>) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.store.get(&key.into())?.map(|object| object.bytes.into()))
    }

    /// The content of an object, and its version.
    ///
    /// # Errors
    /// I/O errors (exit 5).
    pub fn object(&self, key: impl Into<Key>) -> Result<Option<Object>, StoreError> {
        self.store.get(&key.into())
    }

    /// The names of a folder's entries, sorted; none where there is no folder.
    ///
    /// # Errors
    /// I/O errors (exit 5).
    pub fn names(&self, folder: impl Into<Key>) -> Result<Vec<String>, StoreError> {
        let names = self.store.names(&folder.into())?;
        let mut all: Vec<_> = names.folders.into_iter().chain(names.objects).collect();
        all.sort_unstable();
        Ok(all)
    }

    /// All objects beneath a folder.
    ///
    /// # Errors
    /// I/O errors (exit 5).
    pub fn list(&self, folder: impl Into<Key>) -> Result<Vec<Listed>, StoreError> {
        self.store.list(&folder.into())
    }

    /// Replaces one object so that a reader sees the old content or the new, whole, whatever happens.
    ///
    /// # Errors
    /// I/O errors (exit 5); the object is then as before, or its state is unknown, which the error says.
    pub fn replace(&self, key: impl Into<Key>, bytes: &[u8]) -> Result<(), StoreError> {
        let key = key.into();
        match self.store.put(&key, Content::Bytes(bytes), &Condition::Always) {
            Ok(_) => Ok(()),
            Err(PutError::Conflict) => {
                Err(StoreError::Refused { location: self.location_of(&key), detail: "another writer replaced it".into() })
            }
            Err(PutError::Unknown(error) | PutError::Io(error)) => Err(error),
        }
    }

    /// Puts an object, unless one is there: that one stays.
    ///
    /// # Errors
    /// I/O errors (exit 5).
    pub fn put_absent(&self, key: impl Into<Key>, bytes: &[u8]) -> Result<(), StoreError> {
        let key = key.into();
        match self.store.put(&key, Content::Bytes(bytes), &Condition::Absent) {
            Ok(_) | Err(PutError::Conflict) => Ok(()),
            Err(PutError::Unknown(error)) => {
                if self.object(&key)?.is_some() {
                    Ok(())
                } else {
                    Err(error)
                }
            }
            Err(PutError::Io(error)) => Err(error),
        }
    }

    /// Removes what has this key: an object, or a folder with its content. A missing one is not an error.
    ///
    /// # Errors
    /// I/O errors (exit 5).
    pub fn remove(&self, key: impl Into<Key>) -> Result<(), StoreError> {
        let key = key.into();
        if self.folder().is_some() {
            return disk::remove(&self.at(&key));
        }
        for object in self.store.list(&key)? {
            self.remove_object(&object.key)?;
        }
        self.remove_object(&key)
    }

    /// Removes one object. A missing one is not an error.
    pub(super) fn remove_object(&self, key: &Key) -> Result<(), StoreError> {
        match self.store.delete(key, &Condition::Always) {
            Ok(()) | Err(PutError::Conflict) => Ok(()),
            Err(PutError::Unknown(error) | PutError::Io(error)) => Err(error),
        }
    }

    /// The location of an object, for messages.
    pub fn location_of(&self, key: &Key) -> String {
        format!("{}/{key}", self.location().trim_end_matches('/'))
    }

    /// Whether a file that a commit names stands at its place. In a bucket the commit alone says so.
    ///
    /// # Errors
    /// I/O errors (exit 5).
    pub fn still_has(&self, key: &Key) -> Result<bool, StoreError> {
        if self.folder().is_none() { Ok(true) } else { disk::exists(&self.at(key)) }
    }

    /// A local file with the content of an object; `None` where there is none. A copy is made again each time.
    ///
    /// # Errors
    /// I/O errors (exit 5).
    pub fn local(&self, key: impl Into<Key>) -> Result<Option<PathBuf>, StoreError> {
        let key = key.into();
        let path = self.at(&key);
        if self.folder().is_some() {
            return Ok(if disk::exists(&path)? { Some(path) } else { None });
        }
        let Some(object) = self.store.get(&key)? else {
            disk::remove_file(&path)?;
            return Ok(None);
        };
        disk::write_staged(&path, &object.bytes)?;
        Ok(Some(path))
    }

    /// A local file at the place of `key` with the content of an immutable object. A copy that is there and whole is used again.
    ///
    /// # Errors
    /// The object is missing or not what its record says; I/O errors (exit 5).
    pub fn local_version(&self, key: &Key, version: &ObjectRef) -> Result<PathBuf, StoreError> {
        let path = self.at(key);
        if self.folder().is_some() {
            return Ok(path);
        }
        let is_whole = disk::read(&path)?.is_some_and(|bytes| version.is_of(&bytes));
        if !is_whole {
            disk::write_staged(&path, &self.read_version_at(key, version)?)?;
        }
        Ok(path)
    }

    /// The content of a version that stands at a place. One that no commit has put stands only there.
    fn read_version_at(&self, key: &Key, version: &ObjectRef) -> Result<Vec<u8>, StoreError> {
        match self.read(&version.object)? {
            Some(bytes) if version.is_of(&bytes) => Ok(bytes),
            _ => match self.read(key)?.filter(|bytes| version.is_of(bytes)) {
                Some(bytes) => Ok(bytes),
                None => self.read_version(version),
            },
        }
    }

    /// The content of an immutable object.
    ///
    /// # Errors
    /// The object is missing or not what its record says; I/O errors (exit 5).
    pub fn read_version(&self, version: &ObjectRef) -> Result<Vec<u8>, StoreError> {
        let damaged = |detail: &str| StoreError::Refused { location: self.location_of(&version.object), detail: detail.to_owned() };
        let bytes = self.read(&version.object)?.ok_or_else(|| damaged("the object that the commit names is missing"))?;
        if version.is_of(&bytes) { Ok(bytes) } else { Err(damaged("the object is not what its commit says (another size or checksum)")) }
    }

    /// Makes a local file of an object whose content stands in a record or beside it. The files of a folder stay.
    /// A damaged content is skipped: the reader compares the checksum of the file.
    ///
    /// # Errors
    /// I/O errors.
    pub fn keep_inlined(&self, key: &Key, content: &Inlined) -> Result<(), StoreError> {
        if self.folder().is_some() {
            return Ok(());
        }
        let Some(bytes) = content.bytes() else { return Ok(()) };
        let path = self.at(key);
        // A file that is there may be open.
        if disk::read(&path)?.is_some_and(|there| there == bytes) {
            return Ok(());
        }
        disk::write_staged(&path, &bytes)
    }

    /// Makes local files of several versions, several at once.
    ///
    /// # Errors
    /// As [`Output::local_version`].
    pub fn local_versions(&self, versions: &[(Key, ObjectRef)]) -> Result<(), StoreError> {
        if self.folder().is_some() {
            return Ok(());
        }
        at_once(versions, |(key, version)| self.local_version(key, version).map(drop))
    }

    /// Forgets the local copy of an object. The files of a folder stay.
    pub fn forget_local(&self, key: &Key) {
        if self.folder().is_none() {
            // A copy that is left costs space until the process ends.
            let _ = fs::remove_file(self.at(key));
        }
    }
}

#[cfg(test)]
thread_local! {
    /// Whether this thread does one thing after the other: a seed of the simulation then always means the same.
    pub(super) static ONE_BY_ONE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

#[cfg(test)]
pub(super) fn is_one_by_one() -> bool {
    ONE_BY_ONE.get()
}

#[cfg(not(test))]
pub(super) const fn is_one_by_one() -> bool {
    false
}

/// Does something for each item, for several at once. Stops at the first error.
pub(super) fn at_once<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<(), StoreError> + Sync) -> Result<(), StoreError> {
    use std::sync::atomic::{AtomicUsize, Ordering};
    if items.len() < 2 || is_one_by_one() {
        return items.iter().try_for_each(work);
    }
    let next = AtomicUsize::new(0);
    let (next, work) = (&next, &work);
    let each = || -> Result<(), StoreError> {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            // The others end with their item.
            work(item).inspect_err(|_| next.store(items.len(), Ordering::Relaxed))?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE.min(items.len())).map(|_| scope.spawn(each)).collect();
        let ends: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        ends.into_iter().try_for_each(|end| end.unwrap_or(Err(StoreError::Worker)))
    })
}
