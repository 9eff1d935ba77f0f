//! A dimension: merges the stored rows with those of the source by key, adds inferred members, and keeps the versions
//! of a member with `scd = 2`.
//!
//! A run keeps one copy of each row, in a table of texts. Does not know how a row is written: `new_file` formats the
//! rows, and `stored_members` reads them.

mod new_file;

use std::{
    collections::{BTreeSet, HashSet},
    path::Path,
};

use hashbrown::HashTable;
use polars::prelude::{Column, DataFrame, IntoColumn, StringChunkedBuilder};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use self::new_file::NewFile;
use super::{
    DimensionError,
    stored_members::{INFERRED, StoredRows, VERSION_COLUMNS},
};
use crate::{
    model::{DimensionSpec, TextTable, UtcMicros, parse_time_of_layer},
    normalize::{MOST_COLUMNS, Members, NO_COLUMN},
    settings::EnrichColumns,
    store::{self, ContentSum, Fingerprint, StagedWriter, StoreError},
};

/// The counts of a dimension in a run.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct DimensionCounts {
    /// Records of the source.
    pub records_read: u64,
    /// Records without a key, or that are malformed.
    pub records_dropped: u64,
    /// Values that are present but invalid.
    pub values_unreadable: u64,
    /// Texts that were cut.
    pub texts_cut: u64,
    /// Members after the merge.
    pub members: u64,
    /// Members that only facts name.
    pub inferred: u64,
    /// New members.
    pub inserted: u64,
    /// Members whose attributes changed.
    pub updated: u64,
}

/// The place of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Stored(usize),
    Source(usize),
}

/// A place in one word: there is one for each member.
#[derive(Clone, Copy)]
struct PackedPlace(usize);

impl PackedPlace {
    fn get(self) -> Place {
        if self.0 & 1 == 0 { Place::Stored(self.0 >> 1) } else { Place::Source(self.0 >> 1) }
    }
}

impl From<Place> for PackedPlace {
    fn from(place: Place) -> PackedPlace {
        match place {
            Place::Stored(row) => PackedPlace(row << 1),
            Place::Source(row) => PackedPlace((row << 1) | 1),
        }
    }
}

/// A member: its current row, and its stored row.
#[derive(Clone, Copy)]
struct Member {
    place: Place,
    stored: Option<usize>,
}

/// The index of a column in the stored table and in the table of the source.
#[derive(Clone, Copy)]
struct ColumnPlaces {
    stored: Option<usize>,
    source: Option<usize>,
}

/// The rows of a dimension, and the places of the columns that the merge looks at.
struct Rows {
    stored: TextTable,
    source: TextTable,
    key: ColumnPlaces,
    updated_at: ColumnPlaces,
    /// The flag of an inferred member. No source has it.
    inferred: Option<usize>,
}

/// A dimension during a run.
pub struct Dimension {
    spec: DimensionSpec,
    scd: ScdType,
    rows: Rows,
    /// The stored file.
    stored_file: Option<Fingerprint>,
    /// The names of the columns, without the flags.
    names: Vec<String>,
    /// The current row of each member; stored members come first.
    members: Vec<PackedPlace>,
    /// The stored row of each stored member.
    stored_rows: Vec<usize>,
    by_key: HashTable<usize>,
    /// Stored rows of old versions, which do not change.
    history: Vec<usize>,
    /// Versions that end in this run.
    ended: Vec<EndedVersion>,
    /// Keys of lines without a row.
    inferred: BTreeSet<String>,
    counts: DimensionCounts,
}

/// A version that ends in this run.
#[derive(Clone, Copy)]
struct EndedVersion {
    /// Its stored row.
    stored: usize,
    /// The index of its member.
    member: usize,
}

/// Which rows of a member a dimension keeps (slowly changing dimension, `scd`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScdType {
    /// `scd = 1`: the current row only.
    One(OldVersions),
    /// `scd = 2`: one row for each version.
    Two,
}

/// What `scd = 1` does with old versions of members that `scd = 2` has kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OldVersions {
    /// They are removed (`--drop-history`).
    Drop,
    /// They are a reason not to merge.
    Refuse,
}

/// A column of a dimension that is added to facts.
#[derive(Clone, Copy, Debug)]
pub struct LookUpColumn<'a> {
    /// Its name in the dimension.
    pub from: &'a str,
    /// Its name in a fact.
    pub name: &'static str,
    /// The setting that names the column.
    pub setting: &'static str,
}

impl LookUpColumn<'_> {
    /// The columns that facts carry: `user_country` of users, `product_name` and `product_category` of products.
    pub fn all(columns: &EnrichColumns) -> [LookUpColumn<'_>; 3] {
        [
            LookUpColumn { from: &columns.user_country, name: "user_country", setting: "enrich.user_country" },
            LookUpColumn { from: &columns.product_name, name: "product_name", setting: "enrich.product_name" },
            LookUpColumn { from: &columns.product_category, name: "product_category", setting: "enrich.product_category" },
        ]
    }
}

/// The result of a merge.
pub struct MergedDimension {
    /// The new file; `None` if it would be equal to the stored file. Then there is none.
    pub file: Option<Fingerprint>,
    /// The counts of the merge.
    pub counts: DimensionCounts,
}

impl Rows {
    fn new(spec: &DimensionSpec, stored: TextTable, source: TextTable) -> Rows {
        let places = |name: &str| ColumnPlaces { stored: stored.column(name), source: source.column(name) };
        let (key, updated_at, inferred) = (places(spec.key()), places("updated_at"), stored.column(INFERRED));
        Rows { stored, source, key, updated_at, inferred }
    }

    fn places(&self, column: &str) -> ColumnPlaces {
        ColumnPlaces { stored: self.stored.column(column), source: self.source.column(column) }
    }

    fn cell(&self, place: Place, column: ColumnPlaces) -> Option<&str> {
        match place {
            Place::Stored(row) => self.stored.cell(row, column.stored?),
            Place::Source(row) => self.source.cell(row, column.source?),
        }
    }

    fn key(&self, place: Place) -> &str {
        self.cell(place, self.key).unwrap_or_default()
    }

    /// Whether a row of the source comes from a file with this column.
    fn has_column(&self, place: Place, column: ColumnPlaces) -> bool {
        column.source.is_some() && self.cell(place, column) != Some(NO_COLUMN)
    }

    fn is_inferred(&self, place: Place) -> bool {
        match place {
            Place::Stored(row) => self.inferred.and_then(|column| self.stored.cell(row, column)) == Some("true"),
            Place::Source(_) => false,
        }
    }

    /// The order of the rows of a member: an inferred row is the oldest; then `updated_at`, if the source has it.
    fn version(&self, place: Place) -> (bool, Option<UtcMicros>) {
        (!self.is_inferred(place), self.cell(place, self.updated_at).and_then(parse_time_of_layer))
    }
}

impl Dimension {
    /// Merges the stored rows with those of the source by key.
    ///
    /// # Errors
    /// A source without a key, old versions that may not be dropped.
    pub fn new(spec: DimensionSpec, scd: ScdType, stored: StoredRows, source: Option<Members>) -> Result<Dimension, DimensionError> {
        let mut counts = DimensionCounts::default();
        if let Some(members) = &source {
            require_key(&spec, members)?;
            let read = members.counts;
            counts.records_read = read.records_read;
            counts.records_dropped = read.records_malformed + read.records_without_key;
            counts.values_unreadable = read.values_unreadable;
            counts.texts_cut = read.texts_cut;
        }
        Dimension::merged(spec, scd, stored, source.map(|members| members.table).unwrap_or_default(), counts)
    }

    /// The same dimension, merged with other stored rows: another run has changed them.
    ///
    /// # Errors
    /// As [`Dimension::new`].
    pub fn rebased(self, stored: StoredRows) -> Result<Dimension, DimensionError> {
        let Dimension { spec, scd, rows, inferred, counts, .. } = self;
        let counts = DimensionCounts { members: 0, inferred: 0, inserted: 0, updated: 0, ..counts };
        let mut dimension = Dimension::merged(spec, scd, stored, rows.source, counts)?;
        inferred.iter().for_each(|key| dimension.infer(key));
        Ok(dimension)
    }

    fn merged(
        spec: DimensionSpec,
        scd: ScdType,
        stored: StoredRows,
        source: TextTable,
        counts: DimensionCounts,
    ) -> Result<Dimension, DimensionError> {
        let most = stored.table.height().max(source.height());
        let mut dimension = Dimension {
            spec,
            scd,
            rows: Rows::new(&spec, stored.table, source),
            stored_file: stored.file,
            names: Vec::new(),
            members: Vec::with_capacity(most),
            stored_rows: Vec::new(),
            by_key: HashTable::with_capacity(most),
            history: Vec::new(),
            ended: Vec::new(),
            inferred: BTreeSet::new(),
            counts,
        };
        dimension.choose_columns();
        dimension.merge();
        dimension.refuse_loss_of_versions()?;
        Ok(dimension)
    }

    /// Fails if old versions would be removed and nobody asked for that.
    fn refuse_loss_of_versions(&self) -> Result<(), DimensionError> {
        let (versions, dimension) = (self.history.len(), self.spec.name);
        match self.scd {
            ScdType::One(OldVersions::Refuse) if versions > 0 => Err(DimensionError::OldVersions { dimension, versions }),
            ScdType::One(OldVersions::Drop) if versions > 0 => {
                tracing::warn!(dimension, versions, "scd = 1: old versions of members are removed, as --drop-history says");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The specification.
    pub fn spec(&self) -> &DimensionSpec {
        &self.spec
    }

    /// The names of its columns, without the flags.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The counts of the source; those of the members follow in [`Dimension::finish`].
    pub fn counts(&self) -> DimensionCounts {
        self.counts
    }

    /// Offers the stored rows and then the rows of the source, in order. The best row of each member becomes the current one.
    fn merge(&mut self) {
        let is_current = self.rows.stored.column(VERSION_COLUMNS[2]);
        for row in 0..self.rows.stored.height() {
            if is_current.and_then(|column| self.rows.stored.cell(row, column)) == Some("false") {
                self.history.push(row);
                continue;
            }
            self.offer(Place::Stored(row));
        }
        let stored_row = |place: &PackedPlace| match place.get() {
            Place::Stored(row) | Place::Source(row) => row,
        };
        self.stored_rows = self.members.iter().map(stored_row).collect();
        for row in 0..self.rows.source.height() {
            self.offer(Place::Source(row));
        }
        let known = self.stored_rows.len();
        self.counts.inserted = (self.members.len() - known) as u64;
        let columns: Vec<ColumnPlaces> = self.names.iter().map(|name| self.rows.places(name)).collect();
        for member in 0..known {
            self.record_change(member, &columns);
        }
    }

    /// Compares a row with the current row of its member. The offered row wins unless it is older. An inferred row loses to any
    /// other row.
    fn offer(&mut self, place: Place) {
        let (rows, members) = (&self.rows, &mut self.members);
        let key = rows.key(place);
        let hash = xxh3_64(key.as_bytes());
        let found = self.by_key.find(hash, |&member| rows.key(members[member].get()) == key).copied();
        let Some(member) = found else {
            members.push(place.into());
            let members = &*members;
            self.by_key.insert_unique(hash, members.len() - 1, |&member| xxh3_64(rows.key(members[member].get()).as_bytes()));
            return;
        };
        // A file without `updated_at` tells no versions: what is loaded wins.
        let tells_no_versions = matches!(place, Place::Source(_)) && !rows.has_column(place, rows.updated_at);
        if tells_no_versions || rows.version(members[member].get()) <= rows.version(place) {
            members[member] = place.into();
        }
    }

    /// Counts a stored member that the source changed, and keeps its old version with `scd = 2`.
    fn record_change(&mut self, number: usize, columns: &[ColumnPlaces]) {
        let member = self.member(number);
        let Member { place: Place::Source(_), stored: Some(stored) } = member else { return };
        let inferred = self.rows.is_inferred(Place::Stored(stored));
        let same = columns.iter().all(|&column| self.rows.cell(Place::Stored(stored), column) == self.member_cell(member, column));
        if same && !inferred {
            self.members[number] = Place::Stored(stored).into();
            return;
        }
        self.counts.updated += 1;
        if self.scd == ScdType::Two && !inferred {
            self.ended.push(EndedVersion { stored, member: number });
        }
    }

    fn find(&self, key: &str) -> Option<usize> {
        self.by_key.find(xxh3_64(key.as_bytes()), |&member| self.rows.key(self.members[member].get()) == key).copied()
    }

    fn member(&self, number: usize) -> Member {
        Member { place: self.members[number].get(), stored: self.stored_rows.get(number).copied() }
    }

    fn all_members(&self) -> impl Iterator<Item = Member> {
        (0..self.members.len()).map(|number| self.member(number))
    }

    /// A cell of a member. A column that the source, or the file of the row, does not have keeps its stored value.
    fn member_cell(&self, member: Member, column: ColumnPlaces) -> Option<&str> {
        match member.place {
            Place::Source(_) if !self.rows.has_column(member.place, column) => self.rows.cell(Place::Stored(member.stored?), column),
            place => self.rows.cell(place, column),
        }
    }

    /// Chooses the columns, without the flags, in the order of the file. Leaves out columns of the source beyond the maximum, and
    /// counts their values as unreadable.
    fn choose_columns(&mut self) {
        let mut names: Vec<String> = self.spec.columns.iter().map(|column| column.name.to_owned()).collect();
        let mut known: HashSet<&str> = self.spec.columns.iter().map(|column| column.name).chain(DimensionSpec::FLAGS).collect();
        names.extend(self.rows.stored.names().iter().filter(|name| known.insert(name)).cloned());
        let room = MOST_COLUMNS.saturating_sub(names.len() + DimensionSpec::FLAGS.len());
        let new: Vec<&String> = self.rows.source.names().iter().filter(|name| known.insert(name)).collect();
        let (kept, left_out) = new.split_at(room.min(new.len()));
        names.extend(kept.iter().map(|name| (*name).clone()));
        if let Some(first) = left_out.first() {
            let columns = left_out.len();
            let lost = left_out
                .iter()
                .filter_map(|name| self.rows.source.column(name))
                .map(|column| self.rows.source.texts(column).filter(|text| *text != NO_COLUMN).count() as u64);
            self.counts.values_unreadable += lost.sum::<u64>();
            let dimension = self.spec.name;
            tracing::warn!(
                dimension,
                columns,
                first,
                "columns of the source are left out: the dimension would have more than {MOST_COLUMNS}"
            );
        }
        self.names = names;
    }

    /// Visits the key and each text of every member that may name an e-mail address.
    pub fn each_text_with_at(&self, mut visit: impl FnMut(&str, &str)) {
        let has_at =
            |table: &TextTable, column: Option<usize>| column.is_some_and(|column| table.texts(column).any(|text| text.contains('@')));
        let Rows { stored, source, .. } = &self.rows;
        let columns = self.names.iter().map(|name| self.rows.places(name));
        let columns: Vec<ColumnPlaces> = columns.filter(|places| has_at(stored, places.stored) || has_at(source, places.source)).collect();
        for member in self.all_members() {
            let texts = columns.iter().filter_map(|&column| self.member_cell(member, column));
            texts.filter(|text| text.contains('@')).for_each(|text| visit(self.rows.key(member.place), text));
        }
    }

    /// Whether the key is that of a stored member or a member of the source.
    pub fn knows(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Adds the key of a line. It becomes an inferred member if it has no row.
    pub fn infer(&mut self, key: &str) {
        if !self.knows(key) && !self.inferred.contains(key) {
            self.inferred.insert(key.to_owned());
        }
    }

    /// The keys of all members with some columns, for the join with facts.
    ///
    /// # Errors
    /// [`DimensionError::NoColumn`].
    pub fn look_up_table(&self, columns: &[LookUpColumn<'_>]) -> Result<DataFrame, DimensionError> {
        let mut frame = vec![self.frame_column(self.spec.key(), self.rows.key)];
        for column in columns {
            frame.push(self.frame_column(column.name, self.look_up_places(column)?));
        }
        Ok(DataFrame::new(self.members.len(), frame)?)
    }

    /// What facts get from some columns, in one number: equal for dimensions that say the same. A member that is
    /// missing, and one of which nothing is known, say the same.
    ///
    /// # Errors
    /// [`DimensionError::NoColumn`].
    pub fn look_up_digest(&self, columns: &[LookUpColumn<'_>]) -> Result<u128, DimensionError> {
        let places = columns.iter().map(|column| self.look_up_places(column)).collect::<Result<Vec<_>, _>>()?;
        let (mut digest, mut row) = (0_u128, Vec::new());
        for member in self.all_members() {
            let texts = || places.iter().map(|&column| self.member_cell(member, column));
            if !texts().any(|text| text.is_some()) {
                continue;
            }
            row.clear();
            for text in [Some(self.rows.key(member.place))].into_iter().chain(texts()) {
                row.push(u8::from(text.is_some()));
                let text = text.unwrap_or_default();
                row.extend_from_slice(&(text.len() as u64).to_le_bytes());
                row.extend_from_slice(text.as_bytes());
            }
            // A sum does not depend on the order of the members.
            digest = digest.wrapping_add(xxh3_128(&row));
        }
        Ok(digest)
    }

    fn look_up_places(&self, column: &LookUpColumn<'_>) -> Result<ColumnPlaces, DimensionError> {
        if !self.names.iter().any(|name| name == column.from) && !self.members.is_empty() {
            let column_name = column.from.to_owned();
            return Err(DimensionError::NoColumn { dimension: self.spec.name, column: column_name, setting: column.setting });
        }
        Ok(self.rows.places(column.from))
    }

    fn frame_column(&self, name: &str, places: ColumnPlaces) -> Column {
        let mut values = StringChunkedBuilder::new(name.into(), self.members.len());
        self.all_members().for_each(|member| values.append_option(self.member_cell(member, places)));
        values.finish().into_column()
    }

    /// Writes the new file, sorted by key, unless it would be equal to the stored one. A version begins at `now` if the
    /// source has no time for it.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn finish(&self, now: UtcMicros, path: &Path) -> Result<MergedDimension, StoreError> {
        let counts = self.final_counts();
        let unchanged = MergedDimension { file: None, counts };
        if self.stored_file.is_none() && counts.members == 0 && self.rows.source.names().is_empty() {
            return Ok(unchanged);
        }
        let new = NewFile::new(self, now);
        if let Some(stored) = self.stored_file.as_ref().filter(|_| !self.has_changed_members()) {
            let mut sum = ContentSum::default();
            new.write(&mut |piece: &[u8]| {
                sum.push(piece);
                Ok(())
            })?;
            if sum.finish() == *stored {
                return Ok(unchanged);
            }
        }
        let mut file = StagedWriter::create(path)?;
        new.write(&mut |piece: &[u8]| file.push(piece))?;
        let file = file.finish()?;
        if self.stored_file.as_ref() == Some(&file) {
            store::remove_file(path)?;
            return Ok(unchanged);
        }
        Ok(MergedDimension { file: Some(file), counts })
    }

    fn final_counts(&self) -> DimensionCounts {
        let inferred = self.inferred.len() as u64;
        let stored_inferred = self.members.iter().filter(|place| self.rows.is_inferred(place.get())).count() as u64;
        DimensionCounts {
            members: self.members.len() as u64 + inferred,
            inferred: inferred + stored_inferred,
            inserted: self.counts.inserted + inferred,
            ..self.counts
        }
    }

    /// Whether a member is new or has another row. The file may differ all the same, by its columns or its old
    /// versions.
    fn has_changed_members(&self) -> bool {
        self.counts.inserted > 0 || self.counts.updated > 0 || !self.inferred.is_empty()
    }
}

/// Fails if the source has records, but no column for the key.
fn require_key(spec: &DimensionSpec, members: &Members) -> Result<(), DimensionError> {
    let has_objects = members.counts.records_read > members.counts.records_malformed;
    let key = &spec.columns[0];
    let serves = |name: &String| key.from.iter().any(|from| from.eq_ignore_ascii_case(name));
    if !has_objects || members.table.height() > 0 || members.source_columns.iter().any(serves) {
        return Ok(());
    }
    Err(DimensionError::NoKey {
        source_name: spec.source,
        key: spec.key(),
        found: members.source_columns.join(", "),
        wanted: key.from.join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{CellTypes, DIM_PRODUCT, DIM_USER, RawRecord},
        normalize::MemberNormalizer,
        settings::{Limits, Profile},
    };

    /// The rows of a small CSV without quotes.
    fn source(spec: DimensionSpec, rows: &str) -> Members {
        let mut lines = rows.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let names = lines.next().unwrap();
        let record = |values: Vec<&str>| {
            let pairs: serde_json::Map<_, _> = names.iter().zip(values).map(|(name, value)| ((*name).to_owned(), value.into())).collect();
            serde_json::Value::from(pairs).to_string()
        };
        let records: Vec<String> = lines.map(record).collect();
        let mut normalizer = MemberNormalizer::new(spec, &Profile::default(), Limits::default());
        normalizer.records(records.iter().map(|record| RawRecord::from(record.as_bytes())), CellTypes::Text);
        normalizer.finish()
    }

    fn at(micros: i64) -> UtcMicros {
        UtcMicros::new(micros).unwrap()
    }

    fn read(spec: &DimensionSpec, stored: Option<Vec<u8>>) -> Result<StoredRows, DimensionError> {
        StoredRows::read(spec, stored, Path::new("dim.csv"))
    }

    pub(super) fn load(
        spec: DimensionSpec,
        scd: ScdType,
        stored: Option<&str>,
        rows: Option<&str>,
        named: &[&str],
    ) -> (Option<String>, DimensionCounts) {
        let members = rows.map(|rows| source(spec, rows));
        let stored = stored.map(|text| text.as_bytes().to_vec());
        let mut dimension = Dimension::new(spec, scd, read(&spec, stored).unwrap(), members).unwrap();
        named.iter().for_each(|key| dimension.infer(key));
        finished(&dimension)
    }

    /// The new file of a dimension; `None` if it does not change. Then there is none.
    fn finished(dimension: &Dimension) -> (Option<String>, DimensionCounts) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dims/new.csv");
        let MergedDimension { file, counts } = dimension.finish(at(0), &path).unwrap();
        let content = store::read(&path).unwrap();
        assert_eq!(content.as_deref().map(Fingerprint::of), file);
        (content.map(|bytes| String::from_utf8(bytes).unwrap()), counts)
    }

    pub(super) const ONE: ScdType = ScdType::One(OldVersions::Refuse);

    const HEADER: &str = "user_id,name,email,country,created_at,inferred\n";

    #[test]
    fn members_are_sorted_by_key_and_extra_columns_follow() {
        let (file, counts) =
            load(DIM_USER, ONE, None, Some("id,plan,country,created_at\nU2,gold,DE,2025-06-01T00:00:00+02:00\nU1,,, never\n,x,y,"), &[]);
        assert_eq!(
            file.as_deref(),
            Some("user_id,name,email,country,created_at,inferred,plan\nU1,,,,,false,\nU2,,,DE,2025-05-31 22:00:00,false,gold\n")
        );
        assert_eq!(
            (counts.records_read, counts.records_dropped, counts.values_unreadable, counts.members, counts.inserted),
            (3, 1, 1, 2, 2)
        );
    }

    #[test]
    fn a_list_price_is_exact_and_a_title_is_a_name() {
        let (file, _) = load(DIM_PRODUCT, ONE, None, Some("sku,id,title,price\nS,7,Thing,0.1\n"), &[]);
        assert_eq!(file.as_deref(), Some("sku,product_id,name,category,list_price,inferred\nS,7,Thing,,0.1000,false\n"));
    }

    #[test]
    fn a_member_that_only_facts_name_is_inferred_and_completed_later() {
        let (first, counts) = load(DIM_USER, ONE, None, Some("user_id,country\nU1,DE"), &["U1", "U9", "U9"]);
        assert_eq!(first.as_deref(), Some(format!("{HEADER}U1,,,DE,,false\nU9,,,,,true\n").as_str()));
        assert_eq!((counts.members, counts.inferred), (2, 1));
        let (again, _) = load(DIM_USER, ONE, first.as_deref(), Some("user_id,country\nU1,DE"), &["U9"]);
        assert_eq!(again, None);
        let (filled, counts) = load(DIM_USER, ONE, first.as_deref(), Some("user_id,country\nU9,FR"), &["U9"]);
        assert_eq!(filled.as_deref(), Some(format!("{HEADER}U1,,,DE,,false\nU9,,,FR,,false\n").as_str()));
        assert_eq!((counts.updated, counts.inferred), (1, 0));
    }

    #[test]
    fn the_later_row_wins_unless_its_updated_at_is_older() {
        let winner = |stored: Option<&str>, rows: &str| load(DIM_USER, ONE, stored, Some(rows), &[]).0;
        let header = "user_id,name,email,country,created_at,inferred,updated_at\n";
        let stored = format!("{header}U1,,,DE,,false,2026-01-02\n");
        assert_eq!(winner(Some(&stored), "user_id,country,updated_at\nU1,FR,2026-01-01"), None);
        assert_eq!(
            winner(Some(&stored), "user_id,country,updated_at\nU1,FR,2026-01-02"),
            Some(format!("{header}U1,,,FR,,false,2026-01-02\n"))
        );
        assert_eq!(winner(None, "user_id,country\nU1,FR\nU1,IT"), Some(format!("{HEADER}U1,,,IT,,false\n")));
    }

    #[test]
    fn a_column_that_the_source_does_not_have_keeps_its_stored_values() {
        let (first, _) = load(DIM_USER, ONE, None, Some("user_id,country,plan\nU1,DE,gold\nU2,FR,free"), &[]);
        assert_eq!(load(DIM_USER, ONE, first.as_deref(), Some("user_id,country\nU1,DE"), &[]).0, None);
        let (second, counts) = load(DIM_USER, ONE, first.as_deref(), Some("user_id,name\nU1,Ann\nU3,Cy"), &[]);
        let header = "user_id,name,email,country,created_at,inferred,plan\n";
        assert_eq!(second, Some(format!("{header}U1,Ann,,DE,,false,gold\nU2,,,FR,,false,free\nU3,Cy,,,,false,\n")));
        assert_eq!((counts.updated, counts.inserted), (1, 1));
        assert_eq!(
            load(DIM_USER, ONE, second.as_deref(), Some("user_id,plan\nU1,"), &[]).1.updated,
            1,
            "an empty value replaces the stored one"
        );
    }

    #[test]
    fn stored_names_that_differ_in_case_are_one_column() {
        let stored = format!("{},Plan,plan\nU1,,,,,false,,gold\n", HEADER.trim());
        let (file, _) = load(DIM_USER, ONE, Some(&stored), Some("user_id\nU1"), &[]);
        assert_eq!(file, Some(format!("{},plan\nU1,,,,,false,gold\n", HEADER.trim())));
    }

    #[test]
    fn a_source_that_has_no_updated_at_any_more_still_changes_members() {
        let header = "user_id,name,email,country,created_at,inferred,updated_at\n";
        let stored = format!("{header}U1,,,DE,,false,2026-01-02\n");
        let (file, counts) = load(DIM_USER, ONE, Some(&stored), Some("user_id,country\nU1,FR"), &[]);
        assert_eq!((file, counts.updated), (Some(format!("{header}U1,,,FR,,false,2026-01-02\n")), 1));
    }

    #[test]
    fn versions_are_kept_with_scd_2() {
        let (first, _) = load(DIM_USER, ScdType::Two, None, Some("user_id,country\nU1,DE"), &["U9"]);
        let header = "user_id,name,email,country,created_at,inferred,valid_from,valid_to,is_current\n";
        assert_eq!(first.as_deref(), Some(format!("{header}U1,,,DE,,false,,,true\nU9,,,,,true,,,true\n").as_str()));
        assert_eq!(load(DIM_USER, ScdType::Two, first.as_deref(), Some("user_id,country\nU1,DE"), &[]).0, None);
        let (second, _) = load(DIM_USER, ScdType::Two, first.as_deref(), Some("user_id,country\nU1,FR\nU9,IT"), &[]);
        let moved = "U1,,,DE,,false,,1970-01-01 00:00:00,false\nU1,,,FR,,false,1970-01-01 00:00:00,,true\nU9,,,IT,,false,,,true\n";
        assert_eq!(second.as_deref(), Some(format!("{header}{moved}").as_str()));
        assert_eq!(load(DIM_USER, ScdType::Two, second.as_deref(), Some("user_id,country\nU1,FR\nU9,IT"), &[]).0, None);
    }

    #[test]
    fn no_version_is_valid_for_no_time() {
        let header = "user_id,name,email,country,created_at,inferred,updated_at,valid_from,valid_to,is_current\n";
        let versions = |stored: &str, row: &str| {
            let stored = format!("{header}{stored}");
            let (file, _) = load(DIM_USER, ScdType::Two, Some(&stored), Some(&format!("user_id,country,updated_at\n{row}")), &[]);
            file.unwrap().lines().skip(1).map(|line| line.split(',').skip(3).collect::<Vec<_>>().join(",")).collect::<Vec<_>>()
        };
        // The runs of these tests are at 1970-01-01 00:00:00.
        assert_eq!(
            versions("U1,,,DE,,false,1969-12-01,,,true\n", "U1,FR,1969-12-02"),
            ["DE,,false,1969-12-01,,1969-12-02 00:00:00,false", "FR,,false,1969-12-02,1969-12-02 00:00:00,,true"]
        );
        assert_eq!(
            versions("U1,,,DE,,false,1969-12-01,1969-12-01 00:00:00,,true\n", "U1,FR,1969-12-01"),
            ["DE,,false,1969-12-01,1969-12-01 00:00:00,1970-01-01 00:00:00,false", "FR,,false,1969-12-01,1970-01-01 00:00:00,,true"],
            "its updated_at stands still: the change is of this run"
        );
        let stored = "U1,,,DE,,false,2030-12-01,2030-12-01 00:00:00,,true\n";
        assert_eq!(
            versions(stored, "U1,FR,2030-12-01")[1],
            "FR,,false,2030-12-01,2030-12-01 00:00:00.000001,,true",
            "a time in the future stands still"
        );
        let stored = "U1,,,DE,,false,1969-12-01,1970-01-01 00:00:00,,true\n";
        assert_eq!(
            versions(stored, "U1,FR,1969-12-02")[1],
            "FR,,false,1969-12-02,1970-01-01 00:00:00.000001,,true",
            "a version that began by the clock of a run ends after that"
        );
    }

    #[test]
    fn old_versions_are_removed_only_by_name() {
        let header = "user_id,name,email,country,created_at,inferred,valid_from,valid_to,is_current\n";
        let one = format!("{header}U1,,,FR,,false,,,true\n");
        let two = format!("{header}U1,,,DE,,false,,1970-01-01 00:00:00,false\nU1,,,FR,,false,1970-01-01 00:00:00,,true\n");
        let merged = |stored: &str, old: OldVersions| {
            let stored = Some(stored.as_bytes().to_vec());
            let stored = read(&DIM_USER, stored).unwrap();
            Dimension::new(DIM_USER, ScdType::One(old), stored, None).map(|dimension| finished(&dimension).0.unwrap())
        };
        let error = merged(&two, OldVersions::Refuse).unwrap_err().to_string();
        assert!(error.contains("dim_user") && error.contains("1 old version") && error.contains("--drop-history"), "{error}");
        let current = format!("{HEADER}U1,,,FR,,false\n");
        assert_eq!(merged(&two, OldVersions::Drop).unwrap(), current);
        assert_eq!(merged(&one, OldVersions::Refuse).unwrap(), current, "no member has an old version");
    }

    #[test]
    fn a_file_that_would_be_equal_is_not_written_whatever_the_source_brings() {
        let header = "user_id,name,email,country,created_at,inferred,updated_at\n";
        let stored = format!("{header}U1,,,DE,,false,2026-01-02\n");
        // An older row and an equal one change no member.
        for rows in ["user_id,country,updated_at\nU1,FR,2026-01-01", "user_id,country,updated_at\nU1,DE,2026-01-02"] {
            assert_eq!(load(DIM_USER, ONE, Some(&stored), Some(rows), &[]).0, None);
        }
        // A file whose rows are in another order, and one that has versions no longer.
        let unsorted = format!("{header}U2,,,FR,,false,\nU1,,,DE,,false,\n");
        let sorted = format!("{header}U1,,,DE,,false,\nU2,,,FR,,false,\n");
        assert_eq!(load(DIM_USER, ONE, Some(&unsorted), None, &[]).0, Some(sorted));
        let versions = format!("{},valid_from,valid_to,is_current\nU1,,,DE,,false,,,true\n", HEADER.trim());
        assert_eq!(load(DIM_USER, ONE, Some(&versions), None, &[]).0, Some(format!("{HEADER}U1,,,DE,,false\n")));
        // An empty source says nothing.
        assert_eq!(load(DIM_USER, ONE, None, None, &[]).0, None);
    }

    #[test]
    fn the_digest_tells_what_facts_get_and_nothing_else() {
        let digest = |rows: &str, named: &[&str]| {
            let mut dimension = Dimension::new(DIM_USER, ONE, StoredRows::default(), Some(source(DIM_USER, rows))).unwrap();
            named.iter().for_each(|key| dimension.infer(key));
            dimension.look_up_digest(&LookUpColumn::all(&EnrichColumns::default())[..1]).unwrap()
        };
        let of_two = digest("user_id,country\nU1,DE\nU2,FR", &[]);
        assert_eq!(digest("user_id,country,name\nU2,FR,Bo\nU1,DE,Ann", &[]), of_two, "another order, and another name");
        assert_eq!(digest("user_id,country\nU1,DE\nU2,FR\nU3,", &["U4"]), of_two, "nothing is known of U3 and U4");
        for other in ["user_id,country\nU1,FR\nU2,DE", "user_id,country\nU1,DE", "user_id,country\nU1,DE\nU2,FR\nU3,FR"] {
            assert_ne!(digest(other, &[]), of_two, "{other}");
        }
    }

    #[test]
    fn a_source_without_a_key_is_an_error() {
        let members = source(DIM_USER, "mail\nx");
        let error = Dimension::new(DIM_USER, ONE, StoredRows::default(), Some(members)).map(drop).unwrap_err();
        assert_eq!(
            error.to_string(),
            "users: there is no column for user_id: the columns are mail, and one of user_id, userId, id is needed"
        );
    }
}
