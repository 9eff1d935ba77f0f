//! Converts rows of a table file to records: JSON objects, one per line, in pages of a few MiB. The same rules then apply to a
//! row of CSV or Parquet as to a record of an API.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{
    PAGE_BYTES,
    order_rows::{EdgeOrders, GroupedRecord, OrderRows, ScatteredRows},
    page_buffers::PageBuffers,
};
use crate::{
    model::CellTypes,
    source::{
        PageSink, RecordShape, SourceError,
        page::{BlankLines, BlankRun, Origin, Page},
    },
};

/// What a table file held.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct TableRows {
    /// Its records.
    pub(super) records: u64,
    /// Its first and its last order, where its rows are lines of orders.
    pub(super) edges: EdgeOrders,
}

/// Collects the rows of one file into pages.
pub(super) struct RowPages<'s> {
    path: PathBuf,
    cells: CellTypes,
    sink: &'s mut dyn PageSink,
    /// Records that are not delivered yet, each with its line break.
    buffer: Vec<u8>,
    buffers: PageBuffers,
    /// The line, or the row where the file has no lines, of the first record in the buffer, from 1.
    first: u64,
    /// The line or row that follows the last record, if that has one line.
    next: u64,
    /// The lines between the records of the buffer.
    between: Vec<BlankRun>,
    /// The number of records in the buffer.
    in_buffer: u64,
    /// The number of rows so far.
    rows: u64,
    /// Joins the rows of orders.
    orders: Option<OrderRows<'s>>,
    /// Rows that were joined so far, of a file that has no lines.
    read_rows: u64,
    refused: Option<ScatteredRows>,
}

impl<'s> RowPages<'s> {
    pub(super) fn new(path: &Path, cells: CellTypes, sink: &'s mut dyn PageSink) -> RowPages<'s> {
        RowPages {
            path: path.to_owned(),
            cells,
            sink,
            buffer: Vec::new(),
            buffers: PageBuffers::default(),
            first: 1,
            next: 1,
            between: Vec::new(),
            in_buffer: 0,
            rows: 0,
            orders: None,
            read_rows: 0,
            refused: None,
        }
    }

    /// The same, whose rows are lines of orders of this shape.
    pub(super) fn of_orders(self, shape: &'s RecordShape) -> RowPages<'s> {
        RowPages { orders: OrderRows::of(shape), ..self }
    }

    /// Why the reading was stopped, if its rows are no orders.
    pub(super) fn refused(&mut self) -> Option<ScatteredRows> {
        self.refused.take()
    }

    /// Adds the row that begins on a line, which `write` appends as a JSON object; `false` if the sink stopped the reading.
    pub(super) fn row(&mut self, line: u64, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let Some(orders) = &mut self.orders else { return self.record(line, write) };
        let mut row = Vec::new();
        write(&mut row);
        match orders.row(line, &row) {
            Ok(None) => true,
            Ok(Some(GroupedRecord { line, json })) => self.record(line, |out| out.extend_from_slice(&json)),
            Err(refused) => {
                self.refused = Some(refused);
                false
            }
        }
    }

    fn record(&mut self, line: u64, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        write(&mut self.buffer);
        self.buffer.push(b'\n');
        if self.in_buffer == 0 {
            self.first = line;
        } else if line > self.next {
            self.between.push(BlankRun { records_before: self.in_buffer, lines: line - self.next });
        }
        self.next = line + 1;
        self.in_buffer += 1;
        self.rows += 1;
        self.buffer.len() < PAGE_BYTES || self.deliver()
    }

    /// Adds the beginning of a record that is too large to keep; `false` if the sink stopped the reading.
    pub(super) fn beginning(&mut self, line: u64, kept: &[u8]) -> bool {
        if !self.buffer.is_empty() && !self.deliver() {
            return false;
        }
        self.next = line + 1;
        self.rows += 1;
        let origin = Origin::File { path: self.path.clone(), first: line };
        self.sink.page(Page::beginning(origin, Bytes::copy_from_slice(kept)))
    }

    /// Adds rows that are already JSON, each with its line break; `false` if the sink stopped the reading.
    pub(super) fn lines(&mut self, lines: &[u8], rows: u64) -> bool {
        if self.orders.is_some() {
            let first = self.read_rows + 1;
            self.read_rows += rows;
            let mut rows = (first..).zip(lines.split(|&byte| byte == b'\n').filter(|row| !row.is_empty()));
            return rows.all(|(line, row)| self.row(line, |out| out.extend_from_slice(row)));
        }
        self.buffer.extend_from_slice(lines);
        self.next += rows;
        self.in_buffer += rows;
        self.rows += rows;
        self.buffer.len() < PAGE_BYTES || self.deliver()
    }

    /// Delivers the rest. Returns what the file held; `None` if the sink stopped the reading.
    pub(super) fn finish(mut self) -> Result<Option<TableRows>, SourceError> {
        if let Some(GroupedRecord { line, json }) = self.orders.as_mut().and_then(OrderRows::finish)
            && !self.record(line, |out| out.extend_from_slice(&json))
        {
            return Ok(None);
        }
        let held = TableRows { records: self.rows, edges: self.orders.as_ref().map(OrderRows::edges).unwrap_or_default() };
        Ok((self.buffer.is_empty() || self.deliver()).then_some(held))
    }

    fn deliver(&mut self) -> bool {
        let origin = Origin::File { path: self.path.clone(), first: self.first };
        (self.first, self.in_buffer) = (self.next, 0);
        let between = BlankLines::Known(std::mem::take(&mut self.between));
        let page = Page::lines(origin, self.buffers.lend(std::mem::take(&mut self.buffer)));
        let goes_on = self.sink.page(page.with_cells(self.cells).with_blank_lines(between));
        self.buffer = self.buffers.take();
        goes_on
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Pages(Vec<Page>);

    impl PageSink for Pages {
        fn page(&mut self, page: Page) -> bool {
            self.0.push(page);
            true
        }
    }

    #[test]
    fn a_page_knows_the_line_of_each_row_and_the_lines_between_them() {
        let mut sink = Pages::default();
        let mut pages = RowPages::new(Path::new("x.csv"), CellTypes::Text, &mut sink);
        // The row of line 2 has three lines, and line 6 is blank.
        for line in [2, 5, 7] {
            assert!(pages.row(line, |out| out.extend_from_slice(b"{}")));
        }
        assert_eq!(pages.finish().unwrap().map(|held| held.records), Some(3));
        let page = &sink.0[0];
        assert!(matches!(page.origin, Origin::File { first: 2, .. }));
        let run = |records_before, lines| BlankRun { records_before, lines };
        assert_eq!(page.blank_runs(), [run(1, 2), run(2, 1)]);
    }
}
