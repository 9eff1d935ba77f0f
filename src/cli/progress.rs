//! What a terminal shows while a run works.

use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::{display::Display, text::counted};
use crate::{
    normalize::RecordCounts,
    run::{Observer, StageName},
    source::SourceCounts,
};

/// A line that follows the run.
pub(super) struct Progress {
    line: ProgressBar,
}

impl Progress {
    pub(super) fn new(display: &Display) -> Progress {
        let line = if display.shows_progress { visible(display) } else { ProgressBar::hidden() };
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

fn visible(display: &Display) -> ProgressBar {
    let line = display.progress.add(ProgressBar::new_spinner());
    let template = if display.colours { "{spinner:.cyan} {prefix}{msg} {elapsed:.dim}" } else { "{spinner} {prefix}{msg} {elapsed}" };
    if let Ok(style) = ProgressStyle::with_template(template) {
        line.set_style(style);
    }
    line.enable_steady_tick(Duration::from_millis(100));
    line
}

impl Observer for Progress {
    fn stage(&self, stage: StageName) {
        self.line.set_message(match stage {
            StageName::Open => "opening the output",
            StageName::Dimensions => "reading users and products",
            StageName::Extract => "reading orders",
            StageName::Merge => "merging partitions",
            StageName::Check => "checking",
            StageName::Publish => "publishing",
            StageName::Report => "reporting",
        });
    }

    fn extracted(&self, records: &RecordCounts, source: &SourceCounts) {
        if !self.line.is_hidden() {
            self.line.set_message(format!("reading orders: {}, {}", counted(records.records_read, "record"), HumanBytes(source.bytes)));
        }
    }

    fn merged(&self, done: usize, of: usize) {
        if !self.line.is_hidden() {
            self.line.set_message(format!("merging partitions: {done} of {of}"));
        }
    }
}
