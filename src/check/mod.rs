//! Checks: DuckDB SQL over the layer as it would be once published, before it is published.
//!
//! Responsible for the SQL (one file a check, embedded), the user's own, running both, and what they found. Publishes
//! nothing, and repairs nothing.

mod builtin;
mod custom;
mod engine;
mod error;
mod runner;
mod unit_slip;

pub use builtin::BUILTIN;
pub use custom::{CustomCheck, load_custom};
pub use engine::Engine;
pub use error::CheckError;
pub use runner::{Expected, LayerView, run_checks};
pub use unit_slip::{UNIT_SLIP, unit_slip};

use std::collections::BTreeMap;

use serde::Serialize;

/// Whether a violated check keeps a run from being published.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It does.
    Error,
    /// It is reported.
    Warn,
}

/// How many violating rows are shown.
pub const SAMPLE_ROWS: usize = 5;

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CheckResult {
    /// Its name.
    pub name: String,
    /// What a violation means.
    pub severity: Severity,
    /// Whether there was none.
    pub passed: bool,
    /// How many there were.
    pub violations: u64,
    /// Up to [`SAMPLE_ROWS`] of them: column to value, as text.
    pub sample: Vec<BTreeMap<String, Option<String>>>,
}

impl CheckResult {
    /// Whether it keeps the run from being published.
    pub fn is_failure(&self) -> bool {
        !self.passed && self.severity == Severity::Error
    }
}
