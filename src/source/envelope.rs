//! Cuts a JSON body into its records, and reads what its envelope says of the next page. One pass, record by record, so
//! that a file larger than memory can be read.

use std::{borrow::Cow, collections::HashMap, fmt, marker::PhantomData, ops::Range};

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::{model::FieldPath, settings::Pagination};

/// The keys under which the records of an object may stand (contract, Orders: "Records of a body").
pub const RECORD_KEYS: [&str; 5] = ["data", "orders", "results", "items", "carts"];

/// What a response says of its records and of the other pages.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Signals {
    /// Whether there was an array of records, or a null in its place.
    pub(super) has_records: bool,
    /// `rel="next"` of a `Link` header.
    pub(super) link: Next,
    /// `next`, `next_url` or `links.next`, or where the profile says.
    pub(super) next_url: Next,
    /// `next_cursor` or `next_page_token`, or where the profile says.
    pub(super) next_cursor: Next,
    /// Whether there is more, where the profile knows who says so.
    pub(super) more: Option<bool>,
    /// The last record's id, where the profile goes on from that.
    pub(super) last_id: Option<String>,
    /// How many pages there are, where the profile knows who says so.
    pub(super) total_pages: Option<u64>,
    /// How many records there are, likewise.
    pub(super) total_records: Option<u64>,
}

impl Signals {
    /// Reads what the profile's pagination looks for in a body, which is valid JSON.
    pub(super) fn take_body(&mut self, body: &[u8], pagination: &Pagination, last: Option<&[u8]>) {
        let whole = std::str::from_utf8(body).ok().and_then(|body| serde_json::from_str::<&RawValue>(body).ok());
        let Some(whole) = whole else { return };
        let at = |path: &FieldPath| locate(whole, path);
        let next = |path: &FieldPath| at(path).map_or(Next::Absent, Next::of);
        let flag = |path: &Option<FieldPath>| path.as_ref().and_then(at).and_then(|raw| serde_json::from_str::<bool>(raw.get()).ok());
        let number = |path: &Option<FieldPath>| path.as_ref().and_then(at).and_then(|raw| raw.get().trim_matches('"').parse().ok());
        match pagination {
            Pagination::Auto | Pagination::Link | Pagination::Single => {}
            Pagination::NextUrl { path } => self.next_url = next(path),
            Pagination::Cursor { path, more, .. } => {
                self.next_cursor = next(path);
                self.more = flag(more);
            }
            Pagination::LastId { id, more, .. } => {
                let last = last.and_then(|last| serde_json::from_slice::<&RawValue>(last).ok());
                self.last_id = match last.and_then(|last| locate(last, id)).map(Next::of) {
                    Some(Next::At(id)) => Some(id),
                    _ => None,
                };
                self.more = flag(more);
            }
            Pagination::Page { total, .. } | Pagination::Offset { total, .. } => {
                self.total_pages = number(&total.pages);
                self.total_records = number(&total.records);
            }
        }
    }
}

/// The value at a path of a document.
pub(super) fn locate<'a>(document: &'a RawValue, path: &FieldPath) -> Option<&'a RawValue> {
    path.steps().iter().try_fold(document, |value, step| {
        if value.get().starts_with('[') {
            let elements: Vec<&'a RawValue> = serde_json::from_str(value.get()).ok()?;
            return elements.get(step.parse::<usize>().ok()?).copied();
        }
        let pairs: HashMap<Cow<'a, str>, &'a RawValue> = serde_json::from_str(value.get()).ok()?;
        pairs.get(step.as_str()).copied()
    })
}

/// Where records are looked for, for an error.
pub(super) fn looked_for(records: Option<&FieldPath>) -> String {
    match records {
        None => "neither an array, nor an object with one under `data`, `orders`, `results`, `items` or `carts`".to_owned(),
        Some(path) if path.steps().is_empty() => "it is no array (records = \".\")".to_owned(),
        Some(path) => format!("no array at `{path}`"),
    }
}

/// A pointer to the next page.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) enum Next {
    /// The body does not speak of it.
    #[default]
    Absent,
    /// The body says that there is none: null, false or blank.
    End,
    /// The next page.
    At(String),
}

impl Next {
    /// The first that the body speaks of.
    fn or(&mut self, other: Next) {
        if *self == Next::Absent {
            *self = other;
        }
    }

    fn of(value: &RawValue) -> Next {
        match serde_json::from_str::<serde_json::Value>(value.get()) {
            Ok(serde_json::Value::String(text)) if !text.trim().is_empty() => Next::At(text),
            Ok(serde_json::Value::Number(number)) => Next::At(number.to_string()),
            Ok(serde_json::Value::Null | serde_json::Value::Bool(false) | serde_json::Value::String(_)) => Next::End,
            _ => Next::Absent,
        }
    }
}

/// Records, one after the other in one buffer.
#[derive(Default, Debug)]
pub(super) struct Elements {
    pub(super) bytes: Vec<u8>,
    pub(super) places: Vec<Range<usize>>,
}

impl Elements {
    pub(super) fn push(&mut self, record: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(record);
        self.places.push(start..self.bytes.len());
    }
}

/// Reads a body to its end, handing each record to `each`: as `&RawValue` out of bytes that lie in memory, as `Box<RawValue>` out of a stream; an error of its own ends the reading. The records are
/// where the path says, or else where they are looked for.
pub(super) fn read_body<'de, V, R, F>(
    json: &mut serde_json::Deserializer<R>,
    records: Option<&FieldPath>,
    mut each: F,
) -> Result<Signals, serde_json::Error>
where
    V: Deserialize<'de>,
    R: serde_json::de::Read<'de>,
    F: FnMut(V) -> Result<(), String>,
{
    let signals = match records {
        None => Body(each, PhantomData).deserialize(&mut *json)?,
        Some(path) => {
            let has_records = At { steps: path.steps(), each: &mut each, kind: PhantomData }.deserialize(&mut *json)?;
            Signals { has_records, ..Signals::default() }
        }
    };
    json.end()?;
    Ok(signals)
}

/// Goes down a path to the records; tells whether they were found.
struct At<'p, 'f, V, F> {
    steps: &'p [String],
    each: &'f mut F,
    kind: PhantomData<V>,
}

impl<'de, V: Deserialize<'de>, F: FnMut(V) -> Result<(), String>> DeserializeSeed<'de> for At<'_, '_, V, F> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        if self.steps.is_empty() { Records(self.each, PhantomData).deserialize(deserializer) } else { deserializer.deserialize_any(self) }
    }
}

impl<'de, V: Deserialize<'de>, F: FnMut(V) -> Result<(), String>> Visitor<'de> for At<'_, '_, V, F> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or array on the way to the records")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<bool, M::Error> {
        let Some((step, steps)) = self.steps.split_first() else { return Ok(false) };
        let mut found = false;
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            if key == *step && !found {
                found = map.next_value_seed(At { steps, each: &mut *self.each, kind: PhantomData })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<bool, S::Error> {
        let Some((step, steps)) = self.steps.split_first() else { return Ok(false) };
        let wanted = step.parse::<usize>().ok();
        let mut found = false;
        for index in 0.. {
            let more = if wanted == Some(index) {
                let here = seq.next_element_seed(At { steps, each: &mut *self.each, kind: PhantomData })?;
                found = here == Some(true);
                here.is_some()
            } else {
                seq.next_element::<IgnoredAny>()?.is_some()
            };
            if !more {
                break;
            }
        }
        Ok(found)
    }
}

struct Body<V, F>(F, PhantomData<V>);

impl<'de, V: Deserialize<'de>, F: FnMut(V) -> Result<(), String>> DeserializeSeed<'de> for Body<V, F> {
    type Value = Signals;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Signals, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, V: Deserialize<'de>, F: FnMut(V) -> Result<(), String>> Visitor<'de> for Body<V, F> {
    type Value = Signals;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of records, or an object that holds one")
    }

    fn visit_seq<S: SeqAccess<'de>>(mut self, mut seq: S) -> Result<Signals, S::Error> {
        while let Some(record) = seq.next_element::<V>()? {
            (self.0)(record).map_err(serde::de::Error::custom)?;
        }
        Ok(Signals { has_records: true, ..Signals::default() })
    }

    fn visit_map<M: MapAccess<'de>>(mut self, mut map: M) -> Result<Signals, M::Error> {
        let mut envelope = Signals::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                key if RECORD_KEYS.contains(&key) && !envelope.has_records => {
                    envelope.has_records = map.next_value_seed(Records(&mut self.0, PhantomData))?;
                }
                "next" | "next_url" => envelope.next_url.or(Next::of(&map.next_value::<Box<RawValue>>()?)),
                "links" => {
                    let links = map.next_value::<Box<RawValue>>()?;
                    if let Ok(links) = serde_json::from_str::<std::collections::HashMap<String, Box<RawValue>>>(links.get())
                        && let Some(next) = links.get("next")
                    {
                        envelope.next_url.or(Next::of(next));
                    }
                }
                "next_cursor" | "next_page_token" => envelope.next_cursor.or(Next::of(&map.next_value::<Box<RawValue>>()?)),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(envelope)
    }
}

/// The value under a record key; tells whether it was an array, or null.
struct Records<'f, V, F>(&'f mut F, PhantomData<V>);

impl<'de, V: Deserialize<'de>, F: FnMut(V) -> Result<(), String>> DeserializeSeed<'de> for Records<'_, V, F> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, V: Deserialize<'de>, F: FnMut(V) -> Result<(), String>> Visitor<'de> for Records<'_, V, F> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of records")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<bool, S::Error> {
        while let Some(record) = seq.next_element::<V>()? {
            (self.0)(record).map_err(serde::de::Error::custom)?;
        }
        Ok(true)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<bool, M::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(false)
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_at(body: &str, path: Option<&FieldPath>) -> (Vec<String>, Signals) {
        let mut records = Vec::new();
        let signals = read_body(&mut serde_json::Deserializer::from_str(body), path, |record: &RawValue| {
            records.push(record.get().to_owned());
            Ok(())
        })
        .unwrap();
        (records, signals)
    }

    fn read(body: &str) -> (Vec<String>, Signals) {
        read_at(body, None)
    }

    #[test]
    fn a_path_leads_to_the_records_and_to_no_others() {
        let at = |body: &str, path: &str| {
            let path = if path == "." { FieldPath::root() } else { path.parse().unwrap() };
            let (records, signals) = read_at(body, Some(&path));
            signals.has_records.then_some(records.len())
        };
        assert_eq!(at(r#"{"a":{"b":[1,2]},"data":[1]}"#, "a.b"), Some(2));
        assert_eq!(at(r#"[[1],[1,2,3]]"#, "1"), Some(3));
        assert_eq!(at("[1]", "."), Some(1));
        assert_eq!(at(r#"{"data":[1]}"#, "orders"), None);
        assert_eq!(at(r#"{"orders":{"x":1}}"#, "orders"), None);
    }

    #[test]
    fn what_a_profile_looks_for_is_found_anywhere() {
        let mut signals = Signals::default();
        let body = br#"{"meta":{"page":{"next":"c2","more":true}},"data":[{"id":1},{"id":"z9"}],"count":"7"}"#;
        let path = |text: &str| text.parse::<FieldPath>().unwrap();
        let cursor = Pagination::Cursor { path: path("meta.page.next"), parameter: "c".into(), more: Some(path("meta.page.more")) };
        signals.take_body(body, &cursor, None);
        assert_eq!((&signals.next_cursor, signals.more), (&Next::At("c2".into()), Some(true)));
        let last = Pagination::LastId { id: path("id"), parameter: "after".into(), more: None };
        signals.take_body(body, &last, Some(br#"{"id":"z9"}"#));
        assert_eq!((signals.last_id.as_deref(), signals.more), (Some("z9"), None));
        let total = crate::settings::Total { records: Some(path("count")), ..Default::default() };
        signals.take_body(body, &Pagination::Offset { parameter: "o".into(), total }, None);
        assert_eq!(signals.total_records, Some(7));
    }

    #[test]
    fn the_records_are_the_array_or_the_first_array_under_a_known_key() {
        for (body, expected) in [
            ("[{\"a\": 1}, 2]", vec!["{\"a\": 1}", "2"]),
            (r#"{"total":2,"data":[1]}"#, vec!["1"]),
            (r#"{"results":[2],"data":[1]}"#, vec!["2"]),
            (r#"{"data":{"x":[9]},"orders":[3]}"#, vec!["3"]),
            (r#"{"carts":[4]}"#, vec!["4"]),
            (r#"{"items":null}"#, vec![]),
        ] {
            let (records, envelope) = read(body);
            assert_eq!((records, envelope.has_records), (expected.into_iter().map(str::to_owned).collect(), true), "{body}");
        }
        assert!(!read(r#"{"error":"no","data":"none"}"#).1.has_records);
    }

    #[test]
    fn the_next_page_is_named_ended_or_not_spoken_of() {
        let next = |body| read(body).1;
        assert_eq!(next(r#"{"next":"/p2"}"#).next_url, Next::At("/p2".into()));
        assert_eq!(next(r#"{"links":{"next":"/p2"}}"#).next_url, Next::At("/p2".into()));
        assert_eq!(next(r#"{"next":null}"#).next_url, Next::End);
        assert_eq!(next(r#"{"links":{}}"#).next_url, Next::Absent);
        assert_eq!(next(r#"{"next_page_token":7}"#).next_cursor, Next::At("7".into()));
        assert_eq!(next(r#"{"next_cursor":""}"#).next_cursor, Next::End);
    }
}
