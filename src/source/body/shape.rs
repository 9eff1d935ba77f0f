//! The paths that a source needs to know of a record: its id, to compare and count pages, and the fields that show whether a
//! body is itself a record. `normalize` interprets the fields.

use std::{borrow::Cow, fmt};

use memchr::memmem;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{Envelope, List, Node, cut::is_cut, lone_error, lone_message, reported_error};
use crate::model::{FieldPath, is_same_value, whole_number_text};

/// The seed of the hash of a record without an id, so that it differs from the hash of every id.
const WITHOUT_ID: u64 = 1;

/// The paths of a record's id, creation time and lines.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RecordShape {
    /// Paths of the id, tried in order.
    pub id: Vec<FieldPath>,
    /// Values of the id that count as missing, besides null and blank text.
    pub missing_ids: Vec<String>,
    /// Paths of the creation time. If there is none, a body is never itself a record.
    pub created_at: Vec<FieldPath>,
    /// Values of the creation time that count as missing.
    pub missing_times: Vec<String>,
    /// Paths of the currency. In a table, the rows of an order must have one currency.
    pub currency: Vec<FieldPath>,
    /// Paths of the lines.
    pub lines: Vec<FieldPath>,
    /// Paths that lines have and records do not.
    pub of_line: Vec<FieldPath>,
    /// The names that the paths of orders and of their lines begin with: those of the columns of a table.
    pub columns: Vec<String>,
    /// The fields of an order that are read from paths: what each counts as missing.
    pub readings: Vec<PathReading>,
    /// Where a line has its sku, in the order in which the paths are tried.
    pub sku: Vec<PathReading>,
    /// Which elements of a list are errors.
    pub errors: ErrorElements,
}

/// Which elements of a list are errors in place of records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ErrorElements {
    /// Those that report one, beside whatever else, and have no id.
    #[default]
    WithoutId,
    /// Those that have nothing but an error: where an element may have no id that is known, such as a line or a refund.
    Lone,
}

/// A path that a field of an order or of a line reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathReading {
    /// The path.
    pub path: FieldPath,
    /// Values that count as missing to the field, besides null and blank text.
    pub missing: Vec<String>,
}

impl RecordShape {
    /// The identity of a record: a hash of its id, or of all its bytes if it has none that counts.
    pub(in crate::source) fn identity(&self, record: &[u8]) -> u64 {
        self.hash_of_id(record).unwrap_or_else(|| xxh3_64_with_seed(record, WITHOUT_ID))
    }

    /// A hash of the id of a record, if it has one that counts.
    pub(in crate::source) fn hash_of_id(&self, record: &[u8]) -> Option<u64> {
        // A key whose letters do not occur in the record can't be in it.
        let may_be_there = |path: &FieldPath| path.steps().first().is_some_and(|step| memmem::find(record, step.as_bytes()).is_some());
        let first_place = self.id.iter().position(may_be_there).unwrap_or(0);
        let mut found = Found { shape: self, first_place, values: vec![None; self.id.len()] };
        // Ends early, by an error, once the first path that may be there has a value. Of an id that stands twice the first value
        // serves: records are only compared by it, and reading every record to its end costs a sixth of the extraction.
        let _ = serde::Deserializer::deserialize_map(&mut serde_json::Deserializer::from_slice(record), &mut found);
        let id = found.values.iter().zip(&self.id).find_map(|(value, path)| self.id_at((*value)?, path));
        id.map(|id| xxh3_64(id.as_bytes()))
    }

    /// The id at a path, if there is one and it does not count as missing.
    fn id_at<'a>(&self, value: &'a RawValue, path: &FieldPath) -> Option<Cow<'a, str>> {
        id_text(value, path).filter(|id| !self.is_missing_id(id))
    }

    /// Whether a text of an id counts as missing.
    pub(in crate::source) fn is_missing_id(&self, id: &str) -> bool {
        is_among(&self.missing_ids, id)
    }

    /// Whether a text of a creation time counts as missing.
    pub(in crate::source) fn is_missing_time(&self, time: &str) -> bool {
        is_among(&self.missing_times, time)
    }

    /// Whether a body is itself a record (contract, Orders: "Records of a body"): it has an id and a creation time, and either
    /// lines, or no list of records. Where one element of its list is an order, it is a list of orders: others may have no lines.
    pub(in crate::source) fn is_record<'a>(&self, envelope: &Envelope, elements: impl Iterator<Item = &'a [u8]>) -> bool {
        if !self.has_id_and_time(&envelope.root) {
            return false;
        }
        let List::Found(_) = &envelope.list else { return true };
        let mut nodes = elements.filter_map(Node::of_bytes);
        self.has_lines(&envelope.root) && !nodes.any(|node| self.is_order(&node))
    }

    /// Whether an element of a list is an order, by what lines do not have: lines of its own, or a time beside a place for lines, even an
    /// empty one, or beside a currency.
    pub(in crate::source) fn is_order(&self, element: &Node) -> bool {
        let has_some_lines = || self.lines.iter().any(|path| matches!(element.at(path), Some(Node::Array(lines)) if !lines.is_empty()));
        let has_place = || self.lines.iter().any(|path| element.at(path).is_some());
        let has_currency = || self.currency.iter().any(|path| element.at(path).and_then(Node::text).is_some());
        self.has_id(element) && !self.is_line(element) && (has_some_lines() || self.has_time(element) && (has_place() || has_currency()))
    }

    /// The same of the bytes of an element.
    pub(in crate::source) fn is_order_bytes(&self, element: &[u8]) -> bool {
        Node::of_bytes(element).is_some_and(|node| self.is_order(&node))
    }

    fn has_lines(&self, node: &Node) -> bool {
        self.lines.iter().any(|path| matches!(node.at(path), Some(Node::Array(_))))
    }

    /// Whether an element is a line. In some APIs lines have ids and times too, and a bundle even has lines.
    fn is_line(&self, node: &Node) -> bool {
        self.of_line.iter().any(|path| node.at(path).is_some())
    }

    /// Whether an object, or one within it, has a list of records.
    pub(in crate::source) fn has_list_within(&self, object: &Node) -> bool {
        let is_record = |element: &Node| {
            is_cut(element) || if self.created_at.is_empty() { self.has_id(element) } else { self.has_id_and_time(element) }
        };
        object.pairs().iter().any(|(_, value)| match value {
            Node::Array(elements) => elements.iter().any(is_record),
            Node::Object(_) => self.has_list_within(value),
            _ => false,
        })
    }

    /// The first error, if the list has errors instead of records: a few elements that all report an error, or have a message alone, and
    /// have no id ([`ErrorElements`]).
    pub(in crate::source) fn reported_errors<'a>(&self, elements: impl ExactSizeIterator<Item = &'a [u8]>) -> Option<String> {
        const MAX_ERRORS: usize = 5;
        if !(1..=MAX_ERRORS).contains(&elements.len()) {
            return None;
        }
        let mut errors = elements.map(|element| {
            let node = Node::of_bytes(element).filter(|node| !self.has_id(node))?;
            let error = match self.errors {
                ErrorElements::WithoutId => reported_error(&node),
                ErrorElements::Lone => lone_error(&node),
            };
            error.or_else(|| lone_message(&node))
        });
        let first = errors.next()??;
        errors.all(|error| error.is_some()).then_some(first)
    }

    /// Whether an object has an id and a creation time.
    pub(in crate::source) fn has_id_and_time(&self, root: &Node) -> bool {
        self.has_id(root) && self.has_time(root)
    }

    fn has_id(&self, node: &Node) -> bool {
        texts(node, &self.id).any(|id| !self.is_missing_id(id))
    }

    fn has_time(&self, node: &Node) -> bool {
        texts(node, &self.created_at).any(|time| !self.is_missing_time(time))
    }
}

/// The texts at some paths, without those that are blank.
fn texts<'n>(root: &'n Node, paths: &'n [FieldPath]) -> impl Iterator<Item = &'n str> {
    paths.iter().filter_map(move |path| root.at(path).and_then(Node::text))
}

/// Whether a text is one of the values that count as missing: `0`, `0.0` and `-0` are the same.
pub(in crate::source) fn is_among(missing: &[String], text: &str) -> bool {
    missing.iter().any(|missing| is_same_value(missing.trim(), text))
}

/// The text of the id at the rest of a path, if there is one. `7`, `7.0` and `7e0` are the same id.
fn id_text<'a>(value: &'a RawValue, path: &FieldPath) -> Option<Cow<'a, str>> {
    if let [_, rest @ ..] = path.steps()
        && !rest.is_empty()
    {
        return match Node::parse(value.get()).ok()?.within(rest)? {
            Node::Number(digits) => whole_number_text(digits).map(|id| Cow::Owned(id.into_owned())),
            node => node.text().map(|text| Cow::Owned(text.to_owned())),
        };
    }
    match value.get().as_bytes().first()? {
        b'"' => {
            let inner = value.get().get(1..value.get().len().saturating_sub(1))?;
            let text = if inner.contains('\\') { Cow::Owned(serde_json::from_str(value.get()).ok()?) } else { Cow::Borrowed(inner) };
            (!text.trim().is_empty()).then(|| Cow::Owned(text.trim().to_owned()))
        }
        b'-' | b'0'..=b'9' => whole_number_text(value.get()),
        _ => None,
    }
}

/// The values under the first keys of some paths.
struct Found<'p, 'a> {
    shape: &'p RecordShape,
    /// The first path whose key may be in the record.
    first_place: usize,
    values: Vec<Option<&'a RawValue>>,
}

impl<'a> Visitor<'a> for &mut Found<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(place) = map.next_key_seed(FirstKey(&self.shape.id))? {
            let Some(place) = place else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = map.next_value::<&'a RawValue>()?;
            let key = self.shape.id.get(place).and_then(|path| path.steps().first());
            for (path, found) in self.shape.id.iter().zip(&mut self.values) {
                if path.steps().first() == key {
                    *found = Some(value);
                }
            }
            let first = self.shape.id.get(self.first_place);
            if first.is_some_and(|path| path.steps().first() == key && self.shape.id_at(value, path).is_some()) {
                return Err(serde::de::Error::custom("found"));
            }
        }
        Ok(())
    }
}

/// The first of the paths that begins with a key.
struct FirstKey<'p>(&'p [FieldPath]);

impl<'de> serde::de::DeserializeSeed<'de> for FirstKey<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        // As bytes: half of a surrogate pair in a key is then not an error.
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for FirstKey<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_bytes<E: serde::de::Error>(self, key: &[u8]) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|path| path.steps().first().is_some_and(|step| step.as_bytes() == key)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::cut;
    use super::*;

    fn shape() -> RecordShape {
        let paths = |paths: &[&str]| paths.iter().map(|path| path.parse().unwrap()).collect();
        RecordShape {
            id: paths(&["order_id", "id", "ref.no"]),
            created_at: paths(&["created_at", "date"]),
            lines: paths(&["items"]),
            currency: paths(&["currency"]),
            of_line: paths(&["sku"]),
            ..RecordShape::default()
        }
    }

    #[test]
    fn the_first_id_that_is_not_missing_identifies_a_record() {
        let same = |a: &str, b: &str| shape().identity(a.as_bytes()) == shape().identity(b.as_bytes());
        assert!(same(r#"{"order_id":7,"x":1}"#, r#"{"x":2,"order_id":" 7 "}"#));
        assert!(same(r#"{"id":"a","order_id":null}"#, r#"{"order_id":"","id":"a","t":3}"#));
        assert!(same(r#"{"id":"x","order_id":"a"}"#, r#"{"order_id":"a","id":"y"}"#));
        assert!(same(r#"{"ref":{"no":12345678901234567890123}}"#, r#"{"ref":{"no":"12345678901234567890123"},"y":1}"#));
        assert!(!same(r#"{"order_id":"a"}"#, r#"{"order_id":"b"}"#));
        assert!(same(r#"{"id":7.0}"#, r#"{"id":"7"}"#));
        assert!(same(r#"{"\ud800":1,"order_id":"a"}"#, r#"{"order_id":"a"}"#), "half of a surrogate pair");
        assert!(!same(r#"{"x":1}"#, r#"{"x":2}"#), "without an id the bytes identify it");
        assert!(same("not json", "not json") && !same("not json", "nor this"));
    }

    #[test]
    fn a_value_that_counts_as_missing_identifies_no_record() {
        let shape = RecordShape { missing_ids: vec!["0".to_owned(), " n/a ".to_owned()], ..shape() };
        let same = |a: &str, b: &str| shape.identity(a.as_bytes()) == shape.identity(b.as_bytes());
        assert!(!same(r#"{"order_id":0,"id":"a"}"#, r#"{"order_id":0,"id":"b"}"#), "the next path identifies them");
        assert!(same(r#"{"order_id":0,"id":"a","x":1}"#, r#"{"order_id":"0.0","id":"a"}"#));
        assert!(same(r#"{"id":"a","order_id":0,"x":1}"#, r#"{"order_id":"n/a","id":"a"}"#));
        assert!(!same(r#"{"order_id":0,"ref":{"no":"n/a"},"x":1}"#, r#"{"order_id":0,"ref":{"no":0},"x":2}"#), "no path has an id");
        assert!(same(r#"{"order_id":10,"x":1}"#, r#"{"order_id":"10"}"#));
        let shape = RecordShape { missing_times: vec!["-".to_owned()], ..shape };
        let has = |text: &str| shape.has_id_and_time(&Node::parse(text).unwrap());
        assert!(has(r#"{"order_id":0,"id":1,"created_at":"-","date":"2026-01-01"}"#));
        assert!(!has(r#"{"id":0,"date":"2026-01-01"}"#) && !has(r#"{"id":1,"date":"-"}"#));
    }

    #[test]
    fn a_body_with_an_id_a_time_and_no_list_of_records_is_a_record() {
        let is_record = |body: &str| {
            let super::super::CutBody { places, envelope } = cut(body.as_bytes(), None).unwrap().unwrap();
            shape().is_record(&envelope, places.iter().map(|place| &body.as_bytes()[place.clone()]))
        };
        assert!(is_record(r#"{"id":17,"date":"2026-01-01","items":[{"sku":"S"}]}"#));
        assert!(is_record(r#"{"id":17,"date":"2026-01-01","items":null}"#));
        assert!(!is_record(r#"{"id":17,"items":[{"sku":"S"}]}"#), "no time");
        assert!(!is_record(r#"{"id":"req-1","date":"2026-01-01","orders":[{"id":1}]}"#), "a list with an id of its own");
        assert!(!is_record(r#"{"id":"l","date":"2026-01-01","items":[{"id":1,"created_at":"2026-01-01","items":[]}]}"#));
        assert!(is_record(r#"{"id":"l","date":"2026-01-01","items":[{"id":1,"created_at":"2026-01-01"}]}"#), "a line with a time");
        assert!(is_record(r#"{"id":1,"date":"2026-01-01","items":[{"sku":"a"}],"data":[]}"#), "an order with lists of its own");
        assert!(is_record(r#"{"data":[{"k":"v"}],"id":1,"date":"2026-01-01","items":[{"sku":"a"}]}"#));
        assert!(!is_record(r#"{"id":"r","date":"2026-01-01","orders":[]}"#), "an empty list with an id of its own");
        let bundle = r#"{"id":"l","date":"2026-01-01","items":[{"id":1,"created_at":"2026-01-01","sku":"B","items":[]}]}"#;
        assert!(is_record(bundle), "a line that is a bundle");
        assert!(!is_record("[1]"));
        let other = r#"{"id":2,"created_at":"2026-01-01","items":[{"sku":"S"}]}"#;
        for first in [
            r#"{"id":1,"created_at":"2026-01-01","items":null}"#,
            r#"{"id":1,"created_at":"2026-01-01"}"#,
            r#"{"id":1,"items":[{"sku":"S"}]}"#,
            r#"{"created_at":"2026-01-01"}"#,
            "null",
        ] {
            assert!(!is_record(&format!(r#"{{"id":"e","date":"2026-01-01","items":[{first},{other}]}}"#)), "{first}");
        }
        for only in [
            r#"{"id":1,"created_at":"2026-01-01","items":null}"#,
            r#"{"id":1,"items":[{"sku":"S"}]}"#,
            r#"{"id":1,"created_at":"2026-01-01","currency":"EUR"}"#,
        ] {
            assert!(!is_record(&format!(r#"{{"id":"e","date":"2026-01-01","items":[{only}]}}"#)), "{only}");
        }
        let lines = r#"{"id":1,"sku":"A","created_at":"2026-01-01","items":null},{"id":2,"created_at":"2026-01-01"}"#;
        assert!(is_record(&format!(r#"{{"id":7,"date":"2026-01-01","items":[{lines}]}}"#)), "lines with times and places for parts");
    }

    #[test]
    fn a_refund_that_failed_is_no_error_of_the_request() {
        let is_error =
            |errors, element: &str| RecordShape { errors, ..shape() }.reported_errors([element.as_bytes()].into_iter()).is_some();
        for refund in [r#"{"refund_id":"r","status":"failed","amount":1}"#, r#"{"sku":"A","price":1,"status":"failed"}"#] {
            assert!(!is_error(ErrorElements::Lone, refund), "{refund}");
            assert!(is_error(ErrorElements::WithoutId, refund), "{refund}");
        }
        for error in
            [r#"{"error":"x","request_id":7}"#, r#"{"success":false}"#, r#"{"status":"failed","message":"x"}"#, r#"{"message":"x"}"#]
        {
            assert!(is_error(ErrorElements::Lone, error), "{error}");
        }
    }
}
