//! Orders in CSV and Parquet: a row a line.

use crate::support::{self, Workspace, tool};

const ROWS: &str = "SELECT order_id, sku, quantity, line_total, currency, created_at FROM fact_order ORDER BY ALL";

const TABLE: &str = "order_id,created_at,currency,sku,quantity,price\n\
    A-1001,2026-01-31T10:00:00Z,EUR,MUG-01,2,12.50\n\
    A-1001,,,SPOON-02,1,3.00\n\
    A-1002,2026-01-31T11:00:00Z,EUR,\"MUG\n01\",1,12.50\n";

const EXPECTED: [&str; 3] = [
    "A-1001|MUG-01|2|25.0000|EUR|2026-01-31 10:00:00",
    "A-1001|SPOON-02|1|3.0000|EUR|2026-01-31 10:00:00",
    "A-1002|MUG\n01|1|12.5000|EUR|2026-01-31 11:00:00",
];

#[test]
fn rows_of_csv_are_lines_of_their_orders() {
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let semicolons = TABLE.replace(',', ";");
    for (name, content) in [("o.csv", TABLE.into()), ("o.csv.gz", gzip(TABLE)), ("semicolons.csv", semicolons.into_bytes())] {
        let work = Workspace::new();
        work.write(name, &content);
        let summary = work.etl(&["run", "--orders", name]).published();
        assert_eq!((summary["records_read"].clone(), summary["lines_read"].clone()), (2.into(), 3.into()), "{name}");
        assert_eq!(work.query(ROWS), EXPECTED, "{name}");
        work.etl(&["run", "--orders", name]).unchanged();
    }
}

#[test]
fn an_export_has_names_of_its_own_and_blank_cells() {
    let work = Workspace::new();
    work.write(
        "etl.toml",
        r#"
[orders]
location = "orders_export.csv"
[orders.fields]
order_id = "Name"
created_at = "Created at"
status = "Financial Status"
currency = "Currency"
[orders.line_fields]
sku = ["Lineitem sku", "Lineitem name"]
quantity = "Lineitem quantity"
unit_price = "Lineitem price"
"#,
    );
    work.write(
        "orders_export.csv",
        "Name,Email,Financial Status,Currency,Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku,Created at\n\
         #1001,a@b.example,paid,USD,2,Mug,12.00,MUG-R,2026-01-10 10:00:00 -0500\n\
         #1001,a@b.example,,,1,Gift wrap,5.00,,\n\
         #1002,c@d.example,pending,USD,1,Mug,12.00,MUG-R,2026-01-11 10:00:00 -0500\n",
    );
    work.etl(&["run"]).published();
    let expected = [
        "#1001|Gift wrap|1|5.0000|USD|2026-01-10 15:00:00",
        "#1001|MUG-R|2|24.0000|USD|2026-01-10 15:00:00",
        "#1002|MUG-R|1|12.0000|USD|2026-01-11 15:00:00",
    ];
    assert_eq!(work.query(ROWS), expected);
}

#[test]
fn no_row_is_taken_for_a_line_of_another_order() {
    let work = Workspace::new();
    work.write("o.csv", "order_id,created_at,sku,price\nA,2026-01-01,x,1\n,2026-01-02,y,2\nB,,z,3\n");
    let summary = work.etl(&["run", "--orders", "o.csv"]).published();
    assert_eq!(work.query("SELECT order_id, sku FROM fact_order ORDER BY ALL"), ["A|x"]);
    assert_eq!(summary["dropped"], serde_json::json!({"missing_order_id": 1, "missing_created_at": 1}));

    work.write("scattered.csv", "order_id,created_at,sku,price\nA,2026-01-01,x,1\nB,2026-01-01,x,1\nA,2026-01-01,y,1\n");
    let ended = work.etl(&["run", "--orders", "scattered.csv", "--output", "other"]);
    ended.expect(3, "extract_failed");
    assert!(ended.stderr.contains("scattered.csv, line 4") && ended.stderr.contains("do not stand together"), "{}", ended.stderr);
}

#[test]
fn rows_of_parquet_are_lines_of_their_orders() {
    let Some(python) = tool("ETL_TEST_DATA_PYTHON", "orders in Parquet that pandas wrote") else { return };
    let work = Workspace::new();
    work.write("o.csv", TABLE);
    let script = "import pandas; pandas.read_csv('o.csv', dtype={'price': str}, parse_dates=['created_at']).to_parquet('o.parquet')";
    let made = std::process::Command::new(python).args(["-c", script]).current_dir(work.path("")).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    work.etl(&["run", "--orders", "o.parquet"]).published();
    assert_eq!(work.query(ROWS), EXPECTED);
}

#[test]
fn the_id_of_an_order_is_no_sku_of_its_lines() {
    let work = Workspace::new();
    work.write("o.csv", "id,created_at,sku,price\n7,2026-01-01,a,4\n7,,,5\n7,,,6\n");
    let summary = work.etl(&["run", "--orders", "o.csv"]).published();
    assert_eq!((&summary["dropped"]["missing_sku"], &summary["lines_read"]), (&2.into(), &3.into()));
    assert_eq!(work.query("SELECT order_id, sku, line_total FROM fact_order"), ["7|a|4.0000"]);
    // The id of a line is none of an order.
    let work = Workspace::new();
    work.write("o.csv", "order_id,id,created_at,sku,price\nA,101,2026-01-01,a,4\n,102,,b,6\n");
    work.etl(&["run", "--orders", "o.csv"]).published();
    assert_eq!(work.query("SELECT order_id, sku, line_total FROM fact_order ORDER BY ALL"), ["A|a|4.0000", "A|b|6.0000"]);
}

#[test]
fn quantities_with_decimals_are_exact_or_dropped() {
    let work = Workspace::new();
    work.write("etl.toml", "fact.quantity = \"decimal\"\n");
    let rows = "A,2026-01-31,a,1,10000000000\nA,,b,0.3333,3\nA,,c,0.00004,100000\nA,,d,2000000,2000000\n";
    work.write("o.csv", format!("order_id,created_at,sku,quantity,price\n{rows}"));
    let summary = work.etl(&["run", "--orders", "o.csv", "--check-scope", "full"]).published();
    assert_eq!(summary["dropped"], serde_json::json!({"invalid_quantity": 1}));
    assert_eq!(
        work.query("SELECT sku, line_total FROM fact_order ORDER BY ALL"),
        ["a|10000000000.0000", "b|0.9999", "d|4000000000000.0000"]
    );
    assert_eq!(work.etl(&["check"]).code, 0);
}

#[test]
fn an_order_in_two_currencies_is_refused() {
    let work = Workspace::new();
    work.write("o.csv", TABLE.replace("A-1001,,,SPOON", "A-1001,,USD,SPOON"));
    let ended = work.etl(&["run", "--orders", "o.csv"]);
    ended.expect(3, "extract_failed");
    assert!(ended.stderr.contains("line 3") && ended.stderr.contains("two currencies, `EUR` and `USD`"), "{}", ended.stderr);
    assert!(work.files("curated").is_empty());
}

#[test]
fn cells_that_count_as_missing_or_blank_hide_no_value_of_a_later_row() {
    let work = Workspace::new();
    let missing = [("status", "-"), ("user_id", "0"), ("updated_at", "0000-00-00"), ("currency", "-")]
        .map(|(field, value)| format!("[orders.fields.{field}]\npath = \"{field}\"\nmissing = [\"{value}\"]\n"));
    work.write("etl.toml", format!("[orders]\nlocation = \"o.csv\"\n{}", missing.concat()));
    let header = "order_id,created_at,status,user_id,updated_at,currency,sku,price";
    for (place, first) in ["-,0,0000-00-00,-", "\"\t\",\"\n\",\"\t\n\",\" \"", ",,,"].into_iter().enumerate() {
        work.write("o.csv", format!("{header}\n1,2026-01-31,{first},A,1\n1,,paid,u1,2026-02-01,EUR,B,1\n"));
        let output = format!("output-{place}");
        work.etl(&["run", "--output", &output]).published();
        let facts = work.read(&format!("{output}/curated/dt=2026-01-31/part-00000.csv"));
        assert_eq!(facts.matches("paid").count(), 2, "{first:?}: {facts}");
        assert!(facts.matches(",EUR,").count() == 2 && facts.matches(",u1,").count() == 2, "{first:?}: {facts}");
        assert_eq!(facts.matches("2026-02-01 00:00:00").count(), 2, "{first:?}: {facts}");
    }
    // The time of creation, too.
    work.write("o.csv", "order_id,created_at,sku,price\n1,\"\t\",A,1\n1,2026-01-31,B,1\n");
    work.etl(&["run", "--output", "time"]).published();
    assert!(work.read("time/curated/dt=2026-01-31/part-00000.csv").contains("\n1,A,"));
}

#[test]
fn names_of_a_header_are_known_in_any_case() {
    let work = Workspace::new();
    work.write("o.csv", "Order_ID,Created_At,CURRENCY,SKU,Price,Quantity\n1,2026-01-31,EUR,A,1.50,3\n");
    let run = ["run", "--orders", "o.csv", "--log-format", "text"];
    work.etl(&run).published();
    assert_eq!(work.query(ROWS), ["1|A|3|4.5000|EUR|2026-01-31 00:00:00"]);
    work.write("o.csv", "order_id,created_at,currency,sku,price,quantity,Quantity\n2,2026-01-31,EUR,A,1.50,,3\n2,,,B,1,2,5\n");
    let ended = work.etl(&run);
    ended.published();
    assert_eq!(work.query(ROWS)[1..], ["2|A|3|4.5000|EUR|2026-01-31 00:00:00", "2|B|2|2.0000|EUR|2026-01-31 00:00:00"]);
    assert!(ended.stderr.contains("names differ only in case are one column"), "{}", ended.stderr);
}

#[test]
fn an_order_that_goes_on_in_the_next_file_is_said() {
    let more = |first: &str| format!("order_id,created_at,currency,sku,quantity,price\n{first},2026-01-31T11:00:00Z,EUR,X,1,1\n");
    for (first, is_said) in [("A-1002", true), ("A-1001", false), ("B", false)] {
        let work = Workspace::new();
        work.write("d/1.csv", TABLE);
        work.write("d/2.csv", more(first));
        let ended = work.etl(&["run", "--orders", "d"]);
        ended.published();
        assert_eq!(ended.stderr.contains("the file before ends with"), is_said, "{first}: {}", ended.stderr);
    }
}

#[test]
fn blank_rows_of_a_spreadsheet_are_no_lines() {
    let work = Workspace::new();
    work.write("o.csv", format!("{TABLE},,,,,\n\n , ,,,,\n"));
    let summary = work.etl(&["run", "--orders", "o.csv"]).published();
    assert_eq!((summary["lines_read"].clone(), summary["lines_dropped"].clone()), (3.into(), 0.into()));
    assert_eq!(work.query(ROWS), EXPECTED);
}

#[test]
fn keys_that_a_table_has_no_use_for_are_refused_with_their_place() {
    let cases = [
        ("records = \"x\"", "`orders.records`"),
        ("line_request = { path = \"/lines/{id}\" }", "`orders.line_request`"),
        ("fields.lines = \"x\"", "`orders.fields.lines`"),
        ("fields.lines = { all = [\"x\"] }", "`orders.fields.lines`"),
        ("fields.order_id = { value = \"A\" }", "`orders.fields.order_id`"),
        ("fields.order_id = { path = \"order_id\", default = \"A\" }", "`orders.fields.order_id`"),
    ];
    for location in ["o.csv", "*.csv.gz", "o.parquet"] {
        for (key, named) in cases {
            let work = Workspace::new();
            work.write("etl.toml", format!("[orders]\nlocation = \"{location}\"\n{key}\n"));
            let ended = work.etl(&["run"]);
            assert_eq!(ended.code, 2, "{}", ended.stderr);
            assert!(ended.stderr.contains("etl.toml, line 3: ") && ended.stderr.contains(named), "{key}: {}", ended.stderr);
        }
    }
    // A record in a line of its own is what `"."` says, and of JSON the keys are of use.
    for (location, key) in [("o.csv", "fields.lines = \".\""), ("o.ndjson", "records = \"x\"")] {
        let work = Workspace::new();
        work.write("o.csv", TABLE.replace("A-1001,,,", "A-1001,2026-01-31T10:00:00Z,EUR,"));
        work.write("o.ndjson", support::order("A", "2026-01-01", ""));
        work.write("etl.toml", format!("[orders]\nlocation = \"{location}\"\n{key}\n"));
        work.etl(&["run"]).published();
    }
}

#[test]
fn a_profile_says_which_rows_are_one_order() {
    let loaded = |profile: &str, table: &str| {
        let work = Workspace::new();
        work.write("d/o.csv", table);
        work.write("etl.toml", format!("[orders]\nlocation = \"d\"\n{profile}\n"));
        work.etl(&["run"]).published();
        work.query("SELECT order_id, sku, line_total FROM fact_order ORDER BY ALL")
    };
    let both = ["A|x|1.0000", "A|y|2.0000"];
    let missing =
        "fields.order_id = { path = \"order_id\", missing = [\"N/A\"] }\nfields.created_at = { path = \"at\", missing = [\"-\"] }";
    assert_eq!(loaded(missing, "order_id,at,sku,price\nA,2026-01-31,x,1\nN/A,-,y,2\n"), both);
    let constant = "fields.created_at = { value = \"2026-01-31\" }";
    assert_eq!(loaded(constant, "order_id,sku,price\nA,x,1\n,y,2\n"), both);
    assert_eq!(loaded("fields.lines = \"a.*.b\"", "order_id,created_at,sku,price\nA,2026-01-31,x,1\nA,,y,2\n"), both);
}
