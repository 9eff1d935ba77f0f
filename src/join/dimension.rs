//! A dimension: what is stored, what the source brings, merged by key as facts are; members that only facts name; and,
//! with `scd = 2`, the versions that a member had.

use std::{borrow::Cow, collections::BTreeSet, path::Path};

use csv::ByteRecord;
use hashbrown::HashTable;
use polars::prelude::DataFrame;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    DimensionError,
    text_table::{ColumnBuilder, TextTable},
};
use crate::{
    layer::write_text,
    model::{ColumnType, DimensionSpec, UtcMicros, clean_text, parse_money, parse_time_number, parse_time_text},
};

/// The flag of a member that only facts name.
const INFERRED: &str = "inferred";

/// The columns that keep a member's versions (`scd = 2`).
const VERSION_COLUMNS: [&str; 3] = ["valid_from", "valid_to", "is_current"];

/// What became of a dimension in a run.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct DimensionCounts {
    /// Records of the source.
    pub records_read: u64,
    /// Those without a key, or that were no objects.
    pub records_dropped: u64,
    /// Values that could not be read as a time or an amount, and are empty.
    pub values_unreadable: u64,
    /// Members in the end.
    pub members: u64,
    /// Members that only facts name.
    pub inferred: u64,
    /// Members that were not there before.
    pub inserted: u64,
    /// Members whose attributes changed.
    pub updated: u64,
}

/// Where a member's row is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Stored(usize),
    Source(usize),
}

/// A dimension while a run works on it.
pub struct Dimension {
    spec: DimensionSpec,
    versioned: bool,
    stored: TextTable,
    stored_bytes: Option<Vec<u8>>,
    source: TextTable,
    /// The row of each member that counts now.
    current: Vec<Place>,
    /// The stored row of each member that has one; these members come first.
    stored_rows: Vec<usize>,
    by_key: HashTable<usize>,
    /// Stored rows that are not current and stay as they are.
    history: Vec<usize>,
    /// Stored rows that a newer version ends, with the one that does.
    ended: Vec<(usize, usize)>,
    /// Members that a line named and no row knows.
    inferred: BTreeSet<String>,
    counts: DimensionCounts,
}

/// What a dimension is to be.
pub struct MergedDimension {
    /// Its bytes; `None` where they are those that are stored.
    pub replaced: Option<Vec<u8>>,
    /// What became of it.
    pub counts: DimensionCounts,
}

impl Dimension {
    /// A dimension of what is stored (the bytes of its CSV) and what the source brings (a table of text), merged by key.
    ///
    /// # Errors
    /// A stored file that does not read, a source without a key.
    pub fn new(
        spec: DimensionSpec,
        versioned: bool,
        stored: Option<Vec<u8>>,
        path: &Path,
        source: Option<(&DataFrame, u64)>,
    ) -> Result<Dimension, DimensionError> {
        let mut counts = DimensionCounts::default();
        let stored_table = stored.as_deref().map(|bytes| read_stored(&spec, bytes, path)).transpose()?.unwrap_or_default();
        let source_table = match source {
            Some((frame, malformed)) => {
                counts.records_read = frame.height() as u64 + malformed;
                counts.records_dropped = malformed;
                map_source(&spec, frame, &mut counts)?
            }
            None => TextTable::default(),
        };
        let mut dimension = Dimension {
            spec,
            versioned,
            stored: stored_table,
            stored_bytes: stored,
            source: source_table,
            current: Vec::new(),
            stored_rows: Vec::new(),
            by_key: HashTable::new(),
            history: Vec::new(),
            ended: Vec::new(),
            inferred: BTreeSet::new(),
            counts,
        };
        dimension.merge();
        Ok(dimension)
    }

    /// The specification.
    pub fn spec(&self) -> &DimensionSpec {
        &self.spec
    }

    /// Stored rows first, then the source's, in order: each meets the one that counts so far.
    fn merge(&mut self) {
        let is_current = self.stored.column(VERSION_COLUMNS[2]);
        for row in 0..self.stored.height {
            if self.stored.cell(row, is_current) == Some("false") {
                self.history.push(row);
                continue;
            }
            self.meet(Place::Stored(row));
        }
        let known = self.current.len();
        self.stored_rows = self.current.iter().filter_map(|place| if let Place::Stored(row) = place { Some(*row) } else { None }).collect();
        for row in 0..self.source.height {
            self.meet(Place::Source(row));
        }
        self.counts.inserted = (self.current.len() - known) as u64;
        let attributes: Vec<_> =
            self.attribute_names().into_iter().map(|name| (self.stored.column(name), self.source.column(name))).collect();
        for member in 0..known {
            self.note_change(member, &attributes);
        }
    }

    fn meet(&mut self, place: Place) {
        let key = self.key(place).to_owned();
        match self.find(&key) {
            None => {
                let hash = xxh3_64(key.as_bytes());
                self.current.push(place);
                let (current, by_key) = (&self.current, &mut self.by_key);
                let (stored, source) = (&self.stored, &self.source);
                by_key.insert_unique(hash, current.len() - 1, |&member| xxh3_64(key_of(stored, source, current[member]).as_bytes()));
            }
            // What is loaded wins unless it is older, and an inferred member loses to any other.
            Some(member) => {
                if self.version(self.current[member]) <= self.version(place) {
                    self.current[member] = place;
                }
            }
        }
    }

    /// Counts a stored member that the source changed, and keeps its old version where versions are kept. `attributes` are the
    /// places of each column in the stored table and in the source's.
    fn note_change(&mut self, member: usize, attributes: &[(Option<usize>, Option<usize>)]) {
        let (Place::Source(source), Some(&stored)) = (self.current[member], self.stored_rows.get(member)) else { return };
        let inferred = self.is_inferred(Place::Stored(stored));
        let same = attributes.iter().all(|&(old, new)| self.stored.cell(stored, old) == self.source.cell(source, new));
        if same && !inferred {
            self.current[member] = Place::Stored(stored);
            return;
        }
        self.counts.updated += 1;
        if self.versioned && !inferred {
            self.ended.push((stored, member));
        }
    }

    fn find(&self, key: &str) -> Option<usize> {
        self.by_key.find(xxh3_64(key.as_bytes()), |&member| self.key(self.current[member]) == key).copied()
    }

    fn key(&self, place: Place) -> &str {
        key_of(&self.stored, &self.source, place)
    }

    fn cell(&self, place: Place, column: &str) -> Option<&str> {
        match place {
            Place::Stored(row) => self.stored.cell(row, self.stored.column(column)),
            Place::Source(row) => self.source.cell(row, self.source.column(column)),
        }
    }

    fn is_inferred(&self, place: Place) -> bool {
        self.cell(place, INFERRED) == Some("true")
    }

    /// What decides between two rows of a member: an inferred one is the oldest; then `updated_at`, where the source has it.
    fn version(&self, place: Place) -> (bool, Option<UtcMicros>) {
        (!self.is_inferred(place), self.cell(place, "updated_at").and_then(read_time))
    }

    /// All columns but the flags, in the order of the file.
    fn attribute_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.spec.columns.iter().map(|column| column.name).collect();
        for name in self.stored.names.iter().chain(&self.source.names) {
            if name != INFERRED && !VERSION_COLUMNS.contains(&name.as_str()) && !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }

    /// Whether a member is known, by a source now or before.
    pub fn knows(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Takes note of a key that a line names; where no row knows it, it becomes an inferred member.
    pub fn infer(&mut self, key: &str) {
        if !self.knows(key) && !self.inferred.contains(key) {
            self.inferred.insert(key.to_owned());
        }
    }

    /// One column of all members, with their keys: what a fact is joined with.
    ///
    /// # Errors
    /// [`DimensionError::NoColumn`].
    pub fn look_up_table(&self, columns: &[(&str, &str, &'static str)]) -> Result<DataFrame, DimensionError> {
        use polars::prelude::IntoColumn;
        let mut keys = ColumnBuilder::new(self.spec.key(), self.current.len());
        self.current.iter().for_each(|&place| keys.push(Some(self.key(place))));
        let mut frame = vec![keys.finish().into_column()];
        for &(column, as_name, setting) in columns {
            let known = self.attribute_names().contains(&column);
            if !known && !self.current.is_empty() {
                return Err(DimensionError::NoColumn { dimension: self.spec.name, column: column.to_owned(), setting });
            }
            let (stored, source) = (self.stored.column(column), self.source.column(column));
            let mut values = ColumnBuilder::new(as_name, self.current.len());
            for &place in &self.current {
                values.push(match place {
                    Place::Stored(row) => self.stored.cell(row, stored),
                    Place::Source(row) => self.source.cell(row, source),
                });
            }
            frame.push(values.finish().into_column());
        }
        Ok(DataFrame::new(self.current.len(), frame)?)
    }

    /// The file as it is to be, sorted by key. `now` is when a version that the source gives no time for begins.
    pub fn finish(mut self, now: UtcMicros) -> MergedDimension {
        let names: Vec<String> = self.attribute_names().into_iter().map(str::to_owned).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let file = File { dimension: &self, names: &names, now };
        let bytes = file.write();
        let members = self.current.len() + self.inferred.len();
        self.counts.members = members as u64;
        self.counts.inferred = (self.inferred.len() + self.current.iter().filter(|&&place| self.is_inferred(place)).count()) as u64;
        self.counts.inserted += self.inferred.len() as u64;
        let unchanged =
            self.stored_bytes.as_ref() == Some(&bytes) || (self.stored_bytes.is_none() && members == 0 && self.source.names.is_empty());
        MergedDimension { replaced: (!unchanged).then_some(bytes), counts: self.counts }
    }
}

fn key_of<'a>(stored: &'a TextTable, source: &'a TextTable, place: Place) -> &'a str {
    match place {
        Place::Stored(row) => stored.cell(row, Some(0)),
        Place::Source(row) => source.cell(row, Some(0)),
    }
    .unwrap_or_default()
}

/// A row of the file: what it shows, and of which time.
struct Row<'d> {
    key: &'d str,
    place: Option<Place>,
    valid_from: Option<Cow<'d, str>>,
    valid_to: Option<Cow<'d, str>>,
    is_current: bool,
}

/// The writing of a dimension's file.
struct File<'d> {
    dimension: &'d Dimension,
    names: &'d [&'d str],
    now: UtcMicros,
}

impl<'d> File<'d> {
    fn rows(&self) -> Vec<Row<'d>> {
        let dimension = self.dimension;
        let stored_cell = |row: usize, name: &str| dimension.stored.cell(row, dimension.stored.column(name)).map(Cow::Borrowed);
        let mut rows: Vec<Row<'d>> = Vec::with_capacity(dimension.current.len() + dimension.inferred.len());
        let ended: std::collections::HashMap<usize, usize> = dimension.ended.iter().map(|&(stored, member)| (member, stored)).collect();
        for (member, &place) in dimension.current.iter().enumerate() {
            let valid_from = match (place, ended.get(&member)) {
                (Place::Stored(row), _) => stored_cell(row, VERSION_COLUMNS[0]),
                (Place::Source(_), Some(_)) => Some(self.change_time(place)),
                (Place::Source(_), None) => None,
            };
            rows.push(Row { key: dimension.key(place), place: Some(place), valid_from, valid_to: None, is_current: true });
        }
        for &(stored, member) in &dimension.ended {
            let place = Place::Stored(stored);
            let valid_to = Some(self.change_time(dimension.current[member]));
            rows.push(Row {
                key: dimension.key(place),
                place: Some(place),
                valid_from: stored_cell(stored, VERSION_COLUMNS[0]),
                valid_to,
                is_current: false,
            });
        }
        for &row in dimension.history.iter().filter(|_| dimension.versioned) {
            let place = Place::Stored(row);
            let (from, to) = (stored_cell(row, VERSION_COLUMNS[0]), stored_cell(row, VERSION_COLUMNS[1]));
            rows.push(Row { key: dimension.key(place), place: Some(place), valid_from: from, valid_to: to, is_current: false });
        }
        rows.extend(dimension.inferred.iter().map(|key| Row { key, place: None, valid_from: None, valid_to: None, is_current: true }));
        rows.sort_unstable_by(|a, b| (a.key, &a.valid_from).cmp(&(b.key, &b.valid_from)));
        rows
    }

    /// When a version began: its `updated_at`, where the source has it, else now.
    fn change_time(&self, place: Place) -> Cow<'d, str> {
        let time = self.dimension.cell(place, "updated_at").and_then(read_time).unwrap_or(self.now);
        Cow::Owned(time_text(time))
    }

    fn write(&self) -> Vec<u8> {
        let dimension = self.dimension;
        let fixed = dimension.spec.columns.len();
        let places: Vec<_> = self.names.iter().map(|name| (dimension.stored.column(name), dimension.source.column(name))).collect();
        let mut out = Vec::with_capacity((dimension.current.len() + 1) * 96);
        let header = self.names[..fixed].iter().chain(&[INFERRED]).chain(&self.names[fixed..]);
        let versions = if dimension.versioned { &VERSION_COLUMNS[..] } else { &[] };
        for (place, name) in header.chain(versions).enumerate() {
            if place > 0 {
                out.push(b',');
            }
            write_text(&mut out, Some(name));
        }
        out.push(b'\n');
        for row in self.rows() {
            let cell = |column: usize| match row.place {
                _ if column == 0 => Some(row.key),
                Some(Place::Stored(stored)) => dimension.stored.cell(stored, places[column].0),
                Some(Place::Source(source)) => dimension.source.cell(source, places[column].1),
                None => None,
            };
            for column in 0..fixed {
                write_text(&mut out, cell(column));
                out.push(b',');
            }
            let inferred = row.place.is_none_or(|place| dimension.is_inferred(place));
            out.extend_from_slice(if inferred { b"true" } else { b"false" });
            for column in fixed..self.names.len() {
                out.push(b',');
                write_text(&mut out, cell(column));
            }
            if dimension.versioned {
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

fn time_text(time: UtcMicros) -> String {
    let mut text = Vec::with_capacity(26);
    time.write(&mut text);
    String::from_utf8(text).unwrap_or_default()
}

fn read_time(text: &str) -> Option<UtcMicros> {
    parse_time_text(text).or_else(|| parse_time_number(text))
}

/// Reads a stored dimension; its columns beyond the fixed ones are whatever sources have brought.
fn read_stored(spec: &DimensionSpec, bytes: &[u8], path: &Path) -> Result<TextTable, DimensionError> {
    let damaged = |line: u64, detail: String| DimensionError::Stored { path: path.to_owned(), line, detail };
    let mut reader = csv::ReaderBuilder::new().from_reader(bytes);
    let header = reader.headers().map_err(|error| damaged(1, error.to_string()))?.clone();
    let fixed: Vec<_> = spec.columns.iter().map(|column| column.name).chain([INFERRED]).collect();
    if !header.iter().take(fixed.len()).eq(fixed.iter().copied()) {
        return Err(damaged(1, format!("the columns are `{}`, not those of {}", header.iter().collect::<Vec<_>>().join(","), spec.name)));
    }
    let mut columns: Vec<_> = header.iter().map(|name| ColumnBuilder::new(name, bytes.len() / 64)).collect();
    let (mut record, mut height) = (ByteRecord::new(), 0);
    loop {
        let line = reader.position().line();
        if !reader.read_byte_record(&mut record).map_err(|error| damaged(line, error.to_string()))? {
            break;
        }
        for (column, value) in columns.iter_mut().zip(&record) {
            let text = std::str::from_utf8(value).map_err(|_| damaged(line, "not UTF-8".into()))?;
            column.push((!text.is_empty()).then_some(text));
        }
        if record.get(0).is_none_or(<[u8]>::is_empty) {
            return Err(damaged(line, format!("{} is empty", spec.key())));
        }
        height += 1;
    }
    if bytes.last() != Some(&b'\n') {
        return Err(damaged(reader.position().line(), "the file ends within a line: it was cut short".into()));
    }
    Ok(TextTable {
        names: header.iter().map(str::to_owned).collect(),
        columns: columns.into_iter().map(ColumnBuilder::finish).collect(),
        height,
    })
}

/// Brings a source's columns to those of the dimension: the fixed ones as canonical texts, then all others, trimmed.
fn map_source(spec: &DimensionSpec, frame: &DataFrame, counts: &mut DimensionCounts) -> Result<TextTable, DimensionError> {
    let names: Vec<&str> = frame.get_column_names().into_iter().map(|name| name.as_str()).collect();
    // Names of the source are in lower case.
    let of_source = |name: &str| names.iter().copied().find(|own| own.eq_ignore_ascii_case(name));
    let from: Vec<Option<&str>> = spec.columns.iter().map(|column| column.from.iter().find_map(|name| of_source(name))).collect();
    let Some(key) = from[0] else {
        if frame.height() == 0 {
            return Ok(TextTable::default());
        }
        return Err(DimensionError::NoKey {
            source_name: spec.source,
            key: spec.key(),
            found: names.join(", "),
            wanted: spec.columns[0].from.join(", "),
        });
    };
    let keys = frame.column(key)?.str()?;
    let rows: Vec<usize> = (0..frame.height()).filter(|&row| keys.get(row).and_then(clean_text).is_some()).collect();
    counts.records_dropped += (frame.height() - rows.len()) as u64;
    let mut table = TextTable { names: Vec::new(), columns: Vec::new(), height: rows.len() };
    for (column, from) in spec.columns.iter().zip(&from) {
        let source = from.map(|name| frame.column(name).and_then(|column| column.str())).transpose()?;
        let mut values = ColumnBuilder::new(column.name, rows.len());
        for &row in &rows {
            let raw = source.and_then(|source| source.get(row)).and_then(clean_text);
            let value = raw.as_deref().and_then(|text| canonical(column.kind, text));
            counts.values_unreadable += u64::from(raw.is_some() && value.is_none());
            values.push(value.as_deref());
        }
        table.names.push(column.name.to_owned());
        table.columns.push(values.finish());
    }
    let own: Vec<&str> = table.names.iter().map(String::as_str).chain([INFERRED]).chain(VERSION_COLUMNS).collect();
    let further: Vec<&str> =
        names.iter().copied().filter(|name| !name.is_empty() && !own.contains(name) && !from.contains(&Some(name))).collect();
    for name in further {
        let source = frame.column(name)?.str()?;
        let mut values = ColumnBuilder::new(name, rows.len());
        rows.iter().for_each(|&row| values.push(source.get(row).and_then(clean_text).as_deref()));
        table.columns.push(values.finish());
        table.names.push(name.to_owned());
    }
    Ok(table)
}

/// The canonical text of a value; `None` where it can't be read.
fn canonical(kind: ColumnType, text: &str) -> Option<Cow<'_, str>> {
    match kind {
        ColumnType::Text => Some(Cow::Borrowed(text)),
        ColumnType::Money => parse_money(text.as_bytes()).ok().map(|parsed| Cow::Owned(parsed.money.to_string())),
        ColumnType::Timestamp => read_time(text).map(|time| Cow::Owned(time_text(time))),
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::{DataFrame, IntoColumn, NewChunkedArray, StringChunked};

    use super::*;
    use crate::model::{DIM_PRODUCT, DIM_USER};

    fn source(rows: &str) -> DataFrame {
        let mut lines = rows.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
        let names = lines.next().unwrap();
        let rows: Vec<_> = lines.collect();
        let column = |(place, name): (usize, &String)| {
            let values = rows.iter().map(|row| (!row[place].is_empty()).then_some(row[place].as_str()));
            StringChunked::from_iter_options(name.as_str().into(), values).into_column()
        };
        DataFrame::new(rows.len(), names.iter().enumerate().map(column).collect()).unwrap()
    }

    fn at(micros: i64) -> UtcMicros {
        UtcMicros::new(micros).unwrap()
    }

    fn load(
        spec: DimensionSpec,
        versioned: bool,
        stored: Option<&str>,
        rows: Option<&str>,
        named: &[&str],
    ) -> (Option<String>, DimensionCounts) {
        let frame = rows.map(source);
        let stored = stored.map(|text| text.as_bytes().to_vec());
        let mut dimension = Dimension::new(spec, versioned, stored, Path::new("dim.csv"), frame.as_ref().map(|frame| (frame, 0))).unwrap();
        named.iter().for_each(|key| dimension.infer(key));
        let merged = dimension.finish(at(0));
        (merged.replaced.map(|bytes| String::from_utf8(bytes).unwrap()), merged.counts)
    }

    const HEADER: &str = "user_id,name,email,country,created_at,inferred\n";

    #[test]
    fn members_are_sorted_by_key_and_further_columns_follow() {
        let (file, counts) =
            load(DIM_USER, false, None, Some("id,plan,country,created_at\nU2,gold,DE,2025-06-01T00:00:00+02:00\nU1,,, never\n,x,y,"), &[]);
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
        let (file, _) = load(DIM_PRODUCT, false, None, Some("sku,id,title,price\nS,7,Thing,0.1\n"), &[]);
        assert_eq!(file.as_deref(), Some("sku,product_id,name,category,list_price,inferred\nS,7,Thing,,0.1000,false\n"));
    }

    #[test]
    fn a_member_that_only_facts_name_is_inferred_and_filled_in_later() {
        let (first, counts) = load(DIM_USER, false, None, Some("user_id,country\nU1,DE"), &["U1", "U9", "U9"]);
        assert_eq!(first.as_deref(), Some(format!("{HEADER}U1,,,DE,,false\nU9,,,,,true\n").as_str()));
        assert_eq!((counts.members, counts.inferred), (2, 1));
        let (again, _) = load(DIM_USER, false, first.as_deref(), Some("user_id,country\nU1,DE"), &["U9"]);
        assert_eq!(again, None);
        let (filled, counts) = load(DIM_USER, false, first.as_deref(), Some("user_id,country\nU9,FR"), &["U9"]);
        assert_eq!(filled.as_deref(), Some(format!("{HEADER}U1,,,DE,,false\nU9,,,FR,,false\n").as_str()));
        assert_eq!((counts.updated, counts.inferred), (1, 0));
    }

    #[test]
    fn the_later_row_wins_unless_its_updated_at_is_older() {
        let winner = |stored: Option<&str>, rows: &str| load(DIM_USER, false, stored, Some(rows), &[]).0;
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
    fn versions_are_kept_where_they_are_asked_for() {
        let (first, _) = load(DIM_USER, true, None, Some("user_id,country\nU1,DE"), &["U9"]);
        let header = "user_id,name,email,country,created_at,inferred,valid_from,valid_to,is_current\n";
        assert_eq!(first.as_deref(), Some(format!("{header}U1,,,DE,,false,,,true\nU9,,,,,true,,,true\n").as_str()));
        assert_eq!(load(DIM_USER, true, first.as_deref(), Some("user_id,country\nU1,DE"), &[]).0, None);
        let (second, _) = load(DIM_USER, true, first.as_deref(), Some("user_id,country\nU1,FR\nU9,IT"), &[]);
        let moved = "U1,,,DE,,false,,1970-01-01 00:00:00,false\nU1,,,FR,,false,1970-01-01 00:00:00,,true\nU9,,,IT,,false,,,true\n";
        assert_eq!(second.as_deref(), Some(format!("{header}{moved}").as_str()));
        assert_eq!(load(DIM_USER, true, second.as_deref(), Some("user_id,country\nU1,FR\nU9,IT"), &[]).0, None);
    }

    #[test]
    fn a_damaged_file_or_a_source_without_a_key_is_said() {
        let stored = |text: &str| {
            Dimension::new(DIM_USER, false, Some(text.as_bytes().to_vec()), Path::new("dim.csv"), None).map(drop).unwrap_err().to_string()
        };
        assert!(stored("user_id,name\nU1,x\n").contains("dim.csv, line 1: the columns are `user_id,name`"));
        assert!(stored(&format!("{HEADER}U1,x,,,,fal")).contains("cut short"));
        assert!(stored(&format!("{HEADER},x,,,,false\n")).contains("line 2: user_id is empty"));
        let frame = source("mail\nx");
        let error = Dimension::new(DIM_USER, false, None, Path::new("dim.csv"), Some((&frame, 0))).map(drop).unwrap_err();
        assert_eq!(error.to_string(), "users: no column holds user_id: it has mail, and one of user_id, userId, id is needed");
    }
}
