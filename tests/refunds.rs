//! `fact_refund`, refunds by their own days: what it holds, which refunds a version of an order replaces, what is written and what is
//! left alone. Sums are compared with what the source lists.

use std::{thread, time::Duration};

use serde_json::{Value, json};

use crate::support::{Workspace, check, ended};

/// Where the source lists its refunds.
const REFUNDS: &str = r#"
[orders.refunds]
list = "refunds"
refund_id = "id"
created_at = "at"
amount = "amount"
skip = [{ path = "state", equals = "failed" }]
[orders.refunds.lines]
list = "lines"
quantity = "n"
amount = "sum"
by_line = { id = "line", line = "id" }
"#;

/// A source that lists refunds.
fn work(settings: &str) -> Workspace {
    let work = Workspace::new();
    work.write("etl.toml", format!("{settings}\n{REFUNDS}"));
    work
}

/// An order of the skus `x` and `y`, at 10.00 each, as it was on a day of March, with these refunds.
fn order(order_id: &str, day: u8, updated: u8, refunds: &[String]) -> String {
    format!(
        r#"{{"order_id":"{order_id}","created_at":"2026-01-0{day}T12:00:00Z","updated_at":"2026-03-0{updated}","currency":"EUR","items":[{{"id":1,"sku":"x","price":10}},{{"id":2,"sku":"y","price":10}}],"refunds":[{}]}}"#,
        refunds.join(",")
    )
}

/// A refund on a day of February, without lines.
fn refund(id: &str, day: u8, amount: &str) -> String {
    format!(r#"{{"id":"{id}","at":"2026-02-0{day}T10:00:00Z","amount":"{amount}"}}"#)
}

/// The refunds of the layer, by day.
fn stored(work: &Workspace) -> Vec<String> {
    if work.files("refunds").is_empty() {
        return Vec::new();
    }
    work.query("SELECT dt, refund_id, order_id, sku, amount FROM fact_refund ORDER BY ALL")
}

#[test]
fn refunds_lie_on_their_own_days_with_the_skus_of_the_lines_that_they_name() {
    let work = work("");
    let lines = r#"{"id":"r2","at":"2026-02-03T23:30:00-05:00","amount":"12.50","lines":[{"line":2,"n":1,"sum":"6"},{"line":2,"n":1,"sum":4},{"line":9,"sum":1}]}"#;
    let failed = r#"{"id":"r9","at":"2026-02-03","amount":9,"state":"failed"}"#;
    let orders = [
        order("B", 1, 1, &[lines.to_owned(), refund("r1", 3, "3.00"), failed.to_owned()]),
        order("A", 2, 1, &[refund("r3", 3, "0.10")]),
        order("C", 2, 1, &[]),
    ];
    let summary = work.load(&orders, &[]).published();
    let header = "refund_id,order_id,sku,quantity,amount,currency,created_at\n";
    let third = "r1,B,,,3.0000,EUR,2026-02-03 10:00:00\nr3,A,,,0.1000,EUR,2026-02-03 10:00:00\n";
    assert_eq!(work.read("output/refunds/dt=2026-02-03/part-00000.csv"), format!("{header}{third}"));
    // The line that the order does not have, and what is in no line, are one row without a sku.
    let fourth = "r2,B,,,2.5000,EUR,2026-02-04 04:30:00\nr2,B,y,2.0000,10.0000,EUR,2026-02-04 04:30:00\n";
    assert_eq!(work.read("output/refunds/dt=2026-02-04/part-00000.csv"), format!("{header}{fourth}"));
    assert_eq!(work.files("curated").len(), 2);
    let counts = ["refunds_read", "refunds_dropped", "refunds_skipped", "values_unreadable"].map(|key| summary[key].as_u64().unwrap());
    assert_eq!(counts, [3, 0, 1, 1]);
    assert_eq!(summary["refunds_changed"], json!(["2026-02-03", "2026-02-04"]));
    assert_eq!(check(&summary, "refund_key_unique").unwrap()["passed"], true);
    // What the source gives back, order by order.
    let sums = "SELECT order_id, sum(amount) FROM fact_refund GROUP BY order_id ORDER BY order_id";
    assert_eq!(work.query(sums), ["A|0.1000", "B|15.5000"]);
    // The same again touches nothing.
    let before = (work.times_in("refunds"), work.times_in("curated"));
    let again = work.load(&orders, &[]).unchanged();
    assert_eq!((&again["refunds_changed"], again["refunds_read"].as_u64()), (&json!([]), Some(3)));
    assert_eq!((work.times_in("refunds"), work.times_in("curated")), before);
    assert_eq!(work.etl(&["check"]).code, 0);
}

#[test]
fn without_refunds_in_the_profile_there_is_no_such_fact() {
    let work = Workspace::new();
    let summary = work.load(&[order("A", 1, 1, &[refund("r1", 3, "3")])], &[]).published();
    assert!(!work.path("output/refunds").exists());
    assert_eq!((check(&summary, "refund_key_unique"), &summary["refunds_read"]), (None, &json!(0)));
    let record = work.files("state/commits").into_values().next().unwrap();
    assert!(!String::from_utf8(record).unwrap().contains("refund_segments"));
}

#[test]
fn a_new_refund_changes_its_own_day_alone() {
    let work = work("");
    let first = [order("A", 1, 1, &[refund("r1", 3, "3")]), order("B", 1, 1, &[refund("r2", 3, "2")])];
    work.load(&first, &[]).published();
    let before = (work.times_in("refunds"), work.read("output/refunds/dt=2026-02-03/part-00000.csv"));
    // Nothing of the order changes but that.
    let summary = work.load(&[order("A", 1, 1, &[refund("r1", 3, "3"), refund("r3", 5, "1.50")])], &[]).published();
    assert_eq!((&summary["refunds_changed"], &summary["partitions_written"]), (&json!(["2026-02-05"]), &json!([])));
    assert_eq!(check(&summary, "refund_key_unique").unwrap()["passed"], true);
    assert_eq!(stored(&work), ["2026-02-03|r1|A|NULL|3.0000", "2026-02-03|r2|B|NULL|2.0000", "2026-02-05|r3|A|NULL|1.5000"]);
    let third = "refunds/dt=2026-02-03/part-00000.csv";
    assert_eq!((work.times_in("refunds")[third], work.read("output/refunds/dt=2026-02-03/part-00000.csv")), (before.0[third], before.1));
}

#[test]
fn a_refund_that_the_source_no_longer_lists_goes_and_one_may_move() {
    let work = work("");
    work.load(&[order("A", 1, 1, &[refund("r1", 3, "3"), refund("r2", 4, "2")]), order("B", 1, 1, &[refund("r3", 4, "1")])], &[])
        .published();
    // Of r1 nothing is left, and r2 was made on another day.
    let summary = work.load(&[order("A", 1, 2, &[refund("r2", 6, "2")])], &[]).published();
    assert_eq!(summary["refunds_changed"], json!(["2026-02-03", "2026-02-04", "2026-02-06"]));
    assert_eq!(stored(&work), ["2026-02-04|r3|B|NULL|1.0000", "2026-02-06|r2|A|NULL|2.0000"]);
    assert!(!work.path("output/refunds/dt=2026-02-03").exists());
    // An older version changes nothing.
    work.load(&[order("A", 1, 1, &[refund("r1", 3, "3")])], &[]).unchanged();
    // Within a run, the newest version counts.
    work.load(&[order("A", 1, 4, &[refund("r4", 7, "4")]), order("A", 1, 3, &[refund("r5", 7, "5")])], &[]).published();
    assert_eq!(stored(&work), ["2026-02-04|r3|B|NULL|1.0000", "2026-02-07|r4|A|NULL|4.0000"]);
    assert_eq!(work.etl(&["check"]).code, 0);
}

#[test]
fn an_order_that_moves_takes_its_refunds_along_by_name_and_not_by_day() {
    for settings in ["", "merge = \"order\""] {
        let work = work(settings);
        work.load(&[order("A", 1, 1, &[refund("r1", 3, "3")]), order("B", 1, 1, &[refund("r2", 3, "2")])], &[]).published();
        let before = work.times_in("refunds");
        let summary = work.load(&[order("A", 2, 2, &[refund("r1", 3, "3")])], &[]).published();
        assert_eq!((&summary["refunds_changed"], &summary["rows_moved"]), (&json!([]), &json!(2)), "{settings}");
        assert_eq!(work.times_in("refunds"), before, "{settings}");
        // From its new day on, it still knows which refunds are its own.
        let summary = work.load(&[order("A", 2, 3, &[])], &[]).published();
        assert_eq!(summary["refunds_changed"], json!(["2026-02-03"]), "{settings}");
        assert_eq!(stored(&work), ["2026-02-03|r2|B|NULL|2.0000"], "{settings}");
        assert_eq!(work.etl(&["check"]).code, 0, "{settings}");
    }
}

#[test]
fn an_order_without_rows_has_no_refunds() {
    let work = work("merge = \"order\"");
    work.load(&[order("A", 1, 1, &[refund("r1", 3, "3")]), order("B", 1, 1, &[refund("r2", 3, "2")])], &[]).published();
    let emptied = r#"{"order_id":"A","created_at":"2026-01-01T12:00:00Z","updated_at":"2026-03-02","items":[]}"#;
    let summary = work.load(&[emptied.to_owned()], &[]).published();
    assert_eq!((stored(&work), &summary["refunds_changed"]), (vec!["2026-02-03|r2|B|NULL|2.0000".to_owned()], &json!(["2026-02-03"])));
    assert_eq!(work.etl(&["undo", summary["run_id"].as_str().unwrap()]).code, 0);
    assert_eq!(stored(&work).len(), 2);
    // The source no longer has the order: its refund goes with its rows.
    let kept = [order("B", 1, 1, &[refund("r2", 3, "2")])];
    let summary = work.load(&kept, &["--delete-missing", "--delete-limit", "100%"]).published();
    assert_eq!((&summary["orders_deleted"], stored(&work)), (&json!(1), vec!["2026-02-03|r2|B|NULL|2.0000".to_owned()]));
    assert_eq!(work.etl(&["check"]).code, 0);
}

#[test]
fn a_malformed_refund_is_counted_and_said_and_its_order_is_loaded() {
    let work = work("");
    let malformed = [r#"{"id":"m1","amount":1}"#, r#"{"at":"2026-02-03","amount":1}"#, r#"{"id":"m3","at":"2026-02-03"}"#, "7"];
    let refunds: Vec<_> = malformed.map(str::to_owned).into_iter().chain([refund("r1", 3, "3")]).collect();
    let ended = work.load(&[order("A", 1, 1, &refunds)], &["--log-format", "text"]);
    let summary = ended.published();
    assert_eq!((&summary["refunds_read"], &summary["refunds_dropped"], &summary["rows_inserted"]), (&json!(5), &json!(4), &json!(2)));
    assert!(ended.stderr.contains("refunds were dropped"), "{}", ended.stderr);
    assert_eq!(stored(&work), ["2026-02-03|r1|A|NULL|3.0000"]);
    // Something else in place of the list is a refund that can't be read.
    let ended = work.load(&[order("B", 1, 1, &[]).replace(r#""refunds":[]"#, r#""refunds":{"id":"r2"}"#)], &["--log-format", "text"]);
    let summary = ended.published();
    assert_eq!((&summary["refunds_dropped"], &summary["refunds_read"]), (&json!(1), &json!(1)));
    assert!(ended.stderr.contains("refunds were dropped"), "{}", ended.stderr);
}

#[test]
fn the_money_of_a_refund_is_that_of_its_own_amount_whatever_its_lines_are() {
    let work = work("");
    let lines = [
        ("r1", r#"[{"line":1,"n":1,"sum":5},{"line":1,"sum":null}]"#),
        ("r2", r#"[{"line":2,"n":1}]"#),
        ("r3", r#"[{"line":1,"n":"x","sum":5}]"#),
        ("r4", r#"[{"line":1,"n":1.23456,"sum":5}]"#),
        ("r5", r#"[null,{"line":1,"n":1,"sum":5}]"#),
    ];
    let refunds = lines.map(|(id, lines)| format!(r#"{{"id":"{id}","at":"2026-02-03T10:00:00Z","amount":9,"lines":{lines}}}"#));
    let summary = work.load(&[order("A", 1, 1, &refunds)], &[]).published();
    let counts = ["refunds_read", "refunds_dropped", "values_unreadable"].map(|key| summary[key].as_u64().unwrap());
    assert_eq!(counts, [5, 0, 5]);
    let sums = work.query("SELECT refund_id, sum(amount), sum(amount) FILTER (sku = 'x') FROM fact_refund GROUP BY refund_id ORDER BY ALL");
    assert_eq!(sums, ["r1|9.0000|5.0000", "r2|9.0000|NULL", "r3|9.0000|5.0000", "r4|9.0000|5.0000", "r5|9.0000|5.0000"]);
    assert_eq!(work.etl(&["check"]).code, 0);
}

#[test]
fn what_was_loaded_of_refunds_stays_while_something_else_stands_around_their_list() {
    let refunds = |refunds: &[&str]| format!(r#"{{"refunds":{{"data":[{}]}}}}"#, refunds.join(","));
    let (r1, r2) = (refund("r1", 3, "3"), refund("r2", 4, "2"));
    let charges = |updated: u8, charges: &str| {
        format!(
            r#"{{"order_id":"A","created_at":"2026-01-01","updated_at":"2026-03-0{updated}","currency":"EUR","items":[{{"sku":"x","price":10}}]{charges}}}"#
        )
    };
    let first = charges(1, &format!(r#","charges":[{},{}]"#, refunds(&[&r1]), refunds(&[&r2])));
    let loaded = ["2026-02-03|r1|A|NULL|3.0000", "2026-02-04|r2|A|NULL|2.0000"];
    let cases = [
        (format!(r#","charges":{{"data":[{}]}}"#, refunds(&[&r1])), 1, loaded.to_vec()),
        (r#","charges":"ch_1""#.to_owned(), 1, loaded.to_vec()),
        (
            format!(r#","charges":[{},{{"refunds":[{r2}]}}]"#, refunds(&[&refund("r1", 3, "5")])),
            1,
            vec!["2026-02-03|r1|A|NULL|5.0000", loaded[1]],
        ),
        (format!(r#","charges":[{},"ch_2",{{"refunds":{{"data":{{}}}}}}]"#, refunds(&[&r2])), 2, loaded.to_vec()),
        // Nothing is there, so there are no refunds any more.
        (format!(r#","charges":[{},{{"refunds":null}},null]"#, refunds(&[])), 0, vec![]),
        (r#","charges":null"#.to_owned(), 0, vec![]),
        (String::new(), 0, vec![]),
    ];
    for (later, dropped, stays) in cases {
        let work = Workspace::new();
        work.write(
            "etl.toml",
            "[orders.refunds]\nlist = \"charges.*.refunds.data\"\nrefund_id = \"id\"\ncreated_at = \"at\"\namount = \"amount\"\n",
        );
        work.load(std::slice::from_ref(&first), &[]).published();
        assert_eq!(stored(&work), loaded);
        let orders = [charges(2, &later)];
        let summary = work.load(&orders, &[]).published();
        assert_eq!(stored(&work), stays, "{later}");
        assert_eq!((&summary["values_unreadable"], &summary["refunds_dropped"]), (&json!(0), &json!(dropped)), "{later}");
        work.load(&orders, &[]).unchanged();
        assert_eq!(work.etl(&["check"]).code, 0, "{later}");
    }
}

#[test]
fn what_was_loaded_of_a_refund_stays_while_it_can_not_be_read() {
    let loaded = ["2026-02-03|r1|A|NULL|3.0000", "2026-02-04|r2|A|NULL|2.0000"];
    let bad = |id: &str| format!(r#"{{"id":{id},"at":"2026-02-05T10:00:00Z","amount":"n/a"}}"#);
    for (refunds, stays) in [
        (vec![bad("\"r1\""), refund("r2", 4, "2")], vec![loaded[0], loaded[1]]),
        (vec![bad("\"r1\"")], vec![loaded[0]]),
        (vec![bad("null"), refund("r2", 6, "2")], vec![loaded[0], "2026-02-06|r2|A|NULL|2.0000"]),
        (vec![bad("\"r1\""), refund("r1", 3, "4")], vec!["2026-02-03|r1|A|NULL|4.0000"]),
        (vec![], vec![]),
    ] {
        let work = work("");
        work.load(&[order("A", 1, 1, &[refund("r1", 3, "3"), refund("r2", 4, "2")])], &[]).published();
        let orders = [order("A", 1, 2, &refunds)];
        work.load(&orders, &[]).published();
        assert_eq!(stored(&work), stays, "{refunds:?}");
        work.load(&orders, &[]).unchanged();
        assert_eq!(work.etl(&["check"]).code, 0);
    }
    // So it is where something else stands in place of the list.
    let work = work("");
    work.load(&[order("A", 1, 1, &[refund("r1", 3, "3"), refund("r2", 4, "2")])], &[]).published();
    let summary = work.load(&[order("A", 1, 2, &[]).replace("[]", "{}")], &[]).published();
    assert_eq!((stored(&work), &summary["refunds_dropped"]), (loaded.map(str::to_owned).to_vec(), &json!(1)));
}

#[test]
fn a_refund_of_two_orders_is_told() {
    let work = work("");
    work.load(&[order("A", 1, 1, &[refund("r1", 3, "3")])], &[]).published();
    work.load(&[order("B", 1, 1, &[refund("r1", 5, "3")])], &[]).published();
    let checked = work.etl(&["check"]);
    let summary = checked.summary();
    let found = check(&summary, "refund_of_one_order").unwrap();
    assert_eq!((checked.code, &found["violations"], &found["severity"]), (0, &json!(1), &json!("warn")));
}

#[test]
fn a_refund_that_stands_twice_in_its_order_counts_once_and_the_order_is_named_if_the_entries_differ() {
    let work = work("");
    let of_line = |line: u8, sum: &str| {
        format!(r#"{{"id":"r2","at":"2026-02-03T10:00:00Z","amount":"{sum}","lines":[{{"line":{line},"n":1,"sum":"{sum}"}}]}}"#)
    };
    let orders = [
        order("A", 1, 1, &[refund("r1", 3, "3"), refund("r1", 3, "3")]),
        order("B", 1, 1, &[of_line(1, "5"), of_line(2, "6")]),
        order("C", 1, 1, &[refund("r3", 3, "3"), refund("r3", 5, "4")]),
    ];
    let ended = work.load(&orders, &["--log-format", "text"]);
    let summary = ended.published();
    assert_eq!((&summary["refunds_read"], &summary["refunds_repeated"]), (&json!(6), &json!(2)));
    let rows = ["2026-02-03|r1|A|NULL|3.0000", "2026-02-03|r2|B|x|5.0000", "2026-02-03|r2|B|y|6.0000", "2026-02-05|r3|C|NULL|4.0000"];
    assert_eq!(stored(&work), rows);
    assert!(ended.stderr.contains("say the same: each counts once"), "{}", ended.stderr);
    assert!(ended.stderr.contains("with different contents") && ended.stderr.contains("`r3` of order `C`"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("of order `A`"), "{}", ended.stderr);
    work.load(&orders, &[]).unchanged();
}

#[test]
fn refunds_that_do_not_add_up_to_what_their_order_says_are_counted_and_the_order_is_named() {
    let work = work("[orders.totals]\ntotal = \"sum\"\nrefunded = \"back\"\n");
    let says = |order: String, back: &str| order.replacen('{', &format!(r#"{{"back":{back},"#), 1);
    let parts = [refund("r2", 3, "3"), refund("r3", 4, "1.5")];
    let dollars = refund("r4", 3, "9").replace('{', r#"{"currency":"USD","#);
    let orders = [
        says(order("A", 1, 1, &[refund("r1", 3, "3")]), "5"),
        says(order("B", 1, 1, &parts), "\"-4.50\""),
        says(order("C", 1, 1, &[]), "1"),
        says(order("D", 1, 1, &[]), "0"),
        says(order("E", 1, 1, &[]), "null"),
        says(order("F", 1, 1, &[dollars]), "1"),
    ];
    work.write("etl.toml", work.read("etl.toml").replace("amount = \"amount\"", "amount = \"amount\"\ncurrency = \"currency\""));
    let ended = work.load(&orders, &["--log-format", "text"]);
    assert_eq!(ended.published()["refund_totals_differing"], 2);
    for named in ["order `A` says 5.0000, and its refunds have 3.0000", "order `C` says 1.0000, and its refunds have 0.0000"] {
        assert!(ended.stderr.contains(named), "{named}: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("order `B`") && !ended.stderr.contains("order `F`"), "{}", ended.stderr);
}

#[test]
fn an_undo_brings_refunds_back_and_later_runs_still_find_them() {
    let work = work("");
    work.load(&[order("A", 1, 1, &[refund("r1", 3, "3")])], &[]).published();
    let run = work.load(&[order("A", 1, 2, &[refund("r2", 4, "2")])], &[]).published();
    let run_id = run["run_id"].as_str().unwrap();
    let changed = work.etl(&["diff", run_id, "--json"]);
    assert_eq!(changed.summary()["refunds"], json!(["2026-02-03", "2026-02-04"]), "{}", changed.stdout);
    let undone = work.etl(&["undo", run_id]);
    assert_eq!((undone.code, &undone.summary()["refunds"]), (0, &json!(["2026-02-03", "2026-02-04"])), "{}", undone.stderr);
    assert_eq!(stored(&work), ["2026-02-03|r1|A|NULL|3.0000"]);
    work.load(&[order("A", 1, 3, &[])], &[]).published();
    assert_eq!(stored(&work), [""; 0]);
    assert_eq!(work.etl(&["check"]).code, 0);
}

#[test]
fn a_run_is_not_undone_beneath_later_refunds_of_its_orders() {
    let work = work("");
    work.load(&[order("A", 1, 1, &[])], &[]).published();
    let of_b = work.load(&[order("B", 1, 1, &[])], &[]).published();
    let refunded = work.load(&[order("B", 1, 1, &[refund("r1", 3, "3")])], &[]).published();
    let other = work.load(&[order("A", 1, 1, &[refund("r2", 3, "2")])], &[]).published();
    let undo = |run: &Value| work.etl(&["undo", run["run_id"].as_str().unwrap()]);
    let refused = undo(&of_b);
    assert!(refused.code == 2 && refused.stderr.contains(refunded["run_id"].as_str().unwrap()), "{}: {}", refused.code, refused.stderr);
    assert_eq!(stored(&work).len(), 2);
    // The latest first, as with any run.
    for run in [&other, &refunded, &of_b] {
        assert_eq!(undo(run).code, 0);
    }
    assert_eq!((stored(&work), work.query("SELECT DISTINCT order_id FROM fact_order")), (Vec::new(), vec!["A".to_owned()]));
}

/// A check that takes some seconds and finds nothing.
const SLOW: &str =
    "SELECT n FROM (SELECT count(*) AS n FROM range(9000) a(i), range(20000) b(j) WHERE (a.i * 7 + b.j) % 1000003 = 17) WHERE n < 0";

/// Loads `slow`, and `quick` while the slow run is at work: each an order and the day of its window. Returns what the slow run says.
fn merged_again(work: &Workspace, slow: (&str, u8), quick: (&str, u8)) -> Value {
    work.write("slow/slow.sql", SLOW);
    work.write("none/none.sql", "SELECT 1 WHERE false");
    work.write("slow.ndjson", slow.0);
    work.write("quick.ndjson", quick.0);
    let window = |day: u8| [format!("--since=2026-01-0{day}"), format!("--until=2026-01-0{}", day + 1)];
    let ([slow_since, slow_until], [quick_since, quick_until]) = (window(slow.1), window(quick.1));
    let running = work.start(&["run", "--orders", "slow.ndjson", "--checks", "slow", &slow_since, &slow_until]);
    thread::sleep(Duration::from_millis(700));
    work.etl(&["run", "--orders", "quick.ndjson", "--checks", "none", &quick_since, &quick_until]).published();
    ended(running.wait_with_output().unwrap()).summary()
}

#[test]
fn two_runs_at_once_bring_refunds_of_the_same_day() {
    let work = work("");
    work.load(&[order("OTHER", 9, 1, &[refund("r0", 3, "1")])], &[]).published();
    let (slow, quick) = (order("A", 1, 1, &[refund("r1", 3, "3")]), order("B", 5, 1, &[refund("r2", 3, "2")]));
    let summary = merged_again(&work, (slow.as_str(), 1), (quick.as_str(), 5));
    assert_eq!((&summary["status"], &summary["refunds_changed"]), (&json!("published"), &json!(["2026-02-03"])));
    assert_eq!(stored(&work), ["2026-02-03|r0|OTHER|NULL|1.0000", "2026-02-03|r1|A|NULL|3.0000", "2026-02-03|r2|B|NULL|2.0000"]);
    assert_eq!(work.etl(&["check"]).code, 0);
    // Each is found again.
    work.load(&[order("A", 1, 2, &[]), order("B", 5, 2, &[])], &[]).published();
    assert_eq!(stored(&work), ["2026-02-03|r0|OTHER|NULL|1.0000"]);
}

#[test]
fn a_run_that_was_superseded_while_it_was_at_work_leaves_none_of_its_refunds() {
    let work = work("");
    work.load(&[order("OTHER", 9, 1, &[])], &[]).published();
    let (slow, quick) = (order("A", 1, 1, &[refund("old", 5, "3")]), order("A", 5, 2, &[refund("new", 6, "2")]));
    let summary = merged_again(&work, (slow.as_str(), 1), (quick.as_str(), 5));
    assert_eq!((&summary["status"], &summary["rows_superseded"]), (&json!("unchanged"), &json!(2)), "the premise: it has merged again");
    assert_eq!(stored(&work), ["2026-02-06|new|A|NULL|2.0000"]);
    assert!(work.files("refunds/dt=2026-02-05").is_empty());
    assert_eq!(work.etl(&["check"]).code, 0);
}

#[test]
fn what_somebody_changes_or_loses_by_hand_is_found() {
    let work = work("");
    work.load(&[order("A", 1, 1, &[refund("r1", 3, "3")]), order("B", 1, 1, &[refund("r2", 4, "2")])], &[]).published();
    // The state is gone: refunds and their index are made again of the files.
    std::fs::remove_dir_all(work.path("output/state")).unwrap();
    work.load(&[order("C", 1, 1, &[])], &[]).published();
    assert_eq!(stored(&work), ["2026-02-03|r1|A|NULL|3.0000", "2026-02-04|r2|B|NULL|2.0000"]);
    work.load(&[order("A", 1, 2, &[])], &[]).published();
    assert_eq!(stored(&work), ["2026-02-04|r2|B|NULL|2.0000"]);
    // A valid edit counts, also where it names another order.
    let file = "output/refunds/dt=2026-02-04/part-00000.csv";
    let content = work.read(file);
    work.write(file, content.replace("r2,B", "r2,C"));
    let ended = work.load(&[order("C", 1, 2, &[refund("r3", 4, "1")])], &["--log-format", "text"]);
    ended.published();
    assert!(ended.stderr.contains("refunds of the day are not as they were published"), "{}", ended.stderr);
    assert_eq!(stored(&work), ["2026-02-04|r3|C|NULL|1.0000"]);
    // A refund of an order that the layer does not have is reported, and one that stands twice is an error.
    let row = "r9,NOBODY,,,1.0000,EUR,2026-02-04 10:00:00\n";
    let good = work.read(file);
    work.write(file, format!("{good}{row}"));
    let checked = work.etl(&["check"]);
    assert_eq!(checked.code, 0, "{}", checked.stdout);
    let found = checked.summary();
    let found = check(&found, "refund_order_exists").unwrap();
    assert_eq!((&found["severity"], &found["violations"], &found["sample"][0]["order_id"]), (&json!("warn"), &json!(1), &json!("NOBODY")));
    work.write(file, format!("{good}{row}{row}"));
    let checked = work.etl(&["check", "--log-format", "text"]);
    assert_eq!((checked.code, &check(&checked.summary(), "refund_key_unique").unwrap()["violations"]), (4, &json!(1)));
    assert!(checked.stderr.contains("NOBODY"), "the error names the order: {}", checked.stderr);
    // A damaged file is never overwritten.
    work.write(file, good.replace("1.0000", "one"));
    let ended = work.load(&[order("D", 1, 1, &[])], &[]);
    assert!(ended.code == 5 && ended.stderr.contains("refunds/dt=2026-02-04/part-00000.csv, line 2"), "{}", ended.stderr);
    std::fs::remove_file(work.path(file)).unwrap();
    work.load(&[order("C", 1, 2, &[refund("r3", 4, "1")])], &[]).published();
    assert_eq!(stored(&work), ["2026-02-04|r3|C|NULL|1.0000"]);
    // What does not belong there is named.
    work.write("output/refunds/dt=2026-02-04/copy.csv", "x");
    let checked = work.etl(&["check"]);
    assert_eq!(checked.code, 4);
    assert_eq!(check(&checked.summary(), "partition_files").unwrap()["sample"], json!([{"path": "refunds/dt=2026-02-04/copy.csv"}]));
}

#[test]
fn a_newer_version_of_a_source_without_refunds_takes_them_away_and_says_so() {
    let work = work("");
    work.load(&[order("A", 1, 1, &[refund("r1", 3, "3")]), order("B", 1, 1, &[refund("r2", 3, "2")])], &[]).published();
    std::fs::remove_file(work.path("etl.toml")).unwrap();
    let ended = work.load(&[order("A", 1, 2, &[refund("r1", 3, "3")])], &["--log-format", "text"]);
    ended.published();
    assert!(ended.stderr.contains("maps no refunds"), "{}", ended.stderr);
    assert_eq!(stored(&work), ["2026-02-03|r2|B|NULL|2.0000"]);
}

#[test]
fn a_check_of_ones_own_sees_the_refunds() {
    let work = work("");
    work.write(
        "checks/large.sql",
        "-- severity: warn\nSELECT changed.refund_id, layer.dt FROM fact_refund_changed AS changed JOIN fact_refund AS layer USING (refund_id) WHERE changed.amount > 20",
    );
    work.load(&[order("A", 1, 1, &[refund("r1", 3, "21")])], &[]).published();
    let summary = work.load(&[order("B", 2, 1, &[refund("r2", 4, "22")])], &[]).published();
    assert_eq!(check(&summary, "large").unwrap()["sample"], json!([{"refund_id": "r2", "dt": "2026-02-04"}]));
}

#[test]
fn an_engine_reads_refunds_and_totals_where_the_layer_has_them() {
    let work = work("");
    work.load(&[order("A", 1, 1, &[])], &[]).published();
    assert!(!work.etl(&["ddl", "duckdb"]).stdout.contains("fact_refund"));
    work.load(&[order("A", 1, 1, &[refund("r1", 3, "3"), refund("r2", 4, "2")])], &[]).published();
    let sql = work.etl(&["ddl", "duckdb"]).stdout;
    assert!(!sql.contains("fact_order_total"), "{sql}");
    let duckdb = duckdb::Connection::open_in_memory().unwrap();
    duckdb.execute_batch(&sql).unwrap();
    let read: String = duckdb
        .query_row("SELECT string_agg(concat_ws('|', dt, refund_id, amount), ' ' ORDER BY dt) FROM fact_refund", [], |row| row.get(0))
        .unwrap();
    assert_eq!(read, "2026-02-03|r1|3.0000 2026-02-04|r2|2.0000");
}

#[test]
fn refunds_are_csv_beside_facts_of_any_format_and_a_rewrite_leaves_them() {
    let work = work("");
    let orders = [order("A", 1, 1, &[refund("r1", 3, "3")])];
    work.load(&orders, &["--file-format", "parquet"]).published();
    let refunds = work.read("output/refunds/dt=2026-02-03/part-00000.csv");
    assert_eq!(work.etl(&["rewrite", "--file-format", "csv"]).code, 0);
    assert_eq!(work.read("output/refunds/dt=2026-02-03/part-00000.csv"), refunds);
    work.load(&orders, &[]).unchanged();
    work.load(&[order("A", 1, 2, &[])], &[]).published();
    assert_eq!(stored(&work), [""; 0]);
}
