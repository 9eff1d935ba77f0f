//! Reads the objects of a source: lists by the beginning of a key, and reads parts, each with its version. What is read was
//! written by others, and may change at any time.

use std::{fmt, ops::Range};

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::{GetOptions, GetRange, ObjectMeta};

use super::{Bucket, failure::Action};
use crate::{
    settings::BucketScheme,
    store::{Key, StoreError, Tag},
};

/// What the files of a source need of a store. All calls block, and may be made from several threads at once.
pub trait ReadObjects: Send + Sync + fmt::Debug {
    /// All objects whose keys begin with a text, which may end within a name.
    ///
    /// # Errors
    /// I/O errors. No such object is not an error.
    fn list_beginning(&self, beginning: &str) -> Result<Vec<ListedObject>, StoreError>;

    /// Reads a part of an object. It is shorter than the range if the object ends within it. `None` if there is no object.
    ///
    /// # Errors
    /// I/O errors, also if the range lies beyond the end.
    fn part(&self, key: &Key, range: Range<u64>) -> Result<Option<Part>, StoreError>;
}

/// An object of a list, with its version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedObject {
    /// Its key.
    pub key: Key,
    /// Its size.
    pub bytes: u64,
    /// Its version, if the list of the store says so in the same way as an answer with the object.
    pub tag: Option<Tag>,
}

/// A part of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// Its content.
    pub bytes: Bytes,
    /// The size of the object.
    pub object_bytes: u64,
    /// The version of the object.
    pub tag: Tag,
}

impl ReadObjects for Bucket {
    fn list_beginning(&self, beginning: &str) -> Result<Vec<ListedObject>, StoreError> {
        // `object_store` lists whole folders.
        let folder = Key::new(beginning.rsplit_once('/').map_or("", |(folder, _)| folder));
        let path = self.path(&folder)?;
        let (result, seen) = self.run(self.store.list(Some(&path)).try_collect::<Vec<ObjectMeta>>());
        let found = result.map_err(|error| self.failure(Action::List, &folder, seen).error(&error))?;
        let keys = found.into_iter().filter_map(|meta| Some((self.listed(&path, &meta)?, meta)));
        let wanted = keys.filter(|(key, _)| key.as_str().starts_with(beginning));
        Ok(wanted.map(|(key, meta)| ListedObject { key, bytes: meta.size, tag: self.listed_tag(meta.e_tag) }).collect())
    }

    fn part(&self, key: &Key, range: Range<u64>) -> Result<Option<Part>, StoreError> {
        let path = self.path(key)?;
        let (result, seen) = self.run(async {
            let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
            let result = self.store.get_opts(&path, options).await?;
            let object_bytes = result.meta.size;
            let tag = self.tag(result.meta.e_tag.clone(), result.meta.version.clone());
            Ok(Part { bytes: result.bytes().await?, object_bytes, tag })
        });
        match result {
            Ok(part) => Ok(Some(part)),
            Err(error) => self.failure(Action::Get, key, seen).absent_or_error(&error),
        }
    }
}

impl Bucket {
    /// The version of an object of a list. Google's list has no generations; Azure's tags have no quotes there.
    fn listed_tag(&self, e_tag: Option<String>) -> Option<Tag> {
        match self.settings.location.scheme {
            BucketScheme::Gs => None,
            BucketScheme::S3 => e_tag.map(Tag),
            BucketScheme::Az => e_tag.map(|tag| Tag(if tag.starts_with('"') { tag } else { format!("\"{tag}\"") })),
        }
    }
}
