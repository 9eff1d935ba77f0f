//! `fact.time_zone`: the date of an order in a zone, beside the `dt` of UTC; filled and changed by a rewrite.

use crate::support::{Workspace, order};

const HEADER: &str = "order_id,sku,user_id,product_id,status,currency,quantity,unit_price,line_total,price_defaulted,user_country,product_name,product_category,created_at,updated_at";

/// Orders at both sides of midnight in Berlin: in winter it is 23:00 UTC, in summer 22:00.
fn orders() -> Vec<String> {
    [("A", "2026-01-31T22:59:59Z"), ("B", "2026-01-31T23:00:00Z"), ("C", "2026-07-31T22:00:00Z"), ("D", "2026-07-31T01:00:00+02:00")]
        .map(|(order_id, created_at)| order(order_id, created_at, ""))
        .to_vec()
}

/// Of each order, the folder that it lies in, and its last column.
fn dates(work: &Workspace) -> Vec<String> {
    let files = work.files("curated").into_iter();
    let rows = files.flat_map(|(name, bytes)| {
        let dt = name.split("dt=").nth(1).unwrap()[..10].to_owned();
        let text = String::from_utf8(bytes).unwrap();
        let rows: Vec<_> = text.lines().skip(1).map(|row| format!("{} {dt} {}", &row[..1], row.rsplit(',').next().unwrap())).collect();
        rows
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort();
    rows
}

const BERLIN: [&str; 4] = ["A 2026-01-31 2026-01-31", "B 2026-01-31 2026-02-01", "C 2026-07-31 2026-08-01", "D 2026-07-30 2026-07-31"];

#[test]
fn orders_have_the_date_of_the_zone_and_every_reader_knows_its_type() {
    let work = Workspace::new();
    work.write("etl.toml", "fact.time_zone = \"Europe/Berlin\"\n");
    work.write("checks/late.sql", "-- severity: warn\nSELECT order_id, local_date - dt AS days FROM fact_order WHERE local_date > dt");
    let summary = work.load(&orders(), &[]).published();
    assert_eq!(dates(&work), BERLIN);
    let late = summary["checks"].as_array().unwrap().iter().find(|check| check["name"] == "late").unwrap();
    assert_eq!(late["violations"], 3, "{late}");
    work.load(&orders(), &[]).unchanged();
    assert_eq!(work.etl(&["check"]).code, 0);
    let ddl = work.etl(&["redshift", "ddl"]).stdout;
    assert!(ddl.contains("\"local_date\" DATE"), "{ddl}");
    for (engine, column) in [("duckdb", "'local_date': 'DATE'"), ("postgres", "\"local_date\" DATE"), ("spark", "`local_date` DATE")] {
        let ddl = work.etl(&["ddl", engine]).stdout;
        assert!(ddl.contains(column), "{engine}: {ddl}");
    }
    let duckdb = duckdb::Connection::open_in_memory().unwrap();
    duckdb.execute_batch(&work.etl(&["ddl", "duckdb", "--location", work.path("output").to_str().unwrap()]).stdout).unwrap();
    let days = "SELECT count(DISTINCT local_date) FROM fact_order WHERE local_date >= DATE '2026-02-01'";
    assert_eq!(duckdb.query_row(days, [], |row| row.get::<_, i64>(0)).unwrap(), 3);
}

#[test]
fn it_stands_behind_the_fixed_columns_and_before_those_of_money_and_of_the_user() {
    let work = Workspace::new();
    let own = "[[fact.columns]]\nname = \"shipped_on\"\npath = \"shipped\"\ntype = \"date\"\n";
    work.write("etl.toml", format!("[fact]\ntime_zone = \"Asia/Tokyo\"\nmoney = \"lines\"\n{own}"));
    work.load(&[order("A", "2026-01-31T15:00:00Z", r#","shipped":"2026-02-03""#)], &[]).published();
    let text = work.read("output/curated/dt=2026-01-31/part-00000.csv");
    let mut lines = text.lines();
    let columns = "local_date,discount_total,tax_total,refunded_quantity,refunded_total,shipped_on";
    assert_eq!(lines.next(), Some(format!("{HEADER},{columns}").as_str()));
    assert!(lines.next().unwrap().ends_with(",2026-02-01,,,,,2026-02-03"), "{text}");
    work.write("etl.toml", format!("[fact]\ntime_zone = \"Asia/Tokyo\"\n{}", own.replace("shipped_on", "local_date")));
    let ended = work.etl(&["run", "--orders", "orders.ndjson", "--log-format", "text"]);
    assert!(ended.code == 2 && ended.stderr.contains("`local_date`: another column has this name"), "{}", ended.stderr);
}

#[test]
fn a_layer_without_it_or_of_another_zone_is_refused_and_rewritten() {
    let work = Workspace::new();
    work.load(&orders(), &[]).published();
    work.write("etl.toml", "fact.time_zone = \"Europe/Berlin\"\n");
    let refused = |part: &str| {
        let before = work.layer();
        let ended = work.load(&orders(), &["--log-format", "text"]);
        assert!(ended.code == 2 && ended.stderr.contains(part) && ended.stderr.contains("etl rewrite"), "{}", ended.stderr);
        assert_eq!(work.layer(), before);
    };
    refused("should be local_date");
    assert_eq!(work.etl(&["rewrite"]).code, 0);
    assert_eq!(dates(&work), BERLIN);
    work.load(&orders(), &[]).unchanged();
    work.write("etl.toml", "fact.time_zone = \"America/New_York\"\n");
    refused("`local_date` is of Europe/Berlin, and by the settings it should be of America/New_York");
    assert_eq!(work.etl(&["rewrite"]).code, 0);
    assert_eq!(dates(&work)[1..3], ["B 2026-01-31 2026-01-31", "C 2026-07-31 2026-07-31"]);
    work.load(&orders(), &[]).unchanged();
    assert_eq!(work.etl(&["check"]).code, 0);
}

#[test]
fn parquet_has_a_date() {
    let work = Workspace::new();
    work.write("etl.toml", "fact.time_zone = \"Europe/Berlin\"\n");
    work.load(&orders(), &["--file-format", "parquet"]).published();
    work.load(&orders(), &[]).unchanged();
    assert_eq!(work.etl(&["check"]).code, 0);
    let duckdb = duckdb::Connection::open_in_memory().unwrap();
    let files = work.path("output/curated/*/*.parquet");
    let dates = "SELECT DISTINCT typeof(local_date) || ' ' || local_date AS date";
    let kinds = format!("SELECT string_agg(date, ';') FROM ({dates} FROM '{}' ORDER BY date)", files.display());
    let found: String = duckdb.query_row(&kinds, [], |row| row.get(0)).unwrap();
    assert_eq!(found, "DATE 2026-01-31;DATE 2026-02-01;DATE 2026-07-31;DATE 2026-08-01");
}

#[test]
fn a_zone_that_is_none_is_a_mistake_with_its_line() {
    let work = Workspace::new();
    work.write("etl.toml", "\nfact.time_zone = \"Mars\"\n");
    let ended = work.load(&orders(), &["--log-format", "text"]);
    assert!(ended.code == 2 && ended.stderr.contains("etl.toml, line 2: `fact.time_zone`"), "{}", ended.stderr);
    assert!(ended.stderr.contains("no zone of the tz database"), "{}", ended.stderr);
}
