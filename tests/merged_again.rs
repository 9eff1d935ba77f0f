//! A run that merges again, because another one was committed while it was at work.

use std::{thread, time::Duration};

use serde_json::Value;

use crate::support::{Workspace, ended, order};

/// A check that takes some seconds and finds nothing.
const SLOW: &str =
    "SELECT n FROM (SELECT count(*) AS n FROM range(9000) a(i), range(20000) b(j) WHERE (a.i * 7 + b.j) % 1000003 = 17) WHERE n < 0";

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
