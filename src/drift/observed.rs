//! What some records look like: a tree of paths, filled value by value.

use std::collections::BTreeMap;

use super::{JsonType, JsonTypes, Keys, MOST_KEYS, MOST_LEVELS, MOST_PATHS};
use crate::model::WILDCARD;

/// The shape of some records, and how many of them have each path.
#[derive(Clone, Default, Debug)]
pub struct ObservedShape {
    pub(super) root: ObservedNode,
    bounds: Bounds,
}

/// A path in some records.
#[derive(Clone, Default, Debug)]
pub(super) struct ObservedNode {
    pub(super) types: JsonTypes,
    /// Whether a number has decimals or an exponent.
    pub(super) has_fractions: bool,
    /// How many records have the path: of a map, at least so many.
    pub(super) records: u64,
    /// The last record that was counted.
    latest: u64,
    pub(super) keys: Keys,
    pub(super) fields: BTreeMap<String, ObservedNode>,
}

/// How much was observed.
#[derive(Clone, Copy, Default, Debug)]
struct Bounds {
    /// The records so far: the number of the current one, from 1.
    records: u64,
    /// The paths so far.
    paths: usize,
    has_too_many: bool,
    has_too_deep: bool,
}

/// A place in the current record, where a value stands.
pub struct Place<'s> {
    node: &'s mut ObservedNode,
    bounds: &'s mut Bounds,
    level: usize,
}

impl ObservedShape {
    /// Begins another record: its whole document.
    pub fn record(&mut self) -> Place<'_> {
        self.bounds.records += 1;
        Place { node: &mut self.root, bounds: &mut self.bounds, level: 0 }
    }

    /// How many records were observed.
    pub fn records(&self) -> u64 {
        self.bounds.records
    }

    /// Whether some paths were too many or too deep, and were left out.
    pub fn is_cut(&self) -> bool {
        self.bounds.has_too_many || self.bounds.has_too_deep
    }

    /// Whether some paths were too many, so that a path that is not there may have been left out.
    pub(super) fn has_too_many(&self) -> bool {
        self.bounds.has_too_many
    }

    /// Adds what was observed of other records.
    pub fn absorb(&mut self, other: ObservedShape) {
        if other.bounds.records == 0 {
            return;
        }
        self.root.merge_unfolded(other.root, |records, more| records + more);
        self.bounds.records += other.bounds.records;
        self.bounds.has_too_deep |= other.bounds.has_too_deep;
        self.bounds.has_too_many |= other.bounds.has_too_many;
        let mut left = MOST_PATHS;
        self.bounds.has_too_many |= self.root.keep(&mut left);
        self.bounds.paths = MOST_PATHS - left;
    }
}

impl Place<'_> {
    /// Notes the type of the value that stands here.
    pub fn is_a(&mut self, kind: JsonType) {
        self.node.types.insert(kind);
        if self.node.latest != self.bounds.records {
            self.node.latest = self.bounds.records;
            self.node.records += 1;
        }
    }

    /// Notes that the number that stands here has decimals or an exponent.
    pub fn has_fraction(&mut self) {
        self.node.has_fractions = true;
    }

    /// The place of a key of the object that stands here; `None` if it is not observed.
    pub fn field(&mut self, key: &str) -> Option<Place<'_>> {
        // Digits are an id or a place, and no name.
        let is_data = self.node.keys == Keys::Data || (!key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit()));
        let key = if is_data { WILDCARD } else { key };
        let is_full = self.node.fields.len() >= MOST_KEYS && !self.node.fields.contains_key(key) && key != WILDCARD;
        // The fields of a record are names, however many.
        if is_full && (1..MOST_LEVELS).contains(&self.level) {
            let before = self.node.size();
            self.node.fold();
            self.bounds.paths = (self.bounds.paths + self.node.size()).saturating_sub(before);
            return self.inner(WILDCARD);
        }
        self.inner(key)
    }

    /// The place of an element of the list that stands here; `None` if it is not observed.
    pub fn element(&mut self) -> Option<Place<'_>> {
        self.inner(WILDCARD)
    }

    fn inner(&mut self, key: &str) -> Option<Place<'_>> {
        let is_new = !self.node.fields.contains_key(key);
        if self.level >= MOST_LEVELS {
            self.bounds.has_too_deep = true;
            return None;
        }
        if is_new && self.bounds.paths >= MOST_PATHS {
            self.bounds.has_too_many = true;
            return None;
        }
        if is_new {
            self.bounds.paths += 1;
            self.node.fields.insert(key.to_owned(), ObservedNode::default());
        }
        let node = self.node.fields.get_mut(key)?;
        Some(Place { node, bounds: &mut *self.bounds, level: self.level + 1 })
    }
}

impl ObservedNode {
    /// The number of paths beneath this one.
    pub(super) fn size(&self) -> usize {
        self.fields.values().map(|field| 1 + field.size()).sum()
    }

    /// Makes one path of all keys. Each record may have had several of them: at least as many as the most common one had it.
    pub(super) fn fold(&mut self) {
        super::fold(&mut self.keys, &mut self.fields, |all, field| all.merge(field, u64::max));
    }

    /// Adds what was observed at another path, or at this one in other records. `count` says how many records have either.
    fn merge(&mut self, mut other: ObservedNode, count: fn(u64, u64) -> u64) {
        let new_keys = other.fields.keys().filter(|key| !self.fields.contains_key(*key)).count();
        if self.keys == Keys::Data || other.keys == Keys::Data || self.fields.len() + new_keys > MOST_KEYS {
            self.fold();
            other.fold();
        }
        self.merge_unfolded(other, count);
    }

    fn merge_unfolded(&mut self, other: ObservedNode, count: fn(u64, u64) -> u64) {
        self.types = self.types.with(other.types);
        self.has_fractions |= other.has_fractions;
        self.records = count(self.records, other.records);
        self.latest = self.latest.max(other.latest);
        for (key, field) in other.fields {
            match self.fields.get_mut(&key) {
                Some(own) => own.merge(field, count),
                None => {
                    self.fields.insert(key, field);
                }
            }
        }
    }

    /// Leaves out the paths that `left` has no room for, and tells whether there were any.
    fn keep(&mut self, left: &mut usize) -> bool {
        let mut is_cut = false;
        self.fields.retain(|_, field| {
            if *left == 0 {
                is_cut = true;
                return false;
            }
            *left -= 1;
            is_cut |= field.keep(left);
            true
        });
        is_cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record with a map of these keys.
    fn note(shape: &mut ObservedShape, keys: &[&str]) {
        let mut record = shape.record();
        let Some(mut map) = record.field("m") else { return };
        map.is_a(JsonType::Object);
        for key in keys {
            if let Some(mut field) = map.field(key) {
                field.is_a(JsonType::Number);
            }
        }
    }

    fn map(shape: &ObservedShape) -> &BTreeMap<String, ObservedNode> {
        &shape.root.fields["m"].fields
    }

    fn keys(shape: &ObservedShape) -> Vec<&str> {
        map(shape).keys().map(String::as_str).collect()
    }

    #[test]
    fn a_record_counts_once_for_each_of_its_paths() {
        let mut shape = ObservedShape::default();
        let mut record = shape.record();
        let mut list = record.field("m").unwrap();
        for _ in 0..3 {
            list.element().unwrap().is_a(JsonType::Text);
        }
        note(&mut shape, &["a"]);
        let mut other = ObservedShape::default();
        note(&mut other, &["a", "b"]);
        shape.absorb(other);
        let counts: Vec<_> = map(&shape).iter().map(|(key, field)| (key.as_str(), field.records)).collect();
        assert_eq!((shape.records(), counts), (3, vec![("*", 1), ("a", 2), ("b", 1)]));
    }

    #[test]
    fn keys_of_a_map_are_one_path_however_the_records_come() {
        let names: Vec<String> = (0..=MOST_KEYS).map(|number| format!("k{number}")).collect();
        let mut at_once = ObservedShape::default();
        names.iter().for_each(|name| note(&mut at_once, &[name.as_str()]));
        let mut in_parts = ObservedShape::default();
        for part in names.chunks(100) {
            let mut other = ObservedShape::default();
            part.iter().for_each(|name| note(&mut other, &[name.as_str()]));
            in_parts.absorb(other);
        }
        assert_eq!((keys(&at_once), keys(&in_parts)), (vec!["*"], vec!["*"]));
        assert_eq!((at_once.bounds.paths, in_parts.bounds.paths), (2, 2));
        let mut few = ObservedShape::default();
        names.iter().skip(1).for_each(|name| note(&mut few, &[name.as_str()]));
        assert_eq!(map(&few).len(), MOST_KEYS);
        note(&mut few, &["17", "2026"]);
        assert!(map(&few).len() == MOST_KEYS + 1 && map(&few).contains_key("*"), "digits are no name");
    }

    #[test]
    fn paths_beyond_the_bounds_are_left_out_and_that_is_noted() {
        let mut shape = ObservedShape::default();
        for first in 0..20 {
            let mut record = shape.record();
            let Some(mut outer) = record.field(&format!("o{first}")) else { continue };
            for second in 0..150 {
                outer.field(&format!("i{second}"));
            }
        }
        assert!(shape.has_too_many() && shape.root.size() == MOST_PATHS, "{}", shape.root.size());
        let mut deep = ObservedShape::default();
        fn nest(place: &mut Place<'_>) -> usize {
            place.field("a").map_or(0, |mut inner| 1 + nest(&mut inner))
        }
        assert_eq!(nest(&mut deep.record()), MOST_LEVELS);
        assert!(deep.is_cut() && !deep.has_too_many());
        let mut other = ObservedShape::default();
        note(&mut other, &["zz"]);
        shape.absorb(other);
        assert_eq!(shape.root.size(), MOST_PATHS);
    }
}
