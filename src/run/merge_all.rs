//! Merges every partition that a run touches, several at once, and stages those that change.

use std::{
    collections::{BTreeSet, HashSet},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use super::{RunError, extract::Extracted, observer::Observer};
use crate::{
    cancel::Cancel,
    layer::{self, BestVersions, Catalog, LayerError, LookUpError, MergeRules, MergedContent, MergedPartition, RunPrices, StoredPartition},
    model::{Dt, OrderHash},
    store::{self, Output, Staging, places},
};

/// A merged partition whose new content is staged.
pub(super) struct StagedPartition {
    pub(super) merged: MergedPartition,
    /// The staged file, if the partition changes.
    pub(super) file: Option<StagedFile>,
}

/// The partitions of a run, merged.
pub(super) struct MergedPartitions {
    /// In the order of their days.
    pub(super) partitions: Vec<StagedPartition>,
    /// The prices of the run's lines.
    pub(super) prices: RunPrices,
}

/// A staged file of a partition.
pub(super) struct StagedFile {
    pub(super) bytes: u64,
    pub(super) checksum: String,
}

/// What the index knows of a run's orders.
pub(super) struct Moves {
    /// Orders that lie in more than one partition.
    orders: HashSet<OrderHash>,
    /// The partitions that hold one of them.
    pub(super) shared_partitions: BTreeSet<Dt>,
    /// The number of entries that the index did not have.
    pub(super) new_entries: u64,
    /// The number of different orders of the run.
    pub(super) order_count: u64,
}

/// Looks up each order of the run in the index. Writes the entries that the index does not have yet to `new_file`.
///
/// # Errors
/// [`LookUpError::Damaged`] if the index must be rebuilt first.
pub(super) fn find_moves(catalog: &mut Catalog, extracted: &mut Extracted, new_file: &Path) -> Result<Moves, LookUpError> {
    let mut moves = Moves { orders: HashSet::new(), shared_partitions: BTreeSet::new(), new_entries: 0, order_count: 0 };
    moves.new_entries = catalog.look_up_orders(&mut extracted.orders, new_file, |order, brought, stored| {
        moves.order_count += 1;
        if brought.iter().chain(stored).any(|dt| *dt != brought[0]) {
            moves.orders.insert(order);
            moves.shared_partitions.extend(brought.iter().chain(stored));
        }
    })?;
    Ok(moves)
}

/// Merges the partitions of a run.
pub(super) struct Merger<'a> {
    pub(super) output: &'a Output,
    pub(super) extracted: &'a Extracted,
    pub(super) staging: &'a Staging,
    pub(super) rules: MergeRules<'a>,
    /// The number of partitions that are merged at once.
    pub(super) threads: usize,
    pub(super) cancel: &'a Cancel,
    pub(super) observer: &'a dyn Observer,
}

/// The partitions of a run, taken one by one by the threads that merge.
struct Work<'a> {
    partitions: &'a [Dt],
    next: AtomicUsize,
    done: Mutex<Vec<StagedPartition>>,
    best_versions: &'a BestVersions,
}

impl Merger<'_> {
    /// Compares the versions of orders that lie in more than one partition, then merges each touched partition.
    pub(super) fn merge_all(&self, moves: Moves) -> Result<MergedPartitions, RunError> {
        let touched: BTreeSet<Dt> = self.extracted.lines.partitions().chain(moves.shared_partitions.iter().copied()).collect();
        let best_versions =
            layer::best_versions(self.output, &self.extracted.lines, moves.orders, &moves.shared_partitions, self.rules.schema)?;
        let partitions: Vec<Dt> = touched.into_iter().collect();
        let work = Work {
            next: AtomicUsize::new(0),
            done: Mutex::new(Vec::with_capacity(partitions.len())),
            partitions: &partitions,
            best_versions: &best_versions,
        };
        let prices = self.run_threads(&work)?;
        let mut partitions = work.done.into_inner().unwrap_or_else(PoisonError::into_inner);
        partitions.sort_unstable_by_key(|staged| staged.merged.dt);
        Ok(MergedPartitions { partitions, prices })
    }

    /// Merges on several threads. Returns the prices of all lines.
    fn run_threads(&self, work: &Work<'_>) -> Result<RunPrices, RunError> {
        let (written_in, written) = mpsc::channel::<PathBuf>();
        let span = tracing::Span::current();
        let (workers, syncer) = thread::scope(|scope| {
            // The disk works while the next partitions are merged: when the publish waits for it, most is done.
            let syncer = scope.spawn(move || written.into_iter().try_for_each(|path| store::sync(&path)).map_err(LayerError::from));
            let workers: Vec<_> = (0..self.threads.clamp(1, work.partitions.len().max(1)))
                .map(|_| {
                    let (written, span) = (written_in.clone(), span.clone());
                    scope.spawn(move || span.in_scope(|| self.merge_next(work, &written)))
                })
                .collect();
            drop(written_in);
            let workers: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
            (workers, syncer.join())
        });
        let died = |_| RunError::Internal("a thread that merges partitions has died".into());
        let mut prices = RunPrices::default();
        for worker in workers {
            prices.absorb(worker.map_err(died)??);
        }
        syncer.map_err(died)??;
        Ok(prices)
    }

    /// Merges one partition after the other until none is left. Returns the prices of their lines.
    fn merge_next(&self, work: &Work<'_>, written: &mpsc::Sender<PathBuf>) -> Result<RunPrices, LayerError> {
        let mut prices = RunPrices::default();
        while let Some(&dt) = work.partitions.get(work.next.fetch_add(1, Ordering::Relaxed)) {
            if self.cancel.is_stopped() {
                return Err(LayerError::Interrupted);
            }
            let _in_partition = tracing::debug_span!("partition", %dt).entered();
            let staged = self.merge(dt, work.best_versions, &mut prices)?;
            tracing::debug!(rows = staged.merged.rows, changed = staged.file.is_some(), "the partition is merged");
            if staged.file.is_some() {
                // The receiver is gone if the disk refused an earlier file. Then the run ends with that error.
                let _ = written.send(self.staging.staged(places::partition_file(dt)));
            }
            let mut done = work.done.lock().unwrap_or_else(PoisonError::into_inner);
            done.push(staged);
            self.observer.merged(done.len(), work.partitions.len());
        }
        Ok(prices)
    }

    fn merge(&self, dt: Dt, best_versions: &BestVersions, prices: &mut RunPrices) -> Result<StagedPartition, LayerError> {
        let stored = StoredPartition::load(self.output, dt, self.rules.schema)?;
        let merged = layer::merge_partition(dt, self.extracted.lines.load(dt)?, stored, best_versions, self.rules, prices)?;
        self.stage_content(merged)
    }

    /// Writes the new content of a partition to the staging folder, and frees its bytes.
    fn stage_content(&self, mut merged: MergedPartition) -> Result<StagedPartition, LayerError> {
        let MergedContent::Replaced(bytes) = &mut merged.content else { return Ok(StagedPartition { merged, file: None }) };
        let bytes = std::mem::take(bytes);
        store::write_staged(&self.staging.staged(places::partition_file(merged.dt)), &bytes)?;
        Ok(StagedPartition { merged, file: Some(StagedFile { bytes: bytes.len() as u64, checksum: store::checksum(&bytes) }) })
    }
}
