//! Where the ledger of coverage is kept: in the record of the newest commit, or, where the state was lost, in the reports. What a run
//! adds to it, and by which rules.
//!
//! What coverage is, and what follows from it, is `coverage`'s.

use std::fmt::Debug;

use reqwest::Url;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    coverage::{Interval, Ledger, LoadedInterval, SourceIdentity},
    layer::{OpenedLayer, StateOrigin},
    model::{UtcMicros, Window, parse_time_text},
    net::redact,
    report::{self, CommandName, Summary},
    settings::{Limits, ListRequest, Location, Profile, Settings, Shop, Skus, Source},
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
    let counting = runs.iter().rev().filter(|run| adds_to_coverage(run) && !undone.contains_key(&run.run_id));
    // When a backfill began again stands in no report.
    counting.for_each(|run| cover(&mut ledger, None, run));
    Ok(ledger)
}

/// Adds what a run has loaded to a ledger, unless a source was incomplete. `restart` is the window of the backfill that starts again
/// with this run.
pub(super) fn cover(ledger: &mut Ledger, restart: Option<Interval>, run: &Summary) {
    if run.completeness.is_failed() {
        return;
    }
    if let Some((identity, interval)) = run.identity.as_ref().zip(restart) {
        ledger.restart(identity, interval, run.started_at);
    }
    if let Some((identity, loaded)) = loaded_by(run) {
        ledger.record(&identity, loaded, orders_read(run));
    }
}

/// How many orders a run has received. The reports of versions that knew no completeness count records alone.
fn orders_read(run: &Summary) -> u64 {
    run.completeness.orders.as_ref().map_or(run.records.records_read, |orders| orders.read)
}

/// Whether a run has covered its window.
pub(super) fn adds_to_coverage(run: &Summary) -> bool {
    let is_load = matches!(run.command, CommandName::Run | CommandName::Backfill);
    is_load && run.has_loaded() && !run.completeness.is_failed()
}

/// What a run has loaded of its source, as its report tells it; `None` if it counts for no coverage.
pub(super) fn loaded_by(run: &Summary) -> Option<(SourceIdentity, LoadedInterval)> {
    let window = Window { since: run.since.max(run.shown_since), until: run.until };
    // A report may be of any version, or edited: its counts need not add up.
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

/// A fingerprint of all that decides which rows a record becomes, and whether it is dropped. Where it changes, a backfill loads its
/// chunks again.
///
/// What is as by default adds nothing: what was loaded before a setting existed stays done. Not part of it:
/// - which records the source sends: requests, filters, pagination. A run can't tell what another request would have brought;
/// - the members of the dimensions: a fact carries what was known of them when it was loaded;
/// - the key of masks: no fingerprint of a secret stands in a report.
pub(super) fn rules(settings: &Settings, source: &Source) -> String {
    // Named one by one, so that whoever adds a key decides whether it belongs here.
    let Profile {
        records,
        fields,
        line_fields,
        lines,
        totals,
        refunds,
        skip,
        skip_lines,
        line_request,
        refund_request,
        children,
        zone,
        // An answer that is no list is an error, or an empty list: no row becomes another one.
        record_list: _,
        // Of users and products alone.
        more_request: _,
        // How the source is asked.
        bulk: _,
        http: _,
        // The settings have the value that counts; the cursor is part of the identity.
        repeated_sku: _,
        merge: _,
        quantity: _,
        cursor: _,
        // Which window a run asks for.
        lookback: _,
    } = &source.profile;
    let Settings { fact_columns, merge, repeated_sku, .. } = settings;
    let mut rules = format!(
        "{records:?} {fields:?} {line_fields:?} {lines:?} {skip:?} {skip_lines:?} {zone:?} {fact_columns:?} {merge:?} {repeated_sku:?}"
    );
    if settings.shop.as_ref().is_some_and(|shop| shop.skus == Skus::OfShop) {
        rules.push_str(" own_skus");
    }
    // Each is written as its type is: no two of them can be taken for each other.
    rules.extend(totals.iter().map(|totals| format!(" {totals:?}")));
    rules.extend(refunds.iter().map(|refunds| format!(" {refunds:?}")));
    rules += &unless_default("quantity", &settings.quantity.unwrap_or_default());
    // A file that expands too far is an error.
    let Limits { record_bytes, depth, expansion: _ } = settings.limits;
    rules += &unless_default("limits", &Limits { record_bytes, depth, ..Limits::default() });
    rules += &unless_default("enrich", &settings.enrich);
    rules += &unless_default("children", children);
    rules.extend(line_request.iter().map(|request| format!(" line_request {}", list_of(request))));
    rules.extend(refund_request.iter().map(|request| format!(" refund_request {}", list_of(request))));
    let names = ["user_id"].into_iter().chain(fact_columns.iter().map(|column| column.name.as_str()));
    rules.extend(names.filter_map(|name| Some(format!(" mask {name} {:?}", settings.masks.of(name)?))));
    format!("{:016x}", xxh3_64(rules.as_bytes()))
}

/// A setting that is not as by default.
fn unless_default<T: Default + PartialEq + Debug>(name: &str, value: &T) -> String {
    if *value == T::default() { String::new() } else { format!(" {name} {value:?}") }
}

/// What decides which list of a request belongs to a record. Not the host, nor how the list is paged.
fn list_of(request: &ListRequest) -> String {
    let ListRequest { base, path, id, when, list } = request;
    format!("{} {path:?} {id:?} {when:?} {:?}", base.path(), list.records)
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
    use crate::{
        model::{ExtraType, Level, QuantityType},
        settings::{ChildLines, ColumnValue, Cursor, EnrichColumns, FactColumn, FieldRule, Filter, HttpProfile, Masks, Template},
        source::{Completeness, CompletenessStatus},
    };

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

    fn plain() -> (Settings, Source) {
        (Settings::plain(std::path::PathBuf::from("output")), "o.ndjson".parse::<Location>().unwrap().into())
    }

    #[test]
    fn the_rules_by_default_are_those_of_what_is_stored() {
        let (settings, source) = plain();
        assert_eq!(rules(&settings, &source), "9cf21b4b96772194", "stored coverage would be loaded again");
        // The same, said by name.
        let quantity = Some(QuantityType::Whole);
        assert_eq!(rules(&Settings { quantity, ..settings }, &source), "9cf21b4b96772194");
    }

    #[test]
    fn whatever_decides_which_rows_a_record_becomes_is_a_rule_of_its_own() {
        let (settings, source) = plain();
        let note = FactColumn {
            name: "note".into(),
            level: Level::Record,
            rule: FieldRule::default(),
            kind: ExtraType::Text,
            value: ColumnValue::First,
        };
        let with_note = Settings { fact_columns: vec![note], ..settings.clone() };
        let masks = |text: &str| Settings { masks: Masks::of_toml(text, "unit-test-key-of-masks-0123456789abcdef"), ..with_note.clone() };
        let limits = |limits| Settings { limits, ..settings.clone() };
        let with = |profile: Profile| Source { profile, ..source.clone() };
        let asked = |base: &str, path: &str| ListRequest {
            base: base.parse().unwrap(),
            path: Template::parse(path),
            id: "id".parse().unwrap(),
            when: None,
            list: Box::default(),
        };
        let lines_by = |request| with(Profile { line_request: Some(request), ..Profile::default() });
        let children = ChildLines { parent: "p".parse().unwrap(), id: "id".parse().unwrap(), lists: std::collections::BTreeMap::new() };
        let enrich = EnrichColumns { product_name: "title".into(), ..EnrichColumns::default() };
        let all = [
            rules(&settings, &source),
            rules(&Settings { quantity: Some(QuantityType::Decimal), ..settings.clone() }, &source),
            rules(&limits(Limits { depth: 3, ..Limits::default() }), &source),
            rules(&limits(Limits { record_bytes: 3, ..Limits::default() }), &source),
            rules(&Settings { enrich, ..settings.clone() }, &source),
            rules(&with_note, &source),
            rules(&masks("[columns.user_id]\nmask = \"hmac\"\n"), &source),
            rules(&masks("[columns.note]\nmask = \"hmac\"\n"), &source),
            rules(&masks("[columns.note]\nmask = \"omit\"\n"), &source),
            rules(&settings, &with(Profile { children: Some(children), ..Profile::default() })),
            rules(&settings, &lines_by(asked("https://h/v1", "/orders/{id}/lines"))),
            rules(&settings, &lines_by(asked("https://h/v1", "/orders/{id}/items"))),
            rules(&settings, &with(Profile { refund_request: Some(asked("https://h/v1", "/orders/{id}/lines")), ..Profile::default() })),
        ];
        let distinct: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(distinct.len(), all.len(), "{all:?}");
        // What makes no other row of a record.
        let other_host = lines_by(asked("https://other/v1", "/orders/{id}/lines"));
        assert_eq!(rules(&settings, &other_host), rules(&settings, &lines_by(asked("https://h/v1", "/orders/{id}/lines"))));
        assert_eq!(rules(&masks("[columns.email]\nmask = \"omit\"\n"), &source), rules(&with_note, &source));
        for same in [limits(Limits { expansion: 3, ..Limits::default() }), Settings { threads: 3, unit_slip: None, ..settings.clone() }] {
            assert_eq!(rules(&same, &source), rules(&settings, &source));
        }
    }

    #[test]
    fn a_run_covers_its_window_whatever_its_report_counts() {
        let at = |day| UtcMicros::from_civil((2026, 1, day), 0, 0, 0).unwrap();
        let (settings, source) = plain();
        let identity = identity(&source, &settings);
        let mut run = Summary::new("r1".into(), Some(at(1)), Some(at(2)), at(3));
        run.identity = Some(identity.clone());
        (run.records.records_read, run.records.records_out_of_window) = (2, 3);
        let covered = |run: &Summary| {
            let mut ledger = Ledger::default();
            cover(&mut ledger, None, run);
            ledger.of(&identity).map(|coverage| (coverage.covered(), coverage.loaded[0].records))
        };
        // A report of before completeness: its records are what was read.
        assert_eq!(covered(&run), Some((vec![Interval::new(at(1), at(2)).unwrap()], Some(0))));
        let orders = Completeness { status: CompletenessStatus::Proven, by: None, claimed: None, read: 0, distinct: None, why: None };
        run.completeness.orders = Some(orders.clone());
        assert_eq!(covered(&run), None, "a first run that sees nothing");
        run.completeness.orders = Some(Completeness { status: CompletenessStatus::Failed, read: 2, ..orders.clone() });
        assert_eq!(covered(&run), None, "an incomplete list");
        run.completeness.orders = Some(Completeness { read: 2, ..orders });
        assert!(covered(&run).is_some());
        run.identity = None;
        assert_eq!(covered(&run), None, "a replay, or a demo");
    }
}
