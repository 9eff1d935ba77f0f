//! `etl probe`: one page of a source, and what would be made of it. Nothing is written.
//!
//! What it shows is what a run takes: the same reading, the same walk over each record, the same rules. Only proposals are made of a
//! parsed document, and each is tried by those rules before it is shown.

mod advice;
mod line_total;
mod lines;
mod propose;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Serialize;
use serde_json::Value;

use self::{
    advice::{Share, way_out},
    line_total::PricedBy,
    propose::{Document, Known},
};
use super::{RunError, by_settings};
use crate::{
    cancel::Cancel,
    model::{FactRows, FieldPath, Level, Line, MinorUnits, QuantityType, Reason, Window, counted},
    net::Network,
    normalize::{LINE_FIELDS, Mapping, RECORD_FIELDS, RecordNormalizer, RecordViewer, SeenRecord, SeenValue},
    settings::{Cursor, Pagination, Profile, RepeatedSku, ScaleText, Settings, SettingsError, Source, Units, WhichLists, toml_text},
    source::{self, Access, PageKind, ProbedPage, Query, SourceCounters},
};

/// Records of the page that are looked at.
const LOOKED_AT: usize = 200;

/// Values that are shown of a column.
const SHOWN: usize = 3;

/// What would be made of a source.
#[derive(Debug, Serialize)]
pub struct Probe {
    /// Where it is.
    pub location: String,
    /// Where its records stand, and how many there are on the page.
    pub records_at: Option<String>,
    /// How many of them were looked at.
    pub records: usize,
    /// Which pagination was recognised.
    pub pagination: Evidence,
    /// Whether a run could show that it has everything, and by what.
    pub completeness: String,
    /// What a run asks the source for, with a window.
    pub window: String,
    /// Each column, in the order of the fact table.
    pub columns: Vec<Found>,
    /// Records that would be processed.
    pub records_processed: u64,
    /// Records that the profile skips.
    pub records_skipped: u64,
    /// Rows that they would make, each of another order and sku.
    pub rows: u64,
    /// What would be dropped, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// What to do about it, by reason.
    pub advice: BTreeMap<&'static str, &'static str>,
    /// What else would be lost, in words.
    pub notes: Vec<String>,
    /// Whether a run would load the page, but for a few records.
    pub is_ready: bool,
    /// The first rows, as `order_id, sku, quantity, unit_price, created_at`.
    pub sample: Vec<String>,
    /// A profile to paste, where the one at hand leaves something to be said.
    pub profile: Option<String>,
}

/// Which pagination, and by what.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Evidence {
    /// Its name.
    pub kind: String,
    /// What speaks for it.
    pub because: String,
    /// The lines of a profile that says so, where the default would not do.
    #[serde(skip)]
    pub toml: Option<String>,
}

/// A column, and where its values stand.
#[derive(Debug, Serialize)]
pub struct Found {
    /// The column.
    pub column: &'static str,
    /// Whether it is the record's or a line's.
    pub level: &'static str,
    /// The path that has values.
    pub path: Option<String>,
    /// In how many of the records, or of the lines.
    pub found_in: usize,
    /// Of how many.
    pub of: usize,
    /// The first values.
    pub values: Vec<String>,
    /// Where the values may stand, where no path has any, or where another path says more.
    pub proposed: Option<Proposal>,
}

/// A path that may be meant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Proposal {
    /// The path.
    pub path: String,
    /// Why.
    pub because: String,
    /// What else a profile must say of it.
    #[serde(skip)]
    pub more: Option<String>,
    /// Paths that serve where this one has nothing.
    #[serde(skip)]
    pub others: Vec<String>,
}

/// Fetches one page of the orders and shows what would be made of it.
///
/// # Errors
/// No orders are named, or the source can't be read.
pub fn probe(settings: &Settings, cancel: &Cancel) -> Result<Probe, RunError> {
    let orders = settings.orders.as_ref().ok_or(SettingsError::NoOrders)?;
    let counters = SourceCounters::default();
    let network = Network::new(&settings.http);
    let access = by_settings::access(settings, &network, &counters, cancel);
    let probing = Probing { settings, orders, access };
    let page = probing.page(&orders.profile)?;
    Ok(probing.examine(&page))
}

/// A source that is probed.
struct Probing<'a> {
    settings: &'a Settings,
    orders: &'a Source,
    access: Access<'a>,
}

/// What is proposed besides paths.
#[derive(Clone, Copy, Default)]
struct MoreSettings {
    repeated_sku: Option<RepeatedSku>,
    quantity: Option<QuantityType>,
}

/// The records of a page as a run sees them, and as documents.
struct LookedAt<'r> {
    seen: Vec<SeenRecord<'r>>,
    documents: Vec<Value>,
}

impl<'r> LookedAt<'r> {
    fn by(mapping: &Mapping<'_>, raw: &'r [Vec<u8>]) -> LookedAt<'r> {
        let viewer = RecordViewer::new(mapping);
        let look = |record: &'r Vec<u8>| Some((viewer.look(record)?, serde_json::from_slice::<Value>(record).ok()?));
        let (seen, documents) = raw.iter().filter_map(look).unzip();
        LookedAt { seen, documents }
    }

    /// The lines of each record, as documents.
    fn lines(&self) -> Vec<Vec<Value>> {
        let of_record =
            |record: &SeenRecord<'_>| record.lines.iter().filter_map(|line| serde_json::from_str::<Value>(line.text).ok()).collect();
        self.seen.iter().map(of_record).collect()
    }

    /// The values of a field, by its place in [`RECORD_FIELDS`].
    fn field(&self, place: usize) -> Vec<Option<&SeenValue>> {
        self.seen.iter().map(|record| record.fields.get(place).and_then(Option::as_ref)).collect()
    }

    /// The values of a field of the lines, by its place in [`LINE_FIELDS`].
    fn line_field(&self, place: usize) -> Vec<Option<&SeenValue>> {
        let lines = self.seen.iter().flat_map(|record| &record.lines);
        lines.map(|line| line.fields.get(place).and_then(Option::as_ref)).collect()
    }

    /// The currencies of the records.
    fn currencies(&self) -> BTreeSet<String> {
        let place = RECORD_FIELDS.iter().position(|(column, _)| *column == "currency");
        let values = place.map(|place| self.field(place)).unwrap_or_default();
        values.into_iter().flatten().map(|value| value.text.clone()).collect()
    }
}

impl Probing<'_> {
    /// The first page, as a profile reads it.
    fn page(&self, profile: &Profile) -> Result<ProbedPage, RunError> {
        let shape = super::shape::of_orders(profile);
        let orders = Source { profile: profile.clone(), ..self.orders.clone() };
        let query = Query { cursor: self.settings.cursor, ..Query::all(&orders, &shape) };
        source::probe(&orders.location, &query, &self.access).map_err(|error| super::stopped_or(self.access.cancel, error.into()))
    }

    fn mapping<'m>(&'m self, profile: &'m Profile, more: MoreSettings) -> Mapping<'m> {
        Mapping {
            repeated_sku: more.repeated_sku.unwrap_or(self.settings.repeated_sku),
            quantity: more.quantity.or(self.settings.quantity).unwrap_or_default(),
            ..by_settings::mapping(self.settings, profile)
        }
    }

    fn examine(&self, page: &ProbedPage) -> Probe {
        let orders = self.orders;
        // For a look only: what is loaded never goes through such a tree.
        let body: Value = page.body.as_deref().and_then(|body| serde_json::from_slice(body).ok()).unwrap_or(Value::Null);
        let Records { at: records_at, proposed: proposed_records, raw } = records(orders, page, &body);
        let pagination = evidence(&orders.profile.http.pagination, page, &body, records_at.as_deref().or(proposed_records.as_deref()));
        let paste = |columns: &[Found], more: MoreSettings| paste(orders, proposed_records.as_deref(), columns, &pagination, more);

        let mut columns = {
            let looked = LookedAt::by(&self.mapping(&orders.profile, MoreSettings::default()), &raw);
            self.record_columns(&looked, page.kind)
        };
        let profile = merged(&orders.profile, paste(&columns, MoreSettings::default()).as_deref());
        // Which rows are one order depends on what was proposed.
        let is_regrouped = page.kind == PageKind::Table && profile.fields != orders.profile.fields;
        let again = if is_regrouped { Some(self.page(&profile)) } else { None };
        let refusal = again.as_ref().and_then(|again| again.as_ref().err()).map(|error| format!("a run would fail: {error}"));
        let again = again.and_then(Result::ok).and_then(|page| page.records);
        let raw = again.map_or(raw, |records| records.into_iter().take(LOOKED_AT).collect());

        let looked = LookedAt::by(&self.mapping(&profile, MoreSettings::default()), &raw);
        let of_lines = self.line_columns(&looked, &columns, page.kind);
        columns.extend(of_lines);
        let mut more = MoreSettings::default();
        let mut pasted = paste(&columns, more);
        // As it would be with what is proposed, so that the next step can be judged.
        let mut outcome = self.normalized(&merged(&orders.profile, pasted.as_deref()), more, &raw);
        let is_line = profile.lines.which == WhichLists::Record;
        if outcome.repeated_skus > 0 && self.settings.repeated_sku == RepeatedSku::Last && !is_line {
            more.repeated_sku = Some(RepeatedSku::Sum);
        }
        if outcome.decimal_quantities > 0 {
            more.quantity = Some(QuantityType::Decimal);
        }
        if more.repeated_sku.is_some() || more.quantity.is_some() {
            pasted = paste(&columns, more);
            outcome = self.normalized(&merged(&orders.profile, pasted.as_deref()), more, &raw);
        }
        let is_ready = outcome.is_ready() && refusal.is_none();
        let notes = outcome.notes().into_iter().chain(refusal).collect();
        Probe {
            location: orders.location.to_string(),
            records_at: records_at.or_else(|| proposed_records.as_ref().map(|path| format!("{path} (proposed)"))),
            records: raw.len(),
            completeness: completeness(orders, page),
            window: window(self.settings.cursor, orders, page),
            columns,
            records_processed: outcome.processed,
            records_skipped: outcome.skipped,
            rows: outcome.rows,
            dropped: outcome.dropped,
            advice: outcome.advice,
            notes,
            is_ready,
            sample: outcome.sample,
            profile: pasted,
            pagination: pagination.clone(),
        }
    }

    /// The columns of the record, with what is proposed for those that find nothing.
    fn record_columns(&self, looked: &LookedAt<'_>, kind: PageKind) -> Vec<Found> {
        let document = Document::of(&looked.documents);
        let mapping = self.mapping(&self.orders.profile, MoreSettings::default());
        let places = 0..RECORD_FIELDS.len();
        let mut taken = served(places.flat_map(|place| looked.field(place)));
        let currencies = looked.currencies();
        let mut columns = Vec::new();
        for (place, (column, _)) in RECORD_FIELDS.into_iter().enumerate() {
            let known = Known { kind, taken: &taken, currencies: &currencies };
            let found = if column == "lines" {
                let tried = mapping.paths_of(Level::Record, column);
                Found { proposed: lines::propose(&looked.seen, &looked.documents, &tried, &known), ..lines::found(&looked.seen, kind) }
            } else {
                let found = found(column, Level::Record, &looked.field(place));
                let proposed = if found.path.is_none() { document.propose(column, &known) } else { None };
                Found { proposed, ..found }
            };
            taken.extend(found.proposed.as_ref().and_then(|proposal| proposal.path.parse::<FieldPath>().ok()));
            columns.push(found);
        }
        columns
    }

    /// The columns of the lines, likewise. `of_record` are those of their records.
    fn line_columns(&self, looked: &LookedAt<'_>, of_record: &[Found], kind: PageKind) -> Vec<Found> {
        let lines_of_orders = looked.lines();
        let lines = lines_of_orders.concat();
        let document = Document::of(&lines);
        let mut taken = served((0..LINE_FIELDS.len()).flat_map(|place| looked.line_field(place)));
        // A line that is a row, or its record, has the columns of the record too.
        let is_record = lines::are_records(&looked.seen);
        if kind == PageKind::Table || is_record {
            taken.extend(served((0..RECORD_FIELDS.len()).flat_map(|place| looked.field(place))));
            taken.extend(of_record.iter().filter_map(|found| found.proposed.as_ref()?.path.parse::<FieldPath>().ok()));
        }
        let currencies = looked.currencies();
        let mut columns = Vec::new();
        for (place, (column, _)) in LINE_FIELDS.into_iter().enumerate() {
            let known = Known { kind, taken: &taken, currencies: &currencies };
            let found = found(column, Level::Line, &looked.line_field(place));
            let proposed = if found.path.is_none() { document.propose(column, &known) } else { None };
            taken.extend(proposed.iter().flat_map(Proposal::paths));
            columns.push(Found { proposed, ..found });
        }
        self.say_more_of_lines(&mut columns, &lines_of_orders, &document);
        columns
    }

    /// Proposes a finer sku, the total of a line and the price of a piece, where the profile says nothing of them.
    fn say_more_of_lines(&self, columns: &mut [Found], lines: &[Vec<Value>], document: &Document<'_>) {
        let rules = &self.orders.profile.line_fields;
        let found = |column: &str| columns.iter().find(|found| found.column == column);
        let path_of = |column: &str| -> Option<FieldPath> {
            let found = found(column)?;
            found.path.as_ref().or_else(|| Some(&found.proposed.as_ref()?.path))?.parse().ok()
        };
        let (quantity, price) = (path_of("quantity"), path_of("unit_price"));
        let priced = price.as_ref().map(|price| PricedBy { quantity: quantity.as_ref(), price });
        // A total has the unit of the price that it is compared with.
        let unit_of_price = match (found("unit_price").and_then(|found| found.proposed.as_ref()), rules.get("unit_price")) {
            (Some(proposal), _) => proposal.more.clone(),
            (None, Some(rule)) => scale(&rule.units),
            (None, None) => None,
        };
        let unit = priced.as_ref().and_then(|priced| line_total::unit_price(lines, document, priced));
        let total = match (&unit, &price, &priced) {
            (Some(unit), Some(price), _) => {
                let because = format!("it is quantity times `{}`", unit.path);
                Some(Proposal { path: price.to_string(), because, more: None, others: Vec::new() })
            }
            (_, _, Some(priced)) => line_total::propose(lines, document, priced),
            _ => None,
        };
        let total = total.map(|total| Proposal { more: unit_of_price.clone(), ..total });
        for found in columns.iter_mut().filter(|found| !rules.contains_key(found.column)) {
            match (found.column, &found.path) {
                ("line_total", None) => found.proposed.clone_from(&total),
                // Beside a total, no price is needed.
                ("unit_price", None) if rules.contains_key("line_total") => found.proposed = None,
                ("unit_price", Some(_)) => found.proposed.clone_from(&unit),
                ("sku", Some(used)) => found.proposed = document.finer_sku(used),
                _ => {}
            }
        }
    }

    /// The page through the real normalizer.
    fn normalized(&self, profile: &Profile, more: MoreSettings, raw: &[Vec<u8>]) -> Normalized {
        let mapping = self.mapping(profile, more);
        let quantity = mapping.quantity;
        let normalizer = RecordNormalizer::configured(&mapping, Window::default());
        let batch = normalizer.normalize(raw.iter().map(Vec::as_slice));
        let counts = &batch.counts;
        let occurred: Vec<(Reason, u64)> =
            Reason::ALL.iter().map(|reason| (*reason, counts.of(*reason))).filter(|(_, count)| *count > 0).collect();
        let decimals = counts.decimal_quantities;
        let mut outcome = Normalized {
            processed: counts.records_processed,
            skipped: counts.records_skipped,
            records: Share { dropped: counts.records_dropped, of: counts.records_read },
            lines: Share { dropped: counts.lines_dropped, of: counts.lines_read },
            dropped: occurred.iter().map(|(reason, count)| (reason.as_str(), *count)).collect(),
            advice: occurred.iter().map(|(reason, _)| (reason.as_str(), way_out(*reason, decimals, quantity))).collect(),
            repeated_skus: counts.repeated_skus,
            decimal_quantities: decimals,
            lines_without_price: counts.prices_defaulted,
            is_line: profile.lines.which == WhichLists::Record,
            rows: 0,
            overwritten: 0,
            sample: Vec::new(),
        };
        let Ok(frame) = batch.rows.finish() else { return outcome };
        let Ok(rows) = FactRows::new(&frame) else { return outcome };
        // A later row of the same order and sku takes the place of an earlier one.
        let keys: HashSet<_> = (0..rows.len()).map(|row| (rows.line(row).order_id, rows.line(row).sku)).collect();
        outcome.rows = keys.len() as u64;
        outcome.overwritten = rows.len().saturating_sub(keys.len()) as u64;
        outcome.sample = (0..rows.len().min(SHOWN)).map(|row| shown(&rows.line(row))).collect();
        outcome
    }
}

/// Where the records of a page are.
struct Records {
    /// By the profile.
    at: Option<String>,
    /// Where they may be.
    proposed: Option<String>,
    /// Their bytes, of as many as are looked at.
    raw: Vec<Vec<u8>>,
}

/// Where the records are by the profile, or else where they may be, and their bytes.
fn records(orders: &Source, page: &ProbedPage, body: &Value) -> Records {
    if let Some(records) = &page.records {
        let at = match (&orders.profile.records, body) {
            _ if page.kind == PageKind::Table => "each row of the table".to_owned(),
            (Some(path), _) if path.steps().is_empty() => "the body itself".to_owned(),
            (Some(path), _) => format!("`{path}`"),
            (None, Value::Object(object)) => {
                let key = object.keys().find(|key| source::RECORD_KEYS.contains(&key.as_str()) && object[*key].is_array());
                key.map_or_else(|| "the body itself".to_owned(), |key| format!("`{key}`"))
            }
            (None, Value::Null) => "each line of the file".to_owned(),
            (None, _) => "the body itself".to_owned(),
        };
        return Records { at: Some(at), proposed: None, raw: records.iter().take(LOOKED_AT).cloned().collect() };
    }
    let Some(path) = propose::list_of_records(body) else { return Records { at: None, proposed: None, raw: Vec::new() } };
    let elements = path.parse::<FieldPath>().ok().and_then(|path| propose::at(body, &path)?.as_array().cloned()).unwrap_or_default();
    let raw = elements.iter().take(LOOKED_AT).map(|element| element.to_string().into_bytes()).collect();
    Records { at: None, proposed: Some(path), raw }
}

/// The paths that serve values.
fn served<'v>(values: impl Iterator<Item = Option<&'v SeenValue>>) -> BTreeSet<FieldPath> {
    values.filter_map(|value| value?.path.clone()).collect()
}

/// A column by its values, one for each record or line.
fn found(column: &'static str, level: Level, values: &[Option<&SeenValue>]) -> Found {
    let mut by_path: BTreeMap<&FieldPath, usize> = BTreeMap::new();
    values.iter().flatten().filter_map(|value| value.path.as_ref()).for_each(|path| *by_path.entry(path).or_default() += 1);
    let found_in = values.iter().flatten().count();
    let most = by_path.into_iter().max_by_key(|(_, count)| *count).map(|(path, _)| path.to_string());
    let mut first: Vec<String> = Vec::new();
    for value in values.iter().flatten() {
        if first.len() < SHOWN && !first.contains(&value.text) {
            first.push(value.text.clone());
        }
    }
    let path = most.or_else(|| (found_in > 0).then(|| "always".to_owned()));
    Found { column, level: level.as_str(), path, found_in, of: values.len(), values: first, proposed: None }
}

/// How a profile writes minor units; `None` for major units.
fn scale(units: &Units) -> Option<String> {
    match units {
        Units::Minor(decimals) if *decimals > 0 => Some(format!("scale = {decimals}")),
        Units::OfCurrency(MinorUnits::Iso4217) => Some("scale = \"currency\"".to_owned()),
        Units::OfCurrency(MinorUnits::Stripe) => Some("scale = \"stripe\"".to_owned()),
        Units::Beside { path, scale } => {
            let read_as = match scale {
                ScaleText::DecimalsOrDivisor => "",
                ScaleText::Decimals => ", as = \"decimals\"",
                ScaleText::Divisor => ", as = \"divisor\"",
            };
            Some(format!("scale = {{ path = {}{read_as} }}", toml_text(&path.to_string())))
        }
        Units::Minor(_) | Units::Major => None,
    }
}

/// A profile with what is proposed over it.
fn merged(profile: &Profile, proposed: Option<&str>) -> Profile {
    let proposed = proposed.and_then(|text| crate::settings::orders_profile(text).ok()).unwrap_or_default();
    let mut merged = profile.clone();
    if proposed.fields.contains_key("lines") {
        merged.lines = proposed.lines;
    }
    merged.fields.extend(proposed.fields);
    merged.line_fields.extend(proposed.line_fields);
    merged
}

/// What a run with a window sends to the source.
fn window(cursor: Cursor, orders: &Source, page: &ProbedPage) -> String {
    let filter = &orders.profile.http.filter;
    let (parameters, column) = match cursor {
        Cursor::Created => ([&filter.since, &filter.until], "created_at"),
        Cursor::Updated => ([&filter.updated_since, &filter.updated_until], "updated_at"),
    };
    let names: Vec<_> = parameters.into_iter().flatten().map(|name| format!("`{name}`")).collect();
    match (page.kind == PageKind::Response, names.is_empty()) {
        (false, _) => format!("on {column}: files are read whole, and rows outside of it are left out"),
        (true, true) => format!("on {column}: the source is not asked for it, so each run reads all orders (see `filter`)"),
        (true, false) => format!("on {column}: sent as {}", names.join(" and ")),
    }
}

/// Whether a run could show that it has everything the source has.
fn completeness(orders: &Source, page: &ProbedPage) -> String {
    let http = &orders.profile.http;
    match (&http.count, page.total) {
        _ if page.kind != PageKind::Response => "can be proven: files are read to their ends".to_owned(),
        (Some(count), _) => format!("can be proven: the profile names a request that counts ({})", count.url.path()),
        (None, Some(total)) => format!("can be proven: the response counts {}", counted(total, "record")),
        (None, None) => match http.pagination {
            Pagination::Auto | Pagination::Link | Pagination::NextUrl { .. } | Pagination::Cursor { .. }
                if page.names_next && page.is_by_position =>
            {
                "can't be proven: its pages are numbered, and nothing counts the records (does the API have a total, a request that counts, \
                 or a cursor? See [orders.count])"
                    .to_owned()
            }
            Pagination::Link | Pagination::NextUrl { .. } | Pagination::Cursor { .. } | Pagination::LastId { .. } => {
                "can be proven: the list is followed until it says that there is no next page".to_owned()
            }
            Pagination::Single => "can be proven: the profile says that one page holds everything".to_owned(),
            _ if page.names_next => "can be proven where the last page says that it is the last".to_owned(),
            _ => "can't be proven: nothing counts the records (does the API have a total, or a request that counts? See [orders.count])"
                .to_owned(),
        },
    }
}

/// Which pagination was recognised, and by what evidence.
fn evidence(configured: &Pagination, page: &ProbedPage, body: &Value, records_at: Option<&str>) -> Evidence {
    let says = |kind: &str, because: String| Evidence { kind: kind.to_owned(), because, toml: None };
    if page.kind != PageKind::Response {
        return says("none", "files are read whole".into());
    }
    match configured {
        Pagination::Auto => {}
        Pagination::Link => return says("link", "the profile says so".into()),
        Pagination::NextUrl { path } => return says("next_url", format!("the profile says so: `{path}` of the body")),
        Pagination::Cursor { path, parameter, .. } => {
            return says("cursor", format!("the profile says so: `{path}`, sent back as `{parameter}`"));
        }
        Pagination::LastId { id, parameter, .. } => {
            return says("last_id", format!("the profile says so: `{id}` of the last record, sent back as `{parameter}`"));
        }
        Pagination::Page { parameter, .. } => return says("page", format!("the profile says so: numbered by `{parameter}`")),
        Pagination::Offset { parameter, .. } => return says("offset", format!("the profile says so: `{parameter}` records passed over")),
        Pagination::Single => return says("single", "the profile says so: one page holds everything".into()),
    }
    if let Some(next) = &page.link_next {
        return says("link", format!("a Link header names the next page: {next}"));
    }
    propose::pagination(body, records_at).unwrap_or_else(|| {
        says(
            "page",
            "nothing in the response speaks of other pages: `page` is counted up from 1, with `per_page`, until a page is empty".into(),
        )
    })
}

/// The profile that says what the one at hand leaves unsaid; `None` where nothing is.
fn paste(orders: &Source, records: Option<&str>, columns: &[Found], pagination: &Evidence, more: MoreSettings) -> Option<String> {
    let mut said = String::new();
    if let Some(records) = records {
        said.push_str(&format!("records = {}\n", toml_text(records)));
    }
    if let Some(toml) = &pagination.toml {
        said.push_str(&format!("pagination = {toml}\n"));
    }
    if more.repeated_sku == Some(RepeatedSku::Sum) {
        said.push_str("repeated_sku = \"sum\"\n");
    }
    for (level, table) in [(Level::Record, "fields"), (Level::Line, "line_fields")] {
        let of_level = columns.iter().filter(|found| found.level == level.as_str());
        let proposed: String = of_level.filter_map(Found::proposed_line).collect();
        if !proposed.is_empty() {
            said.push_str(&format!("\n[orders.{table}]\n{proposed}"));
        }
    }
    if more.quantity == Some(QuantityType::Decimal) {
        said.push_str("\n[fact]\nquantity = \"decimal\"\n");
    }
    if said.is_empty() {
        return None;
    }
    let profile = orders.profile_name.as_ref().map(|name| format!("profile = {}\n", toml_text(name))).unwrap_or_default();
    Some(format!("[orders]\nlocation = {}\n{profile}{said}", toml_text(&orders.location.to_string())))
}

impl Found {
    /// The line of a profile that says what is proposed.
    fn proposed_line(&self) -> Option<String> {
        let Proposal { path, more, others, .. } = self.proposed.as_ref()?;
        // The lists of lines are no paths of one value: what was found stays out.
        let used = self.path.as_ref().filter(|used| self.column != "lines" && *used != "always");
        let paths: Vec<String> =
            std::iter::once(path).chain(others).chain(used.filter(|_| more.is_none())).map(|path| toml_text(path)).collect();
        let is_one = paths.len() == 1;
        let listed = if is_one { paths.concat() } else { format!("[{}]", paths.join(", ")) };
        let column = self.column;
        Some(match more {
            Some(more) if is_one => format!("{column} = {{ path = {listed}, {more} }}\n"),
            Some(more) => format!("{column} = {{ paths = {listed}, {more} }}\n"),
            None => format!("{column} = {listed}\n"),
        })
    }
}

impl Proposal {
    /// The paths that it names.
    fn paths(&self) -> Vec<FieldPath> {
        std::iter::once(&self.path).chain(&self.others).filter_map(|path| path.parse().ok()).collect()
    }
}

/// A row in short.
fn shown(line: &Line<'_>) -> String {
    let currency = line.currency.unwrap_or("(no currency)");
    format!("{}, {}, {} × {} {currency}, {}", line.order_id, line.sku, line.quantity, line.unit_price, line.created_at)
}

/// What the normalizer makes of the page.
struct Normalized {
    processed: u64,
    skipped: u64,
    records: Share,
    lines: Share,
    rows: u64,
    /// Rows whose place a later one takes.
    overwritten: u64,
    dropped: BTreeMap<&'static str, u64>,
    advice: BTreeMap<&'static str, &'static str>,
    repeated_skus: u64,
    decimal_quantities: u64,
    lines_without_price: u64,
    /// Whether each record is its own line.
    is_line: bool,
    sample: Vec<String>,
}

impl Normalized {
    /// Whether no line has a price or a total.
    fn has_no_price(&self) -> bool {
        self.rows > 0 && self.lines_without_price == self.rows + self.overwritten
    }

    /// Whether a run would load the page, but for a few records and lines.
    fn is_ready(&self) -> bool {
        self.rows > 0 && self.records.is_small() && self.lines.is_small() && self.notes().is_empty()
    }

    /// What would be lost without being dropped.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.has_no_price() {
            notes.push(
                "no line has a price or a total: all rows would be 0 (name unit_price or line_total in [orders.line_fields])".to_owned(),
            );
        }
        if self.is_line && self.overwritten > 0 {
            let records = counted(self.overwritten, "record");
            notes.push(format!("{records} with the order and the sku of a later one, which takes the place: is another sku finer?"));
        }
        notes
    }
}
