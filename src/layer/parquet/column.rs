//! The columns of the file: their Arrow types, and how a value goes in and out as the text of the CSV.
//!
//! | `fact_order` | Arrow | Parquet |
//! |---|---|---|
//! | VARCHAR | Utf8 | BYTE_ARRAY, STRING |
//! | BIGINT | Int64 | INT64 |
//! | DECIMAL(18,s) | Decimal128(18, s) | INT64, DECIMAL(18,s) |
//! | BOOLEAN | Boolean | BOOLEAN |
//! | DATE | Date32 | INT32, DATE |
//! | TIMESTAMP | Timestamp(µs), without a zone | INT64, TIMESTAMP(MICROS, isAdjustedToUTC = false) |

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int64Array, StringArray, TimestampMicrosecondArray,
    builder::{BooleanBuilder, Date32Builder, Decimal128Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder},
    cast::AsArray,
    types::{Date32Type, Decimal128Type, DecimalType, Int64Type, TimestampMicrosecondType},
};
use arrow_schema::{DataType, Field, TimeUnit};

use crate::{
    layer::csv::write_text,
    model::{Dt, ExtraType, FactSchema, FactType, UtcMicros},
};

/// The digits of every decimal.
const PRECISION: u8 = 18;

/// The first number that does not fit [`PRECISION`] digits.
const BEYOND_PRECISION: i128 = 10_i128.pow(PRECISION as u32);

/// The types of the fixed columns.
pub(super) fn fixed_types(schema: &FactSchema) -> impl Iterator<Item = ExtraType> {
    schema.fixed().map(|(_, kind)| match kind {
        FactType::Text => ExtraType::Text,
        FactType::BigInt => ExtraType::BigInt,
        FactType::Money => ExtraType::Decimal { scale: 4 },
        FactType::Boolean => ExtraType::Boolean,
        FactType::Timestamp => ExtraType::Timestamp,
    })
}

/// The types of all columns.
pub(super) fn types(schema: &FactSchema) -> impl Iterator<Item = ExtraType> {
    fixed_types(schema).chain(schema.extra().iter().map(|column| column.kind))
}

/// The columns of the file. All may be NULL: BigQuery refuses REQUIRED columns for a table whose columns are NULLABLE.
pub(super) fn fields(schema: &FactSchema) -> Vec<Field> {
    schema.names().zip(types(schema)).map(|(name, kind)| Field::new(name, data_type(kind), true)).collect()
}

/// The Arrow type of a column.
pub(super) fn data_type(kind: ExtraType) -> DataType {
    match kind {
        ExtraType::Text => DataType::Utf8,
        ExtraType::BigInt => DataType::Int64,
        ExtraType::Boolean => DataType::Boolean,
        ExtraType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        ExtraType::Date => DataType::Date32,
        // No scale is above 18.
        ExtraType::Decimal { scale } => DataType::Decimal128(PRECISION, i8::try_from(scale).unwrap_or(i8::MAX)),
    }
}

/// The type that a column of this Arrow type has; `None` if no column of the layer has it.
pub(super) fn type_of(data_type: &DataType) -> Option<ExtraType> {
    match data_type {
        DataType::Utf8 => Some(ExtraType::Text),
        DataType::Int64 => Some(ExtraType::BigInt),
        DataType::Boolean => Some(ExtraType::Boolean),
        DataType::Timestamp(TimeUnit::Microsecond, None) => Some(ExtraType::Timestamp),
        DataType::Date32 => Some(ExtraType::Date),
        DataType::Decimal128(PRECISION, scale @ 0..=18) => Some(ExtraType::Decimal { scale: u32::from(scale.unsigned_abs()) }),
        _ => None,
    }
}

/// The values of a column, as they come.
pub(super) enum ColumnBuilder {
    Text(StringBuilder),
    BigInt(Int64Builder),
    Boolean(BooleanBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Date(Date32Builder),
    Decimal { units: Decimal128Builder, scale: u32 },
}

impl ColumnBuilder {
    pub(super) fn new(kind: ExtraType) -> ColumnBuilder {
        match kind {
            ExtraType::Text => ColumnBuilder::Text(StringBuilder::new()),
            ExtraType::BigInt => ColumnBuilder::BigInt(Int64Builder::new()),
            ExtraType::Boolean => ColumnBuilder::Boolean(BooleanBuilder::new()),
            ExtraType::Timestamp => ColumnBuilder::Timestamp(TimestampMicrosecondBuilder::new()),
            ExtraType::Date => ColumnBuilder::Date(Date32Builder::new()),
            ExtraType::Decimal { scale } => {
                ColumnBuilder::Decimal { units: Decimal128Builder::new().with_data_type(data_type(kind)), scale }
            }
        }
    }

    /// Appends a field of the CSV, NULL if it is empty. `None` if it is not a canonical value of the column's type.
    pub(super) fn push(&mut self, field: &[u8]) -> Option<()> {
        let is_null = field.is_empty();
        match self {
            ColumnBuilder::Text(column) if is_null => column.append_null(),
            ColumnBuilder::Text(column) => column.append_value(str::from_utf8(field).ok()?),
            ColumnBuilder::BigInt(column) if is_null => column.append_null(),
            ColumnBuilder::BigInt(column) => column.append_value(str::from_utf8(field).ok()?.parse().ok()?),
            ColumnBuilder::Boolean(column) => column.append_option(match field {
                b"" => None,
                b"true" => Some(true),
                b"false" => Some(false),
                _ => return None,
            }),
            ColumnBuilder::Timestamp(column) if is_null => column.append_null(),
            ColumnBuilder::Timestamp(column) => column.append_value(UtcMicros::from_canonical(field)?.micros()),
            ColumnBuilder::Date(column) if is_null => column.append_null(),
            ColumnBuilder::Date(column) => column.append_value(str::from_utf8(field).ok()?.parse::<Dt>().ok()?.days()),
            ColumnBuilder::Decimal { units, .. } if is_null => units.append_null(),
            ColumnBuilder::Decimal { units, scale } => units.append_value(parse_decimal(field, *scale)?.into()),
        }
        Some(())
    }

    /// The column; the builder is empty again.
    pub(super) fn finish(&mut self) -> ArrayRef {
        match self {
            ColumnBuilder::Text(column) => Arc::new(column.finish()),
            ColumnBuilder::BigInt(column) => Arc::new(column.finish()),
            ColumnBuilder::Boolean(column) => Arc::new(column.finish()),
            ColumnBuilder::Timestamp(column) => Arc::new(column.finish()),
            ColumnBuilder::Date(column) => Arc::new(column.finish()),
            ColumnBuilder::Decimal { units, .. } => Arc::new(units.finish()),
        }
    }
}

/// The units of a canonical decimal: digits, and exactly `scale` of them after the point.
fn parse_decimal(text: &[u8], scale: u32) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let scale = usize::try_from(scale).ok()?;
    let point = if scale == 0 { digits.len() } else { digits.len().checked_sub(scale + 1)? };
    let (whole, fraction) = digits.split_at(point);
    if whole.is_empty() || (scale > 0 && fraction.first() != Some(&b'.')) {
        return None;
    }
    // A zero before the point of DECIMAL(18,18) is a nineteenth digit.
    let mut units: i64 = 0;
    for digit in whole.iter().chain(fraction.iter().skip(1)) {
        let value = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
        units = units.checked_mul(10)?.checked_add(value)?;
    }
    let fits = i128::from(units) < BEYOND_PRECISION;
    fits.then_some(if negative { -units } else { units })
}

/// A column of a batch, read value by value.
pub(super) enum ColumnValues<'b> {
    Text(&'b StringArray),
    BigInt(&'b Int64Array),
    Boolean(&'b BooleanArray),
    Timestamp(&'b TimestampMicrosecondArray),
    Date(&'b Date32Array),
    Decimal { units: &'b Decimal128Array, scale: i8 },
}

impl<'b> ColumnValues<'b> {
    /// The values of a column; `None` if it has a type that no column of the layer has.
    pub(super) fn new(column: &'b ArrayRef) -> Option<ColumnValues<'b>> {
        Some(match type_of(column.data_type())? {
            ExtraType::Text => ColumnValues::Text(column.as_string_opt()?),
            ExtraType::BigInt => ColumnValues::BigInt(column.as_primitive_opt::<Int64Type>()?),
            ExtraType::Boolean => ColumnValues::Boolean(column.as_boolean_opt()?),
            ExtraType::Timestamp => ColumnValues::Timestamp(column.as_primitive_opt::<TimestampMicrosecondType>()?),
            ExtraType::Date => ColumnValues::Date(column.as_primitive_opt::<Date32Type>()?),
            ExtraType::Decimal { scale } => {
                ColumnValues::Decimal { units: column.as_primitive_opt::<Decimal128Type>()?, scale: i8::try_from(scale).ok()? }
            }
        })
    }

    /// The most bytes that the column takes as CSV: quotes double at most.
    pub(super) fn most_bytes(&self) -> usize {
        match self {
            ColumnValues::Text(column) => column.value_data().len() * 2 + column.len() * 3,
            ColumnValues::BigInt(column) => column.len() * 21,
            ColumnValues::Boolean(column) => column.len() * 6,
            ColumnValues::Timestamp(column) => column.len() * 27,
            ColumnValues::Date(column) => column.len() * 11,
            ColumnValues::Decimal { units, .. } => units.len() * 22,
        }
    }

    /// Appends the field of a row, nothing if it is NULL.
    ///
    /// # Errors
    /// The value, if the layer can't hold it.
    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
        if self.array().is_null(row) {
            return Ok(());
        }
        match self {
            // The layer has no empty texts: a reader of the file would see one where a reader of the CSV sees NULL.
            ColumnValues::Text(column) if column.value(row).is_empty() => return Err("an empty text is not NULL".to_owned()),
            ColumnValues::Text(column) => write_text(out, Some(column.value(row))),
            ColumnValues::BigInt(column) => out.extend_from_slice(itoa::Buffer::new().format(column.value(row)).as_bytes()),
            ColumnValues::Boolean(column) => out.extend_from_slice(if column.value(row) { b"true" } else { b"false" }),
            ColumnValues::Timestamp(column) => {
                let micros = column.value(row);
                let instant = UtcMicros::new(micros).ok_or_else(|| format!("{micros} µs since 1970 is not in the years 1 to 9999"))?;
                instant.write(out);
            }
            ColumnValues::Date(column) => {
                let days = column.value(row);
                let date = Dt::from_days(days).ok_or_else(|| format!("day {days} since 1970 is not in the years 1 to 9999"))?;
                out.extend_from_slice(date.to_string().as_bytes());
            }
            ColumnValues::Decimal { units, scale } => {
                let units = units.value(row);
                if units.abs() >= BEYOND_PRECISION {
                    return Err(format!("the decimal {units} has more than {PRECISION} digits"));
                }
                write_decimal(out, units, *scale);
            }
        }
        Ok(())
    }

    fn array(&self) -> &dyn Array {
        match self {
            ColumnValues::Text(column) => column,
            ColumnValues::BigInt(column) => column,
            ColumnValues::Boolean(column) => column,
            ColumnValues::Timestamp(column) => column,
            ColumnValues::Date(column) => column,
            ColumnValues::Decimal { units, .. } => units,
        }
    }
}

/// Appends the canonical text of a decimal.
fn write_decimal(out: &mut Vec<u8>, units: i128, scale: i8) {
    out.extend_from_slice(Decimal128Type::format_decimal(units, PRECISION, scale).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_has_exactly_its_scale() {
        for (text, scale, units) in [
            ("0", 0, Some(0)),
            ("-7", 0, Some(-7)),
            ("7.", 0, None),
            ("0.05", 2, Some(5)),
            ("-0.05", 2, Some(-5)),
            ("1.5", 2, None),
            ("1.500", 2, None),
            (".50", 2, None),
            ("-.50", 2, None),
            ("1e50", 2, None),
            ("", 0, None),
            ("-", 0, None),
            ("0.999999999999999999", 18, Some(999_999_999_999_999_999)),
            ("1.000000000000000000", 18, None),
            ("99999999999999.9999", 4, Some(999_999_999_999_999_999)),
            ("100000000000000.0000", 4, None),
            ("99999999999999999999.00", 2, None),
        ] {
            assert_eq!(parse_decimal(text.as_bytes(), scale), units, "{text} of scale {scale}");
            if let Some(units) = units {
                let mut out = Vec::new();
                write_decimal(&mut out, units.into(), i8::try_from(scale).unwrap());
                assert_eq!(String::from_utf8(out).unwrap(), text);
            }
        }
    }

    #[test]
    fn a_type_is_that_of_its_arrow_type() {
        let decimals = [0, 2, 4, 18].map(|scale| ExtraType::Decimal { scale });
        let others = [ExtraType::Text, ExtraType::BigInt, ExtraType::Boolean, ExtraType::Timestamp, ExtraType::Date];
        for kind in others.into_iter().chain(decimals) {
            assert_eq!(type_of(&data_type(kind)), Some(kind));
        }
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        for other in [DataType::Float64, DataType::Int32, utc, DataType::Decimal128(19, 4), DataType::Decimal128(18, -1)] {
            assert_eq!(type_of(&other), None, "{other}");
        }
    }
}
