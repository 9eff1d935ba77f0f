//! The metrics of a run, as gauges of OpenTelemetry.

use std::time::Duration;

use opentelemetry::{KeyValue, metrics::MeterProvider};
use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::{
    Resource,
    metrics::{PeriodicReader, SdkMeterProvider, Temporality},
};

use super::{
    SCOPE,
    transport::{Connection, Transport},
};
use crate::{
    net::redact,
    report::{Metric, Series, Unit, Value},
};

/// Longer than any run: the metrics are sent once, at its end.
const NEVER: Duration = Duration::from_secs(365 * 86_400);

/// Sends metrics to a collector.
///
/// # Errors
/// The URL is not valid.
pub(super) fn exporter(transport: Transport) -> Result<MetricExporter, String> {
    let exporter = MetricExporter::builder().with_temporality(Temporality::Cumulative).with_http();
    transport.configure(exporter).build().map_err(|error| error.to_string())
}

/// Sends the metrics, once. Returns what sent them, whose end makes no request any more.
pub(super) fn send(metrics: &[Metric], exporter: MetricExporter, resource: Resource, connection: &Connection) -> SdkMeterProvider {
    let reader = PeriodicReader::builder(exporter).with_interval(NEVER).build();
    let provider = SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build();
    let meter = provider.meter(SCOPE);
    for Metric { name, unit, help, series } in metrics {
        let name = format!("{SCOPE}.{name}");
        let unit = match unit {
            Unit::None => "",
            Unit::Seconds => "s",
            Unit::Bytes => "By",
        };
        if series.iter().all(|series| matches!(series.value, Value::Count(_))) {
            let gauge = meter.u64_gauge(name).with_description(help.clone()).with_unit(unit).build();
            for series in series {
                if let Value::Count(count) = series.value {
                    gauge.record(count, &labels(series));
                }
            }
        } else {
            let gauge = meter.f64_gauge(name).with_description(help.clone()).with_unit(unit).build();
            series.iter().for_each(|series| gauge.record(series.value.approximate(), &labels(series)));
        }
    }
    if let Err(error) = provider.force_flush() {
        connection.fail(&error);
    }
    // The end of the provider would send the same once more.
    connection.close();
    provider
}

fn labels(series: &Series) -> Vec<KeyValue> {
    series.labels.iter().map(|(name, value)| KeyValue::new(*name, redact::text(value).into_owned())).collect()
}
