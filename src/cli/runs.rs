//! `etl runs`.

use std::fmt::Write;

use serde_json::{json, value::RawValue};

use super::{args::RunsArgs, config_flags, display::Display, text};
use crate::{
    report,
    run::{RunError, recover_unless_held},
    settings,
    store::Output,
};

pub(super) fn run(args: &RunsArgs, display: &Display) -> Result<u8, RunError> {
    let settings = settings::load(&config_flags(&args.config))?;
    let output = Output::new(settings.output);
    recover_unless_held(&output)?;
    let runs = report::latest_runs(&output, args.limit)?;
    let raw: Vec<_> = runs.iter().filter_map(|(_, line)| RawValue::from_string(line.clone()).ok()).collect();
    display.result(false, &json!({ "runs": raw }), |out| {
        if runs.is_empty() {
            let _ = writeln!(out, "no run has been recorded here");
            return;
        }
        let _ = writeln!(
            out,
            "{:<32} {:<15} {:>9} {:>9} {:>8} {:>9} {:>10}  window",
            "run", "status", "read", "dropped", "new rows", "partitions", "seconds"
        );
        for (run, _) in &runs {
            let written = run.rows_inserted + run.rows_updated + run.rows_moved;
            let window = text::window_text(run.since.as_deref(), run.until.as_deref());
            let _ = writeln!(
                out,
                "{:<32} {:<15} {:>9} {:>9} {:>8} {:>9} {:>11.2}  {window}",
                run.run_id,
                run.status,
                run.records_read,
                run.records_dropped_count,
                written,
                run.partitions_written.len(),
                run.execution_time_seconds
            );
        }
    });
    Ok(0)
}
