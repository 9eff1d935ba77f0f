//! Kept versions: undo, differences, the feed of changes, and what a vacuum removes. And several runs on one folder at once.

use serde_json::{Value, json};

use crate::support::{self, Workspace, order};

/// A run over these orders; its id.
fn load(work: &Workspace, lines: &[String]) -> String {
    work.load(lines, &[]).published()["run_id"].as_str().unwrap().to_owned()
}

fn answer(work: &Workspace, args: &[&str]) -> Value {
    let ended = work.etl(&[args, &["--json"]].concat());
    assert_eq!(ended.code, 0, "{args:?}: {}", ended.stderr);
    ended.summary()
}

fn paid(order_id: &str, day: &str) -> String {
    order(order_id, day, r#","status":"paid","updated_at":"2026-02-01T00:00:00Z""#)
}

#[test]
fn an_undone_run_leaves_the_layer_as_it_was_and_can_be_loaded_again() {
    let work = Workspace::new();
    load(&work, &[order("A", "2026-01-01", ""), order("B", "2026-01-02", "")]);
    let before = work.layer();
    let second = load(&work, &[paid("A", "2026-01-01"), order("C", "2026-01-03", r#","user_id":"U9""#)]);
    let after = work.layer();
    let undone = answer(&work, &["undo", &second]);
    assert_eq!((&undone["partitions_written"], &undone["partitions_removed"]), (&json!(["2026-01-01"]), &json!(["2026-01-03"])));
    assert_eq!(work.layer(), before);
    assert_eq!(work.etl(&["check"]).code, 0);
    let runs = answer(&work, &["runs"]);
    assert_eq!(runs["runs"][0]["command"], "undo", "it stands in the history");
    // What the run had loaded is no longer covered, and the same run again does the same again.
    load(&work, &[paid("A", "2026-01-01"), order("C", "2026-01-03", r#","user_id":"U9""#)]);
    assert_eq!(work.layer(), after);
    // An undo can be undone.
    let third = load(&work, &[order("D", "2026-01-05", "")]);
    let with_third = work.layer();
    let undo = answer(&work, &["undo", &third])["run_id"].as_str().unwrap().to_owned();
    assert_eq!(work.layer(), after);
    answer(&work, &["undo", &undo]);
    assert_eq!(work.layer(), with_third);
}

#[test]
fn a_run_that_later_runs_stand_on_is_not_undone() {
    let work = Workspace::new();
    let first = load(&work, &[order("A", "2026-01-01", ""), order("B", "2026-01-02", "")]);
    let second = load(&work, &[paid("A", "2026-01-01")]);
    let third = load(&work, &[order("C", "2026-01-03", r#","user_id":"U9""#)]);
    let layer = work.layer();
    let refused = work.etl(&["undo", &first, "--log-format", "text"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(
        refused.stderr.contains(&second) && refused.stderr.contains("2026-01-01") && !refused.stderr.contains(&third),
        "{}",
        refused.stderr
    );
    assert_eq!(work.layer(), layer);
    // A later run on other days is no reason, and its members stay.
    let undone = answer(&work, &["undo", &second]);
    assert_eq!(undone["partitions_written"], json!(["2026-01-01"]));
    assert_eq!(work.query("SELECT count(*) FROM fact_order WHERE status = 'paid'"), ["0"]);
    assert_eq!(work.query("SELECT count(*) FROM dim_user WHERE user_id = 'U9'"), ["1"]);
    assert_eq!(work.etl(&["check"]).code, 0);
    let unknown = work.etl(&["undo", "20200101T000000000000Z-0000010000", "--log-format", "text"]);
    assert!(unknown.code == 2 && unknown.stderr.contains("no run"), "{}", unknown.stderr);
}

#[test]
fn a_difference_tells_rows_and_revenue_before_and_after() {
    let work = Workspace::new();
    let first = load(&work, &[order("A", "2026-01-01", ""), order("B", "2026-01-02", "")]);
    let second = load(&work, &[paid("A", "2026-01-01"), order("C", "2026-01-02", "")]);
    let diff = answer(&work, &["diff", &second]);
    assert_eq!((&diff["rows_added"], &diff["rows_removed"], &diff["rows_changed"]), (&json!(1), &json!(0), &json!(1)));
    let rows = diff["rows"].as_array().unwrap();
    assert_eq!(
        (&rows[0]["order_id"], &rows[0]["before"]["status"], &rows[0]["after"]["status"]),
        (&json!("A"), &Value::Null, &json!("paid"))
    );
    assert_eq!((&rows[1]["change"], &rows[1]["order_id"]), (&json!("added"), &json!("C")));
    let text = work.etl(&["diff", &second, "--output", "output"]).stdout;
    assert!(text.ends_with(&format!("\nTo undo the run: etl undo {second} --dry-run --output output\n")), "{text}");
    let text = work.etl(&["changes", "--since-run", &first]).stdout;
    assert!(text.ends_with(&format!("\nFor other programs: etl changes --since-run {first} --json\n")), "{text}");
    assert_eq!(diff["revenue"].as_array().unwrap().len(), 1, "{diff}");
    assert_eq!(answer(&work, &["diff", &first, &second]), diff);
    assert_eq!(answer(&work, &["diff", &second, &first])["rows_removed"], 1);
    let feed = work.etl(&["changes", "--since-run", &first, "--json"]);
    let lines: Vec<Value> = feed.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0], json!({"op": "update", "order_id": "A", "sku": "S", "dt": "2026-01-01"}));
    assert_eq!((&lines[1]["op"], &lines[2]["rows_added"], lines.len()), (&json!("insert"), &json!(1), 3));
}

#[test]
fn a_dry_run_shows_what_it_would_change_and_fails_where_that_is_asked_for() {
    let work = Workspace::new();
    load(&work, &[order("A", "2026-01-01", "")]);
    let layer = work.layer();
    let ended = work.load(&[paid("A", "2026-01-01")], &["--dry-run", "--diff"]);
    let diff = &ended.summary()["diff"];
    assert_eq!((ended.code, &diff["rows_changed"], &diff["rows"][0]["after"]["status"]), (0, &json!(1), &json!("paid")));
    assert_eq!(work.load(&[paid("A", "2026-01-01")], &["--dry-run", "--fail-if-diff"]).code, 4);
    assert_eq!(work.load(&[order("A", "2026-01-01", "")], &["--dry-run", "--fail-if-diff"]).code, 0);
    assert_eq!(work.layer(), layer);
    assert_eq!(work.load(&[order("A", "2026-01-01", "")], &["--fail-if-diff"]).code, 2, "it needs --dry-run");
}

#[test]
fn a_vacuum_removes_what_is_past_its_time_and_nothing_of_now() {
    let work = Workspace::new();
    load(&work, &[order("A", "2026-01-01", "")]);
    let second = load(&work, &[paid("A", "2026-01-01")]);
    let layer = work.layer();
    assert_eq!(answer(&work, &["vacuum"])["objects"], 0, "nothing is past seven days");
    let removed = answer(&work, &["vacuum", "--keep", "0s"]);
    assert!(removed["objects"].as_u64().unwrap() > 0, "{removed}");
    assert_eq!(work.layer(), layer);
    assert_eq!(work.etl(&["check"]).code, 0);
    let refused = work.etl(&["undo", &second, "--log-format", "text"]);
    assert!(refused.code == 2 && refused.stderr.contains("no longer kept"), "{}", refused.stderr);
    assert!(refused.stderr.contains("removed by a vacuum") && !refused.stderr.contains("7d"), "{}", refused.stderr);
    load(&work, &[order("B", "2026-01-01", "")]);
    assert_eq!(work.query("SELECT order_id FROM fact_order ORDER BY 1"), ["A", "B"]);
}

#[test]
fn a_backfill_of_several_jobs_and_one_of_several_shards_end_in_the_bytes_of_one_run() {
    let lines: Vec<String> =
        (1..=28).map(|day| order(&format!("O{day}"), &format!("2026-01-{day:02}"), &format!(r#","user_id":"U{}""#, day % 5))).collect();
    let expected = Workspace::new();
    expected.load(&lines, &["--since", "2026-01-01", "--until", "2026-01-29"]).published();
    let range = ["--orders", "orders.ndjson", "--since", "2026-01-01", "--until", "2026-01-29", "--chunk", "1d"];
    let jobs = Workspace::new();
    jobs.write("orders.ndjson", lines.join("\n"));
    let done = answer(&jobs, &[&["backfill", "--jobs", "4"][..], &range].concat());
    assert_eq!((&done["chunks"], &done["chunks_done"]), (&json!(28), &json!(28)));
    assert_eq!(jobs.layer(), expected.layer());
    // What a neighbour publishes is nothing that somebody changed. Three times, since it takes two at the same moment.
    let shards = [(); 3].map(|()| {
        let shards = Workspace::new();
        shards.write("orders.ndjson", lines.join("\n"));
        let children: Vec<_> =
            (0..6).map(|shard| shards.start(&[&["backfill", "--shard", &format!("{shard}/6")][..], &range].concat())).collect();
        for child in children {
            let ended = support::ended(child.wait_with_output().unwrap());
            assert_eq!(ended.code, 0, "{}", ended.stderr);
            assert!(!ended.stderr.contains("somebody"), "{}", ended.stderr);
        }
        assert_eq!(shards.layer(), expected.layer());
        shards
    });
    let [shards, ..] = shards;
    let again = answer(&shards, &[&["backfill"][..], &range].concat());
    assert_eq!(again["chunks_done_before"], 28, "each chunk was done by some shard");
}

/// A version of the order X, on a day, of a user.
fn version(day: &str, updated: &str, status: &str, user: &str) -> String {
    order("X", day, &format!(r#","updated_at":"{updated}T00:00:00Z","status":"{status}","user_id":"{user}""#))
}

#[test]
fn a_row_that_comes_back_is_never_the_second_of_its_key() {
    let work = Workspace::new();
    load(&work, &[order("OTHER", "2025-12-01", "")]);
    let first = load(&work, &[version("2026-01-01", "2026-02-02", "v1", "ub")]);
    let undo = answer(&work, &["undo", &first])["run_id"].as_str().unwrap().to_owned();
    let moved = load(&work, &[version("2026-01-08", "2026-02-03", "v2", "u1")]);
    let refused = work.etl(&["undo", &undo]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains(&moved) && refused.stderr.contains("2026-01-08"), "{}", refused.stderr);
    assert_eq!(work.query("SELECT dt, status FROM fact_order WHERE order_id = 'X'"), ["2026-01-08|v2"]);
    assert_eq!(work.etl(&["check"]).code, 0);
}

#[test]
fn the_members_that_rows_name_come_back_with_them() {
    let work = Workspace::new();
    load(&work, &[order("OTHER", "2025-12-01", "")]);
    let first = load(&work, &[version("2026-01-01", "2026-02-02", "v1", "ub")]);
    let undo = answer(&work, &["undo", &first])["run_id"].as_str().unwrap().to_owned();
    load(&work, &[order("LATER", "2026-01-09", r#","user_id":"ua""#)]);
    assert_eq!(work.query("SELECT user_id FROM dim_user ORDER BY 1"), ["ua"]);
    answer(&work, &["undo", &undo]);
    assert_eq!(work.query("SELECT user_id FROM dim_user ORDER BY 1"), ["ua", "ub"]);
    assert_eq!(work.etl(&["check"]).code, 0, "{}", work.etl(&["check"]).stdout);
}

#[test]
fn runs_of_one_day_are_undone_one_after_the_other() {
    let work = Workspace::new();
    let layers: Vec<_> = [("2026-02-02", "v0"), ("2026-02-03", "v1"), ("2026-02-04", "v2")]
        .map(|(updated, status)| (load(&work, &[version("2026-01-01", updated, status, "u")]), work.files("curated")))
        .into();
    for (step, (run, _)) in layers.iter().enumerate().skip(1).rev() {
        let undone = answer(&work, &["undo", run]);
        assert_eq!(work.files("curated"), layers[step - 1].1, "{undone}");
    }
    // The undo of the last one is undone, too; and explain tells of it.
    let explained = answer(&work, &["explain", "X"]);
    let undone: Vec<_> = explained["versions"].as_array().unwrap().iter().map(|version| version["undone_by"].is_string()).collect();
    assert_eq!(undone, [false, true, true], "{explained}");
}

#[test]
fn what_was_undone_is_covered_by_nobody() {
    let orders: Vec<_> = (1..=5).map(|day| order(&format!("A{day}"), &format!("2026-01-0{day}T10:00:00Z"), "")).collect();
    let run = |work: &Workspace, since: &str, until: &str| {
        work.write("orders.ndjson", orders.join("\n"));
        let ended = work.etl(&["run", "--orders", "orders.ndjson", "--since", since, "--until", until]);
        ended.summary()["run_id"].as_str().unwrap().to_owned()
    };
    let days = |work: &Workspace| work.query("SELECT DISTINCT dt FROM fact_order ORDER BY 1");
    let whole = ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04", "2026-01-05"];

    // A later run has loaded a part of it again, as every `--since last` does by its lookback.
    let work = Workspace::new();
    run(&work, "2026-01-01", "2026-01-02");
    let undone = run(&work, "2026-01-02", "2026-01-04");
    run(&work, "2026-01-03", "2026-01-06");
    answer(&work, &["undo", &undone]);
    assert_eq!(days(&work), ["2026-01-01", "2026-01-04", "2026-01-05"]);
    assert_eq!(work.etl(&["backfill", "--orders", "orders.ndjson", "--gaps"]).code, 0);
    assert_eq!(days(&work), whole);

    // The first run of all.
    let work = Workspace::new();
    let undone = run(&work, "2026-01-01", "2026-01-03");
    run(&work, "2026-01-03", "2026-01-06");
    answer(&work, &["undo", &undone]);
    assert_eq!(answer(&work, &["status"])["complete"], false);
    run(&work, "last", "2026-01-06");
    assert_eq!(days(&work), whole);
    assert_eq!(answer(&work, &["status"])["complete"], true);

    // The state is expendable: the reports tell of the undo, too.
    let work = Workspace::new();
    run(&work, "2026-01-01", "2026-01-03");
    let undone = run(&work, "2026-01-03", "2026-01-06");
    answer(&work, &["undo", &undone]);
    std::fs::remove_dir_all(work.path("output/state")).unwrap();
    let plan = answer(&work, &["plan", "--orders", "orders.ndjson", "--lookback", "0s"]);
    assert_eq!(plan["since"], "2026-01-03T00:00:00Z", "{plan}");
}

/// A layer whose settings name its source; the id of its only run.
fn configured() -> (Workspace, String) {
    let work = Workspace::new();
    work.write("etl.toml", "orders = \"orders.ndjson\"\n");
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    let run = work.etl(&["run"]).published()["run_id"].as_str().unwrap().to_owned();
    (work, run)
}

#[test]
fn the_undo_of_the_only_run_is_told_by_itself_and_by_status() {
    let (work, run) = configured();
    let text = work.etl(&["undo", &run, "--format", "text"]).stdout;
    assert!(text.contains("\nno longer covered: before ") && text.ends_with("\nTo load it again: etl run --since last\n"), "{text}");
    let status = answer(&work, &["status"]);
    let [undone, last, success] = ["undone", "last_run", "last_success"].map(|key| &status[key]);
    assert_eq!((&undone[0]["run_id"], &undone[0]["undone_by"]), (&json!(run), &last["run_id"]));
    assert_eq!((&success["run_id"], &success["undone_by"]), (&json!(run), &last["run_id"]), "an undo is no success");
    let screen = work.etl(&["status"]).stdout;
    assert!(screen.contains("without rows") && !screen.contains("no rows on"), "{screen}");
    let told = format!("orders.ndjson: loaded by run {run}, then undone by run {}", last["run_id"].as_str().unwrap());
    assert!(screen.contains(&told) && screen.contains("`etl run --since last` loads it again"), "{screen}");
    work.etl(&["run", "--since", "last"]).published();
    assert_eq!(answer(&work, &["status"])["undone"], json!([]), "it is loaded again");
}

#[test]
fn the_undo_of_an_unchanged_run_tells_what_it_does_to_the_coverage() {
    let (work, _) = configured();
    let unchanged = work.etl(&["run"]).unchanged()["run_id"].as_str().unwrap().to_owned();
    let tried = work.etl(&["undo", &unchanged, "--dry-run", "--format", "text"]).stdout;
    assert!(tried.contains("no partition changes") && tried.contains("no longer covered: from "), "{tried}");
    let undone = answer(&work, &["undo", &unchanged]);
    assert_eq!((&undone["partitions_written"], &undone["coverage_restored"]), (&json!([]), &json!([])));
    let removed = undone["coverage_removed"].as_array().unwrap();
    assert_eq!((removed.len(), &removed[0]["cursor"]), (1, &json!("created_at")), "{undone}");
    let again = answer(&work, &["undo", undone["run_id"].as_str().unwrap()]);
    assert_eq!((&again["coverage_restored"], &again["coverage_removed"]), (&undone["coverage_removed"], &json!([])));
    // An undo has no window, and none of them is the last success.
    let runs = work.etl(&["runs"]).stdout;
    let windows: Vec<_> = runs.lines().skip(1).map(|line| line.split_whitespace().last().unwrap()).collect();
    assert_eq!(windows, ["-", "-", "everything", "everything"], "{runs}");
    assert_eq!(answer(&work, &["status"])["last_success"]["run_id"], json!(unchanged));
}

#[test]
fn an_undo_without_a_run_names_those_that_can_be_undone() {
    let work = Workspace::new();
    let first = load(&work, &[order("A", "2026-01-01", "")]);
    let second = load(&work, &[paid("A", "2026-01-01")]);
    let unchanged = work.load(&[paid("A", "2026-01-01")], &[]).unchanged()["run_id"].as_str().unwrap().to_owned();
    let before = work.layer();
    let refused = work.etl(&["undo", "--output", "output", "--log-format", "text"]);
    assert!(refused.stderr.contains("# run over everything: 1 partition written"), "{}", refused.stderr);
    assert!(!refused.stderr.contains(&unchanged), "there is nothing to undo: {}", refused.stderr);
    assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{}", refused.stderr);
    assert!(refused.stderr.contains(&format!("\n    etl undo {second} --output output ")), "{}", refused.stderr);
    assert!(!refused.stderr.contains(&first), "the second run stands on it: {}", refused.stderr);
    assert_eq!(work.layer(), before);
    answer(&work, &["undo", &second]);
    let left = work.etl(&["undo", "--log-format", "text"]).stderr;
    assert!(left.contains(&first) && !left.contains(&format!("etl undo {second}")), "what is undone is not named: {left}");
    assert!(left.contains(&format!("# undo of run {second}: 1 partition written")), "{left}");
}

#[test]
fn a_dry_run_of_an_undo_or_a_vacuum_tells_what_it_would_do_and_changes_nothing() {
    let work = Workspace::new();
    let first = load(&work, &[order("A", "2026-01-01", "")]);
    load(&work, &[order("B", "2026-01-03", "")]);
    let second = load(&work, &[paid("A", "2026-01-01")]);
    let before = work.files("");
    let tried = answer(&work, &["undo", &second, "--dry-run"]);
    assert_eq!((&tried["status"], &tried["partitions_written"]), (&json!("dry_run"), &json!(["2026-01-01"])));
    assert!(tried.get("run_id").is_none() && tried.get("commit").is_none(), "{tried}");
    assert_eq!(work.etl(&["undo", &first, "--dry-run"]).code, 2, "what would be refused is refused");
    let counted = answer(&work, &["vacuum", "--keep", "0s", "--dry-run"]);
    assert_eq!(counted["status"], "dry_run");
    // Locks are touched; all else is as it was.
    let lasting = |files: std::collections::BTreeMap<String, Vec<u8>>| -> Vec<_> {
        files.into_iter().filter(|(name, _)| !name.contains("lock") && !name.contains("lease")).collect()
    };
    assert_eq!(lasting(work.files("")), lasting(before));
    let removed = answer(&work, &["vacuum", "--keep", "0s"]);
    assert_eq!((&removed["objects"], &removed["bytes"]), (&counted["objects"], &counted["bytes"]));
    assert!(removed["objects"].as_u64() > Some(0), "the first version of A is past its time: {removed}");
}

/// The run of the newest commit.
fn newest_run(work: &Workspace) -> String {
    let commit: serde_json::Value = serde_json::from_str(&work.read("output/state/latest.json")).unwrap();
    commit["run_id"].as_str().unwrap().to_owned()
}

#[test]
fn a_rewrite_stands_in_the_history_and_a_refused_undo_names_it() {
    let work = Workspace::new();
    let first = load(&work, &[order("A", "2026-01-01", ""), order("B", "2026-01-02", "")]);
    work.write("etl.toml", "[[fact.columns]]\nname = \"channel\"\npath = \"c\"\n");
    assert_eq!(work.etl(&["rewrite"]).code, 0);
    let rewrite = newest_run(&work);
    let listed = answer(&work, &["runs"])["runs"].clone();
    let found = |place: usize| (&listed[place]["run_id"], &listed[place]["command"], &listed[place]["commit"]);
    assert_eq!(found(0), (&json!(rewrite), &json!("rewrite"), &json!(2)));
    assert_eq!(listed[0]["partitions_written"], json!(["2026-01-01", "2026-01-02"]));
    let refused = work.etl(&["undo", &first, "--log-format", "text"]);
    assert!(refused.code == 2 && refused.stderr.contains(&format!("run {rewrite} of `rewrite` (dt=")), "{}", refused.stderr);
    // It is no load: the success of the layer is that of the run.
    assert_eq!(answer(&work, &["status"])["last_success"]["run_id"], json!(first));
    // Without anything to rewrite there is no commit, and nothing to list.
    assert_eq!(work.etl(&["rewrite"]).code, 0);
    assert_eq!(answer(&work, &["runs"])["runs"], listed);
    // What is in the way is undone first, as the message says.
    work.write("etl.toml", "");
    answer(&work, &["undo", &rewrite]);
    answer(&work, &["undo", &first]);
    assert!(work.files("curated").is_empty());
}

#[test]
fn an_undo_of_a_rewrite_takes_its_columns_back() {
    for rewritten in
        ["fact.quantity = \"decimal\"\n", "[[fact.columns]]\nname = \"channel\"\npath = \"c\"\n", "fact.time_zone = \"Europe/Berlin\"\n"]
    {
        let work = Workspace::new();
        let lines = [order("A", "2026-01-01", ""), order("B", "2026-01-02", "")];
        work.load(&lines, &[]).published();
        let before = work.files("curated");
        work.write("etl.toml", rewritten);
        let done = work.etl(&["rewrite"]);
        assert_eq!(done.code, 0, "{rewritten}: {}", done.stderr);
        assert_ne!(work.files("curated"), before, "{rewritten}");
        let run_id = newest_run(&work);
        let undone = work.etl(&["undo", &run_id]);
        assert_eq!(undone.code, 0, "{rewritten}: {}", undone.stderr);
        assert_eq!(work.files("curated"), before, "{rewritten}");
        work.write("etl.toml", "");
        work.load(&lines, &[]).unchanged();
        // Partitions that were put since have the new columns: both can't stand side by side.
        work.write("etl.toml", rewritten);
        assert_eq!(work.etl(&["rewrite"]).code, 0);
        let run_id = newest_run(&work);
        work.load(&[order("C", "2026-01-03", "")], &[]).published();
        assert_eq!(work.etl(&["undo", &run_id]).code, 2, "{rewritten}");
    }
}
