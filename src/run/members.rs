//! Reads users and products, and merges them with the stored dimensions.
//!
//! What a record of a member means is `normalize`'s, and which row of a member wins is `join`'s.

use std::path::Path;

use super::{RunError, completeness::certify, shape};
use crate::{
    join::{Dimension, OldVersions, ScdType},
    model::{DIM_PRODUCT, DIM_USER, DimensionSpec},
    normalize::{MemberNormalizer, Members},
    report::RunCompleteness,
    settings::{Settings, Source},
    source::{self, Access, Completeness, Page, Purpose, Query, SourceError},
    store::{self, Output, places},
};

/// The dimensions of a run while it works.
pub(super) struct Dimensions {
    pub(super) users: Dimension,
    pub(super) products: Dimension,
}

/// Reads the members of a run.
pub(super) struct MemberReader<'a> {
    pub(super) settings: &'a Settings,
    pub(super) output: &'a Output,
    pub(super) access: Access<'a>,
}

/// The members of a source, and whether it was read whole.
struct ReadMembers {
    members: Members,
    completeness: Completeness,
}

impl MemberReader<'_> {
    /// Both dimensions. The completeness of each source is noted in `completeness`, also if the source fails.
    pub(super) fn dimensions(&self, completeness: &mut RunCompleteness) -> Result<Dimensions, RunError> {
        let settings = self.settings;
        let old_versions = if settings.drop_history { OldVersions::Drop } else { OldVersions::Refuse };
        let scd = |keeps_versions| if keeps_versions { ScdType::Two } else { ScdType::One(old_versions) };
        let users = self.dimension(DIM_USER, settings.users.as_ref(), scd(settings.versioned_users), &mut completeness.users)?;
        let products =
            self.dimension(DIM_PRODUCT, settings.products.as_ref(), scd(settings.versioned_products), &mut completeness.products)?;
        Ok(Dimensions { users, products })
    }

    fn dimension(
        &self,
        spec: DimensionSpec,
        source: Option<&Source>,
        scd: ScdType,
        certificate: &mut Option<Completeness>,
    ) -> Result<Dimension, RunError> {
        let mut members = None;
        if let Some(source) = source {
            let read = self.read(spec, source)?;
            *certificate = Some(read.completeness.clone());
            certify(&source.location, &read.completeness, self.settings)?;
            refuse_unreadable(source, &read.members)?;
            members = Some(read.members);
        }
        let path = self.output.at(places::dimension(&spec));
        let stored = store::read(&path)?;
        Ok(Dimension::new(spec, scd, stored, &path, members)?)
    }

    /// Reads a source to its end. Each file has columns of its own.
    fn read(&self, spec: DimensionSpec, source: &Source) -> Result<ReadMembers, RunError> {
        let shape = shape::of_dimension(&spec, &source.profile);
        let new_normalizer = || MemberNormalizer::new(spec, &source.profile, self.settings.limits);
        let (mut files, mut normalizer, mut origin) = (Vec::new(), new_normalizer(), None);
        let mut sink = |page: Page| {
            let file = page.origin.file().map(Path::to_owned);
            if file != origin && origin.is_some() {
                files.push(std::mem::replace(&mut normalizer, new_normalizer()).finish());
            }
            origin = file;
            page.span().in_scope(|| normalizer.records(page.records(), page.cells));
            true
        };
        let query = Query::all(source, &shape);
        let completeness = source::read_pages(&source.location, Purpose::Members, &query, &self.access, &mut sink)?;
        files.push(normalizer.finish());
        Ok(ReadMembers { members: Members::of_files(&spec, files), completeness })
    }
}

/// Fails if no record of a source can be read.
fn refuse_unreadable(source: &Source, members: &Members) -> Result<(), SourceError> {
    let counts = &members.counts;
    if counts.records_malformed == 0 || counts.records_malformed < counts.records_read {
        return Ok(());
    }
    let (location, records) = (source.location.to_string(), counts.records_read);
    Err(SourceError::NoRecordIsJson { location, records, seems: "not one can be read".to_owned() })
}
