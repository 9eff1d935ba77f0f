//! `etl explain`: what is known of one order, as text or as JSON.

use std::fmt::Write;

use super::{
    args::ExplainArgs,
    display::Display,
    escaped::escaped,
    text::{self, counted},
};
use crate::{
    cancel::Cancel,
    layer::{FoundBy, RowColumns},
    model::{DropCounts, Level},
    run::{
        AskWarehouse, ExplainRequest, Explanation, NamedBy, RunChecks, RunError, Version, WarehouseRows, explain, recover_unless_held,
        require_layer,
    },
    settings::{self, Settings},
    store::Output,
};

/// How much of a dropped record a line shows where there is no terminal.
const SHOWN: usize = 93;

pub(super) fn run(args: &ExplainArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    let settings = settings::load(&args.config.flags)?;
    // The rules by which versions are told are those of the shop.
    let shop = args.order_id.split_once(':').map(|(shop, _)| shop).filter(|shop| settings.shops.iter().any(|name| name == shop));
    let of_shop = shop.map(|shop| settings::load_shop(&args.config.flags, shop)).transpose()?.flatten();
    let settings = of_shop.unwrap_or(settings);
    let output = Output::open(&settings.output)?;
    require_layer(&output)?;
    recover_unless_held(&output)?;
    let warehouse = if args.warehouse { AskWarehouse::Yes } else { AskWarehouse::No };
    let request = ExplainRequest { order_id: &args.order_id, sku: args.sku.as_deref(), warehouse };
    let explanation = explain(&settings, &request, cancel)?;
    display.answer(&explanation, |out| {
        show(out, &explanation, &settings, display.width);
        next(out, &explanation, &settings);
    });
    Ok(0)
}

fn show(out: &mut String, explanation: &Explanation, settings: &Settings, width: Option<usize>) {
    let sku = explanation.sku.as_ref().map(|sku| format!(", sku {sku}")).unwrap_or_default();
    let counts = [
        counted(explanation.rows.len() as u64, "row"),
        counted(explanation.versions.len() as u64, "version"),
        format!("dropped: {}", text::drops(drops(explanation))),
    ];
    paragraph(out, 0, &format!("order {}{sku}: {}", explanation.order_id, counts.join(", ")));
    rows(out, explanation, settings);
    versions(out, &explanation.versions);
    dropped(out, explanation, settings, width);
    checks(out, &explanation.checks);
    if let Some(answer) = &explanation.warehouse {
        warehouse(out, answer);
    }
    if !explanation.notes.is_empty() {
        heading(out, "notes");
        explanation.notes.iter().for_each(|note| paragraph(out, 2, note));
    }
    let _ = writeln!(out);
    let read = match explanation.looked_at.found_by {
        FoundBy::Index => format!("partitions read, by the index of orders: {}", explanation.looked_at.partitions_read),
        FoundBy::Scan => "all partitions were read".to_owned(),
    };
    paragraph(out, 0, &format!("searched: {} ({read})", explanation.looked_at.text()));
}

/// The drops of the order: one record may have lost several lines.
fn drops(explanation: &Explanation) -> DropCounts {
    let mut drops = DropCounts::default();
    for part in &explanation.dropped {
        drops.add(Level::named(&part.level), 1);
    }
    drops
}

/// Where to look next: at what was dropped and waits, else at the run that brought the last version, or that replayed
/// it.
fn next(out: &mut String, explanation: &Explanation, settings: &Settings) {
    let waits = explanation.dropped.iter().find(|part| !part.is_replayed()).map(|part| format!("quarantine --run {}", part.run_id));
    let last = || explanation.versions.last().map(|version| &version.run_id);
    let replay = || explanation.dropped.iter().find_map(|part| part.replayed_by.first());
    let command = waits.or_else(|| Some(format!("runs show {}", last().or_else(replay)?)));
    if let Some(command) = command {
        let _ = writeln!(out, "\nNext: {}", settings.command_line(&command));
    }
}

fn heading(out: &mut String, text: &str) {
    let _ = writeln!(out, "\n{text}");
}

fn rows(out: &mut String, explanation: &Explanation, settings: &Settings) {
    heading(out, "in the layer");
    if explanation.rows.is_empty() {
        paragraph(out, 2, "no row");
    }
    for row in &explanation.rows {
        paragraph(out, 2, &format!("dt={}, {}, line {}", row.dt, text::place(settings, &row.file), row.line));
        columns(out, &row.columns);
    }
}

/// All columns that hold something.
fn columns(out: &mut String, columns: &RowColumns) {
    let shown: Vec<_> = columns.0.iter().filter_map(|(name, text)| Some(format!("{name}={}", text.as_ref()?))).collect();
    paragraph(out, 6, &shown.join("  "));
}

fn versions(out: &mut String, versions: &[Version]) {
    heading(out, "versions, by commit");
    if versions.is_empty() {
        paragraph(out, 2, "no kept run brought one");
    }
    for (number, version) in (1..).zip(versions) {
        let command = version.command.map(|command| format!(" ({})", command.as_str())).unwrap_or_default();
        let started = version.started_at.map(|start| format!(", started {}", start.rfc3339())).unwrap_or_default();
        paragraph(out, 2, &format!("{number}. {}: run {}{command}{started}", version.outcome, version.run_id));
        if let Some(undo) = &version.undone_by {
            paragraph(out, 6, &format!("undone by run {undo}"));
        }
        if !version.is_deletion() {
            paragraph(out, 6, &format!("from {}", version.place.as_deref().unwrap_or("an unknown place")));
        }
        let updated_at = version.updated_at.map_or("none".to_owned(), |updated_at| updated_at.to_string());
        let moved = version.moved_from.iter().map(|dt| format!(", moved from dt={dt}")).collect::<String>();
        paragraph(out, 6, &format!("updated_at {updated_at}, dt={}{moved}", version.dt));
        match &version.why {
            Some(why) => {
                let skus: Vec<_> = version.lines.iter().map(|line| line.sku.as_str()).collect();
                paragraph(out, 6, &format!("sku {}: {why}", skus.join(", ")));
            }
            None => {
                let lines = version.lines.iter();
                lines.for_each(|line| paragraph(out, 6, &format!("sku {}: {}: {}", line.sku, line.outcome.as_str(), line.why)));
            }
        }
    }
}

fn dropped(out: &mut String, explanation: &Explanation, settings: &Settings, width: Option<usize>) {
    const INDENT: usize = 6;
    let most = width.map_or(SHOWN, |width| width.saturating_sub(INDENT).max(1));
    heading(out, "dropped");
    if explanation.dropped.is_empty() {
        paragraph(out, 2, "nothing that is still in quarantine");
    }
    for part in &explanation.dropped {
        let index = part.line_index.map(|index| format!(" {index} (from 0)")).unwrap_or_default();
        let by = if part.named_by == NamedBy::Text { "; only its text names the order" } else { "" };
        let replayed = if part.is_replayed() { format!(", replayed by run {}", part.replayed_by.join(", ")) } else { String::new() };
        paragraph(out, 2, &format!("{}: {}{index}, run {}{replayed}{by}", part.reason, part.level, part.run_id));
        paragraph(out, 6, &format!("{}, line {}", text::place(settings, &part.file), part.line));
        let beginning: String = part.record.chars().take(most).collect();
        let is_cut = part.record_is_cut || beginning.len() < part.record.len();
        let beginning = if is_cut { beginning.chars().take(most - 1).chain(['…']).collect() } else { beginning };
        let _ = writeln!(out, "{:INDENT$}{}", "", beginning.replace(char::is_control, " "));
    }
}

fn checks(out: &mut String, checks: &[RunChecks]) {
    heading(out, "checks that saw its partitions");
    if checks.is_empty() {
        paragraph(out, 2, "no kept report has any");
    }
    for run in checks {
        let partitions: Vec<_> = run.partitions.iter().map(|dt| format!("dt={dt}")).collect();
        let seen = if partitions.is_empty() { String::new() } else { format!(" over {}", partitions.join(", ")) };
        let passed = run.checks - run.failed.len();
        paragraph(out, 2, &format!("run {} ({}): {passed} of {} passed{seen}", run.run_id, run.status.as_str(), run.checks));
        for check in &run.failed {
            let named = if check.names_order { "this order is among those shown" } else { "this order is not among those shown" };
            paragraph(out, 6, &format!("{} {}: {}, {named}", check.severity.as_str(), check.name, counted(check.violations, "violation")));
        }
    }
}

fn warehouse(out: &mut String, warehouse: &WarehouseRows) {
    heading(out, "in the warehouse");
    let equal = if warehouse.equals_layer { "equal to the layer" } else { "not equal to the layer" };
    paragraph(out, 2, &format!("{}, {equal}", counted(warehouse.rows.len() as u64, "row")));
    warehouse.rows.iter().for_each(|row| columns(out, row));
    warehouse.differences.iter().for_each(|difference| paragraph(out, 6, difference));
}

/// Writes a text as one line. A terminal that is narrower gets it in several lines, the others two columns to the right.
fn paragraph(out: &mut String, indent: usize, text: &str) {
    let _ = writeln!(out, "{:indent$}{}", "", escaped(text.trim_end()));
}
