//! A record in a line of JSON, as quarantine and `raw/` keep it: as JSON where it is JSON, else as a text, or as Base64.
//!
//! Does not know which keys a line has beside the record.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::de::IgnoredAny;

/// How a line keeps a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum KeptRecord<'r> {
    /// Under `record`, as it is.
    Json(&'r [u8]),
    /// Under `record`, as a string.
    Text(&'r str),
    /// Under `record_base64`, since it is not UTF-8.
    Bytes(&'r [u8]),
}

impl<'r> KeptRecord<'r> {
    /// The most legible form.
    pub(super) fn of(record: &'r [u8]) -> KeptRecord<'r> {
        match std::str::from_utf8(record) {
            Ok(text) if serde_json::from_str::<IgnoredAny>(text).is_ok() => KeptRecord::Json(record),
            Ok(text) => KeptRecord::Text(text),
            Err(_) => KeptRecord::Bytes(record),
        }
    }

    /// The form from which the same record comes back: a JSON string, and `null`, count as text.
    pub(super) fn exactly(record: &'r [u8]) -> KeptRecord<'r> {
        match std::str::from_utf8(record) {
            Ok(text) if text.trim_start().starts_with('"') || text.trim() == "null" => KeptRecord::Text(text),
            _ => KeptRecord::of(record),
        }
    }

    /// Appends the key and the record.
    pub(super) fn write(self, line: &mut Vec<u8>) {
        match self {
            KeptRecord::Json(json) => {
                line.extend_from_slice(b"\"record\":");
                // A line break in valid JSON is white space between its tokens, and would end the line.
                line.extend(json.iter().map(|&byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
            }
            KeptRecord::Text(text) => {
                line.extend_from_slice(b"\"record\":");
                line.extend_from_slice(serde_json::to_string(text).unwrap_or_default().as_bytes());
            }
            KeptRecord::Bytes(bytes) => {
                line.extend_from_slice(format!("\"record_base64\":\"{}\"", STANDARD.encode(bytes)).as_bytes());
            }
        }
    }
}
