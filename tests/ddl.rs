//! What `etl ddl` prints is run where that is possible: every value of the layer comes back, and a filter on `dt` prunes.

use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::support::{Workspace, postgres::Postgres, tool};

/// A row as texts; NULL is `None`.
type Row = Vec<Option<String>>;

const DAYS: [&str; 3] = ["2026-01-01", "2026-01-02", "2026-03-08"];

/// Texts that a careless reader of CSV changes.
const TEXTS: [&str; 18] = [
    "a,b",
    "say \"hi\"",
    "\"",
    "\"\"",
    "\\",
    "a\\",
    "\\\"",
    "\\n",
    "it's",
    "#x",
    "ends\"",
    "\"starts",
    "NULL",
    "Ünïcode",
    "`b`",
    "${dt}",
    "-- x; DROP TABLE y",
    "a\tb",
];
/// Texts that no SerDe of Athena reads.
const LINE_BREAKS: [&str; 3] = ["line\nbreak", "cr\rlf", "crlf\r\nx"];

const EXTRA: &str = r#"
[[fact.columns]]
name = "channel"
path = "channel"
[[fact.columns]]
name = "tax"
path = "tax"
type = "decimal"
scale = 2
[[fact.columns]]
name = "seen"
path = "seen"
type = "timestamp"
[[fact.columns]]
name = "clicks"
path = "clicks"
type = "bigint"
[[fact.columns]]
name = "gift"
path = "gift"
type = "boolean"
"#;

/// A layer with extra columns, in this folder.
fn layer(output: &str, texts: &[&str]) -> Workspace {
    let work = Workspace::new();
    work.write("etl.toml", format!("users = \"users.csv\"\noutput = \"{output}\"\n{EXTRA}"));
    work.write("users.csv", "user_id,name,country,Loyalty Class,\"a\"\"b`c'd\"\nu1,\"Ann, \"\"A\"\"\",DE,gold,x\nu2,,,,\n");
    let mut lines = Vec::new();
    for (day, (number, text)) in DAYS.iter().flat_map(|day| texts.iter().enumerate().map(move |text| (day, text))) {
        let fraction = if number % 2 == 0 { ".123456" } else { "" };
        // 02:30 does not exist on 8 March 2026 in New York.
        let mut order = json!({
            "order_id": format!("{day}-{number:02}"), "created_at": format!("{day}T02:30:{number:02}{fraction}Z"), "status": text,
            "currency": "EUR", "channel": text, "items": [{"sku": "S,1", "quantity": 2 - i64::try_from(number).unwrap(), "price": "1.2345"}],
        });
        if number % 3 == 0 {
            let more = json!({"user_id": "u1", "tax": "0.19", "seen": "1969-12-31T23:59:59.999999Z", "clicks": i64::MAX, "gift": false});
            order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        }
        lines.push(order.to_string());
    }
    work.load(&lines, &[]).published();
    work
}

/// The rows of a file, as a reader of RFC 4180 sees them.
fn rows_of(path: &Path) -> Vec<Row> {
    let mut reader = csv::Reader::from_path(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let text = |field: &str| (!field.is_empty()).then(|| field.to_owned());
    reader.records().map(|row| row.unwrap().iter().map(text).collect()).collect()
}

/// The rows of the facts with their day, sorted.
fn facts_of(output: &Path) -> Vec<Row> {
    let mut facts = Vec::new();
    for day in DAYS {
        let rows = rows_of(&output.join(format!("curated/dt={day}/part-00000.csv")));
        facts.extend(rows.into_iter().map(|row| [row, vec![Some(day.to_owned())]].concat()));
    }
    facts.sort();
    assert!(facts.len() >= DAYS.len() * TEXTS.len());
    facts
}

fn users_of(output: &Path) -> Vec<Row> {
    rows_of(&output.join("dims/dim_user/dim_user.csv"))
}

/// The rows of a query in DuckDB, as texts.
fn query(duckdb: &duckdb::Connection, sql: &str) -> Result<Vec<Row>, String> {
    let read = || {
        let mut statement = duckdb.prepare(&format!("SELECT CAST(COLUMNS(*) AS VARCHAR) FROM ({sql}) ORDER BY 1"))?;
        let mut rows = statement.query([])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            let columns = row.as_ref().column_count();
            all.push((0..columns).map(|column| row.get::<_, Option<String>>(column)).collect::<Result<Row, _>>()?);
        }
        Ok(all)
    };
    read().map_err(|error: duckdb::Error| error.to_string())
}

#[track_caller]
fn ddl(work: &Workspace, args: &[&str]) -> String {
    let ended = work.etl(&[&["ddl"], args].concat());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.stdout
}

/// A folder whose name is a pattern, a partition and a quotation.
const HOSTILE: &str = "dt=2020-01-01/order_id=1/it's [x] 100%";

#[test]
fn json_is_one_line_with_the_statements() {
    let work = layer("output", &TEXTS);
    let (sql, line) = (ddl(&work, &["duckdb"]), ddl(&work, &["duckdb", "--json"]));
    let result: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!((result["sql"].as_str(), line.lines().count()), (Some(sql.as_str()), 1));
}

#[test]
fn duckdb_reads_every_value_and_prunes_by_day() {
    let work = layer(HOSTILE, &[&TEXTS[..], &LINE_BREAKS[..]].concat());
    let output = work.path(HOSTILE);
    let duckdb = duckdb::Connection::open_in_memory().unwrap();
    let sql = ddl(&work, &["duckdb", "--schema", "my \"schema"]);
    for _ in 0..2 {
        duckdb.execute_batch(&sql).unwrap();
    }
    assert_eq!(query(&duckdb, "SELECT * FROM \"my \"\"schema\".fact_order").unwrap(), facts_of(&output));
    assert_eq!(query(&duckdb, "SELECT * FROM \"my \"\"schema\".dim_user").unwrap(), users_of(&output));
    let types = query(&duckdb, "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'fact_order'").unwrap();
    let types: BTreeMap<_, _> = types.into_iter().map(|row| (row[0].clone().unwrap(), row[1].clone().unwrap())).collect();
    for (column, kind) in
        [("dt", "DATE"), ("line_total", "DECIMAL(18,4)"), ("tax", "DECIMAL(18,2)"), ("seen", "TIMESTAMP"), ("gift", "BOOLEAN")]
    {
        assert_eq!(types[column], kind, "{column}");
    }
    let mut explained = duckdb
        .prepare("EXPLAIN ANALYZE SELECT sum(line_total) FROM \"my \"\"schema\".fact_order WHERE dt BETWEEN DATE '2026-01-02' AND DATE '2026-02-01'")
        .unwrap();
    let mut rows = explained.query([]).unwrap();
    let plan: String = rows.next().unwrap().unwrap().get(1).unwrap();
    assert!(plan.contains("Total Files Read: 1"), "{plan}");
}

#[test]
fn duckdb_reads_packed_csv_and_parquet_at_another_location() {
    let work = layer("output", &[&TEXTS[..], &LINE_BREAKS[..]].concat());
    let duckdb = duckdb::Connection::open_in_memory().unwrap();
    duckdb.execute_batch(&ddl(&work, &["duckdb"])).unwrap();
    for (format, compression, ending, options) in [
        ("csv", "gzip", "csv.gz", "FORMAT csv, HEADER, COMPRESSION gzip"),
        ("csv", "zstd", "csv.zst", "FORMAT csv, HEADER, COMPRESSION zstd"),
        ("parquet", "zstd", "parquet", "FORMAT parquet, COMPRESSION zstd"),
    ] {
        let copy = work.path(ending);
        for day in DAYS {
            let folder = copy.join(format!("curated/dt={day}"));
            std::fs::create_dir_all(&folder).unwrap();
            let file = folder.join(format!("part-00000.{ending}"));
            let sql = format!("COPY (SELECT * EXCLUDE dt FROM fact_order WHERE dt = '{day}') TO '{}' ({options})", file.display());
            duckdb.execute_batch(&sql).unwrap();
        }
        for dimension in ["dim_user", "dim_product"] {
            let folder = copy.join("dims").join(dimension);
            std::fs::create_dir_all(&folder).unwrap();
            let file = format!("{dimension}.csv");
            std::fs::copy(work.path("output/dims").join(dimension).join(&file), folder.join(&file)).unwrap();
        }
        let location = format!("file://{}", copy.display());
        let packed: &[&str] = if format == "csv" { &["--compression", compression] } else { &[] };
        let flags = ["duckdb", "--location", &location, "--file-format", format, "--schema", "copy"];
        let sql = ddl(&work, &[&flags[..], packed].concat());
        duckdb.execute_batch(&sql).unwrap();
        assert_eq!(query(&duckdb, "SELECT * FROM copy.fact_order").unwrap(), facts_of(&work.path("output")), "{ending}");
        assert_eq!(query(&duckdb, "SELECT * FROM copy.dim_user").unwrap(), users_of(&work.path("output")), "{ending}");
    }
}

/// The views that are printed for Athena, over tables of texts as its SerDe reads them: empty where there is NULL.
fn athena_views(work: &Workspace) -> duckdb::Connection {
    let duckdb = duckdb::Connection::open_in_memory().unwrap();
    let output = work.path("output");
    let read = "all_varchar = true, header = true, delim = ',', quote = '\"', escape = '\"', nullstr = 'no text', new_line = '\\n'";
    for (table, files, hive) in [
        ("fact_order_csv", "curated/*/*.csv", "hive_partitioning = true, hive_types = {'dt': DATE}"),
        ("dim_user_csv", "dims/dim_user/*.csv", "hive_partitioning = false"),
        ("dim_product_csv", "dims/dim_product/*.csv", "hive_partitioning = false"),
    ] {
        let files = output.join(files);
        duckdb.execute_batch(&format!("CREATE TABLE {table} AS FROM read_csv('{}', {read}, {hive})", files.display())).unwrap();
    }
    let sql = ddl(work, &["athena", "--location", "s3://bucket/out"]);
    for view in sql.split(";\n").filter(|statement| statement.starts_with("CREATE OR REPLACE VIEW")) {
        duckdb.execute_batch(view).unwrap();
    }
    duckdb
}

#[test]
fn the_views_of_athena_give_texts_their_types_and_refuse_half_a_row() {
    let work = layer("output", &TEXTS);
    let duckdb = athena_views(&work);
    assert_eq!(query(&duckdb, "SELECT * FROM fact_order").unwrap(), facts_of(&work.path("output")));
    assert_eq!(query(&duckdb, "SELECT * FROM dim_user").unwrap(), users_of(&work.path("output")));
    // The first half of a row that a line break has cut.
    duckdb.execute_batch("INSERT INTO fact_order_csv (order_id, sku, dt) VALUES ('A', 'S', DATE '2026-01-01')").unwrap();
    let error = query(&duckdb, "SELECT count(*) FROM fact_order").unwrap_err();
    assert!(error.contains("a text has a line break"), "{error}");
}

/// What Spark finds after these statements.
fn in_spark(work: &Workspace, engine: &str, sql: &str) -> Option<Value> {
    tool("ETL_TEST_JAVA", "the tables of `etl ddl` in Spark")?;
    let python = tool("ETL_TEST_DATA_PYTHON", "the tables of `etl ddl` in Spark")?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/ddl_spark.py");
    let mut spark = Command::new(python);
    spark.args([script, engine, DAYS[1]]).current_dir(work.path("")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut spark = spark.spawn().unwrap();
    spark.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
    let ended = spark.wait_with_output().unwrap();
    let stdout = String::from_utf8(ended.stdout).unwrap();
    let found = stdout.lines().last().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&ended.stderr)));
    Some(serde_json::from_str(found).unwrap())
}

/// Asserts that the files of one day alone are read.
#[track_caller]
fn assert_pruned(found: &Value, pruned: &str) {
    let plan = found["plan"].as_str().unwrap();
    assert!(plan.contains(pruned) && !plan.contains(&format!("dt={}", DAYS[0])), "{plan}");
}

/// The sums of `line_total` by day, from the files.
fn sums(facts: &[Row]) -> Value {
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for row in facts {
        let units: i64 = row[8].as_deref().unwrap().replace('.', "").parse().unwrap();
        *sums.entry(row.last().unwrap().clone().unwrap()).or_default() += units;
    }
    let text = |units: i64| {
        let (sign, units) = (if units < 0 { "-" } else { "" }, units.unsigned_abs());
        format!("{sign}{}.{:04}", units / 10_000, units % 10_000)
    };
    sums.into_iter().map(|(day, units)| (day, json!(text(units)))).collect::<serde_json::Map<_, _>>().into()
}

#[test]
fn spark_reads_every_value_in_any_time_zone_and_prunes_by_day() {
    // Spark refuses no quotation, and takes brackets for a pattern.
    let output = HOSTILE.replace("[x] ", "");
    let work = layer(&output, &[&TEXTS[..], &LINE_BREAKS[..]].concat());
    let Some(found) = in_spark(&work, "spark", &ddl(&work, &["spark", "--schema", "shop"])) else { return };
    let facts = facts_of(&work.path(&output));
    assert_eq!(found["rows"], json!(facts));
    assert_eq!(found["users"], json!(users_of(&work.path(&output))));
    assert_eq!(found["by_day"], sums(&facts));
    assert_pruned(&found, "InMemoryFileIndex(1 paths)");
}

#[test]
fn the_serde_of_athena_reads_every_text_without_a_line_break() {
    let work = layer("output", &TEXTS);
    let sql = ddl(&work, &["athena", "--schema", "shop", "--location", "s3://bucket/out"]);
    let sql = sql.replace("s3://bucket/out", &format!("file://{}", work.path("output").display()));
    let Some(found) = in_spark(&work, "athena", &sql) else { return };
    let as_text = |rows: Vec<Row>| {
        json!(rows.into_iter().map(|row| row.into_iter().map(Option::unwrap_or_default).collect()).collect::<Vec<Vec<_>>>())
    };
    let facts = facts_of(&work.path("output"));
    assert_eq!(found["by_day"], sums(&facts));
    assert_eq!(found["rows"], as_text(facts));
    assert_eq!(found["users"], as_text(users_of(&work.path("output"))));
}

#[test]
fn postgresql_loads_every_file_and_loads_it_again() {
    let Some(bin) = tool("ETL_TEST_POSTGRES", "the tables of `etl ddl` in a real PostgreSQL 15 or newer") else { return };
    let (work, postgres) = (layer("it's/output", &[&TEXTS[..], &LINE_BREAKS[..]].concat()), Postgres::start(&bin, "", &[]));
    // PostgreSQL runs as another user.
    assert!(Command::new("chmod").args(["-R", "a+rX"]).arg(work.path("")).status().unwrap().success());
    let sql = ddl(&work, &["postgres", "--schema", "my \"shop"]);
    let rows = |table: &str| -> Vec<Row> {
        let columns = format!(
            "SELECT string_agg(format('%I::text', attname), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0"
        );
        let columns = postgres.query(&columns).concat();
        let rows = postgres.query(&format!("SELECT json_build_array({columns}) FROM {table} ORDER BY 1::text"));
        let mut rows: Vec<Row> = rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect();
        rows.sort();
        rows
    };
    postgres.script(postgres.port, &sql).unwrap();
    assert!(rows("\"my \"\"shop\".fact_order").is_empty(), "the load is a comment");
    for _ in 0..2 {
        postgres.script(postgres.port, &sql.replace("--load ", "")).unwrap();
        assert_eq!(rows("\"my \"\"shop\".fact_order"), facts_of(&work.path("it's/output")));
        assert_eq!(rows("\"my \"\"shop\".dim_user"), users_of(&work.path("it's/output")));
    }
}

#[test]
fn glue_gets_one_table_a_command() {
    let work = layer("output", &TEXTS[..1]);
    let script = ddl(&work, &["glue", "--schema", "it's $(x)", "--location", "s3://bucket/it's `x`/"]);
    // The words as the AWS CLI gets them.
    let script = work.write("glue.sh", format!("aws() {{ printf '%s\\n' \"$@\"; }}\n{script}"));
    let printed = Command::new("sh").arg(script).output().unwrap();
    assert!(printed.status.success() && printed.stderr.is_empty(), "{printed:?}");
    let printed = String::from_utf8(printed.stdout).unwrap();
    let words: Vec<_> = printed.lines().collect();
    let tables: BTreeMap<String, Value> = words
        .chunks(6)
        .map(|words| {
            assert_eq!(words[..5], ["glue", "create-table", "--database-name", "it's $(x)", "--table-input"]);
            let input: Value = serde_json::from_str(words[5]).unwrap();
            (input["Name"].as_str().unwrap().to_owned(), input)
        })
        .collect();
    assert_eq!(tables.keys().collect::<Vec<_>>(), ["dim_product_csv", "dim_user_csv", "fact_order_csv"]);
    let facts = &tables["fact_order_csv"];
    assert_eq!(facts["StorageDescriptor"]["Location"], "s3://bucket/it's `x`/curated/");
    assert_eq!(facts["Parameters"]["storage.location.template"], "s3://bucket/it's `x`/curated/dt=${dt}/");
    assert!(facts["Parameters"]["projection.dt.range"].as_str().unwrap().starts_with("2026-01-01,NOW+"), "{facts}");
    let users: Vec<_> =
        tables["dim_user_csv"]["StorageDescriptor"]["Columns"].as_array().unwrap().iter().map(|column| &column["Name"]).collect();
    assert!(users.contains(&&json!("loyalty class")), "{users:?}");
}

#[test]
fn what_an_engine_can_not_use_is_refused() {
    let work = layer("output", &TEXTS[..1]);
    for (args, message) in [
        (&["athena"][..], "reads s3:// only"),
        (&["glue", "--location", "gs://bucket/x"], "pass --location s3://bucket/prefix"),
        (&["oracle"], "duckdb, athena, glue, spark, postgres"),
        (&["spark", "--schema", "a\nb"], "is not a name"),
        (&["spark", "--location", "/a[x]"], "for a pattern"),
        (&["duckdb", "--location", "s3://"], "--location: `s3://`"),
        (&["duckdb", "--file-format", "orc"], "write csv or parquet"),
    ] {
        let ended = work.etl(&[&["ddl"], args].concat());
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(message), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn an_output_without_rows_has_tables_too() {
    let work = Workspace::new();
    for engine in ["duckdb", "athena", "glue", "spark", "postgres"] {
        let sql = ddl(&work, &[engine, "--location", "s3://bucket/out"]);
        assert!(sql.contains("dim_product") && sql.contains("line_total"), "{sql}");
    }
    assert!(!work.path("output").exists());
}
