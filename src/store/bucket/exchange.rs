//! Sends the requests of a bucket, and notes what is seen of each: `object_store` drops the bodies of redirects, and does not
//! tell whether an earlier attempt may have been executed. Decides nothing.

use std::{
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use object_store::{
    ClientOptions,
    client::{HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService},
};
use reqwest::{
    Client, Method, StatusCode,
    header::{ACCEPT_ENCODING, HeaderMap, HeaderValue},
};

use super::failure::{Words, words};
use crate::{model::span_text, net::error_chain::chain};

/// A body gets as much longer as it needs at this rate, in bytes a second.
const SLOWEST: u64 = 1 << 20;

tokio::task_local! {
    static SEEN: Arc<Mutex<Seen>>;
}

/// What was seen of one operation.
#[derive(Clone, Default, Debug)]
pub(super) struct Seen {
    /// Requests that were sent, or tried.
    pub(super) attempts: u32,
    /// The last answer. `None` if the last attempt got none.
    pub(super) answer: Option<Answer>,
    /// Why the last attempt got no answer.
    pub(super) lost: Option<Lost>,
    /// Whether an attempt to change something may have been executed.
    pub(super) may_be_done: bool,
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// The store's own words, if it is an error.
    pub(super) words: Words,
    /// The region of the bucket, if S3 says so.
    pub(super) region: Option<String>,
}

/// A request without an answer.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    /// The server: scheme, host and port.
    pub(super) server: String,
    /// Why.
    pub(super) cause: String,
}

/// Runs an operation, and returns what was seen of its requests.
pub(super) async fn traced<T>(work: impl Future<Output = T>) -> (T, Seen) {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let result = SEEN.scope(seen.clone(), work).await;
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (result, seen)
}

fn note(change: impl FnOnce(&mut Seen)) {
    // Outside of an operation nobody asks.
    let _ = SEEN.try_with(|seen| change(&mut seen.lock().unwrap_or_else(PoisonError::into_inner)));
}

/// Sends requests.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    /// For requests whose body is short: it has a time-out between two bytes of the answer.
    pub(super) reads: Client,
    /// For uploads: it has none, since no byte comes while a body is sent.
    pub(super) uploads: Client,
    /// The time for a request without a body.
    pub(super) timeout: Duration,
}

impl HttpConnector for Exchange {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

impl HttpService for Exchange {
    fn call<'s, 'f>(&'s self, request: HttpRequest) -> BoxFuture<'f, Result<HttpResponse, HttpError>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(self.send(request))
    }
}

impl Exchange {
    async fn send(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // A client that decompresses would change the length of an object.
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
        let server = server_of(&request);
        let result = match *request.method() {
            Method::PUT => {
                let length = u64::try_from(request.body().content_length()).unwrap_or(u64::MAX);
                let limit = self.timeout.saturating_add(Duration::from_secs(length / SLOWEST));
                let answered = tokio::time::timeout(limit, async { with_words(self.uploads.call(request).await?).await });
                answered.await.unwrap_or_else(|_| Err(HttpError::new(HttpErrorKind::Timeout, TimedOut(limit))))
            }
            _ => match self.reads.call(request).await {
                Ok(response) => with_words(response).await,
                Err(error) => Err(error),
            },
        };
        match result {
            Ok((response, answer)) => {
                note(|seen| {
                    seen.attempts += 1;
                    seen.may_be_done |= changes && may_be_done(&answer);
                    seen.lost = None;
                    seen.answer = Some(answer);
                });
                Ok(response)
            }
            Err(error) => {
                let error = with_kind(error);
                note(|seen| {
                    seen.attempts += 1;
                    seen.may_be_done |= changes && error.kind() != HttpErrorKind::Connect;
                    seen.answer = None;
                    seen.lost = Some(Lost { server, cause: chain(&error) });
                });
                Err(error)
            }
        }
    }
}

/// A request that took too long.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {}", span_text(*.0))]
struct TimedOut(Duration);

fn server_of(request: &HttpRequest) -> String {
    let uri = request.uri();
    format!("{}://{}", uri.scheme_str().unwrap_or_default(), uri.authority().map(|authority| authority.as_str()).unwrap_or_default())
}

/// Whether the request of an answer may have been executed. The stores promise of some answers that it was not.
fn may_be_done(answer: &Answer) -> bool {
    if answer.status.is_server_error() {
        return !matches!(answer.words.code.as_deref(), Some("SlowDown" | "ServerBusy" | "NotImplemented"));
    }
    answer.status.is_success()
}

/// The answer, with the store's own words if it is an error.
async fn with_words(response: HttpResponse) -> Result<(HttpResponse, Answer), HttpError> {
    let (status, region) = (response.status(), region(response.headers()));
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        return Ok((response, Answer { status, words: Words::default(), region }));
    }
    let header_code = text(response.headers(), "x-ms-error-code");
    let (parts, body) = response.into_parts();
    let body = body.bytes().await?;
    let mut words = words(&body);
    words.code = words.code.or(header_code);
    let region = region.or_else(|| words.region.clone());
    Ok((HttpResponse::from_parts(parts, body.into()), Answer { status, words, region }))
}

fn region(headers: &HeaderMap) -> Option<String> {
    text(headers, "x-amz-bucket-region")
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// A connection that could not be opened in time is no request that may have been executed.
fn with_kind(error: HttpError) -> HttpError {
    let is_connect = error.source().and_then(|source| source.downcast_ref::<reqwest::Error>()).is_some_and(reqwest::Error::is_connect);
    if is_connect && error.kind() != HttpErrorKind::Connect { HttpError::new(HttpErrorKind::Connect, error) } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_no_execution_and_a_failure_may_be_one() {
        let answer = |status: u16, code: &str| Answer {
            status: StatusCode::from_u16(status).unwrap(),
            words: Words { code: Some(code.to_owned()).filter(|code| !code.is_empty()), ..Words::default() },
            region: None,
        };
        for (status, code, expected) in [
            (200, "", true),
            (500, "InternalError", true),
            (502, "", true),
            (503, "SlowDown", false),
            (503, "", true),
            (403, "AccessDenied", false),
            (412, "PreconditionFailed", false),
            (429, "", false),
        ] {
            assert_eq!(may_be_done(&answer(status, code)), expected, "{status} {code}");
        }
    }
}
