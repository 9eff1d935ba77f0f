//! Redacts secrets by value, however a server, a log or a report escapes them.
//!
//! The secrets are those that `settings::Secret` has registered, issued tokens included. Each text that leaves the process is
//! redacted: log lines, errors, the summary, reports, alerts, labels of metrics. The time is linear in the length of the text.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    str::Chars,
    sync::{Arc, PoisonError, RwLock},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use reqwest::Url;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::settings::{redacted, secret};

/// The maximum characters of a body that an error shows.
const SHOWN: usize = 300;

/// The bytes of a body that are processed to show its beginning.
const LOOKED_AT: usize = 16 << 10;

/// The replacement of a secret.
const HIDDEN: &str = "***";

/// The maximum number of backslashes before one escaped character: JSON within JSON within JSON.
const MAX_BACKSLASHES: usize = 8;

/// The minimum characters of a partial secret that are redacted at the end of a cut text.
const SHORTEST_REST: usize = 4;

/// The minimum characters of base64 that are redacted.
const SHORTEST_WITHIN: usize = 8;

/// Keys whose values `etl` creates. They are never redacted, so that logs and summaries can be joined by them.
const STRUCTURAL: [&str; 35] = [
    "run_id",
    "first_run_id",
    "replay_of",
    "undoes",
    "gap_run",
    "status",
    "kind",
    "command",
    "cursor",
    "severity",
    "level",
    "stage",
    "name",
    "column",
    "started_at",
    "finished_at",
    "since",
    "until",
    "shown_since",
    "timestamp",
    "@timestamp",
    "log.level",
    "ecs.version",
    "service.name",
    "partitions_written",
    "partitions_removed",
    "order_totals_changed",
    "refunds_changed",
    "receiver",
    "state",
    "by",
    "reason",
    "_aws",
    "Unit",
    "Name",
];

/// Keys of source data. Inside them, no value is structural.
const DATA: [&str; 4] = ["record", "records", "sample", "values"];

/// Keys of objects whose own keys are source data.
const WITH_DATA_KEYS: [&str; 1] = ["revenue"];

/// The text, redacted.
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    Patterns::current().hide(text, Surroundings::Text, Ending::Whole)
}

/// A text that another system wrote, redacted: also the users and queries of URLs in it. A query may be a signature that no setting
/// names, and who has it has what it signs.
pub(crate) fn foreign(text: &str) -> String {
    without_queries(&self::text(text))
}

/// Whether the value of a field is never redacted.
pub(crate) fn is_structural(field: &str) -> bool {
    STRUCTURAL.contains(&field)
}

/// A redacted URL: without credentials, without the values of parameters named like secrets, and without secrets.
pub(crate) fn url(url: &Url) -> String {
    text(&redacted(url)).into_owned()
}

/// The beginning of a body for an error, redacted as a text of another system, and on one line.
pub(crate) fn beginning(body: &[u8]) -> String {
    let looked_at = body.get(..body.len().min(LOOKED_AT)).unwrap_or_default();
    let ending = if looked_at.len() < body.len() { Ending::Cut } else { Ending::Whole };
    let lossy = String::from_utf8_lossy(looked_at);
    let text = without_queries(&Patterns::current().hide(&lossy, Surroundings::Text, ending));
    let words = text.split(|character: char| character.is_whitespace() || character.is_control()).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

/// A text whose URLs have neither users nor queries.
fn without_queries(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from_host)) = next_url(rest) {
        let (url, after) = from_host.split_at(url_length(from_host));
        shown.push_str(before);
        push_without_query(&mut shown, url);
        rest = after;
    }
    shown.push_str(rest);
    shown
}

/// The text up to the host of its next URL, and what follows. JSON may write slashes as `\/`.
fn next_url(text: &str) -> Option<(&str, &str)> {
    let behind_slash = |text: &str| text.trim_start_matches('\\').strip_prefix('/').map(str::len);
    text.match_indices(':').find_map(|(at, _)| {
        let first = behind_slash(text.get(at + 1..)?)?;
        let second = behind_slash(text.get(text.len() - first..)?)?;
        text.split_at_checked(text.len() - second)
    })
}

/// The bytes of a URL at the beginning of a text. What is in doubt belongs to it.
fn url_length(text: &str) -> usize {
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let belongs = match character {
            '\\' => matches!(characters.peek(), Some((_, '/' | 'u' | '\\'))),
            '"' | '<' | '>' | '`' | '{' | '}' | '|' | '^' => false,
            other => !other.is_whitespace() && !other.is_control(),
        };
        if !belongs {
            return at;
        }
    }
    text.len()
}

/// Adds a URL that begins at its host or user.
fn push_without_query(shown: &mut String, url: &str) {
    let query = ["?", "\\u003f", "\\u003F"].into_iter().filter_map(|mark| url.find(mark)).min();
    let place = url.get(..query.unwrap_or(url.len())).unwrap_or_default();
    let host = place.find(['/', '\\']).unwrap_or(place.len());
    match place.get(..host).and_then(|host| host.rfind('@')) {
        Some(at) => shown.extend([HIDDEN, place.get(at..).unwrap_or_default()]),
        None => shown.push_str(place),
    }
    match query.and_then(|query| url.get(query..)) {
        Some("?") => shown.push('?'),
        Some(_) => shown.extend(["?", HIDDEN]),
        None => {}
    }
}

/// JSON, redacted. Keeps keys, numbers, their order, and the values that `etl` creates.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    let patterns = Patterns::current();
    if let Cow::Borrowed(_) = patterns.hide(text, Surroundings::Text, Ending::Whole) {
        return Cow::Borrowed(text);
    }
    let shown = hide_in_json(&patterns, text);
    if shown.lines().all(|line| serde_json::from_str::<IgnoredAny>(line).is_ok()) || serde_json::from_str::<IgnoredAny>(&shown).is_ok() {
        return Cow::Owned(shown);
    }
    // A secret ended inside an escape, so the JSON is invalid: redact the values one by one instead.
    match serde_json::from_str::<Value>(text) {
        Ok(mut value) => {
            hide_in_value(&patterns, Owner::Tool, "", &mut value);
            Cow::Owned(value.to_string())
        }
        Err(_) => patterns.hide(text, Surroundings::Text, Ending::Whole),
    }
}

/// Who created a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Tool,
    Source,
}

impl Owner {
    /// Who created the values under a key.
    fn of(self, key: &str) -> Owner {
        if DATA.contains(&key) { Owner::Source } else { self }
    }

    fn keeps(self, key: &str) -> bool {
        self == Owner::Tool && is_structural(key)
    }
}

fn hide_in_value(patterns: &Patterns, owner: Owner, key: &str, value: &mut Value) {
    let owner = owner.of(key);
    match value {
        Value::String(text) if !owner.keeps(key) => {
            *text = patterns.hide(text, Surroundings::Text, Ending::Whole).into_owned();
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| hide_in_value(patterns, owner, key, element)),
        Value::Object(fields) => fields.iter_mut().for_each(|(key, value)| hide_in_value(patterns, owner, key, value)),
        _ => {}
    }
}

/// An open object or array of a JSON text.
struct Level<'t> {
    is_object: bool,
    owner: Owner,
    /// The key of this object or array.
    own_key: &'t str,
    /// The key of the next value.
    key: &'t str,
}

fn hide_in_json(patterns: &Patterns, text: &str) -> String {
    let bytes = text.as_bytes();
    let mut shown = String::with_capacity(text.len());
    let mut levels: Vec<Level<'_>> = Vec::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(&byte) = bytes.get(at) {
        let key = levels.last().map_or("", |level| level.key);
        let owner = levels.last().map_or(Owner::Tool, |level| level.owner).of(key);
        match byte {
            b'{' => levels.push(Level { is_object: true, owner, own_key: key, key: "" }),
            b'[' => levels.push(Level { is_object: false, owner, own_key: key, key }),
            b'}' | b']' => _ = levels.pop(),
            b'"' => {
                let end = string_end(bytes, at + 1);
                let content = text.get(at + 1..end).unwrap_or_default();
                let after = bytes.get(end + 1..).unwrap_or_default().iter().find(|byte| !byte.is_ascii_whitespace());
                let is_key = after == Some(&b':') && levels.last().is_some_and(|level| level.is_object);
                let holds_data = match levels.last_mut().filter(|_| is_key) {
                    Some(level) => {
                        level.key = content;
                        WITH_DATA_KEYS.contains(&level.own_key)
                    }
                    None => !owner.keeps(key),
                };
                if holds_data && let Cow::Owned(hidden) = patterns.hide(content, Surroundings::JsonString, Ending::Whole) {
                    shown.push_str(text.get(copied..=at).unwrap_or_default());
                    shown.push_str(&hidden);
                    copied = end;
                }
                at = end;
            }
            _ => {}
        }
        at += 1;
    }
    shown.push_str(text.get(copied..).unwrap_or_default());
    shown
}

/// The offset of the closing quote of the string that begins at `from`.
fn string_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(step) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += step;
        if bytes.get(at) == Some(&b'"') {
            return at;
        }
        at += 2;
    }
    bytes.len()
}

/// The context of a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Surroundings {
    /// No context.
    Text,
    /// A JSON string: a match must not begin inside an escape.
    JsonString,
}

/// Whether a text is complete.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Whole,
    /// It was cut, so it may end with the beginning of a secret.
    Cut,
}

/// All secrets, prepared for the search.
struct Patterns {
    /// The number of registered texts when this was created.
    registered: usize,
    /// The longest first, so that a secret that contains another one is redacted first.
    secrets: Vec<String>,
    /// The indexes of the secrets, by first character. There are few such characters, but many escapes in a text.
    by_first: BTreeMap<char, Vec<usize>>,
    /// Whether a match may begin with a byte.
    may_begin: [bool; 256],
}

static CURRENT: RwLock<Option<Arc<Patterns>>> = RwLock::new(None);

impl Patterns {
    /// The patterns of all secrets that are registered now.
    fn current() -> Arc<Patterns> {
        let registered = secret::registered_count();
        if let Some(patterns) = CURRENT.read().unwrap_or_else(PoisonError::into_inner).as_ref()
            && patterns.registered == registered
        {
            return patterns.clone();
        }
        let patterns = Arc::new(Patterns::of(secret::registered()));
        *CURRENT.write().unwrap_or_else(PoisonError::into_inner) = Some(patterns.clone());
        patterns
    }

    fn of(registered: Vec<String>) -> Patterns {
        let count = registered.len();
        let forms = |text: String| {
            let encoded = [STANDARD.encode(&text), STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)];
            let within = (0..3).filter_map(|before| encoded_within(&text, before));
            let within = within.flat_map(|core| [core.replace('+', "-").replace('/', "_"), core]);
            std::iter::once(text.clone()).chain(encoded).chain(within).collect::<Vec<_>>()
        };
        let mut secrets: Vec<String> = registered.into_iter().flat_map(forms).filter(|text| !text.is_empty()).collect();
        secrets.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        secrets.dedup();
        let (mut by_first, mut may_begin) = (BTreeMap::<char, Vec<usize>>::new(), [false; 256]);
        for (place, secret) in secrets.iter().enumerate() {
            let Some(first) = secret.chars().next() else { continue };
            by_first.entry(first).or_default().push(place);
            may_begin[usize::from(secret.as_bytes()[0])] = true;
        }
        if !secrets.is_empty() {
            ESCAPES.iter().for_each(|escape| may_begin[usize::from(*escape)] = true);
        }
        Patterns { registered: count, secrets, by_first, may_begin }
    }

    fn hide<'t>(&self, text: &'t str, surroundings: Surroundings, ending: Ending) -> Cow<'t, str> {
        if self.secrets.is_empty() {
            return Cow::Borrowed(text);
        }
        let bytes = text.as_bytes();
        let mut shown = String::new();
        let (mut copied, mut at) = (0, 0);
        while let Some(step) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| self.may_begin[usize::from(*byte)])) {
            at += step;
            match self.match_at(bytes, at, ending) {
                Some(end) => {
                    shown.push_str(text.get(copied..at).unwrap_or_default());
                    shown.push_str(HIDDEN);
                    (copied, at) = (end, end);
                }
                None => at += unmatched_length(bytes, at, surroundings),
            }
        }
        if shown.is_empty() {
            return Cow::Borrowed(text);
        }
        shown.push_str(text.get(copied..).unwrap_or_default());
        Cow::Owned(shown)
    }

    /// The end of the secret that begins here, if any.
    fn match_at(&self, text: &[u8], at: usize, ending: Ending) -> Option<usize> {
        let rest = text.get(at..)?;
        let find = |place: &usize| matched(text, at, self.secrets.get(*place)?.chars(), 0, ending);
        let begins = |first: char| {
            let mut buffer = [0; 4];
            let literal = first.encode_utf8(&mut buffer).as_bytes();
            rest.starts_with(literal) || {
                let mut lengths = Lengths::default();
                escaped_lengths(rest, first, literal, &mut lengths);
                lengths.count > 0
            }
        };
        // If several secrets match here, the longest counts. Indexes are in order of length.
        let places = self.by_first.iter().filter(|(first, _)| begins(**first));
        places.filter_map(|(_, places)| places.iter().find_map(|place| Some((*place, find(place)?)))).min().map(|(_, end)| end)
    }
}

/// The base64 of a secret inside a longer text such as `user:password`, after `before` bytes (modulo 3). Omits the characters
/// at both ends, which depend on the neighbouring bytes.
fn encoded_within(text: &str, before: usize) -> Option<String> {
    let padded: Vec<u8> = std::iter::repeat_n(0, before).chain(text.bytes()).collect();
    let encoded = STANDARD_NO_PAD.encode(&padded);
    let first = [0, 2, 3].get(before).copied().unwrap_or_default();
    let last = if padded.len().is_multiple_of(3) { encoded.len() } else { encoded.len() - 1 };
    encoded.get(first..last).filter(|core| core.len() >= SHORTEST_WITHIN).map(str::to_owned)
}

/// Bytes that may begin an escaped character.
const ESCAPES: [u8; 4] = *b"\\%&+";

fn unmatched_length(text: &[u8], at: usize, surroundings: Surroundings) -> usize {
    match (surroundings, text.get(at), text.get(at + 1)) {
        (Surroundings::JsonString, Some(b'\\'), Some(b'u')) => 6,
        (Surroundings::JsonString, Some(b'\\'), _) => 2,
        _ => 1,
    }
}

/// The end of the rest of a secret, if it is at `at`. Each of its characters may be escaped.
fn matched(text: &[u8], mut at: usize, mut secret: Chars<'_>, mut count: usize, ending: Ending) -> Option<usize> {
    while let Some(character) = secret.next() {
        let Some(&first) = text.get(at) else {
            return (ending == Ending::Cut && count >= SHORTEST_REST).then_some(at);
        };
        let mut buffer = [0; 4];
        let literal = character.encode_utf8(&mut buffer).as_bytes();
        let is_literal = text.get(at..).is_some_and(|rest| rest.starts_with(literal));
        count += 1;
        if !ESCAPES.contains(&first) {
            if !is_literal {
                return None;
            }
            at += literal.len();
            continue;
        }
        let mut lengths = Lengths::default();
        escaped_lengths(text.get(at..)?, character, literal, &mut lengths);
        if is_literal {
            lengths.push(literal.len());
        }
        match lengths.as_slice() {
            [] => return None,
            [length] => at += length,
            several => return several.iter().find_map(|length| matched(text, at + length, secret.clone(), count, ending)),
        }
    }
    Some(at)
}

/// The possible lengths of an escaped character. There are few ways to escape one.
#[derive(Default)]
struct Lengths {
    lengths: [usize; 24],
    count: usize,
}

impl Lengths {
    fn push(&mut self, length: usize) {
        if let Some(place) = self.lengths.get_mut(self.count).filter(|_| length > 0) {
            *place = length;
            self.count += 1;
        }
    }

    fn as_slice(&self) -> &[usize] {
        self.lengths.get(..self.count).unwrap_or_default()
    }
}

/// The possible lengths of a character at the beginning of a text, escaped as in JSON, URLs or HTML.
fn escaped_lengths(text: &[u8], character: char, literal: &[u8], lengths: &mut Lengths) {
    match text.first() {
        Some(b'\\') => {
            let backslashes = text.iter().take(MAX_BACKSLASHES).take_while(|byte| **byte == b'\\').count();
            if let Some(length) = unicode_escape(text, backslashes, character) {
                lengths.push(length);
            }
            if character == '\\' {
                (2..=backslashes).rev().for_each(|count| lengths.push(count));
                return;
            }
            let rest = text.get(backslashes..).unwrap_or_default();
            if rest.starts_with(literal) {
                lengths.push(backslashes + literal.len());
            }
        }
        Some(b'%') => lengths.push(percent_length(text, literal).unwrap_or(0)),
        Some(b'&') => lengths.push(entity_length(text, character).unwrap_or(0)),
        Some(b'+') if character == ' ' => lengths.push(1),
        _ => {}
    }
}

/// The length of `\u002f`, or of two such escapes for a character beyond the basic plane, each after `backslashes` backslashes.
fn unicode_escape(text: &[u8], backslashes: usize, character: char) -> Option<usize> {
    let mut at = 0;
    for unit in character.encode_utf16(&mut [0; 2]) {
        let is_escape = text.get(at..at + backslashes)?.iter().all(|byte| *byte == b'\\') && text.get(at + backslashes) == Some(&b'u');
        let hex = text.get(at + backslashes + 1..at + backslashes + 5)?;
        if !is_escape || number(hex, 16) != Some(u32::from(*unit)) {
            return None;
        }
        at += backslashes + 5;
    }
    Some(at)
}

/// The length of `%2F` for each byte. The percent sign itself may be escaped too, as in `%252F`.
fn percent_length(text: &[u8], literal: &[u8]) -> Option<usize> {
    let mut at = 0;
    for &byte in literal {
        if text.get(at) != Some(&b'%') {
            return None;
        }
        at += 1;
        while number(text.get(at..at + 2)?, 16) != Some(u32::from(byte)) {
            if text.get(at..at + 2) != Some(b"25") {
                return None;
            }
            at += 2;
        }
        at += 2;
    }
    Some(at)
}

/// The length of `&amp;`, `&#47;` or `&#x2F;`.
fn entity_length(text: &[u8], character: char) -> Option<usize> {
    let end = text.iter().take(12).position(|byte| *byte == b';')?;
    let name = text.get(1..end)?;
    let found = match name {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        [b'#', b'x' | b'X', hex @ ..] => char::from_u32(number(hex, 16)?)?,
        [b'#', digits @ ..] => char::from_u32(number(digits, 10)?)?,
        _ => return None,
    };
    (found == character).then_some(end + 1)
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let is_number = !digits.is_empty() && digits.iter().all(|byte| char::from(*byte).is_digit(radix));
    u32::from_str_radix(std::str::from_utf8(digits).ok().filter(|_| is_number)?, radix).ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn hidden(secrets: &[&str], text: &str) -> String {
        Patterns::of(secrets.iter().map(|&secret| secret.to_owned()).collect()).hide(text, Surroundings::Text, Ending::Whole).into_owned()
    }

    #[test]
    fn secrets_are_redacted_in_every_form() {
        let secrets = ["hush a/b", "pass\"word", "user:pass\"word", "Sk+ab/cd==\u{e9}", "back\\slash", "a&b%c"];
        for (text, shown) in [
            ("x hush a/b y", "x *** y"),
            ("?t=hush+a%2Fb&u=hush%20a%2fb", "?t=***&u=***"),
            ("?t=hush%2520a%252Fb", "?t=***"),
            (r#"{"p":"pass\"word"}"#, r#"{"p":"***"}"#),
            (r#"{"p":"{\"q\":\"pass\\\"word\"}"}"#, r#"{"p":"{\"q\":\"***\"}"}"#),
            ("Basic dXNlcjpwYXNzIndvcmQ=", "Basic ***"),
            ("<Sk+ab\\/cd==\\u00e9>", "<***>"),
            (r"<Sk\u002Bab/cd\u003d\u003D\u00E9>", "<***>"),
            (r"<Sk\\u002Bab/cd==\\u00E9>", "<***>"),
            ("<Sk%2bab%2fcd%3d%3d%c3%a9>", "<***>"),
            ("<Sk&#43;ab&#x2F;cd==\u{e9}>", "<***>"),
            (r"back\slash back\\slash", "*** ***"),
            (r"back\u005cslash back\\u005Cslash", "*** ***"),
            ("a&b%c a&amp;b%c a%26b%25c", "*** *** ***"),
            ("nothing of the kind: hush a", "nothing of the kind: hush a"),
        ] {
            assert_eq!(hidden(&secrets, text), shown, "{text}");
        }
        for user in ["a", "ab", "abc"] {
            let shown = hidden(&["secret-4711"], &STANDARD.encode(format!("{user}:secret-4711;")));
            assert!(shown.contains("***") && shown.len() < 14, "{shown}");
        }
        assert_eq!(hidden(&["token", "token-long"], "token-long token"), "*** ***");
        assert_eq!(hidden(&[], "x"), "x");
    }

    #[test]
    fn a_cut_text_does_not_end_with_the_beginning_of_a_secret() {
        let patterns = Patterns::of(vec!["abcdefghij".to_owned()]);
        let cut = |text: &'static str| patterns.hide(text, Surroundings::Text, Ending::Cut).into_owned();
        assert_eq!((cut("x abcdef"), cut("x abc"), cut("x abcdx")), ("x ***".into(), "x abc".into(), "x abcdx".into()));
    }

    #[test]
    fn json_keeps_its_keys_its_order_and_the_values_of_etl() {
        let patterns = Patterns::of(vec!["user".to_owned(), "2026".to_owned(), "u0041".to_owned()]);
        let text =
            r#"{"user":"a user","run_id":"2026-user","n":2026,"revenue":{"user":"1.50"},"list":["user",{"kind":"user","x":"\\u0041"}]}"#;
        let shown = r#"{"user":"a ***","run_id":"2026-user","n":2026,"revenue":{"***":"1.50"},"list":["***",{"kind":"user","x":"***"}]}"#;
        assert_eq!(hide_in_json(&patterns, text), shown);
        assert!(serde_json::from_str::<Value>(shown).is_ok());
        let data = r#"{"name":"user","record":{"status":"user","list":[{"name":"a user"}]},"kind":"user"}"#;
        let shown = r#"{"name":"user","record":{"status":"***","list":[{"name":"a ***"}]},"kind":"user"}"#;
        assert_eq!(hide_in_json(&patterns, data), shown);
        let mut value: Value = serde_json::from_str(data).unwrap();
        hide_in_value(&patterns, Owner::Tool, "", &mut value);
        assert_eq!(value, serde_json::from_str::<Value>(shown).unwrap());
        let escape = hide_in_json(&patterns, r#"{"x":"\u0041bc"}"#);
        assert!(serde_json::from_str::<Value>(&escape).is_ok(), "{escape}");
    }

    #[test]
    fn the_beginning_of_a_body_is_short_and_on_one_line() {
        assert_eq!(beginning(b"<html>\n  <b>no</b>"), "<html> <b>no</b>");
        let long = beginning("é".repeat(1000).as_bytes());
        assert_eq!((long.chars().count(), long.ends_with('…')), (301, true));
    }

    #[test]
    fn urls_of_another_system_show_neither_their_users_nor_their_queries() {
        for (text, shown) in [
            ("see https://h/x?sig=a&b=c, then retry", "see https://h/x?*** then retry"),
            (r#"{"url":"https:\/\/h\/x?sig=a\u0026b=c%2F","n":1}"#, r#"{"url":"https:\/\/h\/x?***","n":1}"#),
            (r#"{"url":"https://h/x\u003fsig=a"}"#, r#"{"url":"https://h/x?***"}"#),
            (r#"{\"url\":\"s3://b/x?sig=a\"}"#, r#"{\"url\":\"s3://b/x?***\"}"#),
            ("<a href=\"HTTP://h?a=b\">x</a>", "<a href=\"HTTP://h?***\">x</a>"),
            ("https://user:pw@h/x@y https://h:1/?", "https://***@h/x@y https://h:1/?"),
            ("why? a: b/c?d=e, at 10:30 // x?y", "why? a: b/c?d=e, at 10:30 // x?y"),
            ("https://é/ü?ö", "https://é/ü?***"),
        ] {
            assert_eq!(foreign(text), shown);
            assert_eq!(beginning(text.as_bytes()), shown);
        }
    }

    #[test]
    fn the_time_is_linear_in_the_length_of_the_text() {
        let secrets: Vec<String> = (0..50).map(|number| format!("a{number}-secret-%-\\")).collect();
        let patterns = Patterns::of(secrets);
        for pattern in ["plain text, and more of it ", "%%%%", "\\\\\\\\", "a1-secret-"] {
            let text = pattern.repeat((4 << 20) / pattern.len());
            let began = Instant::now();
            assert!(matches!(patterns.hide(&text, Surroundings::Text, Ending::Whole), Cow::Borrowed(_)));
            assert_eq!(without_queries(&text).len(), text.len());
            assert!(began.elapsed() < Duration::from_secs(10), "{pattern}: {:?}", began.elapsed());
        }
    }
}
