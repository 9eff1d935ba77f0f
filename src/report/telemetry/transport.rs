//! How telemetry travels: over the client of this tool, so that its proxies, its authorities and its redaction apply.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use opentelemetry_http::{Bytes, HttpClient as ExporterClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, RetryPolicy, WithExportConfig, WithHttpConfig};
use reqwest::header::HeaderMap;
use tokio::runtime::Runtime;

use crate::{
    net::{
        client::{HttpClient, Timeouts},
        error_chain::chain,
        redact,
    },
    settings::{Collector, NetworkSettings},
};

/// The longest time to open a connection: a collector that can't be reached must not delay the end of a run.
const LONGEST_CONNECT: Duration = Duration::from_secs(2);

/// The most bytes of an answer. A collector has little to say.
const LARGEST_ANSWER: usize = 1 << 20;

/// An answer to a request that was accepted whole has at most this many bytes: an empty `partial_success`.
const EMPTY_ANSWER: usize = 2;

/// The connection to the collectors of a run.
#[derive(Debug)]
pub(super) struct Connection {
    client: HttpClient,
    /// The exporters call from threads of their own, so requests run here.
    runtime: Runtime,
    state: Mutex<State>,
}

#[derive(Default, Debug)]
struct State {
    /// No request lasts beyond this moment.
    deadline: Option<Instant>,
    /// Why the last attempt failed. A retry may succeed.
    refusal: Option<String>,
    outcome: Outcome,
    is_closed: bool,
}

/// What went wrong with the telemetry of a run.
#[derive(Clone, Default, Debug)]
pub(super) struct Outcome {
    /// Why something was not sent.
    pub(super) failure: Option<String>,
    /// What the collector accepted only in part.
    pub(super) partial: Option<String>,
}

impl Connection {
    /// # Errors
    /// Invalid settings of the network, in words.
    pub(super) fn new(network: &NetworkSettings, timeout: Duration) -> Result<Connection, String> {
        let timeouts = Timeouts { connect: timeout.min(LONGEST_CONNECT), read: None, total: None };
        let client = HttpClient::new(network, timeouts).map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Ok(Connection { client, runtime: runtime.map_err(|error| chain(&error))?, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// From now on, no request lasts beyond this moment.
    pub(super) fn set_deadline(&self, deadline: Instant) {
        self.state().deadline = Some(deadline);
    }

    /// From now on, no request is made.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
    }

    pub(super) fn outcome(&self) -> Outcome {
        self.state().outcome.clone()
    }

    /// Records that something was not sent. The cause is that of the last attempt, or else `error`.
    pub(super) fn fail(&self, error: &dyn std::fmt::Display) {
        let mut state = self.state();
        let cause = state.refusal.take().unwrap_or_else(|| error.to_string());
        state.outcome.failure.get_or_insert(cause);
    }

    /// The time that a request may take; `None` if there is none left.
    fn time_left(&self, timeout: Duration) -> Option<Duration> {
        let State { deadline, is_closed, .. } = &*self.state();
        let left = deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(Instant::now()).min(timeout));
        (!is_closed && !left.is_zero()).then_some(left)
    }
}

/// The way to one collector.
#[derive(Debug)]
pub(super) struct Transport {
    connection: Arc<Connection>,
    collector: Collector,
}

impl Transport {
    pub(super) fn new(connection: Arc<Connection>, collector: &Collector) -> Transport {
        Transport { connection, collector: collector.clone() }
    }

    /// Points an exporter of spans or of metrics to the collector, over this transport.
    pub(super) fn configure<B: WithExportConfig + WithHttpConfig>(self, exporter: B) -> B {
        let (url, timeout) = (self.collector.url.to_string(), self.collector.timeout);
        exporter
            .with_http_client(self)
            .with_endpoint(url)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(timeout)
            .with_retry_policy(RetryPolicy::recommended().with_max_retries(1))
    }

    /// Sends a request. An error names the collector and the cause.
    async fn post(connection: &Connection, collector: &Collector, headers: HeaderMap, body: Bytes) -> Result<Response<Bytes>, String> {
        let place = redact::url(&collector.url);
        let Some(time_left) = connection.time_left(collector.timeout) else { return Err(format!("{place}: no time is left")) };
        let request = connection.client.client().post(collector.url.clone()).headers(headers).body(body).timeout(time_left);
        let unreachable = |error| format!("{place}: {}", connection.client.failure(error, &collector.url).text());
        let mut response = request.send().await.map_err(unreachable)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            answer.extend_from_slice(&chunk);
            if answer.len() > LARGEST_ANSWER {
                return Err(format!("{place}: the collector answered {status} with more than {LARGEST_ANSWER} bytes"));
            }
        }
        if !status.is_success() {
            connection.state().refusal = Some(in_words(&place, &format!("the collector answered {status}"), &answer));
        } else if answer.len() > EMPTY_ANSWER {
            connection.state().outcome.partial = Some(in_words(&place, "the collector accepted only a part", &answer));
        }
        let mut whole = Response::new(Bytes::from(answer));
        *whole.status_mut() = status;
        *whole.headers_mut() = headers;
        Ok(whole)
    }
}

/// What a collector said, with the beginning of its words.
fn in_words(place: &str, what: &str, answer: &[u8]) -> String {
    match redact::beginning(answer) {
        words if words.is_empty() => format!("{place}: {what}"),
        words => format!("{place}: {what}: {words}"),
    }
}

impl ExporterClient for Transport {
    fn send_bytes<'s, 'f>(
        &'s self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        let (connection, collector) = (self.connection.clone(), self.collector.clone());
        let (parts, body) = request.into_parts();
        let mut headers = parts.headers;
        headers.remove(reqwest::header::USER_AGENT);
        for header in &collector.headers {
            headers.insert(header.name.clone(), header.value.clone());
        }
        let sent = self.connection.runtime.spawn(async move {
            let response = Transport::post(&connection, &collector, headers, body).await;
            response.inspect_err(|error| connection.state().refusal = Some(error.clone()))
        });
        Box::pin(async move { Ok(sent.await??) })
    }
}
