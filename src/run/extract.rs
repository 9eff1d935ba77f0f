//! Source, normalize, stage: pages go through one bounded channel to the threads that normalize them, and come back in the
//! order of the source, whichever thread was first.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, PoisonError, mpsc},
    thread,
};

use super::{RunError, job::Observer, quarantine::Quarantine};
use crate::{
    join::{Enricher, UnknownKeys},
    layer::{IndexBuilder, LayerError, Stage, StagedLines},
    model::RevenueByDt,
    normalize::{NormalizedBatch, RecordCounts, RecordNormalizer},
    settings::{Location, Settings},
    source::{self, Access, Page, Query, SourceError},
};

/// Pages that wait for a thread: enough that neither side waits for the other's hiccups.
const PAGES_WAITING: usize = 4;

/// All lines of a run, staged, and what was counted on the way.
pub(super) struct Extracted {
    pub(super) lines: StagedLines,
    pub(super) orders: IndexBuilder,
    pub(super) unknown: UnknownKeys,
    pub(super) counts: RecordCounts,
    pub(super) revenue: RevenueByDt,
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
}

impl Extraction<'_> {
    /// Reads the source to its end.
    pub(super) fn run(&self, scratch: PathBuf, quarantine: &mut Quarantine) -> Result<Extracted, RunError> {
        let (page_in, page_out) = mpsc::sync_channel::<(u64, Page)>(PAGES_WAITING);
        let (batch_in, batch_out) = mpsc::sync_channel::<(u64, Result<NormalizedBatch, SourceError>)>(PAGES_WAITING);
        let pages = Mutex::new(Some(page_out));
        thread::scope(|scope| {
            let source = scope.spawn(|| {
                let mut number = 0;
                let mut sink = |page: Page| {
                    number += 1;
                    page_in.send((number - 1, page)).is_ok()
                };
                let read = source::read_pages(self.orders, &self.query, &self.access, &mut sink);
                drop(page_in);
                read
            });
            for _ in 0..self.settings.threads {
                let (pages, batches) = (&pages, batch_in.clone());
                scope.spawn(move || {
                    loop {
                        let next = pages.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(mpsc::Receiver::recv);
                        let Some(Ok((number, page))) = next else { return };
                        let batch = page.check(self.access.limits).map(|()| self.normalizer.normalize(page.records()));
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
            let extracted = staged?;
            read?;
            Ok(extracted)
        })
    }

    fn stage(
        &self,
        batches: mpsc::Receiver<(u64, Result<NormalizedBatch, SourceError>)>,
        scratch: PathBuf,
        quarantine: &mut Quarantine,
    ) -> Result<Extracted, RunError> {
        let unknown = RefCell::new(UnknownKeys::default());
        let enrich = |lines| self.enricher.enrich(lines, &mut unknown.borrow_mut()).map_err(LayerError::from);
        let mut stage = Stage::new(scratch, Box::new(enrich));
        let (mut counts, mut revenue) = (RecordCounts::default(), RevenueByDt::default());
        let (mut next, mut early) = (0, BTreeMap::new());
        for (number, batch) in batches {
            early.insert(number, batch);
            while let Some(batch) = early.remove(&next) {
                next += 1;
                let batch = batch?;
                counts.absorb(&batch.counts);
                revenue.absorb(&batch.revenue);
                quarantine.push(&batch.drops)?;
                stage.push(batch.rows.finish().map_err(LayerError::from)?)?;
                self.observer.extracted(&counts, &self.access.counters.counts());
            }
            if let Some(stop) = self.access.cancel.stopped() {
                return Err(RunError::Interrupted(stop));
            }
        }
        let (lines, orders) = stage.finish()?;
        Ok(Extracted { lines, orders, unknown: unknown.into_inner(), counts, revenue })
    }
}
