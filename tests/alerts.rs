//! Who is told of what: each alert reaches a real receiver, stays silent on its near miss, and never changes how a run ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{Reply, Server, Workspace, json, order, status};

/// A receiver that takes all that comes.
fn receiver() -> Server {
    Server::start(|_| status(202))
}

/// What a receiver was told: state, kind and subject of a generic webhook.
fn told(receiver: &Server) -> Vec<String> {
    let bodies = receiver.asked().into_iter().map(|asked| serde_json::from_str::<Value>(&asked.body).unwrap());
    bodies.map(|body| format!("{} {}", body["state"].as_str().unwrap(), body["kind"].as_str().unwrap())).collect()
}

fn kinds(summary: &Value, field: &str) -> Vec<String> {
    summary[field].as_array().unwrap().iter().map(|alert| alert["kind"].as_str().unwrap().to_owned()).collect()
}

/// A folder whose alerts go to a generic webhook.
fn workspace(receiver: &Server, toml: &str) -> Workspace {
    let work = Workspace::new();
    work.write(".env", format!("ETL_ALERT_WEBHOOK_URL={}/hook\nETL_ALERT_WEBHOOK_TOKEN=hush\n", receiver.url));
    work.write("etl.toml", toml);
    work
}

#[test]
fn a_source_that_fails_is_told_of_once_to_everybody_and_so_is_its_recovery() {
    let everybody = receiver();
    let works = Arc::new(AtomicBool::new(false));
    let answers = works.clone();
    let source = Server::start(move |asked| match (answers.load(Ordering::SeqCst), asked.parameter("page")) {
        (false, _) => status(503),
        (true, "1" | "") => json(format!("[{}]", order("A", "2026-01-01T00:00:00Z", ""))),
        (true, _) => json("[]"),
    });
    let work = Workspace::new();
    let url = &everybody.url;
    work.write(
        ".env",
        format!("ETL_ALERT_WEBHOOK_URL={url}/hook\nETL_ALERT_WEBHOOK_TOKEN=hush\nETL_ALERT_SLACK_URL={url}/slack\nETL_ALERT_TEAMS_URL={url}/teams\nETL_ALERT_PAGERDUTY_KEY=routing\n"),
    );
    work.write("etl.toml", format!("[http]\nbackoff_first = \"1ms\"\n[alerts]\npagerduty_url = \"{url}/pagerduty\"\n"));
    let orders = source.orders();
    let run = || work.etl(&["run", "--orders", &orders]);
    assert_eq!(kinds(&run().expect(3, "extract_failed"), "alerts"), ["source_failed"]);
    let mut asked = everybody.asked();
    asked.sort_by(|a, b| a.path.cmp(&b.path));
    let paths: Vec<_> = asked.iter().map(|asked| asked.path.as_str()).collect();
    assert_eq!(paths, ["/hook", "/pagerduty", "/slack", "/teams"]);
    let bodies: Vec<Value> = asked.iter().map(|asked| serde_json::from_str(&asked.body).unwrap()).collect();
    assert_eq!((asked[0].header("authorization"), &bodies[0]["kind"]), (Some("Bearer hush"), &"source_failed".into()));
    assert!(bodies[0]["message"].as_str().unwrap().contains("503"), "{}", bodies[0]);
    assert_eq!((&bodies[1]["event_action"], &bodies[1]["routing_key"]), (&"trigger".into(), &"routing".into()));
    assert!(bodies[2]["text"].as_str().unwrap().contains("source failed"));
    assert_eq!(bodies[3]["attachments"][0]["content"]["type"], "AdaptiveCard");
    run().expect(3, "extract_failed");
    assert_eq!(everybody.asked().len(), 4, "a lasting failure is told of once");
    let state = work.etl(&["status", "--json"]).summary();
    assert_eq!((&state["healthy"], &state["open_alerts"][0]["kind"]), (&false.into(), &"source_failed".into()));

    works.store(true, Ordering::SeqCst);
    assert_eq!(kinds(&run().published(), "alerts_recovered"), ["source_failed"]);
    let over: Vec<_> = everybody.asked().into_iter().skip(4).collect();
    assert_eq!(over.len(), 4);
    let resolved: Value = serde_json::from_str(&over.iter().find(|asked| asked.path == "/pagerduty").unwrap().body).unwrap();
    assert_eq!((&resolved["event_action"], &resolved["dedup_key"]), (&"resolve".into(), &bodies[1]["dedup_key"]));
    assert_eq!(kinds(&run().unchanged(), "alerts_recovered"), Vec::<String>::new());
    assert_eq!(everybody.asked().len(), 8);
    assert_eq!(work.etl(&["status", "--json"]).summary()["healthy"], true);
    for secret in ["hush", "routing", "/slack"] {
        assert!(work.files("reports").values().all(|report| !String::from_utf8_lossy(report).contains(secret)), "{secret}");
    }
}

#[test]
fn a_receiver_that_fails_or_hangs_changes_no_exit_code_and_is_told_later() {
    let receiver = Server::start(|asked| match asked.before {
        0..3 => status(503),
        3..6 => {
            std::thread::sleep(Duration::from_secs(2));
            status(200)
        }
        _ => status(200),
    });
    let work = workspace(&receiver, "[http]\nbackoff_first = \"1ms\"\n[alerts]\ntimeout = \"200ms\"\n");
    let run = || work.etl(&["run", "--orders", "missing.ndjson"]);
    let ended = run();
    ended.expect(3, "extract_failed");
    assert_eq!(receiver.asked().len(), 3, "tried three times");
    assert!(ended.stderr.contains("could not be delivered") && !ended.stderr.contains(&receiver.url), "{}", ended.stderr);
    let began = Instant::now();
    run().expect(3, "extract_failed");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(receiver.asked().len(), 6);
    run().expect(3, "extract_failed");
    assert_eq!(receiver.asked().len(), 7);
    run().expect(3, "extract_failed");
    assert_eq!(receiver.asked().len(), 7, "it has got it now");
}

#[test]
fn a_failed_delivery_names_its_cause_in_the_log_the_summary_and_the_test_command() {
    let receiver = Server::start(|_| (403, Vec::new(), b"invalid_token hush-hush-hush\n".to_vec()));
    let work = Workspace::new();
    work.write(
        ".env",
        format!(
            "ETL_ALERT_WEBHOOK_URL={}/hook\nETL_ALERT_WEBHOOK_TOKEN=hush-hush-hush\nETL_ALERT_SLACK_URL=http://127.0.0.1:9/x\n",
            receiver.url
        ),
    );
    let ended = work.etl(&["run", "--orders", "missing.ndjson"]);
    let summary = ended.expect(3, "extract_failed");
    let failed = summary["deliveries_failed"].as_array().unwrap();
    assert_eq!((&failed[0]["receiver"], &failed[0]["kind"]), (&"webhook".into(), &"source_failed".into()));
    assert_eq!(failed[0]["error"], "the receiver answered 403 Forbidden: invalid_token ***");
    let unreachable = failed[1]["error"].as_str().unwrap();
    assert!(failed[1]["receiver"] == "slack" && unreachable.to_lowercase().contains("connection refused"), "{unreachable}");
    let report = format!("reports/{}.json", summary["run_id"].as_str().unwrap());
    let stored: Value = serde_json::from_slice(&work.files("reports")[&report]).unwrap();
    assert_eq!(stored["deliveries_failed"], summary["deliveries_failed"]);
    let tested = work.etl(&["alerts", "test", "--format", "json"]);
    assert_eq!((tested.code, &tested.summary()["deliveries"][0]["error"]), (2, &failed[0]["error"]));
    for text in [&ended.stderr, &tested.stdout] {
        assert!(text.contains("403 Forbidden: invalid_token ***") && !text.contains("hush-hush-hush"), "{text}");
    }
    work.write(".env", "");
    work.etl(&["run", "--orders", "missing.ndjson"]).expect(3, "extract_failed");
    let shown = work.etl(&["runs", "show", summary["run_id"].as_str().unwrap(), "--json"]).summary();
    assert_eq!(shown["deliveries_failed"], summary["deliveries_failed"]);
}

/// The `dedup_key` of each event that PagerDuty got.
fn dedup_keys(pagerduty: &Server) -> Vec<String> {
    let bodies = pagerduty.asked().into_iter().map(|asked| serde_json::from_str::<Value>(&asked.body).unwrap());
    bodies.map(|body| body["dedup_key"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_incident_is_known_by_the_pipeline_and_not_by_its_host() {
    let pagerduty = receiver();
    let work = Workspace::new();
    work.write(".env", "ETL_ALERT_PAGERDUTY_KEY=routing\n");
    let alerts = format!("[alerts]\npagerduty_url = \"{}\"\n", pagerduty.url);
    work.write("etl.toml", &alerts);
    work.etl(&["run", "--orders", "missing.ndjson"]).expect(3, "extract_failed");
    let by_output = format!("etl/{}/source_failed/", work.path("output").canonicalize().unwrap().display());
    assert_eq!(dedup_keys(&pagerduty), [by_output.as_str()]);
    // Renamed meanwhile: the incident is closed by the key that opened it.
    work.write("etl.toml", format!("{alerts}name = \"orders\"\n"));
    work.load(&[order("A", "2026-01-01T00:00:00Z", "")], &[]).published();
    assert_eq!(dedup_keys(&pagerduty)[1], by_output);
    work.etl(&["run", "--orders", "missing.ndjson"]).expect(3, "extract_failed");
    assert_eq!(dedup_keys(&pagerduty)[2], "etl/orders/source_failed/");
}

#[test]
fn a_run_that_hangs_and_holds_the_output_is_found_by_others_and_told_of_once() {
    let receiver = receiver();
    let (goes_on, answers) = {
        let goes_on = Arc::new(AtomicBool::new(false));
        (goes_on.clone(), goes_on)
    };
    let source = Server::start(move |_| {
        while !answers.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(10));
        }
        json("[]")
    });
    let work = workspace(&receiver, "[alerts]\nstuck_after = \"1s\"\n");
    let mut hanging = work.start(&["run", "--orders", &source.orders()]);
    while source.asked().is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let load = || work.load(&[order("A", "2026-01-01T00:00:00Z", "")], &[]);
    assert_eq!(kinds(&load().expect(6, "locked"), "alerts"), Vec::<String>::new(), "it may hold the output for a second");
    let status = work.etl(&["status", "--json"]).summary();
    let held = &status["held_by"];
    assert_eq!((&held["pid"], &held["stuck"]), (&hanging.id().into(), &false.into()), "{status}");
    assert!(held["run_id"].is_string() && held["host"].is_string() && held["since"].is_string() && held["seconds"].is_u64(), "{status}");
    std::thread::sleep(Duration::from_millis(1100));
    let found = load();
    let summary = found.expect(6, "locked");
    assert_eq!(kinds(&summary, "alerts"), ["stuck"]);
    assert!(summary["alerts"][0]["message"].as_str().unwrap().contains(held["run_id"].as_str().unwrap()), "{summary}");
    assert_eq!(kinds(&load().expect(6, "locked"), "alerts"), ["stuck"]);
    let status = work.etl(&["status", "--json"]).summary();
    assert_eq!((&status["healthy"], &status["held_by"]["stuck"]), (&false.into(), &true.into()), "{status}");
    assert_eq!(status["open_alerts"][0]["kind"], "stuck");
    assert!(work.etl(&["status", "--format", "text"]).stdout.contains("held by"));
    assert_eq!(told(&receiver), ["firing stuck"], "four finders, one notice");
    goes_on.store(true, Ordering::SeqCst);
    assert!(hanging.wait().unwrap().success());
    load().published();
    assert_eq!(told(&receiver), ["firing stuck", "recovered stuck"]);
    let status = work.etl(&["status", "--json"]).summary();
    assert_eq!((&status["healthy"], &status["held_by"], &status["open_alerts"]), (&true.into(), &Value::Null, &serde_json::json!([])));
}

#[test]
fn status_alone_finds_a_stuck_run() {
    let receiver = receiver();
    let source = Server::start(|_| {
        std::thread::sleep(Duration::from_secs(2));
        json("[]")
    });
    let work = workspace(&receiver, "[alerts]\nstuck_after = \"100ms\"\n");
    let mut hanging = work.start(&["run", "--orders", &source.orders()]);
    while source.asked().is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(work.etl(&["status", "--json"]).summary()["healthy"], false);
    work.etl(&["status"]);
    assert_eq!(told(&receiver), ["firing stuck"]);
    hanging.wait().unwrap();
    assert_eq!(told(&receiver), ["firing stuck", "recovered stuck"], "the run itself says that it is over");
}

#[test]
fn repeat_tells_of_a_lasting_failure_again() {
    let receiver = receiver();
    let work = workspace(&receiver, "[alerts]\nrepeat = \"1ms\"\n");
    for _ in 0..2 {
        work.etl(&["run", "--orders", "missing.ndjson"]).expect(3, "extract_failed");
    }
    assert_eq!(told(&receiver), ["firing source_failed", "firing source_failed"]);
}

#[test]
fn a_dry_run_tells_nobody() {
    let receiver = receiver();
    let work = workspace(&receiver, "");
    let summary = work.etl(&["run", "--orders", "missing.ndjson", "--dry-run"]).expect(3, "extract_failed");
    assert_eq!(kinds(&summary, "alerts"), ["source_failed"]);
    assert_eq!(receiver.asked().len(), 0);
}

#[test]
fn a_check_of_severity_error_is_told_of_and_a_warning_is_not() {
    let receiver = receiver();
    let work = workspace(&receiver, "");
    work.write("checks/strict.sql", "-- severity: warn\nSELECT * FROM fact_order\n");
    assert_eq!(kinds(&work.load(&[order("A", "2026-01-01T00:00:00Z", "")], &[]).published(), "alerts"), Vec::<String>::new());
    work.write("checks/strict.sql", "SELECT * FROM fact_order WHERE order_id = 'B'\n");
    let bad = [order("B", "2026-01-02T00:00:00Z", "")];
    assert_eq!(kinds(&work.load(&bad, &[]).expect(4, "checks_failed"), "alerts"), ["check_failed"]);
    assert_eq!(kinds(&work.load(&bad, &["--on-check-failure", "publish"]).expect(4, "checks_failed"), "alerts"), ["check_failed"]);
    assert_eq!(told(&receiver), ["firing check_failed"], "the same check, still failing");
    let status = work.etl(&["status", "--json"]).summary();
    assert_eq!(status["failing_checks"][0]["name"], "strict");
    std::fs::remove_file(work.path("checks/strict.sql")).unwrap();
    work.write("checks/strict.sql", "SELECT * FROM fact_order WHERE order_id = 'C'\n");
    assert_eq!(kinds(&work.load(&bad, &[]).unchanged(), "alerts_recovered"), ["check_failed"]);
    assert_eq!(told(&receiver), ["firing check_failed", "recovered check_failed"]);
}

/// Orders that come after as many milliseconds as are asked for.
fn slow_source(millis: &Arc<AtomicU64>) -> Server {
    let millis = millis.clone();
    Server::start(move |asked| -> Reply {
        if asked.parameter("page") != "1" {
            return json("[]");
        }
        std::thread::sleep(Duration::from_millis(millis.load(Ordering::SeqCst)));
        json(format!("[{}]", order("A", "2026-01-01T00:00:00Z", "")))
    })
}

#[test]
fn a_run_is_slow_against_the_history_that_real_runs_wrote() {
    let (receiver, millis) = (receiver(), Arc::new(AtomicU64::new(200)));
    let source = slow_source(&millis);
    let work = workspace(&receiver, "[alerts]\nslow_after = \"0s\"\n");
    let run = || work.etl(&["run", "--orders", &source.orders()]).summary();
    for _ in 0..4 {
        assert_eq!(kinds(&run(), "alerts"), Vec::<String>::new());
    }
    // A run of another command is no part of this one's history.
    work.etl(&["backfill", "--orders", &source.orders(), "--since", "2026-01-01", "--until", "2026-01-02"]);
    millis.store(2000, Ordering::SeqCst);
    assert_eq!(kinds(&run(), "alerts"), Vec::<String>::new(), "four runs are too few to tell");
    millis.store(200, Ordering::SeqCst);
    for _ in 0..4 {
        run();
    }
    // On average (8 × 0.25 + 2.05) / 9 = 0.45 s: 0.7 s is no alert, 3 s are one.
    millis.store(500, Ordering::SeqCst);
    assert_eq!(kinds(&run(), "alerts"), Vec::<String>::new());
    millis.store(3000, Ordering::SeqCst);
    let slow = run();
    assert_eq!(kinds(&slow, "alerts"), ["slow_run"]);
    assert!(slow["alerts"][0]["message"].as_str().unwrap().contains("10 before it"), "{slow}");
    millis.store(200, Ordering::SeqCst);
    assert_eq!(kinds(&run(), "alerts_recovered"), ["slow_run"]);
    assert_eq!(told(&receiver), ["firing slow_run", "recovered slow_run"]);
}

#[test]
fn a_report_that_can_not_be_read_fails_no_run_is_said_once_and_is_the_error_of_who_asks_for_it() {
    let work = Workspace::new();
    work.write("etl.toml", "[alerts]\nslow_after = \"0s\"\n");
    let first = work.load(&[order("A", "2026-01-01", "")], &[]).published();
    // A link to itself, as a run that came next: nobody can read it, whatever the user may.
    let run_id = first["run_id"].as_str().unwrap();
    let name = format!("{}f.json", &run_id[..run_id.len() - 1]);
    std::os::unix::fs::symlink(&name, work.path("output/reports").join(&name)).unwrap();
    let ended = work.load(&[order("B", "2026-01-02", "")], &["--log-format", "text"]);
    ended.published();
    assert_eq!(ended.stderr.matches("the reports of the runs before can't be read").count(), 1, "{}", ended.stderr);
    for args in [&["runs"][..], &["status"], &["undo"], &["check", "--history"]] {
        let ended = work.etl(&[args, &["--log-format", "text"]].concat());
        assert_eq!(ended.code, 5, "{args:?}: {}{}", ended.stdout, ended.stderr);
        assert_eq!(ended.stderr.matches(&name).count(), 1, "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn an_alert_of_a_source_is_over_with_a_success_of_this_source_alone() {
    let receiver = receiver();
    let work = workspace(&receiver, "");
    let good = [order("A", "2026-01-01T00:00:00Z", "")];
    let none = Vec::<String>::new();
    work.load(&good, &[]).published();
    let bad = [good.to_vec(), vec!["{}".to_owned()]].concat();
    assert_eq!(kinds(&work.load(&bad, &[]).unchanged(), "alerts"), ["dropped_share"]);
    let dry = work.load(&good, &["--dry-run"]).expect(0, "dry_run");
    assert_eq!(kinds(&dry, "alerts_recovered"), none, "a dry run changes nothing");
    work.write("checks/strict.sql", "SELECT * FROM fact_order\n");
    let failed = work.load(&good, &[]).expect(4, "checks_failed");
    assert_eq!(kinds(&failed, "alerts_recovered"), none, "what a failed run has read was not published");
    std::fs::remove_file(work.path("checks/strict.sql")).unwrap();
    work.write("other.ndjson", order("B", "2026-01-02T00:00:00Z", ""));
    let other = work.etl(&["run", "--orders", "other.ndjson"]).published();
    assert_eq!(kinds(&other, "alerts_recovered"), none, "another source says nothing of this one");
    assert!(told(&receiver).iter().all(|told| told.starts_with("firing")), "no all-clear: {:?}", told(&receiver));
    let mut over = kinds(&work.load(&good, &[]).unchanged(), "alerts_recovered");
    over.sort();
    assert_eq!(over, ["check_failed", "dropped_share"]);
}

#[test]
fn a_record_without_a_date_raises_no_alert_in_each_empty_window() {
    let work = Workspace::new();
    let mut lines: Vec<_> = (0..30).map(|n| order(&format!("A{n}"), "2026-01-01T00:00:00Z", "")).collect();
    lines.push(order("X", "soon", ""));
    let window = ["--since", "2026-02-01", "--until", "2026-02-02"];
    let empty = work.load(&lines, &window).summary();
    assert_eq!((&empty["records_dropped_count"], &empty["records_out_of_window"]), (&Value::from(1), &Value::from(30)));
    assert_eq!(kinds(&empty, "alerts"), Vec::<String>::new());
    lines.truncate(9);
    lines.push(order("X", "soon", ""));
    let share = work.load(&lines, &window).summary();
    assert_eq!(kinds(&share, "alerts"), ["dropped_share"]);
    assert!(share["alerts"][0]["message"].as_str().unwrap().contains("before their date was known: 10.0 %"), "{share}");
}

#[test]
fn too_many_dropped_records_are_told_of() {
    let receiver = receiver();
    let work = workspace(&receiver, "[alerts]\ndropped_percent = 10\n");
    let good = |count: usize| (0..count).map(|n| order(&format!("A{n}"), "2026-01-01T00:00:00Z", "")).collect::<Vec<_>>();
    let with_bad = |count: usize| [good(count), vec!["{}".to_owned()]].concat();
    assert_eq!(kinds(&work.load(&with_bad(9), &[]).published(), "alerts"), Vec::<String>::new(), "one of ten is 10 %");
    assert_eq!(kinds(&work.load(&with_bad(8), &[]).unchanged(), "alerts"), ["dropped_share"]);
    assert_eq!(kinds(&work.load(&good(8), &[]).unchanged(), "alerts_recovered"), ["dropped_share"]);
    assert_eq!(told(&receiver), ["firing dropped_share", "recovered dropped_share"]);
}

#[test]
fn the_counts_of_an_alert_that_stays_open_are_shown_with_the_run_that_counted_them() {
    let work = Workspace::new();
    work.write("etl.toml", "[alerts]\ndropped_percent = 10\n");
    let with_bad = |bad: usize| [vec![order("A", "2026-01-01T00:00:00Z", "")], vec!["{}".to_owned(); bad]].concat();
    let run = |bad| {
        let summary = work.load(&with_bad(bad), &[]).summary();
        let message = summary["alerts"][0]["message"].as_str().unwrap().to_owned();
        (summary["run_id"].as_str().unwrap().to_owned(), message)
    };
    let (first, _) = run(1);
    let (second, message) = run(4);
    let state = work.etl(&["status", "--json"]).summary();
    let alert = &state["open_alerts"][0];
    assert_eq!((&alert["run_id"], &alert["message_run_id"]), (&first.as_str().into(), &second.as_str().into()), "{state}");
    assert_eq!(state["reasons"][0]["why"], format!("the alert dropped_share is open: {message} (run {second})"));
    let next = state["reasons"][0]["next"].as_str().unwrap();
    assert!(next.contains(&format!("--run {second}")) && !next.contains(&first), "{next}");
    let text = work.etl(&["status", "--format", "text"]).stdout;
    assert!(text.contains(&format!("(raised by run {first}), in run {second}: {message}")), "{text}");
    // The same counts again: they are still those of the second run.
    run(4);
    assert_eq!(work.etl(&["status", "--json"]).summary()["open_alerts"][0]["message_run_id"], second.as_str());
}

#[test]
fn a_day_without_records_is_told_of_where_its_weekday_had_some() {
    let receiver = receiver();
    let work = workspace(&receiver, "");
    let window = |since, until| ["--since", since, "--until", until];
    work.load(&[order("A", "2026-01-05T10:00:00Z", "")], &window("2026-01-05", "2026-01-06")).published();
    let none = work.load(&[], &window("2026-01-11", "2026-01-12"));
    assert_eq!(kinds(&none.unchanged(), "alerts"), Vec::<String>::new(), "the Sunday before had none either");
    let summary = work.load(&[], &window("2026-01-12", "2026-01-13")).unchanged();
    assert_eq!(kinds(&summary, "alerts"), ["no_records"]);
    assert!(summary["alerts"][0]["message"].as_str().unwrap().contains("2026-01-12"));
    let next = [order("C", "2026-01-13T10:00:00Z", "")];
    assert_eq!(
        kinds(&work.load(&next, &window("2026-01-13", "2026-01-14")).published(), "alerts_recovered"),
        Vec::<String>::new(),
        "the 12th still has none"
    );
    let late = [order("B", "2026-01-12T10:00:00Z", "")];
    assert_eq!(kinds(&work.load(&late, &[]).published(), "alerts_recovered"), ["no_records"], "whichever run brings it");
    assert_eq!(told(&receiver), ["firing no_records", "recovered no_records"]);
}

#[test]
fn a_layer_past_its_freshness_is_told_of() {
    let receiver = receiver();
    let now = chrono::Utc::now();
    let ago = |hours: i64| (now - chrono::Duration::hours(hours)).to_rfc3339();
    let work = workspace(&receiver, "[alerts]\nfreshness = \"36h\"\n");
    let ahead = order("F", &ago(-30), "");
    assert_eq!(kinds(&work.load(&[order("A", &ago(48), ""), ahead], &[]).published(), "alerts"), ["stale"], "what lies ahead is not fresh");
    assert_eq!(kinds(&work.load(&[order("B", &ago(35), "")], &[]).published(), "alerts_recovered"), ["stale"]);
    assert_eq!(told(&receiver), ["firing stale", "recovered stale"]);
}

#[test]
fn alerts_test_tells_everybody_and_says_who_was_reached() {
    let receiver = Server::start(|asked| status(if asked.path == "/slack" { 404 } else { 200 }));
    let work = Workspace::new();
    let nobody = work.etl(&["alerts", "test"]);
    assert_eq!(nobody.code, 2);
    assert!(nobody.stderr.contains("ETL_ALERT_SLACK_URL"), "{}", nobody.stderr);
    work.write(".env", format!("ETL_ALERT_WEBHOOK_URL={0}/hook\nETL_ALERT_SLACK_URL={0}/slack\n", receiver.url));
    let ended = work.etl(&["alerts", "test"]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    let deliveries = &ended.summary()["deliveries"];
    assert_eq!((&deliveries[0]["delivered"], &deliveries[1]["delivered"]), (&true.into(), &false.into()));
    assert!(deliveries[1]["error"].as_str().unwrap().contains("404"));
    assert_eq!(receiver.asked().len(), 2, "404 is not tried again");
    work.write(".env", format!("ETL_ALERT_WEBHOOK_URL={0}/hook\n", receiver.url));
    assert_eq!(work.etl(&["alerts", "test"]).code, 0);
    work.write(".env", "ETL_ALERT_SLACK_URL=hush-hush\n");
    let wrong = work.etl(&["alerts", "test"]);
    assert!(
        wrong.code == 2 && wrong.stderr.contains("ETL_ALERT_SLACK_URL in .env") && !wrong.stderr.contains("hush-hush"),
        "{}",
        wrong.stderr
    );
}
