//! Brings the counts of a run's summary up to date. Those of the stages are their own: they are taken over as they are.

use super::Job;
use crate::{
    layer::MergeCounts,
    run::{conclude, observer::RunClock, staged_run::StagedRun},
    settings::{MergeBy, WhichLists},
};

impl Job<'_> {
    /// Counts the rows of the layer that a rebuild has not brought again.
    pub(super) fn count_uncovered(&mut self, staged: &StagedRun) {
        let MergeCounts { rows_inserted, rows_updated, rows_unchanged, rows_moved, .. } = self.summary.rows;
        let Some(rebuilt_from) = &mut self.summary.rebuilt_from else { return };
        let rows: u64 = staged.next.partitions.values().map(|partition| partition.rows).sum();
        rebuilt_from.rows_not_covered = rows.saturating_sub(rows_inserted + rows_updated + rows_unchanged + rows_moved);
    }

    /// Sets the number of different orders of files: it is that of the run's orders, if no record was left out.
    pub(super) fn count_orders(&mut self, orders: u64) {
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

    /// Brings the summary up to date.
    pub(super) fn count_so_far(&mut self) {
        RunClock { began: self.began, stages: &self.clock, waited: self.waited }.count(&mut self.summary);
        self.summary.source = self.counters.counts();
        self.summary.peak_memory_bytes = conclude::peak_memory_bytes();
        self.summary.count_values();
    }
}
