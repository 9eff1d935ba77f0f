//! One is singular: no text, alert or error of the program says "1 violations". What the program prints here is looked
//! at, and so is every text in its source: a message that no test provokes has its plural made by `model::counted`,
//! too.

use crate::support::{Workspace, order};

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

/// Words that end in `s` after a value that is no count: verbs, and what follows a name.
const AFTER_A_NAME: [&str; 17] = [
    "is", "has", "was", "as", "does", "says", "holds", "keeps", "stands", "names", "differs", "stays", "refuses", "asks", "fails", "reads",
    "ends",
];

/// Words that may stand between a count and its noun.
const BETWEEN: [&str; 8] = ["different", "new", "more", "other", "old", "known", "distinct", "further"];

/// Each plural in a line of source that stands behind a value: `{count} rows`. A constant in capitals is no count of
/// one.
fn hand_made(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (end, _) in line.match_indices('}') {
        let value = line[..end].rfind('{').map_or("", |start| &line[start + 1..end]).split(':').next().unwrap_or_default();
        let is_constant = !value.is_empty() && value.bytes().all(|letter| letter.is_ascii_uppercase() || letter == b'_');
        let mut words = line[end + 1..].strip_prefix(' ').unwrap_or_default().split(|letter: char| !letter.is_ascii_lowercase());
        let word = words.find(|word| !BETWEEN.contains(word)).unwrap_or_default();
        if !is_constant && word.len() > 2 && word.ends_with('s') && !AFTER_A_NAME.contains(&word) {
            found.push(word.to_owned());
        }
    }
    found
}

#[test]
fn a_plural_that_is_made_by_hand_is_found() {
    let found = |line| hand_made(line).join(" ");
    assert_eq!(found(r#"format!("{} rows of {records} records; {n:>3} new files, {MOST} days", a)"#), "rows records files");
    assert_eq!(found(r#"format!("{name} is here, {} of {}; {{ x }} keeps {} one", a, b, c)"#), "");
}

/// The lines of the program without comments and tests.
fn source_lines(folder: &std::path::Path, lines: &mut Vec<String>) {
    // All of it is for tests.
    const TESTS: [&str; 3] = ["simulation.rs", "scale_simulation.rs", "faulty.rs"];
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            source_lines(&path, lines);
        } else if name.ends_with(".rs") && !TESTS.contains(&name) {
            let text = std::fs::read_to_string(&path).unwrap();
            let program = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            let code = program.lines().filter(|line| !line.trim_start().starts_with("//"));
            lines.extend(code.map(|line| format!("{name}: {}", line.trim())));
        }
    }
}

#[test]
fn no_text_of_the_program_makes_its_plural_by_hand() {
    let mut lines = Vec::new();
    source_lines(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut lines);
    assert!(lines.len() > 20_000, "only {} lines were found", lines.len());
    let wrong: Vec<_> = lines.iter().filter(|line| !hand_made(line).is_empty() || line.replace("http(s)", "").contains("(s)")).collect();
    assert!(wrong.is_empty(), "`model::counted` makes the plural of a count: {wrong:#?}");
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
        &["run", "--orders", "orders.ndjson", "--sample", "1"][..],
        &["run", "--orders", "orders.ndjson"],
        &["doctor", "--orders", "orders.ndjson"],
        &["config", "check", "--orders", "orders.ndjson"],
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
