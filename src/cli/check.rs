//! `etl check`: the checks alone, their SQL, and their history.

use std::fmt::Write;

use serde_json::json;

use super::{
    args::CheckArgs,
    display::{Display, Ending},
    table::{Column, Table},
    terminal, text,
};
use crate::{
    cancel::Cancel,
    check::{self, CheckResult, CheckScript},
    layer::Truth,
    report::{CheckHistory, CheckRecord},
    run::{CheckRequest, RebuiltState, RunError, check_history, check_layer, check_scripts, rebuild_state},
    settings::{self, Settings, refuse_file},
};

pub(super) fn run(args: &CheckArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    let settings = settings::load(&args.settings.flags)?;
    if let Some(folder) = &args.violations {
        refuse_file("--violations", folder)?;
    }
    if args.show_sql {
        show_sql(&settings, display)?;
        return Ok(0);
    }
    if args.history {
        show_history(&settings, args.limit.get(), display)?;
        return Ok(0);
    }
    let rebuilt = args.rebuild_state.then(|| rebuild_state(&settings, cancel)).transpose()?;
    let checked = check_layer(&CheckRequest { settings: &settings, violations: args.violations.as_deref(), cancel })?;
    check::log_failures(&checked.results);
    let failed: Vec<_> = checked.results.iter().filter(|result| result.is_failure()).map(|result| result.name.clone()).collect();
    let error = (!failed.is_empty()).then_some(RunError::ChecksFailed { names: failed, published: true });
    let result = json!({
        "status": if error.is_some() { "failed" } else { "passed" },
        "output": checked.output,
        "partitions": checked.partitions,
        "rebuilt_partitions": rebuilt.map(|rebuilt| rebuilt.partitions),
        "checks": checked.results,
    });
    display.outcome(Ending::of(error.as_ref()), &result, |out| {
        if let Some(RebuiltState { partitions, from }) = rebuilt {
            let partitions = text::counted(partitions as u64, "partition");
            let from = match from {
                Truth::Files => "curated/",
                Truth::Log => "the newest commit",
            };
            let _ = writeln!(out, "the state of {partitions} was rebuilt from {from}\n");
        }
        text::row(
            out,
            "layer",
            &format!("{}: {}", terminal::unbroken(&checked.output), text::counted(checked.partitions as u64, "partition")),
        );
        text::checks(out, &checked.results, terminal::unbroken);
        let _ = writeln!(out, "\n{}", verdict(&checked.results));
    });
    Ok(error.map_or(0, |error| error.exit_code()))
}

fn verdict(results: &[CheckResult]) -> String {
    let failed = results.iter().filter(|result| result.is_failure()).count();
    let passed = results.iter().filter(|result| result.passed).count();
    let checks = text::counted(results.len() as u64, "check");
    match failed {
        0 => format!("{passed} of {checks} passed, none of severity error failed"),
        _ => format!("{failed} of {checks} failed"),
    }
}

fn show_sql(settings: &Settings, display: &Display) -> Result<(), RunError> {
    let scripts = check_scripts(settings)?;
    display.script(&json!({ "checks": scripts }), |out| scripts.iter().for_each(|script| write_script(out, script)));
    Ok(())
}

/// A check as SQL with a comment above it.
fn write_script(out: &mut String, script: &CheckScript) {
    let _ = writeln!(out, "-- {} ({}, {})", script.name, script.severity.as_str(), script.origin);
    match &script.sql {
        Some(sql) => {
            let _ = writeln!(out, "{sql};\n");
        }
        None => {
            let _ = writeln!(out, "-- not a query\n");
        }
    }
}

fn show_history(settings: &Settings, limit: usize, display: &Display) -> Result<(), RunError> {
    let history = check_history(settings, limit)?;
    let result = json!({"output": settings.output.to_string(), "runs": history.runs, "checks": history.checks});
    display.answer(&result, |out| write_history(out, &history, display.width));
    Ok(())
}

fn write_history(out: &mut String, history: &CheckHistory, width: Option<usize>) {
    if history.checks.is_empty() {
        let _ = writeln!(out, "no check is recorded in the latest {}", text::counted(history.runs as u64, "run"));
        return;
    }
    let violations = Column::text("violations, the latest run first").cut(12);
    let mut table = Table::new(&[Column::text("check"), Column::number("ran in").leaves(1), Column::number("not passed"), violations]);
    for check in &history.checks {
        let violations: Vec<_> = check.runs.iter().map(|run| run.violations.to_string()).collect();
        let ran = format!("{} of {}", check.ran, history.runs);
        table.row([check.name.clone(), ran, check.not_passed.to_string(), violations.join(" ")]);
    }
    table.show(out, width);
    for check in history.checks.iter().filter(|check| check.not_passed > 0) {
        write_not_passed(out, check);
    }
}

/// The runs in which a check did not pass.
fn write_not_passed(out: &mut String, check: &CheckRecord) {
    let _ = writeln!(out, "\n{} did not pass in", check.name);
    for run in check.runs.iter().filter(|run| !run.passed) {
        let _ = writeln!(out, "  {:<32} {:<5} {}", run.run_id, run.severity.as_str(), text::counted(run.violations, "violation"));
    }
}
