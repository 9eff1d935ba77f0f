//! What a partition's merge says of its orders: which version of each counts, and which orders have rows there after it. The facts
//! beside the lines follow that.

use std::collections::{BTreeSet, HashMap, HashSet};

use polars::prelude::DataFrame;

use super::{BestVersions, Deletions, LayerError, MergedContent, StoredPartition, csv::order_hashes, moves::OrderVersions};
use crate::{
    model::{FactRows, OrderHash, SEQ, order_hash},
    settings::DeletionMode,
};

/// The orders of one partition, around the merge of its facts: it begins before that, with the rows that the facts are merged of, and
/// ends after it.
pub struct OrdersMerge {
    /// The versions of each order that the run brings to this partition.
    versions: HashMap<String, OrderVersions>,
    /// The orders that the facts store.
    stored: HashSet<OrderHash>,
    /// Those of them that have refunds.
    stored_with_refunds: BTreeSet<String>,
}

impl OrdersMerge {
    /// Notes the versions of each order among the run's lines and the stored rows.
    ///
    /// # Errors
    /// A frame without the columns of the fact table.
    pub fn begin(
        lines: Option<&DataFrame>,
        stored: Option<&StoredPartition>,
        has_refunds: &dyn Fn(OrderHash) -> bool,
    ) -> Result<OrdersMerge, LayerError> {
        let mut merge = OrdersMerge { versions: HashMap::new(), stored: HashSet::new(), stored_with_refunds: BTreeSet::new() };
        if let Some(frame) = lines {
            let (rows, seq) = (FactRows::new(frame)?, frame.column(SEQ)?.u64()?);
            for row in 0..rows.len() {
                merge.order_mut(rows.order_id(row)).offer_incoming(rows.updated_at(row), seq.get(row).unwrap_or_default());
            }
        }
        let Some(StoredPartition { rows, .. }) = stored else { return Ok(merge) };
        for row in 0..rows.len() {
            let order_id = rows.order_id(row);
            let order = order_hash(order_id);
            if merge.stored.insert(order) && has_refunds(order) {
                merge.stored_with_refunds.insert(order_id.to_owned());
            }
            if let Some(order) = merge.versions.get_mut(order_id) {
                order.offer_stored(rows.updated_at(row));
            }
        }
        Ok(merge)
    }

    fn order_mut(&mut self, order_id: &str) -> &mut OrderVersions {
        if !self.versions.contains_key(order_id) {
            self.versions.insert(order_id.to_owned(), OrderVersions::default());
        }
        self.versions.entry(order_id.to_owned()).or_default()
    }

    /// Takes what the facts of the partition are to be.
    pub fn finish<'b>(self, best_versions: &'b BestVersions, facts: &MergedContent) -> MergedOrders<'b> {
        let OrdersMerge { versions, stored, stored_with_refunds } = self;
        let remaining = match facts {
            MergedContent::Unchanged => stored,
            MergedContent::Replaced(csv) => order_hashes(csv),
            MergedContent::Removed => HashSet::new(),
        };
        MergedOrders { versions, remaining, stored_with_refunds, best_versions, deletions: None }
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

impl<'b> MergedOrders<'b> {
    /// The same, where the run deletes or marks orders.
    #[must_use]
    pub fn with_deletions(self, deletions: Option<&'b Deletions>) -> MergedOrders<'b> {
        MergedOrders { deletions, ..self }
    }

    /// Whether an order stays, marked as deleted.
    pub(super) fn is_marked(&self, order_id: &str) -> bool {
        self.deletions.and_then(|deletions| deletions.of(order_id)) == Some(DeletionMode::Mark)
    }

    /// The number of the record whose version of an order replaces the stored one, wherever it lies; `None` if none does.
    pub(super) fn winner(&self, order_id: &str) -> Option<u64> {
        let everywhere = if self.best_versions.concern(order_id) { self.best_versions.of_order(order_id) } else { None };
        let versions = everywhere.or_else(|| self.versions.get(order_id))?;
        if versions.incoming_wins() { versions.incoming.map(|best| best.seq) } else { None }
    }

    /// Whether an order has rows here.
    pub(super) fn has(&self, order_id: &str) -> bool {
        self.remaining.contains(&order_hash(order_id))
    }
}
