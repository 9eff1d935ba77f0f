//! The places beneath an output (contract, Output). Every path that the tool uses there is named here, once.
//!
//! All of them are relative to the output.

use std::path::{Path, PathBuf};

use crate::model::{DimensionSpec, Dt};

/// The facts, and nothing else: a warehouse loads this folder whole.
pub const CURATED: &str = "curated";
/// The dimensions.
pub const DIMS: &str = "dims";
/// The dropped records of each run.
pub const QUARANTINE: &str = "quarantine";
/// The Redshift manifests of each run.
pub const MANIFESTS: &str = "manifests";
/// The summaries of each run.
pub const REPORTS: &str = "reports";
/// The tool's own files.
pub const STATE: &str = "state";
/// Size, time and checksum of each partition.
pub const CATALOG: &str = "state/catalog.json";
/// The index of orders.
pub const INDEX: &str = "state/index";
/// Which record of the source brought which version of an order, by run.
pub const LINEAGE: &str = "state/lineage";
/// The last known price of each sku.
pub const PRICES: &str = "state/prices";
/// The intervals that runs have loaded.
pub const COVERAGE: &str = "state/coverage.json";
/// The open alerts.
pub const ALERTS: &str = "state/alerts.json";
/// The open alerts about runs that hang and hold the output.
pub const STUCK: &str = "state/stuck.json";
/// The lock of that file.
pub const STUCK_LOCK: &str = "state/stuck.lock";
/// The first run after a jump of the clock that is doubted.
pub const CLOCK_JUMP: &str = "state/clock-jump";
/// The journal of a publish that is decided and not finished.
pub(super) const JOURNAL: &str = "state/journal.json";
/// The lock of the output.
pub(super) const LOCK: &str = "state/lock";
/// What runs stage: beside `curated/`, never beneath it, and on the same disk.
pub(super) const STAGING: &str = "state/staging";

/// The folders that an output may hold.
pub const FOLDERS: [&str; 6] = [CURATED, DIMS, QUARANTINE, MANIFESTS, REPORTS, STATE];

/// What the name of a partition's folder begins with.
const DT: &str = "dt=";
/// What the name of a run's folder in quarantine begins with.
const RUN: &str = "run_id=";
/// The file of a partition within its folder.
pub const PARTITION_FILE: &str = "part-00000.csv";

/// The folder of a partition.
pub fn partition_folder(dt: Dt) -> PathBuf {
    Path::new(CURATED).join(format!("{DT}{dt}"))
}

/// The file of a partition.
pub fn partition_file(dt: Dt) -> PathBuf {
    partition_folder(dt).join(PARTITION_FILE)
}

/// What the paths of all partitions begin with whose dates begin so: `2026-01-`.
pub fn partitions_prefix(date: &str) -> String {
    format!("{CURATED}/{DT}{date}")
}

/// The partition of a folder of this name; `None` if it is no partition's.
pub fn partition_of(folder: &str) -> Option<Dt> {
    folder.strip_prefix(DT)?.parse().ok()
}

/// The file of a dimension.
pub fn dimension(spec: &DimensionSpec) -> PathBuf {
    Path::new(DIMS).join(spec.name).join(format!("{}.csv", spec.name))
}

/// The quarantine of a run.
pub fn quarantine(run_id: &str) -> PathBuf {
    Path::new(QUARANTINE).join(format!("{RUN}{run_id}")).join("records.ndjson")
}

/// The run whose folder in quarantine has this name.
pub fn quarantined_run(folder: &str) -> Option<&str> {
    folder.strip_prefix(RUN)
}

/// The manifest of a run.
pub fn manifest(run_id: &str) -> PathBuf {
    Path::new(MANIFESTS).join(format!("{run_id}.manifest"))
}

/// The summary of a run.
pub fn report(run_id: &str) -> PathBuf {
    Path::new(REPORTS).join(format!("{run_id}.json"))
}

/// The folder of the rows that violate the checks of a run.
pub fn violations(run_id: &str) -> PathBuf {
    Path::new(REPORTS).join(format!("{run_id}.violations"))
}

/// The run that a name in one of the folders of runs belongs to: a quarantine, a manifest, a report, violations.
pub fn run_of(name: &str) -> &str {
    let name = quarantined_run(name).unwrap_or(name);
    [".json", ".manifest", ".violations"].into_iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}
