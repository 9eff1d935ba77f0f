//! What users and products add to a frame of lines: left joins on their keys.

use std::collections::HashSet;

use polars::prelude::*;

use super::{Dimension, DimensionError};
use crate::settings::EnrichColumns;

/// The look-up tables of a run, and the keys that they do not know.
pub struct Enricher {
    users: DataFrame,
    products: DataFrame,
}

/// Keys that lines name and no look-up table knows.
#[derive(Default)]
pub struct UnknownKeys {
    /// Of `dim_user`.
    pub users: HashSet<String>,
    /// Of `dim_product`.
    pub products: HashSet<String>,
}

impl Enricher {
    /// Look-up tables from the dimensions as they are in this run.
    ///
    /// # Errors
    /// [`DimensionError::NoColumn`].
    pub fn new(users: &Dimension, products: &Dimension, columns: &EnrichColumns) -> Result<Enricher, DimensionError> {
        Ok(Enricher {
            users: users.look_up_table(&[(&columns.user_country, "user_country", "enrich.user_country")])?,
            products: products.look_up_table(&[
                (&columns.product_name, "product_name", "enrich.product_name"),
                (&columns.product_category, "product_category", "enrich.product_category"),
            ])?,
        })
    }

    /// Fills `user_country`, `product_name` and `product_category` of a frame of [`crate::model::FACT_COLUMNS`], and notes the
    /// keys that no table knows.
    ///
    /// # Errors
    /// Polars' own.
    pub fn enrich(&self, mut lines: DataFrame, unknown: &mut UnknownKeys) -> PolarsResult<DataFrame> {
        join(&mut lines, "user_id", &self.users, &["user_country"], &mut unknown.users)?;
        join(&mut lines, "sku", &self.products, &["product_name", "product_category"], &mut unknown.products)?;
        Ok(lines)
    }
}

/// The column that tells a key without attributes from a key without a row.
const KNOWN: &str = "known";

fn join(lines: &mut DataFrame, key: &str, table: &DataFrame, columns: &[&str], unknown: &mut HashSet<String>) -> PolarsResult<()> {
    let mut table = table.clone();
    table.with_column(BooleanChunked::full(KNOWN.into(), true, table.height()).into_column())?;
    let args = JoinArgs { maintain_order: MaintainOrderJoin::Left, ..JoinArgs::new(JoinType::Left) };
    let joined = lines.select([key])?.join(&table, [key], [key], args, None)?;
    for column in columns {
        let mut values = joined.column(column)?.clone();
        values.rename((*column).into());
        lines.with_column(values)?;
    }
    let known = joined.column(KNOWN)?.bool()?;
    if known.null_count() > 0 {
        let keys = lines.column(key)?.str()?;
        for (key, known) in keys.iter().zip(known.iter()) {
            if let (Some(key), None) = (key, known)
                && !unknown.contains(key)
            {
                unknown.insert(key.to_owned());
            }
        }
    }
    Ok(())
}
