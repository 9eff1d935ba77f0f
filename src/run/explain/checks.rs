//! The runs whose checks saw the partitions of an order, and the failed checks that name it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    check::CheckResult,
    model::Dt,
    report::Summary,
    store::{Output, places},
};

/// A run whose checks saw a partition of the order.
#[derive(Clone, Debug, Serialize)]
pub struct RunChecks {
    /// The run.
    pub run_id: String,
    /// When it started.
    pub started_at: String,
    /// How it ended.
    pub status: String,
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
    pub severity: String,
    /// Its violations, of whatever order.
    pub violations: u64,
    /// Whether a violation that is kept names this order: in the report, or in the file of violations.
    pub names_order: bool,
}

/// The runs that changed one of these partitions, or that have a failed check which names the order, oldest first.
pub(super) fn checks(output: &Output, order_id: &str, dts: &BTreeSet<Dt>, reports: &BTreeMap<String, Summary>) -> Vec<RunChecks> {
    let mut found = Vec::new();
    for run in reports.values().filter(|run| !run.checks.is_empty()) {
        let changed = run.partitions_written.iter().chain(&run.partitions_removed);
        let partitions: Vec<Dt> = changed.copied().filter(|dt| dts.contains(dt)).collect();
        let has_failed = run.checks.iter().any(|check| !check.passed);
        if partitions.is_empty() && !has_failed {
            continue;
        }
        let failed = run.checks.iter().filter(|check| !check.passed).map(|check| FailedCheckOfOrder {
            name: check.name.clone(),
            severity: check.severity.as_str().to_owned(),
            violations: check.violations,
            names_order: is_in_sample(check, order_id) || is_in_violations(output, &run.run_id, &check.name, order_id),
        });
        let failed: Vec<_> = failed.collect();
        if partitions.is_empty() && !failed.iter().any(|check| check.names_order) {
            continue;
        }
        let (run_id, started_at, status) = (run.run_id.clone(), run.started_at.rfc3339(), run.status.as_str().to_owned());
        found.push(RunChecks { run_id, started_at, status, partitions, checks: run.checks.len(), failed });
    }
    found
}

/// Whether a row of a sample is of the order.
fn is_in_sample(check: &CheckResult, order_id: &str) -> bool {
    check.sample.iter().any(|row| row.get("order_id").is_some_and(|value| value.as_deref() == Some(order_id)))
}

/// Whether the file that keeps the violating rows of a check has a row of the order. A missing file has none.
fn is_in_violations(output: &Output, run_id: &str, check: &str, order_id: &str) -> bool {
    let path = output.at(places::violations(run_id)).join(format!("{check}.csv"));
    let Ok(mut reader) = csv::Reader::from_path(path) else { return false };
    let Some(key) = reader.byte_headers().ok().and_then(|names| names.iter().position(|name| name == b"order_id")) else { return false };
    reader.byte_records().filter_map(Result::ok).any(|row| row.get(key) == Some(order_id.as_bytes()))
}
