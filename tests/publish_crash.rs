//! "All of a run, or none of it": the real binary is killed before every call by which its main thread changes the disk, and
//! refused each of them, by `strace`; and it is killed at random instants. The next command then finds all or nothing.
//!
//! `strace` injects into the binary as it is shipped, so that no code for tests stands in it. Where there is no `strace`, or
//! it may not trace, these tests say so and are skipped, except in CI.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::support::{self, Ended, Workspace, order};

/// The calls that change the disk. `openat` is among them for the files that it creates.
const CHANGING: [&str; 10] = ["openat", "write", "pwrite64", "rename", "linkat", "fsync", "mkdir", "unlink", "unlinkat", "rmdir"];

type Layer = BTreeMap<String, Vec<u8>>;

fn line(order_id: &str, day: u8, updated: u8, quantity: u8) -> String {
    format!(
        r#"{{"order_id":"{order_id}","created_at":"2026-01-0{day}","updated_at":"2026-02-0{updated}","user_id":"U-{order_id}","items":[{{"sku":"S","quantity":{quantity},"price":1.5}},{{"sku":"T","price":2}}]}}"#
    )
}

/// What is stored before, and what the run that is hurt brings: it changes a partition, adds one, moves an order out of one
/// and so removes that, and drops a record.
fn before() -> Vec<String> {
    vec![line("A", 1, 1, 1), line("B", 2, 1, 1), line("C", 3, 1, 1)]
}

fn hurt() -> Vec<String> {
    vec![line("A", 1, 2, 5), line("B", 4, 2, 1), line("D", 5, 1, 1), r#"{"no":"order"}"#.into()]
}

struct Scene {
    template: Workspace,
    before: Layer,
    after: Layer,
}

const RUN: [&str; 5] = ["run", "--orders", "hurt.ndjson", "--log-format", "text"];

fn scene() -> Scene {
    let template = Workspace::new();
    template.load(&before(), &[]).published();
    template.write("hurt.ndjson", hurt().join("\n"));
    let done = Workspace::new();
    copy(&template, &done);
    let summary = done.etl(&RUN).published();
    // The order B leaves its partition, which is gone then.
    assert_eq!((&summary["rows_moved"], &summary["partitions_removed"][0]), (&2.into(), &"2026-01-02".into()));
    Scene { before: template.layer(), after: done.layer(), template }
}

/// A copy with all times as they are: a partition of another time would be read anew.
fn copy(from: &Workspace, to: &Workspace) {
    let copied = Command::new("cp").arg("-a").arg(from.path(".")).arg(to.path(".")).status().unwrap();
    assert!(copied.success());
}

impl Scene {
    fn fresh(&self) -> Workspace {
        let work = Workspace::new();
        copy(&self.template, &work);
        work
    }

    /// Every file that a reader sees is whole: one of the layer before, or of the layer after.
    fn assert_whole(&self, work: &Workspace, point: &str) {
        for (name, content) in work.layer() {
            let known = [&self.before, &self.after].iter().any(|layer| layer.get(&name) == Some(&content));
            assert!(known, "{point}: {name} is neither as before nor as after");
        }
    }

    /// All of the run or nothing of it; tells whether all.
    fn assert_all_or_nothing(&self, work: &Workspace, point: &str) -> bool {
        let layer = work.layer();
        assert!(layer == self.before || layer == self.after, "{point}: a mix: {:?}", layer.keys());
        layer == self.after
    }

    /// The next command finishes or undoes, and the one after that does the whole job.
    fn assert_recovers(&self, work: &Workspace, point: &str) -> bool {
        let next = work.etl(&["runs"]);
        assert_eq!(next.code, 0, "{point}: {}", next.stderr);
        let all = self.assert_all_or_nothing(work, point);
        assert!(work.files("state/staging").is_empty() && !work.path("output/state/journal.json").exists(), "{point}: a leftover");
        assert!(!work.files("").keys().any(|name| name.ends_with(".tmp")), "{point}: a leftover");
        let again = work.etl(&RUN);
        assert_eq!(again.code, 0, "{point}: {}", again.stderr);
        assert_eq!(again.summary()["status"], if all { "unchanged" } else { "published" }, "{point}");
        assert!(!again.stderr.contains("rebuilt"), "{point}: {}", again.stderr);
        assert_eq!(work.layer(), self.after, "{point}");
        all
    }
}

/// The binary under `strace`, which traces and hurts its main thread alone.
fn traced(work: &Workspace, options: &[&str]) -> Ended {
    let plain = work.command(&RUN);
    let mut command = Command::new("strace");
    command.args(["-qq", "-o", "trace.txt"]).args(options).arg(plain.get_program()).args(plain.get_args());
    command.current_dir(work.path(".")).env_clear().env("PATH", std::env::var_os("PATH").unwrap()).stdin(Stdio::null());
    support::ended(command.output().unwrap())
}

fn can_trace() -> bool {
    let traces = Command::new("strace").args(["-qq", "-e", "trace=none", "true"]).output().is_ok_and(|output| output.status.success());
    if !traces {
        assert!(std::env::var_os("CI").is_none(), "strace is needed here");
        eprintln!("skipped: no strace here, or it may not trace");
    }
    traces
}

/// Every call of the main thread that may change the disk, as its name and how many of that name came before, from the first
/// that concerns the output.
fn points(scene: &Scene) -> Vec<(&'static str, usize, String)> {
    let work = scene.fresh();
    traced(&work, &["-y", "-e", &format!("trace={}", CHANGING.join(","))]).published();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut points = Vec::new();
    for call in work.read("trace.txt").lines() {
        let Some(name) = CHANGING.into_iter().find(|name| call.starts_with(&format!("{name}("))) else { continue };
        let number = seen.entry(name).or_default();
        *number += 1;
        let creates = name != "openat" || call.contains("O_CREAT");
        if call.contains("output") && creates {
            points.push((name, *number, call.to_owned()));
        }
    }
    points
}

#[test]
fn killed_before_every_call_that_changes_the_disk_it_is_all_or_nothing() {
    if !can_trace() {
        return;
    }
    let scene = scene();
    let points = points(&scene);
    let (mut undone, mut finished, mut passed) = (0, 0, 0);
    for (name, number, call) in &points {
        let work = scene.fresh();
        let ended = traced(&work, &["-e", &format!("trace={name}"), "-e", &format!("inject={name}:signal=SIGKILL:when={number}")]);
        let point = format!("killed before {name} no. {number}: {call}");
        if ended.code == 0 {
            // A file or two less was opened than in the run that was listed: the last of them did not come.
            passed += 1;
            assert!(*name == "openat" && passed <= 3 && work.layer() == scene.after, "{point}: it was not killed");
            continue;
        }
        scene.assert_whole(&work, &point);
        let all = scene.assert_recovers(&work, &point);
        if all {
            finished += 1
        } else {
            undone += 1
        }
        println!("{} {point}", if all { "finished" } else { "undone  " });
    }
    println!("{} points: {undone} undone, {finished} finished, {passed} not reached", points.len());
    // The decision is one rename: on both sides of it there are points, and every kind of call was hurt.
    assert!(undone > 20 && finished > 20, "{undone} undone, {finished} finished");
    for name in ["openat", "write", "rename", "linkat", "fsync", "mkdir", "unlink", "unlinkat", "rmdir"] {
        assert!(points.iter().any(|(call, ..)| *call == name), "no {name} was hurt");
    }
}

#[test]
fn refused_any_call_that_changes_the_disk_it_is_as_before_or_all_new() {
    if !can_trace() {
        return;
    }
    let scene = scene();
    let (mut refused, mut all) = (0, 0);
    for (name, number, call) in points(&scene) {
        let error = match name {
            "rename" | "linkat" | "unlink" | "unlinkat" | "rmdir" => "EACCES",
            "fsync" => "EIO",
            _ => "ENOSPC",
        };
        let work = scene.fresh();
        let ended = traced(&work, &["-e", &format!("trace={name}"), "-e", &format!("inject={name}:error={error}:when={number}")]);
        let point = format!("{error} at {name} no. {number}: {call}");
        // Some refusals cost nothing: a second name that can't be made, a leftover that stays until the next run.
        assert!([0, 5].contains(&ended.code), "{point}: exit {}: {}", ended.code, ended.stderr);
        let new = scene.assert_all_or_nothing(&work, &point);
        assert_eq!(new, ended.code == 0, "{point}: {}", ended.stderr);
        if ended.code == 5 {
            assert_eq!(ended.summary()["status"], "storage_failed", "{point}");
            assert!(ended.stderr.contains("output") || ended.stderr.contains("etl-scratch-"), "{point}: names no path: {}", ended.stderr);
            refused += 1;
        } else {
            all += 1;
        }
        scene.assert_recovers(&work, &point);
    }
    println!("{refused} refusals ended with exit 5 and the layer as before, {all} cost nothing");
    assert!(refused > 20, "{refused}");
}

/// How often the binary is killed at random instants. `ETL_TEST_KILLS` for a longer run.
fn kills() -> u64 {
    std::env::var("ETL_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(120)
}

#[test]
fn killed_at_random_instants_it_is_all_or_nothing() {
    let scene = scene();
    let started = Instant::now();
    scene.fresh().etl(&RUN).published();
    let whole = started.elapsed();
    let (mut undone, mut finished, mut seed) = (0, 0, 0x9e37_79b9_7f4a_7c15_u64);
    for round in 0..kills() {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let work = scene.fresh();
        let mut child = work.start(&RUN);
        // Most of a run's end is publishing: half of the kills go there.
        let share = if round % 2 == 0 { 0.0 } else { 0.6 };
        let instant = whole.mul_f64(share + (1.05 - share) * f64::from(u32::try_from(seed % 10_000).unwrap()) / 10_000.0);
        std::thread::sleep(instant);
        child.kill().unwrap();
        child.wait().unwrap();
        let point = format!("round {round}, after {instant:?}");
        scene.assert_whole(&work, &point);
        if scene.assert_recovers(&work, &point) { finished += 1 } else { undone += 1 }
    }
    println!("{} kills at random instants of {whole:?}: {undone} undone, {finished} finished or done before", kills());
    assert!(undone > 0);
}

#[test]
fn runs_with_windows_of_their_own_on_one_output_are_all_there_in_the_end() {
    for runs in [2, 8] {
        let work = Workspace::new();
        let lines: Vec<_> =
            (1..=8).flat_map(|day| (0..3).map(move |n| order(&format!("O{day}-{n}"), &format!("2026-01-0{day}"), ""))).collect();
        work.write("orders.ndjson", lines.join("\n"));
        let days = 8 / runs;
        let children: Vec<_> = (0..runs)
            .map(|run| {
                let (since, until) = (format!("2026-01-{:02}", run * days + 1), format!("2026-01-{:02}", (run + 1) * days + 1));
                work.start(&["run", "--orders", "orders.ndjson", "--since", &since, "--until", &until, "--lock-wait", "60s"])
            })
            .collect();
        for child in children {
            let ended = support::ended(child.wait_with_output().unwrap());
            ended.published();
        }
        let whole = Workspace::new();
        whole.load(&lines, &[]).published();
        assert_eq!(work.layer(), whole.layer(), "{runs} runs");
    }
}

/// A small disk, which is gone again with this.
struct SmallDisk<'w> {
    work: &'w Workspace,
}

impl<'w> SmallDisk<'w> {
    fn mount(work: &'w Workspace, options: &str) -> Option<SmallDisk<'w>> {
        fs::create_dir(work.path("small")).unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(work.path("small")).output();
        if mount.is_ok_and(|mount| mount.status.success()) {
            return Some(SmallDisk { work });
        }
        eprintln!("skipped: this user may not mount a tmpfs");
        None
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.work.path("small")).status();
    }
}

#[test]
fn a_disk_without_space_or_inodes_is_exit_5_and_the_layer_as_before() {
    let many: Vec<_> = (0..4000).map(|n| order(&format!("O{n}"), &format!("2026-{:02}-{:02}", n % 12 + 1, n % 28 + 1), "")).collect();
    for options in ["size=400k", "size=64m,nr_inodes=90"] {
        let work = Workspace::new();
        let Some(_disk) = SmallDisk::mount(&work, options) else { return };
        let run = |lines: &[String]| work.load(lines, &["--output", "small/output", "--log-format", "text"]);
        run(&[order("A", "2026-01-01", "")]).published();
        let read = |place: &str| fs::read(work.path("small/output").join(place)).unwrap();
        let place = "curated/dt=2026-01-01/part-00000.csv";
        let before = read(place);
        let ended = run(&many);
        ended.expect(5, "storage_failed");
        assert!(ended.stderr.contains("small/output/") && ended.stderr.contains("no space or no inodes"), "{options}: {}", ended.stderr);
        assert_eq!(read(place), before);
        let days: Vec<_> = Path::new(&work.path("small/output/curated")).read_dir().unwrap().collect();
        assert_eq!(days.len(), 1, "{options}: a partition that is empty stayed");
        // With space again, it goes on as if nothing had been.
        assert!(Command::new("mount").args(["-o", "remount,size=64m,nr_inodes=10000"]).arg(work.path("small")).status().unwrap().success());
        run(&many).published();
        assert_eq!(work.etl(&["check", "--output", "small/output"]).code, 0);
    }
}

#[test]
fn what_is_cut_off_is_finished_by_a_reader_too_and_the_state_can_be_deleted_or_made_anew() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-01", r#","updated_at":"2026-01-01""#), order("B", "2026-01-02", "")], &[]).published();
    for way in ["delete", "damage", "rebuild"] {
        let index: Vec<_> = work.files("state/index").into_keys().collect();
        assert!(!index.is_empty());
        match way {
            "delete" => fs::remove_dir_all(work.path("output/state")).unwrap(),
            "damage" => {
                for name in &index {
                    let mut bytes = fs::read(work.path("output").join(name)).unwrap();
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 0xff;
                    fs::write(work.path("output").join(name), bytes).unwrap();
                }
            }
            _ => {
                let layer = work.layer();
                let ended = work.etl(&["check", "--rebuild-state"]);
                let result: serde_json::Value = serde_json::from_str(ended.stdout.lines().last().unwrap()).unwrap();
                assert_eq!((ended.code, &result["rebuilt_partitions"]), (0, &2.into()), "{}", ended.stderr);
                assert_eq!(work.layer(), layer);
                assert_ne!(work.files("state/index").into_keys().collect::<Vec<_>>(), index);
            }
        }
        // The order is still known to stand elsewhere: it moves, and is not doubled.
        let (day, hour) = match way {
            "delete" => ("2026-01-03", 1),
            "damage" => ("2026-01-04", 2),
            _ => ("2026-01-05", 3),
        };
        let moved = order("A", day, &format!(r#","updated_at":"2026-03-01T0{hour}:00:00Z""#));
        assert_eq!(work.load(&[moved], &[]).published()["rows_moved"], 1, "{way}");
        assert_eq!(work.query("SELECT dt FROM fact_order WHERE order_id = 'A'"), [day], "{way}");
        assert_eq!(work.etl(&["check"]).code, 0);
    }
}

#[test]
fn a_check_that_runs_long_ends_within_two_seconds_of_a_signal() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    work.write("checks/long.sql", "SELECT a.range FROM range(10000000) a, range(10000000) b WHERE a.range + b.range < 0");
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let child = work.start(&["run", "--orders", "orders.ndjson"]);
        std::thread::sleep(Duration::from_millis(800));
        let started = Instant::now();
        assert!(Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap().success());
        let ended = support::ended(child.wait_with_output().unwrap());
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        ended.expect(code, "interrupted");
        assert!(work.layer().is_empty() && work.files("state/staging").is_empty());
    }
}
