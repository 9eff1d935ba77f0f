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
