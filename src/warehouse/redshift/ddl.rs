//! The tables, with their keys and what each column is.

use super::{Column, Dimension, SideTable, Tables, columns, identifier, identifiers, literal};
use crate::store::places::SideFact;

/// What each table and column is.
const COMMENTS: [(&str, &str, &str); 28] = [
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
    ("fact_order_total", "", "totals of orders: one row for each order_id"),
    ("fact_order_total", "order_id", "the order, as in fact_order"),
    ("fact_order_total", "lines_total", "the sum of line_total, exact"),
    ("fact_order_total", "total", "as the source says it; NULL where it does not"),
    ("fact_order_total", "refunded_total", "what was paid back"),
    ("fact_order_total", "created_at", "when it was ordered, in UTC"),
    ("fact_order_total", "updated_at", "when the source last changed it, in UTC"),
    ("fact_refund", "", "refunds by their own days: one row for each refund_id, order_id and sku"),
    ("fact_refund", "refund_id", "the refund, as the source names it"),
    ("fact_refund", "order_id", "its order: fact_order"),
    ("fact_refund", "sku", "what was given back; NULL for what is in no line"),
    ("fact_refund", "amount", "what was given back, positive, in currency"),
    ("fact_refund", "currency", "of amount"),
    ("fact_refund", "created_at", "when it was given back, in UTC"),
    ("dim_user", "", "users: one row for each user_id"),
    ("dim_product", "", "products: one row for each sku"),
    ("", "inferred", "orders name it, and no source knows it"),
];

/// What a CREATE TABLE says beside the columns.
struct Layout<'t> {
    primary_key: Vec<&'t str>,
    /// Columns that are unique together, and of which one may be NULL.
    unique: Vec<&'t str>,
    /// Column, and the dimension that it names a member of.
    foreign_keys: Vec<ForeignKey>,
    /// Distribution and sort keys.
    keys: String,
}

struct ForeignKey {
    column: &'static str,
    dimension: &'static str,
}

/// The statements that create the tables, in one transaction.
pub fn ddl(tables: &Tables<'_>) -> Vec<String> {
    let mut statements = ddl_statements(tables);
    statements.insert(0, "BEGIN".to_owned());
    statements.push("COMMIT".to_owned());
    statements
}

/// The statements that create the tables where they are missing: dimensions first, which the facts refer to. Redshift takes
/// keys for hints and does not enforce them; the layer keeps them.
pub fn ddl_statements(tables: &Tables<'_>) -> Vec<String> {
    let mut statements = Vec::new();
    if let Some(schema) = &tables.settings.schema {
        statements.push(format!("CREATE SCHEMA IF NOT EXISTS {}", identifier(schema)));
    }
    for dimension in &tables.dimensions {
        let key = dimension.spec.key();
        let layout = Layout {
            primary_key: if dimension.is_versioned() { Vec::new() } else { vec![key] },
            unique: Vec::new(),
            foreign_keys: Vec::new(),
            keys: format!("DISTSTYLE ALL\nSORTKEY ({})", identifier(key)),
        };
        create(tables, &dimension.table, &layout, &mut statements);
    }
    let referred = |dimension: &&Dimension| !dimension.is_versioned();
    let foreign_key = |dimension: &Dimension| ForeignKey { column: dimension.spec.key(), dimension: dimension.spec.name };
    let layout = Layout {
        primary_key: vec!["order_id", "sku"],
        unique: Vec::new(),
        foreign_keys: tables.dimensions.iter().filter(referred).map(foreign_key).collect(),
        keys: "DISTKEY (\"order_id\")\nCOMPOUND SORTKEY (\"created_at\", \"order_id\")".to_owned(),
    };
    create(tables, &tables.facts, &layout, &mut statements);
    statements.extend(tables.sides.iter().flat_map(|side| side_statements(tables, side)));
    statements
}

/// The statements that create the table of a side fact where it is missing.
pub fn side_statements(tables: &Tables<'_>, side: &SideTable) -> Vec<String> {
    let mut statements = Vec::new();
    create(tables, &side.table, &side_layout(side.fact), &mut statements);
    statements
}

/// The same without comments, which only the owner of a table may set.
pub fn create_side(tables: &Tables<'_>, side: &SideTable) -> String {
    create_table(tables, &side.table, &side_layout(side.fact))
}

/// The keys of a side fact. They refer to no other table: the source may refund what was dropped as malformed.
fn side_layout(fact: SideFact) -> Layout<'static> {
    let layout = |key: &'static [&'static str], unique: &'static [&'static str], sorted_by: &'static str| Layout {
        primary_key: key.to_vec(),
        unique: unique.to_vec(),
        foreign_keys: Vec::new(),
        keys: format!("DISTKEY (\"order_id\")\nCOMPOUND SORTKEY (\"created_at\", {})", identifier(sorted_by)),
    };
    match fact {
        SideFact::OrderTotals => layout(&["order_id"], &[], "order_id"),
        // A refund may have a row without a sku.
        SideFact::Refunds => layout(&[], &["refund_id", "order_id", "sku"], "refund_id"),
    }
}

fn create(tables: &Tables<'_>, table: &columns::Table, layout: &Layout<'_>, statements: &mut Vec<String>) {
    statements.push(create_table(tables, table, layout));
    let place = tables.qualified(table.name);
    for (of, column, comment) in COMMENTS {
        if column.is_empty() && of == table.name {
            statements.push(format!("COMMENT ON TABLE {place} IS {}", literal(comment)));
        } else if table.has(column) && (of == table.name || (of.is_empty() && table.name != columns::FACTS)) {
            statements.push(format!("COMMENT ON COLUMN {place}.{} IS {}", identifier(column), literal(comment)));
        }
    }
}

fn create_table(tables: &Tables<'_>, table: &columns::Table, layout: &Layout<'_>) -> String {
    let place = tables.qualified(table.name);
    let line = |column: &Column| {
        let not_null = if column.is_required { " NOT NULL" } else { "" };
        format!("    {} {}{not_null}", identifier(&column.name), column.kind)
    };
    let mut lines: Vec<_> = table.columns.iter().map(line).collect();
    if !layout.primary_key.is_empty() {
        lines.push(format!("    PRIMARY KEY ({})", identifiers(layout.primary_key.iter().copied())));
    }
    if !layout.unique.is_empty() {
        lines.push(format!("    UNIQUE ({})", identifiers(layout.unique.iter().copied())));
    }
    for key in &layout.foreign_keys {
        let column = identifier(key.column);
        lines.push(format!("    FOREIGN KEY ({column}) REFERENCES {} ({column})", tables.qualified(key.dimension)));
    }
    format!("CREATE TABLE IF NOT EXISTS {place} (\n{}\n)\n{}", lines.join(",\n"), layout.keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{ExtraColumn, ExtraType, FactSchema},
        settings::RedshiftSettings,
        warehouse::redshift::{DimensionHeaders, LongestTexts, RedshiftError, SideContent, script},
    };

    fn sql(settings: &RedshiftSettings, schema: &FactSchema, users: &[&str]) -> String {
        let headers = DimensionHeaders { users: Some(users.iter().map(|name| (*name).to_owned()).collect()), products: None };
        let mut longest = LongestTexts::default();
        longest.add("dim_user", [("full name".to_owned(), 300)].into());
        script(&ddl(&Tables::new(settings, schema, &headers, &longest).unwrap()))
    }

    #[test]
    fn every_name_is_quoted_and_keys_are_said() {
        let settings = RedshiftSettings { schema: Some("My \"schema\"".into()), ..RedshiftSettings::default() };
        let schema = FactSchema::new(vec![ExtraColumn { name: "User".into(), kind: ExtraType::Decimal { scale: 2 } }]);
        let sql = sql(&settings, &schema, &["user_id", "inferred", "full name"]);
        assert!(sql.contains("\"full name\" VARCHAR(1024)"), "{sql}");
        assert!(sql.contains("\"unit_price\" DECIMAL(18,4) NOT NULL"), "{sql}");
        assert!(sql.contains("\"user\" DECIMAL(18,2)"), "a reserved word, folded as Redshift does: {sql}");
        assert!(sql.contains(r#"FOREIGN KEY ("sku") REFERENCES "My ""schema"""."dim_product" ("sku")"#), "{sql}");
        assert!(sql.contains(r#"COMMENT ON COLUMN "My ""schema"""."fact_order"."created_at" IS 'when it was ordered, in UTC'"#), "{sql}");
        assert!(sql.starts_with("BEGIN;\n") && sql.ends_with("COMMIT;\n"), "{sql}");
    }

    #[test]
    fn a_member_with_versions_is_no_key() {
        let columns = ["user_id", "inferred", "valid_from", "valid_to", "is_current"];
        let sql = sql(&RedshiftSettings::default(), &FactSchema::default(), &columns);
        assert!(!sql.contains("PRIMARY KEY (\"user_id\")") && !sql.contains("REFERENCES \"dim_user\""), "{sql}");
        assert!(sql.contains("PRIMARY KEY (\"sku\")") && sql.contains("\"valid_from\" TIMESTAMP"), "{sql}");
    }

    #[test]
    fn side_facts_are_there_where_the_layer_has_them_and_have_the_keys_of_the_layer() {
        let settings = RedshiftSettings { schema: Some("shop".into()), ..RedshiftSettings::default() };
        let longest = LongestTexts::default();
        let made = || Tables::new(&settings, &FactSchema::default(), &DimensionHeaders::default(), &longest).unwrap();
        let without = ddl_statements(&made());
        assert!(without.iter().all(|sql| !sql.contains("fact_order_total") && !sql.contains("fact_refund")), "{without:?}");
        let sides = [(SideFact::OrderTotals, SideContent::Rows), (SideFact::Refunds, SideContent::Nothing)].into();
        let with = ddl_statements(&made().with_sides(&sides, &longest));
        assert_eq!(with[..without.len()], without, "the other tables are as before");
        let totals = with.iter().find(|sql| sql.starts_with("CREATE TABLE IF NOT EXISTS \"shop\".\"fact_order_total\"")).unwrap();
        assert!(totals.contains("    \"total\" DECIMAL(18,4),\n") && totals.contains("    PRIMARY KEY (\"order_id\")\n)"), "{totals}");
        assert!(totals.ends_with("\nDISTKEY (\"order_id\")\nCOMPOUND SORTKEY (\"created_at\", \"order_id\")"), "{totals}");
        let refunds = with.iter().find(|sql| sql.starts_with("CREATE TABLE IF NOT EXISTS \"shop\".\"fact_refund\"")).unwrap();
        assert!(refunds.contains("    UNIQUE (\"refund_id\", \"order_id\", \"sku\")\n)") && !refunds.contains("PRIMARY KEY"), "{refunds}");
        assert!(refunds.ends_with("COMPOUND SORTKEY (\"created_at\", \"refund_id\")"), "{refunds}");
        // Each comment is of a column that there is.
        for side in SideFact::ALL.map(|fact| columns::Table::side(fact, &longest)) {
            for (of, column, _) in COMMENTS {
                assert!(of != side.name || column.is_empty() || side.has(column), "{of}.{column}");
            }
        }
    }

    #[test]
    fn a_name_that_is_too_long_is_refused() {
        let schema = "s".repeat(128);
        let settings = RedshiftSettings { schema: Some(schema), ..RedshiftSettings::default() };
        let made = Tables::new(&settings, &FactSchema::default(), &DimensionHeaders::default(), &LongestTexts::default());
        assert!(matches!(made.map(|_| ()), Err(RedshiftError::Name { setting: "redshift.schema", .. })));
    }
}
