//! Rows, sums and a hash of both sides: one query for the facts and one for each side fact, by day and currency, and one for each
//! dimension. The same expressions run on Redshift, on PostgreSQL, and in DuckDB over the layer's files.
//!
//! The hash of a table is the sum of its rows' hashes, so it needs no order and sees a row that stands twice. The hash of a row is
//! the MD5 of its columns; its first 15 hexadecimal digits become a number by `STRPOS`, which all three servers have.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::{Column, ColumnKind, SideTable, StoredTable, Table, Tables, identifier};
use crate::{
    model::{Dt, counted},
    store::places::SideFact,
};

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

/// The days that are compared: `[since, until)`. Either end may be open.
#[derive(Clone, Copy, Default, Debug)]
pub struct DayRange {
    /// The first day.
    pub since: Option<Dt>,
    /// The day after the last.
    pub until: Option<Dt>,
}

impl DayRange {
    /// Whether a day is one of them.
    pub fn contains(self, dt: Dt) -> bool {
        self.since.is_none_or(|since| dt >= since) && self.until.is_none_or(|until| dt < until)
    }

    /// What a query says of them.
    fn filter(self) -> String {
        let bounds = [(self.since, ">="), (self.until, "<")];
        let bounds: Vec<_> =
            bounds.iter().filter_map(|(day, sign)| Some(format!("\"created_at\" {sign} '{} 00:00:00'", (*day)?))).collect();
        if bounds.is_empty() { String::new() } else { format!(" WHERE {}", bounds.join(" AND ")) }
    }
}

/// What one day and currency of the facts add up to. Numbers are texts: sums may exceed 64 bits.
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

/// What one day and currency of a side fact add up to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SideTotals {
    /// The number of rows.
    pub rows: String,
    /// Σ `total` of orders, or Σ `amount` of refunds; empty where no row says it.
    pub amount: String,
    /// The sum of the rows' hashes.
    pub hash: String,
}

/// A day and currency whose totals differ.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DifferentDay<T = Totals> {
    /// The day; `None` for rows of the warehouse whose `created_at` is missing or outside the years 1 to 9999.
    pub dt: Option<Dt>,
    /// The currency; empty where there is none.
    pub currency: String,
    /// What the layer holds; `None`: no rows.
    pub layer: Option<T>,
    /// What the warehouse holds; `None`: no rows.
    pub warehouse: Option<T>,
}

/// Both sides of a side fact.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct SideComparison {
    /// The days and currencies that were compared.
    pub compared: u64,
    /// Those that differ.
    pub days: Vec<DifferentDay<SideTotals>>,
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
    /// The side facts that the layer has or has had, by the names of their tables.
    pub side_facts: BTreeMap<&'static str, SideComparison>,
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
            && self.side_facts.values().all(|side| side.days.is_empty())
            && self.missing_tables.is_empty()
            && self.missing_columns.is_empty()
            && self.dimensions.values().all(|dimension| dimension.equal)
    }

    /// The days of a side fact that differ.
    pub fn side_days(&self, fact: SideFact) -> &[DifferentDay<SideTotals>] {
        self.side_facts.get(fact.table()).map(|side| side.days.as_slice()).unwrap_or_default()
    }

    /// What differs, in numbers.
    pub fn difference(&self) -> Difference {
        let of_side = |(&name, side): (&&'static str, &SideComparison)| DifferentSide { name, days: DifferentDays::of(&side.days) };
        Difference {
            facts: DifferentDays::of(&self.days),
            sides: self.side_facts.iter().map(of_side).collect(),
            dimensions: self.dimensions.iter().filter(|(_, dimension)| !dimension.equal).map(|(name, _)| *name).collect(),
            missing_tables: self.missing_tables.clone(),
            missing_columns: self.missing_columns.clone(),
        }
    }
}

/// Whether the warehouse has rows that lie on no day.
pub fn has_undated<T>(days: &[DifferentDay<T>]) -> bool {
    days.iter().any(|day| day.dt.is_none())
}

/// The days of a table that differ, in any currency.
#[derive(Clone, PartialEq, Eq, Debug)]
struct DifferentDays {
    days: Vec<Dt>,
    has_undated: bool,
}

impl DifferentDays {
    fn of<T>(different: &[DifferentDay<T>]) -> DifferentDays {
        let mut days: Vec<_> = different.iter().filter_map(|day| day.dt).collect();
        days.dedup();
        DifferentDays { days, has_undated: has_undated(different) }
    }

    /// Words for them; `of` says of which table.
    fn parts(&self, of: &str) -> impl Iterator<Item = String> {
        let days = match &self.days[..] {
            [] => None,
            [day] => Some(format!("the day {day}{of}")),
            [first, .., last] => Some(format!("{}{of} from {first} to {last}", counted(self.days.len() as u64, "day"))),
        };
        let undated = self.has_undated.then(|| format!("rows{of} without a valid created_at"));
        days.into_iter().chain(undated)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct DifferentSide {
    name: &'static str,
    days: DifferentDays,
}

/// What differs, for a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    facts: DifferentDays,
    sides: Vec<DifferentSide>,
    dimensions: Vec<&'static str>,
    missing_tables: Vec<&'static str>,
    missing_columns: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<_> = self.facts.parts("").collect();
        for side in &self.sides {
            parts.extend(side.days.parts(&format!(" of {}", side.name)));
        }
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

/// What a query by day and currency adds up: the name of the sum, and the value of a row.
struct Summed {
    name: &'static str,
    value: String,
}

/// The query for the totals of the facts by day and currency. `from` is the table, or what reads its files. `days` bounds the
/// warehouse's side; over the layer, the files do.
pub fn facts_query(tables: &Tables<'_>, side: Side<'_>, from: &str, days: DayRange) -> String {
    let is_decimal = tables.facts.columns.iter().any(|column| column.name == "quantity" && column.kind != ColumnKind::BigInt);
    let of_layer = if is_decimal { r#"CAST("quantity" AS DECIMAL(38,4))"# } else { r#"CAST("quantity" AS BIGINT)"# };
    let (quantity, line_total) = match side {
        Side::Warehouse(_) => (r#""quantity""#, r#""line_total""#),
        Side::Layer => (of_layer, r#"CAST("line_total" AS DECIMAL(38,4))"#),
    };
    let sums = [Summed { name: "q", value: quantity.to_owned() }, Summed { name: "t", value: line_total.to_owned() }];
    days_query(&tables.facts, &sums, side, from, &days.filter())
}

/// The same for a side fact.
pub fn side_query(table: &SideTable, side: Side<'_>, from: &str, days: DayRange) -> String {
    let column = match table.fact {
        SideFact::OrderTotals => "total",
        SideFact::Refunds => "amount",
    };
    let amount = match side {
        Side::Warehouse(stored) if !stored.columns.contains_key(column) => "CAST(NULL AS DECIMAL(18,4))".to_owned(),
        Side::Warehouse(_) => identifier(column),
        Side::Layer => format!("CAST({} AS DECIMAL(38,4))", identifier(column)),
    };
    days_query(&table.table, &[Summed { name: "t", value: amount }], side, from, &days.filter())
}

fn days_query(table: &Table, sums: &[Summed], side: Side<'_>, from: &str, filter: &str) -> String {
    let dt = match side {
        Side::Warehouse(_) => r#"TO_CHAR("created_at", 'YYYY-MM-DD')"#,
        Side::Layer => r#"LEFT("created_at", 10)"#,
    };
    let filter = match side {
        Side::Warehouse(_) => filter,
        Side::Layer => "",
    };
    let added: String = sums.iter().map(|sum| format!("CAST(SUM({}) AS VARCHAR), ", sum.name)).collect();
    let values: String = sums.iter().map(|sum| format!("{} AS {}, ", sum.value, sum.name)).collect();
    format!(
        "SELECT dt, currency, CAST(COUNT(*) AS VARCHAR), {added}{} \
         FROM (SELECT {dt} AS dt, COALESCE(\"currency\", '') AS currency, {values}{} AS h FROM {from}{filter}) AS hashed \
         GROUP BY dt, currency",
        hash_sum(),
        row_hash(table, side)
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

/// The totals of a day, as an answer has them.
trait DayTotals: PartialEq + Sized {
    /// Takes them from the cells behind day and currency.
    fn of(next: impl FnMut() -> String) -> Self;
}

impl DayTotals for Totals {
    fn of(mut next: impl FnMut() -> String) -> Totals {
        Totals { rows: next(), quantity: next(), line_total: next(), hash: next() }
    }
}

impl DayTotals for SideTotals {
    fn of(mut next: impl FnMut() -> String) -> SideTotals {
        SideTotals { rows: next(), amount: next(), hash: next() }
    }
}

type ByDay<T> = BTreeMap<(Option<Dt>, String), T>;

/// The answer of [`facts_query`] or [`side_query`].
fn by_day<T: DayTotals>(rows: Vec<Vec<Option<String>>>) -> ByDay<T> {
    let totals = |row: Vec<Option<String>>| {
        let mut cells = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || cells.next().unwrap_or_default();
        let key = (next().parse().ok(), next());
        (key, T::of(next))
    };
    rows.into_iter().map(totals).collect()
}

/// Compares the answers of [`facts_query`] on both sides: the days that differ, and how many were compared.
pub fn compare_days(layer: Vec<Vec<Option<String>>>, warehouse: Vec<Vec<Option<String>>>) -> (Vec<DifferentDay>, u64) {
    compare(layer, warehouse)
}

/// Compares the answers of [`side_query`] on both sides.
pub fn compare_side(layer: Vec<Vec<Option<String>>>, warehouse: Vec<Vec<Option<String>>>) -> SideComparison {
    let (days, compared) = compare(layer, warehouse);
    SideComparison { compared, days }
}

fn compare<T: DayTotals>(layer: Vec<Vec<Option<String>>>, warehouse: Vec<Vec<Option<String>>>) -> (Vec<DifferentDay<T>>, u64) {
    let (layer, mut warehouse) = (by_day::<T>(layer), by_day::<T>(warehouse));
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
        warehouse::redshift::{DimensionHeaders, LayerReader, LongestTexts, SideContent},
    };

    const REFUNDS: [&str; 4] = [
        "refund_id,order_id,sku,quantity,amount,currency,created_at\n",
        "r1,A,,,2.5000,EUR,2026-02-03 10:00:00\n",
        "r1,A,S,1.0000,3.0000,EUR,2026-02-03 10:00:00\n",
        "r2,B,,,0.1000,,2026-02-04 10:00:00.5\n",
    ];

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
        reader.query(&tables.facts, &[file], |from| facts_query(&tables, Side::Layer, from, DayRange::default())).unwrap()
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

    #[test]
    fn a_refund_that_is_lost_doubled_or_changed_makes_its_day_differ() {
        let folder = tempfile::tempdir().unwrap();
        let side = SideTable {
            fact: SideFact::Refunds,
            table: Table::side(SideFact::Refunds, &LongestTexts::default()),
            content: SideContent::Rows,
        };
        let cancel = Cancel::default();
        let reader = LayerReader::open(1, None, &cancel).unwrap();
        let totals = |rows: &[&str]| {
            let path = folder.path().join("refunds.csv");
            std::fs::write(&path, rows.concat()).unwrap();
            reader.query(&side.table, &[path.as_path()], |from| side_query(&side, Side::Layer, from, DayRange::default())).unwrap()
        };
        let sound = totals(&REFUNDS);
        let amounts: Vec<_> = by_day::<SideTotals>(sound.clone()).into_values().map(|day| (day.rows, day.amount)).collect();
        assert_eq!(amounts, [("2", "5.5000"), ("1", "0.1000")].map(|(rows, amount)| (rows.to_owned(), amount.to_owned())));
        let different = |rows: &[&str]| {
            let SideComparison { compared, days } = compare_side(sound.clone(), totals(rows));
            assert_eq!(compared, 2);
            days.into_iter().map(|day| day.dt.unwrap().to_string()).collect::<Vec<_>>()
        };
        let [header, first, second, third] = REFUNDS;
        assert_eq!(different(&[header, third, second, first]), [""; 0]);
        assert_eq!(different(&[header, first, second]), ["2026-02-04"]);
        assert_eq!(different(&[header, first, first, second, third]), ["2026-02-03"]);
        for (from, to) in [("2.5000", "2.5001"), ("r1,A,S", "r1,A,T"), ("1.0000", "2.0000")] {
            let changed = REFUNDS.map(|row| row.replace(from, to));
            assert_eq!(different(&changed.each_ref().map(String::as_str)), ["2026-02-03"], "{from}");
        }
    }

    #[test]
    fn a_column_that_the_warehouse_lacks_counts_as_null_in_the_totals_too() {
        let side = SideTable {
            fact: SideFact::OrderTotals,
            table: Table::side(SideFact::OrderTotals, &LongestTexts::default()),
            content: SideContent::Rows,
        };
        let stored = StoredTable { columns: [("order_id".to_owned(), Some(256))].into() };
        let days = DayRange { since: Some("2026-01-02".parse().unwrap()), until: None };
        let sql = side_query(&side, Side::Warehouse(&stored), "\"fact_order_total\"", days);
        assert!(sql.contains("CAST(NULL AS DECIMAL(18,4)) AS t, ") && sql.contains("COALESCE(MD5(\"order_id\"), 'n')"), "{sql}");
        assert!(sql.contains(" FROM \"fact_order_total\" WHERE \"created_at\" >= '2026-01-02 00:00:00')"), "{sql}");
    }
}
