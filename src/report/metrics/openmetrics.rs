//! The OpenMetrics text of the last run
//! (<https://prometheus.io/docs/specs/om/open_metrics_spec/>), which Prometheus' older text parser, `node_exporter`'s, reads as well.

use std::fmt::Write;

use super::{Metric, Unit, metrics};
use crate::{model::UtcMicros, net::redact, report::Summary};

/// The metrics of a run. `last_success` is when the last successful run ended, this one among them.
pub fn open_metrics(summary: &Summary, last_success: Option<UtcMicros>) -> String {
    let mut text = String::new();
    for Metric { name, unit, help, series } in metrics(summary, last_success) {
        let _ = writeln!(text, "# TYPE etl_{name} gauge");
        let unit = match unit {
            Unit::None => None,
            Unit::Seconds => Some("seconds"),
            Unit::Bytes => Some("bytes"),
        };
        if let Some(unit) = unit {
            let _ = writeln!(text, "# UNIT etl_{name} {unit}");
        }
        let _ = writeln!(text, "# HELP etl_{name} {help}");
        for series in series {
            let labels: Vec<_> = series.labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(text, "etl_{name}{labels} {}", series.value.text());
        }
    }
    text.push_str("# EOF\n");
    text
}

/// A label's value: backslash, quote and line feed are escaped.
fn escaped(text: &str) -> String {
    redact::text(text).replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        Summary::new("r".into(), None, None, UtcMicros::new(1_769_817_600_123_456).unwrap())
    }

    #[test]
    fn money_and_labels_are_taken_digit_by_digit() {
        let mut summary = summary();
        summary.revenue.insert("E\"U\\R\n".into(), 123_456_789_012_345_678_901);
        let text = open_metrics(&summary, None);
        assert!(text.contains("etl_revenue{currency=\"E\\\"U\\\\R\\n\"} 12345678901234567.8901\n"), "{text}");
        assert!(text.contains("etl_last_run_timestamp_seconds 1769817600.123456\n"));
        assert!(text.contains("# TYPE etl_records_processed gauge\n"));
        assert!(text.ends_with("# EOF\n"));
    }

    /// A rule on the age of the last success, or on one reason, must find its series from the first run on.
    #[test]
    fn the_series_of_rules_are_there_before_the_first_success() {
        let text = open_metrics(&summary(), None);
        for line in ["etl_last_success_timestamp_seconds 0", "etl_dropped{reason=\"missing_order_id\"} 0", "etl_alerts 0"] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        let success = open_metrics(&summary(), UtcMicros::new(1_500_000));
        assert!(success.contains("etl_last_success_timestamp_seconds 1.500000\n"), "{success}");
    }
}
