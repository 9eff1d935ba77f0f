//! What keeps a source from being read: exit 3.

use std::{io, path::PathBuf, time::Duration};

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
    #[error("GET {url} (page {page}): {cause}, after {attempts} {} in {:.1} s", if *attempts == 1 { "attempt" } else { "attempts" }, elapsed.as_secs_f64())]
    Request {
        /// The URL, redacted.
        url: String,
        /// The page, from 1.
        page: u64,
        /// How often it was tried.
        attempts: u32,
        /// How long that took.
        elapsed: Duration,
        /// The last failure.
        cause: RequestFailure,
    },
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
        variables: &'static str,
    },
    /// More pages than a source may have.
    #[error("GET {url}: more than {limit} pages (http.max_pages)")]
    TooManyPages {
        /// The URL, redacted.
        url: String,
        /// The limit.
        limit: u64,
    },
    /// A record that is larger than one may be.
    #[error("{origin}: a record of more than {limit} bytes (limits.record_bytes)")]
    RecordTooLarge {
        /// Where it begins.
        origin: String,
        /// The limit.
        limit: u64,
    },
    /// A record that nests deeper than one may.
    #[error("{origin}: more than {limit} objects and arrays within each other (limits.depth)")]
    TooDeep {
        /// Where it begins.
        origin: String,
        /// The limit.
        limit: usize,
    },
    /// The client can't be made.
    #[error("the HTTP client can't be started: {0}")]
    Client(String),
    /// A signal came.
    #[error("interrupted")]
    Interrupted,
}

/// Why one attempt at a request failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestFailure {
    /// The server answered with a status that is no success.
    #[error("the server answered {status}{}", hint(*status))]
    Status {
        /// The status.
        status: u16,
    },
    /// Refused, broken or timed out.
    #[error("{0}")]
    Connection(String),
    /// The body is no JSON.
    #[error("the body is no JSON: {0}")]
    NotJson(String),
    /// The body is JSON in which no records can be found.
    #[error("the body holds no records: {0}")]
    NoRecords(String),
    /// No token was to be had.
    #[error("no access token was to be had: {0}")]
    Token(String),
    /// The body is larger than is allowed.
    #[error("the body is larger than {limit} bytes (http.max_body)")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// More redirects than are followed, or one that leads nowhere.
    #[error("{0}")]
    Redirect(String),
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

impl RequestFailure {
    /// Whether another attempt may do better (contract, Source over HTTP).
    pub fn is_transient(&self) -> bool {
        match self {
            RequestFailure::Status { status } => matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504),
            RequestFailure::Connection(_) | RequestFailure::NotJson(_) => true,
            RequestFailure::NoRecords(_) | RequestFailure::Token(_) | RequestFailure::TooLarge { .. } | RequestFailure::Redirect(_) => {
                false
            }
        }
    }
}
