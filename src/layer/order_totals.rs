//! The totals of orders, a partition at a time: their CSV in and out, their merge, and which row of an order counts.
//!
//! An order has one row in the whole layer: that of its newest version, in the partition of its day, as long as it has rows there.
//! Which version that is follows from the lines, as the merge of the facts has it. What an amount means is the profile's.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use csv::ByteRecord;
use polars::prelude::DataFrame;

use super::{
    BestVersions, LayerError, MergedContent, StagedTotal, StoredPartition,
    csv::{order_hashes, write_text},
    moves::OrderVersions,
};
use crate::model::{Dt, FactRows, FactType, Money, ORDER_TOTAL_COLUMNS, OrderAmounts, OrderHash, OrderTotal, SEQ, UtcMicros, order_hash};

/// The header of `fact_order_total`.
pub fn order_totals_header() -> Vec<u8> {
    let names: Vec<_> = ORDER_TOTAL_COLUMNS.iter().map(|(name, _)| *name).collect();
    (names.join(",") + "\n").into_bytes()
}

/// Appends a row of `fact_order_total`.
fn write_row(out: &mut Vec<u8>, total: &OrderTotal) {
    write_text(out, Some(&total.order_id));
    out.push(b',');
    write_text(out, total.currency.as_deref());
    for money in total.money() {
        out.push(b',');
        if let Some(money) = money {
            money.write(out);
        }
    }
    out.push(b',');
    write_text(out, total.status.as_deref());
    out.push(b',');
    total.created_at.write(out);
    out.push(b',');
    if let Some(updated_at) = total.updated_at {
        updated_at.write(out);
    }
    out.push(b'\n');
}

/// The stored totals of a partition: their CSV, and their rows in its order.
#[derive(Debug)]
pub struct StoredOrderTotals {
    /// The CSV.
    pub bytes: Vec<u8>,
    /// Its rows.
    pub rows: Vec<OrderTotal>,
}

impl StoredOrderTotals {
    /// Reads the CSV, strictly: what this tool did not write, or could not have, is an error and not a guess.
    ///
    /// # Errors
    /// [`LayerError::Partition`], with the line.
    pub fn parse(bytes: Vec<u8>, dt: Dt, path: &Path) -> Result<StoredOrderTotals, LayerError> {
        Ok(StoredOrderTotals { rows: parse_rows(&bytes, dt, path)?, bytes })
    }
}

fn parse_rows(bytes: &[u8], dt: Dt, path: &Path) -> Result<Vec<OrderTotal>, LayerError> {
    let damaged = |line: u64, detail: String| LayerError::Partition { path: path.to_owned(), line, detail };
    let mut reader = csv::ReaderBuilder::new().has_headers(true).from_reader(bytes);
    let header = reader.byte_headers().map_err(|error| damaged(1, error.to_string()))?;
    if !header.iter().eq(ORDER_TOTAL_COLUMNS.iter().map(|(name, _)| name.as_bytes())) {
        let found: Vec<_> = header.iter().map(String::from_utf8_lossy).collect();
        return Err(damaged(1, format!("the columns are `{}`, not those of fact_order_total", found.join(","))));
    }
    let mut rows = Vec::new();
    let mut record = ByteRecord::new();
    loop {
        let line = reader.position().line();
        match reader.read_byte_record(&mut record) {
            Ok(false) => break,
            Ok(true) => rows.push(parse_row(&record, dt).map_err(|detail| damaged(line, detail))?),
            Err(error) => return Err(damaged(line, error.to_string())),
        }
    }
    if bytes.last() != Some(&b'\n') {
        return Err(damaged(reader.position().line(), "the file ends within a line: it was cut short".into()));
    }
    Ok(rows)
}

/// The place of the first amount among the columns, behind the lines' own total.
const FIRST_AMOUNT: usize = 3;

fn parse_row(record: &ByteRecord, dt: Dt) -> Result<OrderTotal, String> {
    let field = |place: usize| record.get(place).unwrap_or_default();
    let wrong = |place: usize| {
        let (name, kind) = ORDER_TOTAL_COLUMNS.get(place).copied().unwrap_or(("value", FactType::Text));
        format!("`{}` is not a valid {} in column {name}", String::from_utf8_lossy(field(place)), kind.sql())
    };
    let text = |place: usize| match field(place) {
        b"" => Ok(None),
        bytes => std::str::from_utf8(bytes).map(|text| Some(text.to_owned())).map_err(|_| wrong(place)),
    };
    let money = |place: usize| match field(place) {
        b"" => Ok(None),
        bytes => Money::from_canonical(bytes).map(Some).map_err(|_| wrong(place)),
    };
    let instant = |place: usize| match field(place) {
        b"" => Ok(None),
        bytes => UtcMicros::from_canonical(bytes).map(Some).ok_or_else(|| wrong(place)),
    };
    let mut amounts = OrderAmounts::default();
    for (place, amount) in (FIRST_AMOUNT..).zip(&mut amounts) {
        *amount = money(place)?;
    }
    let total = OrderTotal {
        order_id: text(0)?.ok_or_else(|| "order_id is empty".to_owned())?,
        currency: text(1)?,
        lines_total: money(2)?,
        amounts,
        status: text(9)?,
        created_at: instant(10)?.ok_or_else(|| "created_at is empty".to_owned())?,
        updated_at: instant(11)?,
    };
    if total.dt() != dt {
        return Err(format!("created_at {} does not lie in the partition dt={dt}", total.created_at));
    }
    Ok(total)
}

/// The next totals of a partition.
#[derive(PartialEq, Eq, Debug)]
pub enum MergedOrderTotals {
    /// As they are, to the byte; also where there are none.
    Unchanged,
    /// These bytes, of so many rows.
    Replaced {
        /// The CSV.
        bytes: Vec<u8>,
        /// Its rows.
        rows: u64,
    },
    /// Gone: the last row is.
    Removed,
}

/// The merge of the totals of one partition, around that of its facts: it begins before that, with the rows that the facts are
/// merged of, and ends after it.
pub struct OrderTotalsMerge {
    /// The versions of each order that the run brings to this partition.
    versions: HashMap<String, OrderVersions>,
    /// The orders that the facts store.
    stored_orders: HashSet<OrderHash>,
}

impl OrderTotalsMerge {
    /// Notes the versions of each order among the run's lines and the stored rows.
    ///
    /// # Errors
    /// A frame without the columns of the fact table.
    pub fn begin(lines: Option<&DataFrame>, stored: Option<&StoredPartition>) -> Result<OrderTotalsMerge, LayerError> {
        let mut merge = OrderTotalsMerge { versions: HashMap::new(), stored_orders: HashSet::new() };
        if let Some(frame) = lines {
            let (rows, seq) = (FactRows::new(frame)?, frame.column(SEQ)?.u64()?);
            for row in 0..rows.len() {
                merge.order_mut(rows.order_id(row)).offer_incoming(rows.updated_at(row), seq.get(row).unwrap_or_default());
            }
        }
        let Some(StoredPartition { rows, .. }) = stored else { return Ok(merge) };
        for row in 0..rows.len() {
            let order_id = rows.order_id(row);
            merge.stored_orders.insert(order_hash(order_id));
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

    /// The versions of an order, over all partitions; `None` if the run has none.
    fn versions_of(&self, order_id: &str, best_versions: &BestVersions) -> Option<OrderVersions> {
        let everywhere = if best_versions.concern(order_id) { best_versions.of_order(order_id) } else { None };
        everywhere.or_else(|| self.versions.get(order_id)).copied()
    }

    /// Merges the totals. `staged` are those of the run, and `facts` is what the facts of the partition are to be.
    pub fn finish(
        self,
        staged: Vec<StagedTotal>,
        stored: Option<&StoredOrderTotals>,
        best_versions: &BestVersions,
        facts: &MergedContent,
    ) -> MergedOrderTotals {
        let wins = |order_id: &str, seq: u64| {
            let versions = self.versions_of(order_id, best_versions).filter(OrderVersions::incoming_wins);
            versions.and_then(|versions| versions.incoming).is_some_and(|best| best.seq == seq)
        };
        // A version that wins elsewhere, has no lines, or comes of a source that says no totals takes the stored row away.
        let stays = |total: &&OrderTotal| self.versions_of(&total.order_id, best_versions).is_none_or(|versions| !versions.incoming_wins());
        let incoming: Vec<_> =
            staged.into_iter().filter(|staged| wins(&staged.total.order_id, staged.seq)).map(|staged| staged.total).collect();
        let mut rows: Vec<&OrderTotal> = stored.iter().flat_map(|stored| &stored.rows).filter(stays).chain(&incoming).collect();
        let orders = match facts {
            MergedContent::Unchanged => self.stored_orders,
            MergedContent::Replaced(csv) => order_hashes(csv),
            MergedContent::Removed => HashSet::new(),
        };
        rows.retain(|total| orders.contains(&order_hash(&total.order_id)));
        rows.sort_unstable_by_key(|total| (total.created_at, total.order_id.as_str()));
        if rows.is_empty() {
            return if stored.is_some() { MergedOrderTotals::Removed } else { MergedOrderTotals::Unchanged };
        }
        let mut bytes = order_totals_header();
        rows.iter().for_each(|total| write_row(&mut bytes, total));
        if stored.is_some_and(|stored| stored.bytes == bytes) {
            return MergedOrderTotals::Unchanged;
        }
        MergedOrderTotals::Replaced { rows: rows.len() as u64, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FactBuilder, FactSchema, Line, UtcMicros};

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

    fn stored(rows: &[OrderTotal]) -> StoredOrderTotals {
        let mut bytes = order_totals_header();
        rows.iter().for_each(|total| write_row(&mut bytes, total));
        StoredOrderTotals::parse(bytes, day(), Path::new("x")).unwrap()
    }

    /// A frame of orders, a record each, and the totals of these records.
    fn brought(totals: &[OrderTotal]) -> (DataFrame, Vec<StagedTotal>) {
        let mut builder = FactBuilder::new(&FactSchema::default(), totals.len());
        let mut staged = Vec::new();
        for total in totals {
            builder.begin_record();
            builder.push(&line(&total.order_id, total.updated_at), []);
            staged.push(StagedTotal { seq: builder.record(), total: total.clone() });
        }
        (builder.finish().unwrap(), staged)
    }

    fn line(order_id: &str, updated_at: Option<UtcMicros>) -> Line<'_> {
        Line {
            order_id,
            sku: "s",
            user_id: None,
            product_id: None,
            status: None,
            currency: None,
            quantity: 1.into(),
            unit_price: Money::ZERO,
            line_total: Money::ZERO,
            price_defaulted: false,
            user_country: None,
            product_name: None,
            product_category: None,
            created_at: UtcMicros::new(5).unwrap(),
            updated_at,
        }
    }

    /// The CSV of facts with these orders.
    fn facts(order_ids: &[&str]) -> Vec<u8> {
        let mut csv = Vec::new();
        super::super::csv::write_header(&mut csv, &FactSchema::default());
        order_ids.iter().for_each(|order_id| super::super::csv::write_line(&mut csv, &line(order_id, None), std::iter::empty()));
        csv
    }

    fn shown(merged: &MergedOrderTotals) -> Vec<String> {
        let MergedOrderTotals::Replaced { bytes, .. } = merged else { return Vec::new() };
        let parsed = StoredOrderTotals::parse(bytes.clone(), day(), Path::new("x")).unwrap();
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
            assert!(StoredOrderTotals::parse(bad.into_bytes(), day(), Path::new("x")).is_err(), "{from}");
        }
    }

    #[test]
    fn the_newest_version_of_an_order_counts_and_of_equal_ones_the_later() {
        let (lines, staged) = brought(&[total("A", 1, Some(5)), total("A", 2, Some(6)), total("A", 3, Some(6)), total("A", 4, None)]);
        let merge = OrderTotalsMerge::begin(Some(&lines), None).unwrap();
        let merged = merge.finish(staged, None, &BestVersions::default(), &MergedContent::Replaced(facts(&["A"])));
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
        let merged = |new: &[OrderTotal], content: MergedContent| {
            let (lines, staged) = brought(new);
            let merge = OrderTotalsMerge::begin(Some(&lines), Some(&partition())).unwrap();
            merge.finish(staged, Some(&stored(&old)), &BestVersions::default(), &content)
        };
        let new = [total("A", 2, Some(4)), total("B", 2, Some(5)), total("D", 2, None)];
        let replaced = merged(&new, MergedContent::Replaced(facts(&["A", "B", "C", "D"])));
        assert_eq!(shown(&replaced), ["A 0.0001", "B 0.0002", "C 0.0001", "D 0.0002"]);
        // The same again changes nothing, also where the facts change otherwise.
        assert_eq!(merged(&old, MergedContent::Unchanged), MergedOrderTotals::Unchanged);
        assert_eq!(merged(&old, MergedContent::Replaced(facts(&["A", "B", "C", "E"]))), MergedOrderTotals::Unchanged);
        // Who has no rows has no totals.
        assert_eq!(shown(&merged(&old, MergedContent::Replaced(facts(&["B"])))), ["B 0.0001"]);
        assert_eq!(merged(&old, MergedContent::Removed), MergedOrderTotals::Removed);
    }

    #[test]
    fn a_newer_version_of_a_source_without_totals_takes_the_row_away() {
        let (lines, _) = brought(&[total("A", 2, Some(6))]);
        let merge = OrderTotalsMerge::begin(Some(&lines), None).unwrap();
        let old = stored(&[total("A", 1, Some(5))]);
        let merged = merge.finish(Vec::new(), Some(&old), &BestVersions::default(), &MergedContent::Replaced(facts(&["A"])));
        assert_eq!(merged, MergedOrderTotals::Removed);
    }
}
