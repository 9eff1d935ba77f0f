//! `etl backfill`.

use std::fmt::Write;

use serde_json::json;

use super::{
    args::BackfillArgs,
    display::{Display, Ending},
    loading_settings,
    progress::Progress,
    run::exit_code,
    text,
};
use crate::{
    cancel::Cancel,
    report::Status,
    run::{BackfillOutcome, BackfillRequest, ChunkChoice, RunError, Shard, backfill},
    settings::{Chunk, SettingsError},
};

pub(super) fn run(args: &BackfillArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    let settings = loading_settings(&args.job.flags)?;
    let chunk: Chunk = args.chunk.parse().map_err(|detail: String| SettingsError::flag("--chunk", &args.chunk, detail))?;
    let progress = Progress::new(display);
    let choice = match (args.restart, args.gaps) {
        (true, _) => ChunkChoice::All,
        (false, true) => ChunkChoice::Gaps,
        (false, false) => ChunkChoice::NotDone,
    };
    let shard = args
        .shard
        .as_deref()
        .map(|text| text.parse::<Shard>().map_err(|detail| SettingsError::flag("--shard", text, detail)))
        .transpose()?;
    let jobs = args.jobs.get();
    let request = BackfillRequest { settings: &settings, chunk, choice, shard, jobs, cancel, observer: &progress };
    let outcome = backfill(
        &request,
        |number, of, window| progress.prefix(format!("[{} of {of}] {}: ", number + 1, text::window(window.since, window.until))),
        |run| tracing::info!(run_id = run.summary.run_id, status = run.summary.status.as_str(), "a chunk has ended"),
    );
    progress.finish();
    let outcome = outcome?;
    // The first that failed; others were under way then.
    let last = outcome.runs.iter().find(|run| run.error.is_some()).or(outcome.runs.last());
    let error = last.and_then(|run| run.error.as_ref());
    if let Some(error) = error {
        display.error(error);
    }
    let failed = error.is_some();
    display.outcome(Ending::of(error), &summary(&outcome), |out| show(out, &outcome));
    Ok(last.map_or(settings.empty_exit_code.unwrap_or(0), |run| {
        let anything = outcome.runs.iter().any(|run| run.summary.status == Status::Published);
        if failed || !anything { exit_code(run, &settings) } else { 0 }
    }))
}

/// The whole backfill as one object: its end, and the summary of each run.
fn summary(outcome: &BackfillOutcome) -> serde_json::Value {
    let status = match outcome.runs.iter().find(|run| run.error.is_some()) {
        Some(failed) => failed.summary.status,
        None if outcome.runs.iter().any(|run| run.summary.status == Status::Published) => Status::Published,
        None => outcome.runs.last().map_or(Status::Unchanged, |run| run.summary.status),
    };
    json!({
        "command": "backfill",
        "status": status,
        "chunks": outcome.chunks,
        "chunks_done": outcome.chunks_done(),
        "chunks_done_before": outcome.done_before,
        "runs": outcome.runs.iter().map(|run| &run.summary).collect::<Vec<_>>(),
    })
}

fn show(out: &mut String, outcome: &BackfillOutcome) {
    for run in &outcome.runs {
        text::one_line(out, &run.summary);
    }
    let done = outcome.chunks_done();
    let _ = writeln!(
        out,
        "\n{done} of {} chunks are done{}",
        outcome.chunks,
        if outcome.done_before > 0 { format!(", {} of them before", outcome.done_before) } else { String::new() }
    );
    if done < outcome.chunks {
        let _ = writeln!(out, "The same command continues at the first chunk that is not done. One that is not over yet is loaded again.");
    }
}
