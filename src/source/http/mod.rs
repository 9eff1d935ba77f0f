//! Lists over HTTP.
//!
//! ```text
//! Pager ──URL──▶ Requester ──Response──▶ judge ──Fetched──▶ ListReader ──Page──▶ sink
//!   ▲             attempts, rate limit,  failure or page     equal pages, counts,
//!   └───────────  authorization          with its signals    second reading ────────┐
//!   └──────────────────────────────  the next page          ◀──────────────────────┘
//! ```
//! Responsible for requests, for judging responses, and for reading a list to its end and certifying it. Does not interpret
//! records.

mod asked;
mod auth;
mod bulk;
mod collected;
mod encoding;
mod judge;
mod link;
mod list;
mod more;
mod pagination;
mod position;
mod request;
mod slices;
mod template;

pub(super) use bulk::{BulkSource, unasked};

use std::{cell::RefCell, time::UNIX_EPOCH};

use reqwest::{
    Url,
    header::{DATE, HeaderMap},
};

use self::{
    asked::{Asked, AskedReader},
    judge::Fetched,
    list::ListReader,
    pagination::{PageFacts, Pager},
    request::Requester,
    slices::SliceReader,
};
use super::{
    Access, Completeness, CompletenessStatus, PageKind, PageSink, ProbedPage, Query, SourceError, body::LinkHeader, error::RequestFailure,
};
use crate::{
    model::{UtcMicros, counted},
    net::Network,
    settings::Pagination,
};

/// The orders of a probed page whose lines are asked for.
const ORDERS_WITH_LINES: usize = 5;

/// A source that is read over HTTP.
pub(super) struct HttpSource<'a> {
    requester: Requester<'a>,
    /// The location, without the parameters of the window.
    location: &'a Url,
    start: Url,
    query: &'a Query<'a>,
    network: &'a Network,
}

impl<'a> HttpSource<'a> {
    /// The source at a location, read over the network of the run.
    ///
    /// # Errors
    /// [`SourceError::Network`], [`SourceError::Credentials`].
    pub(super) fn new(start: &'a Url, query: &'a Query<'a>, access: Access<'a>) -> Result<HttpSource<'a>, SourceError> {
        Ok(HttpSource {
            requester: Requester::new(start, &query.profile.http, query.credentials, access)?,
            location: start,
            start: query.narrowed(start),
            query,
            network: access.network,
        })
    }

    /// Reads the list into `sink`, page by page, and returns whether it is complete.
    ///
    /// # Errors
    /// A request that failed after all retries, a list that can't be followed to its end, a signal.
    pub(super) fn read(&self, sink: &mut dyn PageSink) -> Result<Completeness, SourceError> {
        let completeness = match self.query.profile.http.pagination {
            Pagination::Offset { largest: Some(largest), .. } => {
                let reader = SliceReader { requester: &self.requester, location: self.location, query: self.query, largest };
                self.network.run(reader.read(sink))??
            }
            _ => {
                let reader = ListReader { requester: &self.requester, start: &self.start, query: self.query };
                self.network.run(reader.read(sink))??
            }
        };
        let orders = self.requester.access().counters.open_line_lists();
        if orders == 0 || completeness.is_failed() {
            return Ok(completeness);
        }
        let of = counted(orders, "order");
        let what = self.what_is_asked();
        let why = format!("no page of the {what} of {of} says whether a next page follows: is the path of the next page right?");
        tracing::warn!(orders, "{why}");
        Ok(Completeness { status: CompletenessStatus::Unproven, by: None, why: Some(why), ..completeness })
    }

    /// The first page, with or without records.
    ///
    /// # Errors
    /// A request that failed after all retries, a signal.
    pub(super) fn probe(&self) -> Result<ProbedPage, SourceError> {
        let profile = &self.query.profile.http;
        let mut pager = Pager::new(&self.start, &profile.pagination, self.requester.settings().per_page, profile.page_size);
        let url = pager.first();
        let kept = RefCell::new(Kept::default());
        let fetched = self.network.run(self.requester.fetch(&url, 1, |response| {
            *kept.borrow_mut() = Kept {
                body: response.body.to_vec(),
                link: link::read(&response.headers, &response.url).next,
                served_at: served_at(&response.headers),
            };
            judge::judge(response, self.query, 0)
        }))?;
        let Kept { body, link, served_at } = kept.into_inner();
        let body = Some(body);
        match fetched {
            Ok(fetched) => {
                let fetched = self.with_lines(fetched)?;
                let signals = &fetched.signals;
                let records = fetched.places.len() as u64;
                pager.after(&PageFacts { signals, records, distinct: records, first_came_before: false, url: &fetched.url });
                Ok(ProbedPage {
                    body,
                    records: Some(fetched.records().map(<[u8]>::to_vec).collect()),
                    link_next: if let LinkHeader::Next(next) = link { Some(next) } else { None },
                    names_next: signals.next.is_some(),
                    is_by_position: pager.is_by_position(),
                    total: signals.total_records,
                    kind: PageKind::Response,
                    served_at,
                })
            }
            Err(SourceError::Request(failed)) if matches!(failed.cause, RequestFailure::NoRecords { .. }) => {
                Ok(ProbedPage { body, kind: PageKind::Response, served_at, ..ProbedPage::default() })
            }
            Err(error) => Err(error),
        }
    }

    /// What comes by a request for each order.
    fn what_is_asked(&self) -> &'static str {
        match (&self.query.profile.line_request, &self.query.profile.refund_request) {
            (Some(_), Some(_)) => "lines or refunds",
            (None, Some(_)) => "refunds",
            (_, None) => "lines",
        }
    }

    /// The first records of a page, with the lines that a run asks for; all of them, if it asks for none.
    fn with_lines(&self, mut fetched: Fetched) -> Result<Fetched, SourceError> {
        let Some(request) = &self.query.profile.line_request else { return Ok(fetched) };
        fetched.places.truncate(ORDERS_WITH_LINES);
        let reader = AskedReader::new(request, self.query, &self.requester)?;
        self.network.run(reader.complete(fetched, Asked::Lines))?
    }
}

/// What a probe keeps of a response that is judged.
struct Kept {
    body: Vec<u8>,
    link: LinkHeader,
    served_at: Option<UtcMicros>,
}

impl Default for Kept {
    fn default() -> Kept {
        Kept { body: Vec::new(), link: LinkHeader::Absent, served_at: None }
    }
}

/// The time of the server when it answered.
fn served_at(headers: &HeaderMap) -> Option<UtcMicros> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    let since_epoch = date.duration_since(UNIX_EPOCH).ok()?;
    UtcMicros::new(i64::try_from(since_epoch.as_micros()).ok()?)
}
