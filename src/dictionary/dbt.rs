//! The dictionary as the `sources.yml` of a dbt project (1.10.5 or newer), with the tests that dbt itself brings.

use super::{Dictionary, DocumentedColumn, DocumentedTable, Key, Nullability, yaml::Yaml};

/// The name of the source: in models, `source('etl', 'fact_order')`. It is also the schema, where none is named.
const SOURCE: &str = "etl";

/// The dictionary as a `sources.yml`.
pub fn dbt(dictionary: &Dictionary) -> String {
    let mut source = vec![("name", Yaml::text(SOURCE))];
    source.extend(dictionary.schema.as_deref().map(|schema| ("schema", Yaml::text(schema))));
    source.push(("description", Yaml::text("The orders that etl loads")));
    source.push(("tables", Yaml::List(dictionary.tables.iter().map(described).collect())));
    Yaml::Map(vec![("version", Yaml::word(2)), ("sources", Yaml::List(vec![Yaml::Map(source)]))]).document()
}

fn described(table: &DocumentedTable) -> Yaml {
    let mut entries = vec![("name", Yaml::text(table.name)), ("description", Yaml::text(&table.meaning))];
    // Without packages, dbt tests one column or one expression: the separator is a character that ids do not hold.
    let pair = match &table.key {
        Key::Pair(first, second) => Some(format!("{first} || chr(31) || {second}")),
        Key::LastNullable([others @ .., last]) => {
            let others = others.iter().map(|column| format!("{column} || chr(31) || ")).collect::<String>();
            Some(format!("{others}coalesce({last}, '')"))
        }
        Key::Column(_) | Key::Current(_) | Key::LastNullable([]) => None,
    };
    if let Some(pair) = pair {
        let pair = Yaml::Map(vec![("column_name", Yaml::text(&pair))]);
        entries.push(("data_tests", Yaml::List(vec![Yaml::Map(vec![("unique", pair)])])));
    }
    let columns = table.columns.iter().map(|column| described_column(column, &table.key));
    entries.push(("columns", Yaml::List(columns.collect())));
    Yaml::Map(entries)
}

fn described_column(column: &DocumentedColumn, key: &Key) -> Yaml {
    let mut entries = vec![
        ("name", Yaml::text(&column.name)),
        ("description", Yaml::text(&column.meaning)),
        ("data_type", Yaml::text(&column.kind.to_string())),
    ];
    let mut tests = Vec::new();
    match key {
        Key::Column(name) if *name == column.name => tests.push(Yaml::word("unique")),
        Key::Current(name) if *name == column.name => {
            let current = Yaml::Map(vec![("where", Yaml::text("is_current"))]);
            tests.push(Yaml::Map(vec![("unique", Yaml::Map(vec![("config", current)]))]));
        }
        Key::Column(_) | Key::Current(_) | Key::Pair(..) | Key::LastNullable(_) => {}
    }
    if column.nullability == Nullability::NeverNull {
        tests.push(Yaml::word("not_null"));
    }
    if let Some(reference) = column.reference {
        let place = Yaml::text(&format!("source('{SOURCE}', '{}')", reference.table));
        let arguments = Yaml::Map(vec![("to", place), ("field", Yaml::text(reference.column))]);
        tests.push(Yaml::Map(vec![("relationships", Yaml::Map(vec![("arguments", arguments)]))]));
    }
    if !tests.is_empty() {
        entries.push(("data_tests", Yaml::List(tests)));
    }
    Yaml::Map(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dictionary::tests::hostile, store::places::SideFact};

    #[test]
    fn columns_have_the_tests_that_hold() {
        let text = dbt(&hostile(&SideFact::ALL));
        for part in [
            "version: 2\nsources:\n  - name: \"etl\"\n    schema: \"shop\"\n",
            "        data_tests:\n          - unique:\n              column_name: \"order_id || chr(31) || sku\"\n",
            "        data_tests:\n          - unique:\n              column_name: \"refund_id || chr(31) || order_id || chr(31) || coalesce(sku, '')\"\n",
            "            data_tests:\n              - not_null\n              - relationships:\n                  arguments:\n                    to: \"source('etl', 'dim_product')\"\n                    field: \"sku\"\n",
            "            data_tests:\n              - unique:\n                  config:\n                    where: \"is_current\"\n              - not_null\n",
            "          - name: \"a\\\"b|c'd\\\\`: #\\nx\"\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert_eq!(text.matches("relationships:").count(), 4, "{text}");
    }
}
