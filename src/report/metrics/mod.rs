//! A run's summary as metrics: for Prometheus, for `CloudWatch`, and for OpenTelemetry. Writes no file and measures nothing by
//! itself.

mod emf;
mod openmetrics;

pub use emf::embedded_metrics;
pub use openmetrics::open_metrics;

use super::{Status, Summary};
use crate::{
    model::{Reason, UtcMicros, units_text},
    source::CompletenessStatus,
};

/// What a metric is measured in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// A count, an amount, or a yes (1) or no (0).
    None,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

/// A metric of a run, with all its series. Every one is a gauge: a batch job starts again each time, so that nothing that it
/// counts only grows.
#[derive(Clone, PartialEq, Debug)]
pub struct Metric {
    /// The name, without a prefix.
    pub name: &'static str,
    /// What it is measured in.
    pub unit: Unit,
    /// What it says of the last run.
    pub help: String,
    /// Its series.
    pub series: Vec<Series>,
}

/// A value with its labels.
#[derive(Clone, PartialEq, Debug)]
pub struct Series {
    /// Names and values of the labels.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: Value,
}

/// A value, in the type that the summary has it in.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value {
    /// A count.
    Count(u64),
    /// A duration.
    Seconds(f64),
    /// A time, as seconds since the epoch.
    Time(UtcMicros),
    /// An amount of money, in units of 1/10,000.
    Money(i128),
}

impl Value {
    /// All digits of the value. Money goes through no float.
    pub fn text(self) -> String {
        match self {
            Value::Count(count) => count.to_string(),
            Value::Seconds(seconds) => seconds.to_string(),
            Value::Time(time) => {
                format!("{}.{:06}", time.micros().div_euclid(UtcMicros::SECOND), time.micros().rem_euclid(UtcMicros::SECOND))
            }
            Value::Money(units) => units_text(units),
        }
    }

    /// The value as a double, which is what OpenTelemetry sends: exact up to about 15 digits.
    pub fn approximate(self) -> f64 {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "a count that is sent as a double")]
            Value::Count(count) => count as f64,
            Value::Seconds(seconds) => seconds,
            // The nearest double to the decimal.
            Value::Time(_) | Value::Money(_) => self.text().parse().unwrap_or(f64::NAN),
        }
    }
}

impl Metric {
    fn new(name: &'static str, unit: Unit, help: impl Into<String>) -> Metric {
        Metric { name, unit, help: help.into(), series: Vec::new() }
    }

    /// The same with one series, which has no labels.
    fn single(mut self, value: Value) -> Metric {
        self.series.push(Series { labels: Vec::new(), value });
        self
    }

    /// The same with a series for each value of a label.
    fn by(mut self, label: &'static str, values: impl IntoIterator<Item = (String, Value)>) -> Metric {
        let series = |(text, value)| Series { labels: vec![(label, text)], value };
        self.series.extend(values.into_iter().map(series));
        self
    }
}

/// All metrics of a run, in the order in which they are written. `last_success` is when the last successful run ended, this one
/// among them; before the first success, the time is 0, so that a rule on its age fires.
pub fn metrics(summary: &Summary, last_success: Option<UtcMicros>) -> Vec<Metric> {
    let mut metrics: Vec<_> = counts(summary)
        .into_iter()
        .map(|Count { name, unit, what, value }| {
            Metric::new(plain_name(name), unit, format!("Of the last run: {what}.")).single(Value::Count(value))
        })
        .collect();
    // Every reason, also with 0: a rule that compares needs the series.
    let dropped = Reason::ALL.iter().zip(summary.records.dropped).map(|(reason, count)| (reason.as_str().to_owned(), Value::Count(count)));
    metrics
        .push(Metric::new("dropped", Unit::None, "Of the last run: records and lines that were dropped, by reason.").by("reason", dropped));
    let seconds = Value::Seconds(summary.execution_time_seconds);
    metrics.push(Metric::new("execution_time_seconds", Unit::Seconds, "How long the last run took.").single(seconds));
    let stages = summary.stage_seconds.iter().map(|(stage, seconds)| (stage.clone(), Value::Seconds(*seconds)));
    metrics.push(Metric::new("stage_seconds", Unit::Seconds, "How long each stage of the last run took.").by("stage", stages));
    let revenue = summary.revenue.iter().map(|(currency, units)| (currency.clone(), Value::Money(*units)));
    let help = "Revenue of the rows that the last run brought, by currency.";
    metrics.push(Metric::new("revenue", Unit::None, help).by("currency", revenue));
    metrics.extend(completeness(summary));
    let statuses = Status::all().map(|status| (status.as_str().to_owned(), Value::Count(u64::from(status == summary.status))));
    metrics.push(Metric::new("run_status", Unit::None, "How the last run ended: 1 for the status that it had.").by("status", statuses));
    let time = |name, help: &str, time| Metric::new(name, Unit::Seconds, help).single(time);
    metrics.push(time("last_run_timestamp_seconds", "When the last run ended.", Value::Time(summary.finished_at)));
    let success = last_success.map_or(Value::Count(0), Value::Time);
    metrics.push(time("last_success_timestamp_seconds", "When the last successful run ended; 0 before the first success.", success));
    if let Some(shop) = &summary.shop {
        let all_series = metrics.iter_mut().flat_map(|metric| &mut metric.series);
        all_series.for_each(|series| series.labels.push(("shop", shop.clone())));
    }
    metrics
}

/// Whether each source was read whole, and how many records it claims to hold.
fn completeness(summary: &Summary) -> [Metric; 2] {
    let help = "Whether each source of the last run was read whole: 1 for the verdict that it had.";
    let mut verdicts = Metric::new("completeness", Unit::None, help);
    for (source, completeness) in summary.completeness.all() {
        for &status in CompletenessStatus::ALL {
            let labels = vec![("source", source.to_owned()), ("status", status.as_str().to_owned())];
            verdicts.series.push(Series { labels, value: Value::Count(u64::from(status == completeness.status)) });
        }
    }
    let claimed =
        summary.completeness.all().filter_map(|(source, completeness)| Some((source.to_owned(), Value::Count(completeness.claimed?))));
    [verdicts, Metric::new("records_claimed", Unit::None, "Records that each source of the last run claims to hold.").by("source", claimed)]
}

/// `_count` at the end of a name is kept for histograms.
fn plain_name(name: &'static str) -> &'static str {
    name.strip_suffix("_count").unwrap_or(name)
}

/// A count of a run that is one number.
struct Count {
    /// Its key in the summary.
    name: &'static str,
    unit: Unit,
    /// What it counts.
    what: &'static str,
    value: u64,
}

/// The counts of a run that are one number each.
fn counts(summary: &Summary) -> Vec<Count> {
    let (records, rows, source) = (&summary.records, &summary.rows, &summary.source);
    let with = |status| summary.completeness.all().filter(|(_, completeness)| completeness.status == status).count() as u64;
    let checks_failed = summary.checks.iter().filter(|check| check.is_failure()).count() as u64;
    let (unproven, incomplete) = (with(CompletenessStatus::Unproven), with(CompletenessStatus::Failed));
    let count = |name, what, value| Count { name, unit: Unit::None, what, value };
    let bytes = |name, what, value| Count { name, unit: Unit::Bytes, what, value };
    vec![
        count("records_read", "records that the source delivered", records.records_read),
        count("records_processed_count", "records that were normalized", records.records_processed),
        count("records_dropped_count", "records that were dropped", summary.records_dropped()),
        count("records_out_of_window", "records outside of the window", records.records_out_of_window),
        count("lines_read", "lines of the records in the window", records.lines_read),
        count("lines_dropped", "lines that were dropped", summary.lines_dropped()),
        count("duplicates_dropped", "lines that lost to another line of the run", rows.duplicates_dropped),
        count("rows_inserted", "rows that are new", rows.rows_inserted),
        count("rows_updated", "rows that a newer version replaced", rows.rows_updated),
        count("rows_unchanged", "rows that were there already", rows.rows_unchanged),
        count("rows_moved", "rows that moved to another partition", rows.rows_moved),
        count("rows_superseded", "lines that lost to a newer row of the layer", rows.rows_superseded),
        count("rows_removed", "rows that a newer version of their order no longer has", rows.rows_removed),
        count("rows_retained", "rows that stay because the newer version of their order has a dropped line", rows.rows_retained),
        count("rows_deleted", "rows of orders that the source no longer has", rows.rows_deleted),
        count("rows_marked", "rows that are marked because the source no longer has their order", rows.rows_marked),
        count("orders_deleted", "orders that the source no longer has, and that were removed", summary.deletions.orders_deleted),
        count("orders_marked", "orders that the source no longer has, and that were marked", summary.deletions.orders_marked),
        count("partitions_written", "partitions that were written", summary.partitions_written.len() as u64),
        count("partitions_removed", "partitions that lost their last row", summary.partitions_removed.len() as u64),
        count("checks_failed", "checks of severity error that failed", checks_failed),
        count("alerts", "alerts that the run raised", summary.alerts.len() as u64),
        count("deliveries_failed", "alerts that a receiver did not get", summary.deliveries_failed.len() as u64),
        count("source_requests", "requests to the source", source.requests),
        count("source_retries", "requests that were made again", source.retries),
        count("source_pages", "pages of records, or files", source.pages),
        bytes("source_bytes", "bytes from the source, decompressed", source.bytes),
        count("sources_unproven", "sources of which nothing shows that all of it came", unproven),
        count("sources_incomplete", "sources that sent less than they claim to hold", incomplete),
        bytes("peak_memory_bytes", "the most memory that the process held", summary.peak_memory_bytes.unwrap_or(0)),
    ]
}
