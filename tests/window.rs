//! Windows: `--since`, `--until`, `last`, backfills chunk by chunk, and dry runs.

use serde_json::{Value, json};

use crate::support::{Workspace, order};

fn days(count: u32) -> Vec<String> {
    (1..=count).map(|day| order(&format!("O{day}"), &format!("2026-01-{day:02}T12:00:00Z"), "")).collect()
}

fn loaded(work: &Workspace) -> Vec<String> {
    work.query("SELECT DISTINCT dt FROM fact_order ORDER BY 1")
}

#[test]
fn a_window_begins_inclusively_and_ends_exclusively() {
    for (since, until, expected) in [
        (Some("2026-01-02"), None, vec!["2026-01-02", "2026-01-03"]),
        (None, Some("2026-01-02"), vec!["2026-01-01"]),
        (Some("2026-01-02T12:00:00Z"), Some("2026-01-03T12:00:00Z"), vec!["2026-01-02"]),
        (Some("2026-01-02T14:00:00+02:00"), Some("2026-01-03"), vec!["2026-01-02"]),
        (Some("36500d"), Some("1h"), vec!["2026-01-01", "2026-01-02", "2026-01-03"]),
    ] {
        let work = Workspace::new();
        let args: Vec<_> =
            since.map(|since| ["--since", since]).into_iter().chain(until.map(|until| ["--until", until])).flatten().collect();
        let summary = work.load(&days(3), &args).published();
        assert_eq!(loaded(&work), expected, "{since:?} {until:?}");
        assert_eq!(summary["records_out_of_window"].as_u64().unwrap() as usize, 3 - expected.len());
        assert!(summary["since"].is_string() == since.is_some() && summary["until"].is_string() == until.is_some());
    }
}

#[test]
fn an_empty_or_unreadable_window_is_bad_usage() {
    let work = Workspace::new();
    for args in [
        ["--since", "2026-01-02", "--until", "2026-01-02"],
        ["--since", "2026-01-02", "--until", "2026-01-01"],
        ["--since", "soon", "--until", "1h"],
        ["--since", "1d", "--until", "last"],
    ] {
        assert_eq!(work.load(&days(1), &args).code, 2, "{args:?}");
    }
    assert!(work.layer().is_empty());
}

#[test]
fn last_follows_on_the_run_before_less_the_lookback() {
    let work = Workspace::new();
    // The first time, everything is loaded.
    let first = work.load(&days(3), &["--since", "last", "--until", "2026-01-03"]).published();
    assert_eq!((loaded(&work), &first["since"]), (vec!["2026-01-01".into(), "2026-01-02".into()], &Value::Null));
    let second = work.load(&days(5), &["--since", "last", "--until", "2026-01-05"]).published();
    assert_eq!((&second["since"], &second["records_out_of_window"]), (&json!("2026-01-02T00:00:00Z"), &json!(2)));
    let third = work.load(&days(5), &["--since", "last", "--until", "2026-01-06", "--lookback", "1h"]).published();
    assert_eq!(third["since"], "2026-01-04T23:00:00Z");
    // An old window that is loaded again does not take it back, and neither does a run that failed or changed nothing.
    work.load(&days(5), &["--until", "2026-01-02"]).unchanged();
    work.etl(&["run", "--orders", "nowhere.ndjson"]).expect(3, "extract_failed");
    let fourth = work.load(&days(5), &["--since", "last", "--lookback", "0s"]).unchanged();
    assert_eq!(fourth["since"], "2026-01-06T00:00:00Z");
    // The state is expendable: the reports tell, too.
    std::fs::remove_dir_all(work.path("output/state")).unwrap();
    let fifth = work.load(&days(5), &["--since", "last", "--lookback", "0s"]).unchanged();
    assert!(fifth["since"].as_str().unwrap() > "2026-01-06T00:00:00Z", "{fifth}");
}

#[test]
fn a_dry_run_does_everything_but_publish() {
    let work = Workspace::new();
    work.load(&days(1), &[]).published();
    let (layer, times, reports) = (work.layer(), work.times(), work.files("reports"));
    let summary = work.load(&days(3), &["--dry-run"]).expect(0, "dry_run");
    assert_eq!((&summary["rows_inserted"], &summary["partitions_written"]), (&json!(2), &json!(["2026-01-02", "2026-01-03"])));
    assert!(!summary["checks"].as_array().unwrap().is_empty());
    assert_eq!((work.layer(), work.times(), work.files("reports")), (layer, times, reports));
    assert!(work.files("state/staging").is_empty());
}

#[test]
fn a_run_that_writes_nothing_leaves_no_folder() {
    let work = Workspace::new();
    work.write("orders.ndjson", days(3).join("\n"));
    let window = ["--since", "2026-01-02", "--until", "2026-01-02"];
    let orders = ["--orders", "orders.ndjson"];
    let attempts: [(Vec<&str>, i32); 5] = [
        ([&["run", "--dry-run"], &orders[..]].concat(), 0),
        ([&["run", "--dry-run", "--orders", "missing.ndjson"][..]].concat(), 3),
        ([&["run"], &orders[..], &window].concat(), 2),
        (vec!["run"], 2),
        ([&["backfill", "--dry-run", "--chunk", "1d", "--since", "2026-01-01", "--until", "2026-01-04"], &orders[..]].concat(), 0),
    ];
    for (args, code) in attempts {
        let ended = work.etl(&[&args[..], &["--output", "above/new"]].concat());
        assert_eq!(ended.code, code, "{args:?}: {}", ended.stderr);
        assert!(!work.path("above").exists(), "{args:?}");
    }
    // What somebody has put there stays, and so does a folder that was there.
    work.write("kept/notes.txt", "mine");
    assert_eq!(work.etl(&[&["run", "--dry-run", "--output", "kept"], &orders[..]].concat()).code, 0);
    let left: Vec<_> = std::fs::read_dir(work.path("kept")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["notes.txt"]);
    // A run that failed has a report, which stays.
    work.etl(&["run", "--orders", "missing.ndjson"]).expect(3, "extract_failed");
    assert_eq!(work.files("reports").len(), 1);
}

fn backfill(work: &Workspace, more: &[&str]) -> (i32, Value, String) {
    let ended = work.etl(&[&["backfill", "--orders", "orders.ndjson", "--log-format", "text"], more].concat());
    let summary = ended.stdout.lines().last().map_or(Value::Null, |line| serde_json::from_str(line).unwrap());
    (ended.code, summary, ended.stderr)
}

#[test]
fn a_backfill_loads_chunk_by_chunk_and_goes_on_where_it_failed() {
    let work = Workspace::new();
    work.write("orders.ndjson", days(9).join("\n"));
    // Day five violates a check: the first four days are loaded, and stay.
    work.write("checks/no_five.sql", "SELECT order_id FROM fact_order_changed WHERE order_id = 'O5'");
    let window = ["--since", "2026-01-01", "--until", "2026-01-10", "--chunk", "2d"];
    let (code, summary, _) = backfill(&work, &window);
    assert_eq!((code, &summary["chunks"], &summary["chunks_done"], &summary["status"]), (4, &json!(5), &json!(2), &json!("checks_failed")));
    assert_eq!(loaded(&work).len(), 4);
    std::fs::remove_dir_all(work.path("checks")).unwrap();
    let (code, summary, _) = backfill(&work, &window);
    assert_eq!((code, &summary["chunks_done"], &summary["chunks_done_before"]), (0, &json!(5), &json!(2)));
    let windows: Vec<_> = summary["runs"].as_array().unwrap().iter().map(|run| run["since"].as_str().unwrap()).collect();
    assert_eq!(windows, ["2026-01-05T00:00:00Z", "2026-01-07T00:00:00Z", "2026-01-09T00:00:00Z"]);
    assert_eq!(summary["runs"][2]["until"], "2026-01-10T00:00:00Z");
    assert_eq!(loaded(&work).len(), 9);
    // Done is done, until it is said to be forgotten.
    assert_eq!(backfill(&work, &window).1["runs"], json!([]));
    let again = backfill(&work, &[&window[..], &["--restart"]].concat()).1;
    assert_eq!((again["runs"].as_array().unwrap().len(), &again["status"]), (5, &json!("unchanged")));
    // Each chunk is a run of its own.
    assert_eq!(work.files("reports").keys().filter(|name| name.ends_with(".json")).count(), 3 + 3 + 5);
}

#[test]
fn a_backfill_equals_one_run() {
    let (chunks, whole) = (Workspace::new(), Workspace::new());
    chunks.write("orders.ndjson", days(28).join("\n"));
    assert_eq!(backfill(&chunks, &["--since", "2026-01-01", "--until", "2026-02-01", "--chunk", "1w"]).0, 0);
    whole.load(&days(28), &[]).published();
    assert_eq!(chunks.layer(), whole.layer());
}

#[test]
fn a_backfill_needs_a_beginning_and_a_chunk() {
    let work = Workspace::new();
    work.write("orders.ndjson", days(1).join("\n"));
    let (code, _, stderr) = backfill(&work, &[]);
    assert!(code == 2 && stderr.contains("--since"), "{stderr}");
    let (code, _, stderr) = backfill(&work, &["--since", "2026-01-01", "--chunk", "soon"]);
    assert!(code == 2 && stderr.contains("--chunk"), "{stderr}");
}

#[test]
fn the_history_lists_every_run_the_latest_first() {
    let work = Workspace::new();
    work.load(&days(2), &[]).published();
    work.load(&days(2), &[]).unchanged();
    work.etl(&["run", "--orders", "nowhere.ndjson"]).expect(3, "extract_failed");
    let ended = work.etl(&["runs", "--json"]);
    let runs: Value = serde_json::from_str(ended.stdout.lines().last().unwrap()).unwrap();
    let statuses: Vec<_> = runs["runs"].as_array().unwrap().iter().map(|run| run["status"].as_str().unwrap()).collect();
    assert_eq!((ended.code, statuses), (0, vec!["extract_failed", "unchanged", "published"]));
    let ids: Vec<_> = runs["runs"].as_array().unwrap().iter().map(|run| run["run_id"].as_str().unwrap()).collect();
    assert!(ids.is_sorted_by(|one, other| one > other), "{ids:?}");
    let text = work.etl(&["runs", "--format", "text", "--limit", "1"]).stdout;
    assert!(text.contains("extract_failed") && !text.contains("published"), "{text}");
}
