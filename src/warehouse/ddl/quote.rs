//! Names and texts as each dialect quotes them. Every name is quoted: no name is then a reserved word, or SQL.

use crate::warehouse::redshift::Table;

/// A name in standard SQL: DuckDB, PostgreSQL, and queries of Athena.
pub(super) fn name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in standard SQL. A backslash is itself.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name in Spark, and in the DDL of Athena.
pub(super) fn hive_name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text in Spark, and in the DDL of Athena. A backslash is an escape.
pub(super) fn hive_literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n"))
}

/// A table with its schema.
pub(super) fn qualified(schema: Option<&str>, table: &str, quote: fn(&str) -> String) -> String {
    schema.map_or_else(|| quote(table), |schema| format!("{}.{}", quote(schema), quote(table)))
}

/// The names of a table's columns.
pub(super) fn names(table: &Table) -> Vec<String> {
    table.columns.iter().map(|column| name(&column.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quote_is_closed_once() {
        assert_eq!((name("a\"b"), literal("it's \\")), ("\"a\"\"b\"".into(), "'it''s \\'".into()));
        assert_eq!((hive_name("a`b"), hive_literal("it's \\")), ("`a``b`".into(), "'it\\'s \\\\'".into()));
    }
}
