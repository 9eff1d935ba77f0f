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
    run::{Outcome, Request, RunError, execute},
    settings::Settings,
};

pub(super) fn run(args: &RunArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    let settings = loading_settings(&args.flags())?;
    Ok(run_and_show(&settings, CommandName::Run, display, cancel, |_| {}))
}

/// Runs the job and shows how it ended; `more` adds to the text.
pub(super) fn run_and_show(
    settings: &Settings,
    command: CommandName,
    display: &Display,
    cancel: &Cancel,
    more: impl FnOnce(&mut String),
) -> u8 {
    let progress = Progress::new(display);
    let (since, until) = (settings.since, settings.until);
    let outcome = execute(&Request { settings, command, replay_of: None, since, until, restart: None, cancel, observer: &progress });
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
