//! The dictionary as a contract of the Open Data Contract Standard, version 3.1.

use super::{Cardinality, Dictionary, DocumentedColumn, DocumentedTable, Key, Nullability, yaml::Yaml};
use crate::model::ExtraType;

/// The version of the standard.
const STANDARD: &str = "v3.1.0";

/// The dictionary as a data contract.
pub fn odcs(dictionary: &Dictionary) -> String {
    let purpose = Yaml::Map(vec![("purpose", Yaml::text("Orders as a star schema: facts, and the dimensions of users and products"))]);
    let tables = dictionary.tables.iter().map(|table| object(table, dictionary)).collect();
    let contract = Yaml::Map(vec![
        ("apiVersion", Yaml::text(STANDARD)),
        ("kind", Yaml::text("DataContract")),
        ("id", Yaml::text("orders-etl")),
        ("name", Yaml::text("orders")),
        ("version", Yaml::text(env!("CARGO_PKG_VERSION"))),
        ("status", Yaml::text("active")),
        ("description", purpose),
        ("schema", Yaml::List(tables)),
    ]);
    contract.document()
}

fn object(table: &DocumentedTable, dictionary: &Dictionary) -> Yaml {
    let physical = dictionary.schema.as_deref().map_or_else(|| table.name.to_owned(), |schema| format!("{schema}.{}", table.name));
    let properties = table.columns.iter().map(|column| property(column, &table.key)).collect();
    Yaml::Map(vec![
        ("name", Yaml::text(table.name)),
        ("physicalName", Yaml::text(&physical)),
        ("physicalType", Yaml::text("table")),
        ("logicalType", Yaml::text("object")),
        ("description", Yaml::text(&table.meaning)),
        ("properties", Yaml::List(properties)),
    ])
}

fn property(column: &DocumentedColumn, key: &Key) -> Yaml {
    let mut entries = vec![
        ("name", Yaml::text(&column.name)),
        ("logicalType", Yaml::text(logical_type(column.kind))),
        ("physicalType", Yaml::text(&column.kind.to_string())),
        ("description", Yaml::text(&column.meaning)),
        ("required", Yaml::word(column.nullability == Nullability::NeverNull)),
    ];
    if let Some(place) = key.columns().iter().position(|name| *name == column.name) {
        entries.push(("primaryKey", Yaml::word(true)));
        entries.push(("primaryKeyPosition", Yaml::word(place + 1)));
    }
    if let Some(example) = &column.example {
        entries.push(("examples", Yaml::List(vec![Yaml::text(example)])));
    }
    // Only a column that is unique can be what a foreign key names.
    if let Some(reference) = column.reference.filter(|reference| reference.cardinality == Cardinality::ManyToOne) {
        let to = Yaml::text(&format!("{}.{}", reference.table, reference.column));
        entries.push(("relationships", Yaml::List(vec![Yaml::Map(vec![("to", to)])])));
    }
    Yaml::Map(entries)
}

fn logical_type(kind: ExtraType) -> &'static str {
    match kind {
        ExtraType::Text => "string",
        ExtraType::BigInt => "integer",
        ExtraType::Boolean => "boolean",
        ExtraType::Timestamp => "timestamp",
        ExtraType::Date => "date",
        ExtraType::Decimal { .. } => "number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dictionary::tests::hostile, store::places::SideFact};

    #[test]
    fn properties_say_type_key_and_relationship() {
        let text = odcs(&hostile(&SideFact::ALL));
        for part in [
            "apiVersion: \"v3.1.0\"\nkind: \"DataContract\"\n",
            "schema:\n  - name: \"fact_order\"\n    physicalName: \"shop.fact_order\"\n",
            "        physicalType: \"DECIMAL(18,4)\"\n        description: \"the price of one piece\"\n        required: true\n",
            "        required: true\n        primaryKey: true\n        primaryKeyPosition: 2\n        examples:\n          - \"MUG-01\"\n        relationships:\n          - to: \"dim_product.sku\"\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        let refunds = text.split("  - name: \"fact_refund\"\n").nth(1).unwrap().split("  - name: \"dim_user\"\n").next().unwrap();
        assert!(refunds.contains("      - name: \"sku\"\n") && !refunds.contains("primaryKey"), "a key has no NULL: {refunds}");
        assert_eq!(text.matches("relationships:").count(), 1, "versions are no target of a foreign key: {text}");
    }
}
