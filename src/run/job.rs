//! One run: extract, normalize, join, merge, check, publish; and the summary of it, however it ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Instant,
};

use tracing::span::EnteredSpan;

use super::{
    RunError,
    conclude::{self, Verdict},
    extract::{Extracted, Extraction},
    ledger, manifest,
    merge_all::{self, Staged},
    open,
    quarantine::Quarantine,
    shape,
    window::{AskedWindow, gap_before},
};
use crate::{
    cancel::Cancel,
    check::{self, CheckError, CustomCheck, Engine, Expected, LayerView},
    coverage::{Interval, Ledger},
    join::{Dimension, Enricher, ScdType},
    layer::{self, Catalog, LookUpError, MergedContent, PartitionEntry, partition_file},
    model::{DIM_PRODUCT, DIM_USER, DimensionSpec, Dt, FactSchema, LONGEST_TEXT, RunId, UtcMicros, Window, add_totals},
    net::{Network, redact},
    normalize::{Mapping, MemberNormalizer, Members, RecordCounts, RecordNormalizer},
    report::{self, CommandName, Status, Summary, alert::Ended},
    settings::{CheckScope, Location, OnCheckFailure, RepeatedSku, Settings, SettingsError, Source, When},
    source::{self, Access, Completeness, Page, Purpose, Query, SourceCounters, SourceCounts, SourceError},
    store::{self, FileStamp, Output, OutputLock, Staging, StoreError},
};

/// Who watches a run while it works. Called from several threads.
pub trait Observer: Sync {
    /// A stage begins: `open`, `dimensions`, `extract`, `merge`, `check`, `publish`.
    fn stage(&self, name: &'static str);
    /// Records have come.
    fn extracted(&self, records: &RecordCounts, source: &SourceCounts);
    /// Partitions are merged.
    fn merged(&self, done: usize, of: usize);
}

/// Nobody watches.
pub struct Silent;

impl Observer for Silent {
    fn stage(&self, _: &'static str) {}
    fn extracted(&self, _: &RecordCounts, _: &SourceCounts) {}
    fn merged(&self, _: usize, _: usize) {}
}

/// What is to be run.
pub struct Request<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// What it is started as.
    pub command: CommandName,
    /// The run whose quarantine is read: what it brings was asked for before, and adds nothing to coverage.
    pub replay_of: Option<&'a str>,
    /// The window's beginning.
    pub since: Option<When>,
    /// The window's end.
    pub until: Option<When>,
    /// The window of the backfill that is started again with this run.
    pub restart: Option<Interval>,
    /// The switch that stops it.
    pub cancel: &'a Cancel,
    /// Who watches.
    pub observer: &'a dyn Observer,
}

/// How a run ended.
pub struct Outcome {
    /// What it says of itself.
    pub summary: Summary,
    /// What ended it early, where something did.
    pub error: Option<RunError>,
}

/// Runs the whole job once.
pub fn execute(request: &Request<'_>) -> Outcome {
    let started_at = UtcMicros::now();
    let run_id = RunId::new(started_at);
    let fixed = |when: Option<When>| when.and_then(|when| when.instant(started_at));
    let mut job = Job {
        request,
        settings: request.settings,
        output: Output::new(request.settings.output.clone()),
        schema: request.settings.schema(),
        summary: Summary {
            command: request.command,
            replay_of: request.replay_of.map(str::to_owned),
            cursor: request.settings.cursor,
            ..Summary::new(run_id.as_str().to_owned(), fixed(request.since), fixed(request.until), started_at)
        },
        counters: SourceCounters::default(),
        network: network(request.settings),
        lock: None,
        verdict: None,
        stage: None,
    };
    let _span = tracing::info_span!("run", run_id = run_id.as_str()).entered();
    let result = job.run();
    // A signal is why, whatever broke because of it.
    let error = match (result, request.cancel.stopped()) {
        (Ok(()), _) => None,
        (Err(error @ RunError::ChecksFailed { .. }), _) | (Err(error), None) => Some(error),
        (Err(_), Some(stop)) => Some(RunError::Interrupted(stop)),
    };
    job.conclude(error)
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
    /// The output, once it is this run's: until all that the run has to say is said.
    lock: Option<OutputLock>,
    /// What the rules of the alerts say, where they were asked before the publish.
    verdict: Option<Verdict>,
    /// The stage at hand.
    stage: Option<Stage>,
}

/// A stage of a run while it works.
struct Stage {
    name: &'static str,
    began: Instant,
    _span: EnteredSpan,
}

/// The dimensions of a run while it works.
struct Dimensions {
    users: Dimension,
    products: Dimension,
}

/// What a run has made, and what the layer would be with it.
struct Made {
    staging: Staging,
    view: LayerView,
    /// The stamp of each partition that changes; `None` where it goes.
    stamps: BTreeMap<Dt, Option<FileStamp>>,
    dimensions_changed: bool,
}

/// What may be published: made, and checked. There is no other way to one than [`Job::check`].
struct Checked {
    made: Made,
    failed: Vec<String>,
}

impl Job<'_> {
    fn run(&mut self) -> Result<(), RunError> {
        let orders = self.settings.orders.as_ref().ok_or(SettingsError::NoOrders)?;
        self.require_credentials()?;
        // Read before anything is fetched: a typing error in them should not cost an hour.
        let custom = self.settings.checks.as_deref().map(check::load_custom).transpose()?.unwrap_or_default();
        self.enter("open");
        self.lock = Some(self.open_output()?);
        let engine = Engine::start();
        let ledger = ledger::read(&self.output)?;
        let window = self.resolve_window(orders, &ledger)?;
        let mut staging = Staging::create(&self.output, &self.summary.run_id)?;
        let scratch = staging.scratch();
        let mut catalog = self.open_catalog(&scratch, false)?;
        let mut dimensions = self.dimensions()?;
        let mut quarantine = Quarantine::new(&staging, &self.summary.run_id);
        let mut extracted = self.extract(orders, window, &dimensions, scratch.clone(), &mut quarantine)?;
        quarantine.finish(&mut staging)?;
        extracted.unknown.users.drain().for_each(|key| dimensions.users.infer(&key));
        extracted.unknown.products.drain().for_each(|key| dimensions.products.infer(&key));

        self.enter("merge");
        let novel = scratch.join("novel.idx");
        let moves = match merge_all::find_moves(&mut catalog, &mut extracted, &novel) {
            Err(LookUpError::Damaged) => {
                catalog = self.open_catalog(&scratch, true)?;
                merge_all::find_moves(&mut catalog, &mut extracted, &novel)
            }
            found => found,
        };
        let moves = moves.map_err(|error| match error {
            LookUpError::Layer(error) => RunError::from(error),
            LookUpError::Damaged => RunError::Internal("the index is damaged as soon as it is made".into()),
        })?;
        self.count_orders(moves.order_count);
        let index_changed = moves.novel > 0 || catalog.is_stale();
        let entangled = moves.entangled.clone();
        let rules = (&self.schema, self.settings.merge);
        let company = (self.merge_threads(&extracted), self.request.cancel, self.request.observer);
        let partitions = merge_all::merge_all(&self.output, moves, &extracted, &staging, rules, company)?;
        let outcomes = partitions.iter().map(|staged| (staged.merged.dt, &staged.merged.outcomes));
        extracted.lineage.stage(&mut staging, &self.output, &self.summary.run_id, outcomes)?;
        let made = self.make(staging, &mut catalog, dimensions, &extracted, partitions, entangled)?;
        drop(extracted);
        let checked = self.check(engine, made, &custom)?;
        self.publish(checked, catalog, index_changed, &novel, ledger, window)
    }

    /// Credentials that a profile needs are missing before anything is requested, and not an hour later.
    fn require_credentials(&self) -> Result<(), SourceError> {
        let Settings { orders, users, products, .. } = self.settings;
        let over_http = [orders, users, products].into_iter().flatten().filter(|source| matches!(source.location, Location::Http(_)));
        for source in over_http {
            if let Some(variables) = source.credentials.missing_for(&source.profile.http.auth) {
                return Err(SourceError::Credentials { variables });
            }
        }
        Ok(())
    }

    /// The window that was asked for. What it leaves uncovered is said.
    fn resolve_window(&mut self, orders: &Source, ledger: &Ledger) -> Result<Window, RunError> {
        let identity = ledger::identity(orders, self.settings.cursor);
        let (settings, started_at) = (self.settings, self.summary.started_at);
        let asked = AskedWindow { since: self.request.since, until: self.request.until, lookback: settings.lookback };
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
        let adds_to_coverage = self.request.replay_of.is_none() && self.request.command != CommandName::Demo;
        self.summary.identity = adds_to_coverage.then_some(identity);
        Ok(window)
    }

    /// The different ids of files are those of the run's orders, where no record was left out: they need no count of their own.
    fn count_orders(&mut self, orders: u64) {
        let records = &self.summary.records;
        let has_all = records.records_processed == records.records_read && records.records_skipped == 0;
        if let Some(completeness) = self.summary.completeness.orders.as_mut().filter(|_| has_all) {
            completeness.distinct = completeness.distinct.or(Some(orders));
        }
    }

    /// Takes the certificate of a source. One that failed ends the run, unless it is to be published all the same.
    fn certify(&self, location: &Location, completeness: &Completeness) -> Result<(), SourceError> {
        let why = completeness.why.clone().unwrap_or_default();
        let (location, read_again) = (location.to_string(), matches!(location, Location::Http(_)));
        if completeness.is_failed() && !self.settings.allow_incomplete {
            return Err(SourceError::Incomplete { location, why, read_again });
        }
        if completeness.is_failed() {
            tracing::warn!(location, why, "the source is incomplete, and is published all the same, as --allow-incomplete says");
        } else if !why.is_empty() {
            tracing::warn!(location, why, "nothing shows that all of the source came");
        }
        Ok(())
    }

    fn open_output(&self) -> Result<OutputLock, RunError> {
        let started_at = self.summary.started_at;
        open::open_output(&self.output, &self.summary.run_id, started_at, self.settings.lock_wait, self.request.cancel)
    }

    fn open_catalog(&self, scratch: &Path, rebuild: bool) -> Result<Catalog, RunError> {
        let (catalog, reconciled) = Catalog::open(&self.output, &self.schema, scratch.join("fresh"), self.request.cancel, rebuild)?;
        if reconciled.rebuilt && !catalog.partitions.is_empty() {
            tracing::warn!(
                partitions = catalog.partitions.len(),
                "the state of the layer was missing or damaged, and has been made anew from curated/"
            );
        } else {
            for dt in &reconciled.read_anew {
                tracing::warn!(%dt, "the partition is not as it was published: somebody changed it; it is valid and taken as it is");
            }
        }
        Ok(catalog)
    }

    /// Threads that merge: so many that their partitions fit into half of the memory, each in about twelve times its staged
    /// bytes (columns, keys, the CSV that is and the one that is to be).
    fn merge_threads(&self, extracted: &Extracted) -> usize {
        let fit = self.settings.memory_limit.map_or(u64::MAX, |limit| limit / 2 / (12 * extracted.lines.largest()).max(1));
        self.settings.threads.min(usize::try_from(fit).unwrap_or(usize::MAX)).max(1)
    }

    /// A stage begins, and the one before it ends.
    fn enter(&mut self, stage: &'static str) {
        self.request.observer.stage(stage);
        self.leave();
        self.stage = Some(Stage { name: stage, began: Instant::now(), _span: tracing::info_span!("stage", stage).entered() });
    }

    /// The stage at hand ends.
    fn leave(&mut self) {
        if let Some(stage) = self.stage.take() {
            let seconds = stage.began.elapsed().as_secs_f64();
            tracing::debug!(seconds, "the stage has ended");
            *self.summary.stage_seconds.entry(stage.name).or_default() += seconds;
        }
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

    fn interrupted(&self) -> RunError {
        super::stopped_or(self.request.cancel, RunError::Internal("interrupted without a signal".into()))
    }

    fn dimensions(&mut self) -> Result<Dimensions, RunError> {
        self.enter("dimensions");
        let settings = self.settings;
        let scd = |versioned| if versioned { ScdType::Two } else { ScdType::One };
        let (mut users_read, mut products_read) = (None, None);
        let users = self.dimension(DIM_USER, settings.users.as_ref(), scd(settings.versioned_users), &mut users_read);
        self.summary.completeness.users = users_read;
        let users = users?;
        let products = self.dimension(DIM_PRODUCT, settings.products.as_ref(), scd(settings.versioned_products), &mut products_read);
        self.summary.completeness.products = products_read;
        Ok(Dimensions { users, products: products? })
    }

    fn dimension(
        &self,
        spec: DimensionSpec,
        source: Option<&Source>,
        scd: ScdType,
        certificate: &mut Option<Completeness>,
    ) -> Result<Dimension, RunError> {
        let shape = source.map(|source| shape::of_dimension(&spec, &source.profile)).unwrap_or_default();
        let mut members = None;
        if let Some(source) = source {
            let new_normalizer = || MemberNormalizer::new(spec, &source.profile, self.settings.limits);
            let (mut files, mut normalizer, mut origin) = (Vec::new(), new_normalizer(), None);
            let mut sink = |page: Page| {
                let file = page.origin.file().map(Path::to_owned);
                if file != origin && origin.is_some() {
                    files.push(std::mem::replace(&mut normalizer, new_normalizer()).finish());
                }
                origin = file;
                normalizer.records(page.records(), page.cells);
                true
            };
            let query = Query::all(source, &shape);
            let completeness = source::read_pages(&source.location, Purpose::Members, &query, &self.access(), &mut sink)?;
            *certificate = Some(completeness.clone());
            self.certify(&source.location, &completeness)?;
            files.push(normalizer.finish());
            members = Some(Members::of_files(&spec, files));
        }
        if let (Some(source), Some(Members { counts, .. })) = (source, &members)
            && counts.records_malformed > 0
            && counts.records_malformed == counts.records_read
        {
            let (location, records) = (source.location.to_string(), counts.records_read);
            return Err(SourceError::NoRecordIsJson { location, records, seems: "not one can be read".to_owned() }.into());
        }
        let path = self.output.at(spec.file());
        let stored = store::read(&path)?;
        Ok(Dimension::new(spec, scd, stored, &path, members)?)
    }

    fn extract(
        &mut self,
        orders: &Source,
        window: Window,
        dimensions: &Dimensions,
        scratch: PathBuf,
        quarantine: &mut Quarantine,
    ) -> Result<Extracted, RunError> {
        self.enter("extract");
        let enricher = Enricher::new(&dimensions.users, &dimensions.products, &self.settings.enrich)?;
        let mapping = Mapping {
            profile: Some(&orders.profile),
            columns: &self.settings.fact_columns,
            cursor: self.settings.cursor,
            repeated_sku: self.settings.repeated_sku,
            limits: self.settings.limits,
        };
        let shape = shape::of_orders(&orders.profile);
        let normalizer = RecordNormalizer::configured(&mapping, window);
        let extraction = Extraction {
            orders: &orders.location,
            query: Query { window, cursor: self.settings.cursor, ..Query::all(orders, &shape) },
            settings: self.settings,
            normalizer: &normalizer,
            enricher: &enricher,
            access: self.access(),
            observer: self.request.observer,
        };
        let extracted = extraction.run(scratch, quarantine)?;
        self.summary.records = extracted.counts.clone();
        self.summary.completeness.orders = Some(extracted.completeness.clone());
        self.certify(&orders.location, &extracted.completeness)?;
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
        if extracted.counts.repeated_skus > 0 {
            let outcome = match self.settings.repeated_sku {
                RepeatedSku::Last => "the later line wins",
                RepeatedSku::Sum => "their quantities and totals are added up",
            };
            let repeated_skus = extracted.counts.repeated_skus;
            tracing::warn!(repeated_skus, "skus that stand on more than one line of their record: {outcome}");
        }
        Ok(extracted)
    }

    /// Counts what the merge did, stages the dimensions, and describes the layer as it would be.
    fn make(
        &mut self,
        mut staging: Staging,
        catalog: &mut Catalog,
        dimensions: Dimensions,
        extracted: &Extracted,
        partitions: Vec<Staged>,
        entangled: BTreeSet<Dt>,
    ) -> Result<Made, RunError> {
        let mut view = LayerView {
            facts: catalog.partitions.keys().map(|&dt| (dt, self.output.at(partition_file(dt)))).collect(),
            users_configured: self.settings.users.is_some(),
            products_configured: self.settings.products.is_some(),
            scratch: staging.scratch(),
            memory_limit: self.settings.memory_limit,
            schema: self.schema.clone(),
            sums_skus: self.settings.repeated_sku == RepeatedSku::Sum,
            now: Some(self.summary.started_at),
            short_rows: Some(BTreeSet::new()),
            ..LayerView::default()
        };
        let mut expected: BTreeMap<Dt, Expected> = BTreeMap::new();
        let mut stamps = BTreeMap::new();
        for Staged { merged, file } in partitions {
            let dt = merged.dt;
            self.count(&merged.counts);
            let mut brought = extracted.revenue.of(dt);
            merged.lost.iter().for_each(|(currency, units)| add_totals(&mut brought, Some(currency), -units));
            brought.iter().for_each(|(currency, units)| add_totals(&mut self.summary.revenue, Some(currency), *units));
            let mut revenue = brought;
            merged.kept.iter().for_each(|(currency, units)| add_totals(&mut revenue, Some(currency), *units));
            match (merged.content, file) {
                (MergedContent::Removed, _) => {
                    self.summary.partitions_removed.push(dt);
                    staging.remove(partition_file(dt));
                    view.facts.remove(&dt);
                    stamps.insert(dt, None);
                    catalog.partitions.remove(&dt);
                }
                (MergedContent::Replaced(_), Some((bytes, checksum))) => {
                    self.summary.partitions_written.push(dt);
                    let place = partition_file(dt);
                    let stamp = staging.put_written(&place, bytes, checksum)?;
                    view.facts.insert(dt, staging.staged(&place));
                    view.changed.insert(dt);
                    if let Some(short) = view.short_rows.as_mut().filter(|_| merged.longest_row < LONGEST_TEXT - 3) {
                        short.insert(dt);
                    }
                    stamps.insert(dt, Some(stamp.clone()));
                    catalog.partitions.insert(dt, PartitionEntry { stamp, rows: merged.rows, revenue: revenue.clone() });
                    expected.insert(dt, Expected { rows: merged.rows, revenue });
                }
                // A key that lost everywhere leaves a partition that never was.
                _ if catalog.partitions.contains_key(&dt) => self.summary.partitions_unchanged += 1,
                _ => {}
            }
        }
        view.expected = Some(expected);
        view.entangled = entangled.into_iter().filter(|dt| view.facts.contains_key(dt)).collect();
        if self.settings.check_scope == CheckScope::Full {
            view.changed = view.facts.keys().copied().collect();
            view.entangled = view.changed.clone();
        }
        let mut dimensions_changed = false;
        for (dimension, seen) in [(dimensions.users, &mut view.dim_user), (dimensions.products, &mut view.dim_product)] {
            let spec = *dimension.spec();
            let merged = dimension.finish(self.summary.started_at);
            self.summary.dimensions.insert(spec.name, merged.counts);
            let stored = self.output.at(spec.file());
            *seen = match merged.replaced {
                Some(bytes) => {
                    dimensions_changed = true;
                    staging.put(spec.file(), &bytes)?;
                    Some(staging.staged(spec.file()))
                }
                None => stored.exists().then_some(stored),
            };
        }
        Ok(Made { staging, view, stamps, dimensions_changed })
    }

    fn count(&mut self, counts: &crate::layer::MergeCounts) {
        let rows = &mut self.summary.rows;
        rows.duplicates_dropped += counts.duplicates_dropped;
        rows.rows_inserted += counts.rows_inserted;
        rows.rows_updated += counts.rows_updated;
        rows.rows_unchanged += counts.rows_unchanged;
        rows.rows_moved += counts.rows_moved;
        rows.rows_superseded += counts.rows_superseded;
        rows.rows_removed += counts.rows_removed;
    }

    /// Checks what was made. Only what comes out of here can be published.
    fn check(&mut self, engine: Engine, made: Made, custom: &[CustomCheck]) -> Result<Checked, RunError> {
        self.enter("check");
        let anything =
            !made.stamps.is_empty() || made.dimensions_changed || self.settings.check_scope == CheckScope::Full || !custom.is_empty();
        if anything {
            self.summary.checks = match check::run_checks(engine, &made.view, custom, self.request.cancel) {
                Err(CheckError::Interrupted) => return Err(self.interrupted()),
                results => results?,
            };
        }
        let failed: Vec<_> = self.summary.checks.iter().filter(|result| result.is_failure()).map(|result| result.name.clone()).collect();
        if failed.is_empty() || self.settings.on_check_failure == OnCheckFailure::Publish {
            return Ok(Checked { made, failed });
        }
        self.unmake();
        Err(RunError::ChecksFailed { names: failed, published: false })
    }

    /// The summary of a run that publishes nothing names no partition as written.
    fn unmake(&mut self) {
        self.summary.partitions_written.clear();
        self.summary.partitions_removed.clear();
    }

    fn publish(
        &mut self,
        checked: Checked,
        catalog: Catalog,
        index_changed: bool,
        novel: &Path,
        ledger: Ledger,
        window: Window,
    ) -> Result<(), RunError> {
        let Checked { made: Made { mut staging, view, stamps, dimensions_changed }, failed } = checked;
        if self.request.cancel.is_stopped() {
            return Err(self.interrupted());
        }
        let changed = !stamps.is_empty() || dimensions_changed;
        self.summary.status = if changed { Status::Published } else { Status::Unchanged };
        if self.settings.dry_run {
            self.summary.status = Status::DryRun;
            return if failed.is_empty() { Ok(()) } else { Err(RunError::ChecksFailed { names: failed, published: false }) };
        }
        self.enter("publish");
        let files: Vec<_> = stamps.iter().filter_map(|(&dt, stamp)| Some((partition_file(dt), stamp.as_ref()?.bytes))).collect();
        if !files.is_empty() {
            let place = format!("manifests/{}.manifest", self.summary.run_id);
            staging.put(place, &manifest::manifest(&self.output, self.settings.redshift.url.as_deref(), &files))?;
        }
        if changed || index_changed {
            catalog.stage(&mut staging, &self.summary.run_id, novel)?;
        }
        self.stage_coverage(&mut staging, ledger, window)?;
        self.finish_counting();
        // Before the report is staged, which names the alerts.
        let ended = if failed.is_empty() { Ended::Success } else { Ended::ChecksFailed { published: true } };
        let _span = tracing::info_span!("stage", stage = "publish").entered();
        self.verdict = Some(conclude::judge(self.settings, &self.output, &mut self.summary, ended, &view.facts));
        staging.put(format!("reports/{}.json", self.summary.run_id), &report::report_bytes(&self.summary))?;
        staging.prepare(self.request.cancel)?.commit()?;
        tracing::info!(status = self.summary.status.as_str(), partitions = self.summary.partitions_written.len(), "done");
        if failed.is_empty() { Ok(()) } else { Err(RunError::ChecksFailed { names: failed, published: true }) }
    }

    /// Adds the window to the coverage of its source, unless a source was incomplete.
    fn stage_coverage(&self, staging: &mut Staging, mut ledger: Ledger, window: Window) -> Result<(), StoreError> {
        let Summary { identity, completeness, records, started_at, run_id, rules, .. } = &self.summary;
        let Some(identity) = identity else { return Ok(()) };
        if completeness.all().any(|(_, completeness)| completeness.is_failed()) {
            return Ok(());
        }
        if let Some(interval) = self.request.restart {
            ledger.restart(identity, interval, *started_at);
        }
        let in_window = records.records_read - records.records_out_of_window;
        if let Some(loaded) = ledger::loaded(window, *started_at, run_id, in_window, rules) {
            ledger.record(identity, loaded, completeness.orders.as_ref().map_or(0, |orders| orders.read));
        }
        ledger::stage(staging, &ledger)
    }

    fn finish_counting(&mut self) {
        self.leave();
        self.summary.source = self.counters.counts();
        self.summary.peak_memory_bytes = conclude::peak_memory_bytes();
        self.summary.finished_at = UtcMicros::now();
    }

    /// The outcome, however the run ended. Its report is kept where the output is this run's to write to, and where it is not
    /// because another run holds it.
    fn conclude(mut self, error: Option<RunError>) -> Outcome {
        self.finish_counting();
        let _span = tracing::info_span!("stage", stage = "report").entered();
        let published = matches!(error, Some(RunError::ChecksFailed { published: true, .. }));
        if let Some(error) = &error {
            self.summary.status = error.status();
            self.summary.error = Some(redact::text(&error.to_string()).into_owned());
            if !published {
                self.unmake();
            }
        }
        let success = error.is_none();
        if self.lock.is_some() {
            let verdict = match self.verdict.take().filter(|_| success || published) {
                Some(verdict) => verdict,
                None => {
                    let facts = self.facts();
                    conclude::judge(self.settings, &self.output, &mut self.summary, conclude::ended(error.as_ref()), &facts)
                }
            };
            if !self.settings.dry_run {
                conclude::tell(self.settings, &self.output, &self.summary, verdict);
            }
        }
        let is_recorded = self.lock.is_some() || self.summary.status == Status::Locked;
        if is_recorded && !self.settings.dry_run {
            if let Err(error) = report::write_report(&self.output, &self.summary) {
                tracing::warn!(%error, "the report of the run could not be written");
            }
            conclude::write_metrics(&self.settings.metrics, &self.output, &self.summary);
        }
        if self.lock.is_some() && success && !self.settings.dry_run {
            conclude::retain(self.settings, &self.output, &self.summary);
        }
        Outcome { summary: self.summary, error }
    }

    /// The stored partitions, where anything asks for them.
    fn facts(&self) -> BTreeMap<Dt, PathBuf> {
        let partitions = layer::partitions_on_disk(&self.output).unwrap_or_default();
        partitions.into_iter().map(|dt| (dt, self.output.at(partition_file(dt)))).collect()
    }
}
