//! The lines of a run on their way to their partitions: kept in memory up to a bound, beyond that spilled by partition.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufWriter, Cursor, Write},
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::Arc,
};

use polars::prelude::*;

use super::{IndexBuilder, LayerError};
use crate::{
    model::{Dt, SEQ, UtcMicros, order_hash},
    store::StoreError,
};

/// Rows that are held before they are spilled: about 200 bytes each.
const ROWS_IN_MEMORY: usize = 400_000;

/// Where a part of a partition's lines lies.
enum Part {
    /// In memory, as all of a small run does.
    Memory(DataFrame),
    /// In a spill file: one Arrow IPC stream at a place of it.
    Spilled { file: Arc<File>, path: PathBuf, offset: u64, bytes: usize },
}

/// What joins add to a frame of lines before it is cut by partition.
pub type Enrich<'a> = dyn Fn(DataFrame) -> Result<DataFrame, LayerError> + 'a;

/// Takes frames of lines in source order.
pub struct Stage<'a> {
    folder: PathBuf,
    enrich: Box<Enrich<'a>>,
    pending: Vec<DataFrame>,
    pending_rows: usize,
    /// Records that came by.
    records: u64,
    parts: BTreeMap<Dt, Vec<Part>>,
    index: IndexBuilder,
    spills: usize,
}

/// All lines of a run, by partition.
pub struct StagedLines {
    parts: BTreeMap<Dt, Vec<Part>>,
}

impl<'a> Stage<'a> {
    /// An empty stage that spills into `folder`.
    pub fn new(folder: PathBuf, enrich: Box<Enrich<'a>>) -> Stage<'a> {
        let index = IndexBuilder::new(folder.clone());
        Stage { folder, enrich, pending: Vec::new(), pending_rows: 0, records: 0, parts: BTreeMap::new(), index, spills: 0 }
    }

    /// Takes the next lines of the source: a frame as [`crate::model::FactBuilder`] makes it, its records counted from its own
    /// beginning.
    ///
    /// # Errors
    /// What the disk or Polars refuses.
    pub fn push(&mut self, mut lines: DataFrame) -> Result<(), LayerError> {
        if lines.height() == 0 {
            return Ok(());
        }
        let seq: Vec<u64> = lines.column(SEQ)?.u64()?.iter().map(|record| self.records + record.unwrap_or_default()).collect();
        self.records = seq.last().map_or(self.records, |last| last + 1);
        lines.with_column(UInt64Chunked::from_vec(SEQ.into(), seq).into_column())?;
        self.pending_rows += lines.height();
        self.pending.push(lines);
        if self.pending_rows < ROWS_IN_MEMORY {
            return Ok(());
        }
        let cut = self.cut_pending()?;
        self.spill(cut)?;
        self.index.spill()
    }

    /// Ends the staging. The index builder holds the partitions of every order that came by.
    ///
    /// # Errors
    /// What the disk or Polars refuses.
    pub fn finish(mut self) -> Result<(StagedLines, IndexBuilder), LayerError> {
        for (dt, lines) in self.cut_pending()? {
            self.parts.entry(dt).or_default().push(Part::Memory(lines));
        }
        Ok((StagedLines { parts: self.parts }, self.index))
    }

    /// Joins the pending frames, enriches them, and cuts them by partition, each in source order.
    fn cut_pending(&mut self) -> Result<Vec<(Dt, DataFrame)>, LayerError> {
        let mut frames = std::mem::take(&mut self.pending).into_iter();
        self.pending_rows = 0;
        let Some(mut all) = frames.next() else { return Ok(Vec::new()) };
        for frame in frames {
            all.vstack_mut_owned(frame)?;
        }
        all.rechunk_mut_par();
        let all = (self.enrich)(all)?;
        let places = self.places(&all)?;
        let mut cut = Vec::with_capacity(places.len());
        for (dt, rows) in places {
            let whole = rows.len() == all.height();
            cut.push((dt, if whole { all.clone() } else { all.take(&IdxCa::from_vec("".into(), rows))? }));
        }
        Ok(cut)
    }

    /// The rows of each partition; on the way, each order goes to the index.
    fn places(&mut self, frame: &DataFrame) -> Result<BTreeMap<Dt, Vec<IdxSize>>, LayerError> {
        let created_at = frame.column("created_at")?.datetime()?.physical();
        let order_id = frame.column("order_id")?.str()?;
        let mut places: BTreeMap<Dt, Vec<IdxSize>> = BTreeMap::new();
        let mut last: Option<(&str, Dt)> = None;
        for (row, (created_at, order_id)) in created_at.iter().zip(order_id.iter()).enumerate() {
            let instant = created_at.and_then(UtcMicros::new).unwrap_or(UtcMicros::MIN);
            let (dt, order_id) = (Dt::of(instant), order_id.unwrap_or_default());
            places.entry(dt).or_default().push(IdxSize::try_from(row).unwrap_or(IdxSize::MAX));
            if last != Some((order_id, dt)) {
                self.index.push(order_hash(order_id), dt);
                last = Some((order_id, dt));
            }
        }
        Ok(places)
    }

    fn spill(&mut self, cut: Vec<(Dt, DataFrame)>) -> Result<(), LayerError> {
        self.spills += 1;
        let path = self.folder.join(format!("lines-{:06}.arrow", self.spills));
        fs::create_dir_all(&self.folder).map_err(StoreError::io("create the folder", &self.folder))?;
        let failed = || StoreError::io("write", path.clone());
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&path).map_err(failed())?);
        let mut offset = 0;
        let mut written = Vec::with_capacity(cut.len());
        for (dt, mut lines) in cut {
            let mut stream = Vec::new();
            // The oldest level writes texts one after the other, and so only those of this partition.
            IpcStreamWriter::new(&mut stream).with_compat_level(CompatLevel::oldest()).finish(&mut lines)?;
            file.write_all(&stream).map_err(failed())?;
            written.push((dt, offset, stream.len()));
            offset += stream.len() as u64;
        }
        file.into_inner().map_err(|error| failed()(error.into_error()))?;
        let file = Arc::new(File::open(&path).map_err(failed())?);
        for (dt, offset, bytes) in written {
            self.parts.entry(dt).or_default().push(Part::Spilled { file: file.clone(), path: path.clone(), offset, bytes });
        }
        Ok(())
    }
}

impl StagedLines {
    /// The partitions that the run has lines for.
    pub fn partitions(&self) -> impl Iterator<Item = Dt> + '_ {
        self.parts.keys().copied()
    }

    /// All lines of a partition, in source order: the columns of the fact and [`SEQ`], in one chunk. `None` where the
    /// run has none.
    ///
    /// # Errors
    /// What the disk or Polars refuses.
    pub fn load(&self, dt: Dt) -> Result<Option<DataFrame>, LayerError> {
        let mut all: Option<DataFrame> = None;
        for part in self.parts.get(&dt).into_iter().flatten() {
            let frame = match part {
                Part::Memory(frame) => frame.clone(),
                Part::Spilled { file, path, offset, bytes } => {
                    let mut stream = vec![0; *bytes];
                    file.read_exact_at(&mut stream, *offset).map_err(StoreError::io("read", path))?;
                    IpcStreamReader::new(Cursor::new(stream)).finish()?
                }
            };
            match &mut all {
                Some(all) => {
                    all.vstack_mut_owned(frame)?;
                }
                None => all = Some(frame),
            }
        }
        if let Some(all) = &mut all {
            all.rechunk_mut();
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FactBuilder, FactRows, FactSchema, Line, Money};

    fn frame(rows: usize, first: usize) -> DataFrame {
        let mut builder = FactBuilder::new(&FactSchema::default(), rows);
        for row in first..first + rows {
            builder.begin_record();
            let line = Line {
                order_id: &format!("order number {row}"),
                sku: "s",
                user_id: None,
                product_id: None,
                status: None,
                currency: Some("EUR"),
                quantity: i64::try_from(row).unwrap(),
                unit_price: Money::ZERO,
                line_total: Money::ZERO,
                price_defaulted: row % 2 == 0,
                user_country: None,
                product_name: None,
                product_category: None,
                created_at: UtcMicros::new(i64::try_from(row % 3).unwrap() * UtcMicros::DAY).unwrap(),
                updated_at: None,
            };
            builder.push(&line, []);
        }
        builder.finish().unwrap()
    }

    #[test]
    fn what_is_spilled_and_what_is_not_come_back_together_in_source_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut stage = Stage::new(dir.path().join("scratch"), Box::new(Ok));
        let half = ROWS_IN_MEMORY / 2;
        for batch in 0..3 {
            stage.push(frame(half, batch * half)).unwrap();
        }
        let (staged, _) = stage.finish().unwrap();
        assert!(dir.path().join("scratch/lines-000001.arrow").exists());
        let mut rows = 0;
        for dt in staged.partitions() {
            let frame = staged.load(dt).unwrap().unwrap();
            let seq: Vec<_> = frame.column(SEQ).unwrap().u64().unwrap().into_no_null_iter().collect();
            let lines = FactRows::new(&frame).unwrap();
            assert!(seq.is_sorted());
            // Every batch counts its records from 1 on, and one is left out between two of them.
            let number = |row: usize| seq[row] - 1 - (seq[row] - 1) / (half as u64 + 1);
            assert!(
                (0..lines.len()).all(|row| lines.line(row).quantity == i64::try_from(number(row)).unwrap() && lines.line(row).dt() == dt)
            );
            rows += lines.len();
        }
        assert_eq!(rows, 3 * half);
        assert!(staged.load("2026-01-01".parse().unwrap()).unwrap().is_none());
    }
}
