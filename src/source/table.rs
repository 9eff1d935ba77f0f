//! Users and products as tables of text: from JSON records, CSV or Parquet, over HTTP or from files. What the columns mean
//! is not known here.

use std::{collections::HashMap, path::Path};

use polars::prelude::*;
use serde_json::value::RawValue;

use super::{
    Access, Completeness, PageSink, Query, RecordShape, SourceError,
    body::{Pairs, locate},
    csv_table,
    files::{self, FilesRead, Format, Kinds, SourceFile},
    page::Page,
};
use crate::{
    model::{parse_minor_money, parse_time_rfc2822},
    settings::{FieldRule, Limits, Location, Profile, Source, TimeText},
};

/// Objects within objects that become columns; what lies deeper stays JSON.
const MAX_DEPTH: usize = 4;

/// A source of users or products, as it came.
pub struct SourceTable {
    /// One text column (`String`) a column of the source, in its order, its name in lower case. A nested object's values stand in columns named
    /// `outer_inner`, an array as its JSON.
    pub frame: DataFrame,
    /// Records that were no JSON objects, or beyond a limit.
    pub malformed: u64,
    /// Whether all of it came.
    pub completeness: Completeness,
}

/// Reads a whole table.
///
/// # Errors
/// Whatever keeps the source from being read to its end.
pub fn read_table(source: &Source, shape: &RecordShape, access: &Access<'_>) -> Result<SourceTable, SourceError> {
    let mut table = TableBuilder::new(&source.profile);
    let query = Query::all(source, shape);
    let completeness = match &source.location {
        Location::Http(_) => table.pages(access, |sink| super::read_pages(&source.location, &query, access, sink))?,
        Location::Files(pattern) => {
            let mut read = FilesRead::default();
            for file in files::find(pattern, Kinds::Tables)? {
                read_file(&file, &mut table, &query, &mut read, access)?;
            }
            read.certify()
        }
    };
    if table.rows == 0 && table.malformed > 0 {
        let (location, records) = (source.location.to_string(), table.malformed);
        return Err(SourceError::NoRecordIsJson { location, records, seems: "not one can be read".to_owned() });
    }
    Ok(table.finish(completeness))
}

fn read_file(
    file: &SourceFile,
    table: &mut TableBuilder<'_>,
    query: &Query<'_>,
    read: &mut FilesRead,
    access: &Access<'_>,
) -> Result<(), SourceError> {
    let before = table.rows;
    match file.format {
        Format::Csv => csv_table::read_csv(file, table, access)?,
        Format::Parquet => read_parquet(&file.path, table, access.counters)?,
        Format::Json | Format::Ndjson => {
            return table.pages(access, |sink| files::read_file(file, query, access, read, sink)).map(drop);
        }
    }
    read.take_rows((table.rows - before) as u64);
    Ok(())
}

fn read_parquet(path: &Path, _table: &mut TableBuilder<'_>, _counters: &super::SourceCounters) -> Result<(), SourceError> {
    Err(SourceError::Parquet { path: path.to_owned(), detail: "not yet".into() })
}

/// The value of a field that the profile places: what was found there, or else its default; amounts in major units, times as
/// RFC 3339.
pub(super) fn ruled(rule: &FieldRule, found: Option<&str>) -> Option<String> {
    let text = found.filter(|text| !text.trim().is_empty()).or(rule.default.as_deref())?;
    let decimals = if let crate::settings::Units::Minor(decimals) = rule.units { decimals } else { 0 };
    if decimals > 0
        && let Ok(amount) = parse_minor_money(text.trim().as_bytes(), decimals)
    {
        return Some(amount.money.to_string());
    }
    if rule.time == TimeText::Rfc2822
        && let Some(time) = parse_time_rfc2822(text.trim())
    {
        return Some(time.rfc3339());
    }
    Some(text.to_owned())
}

/// Columns that may come up in any row.
pub(super) struct TableBuilder<'p> {
    profile: &'p Profile,
    columns: Vec<Growing>,
    by_name: HashMap<String, usize>,
    rows: usize,
    malformed: u64,
}

struct Growing {
    values: StringChunkedBuilder,
    len: usize,
}

impl<'p> TableBuilder<'p> {
    fn new(profile: &'p Profile) -> TableBuilder<'p> {
        TableBuilder { profile, columns: Vec::new(), by_name: HashMap::new(), rows: 0, malformed: 0 }
    }

    /// Of a source with named columns: each column that the profile places, with its rule and where it is. They come first,
    /// so that they count over a source's own column of the name.
    pub(super) fn named(&mut self, place: impl Fn(&str) -> Option<usize>) -> Vec<(usize, &'p FieldRule, Option<usize>)> {
        let profile = self.profile;
        let found =
            |rule: &FieldRule| rule.paths.iter().find_map(|path| place(&path.to_string()).or_else(|| place(&path.steps().join("_"))));
        profile.fields.iter().map(|(name, rule)| (self.column(name), rule, found(rule))).collect()
    }

    /// The column of a name, which is in lower case: `Name` and `name` are one column, and the first in a row counts.
    pub(super) fn column(&mut self, name: &str) -> usize {
        if let Some(&column) = self.by_name.get(name) {
            return column;
        }
        let lower = name.to_lowercase();
        let column = match self.by_name.get(&lower) {
            Some(&column) => column,
            None => {
                self.columns.push(Growing { values: StringChunkedBuilder::new(lower.as_str().into(), 0), len: 0 });
                self.by_name.insert(lower, self.columns.len() - 1);
                self.columns.len() - 1
            }
        };
        self.by_name.insert(name.to_owned(), column);
        column
    }

    /// Sets a value of the row at hand; of two the first counts.
    pub(super) fn set(&mut self, column: usize, value: Option<&str>) {
        let column = &mut self.columns[column];
        if column.len > self.rows {
            return;
        }
        column.pad(self.rows);
        column.values.append_option(value);
        column.len += 1;
    }

    pub(super) fn end_row(&mut self) {
        self.rows += 1;
    }

    /// Takes the records of all pages that `read` brings.
    fn pages<T>(&mut self, access: &Access<'_>, read: impl FnOnce(&mut dyn PageSink) -> Result<T, SourceError>) -> Result<T, SourceError> {
        read(&mut |page: Page| {
            self.records(&page, access.limits);
            true
        })
    }

    fn records(&mut self, page: &Page, limits: &Limits) {
        for record in page.records() {
            if !record.is_whole || record.bytes.len() as u64 > limits.record_bytes || record.is_deeper(limits.depth) {
                tracing::warn!("a record that is too large or too deep is dropped (limits.record_bytes, limits.depth)");
                self.malformed += 1;
                continue;
            }
            match serde_json::from_slice::<Pairs<'_>>(record.bytes) {
                Ok(pairs) => {
                    self.placed(record.bytes);
                    self.object("", &pairs, 0);
                    self.end_row();
                }
                Err(_) => self.malformed += 1,
            }
        }
    }

    /// Sets the columns that the profile places, wherever in the record.
    fn placed(&mut self, record: &[u8]) {
        let profile = self.profile;
        if profile.fields.is_empty() {
            return;
        }
        let Ok(whole) = serde_json::from_slice::<&RawValue>(record) else { return };
        for (name, rule) in &profile.fields {
            let found = rule.paths.iter().filter_map(|path| scalar_text(locate(whole, path)?)).find(|text| !text.trim().is_empty());
            let column = self.column(name);
            self.set(column, ruled(rule, found.as_deref()).as_deref());
        }
    }

    fn object(&mut self, prefix: &str, pairs: &Pairs<'_>, depth: usize) {
        for (key, value) in &pairs.0 {
            let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}_{key}") };
            match value.get().as_bytes().first() {
                Some(b'n') => {
                    let column = self.column(&name);
                    self.set(column, None);
                }
                Some(b'{') if depth < MAX_DEPTH => {
                    if let Ok(inner) = serde_json::from_str::<Pairs<'_>>(value.get()) {
                        self.object(&name, &inner, depth + 1);
                    }
                }
                Some(b'"') => {
                    let column = self.column(&name);
                    let text = serde_json::from_str::<String>(value.get()).ok();
                    self.set(column, text.as_deref());
                }
                _ => {
                    let column = self.column(&name);
                    self.set(column, Some(value.get()));
                }
            }
        }
    }

    fn finish(self, completeness: Completeness) -> SourceTable {
        let rows = self.rows;
        let columns = self.columns.into_iter().map(|mut column| {
            column.pad(rows);
            column.values.finish().into_column()
        });
        // All columns were padded to the same height, and their names are keys of a map.
        let frame = DataFrame::new(rows, columns.collect()).unwrap_or_default();
        SourceTable { frame, malformed: self.malformed, completeness }
    }
}

/// A JSON scalar as text; `None` for null. Objects and arrays stay JSON.
fn scalar_text(raw: &RawValue) -> Option<String> {
    match raw.get().as_bytes().first() {
        Some(b'n') | None => None,
        Some(b'"') => serde_json::from_str(raw.get()).ok(),
        _ => Some(raw.get().to_owned()),
    }
}

impl Growing {
    fn pad(&mut self, rows: usize) {
        for _ in self.len..rows {
            self.values.append_null();
        }
        self.len = self.len.max(rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Ambient;

    fn table(name: &str, bytes: &[u8]) -> Result<SourceTable, SourceError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        read_table(&Location::Files(path.to_str().unwrap().to_owned()).into(), &RecordShape::default(), &Ambient::default().access())
    }

    fn rows(table: &SourceTable) -> Vec<Vec<Option<String>>> {
        let cell = |column: &Column, row| column.str().unwrap().get(row).map(str::to_owned);
        (0..table.frame.height()).map(|row| table.frame.columns().iter().map(|column| cell(column, row)).collect()).collect()
    }

    fn some(values: &[&str]) -> Vec<Option<String>> {
        values.iter().map(|value| (!value.is_empty()).then(|| (*value).to_owned())).collect()
    }

    #[test]
    fn json_objects_are_flattened_and_late_columns_padded() {
        let json = br#"[{"id":1,"price":0.10,"address":{"city":"B","geo":{"lat":1.50}}},{"id":2,"tags":["a"],"address":null},7,{"id":3,"price":null}]"#;
        let table = table("users.json", json).unwrap();
        let names: Vec<_> = table.frame.get_column_names().into_iter().map(ToString::to_string).collect();
        assert_eq!(names, ["id", "price", "address_city", "address_geo_lat", "tags", "address"]);
        assert_eq!(
            rows(&table),
            [some(&["1", "0.10", "B", "1.50", "", ""]), some(&["2", "", "", "", "[\"a\"]", ""]), some(&["3", "", "", "", "", ""])]
        );
        assert_eq!(table.malformed, 1);
    }

    #[test]
    fn csv_keeps_its_columns_and_says_where_it_is_damaged() {
        let read = table("users.csv", b"\xef\xbb\xbfuser_id,name\r\nU1,\"a, \"\"b\"\"\"\r\nU2,\r\n").unwrap();
        assert_eq!(read.frame.get_column_names()[0].as_str(), "user_id");
        assert_eq!(rows(&read)[0], some(&["U1", "a, \"b\""]));
        let error = table("users.csv", b"a,b\n1,2\n3\n").map(drop).unwrap_err();
        assert!(error.to_string().contains("users.csv, line 3: 1 fields, where the header has 2"), "{error}");
    }

    #[test]
    fn a_profile_places_columns_anywhere_and_they_count_over_the_sources_own() {
        let dir = tempfile::tempdir().unwrap();
        let profile = crate::settings::profile_of(
            crate::settings::SourceKind::Products,
            "records = \"list\"\nfields = { name = \"title\", category = \"tags.0.label\", list_price = { path = \"cents\", scale = 2 }, country = { value = \"DE\" } }",
        )
        .unwrap();
        let read = |name: &str, bytes: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let location = Location::Files(path.to_str().unwrap().to_owned());
            let source = Source { profile: profile.clone(), ..location.into() };
            let table = read_table(&source, &RecordShape::default(), &Ambient::default().access()).unwrap();
            let names = ["name", "category", "list_price", "country"];
            let cell = |row, name: &str| table.frame.column(name).unwrap().str().unwrap().get(row).unwrap_or("-").to_owned();
            (0..table.frame.height()).map(|row| names.map(|name| cell(row, name)).join("/")).collect::<Vec<_>>()
        };
        let json = r#"{"list":[{"title":"A","name":"not this","tags":[{"label":"x"}],"cents":"1250"},{"name":"nor this"}]}"#;
        assert_eq!(read("p.json", json), ["A/x/12.5000/DE", "-/-/-/DE"]);
        assert_eq!(read("p.csv", "name,title,cents\nno,B,5\n"), ["B/-/0.0500/DE"]);
    }
}
