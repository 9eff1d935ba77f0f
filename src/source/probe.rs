//! One page of a source, as it came: for a look at what would be made of it.

use super::{Access, Page, Query, SourceError, files, http::HttpSource};
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
    /// Whether it came over HTTP.
    pub is_http: bool,
}

/// Reads the first page of a location.
///
/// # Errors
/// Whatever keeps it from being read; records that are not found are no error here.
pub fn probe(location: &Location, query: &Query<'_>, access: &Access<'_>) -> Result<ProbedPage, SourceError> {
    match location {
        Location::Http(url) => HttpSource::new(url, query, *access)?.probe(),
        Location::Files(pattern) => probe_file(pattern, query, access),
    }
}

fn probe_file(pattern: &str, query: &Query<'_>, access: &Access<'_>) -> Result<ProbedPage, SourceError> {
    let file =
        files::find(pattern, files::Kinds::Records)?.into_iter().next().ok_or_else(|| SourceError::Missing { path: pattern.into() })?;
    let mut records: Option<Vec<Vec<u8>>> = None;
    let read = files::read_file(&file, query.profile.records.as_ref(), access, &mut |page: Page| {
        records = Some(page.records().map(<[u8]>::to_vec).collect());
        false
    });
    let body = match file.format {
        files::Format::Ndjson => None,
        _ => Some(files::beginning(&file, access.limits, MOST)?),
    };
    match read {
        Ok(_) => Ok(ProbedPage { body, records: records.or(Some(Vec::new())), link_next: None, is_http: false }),
        // A document without records is what a look is for.
        Err(SourceError::Malformed { .. })
            if body.as_deref().is_some_and(|body| serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()) =>
        {
            Ok(ProbedPage { body, records: None, link_next: None, is_http: false })
        }
        Err(error) => Err(error),
    }
}
