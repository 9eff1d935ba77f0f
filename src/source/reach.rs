//! Whether a source answers, for `etl doctor`: its first page, or a look at its files. Nothing is retried that the settings do not say.

use super::{
    Access, Purpose, Query, SourceError,
    files::{self, SourceFile},
    http::{self, HttpSource},
};
use crate::{model::UtcMicros, settings::Location};

/// What was found at a location.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reached {
    /// The first page of a list.
    Page {
        /// Its records; `None` if there are none where the profile says.
        records: Option<usize>,
        /// The time of the server when it answered.
        served_at: Option<UtcMicros>,
    },
    /// Files or objects.
    Files(usize),
}

/// Reads as little of a source as shows that it can be read.
///
/// # Errors
/// Any error of reading it.
pub fn reach(location: &Location, purpose: Purpose, query: &Query<'_>, access: &Access<'_>) -> Result<Reached, SourceError> {
    match location {
        Location::Http(url) if query.profile.bulk.is_some() => Err(http::unasked(url)),
        Location::Http(url) => {
            let page = HttpSource::new(url, query, *access)?.probe()?;
            Ok(Reached::Page { records: page.records.map(|records| records.len()), served_at: page.served_at })
        }
        Location::Files(pattern) => first_byte(&files::find(pattern, purpose)?, access),
        Location::Bucket(pattern) => first_byte(&files::find_objects(pattern, purpose, query, access)?, access),
    }
}

/// Reads a byte of the first file.
fn first_byte(files: &[SourceFile], access: &Access<'_>) -> Result<Reached, SourceError> {
    if let Some(file) = files.first() {
        files::beginning(file, access, 1)?;
    }
    Ok(Reached::Files(files.len()))
}
