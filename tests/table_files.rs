//! Files of users, written by pyarrow, pandas, Polars and Spark. Every type is read, or its column is left out with a warning.

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

use crate::support::{Workspace, order, tool};

/// Lets a library write a file of users, loads the file, and compares the user U1 with the values that the script expects.
#[track_caller]
fn loads_file_of(writer: &str) {
    let Some(python) = tool("ETL_TEST_DATA_PYTHON", "files of users as pyarrow, pandas, Polars and Spark write them") else { return };
    let work = Workspace::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/table_files.py");
    let written = Command::new(python).args([script, writer]).arg(work.path("")).output().unwrap();
    let said = String::from_utf8(written.stdout).unwrap();
    let said: Value =
        serde_json::from_str(said.lines().last().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&written.stderr)))).unwrap();
    let name = said["name"].as_str().unwrap();
    let expected: BTreeMap<String, Option<String>> = serde_json::from_value(said["expected"].clone()).unwrap();
    let load = || work.load(&[order("A", "2026-01-01", r#","user_id":"U1""#)], &["--users", name, "--log-format", "text"]);
    let ended = load();
    ended.published();
    load().unchanged();
    let mut dimension = csv::Reader::from_reader(work.read("output/dims/dim_user/dim_user.csv").into_bytes().leak() as &[u8]);
    let header = dimension.headers().unwrap().clone();
    let row = dimension.records().map(Result::unwrap).find(|row| row.get(0) == Some("U1")).unwrap();
    let found: BTreeMap<&str, &str> = header.iter().zip(&row).collect();
    for (column, text) in &expected {
        if text.as_deref() == Some("refused") {
            assert!(!found.contains_key(column.as_str()), "{column}");
            assert!(ended.stderr.contains(&format!("column=\"{column}\"")), "{column}: {}", ended.stderr);
            continue;
        }
        assert_eq!(found.get(column.as_str()).copied(), Some(text.as_deref().unwrap_or_default()), "{writer}: {column}");
    }
    let refused = expected.values().filter(|text| text.as_deref() == Some("refused")).count();
    assert_eq!(ended.stderr.matches("can't be read and is left out").count(), refused, "{}", ended.stderr);
}

#[test]
fn pyarrow_writes_every_type() {
    loads_file_of("pyarrow");
}

#[test]
fn pandas_writes_categoricals_gaps_and_its_index() {
    loads_file_of("pandas");
}

#[test]
fn polars_writes_categoricals_enums_arrays_and_structs() {
    loads_file_of("polars");
}

#[test]
fn spark_writes_a_folder_with_maps_int96_and_legacy_decimals() {
    if tool("ETL_TEST_JAVA", "files of users as Spark writes them").is_none() {
        return;
    }
    loads_file_of("spark");
}

/// Writes a file as DuckDB does, without the types of Arrow.
fn write_by_duckdb(work: &Workspace, name: &str, rows: &str) {
    let path = work.path(name);
    let duckdb = duckdb::Connection::open_in_memory().unwrap();
    duckdb.execute_batch(&format!("COPY ({rows}) TO '{}' (FORMAT parquet)", path.display())).unwrap();
}

#[test]
fn duckdb_writes_uuids_and_no_interval_loses_its_months() {
    let work = Workspace::new();
    let (text, ordinary) = ("41424344-4546-4748-494a-4b4c4d4e4f50", "de5908b5-8a85-478f-874e-6330244ad38e");
    let rows = format!(
        "SELECT '{ordinary}'::UUID AS order_id, '{text}'::UUID AS user_id, DATE '2026-01-31' AS created_at, 'A' AS sku, \
         1.5::DECIMAL(9, 2) AS price, INTERVAL '1 month 2 day 3 second' AS status"
    );
    write_by_duckdb(&work, "o.parquet", &rows);
    let ended = work.etl(&["run", "--orders", "o.parquet", "--log-format", "text"]);
    ended.published();
    let found = work.query("SELECT order_id, user_id, status FROM fact_order");
    assert!(found.len() == 1 && found[0].starts_with(&format!("{ordinary}|{text}|")) && !found[0].contains("day"), "{found:?}");
    assert!(ended.stderr.contains("column=\"status\"") && ended.stderr.contains("is left out"), "{}", ended.stderr);
}

#[test]
fn a_price_that_is_not_a_number_is_missing_and_an_infinite_one_invalid() {
    let work = Workspace::new();
    let prices = ["nan", "infinity", "-infinity", "2.5"];
    let row = |(number, price): (usize, &str)| {
        format!("SELECT 'O{number}' AS order_id, DATE '2026-01-31' AS created_at, 'A' AS sku, '{price}'::DOUBLE AS price")
    };
    let rows = prices.into_iter().enumerate().map(row).collect::<Vec<_>>().join(" UNION ALL ");
    write_by_duckdb(&work, "o.parquet", &format!("{rows} ORDER BY order_id"));
    let summary = work.etl(&["run", "--orders", "o.parquet"]).published();
    assert_eq!(summary["dropped"], serde_json::json!({"invalid_price": 2, "no_valid_items": 2}));
    assert_eq!(work.query("SELECT order_id FROM fact_order ORDER BY ALL"), ["O0", "O3"]);
}
