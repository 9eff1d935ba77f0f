//! The difference between two states of the layer: rows that came, went or changed, and revenue by day and currency.
//!
//! Reads only partitions whose content differs. Compares texts, so it needs no schema.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
};

use serde::Serialize;

use super::{RunError, versions};
use crate::{
    layer::{self, LayerError, LayerState},
    model::{Dt, units_text},
    settings::Settings,
    store::{ObjectRef, Output, places::SideFact},
};

/// What became of a row.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum RowChange {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It has other values.
    Changed,
}

/// A row that differs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ChangedRow {
    /// What became of it.
    pub change: RowChange,
    /// Its order.
    pub order_id: String,
    /// Its sku.
    pub sku: String,
    /// The partition that holds it; before, if it is gone.
    pub dt: Dt,
    /// The partition that held it before, if that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved_from: Option<Dt>,
    /// Its values that differ, before. Of a row that is gone: all.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub before: BTreeMap<String, Option<String>>,
    /// Its values that differ, after. Of a new row: all.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub after: BTreeMap<String, Option<String>>,
}

/// The revenue of a day in a currency.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RevenueChange {
    /// The day.
    pub dt: Dt,
    /// The currency; empty where there is none.
    pub currency: String,
    /// Before, with four decimals.
    pub before: String,
    /// After.
    pub after: String,
}

/// The difference between two states.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct LayerDiff {
    /// New rows.
    pub rows_added: u64,
    /// Rows that are gone.
    pub rows_removed: u64,
    /// Rows with other values.
    pub rows_changed: u64,
    /// Partitions whose content differs.
    pub partitions: Vec<Dt>,
    /// Partitions whose totals of orders differ.
    pub order_totals: Vec<Dt>,
    /// Days whose refunds differ.
    pub refunds: Vec<Dt>,
    /// Dimensions whose content differs.
    pub dimensions: Vec<String>,
    /// Revenue that differs.
    pub revenue: Vec<RevenueChange>,
    /// The rows that differ, up to a limit, by day and key.
    pub rows: Vec<ChangedRow>,
}

impl LayerDiff {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty() && self.order_totals.is_empty() && self.refunds.is_empty() && self.dimensions.is_empty()
    }
}

/// What one run has changed, or what changed from one run to another.
///
/// # Errors
/// No layer, no such run, or one whose commit is no longer kept (exit 2); I/O errors.
pub fn diff(settings: &Settings, run_a: &str, run_b: Option<&str>, limit: usize) -> Result<LayerDiff, RunError> {
    let output = Output::open(&settings.output)?;
    super::require_layer(&output)?;
    super::open::recover_unless_held(&output)?;
    let first = versions::committed_run(&output, run_a)?;
    let (before, after) = match run_b {
        None => (first.before, first.after),
        Some(run_b) => (first.after, versions::committed_run(&output, run_b)?.after),
    };
    compare(&before, &after, limit, &|version| versions::kept_version(&output, run_a, version))
}

/// What changed since a run, until now.
///
/// # Errors
/// As [`diff`].
pub fn changes_since(settings: &Settings, run_id: &str) -> Result<LayerDiff, RunError> {
    let output = Output::open(&settings.output)?;
    super::require_layer(&output)?;
    super::open::recover_unless_held(&output)?;
    let since = versions::committed_run(&output, run_id)?;
    let now = versions::layer_now(&output)?;
    compare(&since.after, &now.state, usize::MAX, &|version| versions::kept_version(&output, run_id, version))
}

/// Compares two states. `read` gives the content of an object.
///
/// # Errors
/// A partition that is not valid CSV; what `read` fails with.
pub(super) fn compare(
    before: &LayerState,
    after: &LayerState,
    limit: usize,
    read: &dyn Fn(&ObjectRef) -> Result<Vec<u8>, RunError>,
) -> Result<LayerDiff, RunError> {
    let version = |state: &LayerState, dt: &Dt| state.partitions.get(dt).map(|entry| (entry.version.checksum.clone(), entry.version.bytes));
    let days: BTreeSet<Dt> = before.partitions.keys().chain(after.partitions.keys()).copied().collect();
    let (order_totals, refunds) = (differing_days(before, after, SideFact::OrderTotals), differing_days(before, after, SideFact::Refunds));
    let differing: BTreeSet<Dt> = days.into_iter().filter(|dt| version(before, dt) != version(after, dt)).collect();
    let mut diff = LayerDiff { order_totals, refunds, revenue: revenue(before, after, &differing), ..LayerDiff::default() };
    let names: BTreeSet<&String> = before.dimensions.keys().chain(after.dimensions.keys()).collect();
    let checksum = |state: &LayerState, name: &str| state.dimensions.get(name).map(|version| version.checksum.clone());
    diff.dimensions = names.into_iter().filter(|name| checksum(before, name) != checksum(after, name)).cloned().collect();
    // An order that moves is gone from one day and new in another: both are looked at before it is said what it is.
    let (mut gone, mut new) = (HashMap::new(), Vec::new());
    for &dt in &differing {
        let old = rows_of(before, dt, read)?;
        let mut now = rows_of(after, dt, read)?;
        for (key, row) in old {
            match now.remove(&key) {
                Some(same) if same == row => {}
                Some(other) => diff.push(changed(key, dt, None, &row, &other), limit),
                None => drop(gone.insert(key, (dt, row))),
            }
        }
        new.extend(now.into_iter().map(|(key, row)| (key, dt, row)));
    }
    for (key, dt, row) in new {
        match gone.remove(&key) {
            Some((from, old)) => diff.push(changed(key, dt, Some(from), &old, &row), limit),
            None => diff.push(whole(RowChange::Added, key, dt, &row), limit),
        }
    }
    for (key, (dt, row)) in gone {
        diff.push(whole(RowChange::Removed, key, dt, &row), limit);
    }
    diff.rows.sort_by(|one, other| (one.dt, &one.order_id, &one.sku).cmp(&(other.dt, &other.order_id, &other.sku)));
    diff.rows.truncate(limit);
    diff.partitions = differing.into_iter().collect();
    Ok(diff)
}

/// The days whose side fact differs, by content.
fn differing_days(before: &LayerState, after: &LayerState, fact: SideFact) -> Vec<Dt> {
    let days = |state: &LayerState| state.side_days(fact).collect::<BTreeSet<_>>();
    let content = |state: &LayerState, dt: Dt| state.side(fact, dt).map(|entry| (entry.version.checksum.clone(), entry.version.bytes));
    days(before).union(&days(after)).copied().filter(|dt| content(before, *dt) != content(after, *dt)).collect()
}

/// A key: order and sku.
pub(super) type RowKey = (String, String);

/// The values of a row that are not NULL, by column.
pub(super) type Row = BTreeMap<String, String>;

/// The rows of a partition, by their key; none where there is no such partition.
///
/// # Errors
/// A partition that is not valid; what `read` fails with.
pub(super) fn rows_of(
    state: &LayerState,
    dt: Dt,
    read: &dyn Fn(&ObjectRef) -> Result<Vec<u8>, RunError>,
) -> Result<BTreeMap<RowKey, Row>, RunError> {
    let Some(entry) = state.partitions.get(&dt) else { return Ok(BTreeMap::new()) };
    let path = PathBuf::from(entry.key(dt).as_str());
    let csv = layer::decode_stored(entry.format(), read(&entry.version)?, &path)?;
    let failed = |line: u64, detail: String| LayerError::Partition { path: path.clone(), line, detail };
    let mut reader = csv::Reader::from_reader(csv.as_slice());
    let names = reader.headers().map_err(|error| failed(1, error.to_string()))?.clone();
    let mut rows = BTreeMap::new();
    for (line, record) in (2..).zip(reader.records()) {
        let record = record.map_err(|error| failed(line, error.to_string()))?;
        let cells = names.iter().zip(record.iter()).filter(|(_, cell)| !cell.is_empty());
        let row: Row = cells.map(|(name, cell)| (name.to_owned(), cell.to_owned())).collect();
        let key = |name: &str| row.get(name).cloned().unwrap_or_default();
        rows.insert((key("order_id"), key("sku")), row);
    }
    Ok(rows)
}

fn whole(change: RowChange, (order_id, sku): RowKey, dt: Dt, row: &Row) -> ChangedRow {
    let values: BTreeMap<_, _> = row.iter().map(|(name, text)| (name.clone(), Some(text.clone()))).collect();
    let (before, after) = if change == RowChange::Removed { (values, BTreeMap::new()) } else { (BTreeMap::new(), values) };
    ChangedRow { change, order_id, sku, dt, moved_from: None, before, after }
}

fn changed((order_id, sku): RowKey, dt: Dt, moved_from: Option<Dt>, old: &Row, new: &Row) -> ChangedRow {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).filter(|name| old.get(*name) != new.get(*name)).collect();
    let values = |row: &Row| names.iter().map(|name| ((*name).clone(), row.get(*name).cloned())).collect();
    ChangedRow { change: RowChange::Changed, order_id, sku, dt, moved_from, before: values(old), after: values(new) }
}

fn revenue(before: &LayerState, after: &LayerState, days: &BTreeSet<Dt>) -> Vec<RevenueChange> {
    let mut changes = Vec::new();
    for &dt in days {
        let of = |state: &LayerState| state.partitions.get(&dt).map(|entry| entry.revenue.clone()).unwrap_or_default();
        let (old, new) = (of(before), of(after));
        let currencies: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for currency in currencies {
            let units = |totals: &crate::model::CurrencyTotals| totals.get(currency).copied().unwrap_or_default();
            if units(&old) != units(&new) {
                let (before, after) = (units_text(units(&old)), units_text(units(&new)));
                changes.push(RevenueChange { dt, currency: currency.clone(), before, after });
            }
        }
    }
    changes
}

impl LayerDiff {
    fn push(&mut self, row: ChangedRow, limit: usize) {
        match row.change {
            RowChange::Added => self.rows_added += 1,
            RowChange::Removed => self.rows_removed += 1,
            RowChange::Changed => self.rows_changed += 1,
        }
        // Rows come day by day: what is beyond the limit would be cut in any case, but moved orders come late.
        if self.rows.len() < limit.saturating_mul(2).max(limit) {
            self.rows.push(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{layer::PartitionEntry, model::CurrencyTotals, store::Key as ObjectKey};

    #[test]
    fn rows_that_come_go_change_and_move_are_told_apart() {
        let entry = |name: &str, units: i128| PartitionEntry {
            version: ObjectRef { object: ObjectKey::from(name), bytes: 0, checksum: name.to_owned() },
            modified_ns: 0,
            rows: 0,
            revenue: CurrencyTotals::from([("EUR".to_owned(), units)]),
            totals: None,
        };
        let (one, two): (Dt, Dt) = ("2026-01-01".parse().unwrap(), "2026-01-02".parse().unwrap());
        let state = |one_is: &str, two_is: &str| LayerState {
            partitions: [(one, entry(one_is, 10_000)), (two, entry(two_is, 20_000))].into(),
            ..LayerState::default()
        };
        let read = |version: &ObjectRef| {
            let rows = match version.object.as_str() {
                "a" => "A,x,1\nB,x,1\nC,x,1\nM,x,1\n",
                "b" => "A,x,1\nB,x,2\nD,x,1\n",
                "c" => "E,x,1\n",
                _ => "E,x,1\nM,x,1\n",
            };
            Ok(format!("order_id,sku,quantity\n{rows}").into_bytes())
        };
        let diff = compare(&state("a", "c"), &state("b", "d"), 10, &read).unwrap();
        assert_eq!((diff.rows_added, diff.rows_removed, diff.rows_changed), (1, 1, 2));
        let told: Vec<_> = diff.rows.iter().map(|row| (row.order_id.as_str(), row.change, row.moved_from)).collect();
        assert_eq!(
            told,
            [
                ("B", RowChange::Changed, None),
                ("C", RowChange::Removed, None),
                ("D", RowChange::Added, None),
                ("M", RowChange::Changed, Some(one))
            ]
        );
        assert_eq!(diff.rows[0].after, [("quantity".to_owned(), Some("2".to_owned()))].into());
        assert!(compare(&state("a", "c"), &state("a", "c"), 10, &read).unwrap().is_empty());
        assert_eq!(compare(&state("a", "c"), &state("b", "d"), 2, &read).unwrap().rows.len(), 2);
    }
}
