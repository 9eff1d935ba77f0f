//! Where output goes: the result to stdout, everything else to stderr, and nothing to stderr after the result. Makes no text.

use std::{
    borrow::Cow,
    cell::Cell,
    io::{self, IsTerminal, Write},
};

use indicatif::MultiProgress;
use serde::Serialize;

use super::{args::DisplayArgs, json_lines::Dialect, proposal, terminal};
use crate::{
    net::redact,
    run::RunError,
    settings::{ColorMode, Flags, GivenOption, LogFormat, Presentation, ResultFormat},
    store::StoreError,
};

/// How much is logged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Verbosity {
    Errors,
    Warnings,
    Info,
    Debug,
}

/// How the work of a command has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    Success,
    Failure,
}

impl Ending {
    /// A success where no error ended the work.
    pub(super) fn of<E>(error: Option<&E>) -> Ending {
        if error.is_none() { Ending::Success } else { Ending::Failure }
    }
}

/// How a result is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ResultForm {
    Text,
    /// One line of it.
    Json,
}

/// What becomes of lines that are longer than the terminal is wide.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lines {
    /// They go on in the next line, between words.
    Fitted,
    /// Nothing.
    AsTheyAre,
}

/// Decides on colours for all that is printed. `NO_COLOR` and its like are read by `anstream`.
fn choose_colours(mode: ColorMode) {
    let choice = match mode {
        ColorMode::Auto => anstream::ColorChoice::Auto,
        ColorMode::Always => anstream::ColorChoice::Always,
        ColorMode::Never => anstream::ColorChoice::Never,
    };
    choice.write_global();
}

/// How this process shows things, decided once.
pub(super) struct Display {
    /// The form of the end of work.
    outcomes: ResultForm,
    /// The form of an answer: JSON only where it was requested by name. Then even `--quiet` prints the end of work.
    answers: ResultForm,
    /// Whether stderr has colours.
    pub(super) colours: bool,
    /// The dialect of a log in JSON.
    pub(super) json_logs: Option<Dialect>,
    pub(super) verbosity: Verbosity,
    quiet: bool,
    /// The columns of the terminal that stdout is; `None` where it is none.
    pub(super) width: Option<usize>,
    pub(super) progress: MultiProgress,
    pub(super) shows_progress: bool,
    /// The options that a command repeats which an error proposes.
    given: Vec<GivenOption>,
    /// The error of the first write to stdout that failed.
    unwritten: Cell<Option<io::Error>>,
}

impl Display {
    pub(super) fn new(args: &DisplayArgs, presentation: Presentation, flags: &Flags) -> Display {
        let (result, log) = (presentation.format, presentation.log_format);
        choose_colours(presentation.color);
        let on_terminal = io::stderr().is_terminal();
        let json_logs = match log {
            LogFormat::Ecs => Some(Dialect::Ecs),
            LogFormat::Json => Some(Dialect::Plain),
            LogFormat::Auto if !on_terminal => Some(Dialect::Plain),
            LogFormat::Auto | LogFormat::Text => None,
        };
        // On a terminal the progress shows what a log would. Elsewhere there is only the log.
        let usual = if json_logs.is_some() { Verbosity::Info } else { Verbosity::Warnings };
        let verbosity = match (args.quiet, args.verbose) {
            (true, _) => Verbosity::Errors,
            (false, 0) => usual,
            (false, 1) => Verbosity::Info,
            (false, _) => Verbosity::Debug,
        };
        Display {
            outcomes: match result {
                ResultFormat::Json => ResultForm::Json,
                ResultFormat::Auto if !io::stdout().is_terminal() => ResultForm::Json,
                ResultFormat::Auto | ResultFormat::Text => ResultForm::Text,
            },
            answers: if result == ResultFormat::Json { ResultForm::Json } else { ResultForm::Text },
            colours: anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never,
            json_logs,
            verbosity,
            quiet: args.quiet,
            width: terminal::width(),
            progress: MultiProgress::new(),
            shows_progress: on_terminal && !args.quiet && !presentation.no_progress,
            given: GivenOption::all(flags),
            unwritten: Cell::new(None),
        }
    }

    /// Prints the answer to a question, such as that of `etl status`: text, also on a pipe, unless JSON was requested by name.
    /// `--quiet` does not silence it. The last thing that a command does.
    pub(super) fn answer(&self, json: &impl Serialize, text: impl FnOnce(&mut String)) {
        self.print(self.answers, Lines::Fitted, json, text);
    }

    /// The same, for an answer that is pasted elsewhere, such as SQL: its lines stay as they are, whatever the terminal.
    pub(super) fn script(&self, json: &impl Serialize, text: impl FnOnce(&mut String)) {
        self.print(self.answers, Lines::AsTheyAre, json, text);
    }

    /// Whether the answer to a question is JSON.
    pub(super) fn answers_in_json(&self) -> bool {
        self.answers == ResultForm::Json
    }

    /// Prints how work has ended. Where stdout is no terminal, that is JSON, unless text was requested by name. Under `--quiet`
    /// a success prints nothing, unless JSON was requested by name. The last thing that a command does.
    pub(super) fn outcome(&self, ending: Ending, json: &impl Serialize, text: impl FnOnce(&mut String)) {
        if self.quiet && ending == Ending::Success && self.answers == ResultForm::Text {
            return;
        }
        self.print(self.outcomes, Lines::Fitted, json, text);
    }

    /// The same, where a part of the text is pasted elsewhere, such as SQL: its lines stay as they are, whatever the terminal.
    pub(super) fn outcome_with_script(&self, ending: Ending, json: &impl Serialize, text: impl FnOnce(&mut String)) {
        if self.quiet && ending == Ending::Success && self.answers == ResultForm::Text {
            return;
        }
        self.print(self.outcomes, Lines::AsTheyAre, json, text);
    }

    /// Prints a result: as text, made by `text`, or as one line of JSON.
    fn print(&self, form: ResultForm, lines: Lines, json: &impl Serialize, text: impl FnOnce(&mut String)) {
        let _ = io::stderr().flush();
        if form == ResultForm::Json {
            let mut line = redact::json(&serde_json::to_string(json).unwrap_or_default()).into_owned();
            line.push('\n');
            self.write(&mut io::stdout().lock(), &line);
        } else {
            let mut out = String::new();
            text(&mut out);
            let out = redact::text(&out);
            let fitted = terminal::fitted(&out, self.width.filter(|_| lines == Lines::Fitted));
            self.write(&mut anstream::stdout().lock(), &fitted);
        }
    }

    /// A text whose lines fit the terminal, for the part of a script that is to be read.
    pub(super) fn fitted<'t>(&self, text: &'t str) -> Cow<'t, str> {
        terminal::fitted(text, self.width)
    }

    /// Prints a document as it is, such as SQL for another program, also on a pipe. Where JSON was requested by name, it is one line of it.
    pub(super) fn document(&self, json: &impl Serialize, text: &str) {
        if self.answers_in_json() { self.print(ResultForm::Json, Lines::AsTheyAre, json, |_| {}) } else { self.verbatim(text) }
    }

    /// Prints a text as it is, whatever the format of results: a script, or a settings file.
    pub(super) fn verbatim(&self, text: &str) {
        self.write(&mut io::stdout().lock(), text);
    }

    /// Writes to stdout. A closed pipe (`| head`) is not an error; a full disk is one, and [`Display::finish`] tells it.
    fn write(&self, out: &mut impl Write, text: &str) {
        if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            self.unwritten.set(Some(error));
        }
    }

    /// Fails if something could not be written to stdout.
    pub(super) fn finish(&self) -> Result<(), StoreError> {
        self.unwritten.take().map_or(Ok(()), |error| Err(StoreError::io("write to", "stdout")(error)))
    }

    /// Prints a note to stderr before the work begins: as a line of the log if that is JSON.
    pub(super) fn note(&self, text: &str) {
        if self.json_logs.is_some() {
            tracing::info!("{text}");
        } else if !self.quiet {
            let _ = writeln!(anstream::stderr(), "{}\n", terminal::fitted(text, terminal::error_width()));
        }
    }

    /// Prints an error to stderr: as a line of the log if that is JSON.
    pub(super) fn error(&self, error: &RunError) {
        self.error_of("", error, None);
    }

    /// The same with a line that says what else is to be done.
    pub(super) fn error_and_hint(&self, error: &RunError, hint: Option<&str>) {
        self.error_of("", error, hint);
    }

    /// Prints an error of one shop of several.
    pub(super) fn shop_error(&self, shop: &str, error: &RunError) {
        self.error_of(&format!("shop {shop}: "), error, None);
    }

    fn error_of(&self, shop: &str, error: &RunError, hint: Option<&str>) {
        if self.json_logs.is_some() {
            let hint = hint.map(|hint| self.proposing(hint));
            tracing::error!(help = error.help(), hint = hint.as_deref(), "{}", self.proposing(&format!("{shop}{error}")));
        } else {
            self.write_error(shop, error, hint);
        }
    }

    /// Prints an error as text, before it is known how the log looks.
    pub(super) fn print_error(&self, error: &RunError, hint: Option<&str>) {
        self.write_error("", error, hint);
    }

    /// A text of an error, with the options of this command in each command that it proposes.
    pub(super) fn proposing(&self, text: &str) -> String {
        proposal::completed(text, &self.given)
    }

    fn write_error(&self, shop: &str, error: &RunError, hint: Option<&str>) {
        let style = anstyle::Style::new().bold().fg_color(Some(anstyle::AnsiColor::Red.into()));
        let mut text = format!("{style}error:{style:#} {}\n", self.proposing(&format!("{shop}{error}")));
        let examples: String = error.examples().iter().map(|example| format!("    {example}\n")).collect();
        if !examples.is_empty() {
            text = format!("{text}\n{examples}\n");
        }
        if let Some(hint) = hint {
            text.push_str(&self.proposing(hint));
            text.push('\n');
        }
        let text = redact::text(&text);
        let _ = writeln!(anstream::stderr(), "{}see {}", terminal::fitted(&text, terminal::error_width()), error.help());
    }
}

/// A text whose lines fit the terminal that stderr is, with secrets hidden.
pub(super) fn fitted_to_stderr(text: &str) -> String {
    terminal::fitted(&redact::text(text), terminal::error_width()).into_owned()
}
