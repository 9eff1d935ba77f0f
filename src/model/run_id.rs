//! The name of a run.

use std::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
};

use super::UtcMicros;

/// A sortable, unique name: `20260131T100000123456Z-01a2b30000`, the start in UTC, then process and count within it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RunId(String);

static COUNT: AtomicU32 = AtomicU32::new(0);

impl RunId {
    /// A name for a run that starts at `start`.
    pub fn new(start: UtcMicros) -> RunId {
        let mut text = start.rfc3339();
        if !text.contains('.') {
            text.insert_str(text.len() - 1, ".000000");
        }
        text.retain(|c| c.is_ascii_alphanumeric());
        let count = COUNT.fetch_add(1, Ordering::Relaxed) & 0xffff;
        RunId(format!("{text}-{:06x}{count:04x}", std::process::id() & 0x00ff_ffff))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_runs_sort_after_earlier_ones() {
        let start = UtcMicros::new(1_769_817_600_000_000).unwrap();
        let names: Vec<_> = [start, start.minus(-1), start.minus(-UtcMicros::DAY)].map(RunId::new).into();
        assert!(names.is_sorted());
        assert_ne!(RunId::new(start), RunId::new(start));
        assert_eq!(names[0].as_str().len(), names[1].as_str().len());
    }
}
