//! Coverage: which intervals were loaded, what `--since last` returns to, gaps, chunks that are done, and the demo's own layer.

use serde_json::{Value, json};

use crate::support::{self, Asked, Server, Workspace, order};

fn days(count: u32) -> Vec<String> {
    (1..=count).map(|day| order(&format!("O{day}"), &format!("2026-01-{day:02}T12:00:00Z"), "")).collect()
}

fn since(summary: &Value) -> &str {
    summary["since"].as_str().unwrap_or("everything")
}

fn status(work: &Workspace) -> Value {
    work.etl(&["status", "--json"]).summary()
}

fn plan(work: &Workspace, args: &[&str]) -> Value {
    let ended = work.etl(&[&["plan", "--orders", "orders.ndjson", "--json"], args].concat());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.summary()
}

const LAST: [&str; 4] = ["--since", "last", "--lookback", "0s"];

#[test]
fn a_run_that_leaves_a_gap_says_so_and_last_returns_to_it() {
    let work = Workspace::new();
    work.load(&days(28), &["--until", "2026-01-10"]).published();
    let ended = work.load(&days(28), &["--since", "2026-01-25", "--until", "2026-01-28", "--log-format", "text"]);
    ended.published();
    assert!(ended.stderr.contains("leaves a gap") && ended.stderr.contains("etl backfill --gaps"), "{}", ended.stderr);
    let gap = json!([{"source": "orders.ndjson", "profile": "default", "cursor": "created_at", "since": "2026-01-10T00:00:00Z", "until": "2026-01-25T00:00:00Z"}]);
    assert_eq!((&status(&work)["gaps"], &status(&work)["complete"]), (&gap, &json!(false)));
    let planned = plan(&work, &["--lookback", "0s"]);
    assert_eq!((since(&planned), planned["gaps"][0]["until"].as_str()), ("2026-01-10T00:00:00Z", Some("2026-01-25T00:00:00Z")));
    assert!(planned["why"].as_str().unwrap().contains("where a gap begins that ends at 2026-01-25"), "{planned}");
    // The state is expendable: the reports tell the same.
    std::fs::remove_dir_all(work.path("output/state")).unwrap();
    assert_eq!(since(&plan(&work, &["--lookback", "0s"])), "2026-01-10T00:00:00Z");
    let next = work.load(&days(28), &[&LAST[..], &["--until", "2026-01-26"]].concat()).published();
    assert_eq!(since(&next), "2026-01-10T00:00:00Z");
    assert_eq!((&status(&work)["gaps"], since(&plan(&work, &["--lookback", "0s"]))), (&json!([]), "2026-01-28T00:00:00Z"));
}

/// A command that is proposed can be copied: it names the settings and the output, and it loads the gaps.
#[test]
fn only_a_command_that_fills_the_gaps_is_proposed() {
    let work = Workspace::new();
    work.load(&days(9), &["--until", "2026-01-03"]).published();
    work.load(&days(9), &["--since", "2026-01-06", "--until", "2026-01-09"]).published();
    let screen = work.etl(&["status"]).stdout;
    assert!(screen.contains("no setting names this source") && screen.contains("is not loaded"), "{screen}");
    work.write("conf/etl.toml", "orders = \"../orders.ndjson\"\n");
    let other = work.etl(&["status", "--config", "conf/etl.toml", "--output", "output"]).stdout;
    assert!(other.contains("no setting names this source"), "another location is another source: {other}");
    work.write("own.toml", "orders = \"orders.ndjson\"\n");
    let given = ["--config", "own.toml", "--output", "output"];
    let screen = work.etl(&[&["status"][..], &given].concat()).stdout;
    let proposed = "etl backfill --gaps --config own.toml --output output";
    assert!(screen.contains(&format!("`{proposed}` loads them")), "{screen}");
    let planned = work.etl(&["plan", "--orders", "orders.ndjson"]).stdout;
    assert!(
        planned.contains("`etl run --since last --orders orders.ndjson`") && planned.contains("without --since, a run loads everything")
    );
    assert!(planned.contains("`etl backfill --gaps --orders orders.ndjson` loads them"), "{planned}");
    assert_eq!(plan(&work, &["--since", "2026-01-01"])["command"], "etl run --since 2026-01-01 --orders orders.ndjson");
    let args: Vec<_> = proposed.split(' ').skip(1).collect();
    assert_eq!(work.etl(&args).code, 0);
    assert_eq!(status(&work)["gaps"], json!([]));
}

#[test]
fn a_backfill_fills_the_gaps() {
    let work = Workspace::new();
    work.load(&days(28), &["--until", "2026-01-05"]).published();
    work.load(&days(28), &["--since", "2026-01-10", "--until", "2026-01-12"]).published();
    work.load(&days(28), &["--since", "2026-01-20", "--until", "2026-02-01"]).published();
    let filled = work.etl(&["backfill", "--orders", "orders.ndjson", "--gaps", "--chunk", "4d"]).summary();
    let windows: Vec<_> = filled["runs"].as_array().unwrap().iter().map(|run| (since(run), run["until"].as_str().unwrap())).collect();
    let midnight = |day: u32| format!("2026-01-{day:02}T00:00:00Z");
    let expected: Vec<_> = [(5, 9), (9, 10), (12, 16), (16, 20)].map(|(since, until)| (midnight(since), midnight(until))).into();
    assert_eq!(windows, expected.iter().map(|(since, until)| (since.as_str(), until.as_str())).collect::<Vec<_>>());
    assert_eq!(work.query("SELECT count(DISTINCT order_id) FROM fact_order"), ["28"]);
    assert_eq!(work.etl(&["backfill", "--orders", "orders.ndjson", "--gaps"]).summary()["runs"], json!([]));
}

#[test]
fn other_sources_replays_and_demos_do_not_move_a_source() {
    let work = Workspace::new();
    let mut lines = days(3);
    lines.push(r#"{"order_id":"BAD","created_at":"2026-01-03","items":[]}"#.into());
    work.load(&lines, &["--until", "2026-01-05"]).published();
    let before = |work: &Workspace| since(&plan(work, &["--lookback", "0s"])).to_owned();
    assert_eq!(before(&work), "2026-01-05T00:00:00Z");
    work.write("corrections.ndjson", order("O2", "2026-01-02", r#","status":"refunded""#));
    work.etl(&["run", "--orders", "corrections.ndjson"]).published();
    let dropped = work.files("quarantine").into_keys().next().unwrap();
    let run_id = dropped.split('/').find_map(|part| part.strip_prefix("run_id=")).unwrap();
    let quarantine = work.read(&format!("output/{dropped}")).replace(r#""items":[]"#, r#""items":[{"sku":"S"}]"#);
    work.write(&format!("output/{dropped}"), quarantine);
    work.etl(&["quarantine", "replay", run_id]).published();
    work.load(&days(3), &["--dry-run"]).expect(0, "dry_run");
    assert_eq!(before(&work), "2026-01-05T00:00:00Z");
    // A name belongs to the location in etl.toml, and to no other.
    work.write("etl.toml", "[orders]\nname = \"shop\"\nlocation = \"orders.ndjson\"\n");
    work.etl(&["run", "--until", "2026-01-04"]).published();
    work.etl(&["run", "--orders", "corrections.ndjson", "--until", "2026-01-20"]).published();
    let shop = work.etl(&["plan", "--lookback", "0s", "--json"]).summary();
    assert_eq!((&shop["source"], since(&shop)), (&json!("shop"), "2026-01-04T00:00:00Z"));
    // By another time, another coverage.
    assert_eq!(since(&plan(&work, &["--cursor", "updated_at"])), "everything");
}

#[test]
fn a_first_run_that_sees_nothing_covers_nothing() {
    let work = Workspace::new();
    work.load(&[], &["--until", "2026-01-10"]).unchanged();
    let first = work.load(&days(3), &["--since", "last"]).published();
    assert_eq!(since(&first), "everything");
    // A quiet day is covered, once something was there.
    work.load(&[], &LAST).unchanged();
    assert_ne!(since(&plan(&work, &["--lookback", "0s"])), "everything");
}

fn backfill(work: &Workspace, args: &[&str]) -> Value {
    let ended = work.etl(&[&["backfill"], args].concat());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.summary()
}

#[test]
fn a_chunk_is_done_when_its_end_had_passed_for_this_source_and_these_rules() {
    let work = Workspace::new();
    work.write("orders.ndjson", days(3).join("\n"));
    work.write("others.ndjson", order("X", "2026-01-02", ""));
    let window = ["--since", "2026-01-01", "--until", "2026-01-04"];
    let runs = |orders: &str, more: &[&str]| {
        backfill(&work, &[&["--orders", orders], &window[..], more].concat())["runs"].as_array().unwrap().len()
    };
    assert_eq!((runs("orders.ndjson", &[]), runs("orders.ndjson", &[])), (3, 0));
    // Another source with the same chunks: its first day has nothing, and covers nothing until something was there.
    assert_eq!(runs("others.ndjson", &[]), 3);
    assert_eq!(work.query("SELECT count(*) FROM fact_order WHERE order_id = 'X'"), ["1"]);
    // Other rules make other rows of the same records.
    work.write("etl.toml", "[orders.fields]\nstatus = \"state\"\n");
    assert_eq!((runs("orders.ndjson", &[]), runs("orders.ndjson", &[])), (3, 0));
    assert_eq!((runs("orders.ndjson", &["--restart"]), runs("orders.ndjson", &[])), (3, 0));
    // The last chunk of an open window ends at midnight: it is loaded again each time, and the others are not.
    let open = ["--orders", "orders.ndjson", "--since", "2d", "--chunk", "1d"];
    work.write("now.ndjson", days(1).join("\n"));
    let first = backfill(&work, &open);
    let again = backfill(&work, &open);
    assert_eq!((first["runs"].as_array().unwrap().len(), again["runs"].as_array().unwrap().len()), (3, 1), "{again}");
    assert_eq!((&first["chunks"], &first["chunks_done"], &again["chunks_done_before"]), (&json!(3), &json!(2), &json!(2)));
}

#[test]
fn a_chunk_is_loaded_again_by_settings_that_keep_what_was_dropped() {
    let work = Workspace::new();
    let kilos = order("KILOS", "2026-01-02", "").replace(r#""quantity":1,"#, r#""quantity":1.5,"#);
    work.write("orders.ndjson", [order("PIECES", "2026-01-01", ""), kilos].join("\n"));
    let runs = || {
        let args = ["--orders", "orders.ndjson", "--since", "2026-01-01", "--until", "2026-01-03", "--chunk", "1d"];
        backfill(&work, &args)["runs"].as_array().unwrap().len()
    };
    let orders = || work.facts().into_iter().map(|row| row["order_id"].clone()).collect::<Vec<_>>();
    assert_eq!((runs(), runs(), orders()), (2, 0, vec!["PIECES".to_owned()]));
    work.write("etl.toml", "[fact]\nquantity = \"decimal\"\n");
    let rewritten = work.etl(&["rewrite"]);
    assert_eq!(rewritten.code, 0, "{}", rewritten.stderr);
    assert_eq!((runs(), runs(), orders()), (2, 0, vec!["PIECES".to_owned(), "KILOS".to_owned()]));
    work.write("etl.toml", "[fact]\nquantity = \"decimal\"\n[limits]\ndepth = 200\n");
    assert_eq!((runs(), runs()), (2, 0), "deeper records are no longer dropped");
    // How fast it works, and what it checks, is no rule.
    work.write("etl.toml", "threads = 1\n[fact]\nquantity = \"decimal\"\n[limits]\ndepth = 200\n[checks]\nunit_slip = \"off\"\n");
    assert_eq!(runs(), 0);
}

#[test]
fn a_plan_tells_chunks_and_loaded_days_without_orders() {
    let work = Workspace::new();
    let lines: Vec<_> = days(5).into_iter().filter(|line| !line.contains("O3")).collect();
    work.write("orders.ndjson", lines.join("\n"));
    backfill(&work, &["--orders", "orders.ndjson", "--since", "2026-01-01", "--until", "2026-01-05", "--chunk", "1d"]);
    let planned = plan(&work, &["--since", "2026-01-01", "--until", "2026-01-07", "--chunk", "1d"]);
    assert_eq!(planned["empty"], json!([{"since": "2026-01-03T00:00:00Z", "until": "2026-01-04T00:00:00Z"}]));
    let states: Vec<_> = planned["chunks"].as_array().unwrap().iter().map(|chunk| chunk["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["done", "done", "done", "done", "not loaded", "not loaded"]);
    let text = work.etl(&["plan", "--orders", "orders.ndjson", "--format", "text"]).stdout;
    assert!(text.contains("covered") && text.contains("from 2026-01-03 to before 2026-01-04"), "{text}");
}

#[test]
fn a_plan_shows_the_first_request_without_secrets() {
    let server = Server::start(|_: &Asked| panic!("a plan asks nothing"));
    let work = Workspace::new();
    let url = format!("{}/orders?token=hush", server.url);
    let planned = work.etl(&["plan", "--orders", &url, "--since", "2026-01-01", "--json"]).summary();
    assert!(planned["request"].as_str().unwrap().ends_with("/orders?token=***"), "{planned}");
    assert!(!planned.to_string().contains("hush"));
}

#[test]
fn the_demo_has_a_layer_of_its_own() {
    let work = Workspace::new();
    work.load(&days(1), &[]).published();
    let layer = work.layer();
    let ended = work.etl(&["demo", "--output", "output", "--log-format", "text"]);
    assert!(ended.code == 2 && ended.stderr.contains("a layer of `etl run`"), "{}", ended.stderr);
    work.write("other/readme.txt", "mine");
    assert_eq!(work.etl(&["demo", "--output", "other"]).code, 2);
    assert_eq!(work.layer(), layer);
    let ended = work.etl(&["demo", "--log-format", "text"]);
    ended.published();
    assert!(ended.stderr.starts_with("The data of the demo is bad on purpose"), "{}", ended.stderr);
    assert!(work.path("output/demo/curated").is_dir());
    work.etl(&["demo"]).unchanged();
}

#[test]
fn what_a_source_does_not_show_is_said_and_not_covered() {
    let server = Server::start(|_| support::json(format!("[{}]", order("A", "2026-01-01", ""))));
    let covered = |work: &Workspace| {
        let state: Value = serde_json::from_str(&work.read("output/state/latest.json")).unwrap();
        let covered = &state["layer"]["coverage"]["sources"][0]["loaded"][0];
        (covered["since"].as_str().map(str::to_owned), covered["until"].as_str().unwrap().to_owned())
    };
    let settings = |filter: &str| format!("orders.location = \"{}\"\norders.filter = {{ {filter} }}\n", server.orders());
    let days_before = |until: &str, days: i64| {
        let until: chrono::DateTime<chrono::Utc> = until.parse().unwrap();
        (until - chrono::Duration::days(days)).format("%Y-%m-%dT%H:%M").to_string()
    };
    for filter in ["shows = \"60d\"", "earliest = \"60d\", since = \"from\""] {
        let work = Workspace::new();
        work.write("etl.toml", settings(filter));
        let ended = work.etl(&["run", "--log-format", "text"]);
        let shown = ended.published()["shown_since"].as_str().unwrap().to_owned();
        assert!(ended.stderr.contains("the source shows nothing older than this"), "{}", ended.stderr);
        let (since, until) = covered(&work);
        assert!(since.as_deref() == Some(&shown) && shown.starts_with(&days_before(&until, 60)), "{shown} {until}");
    }
    // A window that it shows all of, and a source that shows everything.
    let recent = format!("{}:00Z", days_before(&chrono::Utc::now().to_rfc3339(), 3));
    for (filter, args) in [("shows = \"60d\"", vec!["run", "--since", &recent]), ("shows = \"all\"", vec!["run"])] {
        let work = Workspace::new();
        work.write("etl.toml", settings(filter));
        let ended = work.etl(&args);
        assert_eq!((ended.code, &ended.summary()["shown_since"]), (0, &Value::Null), "{filter}: {}", ended.stderr);
    }
}
