//! Users and products as tables of text: from JSON records, CSV or Parquet, over HTTP or from files. What the columns mean
//! is not known here.

use std::{collections::HashMap, fmt, fs::File, path::Path};

use polars::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    Access, PageSink, Query, SourceError,
    envelope::locate,
    files::{self, Format, Kinds, SourceFile},
    page::Page,
};
use crate::{
    model::{UtcMicros, parse_minor_money, parse_time_rfc2822},
    settings::{FieldRule, Location, Profile, Source, TimeText},
};

/// Objects within objects that become columns; what lies deeper stays JSON.
const MAX_DEPTH: usize = 4;

/// A source of users or products, as it came.
pub struct SourceTable {
    /// One text column (`String`) a column of the source, in its order. A nested object's values stand in columns named
    /// `outer_inner`, an array as its JSON.
    pub frame: DataFrame,
    /// Records that were no JSON objects.
    pub malformed: u64,
}

/// Reads a whole table.
///
/// # Errors
/// Whatever keeps the source from being read to its end.
pub fn read_table(source: &Source, access: &Access<'_>) -> Result<SourceTable, SourceError> {
    let mut table = TableBuilder::new(&source.profile);
    match &source.location {
        Location::Http(_) => {
            let query = Query::all(&source.profile);
            table.pages(access, |sink| super::read_pages(&source.location, &query, access, sink))?;
        }
        Location::Files(pattern) => {
            for file in files::find(pattern, Kinds::Tables)? {
                read_file(&file, &mut table, access)?;
            }
        }
    }
    Ok(table.finish())
}

fn read_file(file: &SourceFile, table: &mut TableBuilder<'_>, access: &Access<'_>) -> Result<(), SourceError> {
    match file.format {
        Format::Csv => read_csv(file, table, access),
        Format::Parquet => read_parquet(&file.path, table, access.counters),
        Format::Json | Format::Ndjson => {
            let records = table.profile.records.as_ref();
            table.pages(access, |sink| files::read_file(file, records, access, sink).map(drop))
        }
    }
}

fn read_csv(file: &SourceFile, table: &mut TableBuilder<'_>, access: &Access<'_>) -> Result<(), SourceError> {
    access.counters.page();
    let malformed = |error: &csv::Error| match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => SourceError::Malformed {
            path: file.path.clone(),
            line: pos.as_ref().map_or(0, csv::Position::line),
            detail: format!("{len} fields, where the header has {expected_len}"),
        },
        _ => SourceError::Malformed {
            path: file.path.clone(),
            line: error.position().map_or(0, csv::Position::line),
            detail: error.to_string(),
        },
    };
    let mut reader = csv::ReaderBuilder::new().buffer_capacity(1 << 17).from_reader(files::open(file, access.limits)?);
    let header = reader.headers().map_err(|error| malformed(&error))?.clone();
    let named = table.named(|name| header.iter().position(|column| column == name));
    let columns: Vec<_> = header.iter().map(|name| table.column(name)).collect();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|error| malformed(&error))? {
        for &(column, rule, place) in &named {
            let value = place.and_then(|place| record.get(place));
            table.set(column, ruled(rule, value).as_deref());
        }
        for (&column, value) in columns.iter().zip(&record) {
            table.set(column, Some(value));
        }
        table.end_row();
        if access.cancel.is_stopped() {
            return Err(SourceError::Interrupted);
        }
    }
    access.counters.bytes(usize::try_from(reader.position().byte()).unwrap_or(usize::MAX));
    Ok(())
}

fn read_parquet(path: &Path, table: &mut TableBuilder<'_>, counters: &super::SourceCounters) -> Result<(), SourceError> {
    counters.page();
    let unreadable = |source| SourceError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    counters.bytes(usize::try_from(file.metadata().map_err(unreadable)?.len()).unwrap_or(usize::MAX));
    let frame =
        ParquetReader::new(file).finish().map_err(|error| SourceError::Parquet { path: path.to_owned(), detail: error.to_string() })?;
    let named = table.named(|name| frame.get_column_names().iter().position(|column| column.as_str() == name));
    let columns: Vec<_> = frame.columns().iter().map(|column| (table.column(column.name()), column.as_materialized_series())).collect();
    for row in 0..frame.height() {
        for &(column, rule, place) in &named {
            let value = place.and_then(|place| columns.get(place)).and_then(|(_, series)| series.get(row).ok());
            table.set(column, ruled(rule, value.and_then(|value| cell_text(&value)).as_deref()).as_deref());
        }
        for &(column, series) in &columns {
            table.set(column, series.get(row).ok().and_then(|value| cell_text(&value)).as_deref());
        }
        table.end_row();
    }
    Ok(())
}

/// A Parquet value as a source would write it in text.
fn cell_text(value: &AnyValue<'_>) -> Option<String> {
    let micros = |value: i64, unit: &TimeUnit| match unit {
        TimeUnit::Nanoseconds => value.div_euclid(1000),
        TimeUnit::Microseconds => value,
        TimeUnit::Milliseconds => value.saturating_mul(1000),
    };
    match value {
        AnyValue::Null => None,
        AnyValue::String(text) => Some((*text).to_owned()),
        AnyValue::StringOwned(text) => Some(text.to_string()),
        AnyValue::Datetime(value, unit, _) => UtcMicros::new(micros(*value, unit)).map(UtcMicros::rfc3339),
        AnyValue::DatetimeOwned(value, unit, _) => UtcMicros::new(micros(*value, unit)).map(UtcMicros::rfc3339),
        AnyValue::Date(days) => crate::model::Dt::from_days(*days).map(|dt| dt.to_string()),
        AnyValue::Decimal(units, _, scale) => Some(decimal_text(*units, *scale)),
        AnyValue::Float64(value) => Some(value.to_string()),
        AnyValue::Float32(value) => Some(value.to_string()),
        other => Some(other.to_string()),
    }
}

fn decimal_text(units: i128, scale: usize) -> String {
    let digits = format!("{:0>width$}", units.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if units < 0 { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// The value of a field that the profile places: what was found there, or else its default; amounts in major units, times as
/// RFC 3339.
fn ruled(rule: &FieldRule, found: Option<&str>) -> Option<String> {
    let text = found.filter(|text| !text.trim().is_empty()).or(rule.default.as_deref())?;
    let decimals = rule.units.shift(None);
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
struct TableBuilder<'p> {
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
    fn named(&mut self, place: impl Fn(&str) -> Option<usize>) -> Vec<(usize, &'p FieldRule, Option<usize>)> {
        let profile = self.profile;
        let found =
            |rule: &FieldRule| rule.paths.iter().find_map(|path| place(&path.to_string()).or_else(|| place(&path.steps().join("_"))));
        profile.fields.iter().map(|(name, rule)| (self.column(name), rule, found(rule))).collect()
    }

    fn column(&mut self, name: &str) -> usize {
        if let Some(&column) = self.by_name.get(name) {
            return column;
        }
        self.columns.push(Growing { values: StringChunkedBuilder::new(name.into(), 0), len: 0 });
        self.by_name.insert(name.to_owned(), self.columns.len() - 1);
        self.columns.len() - 1
    }

    /// Sets a value of the row at hand; of two the first counts.
    fn set(&mut self, column: usize, value: Option<&str>) {
        let column = &mut self.columns[column];
        if column.len > self.rows {
            return;
        }
        column.pad(self.rows);
        column.values.append_option(value);
        column.len += 1;
    }

    fn end_row(&mut self) {
        self.rows += 1;
    }

    /// Takes the records of all pages that `read` brings.
    fn pages(&mut self, access: &Access<'_>, read: impl FnOnce(&mut dyn PageSink) -> Result<(), SourceError>) -> Result<(), SourceError> {
        let mut within = Ok(());
        let read = read(&mut |page: Page| {
            within = page.check(access.limits);
            if within.is_ok() {
                self.records(&page);
            }
            within.is_ok()
        });
        within.and(read)
    }

    fn records(&mut self, page: &Page) {
        for record in page.records() {
            match serde_json::from_slice::<Pairs<'_>>(record) {
                Ok(pairs) => {
                    self.placed(record);
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

    fn finish(self) -> SourceTable {
        let rows = self.rows;
        let columns = self.columns.into_iter().map(|mut column| {
            column.pad(rows);
            column.values.finish().into_column()
        });
        // All columns were padded to the same height, and their names are keys of a map.
        let frame = DataFrame::new(rows, columns.collect()).unwrap_or_default();
        SourceTable { frame, malformed: self.malformed }
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

/// The keys and raw values of an object, in its order.
struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs<'de>, D::Error> {
        struct PairsVisitor;

        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Pairs<'de>, M::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(PairsVisitor)
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
        read_table(&Location::Files(path.to_str().unwrap().to_owned()).into(), &Ambient::default().access())
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
    fn parquet_values_come_as_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("products.parquet");
        let price = Int128Chunked::from_vec("price".into(), vec![12_345, -5]).into_decimal(18, 3).unwrap().into_column();
        let when =
            Int64Chunked::from_vec("created_at".into(), vec![0, 1_500_000]).into_datetime(TimeUnit::Microseconds, None).into_column();
        let id = Int64Chunked::from_vec("id".into(), vec![7, 8]).into_column();
        let name = StringChunked::from_iter_options("name".into(), [Some("x"), None].into_iter()).into_column();
        let mut frame = DataFrame::new(2, vec![id, name, price, when]).unwrap();
        ParquetWriter::new(File::create(&path).unwrap()).finish(&mut frame).unwrap();
        let location = Location::Files(path.to_str().unwrap().to_owned()).into();
        let read = read_table(&location, &Ambient::default().access()).unwrap();
        assert_eq!(
            rows(&read),
            [some(&["7", "x", "12.345", "1970-01-01T00:00:00Z"]), some(&["8", "", "-0.005", "1970-01-01T00:00:01.500000Z"])]
        );
    }

    #[test]
    fn a_profile_places_columns_anywhere_and_they_count_over_the_sources_own() {
        let dir = tempfile::tempdir().unwrap();
        let profile: crate::settings::SourceToml = toml::from_str(
            "records = \"list\"\nfields = { name = \"title\", category = \"tags.0.label\", list_price = { path = \"cents\", scale = 2 }, country = { value = \"DE\" } }",
        )
        .unwrap();
        let profile = profile.compile(&[], &[]).unwrap();
        let read = |name: &str, bytes: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let source = Source { location: Location::Files(path.to_str().unwrap().to_owned()), profile: profile.clone() };
            let table = read_table(&source, &Ambient::default().access()).unwrap();
            let names = ["name", "category", "list_price", "country"];
            let cell = |row, name: &str| table.frame.column(name).unwrap().str().unwrap().get(row).unwrap_or("-").to_owned();
            (0..table.frame.height()).map(|row| names.map(|name| cell(row, name)).join("/")).collect::<Vec<_>>()
        };
        let json = r#"{"list":[{"title":"A","name":"not this","tags":[{"label":"x"}],"cents":"1250"},{"name":"nor this"}]}"#;
        assert_eq!(read("p.json", json), ["A/x/12.5000/DE", "-/-/-/DE"]);
        assert_eq!(read("p.csv", "name,title,cents\nno,B,5\n"), ["B/-/0.0500/DE"]);
    }
}
