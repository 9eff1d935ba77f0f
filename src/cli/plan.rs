//! `etl plan`.

use std::fmt::Write;

use serde_json::json;

use super::{Loading, args::PlanArgs, display::Display, loading_settings, text};
use crate::{
    coverage::Interval,
    model::UtcMicros,
    run::{Plan, PlanRequest, RunError, plan, recover_unless_held},
    settings::{Chunk, Settings, SettingsError},
    store::Output,
};

pub(super) fn run(args: &PlanArgs, display: &Display) -> Result<u8, RunError> {
    let loading = loading_settings(&args.settings.flags, &args.shops)?;
    let parsed = |text: &String| text.parse().map_err(|detail: String| SettingsError::flag("--chunk", text, detail));
    let chunk: Option<Chunk> = args.chunk.as_ref().map(parsed).transpose()?;
    match loading {
        Loading::One(settings) => {
            let plan = planned(&settings, chunk)?;
            display.answer(&plan, |out| show(out, &plan, &settings));
        }
        Loading::Shops(shops) => {
            let plans = shops.iter().map(|settings| planned(settings, chunk)).collect::<Result<Vec<_>, _>>()?;
            display.answer(&json!({ "shops": plans }), |out| {
                for (plan, settings) in plans.iter().zip(&shops) {
                    let _ = writeln!(out, "shop {}", plan.shop.as_deref().unwrap_or_default());
                    show(out, plan, settings);
                    out.push('\n');
                }
            });
        }
    }
    Ok(0)
}

fn planned(settings: &Settings, chunk: Option<Chunk>) -> Result<Plan, RunError> {
    recover_unless_held(&Output::open(&settings.output)?)?;
    plan(PlanRequest { settings, chunk })
}

fn show(out: &mut String, plan: &Plan, settings: &Settings) {
    let identity = &plan.identity;
    let _ = writeln!(out, "{} (profile {}, by {})\n", identity.source, identity.profile, identity.cursor);
    text::row(out, "next run", &text::window_text(plan.since.as_deref(), plan.until.as_deref()));
    text::row(out, "", &plan.why);
    text::row(out, "", &format!("this is the run `{}`", plan.command));
    if settings.since.is_none() {
        text::row(out, "", "without --since, a run loads everything");
    }
    if let Some(request) = &plan.request {
        text::row(out, "asks for", request);
    }
    if let Some(gap) = &plan.leaves_gap {
        text::row(out, "", &format!("and leaves a gap: {}", interval(gap)));
    }
    intervals(out, "covered", &plan.covered, "nothing yet");
    intervals(out, "gaps", &plan.gaps, "none");
    if !plan.gaps.is_empty() {
        text::row(out, "", &format!("`{}` loads them", settings.loading_command_line("backfill --gaps")));
    }
    intervals(out, "empty", &plan.empty, "no loaded interval between others is without orders");
    let Some(chunks) = &plan.chunks else { return };
    let done = chunks.iter().filter(|chunk| chunk.state == "done").count();
    text::row(out, "backfill", &format!("{done} of {} done", text::counted(chunks.len() as u64, "chunk")));
    for chunk in chunks.iter().filter(|chunk| chunk.state != "done") {
        text::row(out, "", &format!("{}: {}", text::window_text(chunk.since.as_deref(), chunk.until.as_deref()), chunk.state));
    }
}

fn intervals(out: &mut String, label: &str, intervals: &[Interval], none: &str) {
    if intervals.is_empty() {
        text::row(out, label, none);
    }
    for (place, each) in intervals.iter().enumerate() {
        text::row(out, if place == 0 { label } else { "" }, &interval(each));
    }
}

/// An interval, in words.
pub(super) fn interval(interval: &Interval) -> String {
    let window = interval.window();
    text::window_text(window.since.map(UtcMicros::rfc3339).as_deref(), window.until.map(UtcMicros::rfc3339).as_deref())
}
