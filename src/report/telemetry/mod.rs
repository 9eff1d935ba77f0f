//! Traces and metrics of runs, sent to a collector by OTLP over HTTP (<https://opentelemetry.io/docs/specs/otlp/>).
//!
//! ```text
//! spans of tracing ──layer──▶ SpanQueue ──a thread of the run──▶ collector
//! summary ──metrics──▶ at the end of the run, by the same thread ──▶ collector
//! ```
//! Responsible for collecting spans and for sending both. What a span or a metric says is decided where it is made. Telemetry
//! never changes how a run ends: what is lost is one warning.

mod metrics;
mod spans;
mod transport;

use std::{
    sync::{Arc, OnceLock, mpsc},
    thread,
    time::Duration,
};

use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_sdk::{
    Resource,
    resource::{ResourceDetector, TelemetryResourceDetector},
    trace::{Sampler, SdkTracerProvider},
};
use tracing::{Level, Metadata, Subscriber, level_filters::LevelFilter};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

use self::{
    spans::{Collecting, SpanQueue},
    transport::{Connection, Outcome, Transport},
};
use super::{Metric, Summary};
use crate::{
    cancel::Cancel,
    model::elapsed_text,
    net::bounded_wait::{BoundedWait, Pause, Waited},
    settings::{NetworkSettings, ResourceAttribute, TelemetrySettings},
};

/// The name of what sends, in each trace and metric.
const SCOPE: &str = "etl";

/// The ended spans of this process. There is one subscriber of tracing in a process, and so one queue.
static QUEUE: OnceLock<Arc<SpanQueue>> = OnceLock::new();

static PAUSE: Pause = Pause::new();

/// The layer of tracing that collects the spans of runs; `None` if no collector of traces is named.
///
/// Its filter is its own: `--verbose` and `--quiet` do not change what is collected. Events are collected from WARN on.
pub fn layer<S: Subscriber + for<'s> LookupSpan<'s> + Send + Sync>(
    settings: &TelemetrySettings,
) -> Option<Box<dyn Layer<S> + Send + Sync>> {
    settings.traces.as_ref()?;
    let queue = QUEUE.get_or_init(Arc::default).clone();
    let provider = SdkTracerProvider::builder()
        .with_resource(resource(&settings.resource))
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
        .with_span_processor(Collecting(queue))
        .build();
    let is_collected = |metadata: &Metadata<'_>| {
        metadata.target().starts_with(env!("CARGO_CRATE_NAME")) && (metadata.is_span() || *metadata.level() <= Level::WARN)
    };
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(SCOPE))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false);
    Some(layer.with_filter(filter_fn(is_collected).with_max_level_hint(LevelFilter::DEBUG)).boxed())
}

/// The service that sends.
fn resource(attributes: &[ResourceAttribute]) -> Resource {
    let sdk = TelemetryResourceDetector.detect();
    let own = attributes.iter().map(|attribute| KeyValue::new(attribute.name.clone(), attribute.value.clone()));
    Resource::builder_empty()
        .with_attributes(sdk.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone())))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attributes(own)
        .build()
}

/// Says on the span of a run how the run has ended.
pub fn describe(span: &tracing::Span, summary: &Summary) {
    span.set_attribute("command", summary.command.as_str());
    span.set_attribute("status", summary.status.as_str());
    for (name, count) in [
        ("records_read", summary.records.records_read),
        ("records_dropped_count", summary.records_dropped()),
        ("partitions_written", summary.partitions_written.len() as u64),
    ] {
        span.set_attribute(name, i64::try_from(count).unwrap_or(i64::MAX));
    }
    if let Some(error) = &summary.error {
        span.set_status(opentelemetry::trace::Status::error(error.clone()));
    }
}

/// The telemetry of one run. It sends spans while the run works.
pub struct RunTelemetry {
    sending: Option<Sending>,
    problems: Vec<String>,
}

/// The thread that sends.
struct Sending {
    connection: Arc<Connection>,
    /// Ends the thread, after it has sent these metrics.
    metrics: mpsc::Sender<Vec<Metric>>,
    done: mpsc::Receiver<Outcome>,
    timeout: Duration,
}

impl RunTelemetry {
    /// Begins to send spans. Without settings it does nothing.
    pub fn start(settings: Option<&TelemetrySettings>, network: &NetworkSettings) -> RunTelemetry {
        let Some(settings) = settings else { return RunTelemetry { sending: None, problems: Vec::new() } };
        let mut problems = settings.problems.clone();
        if PAUSE.is_on() || settings.traces.is_none() && settings.metrics.is_none() {
            return RunTelemetry { sending: None, problems };
        }
        let sending = Sending::start(settings, network).map_err(|problem| problems.push(problem)).ok();
        RunTelemetry { sending, problems }
    }

    /// Sends what is left, and the metrics of the run, within one time-out of the collector. A failure is one warning.
    pub fn finish(self, run_id: &str, metrics: Vec<Metric>, cancel: &Cancel) {
        let RunTelemetry { sending, problems } = self;
        let was_sending = sending.is_some();
        let Outcome { failure, partial } = sending.map(|sending| sending.finish(metrics, cancel)).unwrap_or_default();
        if failure.is_some() {
            PAUSE.begin();
        }
        let lost = QUEUE.get().map_or(0, |queue| queue.clear());
        let problems: Vec<_> = problems.into_iter().chain(failure).chain(partial).collect();
        if !problems.is_empty() {
            let cause = problems.join("; ");
            tracing::warn!(run_id, spans_lost = lost, cause, "the collector did not get all traces and metrics of the run");
        } else if lost > 0 && was_sending {
            tracing::warn!(
                run_id,
                spans_lost = lost,
                "the collector did not get all spans of the run: they ended faster than it took them"
            );
        }
    }
}

impl Sending {
    fn start(settings: &TelemetrySettings, network: &NetworkSettings) -> Result<Sending, String> {
        let timeouts = [&settings.traces, &settings.metrics].into_iter().flatten().map(|collector| collector.timeout);
        let timeout = timeouts.max().unwrap_or_default();
        let connection = Arc::new(Connection::new(network, timeout)?);
        let resource = resource(&settings.resource);
        let transport = |collector| Transport::new(connection.clone(), collector);
        let spans = settings.traces.as_ref().map(|collector| spans::exporter(transport(collector), &resource)).transpose()?;
        let metrics_exporter = settings.metrics.as_ref().map(|collector| metrics::exporter(transport(collector))).transpose()?;
        let queue = QUEUE.get_or_init(Arc::default).clone();
        queue.open();
        let (metrics_in, metrics_out) = mpsc::channel::<Vec<Metric>>();
        let (done_in, done) = mpsc::channel();
        let of_thread = connection.clone();
        let work = move || {
            if let Some(exporter) = spans {
                spans::send_all(&queue, &exporter, &of_thread);
            }
            let metrics = metrics_out.recv().unwrap_or_default();
            let exporter = metrics_exporter.filter(|_| !metrics.is_empty() && of_thread.outcome().failure.is_none());
            let provider = exporter.map(|exporter| metrics::send(&metrics, exporter, resource, &of_thread));
            // The run may have stopped waiting.
            let _ = done_in.send(of_thread.outcome());
            // Its end takes a moment, for which no run waits.
            drop(provider);
        };
        thread::Builder::new().name("telemetry".into()).spawn(work).map_err(|error| format!("no thread can be started: {error}"))?;
        Ok(Sending { connection, metrics: metrics_in, done, timeout })
    }

    /// Waits until all is sent, for one time-out at most. Returns what went wrong.
    fn finish(self, metrics: Vec<Metric>, cancel: &Cancel) -> Outcome {
        let wait = BoundedWait::begin(self.timeout, cancel);
        self.connection.set_deadline(wait.begun() + self.timeout);
        let _ = self.metrics.send(metrics);
        if let Some(queue) = QUEUE.get() {
            queue.close();
        }
        if let Waited::Told(outcome) = wait.next(&self.done) {
            return outcome;
        }
        self.connection.close();
        self.connection.fail(&format_args!("no answer within {}", elapsed_text(wait.begun().elapsed())));
        self.connection.outcome()
    }
}
