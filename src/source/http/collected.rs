//! Collects the elements of a list that is asked for by itself: each once, as the last reading of the list has it.
//!
//! Not responsible for requests: `asked` decides by what is known here whether a list is read again.

use std::collections::{HashMap, HashSet};

use crate::{
    model::FieldPath,
    source::{
        ListMove, Page, PageSink, RecordShape,
        body::{Node, PathReading, is_among},
    },
};

/// How the elements of a list are told apart.
pub(super) struct ElementIds {
    /// The ids.
    pub(super) shape: RecordShape,
    /// Where a line has its sku; empty for what is no line. Several lines may have one sku, so it identifies none.
    pub(super) sku: Vec<PathReading>,
}

impl ElementIds {
    /// A hash of the id of an element. A value that is read as its sku is none.
    fn of(&self, element: &[u8]) -> Option<u64> {
        let Some(sku) = self.sku_path(element).filter(|path| self.shape.id.contains(path)) else {
            return self.shape.hash_of_id(element);
        };
        let others = self.shape.id.iter().filter(|path| *path != sku).cloned().collect();
        RecordShape { id: others, ..RecordShape::default() }.hash_of_id(element)
    }

    /// The path of the sku of a line.
    fn sku_path(&self, element: &[u8]) -> Option<&FieldPath> {
        if self.sku.is_empty() {
            return None;
        }
        let node = Node::of_bytes(element)?;
        let has_sku =
            |reading: &&PathReading| node.at(&reading.path).and_then(Node::text).is_some_and(|sku| !is_among(&reading.missing, sku));
        self.sku.iter().find(has_sku).map(|reading| &reading.path)
    }
}

/// The elements of a list, over its pages.
pub(super) struct CollectedList<'a> {
    ids: &'a ElementIds,
    elements: Vec<Vec<u8>>,
    /// The places of the elements with an id, by the hashes of their ids.
    places: HashMap<u64, usize>,
    /// The earlier forms of elements that came again on a later page, by the same.
    replaced: HashMap<u64, Vec<Vec<u8>>>,
    /// What several elements of one page have, so that it identifies none.
    shared: HashSet<u64>,
    pages: u64,
    has_elements_without_id: bool,
    went_back: bool,
}

impl<'a> CollectedList<'a> {
    pub(super) fn new(ids: &'a ElementIds) -> CollectedList<'a> {
        CollectedList {
            ids,
            elements: Vec::new(),
            places: HashMap::new(),
            replaced: HashMap::new(),
            shared: HashSet::new(),
            pages: 0,
            has_elements_without_id: false,
            went_back: false,
        }
    }

    /// The number of pages of the last reading.
    pub(super) fn pages(&self) -> u64 {
        self.pages
    }

    /// Whether elements came again on a later page. They are kept once.
    pub(super) fn has_repeated(&self) -> bool {
        !self.replaced.is_empty()
    }

    /// Whether the elements may be no state that the list had: some disappeared while it was read, or changed.
    pub(super) fn has_moved(&self) -> bool {
        self.went_back || self.has_changed()
    }

    /// Whether an element that came again says something else than before.
    fn has_changed(&self) -> bool {
        self.replaced.iter().any(|(id, earlier)| {
            let last = self.places.get(id).and_then(|place| self.elements.get(*place));
            earlier.iter().any(|element| Some(element) != last)
        })
    }

    /// Whether another reading found the same elements, so that this is what the list has. Without ids, those that came again are several.
    pub(super) fn agrees_with(&self, before: &[Vec<u8>]) -> bool {
        !self.has_changed() && !self.has_elements_without_id && self.elements == before
    }

    /// Whether there are as many elements as the source claims. Elements without an id may be equal, and are still several.
    pub(super) fn has_all(&self, claimed: Option<u64>) -> bool {
        self.has_elements_without_id && !self.went_back && claimed.is_some_and(|claimed| self.elements.len() as u64 == claimed)
    }

    pub(super) fn into_elements(self) -> Vec<Vec<u8>> {
        self.elements
    }

    /// Takes an id that several elements of a page have for none. Elements of earlier pages that went for one are several, too.
    fn share(&mut self, id: u64) {
        if self.shared.insert(id) {
            self.places.remove(&id);
            self.elements.extend(self.replaced.remove(&id).unwrap_or_default());
            self.has_elements_without_id = true;
        }
    }

    fn add(&mut self, element: &[u8], id: Option<u64>) {
        let Some(id) = id.filter(|id| !self.shared.contains(id)) else {
            self.has_elements_without_id = true;
            self.elements.push(element.to_vec());
            return;
        };
        match self.places.get(&id).and_then(|place| self.elements.get_mut(*place)) {
            Some(known) => {
                let earlier = std::mem::replace(known, element.to_vec());
                self.replaced.entry(id).or_default().push(earlier);
            }
            None => {
                self.places.insert(id, self.elements.len());
                self.elements.push(element.to_vec());
            }
        }
    }
}

impl PageSink for CollectedList<'_> {
    fn page(&mut self, page: Page) -> bool {
        self.pages += 1;
        let elements: Vec<&[u8]> = page.records().map(|record| record.bytes).collect();
        let ids: Vec<Option<u64>> = elements.iter().map(|element| self.ids.of(element)).collect();
        let mut of_page = HashSet::new();
        for id in ids.iter().copied().flatten() {
            if !of_page.insert(id) {
                self.share(id);
            }
        }
        for (element, id) in elements.into_iter().zip(ids) {
            self.add(element, id);
        }
        true
    }

    fn moved(&mut self, list_move: ListMove) {
        match list_move {
            ListMove::ReadAgain => *self = CollectedList::new(self.ids),
            ListMove::WentBack => self.went_back = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::source::Origin;

    fn ids(sku: &[&str]) -> ElementIds {
        let sku = sku.iter().map(|path| PathReading { path: path.parse().unwrap(), missing: vec!["0".to_owned()] }).collect();
        ElementIds { shape: RecordShape { id: vec!["id".parse().unwrap()], ..RecordShape::default() }, sku }
    }

    fn page(records: &[&str]) -> Page {
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        for record in records {
            let start = bytes.len();
            bytes.extend_from_slice(record.as_bytes());
            places.push(start..bytes.len());
        }
        Page::elements(Origin::Response { url: String::new(), page: 1, first: 1 }, Bytes::from(bytes), places)
    }

    fn texts(list: CollectedList<'_>) -> Vec<String> {
        list.into_elements().into_iter().map(|element| String::from_utf8(element).unwrap()).collect()
    }

    #[test]
    fn an_element_of_two_pages_is_one_and_its_later_form_counts() {
        let (a, b, other_b) = (r#"{"id":1}"#, r#"{"id":2,"q":1}"#, r#"{"id":2,"q":3}"#);
        let ids = ids(&[]);
        let mut list = CollectedList::new(&ids);
        assert!(list.page(page(&[a, b])) && list.page(page(&[b])));
        assert!(list.has_repeated() && !list.has_moved());
        assert!(list.page(page(&[other_b])));
        assert!(list.has_moved(), "it changed while it was read");
        assert!(!list.agrees_with(&[a, other_b].map(|element| element.as_bytes().to_vec())), "which of the two is true is not known");
        assert_eq!(texts(list), [a, other_b]);
    }

    #[test]
    fn equal_elements_of_a_page_or_without_an_id_are_several() {
        let (a, without) = (r#"{"id":1}"#, r#"{"sku":"S"}"#);
        let ids = ids(&[]);
        let mut list = CollectedList::new(&ids);
        assert!(list.page(page(&[a, a, without])) && list.page(page(&[without])));
        assert!(!list.has_repeated() && list.has_all(Some(4)) && !list.has_all(Some(5)));
        assert_eq!(texts(list), [a, a, without, without]);
    }

    #[test]
    fn another_reading_takes_the_place_of_the_one_before() {
        let ids = ids(&[]);
        let mut list = CollectedList::new(&ids);
        assert!(list.page(page(&[r#"{"id":1}"#])));
        list.moved(ListMove::WentBack);
        assert!(list.has_moved() && list.agrees_with(&[br#"{"id":1}"#.to_vec()]) && !list.agrees_with(&[]));
        list.moved(ListMove::ReadAgain);
        assert!(list.page(page(&[r#"{"id":2}"#])) && !list.has_moved());
        assert_eq!((list.pages(), texts(list)), (1, vec![r#"{"id":2}"#.to_owned()]));
    }

    #[test]
    fn what_is_the_sku_of_a_line_does_not_identify_it() {
        let ids = ids(&["sku", "id"]);
        let (a, b, c) = (r#"{"id":"A","price":1}"#, r#"{"id":"B","sku":0}"#, r#"{"id":"C","sku":"S"}"#);
        let mut list = CollectedList::new(&ids);
        assert!(list.page(page(&[a, b, c])) && list.page(page(&[a, b, c])));
        assert_eq!(texts(list), [a, b, c, a, b], "C has a sku beside its id");
    }

    #[test]
    fn what_lines_of_one_page_share_does_not_identify_lines_of_others() {
        let ids = ids(&[]);
        let (a, other_a, b) = (r#"{"id":1}"#, r#"{"id":1,"q":2}"#, r#"{"id":2}"#);
        let mut list = CollectedList::new(&ids);
        assert!(list.page(page(&[a, b])) && list.page(page(&[other_a, b])));
        assert!(list.has_moved());
        assert!(list.page(page(&[a, a])) && list.page(page(&[a])));
        assert!(!list.has_moved() && list.has_repeated(), "B alone came again");
        assert_eq!(texts(list), [other_a, b, a, a, a, a]);
    }
}
