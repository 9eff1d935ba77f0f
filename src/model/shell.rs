//! Words of a POSIX shell, for commands that somebody copies.

/// A text as one word of a shell, whatever stands in it.
pub fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quote_is_closed_once() {
        assert_eq!(shell_quoted("it's $(x)"), r"'it'\''s $(x)'");
    }
}
