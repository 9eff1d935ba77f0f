//! The runs whose checks saw the partitions of an order, and the failed checks that name it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    check::CheckResult,
    model::{Dt, Severity, UtcMicros},
    report::{Status, Summary},
    store::{self, Output, StoreError, places},
};

/// A run whose checks saw a partition of the order.
#[derive(Clone, Debug, Serialize)]
pub struct RunChecks {
    /// The run.
    pub run_id: String,
    /// When it started.
    pub started_at: UtcMicros,
    /// How it ended.
    pub status: Status,
    /// The partitions of the order that it changed.
    pub partitions: Vec<Dt>,
    /// Checks that it ran.
    pub checks: usize,
    /// Checks that failed.
    pub failed: Vec<FailedCheckOfOrder>,
}

/// A check that failed.
#[derive(Clone, Debug, Serialize)]
pub struct FailedCheckOfOrder {
    /// The check.
    pub name: String,
    /// `error` or `warn`.
    pub severity: Severity,
    /// Its violations, of whatever order.
    pub violations: u64,
    /// Whether a violation that is kept names this order: in the report, or in the file of violations.
    pub names_order: bool,
}

/// Where and since when checks can see an order.
pub(super) struct Seen<'a> {
    /// Its partitions.
    pub(super) dts: &'a BTreeSet<Dt>,
    /// The run that brought it first, if that is known.
    pub(super) since: Option<&'a str>,
}

/// The runs that changed one of the partitions while the order lay there, or that have a failed check which names the order,
/// oldest first.
///
/// # Errors
/// I/O errors.
pub(super) fn checks(
    output: &Output,
    order_id: &str,
    seen: &Seen<'_>,
    reports: &BTreeMap<String, Summary>,
) -> Result<Vec<RunChecks>, StoreError> {
    let mut found = Vec::new();
    for run in reports.values().filter(|run| !run.checks.is_empty()) {
        let changed = run.partitions_written.iter().chain(&run.partitions_removed);
        let is_later = seen.since.is_none_or(|first| run.run_id.as_str() >= first);
        let partitions: Vec<Dt> = changed.copied().filter(|dt| is_later && seen.dts.contains(dt)).collect();
        let failed = run.checks.iter().filter(|check| !check.passed).map(|check| -> Result<_, StoreError> {
            Ok(FailedCheckOfOrder {
                name: check.name.clone(),
                severity: check.severity,
                violations: check.violations,
                names_order: is_in_sample(check, order_id) || is_in_violations(output, &run.run_id, check, order_id)?,
            })
        });
        let failed: Vec<_> = failed.collect::<Result<_, _>>()?;
        if partitions.is_empty() && !failed.iter().any(|check| check.names_order) {
            continue;
        }
        let (run_id, started_at, status) = (run.run_id.clone(), run.started_at, run.status);
        found.push(RunChecks { run_id, started_at, status, partitions, checks: run.checks.len(), failed });
    }
    Ok(found)
}

/// Whether a row of the sample is of the order.
fn is_in_sample(check: &CheckResult, order_id: &str) -> bool {
    check.sample.iter().any(|row| row.get("order_id").is_some_and(|value| value.as_deref() == Some(order_id)))
}

/// Whether the file that keeps the violating rows of a check has a row of the order. A missing file has none.
fn is_in_violations(output: &Output, run_id: &str, check: &CheckResult, order_id: &str) -> Result<bool, StoreError> {
    let Some(path) = output.local(places::violations(run_id).join(check.file_name()))? else { return Ok(false) };
    // Another command may have removed it meanwhile.
    let Some(file) = store::open_file(&path)? else { return Ok(false) };
    let mut reader = csv::Reader::from_reader(file);
    let key = reader.byte_headers().ok().and_then(|names| names.iter().position(|name| name == b"order_id"));
    let Some(key) = key else { return Ok(false) };
    Ok(reader.byte_records().filter_map(Result::ok).any(|row| row.get(key) == Some(order_id.as_bytes())))
}
