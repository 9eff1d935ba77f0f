//! The dictionary as DBML, for diagrams of the tables and how they belong together.

use std::fmt::Write;

use super::{Cardinality, Dictionary, DocumentedColumn, DocumentedTable, FACT_ORDER, Key, LineReference, Nullability};

/// The dictionary as DBML.
pub fn dbml(dictionary: &Dictionary) -> String {
    let tables: Vec<_> = dictionary.tables.iter().map(|table| block(table, dictionary)).collect();
    let references = dictionary.tables.iter().flat_map(|table| references(table, dictionary).chain(line_reference(table, dictionary)));
    let references: String = references.collect();
    format!("{}\n{references}", tables.join("\n"))
}

fn block(table: &DocumentedTable, dictionary: &Dictionary) -> String {
    let mut text = format!("Table {} {{\n", place(table.name, dictionary));
    for column in &table.columns {
        let _ = writeln!(text, "  {} {} [{}]", name(&column.name), column.kind, settings(column, &table.key));
    }
    let index = match &table.key {
        Key::Pair(first, second) => Some(format!("({first}, {second}) [pk]")),
        Key::LastNullable(columns) => Some(format!("({}) [unique]", columns.join(", "))),
        Key::Column(_) | Key::Current(_) => None,
    };
    if let Some(index) = index {
        let _ = write!(text, "\n  indexes {{\n    {index}\n  }}\n");
    }
    let _ = write!(text, "\n  Note: {}\n}}\n", literal(&table.meaning));
    text
}

fn settings(column: &DocumentedColumn, key: &Key) -> String {
    let mut settings = Vec::new();
    if matches!(key, Key::Column(name) if *name == column.name) {
        settings.push("pk".to_owned());
    }
    if column.nullability == Nullability::NeverNull {
        settings.push("not null".to_owned());
    }
    settings.push(format!("note: {}", literal(&column.meaning)));
    settings.join(", ")
}

fn references<'d>(table: &'d DocumentedTable, dictionary: &'d Dictionary) -> impl Iterator<Item = String> {
    table.columns.iter().filter_map(move |column| {
        let reference = column.reference?;
        let sign = match reference.cardinality {
            Cardinality::ManyToOne => ">",
            Cardinality::OneToMany => "<",
            Cardinality::ManyToMany => "<>",
        };
        let from = format!("{}.{}", place(table.name, dictionary), name(&column.name));
        let to = format!("{}.{}", place(reference.table, dictionary), name(reference.column));
        Some(format!("Ref: {from} {sign} {to}\n"))
    })
}

/// The line that rows of a table name.
fn line_reference(table: &DocumentedTable, dictionary: &Dictionary) -> Option<String> {
    let LineReference { order_id, sku } = table.lines?;
    let (from, to) = (place(table.name, dictionary), place(FACT_ORDER, dictionary));
    Some(format!("Ref: {from}.({order_id}, {sku}) > {to}.({order_id}, {sku})\n"))
}

/// The name of a table with its schema.
fn place(table: &str, dictionary: &Dictionary) -> String {
    dictionary.schema.as_deref().map_or_else(|| name(table), |schema| format!("{}.{}", name(schema), name(table)))
}

fn name(text: &str) -> String {
    format!("\"{}\"", escaped(text).replace('"', "\\\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", escaped(text).replace('\'', "\\'"))
}

/// A text of one line.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace(|letter: char| letter.is_control(), " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dictionary::tests::hostile, store::places::SideFact};

    #[test]
    fn tables_have_keys_notes_and_references() {
        let text = dbml(&hostile(&SideFact::ALL));
        for part in [
            "Table \"shop\".\"fact_order\" {\n  \"order_id\" VARCHAR [not null, note: 'the order']\n",
            "  indexes {\n    (order_id, sku) [pk]\n  }\n",
            "  \"product_id\" VARCHAR [note: 'the product\\'s other id, as the line has it']\n",
            "  \"order_id\" VARCHAR [pk, not null, note: 'the order; the key']\n",
            "  \"a\\\"b|c'd\\\\`: # x\" VARCHAR [note: 'an extra column of the source']\n",
            "Ref: \"shop\".\"fact_order\".\"sku\" > \"shop\".\"dim_product\".\"sku\"\n",
            "Ref: \"shop\".\"fact_order\".\"user_id\" <> \"shop\".\"dim_user\".\"user_id\"\n",
            "Ref: \"shop\".\"fact_order_total\".\"order_id\" < \"shop\".\"fact_order\".\"order_id\"\n",
            "  \"amount\" DECIMAL(18,4) [not null, note: 'the money that was given back, positive']\n",
            "  indexes {\n    (refund_id, order_id, sku) [unique]\n  }\n",
            "Ref: \"shop\".\"fact_refund\".\"order_id\" <> \"shop\".\"fact_order\".\"order_id\"\n",
            "Ref: \"shop\".\"fact_refund\".(order_id, sku) > \"shop\".\"fact_order\".(order_id, sku)\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert_eq!(text.matches("pk").count(), 3, "versions have no primary key: {text}");
    }
}
