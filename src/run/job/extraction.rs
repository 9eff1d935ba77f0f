//! Reads what a run needs of its sources, the dimensions and the orders, and says what of it may not have been meant so.
//!
//! How records become lines is in `run::extract`.

use std::path::PathBuf;

use super::{Job, opening::Base, orders::RunOrders, request::OrdersFrom};
use crate::{
    join::Enricher,
    model::{ErasedUsers, Reason, Window},
    normalize::{DifferingRefunds, Mapping, RecordCounts, RecordNormalizer, RecordsOf, RepeatedRefund, UserIds},
    report::ErasedCounts,
    run::{
        RunError, by_settings,
        completeness::certify,
        extract::{Erasure, Extracted, Extraction, Input, KeptRecords, OddRefunds, OrdersWithoutLines},
        members::{Dimensions, MemberReader, without_addresses_of},
        observer::StageName,
        shape,
    },
    settings::{MergeBy, RepeatedSku, Source},
    source::{Proof, Query, SourceError},
};

/// What a run knows of users and products when it reads its orders.
#[derive(Clone, Copy)]
pub(super) struct KnownMembers<'a> {
    pub(super) dimensions: &'a Dimensions,
    /// The users who were erased.
    pub(super) erased: &'a ErasedUsers,
}

impl Job<'_> {
    pub(super) fn dimensions(&mut self, base: &Base) -> Result<Dimensions, RunError> {
        self.enter(StageName::Dimensions);
        let mut completeness = std::mem::take(&mut self.summary.completeness);
        let (stored, erased) = (&base.catalog.state.dimensions, &base.catalog.state.erased);
        let reader = MemberReader { settings: self.settings, output: &self.output, access: self.access(), stored, erased };
        let dimensions = reader.dimensions(&mut completeness);
        self.summary.completeness = completeness;
        if let Ok(dimensions) = &dimensions {
            self.summary.erased.users_erased = dimensions.users_erased;
        }
        dimensions
    }

    pub(super) fn extract(
        &mut self,
        orders: &RunOrders,
        window: Window,
        known: KnownMembers<'_>,
        scratch: PathBuf,
        kept: KeptRecords<'_>,
    ) -> Result<Extracted, RunError> {
        self.enter(StageName::Extract);
        let RunOrders { source: orders, raw, withheld } = orders;
        let KnownMembers { dimensions, erased } = known;
        let erased = &without_addresses_of(erased, &dimensions.users);
        let enricher = Enricher::new(&dimensions.users, &dimensions.products, &self.settings.enrich)?;
        let mapping = self.mapping(orders);
        let shape = shape::of_mapped(&mapping, &orders.profile);
        let normalizer = RecordNormalizer::configured(&mapping, window);
        let normalizer = if self.settings.deletions.mode.is_some() { normalizer.noting_orders() } else { normalizer };
        let input = match raw {
            Some(raw) => Input::Raw { raw, output: &self.output },
            None => Input::Source {
                orders: &orders.location,
                query: Query { window, cursor: self.settings.cursor, proof: self.proof(), ..Query::all(orders, &shape) },
            },
        };
        let extraction = Extraction {
            input,
            settings: self.settings,
            normalizer: &normalizer,
            enricher: &enricher,
            access: self.access(),
            observer: self.request.observer,
            without_lines: self.orders_without_lines(),
            shape_watch: self.shape_watch(),
            erasure: (!erased.is_empty()).then(|| Erasure { users: erased, ids: UserIds::of(&mapping) }),
        };
        self.counters.begin_orders();
        let extracted = extraction.run(scratch, kept)?;
        self.summary.records = extracted.counts.clone();
        self.summary.erased = ErasedCounts { users_erased: self.summary.erased.users_erased, ..extracted.erased };
        self.summary.erased.records_withheld += withheld;
        let ErasedCounts { users_erased, lines_erased, records_withheld } = self.summary.erased;
        if users_erased + lines_erased + records_withheld > 0 {
            tracing::info!(users_erased, lines_erased, records_withheld, "users who were erased, and their addresses, were left out");
        }
        self.summary.completeness.orders = Some(extracted.completeness.clone());
        certify(&orders.location, &extracted.completeness, self.settings)?;
        if let Some(seems) = &extracted.no_record_is_json {
            let (location, records) = (orders.location.to_string(), extracted.counts.records_read);
            return Err(SourceError::NoRecordIsJson { location, records, seems: seems.clone() }.into());
        }
        self.summary.rows.duplicates_dropped += extracted.counts.lines_summed;
        tracing::info!(
            records_read = extracted.counts.records_read,
            records_dropped = self.summary.records_dropped(),
            "the source has been read"
        );
        self.warn_of_what_was_read(&extracted);
        Ok(extracted)
    }

    /// How records become rows.
    pub(super) fn mapping<'m>(&'m self, orders: &'m Source) -> Mapping<'m> {
        let records = match self.request.orders {
            OrdersFrom::Quarantine(_) => RecordsOf::Quarantine,
            OrdersFrom::Source | OrdersFrom::Raw(_) => RecordsOf::Source,
        };
        Mapping { records, ..by_settings::mapping(self.settings, &orders.profile) }
    }

    /// What is deleted is deleted for what the list does not have.
    fn proof(&self) -> Proof {
        if self.settings.deletions.mode.is_some() { Proof::TwoReadings } else { Proof::OneReading }
    }

    fn orders_without_lines(&self) -> OrdersWithoutLines {
        match (self.settings.merge, self.request.orders) {
            (MergeBy::Order, OrdersFrom::Source | OrdersFrom::Raw(_)) => OrdersWithoutLines::Versions,
            (MergeBy::Order, OrdersFrom::Quarantine(_)) | (MergeBy::Line, _) => OrdersWithoutLines::DroppedOnly,
        }
    }

    /// Says what of the source may not have been meant so.
    fn warn_of_what_was_read(&self, extracted: &Extracted) {
        let counts = &extracted.counts;
        warn_of_refunds(counts, &extracted.odd_refunds);
        let refunds = counts.refunds_dropped;
        if refunds > 0 {
            tracing::warn!(
                refunds,
                "refunds were dropped: each needs an id, a time, and an amount or lines with amounts, all readable; those that come by a request of their own are not in files of orders"
            );
        }
        let lines = counts.decimal_quantities;
        if lines > 0 {
            let way_out = "`fact.quantity = \"decimal\"` in etl.toml keeps them";
            tracing::warn!(lines, "lines were dropped because their quantities have decimals: {way_out}");
        }
        let lines = counts.quantity_sums_out_of_range;
        if lines > 0 {
            tracing::warn!(
                lines,
                "lines were dropped (invalid_quantity) because the sum of the quantities of their sku does not fit the column `quantity`"
            );
        }
        let lines = counts.other_currencies;
        if lines > 0 {
            tracing::warn!(
                lines,
                "lines were dropped (invalid_price) because their currency is not that of their order, or their order has none and its lines name several"
            );
        }
        if self.settings.has_unknown_money() {
            tracing::warn!(
                "`fact.money = \"lines\"`: the profile of the orders names none of these amounts, so that their columns are empty"
            );
        }
        let orders = counts.of(Reason::EmptyItems);
        if orders > 0 && self.orders_without_lines() == OrdersWithoutLines::Versions {
            tracing::warn!(orders, "orders have no lines: where the list is there and empty, rows that the layer has of them go");
        }
        let repeated_skus = counts.repeated_skus;
        if repeated_skus > 0 {
            let outcome = match self.settings.repeated_sku {
                RepeatedSku::Last => "the later line wins",
                RepeatedSku::Sum => "their quantities and totals are added up",
            };
            tracing::warn!(repeated_skus, "skus that stand on more than one line of their record: {outcome}");
        }
    }
}

/// Says which refunds their order lists more than once, and which orders say another sum. Names those for which money may be missing.
fn warn_of_refunds(counts: &RecordCounts, odd: &OddRefunds) {
    let same = counts.refunds_repeated.saturating_sub(odd.replaced);
    if same > 0 {
        tracing::warn!(refunds = same, "refunds stand more than once in their order and say the same: each counts once");
    }
    if odd.replaced > 0 {
        let named =
            |refund: &RepeatedRefund| format!("`{}` of order `{}`", refund.refund_id.escape_debug(), refund.order_id.escape_debug());
        let first = odd.first_replaced.iter().map(named).collect::<Vec<_>>().join(", ");
        tracing::warn!(
            refunds = odd.replaced,
            first,
            "refunds stand more than once in their order with different contents: the later one counts, so look at these orders"
        );
    }
    if counts.refund_totals_differing > 0 {
        let named = |order: &DifferingRefunds| {
            format!("order `{}` says {}, and its refunds have {}", order.order_id.escape_debug(), order.stated, order.listed)
        };
        let first = odd.first_differing.iter().map(named).collect::<Vec<_>>().join(", ");
        tracing::warn!(
            orders = counts.refund_totals_differing,
            first,
            "the refunds of orders do not add up to what the orders say was paid back: some may be missing, or not be settled yet"
        );
    }
}
