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

use super::{RunError, extract::Extracted, job::Observer};
use crate::{
    cancel::Cancel,
    layer::{self, Catalog, BestVersions, LayerError, LookUpError, MergedContent, MergedPartition, StoredPartition, partition_file},
    model::{Dt, FactSchema, OrderHash},
    settings::MergeBy,
    store::{self, Output, Staging},
};

/// A merged partition; of its content only what the publish needs.
pub(super) struct Staged {
    pub(super) merged: MergedPartition,
    /// Size and checksum of the staged file, where the partition changes.
    pub(super) file: Option<(u64, String)>,
}

/// What the index says of a run's orders.
pub(super) struct Moves {
    /// Orders that stand in more than one partition.
    orders: HashSet<OrderHash>,
    /// The partitions that hold one of them.
    pub(super) shared_partitions: BTreeSet<Dt>,
    /// Entries that the index did not have.
    pub(super) new_entries: u64,
    /// Different orders of the run.
    pub(super) order_count: u64,
}

/// Asks the index for each order of the run; stages what it did not know yet at `new_entries`.
///
/// # Errors
/// [`LookUpError::Damaged`] where the index has to be made anew first.
pub(super) fn find_moves(catalog: &mut Catalog, extracted: &mut Extracted, new_entries: &Path) -> Result<Moves, LookUpError> {
    let mut moves = Moves { orders: HashSet::new(), shared_partitions: BTreeSet::new(), new_entries: 0, order_count: 0 };
    moves.new_entries = catalog.look_up_orders(&mut extracted.orders, new_entries, |order, brought, stored| {
        moves.order_count += 1;
        if brought.iter().chain(stored).any(|dt| *dt != brought[0]) {
            moves.orders.insert(order);
            moves.shared_partitions.extend(brought.iter().chain(stored));
        }
    })?;
    Ok(moves)
}

/// Lets the versions of orders that stand in more than one partition meet, and merges each touched partition.
pub(super) fn merge_all(
    output: &Output,
    moves: Moves,
    extracted: &Extracted,
    staging: &Staging,
    rules: (&FactSchema, MergeBy),
    company: (usize, &Cancel, &dyn Observer),
) -> Result<Vec<Staged>, RunError> {
    let touched: BTreeSet<Dt> = extracted.lines.partitions().chain(moves.shared_partitions.iter().copied()).collect();
    let best_versions = layer::best_versions(output, &extracted.lines, moves.orders, &moves.shared_partitions, rules.0)?;
    let work: Vec<Dt> = touched.into_iter().collect();
    merge_parallel(output, extracted, staging, &best_versions, &work, rules, company)
}

fn merge_parallel(
    output: &Output,
    extracted: &Extracted,
    staging: &Staging,
    best_versions: &BestVersions,
    work: &[Dt],
    rules: (&FactSchema, MergeBy),
    (threads, cancel, observer): (usize, &Cancel, &dyn Observer),
) -> Result<Vec<Staged>, RunError> {
    let next = AtomicUsize::new(0);
    let (written_in, written) = mpsc::channel::<PathBuf>();
    let done: Mutex<Vec<Staged>> = Mutex::new(Vec::with_capacity(work.len()));
    let one = |dt: Dt| -> Result<Staged, LayerError> {
        let stored = StoredPartition::load(output, dt, rules.0)?;
        let merged = layer::merge_partition(dt, extracted.lines.load(dt)?, stored, best_versions, rules)?;
        stage_content(staging, merged)
    };
    let span = tracing::Span::current();
    let worker = |written: mpsc::Sender<PathBuf>| -> Result<(), LayerError> {
        let _in_stage = span.enter();
        while let Some(&dt) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
            if cancel.is_stopped() {
                return Err(LayerError::Interrupted);
            }
            let _in_partition = tracing::debug_span!("partition", %dt).entered();
            let staged = one(dt)?;
            tracing::debug!(rows = staged.merged.rows, changed = staged.file.is_some(), "the partition is merged");
            if staged.file.is_some() {
                // Nobody listens any more where the disk has refused one: the run ends by that.
                let _ = written.send(staging.staged(partition_file(dt)));
            }
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.push(staged);
            observer.merged(done.len(), work.len());
        }
        Ok(())
    };
    let results = thread::scope(|scope| {
        // The disk works while the next partitions are merged: when the publish waits for it, most is done.
        let syncer = scope.spawn(move || written.into_iter().try_for_each(|path| store::sync(&path)).map_err(LayerError::from));
        let workers: Vec<_> = (0..threads.clamp(1, work.len().max(1)))
            .map(|_| {
                let written = written_in.clone();
                scope.spawn(|| worker(written))
            })
            .collect();
        drop(written_in);
        workers.into_iter().chain([syncer]).map(thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    for result in results {
        result.map_err(|_| RunError::Internal("a thread that merges partitions has died".into()))??;
    }
    let mut staged = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    staged.sort_unstable_by_key(|staged| staged.merged.dt);
    Ok(staged)
}

/// Writes a changed partition beside its place, and lets go of its bytes.
fn stage_content(staging: &Staging, mut merged: MergedPartition) -> Result<Staged, LayerError> {
    let file = match &mut merged.content {
        MergedContent::Replaced(bytes) => {
            let bytes = std::mem::take(bytes);
            store::write_staged(&staging.staged(partition_file(merged.dt)), &bytes)?;
            Some((bytes.len() as u64, store::checksum(&bytes)))
        }
        _ => None,
    };
    Ok(Staged { merged, file })
}
