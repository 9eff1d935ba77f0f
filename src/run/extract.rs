//! Source, normalize, stage: pages go through one bounded channel to the threads that normalize them, and come back in the
//! order of the source, whichever thread was first.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, PoisonError, mpsc},
    thread,
};

use super::{
    RunError,
    observer::Observer,
    origin::page_origin,
    page_channel::{NumberedPage, PAGES_WAITING, PageChannel, page_channel},
    quarantine::Quarantine,
    raw::{RawInput, RawLines, RawRead, RawRun, RawWriter},
};
use crate::{
    drift::ObservedShape,
    join::{Enricher, UnknownKeys},
    layer::{
        self, CutBatch, CutRefunds, CutSide, FinishedStage, IndexBuilder, LayerError, LineageBuilder, PageOrigin, PresentOrders,
        PresentOrdersBuilder, RecordUnit, Stage, StagedLines, StagedSide, UnreadRefund,
    },
    model::{ErasedUsers, Reason, RevenueByDt, WITHHELD_RECORD},
    net::redact,
    normalize::{
        BatchRules, DifferingRefunds, Drop, DroppedRefund, EmptiedOrder, NormalizedBatch, ReadOrders, RecordCounts, RecordNormalizer,
        RecordRow, RepeatedRefund, Repeats, Sampling, UserIds,
    },
    report::{CommandName, ErasedCounts},
    settings::{Location, MergeBy, RepeatedSku, Settings},
    source::{self, Access, Completeness, Page, Purpose, Query, RecordFilter},
    store::Output,
};

/// Refunds and orders that are named in a warning.
const NAMED_REFUNDS: usize = 5;

/// All lines of a run, staged, and what was counted on the way.
pub(super) struct Extracted {
    pub(super) lines: StagedLines,
    pub(super) orders: IndexBuilder,
    /// The days of the refunds of the orders.
    pub(super) refund_days: IndexBuilder,
    pub(super) lineage: LineageBuilder,
    /// The orders of all records that were read; `None` unless missing ones are to be deleted.
    pub(super) present: Option<PresentOrders>,
    pub(super) unknown: UnknownKeys,
    pub(super) counts: RecordCounts,
    pub(super) revenue: RevenueByDt,
    /// The shape of the records that were observed.
    pub(super) shape: ObservedShape,
    /// What was left out of erased users, but for members.
    pub(super) erased: ErasedCounts,
    /// Whether the source was read whole.
    pub(super) completeness: Completeness,
    /// What the first record seems to be, where none of them is JSON.
    pub(super) no_record_is_json: Option<String>,
    /// Refunds that may not be as their source means them.
    pub(super) odd_refunds: OddRefunds,
}

/// Refunds that may not be as their source means them, the first ones of each kind.
#[derive(Default)]
pub(super) struct OddRefunds {
    /// How many stand more than once in their order with different contents.
    pub(super) replaced: u64,
    /// The first of these.
    pub(super) first_replaced: Vec<RepeatedRefund>,
    /// The first orders whose refunds do not add up to what they say of them.
    pub(super) first_differing: Vec<DifferingRefunds>,
}

impl OddRefunds {
    fn absorb(&mut self, repeated: Vec<RepeatedRefund>, differing: Vec<DifferingRefunds>) {
        let room = |named: usize| NAMED_REFUNDS.saturating_sub(named);
        let replaced: Vec<_> = repeated.into_iter().filter(|refund| refund.repeats == Repeats::Other).collect();
        self.replaced += replaced.len() as u64;
        let (of_replaced, of_differing) = (room(self.first_replaced.len()), room(self.first_differing.len()));
        self.first_replaced.extend(replaced.into_iter().take(of_replaced));
        self.first_differing.extend(differing.into_iter().take(of_differing));
    }
}

/// Lines that are staged, before it is known whether the source was read whole.
struct StagedExtract {
    stage: FinishedStage,
    present: Option<PresentOrders>,
    unknown: UnknownKeys,
    counts: RecordCounts,
    revenue: RevenueByDt,
    shape: ObservedShape,
    erased: ErasedCounts,
    first_drop: Option<Drop>,
    odd_refunds: OddRefunds,
}

/// What a thread makes of a page.
struct EnrichedBatch {
    rows: CutBatch,
    totals: CutSide,
    refunds: CutRefunds,
    origin: PageOrigin,
    unknown: UnknownKeys,
    drops: Vec<Drop>,
    emptied: Vec<EmptiedOrder>,
    read: Option<ReadOrders>,
    counts: RecordCounts,
    revenue: RevenueByDt,
    /// All its records, if they are kept.
    raw: Option<RawLines>,
    shape: ObservedShape,
    erased: ErasedCounts,
    repeated_refunds: Vec<RepeatedRefund>,
    differing_refunds: Vec<DifferingRefunds>,
}

/// Whether the shape of the records is observed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ShapeWatch {
    On,
    Off,
}

/// What an order without lines means for its stored rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OrdersWithoutLines {
    /// They are versions of their orders as others are (`merge = "order"`).
    Versions,
    /// They are dropped, and nothing else: of a replay, a version may be older than it seems.
    DroppedOnly,
}

/// Where the orders come from.
#[derive(Clone, Copy)]
pub(super) enum Input<'a> {
    /// A source.
    Source { orders: &'a Location, query: Query<'a> },
    /// The records that runs have kept in an output.
    Raw { raw: &'a RawInput, output: &'a Output },
}

/// Where records are kept beside the layer.
pub(super) struct KeptRecords<'a> {
    /// Those that are dropped.
    pub(super) quarantine: &'a mut Quarantine,
    /// All of them; `None` if they are not kept.
    pub(super) raw: Option<&'a mut RawWriter>,
}

/// Whether pages are kept as they were delivered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RawPages {
    Kept,
    NotKept,
}

/// What the extraction works with.
pub(super) struct Extraction<'a> {
    pub(super) input: Input<'a>,
    pub(super) settings: &'a Settings,
    pub(super) normalizer: &'a RecordNormalizer,
    pub(super) enricher: &'a Enricher,
    pub(super) access: Access<'a>,
    pub(super) observer: &'a dyn Observer,
    pub(super) without_lines: OrdersWithoutLines,
    pub(super) shape_watch: ShapeWatch,
    /// What is left out of erased users; `None` where nobody was erased.
    pub(super) erasure: Option<Erasure<'a>>,
}

/// The users who were erased, and how they are found in a record.
pub(super) struct Erasure<'a> {
    pub(super) users: &'a ErasedUsers,
    pub(super) ids: UserIds,
}

impl Erasure<'_> {
    /// Whether a record may be of one of them.
    fn is_of_erased(&self, record: &[u8]) -> bool {
        self.ids.is_of(record, self.users)
    }

    /// Withholds the dropped records of erased users, and returns how many.
    fn withhold(&self, drops: &mut [Drop]) -> u64 {
        let mut withheld = 0;
        for drop in drops.iter_mut().filter(|drop| self.is_of_erased(&drop.record)) {
            drop.record = WITHHELD_RECORD.into();
            withheld += 1;
        }
        withheld
    }
}

/// The records that a normalizer takes.
struct TakenRecords<'a>(&'a RecordNormalizer);

impl RecordFilter for TakenRecords<'_> {
    fn takes(&self, record: &[u8]) -> bool {
        self.0.may_take(record)
    }
}

impl Extraction<'_> {
    /// Reads the source to its end.
    pub(super) fn run(&self, scratch: PathBuf, kept: KeptRecords<'_>) -> Result<Extracted, RunError> {
        let raw_pages = if kept.raw.is_some() { RawPages::Kept } else { RawPages::NotKept };
        let sampling = match self.shape_watch {
            ShapeWatch::On => Sampling::On { before: 0 },
            ShapeWatch::Off => Sampling::Off,
        };
        let (mut page_in, page_out) = page_channel(sampling);
        let (batch_in, batch_out) = mpsc::sync_channel::<(u64, Result<EnrichedBatch, RunError>)>(PAGES_WAITING);
        let pages = Mutex::new(Some(page_out));
        // The source stops also where its pages can't be staged.
        let reading = self.access.cancel.part();
        let access = Access { cancel: reading.cancel(), ..self.access };
        let span = tracing::Span::current();
        thread::scope(|scope| {
            let source_span = span.clone();
            // The channel ends with the thread.
            let source = scope.spawn(move || source_span.in_scope(|| self.read(&mut page_in, raw_pages, &access)));
            for _ in 0..self.settings.threads {
                let (pages, batches, span) = (&pages, batch_in.clone(), &span);
                scope.spawn(move || {
                    let _in_stage = span.enter();
                    loop {
                        let next =
                            pages.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(tokio::sync::mpsc::Receiver::blocking_recv);
                        let Some(Some(NumberedPage { number, sampling, page })) = next else { return };
                        let batch = self.normalize(&page, sampling, raw_pages);
                        if batches.send((number, batch)).is_err() {
                            // Nobody takes batches any more. Without a receiver, the source does not wait for room.
                            pages.lock().unwrap_or_else(PoisonError::into_inner).take();
                            return;
                        }
                    }
                });
            }
            drop(batch_in);
            let staged = self.stage(batch_out, scratch, kept);
            if staged.is_err() {
                // A thread that waits for a page holds the lock until the source hands one on or ends: this thread must
                // not wait for it. All of them end with the source.
                reading.stop();
            }
            let read = source.join().map_err(|_| RunError::Internal("the thread that reads the source has died".into()))?;
            // Before what the source says: it was stopped, if the disk refuses.
            let staged = staged?;
            Ok(staged.complete(read?))
        })
    }

    /// Reads all pages, on the calling thread.
    fn read(&self, sink: &mut PageChannel, raw_pages: RawPages, access: &Access<'_>) -> Result<RawRead, RunError> {
        let taken = TakenRecords(self.normalizer);
        match &self.input {
            Input::Source { orders, query } => {
                // What is kept may be mapped by other rules later, and needs its lines then.
                let filter = (raw_pages == RawPages::NotKept).then_some(&taken as &dyn RecordFilter);
                let query = Query { filter, ..*query };
                let completeness = source::read_pages(orders, Purpose::Orders, &query, access, sink)?;
                Ok(RawRead { completeness, withheld: 0 })
            }
            Input::Raw { raw, output } => raw.read(output, access, sink),
        }
    }

    /// The run that has kept the records of a page; `None` for a page of a source.
    fn kept_by(&self, page: &Page) -> Option<&RawRun> {
        match &self.input {
            Input::Source { .. } => None,
            Input::Raw { raw, .. } => raw.run_of(page),
        }
    }

    /// A page's records as rows that carry what users and products add to them, cut by partition.
    fn normalize(&self, page: &Page, sampling: Sampling, raw_pages: RawPages) -> Result<EnrichedBatch, RunError> {
        let _in_page = page.span().entered();
        let kept_by = self.kept_by(page);
        let rules = BatchRules { also_within: kept_by.map(|run| run.within).unwrap_or_default(), sampling };
        let batch = self.normalizer.normalize_with(page.records(), rules);
        let NormalizedBatch {
            rows,
            mut drops,
            mut emptied,
            read,
            totals,
            refunds,
            dropped_refunds,
            repeated_refunds,
            differing_refunds,
            counts,
            revenue,
            shape,
        } = batch;
        if kept_by.is_some_and(|run| run.command == CommandName::Replay) {
            // Of a replay, a version may be older than it seems.
            emptied.clear();
        }
        let mut unknown = UnknownKeys::default();
        let mut erased = ErasedCounts::default();
        let last_record = rows.record();
        let mut rows = rows.finish().map_err(LayerError::from)?;
        if let Some(erasure) = &self.erasure {
            let of_others = layer::without_users_of(rows, erasure.users).map_err(LayerError::from)?;
            (rows, erased.lines_erased) = (of_others.lines, of_others.erased);
            erased.records_withheld = erasure.withhold(&mut drops);
        }
        let rows = self.enricher.enrich(rows, &mut unknown).map_err(LayerError::from)?;
        let rows = CutBatch::new(&rows, last_record)?;
        let origin = match kept_by {
            Some(_) => PageOrigin { unit: RecordUnit::Record, ..page_origin(page) },
            None => page_origin(page),
        };
        let is_of_erased = |record: &[u8]| self.erasure.as_ref().is_some_and(|erasure| erasure.is_of_erased(record));
        let raw = (raw_pages == RawPages::Kept).then(|| RawLines::of(page, is_of_erased));
        erased.records_withheld += raw.as_ref().map_or(0, |raw| raw.withheld);
        let totals = CutSide::new(totals.into_iter().map(staged));
        let unread = |DroppedRefund { refund_id, record_number }| UnreadRefund { seq: record_number, refund_id };
        let unread: Vec<_> = dropped_refunds.into_iter().map(unread).collect();
        let refunds = CutRefunds::new(refunds.into_iter().map(staged).collect(), &unread);
        Ok(EnrichedBatch {
            rows,
            totals,
            refunds,
            origin,
            unknown,
            drops,
            emptied,
            read,
            counts,
            revenue,
            raw,
            shape,
            erased,
            repeated_refunds,
            differing_refunds,
        })
    }

    fn stage(
        &self,
        batches: mpsc::Receiver<(u64, Result<EnrichedBatch, RunError>)>,
        scratch: PathBuf,
        kept: KeptRecords<'_>,
    ) -> Result<StagedExtract, RunError> {
        let KeptRecords { quarantine, mut raw } = kept;
        let mut first_drop = None;
        let mut present = self.settings.deletions.mode.map(|_| PresentOrdersBuilder::new(scratch.join("present")));
        let mut stage = Stage::new(scratch, self.settings.schema(), self.settings.memory_limit);
        let mut unknown = UnknownKeys::default();
        let (mut counts, mut revenue, mut shape) = (RecordCounts::default(), RevenueByDt::default(), ObservedShape::default());
        let (mut erased, mut odd_refunds) = (ErasedCounts::default(), OddRefunds::default());
        let (mut next, mut early) = (0, BTreeMap::new());
        for (number, batch) in batches {
            early.insert(number, batch);
            while let Some(batch) = early.remove(&next) {
                next += 1;
                let batch = batch?;
                counts.absorb(&batch.counts);
                revenue.absorb(&batch.revenue);
                shape.absorb(batch.shape);
                erased.absorb(batch.erased);
                unknown.absorb(batch.unknown);
                odd_refunds.absorb(batch.repeated_refunds, batch.differing_refunds);
                quarantine.push(&batch.drops)?;
                if let (Some(raw), Some(lines)) = (&mut raw, &batch.raw) {
                    raw.push(lines)?;
                }
                if let (Some(present), Some(ReadOrders { orders, unknown })) = (&mut present, &batch.read) {
                    present.push(orders, *unknown)?;
                }
                if self.settings.merge == MergeBy::Order || self.settings.repeated_sku == RepeatedSku::Sum {
                    let lines = batch.drops.iter().filter_map(|drop| drop.line.as_ref());
                    lines.for_each(|line| stage.push_dropped_line(line.record_number, line.sku.as_deref()));
                }
                if self.without_lines == OrdersWithoutLines::Versions {
                    for EmptiedOrder { order_id, dt, updated_at, record_number } in batch.emptied {
                        stage.push_emptied(record_number, order_id, dt, updated_at);
                    }
                }
                first_drop = first_drop.or_else(|| batch.drops.into_iter().next());
                stage.push_totals(batch.totals);
                stage.push_refunds(batch.refunds);
                stage.push(batch.rows, &batch.origin)?;
                self.observer.extracted(&counts, &self.access.counters.counts());
            }
            if let Some(stop) = self.access.cancel.stopped() {
                return Err(RunError::Interrupted(stop));
            }
        }
        Ok(StagedExtract {
            stage: stage.finish()?,
            present: present.map(PresentOrdersBuilder::finish).transpose()?,
            unknown,
            counts,
            revenue,
            shape,
            erased,
            first_drop,
            odd_refunds,
        })
    }
}

/// A row beside the lines, as it is staged.
fn staged<R>(RecordRow { row, record_number }: RecordRow<R>) -> StagedSide<R> {
    StagedSide { seq: record_number, row }
}

impl StagedExtract {
    fn complete(self, read: RawRead) -> Extracted {
        let RawRead { completeness, withheld } = read;
        let StagedExtract {
            stage: FinishedStage { lines, orders, refund_days, lineage },
            present,
            unknown,
            counts,
            revenue,
            shape,
            mut erased,
            first_drop,
            odd_refunds,
        } = self;
        erased.records_withheld += withheld;
        let is_none_json = counts.records_read > 0 && counts.of(Reason::InvalidJson) == counts.records_read;
        let no_record_is_json = first_drop.filter(|_| is_none_json).map(|drop| seems(&drop.record));
        Extracted {
            lines,
            orders,
            refund_days,
            lineage,
            present,
            unknown,
            counts,
            revenue,
            shape,
            erased,
            completeness,
            no_record_is_json,
            odd_refunds,
        }
    }
}

/// The beginning of a record that is not valid JSON.
fn seems(record: &[u8]) -> String {
    // Before it is cut: the beginning of a secret would not be recognized.
    let looked_at = String::from_utf8_lossy(record.get(..record.len().min(4096)).unwrap_or_default());
    let beginning: String = redact::text(&looked_at).chars().filter(|character| !character.is_control()).take(80).collect();
    format!("the first begins with `{beginning}`")
}
