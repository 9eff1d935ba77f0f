//! `etl test`: the mapping, tried with the records of `tests/*.toml`.

use std::fmt::Write;

use serde_json::json;

use super::{
    args::TestArgs,
    display::{Display, Ending},
    escaped::escaped,
    text::counted,
};
use crate::{
    cancel::Cancel,
    run::{CaseResult, Difference, RunError, test_mapping},
    settings::{self, SettingsError},
};

/// The exit code of a case that fails: that of a check.
const FAILED: u8 = 4;

pub(super) fn run(args: &TestArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    let flags = &args.settings.flags;
    let all = settings::load_shops(flags, &[])?;
    all.iter().try_for_each(|settings| settings.require_orders())?;
    let folder = match &args.tests {
        Some(folder) => folder.clone(),
        None => settings::tests_folder(flags)?,
    };
    let cases = settings::mapping_cases(&folder)?;
    if cases.is_empty() {
        let detail = format!("no case to try: write one into {}/orders.toml (docs/sources.md, Tests of a mapping)", folder.display());
        return Err(SettingsError::Conflict(detail).into());
    }
    let results = test_mapping(&all, &cases, cancel)?;
    let failed = results.iter().filter(|result| !result.differences.is_empty()).count();
    let ending = if failed == 0 { Ending::Success } else { Ending::Failure };
    let result = json!({ "passed": results.len() - failed, "failed": failed, "cases": results });
    display.outcome(ending, &result, |out| show(out, &results, failed));
    Ok(if failed == 0 { 0 } else { FAILED })
}

fn show(out: &mut String, results: &[CaseResult], failed: usize) {
    for result in results {
        let verdict = if result.differences.is_empty() { "passed" } else { "FAILED" };
        let _ = writeln!(out, "{verdict}  {}  ({}, line {})", escaped(&result.name), result.file, result.line);
        result.differences.iter().for_each(|difference| show_difference(out, difference));
    }
    let _ = match failed {
        0 => writeln!(out, "\n{} passed, none failed", counted(results.len() as u64, "case")),
        failed => writeln!(out, "\n{failed} of {} failed", counted(results.len() as u64, "case")),
    };
}

/// What is expected with a `-`, what was found with a `+`.
fn show_difference(out: &mut String, difference: &Difference) {
    let column = difference.column.as_ref().map(|column| format!("  {column}")).unwrap_or_default();
    let _ = writeln!(out, "        {}{column}", difference.at);
    let nothing = "(nothing)";
    let _ = writeln!(out, "          - {}", escaped(difference.expected.as_deref().unwrap_or(nothing)));
    let _ = writeln!(out, "          + {}", escaped(difference.found.as_deref().unwrap_or(nothing)));
}
