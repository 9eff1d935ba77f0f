//! A JSON value, read as the value of a field.

use std::borrow::Cow;

use crate::{
    model::{self, UtcMicros, clean_text, whole_number_text},
    settings::TimeText,
};

/// The value of a field, from its raw JSON text (contract, Orders: "null and blank text count as missing").
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Scalar<'a> {
    /// Absent, null, or blank text.
    Missing,
    /// A non-empty text, trimmed and without U+0000.
    Text(Cow<'a, str>),
    /// A number, as written.
    Number(&'a str),
    /// `true` or `false`.
    Bool(&'a str),
    /// An object, an array, or a text with an invalid escape (half of a surrogate pair).
    Other,
}

impl<'a> Scalar<'a> {
    /// Reads the raw text of one valid JSON value.
    #[inline]
    pub(super) fn of(raw: &'a str) -> Scalar<'a> {
        match raw.as_bytes().first() {
            None | Some(b'n') => Scalar::Missing,
            Some(b't' | b'f') => Scalar::Bool(raw),
            Some(b'-' | b'0'..=b'9') => Scalar::Number(raw),
            Some(b'"') => text(raw),
            Some(_) => Scalar::Other,
        }
    }

    /// An id: a text, or a whole number as text (contract, Orders: "string or whole number (`7.0` is 7)").
    pub(super) fn into_id(self) -> Option<Cow<'a, str>> {
        match self {
            Scalar::Text(text) => Some(text),
            Scalar::Number(digits) => whole_number_text(digits),
            Scalar::Missing | Scalar::Bool(_) | Scalar::Other => None,
        }
    }

    /// An instant, from a text or a number. A text without an offset is of a zone; without one, it is UTC.
    pub(super) fn instant(&self, written: TimeText, zone: Option<chrono_tz::Tz>) -> Option<UtcMicros> {
        match (self, written) {
            (Scalar::Text(text), TimeText::Contract) => match zone {
                None => model::parse_time_text(text),
                Some(zone) => model::parse_time_in_zone(text, zone),
            },
            (Scalar::Text(text), TimeText::Rfc2822) => model::parse_time_rfc2822(text),
            (Scalar::Number(digits), _) => model::parse_time_number(digits),
            (Scalar::Missing | Scalar::Bool(_) | Scalar::Other, _) => None,
        }
    }

    /// Any scalar, as text.
    pub(super) fn into_text(self) -> Option<Cow<'a, str>> {
        match self {
            Scalar::Text(text) => Some(text),
            Scalar::Number(raw) | Scalar::Bool(raw) => Some(Cow::Borrowed(raw)),
            Scalar::Missing | Scalar::Other => None,
        }
    }
}

fn text(raw: &str) -> Scalar<'_> {
    let inner = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return clean_text(inner).map_or(Scalar::Missing, Scalar::Text);
    }
    match serde_json::from_str::<String>(raw) {
        Ok(unescaped) => clean_text(&unescaped).map_or(Scalar::Missing, |clean| Scalar::Text(Cow::Owned(clean.into_owned()))),
        Err(_) => Scalar::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_blank_text_are_missing() {
        for raw in ["null", "\"\"", "\"  \\t\\n \"", "\"\\u0000\"", "\" \\u0000 \"", "\"\u{a0}\""] {
            assert_eq!(Scalar::of(raw), Scalar::Missing, "{raw}");
        }
    }

    #[test]
    fn texts_are_trimmed_and_lose_their_nuls() {
        assert_eq!(Scalar::of("\" a b \""), Scalar::Text("a b".into()));
        assert_eq!(Scalar::of("\"a\\u0000b\\\"\""), Scalar::Text("ab\"".into()));
        assert_eq!(Scalar::of("\"\\u0000 a\""), Scalar::Text("a".into()));
        assert_eq!(Scalar::of("\"\\ud83d\\ude00\""), Scalar::Text("😀".into()));
        assert_eq!(Scalar::of("\"\\ud83d\""), Scalar::Other);
    }

    #[test]
    fn an_id_is_a_string_or_an_integer() {
        let id = |raw| Scalar::of(raw).into_id().map(Cow::into_owned);
        assert_eq!(id("12345678901234567890123").as_deref(), Some("12345678901234567890123"));
        assert_eq!(id("\"A-1\"").as_deref(), Some("A-1"));
        assert_eq!((id("7.0").as_deref(), id("1e3").as_deref(), id("\"7.0\"").as_deref()), (Some("7"), Some("1000"), Some("7.0")));
        for raw in ["0", "-0", "-0.0", "0e5", "-0e5"] {
            assert_eq!(id(raw).as_deref(), Some("0"), "{raw}");
        }
        for raw in ["1.5", "true", "{}", "[]", "null"] {
            assert_eq!(id(raw), None, "{raw}");
        }
    }
}
