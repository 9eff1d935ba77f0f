//! `etl quarantine`: what runs dropped, and a run over it once it is mended.

use std::fmt::Write;

use serde_json::json;

use super::{
    args::{QuarantineArgs, QuarantineCommand},
    display::Display,
    progress::Progress,
    run::show,
    table::{Column, Table},
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

pub(super) fn run(args: &QuarantineArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    match &args.what {
        None => list(args, display),
        Some(QuarantineCommand::Replay { run_id, job }) => {
            let settings = replayed_settings(&job.flags, run_id, cancel)?;
            let progress = Progress::new(display);
            let outcome = replay(&settings, run_id, cancel, &progress);
            progress.finish();
            Ok(show(&outcome?, &settings, display, |_, _| {}))
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
    if !stands && display.answers_in_json() {
        warn_without_layer(&output)?;
    }
    display.answer(&json!({ "runs": runs }), |out| {
        if !stands {
            let _ = writeln!(out, "{}", RequestError::NoLayer(output.location()));
            return;
        }
        if runs.is_empty() {
            let _ = writeln!(out, "nothing lies in quarantine in {}", output.location());
            return;
        }
        for of_run in &runs {
            show_run(out, of_run, &output, display.width);
        }
        let _ = writeln!(out, "Mend the records where they lie, then: etl quarantine replay RUN_ID");
    });
    Ok(0)
}

/// What a run dropped, by reason, with the first records of each.
fn show_run(out: &mut String, of_run: &Quarantined, output: &Output, width: Option<usize>) {
    let replayed = if of_run.replayed_by.is_empty() { String::new() } else { format!(", replayed by {}", of_run.replayed_by.join(", ")) };
    let _ = writeln!(out, "run {}: {} dropped{replayed}", of_run.run_id, of_run.dropped);
    let _ = writeln!(out, "{}\n", output.location_of(&Key::from(of_run.file.as_str())));
    let mut table = Table::new(&[Column::text("reason"), Column::number("dropped"), Column::text("first records").cut(20).leaves(1)]);
    for (reason, count) in &of_run.reasons {
        let mut samples = of_run.samples.iter().filter(|sample| sample.reason == *reason).map(beginning);
        table.row([reason.clone(), count.to_string(), samples.next().unwrap_or_default()]);
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
