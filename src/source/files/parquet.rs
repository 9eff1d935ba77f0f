//! Parquet: each row becomes a record. A struct becomes an object, a list an array, a map an object, a number its digits, a
//! time its RFC 3339 text, bytes their text (or hexadecimal digits if they are not UTF-8).
//!
//! A column whose type can't be read is left out with a warning that names it; the others are read.

use std::{collections::HashSet, fmt::Display, fs::File, num::FpCategory, path::Path, sync::Arc};

use arrow_array::{
    Array, RecordBatch, RecordBatchReader,
    cast::AsArray,
    types::{Float32Type, Float64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType},
};
use arrow_json::writer::{Encoder, EncoderFactory, EncoderOptions, LineDelimited, NullableEncoder, WriterBuilder};
use arrow_schema::{ArrowError, DataType, FieldRef, TimeUnit};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
    },
    errors::ParquetError,
};

use super::{
    SourceFile,
    rows::{RowPages, TableRows},
};
use crate::{
    model::{CellTypes, UtcMicros},
    source::{Access, PageSink, RecordShape, SourceError},
};

/// The rows that are decoded at once: few, so that a signal stops the reading soon even if rows are large.
const BATCH_ROWS: usize = 1024;

/// The extension type of UUIDs (<https://arrow.apache.org/docs/format/CanonicalExtensions.html#uuid>).
const UUID: &str = "arrow.uuid";

/// Reads one Parquet file into `sink`. Returns the number of rows, or `None` if the sink stopped the reading.
///
/// # Errors
/// [`SourceError::Parquet`] with what is wrong with the file.
pub(super) fn read_parquet(
    file: &SourceFile,
    shape: &RecordShape,
    access: &Access<'_>,
    sink: &mut dyn PageSink,
) -> Result<Option<TableRows>, SourceError> {
    access.counters.page();
    let unreadable = |source| SourceError::Unreadable { path: file.path.clone(), source };
    let damaged = |detail: String| SourceError::Parquet { path: file.path.clone(), detail };
    let handle = file.local(access).map_err(unreadable)?;
    let size = handle.metadata().map_err(unreadable)?.len();
    access.counters.bytes(usize::try_from(size).unwrap_or(usize::MAX));
    // As an empty file of any other format: it holds no records.
    if size == 0 {
        return Ok(Some(TableRows::default()));
    }
    let metadata = read_metadata(&handle).map_err(|error| damaged(error.to_string()))?;
    let columns = readable_columns(&handle, &metadata, &file.path).map_err(|error| damaged(error.to_string()))?;
    let reader = open(&handle, &metadata, &columns, BATCH_ROWS).map_err(|error| damaged(error.to_string()))?;
    let mut pages = RowPages::new(&file.path, CellTypes::Typed, sink).of_orders(shape);
    for batch in reader {
        if access.cancel.is_stopped() {
            return Err(SourceError::Interrupted);
        }
        let batch = batch.map_err(|error| damaged(error.to_string()))?;
        let lines = json_lines(&batch).map_err(|error| damaged(error.to_string()))?;
        if !pages.lines(&lines, batch.num_rows() as u64) {
            return pages.refused().map_or(Ok(None), |refused| Err(damaged(format!("row {}: {}", refused.line, refused.detail))));
        }
    }
    pages.finish()
}

/// The metadata of the file. Uses the Arrow types of its writer if they match the types of the file.
fn read_metadata(file: &File) -> Result<ArrowReaderMetadata, ParquetError> {
    ArrowReaderMetadata::load(file, ArrowReaderOptions::new())
        .or_else(|_| ArrowReaderMetadata::load(file, ArrowReaderOptions::new().with_skip_arrow_metadata(true)))
}

/// The indexes of the columns whose values can be read and written as JSON. Tries the first row of each column.
fn readable_columns(file: &File, metadata: &ArrowReaderMetadata, path: &Path) -> Result<Vec<usize>, ParquetError> {
    let mut readable = Vec::new();
    let mut names = HashSet::new();
    for (place, field) in metadata.schema().fields().iter().enumerate() {
        if !names.insert(field.name()) {
            return Err(ParquetError::General(format!("it has two columns of the name \"{}\"", field.name())));
        }
        match try_column(file, metadata, place) {
            Ok(()) => readable.push(place),
            Err(error) => tracing::warn!(
                file = %path.display(),
                column = field.name(),
                data_type = %field.data_type(),
                %error,
                "a column can't be read and is left out"
            ),
        }
    }
    if readable.is_empty() && !metadata.schema().fields().is_empty() {
        return Err(ParquetError::General("none of its columns can be read".to_owned()));
    }
    Ok(readable)
}

fn try_column(file: &File, metadata: &ArrowReaderMetadata, place: usize) -> Result<(), ArrowError> {
    let mut reader = open(file, metadata, &[place], 1)?;
    let first = reader.next().transpose()?;
    let batch = first.unwrap_or_else(|| RecordBatch::new_empty(reader.schema()));
    json_lines(&batch).map(drop)
}

fn open(file: &File, metadata: &ArrowReaderMetadata, columns: &[usize], rows: usize) -> Result<ParquetRecordBatchReader, ParquetError> {
    let mask = ProjectionMask::roots(metadata.parquet_schema(), columns.iter().copied());
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file.try_clone()?, metadata.clone());
    builder.with_projection(mask).with_batch_size(rows).build()
}

/// The rows of a batch as JSON objects, one per line, with null values.
fn json_lines(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer =
        WriterBuilder::new().with_explicit_nulls(true).with_encoder_factory(Arc::new(OwnEncoders)).build::<_, LineDelimited>(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    Ok(writer.into_inner())
}

/// Encodes the types for which `arrow-json` has another form: bytes, floats and instants.
#[derive(Debug)]
struct OwnEncoders;

impl EncoderFactory for OwnEncoders {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let is_uuid = field.metadata().get("ARROW:extension:name").is_some_and(|name| name == UUID);
        let encoder: Box<dyn Encoder + 'a> = match array.data_type() {
            DataType::Binary => bytes_encoder(move |row| array.as_binary::<i32>().value(row), is_uuid),
            DataType::LargeBinary => bytes_encoder(move |row| array.as_binary::<i64>().value(row), is_uuid),
            DataType::BinaryView => bytes_encoder(move |row| array.as_binary_view().value(row), is_uuid),
            DataType::FixedSizeBinary(_) => bytes_encoder(move |row| array.as_fixed_size_binary().value(row), is_uuid),
            DataType::Timestamp(unit, _) => Box::new(InstantEncoder { unit: *unit, array }),
            DataType::Float64 => float_encoder(move |row| array.as_primitive::<Float64Type>().value(row)),
            DataType::Float32 => float_encoder(move |row| array.as_primitive::<Float32Type>().value(row)),
            _ => return Ok(None),
        };
        Ok(Some(NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

/// Bytes as text.
struct BytesEncoder<F> {
    value: F,
    is_uuid: bool,
}

fn bytes_encoder<'a>(value: impl Fn(usize) -> &'a [u8] + 'a, is_uuid: bool) -> Box<dyn Encoder + 'a> {
    Box::new(BytesEncoder { value, is_uuid })
}

impl<'a, F: Fn(usize) -> &'a [u8]> Encoder for BytesEncoder<F> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let bytes = (self.value)(row);
        match str::from_utf8(bytes) {
            Ok(text) if !self.is_uuid => write_text(out, text),
            _ => write_text(out, &hexadecimal(bytes, self.is_uuid)),
        }
    }
}

fn hexadecimal(bytes: &[u8], is_uuid: bool) -> String {
    let mut digits = String::with_capacity(bytes.len() * 2 + 4);
    for (place, byte) in bytes.iter().enumerate() {
        if is_uuid && matches!(place, 4 | 6 | 8 | 10) {
            digits.push('-');
        }
        digits.push_str(&format!("{byte:02x}"));
    }
    digits
}

/// Writes floats with the fewest digits. NaN becomes null, as in pandas; infinity becomes a text.
struct FloatEncoder<F>(F);

fn float_encoder<'a, T: FloatValue>(value: impl Fn(usize) -> T + 'a) -> Box<dyn Encoder + 'a> {
    Box::new(FloatEncoder(value))
}

/// A float of either width.
trait FloatValue: Display + Copy {
    fn class(self) -> FpCategory;
}

impl FloatValue for f64 {
    fn class(self) -> FpCategory {
        self.classify()
    }
}

impl FloatValue for f32 {
    fn class(self) -> FpCategory {
        self.classify()
    }
}

impl<T: FloatValue, F: Fn(usize) -> T> Encoder for FloatEncoder<F> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let value = (self.0)(row);
        match value.class() {
            FpCategory::Nan => out.extend_from_slice(b"null"),
            FpCategory::Infinite => write_text(out, &value.to_string()),
            _ => out.extend_from_slice(value.to_string().as_bytes()),
        }
    }
}

/// Writes instants as RFC 3339 in UTC, whatever their time zone is. Instants without a zone are UTC (contract, Orders).
struct InstantEncoder<'a> {
    unit: TimeUnit,
    array: &'a dyn Array,
}

impl Encoder for InstantEncoder<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let (value, micros) = match self.unit {
            TimeUnit::Second => {
                let value = self.array.as_primitive::<TimestampSecondType>().value(row);
                (value, value.checked_mul(UtcMicros::SECOND))
            }
            TimeUnit::Millisecond => {
                let value = self.array.as_primitive::<TimestampMillisecondType>().value(row);
                (value, value.checked_mul(1000))
            }
            TimeUnit::Microsecond => {
                let value = self.array.as_primitive::<TimestampMicrosecondType>().value(row);
                (value, Some(value))
            }
            TimeUnit::Nanosecond => {
                let value = self.array.as_primitive::<TimestampNanosecondType>().value(row);
                (value, Some(value.div_euclid(1000)))
            }
        };
        match micros.and_then(UtcMicros::new) {
            Some(instant) => write_text(out, &instant.rfc3339()),
            // The year is out of range: write a text that is not a valid time.
            None => write_text(out, &format!("{value} {:?}s since 1970", self.unit)),
        }
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    // Writing to memory can't fail.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use arrow_array::{
        ArrayRef, BinaryArray, BooleanArray, Decimal128Array, DictionaryArray, FixedSizeBinaryArray, Int8Array, ListArray, StringArray,
        StructArray, TimestampNanosecondArray, UInt64Array,
        types::{Int8Type, Int64Type},
    };
    use arrow_schema::Field;

    use super::*;
    use crate::source::{Ambient, Page, Purpose, files::Place};

    fn lines(columns: Vec<(&str, ArrayRef)>) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.parquet");
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = parquet::arrow::ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let file = SourceFile::new(path, Purpose::Members, Place::Disk).unwrap();
        let mut all = Vec::new();
        let mut sink = |page: Page| {
            all.extend(page.records().map(|record| String::from_utf8(record.bytes.to_vec()).unwrap()));
            true
        };
        let rows = read_parquet(&file, &RecordShape::default(), &Ambient::default().access(), &mut sink).unwrap();
        assert_eq!(rows.map(|held| held.records), Some(all.len() as u64));
        all
    }

    #[test]
    fn every_type_has_its_json_form() {
        let categories: DictionaryArray<Int8Type> = [Some("new"), None].into_iter().collect();
        let inner = StructArray::from(vec![(
            Arc::new(Field::new("city", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec!["B", "C"])) as ArrayRef,
        )]);
        let rows = lines(vec![
            ("id", Arc::new(Int8Array::from(vec![7, -8]))),
            ("big", Arc::new(UInt64Array::from(vec![u64::MAX, 0]))),
            ("price", Arc::new(Decimal128Array::from(vec![12_345, -5]).with_precision_and_scale(18, 3).unwrap())),
            ("at", Arc::new(TimestampNanosecondArray::from(vec![0, 1_500_000_999]).with_timezone("Europe/Berlin"))),
            ("category", Arc::new(categories)),
            ("key", Arc::new(BinaryArray::from(vec![&b"U1"[..], &b"\xff\x00"[..]]))),
            ("code", Arc::new(FixedSizeBinaryArray::try_from_iter([b"ab", b"cd"].into_iter()).unwrap())),
            ("flag", Arc::new(BooleanArray::from(vec![Some(true), None]))),
            ("address", Arc::new(inner)),
            ("tags", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), Some(2), Some(3), Some(4)]), None]))),
        ]);
        let first = r#"{"id":7,"big":18446744073709551615,"price":12.345,"at":"1970-01-01T00:00:00Z","category":"new","key":"U1","code":"ab","flag":true,"address":{"city":"B"},"tags":[1,2,3,4]}"#;
        let second = r#"{"id":-8,"big":0,"price":-0.005,"at":"1970-01-01T00:00:01.500000Z","category":null,"key":"ff00","code":"cd","flag":null,"address":{"city":"C"},"tags":null}"#;
        assert_eq!(rows, [first, second]);
    }

    #[test]
    fn a_uuid_has_its_hyphens() {
        let bytes: Vec<u8> = (0..16).collect();
        assert_eq!(hexadecimal(&bytes, true), "00010203-0405-0607-0809-0a0b0c0d0e0f");
    }

    #[test]
    fn damage_and_a_signal_end_the_reading() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.parquet");
        std::fs::write(&path, b"PAR1 is not enough PAR1").unwrap();
        let file = SourceFile::new(path, Purpose::Members, Place::Disk).unwrap();
        let error = read_parquet(&file, &RecordShape::default(), &Ambient::default().access(), &mut |_: Page| true).unwrap_err();
        assert!(error.to_string().contains("t.parquet: "), "{error}");
    }
}
