//! What a run is asked for, and how it has ended. Does nothing of it.

use crate::{
    cancel::Cancel,
    coverage::Interval,
    model::RunId,
    report::{CommandName, Summary},
    run::{RunError, diff::LayerDiff, observer::Observer, raw::Gaps},
    settings::{Settings, When},
};

/// The quarantine that a replay reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuarantineOf<'a> {
    /// The run whose drops lie there.
    pub run_id: &'a RunId,
    /// The runs that had replayed it before this one waited for the output.
    pub replayed_by: &'a [String],
}

/// Where a run reads its orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OrdersFrom<'a> {
    /// The configured source.
    Source,
    /// The quarantine of a run: a replay.
    Quarantine(QuarantineOf<'a>),
    /// The records that runs have kept: a rebuild.
    Raw(Gaps),
}

impl<'a> OrdersFrom<'a> {
    /// The run whose quarantine is read.
    pub(super) fn replayed(self) -> Option<&'a RunId> {
        match self {
            OrdersFrom::Quarantine(of) => Some(of.run_id),
            OrdersFrom::Source | OrdersFrom::Raw(_) => None,
        }
    }
}

/// What is to be run.
pub struct Request<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// The command that starts the run.
    pub command: CommandName,
    /// Where the orders are read. Only a run over the source itself adds to coverage.
    pub orders: OrdersFrom<'a>,
    /// The start of the window.
    pub since: Option<When>,
    /// The end of the window.
    pub until: Option<When>,
    /// The window of the backfill that starts again with this run.
    pub restart: Option<Interval>,
    /// How many rows of the difference to the stored layer are told; `None` if nothing is compared. For dry runs.
    pub diff: Option<usize>,
    /// The switch that stops the run.
    pub cancel: &'a Cancel,
    /// Watches the run.
    pub observer: &'a dyn Observer,
}

/// How a run ended.
pub struct Outcome {
    /// The summary of the run.
    pub summary: Summary,
    /// The error that ended it early.
    pub error: Option<RunError>,
    /// What the run would change, if that was asked for.
    pub diff: Option<LayerDiff>,
}
