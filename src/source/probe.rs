//! One page of a source, as it came: for a look at what would be made of it.

use super::{
    Access, Page, Purpose, Query, SourceError,
    files::{self, FilesRead},
    http::HttpSource,
};
use crate::settings::Location;

/// Bytes of a file that a look needs at most.
const MOST: u64 = 16 << 20;

/// One page, as it came.
#[derive(Debug, Default)]
pub struct ProbedPage {
    /// The body, where it is one JSON document.
    pub body: Option<Vec<u8>>,
    /// The bytes of each record; `None` where none were found by the profile at hand.
    pub records: Option<Vec<Vec<u8>>>,
    /// The next page by a `Link` header.
    pub link_next: Option<String>,
    /// Whether the response names a next page in any way that is followed.
    pub names_next: bool,
    /// How many records the source says that it has.
    pub total: Option<u64>,
    /// Whether it came over HTTP.
    pub is_http: bool,
}

/// Reads the first page of a location.
///
/// # Errors
/// Whatever keeps it from being read; missing records are not an error here.
pub fn probe(location: &Location, query: &Query<'_>, access: &Access<'_>) -> Result<ProbedPage, SourceError> {
    match location {
        Location::Http(url) => HttpSource::new(url, query, *access)?.probe(),
        Location::Files(pattern) => probe_file(pattern, query, access),
    }
}

fn probe_file(pattern: &str, query: &Query<'_>, access: &Access<'_>) -> Result<ProbedPage, SourceError> {
    let file = files::find(pattern, Purpose::Orders)?.into_iter().next().ok_or_else(|| SourceError::Missing { path: pattern.into() })?;
    let mut records: Option<Vec<Vec<u8>>> = None;
    let read = files::read_file(&file, query, access, &mut FilesRead::default(), &mut |page: Page| {
        records = Some(page.records().map(|record| record.bytes.to_vec()).collect());
        false
    });
    // NDJSON with more than one line is not one document, and has no body.
    let body = Some(files::beginning(&file, access.limits, MOST)?)
        .filter(|body| serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok() && file.format != files::Format::Ndjson);
    match read {
        Ok(_) => Ok(ProbedPage { body, records: records.or(Some(Vec::new())), ..ProbedPage::default() }),
        // A document without records is what a look is for.
        Err(SourceError::Malformed { .. }) if body.is_some() => Ok(ProbedPage { body, ..ProbedPage::default() }),
        Err(error) => Err(error),
    }
}
