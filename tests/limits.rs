//! The limits for hostile or broken sources: each limit has a default, a setting, and an error that names the setting.

use std::{collections::BTreeSet, io::Write};

use crate::support::{Asked, Server, Workspace, json, order};

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

/// A run in which one of three records exceeds a limit. It is dropped, and the others are loaded.
#[track_caller]
fn dropped(work: &Workspace, args: &[&str], limits: &str, reason: &str) {
    work.write("etl.toml", format!("[http]\nbackoff_first = \"1ms\"\n[limits]\n{limits}\n"));
    let _ = std::fs::remove_dir_all(work.path("output"));
    let summary = work.etl(&[&["run"], args].concat()).published();
    assert_eq!((&summary["dropped"][reason], &summary["records_read"]), (&1.into(), &3.into()), "{args:?} {summary}");
    assert_eq!(work.query("SELECT order_id FROM fact_order ORDER BY ALL"), ["A", "B"], "{args:?}");
    // Too deep for most JSON parsers, so the test reads it as text.
    let kept = String::from_utf8(work.files("quarantine").into_values().next().unwrap()).unwrap();
    let length = kept.len() - kept.find("\"record\":").unwrap();
    assert!(kept.lines().count() == 1 && kept.contains(reason) && (100..=65 << 10).contains(&length), "{args:?} {length}");
}

#[test]
fn a_record_that_is_too_large_is_dropped_and_its_beginning_kept() {
    let work = Workspace::new();
    let (first, last) = (order("A", "2026-01-01", ""), order("B", "2026-01-01", ""));
    // Larger than a block of the reader, and larger than the limit.
    let long = format!(r#"{{"order_id":"{}"}}"#, "x".repeat(9 << 20));
    let limit = "record_bytes = 1000000";
    work.write("o.ndjson", format!("{first}\n{long}\n{last}\n"));
    dropped(&work, &["--orders", "o.ndjson"], limit, "record_too_large");
    work.write("o.json", format!("[{first},{long},{last}]"));
    dropped(&work, &["--orders", "o.json"], limit, "record_too_large");
    let deep = format!("{{\"user_id\":\"U2\",\"note\":{}{}}}", "[".repeat(200), "]".repeat(200));
    work.write("u.ndjson", format!("{long}\n{{\"user_id\":\"U1\"}}\n{deep}"));
    let loaded = work.etl(&["run", "--orders", "o.json", "--users", "u.ndjson"]);
    assert_eq!(loaded.summary()["dimensions"]["dim_user"]["records_dropped"], 2, "{}", loaded.stderr);
    let body = format!("[{first},{long},{last}]");
    let server = Server::start(move |asked: &Asked| if asked.before == 0 { json(body.clone()) } else { json("[]") });
    dropped(&work, &["--orders", &server.orders()], limit, "record_too_large");
    // By default the record is not too large, but its id is.
    work.write("etl.toml", "");
    assert_eq!(work.etl(&["run", "--orders", "o.ndjson"]).summary()["dropped"]["missing_order_id"], 1);
}

#[test]
fn the_depth_of_a_record_is_limited() {
    let work = Workspace::new();
    let nested = |id: &str, depth: usize| order(id, "2026-01-01", &format!(r#","note":{}{}"#, "[".repeat(depth), "]".repeat(depth)));
    for (depth, limit) in [(128, ""), (1_000_000, "depth = 5000")] {
        let records = [nested("A", 127), nested("C", depth), order("B", "2026-01-01", "")];
        work.write("o.ndjson", records.join("\n"));
        dropped(&work, &["--orders", "o.ndjson"], limit, "record_too_deep");
        let body = format!("[{}]", records.join(","));
        work.write("o.json", &body);
        dropped(&work, &["--orders", "o.json"], limit, "record_too_deep");
        let server = Server::start(move |asked: &Asked| if asked.before == 0 { json(body.clone()) } else { json("[]") });
        dropped(&work, &["--orders", &server.orders()], limit, "record_too_deep");
    }
}

#[test]
fn the_expansion_of_a_compressed_file_is_limited() {
    // Half a gigabyte of blank lines: half a megabyte of gzip.
    let bomb = gzip(&vec![b'\n'; 512 << 20]);
    assert!(bomb.len() < 1 << 20);
    let work = Workspace::new();
    for name in ["o.ndjson.gz", "o.json.gz"] {
        work.write(name, &bomb);
        refused(&work, &["--orders", name], "", "it expands to more than a compressed file of its size may (limits.expansion)");
    }
    work.write("etl.toml", "[limits]\nexpansion = 2000\n");
    work.etl(&["run", "--orders", "o.ndjson.gz"]).unchanged();
    // Over HTTP the limit of the body applies to the decompressed bytes.
    let server = Server::start(move |_: &Asked| (200, vec![("content-encoding", "gzip".into())], bomb.clone()));
    refused(&work, &["--orders", &server.orders()], "", "larger than 268435456 bytes (http.max_body)");
}

#[test]
fn the_number_of_redirects_is_limited() {
    let server = Server::start(|_: &Asked| (302, vec![("location", "/orders".into())], Vec::new()));
    let work = Workspace::new();
    work.write("etl.toml", "[http]\nmax_redirects = 2\n");
    let ended = work.etl(&["run", "--orders", &server.orders(), "--log-format", "text"]);
    ended.expect(3, "extract_failed");
    assert!(ended.stderr.contains("more than 2 redirects (http.max_redirects)"), "{}", ended.stderr);
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn no_value_of_the_source_becomes_a_path() {
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
        format!("data/dim_product/{run_id}.csv"),
        format!("data/dim_user/{run_id}.csv"),
        format!("data/dt=2026-01-01/{run_id}.csv"),
        "manifests/latest".into(),
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
