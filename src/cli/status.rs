//! `etl status`: one screen.

use std::{fmt::Write, time::Duration};

use indicatif::{HumanBytes, HumanCount};

use super::{args::StatusArgs, display::Display, plan, text};
use crate::{
    model::elapsed_text,
    run::{HeldBy, LayerStatus, RunError, RunInShort, Unhealthy, layer_status, recover_unless_held, warn_without_layer},
    settings,
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
    display.answer(&status, |out| if is_unused { show_unused(out, &output.location()) } else { show(out, &status) });
    Ok(0)
}

/// An output that no run has written to; its name may be mistyped.
fn show_unused(out: &mut String, place: &str) {
    let _ = writeln!(out, "nothing has been loaded into {place} yet: `etl run --output {place}` loads orders, and `etl demo` shows how");
    let _ = writeln!(out, "If your runs write elsewhere, name their output: etl status --output DIR");
}

fn show(out: &mut String, status: &LayerStatus) {
    verdict(out, status);
    let ago = |run: &RunInShort| format!("{} ago ({}, run {})", age(run.age_seconds), run.finished_at, run.run_id);
    text::row(out, "success", &status.last_success.as_ref().map_or("none yet".to_owned(), ago));
    if let Some(run) =
        status.last_run.as_ref().filter(|run| status.last_success.as_ref().is_none_or(|success| success.run_id != run.run_id))
    {
        text::row(out, "last run", &format!("{} {}", run.status.as_str(), ago(run)));
    }
    for (place, shop) in status.shops.iter().enumerate() {
        let success = shop.last_success.as_ref().map_or("no success yet".to_owned(), |run| format!("success {}", ago(run)));
        let failed = shop.last_run.as_ref().filter(|run| shop.last_success.as_ref().is_none_or(|success| success.run_id != run.run_id));
        let failed = failed.map(|run| format!(", then {} {}", run.status.as_str(), ago(run))).unwrap_or_default();
        text::row(out, if place == 0 { "shops" } else { "" }, &format!("{}: {success}{failed}", shop.shop));
    }
    if let Some(HeldBy { holder, seconds, stuck }) = &status.held_by {
        let age = elapsed_text(Duration::from_secs(*seconds));
        let verdict = if *stuck { text::verdict(false, "", "stuck") + ": " } else { String::new() };
        text::row(out, "held by", &format!("{verdict}run {} for {age} (process {} on {})", holder.run_id, holder.pid, holder.host));
    }
    if let (Some(first), Some(last)) = (status.first_dt, status.last_dt) {
        let rows = status.rows.map_or(String::new(), |rows| format!("{}, ", text::counted(rows, "row")));
        let partitions = text::counted(status.partitions as u64, "partition");
        text::row(out, "layer", &format!("{partitions}, dt={first} to dt={last}: {rows}{}", HumanBytes(status.bytes)));
    }
    if let Some(largest) = &status.largest {
        let rows = largest.rows.map_or(String::new(), |rows| format!("{}, ", text::counted(rows, "row")));
        text::row(out, "largest", &format!("dt={}: {rows}{}", largest.dt, HumanBytes(largest.bytes)));
    }
    if let Some(raw) = &status.raw {
        let runs = text::counted(raw.runs as u64, "run");
        text::row(out, "raw", &format!("records of {runs} since run {}: {}", raw.first_run_id, HumanBytes(raw.bytes)));
    }
    let days = &status.days_without_rows;
    let named = days.iter().take(DAYS_NAMED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let more = if days.len() > DAYS_NAMED { format!(" and {} more", days.len() - DAYS_NAMED) } else { String::new() };
    text::row(out, "no rows on", &if days.is_empty() { "no day of that range".to_owned() } else { format!("{named}{more}") });
    if let Some(completeness) = &status.completeness {
        text::row(out, "source", &text::completeness_words(completeness.orders.as_ref()));
    }
    for (place, gap) in status.gaps.iter().enumerate() {
        let line = format!("{} of {} was never loaded", plan::interval(&gap.interval), gap.identity.source);
        text::row(out, if place == 0 { "gaps" } else { "" }, &line);
    }
    if status.gaps.is_empty() {
        text::row(out, "gaps", "none");
    } else {
        text::row(out, "", "etl backfill --gaps loads them; etl plan tells more");
    }
    let over = match status.runs_counted {
        1 => "in the last run".to_owned(),
        runs => format!("in the last {}", text::counted(runs as u64, "run")),
    };
    let dropped = status.dropped.iter().map(|(reason, count)| format!("{} {reason}", HumanCount(*count))).collect::<Vec<_>>().join(", ");
    text::row(out, "dropped", &if dropped.is_empty() { format!("nothing {over}") } else { format!("{dropped} {over}") });
    for (place, check) in status.failing_checks.iter().enumerate() {
        let severity: &str = check.severity.into();
        let line = format!("{severity} {}: {} (run {})", check.name, text::counted(check.violations, "violation"), check.run_id);
        text::row(out, if place == 0 { "failing" } else { "" }, &line);
    }
    if status.failing_checks.is_empty() {
        text::row(out, "failing", "no check");
    }
    for (place, alert) in status.open_alerts.iter().enumerate() {
        let line = format!("{} since {}: {}", alert.kind.as_str(), alert.since, alert.message);
        text::row(out, if place == 0 { "alerts" } else { "" }, &line);
    }
    if status.open_alerts.is_empty() {
        text::row(out, "alerts", "none open");
    }
}

/// Whether the layer is healthy, and else why and what to do next; then whether it is complete.
fn verdict(out: &mut String, status: &LayerStatus) {
    let healthy = text::verdict(status.healthy, "healthy", "not healthy");
    let missing = if status.gaps.is_empty() { "days are missing" } else { "coverage has gaps" };
    let complete = text::verdict(status.complete, "complete", missing);
    let Some((first, others)) = status.reasons.split_first() else {
        let _ = writeln!(out, "{healthy}, {complete}\n");
        return;
    };
    let _ = writeln!(out, "{healthy}: {}; next: {}", first.why, first.next);
    for Unhealthy { why, next } in others {
        let _ = writeln!(out, "also: {why}; next: {next}");
    }
    let next = match (status.complete, status.gaps.is_empty()) {
        (true, _) => "",
        (false, true) => ": see `no rows on` below; a day without orders has no rows",
        (false, false) => ": `etl backfill --gaps` loads them",
    };
    let _ = writeln!(out, "{complete}{next}\n");
}

/// An age; none is negative, whatever the clocks say.
fn age(seconds: i64) -> String {
    elapsed_text(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}
