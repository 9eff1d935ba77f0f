//! The lines of a file of kept records: the first tells of the run, and each other one holds a record.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    coverage::SourceIdentity,
    model::{RawRecord, UtcMicros, WITHHELD_RECORD},
    report::{CommandName, Summary},
    run::kept_record::KeptRecord,
    settings::Cursor,
    source::Page,
};

/// The version of the format.
const VERSION: u32 = 1;

/// The first line of a file: the run that has kept it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(in crate::run) struct RawHeader {
    /// The version of the format.
    raw: u32,
    run_id: String,
    command: CommandName,
    /// The source of the orders, and the profile by which they were read.
    source: Option<String>,
    profile: Option<String>,
    /// The window, and the time that it is on.
    cursor: Cursor,
    since: Option<UtcMicros>,
    until: Option<UtcMicros>,
    started_at: UtcMicros,
}

impl RawHeader {
    /// The header of a run, whose window is resolved.
    pub(in crate::run) fn of(summary: &Summary, source: Option<SourceIdentity>) -> RawHeader {
        let (source, profile) = source.map(|identity| (identity.source, identity.profile)).unzip();
        RawHeader {
            raw: VERSION,
            run_id: summary.run_id.clone(),
            command: summary.command,
            source,
            profile,
            cursor: summary.cursor,
            since: summary.since,
            until: summary.until,
            started_at: summary.started_at,
        }
    }

    /// The line.
    pub(super) fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// Fails if a line is not the header of this run, in the format of this version.
    pub(super) fn verify(line: &[u8], run_id: &str) -> Result<(), String> {
        let header: RawHeader = serde_json::from_slice(line).map_err(|error| format!("not the first line of kept records: {error}"))?;
        if header.raw != VERSION {
            return Err(format!("its format has version {}, and this program reads version {VERSION}", header.raw));
        }
        if header.run_id != run_id {
            return Err(format!("it was kept by run {}, and lies in the folder of run {run_id}", header.run_id));
        }
        Ok(())
    }
}

/// Records as lines.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(in crate::run) struct RawLines {
    pub(super) bytes: Vec<u8>,
    /// Their number.
    pub(super) records: u64,
    /// How many of them are withheld.
    pub(in crate::run) withheld: u64,
}

impl RawLines {
    /// All records of a page, in its order. In place of some stands that they are withheld.
    pub(in crate::run) fn of(page: &Page, is_withheld: impl Fn(&[u8]) -> bool) -> RawLines {
        let mut lines = RawLines { bytes: Vec::with_capacity(page.bytes().len()), ..RawLines::default() };
        for record in page.records() {
            if is_withheld(record.bytes) { lines.withhold() } else { lines.push(record) }
        }
        lines
    }

    /// Adds a line that says that a record is withheld.
    pub(super) fn withhold(&mut self) {
        self.push(WITHHELD_RECORD.into());
        self.withheld += 1;
    }

    fn push(&mut self, record: RawRecord<'_>) {
        self.bytes.push(b'{');
        KeptRecord::exactly(record.bytes).write(&mut self.bytes);
        if !record.is_whole {
            self.bytes.extend_from_slice(b",\"is_cut\":true");
        }
        self.bytes.extend_from_slice(b"}\n");
        self.records += 1;
    }
}

/// A line that holds a record.
#[derive(Deserialize)]
struct Line<'l> {
    #[serde(borrow, default)]
    record: Option<&'l RawValue>,
    #[serde(default)]
    record_base64: Option<String>,
    /// Whether these are the first bytes of a record that was too large to keep.
    #[serde(default)]
    is_cut: bool,
}

/// A record that is read again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ReadRecord<'l> {
    pub(super) bytes: Cow<'l, [u8]>,
    /// Whether these are all its bytes.
    pub(super) is_whole: bool,
}

impl<'l> ReadRecord<'l> {
    /// The record of a line.
    pub(super) fn of(line: &'l [u8]) -> Result<ReadRecord<'l>, String> {
        let line: Line<'l> = serde_json::from_slice(line).map_err(|error| format!("not a line of kept records: {error}"))?;
        let bytes = match (line.record, line.record_base64) {
            (Some(raw), _) if raw.get().starts_with('"') => {
                let text: String = serde_json::from_str(raw.get()).map_err(|error| format!("record: {error}"))?;
                Cow::Owned(text.into_bytes())
            }
            (Some(raw), _) => Cow::Borrowed(raw.get().as_bytes()),
            (None, Some(text)) => Cow::Owned(STANDARD.decode(text).map_err(|error| format!("record_base64: {error}"))?),
            (None, None) => return Err("neither `record` nor `record_base64`".to_owned()),
        };
        Ok(ReadRecord { bytes, is_whole: !line.is_cut })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_to_the_byte_whatever_it_is() {
        for record in [
            &b"{\"price\": 0.10000000000000000000000000000001e+2, \"id\":123456789012345678901234567890}"[..],
            b"{\"a\":\"\\u00e9 \xc3\xa9\"}",
            b"{\"a\"",
            b"\"{\\\"order_id\\\":1}\"",
            b"\"open",
            b"null",
            b"7",
            b"[1, 2]",
            b"caf\xe9\n",
            b"two\nlines",
        ] {
            for is_whole in [true, false] {
                let mut lines = RawLines::default();
                lines.push(RawRecord { bytes: record, is_whole });
                let text = String::from_utf8(lines.bytes.clone()).unwrap();
                assert_eq!((text.matches('\n').count(), text.ends_with('\n'), lines.records), (1, true, 1), "{text}");
                assert_eq!(ReadRecord::of(text.trim_end().as_bytes()).unwrap(), ReadRecord { bytes: record.into(), is_whole });
            }
        }
        assert!(ReadRecord::of(b"{}").is_err() && ReadRecord::of(b"{\"record\"").is_err());
    }

    #[test]
    fn a_line_break_between_tokens_becomes_a_space() {
        let mut lines = RawLines::default();
        lines.push(RawRecord::from(&b"{\n\t\"a\":\r\n1.10}"[..]));
        assert_eq!(lines.bytes, b"{\"record\":{ \t\"a\":  1.10}}\n");
    }

    #[test]
    fn a_header_is_that_of_its_run() {
        let summary = Summary::new("r".into(), None, None, UtcMicros::new(0).unwrap());
        let line = RawHeader::of(&summary, None).line();
        assert!(RawHeader::verify(&line, "r").is_ok());
        assert!(RawHeader::verify(&line, "s").unwrap_err().contains("run r"));
        assert!(RawHeader::verify(b"{\"record\":{}}", "r").is_err());
        let newer = String::from_utf8(line).unwrap().replace("\"raw\":1", "\"raw\":2");
        assert!(RawHeader::verify(newer.as_bytes(), "r").unwrap_err().contains("version 2"));
    }
}
