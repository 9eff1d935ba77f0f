//! A run's summary as metrics: for Prometheus, and for `CloudWatch`. Writes no file and measures nothing by itself.

mod emf;
mod openmetrics;

pub use emf::embedded_metrics;
pub use openmetrics::open_metrics;

use super::Summary;
use crate::source::CompletenessStatus;

/// The counts of a run that are one number each: name, unit of `CloudWatch`, what it counts, value.
fn counts(summary: &Summary) -> [(&'static str, &'static str, &'static str, u64); 24] {
    let (records, rows, source) = (&summary.records, &summary.rows, &summary.source);
    let count = "Count";
    let with = |status| summary.completeness.all().filter(|(_, completeness)| completeness.status == status).count() as u64;
    let (unproven, incomplete) = (with(CompletenessStatus::Unproven), with(CompletenessStatus::Failed));
    [
        ("records_read", count, "records that the source delivered", records.records_read),
        ("records_processed_count", count, "records that were normalized", records.records_processed),
        ("records_dropped_count", count, "records that were dropped", summary.records_dropped()),
        ("records_out_of_window", count, "records outside of the window", records.records_out_of_window),
        ("lines_read", count, "lines of the records in the window", records.lines_read),
        ("lines_dropped", count, "lines that were dropped", summary.lines_dropped()),
        ("duplicates_dropped", count, "lines that lost to another line of the run", rows.duplicates_dropped),
        ("rows_inserted", count, "rows that are new", rows.rows_inserted),
        ("rows_updated", count, "rows that a newer version replaced", rows.rows_updated),
        ("rows_unchanged", count, "rows that were there already", rows.rows_unchanged),
        ("rows_moved", count, "rows that moved to another partition", rows.rows_moved),
        ("rows_superseded", count, "lines that lost to a newer row of the layer", rows.rows_superseded),
        ("rows_removed", count, "rows that a newer version of their order no longer has", rows.rows_removed),
        ("partitions_written", count, "partitions that were written", summary.partitions_written.len() as u64),
        ("partitions_removed", count, "partitions that lost their last row", summary.partitions_removed.len() as u64),
        (
            "checks_failed",
            count,
            "checks of severity error that failed",
            summary.checks.iter().filter(|check| check.is_failure()).count() as u64,
        ),
        ("alerts", count, "alerts that the run raised", summary.alerts.len() as u64),
        ("source_requests", count, "requests to the source", source.requests),
        ("source_retries", count, "requests that were made again", source.retries),
        ("source_pages", count, "pages of records, or files", source.pages),
        ("source_bytes", "Bytes", "bytes from the source, decompressed", source.bytes),
        ("sources_unproven", count, "sources of which nothing shows that all of it came", unproven),
        ("sources_incomplete", count, "sources that sent less than they claim to hold", incomplete),
        ("peak_memory_bytes", "Bytes", "the most memory that the process held", summary.peak_memory_bytes.unwrap_or(0)),
    ]
}
