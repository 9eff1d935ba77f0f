//! `etl vacuum`.

use std::fmt::Write;

use super::{
    args::VacuumArgs,
    display::{Display, Ending},
    text,
};
use crate::{
    cancel::Cancel,
    run::{RunError, vacuum},
    settings,
};

pub(super) fn run(args: &VacuumArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    let settings = settings::load(&args.settings.flags)?;
    let removed = vacuum(&settings, cancel)?;
    let mut result = serde_json::to_value(removed).unwrap_or_default();
    result["status"] = if settings.dry_run { "dry_run" } else { "done" }.into();
    display.outcome(Ending::Success, &result, |out| {
        let (objects, commits) = (text::counted(removed.objects as u64, "object"), text::counted(removed.commits as u64, "commit"));
        let bytes = text::counted(removed.bytes, "byte");
        let verb = if settings.dry_run { "dry run: would remove" } else { "removed" };
        let _ = writeln!(out, "{verb} {objects} ({bytes}) and {commits} past their time");
        if settings.dry_run {
            let _ = writeln!(out, "Not counted: reports, quarantine, manifests and kept records past --retention and raw.keep");
        }
        if removed.empty_partitions > 0 {
            let _ = writeln!(out, "{verb} {} without rows", text::counted(removed.empty_partitions as u64, "file"));
        }
    });
    Ok(0)
}
