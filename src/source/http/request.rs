//! One request: rate-limited, authorized, over its redirects, and tried again where that may help.
//!
//! What a response means is told by the judge that comes with the request.

use std::{
    future::Future,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use reqwest::{
    Client, Url,
    header::{ACCEPT, LOCATION, RETRY_AFTER},
    redirect,
};
use tracing::Instrument;

use super::{auth::Authorizer, judge::Response};
use crate::{
    net::{
        error_chain::chain,
        pace::RateLimiter,
        redact::Redactor,
        retry::{self, Backoff},
        tls,
    },
    settings::{Credentials, HttpProfile, HttpSettings},
    source::{Access, RequestFailure, SourceError},
};

/// Bytes to reserve for a body at most, whatever length a server announces.
const MOST_RESERVED: u64 = 8 << 20;

/// Bytes to read of the body of a failed response.
const MOST_OF_FAILURE: u64 = 64 << 10;

/// Asks one source.
pub(super) struct Requester<'a> {
    profile: &'a HttpProfile,
    access: Access<'a>,
    client: Client,
    authorizer: Authorizer<'a>,
    rate_limiter: RateLimiter,
    redactor: Redactor,
}

impl<'a> Requester<'a> {
    pub(super) fn new(
        start: &'a Url,
        profile: &'a HttpProfile,
        credentials: &'a Credentials,
        access: Access<'a>,
    ) -> Result<Requester<'a>, SourceError> {
        let settings = access.http;
        tls::install_provider();
        let client = Client::builder()
            .user_agent(concat!("orders-etl/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(settings.connect_timeout)
            .read_timeout(settings.read_timeout)
            // Followed by hand: credentials must not leave the configured origin, whatever header carries them.
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| SourceError::Client(chain(&error)))?;
        Ok(Requester {
            profile,
            access,
            client,
            authorizer: Authorizer::new(&profile.auth, credentials, start)?,
            rate_limiter: RateLimiter::new(profile.requests_per_second),
            redactor: Redactor::new(credentials),
        })
    }

    pub(super) fn settings(&self) -> &'a HttpSettings {
        self.access.http
    }

    pub(super) fn access(&self) -> &Access<'a> {
        &self.access
    }

    pub(super) fn profile(&self) -> &'a HttpProfile {
        self.profile
    }

    pub(super) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Asks for a URL and has each response judged, as often as the settings allow.
    ///
    /// # Errors
    /// [`SourceError::Request`] with the last failure, [`SourceError::Interrupted`].
    pub(super) async fn fetch<T>(
        &self,
        url: &Url,
        page: u64,
        judge: impl Fn(Response) -> Result<T, RequestFailure>,
    ) -> Result<T, SourceError> {
        let span = tracing::info_span!("page", page, url = %self.redactor.url(url));
        self.attempts(url, page, judge).instrument(span).await
    }

    async fn attempts<T>(&self, url: &Url, page: u64, judge: impl Fn(Response) -> Result<T, RequestFailure>) -> Result<T, SourceError> {
        let started = Instant::now();
        let settings = self.access.http;
        let mut backoff = Backoff::new(settings.backoff_first, settings.backoff_cap, settings.retry_after_cap);
        let mut renewed = false;
        let mut attempt = 0;
        loop {
            attempt += 1;
            self.unless_stopped(self.rate_limiter.wait_turn()).await?;
            let failed = match self.unless_stopped(self.attempt(url, &judge)).await? {
                Ok(judged) => return Ok(judged),
                Err(failed) => failed,
            };
            // A token may be taken back before it expires: once, another one is asked for.
            if matches!(failed.cause, RequestFailure::Status { status: 401, .. }) && !renewed && self.authorizer.forget_token().await {
                renewed = true;
                attempt -= 1;
                continue;
            }
            if attempt >= settings.max_attempts || !failed.cause.is_transient() {
                let (url, elapsed) = (self.redactor.url(url), started.elapsed());
                return Err(SourceError::Request { url, page, attempts: attempt, elapsed, cause: failed.cause });
            }
            let wait = backoff.next(failed.retry_after);
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(attempt, wait_ms, cause = %failed.cause, "the request failed and is tried again");
            self.access.counters.retry();
            self.unless_stopped(tokio::time::sleep(wait)).await?;
        }
    }

    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, SourceError> {
        tokio::select! {
            done = work => Ok(done),
            () = self.access.cancel.wait() => Err(SourceError::Interrupted),
        }
    }

    async fn attempt<T>(&self, url: &Url, judge: &impl Fn(Response) -> Result<T, RequestFailure>) -> Result<T, FailedAttempt> {
        let response = self.follow(url).await?;
        let retry_after = header(response.headers(), &RETRY_AFTER).and_then(|value| retry::retry_after(value, SystemTime::now()));
        let (status, headers, url) = (response.status(), response.headers().clone(), response.url().clone());
        let body = match self.body(response).await {
            Ok(body) => body,
            // What the server says is wanted; that it can't be said whole does not matter.
            Err(_) if !status.is_success() => Bytes::new(),
            Err(failure) => return Err(failure.into()),
        };
        judge(Response { status, headers, url, body }).map_err(|cause| FailedAttempt { cause, retry_after })
    }

    /// Sends the request, over its redirects. The credentials go with it only as far as the configured origin.
    async fn follow(&self, url: &Url) -> Result<reqwest::Response, RequestFailure> {
        let mut url = url.clone();
        let most = self.access.http.max_redirects;
        for _ in 0..=most {
            self.access.counters.request();
            let mut request = self.client.get(url.clone()).header(ACCEPT, "application/json");
            for (name, value) in &self.profile.headers {
                request = request.header(name, value);
            }
            let request = self.authorizer.authorize(request, &url, &self.client, &self.redactor).await?;
            let response = request.send().await.map_err(|error| RequestFailure::Connection(self.redactor.hide(&connection(error))))?;
            self.rate_limiter.observe(response.headers(), self.access.http.retry_after_cap);
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let target = header(response.headers(), &LOCATION).and_then(|target| url.join(target).ok());
            url = target
                .filter(|url| matches!(url.scheme(), "http" | "https"))
                .ok_or_else(|| RequestFailure::Redirect("a redirect without a usable Location".into()))?;
        }
        Err(RequestFailure::Redirect(format!("more than {most} redirects (http.max_redirects)")))
    }

    async fn body(&self, mut response: reqwest::Response) -> Result<Bytes, RequestFailure> {
        let is_failure = !response.status().is_success();
        let limit = if is_failure { MOST_OF_FAILURE } else { self.access.http.max_body };
        let announced = response.content_length().unwrap_or(0).min(limit).min(MOST_RESERVED);
        let mut body = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
        while let Some(chunk) = response.chunk().await.map_err(|error| RequestFailure::Connection(connection(error)))? {
            self.access.counters.bytes(chunk.len());
            body.extend_from_slice(&chunk);
            if body.len() as u64 > limit {
                if is_failure {
                    break;
                }
                return Err(RequestFailure::TooLarge { limit });
            }
        }
        Ok(body.into())
    }
}

/// An attempt that failed, and how long the server would have the next one wait.
struct FailedAttempt {
    cause: RequestFailure,
    retry_after: Option<Duration>,
}

impl From<RequestFailure> for FailedAttempt {
    fn from(cause: RequestFailure) -> FailedAttempt {
        FailedAttempt { cause, retry_after: None }
    }
}

fn header<'h>(headers: &'h reqwest::header::HeaderMap, name: &reqwest::header::HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// What broke a connection, without the URL, which the error that carries this shows redacted.
pub(super) fn connection(error: reqwest::Error) -> String {
    let timed_out = error.is_timeout();
    let error = error.without_url();
    if timed_out { format!("timed out ({})", chain(&error)) } else { chain(&error) }
}
