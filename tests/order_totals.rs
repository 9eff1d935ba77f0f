//! `fact_order_total`, the fact at the grain of the order: what it holds, which version of an order counts, what is written and what is
//! left alone, and the check that it adds up.

use serde_json::json;

use crate::support::{Workspace, check};

/// A source that says totals of its orders.
fn work(settings: &str) -> Workspace {
    let work = Workspace::new();
    let totals = "discount = \"discounts.*.amount\"\nshipping = { all = [\"shipping\", \"handling\"] }\ntax = \"tax\"\ntotal = \"total\"\nrefunded = \"refunded\"\npaid = \"paid\"";
    work.write("etl.toml", format!("{settings}\n[orders.totals]\n{totals}\nreconciles = true\n"));
    work
}

/// An order of these skus, at 10.00 each, with further fields.
fn order(order_id: &str, day: u8, skus: &[&str], rest: &str) -> String {
    let items: Vec<_> = skus.iter().map(|sku| format!(r#"{{"sku":"{sku}","price":10}}"#)).collect();
    format!(
        r#"{{"order_id":"{order_id}","created_at":"2026-01-0{day}","currency":"EUR","status":"paid","items":[{}]{rest}}}"#,
        items.join(",")
    )
}

/// The same, with a total that its lines add up to, as it was on a day of February.
fn version(order_id: &str, day: u8, updated: u8, skus: &[&str]) -> String {
    let rest = format!(r#","updated_at":"2026-02-0{updated}","total":{}"#, skus.len() * 10);
    order(order_id, day, skus, &rest)
}

const TOTALS: &str = "SELECT dt, order_id, lines_total, total, refunded_total FROM fact_order_total ORDER BY ALL";

#[test]
fn one_row_an_order_beside_the_lines_and_nothing_of_it_in_curated() {
    let work = work("");
    let rest = r#","discounts":[{"amount":"1.50"},{"amount":0.5}],"shipping":4.9,"handling":"1.00","tax":"3.61","total":"27.51","refunded":5,"paid":"27.51""#;
    let summary = work.load(&[order("B", 1, &["x", "y"], rest), order("A", 1, &["x"], r#","total":10"#)], &[]).published();
    assert_eq!(
        work.read("output/order_totals/dt=2026-01-01/part-00000.csv"),
        "order_id,currency,lines_total,discount_total,shipping_total,tax_total,total,refunded_total,paid_total,status,created_at,updated_at\n\
         A,EUR,10.0000,,,,10.0000,,,paid,2026-01-01 00:00:00,\n\
         B,EUR,20.0000,2.0000,5.9000,3.6100,27.5100,5.0000,27.5100,paid,2026-01-01 00:00:00,\n"
    );
    assert_eq!(work.files("curated").into_keys().collect::<Vec<_>>(), ["curated/dt=2026-01-01/part-00000.csv"]);
    assert_eq!(summary["order_totals_changed"], json!(["2026-01-01"]));
    for name in ["order_total_reconciles", "order_total_key_unique"] {
        let found = check(&summary, name).unwrap();
        assert_eq!((&found["severity"], &found["passed"]), (&json!("error"), &json!(true)), "{name}");
    }
    // The same again touches nothing, and a new order of another day touches that day alone.
    let before = (work.times_in("order_totals"), work.times_in("curated"));
    let again = work.load(&[order("B", 1, &["x", "y"], rest), order("A", 1, &["x"], r#","total":10"#)], &[]).unchanged();
    assert_eq!(again["order_totals_changed"], json!([]));
    assert_eq!((work.times_in("order_totals"), work.times_in("curated")), before);
    work.load(&[order("C", 2, &["x"], r#","total":10"#)], &[]).published();
    assert_eq!(work.times_in("order_totals")["order_totals/dt=2026-01-01/part-00000.csv"], before.0.into_values().next().unwrap());
    assert_eq!(work.etl(&["check"]).code, 0);
}

#[test]
fn amounts_within_lists_keep_all_their_digits() {
    let work = work("");
    let rest = r#","discounts":[{"amount":12345678901234.5678},{"amount":null},null],"total":-12345678901224.5678"#;
    work.load(&[order("A", 1, &["x"], rest)], &[]).published();
    assert_eq!(work.query("SELECT discount_total, total FROM fact_order_total"), ["12345678901234.5678|-12345678901224.5678"]);
}

#[test]
fn without_totals_in_the_profile_there_is_no_second_fact() {
    let work = Workspace::new();
    let summary = work.load(&[order("A", 1, &["x"], r#","total":99"#)], &[]).published();
    assert!(!work.path("output/order_totals").exists());
    assert_eq!((check(&summary, "order_total_reconciles"), check(&summary, "order_total_key_unique")), (None, None));
    let record = work.files("state/commits").into_values().next().unwrap();
    assert!(!String::from_utf8(record).unwrap().contains("\"totals\""));
    // A shipped profile that has totals can do without.
    work.write("etl.toml", "profile = \"shopify\"\n[orders]\ntotals = false\n");
    work.write("orders.json", std::fs::read(format!("{}/tests/payloads/shopify.json", env!("CARGO_MANIFEST_DIR"))).unwrap());
    work.etl(&["run", "--profile", "shopify", "--orders", "orders.json", "--cursor", "created_at", "--allow-incomplete"]).published();
    assert!(!work.path("output/order_totals").exists());
}

#[test]
fn a_refund_is_published_though_no_line_changes() {
    let work = work("");
    work.load(&[order("A", 1, &["x"], r#","total":10"#), order("B", 2, &["x"], r#","total":10"#)], &[]).published();
    let lines = work.times_in("curated");
    let summary = work.load(&[order("A", 1, &["x"], r#","total":10,"refunded":"2.50""#)], &[]).published();
    assert_eq!((&summary["partitions_written"], &summary["order_totals_changed"]), (&json!([]), &json!(["2026-01-01"])));
    assert_eq!(work.query(TOTALS), ["2026-01-01|A|10.0000|10.0000|2.5000", "2026-01-02|B|10.0000|10.0000|NULL"]);
    assert_eq!(work.times_in("curated"), lines);
    assert!(check(&summary, "order_total_reconciles").is_some());
    // It is undone as any run is.
    let run_id = summary["run_id"].as_str().unwrap();
    let undone = work.etl(&["undo", run_id]);
    assert_eq!((undone.code, &undone.summary()["order_totals"]), (0, &json!(["2026-01-01"])), "{}", undone.stderr);
    assert_eq!(work.query(TOTALS)[0], "2026-01-01|A|10.0000|10.0000|NULL");
    assert_eq!(work.times_in("curated"), lines);
    work.load(&[order("A", 1, &["x"], r#","total":10,"refunded":"2.50""#)], &[]).published();
}

#[test]
fn an_order_has_one_row_in_the_layer_whichever_day_it_moves_to() {
    for settings in ["", "merge = \"order\""] {
        let work = work(settings);
        work.load(&[version("A", 1, 1, &["x", "y"]), version("B", 1, 1, &["x"])], &[]).published();
        // Within the run, the older version stands last.
        let summary = work.load(&[version("A", 2, 3, &["x", "y", "z"]), version("A", 3, 2, &["x"])], &[]).published();
        let expected = ["2026-01-01|B|10.0000|10.0000|NULL", "2026-01-02|A|30.0000|30.0000|NULL"];
        assert_eq!(work.query(TOTALS), expected, "{settings}");
        assert_eq!(summary["order_totals_changed"], json!(["2026-01-01", "2026-01-02"]), "{settings}");
        // An older version changes nothing, wherever it lies.
        work.load(&[version("A", 1, 2, &["x"])], &[]).unchanged();
        assert_eq!(work.query(TOTALS), expected, "{settings}");
        // The last order of a day leaves it.
        let summary = work.load(&[version("B", 3, 2, &["x"])], &[]).published();
        assert_eq!(summary["order_totals_changed"], json!(["2026-01-01", "2026-01-03"]), "{settings}");
        assert!(!work.path("output/order_totals/dt=2026-01-01").exists(), "{settings}");
        assert_eq!(work.etl(&["check"]).code, 0, "{settings}");
    }
}

#[test]
fn an_order_that_has_lost_all_its_lines_loses_its_totals() {
    let work = work("merge = \"order\"");
    work.load(&[version("A", 1, 1, &["x"]), version("B", 1, 1, &["x"])], &[]).published();
    work.load(&[version("A", 1, 2, &[])], &[]).published();
    assert_eq!(work.query(TOTALS), ["2026-01-01|B|10.0000|10.0000|NULL"]);
    // And comes back with a newer version.
    work.load(&[version("A", 1, 3, &["y"])], &[]).published();
    assert_eq!(work.query(TOTALS), ["2026-01-01|A|10.0000|10.0000|NULL", "2026-01-01|B|10.0000|10.0000|NULL"]);
    let run = work.load(&[version("A", 1, 4, &[]), version("B", 1, 4, &[])], &[]).published();
    assert!(work.files("order_totals").is_empty() && work.files("curated").is_empty());
    // Undone, both facts are back.
    assert_eq!(work.etl(&["undo", run["run_id"].as_str().unwrap()]).code, 0);
    assert_eq!(work.query(TOTALS), ["2026-01-01|A|10.0000|10.0000|NULL", "2026-01-01|B|10.0000|10.0000|NULL"]);
    assert_eq!(work.etl(&["check"]).code, 0);
}

#[test]
fn a_line_that_is_lost_makes_the_check_fail_where_the_profile_says_that_totals_add_up() {
    let dropped = |total: u8| {
        format!(
            r#"{{"order_id":"A","created_at":"2026-01-01","total":{total},"items":[{{"sku":"x","price":10}},{{"sku":"y","price":"n/a"}}]}}"#
        )
    };
    let work = work("");
    let summary = work.load(&[dropped(20)], &[]).expect(4, "checks_failed");
    let found = check(&summary, "order_total_reconciles").unwrap();
    assert_eq!((&found["severity"], &found["violations"]), (&json!("error"), &json!(1)));
    let sample = &found["sample"][0];
    assert_eq!((&sample["order_id"], &sample["added_up"], &sample["total"]), (&json!("A"), &json!("10.0000"), &json!("20.0000")));
    assert_eq!(summary["order_totals_changed"], json!([]));
    assert!(work.files("order_totals").is_empty() && work.files("curated").is_empty());
    // A total that is not known is not judged, and one that can't be read is counted.
    let summary = work.load(&[dropped(20).replace("\"total\":20", "\"total\":\"n/a\",\"tax\":[]")], &[]).published();
    assert_eq!(summary["values_unreadable"], 2);
    assert_eq!(work.query("SELECT lines_total, tax_total, total FROM fact_order_total"), ["10.0000|NULL|NULL"]);
    // A sku that stands twice: of two lines, one row stays.
    let twice = order("T", 1, &["x", "x"], r#","total":20"#);
    assert_eq!(
        check(&work.load(std::slice::from_ref(&twice), &[]).expect(4, "checks_failed"), "order_total_reconciles").unwrap()["violations"],
        1
    );
    let config = work.read("etl.toml");
    work.write("etl.toml", format!("repeated_sku = \"sum\"\n{config}"));
    work.load(&[twice], &[]).published();
    // Where the profile says nothing, it is reported; and not looked at where it says that totals do not add up.
    work.write("etl.toml", config.replace("reconciles = true\n", ""));
    let summary = work.load(&[dropped(30)], &[]).published();
    let found = check(&summary, "order_total_reconciles").unwrap();
    assert_eq!((&found["severity"], &found["violations"]), (&json!("warn"), &json!(1)));
    assert_eq!(work.etl(&["check"]).code, 0);
    work.write("etl.toml", config.replace("reconciles = true", "reconciles = false"));
    assert_eq!(check(&work.load(&[dropped(40)], &[]).published(), "order_total_reconciles"), None);
    // What the settings say of the orders counts, else what the last run has said.
    assert_eq!(work.etl(&["check"]).code, 0);
    work.write("etl.toml", format!("orders.location = \"orders.ndjson\"\n{config}"));
    assert_eq!(work.etl(&["check"]).code, 4);
}

#[test]
fn the_totals_of_a_version_without_rows_do_not_replace_those_of_the_rows_that_stay() {
    let version = |day: u8, updated: u8, second: &str, total: u8| {
        format!(
            r#"{{"order_id":"A","created_at":"2026-01-0{day}","updated_at":"2026-02-0{updated}","currency":"EUR","items":[{{"sku":"x","price":10}},{{"sku":"x","price":{second}}}],"total":{total}}}"#
        )
    };
    // The sum of the second version lacks a line, so the row of the first one stays, on its own day.
    let (whole, partial, mended) = (version(1, 1, "20", 30), version(2, 2, "\"?\"", 35), version(2, 3, "25", 35));
    for by in ["line", "order"] {
        let runs: [&[&[&String]]; 2] = [&[&[&whole], &[&partial]], &[&[&whole, &partial]]];
        for runs in runs {
            let work = work(&format!("merge = \"{by}\"\nrepeated_sku = \"sum\""));
            work.write("etl.toml", work.read("etl.toml").replace("reconciles = true", "reconciles = false"));
            for run in runs {
                work.load(&run.iter().map(|record| (*record).clone()).collect::<Vec<_>>(), &[]).summary();
            }
            assert_eq!(work.query("SELECT dt, line_total FROM fact_order"), ["2026-01-01|30.0000"], "{by} {}", runs.len());
            assert_eq!(work.query(TOTALS), ["2026-01-01|A|30.0000|30.0000|NULL"], "{by} {}", runs.len());
            work.load(std::slice::from_ref(&mended), &[]).published();
            assert_eq!(work.query(TOTALS), ["2026-01-02|A|35.0000|35.0000|NULL"], "{by} {}", runs.len());
            assert_eq!(work.etl(&["check"]).code, 0, "{by} {}", runs.len());
        }
    }
}

#[test]
fn what_somebody_changes_or_loses_by_hand_is_found() {
    let work = work("");
    let both = [order("A", 1, &["x"], r#","total":10"#), order("B", 1, &["x"], r#","total":10,"paid":10"#)];
    work.load(&both, &[]).published();
    let file = "output/order_totals/dt=2026-01-01/part-00000.csv";
    let content = work.read(file);
    // The state is gone: it is made again of both facts.
    std::fs::remove_dir_all(work.path("output/state")).unwrap();
    work.load(&[order("C", 1, &["x"], r#","total":10"#)], &[]).published();
    assert_eq!(work.query("SELECT order_id, paid_total FROM fact_order_total ORDER BY ALL"), ["A|NULL", "B|10.0000", "C|NULL"]);
    // A valid edit counts.
    let edited = work.read(file).replace("B,EUR,10.0000,,,,10.0000,,10.0000", "B,EUR,10.0000,,,,10.0000,7.0000,10.0000");
    work.write(file, &edited);
    work.load(&[order("D", 1, &["x"], r#","total":10"#)], &[]).published();
    assert_eq!(work.query("SELECT refunded_total FROM fact_order_total WHERE order_id = 'B'"), ["7.0000"]);
    // A damaged file is never overwritten.
    work.write(file, content.replace("10.0000", "ten"));
    let ended = work.load(&[order("E", 1, &["x"], r#","total":10"#)], &[]);
    assert!(ended.code == 5 && ended.stderr.contains("order_totals/dt=2026-01-01/part-00000.csv, line 2"), "{}", ended.stderr);
    // One that is gone is missed, and the next run makes it of the orders that it brings.
    std::fs::remove_file(work.path(file)).unwrap();
    work.load(&both, &[]).published();
    assert_eq!(work.query("SELECT order_id FROM fact_order_total ORDER BY ALL"), ["A", "B"]);
    // What does not belong there is named.
    work.write("output/order_totals/dt=2026-01-01/copy.csv", "x");
    let checked = work.etl(&["check"]);
    assert_eq!(checked.code, 4);
    assert_eq!(check(&checked.summary(), "partition_files").unwrap()["sample"], json!([{"path": "order_totals/dt=2026-01-01/copy.csv"}]));
}

#[test]
fn a_newer_version_of_a_source_without_totals_takes_the_old_ones_away() {
    let work = work("");
    work.load(&[version("A", 1, 1, &["x"]), version("B", 1, 1, &["x"])], &[]).published();
    std::fs::remove_file(work.path("etl.toml")).unwrap();
    let ended = work.load(&[version("A", 1, 2, &["x"])], &["--log-format", "text"]);
    ended.published();
    assert!(ended.stderr.contains("maps no totals"), "{}", ended.stderr);
    assert_eq!(work.query(TOTALS), ["2026-01-01|B|10.0000|10.0000|NULL"]);
}

#[test]
fn a_check_of_ones_own_sees_the_totals() {
    let work = work("");
    work.write(
        "checks/over_refunded.sql",
        "-- severity: warn\nSELECT changed.order_id, layer.dt FROM fact_order_total_changed AS changed JOIN fact_order_total AS layer USING (order_id) WHERE changed.refunded_total > changed.total",
    );
    work.load(&[order("A", 1, &["x"], r#","total":10"#)], &[]).published();
    let summary = work.load(&[order("B", 2, &["x"], r#","total":10,"refunded":11"#)], &[]).published();
    assert_eq!(check(&summary, "over_refunded").unwrap()["sample"], json!([{"order_id": "B", "dt": "2026-01-02"}]));
    // Also where there are none.
    let plain = Workspace::new();
    plain.write("checks/none.sql", "SELECT order_id FROM fact_order_total");
    plain.load(&[order("A", 1, &["x"], "")], &[]).published();
}

#[test]
fn totals_are_csv_beside_facts_of_any_format_and_a_rewrite_leaves_them() {
    let work = work("");
    work.load(&[version("A", 1, 1, &["x"])], &["--file-format", "parquet"]).published();
    let totals = work.read("output/order_totals/dt=2026-01-01/part-00000.csv");
    assert_eq!(work.etl(&["rewrite", "--file-format", "csv"]).code, 0);
    assert_eq!(work.read("output/order_totals/dt=2026-01-01/part-00000.csv"), totals);
    work.load(&[version("A", 1, 1, &["x"])], &[]).unchanged();
    work.load(&[version("B", 1, 1, &["x"])], &[]).published();
    assert_eq!(work.query(TOTALS), ["2026-01-01|A|10.0000|10.0000|NULL", "2026-01-01|B|10.0000|10.0000|NULL"]);
}

#[test]
fn a_marked_order_is_marked_in_its_total_too_and_a_check_without_a_log_knows_the_totals() {
    let work = work("");
    let lines: Vec<_> = ["A", "B"].map(|id| order(id, 1, &["x"], r#","total":10"#)).into();
    work.load(&lines, &[]).published();
    let mark = ["--delete-missing", "mark", "--delete-limit", "100%"];
    work.load(&lines[1..], &mark).published();
    let status = "SELECT order_id, status FROM fact_order_total ORDER BY 1";
    assert_eq!(work.query(status), ["A|deleted", "B|paid"]);
    work.load(&lines[1..], &mark).unchanged();
    work.load(&lines, &[]).published();
    assert_eq!(work.query(status), ["A|paid", "B|paid"]);
    std::fs::remove_dir_all(work.path("output/state")).unwrap();
    let ended = work.etl(&["check"]);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    work.write("output/order_totals/dt=2026-01-01/other.csv", "x");
    assert_eq!(work.etl(&["check"]).code, 4);
}
