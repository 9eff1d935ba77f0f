//! `etl config`: every value and where it was said, all problems at once, and the schema of `etl.toml`.

use std::fmt::Write;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    args::{JobArgs, LookbackSettings, SettingArgs},
    display::{Display, Ending},
    escaped::{escaped, in_one_line},
    table::{Column, Table},
    text::{self, counted},
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
            display.answer(&json!({ "settings": shown }), |out| show(out, &shown, display.width));
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

/// The most columns of a value for which those of all others make room, where no terminal folds them.
const ALIGNED: usize = 60;

/// The settings, each value whole: some are queries. A terminal shows a long one in several lines.
fn show(out: &mut String, shown: &[ShownSetting], width: Option<usize>) {
    if width.is_none() {
        return show_in_lines(out, shown);
    }
    let mut table = Table::new(&[Column::text("setting"), Column::text("value").folds(20), Column::text("from").folds(20)]);
    shown.iter().for_each(|shown| table.row([shown.name.clone(), in_one_line(&shown.value), from(shown)]));
    table.show(out, width);
}

/// A line for each setting, whatever its length: for `grep`. A long value does not push the others apart.
fn show_in_lines(out: &mut String, shown: &[ShownSetting]) {
    let header = ["setting".to_owned(), "value".to_owned(), "from".to_owned()];
    let row = |shown: &ShownSetting| [shown.name.clone(), escaped(&in_one_line(&shown.value)).into_owned(), from(shown)];
    let rows: Vec<_> = std::iter::once(header).chain(shown.iter().map(row)).collect();
    let name = rows.iter().map(|[name, ..]| name.chars().count()).max().unwrap_or(0);
    let value = rows.iter().map(|[_, value, _]| value.chars().count()).filter(|length| *length <= ALIGNED).max().unwrap_or(0);
    for [setting, shown, from] in &rows {
        let _ = writeln!(out, "{setting:<name$}  {shown:<value$}  {from}");
    }
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
            text::item(out, &problem.message);
            out.push('\n');
        }
        for note in &notes {
            text::item(out, &format!("note: {note}"));
            out.push('\n');
        }
        let _ = match problems.len() {
            0 => writeln!(out, "no problem found"),
            many => writeln!(out, "{}", counted(many as u64, "problem")),
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
