//! What holds for any input at all. The fuzz targets try it on inputs that libFuzzer makes up, `tests/fuzz_inputs.rs` on
//! those that are kept in `fixed/`.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::path::Path;

use orders_etl::{
    layer::{read_partition, write_header, write_line},
    model::{CellTypes, DIM_PRODUCT, DIM_USER, Dt, FactRows, FactSchema, LONGEST_TEXT, Level, Money, RawRecord, Reason, UtcMicros, Window},
    normalize::{MemberNormalizer, RecordNormalizer},
    settings::{Limits, Profile, When},
};

/// Any bytes as a record: it is processed, dropped or out of the window, its lines become rows or drops, its rows are exact
/// and come back from the stored form as they were, and what is dropped is kept to the byte.
pub fn record(input: &[u8]) {
    member(input);
    let (normalizer, schema) = (RecordNormalizer::new(Window::default()), FactSchema::default());
    let batch = normalizer.normalize(std::iter::once(input));
    let counts = &batch.counts;
    let dropped = |level: Level| -> u64 {
        Reason::ALL.iter().zip(counts.dropped).filter(|(reason, _)| reason.level() == level).map(|(_, count)| count).sum()
    };
    assert_eq!(counts.records_read, counts.records_processed + counts.records_out_of_window + dropped(Level::Record));
    assert_eq!(batch.drops.len() as u64, dropped(Level::Record) + dropped(Level::Line));
    assert!(batch.drops.iter().all(|drop| *drop.record == *input));
    let frame = batch.rows.finish().unwrap();
    let rows = FactRows::new(&frame).unwrap();
    assert_eq!(rows.len() as u64, counts.lines_read - dropped(Level::Line));
    let mut stored = Vec::new();
    write_header(&mut stored, &schema);
    let mut total = 0;
    for line in (0..rows.len()).map(|row| rows.line(row)) {
        assert!(!line.order_id.is_empty() && !line.sku.is_empty());
        assert_eq!(line.quantity.times(line.unit_price).ok(), Some(line.line_total));
        assert!([line.order_id, line.sku].iter().all(|text| !text.contains('\0') && text.trim() == *text));
        total += i128::from(line.line_total.units());
        write_line(&mut stored, &line, std::iter::empty());
    }
    if rows.is_empty() {
        return;
    }
    let dt = rows.line(0).dt();
    assert_eq!(batch.revenue.of(dt).values().sum::<i128>(), total);
    let back = read_partition(&stored, dt, Path::new("stored.csv"), &schema).unwrap().finish().unwrap();
    let back = FactRows::new(&back).unwrap();
    assert_eq!(back.len(), rows.len());
    assert!((0..rows.len()).all(|row| back.line(row) == rows.line(row)));
}

/// Any bytes as a user and as a product: malformed, without a key, or a row whose texts are clean and fit.
fn member(input: &[u8]) {
    for spec in [DIM_USER, DIM_PRODUCT] {
        let mut normalizer = MemberNormalizer::new(spec, &Profile::default(), Limits::default());
        normalizer.records(std::iter::once(RawRecord::from(input)), CellTypes::Typed);
        let members = normalizer.finish();
        let (counts, table) = (members.counts, &members.table);
        assert_eq!(counts.records_read, counts.records_malformed + counts.records_without_key + table.height() as u64);
        assert!(table.names().iter().all(|name| *name == name.to_lowercase() && !name.is_empty()));
        for column in 0..table.names().len() {
            assert!(table.texts(column).all(|text| !text.is_empty() && text.len() <= LONGEST_TEXT && !text.contains('\0')));
        }
        if table.height() > 0 {
            assert!(table.column(spec.key()).and_then(|key| table.cell(0, key)).is_some());
        }
    }
}

/// Any bytes as a stored partition: refused, or read as rows that are written as what is read again.
pub fn stored_partition(input: &[u8]) {
    let (path, schema) = (Path::new("stored.csv"), FactSchema::default());
    let dt: Dt = "2026-01-31".parse().unwrap();
    // Most inputs would end at the header: half of them get the right one.
    let mut bytes = Vec::new();
    if input.first().is_some_and(|byte| byte % 2 == 0) {
        write_header(&mut bytes, &schema);
    }
    bytes.extend_from_slice(input.get(1..).unwrap_or_default());
    let Ok(read) = read_partition(&bytes, dt, path, &schema) else { return };
    let write = |rows: &FactRows| {
        let mut out = Vec::new();
        write_header(&mut out, &schema);
        (0..rows.len()).for_each(|row| write_line(&mut out, &rows.line(row), std::iter::empty()));
        out
    };
    let first = write(&FactRows::new(&read.finish().unwrap()).unwrap());
    let again = read_partition(&first, dt, path, &schema).unwrap().finish().unwrap();
    assert_eq!(write(&FactRows::new(&again).unwrap()), first);
}

/// Any text as WHEN, an amount and an instant: refused, or a value that reads back as itself.
pub fn when(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let now = UtcMicros::from_civil((2026, 1, 31), 12, 0, 0).unwrap();
    if let Ok(when) = text.parse::<When>()
        && let Some(instant) = when.instant(now)
    {
        assert_eq!(instant.rfc3339().parse::<When>().ok().and_then(|when| when.instant(now)), Some(instant));
        let mut stored = Vec::new();
        instant.write(&mut stored);
        assert_eq!(UtcMicros::from_canonical(&stored), Some(instant));
    }
    if let Ok(parsed) = orders_etl::model::parse_money(input) {
        let mut stored = Vec::new();
        parsed.money.write(&mut stored);
        assert_eq!(Money::from_canonical(&stored).ok(), Some(parsed.money));
    }
}
