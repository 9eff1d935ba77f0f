//! Counters of requests, pages and bytes, updated while a source is read.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// The counters of one run, shared between the source and the progress display.
#[derive(Default, Debug)]
pub struct SourceCounters {
    requests: AtomicU64,
    retries: AtomicU64,
    pages: AtomicU64,
    bytes: AtomicU64,
    repeated_lines: AtomicU64,
    open_line_lists: AtomicU64,
    followed_line_lists: AtomicU64,
}

/// How a list of the lines of an order ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LineListEnd {
    /// Its only page does not say whether another follows.
    Open,
    /// It was followed from page to page: the profile knows where the next page is named.
    Followed,
}

/// The counts at one moment: `source` of the summary.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceCounts {
    /// HTTP requests, retries included.
    pub requests: u64,
    /// Retries.
    pub retries: u64,
    /// Responses with records, or files.
    pub pages: u64,
    /// Bytes after decompression.
    pub bytes: u64,
    /// Lines of orders, and other children, that stand in a file again as they are.
    pub repeated_lines: u64,
}

impl SourceCounters {
    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn page(&self) {
        self.pages.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn bytes(&self, count: usize) {
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn repeated_lines(&self, count: u64) {
        self.repeated_lines.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn line_list(&self, end: LineListEnd) {
        let count = match end {
            LineListEnd::Open => &self.open_line_lists,
            LineListEnd::Followed => &self.followed_line_lists,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of open lists of lines, if no list shows where a next page is named.
    pub(super) fn open_line_lists(&self) -> u64 {
        if self.followed_line_lists.load(Ordering::Relaxed) > 0 { 0 } else { self.open_line_lists.load(Ordering::Relaxed) }
    }

    /// The counts now.
    pub fn counts(&self) -> SourceCounts {
        SourceCounts {
            requests: self.requests.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            pages: self.pages.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            repeated_lines: self.repeated_lines.load(Ordering::Relaxed),
        }
    }
}
