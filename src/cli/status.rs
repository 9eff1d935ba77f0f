//! `etl status`: one screen.

use std::{fmt::Write, time::Duration};

use indicatif::{HumanBytes, HumanCount};

use super::{args::StatusArgs, display::Display, plan, text};
use crate::{
    check::Severity,
    coverage::SourceInterval,
    model::elapsed_text,
    report::alert::OpenAlert,
    run::{
        HeldBy, LayerStatus, RunError, RunInShort, Unhealthy, how_to_load, is_configured, layer_status, recover_unless_held,
        warn_without_layer,
    },
    settings::{self, Settings},
    store::Output,
};

/// Days that are named one by one.
const DAYS_NAMED: usize = 6;

pub(super) fn run(args: &StatusArgs, display: &Display) -> Result<u8, RunError> {
    let settings = settings::load(&args.config.flags)?;
    let output = Output::open(&settings.output)?;
    recover_unless_held(&output)?;
    let status = layer_status(&settings)?;
    let is_unused = status.last_run.is_none() && status.partitions == 0 && status.held_by.is_none();
    if is_unused && display.answers_in_json() {
        warn_without_layer(&output)?;
    }
    display.answer(&status, |out| if is_unused { show_unused(out, &output, &settings) } else { show(out, &status, &settings) });
    Ok(0)
}

/// An output that no run has written to; its name may be mistyped.
fn show_unused(out: &mut String, output: &Output, settings: &Settings) {
    let place = output.location();
    let _ = writeln!(out, "nothing has been loaded into {place} yet: {}, and `etl demo` shows how that looks", how_to_load(settings));
    let _ = writeln!(out, "If your runs write elsewhere, name their output: etl status --output DIR");
}

fn show(out: &mut String, status: &LayerStatus, settings: &Settings) {
    verdict(out, status, settings);
    runs(out, status);
    if let Some(held_by) = &status.held_by {
        text::row(out, "held by", &holder(held_by));
    }
    sizes(out, status);
    if let Some(completeness) = &status.completeness {
        text::row(out, "source", &text::completeness_words(completeness.orders.as_ref()));
    }
    gaps(out, status, settings);
    drops(out, status, settings);
    checks(out, status);
    for (place, alert) in status.open_alerts.iter().enumerate() {
        text::row(out, if place == 0 { "alerts" } else { "" }, &open_alert(alert));
    }
    if status.open_alerts.is_empty() {
        text::row(out, "alerts", "none open");
    }
}

/// Who holds the output, and whether that run is at work.
fn holder(HeldBy { holder, seconds, stuck, silent_seconds }: &HeldBy) -> String {
    let run = format!("run {}", holder.run_id);
    let place = format!("(process {} on {})", holder.pid, holder.host);
    if let Some(silent) = silent_seconds {
        let silent = elapsed_text(Duration::from_secs(*silent));
        return format!(
            "nobody at work: {run} {place} left a lease, not renewed for {silent}. It is dead, or its machine sleeps or has no \
             network; a run with `--lock-wait 2m` takes its days over"
        );
    }
    let age = elapsed_text(Duration::from_secs(*seconds));
    let verdict = if *stuck { text::verdict(false, "", "stuck") + ": " } else { String::new() };
    format!("{verdict}{run} for {age} {place}")
}

/// An open alert: when which run raised it, and which run its message is of.
fn open_alert(alert: &OpenAlert) -> String {
    let OpenAlert { kind, since, run_id, message, .. } = alert;
    let runs = match alert.run_of_message() {
        Some(of_message) if of_message == run_id => format!(" (run {run_id})"),
        Some(of_message) => format!(" (raised by run {run_id}), in run {of_message}"),
        None => String::new(),
    };
    format!("{} since {since}{runs}: {message}", kind.as_str())
}

/// The last success, and what came after it; the same of each shop.
fn runs(out: &mut String, status: &LayerStatus) {
    text::row(out, "success", &status.last_success.as_ref().map_or("none yet".to_owned(), ago));
    let is_last = |run: &&RunInShort, success: &Option<RunInShort>| success.as_ref().is_none_or(|success| success.run_id != run.run_id);
    if let Some(run) = status.last_run.as_ref().filter(|run| is_last(run, &status.last_success)) {
        let command = if run.command.is_load() { String::new() } else { format!("{}: ", run.command.as_str()) };
        text::row(out, "last run", &format!("{command}{} {}", run.status.as_str(), ago(run)));
    }
    for (place, shop) in status.shops.iter().enumerate() {
        let success = shop.last_success.as_ref().map_or("no success yet".to_owned(), |run| format!("success {}", ago(run)));
        let failed = shop.last_run.as_ref().filter(|run| is_last(run, &shop.last_success));
        let failed = failed.map(|run| format!(", then {} {}", run.status.as_str(), ago(run))).unwrap_or_default();
        text::row(out, if place == 0 { "shops" } else { "" }, &format!("{}: {success}{failed}", shop.shop));
    }
}

/// When a run ended, and whether it was undone since.
fn ago(run: &RunInShort) -> String {
    let undone = run.undone_by.as_ref().map(|undo| format!(", undone by run {undo}")).unwrap_or_default();
    format!("{} ago ({}, run {}){undone}", age(run.age_seconds), run.finished_at, run.run_id)
}

/// The partitions, the kept records, and the days without rows.
fn sizes(out: &mut String, status: &LayerStatus) {
    if let Some(raw) = &status.raw {
        let runs = text::counted(raw.runs as u64, "run");
        text::row(out, "raw", &format!("records of {runs} since run {}: {}", raw.first_run_id, HumanBytes(raw.bytes)));
    }
    let Some((first, last)) = status.first_dt.zip(status.last_dt) else {
        text::row(out, "layer", "no rows");
        return;
    };
    let rows = status.rows.map_or(String::new(), |rows| format!("{}, ", text::counted(rows, "row")));
    let partitions = text::counted(status.partitions as u64, "partition");
    text::row(out, "layer", &format!("{partitions}, dt={first} to dt={last}: {rows}{}", HumanBytes(status.bytes)));
    if let Some(largest) = &status.largest {
        let rows = largest.rows.map_or(String::new(), |rows| format!("{}, ", text::counted(rows, "row")));
        text::row(out, "largest", &format!("dt={}: {rows}{}", largest.dt, HumanBytes(largest.bytes)));
    }
    let days = &status.days_without_rows;
    let named = days.iter().take(DAYS_NAMED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let more = if days.len() > DAYS_NAMED { format!(" and {} more", days.len() - DAYS_NAMED) } else { String::new() };
    text::row(out, "no rows on", &if days.is_empty() { "no day of that range".to_owned() } else { format!("{named}{more}") });
}

/// What is not loaded, why as far as it is known, and the commands that load it.
fn gaps(out: &mut String, status: &LayerStatus, settings: &Settings) {
    for (place, gap) in status.gaps.iter().enumerate() {
        text::row(out, if place == 0 { "gaps" } else { "" }, &format!("{} is not loaded", shown(gap)));
    }
    if status.gaps.is_empty() {
        text::row(out, "gaps", "none");
    } else {
        text::row(out, "", &how_to_fill(&status.gaps, settings));
    }
    for (place, load) in status.undone.iter().enumerate() {
        let line = format!("{}: loaded by run {}, then undone by run {}", shown(&load.place), load.run_id, load.undone_by);
        text::row(out, if place == 0 { "undone" } else { "" }, &line);
    }
    if status.undone.iter().any(|load| is_configured(&load.place.identity, settings)) {
        text::row(out, "", &format!("`{}` loads it again", settings.command_line("run --since last")));
    }
}

/// An interval of a source, in words.
fn shown(place: &SourceInterval) -> String {
    format!("{} of {}", plan::interval(&place.interval), place.identity.source)
}

/// How gaps are filled: by a command that works with these settings, if there is one.
fn how_to_fill(gaps: &[SourceInterval], settings: &Settings) -> String {
    if gaps.iter().any(|gap| is_configured(&gap.identity, settings)) {
        let (fill, plan) = (settings.command_line("backfill --gaps"), settings.command_line("plan"));
        return format!("`{fill}` loads them; `{plan}` tells more");
    }
    "no setting names this source: `etl backfill --gaps` loads them with the options of the runs that loaded it (--orders, --profile, ...)"
        .to_owned()
}

/// What was dropped and waits, and what was replayed.
fn drops(out: &mut String, status: &LayerStatus, settings: &Settings) {
    let over = match status.runs_counted {
        1 => "in the last run".to_owned(),
        runs => format!("in the last {}", text::counted(runs as u64, "run")),
    };
    let reasons = status.dropped.iter().map(|(reason, count)| format!("{} {reason}", HumanCount(*count))).collect::<Vec<_>>().join(", ");
    let reasons = if reasons.is_empty() { reasons } else { format!(": {reasons}") };
    let is_replayed = !status.drops_replayed.is_none();
    let replayed =
        if is_replayed { format!("; {} of these runs were replayed", text::drops(status.drops_replayed)) } else { String::new() };
    text::row(out, "dropped", &format!("{} {over}{reasons}{replayed}", text::drops(status.drops)));
    if !status.drops.is_none() {
        text::row(out, "", &format!("`{}` shows the records", settings.command_line("quarantine")));
    }
}

/// Checks that failed when they were last run: errors, and apart from them warnings.
fn checks(out: &mut String, status: &LayerStatus) {
    for (label, severity) in [("failing", Severity::Error), ("warnings", Severity::Warn)] {
        let found = status.failing_checks.iter().filter(|check| check.severity == severity);
        for (place, check) in found.enumerate() {
            let line = format!("{}: {} (run {})", check.name, text::counted(check.violations, "violation"), check.run_id);
            text::row(out, if place == 0 { label } else { "" }, &line);
        }
    }
    if !status.failing_checks.iter().any(|check| check.severity == Severity::Error) {
        text::row(out, "failing", "no check of severity error");
    }
}

/// Whether the layer is healthy, and else why and what to do next; then whether it is complete.
fn verdict(out: &mut String, status: &LayerStatus, settings: &Settings) {
    let healthy = text::verdict(status.healthy, "healthy", "not healthy");
    let complete = text::verdict(status.complete, "complete", status.missing().unwrap_or_default());
    let Some((first, others)) = status.reasons.split_first() else {
        let _ = writeln!(out, "{healthy}, {complete}\n");
        return;
    };
    let _ = writeln!(out, "{healthy}: {}; next: {}", first.why, first.next);
    for Unhealthy { why, next } in others {
        let _ = writeln!(out, "also: {why}; next: {next}");
    }
    let next = match (status.complete || status.partitions == 0, status.gaps.is_empty()) {
        (true, _) => String::new(),
        (false, true) => ": see `no rows on` below; a day without orders has no rows".to_owned(),
        (false, false) => format!(": {}", how_to_fill(&status.gaps, settings)),
    };
    let _ = writeln!(out, "{complete}{next}\n");
}

/// An age; none is negative, whatever the clocks say.
fn age(seconds: i64) -> String {
    elapsed_text(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}
