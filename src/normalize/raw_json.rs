//! Values within the raw JSON of a captured value, borrowed from it: numbers keep all their digits.

use serde_json::value::RawValue;

use crate::model::{FieldPath, Pairs};

/// The elements of a list, as they are written; `None` of anything else.
pub(super) fn elements(raw: &str) -> Option<Vec<&str>> {
    let elements = serde_json::from_str::<Vec<&RawValue>>(raw).ok()?;
    Some(elements.into_iter().map(RawValue::get).collect())
}

/// The value at a path within another.
pub(super) fn at<'a>(raw: &'a str, path: &FieldPath) -> Option<&'a str> {
    path.steps().iter().try_fold(raw, |raw, step| {
        if raw.starts_with('[') {
            return elements(raw)?.get(step.parse::<usize>().ok()?).copied();
        }
        let members = serde_json::from_str::<Pairs<'a>>(raw).ok()?.0;
        members.into_iter().find(|(key, _)| key == step).map(|(_, value)| value.get())
    })
}
