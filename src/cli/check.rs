//! `etl check`.

use std::fmt::Write;

use serde_json::json;

use super::{
    args::CheckArgs,
    display::{Display, Ending},
    text,
};
use crate::{
    cancel::Cancel,
    check::CheckResult,
    run::{RunError, check_layer, rebuild_state},
    settings,
};

pub(super) fn run(args: &CheckArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    let settings = settings::load(&args.settings.flags)?;
    let rebuilt = args.rebuild_state.then(|| rebuild_state(&settings, cancel)).transpose()?;
    let results = check_layer(&settings, cancel)?;
    let failed: Vec<_> = results.iter().filter(|result| result.is_failure()).map(|result| result.name.clone()).collect();
    let error = (!failed.is_empty()).then_some(RunError::ChecksFailed { names: failed, published: true });
    let status = if error.is_some() { "failed" } else { "passed" };
    display.outcome(Ending::of(error.as_ref()), &json!({"status": status, "rebuilt_partitions": rebuilt, "checks": results}), |out| {
        if let Some(partitions) = rebuilt {
            let _ = writeln!(out, "the state of {partitions} partitions was made anew from curated/\n");
        }
        text::checks(out, &results);
        let _ = writeln!(out, "\n{}", verdict(&results));
    });
    Ok(error.map_or(0, |error| error.exit_code()))
}

fn verdict(results: &[CheckResult]) -> String {
    let failed = results.iter().filter(|result| result.is_failure()).count();
    let passed = results.iter().filter(|result| result.passed).count();
    match failed {
        0 => format!("{passed} of {} checks passed, none of severity error failed", results.len()),
        _ => format!("{failed} of {} checks failed", results.len()),
    }
}
