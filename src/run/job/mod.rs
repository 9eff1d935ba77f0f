//! One run: wires the stages, in the order open, dimensions, extract, merge, check, publish; and tries again where another run was faster.
//!
//! What a stage does is in a module of `run`, what of it concerns this one run in a module of this folder.

mod attempt;
mod conclusion;
mod counts;
mod extraction;
mod lineage;
mod merging;
mod missing_orders;
mod opening;
mod orders;
mod publication;
mod request;
mod schema_change;

pub use request::{OrdersFrom, Outcome, QuarantineOf, Request};

use std::{
    collections::BTreeMap,
    panic::{self, AssertUnwindSafe},
    time::{Duration, Instant},
};

use self::{
    attempt::{Attempt, Begun, Ended, Failed, Joined, Lost, Rebase, is_of_the_layer},
    extraction::KnownMembers,
};
use super::{
    RunError,
    by_settings::access,
    conclude::{self, Verdict},
    deletions::{self, DeletionPlan},
    diff::LayerDiff,
    extract::KeptRecords,
    lineage::{RunEnd, RunLineage},
    observer::{StageClock, StageName},
    outside::{refuse_lineage_inside_layer, refuse_metrics_inside_layer},
    publish::has_moved,
    quarantine::Quarantine,
    stopped_or,
};
use crate::{
    check::{self, CustomCheck, Engine},
    layer::StoredState,
    lineage::WrittenLayer,
    model::{FactSchema, RunId, UtcMicros},
    net::Network,
    report::{
        DeletionCounts, Summary,
        telemetry::{self, RunTelemetry},
    },
    settings::{CheckScope, Settings, SettingsError, When},
    source::{self, Access, SourceCounters},
    store::{Lease, MOST_ATTEMPTS, NewPlaces, Output, Staging, StoreError, back_off, places},
};

/// The longest that a run waits before it merges again.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Runs the whole job once.
pub fn execute(request: &Request<'_>) -> Outcome {
    execute_in(request, Output::open(&request.settings.output))
}

/// Runs the whole job once over an output that was opened, or could not be.
pub(super) fn execute_in(request: &Request<'_>, opened: Result<Output, StoreError>) -> Outcome {
    let began = Instant::now();
    let started_at = UtcMicros::now();
    let run_id = RunId::new(started_at);
    let fixed = |when: Option<When>| when.and_then(|when| when.instant(started_at));
    let telemetry = RunTelemetry::start(request.settings.telemetry.as_ref(), &request.settings.http.network);
    let shop = request.settings.shop.as_ref().map(|shop| shop.name.as_str());
    let span = tracing::info_span!("run", run_id = run_id.as_str(), shop).entered();
    let (output, refused) = match opened {
        Ok(output) => (output, None),
        // Nothing is read or written there: the run ends before it.
        Err(error) => (Output::new(std::env::temp_dir().join(run_id.as_str())), Some(error)),
    };
    let new_places = NewPlaces::of(&output);
    let mut job = Job {
        request,
        settings: request.settings,
        output,
        schema: request.settings.schema(),
        summary: Summary {
            command: request.command,
            replay_of: request.orders.replayed().map(RunId::to_string),
            shop: shop.map(str::to_owned),
            cursor: request.settings.cursor,
            deletions: DeletionCounts { delete_missing: request.settings.deletions.mode, ..DeletionCounts::default() },
            ..Summary::new(run_id.to_string(), fixed(request.since), fixed(request.until), started_at)
        },
        counters: SourceCounters::default(),
        network: network(request.settings),
        lease: None,
        deletions: None,
        verdict: None,
        diff: None,
        written: None,
        began,
        waited: Duration::ZERO,
        clock: StageClock::default(),
        engine: Engine::default(),
    };
    let lineage = RunLineage::start(lineage::job(request), &job.summary);
    // A panic is a defect of this tool. It ends the run like any other error, with a report and alerts.
    let result = match refused {
        Some(error) => Err(error.into()),
        None => panic::catch_unwind(AssertUnwindSafe(|| job.run(&span))).unwrap_or_else(|panic| Err(RunError::of_panic(&*panic))),
    };
    let (output, written) = (job.output.clone(), job.written.take());
    let outcome = job.conclude(result.err().map(|error| stopped_or(request.cancel, error)));
    // A dry run, and one that ended before it had a lease, have written nothing.
    new_places.remove_unused();
    let end = RunEnd { summary: &outcome.summary, error: outcome.error.as_ref(), written: written.as_ref() };
    lineage.finish(end, request.cancel);
    telemetry::describe(&span, &outcome.summary);
    drop(span);
    conclude::send_telemetry(telemetry, request.settings, &output, &outcome.summary, request.cancel);
    outcome
}

/// The network of a run: the rate limits of its sources apply from the first request on.
fn network(settings: &Settings) -> Network {
    let network = Network::new(&settings.http);
    for source in [&settings.orders, &settings.users, &settings.products].into_iter().flatten() {
        source::limit_rate(source, &network);
    }
    network
}

struct Job<'a> {
    request: &'a Request<'a>,
    settings: &'a Settings,
    output: Output,
    schema: FactSchema,
    summary: Summary,
    counters: SourceCounters,
    /// One for all sources of the run.
    network: Network,
    /// The lease of the run, from the moment that it has it until its report is written.
    lease: Option<Lease>,
    /// What the run may delete, if it was asked to and its source is beyond doubt.
    deletions: Option<DeletionPlan>,
    /// The alerts of the run, if they were judged before the publish.
    verdict: Option<Verdict>,
    /// What the run would change, if that was asked for.
    diff: Option<LayerDiff>,
    /// What it has put in place, for its events.
    written: Option<WrittenLayer>,
    began: Instant,
    /// How long it has waited for other runs.
    waited: Duration,
    clock: StageClock,
    /// What the checks ask. It ends with the run, after its report is written.
    engine: Engine,
}

impl Job<'_> {
    fn run(&mut self, span: &tracing::Span) -> Result<(), RunError> {
        if self.settings.orders.is_none() && self.request.orders.replayed().is_none() {
            return Err(SettingsError::NoOrders.into());
        }
        deletions::refuse_by_kind(self.request)?;
        self.settings.masks.refuse_missing_key()?;
        self.require_credentials()?;
        refuse_metrics_inside_layer(self.settings, &self.output)?;
        refuse_lineage_inside_layer(self.settings)?;
        // Read before anything is fetched: a typing error in them should not cost an hour.
        let custom = check::load_custom(self.settings.checks.as_deref(), &self.settings.column_checks, &self.schema)?;
        self.enter(StageName::Open);
        self.engine = self.engine(&custom);
        let opened = self.take_output(span)?;
        let mut staging = Staging::create(&self.output, &self.summary.run_id)?;
        let orders = self.orders(&staging)?;
        self.summary.rebuilt_from = orders.raw.as_ref().map(|raw| raw.from.clone());
        let coverage = self.resolve_window(&orders.source, &opened)?;
        let mut base = self.open_catalog(opened, &staging.scratch(), StoredState::Use)?;
        self.require_one_source(&orders.source, &mut base)?;
        // As they are before anything is read: what is stored after that may be newer than the list.
        let before = if self.settings.deletions.mode.is_some() { base.catalog.state.partitions.clone() } else { BTreeMap::new() };
        let mut dimensions = self.dimensions(&base)?;
        let mut quarantine = Quarantine::new(&staging, &self.summary.run_id, self.settings.quarantine_mode);
        let mut raw = self.raw_writer(&staging);
        let kept = KeptRecords { quarantine: &mut quarantine, raw: raw.as_mut() };
        let known = KnownMembers { dimensions: &dimensions, erased: &base.catalog.state.erased };
        let mut extracted = self.extract(&orders, coverage.window, known, staging.scratch(), kept)?;
        quarantine.finish(&mut staging)?;
        self.summary.raw = raw.map_or(Ok(None), |raw| raw.finish(&mut staging))?;
        extracted.unknown.users.drain().for_each(|key| dimensions.users.infer(&key));
        extracted.unknown.products.drain().for_each(|key| dimensions.products.infer(&key));

        self.plan_deletions(&orders.source, coverage.window, before, &extracted);
        let as_extracted = self.summary.clone();
        let mut attempt = Attempt { base, dimensions, rebase: Rebase { earlier: None, enricher: None, dimensions_are_new: true } };
        for number in 0..MOST_ATTEMPTS {
            let attempt_began = Instant::now();
            let Summary { check_scope, checks, .. } = &mut self.summary;
            self.summary = Summary { check_scope: *check_scope, checks: std::mem::take(checks), ..as_extracted.clone() };
            let opened = attempt.base.opened.clone();
            let joined = if attempt.rebase.enricher.is_some() { Joined::Again } else { Joined::AsExtracted };
            let begun = Begun { attempt, extracted: &mut extracted, staging: &mut staging, custom: &custom };
            let (lost, dimensions) = match self.attempt(begun, coverage) {
                Ok(Ended::Published) => return Ok(()),
                Ok(Ended::Lost { run, dimensions }) => (Some(*run), dimensions),
                // What another run has committed meanwhile was read as if it were of the layer before: it says nothing of this run.
                Err(Failed { error, dimensions }) if is_of_the_layer(&error) && has_moved(&self.output, &opened)? => {
                    tracing::debug!(%error, "the layer has moved on");
                    (None, dimensions)
                }
                Err(Failed { error, .. }) => return Err(error),
            };
            tracing::info!(attempt = number + 1, "another run was committed first: what both have in common is merged again");
            back_off(number, LONGEST_WAIT);
            attempt = self.rebase(Lost { run: lost, dimensions: *dimensions, layer: opened, joined }, &mut staging)?;
            self.waited += attempt_began.elapsed();
        }
        Err(StoreError::Refused {
            location: self.output.location(),
            detail: "other runs were committed first, again and again: run it again".into(),
        }
        .into())
    }

    /// DuckDB: at once where the checks certainly have something to look at, else a little later, if nothing says before that they have
    /// not.
    fn engine(&self, custom: &[CustomCheck]) -> Engine {
        let is_first_run = self.output.folder().is_some_and(|folder| !folder.join(places::CURATED).exists());
        if is_first_run || !custom.is_empty() || self.settings.check_scope == CheckScope::Full {
            Engine::start()
        } else {
            Engine::start_later()
        }
    }

    fn enter(&mut self, stage: StageName) {
        self.request.observer.stage(stage);
        self.clock.enter(stage);
    }

    fn access(&self) -> Access<'_> {
        access(self.settings, &self.network, &self.counters, self.request.cancel)
    }
}
