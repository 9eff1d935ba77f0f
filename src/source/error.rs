//! What keeps a source from being read: exit 3.

use std::{io, path::PathBuf, time::Duration};

use crate::net::NetworkError;

/// What keeps a source from being read, with the input that it happened on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is no such file or folder.
    #[error("{}: no such file or folder", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// A glob or a folder that holds nothing to read.
    #[error("{pattern}: nothing to read there (of the kinds {kinds})")]
    NothingThere {
        /// The glob or folder.
        pattern: String,
        /// The endings that are read.
        kinds: &'static str,
    },
    /// A glob that can't be understood.
    #[error("{pattern}: not a valid glob: {detail}")]
    Glob {
        /// The glob.
        pattern: String,
        /// What is wrong with it.
        detail: String,
    },
    /// An ending that says nothing about the format, or a format that is not read here.
    #[error("{}: can't tell the format from the name (read here: {kinds})", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// The endings that are read.
        kinds: &'static str,
    },
    /// The system can't read it, or its compression is damaged.
    #[error("{}: can't be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file whose format is damaged.
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
    #[error("GET {url} (page {page}): the source's pagination leads in a circle, back to a page that was already read")]
    Circle {
        /// The URL, redacted.
        url: String,
        /// The page that led back, from 1.
        page: u64,
    },
    /// A page that says where the next one is, in a way that can't be followed.
    #[error("GET {url} (page {page}): the list can't be followed on from here: {detail}")]
    Pagination {
        /// The URL, redacted.
        url: String,
        /// The page, from 1.
        page: u64,
        /// Why not.
        detail: String,
    },
    /// Credentials that the source's profile needs, and that are not set.
    #[error("the source's profile needs credentials: set {variables} in the environment or .env")]
    Credentials {
        /// Which.
        variables: String,
    },
    /// More pages than a source may have.
    #[error("GET {url}: more than {limit} pages (http.max_pages)")]
    TooManyPages {
        /// The URL, redacted.
        url: String,
        /// The limit.
        limit: u64,
    },
    /// A page that holds the same records as the one before it, twice.
    #[error(
        "GET {url} (page {page}): the page holds the same records as the one before it, also when it is requested again: the source does not look at the parameters of the pagination, or moves in a circle"
    )]
    RepeatedPage {
        /// The URL, redacted.
        url: String,
        /// The page, from 1.
        page: u64,
    },
    /// Pages that go on without a new record.
    #[error("GET {url} (page {page}): {pages} pages in a row brought no new record: the list does not end")]
    NoProgress {
        /// The URL, redacted.
        url: String,
        /// The page, from 1.
        page: u64,
        /// How many pages.
        pages: u64,
    },
    /// Less came than the source claims to hold.
    #[error("{location}: the list is incomplete: {why}{}. Nothing was published; --allow-incomplete publishes what came, and adds nothing to coverage", if *read_again { ", also when it was read again" } else { "" })]
    Incomplete {
        /// The source, redacted.
        location: String,
        /// What is missing.
        why: String,
        /// Whether it was read a second time.
        read_again: bool,
    },
    /// A source of which no record is JSON.
    #[error("{location}: none of its {records} records is a JSON object: {seems}")]
    NoRecordIsJson {
        /// The source, redacted.
        location: String,
        /// How many there are.
        records: u64,
        /// What the first of them is.
        seems: String,
    },
    /// A file that is something else than its name says.
    #[error("{}: {seems}", path.display())]
    Unrecognised {
        /// The file.
        path: PathBuf,
        /// What it seems to be, and what would be read.
        seems: String,
    },
    /// Settings of the network that can't be used.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A signal came.
    #[error("interrupted")]
    Interrupted,
}

/// A request that failed for good.
#[derive(Debug, thiserror::Error)]
#[error("GET {url}{route} (page {page}): {cause}, after {attempts} {} in {:.1} s{}", if *attempts == 1 { "attempt" } else { "attempts" }, elapsed.as_secs_f64(), stopped_by.map_or("", |limit| limit))]
pub struct FailedRequest {
    /// The URL, redacted.
    pub url: String,
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
    /// The limit that allowed no further attempt, where it was not that of their number.
    pub stopped_by: Option<&'static str>,
}

/// Why one attempt at a request failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestFailure {
    /// The status is not a success.
    #[error("the server answered {status}{}{}", hint(*status), quoted(said))]
    Status {
        /// The status.
        status: u16,
        /// What its body says, shortened and redacted.
        said: String,
    },
    /// The status is a success, and the body reports an error.
    #[error("the server answered {status} with a body that reports an error: {what}{}", quoted(said))]
    Reported {
        /// The status.
        status: u16,
        /// What reports it.
        what: String,
        /// What the body says, shortened and redacted.
        said: String,
    },
    /// Refused, broken or timed out.
    #[error("{0}")]
    Connection(String),
    /// The body is not JSON.
    #[error("the body is not JSON: {detail}{}", quoted(said))]
    NotJson {
        /// What is wrong with it.
        detail: String,
        /// What the body says, shortened and redacted.
        said: String,
    },
    /// The body is JSON in which no records can be found.
    #[error("the body holds no records: {looked_for}{}", quoted(said))]
    NoRecords {
        /// Where they were looked for.
        looked_for: String,
        /// What the body says, shortened and redacted.
        said: String,
        /// Whether an earlier page of the list had some.
        had_some: bool,
    },
    /// Null in place of the records of a list that announces more than has come.
    #[error("the body holds null in place of records, and announces {total} of them{}", quoted(said))]
    NullRecords {
        /// How many it announces.
        total: u64,
        /// What the body says, shortened and redacted.
        said: String,
    },
    /// The answer to a request that counts holds no number.
    #[error("the body holds no number at `{path}` ([orders.count]){}", quoted(said))]
    NoCount {
        /// Where it was looked for.
        path: String,
        /// What the body says, shortened and redacted.
        said: String,
    },
    /// The server of the OAuth token did not issue one.
    #[error("could not obtain an OAuth token from {url}: {detail}")]
    Token {
        /// The server's URL, redacted.
        url: String,
        /// What it answered, redacted.
        detail: String,
        /// Whether another attempt may do better.
        outlook: TokenOutlook,
    },
    /// The body is larger than is allowed.
    #[error("the body is larger than {limit} bytes ({setting})")]
    TooLarge {
        /// The limit.
        limit: u64,
        /// The setting that says so.
        setting: &'static str,
    },
    /// The body is encoded in a way that is not read here.
    #[error("the body is encoded as `{encoding}`, which is not read here (Content-Encoding: gzip, deflate, br and zstd are)")]
    Encoding {
        /// The encoding.
        encoding: String,
    },
    /// The proxy does not let the request pass.
    #[error("{0}")]
    Proxy(String),
    /// Too many redirects, or one that is not followed.
    #[error("{0}")]
    Redirect(String),
    /// A request that can't be written.
    #[error("{0}")]
    NotSent(String),
}

/// Whether another request for a token may do better.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenOutlook {
    /// The server is busy or out of order.
    MayPass,
    /// It refuses.
    Final,
}

fn hint(status: u16) -> &'static str {
    match status {
        401 => " (are ETL_API_TOKEN, ETL_API_KEY or ETL_API_USER and ETL_API_PASSWORD set?)",
        403 => " (the credentials do not allow this)",
        404 => " (is the path right?)",
        429 => " (too many requests)",
        _ => "",
    }
}

fn quoted(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

impl RequestFailure {
    /// Whether another attempt may do better (contract, Source over HTTP).
    pub fn is_transient(&self) -> bool {
        match self {
            RequestFailure::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504),
            RequestFailure::NoRecords { had_some, .. } => *had_some,
            RequestFailure::Token { outlook, .. } => *outlook == TokenOutlook::MayPass,
            RequestFailure::Connection(_)
            | RequestFailure::NotJson { .. }
            | RequestFailure::Reported { .. }
            | RequestFailure::NullRecords { .. } => true,
            RequestFailure::NoCount { .. }
            | RequestFailure::TooLarge { .. }
            | RequestFailure::Encoding { .. }
            | RequestFailure::Proxy(_)
            | RequestFailure::Redirect(_)
            | RequestFailure::NotSent(_) => false,
        }
    }
}
