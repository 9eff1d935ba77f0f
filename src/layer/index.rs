//! Which partitions hold an order, known without reading history: sorted files of (order hash, dt), searched in proportion
//! to the orders that are asked for.
//!
//! ```text
//! segment = magic (8) · block… · first hash of each block (u64)… · entries (u64) · XXH3 of magic, count and first hashes (u64)
//! block   = up to 512 × (hash u64 · dt i32) · XXH3 of these (u64)          all little-endian
//! ```
//! Segments of versions before commits have the count behind the magic. They are read as well.
//!
//! An entry may be stale (its order has left the partition): that costs a partition read in vain, never a wrong row. A
//! missing one would cost a doubled row, and so every byte that is looked at is checked, and a damaged index is rebuilt.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::LayerError;
use crate::{
    model::{Dt, OrderHash},
    store::{self, Fingerprint, StagedWriter, StoreError},
};

const MAGIC: &[u8; 8] = b"ETLIDX02";
/// The magic of segments whose count stands behind it.
const MAGIC_COUNT_FIRST: &[u8; 8] = b"ETLIDX01";
const ENTRY: usize = 12;
const BLOCK_ENTRIES: usize = 512;
const CHECKSUM: usize = 8;
const COUNT: usize = 8;

/// Entries that are held before they are spilled, where all of the history is read: 16 MiB.
const ENTRIES_IN_MEMORY: usize = 1 << 20;

/// Files that are read at once, at most: each takes a buffer and a descriptor, and a process may have few of these.
pub(super) const MOST_STREAMS: usize = 32;

/// An order and a partition that holds it.
pub type Entry = (OrderHash, Dt);

/// Each order with the partitions that hold it, by hash.
pub type OrderPartitions = (OrderHash, Vec<Dt>);

/// Collects the entries of a run in any order, in bounded memory, and gives them back sorted.
pub struct IndexBuilder {
    folder: PathBuf,
    entries: Vec<Entry>,
    spilled: Vec<PathBuf>,
    /// Files so far, also of those that are gone.
    files: usize,
}

impl IndexBuilder {
    /// An empty one that spills into `folder`.
    pub fn new(folder: PathBuf) -> IndexBuilder {
        IndexBuilder { folder, entries: Vec::new(), spilled: Vec::new(), files: 0 }
    }

    /// Takes an entry.
    pub fn push(&mut self, order: OrderHash, dt: Dt) {
        self.entries.push((order, dt));
    }

    /// Takes an entry, and moves entries to disk where there are many.
    ///
    /// # Errors
    /// I/O errors.
    pub(super) fn push_bounded(&mut self, order: OrderHash, dt: Dt) -> Result<(), LayerError> {
        self.push(order, dt);
        if self.entries.len() >= ENTRIES_IN_MEMORY { self.spill() } else { Ok(()) }
    }

    /// Moves what was taken to disk, sorted.
    ///
    /// # Errors
    /// I/O errors.
    pub fn spill(&mut self) -> Result<(), LayerError> {
        let entries = self.take_sorted();
        let path = self.new_file();
        write_segment(&path, entries.into_iter().map(Ok))?;
        self.spilled.push(path);
        Ok(())
    }

    fn new_file(&mut self) -> PathBuf {
        self.files += 1;
        self.folder.join(format!("orders-{:06}.idx", self.files))
    }

    /// Merges files until few are left.
    fn merge_spilled(&mut self) -> Result<(), LayerError> {
        while self.spilled.len() > MOST_STREAMS {
            let several: Vec<PathBuf> = self.spilled.drain(..MOST_STREAMS).collect();
            let mut streams: Vec<EntryStream<'_>> = Vec::with_capacity(several.len());
            for path in &several {
                streams.push(Box::new(SegmentReader::open(path)?));
            }
            let path = self.new_file();
            write_segment(&path, merged(streams)?)?;
            for path in &several {
                store::remove_file(path)?;
            }
            self.spilled.push(path);
        }
        Ok(())
    }

    fn take_sorted(&mut self) -> Vec<Entry> {
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_unstable();
        entries.dedup();
        entries
    }

    /// All entries, sorted, each once. May be called more than once.
    ///
    /// # Errors
    /// I/O errors; also while iterating.
    pub fn sorted(&mut self) -> Result<impl Iterator<Item = Result<Entry, LayerError>> + '_, LayerError> {
        self.merge_spilled()?;
        self.entries.sort_unstable();
        self.entries.dedup();
        let mut streams: Vec<EntryStream<'_>> = Vec::with_capacity(self.spilled.len() + 1);
        for path in &self.spilled {
            streams.push(Box::new(SegmentReader::open(path)?));
        }
        streams.push(Box::new(self.entries.iter().copied().map(Ok)));
        merged(streams)
    }
}

type EntryStream<'a> = Box<dyn Iterator<Item = Result<Entry, LayerError>> + 'a>;

/// Sorted streams as one, each entry once.
fn merged(mut streams: Vec<EntryStream<'_>>) -> Result<impl Iterator<Item = Result<Entry, LayerError>>, LayerError> {
    let mut heads = Vec::with_capacity(streams.len());
    for stream in &mut streams {
        heads.push(stream.next().transpose()?);
    }
    let mut last = None;
    Ok(std::iter::from_fn(move || {
        loop {
            // Few streams: a scan of their heads is as fast as a heap.
            let (least, entry) =
                heads.iter().enumerate().filter_map(|(stream, head)| head.map(|entry| (stream, entry))).min_by_key(|(_, entry)| *entry)?;
            match streams[least].next().transpose() {
                Ok(next) => heads[least] = next,
                Err(error) => {
                    heads.fill(None);
                    return Some(Err(error));
                }
            }
            if last.replace(entry) != Some(entry) {
                return Some(Ok(entry));
            }
        }
    }))
}

/// Sorted entries grouped by their order.
pub(super) fn by_order(
    mut entries: impl Iterator<Item = Result<Entry, LayerError>>,
) -> impl Iterator<Item = Result<OrderPartitions, LayerError>> {
    let mut head = None;
    std::iter::from_fn(move || {
        let (order, dt) = match head.take().or_else(|| entries.next())? {
            Ok(entry) => entry,
            Err(error) => return Some(Err(error)),
        };
        let mut partitions = vec![dt];
        for entry in entries.by_ref() {
            match entry {
                Ok((next, dt)) if next == order => partitions.push(dt),
                other => {
                    head = Some(other);
                    break;
                }
            }
        }
        Some(Ok((order, partitions)))
    })
}

/// Writes sorted entries as a segment. Its checksum is computed on the way.
pub(super) fn write_segment(path: &Path, entries: impl Iterator<Item = Result<Entry, LayerError>>) -> Result<SegmentFile, LayerError> {
    let failed = || StoreError::io("write", path);
    let mut file = StagedWriter::create(path)?;
    file.write_all(MAGIC).map_err(failed())?;
    let (mut firsts, mut block, mut count) = (Vec::new(), Vec::with_capacity(BLOCK_ENTRIES * ENTRY + CHECKSUM), 0_u64);
    for entry in entries {
        let (OrderHash(hash), dt) = entry?;
        if block.is_empty() {
            firsts.push(hash);
        }
        block.extend_from_slice(&hash.to_le_bytes());
        block.extend_from_slice(&dt.days().to_le_bytes());
        count += 1;
        if block.len() == BLOCK_ENTRIES * ENTRY {
            flush_block(&mut file, &mut block).map_err(failed())?;
        }
    }
    if !block.is_empty() {
        flush_block(&mut file, &mut block).map_err(failed())?;
    }
    let fences: Vec<u8> = firsts.iter().flat_map(|first: &u64| first.to_le_bytes()).collect();
    file.write_all(&fences).map_err(failed())?;
    file.write_all(&count.to_le_bytes()).map_err(failed())?;
    file.write_all(&fence_checksum(MAGIC, count, &fences).to_le_bytes()).map_err(failed())?;
    Ok(SegmentFile { count, file: file.finish()? })
}

/// The size of a segment with so many entries.
pub(super) fn segment_bytes(entries: u64) -> u64 {
    let ends = (MAGIC.len() + COUNT + CHECKSUM) as u64;
    ends + entries * ENTRY as u64 + entries.div_ceil(BLOCK_ENTRIES as u64) * (CHECKSUM + 8) as u64
}

/// What was written.
pub(super) struct SegmentFile {
    /// Its entries.
    pub(super) count: u64,
    pub(super) file: Fingerprint,
}

fn flush_block(file: &mut impl Write, block: &mut Vec<u8>) -> io::Result<()> {
    let checksum = xxh3_64(block);
    block.extend_from_slice(&checksum.to_le_bytes());
    file.write_all(block)?;
    block.clear();
    Ok(())
}

fn fence_checksum(magic: &[u8], count: u64, fences: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(magic);
    hasher.update(&count.to_le_bytes());
    hasher.update(fences);
    hasher.digest()
}

/// Where the parts of a segment are.
#[derive(Clone, Copy)]
struct Layout {
    count: u64,
    blocks_at: u64,
    fences_at: u64,
    fences: u64,
}

impl Layout {
    /// The layout of a file, if its size is that of its number of entries.
    ///
    /// # Errors
    /// I/O errors. Of a file that is too short, [`io::ErrorKind::UnexpectedEof`].
    fn read(file: &File) -> io::Result<Option<Layout>> {
        let size = file.metadata()?.len();
        let mut magic = [0; MAGIC.len()];
        file.read_exact_at(&mut magic, 0)?;
        let (count_at, blocks_at, tail) = match &magic {
            MAGIC => {
                let tail = (COUNT + CHECKSUM) as u64;
                let Some(count_at) = size.checked_sub(tail) else { return Ok(None) };
                (count_at, MAGIC.len() as u64, tail)
            }
            MAGIC_COUNT_FIRST => (MAGIC.len() as u64, (MAGIC.len() + COUNT) as u64, CHECKSUM as u64),
            _ => return Ok(None),
        };
        let mut count = [0; COUNT];
        file.read_exact_at(&mut count, count_at)?;
        let layout = Layout::of(u64::from_le_bytes(count), blocks_at);
        Ok(layout.filter(|layout| layout.fences_end().and_then(|end| end.checked_add(tail)) == Some(size)))
    }

    /// That of so many entries, whose first block begins at `blocks_at`; `None` where no file is so large.
    fn of(count: u64, blocks_at: u64) -> Option<Layout> {
        let blocks = count.div_ceil(BLOCK_ENTRIES as u64);
        let fences_at = blocks_at.checked_add(count.checked_mul(ENTRY as u64)?)?.checked_add(blocks.checked_mul(CHECKSUM as u64)?)?;
        Some(Layout { count, blocks_at, fences_at, fences: blocks.checked_mul(8)? })
    }

    fn fences_end(&self) -> Option<u64> {
        self.fences_at.checked_add(self.fences)
    }
}

/// A stored segment, open for look-ups.
pub struct Segment {
    file: File,
    path: PathBuf,
    layout: Layout,
    firsts: Vec<u64>,
    /// The block that was looked at last.
    block: Option<(usize, Vec<Entry>)>,
}

impl Segment {
    /// Opens a segment; `None` where it is missing or damaged, and the index must be rebuilt.
    ///
    /// # Errors
    /// A file that can't be opened or read: its entries are not known, and it is not as good as a missing one.
    pub fn open(path: &Path) -> Result<Option<Segment>, StoreError> {
        let Some(file) = store::open_file(path)? else { return Ok(None) };
        match Segment::read(file, path) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            read => read.map_err(StoreError::io("read", path)),
        }
    }

    /// Opens a segment that the run itself has written.
    ///
    /// # Errors
    /// I/O errors; [`LayerError::Changed`] where it is missing or not as it was written.
    pub(super) fn open_written(path: &Path) -> Result<Segment, LayerError> {
        Segment::open(path)?.ok_or_else(|| LayerError::Changed { path: path.to_owned() })
    }

    fn read(file: File, path: &Path) -> io::Result<Option<Segment>> {
        let Some(layout) = Layout::read(&file)? else { return Ok(None) };
        let Ok(length) = usize::try_from(layout.fences) else { return Ok(None) };
        let mut fences = vec![0; length];
        file.read_exact_at(&mut fences, layout.fences_at)?;
        let (mut magic, mut checksum) = ([0; MAGIC.len()], [0; CHECKSUM]);
        file.read_exact_at(&mut magic, 0)?;
        file.read_exact_at(&mut checksum, file.metadata()?.len().saturating_sub(CHECKSUM as u64))?;
        if fence_checksum(&magic, layout.count, &fences) != u64::from_le_bytes(checksum) {
            return Ok(None);
        }
        let firsts = fences.chunks_exact(8).filter_map(|bytes| bytes.try_into().ok().map(u64::from_le_bytes)).collect();
        Ok(Some(Segment { file, path: path.to_owned(), layout, firsts, block: None }))
    }

    /// How many entries there are.
    pub fn count(&self) -> u64 {
        self.layout.count
    }

    /// Appends the partitions that hold an order. Cheapest where the orders come sorted. `false` where the segment is damaged.
    pub fn look_up(&mut self, order: OrderHash, partitions: &mut Vec<Dt>) -> bool {
        // The entries of one order may begin in the block before the one that begins with it.
        let mut number = self.firsts.partition_point(|&first| first < order.0).saturating_sub(1);
        while number < self.firsts.len() && self.firsts[number] <= order.0 {
            let Some(block) = self.read_block(number) else { return false };
            let start = block.partition_point(|(hash, _)| *hash < order);
            partitions.extend(block[start..].iter().take_while(|(hash, _)| *hash == order).map(|(_, dt)| *dt));
            number += 1;
        }
        true
    }

    fn read_block(&mut self, number: usize) -> Option<&[Entry]> {
        if self.block.as_ref().is_none_or(|(held, _)| *held != number) {
            let entries = usize::try_from(self.layout.count).ok()? - number * BLOCK_ENTRIES;
            let mut bytes = vec![0; entries.min(BLOCK_ENTRIES) * ENTRY + CHECKSUM];
            let offset = (number * (BLOCK_ENTRIES * ENTRY + CHECKSUM)) as u64;
            self.file.read_exact_at(&mut bytes, self.layout.blocks_at + offset).ok()?;
            self.block = Some((number, parse_block(&bytes)?));
        }
        self.block.as_ref().map(|(_, block)| block.as_slice())
    }

    /// All entries, in order.
    pub(super) fn entries(&self) -> Result<EntryStream<'static>, LayerError> {
        Ok(Box::new(SegmentReader::open(&self.path)?))
    }
}

/// Several segments' entries as one sorted stream.
pub(super) fn merge_segments(segments: &[&Segment]) -> Result<impl Iterator<Item = Result<Entry, LayerError>> + use<>, LayerError> {
    merged(segments.iter().map(|segment| segment.entries()).collect::<Result<_, _>>()?)
}

/// The entries of a block, where its checksum is right.
fn parse_block(bytes: &[u8]) -> Option<Vec<Entry>> {
    let (entries, checksum) = bytes.split_at(bytes.len().checked_sub(CHECKSUM)?);
    if xxh3_64(entries) != u64::from_le_bytes(checksum.try_into().ok()?) {
        return None;
    }
    entries
        .chunks_exact(ENTRY)
        .map(|entry| {
            let hash = u64::from_le_bytes(entry[..8].try_into().ok()?);
            let dt = Dt::from_days(i32::from_le_bytes(entry[8..].try_into().ok()?))?;
            Some((OrderHash(hash), dt))
        })
        .collect()
}

/// Reads a segment from its beginning to its end.
struct SegmentReader {
    file: BufReader<File>,
    path: PathBuf,
    left: u64,
    block: std::vec::IntoIter<Entry>,
}

impl SegmentReader {
    fn open(path: &Path) -> Result<SegmentReader, LayerError> {
        let failed = || StoreError::io("read", path);
        let mut file = File::open(path).map_err(failed())?;
        let damaged = || failed()(io::Error::new(io::ErrorKind::InvalidData, "not a segment of the index"));
        let layout = Layout::read(&file).map_err(failed())?.ok_or_else(damaged)?;
        file.seek(SeekFrom::Start(layout.blocks_at)).map_err(failed())?;
        let file = BufReader::with_capacity(1 << 18, file);
        Ok(SegmentReader { file, path: path.to_owned(), left: layout.count, block: Vec::new().into_iter() })
    }

    fn next_block(&mut self) -> Result<(), LayerError> {
        let failed = || StoreError::io("read", self.path.clone());
        let entries = self.left.min(BLOCK_ENTRIES as u64);
        let mut bytes = vec![0; usize::try_from(entries).unwrap_or(0) * ENTRY + CHECKSUM];
        self.file.read_exact(&mut bytes).map_err(failed())?;
        let damaged = || failed()(io::Error::new(io::ErrorKind::InvalidData, "a block's checksum is wrong"));
        self.block = parse_block(&bytes).ok_or_else(damaged)?.into_iter();
        self.left -= entries;
        Ok(())
    }
}

impl Iterator for SegmentReader {
    type Item = Result<Entry, LayerError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.block.len() == 0
            && self.left > 0
            && let Err(error) = self.next_block()
        {
            self.left = 0;
            return Some(Err(error));
        }
        self.block.next().map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn dt(days: i32) -> Dt {
        Dt::from_days(days).unwrap()
    }

    fn segment(entries: &[(u64, i32)]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.idx");
        write_segment(&path, entries.iter().map(|&(hash, days)| Ok((OrderHash(hash), dt(days))))).unwrap();
        (dir, path)
    }

    fn partitions(segment: &mut Segment, hash: u64) -> Vec<i32> {
        let mut partitions = Vec::new();
        assert!(segment.look_up(OrderHash(hash), &mut partitions));
        partitions.into_iter().map(Dt::days).collect()
    }

    #[test]
    fn every_entry_is_found_and_no_other() {
        for count in [0, 1, 511, 512, 513, 5000] {
            let entries: Vec<_> = (0..count).map(|i| (i * 3, i32::try_from(i).unwrap())).collect();
            let (_dir, path) = segment(&entries);
            let mut segment = Segment::open(&path).unwrap().unwrap();
            assert_eq!(segment.count(), count);
            for &(hash, days) in &entries {
                assert_eq!(partitions(&mut segment, hash), [days]);
                assert_eq!(partitions(&mut segment, hash + 1), [0; 0]);
            }
            assert_eq!(
                segment.entries().unwrap().map(|entry| entry.unwrap().0.0).collect::<Vec<_>>(),
                entries.iter().map(|entry| entry.0).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn an_order_whose_entries_span_blocks_is_found_whole() {
        let entries: Vec<_> = (0..500).map(|i| (1, i)).chain((0..1500).map(|i| (7, i))).chain([(9, 0)]).collect();
        let (_dir, path) = segment(&entries);
        let mut segment = Segment::open(&path).unwrap().unwrap();
        assert_eq!(partitions(&mut segment, 7), (0..1500).collect::<Vec<_>>());
        assert_eq!(partitions(&mut segment, 9), [0]);
    }

    #[test]
    fn damage_is_seen_wherever_it_is() {
        let entries: Vec<_> = (0..1000).map(|i| (i, 1)).collect();
        let (_dir, path) = segment(&entries);
        let good = fs::read(&path).unwrap();
        for place in (0..good.len()).step_by(97).chain([good.len() - 1]) {
            let mut bad = good.clone();
            bad[place] ^= 1;
            fs::write(&path, &bad).unwrap();
            let opened = Segment::open(&path).unwrap();
            let seen = opened.is_none_or(|mut segment| !(0..1000).all(|hash| segment.look_up(OrderHash(hash), &mut Vec::new())));
            assert!(seen, "byte {place}");
        }
        for length in [good.len() - 1, 500, 9, 8, 7, 0] {
            fs::write(&path, &good[..length]).unwrap();
            assert!(Segment::open(&path).unwrap().is_none(), "{length}");
            assert!(matches!(Segment::open_written(&path), Err(LayerError::Changed { .. })), "{length}");
        }
    }

    #[test]
    fn a_segment_that_cannot_be_read_is_an_error_and_a_missing_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        // A folder can be opened, and not be read, whoever the user is.
        let error = Segment::open(dir.path()).map(drop).unwrap_err();
        assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
        let missing = dir.path().join("missing.idx");
        assert!(Segment::open(&missing).unwrap().is_none());
        assert!(matches!(Segment::open_written(&missing), Err(LayerError::Changed { .. })));
    }

    #[test]
    fn many_spills_are_read_through_few_files() {
        let dir = tempfile::tempdir().unwrap();
        let mut builder = IndexBuilder::new(dir.path().join("scratch"));
        let spills = 2 * MOST_STREAMS as u64 + 5;
        for spill in 0..spills {
            // Each shares an entry with the next one.
            (spill * 3..spill * 3 + 4).rev().for_each(|hash| builder.push(OrderHash(hash), dt(1)));
            builder.spill().unwrap();
        }
        for _ in 0..2 {
            let all: Vec<u64> = builder.sorted().unwrap().map(|entry| entry.unwrap().0.0).collect();
            assert!(all.into_iter().eq(0..=spills * 3));
            let files = fs::read_dir(dir.path().join("scratch")).unwrap().count();
            assert!(files == builder.spilled.len() && files <= MOST_STREAMS, "{files}");
        }
        builder.push(OrderHash(1_000_000), dt(1));
        builder.spill().unwrap();
        assert_eq!(builder.sorted().unwrap().count() as u64, spills * 3 + 2);
    }

    #[test]
    fn spilled_entries_come_back_sorted_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut builder = IndexBuilder::new(dir.path().join("scratch"));
        for round in 0..3 {
            for hash in (0..1000_u64).rev().filter(|hash| hash % 3 != round) {
                builder.push(OrderHash(hash), dt(i32::try_from(hash % 2).unwrap()));
            }
            if round < 2 {
                builder.spill().unwrap();
            }
        }
        builder.push(OrderHash(5), dt(9));
        let all: Vec<_> = builder.sorted().unwrap().map(Result::unwrap).collect();
        assert_eq!(all.len(), 1001);
        assert!(all.is_sorted());
        let five = by_order(builder.sorted().unwrap()).map(Result::unwrap).find(|(order, _)| order.0 == 5).unwrap();
        assert_eq!(five.1, [dt(1), dt(9)]);
    }
}
