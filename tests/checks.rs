//! "Checks": the layer as it would be is looked at before it is published, and a failed check says what and where.

use serde_json::{Value, json};

use crate::support::{Workspace, order};

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
            "fact_text_fits",
            "partition_files",
            "fact_unit_slip"
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

/// What the newest commit says has been loaded.
fn coverage(work: &Workspace) -> Value {
    let latest: Value = serde_json::from_str(&work.read("output/state/latest.json")).unwrap();
    assert!(latest["layer"]["coverage"]["sources"].is_array(), "{latest}");
    latest["layer"]["coverage"].clone()
}

#[test]
fn a_failed_check_publishes_nothing_and_names_the_rule_with_up_to_five_rows() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-01", "")], &[]).published();
    let (layer, times, watermark) = (work.layer(), work.times(), coverage(&work));
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
    assert!(work.files("manifests").len() == 2 && work.files("state/staging").is_empty());
    let text = work.load(&lines, &["--format", "text"]);
    assert!(text.stdout.contains("no_big_orders: 7 violations") && text.stdout.matches("order_id=B").count() == 5, "{}", text.stdout);
    // The watermark did not move: `--since last` begins where it would have begun.
    assert_eq!(coverage(&work), watermark);
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

#[test]
fn a_run_that_changes_nothing_checks_nothing_but_what_is_asked_for() {
    let work = Workspace::new();
    let lines = [order("A", "2026-01-01", ""), order("B", "2026-01-02", "")];
    let first = work.load(&lines, &[]).published();
    assert!(names(&first).contains(&"fact_key_unique"));
    assert_eq!(names(&work.load(&lines, &[]).unchanged()), [""; 0]);
    let whole = work.load(&lines, &["--check-scope", "full"]).unchanged();
    assert!(names(&whole).contains(&"fact_key_unique"), "the whole layer is something to look at");
    // A newer version of an order that the layer has: no order is new, and a partition changes.
    let newer = [order("A", "2026-01-01", r#","updated_at":"2026-01-03""#)];
    assert!(names(&work.load(&newer, &[]).published()).contains(&"fact_key_unique"));
    // A user's own check sees the whole layer, whatever a run changes.
    work.write("checks/own.sql", "SELECT order_id FROM fact_order WHERE order_id = 'B'");
    let failed = work.load(&newer, &[]).expect(4, "checks_failed");
    assert_eq!(check(&failed, "own")["violations"], 1);
}

/// What `etl check` answers, with the exit code that it must have.
#[track_caller]
fn checked(work: &Workspace, args: &[&str], code: i32) -> Value {
    let ended = work.etl(&[&["check", "--json"], args].concat());
    assert_eq!(ended.code, code, "{}{}", ended.stdout, ended.stderr);
    ended.summary()
}

#[test]
fn an_output_that_is_missing_or_empty_is_no_pass() {
    let work = Workspace::new();
    for args in [
        &["check", "--output", "outptu"][..],
        &["check", "--output", "outptu", "--rebuild-state"],
        &["check", "--output", "outptu", "--history"],
    ] {
        let ended = work.etl(&[args, &["--log-format", "text"]].concat());
        assert_eq!(ended.code, 2, "{args:?}: {}", ended.stdout);
        assert!(ended.stderr.contains("outptu holds no layer") && ended.stderr.contains("--output DIR"), "{}", ended.stderr);
        assert!(!work.path("outptu").exists(), "{args:?}");
    }
    std::fs::create_dir_all(work.path("output/curated")).unwrap();
    assert_eq!(work.etl(&["check"]).code, 2);
    work.load(&[order("A", "2026-01-01", ""), order("B", "2026-01-02", "")], &[]).published();
    let found = checked(&work, &[], 0);
    assert_eq!((&found["output"], &found["partitions"]), (&json!("output"), &json!(2)));
    let text = work.etl(&["check", "--format", "text"]);
    assert!(text.stdout.contains("output: 2 partitions"), "{}", text.stdout);
}

#[test]
fn a_folder_above_the_output_says_nothing_about_its_rows() {
    for above in ["currency=USD", "dt=2020-01-01", "status=paid", "inferred=true", "a*[b]?", "it's {x,y}"] {
        let work = Workspace::new();
        let output = format!("{above}/output");
        work.write("checks/no_refunds.sql", "SELECT order_id FROM fact_order WHERE status = 'refunded'");
        work.write("checks/all_euro.sql", "SELECT order_id FROM fact_order WHERE currency <> 'EUR' OR dt <> DATE '2026-01-01'");
        work.load(&[order("A", "2026-01-01", "")], &["--output", &output]).published();
        checked(&work, &["--output", &output], 0);
        let refund = order("R", "2026-01-01", r#","status":"refunded""#);
        let summary = work.load(&[refund], &["--output", &output]).expect(4, "checks_failed");
        assert_eq!(check(&summary, "no_refunds")["violations"], 1, "{above}");
        assert_eq!(check(&summary, "all_euro")["violations"], 0, "{above}");
    }
}

#[test]
fn a_key_that_is_doubled_in_a_changed_partition_is_found_although_other_partitions_share_orders() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-01", ""), order("B", "2026-01-02", ""), order("M", "2026-01-03", "")], &[]).published();
    // Somebody doubles a row of the first day by hand. The run moves an order from the third day to the second, and changes the first.
    let place = "output/curated/dt=2026-01-01/part-00000.csv";
    let text = work.read(place);
    work.write(place, format!("{text}{}\n", text.lines().nth(1).unwrap()));
    let moved = order("M", "2026-01-02", r#","updated_at":"2026-02-01""#);
    let ended = work.load(&[moved, order("C", "2026-01-01", "")], &["--check-scope", "changed"]);
    let after = work.query("SELECT order_id FROM fact_order WHERE order_id = 'A'");
    // Either the merge folds the two rows, or the check finds them: two rows are never published.
    assert!(ended.code == 4 || after.len() == 1, "{after:?} {}", ended.stdout);
    let found = if ended.code == 4 { ended.summary() } else { checked(&work, &[], 0) };
    assert_eq!(check(&found, "fact_key_unique")["passed"], json!(ended.code != 4));
}

#[test]
fn a_foreign_file_is_found_where_a_run_touches_its_partition_and_by_etl_check() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-01", ""), order("B", "2026-01-02", "")], &[]).published();
    for name in ["part-00001.csv", "part-00000.csv.bak", ".part-00000.csv.swp"] {
        let foreign = work.write(&format!("output/curated/dt=2026-01-01/{name}"), "x");
        work.load(&[order(name, "2026-01-02", "")], &[]).published();
        let summary = work.load(&[order(name, "2026-01-01", "")], &[]).expect(4, "checks_failed");
        let path = format!("curated/dt=2026-01-01/{name}");
        assert_eq!(check(&summary, "partition_files")["sample"], json!([{ "path": path }]));
        assert_eq!(check(&checked(&work, &[], 4), "partition_files")["sample"], json!([{ "path": path }]));
        std::fs::remove_file(foreign).unwrap();
    }
    let foreign = work.write("output/curated/notes.txt", "x");
    work.load(&[order("C", "2026-01-01", "")], &[]).published();
    let summary = work.load(&[order("D", "2026-01-01", "")], &["--check-scope", "full"]).expect(4, "checks_failed");
    assert_eq!(check(&summary, "partition_files")["sample"], json!([{ "path": "curated/notes.txt" }]));
    checked(&work, &[], 4);
    std::fs::remove_file(foreign).unwrap();
    checked(&work, &[], 0);
    // Beside a dimension: `COPY` takes the name of its file for a prefix.
    assert_eq!(work.etl(&["check"]).code, 0);
    let foreign = work.write("output/dims/dim_product/dim_product.csv.bak", "x");
    let ended = work.etl(&["check", "--format", "text"]);
    assert!(ended.code == 4 && ended.stdout.contains("dims/dim_product/dim_product.csv.bak"), "{}", ended.stdout);
    std::fs::remove_file(foreign).unwrap();
    assert_eq!(work.etl(&["check"]).code, 0);
}

#[test]
fn a_file_of_a_check_that_can_not_be_read_is_no_check_that_passes() {
    let work = Workspace::new();
    std::fs::create_dir(work.path("checks")).unwrap();
    std::os::unix::fs::symlink("/nowhere/money.sql", work.path("checks/money.sql")).unwrap();
    let ended = work.load(&[order("A", "2026-01-01", "")], &["--log-format", "text"]);
    assert!(ended.code == 2 && ended.stderr.contains("checks/money.sql"), "{}", ended.stderr);
    std::fs::remove_file(work.path("checks/money.sql")).unwrap();
    work.write("checks/UPPER.SQL", "SELECT 1");
    work.load(&[order("A", "2026-01-01", "")], &[]).expect(4, "checks_failed");
}

#[test]
fn kept_rows_never_lie_in_the_layer_and_are_those_of_this_call() {
    let work = Workspace::new();
    work.write("checks/own.sql", "SELECT * FROM fact_order");
    work.load(&[order("A", "2026-01-01", "")], &["--on-check-failure", "publish"]);
    for folder in ["output/curated/dt=2026-01-01", "output/curated", "output/dims/x", "output", "output/kept", "kept/../output/kept"] {
        let ended = work.etl(&["check", "--violations", folder, "--log-format", "text"]);
        assert!(ended.code == 2 && ended.stderr.contains("part of the layer"), "{folder}: {}", ended.stderr);
    }
    let ended = work.etl(&["check", "--violations", "orders.ndjson", "--log-format", "text"]);
    assert!(ended.code == 2 && ended.stderr.contains("orders.ndjson is a file"), "{}", ended.stderr);
    assert_eq!(work.etl(&["check", "--violations", "kept"]).code, 4);
    assert!(work.path("kept/own.csv").exists());
    work.write("checks/own.sql", "SELECT * FROM fact_order WHERE false");
    assert_eq!(work.etl(&["check", "--violations", "kept"]).code, 0);
    assert!(!work.path("kept/own.csv").exists());
    let ended = work.etl(&["check", "--since", "2026-02-01", "--until", "2026-01-01", "--log-format", "text"]);
    assert!(ended.code == 2 && ended.stderr.contains("window is empty"), "{}", ended.stderr);
}

#[test]
fn a_query_may_end_with_a_semicolon_and_a_comment_and_is_one_statement() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-01", "")], &[]).published();
    for (sql, code, words) in [
        ("SELECT 1 WHERE false; -- why", 0, ""),
        ("SELECT ';' AS a; /* why; */ ;\n", 4, ""),
        ("SELECT 1; SELECT 2", 2, "own.sql, line 1: a second statement begins here"),
        ("\n-- nothing\n", 2, "own.sql: the file holds no query"),
        ("-- why\nSELECT order_id\nFROM fact_order\nWHERE statuss = 'x'", 2, "own.sql, line 4: Binder Error"),
        ("-- severity: fatal\nSELECT 1", 2, "own.sql, line 1: `fatal`"),
        ("-- why\n-- max: many\nSELECT 1", 2, "own.sql, line 2: `many`"),
        ("-- maximum: many\nSELECT 1 WHERE false", 0, ""),
        ("SELECT 1 WHERE $sinc IS NULL", 2, "own.sql, line 1: unknown parameter `$sinc`"),
    ] {
        work.write("checks/own.sql", sql);
        let ended = work.etl(&["check", "--log-format", "text"]);
        assert_eq!(ended.code, code, "{sql}: {}{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains(words), "{sql}: {}", ended.stderr);
    }
}

#[test]
fn the_comments_of_a_query_set_how_many_violations_pass() {
    let work = Workspace::new();
    let lines: Vec<_> = (0..8).map(|number| order(&format!("A{number}"), "2026-01-01", "")).collect();
    work.load(&lines, &[]).published();
    for (max, passed) in [("2", true), ("1", false), ("25%", true), ("24.9%", false)] {
        work.write("checks/two.sql", format!("-- severity: warn\n-- max: {max}\nSELECT order_id FROM fact_order WHERE order_id < 'A2'"));
        let found = checked(&work, &[], 0);
        let two = check(&found, "two");
        assert_eq!((&two["passed"], &two["violations"]), (&json!(passed), &json!(2)), "{max}");
    }
}

#[test]
fn a_query_knows_the_window_of_the_run() {
    let work = Workspace::new();
    work.write("checks/seen.sql", "-- severity: warn\nSELECT $since AS since, $until AS until;");
    let lines = [order("A", "2026-01-02", "")];
    let summary = work.load(&lines, &["--since", "2026-01-01", "--until", "2026-01-03"]).published();
    assert_eq!(check(&summary, "seen")["sample"], json!([{"since": "2026-01-01 00:00:00", "until": "2026-01-03 00:00:00"}]));
    assert_eq!(check(&checked(&work, &[], 0), "seen")["sample"], json!([{"since": null, "until": null}]));
    let found = checked(&work, &["--since", "2026-01-01"], 0);
    assert_eq!(check(&found, "seen")["sample"], json!([{"since": "2026-01-01 00:00:00", "until": null}]));
}

#[test]
fn all_violating_rows_are_kept_where_a_folder_is_named() {
    let work = Workspace::new();
    let lines = with_a_failing_check(&work);
    work.write("checks/quiet.sql", "-- max: 100\nSELECT order_id FROM fact_order");
    let summary = work.load(&lines, &["--on-check-failure", "publish"]).expect(4, "checks_failed");
    let of_run = format!("reports/{}.violations/no_big_orders.csv", summary["run_id"].as_str().unwrap());
    assert_eq!(check(&summary, "no_big_orders")["file"], json!(of_run));
    // A person gets a path that can be opened from here.
    let shown = work.etl(&["runs", "show", summary["run_id"].as_str().unwrap()]).stdout;
    assert!(shown.contains(&format!("all of them: output/{of_run}\n")), "{shown}");
    let before = work.files("");
    assert_eq!(check(&checked(&work, &[], 4), "no_big_orders")["file"], Value::Null);
    let found = checked(&work, &["--violations", "found"], 4);
    let big = check(&found, "no_big_orders");
    assert_eq!((&big["violations"], &big["rows_kept"], &big["file"]), (&json!(7), &json!(7), &json!("found/no_big_orders.csv")));
    let rows: String = (0..7).map(|number| format!("B{number},S\n")).collect();
    assert_eq!(work.read("found/no_big_orders.csv"), format!("order_id,sku\n{rows}"));
    assert_eq!(work.read(&format!("output/{of_run}")), format!("order_id,sku\n{rows}"));
    // A check that passes keeps none, whatever it finds; and nothing is written into the output.
    assert_eq!((&check(&found, "quiet")["violations"], &check(&found, "quiet")["file"]), (&json!(7), &Value::Null));
    assert_eq!(std::fs::read_dir(work.path("found")).unwrap().count(), 1);
    assert_eq!(work.files(""), before);
    let text = work.etl(&["check", "--violations", "found", "--format", "text"]);
    assert!(text.stdout.contains("all of them: found/no_big_orders.csv"), "{}", text.stdout);
}

const DECLARED: &str = r#"
[[checks.column]]
column = "status"
accepted = ["paid", "it's"]
not_null = true

[[checks.column]]
column = "unit_price"
between = ["0", 2.5]
name = "sane_price"
severity = "warn"

[[checks.column]]
column = "created_at"
between = ["2026-01-01", "2026-01-02"]
max_share = 0.5

[[checks.column]]
table = "dim_product"
column = "sku"
matches = "[A-Z]"
unique = true
max = 1
"#;

#[test]
fn columns_are_checked_by_declaration() {
    let work = Workspace::new();
    work.write("etl.toml", DECLARED);
    let line = |id: &str, day: u8, price: &str, status: &str| {
        format!(r#"{{"order_id":"{id}","created_at":"2026-01-0{day}","status":{status},"items":[{{"sku":"S{id}","price":{price}}}]}}"#)
    };
    let lines =
        [line("A", 1, "2.5", r#""paid""#), line("B", 2, "2.5001", r#""it's""#), line("C", 3, "-1", "null"), line("D", 4, "1", r#""lost""#)];
    let summary = work.load(&lines, &[]).expect(4, "checks_failed");
    let result = |name: &str| (check(&summary, name)["passed"].as_bool().unwrap(), check(&summary, name)["violations"].as_u64().unwrap());
    assert_eq!(result("fact_order_status_not_null"), (false, 1));
    assert_eq!(result("fact_order_status_accepted"), (false, 1));
    assert_eq!(check(&summary, "fact_order_status_accepted")["sample"][0]["order_id"], "D");
    assert_eq!(result("sane_price"), (false, 2));
    assert_eq!(result("fact_order_created_at_between"), (true, 2));
    assert_eq!(result("dim_product_sku_matches"), (false, 4));
    assert_eq!(result("dim_product_sku_unique"), (true, 0));
    work.write("etl.toml", DECLARED.replace("\"unit_price\"", "\"unitprice\""));
    let ended = work.load(&lines, &["--log-format", "text"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("`unitprice` is not a column of fact_order, which has order_id, sku,"), "{}", ended.stderr);
    work.write("etl.toml", DECLARED.replace("2.5]", "\"much\"]"));
    let ended = work.load(&lines, &["--log-format", "text"]);
    assert_eq!((ended.code, work.layer().len()), (2, 0));
    assert!(ended.stderr.contains("etl.toml, line 7: the check `sane_price`: `much` is not a plain number"), "{}", ended.stderr);
}

#[test]
fn the_sql_of_all_checks_is_shown_and_none_is_run() {
    let work = Workspace::new();
    work.write("etl.toml", DECLARED);
    work.write("checks/own.sql", "SELECT order_id FROM fact_order WHERE created_at < $since; -- why");
    let shown = checked(&work, &["--show-sql"], 0);
    let sql = |name: &str| check(&shown, name)["sql"].as_str().unwrap_or_else(|| panic!("{name}")).to_owned();
    assert!(sql("fact_line_total").contains("FROM fact_order_changed"));
    assert_eq!(
        sql("fact_order_status_accepted"),
        "SELECT dt, order_id, sku, \"status\"\nFROM fact_order\nWHERE \"status\" NOT IN ('paid', 'it''s')"
    );
    assert_eq!(sql("own"), "SELECT order_id FROM fact_order WHERE created_at < CAST(NULL AS TIMESTAMP)");
    assert_eq!(check(&shown, "own")["origin"], "checks/own.sql");
    assert!(!work.path("output").exists());
    let text = work.etl(&["check", "--show-sql", "--format", "text"]).stdout;
    assert!(text.contains("-- sane_price (warn, etl.toml, line 7)\nSELECT dt, order_id, sku, \"unit_price\""), "{text}");
}

#[test]
fn the_history_says_what_the_checks_of_the_latest_runs_found() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-01", "")], &[]).published();
    let failed = work.load(&with_a_failing_check(&work), &[]).expect(4, "checks_failed");
    let last = work.load(&[order("Z", "2026-01-05", "")], &[]).published();
    let history = checked(&work, &["--history"], 0);
    assert_eq!(history["runs"], 3);
    let big = check(&history, "no_big_orders");
    assert_eq!((&big["ran"], &big["not_passed"]), (&json!(2), &json!(1)));
    assert_eq!(
        big["runs"],
        json!([
            {"run_id": last["run_id"], "severity": "error", "passed": true, "violations": 0},
            {"run_id": failed["run_id"], "severity": "error", "passed": false, "violations": 7}
        ])
    );
    assert_eq!(check(&history, "fact_key_unique")["ran"], 3);
    let latest = checked(&work, &["--history", "--limit", "1"], 0);
    assert_eq!((&latest["runs"], &check(&latest, "no_big_orders")["ran"]), (&json!(1), &json!(1)));
    let text = work.etl(&["check", "--history", "--format", "text"]).stdout;
    assert!(text.contains("2 of 3") && text.contains("0 7") && text.contains(failed["run_id"].as_str().unwrap()), "{text}");
}
