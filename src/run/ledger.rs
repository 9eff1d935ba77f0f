//! Where the ledger of coverage is kept: in the record of the newest commit, or, where the state was lost, in the reports.
//!
//! What coverage is, and what follows from it, is `coverage`'s.

use reqwest::Url;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    coverage::{Interval, Ledger, LoadedInterval, SourceIdentity},
    layer::{OpenedLayer, StateOrigin},
    model::{UtcMicros, Window, parse_time_text},
    net::redact,
    report::{self, CommandName, Summary},
    settings::{Location, Settings, Shop, Skus, Source},
    store::{Output, StoreError},
};

/// The name of a profile that has none.
const DEFAULT_PROFILE: &str = "default";

/// The ledger of a layer; where its state was lost, as the reports tell it.
///
/// # Errors
/// I/O errors.
pub(super) fn read(output: &Output, opened: &OpenedLayer) -> Result<Ledger, StoreError> {
    if opened.origin == StateOrigin::Missing || (opened.origin == StateOrigin::BeforeCommits && opened.state.coverage.sources.is_empty()) {
        return rebuild(output);
    }
    Ok(opened.state.coverage.clone())
}

/// The ledger of an output.
///
/// # Errors
/// I/O errors; in a bucket also a damaged record.
pub(super) fn of_output(output: &Output) -> Result<Ledger, StoreError> {
    read(output, &OpenedLayer::open(output)?)
}

/// The ledger as the reports of all runs tell it, in the order in which they ran, without those that were undone.
fn rebuild(output: &Output) -> Result<Ledger, StoreError> {
    let mut ledger = Ledger::default();
    let runs: Vec<Summary> = report::recorded_summaries(output)?.collect::<Result<_, _>>()?;
    let undone = report::undone_runs(&runs);
    for run in runs.iter().rev().filter(|run| adds_to_coverage(run) && !undone.contains_key(&run.run_id)) {
        if let Some((identity, loaded)) = loaded_by(run) {
            ledger.record(&identity, loaded, run.completeness.orders.as_ref().map_or(run.records.records_read, |orders| orders.read));
        }
    }
    Ok(ledger)
}

/// Whether a run has covered its window.
pub(super) fn adds_to_coverage(run: &Summary) -> bool {
    let is_load = matches!(run.command, CommandName::Run | CommandName::Backfill);
    is_load && run.has_loaded() && !run.completeness.is_failed()
}

/// What a run has loaded of its source, as its report tells it; `None` if it counts for no coverage.
pub(super) fn loaded_by(run: &Summary) -> Option<(SourceIdentity, LoadedInterval)> {
    let window = Window { since: run.since.max(run.shown_since), until: run.until };
    let in_window = run.records.records_read.saturating_sub(run.records.records_out_of_window);
    Some((run.identity.clone()?, loaded(window, run.started_at, &run.run_id, in_window, &run.rules)?))
}

/// What makes a source the same source (contract, Terms). The name of a shop belongs to it.
pub(super) fn identity(source: &Source, settings: &Settings) -> SourceIdentity {
    let prefix = settings.shop.as_ref().map(Shop::id_prefix).unwrap_or_default();
    let profile = source.profile_name.clone().unwrap_or_else(|| DEFAULT_PROFILE.to_owned());
    SourceIdentity { source: format!("{prefix}{}", source_name(source)), profile, cursor: settings.cursor.column().to_owned() }
}

/// Whether a command with these settings, and no option more, reads the orders of a source.
pub fn is_configured(identity: &SourceIdentity, settings: &Settings) -> bool {
    let is_of = |shop: &String| identity.source.strip_prefix(shop.as_str()).is_some_and(|rest| rest.starts_with(':'));
    match &settings.orders {
        Some(orders) => self::identity(orders, settings) == *identity,
        // In a layer of shops, the settings as a whole have no source.
        None => settings.shops.iter().any(is_of),
    }
}

/// What a source is called: its name in the settings, else its location without credentials and window parameters.
pub(super) fn source_name(source: &Source) -> String {
    source.name.clone().unwrap_or_else(|| match &source.location {
        Location::Http(url) => without_window(url, source),
        Location::Files(pattern) => pattern.clone(),
        Location::Bucket(objects) => objects.to_string(),
    })
}

/// A URL without credentials and without a window: without the parameters that its profile writes one into, and without times.
fn without_window(url: &Url, source: &Source) -> String {
    let mut plain = url.clone();
    let kept: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, value)| !is_window(name, value, source))
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    plain.set_query(None);
    if !kept.is_empty() {
        plain.query_pairs_mut().extend_pairs(kept);
    }
    redact::url(&plain)
}

/// Whether a parameter of a URL is a window: its profile writes one into it, or it is a time.
fn is_window(name: &str, value: &str, source: &Source) -> bool {
    let filter = &source.profile.http.filter;
    let own = [&filter.since, &filter.until, &filter.updated_since, &filter.updated_until];
    own.iter().any(|own| own.as_deref() == Some(name)) || parse_time_text(value).is_some()
}

/// The name of a parameter of a source's own URL that is a window, which its identity leaves out.
pub(super) fn window_parameter(source: &Source) -> Option<String> {
    let Location::Http(url) = &source.location else { return None };
    url.query_pairs().find(|(name, value)| is_window(name, value, source)).map(|(name, _)| name.into_owned())
}

/// A fingerprint of all that decides which rows a record becomes. Where it changes, a backfill loads its chunks again.
pub(super) fn rules(settings: &Settings, source: &Source) -> String {
    let profile = &source.profile;
    let rules = format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        profile.records,
        profile.fields,
        profile.line_fields,
        profile.lines,
        profile.skip,
        profile.skip_lines,
        profile.zone,
        settings.fact_columns,
        settings.merge,
        settings.repeated_sku
    );
    // Nothing is added without a shop, totals or refunds: what was loaded stays done.
    let own_skus = settings.shop.as_ref().filter(|shop| shop.skus == Skus::OfShop).map_or("", |_| " own_skus");
    let totals = profile.totals.as_ref().map(|totals| format!(" {totals:?}")).unwrap_or_default();
    let refunds = profile.refunds.as_ref().map(|refunds| format!(" {refunds:?}")).unwrap_or_default();
    format!("{:016x}", xxh3_64(format!("{rules}{own_skus}{totals}{refunds}").as_bytes()))
}

/// What a run of a window has loaded.
pub(super) fn loaded(window: Window, started_at: UtcMicros, run_id: &str, records: u64, rules: &str) -> Option<LoadedInterval> {
    Some(LoadedInterval {
        interval: Interval::of_window(window, started_at)?,
        run_id: run_id.to_owned(),
        loaded_at: started_at.rfc3339(),
        records: Some(records),
        rules: rules.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Cursor, Filter, HttpProfile, Profile};

    #[test]
    fn a_source_is_known_by_its_name_or_its_location_without_window_and_secrets() {
        let http = HttpProfile { filter: Filter { since: Some("after".into()), ..Filter::default() }, ..HttpProfile::default() };
        let profile = Profile { http, ..Profile::default() };
        let source = |location: &str| Source { profile: profile.clone(), ..location.parse::<Location>().unwrap().into() };
        let settings = Settings::plain(std::path::PathBuf::from("output"));
        let name = |source: &Source| identity(source, &settings).source;
        let plain = "https://h/o?status=any";
        assert_eq!(name(&source("https://h/o?status=any&after=2026-01-01")), plain);
        assert_eq!(name(&source(plain)), plain);
        assert_eq!(name(&source("https://h/o?status=any&from=2026-01-01&to=2026-02-01T00:00:00Z")), plain);
        assert_ne!(name(&source("https://h/o?status=any&shop=2")), plain);
        assert!(!name(&source("https://h/o?api_key=hush")).contains("hush"));
        assert_eq!(name(&source("export/*.ndjson")), "export/*.ndjson");
        assert_eq!(name(&Source { name: Some("shop".into()), ..source(plain) }), "shop");
        let by_update = Settings { cursor: Cursor::Updated, ..settings.clone() };
        assert_eq!(identity(&source(plain), &by_update).cursor, "updated_at");
        let of_shop = Settings { shop: Some(Shop { name: "de".into(), skus: Skus::OfCompany }), ..settings.clone() };
        assert_eq!(identity(&source(plain), &of_shop).source, format!("de:{plain}"));
        let own_skus = Settings { shop: Some(Shop { name: "de".into(), skus: Skus::OfShop }), ..settings.clone() };
        assert_ne!(rules(&of_shop, &source(plain)), rules(&own_skus, &source(plain)));
        assert_eq!(window_parameter(&source("https://h/o?status=any&after=x")).as_deref(), Some("after"));
        assert_eq!(window_parameter(&source("https://h/o?from=2026-01-01")).as_deref(), Some("from"));
        assert_eq!((window_parameter(&source(plain)), window_parameter(&source("o.ndjson"))), (None, None));
    }
}
