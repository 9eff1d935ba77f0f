//! Lists that are longer than the largest offset that their source accepts: the window is cut by time into slices, which are read
//! one after the other, each as a list of its own and certified by its own total.
//!
//! Responsible for where a window is cut, for records that stand at the seam of two slices, and for the certificate of the whole.
//! `list` reads each slice.

use std::{
    collections::{HashSet, VecDeque},
    mem,
    task::{Context, Poll},
};

use reqwest::Url;
use xxhash_rust::xxh3::xxh3_64;

use super::{judge::Fetched, list::ListReader, request::Requester};
use crate::{
    model::{UtcMicros, Window, counted},
    net::redact,
    settings::{Cursor, Filter, TimeFormat},
    source::{Completeness, CompletenessStatus, Evidence, Page, PageSink, Query, RecordShape, SourceError},
};

/// The slices whose records are remembered. A query goes one second beyond both ends of a slice, and may include them, so that four
/// slices of a second can share a record.
const REMEMBERED: usize = 4;

/// How often the totals of all slices are asked again, until none has changed.
const CONFIRMATIONS: usize = 4;

/// Reads a list in slices, where it is too long to be read at once.
pub(super) struct SliceReader<'a> {
    pub(super) requester: &'a Requester<'a>,
    /// The location, without the parameters of the window.
    pub(super) location: &'a Url,
    pub(super) query: &'a Query<'a>,
    /// The largest offset of the source.
    pub(super) largest: u64,
}

/// A part of the window, which is read as a list of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Slice {
    window: Window,
    /// What its beginning is taken for where it is cut: an open one has none.
    from: UtcMicros,
    /// What its end is taken for.
    to: UtcMicros,
}

/// A slice that was read, and how many records it has.
#[derive(Clone, Copy, Debug)]
struct CountedSlice {
    slice: Slice,
    total: u64,
}

/// A slice, cut in two.
#[derive(PartialEq, Eq, Debug)]
struct Halves {
    earlier: Slice,
    later: Slice,
}

impl Slice {
    /// The whole window. An open beginning is that of the source's `earliest`, else 1970: empty slices cost one request each.
    fn whole(window: Window, earliest: Option<UtcMicros>, now: UtcMicros) -> Slice {
        let from = window.since.or(earliest).or_else(|| UtcMicros::new(0)).unwrap_or(UtcMicros::MIN);
        Slice { window, from, to: window.until.unwrap_or(now) }
    }

    /// Its halves; `None` where they would be shorter than `unit`. Open ends stay open, so that no record is outside of both.
    fn halves(self, unit: i64) -> Option<Halves> {
        let (from, to) = (self.from.micros(), self.to.micros());
        let middle = from.midpoint(to);
        let middle = UtcMicros::new(middle - middle.rem_euclid(unit))?;
        if middle.micros() <= from || middle.micros() >= to {
            return None;
        }
        let earlier = Slice { window: Window { until: Some(middle), ..self.window }, from: self.from, to: middle };
        let later = Slice { window: Window { since: Some(middle), ..self.window }, from: middle, to: self.to };
        Some(Halves { earlier, later })
    }

    fn shown(self) -> String {
        let end = |end: Option<UtcMicros>| end.map_or_else(|| "...".to_owned(), UtcMicros::rfc3339);
        format!("{} to {}", end(self.window.since), end(self.window.until))
    }
}

impl SliceReader<'_> {
    /// Reads the list into `sink`, at once where it is short enough. Reads all slices a second time if records are missing.
    pub(super) async fn read(&self, sink: &mut dyn PageSink) -> Result<Completeness, SourceError> {
        let whole = Slice::whole(self.query.window, self.earliest(), UtcMicros::now());
        let first = self.first_page(whole).await?;
        let total = self.total(whole, &first)?;
        if total < self.largest {
            return self.read_slice(whole, first, sink).await;
        }
        tracing::info!(total, largest = self.largest, "the list is longer than its largest offset: it is read in slices of time");
        let mut seams = Seams::new(sink, self.query.shape);
        let (mut required, mut reads_again) = (total, false);
        loop {
            let mut read = SlicesRead::default();
            self.read_slices(whole, total, &mut read, &mut seams).await?;
            self.confirm(&mut read, &mut seams).await?;
            if !seams.is_stopped && seams.distinct() < required {
                let asked_again = self.first_page(whole).await?;
                required = required.min(self.total(whole, &asked_again)?);
            }
            if seams.is_stopped || reads_again || seams.distinct() >= required {
                return Ok(read.certify(required, &seams));
            }
            tracing::warn!(
                distinct = seams.distinct(),
                claimed = required,
                "the slices have fewer records than the list: they are read again"
            );
            reads_again = true;
            seams.forget();
        }
    }

    /// Reads the slices of one that is too long, in the order of time.
    async fn read_slices(&self, whole: Slice, total: u64, read: &mut SlicesRead, seams: &mut Seams<'_>) -> Result<(), SourceError> {
        let mut waiting: Vec<Slice> = self.halves(whole, total)?.into_iter().rev().collect();
        while let Some(slice) = waiting.pop() {
            let first = self.first_page(slice).await?;
            let total = self.total(slice, &first)?;
            // Some sources count no further than their largest offset: a total of just as much may be more.
            if total >= self.largest {
                waiting.extend(self.halves(slice, total)?.into_iter().rev());
                continue;
            }
            tracing::debug!(slice = slice.shown(), total, "slice");
            seams.begin_slice();
            read.add(slice, &self.read_slice(slice, first, seams).await?);
            read.counted.push(CountedSlice { slice, total });
            if seams.is_stopped {
                break;
            }
        }
        Ok(())
    }

    /// Asks each slice once more how many records it has, and reads those again that have got more: a record that moved into a slice
    /// that was read before would be in none. Goes on until no total changes; if that takes too long, nothing is proven.
    async fn confirm(&self, read: &mut SlicesRead, seams: &mut Seams<'_>) -> Result<(), SourceError> {
        for _ in 0..CONFIRMATIONS {
            let mut has_changed = false;
            for CountedSlice { slice, total: before } in mem::take(&mut read.counted) {
                if seams.is_stopped {
                    return Ok(());
                }
                let first = self.first_page(slice).await?;
                let total = self.total(slice, &first)?;
                has_changed |= total != before;
                if total > before {
                    tracing::info!(slice = slice.shown(), before, total, "the slice has got more records: it is read again");
                }
                if total >= self.largest {
                    self.read_slices(slice, total, read, seams).await?;
                    continue;
                }
                if total > before {
                    seams.begin_slice();
                    read.add(slice, &self.read_slice(slice, first, seams).await?);
                }
                read.counted.push(CountedSlice { slice, total });
            }
            if !has_changed {
                return Ok(());
            }
        }
        read.unproven
            .get_or_insert_with(|| "the totals of the slices changed each time they were asked: records may have moved".to_owned());
        Ok(())
    }

    /// The halves of a slice that is too long, the earlier one first.
    fn halves(&self, slice: Slice, total: u64) -> Result<[Slice; 2], SourceError> {
        let too_long = |detail: String| SourceError::TooLong {
            url: redact::url(&self.query.narrowed(self.location)),
            total,
            largest: self.largest,
            detail,
        };
        let Filter { since, until, updated_since, updated_until, format, .. } = &self.query.profile.http.filter;
        let (names_both, cursor) = match self.query.cursor {
            Cursor::Created => (since.is_some() && until.is_some(), "created_at"),
            Cursor::Updated => (updated_since.is_some() && updated_until.is_some(), "updated_at"),
        };
        if !names_both {
            return Err(too_long(format!(
                "`filter` does not name the parameters for both ends of a window on {cursor}, which could be cut"
            )));
        }
        let (unit, name) = if *format == TimeFormat::Date { (UtcMicros::DAY, "a day") } else { (UtcMicros::SECOND, "a second") };
        match slice.halves(unit) {
            Some(Halves { earlier, later }) => Ok([earlier, later]),
            None => {
                Err(too_long(format!("that many are in {}, or within {name} of it, and slices are not shorter than {name}", slice.shown())))
            }
        }
    }

    fn earliest(&self) -> Option<UtcMicros> {
        self.query.profile.http.filter.earliest?.instant(UtcMicros::now())
    }

    async fn first_page(&self, slice: Slice) -> Result<Fetched, SourceError> {
        let query = Query { window: slice.window, ..*self.query };
        let start = query.narrowed(self.location);
        ListReader { requester: self.requester, start: &start, query: &query }.first_page().await
    }

    async fn read_slice(&self, slice: Slice, first: Fetched, sink: &mut dyn PageSink) -> Result<Completeness, SourceError> {
        let query = Query { window: slice.window, ..*self.query };
        let start = query.narrowed(self.location);
        let reader = ListReader { requester: self.requester, start: &start, query: &query };
        Box::pin(reader.read_from(Some(first), sink)).await
    }

    /// The total that the first page of a slice announces.
    fn total(&self, slice: Slice, first: &Fetched) -> Result<u64, SourceError> {
        first.signals.total_records.ok_or_else(|| {
            let query = Query { window: slice.window, ..*self.query };
            let detail = "it has no total at `pagination.total`, which `pagination.largest` needs".to_owned();
            SourceError::Pagination { request: self.requester.sent(&query.narrowed(self.location)), page: 1, detail }
        })
    }
}

/// Hands pages on, without the records that a slice before brought in the same version: queries go beyond their slices.
struct Seams<'s> {
    sink: &'s mut dyn PageSink,
    shape: &'s RecordShape,
    /// The records of the latest slices, by a hash of their bytes; the current one is the last.
    latest: VecDeque<HashSet<u64>>,
    /// The identities of all records.
    ids: HashSet<u64>,
    /// The records that were left out.
    left_out: u64,
    is_stopped: bool,
}

impl<'s> Seams<'s> {
    fn new(sink: &'s mut dyn PageSink, shape: &'s RecordShape) -> Seams<'s> {
        Seams { sink, shape, latest: VecDeque::new(), ids: HashSet::new(), left_out: 0, is_stopped: false }
    }

    fn distinct(&self) -> u64 {
        self.ids.len() as u64
    }

    fn begin_slice(&mut self) {
        self.latest.push_back(HashSet::new());
        if self.latest.len() > REMEMBERED {
            self.latest.pop_front();
        }
    }

    /// Begins from the front, as if nothing had been read.
    fn forget(&mut self) {
        self.latest.clear();
        self.ids.clear();
        self.left_out = 0;
    }

    /// Whether a record is new in this version, or stands in the current slice alone. Remembers it.
    fn is_wanted(&mut self, record: &[u8]) -> bool {
        self.ids.insert(self.shape.identity(record));
        let hash = xxh3_64(record);
        let before = self.latest.len().saturating_sub(1);
        let came_before = self.latest.iter().take(before).any(|slice| slice.contains(&hash));
        if let Some(current) = self.latest.back_mut() {
            current.insert(hash);
        }
        self.left_out += u64::from(came_before);
        !came_before
    }
}

impl PageSink for Seams<'_> {
    fn page(&mut self, page: Page) -> bool {
        let page = page.filtered(|record| self.is_wanted(record));
        let goes_on = page.is_empty() || self.sink.page(page);
        self.is_stopped |= !goes_on;
        goes_on
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.sink.poll_ready(context)
    }

    fn takes_all(&self) -> bool {
        self.sink.takes_all()
    }
}

/// What the slices of one reading were.
#[derive(Default)]
struct SlicesRead {
    slices: u64,
    read: u64,
    /// The sum of the totals.
    claimed: u64,
    /// The sum of the distinct records.
    distinct: u64,
    /// Those that were read, in the order of time.
    counted: Vec<CountedSlice>,
    failed: Option<String>,
    unproven: Option<String>,
}

impl SlicesRead {
    fn add(&mut self, slice: Slice, completeness: &Completeness) {
        self.slices += 1;
        self.read += completeness.read;
        self.distinct += completeness.distinct.unwrap_or_default();
        self.claimed += completeness.claimed.unwrap_or_default();
        let why = || Some(format!("{}: {}", slice.shown(), completeness.why.clone().unwrap_or_default()));
        match completeness.status {
            CompletenessStatus::Proven => {}
            CompletenessStatus::Unproven => self.unproven = self.unproven.take().or_else(why),
            CompletenessStatus::Failed => self.failed = self.failed.take().or_else(why),
        }
    }

    /// The certificate of the whole: each slice has what it claims, and together they have what the list claims.
    fn certify(self, required: u64, seams: &Seams<'_>) -> Completeness {
        let distinct = seams.distinct();
        // Records at seams count in two slices.
        let claimed = self.claimed.saturating_sub(self.distinct.saturating_sub(distinct)).max(required);
        let missing = (distinct < required).then(|| {
            let (claimed, slices) = (counted(required, "record"), counted(self.slices, "slice"));
            format!("the source claims {claimed}, and {distinct} came in {slices}")
        });
        let stopped = seams.is_stopped.then(|| "the reading was stopped".to_owned());
        let (status, by, why) = match (stopped, self.failed.or(missing), self.unproven) {
            (Some(why), ..) => (CompletenessStatus::Unproven, None, Some(why)),
            (None, Some(why), _) => (CompletenessStatus::Failed, Some(Evidence::Total), Some(why)),
            (None, None, Some(why)) => (CompletenessStatus::Unproven, None, Some(why)),
            (None, None, None) => (CompletenessStatus::Proven, Some(Evidence::Total), None),
        };
        let read = self.read.saturating_sub(seams.left_out);
        Completeness { status, by, claimed: Some(claimed), read, distinct: Some(distinct), why }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::source::Origin;

    fn at(second: i64) -> UtcMicros {
        UtcMicros::new(second * UtcMicros::SECOND).unwrap()
    }

    fn closed(since: i64, until: i64) -> Slice {
        Slice::whole(Window { since: Some(at(since)), until: Some(at(until)) }, None, at(0))
    }

    #[test]
    fn a_window_is_cut_into_halves_that_leave_nothing_out() {
        let halves = closed(10, 20).halves(UtcMicros::SECOND).unwrap();
        assert_eq!((halves.earlier, halves.later), (closed(10, 15), closed(15, 20)));
        assert_eq!(closed(10, 11).halves(UtcMicros::SECOND), None);
        assert_eq!(closed(10, 12).halves(UtcMicros::SECOND).map(|halves| halves.later), Some(closed(11, 12)));
        assert_eq!(closed(0, 86_400).halves(UtcMicros::DAY), None, "days are not cut");
        assert_eq!(closed(0, 86_400 * 3).halves(UtcMicros::DAY).map(|halves| halves.earlier), Some(closed(0, 86_400)));
        let open = Slice::whole(Window::default(), None, at(1000));
        let halves = open.halves(UtcMicros::SECOND).unwrap();
        assert_eq!(halves.earlier.window, Window { since: None, until: Some(at(500)) });
        assert_eq!(halves.later.window, Window { since: Some(at(500)), until: None });
        let from_earliest = Slice::whole(Window::default(), Some(at(900)), at(1000)).halves(UtcMicros::SECOND).unwrap();
        assert_eq!(from_earliest.earlier.window, Window { since: None, until: Some(at(950)) });
    }

    #[test]
    fn a_record_at_a_seam_comes_once_and_its_newer_version_comes_too() {
        let shape = RecordShape { id: vec!["id".parse().unwrap()], ..RecordShape::default() };
        let mut all = Vec::new();
        let mut sink = |page: Page| {
            all.extend(page.records().map(|record| String::from_utf8_lossy(record.bytes).into_owned()));
            true
        };
        let mut seams = Seams::new(&mut sink, &shape);
        let origin = Origin::Response { url: String::new(), page: 1, first: 1 };
        for slice in [[r#"{"id":1}"#, r#"{"id":2}"#], [r#"{"id":2}"#, r#"{"id":3}"#], [r#"{"id":3,"new":1}"#, r#"{"id":1}"#]] {
            seams.begin_slice();
            let length = slice[0].len();
            let places = vec![0..length, length..length + slice[1].len()];
            assert!(seams.page(Page::elements(origin.clone(), Bytes::from(slice.concat()), places)));
        }
        assert_eq!((seams.distinct(), seams.left_out), (3, 2));
        assert_eq!(all, [r#"{"id":1}"#, r#"{"id":2}"#, r#"{"id":3}"#, r#"{"id":3,"new":1}"#]);
    }

    #[test]
    fn the_whole_is_proven_by_the_totals_of_its_slices_and_by_its_own() {
        let shape = RecordShape::default();
        let mut sink = |_: Page| true;
        let mut seams = Seams::new(&mut sink, &shape);
        seams.ids.extend(1..=15);
        let part = |claimed: u64, distinct: u64, status| Completeness {
            status,
            by: None,
            claimed: Some(claimed),
            read: distinct,
            distinct: Some(distinct),
            why: None,
        };
        let read = |second: &Completeness| {
            let mut read = SlicesRead::default();
            read.add(closed(0, 1), &part(9, 9, CompletenessStatus::Proven));
            read.add(closed(1, 2), second);
            read
        };
        let whole = read(&part(8, 8, CompletenessStatus::Proven)).certify(10, &seams);
        assert_eq!((whole.status, whole.claimed, whole.distinct), (CompletenessStatus::Proven, Some(15), Some(15)));
        let missing = read(&part(8, 8, CompletenessStatus::Proven)).certify(16, &seams);
        assert_eq!((missing.status, missing.claimed), (CompletenessStatus::Failed, Some(16)));
        let failed = read(&part(9, 8, CompletenessStatus::Failed)).certify(10, &seams);
        assert_eq!((failed.status, failed.claimed), (CompletenessStatus::Failed, Some(16)));
        assert_eq!(read(&part(8, 8, CompletenessStatus::Unproven)).certify(10, &seams).status, CompletenessStatus::Unproven);
    }
}
