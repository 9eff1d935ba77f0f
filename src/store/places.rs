//! The places beneath an output (contract, Output). Every key that the tool uses there is named here, once.
//!
//! All of them are relative to the output.

use super::Key;
use crate::model::{DimensionSpec, Dt, FactType, FileFormat, ORDER_TOTAL_COLUMNS, REFUND_COLUMNS};

/// The facts, and nothing else: a warehouse loads this folder whole.
pub const CURATED: &str = "curated";
/// The totals of orders, by the same days as the facts.
pub const ORDER_TOTALS: &str = "order_totals";
/// Refunds, by their own days.
pub const REFUNDS: &str = "refunds";
/// The dimensions.
pub const DIMS: &str = "dims";
/// The dropped records of each run.
pub const QUARANTINE: &str = "quarantine";
/// The records of each run as the source delivered them, where they are kept.
pub const RAW: &str = "raw";
/// The Redshift manifests of each run.
pub const MANIFESTS: &str = "manifests";
/// The manifest of the whole layer.
pub const WHOLE_MANIFEST: &str = "manifests/latest";
/// The summaries of each run.
pub const REPORTS: &str = "reports";
/// The immutable files of partitions and dimensions, of now and of before.
pub const DATA: &str = "data";
/// The tool's own files.
pub const STATE: &str = "state";
/// The commits of the layer.
pub(crate) const COMMITS: &str = "state/commits";
/// Records that could not be read.
pub(super) const DAMAGED_COMMITS: &str = "state/damaged_commits";
/// A copy of the newest commit that is installed; in a bucket, with the leases of runs beside it.
pub const LATEST: &str = "state/latest.json";
/// The index of orders.
pub const INDEX: &str = "state/index";
/// Which record of the source brought which version of an order, by run.
pub const LINEAGE: &str = "state/lineage";
/// The last known price of each sku, as runs have left them.
pub const PRICES: &str = "state/price_books";
/// The open alerts.
pub const ALERTS: &str = "state/alerts.json";
/// The open alerts about runs that hang and hold the output.
pub const STUCK: &str = "state/stuck.json";
/// The lock of that file.
pub const STUCK_LOCK: &str = "state/stuck.lock";
/// The first run after a jump of the clock that is doubted.
pub const CLOCK_JUMP: &str = "state/clock-jump";
/// The day on which old versions were last removed.
pub const VACUUMED: &str = "state/vacuumed";
/// The lock of a commit and its installation, in a folder.
pub(super) const LOCK: &str = "state/lock";
/// The lock of the list of leases, in a folder.
pub(super) const LEASES_LOCK: &str = "state/leases.lock";
/// The leases of runs, in a folder: a file each.
pub(super) const LEASES: &str = "state/leases";
/// What runs stage in a folder: beside `curated/`, never beneath it, and on the same disk.
pub(super) const STAGING: &str = "state/staging";

/// Files of the layout before commits.
pub mod before_commits {
    /// Size, time and checksum of each partition.
    pub const CATALOG: &str = "state/catalog.json";
    /// The last known price of each sku.
    pub const PRICES: &str = "state/prices";
    /// The intervals that runs had loaded.
    pub const COVERAGE: &str = "state/coverage.json";
    /// The journal of a publish that was decided and not finished.
    pub const JOURNAL: &str = "state/journal.json";
}

/// The folders that an output may hold.
pub const FOLDERS: [&str; 10] = [CURATED, ORDER_TOTALS, REFUNDS, DIMS, QUARANTINE, RAW, MANIFESTS, REPORTS, DATA, STATE];

/// What the name of a partition's folder begins with.
const DT: &str = "dt=";
/// What the name of a run's folder in quarantine and in `raw/` begins with.
const RUN: &str = "run_id=";
/// The name of a partition's file within its folder, without its end, which tells its format.
pub const PARTITION_FILE: &str = "part-00000";

/// The folder of a partition.
pub fn partition_folder(dt: Dt) -> Key {
    Key::new(format!("{CURATED}/{DT}{dt}"))
}

/// The file of a partition in a format.
pub fn partition_file(dt: Dt, format: FileFormat) -> Key {
    partition_folder(dt).join(format!("{PARTITION_FILE}.{}", format.extension()))
}

/// The format of a partition's file; `None` for any other key.
pub fn partition_format(key: &Key) -> Option<FileFormat> {
    partition_of_key(key)?;
    let format = FileFormat::of_name(key.name())?;
    (key.name().strip_suffix(format.extension())?.strip_suffix('.')? == PARTITION_FILE).then_some(format)
}

/// What the paths of all partitions begin with whose dates begin so: `2026-01-`.
pub fn partitions_prefix(date: &str) -> String {
    format!("{CURATED}/{DT}{date}")
}

/// The partition of a folder of this name; `None` if it is no partition's.
pub fn partition_of(folder: &str) -> Option<Dt> {
    folder.strip_prefix(DT)?.parse().ok()
}

/// The partition that a key of `curated/` belongs to.
pub fn partition_of_key(key: &Key) -> Option<Dt> {
    let (folder, _) = key.as_str().strip_prefix(CURATED)?.strip_prefix('/')?.split_once('/')?;
    partition_of(folder)
}

/// A fact beside the lines: always CSV, whatever the format of the facts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SideFact {
    /// The totals of orders, in the partition of the order.
    OrderTotals,
    /// Refunds, in the partition of the refund.
    Refunds,
}

impl SideFact {
    /// All of them.
    pub const ALL: [SideFact; 2] = [SideFact::OrderTotals, SideFact::Refunds];

    /// The name of its table.
    pub fn table(self) -> &'static str {
        match self {
            SideFact::OrderTotals => "fact_order_total",
            SideFact::Refunds => "fact_refund",
        }
    }

    /// Name and type of each of its columns.
    pub fn columns(self) -> &'static [(&'static str, FactType)] {
        match self {
            SideFact::OrderTotals => &ORDER_TOTAL_COLUMNS,
            SideFact::Refunds => &REFUND_COLUMNS,
        }
    }

    /// Its folder.
    pub fn folder(self) -> &'static str {
        match self {
            SideFact::OrderTotals => ORDER_TOTALS,
            SideFact::Refunds => REFUNDS,
        }
    }

    /// Its file of a day.
    pub fn file(self, dt: Dt) -> Key {
        Key::new(format!("{}/{DT}{dt}/{PARTITION_FILE}.{}", self.folder(), FileFormat::default().extension()))
    }

    /// What the paths of its files begin with whose dates begin so: `2026-01-`.
    pub fn days_prefix(self, date: &str) -> String {
        format!("{}/{DT}{date}", self.folder())
    }

    /// The day that a key holds rows of; `None` for any other key.
    pub fn day_of_key(self, key: &Key) -> Option<Dt> {
        let (folder, _) = key.as_str().strip_prefix(self.folder())?.strip_prefix('/')?.split_once('/')?;
        partition_of(folder).filter(|dt| self.file(*dt) == *key)
    }

    /// The side fact and the day that a key holds rows of; `None` for any other key.
    pub fn of_key(key: &Key) -> Option<(SideFact, Dt)> {
        SideFact::ALL.into_iter().find_map(|fact| Some((fact, fact.day_of_key(key)?)))
    }
}

/// The file of a dimension.
pub fn dimension(spec: &DimensionSpec) -> Key {
    Key::new(format!("{DIMS}/{}/{}.csv", spec.name, spec.name))
}

/// The immutable object of a projected file, in the version that a run has made. A run that merges again makes a new one.
pub fn object_of(key: &Key, run_id: &str, attempt: usize) -> Key {
    let (folder, name) = (key.folder().unwrap_or_default(), key.name());
    // The objects of several facts of one day lie in folders of their own: they have one name.
    let folder = if SideFact::ALL.iter().any(|fact| is_in(key, fact.folder())) {
        folder
    } else {
        folder.rsplit_once('/').map_or(folder, |(_, last)| last)
    };
    let ending = name.split_once('.').map_or("", |(_, ending)| ending);
    let again = if attempt == 0 { String::new() } else { format!("-{attempt}") };
    Key::new(format!("{DATA}/{folder}/{run_id}{again}.{ending}"))
}

/// What becomes of a file that a run puts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It is an immutable object, which is installed at its key after the commit.
    Projected,
    /// It is immutable, and of this run alone: it is there before the commit.
    Own,
    /// It tells of the commit: it stands in the record, and is written after the commit.
    Told,
}

/// The role of a key.
pub fn role(key: &Key) -> Role {
    let sides = SideFact::ALL.iter().map(|fact| fact.folder());
    if [CURATED, DIMS].into_iter().chain(sides).any(|folder| is_in(key, folder)) {
        return Role::Projected;
    }
    let is_told = key.folder().is_some_and(|folder| folder == REPORTS || folder == MANIFESTS);
    if is_told { Role::Told } else { Role::Own }
}

/// Whether a key lies beneath a folder.
fn is_in(key: &Key, folder: &str) -> bool {
    key.as_str().strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// The record of a commit.
pub(super) fn commit(number: u64) -> Key {
    Key::new(format!("{COMMITS}/{number:020}.json"))
}

/// The number of a commit's record.
pub(super) fn commit_number(name: &str) -> Option<u64> {
    name.strip_suffix(".json")?.parse().ok()
}

/// The lease of a run, in a folder.
pub(super) fn lease(run_id: &str) -> Key {
    Key::new(format!("{LEASES}/{run_id}.json"))
}

/// The last known prices, as a run has left them.
pub fn prices(run_id: &str) -> Key {
    Key::new(format!("{PRICES}/{run_id}"))
}

/// The quarantine of a run.
pub fn quarantine(run_id: &str) -> Key {
    Key::new(format!("{QUARANTINE}/{RUN}{run_id}/records.ndjson"))
}

/// The run whose folder in quarantine or in `raw/` has this name.
pub fn run_of_folder(folder: &str) -> Option<&str> {
    folder.strip_prefix(RUN)
}

/// The kept records of the orders of a run.
pub fn raw_orders(run_id: &str) -> Key {
    Key::new(format!("{RAW}/{RUN}{run_id}/orders-00000.ndjson.zst"))
}

/// The manifest of a run.
pub fn manifest(run_id: &str) -> Key {
    Key::new(format!("{MANIFESTS}/{run_id}.manifest"))
}

/// The summary of a run.
pub fn report(run_id: &str) -> Key {
    Key::new(format!("{REPORTS}/{run_id}.json"))
}

/// The folder of the rows that violate the checks of a run.
pub fn violations(run_id: &str) -> Key {
    Key::new(format!("{REPORTS}/{run_id}.violations"))
}

/// The run that a name in one of the folders of runs belongs to: a quarantine, kept records, a manifest, a report, violations.
pub fn run_of(name: &str) -> &str {
    let name = run_of_folder(name).unwrap_or(name);
    [".json", ".manifest", ".violations"].into_iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DIM_USER;

    #[test]
    fn an_object_is_named_by_its_place_and_its_run() {
        let dt = "2026-01-31".parse().unwrap();
        assert_eq!(object_of(&partition_file(dt, FileFormat::default()), "r", 0).as_str(), "data/dt=2026-01-31/r.csv");
        assert_eq!(object_of(&partition_file(dt, FileFormat::Parquet), "r", 1).as_str(), "data/dt=2026-01-31/r-1.parquet");
        assert_eq!(object_of(&SideFact::OrderTotals.file(dt), "r", 1).as_str(), "data/order_totals/dt=2026-01-31/r-1.csv");
        assert_eq!(object_of(&SideFact::Refunds.file(dt), "r", 0).as_str(), "data/refunds/dt=2026-01-31/r.csv");
        assert_eq!(object_of(&dimension(&DIM_USER), "r", 2).as_str(), "data/dim_user/r-2.csv");
        assert_eq!(object_of(&Key::new("curated/dt=2026-01-31/part-00000.csv.gz"), "r", 0).as_str(), "data/dt=2026-01-31/r.csv.gz");
    }

    #[test]
    fn a_role_follows_from_the_key() {
        let dt = "2026-01-31".parse().unwrap();
        let roles = [
            partition_file(dt, FileFormat::default()),
            SideFact::OrderTotals.file(dt),
            SideFact::Refunds.file(dt),
            dimension(&DIM_USER),
            report("r"),
            manifest("r"),
            violations("r").join("x.csv"),
            quarantine("r"),
            raw_orders("r"),
        ];
        let projected = [Role::Projected; 4];
        let expected = [&projected[..], &[Role::Told, Role::Told, Role::Own, Role::Own, Role::Own]].concat();
        assert_eq!(roles.map(|key| role(&key)).to_vec(), expected);
        assert_eq!(SideFact::of_key(&SideFact::Refunds.file(dt)), Some((SideFact::Refunds, dt)));
        assert_eq!(run_of("run_id=r"), "r");
        assert_eq!(commit_number(commit(7).name()), Some(7));
        assert_eq!(
            (
                SideFact::OrderTotals.day_of_key(&SideFact::OrderTotals.file(dt)),
                SideFact::OrderTotals.day_of_key(&partition_file(dt, FileFormat::default()))
            ),
            (Some(dt), None)
        );
        assert_eq!(
            (
                partition_of_key(&SideFact::OrderTotals.file(dt)),
                SideFact::OrderTotals.day_of_key(&Key::from("order_totals/dt=2026-01-31/x.csv"))
            ),
            (None, None)
        );
    }
}
