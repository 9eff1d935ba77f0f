//! The remembered shapes: what stands in each commit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{JsonTypes, Keys, NEEDED_RECORDS, observed::ObservedNode};
use crate::coverage::SourceIdentity;

/// The shapes of more sources are not remembered: that of the source that was read longest ago is forgotten.
const MOST_SOURCES: usize = 20;

/// The shapes of all sources of an output.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shapes {
    /// Those that were read last at the end.
    sources: Vec<SourceShape>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct SourceShape {
    #[serde(flatten)]
    identity: SourceIdentity,
    shape: Shape,
}

/// A path of a source's records, and the paths within it. The root is the record itself.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Shape {
    /// The types that were ever seen.
    #[serde(rename = "t", default)]
    pub(super) types: JsonTypes,
    #[serde(rename = "p", default, skip_serializing_if = "Presence::is_always")]
    pub(super) presence: Presence,
    #[serde(rename = "e", default, skip_serializing_if = "Evidence::is_enough")]
    pub(super) evidence: Evidence,
    #[serde(rename = "k", default, skip_serializing_if = "Keys::are_names")]
    pub(super) keys: Keys,
    #[serde(rename = "f", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) fields: BTreeMap<String, Shape>,
}

/// Which records have a path.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Presence {
    /// All that were observed.
    #[default]
    Always,
    /// Some.
    Sometimes,
    /// All had it, and then none. This was told.
    Vanished,
}

/// How many records the presence of a path is known from.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Evidence {
    /// From as many of one run as it takes to call a path vanished.
    #[default]
    Enough,
    /// From fewer: that all of these have it says nothing of others.
    Few,
}

impl Evidence {
    /// That of so many records.
    pub(super) fn of(records: u64) -> Evidence {
        if records < NEEDED_RECORDS { Evidence::Few } else { Evidence::Enough }
    }

    fn is_enough(&self) -> bool {
        *self == Evidence::Enough
    }

    /// The evidence for one path or the other.
    fn or(self, other: Evidence) -> Evidence {
        if self.is_enough() { self } else { other }
    }
}

impl Presence {
    /// The presence of a path that so many of all observed records have.
    pub(super) fn of(records: u64, all: u64) -> Presence {
        if records < all { Presence::Sometimes } else { Presence::Always }
    }

    fn is_always(&self) -> bool {
        *self == Presence::Always
    }

    /// The presence of one path or the other.
    fn or(self, other: Presence) -> Presence {
        match (self, other) {
            (Presence::Always, _) | (_, Presence::Always) => Presence::Always,
            (Presence::Vanished, Presence::Vanished) => Presence::Vanished,
            _ => Presence::Sometimes,
        }
    }
}

impl Shapes {
    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// The shape of a source.
    pub fn of(&self, identity: &SourceIdentity) -> Option<&Shape> {
        self.sources.iter().find(|source| source.identity == *identity).map(|source| &source.shape)
    }

    /// Remembers the shape of a source.
    pub fn remember(&mut self, identity: &SourceIdentity, shape: Shape) {
        self.sources.retain(|source| source.identity != *identity);
        self.sources.push(SourceShape { identity: identity.clone(), shape });
        let surplus = self.sources.len().saturating_sub(MOST_SOURCES);
        self.sources.drain(..surplus);
    }
}

impl Shape {
    /// What was observed in so many records.
    pub(super) fn of_observed(node: &ObservedNode, records: u64) -> Shape {
        let field = |(key, field): (&String, &ObservedNode)| (key.clone(), Shape::of_observed(field, records));
        Shape {
            types: node.types,
            presence: Presence::of(node.records, records),
            evidence: Evidence::of(records),
            keys: node.keys,
            fields: node.fields.iter().map(field).collect(),
        }
    }

    /// The number of paths beneath this one.
    pub(super) fn size(&self) -> usize {
        self.fields.values().map(|field| 1 + field.size()).sum()
    }

    /// Makes one path of all keys.
    pub(super) fn fold(&mut self) {
        super::fold(&mut self.keys, &mut self.fields, Shape::join);
    }

    /// Takes another path for the same as this one.
    fn join(&mut self, mut other: Shape) {
        self.types = self.types.with(other.types);
        self.presence = self.presence.or(other.presence);
        self.evidence = self.evidence.or(other.evidence);
        if self.keys == Keys::Data || other.keys == Keys::Data {
            self.fold();
            other.fold();
        }
        for (key, field) in other.fields {
            match self.fields.get_mut(&key) {
                Some(own) => own.join(field),
                None => {
                    self.fields.insert(key, field);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(source: &str) -> SourceIdentity {
        SourceIdentity { source: source.into(), profile: "default".into(), cursor: "created_at".into() }
    }

    #[test]
    fn shapes_are_read_as_they_were_written_and_take_little_room() {
        let mut shapes = Shapes::default();
        let mut shape = Shape { types: "o".to_owned().into(), ..Shape::default() };
        shape.fields.insert("id".into(), Shape { types: "n".to_owned().into(), ..Shape::default() });
        let gone = Shape { types: "0t".to_owned().into(), presence: Presence::Vanished, ..Shape::default() };
        shape.fields.insert("note".into(), gone);
        shapes.remember(&identity("shop"), shape.clone());
        let json = serde_json::to_string(&shapes).unwrap();
        assert!(json.contains(r#""shape":{"t":"o","f":{"id":{"t":"n"},"note":{"t":"0t","p":"vanished"}}}"#), "{json}");
        let read: Shapes = serde_json::from_str(&json).unwrap();
        assert_eq!((read.of(&identity("shop")), read.of(&identity("other"))), (Some(&shape), None));
    }

    #[test]
    fn the_source_that_was_read_longest_ago_is_forgotten() {
        let mut shapes = Shapes::default();
        for number in 0..=MOST_SOURCES {
            shapes.remember(&identity(&number.to_string()), Shape::default());
            shapes.remember(&identity("0"), Shape::default());
        }
        assert_eq!(shapes.sources.len(), MOST_SOURCES);
        assert!(shapes.of(&identity("0")).is_some() && shapes.of(&identity("1")).is_none());
    }
}
