//! Sends notices. Bounded in time whatever a receiver does, and never an error of the run.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Client, StatusCode, redirect};

use super::{AlertKind, Notice, NoticeState, message};
use crate::{
    net::{retry::Backoff, tls},
    settings::{Receiver, ReceiverKind},
};

/// Attempts a notice.
const ATTEMPTS: u32 = 3;

/// The longest first wait between attempts, and the longest of all.
const WAITS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

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

/// Who sends: what stands in each notice.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// The layer that it is about.
    pub output: &'a str,
    /// The machine.
    pub host: &'a str,
    /// The run after which it is sent.
    pub run_id: &'a str,
}

/// Sends all notices, at once, each tried three times with `timeout` for each.
pub fn deliver(due: &[(&Receiver, Notice)], sender: Sender<'_>, timeout: Duration) -> Vec<Delivery> {
    if due.is_empty() {
        return Vec::new();
    }
    tls::install_provider();
    let ready = Client::builder().timeout(timeout).redirect(redirect::Policy::none()).build().map_err(|error| error.to_string()).and_then(
        |client| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
            Ok((client, runtime))
        },
    );
    let delivery = |(receiver, notice): &(&Receiver, Notice), error: Option<String>| Delivery {
        receiver: receiver.kind,
        state: notice.state,
        kind: notice.alert.kind,
        subject: notice.alert.subject.clone(),
        error,
    };
    let (client, runtime) = match ready {
        Ok(ready) => ready,
        Err(error) => return due.iter().map(|due| delivery(due, Some(error.clone()))).collect(),
    };
    let errors = runtime.block_on(join_all(due.iter().map(|(receiver, notice)| post(&client, receiver, notice, sender))));
    due.iter().zip(errors).map(|(due, error)| delivery(due, error.err())).collect()
}

async fn post(client: &Client, receiver: &Receiver, notice: &Notice, sender: Sender<'_>) -> Result<(), String> {
    let key = receiver.key.as_ref().map(crate::settings::Secret::expose);
    let body = message::payload(receiver.kind, notice, sender.output, sender.host, sender.run_id, key);
    let body = serde_json::to_vec(&body).map_err(|error| error.to_string())?;
    let mut waits = Backoff::new(WAITS.0, WAITS.1, WAITS.1);
    let mut attempt = 1;
    loop {
        let mut request = client.post(receiver.url.expose()).header(reqwest::header::CONTENT_TYPE, "application/json").body(body.clone());
        if let (ReceiverKind::Webhook, Some(token)) = (receiver.kind, key) {
            request = request.bearer_auth(token);
        }
        let (error, transient) = match request.send().await {
            Ok(response) if response.status().is_success() => return Ok(()),
            Ok(response) => (format!("it answered {}", response.status()), is_transient(response.status())),
            Err(error) if error.is_timeout() => ("it did not answer in time".to_owned(), true),
            Err(error) => (error.without_url().to_string(), true),
        };
        if attempt == ATTEMPTS || !transient {
            return Err(error);
        }
        attempt += 1;
        tokio::time::sleep(waits.next(None)).await;
    }
}

fn is_transient(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)
}
