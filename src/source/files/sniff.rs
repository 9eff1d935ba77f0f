//! Detects the format of a file from its first bytes, because names are often wrong.
//!
//! Detects the formats that are certain: a JSON document, NDJSON, gzip and zstd. Names formats that are not supported, such as
//! a web page, CSV, Parquet or a spreadsheet. Reads only the beginning of the file.

use serde::de::IgnoredAny;

use super::{Compression, Format};
use crate::{
    model::FieldPath,
    source::{RECORD_KEYS, RecordShape, body::Node},
};

/// The decompressed bytes that are examined.
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
        Some(Err(error)) if error.is_eof() && !is_all => return Ok(unfinished(text.as_bytes(), named)),
        Some(Err(_)) => return damaged(text.as_bytes(), named),
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

/// The format if the first value does not end in the beginning: a document, unless it is one long line.
fn unfinished(beginning: &[u8], named: Format) -> Format {
    let text = beginning.trim_ascii_start();
    let spans_lines = text.contains(&b'\n');
    if spans_lines || text.starts_with(b"[") { Format::Json } else { named }
}

/// The format if the first value is invalid. In NDJSON only that line is invalid; in any other format, the whole file.
fn damaged(beginning: &[u8], named: Format) -> Result<Format, String> {
    let is_object = |line: &[u8]| {
        let line = line.trim_ascii();
        line.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(line).is_ok()
    };
    // The last line may be cut.
    if beginning.split(|byte| *byte == b'\n').any(is_object) {
        return Ok(Format::Ndjson);
    }
    let line = beginning.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).find(|line| !line.is_empty()).unwrap_or_default();
    let fields = line.iter().filter(|byte| matches!(byte, b',' | b';' | b'\t')).count();
    if fields > 0 && !line.iter().any(|byte| matches!(byte, b'{' | b'[')) {
        return Err("it seems to be CSV, but its name is that of a JSON or NDJSON file".to_owned());
    }
    Ok(named)
}

/// Whether an object on one line is an envelope: it has a list of records and is not itself a record.
fn is_envelope(line: &str, shape: &RecordShape) -> bool {
    let Ok(root) = Node::parse(line) else { return false };
    let has = |names: &[&str], paths: &[FieldPath]| {
        names.iter().any(|name| root.get(name).is_some_and(|value| *value != Node::Null))
            || paths.iter().any(|path| root.at(path).and_then(Node::text).is_some())
    };
    let (has_id, has_time) = (has(&["order_id", "id"], &shape.id), has(&["created_at", "date"], &shape.created_at));
    let is_line = |element: &Node| shape.of_line.iter().any(|path| element.at(path).is_some()) && !shape.has_id_and_time(element);
    // `items` may be the lines of an incomplete order, or of one whose fields nobody has described yet.
    let is_order = |key: &str, elements: &[Node]| match key {
        "items" if elements.iter().any(|element| shape.is_order(element)) => false,
        "items" => has_id || has_time || elements.first().is_some_and(is_line),
        _ => has_id && has_time,
    };
    RECORD_KEYS.iter().any(|key| matches!(root.get(key), Some(Node::Array(elements)) if !is_order(key, elements)))
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
