//! Bytes in: pages of records from an HTTP API or from files, in the order of the source.
//!
//! Responsible for requests, retries, pagination, authentication, decompression, and for cutting bodies and files into
//! records. Knows no column: what a record means is `normalize`'s.

mod counters;
mod envelope;
mod error;
mod files;
mod http;
mod page;
mod probe;
mod query;
mod table;

pub use counters::{SourceCounters, SourceCounts};
pub use envelope::RECORD_KEYS;
pub use error::SourceError;
use http::HttpSource;
pub use page::Page;
pub use probe::{ProbedPage, probe};
pub use query::Query;
pub use table::{SourceTable, read_table};

use crate::{
    cancel::Cancel,
    settings::{HttpSettings, Limits, Location},
};

/// What a source is read with.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// How one over HTTP is asked.
    pub http: &'a HttpSettings,
    /// What it may ask of this machine.
    pub limits: &'a Limits,
    /// What was asked and read so far.
    pub counters: &'a SourceCounters,
    /// The switch that stops it.
    pub cancel: &'a Cancel,
}

/// All defaults, for tests.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct Ambient {
    pub(crate) http: HttpSettings,
    pub(crate) limits: Limits,
    pub(crate) counters: SourceCounters,
    pub(crate) cancel: Cancel,
}

#[cfg(test)]
impl Ambient {
    pub(crate) fn access(&self) -> Access<'_> {
        Access { http: &self.http, limits: &self.limits, counters: &self.counters, cancel: &self.cancel }
    }
}

/// Where pages go as they come; an error of its own stops the reading.
pub trait PageSink {
    /// Takes the next page; `false` when nobody wants any more.
    fn page(&mut self, page: Page) -> bool;
}

impl<F: FnMut(Page) -> bool> PageSink for F {
    fn page(&mut self, page: Page) -> bool {
        self(page)
    }
}

/// Reads all pages of an orders location into `sink`, on the calling thread.
///
/// # Errors
/// Whatever keeps the source from being read to its end; what was handed on before must then not be published.
pub fn read_pages(location: &Location, query: &Query<'_>, access: &Access<'_>, sink: &mut dyn PageSink) -> Result<(), SourceError> {
    match location {
        Location::Http(url) => HttpSource::new(url, query, *access)?.read(sink),
        Location::Files(pattern) => files::read_records(pattern, query.profile.records.as_ref(), access, sink),
    }
}
