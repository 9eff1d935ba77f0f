//! I/O errors of the output (exit 5).

use std::{io, path::PathBuf};

use crate::model::counted;

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
    /// A file that is to be written, in a folder that does not exist.
    #[error("can't write {}: its folder {} does not exist. Create the folder, or name another file", path.display(), folder.display())]
    MissingFolder {
        /// The file.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// An operation that a bucket refused.
    #[error("can't {action} {location}: {detail}")]
    Bucket {
        /// What was to be done.
        action: &'static str,
        /// To what.
        location: String,
        /// The status and the words of the store.
        detail: String,
    },
    /// An operation that this kind of store does not have.
    #[error("can't {action} {location}: this store does not support it")]
    Unsupported {
        /// What was to be done.
        action: &'static str,
        /// To what.
        location: String,
    },
    /// A file that is too large to replace the one at its place.
    #[error(
        "{location}: its new version has {}, and this store replaces a file in one request of at most {most}. Nothing was \
         published: write smaller files of facts with `--compression zstd`; docs/scale.md#what-breaks-first has more",
        counted(*bytes, "byte")
    )]
    TooLarge {
        /// The place of the file.
        location: String,
        /// Its size.
        bytes: u64,
        /// The most that it may have.
        most: u64,
    },
    /// An object that is not as it should be.
    #[error("{location}: {detail}")]
    Refused {
        /// The object.
        location: String,
        /// What is wrong.
        detail: String,
    },
    /// A publish that is decided, and that the store keeps from being finished.
    #[error("{source}; run {run_id} is decided all the same: the next command finishes its publish")]
    Unfinished {
        /// The run.
        run_id: String,
        /// What the store refused.
        source: Box<StoreError>,
    },
    /// A commit of which it is not known whether it counts: the answer was lost, and the log can't be read.
    #[error(
        "{source}; it is unknown whether run {run_id} is committed: `etl runs show {run_id}` tells, and a rerun changes nothing if it is"
    )]
    UnknownCommit {
        /// The run.
        run_id: String,
        /// What the store said.
        source: Box<StoreError>,
    },
    /// A signal came before the publish was decided.
    #[error("interrupted")]
    Interrupted,
    /// A change of the whole layer, which is not merged again, met a newer commit.
    #[error("{location}: another run was committed meanwhile; nothing was changed: run the command again")]
    CommittedMeanwhile {
        /// The output.
        location: String,
    },
    /// Other commands changed an object each time before this one could.
    #[error("{location}: other commands replace it again and again, so that this one had no turn")]
    Overtaken {
        /// The object.
        location: String,
    },
    /// Somebody removed the state of the output while a run was at work.
    #[error("{}: the lease of this run is gone: somebody removed the state of the output while the run was at work. Nothing was published", path.display())]
    StateRemoved {
        /// The lease.
        path: PathBuf,
    },
    /// A record of the log that can't be read, although records are only ever put whole.
    #[error("{location}: damaged: {detail}; `etl check --rebuild-state` makes the state again from curated/")]
    Record {
        /// The record.
        location: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A thread has died.
    #[error("a thread that reads or writes objects has died")]
    Worker,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => " (no space or no inodes are left: free some, then run again)",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => " (may this user write there?)",
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => " (a file stands where a folder is needed)",
        io::ErrorKind::IsADirectory => " (a folder stands where a file is needed)",
        io::ErrorKind::CrossesDevices => " (this folder is on another file system than the rest of the output)",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_to_run_again_what_is_published() {
        let overtaken = || StoreError::Overtaken { location: "s3://bucket/state/latest.json".into() };
        // A warning after a publish has the first, and the error of one that is cut off the second.
        for error in [overtaken(), StoreError::Unfinished { run_id: "one".into(), source: Box::new(overtaken()) }] {
            assert!(!error.to_string().contains("run this one again"), "{error}");
        }
    }
}
