//! Sends notices. Bounded in time whatever a receiver does, and never an error of the run.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{StatusCode, Url};
use serde::{Deserialize, Serialize};

use super::{AlertKind, Notice, NoticeState, message};
use crate::{
    net::{
        client::{ConnectionError, HttpClient, Timeouts, asks_for_credentials},
        redact,
        retry::{NextAttempt, RetryPolicy},
    },
    settings::{NetworkSettings, Receiver, ReceiverKind},
};

/// How often a notice is tried.
const POLICY: RetryPolicy = RetryPolicy {
    attempts: 3,
    first: Duration::from_millis(500),
    cap: Duration::from_secs(5),
    retry_after_cap: Duration::from_secs(5),
    budget: Duration::MAX,
};

/// What became of a notice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// Who was to get it.
    pub receiver: ReceiverKind,
    /// What it said.
    pub state: NoticeState,
    /// What it was about.
    pub kind: AlertKind,
    /// Which one of its kind.
    pub subject: String,
    /// Why it did not arrive. Without the URL, which is a secret.
    pub error: Option<String>,
}

impl Delivery {
    /// The failure, as it stands in a summary.
    pub fn failure(&self) -> Option<FailedDelivery> {
        Some(FailedDelivery { receiver: self.receiver, kind: self.kind, error: self.error.clone()? })
    }
}

/// An alert that a receiver did not get.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FailedDelivery {
    /// The receiver.
    pub receiver: ReceiverKind,
    /// What the alert is about.
    pub kind: AlertKind,
    /// The response with its status code, or the connection error with its causes.
    pub error: String,
}

/// Who sends: what stands in each notice.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// The stable name of the pipeline.
    pub pipeline: &'a str,
    /// The layer that it is about.
    pub output: &'a str,
    /// The machine.
    pub host: &'a str,
    /// The run after which it is sent.
    pub run_id: &'a str,
}

/// What receivers are reached by.
pub(crate) struct DeliveryClient {
    pub(crate) client: HttpClient,
    pub(crate) runtime: tokio::runtime::Runtime,
}

impl DeliveryClient {
    /// A client of which each request may take `timeout`, or why there is none.
    pub(crate) fn open(timeout: Duration, network: &NetworkSettings) -> Result<DeliveryClient, String> {
        let timeouts = Timeouts { connect: timeout, read: None, total: Some(timeout) };
        let client = HttpClient::new(network, timeouts).map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        Ok(DeliveryClient { client, runtime })
    }
}

/// Sends all notices, at once, each tried three times with `timeout` for each, over the network of these settings.
pub fn deliver(due: &[(&Receiver, Notice)], sender: Sender<'_>, timeout: Duration, network: &NetworkSettings) -> Vec<Delivery> {
    if due.is_empty() {
        return Vec::new();
    }
    let delivery = |(receiver, notice): &(&Receiver, Notice), error: Option<String>| Delivery {
        receiver: receiver.kind,
        state: notice.state,
        kind: notice.alert.kind,
        subject: notice.alert.subject.clone(),
        error,
    };
    let DeliveryClient { client, runtime } = match DeliveryClient::open(timeout, network) {
        Ok(client) => client,
        Err(error) => return due.iter().map(|due| delivery(due, Some(error.clone()))).collect(),
    };
    let errors = runtime.block_on(join_all(due.iter().map(|(receiver, notice)| post(&client, receiver, notice, sender))));
    due.iter().zip(errors).map(|(due, error)| delivery(due, error.err())).collect()
}

async fn post(client: &HttpClient, receiver: &Receiver, notice: &Notice, sender: Sender<'_>) -> Result<(), String> {
    let key = receiver.key.as_ref().map(crate::settings::Secret::expose);
    let url: Url = receiver.url.expose().parse().map_err(|_| "its URL is not valid".to_owned())?;
    let notice = without_secrets(notice);
    let (pipeline, output) = (redact::text(sender.pipeline), redact::text(sender.output));
    let body = message::payload(receiver.kind, &notice, Sender { pipeline: &pipeline, output: &output, ..sender }, key);
    let body = serde_json::to_vec(&body).map_err(|error| error.to_string())?;
    let token = key.filter(|_| receiver.kind == ReceiverKind::Webhook);
    JsonPost { url: &url, body: &body, token, policy: POLICY }.send(client).await
}

/// A JSON document for a receiver.
pub(crate) struct JsonPost<'a> {
    pub(crate) url: &'a Url,
    pub(crate) body: &'a [u8],
    /// The bearer token.
    pub(crate) token: Option<&'a str>,
    pub(crate) policy: RetryPolicy,
}

impl JsonPost<'_> {
    /// Posts it until it is taken, within the policy. An error tells the last refusal, without the URL.
    pub(crate) async fn send(&self, client: &HttpClient) -> Result<(), String> {
        let mut attempts = self.policy.start();
        loop {
            let request = client.client().post(self.url.clone());
            let request = request.header(reqwest::header::CONTENT_TYPE, "application/json").body(self.body.to_vec());
            let request = match self.token {
                Some(token) => request.bearer_auth(token),
                None => request,
            };
            let (error, transient) = match request.send().await {
                Ok(response) if response.status().is_success() => return Ok(()),
                Ok(response) => match (response.status(), client.proxy_of(self.url)) {
                    (StatusCode::PROXY_AUTHENTICATION_REQUIRED, Some(proxy)) => (asks_for_credentials(&proxy), false),
                    (status, _) => (refusal(response).await, is_transient(status)),
                },
                Err(error) => match client.failure(error, self.url) {
                    ConnectionError::ProxyCredentials(text) => (text, false),
                    ConnectionError::Failed(text) => (text, true),
                },
            };
            match attempts.after_failure(None) {
                NextAttempt::After(wait) if transient => tokio::time::sleep(wait).await,
                _ => return Err(error),
            }
        }
    }
}

/// What a receiver answered instead of a success: the status, and the beginning of its words.
async fn refusal(response: reqwest::Response) -> String {
    let answer = format!("the receiver answered {}", response.status());
    match response.bytes().await {
        Ok(body) if !body.trim_ascii().is_empty() => format!("{answer}: {}", redact::beginning(&body)),
        _ => answer,
    }
}

/// The notice with what a source may have echoed hidden.
fn without_secrets(notice: &Notice) -> Notice {
    let mut notice = notice.clone();
    notice.alert.message = redact::text(&notice.alert.message).into_owned();
    notice.alert.subject = redact::text(&notice.alert.subject).into_owned();
    notice
}

fn is_transient(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)
}
