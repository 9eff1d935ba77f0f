//! The output of a source: bytes, cut into records.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::body;
use crate::model::{CellTypes, RawRecord};

/// Some records of a source, with their origin.
#[derive(Clone, Debug)]
pub struct Page {
    /// Where the page came from, for errors and logs.
    pub origin: Origin,
    /// The types of its values: JSON types, or text only.
    pub cells: CellTypes,
    bytes: Bytes,
    cut: Cut,
    blank_lines: BlankLines,
}

/// The lines between the records of a page that begin no record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BlankLines {
    /// These, and no others.
    Known(Vec<BlankRun>),
    /// Only a search can tell.
    Possible,
}

impl BlankLines {
    /// There are none.
    pub const NONE: BlankLines = BlankLines::Known(Vec::new());
}

/// A run of lines between two records of a page, or before the first: blank ones, or the rest of a record of several lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlankRun {
    /// The number of records before it.
    pub records_before: u64,
    /// The number of lines.
    pub lines: u64,
}

/// Where a page came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A file. The page begins at a line, or at an element of its array, both counted from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The first record's line, or its number in the array.
        first: u64,
    },
    /// A response: its redacted URL and its number, from 1.
    Response {
        /// The URL, redacted.
        url: String,
        /// The page's number.
        page: u64,
        /// The number of the first record in the response, from 1. Overlapping pages share records, which are left out.
        first: u64,
    },
}

impl Origin {
    /// The file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Origin::File { path, .. } => Some(path),
            Origin::Response { .. } => None,
        }
    }
}

#[derive(Clone, Debug)]
enum Cut {
    /// Each line that is not blank is a record.
    Lines,
    /// The byte range of each record.
    Elements(Vec<Range<usize>>),
    /// The page is the beginning of one record that is too large to keep.
    Beginning,
}

impl Page {
    /// Newline-delimited records.
    pub fn lines(origin: Origin, bytes: Bytes) -> Page {
        Page { origin, cells: CellTypes::Typed, bytes, cut: Cut::Lines, blank_lines: BlankLines::Possible }
    }

    /// Records at the given ranges of `bytes`.
    pub fn elements(origin: Origin, bytes: Bytes, places: Vec<Range<usize>>) -> Page {
        Page { origin, cells: CellTypes::Typed, bytes, cut: Cut::Elements(places), blank_lines: BlankLines::NONE }
    }

    /// The records of a JSON body, cut as a response to a source without a profile is. `None` if it can't be cut, or has only white space.
    pub fn of_body(origin: Origin, bytes: Bytes) -> Option<Page> {
        let places = body::cut(&bytes, None).ok()??.places;
        Some(Page::elements(origin, bytes, places))
    }

    /// The beginning of one record that is too large to keep.
    pub fn beginning(origin: Origin, bytes: Bytes) -> Page {
        Page { origin, cells: CellTypes::Typed, bytes, cut: Cut::Beginning, blank_lines: BlankLines::NONE }
    }

    /// The page with another type of cells.
    #[must_use]
    pub fn with_cells(self, cells: CellTypes) -> Page {
        Page { cells, ..self }
    }

    /// The page, with what is known of its blank lines.
    #[must_use]
    pub fn with_blank_lines(self, blank_lines: BlankLines) -> Page {
        Page { blank_lines, ..self }
    }

    /// The page with those of its elements that are wanted. Of a page of lines all stay.
    #[must_use]
    pub fn filtered(mut self, mut is_wanted: impl FnMut(&[u8]) -> bool) -> Page {
        let Cut::Elements(places) = &mut self.cut else { return self };
        let bytes = &self.bytes;
        let (mut runs, mut kept, mut left_out) = (Vec::new(), 0, 0);
        places.retain(|place| {
            if !is_wanted(bytes.get(place.clone()).unwrap_or_default()) {
                left_out += 1;
                return false;
            }
            if left_out > 0 {
                runs.push(BlankRun { records_before: kept, lines: left_out });
            }
            (kept, left_out) = (kept + 1, 0);
            true
        });
        self.blank_lines = BlankLines::Known(runs);
        self
    }

    /// The page with other bytes in place of those records that `rewrite` has some for: of a page of lines, each on one line. The
    /// beginning of a record that is too large stays.
    #[must_use]
    pub fn rewritten(self, mut rewrite: impl FnMut(&[u8]) -> Option<Vec<u8>>) -> Page {
        if matches!(self.cut, Cut::Beginning) {
            return self;
        }
        let rewritten: Vec<Option<Vec<u8>>> = self.records().map(|record| rewrite(record.bytes)).collect();
        if rewritten.iter().all(Option::is_none) {
            return self;
        }
        let (mut bytes, mut places) = (Vec::with_capacity(self.bytes.len()), Vec::with_capacity(rewritten.len()));
        for (rewritten, record) in rewritten.iter().zip(self.records()) {
            let start = bytes.len();
            bytes.extend_from_slice(rewritten.as_deref().unwrap_or(record.bytes));
            places.push(start..bytes.len());
            bytes.push(b'\n');
        }
        let blank_lines = BlankLines::Known(self.blank_runs());
        let cut = if self.is_cut_by_elements() { Cut::Elements(places) } else { Cut::Lines };
        Page { bytes: bytes.into(), cut, blank_lines, ..self }
    }

    /// Whether its records are elements of an array, and not lines.
    pub fn is_cut_by_elements(&self) -> bool {
        matches!(self.cut, Cut::Elements(_))
    }

    /// The blank lines before and between its records, so that a record's number gives its line.
    pub fn blank_runs(&self) -> Vec<BlankRun> {
        if let BlankLines::Known(runs) = &self.blank_lines {
            return runs.clone();
        }
        let (mut runs, mut records_before, mut lines) = (Vec::new(), 0, 0);
        for line in all_lines(&self.bytes) {
            if line.is_empty() {
                lines += 1;
                continue;
            }
            if lines > 0 {
                runs.push(BlankRun { records_before, lines });
                lines = 0;
            }
            records_before += 1;
        }
        runs
    }

    /// The span of the work on a page of a file. For a page of a response there is none: its request has one.
    pub fn span(&self) -> tracing::Span {
        match &self.origin {
            Origin::File { path, first } => tracing::debug_span!("page", file = %path.display(), first = first.cast_signed()),
            Origin::Response { .. } => tracing::Span::none(),
        }
    }

    /// All bytes of the page.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The number of records.
    pub fn len(&self) -> u64 {
        match &self.cut {
            Cut::Lines => lines(&self.bytes).count() as u64,
            Cut::Elements(places) => places.len() as u64,
            Cut::Beginning => 1,
        }
    }

    /// The greatest number of records that it may have, without a look at each: blank lines count.
    pub fn len_at_most(&self) -> u64 {
        match &self.cut {
            Cut::Lines => memchr::memchr_iter(b'\n', &self.bytes).count() as u64 + u64::from(!self.bytes.ends_with(b"\n")),
            Cut::Elements(_) | Cut::Beginning => self.len(),
        }
    }

    /// Whether it has no records.
    pub fn is_empty(&self) -> bool {
        match &self.cut {
            Cut::Lines => self.bytes.is_empty(),
            Cut::Elements(places) => places.is_empty(),
            Cut::Beginning => false,
        }
    }

    /// Each record.
    pub fn records(&self) -> Box<dyn Iterator<Item = RawRecord<'_>> + '_> {
        match &self.cut {
            Cut::Lines => Box::new(lines(&self.bytes).map(RawRecord::from)),
            Cut::Elements(places) => {
                Box::new(places.iter().map(|place| RawRecord::from(self.bytes.get(place.clone()).unwrap_or_default())))
            }
            Cut::Beginning => Box::new(std::iter::once(RawRecord { bytes: &self.bytes, is_whole: false })),
        }
    }
}

/// The lines that are not blank, without their ends.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    all_lines(bytes).filter(|line| !line.is_empty())
}

/// All lines, without their ends and the white space around them.
fn all_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    let ends = memchr::memchr_iter(b'\n', bytes).chain(std::iter::once(bytes.len()));
    ends.map(move |end| {
        let line = &bytes[start.min(end)..end];
        start = end + 1;
        line.trim_ascii()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_are_not_records() {
        let origin = Origin::File { path: "x".into(), first: 1 };
        for (text, expected) in [("a\n\n  \r\nb\r\n", vec!["a", "b"]), ("", vec![]), ("a", vec!["a"]), ("\n\n", vec![])] {
            let page = Page::lines(origin.clone(), Bytes::from(text));
            assert_eq!(page.records().map(|record| std::str::from_utf8(record.bytes).unwrap()).collect::<Vec<_>>(), expected, "{text:?}");
            assert!(page.len_at_most() >= page.len(), "{text:?}");
        }
    }

    #[test]
    fn a_page_keeps_the_places_of_the_elements_that_are_left() {
        let origin = Origin::Response { url: String::new(), page: 1, first: 1 };
        let page = Page::elements(origin, Bytes::from("abcde"), vec![0..1, 1..2, 2..3, 3..4, 4..5]);
        let page = page.filtered(|record| !matches!(record, b"a" | b"c" | b"d"));
        assert_eq!(page.records().map(|record| record.bytes.to_vec()).collect::<Vec<_>>(), [b"b".to_vec(), b"e".to_vec()]);
        let run = |records_before, lines| BlankRun { records_before, lines };
        assert_eq!(page.blank_runs(), [run(0, 1), run(1, 2)]);
    }

    #[test]
    fn blank_lines_are_counted_before_the_record_that_follows_them() {
        let origin = Origin::File { path: "x".into(), first: 1 };
        let page = Page::lines(origin, Bytes::from("\n \r\na\r\nb\n\t\n\nc\n\n"));
        let run = |records_before, lines| BlankRun { records_before, lines };
        assert_eq!(page.blank_runs(), [run(0, 2), run(2, 2)]);
        assert_eq!(page.with_blank_lines(BlankLines::NONE).blank_runs(), []);
    }
}
