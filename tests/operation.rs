//! What stands beside the layer when nobody looks: logs, metrics, the history, the quarantine, and what becomes of old runs.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Server, Workspace, json, order, status, tool};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// A source that fails once, then delivers two orders, one of them without an order_id.
fn source() -> Server {
    Server::start(|asked| match (asked.before, asked.parameter("page")) {
        (0, _) => status(503),
        (_, "1") => json(format!("[{},{}]", order("A", "2026-01-01T00:00:00Z", ""), r#"{"created_at":"2026-01-01"}"#)),
        _ => json("[]"),
    })
}

#[test]
fn a_line_of_the_log_says_which_run_and_stage_it_is_of() {
    let (work, source) = (Workspace::new(), source());
    work.write("etl.toml", "[http]\nbackoff_first = \"1ms\"\n");
    let ended = work.etl(&["run", "--orders", &source.orders(), "--log-format", "json"]);
    let run_id = ended.published()["run_id"].clone();
    let log = lines(&ended.stderr);
    for line in &log {
        assert_eq!(line["run_id"], run_id, "{line}");
        assert!(["timestamp", "level", "message"].iter().all(|name| line[name].is_string()), "{line}");
        assert!(line.as_object().unwrap().values().all(|value| !value.is_object() && !value.is_array()), "flat: {line}");
    }
    let retry = log.iter().find(|line| line["message"].as_str().unwrap().contains("tried again")).unwrap();
    assert_eq!((&retry["stage"], &retry["page"], &retry["level"]), (&"extract".into(), &1.into(), &"WARN".into()), "{retry}");
    assert!(log.len() < 10, "nothing per record: {}", ended.stderr);
    let much = work.etl(&["run", "--orders", &source.orders(), "--log-format", "json", "-vv"]);
    assert!(lines(&much.stderr).iter().any(|line| line["dt"] == "2026-01-01" && line["stage"] == "merge"), "{}", much.stderr);
}

#[test]
fn the_log_speaks_ecs_where_it_is_asked_to() {
    let (work, source) = (Workspace::new(), source());
    work.write("etl.toml", "[http]\nbackoff_first = \"1ms\"\n");
    let ended = work.etl(&["run", "--orders", &source.orders(), "--log-format", "ecs"]);
    let run_id = ended.published()["run_id"].clone();
    for line in lines(&ended.stderr) {
        assert_eq!((&line["labels"]["run_id"], &line["ecs.version"]), (&run_id, &"8.11.0".into()), "{line}");
        assert!(line["@timestamp"].is_string() && line["log.level"].is_string() && line["message"].is_string(), "{line}");
    }
    assert_eq!(work.command(&["demo"]).env("ETL_LOG_FORMAT", "xml").output().unwrap().status.code(), Some(2));
}

#[test]
fn under_cron_a_success_says_nothing_and_a_failure_says_why() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01T00:00:00Z", ""));
    let run = |orders| work.etl(&["run", "--orders", orders, "--since", "last", "--quiet"]);
    for _ in 0..2 {
        let ended = run("orders.ndjson");
        assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (0, "", ""));
    }
    let ended = run("missing.ndjson");
    assert!(ended.code == 3 && ended.stderr.contains("missing.ndjson"), "{}", ended.stderr);
}

#[test]
fn metrics_are_written_whole_for_every_run_and_read_by_prometheus_own_parser() {
    let work = Workspace::new();
    let args = ["--metrics-file", "etl.prom"];
    let good = [order("A", "2026-01-01T00:00:00Z", ""), "{}".to_owned()];
    let summary = work.load(&good, &args).published();
    let first = work.read("etl.prom");
    for line in [
        "etl_records_processed 1",
        "etl_records_dropped 1",
        "etl_dropped{reason=\"missing_order_id\"} 1",
        "etl_rows_inserted 1",
        "etl_revenue{currency=\"EUR\"} 1.5000",
        "etl_run_status{status=\"published\"} 1",
    ] {
        assert!(first.lines().any(|found| found == line), "{line} in {first}");
    }
    assert!(summary["peak_memory_bytes"].as_u64().unwrap() > 1 << 20);
    work.etl(&[&["run", "--orders", "missing.ndjson"], &args[..]].concat()).expect(3, "extract_failed");
    let second = work.read("etl.prom");
    let of = |text: &str, name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok()).unwrap();
    assert!(second.contains("etl_run_status{status=\"extract_failed\"} 1"));
    let success = "etl_last_success_timestamp_seconds ";
    assert!((of(&first, success) - of(&second, success)).abs() < 1.0, "the last success is still the first run");
    assert!(of(&second, "etl_last_run_timestamp_seconds ") > of(&second, success));
    assert_eq!(
        work.path(".").read_dir().unwrap().filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains(".tmp")).count(),
        0
    );

    let Some(python) = tool("ETL_TEST_PYTHON", "reading the metrics by prometheus_client") else { return };
    let program = "import sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as om\n\
        from prometheus_client.parser import text_string_to_metric_families as prom\n\
        text = open(sys.argv[1]).read()\n\
        print(sum(len(f.samples) for f in om(text)), sum(len(f.samples) for f in prom(text)))";
    let read = Command::new(python).args(["-c", program]).arg(work.path("etl.prom")).stderr(Stdio::inherit()).output().unwrap();
    let samples = second.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(String::from_utf8(read.stdout).unwrap().trim(), format!("{samples} {samples}"));
}

/// Before the first success, and whatever the first run was: a rule that compares finds its series.
#[test]
fn the_series_of_the_documented_rules_are_there_from_the_first_run_on() {
    let work = Workspace::new();
    let page = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap();
    let rules: Vec<_> = page.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    assert!(rules.len() >= 4 && rules.iter().any(|rule| rule.contains("etl_last_success_timestamp_seconds")), "{rules:?}");
    work.etl(&["run", "--orders", "missing.ndjson", "--metrics-file", "etl.prom"]).expect(3, "extract_failed");
    let text = work.read("etl.prom");
    assert!(text.lines().any(|line| line == "etl_last_success_timestamp_seconds 0"), "{text}");
    for rule in rules {
        for selector in rule.split(|c: char| c.is_whitespace() || c == '(' || c == ')').filter(|word| word.starts_with("etl_")) {
            let (name, label) = selector.split_once('{').unwrap_or((selector, ""));
            let label = label.trim_end_matches('}').split(['=', '~', '!']).next().unwrap();
            let found =
                text.lines().any(|line| line.starts_with(name) && line[name.len()..].starts_with([' ', '{']) && line.contains(label));
            assert!(found, "{selector} of `{rule}` in {text}");
        }
    }
}

#[test]
fn the_metrics_file_keeps_its_mode_and_a_folder_that_is_missing_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let work = Workspace::new();
    let load = |file: &str| work.load(&[order("A", "2026-01-01T00:00:00Z", "")], &["--metrics-file", file]);
    work.write("etl.prom", "old");
    std::fs::set_permissions(work.path("etl.prom"), std::fs::Permissions::from_mode(0o640)).unwrap();
    load("etl.prom").published();
    assert_eq!(work.path("etl.prom").metadata().unwrap().permissions().mode() & 0o777, 0o640);
    assert!(work.read("etl.prom").ends_with("# EOF\n"));
    let ended = load("no/such/folder/etl.prom");
    ended.unchanged();
    assert!(ended.stderr.contains("no/such/folder/etl.prom"), "{}", ended.stderr);
}

#[test]
fn metrics_never_lie_in_the_layer() {
    let work = Workspace::new();
    let lines = [order("A", "2026-01-01T00:00:00Z", "")];
    for args in [["--metrics-file", "output/etl.prom"], ["--metrics-file", "output/curated/x"], ["--metrics-emf", "./output/reports/x"]] {
        let ended = work.load(&lines, &[&args[..], &["--log-format", "text"]].concat());
        assert_eq!(ended.code, 2, "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(args[0]) && ended.stderr.contains("part of the layer"), "{args:?}: {}", ended.stderr);
        assert!(!work.path(args[1]).exists(), "{args:?}");
        let problems = work.etl(&["config", "check", "--orders", "orders.ndjson", args[0], args[1], "--json"]).summary();
        assert!(problems["problems"][0]["message"].as_str().unwrap().contains("part of the layer"), "{problems}");
    }
    work.load(&lines, &["--metrics-file", "etl.prom"]).published();
}

/// Reports of older and of newer versions.
#[test]
fn reports_of_other_versions_are_listed() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-01T00:00:00Z", "")], &[]).published();
    let [old, new] = ["20200101T000000000000Z-0000010000", "20990101T000000000000Z-0000010000"];
    let times = r#""started_at":"2020-01-01T00:00:00Z","finished_at":"2020-01-01T00:00:01Z""#;
    work.write(&format!("output/reports/{old}.json"), format!(r#"{{"run_id":"{old}","status":"published",{times}}}"#));
    work.write(
        &format!("output/reports/{new}.json"),
        format!(r#"{{"run_id":"{new}","command":"undo","status":"paused",{times},"alerts":[{{"kind":"of_the_future","message":"m"}}],"more":[1]}}"#),
    );
    let runs = work.etl(&["runs", "--json"]).summary();
    let ids: Vec<_> = runs["runs"].as_array().unwrap().iter().map(|run| run["run_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!((ids.len(), ids[0].as_str(), ids[2].as_str()), (3, new, old), "{runs}");
    for run_id in [old, new] {
        let shown = work.etl(&["runs", "show", run_id, "--format", "text"]);
        assert!(shown.code == 0 && shown.stdout.contains(run_id), "{}", shown.stderr);
    }
    assert_eq!(work.etl(&["status"]).code, 0);
    assert_eq!(work.load(&[order("B", "2026-01-02T00:00:00Z", "")], &[]).code, 0);
}

#[test]
fn embedded_metrics_go_to_a_file_or_to_stdout_before_the_summary() {
    let work = Workspace::new();
    let orders = [order("A", "2026-01-01T00:00:00Z", "")];
    work.load(&orders, &["--metrics-emf", "emf.log"]).published();
    work.load(&orders, &["--metrics-emf", "emf.log"]).unchanged();
    let of_file = lines(&work.read("emf.log"));
    let runs: std::collections::BTreeSet<_> = of_file.iter().map(|line| line["run_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(runs.len(), 2, "lines are added");
    let ended = work.load(&orders, &["--metrics-emf", "-"]);
    ended.unchanged();
    let of_stdout = lines(&ended.stdout);
    let (summary, metrics) = of_stdout.split_last().unwrap();
    assert_eq!(summary["status"], "unchanged");
    assert!(metrics.len() >= 3);
    for line in metrics {
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], "etl");
        for metric in directive["Metrics"].as_array().unwrap() {
            assert!(line[metric["Name"].as_str().unwrap()].is_number(), "{line}");
        }
    }
    assert_eq!(metrics[0]["records_processed_count"], 1);
    assert_eq!(work.load(&orders, &["--metrics-emf", "no/such/folder/emf.log"]).code, 0, "a metric that can't be written is a warning");
}

#[test]
fn the_history_holds_every_run_and_shows_each() {
    let work = Workspace::new();
    let summary =
        work.load(&[order("A", "2026-01-01T00:00:00Z", ""), order("B", "2026-01-03T00:00:00Z", ""), "{}".into()], &[]).published();
    let failed = work.etl(&["run", "--orders", "missing.ndjson"]).expect(3, "extract_failed");
    let runs = work.etl(&["runs", "--json"]).summary();
    let ids: Vec<_> = runs["runs"].as_array().unwrap().iter().map(|run| &run["run_id"]).collect();
    assert_eq!(ids, [&failed["run_id"], &summary["run_id"]]);
    let table = work.etl(&["runs", "--format", "text"]).stdout;
    assert!(table.contains("extract_failed") && !table.contains('█'), "{table}");
    let run_id = summary["run_id"].as_str().unwrap();
    assert_eq!(work.etl(&["runs", "show", run_id, "--json"]).summary()["run_id"], run_id);
    let shown = work.etl(&["runs", "show", run_id, "--format", "text"]).stdout;
    for part in ["2 inserted", "2 days: dt=2026-01-01, dt=2026-01-03", "1 record\n", "missing_order_id", "merge ", "passed\n", "all that"] {
        assert!(shown.to_lowercase().contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains('{') && !shown.contains("rows_inserted"), "a page, and no dump of keys: {shown}");
    assert_eq!(work.etl(&["runs", "show", "nope"]).code, 2);

    let status = work.etl(&["status", "--json"]).summary();
    assert_eq!((&status["healthy"], &status["complete"]), (&false.into(), &false.into()));
    assert_eq!((&status["partitions"], &status["rows"]), (&2.into(), &2.into()));
    assert_eq!(status["days_without_rows"], serde_json::json!(["2026-01-02"]));
    assert_eq!(status["dropped"]["missing_order_id"], 1);
    assert_eq!(status["last_success"]["run_id"], run_id);
    assert_eq!(status["last_run"]["status"], "extract_failed");
    let screen = work.etl(&["status", "--format", "text"]).stdout;
    let first = screen.lines().next().unwrap();
    let why = format!(
        "not healthy: the last run ended as extract_failed (run {0}); next: `etl runs show {0}` tells why",
        failed["run_id"].as_str().unwrap()
    );
    assert_eq!(first, why);
    assert_eq!(status["reasons"][0]["next"], format!("`etl runs show {}` tells why", failed["run_id"].as_str().unwrap()));
    assert!(screen.contains("no rows on") && screen.contains("source_failed"), "{screen}");
    assert!(Workspace::new().etl(&["status", "--format", "text"]).stdout.contains("nothing has been loaded"));
}

#[test]
fn a_run_that_finds_the_output_held_stands_in_the_history() {
    let work = Workspace::new();
    let source = Server::start(|_| {
        std::thread::sleep(std::time::Duration::from_secs(3));
        json("[]")
    });
    let mut holder = work.start(&["run", "--orders", &source.orders()]);
    while source.asked().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    work.load(&[order("A", "2026-01-01T00:00:00Z", "")], &[]).expect(6, "locked");
    assert_eq!(work.etl(&["runs", "--json"]).summary()["runs"][0]["status"], "locked");
    assert!(holder.wait().unwrap().success());
}

#[test]
fn the_beginning_of_several_runs_names_them() {
    let work = Workspace::new();
    let ids = ["A", "B"].map(|id| work.load(&[order(id, "2026-01-01", "")], &[]).published()["run_id"].as_str().unwrap().to_owned());
    let ended = work.etl(&["runs", "show", &ids[0][..6]]);
    assert_eq!(ended.code, 2, "{}", ended.stdout);
    assert!(ids.iter().all(|id| ended.stderr.contains(id.as_str())), "{}", ended.stderr);
}

#[test]
fn each_run_with_drops_has_a_command_that_replays_it() {
    let work = Workspace::new();
    let ids = ["A", "B"].map(|id| {
        let lines = [order(id, "2026-01-01", ""), order(&format!("{id}-soon"), "soon", "")];
        work.load(&lines, &[]).published()["run_id"].as_str().unwrap().to_owned()
    });
    let text = work.etl(&["quarantine"]).stdout;
    let lines: Vec<_> = text.lines().rev().take(2).collect();
    assert!(lines[1].ends_with(&format!("then: etl quarantine replay {}", ids[1])), "the latest first: {text}");
    assert!(lines[0].ends_with(&format!("and: etl quarantine replay {}", ids[0])), "{text}");
}

#[test]
fn quarantine_shows_records_as_they_came_whatever_their_texts_and_numbers() {
    let work = Workspace::new();
    // Half of a surrogate pair, a number beyond every float, a number of many digits, and a key that stands twice.
    let records = [
        r#"{"order_id":"5\ud800","created_at":"2026-01-31","items":[{"sku":"A"}]}"#,
        r#"{"order_id":"6","created_at":"x","z":1e400,"items":[{"sku":"A"}]}"#,
        r#"{"order_id":12345678901234567890123,"created_at":"x","p":0.10000000000000000001,"p":2,"a":1,"items":[{"sku":"A"}]}"#,
    ];
    let lines: Vec<_> = records.map(str::to_owned).into_iter().chain([order("A", "2026-01-01", "")]).collect();
    let run_id = work.load(&lines, &[]).published()["run_id"].as_str().unwrap().to_owned();
    for args in [&["quarantine", "--json"][..], &["quarantine", "--run", &run_id, "--json"]] {
        let ended = work.etl(args);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        for record in records {
            assert!(ended.stdout.contains(&format!("\"record\":{record}")), "{record}: {}", ended.stdout);
        }
    }
    let text = work.etl(&["quarantine"]);
    assert!(text.code == 0 && text.stdout.contains("\"z\":1e400"), "{}{}", text.stdout, text.stderr);
}

#[test]
fn quarantine_is_listed_mended_and_replayed() {
    let work = Workspace::new();
    let two_bad_lines = r#"{"order_id":"B","created_at":"2026-01-02T00:00:00Z","currency":"EUR","items":[{"sku":"S","quantity":1,"price":"1.10"},{"sku":"T","price":"x"},{"sku":"U","price":"y"}]}"#;
    let bad = ["{\"order_id\":\"A\"".to_owned(), two_bad_lines.to_owned(), r#"{"order_id":"C","created_at":"soon","items":[]}"#.to_owned()];
    let run_id = work.load(&bad, &[]).published()["run_id"].as_str().unwrap().to_owned();
    let listed = work.etl(&["quarantine", "--json"]).summary();
    let of_run = &listed["runs"][0];
    assert_eq!((&of_run["run_id"], &of_run["dropped"]), (&run_id.as_str().into(), &4.into()));
    assert_eq!(of_run["reasons"], serde_json::json!({"invalid_created_at": 1, "invalid_json": 1, "invalid_price": 2}));
    assert_eq!(of_run["drops"], serde_json::json!({"records": 2, "lines": 2}));
    let text = work.etl(&["quarantine", "--output", "output", "--samples", "1"]).stdout;
    assert!(text.contains(&format!("run {run_id}: 2 records, 2 lines dropped\n")) && text.contains(" 2 lines "), "{text}");
    assert!(text.ends_with(&format!("then: etl quarantine replay {run_id} --output output\n")), "{text}");
    let shown = work.etl(&["runs", "show", &run_id]).stdout;
    assert!(shown.contains("dropped     2 records, 2 lines\n"), "{shown}");
    let columns = work.etl(&["runs"]).stdout;
    assert!(columns.contains("dropped records  dropped lines"), "{columns}");
    assert_eq!(work.etl(&["quarantine", "replay", "nope"]).code, 2);

    let file = format!("output/quarantine/run_id={run_id}/records.ndjson");
    let mended =
        work.read(&file).replace("\"price\":\"x\"", "\"price\":\"2.20\"").replace("\"price\":\"y\"", "\"price\":\"3.30\"").replace(
            r#""{\"order_id\":\"A\"""#,
            r#"{"order_id":"A","created_at":"2026-01-01","currency":"EUR","items":[{"sku":"S","price":0.1000}]}"#,
        );
    work.write(&file, mended);
    let replayed = work.etl(&["quarantine", "replay", &run_id]).published();
    assert_eq!((&replayed["command"], &replayed["replay_of"]), (&"replay".into(), &run_id.as_str().into()));
    assert_eq!((&replayed["records_read"], &replayed["records_dropped_count"]), (&3.into(), &1.into()), "a record counts once");
    assert_eq!(
        work.query("SELECT order_id, sku, line_total FROM fact_order ORDER BY ALL"),
        ["A|S|0.1000", "B|S|1.1000", "B|T|2.2000", "B|U|3.3000"]
    );
    // What was replayed no longer waits; what the replay dropped again does.
    let replay = replayed["run_id"].as_str().unwrap();
    let listed = work.etl(&["quarantine", "--json"]).summary();
    let waits = |of_run: &Value| (of_run["run_id"].as_str().unwrap().to_owned(), of_run["replayed_by"].clone());
    let runs: Vec<_> = listed["runs"].as_array().unwrap().iter().map(waits).collect();
    assert_eq!(runs, [(replay.to_owned(), serde_json::json!([])), (run_id.clone(), serde_json::json!([replay]))]);
    let text = work.etl(&["quarantine"]).stdout;
    assert!(text.contains(&format!("run {replay}: 1 record dropped\n")) && !text.contains("invalid_price"), "{text}");
    assert!(text.contains(&format!("run {run_id}: 2 records, 2 lines, replayed by {replay}\n")), "{text}");
    let status = work.etl(&["status", "--json"]).summary();
    assert_eq!(status["dropped"], serde_json::json!({"invalid_created_at": 1}));
    assert_eq!((&status["drops"]["records"], &status["drops_replayed"]), (&1.into(), &serde_json::json!({"records": 2, "lines": 2})));
    let screen = work.etl(&["status"]).stdout;
    assert!(
        screen.contains("1 record in the last 2 runs: 1 invalid_created_at; 2 records, 2 lines of these runs were replayed"),
        "{screen}"
    );
    let second = work.etl(&["quarantine", "replay", &run_id, "--format", "text"]);
    assert!(
        second.stdout.contains(&format!("3 records from output/quarantine/run_id={run_id}/records.ndjson (1 file, ")),
        "{}",
        second.stdout
    );
    assert!(second.stdout.starts_with("unchanged"), "{}", second.stdout);
    assert!(second.stderr.contains(&format!("the run was replayed before, the last time by run {replay}")), "{}", second.stderr);
    let mistyped = work.etl(&["quarantine", "--run", "20260101T000000000000Z-0000000000"]);
    assert!(mistyped.code == 2 && mistyped.stderr.contains("has no quarantine"), "{}{}", mistyped.stdout, mistyped.stderr);
    assert!(work.etl(&["quarantine", "--run", &run_id, "--json"]).summary()["runs"][0]["replayed_by"].as_array().unwrap().len() == 2);
    let since = work.load(&bad[1..2], &["--since", "last"]).summary();
    assert!(since["since"].as_str().unwrap() > "2026-01-03", "a replay moves no watermark back: {since}");
    work.write(&file, "{\"reason\":\"x\"}\n");
    let wrong = work.etl(&["quarantine", "replay", &run_id]);
    assert!(wrong.code == 2 && wrong.stderr.contains("records.ndjson, line 1"), "{}", wrong.stderr);
}

#[test]
fn files_of_users_are_no_files_of_orders() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", r#","user_id":"U1""#) + "\n{}\n");
    work.write("users.csv", "user_id,name\nU1,Ann\n");
    let args = ["run", "--orders", "orders.ndjson", "--users", "users.csv"];
    let text = work.etl(&[&args[..], &["--format", "text"]].concat()).stdout;
    assert!(text.contains("2 records from orders.ndjson (1 file, ") && text.contains("dropped     1 record, kept in "), "{text}");
    let next = text.lines().last().unwrap();
    assert!(next.starts_with("See what was dropped, and how to load it: etl quarantine --run "), "{text}");
    let dry = work.etl(&[&args[..], &["--dry-run", "--format", "text"]].concat()).stdout;
    assert!(dry.contains("1 record, not kept, since nothing was published\n") && !dry.contains("etl quarantine"), "{dry}");
    let source = &work.etl(&args).unchanged()["source"];
    assert_eq!((&source["pages"], &source["orders"]["pages"]), (&2.into(), &1.into()), "{source}");
    assert!(source["orders"]["bytes"].as_u64() < source["bytes"].as_u64(), "{source}");
}

#[test]
fn a_warning_is_no_failure() {
    let work = Workspace::new();
    let refund = r#"{"order_id":"N","created_at":"2026-01-01T00:00:00Z","currency":"EUR","items":[{"sku":"S","quantity":-1,"price":"1"}]}"#;
    work.load(&[refund.to_owned()], &[]).published();
    let screen = work.etl(&["status"]).stdout;
    assert!(screen.starts_with("healthy") && screen.contains("  warnings    fact_quantity_positive: 1 violation (run "), "{screen}");
    assert!(screen.contains("  failing     no check of severity error\n"), "{screen}");
    work.write("checks/strict.sql", "SELECT order_id FROM fact_order");
    work.load(&[refund.to_owned(), order("B", "2026-01-01", "")], &["--on-check-failure", "publish"]).expect(4, "checks_failed");
    let screen = work.etl(&["status"]).stdout;
    assert!(screen.contains("  failing     strict: ") && screen.contains("  warnings    fact_quantity_positive: "), "{screen}");
}

#[test]
fn what_to_do_next_names_the_output_that_was_given() {
    let work = Workspace::new();
    work.etl(&["run", "--orders", "missing.ndjson", "--output", "my layer"]).expect(3, "extract_failed");
    let status = work.etl(&["status", "--output", "my layer", "--json"]).summary();
    let next = status["reasons"][0]["next"].as_str().unwrap();
    let run_id = status["last_run"]["run_id"].as_str().unwrap();
    assert_eq!(next, format!("`etl runs show {run_id} --output 'my layer'` tells why"));
    let shown = work.etl(&["runs", "show", run_id, "--output", "my layer"]).stdout;
    assert!(shown.ends_with(&format!("etl runs show {run_id} --json --output 'my layer'\n")), "{shown}");
}

#[test]
fn a_replay_alone_covers_no_window() {
    let work = Workspace::new();
    let run_id = work.load(&["{}".to_owned()], &["--dry-run"]).summary()["run_id"].as_str().unwrap().to_owned();
    let record = order("A", "2026-01-01T00:00:00Z", "");
    work.write(&format!("output/quarantine/run_id={run_id}/records.ndjson"), format!("{{\"reason\":\"x\",\"record\":{record}}}\n"));
    work.etl(&["quarantine", "replay", &run_id]).published();
    let first = work.load(&[record], &["--since", "last"]).unchanged();
    assert_eq!(first["since"], Value::Null, "nothing was covered yet: everything is loaded");
}

#[test]
fn what_is_past_its_retention_goes_and_the_layer_stays() {
    let work = Workspace::new();
    let load = |args: &[&str]| work.load(&[order("A", "2026-01-01T00:00:00Z", ""), "{}".into()], args);
    load(&[]).published();
    let old = |name: &str| work.path(&format!("output/{name}"));
    std::fs::create_dir_all(old("quarantine/run_id=20200101T000000000000Z-0000010000")).unwrap();
    std::fs::write(old("reports/20200101T000000000000Z-0000010000.json"), "{}").unwrap();
    std::fs::write(old("manifests/20200101T000000000000Z-0000010000.manifest"), "{}").unwrap();
    let layer = work.layer();
    load(&["--retention", "400d"]).unchanged();
    assert!(!old("quarantine/run_id=20200101T000000000000Z-0000010000").exists());
    assert_eq!((work.files("reports").len(), work.files("manifests").len(), work.files("quarantine").len()), (2, 2, 2));
    assert_eq!(work.layer(), layer);
    assert_eq!(load(&["--retention", "soon"]).code, 2);
}
