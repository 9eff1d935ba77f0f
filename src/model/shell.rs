//! Words of a POSIX shell, for commands that somebody copies.

use std::borrow::Cow;

/// A text as one word of a shell, with quotes only where a shell would change it.
pub fn shell_word(text: &str) -> Cow<'_, str> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=@%+,".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(shell_quoted(text))
}

/// A text as one word of a shell, whatever stands in it.
pub fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_only_where_a_shell_would_change_them() {
        for plain in ["s3://bucket/prefix", "./a-b_c.1", "https://shop.example/orders"] {
            assert_eq!(shell_word(plain), plain);
        }
        for (word, shown) in [("", "''"), ("a b", "'a b'"), ("x?y=1&z", "'x?y=1&z'"), ("$HOME", "'$HOME'")] {
            assert_eq!(shell_word(word), shown);
        }
    }

    #[test]
    fn every_quote_is_closed_once() {
        assert_eq!(shell_quoted("it's $(x)"), r"'it'\''s $(x)'");
    }
}
