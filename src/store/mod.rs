//! The output: a folder or a bucket behind one small trait; the log of commits, the files that it projects, and leases.
//!
//! Knows keys, bytes and versions of objects, and no orders: to it a commit is a set of files to be put and of files to be removed.

mod acl;
mod atomic;
mod back_off;
mod bucket;
mod commit;
#[cfg(test)]
pub(crate) mod counting;
mod disk;
mod error;
#[cfg(test)]
mod faulty;
mod folder;
mod hint;
mod inlined;
mod key;
mod lease;
#[cfg(test)]
mod memory;
mod moment;
mod new_places;
mod object;
mod output;
pub mod places;
mod process;
mod projection;
#[cfg(test)]
mod promises;
pub mod protocol;
mod publish;
mod scratch;
#[cfg(test)]
mod simulation;
mod staged_writer;

pub use atomic::{replace_file, replace_secret};
pub use back_off::back_off;
pub use bucket::{Bucket, ListedObject, Part, ReadObjects};
pub use commit::{
    AppendError, Commit, Head, Installed, NewCommit, ObjectRef, Read, Removed, Told, change_told, commit, head, head_by_hint, kept_commits,
    records_set_aside, remove_commit, set_aside_damaged_log,
};
pub use disk::{FileStamp, Fingerprint, free_space, open_file, read, remove_file};
pub(crate) use disk::{exists, is_writable, size_and_time, sync, write_staged};
pub use error::StoreError;
pub use folder::Folder;
pub use hint::forget_copies;
pub use inlined::Inlined;
pub use key::Key;
pub use lease::{AlertsNote, HeldLease, Holder, Lease, LockError, Scope};
pub use new_places::NewPlaces;
pub use object::{Condition, Content, Listed, Names, Object, PutError, Store, Tag};
pub use output::Output;
pub use publish::{DecideError, MOST_ATTEMPTS, Recovery, Staging, is_publishing, recover};
pub use scratch::Scratch;
pub use staged_writer::{ContentSum, StagedWriter};
