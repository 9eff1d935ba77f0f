//! What a source hands on: bytes, cut into records.

use std::{fmt, ops::Range, path::PathBuf};

use bytes::Bytes;

use super::SourceError;
use crate::settings::Limits;

/// Some records of a source, with where they came from.
#[derive(Clone, Debug)]
pub struct Page {
    /// Where the page came from, for errors and logs.
    pub origin: Origin,
    bytes: Bytes,
    cut: Cut,
}

/// Where a page came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A file, from a line (or an element of its array) on, both counted from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The first record's line, or its number in the array.
        first: u64,
    },
    /// A response, its URL without secrets, and its number, from 1.
    Response {
        /// The URL, redacted.
        url: String,
        /// The page's number.
        page: u64,
    },
}

/// Where a record begins, for a person.
struct Place<'p> {
    origin: &'p Origin,
    cut: &'p Cut,
    /// The record's line or number within the page, from 0.
    number: u64,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = if matches!(self.cut, Cut::Lines) { "line" } else { "record" };
        match self.origin {
            Origin::File { path, first } => write!(f, "{}, {unit} {}", path.display(), first + self.number),
            Origin::Response { url, page } => write!(f, "GET {url} (page {page}), {unit} {}", self.number + 1),
        }
    }
}

#[derive(Clone, Debug)]
enum Cut {
    /// Each line that is not blank is a record.
    Lines,
    /// The records' places.
    Elements(Vec<Range<usize>>),
}

impl Page {
    /// Newline-delimited records.
    pub fn lines(origin: Origin, bytes: Bytes) -> Page {
        Page { origin, bytes, cut: Cut::Lines }
    }

    /// Records at the given places of `bytes`.
    pub fn elements(origin: Origin, bytes: Bytes, places: Vec<Range<usize>>) -> Page {
        Page { origin, bytes, cut: Cut::Elements(places) }
    }

    /// All bytes of the page.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes of each record.
    pub fn records(&self) -> Box<dyn Iterator<Item = &[u8]> + '_> {
        match &self.cut {
            Cut::Lines => Box::new(lines(&self.bytes).map(|(_, line)| line)),
            Cut::Elements(places) => Box::new(places.iter().map(|place| self.bytes.get(place.clone()).unwrap_or_default())),
        }
    }

    /// Holds each record against the limits on its size and depth.
    ///
    /// # Errors
    /// [`SourceError::RecordTooLarge`], [`SourceError::TooDeep`].
    pub fn check(&self, limits: &Limits) -> Result<(), SourceError> {
        match &self.cut {
            Cut::Lines => lines(&self.bytes).try_for_each(|(number, line)| self.check_record(number, line, limits)),
            Cut::Elements(_) => (0..).zip(self.records()).try_for_each(|(number, record)| self.check_record(number, record, limits)),
        }
    }

    fn check_record(&self, number: u64, record: &[u8], limits: &Limits) -> Result<(), SourceError> {
        let origin = || Place { origin: &self.origin, cut: &self.cut, number }.to_string();
        if record.len() as u64 > limits.record_bytes {
            return Err(SourceError::RecordTooLarge { origin: origin(), limit: limits.record_bytes });
        }
        if is_deeper(record, limits.depth) { Err(SourceError::TooDeep { origin: origin(), limit: limits.depth }) } else { Ok(()) }
    }
}

/// The lines that are not blank, without their ends, each with its number from 0.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut start = 0;
    let ends = memchr::memchr_iter(b'\n', bytes).chain(std::iter::once(bytes.len()));
    let lines = ends.map(move |end| {
        let line = &bytes[start.min(end)..end];
        start = end + 1;
        line.trim_ascii()
    });
    (0..).zip(lines).filter(|(_, line)| !line.is_empty())
}

/// Whether more than `limit` objects and arrays stand within each other. Most records open fewer in all, which is seen
/// without a look at their texts.
fn is_deeper(record: &[u8], limit: usize) -> bool {
    if memchr::memchr2_iter(b'{', b'[', record).nth(limit).is_none() {
        return false;
    }
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for &byte in record {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_are_no_records() {
        let origin = Origin::File { path: "x".into(), first: 1 };
        for (text, expected) in [("a\n\n  \r\nb\r\n", vec!["a", "b"]), ("", vec![]), ("a", vec!["a"]), ("\n\n", vec![])] {
            let page = Page::lines(origin.clone(), Bytes::from(text));
            assert_eq!(page.records().map(|record| std::str::from_utf8(record).unwrap()).collect::<Vec<_>>(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_record_beyond_a_limit_is_named_with_its_place_and_the_limit() {
        let limits = Limits { record_bytes: 40, depth: 3, ..Limits::default() };
        let error = |text: &str| {
            let origin = Origin::File { path: "x.ndjson".into(), first: 7 };
            Page::lines(origin, Bytes::from(text.to_owned())).check(&limits).map_err(|error| error.to_string())
        };
        assert_eq!(error("\n{\"a\":[{}]}\n{\"a\":\"[[[[[[[[\\\"{{{{\"}\n[[]][[]][[]]"), Ok(()));
        assert_eq!(
            error("{}\n\n{\"a\":[{\"b\":[]}]}").unwrap_err(),
            "x.ndjson, line 9: more than 3 objects and arrays within each other (limits.depth)"
        );
        assert_eq!(error(&"x".repeat(41)).unwrap_err(), "x.ndjson, line 7: a record of more than 40 bytes (limits.record_bytes)");
        let origin = Origin::Response { url: "http://h/o".into(), page: 2 };
        let page = Page::elements(origin, Bytes::from("1[[[[]]]]"), vec![0..1, 1..9]);
        assert!(page.check(&limits).unwrap_err().to_string().starts_with("GET http://h/o (page 2), record 2: more than 3"));
    }
}
