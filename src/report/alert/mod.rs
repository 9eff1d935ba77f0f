//! Alerts: what somebody must learn of, told once to whoever is configured, and told again when it is over.
//!
//! ```text
//! a run's evidence ──rules──▶ findings ──open──▶ what is new, lasting or over ──deliver──▶ receivers
//! ```
//! Responsible for when an alert is raised, for which are open, and for sending them. An alert never changes how a run ends.

mod deliver;
mod message;
mod open;
mod reach;
mod rules;
pub mod stuck;

pub use deliver::{Delivery, FailedDelivery, Sender, deliver};
pub(crate) use deliver::{DeliveryClient, JsonPost};
pub use message::{Notice, NoticeState, dedup_key, payload};
pub use open::{Discovery, FoundOfSource, OpenAlert, OpenAlerts, SourceOfRun};
pub use reach::{Reached, reach};
pub use rules::{Ended, Evidence, Finding, NEEDED_RUNS, judge};

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

/// What an alert is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AlertKind {
    /// The source could not be read, after all retries.
    SourceFailed,
    /// A check of severity `error` found something.
    CheckFailed,
    /// A source sent less than it claims to hold, and the run was published all the same.
    Incomplete,
    /// The output could not be written.
    StorageFailed,
    /// A run took far longer than those before it.
    SlowRun,
    /// Too large a share of the records was dropped.
    DroppedShare,
    /// A day has no rows, and the same weekday before it had some.
    NoRecords,
    /// Orders that the source no longer has were not deleted, although that was asked for.
    Deletions,
    /// The newest row is older than it may be.
    Stale,
    /// The records of the orders' source have another shape than those of earlier runs.
    SchemaChanged,
    /// A run holds the output for longer than it may.
    Stuck,
    /// `etl alerts test`.
    Test,
}

impl AlertKind {
    /// The name in summaries, logs and messages.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether the layer misses data, or holds what it should not: more than a matter of attention.
    pub fn is_critical(self) -> bool {
        use AlertKind::{CheckFailed, Incomplete, SourceFailed, StorageFailed, Stuck};
        matches!(self, SourceFailed | Incomplete | CheckFailed | StorageFailed | Stuck)
    }
}

/// What somebody should know of, as it stands in a summary.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Alert {
    /// What it is about.
    pub kind: AlertKind,
    /// For a person.
    pub message: String,
}
