//! PostgreSQL: tables, and the statements for `psql` that load them. The load is commented out.

use super::{
    DT, DdlError, Layer, LayerLocation, Target, dimension_file, is_fact, is_partitioned, partition_file,
    quote::{literal, name, names, qualified},
    script::Script,
    side_fact, sql_type,
};
use crate::{
    model::{Compression, Dt, FileFormat, shell_quoted},
    store::places::SideFact,
    warehouse::redshift::{Column, Table},
};

/// The bytes of a name. PostgreSQL cuts longer ones.
const LONGEST_NAME: usize = 63;

/// What each line of the load begins with.
const LOAD: &str = "--load ";

pub(super) fn script(layer: &Layer, target: &Target) -> Result<String, DdlError> {
    if let Some(schema) = target.schema.as_deref().filter(|schema| schema.len() > LONGEST_NAME) {
        return Err(DdlError::Schema(schema.to_owned()));
    }
    let mut columns = layer.tables.iter().flat_map(|table| &table.columns);
    if let Some(column) = columns.find(|column| column.name.len() > LONGEST_NAME) {
        return Err(DdlError::Column { name: column.name.chars().take(40).collect(), most: LONGEST_NAME });
    }
    let mut script = Script::sql();
    if let Some(schema) = &target.schema {
        script.statement(&format!("CREATE SCHEMA IF NOT EXISTS {}", name(schema)));
    }
    for table in &layer.tables {
        script.statement(&create(table, target));
        if is_partitioned(table) {
            let index = name(&format!("{}_{DT}", table.name));
            script.statement(&format!("CREATE INDEX IF NOT EXISTS {index} ON {} ({})", place(table, target), name(DT)));
        }
    }
    load(layer, target, &mut script);
    Ok(script.finish())
}

fn place(table: &Table, target: &Target) -> String {
    qualified(target.schema.as_deref(), table.name, name)
}

fn create(table: &Table, target: &Target) -> String {
    let line = |column: &Column| {
        let not_null = if column.is_required { " NOT NULL" } else { "" };
        format!("    {} {}{not_null}", name(&column.name), sql_type(column.kind, "TEXT", "TIMESTAMP"))
    };
    let mut lines: Vec<_> = table.columns.iter().map(line).collect();
    if is_partitioned(table) {
        lines.push(format!("    {} DATE GENERATED ALWAYS AS (\"created_at\"::date) STORED", name(DT)));
    }
    if let Some(key) = primary_key(table) {
        lines.push(format!("    PRIMARY KEY ({key})"));
    }
    format!("CREATE TABLE IF NOT EXISTS {} (\n{}\n)", place(table, target), lines.join(",\n"))
}

/// The key of a table; `None` where a member has several rows, or where a column of the key may be NULL.
fn primary_key(table: &Table) -> Option<String> {
    if is_fact(table) {
        return Some("\"order_id\", \"sku\"".to_owned());
    }
    let has_key = !is_versioned(table) && side_fact(table) != Some(SideFact::Refunds);
    names(table).into_iter().next().filter(|_| has_key)
}

/// A dimension that keeps versions has more rows than one for a key.
fn is_versioned(table: &Table) -> bool {
    table.columns.iter().any(|column| column.name == "is_current")
}

/// The load replaces the content of all tables, in one transaction.
fn load(layer: &Layer, target: &Target, script: &mut Script) {
    if target.format == FileFormat::Parquet {
        script.comment("PostgreSQL reads no Parquet. DuckDB loads it, from the views that `etl ddl duckdb` prints:");
        script.comment("ATTACH '' AS pg (TYPE postgres); INSERT INTO pg.fact_order BY NAME SELECT * EXCLUDE (dt) FROM fact_order;");
        return;
    }
    let access = match target.location.scheme().as_deref() {
        None => Access::File,
        Some("s3") => Access::Command("aws s3 cp --only-show-errors", " -"),
        Some("gs") => Access::Command("gcloud storage cat", ""),
        Some(_) => {
            script.comment("To load: copy the output to a folder, and print this again with --location FOLDER.");
            return;
        }
    };
    script.comment(&format!("The load:  etl ddl postgres ... | sed 's/^{LOAD}//' | psql -v ON_ERROR_STOP=1 ..."));
    let mut line = |text: &str| script.line(&format!("{LOAD}{text}"));
    line("BEGIN;");
    let all: Vec<_> = layer.tables.iter().map(|table| place(table, target)).collect();
    line(&format!("TRUNCATE {};", all.join(", ")));
    for table in &layer.tables {
        let file = |dt: &Dt| partition_file(table, &dt.to_string(), target.format_of(table));
        let files: Vec<_> = match layer.days(table) {
            Some(days) => days.iter().map(file).collect(),
            None if layer.partitions.is_empty() => Vec::new(),
            None => vec![dimension_file(table)],
        };
        for file in files {
            let from = access.source(&target.location, &file, target.format_of(table).compression());
            line(&format!("\\copy {} FROM {from} WITH (FORMAT csv, HEADER, ENCODING 'UTF8')", place(table, target)));
        }
    }
    line("COMMIT;");
}

/// How `psql` gets at a file.
#[derive(Clone, Copy)]
enum Access {
    /// It reads it.
    File,
    /// A command writes it to stdout: what stands before and behind its URL.
    Command(&'static str, &'static str),
}

impl Access {
    fn source(self, location: &LayerLocation, file: &str, compression: Compression) -> String {
        let path = location.at(file);
        let unpack = match compression {
            Compression::None => None,
            Compression::Gzip => Some("gzip -dc"),
            Compression::Zstd => Some("zstd -dc"),
        };
        let command = match (self, unpack) {
            (Access::File, None) => return literal(&path),
            (Access::File, Some(unpack)) => format!("{unpack} {}", shell_quoted(&path)),
            (Access::Command(before, behind), None) => format!("{before} {}{behind}", shell_quoted(&path)),
            (Access::Command(before, behind), Some(unpack)) => format!("{before} {}{behind} | {unpack}", shell_quoted(&path)),
        };
        format!("PROGRAM {}", literal(&command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::FactSchema,
        warehouse::{
            ddl::tests::{hostile, target},
            redshift::DimensionHeaders,
        },
    };

    #[test]
    fn tables_have_keys_and_every_file_is_loaded() {
        let sql = script(&hostile(), &target("/data/it's", FileFormat::default())).unwrap();
        assert!(
            sql.contains("\"dt\" DATE GENERATED ALWAYS AS (\"created_at\"::date) STORED,\n    PRIMARY KEY (\"order_id\", \"sku\")"),
            "{sql}"
        );
        assert!(sql.contains("PRIMARY KEY (\"sku\")") && !sql.contains("PRIMARY KEY (\"user_id\")"), "versions: {sql}");
        assert_eq!(sql.matches("--load \\copy").count(), 4, "{sql}");
        assert!(sql.contains("FROM '/data/it''s/curated/dt=2026-03-29/part-00000.csv' WITH"), "{sql}");
    }

    #[test]
    fn a_command_brings_what_is_packed_or_far_away() {
        let copy = |location: &str, compression| {
            let sql = script(&hostile(), &target(location, FileFormat::Csv(compression))).unwrap();
            sql.lines().find(|line| line.contains("\\copy") && line.contains("curated")).unwrap_or_default().to_owned()
        };
        assert!(copy("/a'b", Compression::Gzip).contains("FROM PROGRAM 'gzip -dc ''/a''\\''''b/curated/"));
        assert!(
            copy("s3://b", Compression::Zstd)
                .contains("PROGRAM 'aws s3 cp --only-show-errors ''s3://b/curated/dt=2026-01-02/part-00000.csv.zst'' - | zstd -dc'")
        );
        assert_eq!(copy("az://b", Compression::None), "");
        assert!(!script(&hostile(), &target("/a", FileFormat::Parquet)).unwrap().contains("\\copy"));
    }

    #[test]
    fn a_name_that_would_be_cut_is_refused() {
        let headers = DimensionHeaders { users: Some(vec!["user_id".into(), "x".repeat(64)]), products: None };
        let layer = Layer::new(&FactSchema::default(), &headers, std::collections::BTreeSet::new(), "2026-01-01".parse().unwrap()).unwrap();
        assert!(matches!(script(&layer, &target("/a", FileFormat::default())), Err(DdlError::Column { most: 63, .. })));
    }
}
