//! The id by which a line of a refund names a line of its order: in the line itself, or in one element of a list of keys and values.

use super::{
    fields::{Field, PathTrie},
    mapping::SkipField,
    raw_json,
    scalar::Scalar,
    walk::{Captured, Maps},
};
use crate::settings::{KeyedList, OrderLineKey};

/// Where the id is, compiled.
pub(super) enum LineKeyField {
    /// In the line.
    Own(Field),
    /// In the first element of a list that fulfils a condition.
    Among(Box<KeyedElement>),
}

/// The element of a list that has the id.
pub(super) struct KeyedElement {
    /// The leaf of the list, in the line; `None` if its path is empty.
    list: Option<usize>,
    /// The fields of an element.
    maps: Maps,
    when: SkipField,
    id: Field,
}

impl LineKeyField {
    pub(super) fn compile(key: &OrderLineKey, line: &mut PathTrie) -> LineKeyField {
        let Some(KeyedList { list, when }) = &key.among else { return LineKeyField::Own(line.field(&key.id)) };
        let mut element = PathTrie { zone: line.zone, ..PathTrie::default() };
        let (when, id) = (SkipField::compile(when, &mut element), element.field(&key.id));
        let maps = Maps { record: element, ..Maps::default() };
        LineKeyField::Among(Box::new(KeyedElement { list: line.leaf(list), maps, when, id }))
    }

    /// The id that the values of a line hold.
    pub(super) fn value<'a>(&'a self, cells: &[Option<&'a str>]) -> Scalar<'a> {
        match self {
            LineKeyField::Own(field) => field.value(cells),
            LineKeyField::Among(element) => element.id(cells).unwrap_or(Scalar::Missing),
        }
    }
}

impl KeyedElement {
    fn id<'a>(&'a self, cells: &[Option<&'a str>]) -> Option<Scalar<'a>> {
        let list: &'a str = cells.get(self.list?).copied().flatten()?;
        let Some(elements) = raw_json::elements(list) else {
            // What is no list can't be read, and is not missing.
            return (Scalar::of(list) != Scalar::Missing).then_some(Scalar::Other);
        };
        let mut captured: Captured<'a> = Captured::new(&self.maps);
        let fulfils = |element: &&'a str| captured.walk(&self.maps, element.as_bytes()) && self.when.applies(&captured.cells);
        elements.into_iter().find(fulfils)?;
        Some(self.id.value(&captured.cells))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{FieldRule, SkipRule, SkipValues};

    fn id(line: &str) -> Option<String> {
        let rule = |path: &str| FieldRule { paths: vec![path.parse().unwrap()], ..FieldRule::default() };
        let when = SkipRule { path: "key".parse().unwrap(), values: SkipValues::OneOf(vec!["of_line".to_owned()]) };
        let among = Some(KeyedList { list: "meta".parse().unwrap(), when });
        let mut trie = PathTrie::default();
        let key = LineKeyField::compile(&OrderLineKey { id: rule("value"), line: rule("id"), among }, &mut trie);
        let maps = Maps { record: trie, ..Maps::default() };
        let mut captured = Captured::new(&maps);
        assert!(captured.walk(&maps, line.as_bytes()));
        key.value(&captured.cells).into_id().map(std::borrow::Cow::into_owned)
    }

    #[test]
    fn an_id_stands_in_the_element_of_its_key() {
        for (line, expected) in [
            (r#"{"meta":[{"key":"size","value":"L"},{"id":9,"key":"of_line","value":"311"},{"key":"of_line","value":"5"}]}"#, Some("311")),
            (r#"{"meta":[7,{"key":"of_line","value":311}]}"#, Some("311")),
            (r#"{"meta":[{"key":"size","value":"L"}]}"#, None),
            (r#"{"meta":[{"key":"of_line"}]}"#, None),
            (r#"{"meta":{"key":"of_line","value":"311"}}"#, None),
            (r#"{"meta":null}"#, None),
            ("{}", None),
        ] {
            assert_eq!(id(line).as_deref(), expected, "{line}");
        }
    }
}
