//! Whether the servers of receivers answer, for `etl doctor`. Sends no alert: the path of a webhook, and its secret, are not sent.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{StatusCode, Url};

use super::deliver::DeliveryClient;
use crate::{
    net::client::{HttpClient, asks_for_credentials},
    settings::{NetworkSettings, Receiver, ReceiverKind},
};

/// Whether the server of a receiver answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reached {
    /// The receiver.
    pub receiver: ReceiverKind,
    /// Why not. Without the URL, which is a secret.
    pub error: Option<String>,
}

/// Asks all servers at once, each once.
pub fn reach(receivers: &[Receiver], timeout: Duration, network: &NetworkSettings) -> Vec<Reached> {
    let errors: Vec<Option<String>> = match DeliveryClient::open(timeout, network) {
        Ok(DeliveryClient { client, runtime }) => runtime.block_on(join_all(receivers.iter().map(|receiver| ask(&client, receiver)))),
        Err(error) => receivers.iter().map(|_| Some(error.clone())).collect(),
    };
    receivers.iter().zip(errors).map(|(receiver, error)| Reached { receiver: receiver.kind, error }).collect()
}

/// Any answer shows that the server is there. What it says of a request without a path means nothing.
async fn ask(client: &HttpClient, receiver: &Receiver) -> Option<String> {
    let Ok(url) = receiver.url.expose().parse::<Url>() else { return Some("its URL is not valid".to_owned()) };
    let Ok(origin) = url.origin().ascii_serialization().parse::<Url>() else { return Some("its URL has no host".to_owned()) };
    match client.client().head(origin.clone()).send().await {
        Ok(response) if response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            client.proxy_of(&origin).map(|proxy| asks_for_credentials(&proxy))
        }
        Ok(_) => None,
        Err(error) => Some(client.failure(error, &origin).text()),
    }
}
