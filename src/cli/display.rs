//! Where things are shown: the result on stdout, everything else on stderr, and nothing on stderr after the result.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
};

use indicatif::MultiProgress;
use serde::Serialize;

use super::args::{DisplayArgs, Format};
use crate::settings::{Presentation, SettingsError};

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
    pub(super) json_logs: bool,
    pub(super) verbosity: Verbosity,
    quiet: bool,
    /// Whether JSON was asked for by name: then it is printed even where `--quiet` is said.
    json_by_name: bool,
    pub(super) progress: MultiProgress,
    pub(super) shows_progress: bool,
}

impl Display {
    pub(super) fn new(args: &DisplayArgs, presentation: &Presentation) -> Result<Display, SettingsError> {
        let format = |flag: Option<Format>, said: &Option<String>, name: &'static str| match (flag, said.as_deref()) {
            (Some(format), _) => Ok(format),
            (None, None | Some("auto")) => Ok(Format::Auto),
            (None, Some("text")) => Ok(Format::Text),
            (None, Some("json")) => Ok(Format::Json),
            (None, Some(other)) => Err(SettingsError::Conflict(format!("{name}: `{other}`: write auto, text or json"))),
        };
        let (result, log) = (
            format(args.format, &presentation.format, "ETL_FORMAT")?,
            format(args.log_format, &presentation.log_format, "ETL_LOG_FORMAT")?,
        );
        let on_terminal = io::stderr().is_terminal();
        let is_json = |format: Format, terminal: bool| format == Format::Json || (format == Format::Auto && !terminal);
        let json_logs = is_json(log, on_terminal);
        // On a terminal the progress tells what a log would; without one, the log is all there is.
        let usual = if json_logs { Verbosity::Info } else { Verbosity::Warnings };
        let verbosity = match (args.quiet, args.verbose) {
            (true, _) => Verbosity::Errors,
            (false, 0) => usual,
            (false, 1) => Verbosity::Info,
            (false, _) => Verbosity::Debug,
        };
        Ok(Display {
            json: is_json(result, io::stdout().is_terminal()),
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
            let mut line = serde_json::to_string(json).unwrap_or_default();
            line.push('\n');
            // A reader that has gone away (`| head`) is no failure of the run.
            let _ = io::stdout().write_all(line.as_bytes());
        } else {
            let mut out = String::new();
            text(&mut out);
            let _ = anstream::stdout().write_all(out.as_bytes());
        }
        let _ = io::stdout().flush();
    }

    /// Says what went wrong, on stderr: as a line of the log where that is JSON.
    pub(super) fn error(&self, error: &dyn fmt::Display) {
        if self.json_logs {
            tracing::error!("{error}");
        } else {
            print_error(error);
        }
    }
}

/// Says what went wrong, before it is known how.
pub(super) fn print_error(error: &dyn fmt::Display) {
    let style = anstyle::Style::new().bold().fg_color(Some(anstyle::AnsiColor::Red.into()));
    let _ = writeln!(anstream::stderr(), "{style}error:{style:#} {error}");
}
