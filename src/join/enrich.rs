//! Adds columns of users and products to a frame of lines, with left joins on their keys. The hash table of each dimension is
//! built once per run, and all threads share it.

use std::collections::HashSet;

use hashbrown::HashTable;
use polars::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::{Dimension, DimensionError, LookUpColumn};
use crate::settings::EnrichColumns;

/// The lookup tables of a run.
pub struct Enricher {
    users: LookUp,
    products: LookUp,
}

/// Keys of lines that are not in a lookup table.
#[derive(Default)]
pub struct UnknownKeys {
    /// Keys missing in `dim_user`.
    pub users: HashSet<String>,
    /// Keys missing in `dim_product`.
    pub products: HashSet<String>,
}

impl UnknownKeys {
    /// Adds all of `other`.
    pub fn absorb(&mut self, other: UnknownKeys) {
        self.users.extend(other.users);
        self.products.extend(other.products);
    }
}

/// One dimension: its keys, the row of each key, and the columns to add to a fact.
struct LookUp {
    keys: StringChunked,
    rows: HashTable<IdxSize>,
    columns: Vec<Column>,
}

impl LookUp {
    /// A lookup table of a frame whose first column is a unique key.
    fn new(table: DataFrame) -> PolarsResult<LookUp> {
        let (key, columns) = table.columns().split_first().ok_or_else(|| polars_err!(NoData: "a dimension without columns"))?;
        let keys = key.str()?.rechunk().into_owned();
        let mut rows = HashTable::with_capacity(keys.len());
        for (row, key) in (0..).zip(keys.iter()) {
            let hash = |key: Option<&str>| xxh3_64(key.unwrap_or_default().as_bytes());
            rows.insert_unique(hash(key), row, |&row: &IdxSize| hash(keys.get(row as usize)));
        }
        Ok(LookUp { rows, columns: columns.to_vec(), keys })
    }

    fn row(&self, key: &str) -> Option<IdxSize> {
        self.rows.find(xxh3_64(key.as_bytes()), |&row| self.keys.get(row as usize) == Some(key)).copied()
    }

    /// Adds the columns of this dimension to a frame, by the key in one of the frame's columns.
    fn join(&self, lines: &mut DataFrame, key: &str, unknown: &mut HashSet<String>) -> PolarsResult<()> {
        let mut places: Vec<Option<IdxSize>> = Vec::with_capacity(lines.height());
        // The lines of an order have the same user, so most lookups repeat the previous key.
        let mut last: (Option<&str>, Option<IdxSize>) = (None, None);
        for key in lines.column(key)?.str()?.iter() {
            if key != last.0 {
                last = (key, key.and_then(|key| self.row(key)));
                if let (Some(key), None) = last
                    && !unknown.contains(key)
                {
                    unknown.insert(key.to_owned());
                }
            }
            places.push(last.1);
        }
        let places = IdxCa::from_slice_options("places".into(), &places);
        for column in &self.columns {
            lines.with_column(column.take(&places)?)?;
        }
        Ok(())
    }
}

impl Enricher {
    /// Builds the lookup tables from the dimensions of this run.
    ///
    /// # Errors
    /// [`DimensionError::NoColumn`].
    pub fn new(users: &Dimension, products: &Dimension, columns: &EnrichColumns) -> Result<Enricher, DimensionError> {
        let [country, name, category] = LookUpColumn::all(columns);
        Ok(Enricher {
            users: LookUp::new(users.look_up_table(&[country])?)?,
            products: LookUp::new(products.look_up_table(&[name, category])?)?,
        })
    }

    /// Fills `user_country`, `product_name` and `product_category` of a frame of [`crate::model::FACT_COLUMNS`]. Adds missing keys
    /// to `unknown`.
    ///
    /// # Errors
    /// Errors of Polars.
    pub fn enrich(&self, mut lines: DataFrame, unknown: &mut UnknownKeys) -> PolarsResult<DataFrame> {
        self.users.join(&mut lines, "user_id", &mut unknown.users)?;
        self.products.join(&mut lines, "sku", &mut unknown.products)?;
        Ok(lines)
    }
}
