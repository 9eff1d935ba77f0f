//! Whether the URL of a next page names it by its position in the list (a page number or an offset) or by a cursor.
//!
//! Pages by position lose records if others disappear while the list is read: those behind move forward, past the
//! reader. So it matters which of the two a next link is. Pure: URLs go in, a verdict comes out.

use reqwest::Url;

use crate::model::plain_name;

/// The parameters of page numbers and offsets. Compared without case and punctuation: `page[number]` is `pagenumber`.
const POSITIONS: [&str; 20] = [
    "page",
    "p",
    "pg",
    "pageno",
    "pagenr",
    "pagenum",
    "pagenumber",
    "pageindex",
    "pageoffset",
    "currentpage",
    "offset",
    "skip",
    "start",
    "startat",
    "startindex",
    "startposition",
    "startrow",
    "firstresult",
    "firstrecord",
    "from",
];

/// The parameters of cursors, compared likewise. A URL with one of them is no position, whatever else it has.
const CURSORS: [&str; 26] = [
    "cursor",
    "nextcursor",
    "pagecursor",
    "after",
    "before",
    "since",
    "pageafter",
    "pagebefore",
    "aftercursor",
    "afterid",
    "beforeid",
    "sinceid",
    "lastid",
    "minid",
    "maxid",
    "startingafter",
    "endingbefore",
    "searchafter",
    "pageinfo",
    "token",
    "nexttoken",
    "pagetoken",
    "nextpagetoken",
    "paginationtoken",
    "continuationtoken",
    "skiptoken",
];

/// The position by which a request names a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Position {
    /// The parameter `page`, by which the default pagination asks for page 1.
    Page,
    /// Another parameter, or a part of the path.
    Other,
}

/// The position by which the next URL names its page; `None` if it has none, or a cursor beside it. Only what differs
/// from the URL of the page that names it counts.
pub(super) fn between(from: &Url, next: &Url) -> Option<Position> {
    let known: Vec<_> = from.query_pairs().collect();
    let changed: Vec<_> = next.query_pairs().filter(|pair| !known.contains(pair)).collect();
    if changed.iter().any(|(name, value)| !value.is_empty() && CURSORS.contains(&plain_name(name).as_str())) {
        return None;
    }
    changed.iter().find_map(|(name, value)| of_parameter(name, value)).or_else(|| in_path(from, next))
}

/// The position that a parameter with this value is.
pub(super) fn of_parameter(name: &str, value: &str) -> Option<Position> {
    let is_position = POSITIONS.contains(&plain_name(name).as_str()) && value.trim().parse::<u64>().is_ok();
    is_position.then_some(if name == "page" { Position::Page } else { Position::Other })
}

/// The position in a path such as `/orders/page/2`.
fn in_path(from: &Url, next: &Url) -> Option<Position> {
    if from.path() == next.path() {
        return None;
    }
    let parts: Vec<&str> = next.path_segments()?.collect();
    let [.., name, value] = parts.as_slice() else { return None };
    of_parameter(name, value).map(|_| Position::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> Url {
        format!("http://h/orders{path}").parse().unwrap()
    }

    #[test]
    fn a_next_link_with_a_number_is_a_position_and_one_with_a_cursor_is_none() {
        let from = at("?page=1&per_page=500&status=any");
        for (next, position) in [
            ("?page=2", Some(Position::Page)),
            ("?status=any&page=2&per_page=500", Some(Position::Page)),
            ("?page%5Bnumber%5D=2", Some(Position::Other)),
            ("?offset=50&limit=50", Some(Position::Other)),
            ("?$skip=50", Some(Position::Other)),
            ("/page/2", Some(Position::Other)),
            ("?page_info=abc&limit=250", None),
            ("?after=2", None),
            ("?$skiptoken=50", None),
            ("?page=2&cursor=abc", None),
            ("?page=next", None),
            ("?page=1&per_page=500&x=2", None),
            ("/more?x=1", None),
        ] {
            assert_eq!(between(&from, &at(next)), position, "{next}");
        }
    }

    #[test]
    fn a_parameter_is_a_position_by_its_name_and_number() {
        assert_eq!(of_parameter("page", "2"), Some(Position::Page));
        assert_eq!(of_parameter("pageNumber", "2"), Some(Position::Other));
        assert_eq!((of_parameter("page", "abc"), of_parameter("cursor", "2")), (None, None));
    }
}
