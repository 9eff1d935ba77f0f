//! `etl runs`: the history as a table, and all that one run said of itself.

use std::fmt::Write;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    args::{RunsArgs, RunsCommand},
    display::Display,
    table::{Column, Table},
    text,
};
use crate::{
    report::{self, Summary},
    run::{RequestError, RunError, recover_unless_held, require_layer, warn_without_layer},
    settings::{self, Settings},
    store::Output,
};

/// The width of a bar.
const BAR: usize = 8;

/// The history as JSON: the reports as they were written, also those of a later version.
#[derive(Serialize)]
struct History {
    runs: Vec<Box<RawValue>>,
}

pub(super) fn run(args: &RunsArgs, display: &Display) -> Result<u8, RunError> {
    let settings = settings::load(&args.config().flags)?;
    let output = Output::open(&settings.output)?;
    recover_unless_held(&output)?;
    match &args.what {
        Some(RunsCommand::Show { run_id, .. }) => show_one(&output, run_id, &settings, display)?,
        None => list(&output, args.limit.get(), &settings, display)?,
    }
    Ok(0)
}

fn list(output: &Output, limit: usize, settings: &Settings, display: &Display) -> Result<(), RunError> {
    let runs = report::latest_runs(output, limit)?;
    if runs.is_empty() && display.answers_in_json() {
        warn_without_layer(output)?;
    }
    let raw: Vec<_> = runs.iter().filter_map(|(_, line)| RawValue::from_string(line.clone()).ok()).collect();
    display.answer(&History { runs: raw }, |out| {
        if runs.is_empty() {
            let (place, first) = (output.location(), settings.command_line("run --orders LOCATION"));
            let _ = writeln!(out, "no run has been recorded in {place}: `{first}` makes the first one");
            return;
        }
        let bars = if display.width.is_some() { Bars::Drawn } else { Bars::LeftOut };
        table(runs.iter().map(|(run, _)| run), bars).show(out, display.width);
    });
    Ok(())
}

/// Whether the history has bars: they are for the eye, and not for a pipe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bars {
    Drawn,
    LeftOut,
}

/// The columns of the history. Bars leave first; then what `etl runs show` has, too. The command stays: an undo is no run.
const COLUMNS: [Column; 13] = [
    Column::text("run"),
    Column::text("command"),
    Column::text("status"),
    Column::number("records"),
    Column::number("dropped records").leaves(8),
    Column::number("dropped lines").leaves(6),
    Column::number("rows written").leaves(7),
    Column::text("").leaves(1),
    Column::number("partitions").leaves(4),
    Column::number("seconds").leaves(5),
    Column::text("").leaves(2),
    Column::text("shop").leaves(9),
    Column::text("window").cut(12).leaves(3),
];

/// The history as a table.
fn table<'r>(runs: impl Iterator<Item = &'r Summary> + Clone, bars: Bars) -> Table<'static> {
    let most = runs.clone().map(Summary::rows_written).max().unwrap_or(0);
    let longest = runs.clone().map(|run| run.execution_time_seconds).fold(0.0, f64::max);
    let loses_lines = runs.clone().any(|run| run.lines_dropped() > 0);
    // A column of nothing is not shown.
    let drawn = |share: f64| if bars == Bars::Drawn { bar(share) } else { String::new() };
    let mut table = Table::new(&COLUMNS);
    for run in runs {
        table.row([
            run.run_id.clone(),
            run.command.as_str().to_owned(),
            run.status.as_str().to_owned(),
            run.records.records_read.to_string(),
            run.records_dropped().to_string(),
            if loses_lines { run.lines_dropped().to_string() } else { String::new() },
            run.rows_written().to_string(),
            drawn(share(run.rows_written(), most)),
            run.partitions_changed().to_string(),
            format!("{:.2}", run.execution_time_seconds),
            drawn(run.execution_time_seconds / longest.max(f64::MIN_POSITIVE)),
            run.shop.clone().unwrap_or_default(),
            text::window_of(run),
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

fn show_one(output: &Output, run_id: &str, settings: &Settings, display: &Display) -> Result<(), RunError> {
    require_layer(output)?;
    let is_named = |(run, _): &(Summary, String)| run.run_id.starts_with(run_id);
    // What can't be read may be the run.
    let mut found = report::recorded_runs(output)?.filter(|run| run.as_ref().ok().is_none_or(is_named));
    let unknown = || RequestError::UnknownRun { run_id: run_id.to_owned(), output: output.location() };
    let (run, line) = found.next().transpose()?.ok_or_else(unknown)?;
    if run.run_id != run_id {
        let others: Vec<_> = found.map(|other| other.map(|(run, _)| run.run_id)).collect::<Result<_, _>>()?;
        if !others.is_empty() {
            let runs = [vec![run.run_id], others].concat();
            return Err(RequestError::AmbiguousRun { beginning: run_id.to_owned(), runs }.into());
        }
    }
    let raw = RawValue::from_string(line).ok();
    display.answer(&raw, |out| {
        text::recorded(out, &run, settings);
        stages(out, &run);
        let all = settings.command_line(&format!("runs show {} --json", run.run_id));
        let _ = writeln!(out, "\nAll that it recorded: {all}");
    });
    Ok(())
}

/// How long each stage took, with bars.
fn stages(out: &mut String, run: &Summary) {
    let longest = run.stage_seconds.values().copied().fold(0.0, f64::max);
    for (place, (stage, seconds)) in run.stage_seconds.iter().enumerate() {
        let line = format!("{stage:<10} {seconds:>8.3} s {}", bar(seconds / longest.max(f64::MIN_POSITIVE)));
        text::row(out, if place == 0 { "stages" } else { "" }, line.trim_end());
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
