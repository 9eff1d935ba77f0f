//! Reads pages of records from an HTTP API, or from files on this machine or in a bucket, in the order of the source.
//!
//! Responsible for requests, retries, pagination, authentication, decompression, and for cutting bodies and files into
//! records. Does not interpret records: that is the task of `normalize`.

mod asked_key;
mod body;
mod completeness;
mod counters;
mod error;
mod files;
mod http;
mod page;
mod probe;
mod query;
mod reach;
mod url_query;

use asked_key::OwnKeysHidden;
pub use body::{PathReading, RECORD_KEYS, RecordShape};
pub use completeness::{Completeness, CompletenessStatus, Evidence};
pub use counters::{ReadCounts, SourceCounters, SourceCounts};
pub use error::{FailedRequest, RequestFailure, SentRequest, SourceError};
use http::{BulkSource, HttpSource};
pub use page::{BlankRun, Origin, Page};
pub use probe::{PageKind, ProbedPage, probe};
pub use query::{Proof, Query, RecordFilter};
pub use reach::{Reached, reach};

use std::task::{Context, Poll};

use crate::{
    cancel::Cancel,
    model::Window,
    net::{Network, redact},
    settings::{Cursor, HttpSettings, Limits, Location, Source},
};

/// The settings and shared state for reading a source.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// The settings of HTTP requests.
    pub http: &'a HttpSettings,
    /// The network of the run: its connections, rate limits and tokens.
    pub network: &'a Network,
    /// The limits of size and depth.
    pub limits: &'a Limits,
    /// The bytes of memory that the run may use. Bodies count towards it.
    pub memory_limit: Option<u64>,
    /// The counters of requests, pages and bytes.
    pub counters: &'a SourceCounters,
    /// The switch that stops the reading.
    pub cancel: &'a Cancel,
}

/// All defaults, for tests.
#[cfg(test)]
pub(crate) struct Ambient {
    pub(crate) http: HttpSettings,
    pub(crate) network: Network,
    pub(crate) limits: Limits,
    pub(crate) counters: SourceCounters,
    pub(crate) cancel: Cancel,
    pub(crate) source: Source,
    shape: RecordShape,
}

#[cfg(test)]
impl Default for Ambient {
    fn default() -> Ambient {
        Ambient {
            http: HttpSettings::default(),
            network: Network::new(&HttpSettings::default()),
            limits: Limits::default(),
            counters: SourceCounters::default(),
            cancel: Cancel::default(),
            source: Location::Files(String::new()).into(),
            shape: RecordShape::default(),
        }
    }
}

#[cfg(test)]
impl Ambient {
    pub(crate) fn query(&self) -> Query<'_> {
        Query::all(&self.source, &self.shape)
    }

    pub(crate) fn access(&self) -> Access<'_> {
        Access {
            http: &self.http,
            network: &self.network,
            limits: &self.limits,
            memory_limit: None,
            counters: &self.counters,
            cancel: &self.cancel,
        }
    }
}

/// What may befall a list between two of its pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListMove {
    /// It is read again from its first page.
    ReadAgain,
    /// Records disappeared, and the reader goes back to where pages were read before.
    WentBack,
}

/// Receives pages in the order of the source.
pub trait PageSink {
    /// Accepts the next page; `false` stops the reading. May block until there is room for the page.
    fn page(&mut self, page: Page) -> bool;

    /// Ready when the next page can be accepted without blocking. A reader with requests in flight waits for this, so that
    /// the requests continue meanwhile.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    /// Called where the list that is read moves under the reader.
    fn moved(&mut self, _: ListMove) {}

    /// Whether it takes the list to its end, unless something fails. Then a reader may request a page before the sink has the one
    /// before it.
    fn takes_all(&self) -> bool {
        false
    }
}

impl<F: FnMut(Page) -> bool> PageSink for F {
    fn page(&mut self, page: Page) -> bool {
        self(page)
    }
}

/// Sets the rate limit of a source's origin, before any source of the origin is read.
pub fn limit_rate(source: &Source, network: &Network) {
    if let (Location::Http(url), Some(rate)) = (&source.location, source.profile.http.requests_per_second) {
        network.rate_limiter(url).limit(rate);
    }
}

/// The URL of the first request for a source, redacted; `None` for files.
pub fn first_request(source: &Source, window: Window, cursor: Cursor) -> Option<String> {
    let Location::Http(url) = &source.location else { return None };
    let shape = RecordShape::default();
    let query = Query { window, cursor, ..Query::all(source, &shape) };
    Some(redact::url(&query.narrowed(url)))
}

/// What a source is read for. It decides which file formats are supported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Orders: JSON and NDJSON.
    Orders,
    /// Users and products: also CSV and Parquet.
    Members,
}

/// Reads all pages of a location into `sink`, on the calling thread, and returns whether the source was read completely.
///
/// # Errors
/// Any error before the end of the source. The pages that `sink` received before must then not be published.
pub fn read_pages(
    location: &Location,
    purpose: Purpose,
    query: &Query<'_>,
    access: &Access<'_>,
    sink: &mut dyn PageSink,
) -> Result<Completeness, SourceError> {
    let keys = asked_key::of_profile(query.profile);
    let mut hiding = OwnKeysHidden { sink, keys };
    match location {
        Location::Http(location) => match &query.profile.bulk {
            Some(operation) => BulkSource { location, operation, query, access: *access }.read(&mut hiding),
            // Its records have what was asked for, and each list hides what is there besides.
            None => HttpSource::new(location, query, *access)?.read(hiding.sink),
        },
        Location::Files(pattern) => files::read_records(&files::find(pattern, purpose)?, query, access, &mut hiding),
        Location::Bucket(pattern) => {
            files::read_records(&files::find_objects(pattern, purpose, query, access)?, query, access, &mut hiding)
        }
    }
}
