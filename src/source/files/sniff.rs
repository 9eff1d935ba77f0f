//! Detects the format of a file from its first bytes, because names are often wrong.
//!
//! Detects the formats that are certain: a JSON document, NDJSON, gzip and zstd. Names formats that are not supported, such as
//! a web page, CSV, Parquet or a spreadsheet. Reads only the beginning of the file.

use serde::de::IgnoredAny;

use super::{Compression, Format};
use crate::{
    model::FieldPath,
    source::{
        RECORD_KEYS, RecordShape,
        body::{CutBody, Cutter, Envelope, List, Node, cut},
    },
};

/// The decompressed bytes that are examined first.
pub(super) const LOOKED_AT: usize = 256 << 10;

/// The compression that the first bytes show.
pub(super) fn compression(beginning: &[u8]) -> Compression {
    if beginning.starts_with(&[0x1f, 0x8b]) {
        Compression::Gzip
    } else if beginning.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Compression::Zstd
    } else {
        Compression::None
    }
}

/// The format of a file of records, from its first decompressed bytes, or from its name if they are ambiguous. `is_all` means
/// that the file has no more bytes.
///
/// # Errors
/// What the file seems to be, if its format is not supported.
pub(super) fn records_format(beginning: &[u8], named: Format, is_all: bool, shape: &RecordShape) -> Result<Format, String> {
    if let Some(other) = foreign(beginning) {
        return Err(other);
    }
    // A byte that is not UTF-8 affects one record, and not the format.
    let text = String::from_utf8_lossy(beginning);
    let mut values = serde_json::Deserializer::from_str(&text).into_iter::<&serde_json::value::RawValue>();
    let first = match values.next() {
        None => return Ok(named),
        Some(Ok(first)) => first.get(),
        Some(Err(error)) if error.is_eof() && !is_all => return Ok(unfinished(text.as_bytes(), named, shape)),
        Some(Err(_)) => return damaged(text.as_bytes(), named, is_all, shape),
    };
    let rest = text.get(values.byte_offset()..).unwrap_or_default();
    let (is_one_line, is_only) = (!first.contains('\n'), rest.trim().is_empty());
    match (is_one_line, is_only) {
        (true, true) if !is_all => Ok(named),
        (true, true) => Ok(if first.starts_with('[') || is_envelope(first, shape) { Format::Json } else { named }),
        (true, false) if rest.trim_start().starts_with(',') => {
            Err("its values are separated by commas, but there are no brackets of an array".to_owned())
        }
        (true, false) if all_are_envelopes(&text, shape) => {
            Err("each of its lines is a page with records, not a record (`jq -c '.orders[]'` writes one record per line)".to_owned())
        }
        // One value per line.
        (true, false) => Ok(Format::Ndjson),
        (false, true) => Ok(Format::Json),
        (false, false) => Err("it has several JSON values over many lines: write one value per line (`jq -c .`), or one array".to_owned()),
    }
}

/// Whether a file is one line so far, with one object: a record, or a document. More bytes are needed to say which.
pub(super) fn is_one_line_so_far(beginning: &[u8]) -> bool {
    let text = beginning.trim_ascii();
    text.starts_with(b"{") && !text.contains(&b'\n')
}

/// The format if the first value does not end in the beginning: a document, unless it is one long line that is a
/// record.
fn unfinished(beginning: &[u8], named: Format, shape: &RecordShape) -> Format {
    let text = beginning.trim_ascii_start();
    let spans_lines = text.contains(&b'\n');
    if spans_lines || text.starts_with(b"[") || begins_envelope(text, shape) { Format::Json } else { named }
}

/// The format if the first value is invalid. In NDJSON only that line is invalid. In a document it may be one of its
/// records.
fn damaged(beginning: &[u8], named: Format, is_all: bool, shape: &RecordShape) -> Result<Format, String> {
    let lines = ObjectLines::of(beginning);
    if lines.are_elements(beginning, is_all, shape) {
        return Ok(Format::Json);
    }
    if lines.bare > 0 {
        return Ok(Format::Ndjson);
    }
    let line = beginning.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).find(|line| !line.is_empty()).unwrap_or_default();
    let fields = line.iter().filter(|byte| matches!(byte, b',' | b';' | b'\t')).count();
    if fields > 0 && !line.iter().any(|byte| matches!(byte, b'{' | b'[')) {
        return Err("it seems to be CSV, but its name is that of a JSON or NDJSON file".to_owned());
    }
    Ok(named)
}

/// How lines that hold one object each stand among the others. The last line may be cut.
#[derive(Default)]
struct ObjectLines {
    /// The lines that are an object and nothing else, as in NDJSON.
    bare: usize,
    /// The bare lines that the next line goes on from with another object, as in NDJSON, and never within an array.
    followed: usize,
    /// The lines that are an object and a comma, as in an array.
    separated: usize,
}

impl ObjectLines {
    fn of(beginning: &[u8]) -> ObjectLines {
        let is_object = |line: &[u8]| line.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(line).is_ok();
        let mut found = ObjectLines::default();
        let mut was_bare = false;
        for line in beginning.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
            found.followed += usize::from(was_bare && line.starts_with(b"{"));
            was_bare = is_object(line);
            let without_comma = line.strip_suffix(b",").or_else(|| line.strip_prefix(b","));
            found.bare += usize::from(was_bare);
            found.separated += usize::from(without_comma.is_some_and(|line| is_object(line.trim_ascii())));
        }
        found
    }

    /// Whether the lines are elements of a list in one document, such as an array with an element on each line.
    fn are_elements(&self, beginning: &[u8], is_all: bool, shape: &RecordShape) -> bool {
        let is_array = beginning.trim_ascii_start().starts_with(b"[");
        if self.separated > 0 {
            return is_array || self.separated >= self.followed;
        }
        if self.followed > 0 {
            return false;
        }
        // Elements may span lines, and of two elements the damaged one may be that with the comma. The document shows
        // what they are.
        let spans_lines = beginning.trim_ascii().contains(&b'\n');
        match cut(beginning, None) {
            Ok(None) => false,
            Ok(Some(CutBody { places, envelope })) => {
                let elements = places.iter().filter_map(|place| beginning.get(place.clone()));
                !places.is_empty() && (spans_lines || is_array || holds_list(&envelope, elements, shape))
            }
            Err(_) => !is_all && self.bare == 0 && spans_lines && is_within_list(beginning),
        }
    }
}

/// Whether a document goes on within its list, behind an element.
fn is_within_list(beginning: &[u8]) -> bool {
    let (mut cutter, mut places) = (Cutter::new(None), Vec::new());
    cutter.feed(beginning, 0, &mut places).is_ok() && !places.is_empty() && cutter.envelope_so_far().is_some()
}

/// Whether an object on one line is an envelope: it has a list of records and is not itself a record.
fn is_envelope(line: &str, shape: &RecordShape) -> bool {
    let Ok(Some(CutBody { places, envelope })) = cut(line.as_bytes(), None) else { return false };
    holds_list(&envelope, places.iter().filter_map(|place| line.as_bytes().get(place.clone())), shape)
}

/// Whether a line that does not end is an envelope, as far as it is read.
fn begins_envelope(beginning: &[u8], shape: &RecordShape) -> bool {
    let (mut cutter, mut places) = (Cutter::new(None), Vec::new());
    let fed = cutter.feed(beginning, 0, &mut places);
    let Some(envelope) = cutter.envelope_so_far().filter(|_| fed.is_ok()) else { return false };
    !places.is_empty() && holds_list(&envelope, places.iter().flatten().filter_map(|place| beginning.get(place.clone())), shape)
}

/// Whether an envelope has a list of records and is not itself a record. `elements` are those of the list that is read.
fn holds_list<'a>(envelope: &Envelope, elements: impl Iterator<Item = &'a [u8]> + Clone, shape: &RecordShape) -> bool {
    let Envelope { root, list, .. } = envelope;
    let has = |names: &[&str], paths: &[FieldPath]| {
        names.iter().any(|name| root.get(name).is_some_and(|value| *value != Node::Null))
            || paths.iter().any(|path| root.at(path).and_then(Node::text).is_some())
    };
    let (has_id, has_time) = (has(&["order_id", "id"], &shape.id), has(&["created_at", "date"], &shape.created_at));
    let is_line = |element: &Node| shape.of_line.iter().any(|path| element.at(path).is_some()) && !shape.has_id_and_time(element);
    // `items` may be the lines of an incomplete order, or of one whose fields nobody has described yet.
    let are_lines = |elements: &mut dyn Iterator<Item = Node>| {
        let mut elements = elements.peekable();
        let begin_with_line = elements.peek().is_some_and(is_line);
        !elements.any(|element| shape.is_order(&element)) && (has_id || has_time || begin_with_line)
    };
    RECORD_KEYS.iter().any(|key| {
        let Some(Node::Array(kept)) = root.get(key) else { return false };
        let is_read = matches!(list, List::Found(read) if read == key);
        let is_order = match *key {
            "items" if is_read => are_lines(&mut elements.clone().filter_map(Node::of_bytes)),
            "items" => are_lines(&mut kept.iter().cloned()),
            _ => has_id && has_time,
        };
        !is_order
    })
}

/// Whether each of the first lines is an envelope. Ignores the last line, which may be cut.
fn all_are_envelopes(text: &str, shape: &RecordShape) -> bool {
    const LINES_LOOKED_AT: usize = 20;
    let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n') && !line.trim().is_empty());
    let mut lines = lines.take(LINES_LOOKED_AT).peekable();
    lines.peek().is_some() && lines.all(|line| is_envelope(line, shape))
}

/// The name of a known format that is not JSON.
fn foreign(beginning: &[u8]) -> Option<String> {
    let text = beginning.trim_ascii_start();
    let seems = if beginning.starts_with(b"PK\x03\x04") {
        "a ZIP archive or a spreadsheet (.xlsx)"
    } else if beginning.starts_with(b"PAR1") {
        "Parquet"
    } else if beginning.starts_with(b"%PDF") {
        "a PDF"
    } else if beginning.starts_with(b"BZh") {
        "bzip2: decompress it first"
    } else if beginning.starts_with(b"\xfd7zXZ") {
        "xz: decompress it first"
    } else if beginning.starts_with(b"SQLite format 3") {
        "an SQLite database"
    } else if beginning.starts_with(b"Obj\x01") {
        "Avro"
    } else if beginning.starts_with(&[0xd0, 0xcf, 0x11, 0xe0]) {
        "a spreadsheet (.xls)"
    } else if text.starts_with(b"<") {
        let start = String::from_utf8_lossy(text.get(..200.min(text.len())).unwrap_or_default()).to_ascii_lowercase();
        if start.contains("html") { "a web page (HTML)" } else { "XML" }
    } else if beginning.iter().take(64).any(|byte| *byte == 0) {
        "UTF-16 without a byte order mark, or binary data"
    } else {
        return None;
    };
    Some(format!("it seems to be {seems}; supported are JSON and NDJSON, also compressed by gzip or zstd"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(text: &str, named: Format) -> Result<Format, String> {
        records_format(text.as_bytes(), named, true, &RecordShape::default())
    }

    #[test]
    fn the_first_bytes_decide_the_format_and_not_the_name() {
        for named in [Format::Json, Format::Ndjson] {
            for text in ["[{\"a\":1},\n{\"a\":2}]", "[{\"a\":1}]", "{\n \"orders\": [\n{\"a\":1}\n]}", "{\"orders\":[{\"a\":1}]}", "[\n]"] {
                assert_eq!(format(text, named), Ok(Format::Json), "{text}");
            }
            for text in ["{\"a\":1}\n{\"a\":2}", "\n{\"a\":1}\r\n\r\n{\"a\":2}\n", "{\"a\":\n{\"b\":2}\n{\"c\":3}", "[1]\n{\"a\":1}"] {
                assert_eq!(format(text, named), Ok(Format::Ndjson), "{text}");
            }
            // If both formats are possible, the name decides.
            for text in ["", " \n ", "{\"a\":1}", "{\"a\":"] {
                assert_eq!(format(text, named), Ok(named), "{text}");
            }
            let cut = |text: &str| records_format(text.as_bytes(), named, false, &RecordShape::default());
            assert_eq!(cut("{\n \"orders\": [\n{\"a\":1},"), Ok(Format::Json));
            assert_eq!(cut("[{\"a\":1},{\"b"), Ok(Format::Json));
            assert_eq!(cut("{\"a\":\"xxx"), Ok(named));
            assert_eq!(cut("{\"orders\":[{\"a\":1},{\"b"), Ok(Format::Json), "a page of one long line");
            assert_eq!(cut("{\"id\":1,\"date\":\"x\",\"data\":[{\"a\":1},{\"b"), Ok(named), "a record of one long line");
        }
    }

    #[test]
    fn a_damaged_element_on_a_line_of_its_own_makes_no_lines_of_an_array() {
        for named in [Format::Json, Format::Ndjson] {
            for array in [
                "[\n{\"a\":1},\n{\"b\": bad},\n{\"a\":3}\n]\n",
                "[\n{\"b\": bad},\n{\"a\":3}\n]\n",
                "[{\"b\": bad},\n{\"a\":3}]",
                "[{\"b\": bad},{\"a\":3}]",
                "{\"orders\":[{\"b\": bad},{\"a\":3}]}\n",
                "[\n {\"a\":1}\n, {\"b\": bad}\n, {\"a\":3}\n]\n",
                "{\"orders\":[\n{\"a\":1},\r\n{\"b\": bad},\r\n{\"a\":3}\r\n]}\n",
                "[\n{\"a\":1},\n{\"b\": [},\n{\"a\":3}\n{\"a\":4}\n]\n",
            ] {
                assert_eq!(format(array, named), Ok(Format::Json), "{array}");
            }
            let pretty = "[\n {\n  \"a\": 1\n },\n {\n  \"b\": bad\n },\n {\n  \"a\": 2\n }\n]\n";
            assert_eq!(format(pretty, named), Ok(Format::Json));
            let beginning = pretty.as_bytes().split_at(pretty.len() - 8).0;
            assert_eq!(records_format(beginning, named, false, &RecordShape::default()), Ok(Format::Json));
            for lines in [
                "{\"b\": bad}\n{\"a\":3}\n",
                "{\"b\": bad}\n{\"a\":3}\n{\"a\":4},\n{\"a\":5}\n{\"a\":6}\n",
                "[1, bad\n{\"a\":3}\n{\"a\":4}\n",
                "{\"items\":[{\"s\":1},{\"s\":2\n{\"a\":3}\n{\"a\":4}\n",
            ] {
                assert_eq!(format(lines, named), Ok(Format::Ndjson), "{lines}");
                let cut = records_format(lines.as_bytes(), named, false, &RecordShape::default());
                assert_eq!(cut, Ok(Format::Ndjson), "{lines}");
            }
        }
    }

    #[test]
    fn a_damaged_record_on_one_line_is_what_the_name_says() {
        for named in [Format::Json, Format::Ndjson] {
            for line in ["{\"id\":1,\"items\":[{\"s\": bad}]}\n", "{\"id\":1, bad}", "{\"id\":1,\"items\":[{\"s\":1}"] {
                assert_eq!(format(line, named), Ok(named), "{line}");
            }
        }
    }

    #[test]
    fn one_object_on_one_line_so_far_may_be_a_record_or_a_document() {
        for text in ["{\"orders\":[{\"a\":1},", " \n{\"a\":1}\n\n", "{"] {
            assert!(is_one_line_so_far(text.as_bytes()), "{text}");
        }
        for text in ["", "[{\"a\":1},", "{\"a\":1}\n{", "{\n\"a\":1"] {
            assert!(!is_one_line_so_far(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn an_order_with_names_of_its_own_is_no_page() {
        let paths = |path: &str| vec![path.parse().unwrap()];
        let shape = RecordShape { id: paths("no"), created_at: paths("at"), of_line: paths("sku"), ..RecordShape::default() };
        let format = |line: &str| records_format(format!("{line}\n{line}\n").as_bytes(), Format::Ndjson, true, &shape);
        for order in [
            r#"{"no":1,"at":"2026-01-01","data":[{"x":1}]}"#,
            r#"{"at":"2026-01-01","items":[]}"#,
            r#"{"number":1,"ordered":"2026-01-01","items":[{"sku":"a"}]}"#,
        ] {
            assert_eq!(format(order), Ok(Format::Ndjson), "{order}");
        }
        for page in [r#"{"no":1,"orders":[{"x":1}]}"#, r#"{"next":"x","items":[{"no":1,"at":"2026-01-01","sku":"a"}]}"#] {
            assert!(format(page).unwrap_err().contains("a page with records"), "{page}");
        }
    }

    #[test]
    fn other_formats_are_errors_with_their_name() {
        for (text, seems) in [
            ("<!DOCTYPE html><html>", "a web page"),
            ("<?xml version='1.0'?><orders/>", "XML"),
            ("order_id,created_at\n1,2026-01-01\n", "CSV"),
            ("PK\u{3}\u{4}xxxx", "spreadsheet"),
            ("PAR1xxxx", "Parquet"),
            ("{\0\"\0a\0", "UTF-16 without"),
            ("{\n\"a\":1\n}\n{\n\"a\":2\n}\n", "jq -c"),
            ("{\"a\":1},\n{\"a\":2}\n", "separated by commas"),
            ("{\"orders\":[{\"a\":1}]}\n{\"orders\":[{\"a\":2}]}\n", "a page with records"),
        ] {
            let error = format(text, Format::Ndjson).unwrap_err();
            assert!(error.contains(seems), "{text}: {error}");
        }
    }

    #[test]
    fn magic_bytes_show_the_compression() {
        assert_eq!(compression(&[0x1f, 0x8b, 8]), Compression::Gzip);
        assert_eq!(compression(&[0x28, 0xb5, 0x2f, 0xfd]), Compression::Zstd);
        assert_eq!(compression(b"{}"), Compression::None);
    }
}
