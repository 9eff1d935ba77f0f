//! `Link` headers (RFC 8288).

use reqwest::{
    Url,
    header::{HeaderMap, LINK},
};

use crate::source::body::{LinkHeader, is_page_relation};

/// What the `Link` headers of a response say about other pages.
#[derive(PartialEq, Debug)]
pub(super) struct Links {
    /// The next page.
    pub(super) next: LinkHeader,
    /// The URL of a page before this one: the previous one, or a first one with a smaller number.
    pub(super) previous: Option<String>,
    /// Whether they name page 1 as the first.
    pub(super) begins_with_one: bool,
}

/// Reads the `Link` headers. Targets are resolved relative to the URL of the response.
pub(super) fn read(headers: &HeaderMap, url: &Url) -> Links {
    let mut found = Links { next: LinkHeader::Absent, previous: None, begins_with_one: false };
    for value in headers.get_all(LINK) {
        let text = String::from_utf8_lossy(value.as_bytes());
        match http_link::parse_link_header(text.trim_matches([',', ' ', '\t']), url) {
            Ok(links) => found.take(&links, url),
            // A header that can't be parsed may name the next page, so it does not end the list.
            Err(error) if text.to_ascii_lowercase().contains("next") && !matches!(found.next, LinkHeader::Next(_)) => {
                found.next = LinkHeader::Damaged(error.to_string());
            }
            Err(_) => {}
        }
    }
    found
}

impl Links {
    fn take(&mut self, links: &[http_link::Link], url: &Url) {
        let find = |relation: &str| links.iter().find(|link| is(&link.rel, relation));
        let first = find("first");
        let previous = find("prev").or(find("previous")).or(first.filter(|first| is_later(url, &first.target)));
        self.previous = self.previous.take().or(previous.map(|previous| previous.target.to_string()));
        self.begins_with_one |= first.is_some_and(|first| number(&first.target) == Some(1));
        if matches!(self.next, LinkHeader::Next(_)) {
            return;
        }
        if let Some(next) = find("next") {
            self.next = LinkHeader::Next(next.target.to_string());
            return;
        }
        // Relations such as `rel="canonical"` say nothing about pages.
        if self.next == LinkHeader::Absent && links.iter().any(|link| is_page_relation(link.rel.trim_matches('\''))) {
            let has_later = find("last").is_some_and(|last| is_later(&last.target, url));
            self.next = if has_later { LinkHeader::More } else { LinkHeader::End };
        }
    }
}

/// Whether the page number of `target` is greater than that of `url`.
fn is_later(target: &Url, url: &Url) -> bool {
    number(target).zip(number(url)).is_some_and(|(target, own)| target > own)
}

/// The page number of a URL.
fn number(url: &Url) -> Option<u64> {
    url.query_pairs().find(|(name, _)| name == "page").and_then(|(_, value)| value.parse().ok())
}

/// Whether two relations are equal. Some servers write `rel='next'`, with quotes that are not in RFC 8288.
fn is(relation: &str, name: &str) -> bool {
    relation.trim_matches('\'').eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(values: &[&str]) -> LinkHeader {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(LINK, value.parse().unwrap());
        }
        read(&headers, &"https://x/list/?page=1".parse().unwrap()).next
    }

    fn at(url: &str) -> LinkHeader {
        LinkHeader::Next(url.to_owned())
    }

    #[test]
    fn the_next_link_is_found_among_others() {
        assert_eq!(next(&[r#"<https://x/?page=1>; rel="prev", <https://x/?page=3>; rel="next""#]), at("https://x/?page=3"));
        assert_eq!(next(&["</a,b>; title=\"x\"; rel=next"]), at("https://x/a,b"));
        assert_eq!(next(&[r#"<a>; rel="first""#, r#"<b>; rel="last next""#]), at("https://x/list/b"));
        assert_eq!(next(&[r#"<?p=2>; title="a <b>; c, rel=\"prev\""; REL=NEXT"#]), at("https://x/list/?p=2"));
        assert_eq!(next(&["<?p=2>; rel='next'"]), at("https://x/list/?p=2"));
        assert_eq!(next(&["<?p=2>;rel=\"next\","]), at("https://x/list/?p=2"));
        assert_eq!(next(&[r#"<a>; rel="first""#]), LinkHeader::End);
        assert_eq!(next(&[r#"<?page=1>; rel="first", <?page=3>; rel="last""#]), LinkHeader::More);
        assert_eq!(next(&[r#"<?page=1>; rel="last""#]), LinkHeader::End);
        let links = |value: &str| {
            let headers = HeaderMap::from_iter([(LINK, value.parse().unwrap())]);
            read(&headers, &"https://x/?page=1".parse().unwrap())
        };
        let previous = |value: &str| links(value).previous;
        assert_eq!(previous("<?page=0>; rel=first").as_deref(), Some("https://x/?page=0"));
        assert_eq!(previous("<?a=b>; rel=prev,").as_deref(), Some("https://x/?a=b"));
        assert_eq!(previous("<?page=1>; rel=first"), None);
        assert!(links("<?page=1>; rel=first").begins_with_one && !links("<?page=0>; rel=first").begins_with_one);
        assert_eq!(next(&[r#"<a>; rel="canonical""#]), LinkHeader::Absent);
        assert_eq!(next(&[]), LinkHeader::Absent);
    }

    #[test]
    fn a_header_that_cannot_be_parsed_does_not_end_the_list() {
        assert!(matches!(next(&[r#"</p1>; rel="first", /p2; rel="next""#]), LinkHeader::Damaged(_)));
        assert_eq!(next(&["nonsense"]), LinkHeader::Absent);
    }
}
