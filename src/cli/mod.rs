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

use args::{Command, ConfigArgs, JobArgs, OrdersArgs};
use display::Display;

use crate::{
    cancel::Cancel,
    run::RunError,
    settings::{Flags, Settings, SettingsError, presentation},
};

/// Runs the command; the exit code is the contract's.
pub fn run(cli: &Cli) -> u8 {
    let display = match presentation().and_then(|presentation| Display::new(&cli.display, &presentation)) {
        Ok(display) => display,
        Err(error) => {
            display::print_error(&error);
            return RunError::from(error).exit_code();
        }
    };
    logging::start(&display);
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

/// What was said on the command line of a job.
fn job_flags(job: &JobArgs) -> Flags {
    Flags {
        source: job.source.clone(),
        url: job.url.clone(),
        cursor: job.cursor.clone(),
        orders: job.orders.clone(),
        users: job.users.clone(),
        products: job.products.clone(),
        since: job.since.clone(),
        until: job.until.clone(),
        lock_wait: job.lock_wait.clone(),
        empty_exit_code: job.empty_exit_code.clone(),
        checks: job.checks.clone(),
        check_scope: job.check_scope.clone(),
        on_check_failure: job.on_check_failure.clone(),
        max_attempts: job.max_attempts.clone(),
        memory_limit: job.memory_limit.clone(),
        metrics_file: job.metrics_file.clone(),
        metrics_emf: job.metrics_emf.clone(),
        retention: job.retention.clone(),
        dry_run: job.dry_run,
        allow_incomplete: job.allow_incomplete,
        ..config_flags(&job.config)
    }
}

/// What was said on the command line of a command that looks at orders.
fn orders_flags(which: &OrdersArgs) -> Flags {
    Flags { orders: which.orders.clone(), source: which.source.clone(), url: which.url.clone(), ..config_flags(&which.config) }
}

fn config_flags(config: &ConfigArgs) -> Flags {
    Flags { config: config.config.clone(), output: config.output.clone(), ..Flags::default() }
}

/// The settings of a command that loads; it must know the orders.
fn loading_settings(flags: &Flags) -> Result<Settings, SettingsError> {
    let settings = crate::settings::load(flags)?;
    match (&settings.orders, &settings.source) {
        (None, Some(profile)) => Err(SettingsError::NoPlace(profile.clone())),
        (None, None) => Err(SettingsError::NoOrders),
        (Some(_), _) => Ok(settings),
    }
}
