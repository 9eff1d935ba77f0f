//! What the warehouse's tables have, compared with what the layer needs: columns to add, and texts that do not fit.

use std::collections::BTreeMap;

use super::{Table, Tables, identifier, literal};

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
    let schema = tables.settings.schema.as_deref().map_or("current_schema()".to_owned(), |schema| format!("LOWER({})", literal(schema)));
    let names: Vec<_> = tables.all().map(|table| literal(table.name)).collect();
    format!(
        "SELECT table_name, column_name, character_maximum_length FROM information_schema.columns WHERE LOWER(table_schema) = {schema} AND table_name IN ({})",
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

/// The statements that add the columns that the warehouse's table lacks. Redshift adds one column by statement, also within a
/// transaction (<https://docs.aws.amazon.com/redshift/latest/dg/r_ALTER_TABLE.html>).
pub fn additions(tables: &Tables<'_>, table: &Table, stored: &StoredTable) -> Vec<String> {
    let place = tables.qualified(table.name);
    let missing = table.columns.iter().filter(|column| !stored.columns.contains_key(&column.name));
    missing.map(|column| format!("ALTER TABLE {place} ADD COLUMN {} {}", identifier(&column.name), column.kind)).collect()
}

/// Comments for a printed load: the extra columns that the tables must have, each as the statement that adds it. A script
/// can't know which of them exist, and Redshift has no `ADD COLUMN IF NOT EXISTS`. Empty where there are no extra columns.
pub fn wanted_columns(tables: &Tables<'_>) -> String {
    let mut comments = String::new();
    for table in tables.stored() {
        for column in table.columns.iter().filter(|column| column.is_extra) {
            let add = format!("ALTER TABLE {} ADD COLUMN {} {};", tables.qualified(table.name), identifier(&column.name), column.kind);
            // A line break in a name must not end the comment.
            comments.push_str(&format!("-- {}\n", add.replace(['\n', '\r'], " ")));
        }
    }
    if comments.is_empty() {
        return comments;
    }
    format!("-- The tables need these extra columns. Run the statements of those that are missing, or load with --execute:\n{comments}")
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
