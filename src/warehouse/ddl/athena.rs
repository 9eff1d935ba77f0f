//! Athena: external tables. Over CSV they hold texts, and views give them their types.

use super::{
    DT, DdlError, Engine, Layer, Target, hive,
    hive::External,
    is_partitioned,
    quote::{hive_literal, hive_name, literal, name, qualified},
    script::Script,
    sql_type,
};
use crate::{
    model::FileFormat,
    warehouse::redshift::{Column, ColumnKind, Table},
};

/// What the error says about a row that a line break has broken.
const BROKEN: &str = "a row of this file is broken: a text has a line break";

pub(super) fn script(layer: &Layer, target: &Target) -> Result<String, DdlError> {
    let tables = hive::tables(Engine::Athena, layer, target)?;
    let mut script = Script::sql();
    script.comment("Athena runs one statement at a time.");
    script.comment(&hive::range_note(layer));
    script.comment(hive::CSV_NOTES);
    if let Some(schema) = &target.schema {
        script.statement(&format!("CREATE DATABASE IF NOT EXISTS {}", hive_name(schema)));
    }
    for table in &tables {
        script.statement(&create(table, target));
    }
    let of_csv = layer.tables.iter().zip(&tables).filter(|(_, external)| external.format != FileFormat::Parquet);
    for (table, external) in of_csv {
        script.statement(&view(table, external, target));
    }
    Ok(script.finish())
}

fn create(table: &External, target: &Target) -> String {
    let columns: Vec<_> = table.columns.iter().map(|(column, kind)| format!("    {} {kind}", hive_name(column))).collect();
    let mut sql = format!(
        "CREATE EXTERNAL TABLE IF NOT EXISTS {} (\n{}\n)\n",
        qualified(target.schema.as_deref(), &table.name, hive_name),
        columns.join(",\n")
    );
    if table.is_partitioned {
        sql.push_str(&format!("PARTITIONED BY ({} date)\n", hive_name(DT)));
    }
    let reader = hive::reader(table.format);
    match table.format {
        FileFormat::Parquet => sql.push_str("STORED AS PARQUET\n"),
        FileFormat::Csv(_) => {
            let properties: Vec<_> =
                reader.serde_properties.iter().map(|(key, value)| format!("'{key}' = {}", serde_value(value))).collect();
            sql.push_str(&format!(
                "ROW FORMAT SERDE '{}'\nWITH SERDEPROPERTIES ({})\nSTORED AS TEXTFILE\n",
                reader.serde,
                properties.join(", ")
            ));
        }
    }
    let properties: Vec<_> = table.properties.iter().map(|(key, value)| format!("    '{key}' = {}", hive_literal(value))).collect();
    sql.push_str(&format!("LOCATION {}\nTBLPROPERTIES (\n{}\n)", hive_literal(&table.location), properties.join(",\n")));
    sql
}

/// A property of a SerDe: one character, which may be a control character.
fn serde_value(value: &str) -> String {
    if value == "\u{1}" { "'\\u0001'".to_owned() } else { hive_literal(value) }
}

fn view(table: &Table, external: &External, target: &Target) -> String {
    let mut columns: Vec<_> = table.columns.iter().map(|column| format!("    {} AS {}", typed(column), name(&column.name))).collect();
    if is_partitioned(table) {
        columns.push(format!("    {}", name(DT)));
    }
    let place = |table: &str| qualified(target.schema.as_deref(), table, name);
    let mut sql =
        format!("CREATE OR REPLACE VIEW {} AS\nSELECT\n{}\nFROM {}", place(table.name), columns.join(",\n"), place(&external.name));
    if let Some(column) = witness(table) {
        // A half of a row lacks this column. The cast of this text fails, and so does the query.
        let value = format!("CAST(coalesce(nullif({}, ''), {}) AS {})", name(&column.name), literal(BROKEN), athena_type(column.kind));
        sql.push_str(&format!("\nWHERE {value} IS NOT NULL"));
    }
    sql
}

/// The last column that every whole row has, and whose text can't be any other.
fn witness(table: &Table) -> Option<&Column> {
    table.columns.iter().rev().find(|column| column.is_required && !matches!(column.kind, ColumnKind::Text { .. }))
}

/// A column of text, as its type. NULL is the empty text.
fn typed(column: &Column) -> String {
    let value = format!("nullif({}, '')", name(&column.name));
    match column.kind {
        ColumnKind::Text { .. } => value,
        kind => format!("CAST({value} AS {})", athena_type(kind)),
    }
}

fn athena_type(kind: ColumnKind) -> String {
    sql_type(kind, "varchar", "timestamp(6)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::warehouse::ddl::tests::{hostile, target};

    #[test]
    fn csv_is_text_beneath_typed_views() {
        let sql = script(&hostile(), &target("s3://b/o'x", FileFormat::default())).unwrap();
        assert!(sql.contains("CREATE EXTERNAL TABLE IF NOT EXISTS `my \"``'schema`.`fact_order_csv` (\n    `order_id` string,"), "{sql}");
        assert!(sql.contains("    `a\"b``c'd; --\ndrop table x` string"), "{sql}");
        assert!(sql.contains("PARTITIONED BY (`dt` date)") && sql.contains("'escapeChar' = '\\u0001'"), "{sql}");
        assert!(sql.contains("'storage.location.template' = 's3://b/o\\'x/curated/dt=${dt}/'"), "{sql}");
        assert!(sql.contains("    CAST(nullif(\"created_at\", '') AS timestamp(6)) AS \"created_at\""), "{sql}");
        assert!(
            sql.contains(
                "    CAST(nullif(\"tax\", '') AS DECIMAL(18,2)) AS \"tax\",\n    \"dt\"\nFROM \"my \"\"`'schema\".\"fact_order_csv\""
            ),
            "{sql}"
        );
        assert!(sql.contains("WHERE CAST(coalesce(nullif(\"created_at\", ''), 'a row"), "{sql}");
    }

    #[test]
    fn parquet_has_its_types() {
        let sql = script(&hostile(), &target("s3://b/o", FileFormat::Parquet)).unwrap();
        assert!(sql.contains("`fact_order` (") && sql.contains("STORED AS PARQUET\nLOCATION 's3://b/o/curated/'"), "{sql}");
        assert!(sql.contains("`tax` decimal(18,2)"), "{sql}");
        assert_eq!(sql.matches("CREATE OR REPLACE VIEW").count(), 2, "dimensions are CSV: {sql}");
    }
}
