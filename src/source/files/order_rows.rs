//! Orders of a table file: a row a line. Rows of one order, one after the other, become one record: the columns of the order, each
//! from the first row that fills it, and the rows as its lines. Names of columns that differ only in case are one
//! column.
//!
//! Interprets no column but the id and the currency of the order. Cuts no file into rows.

use std::collections::{HashMap, HashSet};

use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    model::{FieldPath, Pairs, WILDCARD, clean_text},
    source::{
        RecordShape,
        body::{Node, is_among},
    },
};

/// Rows that are no order: what is wrong, and on which line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ScatteredRows {
    pub(super) line: u64,
    pub(super) detail: String,
}

/// A record, and the line of its first row.
pub(super) struct GroupedRecord {
    pub(super) line: u64,
    pub(super) json: Vec<u8>,
}

/// Joins the rows of each order.
pub(super) struct OrderRows<'s> {
    shape: &'s RecordShape,
    /// Where a record has its lines.
    lines: &'s FieldPath,
    open: Option<OpenOrder>,
    /// The path that the id of an order was found at: that of the first row which has one.
    id: Option<&'s FieldPath>,
    /// The ids of the orders before, hashed.
    seen: HashSet<u64>,
    edges: EdgeOrders,
    names: ColumnNames<'s>,
}

/// The names of a file's columns, as the paths of the profile write them.
struct ColumnNames<'s> {
    /// The names in paths.
    in_paths: &'s [String],
    /// That of each column so far.
    of_columns: HashMap<String, String>,
    /// Names that several columns have.
    shared: HashSet<String>,
}

/// A cell of a row.
struct Cell<'c> {
    name: &'c String,
    value: &'c Node,
    /// What it is written as.
    written: &'c str,
}

/// A row, each cell under the name that paths write.
struct Row<'r> {
    /// The cells, by name.
    cells: Node,
    /// What each of them is written as.
    written: Vec<&'r RawValue>,
}

/// The first and the last order of a file, by the hashes of their ids.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct EdgeOrders {
    pub(super) first: Option<u64>,
    pub(super) last: Option<u64>,
}

/// An order whose rows are being read.
struct OpenOrder {
    id: Option<String>,
    line: u64,
    /// The currency of the first row that has one.
    currency: Option<String>,
    /// The columns, each with its first value that is not blank, as JSON.
    columns: Vec<(String, String)>,
    /// The rows, as JSON.
    rows: Vec<u8>,
}

impl<'s> OrderRows<'s> {
    /// Joins rows by the shape of a record; `None` for members, and for orders whose rows are whole records.
    pub(super) fn of(shape: &'s RecordShape) -> Option<OrderRows<'s>> {
        let lines = shape.lines.first()?;
        let names = ColumnNames { in_paths: &shape.columns, of_columns: HashMap::new(), shared: HashSet::new() };
        Some(OrderRows { shape, lines, open: None, id: None, seen: HashSet::new(), edges: EdgeOrders::default(), names })
    }

    /// Takes a row, a JSON object. Returns the order before it, if that is complete now.
    ///
    /// # Errors
    /// The rows of its order do not stand together, or have several currencies.
    pub(super) fn row(&mut self, line: u64, json: &[u8]) -> Result<Option<GroupedRecord>, ScatteredRows> {
        let text = std::str::from_utf8(json).unwrap_or_default();
        let row = Row::of(text, &mut self.names);
        let node = &row.cells;
        if let Some(path) = self.shape.lines.iter().find(|path| matches!(node.at(path), Some(Node::Array(_) | Node::Object(_)))) {
            let detail = format!("`{path}` holds a list, and each row of a table is one line: write orders with their lists as NDJSON");
            return Err(ScatteredRows { line, detail });
        }
        if node.pairs().iter().all(|(_, cell)| is_blank(cell)) {
            return Ok(None);
        }
        let value = |path: &FieldPath| node.at(path)?.text();
        let shape = self.shape;
        let is_said = |path: &&FieldPath| !node.at(path).is_some_and(|cell| counts_as_missing(shape, path.steps(), cell));
        let currency = shape.currency.iter().filter(is_said).find_map(value);
        let id_at = |path: &FieldPath| value(path).filter(|id| !shape.is_missing_id(id));
        self.id = self.id.or_else(|| shape.id.iter().find(|path| id_at(path).is_some()));
        let id = self.id.and_then(id_at);
        let has_time = || shape.created_at.iter().filter_map(value).any(|time| !shape.is_missing_time(time));
        // Exports leave the columns of the order blank on its further rows. A row with a time is an order, with or without an id.
        let continues = match (&self.open, id) {
            (Some(open), Some(id)) => open.id.as_deref() == Some(id),
            (Some(open), None) => open.id.is_some() && !has_time(),
            (None, _) => false,
        };
        if continues && let Some(open) = &mut self.open {
            open.verify_currency(line, currency)?;
            open.add(&row, self.id, shape);
            return Ok(None);
        }
        let hash = id.map(|id| xxh3_64(id.as_bytes()));
        self.edges = EdgeOrders { first: self.edges.first.or(hash.filter(|_| self.open.is_none())), last: hash };
        if let (Some(id), Some(hash)) = (id, hash)
            && !self.seen.insert(hash)
        {
            let detail = format!("the rows of the order `{id}` do not stand together: sort the file by the order");
            return Err(ScatteredRows { line, detail });
        }
        let complete = self.finish();
        let (id, currency) = (id.map(str::to_owned), currency.map(str::to_owned));
        let mut open = OpenOrder { id, line, currency, columns: Vec::new(), rows: Vec::new() };
        open.add(&row, self.id, shape);
        self.open = Some(open);
        Ok(complete)
    }

    /// The first and the last order so far.
    pub(super) fn edges(&self) -> EdgeOrders {
        self.edges
    }

    /// The last order.
    pub(super) fn finish(&mut self) -> Option<GroupedRecord> {
        let open = self.open.take()?;
        let key = |name: &str| serde_json::Value::from(name).to_string();
        let (first, inner) = self.lines.steps().split_first()?;
        let mut json = b"{".to_vec();
        for (name, value) in open.columns.iter().filter(|(name, _)| name != first) {
            json.extend_from_slice(format!("{}:{value},", key(name)).as_bytes());
        }
        json.extend_from_slice(format!("{}:", key(first)).as_bytes());
        // A path that leads into every element of a list leads into the only one here.
        let is_every = |step: &String| step == WILDCARD;
        for step in inner {
            let opening = if is_every(step) { "[".to_owned() } else { format!("{{{}:", key(step)) };
            json.extend_from_slice(opening.as_bytes());
        }
        json.push(b'[');
        json.extend_from_slice(&open.rows);
        json.push(b']');
        json.extend(inner.iter().rev().map(|step| if is_every(step) { b']' } else { b'}' }));
        json.push(b'}');
        Some(GroupedRecord { line: open.line, json })
    }
}

/// Whether a cell holds nothing: null, or text of white space alone.
fn is_blank(cell: &Node) -> bool {
    match cell {
        Node::Null => true,
        Node::Text(text) => clean_text(text).is_none(),
        _ => false,
    }
}

/// Whether a value is one that each field which reads it counts as missing.
fn counts_as_missing(shape: &RecordShape, steps: &[String], cell: &Node) -> bool {
    let text = match cell {
        Node::Bool(true) => Some("true"),
        Node::Bool(false) => Some("false"),
        other => other.text(),
    };
    let Some(text) = text else { return false };
    let mut readings = shape.readings.iter().filter(|reading| reading.path.steps() == steps).peekable();
    readings.peek().is_some() && readings.all(|reading| is_among(&reading.missing, text))
}

impl ColumnNames<'_> {
    /// The name of a column as paths write it. Warns where another column has it.
    fn of(&mut self, column: &str) -> String {
        if let Some(name) = self.of_columns.get(column) {
            return name.clone();
        }
        let folded = column.to_lowercase();
        let is_exact = self.in_paths.iter().any(|name| name == column);
        let other = self.in_paths.iter().find(|name| !is_exact && name.to_lowercase() == folded);
        let name = other.cloned().unwrap_or_else(|| column.to_owned());
        if self.of_columns.values().any(|own| *own == name) && self.shared.insert(name.clone()) {
            tracing::warn!(
                column = name.as_str(),
                "columns of a table whose names differ only in case are one column: the value of the one that is written as the path counts, then \
                 the first"
            );
        }
        self.of_columns.insert(column.to_owned(), name.clone());
        name
    }
}

impl<'r> Row<'r> {
    /// Reads a row, a JSON object.
    fn of(text: &'r str, names: &mut ColumnNames<'_>) -> Row<'r> {
        let pairs = serde_json::from_str::<Pairs<'r>>(text).map(|pairs| pairs.0).unwrap_or_default();
        let (mut cells, mut written) = (Vec::with_capacity(pairs.len()), Vec::with_capacity(pairs.len()));
        let mut named: Vec<_> = pairs.into_iter().map(|(column, value)| (names.of(&column), column, value)).collect();
        if !names.shared.is_empty() {
            // The column that is written as the path is the first of those that share its name.
            named.sort_by_key(|(name, column, _)| name.as_str() != column.as_ref() as &str);
        }
        for (name, _, value) in named {
            let cell = Node::parse(value.get()).unwrap_or(Node::Null);
            let is_shared = names.shared.contains(&name);
            match cells.iter().position(|(own, _): &(String, Node)| is_shared && *own == name) {
                None => {
                    cells.push((name, cell));
                    written.push(value);
                }
                Some(place) if is_blank(&cells[place].1) => {
                    cells[place].1 = cell;
                    written[place] = value;
                }
                Some(_) => {}
            }
        }
        Row { cells: Node::Object(cells), written }
    }

    fn cells(&self) -> impl Iterator<Item = Cell<'_>> {
        self.cells.pairs().iter().zip(&self.written).map(|((name, value), written)| Cell { name, value, written: written.get() })
    }
}

impl OpenOrder {
    /// The prices of an order are in one currency: which row would be in which can't be told.
    fn verify_currency(&mut self, line: u64, currency: Option<&str>) -> Result<(), ScatteredRows> {
        match (&self.currency, currency) {
            (Some(own), Some(other)) if own != other => {
                let order = self.id.as_deref().unwrap_or_default();
                let detail = format!("the rows of the order `{order}` have two currencies, `{own}` and `{other}`: an order has one");
                Err(ScatteredRows { line, detail })
            }
            (None, other) => {
                self.currency = other.map(str::to_owned);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Adds a row. The id of the order is no column of the line: a sku that is missing is not looked for there.
    fn add(&mut self, row: &Row<'_>, id: Option<&FieldPath>, shape: &RecordShape) {
        let of_order = id.and_then(|path| path.steps().first().filter(|_| path.steps().len() == 1));
        self.rows.extend_from_slice(if self.rows.is_empty() { b"{" } else { b",{" });
        let start = self.rows.len();
        for Cell { name, written, .. } in row.cells().filter(|cell| Some(cell.name) != of_order) {
            if self.rows.len() > start {
                self.rows.push(b',');
            }
            self.rows.extend_from_slice(serde_json::Value::from(name.as_str()).to_string().as_bytes());
            self.rows.push(b':');
            self.rows.extend_from_slice(written.as_bytes());
        }
        self.rows.push(b'}');
        for Cell { name, value, written } in row.cells() {
            let is_filled = !is_blank(value) && !counts_as_missing(shape, std::slice::from_ref(name), value);
            if is_filled && self.columns.iter().all(|(own, _)| own != name) {
                self.columns.push((name.clone(), written.to_owned()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::source::PathReading;

    fn shape() -> RecordShape {
        let paths = |path: &str| vec![path.parse().unwrap()];
        RecordShape { id: paths("id"), created_at: paths("at"), lines: paths("a.items"), ..RecordShape::default() }
    }

    fn grouped(rows: &[Value]) -> Result<Vec<(u64, Value)>, ScatteredRows> {
        let shape = shape();
        let mut orders = OrderRows::of(&shape).unwrap();
        let mut all = Vec::new();
        for (line, row) in (2..).zip(rows) {
            all.extend(orders.row(line, row.to_string().as_bytes())?);
        }
        all.extend(orders.finish());
        Ok(all.into_iter().map(|record| (record.line, serde_json::from_slice(&record.json).unwrap())).collect())
    }

    #[test]
    fn a_column_that_is_written_as_the_path_comes_before_those_that_differ_in_case() {
        let shape = RecordShape { columns: vec!["id".into(), "price".into()], ..shape() };
        let mut orders = OrderRows::of(&shape).unwrap();
        for (line, row) in (2..).zip([r#"{"ID":"X","id":"A","Price":1,"price":2}"#, r#"{"ID":"X","id":"A","Price":3,"price":null}"#]) {
            assert!(orders.row(line, row.as_bytes()).unwrap().is_none(), "both rows are of the order A");
        }
        let record: Value = serde_json::from_slice(&orders.finish().unwrap().json).unwrap();
        assert_eq!((&record["id"], &record["price"], &record["a"]["items"][1]["price"]), (&json!("A"), &json!(2), &json!(3)));
    }

    #[test]
    fn rows_of_one_order_become_one_record() {
        let rows = [
            json!({"id": "A", "at": "", "sku": "x"}),
            json!({"id": "A", "at": "2026-01-01", "sku": "y"}),
            json!({"id": null, "at": null, "sku": "z"}),
            json!({"id": "B", "at": "2026-01-02", "sku": "x"}),
            json!({"id": "", "at": "2026-01-03", "sku": "lost"}),
        ];
        let records = grouped(&rows).unwrap();
        let shown: Vec<_> =
            records.iter().map(|(line, record)| (*line, record["id"].clone(), record["a"]["items"].as_array().unwrap().len())).collect();
        assert_eq!(shown, [(2, json!("A"), 3), (5, json!("B"), 1), (6, Value::Null, 1)], "an order without an id is not another's line");
        assert_eq!(records[0].1["at"], "2026-01-01", "the first value that is not blank");
        assert_eq!(records[0].1["a"]["items"][2]["sku"], "z");
    }

    #[test]
    fn values_that_count_as_missing_are_neither_an_id_nor_a_time() {
        let missing = |value: &str| vec![value.to_owned()];
        let shape = RecordShape { missing_ids: missing("0"), missing_times: missing("-"), ..shape() };
        let mut orders = OrderRows::of(&shape).unwrap();
        let mut is_another = |row: Value| orders.row(2, row.to_string().as_bytes()).unwrap().is_some();
        assert!(!is_another(json!({"id": "A", "at": "2026-01-01"})));
        assert!(!is_another(json!({"id": "0.0", "at": "-"})), "a line of A");
        assert!(is_another(json!({"id": "0", "at": "2026-01-02"})), "an order without an id");
    }

    /// The only order of some rows.
    fn order_of(shape: &RecordShape, rows: &[Value]) -> Value {
        let mut orders = OrderRows::of(shape).unwrap();
        for row in rows {
            assert!(orders.row(2, row.to_string().as_bytes()).unwrap().is_none(), "{row}");
        }
        serde_json::from_slice(&orders.finish().unwrap().json).unwrap()
    }

    #[test]
    fn what_a_profile_names_as_missing_hides_no_later_value() {
        let reading = |path: &str, missing: &[&str]| PathReading {
            path: path.parse().unwrap(),
            missing: missing.iter().map(|value| (*value).to_owned()).collect(),
        };
        // Two fields read the column `both`: to one of them, `0` is a value.
        let readings = vec![reading("status", &["-"]), reading("cur", &["-"]), reading("both", &["0"]), reading("both", &[])];
        let shape = RecordShape { currency: vec!["cur".parse().unwrap()], readings, ..shape() };
        let first = json!({"id": "A", "at": "2026-01-01", "status": " - ", "cur": "-", "both": "0"});
        let record = order_of(&shape, &[first, json!({"id": "A", "at": "", "status": "paid", "cur": "EUR", "both": "1"})]);
        assert_eq!((&record["status"], &record["cur"], &record["both"]), (&json!("paid"), &json!("EUR"), &json!("0")));
    }

    #[test]
    fn white_space_of_any_kind_hides_no_later_value() {
        let blank = json!({"id": "A", "at": "2026-01-01", "tab": "\t", "line": "\r\n", "space": "\u{a0} ", "nul": "\0", "quote": "\""});
        let filled = json!({"id": "A", "at": "", "tab": "1", "line": "2", "space": "3", "nul": "4", "quote": "5"});
        let record = order_of(&shape(), &[blank, filled]);
        let shown = ["tab", "line", "space", "nul", "quote"].map(|name| record[name].as_str().unwrap().to_owned());
        assert_eq!(shown, ["1", "2", "3", "4", "\""]);
    }

    #[test]
    fn names_that_differ_only_in_case_are_the_column_that_paths_name() {
        let columns = ["id", "at", "sku", "quantity", "Note"].map(str::to_owned).to_vec();
        let shape = RecordShape { columns, ..shape() };
        let row = json!({"ID": "A", "At": "2026-01-01", "QUANTITY": " ", "quantity": "", "Quantity": "3", "Note": "x", "Other": "y"});
        let record = order_of(&shape, &[row, json!({"ID": "A", "SKU": "s", "QUANTITY": "1", "quantity": "2"})]);
        assert_eq!(
            (&record["id"], &record["at"], &record["Note"], &record["Other"]),
            (&json!("A"), &json!("2026-01-01"), &json!("x"), &json!("y"))
        );
        let lines = record["a"]["items"].as_array().unwrap();
        assert_eq!(
            (&lines[0]["quantity"], &lines[1]["quantity"], &lines[1]["sku"]),
            (&json!("3"), &json!("2"), &json!("s")),
            "that of the path, then the first value"
        );
        assert!(lines[0].get("Quantity").is_none() && lines[0].get("QUANTITY").is_none(), "{record}");
    }

    #[test]
    fn without_a_path_of_the_time_a_row_without_an_id_is_a_line() {
        let shape = RecordShape { created_at: Vec::new(), ..shape() };
        let mut orders = OrderRows::of(&shape).unwrap();
        let mut is_another = |row: Value| orders.row(2, row.to_string().as_bytes()).unwrap().is_some();
        let rows = [json!({"id": "A"}), json!({"id": ""}), json!({"id": "A"}), json!({"id": "B"})];
        assert_eq!(rows.map(&mut is_another), [false, false, false, true]);
    }

    #[test]
    fn lines_may_stand_in_every_element_of_a_list() {
        let shape = RecordShape { lines: vec!["a.*.b.*.l".parse().unwrap()], ..shape() };
        let mut orders = OrderRows::of(&shape).unwrap();
        orders.row(2, json!({"id": "A", "at": "2026-01-01", "sku": "x"}).to_string().as_bytes()).unwrap();
        let record: Value = serde_json::from_slice(&orders.finish().unwrap().json).unwrap();
        assert_eq!(record["a"][0]["b"][0]["l"][0]["sku"], "x");
    }

    #[test]
    fn an_order_whose_rows_are_scattered_is_refused() {
        let row = |id: &str| json!({"id": id, "at": "2026-01-01"});
        let error = grouped(&[row("A"), row("B"), row("A")]).unwrap_err();
        assert!(error.line == 4 && error.detail.contains("`A`"), "{error:?}");
    }

    #[test]
    fn an_order_in_two_currencies_is_refused_and_blank_rows_are_none() {
        let shape = RecordShape { currency: vec!["cur".parse().unwrap()], ..shape() };
        let mut orders = OrderRows::of(&shape).unwrap();
        let mut row = |line: u64, row: Value| orders.row(line, row.to_string().as_bytes()).map(|record| record.is_some());
        assert_eq!(row(2, json!({"id": "A", "at": "2026-01-01", "cur": null})), Ok(false));
        assert_eq!(row(3, json!({"id": "", "at": "", "cur": " EUR"})), Ok(false));
        assert_eq!(row(4, json!({"id": "", "at": " ", "cur": null})), Ok(false), "a blank row");
        let error = row(5, json!({"id": "A", "at": "", "cur": "USD"})).unwrap_err();
        assert!(error.line == 5 && error.detail.contains("`A` have two currencies, `EUR` and `USD`"), "{error:?}");
        assert_eq!(row(6, json!({"id": "B", "at": "2026-01-01", "cur": "USD"})), Ok(true));
        let lines = orders.finish().unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&lines.json).unwrap()["a"]["items"].as_array().unwrap().len(), 1);
        let hash = |id: &str| Some(xxh3_64(id.as_bytes()));
        assert_eq!(orders.edges(), EdgeOrders { first: hash("A"), last: hash("B") });
    }

    #[test]
    fn a_row_with_a_list_of_lines_is_no_line() {
        let error = grouped(&[json!({"id": "A", "at": "2026-01-01", "a": {"items": [{"sku": "x"}]}})]).unwrap_err();
        assert!(error.detail.contains("`a.items` holds a list"), "{error:?}");
    }

    #[test]
    fn members_and_records_that_are_their_own_line_are_left_alone() {
        assert!(OrderRows::of(&RecordShape::default()).is_none());
        assert!(OrderRows::of(&RecordShape { lines: Vec::new(), ..shape() }).is_none());
    }
}
