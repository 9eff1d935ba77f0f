//! Canonical CSV to Parquet. The bytes depend on the CSV and the versions of the libraries alone: no time, no machine.

use std::sync::Arc;

use ::parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::properties::WriterProperties,
};
use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Schema, SchemaRef};
use csv::ByteRecord;

use super::column::{ColumnBuilder, fields, types};
use crate::model::{FactSchema, counted};

/// The rows of a row group, at most.
const GROUP_ROWS: usize = 128 * 1024;

/// The rows that are handed to the writer at once, at most.
const BATCH_ROWS: usize = 8 * 1024;

/// The bytes of rows that are handed to the writer at once, at most, unless one row is longer.
const BATCH_BYTES: usize = 64 << 20;

/// The name of the writer in the file, in the form that readers parse. Never changes: equal rows are equal bytes.
const CREATED_BY: &str = "orders-etl version 1.0.0 (build 0)";

/// The level of Zstandard.
const ZSTD_LEVEL: i32 = 3;

/// What is wrong with the CSV, or what the writer refuses.
pub(in crate::layer) struct Unwritable {
    /// The line of the CSV, from 1.
    pub(in crate::layer) line: u64,
    /// What is wrong.
    pub(in crate::layer) detail: String,
}

/// The Parquet file of a partition with this canonical CSV.
///
/// # Errors
/// CSV that is not canonical, or has other columns than the schema.
pub(in crate::layer) fn write(csv: &[u8], schema: &FactSchema) -> Result<Vec<u8>, Unwritable> {
    let mut file = FileWriter::new(schema)?;
    file.push_csv(csv)?;
    file.finish()
}

fn unwritable(line: u64, detail: impl ToString) -> Unwritable {
    Unwritable { line, detail: detail.to_string() }
}

fn properties() -> Result<WriterProperties, ParquetError> {
    let level = ZstdLevel::try_new(ZSTD_LEVEL)?;
    Ok(WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .build())
}

/// A file being written, and the rows that the writer does not have yet.
pub(in crate::layer) struct FileWriter<'s> {
    schema: &'s FactSchema,
    arrow: SchemaRef,
    writer: ArrowWriter<Vec<u8>>,
    columns: Vec<ColumnBuilder>,
    rows: usize,
    bytes: usize,
    /// The line of the CSV that the next piece begins with, from 1.
    line: u64,
}

impl<'s> FileWriter<'s> {
    /// An empty file of these columns.
    ///
    /// # Errors
    /// Errors of the Parquet library.
    pub(in crate::layer) fn new(schema: &'s FactSchema) -> Result<FileWriter<'s>, Unwritable> {
        FileWriter::open(schema).map_err(|error| unwritable(1, error))
    }

    fn open(schema: &'s FactSchema) -> Result<FileWriter<'s>, ParquetError> {
        let arrow = Arc::new(Schema::new(fields(schema)));
        // Without the Arrow schema in the metadata, every reader sees the types of Parquet.
        let options = ArrowWriterOptions::new().with_properties(properties()?).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), arrow.clone(), options)?;
        let columns = types(schema).map(ColumnBuilder::new).collect();
        Ok(FileWriter { schema, arrow, writer, columns, rows: 0, bytes: 0, line: 1 })
    }

    /// Takes the next piece of the canonical CSV. The first piece begins with the header, and each ends with a row. How
    /// the CSV is cut does not show in the file.
    ///
    /// # Errors
    /// CSV that is not canonical, or has other columns than the schema.
    pub(in crate::layer) fn push_csv(&mut self, csv: &[u8]) -> Result<(), Unwritable> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(csv);
        let before = self.line - 1;
        let mut record = ByteRecord::new();
        if before == 0 {
            reader.read_byte_record(&mut record).map_err(|error| unwritable(1, error))?;
            if !record.iter().eq(self.schema.names().map(str::as_bytes)) {
                return Err(unwritable(1, "these are not the columns of the settings"));
            }
        }
        loop {
            self.line = before + reader.position().line();
            match reader.read_byte_record(&mut record) {
                Ok(false) => return Ok(()),
                Ok(true) => self.push(&record).map_err(|detail| unwritable(self.line, detail))?,
                Err(error) => return Err(unwritable(self.line, error)),
            }
        }
    }

    fn push(&mut self, record: &ByteRecord) -> Result<(), String> {
        let length = record.as_slice().len();
        // The offsets of a text column have 32 bits.
        if i32::try_from(length).is_err() {
            return Err("the row has more than 2 GiB".to_owned());
        }
        if record.len() != self.columns.len() {
            return Err(format!("the row has {}, and not {}", counted(record.len() as u64, "field"), self.columns.len()));
        }
        if self.rows == BATCH_ROWS || (self.rows > 0 && self.bytes + length > BATCH_BYTES) {
            self.flush().map_err(|error| error.to_string())?;
        }
        for ((column, field), place) in self.columns.iter_mut().zip(record).zip(0..) {
            column.push(field).ok_or_else(|| not_canonical(self.schema, place, field))?;
        }
        self.rows += 1;
        self.bytes += length;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ParquetError> {
        let columns = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        let batch = RecordBatch::try_new(self.arrow.clone(), columns).map_err(|error: ArrowError| ParquetError::from(error))?;
        (self.rows, self.bytes) = (0, 0);
        self.writer.write(&batch)
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// Errors of the Parquet library.
    pub(in crate::layer) fn finish(self) -> Result<Vec<u8>, Unwritable> {
        let line = self.line;
        self.close().map_err(|error| unwritable(line, error))
    }

    fn close(mut self) -> Result<Vec<u8>, ParquetError> {
        if self.rows > 0 {
            self.flush()?;
        }
        self.writer.into_inner()
    }
}

fn not_canonical(schema: &FactSchema, place: usize, field: &[u8]) -> String {
    let (name, kind) = schema.columns().nth(place).unwrap_or_default();
    format!("`{}` is not a valid {kind} in column {name}", String::from_utf8_lossy(field))
}
