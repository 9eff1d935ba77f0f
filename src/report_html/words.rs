//! The words of a text that no line may break inside: dates, times, ids, amounts.
//! A browser breaks a line after any hyphen, and a long word anywhere.
//! Responsible for finding them. How they are kept whole is the templates' alone.

use std::borrow::Cow;

use minijinja::value::Serde;
use serde::Serialize;

/// The most characters of a word that is kept whole: an id of a run has 33, a UUID 36.
/// Longer ones are wider than a phone.
const LONGEST_WHOLE: usize = 36;

/// Whether a line may break inside a part of a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Breaks {
    Free,
    Whole,
}

/// A part of a text.
#[derive(PartialEq, Eq, Debug, Serialize)]
pub(super) struct Part {
    breaks: Breaks,
    text: String,
}

/// The parts of a text, in order; together they are the text. A filter of the templates.
pub(super) fn parts(text: Cow<'_, str>) -> Serde<Vec<Part>> {
    let mut parts = Vec::new();
    let mut word = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if !is_gap(character, characters.peek().copied()) {
            word.push(character);
            continue;
        }
        push(&mut parts, breaks(&word), &word);
        push(&mut parts, Breaks::Free, character.encode_utf8(&mut [0; 4]));
        word.clear();
    }
    push(&mut parts, breaks(&word), &word);
    Serde(parts)
}

/// Adds a part; free text goes on where the last part is free.
fn push(parts: &mut Vec<Part>, breaks: Breaks, text: &str) {
    match parts.last_mut() {
        _ if text.is_empty() => {}
        Some(last) if breaks == Breaks::Free && last.breaks == Breaks::Free => last.text.push_str(text),
        _ => parts.push(Part { breaks, text: text.to_owned() }),
    }
}

/// Dates, times, ids and amounts have digits, and a character beside which a line may break.
fn breaks(word: &str) -> Breaks {
    let is_whole = word.contains(['-', '.', ',', ':']) && word.contains(|character: char| character.is_ascii_digit());
    if is_whole && word.chars().count() <= LONGEST_WHOLE { Breaks::Whole } else { Breaks::Free }
}

/// Whether a character stands between words: in prose, in paths and in JSON.
/// A period before a digit is a part of an amount.
fn is_gap(character: char, next: Option<char>) -> bool {
    match character {
        '.' | ',' | ':' => !next.is_some_and(|next| next.is_ascii_digit()),
        ';' | '_' | '"' | '\'' | '{' | '}' | '[' | ']' | '(' | ')' | '<' | '>' | '/' | '\\' | '=' | '&' | '|' => true,
        _ => character.is_whitespace(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of a text that are kept whole. No character is lost or moved.
    #[track_caller]
    fn whole(text: &str) -> Vec<String> {
        let Serde(parts) = parts(Cow::Borrowed(text));
        assert_eq!(parts.iter().map(|part| part.text.as_str()).collect::<String>(), text);
        assert!(parts.windows(2).all(|pair| pair.iter().any(|part| part.breaks == Breaks::Whole)), "{parts:?}");
        parts.into_iter().filter(|part| part.breaks == Breaks::Whole).map(|part| part.text).collect()
    }

    #[test]
    fn dates_times_and_ids_are_kept_whole() {
        assert_eq!(whole("from 2026-01-30 to before 2026-02-02T06:00:00Z."), ["2026-01-30", "2026-02-02T06:00:00Z"]);
        assert_eq!(whole("dt=2026-01-02, dt=2026-01-03 at 09:30 (-1,234.50)."), ["2026-01-02", "2026-01-03", "09:30", "-1,234.50"]);
        let id = "20261127T093734017489Z-006e170000";
        assert_eq!(whole(&format!("quarantine/{id}.ndjson, {id}.fact_quantity_positive.csv")), [id, id]);
        assert_eq!(whole(r#"{"order_id":"EUR-7","at":"2026-01-01","é":[12.50]}"#), ["EUR-7", "2026-01-01", "12.50"]);
    }

    #[test]
    fn other_words_and_long_ones_may_break() {
        assert_eq!(whole(""), [""; 0]);
        assert_eq!(whole("a well-known word, 3 of 4 runs: A1."), [""; 0]);
        assert_eq!(whole(&"ab-1".repeat(10)), [""; 0]);
    }
}
