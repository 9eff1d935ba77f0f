//! `etl diff`, and the difference that a dry run shows.

use std::{collections::BTreeMap, fmt::Write};

use super::{
    args::DiffArgs,
    display::Display,
    table::{Column, Table},
    text::counted,
};
use crate::{
    model::currency_name,
    run::{ChangedRow, LayerDiff, RowChange, RunError, diff},
    settings::{self, Settings},
};

pub(super) fn run(args: &DiffArgs, display: &Display) -> Result<u8, RunError> {
    let settings = settings::load(&args.config.flags)?;
    let found = diff(&settings, args.run_a.as_str(), args.run_b.as_ref().map(|run| run.as_str()), args.limit)?;
    display.answer(&found, |out| {
        show(out, &found, display.width);
        let _ = writeln!(out, "\n{}", next(args, &found, &settings));
    });
    Ok(0)
}

/// The next step: to undo the run, to see one of its orders, or to look at another run.
fn next(args: &DiffArgs, found: &LayerDiff, settings: &Settings) -> String {
    if found.is_empty() {
        return format!("Other runs: {}", settings.command_line("runs"));
    }
    match &args.run_b {
        None => format!("To undo the run: {}", settings.command_line(&format!("undo {} --dry-run", args.run_a.as_str()))),
        Some(_) => format!("To follow an order: {}", settings.command_line("explain ORDER_ID")),
    }
}

/// The difference as text: counts, revenue by day, and the first rows.
pub(super) fn show(out: &mut String, found: &LayerDiff, width: Option<usize>) {
    if found.is_empty() {
        let _ = writeln!(out, "nothing differs");
        return;
    }
    let _ = writeln!(
        out,
        "{} added, {} removed, {} changed, in {}",
        counted(found.rows_added, "row"),
        found.rows_removed,
        found.rows_changed,
        counted(found.partitions.len() as u64, "partition")
    );
    if !found.order_totals.is_empty() {
        let _ = writeln!(out, "totals of orders differ in {}", counted(found.order_totals.len() as u64, "partition"));
    }
    if !found.refunds.is_empty() {
        let _ = writeln!(out, "refunds differ on {}", counted(found.refunds.len() as u64, "day"));
    }
    for name in &found.dimensions {
        let _ = writeln!(out, "{name} differs");
    }
    revenue(out, found, width);
    rows(out, found, width);
    let shown = found.rows.len() as u64;
    let all = found.rows_added + found.rows_removed + found.rows_changed;
    if shown < all {
        let _ = writeln!(out, "  ... and {}: --limit shows more", counted(all - shown, "more row"));
    }
}

/// Revenue by day and currency, before and after.
fn revenue(out: &mut String, found: &LayerDiff, width: Option<usize>) {
    if found.revenue.is_empty() {
        return;
    }
    let columns = [Column::text("revenue of"), Column::number("before"), Column::number("after"), Column::text("currency")];
    let mut table = Table::new(&columns);
    for change in &found.revenue {
        let currency = currency_name(&change.currency).to_owned();
        table.row([change.dt.to_string(), change.before.to_string(), change.after.to_string(), currency]);
    }
    out.push('\n');
    table.show(out, width);
}

/// The first rows that differ. No value is cut: what does not fit goes on in the next line, or stands in a block of its own.
fn rows(out: &mut String, found: &LayerDiff, width: Option<usize>) {
    if found.rows.is_empty() {
        return;
    }
    let columns =
        [Column::text("+/-"), Column::text("dt"), Column::text("order_id"), Column::text("sku"), Column::text("values").wraps(24)];
    let mut table = Table::new(&columns);
    found.rows.iter().for_each(|row| table.row(cells(row)));
    out.push('\n');
    table.show_or_list(out, width);
}

fn cells(row: &ChangedRow) -> [String; 5] {
    let sign = match row.change {
        RowChange::Added => "+",
        RowChange::Removed => "-",
        RowChange::Changed => "~",
    };
    let moved = row.moved_from.map(|dt| format!("from {dt}"));
    let values: Vec<_> = moved.into_iter().chain(values(row)).collect();
    [sign.to_owned(), row.dt.to_string(), row.order_id.clone(), row.sku.clone(), values.join(", ")]
}

/// The values that differ: `quantity 1 -> 2`.
fn values(row: &ChangedRow) -> Vec<String> {
    let text =
        |values: &BTreeMap<String, Option<String>>, name: &str| values.get(name).cloned().flatten().unwrap_or_else(|| "NULL".to_owned());
    match row.change {
        RowChange::Changed => {
            row.after.keys().map(|name| format!("{name} {} -> {}", text(&row.before, name), text(&row.after, name))).collect()
        }
        RowChange::Added => vec![format!("line_total {}", text(&row.after, "line_total"))],
        RowChange::Removed => vec![format!("line_total {}", text(&row.before, "line_total"))],
    }
}
