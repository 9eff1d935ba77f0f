//! Orders, users and products from a bucket: the same rules, errors and rows as from local files.

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::Arc,
};

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;

use crate::support::{
    Ended, Workspace,
    buckets::{AzureServer, Bucket, S3Server},
    ended,
    fault_proxy::{Fault, Rule},
    order,
};

const FACTS: &str = "SELECT order_id, user_country, product_name FROM fact_order ORDER BY ALL";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn products() -> Vec<u8> {
    let column = |value: &str| Arc::new(StringArray::from(vec![value])) as ArrayRef;
    let batch = RecordBatch::try_from_iter([("sku", column("S")), ("name", column("Mug"))]).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

/// An order with a note, so that a few of them are many bytes.
fn large_order(number: usize) -> String {
    // Not compressible, and not equal: a part that is read twice or at the wrong place is seen.
    let note: String = (0..50_000_u64).map(|place| char::from(b'a' + (place.wrapping_mul(number as u64 + 7) % 23) as u8)).collect();
    order(&format!("O{number:03}"), "2026-01-01", &format!(r#","user_id":"U1","note":"{note}""#))
}

/// 20 MiB: three parts.
fn large_orders() -> String {
    (0..400).map(|number| large_order(number) + "\n").collect()
}

fn command(work: &Workspace, bucket: &Bucket, args: &[&str]) -> Command {
    let mut command = work.command(&[&["run", "--log-format", "text"], args].concat());
    command.envs(bucket.environment()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(work: &Workspace, bucket: &Bucket, args: &[&str]) -> Ended {
    ended(command(work, bucket, args).output().unwrap())
}

/// Runs over these orders, which must fail, and returns what the log says.
fn failure(bucket: &Bucket, orders: &str) -> String {
    let work = Workspace::new();
    let ended = run(&work, bucket, &["--orders", &bucket.url(orders)]);
    ended.expect(3, "extract_failed");
    assert!(work.files("curated").is_empty());
    ended.stderr
}

#[track_caller]
fn assert_names(stderr: &str, texts: &[&str]) {
    for text in texts {
        assert!(stderr.contains(text), "{text}: {stderr}");
    }
}

/// Puts the three sources, reads them, and compares with the same files on the disk.
fn all_formats_are_read_as_from_a_disk(bucket: &Bucket) {
    let ours = |id: &str| order(id, "2026-01-01", r#","user_id":"U1""#);
    let files = [
        ("export/2026-01.ndjson.gz", gzip([ours("A"), ours("B")].join("\n").as_bytes())),
        ("export/2026-02.ndjson.gz", gzip(format!("{}\n{{\"order_id\":7}}\n", ours("C")).as_bytes())),
        ("export/2025-12.ndjson.gz", gzip(ours("not asked for").as_bytes())),
        ("export/2026-old/x.ndjson.gz", gzip(ours("below").as_bytes())),
        ("members/users/part 1.csv", b"user_id,name,country\nU1,Anna,DE\n".to_vec()),
        ("members/users/_SUCCESS", Vec::new()),
        ("members/products.parquet", products()),
    ];
    let (work, local) = (Workspace::new(), Workspace::new());
    for (key, content) in &files {
        bucket.put(key, content.clone());
        local.write(key, content);
    }
    let urls = ["export/2026-*.ndjson.gz", "members/users/", "members/products.parquet"].map(|key| bucket.url(key));
    let summary = run(&work, bucket, &["--orders", &urls[0], "--users", &urls[1], "--products", &urls[2]]).published();
    let args = ["--orders", "export/2026-*.ndjson.gz", "--users", "members/users/", "--products", "members/products.parquet"];
    let expected = ended(local.command(&[&["run"][..], &args].concat()).output().unwrap()).published();

    assert_eq!(work.query(FACTS), ["A|DE|Mug", "B|DE|Mug", "C|DE|Mug"]);
    assert_eq!(work.files("curated"), local.files("curated"));
    for key in ["records_read", "dropped", "completeness", "dimensions"] {
        assert_eq!(summary[key], expected[key], "{key}");
    }
    assert_eq!(run(&work, bucket, &["--orders", &urls[0], "--users", &urls[1], "--products", &urls[2]]).unchanged()["records_read"], 4);
}

#[test]
fn all_formats_of_s3_are_read_as_from_a_disk() {
    let Some(server) = S3Server::moto() else { return };
    all_formats_are_read_as_from_a_disk(&server.bucket());
}

#[test]
fn all_formats_of_azure_are_read_as_from_a_disk() {
    let Some(server) = AzureServer::azurite() else { return };
    all_formats_are_read_as_from_a_disk(&server.bucket());
}

#[test]
fn a_source_costs_a_list_and_the_objects_that_it_names() {
    let Some(server) = S3Server::moto() else { return };
    let bucket = server.bucket().behind_proxy(1);
    bucket.put("in/a.ndjson", large_orders());
    bucket.put("in/b.ndjson", order("B", "2026-01-01", ""));
    bucket.put("other/c.ndjson", order("C", "2026-01-01", ""));
    let work = Workspace::new();
    assert_eq!(run(&work, &bucket, &["--orders", &bucket.url("in/*.ndjson")]).published()["records_read"], 401);
    let ids: Vec<_> = (0..400).map(|number| format!("O{number:03}")).collect();
    assert_eq!(work.query("SELECT order_id FROM fact_order ORDER BY ALL"), [&["B".to_owned()][..], &ids].concat());
    let mut asked: Vec<_> =
        bucket.requests().iter().map(|request| format!("{} {}", request.line(), request.header("range").unwrap_or("-"))).collect();
    asked.sort();
    assert_eq!(asked.iter().filter(|request| request.starts_with("LIST")).count(), 1, "{asked:?}");
    assert_eq!(asked.iter().filter(|request| request.starts_with("GET in/a.ndjson bytes=")).count(), 3, "{asked:?}");
    assert_eq!(asked.iter().filter(|request| request.starts_with("GET in/b.ndjson bytes=")).count(), 1, "{asked:?}");
    assert_eq!(asked.len(), 5, "{asked:?}");
}

#[test]
fn an_error_names_the_object_and_its_line() {
    let Some(server) = S3Server::moto() else { return };
    let bucket = server.bucket();
    let whole = gzip((0..200).map(large_order).collect::<Vec<_>>().join("\n").as_bytes());
    bucket.put("bad/cut.ndjson.gz", &whole[..whole.len() / 2]);
    bucket.put("bad/page.json", "<html>Sign in</html>");
    bucket.put("bad/array.json", format!("[{},\n{{]", order("A", "2026-01-01", "")));
    bucket.put("bad/notes.txt", "x");
    for (key, messages) in [
        ("bad/cut.ndjson.gz", &["can't be read"][..]),
        ("bad/page.json", &["a web page"]),
        ("bad/array.json", &["line 2: not valid JSON"]),
        ("bad/notes.txt", &["can't tell the format from the name"]),
        ("bad/none.ndjson", &["no such object"]),
        ("bad", &["no such object", "write a `/` at its end"]),
        ("bad/2026-*.ndjson", &["no files to read"]),
        ("none/", &["no files to read"]),
        ("bad/[", &["not a valid glob"]),
    ] {
        let stderr = failure(&bucket, key);
        assert_names(&stderr, messages);
        assert_names(&stderr, &[&bucket.url(key)]);
    }
    // Of a glob, the object is named and not the pattern.
    assert_names(&failure(&bucket, "bad/c*.ndjson.gz"), &[&bucket.url("bad/cut.ndjson.gz")]);

    let work = Workspace::new();
    bucket.put("users.csv", "user_id,name\nU1,\"Anna\nU2,Ben\n");
    work.write("o.ndjson", order("A", "2026-01-01", ""));
    let ended = run(&work, &bucket, &["--orders", "o.ndjson", "--users", &bucket.url("users.csv")]);
    ended.expect(3, "extract_failed");
    assert_names(&ended.stderr, &[&bucket.url("users.csv"), "line 2: the file ends within quotes"]);
}

#[test]
fn a_bucket_that_is_missing_or_refuses_is_an_error_with_the_words_of_the_server() {
    let Some(server) = S3Server::moto() else { return };
    let bucket = server.bucket().behind_proxy(1);
    bucket.put("in/a.ndjson", order("A", "2026-01-01", ""));
    bucket.proxy().add(Rule::new(Fault::Refused).method("GET").key("in/a.ndjson"));
    let stderr = failure(&bucket, "in/*");
    assert_names(&stderr, &["Access Denied", &bucket.url("in/a.ndjson")]);
    bucket.proxy().clear();
    bucket.proxy().add(Rule::new(Fault::Refused).method("GET").key("in/"));
    let stderr = failure(&bucket, "in/*");
    assert_names(&stderr, &["Access Denied", &bucket.url("in/*")]);
    bucket.proxy().clear();

    let work = Workspace::new();
    let ended = run(&work, &bucket, &["--orders", "s3://no-such-bucket/in/"]);
    ended.expect(3, "extract_failed");
    assert_names(&ended.stderr, &["s3://no-such-bucket/in/", "NoSuchBucket"]);
}

#[test]
fn an_object_that_is_replaced_between_list_and_read_is_an_error() {
    let Some(server) = S3Server::moto() else { return };
    // A replacement of the same size, too: the version counts.
    for replacement in ["B", "longer"] {
        let bucket = server.bucket().behind_proxy(1);
        bucket.put("in/a.ndjson", order("A", "2026-01-01", ""));
        bucket.proxy().add(Rule::new(Fault::Hold).method("GET").key("in/a.ndjson"));
        let work = Workspace::new();
        let child = command(&work, &bucket, &["--orders", &bucket.url("in/*")]).spawn().unwrap();
        bucket.proxy().wait_for_held(1);
        bucket.put("in/a.ndjson", order(replacement, "2026-01-01", ""));
        bucket.proxy().release();
        let ended = ended(child.wait_with_output().unwrap());
        ended.expect(3, "extract_failed");
        assert_names(&ended.stderr, &[&bucket.url("in/a.ndjson"), "it was replaced while the run read it"]);
        assert!(work.files("curated").is_empty());
    }
}

#[test]
fn faults_in_the_middle_of_an_object_are_repeated_and_lose_nothing() {
    let Some(server) = S3Server::moto() else { return };
    for fault in [Fault::SlowDown, Fault::ResetBefore, Fault::CutBody, Fault::ErrorAfter] {
        let bucket = server.bucket().behind_proxy(1);
        bucket.put("in/a.ndjson", large_orders());
        bucket.proxy().add(Rule::new(fault).method("GET").key("in/a.ndjson").nth(1));
        let work = Workspace::new();
        assert_eq!(run(&work, &bucket, &["--orders", &bucket.url("in/*")]).published()["records_read"], 400, "{fault:?}");
        assert_eq!(
            work.query("SELECT count(DISTINCT order_id), min(order_id), max(order_id) FROM fact_order"),
            ["400|O000|O399"],
            "{fault:?}"
        );
        assert_eq!(bucket.proxy().faults(), 1, "{fault:?}");
    }
}

#[test]
fn a_signal_ends_a_run_that_waits_for_a_bucket() {
    let Some(server) = S3Server::moto() else { return };
    for key in ["in/", "in/a.ndjson"] {
        let bucket = server.bucket().behind_proxy(1);
        bucket.put("in/a.ndjson", order("A", "2026-01-01", ""));
        bucket.proxy().add(Rule::new(Fault::Hold).method("GET").key(key));
        let work = Workspace::new();
        let child = command(&work, &bucket, &["--orders", &bucket.url("in/*")]).spawn().unwrap();
        bucket.proxy().wait_for_held(1);
        let stopped = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(stopped.success());
        assert_eq!(ended(child.wait_with_output().unwrap()).code, 143, "{key}");
    }
}

#[test]
fn a_source_of_a_bucket_in_etl_toml_is_not_relative_to_it_and_its_lineage_names_the_object() {
    let Some(server) = S3Server::moto() else { return };
    let bucket = server.bucket();
    bucket.put("in/a.ndjson", format!("\n{}", order("A", "2026-01-01", "")));
    let work = Workspace::new();
    work.write("conf/etl.toml", format!("orders = \"{}\"\noutput = \"../output\"\n", bucket.url("in/")));
    let with = |args: &[&str]| ended(work.command(args).envs(bucket.environment()).output().unwrap());
    with(&["run", "--config", "conf/etl.toml"]).published();
    let explained = with(&["explain", "A", "--format", "text"]);
    assert_names(&explained.stdout, &[&bucket.url("in/a.ndjson"), "line 2"]);
}
