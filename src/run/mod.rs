//! The job: wires the stages, counts, cancels; a backfill is many of it.
//!
//! ```text
//! source ─▶ normalize ─▶ stage ─▶ merge ─▶ check ─▶ publish
//! ```
//! It runs one way, and what may be published is only what was checked: `publish` takes nothing else.

mod backfill;
mod by_settings;
mod change;
mod changes;
mod check_layer;
mod completeness;
mod conclude;
mod config_problems;
mod deletions;
mod diff;
mod doctor;
mod drift;
mod erase;
mod error;
mod existing;
mod explain;
mod extract;
mod health;
mod job;
mod kept_record;
mod layer_report;
mod layer_status;
mod ledger;
mod lineage;
mod manifest;
mod mapped;
mod mapping_test;
mod members;
mod merge_all;
mod merge_budget;
mod observer;
mod open;
mod origin;
mod outside;
mod page_channel;
mod plan;
mod probe;
mod publish;
mod quarantine;
mod raw;
mod rebuild;
mod replay;
mod request_error;
mod rewrite;
#[cfg(test)]
mod scale_simulation;
mod shape;
mod shops;
mod staged_run;
mod undo;
mod vacuum;
mod versions;
mod warehouse;
mod window;

pub use backfill::{BackfillOutcome, BackfillRequest, ChunkChoice, Shard, backfill};
pub use changes::WhichRuns;
pub use check_layer::{CheckRequest, CheckedLayer, RebuiltState, check_history, check_layer, check_scripts, rebuild_state};
pub use conclude::NoticeOrigin;
pub use config_problems::config_problems;
pub use diff::{ChangedRow, LayerDiff, RevenueChange, RowChange, changes_since, diff};
pub use doctor::{Part, PartState, examine_parts};
pub use erase::{EraseRequest, Erased, erase, erase_command};
pub use error::RunError;
pub use existing::{has_layer, require_layer, warn_without_layer};
pub use explain::{
    AskWarehouse, DroppedPart, ExplainRequest, Explanation, FailedCheckOfOrder, LookedAt, NamedBy, RunChecks, Version, VersionLine,
    WarehouseRows, explain,
};
pub use health::{Unhealthy, load as how_to_load};
pub use job::{OrdersFrom, Outcome, QuarantineOf, Request, execute};
pub use layer_report::{LayerReportRequest, layer_facts};
pub use layer_status::{
    FailingCheck, HeldBy, LayerStatus, PartitionInShort, RawInShort, RunInShort, ShopInShort, UndoneLoad, layer_status,
};
pub use ledger::is_configured;
pub use lineage::tell_refused;
pub use mapped::{Mapped, MappedDrop, sample};
pub use mapping_test::{CaseResult, Difference, test_mapping};
pub use observer::{NoObserver, Observer, StageName};
pub use open::{host, recover_unless_held};
pub use outside::refuse_inside_layer;
pub use plan::{Plan, PlanRequest, PlannedChunk, plan};
pub use probe::{Evidence, Found, Probe, Proposal, probe};
pub use raw::Gaps;
pub use rebuild::{RebuildRequest, rebuild};
pub use replay::{replay, shop_of_run};
pub use request_error::{LaterRun, NoDeletions, RequestError};
pub use rewrite::{RewriteMode, Rewritten, rewrite};
pub use undo::{Undone, undo, undoable_runs};
pub use vacuum::{Vacuumed, vacuum};
pub use warehouse::{DayRange, Loaded, Repair, Repaired, Verified, Warehouse, WarehouseLoad};
pub use window::AskedWindow;

use crate::cancel::Cancel;

/// The cause of a failure. After a signal it is the signal, because it causes most other errors: not a failed check, and not a publish
/// that is decided, or may be.
fn stopped_or(cancel: &Cancel, error: RunError) -> RunError {
    match cancel.stopped() {
        Some(stop) if !error.outlasts_signal() => RunError::Interrupted(stop),
        _ => error,
    }
}

/// The error of work that a signal stopped.
fn interrupted(cancel: &Cancel) -> RunError {
    stopped_or(cancel, RunError::Internal("interrupted without a signal".into()))
}
