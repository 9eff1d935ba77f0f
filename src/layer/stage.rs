//! The lines of a run on their way to their partitions: kept in memory up to a bound, beyond that spilled by partition.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::Arc,
};

use polars::prelude::DataFrame;

use super::{
    CutBatch, CutRefunds, CutSide, DroppedParts, IndexBuilder, LayerError, LineageBuilder, PageOrigin, PartitionRows, StagedSide,
    UnreadRefunds, side_fact::SideRow, staged_rows::Segment, staged_side,
};
use crate::{
    model::{Dt, FactSchema, OrderHash, OrderTotal, Refund, UtcMicros, order_hash},
    store::StoreError,
};

/// Bytes that are held before they are spilled: those of half a million rows or so. More is slower: memory that is used again
/// is cheaper than memory that is asked for.
const BYTES_IN_MEMORY: usize = 64 << 20;

/// After this many spills, `finish` spills the remaining lines too: the extra time is small.
const MANY_SPILLS: usize = 8;

/// Some lines of a partition, and the number of the record that theirs are counted from.
struct Part {
    rows: usize,
    base: u64,
    place: Place,
}

/// Where a part lies.
enum Place {
    /// In memory, as all of a small run does.
    Memory(Box<[u8]>),
    /// At a place of a spill file. It is opened to be read: a long run has more of these files than it may have open.
    Spilled { path: Arc<PathBuf>, offset: u64, bytes: usize },
}

impl Place {
    /// How many bytes lie there.
    fn len(&self) -> usize {
        match self {
            Place::Memory(bytes) => bytes.len(),
            Place::Spilled { bytes, .. } => *bytes,
        }
    }
}

/// Takes batches of lines in source order.
pub struct Stage {
    folder: PathBuf,
    schema: FactSchema,
    /// Bytes in memory.
    held: usize,
    bound: usize,
    /// Records that came by.
    records: u64,
    parts: BTreeMap<Dt, Vec<Part>>,
    /// The totals of orders.
    totals: BTreeMap<Dt, Vec<Part>>,
    /// Refunds, by their own days.
    refunds: BTreeMap<Dt, Vec<Part>>,
    /// The orders that they belong to.
    refunded: HashSet<OrderHash>,
    unread_refunds: UnreadRefunds,
    /// The days of the refunds of each order.
    refund_days: IndexBuilder,
    /// Rows of each partition so far.
    rows: BTreeMap<Dt, u64>,
    index: IndexBuilder,
    lineage: LineageBuilder,
    dropped: DroppedParts,
    emptied: Vec<EmptiedVersion>,
    spills: usize,
}

/// A version of an order that has no lines (`merge = "order"`): if it is the newest, the order has no rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EmptiedVersion {
    /// The order.
    pub order_id: String,
    /// When it was changed, in microseconds.
    pub(super) updated_at: Option<i64>,
    /// The number of its record in the run.
    pub(super) seq: u64,
}

/// All that a stage has taken.
pub struct FinishedStage {
    /// The lines, by partition.
    pub lines: StagedLines,
    /// The partitions of every order that came by.
    pub orders: IndexBuilder,
    /// The days of the refunds of every order that came by.
    pub refund_days: IndexBuilder,
    /// Which record brought which version of an order.
    pub lineage: LineageBuilder,
}

/// How much a run has for a partition.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct StagedSize {
    /// Its lines.
    pub rows: u64,
    /// Their bytes, staged.
    pub bytes: u64,
}

/// All lines of a run, by partition.
pub struct StagedLines {
    schema: FactSchema,
    /// The lines that are missing in records of the run.
    dropped: DroppedParts,
    emptied: Vec<EmptiedVersion>,
    parts: BTreeMap<Dt, Vec<Part>>,
    totals: BTreeMap<Dt, Vec<Part>>,
    refunds: BTreeMap<Dt, Vec<Part>>,
    refunded: HashSet<OrderHash>,
    unread_refunds: UnreadRefunds,
}

impl Stage {
    /// An empty stage that spills into `folder`, where all of the run is to make do with so much memory.
    pub fn new(folder: PathBuf, schema: FactSchema, memory_limit: Option<u64>) -> Stage {
        let (index, lineage) = (IndexBuilder::new(folder.clone()), LineageBuilder::new(folder.clone()));
        let refund_days = IndexBuilder::new(folder.join("refunds"));
        let share = memory_limit.map_or(usize::MAX, |limit| usize::try_from(limit / 6).unwrap_or(usize::MAX));
        let bound = BYTES_IN_MEMORY.min(share);
        Stage {
            folder,
            schema,
            held: 0,
            bound,
            records: 0,
            parts: BTreeMap::new(),
            totals: BTreeMap::new(),
            refunds: BTreeMap::new(),
            refunded: HashSet::new(),
            unread_refunds: UnreadRefunds::default(),
            refund_days,
            rows: BTreeMap::new(),
            index,
            lineage,
            dropped: DroppedParts::default(),
            emptied: Vec::new(),
            spills: 0,
        }
    }

    /// Takes the next lines of the source, their records counted from the batch's own beginning, and where they come from.
    ///
    /// # Errors
    /// I/O errors.
    pub fn push(&mut self, batch: CutBatch, origin: &PageOrigin) -> Result<(), LayerError> {
        self.lineage.push_page(self.records, origin);
        let mut placed = Vec::with_capacity(batch.segments.len());
        for (dt, Segment { bytes, rows }) in batch.segments {
            self.held += bytes.len();
            self.parts.entry(dt).or_default().push(Part { rows, base: self.records, place: Place::Memory(bytes) });
            let before = self.rows.entry(dt).or_default();
            placed.push((dt, *before));
            *before += rows as u64;
        }
        let (mut start, mut last) = (0, None);
        for order in batch.orders {
            let (dt, rows_before) = placed[order.segment];
            if last.replace((order.hash, dt)) != Some((order.hash, dt)) {
                self.index.push(order.hash, dt);
            }
            let rest = &batch.lineage[start..order.lineage_end];
            self.lineage.push(&order, self.records + order.record, rows_before + order.row, rest);
            start = order.lineage_end;
        }
        self.held += batch.lineage.len();
        self.records += batch.records;
        if self.held < self.bound { Ok(()) } else { self.spill_all() }
    }

    /// Moves all that grows with the source to disk.
    fn spill_all(&mut self) -> Result<(), LayerError> {
        self.spill()?;
        self.lineage.spill()?;
        self.refund_days.spill()?;
        self.index.spill()
    }

    /// Takes the totals of the batch that follows.
    pub fn push_totals(&mut self, totals: CutSide) {
        self.held += push_side(&mut self.totals, totals, self.records);
    }

    /// Takes the refunds of the batch that follows.
    pub fn push_refunds(&mut self, CutRefunds { rows, orders, unread }: CutRefunds) {
        self.unread_refunds.absorb(&unread, self.records);
        self.held += push_side(&mut self.refunds, rows, self.records);
        for (order, dt) in orders {
            self.refunded.insert(order);
            self.refund_days.push(order, dt);
        }
    }

    /// Notes a dropped line of the batch that follows.
    pub fn push_dropped_line(&mut self, record_number: u64, sku: Option<&str>) {
        self.dropped.push(self.records + record_number, sku);
    }

    /// Notes an order of the batch that follows that has lost all its lines.
    pub fn push_emptied(&mut self, record_number: u64, order_id: String, dt: Dt, updated_at: Option<UtcMicros>) {
        self.index.push(order_hash(&order_id), dt);
        let (updated_at, seq) = (updated_at.map(UtcMicros::micros), self.records + record_number);
        self.emptied.push(EmptiedVersion { order_id, updated_at, seq });
    }

    /// Ends the staging. A large run then holds no lines: the merge has the memory for itself.
    ///
    /// # Errors
    /// I/O errors.
    pub fn finish(mut self) -> Result<FinishedStage, LayerError> {
        if self.spills >= MANY_SPILLS {
            self.spill_all()?;
            self.lineage.let_go_of_room();
        }
        Ok(FinishedStage {
            lines: StagedLines {
                schema: self.schema,
                dropped: self.dropped,
                emptied: self.emptied,
                parts: self.parts,
                totals: self.totals,
                refunds: self.refunds,
                refunded: self.refunded,
                unread_refunds: self.unread_refunds,
            },
            orders: self.index,
            refund_days: self.refund_days,
            lineage: self.lineage,
        })
    }

    /// Moves all that is held to one file, partition by partition.
    fn spill(&mut self) -> Result<(), LayerError> {
        self.spills += 1;
        let path = Arc::new(self.folder.join(format!("lines-{:06}.rows", self.spills)));
        fs::create_dir_all(&self.folder).map_err(StoreError::io("create the folder", &self.folder))?;
        let failed = || StoreError::io("write", path.as_path());
        let mut writer = BufWriter::with_capacity(1 << 20, File::create(path.as_path()).map_err(failed())?);
        let mut offset = 0;
        for part in self.parts.values_mut().chain(self.totals.values_mut()).chain(self.refunds.values_mut()).flatten() {
            let Place::Memory(held) = &part.place else { continue };
            writer.write_all(held).map_err(failed())?;
            let bytes = held.len();
            part.place = Place::Spilled { path: path.clone(), offset, bytes };
            offset += bytes as u64;
        }
        writer.into_inner().map_err(|error| failed()(error.into_error()))?;
        self.held = 0;
        Ok(())
    }
}

impl StagedLines {
    /// The partitions that the run has lines for.
    pub fn partitions(&self) -> impl Iterator<Item = Dt> + '_ {
        self.parts.keys().copied()
    }

    /// The lines that are missing in records of the run.
    pub fn dropped_lines(&self) -> &DroppedParts {
        &self.dropped
    }

    /// The versions of orders that have no lines.
    pub fn emptied(&self) -> &[EmptiedVersion] {
        &self.emptied
    }

    /// Whether the run has lines for a partition.
    pub fn has(&self, dt: Dt) -> bool {
        self.parts.contains_key(&dt)
    }

    /// What the run has for a partition.
    pub fn size(&self, dt: Dt) -> StagedSize {
        let parts = self.parts.get(&dt).map_or(&[][..], Vec::as_slice);
        parts.iter().fold(StagedSize::default(), |size, part| StagedSize {
            rows: size.rows + part.rows as u64,
            bytes: size.bytes + part.place.len() as u64,
        })
    }

    /// All lines of a partition, in source order. `None` where the run has none.
    ///
    /// # Errors
    /// I/O errors.
    pub fn load(&self, dt: Dt) -> Result<Option<PartitionRows>, LayerError> {
        let Some(parts) = self.parts.get(&dt) else { return Ok(None) };
        let mut rows = PartitionRows::new(&self.schema);
        rows.reserve(parts.iter().map(|part| part.rows).sum(), parts.iter().map(|part| part.place.len()).sum());
        read_parts(parts, |bytes, base| rows.push_segment(bytes, base))?;
        Ok(Some(rows))
    }

    /// The same as a frame: the columns of the fact and [`crate::model::SEQ`], in one chunk.
    ///
    /// # Errors
    /// I/O errors; errors of Polars.
    pub fn load_frame(&self, dt: Dt) -> Result<Option<DataFrame>, LayerError> {
        self.load(dt)?.map(|rows| rows.to_frame(&self.schema)).transpose()
    }

    /// The totals of the orders of a partition, in source order.
    ///
    /// # Errors
    /// What the disk refuses.
    pub fn load_totals(&self, dt: Dt) -> Result<Vec<StagedSide<OrderTotal>>, LayerError> {
        load_side(self.totals.get(&dt))
    }

    /// Whether the run has totals for a partition.
    pub fn has_totals(&self, dt: Dt) -> bool {
        self.totals.contains_key(&dt)
    }

    /// The refunds of a day, in source order.
    ///
    /// # Errors
    /// What the disk refuses.
    pub fn load_refunds(&self, dt: Dt) -> Result<Vec<StagedSide<Refund>>, LayerError> {
        load_side(self.refunds.get(&dt))
    }

    /// The days that the run has refunds for.
    pub fn refund_days(&self) -> impl Iterator<Item = Dt> + '_ {
        self.refunds.keys().copied()
    }

    /// The refunds of the run that can't be read.
    pub fn unread_refunds(&self) -> &UnreadRefunds {
        &self.unread_refunds
    }

    /// The orders that the run has refunds for.
    pub fn refunded(&self) -> &HashSet<OrderHash> {
        &self.refunded
    }
}

/// Takes the rows of a side fact of the batch whose records are counted from `base`. Returns how many bytes they are.
fn push_side(parts: &mut BTreeMap<Dt, Vec<Part>>, cut: CutSide, base: u64) -> usize {
    let mut held = 0;
    for (dt, Segment { bytes, rows }) in cut.segments {
        held += bytes.len();
        parts.entry(dt).or_default().push(Part { rows, base, place: Place::Memory(bytes) });
    }
    held
}

fn load_side<R: SideRow>(parts: Option<&Vec<Part>>) -> Result<Vec<StagedSide<R>>, LayerError> {
    let Some(parts) = parts else { return Ok(Vec::new()) };
    let mut rows = Vec::with_capacity(parts.iter().map(|part| part.rows).sum());
    read_parts(parts, |bytes, base| staged_side::decode(bytes, base, &mut rows))?;
    Ok(rows)
}

/// Reads the parts of a partition, one after the other. `decode` gets the bytes of each, and the number that its records are counted
/// from.
fn read_parts(parts: &[Part], mut decode: impl FnMut(&[u8], u64) -> Option<()>) -> Result<(), LayerError> {
    let (mut spill, mut spilled) = (None, Vec::new());
    for part in parts {
        let (bytes, path) = match &part.place {
            Place::Memory(bytes) => (&bytes[..], None),
            Place::Spilled { path, offset, bytes } => {
                spilled.resize(*bytes, 0);
                OpenSpill::of(&mut spill, path)?.read(&mut spilled, *offset)?;
                (&spilled[..], Some(path))
            }
        };
        decode(bytes, part.base).ok_or_else(|| {
            let path = path.map_or_else(PathBuf::new, |path| path.to_path_buf());
            StoreError::io("read", path)(io::Error::new(io::ErrorKind::InvalidData, "what was spilled has changed"))
        })?;
    }
    Ok(())
}

/// The one spill file that is open while a partition is read. The parts of a partition lie in the order of the spills.
struct OpenSpill<'p> {
    path: &'p Arc<PathBuf>,
    file: File,
}

impl<'p> OpenSpill<'p> {
    /// The open file of this path; opened only where it is not the one of the part before.
    fn of<'s>(open: &'s mut Option<OpenSpill<'p>>, path: &'p Arc<PathBuf>) -> Result<&'s OpenSpill<'p>, StoreError> {
        let spill = match open.take() {
            Some(spill) if Arc::ptr_eq(spill.path, path) => spill,
            _ => OpenSpill { path, file: File::open(path.as_path()).map_err(StoreError::io("read", path.as_path()))? },
        };
        Ok(open.insert(spill))
    }

    /// Fills `bytes` with what lies at `offset`.
    fn read(&self, bytes: &mut [u8], offset: u64) -> Result<(), StoreError> {
        self.file.read_exact_at(bytes, offset).map_err(StoreError::io("read", self.path.as_path()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::layer::RecordUnit;
    use crate::model::{FactBuilder, FactRows, Line, SEQ, UtcMicros};

    fn batch(rows: usize, first: usize) -> CutBatch {
        let mut builder = FactBuilder::new(&FactSchema::default(), rows);
        for row in first..first + rows {
            builder.begin_record();
            let order_id = format!("order number {row}");
            let line = Line {
                currency: Some("EUR"),
                quantity: i64::try_from(row).unwrap().into(),
                price_defaulted: row % 2 == 0,
                created_at: UtcMicros::new(i64::try_from(row % 3).unwrap() * UtcMicros::DAY).unwrap(),
                ..Line::of_key(&order_id, "s")
            };
            builder.push(&line, []);
        }
        let last_record = builder.record();
        CutBatch::new(&builder.finish().unwrap(), last_record).unwrap()
    }

    #[test]
    fn a_run_that_has_spilled_often_holds_no_lines_at_its_end() {
        for (batches, holds) in [(MANY_SPILLS - 1, true), (MANY_SPILLS, false)] {
            let dir = tempfile::tempdir().unwrap();
            let mut stage = Stage::new(dir.path().join("scratch"), FactSchema::default(), None);
            let origin = PageOrigin { location: "a".into(), page: None, unit: RecordUnit::Line, first: 1, gaps: Vec::new() };
            stage.bound = 1;
            for number in 0..batches {
                stage.push(batch(30, number * 30), &origin).unwrap();
            }
            stage.bound = usize::MAX;
            stage.push(batch(30, batches * 30), &origin).unwrap();
            let staged = stage.finish().unwrap().lines;
            assert_eq!(staged.parts.values().flatten().any(|part| matches!(part.place, Place::Memory(_))), holds, "{batches}");
            let rows: Vec<_> = staged.partitions().map(|dt| staged.load(dt).unwrap().unwrap()).collect();
            let mut numbers: Vec<_> =
                rows.iter().flat_map(|rows| (0..rows.len()).map(move |row| rows.line(row).quantity.units())).collect();
            numbers.sort_unstable();
            assert!(numbers.into_iter().eq(0..i64::try_from(30 * (batches + 1)).unwrap()));
            let size = staged.size(Dt::from_days(0).unwrap());
            assert!(size.rows == 10 * (batches as u64 + 1) && size.bytes > 0, "{size:?}");
        }
    }

    /// The files beneath a folder that this process has open.
    fn open_files(folder: &Path) -> usize {
        let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
        open.filter(|open| fs::read_link(open.path()).is_ok_and(|file| file.starts_with(folder))).count()
    }

    #[test]
    fn no_spill_stays_open_however_many_there_are() {
        let dir = tempfile::tempdir().unwrap();
        let mut stage = Stage::new(dir.path().join("scratch"), FactSchema::default(), None);
        let origin = PageOrigin { location: "a".into(), page: None, unit: RecordUnit::Line, first: 1, gaps: Vec::new() };
        stage.bound = 1;
        for number in 0..20 {
            stage.push(batch(30, number * 30), &origin).unwrap();
        }
        assert_eq!((stage.spills, open_files(dir.path())), (20, 0));
        let staged = stage.finish().unwrap().lines;
        let rows: usize = staged.partitions().map(|dt| staged.load(dt).unwrap().unwrap().len()).sum();
        assert_eq!((rows, open_files(dir.path())), (600, 0));
        let lines = dir.path().join("scratch/lines-000007.rows");
        fs::remove_file(&lines).unwrap();
        let error = staged.load(Dt::from_days(0).unwrap()).map(drop).unwrap_err();
        assert!(error.to_string().contains("lines-000007.rows"), "{error}");
    }

    #[test]
    fn what_is_spilled_and_what_is_not_come_back_together_in_source_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut stage = Stage::new(dir.path().join("scratch"), FactSchema::default(), None);
        let first = batch(1000, 0);
        let size: usize = first.segments.iter().map(|(_, segment)| segment.bytes.len()).sum();
        stage.bound = 2 * size;
        let origin = PageOrigin { location: "a".into(), page: None, unit: RecordUnit::Line, first: 1, gaps: Vec::new() };
        stage.push(first, &origin).unwrap();
        for number in 1..5 {
            stage.push(batch(1000, number * 1000), &origin).unwrap();
        }
        let staged = stage.finish().unwrap().lines;
        assert!(dir.path().join("scratch/lines-000002.rows").exists());
        let mut rows = 0;
        for dt in staged.partitions() {
            let frame = staged.load_frame(dt).unwrap().unwrap();
            let seq: Vec<_> = frame.column(SEQ).unwrap().u64().unwrap().into_no_null_iter().collect();
            let lines = FactRows::new(&frame).unwrap();
            let compact = staged.load(dt).unwrap().unwrap();
            assert!((0..lines.len()).all(|row| (compact.line(row), compact.seq(row)) == (lines.line(row), seq[row])));
            assert_eq!(compact.len(), lines.len());
            assert!(seq.is_sorted() && seq.windows(2).all(|pair| pair[0] < pair[1]));
            // Every batch counts its records from 1 on, and one is left out between two of them.
            let number = |row: usize| seq[row] - 1 - (seq[row] - 1) / 1001;
            assert!(
                (0..lines.len())
                    .all(|row| lines.line(row).quantity == i64::try_from(number(row)).unwrap().into() && lines.line(row).dt() == dt)
            );
            rows += lines.len();
        }
        assert_eq!(rows, 5000);
        assert!(staged.load("2026-01-01".parse().unwrap()).unwrap().is_none());
        // A spill file that somebody changes is an error and no row.
        std::fs::write(dir.path().join("scratch/lines-000001.rows"), vec![0xff; 2 * size]).unwrap();
        let day = Dt::from_days(0).unwrap();
        for error in [staged.load(day).map(drop).unwrap_err(), staged.load_frame(day).map(drop).unwrap_err()] {
            assert!(error.to_string().contains("lines-000001.rows"), "{error}");
        }
    }
}
