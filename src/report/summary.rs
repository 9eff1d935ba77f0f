//! The summary of a run (contract, Summary).

use std::collections::BTreeMap;

use serde::{Serialize, ser::SerializeMap};

use super::Alert;
use crate::{
    check::CheckResult,
    coverage::SourceIdentity,
    join::DimensionCounts,
    layer::MergeCounts,
    model::{CurrencyTotals, Dt, Reason, UtcMicros, units_text},
    normalize::RecordCounts,
    settings::Cursor,
    source::{Completeness, SourceCounts},
};

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is named as the contract names it")]
pub enum Status {
    Published,
    Unchanged,
    DryRun,
    ExtractFailed,
    ChecksFailed,
    StorageFailed,
    Locked,
    Interrupted,
    InvalidConfiguration,
    /// A defect of this tool (exit 1), which the contract's list has no word for.
    InternalError,
}

impl Status {
    /// The name in the summary.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Published => "published",
            Status::Unchanged => "unchanged",
            Status::DryRun => "dry_run",
            Status::ExtractFailed => "extract_failed",
            Status::ChecksFailed => "checks_failed",
            Status::StorageFailed => "storage_failed",
            Status::Locked => "locked",
            Status::Interrupted => "interrupted",
            Status::InvalidConfiguration => "invalid_configuration",
            Status::InternalError => "internal_error",
        }
    }

    /// All of them.
    pub const ALL: [Status; 10] = [
        Status::Published,
        Status::Unchanged,
        Status::DryRun,
        Status::ExtractFailed,
        Status::ChecksFailed,
        Status::StorageFailed,
        Status::Locked,
        Status::Interrupted,
        Status::InvalidConfiguration,
        Status::InternalError,
    ];

    /// Whether the layer is then as the run wanted it.
    pub fn is_success(self) -> bool {
        matches!(self, Status::Published | Status::Unchanged)
    }
}

/// What a run was started as: runs are held against earlier ones of the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandName {
    /// `etl run`.
    Run,
    /// A chunk of `etl backfill`.
    Backfill,
    /// `etl quarantine replay`.
    Replay,
    /// `etl demo`.
    Demo,
}

impl CommandName {
    /// The name in the summary.
    pub fn as_str(self) -> &'static str {
        match self {
            CommandName::Run => "run",
            CommandName::Backfill => "backfill",
            CommandName::Replay => "replay",
            CommandName::Demo => "demo",
        }
    }
}

/// Whether each source was read whole: that of the orders, with those of users and products inside.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct RunCompleteness {
    /// Of the orders; `None` where they were not read to an end.
    pub orders: Option<Completeness>,
    /// Of the users.
    pub users: Option<Completeness>,
    /// Of the products.
    pub products: Option<Completeness>,
}

impl RunCompleteness {
    /// Each that is known, by the name of its source.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &Completeness)> {
        let all = [("orders", &self.orders), ("users", &self.users), ("products", &self.products)];
        all.into_iter().filter_map(|(source, completeness)| Some((source, completeness.as_ref()?)))
    }
}

impl Serialize for RunCompleteness {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let orders = self.orders.as_ref();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("status", &orders.map(|orders| orders.status))?;
        map.serialize_entry("by", &orders.and_then(|orders| orders.by))?;
        map.serialize_entry("claimed", &orders.and_then(|orders| orders.claimed))?;
        map.serialize_entry("read", &orders.map(|orders| orders.read))?;
        map.serialize_entry("distinct", &orders.and_then(|orders| orders.distinct))?;
        map.serialize_entry("why", &orders.and_then(|orders| orders.why.as_deref()))?;
        map.serialize_entry("users", &self.users)?;
        map.serialize_entry("products", &self.products)?;
        map.end()
    }
}

/// What a run says of itself.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The run.
    pub run_id: String,
    /// What it was started as.
    pub command: CommandName,
    /// The run whose quarantine this one reads.
    pub replay_of: Option<String>,
    /// How it ended.
    pub status: Status,
    /// The window's beginning.
    pub since: Option<UtcMicros>,
    /// The window's end.
    pub until: Option<UtcMicros>,
    /// The time that the window is on.
    pub cursor: Cursor,
    /// The source that its coverage is kept under; `None` where it adds to none.
    pub identity: Option<SourceIdentity>,
    /// A fingerprint of the rules by which records became rows.
    pub rules: String,
    /// Whether each source was read whole.
    pub completeness: RunCompleteness,
    /// When it started.
    pub started_at: UtcMicros,
    /// When it ended.
    pub finished_at: UtcMicros,
    /// How long it took, in seconds, by a clock that never goes back.
    pub execution_time_seconds: f64,
    /// Counts of the normalizer.
    pub records: RecordCounts,
    /// Counts of the merge.
    pub rows: MergeCounts,
    /// The partitions that were written.
    pub partitions_written: Vec<Dt>,
    /// The partitions that lost their last row.
    pub partitions_removed: Vec<Dt>,
    /// Partitions that the run has lines for and that are as they were.
    pub partitions_unchanged: u64,
    /// Revenue of the rows that the run brought.
    pub revenue: CurrencyTotals,
    /// What the checks found.
    pub checks: Vec<CheckResult>,
    /// What somebody should know of.
    pub alerts: Vec<Alert>,
    /// What somebody was told of before, and is over.
    pub recovered: Vec<Alert>,
    /// Counts of the source.
    pub source: SourceCounts,
    /// Counts of the dimensions, by name.
    pub dimensions: BTreeMap<&'static str, DimensionCounts>,
    /// Seconds by stage.
    pub stage_seconds: BTreeMap<&'static str, f64>,
    /// The most memory that the process has held so far, in bytes; where the system tells.
    pub peak_memory_bytes: Option<u64>,
    /// What went wrong, where something did.
    pub error: Option<String>,
}

impl Summary {
    /// The summary of a run that has done nothing yet.
    pub fn new(run_id: String, since: Option<UtcMicros>, until: Option<UtcMicros>, started_at: UtcMicros) -> Summary {
        Summary {
            run_id,
            command: CommandName::Run,
            replay_of: None,
            status: Status::InternalError,
            since,
            until,
            cursor: Cursor::Created,
            identity: None,
            rules: String::new(),
            completeness: RunCompleteness::default(),
            started_at,
            finished_at: started_at,
            execution_time_seconds: 0.0,
            records: RecordCounts::default(),
            rows: MergeCounts::default(),
            partitions_written: Vec::new(),
            partitions_removed: Vec::new(),
            partitions_unchanged: 0,
            revenue: CurrencyTotals::new(),
            checks: Vec::new(),
            alerts: Vec::new(),
            recovered: Vec::new(),
            source: SourceCounts::default(),
            dimensions: BTreeMap::new(),
            stage_seconds: BTreeMap::new(),
            peak_memory_bytes: None,
            error: None,
        }
    }

    /// Records dropped.
    pub fn records_dropped(&self) -> u64 {
        self.dropped(crate::model::Level::Record)
    }

    /// Lines dropped.
    pub fn lines_dropped(&self) -> u64 {
        self.dropped(crate::model::Level::Line)
    }

    fn dropped(&self, level: crate::model::Level) -> u64 {
        Reason::ALL.iter().zip(self.records.dropped).filter(|(reason, _)| reason.level() == level).map(|(_, count)| count).sum()
    }

    /// The reasons that dropped something, with how much.
    pub fn dropped_by_reason(&self) -> BTreeMap<&'static str, u64> {
        Reason::ALL
            .iter()
            .zip(self.records.dropped)
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| (reason.as_str(), count))
            .collect()
    }
}

/// Money by currency as JSON strings.
pub fn money_texts(totals: &CurrencyTotals) -> BTreeMap<&str, String> {
    totals.iter().map(|(currency, units)| (currency.as_str(), units_text(*units))).collect()
}

impl Serialize for Summary {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("run_id", &self.run_id)?;
        map.serialize_entry("command", &self.command)?;
        map.serialize_entry("replay_of", &self.replay_of)?;
        map.serialize_entry("status", &self.status)?;
        map.serialize_entry("since", &self.since.map(UtcMicros::rfc3339))?;
        map.serialize_entry("until", &self.until.map(UtcMicros::rfc3339))?;
        map.serialize_entry("cursor", self.cursor.column())?;
        map.serialize_entry("source_identity", &self.identity.as_ref().map(|identity| &identity.source))?;
        map.serialize_entry("profile", &self.identity.as_ref().map(|identity| &identity.profile))?;
        map.serialize_entry("rules", &self.rules)?;
        map.serialize_entry("started_at", &self.started_at.rfc3339())?;
        map.serialize_entry("finished_at", &self.finished_at.rfc3339())?;
        map.serialize_entry("execution_time_seconds", &self.execution_time_seconds)?;
        map.serialize_entry("records_read", &self.records.records_read)?;
        map.serialize_entry("records_processed_count", &self.records.records_processed)?;
        map.serialize_entry("records_dropped_count", &self.records_dropped())?;
        map.serialize_entry("records_out_of_window", &self.records.records_out_of_window)?;
        map.serialize_entry("records_skipped", &self.records.records_skipped)?;
        map.serialize_entry("dropped", &self.dropped_by_reason())?;
        map.serialize_entry("lines_read", &self.records.lines_read)?;
        map.serialize_entry("lines_dropped", &self.lines_dropped())?;
        map.serialize_entry("duplicates_dropped", &self.rows.duplicates_dropped)?;
        map.serialize_entry("rows_inserted", &self.rows.rows_inserted)?;
        map.serialize_entry("rows_updated", &self.rows.rows_updated)?;
        map.serialize_entry("rows_unchanged", &self.rows.rows_unchanged)?;
        map.serialize_entry("rows_moved", &self.rows.rows_moved)?;
        map.serialize_entry("rows_superseded", &self.rows.rows_superseded)?;
        map.serialize_entry("rows_removed", &self.rows.rows_removed)?;
        map.serialize_entry("prices_defaulted", &self.records.prices_defaulted)?;
        map.serialize_entry("prices_rounded", &self.records.prices_rounded)?;
        map.serialize_entry("updated_at_unreadable", &self.records.updated_at_unreadable)?;
        map.serialize_entry("repeated_skus", &self.records.repeated_skus)?;
        let of_dimensions = |count: fn(&DimensionCounts) -> u64| self.dimensions.values().map(count).sum::<u64>();
        let values_unreadable = self.records.values_unreadable + of_dimensions(|counts| counts.values_unreadable);
        let texts_cut = self.records.texts_cut + of_dimensions(|counts| counts.texts_cut);
        map.serialize_entry("values_unreadable", &values_unreadable)?;
        map.serialize_entry("texts_cut", &texts_cut)?;
        map.serialize_entry("partitions_written", &self.partitions_written)?;
        map.serialize_entry("partitions_removed", &self.partitions_removed)?;
        map.serialize_entry("partitions_unchanged", &self.partitions_unchanged)?;
        map.serialize_entry("revenue", &money_texts(&self.revenue))?;
        map.serialize_entry("checks", &self.checks)?;
        map.serialize_entry("alerts", &self.alerts)?;
        map.serialize_entry("alerts_recovered", &self.recovered)?;
        map.serialize_entry("completeness", &self.completeness)?;
        map.serialize_entry("source", &self.source)?;
        map.serialize_entry("dimensions", &self.dimensions)?;
        map.serialize_entry("stage_seconds", &self.stage_seconds)?;
        map.serialize_entry("peak_memory_bytes", &self.peak_memory_bytes)?;
        map.serialize_entry("error", &self.error)?;
        map.end()
    }
}
