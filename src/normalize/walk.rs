//! One pass over the bytes of a record: captures the values at the paths of the fields as slices of the source. All other
//! values are only validated. The module `record` interprets the slices.

use std::ops::Range;

use super::{
    fields::{Child, Node, PathTrie},
    json_scan::{NotJson, Scanner},
    key_order::KeyOrder,
    scalar::Scalar,
};
use crate::settings::{LineLists, ObjectInPlace, WhichLists};

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
    /// The text of each line.
    line_texts: Vec<&'a str>,
    /// The order of the keys of records.
    record_keys: KeyOrder,
    /// The order of the keys of lines.
    line_keys: KeyOrder,
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
            record_keys: KeyOrder::default(),
            line_keys: KeyOrder::default(),
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
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        self.clear();
        let mut scanner = Scanner::new(text);
        let mut keys = std::mem::take(&mut self.record_keys);
        let is_object = enter(&mut scanner, &maps.record.root, &mut keys, &mut RecordCells { maps, captured: self });
        self.record_keys = keys;
        if is_object != Ok(true) || !scanner.is_at_end() {
            return false;
        }
        // The record itself may be its only line.
        maps.line_lists.which != WhichLists::Record || self.take_line(&mut Scanner::new(text), maps).is_ok()
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

    /// Whether something else stands in place of a list of lines.
    pub(super) fn has_other_shape(&self, maps: &Maps) -> bool {
        maps.lists.iter().any(|&leaf| self.lists[leaf] == List::NotAnArray)
    }

    /// The leaf of the list that a line is of; `None` if the record is its own line.
    pub(super) fn list_of(&self, line: usize) -> Option<usize> {
        self.runs.iter().find(|run| run.lines.contains(&line)).map(|run| run.leaf)
    }

    /// The text of a line.
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

    /// Takes the value that follows as a line.
    fn take_line(&mut self, scanner: &mut Scanner<'a>, maps: &Maps) -> Result<(), NotJson> {
        let first = self.line_cells.len();
        self.line_cells.resize(first + self.line_width, None);
        let cells = self.line_cells.get_mut(first..).unwrap_or_default();
        let start = scanner.start();
        let is_object = enter(scanner, &maps.line.root, &mut self.line_keys, &mut LineCells { cells })?;
        self.line_is_object.push(is_object);
        self.line_texts.push(scanner.since(start));
        Ok(())
    }

    /// Reads the value that follows, which may hold the lines.
    fn find_lines(&mut self, scanner: &mut Scanner<'a>, maps: &Maps) -> Result<FoundList, NotJson> {
        let start = self.line_is_object.len();
        match scanner.peek() {
            Some(b'[') => scanner.elements(|scanner, _| self.take_line(scanner, maps))?,
            Some(b'{') if maps.line_lists.object == ObjectInPlace::OnlyElement => self.take_line(scanner, maps)?,
            _ => {
                let is_missing = Scalar::of(scanner.value()?) == Scalar::Missing;
                return Ok(if is_missing { FoundList::Missing } else { FoundList::NotAnArray });
            }
        }
        Ok(FoundList::Lines(start..self.line_is_object.len()))
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

/// Receives the captured values of an object.
trait Cells<'a> {
    /// Passes the value that follows, and takes what is captured of it.
    fn take(&mut self, child: &Child, keys: &mut KeyOrder, scanner: &mut Scanner<'a>) -> Result<(), NotJson>;
}

/// The cells of a record.
struct RecordCells<'n, 'c, 'a> {
    maps: &'n Maps,
    captured: &'c mut Captured<'a>,
}

/// The cells of a line.
struct LineCells<'c, 'a> {
    cells: &'c mut [Option<&'a str>],
}

/// Passes the value that follows. Enters an object, and an array if a path has an index here. Returns whether it is an object.
fn enter<'a, C: Cells<'a>>(scanner: &mut Scanner<'a>, node: &Node, keys: &mut KeyOrder, cells: &mut C) -> Result<bool, NotJson> {
    let mut take = |scanner: &mut Scanner<'a>, keys: &mut KeyOrder, place: Option<usize>| {
        let Some((place, child)) = place.and_then(|place| Some((place, node.child(place)?))) else { return scanner.pass() };
        cells.take(child, keys.of_child(place), scanner)
    };
    match scanner.peek() {
        Some(b'{') => {
            let mut next = 0;
            let members = scanner.members(|scanner| {
                let place = keys.pass_key(scanner, node, &mut next)?;
                take(scanner, keys, place)
            });
            members.map(|()| true)
        }
        Some(b'[') if node.has_indexes => {
            scanner.elements(|scanner, index| take(scanner, keys, node.place_of_element(index))).map(|()| false)
        }
        _ => scanner.pass().map(|()| false),
    }
}

impl<'a> Cells<'a> for RecordCells<'_, '_, 'a> {
    fn take(&mut self, child: &Child, keys: &mut KeyOrder, scanner: &mut Scanner<'a>) -> Result<(), NotJson> {
        // If a key occurs twice, the last object replaces the first one completely.
        if !child.adds {
            child.inner_leaves.iter().chain(&child.leaf).for_each(|&leaf| self.captured.forget(leaf));
        }
        let start = scanner.start();
        let Some(leaf) = child.leaf else {
            enter(scanner, &child.inner, keys, self)?;
            self.note_other_shape(child, scanner, start);
            return Ok(());
        };
        if self.maps.lists.contains(&leaf) {
            let found = self.captured.find_lines(scanner, self.maps)?;
            self.captured.take_list(leaf, found);
        } else {
            scanner.pass()?;
        }
        let text = scanner.since(start);
        self.captured.cells[leaf] = Some(text);
        if child.inner.is_empty() {
            return Ok(());
        }
        enter(&mut Scanner::new(text), &child.inner, keys, self)?;
        self.note_other_shape(child, scanner, start);
        Ok(())
    }
}

impl RecordCells<'_, '_, '_> {
    /// Something else on the way to lines in every element of a list is the same mistake as in place of a list of lines:
    /// nobody knows which lines it stands for. The value began at `start`.
    #[inline]
    fn note_other_shape(&mut self, child: &Child, scanner: &Scanner<'_>, start: usize) {
        if !child.leads_through_elements() || child.leads_on_from(scanner.since(start)) {
            return;
        }
        for &leaf in child.inner_leaves.iter().filter(|leaf| self.maps.lists.contains(leaf)) {
            self.captured.lists[leaf] = List::NotAnArray;
        }
    }
}

impl<'a> Cells<'a> for LineCells<'_, 'a> {
    fn take(&mut self, child: &Child, keys: &mut KeyOrder, scanner: &mut Scanner<'a>) -> Result<(), NotJson> {
        for &leaf in &child.inner_leaves {
            self.cells[leaf] = None;
        }
        let Some(leaf) = child.leaf else { return enter(scanner, &child.inner, keys, self).map(drop) };
        let text = scanner.value()?;
        self.cells[leaf] = Some(text);
        if child.inner.is_empty() {
            return Ok(());
        }
        enter(&mut Scanner::new(text), &child.inner, keys, self).map(drop)
    }
}
