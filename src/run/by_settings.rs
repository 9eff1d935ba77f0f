//! How sources are read, and how their records become rows, as the settings say it: alike for a run and for the commands that only
//! look. Which source it is, and what of it is asked for, is not decided here.

use crate::{
    cancel::Cancel,
    net::Network,
    normalize::{Mapping, RecordsOf},
    settings::{Profile, Settings},
    source::{Access, SourceCounters},
};

/// The access to all sources of the settings.
pub(super) fn access<'a>(settings: &'a Settings, network: &'a Network, counters: &'a SourceCounters, cancel: &'a Cancel) -> Access<'a> {
    Access { http: &settings.http, network, limits: &settings.limits, memory_limit: settings.memory_limit, counters, cancel }
}

/// How records of a profile become rows.
pub(super) fn mapping<'m>(settings: &'m Settings, profile: &'m Profile) -> Mapping<'m> {
    Mapping {
        profile: Some(profile),
        shop: settings.shop.as_ref(),
        columns: &settings.fact_columns,
        cursor: settings.cursor,
        repeated_sku: settings.repeated_sku,
        quantity: settings.quantity.unwrap_or_default(),
        limits: settings.limits,
        masks: Some(&settings.masks),
        records: RecordsOf::Source,
    }
}
