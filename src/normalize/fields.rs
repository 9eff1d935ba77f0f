//! Which paths of a document lead to which field: compiled once into a trie, which a record's bytes are walked along.

use super::scalar::Scalar;
use crate::{
    model::{FieldPath, MinorUnits, equal_numbers},
    settings::{FieldRule, ScaleText, TimeText, Units},
};

/// The places in a document that are captured. Each has a number, its leaf.
#[derive(Default)]
pub(super) struct PathTrie {
    pub(super) root: Node,
    /// How many places are captured.
    pub(super) leaves: usize,
}

/// A field: where its value is looked for, and how it is written.
pub(super) struct Field {
    /// The leaves to try, in order.
    pub(super) leaves: Vec<usize>,
    /// Values that count as missing, beside null and blank text.
    missing: Vec<Box<str>>,
    /// The value where no leaf holds one.
    default: Option<Box<str>>,
    pub(super) units: AmountUnits,
    pub(super) time: TimeText,
}

/// What an amount is written in.
pub(super) enum AmountUnits {
    /// So many decimals below major units.
    Decimals(u32),
    /// Minor units of the currency of the record.
    OfCurrency(MinorUnits),
    /// What stands at a leaf beside the amount says it.
    Beside {
        /// The leaf; `None` where the path leads nowhere.
        leaf: Option<usize>,
        scale: ScaleText,
    },
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
    /// The leaves inside of it.
    pub(super) inner_leaves: Vec<usize>,
}

impl Node {
    /// What a key leads to. The keys are few: comparing lengths first beats a hash.
    pub(super) fn child(&self, key: &[u8]) -> Option<&Child> {
        self.children.iter().find(|(name, _)| name.as_bytes() == key).map(|(_, child)| child)
    }

    /// What a place in an array leads to.
    pub(super) fn element(&self, index: usize) -> Option<&Child> {
        self.child(itoa::Buffer::new().format(index).as_bytes())
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

impl PathTrie {
    /// Compiles the rule of a field.
    pub(super) fn field(&mut self, rule: &FieldRule) -> Field {
        let units = match &rule.units {
            Units::Major => AmountUnits::Decimals(0),
            Units::Minor(decimals) => AmountUnits::Decimals(*decimals),
            Units::OfCurrency(minor) => AmountUnits::OfCurrency(*minor),
            Units::Beside { path, scale } => AmountUnits::Beside { leaf: self.leaf(path), scale: *scale },
        };
        Field {
            leaves: rule.paths.iter().filter_map(|path| self.leaf(path)).collect(),
            missing: rule.missing.iter().map(|value| value.trim().into()).collect(),
            default: rule.default.as_deref().map(Into::into),
            units,
            time: rule.time,
        }
    }

    /// The leaf of a path; one place may serve several fields. The whole document is none.
    fn leaf(&mut self, path: &FieldPath) -> Option<usize> {
        let (last, parents) = path.steps().split_last()?;
        let next = self.leaves;
        let node = parents.iter().fold(&mut self.root, |node, key| &mut node.child_mut(key).inner);
        let leaf = *node.child_mut(last).leaf.get_or_insert(next);
        self.leaves += usize::from(leaf == next);
        parents.iter().fold(&mut self.root, |node, key| {
            let child = node.child_mut(key);
            if !child.inner_leaves.contains(&leaf) {
                child.inner_leaves.push(leaf);
            }
            &mut child.inner
        });
        Some(leaf)
    }
}

impl Field {
    /// The value of the first leaf that holds something, or else the default.
    pub(super) fn value<'a>(&'a self, cells: &[Option<&'a str>]) -> Scalar<'a> {
        for &leaf in &self.leaves {
            if let Some(value) = cells[leaf].and_then(|raw| self.held(raw)) {
                return value;
            }
        }
        self.default()
    }

    /// The first of some raw values that holds something, or else the default.
    pub(super) fn first<'a>(&'a self, mut values: impl Iterator<Item = &'a str>) -> Scalar<'a> {
        values.find_map(|raw| self.held(raw)).unwrap_or_else(|| self.default())
    }

    /// A raw value, where it holds something.
    fn held<'a>(&self, raw: &'a str) -> Option<Scalar<'a>> {
        match Scalar::of(raw) {
            Scalar::Missing => None,
            value if self.counts_as_missing(&value) => None,
            value => Some(value),
        }
    }

    fn default(&self) -> Scalar<'_> {
        self.default.as_deref().map_or(Scalar::Missing, |default| Scalar::Text(default.into()))
    }

    fn counts_as_missing(&self, value: &Scalar<'_>) -> bool {
        if self.missing.is_empty() {
            return false;
        }
        let text = match value {
            Scalar::Text(text) => text.as_ref(),
            Scalar::Number(raw) | Scalar::Bool(raw) => raw,
            Scalar::Missing | Scalar::Other => return false,
        };
        self.missing.iter().any(|missing| **missing == *text || equal_numbers(missing, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(paths: &[&str]) -> FieldRule {
        FieldRule { paths: paths.iter().map(|path| path.parse().unwrap()).collect(), ..FieldRule::default() }
    }

    #[test]
    fn a_place_serves_every_field_that_names_it() {
        let mut trie = PathTrie::default();
        let fields = [trie.field(&rule(&["sku", "product_id"])), trie.field(&rule(&["product_id", "product.0.id"]))];
        assert_eq!(trie.leaves, 3);
        assert_eq!([&fields[0].leaves, &fields[1].leaves], [&vec![0, 1], &vec![1, 2]]);
        let product = trie.root.child(b"product").unwrap();
        assert_eq!((product.leaf, product.inner.has_indexes, trie.root.has_indexes), (None, true, false));
        assert_eq!(product.inner.element(0).unwrap().inner.child(b"id").unwrap().leaf, Some(2));
        assert!(trie.root.child(b"other").is_none() && product.inner.element(1).is_none());
    }

    #[test]
    fn what_counts_as_missing_is_passed_over() {
        let mut trie = PathTrie::default();
        let missing = vec!["0".to_owned(), "n/a".to_owned(), "false".to_owned()];
        let field = trie.field(&FieldRule { missing, default: Some("d".into()), ..rule(&["a", "b"]) });
        let value = |a, b| field.value(&[a, b]).into_text().map(|text| text.into_owned());
        for a in ["0", "0.0", "-0e1", "\"0\"", "\" n/a \"", "false", "null", "\"\""] {
            assert_eq!(value(Some(a), Some("7")).as_deref(), Some("7"), "{a}");
            assert_eq!(value(Some(a), None).as_deref(), Some("d"), "{a}");
        }
        for a in ["1", "\"00x\"", "true", "\"N/A\""] {
            assert_ne!(value(Some(a), Some("7")).as_deref(), Some("7"), "{a}");
        }
    }
}
