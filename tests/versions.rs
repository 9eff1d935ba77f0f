//! "Which version of a row wins", over runs and over partitions.

use serde_json::Value;

use crate::support::{Workspace, order};

fn version(created_at: &str, updated_at: Option<&str>, quantity: i64) -> String {
    let updated = updated_at.map(|time| format!(r#","updated_at":"{time}""#)).unwrap_or_default();
    format!(r#"{{"order_id":"A","created_at":"{created_at}"{updated},"items":[{{"sku":"S","quantity":{quantity},"price":1}}]}}"#)
}

fn rows(work: &Workspace) -> Vec<String> {
    work.query("SELECT dt, order_id, sku, quantity FROM fact_order ORDER BY ALL")
}

fn counts(summary: &Value) -> Vec<(&str, u64)> {
    ["duplicates_dropped", "rows_inserted", "rows_updated", "rows_unchanged", "rows_moved", "rows_superseded"]
        .into_iter()
        .map(|name| (name, summary[name].as_u64().unwrap()))
        .filter(|(_, count)| *count > 0)
        .collect()
}

#[test]
fn over_runs_the_greatest_updated_at_wins_and_of_equal_ones_what_is_loaded() {
    let work = Workspace::new();
    work.load(&[version("2026-01-01", Some("2026-01-02"), 1)], &[]).published();
    let older = work.load(&[version("2026-01-01", Some("2026-01-01"), 2)], &[]).unchanged();
    assert_eq!((counts(&older), rows(&work)), (vec![("rows_superseded", 1)], vec!["2026-01-01|A|S|1".into()]));
    let equal = work.load(&[version("2026-01-01", Some("2026-01-02"), 3)], &[]).published();
    assert_eq!((counts(&equal), rows(&work)), (vec![("rows_updated", 1)], vec!["2026-01-01|A|S|3".into()]));
    let without = work.load(&[version("2026-01-01", None, 4)], &[]).unchanged();
    assert_eq!((counts(&without), rows(&work)), (vec![("rows_superseded", 1)], vec!["2026-01-01|A|S|3".into()]));
}

#[test]
fn within_a_run_the_later_of_equal_ones_wins_in_the_order_of_the_files() {
    let work = Workspace::new();
    work.write("in/b.ndjson", version("2026-01-01", None, 2));
    work.write("in/a.ndjson", version("2026-01-01", None, 1));
    let summary = work.etl(&["run", "--orders", "in"]).published();
    assert_eq!((counts(&summary), rows(&work)), (vec![("duplicates_dropped", 1), ("rows_inserted", 1)], vec!["2026-01-01|A|S|2".into()]));
}

#[test]
fn a_newer_version_moves_the_row_to_its_day_and_the_old_partition_goes_with_its_last_row() {
    let work = Workspace::new();
    work.load(&[version("2026-01-31T23:30:00Z", Some("2026-02-01"), 1), order("B", "2026-01-30", "")], &[]).published();
    let moved = work.load(&[version("2026-01-31T23:30:00-05:00", Some("2026-02-02"), 1)], &[]).published();
    assert_eq!(counts(&moved), [("rows_moved", 1)]);
    assert_eq!(
        (&moved["partitions_written"], &moved["partitions_removed"]),
        (&serde_json::json!(["2026-02-01"]), &serde_json::json!(["2026-01-31"]))
    );
    assert_eq!(rows(&work), ["2026-01-30|B|S|1", "2026-02-01|A|S|1"]);
    assert!(!work.path("output/curated/dt=2026-01-31").exists());
}

#[test]
fn an_older_version_of_another_day_neither_moves_the_row_nor_doubles_it() {
    let work = Workspace::new();
    work.load(&[version("2026-01-05", Some("2026-02-02"), 1)], &[]).published();
    let older = work.load(&[version("2026-01-04", Some("2026-02-01"), 2)], &[]).unchanged();
    assert_eq!((counts(&older), rows(&work)), (vec![("rows_superseded", 1)], vec!["2026-01-05|A|S|1".into()]));
}

#[test]
fn versions_of_two_days_in_one_run_leave_one_row() {
    for (first, second, expected) in [("2026-02-01", "2026-02-02", "2026-01-02|A|S|2"), ("2026-02-02", "2026-02-01", "2026-01-01|A|S|1")] {
        let work = Workspace::new();
        let summary = work.load(&[version("2026-01-01", Some(first), 1), version("2026-01-02", Some(second), 2)], &[]).published();
        assert_eq!((counts(&summary), rows(&work)), (vec![("duplicates_dropped", 1), ("rows_inserted", 1)], vec![expected.into()]));
    }
}

#[test]
fn a_line_that_a_newer_version_no_longer_has_stays() {
    let work = Workspace::new();
    let both = r#"{"order_id":"A","created_at":"2026-01-01","items":[{"sku":"S"},{"sku":"T"}]}"#;
    work.load(&[both.into()], &[]).published();
    work.load(&[version("2026-01-01", Some("2026-01-02"), 5)], &[]).published();
    assert_eq!(rows(&work), ["2026-01-01|A|S|5", "2026-01-01|A|T|1"]);
    // The order moves with the line that it still has; the other stays where it was.
    work.load(&[version("2026-01-02", Some("2026-01-03"), 6)], &[]).published();
    assert_eq!(rows(&work), ["2026-01-01|A|T|1", "2026-01-02|A|S|6"]);
}

#[test]
fn moves_are_found_without_the_state_and_with_a_damaged_one() {
    for damage in ["remove", "latest", "log", "index"] {
        let work = Workspace::new();
        work.load(&[version("2026-01-01", Some("2026-02-01"), 1)], &[]).published();
        match damage {
            "remove" => std::fs::remove_dir_all(work.path("output/state")).unwrap(),
            "latest" => drop(work.write("output/state/latest.json", "{")),
            "log" => {
                work.write("output/state/latest.json", "{");
                for name in work.files("state/commits").into_keys() {
                    work.write(&format!("output/{name}"), "{");
                }
            }
            _ => {
                let name = work.files("state/index").into_keys().next().unwrap();
                let mut bytes = std::fs::read(work.path("output").join(&name)).unwrap();
                bytes[20] ^= 1;
                std::fs::write(work.path("output").join(&name), bytes).unwrap();
            }
        }
        let moved = work.load(&[version("2026-01-02", Some("2026-02-02"), 1)], &[]).published();
        assert_eq!((counts(&moved), rows(&work)), (vec![("rows_moved", 1)], vec!["2026-01-02|A|S|1".into()]), "{damage}");
    }
}

#[test]
fn a_sku_on_two_lines_keeps_the_later_and_says_so() {
    let work = Workspace::new();
    let twice = r#"{"order_id":"A","created_at":"2026-01-01","items":[{"sku":"S","quantity":1},{"sku":"S","quantity":2}]}"#;
    let ended = work.load(&[twice.into()], &[]);
    let summary = ended.published();
    assert_eq!((summary["repeated_skus"].as_u64(), counts(&summary)), (Some(1), vec![("duplicates_dropped", 1), ("rows_inserted", 1)]));
    assert_eq!(rows(&work), ["2026-01-01|A|S|2"]);
    assert!(ended.stderr.contains("more than one line"), "{}", ended.stderr);
}
