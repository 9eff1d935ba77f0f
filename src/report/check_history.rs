//! What the checks of the latest runs found, check by check. Reads reports, and runs no check.

use serde::Serialize;

use super::latest_runs;
use crate::{
    model::Severity,
    store::{Output, StoreError},
};

/// The checks of the latest runs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct CheckHistory {
    /// How many runs were looked at: those that ran no checks too.
    pub runs: usize,
    /// Each check that any of them ran, in the order of the latest run.
    pub checks: Vec<CheckRecord>,
}

/// One check over the runs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct CheckRecord {
    /// Its name.
    pub name: String,
    /// How many of the runs ran it.
    pub ran: usize,
    /// In how many of them it did not pass.
    pub not_passed: usize,
    /// Those runs, the latest first.
    pub runs: Vec<CheckOfRun>,
}

/// A check in one run.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct CheckOfRun {
    /// The run.
    pub run_id: String,
    /// The severity that the check had then.
    pub severity: Severity,
    /// Whether it passed.
    pub passed: bool,
    /// How many violations it found.
    pub violations: u64,
}

/// The checks of the latest runs, at most `limit` runs.
///
/// # Errors
/// I/O errors.
pub fn check_history(output: &Output, limit: usize) -> Result<CheckHistory, StoreError> {
    let runs = latest_runs(output, limit)?;
    let mut history = CheckHistory { runs: runs.len(), checks: Vec::new() };
    for (run, _) in runs {
        for check in run.checks {
            let found =
                CheckOfRun { run_id: run.run_id.clone(), severity: check.severity, passed: check.passed, violations: check.violations };
            history.record(check.name, found);
        }
    }
    Ok(history)
}

impl CheckHistory {
    fn record(&mut self, name: String, found: CheckOfRun) {
        let place = self.checks.iter().position(|check| check.name == name).unwrap_or_else(|| {
            self.checks.push(CheckRecord { name, ..CheckRecord::default() });
            self.checks.len() - 1
        });
        if let Some(check) = self.checks.get_mut(place) {
            check.ran += 1;
            check.not_passed += usize::from(!found.passed);
            check.runs.push(found);
        }
    }
}
