//! What stands of an order whose best version in the run has a dropped line (`merge = "order"`): for each of its
//! dropped lines, the row that stood just before that version. The versions of the run follow each other as they
//! count, as if each came in a run of its own.
//!
//! Knows the versions of one order, and the skus of their valid lines. Which partitions they lie in is for `moves` and
//! `merge`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use xxhash_rust::xxh3::xxh3_64;

use super::{
    BestVersions, DroppedParts, PartitionRows,
    dropped_parts::Wholeness,
    moves::{BestIncoming, OrderVersions, UpdatedAt},
};
use crate::settings::RepeatedSku;

/// What stood before the first version that counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Base {
    /// What the layer has of the order, of this time; the `None` around it if it has nothing.
    Layer(Option<UpdatedAt>),
    /// Nothing: the record of this number, a version without lines, took it away.
    Emptied(u64),
}

impl Base {
    /// Whether a version of the run came after it.
    pub(super) fn is_before(self, version: BestIncoming) -> bool {
        match self {
            Base::Layer(stored) => stored.is_none_or(|stored| version.updated_at >= stored),
            Base::Emptied(seq) => version.seq > seq,
        }
    }
}

/// What stands of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stands {
    /// The row of this version of the run.
    Incoming(BestIncoming),
    /// The stored row; where there is none, the partial sum of this version of the run, if there is one.
    StoredOr(Option<BestIncoming>),
    /// No row: a version that came before the dropped line had none.
    Nothing,
}

/// A row of a version of the run, by a hash of its sku.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct OfferedRow {
    version: BestIncoming,
    sku: u64,
}

impl OfferedRow {
    pub(super) fn new(version: BestIncoming, sku: &str) -> OfferedRow {
        OfferedRow { version, sku: hash(sku) }
    }
}

/// The versions that one order has in the run.
#[derive(Clone, Debug)]
pub(super) struct Succession {
    base: Base,
    /// The versions after the base, the best one last, with the skus of their valid lines.
    versions: BTreeMap<BestIncoming, BTreeSet<u64>>,
}

impl Succession {
    /// That of an order, if its best version has a dropped line. It has no rows yet.
    pub(super) fn of(base: Base, best: BestIncoming, dropped_lines: &DroppedParts) -> Option<Succession> {
        dropped_lines.is_of_record(best.seq).then(|| Succession { base, versions: BTreeMap::new() })
    }

    /// The same, if the best version of the run replaces the stored one.
    pub(super) fn of_order(order: &OrderVersions, dropped_lines: &DroppedParts) -> Option<Succession> {
        let best = order.incoming.filter(|_| order.incoming_wins())?;
        Succession::of(Base::Layer(order.stored), best, dropped_lines)
    }

    /// Takes a row of any version of the order.
    pub(super) fn offer(&mut self, row: OfferedRow) {
        if self.base.is_before(row.version) {
            self.versions.entry(row.version).or_default().insert(row.sku);
        }
    }

    /// What stands of a key after the best version. A partial sum gives way to the row that stood before it.
    pub(super) fn stands(&self, sku: &str, dropped_lines: &DroppedParts, repeated_sku: RepeatedSku) -> Stands {
        let id = hash(sku);
        let mut partial = None;
        for (&version, skus) in self.versions.iter().rev() {
            if skus.contains(&id) {
                match dropped_lines.wholeness(repeated_sku, version.seq, sku) {
                    Wholeness::Whole => return Stands::Incoming(version),
                    Wholeness::Partial => partial = Some(version),
                }
            } else if !dropped_lines.may_be(version.seq, sku) {
                return partial.map_or(Stands::Nothing, Stands::Incoming);
            }
        }
        match self.base {
            Base::Layer(_) => Stands::StoredOr(partial),
            Base::Emptied(_) => partial.map_or(Stands::Nothing, Stands::Incoming),
        }
    }
}

/// The successions of the orders that lie in this partition alone. `orders` are all that the run has here.
pub(super) fn successions_here<'r>(
    incoming: &'r PartitionRows,
    orders: &HashMap<&'r str, OrderVersions>,
    best_versions: &BestVersions,
    dropped_lines: &DroppedParts,
) -> HashMap<&'r str, Succession> {
    if dropped_lines.is_empty() {
        return HashMap::new();
    }
    let lie_here = orders.iter().filter(|(order_id, _)| !best_versions.concern(order_id));
    let with_dropped = lie_here.filter_map(|(&order_id, order)| Some((order_id, Succession::of_order(order, dropped_lines)?)));
    let mut successions: HashMap<&'r str, Succession> = with_dropped.collect();
    if successions.is_empty() {
        return successions;
    }
    for row in 0..incoming.len() {
        if let Some(succession) = successions.get_mut(incoming.order_id(row)) {
            let version = BestIncoming { updated_at: incoming.updated_at(row), seq: incoming.seq(row) };
            succession.offer(OfferedRow::new(version, incoming.key(row).1));
        }
    }
    successions
}

fn hash(sku: &str) -> u64 {
    xxh3_64(sku.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(updated_at: i64, seq: u64) -> BestIncoming {
        BestIncoming { updated_at: Some(updated_at), seq }
    }

    fn dropped(parts: &[(u64, Option<&str>)]) -> DroppedParts {
        let mut dropped = DroppedParts::default();
        parts.iter().for_each(|&(seq, sku)| dropped.push(seq, sku));
        dropped
    }

    /// The succession of versions with these skus, offered in any order.
    fn succession(base: Base, versions: &[(BestIncoming, &[&str])], dropped: &DroppedParts) -> Succession {
        let best = versions.iter().map(|(version, _)| *version).max().unwrap();
        let mut succession = Succession::of(base, best, dropped).unwrap();
        for (version, skus) in versions.iter().rev() {
            skus.iter().for_each(|sku| succession.offer(OfferedRow::new(*version, sku)));
        }
        succession
    }

    #[test]
    fn a_dropped_line_keeps_the_row_of_the_version_before_it_and_none_beyond_one_without_it() {
        let (first, second, third) = (version(1, 5), version(2, 3), version(3, 4));
        let known = dropped(&[(4, Some("x")), (4, Some("y")), (4, Some("z"))]);
        let of_three = succession(Base::Layer(None), &[(first, &["x", "y", "v"]), (second, &["x"]), (third, &["w"])], &known);
        let stands = |sku: &str| of_three.stands(sku, &known, RepeatedSku::Last);
        assert_eq!(stands("x"), Stands::Incoming(second));
        assert_eq!(stands("y"), Stands::Nothing, "the second version had no such line");
        assert_eq!(stands("w"), Stands::Incoming(third));
        assert_eq!(stands("v"), Stands::Nothing);
        // The line is malformed in both, or one without a sku may be any.
        for earlier in [Some("y"), None] {
            let twice = dropped(&[(3, earlier), (4, None)]);
            assert_eq!(of_three.stands("y", &twice, RepeatedSku::Last), Stands::Incoming(first), "{earlier:?}");
        }
    }

    #[test]
    fn a_stored_row_stays_where_no_version_was_without_it_and_none_took_it_away() {
        let (older, first, second) = (version(1, 9), version(2, 6), version(2, 7));
        let both = dropped(&[(6, Some("x")), (7, Some("x")), (7, Some("y"))]);
        let versions: [(BestIncoming, &[&str]); 3] = [(older, &["x", "y"]), (first, &["w"]), (second, &["w"])];
        let stored = succession(Base::Layer(Some(Some(2))), &versions, &both);
        let stands = |succession: &Succession, sku| succession.stands(sku, &both, RepeatedSku::Last);
        assert_eq!(stands(&stored, "x"), Stands::StoredOr(None), "the older one than the stored one does not count");
        assert_eq!(stands(&stored, "y"), Stands::Nothing);
        let emptied = succession(Base::Emptied(5), &versions[1..], &both);
        assert_eq!(stands(&emptied, "x"), Stands::Nothing);
        // After the version without lines, also an older one counts.
        let emptied = succession(Base::Emptied(5), &versions, &both);
        assert_eq!(stands(&emptied, "x"), Stands::Incoming(older));
        assert_eq!(stands(&succession(Base::Emptied(9), &versions, &both), "x"), Stands::Nothing);
    }

    #[test]
    fn a_partial_sum_gives_way_to_what_stood_before_it() {
        let versions: [(BestIncoming, &[&str]); 3] = [(version(1, 1), &["x"]), (version(2, 2), &["x"]), (version(3, 3), &["x", "w"])];
        let stands = |base, versions: &[(BestIncoming, &[&str])], parts: &[(u64, Option<&str>)]| {
            let dropped = dropped(parts);
            succession(base, versions, &dropped).stands("x", &dropped, RepeatedSku::Sum)
        };
        let (nothing, x) = (Base::Layer(None), Some("x"));
        assert_eq!(stands(nothing, &versions, &[(3, x)]), Stands::Incoming(version(2, 2)));
        assert_eq!(stands(nothing, &versions, &[(2, x), (3, x)]), Stands::Incoming(version(1, 1)));
        // No whole one: the first stands, as the stored one would in a run after it.
        assert_eq!(stands(nothing, &versions, &[(1, x), (2, x), (3, x)]), Stands::StoredOr(Some(version(1, 1))));
        assert_eq!(stands(Base::Emptied(0), &versions, &[(1, x), (2, x), (3, x)]), Stands::Incoming(version(1, 1)));
        // The second version has no such line at all.
        let lacking = [versions[0], (version(2, 2), &["w"][..]), versions[2]];
        assert_eq!(stands(nothing, &lacking, &[(3, x)]), Stands::Incoming(version(3, 3)));
        // A line without a sku makes no sum partial.
        assert_eq!(stands(nothing, &versions, &[(3, None)]), Stands::Incoming(version(3, 3)));
    }

    #[test]
    fn only_an_order_whose_best_version_wins_and_has_a_dropped_line_has_a_succession() {
        let lines = dropped(&[(2, Some("x"))]);
        let of = |updated_at, seq, stored| {
            let mut order = OrderVersions { stored, ..OrderVersions::default() };
            order.offer_incoming(updated_at, seq);
            Succession::of_order(&order, &lines).is_some()
        };
        assert!(of(Some(5), 2, None) && of(Some(5), 2, Some(Some(5))) && of(None, 2, Some(None)));
        assert!(!of(Some(5), 3, None) && !of(Some(5), 2, Some(Some(6))));
    }
}
