//! Which record of the source brought which version of an order, and what the merge made of each of its lines: one file a
//! run, for `etl explain`.
//!
//! Responsible for the format, and for finding an order in it. Where the files are kept, `lineage_runs` says. It does not
//! judge which version wins: the merge does, and hands on what it did.
//!
//! ```text
//! file     = block… · outcomes · origins · fences · footer
//! block    = entry… · XXH3                       about 8 KiB; entries sorted by hash, those of one hash in source order
//! entry    = hash (u64) · length · record · row · dt · updated_at? · (sku length · sku)…
//! outcomes = (dt (i32) · length · (outcome (u8) · lines)…)… · XXH3        the lines of a partition, in source order
//! origins  = page… · XXH3                        page = first record · location (front coded) · page? · unit · first · gaps
//! fences   = (first hash (u64) · offset (u64))…  one a block
//! footer   = entries · blocks · end of blocks · end of outcomes · end of origins · XXH3 of fences and these (u64) · magic (8)
//! ```
//! Fixed numbers are little-endian, all others LEB128. A damaged byte is an error, never a wrong answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use serde::Serialize;
use strum::{IntoStaticStr, VariantArray};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::{
    LayerError,
    index::MOST_STREAMS,
    leb128::{Reader, write_number, write_signed},
    lineage_runs::{LineageRun, lineage_file},
    staged_rows::BatchOrder,
};
use crate::{
    model::{Dt, OrderHash, UtcMicros},
    store::{self, Fingerprint, Output, StagedWriter, Staging, StoreError},
};

const MAGIC: &[u8; 8] = b"ETLLIN01";
/// Bytes after which a block ends.
const BLOCK: usize = 8 << 10;
const CHECKSUM: usize = 8;
const FENCE: usize = 16;
const FOOTER: usize = 5 * 8 + CHECKSUM + MAGIC.len();
/// The number of the record of a version that no record brought.
const NO_RECORD: u64 = u64::MAX;
/// Bytes that are kept of a sku.
const LONGEST_SKU: usize = 255;

/// What the merge made of one line that a run brought.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug, Serialize, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[repr(u8)]
pub enum LineOutcome {
    /// The merge did not say.
    #[default]
    Unknown,
    /// A new row.
    Inserted,
    /// It replaced the stored row.
    #[serde(rename = "won")]
    #[strum(serialize = "won")]
    Updated,
    /// It equals the stored row.
    Unchanged,
    /// It replaced a row of another partition.
    Moved,
    /// The stored row is newer.
    Superseded,
    /// Another line of the run won.
    Duplicate,
    /// No line: the source no longer has the order, and the stored row is gone.
    Deleted,
    /// No line: the source no longer has the order, and the stored row has a status that says so.
    Marked,
}

impl LineOutcome {
    /// The name in the answer of `etl explain`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether no record brought it: the source no longer has the order.
    pub fn is_deletion(self) -> bool {
        matches!(self, LineOutcome::Deleted | LineOutcome::Marked)
    }

    /// Whether the row of the layer is then that of the line.
    pub fn is_in_layer(self) -> bool {
        matches!(self, LineOutcome::Inserted | LineOutcome::Updated | LineOutcome::Unchanged | LineOutcome::Moved)
    }
}

/// What the merge made of the lines of one partition, in source order, in few bytes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct LineOutcomes(Vec<u8>);

impl LineOutcomes {
    /// Packs the outcome of each line.
    pub fn new(outcomes: &[LineOutcome]) -> LineOutcomes {
        let mut packed = Vec::new();
        for equal in outcomes.chunk_by(|a, b| a == b) {
            packed.push(equal[0] as u8);
            write_number(&mut packed, equal.len() as u64);
        }
        LineOutcomes(packed)
    }

    /// The outcome of a line, counted from 0.
    fn of(&self, line: u64) -> LineOutcome {
        let mut reader = Reader(&self.0);
        let mut end = 0;
        while let (Some(outcome), Some(lines)) = (reader.byte(), reader.number()) {
            end += lines;
            if line < end {
                return LineOutcome::VARIANTS.get(usize::from(outcome)).copied().unwrap_or_default();
            }
        }
        LineOutcome::Unknown
    }
}

/// What the records of a page are counted by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[repr(u8)]
pub enum RecordUnit {
    /// Lines of a text file.
    Line,
    /// Elements of an array in a file.
    Element,
    /// Rows of a Parquet file.
    Row,
    /// Records of a response.
    Record,
}

impl RecordUnit {
    /// The name in the answer of `etl explain`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Units between two records of a page that hold no record, such as blank lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gap {
    /// Records of the page before the gap.
    pub after: u64,
    /// Units that it is long.
    pub units: u64,
}

/// Where the records of a page come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PageOrigin {
    /// A file, or a URL without secrets.
    pub location: String,
    /// The number of the page, from 1, for responses.
    pub page: Option<u64>,
    /// What its records are counted by.
    pub unit: RecordUnit,
    /// The number of the first record, from 1.
    pub first: u64,
    /// The gaps, in their order.
    pub gaps: Vec<Gap>,
}

impl PageOrigin {
    /// The number of a record in its file or response; `place` is its place among the records of the page, from 1.
    fn number(&self, place: u64) -> u64 {
        let skipped: u64 = self.gaps.iter().take_while(|gap| gap.after < place).map(|gap| gap.units).sum();
        self.first + place.saturating_sub(1) + skipped
    }
}

/// Where one record comes from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RecordSource {
    /// A file, or a URL without secrets.
    pub location: String,
    /// The page, for responses.
    pub page: Option<u64>,
    /// What `number` counts.
    pub unit: RecordUnit,
    /// The line, element, row or record, from 1.
    pub number: u64,
}

/// A version of an order that a run brought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IncomingVersion {
    /// The partition that it belongs to.
    pub dt: Dt,
    /// When the order was changed, by its source.
    pub updated_at: Option<UtcMicros>,
    /// The place of its record among all records of the run.
    pub record: u64,
    /// Where its record comes from; `None` if the origins are damaged.
    pub source: Option<RecordSource>,
    /// Its lines, in source order.
    pub lines: Vec<IncomingLine>,
}

/// A line of a version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IncomingLine {
    /// Its sku; only the beginning of a very long one: compare with [`kept_sku`].
    pub sku: String,
    /// What became of it.
    pub outcome: LineOutcome,
}

/// An order that a run deleted, because its source no longer has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeletedVersion {
    order: OrderHash,
    bytes: Vec<u8>,
}

impl DeletedVersion {
    /// Of this partition. `row` is the place of its first outcome among those of the partition.
    pub(super) fn new(order: OrderHash, row: u64, dt: Dt, updated_at: Option<UtcMicros>) -> DeletedVersion {
        let mut bytes = Vec::new();
        write_number(&mut bytes, NO_RECORD);
        write_number(&mut bytes, row);
        write_version(&mut bytes, dt, updated_at);
        DeletedVersion { order, bytes }
    }

    /// Adds a row.
    pub(super) fn add_sku(&mut self, sku: &str) {
        write_sku(&mut self.bytes, sku);
    }

    fn version(&self) -> Result<Version<'_>, LayerError> {
        Ok((self.order, self.bytes.as_slice().into()))
    }
}

/// What the merge made of a partition.
#[derive(Clone, Copy, Debug)]
pub struct PartitionOutcomes<'m> {
    /// Which.
    pub dt: Dt,
    /// What became of the run's lines, and of the rows of deleted orders.
    pub lines: &'m LineOutcomes,
    /// The deleted orders.
    pub deleted: &'m [DeletedVersion],
}

/// What lineage keeps of a sku: all of it, up to 255 bytes.
pub fn kept_sku(sku: &str) -> &str {
    let mut end = sku.len().min(LONGEST_SKU);
    while !sku.is_char_boundary(end) {
        end -= 1;
    }
    &sku[..end]
}

/// The lineage of a run while its pages come, in bounded memory.
pub struct LineageBuilder {
    folder: PathBuf,
    /// Each version: its hash, and where it begins in `bytes`.
    entries: Vec<(OrderHash, usize)>,
    /// Versions in source order, each with its length before it.
    bytes: Vec<u8>,
    /// Files of sorted versions, in source order: all versions of one come before all of the next.
    spilled: Vec<PathBuf>,
    /// Files so far, also of those that are gone.
    files: usize,
    origins: Vec<u8>,
    last_location: String,
}

impl LineageBuilder {
    /// An empty one that spills into `folder`.
    pub(super) fn new(folder: PathBuf) -> LineageBuilder {
        LineageBuilder {
            folder,
            entries: Vec::new(),
            bytes: Vec::new(),
            spilled: Vec::new(),
            files: 0,
            origins: Vec::new(),
            last_location: String::new(),
        }
    }

    /// Takes the origin of the page whose records are counted from `first_record` on.
    pub(super) fn push_page(&mut self, first_record: u64, origin: &PageOrigin) {
        let shared = common_prefix(&self.last_location, &origin.location);
        let out = &mut self.origins;
        write_number(out, first_record);
        write_number(out, shared as u64);
        write_number(out, (origin.location.len() - shared) as u64);
        out.extend_from_slice(&origin.location.as_bytes()[shared..]);
        write_number(out, origin.page.map_or(0, |page| page + 1));
        out.push(origin.unit as u8);
        write_number(out, origin.first);
        write_number(out, origin.gaps.len() as u64);
        for gap in &origin.gaps {
            write_number(out, gap.after);
            write_number(out, gap.units);
        }
        self.last_location.clone_from(&origin.location);
    }

    /// Takes a version. `record` is the place of its record in the run, `row` that of its first line in its partition.
    pub(super) fn push(&mut self, order: &BatchOrder, record: u64, row: u64, rest: &[u8]) {
        let mut head = Vec::with_capacity(20);
        write_number(&mut head, record);
        write_number(&mut head, row);
        self.entries.push((order.hash, self.bytes.len()));
        write_number(&mut self.bytes, (head.len() + rest.len()) as u64);
        self.bytes.extend_from_slice(&head);
        self.bytes.extend_from_slice(rest);
    }

    /// Moves the versions that are in memory to disk, sorted.
    pub(super) fn spill(&mut self) -> Result<(), LayerError> {
        let path = self.new_file();
        self.sort();
        let mut spill = SpillWriter::create(&path)?;
        for entry in self.in_memory() {
            let (hash, version) = entry?;
            spill.version(hash, &version)?;
        }
        spill.finish()?;
        self.entries.clear();
        self.bytes.clear();
        self.spilled.push(path);
        Ok(())
    }

    fn new_file(&mut self) -> PathBuf {
        self.files += 1;
        self.folder.join(format!("lineage-{:06}.spill", self.files))
    }

    /// Merges files until few are left. Only those that follow each other are merged: the versions of an order stay in
    /// source order.
    fn merge_spilled(&mut self) -> Result<(), LayerError> {
        let mut first = 0;
        while self.spilled.len() > MOST_STREAMS {
            // No more than needed. A file that was merged is merged again only after all others.
            let count = MOST_STREAMS.min(self.spilled.len() - MOST_STREAMS + 1);
            if first + count > self.spilled.len() {
                first = 0;
            }
            let several = first..first + count;
            let path = self.new_file();
            merge_spills(&self.spilled[several.clone()], &path)?;
            for merged in self.spilled.splice(several, [path]) {
                store::remove_file(&merged)?;
            }
            first += 1;
        }
        Ok(())
    }

    /// Frees the memory of versions that are on disk.
    pub(super) fn let_go_of_room(&mut self) {
        self.entries.shrink_to_fit();
        self.bytes.shrink_to_fit();
    }

    fn sort(&mut self) {
        self.entries.sort_unstable();
    }

    fn in_memory(&self) -> impl Iterator<Item = Result<Version<'_>, LayerError>> {
        self.entries.iter().filter_map(|&(hash, start)| {
            let mut reader = Reader(self.bytes.get(start..)?);
            let length = usize::try_from(reader.number()?).ok()?;
            Some(Ok((hash, std::borrow::Cow::Borrowed(reader.0.get(..length)?))))
        })
    }

    /// Stages the file of a run, with what the merge made of the lines of each partition.
    ///
    /// # Errors
    /// I/O errors.
    pub fn stage(
        &mut self,
        staging: &mut Staging,
        sequence: u64,
        run_id: &str,
        partitions: &[PartitionOutcomes<'_>],
    ) -> Result<(), LayerError> {
        let deletes = partitions.iter().any(|partition| !partition.deleted.is_empty());
        if self.entries.is_empty() && self.spilled.is_empty() && !deletes {
            return Ok(());
        }
        let key = lineage_file(sequence, run_id);
        let path = staging.staged(&key);
        let written = self.write(&path, partitions)?;
        staging.put_written(key, written);
        // The disk works while the checks run. The publish syncs the file again, and its checksums tell of damage.
        std::thread::spawn(move || store::sync(&path));
        Ok(())
    }

    fn write(&mut self, path: &Path, partitions: &[PartitionOutcomes<'_>]) -> Result<Fingerprint, LayerError> {
        self.merge_spilled()?;
        self.sort();
        let mut deleted: Vec<&DeletedVersion> = partitions.iter().flat_map(|partition| partition.deleted).collect();
        deleted.sort_by_key(|version| version.order);
        let mut file = LineageWriter::create(path)?;
        let mut streams: Vec<VersionStream<'_>> = Vec::with_capacity(self.spilled.len() + 2);
        for spilled in &self.spilled {
            #[expect(clippy::map_identity, reason = "it shortens the lifetime of the versions")]
            let spilled = SpillReader::open(spilled)?.map(|version| -> Result<Version<'_>, LayerError> { version });
            streams.push(Box::new(spilled));
        }
        streams.push(Box::new(self.in_memory()));
        streams.push(Box::new(deleted.iter().copied().map(DeletedVersion::version)));
        merge(streams, |hash, version| file.version(hash, version))?;
        file.finish(partitions, &self.origins)
    }
}

/// The length of the beginning that two texts share, at a character boundary of both.
fn common_prefix(a: &str, b: &str) -> usize {
    let mut shared = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    while !a.is_char_boundary(shared) || !b.is_char_boundary(shared) {
        shared -= 1;
    }
    shared
}

/// A version: its hash, and its bytes without their length.
type Version<'a> = (OrderHash, std::borrow::Cow<'a, [u8]>);
type VersionStream<'a> = Box<dyn Iterator<Item = Result<Version<'a>, LayerError>> + 'a>;

/// Hands on the versions of sorted streams by hash, and those of one hash in the order of the streams.
fn merge(mut streams: Vec<VersionStream<'_>>, mut each: impl FnMut(OrderHash, &[u8]) -> Result<(), LayerError>) -> Result<(), LayerError> {
    let mut heads = Vec::with_capacity(streams.len());
    for stream in &mut streams {
        heads.push(stream.next().transpose()?);
    }
    loop {
        // Few streams: a scan of their heads costs less than a heap.
        let least = heads.iter().enumerate().filter_map(|(stream, head)| Some((head.as_ref()?.0, stream))).min();
        let Some((_, stream)) = least else { return Ok(()) };
        let next = streams[stream].next().transpose()?;
        if let Some((hash, version)) = std::mem::replace(&mut heads[stream], next) {
            each(hash, &version)?;
        }
    }
}

/// Merges files of spilled versions into one. Those of one order stay in the order of the files.
fn merge_spills(spilled: &[PathBuf], into: &Path) -> Result<(), LayerError> {
    let mut streams: Vec<VersionStream<'_>> = Vec::with_capacity(spilled.len());
    for path in spilled {
        streams.push(Box::new(SpillReader::open(path)?));
    }
    let mut spill = SpillWriter::create(into)?;
    merge(streams, |hash, version| spill.version(hash, version))?;
    spill.finish()
}

/// Writes versions as [`SpillReader`] reads them.
struct SpillWriter<'p> {
    file: BufWriter<File>,
    path: &'p Path,
}

impl<'p> SpillWriter<'p> {
    fn create(path: &'p Path) -> Result<SpillWriter<'p>, LayerError> {
        let file = File::create(path).map_err(StoreError::io("write", path))?;
        Ok(SpillWriter { file: BufWriter::with_capacity(1 << 18, file), path })
    }

    fn version(&mut self, OrderHash(hash): OrderHash, version: &[u8]) -> Result<(), LayerError> {
        let written = self.file.write_all(&hash.to_le_bytes()).and_then(|()| self.file.write_all(&(version.len() as u64).to_le_bytes()));
        Ok(written.and_then(|()| self.file.write_all(version)).map_err(StoreError::io("write", self.path))?)
    }

    fn finish(mut self) -> Result<(), LayerError> {
        Ok(self.file.flush().map_err(StoreError::io("write", self.path))?)
    }
}

/// Reads versions that were spilled.
struct SpillReader {
    file: BufReader<File>,
    path: PathBuf,
}

impl SpillReader {
    fn open(path: &Path) -> Result<SpillReader, LayerError> {
        let file = File::open(path).map_err(StoreError::io("read", path))?;
        Ok(SpillReader { file: BufReader::with_capacity(1 << 16, file), path: path.to_owned() })
    }

    fn read(&mut self) -> io::Result<Option<Version<'static>>> {
        if self.file.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut head = [0; 16];
        self.file.read_exact(&mut head)?;
        let (hash, length) = (u64::from_le_bytes(part(&head, 0)), u64::from_le_bytes(part(&head, 8)));
        let mut version = Vec::new();
        let read = (&mut self.file).take(length).read_to_end(&mut version)?;
        if read as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some((OrderHash(hash), version.into())))
    }
}

impl Iterator for SpillReader {
    type Item = Result<Version<'static>, LayerError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().map_err(|error| StoreError::io("read", self.path.clone())(error).into()).transpose()
    }
}

/// Eight bytes from a place on; zeros where there are fewer.
fn part(bytes: &[u8], start: usize) -> [u8; 8] {
    bytes.get(start..start + 8).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default()
}

/// Writes a file from its beginning to its end.
struct LineageWriter {
    file: StagedWriter,
    block: Vec<u8>,
    fences: Vec<u8>,
    entries: u64,
}

impl LineageWriter {
    fn create(path: &Path) -> Result<LineageWriter, LayerError> {
        let (block, fences) = (Vec::with_capacity(2 * BLOCK), Vec::new());
        Ok(LineageWriter { file: StagedWriter::create(path)?, block, fences, entries: 0 })
    }

    fn put_with_checksum(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        self.file.push(bytes)?;
        Ok(self.file.push(&xxh3_64(bytes).to_le_bytes())?)
    }

    fn version(&mut self, OrderHash(hash): OrderHash, version: &[u8]) -> Result<(), LayerError> {
        if self.block.is_empty() {
            self.fences.extend_from_slice(&hash.to_le_bytes());
            self.fences.extend_from_slice(&self.file.bytes().to_le_bytes());
        }
        self.block.extend_from_slice(&hash.to_le_bytes());
        write_number(&mut self.block, version.len() as u64);
        self.block.extend_from_slice(version);
        self.entries += 1;
        if self.block.len() >= BLOCK { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> Result<(), LayerError> {
        let mut block = std::mem::take(&mut self.block);
        self.put_with_checksum(&block)?;
        block.clear();
        self.block = block;
        Ok(())
    }

    fn finish(mut self, partitions: &[PartitionOutcomes<'_>], origins: &[u8]) -> Result<Fingerprint, LayerError> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        let mut footer = Vec::with_capacity(FOOTER);
        footer.extend_from_slice(&self.entries.to_le_bytes());
        footer.extend_from_slice(&((self.fences.len() / FENCE) as u64).to_le_bytes());
        footer.extend_from_slice(&self.file.bytes().to_le_bytes());
        let mut packed = Vec::new();
        for PartitionOutcomes { dt, lines: LineOutcomes(outcomes), .. } in partitions {
            packed.extend_from_slice(&dt.days().to_le_bytes());
            write_number(&mut packed, outcomes.len() as u64);
            packed.extend_from_slice(outcomes);
        }
        self.put_with_checksum(&packed)?;
        footer.extend_from_slice(&self.file.bytes().to_le_bytes());
        self.put_with_checksum(origins)?;
        footer.extend_from_slice(&self.file.bytes().to_le_bytes());
        let fences = std::mem::take(&mut self.fences);
        self.file.push(&fences)?;
        let checksum = footer_checksum(&fences, &footer);
        footer.extend_from_slice(&checksum.to_le_bytes());
        footer.extend_from_slice(MAGIC);
        self.file.push(&footer)?;
        Ok(self.file.finish()?)
    }
}

fn footer_checksum(fences: &[u8], numbers: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(fences);
    hasher.update(numbers);
    hasher.digest()
}

/// Why the lineage of a run can't be read.
#[derive(Debug, thiserror::Error)]
pub enum LineageError {
    /// Bytes that are not those that were written.
    #[error("{}: the {part} are damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What of it.
        part: &'static str,
    },
    /// It can't be fetched.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It can't be opened or read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the disk says.
        source: io::Error,
    },
}

/// The lineage of a run, open for look-ups.
struct LineageFile {
    path: PathBuf,
    file: File,
    /// First hash and offset of each block.
    fences: Vec<(u64, u64)>,
    blocks_end: u64,
    outcomes_end: u64,
    origins_end: u64,
}

/// The versions of an order that a run brought, in source order.
///
/// # Errors
/// A damaged or unreadable file.
pub fn versions_of(output: &Output, run: &LineageRun, order: OrderHash) -> Result<Vec<IncomingVersion>, LineageError> {
    versions_in(&run.local_file(output)?, order)
}

/// The versions of an order in a file.
fn versions_in(path: &Path, order: OrderHash) -> Result<Vec<IncomingVersion>, LineageError> {
    let file = LineageFile::open(path)?;
    let found = file.entries_of(order)?;
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let outcomes = file.outcomes()?;
    let numbers: BTreeSet<u64> = found.iter().map(|entry| entry.record).filter(|record| *record != NO_RECORD).collect();
    let sources = file.sources(&numbers)?;
    let version = |entry: StoredVersion| {
        let of_partition = outcomes.get(&entry.dt);
        let outcome = |line: u64| of_partition.map(|outcomes| outcomes.of(entry.row + line)).unwrap_or_default();
        IncomingVersion {
            dt: entry.dt,
            updated_at: entry.updated_at,
            record: entry.record,
            source: sources.get(&entry.record).cloned(),
            lines: (0..).zip(entry.skus).map(|(line, sku)| IncomingLine { sku, outcome: outcome(line) }).collect(),
        }
    };
    Ok(found.into_iter().map(version).collect())
}

/// A version as the file has it.
struct StoredVersion {
    record: u64,
    row: u64,
    dt: Dt,
    updated_at: Option<UtcMicros>,
    skus: Vec<String>,
}

impl StoredVersion {
    fn parse(bytes: &[u8]) -> Option<StoredVersion> {
        let mut reader = Reader(bytes);
        let (record, row) = (reader.number()?, reader.number()?);
        let dt = Dt::from_days(i32::try_from(reader.signed()?).ok()?)?;
        let updated_at = if reader.byte()? == 0 { None } else { Some(UtcMicros::new(reader.signed()?)?) };
        let mut skus = Vec::new();
        while !reader.0.is_empty() {
            skus.push(reader.text()?.to_owned());
        }
        Some(StoredVersion { record, row, dt, updated_at, skus })
    }
}

impl LineageFile {
    fn open(path: &Path) -> Result<LineageFile, LineageError> {
        let unreadable = |source| LineageError::Unreadable { path: path.to_owned(), source };
        let damaged = || LineageError::Damaged { path: path.to_owned(), part: "end and the index" };
        let file = File::open(path).map_err(unreadable)?;
        let size = file.metadata().map_err(unreadable)?.len();
        let start = size.checked_sub(FOOTER as u64).ok_or_else(damaged)?;
        let mut footer = [0; FOOTER];
        file.read_exact_at(&mut footer, start).map_err(unreadable)?;
        let number = |place: usize| u64::from_le_bytes(part(&footer, place * 8));
        let (blocks, blocks_end, outcomes_end, origins_end) = (number(1), number(2), number(3), number(4));
        let is_whole = footer.ends_with(MAGIC)
            && blocks.checked_mul(FENCE as u64).and_then(|fences| fences.checked_add(origins_end)) == Some(start)
            && blocks_end <= outcomes_end
            && outcomes_end <= origins_end;
        if !is_whole {
            return Err(damaged());
        }
        let mut fences = vec![0; usize::try_from(start - origins_end).map_err(|_| damaged())?];
        file.read_exact_at(&mut fences, origins_end).map_err(unreadable)?;
        if footer_checksum(&fences, &footer[..5 * 8]) != number(5) {
            return Err(damaged());
        }
        let fences =
            fences.chunks_exact(FENCE).map(|fence| (u64::from_le_bytes(part(fence, 0)), u64::from_le_bytes(part(fence, 8)))).collect();
        Ok(LineageFile { path: path.to_owned(), file, fences, blocks_end, outcomes_end, origins_end })
    }

    fn damaged(&self, part: &'static str) -> LineageError {
        LineageError::Damaged { path: self.path.clone(), part }
    }

    /// Bytes that have their checksum after them.
    fn read(&self, start: u64, end: u64, part: &'static str) -> Result<Vec<u8>, LineageError> {
        let length = end.checked_sub(start).and_then(|length| usize::try_from(length).ok()).filter(|length| *length >= CHECKSUM);
        let mut bytes = vec![0; length.ok_or_else(|| self.damaged(part))?];
        self.file.read_exact_at(&mut bytes, start).map_err(|source| LineageError::Unreadable { path: self.path.clone(), source })?;
        let checksum = bytes.split_off(bytes.len() - CHECKSUM);
        if xxh3_64(&bytes).to_le_bytes() == *checksum { Ok(bytes) } else { Err(self.damaged(part)) }
    }

    fn entries_of(&self, OrderHash(order): OrderHash) -> Result<Vec<StoredVersion>, LineageError> {
        let mut found = Vec::new();
        // The entries of one order may begin in the block before the one that begins with it.
        let first = self.fences.partition_point(|(hash, _)| *hash < order).saturating_sub(1);
        for (number, (hash, start)) in self.fences.iter().enumerate().skip(first) {
            if *hash > order {
                break;
            }
            let end = self.fences.get(number + 1).map_or(self.blocks_end, |(_, next)| *next);
            let block = self.read(*start, end, "versions")?;
            self.scan(&block, order, &mut found).ok_or_else(|| self.damaged("versions"))?;
        }
        Ok(found)
    }

    fn scan(&self, block: &[u8], order: u64, found: &mut Vec<StoredVersion>) -> Option<()> {
        let mut reader = Reader(block);
        while !reader.0.is_empty() {
            let (hash, rest) = reader.0.split_first_chunk::<8>()?;
            reader = Reader(rest);
            let length = usize::try_from(reader.number()?).ok()?;
            let (version, rest) = reader.0.split_at_checked(length)?;
            reader = Reader(rest);
            if u64::from_le_bytes(*hash) == order {
                found.push(StoredVersion::parse(version)?);
            }
        }
        Some(())
    }

    fn outcomes(&self) -> Result<BTreeMap<Dt, LineOutcomes>, LineageError> {
        let bytes = self.read(self.blocks_end, self.outcomes_end, "outcomes")?;
        let parse = || {
            let (mut reader, mut all) = (Reader(&bytes), BTreeMap::new());
            while !reader.0.is_empty() {
                let (days, rest) = reader.0.split_first_chunk::<4>()?;
                reader = Reader(rest);
                let length = usize::try_from(reader.number()?).ok()?;
                let (outcomes, rest) = reader.0.split_at_checked(length)?;
                reader = Reader(rest);
                all.insert(Dt::from_days(i32::from_le_bytes(*days))?, LineOutcomes(outcomes.to_vec()));
            }
            Some(all)
        };
        parse().ok_or_else(|| self.damaged("outcomes"))
    }

    /// Where records come from, by their places in the run.
    fn sources(&self, records: &BTreeSet<u64>) -> Result<BTreeMap<u64, RecordSource>, LineageError> {
        let bytes = self.read(self.outcomes_end, self.origins_end, "origins")?;
        let (mut reader, mut pages) = (OriginReader { reader: Reader(&bytes), location: String::new() }, Vec::new());
        let (mut current, mut wanted): (Option<(u64, PageOrigin)>, _) = (None, records.iter().copied().peekable());
        while !reader.reader.0.is_empty() {
            let next = reader.page().ok_or_else(|| self.damaged("origins"))?;
            while let Some(record) = wanted.next_if(|record| *record <= next.0) {
                pages.extend(current.clone().map(|page| (record, page)));
            }
            current = Some(next);
        }
        pages.extend(wanted.filter_map(|record| Some((record, current.clone()?))));
        let source = |(record, (first, origin)): (u64, (u64, PageOrigin))| {
            let number = origin.number(record - first);
            (record, RecordSource { location: origin.location, page: origin.page, unit: origin.unit, number })
        };
        Ok(pages.into_iter().map(source).collect())
    }
}

/// Reads pages, each with the number of records before it.
struct OriginReader<'o> {
    reader: Reader<'o>,
    location: String,
}

impl OriginReader<'_> {
    fn page(&mut self) -> Option<(u64, PageOrigin)> {
        let first_record = self.reader.number()?;
        let shared = usize::try_from(self.reader.number()?).ok()?;
        if !self.location.is_char_boundary(shared) {
            return None;
        }
        self.location.truncate(shared);
        self.location.push_str(self.reader.text()?);
        let page = self.reader.number()?.checked_sub(1);
        let unit = *RecordUnit::VARIANTS.get(usize::from(self.reader.byte()?))?;
        let first = self.reader.number()?;
        let mut gaps = Vec::new();
        for _ in 0..self.reader.number()? {
            gaps.push(Gap { after: self.reader.number()?, units: self.reader.number()? });
        }
        Some((first_record, PageOrigin { location: self.location.clone(), page, unit, first, gaps }))
    }
}

/// The parts of a version that do not depend on the place of its batch in the run.
pub(super) fn write_version(out: &mut Vec<u8>, dt: Dt, updated_at: Option<UtcMicros>) {
    write_signed(out, dt.days().into());
    out.push(u8::from(updated_at.is_some()));
    if let Some(updated_at) = updated_at {
        write_signed(out, updated_at.micros());
    }
}

/// Adds a line to the version that was written last.
pub(super) fn write_sku(out: &mut Vec<u8>, sku: &str) {
    let sku = kept_sku(sku);
    write_number(out, sku.len() as u64);
    out.extend_from_slice(sku.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::order_hash;

    fn dt() -> Dt {
        "2026-01-31".parse().unwrap()
    }

    /// A version as a batch hands it on.
    fn push(builder: &mut LineageBuilder, id: &str, record: u64, updated_at: Option<i64>, skus: &[&str]) {
        let mut rest = Vec::new();
        write_version(&mut rest, dt(), updated_at.and_then(UtcMicros::new));
        skus.iter().for_each(|sku| write_sku(&mut rest, sku));
        let order = BatchOrder { hash: order_hash(id), record, segment: 0, row: record, lineage_end: rest.len() };
        builder.push(&order, record, record, &rest);
    }

    fn page(location: &str, unit: RecordUnit, first: u64) -> PageOrigin {
        PageOrigin { location: location.to_owned(), page: None, unit, first, gaps: Vec::new() }
    }

    fn written(builder: &mut LineageBuilder, folder: &Path, outcomes: &[LineOutcome]) -> PathBuf {
        let path = folder.join("0000000001-run.lineage");
        let outcomes = LineOutcomes::new(outcomes);
        let file = builder.write(&path, &[PartitionOutcomes { dt: dt(), lines: &outcomes, deleted: &[] }]).unwrap();
        assert_eq!(file, Fingerprint::of(&fs::read(&path).unwrap()));
        path
    }

    #[test]
    fn every_version_is_found_across_spills_blocks_and_pages() {
        let dir = tempfile::tempdir().unwrap();
        let mut builder = LineageBuilder::new(dir.path().to_owned());
        let outcomes: Vec<_> = (0..3000).map(|number| LineOutcome::VARIANTS[number % 7]).collect();
        for number in 0..3000 {
            if number % 500 == 0 {
                builder.push_page(number, &page(&format!("in/{number}.json"), RecordUnit::Element, 1));
            }
            // Two versions of each order, far from each other.
            push(&mut builder, &format!("O{}", number % 1500), number + 1, Some(1_000_000 + i64::try_from(number).unwrap()), &["x"]);
            if number % 700 == 699 {
                builder.spill().unwrap();
            }
        }
        let run = written(&mut builder, dir.path(), &outcomes);
        assert!(fs::metadata(&run).unwrap().len() > 4 * BLOCK as u64);
        for number in 0..1500 {
            let found = versions_in(&run, order_hash(&format!("O{number}"))).unwrap();
            let records: Vec<_> = found.iter().map(|version| version.record).collect();
            assert_eq!(records, [number + 1, number + 1501], "O{number}");
            for (version, number) in found.iter().zip([number, number + 1500]) {
                let source = version.source.as_ref().unwrap();
                assert_eq!(
                    (source.location.as_str(), source.number),
                    (format!("in/{}.json", number / 500 * 500).as_str(), number % 500 + 1)
                );
                // Row `record` of the partition, from 0: here the first line of record 1 is row 1.
                let expected = outcomes.get(usize::try_from(number).unwrap() + 1).copied().unwrap_or_default();
                assert_eq!((version.lines[0].outcome, version.dt), (expected, dt()));
                assert_eq!(version.updated_at.unwrap().micros(), 1_000_000 + i64::try_from(number).unwrap());
            }
        }
        assert_eq!(versions_in(&run, order_hash("nope")).unwrap(), []);
    }

    #[test]
    fn many_spills_are_read_through_few_files_and_versions_stay_in_source_order() {
        for spills in [MOST_STREAMS, MOST_STREAMS + 1, 2 * MOST_STREAMS + 5, 3 * MOST_STREAMS] {
            let dir = tempfile::tempdir().unwrap();
            let mut builder = LineageBuilder::new(dir.path().to_owned());
            builder.push_page(0, &page("a", RecordUnit::Line, 1));
            for spill in 0..spills as u64 {
                // One order has a version in each spill, the other in this one alone.
                push(&mut builder, "A", 2 * spill, None, &["x"]);
                push(&mut builder, &format!("B{spill}"), 2 * spill + 1, None, &["x"]);
                builder.spill().unwrap();
            }
            // The file is written again where another run was first.
            for _ in 0..2 {
                let run = written(&mut builder, dir.path(), &[LineOutcome::Inserted; 1]);
                let found = versions_in(&run, order_hash("A")).unwrap();
                assert!(found.iter().map(|version| version.record).eq((0..spills as u64).map(|spill| 2 * spill)), "{spills}");
                for spill in 0..spills as u64 {
                    let found = versions_in(&run, order_hash(&format!("B{spill}"))).unwrap();
                    assert_eq!(found.iter().map(|version| version.record).collect::<Vec<_>>(), [2 * spill + 1], "{spills}");
                }
                let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
                let files = names.filter(|path| path.extension().is_some_and(|extension| extension == "spill")).count();
                assert!(files == builder.spilled.len() && files <= MOST_STREAMS, "{files}");
            }
        }
    }

    #[test]
    fn a_spill_that_was_cut_is_an_error_and_no_shorter_lineage() {
        let dir = tempfile::tempdir().unwrap();
        let mut builder = LineageBuilder::new(dir.path().to_owned());
        builder.push_page(0, &page("a", RecordUnit::Line, 1));
        push(&mut builder, "A", 1, None, &["x", "y"]);
        builder.spill().unwrap();
        let whole = fs::read(&builder.spilled[0]).unwrap();
        for length in [1, 15, 16, whole.len() - 1] {
            fs::write(&builder.spilled[0], &whole[..length]).unwrap();
            assert!(builder.write(&dir.path().join("run.lineage"), &[]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_deleted_order_has_a_version_that_no_record_brought() {
        let dir = tempfile::tempdir().unwrap();
        let mut builder = LineageBuilder::new(dir.path().to_owned());
        builder.push_page(0, &page("a", RecordUnit::Line, 1));
        push(&mut builder, "A", 0, None, &["x"]);
        let lines = LineOutcomes::new(&[LineOutcome::Inserted, LineOutcome::Deleted, LineOutcome::Deleted]);
        let mut gone = DeletedVersion::new(order_hash("B"), 1, dt(), UtcMicros::new(7));
        gone.add_sku("y");
        gone.add_sku("z");
        let run = dir.path().join("0000000001-run.lineage");
        builder.write(&run, &[PartitionOutcomes { dt: dt(), lines: &lines, deleted: &[gone] }]).unwrap();
        let found = versions_in(&run, order_hash("B")).unwrap();
        let lines: Vec<_> = found[0].lines.iter().map(|line| (line.sku.as_str(), line.outcome)).collect();
        assert_eq!(lines, [("y", LineOutcome::Deleted), ("z", LineOutcome::Deleted)]);
        assert_eq!((found.len(), &found[0].source, found[0].updated_at), (1, &None, UtcMicros::new(7)));
        assert_eq!(versions_in(&run, order_hash("A")).unwrap()[0].lines[0].outcome, LineOutcome::Inserted);
    }

    #[test]
    fn a_damaged_byte_is_an_error_and_never_another_answer() {
        let dir = tempfile::tempdir().unwrap();
        let mut builder = LineageBuilder::new(dir.path().to_owned());
        builder.push_page(0, &page("a", RecordUnit::Line, 1));
        push(&mut builder, "A", 1, None, &["x", "y"]);
        let run = written(&mut builder, dir.path(), &[LineOutcome::Inserted; 3]);
        let whole = fs::read(&run).unwrap();
        let answer = versions_in(&run, order_hash("A")).unwrap();
        assert_eq!(answer[0].lines.len(), 2);
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x10;
            fs::write(&run, &bytes).unwrap();
            // The count of entries is not read back; all else is.
            assert!(versions_in(&run, order_hash("A")).is_err(), "byte {place}");
            fs::write(&run, &whole[..place]).unwrap();
            assert!(versions_in(&run, order_hash("A")).is_err(), "length {place}");
        }
    }

    #[test]
    fn gaps_of_a_page_count_before_the_records_that_follow_them() {
        let gaps = vec![Gap { after: 0, units: 2 }, Gap { after: 3, units: 1 }];
        let origin = PageOrigin { gaps, ..page("a", RecordUnit::Line, 10) };
        assert_eq!([1, 3, 4].map(|place| origin.number(place)), [12, 14, 16]);
    }

    #[test]
    fn a_long_sku_is_cut_at_a_character() {
        assert_eq!(kept_sku(&"ü".repeat(200)).len(), 254);
        assert_eq!(kept_sku("x"), "x");
    }
}
