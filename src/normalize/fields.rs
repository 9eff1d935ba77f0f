//! The paths of each field, compiled once into a trie. The parser follows the trie through the bytes of a record.

use hashbrown::HashMap;

use super::{raw_json, scalar::Scalar};
use crate::{
    model::{self, FieldPath, MinorUnits, UtcMicros, WILDCARD, equal_numbers, is_same_value},
    settings::{FieldRule, PathRule, ScaleText, TimeText, Units},
};

/// The paths whose values are captured. Each path has a number, its leaf.
#[derive(Default)]
pub(super) struct PathTrie {
    pub(super) root: Node,
    /// The number of captured paths.
    pub(super) leaves: usize,
    /// The zone of times that have none; `None`: UTC.
    pub(super) zone: Option<chrono_tz::Tz>,
}

/// A field: the paths of its value, and the format of the value.
pub(super) struct Field {
    /// The leaves to try, in order.
    pub(super) leaves: Vec<usize>,
    /// Values that count as missing, in addition to null and blank text.
    missing: Vec<Box<str>>,
    /// The value if every leaf is missing.
    default: Option<Box<str>>,
    pub(super) units: AmountUnits,
    pub(super) time: TimeText,
    zone: Option<chrono_tz::Tz>,
    /// Only what follows the last of this text counts.
    after: Option<Box<str>>,
    /// What values of the source mean.
    map: HashMap<Box<str>, Box<str>>,
    /// Rules of single leaves, at their places; empty if no leaf has some.
    own: Vec<LeafRule>,
}

/// What holds for the values of one leaf, beside the rules of the field.
#[derive(Default)]
struct LeafRule {
    missing: Vec<Box<str>>,
    after: Option<Box<str>>,
}

impl LeafRule {
    fn compile(rule: &PathRule) -> LeafRule {
        LeafRule { missing: trimmed(&rule.missing), after: not_empty(rule.after.as_deref()) }
    }
}

fn trimmed(values: &[String]) -> Vec<Box<str>> {
    values.iter().map(|value| value.trim().into()).collect()
}

fn not_empty(text: Option<&str>) -> Option<Box<str>> {
    text.filter(|text| !text.is_empty()).map(Into::into)
}

/// The units of an amount.
pub(super) enum AmountUnits {
    /// Minor units with this number of decimals; 0 is major units.
    Decimals(u32),
    /// Minor units of the record's currency.
    OfCurrency(MinorUnits),
    /// A value beside the amount gives the scale.
    Beside {
        /// The leaf of the scale; `None` if its path is empty.
        leaf: Option<usize>,
        scale: ScaleText,
    },
}

/// One object or array on a captured path.
#[derive(Default)]
pub(super) struct Node {
    /// The places of the children, by their keys.
    places: HashMap<Box<[u8]>, usize>,
    children: Vec<Child>,
    /// Whether the key of a child can be an array index, or stands for every element.
    pub(super) has_indexes: bool,
    /// Whether a child stands for every element.
    has_elements: bool,
}

/// What a key of an object leads to.
#[derive(Default)]
pub(super) struct Child {
    /// The leaf, if this value itself is captured.
    pub(super) leaf: Option<usize>,
    /// The captured paths inside this value.
    pub(super) inner: Node,
    /// The leaves inside this value.
    pub(super) inner_leaves: Vec<usize>,
    /// Whether it is, or lies in, every element of an array: what is found there adds to what was found before.
    pub(super) adds: bool,
    /// Whether it is every element of an array.
    is_element: bool,
}

impl Child {
    /// Whether a path leads on from here, and this is a list that it leads into every element of, or such an element.
    #[inline]
    pub(super) fn leads_through_elements(&self) -> bool {
        (self.is_element || self.inner.has_elements) && !self.inner.is_empty()
    }

    /// Whether its paths can lead on from a value. None leads on from null, blank text, or what is empty: that is no mistake.
    pub(super) fn leads_on_from(&self, raw: &str) -> bool {
        let takes_its_shape = match raw.as_bytes().first() {
            Some(b'[') => self.inner.has_indexes,
            Some(b'{') => !self.inner.has_elements || self.inner.children.len() > 1,
            _ => Scalar::of(raw) == Scalar::Missing,
        };
        takes_its_shape || raw_json::is_empty(raw)
    }
}

impl Node {
    /// The child at a place.
    #[inline]
    pub(super) fn child(&self, place: usize) -> Option<&Child> {
        self.children.get(place)
    }

    /// The place of the child of a key.
    #[inline]
    pub(super) fn place(&self, key: &[u8]) -> Option<usize> {
        self.places.get(key).copied()
    }

    /// The place of the child of an array index.
    pub(super) fn place_of_element(&self, index: usize) -> Option<usize> {
        self.place(itoa::Buffer::new().format(index).as_bytes()).or_else(|| self.place(WILDCARD.as_bytes()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    fn child_mut(&mut self, key: &str) -> &mut Child {
        let is_element = key == WILDCARD;
        self.has_elements |= is_element;
        self.has_indexes |= is_element || key.bytes().all(|byte| byte.is_ascii_digit());
        let next = self.children.len();
        let place = *self.places.entry_ref(key.as_bytes()).or_insert(next);
        if place == next {
            self.children.push(Child { is_element, ..Child::default() });
        }
        &mut self.children[place]
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
        let places: Vec<(usize, LeafRule)> = rule
            .paths
            .iter()
            .filter_map(|path| {
                let own = rule.own.get(path).map(LeafRule::compile).unwrap_or_default();
                Some((self.leaf(path)?, own))
            })
            .collect();
        let (leaves, own) = places.into_iter().unzip();
        Field {
            leaves,
            own: if rule.own.is_empty() { Vec::new() } else { own },
            missing: trimmed(&rule.missing),
            default: rule.default.as_deref().map(Into::into),
            units,
            time: rule.time,
            zone: self.zone,
            after: not_empty(rule.after.as_deref()),
            map: rule.map.iter().map(|(value, meaning)| (value.as_str().into(), meaning.as_str().into())).collect(),
        }
    }

    /// The leaf of a path; several fields may share it. `None` for the empty path, the whole document.
    pub(super) fn leaf(&mut self, path: &FieldPath) -> Option<usize> {
        let (last, parents) = path.steps().split_last()?;
        let next = self.leaves;
        let (mut node, mut adds) = (&mut self.root, false);
        for key in parents {
            let child = node.child_mut(key);
            adds |= key == WILDCARD;
            child.adds |= adds;
            node = &mut child.inner;
        }
        let child = node.child_mut(last);
        child.adds |= adds;
        let leaf = *child.leaf.get_or_insert(next);
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
    /// The value of the first leaf that is not missing, or else the default.
    #[inline]
    pub(super) fn value<'a>(&'a self, cells: &[Option<&'a str>]) -> Scalar<'a> {
        // Nearly every field: the value counts as it stands, and the loop stays small.
        if self.has_own_values() {
            let mut values = self.leaves.iter().enumerate().filter_map(|(place, &leaf)| Some((place, cells[leaf]?)));
            return values.find_map(|(place, raw)| self.held_at(place, raw)).unwrap_or_else(|| self.default());
        }
        for &leaf in &self.leaves {
            match cells[leaf].map(Scalar::of) {
                None | Some(Scalar::Missing) => {}
                Some(value) => return value,
            }
        }
        self.default()
    }

    /// The first of some raw values that holds something, or else the default.
    pub(super) fn first<'a>(&'a self, mut values: impl Iterator<Item = &'a str>) -> Scalar<'a> {
        values.find_map(|raw| self.held(raw)).unwrap_or_else(|| self.default())
    }

    /// Whether values of the source mean something else than what they say.
    fn has_own_values(&self) -> bool {
        !self.missing.is_empty() || self.after.is_some() || !self.map.is_empty() || !self.own.is_empty()
    }

    /// A raw value, where it holds something. Where its leaf is known, see [`Field::held_at`].
    pub(super) fn held<'a>(&'a self, raw: &'a str) -> Option<Scalar<'a>> {
        self.held_by(raw, None)
    }

    /// The raw value of the leaf at a place, where it holds something.
    pub(super) fn held_at<'a>(&'a self, place: usize, raw: &'a str) -> Option<Scalar<'a>> {
        self.held_by(raw, self.own.get(place))
    }

    fn held_by<'a>(&'a self, raw: &'a str, own: Option<&'a LeafRule>) -> Option<Scalar<'a>> {
        let after = own.and_then(|own| own.after.as_deref()).or(self.after.as_deref());
        match Scalar::of(raw) {
            Scalar::Missing => None,
            value if is_among(&self.missing, &value) || own.is_some_and(|own| is_among(&own.missing, &value)) => None,
            value if after.is_none() && self.map.is_empty() => Some(value),
            value => Some(self.meaning(value, after)).filter(|value| *value != Scalar::Missing),
        }
    }

    /// What a value of the source means.
    fn meaning<'a>(&'a self, value: Scalar<'a>, after: Option<&str>) -> Scalar<'a> {
        let value = match (after, value) {
            (Some(after), Scalar::Text(text)) => match text.rsplit_once(after) {
                Some((_, rest)) => model::clean_text(rest).map_or(Scalar::Missing, |rest| Scalar::Text(rest.into_owned().into())),
                None => Scalar::Text(text),
            },
            (_, value) => value,
        };
        let text = match &value {
            Scalar::Text(text) => text.as_ref(),
            Scalar::Number(raw) | Scalar::Bool(raw) => raw,
            Scalar::Missing | Scalar::Other => return value,
        };
        let by_number = || self.map.iter().find(|(known, _)| equal_numbers(known, text)).map(|(_, meaning)| meaning);
        match self.map.get(text).or_else(by_number) {
            Some(meaning) => model::clean_text(meaning).map_or(Scalar::Missing, Scalar::Text),
            None => value,
        }
    }

    /// The instant of a value of this field.
    pub(super) fn instant(&self, value: &Scalar<'_>) -> Option<UtcMicros> {
        value.instant(self.time, self.zone)
    }

    /// The value where every leaf is missing.
    pub(super) fn default(&self) -> Scalar<'_> {
        self.default.as_deref().map_or(Scalar::Missing, |default| Scalar::Text(default.into()))
    }
}

/// Whether a value is one of those that count as missing.
fn is_among(missing: &[Box<str>], value: &Scalar<'_>) -> bool {
    if missing.is_empty() {
        return false;
    }
    let text = match value {
        Scalar::Text(text) => text.as_ref(),
        Scalar::Number(raw) | Scalar::Bool(raw) => raw,
        Scalar::Missing | Scalar::Other => return false,
    };
    missing.iter().any(|missing| is_same_value(missing, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(paths: &[&str]) -> FieldRule {
        FieldRule { paths: paths.iter().map(|path| path.parse().unwrap()).collect(), ..FieldRule::default() }
    }

    #[test]
    fn fields_with_the_same_path_share_a_leaf() {
        let mut trie = PathTrie::default();
        let fields = [trie.field(&rule(&["sku", "product_id"])), trie.field(&rule(&["product_id", "product.0.id"]))];
        assert_eq!(trie.leaves, 3);
        assert_eq!([&fields[0].leaves, &fields[1].leaves], [&vec![0, 1], &vec![1, 2]]);
        fn child<'n>(node: &'n Node, key: &[u8]) -> &'n Child {
            node.child(node.place(key).unwrap()).unwrap()
        }
        let product = child(&trie.root, b"product");
        assert_eq!((product.leaf, product.inner.has_indexes, trie.root.has_indexes), (None, true, false));
        assert_eq!(product.inner.place_of_element(0), product.inner.place(b"0"));
        assert_eq!(child(&child(&product.inner, b"0").inner, b"id").leaf, Some(2));
        assert!(trie.root.place(b"other").is_none() && product.inner.place_of_element(1).is_none());
    }

    #[test]
    fn the_rules_of_a_path_hold_for_its_values_alone() {
        let mut trie = PathTrie::default();
        let of_id = PathRule { missing: vec!["0".to_owned()], after: Some("/".to_owned()) };
        let own = [("id".parse().unwrap(), of_id)].into();
        let field = trie.field(&FieldRule { own, ..rule(&["sku", "id"]) });
        let value = |sku, id| field.value(&[sku, id]).into_text().map(|text| text.into_owned());
        for (sku, id, expected) in [
            (Some("\"TEE/RED/M\""), Some("\"gid://shopify/LineItem/1\""), "TEE/RED/M"),
            (Some("\"A/\""), Some("\"gid://shopify/LineItem/1\""), "A/"),
            (Some("\"0\""), Some("7"), "0"),
            (Some("\"00\""), Some("7"), "00"),
            (Some("\"\""), Some("\"gid://shopify/LineItem/1\""), "1"),
            (None, Some("\"gid://shopify/LineItem/1\""), "1"),
        ] {
            assert_eq!(value(sku, id).as_deref(), Some(expected), "{sku:?} {id:?}");
        }
        assert_eq!((value(None, Some("0")), value(None, Some("\"x/\""))), (None, None));
    }

    #[test]
    fn values_that_count_as_missing_are_skipped() {
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
