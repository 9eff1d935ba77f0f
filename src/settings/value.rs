//! One value of a setting with its origin: its reading by form, and the errors that name where to correct it.

use std::{fmt, str::FromStr, time::Duration};

use super::{Form, MistakenUrl, Origin, SettingsError, parse_span, size::parse_size};
use crate::model::span_text;

/// A value of a setting, as it was written, and where it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ConfiguredValue {
    pub(super) value: String,
    pub(super) origin: Origin,
}

impl ConfiguredValue {
    pub(super) fn invalid(&self, detail: impl fmt::Display) -> SettingsError {
        SettingsError::Value { origin: self.origin.clone(), value: self.value.clone(), detail: detail.to_string() }
    }

    /// The same for a value that may hold a secret.
    pub(super) fn invalid_secret(&self, detail: impl fmt::Display) -> SettingsError {
        SettingsError::SecretValue { origin: self.origin.clone(), detail: detail.to_string() }
    }

    /// A URL as an error may show it: without its query, and without what stands where credentials would.
    pub(super) fn without_credentials(&self) -> ConfiguredValue {
        let value = match self.value.split_once("://") {
            Some((scheme, rest)) => {
                let bare = rest.split_once('?').map_or(rest.to_owned(), |(before, _)| format!("{before}?***"));
                let bare = bare.rsplit_once('@').map_or(bare.clone(), |(_, host)| format!("***@{host}"));
                format!("{scheme}://{bare}")
            }
            None if MistakenUrl::of(&self.value).is_some() => {
                self.value.rsplit_once('@').map_or(self.value.clone(), |(_, host)| format!("***@{host}"))
            }
            None => self.value.clone(),
        };
        ConfiguredValue { value, origin: self.origin.clone() }
    }

    pub(super) fn parse<T: FromStr<Err: fmt::Display>>(&self) -> Result<T, SettingsError> {
        self.value.trim().parse().map_err(|error| self.invalid(error))
    }

    /// A whole number within the bounds of its form.
    pub(super) fn whole(&self, form: Form) -> Result<u64, SettingsError> {
        let Form::Whole { from, to } = form else { return self.parse() };
        let number = self.value.trim().parse().ok().filter(|number| (from..=to).contains(number));
        number.ok_or_else(|| self.invalid(format!("write a whole number from {from} to {to}")))
    }

    /// A number within the bounds of its form.
    pub(super) fn number(&self, form: Form) -> Result<f64, SettingsError> {
        let Form::Number { from, to } = form else { return self.parse() };
        let number = self.value.trim().parse().ok().filter(|number| (from..=to).contains(number));
        number.ok_or_else(|| self.invalid(format!("write a number from {from} to {to}")))
    }

    /// A span of time within the bounds of its form.
    pub(super) fn span(&self, form: Form) -> Result<Duration, SettingsError> {
        let span = parse_span(&self.value).map_err(|error| self.invalid(error))?;
        match form {
            Form::Span { from, .. } if span < from => Err(self.invalid(format!("write a span of at least {}", span_text(from)))),
            Form::Span { to, .. } if span > to => Err(self.invalid(format!("write a span of at most {}", span_text(to)))),
            _ => Ok(span),
        }
    }

    /// An amount of memory within the bounds of its form.
    pub(super) fn size(&self, form: Form) -> Result<u64, SettingsError> {
        let bytes = parse_size(&self.value).map_err(|detail| self.invalid(detail))?;
        match form {
            Form::Size { from, to } if !(from..=to).contains(&bytes) => {
                Err(self.invalid(format!("write a size from {}MiB to {}GiB", from >> 20, to >> 30)))
            }
            _ => Ok(bytes),
        }
    }

    /// One of the words of its form.
    pub(super) fn word(&self, form: Form) -> Result<&'static str, SettingsError> {
        let (Form::Words(words) | Form::WordsOrAlone { words, .. }) = form else { return Err(self.invalid("not one of some words")) };
        let found = words.iter().find(|word| **word == self.value.trim());
        found.copied().ok_or_else(|| self.invalid(format!("write {}", choice(words))))
    }

    /// Yes or no, in the words of the environment.
    pub(super) fn yes_no(&self) -> Result<bool, SettingsError> {
        match self.value.trim().to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Ok(true),
            "0" | "false" | "no" | "off" => Ok(false),
            _ => Err(self.invalid("write 1, true, yes or on; or 0, false, no or off")),
        }
    }
}

/// "a, b or c".
pub(super) fn choice(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> ConfiguredValue {
        ConfiguredValue { value: text.to_owned(), origin: Origin::Flag("--x") }
    }

    #[test]
    fn bounds_are_inclusive_and_named() {
        let form = Form::Whole { from: 1, to: 3 };
        assert_eq!((value("1").whole(form).ok(), value(" 3 ").whole(form).ok()), (Some(1), Some(3)));
        for text in ["0", "4", "-1", "1.0", "", "99999999999999999999"] {
            assert_eq!(value(text).whole(form).unwrap_err().to_string(), format!("--x: `{text}`: write a whole number from 1 to 3"));
        }
        let form = Form::Number { from: 0.5, to: 2.0 };
        assert_eq!(value("0.5").number(form).ok(), Some(0.5));
        for text in ["0.4", "nan", "inf", "2.1", "-1"] {
            assert!(value(text).number(form).is_err(), "{text}");
        }
        let form = Form::Span { from: Duration::from_millis(1), to: Duration::from_secs(7200) };
        assert_eq!(value("2h").span(form).ok(), Some(Duration::from_secs(7200)));
        assert!(value("0s").span(form).unwrap_err().to_string().ends_with("at least 1ms"));
        assert!(value("121m").span(form).unwrap_err().to_string().ends_with("at most 2h"));
    }

    #[test]
    fn a_url_in_an_error_holds_no_secret() {
        for (written, shown) in
            [("ftp://me:hush@h/a?token=hush@x", "ftp://***@h/a?***"), ("http://h:x/a?token=hush", "http://h:x/a?***"), ("o.json", "o.json")]
        {
            assert_eq!(value(written).without_credentials().value, shown);
        }
    }

    #[test]
    fn yes_and_no_have_four_words_each() {
        for (yes, no) in [("1", "0"), ("True", "FALSE"), ("yes", "No"), ("ON", "off")] {
            assert_eq!((value(yes).yes_no().ok(), value(no).yes_no().ok()), (Some(true), Some(false)));
        }
        assert!(value("2").yes_no().is_err());
    }
}
