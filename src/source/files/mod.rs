//! Pages from files: JSON, NDJSON, CSV and Parquet, text also as gzip or zstd; one file, a folder, or a glob, in the order of
//! their names.
//!
//! Responsible for finding files, for streams that are cut into pages, and for what files announce of themselves. What the first
//! bytes of a file show is `sniff`'s.

mod csv;
mod parquet;
mod rows;
mod sniff;

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    ops::Range,
    path::{Component, Path, PathBuf},
};

use bytes::Bytes;
use reqwest::header::HeaderMap;

use super::{
    Access, Completeness, CompletenessStatus, Evidence, PageSink, Purpose, Query, SourceCounters, SourceError,
    body::{self, CutBody, CutError, Cutter, Envelope, LinkHeader, List, Node, SignalSource, Signals},
    page::{Origin, Page},
};
use crate::settings::{Limits, Pagination};

/// About how many bytes make a page: large enough to keep a core busy, small enough that a few of them are no memory.
const PAGE_BYTES: usize = 4 << 20;

/// So much is handed on of a record that is too large to be kept.
const LARGEST_BEGINNING: usize = 64 << 10;

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

impl Purpose {
    fn endings(self) -> &'static str {
        match self {
            Purpose::Orders => ".json, .ndjson, .jsonl, each also .gz or .zst",
            Purpose::Members => ".json, .ndjson, .jsonl, .csv, each also .gz or .zst, and .parquet",
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
            "csv" if self == Purpose::Members => Format::Csv,
            "parquet" if self == Purpose::Members && compression == Compression::None => Format::Parquet,
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

/// The files that a path stands for: itself, those of a folder that are of a known kind, or those that a glob matches. Names
/// that begin with `.` or `_` are left out unless they are named: tools keep their own there.
pub(super) fn find(pattern: &str, purpose: Purpose) -> Result<Vec<SourceFile>, SourceError> {
    let path = Path::new(pattern);
    let file = |path: PathBuf| match purpose.of(&path) {
        Some((format, compression)) => Ok(SourceFile { path, format, compression }),
        None => Err(SourceError::Kind { path, kinds: purpose.endings() }),
    };
    let nothing_there = || SourceError::NothingThere { pattern: pattern.to_owned(), kinds: purpose.endings() };
    if path.is_dir() {
        let unreadable = |source| SourceError::Unreadable { path: path.to_owned(), source };
        let entries = path.read_dir().and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(unreadable)?;
        let paths = entries.into_iter().filter(|entry| !is_hidden(&entry.file_name().to_string_lossy())).map(|entry| entry.path());
        let known: Vec<_> = paths.filter(|path| !path.is_dir()).filter_map(|path| file(path).ok()).collect();
        // A link that leads nowhere is an input that can't be read.
        for file in &known {
            file.path.metadata().map_err(|source| SourceError::Unreadable { path: file.path.clone(), source })?;
        }
        let mut files: Vec<_> = known.into_iter().filter(|file| file.path.is_file()).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        return if files.is_empty() { Err(nothing_there()) } else { Ok(files) };
    }
    if path.exists() {
        return file(path.to_owned()).map(|file| vec![file]);
    }
    if !pattern.contains(['*', '?', '[']) {
        return Err(SourceError::Missing { path: path.to_owned() });
    }
    let mut files = glob_files(pattern)?.into_iter().map(file).collect::<Result<Vec<_>, _>>()?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    if files.is_empty() { Err(nothing_there()) } else { Ok(files) }
}

fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

/// The files that a glob matches. A part of a path that is hidden must be named by the glob's own part.
fn glob_files(pattern: &str) -> Result<Vec<PathBuf>, SourceError> {
    let invalid = |detail: String| SourceError::Glob { pattern: pattern.to_owned(), detail };
    let own_parts: Vec<_> = pattern.split('/').filter(|part| is_hidden(part)).collect();
    let is_named = |part: &str| own_parts.iter().any(|own| *own == part || glob::Pattern::new(own).is_ok_and(|own| own.matches(part)));
    let mut files = Vec::new();
    for found in glob::glob(pattern).map_err(|error| invalid(error.to_string()))? {
        let found = found.map_err(|error| SourceError::Unreadable { path: error.path().to_owned(), source: error.into() })?;
        let mut parts = found.components().filter_map(|part| match part {
            Component::Normal(part) => part.to_str(),
            _ => None,
        });
        if found.is_file() && parts.all(|part| !is_hidden(part) || is_named(part)) {
            files.push(found);
        }
    }
    Ok(files)
}

/// Opens a file, decompressing as it is read, up to what it may expand to. Its first bytes tell the compression.
pub(super) fn open(file: &SourceFile, limits: &Limits) -> Result<Box<dyn Read>, SourceError> {
    let unreadable = |source| SourceError::Unreadable { path: file.path.clone(), source };
    let plain = File::open(&file.path).map_err(unreadable)?;
    let most = limits.expanded(plain.metadata().map_err(unreadable)?.len());
    let mut plain = BufReader::with_capacity(1 << 17, plain);
    let beginning = plain.fill_buf().map_err(unreadable)?;
    let compression = match sniff::compression(beginning) {
        // A name that promises what the bytes are not is damage, not another format; an empty file is neither.
        Compression::None if !beginning.is_empty() => file.compression,
        found => found,
    };
    Ok(match compression {
        Compression::None => Box::new(plain),
        Compression::Gzip => Box::new(Expanding { reader: flate2::read::MultiGzDecoder::new(plain), left: most }),
        Compression::Zstd => {
            Box::new(Expanding { reader: zstd::stream::read::Decoder::with_buffer(plain).map_err(unreadable)?, left: most })
        }
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

/// Reads all records of the files that a path stands for, and tells whether they are all that the files announce.
pub(super) fn read_records(
    pattern: &str,
    purpose: Purpose,
    query: &Query<'_>,
    access: &Access<'_>,
    sink: &mut dyn PageSink,
) -> Result<Completeness, SourceError> {
    let mut read = FilesRead::default();
    for file in find(pattern, purpose)? {
        if !read_file(&file, query, access, &mut read, sink)? {
            break;
        }
    }
    Ok(read.certify())
}

/// What files held, and what they announce.
#[derive(Default)]
pub(super) struct FilesRead {
    /// Records of all files.
    records: u64,
    /// The different ones of files that announce how many there are.
    counted: HashSet<u64>,
    /// Records of all other files.
    uncounted: u64,
    /// The largest number of records that a file announces.
    claimed: Option<u64>,
    /// A file that names a next page, unless another says that there is none.
    names_next: Option<String>,
    says_end: bool,
}

impl FilesRead {
    fn certify(self) -> Completeness {
        let distinct = self.counted.len() as u64 + self.uncounted;
        let missing = self.claimed.filter(|claimed| distinct < *claimed);
        let open = self.names_next.filter(|_| !self.says_end && self.claimed.is_none());
        let (status, why) = match (missing, open) {
            (Some(claimed), _) => {
                (CompletenessStatus::Failed, Some(format!("the files announce {claimed} records and hold {distinct} different ones")))
            }
            (None, Some(file)) => {
                (CompletenessStatus::Unproven, Some(format!("{file} names a next page, which no file holds for certain")))
            }
            (None, None) => (CompletenessStatus::Proven, None),
        };
        let by = (status != CompletenessStatus::Unproven).then_some(Evidence::File);
        let distinct = (self.uncounted == 0).then_some(distinct);
        Completeness { status, by, claimed: self.claimed, read: self.records, distinct, why }
    }

    /// Takes rows of a table.
    fn take_rows(&mut self, rows: u64) {
        self.records += rows;
        self.uncounted += rows;
    }

    /// Takes what the envelope of a file says; `counted` are the identities of its records.
    fn take_envelope(&mut self, path: &Path, signals: &Signals, counted: Vec<u64>) {
        if signals.total_records.is_some() {
            self.claimed = self.claimed.max(signals.total_records);
            self.counted.extend(counted);
        } else {
            self.uncounted += counted.len() as u64;
        }
        let goes_on = signals.next.is_some() || signals.more == Some(true);
        self.says_end |= !goes_on && (signals.says_end || signals.more == Some(false));
        if goes_on {
            self.names_next = Some(path.display().to_string());
        }
    }
}

/// Reads one file; `false` where the sink stopped the reading.
pub(super) fn read_file(
    file: &SourceFile,
    query: &Query<'_>,
    access: &Access<'_>,
    read: &mut FilesRead,
    sink: &mut dyn PageSink,
) -> Result<bool, SourceError> {
    let rows = match file.format {
        Format::Csv => csv::read_csv(file, access, sink)?,
        Format::Parquet => parquet::read_parquet(file, access, sink)?,
        Format::Json | Format::Ndjson => return read_json(file, query, access, read, sink),
    };
    read.take_rows(rows.unwrap_or_default());
    Ok(rows.is_some())
}

/// Reads one JSON or NDJSON file; `false` where the sink stopped the reading.
fn read_json(
    file: &SourceFile,
    query: &Query<'_>,
    access: &Access<'_>,
    read: &mut FilesRead,
    sink: &mut dyn PageSink,
) -> Result<bool, SourceError> {
    access.counters.page();
    let unreadable = |source| SourceError::Unreadable { path: file.path.clone(), source };
    // UTF-16 with a byte order mark becomes UTF-8; all else passes as it is, without its mark.
    let mut reader = encoding_rs_io::DecodeReaderBytesBuilder::new()
        .utf8_passthru(true)
        .strip_bom(true)
        .bom_override(true)
        .build(Counted { reader: open(file, access.limits)?, counters: access.counters });
    let mut beginning = Vec::new();
    reader.by_ref().take(sniff::LOOKED_AT as u64).read_to_end(&mut beginning).map_err(unreadable)?;
    let is_all = beginning.len() < sniff::LOOKED_AT;
    let format = sniff::records_format(&beginning, file.format, is_all)
        .map_err(|seems| SourceError::Unrecognised { path: file.path.clone(), seems })?;
    let mut reader = io::Cursor::new(beginning).chain(reader);
    let mut reading = FileReading { path: &file.path, query, access, read, sink };
    match format {
        Format::Ndjson => reading.lines(&mut reader),
        _ => reading.document(&mut reader),
    }
}

/// Of a block of lines: how many end in it, and how many hold a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct LineCounts {
    ends: u64,
    records: u64,
}

impl LineCounts {
    fn of(block: &[u8]) -> LineCounts {
        let mut counts = LineCounts { ends: 0, records: 0 };
        let mut start = 0;
        let holds_record = |line: &[u8]| u64::from(!line.trim_ascii_start().is_empty());
        for end in memchr::memchr_iter(b'\n', block) {
            counts.ends += 1;
            counts.records += holds_record(block.get(start..end).unwrap_or_default());
            start = end + 1;
        }
        counts.records += holds_record(block.get(start..).unwrap_or_default());
        counts
    }
}

/// Counts the bytes that pass through.
struct Counted<'c, R> {
    reader: R,
    counters: &'c SourceCounters,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.counters.bytes(read);
        Ok(read)
    }
}

/// One file while it is read.
struct FileReading<'r, 's> {
    path: &'r Path,
    query: &'r Query<'r>,
    access: &'r Access<'r>,
    read: &'r mut FilesRead,
    sink: &'s mut dyn PageSink,
}

impl FileReading<'_, '_> {
    fn origin(&self, first: u64) -> Origin {
        Origin::File { path: self.path.to_owned(), first }
    }

    /// Reads a block behind what the buffer holds; tells how much that is.
    fn fill(&self, reader: &mut impl Read, buffer: &mut Vec<u8>) -> Result<usize, SourceError> {
        if self.access.cancel.is_stopped() {
            return Err(SourceError::Interrupted);
        }
        buffer.reserve(PAGE_BYTES);
        reader.take(PAGE_BYTES as u64).read_to_end(buffer).map_err(|source| SourceError::Unreadable { path: self.path.to_owned(), source })
    }

    /// Hands on the beginning of a record that is too large to be kept.
    fn hand_on_beginning(&mut self, first: u64, record: &[u8]) -> bool {
        let kept = record.get(..LARGEST_BEGINNING).unwrap_or(record);
        let origin = self.origin(first);
        self.sink.page(Page::beginning(origin, Bytes::copy_from_slice(kept)))
    }

    /// Cuts a stream of lines into pages that end where a line ends. A line beyond the limit is handed on as its beginning.
    fn lines(&mut self, reader: &mut impl Read) -> Result<bool, SourceError> {
        let mut rest: Vec<u8> = Vec::new();
        let mut first = 1;
        loop {
            let mut block = std::mem::take(&mut rest);
            let carried = block.len();
            let ended = self.fill(reader, &mut block)? == 0;
            // What was carried over holds no line's end: only what is new is searched.
            let complete = if ended {
                block.len()
            } else {
                memchr::memrchr(b'\n', block.get(carried..).unwrap_or_default()).map_or(0, |end| carried + end + 1)
            };
            rest = block.split_off(complete);
            let counts = LineCounts::of(&block);
            let page = Page::lines(self.origin(first), Bytes::from(block));
            (self.read.records, self.read.uncounted) = (self.read.records + counts.records, self.read.uncounted + counts.records);
            first += counts.ends;
            if !page.bytes().is_empty() && !self.sink.page(page) {
                return Ok(false);
            }
            if ended {
                return Ok(true);
            }
            if rest.len() as u64 > self.access.limits.record_bytes {
                (self.read.records, self.read.uncounted) = (self.read.records + 1, self.read.uncounted + 1);
                if !self.hand_on_beginning(first, &rest) {
                    return Ok(false);
                }
                rest = self.after_line(reader)?;
                first += 1;
            }
        }
    }

    /// Passes over the rest of a line; what was read behind it.
    fn after_line(&self, reader: &mut impl Read) -> Result<Vec<u8>, SourceError> {
        let mut block = Vec::new();
        loop {
            block.clear();
            if self.fill(reader, &mut block)? == 0 {
                return Ok(Vec::new());
            }
            if let Some(end) = memchr::memchr(b'\n', &block) {
                return Ok(block.split_off(end + 1));
            }
        }
    }

    /// Cuts the list of a JSON document into pages. One that fits into a block is looked at whole.
    fn document(&mut self, reader: &mut impl Read) -> Result<bool, SourceError> {
        let mut buffer = Vec::new();
        if self.fill(reader, &mut buffer)? < PAGE_BYTES { self.small_document(buffer) } else { self.large_document(reader, buffer) }
    }

    fn small_document(&mut self, document: Vec<u8>) -> Result<bool, SourceError> {
        let cut = body::cut(&document, self.query.profile.records.as_ref()).map_err(|error| self.malformed(&error))?;
        // An empty document holds no records, as empty NDJSON does.
        let Some(CutBody { places, envelope }) = cut else { return Ok(true) };
        let first = places.first().and_then(|place| document.get(place.clone()));
        if self.is_one_record(&envelope, first) {
            return Ok(self.hand_on_document(document));
        }
        let is_list = matches!(envelope.root, Node::Array(_));
        let page = Page::elements(self.origin(1), Bytes::from(document), places);
        let identities = self.identities(&page, is_list);
        self.end_document(&envelope, identities)?;
        Ok(page.is_empty() || self.sink.page(page))
    }

    fn large_document(&mut self, reader: &mut impl Read, mut buffer: Vec<u8>) -> Result<bool, SourceError> {
        let mut cutter = Cutter::new(self.query.profile.records.as_ref());
        let mut identities = Vec::new();
        let mut given_up: Option<Vec<u8>> = None;
        let (mut first, mut scanned, mut is_first_block) = (1, 0, true);
        loop {
            let mut places = Vec::new();
            cutter.feed(&buffer, scanned, &mut places).map_err(|error| self.malformed(&error))?;
            if std::mem::take(&mut is_first_block) && self.begins_one_record(&cutter, &buffer, &places) {
                return self.large_record(reader, buffer);
            }
            if let Some(beginning) = given_up.take_if(|_| places.contains(&None)) {
                self.read.records += 1;
                self.read.uncounted += 1;
                if !self.hand_on_beginning(first, &beginning) {
                    return Ok(false);
                }
                first += 1;
            }
            let rest = buffer.split_off(cutter.open_element().unwrap_or(buffer.len()));
            cutter.rebase_element();
            let places: Vec<_> = places.into_iter().flatten().collect();
            let count = places.len() as u64;
            let page = Page::elements(self.origin(first), Bytes::from(std::mem::replace(&mut buffer, rest)), places);
            first += count;
            identities.extend(self.identities(&page, !cutter.is_object()));
            if !page.is_empty() && !self.sink.page(page) {
                return Ok(false);
            }
            if buffer.len() as u64 > self.access.limits.record_bytes {
                buffer.truncate(LARGEST_BEGINNING);
                given_up = Some(std::mem::take(&mut buffer));
                cutter.discard_element();
            }
            scanned = buffer.len();
            if self.fill(reader, &mut buffer)? == 0 {
                let envelope = cutter.finish().map_err(|error| self.malformed(&error))?;
                return envelope.map_or(Ok(true), |envelope| self.end_document(&envelope, identities).map(|()| true));
            }
        }
    }

    /// A document that is one record and larger than a block.
    fn large_record(&mut self, reader: &mut impl Read, mut document: Vec<u8>) -> Result<bool, SourceError> {
        while document.len() as u64 <= self.access.limits.record_bytes {
            if self.fill(reader, &mut document)? == 0 {
                return Ok(self.hand_on_document(document));
            }
        }
        self.read.records += 1;
        self.read.uncounted += 1;
        Ok(self.hand_on_beginning(1, &document))
    }

    /// Whether a document is one record, as far as its first block tells.
    fn begins_one_record(&self, cutter: &Cutter<'_>, block: &[u8], places: &[Option<Range<usize>>]) -> bool {
        let Some(envelope) = cutter.envelope_so_far() else { return false };
        let first = places.iter().flatten().next().and_then(|place| block.get(place.clone()));
        self.is_one_record(&envelope, first)
    }

    fn is_one_record(&self, envelope: &Envelope, first: Option<&[u8]>) -> bool {
        self.query.may_be_one_record() && self.query.shape.is_record(envelope, first)
    }

    fn hand_on_document(&mut self, document: Vec<u8>) -> bool {
        self.read.records += 1;
        self.read.uncounted += 1;
        let place = 0..document.len();
        let origin = self.origin(1);
        self.sink.page(Page::elements(origin, Bytes::from(document), vec![place]))
    }

    /// Counts the records of a page; their identities, where the document may announce how many there are.
    fn identities(&mut self, page: &Page, is_list: bool) -> Vec<u64> {
        let count = page.len();
        self.read.records += count;
        if is_list {
            self.read.uncounted += count;
            return Vec::new();
        }
        page.records().map(|record| self.query.shape.identity(record.bytes)).collect()
    }

    /// What the document says around its records.
    fn end_document(&mut self, envelope: &Envelope, identities: Vec<u64>) -> Result<(), SourceError> {
        let malformed = |detail: String| SourceError::Malformed { path: self.path.to_owned(), line: 1, detail };
        let profile = &self.query.profile;
        if let Some(what) = body::reported_error(&envelope.root) {
            return Err(malformed(format!("holds a response that reports an error: {what}")));
        }
        if envelope.list == List::Missing {
            return Err(malformed(format!("holds no records: {}", body::looked_for(profile.records.as_ref()))));
        }
        let source = SignalSource {
            root: &envelope.root,
            headers: &HeaderMap::new(),
            link: LinkHeader::Absent,
            has_previous_link: false,
            records: profile.records.as_ref(),
            record_count: identities.len() as u64,
            last_record: None,
            trusts_counts: profile.http.trusts_counts,
        };
        let signals = Signals::read(&source, &Pagination::Auto);
        self.read.take_envelope(self.path, &signals, identities);
        Ok(())
    }

    fn malformed(&self, error: &CutError) -> SourceError {
        SourceError::Malformed { path: self.path.to_owned(), line: error.line, detail: format!("no valid JSON: {}", error.detail) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(path: &Path, sink: &mut dyn PageSink) -> Result<Completeness, SourceError> {
        let ambient = crate::source::Ambient::default();
        read_records(path.to_str().unwrap(), Purpose::Orders, &ambient.query(), &ambient.access(), sink)
    }

    fn records(path: &Path) -> Result<Vec<String>, SourceError> {
        let mut all = Vec::new();
        let mut sink = |page: Page| {
            all.extend(page.records().map(|record| String::from_utf8_lossy(record.bytes).into_owned()));
            true
        };
        read(path, &mut sink)?;
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
        assert!(message("b.json", b"{\"x\":\"y\"}").contains("b.json, line 1: holds no records"));
        assert!(message("f.json", b"{\"error\":\"x\",\"orders\":[]}").contains("f.json, line 1: holds a response that reports an error"));
        assert!(message("c.json", b"7").contains("holds no records"));
        assert!(message("d.txt", b"").contains("can't tell the format from the name"));
        assert!(message("e.ndjson.gz", b"not gzip").contains("can't be read"));
        assert!(records(&dir.path().join("none.json")).unwrap_err().to_string().contains("no such file"));
        assert!(records(&dir.path().join("*.ndjson")).unwrap_err().to_string().contains("no files to read"));
    }

    #[test]
    fn blank_lines_are_no_records() {
        assert_eq!(LineCounts::of(b"a\n\n  \r\nb\r\nc"), LineCounts { ends: 4, records: 3 });
        assert_eq!(LineCounts::of(b""), LineCounts { ends: 0, records: 0 });
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
            count += page.records().inspect(|record| assert_eq!(record.bytes.len(), line.len() - 1)).count();
            true
        };
        read(&path, &mut sink).unwrap();
        assert_eq!(count, 11);
        assert_eq!(firsts, [1, 4, 8]);
    }
}
