//! Which paths of a document lead to which field: compiled once into a trie, which a record's bytes are walked along.

use crate::{
    model::FieldPath,
    settings::{FieldRule, TimeText, Units},
};

/// Places in a document that are to be captured, and the fields that they serve.
pub(super) struct FieldMap {
    pub(super) root: Node,
    /// How many places are captured.
    pub(super) leaves: usize,
    /// Each field.
    pub(super) fields: Vec<Field>,
}

/// A field: where its value is looked for.
pub(super) struct Field {
    /// The places to try, in order.
    pub(super) places: Vec<usize>,
    /// The value where none of them holds any.
    pub(super) default: Option<Box<str>>,
    pub(super) units: Units,
    pub(super) time: TimeText,
}

/// One object, or array, on the way to a place.
#[derive(Default)]
pub(super) struct Node {
    children: Vec<(Box<str>, Child)>,
    /// Whether a child is named as a place in an array.
    pub(super) has_indexes: bool,
}

/// What a key of an object leads to.
#[derive(Default)]
pub(super) struct Child {
    /// The place that this value is captured at.
    pub(super) leaf: Option<usize>,
    /// What is captured inside of it.
    pub(super) inner: Node,
}

impl Node {
    /// What a key leads to. The keys are few: comparing lengths first beats a hash.
    pub(super) fn child(&self, key: &str) -> Option<&Child> {
        self.children.iter().find(|(name, _)| **name == *key).map(|(_, child)| child)
    }

    /// What a place in an array leads to.
    pub(super) fn element(&self, index: usize) -> Option<&Child> {
        self.child(itoa::Buffer::new().format(index))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    fn child_mut(&mut self, key: &str) -> &mut Child {
        let place = self.children.iter().position(|(name, _)| **name == *key).unwrap_or_else(|| {
            self.children.push((key.into(), Child::default()));
            self.has_indexes |= key.bytes().all(|byte| byte.is_ascii_digit());
            self.children.len() - 1
        });
        &mut self.children[place].1
    }
}

impl FieldMap {
    /// Compiles the rule of each field.
    pub(super) fn new<'r>(rules: impl IntoIterator<Item = &'r FieldRule>) -> FieldMap {
        let mut map = FieldMap { root: Node::default(), leaves: 0, fields: Vec::new() };
        for rule in rules {
            let places = rule.paths.iter().filter_map(|path| map.leaf(path)).collect();
            map.fields.push(Field { places, default: rule.default.as_deref().map(Into::into), units: rule.units.clone(), time: rule.time });
        }
        map
    }

    /// The place that a path captures; one place may serve several fields. The whole document is none.
    fn leaf(&mut self, path: &FieldPath) -> Option<usize> {
        let (last, parents) = path.steps().split_last()?;
        let node = parents.iter().fold(&mut self.root, |node, key| &mut node.child_mut(key).inner);
        let leaf = &mut node.child_mut(last).leaf;
        Some(*leaf.get_or_insert_with(|| {
            self.leaves += 1;
            self.leaves - 1
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_serves_every_field_that_names_it() {
        let rule = |paths: &[&str]| FieldRule { paths: paths.iter().map(|path| path.parse().unwrap()).collect(), ..FieldRule::default() };
        let map = FieldMap::new(&[rule(&["sku", "product_id"]), rule(&["product_id", "product.0.id"])]);
        assert_eq!(map.leaves, 3);
        assert_eq!([&map.fields[0].places, &map.fields[1].places], [&vec![0, 1], &vec![1, 2]]);
        let product = map.root.child("product").unwrap();
        assert_eq!((product.leaf, product.inner.has_indexes, map.root.has_indexes), (None, true, false));
        assert_eq!(product.inner.element(0).unwrap().inner.child("id").unwrap().leaf, Some(2));
        assert!(map.root.child("other").is_none() && product.inner.element(1).is_none());
    }
}
