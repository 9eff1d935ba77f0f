//! How much memory the partitions take that are merged at once, and the wait for room.
//!
//! Responsible for the estimate of one partition and for the sum of those at work. Merges nothing.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::{
    layer::StagedSize,
    model::{Compression, FileFormat},
};

/// What the merge keeps of a row beside its bytes: its place, its slot by key, and its place in the order of the file.
const PER_ROW: u64 = 100;

/// The bytes of a stored row that is in memory: its CSV, and the row as it is staged.
const PER_STORED_ROW: u64 = 250;

/// The CSV of a new row, where it is in memory.
const PER_NEW_ROW: u64 = 150;

/// What a partition takes however small it is: the buffers of its file.
const PER_PARTITION: u64 = 2 << 20;

/// What is known of a partition before it is merged.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct PartitionSize {
    /// The run's lines.
    pub(super) staged: StagedSize,
    /// The rows that are stored.
    pub(super) stored_rows: u64,
    /// The bytes of the stored file.
    pub(super) stored_bytes: u64,
}

impl PartitionSize {
    /// The bytes that its merge takes, about.
    pub(super) fn in_memory(&self, format: FileFormat) -> u64 {
        let rows = self.staged.rows.saturating_add(self.stored_rows);
        // Rows with long texts have larger files.
        let stored = self.stored_rows.saturating_mul(PER_STORED_ROW).max(self.stored_bytes.saturating_mul(5) / 3);
        let whole = match format {
            FileFormat::Csv(Compression::Gzip | Compression::Zstd) => rows.saturating_mul(PER_NEW_ROW),
            FileFormat::Csv(Compression::None) | FileFormat::Parquet => 0,
        };
        let parts = [self.staged.bytes, rows.saturating_mul(PER_ROW), stored, whole, PER_PARTITION];
        parts.into_iter().fold(0, u64::saturating_add)
    }
}

/// The memory for all partitions that are merged at once.
pub(super) struct MergeBudget {
    limit: u64,
    taken: Mutex<u64>,
    returned: Condvar,
}

/// Memory of a partition at work. It is returned when this is dropped.
pub(super) struct Share<'b> {
    budget: &'b MergeBudget,
    bytes: u64,
}

impl MergeBudget {
    /// A budget of half of what the run may take; the rest is for dimensions, staged lines and the program itself.
    pub(super) fn new(memory_limit: Option<u64>) -> MergeBudget {
        MergeBudget { limit: memory_limit.map_or(u64::MAX, |limit| limit / 2), taken: Mutex::new(0), returned: Condvar::new() }
    }

    /// How many partitions of this size fit, but at least one.
    pub(super) fn fitting(&self, bytes: u64) -> usize {
        usize::try_from(self.limit / bytes.max(1)).unwrap_or(usize::MAX).max(1)
    }

    /// Waits until there is room. A partition that is larger than the budget is merged alone.
    pub(super) fn take(&self, bytes: u64) -> Share<'_> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |taken: &mut u64| *taken > 0 && taken.saturating_add(bytes) > self.limit;
        let mut taken = self.returned.wait_while(taken, is_full).unwrap_or_else(PoisonError::into_inner);
        *taken = taken.saturating_add(bytes);
        Share { budget: self, bytes }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut taken = self.budget.taken.lock().unwrap_or_else(PoisonError::into_inner);
        *taken = taken.saturating_sub(self.bytes);
        self.budget.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering},
        thread,
    };

    use super::*;

    #[test]
    fn what_is_at_work_never_exceeds_the_budget_and_all_come_to_their_turn() {
        let budget = MergeBudget::new(Some(200));
        let (at_work, most, done) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for worker in 0..8_u64 {
                let (budget, at_work, most, done) = (&budget, &at_work, &most, &done);
                scope.spawn(move || {
                    for round in 0..50 {
                        let bytes = 1 + (worker * 13 + round * 7) % 60;
                        let _share = budget.take(bytes);
                        most.fetch_max(at_work.fetch_add(bytes, Ordering::SeqCst) + bytes, Ordering::SeqCst);
                        thread::yield_now();
                        at_work.fetch_sub(bytes, Ordering::SeqCst);
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(done.into_inner(), 400);
        assert!((60..=100).contains(&most.into_inner()));
        assert_eq!(*budget.taken.lock().unwrap(), 0);
    }

    #[test]
    fn a_partition_that_is_larger_than_the_budget_is_merged_alone() {
        let budget = MergeBudget::new(Some(200));
        assert_eq!([0, 30, 100, 1_000].map(|bytes| budget.fitting(bytes)), [100, 3, 1, 1]);
        drop(budget.take(1_000));
        let large = budget.take(1_000);
        thread::scope(|scope| {
            let next = scope.spawn(|| drop(budget.take(1)));
            thread::yield_now();
            assert!(!next.is_finished());
            drop(large);
        });
        let unlimited = MergeBudget::new(None);
        let shares = [unlimited.take(u64::MAX), unlimited.take(u64::MAX)];
        drop(shares);
    }

    #[test]
    fn the_estimate_grows_with_what_is_staged_and_with_what_is_stored() {
        let csv = FileFormat::Csv(Compression::None);
        let size = PartitionSize { staged: StagedSize { rows: 1_000_000, bytes: 70_000_000 }, ..PartitionSize::default() };
        assert_eq!(size.in_memory(csv) >> 20, 164);
        assert_eq!(size.in_memory(FileFormat::Parquet), size.in_memory(csv));
        assert!(size.in_memory(FileFormat::Csv(Compression::Gzip)) > size.in_memory(csv) + 140_000_000);
        let stored = PartitionSize { stored_rows: 1_000_000, stored_bytes: 150_000_000, ..PartitionSize::default() };
        assert_eq!(stored.in_memory(csv) >> 20, 335);
        assert!(PartitionSize { stored_bytes: 3_000_000_000, ..stored }.in_memory(csv) > 5_000_000_000);
        let all = PartitionSize { staged: StagedSize { rows: u64::MAX, bytes: u64::MAX }, stored_rows: u64::MAX, stored_bytes: u64::MAX };
        assert_eq!(all.in_memory(csv), u64::MAX);
    }
}
