//! `etl undo`.

use std::fmt::Write;

use super::{
    args::UndoArgs,
    display::{Display, Ending},
    plan, text,
};
use crate::{
    cancel::Cancel,
    coverage::SourceInterval,
    report::Summary,
    run::{RequestError, RunError, Undone, is_configured, require_layer, undo, undoable_runs},
    settings::{self, Settings},
    store::Output,
};

/// How many runs are named where none is chosen.
const RUNS_NAMED: usize = 10;

pub(super) fn run(args: &UndoArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    let settings = settings::load(&args.settings.flags)?;
    let Some(run_id) = &args.run_id else { return Err(no_run(&settings)?.into()) };
    let undone = undo(&settings, run_id.as_str(), cancel)?;
    let mut result = serde_json::to_value(&undone).unwrap_or_default();
    result["status"] = if settings.dry_run { "dry_run" } else { "published" }.into();
    if settings.dry_run
        && let Some(fields) = result.as_object_mut()
    {
        // There is no such run, and no such commit.
        fields.remove("run_id");
        fields.remove("commit");
    }
    display.outcome(Ending::Success, &result, |out| show(out, &undone, &settings));
    Ok(0)
}

/// The error of an undo without a run: it names those that can be undone.
fn no_run(settings: &Settings) -> Result<RequestError, RunError> {
    let command = |run: &Summary| {
        let line = settings.command_line(&format!("undo {}", run.run_id));
        format!("{line}    # {}: {}", told(run), effect(run))
    };
    require_layer(&Output::open(&settings.output)?)?;
    let runs = undoable_runs(settings)?;
    Ok(RequestError::NoRunToUndo(runs.iter().take(RUNS_NAMED).map(command).collect()))
}

/// What a run was.
fn told(run: &Summary) -> String {
    let command = run.command.as_str();
    match &run.undoes {
        Some(undone) => format!("undo of run {undone}"),
        None if run.command.has_window() => format!("{command} over {}", text::window_of(run)),
        None => command.to_owned(),
    }
}

/// What a run has changed in the layer.
fn effect(run: &Summary) -> String {
    let changes = [
        (run.partitions_written.len(), "partition", " written"),
        (run.partitions_removed.len(), "partition", " removed"),
        (run.order_totals_changed.len(), "day", " of totals"),
        (run.refunds_changed.len(), "day", " of refunds"),
    ];
    let told =
        changes.iter().filter(|(count, ..)| *count > 0).map(|(count, noun, what)| format!("{}{what}", text::counted(*count as u64, noun)));
    let told = told.collect::<Vec<_>>().join(", ");
    if told.is_empty() { "members of dimensions alone".to_owned() } else { told }
}

fn show(out: &mut String, undone: &Undone, settings: &Settings) {
    let (written, removed) = (undone.partitions_written.len() as u64, undone.partitions_removed.len() as u64);
    if settings.dry_run {
        let _ = writeln!(out, "dry run: run {} can be undone; nothing was changed. The undo would leave", undone.undone);
    } else {
        let _ = writeln!(out, "run {} is undone, by run {} (commit {})", undone.undone, undone.run_id, undone.commit);
    }
    let _ = match written + removed {
        0 => writeln!(out, "no partition changes: the run had changed none"),
        _ => writeln!(out, "{} as before, {} removed", text::counted(written, "partition"), text::counted(removed, "partition")),
    };
    if !undone.order_totals.is_empty() {
        let _ = writeln!(out, "totals of orders as before in {}", text::counted(undone.order_totals.len() as u64, "partition"));
    }
    if !undone.refunds.is_empty() {
        let _ = writeln!(out, "refunds as before on {}", text::counted(undone.refunds.len() as u64, "day"));
    }
    for name in &undone.dimensions_kept {
        let _ = writeln!(out, "{name} stays as it is: later runs may rely on its members");
    }
    coverage(out, undone, settings);
    if settings.dry_run {
        let _ = writeln!(out, "To undo it: {}", settings.command_line(&format!("undo {}", undone.undone)));
    }
}

/// What the undo does to the coverage.
fn coverage(out: &mut String, undone: &Undone, settings: &Settings) {
    let shown = |place: &SourceInterval| format!("{} of {}", plan::interval(&place.interval), place.identity.source);
    for place in &undone.coverage_removed {
        let _ = writeln!(out, "no longer covered: {}", shown(place));
    }
    for place in &undone.coverage_restored {
        let _ = writeln!(out, "covered again: {}", shown(place));
    }
    if undone.coverage_removed.is_empty() && undone.coverage_restored.is_empty() {
        let _ = writeln!(out, "the coverage stays as it is");
    }
    if undone.coverage_removed.iter().any(|place| is_configured(&place.identity, settings)) {
        let _ = writeln!(out, "To load it again: {}", settings.command_line("run --since last"));
    }
}
