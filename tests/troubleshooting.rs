//! `docs/troubleshooting.md` compared with the program: every message of an error is in it, and none that no error has.

use std::path::Path;

use crate::support::{Workspace, order};

/// Where errors that a person sees have their words.
const SOURCES: [&str; 12] = [
    "src/settings/error.rs",
    "src/run/error.rs",
    "src/run/request_error.rs",
    "src/source/error.rs",
    "src/store/error.rs",
    "src/store/lease/mod.rs",
    "src/layer/error.rs",
    "src/check/error.rs",
    "src/join/error.rs",
    "src/net/mod.rs",
    "src/warehouse/redshift/error.rs",
    "src/warehouse/ddl/error.rs",
];

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn has_words(text: &str) -> bool {
    text.as_bytes().windows(2).any(|pair| pair.iter().all(u8::is_ascii_lowercase))
}

/// The fixed words of each message of the page, in the sections of exit codes. A message without any is of its caller's making.
fn documented() -> Vec<Vec<String>> {
    let page = file("docs/troubleshooting.md");
    let (exits, _) = page.split_once("\n## No error").unwrap();
    let message = |line: &str| {
        let cell = line.strip_prefix("| ")?.split(" | ").next()?.to_owned();
        let ticks = cell.chars().take_while(|letter| *letter == '`').count();
        let text = cell.get(ticks..)?.split(&"`".repeat(ticks)).next()?.to_owned();
        (ticks > 0).then(|| text.split('…').map(str::trim).filter(|piece| has_words(piece)).map(str::to_owned).collect::<Vec<_>>())
    };
    exits.lines().filter_map(message).filter(|pieces: &Vec<String>| !pieces.is_empty()).collect()
}

/// The texts of `#[error("...")]`.
fn error_texts(source: &str) -> Vec<String> {
    let text = |rest: &str| {
        let quoted = rest.trim_start().strip_prefix('"')?;
        let mut is_escaped = false;
        let end = quoted.char_indices().find(|(_, letter)| {
            let ends = *letter == '"' && !is_escaped;
            is_escaped = *letter == '\\' && !is_escaped;
            ends
        });
        Some(quoted[..end?.0].to_owned())
    };
    source.split("#[error(").skip(1).filter_map(text).collect()
}

/// The text without what is filled in.
fn fixed(text: &str) -> String {
    text.split('{').map(|part| part.split_once('}').map_or(part, |(_, rest)| rest)).collect()
}

#[test]
fn every_message_of_an_error_is_documented() {
    let documented = documented();
    assert!(documented.len() > 80, "{}", documented.len());
    for source in SOURCES {
        for text in error_texts(&file(source)).iter().filter(|text| has_words(&fixed(text))) {
            let is_documented = documented.iter().any(|pieces| pieces.iter().all(|piece| text.contains(piece.as_str())));
            assert!(is_documented, "{source}: {text}");
        }
    }
}

#[test]
fn every_documented_message_is_one_of_the_program() {
    let sources = SOURCES.map(file);
    for pieces in documented() {
        let is_said = sources.iter().any(|source| pieces.iter().all(|piece| source.contains(piece.as_str())));
        assert!(is_said, "{pieces:?}");
    }
}

#[test]
fn an_error_names_the_section_of_its_exit_code() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    work.write("checks/none.sql", "SELECT order_id FROM fact_order");
    let page = file("docs/troubleshooting.md");
    let cases: [(&[&str], i32); 4] = [
        (&["run"], 2),
        (&["run", "--orders", "nowhere.ndjson"], 3),
        (&["run", "--orders", "orders.ndjson"], 4),
        (&["run", "--orders", "orders.ndjson", "--output", "/proc/none"], 5),
    ];
    for (args, code) in cases {
        let ended = work.etl(&[args, &["--log-format", "text", "--checks", "checks"]].concat());
        assert_eq!(ended.code, code, "{}", ended.stderr);
        assert!(ended.stderr.contains(&format!("\nsee docs/troubleshooting.md#exit-{code}\n")), "{}", ended.stderr);
        assert!(page.contains(&format!("\n## Exit {code}\n")));
        let json = work.etl(&[args, &["--log-format", "json", "--checks", "checks"]].concat());
        assert!(json.stderr.contains(&format!(r#""help":"docs/troubleshooting.md#exit-{code}""#)), "{}", json.stderr);
    }
    let codes = file("docs/reference/exit-codes.md");
    for section in ["1", "2", "3", "4", "5", "6", "130-and-143"] {
        assert!(codes.contains(&format!("troubleshooting.md#exit-{section})")), "{section}");
        assert!(page.contains(&format!("\n## Exit {}\n", section.replace('-', " "))), "{section}");
    }
}
