//! The rows of one order as the layer holds them, found through the index of orders: a read costs the partitions of the
//! order, not those of the layer.
//!
//! Reads the files as they are, whatever columns they have. Repairs nothing.

use std::{collections::BTreeSet, path::Path};

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    LayerError,
    catalog::{self, partition_files},
    file_format,
    state::{OpenedLayer, Truth},
};
use crate::{
    model::{Dt, FileFormat, order_hash},
    store::{self, Key, Output},
};

/// Names and texts of a row, in the order of the file. `None` is NULL.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct RowColumns(pub Vec<(String, Option<String>)>);

impl RowColumns {
    /// The text of a column; `None` where it is NULL or missing.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).and_then(|(_, text)| text.as_deref())
    }
}

impl Serialize for RowColumns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, text) in &self.0 {
            map.serialize_entry(name, text)?;
        }
        map.end()
    }
}

/// A row of `fact_order`, with its place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct StoredRow {
    /// Its partition.
    pub dt: Dt,
    /// Its file, beneath the output.
    pub file: Key,
    /// Its line in the file, from 1.
    pub line: u64,
    /// All of its columns.
    pub columns: RowColumns,
}

/// How the partitions of an order were found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FoundBy {
    /// The index of orders names them.
    Index,
    /// All partitions were read: the index is missing or damaged.
    Scan,
}

/// What the layer holds of an order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredOrder {
    /// Its rows.
    pub rows: Vec<StoredRow>,
    /// How they were found.
    pub found_by: FoundBy,
    /// Partitions of the layer.
    pub partitions: usize,
    /// Partitions that were read.
    pub partitions_read: usize,
    /// Partitions that can't be read, with the cause.
    pub unreadable: Vec<String>,
}

/// Finds an order in the layer.
///
/// # Errors
/// I/O errors. A file that is not valid CSV is named in the answer instead.
pub fn stored_order(output: &Output, order_id: &str) -> Result<StoredOrder, LayerError> {
    let opened = OpenedLayer::open(output)?;
    let on_disk = partition_files(output, &opened)?;
    let indexed = catalog::indexed_partitions(output, &opened, order_hash(order_id))?;
    let committed = &opened.state.partitions;
    let found_by = if indexed.is_some() { FoundBy::Index } else { FoundBy::Scan };
    let mut wanted = BTreeSet::new();
    for (&dt, file) in &on_disk {
        let is_wanted = match &indexed {
            None => true,
            // The index does not know what somebody else wrote into a partition.
            Some(indexed) => {
                indexed.contains(&dt) || {
                    let is_folder = output.folder().is_some();
                    let now = if is_folder { store::size_and_time(&output.at(file))? } else { None };
                    now.is_some_and(|(bytes, time)| committed.get(&dt).is_none_or(|entry| !entry.looks_like(bytes, time)))
                }
            }
        };
        wanted.extend(Some((dt, file)).filter(|_| is_wanted));
    }
    let (partitions, partitions_read) = (on_disk.len(), wanted.len());
    let mut found = StoredOrder { rows: Vec::new(), found_by, partitions, partitions_read, unreadable: Vec::new() };
    for (dt, file) in wanted {
        // Also without an index: a file of a bucket may be older than the log.
        let entry = committed.get(&dt).filter(|_| opened.truth(output) == Truth::Log);
        let bytes = match entry {
            Some(entry) => Some(output.read_version(&entry.version)?),
            None => output.read(file)?,
        };
        let Some(bytes) = bytes else { continue };
        let path = Path::new(file.as_str());
        let rows = file_format::decode_stored(FileFormat::of_path(path), bytes, path)
            .map_err(|error| error.to_string())
            .and_then(|csv| rows_of(&csv, order_id, dt, file).map_err(|error| format!("{file}: {error}")));
        match rows {
            Ok(rows) => found.rows.extend(rows),
            Err(error) => found.unreadable.push(error),
        }
    }
    Ok(found)
}

fn rows_of(bytes: &[u8], order_id: &str, dt: Dt, file: &Key) -> Result<Vec<StoredRow>, ::csv::Error> {
    let mut reader = ::csv::Reader::from_reader(bytes);
    let names: Vec<String> = reader.byte_headers()?.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let key = names.iter().position(|name| name == "order_id").unwrap_or(0);
    let mut rows = Vec::new();
    for record in reader.byte_records() {
        let record = record?;
        if record.get(key) != Some(order_id.as_bytes()) {
            continue;
        }
        let text = |cell: &[u8]| Some(String::from_utf8_lossy(cell).into_owned()).filter(|text| !text.is_empty());
        let columns = RowColumns(names.iter().cloned().zip(record.iter().map(text)).collect());
        let line = record.position().map_or(0, ::csv::Position::line);
        rows.push(StoredRow { dt, file: file.clone(), line, columns });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(days: &[(&str, &str)]) -> (tempfile::TempDir, Output) {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::new(dir.path().to_owned());
        for (dt, rows) in days {
            let path = output.at(crate::store::places::partition_file(dt.parse().unwrap(), FileFormat::default()));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("order_id,sku,status\n{rows}")).unwrap();
        }
        (dir, output)
    }

    #[test]
    fn without_an_index_all_partitions_are_read_and_it_is_said() {
        let (_dir, output) = layer(&[("2026-01-01", "#1,x,\n\"a\nb\",x,p\n#1,y,p\n"), ("2026-01-02", "0007,x,p\n#1,z,p\n")]);
        let found = stored_order(&output, "#1").unwrap();
        assert_eq!((found.found_by, found.partitions, found.partitions_read), (FoundBy::Scan, 2, 2));
        let places: Vec<_> = found.rows.iter().map(|row| (row.dt.to_string(), row.line, row.columns.get("sku"))).collect();
        let expected = [("2026-01-01", 2, "x"), ("2026-01-01", 5, "y"), ("2026-01-02", 3, "z")];
        assert_eq!(places, expected.map(|(dt, line, sku)| (dt.to_owned(), line, Some(sku))));
        assert_eq!(found.rows[0].columns.get("status"), None, "an empty field is NULL");
        assert_eq!(stored_order(&output, "7").unwrap().rows, []);
        assert_eq!(stored_order(&output, "0007").unwrap().rows.len(), 1);
    }

    #[test]
    fn a_partition_that_is_not_csv_is_named_and_the_others_are_read() {
        let (_dir, output) = layer(&[("2026-01-01", "#1,x,p,too,many\n"), ("2026-01-02", "#1,z,p\n")]);
        let found = stored_order(&output, "#1").unwrap();
        assert_eq!(found.rows.len(), 1);
        assert!(found.unreadable[0].contains("dt=2026-01-01"), "{:?}", found.unreadable);
    }
}
