//! Files in a bucket: which objects a pattern names, and the bytes of each as one stream.
//!
//! Knows no format. Requests, their retries and credentials are the task of the bucket.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read, Seek, Write},
    ops::Range,
    path::Path,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;

use super::{HiddenNames, Place, SourceFile, by_name, no_files};
use crate::{
    cancel::Cancel,
    model::counted,
    settings::{ObjectPattern, StorageSettings},
    source::{Purpose, SourceError},
    store::{Bucket, ListedObject, Part, ReadObjects, StoreError, Tag},
};

/// The bytes of one request: many enough to make its latency cheap, and few enough to hold two of them.
const PART_BYTES: u64 = 8 << 20;

/// How often work that waits for a bucket looks for a signal.
const LOOK_FOR_SIGNAL: Duration = Duration::from_millis(100);

/// Opens the bucket of a pattern.
///
/// # Errors
/// Settings that its client does not accept.
pub(super) fn open(
    pattern: &ObjectPattern,
    storage: Option<&StorageSettings>,
    cancel: &Cancel,
) -> Result<Arc<dyn ReadObjects>, SourceError> {
    let refused = |source| SourceError::Bucket { location: pattern.to_string(), source };
    let missing = || StoreError::io("open", pattern.to_string())(io::Error::other("the settings of its store are missing"));
    let storage = storage.cloned().ok_or_else(missing).map_err(refused)?;
    // To get credentials may take requests.
    let bucket = interruptible(cancel, move || Bucket::open(&storage))?.map_err(refused)?;
    Ok(Arc::new(bucket))
}

/// The objects that a pattern names, in the order of their names. The rules are those of local files.
///
/// # Errors
/// The bucket can't be read, or the pattern names nothing that can.
pub(super) fn find(
    pattern: &ObjectPattern,
    bucket: &Arc<dyn ReadObjects>,
    purpose: Purpose,
    cancel: &Cancel,
) -> Result<Vec<SourceFile>, SourceError> {
    let (asked, beginning) = (bucket.clone(), literal_beginning(&pattern.key).to_owned());
    let listed = interruptible(cancel, move || asked.list_beginning(&beginning))?
        .map_err(|source| SourceError::Bucket { location: pattern.to_string(), source })?;
    let file = |object: ListedObject| {
        let path = pattern.url(object.key.as_str()).into();
        SourceFile::new(path, purpose, Place::Bucket(BucketObject { bucket: bucket.clone(), listed: object }))
    };
    let mut files: Vec<_> = match named(pattern, listed)? {
        // As in a local folder, files of other formats are left out.
        Named::InFolder(objects) => objects.into_iter().filter_map(|object| file(object).ok()).collect(),
        Named::Each(objects) => objects.into_iter().map(file).collect::<Result<_, _>>()?,
    };
    files.sort_by(by_name);
    if files.is_empty() { Err(no_files(&pattern.to_string(), purpose)) } else { Ok(files) }
}

/// The text before the first wildcard. A prefix has none: a `/` at the end makes every character a literal one.
fn literal_beginning(key: &str) -> &str {
    if key.ends_with('/') {
        return key;
    }
    key.find(WILDCARDS).and_then(|first| key.get(..first)).unwrap_or(key)
}

/// The characters that make a pattern of a key.
const WILDCARDS: [char; 3] = ['*', '?', '['];

/// The objects of a pattern.
#[derive(PartialEq, Eq, Debug)]
enum Named {
    /// Those directly beneath a prefix, of any format.
    InFolder(Vec<ListedObject>),
    /// These, and each must have a known format.
    Each(Vec<ListedObject>),
}

/// Which of the listed objects a pattern names.
fn named(pattern: &ObjectPattern, mut listed: Vec<ListedObject>) -> Result<Named, SourceError> {
    let key = pattern.key.as_str();
    if key.is_empty() || key.ends_with('/') {
        return Ok(Named::InFolder(in_folder(pattern, listed)));
    }
    // A key may have brackets. The object of that name counts before those that match.
    if let Some(place) = listed.iter().position(|object| object.key.as_str() == key) {
        return Ok(Named::Each(vec![listed.swap_remove(place)]));
    }
    if !key.contains(WILDCARDS) {
        let is_folder = listed.iter().any(|object| object.key.as_str().strip_prefix(key).is_some_and(|rest| rest.starts_with('/')));
        return Err(SourceError::NoObject { url: pattern.to_string(), is_folder });
    }
    let glob = KeyGlob::new(pattern)?;
    listed.retain(|object| glob.matches(object.key.as_str()) && !is_folder_marker(object));
    Ok(Named::Each(listed))
}

/// The objects directly beneath a prefix. Warns if there are others below them.
fn in_folder(pattern: &ObjectPattern, listed: Vec<ListedObject>) -> Vec<ListedObject> {
    let name = |object: &ListedObject| object.key.as_str().strip_prefix(&pattern.key).unwrap_or_default().to_owned();
    let shown = listed.into_iter().filter(|object| !name(object).is_empty() && !super::is_hidden(&name(object)));
    let (deeper, objects): (Vec<_>, Vec<_>) = shown.partition(|object| name(object).contains('/'));
    let folders: BTreeSet<_> = deeper.iter().filter_map(|object| Some(name(object).split_once('/')?.0.to_owned())).collect();
    if let Some(first) = folders.first() {
        let folders = folders.len();
        tracing::warn!(folders, first, "objects further below {pattern} are not read: a glob such as {pattern}**/*.json reads them");
    }
    objects
}

/// Whether an object only makes a console show a folder: it is empty, and its key, which ends in `/`, has no known format.
fn is_folder_marker(object: &ListedObject) -> bool {
    object.bytes == 0 && Purpose::Members.of(Path::new(object.key.as_str())).is_none()
}

/// A glob on a whole key, with the rules of local paths: part by part, so that only `**` reaches across a `/`.
struct KeyGlob<'p> {
    parts: Vec<KeyPart>,
    hidden: HiddenNames<'p>,
}

enum KeyPart {
    /// `**`: any number of folders.
    Folders,
    Name(glob::Pattern),
}

impl<'p> KeyGlob<'p> {
    fn new(pattern: &'p ObjectPattern) -> Result<KeyGlob<'p>, SourceError> {
        let invalid = |error: glob::PatternError| SourceError::Glob { pattern: pattern.to_string(), detail: error.to_string() };
        glob::Pattern::new(&pattern.key).map_err(invalid)?;
        let part = |part: &str| if part == "**" { Ok(KeyPart::Folders) } else { glob::Pattern::new(part).map(KeyPart::Name) };
        let mut parts = pattern.key.split('/').map(part).collect::<Result<Vec<_>, _>>().map_err(invalid)?;
        parts.dedup_by(|one, other| matches!((one, other), (KeyPart::Folders, KeyPart::Folders)));
        Ok(KeyGlob { parts, hidden: HiddenNames::of(&pattern.key) })
    }

    fn matches(&self, key: &str) -> bool {
        let names: Vec<_> = key.split('/').collect();
        names.iter().all(|name| self.hidden.shows(name)) && are_matched(&self.parts, &names)
    }
}

fn are_matched(parts: &[KeyPart], names: &[&str]) -> bool {
    let Some((part, later_parts)) = parts.split_first() else { return names.is_empty() };
    match part {
        KeyPart::Folders => (0..names.len()).any(|folders| names.get(folders..).is_some_and(|names| are_matched(later_parts, names))),
        KeyPart::Name(pattern) => names.split_first().is_some_and(|(name, later)| pattern.matches(name) && are_matched(later_parts, later)),
    }
}

/// An object of a source, as it was when it was listed.
#[derive(Clone, Debug)]
pub(super) struct BucketObject {
    bucket: Arc<dyn ReadObjects>,
    listed: ListedObject,
}

impl BucketObject {
    /// The size.
    pub(super) fn bytes(&self) -> u64 {
        self.listed.bytes
    }

    /// The bytes of the object, from a thread that is one request ahead.
    pub(super) fn reader(&self, cancel: &Cancel) -> io::Result<ObjectReader> {
        // A channel without room: the next part is requested while this one is read, and no further one.
        let (sender, parts) = mpsc::sync_channel(0);
        let (object, span) = (self.clone(), tracing::Span::current());
        thread::Builder::new().name("object".to_owned()).spawn(move || span.in_scope(|| object.send_parts(&sender)))?;
        Ok(ObjectReader { parts, part: Bytes::new(), left: self.listed.bytes, cancel: cancel.clone() })
    }

    /// A copy of the object in a file without a name, for formats that are not read from the beginning to the end. It lies in
    /// the system's temporary folder, and is gone with the process.
    pub(super) fn copy(&self, cancel: &Cancel) -> io::Result<File> {
        let of_copy = |error: io::Error| io::Error::other(format!("its copy in {}: {error}", std::env::temp_dir().display()));
        let mut reader = self.reader(cancel)?;
        let mut copy = tempfile::tempfile().map_err(of_copy)?;
        while !reader.fill()?.is_empty() {
            copy.write_all(&std::mem::take(&mut reader.part)).map_err(of_copy)?;
        }
        copy.rewind().map_err(of_copy)?;
        Ok(copy)
    }

    fn send_parts(&self, sender: &SyncSender<io::Result<Bytes>>) {
        let (mut start, mut version) = (0, self.listed.tag.clone());
        while start < self.listed.bytes {
            let end = self.listed.bytes.min(start + PART_BYTES);
            let part = self.part(start..end, &mut version);
            let is_last = part.is_err();
            // Nobody receives a part after the reader is dropped.
            if sender.send(part).is_err() || is_last {
                return;
            }
            start = end;
        }
    }

    /// A part of the version that was listed, or else of the version of the first part.
    fn part(&self, range: Range<u64>, version: &mut Option<Tag>) -> io::Result<Bytes> {
        let changed = |what: &str| io::Error::other(format!("it was {what} while the run read it; run again when nothing writes there"));
        let length = range.end - range.start;
        let read = self.bucket.part(&self.listed.key, range).map_err(of_store)?;
        let Part { bytes, object_bytes, tag } = read.ok_or_else(|| changed("removed"))?;
        if object_bytes != self.listed.bytes || *version.get_or_insert_with(|| tag.clone()) != tag {
            return Err(changed("replaced"));
        }
        if bytes.len() as u64 != length {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("the store sent {} of {length}", counted(bytes.len() as u64, "byte")),
            ));
        }
        Ok(bytes)
    }
}

/// An error of a store, which need not name the object: the error of the source does.
fn of_store(error: StoreError) -> io::Error {
    match error {
        StoreError::Bucket { detail, .. } => io::Error::other(detail),
        other => io::Error::other(other),
    }
}

/// The bytes of an object, in parts of [`PART_BYTES`].
pub(super) struct ObjectReader {
    parts: Receiver<io::Result<Bytes>>,
    /// What is left of the part that came last.
    part: Bytes,
    /// The bytes that have not come yet.
    left: u64,
    cancel: Cancel,
}

impl ObjectReader {
    /// What is left of the current part, or else the next part; empty at the end of the object.
    fn fill(&mut self) -> io::Result<&Bytes> {
        if self.part.is_empty() && self.left > 0 {
            self.part = self.next_part()?;
            self.left = self.left.saturating_sub(self.part.len() as u64);
        }
        Ok(&self.part)
    }

    fn next_part(&self) -> io::Result<Bytes> {
        loop {
            match self.parts.recv_timeout(LOOK_FOR_SIGNAL) {
                Ok(part) => return part,
                Err(RecvTimeoutError::Timeout) if !self.cancel.is_stopped() => {}
                Err(RecvTimeoutError::Timeout) => return Err(io::Error::other("interrupted")),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "its download ended early"));
                }
            }
        }
    }
}

impl Read for ObjectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill()?.len().min(buffer.len());
        let (filled, _) = buffer.split_at_mut(count);
        filled.copy_from_slice(&self.part.split_to(count));
        Ok(count)
    }
}

/// Does work that may wait for a bucket, until a signal comes. The work itself goes on, and nobody waits for it.
pub(super) fn interruptible<T: Send + 'static>(cancel: &Cancel, work: impl FnOnce() -> T + Send + 'static) -> Result<T, SourceError> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let span = tracing::Span::current();
    let _ = thread::spawn(move || sender.send(span.in_scope(work)));
    loop {
        match receiver.recv_timeout(LOOK_FOR_SIGNAL) {
            Ok(done) => return Ok(done),
            Err(RecvTimeoutError::Timeout) if !cancel.is_stopped() => {}
            Err(_) => return Err(SourceError::Interrupted),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::{Mutex, MutexGuard},
    };

    use super::*;
    use crate::{cancel::Stop, source::files, store::Key};

    /// A bucket in memory. A new version of an object has a new tag.
    #[derive(Default, Debug)]
    struct Memory(Mutex<BTreeMap<String, (Bytes, Tag)>>);

    impl Memory {
        fn objects(&self) -> MutexGuard<'_, BTreeMap<String, (Bytes, Tag)>> {
            self.0.lock().unwrap()
        }

        fn put(&self, key: &str, bytes: Vec<u8>, tag: &str) {
            self.objects().insert(key.to_owned(), (bytes.into(), Tag(tag.to_owned())));
        }
    }

    impl ReadObjects for Memory {
        fn list_beginning(&self, beginning: &str) -> Result<Vec<ListedObject>, StoreError> {
            let objects = self.objects();
            let beneath = objects.iter().filter(|(key, _)| key.starts_with(beginning));
            let listed = beneath.map(|(key, (bytes, tag))| {
                // The list of some stores has no versions.
                let tag = (tag.0 != "unlisted").then(|| tag.clone());
                ListedObject { key: key.as_str().into(), bytes: bytes.len() as u64, tag }
            });
            Ok(listed.collect())
        }

        fn part(&self, key: &Key, range: Range<u64>) -> Result<Option<Part>, StoreError> {
            let place = |at: u64| usize::try_from(at).unwrap();
            let part = |(bytes, tag): &(Bytes, Tag)| {
                let end = bytes.len().min(place(range.end));
                let object_bytes = bytes.len() as u64;
                Part { bytes: bytes.slice(place(range.start).min(end)..end), object_bytes, tag: tag.clone() }
            };
            Ok(self.objects().get(key.as_str()).map(part))
        }
    }

    fn found(memory: &Arc<Memory>, key: &str, purpose: Purpose) -> Result<Vec<SourceFile>, SourceError> {
        let pattern = ObjectPattern { bucket: "s3://b".parse().unwrap(), key: key.to_owned() };
        let bucket: Arc<dyn ReadObjects> = memory.clone();
        find(&pattern, &bucket, purpose, &Cancel::default())
    }

    #[test]
    fn a_pattern_names_the_same_files_as_on_a_disk() {
        let (dir, memory) = (tempfile::tempdir().unwrap(), Arc::new(Memory::default()));
        let keys = "in/a.json|in/b.ndjson.gz|in/c.csv|in/_d.json|in/.e.json|in/x/f.json|in/x/y/g.json|in/_t/h.json|\
            in-2/i.json|in/a[1].json|in/a1.json|in/Ä b%20.json|j.json|in/notes.txt";
        for key in keys.split('|') {
            let path = dir.path().join(key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, key).unwrap();
            memory.put(key, key.into(), "1");
        }
        let patterns = "in/|in/x/|in/a.json|in/a[1].json|in/a?.json|in/[ab]*|in/*.json|in/**/*.json|**/*.json|*|*/*.json|in*/*.json|\
            in/x/**|in/_*.json|in/_t/*|in/*/h.json|in/**/y/g.json|i*|in/none.json|in/z*|in/a.jso|in/notes.txt|in/*.txt|in|in/a**|\
            in/[a|in/Ä b%20.json|none/|in/**/**/g.json";
        for pattern in patterns.split('|') {
            for purpose in [Purpose::Orders, Purpose::Members] {
                let names = |found: Result<Vec<SourceFile>, SourceError>, root: &str| match found {
                    Ok(files) => Ok(files.iter().map(|file| file.path.strip_prefix(root).unwrap().to_owned()).collect::<Vec<_>>()),
                    Err(error) => Err(error.to_string().replace(root, "").trim_start_matches('/').to_owned()),
                };
                let (bucket, root) = (names(found(&memory, pattern, purpose), "s3://b"), dir.path().to_str().unwrap());
                let disk = names(files::find(&format!("{root}/{pattern}"), purpose), root);
                match pattern {
                    // Without the slash, a prefix is no folder; and a bucket has no folders that a list could miss.
                    "in" => {
                        assert!(bucket.unwrap_err().ends_with("no such object: to read the objects beneath it, write a `/` at its end"))
                    }
                    // The position in the error is that in the whole path.
                    "in/[a" | "in/a**" => assert!([bucket, disk].into_iter().all(|found| found.unwrap_err().contains("not a valid glob"))),
                    "none/" => assert!(bucket.unwrap_err().starts_with("none/: no files to read")),
                    _ => assert_eq!(
                        bucket.map_err(|error| error.replace("no such object", "no such file or folder")),
                        disk,
                        "{pattern} {purpose:?}"
                    ),
                }
            }
        }
    }

    #[test]
    fn markers_of_folders_are_no_files() {
        let memory = Arc::new(Memory::default());
        for (key, bytes) in [("in/", ""), ("in/x/", ""), ("in/x", ""), ("in/a.json", "{}"), ("in/b.json", "")] {
            memory.put(key, bytes.into(), "1");
        }
        for pattern in ["in/", "in/*", "in/**/*"] {
            let names: Vec<_> = found(&memory, pattern, Purpose::Orders).unwrap().into_iter().map(|file| file.path).collect();
            assert_eq!(names, [Path::new("s3://b/in/a.json"), Path::new("s3://b/in/b.json")], "{pattern}");
        }
    }

    fn object(memory: &Arc<Memory>) -> BucketObject {
        let listed = memory.list_beginning("o.json").unwrap().remove(0);
        BucketObject { bucket: memory.clone(), listed }
    }

    fn large() -> Vec<u8> {
        (0..20_u32 << 20).map(|place| (place ^ (place >> 8)).to_le_bytes()[0]).collect()
    }

    #[test]
    fn a_stream_has_the_bytes_of_the_object_and_so_has_a_copy() {
        let memory = Arc::new(Memory::default());
        for bytes in [large(), large()[..PART_BYTES as usize].to_vec(), b"{}".to_vec(), Vec::new()] {
            memory.put("o.json", bytes.clone(), "1");
            let mut read = Vec::new();
            object(&memory).reader(&Cancel::default()).unwrap().read_to_end(&mut read).unwrap();
            assert!(read == bytes);
            read.clear();
            object(&memory).copy(&Cancel::default()).unwrap().read_to_end(&mut read).unwrap();
            assert!(read == bytes);
        }
    }

    #[test]
    fn an_object_that_changes_is_an_error_and_not_a_mix() {
        type Change<'c> = (&'c str, &'c str, &'c dyn Fn(&Memory));
        let changes: [Change<'_>; 5] = [
            ("1", "replaced", &|memory| memory.put("o.json", large(), "2")),
            ("unlisted", "replaced", &|memory| memory.put("o.json", [large(), b" ".to_vec()].concat(), "unlisted")),
            ("1", "replaced", &|memory| memory.put("o.json", b"short".to_vec(), "1")),
            ("unlisted", "replaced", &|memory| memory.put("o.json", b"short".to_vec(), "2")),
            ("1", "removed", &|memory| drop(memory.objects().remove("o.json"))),
        ];
        for (tag, what, change) in changes {
            let memory = Arc::new(Memory::default());
            memory.put("o.json", large(), tag);
            let listed = object(&memory);
            let mut reader = listed.reader(&Cancel::default()).unwrap();
            reader.read_exact(&mut [0; 100]).unwrap();
            change(&memory);
            for mut reader in [reader, listed.reader(&Cancel::default()).unwrap()] {
                let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
                assert!(error.to_string().contains(what), "{error}");
                // The next call fails, too: the end of the stream is not the end of the object.
                assert!(reader.read(&mut [0; 8]).is_err());
            }
        }
    }

    #[test]
    fn a_signal_ends_the_wait_for_a_bucket() {
        let cancel = Cancel::default();
        let (sender, parts) = mpsc::sync_channel(0);
        let mut reader = ObjectReader { parts, part: Bytes::new(), left: 1, cancel: cancel.clone() };
        cancel.stop(Stop::Terminate);
        assert_eq!(reader.read(&mut [0]).unwrap_err().to_string(), "interrupted");
        assert!(matches!(interruptible(&cancel, || thread::sleep(Duration::from_secs(60))), Err(SourceError::Interrupted)));
        drop(sender);
    }
}
