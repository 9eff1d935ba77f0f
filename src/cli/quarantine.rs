//! `etl quarantine`: what runs dropped, and a run over it once it is mended.

use std::fmt::Write;

use serde::Serialize;

use super::{
    args::{QuarantineArgs, QuarantineCommand},
    display::Display,
    progress::Progress,
    run::show,
    table::{Column, Table},
    terminal, text,
};
use crate::{
    cancel::Cancel,
    model::RunId,
    report::{Quarantined, Sample, quarantined},
    run::{RequestError, RunError, has_layer, recover_unless_held, replay, shop_of_run, warn_without_layer},
    settings::{self, Flags, Settings},
    store::{Key, Output},
};

/// How much of a record a line shows.
const SHOWN: usize = 100;

/// The answer as JSON. It is written as it stands: records are the source's own bytes, and a `Value` can't hold each of
/// them.
#[derive(Serialize)]
struct Listed<'r> {
    runs: &'r [Quarantined],
}

pub(super) fn run(args: &QuarantineArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    match &args.what {
        None => list(args, display),
        Some(QuarantineCommand::Replay { run_id, job }) => {
            let settings = replayed_settings(&job.flags, run_id, cancel)?;
            let progress = Progress::new(display);
            let outcome = replay(&settings, run_id, cancel, &progress);
            progress.finish();
            Ok(show(&outcome?, &settings, display, |out, summary| text::next_after_drops(out, summary, &settings)))
        }
    }
}

/// The settings of a replay: in a layer of several shops those of the shop whose run it was.
fn replayed_settings(flags: &Flags, run_id: &RunId, cancel: &Cancel) -> Result<Settings, RunError> {
    let settings = settings::load(flags)?;
    if settings.shops.is_empty() {
        return Ok(settings);
    }
    let shop = shop_of_run(&settings, run_id, cancel)?;
    let of_shop = settings::load_shops(flags, std::slice::from_ref(&shop))?.into_iter().next();
    Ok(of_shop.unwrap_or(settings))
}

fn list(args: &QuarantineArgs, display: &Display) -> Result<u8, RunError> {
    let settings = settings::load(&args.config.flags)?;
    let output = Output::open(&settings.output)?;
    recover_unless_held(&output)?;
    let runs = quarantined(&output, args.run.as_ref(), args.limit.get(), args.samples)?;
    let stands = !runs.is_empty() || has_layer(&output)?;
    if let Some(run_id) = args.run.as_ref().filter(|_| stands && runs.is_empty()) {
        return Err(RequestError::NoQuarantine { run_id: run_id.to_string(), output: output.location() }.into());
    }
    if !stands && display.answers_in_json() {
        warn_without_layer(&output)?;
    }
    // Whoever names a run wants to see it, replayed or not.
    let is_shown = |of_run: &&Quarantined| args.run.is_some() || !of_run.is_replayed();
    display.answer(&Listed { runs: &runs }, |out| {
        if !stands {
            let _ = writeln!(out, "{}", display.proposing(&RequestError::NoLayer(output.location()).to_string()));
            return;
        }
        if !runs.iter().any(|of_run| is_shown(&of_run)) {
            let _ = writeln!(out, "nothing waits in quarantine in {}", output.location());
        }
        for of_run in runs.iter().filter(is_shown) {
            show_run(out, of_run, &output, display.width);
        }
        for of_run in runs.iter().filter(|of_run| !is_shown(of_run)) {
            let (run_id, dropped) = (&of_run.run_id, text::drops(of_run.drops));
            let _ = writeln!(out, "run {run_id}: {dropped}, replayed by {}", of_run.replayed_by.join(", "));
        }
        let waiting: Vec<_> = runs.iter().filter(|of_run| !of_run.is_replayed()).collect();
        next(out, &waiting, &settings);
    });
    Ok(0)
}

/// How what was dropped is loaded: a command for each run, the latest first.
fn next(out: &mut String, waiting: &[&Quarantined], settings: &Settings) {
    for (place, of_run) in waiting.iter().enumerate() {
        let lead = if place == 0 { "Correct the records in their file, then: " } else { "  and: " };
        let _ = writeln!(out, "{lead}{}", settings.command_line(&format!("quarantine replay {}", of_run.run_id)));
    }
}

/// What a run dropped, by reason, with the first records of each.
fn show_run(out: &mut String, of_run: &Quarantined, output: &Output, width: Option<usize>) {
    let replayed = if of_run.is_replayed() { format!(", replayed by {}", of_run.replayed_by.join(", ")) } else { String::new() };
    let _ = writeln!(out, "run {}: {} dropped{replayed}", of_run.run_id, text::drops(of_run.drops));
    let _ = writeln!(out, "{}\n", terminal::unbroken(&output.location_of(&Key::from(of_run.file.as_str()))));
    let mut table = Table::new(&[Column::text("reason"), Column::text("dropped"), Column::text("first records").cut(20).leaves(1)]);
    for (reason, count) in &of_run.reasons {
        let mut samples = of_run.samples.iter().filter(|sample| sample.reason == *reason).map(beginning);
        table.row([reason.clone(), text::dropped_for(reason, *count), samples.next().unwrap_or_default()]);
        samples.for_each(|sample| table.row([String::new(), String::new(), sample]));
    }
    table.show(out, width);
    let _ = writeln!(out);
}

/// The beginning of a record.
fn beginning(sample: &Sample) -> String {
    let record = sample.record.as_ref().map_or_else(|| sample.record_base64.as_deref().unwrap_or_default(), |record| record.get());
    let shown: String = record.chars().take(SHOWN).collect();
    let more = if shown.len() < record.len() { "…" } else { "" };
    format!("{shown}{more}")
}
