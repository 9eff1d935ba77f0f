//! Stored orders that the source no longer has: which ones a run may delete, found partition by partition in bounded memory.
//!
//! Pure of policy: whether a run may delete at all is `run::deletions`'s. Whatever is in doubt stays.

use std::collections::{BTreeMap, BTreeSet};

use super::{Catalog, LayerError, LookUpError, PartitionRows, PresentOrders, StoredPartitions};
use crate::{
    cancel::Cancel,
    coverage::Interval,
    model::{Dt, OrderHash, order_hash},
    settings::{DeletionLimit, DeletionMode},
};

/// The status of the rows of a deleted order that stay.
pub const DELETED_STATUS: &str = "deleted";

/// Missing orders that are named.
const NAMED: usize = 5;

/// What a run may delete.
#[derive(Clone, Debug)]
pub struct DeletionScope {
    /// What the ids of its orders begin with, in a layer of several shops: other orders are not its own.
    pub id_prefix: Option<String>,
    /// What becomes of the orders.
    pub mode: DeletionMode,
    /// How many of them may go.
    pub limit: DeletionLimit,
    /// Where `created_at` of all their rows must lie.
    pub window: Interval,
}

/// Orders to delete, each with the partitions that hold it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deletions {
    mode: DeletionMode,
    orders: BTreeMap<OrderHash, BTreeSet<Dt>>,
}

impl Deletions {
    /// These orders, each with a partition that holds it.
    #[cfg(test)]
    pub(super) fn new(mode: DeletionMode, orders: impl IntoIterator<Item = (OrderHash, Dt)>) -> Deletions {
        Deletions { mode, orders: orders.into_iter().map(|(order, dt)| (order, BTreeSet::from([dt]))).collect() }
    }

    /// What becomes of an order; `None` if it is not deleted.
    pub(super) fn of(&self, order_id: &str) -> Option<DeletionMode> {
        self.orders.contains_key(&order_hash(order_id)).then_some(self.mode)
    }

    /// How many orders there are.
    pub fn count(&self) -> u64 {
        self.orders.len() as u64
    }

    /// The orders that lose their rows.
    pub fn removed(&self) -> impl Iterator<Item = OrderHash> + '_ {
        self.orders.keys().copied().filter(move |_| self.mode == DeletionMode::Remove)
    }

    /// What becomes of them.
    pub fn mode(&self) -> DeletionMode {
        self.mode
    }

    /// The partitions that hold one of them.
    pub fn partitions(&self) -> BTreeSet<Dt> {
        self.orders.values().flatten().copied().collect()
    }
}

/// The orders of the layer that a run has not read.
pub struct MissingOrders {
    id_prefix: Option<String>,
    mode: DeletionMode,
    limit: DeletionLimit,
    /// The partitions that were looked at.
    days: BTreeSet<Dt>,
    /// Missing orders, with the partitions that hold them; none once there are too many.
    orders: BTreeMap<OrderHash, BTreeSet<Dt>>,
    /// Orders that also have rows outside of the window: nothing is known of these.
    outside: BTreeSet<OrderHash>,
    /// So many are more than the limit allows, whatever else is found.
    most: u64,
    is_overfull: bool,
    /// Orders with rows in the window, but for those that are marked already.
    stored: u64,
    missing: u64,
    first: Vec<String>,
}

/// Orders by the partitions that may hold them.
pub type OrdersByPartition = BTreeMap<Dt, BTreeSet<OrderHash>>;

/// How many orders of a window are missing, of how many.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MissingShare {
    /// Missing orders.
    pub missing: u64,
    /// Stored orders.
    pub stored: u64,
    /// The ids of the first missing ones.
    pub first: Vec<String>,
}

/// What a partition holds of one order.
struct OrderHere {
    first_row: usize,
    has_row_inside: bool,
    has_row_outside: bool,
    is_marked: bool,
}

impl MissingOrders {
    /// Nothing yet, of partitions that have so many rows.
    fn new(scope: DeletionScope, rows: u64) -> MissingOrders {
        let DeletionScope { id_prefix, mode, limit, .. } = scope;
        MissingOrders {
            id_prefix,
            mode,
            limit,
            days: BTreeSet::new(),
            orders: BTreeMap::new(),
            outside: BTreeSet::new(),
            most: rows,
            is_overfull: false,
            stored: 0,
            missing: 0,
            first: Vec::new(),
        }
    }

    /// Compares the orders of some stored partitions with those that a run has read.
    ///
    /// # Errors
    /// A partition that can't be read, a signal.
    pub fn find(
        stored: &StoredPartitions<'_>,
        days: &[Dt],
        present: &mut PresentOrders,
        scope: DeletionScope,
        cancel: &Cancel,
    ) -> Result<MissingOrders, LayerError> {
        let rows = days.iter().filter_map(|dt| stored.entry(*dt)).map(|entry| entry.rows).sum();
        let window = scope.window;
        let mut missing = MissingOrders::new(scope, rows);
        for &dt in days {
            if cancel.is_stopped() {
                return Err(LayerError::Interrupted);
            }
            if let Some(partition) = stored.load(dt)? {
                missing.partition(dt, &partition.rows, present, window)?;
                stored.forget(dt);
            }
        }
        Ok(missing)
    }

    fn partition(&mut self, dt: Dt, rows: &PartitionRows, present: &mut PresentOrders, window: Interval) -> Result<(), LayerError> {
        self.days.insert(dt);
        for (order, here) in orders_of(rows, window) {
            if self.id_prefix.as_ref().is_some_and(|prefix| !rows.order_id(here.first_row).starts_with(prefix)) {
                continue;
            }
            if here.has_row_outside {
                self.outside.insert(order);
            }
            if !here.has_row_inside || (self.mode == DeletionMode::Mark && here.is_marked) {
                continue;
            }
            self.stored += 1;
            if here.has_row_outside || present.has(order)? {
                continue;
            }
            self.missing += 1;
            if self.first.len() < NAMED {
                self.first.push(rows.order_id(here.first_row).to_owned());
            }
            if self.is_overfull {
                continue;
            }
            self.orders.entry(order).or_default().insert(dt);
            // There are at most as many orders as rows: this many are too many in any case.
            if self.limit.is_exceeded(self.orders.len() as u64, self.most) {
                self.is_overfull = true;
                self.orders.clear();
            }
        }
        Ok(())
    }

    /// The partitions beside those that were looked at that may hold a missing order, each with these orders.
    ///
    /// # Errors
    /// [`LookUpError::Damaged`] if the index must be rebuilt.
    pub fn elsewhere(&self, catalog: &mut Catalog) -> Result<OrdersByPartition, LookUpError> {
        let mut elsewhere = OrdersByPartition::new();
        for order in self.orders.keys() {
            for dt in catalog.stored_partitions_of(*order)?.into_iter().filter(|dt| !self.days.contains(dt)) {
                elsewhere.entry(dt).or_default().insert(*order);
            }
        }
        Ok(elsewhere)
    }

    /// Keeps the orders that do have rows in these partitions: an entry of the index may be stale.
    ///
    /// # Errors
    /// A partition that can't be read.
    pub fn keep_those_in(&mut self, stored: &StoredPartitions<'_>, elsewhere: &OrdersByPartition) -> Result<(), LayerError> {
        for (dt, orders) in elsewhere {
            let Some(partition) = stored.load(*dt)? else { continue };
            let held = (0..partition.rows.len()).map(|row| order_hash(partition.rows.order_id(row)));
            self.outside.extend(held.filter(|order| orders.contains(order)));
        }
        Ok(())
    }

    /// The orders to delete: those whose rows all lie in the window.
    ///
    /// # Errors
    /// There are more than the limit allows.
    pub fn settle(mut self) -> Result<Deletions, MissingShare> {
        let mut orders = std::mem::take(&mut self.orders);
        orders.retain(|order, _| !self.outside.contains(order));
        let missing = if self.is_overfull { self.missing } else { orders.len() as u64 };
        if missing > 0 && (self.is_overfull || self.limit.is_exceeded(missing, self.stored)) {
            return Err(MissingShare { missing, stored: self.stored, first: self.first });
        }
        Ok(Deletions { mode: self.mode, orders })
    }
}

/// What a partition holds of each of its orders, by hash: look-ups of sorted orders are cheap.
fn orders_of(rows: &PartitionRows, window: Interval) -> BTreeMap<OrderHash, OrderHere> {
    let (start, end) = (window.start.micros(), window.end.micros());
    let mut orders: BTreeMap<OrderHash, OrderHere> = BTreeMap::new();
    for row in 0..rows.len() {
        let is_inside = (start..end).contains(&rows.created_at(row));
        let new = OrderHere { first_row: row, has_row_inside: false, has_row_outside: false, is_marked: true };
        let here = orders.entry(order_hash(rows.order_id(row))).or_insert(new);
        here.has_row_inside |= is_inside;
        here.has_row_outside |= !is_inside;
        here.is_marked &= rows.status(row) == Some(DELETED_STATUS);
    }
    orders
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layer::PresentOrdersBuilder,
        model::{FactSchema, Line, UtcMicros},
    };

    fn day() -> Dt {
        Dt::from_days(0).unwrap()
    }

    /// Rows as `(order, second of the day, status)`.
    fn rows(given: &[(&str, i64, Option<&str>)]) -> PartitionRows {
        let mut rows = PartitionRows::new(&FactSchema::default());
        for (order_id, second, status) in given {
            let line = Line {
                status: *status,
                quantity: 1.into(),
                price_defaulted: true,
                created_at: UtcMicros::new(second * UtcMicros::SECOND).unwrap(),
                ..Line::of_key(order_id, "s")
            };
            rows.push(&line, 0, []);
        }
        rows
    }

    fn found(mode: DeletionMode, limit: &str, given: &[(&str, i64, Option<&str>)], read: &[&str]) -> MissingOrders {
        let dir = tempfile::tempdir().unwrap();
        let mut present = PresentOrdersBuilder::new(dir.path().join("present"));
        present.push(&read.iter().map(|id| order_hash(id)).collect::<Vec<_>>(), 0).unwrap();
        let window = Interval::new(UtcMicros::new(0).unwrap(), UtcMicros::new(100 * UtcMicros::SECOND).unwrap()).unwrap();
        let scope = DeletionScope { id_prefix: None, mode, limit: limit.parse().unwrap(), window };
        let mut missing = MissingOrders::new(scope, given.len() as u64);
        missing.partition(day(), &rows(given), &mut present.finish().unwrap(), window).unwrap();
        missing
    }

    #[test]
    fn only_orders_that_were_not_read_and_lie_in_the_window_as_a_whole_are_missing() {
        let given = [("A", 1, None), ("B", 2, None), ("B", 3, None), ("C", 200, None), ("D", 5, None), ("D", 300, None)];
        let missing = found(DeletionMode::Remove, "100%", &given, &["A"]);
        assert_eq!((missing.missing, missing.stored, missing.first), (1, 3, vec!["B".to_owned()]));
        assert_eq!(missing.orders.keys().collect::<Vec<_>>(), [&order_hash("B")]);
    }

    #[test]
    fn marked_orders_are_neither_missing_nor_counted_where_orders_are_marked() {
        let given = [("A", 1, Some("deleted")), ("B", 2, Some("deleted")), ("B", 3, Some("paid"))];
        let marked = found(DeletionMode::Mark, "100%", &given, &[]);
        assert_eq!((marked.missing, marked.stored), (1, 1), "B is marked in part");
        assert_eq!(found(DeletionMode::Remove, "100%", &given, &[]).missing, 2);
    }

    #[test]
    fn too_many_missing_orders_are_counted_and_not_kept() {
        let ids: Vec<String> = (0..40).map(|number| format!("order {number}")).collect();
        let given: Vec<_> = ids.iter().map(|id| (id.as_str(), 1, None)).collect();
        let missing = found(DeletionMode::Remove, "5%", &given, &[]);
        assert!(missing.is_overfull && missing.orders.is_empty());
        assert_eq!((missing.missing, missing.stored, missing.first.len()), (40, 40, NAMED));
    }
}
