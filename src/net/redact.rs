//! Secrets are taken out by value, wherever a server echoes them.

use std::sync::{Mutex, PoisonError};

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::Url;

use crate::settings::{Credentials, redacted};

/// How much of a body an error shows, in characters.
const SHOWN: usize = 300;

/// Shorter values are not taken out: they occur in too many texts.
const SHORTEST: usize = 3;

/// Knows the secrets of a source in every form in which they are sent.
#[derive(Default)]
pub(crate) struct Redactor {
    secrets: Mutex<Vec<String>>,
}

impl Redactor {
    pub(crate) fn new(credentials: &Credentials) -> Redactor {
        let redactor = Redactor::default();
        let pairs = [credentials.basic.as_ref(), credentials.client.as_ref()];
        for (user, password) in pairs.into_iter().flatten() {
            redactor.add(&STANDARD.encode(format!("{}:{}", user.expose(), password.expose())));
            redactor.add(password.expose());
            redactor.add(user.expose());
        }
        let key = credentials.api_key.as_ref().map(|(_, key)| key);
        for secret in [credentials.bearer.as_ref(), key].into_iter().flatten() {
            redactor.add(secret.expose());
        }
        redactor
    }

    /// Adds a secret, such as a token that was issued.
    pub(crate) fn add(&self, secret: &str) {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        for form in [secret.to_owned(), STANDARD.encode(secret)] {
            if form.len() >= SHORTEST && !secrets.contains(&form) {
                secrets.push(form);
            }
        }
        // A secret that holds another one is taken out first.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }

    /// The text without secrets, however they are escaped.
    pub(crate) fn hide(&self, text: &str) -> String {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.iter().fold(text.to_owned(), |text, secret| without(&text, secret))
    }

    /// A URL as it may be shown.
    pub(crate) fn url(&self, url: &Url) -> String {
        self.hide(&redacted(url))
    }

    /// The beginning of a body, as an error shows it: on one line.
    pub(crate) fn body(&self, body: &[u8]) -> String {
        let text = self.hide(&String::from_utf8_lossy(body.get(..body.len().min(16 << 10)).unwrap_or_default()));
        let words = text.split(|character: char| character.is_whitespace() || character.is_control()).filter(|word| !word.is_empty());
        let line = words.collect::<Vec<_>>().join(" ");
        match line.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
            None => line,
        }
    }
}

/// A text with `***` in place of a secret.
fn without(text: &str, secret: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match escaped_length(rest, secret) {
            Some(length) => {
                shown.push_str("***");
                rest = rest.get(length..).unwrap_or_default();
            }
            None => {
                shown.push(first);
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
            }
        }
    }
    shown
}

/// How long the secret is at the beginning of a text, where each of its characters may be escaped as JSON, URLs or HTML do.
fn escaped_length(text: &str, secret: &str) -> Option<usize> {
    secret.chars().try_fold(0, |length, character| Some(length + character_length(text.get(length..)?, character)?))
}

fn character_length(text: &str, character: char) -> Option<usize> {
    if text.starts_with(character) {
        return Some(character.len_utf8());
    }
    if !text.starts_with(['\\', '%', '&', '+']) {
        return None;
    }
    let code = u32::from(character);
    let units: String = character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect();
    let bytes: String = character.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("%{byte:02x}")).collect();
    let entity = match character {
        '&' => "&amp;",
        '<' => "&lt;",
        '>' => "&gt;",
        '"' => "&quot;",
        '\'' => "&apos;",
        ' ' => "+",
        _ => "\0",
    };
    let forms = [units, bytes, format!("\\{character}"), format!("&#{code};"), format!("&#x{code:x};"), entity.to_owned()];
    let is_here = |form: &String| text.get(..form.len()).is_some_and(|here| here.eq_ignore_ascii_case(form));
    forms.iter().find(|form| is_here(form)).map(String::len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Secret;

    #[test]
    fn secrets_are_hidden_in_every_form_and_bodies_are_short() {
        let credentials = Credentials {
            bearer: Some(Secret::new("hush a/b".into())),
            basic: Some((Secret::new("user".into()), Secret::new("pass\"word".into()))),
            ..Credentials::default()
        };
        let redactor = Redactor::new(&credentials);
        assert_eq!(redactor.hide("x hush a/b y"), "x *** y");
        assert_eq!(redactor.hide("?t=hush+a%2Fb&u=hush%20a%2Fb"), "?t=***&u=***");
        assert_eq!(redactor.hide(r#"{"p":"pass\"word"}"#), r#"{"p":"***"}"#);
        assert_eq!(redactor.hide("Basic dXNlcjpwYXNzIndvcmQ="), "Basic ***");
        redactor.add("Sk+ab/cd==\u{e9}");
        for echoed in [r"Sk+ab\/cd==\u00e9", r"Sk\u002Bab/cd\u003d\u003D\u00E9", "Sk%2bab%2fcd%3d%3d%c3%a9", "Sk&#43;ab&#x2F;cd==\u{e9}"] {
            assert_eq!(redactor.hide(&format!("<{echoed}>")), "<***>", "{echoed}");
        }
        redactor.add("issued-token");
        assert_eq!(redactor.url(&"http://h/o?x=issued-token&page=2".parse().unwrap()), "http://h/o?x=***&page=2");
        assert_eq!(redactor.body(b"<html>\n  <b>no</b>"), "<html> <b>no</b>");
        let long = redactor.body("é".repeat(1000).as_bytes());
        assert_eq!((long.chars().count(), long.ends_with('…')), (301, true));
    }
}
