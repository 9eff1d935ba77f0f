//! What a run has made and staged: the changed partitions and dimensions, what was counted, and the layer as it would be.
//!
//! Checks and publishes nothing: [`super::publish`] takes a [`CheckedRun`], and only [`StagedRun::check`] makes one.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{
    RunError,
    extract::Extracted,
    members::Dimensions,
    merge_all::{MergedPartitions, SideChange, StagedPartition},
};
use crate::{
    cancel::Cancel,
    check::{self, CheckError, CustomCheck, Engine, Expected, LayerView, SideView, ViewScope},
    join::Dimension,
    layer::{Catalog, LayerColumns, LayerState, MergedContent, MergedPartition, PartitionEntry, PriceBook, SideEntry},
    model::{CurrencyTotals, Dt, FileFormat, LONGEST_TEXT, Window, add_totals},
    report::Summary,
    settings::{CheckScope, OnCheckFailure, Settings, Skus},
    store::{
        self, Fingerprint, Key, ObjectRef, Output, Read, Staging, Tag,
        places::{self, SideFact},
    },
};

/// The output of the merge.
pub(super) struct MergedRun {
    /// The format of the files of partitions.
    pub(super) format: FileFormat,
    pub(super) catalog: Catalog,
    pub(super) merged: MergedPartitions,
    /// Partitions that hold rows of an order that also lies elsewhere.
    pub(super) shared_partitions: BTreeSet<Dt>,
    pub(super) index: NewIndexEntries,
    pub(super) refund_index: NewIndexEntries,
    /// The prices that were known before the run.
    pub(super) prices: PriceBook,
    /// The versions of files in a bucket that were read.
    pub(super) seen: BTreeMap<Key, Option<Tag>>,
}

/// Entries of the run that an index does not have yet.
pub(super) struct NewIndexEntries {
    pub(super) file: PathBuf,
    /// Whether the stored index must be replaced.
    pub(super) index_changed: bool,
}

/// The change of a partition.
pub(super) enum PartitionChange {
    /// It has new content.
    Written,
    /// It has lost its last row.
    Removed,
}

/// Everything that a run would publish, staged, and the layer as it would be.
pub(super) struct StagedRun {
    /// The format of the files of partitions.
    pub(super) format: FileFormat,
    pub(super) view: LayerView,
    pub(super) changes: BTreeMap<Dt, PartitionChange>,
    /// Side facts of days that change.
    pub(super) changed_sides: BTreeMap<(SideFact, Dt), PartitionChange>,
    pub(super) dimensions_changed: bool,
    pub(super) catalog: Catalog,
    /// The layer as it would be.
    pub(super) next: LayerState,
    /// What the run read of partitions that it may change.
    pub(super) reads: Vec<Read>,
    pub(super) index: NewIndexEntries,
    pub(super) refund_index: NewIndexEntries,
    pub(super) prices: PriceBook,
    /// What was merged: another attempt uses it again.
    pub(super) merged: MergedPartitions,
    /// The versions of files in a bucket that were read.
    pub(super) seen: BTreeMap<Key, Option<Tag>>,
    /// Whether there is anything that was not checked before, or must be checked again.
    pub(super) has_news: bool,
}

/// A staged run that may be published.
pub(super) struct CheckedRun {
    pub(super) staged: StagedRun,
    /// The names of failed checks of severity `error`: not empty only with `--on-check-failure publish`.
    pub(super) failed: Vec<String>,
}

/// What a run stages with.
pub(super) struct StagingContext<'a> {
    pub(super) settings: &'a Settings,
    pub(super) output: &'a Output,
    pub(super) summary: &'a mut Summary,
}

/// The dimensions of a run, and whether an earlier attempt has staged and checked them as they are.
pub(super) struct StagedDimensions<'a> {
    pub(super) dimensions: &'a Dimensions,
    pub(super) are_new: bool,
}

impl MergedRun {
    /// Stages the merged partitions and the dimensions, and counts what the merge did.
    ///
    /// # Errors
    /// I/O errors (exit 5).
    pub(super) fn stage(
        self,
        context: StagingContext<'_>,
        staging: &mut Staging,
        dimensions: &StagedDimensions<'_>,
        extracted: &Extracted,
    ) -> Result<StagedRun, RunError> {
        let mut stager = RunStager::new(context, staging, self.catalog, self.format);
        stager.to_check.clone_from(&self.merged.to_check);
        for (dt, partition) in &self.merged.partitions {
            let news = if self.merged.merged_now.contains(dt) { News::Yes } else { News::No };
            stager.partition(partition, extracted.revenue.of(*dt), news)?;
        }
        for (dt, change) in &self.merged.refunds {
            stager.side(SideFact::Refunds, *dt, change, News::Yes);
        }
        if stager.context.summary.rows.rows_retained > 0 {
            let rows = stager.context.summary.rows.rows_retained;
            tracing::warn!(rows, "lines of newer versions were dropped: the stored rows of these lines stay");
        }
        stager.view.dim_user = stager.dimension(&dimensions.dimensions.users)?;
        stager.view.dim_product = stager.dimension(&dimensions.dimensions.products)?;
        stager.choose_checked_partitions(self.shared_partitions);
        let has_new_refunds = self.merged.refunds.values().any(|change| matches!(change, SideChange::Written { .. }));
        let has_news = dimensions.are_new || has_new_refunds || !self.merged.to_check.is_empty();
        let RunStager { format, view, changes, changed_sides, dimensions_changed, catalog, next, reads, .. } = stager;
        let (index, refund_index) = (self.index, self.refund_index);
        let (prices, merged, seen) = (self.prices, self.merged, self.seen);
        Ok(StagedRun {
            format,
            view,
            changes,
            changed_sides,
            dimensions_changed,
            catalog,
            next,
            reads,
            index,
            refund_index,
            prices,
            merged,
            seen,
            has_news,
        })
    }
}

/// Whether a partition was merged in this attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum News {
    Yes,
    No,
}

/// Stages one thing after the other.
struct RunStager<'a> {
    context: StagingContext<'a>,
    format: FileFormat,
    staging: &'a mut Staging,
    catalog: Catalog,
    next: LayerState,
    reads: Vec<Read>,
    view: LayerView,
    changes: BTreeMap<Dt, PartitionChange>,
    changed_sides: BTreeMap<(SideFact, Dt), PartitionChange>,
    dimensions_changed: bool,
    /// The partitions that the checks look at, if they change.
    to_check: BTreeSet<Dt>,
}

impl<'a> RunStager<'a> {
    fn new(context: StagingContext<'a>, staging: &'a mut Staging, catalog: Catalog, format: FileFormat) -> RunStager<'a> {
        let StagingContext { settings, output, .. } = context;
        let view = LayerView {
            facts: catalog.state.partitions.iter().map(|(&dt, entry)| (dt, output.at(entry.key(dt)))).collect(),
            totals: stored_side(&catalog.state, SideFact::OrderTotals, output),
            refunds: stored_side(&catalog.state, SideFact::Refunds, output),
            totals_severity: settings.reconciliation().unwrap_or_default().severity(),
            users_configured: settings.users.is_some(),
            products_configured: settings.products.is_some(),
            scratch: staging.scratch(),
            violations: (!settings.dry_run).then(|| staging.staged(places::violations(&context.summary.run_id))),
            output: output.folder().map(Path::to_owned),
            threads: Some(settings.threads),
            window: Window { since: context.summary.since, until: context.summary.until },
            memory_limit: settings.memory_limit,
            schema: settings.schema(),
            has_quotients: catalog.state.has_quotients || settings.has_quotients(),
            now: Some(context.summary.started_at),
            short_rows: Some(BTreeSet::new()),
            expected: Some(BTreeMap::new()),
            ..LayerView::default()
        };
        let has_quotients = view.has_quotients;
        let reconciliation = settings.reconciliation().or(catalog.state.reconciliation);
        let mut next = LayerState { has_quotients, reconciliation, ..catalog.state.clone() };
        next.set_columns(LayerColumns::of(&settings.schema()));
        next.own_skus.extend(settings.shop.iter().filter(|shop| shop.skus == Skus::OfShop).map(|shop| shop.name.clone()));
        let (reads, changes, changed_sides) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let (dimensions_changed, to_check) = (false, BTreeSet::new());
        RunStager { context, format, staging, catalog, next, reads, view, changes, changed_sides, dimensions_changed, to_check }
    }

    /// The partitions that the built-in checks look at.
    fn choose_checked_partitions(&mut self, shared: BTreeSet<Dt>) {
        self.view.shared_partitions = shared.into_iter().filter(|dt| self.view.facts.contains_key(dt)).collect();
        if self.context.settings.check_scope == CheckScope::Full {
            self.view.changed = self.view.facts.keys().copied().collect();
            for side in [&mut self.view.totals, &mut self.view.refunds] {
                side.changed = side.files.keys().copied().collect();
            }
            self.view.shared_partitions = self.view.changed.clone();
            self.view.scope = ViewScope::Whole;
        }
    }

    /// Counts a merged partition and notes its change. `incoming` is the revenue of the run's lines in it.
    fn partition(&mut self, partition: &StagedPartition, incoming: CurrencyTotals, news: News) -> Result<(), RunError> {
        let StagedPartition { merged, file, totals, .. } = partition;
        self.context.summary.rows.absorb(&merged.counts);
        let revenue = self.revenue(merged, incoming);
        let (dt, key) = (merged.dt, places::partition_file(merged.dt, self.format));
        if let Some(entry) = self.catalog.state.partitions.get(&dt) {
            self.reads.push(Read { key: key.clone(), checksum: entry.version.checksum.clone() });
        }
        match (&merged.content, file) {
            (MergedContent::Removed, _) => self.removed(dt),
            (MergedContent::Replaced, Some(file)) => self.written(merged, file, revenue, news),
            _ => {
                self.staging.unstage(&key);
                // A key that lost everywhere leaves a partition that does not exist.
                self.context.summary.partitions_unchanged += u64::from(self.catalog.state.partitions.contains_key(&dt));
            }
        }
        self.side(SideFact::OrderTotals, dt, totals, news);
        Ok(())
    }

    /// Notes what becomes of a side fact of one day. The entry of the partition is that of the facts by now.
    fn side(&mut self, fact: SideFact, dt: Dt, change: &SideChange, news: News) {
        let key = fact.file(dt);
        if let Some(stored) = self.catalog.state.side(fact, dt) {
            self.reads.push(Read { key: key.clone(), checksum: stored.version.checksum.clone() });
        }
        let (entry, change) = match change {
            SideChange::Unchanged => {
                // A refund that moved away from there, or stayed, must not stand on two days.
                if fact == SideFact::Refunds && self.view.refunds.files.contains_key(&dt) {
                    self.view.refunds.changed.insert(dt);
                }
                return self.staging.unstage(&key);
            }
            SideChange::Removed => {
                self.staging.remove(key);
                self.view.side_mut(fact).files.remove(&dt);
                (None, PartitionChange::Removed)
            }
            SideChange::Written { file, rows } => {
                let version = self.take_up(&key, file, news);
                let side = self.view.side_mut(fact);
                side.files.insert(dt, self.staging.staged(&key));
                if news == News::Yes || self.to_check.contains(&dt) {
                    side.changed.insert(dt);
                }
                (Some(SideEntry { version, modified_ns: 0, rows: *rows }), PartitionChange::Written)
            }
        };
        self.next.set_side(fact, dt, entry);
        match fact {
            SideFact::OrderTotals => self.context.summary.order_totals_changed.push(dt),
            SideFact::Refunds => self.context.summary.refunds_changed.push(dt),
        }
        self.changed_sides.insert((fact, dt), change);
    }

    /// The revenue of a partition after the merge. Adds that of the run's rows to the summary.
    fn revenue(&mut self, merged: &MergedPartition, incoming: CurrencyTotals) -> CurrencyTotals {
        let mut revenue = incoming;
        merged.lost.iter().for_each(|(currency, units)| add_totals(&mut revenue, Some(currency), -units));
        revenue.iter().for_each(|(currency, units)| add_totals(&mut self.context.summary.revenue, Some(currency), *units));
        merged.kept.iter().for_each(|(currency, units)| add_totals(&mut revenue, Some(currency), *units));
        revenue
    }

    fn removed(&mut self, dt: Dt) {
        self.context.summary.partitions_removed.push(dt);
        self.staging.remove(places::partition_file(dt, self.format));
        self.view.facts.remove(&dt);
        self.view.removed.insert(dt);
        self.changes.insert(dt, PartitionChange::Removed);
        self.next.partitions.remove(&dt);
    }

    fn written(&mut self, merged: &MergedPartition, file: &Fingerprint, revenue: CurrencyTotals, news: News) {
        let (dt, key) = (merged.dt, places::partition_file(merged.dt, self.format));
        self.context.summary.partitions_written.push(dt);
        let version = self.take_up(&key, file, news);
        self.view.facts.insert(dt, self.staging.staged(&key));
        if self.to_check.contains(&dt) {
            self.view.changed.insert(dt);
        }
        if let Some(short) = self.view.short_rows.as_mut().filter(|_| merged.longest_row < LONGEST_TEXT - 3) {
            short.insert(dt);
        }
        let entry = PartitionEntry { version, modified_ns: 0, rows: merged.rows, revenue: revenue.clone(), totals: None };
        self.next.set_facts(dt, entry);
        self.changes.insert(dt, PartitionChange::Written);
        if let Some(expected) = &mut self.view.expected {
            expected.insert(dt, Expected { rows: merged.rows, revenue });
        }
    }

    /// The version that is staged for a place. Without news it is that of before, if there is one.
    fn take_up(&mut self, key: &Key, file: &Fingerprint, news: News) -> ObjectRef {
        let earlier = if news == News::No { self.staging.take_up_again(key) } else { None };
        earlier.unwrap_or_else(|| self.staging.put_written(key.clone(), file.clone()))
    }

    /// Stages a dimension if it changes. Returns its file, if it has one.
    fn dimension(&mut self, dimension: &Dimension) -> Result<Option<PathBuf>, RunError> {
        let spec = *dimension.spec();
        let key = places::dimension(&spec);
        let path = self.staging.staged(&key);
        let merged = dimension.finish(self.context.summary.started_at, &path)?;
        self.context.summary.dimensions.insert(spec.name.to_owned(), merged.counts);
        let Some(file) = merged.file else {
            self.staging.unstage(&key);
            return Ok(match self.catalog.state.dimensions.get(spec.name) {
                Some(version) => Some(self.context.output.local_version(&key, version)?),
                None => None,
            });
        };
        self.dimensions_changed = true;
        let version = self.staging.put_written(key, file);
        self.next.dimensions.insert(spec.name.to_owned(), version);
        Ok(Some(path))
    }
}

impl StagedRun {
    /// Runs the checks. Their results are in the summary, also if one of them fails.
    ///
    /// # Errors
    /// [`RunError::ChecksFailed`], unless the settings publish all the same; what keeps the checks from running.
    pub(super) fn check(
        self,
        engine: &mut Engine,
        custom: &[CustomCheck],
        context: StagingContext<'_>,
        staging: &Staging,
        cancel: &Cancel,
    ) -> Result<CheckedRun, RunError> {
        let StagingContext { settings, output, summary } = context;
        if self.has_news && self.needs_checks(settings, custom) {
            engine.begin();
            self.fetch_for_checks(output, custom, settings)?;
            summary.check_scope = Some(settings.check_scope);
            summary.checks = match check::run_checks(engine, &self.view, custom, cancel) {
                Err(CheckError::Interrupted) => return Err(super::interrupted(cancel)),
                results => results?,
            };
            if let Some(threshold) = settings.unit_slip {
                summary.checks.push(check::unit_slip(&self.merged.prices, threshold, self.view.violations.as_deref())?);
            }
        } else {
            // The checks have nothing to look at.
            engine.release();
        }
        let failed: Vec<_> = summary.checks.iter().filter(|result| result.is_failure()).map(|result| result.name.clone()).collect();
        for result in summary.checks.iter_mut().filter(|result| result.rows_kept.is_some()) {
            result.file = Some(places::violations(&summary.run_id).join(result.file_name()).to_string());
        }
        if failed.is_empty() || settings.on_check_failure == OnCheckFailure::Publish {
            return Ok(CheckedRun { staged: self, failed });
        }
        if !settings.dry_run {
            keep_violations(output, staging, summary);
        }
        Err(RunError::ChecksFailed { names: failed, published: false })
    }

    /// Makes local copies of the stored partitions that checks look at, of an output in a bucket.
    fn fetch_for_checks(&self, output: &Output, custom: &[CustomCheck], settings: &Settings) -> Result<(), RunError> {
        if output.folder().is_some() {
            return Ok(());
        }
        let looks_at_all = !custom.is_empty() || settings.check_scope == CheckScope::Full;
        let is_wanted = |dt: &Dt| looks_at_all || self.view.shared_partitions.contains(dt);
        let is_stored = |dt: &Dt| !matches!(self.changes.get(dt), Some(PartitionChange::Written));
        let wanted = self.next.partitions.iter().filter(|(dt, _)| is_wanted(dt) && is_stored(dt));
        let facts = wanted.map(|(dt, entry)| (entry.key(*dt), entry.version.clone()));
        let is_stored = |fact: SideFact, dt: Dt| !matches!(self.changed_sides.get(&(fact, dt)), Some(PartitionChange::Written));
        // The refunds of an order lie on other days than the order.
        let is_wanted = |fact: SideFact, dt: Dt| match fact {
            SideFact::OrderTotals => is_wanted(&dt),
            SideFact::Refunds => looks_at_all || self.view.refunds.changed.contains(&dt),
        };
        let sides = self.next.sides().filter(|(fact, dt, _)| is_wanted(*fact, *dt) && is_stored(*fact, *dt));
        let sides = sides.map(|(fact, dt, entry)| (fact.file(dt), entry.version.clone()));
        let versions: Vec<_> = facts.chain(sides).collect();
        Ok(output.local_versions(&versions)?)
    }

    fn needs_checks(&self, settings: &Settings, custom: &[CustomCheck]) -> bool {
        self.has_changes() || settings.check_scope == CheckScope::Full || !custom.is_empty()
    }
}

/// The files of a side fact as they are stored.
fn stored_side(state: &LayerState, fact: SideFact, output: &Output) -> SideView {
    let files = state.side_days(fact).map(|dt| (dt, output.at(fact.file(dt)))).collect();
    SideView { files, changed: BTreeSet::new() }
}

/// Keeps the violating rows of a run that is not published.
fn keep_violations(output: &Output, staging: &Staging, summary: &Summary) {
    for result in summary.checks.iter().filter(|result| result.rows_kept.is_some()) {
        let key = places::violations(&summary.run_id).join(result.file_name());
        let kept = store::read(&staging.staged(&key)).and_then(|bytes| output.replace(&key, &bytes.unwrap_or_default()));
        if let Err(error) = kept {
            tracing::warn!(%error, file = %key, "the violating rows could not be kept");
        }
    }
}
