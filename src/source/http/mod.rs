//! Pages over HTTP: requests, each tried again where that may help, paced and authorized, until the pagination ends.

mod auth;
mod link;
mod pace;
mod pagination;

use std::{
    cell::RefCell,
    collections::HashSet,
    future::Future,
    ops::Range,
    pin::Pin,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use reqwest::{
    Client, Response, Url,
    header::{ACCEPT, HeaderMap, LOCATION, RETRY_AFTER},
    redirect,
};
use serde_json::value::RawValue;
use tracing::Instrument;

use self::{
    auth::Authorizer,
    pace::Pace,
    pagination::{Pager, Step},
};
use super::{
    Access, PageSink, ProbedPage, Query,
    envelope::{self, Signals},
    error::{RequestFailure, SourceError},
    page::{Origin, Page},
};
use crate::{
    error_chain::chain,
    retry::{self, Waits},
    settings::{HttpProfile, HttpSettings, Pagination, Total, redacted},
    tls,
};

/// So much is made room for before a byte has come, whatever a server announces.
const MOST_RESERVED: u64 = 8 << 20;

/// A body, where its records are in it, and what its response said of the pages.
#[derive(Default)]
struct Fetched {
    body: Bytes,
    places: Vec<Range<usize>>,
    signals: Signals,
}

impl Fetched {
    fn records(&self) -> impl Iterator<Item = &[u8]> {
        self.places.iter().map(|place| self.body.get(place.clone()).unwrap_or_default())
    }

    /// Whether the records are the same, whatever stands around them.
    fn repeats(&self, other: &Fetched) -> bool {
        !self.places.is_empty() && self.places.len() == other.places.len() && self.records().eq(other.records())
    }
}

/// One location over HTTP.
pub(super) struct HttpSource<'a> {
    start: Url,
    query: &'a Query<'a>,
    profile: &'a HttpProfile,
    settings: &'a HttpSettings,
    access: Access<'a>,
    client: Client,
    authorizer: Authorizer<'a>,
    pace: Pace,
    runtime: tokio::runtime::Runtime,
}

impl<'a> HttpSource<'a> {
    /// A client for one location, on a small runtime of its own.
    ///
    /// # Errors
    /// [`SourceError::Client`].
    pub(super) fn new(start: &'a Url, query: &'a Query<'a>, access: Access<'a>) -> Result<HttpSource<'a>, SourceError> {
        let settings = access.http;
        let profile = &query.profile.http;
        let failed = |error: &dyn std::error::Error| SourceError::Client(chain(error));
        tls::install_provider();
        let client = Client::builder()
            .user_agent(concat!("orders-etl/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(settings.connect_timeout)
            .read_timeout(settings.read_timeout)
            // Followed by hand: credentials must not leave the configured origin, whatever header carries them.
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| failed(&error))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| failed(&error))?;
        let trusted = settings.credentials_origin.as_ref().unwrap_or(start);
        Ok(HttpSource {
            start: query.narrowed(start),
            query,
            profile,
            settings,
            access,
            client,
            authorizer: Authorizer::new(&profile.auth, &settings.credentials, trusted)?,
            pace: Pace::new(profile.requests_per_second),
            runtime,
        })
    }

    /// Reads page after page into `sink`.
    ///
    /// # Errors
    /// A request that failed for good, a pagination that leads in a circle, a signal.
    pub(super) fn read(&self, sink: &mut dyn PageSink) -> Result<(), SourceError> {
        self.runtime.block_on(self.read_pages(sink))
    }

    async fn read_pages(&self, sink: &mut dyn PageSink) -> Result<(), SourceError> {
        let mut pager = Pager::new(&self.start, &self.profile.pagination, self.settings.per_page, self.profile.page_size);
        let mut followed = HashSet::new();
        let mut previous: Option<Fetched> = None;
        let mut url = pager.first();
        for page in 1.. {
            self.within_limit(page)?;
            if !followed.insert(url.clone()) {
                return Err(SourceError::Circle { url: redacted(&url), page: page - 1 });
            }
            let fetched = self.fetch(&url, page).await?;
            let step = pager.after(&fetched.signals, fetched.places.len(), &url);
            if pager.is_numbered() && previous.as_ref().is_some_and(|previous| fetched.repeats(previous)) {
                tracing::warn!(url = %redacted(&self.start), page, "a numbered page equals the one before: this source does not paginate, and its list ends here");
                return Ok(());
            }
            if !self.hand_on(fetched.body.clone(), fetched.places.clone(), &url, page, sink) {
                return Ok(());
            }
            url = match step {
                Step::End => return Ok(()),
                Step::Next(next) => next,
                Step::Known(urls) => return self.read_known(urls, page, sink).await,
                Step::Lost(detail) => return Err(SourceError::Pagination { url: redacted(&url), page, detail }),
            };
            previous = Some(fetched);
        }
        Ok(())
    }

    /// The first page, whether there are records in it or not.
    ///
    /// # Errors
    /// A request that failed for good, a signal.
    pub(super) fn probe(&self) -> Result<ProbedPage, SourceError> {
        let url = Pager::new(&self.start, &self.profile.pagination, self.settings.per_page, self.profile.page_size).first();
        let kept = RefCell::new(Vec::new());
        let fetched = self.runtime.block_on(self.fetch_keeping(&url, 1, Some(&kept)));
        let body = Some(kept.into_inner());
        match fetched {
            Ok(fetched) => {
                let records = fetched.records().map(<[u8]>::to_vec).collect();
                let link_next = if let envelope::Next::At(next) = fetched.signals.link { Some(next) } else { None };
                Ok(ProbedPage { body, records: Some(records), link_next, is_http: true })
            }
            Err(SourceError::Request { cause: RequestFailure::NoRecords(_), .. }) => {
                Ok(ProbedPage { body, records: None, link_next: None, is_http: true })
            }
            Err(error) => Err(error),
        }
    }

    /// Pages of which it is known that they are there: several are asked for at once, and handed on in their order.
    async fn read_known(&self, urls: Vec<Url>, read: u64, sink: &mut dyn PageSink) -> Result<(), SourceError> {
        type Request<'f> = Pin<Box<dyn Future<Output = (Url, u64, Result<Fetched, SourceError>)> + 'f>>;
        let mut waiting = (read + 1..).zip(urls);
        let mut running: futures_util::stream::FuturesOrdered<Request<'_>> = futures_util::stream::FuturesOrdered::new();
        loop {
            while running.len() < self.profile.concurrency {
                let Some((page, url)) = waiting.next() else { break };
                self.within_limit(page)?;
                running.push_back(Box::pin(async move {
                    let fetched = self.fetch(&url, page).await;
                    (url, page, fetched)
                }));
            }
            let Some((url, page, fetched)) = futures_util::StreamExt::next(&mut running).await else { return Ok(()) };
            let Fetched { body, places, .. } = fetched?;
            if !self.hand_on(body, places, &url, page, sink) {
                return Ok(());
            }
        }
    }

    fn within_limit(&self, page: u64) -> Result<(), SourceError> {
        let limit = self.settings.max_pages;
        if page > limit { Err(SourceError::TooManyPages { url: redacted(&self.start), limit }) } else { Ok(()) }
    }

    fn hand_on(&self, bytes: Bytes, places: Vec<Range<usize>>, url: &Url, page: u64, sink: &mut dyn PageSink) -> bool {
        tracing::debug!(page, url = %redacted(url), records = places.len(), bytes = bytes.len(), "page");
        self.access.counters.page();
        sink.page(Page::elements(Origin::Response { url: redacted(url), page }, bytes, places))
    }

    /// One page, tried as often as the settings allow.
    async fn fetch(&self, url: &Url, page: u64) -> Result<Fetched, SourceError> {
        self.fetch_keeping(url, page, None).await
    }

    /// The same; a copy of the last body goes to `keep`.
    async fn fetch_keeping(&self, url: &Url, page: u64, keep: Option<&RefCell<Vec<u8>>>) -> Result<Fetched, SourceError> {
        let span = tracing::info_span!("page", page, url = %redacted(url));
        self.fetch_in_span(url, page, keep).instrument(span).await
    }

    async fn fetch_in_span(&self, url: &Url, page: u64, keep: Option<&RefCell<Vec<u8>>>) -> Result<Fetched, SourceError> {
        let started = Instant::now();
        let mut waits = Waits::new(self.settings.backoff_first, self.settings.backoff_cap, self.settings.retry_after_cap);
        let mut renewed = false;
        let mut attempt = 0;
        loop {
            attempt += 1;
            tokio::select! {
                () = self.pace.turn() => {}
                () = self.access.cancel.wait() => return Err(SourceError::Interrupted),
            }
            let (cause, retry_after) = tokio::select! {
                result = self.attempt(url, keep) => match result {
                    Ok(fetched) => return Ok(fetched),
                    Err(failure) => failure,
                },
                () = self.access.cancel.wait() => return Err(SourceError::Interrupted),
            };
            // A token may be taken back before it expires: once, another one is asked for.
            if matches!(cause, RequestFailure::Status { status: 401 }) && !renewed && self.authorizer.forget_token().await {
                renewed = true;
                attempt -= 1;
                continue;
            }
            if attempt >= self.settings.max_attempts || !cause.is_transient() {
                return Err(SourceError::Request { url: redacted(url), page, attempts: attempt, elapsed: started.elapsed(), cause });
            }
            let wait = waits.next(retry_after);
            tracing::warn!(attempt, wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), cause = %cause, "the request failed and is tried again");
            self.access.counters.retry();
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.access.cancel.wait() => return Err(SourceError::Interrupted),
            }
        }
    }

    async fn attempt(&self, url: &Url, keep: Option<&RefCell<Vec<u8>>>) -> Result<Fetched, (RequestFailure, Option<Duration>)> {
        let response = self.follow(url).await.map_err(|failure| (failure, None))?;
        if !response.status().is_success() {
            let asked = text(response.headers(), &RETRY_AFTER).and_then(|value| retry::retry_after(value, SystemTime::now()));
            return Err((RequestFailure::Status { status: response.status().as_u16() }, asked));
        }
        let headers = response.headers().clone();
        let empty = response.status() == reqwest::StatusCode::NO_CONTENT;
        let body = self.body(response).await.map_err(|failure| (failure, None))?;
        if let Some(keep) = keep {
            keep.borrow_mut().clone_from(&body);
        }
        if empty {
            let mut signals = Signals::default();
            take_headers(&mut signals, &headers, &self.profile.pagination);
            return Ok(Fetched { signals, ..Fetched::default() });
        }
        let (places, mut signals) = cut(&body, self.query).map_err(|failure| (failure, None))?;
        take_headers(&mut signals, &headers, &self.profile.pagination);
        Ok(Fetched { body: body.into(), places, signals })
    }

    /// Sends the request, over its redirects. The credentials go with it only as far as the configured origin.
    async fn follow(&self, url: &Url) -> Result<Response, RequestFailure> {
        let mut url = url.clone();
        for _ in 0..=self.settings.max_redirects {
            self.access.counters.request();
            let mut request = self.client.get(url.clone()).header(ACCEPT, "application/json");
            for (name, value) in &self.profile.headers {
                request = request.header(name, value);
            }
            let request = self.authorizer.authorize(request, &url, &self.client).await?;
            let response = request.send().await.map_err(|error| RequestFailure::Connection(connection(error)))?;
            self.pace.note(response.headers(), self.settings.retry_after_cap);
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let target = text(response.headers(), &LOCATION).and_then(|target| url.join(target).ok());
            url = target
                .filter(|url| matches!(url.scheme(), "http" | "https"))
                .ok_or_else(|| RequestFailure::Redirect("a redirect without a usable Location".into()))?;
        }
        Err(RequestFailure::Redirect(format!("more than {} redirects (http.max_redirects)", self.settings.max_redirects)))
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, RequestFailure> {
        let announced = response.content_length().unwrap_or(0).min(self.settings.max_body).min(MOST_RESERVED);
        let mut body = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
        while let Some(chunk) = response.chunk().await.map_err(|error| RequestFailure::Connection(connection(error)))? {
            self.access.counters.bytes(chunk.len());
            body.extend_from_slice(&chunk);
            if body.len() as u64 > self.settings.max_body {
                return Err(RequestFailure::TooLarge { limit: self.settings.max_body });
            }
        }
        Ok(body)
    }
}

/// Where a body's records are, and what it says of the other pages.
fn cut(body: &[u8], query: &Query<'_>) -> Result<(Vec<Range<usize>>, Signals), RequestFailure> {
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut places = Vec::new();
    let read = envelope::read_body(&mut serde_json::Deserializer::from_slice(text), query.profile.records.as_ref(), |record: &RawValue| {
        places.push(place_in(body, record.get().as_bytes()).ok_or("a record that does not lie in its body")?);
        Ok(())
    });
    let looked_for = || RequestFailure::NoRecords(envelope::looked_for(query.profile.records.as_ref()));
    let mut signals = match read {
        Ok(signals) => signals,
        Err(error) if error.is_data() => return Err(looked_for()),
        Err(error) => return Err(RequestFailure::NotJson(error.to_string())),
    };
    if !signals.has_records {
        return Err(looked_for());
    }
    let last = places.last().and_then(|place| body.get(place.clone()));
    signals.take_body(text, &query.profile.http.pagination, last);
    Ok((places, signals))
}

/// Where a slice of `body` begins and ends in it: the parser borrows, and nothing is copied.
fn place_in(body: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(body.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= body.len()).then_some(start..end)
}

/// What the headers say of the other pages.
fn take_headers(signals: &mut Signals, headers: &HeaderMap, pagination: &Pagination) {
    signals.link = link::next(headers);
    if let Pagination::Page { total: Total { pages_header: Some(name), .. }, .. } = pagination {
        signals.total_pages = headers.get(name).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &reqwest::header::HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// What broke a connection, without the URL, which the error that carries this shows redacted.
pub(super) fn connection(error: reqwest::Error) -> String {
    let timed_out = error.is_timeout();
    let error = error.without_url();
    if timed_out { format!("timed out ({})", chain(&error)) } else { chain(&error) }
}
