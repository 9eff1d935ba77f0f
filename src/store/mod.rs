//! The output on local disk: its folders, the lock on it, and publishing as one step through a journal.
//!
//! Knows no orders: to it a publish is a set of files to be put and of files to be removed.

mod atomic;
mod disk;
mod error;
mod lock;
mod output;
pub mod places;
mod publish;

pub use atomic::replace_file;
pub use disk::{FileStamp, checksum, read, remove, remove_file, replace};
pub(crate) use disk::{size_and_time, sync, write_staged};
pub use error::StoreError;
pub use lock::{Holder, LockError, OutputLock};
pub use output::Output;
pub use publish::{Prepared, Recovery, Staging, is_cut_off, is_publishing, recover};
