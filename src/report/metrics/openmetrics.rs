//! The OpenMetrics text of the last run
//! (<https://prometheus.io/docs/specs/om/open_metrics_spec/>), which Prometheus' older text parser, `node_exporter`'s, reads as well.
//!
//! Every family is a gauge: a batch job starts anew each time, so that nothing that it counts only grows.

use std::fmt::Write;

use super::counts;
use crate::{
    model::UtcMicros,
    net::redact,
    report::{Status, Summary, money_texts},
    source::CompletenessStatus,
};

/// The metrics of a run. `last_success` is when the last successful run ended, this one's own end among them.
pub fn open_metrics(summary: &Summary, last_success: Option<UtcMicros>) -> String {
    let mut text = String::new();
    for (name, unit, what, value) in counts(summary) {
        let name = family_name(name);
        family(&mut text, name, (unit == "Bytes").then_some("bytes"), &format!("Of the last run: {what}."));
        let _ = writeln!(text, "etl_{name} {value}");
    }
    family(&mut text, "dropped", None, "Of the last run: records and lines that were dropped, by reason.");
    for (reason, count) in summary.dropped_by_reason() {
        let _ = writeln!(text, "etl_dropped{{reason=\"{reason}\"}} {count}");
    }
    family(&mut text, "execution_time_seconds", Some("seconds"), "How long the last run took.");
    let _ = writeln!(text, "etl_execution_time_seconds {}", summary.execution_time_seconds);
    family(&mut text, "stage_seconds", Some("seconds"), "How long each stage of the last run took.");
    for (stage, seconds) in &summary.stage_seconds {
        let _ = writeln!(text, "etl_stage_seconds{{stage=\"{stage}\"}} {seconds}");
    }
    family(&mut text, "revenue", None, "Revenue of the rows that the last run brought, by currency.");
    for (currency, amount) in money_texts(&summary.revenue) {
        let _ = writeln!(text, "etl_revenue{{currency=\"{}\"}} {amount}", label(currency));
    }
    family(&mut text, "completeness", None, "Whether each source of the last run was read whole: 1 for the verdict that it had.");
    for (source, completeness) in summary.completeness.all() {
        for status in CompletenessStatus::ALL {
            let (name, is_it) = (status.as_str(), u8::from(status == completeness.status));
            let _ = writeln!(text, "etl_completeness{{source=\"{source}\",status=\"{name}\"}} {is_it}");
        }
    }
    family(&mut text, "records_claimed", None, "Records that each source of the last run claims to hold.");
    for (source, completeness) in summary.completeness.all() {
        if let Some(claimed) = completeness.claimed {
            let _ = writeln!(text, "etl_records_claimed{{source=\"{source}\"}} {claimed}");
        }
    }
    family(&mut text, "run_status", None, "How the last run ended: 1 for the status that it had.");
    for status in Status::ALL {
        let _ = writeln!(text, "etl_run_status{{status=\"{}\"}} {}", status.as_str(), u8::from(status == summary.status));
    }
    family(&mut text, "last_run_timestamp_seconds", Some("seconds"), "When the last run ended.");
    let _ = writeln!(text, "etl_last_run_timestamp_seconds {}", seconds(summary.finished_at));
    if let Some(success) = last_success {
        family(&mut text, "last_success_timestamp_seconds", Some("seconds"), "When the last successful run ended.");
        let _ = writeln!(text, "etl_last_success_timestamp_seconds {}", seconds(success));
    }
    text.push_str("# EOF\n");
    text
}

/// `_count` at the end of a name is kept for histograms.
fn family_name(name: &str) -> &str {
    name.strip_suffix("_count").unwrap_or(name)
}

fn family(text: &mut String, name: &str, unit: Option<&str>, help: &str) {
    let _ = writeln!(text, "# TYPE etl_{name} gauge");
    if let Some(unit) = unit {
        let _ = writeln!(text, "# UNIT etl_{name} {unit}");
    }
    let _ = writeln!(text, "# HELP etl_{name} {help}");
}

/// Seconds since the epoch, digit by digit.
fn seconds(instant: UtcMicros) -> String {
    format!("{}.{:06}", instant.micros().div_euclid(UtcMicros::SECOND), instant.micros().rem_euclid(UtcMicros::SECOND))
}

/// A label's value: backslash, quote and line feed are escaped.
fn label(text: &str) -> String {
    redact::text(text).replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_and_labels_are_taken_digit_by_digit() {
        let mut summary = Summary::new("r".into(), None, None, UtcMicros::new(1_769_817_600_123_456).unwrap());
        summary.revenue.insert("E\"U\\R\n".into(), 123_456_789_012_345_678_901);
        let text = open_metrics(&summary, None);
        assert!(text.contains("etl_revenue{currency=\"E\\\"U\\\\R\\n\"} 12345678901234567.8901\n"), "{text}");
        assert!(text.contains("etl_last_run_timestamp_seconds 1769817600.123456\n"));
        assert!(text.contains("# TYPE etl_records_processed gauge\n"));
        assert!(!text.contains("last_success"));
        assert!(text.ends_with("# EOF\n"));
    }
}
