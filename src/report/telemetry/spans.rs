//! The spans of runs: a bounded queue, and sending them in batches. Does not decide what becomes a span.

use std::{
    borrow::Cow,
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use opentelemetry::{Array, Context, KeyValue, StringValue, Value, trace::Status};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanExporter as _, SpanProcessor},
};

use super::transport::{Connection, Transport};
use crate::net::redact;

/// Spans of one request at most, as OpenTelemetry's own processor has it.
const BATCH: usize = 512;

/// Spans that wait at most: one beyond that is lost, and counted.
const CAPACITY: usize = 16 * BATCH;

/// The longest time that a span waits for others.
const WAIT: Duration = Duration::from_secs(5);

/// The ended spans that were not sent yet.
#[derive(Default, Debug)]
pub(super) struct SpanQueue {
    state: Mutex<Queued>,
    changed: Condvar,
}

#[derive(Default, Debug)]
struct Queued {
    spans: VecDeque<SpanData>,
    /// Spans for which there was no room.
    lost: u64,
    /// Whether the run has ended: no more spans come.
    is_closed: bool,
}

impl SpanQueue {
    fn state(&self) -> MutexGuard<'_, Queued> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the spans of a run.
    pub(super) fn open(&self) {
        *self.state() = Queued::default();
    }

    /// Ends the spans of a run: what is left is sent at once.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
    }

    /// Removes what was not sent. Returns how many spans are lost.
    pub(super) fn clear(&self) -> u64 {
        let Queued { spans, lost, .. } = std::mem::take(&mut *self.state());
        spans.len() as u64 + lost
    }

    /// Counts spans of a batch that did not arrive.
    fn lose(&self, spans: u64) {
        self.state().lost += spans;
    }

    fn push(&self, span: SpanData) {
        let mut state = self.state();
        if state.spans.len() >= CAPACITY {
            state.lost += 1;
            return;
        }
        state.spans.push_back(span);
        if state.spans.len() >= BATCH {
            self.changed.notify_all();
        }
    }

    /// The next batch: a full one, or what there is after a while or at the end. `None` after the end.
    fn next_batch(&self) -> Option<Vec<SpanData>> {
        let mut state = self.state();
        let mut begun = Instant::now();
        loop {
            let is_due = state.is_closed || state.spans.len() >= BATCH || begun.elapsed() >= WAIT;
            if is_due && !state.spans.is_empty() {
                let count = state.spans.len().min(BATCH);
                return Some(state.spans.drain(..count).collect());
            }
            if state.is_closed {
                return None;
            }
            if begun.elapsed() >= WAIT {
                begun = Instant::now();
            }
            let left = WAIT.saturating_sub(begun.elapsed());
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Puts each ended span into the queue.
#[derive(Debug)]
pub(super) struct Collecting(pub(super) Arc<SpanQueue>);

impl SpanProcessor for Collecting {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Sends spans to a collector.
///
/// # Errors
/// The URL is not valid.
pub(super) fn exporter(transport: Transport, resource: &Resource) -> Result<SpanExporter, String> {
    let exporter = SpanExporter::builder().with_http();
    let mut exporter = transport.configure(exporter).build().map_err(|error| error.to_string())?;
    exporter.set_resource(resource);
    Ok(exporter)
}

/// Sends all spans of a run, until the queue is closed and empty or a request fails.
pub(super) fn send_all(queue: &SpanQueue, exporter: &SpanExporter, connection: &Connection) {
    while let Some(batch) = queue.next_batch() {
        let count = batch.len() as u64;
        let batch = batch.into_iter().map(redacted).collect();
        if let Err(error) = connection.block_on(exporter.export(batch)) {
            connection.fail(&error);
            queue.lose(count);
            return;
        }
    }
}

/// The span without secrets: a source may have echoed one.
fn redacted(mut span: SpanData) -> SpanData {
    span.attributes.iter_mut().for_each(hide);
    for event in &mut span.events.events {
        event.name = Cow::Owned(redact::text(&event.name).into_owned());
        event.attributes.iter_mut().for_each(hide);
    }
    if let Status::Error { description } = &mut span.status {
        *description = Cow::Owned(redact::text(description).into_owned());
    }
    span
}

fn hide(attribute: &mut KeyValue) {
    if redact::is_structural(attribute.key.as_str()) {
        return;
    }
    let hidden = |text: &StringValue| StringValue::from(redact::text(text.as_str()).into_owned());
    match &mut attribute.value {
        Value::String(text) => *text = hidden(text),
        Value::Array(Array::String(texts)) => texts.iter_mut().for_each(|text| *text = hidden(text)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use opentelemetry::trace::{SpanContext, SpanId, SpanKind};
    use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};

    use super::*;
    use crate::settings::Secret;

    fn span(attribute: &str) -> SpanData {
        SpanData {
            span_context: SpanContext::empty_context(),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: "page".into(),
            start_time: SystemTime::UNIX_EPOCH,
            end_time: SystemTime::UNIX_EPOCH,
            attributes: vec![KeyValue::new("url", attribute.to_owned())],
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::error(attribute.to_owned()),
            instrumentation_scope: opentelemetry::InstrumentationScope::default(),
        }
    }

    #[test]
    fn a_span_beyond_the_capacity_is_lost_and_counted_and_the_rest_comes_in_batches() {
        let queue = SpanQueue::default();
        queue.open();
        (0..CAPACITY + 3).for_each(|_| queue.push(span("u")));
        assert_eq!(queue.next_batch().unwrap().len(), BATCH);
        queue.close();
        let mut sent = 0;
        while let Some(batch) = queue.next_batch() {
            sent += batch.len();
        }
        assert_eq!((sent, queue.clear()), (CAPACITY - BATCH, 3));
    }

    #[test]
    fn secrets_are_hidden_in_attributes_and_status() {
        Secret::new("very-secret-of-a-span".into());
        let shown = redacted(span("https://h/?q=very-secret-of-a-span"));
        assert!(!format!("{shown:?}").contains("very-secret-of-a-span"), "{shown:?}");
    }
}
