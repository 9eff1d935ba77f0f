//! Refunds: a row, and which refunds the layer is to have.
//!
//! A refund lies on its own day, and not on that of its order. A newer version of an order replaces all refunds of it, wherever they
//! lie, and an order that has no rows any more has none. So the partitions of the orders are merged first: each says what becomes of
//! the refunds of its orders. Then the days that hold some of these refunds are merged.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{
    CutSide, DroppedParts, MergedOrders, MergedSide, StagedSide, StoredSide,
    csv::write_text,
    leb128::{self, Reader, write_signed},
    side_fact::{SideCells, SideRow},
    staged_side::{optional_money, write_optional_signed},
};
use crate::{
    model::{Dt, Money, OrderHash, Refund, UtcMicros, order_hash},
    store::places::SideFact,
};

impl SideRow for Refund {
    const FACT: SideFact = SideFact::Refunds;

    fn dt(&self) -> Dt {
        Refund::dt(self)
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_text(out, Some(&self.refund_id));
        out.push(b',');
        write_text(out, Some(&self.order_id));
        out.push(b',');
        write_text(out, self.sku.as_deref());
        out.push(b',');
        if let Some(quantity) = self.quantity {
            quantity.write(out);
        }
        out.push(b',');
        self.amount.write(out);
        out.push(b',');
        write_text(out, self.currency.as_deref());
        out.push(b',');
        self.created_at.write(out);
    }

    fn parse(cells: &SideCells<'_, Refund>) -> Result<Refund, String> {
        Ok(Refund {
            refund_id: cells.needed(0, cells.text(0)?)?,
            order_id: cells.needed(1, cells.text(1)?)?,
            sku: cells.text(2)?,
            quantity: cells.money(3)?,
            amount: cells.needed(4, cells.money(4)?)?,
            currency: cells.text(5)?,
            created_at: cells.needed(6, cells.instant(6)?)?,
        })
    }

    /// `created_at · refund_id · order_id · sku? · quantity? · amount · currency?`
    fn encode(&self, out: &mut Vec<u8>) {
        write_signed(out, self.created_at.micros());
        leb128::write_text(out, &self.refund_id);
        leb128::write_text(out, &self.order_id);
        leb128::write_optional(out, self.sku.as_deref());
        write_optional_signed(out, self.quantity.map(Money::units));
        write_signed(out, self.amount.units());
        leb128::write_optional(out, self.currency.as_deref());
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Refund> {
        let created_at = UtcMicros::new(reader.signed()?)?;
        let (refund_id, order_id) = (reader.text()?.to_owned(), reader.text()?.to_owned());
        let sku = reader.optional()?.map(str::to_owned);
        let quantity = optional_money(reader)?;
        let amount = Money::from_units(reader.signed()?.into()).ok()?;
        let currency = reader.optional()?.map(str::to_owned);
        Some(Refund { refund_id, order_id, sku, quantity, amount, currency, created_at })
    }
}

/// The refunds of a batch, cut by their days, with the days of each order.
pub struct CutRefunds {
    pub(super) rows: CutSide,
    pub(super) orders: BTreeSet<(OrderHash, Dt)>,
    pub(super) unread: UnreadRefunds,
}

impl CutRefunds {
    /// Cuts the refunds of a batch. Each has the number of its record in the batch, and so have those that can't be read.
    pub fn new(refunds: Vec<StagedSide<Refund>>, unread: &[UnreadRefund]) -> CutRefunds {
        let unread = UnreadRefunds::new(unread, &refunds);
        let orders = refunds.iter().map(|staged| (order_hash(&staged.row.order_id), staged.row.dt())).collect();
        CutRefunds { rows: CutSide::new(refunds), orders, unread }
    }
}

/// A refund that a record lists, and that can't be read.
#[derive(Clone, Debug)]
pub struct UnreadRefund {
    /// The number of its record.
    pub seq: u64,
    /// Its id, if that can be read.
    pub refund_id: Option<String>,
}

/// The refunds that a run can't read. One without an id may be each that its record does not list by its id.
#[derive(Clone, Default, Debug)]
pub struct UnreadRefunds {
    unread: DroppedParts,
    /// Those of the same records that can be read.
    read: DroppedParts,
}

impl UnreadRefunds {
    fn new(unread: &[UnreadRefund], read: &[StagedSide<Refund>]) -> UnreadRefunds {
        let mut found = UnreadRefunds::default();
        unread.iter().for_each(|refund| found.unread.push(refund.seq, refund.refund_id.as_deref()));
        let records: HashSet<u64> = unread.iter().map(|refund| refund.seq).collect();
        let beside = read.iter().filter(|staged| records.contains(&staged.seq));
        beside.for_each(|staged| found.read.push(staged.seq, Some(&staged.row.refund_id)));
        found
    }

    /// Takes those of the next batch, whose records are counted from `base`.
    pub(super) fn absorb(&mut self, other: &UnreadRefunds, base: u64) {
        self.unread.absorb(&other.unread, base);
        self.read.absorb(&other.read, base);
    }

    /// Whether this record has the refund, and it can't be read.
    fn may_be(&self, seq: u64, refund_id: &str) -> bool {
        self.unread.may_be(seq, refund_id) && !self.read.has(seq, refund_id)
    }
}

/// The days on which refunds of each order may lie.
pub type RefundDays = HashMap<OrderHash, Vec<Dt>>;

/// What the merge of a partition says of the refunds of its orders. Only of orders that have some, stored or brought.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct RefundFates {
    /// Orders of which a version of the run counts, with the number of its record.
    replaced: Vec<(String, u64)>,
    /// Orders that keep rows here.
    here: Vec<String>,
    /// Orders that have lost their rows here.
    gone: Vec<String>,
}

impl MergedOrders<'_> {
    /// What becomes of the refunds of the orders here.
    pub fn refund_fates(&self, has_refunds: &dyn Fn(OrderHash) -> bool) -> RefundFates {
        let incoming = self.versions.keys().filter(|order_id| has_refunds(order_hash(order_id)));
        let replaced = incoming.filter_map(|order_id| Some((order_id.clone(), self.winner(order_id)?))).collect();
        let (here, gone) = self.stored_with_refunds.iter().cloned().partition(|order_id| self.has(order_id));
        RefundFates { replaced, here, gone }
    }
}

/// Which refunds a run brings and takes away, over all partitions.
#[derive(Clone, Default, Debug)]
pub struct RefundPlan {
    /// The record whose refunds each order has from now on.
    records: HashMap<String, u64>,
    /// Orders that have no rows any more.
    gone: HashSet<String>,
    /// The days that may change.
    days: BTreeSet<Dt>,
}

impl RefundPlan {
    /// The plan of what the partitions say. `stored` are the days with refunds of their orders, and `incoming` those
    /// with refunds of the run.
    pub fn new<'f>(
        fates: impl IntoIterator<Item = &'f RefundFates>,
        stored: &RefundDays,
        incoming: impl IntoIterator<Item = Dt>,
    ) -> RefundPlan {
        let mut plan = RefundPlan { days: incoming.into_iter().collect(), ..RefundPlan::default() };
        let mut here: HashSet<&str> = HashSet::new();
        for RefundFates { replaced, here: stays, gone } in fates {
            plan.records.extend(replaced.iter().cloned());
            here.extend(stays.iter().map(String::as_str));
            plan.gone.extend(gone.iter().cloned());
        }
        // A row may have left for another partition, and the rest of its order stays.
        plan.gone.retain(|order_id| !here.contains(order_id.as_str()) && !plan.records.contains_key(order_id));
        for order_id in plan.records.keys().chain(&plan.gone) {
            plan.days.extend(stored.get(&order_hash(order_id)).into_iter().flatten());
        }
        plan
    }

    /// The days that may change.
    pub fn days(&self) -> &BTreeSet<Dt> {
        &self.days
    }

    /// The next refunds of a day. `staged` are those of the run, and `unread` those that it can't read: what is stored of them stays.
    pub fn merge(&self, staged: Vec<StagedSide<Refund>>, unread: &UnreadRefunds, stored: Option<&StoredSide<Refund>>) -> MergedSide {
        let stays = |refund: &&Refund| match self.records.get(&refund.order_id) {
            Some(seq) => unread.may_be(*seq, &refund.refund_id),
            None => !self.gone.contains(&refund.order_id),
        };
        let counts = |staged: &StagedSide<Refund>| self.records.get(&staged.row.order_id) == Some(&staged.seq);
        let incoming: Vec<_> = staged.into_iter().filter(counts).map(|staged| staged.row).collect();
        let mut rows: Vec<&Refund> = stored.iter().flat_map(|stored| &stored.rows).filter(stays).chain(&incoming).collect();
        rows.sort_unstable_by_key(|row| (row.created_at, row.refund_id.as_str(), row.sku.as_deref(), row.order_id.as_str()));
        MergedSide::of(&rows, stored)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::layer::{side_fact::side_fact_csv, staged_side};

    fn day() -> Dt {
        Dt::from_days(0).unwrap()
    }

    fn refund(refund_id: &str, order_id: &str, sku: Option<&str>, units: i128) -> Refund {
        Refund {
            refund_id: refund_id.to_owned(),
            order_id: order_id.to_owned(),
            sku: sku.map(str::to_owned),
            quantity: sku.map(|_| Money::from_units(-10_000).unwrap()),
            amount: Money::from_units(units).unwrap(),
            currency: Some("EUR".to_owned()),
            created_at: UtcMicros::new(7).unwrap(),
        }
    }

    fn stored(rows: &[Refund]) -> StoredSide<Refund> {
        StoredSide::parse(side_fact_csv(rows), day(), Path::new("x")).unwrap()
    }

    fn fates(replaced: &[(&str, u64)], here: &[&str], gone: &[&str]) -> RefundFates {
        let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        RefundFates { replaced: replaced.iter().map(|(id, seq)| ((*id).to_owned(), *seq)).collect(), here: owned(here), gone: owned(gone) }
    }

    fn shown(merged: &MergedSide) -> Vec<String> {
        let MergedSide::Replaced { bytes, rows } = merged else { return Vec::new() };
        let parsed = StoredSide::<Refund>::parse(bytes.clone(), day(), Path::new("x")).unwrap();
        assert_eq!(parsed.rows.len() as u64, *rows);
        parsed.rows.iter().map(|row| format!("{} {} {}", row.refund_id, row.order_id, row.amount)).collect()
    }

    #[test]
    fn a_row_comes_back_as_it_was() {
        let rows = [refund("r,1", "A", None, 5), refund("r2", "B", Some("s"), -999_999_999_999_999_999)];
        let found = stored(&rows);
        assert_eq!(found.rows, rows);
        assert_eq!(String::from_utf8(found.bytes).unwrap().lines().nth(1), Some("\"r,1\",A,,,0.0005,EUR,1970-01-01 00:00:00.000007"));
        let cut = CutSide::new(rows.iter().cloned().map(|row| StagedSide { seq: 3, row }));
        let mut staged = Vec::new();
        staged_side::decode::<Refund>(&cut.segments[&day()].bytes, 10, &mut staged).unwrap();
        assert_eq!(staged, rows.clone().map(|row| StagedSide { seq: 13, row }));
        let good = String::from_utf8(side_fact_csv(&rows)).unwrap();
        for (from, to) in [("refund_id", "id"), ("r2,B", ",B"), ("r2,B", "r2,"), ("0.0005", ""), ("1970-01-01", "1970-01-02")] {
            let bad = good.replacen(from, to, 1);
            assert!(StoredSide::<Refund>::parse(bad.into_bytes(), day(), Path::new("x")).is_err(), "{from}");
        }
    }

    #[test]
    fn a_version_that_counts_replaces_all_refunds_of_its_order_and_no_others() {
        let old = stored(&[refund("r1", "A", None, 1), refund("r2", "A", None, 2), refund("r3", "B", None, 3)]);
        let plan = RefundPlan::new(&[fates(&[("A", 4)], &["A"], &[])], &RefundDays::new(), []);
        let staged = |seq, row| StagedSide { seq, row };
        let none = UnreadRefunds::default();
        let merged = plan.merge(vec![staged(4, refund("r2", "A", None, 9)), staged(5, refund("r0", "A", None, 9))], &none, Some(&old));
        assert_eq!(shown(&merged), ["r2 A 0.0009", "r3 B 0.0003"]);
        let again = plan.merge(vec![staged(4, refund("r1", "A", None, 1)), staged(4, refund("r2", "A", None, 2))], &none, Some(&old));
        assert_eq!(again, MergedSide::Unchanged);
        assert_eq!(plan.merge(Vec::new(), &none, Some(&stored(&[refund("r1", "A", None, 1)]))), MergedSide::Removed);
        // The run has a version of the order that does not count.
        let merged = RefundPlan::default().merge(vec![staged(4, refund("r9", "A", None, 9))], &none, Some(&old));
        assert_eq!(merged, MergedSide::Unchanged);
    }

    #[test]
    fn what_was_loaded_of_a_refund_that_can_not_be_read_now_stays() {
        let old = stored(&[refund("r1", "A", None, 1), refund("r2", "A", None, 2), refund("r3", "A", None, 3)]);
        let plan = RefundPlan::new(&[fates(&[("A", 14)], &["A"], &[])], &RefundDays::new(), []);
        let read = [StagedSide { seq: 4, row: refund("r3", "A", None, 9) }];
        let merged = |refund_id: Option<&str>, seq: u64| {
            let mut unread = UnreadRefunds::default();
            unread.absorb(&UnreadRefunds::new(&[UnreadRefund { seq, refund_id: refund_id.map(str::to_owned) }], &read), 10);
            shown(&plan.merge(vec![StagedSide { seq: 14, ..read[0].clone() }], &unread, Some(&old)))
        };
        assert_eq!(merged(Some("r1"), 4), ["r1 A 0.0001", "r3 A 0.0009"]);
        assert_eq!(
            merged(None, 4),
            ["r1 A 0.0001", "r2 A 0.0002", "r3 A 0.0009"],
            "it may be one or the other, and not the one that is read"
        );
        assert_eq!(merged(Some("r1"), 3), ["r3 A 0.0009"], "another record does not count");
    }

    #[test]
    fn an_order_that_has_left_one_partition_alone_keeps_its_refunds() {
        let days = RefundDays::from([(order_hash("A"), vec![day()]), (order_hash("B"), vec![day()])]);
        let old = stored(&[refund("r1", "A", None, 1), refund("r2", "B", None, 2)]);
        let plan = RefundPlan::new(&[fates(&[], &[], &["A", "B"]), fates(&[], &["A"], &[])], &days, []);
        assert_eq!(plan.days(), &BTreeSet::from([day()]));
        assert_eq!(shown(&plan.merge(Vec::new(), &UnreadRefunds::default(), Some(&old))), ["r1 A 0.0001"]);
        assert!(RefundPlan::new(&[fates(&[], &["A"], &["A"])], &days, []).days().is_empty());
    }
}
