//! A store in memory, which answers as a bucket of S3 does: a tag is a hash of the content, and nothing is deleted under a
//! condition. Loses nothing and sleeps never: faults are `faulty`'s.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::{Condition, Content, Key, Listed, Names, Object, PutError, Store, StoreError, Tag, disk};
use crate::model::UtcMicros;

/// A store in memory.
#[derive(Debug, Default)]
pub(super) struct MemoryStore {
    objects: Mutex<BTreeMap<Key, Stored>>,
    most_replaced: Option<u64>,
}

#[derive(Clone, Debug)]
struct Stored {
    object: Object,
    modified: UtcMicros,
}

impl MemoryStore {
    /// One that says that it replaces no larger objects.
    pub(super) fn replacing_at_most(bytes: u64) -> MemoryStore {
        MemoryStore { most_replaced: Some(bytes), ..MemoryStore::default() }
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<Key, Stored>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, action: &'static str, key: &Key, detail: &str) -> StoreError {
        StoreError::Bucket { action, location: format!("{}/{key}", self.location()), detail: detail.to_owned() }
    }
}

/// The version of a content: equal contents have equal tags, as in S3.
fn tag_of(bytes: &[u8]) -> Tag {
    Tag(format!("\"{}\"", disk::checksum(bytes)))
}

/// The content, as bytes.
pub(super) fn bytes_of(content: Content<'_>) -> Result<Bytes, StoreError> {
    match content {
        Content::Bytes(bytes) => Ok(Bytes::copy_from_slice(bytes)),
        Content::File(path) => fs::read(path).map(Bytes::from).map_err(StoreError::io("read", path)),
    }
}

impl Store for MemoryStore {
    fn location(&self) -> String {
        "memory://layer".to_owned()
    }

    fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        Ok(self.objects().get(key).map(|stored| stored.object.clone()))
    }

    fn ranges(&self, key: &Key, ranges: &[Range<u64>]) -> Result<Option<Vec<Bytes>>, StoreError> {
        let Some(object) = self.get(key)? else { return Ok(None) };
        let part = |range: &Range<u64>| {
            let (start, end) = (usize::try_from(range.start).unwrap_or(usize::MAX), usize::try_from(range.end).unwrap_or(usize::MAX));
            let is_within = start <= end && end <= object.bytes.len();
            if is_within { Ok(object.bytes.slice(start..end)) } else { Err(self.error("read", key, "the range is not satisfiable")) }
        };
        ranges.iter().map(part).collect::<Result<_, _>>().map(Some)
    }

    fn list(&self, prefix: &Key) -> Result<Vec<Listed>, StoreError> {
        let folder = format!("{prefix}/");
        let objects = self.objects();
        let beneath = objects.iter().filter(|(key, _)| key.as_str().starts_with(&folder));
        Ok(beneath
            .map(|(key, stored)| Listed { key: key.clone(), bytes: stored.object.bytes.len() as u64, modified: stored.modified })
            .collect())
    }

    fn names(&self, prefix: &Key) -> Result<Names, StoreError> {
        let folder = format!("{prefix}/");
        let (mut folders, mut names) = (BTreeSet::new(), BTreeSet::new());
        for rest in self.objects().keys().filter_map(|key| key.as_str().strip_prefix(&folder)) {
            match rest.split_once('/') {
                Some((name, _)) => folders.insert(name.to_owned()),
                None => names.insert(rest.to_owned()),
            };
        }
        Ok(Names { folders: folders.into_iter().collect(), objects: names.into_iter().collect() })
    }

    fn put(&self, key: &Key, content: Content<'_>, condition: &Condition) -> Result<Tag, PutError> {
        let bytes = bytes_of(content)?;
        let mut objects = self.objects();
        let there = objects.get(key).map(|stored| &stored.object.tag);
        let holds = match condition {
            Condition::Always => true,
            Condition::Absent => there.is_none(),
            Condition::Is(tag) => there == Some(tag),
        };
        if !holds {
            return Err(PutError::Conflict);
        }
        let tag = tag_of(&bytes);
        objects.insert(key.clone(), Stored { object: Object { bytes, tag: tag.clone() }, modified: UtcMicros::now() });
        Ok(tag)
    }

    fn most_replaced(&self) -> Option<u64> {
        self.most_replaced
    }

    fn delete(&self, key: &Key, condition: &Condition) -> Result<(), PutError> {
        if *condition != Condition::Always {
            return Err(StoreError::Unsupported { action: "delete conditionally", location: self.location() }.into());
        }
        self.objects().remove(key);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Folder, promises::store_promises};

    #[test]
    fn memory_keeps_the_promises_of_a_store() {
        store_promises(&MemoryStore::default(), "room");
    }

    #[test]
    fn a_folder_keeps_the_promises_of_a_store() {
        let dir = tempfile::tempdir().unwrap();
        store_promises(&Folder::new(dir.path().join("layer")), "room");
    }
}
