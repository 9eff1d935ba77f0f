//! The refunds that a record lists: rows of `fact_refund`, beside the rows of the lines.
//!
//! A refund is read as a record of its own, with its own lines. Its rows always add up to what it gives back.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    fields::{Field, PathTrie},
    line_key::LineKeyField,
    mapping::{SkipField, SummedField},
    prefix::IdPrefix,
    raw_json::{self, Found},
    scalar::Scalar,
    walk::{Captured, Maps},
};
use crate::{
    model::{self, FieldPath, LONGEST_TEXT, Money, Refund, WILDCARD},
    settings::{RefundLineRules, RefundRules, RefundSign, says_some},
};

/// Where refunds are, and their fields, compiled.
pub(super) struct RefundFields {
    /// The leaf of the record that the list is at or beneath: that of the first key of its path.
    leaf: Option<usize>,
    /// The path from the leaf to the outermost list.
    outer: FieldPath,
    /// The paths within each element of the lists, outermost first; each leads to a list.
    within: Vec<FieldPath>,
    /// The leaf of the record that says whether it has refunds, where they come by a request of their own.
    announced: Option<usize>,
    /// The fields of a refund and of its lines.
    maps: Maps,
    refund_id: Field,
    created_at: Field,
    amount: Option<SummedField>,
    currency: Option<Field>,
    skip: Vec<SkipField>,
    line: Option<RefundLineFields>,
}

/// The fields of a line of a refund.
struct RefundLineFields {
    sign: RefundSign,
    sku: Option<Field>,
    quantity: Option<Field>,
    amount: SummedField,
    /// The id of the order's line.
    order_line: Option<LineKeyField>,
}

/// The refunds that a record lists, as they are written.
#[derive(Default)]
pub(super) struct ListedRefunds<'a> {
    pub(super) refunds: Vec<&'a str>,
    /// Values in place of a list, of a list around it, or of an object on the way: what they stand for is not known.
    pub(super) other_shapes: u64,
}

impl<'a> ListedRefunds<'a> {
    /// The elements of lists; null has none.
    fn elements(&mut self, lists: Vec<&'a str>) -> Vec<&'a str> {
        let mut all = Vec::new();
        for list in lists.into_iter().filter(|list| *list != "null") {
            match raw_json::elements(list) {
                Some(elements) => all.extend(elements),
                None => self.other_shapes += 1,
            }
        }
        all
    }

    /// The values at a path in each of these.
    fn values(&mut self, outer: Vec<&'a str>, path: &FieldPath) -> Vec<&'a str> {
        let mut all = Vec::new();
        for raw in outer {
            match raw_json::find(raw, path) {
                Found::Value(value) => all.push(value),
                Found::Missing => {}
                Found::OtherShape => self.other_shapes += 1,
            }
        }
        all
    }
}

/// The order that refunds belong to.
pub(super) struct RefundedOrder<'o> {
    pub(super) order_id: &'o str,
    pub(super) currency: Option<&'o str>,
    /// The sku of each of its lines, by the id of the line.
    pub(super) skus: HashMap<String, String>,
    /// What stands before the ids of refunds.
    pub(super) ids: &'o IdPrefix,
    /// What stands before skus.
    pub(super) sku_prefix: &'o IdPrefix,
}

/// What a refund is.
pub(super) enum ReadRefund {
    /// These rows.
    Rows {
        rows: Vec<Refund>,
        /// What of its lines can't be read: money, a quantity, or the line of the order.
        unreadable: u64,
    },
    /// The profile leaves it out.
    Skipped,
    /// It has no id, no time or no money that can be read.
    Malformed {
        /// Its id, if that can be read.
        refund_id: Option<String>,
    },
}

/// A refund of a record that is dropped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DroppedRefund {
    /// Its id, if that can be read.
    pub refund_id: Option<String>,
    /// The number of its record in the batch: that of [`crate::model::SEQ`].
    pub record_number: u64,
}

/// A refund that an order lists more than once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RepeatedRefund {
    /// Its id.
    pub refund_id: String,
    /// The order.
    pub order_id: String,
    /// Whether the entries say the same.
    pub repeats: Repeats,
}

/// What a later entry of an id says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repeats {
    /// The same as the earlier one.
    Same,
    /// Something else of the same skus, in place of the earlier one.
    Other,
}

/// An order whose refunds do not add up to what it says itself was paid back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DifferingRefunds {
    /// The order.
    pub order_id: String,
    /// What it says itself.
    pub stated: Money,
    /// The sum of its refunds.
    pub listed: Money,
}

impl DifferingRefunds {
    /// Compares the rows of an order's refunds with what it says of them; `None` if they agree, or are of other currencies. Some sources
    /// write such an amount as negative.
    pub(super) fn of(order_id: &str, currency: Option<&str>, stated: Money, rows: &[Refund]) -> Option<DifferingRefunds> {
        let is_comparable = rows.iter().all(|row| row.currency.as_deref() == currency);
        let units: i128 = rows.iter().map(|row| i128::from(row.amount.units())).sum();
        let differs = is_comparable && units.abs() != i128::from(stated.units()).abs();
        let listed = Money::from_units(units).ok().filter(|_| differs)?;
        Some(DifferingRefunds { order_id: order_id.to_owned(), stated, listed })
    }
}

/// The refunds of an order, each once.
#[derive(Default)]
pub(super) struct DistinctRefunds {
    /// The rows of each entry that counts; none of one that a later one replaces.
    entries: Vec<Vec<Refund>>,
    /// The entry of each id and sku.
    places: HashMap<(String, Option<String>), usize>,
    pub(super) repeated: Vec<RepeatedRefund>,
}

impl DistinctRefunds {
    /// Takes the rows of another entry. One that says the same as an earlier one of its id is the same refund. One that says something
    /// else of a sku replaces it, as the later line of a sku does. Entries of one id without a sku in common are its parts.
    pub(super) fn push(&mut self, rows: Vec<Refund>) {
        let Some(first) = rows.first() else { return };
        let keys: Vec<_> = rows.iter().map(|row| (row.refund_id.clone(), row.sku.clone())).collect();
        let found: BTreeSet<usize> = keys.iter().filter_map(|key| self.places.get(key).copied()).collect();
        let earlier: Vec<usize> = found.into_iter().filter(|place| !self.entries[*place].is_empty()).collect();
        if !earlier.is_empty() {
            let is_same = earlier.iter().all(|place| self.entries[*place] == rows);
            let repeats = if is_same { Repeats::Same } else { Repeats::Other };
            self.repeated.push(RepeatedRefund { refund_id: first.refund_id.clone(), order_id: first.order_id.clone(), repeats });
            if is_same {
                return;
            }
            earlier.into_iter().for_each(|place| self.entries[place].clear());
        }
        self.places.extend(keys.into_iter().map(|key| (key, self.entries.len())));
        self.entries.push(rows);
    }

    /// The rows of all refunds.
    pub(super) fn into_rows(self) -> Vec<Refund> {
        self.entries.into_iter().flatten().collect()
    }
}

/// What is given back of one sku.
#[derive(Default)]
struct GivenBack {
    /// In ten-thousandths; `None` if no line says it.
    quantity: Option<i128>,
    /// Whether a line has a quantity that can't be read: then none is known.
    has_unreadable_quantity: bool,
    /// In ten-thousandths.
    amount: i128,
}

impl GivenBack {
    fn add(&mut self, sign: RefundSign, quantity: LineQuantity, amount: Money) {
        match quantity {
            LineQuantity::Unsaid => {}
            LineQuantity::Unreadable => self.has_unreadable_quantity = true,
            LineQuantity::Known(quantity) => {
                self.quantity = Some(self.quantity.unwrap_or(0) + sign.factor() * i128::from(quantity.units()));
            }
        }
        self.amount += sign.factor() * i128::from(amount.units());
    }

    fn quantity(&self) -> Option<Money> {
        self.quantity.filter(|_| !self.has_unreadable_quantity).and_then(|units| Money::from_units(units).ok())
    }
}

/// How many a line gives back.
#[derive(PartialEq, Eq)]
enum LineQuantity {
    /// The line does not say it.
    Unsaid,
    /// This many.
    Known(Money),
    /// It can't be read.
    Unreadable,
}

/// What the lines of a refund give back.
#[derive(Default)]
struct LinesGivenBack {
    by_sku: BTreeMap<Option<String>, GivenBack>,
    /// Lines whose money can't be read: it is in none of the sums.
    lost: u64,
    /// What else of the lines can't be read.
    unreadable: u64,
}

impl RefundFields {
    pub(super) fn compile(rules: &RefundRules, record: &mut PathTrie) -> RefundFields {
        let trie = || PathTrie { zone: record.zone, ..PathTrie::default() };
        let (mut refund, mut line) = (trie(), trie());
        let mut parts = rules.list.steps().split(|step| step == WILDCARD);
        let (leaf, outer) = match parts.next().and_then(<[String]>::split_first) {
            Some((first, below)) => (record.leaf(&FieldPath::root().child(first)), FieldPath::of_steps(below)),
            None => (None, FieldPath::root()),
        };
        let line_list = rules.lines.as_ref().and_then(|lines| refund.leaf(&lines.list));
        let line_fields = rules.lines.as_ref().map(|RefundLineRules { sign, sku, quantity, amount, by_line, .. }| RefundLineFields {
            sign: *sign,
            sku: sku.as_ref().map(|rule| line.field(rule)),
            quantity: quantity.as_ref().map(|rule| line.field(rule)),
            amount: SummedField::compile(amount, &mut line),
            order_line: by_line.as_ref().map(|key| LineKeyField::compile(key, &mut line)),
        });
        RefundFields {
            leaf,
            outer,
            within: parts.map(FieldPath::of_steps).collect(),
            announced: rules.announced.as_ref().and_then(|path| record.leaf(path)),
            refund_id: refund.field(&rules.refund_id),
            created_at: refund.field(&rules.created_at),
            amount: rules.amount.as_ref().map(|rule| SummedField::compile(rule, &mut refund).without(&rules.skip_amounts)),
            currency: rules.currency.as_ref().map(|rule| refund.field(rule)),
            skip: rules.skip.iter().map(|rule| SkipField::compile(rule, &mut refund)).collect(),
            line: line_fields,
            maps: Maps { record: refund, lists: line_list.into_iter().collect(), line, ..Maps::default() },
        }
    }

    /// The refunds of a record. A list that is absent or null, or lies in nothing, lists none.
    pub(super) fn listed<'a>(&self, cells: &[Option<&'a str>]) -> ListedRefunds<'a> {
        let mut listed = ListedRefunds::default();
        let Some(raw) = self.leaf.and_then(|leaf| cells.get(leaf).copied().flatten()) else { return listed };
        let mut lists = listed.values(vec![raw], &self.outer);
        for path in &self.within {
            let elements = listed.elements(lists);
            lists = listed.values(elements, path);
        }
        listed.refunds = listed.elements(lists);
        listed
    }

    /// The refunds that a record says it has, where they come by a request of their own: at least one, if it does not list them.
    pub(super) fn announced(&self, cells: &[Option<&str>]) -> u64 {
        let Some(raw) = self.announced.and_then(|leaf| cells.get(leaf).copied().flatten()) else { return 0 };
        match raw_json::elements(raw) {
            Some(elements) => elements.len() as u64,
            None => u64::from(raw != "null" && says_some(raw.trim_matches('"'))),
        }
    }

    /// A store for the values of one refund.
    pub(super) fn captured<'a>(&self) -> Captured<'a> {
        Captured::new(&self.maps)
    }

    /// Reads one refund.
    pub(super) fn read<'a>(&'a self, raw: &'a str, captured: &mut Captured<'a>, order: &RefundedOrder<'_>) -> ReadRefund {
        if !captured.walk(&self.maps, raw.as_bytes()) {
            return ReadRefund::Malformed { refund_id: None };
        }
        if self.skip.iter().any(|skip| skip.applies(&captured.cells)) {
            return ReadRefund::Skipped;
        }
        let refund_id = self.refund_id.value(&captured.cells).into_id().map(|id| order.ids.before(id).into_owned());
        let Some(refund_id) = refund_id.filter(|id| id.len() <= LONGEST_TEXT) else { return ReadRefund::Malformed { refund_id: None } };
        match self.rows(&refund_id, captured, order) {
            Some(rows) => rows,
            None => ReadRefund::Malformed { refund_id: Some(refund_id) },
        }
    }

    /// The rows of a refund; `None` if it has no time or no money that can be read. Where its own amount can be read, its lines only
    /// say what that is for: what they do not say is in no line.
    fn rows<'a>(&'a self, refund_id: &str, captured: &Captured<'a>, order: &RefundedOrder<'_>) -> Option<ReadRefund> {
        let cells = &captured.cells;
        let created_at = self.created_at.instant(&self.created_at.value(cells))?;
        let own_currency = self.currency.as_ref().and_then(|field| field.value(cells).into_text());
        let currency = own_currency.as_deref().filter(|currency| currency.len() <= LONGEST_TEXT).or(order.currency);
        let whole = match &self.amount {
            Some(amount) => amount.sum(cells, currency).ok()?.map(|amount| amount.money),
            None => None,
        };
        let LinesGivenBack { by_sku: mut given_back, lost, unreadable } = self.given_back(captured, currency, order);
        if whole.is_none() && lost > 0 {
            return None;
        }
        let in_lines: i128 = given_back.values().map(|given| given.amount).sum();
        match whole.map(|whole| i128::from(whole.units()) - in_lines) {
            None if given_back.is_empty() => return None,
            None => {}
            Some(0) if !given_back.is_empty() => {}
            // What is in no line: shipping, tax, goodwill; or all of it.
            Some(rest) => given_back.entry(None).or_default().amount += rest,
        }
        let row = |(sku, given): (Option<String>, GivenBack)| {
            Some(Refund {
                refund_id: refund_id.to_owned(),
                order_id: order.order_id.to_owned(),
                sku,
                quantity: given.quantity(),
                amount: Money::from_units(given.amount).ok()?,
                currency: currency.map(str::to_owned),
                created_at,
            })
        };
        let rows = given_back.into_iter().map(row).collect::<Option<Vec<_>>>()?;
        Some(ReadRefund::Rows { rows, unreadable: unreadable + lost })
    }

    /// What its lines give back, as far as they can be read.
    fn given_back<'a>(&'a self, captured: &Captured<'a>, currency: Option<&str>, order: &RefundedOrder<'_>) -> LinesGivenBack {
        let mut read = LinesGivenBack::default();
        let Some(fields) = &self.line else { return read };
        read.unreadable += u64::from(captured.has_other_shape(&self.maps));
        let mut lines = Vec::new();
        captured.lines(&self.maps, &mut lines);
        for line in lines {
            let Some(cells) = captured.line(line) else {
                read.lost += 1;
                continue;
            };
            let Ok(Some(amount)) = fields.amount.sum(cells, currency) else {
                read.lost += 1;
                continue;
            };
            let quantity = fields.quantity(cells);
            read.unreadable += u64::from(quantity == LineQuantity::Unreadable);
            let sku = fields.sku(cells, order, &mut read.unreadable);
            read.by_sku.entry(sku).or_default().add(fields.sign, quantity, amount.money);
        }
        read
    }
}

impl RefundLineFields {
    /// The sku of a line, of the order's line that it names, or else its own.
    fn sku<'a>(&'a self, cells: &[Option<&'a str>], order: &RefundedOrder<'_>, unreadable: &mut u64) -> Option<String> {
        if let Some(field) = &self.order_line {
            let id = field.value(cells);
            let is_missing = id == Scalar::Missing;
            if let Some(sku) = id.into_id().and_then(|id| order.skus.get(&*id)) {
                return Some(sku.clone());
            }
            *unreadable += u64::from(!is_missing);
        }
        let own = self.sku.as_ref().and_then(|field| field.value(cells).into_id());
        let own = own.map(|sku| order.sku_prefix.before(sku).into_owned());
        own.filter(|sku| sku.len() <= LONGEST_TEXT)
    }

    fn quantity<'a>(&'a self, cells: &[Option<&'a str>]) -> LineQuantity {
        let Some(field) = &self.quantity else { return LineQuantity::Unsaid };
        let value = field.value(cells);
        let text: &str = match &value {
            Scalar::Missing => return LineQuantity::Unsaid,
            Scalar::Text(text) => text,
            Scalar::Number(digits) => digits,
            Scalar::Bool(_) | Scalar::Other => return LineQuantity::Unreadable,
        };
        match model::parse_money(text.as_bytes()) {
            Ok(parsed) if !parsed.rounded => LineQuantity::Known(parsed.money),
            Ok(_) | Err(_) => LineQuantity::Unreadable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::orders_profile;

    /// The rules of refunds with these keys, and the paths of a record.
    fn compiled(keys: &str) -> (RefundFields, Maps) {
        let profile = orders_profile(&format!("[orders]\nrefunds = {{ {keys} }}")).unwrap();
        let mut trie = PathTrie::default();
        let fields = RefundFields::compile(profile.refunds.as_ref().unwrap(), &mut trie);
        (fields, Maps { record: trie, ..Maps::default() })
    }

    /// The rows of each refund of a record, or what else it is.
    fn read(keys: &str, record: &str) -> Vec<String> {
        let (fields, maps) = compiled(keys);
        let mut captured = Captured::new(&maps);
        assert!(captured.walk(&maps, record.as_bytes()));
        let (ids, sku_prefix) = (IdPrefix::new(Some("north:".to_owned())), IdPrefix::default());
        let skus = HashMap::from([("7".to_owned(), "seven".to_owned())]);
        let order = RefundedOrder { order_id: "A", currency: Some("EUR"), skus, ids: &ids, sku_prefix: &sku_prefix };
        let mut of_refund = fields.captured();
        let shown = |refund| match refund {
            ReadRefund::Skipped => "skipped".to_owned(),
            ReadRefund::Malformed { refund_id } => format!("malformed {}", refund_id.as_deref().unwrap_or("?")),
            ReadRefund::Rows { rows, unreadable } => {
                let row = |row: Refund| {
                    let quantity = row.quantity.map_or("-".to_owned(), |quantity| quantity.to_string());
                    format!("{} {} {quantity} {} {}", row.refund_id, row.sku.as_deref().unwrap_or("-"), row.amount, row.currency.unwrap())
                };
                let rows: Vec<_> = rows.into_iter().map(row).collect();
                format!("{}, {unreadable} unreadable", rows.join(", "))
            }
        };
        fields.listed(&captured.cells).refunds.into_iter().map(|raw| shown(fields.read(raw, &mut of_refund, &order))).collect()
    }

    #[test]
    fn an_entry_of_an_id_that_came_before_is_the_same_refund_or_replaces_it_or_is_a_part_of_it() {
        let row = |refund_id: &str, sku: &str, units: i128| Refund {
            refund_id: refund_id.to_owned(),
            order_id: "A".to_owned(),
            sku: Some(sku.to_owned()).filter(|sku| sku != "-"),
            quantity: None,
            amount: Money::from_units(units).unwrap(),
            currency: None,
            created_at: crate::model::UtcMicros::new(7).unwrap(),
        };
        let of = |entries: &[&[(&str, &str, i128)]]| {
            let mut distinct = DistinctRefunds::default();
            for entry in entries {
                distinct.push(entry.iter().map(|(id, sku, units)| row(id, sku, *units)).collect());
            }
            let repeated = distinct.repeated.iter().map(|repeated| (repeated.refund_id.clone(), repeated.repeats)).collect::<Vec<_>>();
            let rows = distinct
                .into_rows()
                .into_iter()
                .map(|row| format!("{}{}{}", row.refund_id, row.sku.unwrap_or_default(), row.amount.units()));
            (rows.collect::<Vec<_>>().join(" "), repeated)
        };
        let told = |repeats| vec![("r".to_owned(), repeats)];
        assert_eq!(of(&[&[("r", "-", 3)], &[("s", "-", 3)], &[("r", "-", 3)]]), ("r3 s3".into(), told(Repeats::Same)));
        assert_eq!(of(&[&[("r", "-", 3)], &[("r", "-", 4)]]), ("r4".into(), told(Repeats::Other)));
        assert_eq!(of(&[&[("r", "x", 3)], &[("r", "y", 4)]]), ("rx3 ry4".into(), vec![]));
        // A part is no repetition of the whole, and an entry may take the place of several.
        assert_eq!(of(&[&[("r", "x", 3), ("r", "y", 4)], &[("r", "x", 3)]]), ("rx3".into(), told(Repeats::Other)));
        assert_eq!(of(&[&[("r", "x", 3)], &[("r", "y", 4)], &[("r", "x", 1), ("r", "y", 1)]]).0, "rx1 ry1");
        assert_eq!(of(&[&[("r", "x", 3), ("r", "y", 4)], &[("r", "x", 5)], &[("r", "y", 4)]]).0, "rx5 ry4");
    }

    const WHOLE: &str = "list = 'refunds', refund_id = 'id', created_at = 'at', amount = { path = 'paid.*.amount', scale = 2 }, currency = 'currency', skip = [{ path = 'state', equals = 'failed' }]";

    #[test]
    fn a_refund_without_lines_is_one_row_and_what_can_not_be_read_is_malformed() {
        let record = r#"{"refunds":[
            {"id":1,"at":"2026-01-05","paid":[{"amount":150},{"amount":"50"}],"currency":"USD"},
            {"id":"2","at":1767225600,"paid":[{"amount":1}]},
            {"id":3,"at":"2026-01-05","paid":[{"amount":1}],"state":"failed"},
            {"id":4,"at":"soon","paid":[{"amount":1}]},
            {"at":"2026-01-05","paid":[{"amount":1}]},
            {"id":6,"at":"2026-01-05","paid":[{"amount":"n/a"}]},
            {"id":7,"at":"2026-01-05","paid":[]},
            8]}"#;
        let rows = ["north:1 - - 2.0000 USD, 0 unreadable", "north:2 - - 0.0100 EUR, 0 unreadable", "skipped"];
        let malformed = ["malformed north:4", "malformed ?", "malformed north:6", "malformed north:7", "malformed ?"];
        assert_eq!(read(WHOLE, record), rows.into_iter().chain(malformed).collect::<Vec<_>>());
        for record in [r#"{"refunds":null}"#, r#"{"refunds":{"id":1}}"#, "{}", r#"{"refunds":[]}"#] {
            assert_eq!(read(WHOLE, record), [""; 0], "{record}");
        }
    }

    #[test]
    fn the_rows_of_lines_add_up_to_the_whole() {
        let keys = "list = 'refunds', refund_id = 'id', created_at = 'at', amount = 'total', lines = { list = 'lines', sku = 'sku', quantity = 'n', amount = 'sum', by_line = { id = 'line', line = 'id' } }";
        let refund = |total: &str, lines: &str| format!(r#"{{"refunds":[{{"id":1,"at":"2026-01-05"{total},"lines":{lines}}}]}}"#);
        for (total, lines, expected) in [
            (
                r#","total":"12.50""#,
                r#"[{"line":7,"n":2,"sum":8},{"line":"7","n":"1","sum":"2.5"},{"sku":"x","sum":1}]"#,
                "north:1 - - 1.0000 EUR, north:1 seven 3.0000 10.5000 EUR, north:1 x - 1.0000 EUR, 0 unreadable",
            ),
            (r#","total":8"#, r#"[{"line":7,"n":2,"sum":8}]"#, "north:1 seven 2.0000 8.0000 EUR, 0 unreadable"),
            ("", r#"[{"line":7,"sum":8}]"#, "north:1 seven - 8.0000 EUR, 0 unreadable"),
            (r#","total":0"#, r#"[{"line":9,"n":1,"sum":8}]"#, "north:1 - 1.0000 0.0000 EUR, 1 unreadable"),
            (r#","total":5"#, "[]", "north:1 - - 5.0000 EUR, 0 unreadable"),
            (r#","total":5"#, "null", "north:1 - - 5.0000 EUR, 0 unreadable"),
            // Something else in place of the list is counted, and the money is in no line.
            (r#","total":5"#, r#"{"line":7,"sum":5}"#, "north:1 - - 5.0000 EUR, 1 unreadable"),
            ("", r#"{"line":7,"sum":5}"#, "malformed north:1"),
            ("", "[]", "malformed north:1"),
            // Of a line that can't be read, the money is in no line; without an amount of its own, nobody knows the whole.
            (r#","total":5"#, r#"[{"line":7}]"#, "north:1 - - 5.0000 EUR, 1 unreadable"),
            (
                r#","total":9"#,
                r#"[{"line":7,"sum":5},{"line":7,"sum":null}]"#,
                "north:1 - - 4.0000 EUR, north:1 seven - 5.0000 EUR, 1 unreadable",
            ),
            (r#","total":5"#, r#"[{"line":7,"n":"many","sum":5}]"#, "north:1 seven - 5.0000 EUR, 1 unreadable"),
            (r#","total":7"#, r#"[{"line":7,"n":1.23456,"sum":5},{"line":7,"n":1,"sum":2}]"#, "north:1 seven - 7.0000 EUR, 1 unreadable"),
            (r#","total":5"#, "[5]", "north:1 - - 5.0000 EUR, 1 unreadable"),
            (
                r#","total":9"#,
                r#"[null,{"line":7,"n":1,"sum":5}]"#,
                "north:1 - - 4.0000 EUR, north:1 seven 1.0000 5.0000 EUR, 1 unreadable",
            ),
            ("", r#"[{"line":7,"sum":5},{"line":7}]"#, "malformed north:1"),
            ("", r#"[{"line":7,"n":"many","sum":5}]"#, "north:1 seven - 5.0000 EUR, 1 unreadable"),
        ] {
            assert_eq!(read(keys, &refund(total, lines)), [expected], "{total} {lines}");
        }
    }

    #[test]
    fn lines_may_be_negative_and_name_their_line_in_a_list() {
        let keys = "request.path = '/o/{id}/refunds', refund_id = 'id', created_at = 'at', amount = 'amount', lines = { list = 'lines', sign = 'negative', quantity = 'n', amount = 'sum', by_line = { list = 'meta', when = { path = 'key', equals = 'line' }, id = 'value', line = 'id' } }";
        let refund = |lines: &str| format!(r#"{{"etl_refunds":[{{"id":1,"at":"2026-01-05","amount":"11.90","lines":{lines}}}]}}"#);
        for (lines, expected) in [
            (
                r#"[{"n":-2,"sum":"-10.00","meta":[{"key":"x","value":"9"},{"key":"line","value":"7"}]}]"#,
                "north:1 - - 1.9000 EUR, north:1 seven 2.0000 10.0000 EUR, 0 unreadable",
            ),
            (r#"[{"n":0,"sum":"-11.90","meta":[{"key":"line","value":"7"}]}]"#, "north:1 seven 0.0000 11.9000 EUR, 0 unreadable"),
            (r#"[{"n":-1,"sum":"-1","meta":[{"key":"line","value":"8"}]}]"#, "north:1 - 1.0000 11.9000 EUR, 1 unreadable"),
            // No list of ids has none; something else in its place is counted.
            (r#"[{"n":-1,"sum":"-1","meta":null}]"#, "north:1 - 1.0000 11.9000 EUR, 0 unreadable"),
            (r#"[{"n":-1,"sum":"-1","meta":{"key":"line","value":"7"}}]"#, "north:1 - 1.0000 11.9000 EUR, 1 unreadable"),
            (r#"[{"n":-1,"sum":"-1","meta":"7"}]"#, "north:1 - 1.0000 11.9000 EUR, 1 unreadable"),
        ] {
            assert_eq!(read(keys, &refund(lines)), [expected], "{lines}");
        }
    }

    #[test]
    fn a_record_announces_its_refunds_by_a_list_or_by_an_amount() {
        let announced = |value: &str| {
            let text =
                "[orders]\nrefunds = { request = { path = '/o/{id}', when = 'back' }, refund_id = 'id', created_at = 'at', amount = 'a' }";
            let profile = orders_profile(text).unwrap();
            let mut trie = PathTrie::default();
            let fields = RefundFields::compile(profile.refunds.as_ref().unwrap(), &mut trie);
            let maps = Maps { record: trie, ..Maps::default() };
            let mut captured = Captured::new(&maps);
            let record = format!(r#"{{"x":1{value}}}"#);
            assert!(captured.walk(&maps, record.as_bytes()));
            fields.announced(&captured.cells)
        };
        for (value, expected) in [
            (r#","back":[{"id":1},{"id":2}]"#, 2),
            (r#","back":[]"#, 0),
            (r#","back":"9.50""#, 1),
            (r#","back":-9.5"#, 1),
            (r#","back":"0.0000""#, 0),
            (r#","back":0"#, 0),
            (r#","back":true"#, 1),
            (r#","back":false"#, 0),
            (r#","back":null"#, 0),
            ("", 0),
        ] {
            assert_eq!(announced(value), expected, "{value}");
        }
    }

    #[test]
    fn payments_that_failed_give_nothing_back() {
        let keys = "list = 'refunds', refund_id = 'id', created_at = 'at', amount = { path = 'paid.*.amount', default = 0 }, skip_amounts = [{ path = 'state', one_of = ['failure', 'error'] }]";
        let refund = |paid: &str| format!(r#"{{"refunds":[{{"id":1,"at":"2026-01-05","paid":{paid}}}]}}"#);
        for (paid, amount) in [
            (r#"[{"state":"success","amount":"3.00"},{"state":"failure","amount":"3.00"}]"#, "3.0000"),
            (r#"[{"state":"error","amount":"5.00"},{"state":"success","amount":"5.00"},{"amount":1}]"#, "6.0000"),
            (r#"[{"state":"failure","amount":"5.00"}]"#, "0.0000"),
            ("[]", "0.0000"),
        ] {
            assert_eq!(read(keys, &refund(paid)), [format!("north:1 - - {amount} EUR, 0 unreadable")], "{paid}");
        }
    }

    #[test]
    fn a_list_may_lie_within_lists() {
        let keys = "list = 'charges.*.refunds.data', refund_id = 'id', created_at = 'at', amount = 'a'";
        let record = r#"{"charges":[{"refunds":{"data":[{"id":1,"at":"2026-01-05","a":1}]}},{"refunds":null},{},{"refunds":{"data":[{"id":2,"at":"2026-01-05","a":0.10}]}}]}"#;
        assert_eq!(read(keys, record), ["north:1 - - 1.0000 EUR, 0 unreadable", "north:2 - - 0.1000 EUR, 0 unreadable"]);
    }

    /// How many refunds a record lists, and how many values of another shape.
    fn listed(list: &str, record: &str) -> (usize, u64) {
        let keys = format!("list = '{list}', refund_id = 'id', created_at = 'at', amount = 'a'");
        let (fields, maps) = compiled(&keys);
        let mut captured = Captured::new(&maps);
        assert!(captured.walk(&maps, record.as_bytes()));
        let listed = fields.listed(&captured.cells);
        (listed.refunds.len(), listed.other_shapes)
    }

    #[test]
    fn what_stands_in_place_of_a_list_or_around_it_is_counted() {
        let wide = "charges.*.refunds.data";
        for (list, record, expected) in [
            ("refunds", r#"{"refunds":{"id":1}}"#, (0, 1)),
            ("refunds", r#"{"refunds":""}"#, (0, 1)),
            ("refunds", r#"{"refunds":null}"#, (0, 0)),
            ("refunds", "{}", (0, 0)),
            ("refunds.data", r#"{"refunds":{"data":[1,2]}}"#, (2, 0)),
            ("refunds.data", r#"{"refunds":{"data":{"0":1}}}"#, (0, 1)),
            ("refunds.data", r#"{"refunds":[{"id":1}]}"#, (0, 1)),
            ("refunds.data", r#"{"refunds":"re_1"}"#, (0, 1)),
            ("refunds.data", r#"{"refunds":[]}"#, (0, 0)),
            ("refunds.data", r#"{"refunds":null}"#, (0, 0)),
            ("refunds.data", r#"{"refunds":{}}"#, (0, 0)),
            (wide, r#"{"charges":{"data":[{"refunds":{"data":[1]}}]}}"#, (0, 1)),
            (wide, r#"{"charges":[{"refunds":{"data":[1]}},{"refunds":[2]},{"refunds":{"data":3}},"ch_4",null,{}]}"#, (1, 3)),
            (wide, r#"{"charges":null}"#, (0, 0)),
            (wide, r#"{"charges":[]}"#, (0, 0)),
            ("charges.0.refunds", r#"{"charges":[{"refunds":[1]},{"refunds":[2]}]}"#, (1, 0)),
            ("pages.*", r#"{"pages":[[1],[2,3],{"4":4}]}"#, (3, 1)),
        ] {
            assert_eq!(listed(list, record), expected, "{list} {record}");
        }
    }
}
