//! `docs/reference` compared with the program: fields, reasons, keys, statuses, exit codes, columns and checks.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use orders_etl::{
    cancel::Stop,
    check::{BUILTIN, Severity},
    model::{DIM_PRODUCT, DIM_USER, FACT_COLUMNS, Reason},
    normalize::{LINE_FIELDS, RECORD_FIELDS},
    report::Status,
    run::RunError,
    settings::{Limits, SettingsError},
    source::SourceError,
    store::{LockError, StoreError},
};
use serde_json::Value;
use support::{Workspace, assert_counts_add_up, order};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference")
}

fn page(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The text between a heading and the next one of its level.
fn section(name: &str, heading: &str) -> String {
    let title = format!("## {heading}");
    let text = page(name);
    let body: Vec<_> = text.lines().skip_while(|line| *line != title).skip(1).take_while(|line| !line.starts_with("## ")).collect();
    assert!(!body.is_empty(), "{name} has no section `{heading}`");
    body.join("\n")
}

/// The cells of each table row that begins with a name in backquotes.
fn rows(section: &str) -> Vec<Vec<String>> {
    let lines = section.lines().filter(|line| line.starts_with("| `"));
    lines.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// The texts in backquotes of a cell.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// All names of the first column.
fn names(section: &str) -> Vec<String> {
    rows(section).iter().flat_map(|row| quoted(&row[0])).collect()
}

/// The first block of code of a language.
fn block(section: &str, language: &str) -> String {
    let start = format!("```{language}");
    let lines: Vec<_> = section.lines().skip_while(|line| *line != start).skip(1).take_while(|line| *line != "```").collect();
    assert!(!lines.is_empty(), "no block of {language}");
    lines.join("\n") + "\n"
}

#[test]
fn every_field_is_documented_with_its_default_paths() {
    for (heading, fields) in [("Fields of a record", &RECORD_FIELDS[..]), ("Fields of a line", &LINE_FIELDS[..])] {
        let rows = rows(&section("orders.md", heading));
        let documented: Vec<_> = rows.iter().map(|row| (quoted(&row[0]).join(" "), quoted(&row[1]).join(" "))).collect();
        let expected: Vec<_> = fields.iter().map(|(name, paths)| ((*name).to_owned(), paths.join(" "))).collect();
        assert_eq!(documented, expected, "{heading}");
    }
}

#[test]
fn the_example_order_becomes_the_example_rows() {
    let example = section("orders.md", "Example");
    let work = Workspace::new();
    work.write("order.json", block(&example, "json"));
    work.etl(&["run", "--orders", "order.json"]).published();
    assert_eq!(work.read("output/curated/dt=2026-02-01/part-00000.csv"), block(&example, "csv"));
}

#[test]
fn every_reason_is_documented_with_its_level_and_limit() {
    let rows = rows(&section("orders.md", "Dropped records and lines"));
    let documented: BTreeSet<_> = rows.iter().map(|row| (quoted(&row[0]).join(" "), row[1].clone())).collect();
    let expected: BTreeSet<_> = Reason::ALL.iter().map(|reason| (reason.as_str().to_owned(), reason.level().as_str().to_owned())).collect();
    assert_eq!(documented, expected);
    assert_eq!(rows.len(), Reason::ALL.len(), "a reason stands twice");
    let limits = Limits::default();
    for (reason, limit) in [("record_too_large", limits.record_bytes.to_string()), ("record_too_deep", limits.depth.to_string())] {
        let row = rows.iter().find(|row| quoted(&row[0]) == [reason]).unwrap();
        assert!(row[2].contains(&format!("({limit})")), "{reason}: {}", row[2]);
    }
}

#[test]
fn each_example_of_a_dropped_record_or_line_is_dropped_for_its_reason() {
    let (mut expected, mut lines) = (BTreeSet::new(), Vec::new());
    for row in rows(&section("orders.md", "Dropped records and lines")) {
        let (reason, example) = (quoted(&row[0]).remove(0), quoted(&row[3]).remove(0));
        // Too large for a table.
        if example.contains('…') {
            continue;
        }
        let record = match row[1].as_str() {
            "line" => format!(r#"{{"order_id":"{reason}","created_at":"2026-01-31","items":[{example},{{"sku":"GOOD"}}]}}"#),
            _ => example,
        };
        expected.insert((reason, serde_json::from_str::<Value>(&record).unwrap().to_string()));
        lines.push(record);
    }
    assert_eq!(expected.len(), Reason::ALL.len() - 2);
    let work = Workspace::new();
    work.load(&lines, &[]).published();
    let quarantine = work.quarantine();
    let dropped: BTreeSet<_> =
        quarantine.iter().map(|line| (line["reason"].as_str().unwrap().to_owned(), line["record"].to_string())).collect();
    let missing: Vec<_> = expected.difference(&dropped).collect();
    assert!(missing.is_empty(), "{missing:#?} of {dropped:#?}");
}

/// Paths whose keys are data (reasons, currencies, stages, columns), or are documented elsewhere in the same table.
const ENDS: [&str; 7] =
    ["dropped", "revenue", "stage_seconds", "checks[].sample", "alerts_recovered", "completeness.users", "completeness.products"];

/// The path of each key, as `summary.md` writes it.
fn key_paths(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    if !path.is_empty() && !path.ends_with(']') && !path.ends_with('*') {
        found.insert(path.to_owned());
    }
    if ENDS.contains(&path) {
        return;
    }
    match value {
        Value::Object(object) => {
            for (key, inner) in object {
                let path = match path {
                    "" => key.clone(),
                    "dimensions" => "dimensions.*".to_owned(),
                    _ => format!("{path}.{key}"),
                };
                key_paths(inner, &path, found);
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| key_paths(element, &format!("{path}[]"), found)),
        _ => {}
    }
}

fn all_key_paths(summary: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    key_paths(summary, "", &mut found);
    found
}

/// The keys of a certificate without those of users and products.
fn certificate_keys(certificate: &Value) -> BTreeSet<&str> {
    certificate.as_object().unwrap().keys().map(String::as_str).filter(|key| !["users", "products"].contains(key)).collect()
}

#[test]
fn every_key_of_a_summary_is_documented_and_every_documented_key_exists() {
    let work = Workspace::new();
    work.write("users.csv", "user_id,name\nU1,Anna\n");
    work.write("products.csv", "sku,name\nS,Thing\n");
    // A record that is dropped raises an alert, and a user that no source knows gives a check a sample.
    let lines = [order("A", "2026-01-01", r#","user_id":"U9""#), r#"{"order_id":"B"}"#.to_owned()];
    let summary = work.load(&lines, &["--users", "users.csv", "--products", "products.csv"]).published();
    let documented: BTreeSet<_> = names(&section("summary.md", "Keys")).into_iter().collect();
    assert_eq!(documented, all_key_paths(&summary));
    let completeness = &summary["completeness"];
    for source in ["users", "products"] {
        assert_eq!(certificate_keys(&completeness[source]), certificate_keys(completeness), "{source}");
    }
    let example: Value = serde_json::from_str(&block(&section("summary.md", "Example"), "json")).unwrap();
    assert_eq!(all_key_paths(&example), documented, "the example");
    assert_counts_add_up(&example);
}

#[test]
fn every_key_of_a_backfills_result_is_documented() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    let ended = work.etl(&["backfill", "--orders", "orders.ndjson", "--since", "2026-01-01", "--until", "2026-01-02"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let result = ended.summary();
    let keys: BTreeSet<_> = result.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names(&section("summary.md", "Result of a backfill")).into_iter().collect::<BTreeSet<_>>(), keys);
}

#[test]
fn every_key_of_a_plan_is_documented() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    let ended = work.etl(&["plan", "--orders", "orders.ndjson", "--since", "2020-01-01", "--chunk", "1y", "--format", "json"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let plan = ended.summary();
    let keys: BTreeSet<_> = plan.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names(&section("windows.md", "Plan")).into_iter().collect::<BTreeSet<_>>(), keys);
}

#[test]
fn every_status_is_documented() {
    let documented: BTreeSet<_> = names(&section("summary.md", "Statuses")).into_iter().collect();
    let expected: BTreeSet<_> = Status::ALL.iter().map(|status| status.as_str().to_owned()).collect();
    assert_eq!(documented, expected);
}

#[test]
fn every_exit_code_is_documented_and_no_other() {
    let errors = [
        RunError::Internal(String::new()),
        RunError::Settings(SettingsError::NoOrders),
        RunError::Source(SourceError::Missing { path: PathBuf::new() }),
        RunError::ChecksFailed { names: Vec::new(), published: false },
        RunError::Store(StoreError::Interrupted),
        RunError::Lock(LockError::Interrupted),
        RunError::Interrupted(Stop::Interrupt),
        RunError::Interrupted(Stop::Terminate),
    ];
    let codes: Vec<u8> = std::iter::once(0).chain(errors.iter().map(RunError::exit_code)).collect();
    assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 130, 143]);
    let documented: Vec<u8> = names(&section("exit-codes.md", "Codes")).iter().map(|code| code.parse().unwrap()).collect();
    assert_eq!(documented, codes);
}

#[test]
fn every_column_is_documented_in_its_order_with_its_type() {
    let rows_of = |heading: &str| rows(&section("output.md", heading));
    let documented: Vec<_> = rows_of("`fact_order`").iter().map(|row| (quoted(&row[0]).join(" "), row[1].clone())).collect();
    let expected: Vec<_> = FACT_COLUMNS.iter().map(|(name, kind)| ((*name).to_owned(), kind.sql().to_owned())).collect();
    assert_eq!(documented, expected);
    for dimension in [DIM_USER, DIM_PRODUCT] {
        let rows = rows_of(&format!("`{}`", dimension.name));
        let documented: Vec<_> = rows.iter().map(|row| (quoted(&row[0]).join(" "), row[1].clone(), quoted(&row[2]).join(" "))).collect();
        let fixed = dimension.columns.iter().map(|column| (column.name.to_owned(), column.kind.sql().to_owned(), column.from.join(" ")));
        let inferred = ("inferred".to_owned(), "BOOLEAN".to_owned(), String::new());
        assert_eq!(documented, fixed.chain([inferred]).collect::<Vec<_>>(), "{}", dimension.name);
    }
}

#[test]
fn a_dimension_that_keeps_versions_has_the_documented_columns() {
    let work = Workspace::new();
    work.write("etl.toml", "scd = 2\n");
    work.write("users.csv", "user_id,name\nU1,Anna\n");
    work.load(&[order("A", "2026-01-01", "")], &["--users", "users.csv"]).published();
    let documented = [names(&section("output.md", "`dim_user`")), names(&section("output.md", "Dimensions"))].concat();
    assert_eq!(work.read("output/dims/dim_user/dim_user.csv").lines().next(), Some(documented.join(",").as_str()));
}

#[test]
fn every_builtin_check_is_documented_with_its_severity() {
    let rows = rows(&section("checks.md", "Built-in checks"));
    let documented: Vec<_> = rows.iter().map(|row| (quoted(&row[0]).join(" "), row[1].clone())).collect();
    let severity = |severity| if severity == Severity::Warn { "warn" } else { "error" };
    let expected: Vec<_> = BUILTIN.iter().map(|check| (check.name.to_owned(), severity(check.severity).to_owned())).collect();
    assert_eq!(documented, expected);
}

/// Every page, by its name.
fn pages() -> BTreeSet<String> {
    folder().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn no_line_of_prose_is_longer_than_120_characters() {
    for name in pages() {
        let mut in_code = false;
        for (number, line) in (1..).zip(page(&name).lines()) {
            if line.starts_with("```") {
                in_code = !in_code;
            }
            let length = line.chars().count();
            assert!(in_code || line.starts_with('|') || length <= 120, "{name}, line {number}: {length} characters");
        }
    }
}

#[test]
fn every_page_is_in_the_index() {
    let index = page("README.md");
    let linked: BTreeSet<_> = index.lines().filter_map(|line| Some(line.strip_prefix("| [")?.split_once(']')?.0.to_owned())).collect();
    let mut expected = pages();
    expected.remove("README.md");
    assert_eq!(linked, expected);
}
