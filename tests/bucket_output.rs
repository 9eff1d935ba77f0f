//! An output in a bucket: the same bytes, answers and exit codes as in a folder, whole after every fault, and a number of requests
//! that does not grow with the layer.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::OnceLock,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    Ended, Workspace,
    buckets::{AzureServer, Bucket, S3Server},
    ended,
    fault_proxy::{Fault, Recorded, Rule},
    lake::{Lake, Objects, assert_same, has_rows},
    order,
};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");

/// An order of two lines that a user bought, in January 2026.
fn line(order_id: &str, day: u8, updated: u8, quantity: u8) -> String {
    format!(
        r#"{{"order_id":"{order_id}","created_at":"2026-01-{day:02}T10:00:00Z","updated_at":"2026-02-{updated:02}","user_id":"U-{order_id}","currency":"EUR","items":[{{"sku":"S","quantity":{quantity},"price":1.5}},{{"sku":"T","quantity":1,"price":2}}]}}"#
    )
}

/// What is stored first.
fn first() -> Vec<String> {
    vec![line("A", 1, 1, 1), line("B", 2, 1, 1), line("C", 3, 1, 1)]
}

/// Changes a partition, moves the order B out of one and so removes that, adds one, and drops a record.
fn second() -> Vec<String> {
    vec![line("A", 1, 2, 5), line("B", 4, 2, 1), line("D", 5, 1, 1), r#"{"no":"order"}"#.into()]
}

const JANUARY: [&str; 4] = ["--since", "2026-01-01", "--until", "2026-02-01"];

/// What differs from run to run, whatever the output is.
const OF_THE_MOMENT: [&str; 9] = [
    "started_at",
    "finished_at",
    "committed_at",
    "loaded_at",
    "age_seconds",
    "execution_time_seconds",
    "stage_seconds",
    "peak_memory_bytes",
    "latest_run",
];

fn without_the_moment(value: &mut Value) {
    match value {
        Value::Object(map) => {
            // That of an alert is a moment, that of a run is its window.
            let is_alert = map.contains_key("dedup_key");
            // When something was found of a source, beside its message.
            let is_finding = map.contains_key("message");
            let is_of_the_moment =
                |key: &String| OF_THE_MOMENT.contains(&key.as_str()) || (is_alert && key == "since") || (is_finding && key == "at");
            map.retain(|key, _| !is_of_the_moment(key));
            map.values_mut().for_each(without_the_moment);
        }
        Value::Array(items) => items.iter_mut().for_each(without_the_moment),
        _ => {}
    }
}

/// When a run started: `2026-01-31T10:20:30.123456Z` for `20260131T102030123456Z-...`.
fn moment(run_id: &str) -> String {
    let part = |from: usize, to: usize| &run_id[from..to];
    let (date, time) = ([part(0, 4), part(4, 6), part(6, 8)].join("-"), [part(9, 11), part(11, 13), part(13, 15)].join(":"));
    format!("{date}T{time}.{}Z", part(15, 21))
}

/// A bucket and a folder to which the same is done.
struct Twins {
    lake: Lake,
    folder: Workspace,
    /// The ids of the runs, in the bucket and in the folder.
    runs: Vec<[String; 2]>,
}

impl Twins {
    fn new(bucket: Bucket) -> Twins {
        let twins = Twins { lake: Lake::new(bucket), folder: Workspace::new(), runs: Vec::new() };
        // So that the SQL for the warehouse names the same objects.
        twins.configure("");
        twins
    }

    fn configure(&self, toml: &str) {
        let toml = format!("{toml}\n[redshift]\niam_role = \"arn:aws:iam::123456789012:role/load\"\n");
        let url = if self.lake.url().starts_with("s3://") { format!("url = \"{}\"\n", self.lake.url()) } else { String::new() };
        self.lake.work.write("etl.toml", &toml);
        self.folder.write("etl.toml", toml + &url);
    }

    fn write(&self, name: &str, content: &str) {
        self.lake.work.write(name, content);
        self.folder.write(name, content);
    }

    /// Runs a command on both, with a result in JSON. `{0}` in an argument is the id of the first run.
    #[track_caller]
    fn both(&mut self, args: &[&str]) -> Ended {
        let args: &[&str] = &[args, &["--json"]].concat();
        let [args_of_lake, args_of_folder] = [0, 1].map(|twin| self.named(args, twin));
        let in_bucket = self.lake.etl(&args_of_lake.iter().map(String::as_str).collect::<Vec<_>>());
        let mut plain = self.folder.command(&args_of_folder.iter().map(String::as_str).collect::<Vec<_>>());
        let in_folder = ended(plain.env("ETL_LOG_FORMAT", "text").output().unwrap());
        assert_eq!(in_bucket.code, in_folder.code, "{args:?}\nbucket: {}\nfolder: {}", in_bucket.stderr, in_folder.stderr);
        self.note_run(&in_bucket, &in_folder);
        assert_eq!(self.plain(&in_bucket.stdout, 0), self.plain(&in_folder.stdout, 1), "{args:?}");
        in_bucket
    }

    /// The arguments with the ids of the runs of one of the twins.
    fn named(&self, args: &[&str], twin: usize) -> Vec<String> {
        let named = |arg: &&str| {
            let numbered = self.runs.iter().enumerate();
            numbered.fold((*arg).to_owned(), |arg, (number, ids)| arg.replace(&format!("{{{number}}}"), &ids[twin]))
        };
        args.iter().map(named).collect()
    }

    fn note_run(&mut self, in_bucket: &Ended, in_folder: &Ended) {
        let id = |ended: &Ended| {
            let result: Value = serde_json::from_str(ended.stdout.lines().last()?).ok()?;
            Some(result.get("run_id")?.as_str()?.to_owned())
        };
        if let (Some(bucket), Some(folder)) = (id(in_bucket), id(in_folder)) {
            self.runs.push([bucket, folder]);
        }
    }

    /// What a command says, without what differs from run to run or names the output.
    fn plain(&self, stdout: &str, twin: usize) -> Vec<String> {
        let named = self.runs.iter().enumerate().fold(stdout.to_owned(), |text, (number, ids)| {
            text.replace(&ids[twin], &format!("RUN{number}")).replace(&moment(&ids[twin]), &format!("START{number}"))
        });
        let folder = self.folder.path("output");
        let place = if twin == 0 { self.lake.url() } else { folder.display().to_string() };
        let named =
            named.replace(&place, "OUTPUT").replace(&self.lake.url(), "OUTPUT").replace(r#""output":"output""#, r#""output":"OUTPUT""#);
        let clean = |line: &str| match serde_json::from_str::<Value>(line) {
            Ok(mut value) => {
                without_the_moment(&mut value);
                value.to_string()
            }
            Err(_) => line.to_owned(),
        };
        named.lines().map(clean).collect()
    }

    #[track_caller]
    fn assert_same_layer(&self, point: &str) {
        assert_same(&self.lake.layer(), &self.folder.layer(), point);
        self.lake.assert_projected(point);
    }

    /// The dropped records of both.
    #[track_caller]
    fn assert_same_quarantine(&self) {
        let contents = |objects: Objects| objects.into_values().map(|bytes| String::from_utf8(bytes).unwrap()).collect::<Vec<_>>();
        assert_eq!(contents(self.lake.files("quarantine")), contents(self.folder.files("quarantine")));
    }
}

/// The same runs over a bucket and over a folder, with all that a layer can meet.
fn the_same_bytes_as_in_a_folder(bucket: Bucket) {
    let mut twins = Twins::new(bucket);
    let file = |name: &str| format!("{FIXTURES}/{name}");
    let (orders, users, products) = (file("orders.ndjson"), file("users.csv"), file("products.json"));
    let fixtures = ["run", "--orders", &orders, "--users", &users, "--products", &products, "--until", "2026-03-01"];
    assert_eq!(twins.both(&fixtures).published()["partitions_written"].as_array().unwrap().len(), 4);
    twins.assert_same_layer("the fixtures");
    for (step, lines) in [first(), second()].iter().enumerate() {
        twins.write("orders.ndjson", &lines.join("\n"));
        twins.both(&[&["run", "--orders", "orders.ndjson"][..], &JANUARY].concat()).published();
        twins.assert_same_layer(&format!("increment {step}"));
    }
    twins.assert_same_quarantine();
    twins.both(&fixtures).unchanged();
    twins.both(&["check"]);
    twins.assert_same_layer("the fixtures again");
}

#[test]
fn a_bucket_of_moto_holds_the_same_bytes_as_a_folder() {
    let Some(server) = S3Server::moto() else { return };
    the_same_bytes_as_in_a_folder(server.bucket());
}

#[test]
fn a_bucket_of_seaweedfs_holds_the_same_bytes_as_a_folder() {
    let Some(server) = S3Server::on_disk() else { return };
    the_same_bytes_as_in_a_folder(server.bucket());
}

#[test]
fn a_container_of_azurite_holds_the_same_bytes_as_a_folder() {
    let Some(server) = AzureServer::azurite() else { return };
    the_same_bytes_as_in_a_folder(server.bucket());
}

fn puts(requests: &[Recorded]) -> Vec<String> {
    requests.iter().filter(|request| request.method != "GET" && request.method != "HEAD").map(Recorded::line).collect()
}

/// A second run over the same input puts nothing that a reader sees, and no other version of it.
fn a_rerun_puts_nothing_that_a_reader_sees(bucket: Bucket) {
    let lake = Lake::new(bucket.behind_proxy(1));
    let lines = [first(), second()].concat();
    lake.load(&lines, &[]).published();
    let seen = |lake: &Lake| ["curated", "dims", "data", "manifests"].map(|folder| lake.files(folder));
    let tags = |lake: &Lake| -> BTreeMap<String, String> {
        lake.bucket
            .sizes("")
            .into_keys()
            .filter(|key| key.contains("/curated/") || key.contains("/dims/"))
            .map(|key| (key.clone(), lake.bucket.tag(&key)))
            .collect()
    };
    let (before, tags_before) = (seen(&lake), tags(&lake));
    lake.bucket.proxy().take_requests();
    let summary = lake.load(&lines, &[]).unchanged();
    assert_eq!(summary["partitions_written"], json!([]));
    assert_eq!((seen(&lake), tags(&lake)), (before, tags_before));
    let changing = puts(&lake.bucket.requests());
    assert!(!changing.is_empty(), "nothing was recorded");
    for folder in ["curated/", "dims/", "data/", "manifests/"] {
        assert!(!changing.iter().any(|line| line.contains(&format!("/{folder}"))), "{changing:?}");
    }
    assert!(!changing.iter().any(|line| line.starts_with("DELETE") || line.starts_with("POST")), "{changing:?}");
}

#[test]
fn a_rerun_over_s3_puts_nothing_that_a_reader_sees() {
    let Some(server) = S3Server::moto() else { return };
    a_rerun_puts_nothing_that_a_reader_sees(server.bucket());
}

#[test]
fn a_rerun_over_azure_puts_nothing_that_a_reader_sees() {
    let Some(server) = AzureServer::azurite() else { return };
    a_rerun_puts_nothing_that_a_reader_sees(server.bucket());
}

#[test]
fn a_bucket_holds_every_format_as_a_folder_does() {
    let Some(server) = S3Server::moto() else { return };
    let formats: [&[&str]; 3] = [&["--compression", "gzip"], &["--compression", "zstd"], &["--file-format", "parquet"]];
    for flags in formats {
        let mut twins = Twins::new(server.bucket());
        let run = [&["run", "--orders", "orders.ndjson"][..], &JANUARY].concat();
        for (lines, flags) in [(first(), flags), (second(), &[][..])] {
            twins.write("orders.ndjson", &lines.join("\n"));
            twins.both(&[&run[..], flags].concat()).published();
            twins.assert_same_layer(&format!("{flags:?}"));
        }
        twins.both(&run).unchanged();
        for command in [&["check"][..], &["explain", "A"], &["diff", "{1}"], &["redshift", "merge"]] {
            twins.both(command);
        }
        assert_eq!(twins.lake.empty_partitions().len(), 1, "{flags:?}");
        assert_eq!(twins.both(&["undo", "{1}"]).code, 0);
        twins.assert_same_layer(&format!("{flags:?}, undone"));
        // A rewrite leaves no file of the old format behind, not even an empty one.
        assert_eq!(twins.both(&["rewrite", "--file-format", "csv"]).code, 0);
        twins.assert_same_layer(&format!("{flags:?}, rewritten"));
        assert!(
            twins.lake.files("curated").keys().all(|name| name.ends_with(".csv")),
            "{flags:?}: {:?}",
            twins.lake.files("curated").keys()
        );
    }
}

#[test]
fn commands_that_read_say_of_a_bucket_what_they_say_of_a_folder() {
    let Some(server) = S3Server::moto() else { return };
    let mut twins = Twins::new(server.bucket());
    let run = [&["run", "--orders", "orders.ndjson"][..], &JANUARY].concat();
    for lines in [first(), second()] {
        twins.write("orders.ndjson", &lines.join("\n"));
        twins.both(&run).published();
    }
    twins.write("checks/many.sql", "-- severity: warn\nSELECT order_id, quantity FROM fact_order WHERE quantity > 4");
    let before = twins.lake.files("");
    let reading: [&[&str]; 20] = [
        &["check"],
        &["check", "--violations", "violations"],
        &["check", "--history"],
        &["status"],
        &["runs"],
        &["runs", "show", "{1}"],
        &["quarantine"],
        &["quarantine", "--run", "{1}"],
        &["explain", "B"],
        &["explain", "A", "S"],
        &["explain", "none"],
        &["plan", "--orders", "orders.ndjson", "--since", "2026-01-30", "--until", "2026-02-03", "--chunk", "1d"],
        &["diff", "{1}"],
        &["diff", "{0}", "{1}"],
        &["changes", "--since-run", "{0}"],
        &["redshift", "ddl"],
        &["redshift", "merge"],
        &["redshift", "merge", "--since-run", "{0}"],
        &["runs", "show", "none"],
        &["undo", "none"],
    ];
    for args in reading {
        let ended = twins.both(args);
        assert!(!ended.stdout.is_empty() || ended.code == 2, "{args:?}");
    }
    // A full load is of one commit: in a bucket, the manifest names its objects.
    let copy = twins.lake.etl(&["redshift", "copy"]);
    let manifest = format!("FROM '{}/manifests/latest'", twins.lake.url());
    assert!(copy.code == 0 && copy.stdout.contains(&manifest) && copy.stdout.contains("MANIFEST;"), "{}\n{}", copy.stdout, copy.stderr);
    for engine in ["duckdb", "athena", "glue", "spark"] {
        let ended = twins.lake.etl(&["ddl", engine]);
        assert_eq!(ended.code, 0, "{engine}: {}", ended.stderr);
        assert!(ended.stdout.contains(&twins.lake.url()), "{engine}: {}", ended.stdout);
    }
    let violations = |work: &Workspace| work.read("violations/many.csv");
    assert_eq!(violations(&twins.lake.work), violations(&twins.folder));
    twins.write("orders.ndjson", &line("A", 2, 3, 7));
    assert_eq!(twins.both(&[&run[..], &["--dry-run", "--diff"]].concat()).code, 0);
    assert_eq!(twins.both(&[&run[..], &["--dry-run", "--diff", "--fail-if-diff"]].concat()).code, 4);
    assert_same(&twins.lake.files(""), &before, "commands that read have changed the bucket");
}

/// A column that no record has named so far.
const COLUMN: &str = "[[fact.columns]]\nname = \"channel\"\npath = \"channel\"\n";

#[test]
fn commands_that_change_leave_in_a_bucket_what_they_leave_in_a_folder() {
    let Some(server) = S3Server::moto() else { return };
    let mut twins = Twins::new(server.bucket());
    let run = [&["run", "--orders", "orders.ndjson"][..], &JANUARY].concat();
    for lines in [first(), second()] {
        twins.write("orders.ndjson", &lines.join("\n"));
        twins.both(&run).published();
    }
    let before_replay = twins.folder.layer();

    // The quarantine of the run is corrected and replayed.
    let place = |id: &str| format!("quarantine/run_id={id}/records.ndjson");
    let corrected = |text: &[u8]| {
        let dropped: Value = serde_json::from_slice(text.trim_ascii()).unwrap();
        let mut dropped = dropped.as_object().unwrap().clone();
        dropped.insert("record".into(), serde_json::from_str(&line("E", 6, 1, 1)).unwrap());
        Value::from(dropped).to_string() + "\n"
    };
    let [in_bucket, in_folder] = twins.runs[1].clone();
    twins.lake.bucket.put(&twins.lake.key(&place(&in_bucket)), corrected(&twins.lake.get(&place(&in_bucket)).unwrap()));
    let in_folder = format!("output/{}", place(&in_folder));
    twins.folder.write(&in_folder, corrected(twins.folder.read(&in_folder).as_bytes()));
    assert_eq!(twins.both(&["quarantine", "replay", "{1}"]).published()["rows_inserted"], 2);
    twins.assert_same_layer("replayed");

    assert_eq!(twins.both(&["undo", "{2}"]).code, 0);
    twins.assert_same_layer("undone");
    assert_eq!(twins.folder.files("curated"), before_replay.into_iter().filter(|(name, _)| name.starts_with("curated")).collect());

    twins.configure(COLUMN);
    assert_eq!(twins.both(&["rewrite", "--dry-run"]).code, 0);
    assert_eq!(twins.both(&["rewrite"]).code, 0);
    twins.assert_same_layer("rewritten");
    assert!(twins.lake.layer()["curated/dt=2026-01-01/part-00000.csv"].starts_with(b"order_id,"));
    assert!(
        String::from_utf8(twins.lake.layer()["curated/dt=2026-01-01/part-00000.csv"].clone())
            .unwrap()
            .lines()
            .next()
            .unwrap()
            .ends_with(",channel")
    );

    let more: Vec<_> = (10..14).map(|day| line(&format!("F{day}"), day, 1, 2)).collect();
    twins.write("more.ndjson", &more.join("\n"));
    let backfill = ["backfill", "--orders", "more.ndjson", "--since", "2026-01-10", "--until", "2026-01-14", "--chunk", "2d"];
    assert_eq!(twins.lake.etl(&backfill).code, 0);
    assert_eq!(twins.folder.etl(&backfill).code, 0);
    twins.assert_same_layer("backfilled");
    assert_eq!(twins.lake.etl(&backfill).summary()["chunks_done_before"], 2);

    assert_eq!(twins.lake.etl(&["vacuum", "--keep", "0s"]).code, 0);
    assert_eq!(twins.folder.etl(&["vacuum", "--keep", "0s"]).code, 0);
    twins.assert_same_layer("vacuumed");
    assert_eq!(twins.lake.empty_partitions(), [""; 0]);
    assert_eq!(twins.both(&["check"]).code, 0);
    assert_eq!(twins.both(&["check", "--rebuild-state"]).code, 0);
    twins.assert_same_layer("with its state made anew");
    twins.write("orders.ndjson", &line("A", 7, 9, 9));
    assert_eq!(twins.both(&run).published()["rows_moved"], 2);
    twins.assert_same_layer("moved");
    assert_eq!(twins.lake.scratch(), [""; 0], "scratch stays");
}

#[test]
fn the_demo_makes_no_folder_that_is_named_as_a_bucket() {
    let Some(server) = S3Server::moto() else { return };
    let (lake, folder) = (Lake::new(server.bucket()), Workspace::new());
    let ended = lake.etl(&["demo", "--output", &lake.url()]);
    assert!(!lake.work.path("s3:").exists(), "{}", ended.stderr);
    if ended.code != 2 {
        ended.published();
        folder.etl(&["demo", "--output", "output"]).published();
        assert_same(&lake.layer(), &folder.layer(), "the demo");
    }
}

/// A partition that lost its last row is a file with a header until `etl vacuum`, whichever command took the row.
fn a_partition_without_rows_is_a_header_until_vacuum(bucket: Bucket) {
    let lake = Lake::new(bucket);
    lake.load(&first(), &[]).published();
    let header = |file: &[u8]| String::from_utf8(file.to_vec()).unwrap().lines().next().unwrap_or_default().to_owned() + "\n";
    let day = |day: u8| format!("curated/dt=2026-01-{day:02}/part-00000.csv");
    let expected = header(&lake.get(&day(1)).unwrap());

    let summary = lake.load(&second(), &[]).published();
    assert_eq!((&summary["rows_moved"], &summary["partitions_removed"]), (&2.into(), &json!(["2026-01-02"])));
    assert_eq!(lake.empty_partitions(), [day(2)]);
    assert_eq!(String::from_utf8(lake.get(&day(2)).unwrap()).unwrap(), expected);
    assert!(!lake.by_manifest().contains_key(&day(2)));
    assert_eq!(lake.etl(&["check"]).code, 0);
    // Dropped records are beside the layer, as in a folder.
    let quarantine = lake.files("quarantine");
    assert_eq!(quarantine.len(), 1);
    let dropped: Value = serde_json::from_slice(quarantine.values().next().unwrap().trim_ascii()).unwrap();
    assert_eq!((&dropped["reason"], &dropped["record"]), (&"missing_order_id".into(), &json!({"no": "order"})));

    let vacuumed = lake.etl(&["vacuum"]).summary();
    assert_eq!(vacuumed["empty_partitions"], 1);
    assert_eq!((lake.empty_partitions(), lake.get(&day(2))), (Vec::new(), None));
    assert_eq!(lake.etl(&["check"]).code, 0);

    // An undo takes the rows of the days 4 and 5, and gives day 2 its row back.
    let run_id = summary["run_id"].as_str().unwrap().to_owned();
    let undone = lake.etl(&["undo", &run_id]);
    assert_eq!(undone.code, 0, "{}", undone.stderr);
    assert_eq!(lake.empty_partitions(), [day(4), day(5)]);
    for empty in [day(4), day(5)] {
        assert_eq!(String::from_utf8(lake.get(&empty).unwrap()).unwrap(), expected, "{empty} after the undo");
    }
    lake.assert_projected("undone");
    // A row comes back to a file with a header, and to none.
    assert_eq!(lake.load(&second(), &[]).published()["rows_moved"], 2);
    assert_eq!(lake.empty_partitions(), [day(2)]);
    assert_eq!(lake.etl(&["check"]).code, 0);
    lake.assert_projected("loaded again");
}

#[test]
fn a_partition_of_s3_without_rows_is_a_header_until_vacuum() {
    let Some(server) = S3Server::moto() else { return };
    a_partition_without_rows_is_a_header_until_vacuum(server.bucket());
}

#[test]
fn a_partition_of_azure_without_rows_is_a_header_until_vacuum() {
    let Some(server) = AzureServer::azurite() else { return };
    a_partition_without_rows_is_a_header_until_vacuum(server.bucket());
}

/// What the first load and the second leave in a folder.
fn both_loads() -> &'static Objects {
    static LAYER: OnceLock<Objects> = OnceLock::new();
    LAYER.get_or_init(|| {
        let folder = Workspace::new();
        folder.load(&first(), &[]).published();
        folder.load(&second(), &[]).published();
        folder.layer()
    })
}

/// All that readers and the log see of a layer.
fn seen(lake: &Lake) -> Objects {
    ["curated", "dims", "manifests", "state/commits"].iter().flat_map(|folder| lake.files(folder)).collect()
}

#[track_caller]
fn assert_refused(ended: &Ended, words: &[&str]) {
    ended.expect(5, "storage_failed");
    for words in words {
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("a-secret-of-the-tests"), "{}", ended.stderr);
}

#[test]
fn a_bucket_that_is_missing_is_exit_5_with_the_words_of_the_store() {
    for bucket in [S3Server::moto().map(S3Server::bucket), AzureServer::azurite().map(AzureServer::bucket)].into_iter().flatten() {
        let lake = Lake::new(bucket);
        let location = lake.url().replace(&lake.bucket.name, "no-such-bucket");
        let ended = lake.load(&first(), &["--output", &location]);
        let words = if location.starts_with("s3") { "NoSuchBucket" } else { "ContainerNotFound" };
        assert_refused(&ended, &["no-such-bucket", words]);
        for args in [&["check"][..], &["status"], &["runs"], &["vacuum"]] {
            let ended = lake.etl(&[args, &["--output", &location]].concat());
            assert_eq!(ended.code, 5, "{args:?}: {}", ended.stderr);
            assert!(ended.stderr.contains(words) && !ended.stderr.contains("WARN"), "{args:?}: {}", ended.stderr);
        }
    }
}

#[test]
fn a_server_that_is_down_is_exit_5_and_told_of_once() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::new(server.bucket());
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for args in [&["status"][..], &["runs"], &["check"]] {
        let mut command = lake.command(args);
        command.env("AWS_ENDPOINT_URL", format!("http://{closed}")).env("ETL_STORAGE_RETRY_TIMEOUT", "1s");
        let ended = ended(command.output().unwrap());
        assert_eq!(ended.code, 5, "{args:?}: {}", ended.stderr);
        assert_eq!(ended.stderr.matches("no answer from").count(), 1, "{args:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains("a mix"), "{args:?}: {}", ended.stderr);
    }
    // A log for machines has what is going on: each attempt only for who asks.
    let tried = |args: &[&str]| {
        let mut command = lake.command(&[&["status", "--log-format", "json"], args].concat());
        command.env("AWS_ENDPOINT_URL", format!("http://{closed}")).env("ETL_STORAGE_RETRY_TIMEOUT", "1s");
        ended(command.output().unwrap()).stderr.matches("backing off").count()
    };
    assert_eq!((tried(&[]), tried(&["-v"])), (0, 0));
    assert!(tried(&["-vv"]) > 0);
}

#[test]
fn a_report_that_can_not_be_read_is_exit_5_and_never_absent() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::behind_proxy(server.bucket());
    let run_id = |summary: Value| summary["run_id"].as_str().unwrap().to_owned();
    let loaded = run_id(lake.load(&first(), &[]).published());
    let last = run_id(lake.load(&second(), &[]).published());
    let (loaded, last) = (loaded.as_str(), last.as_str());
    // The lists of the reports are answered: the names of runs begin with their year.
    let reports = |fault: Fault| Rule::new(fault).method("GET").key("/reports/2");
    let commands: [&[&str]; 11] = [
        &["runs"],
        &["runs", "--json"],
        &["runs", "show", last],
        &["status"],
        &["report"],
        &["undo"],
        &["check", "--history"],
        &["quarantine"],
        &["explain", "A"],
        &["diff", last],
        &["changes", "--since-run", loaded],
    ];
    let assert_told = |ended: &Ended, words: &str, point: &str| {
        assert_eq!(ended.code, 5, "{point}: {}{}", ended.stdout, ended.stderr);
        assert_eq!(ended.stderr.matches(words).count(), 1, "{point}: {}", ended.stderr);
        assert!(ended.stderr.contains("/reports/2") && !ended.stderr.contains("WARN"), "{point}: {}", ended.stderr);
        assert!(!ended.stdout.contains("no run") && !ended.stdout.contains("\"runs\":"), "{point}: {}", ended.stdout);
    };
    lake.bucket.proxy().add(reports(Fault::Refused));
    for args in commands {
        assert_told(&lake.etl(args), "AccessDenied: Access Denied", &format!("{args:?}"));
    }
    assert!(!lake.work.path("report.html").exists());
    lake.bucket.proxy().clear();
    lake.bucket.proxy().add(reports(Fault::ResetBefore));
    for args in [&["runs"][..], &["status"], &["runs", "show", last]] {
        let mut command = lake.command(args);
        command.env("ETL_STORAGE_RETRY_TIMEOUT", "1s");
        assert_told(&ended(command.output().unwrap()), "no answer from", &format!("lost: {args:?}"));
    }
    lake.bucket.proxy().clear();
    // One that is damaged is left out, and one that is gone is absent.
    lake.bucket.put(&lake.key(&format!("reports/{last}.json")), "{");
    assert_eq!(lake.etl(&["runs", "--json"]).summary()["runs"].as_array().unwrap().len(), 1);
    let unknown = lake.etl(&["runs", "show", last]);
    assert!(unknown.code == 2 && unknown.stderr.contains(last), "{}", unknown.stderr);
}

#[test]
fn alerts_of_stuck_runs_that_can_not_be_read_are_the_error_of_status_and_told_of_once() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::behind_proxy(server.bucket());
    lake.load(&first(), &[]).published();
    lake.bucket.proxy().add(Rule::new(Fault::Refused).method("GET").key("state/stuck.json"));
    for args in [["status"], ["report"]] {
        let ended = lake.etl(&args);
        assert_eq!(ended.code, 5, "{args:?}: {}", ended.stderr);
        assert_eq!(ended.stderr.matches("AccessDenied: Access Denied").count(), 1, "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains("state/stuck.json") && !ended.stderr.contains("WARN"), "{args:?}: {}", ended.stderr);
    }
    lake.bucket.proxy().clear();
    assert_eq!(lake.etl(&["status"]).code, 0);
}

#[test]
fn an_endpoint_that_is_no_store_is_exit_5_and_asked_about() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let head = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
            head.for_each(drop);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    let work = Workspace::new();
    let mut command = work.command(&["runs", "--output", "s3://orders/lake", "--log-format", "text"]);
    command.envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "a-secret-of-the-tests"), ("AWS_REGION", "us-east-1")]);
    command.envs([("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_ALLOW_HTTP", "true"), ("ETL_STORAGE_RETRY_TIMEOUT", "2s")]);
    let ended = ended(command.output().unwrap());
    assert_eq!(ended.code, 5, "{}{}", ended.stdout, ended.stderr);
    let words = "HTTP 404 Not Found (is storage.endpoint, or the variable for it, the address of a store?)";
    assert!(ended.stderr.contains(words), "{}", ended.stderr);
}

#[test]
fn the_report_in_a_bucket_says_how_long_the_publish_took() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::behind_proxy(server.bucket());
    lake.bucket.proxy().add(Rule::new(Fault::Delay(Duration::from_millis(700))).method("PUT").key("/data/dt=2026-01-01/"));
    let summary = lake.load(&first(), &[]).published();
    let run_id = summary["run_id"].as_str().unwrap();
    let report: Value = serde_json::from_slice(&lake.get(&format!("reports/{run_id}.json")).unwrap()).unwrap();
    let seconds = |of: &Value| of["stage_seconds"]["publish"].as_f64().unwrap();
    assert!(seconds(&report) >= 0.7 && seconds(&report) <= seconds(&summary), "{report}");
    assert!(report["execution_time_seconds"].as_f64().unwrap() >= 0.7, "{report}");
}

#[test]
fn what_a_bucket_refuses_is_exit_5_and_the_layer_as_before() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::behind_proxy(server.bucket());
    lake.load(&first(), &[]).published();
    let before = seen(&lake);
    for (rule, place) in [
        (Rule::new(Fault::Refused), "state/latest.json"),
        (Rule::new(Fault::Refused).method("PUT"), "state/latest.json"),
        (Rule::refuse_puts("/data/dt=2026-01-01/"), "data/dt=2026-01-01/"),
        (Rule::refuse_puts("/data/dim_user/"), "data/dim_user/"),
        (Rule::refuse_puts("/quarantine/"), "quarantine/"),
        (Rule::refuse_puts("/state/commits/"), "state/commits/"),
        (Rule::new(Fault::Refused).method("GET").key("/curated/dt=2026-01-01/"), "curated/dt=2026-01-01/"),
    ] {
        lake.bucket.proxy().add(rule.clone());
        let ended = lake.load(&second(), &[]);
        assert_refused(&ended, &["AccessDenied: Access Denied", &format!("{}/{place}", lake.url())]);
        lake.bucket.proxy().clear();
        assert_same(&seen(&lake), &before, &format!("{rule:?}"));
    }
    // With permission again, it goes on as if nothing had been.
    lake.load(&second(), &[]).published();
    assert_eq!(lake.etl(&["check"]).code, 0);
}

#[test]
fn what_is_refused_after_the_decision_is_finished_by_the_next_command() {
    let Some(server) = S3Server::moto() else { return };
    for place in ["/curated/dt=2026-01-01/", "/dims/dim_user/", "/manifests/latest"] {
        let lake = Lake::behind_proxy(server.bucket());
        lake.load(&first(), &[]).published();
        lake.bucket.proxy().add(Rule::refuse_puts(place));
        let ended = lake.load(&second(), &[]);
        assert_refused(&ended, &["AccessDenied: Access Denied", place, "is decided all the same: the next command finishes its publish"]);
        let run_id = ended.summary()["run_id"].as_str().unwrap().to_owned();
        assert!(ended.stderr.contains(&format!("run {run_id} is decided")), "{}", ended.stderr);
        lake.bucket.proxy().clear();
        assert_eq!(lake.etl(&["runs"]).code, 0);
        assert_same(&lake.layer(), both_loads(), place);
        lake.assert_projected(place);
        lake.load(&second(), &[]).unchanged();
    }
}

#[test]
fn an_endpoint_that_is_down_is_exit_5_within_its_time() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let work = Workspace::new();
    work.write("orders.ndjson", first().join("\n"));
    let endpoint = format!("http://127.0.0.1:{port}");
    let mut command = work.command(&["run", "--orders", "orders.ndjson", "--output", "s3://orders/lake", "--log-format", "text"]);
    command.envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "a-secret-of-the-tests"), ("AWS_REGION", "us-east-1")]);
    command.envs([("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_ALLOW_HTTP", "true"), ("ETL_STORAGE_RETRY_TIMEOUT", "2s")]);
    let began = Instant::now();
    let ended = ended(command.output().unwrap());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_refused(&ended, &[&endpoint, "refused"]);
}

#[test]
fn a_store_that_is_overloaded_for_good_is_exit_5_and_the_layer_as_before() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::behind_proxy(server.bucket());
    lake.load(&first(), &[]).published();
    let before = seen(&lake);
    lake.bucket.proxy().add(Rule::new(Fault::SlowDown).method("PUT"));
    lake.work.write("orders.ndjson", second().join("\n"));
    let began = Instant::now();
    let mut command = lake.command(&["run", "--orders", "orders.ndjson"]);
    let ended = ended(command.env("ETL_STORAGE_RETRY_TIMEOUT", "2s").output().unwrap());
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_refused(&ended, &["503", "SlowDown: Please reduce your request rate"]);
    assert!(lake.bucket.proxy().faults() > 1, "it was not tried again");
    assert_same(&seen(&lake), &before, "503");
    lake.bucket.proxy().clear();
    lake.load(&second(), &[]).published();
}

/// The second load through faults: it is published, once, and the layer is that of a folder.
fn published_exactly_once(server: S3Server, rules: &[Rule], seed: u64) -> usize {
    let lake = Lake::new(server.bucket().behind_proxy(seed));
    lake.bucket.proxy().serialize_writes();
    lake.load(&first(), &[]).published();
    rules.iter().for_each(|rule| lake.bucket.proxy().add(rule.clone()));
    let summary = lake.load(&second(), &[]).published();
    let faults = lake.bucket.proxy().faults();
    lake.bucket.proxy().clear();
    let point = format!("{rules:?}, seed {seed}");
    assert_same(&lake.layer(), both_loads(), &point);
    lake.assert_projected(&point);
    let runs = lake.committed_runs();
    assert_eq!((runs.len(), runs.last().map(String::as_str)), (2, summary["run_id"].as_str()), "{point}");
    assert_eq!(lake.etl(&["runs", "--json"]).summary()["runs"].as_array().unwrap().len(), 2, "{point}");
    lake.load(&second(), &[]).unchanged();
    faults
}

#[test]
fn a_commit_whose_answer_is_lost_is_published_exactly_once() {
    let Some(server) = S3Server::moto() else { return };
    for fault in [Fault::ResetAfter, Fault::ErrorAfter, Fault::CutBody] {
        let commit = Rule::new(fault).method("PUT").key("/state/commits/");
        assert_eq!(published_exactly_once(server, &[commit.first(1)], 1), 1, "{fault:?}");
    }
    // The answer to what tells whether it was put is lost as well.
    let commit = Rule::new(Fault::ResetAfter).method("PUT").key("/state/commits/").first(2);
    let look = Rule::new(Fault::ErrorAfter).method("GET").key("/state/commits/00000000000000000002").first(1);
    assert!(published_exactly_once(server, &[commit, look], 1) >= 2);
}

#[test]
fn answers_that_are_lost_and_stores_that_slow_down_now_and_then_change_nothing() {
    let Some(server) = S3Server::moto() else { return };
    let [slow, late] = [Fault::SlowBody(Duration::from_millis(50)), Fault::Delay(Duration::from_millis(300))];
    let faults = [Fault::SlowDown, Fault::SlowDown, Fault::ResetAfter, Fault::ErrorAfter, Fault::ResetBefore, slow, late];
    for (seed, fault) in (1..).zip(faults) {
        // A run makes some twenty requests: half of them fail.
        let faults = published_exactly_once(server, &[Rule::new(fault).share(0.5)], seed);
        assert!(faults > 2, "{fault:?}: {faults} faults");
    }
}

#[test]
fn faults_over_azure_change_nothing_either() {
    let Some(server) = AzureServer::azurite() else { return };
    let lake = Lake::new(server.bucket().behind_proxy(7));
    lake.load(&first(), &[]).published();
    lake.bucket.proxy().add(Rule::new(Fault::ResetAfter).method("PUT").key("/state/commits/").first(1));
    lake.bucket.proxy().add(Rule::new(Fault::ErrorAfter).method("PUT").share(0.5));
    let summary = lake.load(&second(), &[]).published();
    assert!(lake.bucket.proxy().faults() > 1);
    lake.bucket.proxy().clear();
    assert_same(&lake.layer(), both_loads(), "azure");
    assert_eq!(lake.committed_runs().last().map(String::as_str), summary["run_id"].as_str());
}

/// The totals of orders that both hold, without files that have no row.
#[track_caller]
fn assert_same_totals(twins: &Twins, point: &str) {
    let in_bucket: Objects = twins.lake.files("order_totals").into_iter().filter(|(name, content)| has_rows(name, content)).collect();
    assert_same(&in_bucket, &twins.folder.files("order_totals"), point);
}

#[test]
fn totals_of_orders_lie_in_a_bucket_as_they_do_in_a_folder() {
    let Some(server) = S3Server::moto() else { return };
    let mut twins = Twins::new(server.bucket());
    twins.configure("merge = \"order\"\n[orders.totals]\ntotal = \"total\"\nrefunded = \"refunded\"\nreconciles = true");
    let with_totals = |line: String, refunded: u8| line.replacen('{', &format!(r#"{{"total":3.5,"refunded":{refunded},"#), 1);
    twins.write("orders.ndjson", &[with_totals(line("A", 1, 1, 1), 0), with_totals(line("B", 2, 1, 1), 0)].join("\n"));
    let run = ["run", "--orders", "orders.ndjson"];
    twins.both(&run).published();
    assert_same_totals(&twins, "loaded");
    assert_eq!(twins.folder.files("order_totals").len(), 2);
    // A refund alone, and an order that moves and leaves its day empty.
    twins.write("orders.ndjson", &[with_totals(line("A", 1, 1, 1), 1), with_totals(line("B", 3, 2, 1), 0)].join("\n"));
    let summary = twins.both(&run).published();
    assert_eq!(
        (&summary["partitions_written"], &summary["order_totals_changed"]),
        (&json!(["2026-01-03"]), &json!(["2026-01-01", "2026-01-02", "2026-01-03"]))
    );
    assert_same_totals(&twins, "a refund");
    // The warehouse reads the days that have rows now, and empties the others.
    let merge = twins.both(&["redshift", "merge"]);
    assert!(merge.code == 0 && merge.stdout.contains("/order_totals/dt=2026-01-03/'"), "{}{}", merge.stdout, merge.stderr);
    assert!(!merge.stdout.contains("/order_totals/dt=2026-01-02/'"), "{}", merge.stdout);
    twins.both(&run).unchanged();
    assert_eq!(twins.both(&["check"]).code, 0);
    assert_eq!(twins.both(&["undo", "{1}"]).code, 0);
    assert_same_totals(&twins, "undone");
    assert_eq!(twins.both(&["check"]).code, 0);
    // The headers of the facts and of the totals of the day that is empty again.
    assert_eq!(twins.lake.etl(&["vacuum"]).summary()["empty_partitions"], 2);
    assert_eq!(twins.lake.files("order_totals"), twins.folder.files("order_totals"));
}

/// The refunds that both hold, without files that have no row.
#[track_caller]
fn assert_same_refunds(twins: &Twins, point: &str) {
    let in_bucket: Objects = twins.lake.files("refunds").into_iter().filter(|(name, content)| has_rows(name, content)).collect();
    assert_same(&in_bucket, &twins.folder.files("refunds"), point);
}

#[test]
fn refunds_lie_in_a_bucket_as_they_do_in_a_folder() {
    let Some(server) = S3Server::moto() else { return };
    let mut twins = Twins::new(server.bucket());
    twins.configure("[orders.refunds]\nlist = \"refunds\"\nrefund_id = \"id\"\ncreated_at = \"at\"\namount = \"amount\"");
    let refunded = |line: String, day: u8| {
        line.replacen('{', &format!(r#"{{"refunds":[{{"id":"R{day}","at":"2026-02-{day:02}T10:00:00Z","amount":1}}],"#), 1)
    };
    twins.write("orders.ndjson", &[refunded(line("A", 1, 1, 1), 3), refunded(line("B", 2, 1, 1), 4)].join("\n"));
    let run = ["run", "--orders", "orders.ndjson"];
    twins.both(&run).published();
    assert_same_refunds(&twins, "loaded");
    assert_eq!(twins.folder.files("refunds").len(), 2);
    // A refund that is made on another day: the first day is empty.
    twins.write("orders.ndjson", &refunded(line("A", 1, 2, 1), 5));
    let summary = twins.both(&run).published();
    assert_eq!(summary["refunds_changed"], json!(["2026-02-03", "2026-02-05"]));
    assert_same_refunds(&twins, "another day");
    let merge = twins.both(&["redshift", "merge"]);
    assert!(merge.code == 0 && merge.stdout.contains("/refunds/dt=2026-02-05/'"), "{}{}", merge.stdout, merge.stderr);
    assert!(!merge.stdout.contains("/refunds/dt=2026-02-03/'"), "{}", merge.stdout);
    twins.both(&run).unchanged();
    assert_eq!(twins.both(&["check"]).code, 0);
    assert_eq!(twins.both(&["undo", "{1}"]).code, 0);
    assert_same_refunds(&twins, "undone");
    assert_eq!(twins.both(&["check"]).code, 0);
    assert_eq!(twins.lake.etl(&["vacuum"]).summary()["empty_partitions"], 1);
    assert_eq!(twins.lake.files("refunds"), twins.folder.files("refunds"));
}

/// The requests of an increment of `k` partitions are at most `FIXED + PER_PARTITION * k`, however long the history is. A dimension
/// that changes counts as a partition.
const FIXED: usize = 6;
const PER_PARTITION: usize = 4;

/// A day, from 1: thirty of each month.
fn dt(day: usize) -> String {
    format!("2025-{:02}-{:02}", 3 + (day - 1) / 30, (day - 1) % 30 + 1)
}

/// An order of each day, up to this one.
fn orders_of(days: usize, name: &str) -> Vec<String> {
    (1..=days).map(|day| order(&format!("{name}-{day}"), &dt(day), "")).collect()
}

/// Loads an increment, and returns the requests that it took.
fn requests_of(lake: &Lake, increment: &[String], partitions: usize) -> Vec<String> {
    lake.bucket.proxy().take_requests();
    let summary = lake.load(increment, &[]).published();
    assert_eq!(summary["partitions_written"].as_array().unwrap().len(), partitions);
    // One that the store did not answer is sent again, and is no more work of the run's.
    let answered = |request: &&Recorded| request.status.is_some();
    lake.bucket.requests().iter().filter(answered).map(Recorded::line).collect()
}

#[track_caller]
fn assert_few(requests: &[String], units: usize, point: &str) {
    println!("{point}: {} requests", requests.len());
    assert!(!requests.iter().any(|line| line.starts_with("LIST")), "{point}: {requests:#?}");
    assert!(requests.len() <= FIXED + PER_PARTITION * units, "{point}: {} requests\n{requests:#?}", requests.len());
}

/// Increments over a history are cheap.
fn assert_increments_are_cheap(lake: &Lake, history: &str) {
    for partitions in [1, 3, 30] {
        let increment = orders_of(partitions, &format!("I{partitions}"));
        let requests = requests_of(lake, &increment, partitions);
        assert_few(&requests, partitions, &format!("{partitions} partitions after {history}"));
    }
    // An order with a sku that no order had before: a member of `dim_product` is inferred.
    let increment = [order("J", &dt(1), "").replace(r#""sku":"S""#, r#""sku":"S-NEW""#)];
    assert_few(&requests_of(lake, &increment, 1), 2, &format!("a partition and a dimension after {history}"));
    // An order that moves leaves one partition for another: both are read twice. Its days have fewer orders than their like: an alert.
    let increment = [order("I30-30", &dt(29), r#","updated_at":"2026-01-01""#)];
    assert_few(&requests_of(lake, &increment, 2), 3, &format!("an order that moves after {history}"));
}

/// Each run counts as long enough to be held against those before it.
const ALWAYS_COMPARED: &str = "[alerts]\nslow_after = \"0s\"\nslow_percent = 100000\n";

#[test]
fn an_increment_costs_requests_for_its_own_partitions_after_three_commits() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::behind_proxy(server.bucket());
    lake.work.write("etl.toml", ALWAYS_COMPARED);
    for days in [10, 20, 30] {
        lake.load(&orders_of(days, "H"), &[]).published();
    }
    assert_eq!(lake.commits().len(), 3);
    assert_increments_are_cheap(&lake, "3 commits");
}

#[test]
fn an_increment_costs_requests_for_its_own_partitions_after_three_hundred_commits() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::behind_proxy(server.bucket());
    lake.work.write("etl.toml", ALWAYS_COMPARED);
    // Each day has an order: a day without one would be an alert.
    let last_days = ["03", "05", "07", "08", "10"].map(|month| order(&format!("L{month}"), &format!("2025-{month}-31"), ""));
    lake.work.write("history.ndjson", [orders_of(300, "H"), last_days.to_vec()].concat().join("\n"));
    let chunks = ["--since", "2025-03-01", "--until", "2025-12-31", "--chunk", "1d"];
    let ended = lake.etl(&[&["backfill", "--orders", "history.ndjson"], &chunks[..]].concat());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(lake.commits().len() >= 300, "{:?}", lake.commits());
    assert_increments_are_cheap(&lake, "300 commits");
}

#[test]
fn an_output_of_the_version_before_is_taken_over_by_the_first_run() {
    let Some(server) = S3Server::moto() else { return };
    let folder = Workspace::new();
    for days in [10, 20, 30] {
        folder.load(&orders_of(days, "H"), &[]).published();
    }
    // A folder has the layout of the version before: each small object is one, and the hint has no notes.
    let lake = Lake::behind_proxy(server.bucket());
    folder.files("").into_iter().for_each(|(place, content)| lake.bucket.put(&lake.key(&place), content));
    lake.bucket.put(&lake.key("state/leases.json"), br#"{"leases":[]}"#.to_vec());
    let hint = |lake: &Lake| -> Value { serde_json::from_slice(&lake.get("state/latest.json").unwrap()).unwrap() };
    assert_eq!((&hint(&lake)["format"], &hint(&lake)["notes"]), (&json!(1), &Value::Null));
    // A rerun finds everything: the index, the prices, the coverage.
    let rerun = lake.load(&orders_of(30, "H"), &[]).unchanged();
    assert_eq!(rerun["rows_unchanged"], 30);
    folder.load(&orders_of(30, "H"), &[]).unchanged();
    for increment in [orders_of(3, "I"), vec![order("I-3", &dt(2), r#","updated_at":"2026-01-01""#)]] {
        folder.load(&increment, &[]).published();
        // An order that moves has its partitions read twice.
        let requests = requests_of(&lake, &increment, increment.len().max(2));
        assert_few(&requests, 3, "after the takeover");
    }
    assert_same(&lake.layer(), &folder.layer(), "taken over");
    lake.assert_projected("taken over");
    assert_eq!(hint(&lake)["format"], 2, "the version before refuses it");
    const EXPLAIN: [&str; 4] = ["explain", "I-3", "--format", "json"];
    let (explained, expected) = (lake.etl(&EXPLAIN), folder.etl(&EXPLAIN));
    assert_eq!((explained.code, expected.code), (0, 0), "{}", explained.stderr);
    let versions = |ended: &Ended| ended.summary()["versions"].as_array().unwrap().len();
    assert_eq!(versions(&explained), versions(&expected), "{}", explained.stdout);
}

#[test]
fn the_work_of_a_run_that_was_cut_off_is_finished_before_the_next_run_reads_its_source() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::behind_proxy(server.bucket());
    lake.load(&first(), &[]).published();
    lake.bucket.proxy().add(Rule::new(Fault::Hold).method("PUT").key("/curated/").nth(0));
    lake.work.write("orders.ndjson", second().join("\n"));
    let mut killed = lake.start(&["run", "--orders", "orders.ndjson"]);
    lake.bucket.proxy().wait_for_held(1);
    killed.kill().unwrap();
    killed.wait().unwrap();
    lake.bucket.proxy().clear();
    // The next run fails at its source: by then, readers of the prefix see all of the run before.
    lake.etl(&["run", "--orders", "missing.ndjson"]).expect(3, "extract_failed");
    assert_same(&lake.layer(), both_loads(), "finished");
    lake.assert_projected("finished");
}

/// So many orders that their index stands neither in the record nor beside the hint.
const ORDERS_OF_A_LARGE_INDEX: usize = 90_000;

#[test]
fn a_damaged_index_is_made_again_from_the_log_and_not_from_an_older_file() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::new(server.bucket());
    let mut orders: Vec<_> = (0..ORDERS_OF_A_LARGE_INDEX).map(|number| order(&format!("N{number}"), "2026-01-04", "")).collect();
    orders.push(line("A", 5, 1, 1));
    lake.load(&orders, &[]).published();
    let place = "curated/dt=2026-01-05/part-00000.csv";
    let old = lake.get(place).unwrap();
    lake.load(&[line("A", 5, 2, 2)], &[]).published();
    let new = lake.get(place).unwrap();
    assert_ne!(old, new);
    // As it is from the commit of a run to the end of its installation.
    lake.bucket.put(&lake.key(place), old);

    let index = lake.files("state/index");
    assert_eq!(index.len(), 1, "the index is an object of its own: {:?}", index.keys());
    index.keys().for_each(|name| lake.bucket.put(&lake.key(name), "damaged"));
    let explained = lake.etl(&["explain", "A", "--json"]).summary();
    let quantities = explained["rows"].as_array().unwrap().iter().map(|row| row["columns"]["quantity"].clone());
    assert_eq!(quantities.collect::<Vec<_>>(), ["2", "1"], "{explained}");
    let ended = lake.load(&[line("B", 6, 1, 1)], &[]);
    ended.published();
    assert!(ended.stderr.contains("rebuilt from the partitions that the newest commit names"), "{}", ended.stderr);
    assert_eq!(lake.by_manifest()[place], new, "after a damaged index");

    // The check may fail: it names the file that is older than the log.
    let ended = lake.etl(&["check", "--rebuild-state"]);
    assert!([0, 4].contains(&ended.code), "{}", ended.stderr);
    lake.load(&[line("C", 7, 1, 1)], &[]).published();
    assert_eq!(lake.by_manifest()[place], new, "after a rebuild of the state");
    assert_eq!(lake.load(&[line("A", 8, 3, 3)], &[]).published()["rows_moved"], 2, "the index knows the order");
}

#[test]
fn a_mistyped_prefix_is_named_and_nothing_is_put_there() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::new(server.bucket());
    lake.load(&first(), &[]).published();
    let before = lake.bucket.sizes("");
    let mistyped = format!("{}-typo", lake.url());
    let run_id = "20260131T100000123456Z-01a2b30000";
    let commands: [&[&str]; 8] = [
        &["vacuum"],
        &["rewrite"],
        &["check"],
        &["check", "--rebuild-state"],
        &["explain", "A"],
        &["diff", run_id],
        &["undo", run_id],
        &["erase", "--user", "U-A"],
    ];
    for args in commands {
        let ended = lake.etl(&[args, &["--output", &mistyped]].concat());
        assert_eq!(ended.code, 2, "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(&format!("{mistyped} holds no layer")), "{args:?}: {}", ended.stderr);
    }
    let listed = lake.etl(&["runs", "--output", &mistyped]);
    assert!(listed.code == 0 && listed.stdout.contains(&mistyped), "{}", listed.stdout);
    assert_eq!(lake.bucket.sizes(""), before);
}
