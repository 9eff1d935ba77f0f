//! One request: rate limited, authorized, with its redirects, and retried if a retry may succeed.
//!
//! The caller passes a function that judges the response.

use std::{
    fs::File,
    future::Future,
    io::{self, Seek, Write},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use reqwest::{
    Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, LOCATION},
};
use tracing::Instrument;

use super::{
    auth::{Authorization, Authorizer, CredentialUse, insert},
    encoding,
    judge::Response,
    template::{self, PreparedRequest},
};
use crate::{
    model::{counted, span_text},
    net::{
        client::{ConnectionError, HttpClient, asks_for_credentials},
        rate_limit, redact,
        retry::{NextAttempt, RetryPolicy},
        token::Refused,
    },
    settings::{Credentials, HttpProfile, HttpSettings, Secret},
    source::{
        Access, RequestFailure, SourceError,
        error::{FailedRequest, SentRequest},
    },
};

/// The maximum bytes to reserve for a body, however large its Content-Length is.
const MAX_RESERVED: u64 = 8 << 20;

/// The maximum bytes to read of the body of a failed response.
const MAX_FAILURE_BYTES: u64 = 64 << 10;

/// How often one request renews a token that the server refuses.
const MAX_RENEWALS: u32 = 2;

/// How often one request is repeated because another request has already renewed the refused token.
const MAX_STALE_TOKENS: u32 = 20;

/// The headers of a profile that are sent to every origin, because they can't contain credentials.
const FOR_ALL_ORIGINS: [&str; 5] = ["accept", "accept-encoding", "accept-language", "accept-charset", "user-agent"];

/// Sends the requests of one source.
pub(super) struct Requester<'a> {
    profile: &'a HttpProfile,
    credentials: &'a Credentials,
    access: Access<'a>,
    client: &'a HttpClient,
    authorizer: Authorizer<'a>,
    /// Bytes of the largest body so far.
    largest_body: AtomicU64,
}

/// The route of an attempt, for its error.
#[derive(Default)]
struct Trace {
    /// The URL of the last redirect that was followed.
    hop: Option<Url>,
    /// The proxy of the last request.
    proxy: Option<String>,
    /// The last OAuth token that was sent.
    token: Option<Secret>,
}

/// A failed attempt, and the `Retry-After` of the server.
struct FailedAttempt {
    cause: RequestFailure,
    retry_after: Option<Duration>,
}

impl From<RequestFailure> for FailedAttempt {
    fn from(cause: RequestFailure) -> FailedAttempt {
        FailedAttempt { cause, retry_after: None }
    }
}

/// Why an attempt at a download failed.
enum DownloadFailure {
    Request(FailedAttempt),
    /// The copy can't be written.
    Copy(io::Error),
}

/// A URL as it may be shown where its query is a signature.
pub(super) fn without_query(url: &Url) -> Url {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    shown
}

/// The maximum bytes of a body, and the setting of this limit.
#[derive(Clone, Copy)]
struct BodyLimit {
    bytes: u64,
    setting: &'static str,
}

impl<'a> Requester<'a> {
    /// # Errors
    /// [`SourceError::Network`], [`SourceError::Credentials`].
    pub(super) fn new(
        start: &'a Url,
        profile: &'a HttpProfile,
        credentials: &'a Credentials,
        access: Access<'a>,
    ) -> Result<Requester<'a>, SourceError> {
        let client = access.network.client()?;
        if let Some(rate) = profile.requests_per_second {
            access.network.rate_limiter(start).limit(rate);
        }
        let authorizer = Authorizer::new(&profile.auth, credentials, start, access, client)?;
        Ok(Requester { profile, credentials, access, client, authorizer, largest_body: AtomicU64::new(0) })
    }

    /// Requests for lists that belong to the records of this source. They carry its credentials to its origin only,
    /// wherever such a list is.
    ///
    /// # Errors
    /// [`SourceError::Network`], [`SourceError::Credentials`].
    pub(super) fn of_same_source(&self, profile: &'a HttpProfile) -> Result<Requester<'a>, SourceError> {
        Requester::new(self.authorizer.trusted(), profile, self.credentials, self.access)
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

    /// The request for a URL of the pager as it is sent, for errors.
    pub(super) fn sent(&self, url: &Url) -> SentRequest {
        template::prepare(self.profile, url).shown()
    }

    /// The bytes of the largest body so far; 0 before the first body.
    pub(super) fn largest_body(&self) -> u64 {
        self.largest_body.load(Ordering::Relaxed)
    }

    /// Requests a URL and judges the response, with as many retries as the settings allow.
    ///
    /// # Errors
    /// [`SourceError::Request`] with the last failure, [`SourceError::Interrupted`].
    pub(super) async fn fetch<T>(
        &self,
        url: &Url,
        page: u64,
        judge: impl Fn(Response) -> Result<T, RequestFailure>,
    ) -> Result<T, SourceError> {
        // Signed: OpenTelemetry knows no other integer.
        let span = tracing::info_span!("page", page = page.cast_signed(), url = %redact::url(url));
        self.attempts(url, page, judge).instrument(span).await
    }

    async fn attempts<T>(&self, url: &Url, page: u64, judge: impl Fn(Response) -> Result<T, RequestFailure>) -> Result<T, SourceError> {
        let settings = self.access.http;
        let mut attempts = self.policy().start();
        let (mut renewals, mut stale_tokens) = (0, 0);
        let mut last: Option<(RequestFailure, Trace)> = None;
        loop {
            let limiter = self.access.network.rate_limiter(url);
            self.unless_stopped(limiter.wait_turn()).await?;
            // The `Retry-After` of another request may have delayed this one beyond its budget.
            if let Some((cause, trace)) = last.take_if(|_| attempts.is_out_of_time()) {
                return Err(self.failed(url, page, &attempts, cause, &trace, NextAttempt::NoTimeLeft));
            }
            let mut trace = Trace::default();
            let attempt = tokio::time::timeout(settings.request_timeout, self.attempt(url, &judge, &mut trace));
            let failed = match self.unless_stopped(attempt).await? {
                Ok(Ok(judged)) => return Ok(judged),
                Ok(Err(failed)) => failed,
                Err(_) => RequestFailure::Connection(format!(
                    "timed out: the response was not complete after {} (http.request_timeout)",
                    span_text(settings.request_timeout)
                ))
                .into(),
            };
            // A server may refuse a token before it expires: repeat the request with another token.
            if let (RequestFailure::Status { status: 401, .. }, Some(sent)) = (&failed.cause, &trace.token) {
                let is_repeated = match self.authorizer.refuse_token(sent).await {
                    Refused::Forgotten => {
                        renewals += 1;
                        renewals <= MAX_RENEWALS
                    }
                    Refused::Renewed => {
                        stale_tokens += 1;
                        stale_tokens <= MAX_STALE_TOKENS
                    }
                };
                if is_repeated {
                    continue;
                }
            }
            if !failed.cause.is_transient() {
                return Err(self.failed(url, page, &attempts, failed.cause, &trace, NextAttempt::NoneLeft));
            }
            if let Some(wait) = failed.retry_after {
                let origin = trace.hop.as_ref().unwrap_or(url);
                self.access.network.rate_limiter(origin).hold(wait.min(settings.retry_after_cap));
            }
            let wait = match attempts.after_failure(failed.retry_after) {
                NextAttempt::After(wait) => wait,
                none => return Err(self.failed(url, page, &attempts, failed.cause, &trace, none)),
            };
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(attempt = attempts.count() - 1, wait_ms, cause = %failed.cause, "the request failed and is tried again");
            self.access.counters.retry();
            self.unless_stopped(tokio::time::sleep(wait)).await?;
            last = Some((failed.cause, trace));
        }
    }

    /// Downloads what a URL holds into a file, with as many attempts as the settings allow; each begins anew. The query of the URL
    /// may be a signature, and the body of a failure may repeat it: neither is shown.
    ///
    /// # Errors
    /// [`SourceError::Request`] with the last failure, [`SourceError::BulkCopy`], [`SourceError::Interrupted`].
    pub(super) async fn download(&self, url: &Url, into: &mut File) -> Result<(), SourceError> {
        let mut attempts = self.policy().start();
        loop {
            let limiter = self.access.network.rate_limiter(url);
            self.unless_stopped(limiter.wait_turn()).await?;
            let mut trace = Trace::default();
            let failed = match self.unless_stopped(self.download_once(url, into, &mut trace)).await? {
                Ok(()) => return Ok(()),
                Err(DownloadFailure::Copy(source)) => return Err(SourceError::BulkCopy { folder: std::env::temp_dir(), source }),
                Err(DownloadFailure::Request(failed)) => failed,
            };
            trace.hop = trace.hop.map(|hop| without_query(&hop));
            let next = if failed.cause.is_transient() { attempts.after_failure(failed.retry_after) } else { NextAttempt::NoneLeft };
            let NextAttempt::After(wait) = next else {
                return Err(self.failed(&without_query(url), 0, &attempts, failed.cause, &trace, next));
            };
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(attempt = attempts.count() - 1, wait_ms, cause = %failed.cause, "the download failed and begins anew");
            self.access.counters.retry();
            self.unless_stopped(tokio::time::sleep(wait)).await?;
        }
    }

    async fn download_once(&self, url: &Url, into: &mut File, trace: &mut Trace) -> Result<(), DownloadFailure> {
        let mut response = self.follow(url, trace).await.map_err(|cause| DownloadFailure::Request(cause.into()))?;
        let status = response.status();
        if !status.is_success() {
            let cause = RequestFailure::Status { status: status.as_u16(), excerpt: String::new() };
            let retry_after = rate_limit::retry_after(response.headers());
            return Err(DownloadFailure::Request(FailedAttempt { cause, retry_after }));
        }
        into.set_len(0).and_then(|()| into.rewind()).map_err(DownloadFailure::Copy)?;
        let answered = response.url().clone();
        let broken = |error| DownloadFailure::Request(RequestFailure::Connection(self.client.failure(error, &answered).text()).into());
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            self.access.counters.bytes(chunk.len());
            into.write_all(&chunk).map_err(DownloadFailure::Copy)?;
        }
        into.rewind().map_err(DownloadFailure::Copy)
    }

    fn policy(&self) -> RetryPolicy {
        let settings = self.access.http;
        RetryPolicy {
            attempts: settings.max_attempts,
            first: settings.backoff_first,
            cap: settings.backoff_cap,
            retry_after_cap: settings.retry_after_cap,
            budget: settings.retry_timeout,
        }
    }

    fn failed(
        &self,
        url: &Url,
        page: u64,
        attempts: &crate::net::retry::Attempts,
        cause: RequestFailure,
        trace: &Trace,
        next: NextAttempt,
    ) -> SourceError {
        SourceError::Request(Box::new(FailedRequest {
            request: self.sent(url),
            route: self.route(url, trace),
            page,
            attempts: attempts.count(),
            elapsed: attempts.elapsed(),
            cause,
            credentials: self.credentials.variables_of(&self.profile.auth),
            stopped_by: (next == NextAttempt::NoTimeLeft).then_some(" (http.retry_timeout allows no further attempt)"),
        }))
    }

    /// The redirect and the proxy of a request, as the error shows them.
    fn route(&self, url: &Url, trace: &Trace) -> String {
        let mut route = String::new();
        if trace.hop.is_none() && !self.authorizer.trusts(url) {
            route.push_str(" (another origin than that of the source: credentials are not sent there)");
        }
        if let Some(hop) = &trace.hop {
            let elsewhere = match (self.authorizer.trusts(hop), self.authorizer.credential_use(url)) {
                (false, _) => ", another origin: credentials are not sent there",
                (true, CredentialUse::Never) => " by another origin: credentials are not sent there",
                (true, CredentialUse::OwnOrigin) => "",
            };
            route.push_str(&format!(" (redirected to {}{elsewhere})", redact::url(hop)));
        }
        if let Some(proxy) = &trace.proxy {
            route.push_str(&format!(" through the proxy {proxy}"));
        }
        route
    }

    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, SourceError> {
        tokio::select! {
            done = work => Ok(done),
            () = self.access.cancel.wait() => Err(SourceError::Interrupted),
        }
    }

    async fn attempt<T>(
        &self,
        url: &Url,
        judge: &impl Fn(Response) -> Result<T, RequestFailure>,
        trace: &mut Trace,
    ) -> Result<T, FailedAttempt> {
        let response = self.follow(url, trace).await?;
        let (status, headers, url) = (response.status(), response.headers().clone(), response.url().clone());
        let retry_after = rate_limit::retry_after(&headers);
        let limit = self.body_limit();
        let body = match self.body(response, limit).await {
            Ok(body) if status.is_success() => encoding::decoded(&headers, body, limit.bytes, limit.setting)?,
            Ok(body) => encoding::decoded(&headers, body, limit.bytes, limit.setting).unwrap_or_default(),
            // The status is the error to report, even if its body can't be read.
            Err(_) if !status.is_success() => Bytes::new(),
            Err(failure) => return Err(failure.into()),
        };
        let cost_wait = || rate_limit::wait_of_cost(&body);
        let response = Response { status, headers, url, body: body.clone() };
        judge(response).map_err(|cause| FailedAttempt { cause, retry_after: retry_after.or_else(cost_wait) })
    }

    /// Sends the request and follows redirects. Sends credentials only to the origin of the source, and none at all on the way of a
    /// request that begins elsewhere.
    async fn follow(&self, url: &Url, trace: &mut Trace) -> Result<reqwest::Response, RequestFailure> {
        let credential_use = self.authorizer.credential_use(url);
        let PreparedRequest { mut url, body } = template::prepare(self.profile, url);
        let most = self.access.http.max_redirects;
        for hop in 0..=most {
            let limiter = self.access.network.rate_limiter(&url);
            if hop > 0 {
                limiter.wait_turn().await;
                trace.hop = Some(url.clone());
            }
            trace.proxy = self.client.proxy_of(&url);
            let Authorization { url: authorized, headers, token } = self.authorizer.authorize(&url, credential_use).await?;
            trace.token = token;
            let headers = self.with_own_headers(&authorized, credential_use, headers)?;
            self.access.counters.request();
            let request = match &body {
                None => self.client.client().get(authorized.clone()),
                Some(body) => self.client.client().post(authorized.clone()).header(CONTENT_TYPE, "application/json").body(body.clone()),
            };
            let sent = request.headers(headers).send().await;
            let response = sent.map_err(|error| match self.client.failure(error, &authorized) {
                ConnectionError::ProxyCredentials(text) => RequestFailure::Proxy(text),
                ConnectionError::Failed(text) => RequestFailure::Connection(text),
            })?;
            limiter.observe(response.headers(), self.access.http.retry_after_cap);
            if let (407, Some(proxy)) = (response.status().as_u16(), &trace.proxy) {
                return Err(RequestFailure::Proxy(asks_for_credentials(proxy)));
            }
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            url = self.redirected(&url, response.headers())?;
        }
        Err(RequestFailure::Redirect(format!("more than {} (http.max_redirects)", counted(u64::from(most), "redirect"))))
    }

    /// The target of a redirect.
    fn redirected(&self, from: &Url, headers: &HeaderMap) -> Result<Url, RequestFailure> {
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok()).and_then(|target| from.join(target).ok());
        let url = location
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| RequestFailure::Redirect("a redirect without a valid Location".into()))?;
        if from.scheme() == "https" && url.scheme() == "http" && !self.access.http.allow_plain {
            let to = redact::url(&without_query(&url));
            return Err(RequestFailure::Redirect(format!(
                "a redirect from https to plain http is not followed, and no credentials are sent there: {to} (http.allow_plain follows it)"
            )));
        }
        Ok(url)
    }

    /// All headers of a request. A header of the profile replaces any other of the same name.
    fn with_own_headers(&self, url: &Url, credential_use: CredentialUse, mut headers: HeaderMap) -> Result<HeaderMap, RequestFailure> {
        insert(&mut headers, ACCEPT.as_str(), "application/json")?;
        let is_trusted = credential_use == CredentialUse::OwnOrigin && self.authorizer.trusts(url);
        for (name, value) in &self.profile.headers {
            if is_trusted || FOR_ALL_ORIGINS.contains(&name.to_ascii_lowercase().as_str()) {
                insert(&mut headers, name, value)?;
            }
        }
        Ok(headers)
    }

    fn body_limit(&self) -> BodyLimit {
        let own = self.access.http.max_body;
        match self.access.memory_limit {
            Some(bytes) if bytes < own => BodyLimit { bytes, setting: "memory_limit" },
            _ => BodyLimit { bytes: own, setting: "http.max_body" },
        }
    }

    async fn body(&self, mut response: reqwest::Response, limit: BodyLimit) -> Result<Bytes, RequestFailure> {
        let is_failure = !response.status().is_success();
        let most = if is_failure { MAX_FAILURE_BYTES } else { limit.bytes };
        let url = response.url().clone();
        let announced = response.content_length().unwrap_or(0).min(most).min(MAX_RESERVED);
        let mut body = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
        let broken = |error| RequestFailure::Connection(self.client.failure(error, &url).text());
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            self.access.counters.bytes(chunk.len());
            body.extend_from_slice(&chunk);
            if body.len() as u64 > most {
                if is_failure {
                    break;
                }
                return Err(RequestFailure::TooLarge { limit: limit.bytes, setting: limit.setting });
            }
        }
        self.largest_body.fetch_max(body.len() as u64, Ordering::Relaxed);
        Ok(body.into())
    }
}
