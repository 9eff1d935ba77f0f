//! `etl test` and `etl run --sample`: what a mapping makes of records, without network, layer, users and products.

use serde_json::Value;

use crate::support::{Asked, Server, Workspace, json, order};

/// A profile whose fields have names of their own.
const TOML: &str = "[orders]\nlocation = \"https://shop.invalid/orders\"\nauth = { kind = \"none\" }\n\n[orders.fields]\norder_id = \"number\"\nlines = \"positions\"\n\n[orders.line_fields]\nsku = \"article\"\nunit_price = { path = \"cents\", scale = 2 }\n";

const RECORDS: &str = r#"records = '''
{"number":7,"created_at":"2026-01-31T02:00:00+02:00","currency":"EUR","positions":[{"article":"A","quantity":2,"cents":495},{"quantity":1}]}
{"number":8,"created_at":"2026-02-01","positions":[]}
'''
"#;

const EXPECTED: &str = r#"rows = [{ order_id = "7", sku = "A", quantity = 2, unit_price = 4.95, line_total = "9.90", created_at = 2026-01-31T00:00:00Z, status = "" }]
drops = [{ reason = "missing_sku", order_id = "7", line = 1 }, { reason = "empty_items", order_id = 8 }]
"#;

fn work() -> Workspace {
    let work = Workspace::new();
    work.write("etl.toml", TOML);
    work
}

#[test]
fn a_case_passes_where_rows_and_drops_are_as_expected() {
    let work = work();
    work.write("tests/orders.toml", format!("[[case]]\nname = \"one line counts\"\n{RECORDS}{EXPECTED}"));
    let ended = work.etl(&["test"]);
    let summary = ended.summary();
    assert_eq!(
        (ended.code, &summary["passed"], &summary["failed"]),
        (0, &Value::from(1), &Value::from(0)),
        "{}{}",
        ended.stdout,
        ended.stderr
    );
    assert_eq!((&summary["cases"][0]["rows"], &summary["cases"][0]["drops"]), (&Value::from(1), &Value::from(2)));
    assert!(!work.path("output").exists());
    let elsewhere = work.etl(&["test", "--tests", "none"]);
    assert!(elsewhere.code == 2 && elsewhere.stderr.contains("no case to try"), "{}", elsewhere.stderr);
}

#[test]
fn each_difference_fails_the_case_and_is_shown() {
    let work = work();
    for (wrong, right, at, column) in [
        ("sku = \"A\"", "sku = \"B\"", "row 1", Some("sku")),
        ("quantity = 2", "quantity = 3", "row 1", Some("quantity")),
        ("line_total = \"9.90\"", "line_total = \"9.91\"", "row 1", Some("line_total")),
        ("T00:00:00Z", "T00:00:01Z", "row 1", Some("created_at")),
        ("status = \"\"", "status = \"paid\"", "row 1", Some("status")),
        ("missing_sku", "invalid_price", "drop 1", Some("reason")),
        ("line = 1", "line = 0", "drop 1", Some("line")),
        ("order_id = 8", "order_id = 9", "drop 2", Some("order_id")),
        ("rows = [", "rows = [{ sku = \"Z\" }, ", "row 1", Some("sku")),
        ("rows = [{", "rows = []\n# [{", "row 1", None),
        ("drops = [{", "# drops = [{", "drop 1", None),
    ] {
        let expected = EXPECTED.replacen(wrong, right, 1);
        assert_ne!(expected, EXPECTED, "{wrong}");
        work.write("tests/orders.toml", format!("[[case]]\nname = \"x\"\n{RECORDS}{expected}"));
        let ended = work.etl(&["test"]);
        assert_eq!(ended.code, 4, "{right}: {}{}", ended.stdout, ended.stderr);
        let difference = ended.summary()["cases"][0]["differences"][0].clone();
        assert_eq!((difference["at"].as_str(), difference["column"].as_str()), (Some(at), column), "{right}: {difference}");
    }
    let text = work.etl(&["test", "--format", "text"]).stdout;
    for line in ["FAILED  x  (tests/orders.toml, line 1)", "          - (nothing)", "          + reason=missing_sku, order_id=7, line=1"] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn the_records_of_a_case_may_be_a_file_and_a_shop_has_its_own_mapping() {
    let work = work();
    work.write("tests/samples/body.json", format!("{{\"data\":[{}]}}", order("A", "2026-01-01", "")));
    let shops = "[[shops]]\nname = \"de\"\norders = \"de.json\"\n[[shops]]\nname = \"us\"\norders = { location = \"us.json\", fields = { order_id = \"order_id\" } }\n";
    work.write("etl.toml", shops);
    let case = |shop: &str| {
        format!(
            "[[case]]\nname = \"{shop}\"\nshop = \"{shop}\"\nfile = \"samples/body.json\"\nrows = [{{ order_id = \"{shop}:A\", shop = \"{shop}\" }}]\n"
        )
    };
    work.write("tests/a.toml", case("de") + &case("us"));
    let ended = work.etl(&["test"]);
    assert_eq!((ended.code, &ended.summary()["passed"]), (0, &Value::from(2)), "{}{}", ended.stdout, ended.stderr);
    work.write("tests/a.toml", case("fr"));
    let ended = work.etl(&["test", "--log-format", "text"]);
    assert!(ended.code == 2 && ended.stderr.contains("tests/a.toml, line 1: `case.shop`: write whose profile"), "{}", ended.stderr);
}

#[test]
fn a_mistake_in_a_case_is_told_with_its_line() {
    let work = work();
    for (rows, message) in [
        ("rows = [{ colour = \"red\" }]", "`colour` is not a column of fact_order"),
        ("rows = [{ product_name = \"x\" }]", "`product_name` comes from users or products"),
        ("rwos = []", "unknown key `rwos`: did you mean `rows`?"),
    ] {
        work.write("tests/orders.toml", format!("[[case]]\nname = \"x\"\n{RECORDS}{rows}\n"));
        let ended = work.etl(&["test", "--log-format", "text"]);
        assert!(
            ended.code == 2 && ended.stderr.contains("tests/orders.toml, line 7: ") && ended.stderr.contains(message),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn a_sample_shows_the_first_rows_and_writes_nothing() {
    let server = Server::start(|asked: &Asked| {
        let page = asked.parameter("page").parse().unwrap_or(1);
        let orders: Vec<_> = (0..3).map(|place| order(&format!("P{page}-{place}"), "2026-01-01", "")).collect();
        json(format!("[{}]", orders.join(",")))
    });
    let work = Workspace::new();
    let orders = server.orders();
    let summary = work.etl(&["run", "--orders", &orders, "--sample", "4", "--json"]).summary();
    let ids: Vec<_> = summary["rows"].as_array().unwrap().iter().map(|row| row["order_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["P1-0", "P1-1", "P1-2", "P2-0"]);
    assert_eq!((&summary["records_read"], &summary["rows"][0]["line_total"]), (&Value::from(4), &Value::from("1.5000")));
    assert!(!work.path("output").exists());
    let ended = work.etl(&["run", "--orders", &orders, "--sample", "2", "--format", "text"]);
    let header: Vec<_> = ended.stdout.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["order_id", "sku", "currency", "quantity", "unit_price", "line_total", "price_defaulted", "created_at"]);
    assert!(ended.code == 0 && ended.stdout.contains("2 rows of 2 records"), "{}{}", ended.stdout, ended.stderr);
}

#[test]
fn a_sample_tells_what_would_be_dropped() {
    let work = Workspace::new();
    work.write("orders.ndjson", format!("{}\nnot json\n{}", order("A", "2026-01-01", ""), order("B", "2026-03-01", "")));
    let summary = work.etl(&["run", "--orders", "orders.ndjson", "--sample", "9", "--until", "2026-02-01", "--json"]).summary();
    assert_eq!((summary["rows"].as_array().unwrap().len(), &summary["records_out_of_window"]), (1, &Value::from(1)));
    assert_eq!(summary["drops"][0]["reason"], "invalid_json");
}
