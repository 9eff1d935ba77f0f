//! Sends a large object in parts, several at once. Nothing of it is visible before it is completed.

use std::{
    fs::File,
    io::{self, Read},
    time::Duration,
};

use bytes::Bytes;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutPayload, PutResult};
use tokio::task::{JoinError, JoinSet};

use super::{
    Bucket, Reactor,
    exchange::{Seen, traced},
    failure::Action,
};
use crate::store::{Condition, Content, Key, PutError, StoreError, Tag};

/// Parts that are sent at once. Each is held in memory.
const AT_ONCE: usize = 4;

/// The parts that an upload may have; S3 takes 10,000, and Azure 50,000.
const MAX_PARTS: u64 = 10_000;

/// The time to give up an upload.
const ABORT_TIMEOUT: Duration = Duration::from_secs(10);

/// What came of a part.
type Part = (object_store::Result<()>, Seen);

impl Bucket {
    /// Puts a large object. `Absent` is checked before the upload and not at its end: `object_store` 0.14 completes an upload
    /// without a condition, though S3 could check one. The objects that may be this large have names of their own run
    /// (`data/dt=D/<run_id>.csv`), so that nobody else puts one there in between. Commits are never this large.
    pub(super) fn put_in_parts(&self, key: &Key, content: Content<'_>, size: u64, condition: &Condition) -> Result<Tag, PutError> {
        let path = self.path(key)?;
        if *condition == Condition::Absent {
            let (result, seen) = self.run(self.store.head(&path));
            let failure = self.failure(Action::Get, key, seen);
            match result {
                Ok(_) => return Err(PutError::Conflict),
                Err(error) if failure.is_absent(&error) => {}
                Err(error) => return Err(PutError::Io(failure.error(&error))),
            }
        }
        let (result, seen) = self.run(self.store.put_multipart_opts(&path, PutMultipartOptions::default()));
        // An upload that was begun and then forgotten changes no object.
        let upload = result.map_err(|error| PutError::Io(self.failure(Action::Put, key, seen).error(&error)))?;
        let mut upload = Upload { reactor: &self.reactor, upload: Some(upload), parts: JoinSet::new() };
        upload.send_all(self, key, content, part_size(self.settings.part_size, size))?;
        let (result, seen) = upload.complete();
        let result = result.map_err(|error| self.failure(Action::Put, key, seen).put_error(&error, &Condition::Always))?;
        Ok(self.tag(result.e_tag, result.version))
    }
}

/// The size of a part, so that the parts are not too many.
fn part_size(wanted: u64, size: u64) -> u64 {
    wanted.max(size.div_ceil(MAX_PARTS)).max(1)
}

/// An upload that is given up unless it is completed, also by a panic.
struct Upload<'b> {
    reactor: &'b Reactor,
    /// `None` once it is completed.
    upload: Option<Box<dyn MultipartUpload>>,
    parts: JoinSet<Part>,
}

impl Upload<'_> {
    fn send_all(&mut self, bucket: &Bucket, key: &Key, content: Content<'_>, part_size: u64) -> Result<(), PutError> {
        match content {
            Content::Bytes(bytes) => {
                let part_size = usize::try_from(part_size).unwrap_or(usize::MAX);
                for part in bytes.chunks(part_size) {
                    self.send(bucket, key, Bytes::copy_from_slice(part))?;
                }
            }
            Content::File(path) => {
                let mut file = File::open(path).map_err(StoreError::io("read", path))?;
                while let Some(part) = next_part(&mut file, part_size).map_err(StoreError::io("read", path))? {
                    self.send(bucket, key, part)?;
                }
            }
        }
        while !self.parts.is_empty() {
            self.wait_for_one(bucket, key)?;
        }
        Ok(())
    }

    /// Sends a part, as soon as fewer than [`AT_ONCE`] are on their way.
    fn send(&mut self, bucket: &Bucket, key: &Key, part: Bytes) -> Result<(), PutError> {
        while self.parts.len() >= AT_ONCE {
            self.wait_for_one(bucket, key)?;
        }
        if let Some(upload) = self.upload.as_mut() {
            let sent = upload.put_part(PutPayload::from_bytes(part));
            self.parts.spawn_on(traced(sent), &self.reactor.handle);
        }
        Ok(())
    }

    fn wait_for_one(&mut self, bucket: &Bucket, key: &Key) -> Result<(), PutError> {
        let failed = |error: &object_store::Error, seen| PutError::Io(bucket.failure(Action::Put, key, seen).error(error));
        let joined: Option<Result<Part, JoinError>> = self.reactor.run(self.parts.join_next());
        match joined {
            None | Some(Ok((Ok(()), _))) => Ok(()),
            Some(Ok((Err(error), seen))) => Err(failed(&error, seen)),
            Some(Err(error)) => Err(failed(&object_store::Error::JoinError { source: error }, Seen::default())),
        }
    }

    fn complete(mut self) -> (object_store::Result<PutResult>, Seen) {
        let upload = self.upload.as_mut();
        let (result, seen) = self.reactor.run(traced(async {
            match upload {
                Some(upload) => upload.complete().await,
                None => Err(object_store::Error::Generic { store: "bucket", source: "the upload is completed".into() }),
            }
        }));
        if result.is_ok() {
            self.upload = None;
        }
        (result, seen)
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        let Some(mut upload) = self.upload.take() else { return };
        // Parts that arrive after the upload is given up would stay, unseen and paid for.
        let given_up = async {
            self.parts.shutdown().await;
            tokio::time::timeout(ABORT_TIMEOUT, upload.abort()).await
        };
        // The error that matters is the first one. A lifecycle rule of the bucket removes what is left.
        let _ = self.reactor.run(given_up);
    }
}

/// The next part of a file; `None` at its end.
fn next_part(file: &mut File, part_size: u64) -> io::Result<Option<Bytes>> {
    let mut part = Vec::with_capacity(usize::try_from(part_size).unwrap_or_default());
    file.take(part_size).read_to_end(&mut part)?;
    Ok(Some(part).filter(|part| !part.is_empty()).map(Bytes::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_with_the_object_so_that_there_are_not_too_many() {
        assert_eq!(part_size(16 << 20, 70 << 20), 16 << 20);
        let size = 1_u64 << 40;
        assert!(size.div_ceil(part_size(16 << 20, size)) <= MAX_PARTS);
    }
}
