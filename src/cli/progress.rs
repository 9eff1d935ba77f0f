//! What a terminal shows while a run works.

use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, MultiProgress, ProgressBar, ProgressStyle};

use super::display::Display;
use crate::{normalize::RecordCounts, run::Observer, source::SourceCounts};

/// A line that follows the run.
pub(super) struct Progress {
    line: ProgressBar,
}

impl Progress {
    pub(super) fn new(display: &Display) -> Progress {
        let line = if display.shows_progress { visible(&display.progress) } else { ProgressBar::hidden() };
        Progress { line }
    }

    /// What stands before the stage: the chunk of a backfill.
    pub(super) fn prefix(&self, prefix: String) {
        self.line.set_prefix(prefix);
    }

    pub(super) fn finish(&self) {
        self.line.finish_and_clear();
    }
}

fn visible(all: &MultiProgress) -> ProgressBar {
    let line = all.add(ProgressBar::new_spinner());
    if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {prefix}{msg} {elapsed:.dim}") {
        line.set_style(style);
    }
    line.enable_steady_tick(Duration::from_millis(100));
    line
}

impl Observer for Progress {
    fn stage(&self, name: &'static str) {
        self.line.set_message(match name {
            "open" => "opening the output",
            "dimensions" => "reading users and products",
            "extract" => "reading orders",
            "merge" => "merging partitions",
            "check" => "checking",
            "publish" => "publishing",
            other => other,
        });
    }

    fn extracted(&self, records: &RecordCounts, source: &SourceCounts) {
        if !self.line.is_hidden() {
            self.line.set_message(format!("reading orders: {} records, {}", HumanCount(records.records_read), HumanBytes(source.bytes)));
        }
    }

    fn merged(&self, done: usize, of: usize) {
        if !self.line.is_hidden() {
            self.line.set_message(format!("merging partitions: {done} of {of}"));
        }
    }
}
