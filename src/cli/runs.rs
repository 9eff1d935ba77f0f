//! `etl runs`: the history as a table, and all that one run said of itself.

use std::fmt::Write;

use serde_json::{Value, json, value::RawValue};

use super::{
    args::{RunsArgs, RunsCommand},
    display::Display,
    table::{Column, Table},
    text,
};
use crate::{
    report::{self, Summary},
    run::{RequestError, RunError, recover_unless_held, require_layer, warn_without_layer},
    settings,
    store::Output,
};

/// The width of a bar.
const BAR: usize = 8;

pub(super) fn run(args: &RunsArgs, display: &Display) -> Result<u8, RunError> {
    let settings = settings::load(&args.config().flags)?;
    let output = Output::open(&settings.output)?;
    recover_unless_held(&output)?;
    match &args.what {
        Some(RunsCommand::Show { run_id, .. }) => show_one(&output, run_id, display)?,
        None => list(&output, args.limit.get(), display)?,
    }
    Ok(0)
}

fn list(output: &Output, limit: usize, display: &Display) -> Result<(), RunError> {
    let runs = report::latest_runs(output, limit)?;
    if runs.is_empty() && display.answers_in_json() {
        warn_without_layer(output)?;
    }
    let raw: Vec<_> = runs.iter().filter_map(|(_, line)| RawValue::from_string(line.clone()).ok()).collect();
    display.answer(&json!({ "runs": raw }), |out| {
        if runs.is_empty() {
            let place = output.location();
            let _ = writeln!(out, "no run has been recorded in {place}: `etl run --output {place}` makes the first one");
            return;
        }
        table(runs.iter().map(|(run, _)| run)).show(out, display.width);
    });
    Ok(())
}

/// The columns of the history. Bars leave first; then what `etl runs show` has, too.
const COLUMNS: [Column; 12] = [
    Column::text("run"),
    Column::text("status"),
    Column::number("read"),
    Column::number("dropped"),
    Column::number("new rows"),
    Column::text("").leaves(1),
    Column::number("partitions").leaves(4),
    Column::number("seconds").leaves(6),
    Column::text("").leaves(2),
    Column::text("command").leaves(5),
    Column::text("shop").leaves(7),
    Column::text("window").cut(12).leaves(3),
];

/// The history as a table.
fn table<'r>(runs: impl Iterator<Item = &'r Summary> + Clone) -> Table<'static> {
    let written = |run: &Summary| run.rows.rows_inserted + run.rows.rows_updated + run.rows.rows_moved;
    let most = runs.clone().map(written).max().unwrap_or(0);
    let longest = runs.clone().map(|run| run.execution_time_seconds).fold(0.0, f64::max);
    let mut table = Table::new(&COLUMNS);
    for run in runs {
        table.row([
            run.run_id.clone(),
            run.status.as_str().to_owned(),
            run.records.records_read.to_string(),
            run.records_dropped().to_string(),
            written(run).to_string(),
            bar(share(written(run), most)),
            run.partitions_written.len().to_string(),
            format!("{:.2}", run.execution_time_seconds),
            bar(run.execution_time_seconds / longest.max(f64::MIN_POSITIVE)),
            run.command.as_str().to_owned(),
            run.shop.clone().unwrap_or_default(),
            text::window(run.since, run.until),
        ]);
    }
    table
}

#[expect(clippy::cast_precision_loss, reason = "the length of a bar")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// A share of one as a bar, in eighths of a character: anything at all is seen.
fn bar(share: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "held within the bar")]
    let eighths = (share.clamp(0.0, 1.0) * (8 * BAR) as f64).ceil() as usize;
    format!("{:<BAR$}", "█".repeat(eighths / 8) + EIGHTHS[eighths % 8])
}

fn show_one(output: &Output, run_id: &str, display: &Display) -> Result<(), RunError> {
    require_layer(output)?;
    let mut found = report::recorded_runs(output)?.filter(|(run, _)| run.run_id.starts_with(run_id));
    let (run, line) = found.next().ok_or_else(|| RequestError::UnknownRun { run_id: run_id.to_owned(), output: output.location() })?;
    if run.run_id != run_id && found.next().is_some() {
        return Err(RequestError::AmbiguousRun(run_id.to_owned()).into());
    }
    let keys: Value = serde_json::from_str(&line).unwrap_or_default();
    let raw = RawValue::from_string(line).ok();
    display.answer(&raw, |out| describe(out, &run, &keys));
    Ok(())
}

/// All fields of a recorded summary that hold something, in groups.
fn describe(out: &mut String, run: &Summary, keys: &Value) {
    let command = run.command.as_str();
    let window = text::window(run.since, run.until);
    let _ = writeln!(out, "run {}: {} ({command}, {window})\n", run.run_id, run.status.as_str());
    let stages = keys["stage_seconds"].as_object();
    let longest = stages.iter().flat_map(|stages| stages.values()).filter_map(Value::as_f64).fold(0.0, f64::max);
    for (name, value) in keys.as_object().into_iter().flatten() {
        match (name.as_str(), value) {
            ("run_id" | "status" | "command" | "since" | "until" | "stage_seconds" | "checks", _) | (_, Value::Null) => {}
            (_, Value::Array(items)) if items.is_empty() => {}
            (_, Value::Object(fields)) if fields.is_empty() => {}
            (_, Value::Number(number)) if number.as_f64() == Some(0.0) => {}
            (_, Value::Array(items)) => wide_row(out, name, &items.iter().map(shown).collect::<Vec<_>>().join(", ")),
            (_, Value::Object(fields)) => {
                wide_row(out, name, &fields.iter().map(|(name, value)| format!("{name} {}", shown(value))).collect::<Vec<_>>().join(", "));
            }
            _ => wide_row(out, name, &shown(value)),
        }
    }
    for (place, (stage, seconds)) in stages.into_iter().flatten().enumerate() {
        let seconds = seconds.as_f64().unwrap_or(0.0);
        let line = format!("{stage:<10} {seconds:>8.3} s {}", bar(seconds / longest.max(f64::MIN_POSITIVE)));
        wide_row(out, if place == 0 { "stages" } else { "" }, line.trim_end());
    }
    let passed = run.checks.iter().filter(|check| check.passed).count();
    if !run.checks.is_empty() {
        wide_row(out, "checks", &format!("{passed} of {} passed", run.checks.len()));
    }
    for check in run.checks.iter().filter(|check| !check.passed) {
        let severity: &str = check.severity.into();
        wide_row(out, "", &format!("{severity} {}: {}", check.name, text::counted(check.violations, "violation")));
    }
}

fn wide_row(out: &mut String, label: &str, value: &str) {
    let _ = writeln!(out, "  {label:<24} {value}");
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name} {}", shown(value))).collect();
            format!("({})", fields.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_anything_at_all_and_never_more_than_all() {
        assert_eq!(bar(0.0), "        ");
        assert_eq!(bar(0.001), "▏       ");
        assert_eq!(bar(0.5), "████    ");
        assert_eq!(bar(1.0), "████████");
        assert_eq!(bar(f64::NAN).chars().count(), 8);
    }
}
