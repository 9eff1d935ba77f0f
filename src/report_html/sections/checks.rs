//! The checks: what each found when it last ran, with violating rows, and its results over the shown runs.

use std::collections::BTreeMap;

use super::runs;
use crate::{
    check::{BUILTIN, CheckResult, SAMPLE_ROWS, Subject, UNIT_SLIP},
    model::Severity,
    report::Summary,
    report_html::{
        LayerFacts, PageError,
        numbers::{beneath, count, counted},
        picture::{Mark, Picture},
        view::{Badge, Cell, Column, Legend, Made, Section, Table, Tone},
    },
    settings::CheckScope,
};

/// The most checks that are listed.
const MOST_CHECKS: usize = 100;

/// The most characters of a violating row.
const LONGEST_ROW: usize = 300;

pub(super) fn section(facts: &LayerFacts) -> Made {
    let mut section = Section::new("checks", "Checks");
    let runs = facts.standing();
    let names = names(&runs);
    if names.is_empty() {
        section.texts.push("None of the shown runs has run a check.".to_owned());
        return Ok(section);
    }
    let undone = match facts.runs.len() - runs.len() {
        0 => String::new(),
        undone => format!(" Without {} that {} undone.", counted(undone as u64, "run"), if undone == 1 { "was" } else { "were" }),
    };
    let shown = runs::shown(facts);
    section.texts.push(format!("{shown}{undone} The history of a check goes from the oldest of these runs to the latest."));
    let columns = vec![
        Column::text("Check"),
        Column::text("Last result"),
        Column::text("Severity"),
        Column::number("Violations"),
        Column::text("Looked at"),
        Column::text("History"),
        Column::text("Run"),
    ];
    let mut table = Table::new("Checks, those of the latest run first", columns);
    table.legend = vec![
        Legend::new(Mark::Good, "passed"),
        Legend::new(Mark::Warn, "violated, severity warn"),
        Legend::new(Mark::Bad, "failed, severity error"),
        Legend::new(Mark::Quiet, "did not run"),
    ];
    let mut failing = Vec::new();
    for name in names.iter().take(MOST_CHECKS) {
        let Some((run, check)) = last_result(&runs, name) else { continue };
        table.push(*name, cells(&runs, run, check)?);
        failing.extend((!check.passed).then(|| rows_of(run, check, &facts.location)));
    }
    if names.len() > MOST_CHECKS {
        table.note = format!("{MOST_CHECKS} of {}.", counted(names.len() as u64, "check"));
    }
    section.tables.push(table);
    section.tables.extend(failing);
    Ok(section)
}

/// The checks that any of the runs ran, in the order of the latest run.
fn names<'r>(runs: &[&'r Summary]) -> Vec<&'r str> {
    let mut names: Vec<&str> = Vec::new();
    for check in runs.iter().copied().flat_map(|run| &run.checks) {
        if !names.contains(&check.name.as_str()) {
            names.push(&check.name);
        }
    }
    names
}

/// What a check found in the latest run that ran it.
fn last_result<'r>(runs: &[&'r Summary], name: &str) -> Option<(&'r Summary, &'r CheckResult)> {
    runs.iter().copied().find_map(|run| Some((run, result_in(run, name)?)))
}

/// What a check of a run looked at. A run looks at what it publishes, unless it is asked for all.
fn looked_at(run: &Summary, check: &CheckResult) -> &'static str {
    if check.name == UNIT_SLIP {
        return "rows of the run";
    }
    let Some(builtin) = BUILTIN.iter().find(|builtin| builtin.name == check.name) else { return "what its query names" };
    match (builtin.subject, run.check_scope) {
        (Subject::Dimensions, _) => "whole dimension",
        (Subject::RefundOrders, _) => "whole layer",
        (_, Some(CheckScope::Full)) => "whole layer",
        (_, Some(CheckScope::Changed)) => "changed days only",
        (_, None) => "not recorded",
    }
}

fn result_in<'r>(run: &'r Summary, name: &str) -> Option<&'r CheckResult> {
    run.checks.iter().find(|check| check.name == name)
}

/// The cells of a check, whose last result is of this run.
fn cells(runs: &[&Summary], run: &Summary, last: &CheckResult) -> Result<Vec<Cell>, PageError> {
    let results: Vec<_> = runs.iter().rev().map(|run| result_in(run, &last.name)).collect();
    let fields: Vec<_> = results.iter().map(|result| result.map_or(Mark::Quiet, |result| Mark::from(result_badge(result).tone))).collect();
    let ran = results.iter().flatten().count();
    let violated = results.iter().flatten().filter(|result| !result.passed).count();
    let words = format!("passed {} of {}", count((ran - violated) as u64), counted(ran as u64, "run"));
    Ok(vec![
        Cell::badge(result_badge(last)),
        Cell::text(last.severity.as_str()),
        Cell::number(count(last.violations)),
        Cell::text(looked_at(run, last)),
        Cell::picture(Picture::strip(&fields)?, words),
        Cell::text(run.run_id.clone()),
    ])
}

fn result_badge(check: &CheckResult) -> Badge {
    match (check.passed, check.severity) {
        (true, _) => Badge { tone: Tone::Good, text: "passed".to_owned() },
        (false, Severity::Warn) => Badge { tone: Tone::Warn, text: "violated".to_owned() },
        (false, Severity::Error) => Badge { tone: Tone::Bad, text: "failed".to_owned() },
    }
}

/// The violating rows of a check, as the report of its run has them.
fn rows_of(run: &Summary, check: &CheckResult, location: &str) -> Table {
    let mut table = Table::new(format!("Rows that violate {}", check.name), vec![Column::text("Row"), Column::text("Values")]);
    for (place, row) in check.sample.iter().take(SAMPLE_ROWS).enumerate() {
        table.push((place + 1).to_string(), vec![Cell::code(row_text(row))]);
    }
    let of = format!("{} of {} in run {}.", table.rows.len(), counted(check.violations, "violation"), run.run_id);
    let has_more = check.rows_kept.is_some_and(|rows| rows > table.rows.len() as u64);
    let file = check.file.as_ref().filter(|_| has_more).map(|file| format!(" More of them: {}", beneath(location, file)));
    table.note = format!("{of}{}", file.unwrap_or_default());
    table
}

fn row_text(row: &BTreeMap<String, Option<String>>) -> String {
    let values = row.iter().map(|(column, value)| format!("{column}={}", value.as_deref().unwrap_or("NULL")));
    let text = values.collect::<Vec<_>>().join("  ");
    match text.char_indices().nth(LONGEST_ROW) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
