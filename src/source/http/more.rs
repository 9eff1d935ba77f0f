//! Members that a list does not hold, by requests of their own: such as the variations of a product.
//!
//! Reads each list of them as any other list: by its pagination, to its end, counted. They are no records of the list that they
//! are asked for by, and its counts do not have them.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{asked::AskedReader, judge::Fetched, request::Requester};
use crate::{
    model::Pairs,
    net::redact,
    settings::{Inherited, MoreRequest, SkipCandidate, SkipRule},
    source::{Query, SourceError, body::Node},
};

/// Asks for the members that belong to records.
pub(super) struct MoreReader<'a> {
    request: &'a MoreRequest,
    lists: AskedReader<'a>,
}

impl<'a> MoreReader<'a> {
    /// # Errors
    /// [`SourceError::Network`], [`SourceError::Credentials`].
    pub(super) fn new(request: &'a MoreRequest, query: &'a Query<'a>, source: &Requester<'a>) -> Result<MoreReader<'a>, SourceError> {
        Ok(MoreReader { request, lists: AskedReader::new(&request.list, query, source)? })
    }

    /// The page, with the members that belong to its records.
    ///
    /// # Errors
    /// A request that failed after all retries, a list that is not complete, a record without the id to ask by, a signal.
    pub(super) async fn complete(&self, fetched: Fetched) -> Result<Fetched, SourceError> {
        let page = &fetched;
        let records: Vec<&[u8]> = page.records().collect();
        let asked = stream::iter(records.into_iter().map(|record| self.of_record(record, page)));
        let more: Vec<Vec<Vec<u8>>> = asked.buffered(self.request.list.list.http.concurrency.max(1)).try_collect().await?;
        Ok(Fetched { more, ..fetched })
    }

    /// The members that belong to a record.
    async fn of_record(&self, record: &[u8], page: &Fetched) -> Result<Vec<Vec<u8>>, SourceError> {
        let Some(node) = Node::of_bytes(record).filter(|node| matches!(node, Node::Object(_))) else {
            return Ok(Vec::new());
        };
        if self.request.when.as_ref().is_some_and(|when| !holds(when, &node)) {
            return Ok(Vec::new());
        }
        let Some(id) = node.at(&self.request.list.id).and_then(Node::text) else {
            return Err(SourceError::NoId { url: redact::url(&page.url), path: self.request.list.id.to_string() });
        };
        let members = self.lists.list(id).await?;
        Ok(members.iter().map(|member| with_inherited(member, record, &self.request.inherit)).collect())
    }
}

/// Whether a record fulfils a condition.
fn holds(rule: &SkipRule, record: &Node) -> bool {
    let value = match record.at(&rule.path) {
        None | Some(Node::Null) => SkipCandidate::Missing,
        Some(Node::Bool(true)) => SkipCandidate::Text("true"),
        Some(Node::Bool(false)) => SkipCandidate::Text("false"),
        Some(Node::Array(_) | Node::Object(_)) => SkipCandidate::Other,
        Some(value @ (Node::Text(_) | Node::Number(_))) => value.text().map_or(SkipCandidate::Missing, SkipCandidate::Text),
    };
    rule.values.take(value)
}

/// A member, with what it has not itself and takes from the record that it belongs to. What is no object stays as it is.
fn with_inherited(member: &[u8], record: &[u8], inherited: &[Inherited]) -> Vec<u8> {
    let (Ok(own), Ok(of_record)) = (serde_json::from_slice::<Pairs<'_>>(member), serde_json::from_slice::<Pairs<'_>>(record)) else {
        return member.to_vec();
    };
    let is_blank = |raw: &str| matches!(raw.trim(), "null" | "\"\"");
    let has = |key: &str| own.0.iter().any(|(name, value)| *name == key && !is_blank(value.get()));
    let taken = inherited.iter().filter(|inherited| !has(&inherited.key)).filter_map(|inherited| {
        let (_, value) = of_record.0.iter().find(|(name, _)| *name == inherited.from)?;
        Some((inherited.key.as_str(), value.get()))
    });
    let taken: Vec<(&str, &str)> = taken.collect();
    let kept = own.0.iter().map(|(name, value)| (&**name, value.get()));
    let kept = kept.filter(|(name, _)| taken.iter().all(|(key, _)| key != name));
    let pairs: Vec<String> =
        kept.chain(taken.iter().copied()).map(|(name, value)| format!("{}:{value}", serde_json::Value::from(name))).collect();
    format!("{{{}}}", pairs.join(",")).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::SkipValues;

    #[test]
    fn a_member_takes_what_it_has_not_itself() {
        let inherited = [("name", "name"), ("parent_id", "id")].map(|(key, from)| Inherited { key: key.into(), from: from.into() });
        let with = |member: &str| {
            let record = br#"{"id":7,"name":"Shirt \u00e9","price":1.50}"#;
            String::from_utf8(with_inherited(member.as_bytes(), record, &inherited)).unwrap()
        };
        assert_eq!(with(r#"{"id":8,"price":2.50}"#), r#"{"id":8,"price":2.50,"name":"Shirt \u00e9","parent_id":7}"#);
        assert_eq!(with(r#"{"name":"","parent_id":3}"#), r#"{"parent_id":3,"name":"Shirt \u00e9"}"#);
        assert_eq!(with(r#"{"name":"Blue","parent_id":null}"#), r#"{"name":"Blue","parent_id":7}"#);
        assert_eq!(with("[1]"), "[1]");
    }

    #[test]
    fn a_condition_is_about_the_text_of_a_value() {
        let node = Node::parse(r#"{"type":"variable","n":2,"yes":true,"none":null,"list":[],"object":{"a":1}}"#).unwrap();
        let rule = |path: &str, values| SkipRule { path: path.parse().unwrap(), values };
        let one_of = |values: &[&str]| SkipValues::OneOf(values.iter().map(|value| (*value).to_owned()).collect());
        assert!(holds(&rule("type", one_of(&["simple", "variable"])), &node) && !holds(&rule("type", one_of(&["simple"])), &node));
        assert!(holds(&rule("n", one_of(&["2"])), &node) && holds(&rule("yes", one_of(&["true"])), &node));
        assert!(holds(&rule("type", SkipValues::Any), &node) && !holds(&rule("none", SkipValues::Any), &node));
        for path in ["list", "object"] {
            assert!(holds(&rule(path, SkipValues::Any), &node) && !holds(&rule(path, one_of(&["a"])), &node), "{path}");
        }
        assert!(holds(&rule("n", one_of(&["2.0"])), &node), "numbers are compared by value");
        assert!(holds(&rule("none", SkipValues::NoneOf(vec!["variable".into()])), &node));
        let any_but = |values: &[&str]| SkipValues::AnyBut(values.iter().map(|value| (*value).to_owned()).collect());
        assert!(holds(&rule("n", any_but(&["0"])), &node) && !holds(&rule("n", any_but(&["0", "2"])), &node));
        assert!(!holds(&rule("none", any_but(&["0"])), &node), "what is missing is not there");
    }
}
