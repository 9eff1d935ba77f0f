//! Checks: DuckDB SQL over the layer as it would be once published, before it is published.
//!
//! Responsible for the SQL (one file for each check, embedded), the user's own checks, running both, and the results. It
//! publishes nothing and repairs nothing. The only files that it writes are the rows of failing checks, where asked to.

mod builtin;
mod column_check;
mod custom;
mod duckdb_error;
mod engine;
mod error;
mod layer_tables;
mod layer_view;
mod partition_files;
mod query_text;
mod runner;
mod script;
mod session;
mod unit_slip;
mod violations;

pub use crate::model::Severity;
pub use builtin::{BUILTIN, Builtin, Method, Subject};
pub use custom::{CheckBody, CustomCheck, load_custom};
pub use engine::Engine;
pub use error::CheckError;
pub use layer_view::{Expected, LayerView, SideView, ViewScope};
pub use query_text::{QueryText, TextError};
pub use runner::run_checks;
pub use script::{CheckScript, check_scripts};
pub use unit_slip::{UNIT_SLIP, unit_slip};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How many violating rows a result shows.
pub const SAMPLE_ROWS: usize = 5;

/// How many violating rows of a failing check are kept as CSV.
pub const VIOLATION_ROWS: u64 = 100_000;

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CheckResult {
    /// Its name.
    pub name: String,
    /// What a violation means.
    pub severity: Severity,
    /// Whether there were no more violations than the check accepts.
    pub passed: bool,
    /// How many violations there were.
    pub violations: u64,
    /// Up to [`SAMPLE_ROWS`] of them: column to value, as text.
    #[serde(default)]
    pub sample: Vec<BTreeMap<String, Option<String>>>,
    /// How many rows `file` has, at most [`VIOLATION_ROWS`]; `None` where no file was written.
    #[serde(default)]
    pub rows_kept: Option<u64>,
    /// The file of the violating rows.
    #[serde(default)]
    pub file: Option<String>,
}

impl CheckResult {
    /// The result of a check that has found nothing yet.
    pub fn new(name: &str, severity: Severity) -> CheckResult {
        CheckResult { name: name.to_owned(), severity, passed: true, violations: 0, sample: Vec::new(), rows_kept: None, file: None }
    }

    /// The name of the file of its violating rows.
    pub fn file_name(&self) -> String {
        format!("{}.csv", self.name)
    }

    /// Whether it keeps the run from being published.
    pub fn is_failure(&self) -> bool {
        !self.passed && self.severity == Severity::Error
    }

    /// The first violating row of the sample, in words.
    fn first_row(&self) -> Option<String> {
        let shown = |(name, value): (&String, &Option<String>)| match value {
            Some(value) => format!("{name}={value:?}"),
            None => format!("{name}=NULL"),
        };
        Some(self.sample.first()?.iter().map(shown).collect::<Vec<_>>().join(" "))
    }
}

/// Logs what keeps a run from being published, each check with a row that names what to look at.
pub fn log_failures(results: &[CheckResult]) {
    for result in results.iter().filter(|result| result.is_failure()) {
        let (check, first) = (&result.name, result.first_row());
        tracing::error!(check, violations = result.violations, first, "a check of severity error has found rows");
    }
}
