//! Exit codes 5, 6, 130 and 143: what happens where the output is held, damaged, refused, or the run is told to stop.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use crate::support::{self, Asked, Server, Workspace, json, order};

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
