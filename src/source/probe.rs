//! Reads one page of a source unchanged, for `etl probe`.

use super::{
    Access, Page, Purpose, Query, SourceError,
    files::{self, FilesRead, SourceFile},
    http::HttpSource,
};
use crate::{model::UtcMicros, settings::Location};

/// The maximum bytes of a file that a probe reads.
const MAX_BYTES: u64 = 16 << 20;

/// One page, unchanged.
#[derive(Debug, Default)]
pub struct ProbedPage {
    /// The body, if it is one JSON document.
    pub body: Option<Vec<u8>>,
    /// The bytes of each record; `None` if the profile finds no records.
    pub records: Option<Vec<Vec<u8>>>,
    /// The next page in a `Link` header.
    pub link_next: Option<String>,
    /// Whether the response names a next page in any supported way.
    pub names_next: bool,
    /// The number of records that the source claims to have.
    pub total: Option<u64>,
    /// Whether the source is an HTTP API.
    pub is_http: bool,
    /// The time of the server when it answered.
    pub served_at: Option<UtcMicros>,
}

/// Reads the first page of a location.
///
/// # Errors
/// Any error of reading it, except missing records.
pub fn probe(location: &Location, query: &Query<'_>, access: &Access<'_>) -> Result<ProbedPage, SourceError> {
    match location {
        Location::Http(url) => HttpSource::new(url, query, *access)?.probe(),
        Location::Files(pattern) => probe_file(&files::find(pattern, Purpose::Orders)?, query, access),
        Location::Bucket(pattern) => probe_file(&files::find_objects(pattern, Purpose::Orders, query, access)?, query, access),
    }
}

/// Reads the first page of the first file.
fn probe_file(files: &[SourceFile], query: &Query<'_>, access: &Access<'_>) -> Result<ProbedPage, SourceError> {
    let Some(file) = files.first() else { return Ok(ProbedPage::default()) };
    let mut records: Option<Vec<Vec<u8>>> = None;
    let read = files::read_file(file, query, access, &mut FilesRead::default(), &mut |page: Page| {
        records = Some(page.records().map(|record| record.bytes.to_vec()).collect());
        false
    });
    // NDJSON is not one document, so it has no body.
    let body = Some(files::beginning(file, access, MAX_BYTES)?)
        .filter(|body| serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok() && file.format != files::Format::Ndjson);
    match read {
        Ok(_) => Ok(ProbedPage { body, records: records.or(Some(Vec::new())), ..ProbedPage::default() }),
        // A document without records is not an error: the probe shows its structure.
        Err(SourceError::Malformed { .. }) if body.is_some() => Ok(ProbedPage { body, ..ProbedPage::default() }),
        Err(error) => Err(error),
    }
}
