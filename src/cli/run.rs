//! `etl run`.

use super::{
    Loading,
    args::RunArgs,
    display::{Display, Ending},
    loading_settings, one_source,
    progress::Progress,
    sample,
    shops::{self, ShopEnd},
    text,
};
use crate::{
    cancel::Cancel,
    report::{CommandName, Status, Summary},
    run::{OrdersFrom, Outcome, Request, RunError, execute},
    settings::{Settings, SettingsError},
};

pub(super) fn run(args: &RunArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    if let Some(most) = args.sample {
        let settings = one_source(&args.flags(), &args.shops)?;
        return sample::run(&settings, most.get(), display, cancel);
    }
    let loading = loading_settings(&args.flags(), &args.shops)?;
    let is_dry_run = match &loading {
        Loading::One(settings) => settings.dry_run,
        Loading::Shops(shops) => shops.iter().all(|settings| settings.dry_run),
    };
    if args.wants_diff() && !is_dry_run {
        return Err(SettingsError::Conflict("--diff and --fail-if-diff compare what a run would do: add --dry-run".into()).into());
    }
    match loading {
        Loading::Shops(shops) => Ok(shops::for_each("run", &shops, display, cancel, |settings| run_shop(args, settings, display, cancel))),
        Loading::One(settings) if args.wants_diff() => Ok(compare_and_show(args, &settings, display, cancel)),
        Loading::One(settings) => {
            let next = |out: &mut String, summary: &Summary| text::next_after_drops(out, summary, &settings);
            Ok(run_and_show(&settings, CommandName::Run, display, cancel, next))
        }
    }
}

/// One run of several: that of a shop.
fn run_shop(args: &RunArgs, settings: &Settings, display: &Display, cancel: &Cancel) -> ShopEnd {
    let shop = shops::name(settings);
    let progress = Progress::new(display);
    progress.prefix(format!("shop {shop}: "));
    let diff = args.wants_diff().then_some(args.rows.limit);
    let outcome = executed(settings, CommandName::Run, diff, cancel, &progress);
    progress.finish();
    if let Some(error) = &outcome.error {
        display.shop_error(shop, error);
    }
    let mut result = serde_json::to_value(&outcome.summary).unwrap_or_default();
    let mut text = String::new();
    text::one_line(&mut text, &outcome.summary);
    text::next_after_drops(&mut text, &outcome.summary, settings);
    let mut fails = false;
    if args.wants_diff() {
        let found = outcome.diff.clone().unwrap_or_default();
        fails = args.fail_if_diff && outcome.error.is_none() && !found.is_empty();
        result["diff"] = serde_json::to_value(&found).unwrap_or_default();
        text.push('\n');
        super::diff::show(&mut text, &found, display.width);
    }
    ShopEnd {
        status: outcome.summary.status,
        exit_code: if fails { DIFFERS } else { exit_code(&outcome, settings) },
        ending: if fails { Ending::Failure } else { Ending::of(outcome.error.as_ref()) },
        result,
        text,
    }
}

/// Runs the job over the window of the settings.
fn executed(settings: &Settings, command: CommandName, diff: Option<usize>, cancel: &Cancel, progress: &Progress) -> Outcome {
    let (since, until) = (settings.since, settings.until);
    execute(&Request { settings, command, orders: OrdersFrom::Source, since, until, restart: None, diff, cancel, observer: progress })
}

/// A dry run that tells what it would change.
fn compare_and_show(args: &RunArgs, settings: &Settings, display: &Display, cancel: &Cancel) -> u8 {
    let progress = Progress::new(display);
    let outcome = executed(settings, CommandName::Run, Some(args.rows.limit), cancel, &progress);
    progress.finish();
    let if_differs = if args.fail_if_diff { IfDiffers::Fails } else { IfDiffers::Succeeds };
    show_with_diff(&outcome, settings, display, if_differs)
}

/// How a dry run ends that would change something.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum IfDiffers {
    Succeeds,
    Fails,
}

/// Shows how a dry run ended and what it would change, and tells its exit code.
pub(super) fn show_with_diff(outcome: &Outcome, settings: &Settings, display: &Display, if_differs: IfDiffers) -> u8 {
    if let Some(error) = &outcome.error {
        display.error(error);
    }
    let found = outcome.diff.clone().unwrap_or_default();
    let fails = if_differs == IfDiffers::Fails && outcome.error.is_none() && !found.is_empty();
    let mut result = serde_json::to_value(&outcome.summary).unwrap_or_default();
    result["diff"] = serde_json::to_value(&found).unwrap_or_default();
    let ending = if fails { Ending::Failure } else { Ending::of(outcome.error.as_ref()) };
    display.outcome(ending, &result, |out| {
        text::summary(out, &outcome.summary, settings);
        out.push('\n');
        super::diff::show(out, &found, display.width);
    });
    if fails { DIFFERS } else { exit_code(outcome, settings) }
}

/// The exit code of a dry run that was not to change anything: that of a check.
const DIFFERS: u8 = 4;

/// Runs the job and shows how it ended; `more` adds to the text.
pub(super) fn run_and_show(
    settings: &Settings,
    command: CommandName,
    display: &Display,
    cancel: &Cancel,
    more: impl FnOnce(&mut String, &Summary),
) -> u8 {
    let progress = Progress::new(display);
    let outcome = executed(settings, command, None, cancel, &progress);
    progress.finish();
    show(&outcome, settings, display, more)
}

/// Shows how a run ended, and tells its exit code.
pub(super) fn show(outcome: &Outcome, settings: &Settings, display: &Display, more: impl FnOnce(&mut String, &Summary)) -> u8 {
    if let Some(error) = &outcome.error {
        display.error(error);
    }
    display.outcome(Ending::of(outcome.error.as_ref()), &outcome.summary, |out| {
        text::summary(out, &outcome.summary, settings);
        more(out, &outcome.summary);
    });
    exit_code(outcome, settings)
}

/// The exit code of a run: 0, the one for "nothing to do", or the error's.
pub(super) fn exit_code(outcome: &Outcome, settings: &Settings) -> u8 {
    match &outcome.error {
        Some(error) => error.exit_code(),
        None if outcome.summary.status == Status::Unchanged => settings.empty_exit_code.unwrap_or(0),
        None => 0,
    }
}
