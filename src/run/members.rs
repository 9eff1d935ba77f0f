//! Reads users and products, and merges them with the stored dimensions.
//!
//! What a record of a member means is `normalize`'s, and which row of a member wins is `join`'s.

use std::{collections::BTreeMap, panic::resume_unwind, path::Path, thread};

use super::{
    RunError,
    completeness::certify,
    page_channel::{NumberedPage, page_channel},
    shape,
};
use crate::{
    join::{Dimension, LookUpColumn, OldVersions, ScdType, StoredRows},
    model::{DIM_PRODUCT, DIM_USER, DimensionSpec, ErasedUsers, addresses_of},
    normalize::{MemberNormalizer, Members, Sampling},
    report::RunCompleteness,
    settings::{EnrichColumns, Settings, SettingsError, Source},
    source::{self, Access, Completeness, Page, Purpose, Query, SourceError},
    store::{self, ObjectRef, Output, places},
};

/// The dimensions of a run while it works.
pub(super) struct Dimensions {
    pub(super) users: Dimension,
    pub(super) products: Dimension,
    /// Users of the source that were left out, since they were erased.
    pub(super) users_erased: u64,
}

/// Reads the members of a run.
pub(super) struct MemberReader<'a> {
    pub(super) settings: &'a Settings,
    pub(super) output: &'a Output,
    pub(super) access: Access<'a>,
    /// The stored dimensions.
    pub(super) stored: &'a BTreeMap<String, ObjectRef>,
    /// The users who were erased: no source brings them back.
    pub(super) erased: &'a ErasedUsers,
}

/// What facts carry of users and products. Equal where a fact gets the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct LookUpDigests {
    users: u128,
    products: u128,
}

impl LookUpDigests {
    pub(super) fn of(dimensions: &Dimensions, columns: &EnrichColumns) -> Result<LookUpDigests, RunError> {
        let [country, name, category] = LookUpColumn::all(columns);
        Ok(LookUpDigests {
            users: dimensions.users.look_up_digest(&[country])?,
            products: dimensions.products.look_up_digest(&[name, category])?,
        })
    }
}

/// The members of a source, and whether it was read whole.
struct ReadMembers {
    members: Members,
    completeness: Completeness,
    /// Members that were left out, since they were erased.
    erased: u64,
}

/// The members of both sources; `None` where there is no source.
struct ReadSources {
    users: Option<ReadMembers>,
    products: Option<ReadMembers>,
}

/// A dimension as it is stored, and where.
#[derive(Clone, Copy)]
struct StoredDimension<'a> {
    spec: DimensionSpec,
    output: &'a Output,
    /// Its version, in a bucket.
    version: Option<&'a ObjectRef>,
}

/// The stored rows of both dimensions.
struct StoredDimensions {
    users: StoredRows,
    products: StoredRows,
}

impl StoredDimension<'_> {
    fn read(self) -> Result<StoredRows, RunError> {
        let StoredDimension { spec, output, version } = self;
        let key = places::dimension(&spec);
        let bytes = if output.folder().is_some() {
            output.read(key.clone())?
        } else {
            let path = version.map(|version| output.local_version(&key, version)).transpose()?;
            path.map_or(Ok(None), |path| store::read(&path))?
        };
        Ok(StoredRows::read(&spec, bytes, &output.at(key))?)
    }
}

impl MemberReader<'_> {
    /// Both dimensions. The completeness of each source is noted in `completeness`, also if the source fails. The stored rows are read
    /// beside the sources.
    pub(super) fn dimensions(&self, completeness: &mut RunCompleteness) -> Result<Dimensions, RunError> {
        let settings = self.settings;
        if let Some(note) = settings.unread_note() {
            tracing::info!("{note}");
        }
        let [stored_users, stored_products] = [DIM_USER, DIM_PRODUCT].map(|spec| self.stored(spec));
        let read_stored =
            || -> Result<_, RunError> { Ok(StoredDimensions { users: stored_users.read()?, products: stored_products.read()? }) };
        let reading = self.access.cancel.part();
        let sources = MemberReader { access: Access { cancel: reading.cancel(), ..self.access }, ..*self };
        let (read, stored) = thread::scope(|scope| {
            let stored = scope.spawn(|| {
                // Without the stored rows, what the sources say is of no use.
                read_stored().inspect_err(|_| reading.stop())
            });
            let read = sources.read_both(completeness);
            (read, stored.join().unwrap_or_else(|panic| resume_unwind(panic)))
        });
        // Before what the sources say: they were stopped, if the stored rows can't be read.
        let stored = stored?;
        let ReadSources { users, products } = read?;
        let old_versions = if settings.drop_history { OldVersions::Drop } else { OldVersions::Refuse };
        let scd = |keeps_versions| if keeps_versions { ScdType::Two } else { ScdType::One(old_versions) };
        // An empty list says nothing of its columns.
        let users_erased = users.as_ref().map_or(0, |users| users.erased);
        let is_empty = users.as_ref().is_some_and(|users| users.members.counts.records_read == 0);
        let users = Dimension::new(DIM_USER, scd(settings.versioned_users), stored.users, users.map(|read| read.members))?;
        if !is_empty {
            self.refuse_unknown_masks(&users)?;
        }
        let products = products.map(|read| read.members);
        let products = Dimension::new(DIM_PRODUCT, scd(settings.versioned_products), stored.products, products)?;
        Ok(Dimensions { users, products, users_erased })
    }

    /// The members of both sources, one after the other.
    fn read_both(&self, completeness: &mut RunCompleteness) -> Result<ReadSources, RunError> {
        let users = self.read_source(DIM_USER, self.settings.users.as_ref(), &mut completeness.users)?;
        let products = self.read_source(DIM_PRODUCT, self.settings.products.as_ref(), &mut completeness.products)?;
        Ok(ReadSources { users, products })
    }

    /// The members of a source; `None` without one.
    fn read_source(
        &self,
        spec: DimensionSpec,
        source: Option<&Source>,
        certificate: &mut Option<Completeness>,
    ) -> Result<Option<ReadMembers>, RunError> {
        let Some(source) = source else { return Ok(None) };
        let read = self.read(spec, source)?;
        *certificate = Some(read.completeness.clone());
        certify(&source.location, &read.completeness, self.settings)?;
        refuse_unreadable(source, &read.members)?;
        Ok(Some(read))
    }

    /// Fails if a masked column is nowhere: its name may be written wrongly, and its values would stay as they are.
    fn refuse_unknown_masks(&self, users: &Dimension) -> Result<(), SettingsError> {
        let fixed = DIM_USER.columns.iter().map(|column| column.name);
        let extra = self.settings.fact_columns.iter().map(|column| column.name.as_str());
        let known: Vec<&str> = fixed.chain(users.names().iter().map(String::as_str)).chain(extra).collect();
        match self.settings.masks.refuse_unknown(&known) {
            // The users of another shop may have it.
            Err(error) if self.settings.shop.is_some() => {
                tracing::warn!(%error, "a mask has no column in this shop");
                Ok(())
            }
            result => result,
        }
    }

    fn stored(&self, spec: DimensionSpec) -> StoredDimension<'_> {
        StoredDimension { spec, output: self.output, version: self.stored.get(spec.name) }
    }

    /// Both dimensions, merged with what other runs have stored meanwhile.
    pub(super) fn rebased(&self, dimensions: Dimensions) -> Result<Dimensions, RunError> {
        let rebased = |dimension: Dimension| -> Result<Dimension, RunError> {
            let stored = self.stored(*dimension.spec()).read()?;
            Ok(dimension.rebased(stored)?)
        };
        let Dimensions { users, products, users_erased } = dimensions;
        Ok(Dimensions { users: rebased(users)?, products: rebased(products)?, users_erased })
    }

    /// Reads a source to its end, and normalizes it beside that. Each file has columns of its own.
    fn read(&self, spec: DimensionSpec, source: &Source) -> Result<ReadMembers, RunError> {
        let shape = shape::of_dimension(&spec, &source.profile);
        let new_normalizer = || {
            MemberNormalizer::new(spec, &source.profile, self.settings.limits)
                .of_shop(self.settings.shop.as_ref())
                .masked(&self.settings.masks)
        };
        let (mut files, mut normalizer, mut origin) = (Vec::new(), new_normalizer(), None);
        let mut add = |page: Page| {
            let file = page.origin.file().map(Path::to_owned);
            if file != origin && origin.is_some() {
                files.push(std::mem::replace(&mut normalizer, new_normalizer()).finish());
            }
            origin = file;
            page.span().in_scope(|| normalizer.records(page.records(), page.cells));
        };
        let query = Query::all(source, &shape);
        let (mut page_in, mut page_out) = page_channel(Sampling::Off);
        let span = tracing::Span::current();
        let read = thread::scope(|scope| {
            let read_pages = move || source::read_pages(&source.location, Purpose::Members, &query, &self.access, &mut page_in);
            let reader = scope.spawn(move || span.in_scope(read_pages));
            while let Some(NumberedPage { page, .. }) = page_out.blocking_recv() {
                add(page);
            }
            reader.join().unwrap_or_else(|panic| resume_unwind(panic))
        });
        let completeness = read?;
        files.push(normalizer.finish());
        let mut members = Members::of_files(&spec, files);
        let erased = if spec.name == DIM_USER.name { leave_out_erased(&mut members, self.erased) } else { 0 };
        Ok(ReadMembers { members, completeness, erased })
    }
}

/// Leaves out the users who were erased, and returns how many there were.
fn leave_out_erased(members: &mut Members, erased: &ErasedUsers) -> u64 {
    let table = &members.table;
    let Some(key) = table.column(DIM_USER.key()).filter(|_| !erased.is_empty()) else { return 0 };
    let is_kept: Vec<bool> = (0..table.height()).map(|row| !table.cell(row, key).is_some_and(|user| erased.has(user))).collect();
    let left_out = is_kept.iter().filter(|is_kept| !**is_kept).count() as u64;
    if left_out > 0 {
        members.table.retain_rows(&is_kept);
    }
    left_out
}

/// The erased users without the addresses that a member has: those may name that member, too.
pub(super) fn without_addresses_of(erased: &ErasedUsers, users: &Dimension) -> ErasedUsers {
    let mut left = erased.clone();
    if erased.has_addresses() {
        users.each_text_with_at(|key, text| {
            if !erased.has(key) {
                addresses_of(text).iter().for_each(|address| left.release_address(address));
            }
        });
    }
    left
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
