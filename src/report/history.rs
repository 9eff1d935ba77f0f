//! The runs before: their summaries, as they lie in `reports/`.

use std::path::Path;

use serde::Deserialize;

use super::Summary;
use crate::store::{self, Output, StoreError};

/// What is read back of a run's summary.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "each is a field of the contract's summary, under its name")]
pub struct RecordedRun {
    pub run_id: String,
    pub status: String,
    #[serde(default)]
    pub since: Option<String>,
    #[serde(default)]
    pub until: Option<String>,
    #[serde(default)]
    pub cursor: Option<String>,
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
    pub rows_inserted: u64,
    #[serde(default)]
    pub rows_updated: u64,
    #[serde(default)]
    pub rows_moved: u64,
    #[serde(default)]
    pub partitions_written: Vec<String>,
}

/// The latest runs, the last one first, each with the line of JSON that it wrote. A report that can't be read is passed over.
///
/// # Errors
/// What the disk refuses.
pub fn latest_runs(output: &Output, count: usize) -> Result<Vec<(RecordedRun, String)>, StoreError> {
    let names = output.names(&output.reports())?;
    let mut runs = Vec::new();
    for name in names.iter().rev().filter(|name| Path::new(name).extension().is_some_and(|ending| ending == "json")) {
        if runs.len() == count {
            break;
        }
        let Some(bytes) = store::read(&output.reports().join(name))? else { continue };
        if let Ok(run) = serde_json::from_slice(&bytes) {
            runs.push((run, String::from_utf8_lossy(&bytes).trim().to_owned()));
        }
    }
    Ok(runs)
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
    let mut bytes = serde_json::to_vec(summary).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}
