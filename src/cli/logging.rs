//! Structured logs on stderr, past the progress.

use std::io::{self, Write};

use indicatif::MultiProgress;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::display::{Display, Verbosity};

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
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(BesideProgress(display.progress.clone()));
    // An error says that a log was started already, which is as good.
    let _ = if display.json_logs {
        builder.json().flatten_event(true).with_current_span(true).with_span_list(false).with_target(false).try_init()
    } else {
        builder.with_target(false).without_time().with_ansi(std::io::IsTerminal::is_terminal(&io::stderr())).try_init()
    };
}
