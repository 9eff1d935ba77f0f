//! Pages from files: JSON and NDJSON, plain, gzip or zstd; one file, a folder, or a glob, in the order of their names.

use std::{
    cell::Cell,
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{
    Access, PageSink, SourceCounters, SourceError,
    envelope::{self, Elements},
    page::{Origin, Page},
};
use crate::{model::FieldPath, settings::Limits};

/// About how many bytes make a page: large enough to keep a core busy, small enough that a few of them are no memory.
const PAGE_BYTES: usize = 4 << 20;

/// What a file holds, by the ending of its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    Json,
    Ndjson,
    Csv,
    Parquet,
}

/// How a file is compressed, by the ending of its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// Which files serve a source.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kinds {
    /// Orders.
    Records,
    /// Users and products.
    Tables,
}

impl Kinds {
    fn endings(self) -> &'static str {
        match self {
            Kinds::Records => ".json, .ndjson, .jsonl, each also .gz or .zst",
            Kinds::Tables => ".json, .ndjson, .jsonl, .csv, each also .gz or .zst, and .parquet",
        }
    }

    fn of(self, path: &Path) -> Option<(Format, Compression)> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let (stem, compression) = match name.rsplit_once('.') {
            Some((stem, "gz")) => (stem, Compression::Gzip),
            Some((stem, "zst")) => (stem, Compression::Zstd),
            _ => (name.as_str(), Compression::None),
        };
        let format = match stem.rsplit_once('.')?.1 {
            "json" => Format::Json,
            "ndjson" | "jsonl" => Format::Ndjson,
            "csv" if self == Kinds::Tables => Format::Csv,
            "parquet" if self == Kinds::Tables && compression == Compression::None => Format::Parquet,
            _ => return None,
        };
        Some((format, compression))
    }
}

/// One file of a source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SourceFile {
    pub(super) path: PathBuf,
    pub(super) format: Format,
    pub(super) compression: Compression,
}

/// The files that a path stands for: itself, those of a folder that are of a known kind, or those that a glob matches.
pub(super) fn find(pattern: &str, kinds: Kinds) -> Result<Vec<SourceFile>, SourceError> {
    let path = Path::new(pattern);
    let file = |path: PathBuf| match kinds.of(&path) {
        Some((format, compression)) => Ok(SourceFile { path, format, compression }),
        None => Err(SourceError::Kind { path, kinds: kinds.endings() }),
    };
    if path.is_dir() {
        let unreadable = |source| SourceError::Unreadable { path: path.to_owned(), source };
        let entries = path.read_dir().and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(unreadable)?;
        let mut files: Vec<_> =
            entries.into_iter().map(|entry| entry.path()).filter(|path| path.is_file()).filter_map(|path| file(path).ok()).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        return if files.is_empty() {
            Err(SourceError::NothingThere { pattern: pattern.to_owned(), kinds: kinds.endings() })
        } else {
            Ok(files)
        };
    }
    if path.exists() {
        return file(path.to_owned()).map(|file| vec![file]);
    }
    if !pattern.contains(['*', '?', '[']) {
        return Err(SourceError::Missing { path: path.to_owned() });
    }
    let invalid = |detail: String| SourceError::Glob { pattern: pattern.to_owned(), detail };
    let mut files = Vec::new();
    for found in glob::glob(pattern).map_err(|error| invalid(error.to_string()))? {
        let found = found.map_err(|error| SourceError::Unreadable { path: error.path().to_owned(), source: error.into() })?;
        if found.is_file() {
            files.push(file(found)?);
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    if files.is_empty() { Err(SourceError::NothingThere { pattern: pattern.to_owned(), kinds: kinds.endings() }) } else { Ok(files) }
}

/// Opens a file, decompressing as it is read, up to what it may expand to.
pub(super) fn open(file: &SourceFile, limits: &Limits) -> Result<Box<dyn Read>, SourceError> {
    let unreadable = |source| SourceError::Unreadable { path: file.path.clone(), source };
    let plain = File::open(&file.path).map_err(unreadable)?;
    let most = limits.expanded(plain.metadata().map_err(unreadable)?.len());
    Ok(match file.compression {
        Compression::None => Box::new(plain),
        Compression::Gzip => {
            Box::new(Expanding { reader: flate2::read::MultiGzDecoder::new(BufReader::with_capacity(1 << 17, plain)), left: most })
        }
        Compression::Zstd => Box::new(Expanding { reader: zstd::stream::read::Decoder::new(plain).map_err(unreadable)?, left: most }),
    })
}

/// The first bytes of a file, decompressed.
pub(super) fn beginning(file: &SourceFile, limits: &Limits, most: u64) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    let read = open(file, limits)?.take(most).read_to_end(&mut bytes);
    read.map_err(|source| SourceError::Unreadable { path: file.path.clone(), source })?;
    Ok(bytes)
}

/// A decompressed stream that may only grow so far.
struct Expanding<R> {
    reader: R,
    left: u64,
}

impl<R: Read> Read for Expanding<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::new(io::ErrorKind::FileTooLarge, "it expands to more than a compressed file of its size may (limits.expansion)")
        })?;
        Ok(read)
    }
}

/// Reads all records of the files that a path stands for.
pub(super) fn read_records(
    pattern: &str,
    records: Option<&FieldPath>,
    access: &Access<'_>,
    sink: &mut dyn PageSink,
) -> Result<(), SourceError> {
    for file in find(pattern, Kinds::Records)? {
        if !read_file(&file, records, access, sink)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Reads one JSON or NDJSON file; `false` when nobody wants any more.
pub(super) fn read_file(
    file: &SourceFile,
    records: Option<&FieldPath>,
    access: &Access<'_>,
    sink: &mut dyn PageSink,
) -> Result<bool, SourceError> {
    access.counters.page();
    let reader = open(file, access.limits)?;
    match file.format {
        Format::Ndjson => read_lines(&file.path, reader, access, sink),
        _ => read_json(&file.path, records, reader, access, sink),
    }
}

/// Cuts a stream of lines into pages that end where a line ends.
fn read_lines(path: &Path, mut reader: impl Read, access: &Access<'_>, sink: &mut dyn PageSink) -> Result<bool, SourceError> {
    let unreadable = |source| SourceError::Unreadable { path: path.to_owned(), source };
    let mut rest: Vec<u8> = Vec::new();
    let mut first = 1;
    loop {
        if access.cancel.is_stopped() {
            return Err(SourceError::Interrupted);
        }
        let mut block = Vec::with_capacity(rest.len() + PAGE_BYTES);
        let carried = rest.len();
        block.append(&mut rest);
        let read = reader.by_ref().take(PAGE_BYTES as u64).read_to_end(&mut block).map_err(unreadable)?;
        access.counters.bytes(read);
        if first == 1 && block.starts_with(b"\xef\xbb\xbf") {
            block.drain(..3);
        }
        let ended = read == 0;
        // What was carried over holds no line's end: only what is new is searched.
        let complete = if ended {
            block.len()
        } else {
            memchr::memrchr(b'\n', &block[carried.min(block.len())..]).map_or(0, |end| carried.min(block.len()) + end + 1)
        };
        rest = block.split_off(complete);
        let lines = memchr::memchr_iter(b'\n', &block).count() as u64;
        let origin = Origin::File { path: path.to_owned(), first };
        first += lines;
        if rest.len() as u64 > access.limits.record_bytes {
            let origin = format!("{}, line {first}", path.display());
            return Err(SourceError::RecordTooLarge { origin, limit: access.limits.record_bytes });
        }
        if !block.is_empty() && !sink.page(Page::lines(origin, Bytes::from(block))) {
            return Ok(false);
        }
        if ended {
            return Ok(true);
        }
    }
}

/// Counts what passes through, and stops where a record grows beyond its limit before it is whole.
struct Counted<'c, R> {
    reader: R,
    counters: &'c SourceCounters,
    /// Bytes since the record at hand began, about.
    of_record: &'c Cell<u64>,
    record_bytes: u64,
}

/// What is read ahead of a record's end: a buffer's length.
const READ_AHEAD: usize = 1 << 17;

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.counters.bytes(read);
        self.of_record.set(self.of_record.get() + read as u64);
        if self.of_record.get() > self.record_bytes.saturating_add(READ_AHEAD as u64) {
            let detail = format!("a record of more than {} bytes (limits.record_bytes)", self.record_bytes);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, detail));
        }
        Ok(read)
    }
}

/// Why the reading of an array ended early, although its JSON is in order.
#[derive(PartialEq)]
enum Ended {
    Not,
    Interrupted,
    Unwanted,
}

/// Cuts the array of a JSON file into pages, record by record.
fn read_json(
    path: &Path,
    records: Option<&FieldPath>,
    reader: impl Read,
    access: &Access<'_>,
    sink: &mut dyn PageSink,
) -> Result<bool, SourceError> {
    let of_record = Cell::new(0);
    let counted = Counted { reader, counters: access.counters, of_record: &of_record, record_bytes: access.limits.record_bytes };
    let mut reader = BufReader::with_capacity(READ_AHEAD, counted);
    skip_byte_order_mark(&mut reader).map_err(|source| SourceError::Unreadable { path: path.to_owned(), source })?;
    let mut elements = Elements::default();
    let mut first = 1;
    let mut ended = Ended::Not;
    let mut hand_on = |elements: &mut Elements| {
        let elements = std::mem::take(elements);
        let count = elements.places.len() as u64;
        let origin = Origin::File { path: path.to_owned(), first };
        first += count;
        count == 0 || sink.page(Page::elements(origin, elements.bytes.into(), elements.places))
    };
    let mut json = serde_json::Deserializer::from_reader(reader);
    let read = envelope::read_body(&mut json, records, |record: Box<RawValue>| {
        of_record.set(0);
        elements.push(record.get().as_bytes());
        if elements.bytes.len() < PAGE_BYTES {
            return Ok(());
        }
        if access.cancel.is_stopped() {
            ended = Ended::Interrupted;
        } else if !hand_on(&mut elements) {
            ended = Ended::Unwanted;
        }
        if ended == Ended::Not { Ok(()) } else { Err("ended early".to_owned()) }
    });
    match (ended, read) {
        (Ended::Interrupted, _) => Err(SourceError::Interrupted),
        (Ended::Unwanted, _) => Ok(false),
        (Ended::Not, Ok(signals)) if signals.has_records => Ok(hand_on(&mut elements)),
        (Ended::Not, Ok(_)) => Err(no_records(path, records)),
        (Ended::Not, Err(error)) if error.is_data() => Err(no_records(path, records)),
        (Ended::Not, Err(error)) if error.is_io() => Err(SourceError::Unreadable { path: path.to_owned(), source: error.into() }),
        (Ended::Not, Err(error)) => {
            Err(SourceError::Malformed { path: path.to_owned(), line: error.line() as u64, detail: format!("no valid JSON: {error}") })
        }
    }
}

fn no_records(path: &Path, records: Option<&FieldPath>) -> SourceError {
    let detail = format!("holds no records: {} (one record a line? Then name it .ndjson)", envelope::looked_for(records));
    SourceError::Malformed { path: path.to_owned(), line: 1, detail }
}

fn skip_byte_order_mark<R: Read>(reader: &mut BufReader<R>) -> io::Result<()> {
    use io::BufRead;
    if reader.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn records(path: &Path) -> Result<Vec<String>, SourceError> {
        let mut all = Vec::new();
        let mut sink = |page: Page| {
            all.extend(page.records().map(|record| String::from_utf8_lossy(record).into_owned()));
            true
        };
        read_records(path.to_str().unwrap(), None, &crate::source::Ambient::default().access(), &mut sink)?;
        Ok(all)
    }

    #[test]
    fn every_kind_and_compression_gives_the_same_records() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        let lines = b"{\"a\":1}\n\n{\"a\":2}";
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(lines).unwrap();
        write("a.ndjson", lines);
        write("b.jsonl", b"\xef\xbb\xbf{\"a\":1}\r\n{\"a\":2}\r\n");
        write("c.json", b"\xef\xbb\xbf[{\"a\":1}, {\"a\":2}]");
        write("d.json", b"{\"total\": 2, \"orders\": [{\"a\":1},{\"a\":2}]}");
        write("e.ndjson.gz", &gzip.finish().unwrap());
        write("f.json.zst", &zstd::encode_all(&b"[{\"a\":1},{\"a\":2}]"[..], 1).unwrap());
        for entry in dir.path().read_dir().unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(records(&path).unwrap(), ["{\"a\":1}", "{\"a\":2}"], "{}", path.display());
        }
        assert_eq!(records(dir.path()).unwrap().len(), 12);
        assert_eq!(records(&dir.path().join("*.json")).unwrap().len(), 4);
    }

    #[test]
    fn what_cannot_be_read_says_which_file_and_where() {
        let dir = tempfile::tempdir().unwrap();
        let message = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            records(&path).unwrap_err().to_string()
        };
        assert!(message("a.json", b"[{\"a\":1},\n{\"a\"]").contains("a.json, line 2: no valid JSON"));
        assert!(message("b.json", b"{\"error\":\"x\"}").contains("b.json, line 1: holds no records"));
        assert!(message("c.json", b"7").contains("holds no records"));
        assert!(message("d.txt", b"").contains("can't tell the format from the name"));
        assert!(message("e.ndjson.gz", b"not gzip").contains("can't be read"));
        assert!(records(&dir.path().join("none.json")).unwrap_err().to_string().contains("no such file"));
        assert!(records(&dir.path().join("*.ndjson")).unwrap_err().to_string().contains("nothing to read there"));
    }

    #[test]
    fn pages_end_where_lines_end_and_know_their_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big.ndjson");
        let line = format!("{{\"a\":\"{}\"}}\n", "x".repeat(1 << 20));
        std::fs::write(&path, line.repeat(11)).unwrap();
        let mut firsts = Vec::new();
        let mut count = 0;
        let mut sink = |page: Page| {
            let Origin::File { first, .. } = page.origin else { return false };
            firsts.push(first);
            count += page.records().inspect(|record| assert_eq!(record.len(), line.len() - 1)).count();
            true
        };
        read_records(path.to_str().unwrap(), None, &crate::source::Ambient::default().access(), &mut sink).unwrap();
        assert_eq!(count, 11);
        assert_eq!(firsts, [1, 4, 8]);
    }
}
