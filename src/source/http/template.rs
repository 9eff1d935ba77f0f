//! Requests whose parameters go into texts, bodies and paths: `limit={offset},{size}`, a body of JSON, variables of GraphQL.
//!
//! The pager and the window write plain parameters into a URL. Here those that a template names leave the URL, and stand where
//! the template has its places. Sends nothing.

use std::{borrow::Cow, collections::BTreeMap};

use reqwest::Url;
use serde_json::Value;

use crate::{
    net::redact,
    settings::{BodyTemplate, HttpProfile, Pagination, Template},
    source::{error::SentRequest, url_query},
};

/// A request as it is sent.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct PreparedRequest {
    pub(super) url: Url,
    /// The body of a POST; `None` is a GET.
    pub(super) body: Option<Vec<u8>>,
}

impl PreparedRequest {
    /// The request as an error shows it.
    pub(super) fn shown(&self) -> SentRequest {
        SentRequest { method: if self.body.is_some() { "POST" } else { "GET" }, url: redact::url(&self.url) }
    }
}

/// The parameters of a URL, by name.
type Parameters<'u> = BTreeMap<Cow<'u, str>, Cow<'u, str>>;

/// The request for a URL of the pager.
pub(super) fn prepare<'u>(profile: &HttpProfile, url: &'u Url) -> PreparedRequest {
    if profile.templates.is_empty() && profile.body.is_none() {
        return PreparedRequest { url: url.clone(), body: None };
    }
    let parameters: Parameters<'u> = url.query_pairs().collect();
    let is_own = |name: &str| !profile.templates.iter().any(|(own, _)| own == name) && parameters.contains_key(name);
    let mut used: Vec<String> = profile.templates.iter().flat_map(|(_, template)| template.names()).map(str::to_owned).collect();
    used.extend(profile.body.iter().flat_map(BodyTemplate::names));
    let mut sent = url_query::without_names(url, &used);
    let filled =
        profile.templates.iter().filter_map(|(name, template)| Some((name.as_str(), template.fill(&|name| parameter(&parameters, name))?)));
    let filled: Vec<_> = filled.filter(|(name, _)| !is_own(name)).collect();
    sent = url_query::appended(&sent, filled.iter().map(|(name, value)| (*name, value.as_str())));
    let body = profile.body.as_ref().map(|body| {
        let continues = cursor_parameter(&profile.pagination).is_some_and(|name| parameters.contains_key(name));
        let template = body.next.as_ref().filter(|_| continues).unwrap_or(&body.first);
        let mut value = filled_json(template, &parameters).unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        if let (Some(query), Value::Object(map)) = (&body.query, &mut value) {
            map.insert("query".to_owned(), query.as_str().into());
        }
        value.to_string().into_bytes()
    });
    PreparedRequest { url: sent, body }
}

fn parameter<'p>(parameters: &'p Parameters<'_>, name: &str) -> Option<&'p str> {
    parameters.get(name).map(AsRef::as_ref)
}

/// The parameter that every page but the first has.
fn cursor_parameter(pagination: &Pagination) -> Option<&str> {
    match pagination {
        Pagination::Cursor { parameter, .. } | Pagination::LastId { parameter, .. } => Some(parameter),
        _ => None,
    }
}

/// What joins texts: `{"$join": " AND ", "$parts": ["a:{since}", "b:{until}"]}` leaves out the parts that have no value.
const JOIN: &str = "$join";
const PARTS: &str = "$parts";

/// A JSON value with its places filled; `None` where none of its places has a value. Containers that become empty so are left out.
fn filled_json(value: &Value, parameters: &Parameters<'_>) -> Option<Value> {
    let fill = |text: &str| Template::parse(text).fill(&|name| parameter(parameters, name));
    match value {
        Value::String(text) => {
            let filled = fill(text)?;
            Some(match Template::parse(text).is_number() {
                true => filled.parse::<i64>().map_or(Value::String(filled), Value::from),
                false => Value::String(filled),
            })
        }
        Value::Array(list) => {
            let filled: Vec<_> = list.iter().filter_map(|value| filled_json(value, parameters)).collect();
            (list.is_empty() || !filled.is_empty()).then_some(Value::Array(filled))
        }
        Value::Object(map) => {
            if let (Some(Value::String(join)), Some(Value::Array(parts))) = (map.get(JOIN), map.get(PARTS)) {
                let parts: Vec<_> = parts.iter().filter_map(Value::as_str).filter_map(fill).collect();
                return (!parts.is_empty()).then(|| Value::String(parts.join(join)));
            }
            let filled: serde_json::Map<_, _> =
                map.iter().filter_map(|(key, value)| Some((key.clone(), filled_json(value, parameters)?))).collect();
            (map.is_empty() || !filled.is_empty()).then_some(Value::Object(filled))
        }
        other => Some(other.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn prepared(templates: &[(&str, &str)], body: Option<BodyTemplate>, url: &str) -> (String, Value) {
        let templates = templates.iter().map(|(name, text)| ((*name).to_owned(), Template::parse(text))).collect();
        let pagination = Pagination::Cursor { path: "c".parse().unwrap(), parameter: "cursor".into(), more: None };
        let profile = HttpProfile { templates, body, pagination, ..HttpProfile::default() };
        let PreparedRequest { url, body } = prepare(&profile, &url.parse().unwrap());
        let query = url.query_pairs().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
        (query, body.map_or(Value::Null, |body| serde_json::from_slice(&body).unwrap()))
    }

    #[test]
    fn parameters_stand_where_the_templates_have_their_places() {
        let window = [("filter", "creationdate:[{since}..{until}]"), ("where", "a >= {since}"), ("where", "a < {until}"), ("sort", "id")];
        let query = |url: &str| prepared(&window, None, url).0;
        assert_eq!(query("http://h/o?x=1&since=5&until=7"), "x=1&filter=creationdate:[5..7]&where=a >= 5&where=a < 7&sort=id");
        assert_eq!(query("http://h/o?since=5"), "filter=creationdate:[5..]&where=a >= 5&sort=id");
        assert_eq!(query("http://h/o?x=1"), "x=1&sort=id");
        assert_eq!(prepared(&[("limit", "{offset|0},{size}")], None, "http://h/o?offset=20&size=10").0, "limit=20,10");
        assert_eq!(
            prepared(&[("field", "{since?created_at}"), ("value", "{since}")], None, "http://h/o?since=5").0,
            "field=created_at&value=5"
        );
        assert_eq!(prepared(&[("field", "{since?created_at}")], None, "http://h/o").0, "");
    }

    #[test]
    fn a_body_has_what_has_a_value_and_the_next_page_may_have_another() {
        let first = json!({
            "limit": "{size:number}", "cursor": "{cursor}", "ids": ["a"], "none": {},
            "filter": {"created": {"from": "{since}", "to": "{until}"}},
            "text": {"$join": " ", "$parts": ["a:>'{since}'", "a:<'{until}'"]},
        });
        let next = Some(json!({"cursor": "{cursor}", "limit": "{size:number}"}));
        let body = BodyTemplate { first, next, query: None };
        let (query, sent) = prepared(&[], Some(body.clone()), "http://h/o?size=10&x=1");
        assert_eq!((query.as_str(), sent), ("x=1", json!({"limit": 10, "ids": ["a"], "none": {}})));
        let (_, sent) = prepared(&[], Some(body.clone()), "http://h/o?size=10&since=5");
        assert_eq!(sent, json!({"limit": 10, "ids": ["a"], "none": {}, "filter": {"created": {"from": "5"}}, "text": "a:>'5'"}));
        let (_, sent) = prepared(&[], Some(body), "http://h/o?size=10&since=5&cursor=9");
        assert_eq!(sent, json!({"limit": 10, "cursor": "9"}));
    }
}
