//! The table of one source (`[orders]`, `[users]`, `[products]`): its keys, and the profile that it describes.

use std::collections::BTreeMap;

use super::{
    Auth, BodyTemplate, CountRequest, Filter, Inherited, ListRequest, MoreRequest, Pagination, Profile, RecordList, SkipRule, SkipValues,
    Template, TimeFormat, WhichLists, auth, bulk, children, fields, pagination, refunds,
};
use crate::{
    model::{FieldPath, QuantityType},
    settings::{
        Cursor, Form, HttpProfile, MergeBy, RepeatedSku, SettingsError, SourceKind, parse_span,
        reader::Reader,
        setting::bounds,
        toml_tree::{Place, Table, Value, nearest},
        value::choice,
    },
};

/// A source's table, read.
#[derive(Debug)]
pub(in crate::settings) struct SourceTable {
    pub(in crate::settings) name: Option<String>,
    /// Its path beneath the URL of the API.
    pub(in crate::settings) path: Option<String>,
    /// The request that counts, before it is known where the API is.
    pub(in crate::settings) count: Option<CountPath>,
    /// The request for lines, likewise.
    pub(in crate::settings) line_request: Option<ListPath>,
    /// The request for refunds, likewise.
    pub(in crate::settings) refund_request: Option<ListPath>,
    /// The request for more members, likewise.
    pub(in crate::settings) more_request: Option<MorePath>,
    pub(in crate::settings) profile: Profile,
}

/// `[orders.count]`: a request that counts.
#[derive(Debug)]
pub(in crate::settings) struct CountPath {
    /// Its path beneath the URL of the API.
    pub(in crate::settings) path: String,
    /// Where the answer holds the number.
    pub(in crate::settings) value: FieldPath,
    place: Place,
}

impl CountPath {
    /// The request, beneath the URL of the API, or else beside the URL of the source.
    pub(in crate::settings) fn request(self, api: Option<&reqwest::Url>, source: &reqwest::Url) -> Result<CountRequest, SettingsError> {
        let url = match api {
            Some(api) => super::joined(api, &self.path),
            None => source.join(&self.path).map_err(|error| self.place.error(format!("`count.path`: `{}`: {error}", self.path)))?,
        };
        Ok(CountRequest { url, value: self.value })
    }
}

/// Words that the name of a header with a secret holds.
const SECRET_HEADERS: [&str; 5] = ["authorization", "cookie", "token", "key", "secret"];

/// Headers that say how a message is sent: a profile can't know it.
const CLIENT_HEADERS: [&str; 6] = ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te"];

/// Reads the table of a source.
pub(in crate::settings) fn read(table: &Table, kind: SourceKind) -> Result<SourceTable, SettingsError> {
    let table = Reader::new(table, kind.table());
    if let Some((key, _)) = table.table().by_line().into_iter().find(|(key, _)| kind.lacks(key)) {
        return Err(table.error(key, format!("`{key}` belongs to orders: {} have none", kind.table())));
    }
    table.only(&kind.keys())?;
    let http = http(&table, &[])?;
    let records = records(&table)?;
    let lines = fields::line_lists(&table)?;
    if lines.which == WhichLists::Record && table.table().get("line_request").is_some() {
        return Err(table.error("line_request", "with `lines = \".\"` the record is its line: leave one of the two out"));
    }
    let refunds = refunds::read(&table)?;
    let bulk = bulk::read(&table, &http)?;
    let profile = Profile {
        records: records.path,
        record_list: records.list,
        fields: fields::read(&table, "fields", kind)?,
        line_fields: fields::read(&table, "line_fields", kind)?,
        lines,
        totals: fields::totals(&table)?,
        refunds: refunds.as_ref().map(|refunds| refunds.rules.clone()),
        skip: table.tables("skip")?.iter().map(skip).collect::<Result<_, _>>()?,
        skip_lines: table.tables("skip_lines")?.iter().map(skip).collect::<Result<_, _>>()?,
        line_request: None,
        refund_request: None,
        more_request: None,
        children: children::read(table.inner("children")?)?,
        bulk,
        zone: zone(&table)?,
        repeated_sku: word(&table, "repeated_sku", &[("last", RepeatedSku::Last), ("sum", RepeatedSku::Sum)])?,
        merge: word(&table, "merge", &[("line", MergeBy::Line), ("order", MergeBy::Order)])?,
        quantity: word(&table, "quantity", &[("whole", QuantityType::Whole), ("decimal", QuantityType::Decimal)])?,
        cursor: word(&table, "cursor", &[("created_at", Cursor::Created), ("updated_at", Cursor::Updated)])?,
        lookback: table.value("lookback", bounds::LOOKBACK)?.map(|own| own.span(bounds::LOOKBACK)).transpose()?,
        http,
    };
    Ok(SourceTable {
        name: table.text("name")?,
        path: table.text("path")?,
        count: count(table.inner("count")?)?,
        line_request: line_request(table.inner("line_request")?)?,
        refund_request: refunds.and_then(|refunds| refunds.request),
        more_request: more_request(&table)?,
        profile,
    })
}

/// How a source is requested, but for its count. `others` are places that its texts may have, besides those for its own parameters.
fn http(table: &Reader<'_>, others: &[&str]) -> Result<HttpProfile, SettingsError> {
    let pages = pagination::read(table.inner("pagination")?)?;
    let page_size = whole(table, "page_size")?;
    let QueryTable { mut query, templates } = query(table)?;
    if let (Some(parameter), Some(size)) = (&pages.size_parameter, page_size) {
        query.entry(parameter.clone()).or_insert_with(|| size.to_string());
    }
    let http = HttpProfile {
        pagination: pages.pagination,
        page_size,
        auth: auth::read(table.inner("auth")?)?,
        filter: filter(table.inner("filter")?)?,
        query,
        templates,
        body: body(table)?,
        headers: headers(table)?,
        requests_per_second: table.number("requests_per_second", bounds::REQUESTS_PER_SECOND)?,
        concurrency: table.whole("concurrency", bounds::CONCURRENCY)?.and_then(|count| usize::try_from(count).ok()).unwrap_or(1),
        count: None,
        trusts_counts: pages.trusts_counts,
    };
    verify_slices(table, &http)?;
    verify_places(table, &http, others.iter().copied().chain(pages.size_parameter.as_deref()))?;
    Ok(http)
}

/// A list with a largest offset is cut by time: the source must be able to narrow both ends of a window.
fn verify_slices(table: &Reader<'_>, http: &HttpProfile) -> Result<(), SettingsError> {
    let Pagination::Offset { largest: Some(_), .. } = http.pagination else { return Ok(()) };
    let Filter { since, until, updated_since, updated_until, .. } = &http.filter;
    if since.is_some() && until.is_some() || updated_since.is_some() && updated_until.is_some() {
        return Ok(());
    }
    let detail = "`largest` cuts the window by time: `filter` must name the parameters of both of its ends (since and until)";
    Err(table.error("pagination", detail))
}

/// The parameters that the default pagination may send.
const AUTO_PARAMETERS: [&str; 5] = ["page", "per_page", "cursor", "offset", "limit"];

/// Every place of a text is one for a parameter that there is: nothing would ever fill another.
pub(super) fn verify_places<'p>(
    table: &Reader<'_>,
    http: &'p HttpProfile,
    others: impl Iterator<Item = &'p str>,
) -> Result<(), SettingsError> {
    let mut known: Vec<&str> = others.collect();
    match &http.pagination {
        Pagination::Auto => known.extend(AUTO_PARAMETERS),
        Pagination::Cursor { parameter, .. }
        | Pagination::LastId { parameter, .. }
        | Pagination::Page { parameter, .. }
        | Pagination::Offset { parameter, .. } => known.push(parameter),
        Pagination::Link | Pagination::NextUrl { .. } | Pagination::Single => {}
    }
    let Filter { since, until, updated_since, updated_until, .. } = &http.filter;
    known.extend([since, until, updated_since, updated_until].into_iter().flatten().map(String::as_str));
    known.extend(http.query.keys().map(String::as_str));
    let in_query = http.templates.iter().flat_map(|(_, template)| template.names()).map(|name| ("query", name.to_owned()));
    let in_body = http.body.iter().flat_map(BodyTemplate::names);
    let body_key = if http.body.as_ref().is_some_and(|body| body.query.is_some()) { "variables" } else { "body" };
    let mut places = in_query.chain(in_body.map(|name| (body_key, name)));
    let Some((key, name)) = places.find(|(_, name)| !known.contains(&name.as_str())) else { return Ok(()) };
    let near = nearest(&name, known.iter().copied()).map(|near| format!(" (did you mean `{{{near}}}`?)"));
    let detail =
        format!("no parameter fills the place `{{{name}}}`{}: a filter, the pagination or `query` names it", near.unwrap_or_default());
    Err(table.error(key, detail))
}

/// `query`: parameters, and those with places.
struct QueryTable {
    query: BTreeMap<String, String>,
    templates: Vec<(String, Template)>,
}

fn query(table: &Reader<'_>) -> Result<QueryTable, SettingsError> {
    let mut read = QueryTable { query: BTreeMap::new(), templates: Vec::new() };
    let Some(inner) = table.inner("query")? else { return Ok(read) };
    for (name, node) in inner.table().by_line() {
        if matches!(node.value, Value::List(_)) {
            let values = inner.scalars(name)?;
            read.templates.extend(values.iter().map(|value| (name.to_owned(), Template::parse(value))));
            continue;
        }
        let Some(value) = inner.scalar(name)? else { continue };
        let template = Template::parse(&value);
        if template.names().next().is_some() {
            read.templates.push((name.to_owned(), template));
        } else {
            read.query.insert(name.to_owned(), value);
        }
    }
    Ok(read)
}

/// `body` and `next_body`, or `graphql` and `variables`.
pub(super) fn body(table: &Reader<'_>) -> Result<Option<BodyTemplate>, SettingsError> {
    let value = |key: &str| table.inner(key).map(|inner| inner.map(|inner| json_of(&Value::Table(inner.table().clone()))));
    if let Some(query) = table.text("graphql")? {
        if table.table().get("body").is_some() {
            return Err(table.error("body", "write `graphql` or `body`, not both"));
        }
        let variables = value("variables")?.unwrap_or_else(|| serde_json::json!({}));
        return Ok(Some(BodyTemplate { first: serde_json::json!({ "variables": variables }), next: None, query: Some(query) }));
    }
    for (key, with) in [("variables", "graphql"), ("next_body", "body")] {
        if table.table().get(key).is_some() && table.table().get(with).is_none() {
            return Err(table.error(key, format!("`{key}` belongs to `{with}`, which is missing")));
        }
    }
    let Some(first) = value("body")? else { return Ok(None) };
    Ok(Some(BodyTemplate { first, next: value("next_body")?, query: None }))
}

/// A value of `etl.toml` as JSON.
fn json_of(value: &Value) -> serde_json::Value {
    match value {
        Value::Text(text) | Value::Datetime(text) => text.clone().into(),
        Value::Whole(text) | Value::Float(text) => serde_json::from_str(text).unwrap_or_else(|_| text.clone().into()),
        Value::Boolean(value) => (*value).into(),
        Value::List(list) => list.iter().map(|node| json_of(&node.value)).collect(),
        Value::Table(table) => table.entries().map(|(key, node)| (key.to_owned(), json_of(&node.value))).collect(),
    }
}

/// A request for a list that belongs to a record, before it is known where the API is.
#[derive(Debug)]
pub(in crate::settings) struct ListPath {
    path: Template,
    id: FieldPath,
    when: Option<FieldPath>,
    list: Profile,
}

impl ListPath {
    /// Where a record says that there is something to ask for.
    pub(super) fn when(&self) -> Option<&FieldPath> {
        self.when.as_ref()
    }

    /// The request, beneath the URL of the API, or else beside the URL of the source. It authenticates as the source does.
    pub(in crate::settings) fn request(self, api: Option<&reqwest::Url>, source: &reqwest::Url, auth: &Auth) -> ListRequest {
        let ListPath { path, id, when, mut list } = self;
        list.http.auth = auth.clone();
        // Without a path the list is asked for where the orders are, as in GraphQL.
        let base = match (path.is_empty(), api) {
            (true, _) => source.clone(),
            (false, Some(api)) => api.clone(),
            (false, None) => source.join("/").unwrap_or_else(|_| source.clone()),
        };
        ListRequest { base, path, id, when, list: Box::new(list) }
    }
}

/// `[products.more_request]`, before it is known where the API is.
#[derive(Debug)]
pub(in crate::settings) struct MorePath {
    list: ListPath,
    when: Option<SkipRule>,
    inherit: Vec<Inherited>,
}

impl MorePath {
    /// The request, beneath the URL of the API, or else beside the URL of the source. It authenticates as the source does.
    pub(in crate::settings) fn request(self, api: Option<&reqwest::Url>, source: &reqwest::Url, auth: &Auth) -> MoreRequest {
        MoreRequest { list: self.list.request(api, source, auth), when: self.when, inherit: self.inherit }
    }
}

/// The keys of `line_request` and of `refunds.request`.
pub(super) const LINE_REQUEST_KEYS: [&str; 12] =
    ["path", "id", "when", "records", "page_size", "concurrency", "pagination", "query", "body", "next_body", "graphql", "variables"];

/// The keys of `more_request`.
pub(super) const MORE_REQUEST_KEYS: [&str; 13] = [
    "path",
    "id",
    "when",
    "inherit",
    "records",
    "page_size",
    "concurrency",
    "pagination",
    "query",
    "body",
    "next_body",
    "graphql",
    "variables",
];

/// Whether a request says of which order it is.
fn names_order(path: &Template, http: &HttpProfile) -> bool {
    let templates = http.templates.iter().map(|(_, template)| template);
    let mut in_texts = std::iter::once(path).chain(templates).flat_map(Template::names);
    in_texts.any(|name| name == "id") || http.body.iter().flat_map(BodyTemplate::names).any(|name| name == "id")
}

fn line_request(table: Option<Reader<'_>>) -> Result<Option<ListPath>, SettingsError> {
    table.map(|table| list_of_order(&table, "no place `{id}`: all orders would get the same lines")).transpose()
}

/// A list that belongs to an order and that the order may announce.
pub(super) fn list_of_order(table: &Reader<'_>, without_id: &str) -> Result<ListPath, SettingsError> {
    table.only(&LINE_REQUEST_KEYS)?;
    let list = list_of_record(table, without_id)?;
    Ok(ListPath { when: table.path("when")?, ..list })
}

/// `more_request`; `false` takes away that of a shipped profile.
fn more_request(source: &Reader<'_>) -> Result<Option<MorePath>, SettingsError> {
    let Some(table) = source.inner_unless_false("more_request")? else { return Ok(None) };
    table.only(&MORE_REQUEST_KEYS)?;
    let list = list_of_record(&table, "no place `{id}`: all records would get the same members")?;
    let mut inherit = Vec::new();
    if let Some(inner) = table.inner("inherit")? {
        for (key, _) in inner.table().by_line() {
            inherit.push(Inherited { key: key.to_owned(), from: inner.needed(key)? });
        }
    }
    Ok(Some(MorePath { list, when: table.inner("when")?.as_ref().map(skip).transpose()?, inherit }))
}

/// A list that is asked for by the id of a record; `without_id` says what it means where no text has a place for it.
fn list_of_record(table: &Reader<'_>, without_id: &str) -> Result<ListPath, SettingsError> {
    let records = records(table)?;
    let list = Profile { records: records.path, record_list: records.list, http: http(table, &["id"])?, ..Profile::default() };
    let id = table.path("id")?.unwrap_or_else(|| FieldPath::root().child("id"));
    let path = Template::parse(&table.text("path")?.unwrap_or_default());
    if let Some(name) = path.names().find(|name| *name != "id") {
        return Err(table.error("path", format!("`{{{name}}}`: write {{id}}, whose place in the record `id` names")));
    }
    if !names_order(&path, &list.http) {
        return Err(table.error("path", without_id));
    }
    Ok(ListPath { path, id, when: None, list })
}

fn whole(table: &Reader<'_>, key: &str) -> Result<Option<u32>, SettingsError> {
    Ok(table.whole(key, bounds::PAGE_SIZE)?.and_then(|size| u32::try_from(size).ok()))
}

/// `records`.
struct Records {
    path: Option<FieldPath>,
    list: RecordList,
}

fn records(table: &Reader<'_>) -> Result<Records, SettingsError> {
    if let Some(node) = table.table().get("records")
        && let Value::Table(inner) = &node.value
    {
        let inner = Reader::new(inner, &table.full("records"));
        inner.only(&["path", "object"])?;
        let list = match inner.text("object")?.as_deref() {
            None => RecordList::List,
            Some("record") => RecordList::ListOrObject,
            Some(other) => return Err(inner.error("object", format!("`{other}`: write record"))),
        };
        return Ok(Records { path: Some(inner.needed_path("path")?), list });
    }
    let path = match table.text("records")?.as_deref() {
        Some("." | "") => Some(FieldPath::root()),
        _ => table.path("records")?,
    };
    Ok(Records { path, list: RecordList::List })
}

pub(super) fn skip(rule: &Reader<'_>) -> Result<SkipRule, SettingsError> {
    rule.only(&["path", "equals", "one_of", "none_of", "missing"])?;
    let written = ["equals", "one_of", "none_of", "missing"].into_iter().filter(|key| rule.table().get(key).is_some()).count();
    if written > 1 {
        return Err(rule.error("path", "write one of `equals`, `one_of`, `none_of` and `missing`"));
    }
    let missing = rule.scalars("missing")?;
    let values = match (rule.scalar("equals")?, rule.table().get("one_of").is_some(), rule.table().get("none_of").is_some()) {
        (Some(value), ..) => SkipValues::OneOf(vec![value]),
        (None, true, _) => SkipValues::OneOf(rule.scalars("one_of")?),
        (None, false, true) => SkipValues::NoneOf(rule.scalars("none_of")?),
        (None, false, false) if missing.is_empty() => SkipValues::Any,
        (None, false, false) => SkipValues::AnyBut(missing),
    };
    let path = rule.needed_path("path")?;
    if path.has_wildcard() {
        return Err(rule.error("path", "`*` leads into every element of a list: only `lines` and sums of amounts take it"));
    }
    Ok(SkipRule { path, values })
}

/// What the word of a key means.
pub(super) fn word<T: Copy>(table: &Reader<'_>, key: &str, meanings: &[(&str, T)]) -> Result<Option<T>, SettingsError> {
    let Some(word) = table.text(key)? else { return Ok(None) };
    let known: Vec<_> = meanings.iter().map(|(known, _)| *known).collect();
    match meanings.iter().find(|(known, _)| *known == word) {
        Some((_, meaning)) => Ok(Some(*meaning)),
        None => Err(table.error(key, format!("`{word}`: write {}", choice(&known)))),
    }
}

fn zone(table: &Reader<'_>) -> Result<Option<chrono_tz::Tz>, SettingsError> {
    let Some(name) = table.text("zone")? else { return Ok(None) };
    match name.parse() {
        Ok(zone) => Ok(Some(zone)),
        Err(_) => Err(table.error("zone", format!("`{name}` is no zone of the tz database: write a name such as Europe/Paris"))),
    }
}

fn count(table: Option<Reader<'_>>) -> Result<Option<CountPath>, SettingsError> {
    let Some(table) = table else { return Ok(None) };
    table.only(&["path", "value"])?;
    let path = table.needed("path")?;
    let value = match table.path("value")? {
        Some(value) => value,
        None => FieldPath::root().child("count"),
    };
    let place = table.table().get("path").map_or(&table.table().place, |node| &node.place).clone();
    Ok(Some(CountPath { path, value, place }))
}

fn headers(table: &Reader<'_>) -> Result<BTreeMap<String, String>, SettingsError> {
    let headers = table.scalar_table("headers")?;
    let Some(written) = table.inner("headers")? else { return Ok(headers) };
    for (name, value) in &headers {
        if name.parse::<reqwest::header::HeaderName>().is_err() {
            return Err(written.error(name, "not the name of a header"));
        }
        if SECRET_HEADERS.iter().any(|word| name.to_ascii_lowercase().contains(word)) {
            let detail = "credentials do not belong in etl.toml: set `auth`, and the secret in the environment or .env";
            return Err(written.error(name, detail));
        }
        if CLIENT_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            return Err(written.error(name, "the client sets this header by itself"));
        }
        if value.parse::<reqwest::header::HeaderValue>().is_err() {
            return Err(written.error(name, "a header can't have this value"));
        }
    }
    Ok(headers)
}

/// How times of a filter may be written.
pub(super) const TIME_FORMATS: [&str; 7] = ["rfc3339", "rfc3339_ms", "naive", "spaced", "date", "epoch", "epoch_ms"];

fn filter(table: Option<Reader<'_>>) -> Result<Filter, SettingsError> {
    let Some(table) = table else { return Ok(Filter::default()) };
    table.only(&["since", "until", "updated_since", "updated_until", "format", "earliest", "shows"])?;
    let format = match table.text("format")?.as_deref() {
        None | Some("rfc3339") => TimeFormat::Rfc3339,
        Some("rfc3339_ms") => TimeFormat::Rfc3339Millis,
        Some("naive") => TimeFormat::Naive,
        Some("spaced") => TimeFormat::Spaced,
        Some("date") => TimeFormat::Date,
        Some("epoch") => TimeFormat::Epoch,
        Some("epoch_ms") => TimeFormat::EpochMillis,
        Some(other) => {
            return Err(table.error("format", format!("`{other}`: write {}", choice(&TIME_FORMATS))));
        }
    };
    Ok(Filter {
        since: table.name("since")?,
        until: table.name("until")?,
        updated_since: table.name("updated_since")?,
        updated_until: table.name("updated_until")?,
        format,
        earliest: table.value("earliest", Form::Text)?.map(|configured| configured.parse()).transpose()?,
        shows: match table.value("shows", Form::Text)? {
            None => None,
            Some(configured) if configured.value.trim() == "all" => None,
            Some(configured) => Some(parse_span(&configured.value).map_err(|error| configured.invalid(format!("{error}; or all")))?),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::MinorUnits,
        settings::{Auth, CredentialsIn, Grant, Reconciliation, ScaleText, TimeText, Total, Units, WhichAmounts},
    };

    fn profile(text: &str) -> Profile {
        read(&Table::parse("etl.toml", text).unwrap(), SourceKind::Orders).unwrap().profile
    }

    #[test]
    fn a_field_is_a_path_a_list_of_paths_or_a_table() {
        let profile = profile(
            "fields.order_id = \"a.b\"\nfields.currency = { path = \"c\", default = \"EUR\", missing = [0, \"\", -1.50, true] }\nfields.status.value = 7\nfields.created_at = { path = \"t\", format = \"rfc2822\" }\nline_fields.sku = [\"x\", \"y\"]",
        );
        assert_eq!(profile.fields["order_id"].paths, ["a.b".parse().unwrap()]);
        assert_eq!(profile.fields["currency"].default.as_deref(), Some("EUR"));
        assert_eq!(profile.fields["currency"].missing, ["0", "", "-1.50", "true"]);
        assert_eq!((profile.fields["status"].paths.len(), profile.fields["status"].default.as_deref()), (0, Some("7")));
        assert_eq!(profile.fields["created_at"].time, TimeText::Rfc2822);
        assert_eq!(profile.line_fields["sku"].paths.len(), 2);
    }

    #[test]
    fn a_scale_has_four_forms() {
        let units = |scale: &str| {
            let text = format!("line_fields.unit_price = {{ path = \"amount\", scale = {scale} }}");
            profile(&text).line_fields["unit_price"].units.clone()
        };
        let beside = |scale| Units::Beside { path: "p.d".parse().unwrap(), scale };
        assert_eq!((units("2"), units("0"), units("9")), (Units::Minor(2), Units::Minor(0), Units::Minor(9)));
        assert_eq!(units("\"currency\""), Units::OfCurrency(MinorUnits::Iso4217));
        assert_eq!(units("\"stripe\""), Units::OfCurrency(MinorUnits::Stripe));
        assert_eq!(units("{ path = \"p.d\" }"), beside(ScaleText::DecimalsOrDivisor));
        assert_eq!(units("{ path = \"p.d\", as = \"divisor\" }"), beside(ScaleText::Divisor));
        assert_eq!(units("{ path = \"p.d\", as = \"decimals\" }"), beside(ScaleText::Decimals));
    }

    #[test]
    fn totals_are_fields_or_sums_of_fields() {
        let totals = |keys: &str| profile(&format!("totals = {keys}")).totals;
        assert_eq!(totals("false"), None);
        let found = totals("{ total = { path = 't', scale = 2 }, shipping = { all = ['a.*.b', 'c'] }, reconciles = true }").unwrap();
        assert_eq!((found.reconciles, found.amounts.len()), (Reconciliation::Always, 2));
        assert_eq!((&found.amounts["total"].field.units, found.amounts["total"].which), (&Units::Minor(2), WhichAmounts::First));
        assert_eq!((found.amounts["shipping"].field.paths.len(), found.amounts["shipping"].which), (2, WhichAmounts::All));
        let reconciles = |keys: &str| totals(&format!("{{ total = 't'{keys} }}")).unwrap().reconciles;
        assert_eq!((reconciles(""), reconciles(", reconciles = false")), (Reconciliation::Unsaid, Reconciliation::Never));
    }

    #[test]
    fn every_kind_of_pagination_takes_its_keys() {
        let path = |text: &str| text.parse::<FieldPath>().unwrap();
        let pagination = |keys: &str| profile(&format!("pagination = {{ {keys} }}")).http.pagination;
        for (keys, expected) in [
            ("kind = 'auto'", Pagination::Auto),
            ("kind = 'link', size_parameter = 'n'", Pagination::Link),
            ("kind = 'next_url', path = 'n'", Pagination::NextUrl { path: path("n") }),
            ("kind = 'cursor', path = 'n'", Pagination::Cursor { path: path("n"), parameter: "cursor".into(), more: None }),
            (
                "kind = 'last_id', more = 'm'",
                Pagination::LastId { id: path("id"), parameter: "starting_after".into(), more: Some(path("m")) },
            ),
            ("kind = 'page', first = 0", Pagination::Page { parameter: "page".into(), first: 0, total: Total::default() }),
            (
                "kind = 'offset', total = 'n'",
                Pagination::Offset {
                    parameter: "offset".into(),
                    total: Total { records: Some(path("n")), ..Total::default() },
                    largest: None,
                },
            ),
            (
                "kind = 'offset', total = 'n', largest = 10000 }\nfilter = { since = 's', until = 'u'",
                Pagination::Offset {
                    parameter: "offset".into(),
                    total: Total { records: Some(path("n")), ..Total::default() },
                    largest: Some(10_000),
                },
            ),
            ("kind = 'single'", Pagination::Single),
        ] {
            assert_eq!(pagination(keys), expected, "{keys}");
        }
        let http = profile("page_size = 7\npagination = { kind = 'cursor', path = 'n', size_parameter = 'k', total = '' }").http;
        assert_eq!((http.query["k"].as_str(), http.page_size, http.trusts_counts), ("7", Some(7), false));
        assert!(profile("").http.trusts_counts);
    }

    #[test]
    fn every_kind_of_auth_takes_its_keys() {
        let auth = |keys: &str| profile(&format!("auth = {{ {keys} }}")).http.auth;
        assert_eq!(auth("kind = 'environment'"), Auth::Environment);
        assert_eq!(auth("kind = 'api_key'"), Auth::KeyHeader("X-API-Key".into()));
        assert_eq!(auth("kind = 'api_key', parameter = 'p'"), Auth::KeyParameter("p".into()));
        assert_eq!(
            (auth("kind = 'bearer'"), auth("kind = 'basic'"), auth("kind = 'none'")),
            (Auth::Bearer { key_header: None }, Auth::Basic, Auth::None)
        );
        assert_eq!(auth("kind = 'api_key', user = true"), Auth::KeyAsUser);
        assert_eq!(auth("kind = 'bearer', key_header = 'x'"), Auth::Bearer { key_header: Some("x".into()) });
        assert_eq!(auth("kind = 'basic', parameters = ['a', 'b']"), Auth::PairOfParameters("a".into(), "b".into()));
        let login = Auth::Login { url: "/l".into(), user: "email".into(), password: "password".into(), token: "token".parse().unwrap() };
        assert_eq!(auth("kind = 'login', url = '/l'"), login);
        let oauth2 = auth("kind = 'oauth2', token_url = 'https://h/t', scope = 's', audience = 'a', credentials_in = 'body'");
        let expected = Auth::OAuth {
            token_url: "https://h/t".into(),
            grant: Grant::ClientCredentials,
            token_header: None,
            key_header: None,
            scope: Some("s".into()),
            audience: Some("a".into()),
            credentials_in: CredentialsIn::Body,
        };
        assert_eq!(oauth2, expected);
    }

    /// Each mistake stands on line 2.
    #[test]
    fn every_mistake_is_named_with_its_line_and_a_way_out() {
        for (kind, text, message) in [
            ("orders", "pagination = { path = 'p' }", "`orders.pagination.path`: `kind` is missing: `path` belongs to next_url or cursor"),
            ("orders", "pagination = {}", "`orders.pagination.kind`: `kind` is missing: write auto, link"),
            ("orders", "pagination = { kind = 'cursor', path = 'p', first = 1 }", "unknown key `first` of kind `cursor`"),
            ("orders", "pagination = { kind = 'auto', path = 'p' }", "`path` belongs to next_url or cursor"),
            ("orders", "pagination = { kind = 'page', paramter = 'p' }", "did you mean `parameter`?"),
            ("orders", "pagination = { kind = 'single', size_parameter = 'p' }", "unknown key `size_parameter` of kind `single`"),
            ("orders", "pagination = { kind = 'pages' }", "`pages` is no kind (did you mean `page`?)"),
            ("orders", "pagination = { kind = 'cursor' }", "`orders.pagination.path`: this key is needed here"),
            ("orders", "pagination = { kind = 'page', first = -1 }", "`-1`: write a whole number from 0"),
            ("orders", "pagination = { kind = 'page', first = '1' }", "write a whole number without quotes, not a text"),
            ("orders", "pagination = { kind = 'cursor', path = 'a..b' }", "`orders.pagination.path`: `a..b`: write a path like"),
            ("orders", "pagination = { kind = 'link', total = 'n' }", "kind `link` has no total"),
            ("orders", "pagination = { kind = 'offset', largest = 9 }", "`orders.pagination.largest`: `total` is missing"),
            ("orders", "pagination = { kind = 'offset', total = 'n', largest = 1 }", "`1`: write a whole number from 2"),
            (
                "orders",
                "pagination = { kind = 'offset', total = 'n', largest = 9 }\nfilter.since = 's'",
                "`orders.pagination`: `largest` cuts the window by time: `filter` must name",
            ),
            ("orders", "pagination = 'link'", "`orders.pagination`: write a table, not a text"),
            ("orders", "auth = { header = 'X' }", "`kind` is missing: `header` belongs to api_key"),
            ("orders", "auth = { kind = 'bearer', header = 'X' }", "`header` belongs to api_key"),
            ("orders", "auth = { kind = 'api_key', header = 'a b' }", "`a b` is not the name of a header"),
            ("orders", "auth = { kind = 'api_key', header = 'a', parameter = 'b' }", "not in both"),
            ("orders", "auth = { kind = 'oauth' }", "did you mean `oauth2`?"),
            ("orders", "auth = { kind = 'oauth2' }", "`orders.auth.token_url`: this key is needed here"),
            ("orders", "auth = { kind = 'oauth2', token_url = 'ftp://h' }", "write an http(s) URL"),
            ("orders", "auth = { kind = 'login', url = 'ftp://h' }", "`orders.auth.url`: write an http(s) URL"),
            ("orders", "auth = { kind = 'login', url = 'https://u:p@h/l' }", "or a path such as /login"),
            ("orders", "auth = { kind = 'oauth2', token_url = 'https://h', credentials_in = 'query' }", "write header or body"),
            ("orders", "fields.colour = 'a'", "unknown field `colour` (the fields are order_id"),
            ("orders", "fields.order_idd = 'a'", "did you mean `order_id`?"),
            ("orders", "line_fields.skew = 'a'", "did you mean `sku`?"),
            ("orders", "fields.order_id = 'a..b'", "`orders.fields.order_id`: `a..b`"),
            ("orders", "fields.order_id = ['a', 'b.']", "`orders.fields.order_id`: `b.`"),
            ("orders", "fields.order_id = {}", "write a path or a value"),
            ("orders", "fields.order_id = 5", "write a path, a list of paths or a table, not a whole number"),
            ("orders", "fields.order_id = { path = 'a', value = 1 }", "`value` goes without a path"),
            ("orders", "fields.order_id = { path = 'a', paths = ['b'] }", "not both"),
            ("orders", "fields.order_id = { pat = 'a' }", "unknown key `pat`: did you mean `path`?"),
            ("orders", "fields.order_id = { path = 'a', missing = 0 }", "write a list in brackets"),
            ("orders", "fields.order_id = { path = 'a', missing = [[]] }", "write a text, a number or a boolean"),
            (
                "orders",
                "fields.status = { path = 'a', scale = 2 }",
                "`scale` belongs to amounts (unit_price, line_total, discount, discount_total, tax_total, refunded_quantity or refunded_total), and `status` is none",
            ),
            (
                "orders",
                "query = { f = '{sicne}..{until}' }\nfilter.since = 'since'\nfilter.until = 'until'",
                "fills the place `{sicne}` (did you mean `{since}`?)",
            ),
            ("orders", "body = { a = ['{nobody}'] }", "`orders.body`: no parameter fills the place `{nobody}`"),
            (
                "orders",
                "line_fields.discount = { path = 'd.*.amount', scale = { path = 'd.*.div' } }",
                "only `lines` and sums of amounts take every element",
            ),
            ("orders", "line_fields.discount = { path = 'd.*.amount', scale = { path = 'div' } }", "goes without `*`"),
            ("orders", "fields.status = { path = 'a', format = 'rfc2822' }", "`format` belongs to times (created_at or updated_at)"),
            ("orders", "line_fields.unit_price = { path = 'a', format = 'rfc2822' }", "`format` belongs to times"),
            ("orders", "line_fields.unit_price = { path = 'a', scale = 'cents' }", "write a number of decimals"),
            ("orders", "line_fields.unit_price = { path = 'a', scale = 10 }", "write a number of decimals"),
            (
                "orders",
                "line_fields.unit_price = { path = 'a', scale = {} }",
                "`orders.line_fields.unit_price.scale.path`: this key is needed",
            ),
            ("orders", "line_fields.unit_price = { path = 'a', scale = { path = 'b', as = 'x' } }", "write decimals or divisor"),
            ("orders", "fields.created_at = { path = 'a', format = 'iso' }", "`iso`: write rfc2822"),
            ("products", "fields.name = { path = 'a', scale = 2 }", "`scale` belongs to amounts (list_price), and `name` is none"),
            ("users", "skip = [{ path = 'a' }]", "`skip` belongs to orders: users have none"),
            ("users", "line_fields.sku = 'a'", "`line_fields` belongs to orders"),
            ("products", "filter.since = 'a'", "`filter` belongs to orders: products have none"),
            ("orders", "skip = { path = 'a' }", "write a list in brackets, not a table"),
            ("orders", "skip = [{ equals = 1 }]", "`orders.skip.path`: this key is needed here"),
            ("orders", "skip = [{ path = 'a', equal = 1 }]", "did you mean `equals`?"),
            ("orders", "count = { value = 'n' }", "`orders.count.path`: this key is needed here"),
            ("orders", "count = { path = 'a', valu = 'n' }", "did you mean `value`?"),
            ("orders", "totals = { discount = 'a' }", "`orders.totals.total`: this key is needed here"),
            ("orders", "totals = { totl = 'a' }", "unknown key `totl`: did you mean `total`?"),
            ("orders", "totals = { total = 'a', reconciles = 'yes' }", "`orders.totals.reconciles`: write true or false"),
            ("orders", "totals = { total = { all = [] } }", "`orders.totals.total.all`: write at least one path"),
            ("orders", "totals = { total = { all = ['a'], path = 'b' } }", "unknown key `path`"),
            (
                "orders",
                "totals = { total = { path = 'a.*.b', scale = { path = 'c' } } }",
                "`orders.totals.total`: a scale beside the amount",
            ),
            ("orders", "totals = { total = { path = 'a', format = 'rfc2822' } }", "`format` belongs to times"),
            ("orders", "totals = true", "`orders.totals`: write a table, not a boolean"),
            ("users", "totals = { total = 'a' }", "`totals` belongs to orders: users have none"),
            ("products", "more_request = { path = '/p' }", "`products.more_request.path`: no place `{id}`: all records would get"),
            ("products", "more_request = { path = '/p/{id}', when = 'a' }", "`products.more_request.when`: write a table, not a text"),
            (
                "products",
                "more_request = { path = '/p/{id}', when = { equals = 1 } }",
                "`products.more_request.when.path`: this key is needed",
            ),
            ("products", "more_request = { path = '/p/{id}', inherit = { a = 1 } }", "`products.more_request.inherit.a`: write a text"),
            ("orders", "more_request = { path = '/p/{id}' }", "unknown key `more_request`"),
            ("orders", "children = { parent = 'p' }", "`orders.children.lists`: this key is needed here"),
            ("orders", "children = { lists = { A = 'a.*.b' } }", "`orders.children.lists.A`: `*` leads into every element"),
            ("orders", "children = { lists = { A = 'a.b', B = 'a.c' } }", "`a.c` begins as `a.b` does"),
            ("orders", "children = { list = { A = 'a' } }", "unknown key `list`: did you mean `lists`?"),
            ("users", "children = { lists = { A = 'a' } }", "`children` belongs to orders: users have none"),
            ("users", "bulk = { id = 'a' }", "`bulk` belongs to orders: users have none"),
            ("products", "refunds = false", "`refunds` belongs to orders: products have none"),
            ("orders", "headers.Authorization = 'Bearer x'", "credentials do not belong in etl.toml"),
            ("orders", "headers.\"a b\" = 'x'", "not the name of a header"),
            ("orders", "headers.a = \"x\\ny\"", "a header can't have this value"),
            ("orders", "query.a = { b = 1 }", "`orders.query.a`: write a text, a number or a boolean"),
            ("orders", "filter.format = 'soon'", "write rfc3339, rfc3339_ms, naive"),
            ("orders", "filter.sinc = 'a'", "did you mean `since`?"),
            ("orders", "requests_per_second = 0", "`orders.requests_per_second`: `0`: write a number from 0.001"),
            ("orders", "requests_per_second = nan", "write a number from"),
            ("orders", "concurrency = 65", "`65`: write a whole number from 1 to 64"),
            ("orders", "concurrency = 0", "`0`: write a whole number from 1 to 64"),
            ("orders", "page_size = 0", "`0`: write a whole number from 1"),
            ("orders", "page_size = 99999999999999999999", "write a whole number from 1"),
            ("orders", "profil = 'x'", "unknown key `profil`: did you mean `profile`?"),
            ("orders", "records = 'a..b'", "`orders.records`: `a..b`"),
        ] {
            let kind = SourceKind::ALL.into_iter().find(|known| known.table() == kind).unwrap();
            let table = Table::parse("etl.toml", &format!("\n{text}")).unwrap();
            let Err(error) = read(&table, kind) else { panic!("{text}: no mistake is told") };
            let error = error.to_string();
            assert!(error.starts_with("etl.toml, line 2: ") && error.contains(message), "{text}: {error}");
        }
    }
}
