//! Where a field may stand in documents that nobody has described: by its name, and by what its values look like.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Evidence, Proposal};
use crate::model::{FieldPath, WILDCARD, counted, parse_money, parse_time_number, parse_time_rfc2822, parse_time_text, parse_whole};

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
            "placedat",
            "placedon",
            "purchasedate",
            "purchasedat",
            "date",
            "timestamp",
            "time",
            "datetime",
            "issued",
            "issuedat",
            "bookedat",
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

/// The value at a path; the first one, where it leads into every element of a list.
pub(super) fn at<'v>(document: &'v Value, path: &FieldPath) -> Option<&'v Value> {
    all_at(document, path).into_iter().next()
}

/// The values at a path, which may lead into every element of a list.
pub(super) fn all_at<'v>(document: &'v Value, path: &FieldPath) -> Vec<&'v Value> {
    path.steps().iter().fold(vec![document], |values, step| {
        let inner = values.into_iter().flat_map(|value| match value {
            Value::Object(object) => object.get(step).into_iter().collect::<Vec<_>>(),
            Value::Array(elements) if step == WILDCARD => elements.iter().collect(),
            Value::Array(elements) => step.parse::<usize>().ok().and_then(|place| elements.get(place)).into_iter().collect(),
            _ => Vec::new(),
        });
        inner.collect()
    })
}

pub(super) fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

/// The paths of some documents, with the values that stand there.
pub(super) struct Document<'v> {
    documents: usize,
    values: BTreeMap<FieldPath, Vec<&'v Value>>,
}

impl<'v> Document<'v> {
    pub(super) fn of(documents: &'v [Value]) -> Document<'v> {
        let mut values = BTreeMap::new();
        documents.iter().for_each(|document| collect(document, &FieldPath::root(), &mut values));
        Document { documents: documents.len(), values }
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
        let found = self
            .values
            .iter()
            .filter(|(path, values)| path.to_string() != used && values.len() * 2 >= self.documents && fits("sku", values).is_some());
        let (_, path, values) = found
            .filter_map(|(path, values)| {
                let steps: Vec<_> = path.steps().iter().map(|step| plain(step)).collect();
                let joined = steps.iter().rev().take(2).rev().cloned().collect::<String>();
                let rank = names.iter().position(|name| steps.last().is_some_and(|last| last == name) || joined == *name)?;
                Some((rank, path, values))
            })
            .min_by_key(|(rank, path, _)| (*rank, path.steps().len()))?;
        let is_id = plain(path.steps().last()?).ends_with("id");
        if is_id && distinct(values) <= distinct(used_values) {
            return None;
        }
        let because = format!(
            "{} on {}, where `{used}` has {}",
            counted(distinct(values) as u64, "value"),
            counted(values.len() as u64, "line"),
            distinct(used_values)
        );
        Some(Proposal { path: path.to_string(), because, more: None })
    }

    /// The likeliest path of a column, where any is likely.
    pub(super) fn propose(&self, column: &str) -> Option<Proposal> {
        let names = NAMES.iter().find(|(name, _)| *name == column)?.1;
        let mut best: Option<(u32, Proposal)> = None;
        for (path, values) in &self.values {
            let shown = path.to_string();
            if values.len() * 2 < self.documents {
                continue;
            }
            let Some((fits, more, looks)) = fits(column, values) else { continue };
            let Some(named) = name_score(path, names) else { continue };
            // Minor units can't be told from the values; from the name they can.
            let is_minor = column == "unit_price" && ["cent", "minor"].iter().any(|word| plain(&shown).contains(word));
            let more = if is_minor { Some("scale = 2".to_owned()) } else { more };
            // A name says more than a shape, and a value near the top more than one far below.
            let score = named * 10 + fits * 4 + u32::try_from(DEPTH.saturating_sub(path.steps().len())).unwrap_or(0);
            if best.as_ref().is_none_or(|(least, _)| score > *least) {
                best = Some((score, Proposal { because: format!("its name, and {looks}"), path: shown, more }));
            }
        }
        best.map(|(_, proposal)| proposal)
    }
}

fn collect<'v>(value: &'v Value, path: &FieldPath, into: &mut BTreeMap<FieldPath, Vec<&'v Value>>) {
    if let Value::Object(object) = value
        && path.steps().len() < DEPTH
    {
        for (key, inner) in object {
            collect(inner, &path.child(key), into);
        }
    } else if !value.is_null() && !path.steps().is_empty() {
        into.entry(path.clone()).or_default().push(value);
    }
}

/// How well a path is named for a field: the last step as a known name, or with the one before it.
fn name_score(path: &FieldPath, names: &[&str]) -> Option<u32> {
    let steps: Vec<_> = path.steps().iter().map(|step| plain(step)).collect();
    let last = steps.last()?;
    let joined = steps.iter().rev().take(2).rev().cloned().collect::<String>();
    let rank = |text: &str| names.iter().position(|name| *name == text);
    let whole = rank(last).into_iter().chain(rank(&joined)).min();
    let within = || names.iter().position(|name| name.len() > 3 && last.contains(name)).map(|rank| rank + names.len());
    let rank = whole.or_else(within)?;
    Some(u32::try_from((2 * names.len()).saturating_sub(rank)).unwrap_or(0))
}

/// Whether values can be those of a column: how well, what a profile must add, and what they look like.
fn fits(column: &str, values: &[&Value]) -> Option<(u32, Option<String>, String)> {
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
    match column {
        "lines" => {
            let objects = |value: &&Value| value.as_array().is_some_and(|array| array.iter().all(Value::is_object));
            values.iter().all(objects).then(|| (3, None, "it holds lists of objects".to_owned()))
        }
        "order_id" if is_id && distinct == texts.len() => Some((3, None, "its values are all different".to_owned())),
        "created_at" | "updated_at" => {
            let number =
                |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && text.len() >= 9 && parse_time_number(text).is_some();
            if all(&|text| parse_time_text(text).is_some() || number(text)) {
                Some((3, None, "its values are times".to_owned()))
            } else if all(&|text| parse_time_rfc2822(text).is_some()) {
                Some((3, Some("format = \"rfc2822\"".to_owned()), "its values are times as mail writes them".to_owned()))
            } else {
                None
            }
        }
        "currency" => all(&|text| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic()))
            .then(|| (3, None, "its values are codes of three letters".to_owned())),
        "quantity" => all(&|text| parse_whole(text.as_bytes()).is_some()).then(|| (2, None, "its values are whole numbers".to_owned())),
        "unit_price" => all(&|text| parse_money(text.as_bytes()).is_ok()).then(|| (2, None, "its values are amounts".to_owned())),
        "sku" | "user_id" | "product_id" => is_id.then(|| (2, None, "its values are ids".to_owned())),
        "status" => all(&|text| text.len() < 40 && text.parse::<f64>().is_err()).then(|| (1, None, "its values are words".to_owned())),
        _ => None,
    }
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
            test(&plain(path.steps().last()?), value).then(|| (path.to_string(), value.clone()))
        })
    };
    let is_url =
        |value: &Value| value.as_str().is_some_and(|text| text.starts_with("http") || text.starts_with('/') || text.starts_with('?'));
    if let Some((path, value)) = find(&|name, value| name.starts_with("next") && is_url(value)) {
        let known = ["next", "next_url", "links.next"].contains(&path.as_str());
        let toml = (!known).then(|| format!("{{ kind = \"next_url\", path = {} }}", super::quoted(&path)));
        return Some(Evidence { kind: "next_url".into(), because: format!("`{path}` of the body is a URL: {value}"), toml });
    }
    let names_cursor =
        |name: &str| name.contains("cursor") || name.contains("nexttoken") || name.contains("pagetoken") || name.contains("continuation");
    if let Some((path, value)) = find(&|name, value| names_cursor(name) && (value.is_string() || value.is_number())) {
        let known = ["next_cursor", "next_page_token"].contains(&path.as_str());
        let toml = (!known).then(|| format!("{{ kind = \"cursor\", path = {}, parameter = \"cursor\" }}", super::quoted(&path)));
        let because = format!("`{path}` of the body is a cursor: {value} (is the parameter that takes it back `cursor`?)");
        return Some(Evidence { kind: "cursor".into(), because, toml });
    }
    if let Some((path, _)) = find(&|name, value| name == "hasmore" && value.is_boolean()) {
        let toml = Some(format!("{{ kind = \"last_id\", parameter = \"starting_after\", more = {} }}", super::quoted(&path)));
        return Some(Evidence {
            kind: "last_id".into(),
            because: format!("`{path}` says whether there is more, and no cursor is named"),
            toml,
        });
    }
    if let Some((path, value)) = find(&|name, value| ["totalpages", "pages", "pagecount", "lastpage"].contains(&name) && value.is_u64()) {
        let toml = Some(format!("{{ kind = \"page\", size_parameter = \"per_page\", pages = {} }}", super::quoted(&path)));
        return Some(Evidence { kind: "page".into(), because: format!("`{path}` is the number of pages: {value}"), toml });
    }
    let total = find(&|name, value| ["total", "totalcount", "count", "totalrecords", "totalresults"].contains(&name) && value.is_u64());
    let offset = find(&|name, value| ["offset", "skip", "start"].contains(&name) && value.is_u64());
    match (total, offset) {
        (Some((total, value)), Some((offset, _))) => {
            let parameter = offset.rsplit('.').next().unwrap_or("offset");
            let toml = format!(
                "{{ kind = \"offset\", parameter = {}, size_parameter = \"limit\", total = {} }}",
                super::quoted(parameter),
                super::quoted(&total)
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

    #[test]
    fn fields_are_found_by_name_and_by_what_they_look_like() {
        let records = [
            json!({"OrderNumber": "N-1", "meta": {"placedAt": "2026-01-01T10:00:00Z"}, "buyer": {"id": 7}, "money": {"Currency-Code": "EUR"},
                   "positions": [{"articleNo": "a", "pieces": 2, "price_each": "1.50"}], "id": "same"}),
            json!({"OrderNumber": "N-2", "meta": {"placedAt": "2026-01-02T10:00:00Z"}, "buyer": {"id": 8}, "money": {"Currency-Code": "EUR"},
                   "positions": [{"articleNo": "b", "pieces": 1, "price_each": "2"}], "id": "same"}),
        ];
        let document = Document::of(&records);
        let path = |column: &str| document.propose(column).map(|proposal| proposal.path);
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
        let document = Document::of(&lines);
        let path = |column: &str| document.propose(column).map(|proposal| proposal.path);
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
