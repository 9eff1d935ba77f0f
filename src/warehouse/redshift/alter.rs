//! What the warehouse's tables have, compared with what the layer needs: columns to add, and texts that do not fit.

use std::collections::BTreeMap;

use super::{Column, ColumnKind, LongestTexts, RedshiftError, Table, Tables, columns::is_widened, identifier, literal};

/// A table of the warehouse: its columns by their name in lower case.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct StoredTable {
    /// For each column the most bytes of a text; `None` where it has no limit or is no text.
    pub columns: BTreeMap<String, Option<u64>>,
}

/// The tables that exist in the warehouse, by name.
pub type StoredColumns = BTreeMap<String, StoredTable>;

/// The query for the columns of the tables in the warehouse. `information_schema` exists on Redshift and PostgreSQL; no user
/// table is part of the query, since Redshift runs it on its leader node.
pub fn columns_query(tables: &Tables<'_>) -> String {
    let schema = tables.settings.schema.as_deref().map_or_else(|| "CURRENT_SCHEMA()".to_owned(), literal);
    let names: Vec<_> = tables.all().map(|table| literal(table.name)).collect();
    format!(
        "SELECT table_name, column_name, character_maximum_length FROM information_schema.columns WHERE LOWER(table_schema) = LOWER({schema}) AND table_name IN ({})",
        names.join(", ")
    )
}

/// The answer of [`columns_query`], row by row.
pub fn stored_columns(rows: Vec<Vec<Option<String>>>) -> StoredColumns {
    let mut stored = StoredColumns::new();
    for row in rows {
        let mut cells = row.into_iter();
        let (Some(Some(table)), Some(Some(column))) = (cells.next(), cells.next()) else { continue };
        let limit = cells.next().flatten().and_then(|limit| limit.parse().ok());
        stored.entry(table).or_default().columns.insert(column.to_ascii_lowercase(), limit);
    }
    stored
}

/// The columns that the warehouse's table lacks.
pub fn missing_columns<'t>(table: &'t Table, stored: &'t StoredTable) -> impl Iterator<Item = &'t Column> {
    table.columns.iter().filter(|column| !stored.columns.contains_key(&column.name))
}

/// A text of the layer that is longer than its column in the warehouse.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Misfit {
    /// The column.
    pub column: String,
    limit: u64,
    longest: u64,
}

impl Misfit {
    /// The error that names it. `example` is the beginning of the text.
    pub fn error(self, tables: &Tables<'_>, table: &Table, example: String) -> RedshiftError {
        let Misfit { column, limit, longest } = self;
        RedshiftError::TextTooLong { table: tables.qualified(table.name), column: identifier(&column), limit, longest, example }
    }
}

/// The first column of the warehouse's table that a text of the layer does not fit. Redshift counts bytes.
pub fn first_misfit(table: &Table, stored: &StoredTable, longest: &LongestTexts) -> Option<Misfit> {
    table.texts().find_map(|column| {
        let limit = (*stored.columns.get(column)?)?;
        let longest = longest.of(table.name, column)?;
        (longest > limit).then(|| Misfit { column: column.to_owned(), limit, longest })
    })
}

/// The statements that add the columns that the warehouse's table lacks. Redshift adds one column by statement, also within a
/// transaction (<https://docs.aws.amazon.com/redshift/latest/dg/r_ALTER_TABLE.html>).
pub fn additions(tables: &Tables<'_>, table: &Table, stored: &StoredTable) -> Vec<String> {
    let place = tables.qualified(table.name);
    missing_columns(table, stored)
        .map(|column| format!("ALTER TABLE {place} ADD COLUMN {} {}", identifier(&column.name), column.kind))
        .collect()
}

/// Comments for a printed load: the extra columns that the tables must have, and the fixed ones that hold longer texts than
/// usual, each as the statement that makes it so. A script can't know what the tables have, and Redshift has no
/// `ADD COLUMN IF NOT EXISTS`. Empty where the tables have their usual columns.
pub fn wanted_columns(tables: &Tables<'_>) -> String {
    let (mut extra, mut widened) = (String::new(), String::new());
    for table in tables.stored() {
        let place = tables.qualified(table.name);
        for column in &table.columns {
            // A line break in a name must not end the comment.
            let name = identifier(&column.name).replace(['\n', '\r'], " ");
            if column.is_extra {
                extra.push_str(&format!("-- ALTER TABLE {place} ADD COLUMN {name} {};\n", column.kind));
            } else if matches!(column.kind, ColumnKind::Text { bytes } if is_widened(&column.name, bytes)) {
                widened.push_str(&format!("-- ALTER TABLE {place} ALTER COLUMN {name} TYPE {};\n", column.kind));
            }
        }
    }
    let section = |title: &str, lines: String| if lines.is_empty() { lines } else { format!("-- {title}\n{lines}") };
    section("The tables need these extra columns. Run the statements of those that are missing, or load with --execute:", extra)
        + &section(
            "Texts of these columns are longer than usual. Run the statements if the tables were made before. Redshift can't alter a column\n-- of a key: DROP the table there, and run `etl redshift ddl` and `etl redshift copy`:",
            widened,
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{ExtraColumn, ExtraType, FactSchema},
        settings::RedshiftSettings,
        warehouse::redshift::{DimensionHeaders, LongestTexts},
    };

    #[test]
    fn a_column_that_the_warehouse_lacks_is_added_and_a_script_names_it_in_a_comment() {
        let settings = RedshiftSettings { schema: Some("shop".into()), ..RedshiftSettings::default() };
        let schema = FactSchema::new(vec![ExtraColumn { name: "Tax".into(), kind: ExtraType::Decimal { scale: 3 } }]);
        let headers = DimensionHeaders { users: Some(["user_id", "inferred", "a\nb"].map(str::to_owned).to_vec()), products: None };
        let tables = Tables::new(&settings, &schema, &headers, &LongestTexts::default()).unwrap();
        let rows = tables.facts.columns.iter().filter(|column| !column.is_extra);
        let rows = rows.map(|column| vec![Some("fact_order".to_owned()), Some(column.name.to_uppercase()), Some("64".to_owned())]);
        let stored = stored_columns(rows.collect());
        assert_eq!(stored["fact_order"].columns["status"], Some(64));
        assert_eq!(
            additions(&tables, &tables.facts, &stored["fact_order"]),
            ["ALTER TABLE \"shop\".\"fact_order\" ADD COLUMN \"tax\" DECIMAL(18,3)"]
        );
        let comments = wanted_columns(&tables);
        assert!(comments.contains("-- ALTER TABLE \"shop\".\"dim_user\" ADD COLUMN \"a b\" VARCHAR(256);\n"), "{comments}");
        assert!(comments.lines().all(|line| line.starts_with("-- ")), "{comments}");
        assert!(columns_query(&tables).contains("LOWER(table_schema) = LOWER('shop')"));
    }
}
