//! `etl rebuild`: a run over the records that earlier runs have kept, by the profile and the columns of today. Asks no source.
//!
//! It is one run and one commit, so that no reader sees rows of both mappings. Which records count is `raw`'s.

use super::{
    RunError,
    job::{self, OrdersFrom, Outcome, Request},
    ledger,
    lineage::{Job, tell_unbegun},
    observer::Observer,
    open::existing_layer,
    raw::{Gaps, RawInput},
};
use crate::{
    cancel::Cancel,
    lineage::Datasets,
    report::CommandName,
    settings::{DeletionSettings, Settings, SettingsError},
    store::{Output, places},
};

/// What is to be rebuilt.
pub struct RebuildRequest<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// Whether records count that were kept before a run which kept none.
    pub gaps: Gaps,
    /// How many rows of the difference to the stored layer are told; `None` if nothing is compared. For dry runs.
    pub diff: Option<usize>,
    /// The switch that stops the run.
    pub cancel: &'a Cancel,
    /// Watches the run.
    pub observer: &'a dyn Observer,
}

/// Maps the kept records again. The stored dimensions are used as they are. A row of equal version is replaced, and nothing is added to
/// coverage.
///
/// # Errors
/// There is no layer, or nothing is kept (exit 2). How the run itself ended is the outcome.
pub fn rebuild(request: &RebuildRequest<'_>) -> Result<Outcome, RunError> {
    let job = Job { settings: request.settings, command: CommandName::Rebuild, datasets: Datasets::Kept(places::RAW) };
    tell_unbegun(job, request.cancel, find_records(request))?;
    // Members are not kept by run: those that are stored are the newest.
    let settings = Settings { users: None, products: None, deletions: DeletionSettings::default(), ..request.settings.clone() };
    Ok(job::execute(&Request {
        settings: &settings,
        command: CommandName::Rebuild,
        orders: OrdersFrom::Raw(request.gaps),
        // With a window, an order without versions could go back to an older one: the newer one may lie outside of it.
        since: None,
        until: None,
        restart: None,
        diff: request.diff,
        cancel: request.cancel,
        observer: request.observer,
    }))
}

/// Fails if no kept records can be mapped again. The run itself looks again, once it holds the output. A rebuild of nothing is no run.
fn find_records(request: &RebuildRequest<'_>) -> Result<(), RunError> {
    let output = Output::open(&request.settings.output)?;
    // Of a run that was cut off, the records lie there before its report does.
    existing_layer(&output)?;
    let orders = request.settings.orders.as_ref().ok_or(SettingsError::NoOrders)?;
    RawInput::choose(&output, &ledger::identity(orders, request.settings), request.gaps)?;
    Ok(())
}
