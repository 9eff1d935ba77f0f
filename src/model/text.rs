//! What every text of a source goes through.

use std::borrow::Cow;

/// Trims a text and removes U+0000, which no warehouse takes; `None` where nothing is left.
pub fn clean_text(text: &str) -> Option<Cow<'_, str>> {
    if text.contains('\0') {
        let without = text.replace('\0', "");
        let trimmed = without.trim();
        return (!trimmed.is_empty()).then(|| Cow::Owned(trimmed.to_owned()));
    }
    let trimmed = text.trim();
    (!trimmed.is_empty()).then_some(Cow::Borrowed(trimmed))
}
