//! What a person types and sees: one file a command. No logic of the job.

mod alerts;
mod args;
mod backfill;
mod check;
mod demo;
mod display;
mod json_lines;
mod logging;
mod plan;
mod probe;
mod progress;
mod quarantine;
mod redshift;
mod rewrite;
mod run;
mod runs;
mod signals;
mod sources;
mod status;
mod text;

pub use args::Cli;

use args::Command;
use display::Display;

use crate::{
    cancel::Cancel,
    run::RunError,
    settings::{Flags, Settings, SettingsError, presentation, telemetry},
};

/// Runs the command; the exit code is the contract's.
pub fn run(cli: &Cli) -> u8 {
    let flags = cli.flags();
    let (presentation, telemetry) = match presentation(&flags).and_then(|presentation| Ok((presentation, telemetry(&flags)?))) {
        Ok(settings) => settings,
        Err(error) => {
            display::print_error(&error);
            return RunError::from(error).exit_code();
        }
    };
    let display = Display::new(&cli.display, presentation);
    logging::start(&display, telemetry.as_ref());
    let cancel = Cancel::default();
    if let Err(error) = signals::listen(cancel.clone()) {
        tracing::warn!(%error, "signals can't be listened to: Ctrl-C ends the process at once");
    }
    let result = match &cli.command {
        Command::Run(args) => run::run(args, &display, &cancel),
        Command::Backfill(args) => backfill::run(args, &display, &cancel),
        Command::Plan(args) => plan::run(args, &display),
        Command::Check(args) => check::run(args, &display, &cancel),
        Command::Runs(args) => runs::run(args, &display),
        Command::Status(args) => status::run(args, &display),
        Command::Quarantine(args) => quarantine::run(args, &display, &cancel),
        Command::Alerts(args) => alerts::run(args, &display),
        Command::Rewrite(args) => rewrite::run(args, &display, &cancel),
        Command::Sources(args) => sources::run(args, &display),
        Command::Probe(args) => probe::run(args, &display, &cancel),
        Command::Redshift(args) => redshift::run(args, &display, &cancel),
        Command::Demo(args) => demo::run(args, &display, &cancel),
    };
    result.unwrap_or_else(|error| {
        display.error(&error);
        error.exit_code()
    })
}

/// The settings of a command that needs orders.
fn loading_settings(flags: &Flags) -> Result<Settings, SettingsError> {
    let settings = crate::settings::load(flags)?;
    match (&settings.orders, &settings.source) {
        (None, Some(profile)) => Err(SettingsError::NoPlace(profile.clone())),
        (None, None) => Err(SettingsError::NoOrders),
        (Some(_), _) => Ok(settings),
    }
}
