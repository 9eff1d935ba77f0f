//! An output of versions before commits is taken over by the first run, once.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Workspace, order};

/// Turns an output into what versions before commits have left: a catalog, the coverage and an index, and no log.
fn as_before_commits(work: &Workspace) {
    let latest: Value = serde_json::from_str(&work.read("output/state/latest.json")).unwrap();
    let layer = &latest["layer"];
    let segments: Vec<_> = layer["segments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|segment| segment["object"].as_str().unwrap().rsplit('/').next().unwrap())
        .collect();
    let catalog = json!({"version": 1, "columns": layer["columns"], "segments": segments, "partitions": layer["partitions"]});
    let prices = fs::read(work.path(&format!("output/{}", layer["prices"]["object"].as_str().unwrap()))).unwrap();
    work.write("output/state/catalog.json", catalog.to_string());
    work.write("output/state/coverage.json", layer["coverage"].to_string());
    for name in ["commits", "price_books", "leases"] {
        let _ = fs::remove_dir_all(work.path(&format!("output/state/{name}")));
    }
    work.write("output/state/prices", prices);
    fs::remove_file(work.path("output/state/latest.json")).unwrap();
    fs::remove_dir_all(work.path("output/data")).unwrap();
}

fn window<'a>(since: &'a str, until: &'a str) -> [&'a str; 4] {
    ["--since", since, "--until", until]
}

#[test]
fn it_is_read_once_and_nothing_of_it_is_lost() {
    let work = Workspace::new();
    let lines = [order("A", "2026-01-01", ""), order("B", "2026-01-02", "")];
    work.load(&lines, &window("2026-01-01", "2026-01-03")).published();
    let layer = work.layer();
    as_before_commits(&work);
    assert_eq!(work.etl(&["check"]).code, 0, "readers take it as it is");
    let unchanged = work.load(&lines, &["--log-format", "text"]);
    unchanged.unchanged();
    assert!(!unchanged.stderr.contains("rebuilt") && !unchanged.stderr.contains("changed it"), "{}", unchanged.stderr);
    assert_eq!(work.layer(), layer);
    // It has a log now, and versions of what was there, so that a change can be taken back.
    let latest: Value = serde_json::from_str(&work.read("output/state/latest.json")).unwrap();
    assert_eq!((&latest["version"], latest["layer"]["partitions"].as_object().unwrap().len()), (&json!(1), 2));
    let changed = work.load(&[order("A", "2026-01-01", r#","status":"paid""#)], &[]).published();
    let undone = work.etl(&["undo", changed["run_id"].as_str().unwrap()]);
    assert_eq!((undone.code, work.layer()), (0, layer), "{}", undone.stderr);
    // What had been loaded is still known.
    let plan = work.etl(&["plan", "--orders", "orders.ndjson", "--json"]).summary();
    assert!(!plan["covered"].as_array().unwrap().is_empty(), "{plan}");
}

#[test]
fn a_publish_that_the_old_version_had_decided_is_finished() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-01", ""), order("B", "2026-01-02", "")], &[]).published();
    let (first, second) = ("output/curated/dt=2026-01-01/part-00000.csv", "output/curated/dt=2026-01-02/part-00000.csv");
    let next = work.read(first);
    as_before_commits(&work);
    let staging = "state/staging/20260101T000000000000Z-0000010000";
    work.write(
        &format!("output/{staging}/tree/curated/dt=2026-01-05/part-00000.csv"),
        next.replace("2026-01-01", "2026-01-05").replace("A,", "N,"),
    );
    let journal = json!({
        "run_id": "20260101T000000000000Z-0000010000",
        "staging": staging,
        "put": [{"path": "curated/dt=2026-01-05/part-00000.csv", "bytes": 1, "checksum": "x"}],
        "remove": ["curated/dt=2026-01-02/part-00000.csv"],
    });
    work.write("output/state/journal.json", journal.to_string());
    assert_eq!(work.etl(&["runs"]).code, 0);
    assert!(!work.path("output/state/journal.json").exists() && !work.path(second).exists());
    assert!(work.read("output/curated/dt=2026-01-05/part-00000.csv").contains("N,"));
}
