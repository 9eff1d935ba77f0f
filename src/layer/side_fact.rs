//! A fact beside the lines, a day at a time: its CSV in and out, strictly, and what its next content is.
//!
//! Which rows it has is not decided here: [`super::order_totals`] and [`super::refunds`] know that.

use std::{marker::PhantomData, path::Path};

use csv::ByteRecord;

use super::{LayerError, leb128::Reader};
use crate::{
    model::{Dt, FactType, Money, UtcMicros},
    store::places::SideFact,
};

/// A row of a side fact.
pub trait SideRow: Sized {
    /// The fact.
    const FACT: SideFact;
    /// The partition that the row lies in.
    fn dt(&self) -> Dt;

    /// Appends the cells of the row, without the end of the line.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads the cells of a row.
    ///
    /// # Errors
    /// What is wrong with them.
    fn parse(cells: &SideCells<'_, Self>) -> Result<Self, String>;

    /// Appends the row as a run stages it.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads the row back; `None` where the bytes are not those that were written.
    fn decode(reader: &mut Reader<'_>) -> Option<Self>;
}

/// The header of a side fact: its file without rows.
pub fn side_fact_header(fact: SideFact) -> Vec<u8> {
    let names: Vec<_> = fact.columns().iter().map(|(name, _)| *name).collect();
    (names.join(",") + "\n").into_bytes()
}

/// The CSV of rows, in their order.
pub(super) fn side_fact_csv<'r, R: SideRow + 'r>(rows: impl IntoIterator<Item = &'r R>) -> Vec<u8> {
    let mut out = side_fact_header(R::FACT);
    for row in rows {
        row.write(&mut out);
        out.push(b'\n');
    }
    out
}

/// The cells of a row, read by the place of their column.
pub struct SideCells<'r, R> {
    record: &'r ByteRecord,
    fact: PhantomData<R>,
}

impl<R: SideRow> SideCells<'_, R> {
    fn field(&self, place: usize) -> &[u8] {
        self.record.get(place).unwrap_or_default()
    }

    fn wrong(&self, place: usize) -> String {
        let (name, kind) = R::FACT.columns().get(place).copied().unwrap_or(("value", FactType::Text));
        format!("`{}` is not a valid {} in column {name}", String::from_utf8_lossy(self.field(place)), kind.sql())
    }

    pub(super) fn text(&self, place: usize) -> Result<Option<String>, String> {
        match self.field(place) {
            b"" => Ok(None),
            bytes => std::str::from_utf8(bytes).map(|text| Some(text.to_owned())).map_err(|_| self.wrong(place)),
        }
    }

    pub(super) fn money(&self, place: usize) -> Result<Option<Money>, String> {
        match self.field(place) {
            b"" => Ok(None),
            bytes => Money::from_canonical(bytes).map(Some).map_err(|_| self.wrong(place)),
        }
    }

    pub(super) fn instant(&self, place: usize) -> Result<Option<UtcMicros>, String> {
        match self.field(place) {
            b"" => Ok(None),
            bytes => UtcMicros::from_canonical(bytes).map(Some).ok_or_else(|| self.wrong(place)),
        }
    }

    /// A value that must be there.
    pub(super) fn needed<T>(&self, place: usize, value: Option<T>) -> Result<T, String> {
        value.ok_or_else(|| format!("{} is empty", R::FACT.columns().get(place).map_or("value", |(name, _)| *name)))
    }
}

/// The stored rows of a side fact of one day: their CSV, and the rows in its order.
#[derive(Debug)]
pub struct StoredSide<R> {
    /// The CSV.
    pub bytes: Vec<u8>,
    /// Its rows.
    pub rows: Vec<R>,
}

impl<R: SideRow> StoredSide<R> {
    /// Reads the CSV, strictly: what this tool did not write, or could not have, is an error and not a guess.
    ///
    /// # Errors
    /// [`LayerError::Partition`], with the line.
    pub fn parse(bytes: Vec<u8>, dt: Dt, path: &Path) -> Result<StoredSide<R>, LayerError> {
        Ok(StoredSide { rows: parse_rows(&bytes, dt, path)?, bytes })
    }
}

fn parse_rows<R: SideRow>(bytes: &[u8], dt: Dt, path: &Path) -> Result<Vec<R>, LayerError> {
    let damaged = |line: u64, detail: String| LayerError::Partition { path: path.to_owned(), line, detail };
    let mut reader = csv::ReaderBuilder::new().has_headers(true).from_reader(bytes);
    let header = reader.byte_headers().map_err(|error| damaged(1, error.to_string()))?;
    if !header.iter().eq(R::FACT.columns().iter().map(|(name, _)| name.as_bytes())) {
        let found: Vec<_> = header.iter().map(String::from_utf8_lossy).collect();
        return Err(damaged(1, format!("the columns are `{}`, not those of {}", found.join(","), R::FACT.table())));
    }
    let mut rows = Vec::new();
    let mut record = ByteRecord::new();
    loop {
        let line = reader.position().line();
        match reader.read_byte_record(&mut record) {
            Ok(false) => break,
            Ok(true) => rows.push(parse_row(&record, dt).map_err(|detail| damaged(line, detail))?),
            Err(error) => return Err(damaged(line, error.to_string())),
        }
    }
    if bytes.last() != Some(&b'\n') {
        return Err(damaged(reader.position().line(), "the file ends within a line: it was cut short".into()));
    }
    Ok(rows)
}

fn parse_row<R: SideRow>(record: &ByteRecord, dt: Dt) -> Result<R, String> {
    let row = R::parse(&SideCells { record, fact: PhantomData })?;
    if row.dt() == dt { Ok(row) } else { Err(format!("created_at lies in dt={}, and not in the partition dt={dt}", row.dt())) }
}

/// The next content of a side fact of one day.
#[derive(PartialEq, Eq, Debug)]
pub enum MergedSide {
    /// As it is, to the byte; also where there is none.
    Unchanged,
    /// These bytes, of so many rows.
    Replaced {
        /// The CSV.
        bytes: Vec<u8>,
        /// Its rows.
        rows: u64,
    },
    /// Gone: the last row is.
    Removed,
}

impl MergedSide {
    /// The content of these rows, in their order, compared with what is stored.
    pub(super) fn of<R: SideRow>(rows: &[&R], stored: Option<&StoredSide<R>>) -> MergedSide {
        if rows.is_empty() {
            return if stored.is_some() { MergedSide::Removed } else { MergedSide::Unchanged };
        }
        let bytes = side_fact_csv(rows.iter().copied());
        if stored.is_some_and(|stored| stored.bytes == bytes) {
            return MergedSide::Unchanged;
        }
        MergedSide::Replaced { rows: rows.len() as u64, bytes }
    }
}
