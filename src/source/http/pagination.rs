//! Which page comes next: what a response says of it, by the profile's pagination.

use reqwest::Url;

use crate::{
    settings::Pagination,
    source::envelope::{Next, Signals},
};

/// The most pages that a total may announce: beyond that it is no total.
const MOST_PAGES: u64 = 10_000_000;

/// What follows a page.
#[derive(PartialEq, Debug)]
pub(super) enum Step {
    /// The page at this URL.
    Next(Url),
    /// All of these, and then none.
    Known(Vec<Url>),
    /// Nothing.
    End,
    /// What the response says of it can't be followed.
    Lost(String),
}

/// Walks a list from page to page.
pub(super) struct Pager<'a> {
    start: &'a Url,
    pagination: &'a Pagination,
    per_page: u32,
    /// The number of the page at hand, or the records before it.
    at: u64,
    /// Whether the default pagination still takes the list for one of numbered pages.
    numbered: bool,
}

impl<'a> Pager<'a> {
    pub(super) fn new(start: &'a Url, pagination: &'a Pagination, per_page: u32, page_size: Option<u32>) -> Pager<'a> {
        let at = match pagination {
            Pagination::Auto => 1,
            Pagination::Page { first, .. } => *first,
            _ => 0,
        };
        let numbered = matches!(pagination, Pagination::Auto | Pagination::Page { .. } | Pagination::Offset { .. });
        Pager { start, pagination, per_page: page_size.unwrap_or(per_page), at, numbered }
    }

    /// Whether the pages are told apart by a number alone: two that are equal then mean that it is not looked at.
    pub(super) fn is_numbered(&self) -> bool {
        self.numbered
    }

    /// The first page.
    pub(super) fn first(&self) -> Url {
        match self.pagination {
            Pagination::Auto => self.numbered_url("page", self.at),
            Pagination::Page { parameter, .. } | Pagination::Offset { parameter, .. } => self.with(&[(parameter, &self.at.to_string())]),
            _ => self.start.clone(),
        }
    }

    /// What follows a page that held so many records.
    pub(super) fn after(&mut self, signals: &Signals, records: usize, url: &Url) -> Step {
        match self.pagination {
            Pagination::Auto => self.after_any(signals, records, url),
            Pagination::Single => Step::End,
            Pagination::Link => follow(&signals.link, url),
            Pagination::NextUrl { .. } => follow(&signals.next_url, url),
            Pagination::Cursor { parameter, .. } => match (&signals.next_cursor, signals.more) {
                (_, Some(false)) => Step::End,
                (Next::At(cursor), _) => Step::Next(self.with(&[(parameter, cursor)])),
                (_, Some(true)) => Step::Lost("there is more, it says, and names no cursor".into()),
                (_, None) => Step::End,
            },
            Pagination::LastId { parameter, .. } => match (&signals.last_id, signals.more) {
                (_, Some(false)) => Step::End,
                (None, _) if records == 0 => Step::End,
                (Some(id), _) => Step::Next(self.with(&[(parameter, id)])),
                (None, _) => Step::Lost("its last record has no id to go on from".into()),
            },
            Pagination::Page { parameter, first, .. } => self.after_page(signals, records, parameter, *first),
            Pagination::Offset { parameter, .. } => self.after_offset(signals, records, parameter),
        }
    }

    /// Contract, Orders: "Pagination by default". A response that says "there is no next page" ends the list; only one that
    /// does not speak of it at all is taken for a numbered list.
    fn after_any(&mut self, signals: &Signals, records: usize, url: &Url) -> Step {
        for next in [&signals.link, &signals.next_url] {
            if *next != Next::Absent {
                self.numbered = false;
                return follow(next, url);
            }
        }
        match &signals.next_cursor {
            Next::At(cursor) => {
                self.numbered = false;
                return Step::Next(self.with_own_size(&[("cursor", cursor)]));
            }
            Next::End => return Step::End,
            Next::Absent => {}
        }
        if !self.numbered || records == 0 {
            return Step::End;
        }
        self.at += 1;
        Step::Next(self.numbered_url("page", self.at))
    }

    fn after_page(&mut self, signals: &Signals, records: usize, parameter: &str, first: u64) -> Step {
        // What the server sent is its page size, not what it was asked for: it may have a cap.
        let size = records as u64;
        let pages = signals.total_pages.or_else(|| signals.total_records.and_then(|total| (size > 0).then(|| total.div_ceil(size))));
        if let Some(pages) = pages.filter(|pages| *pages <= MOST_PAGES) {
            let rest = self.at + 1..(first + pages).max(self.at + 1);
            return Step::Known(rest.map(|number| self.with(&[(parameter, &number.to_string())])).collect());
        }
        // A short page is not the end: servers cap page sizes.
        if records == 0 {
            return Step::End;
        }
        self.at += 1;
        Step::Next(self.with(&[(parameter, &self.at.to_string())]))
    }

    fn after_offset(&mut self, signals: &Signals, records: usize, parameter: &str) -> Step {
        if records == 0 {
            return Step::End;
        }
        // What the server sent counts, not what it was asked for: it may send less.
        let step = records as u64;
        self.at += step;
        if let Some(total) = signals.total_records.filter(|total| total / step <= MOST_PAGES) {
            let rest = std::iter::successors(Some(self.at), |at| Some(at + step)).take_while(|at| *at < total);
            return Step::Known(rest.map(|at| self.with(&[(parameter, &at.to_string())])).collect());
        }
        Step::Next(self.with(&[(parameter, &self.at.to_string())]))
    }

    fn numbered_url(&self, parameter: &str, number: u64) -> Url {
        self.with_own_size(&[(parameter, &number.to_string())])
    }

    /// With `per_page`, unless the location's user has chosen one.
    fn with_own_size(&self, parameters: &[(&str, &str)]) -> Url {
        let url = self.with(parameters);
        if self.start.query_pairs().any(|(own, _)| own == "per_page") {
            return url;
        }
        let mut url = url;
        url.query_pairs_mut().append_pair("per_page", &self.per_page.to_string());
        url
    }

    /// The location with some parameters set; those that it had under the same names give way.
    fn with(&self, parameters: &[(&str, &str)]) -> Url {
        let mut url = self.start.clone();
        let kept: Vec<_> = self.start.query_pairs().filter(|(name, _)| parameters.iter().all(|(set, _)| set != name)).collect();
        url.query_pairs_mut().clear().extend_pairs(kept).extend_pairs(parameters);
        url
    }
}

fn follow(next: &Next, url: &Url) -> Step {
    match next {
        Next::At(next) => match url.join(next) {
            Ok(next) if matches!(next.scheme(), "http" | "https") => Step::Next(next),
            _ => Step::Lost(format!("`{next}` is no URL to go on to")),
        },
        Next::End | Next::Absent => Step::End,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Total;

    fn at(path: &str) -> Url {
        format!("http://h/o{path}").parse().unwrap()
    }

    #[test]
    fn a_total_makes_all_pages_known() {
        let start = at("?limit=2&page=9");
        let page = Pagination::Page { parameter: "page".into(), first: 1, total: Total::default() };
        let mut pager = Pager::new(&start, &page, 500, Some(2));
        assert_eq!(pager.first(), at("?limit=2&page=1"));
        let known = |pager: &mut Pager<'_>, signals: Signals, records| match pager.after(&signals, records, &start) {
            Step::Known(urls) => urls.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(known(&mut pager, Signals { total_pages: Some(3), ..Signals::default() }, 2), 2);
        assert_eq!(known(&mut pager, Signals { total_records: Some(5), ..Signals::default() }, 2), 2);
        assert_eq!(known(&mut pager, Signals { total_pages: Some(0), ..Signals::default() }, 0), 0);
        let offset = Pagination::Offset { parameter: "skip".into(), total: Total::default() };
        let mut pager = Pager::new(&start, &offset, 500, Some(2));
        assert_eq!(known(&mut pager, Signals { total_records: Some(7), ..Signals::default() }, 3), 2);
        assert_eq!(pager.after(&Signals::default(), 0, &start), Step::End);
    }

    #[test]
    fn what_cannot_be_followed_is_said() {
        let start = at("");
        let cursor = Pagination::Cursor { path: "c".parse().unwrap(), parameter: "c".into(), more: None };
        let mut pager = Pager::new(&start, &cursor, 500, None);
        assert!(matches!(pager.after(&Signals { more: Some(true), ..Signals::default() }, 1, &start), Step::Lost(_)));
        let mut pager = Pager::new(&start, &Pagination::Link, 500, None);
        let link = Next::At("ftp://h/x".into());
        assert!(matches!(pager.after(&Signals { link, ..Signals::default() }, 1, &start), Step::Lost(_)));
    }
}
