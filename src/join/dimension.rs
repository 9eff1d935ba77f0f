//! A dimension: merges the stored rows with those of the source by key, adds inferred members, and keeps the versions of a
//! member with `scd = 2`.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap, HashSet},
    path::Path,
};

use csv::ByteRecord;
use hashbrown::HashTable;
use polars::prelude::{Column, DataFrame, IntoColumn, StringChunkedBuilder};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::DimensionError;
use crate::{
    layer::write_text,
    model::{DimensionSpec, TextTable, UtcMicros, parse_time_of_layer},
    normalize::{MOST_COLUMNS, Members, NO_COLUMN},
    settings::EnrichColumns,
};

/// The flag of a member that only facts name.
const INFERRED: &str = DimensionSpec::FLAGS[0];

/// The columns of the versions of a member (`scd = 2`).
const VERSION_COLUMNS: [&str; 3] = [DimensionSpec::FLAGS[1], DimensionSpec::FLAGS[2], DimensionSpec::FLAGS[3]];

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

/// A dimension during a run.
pub struct Dimension {
    spec: DimensionSpec,
    scd: ScdType,
    stored: TextTable,
    stored_bytes: Option<Vec<u8>>,
    source: TextTable,
    /// The names of the columns, without the flags.
    names: Vec<String>,
    /// The members; stored members come first.
    members: Vec<Member>,
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
    /// The new file; `None` if it is equal to the stored file.
    pub replaced: Option<Vec<u8>>,
    /// The counts of the merge.
    pub counts: DimensionCounts,
}

impl Dimension {
    /// Merges the stored rows (the bytes of a CSV file) with those of the source by key.
    ///
    /// # Errors
    /// A damaged stored file, a source without a key, old versions that may not be dropped.
    pub fn new(
        spec: DimensionSpec,
        scd: ScdType,
        stored: Option<Vec<u8>>,
        path: &Path,
        source: Option<Members>,
    ) -> Result<Dimension, DimensionError> {
        let mut counts = DimensionCounts::default();
        let stored_table = stored.as_deref().map(|bytes| read_stored(&spec, bytes, path)).transpose()?.unwrap_or_default();
        if let Some(members) = &source {
            require_key(&spec, members)?;
            let read = members.counts;
            counts.records_read = read.records_read;
            counts.records_dropped = read.records_malformed + read.records_without_key;
            counts.values_unreadable = read.values_unreadable;
            counts.texts_cut = read.texts_cut;
        }
        let mut dimension = Dimension {
            spec,
            scd,
            stored: stored_table,
            stored_bytes: stored,
            source: source.map(|members| members.table).unwrap_or_default(),
            names: Vec::new(),
            members: Vec::new(),
            by_key: HashTable::new(),
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

    /// The same dimension, merged with other stored rows: another run has changed them.
    ///
    /// # Errors
    /// As [`Dimension::new`].
    pub fn rebased(self, stored: Option<Vec<u8>>, path: &Path) -> Result<Dimension, DimensionError> {
        let Dimension { spec, scd, source, inferred, counts, .. } = self;
        let stored_table = stored.as_deref().map(|bytes| read_stored(&spec, bytes, path)).transpose()?.unwrap_or_default();
        let counts = DimensionCounts { members: 0, inferred: 0, inserted: 0, updated: 0, ..counts };
        let mut dimension = Dimension {
            spec,
            scd,
            stored: stored_table,
            stored_bytes: stored,
            source,
            names: Vec::new(),
            members: Vec::new(),
            by_key: HashTable::new(),
            history: Vec::new(),
            ended: Vec::new(),
            inferred: BTreeSet::new(),
            counts,
        };
        dimension.choose_columns();
        dimension.merge();
        dimension.refuse_loss_of_versions()?;
        inferred.iter().for_each(|key| dimension.infer(key));
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
        let is_current = self.stored.column(VERSION_COLUMNS[2]);
        for row in 0..self.stored.height() {
            if is_current.and_then(|column| self.stored.cell(row, column)) == Some("false") {
                self.history.push(row);
                continue;
            }
            self.offer(Place::Stored(row));
        }
        let known = self.members.len();
        for member in &mut self.members {
            member.stored = if let Place::Stored(row) = member.place { Some(row) } else { None };
        }
        for row in 0..self.source.height() {
            self.offer(Place::Source(row));
        }
        self.counts.inserted = (self.members.len() - known) as u64;
        let columns: Vec<ColumnPlaces> = self.names.iter().map(|name| self.places(name)).collect();
        for member in 0..known {
            self.record_change(member, &columns);
        }
    }

    /// Compares a row with the current row of its member. The offered row wins unless it is older. An inferred row loses to any
    /// other row.
    fn offer(&mut self, place: Place) {
        let key = self.key(place).to_owned();
        match self.find(&key) {
            None => {
                let hash = xxh3_64(key.as_bytes());
                self.members.push(Member { place, stored: None });
                let (members, stored, source, key) = (&self.members, &self.stored, &self.source, self.spec.key());
                self.by_key.insert_unique(hash, members.len() - 1, |&member| {
                    xxh3_64(key_of(stored, source, key, members[member].place).as_bytes())
                });
            }
            Some(member) => {
                // A file without `updated_at` tells no versions: what is loaded wins.
                let tells_no_versions = matches!(place, Place::Source(_)) && !self.has_column(place, self.places("updated_at"));
                if tells_no_versions || self.version(self.members[member].place) <= self.version(place) {
                    self.members[member].place = place;
                }
            }
        }
    }

    /// Counts a stored member that the source changed, and keeps its old version with `scd = 2`.
    fn record_change(&mut self, member: usize, columns: &[ColumnPlaces]) {
        let Member { place: Place::Source(_), stored: Some(stored) } = self.members[member] else { return };
        let inferred = self.is_inferred(Place::Stored(stored));
        let old = |column: ColumnPlaces| column.stored.and_then(|column| self.stored.cell(stored, column));
        let same = columns.iter().all(|&column| old(column) == self.member_cell(self.members[member], column));
        if same && !inferred {
            self.members[member].place = Place::Stored(stored);
            return;
        }
        self.counts.updated += 1;
        if self.scd == ScdType::Two && !inferred {
            self.ended.push(EndedVersion { stored, member });
        }
    }

    fn find(&self, key: &str) -> Option<usize> {
        self.by_key.find(xxh3_64(key.as_bytes()), |&member| self.key(self.members[member].place) == key).copied()
    }

    fn key(&self, place: Place) -> &str {
        key_of(&self.stored, &self.source, self.spec.key(), place)
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

    /// A cell of a member. A column that the source, or the file of the row, does not have keeps its stored value.
    fn member_cell(&self, member: Member, column: ColumnPlaces) -> Option<&str> {
        if let Place::Stored(_) = member.place {
            return self.cell(member.place, column);
        }
        if self.has_column(member.place, column) {
            return self.cell(member.place, column);
        }
        self.cell(Place::Stored(member.stored?), column)
    }

    /// Whether a row of the source comes from a file with this column.
    fn has_column(&self, place: Place, column: ColumnPlaces) -> bool {
        column.source.is_some() && self.cell(place, column) != Some(NO_COLUMN)
    }

    fn is_inferred(&self, place: Place) -> bool {
        matches!(place, Place::Stored(_)) && self.cell(place, self.places(INFERRED)) == Some("true")
    }

    /// The order of the rows of a member: an inferred row is the oldest; then `updated_at`, if the source has it.
    fn version(&self, place: Place) -> (bool, Option<UtcMicros>) {
        (!self.is_inferred(place), self.cell(place, self.places("updated_at")).and_then(parse_time_of_layer))
    }

    /// Chooses the columns, without the flags, in the order of the file. Leaves out columns of the source beyond the maximum, and
    /// counts their values as unreadable.
    fn choose_columns(&mut self) {
        let mut names: Vec<String> = self.spec.columns.iter().map(|column| column.name.to_owned()).collect();
        let mut known: HashSet<&str> = self.spec.columns.iter().map(|column| column.name).chain(DimensionSpec::FLAGS).collect();
        names.extend(self.stored.names().iter().filter(|name| known.insert(name)).cloned());
        let room = MOST_COLUMNS.saturating_sub(names.len() + DimensionSpec::FLAGS.len());
        let new: Vec<&String> = self.source.names().iter().filter(|name| known.insert(name)).collect();
        let (kept, left_out) = new.split_at(room.min(new.len()));
        names.extend(kept.iter().map(|name| (*name).clone()));
        if let Some(first) = left_out.first() {
            let columns = left_out.len();
            let lost = left_out
                .iter()
                .filter_map(|name| self.source.column(name))
                .map(|column| self.source.texts(column).filter(|text| *text != NO_COLUMN).count() as u64);
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
        let columns = self.names.iter().map(|name| self.places(name));
        let columns: Vec<ColumnPlaces> =
            columns.filter(|places| has_at(&self.stored, places.stored) || has_at(&self.source, places.source)).collect();
        for &member in &self.members {
            let texts = columns.iter().filter_map(|&column| self.member_cell(member, column));
            texts.filter(|text| text.contains('@')).for_each(|text| visit(self.key(member.place), text));
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
        let key = self.places(self.spec.key());
        let mut frame = vec![self.frame_column(self.spec.key(), key)];
        for column in columns {
            if !self.names.iter().any(|name| name == column.from) && !self.members.is_empty() {
                let column_name = column.from.to_owned();
                return Err(DimensionError::NoColumn { dimension: self.spec.name, column: column_name, setting: column.setting });
            }
            frame.push(self.frame_column(column.name, self.places(column.from)));
        }
        Ok(DataFrame::new(self.members.len(), frame)?)
    }

    fn frame_column(&self, name: &str, places: ColumnPlaces) -> Column {
        let mut values = StringChunkedBuilder::new(name.into(), self.members.len());
        self.members.iter().for_each(|&member| values.append_option(self.member_cell(member, places)));
        values.finish().into_column()
    }

    /// The new file, sorted by key. A version begins at `now` if the source has no time for it.
    pub fn finish(&self, now: UtcMicros) -> MergedDimension {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let file = File { dimension: self, names: &names, now };
        let bytes = file.write();
        let members = self.members.len() + self.inferred.len();
        let mut counts = self.counts;
        counts.members = members as u64;
        counts.inferred = (self.inferred.len() + self.members.iter().filter(|member| self.is_inferred(member.place)).count()) as u64;
        counts.inserted += self.inferred.len() as u64;
        let unchanged =
            self.stored_bytes.as_ref() == Some(&bytes) || (self.stored_bytes.is_none() && members == 0 && self.source.names().is_empty());
        MergedDimension { replaced: (!unchanged).then_some(bytes), counts }
    }
}

fn key_of<'a>(stored: &'a TextTable, source: &'a TextTable, key: &str, place: Place) -> &'a str {
    let (table, row) = match place {
        Place::Stored(row) => (stored, row),
        Place::Source(row) => (source, row),
    };
    table.column(key).and_then(|column| table.cell(row, column)).unwrap_or_default()
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

/// A row of the file, with the period in which it is valid.
struct Row<'d> {
    key: &'d str,
    /// The member; `None` for an inferred one.
    member: Option<Member>,
    valid_from: Option<Cow<'d, str>>,
    valid_to: Option<Cow<'d, str>>,
    is_current: bool,
}

/// Writes the file of a dimension.
struct File<'d> {
    dimension: &'d Dimension,
    names: &'d [&'d str],
    now: UtcMicros,
}

impl<'d> File<'d> {
    fn rows(&self) -> Vec<Row<'d>> {
        let dimension = self.dimension;
        let [from, to] = [VERSION_COLUMNS[0], VERSION_COLUMNS[1]].map(|name| dimension.stored.column(name));
        let stored_cell =
            |row: usize, column: Option<usize>| column.and_then(|column| dimension.stored.cell(row, column)).map(Cow::Borrowed);
        let stored_row = |row: usize, valid_to: Option<Cow<'d, str>>| {
            let place = Place::Stored(row);
            let member = Some(Member { place, stored: Some(row) });
            Row { key: dimension.key(place), member, valid_from: stored_cell(row, from), valid_to, is_current: false }
        };
        let mut rows: Vec<Row<'d>> = Vec::with_capacity(dimension.members.len() + dimension.inferred.len());
        let ended: HashMap<usize, EndedVersion> = dimension.ended.iter().map(|version| (version.member, *version)).collect();
        for (number, &member) in dimension.members.iter().enumerate() {
            let valid_from = match (member.place, ended.get(&number)) {
                (Place::Stored(row), _) => stored_cell(row, from),
                (Place::Source(_), Some(version)) => Some(self.change_time(version)),
                (Place::Source(_), None) => None,
            };
            rows.push(Row { key: dimension.key(member.place), member: Some(member), valid_from, valid_to: None, is_current: true });
        }
        rows.extend(dimension.ended.iter().map(|version| stored_row(version.stored, Some(self.change_time(version)))));
        for &row in dimension.history.iter().filter(|_| dimension.scd == ScdType::Two) {
            rows.push(stored_row(row, stored_cell(row, to)));
        }
        rows.extend(dimension.inferred.iter().map(|key| Row { key, member: None, valid_from: None, valid_to: None, is_current: true }));
        rows.sort_unstable_by(|a, b| (a.key, &a.valid_from).cmp(&(b.key, &b.valid_from)));
        rows
    }

    /// When a version ends and the next one begins: the `updated_at` of the next one, if it is later than the ended version.
    /// A source may change a member and not its `updated_at`: then the time is now. No version is valid for no time.
    fn change_time(&self, ended: &EndedVersion) -> Cow<'d, str> {
        let dimension = self.dimension;
        let time = |place: Place, column: &str| dimension.cell(place, dimension.places(column)).and_then(parse_time_of_layer);
        let stored = Place::Stored(ended.stored);
        let before = time(stored, "updated_at").max(time(stored, VERSION_COLUMNS[0]));
        let is_later = |time: &UtcMicros| before.is_none_or(|before| *time > before);
        let next = time(dimension.members[ended.member].place, "updated_at");
        let change = next.filter(is_later).or_else(|| Some(self.now).filter(is_later)).or_else(|| before.map(|before| before.minus(-1)));
        Cow::Owned(change.unwrap_or(self.now).to_canonical())
    }

    fn write(&self) -> Vec<u8> {
        let dimension = self.dimension;
        let fixed = dimension.spec.columns.len();
        let places: Vec<ColumnPlaces> = self.names.iter().map(|name| dimension.places(name)).collect();
        let mut out = Vec::with_capacity((dimension.members.len() + 1) * 96);
        let header = self.names[..fixed].iter().chain(&[INFERRED]).chain(&self.names[fixed..]);
        let versions = if dimension.scd == ScdType::Two { &VERSION_COLUMNS[..] } else { &[] };
        for (place, name) in header.chain(versions).enumerate() {
            if place > 0 {
                out.push(b',');
            }
            write_text(&mut out, Some(name));
        }
        out.push(b'\n');
        for row in self.rows() {
            let cell = |column: usize| match row.member {
                _ if column == 0 => Some(row.key),
                Some(member) => dimension.member_cell(member, places[column]),
                None => None,
            };
            for column in 0..fixed {
                write_text(&mut out, cell(column));
                out.push(b',');
            }
            let inferred = row.member.is_none_or(|member| dimension.is_inferred(member.place));
            out.extend_from_slice(if inferred { b"true" } else { b"false" });
            for column in fixed..self.names.len() {
                out.push(b',');
                write_text(&mut out, cell(column));
            }
            if dimension.scd == ScdType::Two {
                out.push(b',');
                write_text(&mut out, row.valid_from.as_deref());
                out.push(b',');
                write_text(&mut out, row.valid_to.as_deref());
                out.extend_from_slice(if row.is_current { b",true" } else { b",false" });
            }
            out.push(b'\n');
        }
        out
    }
}

/// Reads a stored dimension. Columns after the fixed ones come from sources. Earlier versions of `etl` wrote names that differ in
/// case only: they are merged, and the first text counts.
fn read_stored(spec: &DimensionSpec, bytes: &[u8], path: &Path) -> Result<TextTable, DimensionError> {
    let damaged = |line: u64, detail: String| DimensionError::Stored { path: path.to_owned(), line, detail };
    let mut reader = csv::ReaderBuilder::new().from_reader(bytes);
    let header = reader.headers().map_err(|error| damaged(1, error.to_string()))?.clone();
    let fixed: Vec<_> = spec.columns.iter().map(|column| column.name).chain([INFERRED]).collect();
    if !header.iter().take(fixed.len()).eq(fixed.iter().copied()) {
        return Err(damaged(1, format!("the columns are `{}`, not those of {}", header.iter().collect::<Vec<_>>().join(","), spec.name)));
    }
    let mut table = TextTable::default();
    let columns: Vec<_> = header.iter().map(|name| table.column_or_add(&name.to_lowercase())).collect();
    let mut record = ByteRecord::new();
    loop {
        let line = reader.position().line();
        if !reader.read_byte_record(&mut record).map_err(|error| damaged(line, error.to_string()))? {
            break;
        }
        for (&column, value) in columns.iter().zip(&record) {
            let text = str::from_utf8(value).map_err(|_| damaged(line, "not UTF-8".into()))?;
            if !text.is_empty() {
                table.set(column, text);
            }
        }
        if record.get(0).is_none_or(<[u8]>::is_empty) {
            return Err(damaged(line, format!("{} is empty", spec.key())));
        }
        table.end_row();
    }
    if bytes.last() != Some(&b'\n') {
        return Err(damaged(reader.position().line(), "the last line has no line break: the file was cut short".into()));
    }
    Ok(table)
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

    fn load(
        spec: DimensionSpec,
        scd: ScdType,
        stored: Option<&str>,
        rows: Option<&str>,
        named: &[&str],
    ) -> (Option<String>, DimensionCounts) {
        let members = rows.map(|rows| source(spec, rows));
        let stored = stored.map(|text| text.as_bytes().to_vec());
        let mut dimension = Dimension::new(spec, scd, stored, Path::new("dim.csv"), members).unwrap();
        named.iter().for_each(|key| dimension.infer(key));
        let merged = dimension.finish(at(0));
        (merged.replaced.map(|bytes| String::from_utf8(bytes).unwrap()), merged.counts)
    }

    const ONE: ScdType = ScdType::One(OldVersions::Refuse);

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
            Dimension::new(DIM_USER, ScdType::One(old), stored, Path::new("dim.csv"), None)
                .map(|dimension| String::from_utf8(dimension.finish(at(0)).replaced.unwrap()).unwrap())
        };
        let error = merged(&two, OldVersions::Refuse).unwrap_err().to_string();
        assert!(error.contains("dim_user") && error.contains("1 old version") && error.contains("--drop-history"), "{error}");
        let current = format!("{HEADER}U1,,,FR,,false\n");
        assert_eq!(merged(&two, OldVersions::Drop).unwrap(), current);
        assert_eq!(merged(&one, OldVersions::Refuse).unwrap(), current, "no member has an old version");
    }

    #[test]
    fn a_damaged_file_or_a_source_without_a_key_is_an_error() {
        let stored = |text: &str| {
            Dimension::new(DIM_USER, ONE, Some(text.as_bytes().to_vec()), Path::new("dim.csv"), None).map(drop).unwrap_err().to_string()
        };
        assert!(stored("user_id,name\nU1,x\n").contains("dim.csv, line 1: the columns are `user_id,name`"));
        assert!(stored(&format!("{HEADER}U1,x,,,,fal")).contains("cut short"));
        assert!(stored(&format!("{HEADER},x,,,,false\n")).contains("line 2: user_id is empty"));
        let members = source(DIM_USER, "mail\nx");
        let error = Dimension::new(DIM_USER, ONE, None, Path::new("dim.csv"), Some(members)).map(drop).unwrap_err();
        assert_eq!(
            error.to_string(),
            "users: there is no column for user_id: the columns are mail, and one of user_id, userId, id is needed"
        );
    }
}
