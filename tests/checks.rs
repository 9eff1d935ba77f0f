//! "Checks": the layer as it would be is looked at before it is published, and a failed check says what and where.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use serde_json::{Value, json};
use support::{Workspace, order};

fn check<'s>(summary: &'s Value, name: &str) -> &'s Value {
    summary["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name} in {summary}"))
}

fn names(summary: &Value) -> Vec<&str> {
    summary["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect()
}

#[test]
fn every_built_in_check_runs_and_says_its_severity() {
    let work = Workspace::new();
    let fixture = |name: &str| format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    let summary = work
        .etl(&["run", "--orders", &fixture("orders.ndjson"), "--users", &fixture("users.csv"), "--products", &fixture("products.json")])
        .published();
    let warned = [
        "fact_user_known",
        "fact_product_known",
        "fact_quantity_positive",
        "fact_price_non_negative",
        "fact_timestamps_plausible",
        "fact_text_fits",
    ];
    assert_eq!(
        names(&summary),
        [
            "fact_key_unique",
            "fact_required_not_null",
            "fact_dt_matches_created_at",
            "fact_line_total",
            "fact_revenue_reconciles",
            "fact_row_count_reconciles",
            "fact_user_in_dim",
            "fact_product_in_dim",
            "fact_user_known",
            "fact_product_known",
            "fact_quantity_positive",
            "fact_price_non_negative",
            "fact_timestamps_plausible",
            "dim_user_key_unique",
            "dim_product_key_unique",
            "fact_text_fits"
        ]
    );
    for name in names(&summary) {
        assert_eq!(check(&summary, name)["severity"], if warned.contains(&name) { "warn" } else { "error" }, "{name}");
    }
    let violated: Vec<_> = summary["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["passed"] == false)
        .map(|check| (&check["name"], &check["violations"]))
        .collect();
    assert_eq!(
        violated,
        [
            (&json!("fact_user_known"), &json!(1)),
            (&json!("fact_product_known"), &json!(1)),
            (&json!("fact_quantity_positive"), &json!(1)),
            (&json!("fact_price_non_negative"), &json!(1))
        ]
    );
    // Where no users are configured, everyone is inferred, and no check says so.
    let without = Workspace::new().etl(&["run", "--orders", &fixture("orders.ndjson")]).published();
    assert!(!names(&without).contains(&"fact_user_known") && !names(&without).contains(&"fact_product_known"));
}

#[test]
fn implausible_times_are_warned_of() {
    let work = Workspace::new();
    let summary = work
        .load(&[order("A", "1969-12-31", ""), order("B", "2999-01-01", ""), order("C", "2026-01-02", r#","updated_at":"2026-01-01""#)], &[])
        .published();
    let found = check(&summary, "fact_timestamps_plausible");
    assert_eq!((&found["passed"], &found["severity"]), (&json!(false), &json!("warn")));
    assert!(found["violations"].as_u64() >= Some(2), "{found}");
}

/// A layer, and a user's own check that it violates seven times.
fn with_a_failing_check(work: &Workspace) -> Vec<String> {
    work.write("checks/no_big_orders.sql", "SELECT order_id, sku FROM fact_order WHERE quantity > 10 ORDER BY order_id;\n");
    (0..7)
        .map(|number| {
            format!(
                r#"{{"order_id":"B{number}","created_at":"2026-01-0{}","items":[{{"sku":"S","quantity":11,"price":1}}]}}"#,
                number % 3 + 1
            )
        })
        .collect()
}

#[test]
fn a_failed_check_publishes_nothing_and_names_the_rule_with_up_to_five_rows() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-01", "")], &[]).published();
    let (layer, times, watermark) = (work.layer(), work.times(), work.files("state")["state/coverage.json"].clone());
    let lines = with_a_failing_check(&work);
    let ended = work.load(&lines, &["--log-format", "text"]);
    let summary = ended.expect(4, "checks_failed");
    let found = check(&summary, "no_big_orders");
    assert_eq!(
        (&found["violations"], found["sample"].as_array().unwrap().len(), &found["sample"][0]),
        (&json!(7), 5, &json!({"order_id": "B0", "sku": "S"}))
    );
    assert_eq!((&summary["partitions_written"], &summary["alerts"][0]["kind"]), (&json!([]), &json!("check_failed")));
    assert!(ended.stderr.contains("no_big_orders") && ended.stderr.contains("nothing was published"), "{}", ended.stderr);
    assert_eq!((work.layer(), work.times()), (layer, times));
    assert!(work.files("manifests").len() == 1 && work.files("state/staging").is_empty());
    let text = work.load(&lines, &["--format", "text"]);
    assert!(text.stdout.contains("no_big_orders: 7 violations") && text.stdout.matches("order_id=B").count() == 5, "{}", text.stdout);
    // The watermark did not move: `--since last` begins where it would have begun.
    assert_eq!(work.files("state")["state/coverage.json"], watermark);
    std::fs::remove_dir_all(work.path("checks")).unwrap();
    assert_eq!(work.load(&lines, &[]).published()["rows_inserted"], 7);
}

#[test]
fn it_is_published_all_the_same_where_that_is_asked_for() {
    let work = Workspace::new();
    let lines = with_a_failing_check(&work);
    let summary = work.load(&lines, &["--on-check-failure", "publish"]).expect(4, "checks_failed");
    assert_eq!(summary["partitions_written"].as_array().unwrap().len(), 3);
    assert_eq!(work.query("SELECT count(*) FROM fact_order"), ["7"]);
}

#[test]
fn a_first_line_softens_a_check() {
    let work = Workspace::new();
    let lines = with_a_failing_check(&work);
    let sql = work.read("checks/no_big_orders.sql");
    work.write("checks/no_big_orders.sql", format!("-- severity: warn\n{sql}"));
    let summary = work.load(&lines, &[]).published();
    let found = check(&summary, "no_big_orders");
    assert_eq!((&found["passed"], &found["severity"]), (&json!(false), &json!("warn")));
}

#[test]
fn a_users_sql_sees_the_whole_layer_and_the_share_of_the_run() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-01", r#","user_id":"U""#), order("B", "2026-01-02", "")], &[]).published();
    work.write("mine/seen.sql", "-- severity: warn\nSELECT (SELECT count(*) FROM fact_order) AS whole, (SELECT count(*) FROM fact_order_changed) AS changed, (SELECT count(*) FROM dim_user) AS users, (SELECT count(*) FROM dim_product) AS products");
    let summary = work.load(&[order("C", "2026-01-02", "")], &["--checks", "mine"]).published();
    assert_eq!(check(&summary, "seen")["sample"][0], json!({"whole": "3", "changed": "2", "users": "1", "products": "1"}));
}

#[test]
fn a_broken_query_or_folder_is_a_mistake_of_configuration() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-01", "")], &[]).published();
    work.write("checks/broken.sql", "SELEKT 1");
    let ended = work.load(&[order("B", "2026-01-01", "")], &["--log-format", "text"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("broken.sql"), "{}", ended.stderr);
    assert_eq!(work.query("SELECT order_id FROM fact_order"), ["A"]);
    assert_eq!(work.load(&[order("B", "2026-01-01", "")], &["--checks", "nowhere"]).code, 2);
}

#[test]
fn a_users_sql_reaches_neither_files_nor_settings() {
    let work = Workspace::new();
    let secret = work.write("secret.csv", "a\n1\n");
    for sql in [
        format!("SELECT * FROM read_csv('{}')", secret.display()),
        "SELECT * FROM read_text('/etc/passwd')".into(),
        "INSTALL httpfs".into(),
        "SET enable_external_access = true".into(),
        format!("COPY (SELECT 1) TO '{}'", work.path("written.csv").display()),
        format!("ATTACH '{}' AS other", work.path("other.db").display()),
    ] {
        work.write("checks/reach.sql", &sql);
        let ended = work.load(&[order("A", "2026-01-01", "")], &[]);
        assert_eq!(ended.code, 2, "{sql}: {}", ended.stderr);
        assert!(!work.path("written.csv").exists() && !work.path("other.db").exists() && work.layer().is_empty(), "{sql}");
    }
}

#[test]
fn etl_check_looks_at_the_layer_as_it_stands_and_changes_nothing() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-01", ""), order("B", "2026-01-02", "")], &[]).published();
    let (layer, times) = (work.layer(), work.times());
    assert_eq!(work.etl(&["check"]).code, 0);
    let place = "output/curated/dt=2026-01-01/part-00000.csv";
    let whole = work.read(place);
    for (from, to, violated) in [
        (",1,1.5000,1.5000,", ",1,1.5000,1.6000,", "fact_line_total"),
        ("A,S,", "A,X,", "fact_product_in_dim"),
        ("2026-01-01 00:00:00", "2026-01-03 00:00:00", "fact_dt_matches_created_at"),
        ("A,S,", "B,S,", "fact_row_count_reconciles"),
    ] {
        let damaged = if violated == "fact_row_count_reconciles" {
            format!("{whole}{}", whole.lines().nth(1).unwrap().replace("A,S", "Z,S") + "\n")
        } else {
            whole.replace(from, to)
        };
        assert_ne!(damaged, whole);
        work.write(place, damaged);
        let ended = work.etl(&["check"]);
        assert_eq!(ended.code, 4, "{violated}: {}", ended.stdout);
        let found: Value = serde_json::from_str(ended.stdout.lines().last().unwrap()).unwrap();
        assert_eq!((&check(&found, violated)["passed"], &found["status"]), (&json!(false), &json!("failed")), "{violated}");
    }
    // The same key in two partitions.
    work.write(
        place,
        format!(
            "{whole}{}",
            work.read("output/curated/dt=2026-01-02/part-00000.csv").lines().nth(1).unwrap().replace("2026-01-02", "2026-01-01") + "\n"
        ),
    );
    let found: Value = serde_json::from_str(work.etl(&["check"]).stdout.lines().last().unwrap()).unwrap();
    assert_eq!(check(&found, "fact_key_unique")["passed"], json!(false));
    std::fs::write(work.path(place), whole).unwrap();
    assert_eq!(work.etl(&["check"]).code, 0);
    assert_eq!(work.layer(), layer);
    assert_eq!(work.times().len(), times.len());
}

#[test]
fn the_scope_of_a_run_is_what_it_publishes_unless_all_is_asked_for() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-01", "")], &[]).published();
    // Somebody puts a wrong total into another day.
    let place = "output/curated/dt=2026-01-01/part-00000.csv";
    work.write(place, work.read(place).replace(",1,1.5000,1.5000,", ",1,1.5000,1.6000,"));
    work.load(&[order("B", "2026-01-02", "")], &[]).published();
    let summary = work.load(&[order("C", "2026-01-03", "")], &["--check-scope", "full"]).expect(4, "checks_failed");
    assert_eq!(check(&summary, "fact_line_total")["violations"], 1);
}
