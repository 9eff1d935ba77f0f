//! One pass over the bytes of a record: captures the values at the paths of the fields as slices of the source. All other
//! values are only validated. The module `record` interprets the slices.

use std::{fmt, ops::Range};

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::fields::{Child, Node, PathTrie};
use crate::{
    model,
    settings::{LineLists, ObjectInPlace, WhichLists},
};

/// The captured slices of one record.
pub(super) struct Captured<'a> {
    pub(super) cells: Vec<Option<&'a str>>,
    /// What each path that may hold the lines contains, by leaf.
    lists: Vec<List>,
    /// The lines of each list: its leaf, and their places among all lines. A path into every element of an array has several.
    runs: Vec<LineRun>,
    /// The cells of all lines, one after the other.
    line_cells: Vec<Option<&'a str>>,
    line_width: usize,
    /// Whether each line is an object.
    line_is_object: Vec<bool>,
    /// The text of each line; empty unless the walk was careful.
    line_texts: Vec<&'a str>,
}

/// The value at a path that may hold the lines of a record.
#[derive(Clone, Copy, PartialEq)]
enum List {
    Missing,
    NotAnArray,
    Lines,
}

/// Lines of one list, one after the other.
#[derive(Clone)]
struct LineRun {
    leaf: usize,
    lines: Range<usize>,
}

/// The paths of the fields of records and of their lines.
#[derive(Default)]
pub(super) struct Maps {
    pub(super) record: PathTrie,
    /// The leaves of the record that may hold its lines.
    pub(super) lists: Vec<usize>,
    /// The one of them that has what was asked for by a request of its own.
    pub(super) asked: Option<usize>,
    pub(super) line: PathTrie,
    pub(super) line_lists: LineLists,
}

impl<'a> Captured<'a> {
    pub(super) fn new(maps: &Maps) -> Captured<'a> {
        Captured {
            cells: vec![None; maps.record.leaves],
            lists: vec![List::Missing; maps.record.leaves],
            runs: Vec::new(),
            line_cells: Vec::new(),
            line_width: maps.line.leaves,
            line_is_object: Vec::new(),
            line_texts: Vec::new(),
        }
    }

    fn clear(&mut self) {
        self.cells.fill(None);
        self.lists.fill(List::Missing);
        self.runs.clear();
        self.line_cells.clear();
        self.line_is_object.clear();
        self.line_texts.clear();
    }

    /// Walks a record; `false` if it is not a JSON object.
    pub(super) fn walk(&mut self, maps: &Maps, bytes: &'a [u8]) -> bool {
        // The quick walk refuses 1e999, which it reads as a number where it looks for an object, and keys with half of a surrogate
        // pair. The careful one does not.
        self.walk_by(Walk::Quick, maps, bytes) || self.walk_carefully(maps, bytes)
    }

    /// The same, slower: it also keeps the text of each line.
    pub(super) fn walk_carefully(&mut self, maps: &Maps, bytes: &'a [u8]) -> bool {
        self.walk_by(Walk::Careful, maps, bytes)
    }

    fn walk_by(&mut self, walk: Walk, maps: &Maps, bytes: &'a [u8]) -> bool {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        self.clear();
        let mut json = serde_json::Deserializer::from_str(text);
        let mut record = RecordCells { walk, maps, captured: self };
        let seed = ObjectSeed { node: &maps.record.root, cells: &mut record };
        let is_record = matches!(seed.deserialize(&mut json), Ok(true)) && json.end().is_ok();
        is_record && (maps.line_lists.which != WhichLists::Record || self.take_record_as_line(maps, walk, text))
    }

    /// Takes the record itself as its only line.
    fn take_record_as_line(&mut self, maps: &Maps, walk: Walk, text: &'a str) -> bool {
        self.line_cells.resize(self.line_width, None);
        self.line_is_object.push(true);
        if walk == Walk::Careful {
            self.line_texts.push(text);
        }
        let mut line = LineCells { walk, cells: &mut self.line_cells };
        let seed = ObjectSeed { node: &maps.line.root, cells: &mut line };
        matches!(seed.deserialize(&mut serde_json::Deserializer::from_str(text)), Ok(true))
    }

    /// Appends the places of the record's lines, in their order; nothing where it has none.
    pub(super) fn lines(&self, maps: &Maps, places: &mut Vec<usize>) {
        let of = |leaf: usize| self.runs.iter().filter(move |run| run.leaf == leaf).flat_map(|run| run.lines.clone());
        // Something else in place of a list is a mistake that no other list makes good.
        let is_wrong = |leaf: &usize| self.lists[*leaf] == List::NotAnArray;
        if let Some(asked) = maps.asked.filter(|&asked| self.lists[asked] != List::Missing) {
            // What was asked for takes the place of all that the record lists, also where it is nothing.
            return if is_wrong(&asked) { places.clear() } else { places.extend(of(asked)) };
        }
        match maps.line_lists.which {
            WhichLists::Record => places.push(0),
            WhichLists::All if maps.lists.iter().any(is_wrong) => {}
            WhichLists::All => maps.lists.iter().for_each(|&leaf| places.extend(of(leaf))),
            WhichLists::First => {
                let first = maps.lists.iter().find(|leaf| is_wrong(leaf) || of(**leaf).next().is_some());
                places.extend(first.filter(|leaf| !is_wrong(leaf)).into_iter().flat_map(|leaf| of(*leaf)));
            }
        }
    }

    /// Whether the record has a list for its lines, with or without any, and nothing else in place of one.
    pub(super) fn has_list(&self, maps: &Maps) -> bool {
        let mut found = maps.lists.iter().map(|&leaf| self.lists[leaf]).filter(|list| *list != List::Missing).peekable();
        found.peek().is_some() && found.all(|list| list == List::Lines)
    }

    /// The leaf of the list that a line is of; `None` if the record is its own line.
    pub(super) fn list_of(&self, line: usize) -> Option<usize> {
        self.runs.iter().find(|run| run.lines.contains(&line)).map(|run| run.leaf)
    }

    /// The text of a line, after a careful walk.
    pub(super) fn line_text(&self, line: usize) -> Option<&'a str> {
        self.line_texts.get(line).copied()
    }

    /// Forgets what stands at a leaf.
    fn forget(&mut self, leaf: usize) {
        self.cells[leaf] = None;
        if self.lists[leaf] != List::Missing {
            self.lists[leaf] = List::Missing;
            self.runs.retain(|run| run.leaf != leaf);
        }
    }

    /// Takes what was found at a leaf that may hold lines.
    fn take_list(&mut self, leaf: usize, found: FoundList) {
        match found {
            FoundList::Lines(lines) => {
                self.runs.push(LineRun { leaf, lines });
                if self.lists[leaf] == List::Missing {
                    self.lists[leaf] = List::Lines;
                }
            }
            FoundList::NotAnArray => self.lists[leaf] = List::NotAnArray,
            FoundList::Missing => {}
        }
    }

    /// The cells of a line; `None` if it is not an object.
    pub(super) fn line(&self, line: usize) -> Option<&[Option<&'a str>]> {
        let start = line * self.line_width;
        self.line_is_object.get(line).filter(|is_object| **is_object)?;
        self.line_cells.get(start..start + self.line_width)
    }
}

/// What a value that may hold lines is.
enum FoundList {
    Missing,
    NotAnArray,
    /// The places of its lines among all lines.
    Lines(Range<usize>),
}

/// How keys are read, and how a value is entered that may be an object.
#[derive(Clone, Copy, PartialEq)]
enum Walk {
    /// Parses it directly, without knowing its type.
    Quick,
    /// Finds its end first, then parses it if it begins like an object or array. Reads its bytes twice.
    Careful,
}

/// Receives the captured values of an object.
trait Cells<'a> {
    /// How values are entered.
    fn walk(&self) -> Walk;

    /// Takes the value at hand.
    fn take<D: Deserializer<'a>>(&mut self, child: &Child, deserializer: D) -> Result<(), D::Error>;
}

/// The cells of a record.
struct RecordCells<'n, 'c, 'a> {
    walk: Walk,
    maps: &'n Maps,
    captured: &'c mut Captured<'a>,
}

/// The cells of a line.
struct LineCells<'c, 'a> {
    walk: Walk,
    cells: &'c mut [Option<&'a str>],
}

/// Enters an object, or an array if a path has an index here. Returns whether the value was an object.
struct ObjectSeed<'n, 'c, C> {
    node: &'n Node,
    cells: &'c mut C,
}

/// Passes the value of a key to the cells.
struct ChildSeed<'n, 'c, C> {
    child: &'n Child,
    cells: &'c mut C,
}

/// Reads the value at a path that may hold the lines.
struct ListSeed<'n, 'c, 'a> {
    walk: Walk,
    maps: &'n Maps,
    captured: &'c mut Captured<'a>,
}

/// What a key leads to, without a copy of the key.
struct KeySeed<'n> {
    walk: Walk,
    node: &'n Node,
}

/// The methods of a visitor that returns `$other` for every other type of value.
macro_rules! other_shapes {
    ($other:expr; $($method:ident: $argument:ty),*) => {
        $(fn $method<E: serde::de::Error>(self, _: $argument) -> Result<Self::Value, E> { Ok($other) })*
        fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> { Ok($other) }
    };
}

impl<'de, 'n> DeserializeSeed<'de> for KeySeed<'n> {
    type Value = Option<&'n Child>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.walk {
            Walk::Quick => deserializer.deserialize_str(self),
            // As bytes: half of a surrogate pair is not a character, and costs nothing in a key that no path names.
            Walk::Careful => deserializer.deserialize_bytes(self),
        }
    }
}

impl<'n> Visitor<'_> for KeySeed<'n> {
    type Value = Option<&'n Child>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.node.child(key.as_bytes()))
    }

    fn visit_bytes<E: serde::de::Error>(self, key: &[u8]) -> Result<Self::Value, E> {
        Ok(self.node.child(key))
    }
}

/// Enters a raw value if it begins like an object, or like an array if a path has an index here. Returns whether the value
/// was an object.
fn enter_carefully<'a, C: Cells<'a>, E: serde::de::Error>(raw: &'a RawValue, node: &Node, cells: &mut C) -> Result<bool, E> {
    let enters = raw.get().starts_with('{') || (node.has_indexes && raw.get().starts_with('['));
    if !enters {
        return Ok(false);
    }
    ObjectSeed { node, cells }.deserialize(&mut serde_json::Deserializer::from_str(raw.get())).map_err(E::custom)
}

impl<'a, C: Cells<'a>> DeserializeSeed<'a> for ChildSeed<'_, '_, C> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        self.cells.take(self.child, deserializer)
    }
}

impl<'a, C: Cells<'a>> DeserializeSeed<'a> for ObjectSeed<'_, '_, C> {
    type Value = bool;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a, C: Cells<'a>> Visitor<'a> for ObjectSeed<'_, '_, C> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<bool, M::Error> {
        let ObjectSeed { node, cells } = self;
        while let Some(child) = map.next_key_seed(KeySeed { walk: cells.walk(), node })? {
            match child {
                Some(child) => map.next_value_seed(ChildSeed { child, cells: &mut *cells })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(true)
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut seq: S) -> Result<bool, S::Error> {
        let ObjectSeed { node, cells } = self;
        for index in 0.. {
            let more = match node.element(index).filter(|_| node.has_indexes) {
                Some(child) => seq.next_element_seed(ChildSeed { child, cells: &mut *cells })?.is_some(),
                None => seq.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(false)
    }

    other_shapes!(false; visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);
}

impl<'a> Cells<'a> for RecordCells<'_, '_, 'a> {
    fn walk(&self) -> Walk {
        self.walk
    }

    fn take<D: Deserializer<'a>>(&mut self, child: &Child, deserializer: D) -> Result<(), D::Error> {
        use serde::de::Error;
        // If a key occurs twice, the last object replaces the first one completely.
        if !child.adds {
            child.inner_leaves.iter().chain(&child.leaf).for_each(|&leaf| self.captured.forget(leaf));
        }
        let list = child.leaf.filter(|leaf| self.maps.lists.contains(leaf));
        if let (Some(leaf), Walk::Quick, true) = (list, self.walk, child.inner.is_empty()) {
            let seed = ListSeed { walk: self.walk, maps: self.maps, captured: &mut *self.captured };
            let found = seed.deserialize(deserializer)?;
            self.captured.take_list(leaf, found);
            return Ok(());
        }
        if child.leaf.is_none() && self.walk == Walk::Quick {
            return ObjectSeed { node: &child.inner, cells: self }.deserialize(deserializer).map(drop);
        }
        let raw = <&'a RawValue>::deserialize(deserializer)?;
        if let Some(leaf) = list {
            let seed = ListSeed { walk: self.walk, maps: self.maps, captured: &mut *self.captured };
            let object = self.maps.line_lists.object;
            let read = seed.deserialize(&mut serde_json::Deserializer::from_str(list_text(raw, object)));
            let found = read.map_err(D::Error::custom)?;
            // The only line, which is no element of a list.
            if self.walk == Walk::Careful && matches!(found, FoundList::Lines(_)) && raw.get().starts_with('{') {
                self.captured.line_texts.push(raw.get());
            }
            self.captured.take_list(leaf, found);
        }
        if let Some(leaf) = child.leaf {
            self.captured.cells[leaf] = Some(raw.get());
        }
        if !child.inner.is_empty() {
            enter_carefully(raw, &child.inner, self)?;
        }
        Ok(())
    }
}

impl<'a> Cells<'a> for LineCells<'_, 'a> {
    fn walk(&self) -> Walk {
        self.walk
    }

    fn take<D: Deserializer<'a>>(&mut self, child: &Child, deserializer: D) -> Result<(), D::Error> {
        for &leaf in &child.inner_leaves {
            self.cells[leaf] = None;
        }
        if child.leaf.is_none() && self.walk == Walk::Quick {
            return ObjectSeed { node: &child.inner, cells: self }.deserialize(deserializer).map(drop);
        }
        let raw = <&'a RawValue>::deserialize(deserializer)?;
        if let Some(leaf) = child.leaf {
            self.cells[leaf] = Some(raw.get());
        }
        if !child.inner.is_empty() {
            enter_carefully(raw, &child.inner, self)?;
        }
        Ok(())
    }
}

/// The text of a value that may hold the lines: itself if it is an array, a text, null, or an object that counts, else `0`, which is
/// not an array.
fn list_text(raw: &RawValue, object: ObjectInPlace) -> &str {
    let counts = raw.get().starts_with(['[', 'n', '"']) || (object == ObjectInPlace::OnlyElement && raw.get().starts_with('{'));
    if counts { raw.get() } else { "0" }
}

impl<'a> DeserializeSeed<'a> for ListSeed<'_, '_, 'a> {
    type Value = FoundList;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<FoundList, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for ListSeed<'_, '_, 'a> {
    type Value = FoundList;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of lines")
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut seq: S) -> Result<FoundList, S::Error> {
        let (walk, node) = (self.walk, &self.maps.line.root);
        let start = self.captured.line_is_object.len();
        loop {
            let cells = self.captured.line_cells.len();
            self.captured.line_cells.resize(cells + self.captured.line_width, None);
            let mut line = LineCells { walk, cells: &mut self.captured.line_cells[cells..] };
            let is_object = match walk {
                Walk::Quick => seq.next_element_seed(ObjectSeed { node, cells: &mut line })?,
                Walk::Careful => match seq.next_element::<&'a RawValue>()? {
                    Some(raw) => {
                        self.captured.line_texts.push(raw.get());
                        Some(enter_carefully(raw, node, &mut line)?)
                    }
                    None => None,
                },
            };
            let Some(is_object) = is_object else {
                self.captured.line_cells.truncate(cells);
                return Ok(FoundList::Lines(start..self.captured.line_is_object.len()));
            };
            self.captured.line_is_object.push(is_object);
        }
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<FoundList, E> {
        Ok(FoundList::Missing)
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<FoundList, M::Error> {
        if self.maps.line_lists.object == ObjectInPlace::Wrong {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(FoundList::NotAnArray);
        }
        let (start, cells) = (self.captured.line_is_object.len(), self.captured.line_cells.len());
        self.captured.line_cells.resize(cells + self.captured.line_width, None);
        let mut line = LineCells { walk: self.walk, cells: &mut self.captured.line_cells[cells..] };
        ObjectSeed { node: &self.maps.line.root, cells: &mut line }.visit_map(map)?;
        self.captured.line_is_object.push(true);
        Ok(FoundList::Lines(start..start + 1))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<FoundList, E> {
        Ok(if model::clean_text(text).is_none() { FoundList::Missing } else { FoundList::NotAnArray })
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<FoundList, E> {
        Ok(FoundList::NotAnArray)
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<FoundList, E> {
        Ok(FoundList::NotAnArray)
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<FoundList, E> {
        Ok(FoundList::NotAnArray)
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<FoundList, E> {
        Ok(FoundList::NotAnArray)
    }
}
