//! Changes parameters of a URL and keeps all other bytes, because a signed URL is valid only if its bytes do not change.

use std::borrow::Cow;

use reqwest::Url;

use crate::settings::query_decoded;

/// Whether a URL has a parameter.
pub(super) fn has(url: &Url, name: &str) -> bool {
    pieces(url).any(|piece| name_of(piece) == name)
}

/// Whether a URL has a parameter with this value.
pub(super) fn has_value(url: &Url, name: &str, value: &str) -> bool {
    pieces(url).any(|piece| name_of(piece) == name && value_of(piece) == value)
}

/// The URL with these parameters. Replaces an existing parameter in its place and appends the others.
pub(super) fn with(url: &Url, parameters: &[(&str, &str)]) -> Url {
    let mut is_set = vec![false; parameters.len()];
    let mut kept: Vec<Cow<'_, str>> = Vec::new();
    for piece in pieces(url) {
        let name = if piece.is_empty() { Cow::Borrowed("") } else { name_of(piece) };
        let found = parameters.iter().zip(&mut is_set).find(|((set, _), _)| !piece.is_empty() && *set == name);
        match found {
            None => kept.push(Cow::Borrowed(piece)),
            Some(((_, value), is_set)) if !*is_set => {
                *is_set = true;
                kept.push(if value_of(piece) == *value { Cow::Borrowed(piece) } else { Cow::Owned(encoded(&name, value)) });
            }
            // The parameter occurs twice: drop the second.
            Some(_) => {}
        }
    }
    let new = parameters.iter().zip(is_set).filter(|(_, is_set)| !is_set).map(|((name, value), _)| Cow::Owned(encoded(name, value)));
    kept.extend(new);
    with_pieces(url, &kept)
}

/// The URL with these parameters appended.
pub(super) fn appended<'p>(url: &Url, parameters: impl Iterator<Item = (&'p str, &'p str)>) -> Url {
    let mut all: Vec<Cow<'_, str>> = pieces(url).map(Cow::Borrowed).collect();
    all.extend(parameters.map(|(name, value)| Cow::Owned(encoded(name, value))));
    with_pieces(url, &all)
}

/// The URL without a parameter, if the parameter has this value.
pub(super) fn without(url: &Url, name: &str, value: &str) -> Url {
    let kept: Vec<_> = pieces(url).filter(|piece| name_of(piece) != name || value_of(piece) != value).map(Cow::Borrowed).collect();
    with_pieces(url, &kept)
}

/// The URL without the parameters of these names.
pub(super) fn without_names(url: &Url, names: &[String]) -> Url {
    let kept: Vec<_> = pieces(url).filter(|piece| names.iter().all(|name| name_of(piece) != *name)).map(Cow::Borrowed).collect();
    with_pieces(url, &kept)
}

fn with_pieces(url: &Url, pieces: &[Cow<'_, str>]) -> Url {
    let mut changed = url.clone();
    changed.set_query((!pieces.is_empty()).then(|| pieces.join("&")).as_deref());
    changed
}

fn pieces(url: &Url) -> impl Iterator<Item = &str> {
    url.query().filter(|query| !query.is_empty()).into_iter().flat_map(|query| query.split('&'))
}

fn name_of(piece: &str) -> Cow<'_, str> {
    query_decoded(piece.split_once('=').map_or(piece, |(name, _)| name))
}

fn value_of(piece: &str) -> Cow<'_, str> {
    query_decoded(piece.split_once('=').map_or("", |(_, value)| value))
}

/// A form-encoded pair.
pub(super) fn encoded(name: &str, value: &str) -> String {
    form([(name, value)].into_iter())
}

/// Form-encoded pairs.
pub(super) fn form<'p>(pairs: impl Iterator<Item = (&'p str, &'p str)>) -> String {
    // `Url` offers form encoding only as a method of a URL.
    let Ok(mut scratch) = Url::parse("http://localhost/") else { return String::new() };
    scratch.query_pairs_mut().extend_pairs(pairs);
    scratch.query().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNED: &str = "http://h/o?path=a%2Fb/c&empty=&flag&q=x+y%20z&&q=2&Signature=ab%2Bc%3d&e=%e9";

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn the_existing_parameters_of_a_url_keep_their_bytes() {
        let start = url(SIGNED);
        assert_eq!(with(&start, &[("page", "2"), ("size", "a b&c")]).as_str(), format!("{SIGNED}&page=2&size=a+b%26c"));
        assert_eq!(with(&start, &[]).as_str(), SIGNED);
        assert_eq!(
            appended(&start, [("since", "2026-01-01T00:00:00Z")].into_iter()).as_str(),
            format!("{SIGNED}&since=2026-01-01T00%3A00%3A00Z")
        );
        assert_eq!(with(&url("http://h/o"), &[("page", "1")]).as_str(), "http://h/o?page=1");
        assert_eq!(with(&url("http://h/o?#x"), &[("page", "1")]).as_str(), "http://h/o?page=1#x");
    }

    #[test]
    fn a_parameter_is_replaced_in_place_and_occurs_once() {
        assert_eq!(with(&url("http://h/o?page=9&x=%2F&page=8"), &[("page", "2")]).as_str(), "http://h/o?page=2&x=%2F");
        assert_eq!(with(&url("http://h/o?k%65y=a%2Bb&x=1"), &[("key", "a+b")]).as_str(), "http://h/o?k%65y=a%2Bb&x=1");
        assert_eq!(without(&url("http://h/o?key=a%2Bb&x=1&key=other"), "key", "a+b").as_str(), "http://h/o?x=1&key=other");
        let start = url(SIGNED);
        assert!(has(&start, "flag") && has(&start, "empty") && !has(&start, "a") && has_value(&start, "Signature", "ab+c="));
    }
}
