//! Orders that stand in more than one partition: which version of each of their rows wins, over all of the layer.
//!
//! A partition is merged by itself; only for these few orders must it know what the others hold.

use std::{
    cmp::Ordering,
    collections::{BTreeSet, HashMap, HashSet},
};

use super::{LayerError, StagedLines, StoredPartition};
use crate::{
    model::{Dt, FactRows, FactSchema, OrderHash, SEQ, order_hash},
    store::Output,
};

/// What decides between versions of a row: `updated_at`, of which none is the oldest; then what came later (contract,
/// "Which version of a row wins").
pub(super) type UpdatedAt = Option<i64>;

/// The version of an incoming row that beats all other incoming ones of its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BestIncoming {
    pub(super) updated_at: UpdatedAt,
    pub(super) seq: u64,
}

/// The same among stored rows, with the partition it lies in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BestStored {
    pub(super) updated_at: UpdatedAt,
    pub(super) dt: Dt,
}

/// What all of the layer and the run hold of one key.
#[derive(Clone, Default, Debug)]
pub(super) struct Contest {
    pub(super) incoming: Option<BestIncoming>,
    pub(super) stored: Option<BestStored>,
}

impl Contest {
    /// Whether the run's row wins: what is loaded wins over what is stored where both are equally old.
    pub(super) fn incoming_wins(&self) -> bool {
        match (&self.incoming, &self.stored) {
            (Some(incoming), Some(stored)) => incoming.updated_at >= stored.updated_at,
            (incoming, _) => incoming.is_some(),
        }
    }

    fn meet_incoming(&mut self, updated_at: UpdatedAt, seq: u64) {
        if self.incoming.is_none_or(|best| (best.updated_at, best.seq) <= (updated_at, seq)) {
            self.incoming = Some(BestIncoming { updated_at, seq });
        }
    }

    fn meet_stored(&mut self, updated_at: UpdatedAt, dt: Dt) {
        let better = self.stored.is_none_or(|best| match updated_at.cmp(&best.updated_at) {
            Ordering::Equal => dt >= best.dt,
            order => order == Ordering::Greater,
        });
        if better {
            self.stored = Some(BestStored { updated_at, dt });
        }
    }
}

/// What the layer and the run hold of one order, where a newer version replaces all of it (`merge = "order"`).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct OrderContest {
    /// The version of the run that beats its others: its time and its record.
    pub(super) incoming: Option<BestIncoming>,
    /// The time of what is stored; the outer `None` where nothing is.
    pub(super) stored: Option<UpdatedAt>,
}

impl OrderContest {
    pub(super) fn meet_incoming(&mut self, updated_at: UpdatedAt, seq: u64) {
        if self.incoming.is_none_or(|best| (best.updated_at, best.seq) < (updated_at, seq)) {
            self.incoming = Some(BestIncoming { updated_at, seq });
        }
    }

    pub(super) fn meet_stored(&mut self, updated_at: UpdatedAt) {
        self.stored = self.stored.max(Some(updated_at));
    }

    /// Whether the run's version replaces what is stored.
    pub(super) fn incoming_wins(&self) -> bool {
        self.incoming.is_some_and(|incoming| self.stored.is_none_or(|stored| incoming.updated_at >= stored))
    }
}

/// The keys whose versions stand in more than one partition.
#[derive(Default)]
pub struct Contests {
    movers: HashSet<OrderHash>,
    keys: HashMap<String, HashMap<String, Contest>>,
    orders: HashMap<String, OrderContest>,
}

impl Contests {
    /// Whether an order stands in more than one partition.
    pub(super) fn concern(&self, order_id: &str) -> bool {
        !self.movers.is_empty() && self.movers.contains(&order_hash(order_id))
    }

    pub(super) fn of(&self, (order_id, sku): (&str, &str)) -> Option<&Contest> {
        self.keys.get(order_id)?.get(sku)
    }

    /// What all of the layer and the run hold of an order that stands in more than one partition.
    pub(super) fn of_order(&self, order_id: &str) -> Option<&OrderContest> {
        self.orders.get(order_id)
    }

    fn order_mut(&mut self, order_id: &str) -> &mut OrderContest {
        if !self.orders.contains_key(order_id) {
            self.orders.insert(order_id.to_owned(), OrderContest::default());
        }
        self.orders.entry(order_id.to_owned()).or_default()
    }

    fn of_mut(&mut self, (order_id, sku): (&str, &str)) -> &mut Contest {
        if !self.keys.contains_key(order_id) {
            self.keys.insert(order_id.to_owned(), HashMap::new());
        }
        self.keys.entry(order_id.to_owned()).or_default().entry(sku.to_owned()).or_default()
    }
}

/// Lets all versions of the given orders meet, over the partitions that hold one of them.
///
/// # Errors
/// A stored partition that can't be read.
pub fn contest(
    output: &Output,
    staged: &StagedLines,
    movers: HashSet<OrderHash>,
    partitions: &BTreeSet<Dt>,
    schema: &FactSchema,
) -> Result<Contests, LayerError> {
    let mut contests = Contests { movers, ..Contests::default() };
    for &dt in partitions {
        if let Some(stored) = StoredPartition::load(output, dt, schema)? {
            for row in concerned(&contests, &stored.rows) {
                contests.of_mut(stored.rows.key(row)).meet_stored(stored.rows.updated_at(row), dt);
                contests.order_mut(stored.rows.order_id(row)).meet_stored(stored.rows.updated_at(row));
            }
        }
        if let Some(frame) = staged.load(dt)? {
            let rows = FactRows::new(&frame)?;
            let seq = frame.column(SEQ)?.u64()?;
            for row in concerned(&contests, &rows) {
                let seq = seq.get(row).unwrap_or_default();
                contests.of_mut(rows.key(row)).meet_incoming(rows.updated_at(row), seq);
                contests.order_mut(rows.order_id(row)).meet_incoming(rows.updated_at(row), seq);
            }
        }
    }
    Ok(contests)
}

fn concerned(contests: &Contests, rows: &FactRows) -> Vec<usize> {
    (0..rows.len()).filter(|&row| contests.concern(rows.order_id(row))).collect()
}
