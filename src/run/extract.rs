//! Source, normalize, stage: pages go through one bounded channel to the threads that normalize them, and come back in the
//! order of the source, whichever thread was first.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    pin::Pin,
    sync::{Mutex, PoisonError, mpsc},
    task::{Context, Poll},
    thread,
};

use tokio::sync::mpsc::{OwnedPermit, error::SendError};

use super::{RunError, observer::Observer, origin::page_origin, quarantine::Quarantine};
use crate::{
    join::{Enricher, UnknownKeys},
    layer::{CutBatch, CutTotals, FinishedStage, IndexBuilder, LayerError, LineageBuilder, PageOrigin, Stage, StagedLines, StagedTotal},
    model::{Reason, RevenueByDt},
    net::redact,
    normalize::{Drop, EmptiedOrder, NormalizedBatch, RecordCounts, RecordNormalizer, RecordTotal},
    settings::{Location, MergeBy, RepeatedSku, Settings},
    source::{self, Access, Completeness, Page, PageSink, Purpose, Query},
};

/// Pages that wait for a thread: enough that neither side waits for the other's hiccups.
const PAGES_WAITING: usize = 4;

/// All lines of a run, staged, and what was counted on the way.
pub(super) struct Extracted {
    pub(super) lines: StagedLines,
    pub(super) orders: IndexBuilder,
    pub(super) lineage: LineageBuilder,
    pub(super) unknown: UnknownKeys,
    pub(super) counts: RecordCounts,
    pub(super) revenue: RevenueByDt,
    /// Whether the source was read whole.
    pub(super) completeness: Completeness,
    /// What the first record seems to be, where none of them is JSON.
    pub(super) no_record_is_json: Option<String>,
}

/// Lines that are staged, before it is known whether the source was read whole.
struct StagedExtract {
    stage: FinishedStage,
    unknown: UnknownKeys,
    counts: RecordCounts,
    revenue: RevenueByDt,
    first_drop: Option<Drop>,
}

/// What a thread makes of a page.
struct EnrichedBatch {
    rows: CutBatch,
    totals: CutTotals,
    origin: PageOrigin,
    unknown: UnknownKeys,
    drops: Vec<Drop>,
    emptied: Vec<EmptiedOrder>,
    counts: RecordCounts,
    revenue: RevenueByDt,
}

/// What an order without lines means for its stored rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OrdersWithoutLines {
    /// They are versions of their orders as others are (`merge = "order"`).
    Versions,
    /// They are dropped, and nothing else: of a replay, a version may be older than it seems.
    DroppedOnly,
}

/// What the extraction works with.
pub(super) struct Extraction<'a> {
    pub(super) orders: &'a Location,
    pub(super) query: Query<'a>,
    pub(super) settings: &'a Settings,
    pub(super) normalizer: &'a RecordNormalizer,
    pub(super) enricher: &'a Enricher,
    pub(super) access: Access<'a>,
    pub(super) observer: &'a dyn Observer,
    pub(super) without_lines: OrdersWithoutLines,
}

/// What waits for room in the channel of pages.
type WaitingForRoom = Pin<Box<dyn Future<Output = Result<OwnedPermit<(u64, Page)>, SendError<()>>>>>;

/// Room in the channel, or the wait for it.
enum Room {
    Waiting(WaitingForRoom),
    Kept(OwnedPermit<(u64, Page)>),
    /// Nobody takes pages any more.
    Closed,
}

/// The way of pages to the threads that normalize them.
struct PageChannel {
    pages: tokio::sync::mpsc::Sender<(u64, Page)>,
    room: Option<Room>,
    /// The number of the next page.
    number: u64,
}

impl PageSink for PageChannel {
    fn page(&mut self, page: Page) -> bool {
        let numbered = (self.number, page);
        self.number += 1;
        match self.room.take() {
            Some(Room::Kept(room)) => {
                room.send(numbered);
                true
            }
            Some(Room::Closed) => false,
            // A source that has nothing in flight simply waits.
            _ => self.pages.blocking_send(numbered).is_ok(),
        }
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut waiting = match self.room.take() {
            Some(Room::Waiting(waiting)) => waiting,
            Some(kept) => {
                self.room = Some(kept);
                return Poll::Ready(());
            }
            None => Box::pin(self.pages.clone().reserve_owned()),
        };
        match waiting.as_mut().poll(context) {
            Poll::Ready(Ok(room)) => self.room = Some(Room::Kept(room)),
            Poll::Ready(Err(_)) => self.room = Some(Room::Closed),
            Poll::Pending => {
                self.room = Some(Room::Waiting(waiting));
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }
}

impl Extraction<'_> {
    /// Reads the source to its end.
    pub(super) fn run(&self, scratch: PathBuf, quarantine: &mut Quarantine) -> Result<Extracted, RunError> {
        let (page_in, page_out) = tokio::sync::mpsc::channel::<(u64, Page)>(PAGES_WAITING);
        let (batch_in, batch_out) = mpsc::sync_channel::<(u64, Result<EnrichedBatch, RunError>)>(PAGES_WAITING);
        let pages = Mutex::new(Some(page_out));
        let span = tracing::Span::current();
        thread::scope(|scope| {
            let source = scope.spawn(|| {
                let _in_stage = span.enter();
                let mut sink = PageChannel { pages: page_in, room: None, number: 0 };
                source::read_pages(self.orders, Purpose::Orders, &self.query, &self.access, &mut sink)
            });
            for _ in 0..self.settings.threads {
                let (pages, batches, span) = (&pages, batch_in.clone(), &span);
                scope.spawn(move || {
                    let _in_stage = span.enter();
                    loop {
                        let next =
                            pages.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(tokio::sync::mpsc::Receiver::blocking_recv);
                        let Some(Some((number, page))) = next else { return };
                        let batch = self.normalize(&page);
                        if batches.send((number, batch)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(batch_in);
            let staged = self.stage(batch_out, scratch, quarantine);
            if staged.is_err() {
                // The threads still wait to hand on: without a receiver, they end.
                pages.lock().unwrap_or_else(PoisonError::into_inner).take();
            }
            let read = source.join().map_err(|_| RunError::Internal("the thread that reads the source has died".into()))?;
            let staged = staged?;
            Ok(staged.complete(read?))
        })
    }

    /// A page's records as rows that carry what users and products add to them, cut by partition.
    fn normalize(&self, page: &Page) -> Result<EnrichedBatch, RunError> {
        let _in_page = page.span().entered();
        let NormalizedBatch { rows, drops, emptied, totals, counts, revenue } = self.normalizer.normalize(page.records());
        let mut unknown = UnknownKeys::default();
        let last_record = rows.record();
        let rows = rows.finish().and_then(|rows| self.enricher.enrich(rows, &mut unknown)).map_err(LayerError::from)?;
        let rows = CutBatch::new(&rows, last_record)?;
        let totals = totals.into_iter().map(|RecordTotal { total, record_number }| StagedTotal { seq: record_number, total });
        let totals = CutTotals::new(totals);
        Ok(EnrichedBatch { rows, totals, origin: page_origin(page), unknown, drops, emptied, counts, revenue })
    }

    fn stage(
        &self,
        batches: mpsc::Receiver<(u64, Result<EnrichedBatch, RunError>)>,
        scratch: PathBuf,
        quarantine: &mut Quarantine,
    ) -> Result<StagedExtract, RunError> {
        let mut first_drop = None;
        let mut stage = Stage::new(scratch, self.settings.schema(), self.settings.memory_limit);
        let mut unknown = UnknownKeys::default();
        let (mut counts, mut revenue) = (RecordCounts::default(), RevenueByDt::default());
        let (mut next, mut early) = (0, BTreeMap::new());
        for (number, batch) in batches {
            early.insert(number, batch);
            while let Some(batch) = early.remove(&next) {
                next += 1;
                let batch = batch?;
                counts.absorb(&batch.counts);
                revenue.absorb(&batch.revenue);
                unknown.absorb(batch.unknown);
                quarantine.push(&batch.drops)?;
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
                stage.push(batch.rows, &batch.origin)?;
                self.observer.extracted(&counts, &self.access.counters.counts());
            }
            if let Some(stop) = self.access.cancel.stopped() {
                return Err(RunError::Interrupted(stop));
            }
        }
        Ok(StagedExtract { stage: stage.finish(), unknown, counts, revenue, first_drop })
    }
}

impl StagedExtract {
    fn complete(self, completeness: Completeness) -> Extracted {
        let StagedExtract { stage: FinishedStage { lines, orders, lineage }, unknown, counts, revenue, first_drop } = self;
        let is_none_json = counts.records_read > 0 && counts.of(Reason::InvalidJson) == counts.records_read;
        let no_record_is_json = first_drop.filter(|_| is_none_json).map(|drop| seems(&drop.record));
        Extracted { lines, orders, lineage, unknown, counts, revenue, completeness, no_record_is_json }
    }
}

/// The beginning of a record that is not valid JSON.
fn seems(record: &[u8]) -> String {
    // Before it is cut: the beginning of a secret would not be recognized.
    let looked_at = String::from_utf8_lossy(record.get(..record.len().min(4096)).unwrap_or_default());
    let beginning: String = redact::text(&looked_at).chars().filter(|character| !character.is_control()).take(80).collect();
    format!("the first begins with `{beginning}`")
}
