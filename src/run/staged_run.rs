//! What a run has made and staged: the changed partitions and dimensions, what was counted, and the layer as it would be.
//!
//! Checks and publishes nothing: [`super::publish`] takes a [`CheckedRun`], and only [`StagedRun::check`] makes one.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use super::{
    RunError,
    extract::Extracted,
    members::Dimensions,
    merge_all::{MergedPartitions, StagedFile, StagedPartition},
};
use crate::{
    cancel::Cancel,
    check::{self, CheckError, CustomCheck, Engine, Expected, LayerView, ViewScope},
    join::Dimension,
    layer::{Catalog, MergedContent, MergedPartition, PartitionEntry, PriceBook, RunPrices},
    model::{CurrencyTotals, Dt, LONGEST_TEXT, Window, add_totals},
    report::Summary,
    settings::{CheckScope, OnCheckFailure, RepeatedSku, Settings},
    store::{FileStamp, Output, Staging, places},
};

/// The output of the merge.
pub(super) struct MergedRun {
    pub(super) catalog: Catalog,
    pub(super) merged: MergedPartitions,
    /// Partitions that hold rows of an order that also lies elsewhere.
    pub(super) shared_partitions: BTreeSet<Dt>,
    pub(super) index: NewIndexEntries,
    /// The prices that were known before the run.
    pub(super) prices: PriceBook,
}

/// Entries of the run that the index of orders does not have yet.
pub(super) struct NewIndexEntries {
    pub(super) file: PathBuf,
    /// Whether the stored index must be replaced.
    pub(super) index_changed: bool,
}

/// The change of a partition.
pub(super) enum PartitionChange {
    /// It has new content.
    Written(FileStamp),
    /// It has lost its last row.
    Removed,
}

/// Everything that a run would publish, staged, and the layer as it would be.
pub(super) struct StagedRun {
    pub(super) staging: Staging,
    pub(super) view: LayerView,
    pub(super) changes: BTreeMap<Dt, PartitionChange>,
    pub(super) dimensions_changed: bool,
    pub(super) catalog: Catalog,
    pub(super) index: NewIndexEntries,
    pub(super) prices: PriceBook,
    pub(super) run_prices: RunPrices,
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

impl MergedRun {
    /// Stages the merged partitions and the dimensions, and counts what the merge did.
    ///
    /// # Errors
    /// I/O errors (exit 5).
    pub(super) fn stage(
        self,
        context: StagingContext<'_>,
        staging: Staging,
        dimensions: Dimensions,
        extracted: &Extracted,
    ) -> Result<StagedRun, RunError> {
        let mut stager = RunStager::new(context, staging, self.catalog);
        for partition in self.merged.partitions {
            let brought = extracted.revenue.of(partition.merged.dt);
            stager.partition(partition, brought)?;
        }
        if stager.context.summary.rows.rows_retained > 0 {
            let rows = stager.context.summary.rows.rows_retained;
            tracing::warn!(rows, "lines of newer versions were dropped: the stored rows of these lines stay");
        }
        stager.view.dim_user = stager.dimension(dimensions.users)?;
        stager.view.dim_product = stager.dimension(dimensions.products)?;
        stager.choose_checked_partitions(self.shared_partitions);
        Ok(StagedRun {
            staging: stager.staging,
            view: stager.view,
            changes: stager.changes,
            dimensions_changed: stager.dimensions_changed,
            catalog: stager.catalog,
            index: self.index,
            prices: self.prices,
            run_prices: self.merged.prices,
        })
    }
}

/// Stages one thing after the other.
struct RunStager<'a> {
    context: StagingContext<'a>,
    staging: Staging,
    catalog: Catalog,
    view: LayerView,
    changes: BTreeMap<Dt, PartitionChange>,
    dimensions_changed: bool,
}

impl<'a> RunStager<'a> {
    fn new(context: StagingContext<'a>, staging: Staging, catalog: Catalog) -> RunStager<'a> {
        let StagingContext { settings, output, .. } = context;
        let view = LayerView {
            facts: catalog.partitions.keys().map(|&dt| (dt, output.at(places::partition_file(dt)))).collect(),
            users_configured: settings.users.is_some(),
            products_configured: settings.products.is_some(),
            scratch: staging.scratch(),
            violations: (!settings.dry_run).then(|| staging.staged(places::violations(&context.summary.run_id))),
            output: output.root().to_owned(),
            threads: Some(settings.threads),
            window: Window { since: context.summary.since, until: context.summary.until },
            memory_limit: settings.memory_limit,
            schema: settings.schema(),
            sums_skus: settings.repeated_sku == RepeatedSku::Sum,
            now: Some(context.summary.started_at),
            short_rows: Some(BTreeSet::new()),
            expected: Some(BTreeMap::new()),
            ..LayerView::default()
        };
        RunStager { context, staging, catalog, view, changes: BTreeMap::new(), dimensions_changed: false }
    }

    /// The partitions that the built-in checks look at.
    fn choose_checked_partitions(&mut self, shared: BTreeSet<Dt>) {
        self.view.shared_partitions = shared.into_iter().filter(|dt| self.view.facts.contains_key(dt)).collect();
        if self.context.settings.check_scope == CheckScope::Full {
            self.view.changed = self.view.facts.keys().copied().collect();
            self.view.shared_partitions = self.view.changed.clone();
            self.view.scope = ViewScope::Whole;
        }
    }

    /// Counts a merged partition and notes its change. `brought` is the revenue of the run's lines in it.
    fn partition(&mut self, partition: StagedPartition, brought: CurrencyTotals) -> Result<(), RunError> {
        let StagedPartition { merged, file } = partition;
        self.context.summary.rows.absorb(&merged.counts);
        let revenue = self.revenue(&merged, brought);
        let dt = merged.dt;
        match (&merged.content, file) {
            (MergedContent::Removed, _) => self.removed(dt),
            (MergedContent::Replaced(_), Some(file)) => self.written(&merged, file, revenue)?,
            // A key that lost everywhere leaves a partition that does not exist.
            _ if self.catalog.partitions.contains_key(&dt) => self.context.summary.partitions_unchanged += 1,
            _ => {}
        }
        Ok(())
    }

    /// The revenue of a partition after the merge. Adds that of the run's rows to the summary.
    fn revenue(&mut self, merged: &MergedPartition, brought: CurrencyTotals) -> CurrencyTotals {
        let mut revenue = brought;
        merged.lost.iter().for_each(|(currency, units)| add_totals(&mut revenue, Some(currency), -units));
        revenue.iter().for_each(|(currency, units)| add_totals(&mut self.context.summary.revenue, Some(currency), *units));
        merged.kept.iter().for_each(|(currency, units)| add_totals(&mut revenue, Some(currency), *units));
        revenue
    }

    fn removed(&mut self, dt: Dt) {
        self.context.summary.partitions_removed.push(dt);
        self.staging.remove(places::partition_file(dt));
        self.view.facts.remove(&dt);
        self.view.removed.insert(dt);
        self.changes.insert(dt, PartitionChange::Removed);
        self.catalog.partitions.remove(&dt);
    }

    fn written(&mut self, merged: &MergedPartition, file: StagedFile, revenue: CurrencyTotals) -> Result<(), RunError> {
        let (dt, place) = (merged.dt, places::partition_file(merged.dt));
        self.context.summary.partitions_written.push(dt);
        let stamp = self.staging.put_written(&place, file.bytes, file.checksum)?;
        self.view.facts.insert(dt, self.staging.staged(&place));
        self.view.changed.insert(dt);
        if let Some(short) = self.view.short_rows.as_mut().filter(|_| merged.longest_row < LONGEST_TEXT - 3) {
            short.insert(dt);
        }
        self.catalog.partitions.insert(dt, PartitionEntry { stamp: stamp.clone(), rows: merged.rows, revenue: revenue.clone() });
        self.changes.insert(dt, PartitionChange::Written(stamp));
        if let Some(expected) = &mut self.view.expected {
            expected.insert(dt, Expected { rows: merged.rows, revenue });
        }
        Ok(())
    }

    /// Stages a dimension if it changes. Returns its file, if it has one.
    fn dimension(&mut self, dimension: Dimension) -> Result<Option<PathBuf>, RunError> {
        let spec = *dimension.spec();
        let place = places::dimension(&spec);
        let merged = dimension.finish(self.context.summary.started_at);
        self.context.summary.dimensions.insert(spec.name.to_owned(), merged.counts);
        let Some(bytes) = merged.replaced else { return Ok(Some(self.context.output.at(place)).filter(|stored| stored.exists())) };
        self.dimensions_changed = true;
        self.staging.put(&place, &bytes)?;
        Ok(Some(self.staging.staged(place)))
    }
}

impl StagedRun {
    /// Runs the checks. Their results are in the summary, also if one of them fails.
    ///
    /// # Errors
    /// [`RunError::ChecksFailed`], unless the settings publish all the same; what keeps the checks from running.
    pub(super) fn check(
        self,
        engine: Engine,
        custom: &[CustomCheck],
        context: StagingContext<'_>,
        cancel: &Cancel,
    ) -> Result<CheckedRun, RunError> {
        let StagingContext { settings, output, summary } = context;
        if self.needs_checks(settings, custom) {
            summary.checks = match check::run_checks(engine, &self.view, custom, cancel) {
                Err(CheckError::Interrupted) => return Err(super::interrupted(cancel)),
                results => results?,
            };
            if let Some(threshold) = settings.unit_slip {
                summary.checks.push(check::unit_slip(&self.run_prices, threshold, self.view.violations.as_deref())?);
            }
        }
        let failed: Vec<_> = summary.checks.iter().filter(|result| result.is_failure()).map(|result| result.name.clone()).collect();
        for result in summary.checks.iter_mut().filter(|result| result.rows_kept.is_some()) {
            result.file = Some(places::violations(&summary.run_id).join(result.file_name()).display().to_string());
        }
        if failed.is_empty() || settings.on_check_failure == OnCheckFailure::Publish {
            return Ok(CheckedRun { staged: self, failed });
        }
        if !settings.dry_run {
            self.keep_violations(output, &summary.run_id);
        }
        Err(RunError::ChecksFailed { names: failed, published: false })
    }

    /// Keeps the violating rows of a run that is not published.
    fn keep_violations(&self, output: &Output, run_id: &str) {
        let place = places::violations(run_id);
        let staged = self.staging.staged(&place);
        if !staged.exists() {
            return;
        }
        if let Err(error) = std::fs::rename(&staged, output.at(&place)) {
            tracing::warn!(%error, folder = %place.display(), "the violating rows could not be kept");
        }
    }

    fn needs_checks(&self, settings: &Settings, custom: &[CustomCheck]) -> bool {
        !self.changes.is_empty() || self.dimensions_changed || settings.check_scope == CheckScope::Full || !custom.is_empty()
    }
}
