//! What a run does with the certificate of a source: an incomplete source ends it, unless it is to be published all the same.

use crate::{
    settings::{Location, Settings},
    source::{Completeness, SourceError},
};

/// Says what a certificate leaves open.
///
/// # Errors
/// [`SourceError::Incomplete`], unless incomplete sources are allowed.
pub(super) fn certify(location: &Location, completeness: &Completeness, settings: &Settings) -> Result<(), SourceError> {
    let why = completeness.why.clone().unwrap_or_default();
    // The result of a bulk operation is read once: it does not change.
    let is_bulk = settings.orders.as_ref().is_some_and(|orders| orders.location == *location && orders.profile.bulk.is_some());
    let (location, read_again) = (location.to_string(), matches!(location, Location::Http(_)) && !is_bulk);
    if completeness.is_failed() && !settings.allow_incomplete {
        return Err(SourceError::Incomplete { location, why, read_again });
    }
    if completeness.is_failed() {
        tracing::warn!(location, why, "the source is incomplete; it is published because of --allow-incomplete");
    } else if !why.is_empty() {
        tracing::warn!(location, why, "nothing shows that all of the source came");
    }
    Ok(())
}
