//! CSV: encoding, delimiter, header and damage. Each row becomes a record of texts. Does not interpret the columns.
//!
//! The rows are cut here and not by the `csv` crate. That crate accepts a quote that is never closed, buffers a record
//! of any size, and counts one line too few after a CRLF. It reads an undamaged file in the same way; a test compares both.

use std::{
    collections::HashMap,
    io::{self, Read},
    iter,
};

use super::{
    SourceFile,
    rows::{RowPages, TableRows},
    utf8::Utf8Reader,
};
use crate::{
    model::{CellTypes, counted},
    source::{Access, PageSink, RecordShape, SourceCounters, SourceError, files},
};

/// The delimiters that are recognised. The first one is used in case of doubt.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// The bytes that are read at once. The delimiter is recognised from the first block alone.
const BLOCK_BYTES: usize = 1 << 17;

/// The first bytes of a file, which are searched for NUL bytes.
const SNIFFED_BYTES: usize = 1 << 10;

/// Reads one CSV file into `sink`. The first record is the header. Returns the number of rows, or `None` if the sink stopped
/// the reading.
///
/// # Errors
/// A file that can't be read, is not CSV in UTF-8 or UTF-16, or is damaged.
pub(super) fn read_csv(
    file: &SourceFile,
    shape: &RecordShape,
    access: &Access<'_>,
    sink: &mut dyn PageSink,
) -> Result<Option<TableRows>, SourceError> {
    access.counters.page();
    let mut pages = RowPages::new(&file.path, CellTypes::Text, sink).of_orders(shape);
    let mut records = Records::open(file, access)?;
    let Some(header) = records.next_record()? else { return Ok(Some(TableRows::default())) };
    let columns = Columns::new(&column_names(file, &header)?);
    while let Some(record) = records.next_record()? {
        columns.verify(file, &record)?;
        if !pages.row(record.line, |out| columns.write_row(&record, out)) {
            return pages.refused().map_or(Ok(None), |refused| Err(malformed(file, refused.line, refused.detail)));
        }
        if access.cancel.is_stopped() {
            return Err(SourceError::Interrupted);
        }
    }
    pages.finish()
}

fn malformed(file: &SourceFile, line: u64, detail: impl Into<String>) -> SourceError {
    SourceError::Malformed { path: file.path.clone(), line, detail: detail.into() }
}

/// The names of a header: trimmed, and empty if a column has no name.
fn column_names(file: &SourceFile, header: &Record<'_>) -> Result<Vec<String>, SourceError> {
    let names: Vec<String> = header.values.iter().map(|name| name.trim().to_owned()).collect();
    let mut places = HashMap::new();
    for (place, name) in (1_usize..).zip(&names).filter(|(_, name)| !name.is_empty()) {
        if let Some(first) = places.insert(name.as_str(), place) {
            return Err(malformed(file, header.line, format!("the header has the name \"{name}\" twice, in columns {first} and {place}")));
        }
    }
    Ok(names)
}

/// The columns of the header.
struct Columns {
    /// The name of each as a key of a JSON object, with its colon; `None` if the header has no name.
    keys: Vec<Option<String>>,
}

impl Columns {
    fn new(names: &[String]) -> Columns {
        let key = |name: &String| format!("{}:", serde_json::Value::from(name.as_str()));
        Columns { keys: names.iter().map(|name| (!name.is_empty()).then(|| key(name))).collect() }
    }

    /// Compares a row with the header.
    fn verify(&self, file: &SourceFile, record: &Record<'_>) -> Result<(), SourceError> {
        let (found, expected) = (record.values.len(), self.keys.len());
        if found != expected {
            return Err(malformed(file, record.line, format!("{}, where the header has {expected}", counted(found as u64, "field"))));
        }
        let unnamed =
            (1_usize..).zip(self.keys.iter().zip(&record.values)).find(|(_, (key, value))| key.is_none() && !value.trim().is_empty());
        match unnamed {
            Some((place, _)) => Err(malformed(file, record.line, format!("column {place} has a value, but the header has no name for it"))),
            None => Ok(()),
        }
    }

    /// Appends a row as a JSON object of texts.
    fn write_row(&self, record: &Record<'_>, out: &mut Vec<u8>) {
        out.push(b'{');
        let start = out.len();
        for (key, value) in self.keys.iter().zip(&record.values).filter_map(|(key, value)| Some((key.as_ref()?, value))) {
            if out.len() > start {
                out.push(b',');
            }
            out.extend_from_slice(key.as_bytes());
            // Writing to memory can't fail.
            let _ = serde_json::to_writer(&mut *out, value);
        }
        out.push(b'}');
    }
}

/// One record, its values without their quotes.
struct Record<'r> {
    /// The line on which it begins, from 1.
    line: u64,
    values: Vec<&'r str>,
}

/// Where the parser stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between two records.
    RecordStart,
    /// After a delimiter.
    FieldStart,
    /// In a value without quotes, or after the closing quote of a value.
    Unquoted,
    /// Between quotes.
    Quoted,
    /// After a quote within quotes: it closes the value, or the next byte is a quote too.
    ClosingQuote,
}

/// What a byte is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ByteRole {
    /// A line break between two records.
    Between,
    /// A quote around a value, or the first of two quotes that stand for one.
    Quote,
    /// A byte of a value.
    Value,
    /// A delimiter.
    EndsField,
    /// The first byte of the line break after a record.
    EndsRecord,
}

impl State {
    /// Reads one byte as RFC 4180 has it. A quote in the middle of a value without quotes is a part of the value.
    fn step(self, byte: u8, is_delimiter: bool) -> (State, ByteRole) {
        match (self, byte) {
            (State::Quoted, b'"') => (State::ClosingQuote, ByteRole::Quote),
            (State::Quoted, _) | (State::ClosingQuote, b'"') => (State::Quoted, ByteRole::Value),
            (State::RecordStart, b'\r' | b'\n') => (State::RecordStart, ByteRole::Between),
            (_, b'\r' | b'\n') => (State::RecordStart, ByteRole::EndsRecord),
            _ if is_delimiter => (State::FieldStart, ByteRole::EndsField),
            (State::RecordStart | State::FieldStart, b'"') => (State::Quoted, ByteRole::Quote),
            _ => (State::Unquoted, ByteRole::Value),
        }
    }
}

/// Counts lines that end with LF, CRLF or CR.
#[derive(Clone, Copy)]
struct LineCounter {
    /// The line of the next byte, from 1.
    line: u64,
    previous: u8,
}

impl LineCounter {
    fn starting_at(line: u64) -> LineCounter {
        LineCounter { line, previous: 0 }
    }

    fn pass(&mut self, byte: u8) {
        let is_break = byte == b'\r' || (byte == b'\n' && self.previous != b'\r');
        self.line += u64::from(is_break);
        self.previous = byte;
    }
}

/// The records of one file, in their order. At most one block and one record are in memory.
struct Records<'a> {
    file: &'a SourceFile,
    access: &'a Access<'a>,
    reader: Utf8Reader<CountedReader<'a>>,
    block: Vec<u8>,
    /// The next byte of the block.
    at: usize,
    delimiter: u8,
    state: State,
    lines: LineCounter,
    /// The line on which the record begins.
    first_line: u64,
    /// The bytes of the record in the file, quotes and delimiters included.
    size: u64,
    /// The values of the record, one after the other.
    text: Vec<u8>,
    /// Where each value ends in `text`.
    ends: Vec<usize>,
}

impl<'a> Records<'a> {
    fn open(file: &'a SourceFile, access: &'a Access<'a>) -> Result<Records<'a>, SourceError> {
        let counted = CountedReader { reader: files::open(file, access)?, counters: access.counters };
        let mut records = Records {
            file,
            access,
            reader: Utf8Reader::new(counted),
            block: Vec::with_capacity(BLOCK_BYTES),
            at: 0,
            delimiter: DELIMITERS[0],
            state: State::RecordStart,
            lines: LineCounter::starting_at(1),
            first_line: 1,
            size: 0,
            text: Vec::new(),
            ends: Vec::new(),
        };
        records.read_block()?;
        if let Some(detail) = foreign_format(&records.block) {
            return Err(malformed(file, 1, detail));
        }
        records.delimiter = recognise_delimiter(&records.block);
        Ok(records)
    }

    /// The next record that is not a blank line; `None` at the end of the file.
    fn next_record(&mut self) -> Result<Option<Record<'_>>, SourceError> {
        while self.parse_record()? {
            if !self.is_blank() {
                return self.record().map(Some);
            }
        }
        Ok(None)
    }

    /// Parses the next record; `false` at the end of the file.
    fn parse_record(&mut self) -> Result<bool, SourceError> {
        self.text.clear();
        self.ends.clear();
        self.size = 0;
        loop {
            self.take_plain();
            if self.size > self.access.limits.record_bytes {
                return Err(self.too_large());
            }
            let Some(&byte) = self.block.get(self.at) else {
                if self.read_block()? {
                    continue;
                }
                return self.end_file();
            };
            self.at += 1;
            if self.take(byte) {
                return Ok(true);
            }
        }
    }

    /// Takes the bytes of a value up to the next one that may mean something else, at once.
    fn take_plain(&mut self) {
        let rest = self.block.get(self.at..).unwrap_or_default();
        let end = match self.state {
            State::Unquoted => memchr::memchr3(self.delimiter, b'\r', b'\n', rest),
            State::Quoted => memchr::memchr3(b'"', b'\r', b'\n', rest),
            State::RecordStart | State::FieldStart | State::ClosingQuote => return,
        };
        let plain = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        let Some(&last) = plain.last() else { return };
        self.text.extend_from_slice(plain);
        self.lines.previous = last;
        self.size += plain.len() as u64;
        self.at += plain.len();
    }

    /// Takes the next byte of the file; `true` when it ends the record.
    fn take(&mut self, byte: u8) -> bool {
        if self.state == State::RecordStart {
            self.first_line = self.lines.line;
        }
        let (state, role) = self.state.step(byte, byte == self.delimiter);
        self.state = state;
        self.lines.pass(byte);
        match role {
            ByteRole::Between => return false,
            ByteRole::EndsRecord => {
                self.ends.push(self.text.len());
                return true;
            }
            ByteRole::EndsField => self.ends.push(self.text.len()),
            ByteRole::Value => self.text.push(byte),
            ByteRole::Quote => {}
        }
        self.size += 1;
        false
    }

    /// Ends the last record of the file, which may have no line break; `false` if there is no record to end.
    fn end_file(&mut self) -> Result<bool, SourceError> {
        match self.state {
            State::RecordStart => Ok(false),
            State::Quoted => {
                let detail = "the file ends within quotes: the record that begins here has no closing quote";
                Err(malformed(self.file, self.first_line, detail))
            }
            State::FieldStart | State::Unquoted | State::ClosingQuote => {
                self.state = State::RecordStart;
                self.ends.push(self.text.len());
                Ok(true)
            }
        }
    }

    /// Reads the next block; `false` at the end of the file.
    fn read_block(&mut self) -> Result<bool, SourceError> {
        if self.access.cancel.is_stopped() {
            return Err(SourceError::Interrupted);
        }
        self.block.clear();
        self.at = 0;
        let read = self.reader.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut self.block);
        read.map_err(|source| SourceError::Unreadable { path: self.file.path.clone(), source })?;
        Ok(!self.block.is_empty())
    }

    /// Whether the record is a line of nothing but spaces.
    fn is_blank(&self) -> bool {
        let has_only_text = self.size == self.text.len() as u64;
        has_only_text && self.text.iter().all(|&byte| byte == b' ')
    }

    fn record(&self) -> Result<Record<'_>, SourceError> {
        let starts = iter::once(0).chain(self.ends.iter().copied());
        let values = starts.zip(&self.ends).map(|(start, &end)| self.value(start, end)).collect::<Result<_, _>>()?;
        Ok(Record { line: self.first_line, values })
    }

    fn value(&self, start: usize, end: usize) -> Result<&str, SourceError> {
        str::from_utf8(&self.text[start..end]).map_err(|error| self.not_utf8(start + error.valid_up_to()))
    }

    /// The error for text that is not UTF-8 from a position of `text` on.
    fn not_utf8(&self, position: usize) -> SourceError {
        let mut lines = LineCounter::starting_at(self.first_line);
        self.text[..position].iter().for_each(|&byte| lines.pass(byte));
        let detail = if self.reader.is_utf_16() {
            "the file is damaged UTF-16: a character is cut in half. Save it as UTF-8"
        } else {
            "the file is not UTF-8; it may be Windows-1252 (CP1252): save it as UTF-8"
        };
        malformed(self.file, lines.line, detail)
    }

    fn too_large(&self) -> SourceError {
        let hint = if self.state == State::Quoted { "; a closing quote may be missing" } else { "" };
        let detail = format!("a record of more than {} (limits.record_bytes){hint}", counted(self.access.limits.record_bytes, "byte"));
        malformed(self.file, self.first_line, detail)
    }
}

/// Counts the bytes of a file before they are decoded.
struct CountedReader<'c> {
    reader: Box<dyn Read>,
    counters: &'c SourceCounters,
}

impl Read for CountedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.counters.bytes(read);
        Ok(read)
    }
}

/// What is wrong with a file that is not CSV, as its first block shows.
fn foreign_format(block: &[u8]) -> Option<&'static str> {
    if block.starts_with(b"PK\x03\x04") {
        return Some("the file seems to be an Excel workbook (.xlsx) or another zip archive: export it as CSV");
    }
    if block.starts_with(b"\xd0\xcf\x11\xe0") {
        return Some("the file seems to be an Excel workbook (.xls): export it as CSV");
    }
    if block.iter().take(SNIFFED_BYTES).any(|&byte| byte == 0) {
        return Some("the file has NUL bytes; it seems to be UTF-16 without a byte order mark: save it as UTF-8");
    }
    match block.trim_ascii_start().first() {
        Some(b'<') => Some("the file seems to be an HTML page, such as a login page or an error page, and not CSV"),
        Some(b'{' | b'[') => Some("the file seems to be JSON and not CSV: name it .json or .ndjson"),
        _ => None,
    }
}

/// The delimiter that occurs most often in the header outside of quotes; a comma where none occurs or two are equal.
fn recognise_delimiter(block: &[u8]) -> u8 {
    let mut counts = [0_usize; DELIMITERS.len()];
    let mut state = State::RecordStart;
    let blank = block.iter().take_while(|byte| matches!(byte, b' ' | b'\r' | b'\n')).count();
    for &byte in &block[blank..] {
        let candidate = DELIMITERS.iter().position(|&delimiter| delimiter == byte);
        let (next, role) = state.step(byte, candidate.is_some());
        match (role, candidate) {
            (ByteRole::EndsRecord, _) => break,
            (ByteRole::EndsField, Some(candidate)) => counts[candidate] += 1,
            _ => {}
        }
        state = next;
    }
    let most = counts.iter().copied().max();
    let leaders: Vec<u8> = DELIMITERS.into_iter().zip(counts).filter(|&(_, count)| Some(count) == most).map(|(byte, _)| byte).collect();
    match leaders.as_slice() {
        [only] => *only,
        _ => DELIMITERS[0],
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        cancel::Stop,
        model::Pairs,
        settings::Limits,
        source::{Ambient, Page, Purpose, files::Place},
    };

    /// The records of a file, as they are handed on.
    fn read_with(ambient: &Ambient, bytes: &[u8]) -> Result<Vec<String>, SourceError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.csv");
        fs::write(&path, bytes).unwrap();
        let file = SourceFile::new(path, Purpose::Members, Place::Disk).unwrap();
        let mut all = Vec::new();
        let mut sink = |page: Page| {
            all.extend(page.records().map(|record| String::from_utf8(record.bytes.to_vec()).unwrap()));
            true
        };
        let rows = read_csv(&file, &RecordShape::default(), &ambient.access(), &mut sink)?;
        assert_eq!(rows.map(|held| held.records), Some(all.len() as u64));
        Ok(all)
    }

    fn names(records: &[String]) -> Vec<String> {
        let first = records.first().map(String::as_str).unwrap_or("{}");
        serde_json::from_str::<Pairs<'_>>(first).unwrap().0.into_iter().map(|(key, _)| key.into_owned()).collect()
    }

    fn rows(records: &[String]) -> Vec<Vec<String>> {
        let values = |record: &String| -> Vec<String> {
            let pairs: Pairs<'_> = serde_json::from_str(record).unwrap();
            pairs.0.into_iter().map(|(_, value)| serde_json::from_str(value.get()).unwrap()).collect()
        };
        records.iter().map(values).collect()
    }

    /// The names and rows of an undamaged file.
    fn read(bytes: &[u8]) -> (Vec<String>, Vec<Vec<String>>) {
        let table = read_with(&Ambient::default(), bytes).unwrap();
        (names(&table), rows(&table))
    }

    /// The line and detail of the error for a damaged file.
    fn damage_with(ambient: &Ambient, bytes: &[u8]) -> String {
        let error = read_with(ambient, bytes).map(drop).unwrap_err().to_string();
        error.split_once("users.csv, ").unwrap().1.to_owned()
    }

    fn damage(bytes: &[u8]) -> String {
        damage_with(&Ambient::default(), bytes)
    }

    fn limited(record_bytes: u64) -> Ambient {
        Ambient { limits: Limits { record_bytes, ..Limits::default() }, ..Ambient::default() }
    }

    #[test]
    fn utf_8_and_utf_16_with_a_byte_order_mark_are_read() {
        let text = "id;name\r\n1;Zo\u{eb} \u{1f600}\r\n";
        let marked = format!("\u{feff}{text}");
        let little: Vec<u8> = marked.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = marked.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [text.as_bytes(), marked.as_bytes(), &little, &big] {
            let (names, rows) = read(bytes);
            assert_eq!(names, ["id", "name"]);
            assert_eq!(rows, [["1", "Zo\u{eb} \u{1f600}"]]);
        }
    }

    #[test]
    fn invalid_utf_8_is_an_error_on_its_line() {
        let detail = "the file is not UTF-8; it may be Windows-1252 (CP1252): save it as UTF-8";
        assert_eq!(damage(b"id,name\n1,a\n2,M\xfcller\n"), format!("line 3: {detail}"));
        assert_eq!(damage(b"\xef\xbb\xbfid,name\r\n1,\"a\r\nb\"\r\n2,M\xfcller\r\n"), format!("line 4: {detail}"));
        assert_eq!(damage(b"id,name\r\n1,\"a\r\nM\xfcller\"\r\n"), format!("line 3: {detail}"));
        assert_eq!(damage(b"id,Stra\xdfe\n"), format!("line 1: {detail}"));
        // Two halves of a character in two values are not a character.
        assert_eq!(damage(b"id,name\n\xc3,\xa9\n"), format!("line 2: {detail}"));
    }

    #[test]
    fn half_a_character_of_utf_16_is_an_error_on_its_line() {
        let units = "id,name\n1,a\n2,b".encode_utf16().chain([0xd800]).chain("\n".encode_utf16());
        let bytes: Vec<u8> = std::iter::once(0xfeff).chain(units).flat_map(u16::to_le_bytes).collect();
        assert_eq!(damage(&bytes), "line 3: the file is damaged UTF-16: a character is cut in half. Save it as UTF-8");
    }

    #[test]
    fn a_file_of_another_format_is_an_error_that_says_which() {
        let utf_16: Vec<u8> = "id,name\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let cases: [(&[u8], &str); 6] = [
            (b"PK\x03\x04\x14\x00\x06\x00", "Excel workbook (.xlsx)"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00", "Excel workbook (.xls)"),
            (&utf_16, "UTF-16 without a byte order mark"),
            (b"\r\n <!DOCTYPE html><html>", "HTML"),
            (b"{\"id\":1}\n", "JSON"),
            (b"[{\"id\":1}]", "JSON"),
        ];
        for (bytes, expected) in cases {
            let error = damage(bytes);
            assert!(error.starts_with("line 1: ") && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_most_frequent_delimiter_of_the_header_is_used() {
        for (text, expected) in [
            ("a,b,c\n", b','),
            ("a;b;c\n", b';'),
            ("a\tb\tc\n", b'\t'),
            ("a|b|c\n", b'|'),
            ("\tb\n", b'\t'),
            ("a;b,c;d\n1,2,3,4,5,6", b';'),
            ("\"a;b;c;d\"\"\",b,c\n", b','),
            ("\"a\n,,,\";b\n", b';'),
            (" \r\n\na|b\n1,2,3\n", b'|'),
            ("a\n1;2\n", b','),
            ("a;b|c\n", b','),
            ("", b','),
        ] {
            assert_eq!(recognise_delimiter(text.as_bytes()), expected, "{text:?}");
        }
        assert_eq!(read(b"id;price\n1;2,50\n").1, [["1", "2,50"]]);
    }

    #[test]
    fn names_are_trimmed() {
        let (names, rows) = read(b" User_ID ,Name\n U1 , a \n");
        assert_eq!(names, ["User_ID", "Name"]);
        assert_eq!(rows, [[" U1 ", " a "]]);
    }

    #[test]
    fn a_name_that_occurs_twice_is_an_error() {
        let twice = |name: &str, first: u32, second: u32| {
            format!("line 1: the header has the name \"{name}\" twice, in columns {first} and {second}")
        };
        assert_eq!(damage(b"id,email,name, email\n1,2,3,4\n"), twice("email", 2, 4));
        assert_eq!(read(b"id,Email,EMAIL\n1,2,3\n").0, ["id", "Email", "EMAIL"], "the dimension merges them");
    }

    #[test]
    fn a_column_without_a_name_may_have_no_values() {
        let (names, rows) = read(b"id,, name ,\n1,,x,\n2, ,y,\n");
        assert_eq!(names, ["id", "name"]);
        assert_eq!(rows, [["1", "x"], ["2", "y"]]);
        assert_eq!(damage(b"id,,\n1,,\n2,,z\n"), "line 3: column 3 has a value, but the header has no name for it");
    }

    #[test]
    fn a_row_of_another_width_is_an_error_on_its_line() {
        assert_eq!(damage(b"a,b\n1,2\n3\n"), "line 3: 1 field, where the header has 2");
        assert_eq!(damage(b"a,b\r\n1,2\r\n3,4,5\r\n"), "line 3: 3 fields, where the header has 2");
        assert_eq!(damage(b"a,b\r1,2\r3\r"), "line 3: 1 field, where the header has 2");
        assert_eq!(damage(b"\r\n\r\na,b\r\n\r\n1,2\r\n\n3"), "line 7: 1 field, where the header has 2");
        assert_eq!(damage(b"a,b\r\n1,\"x\r\ny\nz\"\r\n3\r\n"), "line 5: 1 field, where the header has 2");
        assert_eq!(damage(b"a,b\n1,2\n3,\"\n\"\"\n\",5\n"), "line 3: 3 fields, where the header has 2");
        // A quoted empty value is a value, and no blank line.
        assert_eq!(damage(b"a,b\n\"\"\n"), "line 2: 1 field, where the header has 2");
    }

    #[test]
    fn quotes_and_blank_lines_are_read_as_usual() {
        let (_, rows) = read(b"id,name\n1,\"a, \"\"b\"\"\"\n\n   \n2,5\" disk\n3,\"\r\n\"\n4,");
        assert_eq!(rows, [["1", "a, \"b\""], ["2", "5\" disk"], ["3", "\r\n"], ["4", ""]]);
        assert_eq!(read(b"id\n\"\"\n\n1").1, [[""], ["1"]]);
        assert_eq!(read(b"a\tb\n\t\n").1, [["", ""]]);
    }

    #[test]
    fn a_quote_that_is_not_closed_is_an_error_where_its_record_begins() {
        let detail = "the file ends within quotes: the record that begins here has no closing quote";
        assert_eq!(damage(b"id,name\r\n1,a\r\n2,\"b\r\n3,c\r\n4,d\r\n"), format!("line 3: {detail}"));
        assert_eq!(damage(b"id,name\n1,\"a\"\"\n"), format!("line 2: {detail}"));
        assert_eq!(damage(b"id,\"name\n1,2\n"), format!("line 1: {detail}"));
        assert_eq!(read(b"id,name\n1,\"a\"\"\"").1, [["1", "a\""]]);
    }

    #[test]
    fn a_record_beyond_the_limit_is_an_error_and_is_not_read_to_its_end() {
        let ambient = limited(10);
        let row = read_with(&ambient, b"id,name\r\n1,\"345678\"\r\n").unwrap();
        assert_eq!(rows(&row), [["1", "345678"]]);
        let detail = "a record of more than 10 bytes (limits.record_bytes)";
        assert_eq!(damage_with(&ambient, b"id,name\r\n1,2\r\n1,\"3456789\"\r\n"), format!("line 3: {detail}"));
        assert_eq!(damage_with(&ambient, b"id,name,country\n"), format!("line 1: {detail}"));
        let ambient = limited(200_000);
        let open = format!("id,name\n1,\"{}", "x\n".repeat(1 << 20));
        let detail = "a record of more than 200000 bytes (limits.record_bytes); a closing quote may be missing";
        assert_eq!(damage_with(&ambient, open.as_bytes()), format!("line 2: {detail}"));
        assert_eq!(ambient.counters.counts().bytes, 2 * BLOCK_BYTES as u64);
    }

    #[test]
    fn a_record_may_span_blocks() {
        let value = "\u{20ac}".repeat(BLOCK_BYTES);
        let text = format!("\u{feff}id,name\r\n1,\"{value}\"\"\"\r\n2,b\r\n");
        let utf_16: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [text.as_bytes(), &utf_16] {
            let (_, rows) = read(bytes);
            assert_eq!(rows, [["1".to_owned(), format!("{value}\"")], ["2".to_owned(), "b".to_owned()]]);
        }
        let padded = format!("id,name\r\n{}1\r\n", "1,\"2\"\r\n".repeat(BLOCK_BYTES / 4));
        assert_eq!(damage(padded.as_bytes()), format!("line {}: 1 field, where the header has 2", BLOCK_BYTES / 4 + 2));
    }

    #[test]
    fn a_file_counts_as_a_page_and_its_stored_bytes_are_counted() {
        let ambient = Ambient::default();
        let bytes: Vec<u8> = "\u{feff}id\n1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        read_with(&ambient, &bytes).map(drop).unwrap();
        let counts = ambient.counters.counts();
        assert_eq!((counts.pages, counts.bytes), (1, bytes.len() as u64));
    }

    #[test]
    fn a_signal_ends_the_reading() {
        let ambient = Ambient::default();
        ambient.cancel.stop(Stop::Interrupt);
        assert!(matches!(read_with(&ambient, b"id\n1\n"), Err(SourceError::Interrupted)));
    }

    #[test]
    fn an_empty_file_is_a_table_without_rows() {
        for bytes in [&b""[..], b"\n", b"\r\n  \r\n\n", b"   ", b"\xef\xbb\xbf", b"\xff\xfe", b"\xff\xfe\n\0"] {
            assert_eq!(read_with(&Ambient::default(), bytes).unwrap(), Vec::<String>::new(), "{bytes:?}");
        }
        assert_eq!(read_with(&Ambient::default(), b"id,name\n").unwrap(), Vec::<String>::new());
    }

    fn parsed(bytes: &[u8]) -> Result<Vec<Vec<String>>, SourceError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.csv");
        fs::write(&path, bytes).unwrap();
        let file = SourceFile::new(path, Purpose::Members, Place::Disk).unwrap();
        let ambient = Ambient::default();
        let access = ambient.access();
        let mut records = Records::open(&file, &access)?;
        let mut all = Vec::new();
        while let Some(record) = records.next_record()? {
            all.push(record.values.iter().map(|&value| value.to_owned()).collect());
        }
        Ok(all)
    }

    fn parsed_by_the_csv_crate(bytes: &[u8]) -> Vec<Vec<String>> {
        let reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
        reader.into_records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
    }

    proptest::proptest! {
        #[test]
        fn an_undamaged_file_gives_the_records_of_the_csv_crate(
            bytes in proptest::collection::vec(proptest::sample::select(b"ab\",\r\n".to_vec()), 0..60)
        ) {
            match parsed(&bytes) {
                Ok(records) => proptest::prop_assert_eq!(records, parsed_by_the_csv_crate(&bytes)),
                Err(error) => proptest::prop_assert!(error.to_string().contains("no closing quote"), "{}", error),
            }
        }
    }
}
