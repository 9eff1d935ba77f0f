//! Redshift: the tables, a full load, the load of what runs changed, and the comparison with the layer.
//!
//! ```text
//! ddl     the tables
//! copy    stage ─▶ replace the content, all in one transaction
//! merge   stage what runs wrote ─▶ DELETE their days ─▶ INSERT, all in one transaction
//! verify  rows, sums and a hash by (dt, currency) on both sides
//! ```
//! Side facts are loaded and compared as the facts are, where the layer has them or has had them.
//!
//! The statements are SQL that Redshift shares with PostgreSQL, except for `COPY ... FROM 's3://...'` and the distribution
//! and sort keys of the tables. Which runs changed what is not known here: `run::warehouse` says it.

mod alter;
mod columns;
mod connection;
mod ddl;
mod erase;
mod error;
mod layer;
mod load;
mod look_up;
mod password;
mod session;
mod sources;
mod verify;

pub use alter::{
    Misfit, StoredColumns, StoredTable, additions, columns_query, first_misfit, missing_columns, stored_columns, wanted_columns,
};
pub use columns::{Column, ColumnKind, Dimension, DimensionHeaders, LongestTexts, SideContent, SideTable, Table};
pub use ddl::{create_side, ddl, ddl_statements, side_statements};
pub use erase::{ErasedValues, erase};
pub use error::RedshiftError;
pub use layer::LayerReader;
pub use load::{Changes, DayChanges, SideChanges, copy, delete_undated, merge};
pub use look_up::{OrderQuery, look_up};
pub use session::Session;
pub use sources::{CopySource, RunManifest, side_sources, sources};
pub use verify::{
    Comparison, DayRange, Difference, DifferentDay, DimensionComparison, DimensionTotals, Side, SideComparison, SideTotals, Totals,
    compare_days, compare_side, dimension_query, facts_query, has_undated, side_query,
};

use std::collections::BTreeMap;

use crate::{
    model::{FactSchema, FileFormat, LONGEST_COLUMN_NAME},
    settings::RedshiftSettings,
    store::places::SideFact,
};

/// The tables as the output has them.
pub struct Tables<'a> {
    settings: &'a RedshiftSettings,
    /// The format of the files of partitions. All others are CSV.
    format: FileFormat,
    /// `fact_order`.
    pub facts: Table,
    /// `dim_user` and `dim_product`.
    pub dimensions: [Dimension; 2],
    /// The side facts that the layer has, or has had.
    pub sides: Vec<SideTable>,
}

impl<'a> Tables<'a> {
    /// The tables of an output with these columns.
    ///
    /// # Errors
    /// [`RedshiftError::Name`] for a schema that no warehouse accepts.
    pub fn new(
        settings: &'a RedshiftSettings,
        schema: &FactSchema,
        headers: &DimensionHeaders,
        longest: &LongestTexts,
    ) -> Result<Tables<'a>, RedshiftError> {
        let (facts, dimensions) = (Table::facts(schema, longest), columns::dimensions(headers, longest));
        let tables = Tables { settings, format: FileFormat::default(), facts, dimensions, sides: Vec::new() };
        let refused = |setting, name: &str| RedshiftError::Name { setting, name: name.chars().take(40).collect() };
        let is_name = |name: &str| (1..=LONGEST_COLUMN_NAME).contains(&name.len());
        if let Some(schema) = settings.schema.as_deref().filter(|schema| !is_name(schema)) {
            return Err(refused("redshift.schema", schema));
        }
        if let Some(name) = tables.all().flat_map(Table::names).find(|name| !is_name(name)) {
            return Err(refused("column", name));
        }
        Ok(tables)
    }

    /// The same tables, whose partitions have files of this format.
    #[must_use]
    pub fn in_format(self, format: FileFormat) -> Tables<'a> {
        Tables { format, ..self }
    }

    /// The same tables, with those of side facts.
    #[must_use]
    pub fn with_sides(self, sides: &BTreeMap<SideFact, SideContent>, longest: &LongestTexts) -> Tables<'a> {
        Tables { sides: columns::side_tables(sides, longest), ..self }
    }

    /// The format of a table's files.
    fn format_of(&self, table: &Table) -> FileFormat {
        if table.name == self.facts.name { self.format } else { FileFormat::default() }
    }

    /// All tables: the dimensions, then the facts, then the side facts.
    pub fn all(&self) -> impl Iterator<Item = &Table> {
        self.dimensions.iter().map(|dimension| &dimension.table).chain(self.all_facts())
    }

    /// The tables that have files in the output, and those of all side facts.
    pub fn stored(&self) -> impl Iterator<Item = &Table> {
        self.stored_dimensions().map(|dimension| &dimension.table).chain(self.all_facts())
    }

    /// The facts, then the side facts.
    fn all_facts(&self) -> impl Iterator<Item = &Table> {
        std::iter::once(&self.facts).chain(self.sides.iter().map(|side| &side.table))
    }

    /// The dimensions that have a file in the output.
    pub fn stored_dimensions(&self) -> impl Iterator<Item = &Dimension> {
        self.dimensions.iter().filter(|dimension| dimension.is_stored)
    }

    /// A table's name with its schema.
    pub fn qualified(&self, name: &str) -> String {
        self.settings.schema.as_deref().map_or_else(|| identifier(name), |schema| format!("{}.{}", identifier(schema), identifier(name)))
    }
}

/// A name as an SQL identifier, always quoted: no name is then a reserved word.
fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Names as a list of identifiers.
fn identifiers<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    names.into_iter().map(identifier).collect::<Vec<_>>().join(", ")
}

/// A text as an SQL literal. Redshift, unlike PostgreSQL since 9.1, reads a backslash in it as an escape.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Statements as a script.
pub fn script(statements: &[String]) -> String {
    statements.iter().map(|statement| format!("{statement};\n")).collect()
}
