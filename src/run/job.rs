//! One run: wires the stages, in the order open, dimensions, extract, merge, check, publish; and its summary, however it ends.
//!
//! What a stage does is in a module of its own. What follows a run (alerts, metrics, retention) is in `conclude`.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::{
    RunError,
    completeness::certify,
    conclude::{self, Verdict, Waited},
    deletions::{self, DeletionPlan, LayerReading},
    diff::{self, LayerDiff},
    drift::{self, Watched},
    extract::{Extracted, Extraction, Input, KeptRecords, OrdersWithoutLines, ShapeWatch},
    ledger,
    members::{Dimensions, LookUpTables, MemberReader},
    merge_all::{self, EarlierAttempt, MergedPartitions, Merger, Moves, NewEntryFiles, SideChange, StagedPartition},
    observer::{Observer, StageClock, StageName},
    open::{Opening, scope_of, settled_layer},
    publish::{PublishError, Publisher, RunCoverage, has_moved},
    quarantine::Quarantine,
    raw::{Gaps, RawHeader, RawInput, RawWriter},
    replay, shape, shops,
    staged_run::{CheckedRun, MergedRun, NewIndexEntries, StagedDimensions, StagedRun, StagingContext},
    window::{AskedWindow, gap_before},
};
use crate::{
    cancel::Cancel,
    check::{self, CheckError, CustomCheck, Engine},
    coverage::{Interval, OrderSource},
    drift::Shapes,
    join::Enricher,
    layer::{
        self, Catalog, DeletionScope, Deletions, LayerError, LookUpError, MergeCounts, MergeRules, MissingShare, OpenedLayer,
        PartitionEntry, PartitionOutcomes, PriceBook, StateOrigin, StoredPartitions, StoredState,
    },
    model::{Dt, FactSchema, FileFormat, Reason, RunId, UtcMicros, Window},
    net::{Network, redact},
    normalize::{Mapping, ReadPaths, RecordCounts, RecordNormalizer, RecordsOf},
    report::{
        self, CommandName, DeletionCounts, Status, Summary,
        telemetry::{self, RunTelemetry},
    },
    settings::{Cursor, Location, MergeBy, OnSchemaChange, RepeatedSku, Settings, SettingsError, Shop, Source, When, WhichLists},
    source::{self, Access, Query, SourceCounters, SourceError},
    store::{
        self, Key, Lease, LockError, MOST_ATTEMPTS, ObjectRef, Output, Scope, Staging, StoreError,
        places::{self, SideFact},
    },
};

/// Where a run reads its orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OrdersFrom<'a> {
    /// The configured source.
    Source,
    /// The quarantine of a run: a replay.
    Quarantine(&'a RunId),
    /// The records that runs have kept: a rebuild.
    Raw(Gaps),
}

impl<'a> OrdersFrom<'a> {
    /// The run whose quarantine is read.
    fn replayed(self) -> Option<&'a RunId> {
        match self {
            OrdersFrom::Quarantine(run_id) => Some(run_id),
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

/// Runs the whole job once.
pub fn execute(request: &Request<'_>) -> Outcome {
    let began = Instant::now();
    let started_at = UtcMicros::now();
    let run_id = RunId::new(started_at);
    let fixed = |when: Option<When>| when.and_then(|when| when.instant(started_at));
    let telemetry = RunTelemetry::start(request.settings.telemetry.as_ref(), &request.settings.http.network);
    let shop = request.settings.shop.as_ref().map(|shop| shop.name.as_str());
    let span = tracing::info_span!("run", run_id = run_id.as_str(), shop).entered();
    let opened = Output::open(&request.settings.output);
    let (output, refused) = match opened {
        Ok(output) => (output, None),
        // Nothing is read or written there: the run ends before it.
        Err(error) => (Output::new(std::env::temp_dir().join(run_id.as_str())), Some(error)),
    };
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
        began,
        clock: StageClock::default(),
    };
    // A panic is a defect of this tool. It ends the run like any other error, with a report and alerts.
    let result = match refused {
        Some(error) => Err(error.into()),
        None => panic::catch_unwind(AssertUnwindSafe(|| job.run(&span))).unwrap_or_else(|panic| Err(RunError::of_panic(&*panic))),
    };
    let output = job.output.clone();
    let outcome = job.conclude(result.err().map(|error| cause(error, request.cancel)));
    telemetry::describe(&span, &outcome.summary);
    drop(span);
    conclude::send_telemetry(telemetry, request.settings, &output, &outcome.summary, request.cancel);
    outcome
}

/// The cause of a failed run. After a signal it is the signal, because it causes most other errors: not a failed check, and not a
/// publish that is decided, which the next command finishes.
fn cause(error: RunError, cancel: &Cancel) -> RunError {
    match cancel.stopped() {
        Some(stop) if !error.is_finding() && !error.is_unfinished_publish() => RunError::Interrupted(stop),
        _ => error,
    }
}

/// What another attempt begins with, after another run was committed first.
struct Rebase {
    earlier: Option<EarlierAttempt>,
    /// Joins the lines again, if what facts carry of the dimensions has changed.
    enricher: Option<Enricher>,
    dimensions_are_new: bool,
}

/// One attempt to merge, check and publish.
struct Attempt {
    base: Base,
    dimensions: Dimensions,
    rebase: Rebase,
}

/// What an attempt works with.
struct Begun<'a> {
    attempt: Attempt,
    extracted: &'a mut Extracted,
    staging: &'a mut Staging,
    engine: Option<Engine>,
    custom: &'a [CustomCheck],
}

/// An attempt that another run was faster than.
struct Lost {
    /// What it has merged, if it came that far.
    run: Option<CheckedRun>,
    dimensions: Dimensions,
    /// The layer that it began with.
    layer: OpenedLayer,
    joined: Joined,
}

/// With which users and products the lines of an attempt were joined.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Joined {
    /// With those that were read when the lines were.
    AsExtracted,
    /// With those that another run has changed since.
    Again,
}

/// How an attempt has ended.
enum Ended {
    Published,
    /// Another run was committed first.
    Lost {
        run: Box<CheckedRun>,
        dimensions: Box<Dimensions>,
    },
}

/// An attempt that failed. Its dimensions are those of the next one.
struct Failed {
    error: RunError,
    dimensions: Box<Dimensions>,
}

/// Whether an error may come of files that another run has replaced while they were read.
fn is_of_the_layer(error: &RunError) -> bool {
    match error {
        RunError::ChecksFailed { published, .. } => !published,
        RunError::Layer(error) => matches!(error, LayerError::Changed { .. } | LayerError::Partition { .. }),
        RunError::Check(CheckError::Layer { .. }) => true,
        _ => false,
    }
}

/// Waits a random moment, longer with each attempt, so that writers do not meet again at once.
fn back_off(attempt: usize) {
    const LONGEST: u64 = 5000;
    let bound = (20_u64 << attempt.min(8)).min(LONGEST);
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), attempt);
    thread::sleep(Duration::from_millis(random % bound));
}

/// The network of a run: the rate limits of its sources apply from the first request on.
fn network(settings: &Settings) -> Network {
    let network = Network::new(&settings.http);
    for source in [&settings.orders, &settings.users, &settings.products].into_iter().flatten() {
        source::limit_rate(source, &network);
    }
    network
}

/// The orders of a run.
struct RunOrders {
    /// Where they are, and how they are read.
    source: Source,
    /// What is read in place of the source, for a rebuild.
    raw: Option<RawInput>,
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
    began: Instant,
    clock: StageClock,
}

/// What the layer has of the orders that a run has read, and of those that it has not.
struct LookedUp {
    moves: Moves,
    /// The orders to delete, or the numbers where there are too many.
    deletions: Option<Result<Deletions, MissingShare>>,
}

/// The layer that an attempt of a run begins with.
struct Base {
    opened: OpenedLayer,
    catalog: Catalog,
    stored: StoredState,
    /// The format of the files of partitions.
    format: FileFormat,
}

impl Job<'_> {
    fn run(&mut self, span: &tracing::Span) -> Result<(), RunError> {
        if self.settings.orders.is_none() && self.request.orders.replayed().is_none() {
            return Err(SettingsError::NoOrders.into());
        }
        deletions::refuse_by_kind(self.request)?;
        self.settings.masks.refuse_missing_key()?;
        self.require_credentials()?;
        // Read before anything is fetched: a typing error in them should not cost an hour.
        let custom = check::load_custom(self.settings.checks.as_deref(), &self.settings.column_checks, &self.schema)?;
        self.enter(StageName::Open);
        let opened = self.take_output(span)?;
        let mut engine = Some(Engine::start());
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
        let mut extracted = self.extract(&orders, coverage.window, &dimensions, staging.scratch(), kept)?;
        quarantine.finish(&mut staging)?;
        self.summary.raw = raw.map_or(Ok(None), |raw| raw.finish(&mut staging))?;
        extracted.unknown.users.drain().for_each(|key| dimensions.users.infer(&key));
        extracted.unknown.products.drain().for_each(|key| dimensions.products.infer(&key));

        self.plan_deletions(&orders.source, coverage.window, before, &extracted);
        let as_extracted = self.summary.clone();
        let mut attempt = Attempt { base, dimensions, rebase: Rebase { earlier: None, enricher: None, dimensions_are_new: true } };
        for number in 0..MOST_ATTEMPTS {
            self.summary = Summary { checks: std::mem::take(&mut self.summary.checks), ..as_extracted.clone() };
            let opened = attempt.base.opened.clone();
            let joined = if attempt.rebase.enricher.is_some() { Joined::Again } else { Joined::AsExtracted };
            let begun = Begun { attempt, extracted: &mut extracted, staging: &mut staging, engine: engine.take(), custom: &custom };
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
            back_off(number);
            attempt = self.rebase(Lost { run: lost, dimensions: *dimensions, layer: opened, joined }, &mut staging)?;
        }
        Err(StoreError::Refused {
            location: self.output.location(),
            detail: "other runs were committed first, again and again: run it again".into(),
        }
        .into())
    }

    /// Merges, checks and publishes once.
    fn attempt(&mut self, begun: Begun<'_>, coverage: RunCoverage) -> Result<Ended, Failed> {
        let Begun { attempt: Attempt { base, dimensions, rebase }, extracted, staging, engine, custom } = begun;
        let publish = || -> Result<Option<CheckedRun>, RunError> {
            let shapes = self.watch_shape(&base.opened, extracted)?;
            self.enter(StageName::Merge);
            let (before, sequence) = (base.opened.clone(), base.opened.number() + 1);
            let merged = self.merge(base, extracted, staging, rebase.earlier, rebase.enricher.as_ref())?;
            self.stage_lineage(&merged, extracted, staging, sequence)?;
            let staged_dimensions = StagedDimensions { dimensions: &dimensions, are_new: rebase.dimensions_are_new };
            let staged = merged.stage(self.staging_context(), staging, &staged_dimensions, extracted)?;
            self.count_uncovered(&staged);
            self.enter(StageName::Check);
            let cancel = self.request.cancel;
            let mut checked = staged.check(engine, custom, self.staging_context(), staging, cancel)?;
            checked.staged.next.shapes = shapes;
            self.publish(checked, &before, staging, coverage)
        };
        match publish() {
            Ok(None) => Ok(Ended::Published),
            Ok(Some(run)) => Ok(Ended::Lost { run: Box::new(run), dimensions: Box::new(dimensions) }),
            Err(error) => Err(Failed { error, dimensions: Box::new(dimensions) }),
        }
    }

    /// Prepares another attempt, on the layer that other runs have committed meanwhile.
    fn rebase(&self, lost: Lost, staging: &mut Staging) -> Result<Attempt, RunError> {
        let Lost { run: lost, dimensions, layer: before, joined } = lost;
        let opened = settled_layer(&self.output)?;
        staging.begin_attempt();
        let base = self.open_catalog(opened, &staging.scratch(), StoredState::Use)?;
        let earlier = lost.map(|lost| {
            let StagedRun { catalog, merged, .. } = lost.staged;
            EarlierAttempt { merged, stored: catalog.state.partitions, is_void: false }
        });
        let was_checked = earlier.is_some();
        let mut earlier = earlier.unwrap_or_else(|| EarlierAttempt { is_void: true, ..EarlierAttempt::default() });
        if joined == Joined::AsExtracted && before.state.dimensions == base.catalog.state.dimensions {
            let rebase = Rebase { earlier: Some(earlier), enricher: None, dimensions_are_new: !was_checked };
            return Ok(Attempt { base, dimensions, rebase });
        }
        let looked_up = LookUpTables::of(&dimensions, &self.settings.enrich)?;
        let reader =
            MemberReader { settings: self.settings, output: &self.output, access: self.access(), stored: &base.catalog.state.dimensions };
        let dimensions = reader.rebased(dimensions)?;
        // What facts carry of users and products may be another: then all lines are joined again.
        let says_other = !LookUpTables::of(&dimensions, &self.settings.enrich)?.say_the_same(&looked_up)?;
        earlier.is_void = earlier.is_void || says_other;
        let joins_again = says_other || joined == Joined::Again;
        let enricher = joins_again.then(|| Enricher::new(&dimensions.users, &dimensions.products, &self.settings.enrich)).transpose()?;
        // Members of both runs, merged by the same rules as each: there is nothing new in it that a check could find.
        let dimensions_are_new = earlier.is_void;
        Ok(Attempt { base, dimensions, rebase: Rebase { earlier: Some(earlier), enricher, dimensions_are_new } })
    }

    fn staging_context(&mut self) -> StagingContext<'_> {
        StagingContext { settings: self.settings, output: &self.output, summary: &mut self.summary }
    }

    /// Fails if credentials that a profile needs are missing: before the first request, and not after an hour.
    fn require_credentials(&self) -> Result<(), SourceError> {
        let Settings { orders, users, products, .. } = self.settings;
        let orders = orders.as_ref().filter(|_| self.request.orders == OrdersFrom::Source);
        let over_http =
            [orders, users.as_ref(), products.as_ref()].into_iter().flatten().filter(|source| matches!(source.location, Location::Http(_)));
        for source in over_http {
            if let Some(variables) = source.credentials.missing_for(&source.profile.http.auth) {
                return Err(SourceError::Credentials { variables });
            }
        }
        Ok(())
    }

    /// Takes the days of the window, and opens the layer.
    fn take_output(&mut self, span: &tracing::Span) -> Result<OpenedLayer, RunError> {
        self.output.prepare()?;
        let layer = settled_layer(&self.output)?;
        let opening = Opening {
            output: &self.output,
            started_at: self.summary.started_at,
            scope: self.scope(&layer)?,
            wait: self.settings.lock_wait,
            cancel: self.request.cancel,
            layer,
        };
        let run_id: RunId = self.summary.run_id.parse().map_err(|_| RunError::Internal("the run has no valid id".into()))?;
        let opened = opening.open(run_id)?;
        self.lease = Some(opened.lease);
        if opened.run_id.as_str() != self.summary.run_id {
            span.record("run_id", opened.run_id.as_str());
            self.summary.run_id = opened.run_id.to_string();
        }
        Ok(opened.layer)
    }

    /// The days that the run may change: those of its window, or all.
    fn scope(&self, layer: &OpenedLayer) -> Result<Scope, RunError> {
        let is_of_source = self.request.orders == OrdersFrom::Source;
        let Some(orders) = self.settings.orders.as_ref().filter(|_| is_of_source) else { return Ok(Scope::default()) };
        if self.settings.cursor != Cursor::Created {
            return Ok(Scope::default());
        }
        let ledger = ledger::read(&self.output, layer)?;
        let coverage = ledger.of(&ledger::identity(orders, self.settings));
        let asked = AskedWindow { since: self.request.since, until: self.request.until, lookback: self.settings.lookback };
        Ok(scope_of(asked.resolve(coverage, self.summary.started_at)?))
    }

    /// The orders: of the configured source, of the quarantine of the run that is replayed, or of what runs have kept.
    fn orders(&self, staging: &Staging) -> Result<RunOrders, RunError> {
        let configured = self.settings.orders.clone();
        match self.request.orders {
            OrdersFrom::Source => Ok(RunOrders { source: configured.ok_or(SettingsError::NoOrders)?, raw: None }),
            OrdersFrom::Quarantine(run_id) => {
                let file = replay::unwrap_quarantine(&self.output, run_id, &staging.scratch())?;
                let location = Location::Files(file.display().to_string());
                let source = match configured {
                    Some(orders) => Source { location, ..orders },
                    None => location.into(),
                };
                Ok(RunOrders { source, raw: None })
            }
            OrdersFrom::Raw(gaps) => {
                let orders = configured.ok_or(SettingsError::NoOrders)?;
                let raw = RawInput::choose(&self.output, &ledger::identity(&orders, self.settings), gaps)?;
                if raw.uncommitted > 0 {
                    tracing::warn!(runs = raw.uncommitted, "records in raw/ are left out: no report says that their runs were committed");
                }
                let location = Location::Files(self.output.location_of(&Key::from(places::RAW)));
                Ok(RunOrders { source: Source { location, ..orders }, raw: Some(raw) })
            }
        }
    }

    /// Keeps the records of the run, if they are to be kept. Those of a rebuild are kept already.
    fn raw_writer(&self, staging: &Staging) -> Option<RawWriter> {
        let is_kept = self.settings.raw.is_kept && !self.settings.dry_run && !matches!(self.request.orders, OrdersFrom::Raw(_));
        let identity = || self.settings.orders.as_ref().map(|orders| ledger::identity(orders, self.settings));
        is_kept.then(|| {
            let header = RawHeader::of(&self.summary, identity());
            RawWriter::new(staging, &self.summary.run_id, header, self.settings.quarantine_mode)
        })
    }

    /// Counts the rows of the layer that a rebuild has not brought again.
    fn count_uncovered(&mut self, staged: &StagedRun) {
        let MergeCounts { rows_inserted, rows_updated, rows_unchanged, rows_moved, .. } = self.summary.rows;
        let Some(rebuilt_from) = &mut self.summary.rebuilt_from else { return };
        let rows: u64 = staged.next.partitions.values().map(|partition| partition.rows).sum();
        rebuilt_from.rows_not_covered = rows.saturating_sub(rows_inserted + rows_updated + rows_unchanged + rows_moved);
    }

    /// The window that was asked for. Says what it leaves uncovered.
    fn resolve_window(&mut self, orders: &Source, opened: &OpenedLayer) -> Result<RunCoverage, RunError> {
        let ledger = ledger::read(&self.output, opened)?;
        let identity = ledger::identity(orders, self.settings);
        let (settings, started_at) = (self.settings, self.summary.started_at);
        let asked = AskedWindow { since: self.request.since, until: self.request.until, lookback: settings.lookback };
        shops::verify(settings, orders, &ledger, opened)?;
        let coverage = ledger.of(&identity);
        let window = asked.resolve(coverage, started_at)?;
        (self.summary.since, self.summary.until) = (window.since, window.until);
        self.summary.rules = ledger::rules(settings, orders);
        if self.request.since == Some(When::Last) && coverage.is_none() {
            tracing::info!("no run has loaded anything of this source yet: everything is loaded");
        }
        if let Some(gap) = gap_before(window, coverage).filter(|_| self.request.command == CommandName::Run) {
            tracing::warn!(
                gap_since = %gap.start,
                gap_until = %gap.end,
                "this run begins after what has been loaded and leaves a gap: `etl backfill --gaps` fills it, and `--since last` returns to it"
            );
        }
        self.say_what_is_shown(orders, window);
        let adds_to_coverage = self.request.orders == OrdersFrom::Source && self.request.command != CommandName::Demo;
        self.summary.identity = adds_to_coverage.then_some(identity);
        Ok(RunCoverage { window, restart: self.request.restart })
    }

    /// Notes where what the source shows of the window begins, and says so if that is later than the window.
    fn say_what_is_shown(&mut self, orders: &Source, window: Window) {
        if self.request.orders != OrdersFrom::Source || !matches!(orders.location, Location::Http(_)) {
            return;
        }
        let begins = orders.profile.http.filter.begins(window.since, self.summary.started_at);
        let Some(shown_since) = begins.filter(|begins| Some(*begins) > window.since) else { return };
        self.summary.shown_since = Some(shown_since);
        tracing::warn!(
            %shown_since,
            "the source shows nothing older than this (`orders.filter` of its profile): earlier orders are not loaded, and not covered"
        );
    }

    /// Fails if missing orders are to be deleted from a layer that has orders of other sources.
    fn require_one_source(&self, orders: &Source, base: &mut Base) -> Result<(), RunError> {
        if self.settings.deletions.mode.is_none() {
            return Ok(());
        }
        let own = OrderSource::from(&ledger::identity(orders, self.settings));
        let Base { opened, catalog, .. } = base;
        let (head, shop) = (opened.number(), self.settings.shop.as_ref());
        catalog.state.order_sources = Some(deletions::sources_of_layer(&self.output, head, &catalog.state, &own, shop)?);
        Ok(())
    }

    /// Settles whether the run may delete what it has not read. Says so if it may not.
    fn plan_deletions(&mut self, orders: &Source, window: Window, before: BTreeMap<Dt, PartitionEntry>, extracted: &Extracted) {
        let settings = self.settings.deletions;
        let Some(mode) = settings.mode else { return };
        if let Some(why) = deletions::doubt(extracted) {
            tracing::warn!(why, "orders that the source no longer has are not looked for: nothing is deleted");
            self.summary.deletions.deletions_refused = Some(why);
            return;
        }
        let asked = deletions::asked_interval(window, orders, self.summary.started_at);
        let id_prefix = self.settings.shop.as_ref().map(Shop::id_prefix);
        self.deletions = asked.map(|window| DeletionPlan::new(DeletionScope { id_prefix, mode, limit: settings.limit, window }, before));
    }

    /// Sets the number of different orders of files: it is that of the run's orders, if no record was left out.
    fn count_orders(&mut self, orders: u64) {
        let records = &self.summary.records;
        let is_line = self.settings.orders.as_ref().is_some_and(|orders| orders.profile.lines.which == WhichLists::Record);
        let further = records.records_processed.saturating_sub(orders);
        if is_line && further > 0 {
            let outcome = match self.settings.merge {
                MergeBy::Line => "of one sku the later record counts",
                MergeBy::Order => "with `merge = \"order\"` the last record alone counts (`merge = \"line\"` keeps the others)",
            };
            tracing::warn!(further, "several records are of one order, and `lines = \".\"` makes each a version of it: {outcome}");
        }
        let has_all = records.records_processed == records.records_read && records.records_skipped == 0;
        if let Some(completeness) = self.summary.completeness.orders.as_mut().filter(|_| has_all) {
            completeness.distinct = completeness.distinct.or(Some(orders));
        }
    }

    fn open_catalog(&self, mut opened: OpenedLayer, scratch: &Path, stored: StoredState) -> Result<Base, RunError> {
        if opened.origin != StateOrigin::Log {
            opened.state.coverage = ledger::read(&self.output, &opened)?;
        }
        let catalog = Catalog::open(&self.output, &opened, &self.schema, scratch.join("fresh"), self.request.cancel, stored)?;
        if self.output.folder().is_none() && opened.head.is_none() && !catalog.found().is_empty() {
            // What was found may be the files of a first commit that another run has put meanwhile.
            let again = settled_layer(&self.output)?;
            if again.head.is_some() {
                return self.open_catalog(again, scratch, stored);
            }
        }
        if catalog.is_rebuilt() && !catalog.state.partitions.is_empty() {
            let partitions = catalog.state.partitions.len();
            tracing::warn!(partitions, "the state of the layer was missing or damaged, and was rebuilt from curated/");
        } else {
            for dt in catalog.lost() {
                tracing::warn!(%dt, "a published partition is gone: somebody removed it; the layer goes on without it");
            }
            for dt in catalog.read_again() {
                tracing::warn!(%dt, "the partition is not as it was published: somebody changed it; it is valid and is used as it is");
            }
            for (fact, dt) in catalog.changed_sides() {
                match fact {
                    SideFact::OrderTotals => {
                        tracing::warn!(%dt, "the totals of the partition's orders are not as they were published: they are used as they are");
                    }
                    SideFact::Refunds => {
                        tracing::warn!(%dt, "the refunds of the day are not as they were published: they are used as they are");
                    }
                }
            }
        }
        let format = catalog.state.format_to_write(self.settings.file_format)?;
        Ok(Base { opened, catalog, stored, format })
    }

    /// The last known prices. Reads them from the whole layer if they are not stored, or partitions vanished.
    fn open_prices(&self, catalog: &Catalog, stored: &StoredPartitions<'_>) -> Result<PriceBook, RunError> {
        if self.settings.unit_slip.is_none() {
            return Ok(PriceBook::default());
        }
        let known = PriceBook::read(&self.output, catalog.state.prices.as_ref())?.filter(|_| catalog.lost().is_empty());
        let Some(mut prices) = known else {
            if !catalog.state.partitions.is_empty() {
                tracing::info!(partitions = catalog.state.partitions.len(), "the last known prices are read from the whole layer");
            }
            return Ok(PriceBook::rebuild(stored, catalog.state.partitions.keys().copied(), self.request.cancel)?);
        };
        for &dt in catalog.read_again() {
            prices.offer_partition(stored, dt)?;
        }
        Ok(prices)
    }

    fn enter(&mut self, stage: StageName) {
        self.request.observer.stage(stage);
        self.clock.enter(stage);
    }

    fn access(&self) -> Access<'_> {
        let settings = self.settings;
        Access {
            http: &settings.http,
            network: &self.network,
            limits: &settings.limits,
            memory_limit: settings.memory_limit,
            counters: &self.counters,
            cancel: self.request.cancel,
        }
    }

    fn dimensions(&mut self, base: &Base) -> Result<Dimensions, RunError> {
        self.enter(StageName::Dimensions);
        let mut completeness = std::mem::take(&mut self.summary.completeness);
        let stored = &base.catalog.state.dimensions;
        let reader = MemberReader { settings: self.settings, output: &self.output, access: self.access(), stored };
        let dimensions = reader.dimensions(&mut completeness);
        self.summary.completeness = completeness;
        dimensions
    }

    fn extract(
        &mut self,
        orders: &RunOrders,
        window: Window,
        dimensions: &Dimensions,
        scratch: PathBuf,
        kept: KeptRecords<'_>,
    ) -> Result<Extracted, RunError> {
        self.enter(StageName::Extract);
        let RunOrders { source: orders, raw } = orders;
        let enricher = Enricher::new(&dimensions.users, &dimensions.products, &self.settings.enrich)?;
        let mapping = self.mapping(orders);
        let shape = shape::of_orders(&orders.profile);
        let normalizer = RecordNormalizer::configured(&mapping, window);
        let normalizer = if self.settings.deletions.mode.is_some() { normalizer.noting_orders() } else { normalizer };
        let input = match raw {
            Some(raw) => Input::Raw { raw, output: &self.output },
            None => Input::Source {
                orders: &orders.location,
                query: Query { window, cursor: self.settings.cursor, ..Query::all(orders, &shape) },
            },
        };
        let extraction = Extraction {
            input,
            settings: self.settings,
            normalizer: &normalizer,
            enricher: &enricher,
            access: self.access(),
            observer: self.request.observer,
            without_lines: self.orders_without_lines(),
            shape_watch: self.shape_watch(),
        };
        let extracted = extraction.run(scratch, kept)?;
        self.summary.records = extracted.counts.clone();
        self.summary.completeness.orders = Some(extracted.completeness.clone());
        certify(&orders.location, &extracted.completeness, self.settings)?;
        if let Some(seems) = &extracted.no_record_is_json {
            let (location, records) = (orders.location.to_string(), extracted.counts.records_read);
            return Err(SourceError::NoRecordIsJson { location, records, seems: seems.clone() }.into());
        }
        self.summary.rows.duplicates_dropped += extracted.counts.lines_summed;
        tracing::info!(
            records_read = extracted.counts.records_read,
            records_dropped = self.summary.records_dropped(),
            "the source has been read"
        );
        self.warn_of_what_was_read(&extracted.counts);
        Ok(extracted)
    }

    /// How records become rows.
    fn mapping<'m>(&'m self, orders: &'m Source) -> Mapping<'m> {
        Mapping {
            profile: Some(&orders.profile),
            shop: self.settings.shop.as_ref(),
            columns: &self.settings.fact_columns,
            cursor: self.settings.cursor,
            repeated_sku: self.settings.repeated_sku,
            quantity: self.schema.quantity(),
            limits: self.settings.limits,
            masks: Some(&self.settings.masks),
            records: match self.request.orders {
                OrdersFrom::Quarantine(_) => RecordsOf::Quarantine,
                OrdersFrom::Source | OrdersFrom::Raw(_) => RecordsOf::Source,
            },
        }
    }

    /// Whether the shape of the records is observed: of a source that coverage counts for, unless the settings ignore it.
    fn shape_watch(&self) -> ShapeWatch {
        match (self.settings.on_schema_change, &self.summary.identity) {
            (OnSchemaChange::Ignore, _) | (_, None) => ShapeWatch::Off,
            (OnSchemaChange::Tell | OnSchemaChange::Freeze, Some(_)) => ShapeWatch::On,
        }
    }

    /// Compares the shape of the records with the one that the layer remembers, and returns what it remembers next.
    ///
    /// # Errors
    /// [`RunError::SchemaChanged`], if it has changed and the settings freeze it.
    fn watch_shape(&mut self, opened: &OpenedLayer, extracted: &Extracted) -> Result<Shapes, RunError> {
        let mut shapes = opened.state.shapes.clone();
        let (Some(orders), Some(identity), ShapeWatch::On) = (&self.settings.orders, self.summary.identity.clone(), self.shape_watch())
        else {
            return Ok(shapes);
        };
        let reads = ReadPaths::of(&self.mapping(orders));
        let Watched { changes, omitted, shape } = drift::watch(shapes.of(&identity), &extracted.shape, &reads, &self.settings.fact_columns);
        let told = crate::drift::told(&changes, omitted);
        (self.summary.schema_changes, self.summary.schema_changes_omitted) = (changes, omitted);
        if let Some(shape) = shape {
            shapes.remember(&identity, shape);
        }
        let has_changed = !told.is_empty();
        if has_changed && self.settings.on_schema_change == OnSchemaChange::Freeze && !self.settings.accept_schema {
            return Err(RunError::SchemaChanged { told });
        }
        if has_changed {
            tracing::warn!(of_source = identity.source, "the records of the orders have another shape than before: {told}");
        }
        Ok(shapes)
    }

    fn orders_without_lines(&self) -> OrdersWithoutLines {
        match (self.settings.merge, self.request.orders) {
            (MergeBy::Order, OrdersFrom::Source | OrdersFrom::Raw(_)) => OrdersWithoutLines::Versions,
            (MergeBy::Order, OrdersFrom::Quarantine(_)) | (MergeBy::Line, _) => OrdersWithoutLines::DroppedOnly,
        }
    }

    /// Says what of the source may not have been meant so.
    fn warn_of_what_was_read(&self, counts: &RecordCounts) {
        let refunds = counts.refunds_dropped;
        if refunds > 0 {
            tracing::warn!(refunds, "refunds were dropped: each needs an id, a time, and an amount or lines with amounts, all readable");
        }
        let lines = counts.decimal_quantities;
        if lines > 0 {
            let way_out = "`fact.quantity = \"decimal\"` in etl.toml keeps them";
            tracing::warn!(lines, "lines were dropped because their quantities have decimals: {way_out}");
        }
        if self.settings.has_unknown_money() {
            tracing::warn!(
                "`fact.money = \"lines\"`: the profile of the orders names none of these amounts, so that their columns are empty"
            );
        }
        let orders = counts.of(Reason::EmptyItems);
        if orders > 0 && self.orders_without_lines() == OrdersWithoutLines::Versions {
            tracing::warn!(orders, "orders have no lines: where the list is there and empty, rows that the layer has of them go");
        }
        let repeated_skus = counts.repeated_skus;
        if repeated_skus > 0 {
            let outcome = match self.settings.repeated_sku {
                RepeatedSku::Last => "the later line wins",
                RepeatedSku::Sum => "their quantities and totals are added up",
            };
            tracing::warn!(repeated_skus, "skus that stand on more than one line of their record: {outcome}");
        }
    }

    /// Merges the lines of the run with the stored partitions.
    fn merge(
        &mut self,
        base: Base,
        extracted: &mut Extracted,
        staging: &Staging,
        earlier: Option<EarlierAttempt>,
        enricher: Option<&Enricher>,
    ) -> Result<MergedRun, RunError> {
        let Base { opened, mut catalog, stored, format } = base;
        let (file, refunds_file) = (staging.scratch().join("new_entries.idx"), staging.scratch().join("new_refund_entries.idx"));
        let new = NewEntryFiles { orders: &file, refunds: &refunds_file };
        let found = match self.look_up(&mut catalog, extracted, &new, format) {
            Err(LookUpError::Damaged) if stored == StoredState::Use => {
                catalog = self.open_catalog(opened, &staging.scratch(), StoredState::Rebuild)?.catalog;
                self.look_up(&mut catalog, extracted, &new, format)
            }
            found => found,
        };
        let LookedUp { moves, deletions } = found.map_err(|error| match error {
            LookUpError::Layer(error) => RunError::from(error),
            LookUpError::Damaged => RunError::Internal("the index is damaged right after it was rebuilt".into()),
        })?;
        let deletions = self.within_limit(deletions)?;
        self.count_orders(moves.order_count);
        let index = NewIndexEntries { file, index_changed: moves.new_entries > 0 || catalog.is_stale() };
        let refunds_changed = moves.new_refund_entries > 0 || catalog.is_stale();
        let refund_index = NewIndexEntries { file: refunds_file, index_changed: refunds_changed };
        let mut shared_partitions = moves.shared_partitions.clone();
        let touches = |partitions: &&BTreeSet<Dt>| extracted.lines.partitions().any(|dt| partitions.contains(&dt));
        catalog.found_again().filter(touches).for_each(|partitions| shared_partitions.extend(partitions));
        let stored = StoredPartitions::new(&self.output, &catalog.state, &self.schema, format);
        let prices = self.open_prices(&catalog, &stored)?;
        let no_partitions = BTreeSet::new();
        let merger = Merger {
            stored: &stored,
            extracted,
            staging,
            rules: MergeRules {
                schema: &self.schema,
                by: self.settings.merge,
                known_prices: self.settings.unit_slip.is_some().then_some(&prices),
                dropped_lines: extracted.lines.dropped_lines(),
                repeated_sku: self.settings.repeated_sku,
                deletions: deletions.as_ref(),
            },
            deletion_partitions: self.deletions.as_ref().map_or(&no_partitions, DeletionPlan::partitions),
            format,
            enricher,
            threads: self.merge_threads(extracted),
            cancel: self.request.cancel,
            observer: self.request.observer,
        };
        let merged = merger.merge_all(moves, earlier)?;
        self.warn_of_lost_sides(&merged);
        let seen = stored.seen();
        Ok(MergedRun { format, catalog, merged, shared_partitions, index, refund_index, prices, seen })
    }

    /// Looks up the orders of the run, and those that are missing in it.
    fn look_up(
        &mut self,
        catalog: &mut Catalog,
        extracted: &mut Extracted,
        new_entries: &NewEntryFiles<'_>,
        format: FileFormat,
    ) -> Result<LookedUp, LookUpError> {
        let mut moves = merge_all::find_moves(catalog, extracted, new_entries)?;
        let deletions = match (&mut self.deletions, &mut extracted.present) {
            (Some(plan), Some(present)) => {
                let reading = LayerReading { output: &self.output, schema: &self.schema, format, cancel: self.request.cancel };
                Some(plan.find(catalog, present, reading)?)
            }
            _ => None,
        };
        if let Some(Ok(deletions)) = &deletions {
            catalog.add_refund_days(deletions.removed().map(Ok), &mut moves.refund_days)?;
        }
        Ok(LookedUp { moves, deletions })
    }

    /// The orders to delete, counted.
    fn within_limit(&mut self, found: Option<Result<Deletions, MissingShare>>) -> Result<Option<Deletions>, RunError> {
        match (found, &self.deletions) {
            (Some(Ok(deletions)), _) => {
                deletions::count(&deletions, &mut self.summary.deletions);
                Ok(Some(deletions))
            }
            (Some(Err(share)), Some(plan)) => {
                let error = plan.too_many(share);
                self.summary.deletions.deletions_refused = Some(error.to_string());
                Err(error)
            }
            _ => Ok(None),
        }
    }

    /// Says that orders lose their totals or refunds to a source that says none.
    fn warn_of_lost_sides(&self, merged: &MergedPartitions) {
        let profile = self.settings.orders.as_ref().map(|orders| &orders.profile);
        let changes = |change: &SideChange| !matches!(change, SideChange::Unchanged);
        let partitions = merged.partitions.values().filter(|partition| changes(&partition.totals)).count();
        if partitions > 0 && profile.is_none_or(|profile| profile.totals.is_none()) {
            tracing::warn!(partitions, "the profile maps no totals of orders: the stored totals of orders that have a newer version go");
        }
        let days = merged.refunds.values().filter(|change| changes(change)).count();
        if days > 0 && profile.is_none_or(|profile| profile.refunds.is_none()) {
            tracing::warn!(days, "the profile maps no refunds: the stored refunds of orders that have a newer version go");
        }
    }

    /// Stages which record brought which version of an order, and what the merge made of it.
    fn stage_lineage(&self, merged: &MergedRun, extracted: &mut Extracted, staging: &mut Staging, sequence: u64) -> Result<(), LayerError> {
        let outcomes = merged.merged.partitions.values().map(|StagedPartition { merged, .. }| PartitionOutcomes {
            dt: merged.dt,
            lines: &merged.outcomes,
            deleted: &merged.deleted,
        });
        extracted.lineage.stage(staging, sequence, &self.summary.run_id, &outcomes.collect::<Vec<_>>())
    }

    /// The number of threads that merge. Their partitions fit into half of the memory, each in about twelve times its staged bytes:
    /// columns, keys, the stored CSV and the new one.
    fn merge_threads(&self, extracted: &Extracted) -> usize {
        let fit = self.settings.memory_limit.map_or(u64::MAX, |limit| limit / 2 / (12 * extracted.lines.largest()).max(1));
        self.settings.threads.min(usize::try_from(fit).unwrap_or(usize::MAX)).max(1)
    }

    /// Publishes a checked run. Gives it back if another run was committed first.
    fn publish(
        &mut self,
        mut checked: CheckedRun,
        base: &OpenedLayer,
        staging: &mut Staging,
        coverage: RunCoverage,
    ) -> Result<Option<CheckedRun>, RunError> {
        if self.request.cancel.is_stopped() {
            return Err(super::interrupted(self.request.cancel));
        }
        let failed = checked.failed.clone();
        let publishes = !self.settings.dry_run;
        if let Some(limit) = self.request.diff {
            self.diff = Some(self.compare(&checked.staged, staging, limit)?);
        }
        self.summary.status = match (self.settings.dry_run, checked.staged.has_changes()) {
            (true, _) => Status::DryRun,
            (false, true) => Status::Published,
            (false, false) => Status::Unchanged,
        };
        if publishes {
            self.enter(StageName::Publish);
            self.count_so_far();
            let (settings, output, cancel) = (self.settings, &self.output, self.request.cancel);
            let publisher = Publisher { settings, output, lease: self.lease.as_ref(), cancel };
            match publisher.publish(&mut checked, base, staging, coverage, &mut self.summary) {
                Ok(verdict) => self.verdict = Some(verdict),
                Err(PublishError::Moved) => return Ok(Some(checked)),
                Err(PublishError::Failed(error)) => return Err(error),
            }
            tracing::info!(status = self.summary.status.as_str(), partitions = self.summary.partitions_written.len(), "done");
        }
        if failed.is_empty() { Ok(None) } else { Err(RunError::ChecksFailed { names: failed, published: publishes }) }
    }

    /// What the run changes, row by row.
    fn compare(&self, staged: &StagedRun, staging: &Staging, limit: usize) -> Result<LayerDiff, RunError> {
        let staged_files: BTreeMap<_, _> = staging.installed().into_iter().map(|put| (put.version.object.clone(), put.key)).collect();
        let found: BTreeMap<_, _> = staged.catalog.found().iter().map(|(key, version)| (version.object.clone(), key.clone())).collect();
        let read = |version: &ObjectRef| match (staged_files.get(&version.object), found.get(&version.object)) {
            (Some(key), _) => Ok(store::read(&staging.staged(key))?.unwrap_or_default()),
            (None, Some(key)) => Ok(self.output.read(key)?.unwrap_or_default()),
            (None, None) => Ok(self.output.read_version(version)?),
        };
        diff::compare(&staged.catalog.state, &staged.next, limit, &read)
    }

    /// Brings the summary up to date.
    fn count_so_far(&mut self) {
        self.summary.stage_seconds = self.clock.seconds();
        self.summary.source = self.counters.counts();
        self.summary.peak_memory_bytes = conclude::peak_memory_bytes();
        self.summary.finished_at = UtcMicros::now();
        self.summary.execution_time_seconds = self.began.elapsed().as_secs_f64();
        self.summary.count_values();
    }

    /// The outcome, however the run ended. Its report is kept if the run has the output, or if another run holds it.
    fn conclude(mut self, error: Option<RunError>) -> Outcome {
        self.clock.leave();
        self.count_so_far();
        let _span = tracing::info_span!("stage", stage = <&str>::from(StageName::Report)).entered();
        let published = matches!(error, Some(RunError::ChecksFailed { published: true, .. }));
        if let Some(error) = &error {
            self.summary.status = error.status();
            self.summary.error = Some(redact::text(&error.to_string()).into_owned());
            if !published {
                // The summary of a run that publishes nothing names no partition as written.
                self.summary.partitions_written.clear();
                self.summary.partitions_removed.clear();
                self.summary.order_totals_changed.clear();
                self.summary.refunds_changed.clear();
                self.summary.commit = None;
                self.summary.raw = None;
            }
        }
        let success = error.is_none();
        if self.lease.is_some() {
            let verdict = match self.verdict.take().filter(|_| success || published) {
                Some(verdict) => verdict,
                None => {
                    let facts = self.facts();
                    conclude::judge(self.settings, &self.output, &mut self.summary, conclude::ended(error.as_ref()), &facts)
                }
            };
            if !self.settings.dry_run {
                let waited = if self.lease.as_ref().is_some_and(Lease::has_waited) { Waited::Yes } else { Waited::No };
                conclude::tell(self.settings, &self.output, &mut self.summary, verdict, waited);
            }
        }
        if let Some(RunError::Lock(LockError::Held { holder: Some(holder), .. })) = &error {
            conclude::judge_holder(self.settings, &self.output, &mut self.summary, holder);
        }
        let is_recorded = self.lease.is_some() || self.summary.status == Status::Locked;
        // The report of a run that is decided stands in its commit.
        let is_decided = error.as_ref().is_some_and(RunError::is_unfinished_publish);
        // Written again in a bucket only if the notices after the commit have told something new.
        let stands_in_commit = self.output.folder().is_none()
            && self.summary.commit.is_some()
            && self.summary.deliveries_failed.is_empty()
            && self.summary.recovered.is_empty();
        if is_recorded
            && !is_decided
            && !stands_in_commit
            && !self.settings.dry_run
            && let Err(error) = report::write_report(&self.output, &self.summary)
        {
            tracing::warn!(%error, "the report of the run could not be written");
        }
        // Also of a run that could not open its output: a rule on the metrics must see that runs fail.
        if !self.settings.dry_run {
            conclude::write_metrics(&self.settings.metrics, &self.output, &self.summary);
        }
        if self.lease.is_some() && success && !self.settings.dry_run {
            conclude::retain(self.settings, &self.output, &self.summary);
        }
        Outcome { summary: self.summary, error, diff: self.diff }
    }

    /// The stored partitions.
    fn facts(&self) -> BTreeMap<Dt, PathBuf> {
        let files = layer::stored_partition_files(&self.output).unwrap_or_default();
        files.into_iter().map(|(dt, key)| (dt, self.output.at(key))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cancel::Stop, store::StoreError};

    fn unfinished() -> RunError {
        let refused = StoreError::io("rename", "curated")(std::io::ErrorKind::StorageFull.into());
        StoreError::Unfinished { run_id: "one".into(), source: Box::new(refused) }.into()
    }

    #[test]
    fn a_signal_is_the_cause_unless_a_check_failed_or_a_publish_is_decided() {
        let cancel = Cancel::default();
        let checks = || RunError::ChecksFailed { names: vec!["own".into()], published: false };
        let other = || RunError::Internal("a thread has died".into());
        assert_eq!(
            [cause(other(), &cancel), cause(checks(), &cancel), cause(unfinished(), &cancel)].map(|error| error.exit_code()),
            [1, 4, 5]
        );
        cancel.stop(Stop::Interrupt);
        assert_eq!(
            [cause(other(), &cancel), cause(checks(), &cancel), cause(unfinished(), &cancel)].map(|error| error.exit_code()),
            [130, 4, 5]
        );
        assert!(cause(unfinished(), &cancel).to_string().contains("next"), "the next command finishes it");
    }

    #[test]
    fn an_exit_code_has_its_status() {
        let no_orders = RunError::from(SettingsError::NoOrders);
        assert_eq!((no_orders.exit_code(), no_orders.status()), (2, Status::InvalidConfiguration));
        assert_eq!(RunError::ChecksFailed { names: Vec::new(), published: true }.status(), Status::ChecksFailed);
    }
}
