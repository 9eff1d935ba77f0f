//! `etl completions`: prints the script by which a shell completes commands, flags, and the words that a flag takes.

use clap::{Arg, ValueHint, builder::PossibleValuesParser};

use super::{args::CompletionsArgs, display::Display, examples};
use crate::{
    run::RunError,
    settings::{Form, SETTINGS},
};

pub(super) fn run(args: &CompletionsArgs, display: &Display) -> Result<u8, RunError> {
    let mut command = with_values(examples::command());
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "etl", &mut script);
    display.verbatim(&String::from_utf8_lossy(&script));
    Ok(0)
}

/// The commands with what the values of their flags are. Not for parsing: settings have messages of their own.
fn with_values(command: clap::Command) -> clap::Command {
    command.mut_args(with_value).mut_subcommands(with_values)
}

fn with_value(arg: Arg) -> Arg {
    let setting = SETTINGS.iter().find(|setting| !setting.flag.is_empty() && arg.get_long() == Some(setting.id()));
    let Some(setting) = setting else { return arg };
    match (setting.form, setting.value) {
        (Form::Words(words) | Form::WordsOrAlone { words, .. }, _) => arg.value_parser(PossibleValuesParser::new(words)),
        (_, "FILE") => arg.value_hint(ValueHint::FilePath),
        (_, "DIR") => arg.value_hint(ValueHint::DirPath),
        (_, "LOCATION") => arg.value_hint(ValueHint::AnyPath),
        (_, "URL") => arg.value_hint(ValueHint::Url),
        _ => arg,
    }
}
