//! What a run needs before it reads anything: credentials, the lease on its days, the layer and its catalog.
//!
//! Knows nothing of the orders that are read, except which days their window may change.

use std::path::Path;

use super::{Job, request::OrdersFrom};
use crate::{
    layer::{Catalog, OpenedLayer, StateOrigin, StoredState, Truth},
    model::{FileFormat, RunId},
    run::{
        RunError, ledger,
        open::{Opening, Overtaken, layer_before_lease, scope_of, settled_layer},
        publish::has_moved,
        window::AskedWindow,
    },
    settings::{Cursor, Settings, Source},
    source::SourceError,
    store::{Scope, places::SideFact},
};

/// The layer that an attempt of a run begins with.
pub(super) struct Base {
    pub(super) opened: OpenedLayer,
    pub(super) catalog: Catalog,
    pub(super) stored: StoredState,
    /// The format of the files of partitions.
    pub(super) format: FileFormat,
}

/// A layer, compared with its files.
struct Compared {
    opened: OpenedLayer,
    catalog: Catalog,
}

/// How often a layer is compared with its files, where others publish all the time. What is taken for a change then is merged again when
/// the run commits.
const LOOKS: usize = 16;

impl Job<'_> {
    /// Fails if credentials that a profile needs are missing: before the first request, and not after an hour.
    pub(super) fn require_credentials(&self) -> Result<(), SourceError> {
        let Settings { orders, users, products, .. } = self.settings;
        let orders = orders.as_ref().filter(|_| self.request.orders == OrdersFrom::Source);
        let sources = [orders, users.as_ref(), products.as_ref()];
        match sources.into_iter().flatten().find_map(Source::missing_credentials) {
            Some(variables) => Err(SourceError::Credentials { variables }),
            None => Ok(()),
        }
    }

    /// Takes the days of the window, and opens the layer.
    pub(super) fn take_output(&mut self, span: &tracing::Span) -> Result<OpenedLayer, RunError> {
        self.output.prepare()?;
        let layer = layer_before_lease(&self.output)?;
        let opening = Opening {
            output: &self.output,
            started_at: self.summary.started_at,
            scope: self.scope(&layer)?,
            wait: self.settings.lock_wait,
            cancel: self.request.cancel,
            layer,
            overtaken: Overtaken::MergedAgain,
        };
        let run_id: RunId = self.summary.run_id.parse().map_err(|_| RunError::Internal("the run has no valid id".into()))?;
        let opened = opening.open(run_id)?;
        self.lease = Some(opened.lease);
        // A run that has written nothing may have taken its new folders back, before this one had a lease.
        self.output.prepare()?;
        if opened.run_id.as_str() != self.summary.run_id {
            span.record("run_id", opened.run_id.as_str());
            self.summary.run_id = opened.run_id.to_string();
        }
        Ok(opened.layer)
    }

    /// The days that the run may change: those of its window, or all.
    fn scope(&self, layer: &OpenedLayer) -> Result<Scope, RunError> {
        let is_of_source = self.request.orders == OrdersFrom::Source;
        let Some(orders) = self.settings.orders.as_ref().filter(|_| is_of_source) else { return Ok(Scope::default()) };
        if self.settings.cursor != Cursor::Created {
            return Ok(Scope::default());
        }
        let ledger = ledger::read(&self.output, layer)?;
        let coverage = ledger.of(&ledger::identity(orders, self.settings));
        let asked = AskedWindow { since: self.request.since, until: self.request.until, lookback: self.settings.lookback };
        Ok(scope_of(asked.resolve(coverage, self.summary.started_at)?))
    }

    pub(super) fn open_catalog(&self, opened: OpenedLayer, scratch: &Path, stored: StoredState) -> Result<Base, RunError> {
        let Compared { opened, catalog } = self.compare_files(opened, scratch, stored)?;
        if catalog.is_rebuilt() && !catalog.state.partitions.is_empty() {
            let partitions = catalog.state.partitions.len();
            match opened.truth(&self.output) {
                Truth::Files => tracing::warn!(partitions, "the state of the layer was missing or damaged, and was rebuilt from curated/"),
                Truth::Log => tracing::warn!(
                    partitions,
                    "the index of orders was missing or damaged, and was rebuilt from the partitions that the newest commit names"
                ),
            }
        } else {
            for dt in catalog.lost() {
                tracing::warn!(%dt, "a published partition is gone: somebody removed it; the layer goes on without it");
            }
            for dt in catalog.read_again() {
                tracing::warn!(%dt, "the partition is not as it was published: somebody changed it; it is valid and is used as it is");
            }
            for (fact, dt) in catalog.changed_sides() {
                match fact {
                    SideFact::OrderTotals => {
                        tracing::warn!(%dt, "the totals of the partition's orders are not as they were published: they are used as they are");
                    }
                    SideFact::Refunds => {
                        tracing::warn!(%dt, "the refunds of the day are not as they were published: they are used as they are");
                    }
                }
            }
        }
        let format = catalog.state.format_to_write(self.settings.file_format)?;
        Ok(Base { opened, catalog, stored, format })
    }

    /// Compares the layer with its files. What another run has published meanwhile is nothing that somebody changed: then the newer
    /// layer is compared.
    fn compare_files(&self, mut opened: OpenedLayer, scratch: &Path, stored: StoredState) -> Result<Compared, RunError> {
        let mut looks = 0;
        loop {
            looks += 1;
            if opened.origin != StateOrigin::Log {
                opened.state.coverage = ledger::read(&self.output, &opened)?;
            }
            let catalog = Catalog::open(&self.output, &opened, &self.schema, scratch.join("fresh"), self.request.cancel, stored)?;
            let is_last = stored == StoredState::Rebuild || looks == LOOKS;
            if is_last || catalog.is_as_committed() || !has_moved(&self.output, &opened)? {
                return Ok(Compared { opened, catalog });
            }
            opened = settled_layer(&self.output)?;
        }
    }
}
