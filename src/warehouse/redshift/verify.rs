//! Rows, sums and a hash of both sides: one query for the facts, by day and currency, and one for each dimension. The same
//! expressions run on Redshift, on PostgreSQL, and in DuckDB over the layer's files.
//!
//! The hash of a table is the sum of its rows' hashes, so it needs no order and sees a row that stands twice. The hash of a row is
//! the MD5 of its columns; its first 15 hexadecimal digits become a number by `STRPOS`, which all three servers have.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::{Column, ColumnKind, StoredTable, Table, Tables, identifier};
use crate::model::Dt;

/// The hexadecimal digits of a row's hash that are summed: 60 bits fit a BIGINT.
const DIGITS: u32 = 15;

/// The text of a NULL. No other text of a column is equal to it: the hash of a text has 32 digits.
const NULL: &str = "'n'";

/// Where a query runs.
#[derive(Clone, Copy, Debug)]
pub enum Side<'s> {
    /// In the warehouse, whose table has these columns. A column that it lacks counts as NULL.
    Warehouse(&'s StoredTable),
    /// Over the layer's files, whose columns are texts.
    Layer,
}

/// What one day and currency add up to. Numbers are texts: sums may exceed 64 bits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Totals {
    /// The number of rows.
    pub rows: String,
    /// Σ `quantity`.
    pub quantity: String,
    /// Σ `line_total`.
    pub line_total: String,
    /// The sum of the rows' hashes.
    pub hash: String,
}

/// A day and currency whose totals differ.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DifferentDay {
    /// The day; `None` for rows of the warehouse whose `created_at` is missing or outside the years 1 to 9999.
    pub dt: Option<Dt>,
    /// The currency; empty where there is none.
    pub currency: String,
    /// What the layer holds; `None`: no rows.
    pub layer: Option<Totals>,
    /// What the warehouse holds; `None`: no rows.
    pub warehouse: Option<Totals>,
}

/// What a dimension adds up to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DimensionTotals {
    /// The number of rows.
    pub rows: String,
    /// The sum of the rows' hashes.
    pub hash: String,
}

/// Both sides of a dimension.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DimensionComparison {
    /// Whether they are equal.
    pub equal: bool,
    /// What the layer holds.
    pub layer: DimensionTotals,
    /// What the warehouse holds; `None`: the table does not exist.
    pub warehouse: Option<DimensionTotals>,
}

/// The result of a comparison.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Comparison {
    /// The days and currencies that were compared.
    pub compared: u64,
    /// Those that differ.
    pub days: Vec<DifferentDay>,
    /// The stored dimensions, by name.
    pub dimensions: BTreeMap<&'static str, DimensionComparison>,
    /// The tables that do not exist in the warehouse.
    pub missing_tables: Vec<&'static str>,
    /// The columns that the warehouse lacks: `table.column`.
    pub missing_columns: Vec<String>,
}

impl Comparison {
    /// Whether both sides are equal.
    pub fn is_equal(&self) -> bool {
        self.days.is_empty()
            && self.missing_tables.is_empty()
            && self.missing_columns.is_empty()
            && self.dimensions.values().all(|dimension| dimension.equal)
    }

    /// Whether the warehouse has rows that lie on no day.
    pub fn has_undated(&self) -> bool {
        self.days.iter().any(|day| day.dt.is_none())
    }

    /// What differs, in numbers.
    pub fn difference(&self) -> Difference {
        let mut days: Vec<_> = self.days.iter().filter_map(|day| day.dt).collect();
        days.dedup();
        Difference {
            days,
            has_undated: self.has_undated(),
            dimensions: self.dimensions.iter().filter(|(_, dimension)| !dimension.equal).map(|(name, _)| *name).collect(),
            missing_tables: self.missing_tables.clone(),
            missing_columns: self.missing_columns.clone(),
        }
    }
}

/// What differs, for a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    days: Vec<Dt>,
    has_undated: bool,
    dimensions: Vec<&'static str>,
    missing_tables: Vec<&'static str>,
    missing_columns: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        match &self.days[..] {
            [] => {}
            [day] => parts.push(format!("the day {day}")),
            [first, .., last] => parts.push(format!("{} days from {first} to {last}", self.days.len())),
        }
        parts.extend(self.has_undated.then(|| "rows without a valid created_at".to_owned()));
        parts.extend(self.dimensions.iter().map(|name| format!("the dimension {name}")));
        parts.extend(self.missing_tables.iter().map(|name| format!("the table {name} is missing")));
        parts.extend(self.missing_columns.iter().map(|name| format!("the column {name} is missing")));
        f.write_str(&parts.join(", "))
    }
}

/// The text of a column that enters the hash of its row. It never holds `|`.
fn text(column: &Column, side: Side<'_>) -> String {
    let name = identifier(&column.name);
    match (column.kind, side) {
        (_, Side::Warehouse(stored)) if !stored.columns.contains_key(&column.name) => NULL.to_owned(),
        (ColumnKind::Text { .. }, _) => format!("COALESCE(MD5({name}), {NULL})"),
        (ColumnKind::Timestamp, Side::Warehouse(_)) => format!("COALESCE(TO_CHAR({name}, 'YYYY-MM-DD HH24:MI:SS.US'), {NULL})"),
        (ColumnKind::Timestamp, Side::Layer) => {
            format!("COALESCE(RPAD(CASE WHEN LENGTH({name}) = 19 THEN {name} || '.' ELSE {name} END, 26, '0'), {NULL})")
        }
        (ColumnKind::Date, Side::Warehouse(_)) => format!("COALESCE(TO_CHAR({name}, 'YYYY-MM-DD'), {NULL})"),
        (ColumnKind::Boolean, Side::Warehouse(_)) => {
            format!("CASE WHEN {name} THEN 'true' WHEN NOT {name} THEN 'false' ELSE {NULL} END")
        }
        (ColumnKind::BigInt | ColumnKind::Decimal { .. }, Side::Warehouse(_)) => format!("COALESCE(CAST({name} AS VARCHAR), {NULL})"),
        (_, Side::Layer) => format!("COALESCE({name}, {NULL})"),
    }
}

/// The hash of a row, as 32 hexadecimal digits.
fn row_hash(table: &Table, side: Side<'_>) -> String {
    let texts: Vec<_> = table.columns.iter().map(|column| text(column, side)).collect();
    format!("MD5({})", texts.join(" || '|' || "))
}

/// The sum of the hashes `h` of some rows.
fn hash_sum() -> String {
    let digit = |place: u32| {
        let weight = 16_u64.pow(DIGITS - 1 - place);
        format!("CAST(STRPOS('123456789abcdef', SUBSTRING(h, {}, 1)) AS BIGINT) * {weight}", place + 1)
    };
    let number = (0..DIGITS).map(digit).collect::<Vec<_>>().join(" + ");
    format!("CAST(COALESCE(SUM(CAST({number} AS DECIMAL(38,0))), 0) AS VARCHAR)")
}

/// The query for the totals of the facts by day and currency. `from` is the table, or what reads its files. `since` and `until`
/// bound the days on the warehouse's side; over the layer, the files do.
pub fn facts_query(tables: &Tables<'_>, side: Side<'_>, from: &str, since: Option<Dt>, until: Option<Dt>) -> String {
    let is_decimal = tables.facts.columns.iter().any(|column| column.name == "quantity" && column.kind != ColumnKind::BigInt);
    let of_layer = if is_decimal { r#"CAST("quantity" AS DECIMAL(38,4))"# } else { r#"CAST("quantity" AS BIGINT)"# };
    let (dt, quantity, line_total) = match side {
        Side::Warehouse(_) => (r#"TO_CHAR("created_at", 'YYYY-MM-DD')"#, r#""quantity""#, r#""line_total""#),
        Side::Layer => (r#"LEFT("created_at", 10)"#, of_layer, r#"CAST("line_total" AS DECIMAL(38,4))"#),
    };
    let bounds = [(since, ">="), (until, "<")];
    let bounds: Vec<_> = bounds.iter().filter_map(|(day, sign)| Some(format!("\"created_at\" {sign} '{} 00:00:00'", (*day)?))).collect();
    let filter = if bounds.is_empty() { String::new() } else { format!(" WHERE {}", bounds.join(" AND ")) };
    format!(
        "SELECT dt, currency, CAST(COUNT(*) AS VARCHAR), CAST(SUM(q) AS VARCHAR), CAST(SUM(t) AS VARCHAR), {} \
         FROM (SELECT {dt} AS dt, COALESCE(\"currency\", '') AS currency, {quantity} AS q, {line_total} AS t, {} AS h FROM {from}{filter}) AS hashed \
         GROUP BY dt, currency",
        hash_sum(),
        row_hash(&tables.facts, side)
    )
}

/// The query for the totals of a dimension.
pub fn dimension_query(table: &Table, side: Side<'_>, from: &str) -> String {
    format!("SELECT CAST(COUNT(*) AS VARCHAR), {} FROM (SELECT {} AS h FROM {from}) AS hashed", hash_sum(), row_hash(table, side))
}

impl DimensionTotals {
    /// The answer of [`dimension_query`]; nothing for no answer.
    pub fn of(rows: Vec<Vec<Option<String>>>) -> DimensionTotals {
        let mut cells = rows.into_iter().next().unwrap_or_default().into_iter().map(|cell| cell.unwrap_or_else(|| "0".to_owned()));
        let mut next = || cells.next().unwrap_or_else(|| "0".to_owned());
        DimensionTotals { rows: next(), hash: next() }
    }
}

type ByDay = BTreeMap<(Option<Dt>, String), Totals>;

/// The answer of [`facts_query`].
fn by_day(rows: Vec<Vec<Option<String>>>) -> ByDay {
    let totals = |row: Vec<Option<String>>| {
        let mut cells = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || cells.next().unwrap_or_default();
        let key = (next().parse().ok(), next());
        (key, Totals { rows: next(), quantity: next(), line_total: next(), hash: next() })
    };
    rows.into_iter().map(totals).collect()
}

/// Compares the answers of [`facts_query`] on both sides: the days that differ, and how many were compared.
pub fn compare_days(layer: Vec<Vec<Option<String>>>, warehouse: Vec<Vec<Option<String>>>) -> (Vec<DifferentDay>, u64) {
    let (layer, mut warehouse) = (by_day(layer), by_day(warehouse));
    let mut compared = 0;
    let mut days = Vec::new();
    for ((dt, currency), layer) in layer {
        compared += 1;
        let found = warehouse.remove(&(dt, currency.clone()));
        if found.as_ref() != Some(&layer) {
            days.push(DifferentDay { dt, currency, layer: Some(layer), warehouse: found });
        }
    }
    for ((dt, currency), found) in warehouse {
        compared += 1;
        days.push(DifferentDay { dt, currency, layer: None, warehouse: Some(found) });
    }
    days.sort_by(|a, b| (a.dt, &a.currency).cmp(&(b.dt, &b.currency)));
    (days, compared)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::{
        cancel::Cancel,
        model::FactSchema,
        settings::RedshiftSettings,
        warehouse::redshift::{DimensionHeaders, LayerReader, LongestTexts},
    };

    const HEADER: &str = "order_id,sku,user_id,product_id,status,currency,quantity,unit_price,line_total,price_defaulted,user_country,product_name,product_category,created_at,updated_at\n";
    const ROWS: [&str; 3] = [
        "A,S,u1,,paid,EUR,2,1.5000,3.0000,false,DE,\"a, \"\"b\"\"\",,2026-01-01 10:00:00,\n",
        "B,S,,,,EUR,1,1.5000,1.5000,false,,,,2026-01-01 11:00:00.5,2026-01-02 00:00:00\n",
        "C,S,,,,,1,0.0000,0.0000,true,,,,2026-01-01 12:00:00,\n",
    ];

    fn totals(file: &Path) -> Vec<Vec<Option<String>>> {
        let settings = RedshiftSettings::default();
        let tables = Tables::new(&settings, &FactSchema::default(), &DimensionHeaders::default(), &LongestTexts::default()).unwrap();
        let cancel = Cancel::default();
        let reader = LayerReader::open(1, None, &cancel).unwrap();
        reader.query(&tables.facts, &[file], |from| facts_query(&tables, Side::Layer, from, None, None)).unwrap()
    }

    fn file(folder: &Path, rows: &[&str]) -> PathBuf {
        let path = folder.join("part.csv");
        std::fs::write(&path, format!("{HEADER}{}", rows.concat())).unwrap();
        path
    }

    #[test]
    fn a_row_that_is_lost_doubled_or_changed_makes_its_day_differ_and_the_order_of_rows_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let sound = totals(&file(folder.path(), &ROWS));
        assert_eq!(sound.len(), 2, "by currency");
        let different = |rows: &[&str]| {
            let (days, compared) = compare_days(sound.clone(), totals(&file(folder.path(), rows)));
            assert_eq!(compared, 2);
            days.into_iter().map(|day| day.currency).collect::<Vec<_>>()
        };
        assert_eq!(different(&[ROWS[2], ROWS[1], ROWS[0]]), [""; 0]);
        assert_eq!(different(&[ROWS[0], ROWS[1]]), [""]);
        assert_eq!(different(&[ROWS[0], ROWS[0], ROWS[1], ROWS[2]]), ["EUR"]);
        for (from, to) in
            [("paid", "sent"), ("11:00:00.5", "11:00:00.6"), ("1.5000,3.0000,false", "1.5000,3.0000,true"), (",u1,,", ",,u1,")]
        {
            let changed = ROWS.map(|row| row.replace(from, to));
            assert_eq!(different(&changed.each_ref().map(String::as_str)), ["EUR"], "{from}");
        }
    }
}
