//! `etl run --sample N`: what the first records of the orders become, as a table.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::{
    display::Display,
    escaped::escaped,
    table::{Column, Table},
    text::counted,
};
use crate::{
    cancel::Cancel,
    run::{Mapped, RunError, sample},
    settings::Settings,
};

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
    display.answer(&result, |out| show(out, &mapped, display.width));
    Ok(0)
}

fn object(columns: &[String], row: &[Option<String>]) -> Value {
    let entries: Map<String, Value> = columns.iter().zip(row).map(|(column, value)| (column.clone(), json!(value))).collect();
    Value::Object(entries)
}

/// The rows, without columns that none of them fills. Every value is shown: a table that is too wide is a block for
/// each row.
fn show(out: &mut String, mapped: &Mapped, width: Option<usize>) {
    let columns: Vec<_> = mapped.columns.iter().map(|name| Column::text(name)).collect();
    let mut table = Table::new(&columns);
    mapped.rows.iter().for_each(|row| table.row(row.iter().map(|value| value.clone().unwrap_or_default())));
    if !mapped.rows.is_empty() {
        table.show_or_list(out, width);
        out.push('\n');
    }
    let _ = writeln!(
        out,
        "{} of {}; {} outside of the window, {} left out by the profile",
        counted(mapped.rows.len() as u64, "row"),
        counted(mapped.records, "record"),
        mapped.records_out_of_window,
        mapped.records_skipped
    );
    for dropped in &mapped.drops {
        let order = dropped.order_id.as_ref().map(|order_id| format!(" of order {}", escaped(order_id))).unwrap_or_default();
        let what = dropped.line.map_or_else(|| "record".to_owned(), |line| format!("line {line}"));
        let _ = writeln!(out, "would drop a {what}{order}: {}", dropped.reason);
    }
    let _ = writeln!(out, "nothing was written; users and products were not read, so their columns are missing");
}
