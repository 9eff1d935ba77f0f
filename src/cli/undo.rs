//! `etl undo`.

use std::fmt::Write;

use super::{
    args::UndoArgs,
    display::{Display, Ending},
    text,
};
use crate::{
    cancel::Cancel,
    run::{RunError, undo},
    settings,
};

pub(super) fn run(args: &UndoArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    let settings = settings::load(&args.settings.flags)?;
    let undone = undo(&settings, args.run_id.as_str(), cancel)?;
    let mut result = serde_json::to_value(&undone).unwrap_or_default();
    result["status"] = if settings.dry_run { "dry_run" } else { "published" }.into();
    if settings.dry_run
        && let Some(fields) = result.as_object_mut()
    {
        // There is no such run, and no such commit.
        fields.remove("run_id");
        fields.remove("commit");
    }
    display.outcome(Ending::Success, &result, |out| {
        let (written, removed) = (undone.partitions_written.len() as u64, undone.partitions_removed.len() as u64);
        if settings.dry_run {
            let _ = writeln!(out, "dry run: run {} can be undone; nothing was changed. The undo would leave", undone.undone);
        } else {
            let _ = writeln!(out, "run {} is undone, by run {} (commit {})", undone.undone, undone.run_id, undone.commit);
        }
        let _ = writeln!(out, "{} as before, {} removed", text::counted(written, "partition"), text::counted(removed, "partition"));
        if !undone.order_totals.is_empty() {
            let _ = writeln!(out, "totals of orders as before in {}", text::counted(undone.order_totals.len() as u64, "partition"));
        }
        if !undone.refunds.is_empty() {
            let _ = writeln!(out, "refunds as before on {}", text::counted(undone.refunds.len() as u64, "day"));
        }
        for name in &undone.dimensions_kept {
            let _ = writeln!(out, "{name} stays as it is: later runs may rely on its members");
        }
    });
    Ok(0)
}
