//! The signals of a response about its list: the next page, the totals, and whether there are more pages.
//!
//! Reads them once for each response, from its envelope and headers. `http::pagination` decides what follows.

use reqwest::header::HeaderMap;

use super::{Node, cut::is_cut, reported_error::plain};
use crate::{model::FieldPath, settings::Pagination};

/// Keys of objects in the envelope that describe pages. Compared without case and punctuation.
const PAGE_OBJECTS: [&str; 14] = [
    "meta",
    "metadata",
    "info",
    "pagination",
    "paging",
    "pager",
    "page",
    "pageinfo",
    "paginginfo",
    "links",
    "link",
    "cursors",
    "responsemetadata",
    "cursor",
];

/// Those of them that may be lists of links.
const LINK_LISTS: [&str; 2] = ["links", "link"];

/// The maximum depth of nested objects that are searched.
const DEPTH: usize = 3;

const URL_KEYS: [&str; 10] =
    ["next", "nexturl", "nextlink", "nextpageurl", "nexthref", "nextpagelink", "nexturi", "odatanextlink", "nextrecordsurl", "afterurl"];
const CURSOR_KEYS: [&str; 9] =
    ["nextcursor", "nextpagetoken", "nexttoken", "nextpagecursor", "cursornext", "continuationtoken", "nextkey", "cursor", "aftercursor"];
/// Keys of the URL or number in an object that describes the next page.
const NEXT_TARGETS: [&str; 6] = ["href", "url", "link", "uri", "page", "number"];
const PAGE_KEYS: [&str; 3] = ["nextpage", "nextpagenumber", "nextpageno"];
const MORE_KEYS: [&str; 12] = [
    "hasmore",
    "hasnext",
    "hasnextpage",
    "hasmoreitems",
    "hasmoreresults",
    "hasmorepages",
    "moreresults",
    "more",
    "morerecords",
    "moreitems",
    "istruncated",
    "truncated",
];
/// Keys of a boolean that says whether this page is the last.
const LAST_KEYS: [&str; 5] = ["last", "islast", "islastpage", "lastpage", "endofstream"];
/// Keys of a boolean that says whether this page is the first.
const FIRST_KEYS: [&str; 3] = ["first", "isfirst", "isfirstpage"];
/// Keys of a boolean, URL or number that says whether there is a page before this one.
const PREVIOUS_KEYS: [&str; 9] =
    ["prev", "previous", "prevurl", "previousurl", "prevpageurl", "prevpage", "previouspage", "hasprevious", "hasprev"];
/// Keys of the number of this page.
const NUMBER_KEYS: [&str; 4] = ["page", "currentpage", "pagenumber", "pageno"];
const TOTAL_KEYS: [&str; 13] = [
    "total",
    "totalcount",
    "totalitems",
    "totalrecords",
    "totalresults",
    "totalelements",
    "totalsize",
    "totalorders",
    "totalhits",
    "totalentries",
    "totalrows",
    "recordstotal",
    "odatacount",
];
const PAGES_KEYS: [&str; 5] = ["totalpages", "pages", "pagecount", "lastpage", "pagestotal"];
const OFFSET_KEYS: [&str; 3] = ["offset", "skip", "start"];
const SIZE_KEYS: [&str; 4] = ["limit", "take", "top", "size"];

const TOTAL_HEADERS: [&str; 8] = [
    "x-wp-total",
    "x-total-count",
    "x-total",
    "total-count",
    "x-total-results",
    "x-pagination-total-count",
    "x-pagination-total",
    "x-total-records",
];
const PAGES_HEADERS: [&str; 4] = ["x-wp-totalpages", "x-total-pages", "x-pagination-page-count", "x-page-count"];

/// The next page that a response names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::source) enum NextPage {
    /// Its URL, which may be relative.
    Url(String),
    /// A cursor to send back.
    Cursor(String),
    /// Its number.
    Number(u64),
    /// Any other value, under this key.
    Unusable(String),
}

/// The parameters of an offset list, taken from the body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::source) struct OffsetPlace {
    /// The parameter of the offset, named as in the body.
    pub(in crate::source) parameter: String,
    /// The parameter of the page size, named as in the body, and its value.
    pub(in crate::source) size: Option<(String, u64)>,
}

/// The signals of a response about its list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::source) struct Signals {
    /// The next page. A signal that names one wins over one that says there is none.
    pub(in crate::source) next: Option<NextPage>,
    /// Whether any signal says that there is no next page.
    pub(in crate::source) says_end: bool,
    /// Whether a cursor says so. Such a list has no page numbers.
    pub(in crate::source) ends_cursor: bool,
    /// Whether there are more pages; `None` if the response does not say.
    pub(in crate::source) more: Option<bool>,
    /// The id of the last record, if the pagination of the profile continues from it.
    pub(in crate::source) last_id: Option<String>,
    /// The number of records of the list.
    pub(in crate::source) total_records: Option<u64>,
    /// The number of pages of the list.
    pub(in crate::source) total_pages: Option<u64>,
    /// The offset parameters, if the body has an offset.
    pub(in crate::source) offset: Option<OffsetPlace>,
    /// Whether the response names a page before this one.
    pub(in crate::source) has_previous: bool,
    /// The URL of the page before this one, which may be relative, if the response names it.
    pub(in crate::source) previous: Option<String>,
    /// Whether the response says that no page comes before page 1: it has a place for the page before and names none
    /// there, or it names page 1 as the first.
    pub(in crate::source) says_first: bool,
    /// Whether the response has a value, of any kind, at the place of the next page in the profile.
    pub(in crate::source) has_place: bool,
    /// Whether the response names a next page in a place that the pagination of the profile does not use. For
    /// numbered pages and offsets, that is any place.
    pub(in crate::source) other_next: bool,
    /// What was too large to keep and may have named a next page, where nothing else names one.
    pub(in crate::source) cut: Option<String>,
}

/// The parts of a response that signals are read from.
pub(in crate::source) struct SignalSource<'r> {
    pub(in crate::source) root: &'r Node,
    pub(in crate::source) headers: &'r HeaderMap,
    /// The parsed `Link` headers.
    pub(in crate::source) link: LinkHeader,
    /// The URL of the page before this one, in a `Link` header.
    pub(in crate::source) previous_link: Option<String>,
    /// Whether a `Link` header names page 1 as the first.
    pub(in crate::source) begins_with_one: bool,
    /// The path of the records. Objects on this path may have signals too.
    pub(in crate::source) records: Option<&'r FieldPath>,
    /// The number of records of the page.
    pub(in crate::source) record_count: u64,
    pub(in crate::source) last_record: Option<&'r [u8]>,
    /// Whether the totals of the response are used.
    pub(in crate::source) trusts_counts: bool,
}

/// What the `Link` headers say about the next page.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::source) enum LinkHeader {
    /// There are no links to pages.
    #[default]
    Absent,
    /// There are links to pages, but none to the next page.
    End,
    /// There are links to pages, but none to the next page. The last page is later than this one.
    More,
    /// The URL of the next page.
    Next(String),
    /// A header mentions a next page, but can't be parsed.
    Damaged(String),
}

impl Signals {
    /// Reads the signals of a response for a kind of pagination. Reads totals from all known places, unless the profile says
    /// that they mean something else.
    pub(in crate::source) fn read(source: &SignalSource<'_>, pagination: &Pagination) -> Signals {
        let mut signals = Signals {
            has_previous: source.previous_link.is_some(),
            previous: source.previous_link.clone(),
            says_first: source.begins_with_one,
            ..Signals::default()
        };
        if source.trusts_counts {
            signals.take_count_headers(source.headers);
        }
        signals.take_objects(source);
        if !matches!(pagination, Pagination::Auto | Pagination::Single) {
            signals.other_next = match pagination {
                Pagination::Page { .. } | Pagination::Offset { .. } => signals.names_next_anywhere(source),
                _ => matches!(signals.next, Some(NextPage::Url(_) | NextPage::Cursor(_))),
            };
            (signals.next, signals.says_end, signals.cut) = (None, false, None);
            signals.take_profile(source, pagination);
            return signals;
        }
        match &source.link {
            LinkHeader::Next(target) => signals.next = Some(NextPage::Url(target.clone())),
            LinkHeader::Damaged(_) if signals.next.is_none() => signals.next = Some(NextPage::Unusable("the Link header".into())),
            LinkHeader::End => signals.says_end = true,
            LinkHeader::More => signals.more = Some(true),
            LinkHeader::Damaged(_) | LinkHeader::Absent => {}
        }
        if let Some(next) = header(source.headers, "x-next-page") {
            match next.trim().parse() {
                Ok(number) if signals.next.is_none() => signals.next = Some(NextPage::Number(number)),
                Ok(_) => {}
                Err(_) => signals.says_end = true,
            }
        }
        if signals.next.is_some() || *pagination == Pagination::Single {
            signals.cut = None;
        }
        signals
    }

    /// Whether the body or a header names a usable next page, in any way.
    fn names_next_anywhere(&self, source: &SignalSource<'_>) -> bool {
        let in_body = matches!(self.next, Some(NextPage::Url(_) | NextPage::Cursor(_) | NextPage::Number(_)));
        let in_link = matches!(source.link, LinkHeader::Next(_) | LinkHeader::More);
        in_body || in_link || header(source.headers, "x-next-page").is_some_and(|next| next.trim().parse::<u64>().is_ok())
    }

    fn take_count_headers(&mut self, headers: &HeaderMap) {
        let number = |name: &&str| header(headers, name).and_then(|value| value.trim().parse().ok());
        self.total_records = TOTAL_HEADERS.iter().find_map(number);
        self.total_pages = PAGES_HEADERS.iter().find_map(number);
        if self.total_records.is_none() {
            // `orders 0-24/319` (RFC 9110, 14.4).
            self.total_records = header(headers, "content-range").and_then(|range| range.rsplit_once('/')?.1.trim().parse().ok());
        }
        if let Some(Ok(node)) = header(headers, "x-pagination").map(Node::parse) {
            self.take_object(&node, 0, DEPTH);
        }
    }

    /// Reads the envelope, the objects on the path of the records, and the objects in them that describe pages.
    fn take_objects(&mut self, source: &SignalSource<'_>) {
        let counts = (self.total_records, self.total_pages);
        let mut node = source.root;
        self.take_object(node, source.record_count, 0);
        for step in source.records.map(FieldPath::steps).unwrap_or_default() {
            let Some(inner) = node.get(step) else { break };
            node = inner;
            self.take_object(node, source.record_count, 0);
        }
        // Headers win: they count records, but `total` in a body may be something else.
        self.total_records = counts.0.or(self.total_records.filter(|_| source.trusts_counts));
        self.total_pages = counts.1.or(self.total_pages.filter(|_| source.trusts_counts));
    }

    fn take_object(&mut self, object: &Node, record_count: u64, depth: usize) {
        let has_number = object.pairs().iter().any(|(key, value)| NUMBER_KEYS.contains(&plain(key).as_str()) && value.count().is_some());
        let has_offset = object.pairs().iter().any(|(key, value)| OFFSET_KEYS.contains(&plain(key).as_str()) && value.count().is_some());
        for (key, value) in object.pairs() {
            let name = plain(key);
            let name = name.as_str();
            if URL_KEYS.contains(&name) || PAGE_KEYS.contains(&name) {
                self.take_next(key, value);
            } else if CURSOR_KEYS.contains(&name) {
                self.take_cursor(key, value);
            } else if MORE_KEYS.contains(&name) {
                self.take_more(value);
            } else if TOTAL_KEYS.contains(&name) {
                self.total_records = self.total_records.or(value.count());
            } else if name == "count" {
                // It may count this page only, unless it is larger or there is an offset beside it.
                let total = value.count().filter(|count| has_offset || *count > record_count);
                self.total_records = self.total_records.or(total);
            } else if PAGES_KEYS.contains(&name) && value.count().is_some() {
                self.total_pages = self.total_pages.or(value.count());
            } else if LAST_KEYS.contains(&name) && matches!(value, Node::Bool(_)) {
                self.take_more(&Node::Bool(*value == Node::Bool(false)));
            } else if name == "nextoffset" {
                self.take_next_offset(key, value);
            } else if FIRST_KEYS.contains(&name) && matches!(value, Node::Bool(_)) {
                self.take_previous(key, &Node::Bool(*value == Node::Bool(false)));
            } else if PREVIOUS_KEYS.contains(&name) {
                self.take_previous(key, value);
            } else if OFFSET_KEYS.contains(&name) && value.count().is_some() && self.offset.is_none() && !has_number {
                // If the body has a page number too, the list is read by page number.
                self.offset = Some(OffsetPlace { parameter: key.clone(), size: page_size(object) });
            }
            if depth < DEPTH && PAGE_OBJECTS.contains(&name) {
                let may_have_next = matches!(value, Node::Object(_)) || LINK_LISTS.contains(&name);
                self.cut = self.cut.take().or_else(|| (may_have_next && is_cut(value)).then(|| key.clone()));
                self.take_object(value, record_count, depth + 1);
                self.take_link_list(value);
            }
        }
    }

    /// `"links":[{"rel":"next","href":"…"}]`.
    fn take_link_list(&mut self, list: &Node) {
        let Node::Array(links) = list else { return };
        let is_next = |link: &&Node| link.get("rel").and_then(Node::text).is_some_and(|rel| rel.eq_ignore_ascii_case("next"));
        match links.iter().find(is_next) {
            Some(link) => self.take_next("links", link),
            None if links.iter().any(|link| link.get("rel").and_then(Node::text).is_some_and(is_page_relation)) => self.says_end = true,
            None => {}
        }
    }

    fn take_next(&mut self, key: &str, value: &Node) {
        match value {
            Node::Null | Node::Bool(false) => self.says_end = true,
            Node::Bool(true) => self.more = Some(true),
            Node::Text(text) | Node::Number(text) if text.trim().is_empty() || is_end_cursor(text.trim()) => self.says_end = true,
            Node::Text(_) | Node::Number(_) => self.offer_next(next_page(key, value)),
            Node::Object(pairs) if pairs.is_empty() => self.says_end = true,
            Node::Object(_) => match NEXT_TARGETS.iter().find_map(|name| value.get(name)) {
                Some(target) => self.take_next(key, target),
                None => self.offer_next(NextPage::Unusable(key.to_owned())),
            },
            Node::Array(elements) => match elements.as_slice() {
                [] => self.says_end = true,
                [link @ Node::Object(_)] => self.take_next(key, link),
                _ => self.offer_next(NextPage::Unusable(key.to_owned())),
            },
        }
    }

    /// Takes a next page, unless a better one is known: a URL or a number wins over a cursor, and both win over an
    /// unusable value.
    fn offer_next(&mut self, next: NextPage) {
        let rank = |next: &NextPage| match next {
            NextPage::Unusable(_) => 0,
            NextPage::Cursor(_) => 1,
            NextPage::Url(_) | NextPage::Number(_) => 2,
        };
        if self.next.as_ref().is_none_or(|known| rank(known) < rank(&next)) {
            self.next = Some(next);
        }
    }

    fn take_previous(&mut self, key: &str, value: &Node) {
        match value {
            Node::Null | Node::Bool(false) => self.says_first = true,
            Node::Bool(true) => self.has_previous = true,
            Node::Text(text) | Node::Number(text) => match text.trim() {
                "" | "-1" => self.says_first = true,
                // No page, or page 0.
                "0" => {}
                _ => {
                    self.has_previous = true;
                    if let NextPage::Url(target) = next_page(key, value) {
                        self.previous = self.previous.take().or(Some(target));
                    }
                }
            },
            Node::Object(pairs) if pairs.is_empty() => self.says_first = true,
            Node::Object(_) => {
                if let Some(target) = NEXT_TARGETS.iter().find_map(|name| value.get(name)) {
                    self.take_previous(key, target);
                }
            }
            Node::Array(_) => {}
        }
    }

    fn take_next_offset(&mut self, key: &str, value: &Node) {
        match value.count() {
            Some(offset) if offset > 0 => self.offer_next(NextPage::Unusable(key.to_owned())),
            Some(_) => {}
            None => self.says_end = true,
        }
    }

    fn take_cursor(&mut self, key: &str, value: &Node) {
        match value.text().filter(|cursor| !is_end_cursor(cursor)) {
            Some(cursor) => self.offer_next(NextPage::Cursor(cursor.to_owned())),
            // `cursor` alone may describe this page.
            None if plain(key) == "cursor" && matches!(value, Node::Object(_) | Node::Array(_) | Node::Bool(true)) => {}
            None if is_filled(value) => self.offer_next(NextPage::Unusable(key.to_owned())),
            None => (self.says_end, self.ends_cursor) = (true, true),
        }
    }

    fn take_more(&mut self, value: &Node) {
        let says = match value {
            Node::Bool(more) => Some(*more),
            Node::Text(text) => match plain(text).as_str() {
                "true" | "yes" | "1" => Some(true),
                "false" | "no" | "0" => Some(false),
                _ => None,
            },
            Node::Number(number) => Some(number != "0"),
            _ => None,
        };
        // A signal that there are more pages wins.
        if self.more != Some(true) {
            self.more = says.or(self.more);
        }
    }

    /// The next page in the `Link` headers, for a profile with that pagination.
    fn take_link(&mut self, link: &LinkHeader) {
        match link {
            LinkHeader::Next(target) => self.next = Some(NextPage::Url(target.clone())),
            LinkHeader::Damaged(_) => self.next = Some(NextPage::Unusable("the Link header".into())),
            LinkHeader::More => self.more = Some(true),
            LinkHeader::End | LinkHeader::Absent => {}
        }
    }

    /// The signals at the places that the profile names.
    fn take_profile(&mut self, source: &SignalSource<'_>, pagination: &Pagination) {
        let at = |path: &FieldPath| source.root.at(path);
        self.cut = paths_of(pagination).into_iter().find(|path| is_cut_within(source.root, path)).map(FieldPath::to_string);
        if let Pagination::Cursor { more: Some(path), .. } | Pagination::LastId { more: Some(path), .. } = pagination {
            self.more = None;
            if let Some(value) = at(path) {
                self.take_more(value);
            }
        }
        match pagination {
            Pagination::Auto | Pagination::Single => {}
            Pagination::Link => {
                self.has_place = source.link != LinkHeader::Absent;
                self.take_link(&source.link);
            }
            Pagination::NextUrl { path } => {
                self.has_place = at(path).is_some();
                match at(path) {
                    Some(container @ (Node::Object(_) | Node::Array(_))) => self.take_next(&path.to_string(), container),
                    Some(Node::Number(number)) if is_end_cursor(number) => {}
                    Some(Node::Bool(true) | Node::Number(_)) => self.next = Some(NextPage::Unusable(path.to_string())),
                    Some(value) => self.next = value.text().map(|text| NextPage::Url(text.to_owned())),
                    None => {}
                }
            }
            Pagination::Cursor { path, .. } => {
                self.has_place = at(path).is_some();
                self.next = at(path).and_then(|value| match value.text() {
                    Some(cursor) => Some(NextPage::Cursor(cursor.to_owned())),
                    None => is_filled(value).then(|| NextPage::Unusable(path.to_string())),
                });
            }
            Pagination::LastId { id, .. } => self.last_id = source.last_record.and_then(|record| id_of(record, id)),
            Pagination::Page { total, .. } | Pagination::Offset { total, .. } => {
                let number = |path: &Option<FieldPath>| path.as_ref().and_then(|path| at(path)?.count());
                let in_header = total.pages_header.as_deref().and_then(|name| header(source.headers, name)?.trim().parse().ok());
                self.total_pages = in_header.or_else(|| number(&total.pages)).or(self.total_pages);
                self.total_records = number(&total.records).or(self.total_records);
            }
        }
    }
}

/// The paths at which a profile finds signals.
fn paths_of(pagination: &Pagination) -> Vec<&FieldPath> {
    match pagination {
        Pagination::Auto | Pagination::Single | Pagination::Link => Vec::new(),
        Pagination::NextUrl { path } => vec![path],
        Pagination::Cursor { path, more, .. } => std::iter::once(path).chain(more).collect(),
        Pagination::LastId { more, .. } => more.iter().collect(),
        Pagination::Page { total, .. } | Pagination::Offset { total, .. } => total.records.iter().chain(&total.pages).collect(),
    }
}

/// Whether the value at a path, or something that it is in, was too large to keep. Texts that are too large are errors of their own.
fn is_cut_within(root: &Node, path: &FieldPath) -> bool {
    let steps = path.steps();
    let is_cut_container = |node: &Node| matches!(node, Node::Array(_) | Node::Object(_)) && is_cut(node);
    (1..=steps.len()).any(|count| root.within(&steps[..count]).is_some_and(is_cut_container))
}

/// Whether a cursor means that there is no next page: some APIs end with 0 or -1.
fn is_end_cursor(cursor: &str) -> bool {
    matches!(cursor, "0" | "-1")
}

/// Whether a link relation is one of the pages of a list.
pub(in crate::source) fn is_page_relation(relation: &str) -> bool {
    ["prev", "previous", "first", "last"].iter().any(|own| own.eq_ignore_ascii_case(relation))
}

/// Whether a value that is no text says something: `true`, or an object or a list that is not empty.
fn is_filled(value: &Node) -> bool {
    match value {
        Node::Bool(is_true) => *is_true,
        Node::Array(elements) => !elements.is_empty(),
        Node::Object(pairs) => !pairs.is_empty(),
        Node::Null | Node::Number(_) | Node::Text(_) => false,
    }
}

/// The id at a path of a record, as written in the record.
fn id_of(record: &[u8], path: &FieldPath) -> Option<String> {
    let record = Node::parse(&String::from_utf8_lossy(record)).ok()?;
    record.at(path).and_then(Node::text).map(str::to_owned)
}

/// The parameter of the page size and its value, in an object with an offset.
fn page_size(object: &Node) -> Option<(String, u64)> {
    object.pairs().iter().find_map(|(key, value)| {
        let size = value.count().filter(|size| *size > 0)?;
        SIZE_KEYS.contains(&plain(key).as_str()).then(|| (key.clone(), size))
    })
}

/// Classifies a text or a number that names the next page.
fn next_page(key: &str, value: &Node) -> NextPage {
    let Some(text) = value.text() else { return NextPage::Unusable(key.to_owned()) };
    if let Ok(number) = text.parse() {
        return NextPage::Number(number);
    }
    let is_url = text.contains("://") || text.contains(['/', '?', '&']) || text.contains(".json");
    if is_url && !text.contains('\0') { NextPage::Url(text.to_owned()) } else { NextPage::Unusable(key.to_owned()) }
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signals_of(body: &str, headers: &[(&'static str, &str)], records: u64, pagination: &Pagination) -> Signals {
        let root = Node::parse(body).unwrap();
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let source = SignalSource {
            root: &root,
            headers: &headers,
            link: LinkHeader::Absent,
            previous_link: None,
            begins_with_one: false,
            records: None,
            record_count: records,
            last_record: None,
            trusts_counts: true,
        };
        Signals::read(&source, pagination)
    }

    fn auto(body: &str) -> Signals {
        signals_of(body, &[], 2, &Pagination::Auto)
    }

    #[test]
    fn a_signal_with_a_next_page_wins_over_one_without() {
        let url = |text: &str| Some(NextPage::Url(text.to_owned()));
        let cursor = |text: &str| Some(NextPage::Cursor(text.to_owned()));
        for (body, next) in [
            (r#"{"next":null,"next_cursor":"abc"}"#, cursor("abc")),
            (r#"{"next":null,"links":{"next":"/p2"}}"#, url("/p2")),
            (r#"{"links":{"next":null},"next_page_token":"2"}"#, cursor("2")),
            (r#"{"next_cursor":"c","next":"/p2"}"#, url("/p2")),
            (r#"{"next_cursor":"abc","next":null}"#, cursor("abc")),
            (r#"{"next_offset":50}"#, Some(NextPage::Unusable("next_offset".into()))),
            (r#"{"next_cursor":0}"#, None),
            (r#"{"next_key":{"n":5}}"#, Some(NextPage::Unusable("next_key".into()))),
            (r#"{"next_token":[5]}"#, Some(NextPage::Unusable("next_token".into()))),
            (r#"{"next_token":true}"#, Some(NextPage::Unusable("next_token".into()))),
            (r#"{"next_token":{}}"#, None),
            (r#"{"cursor":{"offset":5}}"#, None),
            (r#"{"next":["/p2","/p3"]}"#, Some(NextPage::Unusable("next".into()))),
            (r#"{"_links":{"next":[{"href":"/p2"}]}}"#, url("/p2")),
            (r#"{"next":"opaque","next_cursor":"abc"}"#, cursor("abc")),
            (r#"{"links":{"next":"/p2"},"next":null,"next_cursor":""}"#, url("/p2")),
            (r#"{"_links":{"next":{"href":"?page=2"}}}"#, url("?page=2")),
            (r#"{"paging":{"next":"http://h/p"}}"#, url("http://h/p")),
            (r#"{"meta":{"next_cursor":12345678901234567890123}}"#, cursor("12345678901234567890123")),
            (r#"{"pagination":{"next_page":3}}"#, Some(NextPage::Number(3))),
            (r#"{"meta":{"pagination":{"links":{"next":"/p"}}}}"#, url("/p")),
            (r#"{"links":[{"rel":"self","href":"/p1"},{"rel":"next","href":"/p2"}]}"#, url("/p2")),
            (r#"{"@odata.nextLink":"http://h/x?$skip=2"}"#, url("http://h/x?$skip=2")),
            (r#"{"next":"eyJhIjoxfQ=="}"#, Some(NextPage::Unusable("next".into()))),
            (r#"{"paging":{"next":{"after":"525"}}}"#, Some(NextPage::Unusable("next".into()))),
            (r#"{"next":{"page":2,"limit":3}}"#, Some(NextPage::Number(2))),
            (r#"{"links":{"next":{"href":null}}}"#, None),
            (r#"{"nextRecordsUrl":"/query/01-2000"}"#, url("/query/01-2000")),
            (r#"{"next":null}"#, None),
            (r#"{"orders":[],"summary":{"next":"/p2"}}"#, None),
        ] {
            assert_eq!(auto(body).next, next, "{body}");
        }
        assert!(auto(r#"{"next":null}"#).says_end && auto(r#"{"next_cursor":""}"#).says_end && !auto(r#"{"links":{}}"#).says_end);
        assert!(auto(r#"{"links":[{"rel":"first","href":"/"}]}"#).says_end);
        assert!(!auto(r#"{"links":[{"rel":"self","href":"/"}]}"#).says_end && auto(r#"{"next_cursor":0}"#).says_end);
        assert!(auto(r#"{"prev":"/p0"}"#).has_previous && auto(r#"{"links":{"prev":{"href":"/p0"}}}"#).has_previous);
        assert!(!auto(r#"{"prev":null,"has_previous":false,"first":true}"#).has_previous);
        assert!(auto(r#"{"first":false}"#).has_previous);
        let previous = |body: &str| auto(body).previous;
        assert_eq!(previous(r#"{"links":{"prev":{"href":"/p0"}}}"#).as_deref(), Some("/p0"));
        assert_eq!((previous(r#"{"has_previous":true}"#), previous(r#"{"prev":null}"#)), (None, None));
        let says_first = |body: &str| auto(body).says_first;
        assert!(says_first(r#"{"previous":null}"#) && says_first(r#"{"has_prev":false}"#) && says_first(r#"{"first":true}"#));
        assert!(!says_first("{}") && !says_first(r#"{"prev":"/p0"}"#) && !says_first(r#"{"prev_page":0}"#), "0 may be page 0");
        assert!(auto(r#"{"next_cursor":null}"#).ends_cursor && !auto(r#"{"next":null}"#).ends_cursor);
        let gitlab = |value| signals_of("[]", &[("x-next-page", value)], 2, &Pagination::Auto);
        assert_eq!((gitlab("2").next, gitlab("").says_end), (Some(NextPage::Number(2)), true));
    }

    #[test]
    fn what_was_cut_is_no_end_of_a_list() {
        let path = |text: &str| text.parse::<FieldPath>().unwrap();
        let cut = r#"{"meta":{"\u0000":"\u0000"},"links":["\u0000"],"facets":["\u0000"]}"#;
        assert_eq!(auto(cut).cut.as_deref(), Some("meta"));
        assert_eq!(auto(r#"{"links":["\u0000"]}"#).cut.as_deref(), Some("links"));
        for fine in [r#"{"meta":{"facets":["\u0000"]}}"#, r#"{"meta":{"\u0000":"\u0000"},"next":"/p2"}"#, r#"{"meta":["\u0000"]}"#] {
            assert_eq!(auto(fine).cut, None, "{fine}");
        }
        let cursor = |at: &str| Pagination::Cursor { path: path(at), parameter: "c".into(), more: None };
        assert_eq!(signals_of(cut, &[], 2, &cursor("meta.page.next")).cut.as_deref(), Some("meta.page.next"));
        assert_eq!(signals_of(cut, &[], 2, &cursor("links.0.href")).cut.as_deref(), Some("links.0.href"));
        assert_eq!(signals_of(cut, &[], 2, &cursor("next")).cut, None);
        assert_eq!(signals_of(cut, &[], 2, &Pagination::Single).cut, None);
    }

    #[test]
    fn counts_are_found_in_bodies_and_headers() {
        for body in [
            r#"{"total":9}"#,
            r#"{"totalItems":9}"#,
            r#"{"meta":{"total_count":"9"}}"#,
            r#"{"page":{"totalElements":9}}"#,
            r#"{"count":9}"#,
            r#"{"@odata.count":9}"#,
        ] {
            assert_eq!(auto(body).total_records, Some(9), "{body}");
        }
        for (body, total) in [(r#"{"count":2}"#, None), (r#"{"count":2,"offset":0}"#, Some(2)), (r#"{"total":19.90}"#, None)] {
            assert_eq!(auto(body).total_records, total, "{body}");
        }
        for (name, value) in [("x-wp-total", "9"), ("x-total-count", "9"), ("content-range", "orders 0-1/9")] {
            assert_eq!(signals_of("[]", &[(name, value)], 2, &Pagination::Auto).total_records, Some(9), "{name}");
        }
        assert_eq!(signals_of("[]", &[("content-range", "orders 0-1/*")], 2, &Pagination::Auto).total_records, None);
        assert_eq!(auto(r#"{"meta":{"total_pages":4}}"#).total_pages, Some(4));
        let offset = auto(r#"{"count":305,"offset":0,"limit":15}"#).offset.unwrap();
        assert_eq!(auto(r#"{"page":1,"offset":0,"limit":50,"total":120}"#).offset, None);
        assert_eq!((offset.parameter.as_str(), offset.size), ("offset", Some(("limit".to_owned(), 15))));
    }

    #[test]
    fn many_keys_say_whether_there_are_more_pages() {
        for (body, more) in [
            (r#"{"has_more":true}"#, Some(true)),
            (r#"{"hasMore":false}"#, Some(false)),
            (r#"{"pageInfo":{"hasNextPage":true}}"#, Some(true)),
            (r#"{"has_more":false,"meta":{"has_next":"true"}}"#, Some(true)),
            (r#"{"next":true}"#, Some(true)),
            (r#"{"last":false}"#, Some(true)),
            (r#"{"isLastPage":true}"#, Some(false)),
            (r#"{"end_of_stream":false}"#, Some(true)),
            ("{}", None),
        ] {
            assert_eq!(auto(body).more, more, "{body}");
        }
    }

    #[test]
    fn a_profile_can_name_any_place_for_its_signals() {
        let body = r#"{"a":{"page":{"following":"c2","more":true}},"next":"/not-this","count":"7"}"#;
        let path = |text: &str| text.parse::<FieldPath>().unwrap();
        let cursor = Pagination::Cursor { path: path("a.page.following"), parameter: "c".into(), more: Some(path("a.page.more")) };
        let signals = signals_of(body, &[], 2, &cursor);
        assert_eq!((signals.next, signals.more), (Some(NextPage::Cursor("c2".into())), Some(true)));
        for (value, next) in [
            (r#"{"n":5}"#, Some(NextPage::Unusable("at".into()))),
            ("[5]", Some(NextPage::Unusable("at".into()))),
            ("true", Some(NextPage::Unusable("at".into()))),
            ("{}", None),
            ("[]", None),
            ("false", None),
            ("null", None),
        ] {
            let body = format!(r#"{{"at":{value}}}"#);
            let cursor = Pagination::Cursor { path: path("at"), parameter: "c".into(), more: None };
            for pagination in [cursor, Pagination::NextUrl { path: path("at") }] {
                let signals = signals_of(&body, &[], 2, &pagination);
                assert_eq!((&signals.next, signals.has_place), (&next, true), "{body}");
            }
        }
        let total = crate::settings::Total { records: Some(path("count")), ..Default::default() };
        assert_eq!(signals_of(body, &[], 20, &Pagination::Offset { parameter: "o".into(), total, largest: None }).total_records, Some(7));
        assert_eq!(id_of(br#"{"id":{"x":12345678901234567890123}}"#, &path("id.x")).as_deref(), Some("12345678901234567890123"));
    }
}
