//! `etl probe`: one page of a source, and what would be made of it. Nothing is written.

mod line_total;
mod lines;
mod propose;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use self::{line_total::PricedBy, propose::Document};
use super::RunError;
use crate::{
    cancel::Cancel,
    model::{FactRows, FieldPath, Level, Reason, Window, counted},
    net::Network,
    normalize::{LINE_FIELDS, Mapping, RECORD_FIELDS, RecordNormalizer},
    settings::{Cursor, Pagination, RepeatedSku, Settings, SettingsError, Source},
    source::{self, Access, ProbedPage, Query, SourceCounters},
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
    /// Records and lines that would be processed.
    pub records_processed: u64,
    /// Rows that they would make.
    pub rows: u64,
    /// What would be dropped, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
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
}

/// Fetches one page of the orders and shows what would be made of it.
///
/// # Errors
/// No orders are named, or the source can't be read.
pub fn probe(settings: &Settings, cancel: &Cancel) -> Result<Probe, RunError> {
    let orders = settings.orders.as_ref().ok_or(SettingsError::NoOrders)?;
    let counters = SourceCounters::default();
    let network = Network::new(&settings.http);
    let access = Access {
        http: &settings.http,
        network: &network,
        limits: &settings.limits,
        memory_limit: settings.memory_limit,
        counters: &counters,
        cancel,
    };
    let shape = super::shape::of_orders(&orders.profile);
    let query = Query { cursor: settings.cursor, ..Query::all(orders, &shape) };
    let page = source::probe(&orders.location, &query, &access).map_err(|error| super::stopped_or(cancel, error.into()))?;
    Ok(examine(settings, orders, &page))
}

fn examine(settings: &Settings, orders: &Source, page: &ProbedPage) -> Probe {
    // For a look only: what is loaded never goes through such a tree.
    let body: Value = page.body.as_deref().and_then(|body| serde_json::from_slice(body).ok()).unwrap_or(Value::Null);
    let (records_at, proposed_records, raw) = records(orders, page, &body);
    let raw: Vec<Vec<u8>> = raw.into_iter().take(LOOKED_AT).collect();
    let parsed: Vec<Value> = raw.iter().filter_map(|record| serde_json::from_slice(record).ok()).collect();
    let document = Document::of(&parsed);

    let mut columns = Vec::new();
    for (column, defaults) in RECORD_FIELDS {
        let own = orders.profile.fields.get(column).map(|rule| (rule.paths.clone(), rule.default.clone()));
        columns.push(match column {
            "lines" => lines::found(&orders.profile, &parsed, || document.propose(column)),
            _ => found(column, Level::Record, defaults, own, &parsed, || document.propose(column)),
        });
    }
    let proposed_lines = columns.iter().find(|found| found.column == "lines").and_then(|found| found.proposed.as_ref()?.path.parse().ok());
    let lines_of_orders = lines::of(&orders.profile, proposed_lines.as_ref(), &parsed);
    let lines = lines_of_orders.concat();
    let line_document = Document::of(&lines);
    for (column, defaults) in LINE_FIELDS {
        let own = orders.profile.line_fields.get(column).map(|rule| (rule.paths.clone(), rule.default.clone()));
        columns.push(found(column, Level::Line, defaults, own, &lines, || line_document.propose(column)));
    }
    say_more_of_lines(&mut columns, orders, &lines_of_orders, &line_document);
    let pagination = evidence(&orders.profile.http.pagination, page, &body, records_at.as_deref().or(proposed_records.as_deref()));
    let mut profile = paste(orders, proposed_records.as_deref(), &columns, &pagination, None);

    // As it would be with the profile that is proposed, so that the next step can be judged.
    let mut outcome = normalized(settings, orders, profile.as_deref(), &raw);
    if outcome.repeated_skus > 0 && settings.repeated_sku == RepeatedSku::Last {
        profile = paste(orders, proposed_records.as_deref(), &columns, &pagination, Some(RepeatedSku::Sum));
        outcome = normalized(settings, orders, profile.as_deref(), &raw);
    }
    Probe {
        location: orders.location.to_string(),
        records_at: records_at.or_else(|| proposed_records.map(|path| format!("{path} (proposed)"))),
        records: raw.len(),
        pagination,
        completeness: completeness(orders, page),
        window: window(settings.cursor, orders, page),
        columns,
        records_processed: outcome.processed,
        rows: outcome.rows,
        dropped: outcome.dropped,
        sample: outcome.sample,
        profile,
    }
}

/// Where the records are by the profile, or else where they may be, and their bytes.
fn records(orders: &Source, page: &ProbedPage, body: &Value) -> (Option<String>, Option<String>, Vec<Vec<u8>>) {
    if let Some(records) = &page.records {
        let at = match (&orders.profile.records, body) {
            (Some(path), _) if path.steps().is_empty() => "the body itself".to_owned(),
            (Some(path), _) => format!("`{path}`"),
            (None, Value::Object(object)) => {
                let key = object.keys().find(|key| source::RECORD_KEYS.contains(&key.as_str()) && object[*key].is_array());
                key.map_or_else(|| "the body itself".to_owned(), |key| format!("`{key}`"))
            }
            (None, Value::Null) => "each line of the file".to_owned(),
            (None, _) => "the body itself".to_owned(),
        };
        return (Some(at), None, records.clone());
    }
    let Some(path) = propose::list_of_records(body) else { return (None, None, Vec::new()) };
    let elements = path.parse::<FieldPath>().ok().and_then(|path| propose::at(body, &path)?.as_array().cloned()).unwrap_or_default();
    (None, Some(path), elements.iter().map(|element| element.to_string().into_bytes()).collect())
}

fn found(
    column: &'static str,
    level: Level,
    defaults: &[&str],
    own: Option<(Vec<FieldPath>, Option<String>)>,
    documents: &[Value],
    propose: impl FnOnce() -> Option<Proposal>,
) -> Found {
    let (paths, default) = own.unwrap_or_else(|| (defaults.iter().filter_map(|path| path.parse().ok()).collect::<Vec<FieldPath>>(), None));
    let is_value = |value: &&Value| match value {
        Value::Null => false,
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(_) | Value::Object(_) => false,
        _ => true,
    };
    let mut served: BTreeMap<usize, usize> = BTreeMap::new();
    let mut all_values: Vec<String> = Vec::new();
    for document in documents {
        let hit = paths.iter().enumerate().find_map(|(place, path)| Some((place, propose::at(document, path).filter(is_value)?)));
        let Some((place, value)) = hit else { continue };
        *served.entry(place).or_default() += 1;
        all_values.push(match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
    }
    let mut values = first_different(all_values.into_iter());
    let mut path = served.iter().max_by_key(|(_, count)| **count).map(|(place, _)| paths[*place].to_string());
    let mut found_in = served.values().sum();
    if path.is_none()
        && let Some(default) = default
    {
        path = Some("always".into());
        found_in = documents.len();
        values.push(default);
    }
    let proposed = if path.is_none() { propose() } else { None };
    Found { column, level: level.as_str(), path, found_in, of: documents.len(), values, proposed }
}

/// The first values that differ, as many as are shown.
fn first_different(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut first: Vec<String> = Vec::new();
    for value in values {
        if first.len() < SHOWN && !first.contains(&value) {
            first.push(value);
        }
    }
    first
}

/// Proposes a finer sku, and the total of a line, where the profile says nothing of them.
fn say_more_of_lines(columns: &mut [Found], orders: &Source, lines: &[Vec<Value>], document: &Document<'_>) {
    let path_of = |column: &str| -> Option<FieldPath> {
        let found = columns.iter().find(|found| found.column == column && found.level == Level::Line.as_str())?;
        found.path.as_ref().or_else(|| Some(&found.proposed.as_ref()?.path))?.parse().ok()
    };
    let quantity = path_of("quantity");
    let total = path_of("unit_price").and_then(|price| {
        let priced = PricedBy { quantity: quantity.as_ref(), price: &price };
        line_total::propose(lines, document, &priced)
    });
    for found in columns.iter_mut().filter(|found| found.level == Level::Line.as_str()) {
        if orders.profile.line_fields.contains_key(found.column) {
            continue;
        }
        match (found.column, &found.path) {
            ("line_total", None) => found.proposed.clone_from(&total),
            // Beside a total, no price is needed.
            ("unit_price", None) if orders.profile.line_fields.contains_key("line_total") => found.proposed = None,
            ("sku", Some(used)) => found.proposed = document.finer_sku(used),
            _ => {}
        }
    }
}

/// What a run with a window sends to the source.
fn window(cursor: Cursor, orders: &Source, page: &ProbedPage) -> String {
    let filter = &orders.profile.http.filter;
    let (parameters, column) = match cursor {
        Cursor::Created => ([&filter.since, &filter.until], "created_at"),
        Cursor::Updated => ([&filter.updated_since, &filter.updated_until], "updated_at"),
    };
    let names: Vec<_> = parameters.into_iter().flatten().map(|name| format!("`{name}`")).collect();
    match (page.is_http, names.is_empty()) {
        (false, _) => format!("on {column}: files are read whole, and rows outside of it are left out"),
        (true, true) => format!("on {column}: the source is not asked for it, so each run reads all orders (see `filter`)"),
        (true, false) => format!("on {column}: sent as {}", names.join(" and ")),
    }
}

/// Whether a run could show that it has everything the source has.
fn completeness(orders: &Source, page: &ProbedPage) -> String {
    let http = &orders.profile.http;
    match (&http.count, page.total) {
        _ if !page.is_http => "can be proven: files are read to their ends".to_owned(),
        (Some(count), _) => format!("can be proven: the profile names a request that counts ({})", count.url.path()),
        (None, Some(total)) => format!("can be proven: the response counts {}", counted(total, "record")),
        (None, None) => match http.pagination {
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
    if !page.is_http {
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
fn paste(
    orders: &Source,
    records: Option<&str>,
    columns: &[Found],
    pagination: &Evidence,
    repeated_sku: Option<RepeatedSku>,
) -> Option<String> {
    let mut head = format!("[orders]\nlocation = {}\n", quoted(&orders.location.to_string()));
    let mut anything = false;
    if let Some(records) = records {
        head.push_str(&format!("records = {}\n", quoted(records)));
        anything = true;
    }
    if let Some(toml) = &pagination.toml {
        head.push_str(&format!("pagination = {toml}\n"));
        anything = true;
    }
    if repeated_sku == Some(RepeatedSku::Sum) {
        head.push_str("repeated_sku = \"sum\"\n");
        anything = true;
    }
    for (level, table) in [(Level::Record, "fields"), (Level::Line, "line_fields")] {
        let proposed: Vec<_> = columns
            .iter()
            .filter(|found| found.level == level.as_str())
            .filter_map(|found| Some((found, found.proposed.as_ref()?)))
            .collect();
        if proposed.is_empty() {
            continue;
        }
        anything = true;
        head.push_str(&format!("\n[orders.{table}]\n"));
        for (Found { column, path: used, .. }, proposal) in proposed {
            let path = quoted(&proposal.path);
            head.push_str(&match (&proposal.more, used) {
                (Some(more), _) => format!("{column} = {{ path = {path}, {more} }}\n"),
                (None, Some(used)) => format!("{column} = [{path}, {}]\n", quoted(used)),
                (None, None) => format!("{column} = {path}\n"),
            });
        }
    }
    anything.then_some(head)
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

#[derive(Default)]
struct Normalized {
    processed: u64,
    rows: u64,
    dropped: BTreeMap<&'static str, u64>,
    repeated_skus: u64,
    sample: Vec<String>,
}

/// The page through the real normalizer, by the profile at hand with what is proposed over it.
fn normalized(settings: &Settings, orders: &Source, proposed: Option<&str>, raw: &[Vec<u8>]) -> Normalized {
    let proposed = proposed.and_then(|text| crate::settings::orders_profile(text).ok()).unwrap_or_default();
    let mut profile = orders.profile.clone();
    profile.fields.extend(proposed.fields);
    profile.line_fields.extend(proposed.line_fields);
    let mapping = Mapping {
        profile: Some(&profile),
        shop: settings.shop.as_ref(),
        columns: &settings.fact_columns,
        cursor: settings.cursor,
        repeated_sku: proposed.repeated_sku.unwrap_or(settings.repeated_sku),
        quantity: settings.quantity.unwrap_or_default(),
        limits: settings.limits,
    };
    let normalizer = RecordNormalizer::configured(&mapping, Window::default());
    let batch = normalizer.normalize(raw.iter().map(Vec::as_slice));
    let counts = &batch.counts;
    let dropped =
        Reason::ALL.iter().zip(counts.dropped).filter(|(_, count)| *count > 0).map(|(reason, count)| (reason.as_str(), count)).collect();
    let mut outcome = Normalized {
        processed: counts.records_processed,
        rows: batch.rows.len() as u64,
        dropped,
        repeated_skus: counts.repeated_skus,
        sample: Vec::new(),
    };
    let Ok(frame) = batch.rows.finish() else { return outcome };
    let Ok(rows) = FactRows::new(&frame) else { return outcome };
    outcome.sample = (0..rows.len().min(SHOWN))
        .map(|row| rows.line(row))
        .map(|line| {
            format!(
                "{}, {}, {} × {} {}, {}",
                line.order_id,
                line.sku,
                line.quantity,
                line.unit_price,
                line.currency.unwrap_or("(no currency)"),
                line.created_at
            )
        })
        .collect();
    outcome
}
