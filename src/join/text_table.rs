//! A table whose cells are canonical texts, in Polars string columns: what a dimension is held in, read from and written to.

use polars::prelude::*;

/// Columns of one height, by place.
#[derive(Default)]
pub(super) struct TextTable {
    pub(super) names: Vec<String>,
    pub(super) columns: Vec<StringChunked>,
    pub(super) height: usize,
}

impl TextTable {
    pub(super) fn column(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|own| own == name)
    }

    pub(super) fn cell(&self, row: usize, column: Option<usize>) -> Option<&str> {
        self.columns[column?].get(row)
    }
}

/// Builds one column of canonical texts.
pub(super) struct ColumnBuilder(StringChunkedBuilder);

impl ColumnBuilder {
    pub(super) fn new(name: &str, capacity: usize) -> ColumnBuilder {
        ColumnBuilder(StringChunkedBuilder::new(name.into(), capacity))
    }

    pub(super) fn push(&mut self, value: Option<&str>) {
        self.0.append_option(value);
    }

    pub(super) fn finish(self) -> StringChunked {
        self.0.finish()
    }
}
