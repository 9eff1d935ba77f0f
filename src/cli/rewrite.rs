//! `etl rewrite`.

use std::fmt::Write;

use serde_json::json;

use super::{
    args::RewriteArgs,
    display::{Display, Ending},
    text::counted,
};
use crate::{
    cancel::Cancel,
    run::{RewriteMode, RunError, rewrite},
    settings,
};

pub(super) fn run(args: &RewriteArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    let settings = settings::load(&args.settings.flags)?;
    let mode = match (args.dry_run, args.force) {
        (true, _) => RewriteMode::DryRun,
        (false, true) => RewriteMode::Forced,
        (false, false) => RewriteMode::Safe,
    };
    let done = rewrite(&settings, mode, cancel)?;
    let result = json!({
        "status": if args.dry_run { "dry_run" } else { "done" },
        "rewritten": done.rewritten,
        "unchanged": done.unchanged,
        "values_lost": done.values_lost,
    });
    display.outcome(Ending::Success, &result, |out| {
        let verb = if args.dry_run { "would be rewritten" } else { "rewritten" };
        let rewritten = counted(done.rewritten as u64, "partition");
        let _ = writeln!(out, "{rewritten} {verb}, {} had the columns already", done.unchanged);
        for (column, values) in &done.values_lost {
            let verb = if args.dry_run { "would be lost" } else { "lost" };
            let values = counted(*values, "value");
            let _ = writeln!(out, "{values} of column `{column}` {verb}: no fit for its type, or etl.toml no longer names the column");
        }
    });
    Ok(0)
}
