//! Structured logs on stderr, past the progress.

use std::io::{self, Write};

use indicatif::MultiProgress;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{Layer, fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt};

use super::{
    display::{Display, Verbosity},
    json_lines::JsonLines,
};

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

impl<'w> MakeWriter<'w> for BesideProgress {
    type Writer = BesideProgress;

    fn make_writer(&'w self) -> BesideProgress {
        self.clone()
    }
}

/// Starts the log.
pub(super) fn start(display: &Display) {
    let level = match display.verbosity {
        Verbosity::Errors => LevelFilter::ERROR,
        Verbosity::Warnings => LevelFilter::WARN,
        Verbosity::Info => LevelFilter::INFO,
        Verbosity::Debug => LevelFilter::DEBUG,
    };
    let out = BesideProgress(display.progress.clone());
    // An error says that a log was started already, which is as good.
    let _ = if let Some(dialect) = display.json_logs {
        tracing_subscriber::registry().with(JsonLines::new(dialect, out).with_filter(level)).try_init()
    } else {
        let with_colour = std::io::IsTerminal::is_terminal(&io::stderr());
        let text = tracing_subscriber::fmt::layer().with_writer(out).with_target(false).without_time().with_ansi(with_colour);
        tracing_subscriber::registry().with(text.with_filter(level)).try_init()
    };
}
