//! What ends a run early, and which exit code that is: the only place that knows.

use std::any::Any;

use super::RequestError;
use crate::{
    cancel::Stop,
    check::{self, CheckError},
    join::DimensionError,
    layer::{LayerError, MissingShare},
    report::Status,
    settings::{DeletionLimit, SettingsError},
    source::SourceError,
    store::{LockError, StoreError},
    warehouse::redshift::RedshiftError,
};

/// What ends a run early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A request that can't be served.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Settings that can't be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The source could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The layer could not be read or staged.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A dimension could not be made.
    #[error(transparent)]
    Dimension(#[from] DimensionError),
    /// The checks could not be run.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// The disk refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another run holds the output.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The layer changed while it was checked, each time.
    #[error(
        "{location}: the layer changed during each of {}, so what the checks found may not be so. Nothing was changed: check it when fewer runs are at work",
        crate::model::counted(*looks as u64, "look")
    )]
    LayerMoves {
        /// The output.
        location: String,
        /// How often it was looked at.
        looks: usize,
    },
    /// Checks of severity `error` failed.
    #[error("{} of severity error failed: {}{}{}", if names.len() == 1 { "a check" } else { "checks" }, names.join(", "), if *published { " (published all the same, as --on-check-failure says)" } else { "; nothing was published" }, if *published { "" } else { way_out(names) })]
    ChecksFailed {
        /// Their names.
        names: Vec<String>,
        /// Whether the run was published all the same.
        published: bool,
    },
    /// The records of the source have another shape than before, and the settings freeze it.
    #[error(
        "the records of the orders have another shape than before: {told}. Nothing was published, since `schema.on_change` is freeze: `etl run --accept-schema` accepts these changes and remembers them; `schema_changes` of the summary has them all"
    )]
    SchemaChanged {
        /// The first changes, in words.
        told: String,
    },
    /// The source lacks more of the stored orders than a run may delete.
    #[error("{}", too_many_deletions(share, *limit))]
    TooManyDeletions {
        /// How many.
        share: MissingShare,
        /// How many may be.
        limit: DeletionLimit,
    },
    /// The warehouse could not be loaded.
    #[error(transparent)]
    Warehouse(#[from] RedshiftError),
    /// A signal came.
    #[error("interrupted; nothing was published")]
    Interrupted(Stop),
    /// A signal came before a command had changed anything, such as where somebody was asked.
    #[error("interrupted; {unchanged}")]
    Unchanged {
        /// The signal.
        stop: Stop,
        /// What is as it was.
        unchanged: &'static str,
    },
    /// A signal came while an erasure was at work, before its commit.
    #[error(
        "interrupted before the erasure was decided. The tables still name the users. Files beside them that no longer do: {files}. Run the same command again: it does the rest"
    )]
    InterruptedErasure {
        /// The signal.
        stop: Stop,
        /// How many files beside the tables it has changed.
        files: u64,
    },
    /// A defect of this tool.
    #[error("internal error: {0}")]
    Internal(String),
}

/// What to do about a failed check, if that is not plain from its rows.
fn way_out(names: &[String]) -> &'static str {
    if names.iter().any(|name| name == check::UNIT_SLIP) {
        ". Prices are off by a factor of 100 or 1,000 from the last ones. Correct the profile's `scale` or the source; if the prices are right, \
         load them with --on-check-failure publish (`checks.unit_slip` sets the threshold)"
    } else {
        ""
    }
}

/// How many orders are missing, which ones, and what to do.
fn too_many_deletions(share: &MissingShare, limit: DeletionLimit) -> String {
    let MissingShare { missing, stored, first } = share;
    let first: Vec<_> = first.iter().map(|id| format!("`{id}`")).collect();
    let more = if *missing > first.len() as u64 { ", ..." } else { "" };
    format!(
        "the source no longer has {missing} of the {stored} stored orders of the window, and at most {limit} of them may be deleted: {}{more}. \
         Nothing was published. Find out why they are missing; if they are really gone, run it again with --delete-limit {}",
        first.join(", "),
        DeletionLimit::needed(*missing, *stored)
    )
}

impl RunError {
    /// The error of a panic, a defect of this tool.
    pub(crate) fn of_panic(panic: &(dyn Any + Send)) -> RunError {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
        RunError::Internal(text.map_or_else(|| "a panic".to_owned(), |text| format!("a panic: {text}")))
    }

    /// Whether it holds, whatever signal came then: the run has found something in the data, or may be committed. A signal is the cause
    /// of most other errors.
    pub(super) fn outlasts_signal(&self) -> bool {
        matches!(self, RunError::ChecksFailed { .. } | RunError::SchemaChanged { .. }) || self.may_be_committed()
    }

    /// Whether it says that the commit counts, or that this is unknown.
    pub(super) fn may_be_committed(&self) -> bool {
        self.is_unfinished_publish() || self.is_unknown_commit()
    }

    /// Whether a publish is decided that the next command finishes.
    pub(super) fn is_unfinished_publish(&self) -> bool {
        matches!(self, RunError::Store(StoreError::Unfinished { .. }))
    }

    /// Whether the run may be committed all the same: a later command then writes its report from its commit.
    pub(super) fn is_unknown_commit(&self) -> bool {
        matches!(self, RunError::Store(StoreError::UnknownCommit { .. }))
    }

    /// The exit code (contract, Command line).
    pub fn exit_code(&self) -> u8 {
        match self {
            RunError::Internal(_)
            | RunError::Layer(LayerError::Frame(_))
            | RunError::Dimension(DimensionError::Frame(_))
            | RunError::Check(CheckError::Engine(_) | CheckError::Query { .. }) => 1,
            RunError::Settings(_)
            | RunError::Request(_)
            | RunError::Layer(
                LayerError::Columns { .. }
                | LayerError::FileFormat { .. }
                | LayerError::Quantity { .. }
                | LayerError::TimeZone { .. }
                | LayerError::Shops { .. },
            )
            | RunError::Source(SourceError::Credentials { .. } | SourceError::Network(_))
            | RunError::Dimension(DimensionError::NoColumn { .. } | DimensionError::OldVersions { .. })
            | RunError::Check(CheckError::Custom { .. } | CheckError::Folder { .. })
            | RunError::Warehouse(
                RedshiftError::NoUrl
                | RedshiftError::NoConnection
                | RedshiftError::Connection
                | RedshiftError::ConnectionParameter { .. }
                | RedshiftError::Name { .. }
                | RedshiftError::PasswordCommand(_)
                | RedshiftError::EmptyLayer(_)
                | RedshiftError::MissingTable(_),
            ) => 2,
            RunError::Source(_) | RunError::Dimension(DimensionError::NoKey { .. }) => 3,
            RunError::ChecksFailed { .. }
            | RunError::SchemaChanged { .. }
            | RunError::TooManyDeletions { .. }
            | RunError::Warehouse(RedshiftError::Different(_)) => 4,
            RunError::Interrupted(Stop::Interrupt)
            | RunError::Unchanged { stop: Stop::Interrupt, .. }
            | RunError::InterruptedErasure { stop: Stop::Interrupt, .. }
            | RunError::Warehouse(RedshiftError::Interrupted(Stop::Interrupt)) => 130,
            RunError::Interrupted(Stop::Terminate)
            | RunError::Unchanged { stop: Stop::Terminate, .. }
            | RunError::InterruptedErasure { stop: Stop::Terminate, .. }
            | RunError::Warehouse(RedshiftError::Interrupted(Stop::Terminate)) => 143,
            RunError::Layer(_)
            | RunError::Store(_)
            | RunError::Dimension(DimensionError::Stored { .. })
            | RunError::Check(_)
            | RunError::Warehouse(_)
            | RunError::Lock(LockError::Store(_)) => 5,
            RunError::Lock(_) | RunError::LayerMoves { .. } => 6,
        }
    }

    /// Where the documentation says what the error means, and the way out.
    pub fn help(&self) -> &'static str {
        match self.exit_code() {
            2 => "docs/troubleshooting.md#exit-2",
            3 => "docs/troubleshooting.md#exit-3",
            4 => "docs/troubleshooting.md#exit-4",
            5 => "docs/troubleshooting.md#exit-5",
            6 => "docs/troubleshooting.md#exit-6",
            130 | 143 => "docs/troubleshooting.md#exit-130-and-143",
            _ => "docs/troubleshooting.md#exit-1",
        }
    }

    /// Commands that show the way out, for who reads the error alone: in a list of problems they would be in the way.
    pub fn examples(&self) -> &'static [&'static str] {
        match self {
            RunError::Settings(error) => error.examples(),
            _ => &[],
        }
    }

    /// The status in the summary.
    pub fn status(&self) -> Status {
        match self.exit_code() {
            2 => Status::InvalidConfiguration,
            3 => Status::ExtractFailed,
            4 => Status::ChecksFailed,
            5 => Status::StorageFailed,
            6 => Status::Locked,
            130 | 143 => Status::Interrupted,
            _ => Status::InternalError,
        }
    }
}
