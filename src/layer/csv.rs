//! The CSV of the layer, in and out (contract, Output): UTF-8, LF, a header, RFC 4180 quoting only where needed, NULL as an
//! empty field, exactly four decimals, UTC timestamps. Equal rows are equal bytes.

use std::path::Path;

use csv::ByteRecord;

use super::{LayerError, PartitionRows};
use crate::model::{Dt, FACT_COLUMNS, FactBuilder, FactSchema, Line, Money, Quantity, UtcMicros};

/// Appends the header of `fact_order`.
pub fn write_header(out: &mut Vec<u8>, schema: &FactSchema) {
    for (place, name) in schema.names().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
    }
    out.push(b'\n');
}

/// Appends a text, quoted where RFC 4180 needs it; nothing for NULL.
pub fn write_text(out: &mut Vec<u8>, text: Option<&str>) {
    let Some(text) = text else { return };
    // Hardly any byte is as small as a comma: one comparison tells.
    if !text.bytes().any(|byte| byte <= b',' && matches!(byte, b',' | b'"' | b'\n' | b'\r')) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    for byte in text.bytes() {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// Appends a row of `fact_order`; `extra` are the texts of the schema's further columns.
pub fn write_line<'e>(out: &mut Vec<u8>, line: &Line<'_>, extra: impl Iterator<Item = Option<&'e str>>) {
    let texts = [Some(line.order_id), Some(line.sku), line.user_id, line.product_id, line.status, line.currency];
    for text in texts {
        write_text(out, text);
        out.push(b',');
    }
    line.quantity.write(out);
    out.push(b',');
    line.unit_price.write(out);
    out.push(b',');
    line.line_total.write(out);
    out.extend_from_slice(if line.price_defaulted { b",true," } else { b",false," });
    for text in [line.user_country, line.product_name, line.product_category] {
        write_text(out, text);
        out.push(b',');
    }
    line.created_at.write(out);
    out.push(b',');
    if let Some(updated_at) = line.updated_at {
        updated_at.write(out);
    }
    for text in extra {
        out.push(b',');
        write_text(out, text);
    }
    out.push(b'\n');
}

/// Reads a partition's bytes back, strictly: what this tool did not write, or could not have, is an error and not a guess.
///
/// # Errors
/// [`LayerError::Partition`], with the line; [`LayerError::Columns`] where it was written with other further columns.
pub fn read_partition(bytes: &[u8], dt: Dt, path: &Path, schema: &FactSchema) -> Result<FactBuilder, LayerError> {
    let mut rows = FactBuilder::new(schema, bytes.len() / 150);
    read_rows(bytes, dt, path, schema, |line, extra| rows.push(line, extra.iter().copied()))?;
    Ok(rows)
}

/// The same in few bytes.
///
/// # Errors
/// As [`read_partition`].
pub(super) fn read_compact(bytes: &[u8], dt: Dt, path: &Path, schema: &FactSchema) -> Result<PartitionRows, LayerError> {
    let mut rows = PartitionRows::new(schema);
    rows.reserve(bytes.len() / 150, bytes.len() / 3 * 2);
    read_rows(bytes, dt, path, schema, |line, extra| rows.push(line, 0, extra.iter().copied()))?;
    Ok(rows)
}

/// Hands on each row, with the texts of its extra columns.
fn read_rows(
    bytes: &[u8],
    dt: Dt,
    path: &Path,
    schema: &FactSchema,
    mut each: impl FnMut(&Line<'_>, &[Option<&str>]),
) -> Result<(), LayerError> {
    let damaged = |line: u64, detail: String| LayerError::Partition { path: path.to_owned(), line, detail };
    let mut reader = csv::ReaderBuilder::new().has_headers(true).from_reader(bytes);
    let header = reader.byte_headers().map_err(|error| damaged(1, error.to_string()))?;
    let found: Vec<_> = header.iter().map(String::from_utf8_lossy).collect();
    if !found.iter().eq(schema.names()) {
        let Some(extra) = further_names(&found) else {
            return Err(damaged(1, format!("the columns are `{}`, not those of fact_order", found.join(","))));
        };
        return Err(LayerError::columns(extra.iter().map(AsRef::as_ref), schema));
    }
    let mut record = ByteRecord::new();
    loop {
        let line = reader.position().line();
        match reader.read_byte_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {
                let fixed = parse_line(&record, dt, schema).map_err(|detail| damaged(line, detail))?;
                let extra = parse_extra(&record, schema).map_err(|detail| damaged(line, detail))?;
                each(&fixed, &extra);
            }
            Err(error) => return Err(damaged(line, error.to_string())),
        }
    }
    if bytes.last() != Some(&b'\n') {
        return Err(damaged(reader.position().line(), "the file ends within a line: it was cut short".into()));
    }
    Ok(())
}

/// The further columns of a header that begins with the fixed ones.
pub(super) fn further_names<S: AsRef<str>>(header: &[S]) -> Option<&[S]> {
    let (fixed, extra) = header.split_at_checked(FACT_COLUMNS.len())?;
    fixed.iter().map(AsRef::as_ref).eq(FACT_COLUMNS.iter().map(|(name, _)| *name)).then_some(extra)
}

fn parse_extra<'r>(record: &'r ByteRecord, schema: &FactSchema) -> Result<Vec<Option<&'r str>>, String> {
    let mut values = Vec::with_capacity(schema.extra().len());
    for (column, bytes) in schema.extra().iter().zip(record.iter().skip(FACT_COLUMNS.len())) {
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.is_empty() || column.kind.is_canonical(text));
        let text =
            text.ok_or_else(|| format!("`{}` is not a valid {} in column {}", String::from_utf8_lossy(bytes), column.kind, column.name))?;
        values.push((!text.is_empty()).then_some(text));
    }
    Ok(values)
}

fn parse_line<'r>(record: &'r ByteRecord, dt: Dt, schema: &FactSchema) -> Result<Line<'r>, String> {
    let field = |place: usize| record.get(place).unwrap_or_default();
    let wrong = |place: usize| {
        format!(
            "`{}` is not a valid {} in column {}",
            String::from_utf8_lossy(field(place)),
            schema.fixed().nth(place).map_or("value", |(_, kind)| kind.sql()),
            FACT_COLUMNS[place].0
        )
    };
    let text = |place: usize| match field(place) {
        b"" => Ok(None),
        bytes => std::str::from_utf8(bytes).map(Some).map_err(|_| wrong(place)),
    };
    let required = |place: usize| text(place)?.ok_or_else(|| format!("{} is empty", FACT_COLUMNS[place].0));
    let money = |place: usize| Money::from_canonical(field(place)).map_err(|_| wrong(place));
    let instant = |place: usize| UtcMicros::from_canonical(field(place)).ok_or_else(|| wrong(place));
    let line = Line {
        order_id: required(0)?,
        sku: required(1)?,
        user_id: text(2)?,
        product_id: text(3)?,
        status: text(4)?,
        currency: text(5)?,
        quantity: text(6)?.and_then(|text| Quantity::from_canonical(schema.quantity(), text)).ok_or_else(|| wrong(6))?,
        unit_price: money(7)?,
        line_total: money(8)?,
        price_defaulted: match field(9) {
            b"true" => true,
            b"false" => false,
            _ => return Err(wrong(9)),
        },
        user_country: text(10)?,
        product_name: text(11)?,
        product_category: text(12)?,
        created_at: instant(13)?,
        updated_at: if field(14).is_empty() { None } else { Some(instant(14)?) },
    };
    if line.dt() != dt {
        return Err(format!("created_at {} does not lie in the partition dt={dt}", line.created_at));
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FactRows;

    fn line<'a>() -> Line<'a> {
        Line {
            order_id: "A,1",
            sku: "say \"hi\"",
            user_id: None,
            product_id: Some("line\nbreak"),
            status: Some("cr\r"),
            currency: Some("EUR"),
            quantity: (-2).into(),
            unit_price: Money::from_units(15_000).unwrap(),
            line_total: Money::from_units(-30_000).unwrap(),
            price_defaulted: false,
            user_country: None,
            product_name: Some("Ünïcode ünd ein Name, der länger ist"),
            product_category: None,
            created_at: UtcMicros::new(1).unwrap(),
            updated_at: None,
        }
    }

    fn file(lines: &[Line<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        write_header(&mut out, &FactSchema::default());
        lines.iter().for_each(|line| write_line(&mut out, line, std::iter::empty()));
        out
    }

    fn read(bytes: &[u8]) -> Result<FactBuilder, LayerError> {
        read_partition(bytes, "1970-01-01".parse().unwrap(), Path::new("x.csv"), &FactSchema::default())
    }

    #[test]
    fn the_bytes_are_those_of_the_contract() {
        assert_eq!(
            String::from_utf8(file(&[line()])).unwrap(),
            "order_id,sku,user_id,product_id,status,currency,quantity,unit_price,line_total,price_defaulted,user_country,product_name,product_category,created_at,updated_at\n\
             \"A,1\",\"say \"\"hi\"\"\",,\"line\nbreak\",\"cr\r\",EUR,-2,1.5000,-3.0000,false,,\"Ünïcode ünd ein Name, der länger ist\",,1970-01-01 00:00:00.000001,\n"
        );
    }

    #[test]
    fn a_row_comes_back_as_it_was_written() {
        let frame = read(&file(&[line(), Line { updated_at: UtcMicros::new(0), ..line() }])).unwrap().finish().unwrap();
        let rows = FactRows::new(&frame).unwrap();
        assert_eq!(rows.line(0), line());
        assert_eq!(rows.line(1).updated_at, UtcMicros::new(0));
    }

    #[test]
    fn a_damaged_file_is_an_error_with_its_line() {
        let good = String::from_utf8(file(&[Line { product_id: None, ..line() }])).unwrap();
        let message = |text: &str| read(text.as_bytes()).map(|_| ()).unwrap_err().to_string();
        assert!(message("").contains("line 1: the columns are"));
        assert!(message(&good.replace("order_id", "id")).contains("line 1: the columns are `id,"));
        assert!(message(&good.replace("1.5000", "1.5")).contains("line 2: `1.5` is not a valid DECIMAL(18,4) in column unit_price"));
        assert!(message(&good.replace("false", "no")).contains("price_defaulted"));
        assert!(message(&good.replace("1970-01-01", "1970-01-02")).contains("does not lie in the partition dt=1970-01-01"));
        assert!(message(good.trim_end()).contains("cut short"));
        assert!(message(&good.replace(",EUR", "")).contains("line 2"));
    }

    #[test]
    fn further_columns_are_typed_and_others_are_a_difference_of_settings() {
        use crate::model::{ExtraColumn, ExtraType};
        let schema = |columns: &[(&str, ExtraType)]| {
            FactSchema::new(columns.iter().map(|(name, kind)| ExtraColumn { name: (*name).into(), kind: *kind }).collect())
        };
        let wide = schema(&[("channel", ExtraType::Text), ("tax", ExtraType::Decimal { scale: 2 })]);
        let mut bytes = Vec::new();
        write_header(&mut bytes, &wide);
        write_line(&mut bytes, &line(), [Some("a,b"), Some("0.19")].into_iter());
        write_line(&mut bytes, &line(), [None, None].into_iter());
        let read = |bytes: &[u8], schema: &FactSchema| read_partition(bytes, "1970-01-01".parse().unwrap(), Path::new("x.csv"), schema);
        let frame = read(&bytes, &wide).unwrap().finish().unwrap();
        let rows = FactRows::new(&frame).unwrap();
        assert_eq!(rows.extra(0).collect::<Vec<_>>(), [Some("a,b"), Some("0.19")]);
        assert_eq!(rows.extra(1).collect::<Vec<_>>(), [None, None]);
        let damaged = String::from_utf8(bytes.clone()).unwrap().replace("0.19", "0.190");
        assert!(
            read(damaged.as_bytes(), &wide)
                .map(drop)
                .unwrap_err()
                .to_string()
                .contains("`0.190` is not a valid DECIMAL(18,2) in column tax")
        );
        let error = read(&bytes, &schema(&[("tax", ExtraType::Text)])).map(drop).unwrap_err();
        assert!(
            matches!(error, LayerError::Columns { .. })
                && error.to_string().contains("channel, tax")
                && error.to_string().contains("etl rewrite"),
            "{error}"
        );
    }
}
