//! One is singular: no text, alert or error of the program says "1 violations".
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use support::{Workspace, order};

/// Words that end in `s` and are no plural.
const SINGULAR: [&str; 8] = ["as", "is", "has", "was", "does", "this", "its", "stands"];

/// Each "1 lines" of a text.
fn mistakes(text: &str) -> Vec<String> {
    let is_plural = |word: &str| {
        let word = word.trim_end_matches([',', '.', ':', ';', ')']);
        word.len() > 2 && word.ends_with('s') && word.bytes().all(|letter| letter.is_ascii_lowercase()) && !SINGULAR.contains(&word)
    };
    let in_line = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let pairs = words.windows(2).filter(|pair| pair[0].trim_start_matches('(') == "1" && is_plural(pair[1]));
        pairs.map(|pair| pair.join(" ")).collect::<Vec<_>>()
    };
    text.lines().flat_map(in_line).collect()
}

#[test]
fn a_plural_after_one_is_found() {
    assert_eq!(mistakes("3 rows, 1 violations (1 runs). 1 was, 1 line, 21 rows"), ["1 violations", "(1 runs)."]);
}

#[test]
fn nothing_that_the_demo_and_its_queries_print_has_a_plural_after_one() {
    let work = Workspace::new();
    let text = |args: &[&str]| {
        let ended = work.etl(&[args, &["--format", "text", "--log-format", "text"]].concat());
        let all = format!("{}{}", ended.stdout, ended.stderr);
        assert_eq!(mistakes(&all), Vec::<String>::new(), "{args:?}: {all}");
        assert!(all.contains(' '), "{args:?}");
        ended.stdout
    };
    let demo = text(&["demo"]);
    assert!(demo.contains("1 violation"), "the demo has counts of one: {demo}");
    let at = ["--output", "output/demo"];
    let runs = work.etl(&[&["runs", "--json"][..], &at].concat()).summary();
    let run_id = runs["runs"][0]["run_id"].as_str().unwrap().to_owned();
    let queries: [&[&str]; 10] = [
        &["status"],
        &["runs"],
        &["runs", "show", &run_id],
        &["quarantine"],
        &["check"],
        &["check", "--history"],
        &["explain", "A-1001"],
        &["diff", &run_id],
        &["undo", &run_id, "--dry-run"],
        &["vacuum", "--dry-run"],
    ];
    for args in queries {
        text(&[args, &at].concat());
    }
    text(&["demo"]);
}

#[test]
fn a_layer_of_one_row_is_told_in_the_singular() {
    let work = Workspace::new();
    work.write("orders.ndjson", [order("A", "2026-01-01", ""), r#"{"created_at":"2026-01-02"}"#.to_owned()].join("\n"));
    for args in [
        &["run", "--orders", "orders.ndjson"][..],
        &["status"],
        &["quarantine"],
        &["check"],
        &["explain", "A"],
        &["plan", "--orders", "orders.ndjson", "--since", "2026-01-01", "--until", "2026-01-02", "--chunk", "1d"],
        &["probe", "--orders", "orders.ndjson"],
        &["backfill", "--orders", "orders.ndjson", "--since", "2026-01-01", "--until", "2026-01-02"],
        &["rewrite", "--dry-run"],
        &["vacuum"],
    ] {
        let ended = work.etl(&[args, &["--format", "text", "--log-format", "text"]].concat());
        let all = format!("{}{}", ended.stdout, ended.stderr);
        assert_eq!((ended.code, mistakes(&all)), (0, Vec::new()), "{args:?}: {all}");
    }
}
