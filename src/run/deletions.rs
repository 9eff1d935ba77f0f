//! Orders that the source no longer has (`delete_missing`): whether a run may delete them, and which.
//!
//! Refuses rather than guesses. A run deletes an order only if
//! - its source is the only one that has ever brought orders to the layer, or of its shop, whose name its orders carry;
//! - the list of its window is proven to be complete;
//! - each record that it read names its order, and none names this one;
//! - all rows of the order lie in the window, in partitions that no other run has changed since this one began to extract.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    RequestError, RunError,
    extract::Extracted,
    job::{OrdersFrom, Request},
    ledger,
    request_error::NoDeletions,
};
use crate::{
    cancel::Cancel,
    coverage::{Interval, OrderSource, OrderSources},
    layer::{
        Catalog, DeletionScope, Deletions, LayerState, LookUpError, MissingOrders, MissingShare, PartitionEntry, PresentOrders,
        StoredPartitions,
    },
    model::{Dt, FactSchema, FileFormat, UtcMicros, Window, counted},
    report::{self, CommandName, DeletionCounts, Summary},
    settings::{Cursor, DeletionMode, Location, Settings, Shop, Source},
    source::CompletenessStatus,
    store::{Output, StoreError, places},
};

/// What a run may delete, settled once its source was read.
pub(super) struct DeletionPlan {
    scope: DeletionScope,
    /// The partitions as they were before the run began to extract.
    before: BTreeMap<Dt, PartitionEntry>,
    /// The partitions that some attempt has deleted from: each attempt merges them, so that nothing stale stays staged.
    partitions: BTreeSet<Dt>,
}

/// How stored partitions are read.
#[derive(Clone, Copy)]
pub(super) struct LayerReading<'a> {
    pub(super) output: &'a Output,
    pub(super) schema: &'a FactSchema,
    pub(super) format: FileFormat,
    pub(super) cancel: &'a Cancel,
}

/// Fails if a run of this kind can't tell which orders are gone.
///
/// # Errors
/// [`RequestError::NoDeletions`].
pub(super) fn refuse_by_kind(request: &Request<'_>) -> Result<(), RequestError> {
    let Settings { deletions, cursor, orders, .. } = request.settings;
    if deletions.mode.is_none() {
        return Ok(());
    }
    let why = match (request.command, cursor) {
        _ if request.orders != OrdersFrom::Source => NoDeletions::Replay,
        (CommandName::Demo, _) => NoDeletions::Demo,
        (_, Cursor::Updated) => NoDeletions::ByUpdate,
        (_, Cursor::Created) => match orders.as_ref().and_then(ledger::window_parameter) {
            Some(parameter) => NoDeletions::OwnWindow(parameter),
            None => return Ok(()),
        },
    };
    Err(why.into())
}

/// Fails if not all orders of a layer are known to be of one source. Otherwise returns its sources.
///
/// # Errors
/// [`RequestError::NoDeletions`]; I/O errors.
pub(super) fn sources_of_layer(
    output: &Output,
    head: u64,
    state: &LayerState,
    own: &OrderSource,
    shop: Option<&Shop>,
) -> Result<OrderSources, RunError> {
    let known = match &state.order_sources {
        Some(sources) => Some(sources.clone()),
        None if is_new(head, state) => Some(OrderSources::default()),
        None => sources_by_reports(output, head)?,
    };
    let mut others: BTreeSet<String> = known.iter().flat_map(|sources| sources.others(own)).map(|other| other.source.clone()).collect();
    let covered = state.coverage.sources.iter().map(|coverage| OrderSource::from(&coverage.identity));
    others.extend(covered.filter(|source| source != own).map(|source| source.source));
    // The orders of other shops carry the names of those.
    if let Some(prefix) = shop.map(Shop::id_prefix) {
        others.retain(|source| source.starts_with(&prefix));
    }
    if !others.is_empty() {
        return Err(RequestError::from(NoDeletions::OtherSources(others.into_iter().collect())).into());
    }
    Ok(known.ok_or(RequestError::from(NoDeletions::UnknownSources))?)
}

/// The sources of a layer whose commits did not keep them: those in the reports, if there is exactly one report for each commit.
fn sources_by_reports(output: &Output, head: u64) -> Result<Option<OrderSources>, StoreError> {
    let (mut sources, mut commits) = (OrderSources::default(), BTreeSet::new());
    for run in report::recorded_summaries(output)? {
        let run = run?;
        let Some(number) = run.commit else { continue };
        if !commits.insert(number) {
            return Ok(None);
        }
        if brings_orders(&run) {
            sources.add(source_of(output, &run)?);
        }
    }
    // Numbers are unique, so that this many up to the head are all of them.
    let is_whole = head > 0 && commits.len() as u64 == head && commits.last() == Some(&head);
    Ok(is_whole.then_some(sources))
}

/// Whether a run brings orders of a source. A rebuild brings those that runs of its source have brought before.
fn brings_orders(run: &Summary) -> bool {
    !matches!(run.command, CommandName::Undo | CommandName::Rebuild) && run.records.records_processed > 0
}

/// Whether nothing has ever been committed, and nobody has put a partition there.
fn is_new(head: u64, state: &LayerState) -> bool {
    head == 0 && state.partitions.is_empty()
}

/// The sources that have brought orders to a layer, once a run is committed on this head; `None` if that is not known.
///
/// # Errors
/// I/O errors.
pub(super) fn sources_after(
    output: &Output,
    head: u64,
    before: &LayerState,
    summary: &Summary,
) -> Result<Option<OrderSources>, StoreError> {
    let known = match &before.order_sources {
        _ if is_new(head, before) => Some(OrderSources::default()),
        None if lists_all_orders(summary) => Some(settled_sources(output, before)?),
        known => known.clone(),
    };
    let Some(mut sources) = known else { return Ok(None) };
    if brings_orders(summary) {
        sources.add(source_of(output, summary)?);
    }
    Ok(Some(sources))
}

/// Whether a run has read all orders of its source: after that, what the layer has is taken for orders of this source.
fn lists_all_orders(run: &Summary) -> bool {
    let is_proven = run.completeness.orders.as_ref().is_some_and(|orders| orders.status == CompletenessStatus::Proven);
    let has_no_window = run.since.is_none() && run.until.is_none();
    has_no_window && is_proven && run.identity.is_some() && brings_orders(run)
}

/// The sources of a layer that has forgotten them, but for that of a run that has read all orders of its own: those that reports and
/// coverage still name.
fn settled_sources(output: &Output, before: &LayerState) -> Result<OrderSources, StoreError> {
    let mut sources = OrderSources::default();
    for run in report::recorded_summaries(output)? {
        let run = run?;
        if run.commit.is_some() && brings_orders(&run) {
            sources.add(source_of(output, &run)?);
        }
    }
    before.coverage.sources.iter().for_each(|coverage| sources.add(OrderSource::from(&coverage.identity)));
    tracing::warn!(
        "it was not known which sources have brought the orders of this layer: this run has read all orders of its source, so that rows \
         which no report gives to another source count as of this one (--delete-missing)"
    );
    Ok(sources)
}

/// The source of the orders that a run has brought. The records of a replay are of the run that dropped them.
fn source_of(output: &Output, run: &Summary) -> Result<OrderSource, StoreError> {
    if let Some(identity) = &run.identity {
        return Ok(identity.into());
    }
    let unnamed = |source: String| OrderSource { source, profile: String::new() };
    let Some(run_id) = &run.replay_of else { return Ok(unnamed(format!("etl {}", run.command.as_str()))) };
    let report = output.read(places::report(run_id))?.and_then(|bytes| Summary::from_json(&bytes).ok());
    let identity = report.and_then(|report| report.identity);
    Ok(identity.map_or_else(|| unnamed(format!("the quarantine of run {run_id}")), |identity| OrderSource::from(&identity)))
}

/// Why a run that was asked to delete missing orders deletes none; `None` if it may. Known once its source was read.
pub(super) fn doubt(extracted: &Extracted) -> Option<String> {
    let completeness = &extracted.completeness;
    if completeness.status != CompletenessStatus::Proven {
        let why = completeness.why.as_deref().unwrap_or("nothing shows that all of it came");
        return Some(format!("the list of orders is not proven to be complete ({why})"));
    }
    let unknown = extracted.present.as_ref().map_or(0, PresentOrders::unknown);
    let records = match unknown {
        0 => return None,
        1 => "a record without a valid order id was read: it".to_owned(),
        _ => format!("{} without a valid order id were read: each of them", counted(unknown, "record")),
    };
    Some(format!("{records} may be any stored order"))
}

/// The part of a window that a run has asked its source for: never the future, and no more than the source serves.
pub(super) fn asked_interval(window: Window, orders: &Source, started_at: UtcMicros) -> Option<Interval> {
    let since = match &orders.location {
        // The query was made before now: what it asked for begins earlier.
        Location::Http(_) => orders.profile.http.filter.begins(window.since, UtcMicros::now()),
        Location::Files(_) | Location::Bucket(_) => window.since,
    };
    Interval::of_window(Window { since, ..window }, started_at)
}

impl DeletionPlan {
    /// The plan of a run that may delete what it has not read.
    pub(super) fn new(scope: DeletionScope, before: BTreeMap<Dt, PartitionEntry>) -> DeletionPlan {
        DeletionPlan { scope, before, partitions: BTreeSet::new() }
    }

    /// The stored orders of the window that the run has not read, by partitions that are as they were before it. `Err` with the numbers
    /// where there are too many. The index must be complete.
    ///
    /// # Errors
    /// [`LookUpError`].
    pub(super) fn find(
        &mut self,
        catalog: &mut Catalog,
        present: &mut PresentOrders,
        reading: LayerReading<'_>,
    ) -> Result<Result<Deletions, MissingShare>, LookUpError> {
        let LayerReading { output, schema, format, cancel } = reading;
        let Interval { start, end } = self.scope.window;
        let partitions = &catalog.state.partitions;
        let is_as_before = |dt: &Dt, entry: &PartitionEntry| self.before.get(dt).is_some_and(|before| before.version == entry.version);
        let in_window = partitions.range(Dt::of(start)..=Dt::of(end.minus(1)));
        let (days, changed): (Vec<_>, Vec<_>) = in_window.partition(|(dt, entry)| is_as_before(dt, entry));
        if !changed.is_empty() {
            tracing::info!(
                partitions = changed.len(),
                "other runs have changed days meanwhile: nothing is deleted there, and the next run looks again"
            );
        }
        let days: Vec<Dt> = days.into_iter().map(|(dt, _)| *dt).collect();
        let mut missing = {
            let stored = StoredPartitions::new(output, &catalog.state, schema, format);
            MissingOrders::find(&stored, &days, present, self.scope.clone(), cancel)?
        };
        let elsewhere = missing.elsewhere(catalog)?;
        missing.keep_those_in(&StoredPartitions::new(output, &catalog.state, schema, format), &elsewhere)?;
        let found = missing.settle();
        if let Ok(deletions) = &found {
            self.partitions.extend(deletions.partitions());
        }
        Ok(found)
    }

    /// The partitions that each attempt must merge.
    pub(super) fn partitions(&self) -> &BTreeSet<Dt> {
        &self.partitions
    }

    /// The error of a run that would delete too many orders.
    pub(super) fn too_many(&self, share: MissingShare) -> RunError {
        RunError::TooManyDeletions { share, limit: self.scope.limit }
    }
}

/// Counts and says what a run deletes.
pub(super) fn count(deletions: &Deletions, counts: &mut DeletionCounts) {
    let orders = deletions.count();
    if orders == 0 {
        return;
    }
    match deletions.mode() {
        DeletionMode::Remove => {
            counts.orders_deleted = orders;
            tracing::warn!(orders, "the source no longer has these orders: their rows are removed");
        }
        DeletionMode::Mark => {
            counts.orders_marked = orders;
            tracing::warn!(orders, "the source no longer has these orders: their rows get the status `deleted`");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{coverage::SourceIdentity, source::Completeness};

    fn source(name: &str) -> OrderSource {
        OrderSource { source: name.into(), profile: "default".into() }
    }

    fn run(number: u64, of: Option<&str>) -> Summary {
        let at = UtcMicros::new(0).unwrap();
        let identity = of.map(|of| SourceIdentity { source: of.into(), profile: "default".into(), cursor: "created_at".into() });
        let mut summary = Summary { commit: Some(number), identity, ..Summary::new(format!("run-{number}"), None, None, at) };
        summary.records.records_processed = 1;
        summary
    }

    #[test]
    fn a_run_adds_its_source_and_a_replay_that_of_its_records() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::new(dir.path().to_owned());
        output.prepare().unwrap();
        let first = run(1, Some("shop"));
        let sources = sources_after(&output, 0, &LayerState::default(), &first).unwrap();
        assert_eq!(sources.as_ref().map(|sources| sources.others(&source("shop")).count()), Some(0));
        report::write_report(&output, &first).unwrap();
        let state = LayerState { order_sources: sources, ..LayerState::default() };
        let replay = Summary { replay_of: Some("run-1".into()), ..run(2, None) };
        let others = |run: &Summary| {
            let after = sources_after(&output, 1, &state, run).unwrap().unwrap();
            after.others(&source("shop")).map(|other| other.source.clone()).collect::<Vec<_>>()
        };
        assert_eq!(others(&replay), [""; 0]);
        assert_eq!(others(&Summary { replay_of: Some("gone".into()), ..run(2, None) }), ["the quarantine of run gone"]);
        assert_eq!(others(&Summary { command: CommandName::Demo, ..run(2, None) }), ["etl demo"]);
        // What is not known stays unknown.
        assert_eq!(sources_after(&output, 1, &LayerState::default(), &first).unwrap(), None);
    }

    #[test]
    fn a_complete_list_of_all_orders_settles_the_sources_of_a_layer_that_forgot_them() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::new(dir.path().to_owned());
        output.prepare().unwrap();
        let with = |status| {
            let mut full = run(2, Some("shop"));
            let orders = Completeness { status, by: None, claimed: None, read: 1, distinct: None, why: None };
            full.completeness.orders = Some(orders);
            full
        };
        let full = with(CompletenessStatus::Proven);
        let after = |run: &Summary| sources_after(&output, 1, &LayerState::default(), run).unwrap();
        let others = |run: &Summary| after(run).map(|sources| sources.others(&source("shop")).count());
        assert_eq!(others(&full), Some(0));
        assert_eq!(others(&with(CompletenessStatus::Unproven)), None);
        assert_eq!(others(&Summary { since: UtcMicros::new(0), ..full.clone() }), None);
        assert_eq!(others(&Summary { identity: None, ..full.clone() }), None);
        report::write_report(&output, &run(1, Some("another"))).unwrap();
        assert_eq!(others(&full), Some(1), "a report names another source");
    }

    #[test]
    fn a_window_is_asked_for_up_to_now_and_from_where_the_source_serves_on() {
        let at = |day| UtcMicros::from_civil((2026, 1, day), 0, 0, 0).unwrap();
        let mut orders = Source::from("https://h/o".parse::<Location>().unwrap());
        let asked = |orders: &Source, since: Option<UtcMicros>| asked_interval(Window { since, until: None }, orders, at(20));
        assert_eq!(asked(&orders, None), Interval::new(UtcMicros::MIN, at(20)));
        orders.profile.http.filter.earliest = Some(crate::settings::When::At(at(5)));
        assert_eq!(asked(&orders, None), Interval::new(at(5), at(20)));
        assert_eq!(asked(&orders, Some(at(2))), Interval::new(at(2), at(20)), "what was asked for is sent as it is");
        assert_eq!(asked(&orders, Some(at(21))), None);
    }
}
