//! Where a field may stand in documents that nobody has described: by its name, and by what its values look like.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use serde_json::Value;

use super::{Evidence, Proposal};
use crate::{
    model::{
        FieldPath, MinorUnits, UtcMicros, counted, parse_money, parse_time_number, parse_time_rfc2822, parse_time_text, parse_whole,
        plain_name,
    },
    settings::toml_text,
    source::PageKind,
};

/// Objects within objects that are looked into.
const DEPTH: usize = 5;

/// What a field may be called, the likeliest first; compared without case, spaces and punctuation.
const NAMES: [(&str, &[&str]); 11] = [
    (
        "order_id",
        &["orderid", "ordernumber", "orderno", "ordernr", "id", "number", "no", "uuid", "guid", "reference", "ref", "code", "key"],
    ),
    (
        "created_at",
        &[
            "createdat",
            "created",
            "createdon",
            "datecreated",
            "creationdate",
            "createdtime",
            "orderdate",
            "orderedat",
            "orderedon",
            "ordered",
            "placedat",
            "placedon",
            "placed",
            "purchasedate",
            "purchasedat",
            "purchased",
            "issued",
            "issuedat",
            "bookedat",
            "booked",
            "date",
            "timestamp",
            "time",
            "datetime",
        ],
    ),
    (
        "updated_at",
        &[
            "updatedat",
            "updated",
            "updatedon",
            "dateupdated",
            "modified",
            "modifiedat",
            "datemodified",
            "lastmodified",
            "lastupdated",
            "changedat",
        ],
    ),
    ("user_id", &["userid", "customerid", "clientid", "buyerid", "accountid", "memberid", "customer", "buyer", "customernumber", "email"]),
    ("status", &["status", "state", "orderstatus", "financialstatus", "stage"]),
    ("currency", &["currency", "currencycode", "cur", "curr", "isocurrency"]),
    (
        "lines",
        &["lines", "lineitems", "items", "orderlines", "orderitems", "positions", "products", "articles", "entries", "rows", "details"],
    ),
    (
        "sku",
        &[
            "sku",
            "articlenumber",
            "articleno",
            "itemcode",
            "productcode",
            "article",
            "item",
            "code",
            "productid",
            "variantid",
            "itemid",
            "id",
        ],
    ),
    ("product_id", &["productid", "product", "itemid", "articleid"]),
    ("quantity", &["quantity", "qty", "count", "units", "pieces", "amount", "number"]),
    (
        "unit_price",
        &[
            "unitprice",
            "price",
            "priceeach",
            "unitcost",
            "unitamount",
            "pricecents",
            "unitpricecents",
            "priceminor",
            "rate",
            "cost",
            "amount",
            "value",
        ],
    ),
];

/// What the time of a later event is called. It is none of the creation.
const LATER: [&str; 19] = [
    "updat", "modif", "chang", "cancel", "ship", "deliver", "paid", "payment", "clos", "process", "expir", "due", "birth", "refund",
    "delet", "complet", "fulfil", "return", "sync",
];

/// The value at a path.
pub(super) fn at<'v>(document: &'v Value, path: &FieldPath) -> Option<&'v Value> {
    path.steps().iter().try_fold(document, |value, step| match value {
        Value::Object(object) => object.get(step),
        Value::Array(elements) => elements.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Whether a value is there and holds something.
pub(super) fn is_filled(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.trim().is_empty(),
        _ => true,
    }
}

/// What is known when a path is proposed.
#[derive(Clone, Copy)]
pub(super) struct Known<'k> {
    /// What the documents are of.
    pub(super) kind: PageKind,
    /// Paths that serve another column already.
    pub(super) taken: &'k BTreeSet<FieldPath>,
    /// The currencies of the records.
    pub(super) currencies: &'k BTreeSet<String>,
}

/// The paths of some documents, with the values that stand there.
pub(super) struct Document<'v> {
    documents: &'v [Value],
    values: BTreeMap<FieldPath, Vec<&'v Value>>,
}

impl<'v> Document<'v> {
    pub(super) fn of(documents: &'v [Value]) -> Document<'v> {
        let mut values = BTreeMap::new();
        documents.iter().for_each(|document| collect(document, &FieldPath::root(), &mut values));
        Document { documents, values }
    }

    /// The paths that have values.
    pub(super) fn paths(&self) -> impl Iterator<Item = &FieldPath> {
        self.values.keys()
    }

    /// A finer sku than the path by which lines get theirs: one of its own, or the id of a variant.
    pub(super) fn finer_sku(&self, used: &str) -> Option<Proposal> {
        let names = ["sku", "variantsku", "variantid"];
        let used_values = self.values.iter().find(|(path, _)| path.to_string() == used)?.1;
        let distinct = |values: &[&Value]| values.iter().map(|value| value.to_string()).collect::<BTreeSet<_>>().len();
        let found = self.values.iter().filter(|(path, values)| {
            path.to_string() != used && values.len() * 2 >= self.documents.len() && fits("sku", values, PageKind::Document).is_some()
        });
        let (_, path, values) = found
            .filter_map(|(path, values)| {
                let steps: Vec<_> = path.steps().iter().map(|step| plain_name(step)).collect();
                let joined = steps.iter().rev().take(2).rev().cloned().collect::<String>();
                let rank = names.iter().position(|name| steps.last().is_some_and(|last| last == name) || joined == *name)?;
                Some((rank, path, values))
            })
            .min_by_key(|(rank, path, _)| (*rank, path.steps().len()))?;
        let is_id = plain_name(path.steps().last()?).ends_with("id");
        if is_id && distinct(values) <= distinct(used_values) {
            return None;
        }
        let because = format!(
            "{} on {}, where `{used}` has {}",
            counted(distinct(values) as u64, "value"),
            counted(values.len() as u64, "line"),
            distinct(used_values)
        );
        Some(Proposal { path: path.to_string(), because, more: None, others: Vec::new() })
    }

    /// The likeliest path of a column, where any is likely.
    pub(super) fn propose(&self, column: &str, known: &Known<'_>) -> Option<Proposal> {
        let best = self.candidates(column, known).into_iter().max_by_key(|candidate| candidate.score);
        match best {
            Some(candidate) => Some(self.proposal(column, known, &candidate)),
            None if column == "created_at" => self.earliest(known),
            None => None,
        }
    }

    fn candidates<'d>(&'d self, column: &str, known: &Known<'_>) -> Vec<Candidate<'d>> {
        let Some((_, names)) = NAMES.iter().find(|(name, _)| *name == column) else { return Vec::new() };
        let candidate = |(path, values): (&'d FieldPath, &'d Vec<&'v Value>)| {
            if known.taken.contains(path) || !self.is_often(values.len(), known.kind) || (column == "created_at" && is_later(path)) {
                return None;
            }
            let Fit { score: fits, more, looks } = fits(column, values, known.kind)?;
            let is_named = |name: &str| path.steps().last().is_some_and(|step| plain_name(step) == name);
            let named = match name_score(path, names) {
                // Everything has an id: any other name of a sku is likelier.
                Some(_) if column == "sku" && is_named("id") => Some(1),
                // Of the lines, the list may stand in an object of this name.
                None if column == "lines" => name_score(&parent(path), names).map(|score| score.saturating_sub(1)),
                // Exports of shops call the number of an order its name.
                None if column == "order_id" && known.kind == PageKind::Table && is_named("name") => Some(1),
                score => score,
            }?;
            // In a table, an id that each row has is likelier than one of the first row alone.
            let in_all = u32::from(column == "order_id" && known.kind == PageKind::Table && values.len() == self.documents.len());
            // A name says more than a shape, and a value near the top more than one far below.
            let depth = u32::try_from(DEPTH.saturating_sub(path.steps().len())).unwrap_or(0);
            Some(Candidate { path, more, looks, score: (in_all, named * 10 + fits * 4 + depth, Reverse((path.to_string().len(), path))) })
        };
        self.values.iter().filter_map(candidate).collect()
    }

    /// Whether enough of the documents have a value. In a table, the columns of an order may stand in its first row alone.
    fn is_often(&self, values: usize, kind: PageKind) -> bool {
        let one_of = if kind == PageKind::Table { 20 } else { 2 };
        values * one_of >= self.documents.len()
    }

    fn proposal(&self, column: &str, known: &Known<'_>, candidate: &Candidate<'_>) -> Proposal {
        let Candidate { path, more, looks, .. } = candidate;
        // Minor units can't be told from the values; from the name they can.
        let minor = (column == "unit_price" && is_minor(path)).then(|| format!("scale = {}", minor_scale(known.currencies)));
        let others = if column == "sku" { self.other_skus(known, path) } else { Vec::new() };
        let because = format!("its name, and {looks}");
        Proposal { path: path.to_string(), because, more: minor.or_else(|| more.clone()), others }
    }

    /// Another path of a sku, for documents that have none at this one.
    fn other_skus(&self, known: &Known<'_>, path: &FieldPath) -> Vec<String> {
        const ENDS: [&str; 7] = ["sku", "code", "id", "number", "no", "name", "title"];
        let is_named = |path: &FieldPath| path.steps().last().is_some_and(|step| ENDS.iter().any(|end| plain_name(step).ends_with(end)));
        let is_there = |document: &Value, path: &FieldPath| at(document, path).is_some_and(is_filled);
        let without: Vec<&Value> = self.documents.iter().filter(|document| !is_there(document, path)).collect();
        if without.is_empty() {
            return Vec::new();
        }
        let serves = |other: &FieldPath| other != path && is_named(other) && without.iter().all(|document| is_there(document, other));
        let others = self.candidates("sku", known).into_iter().filter(|candidate| serves(candidate.path));
        others.max_by_key(|candidate| candidate.score).map(|candidate| candidate.path.to_string()).into_iter().collect()
    }

    /// The time that comes first, where no name says which one it is.
    fn earliest(&self, known: &Known<'_>) -> Option<Proposal> {
        let first = |values: &Vec<&Value>| -> Option<UtcMicros> {
            let times: Option<Vec<_>> = values.iter().map(|value| parse_time_text(value.as_str()?)).collect();
            times?.first().copied()
        };
        let often = self
            .values
            .iter()
            .filter(|(path, values)| !known.taken.contains(*path) && !is_later(path) && self.is_often(values.len(), known.kind));
        let (path, _) = often.filter_map(|(path, values)| Some((path, first(values)?))).min_by_key(|(path, time)| (*time, *path))?;
        let because = "its values are times, and no other is earlier".to_owned();
        Some(Proposal { path: path.to_string(), because, more: None, others: Vec::new() })
    }

    /// Whether each document is a line itself: it has a sku and a price, by names that are of nothing else.
    pub(super) fn is_of_lines(&self, known: &Known<'_>) -> bool {
        const SKUS: [&str; 8] = ["sku", "articlenumber", "articleno", "itemcode", "productcode", "productid", "variantid", "itemid"];
        const PRICES: [&str; 6] = ["unitprice", "price", "priceeach", "unitamount", "pricecents", "unitpricecents"];
        let has = |column: &str, names: &[&str]| {
            let is_named =
                |path: &FieldPath| path.steps().len() == 1 && path.steps().iter().any(|step| names.contains(&plain_name(step).as_str()));
            self.candidates(column, known).iter().any(|candidate| is_named(candidate.path))
        };
        has("sku", &SKUS) && has("unit_price", &PRICES)
    }
}

/// A path that may be of a column.
struct Candidate<'d> {
    path: &'d FieldPath,
    more: Option<String>,
    looks: &'static str,
    /// The greatest is the likeliest; of equals, the shortest path is.
    score: (u32, u32, Reverse<(usize, &'d FieldPath)>),
}

/// How well values are those of a column.
struct Fit {
    score: u32,
    /// What a profile must say besides the path.
    more: Option<String>,
    looks: &'static str,
}

fn parent(path: &FieldPath) -> FieldPath {
    let steps = path.steps().split_last().map_or(&[][..], |(_, parents)| parents);
    FieldPath::of_steps(steps)
}

fn is_later(path: &FieldPath) -> bool {
    path.steps().last().is_some_and(|step| LATER.iter().any(|word| plain_name(step).contains(word)))
}

/// Whether a name says that the amount is in minor units.
pub(super) fn is_minor(path: &FieldPath) -> bool {
    let shown = plain_name(&path.to_string());
    // A percentage is no amount.
    ["cent", "minor"].iter().any(|word| shown.contains(word)) && !shown.contains("percent")
}

/// The scale of minor units: two decimals, or those of the currency where one of them has others.
fn minor_scale(currencies: &BTreeSet<String>) -> &'static str {
    let has_two = |currency: &String| MinorUnits::Iso4217.decimals(currency).is_none_or(|decimals| decimals == 2);
    if currencies.iter().all(has_two) { "2" } else { "\"currency\"" }
}

/// The path of an object that is the only line of a record where others have a list, by the likeliest name. `tried` are paths that may
/// have lists.
pub(super) fn line_object(records: &[Value], tried: &[FieldPath]) -> Option<Proposal> {
    let names = NAMES.iter().find(|(name, _)| *name == "lines")?.1;
    let mut found: BTreeMap<FieldPath, usize> = BTreeMap::new();
    for record in records {
        objects(record, &FieldPath::root(), &mut |path: FieldPath, object: &serde_json::Map<String, Value>| {
            if is_line(object) && (tried.contains(&path) || name_score(&path, names).is_some()) {
                *found.entry(path).or_default() += 1;
            }
        });
    }
    let best = found.iter().max_by_key(|(path, count)| (**count, name_score(path, names)))?;
    let because = format!("an object that looks like a line stands there in {} of {}", best.1, counted(records.len() as u64, "record"));
    Some(Proposal { path: best.0.to_string(), because, more: Some("object = \"line\"".to_owned()), others: Vec::new() })
}

/// Calls `each` with every object within a value, and its path.
fn objects(value: &Value, path: &FieldPath, each: &mut impl FnMut(FieldPath, &serde_json::Map<String, Value>)) {
    let Value::Object(object) = value else { return };
    for (key, inner) in object.iter().filter(|_| path.steps().len() < DEPTH) {
        let path = path.child(key);
        if let Value::Object(object) = inner {
            each(path.clone(), object);
        }
        objects(inner, &path, each);
    }
}

/// Whether an object has what a line has.
fn is_line(object: &serde_json::Map<String, Value>) -> bool {
    let has = |column: &str, without: &str| {
        let names = NAMES.iter().find(|(name, _)| *name == column).map_or(&[][..], |(_, names)| *names);
        let is_named = |key: &String| plain_name(key) != without && names.contains(&plain_name(key).as_str());
        object.iter().any(|(key, value)| is_named(key) && matches!(value, Value::String(_) | Value::Number(_)))
    };
    has("sku", "id") || has("unit_price", "") && has("quantity", "")
}

fn collect<'v>(value: &'v Value, path: &FieldPath, into: &mut BTreeMap<FieldPath, Vec<&'v Value>>) {
    if let Value::Object(object) = value
        && path.steps().len() < DEPTH
    {
        for (key, inner) in object {
            collect(inner, &path.child(key), into);
        }
    } else if is_filled(value) && !path.steps().is_empty() {
        into.entry(path.clone()).or_default().push(value);
    }
}

/// How well a path is named for a field: the last step as a known name, or with the one before it.
fn name_score(path: &FieldPath, names: &[&str]) -> Option<u32> {
    let steps: Vec<_> = path.steps().iter().map(|step| plain_name(step)).collect();
    let last = steps.last()?;
    let joined = steps.iter().rev().take(2).rev().cloned().collect::<String>();
    let rank = |text: &str| names.iter().position(|name| *name == text);
    let whole = rank(last).into_iter().chain(rank(&joined)).min();
    let within = || {
        let is_part = |name: &&str| (name.len() > 3 && last.contains(*name)) || (name.len() == 3 && last.ends_with(*name));
        names.iter().position(is_part).map(|rank| rank + names.len())
    };
    let rank = whole.or_else(within)?;
    Some(u32::try_from((2 * names.len()).saturating_sub(rank)).unwrap_or(0))
}

/// Whether values can be those of a column, and how well.
fn fits(column: &str, values: &[&Value], kind: PageKind) -> Option<Fit> {
    let texts: Vec<String> = values
        .iter()
        .filter_map(|value| match value {
            Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
        .collect();
    let all = |test: &dyn Fn(&str) -> bool| !texts.is_empty() && texts.len() == values.len() && texts.iter().all(|text| test(text));
    let distinct = texts.iter().collect::<BTreeSet<_>>().len();
    let is_id = all(&|text| !text.contains('.') || text.parse::<f64>().is_err());
    let fit = |score: u32, looks: &'static str| Some(Fit { score, more: None, looks });
    match column {
        "lines" => {
            let objects = |value: &&Value| value.as_array().is_some_and(|array| array.iter().all(Value::is_object));
            let has_any = values.iter().any(|value| value.as_array().is_some_and(|array| !array.is_empty()));
            if has_any && values.iter().all(objects) { fit(3, "it holds lists of objects") } else { None }
        }
        "order_id" if is_id && distinct == texts.len() => fit(3, "its values are all different"),
        "order_id" if is_id && kind == PageKind::Table && stand_together(&texts) => fit(3, "rows with the same value stand together"),
        "created_at" | "updated_at" => {
            let number =
                |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && text.len() >= 9 && parse_time_number(text).is_some();
            if all(&|text| parse_time_text(text).is_some() || number(text)) {
                fit(3, "its values are times")
            } else if all(&|text| parse_time_rfc2822(text).is_some()) {
                Some(Fit { score: 3, more: Some("format = \"rfc2822\"".to_owned()), looks: "its values are times as mail writes them" })
            } else {
                None
            }
        }
        "currency" if all(&|text| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic())) => {
            fit(3, "its values are codes of three letters")
        }
        "quantity" if all(&|text| parse_whole(text.as_bytes()).is_some()) => fit(2, "its values are whole numbers"),
        "quantity" if all(&|text| parse_money(text.as_bytes()).is_ok()) => fit(1, "its values are numbers"),
        "unit_price" if all(&|text| parse_money(text.as_bytes()).is_ok()) => fit(2, "its values are amounts"),
        "sku" | "user_id" | "product_id" if is_id => fit(2, "its values are ids"),
        "status" if all(&|text| text.len() < 40 && text.parse::<f64>().is_err()) => fit(1, "its values are words"),
        _ => None,
    }
}

/// Whether equal values follow each other, as the ids of orders do where a row is a line.
fn stand_together(texts: &[String]) -> bool {
    let mut runs: Vec<&String> = texts.iter().collect();
    runs.dedup();
    runs.iter().collect::<BTreeSet<_>>().len() == runs.len()
}

/// The list in a body that is likeliest to be of records: of objects, and the longest.
pub(super) fn list_of_records(body: &Value) -> Option<String> {
    fn lists(value: &Value, path: &FieldPath, into: &mut Vec<(usize, usize, FieldPath)>) {
        match value {
            Value::Array(elements) if !elements.is_empty() && elements.iter().all(Value::is_object) => {
                into.push((elements.len(), DEPTH.saturating_sub(path.steps().len()), path.clone()));
            }
            Value::Object(object) if path.steps().len() < DEPTH => {
                object.iter().for_each(|(key, inner)| lists(inner, &path.child(key), into));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    lists(body, &FieldPath::root(), &mut found);
    found.into_iter().filter(|(.., path)| !path.steps().is_empty()).max().map(|(.., path)| path.to_string())
}

/// The pagination that a body speaks of outside of its records.
pub(super) fn pagination(body: &Value, records_at: Option<&str>) -> Option<Evidence> {
    let mut values = BTreeMap::new();
    let outside = |body: &Value| -> Value {
        let Value::Object(object) = body else { return Value::Null };
        let records = records_at.unwrap_or_default().trim_matches('`').split('.').next().unwrap_or_default();
        Value::Object(
            object
                .iter()
                .filter(|(key, value)| key.as_str() != records || value.is_object())
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        )
    };
    let outside = outside(body);
    collect(&outside, &FieldPath::root(), &mut values);
    let find = |test: &dyn Fn(&str, &Value) -> bool| {
        values.iter().find_map(|(path, found)| {
            let value = *found.first()?;
            test(&plain_name(path.steps().last()?), value).then(|| (path.to_string(), value.clone()))
        })
    };
    let is_url =
        |value: &Value| value.as_str().is_some_and(|text| text.starts_with("http") || text.starts_with('/') || text.starts_with('?'));
    if let Some((path, value)) = find(&|name, value| name.starts_with("next") && is_url(value)) {
        let known = ["next", "next_url", "links.next"].contains(&path.as_str());
        let toml = (!known).then(|| format!("{{ kind = \"next_url\", path = {} }}", toml_text(&path)));
        return Some(Evidence { kind: "next_url".into(), because: format!("`{path}` of the body is a URL: {value}"), toml });
    }
    let names_cursor =
        |name: &str| name.contains("cursor") || name.contains("nexttoken") || name.contains("pagetoken") || name.contains("continuation");
    if let Some((path, value)) = find(&|name, value| names_cursor(name) && (value.is_string() || value.is_number())) {
        let known = ["next_cursor", "next_page_token"].contains(&path.as_str());
        let toml = (!known).then(|| format!("{{ kind = \"cursor\", path = {}, parameter = \"cursor\" }}", toml_text(&path)));
        let because = format!("`{path}` of the body is a cursor: {value} (is the parameter that takes it back `cursor`?)");
        return Some(Evidence { kind: "cursor".into(), because, toml });
    }
    if let Some((path, _)) = find(&|name, value| name == "hasmore" && value.is_boolean()) {
        let toml = Some(format!("{{ kind = \"last_id\", parameter = \"starting_after\", more = {} }}", toml_text(&path)));
        return Some(Evidence {
            kind: "last_id".into(),
            because: format!("`{path}` says whether there is more, and no cursor is named"),
            toml,
        });
    }
    if let Some((path, value)) = find(&|name, value| ["totalpages", "pages", "pagecount", "lastpage"].contains(&name) && value.is_u64()) {
        let toml = Some(format!("{{ kind = \"page\", size_parameter = \"per_page\", pages = {} }}", toml_text(&path)));
        return Some(Evidence { kind: "page".into(), because: format!("`{path}` is the number of pages: {value}"), toml });
    }
    let total = find(&|name, value| ["total", "totalcount", "count", "totalrecords", "totalresults"].contains(&name) && value.is_u64());
    let offset = find(&|name, value| ["offset", "skip", "start"].contains(&name) && value.is_u64());
    match (total, offset) {
        (Some((total, value)), Some((offset, _))) => {
            let parameter = offset.rsplit('.').next().unwrap_or("offset");
            let toml = format!(
                "{{ kind = \"offset\", parameter = {}, size_parameter = \"limit\", total = {} }}",
                toml_text(parameter),
                toml_text(&total)
            );
            Some(Evidence {
                kind: "offset".into(),
                because: format!("`{offset}` says how many records were passed over, and `{total}` how many there are: {value}"),
                toml: Some(toml),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn proposed(documents: &[Value], column: &str, kind: PageKind) -> Option<Proposal> {
        let known = Known { kind, taken: &BTreeSet::new(), currencies: &BTreeSet::new() };
        Document::of(documents).propose(column, &known)
    }

    #[test]
    fn the_time_of_creation_is_told_from_later_ones() {
        let path = |record: Value| proposed(&[record], "created_at", PageKind::Document).map(|proposal| proposal.path);
        assert_eq!(path(json!({"updated": "2026-01-02", "ordered": "2026-01-01"})).as_deref(), Some("ordered"));
        assert_eq!(path(json!({"update_date": "2026-01-02", "date": "2026-01-03"})).as_deref(), Some("date"));
        let unnamed = json!({"b_day": "2026-01-02", "a_day": "2026-01-03", "shipped": "2026-01-01", "n": 1_769_850_000});
        assert_eq!(path(unnamed).as_deref(), Some("b_day"));
        assert_eq!(path(json!({"updated": "2026-01-02"})), None);
    }

    #[test]
    fn a_path_serves_one_column() {
        let records = [json!({"date": "2026-01-01", "email": "a@b.example"})];
        let taken = BTreeSet::from(["date".parse().unwrap(), "email".parse().unwrap()]);
        let known = Known { kind: PageKind::Document, taken: &taken, currencies: &BTreeSet::new() };
        for column in ["created_at", "updated_at", "user_id"] {
            assert_eq!(Document::of(&records).propose(column, &known), None, "{column}");
        }
    }

    #[test]
    fn in_a_table_an_id_repeats_over_the_rows_of_its_order() {
        let rows = [json!({"Name": "#1", "Id": "7"}), json!({"Name": "#1", "Id": null}), json!({"Name": "#2", "Id": "8"})];
        let path = |rows: &[Value], kind| proposed(rows, "order_id", kind).map(|proposal| proposal.path);
        assert_eq!(path(&rows, PageKind::Table).as_deref(), Some("Name"), "each row has it");
        let apart = [json!({"Number": "1"}), json!({"Number": "2"}), json!({"Number": "1"})];
        assert_eq!(path(&apart, PageKind::Table), None);
        assert_eq!(path(&apart[..2], PageKind::Document).as_deref(), Some("Number"));
    }

    #[test]
    fn minor_units_have_the_scale_of_their_currencies() {
        let lines = [json!({"price_cents": 1250})];
        let scale = |currencies: &[&str]| {
            let currencies = currencies.iter().map(|currency| (*currency).to_owned()).collect();
            let known = Known { kind: PageKind::Document, taken: &BTreeSet::new(), currencies: &currencies };
            Document::of(&lines).propose("unit_price", &known).unwrap().more.unwrap()
        };
        assert_eq!((scale(&[]), scale(&["EUR", "usd"])), ("scale = 2".into(), "scale = 2".into()));
        assert_eq!((scale(&["EUR", "JPY"]), scale(&["KWD"])), ("scale = \"currency\"".into(), "scale = \"currency\"".into()));
    }

    #[test]
    fn a_sku_has_another_path_for_lines_without_it() {
        let lines = [json!({"Lineitem sku": "a", "Lineitem name": "A", "Id": 7}), json!({"Lineitem sku": " ", "Lineitem name": "B"})];
        let proposal = proposed(&lines, "sku", PageKind::Table).unwrap();
        assert_eq!((proposal.path.as_str(), proposal.others), ("Lineitem sku", vec!["Lineitem name".to_owned()]));
        assert_eq!(proposed(&lines[..1], "sku", PageKind::Table).unwrap().others, [""; 0]);
    }

    #[test]
    fn lines_may_be_an_object_or_the_record_itself() {
        let object = |record: Value| line_object(&[record], &["x.y".parse().unwrap()]).map(|proposal| proposal.path);
        assert_eq!(object(json!({"items": {"sku": "a", "price": 1}})).as_deref(), Some("items"));
        assert_eq!(object(json!({"x": {"y": {"price": 1, "qty": 2}}})).as_deref(), Some("x.y"));
        assert_eq!(object(json!({"items": {"data": [{"sku": "a"}]}, "customer": {"sku": "a", "price": 1}})), None);
        let path = |record: Value| proposed(&[record], "lines", PageKind::Document).map(|proposal| proposal.path);
        assert_eq!(path(json!({"items": {"data": [{"sku": "a"}]}})).as_deref(), Some("items.data"));
        assert_eq!(path(json!({"items": []})), None);
        let is_of_lines = |record: Value| {
            let known = Known { kind: PageKind::Document, taken: &BTreeSet::new(), currencies: &BTreeSet::new() };
            Document::of(&[record]).is_of_lines(&known)
        };
        assert!(is_of_lines(json!({"order_id": 1, "sku": "a", "price": 3})));
        assert!(!is_of_lines(json!({"id": 1, "country_code": "DE", "total_price": 3})), "an order without its lines");
    }

    #[test]
    fn fields_are_found_by_name_and_by_what_they_look_like() {
        let records = [
            json!({"OrderNumber": "N-1", "meta": {"placedAt": "2026-01-01T10:00:00Z"}, "buyer": {"id": 7}, "money": {"Currency-Code": "EUR"},
                   "positions": [{"articleNo": "a", "pieces": 2, "price_each": "1.50"}], "id": "same"}),
            json!({"OrderNumber": "N-2", "meta": {"placedAt": "2026-01-02T10:00:00Z"}, "buyer": {"id": 8}, "money": {"Currency-Code": "EUR"},
                   "positions": [{"articleNo": "b", "pieces": 1, "price_each": "2"}], "id": "same"}),
        ];
        let path = |column: &str| proposed(&records, column, PageKind::Document).map(|proposal| proposal.path);
        for (column, expected) in [
            ("order_id", "OrderNumber"),
            ("created_at", "meta.placedAt"),
            ("user_id", "buyer.id"),
            ("currency", "money.Currency-Code"),
            ("lines", "positions"),
        ] {
            assert_eq!(path(column).as_deref(), Some(expected), "{column}");
        }
        assert_eq!(path("updated_at"), None);
        let lines: Vec<_> = records.iter().flat_map(|record| record["positions"].as_array().unwrap().clone()).collect();
        let path = |column: &str| proposed(&lines, column, PageKind::Document).map(|proposal| proposal.path);
        assert_eq!(
            (path("sku"), path("quantity"), path("unit_price")),
            (Some("articleNo".into()), Some("pieces".into()), Some("price_each".into()))
        );
    }

    #[test]
    fn records_and_pages_are_found_in_any_envelope() {
        let body = json!({"result": {"page": {"nextCursor": "abc"}, "rows": [{"a": 1}, {"a": 2}], "facets": [{"b": 1}]}});
        assert_eq!(list_of_records(&body).as_deref(), Some("result.rows"));
        let found = pagination(&body, Some("result.rows")).unwrap();
        assert_eq!(
            (found.kind.as_str(), found.toml.as_deref()),
            ("cursor", Some(r#"{ kind = "cursor", path = "result.page.nextCursor", parameter = "cursor" }"#))
        );
        let kind = |body: Value| pagination(&body, Some("data")).map(|found| found.kind);
        assert_eq!(kind(json!({"data": [], "paging": {"next": "https://h/o?x"}})).as_deref(), Some("next_url"));
        assert_eq!(kind(json!({"data": [], "has_more": true})).as_deref(), Some("last_id"));
        assert_eq!(kind(json!({"data": [], "meta": {"total_pages": 3}})).as_deref(), Some("page"));
        assert_eq!(kind(json!({"data": [], "total": 30, "skip": 0})).as_deref(), Some("offset"));
        assert_eq!(kind(json!({"data": []})), None);
        assert_eq!(kind(json!([1])), None);
    }
}
