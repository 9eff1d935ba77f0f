//! Orders that lie in more than one partition: which version of each of their rows wins, over the whole layer.
//!
//! A partition is merged by itself. Only for these few orders does it need to know the other partitions. Orders of which the run
//! has a version without lines are among them: such a version lies in no partition.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::atomic::{AtomicUsize, Ordering as AtomicOrdering},
    thread,
};

use super::{
    DroppedParts, LayerError, PartitionRows, StagedLines, StoredPartitions,
    dropped_parts::Wholeness,
    succession::{Base, OfferedRow, Stands, Succession},
};
use crate::{
    model::{Dt, OrderHash, order_hash},
    settings::{MergeBy, RepeatedSku},
};

/// `updated_at` in microseconds. It decides between versions of a row; a row without one is the oldest, and of equal ones the
/// later one wins (contract, "Which version of a row wins").
pub(super) type UpdatedAt = Option<i64>;

/// What decides between versions of orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VersionRules {
    /// What a newer version of an order replaces.
    pub by: MergeBy,
    /// Whether lines of one sku are added up.
    pub repeated_sku: RepeatedSku,
}

/// The incoming version that beats all other incoming versions of its order: the newest one, then the later one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct BestIncoming {
    pub(super) updated_at: UpdatedAt,
    pub(super) seq: u64,
}

/// An incoming row of a key. The greatest one beats the others: a whole one, then the newest, then the later one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct IncomingRow {
    pub(super) wholeness: Wholeness,
    pub(super) updated_at: UpdatedAt,
    pub(super) seq: u64,
}

/// The stored row that beats all other stored rows of its key, with its partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BestStored {
    pub(super) updated_at: UpdatedAt,
    pub(super) dt: Dt,
}

/// The best incoming and the best stored row of one key.
#[derive(Clone, Default, Debug)]
pub(super) struct KeyVersions {
    pub(super) incoming: Option<IncomingRow>,
    pub(super) stored: Option<BestStored>,
}

impl KeyVersions {
    /// Whether the incoming row takes the place of the stored one. A partial sum does not, wherever the two lie.
    pub(super) fn incoming_wins(&self) -> bool {
        let is_partial = self.incoming.is_some_and(|incoming| incoming.wholeness == Wholeness::Partial);
        self.incoming_is_newer() && !(is_partial && self.stored.is_some())
    }

    /// Whether the incoming row is at least as new as the stored one, partial or not.
    pub(super) fn incoming_is_newer(&self) -> bool {
        match (&self.incoming, &self.stored) {
            (Some(incoming), Some(stored)) => incoming.updated_at >= stored.updated_at,
            (incoming, _) => incoming.is_some(),
        }
    }

    fn offer_incoming(&mut self, row: IncomingRow) {
        self.incoming = self.incoming.max(Some(row));
    }

    fn offer_stored(&mut self, updated_at: UpdatedAt, dt: Dt) {
        let better = self.stored.is_none_or(|best| match updated_at.cmp(&best.updated_at) {
            Ordering::Equal => dt >= best.dt,
            order => order == Ordering::Greater,
        });
        if better {
            self.stored = Some(BestStored { updated_at, dt });
        }
    }
}

/// The best incoming version of an order and its stored version, for `merge = "order"`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct OrderVersions {
    /// The incoming version that beats the others of the run: its time and its record.
    pub(super) incoming: Option<BestIncoming>,
    /// The time of the stored version; the outer `None` if nothing is stored.
    pub(super) stored: Option<UpdatedAt>,
}

impl OrderVersions {
    pub(super) fn offer_incoming(&mut self, updated_at: UpdatedAt, seq: u64) {
        if self.incoming.is_none_or(|best| (best.updated_at, best.seq) < (updated_at, seq)) {
            self.incoming = Some(BestIncoming { updated_at, seq });
        }
    }

    pub(super) fn offer_stored(&mut self, updated_at: UpdatedAt) {
        self.stored = self.stored.max(Some(updated_at));
    }

    /// Whether the incoming version replaces the stored one.
    pub(super) fn incoming_wins(&self) -> bool {
        self.incoming.is_some_and(|incoming| self.stored.is_none_or(|stored| incoming.updated_at >= stored))
    }
}

/// The versions of each order of the run in one partition.
pub(super) fn versions_here<'r>(incoming: &'r PartitionRows, stored: Option<&PartitionRows>) -> HashMap<&'r str, OrderVersions> {
    let mut orders: HashMap<&'r str, OrderVersions> = HashMap::new();
    for row in 0..incoming.len() {
        orders.entry(incoming.order_id(row)).or_default().offer_incoming(incoming.updated_at(row), incoming.seq(row));
    }
    let Some(stored) = stored else { return orders };
    for row in 0..stored.len() {
        if let Some(order) = orders.get_mut(stored.order_id(row)) {
            order.offer_stored(stored.updated_at(row));
        }
    }
    orders
}

/// The best versions of keys and orders that lie in more than one partition.
#[derive(Default)]
pub struct BestVersions {
    shared_orders: HashSet<OrderHash>,
    keys: HashMap<String, HashMap<String, KeyVersions>>,
    orders: HashMap<String, OrderVersions>,
    /// The versions with lines of orders of which the run has one without.
    emptied: HashMap<String, VersionsWithLines>,
    /// The incoming rows of the other orders, until it is known whether their best version has a dropped line. Only
    /// with `merge = "order"`, in a run with dropped lines.
    offered: HashMap<String, Vec<OfferedRow>>,
    /// Orders whose best version has a dropped line.
    successions: HashMap<String, Succession>,
    /// Orders whose newest version in the run has no row in the layer, with the record that brings their totals, if any.
    without_rows: HashMap<String, Option<u64>>,
}

/// Versions of an order, by the number of their record.
type VersionsWithLines = BTreeMap<u64, VersionWithLines>;

/// A version of an order in the run.
#[derive(Clone, Default, Debug)]
struct VersionWithLines {
    updated_at: UpdatedAt,
    skus: BTreeSet<String>,
}

impl BestVersions {
    /// For orders that lie in more than one partition, or of which the run has a version without lines.
    fn of_shared_orders(shared_orders: &HashSet<OrderHash>, staged: &StagedLines) -> BestVersions {
        let emptied = staged.emptied().iter().map(|version| (version.order_id.clone(), VersionsWithLines::new())).collect();
        BestVersions { shared_orders: shared_orders.clone(), emptied, ..BestVersions::default() }
    }

    /// Whether an order lies in more than one partition.
    pub(super) fn concern(&self, order_id: &str) -> bool {
        !self.shared_orders.is_empty() && self.shared_orders.contains(&order_hash(order_id))
    }

    /// The best rows of a key of an order that lies in more than one partition.
    pub(super) fn of(&self, (order_id, sku): (&str, &str)) -> Option<&KeyVersions> {
        self.keys.get(order_id)?.get(sku)
    }

    /// The versions of an order that lies in more than one partition.
    pub(super) fn of_order(&self, order_id: &str) -> Option<&OrderVersions> {
        self.orders.get(order_id)
    }

    /// The versions of an order that lies in more than one partition, if its best one has a dropped line.
    pub(super) fn succession(&self, order_id: &str) -> Option<&Succession> {
        self.successions.get(order_id)
    }

    /// The record whose totals of an order count: that of the newest version, unless this one has no row in the layer.
    pub(super) fn record_of_totals(&self, order_id: &str, newest: Option<u64>) -> Option<u64> {
        self.without_rows.get(order_id).copied().unwrap_or(newest)
    }

    /// Offers the stored and the incoming rows of one partition.
    fn offer_partition(
        &mut self,
        stored: &StoredPartitions<'_>,
        staged: &StagedLines,
        dt: Dt,
        VersionRules { by, repeated_sku }: VersionRules,
    ) -> Result<(), LayerError> {
        if let Some(stored) = stored.load(dt)? {
            for row in concerned(self, &stored.rows) {
                self.of_mut(stored.rows.key(row)).offer_stored(stored.rows.updated_at(row), dt);
                self.order_mut(stored.rows.order_id(row)).offer_stored(stored.rows.updated_at(row));
            }
        }
        let Some(rows) = staged.load(dt)? else { return Ok(()) };
        let may_lack_lines = by == MergeBy::Order && !staged.dropped_lines().is_empty();
        for row in concerned(self, &rows) {
            let seq = rows.seq(row);
            if let Some(versions) = self.emptied.get_mut(rows.order_id(row)) {
                let version = versions.entry(seq).or_default();
                version.updated_at = rows.updated_at(row);
                version.skus.insert(rows.key(row).1.to_owned());
                continue;
            }
            let (key, updated_at) = (rows.key(row), rows.updated_at(row));
            let wholeness = staged.dropped_lines().wholeness(repeated_sku, seq, key.1);
            self.of_mut(key).offer_incoming(IncomingRow { wholeness, updated_at, seq });
            self.order_mut(key.0).offer_incoming(updated_at, seq);
            if may_lack_lines {
                let row = OfferedRow::new(BestIncoming { updated_at, seq }, key.1);
                self.offered.entry(key.0.to_owned()).or_default().push(row);
            }
        }
        Ok(())
    }

    /// Offers what another thread has found in other partitions.
    fn absorb(&mut self, found: BestVersions) {
        for (order_id, skus) in found.keys {
            for (sku, versions) in skus {
                let own = self.of_mut((&order_id, &sku));
                if let Some(row) = versions.incoming {
                    own.offer_incoming(row);
                }
                if let Some(BestStored { updated_at, dt }) = versions.stored {
                    own.offer_stored(updated_at, dt);
                }
            }
        }
        for (order_id, versions) in found.orders {
            let own = self.order_mut(&order_id);
            if let Some(BestIncoming { updated_at, seq }) = versions.incoming {
                own.offer_incoming(updated_at, seq);
            }
            if let Some(updated_at) = versions.stored {
                own.offer_stored(updated_at);
            }
        }
        for (order_id, rows) in found.offered {
            self.offered.entry(order_id).or_default().extend(rows);
        }
        for (order_id, versions) in found.emptied {
            let own = self.emptied.entry(order_id).or_default();
            for (seq, version) in versions {
                let known = own.entry(seq).or_default();
                known.updated_at = version.updated_at;
                known.skus.extend(version.skus);
            }
        }
    }

    /// Finds the orders whose best version has a dropped line. The rows of the others are not needed any more.
    fn settle_dropped_lines(&mut self, dropped_lines: &DroppedParts) {
        for (order_id, rows) in std::mem::take(&mut self.offered) {
            let order = self.orders.get(&order_id);
            let Some(mut succession) = order.and_then(|order| Succession::of_order(order, dropped_lines)) else { continue };
            rows.into_iter().for_each(|row| succession.offer(row));
            self.successions.insert(order_id, succession);
        }
    }

    /// Goes through the versions of orders of which one has no lines, as they came: one run ends as several would. A version without
    /// lines takes away what stood before it, if that is not newer. What comes after it stands again.
    fn settle_emptied(&mut self, staged: &StagedLines, repeated_sku: RepeatedSku) {
        let mut without_lines: HashMap<&str, BTreeMap<u64, UpdatedAt>> = HashMap::new();
        for version in staged.emptied() {
            without_lines.entry(&version.order_id).or_default().insert(version.seq, version.updated_at);
        }
        for (order_id, without_lines) in without_lines {
            let with_lines = self.emptied.remove(order_id).unwrap_or_default();
            let order = self.order_mut(order_id);
            let Course { stands, emptied_by } = Course::after(order.stored, &with_lines, &without_lines);
            let (Standing::Emptied(best) | Standing::Incoming(best)) = stands else { continue };
            let base = emptied_by.map_or(Base::Layer(order.stored), Base::Emptied);
            order.incoming = Some(best);
            // What was stored is older, or was taken away in between: the order as a whole and each of its rows.
            order.stored = order.stored.map(|_| None);
            let stored_rows = self.keys.get_mut(order_id).into_iter().flat_map(HashMap::values_mut).filter_map(|key| key.stored.as_mut());
            stored_rows.for_each(|stored| stored.updated_at = None);
            let mut succession = Succession::of(base, best, staged.dropped_lines());
            for (&seq, VersionWithLines { updated_at, skus }) in &with_lines {
                let version = BestIncoming { updated_at: *updated_at, seq };
                for sku in skus.iter().filter(|_| base.is_before(version)) {
                    let wholeness = staged.dropped_lines().wholeness(repeated_sku, seq, sku);
                    self.of_mut((order_id, sku)).offer_incoming(IncomingRow { wholeness, updated_at: *updated_at, seq });
                    if let Some(succession) = &mut succession {
                        succession.offer(OfferedRow::new(version, sku));
                    }
                }
            }
            self.successions.extend(succession.map(|succession| (order_id.to_owned(), succession)));
        }
    }

    /// Finds the orders whose newest version has no row in the layer: each of its rows is a partial sum beside a whole one.
    /// Its totals would lie on a day without rows of the order. In their place stand those of the newest version of the run
    /// that has a row, or else the stored ones.
    fn settle_totals(&mut self, staged: &StagedLines, VersionRules { by, repeated_sku }: VersionRules) {
        if repeated_sku != RepeatedSku::Sum {
            return;
        }
        let without_lines: HashSet<u64> = staged.emptied().iter().map(|version| version.seq).collect();
        for (order_id, skus) in &self.keys {
            let Some(order) = self.orders.get(order_id).filter(|order| order.incoming_wins()) else { continue };
            let Some(best) = order.incoming.filter(|best| !without_lines.contains(&best.seq)) else { continue };
            let succession = self.successions.get(order_id);
            let version_that_stands = |sku: &str, key: &KeyVersions| match succession {
                // With `merge = "order"`, a row of an earlier version stays if its line was dropped from the best one.
                Some(succession) => match succession.stands(sku, staged.dropped_lines(), repeated_sku) {
                    Stands::Incoming(version) => Some(version),
                    Stands::StoredOr(version) => version.filter(|_| key.stored.is_none()),
                    Stands::Nothing => None,
                },
                None => {
                    let IncomingRow { wholeness, updated_at, seq } = key.incoming?;
                    let is_of_best = seq == best.seq && wholeness == Wholeness::Whole;
                    let stands = is_of_best || by == MergeBy::Line && key.incoming_wins();
                    stands.then_some(BestIncoming { updated_at, seq })
                }
            };
            let newest = skus.iter().filter_map(|(sku, key)| version_that_stands(sku, key)).max();
            if newest.is_none_or(|newest| newest.seq != best.seq) {
                let counts = newest.filter(|newest| order.stored.is_none_or(|stored| newest.updated_at >= stored));
                self.without_rows.insert(order_id.clone(), counts.map(|version| version.seq));
            }
        }
    }

    /// The versions of an order: those of all partitions if it lies in several, else those of the partition that is merged.
    pub(super) fn or_here<'v>(&'v self, order_id: &str, here: Option<&'v OrderVersions>) -> Option<&'v OrderVersions> {
        let everywhere = if self.concern(order_id) { self.of_order(order_id) } else { None };
        everywhere.or(here)
    }

    fn order_mut(&mut self, order_id: &str) -> &mut OrderVersions {
        if !self.orders.contains_key(order_id) {
            self.orders.insert(order_id.to_owned(), OrderVersions::default());
        }
        self.orders.entry(order_id.to_owned()).or_default()
    }

    fn of_mut(&mut self, (order_id, sku): (&str, &str)) -> &mut KeyVersions {
        if !self.keys.contains_key(order_id) {
            self.keys.insert(order_id.to_owned(), HashMap::new());
        }
        self.keys.entry(order_id.to_owned()).or_default().entry(sku.to_owned()).or_default()
    }
}

/// Which version of an order stands, after some of its versions have come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    /// The stored one, of this time.
    Stored(UpdatedAt),
    /// One of the run.
    Incoming(BestIncoming),
    /// None: this version without lines took away what stood.
    Emptied(BestIncoming),
    /// None: nothing is stored.
    Nothing,
}

/// What became of an order while its versions came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Course {
    stands: Standing,
    /// The last version without lines that took away what stood before it.
    emptied_by: Option<u64>,
}

impl Course {
    fn after(stored: Option<UpdatedAt>, with_lines: &VersionsWithLines, without_lines: &BTreeMap<u64, UpdatedAt>) -> Course {
        let with_lines = with_lines.iter().map(|(seq, version)| (*seq, version.updated_at, true));
        let without_lines = without_lines.iter().map(|(seq, updated_at)| (*seq, *updated_at, false));
        let mut versions: Vec<_> = with_lines.chain(without_lines).collect();
        versions.sort_unstable_by_key(|(seq, ..)| *seq);
        let first = Course { stands: stored.map_or(Standing::Nothing, Standing::Stored), emptied_by: None };
        versions.into_iter().fold(first, |course, (seq, updated_at, has_lines)| {
            let time = match course.stands {
                Standing::Stored(time) => Some(time),
                Standing::Incoming(best) => Some(best.updated_at),
                Standing::Emptied(_) | Standing::Nothing => None,
            };
            let best = BestIncoming { updated_at, seq };
            match (time.is_some_and(|time| updated_at < time), has_lines) {
                (true, _) => course,
                (false, true) => Course { stands: Standing::Incoming(best), ..course },
                (false, false) => Course { stands: Standing::Emptied(best), emptied_by: Some(seq) },
            }
        })
    }
}

/// Compares all versions of the given orders, over the partitions that hold one of them, several partitions at once.
///
/// # Errors
/// A stored partition that can't be read.
pub fn best_versions(
    stored: &StoredPartitions<'_>,
    staged: &StagedLines,
    rules: VersionRules,
    moved_orders: HashSet<OrderHash>,
    partitions: &BTreeSet<Dt>,
    threads: usize,
) -> Result<BestVersions, LayerError> {
    let partitions: Vec<Dt> = partitions.iter().copied().collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = BestVersions::of_shared_orders(&moved_orders, staged);
        while let Some(&dt) = partitions.get(next.fetch_add(1, AtomicOrdering::Relaxed)) {
            found.offer_partition(stored, staged, dt, rules)?;
        }
        Ok::<_, LayerError>(found)
    };
    let threads = threads.clamp(1, partitions.len().max(1));
    let found = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or(Err(LayerError::Worker))).collect::<Vec<_>>()
    });
    let mut best_versions = BestVersions::of_shared_orders(&moved_orders, staged);
    for found in found {
        best_versions.absorb(found?);
    }
    best_versions.settle_dropped_lines(staged.dropped_lines());
    best_versions.settle_emptied(staged, rules.repeated_sku);
    best_versions.settle_totals(staged, rules);
    Ok(best_versions)
}

fn concerned(best_versions: &BestVersions, rows: &PartitionRows) -> Vec<usize> {
    (0..rows.len()).filter(|&row| best_versions.concern(rows.order_id(row))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(wholeness: Wholeness, updated_at: UpdatedAt, seq: u64) -> IncomingRow {
        IncomingRow { wholeness, updated_at, seq }
    }

    #[test]
    fn a_whole_row_beats_a_partial_sum_then_the_newest_then_the_later() {
        use Wholeness::{Partial, Whole};
        let ascending = [
            row(Partial, None, 9),
            row(Partial, Some(7), 1),
            row(Partial, Some(7), 2),
            row(Whole, None, 3),
            row(Whole, Some(1), 4),
            row(Whole, Some(1), 5),
            row(Whole, Some(2), 1),
        ];
        for (place, better) in (1..).zip(&ascending[1..]) {
            for worse in &ascending[..place] {
                // Partitions are read in any order.
                for offered in [[worse, better], [better, worse]] {
                    let mut key = KeyVersions::default();
                    offered.into_iter().for_each(|row| key.offer_incoming(*row));
                    assert_eq!(key.incoming, Some(*better), "{worse:?}");
                }
            }
        }
    }

    #[test]
    fn only_a_version_without_lines_that_is_not_older_takes_away_what_stands() {
        let course = |with_lines: &[(u64, i64)], without_lines: &[(u64, i64)]| {
            let with_lines = with_lines
                .iter()
                .map(|&(seq, updated_at)| (seq, VersionWithLines { updated_at: Some(updated_at), ..VersionWithLines::default() }));
            let without_lines = without_lines.iter().map(|&(seq, updated_at)| (seq, Some(updated_at)));
            Course::after(Some(Some(5)), &with_lines.collect(), &without_lines.collect())
        };
        let best = |updated_at: i64, seq: u64| BestIncoming { updated_at: Some(updated_at), seq };
        let (stored, newer) = (Standing::Stored(Some(5)), Standing::Incoming(best(6, 2)));
        assert_eq!(course(&[], &[(1, 4)]), Course { stands: stored, emptied_by: None });
        assert_eq!(course(&[(2, 6)], &[(1, 4), (3, 5)]), Course { stands: newer, emptied_by: None });
        assert_eq!(course(&[(2, 6)], &[(1, 5)]), Course { stands: newer, emptied_by: Some(1) });
        // What comes after it stands, however old it is, until one is not older.
        let after = Standing::Incoming(best(2, 8));
        assert_eq!(course(&[(2, 6), (5, 1), (8, 2), (9, 1)], &[(3, 7)]), Course { stands: after, emptied_by: Some(3) });
        assert_eq!(course(&[(2, 6)], &[(3, 6)]), Course { stands: Standing::Emptied(best(6, 3)), emptied_by: Some(3) });
    }

    #[test]
    fn a_partial_sum_wins_only_where_nothing_is_stored() {
        use Wholeness::{Partial, Whole};
        let day = Dt::from_days(0).unwrap();
        for (incoming, stored, newer, wins) in [
            (Some(row(Whole, Some(5), 1)), Some(Some(5)), true, true),
            (Some(row(Whole, Some(4), 1)), Some(Some(5)), false, false),
            (Some(row(Partial, Some(6), 1)), Some(Some(5)), true, false),
            (Some(row(Partial, None, 1)), Some(None), true, false),
            (Some(row(Partial, Some(4), 1)), Some(Some(5)), false, false),
            (Some(row(Partial, None, 1)), None, true, true),
            (None, Some(None), false, false),
            (None, None, false, false),
        ] {
            let key = KeyVersions { incoming, stored: stored.map(|updated_at| BestStored { updated_at, dt: day }) };
            assert_eq!((key.incoming_is_newer(), key.incoming_wins()), (newer, wins), "{key:?}");
        }
    }
}
