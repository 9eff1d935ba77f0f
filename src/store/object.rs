//! What every store can do with its objects: a folder, a bucket, or memory. Knows no run and no layer.
//!
//! Objects are read and written whole. A conditional put is the only way in which writers agree; whatever else a store offers
//! (renames, locks, copies) is not relied on.

use std::{fmt::Debug, ops::Range, path::Path};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Key, StoreError};
use crate::model::UtcMicros;

/// The version of an object: its ETag in a bucket. Two objects of one key with the same tag have the same bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tag(pub String);

/// An object, read whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    /// Its content.
    pub bytes: Bytes,
    /// Its version.
    pub tag: Tag,
}

/// An object of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its name.
    pub key: Key,
    /// Its size.
    pub bytes: u64,
    /// When it was written.
    pub modified: UtcMicros,
}

/// The names beneath a prefix, one level deep.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Names {
    /// The folders, without their slash, sorted.
    pub folders: Vec<String>,
    /// The objects, sorted.
    pub objects: Vec<String>,
}

/// The content of a new object.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// A local file. Large ones are sent in parts.
    File(&'a Path),
}

/// Under which condition an object is put.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    /// Whatever is there.
    Always,
    /// Only if nothing is there.
    Absent,
    /// Only if the object that is there has this version.
    Is(Tag),
}

/// Why a put or a deletion did not happen, or may not have.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The condition does not hold. A client repeats a request whose answer was lost, so the object may be its own.
    #[error("another writer was first")]
    Conflict,
    /// The answer was lost: the object may have been put.
    #[error("{0}; whether it was done is unknown")]
    Unknown(StoreError),
    /// It did not happen.
    #[error(transparent)]
    Io(#[from] StoreError),
}

/// A place for objects. All calls block, and may be made from several threads at once.
pub trait Store: Send + Sync + Debug {
    /// Where the store is, for messages: `s3://bucket/prefix`, or a folder.
    fn location(&self) -> String;

    /// Reads an object. `None` if there is none.
    ///
    /// # Errors
    /// I/O errors (exit 5).
    fn get(&self, key: &Key) -> Result<Option<Object>, StoreError>;

    /// Reads parts of an object, in the order of the ranges. `None` if there is no object.
    ///
    /// # Errors
    /// I/O errors (exit 5), also if a range lies beyond the end.
    fn ranges(&self, key: &Key, ranges: &[Range<u64>]) -> Result<Option<Vec<Bytes>>, StoreError>;

    /// All objects whose keys begin with `prefix/`, sorted by key.
    ///
    /// # Errors
    /// I/O errors (exit 5). A missing prefix is not an error.
    fn list(&self, prefix: &Key) -> Result<Vec<Listed>, StoreError>;

    /// The names directly beneath `prefix/`.
    ///
    /// # Errors
    /// I/O errors (exit 5). A missing prefix is not an error.
    fn names(&self, prefix: &Key) -> Result<Names, StoreError>;

    /// Puts an object, whole and durable, and returns its version.
    ///
    /// # Errors
    /// [`PutError`].
    fn put(&self, key: &Key, content: Content<'_>, condition: &Condition) -> Result<Tag, PutError>;

    /// The most bytes that an object may have which replaces a version ([`Condition::Is`]); `None` if any may.
    fn most_replaced(&self) -> Option<u64> {
        None
    }

    /// Deletes an object. A missing object is not an error.
    ///
    /// # Errors
    /// [`PutError`]; a store that can't delete conditionally refuses every condition but [`Condition::Always`] as
    /// [`StoreError::Unsupported`].
    fn delete(&self, key: &Key, condition: &Condition) -> Result<(), PutError>;
}
