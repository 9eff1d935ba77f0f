//! Whether a violated check stops a run.

use serde::{Deserialize, Serialize};

/// Whether a violated check keeps a run from being published.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, strum::EnumString, strum::IntoStaticStr, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Severity {
    /// The run fails, and nothing is published.
    #[default]
    Error,
    /// The violation is reported, and the run goes on.
    Warn,
}

impl Severity {
    /// The word of settings and results.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
