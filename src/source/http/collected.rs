//! Collects the elements of a list that is asked for by itself: each once, as the last reading of the list has it.
//!
//! Not responsible for requests: `asked` decides by what is known here whether a list is read again.

use std::collections::HashMap;

use crate::source::{ListMove, Page, PageSink, RecordShape};

/// The elements of a list, over its pages.
pub(super) struct CollectedList<'a> {
    shape: &'a RecordShape,
    elements: Vec<Vec<u8>>,
    /// The places of the elements of earlier pages, by the hashes of their ids.
    places: HashMap<u64, usize>,
    pages: u64,
    has_elements_without_id: bool,
    repeats: Repeats,
    went_back: bool,
}

/// What the elements that came again on a later page say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Repeats {
    None,
    /// The same as before.
    Equal,
    /// Something else.
    Different,
}

impl<'a> CollectedList<'a> {
    pub(super) fn new(shape: &'a RecordShape) -> CollectedList<'a> {
        CollectedList {
            shape,
            elements: Vec::new(),
            places: HashMap::new(),
            pages: 0,
            has_elements_without_id: false,
            repeats: Repeats::None,
            went_back: false,
        }
    }

    /// The number of pages of the last reading.
    pub(super) fn pages(&self) -> u64 {
        self.pages
    }

    /// Whether elements came again on a later page. They are kept once.
    pub(super) fn has_repeated(&self) -> bool {
        self.repeats != Repeats::None
    }

    /// Whether the elements may be no state that the list had: some disappeared while it was read, or changed.
    pub(super) fn has_moved(&self) -> bool {
        self.went_back || self.repeats == Repeats::Different
    }

    /// Whether another reading found the same elements, so that this is what the list has. Without ids, those that came again are several.
    pub(super) fn agrees_with(&self, before: &[Vec<u8>]) -> bool {
        self.repeats != Repeats::Different && !self.has_elements_without_id && self.elements == before
    }

    /// Whether there are as many elements as the source claims. Elements without an id may be equal, and are still several.
    pub(super) fn has_all(&self, claimed: Option<u64>) -> bool {
        self.has_elements_without_id && !self.went_back && claimed.is_some_and(|claimed| self.elements.len() as u64 == claimed)
    }

    pub(super) fn into_elements(self) -> Vec<Vec<u8>> {
        self.elements
    }
}

impl PageSink for CollectedList<'_> {
    fn page(&mut self, page: Page) -> bool {
        self.pages += 1;
        let mut of_page = Vec::new();
        for record in page.records() {
            let id = self.shape.hash_of_id(record.bytes);
            self.has_elements_without_id |= id.is_none();
            // Within a page each element is one of its own, whatever its id.
            match id.and_then(|id| self.places.get(&id)).and_then(|place| self.elements.get_mut(*place)) {
                Some(element) => {
                    let repeat = if *element == record.bytes { Repeats::Equal } else { Repeats::Different };
                    self.repeats = self.repeats.max(repeat);
                    *element = record.bytes.to_vec();
                }
                None => {
                    of_page.extend(id.map(|id| (id, self.elements.len())));
                    self.elements.push(record.bytes.to_vec());
                }
            }
        }
        self.places.extend(of_page);
        true
    }

    fn moved(&mut self, list_move: ListMove) {
        match list_move {
            ListMove::ReadAgain => *self = CollectedList::new(self.shape),
            ListMove::WentBack => self.went_back = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::source::Origin;

    fn shape() -> RecordShape {
        RecordShape { id: vec!["id".parse().unwrap()], ..RecordShape::default() }
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
        let shape = shape();
        let mut list = CollectedList::new(&shape);
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
        let shape = shape();
        let mut list = CollectedList::new(&shape);
        assert!(list.page(page(&[a, a, without])) && list.page(page(&[without])));
        assert!(!list.has_repeated() && list.has_all(Some(4)) && !list.has_all(Some(5)));
        assert_eq!(texts(list), [a, a, without, without]);
    }

    #[test]
    fn another_reading_takes_the_place_of_the_one_before() {
        let shape = shape();
        let mut list = CollectedList::new(&shape);
        assert!(list.page(page(&[r#"{"id":1}"#])));
        list.moved(ListMove::WentBack);
        assert!(list.has_moved() && list.agrees_with(&[br#"{"id":1}"#.to_vec()]) && !list.agrees_with(&[]));
        list.moved(ListMove::ReadAgain);
        assert!(list.page(page(&[r#"{"id":2}"#])) && !list.has_moved());
        assert_eq!((list.pages(), texts(list)), (1, vec![r#"{"id":2}"#.to_owned()]));
    }
}
