//! "Running it twice changes nothing", and however an input is cut into runs, the layer ends as the same bytes.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::support::{self, Workspace, order};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");

fn fixture_args(place: &str) -> Vec<String> {
    let file = |name: &str| format!("{FIXTURES}/{name}");
    ["run", "--orders", &file("orders.ndjson"), "--users", &file("users.csv"), "--products", &file("products.json"), "--output", place]
        .map(str::to_owned)
        .into()
}

#[test]
fn the_same_run_twice_leaves_every_file_and_its_time_as_they_were() {
    let work = Workspace::new();
    let args = fixture_args("output");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    work.etl(&args).published();
    let (layer, times) = (work.layer(), work.times());
    let summary = work.etl(&args).unchanged();
    assert_eq!((work.layer(), work.times()), (layer, times));
    assert_eq!((&summary["rows_unchanged"], &summary["partitions_unchanged"]), (&19.into(), &4.into()));
    assert_eq!(summary["partitions_written"], serde_json::json!([]));
    assert_eq!(work.files("manifests").len(), 2, "a run that writes nothing has no manifest: there is that of the first, and the latest");
}

#[test]
fn nothing_to_do_may_have_an_exit_code_of_its_own() {
    let work = Workspace::new();
    let lines = [order("A", "2026-01-01", "")];
    assert_eq!(work.load(&lines, &["--empty-exit-code", "99"]).code, 0);
    work.load(&lines, &["--empty-exit-code", "99"]).expect(99, "unchanged");
}

#[test]
fn an_increment_touches_only_its_own_partitions() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-01", ""), order("B", "2026-01-02", "")], &[]).published();
    let before = work.times();
    let summary = work.load(&[order("C", "2026-01-02", "")], &[]).published();
    assert_eq!(summary["partitions_written"], serde_json::json!(["2026-01-02"]));
    let after = work.times();
    let same = |day: &str| before[&format!("curated/dt={day}/part-00000.csv")] == after[&format!("curated/dt={day}/part-00000.csv")];
    assert!(same("2026-01-01") && !same("2026-01-02"));
}

#[test]
fn the_demo_over_http_and_the_fixtures_from_files_make_the_same_layer() {
    let (http, files) = (Workspace::new(), Workspace::new());
    http.etl(&["demo", "--output", "output"]).published();
    let args = fixture_args("output");
    files.etl(&args.iter().map(String::as_str).collect::<Vec<_>>()).published();
    assert_eq!(http.layer(), files.layer());
    let times = http.times();
    http.etl(&["demo", "--output", "output"]).unchanged();
    assert_eq!(http.times(), times);
}

/// A version of one of a few orders: few, so that versions meet, days change and lines come and go.
fn version() -> impl Strategy<Value = String> {
    let line = (0..3_u8, -1..4_i8, 0..300_u32).prop_map(|(sku, quantity, cents)| {
        format!(r#"{{"sku":"S{sku}","quantity":{quantity},"price":{}.{:02}}}"#, cents / 100, cents % 100)
    });
    (0..6_u8, 1..5_u8, proptest::option::of(1..4_u8), 0..4_u8, proptest::collection::vec(line, 0..4)).prop_map(|(order, day, updated, user, lines)| {
        let updated = updated.map(|hour| format!(r#""updated_at":"2026-02-0{hour}T00:00:00Z","#)).unwrap_or_default();
        format!(r#"{{"order_id":"O{order}","created_at":"2026-01-0{day}T12:00:00Z",{updated}"user_id":"U{user}","currency":"EUR","items":[{}]}}"#, lines.join(","))
    })
}

/// Makes the winner independent of the order of arrival: each version of an order gets a time of its own.
fn with_distinct_times(versions: Vec<String>) -> Vec<String> {
    versions
        .into_iter()
        .enumerate()
        .map(|(place, version)| {
            let version = match version.split_once(r#""updated_at""#) {
                Some((head, tail)) => format!("{head}{}", tail.split_once(',').unwrap().1),
                None => version,
            };
            let time = format!(r#"{{"updated_at":"2026-03-01T00:00:00.{place:06}Z","#);
            version.replacen('{', &time, 1)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_in_source_order_ends_in_the_same_bytes(versions in proptest::collection::vec(version(), 1..24), cuts in proptest::collection::btree_set(0..24_usize, 0..4)) {
        let whole = Workspace::new();
        whole.load(&versions, &[]);
        let parts = Workspace::new();
        let cuts: BTreeSet<usize> = cuts.into_iter().map(|cut| cut.min(versions.len())).chain([0, versions.len()]).collect();
        for (start, end) in cuts.iter().zip(cuts.iter().skip(1)) {
            let ended = parts.load(&versions[*start..*end], &[]);
            prop_assert_eq!(ended.code, 0, "{}", ended.stderr);
            support::assert_counts_add_up(&ended.summary());
        }
        prop_assert_eq!(whole.layer(), parts.layer());
    }

    #[test]
    fn any_order_of_runs_ends_in_the_same_bytes_where_times_decide(versions in proptest::collection::vec(version(), 1..16), seed in any::<u64>()) {
        let versions = with_distinct_times(versions);
        let whole = Workspace::new();
        whole.load(&versions, &[]);
        let mut shuffled: Vec<_> = versions.iter().enumerate().collect();
        shuffled.sort_by_key(|(place, _)| (*place as u64 + 1).wrapping_mul(seed | 1).rotate_left(17));
        let parts = Workspace::new();
        for run in shuffled.chunks(5) {
            let run: Vec<_> = run.iter().map(|(_, version)| (*version).clone()).collect();
            let ended = parts.load(&run, &["--check-scope", "full"]);
            prop_assert_eq!(ended.code, 0, "{}", ended.stderr);
            support::assert_counts_add_up(&ended.summary());
        }
        prop_assert_eq!(whole.layer(), parts.layer());
    }
}
