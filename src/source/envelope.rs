//! Cuts a JSON body into its records, and reads what its envelope says of the next page. One pass, record by record, so
//! that a file larger than memory can be read.

use std::{fmt, ops::Range};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The keys under which the records of an object may stand (contract, Orders: "Records of a body").
const RECORD_KEYS: [&str; 5] = ["data", "orders", "results", "items", "carts"];

/// What a body's envelope says of the next page.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Envelope {
    /// Whether there was an array of records, or a null in its place.
    pub(super) has_records: bool,
    /// `next`, `next_url` or `links.next`.
    pub(super) next_url: Next,
    /// `next_cursor` or `next_page_token`.
    pub(super) next_cursor: Next,
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

/// Reads a body, handing each record's bytes to `each`; an error of its own ends the reading.
pub(super) fn read_envelope<'de, D, F>(deserializer: D, each: F) -> Result<Envelope, D::Error>
where
    D: Deserializer<'de>,
    F: FnMut(&[u8]) -> Result<(), String>,
{
    Body(each).deserialize(deserializer)
}

struct Body<F>(F);

impl<'de, F: FnMut(&[u8]) -> Result<(), String>> DeserializeSeed<'de> for Body<F> {
    type Value = Envelope;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Envelope, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: FnMut(&[u8]) -> Result<(), String>> Visitor<'de> for Body<F> {
    type Value = Envelope;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of records, or an object that holds one")
    }

    fn visit_seq<S: SeqAccess<'de>>(mut self, mut seq: S) -> Result<Envelope, S::Error> {
        while let Some(record) = seq.next_element::<Box<RawValue>>()? {
            (self.0)(record.get().as_bytes()).map_err(serde::de::Error::custom)?;
        }
        Ok(Envelope { has_records: true, ..Envelope::default() })
    }

    fn visit_map<M: MapAccess<'de>>(mut self, mut map: M) -> Result<Envelope, M::Error> {
        let mut envelope = Envelope::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                key if RECORD_KEYS.contains(&key) && !envelope.has_records => {
                    envelope.has_records = map.next_value_seed(Records(&mut self.0))?;
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
struct Records<'f, F>(&'f mut F);

impl<'de, F: FnMut(&[u8]) -> Result<(), String>> DeserializeSeed<'de> for Records<'_, F> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: FnMut(&[u8]) -> Result<(), String>> Visitor<'de> for Records<'_, F> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of records")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<bool, S::Error> {
        while let Some(record) = seq.next_element::<Box<RawValue>>()? {
            (self.0)(record.get().as_bytes()).map_err(serde::de::Error::custom)?;
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

    fn read(body: &str) -> (Vec<String>, Envelope) {
        let mut records = Vec::new();
        let envelope = read_envelope(&mut serde_json::Deserializer::from_str(body), |record| {
            records.push(String::from_utf8(record.to_vec()).unwrap());
            Ok(())
        })
        .unwrap();
        (records, envelope)
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
