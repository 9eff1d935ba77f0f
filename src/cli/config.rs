//! `etl config`: every value and where it was said, all problems at once, and the schema of `etl.toml`.

use std::fmt::Write;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    aligned::{aligned, in_short},
    args::{JobArgs, LookbackSettings, SettingArgs},
    display::{Display, Ending},
};
use crate::{
    run::{RunError, config_problems},
    settings::{self, Examined, Flags, OriginKind, Problem, Settings, ShownSetting},
};

#[derive(Args, Debug)]
pub(super) struct ConfigCommandArgs {
    #[command(subcommand)]
    pub(super) what: ConfigCommand,
}

#[derive(Subcommand, Debug)]
pub(super) enum ConfigCommand {
    /// Every value, and where it was said: flag, variable, .env, line of etl.toml, profile, or default
    Show(AllSettingsArgs),
    /// All problems of the settings at once; reads no source and writes nothing; exit 2 if there is any
    Check(AllSettingsArgs),
    /// The JSON Schema of etl.toml, for editors
    Schema,
}

/// The flags of all settings.
#[derive(Args, Debug)]
pub(super) struct AllSettingsArgs {
    #[command(flatten)]
    job: JobArgs,
    #[command(flatten)]
    lookback: SettingArgs<LookbackSettings>,
}

impl AllSettingsArgs {
    fn flags(&self) -> Flags {
        self.job.flags.clone().and(&self.lookback.flags)
    }
}

impl ConfigCommandArgs {
    /// The flags of settings.
    pub(super) fn flags(&self) -> Flags {
        match &self.what {
            ConfigCommand::Show(args) | ConfigCommand::Check(args) => args.flags(),
            ConfigCommand::Schema => Flags::default(),
        }
    }

    /// Whether problems of any setting are its result, and not an error before it.
    pub(super) fn tells_problems(&self) -> bool {
        matches!(self.what, ConfigCommand::Check(_))
    }
}

pub(super) fn run(args: &ConfigCommandArgs, flags: &Flags, display: &Display) -> Result<u8, RunError> {
    match &args.what {
        ConfigCommand::Show(_) => {
            let shown = settings::shown_settings(flags)?;
            display.answer(&json!({ "settings": shown }), |out| show(out, &shown));
            Ok(0)
        }
        ConfigCommand::Check(_) => Ok(check(flags, display)),
        ConfigCommand::Schema => {
            let schema = serde_json::to_string_pretty(&settings::etl_toml_schema()).unwrap_or_default();
            // A file for an editor, in whatever format results are otherwise.
            display.verbatim(&format!("{schema}\n"));
            Ok(0)
        }
    }
}

/// How many characters of a value the table shows.
const SHOWN: usize = 60;

fn show(out: &mut String, shown: &[ShownSetting]) {
    let rows = shown.iter().map(|shown| [shown.name.clone(), in_short(&shown.value, SHOWN), from(shown)]);
    out.push_str(&aligned(&["setting", "value", "from"], rows));
}

fn from(shown: &ShownSetting) -> String {
    let place = shown.place.as_deref().unwrap_or_default();
    match shown.from {
        OriginKind::Flag | OriginKind::Variable | OriginKind::File | OriginKind::Profile => place.to_owned(),
        OriginKind::DotEnv => format!("{place} in .env"),
        OriginKind::Default => "default".to_owned(),
    }
}

fn check(flags: &Flags, display: &Display) -> u8 {
    let Examined { mut problems, notes, settings } = settings::examine(flags);
    for settings in &settings {
        for message in problems_of(settings) {
            if problems.iter().all(|known| known.message != message) {
                problems.push(Problem { message, file: None, line: None });
            }
        }
    }
    let ending = if problems.is_empty() { Ending::Success } else { Ending::Failure };
    display.outcome(ending, &json!({ "problems": problems, "notes": notes }), |out| {
        for problem in &problems {
            let _ = writeln!(out, "{}\n", problem.message);
        }
        for note in &notes {
            let _ = writeln!(out, "note: {note}\n");
        }
        let _ = match problems.len() {
            0 => writeln!(out, "no problem found"),
            1 => writeln!(out, "1 problem"),
            many => writeln!(out, "{many} problems"),
        };
    });
    if problems.is_empty() { 0 } else { 2 }
}

/// What a run with these settings would refuse before its first request.
fn problems_of(settings: &Settings) -> Vec<String> {
    let shop = settings.shop.as_ref().map(|shop| format!("shop {}: ", shop.name)).unwrap_or_default();
    let no_orders = settings.require_orders().err().map(|error| error.to_string());
    let others = config_problems(settings).into_iter().map(|error| format!("{shop}{error}"));
    no_orders.into_iter().chain(others).collect()
}
