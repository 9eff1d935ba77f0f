//! Merges what a run has read with the layer: looks up what the layer has of it, hands both to the merger, and stages the lineage.
//!
//! How one partition is merged is in `layer`, how all of them are in `run::merge_all`.

use std::collections::BTreeSet;

use super::{Job, opening::Base};
use crate::{
    join::Enricher,
    layer::{
        Catalog, Deletions, LayerError, LookUpError, MergeRules, MergedContent, MissingShare, PartitionOutcomes, PriceBook,
        StoredPartitions, StoredState,
    },
    model::{Dt, FileFormat},
    run::{
        RunError,
        deletions::{DeletionPlan, LayerReading},
        extract::Extracted,
        merge_all::{self, EarlierAttempt, MergedPartitions, Merger, Moves, NewEntryFiles, SideChange, StagedPartition},
        merge_budget::MergeBudget,
        staged_run::{MergedRun, NewIndexEntries},
    },
    store::Staging,
};

/// What the layer has of the orders that a run has read, and of those that it has not.
struct LookedUp {
    moves: Moves,
    /// The orders to delete, or the numbers where there are too many.
    deletions: Option<Result<Deletions, MissingShare>>,
}

impl Job<'_> {
    /// Merges the lines of the run with the stored partitions.
    pub(super) fn merge(
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
        if moves.new_entries > 0 {
            // Orders that the layer does not have: there will be something to check.
            self.engine.begin();
        }
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
                notes_orders: false,
            },
            deletion_partitions: self.deletions.as_ref().map_or(&no_partitions, DeletionPlan::partitions),
            format,
            enricher,
            threads: self.settings.threads,
            budget: MergeBudget::new(self.settings.memory_limit),
            cancel: self.request.cancel,
            observer: self.request.observer,
        };
        let merged = merger.merge_all(moves, earlier)?;
        if merged.partitions.values().any(|partition| partition.merged.content != MergedContent::Unchanged) {
            self.engine.begin();
        }
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
    pub(super) fn stage_lineage(
        &self,
        merged: &MergedRun,
        extracted: &mut Extracted,
        staging: &mut Staging,
        sequence: u64,
    ) -> Result<(), LayerError> {
        let outcomes = merged.merged.partitions.values().map(|StagedPartition { merged, .. }| PartitionOutcomes {
            dt: merged.dt,
            lines: &merged.outcomes,
            deleted: &merged.deleted,
        });
        extracted.lineage.stage(staging, sequence, &self.summary.run_id, &outcomes.collect::<Vec<_>>())
    }
}
