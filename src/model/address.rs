//! E-mail addresses in texts: found as whole words, and compared in lower case.
//!
//! Whose address it is, and what follows from that, is not decided here.

use std::{borrow::Cow, collections::BTreeSet};

/// How often a text may be written out within another: a JSON document that is a text of a JSON document.
const DEEPEST_ESCAPES: usize = 2;

/// What a URL or a pair of name and value puts before an address.
const MARKS_WITHIN: &str = ":=/&?#";

/// The addresses that a text may name, in lower case: each word with an `@`, and the parts of such a word. Escapes of JSON are resolved,
/// so that the text may be a record, broken or not. Among them are parts that are no address of anybody.
pub fn addresses_in(text: &str) -> BTreeSet<String> {
    if !text.contains('@') && !text.contains("\\u0040") {
        return BTreeSet::new();
    }
    let text = unescaped(text);
    let words = words(&text).flat_map(|word| word.split(|letter: char| MARKS_WITHIN.contains(letter)).chain([word]));
    words.filter_map(address_of_word).collect()
}

/// The addresses that a value of a column is, or names, in lower case: whole words only.
pub fn addresses_of(value: &str) -> BTreeSet<String> {
    words(value).filter_map(address_of_word).collect()
}

/// The address that the id of a user is, in lower case; empty if it is none. The id may begin with the name of a shop.
pub fn addresses_of_id(user_id: &str) -> BTreeSet<String> {
    addresses_of(user_id.rsplit(':').next().unwrap_or(user_id))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_mark = |letter: char| letter.is_whitespace() || letter.is_control() || "<>()[]{},;\"\\|«»„“”".contains(letter);
    text.split(is_mark)
}

/// A word without the marks around it, in lower case; `None` if it is no address.
fn address_of_word(word: &str) -> Option<String> {
    if !word.contains('@') {
        return None;
    }
    let word = word.trim_matches(|letter: char| ".'`!?*:…’‘".contains(letter)).to_lowercase();
    let address = word.strip_prefix("mailto:").unwrap_or(&word);
    let (local, domain) = address.rsplit_once('@')?;
    (!local.is_empty() && !domain.is_empty()).then(|| address.to_owned())
}

/// A text without escapes of JSON.
fn unescaped(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    for _ in 0..DEEPEST_ESCAPES {
        if text.contains('\\') {
            text = Cow::Owned(unescaped_once(&text));
        }
    }
    text
}

/// The same, of escapes that are not escaped themselves. White space stands for what is no letter.
fn unescaped_once(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let code = after.strip_prefix('u').and_then(|digits| u32::from_str_radix(digits.get(..4)?, 16).ok());
        let mut letters = after.chars();
        let letter = letters.next();
        rest = letters.as_str();
        match (letter, code) {
            (Some('u'), Some(code)) => {
                out.push(char::from_u32(code).unwrap_or(' '));
                rest = after.get(5..).unwrap_or_default();
            }
            (Some('n' | 'r' | 't' | 'b' | 'f' | 'u'), _) => out.push(' '),
            (Some(letter), _) => out.push(letter),
            (None, _) => {}
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_as_words_in_any_case() {
        for text in [
            "jane@x.example",
            "  JANE@X.Example\t",
            "Jane <JANE@x.example>",
            "of 'jane@x.example', and others.",
            "Ask jane@x.example.",
            "mailto:jane@x.example?subject=order",
            "https://shop.example/?mail=jane@x.example&n=1",
            "\"jane@x.example\";\"other\"",
            r#"{"email":"Jane@x.example","items""#,
            r#"{"note":"Hi\njane@x.example"}"#,
            r#"{"mail":"jane\u0040x.example"}"#,
            r#"{"mail":"\u003cjane@x.example\u003e"}"#,
            r#"{"data":"{\"mail\":\"jane@x.example\",\"note\":\"Hi\\njane@x.example\"}"}"#,
        ] {
            assert!(addresses_in(text).contains("jane@x.example"), "{text}: {:?}", addresses_in(text));
        }
        for text in
            ["mary-jane@x.example", "jane@x.example.org", "o'jane@x.example", "@x.example", "jane@", "jane at x.example", "@\\", "@\\u00"]
        {
            assert!(!addresses_in(text).contains("jane@x.example"), "{text}");
        }
    }

    #[test]
    fn a_value_is_one_address_and_no_part_of_it() {
        let one = |address: &str| -> BTreeSet<String> { [address.to_owned()].into() };
        assert_eq!(addresses_of(" O'Neil+shop@x.example "), one("o'neil+shop@x.example"));
        assert_eq!(addresses_of("a=b@x.example"), one("a=b@x.example"));
        assert_eq!(addresses_of("Jane <jane@x.example>"), one("jane@x.example"));
        assert_eq!(addresses_of_id("de:Jane@x.example"), one("jane@x.example"));
        assert!(addresses_of_id("de:7").is_empty() && addresses_of("").is_empty());
    }
}
