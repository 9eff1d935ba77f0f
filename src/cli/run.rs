//! `etl run`.

use super::{
    args::RunArgs,
    display::{Display, Ending},
    loading_settings,
    progress::Progress,
    text,
};
use crate::{
    cancel::Cancel,
    report::{CommandName, Status},
    run::{OrdersFrom, Outcome, Request, RunError, execute},
    settings::{Settings, SettingsError},
};

pub(super) fn run(args: &RunArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    let settings = loading_settings(&args.flags())?;
    if !args.wants_diff() {
        return Ok(run_and_show(&settings, CommandName::Run, display, cancel, |_| {}));
    }
    if !settings.dry_run {
        return Err(SettingsError::Conflict("--diff and --fail-if-diff compare what a run would do: add --dry-run".into()).into());
    }
    Ok(compare_and_show(args, &settings, display, cancel))
}

/// A dry run that tells what it would change.
fn compare_and_show(args: &RunArgs, settings: &Settings, display: &Display, cancel: &Cancel) -> u8 {
    let progress = Progress::new(display);
    let (since, until, command) = (settings.since, settings.until, CommandName::Run);
    let diff = Some(args.limit);
    let orders = OrdersFrom::Source;
    let outcome = execute(&Request { settings, command, orders, since, until, restart: None, diff, cancel, observer: &progress });
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
        super::diff::show(out, &found);
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
    more: impl FnOnce(&mut String),
) -> u8 {
    let progress = Progress::new(display);
    let (since, until, orders) = (settings.since, settings.until, OrdersFrom::Source);
    let outcome = execute(&Request { settings, command, orders, since, until, restart: None, diff: None, cancel, observer: &progress });
    progress.finish();
    show(&outcome, settings, display, more)
}

/// Shows how a run ended, and tells its exit code.
pub(super) fn show(outcome: &Outcome, settings: &Settings, display: &Display, more: impl FnOnce(&mut String)) -> u8 {
    if let Some(error) = &outcome.error {
        display.error(error);
    }
    display.outcome(Ending::of(outcome.error.as_ref()), &outcome.summary, |out| {
        text::summary(out, &outcome.summary, settings);
        more(out);
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
