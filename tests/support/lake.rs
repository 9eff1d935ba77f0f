//! A layer in a bucket of its own, and the folder that the runs over it work in. What it holds is read past the proxy.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::support::{Ended, Workspace, buckets::Bucket, ended};

/// The objects of a layer beneath the output, with their content.
pub type Objects = BTreeMap<String, Vec<u8>>;

pub struct Lake {
    pub work: Workspace,
    pub bucket: Bucket,
    /// The output's prefix in the bucket.
    prefix: String,
}

impl Lake {
    pub fn new(bucket: Bucket) -> Lake {
        Lake::at(bucket, "team/lake")
    }

    pub fn at(bucket: Bucket, prefix: &str) -> Lake {
        let work = Workspace::new();
        std::fs::create_dir(work.path("tmp")).unwrap();
        Lake { work, bucket, prefix: prefix.to_owned() }
    }

    /// Behind a proxy that passes one write at a time, as moto needs it where several run at once.
    pub fn behind_proxy(bucket: Bucket) -> Lake {
        let lake = Lake::new(bucket.behind_proxy(1));
        lake.bucket.proxy().serialize_writes();
        lake
    }

    pub fn url(&self) -> String {
        self.bucket.url(&self.prefix)
    }

    /// The command over this output. Its scratch is in the folder of the test.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.work.command(args);
        let settings = [("ETL_OUTPUT", self.url()), ("ETL_LOG_FORMAT", "text".into()), ("ETL_STORAGE_RETRY_TIMEOUT", "20s".into())];
        command.envs(self.bucket.environment()).envs(settings).env("TMPDIR", self.work.path("tmp"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn etl(&self, args: &[&str]) -> Ended {
        ended(self.command(args).output().unwrap())
    }

    pub fn start(&self, args: &[&str]) -> Child {
        self.command(args).spawn().unwrap()
    }

    /// `etl run` over these NDJSON lines.
    pub fn load(&self, lines: &[String], args: &[&str]) -> Ended {
        self.work.write("orders.ndjson", lines.join("\n"));
        self.etl(&[&["run", "--orders", "orders.ndjson"], args].concat())
    }

    /// The key in the bucket of an object beneath the output.
    pub fn key(&self, place: &str) -> String {
        format!("{}/{place}", self.prefix)
    }

    pub fn get(&self, place: &str) -> Option<Vec<u8>> {
        self.bucket.get(&self.key(place))
    }

    /// The objects beneath a folder of the output; of all for an empty name.
    pub fn files(&self, folder: &str) -> Objects {
        let prefix = self.key(folder);
        let objects = self.bucket.objects(prefix.trim_end_matches('/'));
        objects.into_iter().map(|(key, content)| (key[self.prefix.len() + 1..].to_owned(), content)).collect()
    }

    /// All that plain readers see, as it would be in a folder: without files that have no row.
    pub fn layer(&self) -> Objects {
        let curated = self.files("curated").into_iter().filter(|(name, content)| has_rows(name, content));
        curated.chain(self.files("dims")).collect()
    }

    /// The partitions whose file has a header and no row.
    pub fn empty_partitions(&self) -> Vec<String> {
        self.files("curated").into_iter().filter(|(name, content)| !has_rows(name, content)).map(|(name, _)| name).collect()
    }

    /// The objects that a manifest names, as `(place beneath the output, size)`; `None` if there is no such manifest.
    pub fn manifest(&self, name: &str) -> Option<Vec<(String, u64)>> {
        let bytes = self.get(&format!("manifests/{name}"))?;
        Some(entries(&bytes, &self.url()))
    }

    /// What a reader of the manifest of the whole layer sees, by day.
    #[track_caller]
    pub fn by_manifest(&self) -> Objects {
        let mut days = BTreeMap::new();
        for (place, bytes) in self.manifest("latest").unwrap_or_default() {
            let content = self.get(&place).unwrap_or_else(|| panic!("manifests/latest names {place}, which is missing"));
            assert_eq!(content.len() as u64, bytes, "{place}");
            let (day, name) = place.strip_prefix("data/").unwrap().split_once('/').unwrap();
            let end = name.split_once('.').unwrap().1;
            let is_new = days.insert(format!("curated/{day}/part-00000.{end}"), content).is_none();
            assert!(is_new, "two objects of {day} in manifests/latest");
        }
        days
    }

    /// The facts that plain readers see are those of the manifest: no installation is left undone.
    #[track_caller]
    pub fn assert_projected(&self, point: &str) {
        let curated: Objects = self.layer().into_iter().filter(|(place, _)| place.starts_with("curated/")).collect();
        assert_same(&curated, &self.by_manifest(), &format!("{point}: curated/ and manifests/latest"));
    }

    /// The numbers of the log.
    pub fn commits(&self) -> Vec<u64> {
        let number = |place: &str| place.strip_prefix("state/commits/").unwrap().strip_suffix(".json").unwrap().parse().unwrap();
        self.bucket.sizes(&self.key("state/commits")).keys().map(|key| number(&key[self.prefix.len() + 1..])).collect()
    }

    /// The ids of the runs of the log, in order.
    pub fn committed_runs(&self) -> Vec<String> {
        let record =
            |number: &u64| -> Value { serde_json::from_slice(&self.get(&format!("state/commits/{number:020}.json")).unwrap()).unwrap() };
        self.commits().iter().map(|number| record(number)["run_id"].as_str().unwrap().to_owned()).collect()
    }

    /// No lease holds anything any more: as if each of them had ended by its time. Leases are courtesy.
    pub fn end_leases(&self) {
        let Some(hint) = self.get("state/latest.json") else { return };
        let mut hint: Value = serde_json::from_slice(&hint).unwrap();
        let Some(notes) = hint.get_mut("notes").and_then(Value::as_object_mut) else { return };
        notes.remove("leases");
        // Who takes a lease over remembers its run: that one may have committed.
        let since = orders_etl::model::UtcMicros::now().rfc3339();
        notes.insert("unsettled".to_owned(), serde_json::json!([{"by": {"name": "unknown", "since": since}}]));
        self.bucket.put(&self.key("state/latest.json"), hint.to_string().into_bytes());
    }

    /// The scratch of runs that is still there.
    pub fn scratch(&self) -> Vec<String> {
        let entries = self.work.path("tmp").read_dir().unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Makes the scratch of runs that were killed old: a young one may be that of a run at its beginning.
    pub fn age_scratch(&self) {
        for name in self.scratch() {
            let folder = File::open(self.work.path("tmp").join(name)).unwrap();
            folder.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        }
    }

    /// Puts a copy of all objects of this output into another one.
    pub fn copy_objects(&self, objects: &Objects, to: &Lake) {
        for (place, content) in objects {
            // Manifests name whole URLs; those that are yet to be written stand in the commits.
            let names_urls = place.starts_with("manifests/") || place.starts_with("state/commits/");
            let own = names_urls.then(|| String::from_utf8(content.clone()).unwrap().replace(&self.url(), &to.url()).into_bytes());
            to.bucket.put(&to.key(place), own.unwrap_or_else(|| content.clone()));
        }
    }
}

/// Whether the file of a partition has more than a header.
pub fn has_rows(name: &str, content: &[u8]) -> bool {
    let format = orders_etl::model::FileFormat::of_name(name).unwrap();
    let csv = orders_etl::layer::decode_stored(format, content.to_vec(), name.as_ref()).unwrap();
    csv.iter().filter(|&&byte| byte == b'\n').count() > 1
}

/// The entries of a manifest.
pub fn entries(manifest: &[u8], url: &str) -> Vec<(String, u64)> {
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    let entry = |entry: &Value| {
        let place = entry["url"].as_str().unwrap().strip_prefix(&format!("{url}/")).unwrap_or_else(|| panic!("not beneath {url}: {entry}"));
        (place.to_owned(), entry["meta"]["content_length"].as_u64().unwrap())
    };
    manifest["entries"].as_array().unwrap().iter().map(entry).collect()
}

/// Compares by name first: bytes say little.
#[track_caller]
pub fn assert_same(found: &Objects, expected: &Objects, what: &str) {
    let names = |objects: &Objects| objects.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(found), names(expected), "{what}");
    for (name, content) in expected {
        let text = |content: &[u8]| String::from_utf8_lossy(content).into_owned();
        assert_eq!(text(&found[name]), text(content), "{what}: {name}");
    }
}
