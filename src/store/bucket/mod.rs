//! A bucket of S3, of Google Cloud Storage or of Azure, as a [`Store`]. Knows no run and no layer.
//!
//! Requests run on a runtime of the bucket, and calls block, so no call may come from a thread of another runtime. `exchange`
//! sends requests and notes the answers, `failure` says what they mean, `upload` sends large objects in parts.

mod client;
mod credentials;
mod exchange;
mod failure;
mod parts;
mod upload;

use std::{collections::HashSet, fmt, fs, ops::Range, sync::Arc};

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::{
    GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, PutResult, UpdateVersion,
    coalesce_ranges, path::Path,
};
use tokio::runtime::{Builder, Handle, Runtime};

pub use parts::{ListedObject, Part, ReadObjects};

use self::{
    exchange::{Seen, traced},
    failure::{Action, Failure},
};
use super::{Condition, Content, Key, Listed, Names, Object, PutError, Store, StoreError, Tag};
use crate::{
    model::UtcMicros,
    settings::{BucketScheme, StorageSettings},
};

/// Threads of the runtime: they send and receive, and compute checksums.
const THREADS: usize = 2;

/// Larger objects are sent in parts, which are sent again one by one.
const LARGE: u64 = 64 << 20;

/// Ranges that are closer together are read by one request.
const CLOSE_RANGES: u64 = 1 << 20;

/// A bucket, and a prefix in it.
#[derive(Clone)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    reactor: Arc<Reactor>,
    settings: Arc<StorageSettings>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("location", &self.location()).finish_non_exhaustive()
    }
}

/// The runtime of a bucket.
struct Reactor {
    handle: Handle,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl Reactor {
    fn new() -> std::io::Result<Reactor> {
        let runtime = Builder::new_multi_thread().worker_threads(THREADS).thread_name("bucket").enable_all().build()?;
        Ok(Reactor { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Runs a future on the calling thread; what it spawns runs on the threads of the runtime.
    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.handle.block_on(work)
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        // To wait for the threads here would panic in an async context.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Bucket {
    /// Opens a bucket. Gets credentials if they have to be got, and sends nothing to the bucket.
    ///
    /// # Errors
    /// [`StoreError::Bucket`]: settings that don't go together, or credentials that can't be got.
    pub fn open(settings: &StorageSettings) -> Result<Bucket, StoreError> {
        let refused = |detail: String| StoreError::Bucket { action: "open", location: settings.location.to_string(), detail };
        let reactor = Reactor::new().map_err(|error| refused(format!("no thread can be started: {error}")))?;
        let store = reactor.run(client::open(settings)).map_err(refused)?;
        Ok(Bucket { store, reactor: Arc::new(reactor), settings: Arc::new(settings.clone()) })
    }

    /// Runs a request, and returns what was seen of it.
    fn run<T>(&self, work: impl Future<Output = object_store::Result<T>>) -> (object_store::Result<T>, Seen) {
        self.reactor.run(traced(work))
    }

    /// The path of an object, or of a folder, in the bucket.
    fn path(&self, key: &Key) -> Result<Path, StoreError> {
        let text = join(&self.settings.location.prefix, key.as_str());
        let invalid = |error: object_store::path::Error| StoreError::Bucket {
            action: "use",
            location: self.url(key.as_str()),
            detail: format!("not a valid key: {error}"),
        };
        Path::parse(&text).map_err(invalid)
    }

    /// The URL of a key, for messages.
    fn url(&self, key: &str) -> String {
        let location = self.settings.location.to_string();
        if key.is_empty() { location } else { format!("{location}/{key}") }
    }

    fn failure(&self, action: Action, key: &Key, seen: Seen) -> Failure<'_> {
        Failure { settings: &self.settings, action, location: self.url(key.as_str()), seen }
    }

    /// The version of an object, as a later condition needs it: Google's conditions are about generations.
    fn tag(&self, e_tag: Option<String>, version: Option<String>) -> Tag {
        let tag = match self.settings.location.scheme {
            BucketScheme::Gs => version.or(e_tag),
            BucketScheme::S3 | BucketScheme::Az => e_tag.or(version),
        };
        Tag(tag.unwrap_or_default())
    }

    fn mode(&self, condition: &Condition) -> PutMode {
        match condition {
            Condition::Always => PutMode::Overwrite,
            Condition::Absent => PutMode::Create,
            Condition::Is(Tag(tag)) => match self.settings.location.scheme {
                BucketScheme::Gs => PutMode::Update(UpdateVersion { e_tag: None, version: Some(tag.clone()) }),
                BucketScheme::S3 | BucketScheme::Az => PutMode::Update(UpdateVersion { e_tag: Some(tag.clone()), version: None }),
            },
        }
    }

    fn put_whole(&self, key: &Key, bytes: Bytes, condition: &Condition) -> Result<Tag, PutError> {
        let path = self.path(key)?;
        let options = PutOptions { mode: self.mode(condition), ..PutOptions::default() };
        let (result, seen) = self.run(self.store.put_opts(&path, PutPayload::from_bytes(bytes), options));
        let result: PutResult = result.map_err(|error| self.failure(Action::Put, key, seen).put_error(&error, condition))?;
        Ok(self.tag(result.e_tag, result.version))
    }

    /// Reads one range, whole.
    async fn range(&self, path: &Path, range: Range<u64>) -> object_store::Result<Bytes> {
        let wanted = range.end - range.start;
        let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        let bytes = self.store.get_opts(path, options).await?.bytes().await?;
        // A store cuts a range at the end of the object, and says nothing.
        if u64::try_from(bytes.len()).ok() != Some(wanted) {
            let detail = format!("the object ends before byte {}", range.end);
            return Err(object_store::Error::Generic { store: "bucket", source: detail.into() });
        }
        Ok(bytes)
    }

    /// The key of an object of a list; `None` for the object that some tools put where a folder is.
    fn listed(&self, folder: &Path, meta: &ObjectMeta) -> Option<Key> {
        let location = meta.location.as_ref();
        if meta.location == *folder {
            return None;
        }
        let prefix = &self.settings.location.prefix;
        let key = if prefix.is_empty() { Some(location) } else { location.strip_prefix(prefix.as_str())?.strip_prefix('/') };
        key.filter(|key| !key.is_empty()).map(Key::new)
    }
}

impl Store for Bucket {
    fn location(&self) -> String {
        self.settings.location.to_string()
    }

    fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        let path = self.path(key)?;
        let (result, seen) = self.run(async {
            let result = self.store.get_opts(&path, GetOptions::default()).await?;
            let (e_tag, version) = (result.meta.e_tag.clone(), result.meta.version.clone());
            Ok((result.bytes().await?, e_tag, version))
        });
        match result {
            Ok((bytes, e_tag, version)) => {
                let tag = self.tag(e_tag, version);
                // The condition `Is` would then hold for every version.
                let untagged = || StoreError::Bucket {
                    action: "read",
                    location: self.url(key.as_str()),
                    detail: "the server sends no ETag: is it one of a bucket, and no other web server?".to_owned(),
                };
                if tag.0.is_empty() { Err(untagged()) } else { Ok(Some(Object { bytes, tag })) }
            }
            Err(error) => self.failure(Action::Get, key, seen).absent_or_error(&error),
        }
    }

    fn ranges(&self, key: &Key, ranges: &[Range<u64>]) -> Result<Option<Vec<Bytes>>, StoreError> {
        let path = self.path(key)?;
        // An empty range can't be asked for.
        let asked: Vec<Range<u64>> = ranges.iter().filter(|range| range.start < range.end).cloned().collect();
        let (result, seen) = self.run(coalesce_ranges(&asked, |range| self.range(&path, range), CLOSE_RANGES));
        match result {
            Ok(read) => {
                let mut read = read.into_iter();
                let filled =
                    ranges.iter().map(|range| if range.start < range.end { read.next().unwrap_or_default() } else { Bytes::new() });
                Ok(Some(filled.collect()))
            }
            Err(error) => self.failure(Action::Get, key, seen).absent_or_error(&error),
        }
    }

    fn list(&self, prefix: &Key) -> Result<Vec<Listed>, StoreError> {
        let folder = self.path(prefix)?;
        let (result, seen) = self.run(self.store.list(Some(&folder)).try_collect::<Vec<ObjectMeta>>());
        let found = result.map_err(|error| self.failure(Action::List, prefix, seen).error(&error))?;
        let mut listed: Vec<Listed> = found.iter().filter_map(|meta| Some(as_listed(self.listed(&folder, meta)?, meta))).collect();
        listed.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(without_markers(listed))
    }

    fn names(&self, prefix: &Key) -> Result<Names, StoreError> {
        let folder = self.path(prefix)?;
        let (result, seen) = self.run(self.store.list_with_delimiter(Some(&folder)));
        let found = result.map_err(|error| self.failure(Action::List, prefix, seen).error(&error))?;
        let name = |path: &Path| path.filename().map(str::to_owned);
        let mut folders: Vec<String> = found.common_prefixes.iter().filter_map(name).collect();
        folders.sort_unstable();
        folders.dedup();
        // Without the empty objects that consoles put where a folder is.
        let is_marker = |meta: &ObjectMeta, name: &String| meta.size == 0 && folders.binary_search(name).is_ok();
        let objects = found.objects.iter().filter(|meta| meta.location != folder);
        let objects = objects.filter_map(|meta| name(&meta.location).filter(|name| !is_marker(meta, name)));
        let mut objects: Vec<String> = objects.collect();
        objects.sort_unstable();
        Ok(Names { folders, objects })
    }

    fn put(&self, key: &Key, content: Content<'_>, condition: &Condition) -> Result<Tag, PutError> {
        let size = match content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::File(path) => fs::metadata(path).map_err(StoreError::io("read", path))?.len(),
        };
        let in_parts = size > LARGE.max(self.settings.part_size) && !matches!(condition, Condition::Is(_));
        match content {
            _ if in_parts => self.put_in_parts(key, content, size, condition),
            Content::Bytes(bytes) => self.put_whole(key, Bytes::copy_from_slice(bytes), condition),
            Content::File(path) => {
                let bytes = fs::read(path).map_err(StoreError::io("read", path))?;
                self.put_whole(key, bytes.into(), condition)
            }
        }
    }

    fn most_replaced(&self) -> Option<u64> {
        most_replaced(self.settings.location.scheme)
    }

    fn delete(&self, key: &Key, condition: &Condition) -> Result<(), PutError> {
        if *condition != Condition::Always {
            // S3, Google and Azure could do it, but `object_store` 0.14 has no call for it.
            return Err(StoreError::Unsupported { action: "delete conditionally", location: self.url(key.as_str()) }.into());
        }
        let path = self.path(key)?;
        let (result, seen) = self.run(self.store.delete(&path));
        let Err(error) = result else { return Ok(()) };
        let failure = self.failure(Action::Delete, key, seen);
        if failure.is_absent(&error) { Ok(()) } else { Err(failure.put_error(&error, condition)) }
    }
}

/// The most bytes of one request that puts an object. A version is replaced in one request, since `object_store` 0.14
/// completes an upload in parts without a condition. Google takes 5 TiB, the most that an object may have there.
fn most_replaced(scheme: BucketScheme) -> Option<u64> {
    match scheme {
        BucketScheme::S3 => Some(5 << 30),
        BucketScheme::Az => Some(5000 << 20),
        BucketScheme::Gs => None,
    }
}

fn join(prefix: &str, key: &str) -> String {
    match (prefix, key) {
        ("", key) => key.to_owned(),
        (prefix, "") => prefix.to_owned(),
        (prefix, key) => format!("{prefix}/{key}"),
    }
}

fn as_listed(key: Key, meta: &ObjectMeta) -> Listed {
    let modified = UtcMicros::new(meta.last_modified.timestamp_micros()).unwrap_or(UtcMicros::MIN);
    Listed { key, bytes: meta.size, modified }
}

/// Without the empty objects that consoles put where a folder is. Sorted by key, as the argument is. One with nothing beneath
/// it stays: `object_store` drops the slash at its end, so that it is an object like another.
fn without_markers(listed: Vec<Listed>) -> Vec<Listed> {
    let folders: HashSet<String> = listed
        .iter()
        .filter(|one| one.bytes == 0)
        .filter(|one| {
            let beneath = format!("{}/", one.key);
            let next = listed.partition_point(|other| other.key.as_str() < beneath.as_str());
            listed.get(next).is_some_and(|other| other.key.as_str().starts_with(&beneath))
        })
        .map(|one| one.key.to_string())
        .collect();
    listed.into_iter().filter(|one| !folders.contains(one.key.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(key: &str, bytes: u64) -> Listed {
        Listed { key: Key::new(key), bytes, modified: UtcMicros::MIN }
    }

    #[test]
    fn keys_are_joined_under_the_prefix() {
        assert_eq!((join("", "a/b"), join("p/q", "a"), join("p", "")), ("a/b".into(), "p/q/a".into(), "p".into()));
    }

    #[test]
    fn the_most_that_is_replaced_is_what_the_vendor_takes_in_one_request() {
        let schemes = [BucketScheme::S3, BucketScheme::Az, BucketScheme::Gs];
        assert_eq!(schemes.map(most_replaced), [Some(5_368_709_120), Some(5_242_880_000), None]);
    }

    #[test]
    fn empty_objects_that_stand_for_folders_are_not_listed() {
        let found = vec![listed("a", 0), listed("a-b", 0), listed("a/x", 1), listed("b", 0), listed("c", 3), listed("c/x", 1)];
        let keys: Vec<_> = without_markers(found).into_iter().map(|one| one.key.to_string()).collect();
        assert_eq!(keys, ["a-b", "a/x", "b", "c", "c/x"]);
    }
}
