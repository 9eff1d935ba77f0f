//! The tables, with their keys and what each column is.

use super::{Dimension, Tables, identifier, identifiers, literal};

/// The longest text that Redshift takes: a source's texts have no length that is known.
const TEXT: &str = "VARCHAR(65535)";

/// The columns of `fact_order` that are never NULL.
const REQUIRED: [&str; 7] = ["order_id", "sku", "quantity", "unit_price", "line_total", "price_defaulted", "created_at"];

/// What each table and column is.
const COMMENTS: [(&str, &str, &str); 14] = [
    ("fact_order", "", "order lines: one row for each order_id and sku"),
    ("fact_order", "order_id", "the order, as the source names it"),
    ("fact_order", "sku", "what was ordered: dim_product"),
    ("fact_order", "user_id", "who ordered: dim_user"),
    ("fact_order", "currency", "of unit_price and line_total"),
    ("fact_order", "quantity", "negative for returns"),
    ("fact_order", "unit_price", "of one, in currency"),
    ("fact_order", "line_total", "quantity times unit_price, exact"),
    ("fact_order", "price_defaulted", "the source named no price: it counts as 0"),
    ("fact_order", "created_at", "when it was ordered, in UTC"),
    ("fact_order", "updated_at", "when the source last changed it, in UTC"),
    ("dim_user", "", "users: one row for each user_id"),
    ("dim_product", "", "products: one row for each sku"),
    ("", "inferred", "orders name it, and no source knows it"),
];

/// One table as it is to be made.
struct Table<'t> {
    name: &'static str,
    /// Name, type, whether it is never NULL.
    columns: Vec<(&'t str, &'t str, bool)>,
    primary_key: Vec<&'static str>,
    /// Column, and the dimension that it names a member of.
    foreign_keys: Vec<(&'static str, &'static str)>,
    /// How rows lie, as Redshift says it.
    layout: String,
}

/// The statements that make the tables: dimensions first, which the facts refer to. Redshift takes keys for hints and does
/// not enforce them; the layer keeps them.
pub fn ddl(tables: &Tables<'_>) -> Vec<String> {
    let mut statements = Vec::new();
    if let Some(schema) = &tables.settings.schema {
        statements.push(format!("CREATE SCHEMA IF NOT EXISTS {}", identifier(schema)));
    }
    let dimensions = tables.dimensions();
    for dimension in &dimensions {
        make(tables, &of_dimension(dimension), &mut statements);
    }
    let typed: Vec<_> = tables.schema.columns().collect();
    let referred = |dimension: &&Dimension| !dimension.is_versioned();
    let facts = Table {
        name: "fact_order",
        columns: typed
            .iter()
            .map(|(name, kind)| (*name, if kind == "VARCHAR" { TEXT } else { kind.as_str() }, REQUIRED.contains(name)))
            .collect(),
        primary_key: vec!["order_id", "sku"],
        foreign_keys: dimensions.iter().filter(referred).map(|dimension| (dimension.spec.key(), dimension.spec.name)).collect(),
        layout: "DISTKEY (order_id)\nCOMPOUND SORTKEY (created_at, order_id)".to_owned(),
    };
    make(tables, &facts, &mut statements);
    statements
}

fn of_dimension(dimension: &Dimension) -> Table<'_> {
    let spec = &dimension.spec;
    let kind = |name: &str| match name {
        "inferred" | "is_current" => "BOOLEAN",
        "valid_from" | "valid_to" => "TIMESTAMP",
        _ => match spec.columns.iter().find(|column| column.name == name).map(|column| column.kind.sql()) {
            None | Some("VARCHAR") => TEXT,
            Some(kind) => kind,
        },
    };
    Table {
        name: spec.name,
        columns: dimension.columns.iter().map(|name| (name.as_str(), kind(name), name == spec.key() || name == "inferred")).collect(),
        primary_key: if dimension.is_versioned() { Vec::new() } else { vec![spec.key()] },
        foreign_keys: Vec::new(),
        layout: format!("DISTSTYLE ALL\nSORTKEY ({})", identifier(spec.key())),
    }
}

fn make(tables: &Tables<'_>, table: &Table<'_>, statements: &mut Vec<String>) {
    let place = tables.qualified(table.name);
    let mut lines: Vec<_> = table
        .columns
        .iter()
        .map(|(name, kind, required)| format!("    {} {kind}{}", identifier(name), if *required { " NOT NULL" } else { "" }))
        .collect();
    if !table.primary_key.is_empty() {
        lines.push(format!("    PRIMARY KEY ({})", identifiers(table.primary_key.iter().copied())));
    }
    for (column, dimension) in &table.foreign_keys {
        let column = identifier(column);
        lines.push(format!("    FOREIGN KEY ({column}) REFERENCES {} ({column})", tables.qualified(dimension)));
    }
    statements.push(format!("CREATE TABLE IF NOT EXISTS {place} (\n{}\n)\n{}", lines.join(",\n"), table.layout));
    for (of, column, comment) in COMMENTS {
        let is_there = table.columns.iter().any(|(name, ..)| *name == column);
        if column.is_empty() && of == table.name {
            statements.push(format!("COMMENT ON TABLE {place} IS {}", literal(comment)));
        } else if is_there && (of == table.name || (of.is_empty() && table.name != "fact_order")) {
            statements.push(format!("COMMENT ON COLUMN {place}.{} IS {}", identifier(column), literal(comment)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::FactSchema, settings::RedshiftSettings, warehouse::redshift::script};

    #[test]
    fn names_are_quoted_and_keys_are_said() {
        let settings = RedshiftSettings { schema: Some("My \"schema\"".into()), ..RedshiftSettings::default() };
        let schema = FactSchema::default();
        let columns = ["user_id", "inferred", "Full Name"].map(str::to_owned).to_vec();
        let sql = script(&ddl(&Tables::new(&settings, &schema, Some(columns), None)));
        assert!(sql.contains("\"Full Name\" VARCHAR(65535)"), "{sql}");
        assert!(sql.contains("unit_price DECIMAL(18,4) NOT NULL"), "{sql}");
        assert!(sql.contains(r#"FOREIGN KEY (sku) REFERENCES "My ""schema""".dim_product (sku)"#), "{sql}");
        assert!(sql.contains(r#"COMMENT ON COLUMN "My ""schema""".fact_order.created_at IS 'when it was ordered, in UTC'"#), "{sql}");
    }

    #[test]
    fn a_member_with_versions_is_no_key() {
        let (settings, schema) = (RedshiftSettings::default(), FactSchema::default());
        let columns = ["user_id", "inferred", "valid_from", "valid_to", "is_current"].map(str::to_owned).to_vec();
        let sql = script(&ddl(&Tables::new(&settings, &schema, Some(columns), None)));
        assert!(!sql.contains("PRIMARY KEY (user_id)") && !sql.contains("REFERENCES dim_user"), "{sql}");
        assert!(sql.contains("PRIMARY KEY (sku)") && sql.contains("valid_from TIMESTAMP"), "{sql}");
    }
}
