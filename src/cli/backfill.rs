//! `etl backfill`.

use std::fmt::Write;

use serde_json::json;

use super::{
    Loading,
    args::BackfillArgs,
    display::{Display, Ending},
    loading_settings,
    progress::Progress,
    run::exit_code,
    shops::{self, ShopEnd},
    text,
};
use crate::{
    cancel::Cancel,
    lineage::tell_undelivered,
    report::Status,
    run::{BackfillOutcome, BackfillRequest, ChunkChoice, Outcome, RunError, Shard, backfill},
    settings::{Chunk, Settings, SettingsError},
};

/// What of a window is loaded, and how.
#[derive(Clone, Copy)]
struct Asked {
    chunk: Chunk,
    choice: ChunkChoice,
    shard: Option<Shard>,
    jobs: usize,
}

pub(super) fn run(args: &BackfillArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    let loading = loading_settings(&args.job.flags, &args.shops)?;
    let asked = asked(args)?;
    match loading {
        Loading::Shops(shops) => {
            Ok(shops::for_each("backfill", &shops, display, cancel, |settings| backfill_shop(settings, asked, display, cancel)))
        }
        Loading::One(settings) => backfill_and_show(&settings, asked, display, cancel),
    }
}

fn asked(args: &BackfillArgs) -> Result<Asked, SettingsError> {
    let chunk: Chunk = args.chunk.parse().map_err(|detail: String| SettingsError::flag("--chunk", &args.chunk, detail))?;
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
    Ok(Asked { chunk, choice, shard, jobs: args.jobs.get() })
}

fn backfill_and_show(settings: &Settings, asked: Asked, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    let outcome = loaded(settings, asked, display, cancel)?;
    tell_undelivered();
    let error = decisive(&outcome).and_then(|run| run.error.as_ref());
    if let Some(error) = error {
        display.error(error);
    }
    display.outcome(Ending::of(error), &summary(&outcome), |out| show(out, &outcome, settings));
    Ok(ended_with(&outcome, settings))
}

/// The backfill of one shop of several.
fn backfill_shop(settings: &Settings, asked: Asked, display: &Display, cancel: &Cancel) -> ShopEnd {
    let shop = shops::name(settings);
    let outcome = match loaded(settings, asked, display, cancel) {
        Ok(outcome) => outcome,
        Err(error) => {
            display.shop_error(shop, &error);
            let (status, text) = (error.status(), error.to_string());
            return ShopEnd {
                status,
                exit_code: error.exit_code(),
                ending: Ending::Failure,
                result: json!({"command": "backfill", "shop": shop, "status": status, "error": text}),
                text: format!("{text}\n"),
            };
        }
    };
    let error = decisive(&outcome).and_then(|run| run.error.as_ref());
    if let Some(error) = error {
        display.shop_error(shop, error);
    }
    let mut result = summary(&outcome);
    result["shop"] = shop.into();
    let mut text = String::new();
    show(&mut text, &outcome, settings);
    ShopEnd { status: status(&outcome), exit_code: ended_with(&outcome, settings), ending: Ending::of(error), result, text }
}

/// Loads the chunks, and shows how far it is.
fn loaded(settings: &Settings, asked: Asked, display: &Display, cancel: &Cancel) -> Result<BackfillOutcome, RunError> {
    let Asked { chunk, choice, shard, jobs } = asked;
    let progress = Progress::new(display);
    let shop = settings.shop.as_ref().map(|shop| format!("shop {}: ", shop.name)).unwrap_or_default();
    let request = BackfillRequest { settings, chunk, choice, shard, jobs, cancel, observer: &progress };
    let outcome = backfill(
        &request,
        |number, of, window| progress.prefix(format!("{shop}[{} of {of}] {}: ", number + 1, text::window(window.since, window.until))),
        |run| tracing::info!(run_id = run.summary.run_id, status = run.summary.status.as_str(), "a chunk has ended"),
    );
    progress.finish();
    outcome
}

/// The run that tells how a backfill has ended: the first that failed, since others were under way then; else the last.
fn decisive(outcome: &BackfillOutcome) -> Option<&Outcome> {
    outcome.runs.iter().find(|run| run.error.is_some()).or(outcome.runs.last())
}

fn ended_with(outcome: &BackfillOutcome, settings: &Settings) -> u8 {
    let Some(run) = decisive(outcome) else { return settings.empty_exit_code.unwrap_or(0) };
    let anything = outcome.runs.iter().any(|run| run.summary.status == Status::Published);
    if run.error.is_some() || !anything { exit_code(run, settings) } else { 0 }
}

fn status(outcome: &BackfillOutcome) -> Status {
    match outcome.runs.iter().find(|run| run.error.is_some()) {
        Some(failed) => failed.summary.status,
        None if outcome.runs.iter().any(|run| run.summary.status == Status::Published) => Status::Published,
        None => outcome.runs.last().map_or(Status::Unchanged, |run| run.summary.status),
    }
}

/// The whole backfill as one object: its end, and the summary of each run.
fn summary(outcome: &BackfillOutcome) -> serde_json::Value {
    json!({
        "command": "backfill",
        "status": status(outcome),
        "chunks": outcome.chunks,
        "chunks_done": outcome.chunks_done(),
        "chunks_done_before": outcome.done_before,
        "runs": outcome.runs.iter().map(|run| &run.summary).collect::<Vec<_>>(),
    })
}

fn show(out: &mut String, outcome: &BackfillOutcome, settings: &Settings) {
    for run in &outcome.runs {
        text::one_line(out, &run.summary);
    }
    let done = outcome.chunks_done();
    let _ = writeln!(
        out,
        "\n{done} of {} done{}",
        text::counted(outcome.chunks as u64, "chunk"),
        if outcome.done_before > 0 { format!(", {} of them before", outcome.done_before) } else { String::new() }
    );
    if done < outcome.chunks {
        let _ = writeln!(out, "The same command continues at the first chunk that is not done. One that is not over yet is loaded again.");
    }
    if outcome.runs.iter().any(|run| run.summary.has_loaded() && !run.summary.drops().is_none()) {
        let _ = writeln!(out, "See what was dropped, and how to load it: {}", settings.command_line("quarantine"));
    }
}
