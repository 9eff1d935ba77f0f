//! Counters of requests, pages and bytes, updated while a source is read.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

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
    /// What was counted when the orders began: users and products are read before them.
    before_orders: OnceLock<ReadCounts>,
}

/// How a list of the lines of an order ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LineListEnd {
    /// Its only page does not say whether another follows.
    Open,
    /// It was followed from page to page: the profile knows where the next page is named.
    Followed,
}

/// What was requested and read. Of the orders alone it is `source.orders` of the summary.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct ReadCounts {
    /// HTTP requests, retries included.
    pub requests: u64,
    /// Retries.
    pub retries: u64,
    /// Responses with records, or files.
    pub pages: u64,
    /// Bytes after decompression.
    pub bytes: u64,
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
    /// Those of the orders, which the others contain. `None` where no order was asked for, and in reports of earlier versions.
    pub orders: Option<ReadCounts>,
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

    /// What is counted from now on is of the orders.
    pub(crate) fn begin_orders(&self) {
        let _ = self.before_orders.set(self.all());
    }

    /// The counts of all sources now.
    fn all(&self) -> ReadCounts {
        ReadCounts {
            requests: self.requests.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            pages: self.pages.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    /// The counts now.
    pub fn counts(&self) -> SourceCounts {
        let all = self.all();
        let orders = self.before_orders.get().map(|before| ReadCounts {
            requests: all.requests.saturating_sub(before.requests),
            retries: all.retries.saturating_sub(before.retries),
            pages: all.pages.saturating_sub(before.pages),
            bytes: all.bytes.saturating_sub(before.bytes),
        });
        SourceCounts {
            requests: all.requests,
            retries: all.retries,
            pages: all.pages,
            bytes: all.bytes,
            repeated_lines: self.repeated_lines.load(Ordering::Relaxed),
            orders,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_the_orders_is_none_of_theirs() {
        let counters = SourceCounters::default();
        counters.page();
        counters.bytes(5);
        assert_eq!(counters.counts().orders, None);
        counters.begin_orders();
        counters.request();
        counters.page();
        counters.bytes(7);
        let counts = counters.counts();
        assert_eq!((counts.pages, counts.bytes), (2, 12));
        assert_eq!(counts.orders, Some(ReadCounts { requests: 1, retries: 0, pages: 1, bytes: 7 }));
    }
}
