//! Parquet to canonical CSV, strictly: the fixed columns with exactly their types, then extra columns.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ::parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{FieldRef, Schema};
use bytes::Bytes;

use super::column::{ColumnValues, data_type, fixed_types, type_of};
use crate::{
    layer::csv::{further_names, write_text},
    model::{ExtraType, FACT_COLUMNS, FactSchema, QuantityType, counted},
};

/// The rows that are decoded at once: even with the longest texts, their columns stay below 2 GiB.
const BATCH_ROWS: usize = 1024;

/// Which types the extra columns must have.
#[derive(Clone, Copy, Debug)]
pub(in crate::layer) enum ExtraTypes<'s> {
    /// Those of the schema, where the file has the names of the schema.
    Of(&'s FactSchema),
    /// Any that an extra column can have.
    Any,
}

/// Why a file can't be read.
pub(in crate::layer) enum Unreadable {
    /// It is damaged, or no file of a partition.
    Damaged {
        /// The line of the CSV, from 1.
        line: u64,
        /// What is wrong.
        detail: String,
    },
    /// Its extra columns have other types than those of the schema: names and types of both.
    Types {
        /// Those of the file.
        stored: String,
        /// Those of the schema.
        wanted: String,
    },
}

/// The canonical CSV of a file, with the file's own columns.
///
/// # Errors
/// A damaged file, other fixed columns, or extra columns of other types.
pub(in crate::layer) fn read(bytes: Vec<u8>, extra_types: ExtraTypes<'_>) -> Result<Vec<u8>, Unreadable> {
    // The library divides by zero at a dictionary that claims to have no values (parquet 60.1). Nothing outlives the closure.
    let read = catch_unwind(AssertUnwindSafe(|| read_rows(bytes, extra_types)));
    read.unwrap_or_else(|_| Err(damaged(1, "a page contradicts itself")))
}

fn read_rows(bytes: Vec<u8>, extra_types: ExtraTypes<'_>) -> Result<Vec<u8>, Unreadable> {
    // The types of Parquet decide, not the Arrow types that a writer noted beside them.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(Bytes::from(bytes), options).map_err(|error| damaged(1, error))?;
    let rows = builder.metadata().file_metadata().num_rows();
    verify_columns(builder.schema(), extra_types)?;
    let mut csv = CsvText::with_header(builder.schema());
    let reader = builder.with_batch_size(BATCH_ROWS).build().map_err(|error| damaged(1, error))?;
    for batch in reader {
        csv.push(&batch.map_err(|error| damaged(csv.next_line(), error))?)?;
    }
    if i64::try_from(csv.rows) != Ok(rows) {
        return Err(damaged(csv.next_line(), format!("it has {}, and its metadata names {rows}", counted(csv.rows, "row"))));
    }
    Ok(csv.text)
}

fn damaged(line: u64, detail: impl ToString) -> Unreadable {
    Unreadable::Damaged { line, detail: detail.to_string() }
}

fn verify_columns(stored: &Schema, extra_types: ExtraTypes<'_>) -> Result<(), Unreadable> {
    let names: Vec<_> = stored.fields().iter().map(|field| field.name().as_str()).collect();
    if further_names(&names).is_none() {
        return Err(damaged(1, format!("the columns are `{}`, not those of fact_order", names.join(","))));
    }
    let (fixed, extra) = stored.fields().split_at(FACT_COLUMNS.len());
    // Which of both types of quantities it should be, is said where the CSV is read.
    let decimal = FactSchema::default().with_quantity(QuantityType::Decimal);
    for ((field, kind), other) in fixed.iter().zip(fixed_types(&FactSchema::default())).zip(fixed_types(&decimal)) {
        if *field.data_type() != data_type(kind) && *field.data_type() != data_type(other) {
            return Err(damaged(1, format!("column {} has the type {}, not {kind}", field.name(), field.data_type())));
        }
    }
    if let Some(field) = extra.iter().find(|field| type_of(field.data_type()).is_none()) {
        return Err(damaged(1, format!("column {} has the type {}, which no column of fact_order has", field.name(), field.data_type())));
    }
    match extra_types {
        ExtraTypes::Of(schema) => verify_extra(extra, schema),
        ExtraTypes::Any => Ok(()),
    }
}

/// Compares the types of extra columns. Other names are reported where the CSV is read.
fn verify_extra(stored: &[FieldRef], schema: &FactSchema) -> Result<(), Unreadable> {
    let wanted: Vec<_> = schema.extra().iter().map(|column| (column.name.as_str(), column.kind)).collect();
    let typed = |field: &FieldRef| type_of(field.data_type()).unwrap_or(ExtraType::Text);
    let stored: Vec<_> = stored.iter().map(|field| (field.name().as_str(), typed(field))).collect();
    let names = |columns: &[(&str, ExtraType)]| columns.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
    if names(&stored) != names(&wanted) || stored == wanted {
        return Ok(());
    }
    let shown = |columns: &[(&str, ExtraType)]| columns.iter().map(|(name, kind)| format!("{name} {kind}")).collect::<Vec<_>>().join(", ");
    Err(Unreadable::Types { stored: shown(&stored), wanted: shown(&wanted) })
}

/// The CSV so far.
struct CsvText {
    text: Vec<u8>,
    rows: u64,
}

impl CsvText {
    fn with_header(schema: &Schema) -> CsvText {
        let mut text = Vec::new();
        for (place, field) in schema.fields().iter().enumerate() {
            if place > 0 {
                text.push(b',');
            }
            write_text(&mut text, Some(field.name()));
        }
        text.push(b'\n');
        CsvText { text, rows: 0 }
    }

    /// The line of the next row, if no text before it has a line break.
    fn next_line(&self) -> u64 {
        self.rows + 2
    }

    fn push(&mut self, batch: &RecordBatch) -> Result<(), Unreadable> {
        let columns: Option<Vec<_>> = batch.columns().iter().map(|column: &ArrayRef| ColumnValues::new(column)).collect();
        let columns = columns.ok_or_else(|| damaged(self.next_line(), "a column changes its type"))?;
        let most = columns.iter().map(ColumnValues::most_bytes).sum::<usize>() + batch.num_rows() * columns.len();
        // A few bytes of a damaged file may stand for more rows than memory holds: an error then, and no abort.
        self.text.try_reserve(most).map_err(|error| damaged(self.next_line(), format!("its rows do not fit into memory: {error}")))?;
        for row in 0..batch.num_rows() {
            for (place, column) in columns.iter().enumerate() {
                if place > 0 {
                    self.text.push(b',');
                }
                let named = |detail| damaged(self.rows + 2, format!("{detail}, in column {}", batch.schema().field(place).name()));
                column.write(row, &mut self.text).map_err(named)?;
            }
            self.text.push(b'\n');
            self.rows += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ::parquet::arrow::ArrowWriter;
    use arrow_array::{
        BooleanArray, Decimal128Array, Float64Array, Int64Array, LargeStringArray, StringArray, TimestampMicrosecondArray,
        TimestampNanosecondArray,
    };

    use super::*;

    /// A file of one row as another tool writes it: with the Arrow schema, and with large strings.
    fn foreign(change: impl FnOnce(&mut Vec<(String, ArrayRef)>)) -> Result<String, String> {
        let decimal = |units| Arc::new(Decimal128Array::from(vec![units]).with_precision_and_scale(18, 4).unwrap()) as ArrayRef;
        let column = |(place, kind): (usize, ExtraType)| match kind {
            ExtraType::Text => Arc::new(LargeStringArray::from(vec![(place < 2).then_some("A")])) as ArrayRef,
            ExtraType::BigInt => Arc::new(Int64Array::from(vec![2])),
            ExtraType::Boolean => Arc::new(BooleanArray::from(vec![false])),
            ExtraType::Timestamp => Arc::new(TimestampMicrosecondArray::from(vec![(place == 13).then_some(1)])),
            ExtraType::Date => Arc::new(arrow_array::Date32Array::from(vec![0])),
            ExtraType::Decimal { .. } => decimal(15_000),
        };
        let names = FACT_COLUMNS.iter().map(|(name, _)| (*name).to_owned());
        let mut columns: Vec<_> = names.zip(fixed_types(&FactSchema::default()).enumerate().map(column)).collect();
        change(&mut columns);
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        match read(writer.into_inner().unwrap(), ExtraTypes::Any) {
            Ok(csv) => Ok(String::from_utf8(csv).unwrap()),
            Err(Unreadable::Damaged { line, detail }) => Err(format!("{line}: {detail}")),
            Err(Unreadable::Types { .. }) => panic!("no types were asked for"),
        }
    }

    #[test]
    fn a_file_of_another_tool_is_read_by_its_parquet_types() {
        let csv = foreign(|_| {}).unwrap();
        assert!(csv.ends_with("updated_at\nA,A,,,,,2,1.5000,1.5000,false,,,,1970-01-01 00:00:00.000001,\n"), "{csv}");
        let csv = foreign(|columns| columns.push(("note".into(), Arc::new(StringArray::from(vec!["a,b"]))))).unwrap();
        assert!(csv.contains("updated_at,note\n") && csv.ends_with(",\"a,b\"\n"), "{csv}");
        let day = |days| foreign(move |columns| columns.push(("day".into(), Arc::new(arrow_array::Date32Array::from(vec![days])))));
        assert!(day(-1).unwrap().ends_with(",1969-12-31\n"));
        assert!(day(i32::MAX).unwrap_err().contains("since 1970 is not in the years 1 to 9999, in column day"));
    }

    #[test]
    fn other_columns_types_and_values_are_errors() {
        let swap = |place: usize, column: ArrayRef| foreign(move |columns| columns[place].1 = column).unwrap_err();
        assert_eq!(swap(7, Arc::new(Float64Array::from(vec![1.5]))), "1: column unit_price has the type Float64, not DECIMAL(18,4)");
        assert!(swap(13, Arc::new(TimestampNanosecondArray::from(vec![1]))).contains("column created_at has the type Timestamp(ns)"));
        let utc = TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC");
        assert!(swap(13, Arc::new(utc)).contains("not TIMESTAMP"));
        assert_eq!(
            swap(13, Arc::new(TimestampMicrosecondArray::from(vec![i64::MAX]))),
            format!("2: {} µs since 1970 is not in the years 1 to 9999, in column created_at", i64::MAX)
        );
        assert_eq!(swap(4, Arc::new(StringArray::from(vec![""]))), "2: an empty text is not NULL, in column status");
        let wide = Decimal128Array::from(vec![10_i128.pow(18)]).with_precision_and_scale(18, 4).unwrap();
        assert!(swap(8, Arc::new(wide)).contains("has more than 18 digits, in column line_total"));
        let renamed = foreign(|columns| columns[0].0 = "id".into()).unwrap_err();
        assert!(renamed.starts_with("1: the columns are `id,sku,"), "{renamed}");
        let extra = foreign(|columns| columns.push(("weight".into(), Arc::new(Float64Array::from(vec![1.0]))))).unwrap_err();
        assert_eq!(extra, "1: column weight has the type Float64, which no column of fact_order has");
    }
}
