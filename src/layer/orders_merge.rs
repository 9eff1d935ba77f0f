//! What a partition's merge says of its orders: which version of each counts, and which orders have rows there after it. The facts
//! beside the lines follow that.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{
    BestVersions, Deletions, PartitionRows, StoredPartition,
    moves::{OrderVersions, versions_here},
};
use crate::{
    model::{OrderHash, order_hash},
    settings::DeletionMode,
};

/// The orders of one partition, around the merge of its facts: it begins before that, with the rows that the facts are merged of, and
/// ends after it.
pub struct OrdersMerge {
    /// The versions of each order that the run brings to this partition.
    versions: HashMap<String, OrderVersions>,
    /// The orders with refunds that the facts store.
    stored_with_refunds: BTreeSet<String>,
}

impl OrdersMerge {
    /// Notes the versions of each order among the run's lines and the stored rows.
    pub fn begin(lines: Option<&PartitionRows>, stored: Option<&StoredPartition>, has_refunds: &dyn Fn(OrderHash) -> bool) -> OrdersMerge {
        let stored = stored.map(|stored| &stored.rows);
        let mut versions = HashMap::new();
        if let Some(lines) = lines {
            let here = versions_here(lines, stored);
            versions = here.into_iter().map(|(order_id, versions)| (order_id.to_owned(), versions)).collect();
        }
        let mut stored_with_refunds = BTreeSet::new();
        for order_id in stored.iter().flat_map(|rows| (0..rows.len()).map(|row| rows.order_id(row))) {
            if has_refunds(order_hash(order_id)) && !stored_with_refunds.contains(order_id) {
                stored_with_refunds.insert(order_id.to_owned());
            }
        }
        OrdersMerge { versions, stored_with_refunds }
    }

    /// Takes the orders that the facts of the partition are to have, and those that the run deletes or marks.
    pub fn finish<'b>(
        self,
        best_versions: &'b BestVersions,
        remaining: HashSet<OrderHash>,
        deletions: Option<&'b Deletions>,
    ) -> MergedOrders<'b> {
        let OrdersMerge { versions, stored_with_refunds } = self;
        MergedOrders { versions, remaining, stored_with_refunds, best_versions, deletions }
    }
}

/// The orders of one partition after the merge of its facts.
pub struct MergedOrders<'b> {
    /// The versions of each order that the run brings to this partition.
    pub(super) versions: HashMap<String, OrderVersions>,
    /// The orders that have rows here.
    remaining: HashSet<OrderHash>,
    /// The orders with refunds that had rows here before.
    pub(super) stored_with_refunds: BTreeSet<String>,
    best_versions: &'b BestVersions,
    /// The orders that the source no longer has.
    deletions: Option<&'b Deletions>,
}

impl MergedOrders<'_> {
    /// Whether an order stays, marked as deleted.
    pub(super) fn is_marked(&self, order_id: &str) -> bool {
        self.deletions.and_then(|deletions| deletions.of(order_id)) == Some(DeletionMode::Mark)
    }

    /// The number of the record whose version of an order replaces the stored one, wherever it lies; `None` if none does.
    pub(super) fn winner(&self, order_id: &str) -> Option<u64> {
        let versions = self.best_versions.or_here(order_id, self.versions.get(order_id))?;
        if versions.incoming_wins() { versions.incoming.map(|best| best.seq) } else { None }
    }

    /// The number of the record whose totals of an order replace the stored ones; `None` if none do.
    pub(super) fn winner_of_totals(&self, order_id: &str) -> Option<u64> {
        self.best_versions.record_of_totals(order_id, self.winner(order_id))
    }

    /// Whether an order has rows here.
    pub(super) fn has(&self, order_id: &str) -> bool {
        self.remaining.contains(&order_hash(order_id))
    }
}
