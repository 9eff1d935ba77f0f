//! What a hostile or broken source may not do: each bound has a default, a setting, and an error that names it.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::{collections::BTreeSet, io::Write};

use support::{Asked, Server, Workspace, json, order};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[track_caller]
fn refused(work: &Workspace, args: &[&str], limits: &str, message: &str) {
    work.write("etl.toml", format!("[http]\nbackoff_first = \"1ms\"\n[limits]\n{limits}\n"));
    let ended = work.etl(&[&["run", "--log-format", "text"], args].concat());
    ended.expect(3, "extract_failed");
    assert!(ended.stderr.contains(message), "{}", ended.stderr);
    assert!(work.layer().is_empty() && work.files("state/staging").is_empty());
}

#[test]
fn a_record_that_never_ends_is_not_read_to_its_end() {
    let work = Workspace::new();
    let good = order("A", "2026-01-01", "");
    let long = format!(r#"{{"order_id":"{}"}}"#, "x".repeat(9 << 20));
    let limit = "record_bytes = 1000000";
    work.write("o.ndjson", format!("{good}\n{long}\n"));
    refused(&work, &["--orders", "o.ndjson"], limit, "o.ndjson, line 2: a record of more than 1000000 bytes (limits.record_bytes)");
    work.write("o.json", format!("[{good},{long}]"));
    refused(&work, &["--orders", "o.json"], limit, "a record of more than 1000000 bytes (limits.record_bytes)");
    work.write("u.ndjson", &long);
    work.write("good.ndjson", &good);
    refused(&work, &["--orders", "good.ndjson", "--users", "u.ndjson"], limit, "(limits.record_bytes)");
    let server = Server::start(move |_: &Asked| json(format!("[{long}]")));
    refused(&work, &["--orders", &server.orders()], limit, "(page 1), record 1: a record of more than 1000000 bytes");
    // By default it is long, and no order.
    work.write("etl.toml", "");
    assert_eq!(work.etl(&["run", "--orders", "o.ndjson"]).published()["dropped"]["missing_created_at"], 1);
}

#[test]
fn a_record_may_nest_only_so_deep() {
    let work = Workspace::new();
    let nested = |depth: usize| order("A", "2026-01-01", &format!(r#","note":{}{}"#, "[".repeat(depth), "]".repeat(depth)));
    work.write("o.ndjson", nested(127));
    work.etl(&["run", "--orders", "o.ndjson", "--output", "elsewhere"]).published();
    work.write("o.ndjson", nested(128));
    refused(&work, &["--orders", "o.ndjson"], "", "o.ndjson, line 1: more than 128 objects and arrays within each other (limits.depth)");
    work.write("o.ndjson", nested(1_000_000));
    refused(&work, &["--orders", "o.ndjson"], "depth = 5000", "more than 5000 objects");
    let server = Server::start(move |_: &Asked| json(format!("[{}]", nested(200))));
    refused(&work, &["--orders", &server.orders()], "", "(page 1), record 1: more than 128 objects");
}

#[test]
fn a_compressed_file_may_expand_only_so_far() {
    // Half a gigabyte of blank lines: half a megabyte of gzip.
    let bomb = gzip(&vec![b'\n'; 512 << 20]);
    assert!(bomb.len() < 1 << 20);
    let work = Workspace::new();
    for (name, message) in [
        ("o.ndjson.gz", "it expands to more than a compressed file of its size may (limits.expansion)"),
        // In an array the first record that does not come is what is seen first.
        ("o.json.gz", "a record of more than 67108864 bytes (limits.record_bytes)"),
    ] {
        work.write(name, &bomb);
        refused(&work, &["--orders", name], "", message);
    }
    work.write("etl.toml", "[limits]\nexpansion = 2000\n");
    work.etl(&["run", "--orders", "o.ndjson.gz"]).unchanged();
    // Over HTTP the body's own limit counts what is decompressed.
    let server = Server::start(move |_: &Asked| (200, vec![("content-encoding", "gzip".into())], bomb.clone()));
    refused(&work, &["--orders", &server.orders()], "", "larger than 268435456 bytes (http.max_body)");
}

#[test]
fn redirects_are_followed_only_so_far() {
    let server = Server::start(|_: &Asked| (302, vec![("location", "/orders".into())], Vec::new()));
    let work = Workspace::new();
    work.write("etl.toml", "[http]\nmax_redirects = 2\n");
    let ended = work.etl(&["run", "--orders", &server.orders(), "--log-format", "text"]);
    ended.expect(3, "extract_failed");
    assert!(ended.stderr.contains("more than 2 redirects (http.max_redirects)"), "{}", ended.stderr);
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn nothing_that_the_source_names_becomes_a_path() {
    let work = Workspace::new();
    let evil = ["../../evil", "/etc/evil", "dt=2026-01-01/../../../evil", "evil\\u0000.csv", "a/b", "..", "x\\n,y"];
    let mut lines: Vec<_> = evil
        .iter()
        .map(|name| {
            format!(
                r#"{{"order_id":"{name}","created_at":"2026-01-01","user_id":"{name}","status":"{name}","currency":"{name}","items":[{{"sku":"{name}"}},7]}}"#
            )
        })
        .collect();
    lines.push(r#"{"order_id":"B","created_at":"../../../../evil","items":[]}"#.into());
    work.load(&lines, &[]).published();
    let names: BTreeSet<_> = work.files("").into_keys().filter(|name| !name.starts_with("state/")).collect();
    let run_id = names.iter().find_map(|name| name.strip_prefix("reports/")?.strip_suffix(".json")).unwrap().to_owned();
    let expected = [
        "curated/dt=2026-01-01/part-00000.csv".to_owned(),
        "dims/dim_product/dim_product.csv".into(),
        "dims/dim_user/dim_user.csv".into(),
        format!("manifests/{run_id}.manifest"),
        format!("quarantine/run_id={run_id}/records.ndjson"),
        format!("reports/{run_id}.json"),
    ];
    assert_eq!(names, expected.into());
    let outside: BTreeSet<_> = work.path(".").read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(outside, ["orders.ndjson", "output"].map(str::to_owned).into());
    assert_eq!(work.query("SELECT count(*) FROM fact_order"), ["7"]);
}
