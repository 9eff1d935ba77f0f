//! Errors of reading a source (exit 3).

use std::{fmt, io, path::PathBuf, time::Duration};

use crate::{
    model::{counted, elapsed_text},
    net::NetworkError,
    store::StoreError,
};

/// Why a source can't be read, with its location.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is no such file or folder.
    #[error("{}: no such file or folder", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// There is no such object in the bucket.
    #[error("{url}: no such object{}", if *is_folder { ": to read the objects beneath it, write a `/` at its end" } else { "" })]
    NoObject {
        /// Its URL.
        url: String,
        /// Whether there are objects beneath it.
        is_folder: bool,
    },
    /// A bucket that can't be opened or listed.
    #[error("{location}: {source}")]
    Bucket {
        /// The objects that were looked for.
        location: String,
        /// Why not.
        source: StoreError,
    },
    /// A glob or a folder without any readable file.
    #[error("{pattern}: no files to read (supported: {kinds})")]
    NothingThere {
        /// The glob or folder.
        pattern: String,
        /// The supported file name endings.
        kinds: &'static str,
    },
    /// An invalid glob.
    #[error("{pattern}: not a valid glob: {detail}")]
    Glob {
        /// The glob.
        pattern: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The ending of the name is unknown, or its format is not supported.
    #[error("{}: can't tell the format from the name (supported: {kinds})", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// The supported file name endings.
        kinds: &'static str,
    },
    /// An I/O error, or damaged compression.
    #[error("{}: can't be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file with invalid content.
    #[error("{}, line {line}: {detail}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        detail: String,
    },
    /// A Parquet file that can't be read.
    #[error("{}: {detail}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A request that failed for good.
    #[error(transparent)]
    Request(Box<FailedRequest>),
    /// A cursor or URL that was followed before.
    #[error("{request} (page {page}): the source's pagination leads in a circle, back to a page that was already read")]
    Circle {
        /// The request.
        request: SentRequest,
        /// The page that led back, from 1.
        page: u64,
    },
    /// A page whose next page can't be determined.
    #[error("{request} (page {page}): can't find the next page: {detail}")]
    Pagination {
        /// The request.
        request: SentRequest,
        /// The page, from 1.
        page: u64,
        /// Why not.
        detail: String,
    },
    /// A record lacks the id by which more of it is asked for.
    #[error("{url}: a record has no `{path}`, by which more of it is asked for (`more_request.id`)")]
    NoId {
        /// The page that has the record.
        url: String,
        /// Where the id should be.
        path: String,
    },
    /// Credentials that the profile of the source needs are not set.
    #[error("the source's profile needs credentials: set {variables} in the environment or .env")]
    Credentials {
        /// The variables to set.
        variables: String,
    },
    /// More pages than a source may have.
    #[error("{request}: more than {} (http.max_pages)", counted(*limit, "page"))]
    TooManyPages {
        /// The first request.
        request: SentRequest,
        /// The limit.
        limit: u64,
    },
    /// A page with the same records as the page before it, also on the second request.
    #[error(
        "{request} (page {page}): the page has the same records as the one before it, also when it is requested again: the source ignores the parameters of the pagination, or its pages go in a circle"
    )]
    RepeatedPage {
        /// The request.
        request: SentRequest,
        /// The page, from 1.
        page: u64,
    },
    /// Too many pages in a row without a new record.
    #[error("{request} (page {page}): {} in a row brought no new record: the list does not end", counted(*pages, "page"))]
    NoProgress {
        /// The request.
        request: SentRequest,
        /// The page, from 1.
        page: u64,
        /// The number of pages without a new record.
        pages: u64,
    },
    /// A list that is longer than its largest offset, and can't be cut.
    #[error("GET {url}: the list has {} or more, and only {largest} can be read of one list (pagination.largest): {detail}", counted(*total, "record"))]
    TooLong {
        /// The URL, redacted.
        url: String,
        /// The number of records that the source announces.
        total: u64,
        /// The largest offset.
        largest: u64,
        /// Why it can't be cut.
        detail: String,
    },
    /// Fewer records were received than the source claims to have.
    #[error("{location}: the list is incomplete: {why}{}. Nothing was published; --allow-incomplete publishes what came, and adds nothing to coverage", if *read_again { ", also when it was read again" } else { "" })]
    Incomplete {
        /// The source, redacted.
        location: String,
        /// What is missing.
        why: String,
        /// Whether it was read a second time.
        read_again: bool,
    },
    /// None of the records of the source is JSON.
    #[error("{location}: none of its {} is a JSON object: {seems}", counted(*records, "record"))]
    NoRecordIsJson {
        /// The source, redacted.
        location: String,
        /// The number of records.
        records: u64,
        /// What the first record seems to be.
        seems: String,
    },
    /// The content of a file does not match its name.
    #[error("{}: {seems}", path.display())]
    Unrecognised {
        /// The file.
        path: PathBuf,
        /// What it seems to be, and what is supported.
        seems: String,
    },
    /// A bulk operation that the source does not start.
    #[error("{request}: the source does not start the bulk operation: {detail}")]
    BulkRefused {
        /// The request.
        request: SentRequest,
        /// The words of the source.
        detail: String,
    },
    /// A bulk operation that ended without a complete result.
    #[error("{request}: the bulk operation {operation} ended as {status}{code}: nothing of it was read")]
    BulkFailed {
        /// The request.
        request: SentRequest,
        /// Its id.
        operation: String,
        /// Its status.
        status: String,
        /// The code of the source, in brackets; empty where it says none.
        code: String,
    },
    /// A bulk operation that did not end in time.
    #[error("{request}: {what} after {} (bulk.poll.timeout): the operation goes on at the source, and the next run starts another", elapsed_text(*waited))]
    BulkTimeout {
        /// The request.
        request: SentRequest,
        /// What has not come.
        what: String,
        /// How long it was awaited.
        waited: Duration,
    },
    /// The result of a bulk operation can't be copied to this machine.
    #[error("the result of the bulk operation can't be written to {}: {source}", folder.display())]
    BulkCopy {
        /// The folder for temporary files.
        folder: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A look at a source that would start a bulk operation.
    #[error("{location}: not asked: its orders come by a bulk operation, which is not started only to look at the source")]
    BulkUnasked {
        /// The source, redacted.
        location: String,
    },
    /// Invalid settings of the network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A signal stopped the run.
    #[error("interrupted")]
    Interrupted,
}

/// A request as it was sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SentRequest {
    /// Its method.
    pub method: &'static str,
    /// Its URL, redacted.
    pub url: String,
}

impl fmt::Display for SentRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url)
    }
}

/// A request that failed for good.
#[derive(Debug, thiserror::Error)]
#[error("{request}{route} (page {page}): {cause}{}, after {} in {}{}", of_credentials(cause, credentials), counted(u64::from(*attempts), "attempt"), elapsed_text(*elapsed), stopped_by.map_or("", |limit| limit))]
pub struct FailedRequest {
    /// The request.
    pub request: SentRequest,
    /// Where redirects led to, and the proxy on the way, redacted; empty for a request without either.
    pub route: String,
    /// The page, from 1.
    pub page: u64,
    /// How often it was tried.
    pub attempts: u32,
    /// How long that took.
    pub elapsed: Duration,
    /// The last failure.
    pub cause: RequestFailure,
    /// The variables that hold the credentials of the source.
    pub credentials: String,
    /// The limit that allowed no further attempt, where it was not that of their number.
    pub stopped_by: Option<&'static str>,
}

/// Why one attempt at a request failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestFailure {
    /// The status is not a success.
    #[error("the server answered {status}{}{}", hint(*status), quoted(excerpt))]
    Status {
        /// The status.
        status: u16,
        /// The beginning of the body, redacted.
        excerpt: String,
    },
    /// The status is a success, but the body reports an error.
    #[error("the server answered {status} with a body that reports an error: {what}{}{}", refusal.hint(), quoted(excerpt))]
    Reported {
        /// The status.
        status: u16,
        /// Whether it refuses the credentials.
        refusal: ReportedRefusal,
        /// The key that reports the error, and its value.
        what: String,
        /// The beginning of the body, redacted.
        excerpt: String,
    },
    /// The connection was refused, broke or timed out.
    #[error("{0}")]
    Connection(String),
    /// The body is not JSON.
    #[error("the body is not JSON: {detail}{}", quoted(excerpt))]
    NotJson {
        /// What is wrong with it.
        detail: String,
        /// The beginning of the body, redacted.
        excerpt: String,
    },
    /// The body is JSON, but has no list of records.
    #[error("the body has no records: {looked_for}{}", quoted(excerpt))]
    NoRecords {
        /// Where they were looked for.
        looked_for: String,
        /// The beginning of the body, redacted.
        excerpt: String,
        /// Whether an earlier page of the list had records.
        had_some: bool,
    },
    /// Null instead of records, although the total is larger than the number of records received.
    #[error("the body has null in place of records, but announces {total} of them{}", quoted(excerpt))]
    NullRecords {
        /// The announced total.
        total: u64,
        /// The beginning of the body, redacted.
        excerpt: String,
    },
    /// The total is 0, although the page has records.
    #[error(
        "the body announces 0 records, but has {} (if it counts none, set `total = \"\"`){}",
        counted(*records, "record"),
        quoted(excerpt)
    )]
    ZeroTotal {
        /// The records of the page.
        records: u64,
        /// The beginning of the body, redacted.
        excerpt: String,
    },
    /// The part of the body that may say whether there is a next page is too large.
    #[error("the body has no signal of a next page: `{place}` is too large to be read")]
    SignalsTooLarge {
        /// Where the signal may be.
        place: String,
    },
    /// The response to a count request has no number at the path of the profile.
    #[error("the body has no number at `{path}` ([orders.count]){}", quoted(excerpt))]
    NoCount {
        /// The path.
        path: String,
        /// The beginning of the body, redacted.
        excerpt: String,
    },
    /// The answer about a bulk operation lacks something that the profile names.
    #[error("the body has no {what} at `{path}` ([orders.bulk]){}", quoted(excerpt))]
    NoBulk {
        /// What.
        what: &'static str,
        /// The path.
        path: String,
        /// The beginning of the body, redacted.
        excerpt: String,
    },
    /// The token server did not issue an OAuth token.
    #[error("could not obtain an OAuth token from {url}: {detail}")]
    Token {
        /// The URL of the token server, redacted.
        url: String,
        /// The status and the error of its response, redacted.
        detail: String,
        /// Whether a retry may succeed.
        outlook: TokenOutlook,
    },
    /// The body exceeds a limit.
    #[error("the body is larger than {} ({setting})", counted(*limit, "byte"))]
    TooLarge {
        /// The limit.
        limit: u64,
        /// The setting of the limit.
        setting: &'static str,
    },
    /// The encoding of the body is not supported.
    #[error("the body has the Content-Encoding `{encoding}`, which is not supported (supported: gzip, deflate, br, zstd)")]
    Encoding {
        /// The encoding.
        encoding: String,
    },
    /// The proxy refuses the request.
    #[error("{0}")]
    Proxy(String),
    /// Too many redirects, or a redirect that is not followed.
    #[error("{0}")]
    Redirect(String),
    /// A request that can't be sent, for example because of an invalid header.
    #[error("{0}")]
    NotSent(String),
}

/// What an error that a body reports is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReportedRefusal {
    /// The credentials: GraphQL says so in a body with status 200. The same request fails again.
    Credentials,
    /// Something else, which may pass.
    Other,
}

impl ReportedRefusal {
    fn hint(self) -> &'static str {
        match self {
            ReportedRefusal::Credentials => " (the server refuses the credentials, or there are none)",
            ReportedRefusal::Other => "",
        }
    }
}

/// Whether another request for a token may succeed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenOutlook {
    /// It may: the server is busy or unavailable.
    MayPass,
    /// It will not: the server refuses the client.
    Final,
}

/// Which variables to look at, if the server refuses the credentials by its status.
fn of_credentials(cause: &RequestFailure, variables: &str) -> String {
    match cause {
        RequestFailure::Status { status: 401, .. } if variables.is_empty() => " (the profile sends no credentials: see `auth`)".to_owned(),
        RequestFailure::Status { status: 401, .. } => format!(" (are the credentials set, and right? They are read from {variables})"),
        _ => String::new(),
    }
}

fn hint(status: u16) -> &'static str {
    match status {
        403 => " (the credentials do not allow this)",
        404 => " (is the path right?)",
        429 => " (too many requests)",
        _ => "",
    }
}

fn quoted(excerpt: &str) -> String {
    if excerpt.is_empty() { String::new() } else { format!(": {excerpt}") }
}

impl RequestFailure {
    /// Whether a retry may succeed (contract, Source over HTTP).
    pub fn is_transient(&self) -> bool {
        match self {
            RequestFailure::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504),
            RequestFailure::NoRecords { had_some, .. } => *had_some,
            RequestFailure::Token { outlook, .. } => *outlook == TokenOutlook::MayPass,
            RequestFailure::Connection(_) | RequestFailure::NotJson { .. } | RequestFailure::NullRecords { .. } => true,
            RequestFailure::ZeroTotal { .. } => true,
            RequestFailure::Reported { refusal, .. } => *refusal == ReportedRefusal::Other,
            RequestFailure::NoCount { .. }
            | RequestFailure::SignalsTooLarge { .. }
            | RequestFailure::NoBulk { .. }
            | RequestFailure::TooLarge { .. }
            | RequestFailure::Encoding { .. }
            | RequestFailure::Proxy(_)
            | RequestFailure::Redirect(_)
            | RequestFailure::NotSent(_) => false,
        }
    }
}
