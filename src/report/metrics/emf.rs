//! The Embedded Metric Format of `CloudWatch`
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>):
//! lines of JSON that are logs and metrics at once.

use std::collections::BTreeMap;

use serde_json::{Value, json, value::RawValue};

use super::{Count, Unit, counts};
use crate::{
    net::redact,
    report::{Summary, money_texts},
};

/// The namespace of the metrics.
const NAMESPACE: &str = "etl";

/// The lines of a run: one of what is one number, then one of each drop reason, stage and currency. Each ends with a line feed.
pub fn embedded_metrics(summary: &Summary) -> String {
    let mut text = String::new();
    let (mut metrics, mut values) = (Vec::new(), BTreeMap::new());
    for Count { name, unit, value, .. } in counts(summary) {
        let unit = match unit {
            Unit::None => "Count",
            Unit::Seconds => "Seconds",
            Unit::Bytes => "Bytes",
        };
        metrics.push(json!({"Name": name, "Unit": unit}));
        values.insert(name, number(&value.to_string()));
    }
    metrics.push(json!({"Name": "execution_time_seconds", "Unit": "Seconds"}));
    values.insert("execution_time_seconds", number(&summary.execution_time_seconds.to_string()));
    push(&mut text, summary, None, &metrics, values);
    for (reason, count) in summary.dropped_by_reason() {
        let metric = [json!({"Name": "dropped", "Unit": "Count"})];
        push(&mut text, summary, Some(("reason", reason)), &metric, BTreeMap::from([("dropped", number(&count.to_string()))]));
    }
    for (stage, seconds) in &summary.stage_seconds {
        let metric = [json!({"Name": "stage_seconds", "Unit": "Seconds"})];
        push(&mut text, summary, Some(("stage", stage)), &metric, BTreeMap::from([("stage_seconds", number(&seconds.to_string()))]));
    }
    for (currency, amount) in money_texts(&summary.revenue) {
        let currency = if currency.is_empty() { "none" } else { currency };
        let metric = [json!({"Name": "revenue", "Unit": "None"})];
        push(&mut text, summary, Some(("currency", currency)), &metric, BTreeMap::from([("revenue", number(&amount))]));
    }
    text
}

/// One line: the metrics by command, by shop where there are several, and by a further dimension where there is one.
fn push(
    text: &mut String,
    summary: &Summary,
    dimension: Option<(&'static str, &str)>,
    metrics: &[Value],
    mut values: BTreeMap<&'static str, Box<RawValue>>,
) {
    let shop = summary.shop.as_deref().map(|shop| ("shop", shop));
    let mut dimensions = vec!["command"];
    dimensions.extend(shop.map(|(name, _)| name));
    dimensions.extend(dimension.map(|(name, _)| name));
    let directive = json!({
        "Timestamp": summary.finished_at.micros().div_euclid(1000),
        "CloudWatchMetrics": [{"Namespace": NAMESPACE, "Dimensions": [dimensions], "Metrics": metrics}],
    });
    values.insert("_aws", number(&directive.to_string()));
    for (name, value) in [("command", summary.command.as_str()), ("run_id", &summary.run_id), ("status", summary.status.as_str())]
        .into_iter()
        .chain(shop)
        .chain(dimension)
    {
        values.insert(name, number(&Value::from(value).to_string()));
    }
    text.push_str(&redact::json(&serde_json::to_string(&values).unwrap_or_default()));
    text.push('\n');
}

/// JSON as it is written: a decimal keeps its digits, and goes through no float of ours.
fn number(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UtcMicros;

    #[test]
    fn each_line_names_only_what_it_carries() {
        let mut summary = Summary::new("r".into(), None, None, UtcMicros::new(1_769_817_600_123_456).unwrap());
        summary.revenue.insert(String::new(), 15);
        summary.stage_seconds.insert("merge".into(), 0.5);
        let text = embedded_metrics(&summary);
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        for line in &lines {
            assert_eq!(line["_aws"]["Timestamp"], 1_769_817_600_123_i64);
            let directive = &line["_aws"]["CloudWatchMetrics"][0];
            assert!(directive["Dimensions"][0].as_array().unwrap().iter().all(|name| line[name.as_str().unwrap()].is_string()), "{line}");
            assert!(
                directive["Metrics"].as_array().unwrap().iter().all(|metric| line[metric["Name"].as_str().unwrap()].is_number()),
                "{line}"
            );
        }
        assert!(text.contains("\"revenue\":0.0015"), "{text}");
    }
}
