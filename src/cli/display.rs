//! Where things are shown: the result on stdout, everything else on stderr, and nothing on stderr after the result.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
};

use clap::ValueEnum;
use indicatif::MultiProgress;
use serde::Serialize;

use super::{
    args::{DisplayArgs, Format, LogFormat},
    json_lines::Dialect,
};
use crate::{
    net::redact,
    settings::{Presentation, SettingsError},
};

/// How much is logged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Verbosity {
    Errors,
    Warnings,
    Info,
    Debug,
}

/// What was decided about display, once.
pub(super) struct Display {
    pub(super) json: bool,
    /// How the log is written as JSON, where it is.
    pub(super) json_logs: Option<Dialect>,
    pub(super) verbosity: Verbosity,
    quiet: bool,
    /// Whether JSON was asked for by name: then it is printed even where `--quiet` is said.
    json_by_name: bool,
    pub(super) progress: MultiProgress,
    pub(super) shows_progress: bool,
}

impl Display {
    pub(super) fn new(args: &DisplayArgs, presentation: &Presentation) -> Result<Display, SettingsError> {
        let result = chosen(args.format, presentation.format.as_deref(), "ETL_FORMAT", Format::Auto)?;
        let log = chosen(args.log_format, presentation.log_format.as_deref(), "ETL_LOG_FORMAT", LogFormat::Auto)?;
        let on_terminal = io::stderr().is_terminal();
        let json_logs = match log {
            LogFormat::Ecs => Some(Dialect::Ecs),
            LogFormat::Json => Some(Dialect::Plain),
            LogFormat::Auto if !on_terminal => Some(Dialect::Plain),
            LogFormat::Auto | LogFormat::Text => None,
        };
        // On a terminal the progress tells what a log would; without one, the log is all there is.
        let usual = if json_logs.is_some() { Verbosity::Info } else { Verbosity::Warnings };
        let verbosity = match (args.quiet, args.verbose) {
            (true, _) => Verbosity::Errors,
            (false, 0) => usual,
            (false, 1) => Verbosity::Info,
            (false, _) => Verbosity::Debug,
        };
        Ok(Display {
            json: result == Format::Json || (result == Format::Auto && !io::stdout().is_terminal()),
            json_by_name: result == Format::Json,
            json_logs,
            verbosity,
            quiet: args.quiet,
            progress: MultiProgress::new(),
            shows_progress: on_terminal && !args.quiet && !args.no_progress && !presentation.no_progress,
        })
    }

    /// Prints a result: as text, made by `text`, or as one line of JSON. The last thing that a command does.
    pub(super) fn result(&self, success: bool, json: &impl Serialize, text: impl FnOnce(&mut String)) {
        if self.quiet && success && !self.json_by_name {
            return;
        }
        let _ = io::stderr().flush();
        if self.json {
            let mut line = redact::json(&serde_json::to_string(json).unwrap_or_default()).into_owned();
            line.push('\n');
            // A reader that has gone away (`| head`) is no failure of the run.
            let _ = io::stdout().write_all(line.as_bytes());
        } else {
            let mut out = String::new();
            text(&mut out);
            let _ = anstream::stdout().write_all(redact::text(&out).as_bytes());
        }
        let _ = io::stdout().flush();
    }

    /// Says something beforehand, on stderr: as a line of the log where that is JSON.
    pub(super) fn note(&self, text: &str) {
        if self.json_logs.is_some() {
            tracing::info!("{text}");
        } else if !self.quiet {
            let _ = writeln!(anstream::stderr(), "{text}\n");
        }
    }

    /// Says what went wrong, on stderr: as a line of the log where that is JSON.
    pub(super) fn error(&self, error: &dyn fmt::Display) {
        if self.json_logs.is_some() {
            tracing::error!("{error}");
        } else {
            print_error(error);
        }
    }
}

/// What a flag says, or else a variable.
fn chosen<T: ValueEnum>(flag: Option<T>, said: Option<&str>, variable: &str, default: T) -> Result<T, SettingsError> {
    let (None, Some(said)) = (&flag, said) else { return Ok(flag.unwrap_or(default)) };
    T::from_str(said, false).map_err(|_| {
        let mut words: Vec<_> =
            T::value_variants().iter().filter_map(|value| Some(value.to_possible_value()?.get_name().to_owned())).collect();
        let last = words.pop().unwrap_or_default();
        SettingsError::Conflict(format!("{variable}: `{said}`: write {} or {last}", words.join(", ")))
    })
}

/// Says what went wrong, before it is known how.
pub(super) fn print_error(error: &dyn fmt::Display) {
    let style = anstyle::Style::new().bold().fg_color(Some(anstyle::AnsiColor::Red.into()));
    let _ = writeln!(anstream::stderr(), "{style}error:{style:#} {}", redact::text(&error.to_string()));
}
