//! The totals of orders: a row, and which row of an order counts.
//!
//! An order has one row in the whole layer: that of its newest version, in the partition of its day, as long as it has rows there.
//! What an amount means is the profile's.

use super::{
    DELETED_STATUS, MergedOrders, MergedSide, StagedSide, StoredSide,
    csv::write_text,
    leb128::{self, Reader, write_signed},
    side_fact::{SideCells, SideRow},
    staged_side::{optional_money, optional_signed, write_optional_signed},
};
use crate::{
    model::{Dt, Money, OrderAmounts, OrderTotal, UtcMicros},
    store::places::SideFact,
};

/// The place of the first amount among the columns, behind the lines' own total.
const FIRST_AMOUNT: usize = 3;

impl SideRow for OrderTotal {
    const FACT: SideFact = SideFact::OrderTotals;

    fn dt(&self) -> Dt {
        OrderTotal::dt(self)
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_text(out, Some(&self.order_id));
        out.push(b',');
        write_text(out, self.currency.as_deref());
        for money in self.money() {
            out.push(b',');
            if let Some(money) = money {
                money.write(out);
            }
        }
        out.push(b',');
        write_text(out, self.status.as_deref());
        out.push(b',');
        self.created_at.write(out);
        out.push(b',');
        if let Some(updated_at) = self.updated_at {
            updated_at.write(out);
        }
    }

    fn parse(cells: &SideCells<'_, OrderTotal>) -> Result<OrderTotal, String> {
        let mut amounts = OrderAmounts::default();
        for (place, amount) in (FIRST_AMOUNT..).zip(&mut amounts) {
            *amount = cells.money(place)?;
        }
        Ok(OrderTotal {
            order_id: cells.needed(0, cells.text(0)?)?,
            currency: cells.text(1)?,
            lines_total: cells.money(2)?,
            amounts,
            status: cells.text(9)?,
            created_at: cells.needed(10, cells.instant(10)?)?,
            updated_at: cells.instant(11)?,
        })
    }

    /// `created_at · updated_at? · order_id · currency? · status? · lines_total? · amount?…`
    fn encode(&self, out: &mut Vec<u8>) {
        write_signed(out, self.created_at.micros());
        write_optional_signed(out, self.updated_at.map(UtcMicros::micros));
        leb128::write_text(out, &self.order_id);
        leb128::write_optional(out, self.currency.as_deref());
        leb128::write_optional(out, self.status.as_deref());
        self.money().for_each(|money| write_optional_signed(out, money.map(Money::units)));
    }

    fn decode(reader: &mut Reader<'_>) -> Option<OrderTotal> {
        let created_at = UtcMicros::new(reader.signed()?)?;
        let updated_at = match optional_signed(reader)? {
            Some(micros) => Some(UtcMicros::new(micros)?),
            None => None,
        };
        let order_id = reader.text()?.to_owned();
        let (currency, status) = (reader.optional()?.map(str::to_owned), reader.optional()?.map(str::to_owned));
        let lines_total = optional_money(reader)?;
        let mut amounts = OrderAmounts::default();
        for amount in &mut amounts {
            *amount = optional_money(reader)?;
        }
        Some(OrderTotal { order_id, currency, lines_total, amounts, status, created_at, updated_at })
    }
}

impl MergedOrders<'_> {
    /// The next totals of the partition. `staged` are those of the run.
    pub fn totals(&self, staged: Vec<StagedSide<OrderTotal>>, stored: Option<&StoredSide<OrderTotal>>) -> MergedSide {
        // A version that wins elsewhere, has no lines, or comes of a source that says no totals takes the stored row away.
        let stays = |total: &&OrderTotal| self.winner_of_totals(&total.order_id).is_none();
        let wins = |staged: &StagedSide<OrderTotal>| self.winner_of_totals(&staged.row.order_id) == Some(staged.seq);
        let incoming: Vec<_> = staged.into_iter().filter(wins).map(|staged| staged.row).collect();
        let marked = |total: &OrderTotal| match self.is_marked(&total.order_id) {
            true => OrderTotal { status: Some(DELETED_STATUS.to_owned()), ..total.clone() },
            false => total.clone(),
        };
        let kept: Vec<_> = stored.iter().flat_map(|stored| &stored.rows).filter(stays).map(marked).collect();
        let mut rows: Vec<&OrderTotal> = kept.iter().chain(&incoming).collect();
        rows.retain(|total| self.has(&total.order_id));
        rows.sort_unstable_by_key(|total| (total.created_at, total.order_id.as_str()));
        MergedSide::of(&rows, stored)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, path::Path};

    use super::*;
    use crate::{
        layer::{BestVersions, OrdersMerge, PartitionRows, StoredPartition, side_fact::side_fact_csv},
        model::{FactSchema, Line, OrderHash, order_hash},
    };

    fn day() -> Dt {
        Dt::from_days(0).unwrap()
    }

    fn total(order_id: &str, units: i128, updated_at: Option<i64>) -> OrderTotal {
        let mut amounts = OrderAmounts::default();
        amounts[3] = Some(Money::from_units(units).unwrap());
        OrderTotal {
            order_id: order_id.to_owned(),
            currency: Some("EUR".to_owned()),
            lines_total: Some(Money::ZERO),
            amounts,
            status: Some("say \"hi\"".to_owned()),
            created_at: UtcMicros::new(5).unwrap(),
            updated_at: updated_at.and_then(UtcMicros::new),
        }
    }

    fn stored(rows: &[OrderTotal]) -> StoredSide<OrderTotal> {
        StoredSide::parse(side_fact_csv(rows), day(), Path::new("x")).unwrap()
    }

    /// Rows of orders, a record each, and the totals of these records.
    fn staged_totals(totals: &[OrderTotal]) -> (PartitionRows, Vec<StagedSide<OrderTotal>>) {
        let mut rows = PartitionRows::new(&FactSchema::default());
        let mut staged = Vec::new();
        for (seq, total) in (1..).zip(totals) {
            rows.push(&line(&total.order_id, total.updated_at), seq, []);
            staged.push(StagedSide { seq, row: total.clone() });
        }
        (rows, staged)
    }

    fn line(order_id: &str, updated_at: Option<UtcMicros>) -> Line<'_> {
        Line { quantity: 1.into(), created_at: UtcMicros::new(5).unwrap(), updated_at, ..Line::of_key(order_id, "s") }
    }

    /// Facts with these orders.
    fn facts(order_ids: &[&str]) -> HashSet<OrderHash> {
        order_ids.iter().map(|order_id| order_hash(order_id)).collect()
    }

    fn shown(merged: &MergedSide) -> Vec<String> {
        let MergedSide::Replaced { bytes, .. } = merged else { return Vec::new() };
        let parsed = StoredSide::<OrderTotal>::parse(bytes.clone(), day(), Path::new("x")).unwrap();
        parsed.rows.iter().map(|row| format!("{} {}", row.order_id, row.amounts[3].unwrap())).collect()
    }

    #[test]
    fn a_row_comes_back_as_it_was() {
        let rows = [total("A,1", -5, None), total("B", 999_999_999_999_999_999, Some(7))];
        assert_eq!(stored(&rows).rows, rows);
        let text = String::from_utf8(stored(&rows[..1]).bytes).unwrap();
        assert_eq!(
            text,
            "order_id,currency,lines_total,discount_total,shipping_total,tax_total,total,refunded_total,paid_total,status,created_at,updated_at\n\"A,1\",EUR,0.0000,,,,-0.0005,,,\"say \"\"hi\"\"\",1970-01-01 00:00:00.000005,\n"
        );
    }

    #[test]
    fn what_the_tool_could_not_have_written_is_an_error() {
        let good = String::from_utf8(stored(&[total("A", 10_000, None)]).bytes).unwrap();
        for (from, to) in [
            ("lines_total", "line_total"),
            ("1.0000", "1.0"),
            ("A,EUR", ",EUR"),
            ("1970-01-01", "1970-01-02"),
            (".000005,\n", ".000005,"),
            (".000005", "x"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            assert!(StoredSide::<OrderTotal>::parse(bad.into_bytes(), day(), Path::new("x")).is_err(), "{from}");
        }
    }

    #[test]
    fn the_newest_version_of_an_order_counts_and_of_equal_ones_the_later() {
        let (lines, staged) = staged_totals(&[total("A", 1, Some(5)), total("A", 2, Some(6)), total("A", 3, Some(6)), total("A", 4, None)]);
        let merge = OrdersMerge::begin(Some(&lines), None, &|_| false);
        let merged = merge.finish(&BestVersions::default(), facts(&["A"]), None).totals(staged, None);
        assert_eq!(shown(&merged), ["A 0.0003"]);
    }

    #[test]
    fn what_is_loaded_replaces_what_is_stored_unless_that_is_newer() {
        let old = [total("A", 1, Some(5)), total("B", 1, Some(5)), total("C", 1, None)];
        let rows: Vec<_> = old.iter().map(|old| line(&old.order_id, old.updated_at)).collect();
        let mut csv = Vec::new();
        super::super::csv::write_header(&mut csv, &FactSchema::default());
        rows.iter().for_each(|row| super::super::csv::write_line(&mut csv, row, std::iter::empty()));
        let partition = || StoredPartition::parse(csv.clone(), day(), Path::new("x.csv"), &FactSchema::default()).unwrap();
        let merged = |new: &[OrderTotal], remaining: HashSet<OrderHash>| {
            let (lines, staged) = staged_totals(new);
            let merge = OrdersMerge::begin(Some(&lines), Some(&partition()), &|_| false);
            merge.finish(&BestVersions::default(), remaining, None).totals(staged, Some(&stored(&old)))
        };
        let new = [total("A", 2, Some(4)), total("B", 2, Some(5)), total("D", 2, None)];
        let replaced = merged(&new, facts(&["A", "B", "C", "D"]));
        assert_eq!(shown(&replaced), ["A 0.0001", "B 0.0002", "C 0.0001", "D 0.0002"]);
        // The same again changes nothing, also where the facts change otherwise.
        assert_eq!(merged(&old, facts(&["A", "B", "C"])), MergedSide::Unchanged);
        assert_eq!(merged(&old, facts(&["A", "B", "C", "E"])), MergedSide::Unchanged);
        // Who has no rows has no totals.
        assert_eq!(shown(&merged(&old, facts(&["B"]))), ["B 0.0001"]);
        assert_eq!(merged(&old, facts(&[])), MergedSide::Removed);
    }

    #[test]
    fn a_newer_version_of_a_source_without_totals_takes_the_row_away() {
        let (lines, _) = staged_totals(&[total("A", 2, Some(6))]);
        let merge = OrdersMerge::begin(Some(&lines), None, &|_| false);
        let old = stored(&[total("A", 1, Some(5))]);
        let merged = merge.finish(&BestVersions::default(), facts(&["A"]), None).totals(Vec::new(), Some(&old));
        assert_eq!(merged, MergedSide::Removed);
    }
}
