//! Structured logs on stderr, past the progress.

use std::{
    borrow::Cow,
    fmt,
    io::{self, Write},
};

use indicatif::MultiProgress;
use tracing::{
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    Layer,
    field::RecordFields,
    filter::Targets,
    fmt::{FormatFields, MakeWriter, format::Writer},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::{
    display::{Display, Verbosity},
    json_lines::JsonLines,
    terminal,
};
use crate::{net::redact, report::telemetry, settings::TelemetrySettings};

/// Writes to stderr while the progress stands aside.
#[derive(Clone)]
struct BesideProgress(MultiProgress);

impl Write for BesideProgress {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The same for a log in text: its lines fit the terminal, and end between words. Each write is a whole event.
#[derive(Clone)]
struct Fitted(BesideProgress);

impl Write for Fitted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        self.0.write_all(terminal::fitted_log(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<'w> MakeWriter<'w> for Fitted {
    type Writer = Fitted;

    fn make_writer(&'w self) -> Fitted {
        self.clone()
    }
}

impl<'w> MakeWriter<'w> for BesideProgress {
    type Writer = BesideProgress;

    fn make_writer(&'w self) -> BesideProgress {
        self.clone()
    }
}

/// Writes the fields of spans and events as text, with secrets hidden.
struct WithoutSecrets;

impl<'w> FormatFields<'w> for WithoutSecrets {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = TextFields { writer: &mut writer, is_first: true, result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct TextFields<'f, 'w> {
    writer: &'f mut Writer<'w>,
    is_first: bool,
    result: fmt::Result,
}

impl Visit for TextFields<'_, '_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" { self.record_debug(field, &format_args!("{value}")) } else { self.record_debug(field, &value) }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.result.is_err() {
            return;
        }
        let text = format!("{value:?}");
        let shown = if redact::is_structural(field.name()) { Cow::Borrowed(text.as_str()) } else { redact::text(&text) };
        let separator = if std::mem::take(&mut self.is_first) { "" } else { " " };
        let name = field.name();
        self.result = if name == "message" {
            write!(self.writer, "{separator}{shown}")
        } else if self.writer.has_ansi_escapes() {
            let (name_style, sign_style) = (anstyle::Style::new().italic(), anstyle::Style::new().dimmed());
            write!(self.writer, "{separator}{name_style}{name}{name_style:#}{sign_style}={sign_style:#}{shown}")
        } else {
            write!(self.writer, "{separator}{name}={shown}")
        };
    }
}

/// What the log shows. Each attempt of a request to a bucket is for who debugs: an error names how many there were.
fn shown(level: LevelFilter) -> Targets {
    let of_buckets = if level == LevelFilter::INFO { LevelFilter::WARN } else { level };
    Targets::new().with_default(level).with_target("object_store", of_buckets)
}

/// Starts the log, and the collection of spans if a collector is named.
pub(super) fn start(display: &Display, telemetry: Option<&TelemetrySettings>) {
    let level = match display.verbosity {
        Verbosity::Errors => LevelFilter::ERROR,
        Verbosity::Warnings => LevelFilter::WARN,
        Verbosity::Info => LevelFilter::INFO,
        Verbosity::Debug => LevelFilter::DEBUG,
    };
    let out = BesideProgress(display.progress.clone());
    let log = if let Some(dialect) = display.json_logs {
        JsonLines::new(dialect, out).with_filter(shown(level)).boxed()
    } else {
        let text = tracing_subscriber::fmt::layer()
            .fmt_fields(WithoutSecrets)
            .with_writer(Fitted(out))
            .with_target(false)
            .without_time()
            .with_ansi(display.colours);
        text.with_filter(shown(level)).boxed()
    };
    // A list, and not an optional layer: only so does a callsite that no filter wants cost nothing.
    let layers: Vec<_> = telemetry.and_then(telemetry::layer).into_iter().chain([log]).collect();
    // An error means that a log was started already: it serves as well.
    let _ = tracing_subscriber::registry().with(layers).try_init();
}
