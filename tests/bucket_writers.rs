//! Many writers on one bucket: no commit is lost, whoever dies or sleeps in between, and readers of a manifest see whole commits.
//!
//! moto looks at the condition of a PUT first and puts later, so the proxy passes one write at a time. SeaweedFS needs no such help.

use std::{
    collections::BTreeSet,
    process::Child,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use orders_etl::model::UtcMicros;
use serde_json::{Value, json};

use crate::support::{
    Ended, Workspace,
    buckets::{Bucket, S3Server},
    ended,
    fault_proxy::{Fault, Rule},
    lake::{Lake, Objects, assert_same, entries, has_rows},
};

/// An order of one line on a day of January 2026.
fn line(order_id: &str, day: usize, updated: usize, quantity: usize) -> String {
    format!(
        r#"{{"order_id":"{order_id}","created_at":"2026-01-{day:02}T10:00:00Z","updated_at":"2026-02-{updated:02}","user_id":"U-{order_id}","currency":"EUR","items":[{{"sku":"S","quantity":{quantity},"price":1.5}}]}}"#
    )
}

/// Three orders a day.
fn days(first: usize, last: usize) -> Vec<String> {
    (first..=last).flat_map(|day| (0..3).map(move |n| line(&format!("O{day}-{n}"), day, 1, n + 1))).collect()
}

/// The window of one day and of those up to another, the last included.
fn window(first: usize, last: usize) -> [String; 4] {
    ["--since".into(), format!("2026-01-{first:02}"), "--until".into(), format!("2026-01-{:02}", last + 1)]
}

fn run_over(first: usize, last: usize) -> Vec<String> {
    let start = ["run", "--orders", "orders.ndjson", "--lock-wait", "60s"].map(str::to_owned);
    start.into_iter().chain(window(first, last)).collect()
}

fn strs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

/// Numbers that differ from run to run of the tests, and are printed where one fails.
struct Random(u64);

impl Random {
    fn new() -> Random {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = std::env::var("ETL_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or(now.as_nanos() as u64) | 1;
        println!("ETL_TEST_SEED={seed}");
        Random(seed)
    }

    /// A number below 1.
    fn share(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// What one run over these lines leaves in a folder.
fn of_one_run(lines: &[String]) -> Objects {
    let work = Workspace::new();
    work.load(lines, &[]).published();
    work.layer()
}

fn finished(child: Child) -> Ended {
    ended(child.wait_with_output().unwrap())
}

#[track_caller]
fn assert_whole(lake: &Lake, expected: &Objects, point: &str) {
    assert_same(&lake.layer(), expected, point);
    lake.assert_projected(point);
    let checked = lake.etl(&["check"]);
    assert_eq!(checked.code, 0, "{point}: {}\n{}", checked.stdout, checked.stderr);
    let runs = lake.committed_runs();
    assert_eq!(runs.iter().collect::<BTreeSet<_>>().len(), runs.len(), "{point}: a run was committed twice");
}

/// Eight runs at once on days of their own; one of them is killed and run again.
fn eight_writers_end_in_the_bytes_of_one(bucket: Bucket) {
    let lake = Lake::behind_proxy(bucket);
    let lines = days(1, 8);
    lake.work.write("orders.ndjson", lines.join("\n"));
    let began = Instant::now();
    let mut random = Random::new();
    let mut writers: Vec<_> = (0..8).map(|writer| lake.start(&strs(&run_over(writer + 1, writer + 1)))).collect();
    // All of them take some seconds together: the kill may come at any point of the run.
    let victim = (random.share() * 8.0) as usize;
    let instant = Duration::from_millis((random.share() * 3000.0) as u64);
    thread::sleep(instant);
    writers[victim].kill().unwrap();
    for (number, writer) in writers.into_iter().enumerate() {
        let ended = finished(writer);
        if number != victim {
            ended.published();
        }
    }
    println!("writer {victim} was killed after {instant:?}; all ended after {:?}", began.elapsed());
    lake.age_scratch();
    let again = lake.etl(&strs(&run_over(victim + 1, victim + 1)));
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_whole(&lake, &of_one_run(&lines), "eight writers");
    assert_eq!(lake.scratch(), [""; 0], "scratch stays");
}

#[test]
fn eight_writers_on_moto_end_in_the_bytes_of_one() {
    let Some(server) = S3Server::moto() else { return };
    eight_writers_end_in_the_bytes_of_one(server.bucket());
}

#[test]
fn eight_writers_on_seaweedfs_end_in_the_bytes_of_one() {
    let Some(server) = S3Server::on_disk() else { return };
    let lake = Lake::new(server.bucket());
    let lines = days(1, 8);
    lake.work.write("orders.ndjson", lines.join("\n"));
    let writers: Vec<_> = (0..8).map(|writer| lake.start(&strs(&run_over(writer + 1, writer + 1)))).collect();
    writers.into_iter().for_each(|writer| drop(finished(writer).published()));
    assert_whole(&lake, &of_one_run(&lines), "eight writers");
    assert_eq!(lake.committed_runs().len(), 8);
}

const BACKFILL: [&str; 9] = ["backfill", "--orders", "orders.ndjson", "--since", "2026-01-01", "--until", "2026-01-10", "--chunk", "1d"];

#[test]
fn a_backfill_of_four_jobs_ends_in_the_bytes_of_one_run() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::behind_proxy(server.bucket());
    let lines = days(1, 9);
    lake.work.write("orders.ndjson", lines.join("\n"));
    let ended = lake.etl(&[&BACKFILL[..], &["--jobs", "4"]].concat());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let summary = ended.summary();
    assert_eq!((&summary["chunks"], &summary["chunks_done"], &summary["status"]), (&9.into(), &9.into(), &"published".into()));
    assert_whole(&lake, &of_one_run(&lines), "--jobs 4");
    let again = lake.etl(&[&BACKFILL[..], &["--jobs", "4"]].concat()).summary();
    assert_eq!((&again["chunks_done_before"], &again["status"]), (&9.into(), &"unchanged".into()));
}

#[test]
fn shards_side_by_side_end_in_the_bytes_of_one_run() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::behind_proxy(server.bucket());
    let lines = days(1, 9);
    lake.work.write("orders.ndjson", lines.join("\n"));
    let shards: Vec<_> =
        ["0/3", "1/3", "2/3"].map(|shard| lake.start(&[&BACKFILL[..], &["--shard", shard, "--lock-wait", "60s"]].concat())).into();
    for shard in shards {
        let ended = finished(shard);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert_eq!(ended.summary()["chunks_done"], 3);
    }
    assert_whole(&lake, &of_one_run(&lines), "three shards");
    assert_eq!(lake.etl(&BACKFILL).summary()["chunks_done_before"], 9);
}

#[test]
fn a_run_that_comes_between_the_look_and_the_lease_of_a_change_does_not_overtake_it() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::behind_proxy(server.bucket());
    let run_id = lake.load(&days(1, 2), &strs(&window(1, 2))).published()["run_id"].as_str().unwrap().to_owned();
    // The undo has read the layer, and asks for its days.
    lake.bucket.proxy().add(Rule::new(Fault::Hold).method("PUT").key("/state/latest.json").nth(0));
    let undo = lake.start(&["undo", &run_id]);
    lake.bucket.proxy().wait_for_held(1);
    lake.load(&days(3, 4), &strs(&window(3, 4))).published();
    lake.bucket.proxy().release();
    let undone = finished(undo);
    assert_eq!(undone.code, 0, "{}{}", undone.stdout, undone.stderr);
    let with_rows = lake.files("curated").into_iter().filter(|(name, content)| has_rows(name, content)).map(|(name, _)| name);
    assert_eq!(with_rows.collect::<Vec<_>>(), ["3", "4"].map(|day| format!("curated/dt=2026-01-0{day}/part-00000.csv")));
    assert_eq!((lake.commits().len(), lake.etl(&["check"]).code), (3, 0));
    lake.assert_projected("undone");
}

#[test]
fn windows_with_days_in_common_are_exit_6_without_lock_wait_and_succeed_with_it() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::behind_proxy(server.bucket());
    let lines = days(1, 6);
    lake.work.write("orders.ndjson", lines.join("\n"));
    lake.bucket.proxy().add(Rule::new(Fault::Hold).method("PUT").key("/state/commits/").nth(0));
    let first = lake.start(&strs(&run_over(1, 3)));
    lake.bucket.proxy().wait_for_held(1);
    let overlapping: Vec<_> = ["run", "--orders", "orders.ndjson"].map(str::to_owned).into_iter().chain(window(3, 5)).collect();
    let refused = lake.etl(&strs(&overlapping));
    refused.expect(6, "locked");
    let pid = first.id().to_string();
    assert!(refused.stderr.contains(&format!("process {pid} on")) && refused.stderr.contains("--lock-wait"), "{}", refused.stderr);
    // An open end, and a window on updated_at, may touch all days.
    for args in [
        &["run", "--orders", "orders.ndjson"][..],
        &["run", "--orders", "orders.ndjson", "--cursor", "updated_at", "--since", "2026-02-01", "--until", "2026-02-03"],
    ] {
        lake.etl(args).expect(6, "locked");
    }
    // Readers do not wait.
    assert_eq!((lake.etl(&["runs"]).code, lake.etl(&["status"]).code), (0, 0));
    let began = Instant::now();
    lake.etl(&strs(&[&overlapping[..], &["--lock-wait".into(), "300ms".into()]].concat())).expect(6, "locked");
    assert!(began.elapsed() >= Duration::from_millis(300));
    let waiting = lake.start(&strs(&run_over(3, 6)));
    thread::sleep(Duration::from_millis(500));
    lake.bucket.proxy().release();
    finished(first).published();
    finished(waiting).published();
    assert_whole(&lake, &of_one_run(&lines), "one after the other");
}

#[test]
fn the_lease_of_a_process_that_died_here_holds_nothing() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::behind_proxy(server.bucket());
    lake.work.write("orders.ndjson", days(1, 2).join("\n"));
    lake.bucket.proxy().add(Rule::new(Fault::Hold).method("PUT").key("/state/commits/").nth(0));
    let mut first = lake.start(&strs(&run_over(1, 2)));
    lake.bucket.proxy().wait_for_held(1);
    first.kill().unwrap();
    first.wait().unwrap();
    lake.age_scratch();
    let began = Instant::now();
    lake.load(&days(1, 2), &[]).published();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_whole(&lake, &of_one_run(&days(1, 2)), "after the death of the first");
    assert_eq!(lake.scratch(), [""; 0], "scratch stays");
}

/// The lease of a run of another machine, which was renewed so many hours ago.
fn lease_elsewhere(run_id: &str, hours: i64) -> Value {
    let renewed_at = UtcMicros::now().minus(hours * UtcMicros::DAY / 24).rfc3339();
    json!({
        "run_id": run_id, "pid": 7, "host": "pod-1", "since": "2026-01-01T00:00:00Z", "from": "2026-01-01", "until": "2026-01-03",
        "process": "elsewhere:7:1", "renewed": 9, "renewed_at": renewed_at,
    })
}

#[test]
fn the_lease_of_a_run_that_died_elsewhere_hours_ago_holds_nothing_and_is_told_of() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::new(server.bucket());
    lake.work.write("orders.ndjson", days(1, 2).join("\n"));
    let run: Vec<_> = ["run", "--orders", "orders.ndjson"].map(str::to_owned).into_iter().chain(window(1, 2)).collect();
    lake.etl(&strs(&run)).published();
    let hint = || -> Value { serde_json::from_slice(&lake.get("state/latest.json").unwrap()).unwrap() };
    let list = |lease: Value| {
        let mut hint = hint();
        hint["notes"]["leases"] = json!([lease]);
        lake.bucket.put(&lake.key("state/latest.json"), hint.to_string().into_bytes());
    };
    list(lease_elsewhere("young", 3));
    lake.etl(&strs(&run)).expect(6, "locked");
    list(lease_elsewhere("run-of-yesterday", 5));
    let ended = lake.etl(&strs(&run));
    ended.unchanged();
    let told = ["it is withdrawn", "run-of-yesterday", "pod-1", "2026-01-01T00:00:00Z"];
    assert!(told.iter().all(|told| ended.stderr.contains(told)), "{}", ended.stderr);
    assert_eq!(hint()["notes"]["leases"], Value::Null, "{}", hint());
    // Where nobody knows when it was renewed, the first command that finds that notes the time, and it counts from
    // then.
    for renewed_at in [Value::Null, json!("2199-01-01T00:00:00Z")] {
        let mut unknown = lease_elsewhere("run-without-a-time", 5);
        unknown["renewed_at"] = renewed_at;
        list(unknown.clone());
        lake.etl(&strs(&run)).expect(6, "locked");
        let noted = hint()["notes"]["leases"][0]["doubted_at"].clone();
        assert!(noted.as_str().is_some_and(|noted| noted > "2026"), "{}", hint());
        unknown["doubted_at"] = lease_elsewhere("", 5)["renewed_at"].clone();
        list(unknown);
        lake.etl(&strs(&run)).unchanged();
        assert_eq!(hint()["notes"]["leases"], Value::Null, "{}", hint());
    }
    // A lease of other days, which nobody waits for, goes too.
    list(lease_elsewhere("run-of-yesterday", 5));
    let later: Vec<_> = ["run", "--orders", "orders.ndjson"].map(str::to_owned).into_iter().chain(window(8, 9)).collect();
    assert_eq!(lake.etl(&strs(&later)).code, 0);
    assert_eq!(hint()["notes"]["leases"], Value::Null, "{}", hint());
}

#[test]
fn the_status_says_of_a_lease_that_nobody_renews_that_nobody_is_at_work() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::new(server.bucket());
    lake.load(&days(1, 2), &[]).published();
    let mut hint: Value = serde_json::from_slice(&lake.get("state/latest.json").unwrap()).unwrap();
    hint["notes"]["leases"] = json!([lease_elsewhere("run-that-died", 1)]);
    lake.bucket.put(&lake.key("state/latest.json"), hint.to_string().into_bytes());
    let status = lake.etl(&["status", "--json"]).summary();
    let held = &status["held_by"];
    assert_eq!((&held["run_id"], &held["stuck"], &status["healthy"]), (&json!("run-that-died"), &json!(false), &json!(true)), "{status}");
    assert!(held["silent_seconds"].as_u64().is_some_and(|silent| (3600..3700).contains(&silent)), "{status}");
    let text = lake.etl(&["status", "--format", "text"]).stdout;
    assert!(text.contains("nobody at work: run run-that-died (process 7 on pod-1)"), "{text}");
}

/// Checks a layer again and again while runs publish other rows of the same days. What they publish is never a violation.
#[track_caller]
fn assert_no_false_alarm(load: impl Fn(&[String]) -> Ended + Sync, check: impl Fn() -> Ended, most: i32) {
    let lines = |number: usize| (1..=4).map(|day| line(&format!("R{day}"), day, number, number)).collect::<Vec<_>>();
    load(&lines(1)).published();
    let codes = thread::scope(|scope| {
        let writer = scope.spawn(|| (2..=25).for_each(|number| drop(load(&lines(number)).published())));
        let mut codes = Vec::new();
        while !writer.is_finished() {
            let ended = check();
            assert!(ended.code == 0 || ended.code == most, "{}: {}\n{}", ended.code, ended.stdout, ended.stderr);
            assert!(ended.code == 0 || ended.stderr.contains("changed during each"), "{}", ended.stderr);
            codes.push(ended.code);
        }
        codes
    });
    println!("{codes:?}");
    assert_eq!(check().code, 0);
}

#[test]
fn a_check_beside_writers_of_a_bucket_is_no_false_alarm_and_comes_to_an_end() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::behind_proxy(server.bucket());
    // The files of a commit never change: the check needs no moment without a publish.
    assert_no_false_alarm(|lines| lake.load(lines, &[]), || lake.etl(&["check"]), 0);
}

#[test]
fn a_check_beside_writers_of_a_folder_is_no_false_alarm() {
    let work = Workspace::new();
    assert_no_false_alarm(|lines| work.load(lines, &["--log-format", "text"]), || work.etl(&["check", "--log-format", "text"]), 6);
}

/// What is stored before a run that is killed, and what that run brings: changes, a move that empties a partition, new days.
fn before() -> Vec<String> {
    vec![line("A", 1, 1, 1), line("B", 2, 1, 1), line("C", 3, 1, 1)]
}

fn hurt() -> Vec<String> {
    vec![line("A", 1, 2, 5), line("B", 4, 2, 1), line("D", 5, 1, 1), line("E", 3, 1, 1)]
}

const HURT: [&str; 3] = ["run", "--orders", "hurt.ndjson"];

/// The layer before a run that is killed, and after it.
struct Scene {
    template: Objects,
    before: Objects,
    after: Objects,
    lake: Lake,
}

impl Scene {
    fn new(bucket: Bucket) -> Scene {
        let lake = Lake::new(bucket);
        lake.load(&before(), &[]).published();
        let folder = Workspace::new();
        folder.load(&before(), &[]).published();
        let before = folder.layer();
        folder.load(&hurt(), &[]).published();
        Scene { template: lake.files(""), before, after: folder.layer(), lake }
    }

    /// A copy of the layer before, in a bucket of its own.
    fn fresh(&self, bucket: Bucket) -> Lake {
        let lake = Lake::behind_proxy(bucket);
        self.lake.copy_objects(&self.template, &lake);
        lake.work.write("hurt.ndjson", hurt().join("\n"));
        lake
    }

    fn facts(layer: &Objects) -> Objects {
        layer.iter().filter(|(place, _)| place.starts_with("curated/")).map(|(place, content)| (place.clone(), content.clone())).collect()
    }

    /// After a kill, one more command: all or nothing by manifest, and the projection is complete. Tells whether all.
    #[track_caller]
    fn assert_recovers(&self, lake: &Lake, point: &str) -> bool {
        // Even before the next command, a manifest names whole objects of one commit.
        let by_manifest = lake.by_manifest();
        let [before, after] = [&self.before, &self.after].map(Scene::facts);
        assert!(by_manifest == before || by_manifest == after, "{point}: a mix by manifest: {:?}", by_manifest.keys());
        lake.age_scratch();
        let next = lake.etl(&["runs"]);
        assert_eq!(next.code, 0, "{point}: {}", next.stderr);
        let all = lake.commits().len() == 2;
        assert_same(&lake.layer(), if all { &self.after } else { &self.before }, point);
        lake.assert_projected(point);
        let again = lake.etl(&HURT);
        assert_eq!(again.code, 0, "{point}: {}", again.stderr);
        assert_eq!(again.summary()["status"], if all { "unchanged" } else { "published" }, "{point}");
        assert_same(&lake.layer(), &self.after, &format!("{point}, and run again"));
        lake.assert_projected(point);
        assert_eq!(lake.scratch(), [""; 0], "{point}: scratch stays");
        all
    }
}

/// How often a run is killed at a random instant. `ETL_KILLS` for a longer test.
fn kills() -> usize {
    std::env::var("ETL_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(15)
}

#[test]
fn killed_at_random_instants_it_is_all_or_nothing() {
    let Some(server) = S3Server::moto() else { return };
    let scene = Scene::new(server.bucket());
    let lake = scene.fresh(server.bucket());
    let began = Instant::now();
    lake.etl(&HURT).published();
    let whole = began.elapsed();
    let (mut none, mut all, mut random) = (0, 0, Random::new());
    for round in 0..kills() {
        let lake = scene.fresh(server.bucket());
        let mut child = lake.start(&HURT);
        // Publishing is the end of a run: most of the kills go there.
        let from = if round % 3 == 0 { 0.0 } else { 0.4 };
        let instant = whole.mul_f64(from + (1.1 - from) * random.share());
        thread::sleep(instant);
        child.kill().unwrap();
        child.wait().unwrap();
        if scene.assert_recovers(&lake, &format!("round {round}, killed after {instant:?}")) { all += 1 } else { none += 1 }
    }
    println!("{} kills at random instants of {whole:?}: {none} nothing, {all} all", kills());
}

/// The writes of the publish that a run may be killed at. `data/` comes before the decision, the commit is it.
#[test]
fn killed_at_each_write_of_its_publish_it_is_all_or_nothing() {
    let Some(server) = S3Server::moto() else { return };
    let scene = Scene::new(server.bucket());
    for (place, nth, is_all) in [
        ("/data/", 1, false),
        ("/state/commits/", 0, false),
        ("/curated/", 0, true),
        ("/curated/", 3, true),
        ("/dims/", 0, true),
        ("/manifests/latest", 0, true),
        // The first put of the hint takes the lease.
        ("/state/latest.json", 0, false),
        ("/state/latest.json", 1, true),
        ("/reports/", 0, true),
    ] {
        let lake = scene.fresh(server.bucket());
        lake.bucket.proxy().add(Rule::new(Fault::Hold).method("PUT").key(place).nth(nth));
        let mut child = lake.start(&HURT);
        lake.bucket.proxy().wait_for_held(1);
        child.kill().unwrap();
        child.wait().unwrap();
        lake.bucket.proxy().clear();
        let point = format!("killed before write {nth} of {place}");
        assert_eq!(scene.assert_recovers(&lake, &point), is_all, "{point}");
        let held = lake.bucket.requests().into_iter().find(|request| request.fault == Some(Fault::Hold)).unwrap();
        assert_eq!(held.status, None, "{point}: the store saw the write");
    }
}

/// Reads what the manifest of the whole layer names, and tells which generation that is. All rows must be of one.
fn generation(lake: &Lake) -> Option<usize> {
    let manifest = lake.get("manifests/latest")?;
    let mut generations = BTreeSet::new();
    for (place, bytes) in entries(&manifest, &lake.url()) {
        let content = lake.get(&place).unwrap_or_else(|| panic!("manifests/latest names {place}, which is missing"));
        assert_eq!(content.len() as u64, bytes, "{place}");
        let text = String::from_utf8(content).unwrap();
        let quantity = text.lines().next().unwrap().split(',').position(|column| column == "quantity").unwrap();
        generations.extend(text.lines().skip(1).map(|line| line.split(',').nth(quantity).unwrap().parse::<usize>().unwrap()));
    }
    assert_eq!(generations.len(), 1, "a mix: {generations:?}: {}", String::from_utf8_lossy(&manifest));
    generations.first().copied()
}

#[test]
fn a_reader_of_the_manifest_never_sees_a_mix_or_a_missing_object() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::behind_proxy(server.bucket());
    const PUBLISHES: usize = 20;
    let is_done = AtomicBool::new(false);
    let (polls, seen) = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut polls, mut seen) = (0, Vec::new());
            while !is_done.load(Ordering::SeqCst) {
                if let Some(generation) = generation(&lake) {
                    assert!(seen.last().is_none_or(|last| *last <= generation), "{generation} after {seen:?}");
                    seen.push(generation);
                    polls += 1;
                }
                thread::sleep(Duration::from_millis(10));
            }
            seen.dedup();
            (polls, seen)
        });
        for number in 1..=PUBLISHES {
            // Each publish changes every row, and the last orders move back and forth between two days.
            let mut lines: Vec<_> = (1..=4).map(|day| line(&format!("R{day}"), day, number, number)).collect();
            lines.push(line("M", 5 + number % 2, number, number));
            lake.load(&lines, &[]).published();
        }
        is_done.store(true, Ordering::SeqCst);
        reader.join().unwrap()
    });
    println!("{polls} polls saw {} of {PUBLISHES} generations", seen.len());
    assert!(polls > PUBLISHES && seen.len() > PUBLISHES / 2, "{polls} polls saw {seen:?}");
    assert_eq!(generation(&lake), Some(PUBLISHES));
}

/// A writer that sleeps: it is held at a write while others commit, and then goes on.
struct Sleeper {
    lake: Lake,
    child: Child,
}

impl Sleeper {
    /// Loads `stored`, then starts a run over `lines`, which is held at its `nth` PUT of a place, counted from 0.
    fn held(bucket: Bucket, stored: &[String], lines: &[String], days: [usize; 2], (place, nth): (&'static str, usize)) -> Sleeper {
        let lake = Lake::behind_proxy(bucket);
        lake.load(stored, &[]).published();
        lake.work.write("sleeper.ndjson", lines.join("\n"));
        lake.bucket.proxy().add(Rule::new(Fault::Hold).method("PUT").key(place).nth(nth));
        let args =
            ["run".to_owned(), "--orders".into(), "sleeper.ndjson".into()].into_iter().chain(window(days[0], days[1])).collect::<Vec<_>>();
        let child = lake.start(&strs(&args));
        lake.bucket.proxy().wait_for_held(1);
        Sleeper { lake, child }
    }

    /// Another run commits meanwhile.
    fn meanwhile(&self, lines: &[String], days: [usize; 2]) -> Value {
        self.lake.work.write("other.ndjson", lines.join("\n"));
        let args =
            ["run".to_owned(), "--orders".into(), "other.ndjson".into()].into_iter().chain(window(days[0], days[1])).collect::<Vec<_>>();
        self.lake.etl(&strs(&args)).published()
    }

    /// It goes on, and must be published.
    fn wakes(self) -> Lake {
        self.lake.bucket.proxy().release();
        finished(self.child).published();
        self.lake
    }
}

/// Every write at which a writer may sleep: the lease, the decision, the installation after it, and the end of the lease.
const SLEEPS_AT: [(&str, usize); 7] = [
    ("/state/latest.json", 0),
    ("/state/commits/", 0),
    ("/curated/", 0),
    ("/dims/dim_user/", 0),
    ("/manifests/latest", 0),
    ("/state/latest.json", 1),
    ("/reports/", 0),
];

#[test]
fn a_writer_that_sleeps_while_another_commits_other_days_loses_nothing() {
    let Some(server) = S3Server::moto() else { return };
    let (own, others) = ([line("A", 1, 2, 7), line("F", 1, 1, 1)], [line("C", 3, 2, 8), line("G", 4, 1, 1)]);
    let expected = of_one_run(&[&before()[..], &own, &others].concat());
    for place in SLEEPS_AT {
        let sleeper = Sleeper::held(server.bucket(), &before(), &own, [1, 2], place);
        sleeper.meanwhile(&others, [3, 4]);
        let lake = sleeper.wakes();
        assert_whole(&lake, &expected, &format!("it slept at {place:?}"));
    }
}

#[test]
fn a_writer_that_sleeps_while_another_commits_the_same_day_loses_nothing() {
    let Some(server) = S3Server::moto() else { return };
    let own = [line("A", 1, 2, 7), line("F", 1, 1, 1), line("K", 2, 1, 1)];
    // A newer version of one order, an older one of another, and one more.
    let others = [line("A", 1, 3, 9), line("F", 1, 1, 1).replace("2026-02-01", "2026-01-31"), line("H", 1, 1, 4)];
    let expected = of_one_run(&[&before()[..], &others, &own].concat());
    for place in SLEEPS_AT {
        let sleeper = Sleeper::held(server.bucket(), &before(), &own, [1, 2], place);
        // Its lease ends, as that of a machine that sleeps does.
        sleeper.lake.end_leases();
        sleeper.meanwhile(&others, [1, 1]);
        let lake = sleeper.wakes();
        assert_whole(&lake, &expected, &format!("it slept at {place:?}"));
    }
}

#[test]
fn a_reader_that_sleeps_while_it_finishes_a_publish_puts_nothing_old() {
    let Some(server) = S3Server::moto() else { return };
    let own = [line("A", 1, 2, 7), line("B", 4, 2, 1)];
    let others = [line("A", 1, 3, 9), line("B", 5, 3, 2), line("G", 4, 1, 1)];
    let expected = of_one_run(&[&before()[..], &own, &others].concat());
    for place in ["/curated/", "/manifests/latest", "/state/latest.json"] {
        // A run is killed after its decision. A command finishes its publish, and is held there; another run commits the same days.
        // Files are put at once: a run that is killed at one of them may have put all others.
        let killed_at = if place == "/manifests/latest" { place } else { "/curated/" };
        let mut sleeper = Sleeper::held(server.bucket(), &before(), &own, [1, 4], (killed_at, 0));
        sleeper.child.kill().unwrap();
        sleeper.child.wait().unwrap();
        let lake = &sleeper.lake;
        lake.bucket.proxy().clear();
        lake.bucket.proxy().add(Rule::new(Fault::Hold).method("PUT").key(place).nth(0));
        let reader = lake.start(&["runs"]);
        lake.bucket.proxy().wait_for_held(1);
        sleeper.meanwhile(&others, [1, 5]);
        lake.bucket.proxy().release();
        assert_eq!(finished(reader).code, 0);
        assert_whole(lake, &expected, &format!("the reader slept at {place}"));
    }
}

#[test]
fn what_a_sleeper_puts_after_an_undo_is_put_right_by_the_next_command() {
    let Some(server) = S3Server::moto() else { return };
    let sleeper = Sleeper::held(server.bucket(), &before(), &[line("A", 1, 2, 7)], [1, 1], ("/curated/", 0));
    let lake = &sleeper.lake;
    let run_id = lake.committed_runs().pop().unwrap();
    lake.end_leases();
    let undone = lake.etl(&["undo", &run_id]);
    assert_eq!(undone.code, 0, "{}", undone.stderr);
    let expected = lake.files("curated");
    // The bytes of before are back, and with them their tag. It wakes, puts its file, and can do nothing more.
    let proxy = lake.bucket.proxy();
    proxy.clear();
    proxy.add(Rule::refuse_puts("/curated/"));
    proxy.release();
    // Its commit counted, and the end of its lease is the last that it does: it warns.
    let ended = finished(sleeper.child);
    assert!(matches!(ended.code, 0 | 5), "{}", ended.stderr);
    assert!(ended.stderr.contains("look at its files again") || ended.code == 5, "{}", ended.stderr);
    assert!(lake.files("curated") != expected, "its file is not stale: this test tests nothing");
    proxy.clear();
    assert_eq!(lake.etl(&["runs"]).code, 0);
    assert_same(&lake.files("curated"), &expected, "after the next command");
    assert_whole(lake, &of_one_run(&before()), "after an undo");
}

#[test]
fn an_order_that_two_writers_bring_on_different_days_stands_once() {
    let Some(server) = S3Server::moto() else { return };
    for place in ["/state/commits/", "/curated/"] {
        // The other run moves A out of a day that the sleeper changes, and brings a newer version of the sleeper's own N.
        let own = [line("P", 1, 1, 1), line("N", 2, 1, 1)];
        let sleeper = Sleeper::held(server.bucket(), &before(), &own, [1, 2], (place, 0));
        let others = [line("A", 4, 2, 3), line("N", 5, 3, 6)];
        sleeper.meanwhile(&others, [4, 5]);
        let lake = sleeper.wakes();
        assert_whole(&lake, &of_one_run(&[&before()[..], &own, &others].concat()), &format!("the newer one first, at {place}"));

        // The same, and the sleeper has the newer version.
        let own = [line("A", 1, 2, 3), line("N", 2, 3, 6)];
        let sleeper = Sleeper::held(server.bucket(), &before(), &own, [1, 2], (place, 0));
        let others = [line("C", 4, 2, 3), line("N", 5, 1, 1)];
        sleeper.meanwhile(&others, [4, 5]);
        let lake = sleeper.wakes();
        assert_whole(&lake, &of_one_run(&[&before()[..], &own, &others].concat()), &format!("the older one first, at {place}"));
    }
}

#[test]
fn a_commit_whose_answer_is_lost_beside_another_writer_is_there_once() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::behind_proxy(server.bucket());
    lake.load(&before(), &[]).published();
    let lines = days(6, 13);
    lake.work.write("orders.ndjson", lines.join("\n"));
    lake.bucket.proxy().add(Rule::new(Fault::ResetAfter).method("PUT").key("/state/commits/").share(0.5));
    lake.bucket.proxy().add(Rule::new(Fault::ErrorAfter).method("PUT").key("/curated/").share(0.3));
    let writers: Vec<_> = (0..4).map(|writer| lake.start(&strs(&run_over(6 + writer * 2, 7 + writer * 2)))).collect();
    writers.into_iter().for_each(|writer| drop(finished(writer).published()));
    assert!(lake.bucket.proxy().faults() > 0);
    lake.bucket.proxy().clear();
    assert_whole(&lake, &of_one_run(&[before(), lines].concat()), "answers lost");
    assert_eq!(lake.committed_runs().len(), 5);
}
