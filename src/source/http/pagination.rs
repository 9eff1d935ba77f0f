//! Chooses the next page from the signals of a response and the pagination of the profile.
//!
//! A state machine without a network: the facts of a page go in, the next step comes out.

use reqwest::Url;

use super::position::{self, Position};
use crate::{
    model::counted,
    settings::Pagination,
    source::{
        body::{NextPage, OVERSIZED, OffsetPlace, Signals},
        completeness::ListEnd,
        url_query,
    },
};

/// The maximum number of steps back without a new record in between.
const MAX_STEPS_BACK: u32 = 40;

/// The maximum characters of a next URL that an error shows.
const MAX_SHOWN: usize = 300;

/// What follows a page.
#[derive(PartialEq, Debug)]
pub(super) enum Step {
    /// The page at this URL.
    Next(Url),
    /// The list changed while it was read: discard this page and go back to the page at this URL.
    Back(Url),
    /// No page: the list ends.
    End(ListEnd),
    /// Unknown: the next page can't be determined.
    Lost(String),
}

/// The facts of a page.
pub(super) struct PageFacts<'f> {
    pub(super) signals: &'f Signals,
    /// The number of its records.
    pub(super) records: u64,
    /// The number of distinct records of this reading of the list, this page included.
    pub(super) distinct: u64,
    /// Whether its first record was on an earlier page of this reading.
    pub(super) first_came_before: bool,
    /// The URL of the response, after redirects.
    pub(super) url: &'f Url,
}

impl PageFacts<'_> {
    /// Whether the response announces more than one page, or more records than were received.
    pub(super) fn announces_more(&self) -> bool {
        let signals = self.signals;
        signals.more == Some(true)
            || signals.total_records.is_some_and(|total| total > self.distinct)
            || signals.total_pages.is_some_and(|pages| pages > 1)
    }

    /// Whether the response says that a page follows this one, whatever its total is: the total may be that of this
    /// page. `pages` is the number of pages that would be all.
    fn names_more(&self, pages: u64) -> bool {
        let signals = self.signals;
        signals.more == Some(true) || signals.other_next || signals.total_pages.is_some_and(|announced| announced > pages)
    }

    /// The total of the list. A total below the number of records of its own page is another number.
    fn total(&self) -> Option<u64> {
        self.signals.total_records.filter(|total| *total >= self.records)
    }
}

/// Where a page before page 1 may be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum PageZero {
    /// At the URL that page 1 names.
    Named(Url),
    /// Page 1 says that there is one, and not where.
    Announced,
    /// Nothing says that page 1 is the first.
    Possible,
}

/// How the default pagination reads a list, learned from its responses.
#[derive(Clone, PartialEq, Debug)]
enum DefaultMode {
    /// By numbered pages.
    Numbered,
    /// By the next page that each response names.
    Followed,
    /// By offset.
    Offset(OffsetPlace),
}

/// The position in an offset list.
#[derive(Clone, Default, Debug)]
struct OffsetState {
    /// The offset of the current page.
    at: u64,
    /// Whether its first record should be the last one of the page before.
    overlaps: bool,
    /// The number of records of the page before.
    previous_size: u64,
    /// How often the reader went back without a new record.
    steps_back: u32,
    /// The number of distinct records at the last step back.
    distinct_then: u64,
}

/// Walks a list from page to page.
#[derive(Clone)]
pub(super) struct Pager<'a> {
    start: &'a Url,
    pagination: &'a Pagination,
    per_page: u32,
    /// The number of the current page.
    number: u64,
    offset: OffsetState,
    /// How the default pagination reads the list.
    mode: DefaultMode,
    /// The number of pages so far.
    pages: u64,
    /// Whether any step led to a page by its position: its number or its offset.
    went_by_position: bool,
    /// Whether responses name the next page by the number that `page` has.
    names_page_numbers: bool,
    /// Whether a response says that no page comes before page 1.
    begins_with_one: bool,
    /// Whether any response had a value at the place of the next page in the profile.
    has_place: bool,
    /// Whether all records that the last response counts were received.
    is_counted: bool,
}

impl<'a> Pager<'a> {
    pub(super) fn new(start: &'a Url, pagination: &'a Pagination, per_page: u32, page_size: Option<u32>) -> Pager<'a> {
        let number = if let Pagination::Page { first, .. } = pagination { *first } else { 1 };
        Pager {
            start,
            pagination,
            per_page: page_size.unwrap_or(per_page),
            number,
            offset: OffsetState::default(),
            mode: DefaultMode::Numbered,
            pages: 0,
            went_by_position: false,
            names_page_numbers: false,
            begins_with_one: false,
            has_place: false,
            is_counted: false,
        }
    }

    /// Whether responses name the next page. A URL that occurs twice is then a circle.
    pub(super) fn is_followed(&self) -> bool {
        match self.pagination {
            Pagination::Page { .. } | Pagination::Offset { .. } => false,
            Pagination::Auto => self.mode == DefaultMode::Followed,
            _ => true,
        }
    }

    /// Whether numbers or offsets alone led from page to page. Deleted records then move others between pages.
    pub(super) fn is_by_position(&self) -> bool {
        self.went_by_position
    }

    /// Whether the next request may be past the end: all counted records were received, but by default the count may be that
    /// of one page.
    pub(super) fn may_be_past_the_end(&self) -> bool {
        self.is_counted && self.may_be_unpaginated()
    }

    /// Whether the default pagination uses page numbers. It begins with 1, but some APIs begin with 0.
    fn goes_by_numbers(&self) -> bool {
        let is_numbered = self.mode == DefaultMode::Numbered || (self.mode == DefaultMode::Followed && self.names_page_numbers);
        *self.pagination == Pagination::Auto && is_numbered
    }

    /// The page before page 1, if page 1 names it or says that there is one.
    pub(super) fn page_zero_of(&self, page: &PageFacts<'_>) -> Option<PageZero> {
        let target = page.signals.previous.as_deref().filter(|target| !target.contains(OVERSIZED));
        let named = target.and_then(|target| page.url.join(target).ok()).filter(|url| matches!(url.scheme(), "http" | "https"));
        match self.pagination {
            Pagination::Auto if page.signals.has_previous => Some(named.map_or(PageZero::Announced, PageZero::Named)),
            // A profile says which page is the first. So only the page right before it is one.
            Pagination::Page { parameter, first, .. } => {
                let before = first.checked_sub(1)?.to_string();
                named.filter(|url| url_query::has_value(url, parameter, &before)).map(PageZero::Named)
            }
            _ => None,
        }
    }

    /// Whether a list may have a page 0: it was read by page number from 1, and nothing shows that it begins there.
    pub(super) fn may_have_page_zero(&self, end: ListEnd, page: &PageFacts<'_>) -> bool {
        if !self.goes_by_numbers() || page.distinct == 0 {
            return self.goes_by_numbers();
        }
        match end {
            _ if self.begins_with_one => false,
            ListEnd::Stated => !page.signals.ends_cursor,
            ListEnd::Unstated => true,
            // Most lists are one page and an empty one. They cost no further request, unless they lack records.
            ListEnd::EmptyPage => self.pages > 2 || page.signals.total_records.is_some_and(|total| total > page.distinct),
            ListEnd::Counted | ListEnd::Single | ListEnd::NotPaginated => false,
        }
    }

    /// The first page without its number.
    pub(super) fn first_without_number(&self) -> Url {
        let url = self.with_own_size(&[]);
        if url_query::has(&url, "page") { url_query::without_names(&url, &["page".to_owned()]) } else { url }
    }

    /// Page 0 by its number.
    pub(super) fn page_zero(&self) -> Url {
        self.numbered_url("page", 0)
    }

    /// Whether pages share a record. A page may then equal the one before, if new records were added at the front of the list.
    pub(super) fn overlaps(&self) -> bool {
        self.offset.overlaps
    }

    /// Whether the pagination is a guess, so that page 2 may show that the source does not paginate.
    pub(super) fn may_be_unpaginated(&self) -> bool {
        *self.pagination == Pagination::Auto && self.mode == DefaultMode::Numbered
    }

    /// The first page.
    pub(super) fn first(&self) -> Url {
        match self.pagination {
            Pagination::Auto => self.numbered_url("page", self.number),
            Pagination::Page { parameter, .. } => self.with(&[(parameter, &self.number.to_string())]),
            Pagination::Offset { parameter, .. } => self.with(&[(parameter, "0")]),
            _ => self.start.clone(),
        }
    }

    /// What follows a page.
    pub(super) fn after(&mut self, page: &PageFacts<'_>) -> Step {
        self.pages += 1;
        self.has_place |= page.signals.has_place;
        self.begins_with_one |= page.signals.says_first;
        let step = self.step_after(page);
        if let Step::Next(next) = &step {
            let position = self.position_of(next, page);
            self.went_by_position |= position.is_some();
            self.names_page_numbers |= position == Some(Position::Page) && self.mode == DefaultMode::Followed;
        }
        step
    }

    /// The position by which the step to the next page names it; `None` if it does not.
    fn position_of(&self, next: &Url, page: &PageFacts<'_>) -> Option<Position> {
        match (self.pagination, &page.signals.next) {
            (Pagination::Single | Pagination::LastId { .. }, _) => None,
            (Pagination::Page { .. } | Pagination::Offset { .. }, _) => Some(Position::Other),
            (Pagination::Auto, None) => Some(Position::Page),
            (Pagination::Cursor { parameter, .. }, Some(NextPage::Cursor(cursor))) => position::of_parameter(parameter, cursor),
            (_, Some(NextPage::Number(_))) => Some(Position::Page),
            (_, Some(NextPage::Url(_))) => position::between(page.url, next),
            (_, Some(NextPage::Cursor(_) | NextPage::Unusable(_)) | None) => None,
        }
    }

    fn step_after(&mut self, page: &PageFacts<'_>) -> Step {
        let signals = page.signals;
        if page.records == 0 && signals.more == Some(true) && signals.next.is_none() {
            return Step::Lost("it has no records, but says that there are more".into());
        }
        let step = match self.pagination {
            Pagination::Auto => self.after_any(page),
            Pagination::Single if signals.next.is_some() => {
                Step::Lost("the profile says that one page holds everything, but the response names a next page".into())
            }
            Pagination::Single => Step::End(ListEnd::Single),
            Pagination::Link | Pagination::NextUrl { .. } => self.after_named(page, "cursor"),
            Pagination::Cursor { parameter, .. } => match signals.more {
                Some(false) => Step::End(ListEnd::Stated),
                _ => self.after_named(page, parameter),
            },
            Pagination::LastId { parameter, .. } => match (&signals.last_id, signals.more) {
                (_, Some(false)) => Step::End(ListEnd::Stated),
                (None, _) if page.records == 0 => Step::End(ListEnd::Stated),
                (Some(id), _) => Step::Next(self.with(&[(parameter, id)])),
                (None, _) => Step::Lost("its last record has no id to continue from".into()),
            },
            Pagination::Page { parameter, .. } => {
                let parameter = parameter.clone();
                self.after_numbered(page, |pager| pager.with(&[(&parameter, &pager.number.to_string())]))
            }
            Pagination::Offset { parameter, .. } => {
                let place = OffsetPlace { parameter: parameter.clone(), size: None };
                self.after_offset(page, &place)
            }
        };
        match step {
            Step::End(_) if signals.more == Some(true) => Step::Lost("it says that there are more records, but names no next page".into()),
            // The profile may name the wrong place.
            Step::End(_) if signals.other_next && signals.more != Some(false) && self.names_next() => {
                Step::Lost("there is no next page at the place that the profile names, but the response names one elsewhere".into())
            }
            Step::End(ListEnd::Stated) if self.names_next() && !self.has_place && signals.more.is_none() => Step::End(ListEnd::Unstated),
            step => step,
        }
    }

    /// The page that follows, where that is certain before the records are compared with those of earlier pages. `page.distinct` is
    /// the largest number that it may turn out to be.
    pub(super) fn certain_next(&self, page: &PageFacts<'_>) -> Option<Url> {
        // Only two things depend on the exact number: whether all counted records came, and whether steps back bear fruit.
        let may_be_all = page.signals.total_records.is_some_and(|total| total <= page.distinct);
        if may_be_all || self.offset.steps_back > 0 {
            return None;
        }
        match self.clone().after(page) {
            Step::Next(next) => Some(next),
            Step::Back(_) | Step::End(_) | Step::Lost(_) => None,
        }
    }

    /// Whether the profile names the place of the next page.
    fn names_next(&self) -> bool {
        matches!(self.pagination, Pagination::Link | Pagination::NextUrl { .. } | Pagination::Cursor { .. })
    }

    /// The pages that will probably follow, if the source counts them. They may be requested ahead.
    pub(super) fn predicted(&self, page: &PageFacts<'_>) -> Box<dyn Iterator<Item = Url> + '_> {
        let (signals, size) = (page.signals, page.records);
        match self.pagination {
            Pagination::Page { parameter, first, .. } if size > 0 => {
                let by_records = signals.total_records.map(|total| total.div_ceil(size));
                let pages = signals.total_pages.or(by_records).unwrap_or(0);
                let rest = self.number..first.saturating_add(pages);
                Box::new(rest.map(move |number| self.with(&[(parameter, &number.to_string())])))
            }
            Pagination::Offset { parameter, .. } if size > 1 => {
                let total = signals.total_records.unwrap_or(0);
                let rest = std::iter::successors(Some(self.offset.at), move |at| at.checked_add(size - 1));
                // Pages overlap by one record, so a page with only the last record has nothing new.
                let rest = rest.take_while(move |at| at.saturating_add(1) < total);
                Box::new(rest.map(move |at| self.with(&[(parameter, &at.to_string())])))
            }
            _ => Box::new(std::iter::empty()),
        }
    }

    /// Contract, Orders: "Pagination by default". A signal with a next page wins over a signal that there is none.
    fn after_any(&mut self, page: &PageFacts<'_>) -> Step {
        let signals = page.signals;
        if signals.next.is_some() {
            self.mode = DefaultMode::Followed;
            return self.after_named(page, "cursor");
        }
        if let DefaultMode::Offset(place) = self.mode.clone() {
            return self.after_offset(page, &place);
        }
        if signals.says_end || signals.more == Some(false) {
            return Step::End(ListEnd::Stated);
        }
        if self.mode == DefaultMode::Followed {
            return Step::End(ListEnd::Unstated);
        }
        if let Some(place) = &signals.offset
            && (place.size.is_some() || signals.total_records.is_some())
        {
            self.mode = DefaultMode::Offset(place.clone());
            return self.after_offset(page, place);
        }
        self.after_numbered(page, |pager| pager.numbered_url("page", pager.number))
    }

    /// The page that the response names.
    fn after_named(&mut self, page: &PageFacts<'_>, parameter: &str) -> Step {
        match &page.signals.next {
            None => Step::End(ListEnd::Stated),
            Some(NextPage::Url(target)) if target.contains(OVERSIZED) => Step::Lost("its next URL is longer than 64 KiB".into()),
            Some(NextPage::Url(target)) => match page.url.join(target) {
                Ok(next) if matches!(next.scheme(), "http" | "https") => Step::Next(next),
                _ => Step::Lost(format!("`{}` is not a usable URL", target.chars().take(MAX_SHOWN).collect::<String>())),
            },
            Some(NextPage::Cursor(cursor)) if cursor.contains(OVERSIZED) => Step::Lost("its cursor is longer than 64 KiB".into()),
            Some(NextPage::Cursor(cursor)) if *self.pagination == Pagination::Auto => {
                Step::Next(self.with_own_size(&[(parameter, cursor)]))
            }
            Some(NextPage::Cursor(cursor)) => Step::Next(self.with(&[(parameter, cursor)])),
            Some(NextPage::Number(number)) => Step::Next(self.numbered_url("page", *number)),
            Some(NextPage::Unusable(key)) if *self.pagination == Pagination::Auto => {
                Step::Lost(format!("there is more, but `{key}` is neither a URL nor a page number: set `pagination` in a profile"))
            }
            Some(NextPage::Unusable(key)) => {
                let expected = if let Pagination::Cursor { .. } = self.pagination { "a text or a number" } else { "a URL" };
                Step::Lost(format!("there is more, but what is at `{key}` is not {expected}"))
            }
        }
    }

    fn after_numbered(&mut self, page: &PageFacts<'_>, url: impl Fn(&Pager<'_>) -> Url) -> Step {
        let signals = page.signals;
        let first = if let Pagination::Page { first, .. } = self.pagination { *first } else { 1 };
        let is_named = *self.pagination != Pagination::Auto;
        let pages_read = self.number.saturating_sub(first).saturating_add(1);
        let has_all_pages = signals.total_pages.is_some_and(|pages| pages_read >= pages);
        let names_more = page.names_more(pages_read);
        if page.records == 0 {
            // If all counted records came, the number of pages is that of smaller pages.
            let is_counted = signals.total_records.is_some_and(|total| total > 0 && page.distinct >= total);
            return match signals.total_pages.filter(|pages| *pages > pages_read && !is_counted) {
                Some(pages) => Step::Lost(format!("it has no records, but announces {}", counted(pages, "page"))),
                None => Step::End(ListEnd::EmptyPage),
            };
        }
        let has_all_records = match signals.total_records {
            Some(_) => page.total().is_some_and(|total| page.distinct >= total),
            None => has_all_pages,
        };
        // By default a total may count this page only, so it is used only after several pages.
        let is_believed = is_named || pages_read > 1 && signals.total_records.is_none_or(|total| total == page.distinct) || has_all_pages;
        if has_all_records && is_believed && !names_more {
            return Step::End(ListEnd::Counted);
        }
        self.is_counted = has_all_records && signals.total_records.is_some() && !names_more;
        self.number = self.number.saturating_add(1);
        Step::Next(url(self))
    }

    /// Consecutive pages share one record. If it is missing, records disappeared, and the reader goes back.
    fn after_offset(&mut self, page: &PageFacts<'_>, place: &OffsetPlace) -> Step {
        let (size, state) = (page.records, &mut self.offset);
        let is_fruitless = state.steps_back > 0 && page.distinct == state.distinct_then;
        if state.overlaps && !page.first_came_before && state.at > 0 {
            if size == 0 && is_fruitless {
                return Step::End(ListEnd::EmptyPage);
            }
            state.steps_back = if is_fruitless { state.steps_back + 1 } else { 1 };
            state.distinct_then = page.distinct;
            if state.steps_back > MAX_STEPS_BACK {
                return Step::Lost("the list changes faster than it can be read".into());
            }
            // Doubles the distance with each step, so that the beginning is never many steps away.
            let back = state.previous_size.max(1).saturating_mul(1 << (state.steps_back - 1).min(30));
            state.at = state.at.saturating_sub(back);
            let at = state.at;
            return Step::Back(self.offset_url(place, at));
        }
        if size == 0 || (state.overlaps && size == 1) {
            return Step::End(ListEnd::EmptyPage);
        }
        let read_to = state.at.saturating_add(size);
        let is_named = *self.pagination != Pagination::Auto;
        let is_short = place.size.as_ref().is_some_and(|(_, most)| size < *most);
        // By default a total may count this page only, so it is not used on a full first page.
        let is_believed = |total| is_named || total == page.distinct && (state.at > 0 || is_short);
        let is_last = |total: u64| read_to >= total && is_believed(total) && !page.names_more(total.div_ceil(size));
        if page.total().is_some_and(is_last) {
            return Step::End(ListEnd::Counted);
        }
        state.previous_size = size;
        state.overlaps = size > 1;
        state.at = if size > 1 { read_to - 1 } else { read_to };
        let at = state.at;
        Step::Next(self.offset_url(place, at))
    }

    fn offset_url(&self, place: &OffsetPlace, at: u64) -> Url {
        let at = at.to_string();
        match &place.size {
            Some((parameter, size)) => self.with(&[(&place.parameter, &at), (parameter, &size.to_string())]),
            None => self.with(&[(&place.parameter, &at)]),
        }
    }

    fn numbered_url(&self, parameter: &str, number: u64) -> Url {
        self.with_own_size(&[(parameter, &number.to_string())])
    }

    /// The URL with these parameters, and `per_page` unless the location has it.
    fn with_own_size(&self, parameters: &[(&str, &str)]) -> Url {
        let url = self.with(parameters);
        if url_query::has(self.start, "per_page") {
            return url;
        }
        url_query::appended(&url, [("per_page", self.per_page.to_string().as_str())].into_iter())
    }

    /// The location with these parameters. Replaces parameters of the same names and keeps all other bytes.
    fn with(&self, parameters: &[(&str, &str)]) -> Url {
        url_query::with(self.start, parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Total;

    fn at(path: &str) -> Url {
        format!("http://h/o{path}").parse().unwrap()
    }

    /// What follows a page whose records up to number `known` came before.
    fn after_known(pager: &mut Pager<'_>, signals: &Signals, ids: &[u64], known: u64) -> Step {
        let distinct = known.max(ids.iter().copied().max().unwrap_or(0));
        let first_came_before = ids.first().is_some_and(|first| *first <= known);
        pager.after(&PageFacts { signals, records: ids.len() as u64, distinct, first_came_before, url: &at("") })
    }

    fn after(pager: &mut Pager<'_>, signals: &Signals, ids: &[u64], distinct: u64) -> Step {
        let first_came_before = true;
        pager.after(&PageFacts { signals, records: ids.len() as u64, distinct, first_came_before, url: &at("") })
    }

    fn total(records: u64) -> Signals {
        Signals { total_records: Some(records), ..Signals::default() }
    }

    #[test]
    fn numbered_pages_go_on_until_the_last_count_is_reached() {
        let start = at("?limit=2&page=9");
        let page = Pagination::Page { parameter: "page".into(), first: 1, total: Total::default() };
        let mut pager = Pager::new(&start, &page, 500, Some(2));
        assert_eq!(pager.first(), at("?limit=2&page=1"));
        assert_eq!(after(&mut pager, &total(3), &[1, 2], 2), Step::Next(at("?limit=2&page=2")));
        assert_eq!(after(&mut pager, &total(4), &[2, 3], 3), Step::Next(at("?limit=2&page=3")), "the count has grown");
        assert_eq!(after(&mut pager, &total(4), &[4], 4), Step::End(ListEnd::Counted));
        let mut pager = Pager::new(&start, &page, 500, Some(2));
        let pages = Signals { total_pages: Some(2), ..Signals::default() };
        assert_eq!(after(&mut pager, &pages, &[1, 2], 2), Step::Next(at("?limit=2&page=2")));
        assert_eq!(after(&mut pager, &pages, &[3], 3), Step::End(ListEnd::Counted));
    }

    #[test]
    fn counted_pages_may_be_requested_ahead() {
        let start = at("");
        let page = Pagination::Page { parameter: "page".into(), first: 1, total: Total::default() };
        let mut pager = Pager::new(&start, &page, 500, Some(2));
        let signals = total(6);
        let facts = |records: u64| PageFacts { signals: &signals, records, distinct: records, first_came_before: true, url: &start };
        pager.after(&facts(2));
        assert_eq!(pager.predicted(&facts(2)).collect::<Vec<_>>(), [at("?page=2"), at("?page=3")]);
        let offset = Pagination::Offset { parameter: "skip".into(), total: Total::default(), largest: None };
        let mut pager = Pager::new(&start, &offset, 500, Some(2));
        pager.after(&facts(3));
        assert_eq!(pager.predicted(&facts(3)).collect::<Vec<_>>(), [at("?skip=2"), at("?skip=4")]);
        let huge = total(u64::MAX);
        assert_eq!(
            pager.predicted(&PageFacts { signals: &huge, records: 3, distinct: 3, first_came_before: true, url: &start }).take(3).count(),
            3
        );
    }

    #[test]
    fn offset_pages_share_a_record_and_go_back_if_it_is_missing() {
        let start = at("");
        let offset = Pagination::Offset { parameter: "skip".into(), total: Total::default(), largest: None };
        let mut pager = Pager::new(&start, &offset, 500, Some(3));
        let none = Signals::default();
        assert_eq!(after_known(&mut pager, &none, &[1, 2, 3], 0), Step::Next(at("?skip=2")));
        assert_eq!(after_known(&mut pager, &none, &[3, 4, 5], 3), Step::Next(at("?skip=4")));
        // The first record went: 6 now stands where 5 stood.
        assert_eq!(after_known(&mut pager, &none, &[6, 7, 8], 5), Step::Back(at("?skip=1")));
        assert_eq!(after_known(&mut pager, &none, &[3, 4, 5], 5), Step::Next(at("?skip=3")));
        assert_eq!(after_known(&mut pager, &none, &[5], 5), Step::End(ListEnd::EmptyPage));
    }

    #[test]
    fn the_default_pagination_uses_the_offset_of_the_body() {
        let start = at("");
        let mut pager = Pager::new(&start, &Pagination::Auto, 500, None);
        let place = OffsetPlace { parameter: "offset".into(), size: Some(("limit".into(), 2)) };
        let signals = Signals { offset: Some(place), ..total(3) };
        assert_eq!(after(&mut pager, &signals, &[1, 2], 2), Step::Next(at("?offset=1&limit=2")));
        assert_eq!(after(&mut pager, &signals, &[2, 3], 3), Step::End(ListEnd::Counted));
    }

    #[test]
    fn a_count_of_one_page_does_not_end_a_list() {
        let start = at("");
        let mut pager = Pager::new(&start, &Pagination::Auto, 500, None);
        assert!(matches!(after(&mut pager, &total(2), &[1, 2], 2), Step::Next(_)) && pager.may_be_past_the_end());
        assert!(matches!(after(&mut pager, &total(2), &[3, 4], 4), Step::Next(_)));
        assert_eq!(after(&mut pager, &total(2), &[], 4), Step::End(ListEnd::EmptyPage));
    }

    #[test]
    fn a_profile_that_names_the_wrong_place_proves_nothing() {
        let start = at("");
        let cursor = Pagination::Cursor { path: "c".parse().unwrap(), parameter: "c".into(), more: None };
        let end = |signals: Signals| after(&mut Pager::new(&start, &cursor, 500, None), &signals, &[1], 1);
        assert_eq!(end(Signals::default()), Step::End(ListEnd::Unstated));
        assert_eq!(end(Signals { has_place: true, ..Signals::default() }), Step::End(ListEnd::Stated));
        assert!(matches!(end(Signals { other_next: true, ..Signals::default() }), Step::Lost(_)));
        assert_eq!(end(Signals { other_next: true, more: Some(false), ..Signals::default() }), Step::End(ListEnd::Stated));
    }

    #[test]
    fn a_page_is_certain_only_if_it_follows_whatever_the_records_turn_out_to_be() {
        let start = at("");
        let page = || Pagination::Page { parameter: "page".into(), first: 1, total: Total::default() };
        let offset = || Pagination::Offset { parameter: "skip".into(), total: Total::default(), largest: None };
        let cursor = || Pagination::Cursor { path: "c".parse().unwrap(), parameter: "c".into(), more: None };
        let by_id = || Pagination::LastId { id: "id".parse().unwrap(), parameter: "since".into(), more: None };
        let paginations = [Pagination::Auto, Pagination::Single, Pagination::Link, page(), offset(), cursor(), by_id()];
        let next = || Some(NextPage::Cursor("x".into()));
        let place = || Some(OffsetPlace { parameter: "offset".into(), size: Some(("limit".into(), 3)) });
        let mut all_signals = vec![Signals::default(), Signals { says_end: true, ..Signals::default() }];
        all_signals.extend((0..12).flat_map(|count| {
            let pages = Signals { total_pages: Some(count), ..Signals::default() };
            [total(count), pages, Signals { offset: place(), ..total(count) }, Signals { next: next(), ..total(count) }]
        }));
        all_signals.extend([true, false].map(|more| Signals { more: Some(more), last_id: Some("7".into()), ..Signals::default() }));
        all_signals.push(Signals { next: next(), ..Signals::default() });
        let mut certain = 0;
        for (pagination, signals) in paginations.iter().flat_map(|pagination| all_signals.iter().map(move |signals| (pagination, signals)))
        {
            let mut pager = Pager::new(&start, pagination, 500, None);
            let mut before = 0;
            // Pages of three records, some of which may have come before; the last has none.
            for records in [3, 3, 3, 0] {
                for first_came_before in [true, false] {
                    let facts = |distinct| PageFacts { signals, records, distinct, first_came_before, url: &start };
                    let Some(next) = pager.certain_next(&facts(before + records)) else { continue };
                    certain += 1;
                    for distinct in before..=before + records {
                        assert_eq!(
                            pager.clone().after(&facts(distinct)),
                            Step::Next(next.clone()),
                            "{pagination:?} {signals:?} {distinct}"
                        );
                    }
                }
                before += records;
                pager.after(&PageFacts { signals, records, distinct: before, first_came_before: true, url: &start });
            }
        }
        assert!(certain > 100, "{certain}");
        let one = |pagination: &Pagination, signals: &Signals, first_came_before| {
            let facts = PageFacts { signals, records: 3, distinct: 3, first_came_before, url: &start };
            Pager::new(&start, pagination, 500, None).certain_next(&facts)
        };
        let none = Signals::default();
        assert_eq!(one(&page(), &none, false), Some(at("?page=2")), "a list without a count ends with an empty page");
        assert_eq!(one(&page(), &total(4), false), Some(at("?page=2")));
        assert_eq!(one(&page(), &total(3), false), None, "these may be all");
        assert_eq!(one(&page(), &Signals { total_pages: Some(1), ..Signals::default() }, false), None);
        assert_eq!(one(&offset(), &none, false), Some(at("?skip=2")));
        let by_offset = offset();
        let mut pager = Pager::new(&start, &by_offset, 500, None);
        pager.after(&PageFacts { signals: &none, records: 3, distinct: 3, first_came_before: false, url: &start });
        let moved = PageFacts { signals: &none, records: 3, distinct: 6, first_came_before: false, url: &start };
        assert_eq!(pager.certain_next(&moved), None, "records disappeared: the reader goes back");
    }

    #[test]
    fn a_total_that_the_same_response_contradicts_ends_no_list() {
        let start = at("");
        let page = || Pagination::Page { parameter: "page".into(), first: 1, total: Total::default() };
        let offset = || Pagination::Offset { parameter: "skip".into(), total: Total::default(), largest: None };
        let pages = || Signals { total_pages: Some(4), ..total(2) };
        let next = || Signals { other_next: true, ..total(2) };
        let more = || Signals { more: Some(true), ..total(2) };
        for signals in [pages(), next(), more(), total(1), total(0)] {
            for pagination in [page(), offset()] {
                let step = after(&mut Pager::new(&start, &pagination, 500, None), &signals, &[1, 2], 2);
                assert!(matches!(step, Step::Next(_)), "{pagination:?} {signals:?}: {step:?}");
            }
        }
        // By default a total is believed on page 2, unless there are more pages.
        let mut pager = Pager::new(&start, &Pagination::Auto, 500, None);
        let signals = Signals { total_pages: Some(4), ..total(4) };
        assert!(matches!(after(&mut pager, &signals, &[1, 2], 2), Step::Next(_)));
        assert!(matches!(after(&mut pager, &signals, &[3, 4], 4), Step::Next(_)) && !pager.may_be_past_the_end());
        // A number of pages that is that of smaller pages.
        let by_page = page();
        let mut pager = Pager::new(&start, &by_page, 500, None);
        assert!(matches!(after(&mut pager, &pages(), &[1, 2], 2), Step::Next(_)));
        assert_eq!(after(&mut pager, &pages(), &[], 2), Step::End(ListEnd::EmptyPage));
    }

    #[test]
    fn a_list_is_by_position_if_numbers_or_offsets_lead_through_it() {
        let start = at("?page=1");
        let url = |target: &str| Signals { next: Some(NextPage::Url(target.into())), ..Signals::default() };
        let cursor = |cursor: &str| Signals { next: Some(NextPage::Cursor(cursor.into())), ..Signals::default() };
        let by = |parameter: &str| Pagination::Cursor { path: "c".parse().unwrap(), parameter: parameter.into(), more: None };
        let next_url = || Pagination::NextUrl { path: "n".parse().unwrap() };
        for (pagination, signals, is_by_position) in [
            (Pagination::Auto, Signals::default(), true),
            (Pagination::Auto, Signals { next: Some(NextPage::Number(2)), ..Signals::default() }, true),
            (Pagination::Auto, url("/o?page=2"), true),
            (Pagination::Auto, url("/o?cursor=abc"), false),
            (Pagination::Auto, cursor("2"), false),
            (Pagination::Link, url("/o?offset=2"), true),
            (Pagination::Link, url("/o?page_info=x"), false),
            (next_url(), url("/o?page=2"), true),
            (by("cursor"), cursor("2"), false),
            (by("page"), cursor("2"), true),
            (by("page"), cursor("x2"), false),
        ] {
            let mut pager = Pager::new(&start, &pagination, 500, None);
            assert!(!pager.is_by_position());
            assert!(matches!(after(&mut pager, &signals, &[1, 2], 2), Step::Next(_)));
            assert_eq!(pager.is_by_position(), is_by_position, "{pagination:?} {signals:?}");
        }
    }

    #[test]
    fn page_zero_is_looked_for_unless_the_list_shows_that_it_begins_with_page_one() {
        let start = at("?page=7&x=1");
        let looks = |pages: &[Signals], end: ListEnd, records: u64| {
            let mut pager = Pager::new(&start, &Pagination::Auto, 500, None);
            let mut last = None;
            for signals in pages {
                let facts = PageFacts { signals, records, distinct: records, first_came_before: false, url: &start };
                pager.after(&facts);
                last = Some(pager.may_have_page_zero(end, &facts));
            }
            last.unwrap()
        };
        let url = |target: &str| Signals { next: Some(NextPage::Url(target.into())), ..Signals::default() };
        let none = Signals::default;
        let ends = || Signals { says_end: true, ..Signals::default() };
        let first = || Signals { says_first: true, ..url("?page=2") };
        assert!(looks(&[url("?page=2"), ends()], ListEnd::Stated, 2) && looks(&[url("?page=2"), none()], ListEnd::Unstated, 2));
        assert!(!looks(&[url("?at=2"), ends()], ListEnd::Stated, 2) && !looks(&[first(), ends()], ListEnd::Stated, 2));
        assert!(looks(&[ends()], ListEnd::Stated, 2) && !looks(&[Signals { ends_cursor: true, ..ends() }], ListEnd::Stated, 2));
        assert!(looks(&[none(), none(), none()], ListEnd::EmptyPage, 2) && !looks(&[none(), none()], ListEnd::EmptyPage, 2));
        assert!(looks(&[none(), total(5)], ListEnd::EmptyPage, 2) && !looks(&[none(), none(), none()], ListEnd::Counted, 2));
        assert!(looks(&[Signals { says_first: true, ..none() }], ListEnd::EmptyPage, 0), "page 1 holds nothing");
        let pager = Pager::new(&start, &Pagination::Auto, 500, None);
        assert_eq!(pager.first_without_number(), at("?x=1&per_page=500"));
        let of = |previous: Option<&str>, has_previous| {
            let signals = Signals { previous: previous.map(str::to_owned), has_previous, ..Signals::default() };
            pager.page_zero_of(&PageFacts { signals: &signals, records: 2, distinct: 2, first_came_before: false, url: &start })
        };
        assert_eq!(of(Some("?page=0"), true), Some(PageZero::Named(at("?page=0"))));
        assert_eq!((of(None, true), of(None, false)), (Some(PageZero::Announced), None));
        let page = Pagination::Page { parameter: "p".into(), first: 1, total: Total::default() };
        let by_page = Pager::new(&start, &page, 500, None);
        for (previous, place) in [("?p=0", Some(PageZero::Named(at("?p=0")))), ("?p=1", None), ("?x=0", None)] {
            let signals = Signals { previous: Some(previous.into()), has_previous: true, ..Signals::default() };
            let facts = PageFacts { signals: &signals, records: 2, distinct: 2, first_came_before: false, url: &start };
            assert_eq!(by_page.page_zero_of(&facts), place, "{previous}");
        }
    }

    #[test]
    fn an_empty_page_before_the_announced_end_does_not_end_the_list() {
        let start = at("");
        let page = Pagination::Page { parameter: "page".into(), first: 1, total: Total::default() };
        let pages = Signals { total_pages: Some(3), ..Signals::default() };
        assert!(matches!(after(&mut Pager::new(&start, &page, 500, None), &pages, &[], 0), Step::Lost(_)));
    }

    #[test]
    fn an_unknown_next_page_is_an_error() {
        let start = at("");
        let lost = |pagination: &Pagination, signals: &Signals, ids: &[u64]| {
            matches!(after(&mut Pager::new(&start, pagination, 500, None), signals, ids, ids.len() as u64), Step::Lost(_))
        };
        let more = Signals { more: Some(true), ..Signals::default() };
        let cursor = Pagination::Cursor { path: "c".parse().unwrap(), parameter: "c".into(), more: None };
        assert!(lost(&cursor, &more, &[1]) && lost(&Pagination::Link, &more, &[1]) && lost(&Pagination::Single, &more, &[1]));
        assert!(lost(&Pagination::Auto, &more, &[]), "no records, but more");
        let to = |next| Signals { next: Some(next), ..Signals::default() };
        assert!(lost(&Pagination::Link, &to(NextPage::Url("ftp://h/x".into())), &[1]));
        assert!(lost(&Pagination::Auto, &to(NextPage::Unusable("next".into())), &[1]));
        assert!(lost(&cursor, &to(NextPage::Cursor(OVERSIZED.into())), &[1]));
    }
}
