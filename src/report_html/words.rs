//! The words of a text that no line may break inside: dates, times, ids, amounts.
//! A browser breaks a line after any hyphen. Responsible for finding them. How they are kept whole is the templates' alone.

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
    for piece in text.split_inclusive(is_gap) {
        let (word, gap) = piece.split_at(piece.trim_end_matches(is_gap).len());
        push(&mut parts, breaks(word), word);
        push(&mut parts, Breaks::Free, gap);
    }
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

/// Only a hyphen breaks a date, an id or an amount.
fn breaks(word: &str) -> Breaks {
    let is_whole = word.contains('-') && word.contains(|char: char| char.is_ascii_digit()) && word.chars().count() <= LONGEST_WHOLE;
    if is_whole { Breaks::Whole } else { Breaks::Free }
}

/// What stands between words, in prose, in paths and in JSON.
fn is_gap(char: char) -> bool {
    char.is_whitespace()
        || matches!(char, '.' | ',' | ';' | '_' | '"' | '\'' | '{' | '}' | '[' | ']' | '<' | '>' | '/' | '\\' | '=' | '&' | '|')
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
        assert_eq!(whole("dt=2026-01-02, dt=2026-01-03 and -99.50"), ["2026-01-02", "2026-01-03", "-99"]);
        let id = "20261127T093734017489Z-006e170000";
        assert_eq!(whole(&format!("quarantine/{id}.ndjson, {id}.fact_quantity_positive.csv")), [id, id]);
        assert_eq!(whole(r#"{"order_id":"EUR-7","at":"2026-01-01","é":[]}"#), ["EUR-7", "2026-01-01"]);
    }

    #[test]
    fn other_words_and_long_ones_may_break() {
        assert_eq!(whole(""), [""; 0]);
        assert_eq!(whole("a well-known word, 1,234.50 and 3 of 4 runs"), [""; 0]);
        assert_eq!(whole(&"ab-1".repeat(10)), [""; 0]);
    }
}
