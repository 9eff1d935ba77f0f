//! Reads one page of a source unchanged, for `etl probe`.

use super::{
    Access, Page, Purpose, Query, SourceError,
    files::{self, FilesRead, SourceFile},
    http::{self, HttpSource},
};
use crate::{model::UtcMicros, settings::Location};

/// The maximum bytes of a file that a probe reads.
const MAX_BYTES: u64 = 16 << 20;

/// The records that are enough for a probe of a file.
const ENOUGH_RECORDS: usize = 200;

/// What a page is of.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum PageKind {
    /// A file of JSON or NDJSON.
    #[default]
    Document,
    /// A file of CSV or Parquet, whose rows are lines.
    Table,
    /// The response of an HTTP API.
    Response,
}

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
    /// Whether the next page is named, or asked for, by its number or offset alone.
    pub is_by_position: bool,
    /// The number of records that the source claims to have.
    pub total: Option<u64>,
    /// What it is of.
    pub kind: PageKind,
    /// The time of the server when it answered.
    pub served_at: Option<UtcMicros>,
}

/// Reads the first page of a location.
///
/// # Errors
/// Any error of reading it, except missing records.
pub fn probe(location: &Location, query: &Query<'_>, access: &Access<'_>) -> Result<ProbedPage, SourceError> {
    match location {
        Location::Http(url) if query.profile.bulk.is_some() => Err(http::unasked(url)),
        Location::Http(url) => HttpSource::new(url, query, *access)?.probe(),
        Location::Files(pattern) => probe_file(&files::find(pattern, Purpose::Orders)?, query, access),
        Location::Bucket(pattern) => probe_file(&files::find_objects(pattern, Purpose::Orders, query, access)?, query, access),
    }
}

/// Reads the first page of the first file.
fn probe_file(files: &[SourceFile], query: &Query<'_>, access: &Access<'_>) -> Result<ProbedPage, SourceError> {
    let Some(file) = files.first() else { return Ok(ProbedPage::default()) };
    let kind = match file.format {
        files::Format::Csv | files::Format::Parquet => PageKind::Table,
        files::Format::Json | files::Format::Ndjson => PageKind::Document,
    };
    let mut records: Vec<Vec<u8>> = Vec::new();
    let read = files::read_file(file, query, access, &mut FilesRead::default(), &mut |page: Page| {
        records.extend(page.records().map(|record| record.bytes.to_vec()));
        records.len() < ENOUGH_RECORDS
    });
    // NDJSON and tables are not one document, so they have no body.
    let body = match file.format {
        files::Format::Json => Some(files::beginning(file, access, MAX_BYTES)?),
        files::Format::Ndjson | files::Format::Csv | files::Format::Parquet => None,
    };
    let body = body.filter(|body| serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok());
    match read {
        Ok(_) => Ok(ProbedPage { body, records: Some(records), kind, ..ProbedPage::default() }),
        // A document without records is not an error: the probe shows its structure.
        Err(SourceError::Malformed { .. }) if body.is_some() => Ok(ProbedPage { body, ..ProbedPage::default() }),
        Err(error) => Err(error),
    }
}
