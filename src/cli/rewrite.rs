//! `etl rewrite`.

use std::fmt::Write;

use serde_json::json;

use super::{
    args::RewriteArgs,
    display::{Display, Ending},
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
        let _ = writeln!(out, "{} partitions {verb}, {} had the columns already", done.rewritten, done.unchanged);
        for (column, values) in &done.values_lost {
            let verb = if args.dry_run { "would be lost" } else { "lost" };
            let _ = writeln!(out, "{values} values of column `{column}` {verb}: they do not fit its type, or etl.toml no longer names it");
        }
    });
    Ok(0)
}
