//! Cleans and truncates the texts of a source, and compares its names.

use std::borrow::Cow;

/// Trims a text and removes U+0000, which warehouses reject; `None` if the result is empty.
pub fn clean_text(text: &str) -> Option<Cow<'_, str>> {
    if text.contains('\0') {
        let without = text.replace('\0', "");
        let trimmed = without.trim();
        return (!trimmed.is_empty()).then(|| Cow::Owned(trimmed.to_owned()));
    }
    let trimmed = text.trim();
    (!trimmed.is_empty()).then_some(Cow::Borrowed(trimmed))
}

/// A name without case and punctuation: `page[number]` and `pageNumber` are the same. Letters beyond ASCII count for nothing.
pub fn plain_name(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|character| character.to_ascii_lowercase()).collect()
}

/// The maximum bytes of a text: the size of the largest VARCHAR of Redshift (contract, Malformed input).
pub const LONGEST_TEXT: usize = 65_535;

/// A text with more than [`LONGEST_TEXT`] bytes, truncated after a whole character; `None` if the text fits.
pub fn fitting_text(text: &str) -> Option<&str> {
    (text.len() > LONGEST_TEXT).then(|| text.get(..text.floor_char_boundary(LONGEST_TEXT)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_truncated_after_a_whole_character() {
        assert_eq!(fitting_text(&"x".repeat(LONGEST_TEXT)), None);
        assert_eq!(fitting_text(&"x".repeat(LONGEST_TEXT + 1)).map(str::len), Some(LONGEST_TEXT));
        let long = format!("x{}", "\u{1f600}".repeat(20_000));
        assert_eq!(fitting_text(&long).map(str::len), Some(65_533));
    }
}
