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
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields, IntervalUnit, Schema, TimeUnit};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
    },
    basic::LogicalType,
    errors::ParquetError,
    schema::types::ColumnDescPtr,
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

/// The key of the metadata that marks a field whose values are UUIDs, or lists of UUIDs.
const IS_UUID: &str = "etl.uuid";

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

/// The metadata of the file. Uses the Arrow types of its writer if they match the types of the file. Fields of UUIDs
/// are marked.
fn read_metadata(file: &File) -> Result<ArrowReaderMetadata, ParquetError> {
    let metadata = ArrowReaderMetadata::load(file, ArrowReaderOptions::new())
        .or_else(|_| ArrowReaderMetadata::load(file, ArrowReaderOptions::new().with_skip_arrow_metadata(true)))?;
    let is_uuid = |column: &ColumnDescPtr| matches!(column.logical_type_ref(), Some(LogicalType::Uuid));
    let columns = metadata.parquet_schema().columns();
    if !columns.iter().any(is_uuid) {
        return Ok(metadata);
    }
    let mut uuids = columns.iter().map(is_uuid);
    let fields: Fields = metadata.schema().fields().iter().map(|field| Judged::of(field, &mut uuids).marked()).collect();
    let schema = Schema::new_with_metadata(fields, metadata.schema().metadata().clone());
    ArrowReaderMetadata::try_new(metadata.metadata().clone(), ArrowReaderOptions::new().with_schema(Arc::new(schema)))
}

/// A field, and whether its values are UUIDs, as the types of Parquet say. Not every writer adds the types of Arrow.
struct Judged {
    field: Field,
    is_uuid: bool,
}

impl Judged {
    /// Judges a field. `uuids` says of each column of Parquet, in its order, whether it holds UUIDs.
    fn of(field: &Field, uuids: &mut dyn Iterator<Item = bool>) -> Judged {
        let with = |data_type| field.clone().with_data_type(data_type);
        match field.data_type() {
            DataType::Struct(fields) => {
                let fields: Fields = fields.iter().map(|inner| Judged::of(inner, uuids).marked()).collect();
                Judged { field: with(DataType::Struct(fields)), is_uuid: false }
            }
            // Elements and values are encoded as the list or map that holds them is.
            DataType::List(item) => Judged::of(item, uuids).within(|item| with(DataType::List(item))),
            DataType::LargeList(item) => Judged::of(item, uuids).within(|item| with(DataType::LargeList(item))),
            DataType::FixedSizeList(item, length) => Judged::of(item, uuids).within(|item| with(DataType::FixedSizeList(item, *length))),
            DataType::Map(entries, is_sorted) => {
                Judged::of_entries(entries, uuids).within(|entries| with(DataType::Map(entries, *is_sorted)))
            }
            _ => Judged { field: field.clone(), is_uuid: uuids.next().unwrap_or(false) },
        }
    }

    /// The keys and values of a map: judged by the values, because keys are texts.
    fn of_entries(entries: &Field, uuids: &mut dyn Iterator<Item = bool>) -> Judged {
        let DataType::Struct(pair) = entries.data_type() else { return Judged::of(entries, uuids) };
        let pair: Vec<Judged> = pair.iter().map(|inner| Judged::of(inner, uuids)).collect();
        let is_uuid = pair.last().is_some_and(|value| value.is_uuid);
        let fields: Fields = pair.into_iter().map(|judged| judged.field).collect();
        Judged { field: entries.clone().with_data_type(DataType::Struct(fields)), is_uuid }
    }

    /// The field around this one.
    fn within(self, outer: impl FnOnce(FieldRef) -> Field) -> Judged {
        Judged { field: outer(Arc::new(self.field)), is_uuid: self.is_uuid }
    }

    /// The field, with a mark if it holds UUIDs.
    fn marked(self) -> Field {
        if !self.is_uuid {
            return self.field;
        }
        let mut metadata = self.field.metadata().clone();
        metadata.insert(IS_UUID.to_owned(), String::new());
        self.field.with_metadata(metadata)
    }
}

/// The indexes of the columns whose values can be read and written as JSON. Tries the first row of each column.
fn readable_columns(file: &File, metadata: &ArrowReaderMetadata, path: &Path) -> Result<Vec<usize>, ParquetError> {
    let mut readable = Vec::new();
    let mut names = HashSet::new();
    for (place, field) in metadata.schema().fields().iter().enumerate() {
        if !names.insert(field.name()) {
            return Err(ParquetError::General(format!("it has two columns of the name \"{}\"", field.name())));
        }
        match refused(field.data_type()).and_then(|()| try_column(file, metadata, place)) {
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

/// Fails for a type whose values would not be whole.
fn refused(data_type: &DataType) -> Result<(), ArrowError> {
    match data_type {
        DataType::Interval(IntervalUnit::DayTime | IntervalUnit::MonthDayNano) => {
            Err(ArrowError::NotYetImplemented("the months of an interval can't be read".to_owned()))
        }
        DataType::Struct(fields) => fields.iter().try_for_each(|field| refused(field.data_type())),
        DataType::List(inner) | DataType::LargeList(inner) | DataType::FixedSizeList(inner, _) | DataType::Map(inner, _) => {
            refused(inner.data_type())
        }
        _ => Ok(()),
    }
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
        let says_uuid = field.metadata().get("ARROW:extension:name").is_some_and(|name| name == UUID);
        let is_uuid = says_uuid || field.metadata().contains_key(IS_UUID);
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

/// Writes floats with the fewest digits. NaN becomes null, as in pandas, where it stands for a missing value. Infinity
/// is no missing value and becomes a text, which is no valid number.
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
        ArrayRef, BinaryArray, BooleanArray, Decimal128Array, DictionaryArray, FixedSizeBinaryArray, Float64Array, Int8Array, ListArray,
        StringArray, StructArray, TimestampNanosecondArray, UInt64Array,
        types::{Int8Type, Int64Type},
    };
    use parquet::{
        data_type::{FixedLenByteArray, FixedLenByteArrayType},
        file::writer::SerializedFileWriter,
        schema::parser::parse_message_type,
    };

    use super::*;
    use crate::source::{Ambient, Page, Purpose, files::Place};

    fn lines(columns: Vec<(&str, ArrayRef)>) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.parquet");
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = parquet::arrow::ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        lines_of(path)
    }

    /// The row of a file without types of Arrow, as DuckDB writes it. `values` are those of its columns.
    fn row_of_bytes(columns: &str, values: &[&[u8]]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.parquet");
        let schema = Arc::new(parse_message_type(&format!("message row {{ {columns} }}")).unwrap());
        let mut writer = SerializedFileWriter::new(File::create(&path).unwrap(), schema, Arc::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut values = values.iter();
        while let Some(mut column) = group.next_column().unwrap() {
            let value = FixedLenByteArray::from(values.next().unwrap().to_vec());
            // A list stands last, and this is its only element.
            let is_list = values.len() == 0 && columns.contains("repeated");
            let (definition, repetition) = if is_list { (Some(&[1_i16][..]), Some(&[0_i16][..])) } else { (None, None) };
            column.typed::<FixedLenByteArrayType>().write_batch(&[value], definition, repetition).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
        writer.close().unwrap();
        lines_of(path).remove(0)
    }

    fn lines_of(path: std::path::PathBuf) -> Vec<String> {
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
    fn the_types_of_parquet_say_what_a_uuid_is() {
        let row = row_of_bytes(
            "required fixed_len_byte_array(16) id (UUID);
             required fixed_len_byte_array(16) code;
             required group inner { required fixed_len_byte_array(16) id (UUID); }
             required group list (LIST) { repeated group list { required fixed_len_byte_array(16) element (UUID); } }",
            &[
                b"ABCDEFGHIJKLMNOP",
                b"ABCDEFGHIJKLMNOP",
                b"\xde\x59\x08\xb5\x8a\x85\x47\x8f\x87\x4e\x63\x30\x24\x4a\xd3\x8e",
                b"0123456789abcdef",
            ],
        );
        let expected = r#"{"id":"41424344-4546-4748-494a-4b4c4d4e4f50","code":"ABCDEFGHIJKLMNOP","inner":{"id":"de5908b5-8a85-478f-874e-6330244ad38e"},"list":["30313233-3435-3637-3839-616263646566"]}"#;
        assert_eq!(row, expected);
    }

    #[test]
    fn an_interval_is_left_out_because_its_months_would_be_lost() {
        let interval = b"\x01\0\0\0\x02\0\0\0\xb8\x0b\0\0";
        let columns = "required fixed_len_byte_array(2) id; required fixed_len_byte_array(12) span (INTERVAL);";
        assert_eq!(row_of_bytes(columns, &[b"U1", interval]), r#"{"id":"U1"}"#);
    }

    #[test]
    fn nan_is_missing_and_infinity_is_no_number() {
        let floats = vec![1.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        let rows = lines(vec![("price", Arc::new(Float64Array::from(floats)))]);
        assert_eq!(rows, [r#"{"price":1.5}"#, r#"{"price":null}"#, r#"{"price":"inf"}"#, r#"{"price":"-inf"}"#]);
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
