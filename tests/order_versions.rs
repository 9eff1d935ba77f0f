//! `merge = "order"`, `repeated_sku = "sum"` and `--cursor updated_at`: within a run, against the store, across partitions.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::support::{Workspace, assert_counts_add_up};

const BY_ORDER: &str = "merge = \"order\"\n";
const BY_ORDER_AND_SUM: &str = "merge = \"order\"\nrepeated_sku = \"sum\"\n";

fn by_order() -> Workspace {
    let work = Workspace::new();
    work.write("etl.toml", BY_ORDER);
    work
}

/// A version of an order: its day, its update, its skus.
fn version(order_id: &str, day: u8, updated: u8, skus: &[&str]) -> String {
    let items: Vec<_> = skus.iter().map(|sku| format!(r#"{{"sku":"{sku}","price":{updated}}}"#)).collect();
    format!(r#"{{"order_id":"{order_id}","created_at":"2026-01-0{day}","updated_at":"2026-02-0{updated}","items":[{}]}}"#, items.join(","))
}

const ROWS: &str = "SELECT dt, order_id, sku, unit_price FROM fact_order ORDER BY ALL";

#[test]
fn removed_lines_go_within_a_run_against_the_store_and_across_partitions() {
    let work = by_order();
    // Within a run: the newer version stands first.
    let summary =
        work.load(&[version("A", 1, 2, &["x", "y"]), version("A", 1, 1, &["x", "z"]), version("B", 1, 1, &["x"])], &[]).published();
    assert_eq!((&summary["rows_inserted"], &summary["duplicates_dropped"]), (&3.into(), &2.into()));
    assert_eq!(work.query(ROWS), ["2026-01-01|A|x|2.0000", "2026-01-01|A|y|2.0000", "2026-01-01|B|x|1.0000"]);
    // Against the store.
    let summary = work.load(&[version("A", 1, 3, &["y"])], &[]).published();
    assert_eq!((&summary["rows_updated"], &summary["rows_removed"]), (&1.into(), &1.into()));
    assert_eq!(work.query(ROWS), ["2026-01-01|A|y|3.0000", "2026-01-01|B|x|1.0000"]);
    // An older one changes nothing.
    assert_eq!(work.load(&[version("A", 1, 2, &["x", "y"])], &[]).unchanged()["rows_superseded"], 2);
    // Across partitions: it moves, loses a line and gains one.
    let summary = work.load(&[version("A", 2, 4, &["y", "n"]), version("A", 3, 3, &["w"])], &[]).published();
    assert_eq!((&summary["rows_moved"], &summary["rows_inserted"], &summary["duplicates_dropped"]), (&1.into(), &1.into(), &1.into()));
    assert_eq!(work.query(ROWS), ["2026-01-01|B|x|1.0000", "2026-01-02|A|n|4.0000", "2026-01-02|A|y|4.0000"]);
    let summary = work.load(&[version("A", 1, 5, &["n"])], &[]).published();
    assert_eq!(
        (&summary["rows_moved"], &summary["rows_removed"], &summary["partitions_removed"][0]),
        (&1.into(), &1.into(), &"2026-01-02".into())
    );
    assert_eq!(work.query(ROWS), ["2026-01-01|A|n|5.0000", "2026-01-01|B|x|1.0000"]);
    assert_eq!(work.etl(&["check"]).code, 0);
    work.load(&[version("A", 1, 5, &["n"])], &[]).unchanged();
}

#[test]
fn a_dropped_line_at_the_end_of_a_file_is_of_no_order_of_the_next() {
    let work = by_order();
    work.load(&[version("B", 1, 1, &["x", "y"])], &[]).published();
    // Two records without any valid line stand last: their numbers count too.
    let nameless = r#"{"order_id":"N","created_at":"2026-01-01","items":[{"price":1}]}"#;
    work.write("all/1.ndjson", [&version("A", 1, 1, &["x"]), nameless, nameless].join("\n"));
    work.write("all/2.ndjson", version("B", 1, 2, &["y"]));
    let summary = work.etl(&["run", "--orders", "all"]).published();
    assert_eq!((&summary["rows_removed"], &summary["rows_retained"]), (&1.into(), &0.into()));
    assert_eq!(work.query(ROWS), ["2026-01-01|A|x|1.0000", "2026-01-01|B|y|2.0000"]);
}

#[test]
fn an_order_that_has_lost_all_its_lines_leaves_the_layer() {
    let work = by_order();
    work.load(&[version("A", 1, 1, &["x", "y"]), version("B", 1, 1, &["x"]), version("C", 2, 1, &["x"])], &[]).published();
    // An older version, and one whose list is not there, take nothing away.
    let missing = r#"{"order_id":"B","created_at":"2026-01-01","updated_at":"2026-02-09"}"#.to_owned();
    let no_list = r#"{"order_id":"C","created_at":"2026-01-02","updated_at":"2026-02-09","items":{}}"#.to_owned();
    work.load(&[missing, no_list], &[]).unchanged();
    let older = version("B", 1, 1, &[]).replace("2026-02-01", "2026-01-31");
    let ended = work.load(&[version("A", 1, 2, &[]), older], &[]);
    let summary = ended.published();
    assert!(ended.stderr.contains("rows that the layer has of them go"), "{}", ended.stderr);
    assert_eq!(
        (&summary["dropped"]["empty_items"], &summary["rows_removed"], &summary["rows_retained"]),
        (&2.into(), &2.into(), &0.into())
    );
    assert_eq!(work.query(ROWS), ["2026-01-01|B|x|1.0000", "2026-01-02|C|x|1.0000"]);
    work.load(&[version("A", 1, 2, &[])], &[]).unchanged();
    // A replay of what was dropped may be old: it takes nothing away.
    let run_id = summary["run_id"].as_str().unwrap().to_owned();
    work.load(&[version("A", 1, 2, &["z"])], &[]).published();
    work.etl(&["quarantine", "replay", &run_id]).unchanged();
    assert_eq!(work.query(ROWS)[0], "2026-01-01|A|z|2.0000");
    // It had moved, and its partition goes with it.
    let summary = work.load(&[version("C", 3, 3, &["x", "y"]), version("C", 3, 4, &[])], &[]).published();
    assert_eq!((&summary["rows_removed"], &summary["partitions_removed"]), (&1.into(), &serde_json::json!(["2026-01-02"])));
    assert_eq!(work.etl(&["check"]).code, 0);
    // By line, a line that a newer version has not stays.
    let by_line = Workspace::new();
    by_line.load(&[version("A", 1, 1, &["x"])], &[]).published();
    by_line.load(&[version("A", 1, 2, &[])], &[]).unchanged();
}

/// An order whose lines have these prices.
fn priced(order_id: &str, day: u8, updated: u8, lines: &[(&str, &str)]) -> String {
    let items: Vec<_> = lines.iter().map(|(sku, price)| format!(r#"{{"sku":{sku},"price":{price}}}"#)).collect();
    format!(r#"{{"order_id":"{order_id}","created_at":"2026-01-0{day}","updated_at":"2026-02-0{updated}","items":[{}]}}"#, items.join(","))
}

#[test]
fn a_dropped_line_of_the_newer_version_keeps_its_stored_row() {
    let work = by_order();
    let first =
        [priced("A", 1, 1, &[("\"x\"", "1"), ("\"y\"", "1"), ("\"z\"", "1")]), priced("B", 1, 1, &[("\"x\"", "1"), ("\"y\"", "1")])];
    work.load(&first, &[]).published();
    // A: y is malformed, and z is gone. B: a line without a sku may be any, so y stays.
    let second = [priced("A", 1, 2, &[("\"x\"", "2"), ("\"y\"", "\"n/a\"")]), priced("B", 1, 2, &[("\"x\"", "2"), ("null", "2")])];
    let ended = work.load(&second, &["--log-format", "text"]);
    let summary = ended.published();
    assert_eq!((&summary["rows_retained"], &summary["rows_removed"], &summary["rows_updated"]), (&2.into(), &1.into(), &2.into()));
    assert!(ended.stderr.contains("stay") && ended.stderr.contains("dropped"), "{}", ended.stderr);
    let kept = ["2026-01-01|A|x|2.0000", "2026-01-01|A|y|1.0000", "2026-01-01|B|x|2.0000", "2026-01-01|B|y|1.0000"];
    assert_eq!(work.query(ROWS), kept);
    assert_eq!(work.load(&second, &[]).unchanged()["rows_retained"], 2);
    // The order moves, and its line is still malformed: the row stays, once, where it lies.
    work.load(&[priced("A", 2, 3, &[("\"x\"", "3"), ("\"y\"", "\"-\"")])], &[]).published();
    assert_eq!(
        work.query("SELECT dt, sku, unit_price FROM fact_order WHERE order_id = 'A' ORDER BY sku"),
        ["2026-01-02|x|3.0000", "2026-01-01|y|1.0000"]
    );
    // The line is mended.
    work.load(&[priced("A", 2, 4, &[("\"x\"", "4"), ("\"y\"", "4")])], &[]).published();
    assert_eq!(
        work.query("SELECT dt, sku, unit_price FROM fact_order WHERE order_id = 'A' ORDER BY sku"),
        ["2026-01-02|x|4.0000", "2026-01-02|y|4.0000"]
    );
    // An older version that is malformed changes nothing, and a newer one of the same run without the line removes it.
    work.load(&[priced("A", 2, 3, &[("\"x\"", "3"), ("\"y\"", "\"-\"")])], &[]).unchanged();
    work.load(&[priced("A", 2, 5, &[("\"x\"", "5"), ("\"y\"", "\"?\"")]), priced("A", 2, 6, &[("\"x\"", "6")])], &[]).published();
    assert_eq!(work.query("SELECT sku, unit_price FROM fact_order WHERE order_id = 'A'"), ["x|6.0000"]);
    assert_eq!(work.etl(&["check"]).code, 0);
}

#[test]
fn no_row_from_before_an_empty_version_stays_for_a_line_without_a_sku() {
    let work = by_order();
    work.load(&[priced("A", 1, 5, &[("\"x\"", "1"), ("\"y\"", "1")])], &[]).published();
    // The version after the empty one is older than what was stored, and one of its lines may be any.
    let versions = [priced("A", 1, 6, &[]), priced("A", 2, 2, &[("\"x\"", "2"), ("null", "2")])];
    let summary = work.load(&versions, &["--check-scope", "full"]).published();
    assert_counts_add_up(&summary);
    assert_eq!((&summary["rows_moved"], &summary["rows_removed"], &summary["rows_retained"]), (&1.into(), &1.into(), &0.into()));
    assert_eq!(work.query(ROWS), ["2026-01-02|A|x|2.0000"]);
}

/// Loads versions of one order, each slice in a run of its own. Returns its rows, and the summary of the last run.
fn after_runs(settings: &str, runs: &[&[String]]) -> (Vec<String>, serde_json::Value) {
    let work = Workspace::new();
    work.write("etl.toml", settings);
    let mut summary = serde_json::Value::Null;
    for run in runs {
        let ended = work.load(run, &["--check-scope", "full"]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        summary = ended.summary();
        assert_counts_add_up(&summary);
    }
    (work.query(ROWS), summary)
}

/// Each way to load some versions in their order: all at once, one by one, and in two parts.
fn splits(versions: &[String]) -> Vec<Vec<&[String]>> {
    let mut splits: Vec<Vec<&[String]>> = vec![vec![versions], versions.chunks(1).collect()];
    splits.extend((1..versions.len()).map(|place| vec![&versions[..place], &versions[place..]]));
    splits
}

#[test]
fn a_line_that_a_version_in_between_no_longer_had_does_not_come_back() {
    let malformed = [("\"y\"", "\"?\""), ("null", "2")];
    for (days, updated) in [([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [1, 2, 3]), ([1, 2, 1], [1, 2, 2]), ([2, 2, 2], [1, 1, 1])] {
        for malformed in malformed {
            let versions = [
                priced("A", days[0], updated[0], &[("\"x\"", "1"), ("\"y\"", "1")]),
                priced("A", days[1], updated[1], &[("\"x\"", "2")]),
                priced("A", days[2], updated[2], &[("\"x\"", "3"), malformed]),
            ];
            for runs in splits(&versions) {
                let (rows, summary) = after_runs(BY_ORDER, &runs);
                assert_eq!(rows, [format!("2026-01-0{}|A|x|3.0000", days[2])], "{malformed:?} on {days:?} at {updated:?} in {runs:?}");
                assert_eq!(summary["rows_retained"], 0, "{runs:?}");
            }
        }
    }
}

#[test]
fn a_row_stays_beside_several_malformed_versions_until_one_is_without_its_line() {
    let versions = [
        priced("A", 1, 1, &[("\"x\"", "1"), ("\"y\"", "1"), ("\"z\"", "1")]),
        priced("A", 2, 2, &[("\"x\"", "2"), ("\"y\"", "\"?\""), ("\"z\"", "2")]),
        priced("A", 2, 3, &[("\"x\"", "3"), ("null", "3"), ("null", "3")]),
        priced("A", 3, 4, &[("\"x\"", "4"), ("\"y\"", "\"?\"")]),
    ];
    for (versions, expected) in [
        (&versions[..3], vec!["2026-01-01|A|y|1.0000", "2026-01-02|A|x|3.0000", "2026-01-02|A|z|2.0000"]),
        (&versions[..], vec!["2026-01-01|A|y|1.0000", "2026-01-03|A|x|4.0000"]),
    ] {
        for runs in splits(versions) {
            assert_eq!(after_runs(BY_ORDER, &runs).0, expected, "{runs:?}");
        }
    }
}

#[test]
fn what_an_empty_version_took_away_stays_away_and_what_came_after_it_stays() {
    let gone = [
        priced("A", 1, 1, &[("\"x\"", "1")]),
        priced("A", 1, 3, &[]),
        priced("A", 3, 2, &[("null", "2"), ("\"y\"", "2")]),
        priced("A", 3, 1, &[("\"x\"", "9")]),
    ];
    let again = [
        priced("A", 1, 1, &[("\"x\"", "1"), ("\"y\"", "1"), ("\"z\"", "1")]),
        priced("A", 1, 2, &[]),
        priced("A", 1, 3, &[("\"x\"", "3"), ("\"y\"", "3")]),
        priced("A", 2, 4, &[("\"x\"", "4"), ("null", "4")]),
    ];
    for (versions, expected) in [(&gone, vec!["2026-01-03|A|y|2.0000"]), (&again, vec!["2026-01-01|A|y|3.0000", "2026-01-02|A|x|4.0000"])] {
        for runs in splits(versions) {
            let mut rows = after_runs(BY_ORDER, &runs).0;
            // In one run, an older version that comes later counts as what stood before the line without a sku.
            rows.retain(|row| row != "2026-01-03|A|x|9.0000");
            assert_eq!(rows, expected, "{runs:?}");
        }
    }
}

#[test]
fn of_partial_sums_the_one_before_stays_in_one_run_as_in_several() {
    let partial = |day: u8, updated: u8, price: &str| priced("A", day, updated, &[("\"x\"", price), ("\"x\"", "\"?\""), ("\"y\"", "1")]);
    let without = priced("A", 2, 3, &[("\"y\"", "1")]);
    for (versions, expected) in [
        ([partial(1, 1, "5"), partial(1, 2, "6"), partial(2, 4, "7")], "2026-01-01|A|x|5.0000"),
        ([partial(1, 1, "5"), without, partial(2, 4, "7")], "2026-01-02|A|x|7.0000"),
    ] {
        for runs in splits(&versions) {
            let rows = after_runs(BY_ORDER_AND_SUM, &runs).0;
            assert_eq!(rows, [expected, "2026-01-02|A|y|1.0000"], "{runs:?}");
        }
    }
}

#[test]
fn one_run_keeps_the_rows_of_dropped_lines_that_several_would_keep() {
    let versions = [
        priced("A", 1, 1, &[("\"x\"", "1"), ("\"y\"", "1"), ("\"z\"", "1")]),
        priced("A", 1, 2, &[("\"x\"", "2"), ("\"y\"", "2"), ("\"w\"", "2")]),
        priced("A", 1, 3, &[("\"x\"", "3"), ("\"y\"", "\"n/a\""), ("\"z\"", "\"n/a\"")]),
    ];
    let orders: [&[usize]; 4] = [&[0, 1, 2], &[2, 1, 0], &[1, 2, 0], &[0, 2, 1]];
    for order in orders {
        let work = by_order();
        let lines: Vec<_> = order.iter().map(|place| versions[*place].clone()).collect();
        let summary = work.load(&lines, &[]).published();
        assert_counts_add_up(&summary);
        // The second version had no z. Wherever it stands in the source, it counts before the third.
        assert_eq!(work.query("SELECT sku, unit_price FROM fact_order ORDER BY sku"), ["x|3.0000", "y|2.0000"], "{order:?}");
        assert_eq!(summary["rows_retained"], 1);
        work.load(&lines, &[]).unchanged();
    }
    // The versions lie in two partitions, before and after a run.
    for split in [1, 2] {
        let moved = [priced("A", 1, 1, &[("\"x\"", "1"), ("\"y\"", "1")]), priced("A", 2, 2, &[("\"x\"", "2"), ("\"y\"", "\"?\"")])];
        let work = by_order();
        for run in moved.chunks(split) {
            work.load(run, &[]).published();
        }
        assert_eq!(work.query(ROWS), ["2026-01-01|A|y|1.0000", "2026-01-02|A|x|2.0000"], "{split}");
    }
}

#[test]
fn a_sum_without_one_of_its_lines_does_not_replace_the_whole_one() {
    let twin = |updated: u8, second: &str| priced("A", 1, updated, &[("\"x\"", "5"), ("\"x\"", second), ("\"y\"", "1")]);
    for by in ["line", "order"] {
        let settings = format!("merge = \"{by}\"\nrepeated_sku = \"sum\"\n");
        let total = |runs: &[Vec<String>]| {
            let work = Workspace::new();
            work.write("etl.toml", &settings);
            let summaries: Vec<_> = runs.iter().map(|run| work.load(run, &[]).summary()).collect();
            (work.query("SELECT line_total FROM fact_order WHERE sku = 'x'"), summaries.last().unwrap()["rows_retained"].clone())
        };
        let (whole, partial) = (twin(1, "20"), twin(2, "\"?\""));
        let kept = (vec!["25.0000".to_owned()], 1.into());
        assert_eq!(total(&[vec![whole.clone()], vec![partial.clone()]]), kept, "{by}: in two runs");
        assert_eq!(total(&[vec![whole.clone()], vec![partial.clone()], vec![partial.clone()]]), kept, "{by}: again");
        assert_eq!(total(&[vec![whole.clone(), partial.clone()]]).0, kept.0, "{by}: in one run");
        assert_eq!(total(&[vec![partial.clone()]]).0, ["5.0000"], "{by}: nothing else is known");
        assert_eq!(total(&[vec![whole], vec![partial], vec![twin(3, "30")]]).0, ["35.0000"], "{by}: mended");
    }
}

#[test]
fn an_order_with_something_else_around_its_lists_of_lines_is_dropped_and_keeps_its_rows() {
    let work = Workspace::new();
    work.write("etl.toml", "merge = \"order\"\n[orders]\nfields.lines = { all = [\"boxes.*.lines\", \"fees\"] }\n");
    let order = |updated: u8, boxes: &str| {
        format!(
            r#"{{"order_id":"A","created_at":"2026-01-01","updated_at":"2026-02-0{updated}","boxes":{boxes},"fees":[{{"sku":"f","price":{updated}}}]}}"#
        )
    };
    let boxed = r#"{"lines":[{"sku":"x","price":10}]}"#;
    work.load(&[order(1, &format!("[{boxed}]"))], &[]).published();
    for boxes in [format!(r#"{{"data":[{boxed}]}}"#), boxed.to_owned(), format!("[{boxed},5]")] {
        let summary = work.load(&[order(2, &boxes)], &[]).unchanged();
        assert_eq!(summary["dropped"]["empty_items"], 1, "{boxes}");
        assert_eq!(work.query(SUMS), ["2026-01-01|f|1.0000", "2026-01-01|x|10.0000"], "{boxes}");
    }
    // Without boxes, the order has the fee alone.
    work.load(&[order(3, "[]")], &[]).published();
    assert_eq!(work.query(SUMS), ["2026-01-01|f|3.0000"]);
}

/// The days and sums of an order's skus.
const SUMS: &str = "SELECT dt, sku, line_total FROM fact_order ORDER BY ALL";

#[test]
fn a_sum_without_one_of_its_lines_does_not_replace_the_whole_one_of_another_day() {
    let version = |day: u8, updated: u8, second: &str| {
        let y = updated.to_string();
        priced("A", day, updated, &[("\"x\"", "5"), ("\"x\"", second), ("\"y\"", y.as_str())])
    };
    let (older, whole, partial, mended) = (version(3, 1, "1"), version(1, 2, "20"), version(2, 3, "\"?\""), version(2, 4, "30"));
    for by in ["line", "order"] {
        let after = |runs: &[&[&String]]| {
            let work = Workspace::new();
            work.write("etl.toml", format!("merge = \"{by}\"\nrepeated_sku = \"sum\"\n"));
            let mut summary = serde_json::Value::Null;
            for run in runs {
                summary = work.load(&run.iter().map(|record| (*record).clone()).collect::<Vec<_>>(), &[]).summary();
                assert_counts_add_up(&summary);
            }
            assert_eq!(work.etl(&["check"]).code, 0, "{by}");
            (work.query(SUMS), summary)
        };
        // The order moves, and the whole sum stays where it is.
        let kept = ["2026-01-01|x|25.0000", "2026-01-02|y|3.0000"];
        let (rows, summary) = after(&[&[&whole], &[&partial]]);
        assert_eq!(rows, kept, "{by}: in two runs");
        let counts = ["rows_moved", "rows_superseded", "rows_retained", "rows_removed"].map(|name| summary[name].as_u64().unwrap());
        assert_eq!(counts, [1, 1, 1, 0], "{by}");
        assert_eq!(summary["revenue"][""], "3.0000", "{by}: that of the rows that the run brought");
        let (rows, summary) = after(&[&[&whole], &[&partial], &[&partial]]);
        assert_eq!((rows.as_slice(), &summary["status"]), (&kept.map(str::to_owned)[..], &"unchanged".into()), "{by}: again");
        for run in [[&whole, &partial], [&partial, &whole]] {
            assert_eq!(after(&[&run[..]]).0, kept, "{by}: in one run");
        }
        // A whole version of the run counts, also where it is older than the partial one and newer than what is stored.
        assert_eq!(after(&[&[&older], &[&partial, &whole]]).0, kept, "{by}: three days");
        assert_eq!(after(&[&[&partial]]).0, ["2026-01-02|x|5.0000", "2026-01-02|y|3.0000"], "{by}: nothing else is known");
        let moved = ["2026-01-02|x|35.0000", "2026-01-02|y|4.0000"];
        assert_eq!(after(&[&[&whole], &[&partial], &[&mended]]).0, moved, "{by}: mended");
        assert_eq!(after(&[&[&whole, &partial, &mended]]).0, moved, "{by}: mended in one run");
    }
}

#[test]
fn the_same_partial_sum_of_an_order_on_two_days_is_unchanged() {
    let work = Workspace::new();
    work.write("etl.toml", "repeated_sku = \"sum\"\n");
    work.load(&[priced("A", 1, 1, &[("\"y\"", "1")])], &[]).published();
    let partial = [priced("A", 2, 2, &[("\"x\"", "5"), ("\"x\"", "\"?\"")])];
    let summary = work.load(&partial, &[]).published();
    assert_eq!((&summary["rows_inserted"], &summary["rows_retained"]), (&1.into(), &0.into()));
    let summary = work.load(&partial, &[]).unchanged();
    assert_eq!((&summary["rows_unchanged"], &summary["rows_superseded"], &summary["rows_retained"]), (&1.into(), &0.into(), &0.into()));
    assert_eq!(work.query(SUMS), ["2026-01-01|y|1.0000", "2026-01-02|x|5.0000"]);
}

#[test]
fn a_partial_sum_after_an_empty_version_does_not_vanish_with_the_whole_one_before() {
    let work = Workspace::new();
    work.write("etl.toml", "merge = \"order\"\nrepeated_sku = \"sum\"\n");
    let version = |updated: u8, second: &str| priced("A", 1, updated, &[("\"x\"", "5"), ("\"x\"", second)]);
    let runs = [version(1, "20"), priced("A", 1, 2, &[]), version(3, "\"?\"")];
    assert_counts_add_up(&work.load(&runs, &[]).published());
    assert_eq!(work.query(SUMS), ["2026-01-01|x|5.0000"]);
}

#[test]
fn a_row_that_stays_beside_two_malformed_versions_is_counted_once() {
    let work = Workspace::new();
    work.write("etl.toml", "merge = \"order\"\nrepeated_sku = \"sum\"\n");
    let version = |updated: u8, lines: &[(&str, &str)]| priced("A", 1, updated, &[lines, &[("\"y\"", "1")]].concat());
    work.load(&[version(1, &[("\"x\"", "5"), ("\"x\"", "20")])], &[]).published();
    let malformed = [version(2, &[("\"x\"", "5"), ("\"x\"", "\"?\"")]), version(3, &[("\"x\"", "\"?\"")])];
    let summary = work.load(&malformed, &[]).published();
    assert_counts_add_up(&summary);
    assert_eq!((work.query(SUMS)[0].as_str(), &summary["rows_retained"]), ("2026-01-01|x|25.0000", &1.into()));
}

#[test]
fn the_last_valid_line_of_a_sku_counts_beside_a_malformed_one() {
    let work = by_order();
    work.load(&[priced("A", 1, 1, &[("\"x\"", "2")])], &[]).published();
    work.load(&[priced("A", 1, 2, &[("\"x\"", "\"?\""), ("\"x\"", "6")])], &[]).published();
    assert_eq!(work.query("SELECT unit_price FROM fact_order"), ["6.0000"]);
}

#[test]
fn a_gift_is_loaded_also_where_lines_are_added_up() {
    let work = Workspace::new();
    work.write("etl.toml", "repeated_sku = \"sum\"\n");
    let gift = r#"{"order_id":"A","created_at":"2026-01-01","items":[{"sku":"S","price":5,"quantity":0}]}"#;
    work.load(&[gift.to_owned()], &[]).published();
    assert_eq!(work.query("SELECT quantity, unit_price, line_total FROM fact_order"), ["0|5.0000|0.0000"]);
}

#[test]
fn lines_of_one_sku_are_added_up_where_that_is_asked_for() {
    let work = Workspace::new();
    work.write("etl.toml", "repeated_sku = \"sum\"\n");
    let line = r#"{"order_id":"A","created_at":"2026-01-01","currency":"EUR","items":[{"sku":"S","price":1,"quantity":2},{"sku":"T","price":9},{"sku":"S","price":"2.5"}]}"#;
    let summary = work.load(&[line.to_owned()], &["--check-scope", "full"]).published();
    assert_eq!(
        work.query("SELECT sku, quantity, unit_price, line_total FROM fact_order ORDER BY 1"),
        ["S|3|1.5000|4.5000", "T|1|9.0000|9.0000"]
    );
    assert_eq!(
        (&summary["repeated_skus"], &summary["duplicates_dropped"], &summary["revenue"]["EUR"]),
        (&1.into(), &1.into(), &"13.5000".into())
    );
    work.load(&[line.to_owned()], &[]).unchanged();
    let uneven = line.replace("2.5", "2").replace('A', "B");
    work.load(&[uneven], &[]).published();
    assert_eq!(work.query("SELECT unit_price, line_total FROM fact_order WHERE order_id = 'B' AND sku = 'S'"), ["1.3333|4.0000"]);
    assert_eq!(work.etl(&["check"]).code, 0);
}

#[test]
fn by_the_update_old_orders_arrive_and_the_watermark_is_its_own() {
    let work = Workspace::new();
    let lines = [version("A", 1, 1, &["x"]), version("B", 2, 5, &["x"]), version("C", 3, 7, &["x"])];
    work.load(&lines[..1], &["--until", "2026-01-20"]).published();
    let summary = work.load(&lines, &["--cursor", "updated_at", "--since", "2026-02-03", "--until", "2026-02-06"]).published();
    assert_eq!(
        (&summary["records_out_of_window"], &summary["rows_inserted"], &summary["cursor"]),
        (&2.into(), &1.into(), &"updated_at".into())
    );
    // It goes on where runs by this time ended, and neither is moved by the other.
    let later = work.load(&lines, &["--cursor", "updated_at", "--since", "last", "--lookback", "0s"]).published();
    assert_eq!((&later["since"], &later["rows_inserted"]), (&"2026-02-06T00:00:00Z".into(), &1.into()));
    assert_eq!(work.load(&lines, &["--since", "last", "--lookback", "0s"]).summary()["since"], "2026-01-20T00:00:00Z");
    // Without the state the reports still tell them apart.
    std::fs::remove_dir_all(work.path("output/state")).unwrap();
    let summary = work.load(&lines, &["--cursor", "updated_at", "--since", "last", "--lookback", "0s"]).summary();
    assert!(summary["since"].as_str().unwrap() > "2026-02-06T00:00:00Z", "{summary}");
}

fn any_version() -> impl Strategy<Value = String> {
    let line = (0..3_u8, 1..4_i8).prop_map(|(sku, quantity)| format!(r#"{{"sku":"S{sku}","quantity":{quantity},"price":1.37}}"#));
    (0..5_u8, 1..4_u8, proptest::option::of(1..4_u8), proptest::collection::vec(line, 0..4)).prop_map(|(order, day, updated, lines)| {
        let updated = updated.map(|day| format!(r#""updated_at":"2026-02-0{day}","#)).unwrap_or_default();
        format!(
            r#"{{"order_id":"O{order}","created_at":"2026-01-0{day}T12:00:00Z",{updated}"currency":"EUR","items":[{}]}}"#,
            lines.join(",")
        )
    })
}

/// A version of an order whose lines may be malformed.
#[derive(Clone, Debug)]
struct VersionOfKeys {
    record: String,
    /// The order and sku of each valid line.
    keys: Vec<String>,
}

fn any_malformed_version() -> impl Strategy<Value = VersionOfKeys> {
    let line = (0..2_u8, proptest::option::of(1..4_i8));
    (0..2_u8, 1..4_u8, 1..4_u8, proptest::collection::vec(line, 0..4)).prop_map(|(order, day, updated, lines)| {
        let item = |(sku, quantity): &(u8, Option<i8>)| {
            let quantity = quantity.map_or("\"many\"".to_owned(), |quantity| quantity.to_string());
            format!(r#"{{"sku":"S{sku}","quantity":{quantity},"price":1.37}}"#)
        };
        let items = lines.iter().map(item).collect::<Vec<_>>().join(",");
        let valid = lines.iter().filter(|(_, quantity)| quantity.is_some());
        VersionOfKeys {
            keys: valid.map(|(sku, _)| format!("O{order}S{sku}")).collect(),
            record: format!(
                r#"{{"order_id":"O{order}","created_at":"2026-01-0{day}T12:00:00Z","updated_at":"2026-02-0{updated}","currency":"EUR","items":[{items}]}}"#
            ),
        }
    })
}

/// A version of an order, with the day of its update.
#[derive(Clone, Debug)]
struct DatedVersion {
    updated: u8,
    record: String,
}

/// A version of one of many orders. Each of its lines may be missing, valid or malformed; one more may have no sku.
fn any_lacking_version() -> impl Strategy<Value = DatedVersion> {
    let line = prop_oneof![2 => Just(None::<String>), 2 => (1..4_u8).prop_map(|quantity| Some(quantity.to_string())), 1 => Just(Some("\"many\"".to_owned()))];
    let lines = (line.clone(), line, proptest::bool::weighted(0.2), proptest::bool::weighted(0.2));
    (0..16_u8, 1..4_u8, 1..4_u8, lines).prop_map(|(order, day, updated, (first, second, is_twice, is_nameless))| {
        let item = |sku: &str, quantity: &str| format!(r#"{{"sku":{sku},"quantity":{quantity},"price":1.37}}"#);
        let mut items: Vec<_> = [("\"S0\"", first), ("\"S1\"", second)]
            .into_iter()
            .filter_map(|(sku, quantity)| Some(item(sku, &quantity?)))
            .collect();
        items.extend(is_twice.then(|| item("\"S0\"", "\"many\"")));
        items.extend(is_nameless.then(|| item("null", "1")));
        let items = items.join(",");
        let record = format!(
            r#"{{"order_id":"O{order}","created_at":"2026-01-0{day}T12:00:00Z","updated_at":"2026-02-0{updated}","currency":"EUR","items":[{items}]}}"#
        );
        DatedVersion { updated, record }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn versions_that_come_as_they_count_end_in_the_same_bytes_in_one_run_and_in_several(
        versions in proptest::collection::vec(any_lacking_version(), 24..64),
        cuts in proptest::collection::btree_set(1..64_usize, 1..4),
        sum in any::<bool>(),
    ) {
        let mut versions = versions;
        versions.sort_by_key(|version| version.updated);
        let records: Vec<String> = versions.into_iter().map(|version| version.record).collect();
        let settings = if sum { BY_ORDER_AND_SUM } else { BY_ORDER };
        let (whole, parts) = (Workspace::new(), Workspace::new());
        [&whole, &parts].into_iter().for_each(|work| drop(work.write("etl.toml", settings)));
        let cuts: BTreeSet<usize> = cuts.into_iter().map(|cut| cut.min(records.len())).chain([0, records.len()]).collect();
        let several = cuts.iter().zip(cuts.iter().skip(1)).map(|(start, end)| (&parts, &records[*start..*end]));
        for (work, run) in [(&whole, &records[..])].into_iter().chain(several) {
            let ended = work.load(run, &["--check-scope", "full"]);
            prop_assert_eq!(ended.code, 0, "{}", ended.stderr);
            assert_counts_add_up(&ended.summary());
        }
        prop_assert_eq!(whole.layer(), parts.layer());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn malformed_lines_of_a_sum_double_no_key_and_take_none_away(
        versions in proptest::collection::vec(any_malformed_version(), 1..12),
        cut in 0..12_usize,
        by_order in any::<bool>(),
    ) {
        let work = Workspace::new();
        work.write("etl.toml", format!("merge = \"{}\"\nrepeated_sku = \"sum\"\n", if by_order { "order" } else { "line" }));
        let (first, second) = versions.split_at(cut.min(versions.len()));
        for part in [first, second].into_iter().filter(|part| !part.is_empty()) {
            let records: Vec<_> = part.iter().map(|version| version.record.clone()).collect();
            let ended = work.load(&records, &["--check-scope", "full"]);
            prop_assert_eq!(ended.code, 0, "{}", ended.stderr);
            assert_counts_add_up(&ended.summary());
        }
        let keys = match work.files("curated").is_empty() {
            true => Vec::new(),
            false => work.query("SELECT order_id || sku FROM fact_order ORDER BY ALL"),
        };
        prop_assert!(keys.is_sorted_by(|key, next| key < next), "{:?}", keys);
        // By the line, a key stays for good once a version has a valid line of it.
        let expected: BTreeSet<&String> = versions.iter().flat_map(|version| &version.keys).collect();
        prop_assert!(by_order || keys.iter().eq(expected), "{:?}", keys);
    }

    #[test]
    fn any_split_ends_in_the_same_bytes_and_every_order_is_of_one_version(
        versions in proptest::collection::vec(any_version(), 1..20),
        cuts in proptest::collection::btree_set(0..20_usize, 0..4),
        sum in any::<bool>(),
    ) {
        let settings = if sum { "merge = \"order\"\nrepeated_sku = \"sum\"\n" } else { "merge = \"order\"\n" };
        let (whole, parts) = (Workspace::new(), Workspace::new());
        [&whole, &parts].into_iter().for_each(|work| drop(work.write("etl.toml", settings)));
        assert_counts_add_up(&whole.load(&versions, &["--check-scope", "full"]).summary());
        let cuts: BTreeSet<usize> = cuts.into_iter().map(|cut| cut.min(versions.len())).chain([0, versions.len()]).collect();
        for (start, end) in cuts.iter().zip(cuts.iter().skip(1)) {
            let ended = parts.load(&versions[*start..*end], &["--check-scope", "full"]);
            prop_assert_eq!(ended.code, 0, "{}", ended.stderr);
            assert_counts_add_up(&ended.summary());
        }
        prop_assert_eq!(whole.layer(), parts.layer());
        if !whole.files("curated").is_empty() {
            let torn = whole.query("SELECT order_id FROM fact_order GROUP BY 1 HAVING count(DISTINCT dt) > 1 OR count(DISTINCT coalesce(updated_at, TIMESTAMP '2000-01-01')) > 1");
            prop_assert_eq!(torn, [""; 0]);
        }
    }
}
