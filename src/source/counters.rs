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

    /// The counts now.
    pub fn counts(&self) -> SourceCounts {
        SourceCounts {
            requests: self.requests.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            pages: self.pages.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}
