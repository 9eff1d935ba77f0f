//! A store in memory that notes each request, for tests that count them.

use std::{
    fs,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

use super::{Condition, Content, Key, Listed, Names, Object, PutError, Store, StoreError, Tag, memory::MemoryStore};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verb {
    Get,
    Put,
    List,
    Delete,
}

/// One request of a store.
#[derive(Clone, Debug)]
pub(crate) struct StoreRequest {
    verb: Verb,
    key: Key,
    /// The bytes that were put.
    pub(crate) bytes: u64,
}

impl StoreRequest {
    pub(crate) fn is_of(&self, verb: Verb, folder: &str) -> bool {
        self.verb == verb && self.key.as_str().starts_with(folder)
    }
}

/// A store in memory that notes each request.
#[derive(Default, Debug)]
pub(crate) struct CountingStore {
    store: Arc<MemoryStore>,
    requests: Mutex<Vec<StoreRequest>>,
}

impl CountingStore {
    /// Over a store that others use too.
    pub(super) fn over(store: &Arc<MemoryStore>) -> Arc<CountingStore> {
        Arc::new(CountingStore { store: store.clone(), requests: Mutex::default() })
    }

    fn note(&self, verb: Verb, key: &Key, bytes: u64) {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(StoreRequest { verb, key: key.clone(), bytes });
    }

    /// The requests since the last call.
    pub(crate) fn take(&self) -> Vec<StoreRequest> {
        std::mem::take(&mut *self.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Store for CountingStore {
    fn location(&self) -> String {
        self.store.location()
    }

    fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.note(Verb::Get, key, 0);
        self.store.get(key)
    }

    fn ranges(&self, key: &Key, ranges: &[Range<u64>]) -> Result<Option<Vec<Bytes>>, StoreError> {
        ranges.iter().for_each(|_| self.note(Verb::Get, key, 0));
        self.store.ranges(key, ranges)
    }

    fn list(&self, prefix: &Key) -> Result<Vec<Listed>, StoreError> {
        self.note(Verb::List, prefix, 0);
        self.store.list(prefix)
    }

    fn names(&self, prefix: &Key) -> Result<Names, StoreError> {
        self.note(Verb::List, prefix, 0);
        self.store.names(prefix)
    }

    fn put(&self, key: &Key, content: Content<'_>, condition: &Condition) -> Result<Tag, PutError> {
        let bytes = match content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::File(path) => fs::metadata(path).map_or(0, |file| file.len()),
        };
        self.note(Verb::Put, key, bytes);
        self.store.put(key, content, condition)
    }

    fn delete(&self, key: &Key, condition: &Condition) -> Result<(), PutError> {
        self.note(Verb::Delete, key, 0);
        self.store.delete(key, condition)
    }
}
