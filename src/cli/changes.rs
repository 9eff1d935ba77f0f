//! `etl changes`: a feed of the keys that changed since a run, a line each, and the counts as the last line.

use std::fmt::Write;

use serde_json::json;

use super::{args::ChangesArgs, display::Display, escaped::escaped, text::counted};
use crate::{
    run::{ChangedRow, RowChange, RunError, changes_since},
    settings,
};

pub(super) fn run(args: &ChangesArgs, display: &Display) -> Result<u8, RunError> {
    let settings = settings::load(&args.config.flags)?;
    let found = changes_since(&settings, args.since_run.as_str())?;
    let counts = json!({
        "since_run": args.since_run.as_str(),
        "rows_added": found.rows_added,
        "rows_removed": found.rows_removed,
        "rows_changed": found.rows_changed,
        "partitions": found.partitions,
        "order_totals": found.order_totals,
        "refunds": found.refunds,
        "dimensions": found.dimensions,
    });
    if display.answers_in_json() {
        let lines: String = found.rows.iter().map(|row| format!("{}\n", line(row))).collect();
        display.verbatim(&lines);
    }
    display.answer(&counts, |out| {
        for row in &found.rows {
            let _ = writeln!(out, "{} {} {} {}", operation(row.change), row.dt, escaped(&row.order_id), escaped(&row.sku));
        }
        let added = counted(found.rows_added, "row");
        let _ = writeln!(out, "{added} added, {} removed, {} changed", found.rows_removed, found.rows_changed);
        let again = settings.command_line(&format!("changes --since-run {} --json", args.since_run.as_str()));
        let _ = writeln!(out, "\nFor other programs: {again}");
    });
    Ok(0)
}

/// A row of the feed.
fn line(row: &ChangedRow) -> serde_json::Value {
    let mut line = json!({"op": operation(row.change), "order_id": row.order_id, "sku": row.sku, "dt": row.dt});
    if let Some(from) = row.moved_from {
        line["moved_from"] = json!(from);
    }
    line
}

fn operation(change: RowChange) -> &'static str {
    match change {
        RowChange::Added => "insert",
        RowChange::Removed => "delete",
        RowChange::Changed => "update",
    }
}
