//! Coverage: which intervals of a source have been loaded completely, by which run, and where gaps are (contract, Windows and
//! coverage).
//!
//! ```text
//! a run's window ──record──▶ Ledger ──▶ where `--since last` resumes, gaps, chunks that are done
//! ```
//! Pure: knows no disk and no clock. Where the ledger is kept, and how it is rebuilt from the reports, is `run::ledger`'s.

mod intervals;
mod ledger;
mod order_sources;

pub use intervals::Interval;
pub use ledger::{Ledger, LoadedInterval, SourceCoverage, SourceIdentity, SourceInterval};
pub use order_sources::{OrderSource, OrderSources};
