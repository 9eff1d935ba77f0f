//! Lines of orders by requests of their own: where a source lists orders without lines, or only the first lines of each.
//!
//! Puts the lines into their record, under [`ASKED_LINES`], so that nothing after this knows of the requests. Reads each list as any
//! other list: by its pagination, to its end, counted.

use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::Url;

use super::{judge::Fetched, list::ListReader, request::Requester};
use crate::{
    settings::{ASKED_LINES, LineRequest, Pagination, joined},
    source::{Access, CompletenessStatus, Page, Query, RecordShape, SourceError, body::Node, counters::LineListEnd, url_query},
};

/// The parameter by which templates name the order, and the id of a line.
const ID: &str = "id";

/// Asks for the lines of orders.
pub(super) struct LineReader<'a> {
    request: &'a LineRequest,
    query: &'a Query<'a>,
    requester: Requester<'a>,
    shape: RecordShape,
}

impl<'a> LineReader<'a> {
    /// # Errors
    /// [`SourceError::Network`], [`SourceError::Credentials`].
    pub(super) fn new(request: &'a LineRequest, query: &'a Query<'a>, access: Access<'a>) -> Result<LineReader<'a>, SourceError> {
        let requester = Requester::new(&request.base, &request.list.http, query.credentials, access)?;
        let shape = RecordShape { id: ID.parse().into_iter().collect(), ..RecordShape::default() };
        Ok(LineReader { request, query, requester, shape })
    }

    /// The page, with the lines of those orders that need it.
    ///
    /// # Errors
    /// A request that failed after all retries, a list of lines that is not complete, a signal.
    pub(super) async fn complete(&self, fetched: Fetched) -> Result<Fetched, SourceError> {
        let records: Vec<&[u8]> = fetched.records().collect();
        let completed = stream::iter(records.into_iter().map(|record| self.record(record)));
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

    /// The record with its lines; `None` where it has them already, is no object, or is not taken by the run.
    async fn record(&self, record: &[u8]) -> Result<Option<Vec<u8>>, SourceError> {
        let lines = match self.wanted(record) {
            Wanted::Nothing => return Ok(None),
            // Without an id its lines can't be had. What stands in their place is no list, so that the record is dropped.
            Wanted::ButNoId => return Ok(Some(with_lines(record, b"\"no id\""))),
            Wanted::Of(id) => self.lines(&id).await?,
        };
        Ok(Some(with_lines(record, &[b"[", lines.join(&b','.to_owned()).as_slice(), b"]"].concat())))
    }

    /// Whether the lines of a record are to be asked for.
    fn wanted(&self, record: &[u8]) -> Wanted {
        if self.query.filter.is_some_and(|filter| !filter.takes(record)) {
            return Wanted::Nothing;
        }
        let node = std::str::from_utf8(record).ok().and_then(|text| Node::parse(text).ok());
        let Some(node) = node.filter(|node| matches!(node, Node::Object(_))) else { return Wanted::Nothing };
        let is_wanted = match &self.request.when {
            None => true,
            Some(path) => node.at(path).is_some_and(is_true),
        };
        match node.at(&self.request.id).and_then(Node::text) {
            _ if !is_wanted => Wanted::Nothing,
            Some(id) if !id.trim().is_empty() => Wanted::Of(id.to_owned()),
            _ => Wanted::ButNoId,
        }
    }

    /// The lines of an order, as they are written.
    pub(super) async fn lines(&self, id: &str) -> Result<Vec<Vec<u8>>, SourceError> {
        let LineRequest { base, path, list, .. } = self.request;
        let escaped: String = url_query::encoded("", id).trim_start_matches('=').replace('+', "%20");
        let path = path.fill(&|name| (name == ID).then_some(escaped.as_str())).unwrap_or_default();
        let url = place(base, &path);
        let url = if list.http.body.is_some() || !list.http.templates.is_empty() { url_query::with(&url, &[(ID, id)]) } else { url };
        let query = Query::of(list, self.query, &self.shape);
        let start = query.narrowed(&url);
        let mut lines = Vec::new();
        let mut pages = 0;
        let mut keep = |page: Page| {
            pages += 1;
            lines.extend(page.records().map(|record| record.bytes.to_vec()));
            true
        };
        let reader = ListReader { requester: &self.requester, start: &start, query: &query };
        let completeness = Box::pin(reader.read(&mut keep)).await?;
        if completeness.is_failed() {
            let detail = completeness.why.unwrap_or_else(|| "its list of lines is not complete".to_owned());
            return Err(SourceError::Pagination { request: self.requester.sent(&start), page: 1, detail });
        }
        let follows = matches!(list.http.pagination, Pagination::Cursor { .. } | Pagination::NextUrl { .. });
        let counters = self.requester.access().counters;
        match (follows, pages, completeness.status) {
            (true, 2.., _) => counters.line_list(LineListEnd::Followed),
            (true, _, CompletenessStatus::Unproven) => counters.line_list(LineListEnd::Open),
            _ => {}
        }
        Ok(lines)
    }
}

/// Whose lines are to be asked for.
enum Wanted {
    /// Nobody's: the record has all its lines, is no object, or is not taken by the run.
    Nothing,
    /// Those of a record without an id.
    ButNoId,
    /// Those of the order with this id.
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

/// A record with what was asked for under [`ASKED_LINES`].
fn with_lines(record: &[u8], lines: &[u8]) -> Vec<u8> {
    let end = record.iter().rposition(|&byte| byte == b'}').unwrap_or(record.len());
    let head = record.get(..end).unwrap_or(record).trim_ascii_end();
    let comma: &[u8] = if head.ends_with(b"{") { b"" } else { b"," };
    [head, comma, format!("\"{ASKED_LINES}\":").as_bytes(), lines, b"}"].concat()
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
