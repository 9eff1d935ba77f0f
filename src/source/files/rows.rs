//! Rows of a table file as records: JSON objects, one a line, in pages of a few MiB. So a row of CSV or Parquet meets the same
//! rules as a record of an API.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::PAGE_BYTES;
use crate::{
    model::CellTypes,
    source::{
        PageSink,
        page::{Origin, Page},
    },
};

/// Collects the rows of one file into pages.
pub(super) struct RowPages<'s> {
    path: PathBuf,
    cells: CellTypes,
    sink: &'s mut dyn PageSink,
    /// Records that are not handed on yet, each with its line break.
    buffer: Vec<u8>,
    /// The number of the first of them, from 1.
    first: u64,
    /// How many rows came.
    rows: u64,
}

impl<'s> RowPages<'s> {
    pub(super) fn new(path: &Path, cells: CellTypes, sink: &'s mut dyn PageSink) -> RowPages<'s> {
        RowPages { path: path.to_owned(), cells, sink, buffer: Vec::new(), first: 1, rows: 0 }
    }

    /// How many rows came.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Takes a row, which `write` appends as a JSON object; `false` where the sink stopped the reading.
    pub(super) fn row(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        write(&mut self.buffer);
        self.buffer.push(b'\n');
        self.rows += 1;
        self.buffer.len() < PAGE_BYTES || self.hand_on()
    }

    /// Takes rows that are written already, each with its line break.
    pub(super) fn lines(&mut self, lines: &[u8], rows: u64) -> bool {
        self.buffer.extend_from_slice(lines);
        self.rows += rows;
        self.buffer.len() < PAGE_BYTES || self.hand_on()
    }

    /// Hands on what is left.
    pub(super) fn finish(mut self) -> bool {
        self.buffer.is_empty() || self.hand_on()
    }

    fn hand_on(&mut self) -> bool {
        let origin = Origin::File { path: self.path.clone(), first: self.first };
        self.first = self.rows + 1;
        self.sink.page(Page::lines(origin, Bytes::from(std::mem::take(&mut self.buffer))).with_cells(self.cells))
    }
}
