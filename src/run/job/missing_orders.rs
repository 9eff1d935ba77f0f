//! Whether a run may delete orders that its source no longer has, and how many. Looks none up, and deletes none.

use std::collections::BTreeMap;

use super::{Job, opening::Base};
use crate::{
    coverage::OrderSource,
    layer::{DeletionScope, Deletions, MissingShare, PartitionEntry},
    model::{Dt, Window},
    run::{
        RunError,
        deletions::{self, DeletionPlan},
        extract::Extracted,
        ledger,
    },
    settings::{Shop, Source},
};

impl Job<'_> {
    /// Fails if missing orders are to be deleted from a layer that has orders of other sources.
    pub(super) fn require_one_source(&self, orders: &Source, base: &mut Base) -> Result<(), RunError> {
        if self.settings.deletions.mode.is_none() {
            return Ok(());
        }
        let own = OrderSource::from(&ledger::identity(orders, self.settings));
        let Base { opened, catalog, .. } = base;
        let (head, shop) = (opened.number(), self.settings.shop.as_ref());
        catalog.state.order_sources = Some(deletions::sources_of_layer(&self.output, head, &catalog.state, &own, shop)?);
        Ok(())
    }

    /// Settles whether the run may delete what it has not read. Says so if it may not.
    pub(super) fn plan_deletions(&mut self, orders: &Source, window: Window, before: BTreeMap<Dt, PartitionEntry>, extracted: &Extracted) {
        let settings = self.settings.deletions;
        let Some(mode) = settings.mode else { return };
        if let Some(why) = deletions::doubt(extracted) {
            tracing::warn!(why, "orders that the source no longer has are not looked for: nothing is deleted");
            self.summary.deletions.deletions_refused = Some(why);
            return;
        }
        let asked = deletions::asked_interval(window, orders, self.summary.started_at);
        let id_prefix = self.settings.shop.as_ref().map(Shop::id_prefix);
        self.deletions = asked.map(|window| DeletionPlan::new(DeletionScope { id_prefix, mode, limit: settings.limit, window }, before));
    }

    /// The orders to delete, counted.
    pub(super) fn within_limit(&mut self, found: Option<Result<Deletions, MissingShare>>) -> Result<Option<Deletions>, RunError> {
        match (found, &self.deletions) {
            (Some(Ok(deletions)), _) => {
                deletions::count(&deletions, &mut self.summary.deletions);
                Ok(Some(deletions))
            }
            (Some(Err(share)), Some(plan)) => {
                let error = plan.too_many(share);
                self.summary.deletions.deletions_refused = Some(error.to_string());
                Err(error)
            }
            _ => Ok(None),
        }
    }
}
