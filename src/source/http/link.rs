//! `Link` headers (RFC 8288).

use reqwest::header::{HeaderMap, LINK};

use crate::source::envelope::Next;

/// The target of `rel="next"` among the `Link` headers; the end, where there are links of a list and none is the next.
pub(super) fn next(headers: &HeaderMap) -> Next {
    let mut next = Next::Absent;
    for value in headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()) {
        for (target, parameters) in links(value) {
            if has_relation(parameters, "next") {
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
            super::next(&headers)
        };
        assert_eq!(next(&[r#"<https://x/?page=1>; rel="prev", <https://x/?page=3>; rel="next""#]), Next::At("https://x/?page=3".into()));
        assert_eq!(next(&["</a,b>; title=\"x\"; rel=next"]), Next::At("/a,b".into()));
        assert_eq!(next(&[r#"<a>; rel="first""#, r#"<b>; rel="last next""#]), Next::At("b".into()));
        assert_eq!(next(&[r#"<a>; rel="first""#]), Next::End);
        assert_eq!(next(&[r#"<a>; rel="canonical""#]), Next::Absent);
        assert_eq!(next(&[]), Next::Absent);
    }
}
