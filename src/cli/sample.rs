//! `etl run --sample N`: what the first records of the orders become, as a table.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::{
    aligned::{aligned, in_short},
    display::Display,
};
use crate::{
    cancel::Cancel,
    run::{Mapped, RunError, sample},
    settings::Settings,
};

/// How many characters of a value the table shows.
const SHOWN: usize = 32;

pub(super) fn run(settings: &Settings, most: usize, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    let mapped = sample(settings, most, cancel)?;
    let rows: Vec<Value> = mapped.rows.iter().map(|row| object(&mapped.columns, row)).collect();
    let result = json!({
        "command": "run",
        "status": "sample",
        "records_read": mapped.records,
        "records_out_of_window": mapped.records_out_of_window,
        "records_skipped": mapped.records_skipped,
        "rows": rows,
        "drops": mapped.drops,
    });
    display.answer(&result, |out| show(out, &mapped));
    Ok(0)
}

fn object(columns: &[String], row: &[Option<String>]) -> Value {
    let entries: Map<String, Value> = columns.iter().zip(row).map(|(column, value)| (column.clone(), json!(value))).collect();
    Value::Object(entries)
}

/// The rows, without columns that none of them fills.
fn show(out: &mut String, mapped: &Mapped) {
    let filled: Vec<usize> =
        (0..mapped.columns.len()).filter(|&place| mapped.rows.iter().any(|row| row.get(place).is_some_and(Option::is_some))).collect();
    let header: Vec<&str> = filled.iter().filter_map(|&place| mapped.columns.get(place)).map(String::as_str).collect();
    let cell = |row: &[Option<String>], place: usize| {
        row.get(place).and_then(Option::as_deref).map_or_else(String::new, |text| in_short(text, SHOWN))
    };
    let rows = mapped.rows.iter().map(|row| filled.iter().map(|&place| cell(row, place)).collect::<Vec<_>>());
    if !mapped.rows.is_empty() {
        out.push_str(&aligned(&header, rows));
        out.push('\n');
    }
    let _ = writeln!(
        out,
        "{} rows of {} records; {} outside of the window, {} left out by the profile",
        mapped.rows.len(),
        mapped.records,
        mapped.records_out_of_window,
        mapped.records_skipped
    );
    for dropped in &mapped.drops {
        let order = dropped.order_id.as_ref().map(|order_id| format!(" of order {order_id}")).unwrap_or_default();
        let what = dropped.line.map_or_else(|| "record".to_owned(), |line| format!("line {line}"));
        let _ = writeln!(out, "would drop a {what}{order}: {}", dropped.reason);
    }
    let _ = writeln!(out, "nothing was written; users and products were not read, so their columns are missing");
}
