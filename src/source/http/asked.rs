//! Lists that belong to a record, by requests of their own: lines, where a source lists orders without them or only the first of each,
//! and refunds, where it lists orders without them or without their times.
//!
//! Puts such a list into its record, under a key of its own (`source::asked_key`), so that nothing after this knows of the requests.
//! Reads each list as any other list: by its pagination, to its end, counted.

use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::Url;

use super::{
    collected::{CollectedList, ElementIds},
    judge::Fetched,
    list::ListReader,
    request::Requester,
};
use crate::{
    net::redact,
    settings::{ASKED_LINES, ASKED_REFUNDS, ListRequest, Pagination, joined, says_some},
    source::{
        Completeness, CompletenessStatus, Query, RecordShape, SourceError, asked_key,
        body::{ErrorElements, Node},
        counters::LineListEnd,
        url_query,
    },
};

/// The parameter by which templates name the record, and the id of an element of its list.
const ID: &str = "id";

/// Keys of the id of a line, which no other element of a list has for its own id.
const LINE_IDS: [&str; 7] = ["line_item_id", "lineItemId", "line_id", "lineId", "order_item_id", "orderItemId", "OrderItemId"];

/// How often a list is read before it counts as one that never stands still.
const MOST_READINGS: u32 = 3;

/// What is asked for and goes into its record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    /// The lines of an order.
    Lines,
    /// Its refunds.
    Refunds,
}

impl Asked {
    /// The key under which a record gets it.
    fn key(self) -> &'static str {
        match self {
            Asked::Lines => ASKED_LINES,
            Asked::Refunds => ASKED_REFUNDS,
        }
    }

    /// Whether a record that says this is asked for it. One that says nothing of refunds may have some: only their absence is certain.
    fn is_said_by(self, value: Option<&Node>) -> bool {
        match self {
            Asked::Lines => value.is_some_and(is_true),
            Asked::Refunds => value.is_none_or(is_some),
        }
    }
}

/// Asks for the lists that belong to records.
pub(super) struct AskedReader<'a> {
    request: &'a ListRequest,
    query: &'a Query<'a>,
    requester: Requester<'a>,
    /// The ids of elements.
    ids: ElementIds,
    /// The ids of lines.
    line_ids: ElementIds,
}

impl<'a> AskedReader<'a> {
    /// # Errors
    /// [`SourceError::Network`], [`SourceError::Credentials`].
    pub(super) fn new(request: &'a ListRequest, query: &'a Query<'a>, source: &Requester<'a>) -> Result<AskedReader<'a>, SourceError> {
        let requester = source.of_same_source(&request.list.http)?;
        let shape = |keys: &[&str]| {
            let id = keys.iter().filter_map(|key| key.parse().ok()).collect();
            RecordShape { id, errors: ErrorElements::Lone, ..RecordShape::default() }
        };
        let ids = ElementIds { shape: shape(&[ID]), sku: Vec::new() };
        let line_ids = ElementIds { shape: shape(&[LINE_IDS.as_slice(), &[ID]].concat()), sku: query.shape.sku.clone() };
        Ok(AskedReader { request, query, requester, ids, line_ids })
    }

    /// The page, with the lists of those records that need it.
    ///
    /// # Errors
    /// A request that failed after all retries, a list that is not complete, a signal.
    pub(super) async fn complete(&self, fetched: Fetched, asked: Asked) -> Result<Fetched, SourceError> {
        let records: Vec<&[u8]> = fetched.records().collect();
        let hidden: Vec<Option<Vec<u8>>> = records.iter().map(|record| asked_key::hidden(record, asked.key())).collect();
        asked_key::warn_of_own(hidden.iter().flatten().count(), asked.key());
        let completed = stream::iter(records.into_iter().zip(hidden).map(|(record, hidden)| self.record(record, hidden, asked)));
        let records: Vec<Option<Vec<u8>>> = completed.buffered(self.request.list.http.concurrency.max(1)).try_collect().await?;
        if records.iter().all(Option::is_none) {
            return Ok(fetched);
        }
        let (mut body, mut places) = (Vec::with_capacity(fetched.body.len()), Vec::with_capacity(records.len()));
        for (completed, record) in records.iter().zip(fetched.records()) {
            let start = body.len();
            body.extend_from_slice(completed.as_deref().unwrap_or(record));
            places.push(start..body.len());
        }
        Ok(Fetched { body: body.into(), places, ..fetched })
    }

    /// The record with its list; `hidden` where it needs none, is no object, or is not taken by the run. What it has itself where the
    /// list goes is hidden in any case.
    async fn record(&self, record: &[u8], hidden: Option<Vec<u8>>, asked: Asked) -> Result<Option<Vec<u8>>, SourceError> {
        let elements = match self.wanted(record, asked) {
            Wanted::Nothing => return Ok(hidden),
            // Without an id its list can't be had. What stands in its place is no list: a record without lines is dropped, and refunds
            // that it announces are counted as dropped.
            Wanted::ButNoId => return Ok(Some(asked_key::with_value(record, asked.key(), b"\"no id\""))),
            Wanted::Of(id) => match asked {
                Asked::Lines => self.list_of(&id, &self.line_ids).await?,
                Asked::Refunds => self.list(&id).await?,
            },
        };
        let list = [b"[", elements.join(&b','.to_owned()).as_slice(), b"]"].concat();
        Ok(Some(asked_key::with_value(record, asked.key(), &list)))
    }

    /// Whether the list of a record is to be asked for.
    fn wanted(&self, record: &[u8], asked: Asked) -> Wanted {
        if self.query.filter.is_some_and(|filter| !filter.takes(record)) {
            return Wanted::Nothing;
        }
        let Some(node) = Node::of_bytes(record).filter(|node| matches!(node, Node::Object(_))) else { return Wanted::Nothing };
        let is_wanted = match &self.request.when {
            None => true,
            Some(path) => asked.is_said_by(node.at(path)),
        };
        match node.at(&self.request.id).and_then(Node::text) {
            _ if !is_wanted => Wanted::Nothing,
            Some(id) if !id.trim().is_empty() => Wanted::Of(id.to_owned()),
            _ => Wanted::ButNoId,
        }
    }

    /// The elements of the list of a record, as they are written.
    pub(super) async fn list(&self, id: &str) -> Result<Vec<Vec<u8>>, SourceError> {
        self.list_of(id, &self.ids).await
    }

    /// The elements of a list as its last reading has them, each once. A list that moved while it was read is read again.
    async fn list_of(&self, id: &str, ids: &ElementIds) -> Result<Vec<Vec<u8>>, SourceError> {
        let ListRequest { base, path, list, .. } = self.request;
        let escaped: String = url_query::encoded("", id).trim_start_matches('=').replace('+', "%20");
        let path = path.fill(&|name| (name == ID).then_some(escaped.as_str())).unwrap_or_default();
        let url = place(base, &path);
        let url = if list.http.body.is_some() || !list.http.templates.is_empty() { url_query::with(&url, &[(ID, id)]) } else { url };
        let query = Query::of(list, self.query, &ids.shape);
        let start = query.narrowed(&url);
        let reader = ListReader { requester: &self.requester, start: &start, query: &query };
        let refused = |detail: String| SourceError::Pagination { request: self.requester.sent(&start), page: 1, detail };
        // Pages that share elements each time are pages that overlap: a second reading says no more than the first.
        let mut may_overlap = matches!(list.http.pagination, Pagination::Cursor { .. } | Pagination::LastId { .. });
        let mut before: Option<Vec<Vec<u8>>> = None;
        for _ in 0..MOST_READINGS {
            let mut collected = CollectedList::new(ids);
            let completeness = Box::pin(reader.read(&mut collected)).await?;
            if completeness.is_failed() && !collected.has_all(completeness.claimed) {
                return Err(refused(completeness.why.unwrap_or_else(|| "the list is not complete".to_owned())));
            }
            let stood_still = !collected.has_moved() && (may_overlap || !collected.has_repeated());
            if stood_still || before.as_ref().is_some_and(|before| collected.agrees_with(before)) {
                self.count_end(&completeness, collected.pages());
                return Ok(collected.into_elements());
            }
            tracing::warn!(url = redact::url(&start), "the list of a record changed while it was read: it is read again");
            may_overlap = true;
            before = Some(collected.into_elements());
        }
        Err(refused(format!("the list changed each of the {MOST_READINGS} times that it was read")))
    }

    /// Counts how a list that follows signals ended.
    fn count_end(&self, completeness: &Completeness, pages: u64) {
        let follows = matches!(self.request.list.http.pagination, Pagination::Cursor { .. } | Pagination::NextUrl { .. });
        let counters = self.requester.access().counters;
        match (follows, pages, completeness.status) {
            (true, 2.., _) => counters.line_list(LineListEnd::Followed),
            (true, _, CompletenessStatus::Unproven) => counters.line_list(LineListEnd::Open),
            _ => {}
        }
    }
}

/// Whose list is to be asked for.
enum Wanted {
    /// Nobody's: the record needs none, is no object, or is not taken by the run.
    Nothing,
    /// That of a record without an id.
    ButNoId,
    /// That of the record with this id.
    Of(String),
}

/// Whether a value says yes.
fn is_true(value: &Node) -> bool {
    match value {
        Node::Bool(is_true) => *is_true,
        Node::Text(text) => text.trim().eq_ignore_ascii_case("true") || text.trim() == "1",
        Node::Number(text) => text == "1",
        Node::Null | Node::Array(_) | Node::Object(_) => false,
    }
}

/// Whether a value is or says something: a list with elements, an amount that is not zero.
fn is_some(value: &Node) -> bool {
    match value {
        Node::Null => false,
        Node::Bool(is_true) => *is_true,
        Node::Text(text) | Node::Number(text) => says_some(text),
        Node::Array(elements) => !elements.is_empty(),
        Node::Object(_) => true,
    }
}

/// The URL of a path beneath a base, or the base itself.
fn place(base: &Url, path: &str) -> Url {
    if path.is_empty() {
        return base.clone();
    }
    let mut url = joined(base, path);
    url.set_query(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refunds_are_asked_for_unless_a_record_says_that_it_has_none() {
        for (value, is_asked) in [
            (Some("[]"), false),
            (Some(r#"[{"id":1}]"#), true),
            (Some("null"), false),
            (Some("0"), false),
            (Some("0.00"), false),
            (Some(r#""0.0000""#), false),
            (Some(r#""-9.98""#), true),
            (Some("9.98"), true),
            (Some(r#""""#), false),
            (Some("false"), false),
            (Some(r#""false""#), false),
            (Some("true"), true),
            (None, true),
        ] {
            let node = value.map(|value| Node::parse(value).unwrap());
            assert_eq!(Asked::Refunds.is_said_by(node.as_ref()), is_asked, "{value:?}");
        }
        assert!(!Asked::Lines.is_said_by(None) && Asked::Lines.is_said_by(Some(&Node::Bool(true))));
    }

    #[test]
    fn a_list_goes_into_its_record_under_its_key() {
        let with = |record: &str, asked: Asked| String::from_utf8(asked_key::with_value(record.as_bytes(), asked.key(), b"[1]")).unwrap();
        assert_eq!(with(r#"{"id":7 }"#, Asked::Refunds), r#"{"id":7,"etl_refunds":[1]}"#);
        assert_eq!(with("{ }", Asked::Lines), r#"{"etl_lines":[1]}"#);
    }
}
