//! Spark SQL: tables over the files. Timestamps are `TIMESTAMP_NTZ`, so that the time zone of a session changes none.

use super::{
    DT, DdlError, Layer, Target, folder, is_fact, is_partitioned,
    quote::{hive_literal, hive_name, qualified},
    script::Script,
    sql_type,
};
use crate::{model::FileFormat, warehouse::redshift::Table};

/// The rules of the layer's CSV. A row that does not fit, or another header, is an error.
const CSV_OPTIONS: [(&str, &str); 11] = [
    ("header", "true"),
    ("enforceSchema", "false"),
    ("encoding", "UTF-8"),
    ("sep", ","),
    ("quote", "\""),
    ("escape", "\""),
    ("multiLine", "true"),
    ("lineSep", "\n"),
    ("nullValue", ""),
    ("timestampNTZFormat", "yyyy-MM-dd HH:mm:ss[.SSSSSS]"),
    ("mode", "FAILFAST"),
];

/// What Hadoop takes for a pattern in a path.
const PATTERN: [char; 7] = ['*', '?', '[', ']', '{', '}', '\\'];

pub(super) fn script(layer: &Layer, target: &Target) -> Result<String, DdlError> {
    let root = target.location.at("");
    if root.contains(PATTERN) {
        return Err(DdlError::Pattern(root));
    }
    let mut script = Script::sql();
    script.comment("Spark 3.4 or newer. TIMESTAMP_NTZ holds UTC as it stands in the files, whatever spark.sql.session.timeZone is.");
    if target.location.scheme().as_deref() == Some("s3") {
        script.comment("Apache Spark itself reads s3a://: pass it with --location. EMR, Glue and Databricks read s3:// too.");
    }
    if let Some(schema) = &target.schema {
        script.statement(&format!("CREATE DATABASE IF NOT EXISTS {}", hive_name(schema)));
    }
    for table in &layer.tables {
        script.statement(&create(table, target));
    }
    for table in layer.tables.iter().filter(|table| is_partitioned(table)) {
        if is_fact(table) {
            script.comment("After each load: new days are added, and days that are gone removed.");
        }
        let place = qualified(target.schema.as_deref(), table.name, hive_name);
        script.statement(&format!("MSCK REPAIR TABLE {place} SYNC PARTITIONS"));
    }
    script.comment("A session that was open during a load sees the new files of known days after REFRESH TABLE.");
    Ok(script.finish())
}

fn create(table: &Table, target: &Target) -> String {
    let column = |name: &str, kind: &str| format!("    {} {kind}", hive_name(name));
    let mut columns: Vec<_> =
        table.columns.iter().map(|each| column(&each.name, &sql_type(each.kind, "STRING", "TIMESTAMP_NTZ"))).collect();
    if is_partitioned(table) {
        columns.push(column(DT, "DATE"));
    }
    let mut sql = format!(
        "CREATE TABLE IF NOT EXISTS {} (\n{}\n)\n",
        qualified(target.schema.as_deref(), table.name, hive_name),
        columns.join(",\n")
    );
    match target.format_of(table) {
        FileFormat::Parquet => sql.push_str("USING parquet\n"),
        FileFormat::Csv(_) => {
            let options = CSV_OPTIONS.map(|(key, value)| format!("    {key} {}", hive_literal(value)));
            sql.push_str(&format!("USING csv\nOPTIONS (\n{}\n)\n", options.join(",\n")));
        }
    }
    if is_partitioned(table) {
        sql.push_str(&format!("PARTITIONED BY ({})\n", hive_name(DT)));
    }
    sql.push_str(&format!("LOCATION {}", hive_literal(&target.location.url_of(&folder(table)))));
    sql
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::warehouse::ddl::tests::{hostile, target};

    #[test]
    fn types_rules_and_partitions_are_said() {
        let sql = script(&hostile(), &target("/data/it's x", FileFormat::default())).unwrap();
        assert!(
            sql.contains("    `created_at` TIMESTAMP_NTZ,") && sql.contains("    `tax` DECIMAL(18,2),\n    `dt` DATE\n)\nUSING csv"),
            "{sql}"
        );
        assert!(sql.contains("    `a\"b``c'd; --\ndrop table x` STRING") && sql.contains("    lineSep '\\n'"), "{sql}");
        assert!(sql.contains("PARTITIONED BY (`dt`)\nLOCATION 'file:///data/it\\'s x/curated';"), "{sql}");
        assert!(sql.contains("MSCK REPAIR TABLE `my \"``'schema`.`fact_order` SYNC PARTITIONS;"), "{sql}");
    }

    #[test]
    fn a_path_that_is_a_pattern_is_refused() {
        for location in ["/a[x]", "/a\\x", "s3a://b/{x}"] {
            assert!(matches!(script(&hostile(), &target(location, FileFormat::Parquet)), Err(DdlError::Pattern(_))), "{location}");
        }
    }

    #[test]
    fn parquet_needs_no_rules() {
        let sql = script(&hostile(), &target("s3a://b/o", FileFormat::Parquet)).unwrap();
        assert!(sql.contains("USING parquet\nPARTITIONED BY (`dt`)\nLOCATION 's3a://b/o/curated'"), "{sql}");
        assert_eq!(sql.matches("OPTIONS").count(), 2, "dimensions are CSV: {sql}");
    }
}
