//! Texts of a source in one line of a terminal: what would break or hide a line is shown as an escape. Wraps nothing.

use std::borrow::Cow;

/// The text with its line breaks, control characters and marks of direction as escapes: `\n`, `\u{1b}`.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(breaks_a_line) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        if breaks_a_line(letter) { line.extend(letter.escape_default()) } else { line.push(letter) }
    }
    Cow::Owned(line)
}

/// The text in one line, with a space in place of each run of white space. For texts whose line breaks mean nothing.
pub(super) fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Control characters, separators of lines, and what changes the direction of the text behind it.
fn breaks_a_line(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_text_holds_it_is_one_line_and_nothing_of_it_is_lost() {
        assert_eq!(escaped("A\n1\t\u{1b}[31m\u{202e}x\u{85}"), "A\\n1\\t\\u{1b}[31m\\u{202e}x\\u{85}");
        assert!(matches!(escaped("Müller 東京 a b"), Cow::Borrowed("Müller 東京 a b")));
        assert_eq!(in_one_line(" a\n  b\t"), "a b");
    }
}
