//! Reads a list to its end, page by page. Requests several pages at once if the source counts them. Reads the list a second
//! time if fewer records were received than the source claims to have.
//!
//! ```text
//! page n     request ─▶ response ─▶ cut, judged ─▶ compared, counted ─▶ handed on
//! page n+1                                    └─▶ request ─▶ response ─▶ cut, judged ─▶ ...
//! ```
//! A page is requested as soon as it is certain that it follows, and while the one before it is compared, counted and handed on.
//! Where only these can tell whether it follows, it waits for them: no request is made that would not be made page by page.
//!
//! Responsible for equal pages, circular lists, and the counts that certify a list. `pagination` chooses the next page.

use std::{
    cell::Cell,
    collections::{HashSet, VecDeque},
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
};

use futures_util::{StreamExt, stream::FuturesOrdered};
use reqwest::Url;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    asked::{Asked, AskedReader},
    judge::{self, Fetched, HandedOn, Response, judge_status},
    more::MoreReader,
    pagination::{PageFacts, PageZero, Pager, Step},
    request::Requester,
};
use crate::{
    net::redact,
    settings::{CountRequest, ListRequest},
    source::{
        Completeness, CompletenessStatus, ListMove, PageSink, Proof, Query, RecordShape, RequestFailure, SourceError,
        body::Node,
        completeness::{Claims, Evidence, ListEnd, ListRead},
        page::{Origin, Page},
    },
};

/// The maximum number of pages in a row without a new record.
const MAX_WITHOUT_NEW: u64 = 200;

/// The maximum number of pages requested ahead, whatever the profile says.
const MAX_AHEAD: usize = 256;

/// Bodies requested ahead may use 1/8 of the memory limit.
const BODIES_SHARE: u64 = 8;

/// The turns of the runtime in which a request is sent: two until it begins, one for itself, one for its connection, and one more if
/// a token is looked up.
const TURNS_TO_SEND: usize = 5;

/// Reads one list.
pub(super) struct ListReader<'a> {
    pub(super) requester: &'a Requester<'a>,
    pub(super) start: &'a Url,
    pub(super) query: &'a Query<'a>,
}

/// The received records of a list, by identity.
#[derive(Default)]
struct SeenRecords {
    /// The distinct records of the current reading.
    ids: HashSet<u64>,
    /// The number of records of all readings, duplicates included.
    read: u64,
    /// Why a page proves nothing, if one does not.
    passed_over: Option<String>,
}

impl SeenRecords {
    fn distinct(&self) -> u64 {
        self.ids.len() as u64
    }

    /// The number of distinct records if these are added.
    fn distinct_with(&self, ids: &[u64]) -> u64 {
        let new: HashSet<u64> = ids.iter().copied().filter(|id| !self.ids.contains(id)).collect();
        self.distinct() + new.len() as u64
    }

    /// The facts of a page whose records are not added yet.
    fn facts<'f>(&self, fetched: &'f Fetched, ids: &[u64]) -> PageFacts<'f> {
        PageFacts {
            signals: &fetched.signals,
            records: ids.len() as u64,
            distinct: self.distinct_with(ids),
            first_came_before: ids.first().is_some_and(|first| self.ids.contains(first)),
            url: &fetched.url,
        }
    }

    fn add(&mut self, ids: &[u64], fetched: &Fetched) {
        self.read += ids.len() as u64;
        self.ids.extend(ids);
        self.passed_over = self.passed_over.take().or_else(|| fetched.passed_over.clone());
    }

    /// The verdict over a list: what a page passed over may be missing, whatever the source counts.
    fn certify(&self, list: &ListRead) -> Completeness {
        let certificate = list.certify();
        match &self.passed_over {
            Some(why) if !certificate.is_failed() => {
                Completeness { status: CompletenessStatus::Unproven, by: None, why: Some(why.clone()), ..certificate }
            }
            _ => certificate,
        }
    }
}

/// What is kept of the accepted pages, to compare the next page with them.
#[derive(Default)]
struct PreviousPages {
    count: u64,
    /// The sorted ids of the last page. Sorted, because a server may return the same page in another order.
    last: Vec<u64>,
    /// A hash of the bytes of its last record.
    last_record: Option<u64>,
    /// Whether a page equal to the one before it was accepted, and no new record came since.
    has_equal: bool,
    /// Whether the current page was requested again.
    asked_again: bool,
    /// Whether the reader went back to the current page.
    went_back: bool,
    /// Pages in a row without a new record.
    without_new: u64,
}

/// How a page compares with the one before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Comparison {
    /// It has other records.
    Differs,
    /// It has the same records. This can happen if pages overlap and new records were added at the front of the list.
    Shifted,
    /// It has the same records, and must be requested again.
    AskAgain,
    /// It has the same records as page 1: the source does not paginate.
    NotPaginated,
    /// It has the same records, also on the second request.
    Repeated,
}

impl PreviousPages {
    /// Compares a page, by the sorted ids of its records (contract, Completeness: equal pages).
    fn compare(&self, sorted: &[u64], pager: &Pager<'_>, page: &PageFacts<'_>) -> Comparison {
        if self.went_back || sorted.is_empty() || self.last != sorted {
            Comparison::Differs
        } else if !self.asked_again {
            Comparison::AskAgain
        } else if pager.overlaps() && !self.has_equal {
            Comparison::Shifted
        } else if self.count == 1 && pager.may_be_unpaginated() && !page.announces_more() {
            Comparison::NotPaginated
        } else {
            Comparison::Repeated
        }
    }

    /// Whether a page has other records than the one before for certain, by the identity of its last record alone.
    fn surely_differs(&self, last: Option<u64>) -> bool {
        self.went_back || last.is_none_or(|last| self.last.binary_search(&last).is_err())
    }

    /// The number of records shared with the page before: 1 if the pages overlap, else 0.
    fn shared(&self, fetched: &Fetched, pager: &Pager<'_>) -> usize {
        let first = fetched.records().next().map(xxh3_64);
        usize::from(pager.overlaps() && first.is_some() && first == self.last_record)
    }

    fn accept(&mut self, fetched: &Fetched, sorted: Vec<u64>, comparison: Comparison, has_new: bool) {
        self.count += 1;
        self.without_new = if has_new { 0 } else { self.without_new + 1 };
        self.has_equal = comparison == Comparison::Shifted || self.has_equal && !has_new;
        self.last_record = fetched.records().last().map(xxh3_64);
        self.last = sorted;
    }
}

/// How one reading of a list ended.
struct Reading {
    end: ListEnd,
    claims: Claims,
    is_by_position: bool,
}

/// Whether the page before page 1 was requested.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AskedZero {
    /// Not yet.
    No,
    /// It was, and is page 1, or does not exist.
    Absent,
    /// It was, and pages are numbered from 0.
    Found,
}

/// A request in flight.
type Running<'f> = Pin<Box<dyn Future<Output = Result<Fetched, SourceError>> + 'f>>;

/// Requests for the pages that will probably follow, in order.
struct Ahead<'f> {
    urls: VecDeque<Url>,
    running: FuturesOrdered<Running<'f>>,
    /// Responses that arrived while the sink had no room.
    arrived: VecDeque<Result<Fetched, SourceError>>,
    /// The number of records before the page that follows for certain: the largest possible one, until they are counted.
    read_before: Rc<Cell<u64>>,
}

impl Ahead<'_> {
    fn new() -> Self {
        Ahead { urls: VecDeque::new(), running: FuturesOrdered::new(), arrived: VecDeque::new(), read_before: Rc::default() }
    }

    fn clear(&mut self) {
        *self = Ahead::new();
    }
}

/// A page that has arrived, and what is known of the list before it.
struct ArrivedPage<'p> {
    number: u64,
    fetched: &'p Fetched,
    pager: &'p Pager<'p>,
    previous: &'p PreviousPages,
    seen: &'p SeenRecords,
    /// The hashes of the URLs that were followed.
    followed: &'p HashSet<u64>,
}

impl ArrivedPage<'_> {
    /// The number of distinct records if all of this page are new.
    fn most_distinct(&self) -> u64 {
        self.seen.distinct() + self.fetched.places.len() as u64
    }

    /// The page that follows, if that is certain before this one is compared with earlier pages and counted.
    fn certain_next(&self, shape: &RecordShape) -> Option<Url> {
        let identity = |record: Option<&[u8]>| record.map(|record| shape.identity(record));
        let (first, last) = (identity(self.fetched.records().next()), identity(self.fetched.records().last()));
        if !self.previous.surely_differs(last) || self.previous.without_new >= MAX_WITHOUT_NEW {
            return None;
        }
        let facts = PageFacts {
            signals: &self.fetched.signals,
            records: self.fetched.places.len() as u64,
            distinct: self.most_distinct(),
            first_came_before: first.is_some_and(|first| self.seen.ids.contains(&first)),
            url: &self.fetched.url,
        };
        self.pager.certain_next(&facts).filter(|next| !self.followed.contains(&xxh3_64(next.as_str().as_bytes())))
    }
}

impl<'a> ListReader<'a> {
    /// Reads the list into `sink`. Reads it a second time if records are missing or disappeared meanwhile.
    pub(super) async fn read(&self, sink: &mut dyn PageSink) -> Result<Completeness, SourceError> {
        self.read_from(None, sink).await
    }

    /// The first page, without what is asked for by itself.
    pub(super) async fn first_page(&self) -> Result<Fetched, SourceError> {
        let profile = self.requester.profile();
        let url = Pager::new(self.start, &profile.pagination, self.requester.settings().per_page, profile.page_size).first();
        self.request(&url, 1, &Cell::new(0)).await
    }

    /// The same as [`ListReader::read`], where the first page may have been requested already.
    pub(super) async fn read_from(&self, mut first: Option<Fetched>, sink: &mut dyn PageSink) -> Result<Completeness, SourceError> {
        let mut seen = SeenRecords::default();
        let mut claims = Claims::default();
        let mut reads_again = false;
        let mut before: Option<HashSet<u64>> = None;
        loop {
            let counted = self.ask_count().await?;
            let Some(mut reading) = self.read_once(&mut seen, claims, first.take(), sink).await? else { return Ok(stopped(&seen)) };
            if counted.is_some() {
                reading.claims = claims;
                reading.claims.add(counted);
                // Orders may have been added or deleted meanwhile.
                if counted != Some(seen.distinct()) {
                    reading.claims.add(self.ask_count().await?);
                }
            }
            let by = if counted.is_some() { Evidence::Count } else { Evidence::Total };
            let Reading { end, is_by_position, .. } = reading;
            let was_confirmed = before.as_ref() == Some(&seen.ids);
            let (read, distinct) = (seen.read, seen.distinct());
            let list = ListRead { claims: reading.claims, by, read, distinct, end, is_by_position, was_confirmed };
            let may_be_confirmed = self.query.proof == Proof::TwoReadings && list.may_be_confirmed();
            if reads_again || !(list.should_read_again() || may_be_confirmed) {
                return Ok(seen.certify(&list));
            }
            if may_be_confirmed {
                tracing::info!(distinct, "pages are numbered, and nothing counts the records: the list is read twice, to be proven");
                before = Some(std::mem::take(&mut seen.ids));
            } else {
                tracing::warn!(
                    distinct,
                    claimed = list.certify().claimed,
                    "the source claims more records than were received, or its list changed while it was read: it is read again"
                );
            }
            reads_again = true;
            sink.moved(ListMove::ReadAgain);
            claims = reading.claims.again();
            seen.ids.clear();
        }
    }

    /// Reads the list once; `None` if the sink stopped the reading.
    async fn read_once(
        &self,
        seen: &mut SeenRecords,
        mut claims: Claims,
        first: Option<Fetched>,
        sink: &mut dyn PageSink,
    ) -> Result<Option<Reading>, SourceError> {
        let profile = self.requester.profile();
        let mut pager = Pager::new(self.start, &profile.pagination, self.requester.settings().per_page, profile.page_size);
        let (mut followed, mut ahead, mut previous) = (HashSet::new(), Ahead::new(), PreviousPages::default());
        let mut zero = AskedZero::No;
        let mut url = pager.first();
        if let Some(first) = first {
            ahead.urls.push_back(url.clone());
            ahead.arrived.push_back(self.complete(first).await);
        }
        for page in 1.. {
            self.within_limit(page)?;
            let is_new = followed.insert(xxh3_64(url.as_str().as_bytes()));
            if !is_new && !previous.asked_again && pager.is_followed() {
                return Err(SourceError::Circle { request: self.requester.sent(&url), page: page - 1 });
            }
            let fetched = match self.next(&mut ahead, &url, page, seen.distinct()).await {
                // Some APIs return an error for a page past the end.
                Err(error) if pager.may_be_past_the_end() && is_no_such_page(&error) => {
                    return Ok(Some(Reading { end: ListEnd::Counted, claims, is_by_position: true }));
                }
                fetched => fetched?,
            };
            if sink.takes_all() {
                let arrived =
                    ArrivedPage { number: page, fetched: &fetched, pager: &pager, previous: &previous, seen, followed: &followed };
                self.ask_certain(&mut ahead, &arrived).await;
            }
            let ids: Vec<u64> = fetched.records().map(|record| self.query.shape.identity(record)).collect();
            let facts = seen.facts(&fetched, &ids);
            let sorted = sorted(&ids);
            let comparison = previous.compare(&sorted, &pager, &facts);
            match comparison {
                Comparison::Differs | Comparison::Shifted => {}
                Comparison::AskAgain => {
                    tracing::warn!(page, "the page has the same records as the one before it: it is requested again");
                    previous.asked_again = true;
                    ahead.clear();
                    continue;
                }
                Comparison::NotPaginated => {
                    let url = redact::url(self.start);
                    tracing::warn!(url, "page 2 equals page 1: this source does not paginate, and its list ends here");
                    return Ok(Some(Reading { end: ListEnd::NotPaginated, claims, is_by_position: false }));
                }
                Comparison::Repeated => return Err(SourceError::RepeatedPage { request: self.requester.sent(&url), page }),
            }
            let shared = previous.shared(&fetched, &pager);
            let step = pager.after(&facts);
            (previous.asked_again, previous.went_back) = (false, matches!(step, Step::Back(_)));
            if let Step::Back(target) = step {
                tracing::warn!(page, "records disappeared from the list while it was read: the reader goes back");
                ahead.clear();
                sink.moved(ListMove::WentBack);
                url = target;
                continue;
            }
            claims.add(facts.signals.total_records);
            claims.add_pages(facts.signals.total_pages);
            let room = self.room_ahead(page);
            let expected: Vec<Url> = match &step {
                // Builds only as many URLs as may be requested now, however many pages the source announces.
                Step::Next(next) if room > 1 => {
                    pager.predicted(&facts).take(room + 1).skip_while(|url| url != next).skip(1).take(room).collect()
                }
                _ => Vec::new(),
            };
            let has_new = facts.distinct > seen.distinct();
            seen.add(ids.get(shared..).unwrap_or_default(), &fetched);
            ahead.read_before.set(seen.distinct());
            previous.accept(&fetched, sorted, comparison, has_new);
            if !self.deliver(&mut ahead, &fetched, shared, page, sink).await {
                return Ok(None);
            }
            if previous.without_new > MAX_WITHOUT_NEW {
                return Err(SourceError::NoProgress { request: self.requester.sent(&url), page, pages: previous.without_new });
            }
            if page == 1
                && let Some(place) = pager.page_zero_of(&facts)
            {
                zero = self.read_page_zero(&pager, place, seen, sink).await?;
            }
            url = match step {
                Step::Next(next) | Step::Back(next) => next,
                Step::End(end) => {
                    if zero == AskedZero::No && pager.may_have_page_zero(end, &facts) && !claims.are_met(seen.distinct()) {
                        zero = self.read_page_zero(&pager, PageZero::Possible, seen, sink).await?;
                    }
                    let is_by_position = pager.is_by_position() || zero == AskedZero::Found;
                    return Ok(Some(Reading { end, claims, is_by_position }));
                }
                Step::Lost(detail) => {
                    let detail = redact::foreign(&detail);
                    return Err(SourceError::Pagination { request: self.requester.sent(&url), page, detail });
                }
            };
            self.ask_ahead(&mut ahead, &url, expected, page, room);
        }
        Ok(None)
    }

    /// Requests the page before page 1, and delivers it if it has new records. If all are, pages are numbered from 0.
    async fn read_page_zero(
        &self,
        pager: &Pager<'_>,
        place: PageZero,
        seen: &mut SeenRecords,
        sink: &mut dyn PageSink,
    ) -> Result<AskedZero, SourceError> {
        let Some(fetched) = self.fetch_page_zero(pager, place, seen.distinct()).await? else { return Ok(AskedZero::Absent) };
        let ids: Vec<u64> = fetched.records().map(|record| self.query.shape.identity(record)).collect();
        if seen.distinct_with(&ids) == seen.distinct() {
            return Ok(AskedZero::Absent);
        }
        // The first page may come again with records that are new since.
        let is_another_page = ids.iter().all(|id| !seen.ids.contains(id));
        seen.add(&ids, &fetched);
        self.deliver(&mut Ahead::new(), &fetched, 0, 0, sink).await;
        if !is_another_page {
            return Ok(AskedZero::Absent);
        }
        tracing::warn!("the page before page 1 has other records: pages are numbered from 0");
        Ok(AskedZero::Found)
    }

    /// The page before page 1: at the URL that page 1 names, else the first page without a number, else page 0.
    /// `None` if nothing announces it and the source says that there is none.
    async fn fetch_page_zero(&self, pager: &Pager<'_>, place: PageZero, read_before: u64) -> Result<Option<Fetched>, SourceError> {
        let read_before = Cell::new(read_before);
        if let PageZero::Named(url) = place {
            return self.fetch(&url, 0, &read_before).await.map(Some);
        }
        match self.fetch(&pager.first_without_number(), 0, &read_before).await {
            // The number may be required.
            Err(error) if is_refused(&error) => {
                tracing::debug!(%error, "the first page can't be requested without its number: page 0 is requested");
            }
            fetched => return fetched.map(Some),
        }
        match self.fetch(&pager.page_zero(), 0, &read_before).await {
            Err(error) if place == PageZero::Possible && is_refused(&error) => {
                tracing::debug!(%error, "there is no page 0");
                Ok(None)
            }
            fetched => fetched.map(Some),
        }
    }

    /// The page at a URL, from a request made ahead or a new one.
    async fn next<'f>(&'f self, ahead: &mut Ahead<'f>, url: &Url, page: u64, read_before: u64) -> Result<Fetched, SourceError> {
        if ahead.urls.front() == Some(url) {
            ahead.urls.pop_front();
            if let Some(fetched) = ahead.arrived.pop_front() {
                return fetched;
            }
            if let Some(fetched) = ahead.running.next().await {
                return fetched;
            }
        }
        ahead.clear();
        self.fetch(url, page, &Cell::new(read_before)).await
    }

    /// Requests the page that follows, if that is certain and nothing is in flight, and lets the runtime send the request. What is
    /// done with the page that has arrived does not give the runtime a turn.
    async fn ask_certain<'f>(&'f self, ahead: &mut Ahead<'f>, arrived: &ArrivedPage<'_>) {
        // The page before page 1 may have to be requested before the second.
        let asks_page_zero = arrived.number == 1 && arrived.fetched.signals.has_previous;
        if asks_page_zero || !ahead.urls.is_empty() || !self.has_room_for_one_more(arrived.number) {
            return;
        }
        let Some(url) = arrived.certain_next(self.query.shape) else { return };
        let (page, read_before) = (arrived.number + 1, ahead.read_before.clone());
        read_before.set(arrived.most_distinct());
        ahead.urls.push_back(url.clone());
        ahead.running.push_back(Box::pin(async move { self.fetch(&url, page, &read_before).await }));
        let sent = async {
            for _ in 0..TURNS_TO_SEND {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            Some(fetched) = ahead.running.next() => ahead.arrived.push_back(fetched),
            () = sent => {}
        }
    }

    /// The page at a URL. `read_before` is looked at when the response is judged.
    async fn fetch(&self, url: &Url, page: u64, read_before: &Cell<u64>) -> Result<Fetched, SourceError> {
        let fetched = self.request(url, page, read_before).await?;
        self.complete(fetched).await
    }

    async fn request(&self, url: &Url, page: u64, read_before: &Cell<u64>) -> Result<Fetched, SourceError> {
        let judge = |response: Response| judge::judge(response, self.query, read_before.get());
        self.requester.fetch(url, page, judge).await
    }

    /// The page, with the lines, refunds and members that are asked for by themselves.
    async fn complete(&self, fetched: Fetched) -> Result<Fetched, SourceError> {
        let fetched = self.with_lists(fetched, self.query.profile.line_request.as_ref(), Asked::Lines).await?;
        let fetched = self.with_lists(fetched, self.query.profile.refund_request.as_ref(), Asked::Refunds).await?;
        match &self.query.profile.more_request {
            Some(request) => MoreReader::new(request, self.query, self.requester)?.complete(fetched).await,
            None => Ok(fetched),
        }
    }

    /// The page, with the lists that a request brings, if there is one.
    async fn with_lists(&self, fetched: Fetched, request: Option<&'a ListRequest>, asked: Asked) -> Result<Fetched, SourceError> {
        match request {
            Some(request) => AskedReader::new(request, self.query, self.requester)?.complete(fetched, asked).await,
            None => Ok(fetched),
        }
    }

    /// How many requests may be in flight after a page. Depends on the profile, the remaining pages (`http.max_pages`), and the
    /// probable size of the bodies.
    fn room_ahead(&self, page: u64) -> usize {
        let settings = self.requester.settings();
        let pages_left = usize::try_from(settings.max_pages.saturating_sub(page)).unwrap_or(usize::MAX);
        let fitting = match self.requester.access().memory_limit {
            Some(limit) => limit / BODIES_SHARE / self.requester.largest_body().max(1),
            None => u64::MAX,
        };
        let fitting = usize::try_from(fitting).unwrap_or(usize::MAX).max(1);
        self.requester.profile().concurrency.min(MAX_AHEAD).min(pages_left).min(fitting)
    }

    /// Whether the page after this one may be requested before this one is handed on: it is no more than `http.max_pages`, and a body
    /// fits into the share of the memory that bodies may use.
    fn has_room_for_one_more(&self, page: u64) -> bool {
        let share = self.requester.access().memory_limit.map_or(u64::MAX, |limit| limit / BODIES_SHARE);
        page < self.requester.settings().max_pages && self.requester.largest_body() <= share
    }

    /// Requests the next page and those that will probably follow it, at most `room` at once.
    fn ask_ahead<'f>(&'f self, ahead: &mut Ahead<'f>, next: &Url, expected: Vec<Url>, page: u64, room: usize) {
        if expected.is_empty() && ahead.urls.is_empty() {
            return;
        }
        if ahead.urls.front().is_some_and(|url| url != next) {
            ahead.clear();
        }
        for (place, url) in (1..).zip(std::iter::once(next.clone()).chain(expected)) {
            if ahead.running.len() + ahead.arrived.len() >= room {
                return;
            }
            if ahead.urls.contains(&url) {
                continue;
            }
            ahead.urls.push_back(url.clone());
            // The number of records before a page further on is not known, but it is no less than those before the
            // next one.
            let read_before = ahead.read_before.clone();
            ahead.running.push_back(Box::pin(async move { self.fetch(&url, page + place, &read_before).await }));
        }
    }

    fn within_limit(&self, page: u64) -> Result<(), SourceError> {
        let limit = self.requester.settings().max_pages;
        if page <= limit {
            return Ok(());
        }
        Err(SourceError::TooManyPages { request: self.requester.sent(self.start), limit })
    }

    /// Delivers the records of a page, without those shared with the page before. Requests in flight continue while the sink
    /// has no room.
    async fn deliver(&self, ahead: &mut Ahead<'_>, fetched: &Fetched, shared: usize, page: u64, sink: &mut dyn PageSink) -> bool {
        loop {
            tokio::select! {
                biased;
                () = poll_fn(|context| sink.poll_ready(context)) => break,
                Some(fetched) = ahead.running.next(), if !ahead.running.is_empty() => ahead.arrived.push_back(fetched),
            }
        }
        let url = redact::url(&fetched.url);
        tracing::debug!(page, url, records = fetched.places.len(), bytes = fetched.body.len(), "page");
        self.requester.access().counters.page();
        let HandedOn { body, places } = fetched.handed_on(shared);
        sink.page(Page::elements(Origin::Response { url, page, first: shared as u64 + 1 }, body, places))
    }

    /// The total from the count request of the profile, if it has one. The request includes the parameters of the window.
    async fn ask_count(&self) -> Result<Option<u64>, SourceError> {
        let Some(CountRequest { url, value }) = &self.query.profile.http.count else { return Ok(None) };
        let url = self.query.narrowed(url);
        let judge = |response: Response| {
            judge_status(&response)?;
            let excerpt = || redact::beginning(&response.body);
            let node = Node::parse(&String::from_utf8_lossy(&response.body))
                .map_err(|detail| RequestFailure::NotJson { detail, excerpt: excerpt() })?;
            if let Some(what) = crate::source::body::reported_error(&node) {
                let refusal = crate::source::body::reported_refusal(&node);
                return Err(RequestFailure::Reported { status: response.status.as_u16(), refusal, what, excerpt: excerpt() });
            }
            node.at(value).and_then(Node::count).ok_or_else(|| RequestFailure::NoCount { path: value.to_string(), excerpt: excerpt() })
        };
        self.requester.fetch(&url, 0, judge).await.map(Some)
    }
}

/// Whether a server says that there is no such page.
fn is_no_such_page(error: &SourceError) -> bool {
    matches!(error, SourceError::Request(failed) if matches!(failed.cause, RequestFailure::Status { status: 400 | 404 | 416 | 422, .. }))
}

/// Whether a server refuses such a request. One that is too busy (408, 425, 429) does not.
fn is_refused(error: &SourceError) -> bool {
    let SourceError::Request(failed) = error else { return false };
    matches!(failed.cause, RequestFailure::Status { status: 400..=407 | 409..=424 | 426..=428 | 430..=499, .. })
}

fn sorted(ids: &[u64]) -> Vec<u64> {
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    sorted
}

/// The certificate of a list if the sink stopped the reading.
fn stopped(seen: &SeenRecords) -> Completeness {
    Completeness {
        status: CompletenessStatus::Unproven,
        by: None,
        claimed: None,
        read: seen.read,
        distinct: Some(seen.distinct()),
        why: Some("the reading was stopped".to_owned()),
    }
}
