//! `etl diff`, and the difference that a dry run shows.

use std::{collections::BTreeMap, fmt::Write};

use super::{args::DiffArgs, display::Display};
use crate::{
    run::{ChangedRow, LayerDiff, RowChange, RunError, diff},
    settings,
};

pub(super) fn run(args: &DiffArgs, display: &Display) -> Result<u8, RunError> {
    let settings = settings::load(&args.config.flags)?;
    let found = diff(&settings, args.run_a.as_str(), args.run_b.as_ref().map(|run| run.as_str()), args.limit)?;
    display.answer(&found, |out| show(out, &found));
    Ok(0)
}

/// The difference as text: counts, revenue by day, and the first rows.
pub(super) fn show(out: &mut String, found: &LayerDiff) {
    if found.is_empty() {
        let _ = writeln!(out, "\nnothing differs");
        return;
    }
    let _ = writeln!(
        out,
        "\n{} rows added, {} removed, {} changed, in {} partitions",
        found.rows_added,
        found.rows_removed,
        found.rows_changed,
        found.partitions.len()
    );
    if !found.order_totals.is_empty() {
        let _ = writeln!(out, "totals of orders differ in {} partitions", found.order_totals.len());
    }
    if !found.refunds.is_empty() {
        let _ = writeln!(out, "refunds differ on {} days", found.refunds.len());
    }
    for name in &found.dimensions {
        let _ = writeln!(out, "{name} differs");
    }
    for change in &found.revenue {
        let currency = if change.currency.is_empty() { "no currency" } else { &change.currency };
        let _ = writeln!(out, "  {}  {:>18} -> {:>18} {currency}", change.dt, change.before, change.after);
    }
    found.rows.iter().for_each(|row| show_row(out, row));
    let shown = found.rows.len() as u64;
    let all = found.rows_added + found.rows_removed + found.rows_changed;
    if shown < all {
        let _ = writeln!(out, "  ... and {} more rows: --limit shows more", all - shown);
    }
}

fn show_row(out: &mut String, row: &ChangedRow) {
    let sign = match row.change {
        RowChange::Added => '+',
        RowChange::Removed => '-',
        RowChange::Changed => '~',
    };
    let moved = row.moved_from.map(|dt| format!(" (from {dt})")).unwrap_or_default();
    let _ = writeln!(out, "{sign} {} {} {}{moved}{}", row.dt, row.order_id, row.sku, values(row));
}

/// The values that differ: `quantity 1 -> 2`.
fn values(row: &ChangedRow) -> String {
    let text =
        |values: &BTreeMap<String, Option<String>>, name: &str| values.get(name).cloned().flatten().unwrap_or_else(|| "NULL".to_owned());
    match row.change {
        RowChange::Changed => {
            row.after.keys().map(|name| format!(", {name} {} -> {}", text(&row.before, name), text(&row.after, name))).collect()
        }
        RowChange::Added => format!(", line_total {}", text(&row.after, "line_total")),
        RowChange::Removed => format!(", line_total {}", text(&row.before, "line_total")),
    }
}
