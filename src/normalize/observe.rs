//! Observes the shape of a sample of the records: their paths and types, and no value.
//!
//! A record of the sample is parsed once more, so the sample is small. What a shape means is `drift`'s.

use serde_json::value::RawValue;

use crate::{
    drift::{JsonType, ObservedShape, Place},
    model::Pairs,
};

/// The first records of a run are all observed.
const FIRST: u64 = 200;

/// Behind them, one of so many.
const EVERY: u64 = 1000;

/// Elements of a list that are looked at.
const MOST_ELEMENTS: usize = 50;

/// A larger record is not observed.
const MOST_BYTES: usize = 1 << 20;

/// Which records of a page are observed. The number of a record in its run decides, so that the same source has the same sample.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Sampling {
    /// None.
    #[default]
    Off,
    /// The first 200 of the run, and every 1,000th.
    On {
        /// The number of records of the run before this page.
        before: u64,
    },
}

impl Sampling {
    /// Whether a record is in the sample, by its place in the page.
    pub(super) fn takes(self, place: u64) -> bool {
        match self {
            Sampling::Off => false,
            Sampling::On { before } => before + place < FIRST || (before + place).is_multiple_of(EVERY),
        }
    }
}

/// Adds a record to what is observed. What is no JSON is left out.
pub(super) fn observe(record: &[u8], shape: &mut ObservedShape) {
    let text = std::str::from_utf8(record).ok().filter(|text| text.len() <= MOST_BYTES);
    if let Some(Ok(raw)) = text.map(serde_json::from_str::<&RawValue>) {
        value(raw.get(), &mut shape.record());
    }
}

fn value(text: &str, place: &mut Place<'_>) {
    let kind = JsonType::of_first_byte(text.as_bytes().first().copied().unwrap_or_default());
    place.is_a(kind);
    match kind {
        JsonType::Object => {
            let pairs = serde_json::from_str::<Pairs<'_>>(text).map(|pairs| pairs.0).unwrap_or_default();
            for (key, inner) in &pairs {
                if let Some(mut field) = place.field(key) {
                    value(inner.get(), &mut field);
                }
            }
        }
        JsonType::List => {
            let elements = serde_json::from_str::<Vec<&RawValue>>(text).unwrap_or_default();
            for inner in elements.into_iter().take(MOST_ELEMENTS) {
                if let Some(mut element) = place.element() {
                    value(inner.get(), &mut element);
                }
            }
        }
        JsonType::Number if text.contains(['.', 'e', 'E']) => place.has_fraction(),
        JsonType::Null | JsonType::Boolean | JsonType::Number | JsonType::Text => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::{ChangeKind, compare};

    #[test]
    fn the_first_records_and_then_few_are_in_the_sample() {
        let taken = |before: u64| (0..3000).filter(|&place| Sampling::On { before }.takes(place)).collect::<Vec<_>>();
        assert_eq!((taken(0).len(), &taken(0)[199..]), (202, &[199, 1000, 2000][..]));
        assert_eq!(taken(150), [(0..50).collect::<Vec<_>>(), vec![850, 1850, 2850]].concat());
        assert!(!Sampling::Off.takes(0));
    }

    /// The paths of a record, each with its types.
    fn paths(record: &str) -> Vec<String> {
        let (mut nothing, mut shape) = (ObservedShape::default(), ObservedShape::default());
        observe(b"{}", &mut nothing);
        observe(record.as_bytes(), &mut shape);
        let known = compare(None, &nothing, &|_| false).shape;
        let changes = compare(known.as_ref(), &shape, &|_| false).changes;
        assert!(changes.iter().all(|change| change.kind == ChangeKind::New));
        let types = |types: crate::drift::JsonTypes| types.iter().map(JsonType::as_str).collect::<Vec<_>>().join(" ");
        changes.iter().map(|change| format!("{} {} {}", change.steps.join("."), types(change.types), change.has_fractions)).collect()
    }

    #[test]
    fn each_path_of_a_record_is_observed_with_its_types() {
        assert_eq!(
            paths(r#" {"a":1,"b":{"c":"x","\ud800":1e999},"l":[{"p":1.5},{"p":null},7],"e":[],"t":true,"a":2} "#),
            [
                "a number false",
                "b.c text false",
                "b.\u{fffd}\u{fffd}\u{fffd} number true",
                "e list false",
                "l.* number object false",
                "l.*.p null number true",
                "t boolean false"
            ]
        );
        assert_eq!((paths("{"), paths("\u{fffd}")), (vec![], vec![]));
        assert_eq!(paths(&format!(r#"{{"a":"{}"}}"#, "x".repeat(MOST_BYTES))), Vec::<String>::new());
    }
}
