//! The formats of partitions: the same rows, counts and promises in each, as engines read the files.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{Workspace, order, tool};

/// A format: the end of its files, and its flags.
const FORMATS: [(&str, &[&str]); 4] = [
    ("csv", &["--file-format", "csv"]),
    ("csv.gz", &["--compression", "gzip"]),
    ("csv.zst", &["--file-format", "csv", "--compression", "zstd"]),
    ("parquet", &["--file-format", "parquet"]),
];

const EXTRA: &str = r#"
[[fact.columns]]
name = "note"
path = "note"
type = "text"
[[fact.columns]]
name = "tax"
path = "tax"
type = "decimal"
scale = 2
"#;

fn line(order_id: &str, day: u8, updated: u8, quantity: u8) -> String {
    format!(
        r#"{{"order_id":"{order_id}","created_at":"2026-01-{day:02}T10:00:00.5Z","updated_at":"2026-02-{updated:02}","user_id":"U-{order_id}","currency":"EUR","note":"a \"b\",\nc","tax":"0.19","items":[{{"sku":"S","quantity":{quantity},"price":1.5}},{{"sku":"T","quantity":1,"price":2}}]}}"#
    )
}

fn first() -> Vec<String> {
    vec![line("A", 1, 1, 1), line("B", 2, 1, 1), line("C", 3, 1, 1)]
}

/// Changes a partition, moves an order out of one, which removes that, adds one, and drops a record.
fn second() -> Vec<String> {
    vec![line("A", 1, 2, 5), line("B", 4, 2, 1), line("D", 5, 1, 1), r#"{"no":"order"}"#.into()]
}

fn workspace() -> Workspace {
    let work = Workspace::new();
    work.write("etl.toml", EXTRA);
    work
}

/// The rows of all files in `curated/`, as DuckDB reads them by their names, with the folder's day.
fn rows(work: &Workspace) -> Vec<String> {
    let duckdb = duckdb::Connection::open_in_memory().unwrap();
    let mut all = Vec::new();
    for (name, _) in work.files("curated") {
        let path = work.path("output").join(&name);
        let reader = if name.ends_with(".parquet") { "read_parquet" } else { "read_csv" };
        let options =
            if reader == "read_csv" { ", all_varchar = true, header = true, delim = ',', quote = '\"', escape = '\"'" } else { "" };
        // A timestamp as DuckDB casts it has no fraction where that is zero, and our CSV neither.
        let sql = format!(
            "SELECT CAST(COLUMNS(*) AS VARCHAR) FROM (SELECT * REPLACE (CAST(created_at AS TIMESTAMP) AS created_at, CAST(updated_at AS TIMESTAMP) AS updated_at) FROM {reader}('{}'{options}, hive_partitioning = true))",
            path.display()
        );
        let mut statement = duckdb.prepare(&sql).unwrap();
        let mut found = statement.query([]).unwrap();
        while let Some(row) = found.next().unwrap() {
            let columns = row.as_ref().column_count();
            let cells: Vec<String> =
                (0..columns).map(|column| row.get::<_, Option<String>>(column).unwrap().unwrap_or_else(|| "NULL".into())).collect();
            all.push(cells.join("|"));
        }
    }
    all.sort();
    all
}

/// The names of the files of partitions, without their ends.
fn ends(work: &Workspace) -> Vec<String> {
    work.files("curated").into_keys().map(|name| name.split_once("part-00000.").unwrap().1.to_owned()).collect()
}

fn counts(summary: &Value) -> BTreeMap<String, Value> {
    let named = ["rows_", "duplicates", "partitions_", "revenue", "records_", "lines_"];
    let fields = summary.as_object().unwrap().iter().filter(|(key, _)| named.iter().any(|name| key.starts_with(name)));
    fields.map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[test]
fn every_format_holds_the_rows_and_counts_of_csv() {
    let plain = workspace();
    let expected: Vec<_> = [first(), second()].map(|lines| (counts(&plain.load(&lines, &[]).published()), rows(&plain))).into();
    for (end, flags) in FORMATS {
        let work = workspace();
        for (lines, (counted, held)) in [first(), second()].iter().zip(&expected) {
            // The flags are needed once: the layer keeps its format.
            let flags = if work.files("curated").is_empty() { flags } else { &[] };
            assert_eq!(counts(&work.load(lines, flags).published()), *counted, "{end}");
            assert_eq!(rows(&work), *held, "{end}");
            let times = work.times();
            work.load(lines, flags).unchanged();
            assert_eq!(work.times(), times, "{end}: the same run twice touches no file");
        }
        assert!(ends(&work).iter().all(|found| found == end) && ends(&work).len() == 4, "{end}: {:?}", ends(&work));
        assert_eq!(work.etl(&["check"]).code, 0, "{end}: {}", work.etl(&["check"]).stdout);
        let explained = work.etl(&["explain", "A", "--format", "json"]);
        let explained: Value = serde_json::from_str(explained.stdout.lines().last().unwrap()).unwrap();
        assert_eq!(explained["rows"].as_array().unwrap().len(), 2, "{end}: {explained}");
        assert_eq!(explained["rows"][0]["columns"]["quantity"], "5", "{end}");
        assert!(explained["rows"][0]["file"].as_str().unwrap().ends_with(end), "{end}: {explained}");
    }
}

#[test]
fn what_a_run_replaced_is_compared_and_put_back_in_every_format() {
    for (end, flags) in FORMATS {
        let work = workspace();
        work.load(&first(), flags).published();
        let before = work.layer();
        let run = work.load(&second(), &[]).published()["run_id"].as_str().unwrap().to_owned();
        let diff: Value = serde_json::from_str(work.etl(&["diff", &run, "--json"]).stdout.lines().last().unwrap()).unwrap();
        let told = ["rows_added", "rows_removed", "rows_changed"].map(|key| diff[key].as_u64().unwrap());
        // D is new, B moves, and a line of A changes; so does the `updated_at` of its other line.
        assert_eq!(told, [2, 0, 4], "{end}: {diff}");
        assert_eq!(work.etl(&["undo", &run]).code, 0, "{end}");
        assert_eq!(work.files("curated"), before.into_iter().filter(|(name, _)| name.starts_with("curated")).collect(), "{end}");
    }
}

#[test]
fn a_layer_keeps_its_format_until_it_is_rewritten() {
    for (from, flags) in FORMATS {
        for (to, other) in FORMATS.into_iter().filter(|(to, _)| *to != from) {
            let work = workspace();
            work.load(&first(), flags).published();
            let (held, before) = (rows(&work), work.layer());
            let refused = work.load(&second(), other);
            assert_eq!(refused.code, 2, "{from} to {to}: {}", refused.stderr);
            assert!(refused.stderr.contains("etl rewrite --file-format"), "{}", refused.stderr);
            assert_eq!(work.layer(), before);
            let rewritten = work.etl(&[&["rewrite"], other].concat());
            assert_eq!(rewritten.code, 0, "{from} to {to}: {}", rewritten.stderr);
            assert!(ends(&work).iter().all(|end| end == to), "{from} to {to}: {:?}", ends(&work));
            assert_eq!(rows(&work), held, "{from} to {to}");
            assert_eq!(work.etl(&["check"]).code, 0, "{from} to {to}: {}", work.etl(&["check"]).stdout);
            work.load(&first(), other).unchanged();
            // The rewrite is a commit that can be taken back, too.
            let commits = work.files("state/commits");
            let mut commits = commits.values().map(|commit| serde_json::from_slice::<Value>(commit).unwrap());
            let commit = commits.find(|commit| commit["command"] == "rewrite").unwrap();
            assert_eq!(work.etl(&["undo", commit["run_id"].as_str().unwrap()]).code, 0, "{from} to {to}");
            assert_eq!(work.files("curated"), before.into_iter().filter(|(name, _)| name.starts_with("curated")).collect());
        }
    }
}

#[test]
fn a_file_of_another_format_that_somebody_put_there_is_found() {
    let work = workspace();
    work.load(&first(), &[]).published();
    let other = workspace();
    other.load(&first(), &["--file-format", "parquet"]).published();
    let day = "curated/dt=2026-01-01/part-00000";
    let parquet = other.files("curated")[&format!("{day}.parquet")].clone();
    work.write(&format!("output/{day}.parquet"), &parquet);
    let checked = work.etl(&["check"]);
    assert_eq!(checked.code, 4, "a COPY of the prefix would load the day twice: {}", checked.stdout);
    // In place of the file it is the partition. A run says that the formats differ, and a rewrite makes them one.
    std::fs::remove_file(work.path(&format!("output/{day}.csv"))).unwrap();
    let refused = work.load(&second(), &[]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert_eq!(work.etl(&["rewrite", "--file-format", "csv"]).code, 0);
    assert_eq!(rows(&work), rows(&other));
    work.load(&first(), &[]).unchanged();
    assert_eq!(work.etl(&["check"]).code, 0);
}

#[test]
fn the_state_is_made_again_from_files_of_any_format() {
    for (end, flags) in FORMATS {
        let work = workspace();
        work.load(&first(), flags).published();
        let held = rows(&work);
        std::fs::remove_dir_all(work.path("output/state")).unwrap();
        work.load(&first(), &[]).unchanged();
        assert_eq!((rows(&work), ends(&work).iter().all(|found| found == end)), (held, true), "{end}");
        work.load(&second(), &[]).published();
        assert_eq!(work.etl(&["check"]).code, 0, "{end}");
    }
}

#[test]
fn a_damaged_file_is_named_and_left_alone() {
    for (end, flags) in FORMATS {
        let work = workspace();
        work.load(&first(), flags).published();
        let name = format!("output/curated/dt=2026-01-01/part-00000.{end}");
        let mut bytes = std::fs::read(work.path(&name)).unwrap();
        bytes.truncate(bytes.len() - 9);
        work.write(&name, &bytes);
        let ended = work.load(&second(), &[]);
        assert_eq!(ended.code, 5, "{end}: {}", ended.stderr);
        assert!(ended.stderr.contains(&format!("part-00000.{end}")), "{}", ended.stderr);
        assert_eq!(std::fs::read(work.path(&name)).unwrap(), bytes, "{end}");
    }
}

#[test]
fn the_copy_of_redshift_says_the_format() {
    for ((end, flags), option) in
        FORMATS.into_iter().zip(["FORMAT AS CSV DELIMITER", "FORMAT AS CSV GZIP", "FORMAT AS CSV ZSTD", "FORMAT AS PARQUET"])
    {
        let work = workspace();
        work.write(
            "etl.toml",
            format!("{EXTRA}[redshift]\nurl = \"s3://bucket/etl\"\niam_role = \"arn:aws:iam::1:role/load\"\nregion = \"eu-central-1\"\n"),
        );
        work.load(&first(), flags).published();
        let sql = work.etl(&["redshift", "copy"]);
        assert_eq!(sql.code, 0, "{}", sql.stderr);
        let facts = sql.stdout.lines().find(|line| line.starts_with("COPY \"etl_stage_fact_order\"")).unwrap();
        assert!(facts.contains(option), "{end}: {facts}");
        // COPY of a columnar format takes no rule of texts, and no region.
        assert_eq!(facts.contains("IGNOREHEADER") && facts.contains("REGION"), end != "parquet", "{facts}");
        let users = sql.stdout.lines().find(|line| line.starts_with("COPY \"etl_stage_dim_user\"")).unwrap();
        assert!(users.contains("FORMAT AS CSV DELIMITER"), "{users}");
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let work = workspace();
    for (args, says) in [
        (&["--file-format", "parquet", "--compression", "gzip"][..], "Parquet compresses"),
        (&["--file-format", "orc"], "write csv or parquet"),
        (&["--compression", "lz4"], "write none, gzip or zstd"),
    ] {
        let ended = work.load(&[order("A", "2026-01-01", "")], args);
        assert_eq!(ended.code, 2, "{args:?}");
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
}

#[test]
fn other_libraries_read_the_parquet() {
    let Some(python) = tool("ETL_TEST_DATA_PYTHON", "the Parquet of partitions by pyarrow, pandas and Polars") else { return };
    let work = workspace();
    work.load(&first(), &["--file-format", "parquet"]).published();
    let script = r#"
import sys, pyarrow.dataset as ds, pyarrow.parquet as pq, polars as pl, pandas as pd, glob, decimal
root = sys.argv[1]
table = ds.dataset(root, format="parquet", partitioning="hive").to_table().sort_by([("order_id", "ascending"), ("sku", "ascending")])
print(table.schema.field("unit_price").type, table.schema.field("created_at").type, table.schema.field("quantity").type, table.schema.field("tax").type)
print(table.column("line_total").to_pylist()[0], sum(table.column("line_total").to_pylist()))
frame = pl.read_parquet(root + "/**/*.parquet", hive_partitioning=True)
print(frame.height, frame["line_total"].sum())
print(len(pd.concat(pd.read_parquet(file) for file in glob.glob(root + "/*/*.parquet"))))
meta = pq.read_metadata(sorted(glob.glob(root + "/*/*.parquet"))[0])
column = meta.row_group(0).column(0)
print(column.compression, column.statistics.min, column.statistics.max)
"#;
    let output = std::process::Command::new(python).args(["-c", script]).arg(work.path("output/curated")).output().unwrap();
    let found = String::from_utf8(output.stdout).unwrap();
    let expected = "decimal128(18, 4) timestamp[us] int64 decimal128(18, 2)\n1.5000 10.5000\n6 10.5000\n6\nZSTD A A\n";
    assert_eq!(found, expected, "{}", String::from_utf8_lossy(&output.stderr));
}
