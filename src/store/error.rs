//! I/O errors of the output (exit 5).

use std::{io, path::PathBuf};

/// An I/O error, or a damaged file.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// An operation that the system refused.
    #[error("can't {action} {}: {source}{}", path.display(), hint(source))]
    Io {
        /// What was to be done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file that is not what the journal says.
    #[error("{}: the journal of run {run_id} names this file, but neither its staged copy nor the published one is whole; restore it or remove {}", path.display(), journal.display())]
    Lost {
        /// The file.
        path: PathBuf,
        /// The run that was cut off.
        run_id: String,
        /// The journal.
        journal: PathBuf,
    },
    /// A publish that is decided, and that the disk keeps from being finished.
    #[error("{source}; run {run_id} is decided all the same: the next command finishes its publish")]
    Unfinished {
        /// The run.
        run_id: String,
        /// What the disk refused.
        source: Box<StoreError>,
    },
    /// A signal came before the publish was decided.
    #[error("interrupted")]
    Interrupted,
    /// A journal that can't be read, although a journal is only ever put in place whole.
    #[error("{}: damaged: {detail}; look at it before you remove it: it names the files of a publish that was cut off", path.display())]
    Journal {
        /// The journal.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => " (no space or no inodes are left: free some, then run again)",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => " (may this user write there?)",
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => " (a file stands where a folder is needed)",
        io::ErrorKind::IsADirectory => " (a folder stands where a file is needed)",
        _ => "",
    }
}

impl StoreError {
    /// Names the operation and the path of a system error.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.into();
        move |source| StoreError::Io { action, path, source }
    }
}
