//! The job: wires the stages, counts, cancels; a backfill is many of it.
//!
//! ```text
//! source ─▶ normalize ─▶ stage ─▶ merge ─▶ check ─▶ publish
//! ```
//! It runs one way, and what may be published is only what was checked: `publish` takes nothing else.

mod backfill;
mod changes;
mod check_layer;
mod conclude;
mod error;
mod explain;
mod extract;
mod job;
mod layer_status;
mod ledger;
mod manifest;
mod merge_all;
mod open;
mod origin;
mod plan;
mod probe;
mod quarantine;
mod replay;
mod request_error;
mod rewrite;
mod shape;
mod window;

pub use backfill::{BackfillOutcome, BackfillRequest, ChunkChoice, backfill};
pub use changes::{WhichRuns, changes};
pub use check_layer::{check_layer, rebuild_state};
pub use error::RunError;
pub use explain::{
    AskWarehouse, CheckedRun, DroppedPart, ExplainRequest, Explanation, FailedCheckOfOrder, LookedAt, NamedBy, Version, VersionLine,
    Warehouse, explain, place_of,
};
pub use job::{Observer, Outcome, Request, Silent, execute};
pub use layer_status::{CoverageGap, FailingCheck, LayerStatus, PartitionInShort, RunInShort, layer_status};
pub use open::{host, recover_unless_held};
pub use plan::{Plan, PlanRequest, PlannedChunk, plan};
pub use probe::{Evidence, Found, Probe, Proposal, probe};
pub use replay::{quarantine_file, replay};
pub use request_error::RequestError;
pub use rewrite::{Rewritten, rewrite};
pub use window::AskedWindow;

use crate::cancel::Cancel;

/// What ended the work: a signal, whatever broke because of it, or else the error.
fn stopped_or(cancel: &Cancel, error: RunError) -> RunError {
    cancel.stopped().map_or(error, RunError::Interrupted)
}
