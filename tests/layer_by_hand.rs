//! What somebody does to the files of a layer by hand: modes, groups, removed partitions, copied rows. And what a run refuses to
//! lose: versions of members, old runs under a wrong clock.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
};

use crate::support::{Workspace, order};

fn is_root(work: &Workspace) -> bool {
    fs::metadata(work.path("")).unwrap().uid() == 0
}

fn mode(work: &Workspace, name: &str) -> u32 {
    fs::metadata(work.path(name)).unwrap().mode() & 0o7777
}

/// The first file beneath a folder of the output.
fn first_file(work: &Workspace, folder: &str) -> String {
    format!("output/{}", work.files(folder).keys().next().unwrap())
}

#[test]
fn a_file_that_is_replaced_keeps_its_mode_and_group() {
    let work = Workspace::new();
    work.write("users.json", r#"[{"user_id":"U1","name":"Ann"}]"#);
    let load = |rest: &str, users: &str| {
        work.write("users.json", users);
        work.load(&[order("A", "2026-01-01", rest)], &["--users", "users.json"]).published()
    };
    load("", r#"[{"user_id":"U1","name":"Ann"}]"#);
    let places = ["output/curated/dt=2026-01-01/part-00000.csv", "output/dims/dim_user/dim_user.csv", "output/state/latest.json"];
    let fresh: Vec<_> = places.iter().map(|place| mode(&work, place)).collect();
    assert!(fresh.iter().all(|mode| *mode == fresh[0]), "all new files follow the umask: {fresh:?}");
    for place in places {
        fs::set_permissions(work.path(place), Permissions::from_mode(0o640)).unwrap();
        if is_root(&work) {
            chown(work.path(place), Some(12), Some(34)).unwrap();
        }
    }
    load(r#","status":"paid""#, r#"[{"user_id":"U1","name":"Bea"}]"#);
    for place in places {
        let now = fs::metadata(work.path(place)).unwrap();
        assert_eq!(now.mode() & 0o7777, 0o640, "{place}");
        assert!(!is_root(&work) || (now.uid(), now.gid()) == (12, 34), "{place}: {}:{}", now.uid(), now.gid());
    }
    assert!(work.read(places[1]).contains("Bea"));
}

#[test]
fn a_new_partition_takes_the_group_of_a_folder_that_hands_it_on() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-01", "")], &[]).published();
    if !is_root(&work) {
        return;
    }
    let curated = work.path("output/curated");
    chown(&curated, None, Some(34)).unwrap();
    fs::set_permissions(&curated, Permissions::from_mode(0o2775)).unwrap();
    work.load(&[order("B", "2026-01-02", "")], &[]).published();
    assert_eq!(fs::metadata(work.path("output/curated/dt=2026-01-02/part-00000.csv")).unwrap().gid(), 34);
}

#[test]
fn quarantine_follows_the_umask_unless_its_mode_is_narrowed() {
    let work = Workspace::new();
    let drops = [order("A", "2026-01-01", ""), r#"{"order_id":"B"}"#.to_owned()];
    work.load(&drops, &[]).published();
    assert_eq!(mode(&work, &first_file(&work, "quarantine")), mode(&work, &first_file(&work, "reports")));
    let narrow = Workspace::new();
    narrow.write("etl.toml", "[quarantine]\nmode = \"0600\"\n");
    narrow.load(&drops, &[]).published();
    assert_eq!(mode(&narrow, &first_file(&narrow, "quarantine")), 0o600);
    assert_ne!(mode(&narrow, &first_file(&narrow, "reports")), 0o600, "nothing else is narrowed");
}

#[test]
fn old_versions_of_members_go_only_by_name() {
    let work = Workspace::new();
    work.write("etl.toml", "[dim_user]\nscd = 2\n");
    let load = |country: &str, args: &[&str]| {
        work.write("users.csv", format!("user_id,country\nU1,{country}\n"));
        work.load(&[order("A", "2026-01-01", "")], &[&["--users", "users.csv"], args].concat())
    };
    load("DE", &[]).published();
    load("FR", &[]).published();
    work.write("etl.toml", "");
    let layer = work.layer();
    let refused = load("FR", &["--log-format", "text"]);
    assert_eq!((refused.code, &refused.summary()["status"]), (2, &"invalid_configuration".into()), "{}", refused.stderr);
    assert!(refused.stderr.contains("dim_user") && refused.stderr.contains("--drop-history"), "{}", refused.stderr);
    assert_eq!(work.layer(), layer);
    let ended = load("FR", &["--drop-history", "--log-format", "text"]);
    ended.published();
    assert!(ended.stderr.contains("old versions"), "{}", ended.stderr);
    let file = work.read("output/dims/dim_user/dim_user.csv");
    assert!(file.lines().count() == 2 && !file.contains("valid_from"), "{file}");
    load("FR", &[]).unchanged();
}

#[test]
fn a_change_without_a_new_updated_at_makes_no_empty_version() {
    let work = Workspace::new();
    work.write("etl.toml", "scd = 2\n");
    for country in ["DE", "FR", "IT", "ES"] {
        work.write("users.csv", format!("user_id,country,updated_at\nU1,{country},2026-01-05T10:00:00Z\n"));
        work.load(&[order("A", "2026-01-01", "")], &["--users", "users.csv"]).published();
    }
    assert_eq!(work.query("SELECT country FROM dim_user ORDER BY valid_from NULLS FIRST"), ["DE", "FR", "IT", "ES"]);
    assert_eq!(work.query("SELECT count(*) FROM dim_user WHERE valid_to <= valid_from"), ["0"]);
    assert_eq!(work.query("SELECT count(*) FROM dim_user a JOIN dim_user b ON a.valid_to = b.valid_from"), ["3"]);
}

#[test]
fn a_removed_partition_is_missed_until_a_run_goes_on_without_it() {
    let work = Workspace::new();
    let lines = [order("A", "2026-01-01", ""), order("B", "2026-01-02", "")];
    work.load(&lines, &[]).published();
    fs::remove_dir_all(work.path("output/curated/dt=2026-01-01")).unwrap();
    let ended = work.etl(&["check", "--format", "json"]);
    let result = ended.summary();
    let check = result["checks"].as_array().unwrap().iter().find(|check| check["name"] == "fact_row_count_reconciles").unwrap();
    assert_eq!((ended.code, &check["sample"][0]["dt"], &check["sample"][0]["actual"]), (4, &"2026-01-01".into(), &"0".into()));
    let ended = work.load(&lines[1..], &["--log-format", "text"]);
    ended.unchanged();
    assert!(ended.stderr.contains("gone") && ended.stderr.contains("2026-01-01"), "{}", ended.stderr);
    assert_eq!(work.etl(&["check"]).code, 0, "the layer goes on without it");
    work.load(&lines, &[]).published();
    assert_eq!(work.query("SELECT order_id FROM fact_order ORDER BY 1"), ["A", "B"]);
}

#[test]
fn a_row_that_is_copied_to_another_partition_fails_the_run_that_touches_it() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-01", ""), order("B", "2026-01-02", "")], &[]).published();
    let row = work.read("output/curated/dt=2026-01-02/part-00000.csv").lines().nth(1).unwrap().replace("2026-01-02", "2026-01-01");
    let place = "output/curated/dt=2026-01-01/part-00000.csv";
    work.write(place, work.read(place) + &row + "\n");
    let summary = work.load(&[order("C", "2026-01-02", "")], &[]).expect(4, "checks_failed");
    let check = summary["checks"].as_array().unwrap().iter().find(|check| check["name"] == "fact_key_unique").unwrap();
    assert_eq!((&check["violations"], &check["sample"][0]["order_id"]), (&1.into(), &"B".into()));
}

#[test]
fn a_full_disk_under_stdout_is_exit_5_for_every_command() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-01", "")], &[]).published();
    for args in [&["status"][..], &["check"], &["runs"], &["quarantine"], &["sources"], &["sources", "show", "shopify"], &["explain", "A"]]
    {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = work.command(args).stdout(full).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(5) && stderr.contains("stdout"), "{args:?}: {:?} {stderr}", output.status.code());
    }
}
