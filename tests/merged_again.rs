//! A run that merges again, because another one was committed while it was at work.

use std::{thread, time::Duration};

use serde_json::Value;

use crate::support::{Ended, Workspace, check, ended, order};

/// A check that takes some seconds and finds nothing.
const SLOW: &str =
    "SELECT n FROM (SELECT count(*) AS n FROM range(9000) a(i), range(20000) b(j) WHERE (a.i * 7 + b.j) % 1000003 = 17) WHERE n < 0";

/// Loads a day while another run holds its own back with a slow check: the slow one merges again. Returns how that one has ended.
fn raced(work: &Workspace, slow: Load<'_>, fast: Load<'_>) -> Ended {
    work.write("slow/slow.sql", SLOW);
    work.write("none/none.sql", "SELECT 1 WHERE false");
    work.write("slow.ndjson", slow.orders.join("\n"));
    work.write("fast.ndjson", fast.orders.join("\n"));
    let args = |orders, checks, load: &Load<'_>| -> Vec<String> {
        let Load { since, until, more, .. } = load;
        let fixed = ["run", "--orders", orders, "--checks", checks, "--since", since, "--until", until];
        fixed.iter().chain(*more).map(|arg| (*arg).to_owned()).collect()
    };
    let (slow, fast) = (args("slow.ndjson", "slow", &slow), args("fast.ndjson", "none", &fast));
    let slow = work.start(&slow.iter().map(String::as_str).collect::<Vec<_>>());
    // The other run is committed while the slow check is at work.
    thread::sleep(Duration::from_millis(700));
    work.etl(&fast.iter().map(String::as_str).collect::<Vec<_>>()).published();
    let slow = ended(slow.wait_with_output().unwrap());
    assert!(slow.stderr.contains("another run was committed first"), "the premise: it has merged again: {}", slow.stderr);
    slow
}

/// What a run loads, and its further arguments.
struct Load<'a> {
    since: &'a str,
    until: &'a str,
    orders: &'a [String],
    more: &'a [&'a str],
}

/// A load of the second of January.
fn of_second(orders: &[String]) -> Load<'_> {
    Load { since: "2026-01-02", until: "2026-01-03", orders, more: &[] }
}

/// A load of the fifth and the sixth.
fn of_fifth(orders: &[String]) -> Load<'_> {
    Load { since: "2026-01-05", until: "2026-01-07", orders, more: &[] }
}

fn version(day: &str, updated: &str) -> String {
    order("X", day, &format!(r#","updated_at":"{updated}T00:00:00Z""#))
}

#[test]
fn a_run_that_has_lost_everything_leaves_no_trace_of_its_first_attempt() {
    let work = Workspace::new();
    work.write("slow/slow.sql", SLOW);
    work.write("none/none.sql", "SELECT 1 WHERE false");
    work.load(&[order("OTHER", "2025-12-01", "")], &["--checks", "none"]).published();
    work.write("old.ndjson", version("2026-01-01", "2026-02-02"));
    work.write("new.ndjson", version("2026-01-08", "2026-02-03"));
    let window = |since, until| ["--since", since, "--until", until];
    let slow = work.start(&[&["run", "--orders", "old.ndjson", "--checks", "slow"][..], &window("2026-01-01", "2026-01-02")].concat());
    // The other run is committed while the slow check is at work.
    thread::sleep(Duration::from_millis(700));
    work.etl(&[&["run", "--orders", "new.ndjson", "--checks", "none"][..], &window("2026-01-08", "2026-01-09")].concat()).published();
    let slow = ended(slow.wait_with_output().unwrap());
    let summary = slow.unchanged();
    assert_eq!(summary["rows_superseded"], 1, "the premise: it has merged again");

    let manifest: Value = serde_json::from_str(&work.read("output/manifests/latest")).unwrap();
    let urls: Vec<_> = manifest["entries"].as_array().unwrap().iter().map(|entry| entry["url"].as_str().unwrap()).collect();
    assert!(urls.len() == 2 && urls.iter().all(|url| !url.contains("dt=2026-01-01")), "{urls:?}");
    let own = format!("manifests/{}.manifest", summary["run_id"].as_str().unwrap());
    assert!(!work.path("output").join(own).exists(), "a run that wrote no partition has no manifest");
    let explained: Value = serde_json::from_str(work.etl(&["explain", "X", "--json"]).stdout.lines().last().unwrap()).unwrap();
    assert_eq!(explained["versions"].as_array().unwrap().len(), 2, "one record of one run is one version: {explained}");
}

/// An order of one line.
fn sale(order_id: &str, day: &str, updated: &str, sku: &str, price: &str) -> String {
    format!(
        r#"{{"order_id":"{order_id}","created_at":"2026-01-{day}T10:00:00Z","updated_at":"2026-02-{updated}T00:00:00Z","items":[{{"sku":"{sku}","quantity":1,"price":{price}}}]}}"#
    )
}

/// Sales of one sku to six orders.
fn sales(name: &str, day: &str, sku: &str, price: &str) -> Vec<String> {
    (0..6).map(|number| sale(&format!("{name}{number}"), day, "01", sku, price)).collect()
}

/// The days and the orders of all rows.
fn rows(work: &Workspace) -> Vec<String> {
    work.query("SELECT dt, order_id FROM fact_order ORDER BY ALL")
}

/// How many rows the checks of a run have found, by the name of the check.
fn found(summary: &Value, name: &str) -> u64 {
    check(summary, name).unwrap_or_else(|| panic!("{name} did not run: {summary}"))["violations"].as_u64().unwrap()
}

/// How often the log names a check that has found rows.
fn logged_failures(ended: &Ended) -> usize {
    ended.stderr.matches("a check of severity error has found rows").count()
}

#[test]
fn a_failed_check_is_logged_once_however_often_the_run_merges() {
    let work = Workspace::new();
    work.load(&sales("OLD", "09", "S", "10"), &[]).published();
    let (slow, fast) = (sales("A", "02", "S", "1000"), sales("B", "06", "T", "10"));
    let ended = raced(&work, of_second(&slow), of_fifth(&fast));
    assert_eq!((ended.code, found(&ended.summary(), "fact_unit_slip")), (4, 6), "{}", ended.stderr);
    assert_eq!(logged_failures(&ended), 1, "{}", ended.stderr);
    let summary = ended.summary();
    let [waited, all] = ["waited_seconds", "execution_time_seconds"].map(|key| summary[key].as_f64().unwrap());
    assert!(waited > 0.0 && waited < all, "the first attempt: {waited} of {all}");
}

#[test]
fn a_partition_that_another_run_has_emptied_meanwhile_does_not_come_back() {
    let work = Workspace::new();
    let stored = [sale("MOVES", "05", "01", "S", "10"), sale("STAYS", "05", "01", "T", "10"), sale("OTHER", "09", "01", "S", "10")];
    work.load(&stored, &[]).published();
    // The slow run leaves the 5th to STAYS, which the other one takes away from there.
    let slow = [sale("MOVES", "02", "05", "S", "10")];
    let fast = [sale("MOVES", "06", "03", "S", "10"), sale("STAYS", "06", "03", "T", "10")];
    raced(&work, of_second(&slow), of_fifth(&fast)).published();
    assert_eq!(rows(&work), ["2026-01-02|MOVES", "2026-01-06|STAYS", "2026-01-09|OTHER"]);
    assert_eq!(work.etl(&["check", "--history"]).code, 0);
}

#[test]
fn a_partition_that_another_run_has_filled_meanwhile_is_not_emptied() {
    let work = Workspace::new();
    work.load(&[sale("MOVES", "05", "01", "S", "10"), sale("OTHER", "09", "01", "S", "10")], &[]).published();
    // The slow run empties the 5th. The other one has moved the order away already, and brings another one there.
    let slow = [sale("MOVES", "02", "05", "S", "10")];
    let fast = [sale("MOVES", "06", "03", "S", "10"), sale("NEW", "05", "03", "T", "10")];
    raced(&work, of_second(&slow), of_fifth(&fast)).published();
    assert_eq!(rows(&work), ["2026-01-02|MOVES", "2026-01-05|NEW", "2026-01-09|OTHER"]);
}

#[test]
fn the_prices_of_a_run_that_has_merged_again_are_known() {
    let work = Workspace::new();
    work.load(&[sale("OTHER", "09", "01", "S", "10")], &[]).published();
    let (slow, fast) = (sales("A", "02", "NEW", "10"), sales("B", "06", "S", "10"));
    raced(&work, of_second(&slow), of_fifth(&fast)).published();
    let slipped = work.load(&sales("C", "12", "NEW", "1000"), &[]);
    assert_eq!((slipped.code, found(&slipped.summary(), "fact_unit_slip")), (4, 6), "{}", slipped.stderr);
}

#[test]
fn what_the_checks_have_found_stays_found_when_a_run_merges_again() {
    let work = Workspace::new();
    work.load(&sales("OLD", "09", "S", "10"), &[]).published();
    let mut slow = sales("A", "02", "S", "1000");
    slow.push(sale("RETURN", "02", "01", "S", "10").replace(r#""quantity":1"#, r#""quantity":-1"#));
    let fast = sales("B", "06", "T", "10");
    let ended = raced(&work, Load { more: &["--on-check-failure", "publish"], ..of_second(&slow) }, of_fifth(&fast));
    let summary = ended.summary();
    assert_eq!((ended.code, found(&summary, "fact_unit_slip"), found(&summary, "fact_quantity_positive")), (4, 6, 1), "{}", ended.stderr);
    assert_eq!(logged_failures(&ended), 1, "{}", ended.stderr);
}
