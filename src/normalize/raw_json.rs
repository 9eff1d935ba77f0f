//! Values within the raw JSON of a captured value, borrowed from it: numbers keep all their digits.

use serde_json::value::RawValue;

use super::scalar::Scalar;
use crate::model::{FieldPath, Pairs};

/// What stands at a path within a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found<'a> {
    /// This value.
    Value(&'a str),
    /// Nothing: a step of the path is not there, or the value before it is null, blank text or an empty list.
    Missing,
    /// On the way stands a value of another shape: it has no such steps, and whatever it says is not read.
    OtherShape,
}

/// The elements of a list, as they are written; `None` of anything else.
pub(super) fn elements(raw: &str) -> Option<Vec<&str>> {
    let elements = serde_json::from_str::<Vec<&RawValue>>(raw).ok()?;
    Some(elements.into_iter().map(RawValue::get).collect())
}

/// Whether this is a list or an object that holds nothing.
pub(super) fn is_empty(raw: &str) -> bool {
    match raw.as_bytes().first() {
        Some(b'[') => elements(raw).is_some_and(|elements| elements.is_empty()),
        Some(b'{') => serde_json::from_str::<Pairs<'_>>(raw).is_ok_and(|members| members.0.is_empty()),
        _ => false,
    }
}

/// The value at a path within another; `None` where there is none, for whatever reason.
pub(super) fn at<'a>(raw: &'a str, path: &FieldPath) -> Option<&'a str> {
    match find(raw, path) {
        Found::Value(value) => Some(value),
        Found::Missing | Found::OtherShape => None,
    }
}

/// What stands at a path within a value.
pub(super) fn find<'a>(raw: &'a str, path: &FieldPath) -> Found<'a> {
    let mut value = raw;
    for step in path.steps() {
        value = match step_into(value, step) {
            Found::Value(value) => value,
            nothing => return nothing,
        };
    }
    Found::Value(value)
}

fn step_into<'a>(raw: &'a str, step: &str) -> Found<'a> {
    match raw.as_bytes().first() {
        Some(b'{') => match serde_json::from_str::<Pairs<'a>>(raw) {
            Ok(Pairs(members)) => {
                members.into_iter().find(|(key, _)| key == step).map_or(Found::Missing, |(_, value)| Found::Value(value.get()))
            }
            Err(_) => Found::OtherShape,
        },
        Some(b'[') => match (elements(raw), step.parse::<usize>()) {
            (Some(elements), Ok(place)) => elements.get(place).copied().map_or(Found::Missing, Found::Value),
            // Some languages write an object without members as a list.
            (Some(elements), Err(_)) if elements.is_empty() => Found::Missing,
            _ => Found::OtherShape,
        },
        _ if Scalar::of(raw) == Scalar::Missing => Found::Missing,
        _ => Found::OtherShape,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_another_shape_on_the_way_is_no_missing_one() {
        let path: FieldPath = "a.b".parse().unwrap();
        for (raw, found) in [
            (r#"{"a":{"b":1.10}}"#, Found::Value("1.10")),
            (r#"{"a":{"b":null}}"#, Found::Value("null")),
            (r#"{"a":{}}"#, Found::Missing),
            ("{}", Found::Missing),
            ("null", Found::Missing),
            (r#"{"a":null}"#, Found::Missing),
            (r#"{"a":" "}"#, Found::Missing),
            (r#"{"a":[]}"#, Found::Missing),
            (r#"{"a":[{"b":1}]}"#, Found::OtherShape),
            (r#"{"a":"b"}"#, Found::OtherShape),
            (r#"{"a":0}"#, Found::OtherShape),
            (r#"{"a":false}"#, Found::OtherShape),
            ("7", Found::OtherShape),
        ] {
            assert_eq!(find(raw, &path), found, "{raw}");
            assert_eq!(at(raw, &path), if let Found::Value(value) = found { Some(value) } else { None }, "{raw}");
        }
        let place: FieldPath = "a.1".parse().unwrap();
        assert_eq!(find(r#"{"a":[1,[2]]}"#, &place), Found::Value("[2]"));
        assert_eq!(find(r#"{"a":[1]}"#, &place), Found::Missing);
        assert_eq!(find("[9]", &FieldPath::root()), Found::Value("[9]"));
        let empty = ["[ ]", "{ }", "[0]", r#"{"a":0}"#, "0", "null", "\"\""].map(is_empty);
        assert_eq!(empty, [true, true, false, false, false, false, false]);
    }
}
