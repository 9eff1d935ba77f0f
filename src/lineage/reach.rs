//! Whether the server of events answers, for `etl doctor`. Sends no event.
//!
//! It is a `GET` of the place that events are posted to. By HTTP, such a request changes nothing, so no run appears in the catalog.
//! It goes through the same proxy, TLS and authentication as an event, and so it finds a token that is refused. A server that only
//! takes posts answers with 405, and one that wants parameters, such as Marquez, with 400: both are there. What it would say of an
//! event, only a run shows: an event that tries it would stay in the catalog for good.

use std::time::Duration;

use reqwest::StatusCode;

use crate::{
    net::client::asks_for_credentials,
    report::alert::DeliveryClient,
    settings::{LineageReceiver, NetworkSettings, Secret},
};

/// What the server answers to a request without an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerAnswer {
    /// It is there, and has something at the place of events.
    Answers,
    /// It refuses the token, or asks for one: the status.
    Unauthorized(u16),
    /// It has nothing at this place, or hides it from a `GET`.
    NotFound,
    /// It is there, and does not work as it should, or sends elsewhere, where no event follows: the status.
    Unexpected(u16),
}

impl ServerAnswer {
    fn of(status: StatusCode) -> ServerAnswer {
        match status.as_u16() {
            code @ (401 | 403) => ServerAnswer::Unauthorized(code),
            404 | 410 => ServerAnswer::NotFound,
            200..=299 | 400..=499 => ServerAnswer::Answers,
            code => ServerAnswer::Unexpected(code),
        }
    }
}

/// Asks the server once.
///
/// # Errors
/// Why it was not reached, without credentials.
pub fn ask_server(receiver: &LineageReceiver, timeout: Duration, network: &NetworkSettings) -> Result<ServerAnswer, String> {
    let DeliveryClient { client, runtime } = DeliveryClient::open(timeout, network)?;
    let request = client.client().get(receiver.url.clone());
    let request = match receiver.key.as_ref().map(Secret::expose) {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    // The time-out of a request begins on the runtime.
    match runtime.block_on(async { request.send().await }) {
        Ok(response) => match (response.status(), client.proxy_of(&receiver.url)) {
            (StatusCode::PROXY_AUTHENTICATION_REQUIRED, Some(proxy)) => Err(asks_for_credentials(&proxy)),
            (status, _) => Ok(ServerAnswer::of(status)),
        },
        Err(error) => Err(client.failure(error, &receiver.url).text()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_takes_posts_alone_is_there_and_one_that_refuses_or_fails_is_told() {
        let answer = |code: u16| ServerAnswer::of(StatusCode::from_u16(code).unwrap());
        assert_eq!([200, 201, 400, 405, 422].map(answer), [ServerAnswer::Answers; 5]);
        assert_eq!([401, 403].map(answer), [ServerAnswer::Unauthorized(401), ServerAnswer::Unauthorized(403)]);
        assert_eq!(answer(404), ServerAnswer::NotFound);
        assert_eq!([301, 503].map(answer), [ServerAnswer::Unexpected(301), ServerAnswer::Unexpected(503)]);
    }
}
