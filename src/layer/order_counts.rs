//! How many orders a stored partition has, by currency. Reads the partition, whatever extra columns it has, and changes nothing.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
};

use super::{LayerError, PartitionEntry, file_format};
use crate::{
    model::Dt,
    store::{self, Output},
};

/// Distinct orders by currency; `""` where a row has none.
pub type OrderCounts = BTreeMap<String, u64>;

/// The distinct orders of a partition, by the currency of their rows: an order with rows in two currencies counts in both. The content is
/// that of the commit, even if somebody has edited the file since then.
///
/// # Errors
/// [`LayerError::Partition`] where it can't be parsed; an object that is missing, or other I/O errors.
pub fn order_counts(output: &Output, dt: Dt, entry: &PartitionEntry) -> Result<OrderCounts, LayerError> {
    let path = output.at(entry.key(dt));
    let bytes = match store::read(&path)?.filter(|bytes| entry.version.is_of(bytes)) {
        Some(bytes) => bytes,
        None => output.read_version(&entry.version)?,
    };
    count(&file_format::decode_stored(entry.format(), bytes, &path)?, &path)
}

fn count(csv: &[u8], path: &Path) -> Result<OrderCounts, LayerError> {
    let damaged = |line: u64, detail: String| LayerError::Partition { path: path.to_owned(), line, detail };
    let mut reader = ::csv::Reader::from_reader(csv);
    let header = reader.byte_headers().map_err(|error| damaged(1, error.to_string()))?;
    let place = |name: &str| header.iter().position(|column| column == name.as_bytes());
    let places = place("order_id").zip(place("currency"));
    let (order_id, currency) = places.ok_or_else(|| damaged(1, "it has no column order_id or currency".to_owned()))?;
    let mut orders: BTreeMap<String, HashSet<Vec<u8>>> = BTreeMap::new();
    let mut record = ::csv::ByteRecord::new();
    loop {
        let line = reader.position().line();
        if !reader.read_byte_record(&mut record).map_err(|error| damaged(line, error.to_string()))? {
            break;
        }
        let field = |place: usize| record.get(place).unwrap_or_default();
        let currency = String::from_utf8_lossy(field(currency));
        match orders.get_mut(&*currency) {
            Some(known) => {
                if !known.contains(field(order_id)) {
                    known.insert(field(order_id).to_vec());
                }
            }
            None => {
                orders.insert(currency.into_owned(), HashSet::from([field(order_id).to_vec()]));
            }
        }
    }
    Ok(orders.into_iter().map(|(currency, orders)| (currency, orders.len() as u64)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_counts_once_in_each_of_its_currencies() {
        let csv = "order_id,sku,currency\nA,1,EUR\nA,2,EUR\n\"B,\n1\",1,EUR\nA,3,USD\nC,1,\n";
        let counts = count(csv.as_bytes(), Path::new("x.csv")).unwrap();
        assert_eq!(counts, [(String::new(), 1), ("EUR".to_owned(), 2), ("USD".to_owned(), 1)].into());
    }

    #[test]
    fn a_file_without_the_columns_is_an_error() {
        let error = count(b"id,sku\nA,1\n", Path::new("x.csv")).unwrap_err().to_string();
        assert!(error.contains("order_id"), "{error}");
    }
}
