//! The checks: what each found when it last ran, with violating rows, and its results over the shown runs. In a layer of several shops,
//! each shop has results of its own: a check that passes for one says nothing of another.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::{Shops, runs};
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

/// The most checks that are listed, those of each shop counted apart.
const MOST_CHECKS: usize = 100;

/// The most characters of a violating row.
const LONGEST_ROW: usize = 300;

/// What a check found in the latest run that ran it, of a shop.
#[derive(Clone, Copy)]
struct LastResult<'r> {
    run: &'r Summary,
    check: &'r CheckResult,
}

pub(super) fn section(facts: &LayerFacts) -> Made {
    let mut section = Section::new("checks", "Checks");
    let runs = facts.standing();
    let mut results = last_results(&runs);
    if results.is_empty() {
        section.texts.push("None of the shown runs has run a check.".to_owned());
        return Ok(section);
    }
    let undone = match facts.runs.len() - runs.len() {
        0 => String::new(),
        undone => format!(" Without {} that {} undone.", counted(undone as u64, "run"), if undone == 1 { "was" } else { "were" }),
    };
    let shown = runs::shown(facts);
    section.texts.push(format!("{shown}{undone} The history of a check goes from the oldest of these runs to the latest."));
    let (all, shops) = (results.len(), Shops::of(facts));
    if all > MOST_CHECKS {
        // What is left out must be what passed.
        results.sort_by_key(|result| Reverse(urgency(result.check)));
        results.truncate(MOST_CHECKS);
    }
    let mut table = table(shops);
    for result in &results {
        table.push(result.check.name.clone(), cells(&runs, *result, shops)?);
    }
    if all > MOST_CHECKS {
        table.note = format!("{MOST_CHECKS} of {}, those that do not pass first.", counted(all as u64, "check"));
    }
    section.tables.push(table);
    section.tables.extend(results.iter().filter(|result| !result.check.passed).map(|result| rows_of(*result, &facts.location)));
    Ok(section)
}

/// The table of the checks, without rows yet.
fn table(shops: Shops) -> Table {
    let shop = (shops == Shops::Named).then(|| Column::text("Shop"));
    let columns = [Column::text("Check")].into_iter().chain(shop).chain([
        Column::text("Last result"),
        Column::text("Severity"),
        Column::number("Violations"),
        Column::text("Looked at"),
        Column::text("History"),
        Column::text("Run"),
    ]);
    let caption = match shops {
        Shops::None => "Checks, those of the latest run first",
        Shops::Named => "Checks of each shop, those of the latest run first",
    };
    let mut table = Table::new(caption, columns.collect());
    table.legend = vec![
        Legend::new(Mark::Good, "passed"),
        Legend::new(Mark::Warn, "violated, severity warn"),
        Legend::new(Mark::Bad, "failed, severity error"),
        Legend::new(Mark::Quiet, "did not run"),
    ];
    table
}

/// How much the result of a check matters: a failed one most.
fn urgency(check: &CheckResult) -> u8 {
    match (check.passed, check.severity) {
        (true, _) => 0,
        (false, Severity::Warn) => 1,
        (false, Severity::Error) => 2,
    }
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

/// What each check found last: check by check, and of each check shop by shop.
fn last_results<'r>(runs: &[&'r Summary]) -> Vec<LastResult<'r>> {
    let shops: BTreeSet<Option<&str>> = runs.iter().map(|run| run.shop.as_deref()).collect();
    let mut results = Vec::new();
    for name in names(runs) {
        results.extend(shops.iter().filter_map(|shop| last_result(runs, name, *shop)));
    }
    results
}

/// What a check found in the latest run of a shop that ran it.
fn last_result<'r>(runs: &[&'r Summary], name: &str, shop: Option<&str>) -> Option<LastResult<'r>> {
    let mut of_shop = runs.iter().copied().filter(|run| run.shop.as_deref() == shop);
    of_shop.find_map(|run| Some(LastResult { run, check: result_in(run, name)? }))
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

/// The cells of a check. Its history is that of its shop.
fn cells(runs: &[&Summary], last: LastResult<'_>, shops: Shops) -> Result<Vec<Cell>, PageError> {
    let LastResult { run, check: last } = last;
    let of_shop = runs.iter().rev().filter(|other| other.shop == run.shop);
    let results: Vec<_> = of_shop.map(|run| result_in(run, &last.name)).collect();
    let fields: Vec<_> = results.iter().map(|result| result.map_or(Mark::Quiet, |result| Mark::from(result_badge(result).tone))).collect();
    let ran = results.iter().flatten().count();
    let violated = results.iter().flatten().filter(|result| !result.passed).count();
    let words = format!("passed {} of {}", count((ran - violated) as u64), counted(ran as u64, "run"));
    let mut cells: Vec<_> = shops.cell(run.shop.as_deref()).into_iter().collect();
    cells.extend([
        Cell::badge(result_badge(last)),
        Cell::text(last.severity.as_str()),
        Cell::number(count(last.violations)),
        Cell::text(looked_at(run, last)),
        Cell::picture(Picture::strip(&fields)?, words),
        Cell::text(run.run_id.clone()),
    ]);
    Ok(cells)
}

fn result_badge(check: &CheckResult) -> Badge {
    match (check.passed, check.severity) {
        (true, _) => Badge { tone: Tone::Good, text: "passed".to_owned() },
        (false, Severity::Warn) => Badge { tone: Tone::Warn, text: "violated".to_owned() },
        (false, Severity::Error) => Badge { tone: Tone::Bad, text: "failed".to_owned() },
    }
}

/// The violating rows of a check, as the report of its run has them.
fn rows_of(result: LastResult<'_>, location: &str) -> Table {
    let LastResult { run, check } = result;
    let shop = run.shop.as_ref().map(|shop| format!(" in shop {shop}")).unwrap_or_default();
    let mut table = Table::new(format!("Rows that violate {}{shop}", check.name), vec![Column::text("Row"), Column::text("Values")]);
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
