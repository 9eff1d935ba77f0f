//! The shape of the orders' records: each change is told once, by its source, and may freeze a run.

use serde_json::{Value, json};

use crate::support::{Server, Workspace, order, status};

/// Orders `A0`, `A1` and so on, each with more keys.
fn orders(count: usize, rest: &str) -> Vec<String> {
    (0..count).map(|number| order(&format!("A{number}"), "2026-01-01", rest)).collect()
}

/// The same, with more keys in each line.
fn with_line_keys(lines: &[String], rest: &str) -> Vec<String> {
    lines.iter().map(|line| line.replace(r#""price":1.5"#, &format!(r#""price":1.5{rest}"#))).collect()
}

/// The changes of a run as `change path types<was`; `!` if the run reads the path.
fn changes(summary: &Value) -> Vec<String> {
    let names =
        |types: &Value| types.as_array().unwrap().iter().map(|kind| kind.as_str().unwrap().to_owned()).collect::<Vec<_>>().join("+");
    let shown = |change: &Value| {
        let read = if change["read"] == true { "!" } else { "" };
        let (kind, path) = (change["change"].as_str().unwrap(), change["path"].as_str().unwrap());
        format!("{read}{kind} {path} {}<{}", names(&change["types"]), names(&change["was"]))
    };
    summary["schema_changes"].as_array().unwrap().iter().map(shown).collect()
}

fn kinds(summary: &Value, field: &str) -> Vec<String> {
    summary[field].as_array().unwrap().iter().map(|alert| alert["kind"].as_str().unwrap().to_owned()).collect()
}

/// The summary of a load that publishes or changes nothing.
#[track_caller]
fn load(work: &Workspace, lines: &[String]) -> Value {
    let ended = work.load(lines, &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.summary()
}

/// The shapes in the newest commit.
fn shapes(work: &Workspace) -> Value {
    let newest = work.files("state/commits").into_values().last().unwrap();
    serde_json::from_slice::<Value>(&newest).unwrap()["layer"]["shapes"].clone()
}

const NONE: [&str; 0] = [];

#[test]
fn a_new_path_is_told_once_with_the_column_that_takes_it() {
    let receiver = Server::start(|_| status(202));
    let work = Workspace::new();
    work.write(".env", format!("ETL_ALERT_WEBHOOK_URL={}/hook\n", receiver.url));
    let first = load(&work, &orders(3, ""));
    assert_eq!((changes(&first), kinds(&first, "alerts")), (vec![], vec![]), "the first run of a source tells nothing");
    // Rows are as before: also a run that changes nothing remembers.
    let more = with_line_keys(&orders(2, r#","channel":"web""#), r#","gift":{"note":"x","count":2}"#);
    let ended = work.load(&more, &["--log-format", "text"]);
    let told = ended.unchanged();
    assert_eq!(changes(&told), ["new channel text<", "new items.*.gift.count number<", "new items.*.gift.note text<"]);
    assert_eq!(told["schema_changes_omitted"], 0);
    assert_eq!(told["schema_changes"][0]["column"], "[[fact.columns]]\nname = \"channel\"\npath = \"channel\"\ntype = \"text\"\n");
    assert_eq!(
        told["schema_changes"][1]["column"],
        "[[fact.columns]]\nname = \"count\"\npath = \"gift.count\"\nlevel = \"line\"\ntype = \"bigint\"\n"
    );
    assert_eq!(kinds(&told, "alerts"), ["schema_changed"]);
    let message = told["alerts"][0]["message"].as_str().unwrap();
    assert!(message.contains("`channel` is new (text): [[fact.columns]] name = \"channel\""), "{message}");
    assert!(ended.stderr.contains("another shape") && ended.stderr.contains("items.*.gift.note"), "{}", ended.stderr);
    let again = load(&work, &more);
    assert_eq!((changes(&again), kinds(&again, "alerts")), (vec![], vec![]));
    assert_eq!(kinds(&again, "alerts_recovered"), ["schema_changed"]);
    assert_eq!(changes(&load(&work, &orders(3, ""))), NONE, "few records without it say nothing");
    let states: Vec<_> =
        receiver.asked().iter().map(|asked| serde_json::from_str::<Value>(&asked.body).unwrap()["state"].clone()).collect();
    assert_eq!(states, ["firing", "recovered"]);
}

#[test]
fn a_vanished_and_a_retyped_path_are_told_once_and_first_where_they_are_read() {
    let work = Workspace::new();
    let whole = orders(60, r#","user_id":"U1","note":"x","ref":7"#);
    load(&work, &whole);
    assert_eq!(changes(&load(&work, &orders(49, ""))), NONE, "49 records are too few");
    let without: Vec<_> = orders(60, r#","ref":null"#).iter().map(|line| line.replace("1.5", "\"1.5\"")).collect();
    let told = load(&work, &without);
    assert_eq!(changes(&told), ["!vanished user_id <text", "!retyped items.*.price text<number", "vanished note <text"]);
    let message = told["alerts"][0]["message"].as_str().unwrap();
    assert!(message.contains("`user_id`, which is read, has vanished (it was text)"), "{message}");
    assert_eq!(changes(&load(&work, &without)), NONE);
    assert_eq!(changes(&load(&work, &whole)), NONE, "both types are known");
    assert_eq!(changes(&load(&work, &without)), ["!vanished user_id <text", "vanished note <text"], "they came back in between");
}

#[test]
fn lines_under_another_key_are_told_as_what_the_run_no_longer_reads() {
    let work = Workspace::new();
    load(&work, &orders(50, ""));
    let renamed: Vec<_> = orders(50, "").iter().map(|line| line.replace("\"items\"", "\"positions\"")).collect();
    let told = work.load(&renamed, &[]).unchanged();
    assert_eq!(
        changes(&told),
        [
            "!vanished items <list",
            "!vanished items.*.price <number",
            "!vanished items.*.quantity <number",
            "!vanished items.*.sku <text",
            "new positions.*.price number<",
            "new positions.*.quantity number<",
            "new positions.*.sku text<",
        ]
    );
    assert_eq!(told["schema_changes"][4]["column"], Value::Null, "no column takes one of several values");
}

#[test]
fn the_same_records_change_no_file_and_no_shape() {
    let work = Workspace::new();
    let lines = with_line_keys(&orders(60, r#","tags":["a",1],"meta":{"by":null}"#), r#","x":{"y":true}"#);
    work.load(&lines, &[]).published();
    let (layer, times, remembered) = (work.layer(), work.times(), shapes(&work));
    assert!(remembered[0]["shape"]["f"]["meta"]["f"]["by"]["t"] == "0", "{remembered}");
    let again = work.load(&lines, &[]).unchanged();
    assert_eq!((work.layer(), work.times(), shapes(&work)), (layer, times, remembered));
    assert_eq!((changes(&again), kinds(&again, "alerts")), (vec![], vec![]));
}

#[test]
fn a_frozen_shape_fails_the_run_until_the_change_is_accepted() {
    let work = Workspace::new();
    work.write("etl.toml", "[schema]\non_change = \"freeze\"\n");
    work.load(&orders(2, ""), &[]).published();
    let (layer, remembered) = (work.layer(), shapes(&work));
    let more = [order("B", "2026-01-02", r#","channel":"web""#)];
    let attempts: [&[&str]; 3] = [&[], &["--dry-run"], &[]];
    for flags in attempts {
        let ended = work.load(&more, &[flags, &["--log-format", "text"]].concat());
        let summary = ended.expect(4, "checks_failed");
        assert_eq!(
            (changes(&summary), kinds(&summary, "alerts")),
            (vec!["new channel text<".to_owned()], vec!["schema_changed".to_owned()])
        );
        assert!(ended.stderr.contains("`channel` is new") && ended.stderr.contains("etl run --accept-schema"), "{}", ended.stderr);
        assert_eq!(summary["error"].as_str().unwrap().matches("Nothing was published").count(), 1);
    }
    assert_eq!((work.layer(), shapes(&work)), (layer, remembered));
    let accepted = work.load(&more, &["--accept-schema"]).published();
    assert_eq!(changes(&accepted), ["new channel text<"]);
    assert_eq!(work.query("SELECT order_id FROM fact_order ORDER BY 1"), ["A0", "A1", "B"]);
    assert_eq!(changes(&work.load(&more, &[]).unchanged()), NONE, "it is remembered");
}

#[test]
fn a_run_that_publishes_nothing_remembers_nothing() {
    let work = Workspace::new();
    load(&work, &orders(2, ""));
    let more = [order("B", "2026-01-02", r#","channel":"web""#)];
    let told = ["new channel text<"];
    assert_eq!(changes(&work.load(&more, &["--dry-run"]).expect(0, "dry_run")), told);
    work.write("checks/strict.sql", "SELECT * FROM fact_order WHERE order_id = 'B'\n");
    assert_eq!(changes(&work.load(&more, &[]).expect(4, "checks_failed")), told);
    std::fs::remove_file(work.path("checks/strict.sql")).unwrap();
    let summary = work.load(&more, &[]).published();
    assert_eq!(changes(&summary), told);
    // Undone, it is new once more.
    assert_eq!(work.etl(&["undo", summary["run_id"].as_str().unwrap()]).code, 0);
    assert_eq!(changes(&load(&work, &more)), told);
    assert_eq!(changes(&load(&work, &more)), NONE);
}

#[test]
fn ignored_changes_are_neither_told_nor_remembered() {
    let work = Workspace::new();
    work.write("etl.toml", "schema.on_change = \"ignore\"\n");
    load(&work, &orders(2, ""));
    assert_eq!(changes(&load(&work, &orders(2, r#","channel":"web""#))), NONE);
    assert_eq!(shapes(&work), Value::Null);
}

#[test]
fn the_keys_of_a_map_do_not_flood() {
    let work = Workspace::new();
    let keyed = |from: usize, value: &str| -> Vec<_> {
        (from..from + 150).map(|key| order(&format!("A{key}"), "2026-01-01", &format!(r#","by_id":{{"k{key}":{value}}}"#))).collect()
    };
    load(&work, &keyed(0, r#"{"a":1}"#));
    assert_eq!(changes(&load(&work, &keyed(150, r#"{"a":1}"#))), NONE, "with those before they are more than 200");
    assert_eq!(changes(&load(&work, &keyed(300, r#"{"a":1,"b":"x"}"#))), ["new by_id.*.b text<"]);
    let numbered = |number: &str| orders(1, &format!(r#","stock":{{"{number}":5}}"#));
    assert_eq!(changes(&load(&work, &numbered("17"))), ["new stock.* number<"]);
    assert_eq!(changes(&load(&work, &numbered("18"))), NONE, "digits are no name");
}

#[test]
fn changes_beyond_the_first_fifty_are_counted() {
    let work = Workspace::new();
    load(&work, &orders(1, ""));
    let keys: String = (0..60).map(|key| format!(r#","k{key}":1"#)).collect();
    let told = load(&work, &orders(1, &keys));
    assert_eq!((changes(&told).len(), &told["schema_changes_omitted"]), (50, &json!(10)));
    assert!(told["alerts"][0]["message"].as_str().unwrap().ends_with(", 55 more"), "{told}");
    assert_eq!(changes(&load(&work, &orders(1, &keys))), NONE, "all of them are remembered");
}

#[test]
fn each_source_has_a_shape_of_its_own() {
    let work = Workspace::new();
    work.write("a.ndjson", order("A", "2026-01-01", ""));
    work.write("b.ndjson", order("B", "2026-01-01", r#","channel":"web""#));
    let run = |file: &str| changes(&work.etl(&["run", "--orders", file]).summary());
    assert_eq!((run("a.ndjson"), run("b.ndjson"), run("a.ndjson"), run("b.ndjson")), (vec![], vec![], vec![], vec![]));
    work.write("a.ndjson", order("A", "2026-01-01", r#","channel":"web""#));
    assert_eq!(run("a.ndjson"), ["new channel text<"], "another source had it");
}

#[test]
fn the_proposed_columns_load_what_is_new() {
    let work = Workspace::new();
    work.write("etl.toml", "threads = 2\n");
    load(&work, &orders(1, ""));
    let more = with_line_keys(&orders(1, r#","source.name":"web","gift":true"#), r#","tax":{"rate":0.19}"#);
    let told = work.load(&more, &[]).unchanged();
    let columns: Vec<_> = told["schema_changes"].as_array().unwrap().iter().map(|change| change["column"].as_str().unwrap()).collect();
    assert_eq!(columns.len(), 3, "{told}");
    work.write("etl.toml", format!("threads = 2\n{}", columns.concat()));
    assert_eq!(work.etl(&["rewrite"]).code, 0);
    work.load(&more, &[]).published();
    let facts = work.facts();
    assert_eq!((facts[0]["gift"].as_str(), facts[0]["rate"].as_str(), facts[0]["source_name"].as_str()), ("true", "0.1900", "web"));
}

#[test]
fn what_is_observed_is_a_sample_of_the_window() {
    let work = Workspace::new();
    load(&work, &orders(1100, ""));
    let mut lines = orders(1100, "");
    for (place, key) in [(199, "first"), (500, "rare"), (1000, "thousandth")] {
        lines[place] = order(&format!("A{place}"), "2026-01-01", &format!(r#","{key}":1"#));
    }
    lines[5] = order("A5", "2025-01-01", r#","before":1"#);
    lines[6] = r#"{"id":"B","created":"2026-01-01"}"#.to_owned();
    let ended = work.load(&lines, &["--since", "2026-01-01"]);
    assert_eq!(
        changes(&ended.summary()),
        ["new created text<", "new first number<", "!new id text<", "new thousandth number<"],
        "a dropped record is observed, and one outside of the window is not"
    );
}

#[test]
fn a_state_without_shapes_is_that_of_a_first_run() {
    let work = Workspace::new();
    load(&work, &orders(2, ""));
    for (name, bytes) in work.files("state") {
        let Ok(mut commit) = serde_json::from_slice::<Value>(&bytes) else { continue };
        if let Some(layer) = commit.get_mut("layer").and_then(Value::as_object_mut) {
            assert!(layer.remove("shapes").is_some(), "{name}");
            work.write(&format!("output/{name}"), commit.to_string());
        }
    }
    let more = orders(2, r#","channel":"web""#);
    assert_eq!(changes(&work.load(&more, &[]).unchanged()), NONE);
    assert_eq!(changes(&load(&work, &orders(2, r#","channel":"web","gift":1"#))), ["new gift number<"]);
}
