//! Exit codes 5, 6, 130 and 143: what happens where the output is held, damaged, refused, or the run is told to stop.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{self, Asked, Reply, Server, Workspace, json, order};

/// A source whose list never ends, slowly: a run of it is at work until it is stopped.
fn endless() -> Server {
    Server::start(|asked: &Asked| {
        thread::sleep(Duration::from_millis(20));
        json(format!("[{}]", order(&format!("E{}", asked.before), "2026-01-01", "")))
    })
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_second_run_is_told_who_holds_the_output_and_readers_do_not_wait() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-01", "")], &[]).published();
    let server = endless();
    let mut first = work.start(&["run", "--orders", &server.orders()]);
    wait_until("the first run fetches", || server.asked().len() > 2);
    let ended = work.load(&[order("B", "2026-01-01", "")], &["--log-format", "text"]);
    ended.expect(6, "locked");
    let pid = first.id().to_string();
    assert!(ended.stderr.contains(&format!("process {pid} on")) && ended.stderr.contains("--lock-wait"), "{}", ended.stderr);
    assert_eq!((work.etl(&["check"]).code, work.etl(&["runs"]).code), (0, 0));
    let started = Instant::now();
    work.load(&[order("B", "2026-01-01", "")], &["--lock-wait", "300ms"]).expect(6, "locked");
    assert!(started.elapsed() >= Duration::from_millis(300));
    // The kernel lets go of the lock of a process that dies, however it dies.
    first.kill().unwrap();
    first.wait().unwrap();
    let ended = work.load(&[order("B", "2026-01-01", "")], &["--lock-wait", "10s", "--log-format", "text"]);
    ended.published();
    assert!(ended.stderr.contains("nothing of it was published"), "{}", ended.stderr);
    assert_eq!(work.query("SELECT order_id FROM fact_order ORDER BY 1"), ["A", "B"]);
    assert!(work.files("state/staging").is_empty());
}

#[test]
fn before_the_first_commit_a_check_names_the_run_that_is_at_work() {
    let work = Workspace::new();
    let server = endless();
    let mut first = work.start(&["run", "--orders", &server.orders()]);
    wait_until("the first run fetches", || server.asked().len() > 2);
    let checked = work.etl(&["check", "--log-format", "text"]);
    let process = format!("(process {} on", first.id());
    assert!(checked.code == 2 && checked.stderr.contains("holds no layer yet"), "{}", checked.stderr);
    assert!(checked.stderr.contains(&process) && checked.stderr.contains("is at work there"), "{}", checked.stderr);
    let vacuumed = work.etl(&["vacuum", "--log-format", "text"]);
    assert!(vacuumed.code == 6 && vacuumed.stderr.contains(&process), "{}", vacuumed.stderr);
    first.kill().unwrap();
    first.wait().unwrap();
    let checked = work.etl(&["check", "--log-format", "text"]);
    assert!(checked.code == 2 && checked.stderr.contains("holds no layer: no partition"), "{}", checked.stderr);
}

#[test]
fn a_replay_says_at_once_that_it_comes_later_and_after_its_wait_that_it_was_overtaken() {
    let work = Workspace::new();
    let run_id = work.load(&[order("A", "2026-01-01", ""), "{}".into()], &[]).published()["run_id"].as_str().unwrap().to_owned();
    let server = endless();
    let busy = work.start(&["run", "--orders", &server.orders()]);
    wait_until("the run fetches", || server.asked().len() > 2);
    let replay = ["quarantine", "replay", run_id.as_str(), "--lock-wait", "60s"];
    let waiting = [work.start(&replay), work.start(&replay)];
    // Both look for replays before they wait.
    thread::sleep(Duration::from_secs(1));
    signal(&busy, "INT");
    assert_eq!(support::ended(busy.wait_with_output().unwrap()).code, 130);
    let replays = waiting.map(|child| support::ended(child.wait_with_output().unwrap()));
    replays.iter().for_each(|ended| assert_eq!(ended.code, 0, "{}", ended.stderr));
    let overtaken = replays.iter().filter(|ended| ended.stderr.contains("while this replay waited, run ")).count();
    assert_eq!(overtaken, 1, "{}\n{}", replays[0].stderr, replays[1].stderr);
    assert!(!replays.iter().any(|ended| ended.stderr.contains("was replayed before")), "{}", replays[0].stderr);
    let asked = server.asked().len();
    let mut busy = work.start(&["run", "--orders", &server.orders()]);
    wait_until("the run fetches again", || server.asked().len() > asked + 2);
    let ended = work.etl(&replay[..3]);
    ended.expect(6, "locked");
    assert!(ended.stderr.contains("was replayed before, the last time by run "), "{}", ended.stderr);
    busy.kill().unwrap();
    busy.wait().unwrap();
}

#[test]
fn runs_that_are_started_at_once_are_all_there_in_the_end() {
    let work = Workspace::new();
    let children: Vec<_> = (0..6)
        .map(|number| {
            work.write(
                &format!("o{number}.ndjson"),
                [order(&format!("O{number}"), &format!("2026-01-0{}", number % 3 + 1), ""), order("ALL", "2026-01-01", "")].join("\n"),
            );
            work.start(&["run", "--orders", &format!("o{number}.ndjson"), "--lock-wait", "60s"])
        })
        .collect();
    for child in children {
        let ended = support::ended(child.wait_with_output().unwrap());
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }
    assert_eq!(work.query("SELECT count(*), count(DISTINCT order_id) FROM fact_order"), ["7|7"]);
    assert_eq!(work.etl(&["check"]).code, 0);
}

#[test]
fn a_signal_stops_a_run_within_two_seconds_and_undoes_what_it_staged() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let work = Workspace::new();
        work.load(&[order("A", "2026-01-01", "")], &[]).published();
        let (layer, times) = (work.layer(), work.times());
        let server = endless();
        let child = work.start(&["run", "--orders", &server.orders()]);
        wait_until("the run fetches", || server.asked().len() > 5);
        let started = Instant::now();
        signal(&child, name);
        let ended = support::ended(child.wait_with_output().unwrap());
        ended.expect(code, "interrupted");
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        assert_eq!((work.layer(), work.times()), (layer, times));
        assert!(work.files("state/staging").is_empty() && work.files("quarantine").is_empty());
    }
}

#[test]
fn a_signal_ends_the_wait_between_attempts_and_for_the_lock() {
    let work = Workspace::new();
    let busy = Server::start(|_: &Asked| (429, vec![("retry-after", "60".into())], Vec::new()));
    let child = work.start(&["run", "--orders", &busy.orders()]);
    wait_until("the run has asked", || !busy.asked().is_empty());
    let waiting = work.start(&["run", "--orders", &busy.orders(), "--lock-wait", "1h"]);
    thread::sleep(Duration::from_millis(200));
    let started = Instant::now();
    signal(&waiting, "TERM");
    assert_eq!(support::ended(waiting.wait_with_output().unwrap()).code, 143);
    signal(&child, "INT");
    assert_eq!(support::ended(child.wait_with_output().unwrap()).code, 130);
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_damaged_partition_stops_the_run_and_is_not_overwritten() {
    for damage in ["cut", "column", "binary", "empty"] {
        let work = Workspace::new();
        work.load(&[order("A", "2026-01-01", ""), order("B", "2026-01-02", "")], &[]).published();
        let place = "output/curated/dt=2026-01-01/part-00000.csv";
        let whole = work.read(place);
        let damaged = match damage {
            "cut" => whole.as_bytes()[..whole.len() - 9].to_vec(),
            "column" => whole.replace("1.5000", "1.5").into_bytes(),
            "binary" => [whole.as_bytes(), b"\x00\xff\xfe\n"].concat(),
            _ => Vec::new(),
        };
        work.write(place, &damaged);
        let ended = work.load(&[order("C", "2026-01-01", "")], &["--log-format", "text"]);
        ended.expect(5, "storage_failed");
        assert!(
            ended.stderr.contains("dt=2026-01-01/part-00000.csv, line ") && ended.stderr.contains("Restore the file"),
            "{damage}: {}",
            ended.stderr
        );
        assert_eq!(fs::read(work.path(place)).unwrap(), damaged);
    }
}

#[test]
fn a_partition_that_somebody_edited_validly_is_taken_as_it_is() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-01", ""), order("B", "2026-01-02", "")], &[]).published();
    // An order put there by hand is found when it moves; a deleted folder is no row any more.
    let place = "output/curated/dt=2026-01-01/part-00000.csv";
    work.write(place, work.read(place).replace("A,S,", "H,S,"));
    fs::remove_dir_all(work.path("output/curated/dt=2026-01-02")).unwrap();
    let ended = work.load(&[order("H", "2026-01-03", ""), order("B", "2026-01-04", "")], &["--log-format", "text"]);
    let summary = ended.published();
    assert!(ended.stderr.contains("not as it was published"), "{}", ended.stderr);
    assert_eq!((summary["rows_moved"].as_u64(), summary["rows_inserted"].as_u64()), (Some(1), Some(1)));
    assert_eq!(work.query("SELECT dt, order_id FROM fact_order ORDER BY 1"), ["2026-01-03|H", "2026-01-04|B"]);
}

#[test]
fn what_the_disk_refuses_is_named_and_nothing_changes() {
    let work = Workspace::new();
    let ended = work.load(&[order("A", "2026-01-01", "")], &["--output", "/proc/none", "--log-format", "text"]);
    ended.expect(5, "storage_failed");
    assert!(ended.stderr.contains("/proc/none"), "{}", ended.stderr);
    work.load(&[order("A", "2026-01-01", "")], &[]).published();
    let layer = work.layer();
    // A folder where the partition's file should be, and a file where its folder should be.
    fs::create_dir_all(work.path("output/curated/dt=2026-01-05/part-00000.csv")).unwrap();
    let ended = work.load(&[order("B", "2026-01-05", "")], &["--log-format", "text"]);
    ended.expect(5, "storage_failed");
    assert!(ended.stderr.contains("dt=2026-01-05"), "{}", ended.stderr);
    fs::remove_dir_all(work.path("output/curated/dt=2026-01-05")).unwrap();
    assert_eq!(work.layer(), layer);
}

/// The binary under a limit of the shell, such as `-n 60`. A file that would be too large is refused; no signal comes.
fn limited(work: &Workspace, limit: &str, args: &[&str]) -> Command {
    let plain = work.command(args);
    let mut shell = Command::new("bash");
    shell
        .args(["-c", r#"trap '' XFSZ; ulimit $0 && exec "$@""#, limit])
        .arg(plain.get_program())
        .args(plain.get_args())
        .current_dir(work.path("."))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null());
    shell
}

/// A page of records that are all dropped: more than a quarantine of 256 KiB takes.
fn page_of_drops() -> Reply {
    let record = format!(r#"{{"order_id":"A","created_at":"soon","note":"{}"}}"#, "n".repeat(900));
    let (status, mut headers, body) = json(format!("[{}]", vec![record; 2_000].join(",")));
    headers.push(("link", "<?cursor=next>; rel=\"next\"".into()));
    (status, headers, body)
}

#[test]
fn a_disk_that_refuses_ends_a_run_at_once_however_long_its_source_takes() {
    let slow = || -> Reply {
        thread::sleep(Duration::from_secs(30));
        json("[]")
    };
    let busy = || -> Reply { (429, vec![("retry-after", "30".to_owned())], Vec::new()) };
    let answers: [fn() -> Reply; 2] = [slow, busy];
    for answer in answers {
        let work = Workspace::new();
        let server = Server::start(move |asked: &Asked| if asked.before == 0 { page_of_drops() } else { answer() });
        let (started, orders) = (Instant::now(), server.orders());
        let run = ["run", "--orders", orders.as_str(), "--log-format", "text"];
        let ended = support::ended(limited(&work, "-f 256", &run).output().unwrap());
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        ended.expect(5, "storage_failed");
        // The disk is the cause, and not the stop of the source.
        assert!(ended.stderr.contains("records.ndjson: ") && !ended.stderr.contains("interrupted"), "{}", ended.stderr);
        assert!(work.files("state/staging").is_empty() && work.files("state/leases").is_empty());
    }
}

#[test]
fn a_dimension_that_cannot_be_read_ends_a_run_at_once_however_long_the_source_takes() {
    let work = Workspace::new();
    work.write("users.ndjson", r#"{"user_id":"U1","country":"DE"}"#);
    work.load(&[order("A", "2026-01-01", "")], &["--users", "users.ndjson"]).published();
    work.write("output/dims/dim_user/dim_user.csv", "nonsense\n");
    let server = Server::start(|_: &Asked| {
        thread::sleep(Duration::from_secs(30));
        json("[]")
    });
    let started = Instant::now();
    let users = format!("{}/users", server.url);
    let ended = work.etl(&["run", "--orders", "orders.ndjson", "--users", &users, "--log-format", "text"]);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    ended.expect(5, "storage_failed");
    assert!(ended.stderr.contains("dim_user.csv, line 1") && !ended.stderr.contains("interrupted"), "{}", ended.stderr);
}

#[test]
fn a_run_of_many_spills_has_few_files_open_at_once() {
    let work = Workspace::new();
    // With 64 MiB, a sixth of it is held before it is spilled: about 50 spills of 52 times the same 200 orders.
    let note = "n".repeat(60_000);
    let orders: Vec<String> = (0..200)
        .map(|number| order(&format!("O{number}"), &format!("2026-01-{:02}", number % 28 + 1), &format!(r#","status":"{note}""#)))
        .collect();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(orders.join("\n").as_bytes()).unwrap();
    encoder.write_all(b"\n").unwrap();
    work.write("orders.ndjson.gz", encoder.finish().unwrap().repeat(52));
    work.write("etl.toml", "memory_limit = \"64MiB\"\nthreads = 2\n[limits]\nexpansion = 1000000\n");
    // A process without spills has a dozen files open.
    let ended = support::ended(limited(&work, "-n 60", &["run", "--orders", "orders.ndjson.gz"]).output().unwrap());
    let summary = ended.published();
    assert_eq!((&summary["records_read"], &summary["rows_inserted"]), (&10_400.into(), &200.into()));
    let sums = "SELECT count(*), count(DISTINCT order_id), sum(length(status)) FROM fact_order";
    assert_eq!(work.query(sums), ["200|200|12000000"]);
    // All versions are there, in the order of the source.
    let explained = work.etl(&["explain", "O7", "--format", "json"]);
    let answer: serde_json::Value = serde_json::from_str(explained.stdout.trim()).unwrap();
    let numbers: Vec<u64> =
        answer["versions"].as_array().unwrap().iter().map(|version| version["source"]["number"].as_u64().unwrap()).collect();
    assert!(numbers.iter().copied().eq((0..52).map(|time| time * 200 + 8)), "{numbers:?}");
}

#[test]
fn a_partition_that_cannot_be_looked_at_is_an_error_and_not_a_removed_one() {
    let work = Workspace::new();
    work.write("etl.toml", "[redshift]\nurl = \"s3://bucket/output\"\n");
    work.load(&[order("A", "2026-01-01", ""), order("B", "2026-01-02", "")], &[]).published();
    let merged = work.etl(&["redshift", "merge"]);
    assert!(merged.code == 0 && merged.stdout.contains("COPY \"etl_stage_fact_order\""), "{}", merged.stdout);
    // A link to itself can't be followed, whoever the user is.
    let place = work.path("output/curated/dt=2026-01-01/part-00000.csv");
    fs::remove_file(&place).unwrap();
    std::os::unix::fs::symlink("part-00000.csv", &place).unwrap();
    for command in [["redshift", "merge"].as_slice(), &["redshift", "copy"], &["check"]] {
        let ended = work.etl(&[command, &["--log-format", "text"]].concat());
        assert!(ended.code == 5 && ended.stderr.contains("dt=2026-01-01/part-00000.csv"), "{command:?} {}", ended.stderr);
        // Neither a load without the day, nor a delete of its rows.
        assert!(!ended.stdout.contains("COPY"), "{command:?} {}", ended.stdout);
    }
}

#[test]
fn a_folder_without_permission_is_exit_5() {
    // Whoever runs the tests as root may write anywhere: then another user runs the binary, where there is one.
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-01", "")], &[]).published();
    let locked = work.path("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
    fs::set_permissions(work.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let plain = work.command(&["run", "--orders", "orders.ndjson", "--output", "locked/output", "--log-format", "text"]);
    let output = if is_root {
        let mut other = Command::new("setpriv");
        // A copy, since the folder of the build may be closed to others.
        fs::copy(plain.get_program(), work.path("etl")).unwrap();
        other
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(work.path("etl"))
            .args(plain.get_args())
            .current_dir(work.path("."))
            .env_clear();
        match other.output() {
            Ok(output) => output,
            Err(error) => {
                eprintln!("skipped: run as root, and without setpriv: {error}");
                return;
            }
        }
    } else {
        let mut plain = plain;
        plain.output().unwrap()
    };
    let ended = support::ended(output);
    ended.expect(5, "storage_failed");
    assert!(ended.stderr.contains("locked/output") && ended.stderr.contains("may this user write there?"), "{}", ended.stderr);
}
