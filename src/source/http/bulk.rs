//! Bulk operations: the source writes all records of a window into one file, which is fetched when it is complete.
//!
//! ```text
//! start ──id──▶ poll ──URL──▶ download ──copy──▶ files: records and children ──Page──▶ sink
//!   ▲ busy      ▲ runs                             counts against those of the operation
//! ```
//! Responsible for starting, awaiting, and for the certificate. Cancels nothing: an operation that a run leaves goes on at the source,
//! and the next run starts its own.

use std::{
    collections::BTreeMap,
    fs::File,
    path::Path,
    time::{Duration, Instant},
};

use reqwest::Url;

use super::{
    judge::{Response, judge_status},
    request::Requester,
};
use crate::{
    model::{FieldPath, counted, elapsed_text},
    net::redact,
    settings::{BodyTemplate, BulkOperation, BulkPoll, HttpProfile, Pagination, Secret},
    source::{
        Access, Completeness, CompletenessStatus, Evidence, PageSink, Query, SourceError,
        body::{self, Node},
        error::RequestFailure,
        files::{self, BulkResult, FamiliesRead},
        url_query,
    },
};

/// The longest wait between two questions, unless the first one is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A source whose records come by a bulk operation.
pub(in crate::source) struct BulkSource<'a> {
    pub(in crate::source) location: &'a Url,
    pub(in crate::source) operation: &'a BulkOperation,
    pub(in crate::source) query: &'a Query<'a>,
    pub(in crate::source) access: Access<'a>,
}

/// What a source says of an operation that it is asked to start.
#[derive(PartialEq, Eq, Debug)]
enum Started {
    /// Its id.
    Operation(String),
    /// Another one runs: the words of the source.
    Busy(String),
    /// The words of the source.
    Refused(String),
}

/// The state of an operation.
#[derive(PartialEq, Eq, Debug)]
enum Polled {
    Runs { status: String, objects: Option<u64> },
    Done(Done),
    Failed { status: String, code: String },
}

/// What an operation says of its result.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Done {
    /// Where it is; `None`: nothing matched.
    url: Option<String>,
    records: Option<u64>,
    objects: Option<u64>,
}

/// A result on this machine.
struct Fetched {
    done: Done,
    /// `None`: nothing matched.
    copy: Option<File>,
}

/// The waits between questions, which grow.
struct Backoff {
    next: Duration,
    longest: Duration,
    started: Instant,
    timeout: Duration,
}

impl Backoff {
    fn new(poll: &BulkPoll) -> Backoff {
        let longest = LONGEST_WAIT.max(poll.interval);
        Backoff { next: poll.interval, longest, started: Instant::now(), timeout: poll.timeout }
    }

    /// The next wait; `None` if it would end after the time limit.
    fn next_wait(&mut self) -> Option<Duration> {
        let wait = self.next;
        self.next = (wait.saturating_mul(3) / 2).min(self.longest);
        (self.started.elapsed().saturating_add(wait) <= self.timeout).then_some(wait)
    }
}

impl BulkSource<'_> {
    /// Starts an operation, waits for it, and reads its result into `sink`.
    ///
    /// # Errors
    /// A source that starts none, an operation that fails or does not end in time, a result that can't be fetched or joined, a signal.
    pub(in crate::source) fn read(&self, sink: &mut dyn PageSink) -> Result<Completeness, SourceError> {
        let Some(children) = &self.query.profile.children else { return Ok(certificate(&Done::default(), FamiliesRead::default())) };
        let Fetched { done, copy } = self.access.network.run(self.fetch())??;
        let Some(copy) = copy else { return Ok(certificate(&done, FamiliesRead::default())) };
        let shown = redact::url(self.location);
        let result = BulkResult { path: Path::new(&shown), copy, children };
        match files::read_result(result, self.query, &self.access, sink)? {
            Some(read) => Ok(certificate(&done, read)),
            None => Ok(Completeness { why: Some("the reading was stopped".to_owned()), ..unproven(FamiliesRead::default()) }),
        }
    }

    /// The requests of the source with this body.
    fn requests(&self, body: Option<&BodyTemplate>) -> HttpProfile {
        HttpProfile { pagination: Pagination::Single, body: body.cloned(), ..self.query.profile.http.clone() }
    }

    async fn fetch(&self) -> Result<Fetched, SourceError> {
        let mut backoff = Backoff::new(&self.operation.poll);
        let operation = self.start(&mut backoff).await?;
        let shown = redact::foreign(&operation);
        tracing::info!("the bulk operation {shown} has started");
        let fetched = self.await_result(&operation, &mut backoff).await;
        if let Err(error) = &fetched
            && !matches!(error, SourceError::BulkFailed { .. })
        {
            tracing::warn!("the bulk operation {shown} is left as it is: nothing cancels it, and the next run starts another");
        }
        fetched
    }

    /// Starts an operation, as soon as the source takes one. Returns its id.
    async fn start(&self, backoff: &mut Backoff) -> Result<String, SourceError> {
        let profile = self.requests(Some(&self.operation.start));
        let url = self.query.narrowed(self.location);
        let requester = Requester::new(self.location, &profile, self.query.credentials, self.access)?;
        loop {
            let detail = match requester.fetch(&url, 0, |response| judge_start(&response, self.operation)).await? {
                Started::Operation(id) => return Ok(id),
                Started::Refused(detail) => return Err(SourceError::BulkRefused { request: requester.sent(&url), detail }),
                Started::Busy(detail) => detail,
            };
            let Some(wait) = backoff.next_wait() else {
                let what = format!("no bulk operation could be started ({detail})");
                return Err(SourceError::BulkTimeout { request: requester.sent(&url), what, waited: backoff.started.elapsed() });
            };
            tracing::info!(wait = elapsed_text(wait), detail, "another bulk operation runs at the source: this one waits for its turn");
            self.wait(wait).await?;
        }
    }

    /// Waits for an operation and downloads its result.
    async fn await_result(&self, operation: &str, backoff: &mut Backoff) -> Result<Fetched, SourceError> {
        let poll = &self.operation.poll;
        let profile = self.requests(Some(&poll.ask));
        let url = url_query::with(self.location, &[(ID, operation)]);
        let requester = Requester::new(self.location, &profile, self.query.credentials, self.access)?;
        let operation = redact::foreign(operation);
        backoff.next = poll.interval;
        let done = loop {
            let Some(wait) = backoff.next_wait() else {
                let what = format!("the bulk operation {operation} has not ended");
                return Err(SourceError::BulkTimeout { request: requester.sent(&url), what, waited: backoff.started.elapsed() });
            };
            self.wait(wait).await?;
            match requester.fetch(&url, 0, |response| judge_poll(&response, poll)).await? {
                Polled::Done(done) => break done,
                Polled::Failed { status, code } => {
                    return Err(SourceError::BulkFailed { request: requester.sent(&url), operation, status, code });
                }
                Polled::Runs { status, objects } => {
                    let waited = elapsed_text(backoff.started.elapsed());
                    tracing::info!(status, objects, waited, "the bulk operation {operation} is running");
                }
            }
        };
        tracing::info!(records = done.records, objects = done.objects, "the bulk operation {operation} is complete");
        let copy = match &done.url {
            Some(url) => Some(self.download(url, poll).await?),
            None => None,
        };
        Ok(Fetched { done, copy })
    }

    /// The result on this machine, in a file without a name that is gone with the process. Only the origin of the source gets credentials.
    async fn download(&self, url: &str, poll: &BulkPoll) -> Result<File, SourceError> {
        let profile = HttpProfile { query: BTreeMap::new(), templates: Vec::new(), ..self.requests(None) };
        let requester = Requester::new(self.location, &profile, self.query.credentials, self.access)?;
        let Some(url) = self.location.join(url).ok().filter(|url| matches!(url.scheme(), "http" | "https")) else {
            let detail = format!("what stands at `{}` is no http(s) URL", poll.url);
            return Err(SourceError::Pagination { request: requester.sent(self.location), page: 1, detail });
        };
        let of_copy = |source| SourceError::BulkCopy { folder: std::env::temp_dir(), source };
        let mut copy = tempfile::tempfile().map_err(of_copy)?;
        requester.download(&url, &mut copy).await?;
        Ok(copy)
    }

    async fn wait(&self, wait: Duration) -> Result<(), SourceError> {
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.access.cancel.wait() => Err(SourceError::Interrupted),
        }
    }
}

/// Why a source is not looked at: that alone would start an operation.
pub(in crate::source) fn unasked(location: &Url) -> SourceError {
    SourceError::BulkUnasked { location: redact::url(location) }
}

/// The parameter by which the poll names the operation.
const ID: &str = "id";

/// The document of an answer. What can't be parsed is not shown: it may hold a signature.
fn document(response: &Response) -> Result<Node, RequestFailure> {
    judge_status(response)?;
    let parsed = Node::parse(&String::from_utf8_lossy(&response.body));
    parsed.map_err(|detail| RequestFailure::NotJson { detail, excerpt: String::new() })
}

/// Fails if a document reports an error.
fn refuse_error(node: &Node, response: &Response) -> Result<(), RequestFailure> {
    let Some(what) = body::reported_error(node) else { return Ok(()) };
    let (status, refusal) = (response.status.as_u16(), body::reported_refusal(node));
    Err(RequestFailure::Reported { status, refusal, what, excerpt: redact::beginning(&response.body) })
}

fn missing(what: &'static str, path: &FieldPath, response: &Response) -> RequestFailure {
    RequestFailure::NoBulk { what, path: path.to_string(), excerpt: redact::beginning(&response.body) }
}

fn judge_start(response: &Response, operation: &BulkOperation) -> Result<Started, RequestFailure> {
    let node = document(response)?;
    refuse_error(&node, response)?;
    if let Some(Node::Array(errors)) = operation.errors.as_ref().and_then(|path| node.at(path))
        && !errors.is_empty()
    {
        let errors: Vec<String> = errors.iter().map(error_text).collect();
        let is_busy = |error: &String| operation.busy.iter().any(|word| error.contains(word.as_str()));
        let words = errors.join("; ");
        return Ok(if errors.iter().all(is_busy) { Started::Busy(words) } else { Started::Refused(words) });
    }
    match node.at(&operation.id).and_then(Node::text) {
        Some(id) => Ok(Started::Operation(id.to_owned())),
        None => Err(missing("id of an operation", &operation.id, response)),
    }
}

/// The words of an error.
fn error_text(error: &Node) -> String {
    let words = |nodes: Vec<&Node>| nodes.into_iter().map(error_text).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(": ");
    match error {
        Node::Null => String::new(),
        Node::Bool(value) => value.to_string(),
        Node::Number(_) | Node::Text(_) => redact::foreign(error.text().unwrap_or_default()),
        Node::Array(elements) => words(elements.iter().collect()),
        Node::Object(pairs) => words(pairs.iter().map(|(_, value)| value).collect()),
    }
}

fn judge_poll(response: &Response, poll: &BulkPoll) -> Result<Polled, RequestFailure> {
    let node = document(response)?;
    let text = |path: &FieldPath| node.at(path).and_then(Node::text).map(str::to_owned);
    let count = |path: &Option<FieldPath>| node.at(path.as_ref()?).and_then(Node::count);
    let url = text(&poll.url);
    // Whoever has the URL has the orders.
    if let Some((_, signature)) = url.as_ref().and_then(|url| url.split_once('?')) {
        drop(Secret::new(signature.to_owned()));
    }
    refuse_error(&node, response)?;
    let Some(status) = text(&poll.status) else { return Err(missing("status of the operation", &poll.status, response)) };
    if poll.failed.contains(&status) {
        let code = poll.error.as_ref().and_then(text).map(|code| format!(" ({})", redact::foreign(&code)));
        return Ok(Polled::Failed { status: redact::foreign(&status), code: code.unwrap_or_default() });
    }
    let objects = count(&poll.objects);
    if !poll.done.contains(&status) {
        return Ok(Polled::Runs { status: redact::foreign(&status), objects });
    }
    // A path that leads nowhere is no empty result.
    if node.at(&poll.url).is_none() {
        return Err(missing("URL of the result", &poll.url, response));
    }
    for (path, what) in [(&poll.records, "number of records"), (&poll.objects, "number of objects")] {
        if let (Some(path), None) = (path, count(path)) {
            return Err(missing(what, path, response));
        }
    }
    Ok(Polled::Done(Done { url, records: count(&poll.records), objects }))
}

fn unproven(read: FamiliesRead) -> Completeness {
    Completeness { status: CompletenessStatus::Unproven, by: None, claimed: None, read: read.records, distinct: None, why: None }
}

/// The certificate of a result that was read to its end: the operation must have counted what came.
fn certificate(done: &Done, read: FamiliesRead) -> Completeness {
    let counts = [(done.records, read.records, "record"), (done.objects, read.objects, "object")];
    let Some(claimed) = done.records.or(done.objects) else {
        let why = "the profile names no count of the bulk operation ([orders.bulk.poll] records, objects)".to_owned();
        return Completeness { why: Some(why), ..unproven(read) };
    };
    let differs = counts.into_iter().find(|(claimed, came, _)| claimed.is_some_and(|claimed| claimed != *came));
    let why = differs.map(|(claimed, came, what)| {
        let claimed = counted(claimed.unwrap_or_default(), what);
        format!("the bulk operation counts {claimed}, but its result has {}", counted(came, what))
    });
    let status = if why.is_some() { CompletenessStatus::Failed } else { CompletenessStatus::Proven };
    Completeness { status, by: Some(Evidence::Total), claimed: Some(claimed), read: read.records, distinct: None, why }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use reqwest::{StatusCode, header::HeaderMap};
    use serde_json::{Value, json};

    use super::*;

    fn response(body: &Value) -> Response {
        let body = Bytes::from(body.to_string());
        Response { status: StatusCode::OK, headers: HeaderMap::new(), url: "http://h/graphql".parse().unwrap(), body }
    }

    fn operation() -> BulkOperation {
        let path = |text: &str| text.parse::<FieldPath>().unwrap();
        let body = || BodyTemplate { first: json!({}), next: None, query: None };
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        BulkOperation {
            start: body(),
            id: path("data.start.operation.id"),
            errors: Some(path("data.start.userErrors")),
            busy: words(&["OPERATION_IN_PROGRESS", "already in progress"]),
            cursor: None,
            poll: BulkPoll {
                ask: body(),
                status: path("data.node.status"),
                done: words(&["COMPLETED"]),
                failed: words(&["FAILED"]),
                url: path("data.node.url"),
                error: Some(path("data.node.errorCode")),
                records: Some(path("data.node.rootObjectCount")),
                objects: Some(path("data.node.objectCount")),
                interval: Duration::from_secs(10),
                timeout: Duration::from_secs(100),
            },
        }
    }

    #[test]
    fn a_start_has_an_id_or_is_refused_or_waits() {
        let started = |errors: Value, id: Value| {
            judge_start(&response(&json!({"data": {"start": {"operation": {"id": id}, "userErrors": errors}}})), &operation())
        };
        assert_eq!(started(json!([]), json!("gid://1")).unwrap(), Started::Operation("gid://1".into()));
        let busy = json!([{"code": null, "message": "A bulk query operation for this app and shop is already in progress: gid://0."}]);
        let words = "A bulk query operation for this app and shop is already in progress: gid://0.";
        assert_eq!(started(busy.clone(), Value::Null).unwrap(), Started::Busy(words.into()));
        let invalid = json!({"field": ["query"], "message": "Invalid bulk query"});
        assert_eq!(
            started(json!([invalid, busy[0]]), Value::Null).unwrap(),
            Started::Refused(format!("query: Invalid bulk query; {words}"))
        );
        assert!(matches!(started(json!([]), Value::Null), Err(RequestFailure::NoBulk { what: "id of an operation", .. })));
        let throttled = judge_start(&response(&json!({"errors": [{"message": "Throttled"}]})), &operation()).unwrap_err();
        assert!(throttled.is_transient());
    }

    #[test]
    fn a_status_that_nobody_names_is_of_an_operation_that_runs() {
        let polled = |node: Value| judge_poll(&response(&json!({"data": {"node": node}})), &operation().poll);
        let runs = Polled::Runs { status: "RUNNING".into(), objects: Some(7) };
        assert_eq!(polled(json!({"status": "RUNNING", "objectCount": "7"})).unwrap(), runs);
        let failed = Polled::Failed { status: "FAILED".into(), code: " (TIMEOUT)".into() };
        assert_eq!(polled(json!({"status": "FAILED", "errorCode": "TIMEOUT"})).unwrap(), failed);
        let done = Polled::Done(Done { url: None, records: Some(0), objects: Some(0) });
        assert_eq!(polled(json!({"status": "COMPLETED", "url": null, "objectCount": "0", "rootObjectCount": "0"})).unwrap(), done);
        for node in [
            json!({"status": "COMPLETED", "objectCount": "0", "rootObjectCount": "0"}),
            json!({"status": "COMPLETED", "url": null, "objectCount": "0"}),
            Value::Null,
        ] {
            assert!(matches!(polled(node), Err(RequestFailure::NoBulk { .. })));
        }
    }

    #[test]
    fn only_equal_counts_are_a_proof() {
        let read = FamiliesRead { records: 2, objects: 5 };
        let status = |records, objects| certificate(&Done { url: None, records, objects }, read).status;
        assert_eq!(status(Some(2), Some(5)), CompletenessStatus::Proven);
        assert_eq!((status(None, Some(5)), status(None, None)), (CompletenessStatus::Proven, CompletenessStatus::Unproven));
        for (records, objects) in [(3, 5), (1, 5), (2, 6), (2, 4)] {
            assert_eq!(status(Some(records), Some(objects)), CompletenessStatus::Failed);
        }
        let why = certificate(&Done { url: None, records: Some(2), objects: Some(6) }, read).why.unwrap();
        assert_eq!(why, "the bulk operation counts 6 objects, but its result has 5 objects");
    }

    #[test]
    fn waits_grow_to_their_longest_and_end_with_the_time_limit() {
        let mut backoff = Backoff::new(&BulkPoll { timeout: Duration::from_secs(1000), ..operation().poll });
        let millis: Vec<_> = (0..7).map(|_| backoff.next_wait().unwrap().as_millis()).collect();
        assert_eq!(millis, [10_000, 15_000, 22_500, 33_750, 50_625, 60_000, 60_000]);
        let mut backoff = Backoff::new(&BulkPoll { timeout: Duration::from_secs(9), ..operation().poll });
        assert_eq!(backoff.next_wait(), None);
    }
}
