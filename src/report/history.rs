//! The runs before: their summaries, as they lie in `reports/`.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use super::Summary;
use crate::{
    net::redact,
    source::{CompletenessStatus, Evidence},
    store::{self, Output, StoreError},
};

/// What is read back of a run's summary.
#[derive(Clone, Debug, Default, Deserialize)]
#[expect(missing_docs, reason = "each is a field of the contract's summary, under its name")]
pub struct RecordedRun {
    pub run_id: String,
    #[serde(default)]
    pub command: Option<String>,
    #[serde(default)]
    pub replay_of: Option<String>,
    pub status: String,
    #[serde(default)]
    pub since: Option<String>,
    #[serde(default)]
    pub until: Option<String>,
    #[serde(default)]
    pub cursor: Option<String>,
    #[serde(default)]
    pub source_identity: Option<String>,
    #[serde(default)]
    pub profile: Option<String>,
    #[serde(default)]
    pub rules: String,
    #[serde(default)]
    pub completeness: RecordedCompleteness,
    pub started_at: String,
    #[serde(default)]
    pub execution_time_seconds: f64,
    #[serde(default)]
    pub records_read: u64,
    #[serde(default)]
    pub records_processed_count: u64,
    #[serde(default)]
    pub records_dropped_count: u64,
    #[serde(default)]
    pub records_out_of_window: u64,
    #[serde(default)]
    pub rows_inserted: u64,
    #[serde(default)]
    pub rows_updated: u64,
    #[serde(default)]
    pub rows_moved: u64,
    #[serde(default)]
    pub dropped: BTreeMap<String, u64>,
    #[serde(default)]
    pub partitions_written: Vec<String>,
    #[serde(default)]
    pub partitions_removed: Vec<String>,
    #[serde(default)]
    pub checks: Vec<RecordedCheck>,
    #[serde(default)]
    pub finished_at: String,
}

/// What is read back of a check.
#[derive(Clone, Debug, Default, Deserialize)]
#[expect(missing_docs, reason = "each is a field of the contract's summary, under its name")]
pub struct RecordedCheck {
    pub name: String,
    pub severity: String,
    pub passed: bool,
    pub violations: u64,
}

/// What is read back of the completeness of the orders, with that of users and products inside.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[expect(missing_docs, reason = "each is a field of the contract's summary, under its name")]
#[serde(default)]
pub struct RecordedCompleteness {
    pub status: Option<CompletenessStatus>,
    pub by: Option<Evidence>,
    pub claimed: Option<u64>,
    pub read: Option<u64>,
    pub distinct: Option<u64>,
    pub why: Option<String>,
    pub users: Option<Box<RecordedCompleteness>>,
    pub products: Option<Box<RecordedCompleteness>>,
}

impl RecordedCompleteness {
    /// Whether less came than one of the sources claims to hold.
    pub fn is_failed(&self) -> bool {
        let others = [&self.users, &self.products];
        self.status == Some(CompletenessStatus::Failed) || others.into_iter().flatten().any(|other| other.is_failed())
    }
}

impl RecordedRun {
    /// Whether the layer was then as the run wanted it.
    pub fn is_success(&self) -> bool {
        matches!(self.status.as_str(), "published" | "unchanged")
    }

    /// Whether it put something in place.
    pub fn has_published(&self) -> bool {
        !self.partitions_written.is_empty() || !self.partitions_removed.is_empty()
    }
}

/// Runs, the last one first, each with the line of JSON that it wrote. A report that can't be read is passed over.
///
/// # Errors
/// What the disk refuses.
pub fn recorded_runs(output: &Output) -> Result<impl Iterator<Item = (RecordedRun, String)> + use<>, StoreError> {
    let folder = output.reports();
    let names = output.names(&folder)?;
    let reports = names.into_iter().rev().filter(|name| Path::new(name).extension().is_some_and(|ending| ending == "json"));
    Ok(reports.filter_map(move |name| {
        let bytes = store::read(&folder.join(name)).ok()??;
        let run = serde_json::from_slice(&bytes).ok()?;
        Some((run, String::from_utf8_lossy(&bytes).trim().to_owned()))
    }))
}

/// The latest runs, the last one first.
///
/// # Errors
/// What the disk refuses.
pub fn latest_runs(output: &Output, count: usize) -> Result<Vec<(RecordedRun, String)>, StoreError> {
    Ok(recorded_runs(output)?.take(count).collect())
}

/// The latest successful runs of a command, the last one first: at most `count`, of the latest `among`.
///
/// # Errors
/// What the disk refuses.
pub fn latest_successes(output: &Output, command: &str, count: usize, among: usize) -> Result<Vec<RecordedRun>, StoreError> {
    let of_command = |run: &RecordedRun| run.is_success() && run.command.as_deref().unwrap_or("run") == command;
    Ok(recorded_runs(output)?.take(among).map(|(run, _)| run).filter(of_command).take(count).collect())
}

/// Writes the report of a run, outside of any publish.
///
/// # Errors
/// What the disk refuses.
pub fn write_report(output: &Output, summary: &Summary) -> Result<(), StoreError> {
    store::replace(output, format!("reports/{}.json", summary.run_id), &report_bytes(summary))
}

/// A report's bytes: the summary, as one line.
pub(crate) fn report_bytes(summary: &Summary) -> Vec<u8> {
    let mut line = redact::json(&serde_json::to_string(summary).unwrap_or_default()).into_owned();
    line.push('\n');
    line.into_bytes()
}
