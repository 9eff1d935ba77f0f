//! The table of one source (`[orders]`, `[users]`, `[products]`): its keys, and the profile that it describes.

use std::collections::BTreeMap;

use super::{CountRequest, Filter, Profile, SkipRule, TimeFormat, auth, fields, pagination};
use crate::{
    model::FieldPath,
    settings::{
        HttpProfile, SettingsError, SourceKind,
        reader::Reader,
        setting::bounds,
        toml_tree::{Place, Table},
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

/// Reads the table of a source.
pub(in crate::settings) fn read(table: &Table, kind: SourceKind) -> Result<SourceTable, SettingsError> {
    let table = Reader::new(table, kind.table());
    if let Some((key, _)) = table.table().by_line().into_iter().find(|(key, _)| kind.lacks(key)) {
        return Err(table.error(key, format!("`{key}` belongs to orders: {} have none", kind.table())));
    }
    table.only(&kind.keys())?;
    let pages = pagination::read(table.inner("pagination")?)?;
    let page_size = whole(&table, "page_size")?;
    let mut query = table.scalar_table("query")?;
    if let (Some(parameter), Some(size)) = (pages.size_parameter, page_size) {
        query.entry(parameter).or_insert_with(|| size.to_string());
    }
    let http = HttpProfile {
        pagination: pages.pagination,
        page_size,
        auth: auth::read(table.inner("auth")?)?,
        filter: filter(table.inner("filter")?)?,
        query,
        headers: headers(&table)?,
        requests_per_second: table.number("requests_per_second", bounds::REQUESTS_PER_SECOND)?,
        concurrency: table.whole("concurrency", bounds::CONCURRENCY)?.and_then(|count| usize::try_from(count).ok()).unwrap_or(1),
        count: None,
        trusts_counts: pages.trusts_counts,
    };
    let profile = Profile {
        records: records(&table)?,
        fields: fields::read(&table, "fields", kind)?,
        line_fields: fields::read(&table, "line_fields", kind)?,
        skip: table.tables("skip")?.iter().map(skip).collect::<Result<_, _>>()?,
        http,
    };
    Ok(SourceTable { name: table.text("name")?, path: table.text("path")?, count: count(table.inner("count")?)?, profile })
}

fn whole(table: &Reader<'_>, key: &str) -> Result<Option<u32>, SettingsError> {
    Ok(table.whole(key, bounds::PAGE_SIZE)?.and_then(|size| u32::try_from(size).ok()))
}

fn records(table: &Reader<'_>) -> Result<Option<FieldPath>, SettingsError> {
    match table.text("records")?.as_deref() {
        Some("." | "") => Ok(Some(FieldPath::root())),
        _ => table.path("records"),
    }
}

fn skip(rule: &Reader<'_>) -> Result<SkipRule, SettingsError> {
    rule.only(&["path", "equals"])?;
    Ok(SkipRule { path: rule.needed_path("path")?, equals: rule.scalar("equals")? })
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
        if value.parse::<reqwest::header::HeaderValue>().is_err() {
            return Err(written.error(name, "a header can't have this value"));
        }
    }
    Ok(headers)
}

fn filter(table: Option<Reader<'_>>) -> Result<Filter, SettingsError> {
    let Some(table) = table else { return Ok(Filter::default()) };
    table.only(&["since", "until", "updated_since", "updated_until", "format"])?;
    let format = match table.text("format")?.as_deref() {
        None | Some("rfc3339") => TimeFormat::Rfc3339,
        Some("naive") => TimeFormat::Naive,
        Some("date") => TimeFormat::Date,
        Some("epoch") => TimeFormat::Epoch,
        Some("epoch_ms") => TimeFormat::EpochMillis,
        Some(other) => return Err(table.error("format", format!("`{other}`: write rfc3339, naive, date, epoch or epoch_ms"))),
    };
    Ok(Filter {
        since: table.text("since")?,
        until: table.text("until")?,
        updated_since: table.text("updated_since")?,
        updated_until: table.text("updated_until")?,
        format,
    })
}
