//! Pages over HTTP: one request after the other, each tried again where that may help, until the pagination ends.

use std::{
    collections::HashSet,
    sync::Once,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use reqwest::{
    Client, RequestBuilder, Response, Url,
    header::{ACCEPT, HeaderMap, LINK, LOCATION, RETRY_AFTER},
    redirect,
};

use super::{
    Access, PageSink,
    envelope::{self, Elements, Envelope, Next},
    error::{RequestFailure, SourceError},
    page::{Origin, Page},
    retry::{self, Waits},
};
use crate::settings::{HttpSettings, redacted};

/// A body and what its response said of the next page.
struct Fetched {
    elements: Elements,
    envelope: Envelope,
    link: Next,
}

/// How the next page is found.
enum Step {
    /// At this URL.
    Url(Url),
    /// At the page of this number.
    Number(u64),
    /// There is none.
    End,
}

/// One location over HTTP.
pub struct HttpSource<'a> {
    start: &'a Url,
    settings: &'a HttpSettings,
    access: Access<'a>,
    client: Client,
    runtime: tokio::runtime::Runtime,
}

static PROVIDER: Once = Once::new();

impl<'a> HttpSource<'a> {
    /// A client for one location, on a small runtime of its own.
    ///
    /// # Errors
    /// [`SourceError::Client`].
    pub fn new(start: &'a Url, access: Access<'a>) -> Result<HttpSource<'a>, SourceError> {
        let settings = access.http;
        let failed = |error: &dyn std::error::Error| SourceError::Client(chain(error));
        PROVIDER.call_once(|| {
            // An error says that a provider is installed already, which is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let client = Client::builder()
            .user_agent(concat!("orders-etl/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(settings.connect_timeout)
            .read_timeout(settings.read_timeout)
            // Followed by hand: credentials must not leave the configured origin, whatever header carries them.
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| failed(&error))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| failed(&error))?;
        Ok(HttpSource { start, settings, access, client, runtime })
    }

    /// Reads page after page into `sink`.
    ///
    /// # Errors
    /// A request that failed for good, a pagination that leads in a circle, a signal.
    pub fn read(&self, sink: &mut dyn PageSink) -> Result<(), SourceError> {
        let mut followed = HashSet::new();
        let mut previous: Option<Bytes> = None;
        let mut number = 1;
        let mut numbered = true;
        let mut url = self.numbered(1);
        for page in 1.. {
            if page > self.settings.max_pages {
                return Err(SourceError::TooManyPages { url: redacted(self.start), limit: self.settings.max_pages });
            }
            if !followed.insert(url.clone()) {
                return Err(SourceError::Circle { url: redacted(&url), page: page - 1 });
            }
            let fetched = self.runtime.block_on(self.fetch(&url, page))?;
            let step = self.step(&fetched, &url, numbered.then_some(number));
            let bytes = Bytes::from(fetched.elements.bytes);
            tracing::debug!(stage = "extract", page, url = %redacted(&url), records = fetched.elements.places.len(), bytes = bytes.len(), "page");
            if numbered && page > 1 && !bytes.is_empty() && previous.as_ref() == Some(&bytes) {
                tracing::warn!(stage = "extract", url = %redacted(self.start), page, "a numbered page equals the one before: this source does not paginate, and its list ends here");
                return Ok(());
            }
            self.access.counters.page();
            let origin = Origin::Response { url: redacted(&url), page };
            if !sink.page(Page::elements(origin, bytes.clone(), fetched.elements.places)) {
                return Ok(());
            }
            url = match step {
                Step::End => return Ok(()),
                Step::Number(next) => {
                    number = next;
                    self.numbered(next)
                }
                Step::Url(next) => {
                    numbered = false;
                    next
                }
            };
            previous = Some(bytes);
        }
        Ok(())
    }

    /// Where the next page is (contract, Orders: "Pagination by default"). A response that says "there is no next page" ends
    /// the list; only one that does not speak of it at all is taken for a numbered list.
    fn step(&self, fetched: &Fetched, url: &Url, number: Option<u64>) -> Step {
        let join = |next: &str| match url.join(next) {
            Ok(next) => Step::Url(next),
            Err(_) => Step::End,
        };
        for next in [&fetched.link, &fetched.envelope.next_url] {
            match next {
                Next::At(next) => return join(next),
                Next::End => return Step::End,
                Next::Absent => {}
            }
        }
        match &fetched.envelope.next_cursor {
            Next::At(cursor) => {
                return Step::Url(self.with_parameters(&[("cursor", cursor), ("per_page", &self.settings.per_page.to_string())]));
            }
            Next::End => return Step::End,
            Next::Absent => {}
        }
        match number {
            Some(number) if !fetched.elements.places.is_empty() => Step::Number(number + 1),
            _ => Step::End,
        }
    }

    fn numbered(&self, number: u64) -> Url {
        self.with_parameters(&[("page", &number.to_string()), ("per_page", &self.settings.per_page.to_string())])
    }

    /// The configured URL with some parameters set; those that it had under the same names give way, but for a `per_page`
    /// that its user chose.
    fn with_parameters(&self, parameters: &[(&str, &str)]) -> Url {
        let mut url = self.start.clone();
        let own = |name: &str| self.start.query_pairs().any(|(own, _)| own == name);
        let set: Vec<_> = parameters.iter().filter(|(name, _)| *name != "per_page" || !own("per_page")).collect();
        let kept: Vec<_> = self.start.query_pairs().filter(|(name, _)| set.iter().all(|(set, _)| set != name)).collect();
        url.query_pairs_mut().clear().extend_pairs(kept).extend_pairs(set);
        url
    }

    /// One page, tried as often as the settings allow.
    async fn fetch(&self, url: &Url, page: u64) -> Result<Fetched, SourceError> {
        let started = Instant::now();
        let mut waits = Waits::new(self.settings);
        for attempt in 1.. {
            let (cause, retry_after) = tokio::select! {
                result = self.attempt(url) => match result {
                    Ok(fetched) => return Ok(fetched),
                    Err(failure) => failure,
                },
                () = self.access.cancel.wait() => return Err(SourceError::Interrupted),
            };
            if attempt >= self.settings.max_attempts || !cause.is_transient() {
                return Err(SourceError::Request { url: redacted(url), page, attempts: attempt, elapsed: started.elapsed(), cause });
            }
            let wait = waits.next(retry_after);
            tracing::warn!(stage = "extract", url = %redacted(url), page, attempt, wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), cause = %cause, "the request failed and is tried again");
            self.access.counters.retry();
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.access.cancel.wait() => return Err(SourceError::Interrupted),
            }
        }
        Err(SourceError::Interrupted)
    }

    async fn attempt(&self, url: &Url) -> Result<Fetched, (RequestFailure, Option<std::time::Duration>)> {
        let response = self.follow(url).await.map_err(|failure| (failure, None))?;
        if !response.status().is_success() {
            let asked = text(response.headers(), &RETRY_AFTER).and_then(|value| retry::retry_after(value, SystemTime::now()));
            return Err((RequestFailure::Status { status: response.status().as_u16() }, asked));
        }
        let link = link_next(response.headers());
        let body = self.body(response).await.map_err(|failure| (failure, None))?;
        let (elements, envelope) = cut(&body).map_err(|failure| (failure, None))?;
        Ok(Fetched { elements, envelope, link })
    }

    /// Sends the request, over its redirects. The credentials go with it only as far as the configured origin.
    async fn follow(&self, url: &Url) -> Result<Response, RequestFailure> {
        let mut url = url.clone();
        for _ in 0..=self.settings.max_redirects {
            self.access.counters.request();
            let request = self.authorize(self.client.get(url.clone()).header(ACCEPT, "application/json"), &url);
            let response = request.send().await.map_err(|error| RequestFailure::Connection(connection(error)))?;
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

    fn authorize(&self, request: RequestBuilder, url: &Url) -> RequestBuilder {
        let credentials = &self.settings.credentials;
        let trusted = self.settings.credentials_origin.as_ref().unwrap_or(self.start);
        if url.origin() != trusted.origin() {
            return request;
        }
        let mut request = request;
        if let Some(token) = &credentials.bearer {
            request = request.bearer_auth(token.expose());
        }
        if let Some((header, key)) = &credentials.api_key {
            request = request.header(header.as_str(), key.expose());
        }
        if let Some((user, password)) = &credentials.basic {
            request = request.basic_auth(user.expose(), Some(password.expose()));
        }
        request
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, RequestFailure> {
        let mut body = Vec::new();
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

/// A body's records, and what it says of the next page.
fn cut(body: &[u8]) -> Result<(Elements, Envelope), RequestFailure> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut elements = Elements::default();
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = envelope::read_envelope(&mut json, |record| {
        elements.push(record);
        Ok(())
    });
    let envelope = match read.and_then(|envelope| json.end().map(|()| envelope)) {
        Ok(envelope) => envelope,
        Err(error) if error.is_data() => return Err(RequestFailure::NoRecords),
        Err(error) => return Err(RequestFailure::NotJson(error.to_string())),
    };
    if envelope.has_records { Ok((elements, envelope)) } else { Err(RequestFailure::NoRecords) }
}

fn text<'h>(headers: &'h HeaderMap, name: &reqwest::header::HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The target of `rel="next"` among the `Link` headers (RFC 8288); the end, where there are links and none is the next.
fn link_next(headers: &HeaderMap) -> Next {
    let mut next = Next::Absent;
    for value in headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()) {
        for (target, parameters) in links(value) {
            if is_next(parameters) {
                return Next::At(target.to_owned());
            }
            // Only links of a list speak of its end: `rel="canonical"` and its like do not.
            if ["prev", "previous", "first", "last"].iter().any(|relation| has_relation(parameters, relation)) {
                next = Next::End;
            }
        }
    }
    next
}

fn is_next(parameters: &str) -> bool {
    has_relation(parameters, "next")
}

fn has_relation(parameters: &str, relation: &str) -> bool {
    parameters.split(';').filter_map(|parameter| parameter.split_once('=')).any(|(name, value)| {
        name.trim().eq_ignore_ascii_case("rel")
            && value.trim().trim_matches('"').split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case(relation))
    })
}

/// Each `<target>; parameters` of a `Link` value.
fn links(value: &str) -> impl Iterator<Item = (&str, &str)> {
    value
        .split('<')
        .skip(1)
        .filter_map(|link| link.split_once('>'))
        .map(|(target, parameters)| (target, parameters.trim_end().trim_end_matches(',')))
}

/// What broke a connection, without the URL, which the error that carries this shows redacted.
fn connection(error: reqwest::Error) -> String {
    let timed_out = error.is_timeout();
    let error = error.without_url();
    if timed_out { format!("timed out ({})", chain(&error)) } else { chain(&error) }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let detail = error.to_string();
        if !text.contains(&detail) {
            text = format!("{text}: {detail}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_link_is_found_among_others() {
        let next = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(LINK, value.parse().unwrap());
            }
            link_next(&headers)
        };
        assert_eq!(next(&[r#"<https://x/?page=1>; rel="prev", <https://x/?page=3>; rel="next""#]), Next::At("https://x/?page=3".into()));
        assert_eq!(next(&["</a,b>; title=\"x\"; rel=next"]), Next::At("/a,b".into()));
        assert_eq!(next(&[r#"<a>; rel="first""#, r#"<b>; rel="last next""#]), Next::At("b".into()));
        assert_eq!(next(&[r#"<a>; rel="first""#]), Next::End);
        assert_eq!(next(&[r#"<a>; rel="canonical""#]), Next::Absent);
        assert_eq!(next(&[]), Next::Absent);
    }
}
