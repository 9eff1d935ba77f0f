//! Where the metrics of a run go, besides its summary. Writes none.

use std::path::PathBuf;

/// Where metrics go.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MetricsSettings {
    /// A text file for the textfile collector of Prometheus' `node_exporter`, replaced by each run.
    pub file: Option<PathBuf>,
    /// `CloudWatch`'s Embedded Metric Format.
    pub emf: Option<EmfTarget>,
}

/// Where the Embedded Metric Format goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EmfTarget {
    /// stdout, before the summary: what AWS' containers and functions collect.
    Stdout,
    /// A file that lines are appended to, for the `CloudWatch` agent.
    File(PathBuf),
}
