//! What a person types and sees: one file a command. No logic of the job.

mod alerts;
mod args;
mod backfill;
mod changes;
mod check;
mod completions;
mod config;
mod confirm;
mod counts;
mod ddl;
mod demo;
mod diff;
mod display;
mod doctor;
mod erase;
mod escaped;
mod examples;
mod explain;
mod init;
mod json_lines;
mod logging;
mod man;
mod plan;
mod probe;
mod progress;
mod proposal;
mod quarantine;
mod rebuild;
mod redshift;
mod report;
mod rewrite;
mod run;
mod runs;
mod sample;
mod schema;
mod shops;
mod signals;
mod sources;
mod status;
mod table;
mod terminal;
mod test;
mod text;
mod undo;
mod vacuum;

pub use args::Cli;

use std::panic::{self, AssertUnwindSafe};

use args::{Command, SchemaForm};
use clap::ValueEnum;
use display::Display;

use crate::{
    cancel::Cancel,
    run::{RequestError, RunError, tell_refused},
    settings::{Flags, Origin, Presentation, Settings, SettingsError, examine, lineage_alone, presentation, telemetry},
};

/// Runs the command; the exit code is the contract's.
pub fn run(cli: &Cli) -> u8 {
    let flags = cli.flags();
    let (presentation, telemetry) = match presentation(&flags).and_then(|presentation| Ok((presentation, telemetry(&flags)?))) {
        Ok(settings) => settings,
        // This command tells all problems together, and these among them.
        Err(_) if cli.command.tells_problems() => (Presentation::default(), None),
        Err(error) => {
            let error = RunError::from(error);
            let display = Display::new(&cli.display, Presentation::default(), &flags);
            logging::start(&display, None);
            tell_refused_settings(&cli.command, &flags, &error, &Cancel::default());
            display.print_error(&error, further_problems(&cli.command, &flags, &error).as_deref());
            return error.exit_code();
        }
    };
    let display = Display::new(&cli.display, presentation, &flags);
    logging::start(&display, telemetry.as_ref());
    panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    let cancel = Cancel::default();
    if let Err(error) = signals::listen(cancel.clone()) {
        tracing::warn!(%error, "signals can't be listened to: Ctrl-C ends the process at once");
    }
    let result = caught(|| run_command(&cli.command, &flags, &display, &cancel)).unwrap_or_else(|error| {
        tell_refused_settings(&cli.command, &flags, &error, &cancel);
        display.error_and_hint(&error, further_problems(&cli.command, &flags, &error).as_deref());
        error.exit_code()
    });
    match display.finish() {
        Err(error) if result == 0 => {
            let error = RunError::from(error);
            display.error(&error);
            error.exit_code()
        }
        _ => result,
    }
}

/// What to say below an error of the settings: where a form of `etl schema` is written, which is no format of results; and that the
/// settings have other problems, since a command stops at the first one.
fn further_problems(command: &Command, flags: &Flags, error: &RunError) -> Option<String> {
    if let (Command::Schema(_), RunError::Settings(SettingsError::Value { origin: Origin::Flag("--format"), value, .. })) = (command, error)
        && SchemaForm::from_str(value, true).is_ok()
    {
        return Some(format!("`--format` says how a result looks. The form of the dictionary is an argument: `etl schema {value}`"));
    }
    if !matches!(error, RunError::Settings(_)) || command.tells_problems() {
        return None;
    }
    let told = error.to_string();
    let others = examine(flags).problems.iter().filter(|problem| problem.message != told).count();
    (others > 0).then(|| format!("The settings have {}: `etl config check` shows them all", text::counted(others as u64, "more problem")))
}

/// Tells the receivers of lineage that a command can't begin, because of its settings or of a file that a flag names: as far as the
/// settings of lineage can be used. What goes wrong later, `run` tells.
fn tell_refused_settings(command: &Command, flags: &Flags, error: &RunError, cancel: &Cancel) {
    let is_of_arguments = matches!(error, RunError::Settings(_) | RunError::Request(RequestError::UsersFile { .. }));
    let Some(command) = command.changes_layer().filter(|_| is_of_arguments) else { return };
    match lineage_alone(flags) {
        Ok(settings) => tell_refused(&settings, command, error, cancel),
        Err(unknown) => tracing::debug!(%unknown, "no receiver of lineage is known"),
    }
}

/// The result of a command. A panic is a defect of this tool, and an error like any other.
fn caught(command: impl FnOnce() -> Result<u8, RunError>) -> Result<u8, RunError> {
    panic::catch_unwind(AssertUnwindSafe(command)).unwrap_or_else(|panic| Err(RunError::of_panic(&*panic)))
}

fn run_command(command: &Command, flags: &Flags, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    match command {
        Command::Run(args) => run::run(args, display, cancel),
        Command::Backfill(args) => backfill::run(args, display, cancel),
        Command::Plan(args) => plan::run(args, display),
        Command::Check(args) => check::run(args, display, cancel),
        Command::Runs(args) => runs::run(args, display),
        Command::Status(args) => status::run(args, display),
        Command::Report(args) => report::run(args, display, cancel),
        Command::Quarantine(args) => quarantine::run(args, display, cancel),
        Command::Explain(args) => explain::run(args, display, cancel),
        Command::Alerts(args) => alerts::run(args, display),
        Command::Rewrite(args) => rewrite::run(args, display, cancel),
        Command::Rebuild(args) => rebuild::run(args, display, cancel),
        Command::Sources(args) => sources::run(args, display),
        Command::Probe(args) => probe::run(args, display, cancel),
        Command::Doctor(args) => doctor::run(args, display, cancel),
        Command::Init(args) => init::run(args, display, cancel),
        Command::Test(args) => test::run(args, display, cancel),
        Command::Config(args) => config::run(args, flags, display),
        Command::Undo(args) => undo::run(args, display, cancel),
        Command::Erase(args) => erase::run(args, display, cancel),
        Command::Diff(args) => diff::run(args, display),
        Command::Changes(args) => changes::run(args, display),
        Command::Vacuum(args) => vacuum::run(args, display, cancel),
        Command::Ddl(args) => ddl::run(args, display),
        Command::Schema(args) => schema::run(args, display),
        Command::Redshift(args) => redshift::run(args, display, cancel),
        Command::Demo(args) => demo::run(args, display, cancel),
        Command::Completions(args) => completions::run(args, display),
        Command::Man(args) => man::run(args, display),
    }
}

/// What a command loads that needs orders.
enum Loading {
    /// One source: the only one, or the only shop that was picked.
    One(Box<Settings>),
    /// Several shops, in their order.
    Shops(Vec<Settings>),
}

/// The settings of a command that needs orders. `picked` are the shops that its flags name.
fn loading_settings(flags: &Flags, picked: &[String]) -> Result<Loading, SettingsError> {
    let loaded = crate::settings::load_shops(flags, picked)?;
    loaded.iter().try_for_each(|settings| settings.require_orders())?;
    match <[Settings; 1]>::try_from(loaded) {
        Ok([only]) if only.shop.is_none() || picked.len() == 1 => Ok(Loading::One(Box::new(only))),
        Ok([only]) => Ok(Loading::Shops(vec![only])),
        Err(several) => Ok(Loading::Shops(several)),
    }
}

/// The settings of a command that works on one source: with several shops, its flags pick one.
fn one_source(flags: &Flags, picked: &[String]) -> Result<Box<Settings>, SettingsError> {
    match loading_settings(flags, picked)? {
        Loading::One(settings) => Ok(settings),
        Loading::Shops(shops) => {
            let names: Vec<_> = shops.iter().map(shops::name).collect();
            let detail = format!("this command works on one source: name its shop with --shop {}", names.join(" or --shop "));
            Err(SettingsError::Conflict(detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_with_exit_code_1_and_its_text() {
        let error = caught(|| panic!("no such row: {}", 7)).unwrap_err();
        assert_eq!((error.exit_code(), error.to_string().contains("no such row: 7")), (1, true));
        assert_eq!(caught(|| Ok(4)).unwrap(), 4);
    }
}
