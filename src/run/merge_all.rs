//! Merges every partition that a run touches, several at once, and stages those that change.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use super::{
    RunError,
    extract::Extracted,
    merge_budget::{MergeBudget, PartitionSize},
    observer::Observer,
};
use crate::{
    cancel::Cancel,
    join::{Enricher, UnknownKeys},
    layer::{
        self, BestVersions, Catalog, Deletions, LayerError, LookUpError, MergeOutput, MergeRules, MergedPartition, MergedSide, OrdersMerge,
        PartitionEntry, PartitionFile, PartitionRows, RefundDays, RefundFates, RefundPlan, RunPrices, StoredPartitions, VersionRules,
    },
    model::{Dt, FileFormat, OrderHash, order_hash},
    store::{
        self, Fingerprint, Key, StagedWriter, Staging,
        places::{self, SideFact},
        protocol::{SharedOrders, keys_to_merge_again},
    },
};

/// A merged partition whose new content is staged.
pub(super) struct StagedPartition {
    pub(super) merged: MergedPartition,
    /// The staged file, if the partition changes.
    pub(super) file: Option<Fingerprint>,
    /// The totals of its orders.
    pub(super) totals: SideChange,
    /// What becomes of the refunds of its orders, on whichever days these lie.
    pub(super) refunds: RefundFates,
    /// The prices of its lines; `None` if the run has so many that they are not kept.
    prices: Option<RunPrices>,
}

/// What becomes of a side fact of one day.
pub(super) enum SideChange {
    /// It stays as it is; also where there is none.
    Unchanged,
    /// It has new content, which is staged.
    Written { file: Fingerprint, rows: u64 },
    /// The last row is gone.
    Removed,
}

/// The partitions of a run, merged.
#[derive(Default)]
pub(super) struct MergedPartitions {
    pub(super) partitions: BTreeMap<Dt, StagedPartition>,
    /// The days whose refunds may change. All are merged in this attempt.
    pub(super) refunds: BTreeMap<Dt, SideChange>,
    /// Those that were merged in this attempt, and not in an earlier one.
    pub(super) merged_now: BTreeSet<Dt>,
    /// The partitions that the checks look at: those that were merged in this attempt, or all that the run touches.
    pub(super) to_check: BTreeSet<Dt>,
    /// The prices of all lines.
    pub(super) prices: RunPrices,
    /// What was known of the orders.
    pub(super) moves: Moves,
    /// The stored orders that were deleted.
    deletions: Option<Deletions>,
}

/// What an earlier attempt of the run has merged, before another run was committed.
#[derive(Default)]
pub(super) struct EarlierAttempt {
    pub(super) merged: MergedPartitions,
    /// The stored partitions that it merged with.
    pub(super) stored: BTreeMap<Dt, PartitionEntry>,
    /// Whether all of it must be merged again, because what the dimensions say has changed.
    pub(super) is_void: bool,
    /// Whether its checks have found something: then they look at all of it again, since their results are those of the whole run.
    pub(super) has_violations: bool,
}

/// The most prices of a run that are kept by partition, for another attempt. Beyond that, it merges all partitions again.
const MOST_KEPT_PRICES: usize = 1 << 20;

/// What the index knows of a run's orders.
#[derive(Clone, Default)]
pub(super) struct Moves {
    /// Orders that lie in more than one partition.
    orders: HashSet<OrderHash>,
    /// The partitions that hold one of them.
    pub(super) shared_partitions: BTreeSet<Dt>,
    /// The number of entries that the index did not have.
    pub(super) new_entries: u64,
    /// The number of different orders of the run.
    pub(super) order_count: u64,
    /// The days of the stored refunds of the run's orders, and of those that it deletes.
    pub(super) refund_days: RefundDays,
    /// The number of entries that the index of refunds did not have.
    pub(super) new_refund_entries: u64,
}

impl Moves {
    /// The orders that lie in more than one partition, as the protocol asks for them.
    fn shared_orders(&self) -> SharedOrders<'_, HashSet<OrderHash>, Dt> {
        SharedOrders { orders: &self.orders, keys: &self.shared_partitions }
    }
}

/// Where the entries of a run are written that the indexes do not have yet.
pub(super) struct NewEntryFiles<'a> {
    pub(super) orders: &'a Path,
    pub(super) refunds: &'a Path,
}

/// Looks up each order of the run in the indexes. Writes the entries that these do not have yet to the new files.
///
/// # Errors
/// [`LookUpError::Damaged`] if the index must be rebuilt first.
pub(super) fn find_moves(catalog: &mut Catalog, extracted: &mut Extracted, new: &NewEntryFiles<'_>) -> Result<Moves, LookUpError> {
    let mut moves = Moves::default();
    let Extracted { orders, refund_days, lines, .. } = extracted;
    let emptied: HashSet<OrderHash> = lines.emptied().iter().map(|version| order_hash(&version.order_id)).collect();
    moves.new_entries = catalog.look_up_orders(orders, new.orders, |order, incoming, stored| {
        moves.order_count += 1;
        if emptied.contains(&order) || incoming.iter().chain(stored).any(|dt| *dt != incoming[0]) {
            moves.orders.insert(order);
            moves.shared_partitions.extend(incoming.iter().filter(|dt| lines.has(**dt)).chain(stored));
        }
    })?;
    moves.new_refund_entries = catalog.look_up_refunds(orders, refund_days, new.refunds, &mut moves.refund_days)?;
    Ok(moves)
}

/// Merges the partitions of a run.
pub(super) struct Merger<'a> {
    pub(super) stored: &'a StoredPartitions<'a>,
    pub(super) extracted: &'a Extracted,
    pub(super) staging: &'a Staging,
    pub(super) rules: MergeRules<'a>,
    /// Partitions that this attempt, or an earlier one, deletes orders from.
    pub(super) deletion_partitions: &'a BTreeSet<Dt>,
    /// The format of the files of partitions.
    pub(super) format: FileFormat,
    /// Joins the lines again, where the dimensions have changed since they were staged.
    pub(super) enricher: Option<&'a Enricher>,
    /// The number of partitions that are merged at once, at most.
    pub(super) threads: usize,
    /// The memory that these may take.
    pub(super) budget: MergeBudget,
    pub(super) cancel: &'a Cancel,
    pub(super) observer: &'a dyn Observer,
}

/// The partitions of a run, taken one by one by the threads that merge.
struct Work<'a> {
    partitions: &'a [Dt],
    next: AtomicUsize,
    /// How many prices are kept by partition.
    kept_prices: AtomicUsize,
    done: Mutex<Vec<StagedPartition>>,
    best_versions: &'a BestVersions,
    moves: &'a Moves,
}

impl Work<'_> {
    /// The prices of a partition, as long as there is room for them.
    fn kept(&self, prices: RunPrices) -> Option<RunPrices> {
        let kept = self.kept_prices.fetch_add(prices.kept(), Ordering::Relaxed);
        (kept + prices.kept() <= MOST_KEPT_PRICES).then_some(prices)
    }
}

impl Merger<'_> {
    /// Compares the versions of orders that lie in more than one partition, then merges each touched partition. What an earlier
    /// attempt has merged is used again, as far as nothing that it depends on has changed.
    pub(super) fn merge_all(&self, moves: Moves, earlier: Option<EarlierAttempt>) -> Result<MergedPartitions, RunError> {
        let beside_lines = moves.shared_partitions.iter().chain(self.deletion_partitions).copied();
        let touched: BTreeSet<Dt> = self.extracted.lines.partitions().chain(beside_lines).collect();
        let merged_now = match &earlier {
            None => touched.clone(),
            Some(earlier) => self.touched_since(&touched, &moves, earlier),
        };
        let shares = !merged_now.is_disjoint(&moves.shared_partitions);
        let best_versions = if shares {
            let largest = moves.shared_partitions.iter().map(|dt| self.size(*dt).in_memory(self.format)).max().unwrap_or_default();
            let threads = self.threads.min(self.budget.fitting(largest));
            let rules = VersionRules { by: self.rules.by, repeated_sku: self.rules.repeated_sku };
            layer::best_versions(self.stored, &self.extracted.lines, rules, moves.orders.clone(), &moves.shared_partitions, threads)?
        } else {
            BestVersions::default()
        };
        let partitions: Vec<Dt> = merged_now.iter().copied().collect();
        let work = Work {
            next: AtomicUsize::new(0),
            kept_prices: AtomicUsize::new(0),
            done: Mutex::new(Vec::with_capacity(partitions.len())),
            partitions: &partitions,
            best_versions: &best_versions,
            moves: &moves,
        };
        let mut prices = self.run_threads(&work)?;
        let has_violations = earlier.as_ref().is_some_and(|earlier| earlier.has_violations);
        let mut merged = earlier.map(|earlier| earlier.merged.partitions).unwrap_or_default();
        merged.retain(|dt, _| touched.contains(dt) && !merged_now.contains(dt));
        merged.values().filter_map(|partition| partition.prices.as_ref()).for_each(|kept| prices.absorb(kept));
        let done = work.done.into_inner().unwrap_or_else(PoisonError::into_inner);
        merged.extend(done.into_iter().map(|staged| (staged.merged.dt, staged)));
        let refunds = self.merge_refunds(&merged, &moves.refund_days)?;
        let to_check = if has_violations { touched } else { merged_now.clone() };
        let deletions = self.rules.deletions.cloned();
        Ok(MergedPartitions { partitions: merged, refunds, merged_now, to_check, prices, moves, deletions })
    }

    /// Merges the days whose refunds may change, once the partitions of their orders are merged. Days are merged in every attempt:
    /// another run may have brought refunds of other orders there.
    fn merge_refunds(
        &self,
        partitions: &BTreeMap<Dt, StagedPartition>,
        stored: &RefundDays,
    ) -> Result<BTreeMap<Dt, SideChange>, LayerError> {
        let fates = partitions.values().map(|partition| &partition.refunds);
        let plan = RefundPlan::new(fates, stored, self.extracted.lines.refund_days());
        let unread = self.extracted.lines.unread_refunds();
        let mut changes = BTreeMap::new();
        for &dt in plan.days() {
            if self.cancel.is_stopped() {
                return Err(LayerError::Interrupted);
            }
            let (staged, stored) = (self.extracted.lines.load_refunds(dt)?, self.stored.load_refunds(dt)?);
            changes.insert(dt, self.stage_side(&SideFact::Refunds.file(dt), plan.merge(staged, unread, stored.as_ref()))?);
        }
        Ok(changes)
    }

    /// The partitions that must be merged again: those that other runs have changed, and all that share orders with one of them. All,
    /// where other runs have changed which orders have refunds.
    fn touched_since(&self, touched: &BTreeSet<Dt>, moves: &Moves, earlier: &EarlierAttempt) -> BTreeSet<Dt> {
        if earlier.is_void || earlier.merged.moves.refund_days != moves.refund_days {
            return touched.clone();
        }
        let version = |entry: Option<&PartitionEntry>| {
            entry.map(|entry| (entry.version.clone(), entry.totals.as_ref().map(|totals| totals.version.clone())))
        };
        let is_kept = |dt: &Dt| earlier.merged.partitions.get(dt).is_some_and(|partition| partition.prices.is_some());
        let has_changed = |dt: &Dt| !is_kept(dt) || version(self.stored.entry(*dt)) != version(earlier.stored.get(dt));
        let mut again: BTreeSet<Dt> = touched.iter().copied().filter(has_changed).collect();
        if earlier.merged.deletions.as_ref() != self.rules.deletions {
            again.extend(self.deletion_partitions);
        }
        keys_to_merge_again(touched, again, &earlier.merged.moves.shared_orders(), &moves.shared_orders())
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
            prices.absorb(&worker.map_err(died)??);
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
            let share = self.budget.take(self.size(dt).in_memory(self.format));
            let mut own = RunPrices::default();
            let mut staged = self.merge(dt, work, &mut own)?;
            drop(share);
            prices.absorb(&own);
            staged.prices = work.kept(own);
            tracing::debug!(rows = staged.merged.rows, changed = staged.file.is_some(), "the partition is merged");
            let facts = staged.file.is_some().then(|| places::partition_file(dt, self.format));
            let totals = matches!(staged.totals, SideChange::Written { .. }).then(|| SideFact::OrderTotals.file(dt));
            for key in facts.into_iter().chain(totals) {
                // The receiver is gone if the disk refused an earlier file. Then the run ends with that error.
                let _ = written.send(self.staging.staged(key));
            }
            let mut done = work.done.lock().unwrap_or_else(PoisonError::into_inner);
            done.push(staged);
            self.observer.merged(done.len(), work.partitions.len());
        }
        Ok(prices)
    }

    fn size(&self, dt: Dt) -> PartitionSize {
        let staged = self.extracted.lines.size(dt);
        let stored = self.stored.entry(dt);
        PartitionSize {
            staged,
            stored_rows: stored.map_or(0, |stored| stored.rows),
            stored_bytes: stored.map_or(0, |stored| stored.version.bytes),
        }
    }

    fn merge(&self, dt: Dt, work: &Work<'_>, prices: &mut RunPrices) -> Result<StagedPartition, LayerError> {
        let lines = match self.enricher {
            Some(enricher) => self.joined_again(dt, enricher)?,
            None => self.extracted.lines.load(dt)?,
        };
        let stored = self.stored.load(dt)?;
        let (incoming, known) = (self.extracted.lines.refunded(), &work.moves.refund_days);
        let has_refunds = |order: OrderHash| incoming.contains(&order) || known.contains_key(&order);
        let follows_orders = self.has_totals(dt) || !incoming.is_empty() || !known.is_empty();
        let orders = follows_orders.then(|| OrdersMerge::begin(lines.as_ref(), stored.as_ref(), &has_refunds));
        let rules = MergeRules { notes_orders: follows_orders, ..self.rules };
        let path = self.staging.staged(places::partition_file(dt, self.format));
        let mut file = PartitionFile::new(self.format, self.rules.schema, &path);
        let output = MergeOutput { csv: &mut file, prices };
        let mut merged = layer::merge_partition(dt, lines, stored, work.best_versions, rules, output)?;
        let file = file.finish()?;
        let remaining = std::mem::take(&mut merged.orders);
        let orders = orders.map(|orders| orders.finish(work.best_versions, remaining, self.rules.deletions));
        let refunds = orders.as_ref().map(|orders| orders.refund_fates(&has_refunds)).unwrap_or_default();
        let totals = match orders.filter(|_| self.has_totals(dt)) {
            Some(orders) => {
                let (staged, stored) = (self.extracted.lines.load_totals(dt)?, self.stored.load_totals(dt)?);
                self.stage_side(&SideFact::OrderTotals.file(dt), orders.totals(staged, stored.as_ref()))?
            }
            None => SideChange::Unchanged,
        };
        Ok(StagedPartition { merged, file, totals, refunds, prices: None })
    }

    /// The lines of a partition, joined with dimensions that have changed since they were staged.
    fn joined_again(&self, dt: Dt, enricher: &Enricher) -> Result<Option<PartitionRows>, LayerError> {
        let Some(frame) = self.extracted.lines.load_frame(dt)? else { return Ok(None) };
        let frame = enricher.enrich(frame, &mut UnknownKeys::default())?;
        PartitionRows::of_frame(&frame, self.rules.schema).map(Some)
    }

    /// Whether the run brings totals for a partition, or it has some.
    fn has_totals(&self, dt: Dt) -> bool {
        self.extracted.lines.has_totals(dt) || self.stored.entry(dt).is_some_and(|entry| entry.totals.is_some())
    }

    /// Writes the new content of a side fact of one day to the staging folder.
    fn stage_side(&self, key: &Key, merged: MergedSide) -> Result<SideChange, LayerError> {
        let (bytes, rows) = match merged {
            MergedSide::Unchanged => return Ok(SideChange::Unchanged),
            MergedSide::Removed => return Ok(SideChange::Removed),
            MergedSide::Replaced { bytes, rows } => (bytes, rows),
        };
        let mut file = StagedWriter::create(&self.staging.staged(key))?;
        file.push(&bytes)?;
        Ok(SideChange::Written { file: file.finish()?, rows })
    }
}
