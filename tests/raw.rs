//! The orders' records of a run, kept as they were delivered, and mapped again: `--keep-raw` and `etl rebuild`.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::{
    self, Asked, Ended, Server, Workspace,
    buckets::S3Server,
    json as answer,
    lake::{Lake, assert_same},
    order,
};

const REBUILD: [&str; 5] = ["rebuild", "--from", "raw", "--orders", "orders.ndjson"];

fn rebuild(work: &Workspace, more: &[&str]) -> Ended {
    work.etl(&[&REBUILD[..], more].concat())
}

/// The kept lines of a run, the first of which tells of the run.
fn kept(work: &Workspace, summary: &Value) -> Vec<String> {
    let bytes = std::fs::read(work.path("output").join(summary["raw"]["file"].as_str().unwrap())).unwrap();
    assert_eq!(summary["raw"]["bytes"], bytes.len());
    String::from_utf8(zstd::decode_all(bytes.as_slice()).unwrap()).unwrap().lines().map(str::to_owned).collect()
}

fn run_id(summary: &Value) -> String {
    summary["run_id"].as_str().unwrap().to_owned()
}

#[test]
fn records_are_kept_to_the_byte_and_in_their_order_whatever_becomes_of_them() {
    let work = Workspace::new();
    work.write("etl.toml", "keep_raw = true\nquarantine.mode = \"0600\"\n");
    let lines = [
        r#"{"order_id": 123456789012345678901234567890, "created_at":"2026-01-01" ,"note":0.10000000000000000000000000001e+2,"items":[{"sku":"\u0053","price":1.50}]}"#.to_owned(),
        r#"{"order_id":"B""#.to_owned(),
        r#""text""#.to_owned(),
        "{}".to_owned(),
        order("C", "2025-01-01", ""),
    ];
    let summary = work.load(&lines, &["--since", "2026-01-01"]).published();
    assert_eq!(
        (&summary["records_processed_count"], &summary["records_dropped_count"], &summary["records_out_of_window"]),
        (&1.into(), &3.into(), &1.into())
    );
    let expected = [
        format!(r#"{{"record":{}}}"#, lines[0]),
        r#"{"record":"{\"order_id\":\"B\""}"#.to_owned(),
        r#"{"record":"\"text\""}"#.to_owned(),
        r#"{"record":{}}"#.to_owned(),
        format!(r#"{{"record":{}}}"#, lines[4]),
    ];
    let kept = kept(&work, &summary);
    assert_eq!((&kept[1..], &summary["raw"]["records"]), (&expected[..], &5.into()));
    let header: Value = serde_json::from_str(&kept[0]).unwrap();
    assert_eq!(
        (&header["run_id"], &header["source"], &header["since"]),
        (&summary["run_id"], &summary["source_identity"], &summary["since"])
    );
    let file = work.path("output").join(summary["raw"]["file"].as_str().unwrap());
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let screen = work.etl(&["status", "--json"]).summary();
    assert_eq!(screen["raw"], json!({"runs": 1, "bytes": summary["raw"]["bytes"], "first_run_id": summary["run_id"]}));
    // All of them meet the same rules again.
    let again = rebuild(&work, &[]).unchanged();
    for count in ["records_read", "dropped", "records_out_of_window", "lines_read", "rules"] {
        assert_eq!(again[count], summary[count], "{count}");
    }
    assert_eq!((&again["command"], &again["raw"], &again["source_identity"]), (&"rebuild".into(), &Value::Null, &Value::Null));
    assert_eq!(work.query("SELECT order_id FROM fact_order"), ["123456789012345678901234567890"]);
}

#[test]
fn a_record_of_several_lines_is_one_line_and_an_array_is_kept_element_by_element() {
    let work = Workspace::new();
    work.write(
        "orders.json",
        "[\n{\"order_id\":\"A\",\n\t\"created_at\":\"2026-01-01\",\"items\":[{\"sku\":\"S\",\r\n\"price\":1.10}]},\nnull]",
    );
    let summary = work.etl(&["run", "--orders", "orders.json", "--keep-raw"]).published();
    let kept = kept(&work, &summary);
    assert_eq!(
        kept[1..],
        [r#"{"record":{"order_id":"A", 	"created_at":"2026-01-01","items":[{"sku":"S",  "price":1.10}]}}"#, r#"{"record":"null"}"#]
    );
    let again = work.etl(&["rebuild", "--from", "raw", "--orders", "orders.json"]).unchanged();
    assert_eq!((&again["records_read"], &again["dropped"]), (&summary["records_read"], &json!({"invalid_json": 1})));
}

#[test]
fn rows_of_a_table_are_kept_as_the_records_that_they_become() {
    let work = Workspace::new();
    work.write("orders.csv", "order_id,created_at,sku,price\nA,2026-01-01,x,1\nA,2026-01-01,y,2\n");
    let summary = work.etl(&["run", "--orders", "orders.csv", "--keep-raw"]).published();
    let kept = kept(&work, &summary);
    let line: Value = serde_json::from_str(&kept[1]).unwrap();
    assert_eq!((kept.len(), line["record"]["items"].as_array().unwrap().len()), (2, 2));
    std::fs::remove_file(work.path("orders.csv")).unwrap();
    assert_eq!(work.etl(&["rebuild", "--from", "raw", "--orders", "orders.csv"]).unchanged()["rows_unchanged"], 2);
}

#[test]
fn only_what_is_published_is_kept_and_only_if_it_is_asked_for() {
    let work = Workspace::new();
    let lines = [order("A", "2026-01-01", "")];
    assert_eq!(work.load(&lines, &["--keep-raw", "--dry-run"]).expect(0, "dry_run")["raw"], Value::Null);
    work.write("failing/none.sql", "SELECT order_id FROM fact_order");
    assert_eq!(work.load(&lines, &["--keep-raw", "--checks", "failing"]).expect(4, "checks_failed")["raw"], Value::Null);
    assert_eq!(work.load(&lines, &[]).published()["raw"], Value::Null);
    assert!(work.files("raw").is_empty());
    let ended = rebuild(&work, &["--log-format", "text"]);
    assert!(ended.code == 2 && ended.stderr.contains("--keep-raw"), "{}", ended.stderr);
    let kept = support::ended(work.command(&["run", "--orders", "orders.ndjson"]).env("ETL_KEEP_RAW", "yes").output().unwrap());
    assert_eq!(kept.unchanged()["raw"]["records"], 1, "a run that changes nothing keeps what it has read");
}

/// A shop whose orders have a channel, with a user.
fn shop() -> Server {
    Server::start(|asked: &Asked| match (asked.path.as_str(), asked.parameter("page")) {
        ("/orders", "1" | "") => {
            let of_channel = |name: &str| format!(r#","user_id":"U1","source":{{"name":"{name}"}}"#);
            answer(format!("[{},{}]", order("A", "2026-01-01", &of_channel("web")), order("B", "2026-01-02", &of_channel("shop"))))
        }
        ("/users", "1" | "") => answer(r#"[{"user_id":"U1","country":"DE"}]"#),
        _ => answer("[]"),
    })
}

#[test]
fn a_new_column_is_filled_without_any_request_and_a_second_time_changes_nothing() {
    let work = Workspace::new();
    let server = shop();
    let sources = format!("orders = \"{0}/orders\"\nusers = \"{0}/users\"\nkeep_raw = true\n", server.url);
    work.write("etl.toml", &sources);
    work.etl(&["run"]).published();
    let asked = server.asked().len();
    work.write("etl.toml", format!("{sources}\n[[fact.columns]]\nname = \"channel\"\npath = \"source.name\"\n"));
    let early = work.etl(&["rebuild", "--from", "raw", "--log-format", "text"]);
    assert!(early.code == 2 && early.stderr.contains("etl rewrite"), "{}", early.stderr);
    assert_eq!(work.etl(&["rewrite"]).code, 0);
    let layer = work.layer();
    let tried = work.etl(&["rebuild", "--from", "raw", "--dry-run", "--diff"]).expect(0, "dry_run");
    assert_eq!((&tried["diff"]["rows_changed"], work.layer()), (&2.into(), layer));
    let summary = work.etl(&["rebuild", "--from", "raw"]).published();
    assert_eq!((&summary["rows_updated"], &summary["rebuilt_from"]["runs"]), (&2.into(), &1.into()));
    assert_eq!(summary["rebuilt_from"]["rows_not_covered"], 0);
    let columns = |name: &str| work.facts().iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    assert_eq!((columns("channel"), columns("user_country")), (vec!["web".to_owned(), "shop".to_owned()], vec!["DE".to_owned(); 2]));
    let times = work.times();
    work.etl(&["rebuild", "--from", "raw"]).unchanged();
    assert_eq!(work.times(), times);
    assert_eq!(server.asked().len(), asked, "no request");
    assert_eq!(summary["source"]["requests"], 0);
    assert_eq!(work.etl(&["check"]).code, 0);
    // What the source delivers is what the kept records say.
    work.etl(&["run"]).unchanged();
    // A rebuild moves no coverage, and is undone as any run is.
    assert_eq!(work.etl(&["undo", &run_id(&summary)]).code, 0);
    assert_eq!(columns("channel"), ["", ""]);
}

#[test]
fn lines_that_were_asked_for_are_kept_in_their_record() {
    let server = Server::start(|asked: &Asked| match asked.path.as_str() {
        "/orders" => answer(r#"[{"id":"A","created_at":"2026-01-01","items":[{"sku":"old","price":9}]}]"#),
        _ => answer(r#"[{"sku":"x","price":2},{"sku":"y","price":3}]"#),
    });
    let work = Workspace::new();
    let single = "pagination = { kind = \"single\" }";
    work.write("etl.toml", format!("[orders]\n{single}\nline_request = {{ path = \"/lines/{{id}}\", {single} }}\n"));
    let orders = server.orders();
    work.etl(&["run", "--orders", &orders, "--keep-raw"]).published();
    assert_eq!(server.asked().len(), 2, "the order, and its lines");
    let again = work.etl(&["rebuild", "--from", "raw", "--orders", &orders]).unchanged();
    assert_eq!((&again["rows_unchanged"], server.asked().len()), (&2.into(), 2));
    assert_eq!(work.query("SELECT sku FROM fact_order ORDER BY 1"), ["x", "y"]);
}

/// A version of an order: its day, its update, its skus. Its cost is not its price.
fn version(order_id: &str, day: u8, updated: u8, skus: &[&str]) -> String {
    let items: Vec<_> = skus.iter().map(|sku| format!(r#"{{"sku":"{sku}","price":{updated},"cost":{}}}"#, updated + 10)).collect();
    format!(r#"{{"order_id":"{order_id}","created_at":"2026-01-0{day}","updated_at":"2026-02-0{updated}","items":[{}]}}"#, items.join(","))
}

const BY_ORDER: &str = "merge = \"order\"\n";
const BY_COST: &str = "merge = \"order\"\n[orders.line_fields]\nunit_price = \"cost\"\n";

/// Lines that come, go and move, an order that loses all of them, and an old version that is delivered late.
fn deliveries() -> [Vec<String>; 3] {
    [
        vec![version("A", 1, 1, &["x", "y"]), version("B", 1, 1, &["x"]), version("C", 3, 2, &["x", "y"])],
        vec![version("A", 2, 2, &["y", "z"]), version("D", 1, 1, &["x"]), version("C", 3, 3, &["y"])],
        vec![version("B", 1, 2, &[]), version("A", 1, 1, &["x", "y"]), version("E", 4, 1, &["x"])],
    ]
}

#[test]
fn by_order_a_rebuild_with_a_mended_profile_equals_a_fresh_load() {
    let (work, fresh) = (Workspace::new(), Workspace::new());
    work.write("etl.toml", BY_ORDER);
    for lines in deliveries() {
        work.load(&lines, &["--keep-raw"]).published();
    }
    fresh.write("etl.toml", BY_COST);
    fresh.load(&deliveries().concat(), &[]).published();
    work.write("etl.toml", BY_COST);
    assert_ne!(work.files("curated"), fresh.files("curated"));
    let summary = rebuild(&work, &[]).published();
    assert_eq!(summary["rebuilt_from"]["runs"], 3);
    assert_eq!(work.files("curated"), fresh.files("curated"));
    assert_eq!(work.etl(&["check"]).code, 0);
    rebuild(&work, &[]).unchanged();
}

#[test]
fn only_the_window_that_a_run_loaded_counts() {
    let work = Workspace::new();
    let lines = [order("A", "2026-01-01", ""), order("B", "2026-02-01", ""), order("C", "2026-03-01", "")];
    work.load(&lines, &["--since", "2026-02-01", "--keep-raw"]).published();
    let summary = rebuild(&work, &[]).unchanged();
    assert_eq!((&summary["records_out_of_window"], &summary["rebuilt_from"]["rows_not_covered"]), (&1.into(), &0.into()));
    assert_eq!(work.query("SELECT order_id FROM fact_order ORDER BY 1"), ["B", "C"]);
}

#[test]
fn what_a_run_deleted_or_another_source_corrected_does_not_come_back() {
    let work = Workspace::new();
    let all: Vec<_> = (1..=20).map(|number| priced(&format!("O{number}"), 1)).collect();
    work.load(&all, &["--keep-raw"]).published();
    let deleting = work.load(&all[1..], &["--keep-raw", "--delete-missing", "--delete-limit", "100%"]).published();
    assert_eq!(deleting["orders_deleted"], 1);
    let layer = work.layer();
    work.write("etl.toml", "delete_missing = \"remove\"\n");
    let from = &rebuild(&work, &[]).unchanged()["rebuilt_from"];
    assert_eq!((&from["gap"], &from["gap_run"], &from["runs"]), (&"deletions".into(), &deleting["run_id"], &1.into()));
    assert_eq!(work.layer(), layer);
    let work = Workspace::new();
    work.load(&[priced("A", 1)], &["--keep-raw"]).published();
    work.write("corrections.ndjson", priced("A", 2));
    work.etl(&["run", "--orders", "corrections.ndjson"]).published();
    let ended = rebuild(&work, &["--log-format", "text"]);
    assert!(ended.code == 2 && ended.stderr.contains("another source and changed rows"), "{}", ended.stderr);
    assert_eq!(work.query(PRICES), ["A|2.0000"]);
}

/// An order without a version, of a price.
fn priced(order_id: &str, price: u8) -> String {
    format!(r#"{{"order_id":"{order_id}","created_at":"2026-01-01","items":[{{"sku":"S","price":{price}}}]}}"#)
}

const PRICES: &str = "SELECT order_id, unit_price FROM fact_order ORDER BY 1";

#[test]
fn what_was_kept_before_a_run_that_kept_none_replaces_nothing_unless_it_is_asked_for() {
    let work = Workspace::new();
    work.load(&[priced("A", 1)], &["--keep-raw"]).published();
    let gap = work.load(&[priced("A", 2)], &[]).published();
    let ended = rebuild(&work, &["--log-format", "text"]);
    assert!(ended.code == 2 && ended.stderr.contains(&run_id(&gap)) && ended.stderr.contains("--across-gaps"), "{}", ended.stderr);
    work.load(&[priced("B", 3)], &["--keep-raw"]).published();
    let from = &rebuild(&work, &[]).unchanged()["rebuilt_from"];
    assert_eq!((&from["runs"], &from["runs_before_gap"], &from["gap_run"]), (&1.into(), &1.into(), &gap["run_id"]));
    assert_eq!(from["rows_not_covered"], 1);
    assert_eq!(work.query(PRICES), ["A|2.0000", "B|3.0000"]);
    let shown = rebuild(&work, &["--format", "text"]).stdout;
    assert!(shown.contains("--across-gaps") && shown.contains("not covered"), "{shown}");
    assert_eq!(rebuild(&work, &["--across-gaps"]).published()["rebuilt_from"]["rows_not_covered"], 0);
    assert_eq!(work.query(PRICES), ["A|1.0000", "B|3.0000"]);
}

#[test]
fn undone_runs_and_other_sources_are_left_out() {
    let work = Workspace::new();
    work.load(&[priced("A", 1)], &["--keep-raw"]).published();
    let wrong = work.load(&[priced("A", 2)], &["--keep-raw"]).published();
    assert_eq!(work.etl(&["undo", &run_id(&wrong)]).code, 0);
    work.write("others.ndjson", priced("X", 5));
    work.etl(&["run", "--orders", "others.ndjson", "--keep-raw"]).published();
    let from = &rebuild(&work, &[]).unchanged()["rebuilt_from"];
    assert_eq!((&from["runs"], &from["runs_undone"], &from["runs_of_other_sources"]), (&1.into(), &1.into(), &1.into()));
    assert_eq!(work.query(PRICES), ["A|1.0000", "X|5.0000"]);
}

#[test]
fn a_replay_keeps_its_records_and_is_rebuilt_after_the_run_that_it_mends() {
    let work = Workspace::new();
    work.write("etl.toml", "keep_raw = true\n");
    let bad = priced("A", 1).replace("\"price\":1", "\"price\":\"x\"");
    let run_id = run_id(&work.load(&[bad, priced("G", 5)], &[]).published());
    let file = format!("output/quarantine/run_id={run_id}/records.ndjson");
    work.write(&file, work.read(&file).lines().next().unwrap().replace("\"price\":\"x\"", "\"price\":7"));
    let replayed = work.etl(&["quarantine", "replay", &run_id]).published();
    assert_eq!(replayed["raw"]["records"], 1);
    let summary = rebuild(&work, &[]).unchanged();
    assert_eq!((&summary["rebuilt_from"]["runs"], &summary["records_dropped_count"]), (&2.into(), &1.into()));
    assert_eq!(work.query(PRICES), ["A|7.0000", "G|5.0000"]);
}

#[test]
fn kept_records_go_with_time_and_the_layer_stays() {
    let work = Workspace::new();
    let lines = [order("A", "2026-01-01", "")];
    work.load(&lines, &["--keep-raw"]).published();
    let old = work.write("output/raw/run_id=20200101T000000000000Z-0000010000/orders-00000.ndjson.zst", "x");
    let dropped = work.write("output/quarantine/run_id=20200101T000000000000Z-0000010000/records.ndjson", "x");
    work.write("etl.toml", "raw.keep = \"7000d\"\n");
    work.load(&lines, &[]).unchanged();
    assert!(old.exists());
    work.write("etl.toml", "");
    let layer = work.layer();
    work.load(&lines, &[]).unchanged();
    assert!(!old.exists() && dropped.exists(), "only kept records have a time of their own");
    assert_eq!((work.files("raw").len(), work.layer()), (1, layer));
}

#[test]
fn a_damaged_file_ends_the_rebuild_and_changes_nothing() {
    let work = Workspace::new();
    let summary = work.load(&[priced("A", 1), priced("B", 2)], &["--keep-raw"]).published();
    let file = format!("output/{}", summary["raw"]["file"].as_str().unwrap());
    let whole = std::fs::read(work.path(&file)).unwrap();
    let layer = work.layer();
    let text = String::from_utf8(zstd::decode_all(whole.as_slice()).unwrap()).unwrap();
    let without_last = text.lines().take(2).map(|line| format!("{line}\n")).collect::<String>();
    for damaged in [
        whole[..whole.len() - 7].to_vec(),
        zstd::encode_all(without_last.as_bytes(), 3).unwrap(),
        zstd::encode_all(text.replace("{\"record\":{", "{\"record\":").as_bytes(), 3).unwrap(),
        zstd::encode_all(text.replacen("\"raw\":1", "\"raw\":9", 1).as_bytes(), 3).unwrap(),
    ] {
        work.write(&file, damaged);
        let ended = rebuild(&work, &["--log-format", "text"]);
        ended.expect(3, "extract_failed");
        assert!(ended.stderr.contains("orders-00000.ndjson.zst"), "{}", ended.stderr);
        assert_eq!(work.layer(), layer);
    }
    work.write(&file, whole);
    rebuild(&work, &[]).unchanged();
}

#[test]
fn a_bucket_is_rebuilt_as_a_folder_is() {
    let Some(server) = S3Server::moto() else { return };
    let (lake, work) = (Lake::new(server.bucket()), Workspace::new());
    for toml in [BY_ORDER, BY_COST] {
        lake.work.write("etl.toml", toml);
        work.write("etl.toml", toml);
        if toml == BY_COST {
            let [in_bucket, in_folder] = [lake.etl(&REBUILD), rebuild(&work, &[])].map(|ended| ended.published());
            assert_eq!(in_bucket["rebuilt_from"], in_folder["rebuilt_from"]);
            assert_eq!(in_bucket["rows_updated"], in_folder["rows_updated"]);
        } else {
            for lines in deliveries() {
                lake.load(&lines, &["--keep-raw"]).published();
                work.load(&lines, &["--keep-raw"]).published();
            }
            assert_eq!(lake.files("raw").len(), 3);
        }
        assert_same(&lake.layer(), &work.layer(), toml);
    }
    lake.etl(&REBUILD).unchanged();
    // In a bucket only the vacuum lets them go.
    lake.work.write("etl.toml", "raw.keep = \"1ms\"\n");
    lake.load(&[version("E", 4, 1, &["x"])], &[]);
    assert_eq!(lake.files("raw").len(), 3);
    assert_eq!(lake.etl(&["vacuum"]).code, 0);
    assert!(lake.files("raw").is_empty());
}
