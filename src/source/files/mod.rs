//! Reads pages from files: JSON, NDJSON, CSV and Parquet; text also compressed by gzip or zstd. The source is one file, a folder
//! or a glob, on this machine or in a bucket; files are read in the order of their names.
//!
//! Responsible for finding files, for cutting streams into pages, and for the totals that files claim. `sniff` detects the
//! format of a file from its first bytes, and `objects` finds and reads the files in a bucket.

mod children;
mod csv;
mod objects;
mod order_rows;
mod page_buffers;
mod parquet;
mod rows;
mod sniff;
mod utf8;

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashSet},
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Component, Path, PathBuf},
};

use bytes::Bytes;
use reqwest::header::HeaderMap;

pub(super) use children::FamiliesRead;
use children::{EmptyLists, FamilyRules};
use objects::BucketObject;
use page_buffers::PageBuffers;
use rows::TableRows;
use utf8::Utf8Reader;

use super::{
    Access, Completeness, CompletenessStatus, Evidence, PageSink, Purpose, Query, SourceCounters, SourceError,
    body::{self, CutBody, CutError, Cutter, Envelope, LinkHeader, List, Node, SignalSource, Signals},
    page::{BlankLines, Origin, Page},
};
use crate::{
    model::counted,
    settings::{ChildLines, ObjectPattern, Pagination},
};

/// The approximate bytes of a page: large enough to keep a core busy, and small enough to hold several in memory.
const PAGE_BYTES: usize = 4 << 20;

/// The bytes that a buffer has room for beside those of a block: the beginning of a record that the block before it has cut.
const CARRIED_BYTES: usize = 64 << 10;

/// The bytes that are kept of a record that is too large.
const LARGEST_BEGINNING: usize = 64 << 10;

/// The format of a file, from the ending of its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    Json,
    Ndjson,
    Csv,
    Parquet,
}

/// The compression of a file, from the ending of its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Purpose {
    fn endings(self) -> &'static str {
        match self {
            Purpose::Orders | Purpose::Members => ".json, .ndjson, .jsonl, .csv, each also .gz or .zst, and .parquet",
        }
    }

    fn of(self, path: &Path) -> Option<(Format, Compression)> {
        // The ending is text, whatever the rest of the name is.
        let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
        let (stem, compression) = match name.rsplit_once('.') {
            Some((stem, "gz")) => (stem, Compression::Gzip),
            Some((stem, "zst")) => (stem, Compression::Zstd),
            _ => (name.as_str(), Compression::None),
        };
        let format = match stem.rsplit_once('.')?.1 {
            "json" => Format::Json,
            "ndjson" | "jsonl" => Format::Ndjson,
            "csv" => Format::Csv,
            "parquet" if compression == Compression::None => Format::Parquet,
            _ => return None,
        };
        Some((format, compression))
    }
}

/// One file of a source.
#[derive(Clone, Debug)]
pub(super) struct SourceFile {
    /// Its path, or the URL of an object: the name in errors, logs and the lineage.
    pub(super) path: PathBuf,
    pub(super) format: Format,
    pub(super) compression: Compression,
    place: Place,
}

/// Where the bytes of a file are.
#[derive(Clone, Debug)]
enum Place {
    /// On this machine, at its path.
    Disk,
    /// In a bucket.
    Bucket(BucketObject),
}

impl SourceFile {
    /// A file whose name says what it is.
    fn new(path: PathBuf, purpose: Purpose, place: Place) -> Result<SourceFile, SourceError> {
        match purpose.of(&path) {
            Some((format, compression)) => Ok(SourceFile { path, format, compression, place }),
            None => Err(SourceError::Kind { path, kinds: purpose.endings() }),
        }
    }

    /// The bytes of the file, and their number.
    fn stored(&self, access: &Access<'_>) -> io::Result<(Box<dyn Read>, u64)> {
        match &self.place {
            Place::Disk => {
                let file = File::open(&self.path)?;
                let size = file.metadata()?.len();
                Ok((Box::new(file), size))
            }
            Place::Bucket(object) => Ok((Box::new(object.reader(access.cancel)?), object.bytes())),
        }
    }

    /// The file on this machine. An object is copied first.
    fn local(&self, access: &Access<'_>) -> io::Result<File> {
        match &self.place {
            Place::Disk => File::open(&self.path),
            Place::Bucket(object) => object.copy(access.cancel),
        }
    }
}

fn by_name(one: &SourceFile, other: &SourceFile) -> Ordering {
    one.path.cmp(&other.path)
}

fn no_files(pattern: &str, purpose: Purpose) -> SourceError {
    SourceError::NothingThere { pattern: pattern.to_owned(), kinds: purpose.endings() }
}

/// The objects of a pattern, in their order.
pub(super) fn find_objects(
    pattern: &ObjectPattern,
    purpose: Purpose,
    query: &Query<'_>,
    access: &Access<'_>,
) -> Result<Vec<SourceFile>, SourceError> {
    let bucket = objects::open(pattern, query.storage, access.cancel)?;
    objects::find(pattern, &bucket, purpose, access.cancel)
}

/// The files at a path: the file itself, the files of a known format in a folder, or the matches of a glob. Ignores names that
/// begin with `.` or `_`, which tools use for their own files, unless the pattern has the same name.
pub(super) fn find(pattern: &str, purpose: Purpose) -> Result<Vec<SourceFile>, SourceError> {
    let path = Path::new(pattern);
    let file = |path: PathBuf| SourceFile::new(path, purpose, Place::Disk);
    if path.is_dir() {
        let unreadable = |source| SourceError::Unreadable { path: path.to_owned(), source };
        let entries = path.read_dir().and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(unreadable)?;
        let paths = entries.into_iter().filter(|entry| !is_hidden(&entry.file_name().to_string_lossy())).map(|entry| entry.path());
        let (folders, paths): (Vec<PathBuf>, Vec<PathBuf>) = paths.partition(|path| path.is_dir());
        if let Some(first) = folders.iter().min() {
            let (folders, first) = (folders.len(), first.display());
            tracing::warn!(folders, %first, "folders within {pattern} are not read: a glob such as {pattern}/**/*.json reads them");
        }
        let known: Vec<_> = paths.into_iter().filter_map(|path| file(path).ok()).collect();
        // A link that leads nowhere is an input that can't be read.
        for file in &known {
            file.path.metadata().map_err(|source| SourceError::Unreadable { path: file.path.clone(), source })?;
        }
        let mut files: Vec<_> = known.into_iter().filter(|file| file.path.is_file()).collect();
        files.sort_by(by_name);
        return if files.is_empty() { Err(no_files(pattern, purpose)) } else { Ok(files) };
    }
    if path.exists() {
        return file(path.to_owned()).map(|file| vec![file]);
    }
    if !pattern.contains(['*', '?', '[']) {
        return Err(SourceError::Missing { path: path.to_owned() });
    }
    let mut files = glob_files(pattern)?.into_iter().map(file).collect::<Result<Vec<_>, _>>()?;
    files.sort_by(by_name);
    if files.is_empty() { Err(no_files(pattern, purpose)) } else { Ok(files) }
}

fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

/// The hidden parts of a glob. A hidden part of a path must match one of them.
struct HiddenNames<'p>(Vec<&'p str>);

impl<'p> HiddenNames<'p> {
    fn of(pattern: &'p str) -> HiddenNames<'p> {
        HiddenNames(pattern.split('/').filter(|part| is_hidden(part)).collect())
    }

    fn shows(&self, part: &str) -> bool {
        let is_named = |own: &&str| *own == part || glob::Pattern::new(own).is_ok_and(|own| own.matches(part));
        !is_hidden(part) || self.0.iter().any(is_named)
    }
}

/// The files that a glob matches. A hidden part of a path must match a hidden part of the glob.
fn glob_files(pattern: &str) -> Result<Vec<PathBuf>, SourceError> {
    let invalid = |detail: String| SourceError::Glob { pattern: pattern.to_owned(), detail };
    let hidden = HiddenNames::of(pattern);
    let mut files = Vec::new();
    for found in glob::glob(pattern).map_err(|error| invalid(error.to_string()))? {
        let found = found.map_err(|error| SourceError::Unreadable { path: error.path().to_owned(), source: error.into() })?;
        let mut parts = found.components().filter_map(|part| match part {
            Component::Normal(part) => part.to_str(),
            _ => None,
        });
        if found.is_file() && parts.all(|part| hidden.shows(part)) {
            files.push(found);
        }
    }
    refuse_names_beyond_globs(pattern, &hidden)?;
    Ok(files)
}

/// A folder in which a glob looks for files.
struct GlobbedFolder {
    path: PathBuf,
    /// The path as the glob would have it, with a `/` at its end; empty for the working directory.
    text: String,
    /// How many parts of the glob are about what is in it and below.
    parts: usize,
    /// Whether a part of its path is not UTF-8.
    is_beyond: bool,
}

/// A glob passes over names that are not UTF-8. One that would match otherwise is an error.
fn refuse_names_beyond_globs(pattern: &str, hidden: &HiddenNames<'_>) -> Result<(), SourceError> {
    const BY_PARTS: glob::MatchOptions =
        glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };
    let (Ok(glob), Some(wildcard)) = (glob::Pattern::new(pattern), pattern.find(['*', '?', '['])) else { return Ok(()) };
    let (literal, _) = pattern.split_at(wildcard);
    let (base, rest) = pattern.split_at(literal.rfind('/').map_or(0, |end| end + 1));
    let is_deep = rest.contains("**");
    let parts = if is_deep { usize::MAX } else { rest.split('/').count() };
    let path = if base.is_empty() { "." } else { base };
    let mut folders = vec![GlobbedFolder { path: path.into(), text: base.to_owned(), parts, is_beyond: false }];
    while let Some(folder) = folders.pop() {
        // A folder that can't be read is an error of the glob itself.
        for entry in folder.path.read_dir().into_iter().flatten().flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            let shown = name.to_string_lossy();
            if !hidden.shows(&shown) {
                continue;
            }
            let is_beyond = folder.is_beyond || name.to_str().is_none();
            let text = format!("{}{shown}", folder.text);
            if is_beyond && glob.matches_with(&text, BY_PARTS) && path.is_file() {
                let source = io::Error::new(io::ErrorKind::InvalidInput, "its name is not UTF-8, so that no glob matches it");
                return Err(SourceError::Unreadable { path, source });
            }
            // `**` follows no link.
            let is_folder = if is_deep { entry.file_type().is_ok_and(|kind| kind.is_dir()) } else { folder.parts > 1 && path.is_dir() };
            if is_folder {
                folders.push(GlobbedFolder { path, text: format!("{text}/"), parts: folder.parts.saturating_sub(1), is_beyond });
            }
        }
    }
    Ok(())
}

/// Opens a file and decompresses it while it is read, up to the limit of expansion. Its first bytes show the compression.
pub(super) fn open(file: &SourceFile, access: &Access<'_>) -> Result<Box<dyn Read>, SourceError> {
    let unreadable = |source| SourceError::Unreadable { path: file.path.clone(), source };
    let (stored, size) = file.stored(access).map_err(unreadable)?;
    expanded(Stored { path: &file.path, bytes: stored, size, compression: file.compression }, access)
}

/// The bytes of a file as they are stored.
struct Stored<'f> {
    path: &'f Path,
    bytes: Box<dyn Read>,
    size: u64,
    /// That of its name.
    compression: Compression,
}

fn expanded(stored: Stored<'_>, access: &Access<'_>) -> Result<Box<dyn Read>, SourceError> {
    let Stored { path, bytes, size, compression: named } = stored;
    let unreadable = |source| SourceError::Unreadable { path: path.to_owned(), source };
    let max_bytes = access.limits.expanded(size);
    let mut plain = BufReader::with_capacity(1 << 17, bytes);
    let beginning = plain.fill_buf().map_err(unreadable)?;
    let compression = match sniff::compression(beginning) {
        // If the name says that the file is compressed, but the bytes are not, the file is damaged. An empty file is valid.
        Compression::None if !beginning.is_empty() => named,
        found => found,
    };
    Ok(match compression {
        Compression::None => Box::new(plain),
        Compression::Gzip => Box::new(Expanding { reader: flate2::read::MultiGzDecoder::new(plain), left: max_bytes }),
        Compression::Zstd => {
            Box::new(Expanding { reader: zstd::stream::read::Decoder::with_buffer(plain).map_err(unreadable)?, left: max_bytes })
        }
    })
}

/// The first bytes of a file, decompressed.
pub(super) fn beginning(file: &SourceFile, access: &Access<'_>, max_bytes: u64) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    let read = open(file, access)?.take(max_bytes).read_to_end(&mut bytes);
    read.map_err(|source| SourceError::Unreadable { path: file.path.clone(), source })?;
    Ok(bytes)
}

/// The result of a bulk operation: records and children, whose lines were asked for.
pub(super) struct BulkResult<'r> {
    /// Where it comes from, for errors and the lineage.
    pub(super) path: &'r Path,
    /// Its copy on this machine.
    pub(super) copy: File,
    /// How its lines are joined.
    pub(super) children: &'r ChildLines,
}

/// Reads the result of a bulk operation; `None` if the sink stopped the reading.
pub(super) fn read_result(
    result: BulkResult<'_>,
    query: &Query<'_>,
    access: &Access<'_>,
    sink: &mut dyn PageSink,
) -> Result<Option<FamiliesRead>, SourceError> {
    let BulkResult { path, copy, children } = result;
    access.counters.page();
    let size = copy.metadata().map_err(|source| SourceError::Unreadable { path: path.to_owned(), source })?.len();
    let reader = expanded(Stored { path, bytes: Box::new(copy), size, compression: Compression::None }, access)?;
    let rules = FamilyRules { children, lines: &query.shape.lines, empty: EmptyLists::Asked };
    children::read_families(path, rules, reader, access, sink)
}

/// A decompressed stream with a limit of its size.
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

/// Reads all records of the files, and returns whether they are as many as the files claim.
pub(super) fn read_records(
    files: &[SourceFile],
    query: &Query<'_>,
    access: &Access<'_>,
    sink: &mut dyn PageSink,
) -> Result<Completeness, SourceError> {
    let mut read = FilesRead::default();
    for file in files {
        if !read_file(file, query, access, &mut read, sink)? {
            break;
        }
    }
    Ok(read.certify())
}

/// The counts of the files, and what they claim.
#[derive(Default)]
pub(super) struct FilesRead {
    /// The number of records of all files.
    records: u64,
    /// The distinct records of files that claim a total, by that total. Files of one total are pages of one list.
    counted: BTreeMap<u64, HashSet<u64>>,
    /// The number of records of all other files.
    uncounted: u64,
    /// The last order of the file before, where its rows are lines.
    last_order: Option<u64>,
    /// A file that names a next page.
    names_next: Option<String>,
    /// A file with records that are not read, because it has others.
    passed_over: Option<String>,
    says_end: bool,
}

/// The lists that lack records.
struct ShortLists {
    /// How many records they claim.
    claimed: u64,
    /// How many different ones they have, with the records of files that claim no total.
    distinct: u64,
}

impl FilesRead {
    /// The lists with fewer records than they claim, if files that claim no total can't have the others.
    fn short_lists(&self) -> Option<ShortLists> {
        let mut short = ShortLists { claimed: 0, distinct: self.uncounted };
        for (claimed, records) in &self.counted {
            let distinct = records.len() as u64;
            if distinct < *claimed {
                short.claimed = short.claimed.saturating_add(*claimed);
                short.distinct += distinct;
            }
        }
        (short.distinct < short.claimed).then_some(short)
    }

    fn certify(self) -> Completeness {
        let short = self.short_lists();
        let largest = self.counted.keys().next_back().copied();
        let claimed = short.as_ref().map_or(largest, |short| Some(short.claimed));
        let open = self.names_next.filter(|_| !self.says_end && largest.is_none());
        let open = open.map(|file| format!("{file} names a next page, which may be missing"));
        let (status, why) = match (short, self.passed_over.or(open)) {
            (Some(ShortLists { claimed, distinct }), _) => {
                let why = format!(
                    "the files that lack records claim {}, but have {}",
                    counted(claimed, "record"),
                    counted(distinct, "different one")
                );
                (CompletenessStatus::Failed, Some(why))
            }
            (None, Some(why)) => (CompletenessStatus::Unproven, Some(why)),
            (None, None) => (CompletenessStatus::Proven, None),
        };
        let by = (status != CompletenessStatus::Unproven).then_some(Evidence::File);
        let all = self.counted.into_values().reduce(|mut all, records| {
            all.extend(records);
            all
        });
        let distinct = (self.uncounted == 0).then(|| all.map_or(0, |all| all.len() as u64));
        Completeness { status, by, claimed, read: self.records, distinct, why }
    }

    /// Adds the rows of a table. Warns of an order that seems to go on from the file before: its rows there are an earlier version.
    fn add_rows(&mut self, path: &Path, rows: TableRows) {
        if rows.edges.first.is_some() && rows.edges.first == self.last_order {
            let file = path.display();
            tracing::warn!(%file, "the file begins with the order that the file before ends with: if an export was cut there, join the files, because the rows of the later file count as a newer version of the order");
        }
        self.last_order = rows.edges.last;
        self.records += rows.records;
        self.uncounted += rows.records;
    }

    /// Adds the signals of a file's envelope; `counted` are the identities of its records.
    fn add_envelope(&mut self, path: &Path, signals: &Signals, counted: Vec<u64>) {
        match signals.total_records {
            Some(total) => self.counted.entry(total).or_default().extend(counted),
            None => self.uncounted += counted.len() as u64,
        }
        let has_next = signals.next.is_some() || signals.more == Some(true);
        self.says_end |= !has_next && (signals.says_end || signals.more == Some(false));
        if has_next {
            self.names_next = Some(path.display().to_string());
        }
    }
}

/// Reads one file; `false` if the sink stopped the reading.
pub(super) fn read_file(
    file: &SourceFile,
    query: &Query<'_>,
    access: &Access<'_>,
    read: &mut FilesRead,
    sink: &mut dyn PageSink,
) -> Result<bool, SourceError> {
    let rows = match file.format {
        Format::Csv => csv::read_csv(file, query.shape, access, sink)?,
        Format::Parquet => parquet::read_parquet(file, query.shape, access, sink)?,
        Format::Json | Format::Ndjson => return read_json(file, query, access, read, sink),
    };
    read.add_rows(&file.path, rows.unwrap_or_default());
    Ok(rows.is_some())
}

/// Reads one JSON or NDJSON file; `false` if the sink stopped the reading.
fn read_json(
    file: &SourceFile,
    query: &Query<'_>,
    access: &Access<'_>,
    read: &mut FilesRead,
    sink: &mut dyn PageSink,
) -> Result<bool, SourceError> {
    access.counters.page();
    let unreadable = |source| SourceError::Unreadable { path: file.path.clone(), source };
    let mut reader = Utf8Reader::new(Counted { reader: open(file, access)?, counters: access.counters });
    let mut beginning = Vec::new();
    reader.by_ref().take(sniff::LOOKED_AT as u64).read_to_end(&mut beginning).map_err(unreadable)?;
    let mut is_all = beginning.len() < sniff::LOOKED_AT;
    // One line in a file of lines may be a record or a document, as its end shows. A line that is too large for a
    // record is judged by its beginning.
    while !is_all
        && file.format == Format::Ndjson
        && beginning.len() as u64 <= access.limits.record_bytes
        && sniff::is_one_line_so_far(&beginning)
    {
        if access.cancel.is_stopped() {
            return Err(SourceError::Interrupted);
        }
        let read = reader.by_ref().take(PAGE_BYTES as u64).read_to_end(&mut beginning).map_err(unreadable)?;
        is_all = read < PAGE_BYTES;
    }
    let format = sniff::records_format(&beginning, file.format, is_all, query.shape)
        .map_err(|seems| SourceError::Unrecognised { path: file.path.clone(), seems })?;
    let is_array = beginning.trim_ascii_start().starts_with(b"[");
    let mut reader = io::Cursor::new(beginning).chain(reader);
    match &query.profile.children {
        None => {}
        Some(lists) if format == Format::Ndjson => {
            let rules = FamilyRules { children: lists, lines: &query.shape.lines, empty: EmptyLists::IfSeen };
            let held = children::read_families(&file.path, rules, reader, access, sink)?;
            read.add_rows(&file.path, held.unwrap_or_default().rows());
            return Ok(held.is_some());
        }
        Some(_) if is_array => return Err(in_place_of_lines(&file.path, "it is one JSON array")),
        Some(lists) => {
            let mut has_child = false;
            let mut checked = |page: Page| {
                has_child = page.records().any(|record| children::names_parent(record.bytes, lists));
                !has_child && sink.page(page)
            };
            let mut reading = FileReading { path: &file.path, query, access, read, sink: &mut checked };
            let goes_on = reading.document(&mut reader)?;
            return if has_child { Err(in_place_of_lines(&file.path, "it is one JSON document")) } else { Ok(goes_on) };
        }
    }
    let mut reading = FileReading { path: &file.path, query, access, read, sink };
    match format {
        Format::Ndjson => reading.lines(&mut reader),
        _ => reading.document(&mut reader),
    }
}

/// A file whose records and children do not stand on lines of their own.
fn in_place_of_lines(path: &Path, what: &str) -> SourceError {
    let detail = format!(
        "{what}, where each record and each of its children stands on a line of its own: nothing is joined, and the lines of orders \
         would be lost. Take the file as the source wrote it, or write the records as lines: `jq -c '.[]'`"
    );
    SourceError::Malformed { path: path.to_owned(), line: 1, detail }
}

/// The counts of a block of lines: the line ends in it, and the lines that are not blank.
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

/// Counts the bytes that are read.
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

/// What the first block of a large document shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Beginning {
    /// It has a list of records.
    List,
    /// It is one record.
    Record,
    /// It may be one record. Its end shows it.
    Unclear,
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

    /// Appends a block to the buffer and returns its size.
    fn fill(&self, reader: &mut impl Read, buffer: &mut Vec<u8>) -> Result<usize, SourceError> {
        if self.access.cancel.is_stopped() {
            return Err(SourceError::Interrupted);
        }
        buffer.reserve(PAGE_BYTES);
        reader.take(PAGE_BYTES as u64).read_to_end(buffer).map_err(|source| SourceError::Unreadable { path: self.path.to_owned(), source })
    }

    /// Delivers the beginning of a record that is too large to keep.
    fn deliver_beginning(&mut self, first: u64, record: &[u8]) -> bool {
        let kept = record.get(..LARGEST_BEGINNING).unwrap_or(record);
        let origin = self.origin(first);
        self.sink.page(Page::beginning(origin, Bytes::copy_from_slice(kept)))
    }

    /// Cuts a stream of lines into pages of whole lines. Delivers only the beginning of a line beyond the limit.
    fn lines(&mut self, reader: &mut impl Read) -> Result<bool, SourceError> {
        let buffers = PageBuffers::of_capacity(PAGE_BYTES + CARRIED_BYTES);
        let mut rest: Vec<u8> = Vec::new();
        let mut first = 1;
        loop {
            let mut block = buffers.take();
            block.append(&mut rest);
            let carried = block.len();
            let ended = self.fill(reader, &mut block)? == 0;
            // The carried bytes have no line end, so only the new bytes are searched.
            let complete = if ended {
                block.len()
            } else {
                memchr::memrchr(b'\n', block.get(carried..).unwrap_or_default()).map_or(0, |end| carried + end + 1)
            };
            rest.extend_from_slice(block.get(complete..).unwrap_or_default());
            block.truncate(complete);
            let counts = LineCounts::of(&block);
            let has_open_line = !block.is_empty() && !block.ends_with(b"\n");
            let lines = counts.ends + u64::from(has_open_line);
            let blank_lines = if counts.records == lines { BlankLines::NONE } else { BlankLines::Possible };
            let page = Page::lines(self.origin(first), buffers.lend(block)).with_blank_lines(blank_lines);
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
                if !self.deliver_beginning(first, &rest) {
                    return Ok(false);
                }
                rest = self.after_line(reader)?;
                first += 1;
            }
        }
    }

    /// Skips the rest of a line and returns the bytes read after it.
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

    /// Cuts the list of a JSON document into pages. A document that fits into one block is parsed at once, and so is a
    /// larger one that may be one record.
    fn document(&mut self, reader: &mut impl Read) -> Result<bool, SourceError> {
        let mut buffer = Vec::new();
        if self.fill(reader, &mut buffer)? < PAGE_BYTES {
            return self.small_document(buffer);
        }
        match self.judge(&buffer) {
            Beginning::List => self.large_document(reader, buffer, Beginning::List),
            Beginning::Record => self.large_record(reader, buffer),
            Beginning::Unclear => {
                while buffer.len() as u64 <= self.access.limits.record_bytes {
                    if self.fill(reader, &mut buffer)? == 0 {
                        return self.small_document(buffer);
                    }
                }
                self.large_document(reader, buffer, Beginning::Unclear)
            }
        }
    }

    fn small_document(&mut self, document: Vec<u8>) -> Result<bool, SourceError> {
        let cut = body::cut(&document, self.query.profile.records.as_ref()).map_err(|error| self.malformed(&error))?;
        // An empty document has no records, like empty NDJSON.
        let Some(CutBody { places, envelope }) = cut else { return Ok(true) };
        if self.is_one_record(&envelope, places.iter().map(|place| document.get(place.clone()).unwrap_or_default())) {
            return Ok(self.deliver_document(document));
        }
        let is_list = matches!(envelope.root, Node::Array(_));
        let page = Page::elements(self.origin(1), Bytes::from(document), places);
        let identities = self.identities(&page, is_list);
        self.end_document(&envelope, identities)?;
        Ok(page.is_empty() || self.sink.page(page))
    }

    fn large_document(&mut self, reader: &mut impl Read, mut buffer: Vec<u8>, beginning: Beginning) -> Result<bool, SourceError> {
        let mut cutter = Cutter::new(self.query.profile.records.as_ref());
        let mut identities = Vec::new();
        let mut discarded: Option<Vec<u8>> = None;
        let mut may_be_record = beginning == Beginning::Unclear;
        let (mut first, mut scanned) = (1, 0);
        loop {
            let mut places = Vec::new();
            cutter.feed(&buffer, scanned, &mut places).map_err(|error| self.malformed(&error))?;
            if let Some(beginning) = discarded.take_if(|_| places.contains(&None)) {
                self.read.records += 1;
                self.read.uncounted += 1;
                if !self.deliver_beginning(first, &beginning) {
                    return Ok(false);
                }
                first += 1;
            }
            let rest = buffer.split_off(cutter.open_element().unwrap_or(buffer.len()));
            cutter.rebase_element();
            let places: Vec<_> = places.into_iter().flatten().collect();
            let count = places.len() as u64;
            let mut elements = places.iter().filter_map(|place| buffer.get(place.clone()));
            may_be_record = may_be_record && !elements.any(|element| self.query.shape.is_order_bytes(element));
            let page = Page::elements(self.origin(first), Bytes::from(std::mem::replace(&mut buffer, rest)), places);
            first += count;
            identities.extend(self.identities(&page, !cutter.is_object()));
            if !page.is_empty() && !self.sink.page(page) {
                return Ok(false);
            }
            if buffer.len() as u64 > self.access.limits.record_bytes {
                buffer.truncate(LARGEST_BEGINNING);
                discarded = Some(std::mem::take(&mut buffer));
                cutter.discard_element();
            }
            scanned = buffer.len();
            if self.fill(reader, &mut buffer)? == 0 {
                let Some(envelope) = cutter.finish().map_err(|error| self.malformed(&error))? else { return Ok(true) };
                if may_be_record && self.is_one_record(&envelope, std::iter::empty()) {
                    return Err(self.record_too_large());
                }
                return self.end_document(&envelope, identities).map(|()| true);
            }
        }
    }

    /// Reads a document that is one record and larger than a block.
    fn large_record(&mut self, reader: &mut impl Read, mut document: Vec<u8>) -> Result<bool, SourceError> {
        while document.len() as u64 <= self.access.limits.record_bytes {
            if self.fill(reader, &mut document)? == 0 {
                return Ok(self.deliver_document(document));
            }
        }
        self.read.records += 1;
        self.read.uncounted += 1;
        Ok(self.deliver_beginning(1, &document))
    }

    /// Judges a document by its first block.
    fn judge(&self, block: &[u8]) -> Beginning {
        // What has no time of creation is never a whole body.
        if !self.query.may_be_one_record() || self.query.shape.created_at.is_empty() {
            return Beginning::List;
        }
        let (mut cutter, mut places) = (Cutter::new(self.query.profile.records.as_ref()), Vec::new());
        // What is wrong with a document is said while it is read.
        if cutter.feed(block, 0, &mut places).is_err() || !cutter.is_object() {
            return Beginning::List;
        }
        let mut elements = places.iter().flatten().filter_map(|place| block.get(place.clone()));
        if elements.any(|element| self.query.shape.is_order_bytes(element)) {
            return Beginning::List;
        }
        match cutter.envelope_so_far() {
            Some(envelope) if self.is_one_record(&envelope, std::iter::empty()) => Beginning::Record,
            _ => Beginning::Unclear,
        }
    }

    /// A document that turns out to be one record after its lines have gone for records.
    fn record_too_large(&self) -> SourceError {
        let limit = counted(self.access.limits.record_bytes, "byte");
        let detail = format!("the file is one record of more than {limit} (limits.record_bytes)");
        SourceError::Malformed { path: self.path.to_owned(), line: 1, detail }
    }

    fn is_one_record<'a>(&self, envelope: &Envelope, elements: impl Iterator<Item = &'a [u8]>) -> bool {
        self.query.may_be_one_record() && self.query.shape.is_record(envelope, elements)
    }

    fn deliver_document(&mut self, document: Vec<u8>) -> bool {
        self.read.records += 1;
        self.read.uncounted += 1;
        let place = 0..document.len();
        let origin = self.origin(1);
        self.sink.page(Page::elements(origin, Bytes::from(document), vec![place]))
    }

    /// Counts the records of a page. Returns their identities if the document may claim a total.
    fn identities(&mut self, page: &Page, is_list: bool) -> Vec<u64> {
        let count = page.len();
        self.read.records += count;
        if is_list {
            self.read.uncounted += count;
            return Vec::new();
        }
        page.records().map(|record| self.query.shape.identity(record.bytes)).collect()
    }

    /// Checks the envelope of a document and adds its signals.
    fn end_document(&mut self, envelope: &Envelope, identities: Vec<u64>) -> Result<(), SourceError> {
        let malformed = |detail: String| SourceError::Malformed { path: self.path.to_owned(), line: 1, detail };
        let profile = &self.query.profile;
        if let Some(what) = body::reported_error(&envelope.root) {
            return Err(malformed(format!("the file has a response that reports an error: {what}")));
        }
        if envelope.list == List::Missing {
            return Err(malformed(format!("the file has no records: {}", body::looked_for(profile.records.as_ref()))));
        }
        let source = SignalSource {
            root: &envelope.root,
            headers: &HeaderMap::new(),
            link: LinkHeader::Absent,
            previous_link: None,
            begins_with_one: false,
            records: profile.records.as_ref(),
            record_count: identities.len() as u64,
            last_record: None,
            trusts_counts: profile.http.trusts_counts,
        };
        let signals = Signals::read(&source, &Pagination::Auto);
        let has_none = signals.total_records == Some(0) && !self.query.shape.has_list_within(&envelope.root);
        if identities.is_empty()
            && !has_none
            && let Some(detail) = body::object_in_place_of_a_list(envelope, profile.records.as_ref())
        {
            return Err(malformed(format!("the file has no records: {detail}")));
        }
        self.pass_over_others(envelope);
        self.read.add_envelope(self.path, &signals, identities);
        Ok(())
    }

    /// Warns of lists that are not read, because another one is. If they hold records, nothing proves that all came.
    fn pass_over_others(&mut self, envelope: &Envelope) {
        let List::Found(read) = &envelope.list else { return };
        let others = body::passed_over(envelope, self.query.profile.records.as_ref(), self.query.shape);
        let Some(other) = others.first().copied().or(envelope.other_list.as_deref()) else { return };
        let file = self.path.display();
        tracing::warn!(%file, "the file has records under `{read}` and `{other}`: `{read}` is read (set `records` in a profile to choose one)");
        if !others.is_empty() {
            self.read.passed_over = Some(format!("{file} has records under `{other}` too, which are not read"));
        }
    }

    fn malformed(&self, error: &CutError) -> SourceError {
        SourceError::Malformed { path: self.path.to_owned(), line: error.line, detail: format!("not valid JSON: {}", error.detail) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(path: &Path, sink: &mut dyn PageSink) -> Result<Completeness, SourceError> {
        let ambient = crate::source::Ambient::default();
        let files = find(path.to_str().unwrap(), Purpose::Orders)?;
        read_records(&files, &ambient.query(), &ambient.access(), sink)
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
    fn an_error_names_the_file_and_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let message = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            records(&path).unwrap_err().to_string()
        };
        assert!(message("a.json", b"[{\"a\":1},\n{\"a\"]").contains("a.json, line 2: not valid JSON"));
        assert!(message("b.json", b"{\"x\":\"y\"}").contains("b.json, line 1: the file has no records"));
        assert!(
            message("f.json", b"{\"error\":\"x\",\"orders\":[]}").contains("f.json, line 1: the file has a response that reports an error")
        );
        assert!(message("c.json", b"7").contains("has no records"));
        assert!(message("d.txt", b"").contains("can't tell the format from the name"));
        assert!(message("e.ndjson.gz", b"not gzip").contains("can't be read"));
        assert!(records(&dir.path().join("none.json")).unwrap_err().to_string().contains("no such file"));
        assert!(records(&dir.path().join("*.ndjson")).unwrap_err().to_string().contains("no files to read"));
    }

    #[test]
    fn a_list_of_one_file_is_not_proven_by_the_records_of_another() {
        let certified = |files: &[&str]| {
            let dir = tempfile::tempdir().unwrap();
            for (number, text) in files.iter().enumerate() {
                std::fs::write(dir.path().join(format!("{number}.json")), text).unwrap();
            }
            read(dir.path(), &mut |_: Page| true).unwrap()
        };
        let (short, whole) = (r#"{"total":3,"orders":[{"id":1}]}"#, r#"{"total":2,"orders":[{"id":2},{"id":3}]}"#);
        let failed = certified(&[short, whole]);
        assert_eq!((failed.status, failed.claimed, failed.read, failed.distinct), (CompletenessStatus::Failed, Some(3), 3, Some(3)));
        assert!(failed.why.unwrap().ends_with("claim 3 records, but have 1 different one"));
        let others = r#"{"total":3,"orders":[{"id":4},{"id":5}]}"#;
        assert_eq!(certified(&[short, whole, others]).status, CompletenessStatus::Proven, "pages of one list");
        assert_eq!(certified(&[short, whole, r#"[{"id":4},{"id":5}]"#]).status, CompletenessStatus::Proven, "a page without a total");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_whose_name_is_not_utf_8_is_read_or_refused() {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("shop");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("feb.json"), r#"[{"a":1}]"#).unwrap();
        std::fs::write(folder.join(OsStr::from_bytes(b"j\xe4n.JSON")), r#"[{"a":2}]"#).unwrap();
        assert_eq!(records(&folder).unwrap().len(), 2);
        for glob in ["shop/*.JSON", "*/*.JSON", "**/j*", "shop/*"] {
            assert!(records(&dir.path().join(glob)).unwrap_err().to_string().contains("is not UTF-8"), "{glob}");
        }
        for glob in ["shop/*.json", "*/f*", "**/*.json"] {
            assert_eq!(records(&dir.path().join(glob)).unwrap().len(), 1, "{glob}");
        }
        std::fs::rename(&folder, dir.path().join(OsStr::from_bytes(b"\xe4"))).unwrap();
        assert!(records(&dir.path().join("*/f*.json")).unwrap_err().to_string().contains("is not UTF-8"), "the name of its folder");
    }

    #[test]
    fn blank_lines_are_not_records() {
        assert_eq!(LineCounts::of(b"a\n\n  \r\nb\r\nc"), LineCounts { ends: 4, records: 3 });
        assert_eq!(LineCounts::of(b""), LineCounts { ends: 0, records: 0 });
    }

    #[test]
    fn pages_end_at_the_end_of_a_line_and_know_their_first_line() {
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
