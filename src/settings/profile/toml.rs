//! A profile as it is written: every key may be missing, and what one layer does not say, the one below it does.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use super::{
    Auth, CountRequest, CredentialsIn, FieldRule, Filter, HttpProfile, Pagination, Profile, SkipRule, TimeFormat, TimeText, Total, Units,
};
use crate::model::{FieldPath, MinorUnits};

/// The table of one source (`[orders]`, `[users]`, `[products]`).
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "each is a key of the reference in docs/sources.md, under its name")]
pub struct SourceToml {
    pub name: Option<String>,
    pub profile: Option<String>,
    pub location: Option<String>,
    pub path: Option<String>,
    pub records: Option<String>,
    pub page_size: Option<u32>,
    pub concurrency: Option<usize>,
    pub requests_per_second: Option<f64>,
    pub fields: BTreeMap<String, FieldToml>,
    pub line_fields: BTreeMap<String, FieldToml>,
    pub pagination: Option<PaginationToml>,
    pub auth: Option<AuthToml>,
    pub filter: Option<FilterToml>,
    #[serde(deserialize_with = "texts")]
    pub query: BTreeMap<String, String>,
    #[serde(deserialize_with = "texts")]
    pub headers: BTreeMap<String, String>,
    pub skip: Option<Vec<SkipToml>>,
    pub count: Option<CountToml>,
}

/// `[orders.count]`: a request that counts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountToml {
    /// Its path beneath the URL of the API.
    pub path: String,
    /// Where its answer holds the number.
    #[serde(default = "CountToml::default_value")]
    pub value: String,
}

impl CountToml {
    fn default_value() -> String {
        "count".to_owned()
    }
}

/// Reads a source's table, or its location alone.
pub(in super::super) fn location_or_table<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SourceToml, D::Error> {
    struct LocationOrTable;
    impl<'de> Visitor<'de> for LocationOrTable {
        type Value = SourceToml;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a location, or a table of a source's profile")
        }

        fn visit_str<E: serde::de::Error>(self, location: &str) -> Result<SourceToml, E> {
            Ok(SourceToml { location: Some(location.to_owned()), ..SourceToml::default() })
        }

        fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<SourceToml, M::Error> {
            SourceToml::deserialize(MapAccessDeserializer::new(map))
        }
    }
    deserializer.deserialize_any(LocationOrTable)
}

/// A table of scalars, as texts.
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let scalars = BTreeMap::<String, Scalar>::deserialize(deserializer)?;
    Ok(scalars.into_iter().map(|(name, value)| (name, value.0)).collect())
}

/// A text, a number or a boolean, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar, D::Error> {
        struct AnyScalar;
        impl Visitor<'_> for AnyScalar {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a whole number or a boolean")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(text.to_owned()))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }

            fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
        }
        deserializer.deserialize_any(AnyScalar)
    }
}

/// Where a field stands: a path, some paths, or a table that says more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldToml(pub RuleToml);

/// What can be said of a field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleToml {
    /// One path.
    pub path: Option<String>,
    /// Several, tried in order.
    pub paths: Vec<String>,
    /// The value, whatever a record says.
    value: Option<Scalar>,
    /// The value where the paths find nothing.
    default: Option<Scalar>,
    /// Decimals between what is written and major units, or `currency`.
    scale: Option<Scalar>,
    /// How a time is written, where it is not as the contract has it.
    format: Option<String>,
}

impl<'de> Deserialize<'de> for FieldToml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FieldToml, D::Error> {
        struct AnyField;
        impl<'de> Visitor<'de> for AnyField {
            type Value = FieldToml;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path, an array of paths, or a table with `path`, `paths`, `value`, `default`, `scale` or `format`")
            }

            fn visit_str<E: serde::de::Error>(self, path: &str) -> Result<FieldToml, E> {
                Ok(FieldToml(RuleToml { path: Some(path.to_owned()), ..RuleToml::default() }))
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<FieldToml, S::Error> {
                let mut paths = Vec::new();
                while let Some(path) = seq.next_element()? {
                    paths.push(path);
                }
                Ok(FieldToml(RuleToml { paths, ..RuleToml::default() }))
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<FieldToml, M::Error> {
                RuleToml::deserialize(MapAccessDeserializer::new(map)).map(FieldToml)
            }
        }
        deserializer.deserialize_any(AnyField)
    }
}

/// `[orders.pagination]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PaginationToml {
    kind: Option<String>,
    path: Option<String>,
    parameter: Option<String>,
    size_parameter: Option<String>,
    first: Option<u64>,
    id: Option<String>,
    more: Option<String>,
    pages_header: Option<String>,
    pages: Option<String>,
    total: Option<String>,
}

/// `[orders.auth]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthToml {
    kind: Option<String>,
    header: Option<String>,
    parameter: Option<String>,
    token_url: Option<String>,
    scope: Option<String>,
}

/// `[orders.filter]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FilterToml {
    since: Option<String>,
    until: Option<String>,
    updated_since: Option<String>,
    updated_until: Option<String>,
    format: Option<String>,
}

/// One of `[[orders.skip]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkipToml {
    path: String,
    equals: Option<Scalar>,
}

/// What is wrong with a profile: the key below the source's table, and why.
pub type ProfileError = (String, String);

fn wrong(key: impl Into<String>, detail: impl fmt::Display) -> ProfileError {
    (key.into(), detail.to_string())
}

fn path(key: &str, text: &str) -> Result<FieldPath, ProfileError> {
    text.parse().map_err(|error| wrong(key, format!("`{text}`: {error}")))
}

fn optional_path(key: &str, text: Option<&String>) -> Result<Option<FieldPath>, ProfileError> {
    text.map(|text| path(key, text)).transpose()
}

impl SourceToml {
    /// What this says, and where it is silent, what `base` says.
    #[must_use]
    pub fn over(self, base: SourceToml) -> SourceToml {
        fn all<V>(over: BTreeMap<String, V>, mut base: BTreeMap<String, V>) -> BTreeMap<String, V> {
            base.extend(over);
            base
        }
        SourceToml {
            name: self.name.or(base.name),
            profile: self.profile.or(base.profile),
            location: self.location.or(base.location),
            path: self.path.or(base.path),
            records: self.records.or(base.records),
            page_size: self.page_size.or(base.page_size),
            concurrency: self.concurrency.or(base.concurrency),
            requests_per_second: self.requests_per_second.or(base.requests_per_second),
            fields: all(self.fields, base.fields),
            line_fields: all(self.line_fields, base.line_fields),
            pagination: self.pagination.or(base.pagination),
            auth: self.auth.or(base.auth),
            filter: self.filter.or(base.filter),
            query: all(self.query, base.query),
            headers: all(self.headers, base.headers),
            skip: self.skip.or(base.skip),
            count: self.count.or(base.count),
        }
    }

    /// The request that counts, once it is known where the API is.
    ///
    /// # Errors
    /// The key that can't be used, and why.
    pub fn count_request(&self, api: Option<&reqwest::Url>, orders: &reqwest::Url) -> Result<Option<CountRequest>, ProfileError> {
        let Some(count) = &self.count else { return Ok(None) };
        let value = path("count.value", &count.value)?;
        let url = match api {
            Some(api) => super::super::sources::joined(api, &count.path),
            None => orders.join(&count.path).map_err(|error| wrong("count.path", format!("`{}`: {error}", count.path)))?,
        };
        Ok(Some(CountRequest { url, value }))
    }

    /// The profile that this describes. `fields` and `line_fields` are the names that a field may have.
    ///
    /// # Errors
    /// The key that can't be used, and why.
    pub fn compile(&self, fields: &[&str], line_fields: &[&str]) -> Result<Profile, ProfileError> {
        let records = match self.records.as_deref() {
            None => None,
            Some("." | "") => Some(FieldPath::root()),
            Some(text) => Some(path("records", text)?),
        };
        let mut skip = Vec::new();
        for rule in self.skip.iter().flatten() {
            skip.push(SkipRule { path: path("skip.path", &rule.path)?, equals: rule.equals.as_ref().map(|value| value.0.clone()) });
        }
        for name in self.headers.keys() {
            if name.parse::<reqwest::header::HeaderName>().is_err() {
                return Err(wrong(format!("headers.{name}"), "not the name of a header"));
            }
            if ["authorization", "cookie", "token", "key", "secret"].iter().any(|word| name.to_ascii_lowercase().contains(word)) {
                return Err(wrong(
                    format!("headers.{name}"),
                    "credentials do not belong in etl.toml: set `auth`, and the secret in the environment or .env",
                ));
            }
        }
        if self.headers.values().any(|value| value.parse::<reqwest::header::HeaderValue>().is_err()) {
            return Err(wrong("headers", "a value that no header may have"));
        }
        if self.requests_per_second.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
            return Err(wrong("requests_per_second", "write a number above 0"));
        }
        let (pagination, size_parameter) = pagination(self.pagination.as_ref())?;
        let mut query = self.query.clone();
        if let (Some(parameter), Some(size)) = (&size_parameter, self.page_size) {
            query.entry(parameter.clone()).or_insert_with(|| size.to_string());
        }
        Ok(Profile {
            records,
            fields: rules("fields", &self.fields, fields)?,
            line_fields: rules("line_fields", &self.line_fields, line_fields)?,
            skip,
            http: HttpProfile {
                pagination,
                page_size: self.page_size,
                auth: auth(self.auth.as_ref())?,
                filter: filter(self.filter.as_ref())?,
                query,
                headers: self.headers.clone(),
                requests_per_second: self.requests_per_second,
                concurrency: self.concurrency.unwrap_or(1).clamp(1, 64),
                count: None,
                trusts_counts: self.pagination.as_ref().is_none_or(|pagination| pagination.total.as_deref() != Some("")),
            },
        })
    }
}

fn rules(table: &str, written: &BTreeMap<String, FieldToml>, known: &[&str]) -> Result<BTreeMap<String, FieldRule>, ProfileError> {
    let mut rules = BTreeMap::new();
    for (name, FieldToml(rule)) in written {
        let key = format!("{table}.{name}");
        if !known.is_empty() && !known.contains(&name.as_str()) {
            return Err(wrong(key, format!("no such field: there are {}", known.join(", "))));
        }
        rules.insert(name.clone(), rule.compile(&key)?);
    }
    Ok(rules)
}

impl RuleToml {
    /// A rule of some paths, and no more.
    pub(crate) fn of_paths(paths: Vec<String>) -> RuleToml {
        RuleToml { paths, ..RuleToml::default() }
    }

    /// The rule that this describes; `key` is where it stands.
    pub(crate) fn compile(&self, key: &str) -> Result<FieldRule, ProfileError> {
        let paths = self.path.iter().chain(&self.paths).map(|text| path(key, text)).collect::<Result<Vec<_>, _>>()?;
        let units = match self.scale.as_ref().map(|scale| scale.0.as_str()) {
            None => Units::Major,
            Some("currency") => Units::OfCurrency(MinorUnits::Iso4217),
            Some("stripe") => Units::OfCurrency(MinorUnits::Stripe),
            Some(text) => match text.parse::<u32>() {
                Ok(decimals) if decimals <= 9 => Units::Minor(decimals),
                _ => return Err(wrong(key, format!("scale `{text}`: write a number of decimals up to 9, or `currency`"))),
            },
        };
        let time = match self.format.as_deref() {
            None => TimeText::Contract,
            Some("rfc2822") => TimeText::Rfc2822,
            Some(other) => return Err(wrong(key, format!("format `{other}`: write rfc2822, or nothing for all that are read anyway"))),
        };
        match (&self.value, &self.default) {
            (Some(value), None) if paths.is_empty() => {
                Ok(FieldRule { paths, default: Some(value.0.clone()), units, time, ..FieldRule::default() })
            }
            (Some(_), _) => Err(wrong(key, "`value` goes without a path and without `default`")),
            (None, default) if !paths.is_empty() || default.is_some() => {
                Ok(FieldRule { paths, default: default.as_ref().map(|value| value.0.clone()), units, time, ..FieldRule::default() })
            }
            (None, _) => Err(wrong(key, "says neither a path nor a value")),
        }
    }
}

/// The pagination, and the parameter that asks for a page's size.
fn pagination(written: Option<&PaginationToml>) -> Result<(Pagination, Option<String>), ProfileError> {
    let Some(written) = written else { return Ok((Pagination::Auto, None)) };
    let need = |key: &str, value: &Option<String>| match value {
        Some(text) => path(&format!("pagination.{key}"), text),
        None => Err(wrong(format!("pagination.{key}"), "is needed for this kind")),
    };
    let parameter = |default: &str| written.parameter.clone().unwrap_or_else(|| default.to_owned());
    let more = optional_path("pagination.more", written.more.as_ref())?;
    let total = Total {
        pages_header: written.pages_header.clone(),
        pages: optional_path("pagination.pages", written.pages.as_ref())?,
        // An empty path says that no count of the body is to be believed.
        records: optional_path("pagination.total", written.total.as_ref().filter(|path| !path.is_empty()))?,
    };
    let pagination = match written.kind.as_deref() {
        None | Some("auto") => Pagination::Auto,
        Some("link") => Pagination::Link,
        Some("next_url") => Pagination::NextUrl { path: need("path", &written.path)? },
        Some("cursor") => Pagination::Cursor { path: need("path", &written.path)?, parameter: parameter("cursor"), more },
        Some("last_id") => {
            let id = written.id.as_deref().unwrap_or("id");
            Pagination::LastId { id: path("pagination.id", id)?, parameter: parameter("starting_after"), more }
        }
        Some("page") => Pagination::Page { parameter: parameter("page"), first: written.first.unwrap_or(1), total },
        Some("offset") => Pagination::Offset { parameter: parameter("offset"), total },
        Some("single") => Pagination::Single,
        Some(other) => {
            return Err(wrong(
                "pagination.kind",
                format!("`{other}`: write auto, link, next_url, cursor, last_id, page, offset or single"),
            ));
        }
    };
    Ok((pagination, written.size_parameter.clone()))
}

fn auth(written: Option<&AuthToml>) -> Result<Auth, ProfileError> {
    let Some(written) = written else { return Ok(Auth::Environment) };
    match (written.kind.as_deref(), &written.header, &written.parameter) {
        (None | Some("environment"), None, None) => Ok(Auth::Environment),
        (None | Some("api_key"), Some(header), None) if header.parse::<reqwest::header::HeaderName>().is_ok() => {
            Ok(Auth::KeyHeader(header.clone()))
        }
        (None | Some("api_key"), Some(_), None) => Err(wrong("auth.header", "not the name of a header")),
        (None | Some("api_key"), None, Some(parameter)) => Ok(Auth::KeyParameter(parameter.clone())),
        (Some("api_key"), None, None) => Ok(Auth::KeyHeader("X-API-Key".into())),
        (Some("bearer"), None, None) => Ok(Auth::Bearer),
        (Some("basic"), None, None) => Ok(Auth::Basic),
        (Some("none"), None, None) => Ok(Auth::None),
        (Some("oauth2"), None, None) => {
            let url = written.token_url.as_deref().ok_or_else(|| wrong("auth.token_url", "is needed for this kind"))?;
            let token_url: reqwest::Url = url.parse().map_err(|error| wrong("auth.token_url", format!("`{url}`: {error}")))?;
            let is_local = token_url.host_str().is_some_and(|host| host == "localhost" || host == "127.0.0.1" || host == "[::1]");
            if token_url.scheme() != "https" && !is_local {
                return Err(wrong("auth.token_url", "secrets are sent over https only"));
            }
            Ok(Auth::ClientCredentials {
                token_url,
                scope: written.scope.clone(),
                audience: None,
                credentials_in: CredentialsIn::default(),
            })
        }
        (Some(kind), ..) => Err(wrong(
            "auth.kind",
            format!(
                "`{kind}`: write environment, bearer, api_key (with `header` or `parameter`), basic, oauth2 (with `token_url`) or none"
            ),
        )),
        (None, Some(_), Some(_)) => Err(wrong("auth", "a key goes either in a header or in a parameter")),
    }
}

fn filter(written: Option<&FilterToml>) -> Result<Filter, ProfileError> {
    let Some(written) = written else { return Ok(Filter::default()) };
    let format = match written.format.as_deref() {
        None | Some("rfc3339") => TimeFormat::Rfc3339,
        Some("naive") => TimeFormat::Naive,
        Some("date") => TimeFormat::Date,
        Some("epoch") => TimeFormat::Epoch,
        Some("epoch_ms") => TimeFormat::EpochMillis,
        Some(other) => return Err(wrong("filter.format", format!("`{other}`: write rfc3339, naive, date, epoch or epoch_ms"))),
    };
    Ok(Filter {
        since: written.since.clone(),
        until: written.until.clone(),
        updated_since: written.updated_since.clone(),
        updated_until: written.updated_until.clone(),
        format,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> SourceToml {
        ::toml::from_str(text).unwrap()
    }

    fn compiled(text: &str) -> Result<Profile, ProfileError> {
        source(text).compile(&["order_id", "currency"], &["sku", "unit_price"])
    }

    #[test]
    fn a_field_is_a_path_some_paths_or_a_table() {
        let profile = compiled(
            "fields.order_id = \"a.b\"\nfields.currency = { path = \"c\", default = \"EUR\" }\nline_fields.sku = [\"x\", \"y\"]\nline_fields.unit_price = { path = \"amount\", scale = \"currency\" }",
        )
        .unwrap();
        assert_eq!(profile.fields["order_id"].paths, ["a.b".parse().unwrap()]);
        assert_eq!(profile.fields["currency"].default.as_deref(), Some("EUR"));
        assert_eq!(profile.line_fields["sku"].paths.len(), 2);
        assert_eq!(profile.line_fields["unit_price"].units, Units::OfCurrency(MinorUnits::Iso4217));
        assert_eq!(compiled("fields.currency.value = \"EUR\"").unwrap().fields["currency"].paths, []);
    }

    #[test]
    fn what_cannot_be_meant_is_said_with_its_key() {
        for (text, key) in [
            ("fields.colour = \"a\"", "fields.colour"),
            ("fields.order_id = \"a..b\"", "fields.order_id"),
            ("fields.order_id = {}", "fields.order_id"),
            ("fields.order_id = { path = \"a\", value = 1 }", "fields.order_id"),
            ("line_fields.unit_price = { path = \"a\", scale = \"cents\" }", "line_fields.unit_price"),
            ("pagination.kind = \"pages\"", "pagination.kind"),
            ("pagination.kind = \"cursor\"", "pagination.path"),
            ("auth.kind = \"oauth2\"", "auth.token_url"),
            ("auth = { kind = \"oauth2\", token_url = \"http://shop.example/token\" }", "auth.token_url"),
            ("auth.kind = \"magic\"", "auth.kind"),
            ("headers.Authorization = \"Bearer x\"", "headers.Authorization"),
            ("filter.format = \"soon\"", "filter.format"),
            ("requests_per_second = 0.0", "requests_per_second"),
        ] {
            assert_eq!(compiled(text).unwrap_err().0, key, "{text}");
        }
    }

    #[test]
    fn one_layer_lies_over_another_key_by_key() {
        let base = source("path = \"/o\"\npage_size = 5\nfields = { order_id = \"a\", currency = \"b\" }\nquery = { x = 1, y = true }");
        let over = source("page_size = 9\nfields.order_id = \"z\"\nquery.x = \"2\"").over(base);
        assert_eq!((over.path.as_deref(), over.page_size), (Some("/o"), Some(9)));
        assert_eq!((over.fields["order_id"].0.path.as_deref(), over.fields["currency"].0.path.as_deref()), (Some("z"), Some("b")));
        assert_eq!((over.query["x"].as_str(), over.query["y"].as_str()), ("2", "true"));
    }
}
