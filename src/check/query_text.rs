//! The text of a user's query: where its one statement ends, and where it names `$since` and `$until`.
//!
//! Knows quotes, dollar quotes, nested comments and brackets of DuckDB's dialect, and nothing else of SQL: whether the
//! statement is a query, DuckDB says.

use std::ops::Range;

use crate::model::{UtcMicros, Window};

/// One statement without its semicolon. Its lines are those of its file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueryText {
    text: String,
    parameters: Vec<(Range<usize>, Parameter)>,
}

/// A value that a query may name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, strum::EnumString)]
#[strum(serialize_all = "snake_case", ascii_case_insensitive)]
enum Parameter {
    Since,
    Until,
}

/// A text that is not one statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TextError {
    /// The line, counted from 1; `None` for the file as a whole.
    pub line: Option<usize>,
    /// The mistake.
    pub detail: String,
}

impl QueryText {
    /// Finds the statement of a file.
    ///
    /// # Errors
    /// [`TextError`]: there is none, or more than one; a quote, comment or bracket is not closed; an unknown parameter.
    pub fn parse(file: &str) -> Result<QueryText, TextError> {
        Scanner { text: file.strip_prefix('\u{feff}').unwrap_or(file), at: 0, depth: 0, parameters: Vec::new() }.statement()
    }

    /// The query, with the ends of a window in place of `$since` and `$until`: TIMESTAMP, NULL where an end is open.
    pub fn bound(&self, window: Window) -> String {
        let mut bound = String::new();
        let mut from = 0;
        for (range, parameter) in &self.parameters {
            bound.push_str(&self.text[from..range.start]);
            let instant = match parameter {
                Parameter::Since => window.since,
                Parameter::Until => window.until,
            };
            bound.push_str(&timestamp(instant));
            from = range.end;
        }
        bound.push_str(&self.text[from..]);
        bound
    }

    /// Whether the query names an end of the window.
    pub fn names_window(&self) -> bool {
        !self.parameters.is_empty()
    }
}

fn timestamp(instant: Option<UtcMicros>) -> String {
    let value = instant.map_or("NULL".to_owned(), |instant| format!("'{}'", instant.to_canonical()));
    format!("CAST({value} AS TIMESTAMP)")
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
    /// Open round brackets.
    depth: usize,
    parameters: Vec<(Range<usize>, Parameter)>,
}

impl Scanner<'_> {
    fn statement(mut self) -> Result<QueryText, TextError> {
        // The end of the last token of the statement, and whether a semicolon has followed it.
        let (mut end, mut is_closed) = (0, false);
        while let Some(first) = self.rest().chars().next() {
            let start = self.at;
            if first.is_whitespace() {
                self.at += first.len_utf8();
            } else if self.rest().starts_with("--") {
                self.at += self.rest().find('\n').unwrap_or(self.rest().len());
            } else if self.rest().starts_with("/*") {
                self.block_comment()?;
            } else if first == ';' {
                self.at += 1;
                is_closed = end > 0;
            } else if is_closed {
                return Err(self.error(start, "a second statement begins here: write one query in each file"));
            } else {
                self.token(first)?;
                end = self.at;
            }
        }
        if end == 0 {
            return Err(TextError { line: None, detail: "the file holds no query".into() });
        }
        if self.depth > 0 {
            return Err(self.error(end, "a `(` is not closed"));
        }
        Ok(QueryText { text: self.text[..end].to_owned(), parameters: self.parameters })
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn error(&self, at: usize, detail: impl Into<String>) -> TextError {
        TextError { line: Some(self.text[..at].matches('\n').count() + 1), detail: detail.into() }
    }

    fn token(&mut self, first: char) -> Result<(), TextError> {
        match first {
            '\'' => self.quoted('\'', Escapes::None),
            '"' => self.quoted('"', Escapes::None),
            '$' => self.dollar(),
            '(' => {
                self.depth += 1;
                self.at += 1;
                Ok(())
            }
            ')' if self.depth == 0 => Err(self.error(self.at, "this `)` closes no bracket")),
            ')' => {
                self.depth -= 1;
                self.at += 1;
                Ok(())
            }
            c if is_word(c) => self.word(),
            c => {
                self.at += c.len_utf8();
                Ok(())
            }
        }
    }

    /// A word, which may hold `$`; or a string that begins with `e'` and has escapes.
    fn word(&mut self) -> Result<(), TextError> {
        let length = self.rest().find(|c: char| !is_word(c) && c != '$').unwrap_or(self.rest().len());
        let is_escaped = self.rest()[..length].eq_ignore_ascii_case("e") && self.rest()[length..].starts_with('\'');
        self.at += length;
        if is_escaped { self.quoted('\'', Escapes::Backslash) } else { Ok(()) }
    }

    /// A text between quotes; a doubled quote is part of it.
    fn quoted(&mut self, quote: char, escapes: Escapes) -> Result<(), TextError> {
        let start = self.at;
        let mut characters = self.rest().char_indices().skip(1).peekable();
        while let Some((at, c)) = characters.next() {
            if c == '\\' && escapes == Escapes::Backslash {
                characters.next();
            } else if c == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
                self.at = start + at + 1;
                return Ok(());
            }
        }
        Err(self.error(start, format!("the text that begins with {quote} is not closed")))
    }

    /// `$tag$ ... $tag$`, or a parameter.
    fn dollar(&mut self) -> Result<(), TextError> {
        let start = self.at;
        let name_length = self.rest()[1..].find(|c: char| !is_word(c)).unwrap_or(self.rest().len() - 1);
        let (name, after) = self.rest()[1..].split_at(name_length);
        if after.starts_with('$') && !name.starts_with(|c: char| c.is_ascii_digit()) {
            let tag = format!("${name}$");
            let Some(length) = self.rest()[tag.len()..].find(&tag) else {
                return Err(self.error(start, format!("the text that begins with {tag} is not closed")));
            };
            self.at += length + 2 * tag.len();
            return Ok(());
        }
        let parameter = name.parse().map_err(|_| self.error(start, format!("unknown parameter `${name}`: write $since or $until")))?;
        self.at += 1 + name_length;
        self.parameters.push((start..self.at, parameter));
        Ok(())
    }

    /// A comment that may hold comments.
    fn block_comment(&mut self) -> Result<(), TextError> {
        let start = self.at;
        let mut depth = 0_usize;
        while !self.rest().is_empty() {
            if self.rest().starts_with("/*") {
                depth += 1;
                self.at += 2;
            } else if self.rest().starts_with("*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return Ok(());
                }
            } else {
                self.at += self.rest().chars().next().map_or(0, char::len_utf8);
            }
        }
        Err(self.error(start, "the comment that begins with /* is not closed"))
    }
}

/// Whether a backslash escapes the next character of a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    None,
    Backslash,
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        QueryText::parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}")).bound(Window::default())
    }

    #[test]
    fn the_statement_ends_before_its_semicolon_and_what_follows_may_be_a_comment() {
        for (text, statement) in [
            ("SELECT 1", "SELECT 1"),
            ("SELECT 1; -- why", "SELECT 1"),
            ("SELECT 1 -- why; not", "SELECT 1"),
            ("-- a; b\nSELECT 1\n;\n/* ; /* ; */ ; */;;\n", "-- a; b\nSELECT 1"),
            ("\u{feff}SELECT ';' AS \"a;\"\"b\";", "SELECT ';' AS \"a;\"\"b\""),
            ("SELECT 'it''s; -- x';", "SELECT 'it''s; -- x'"),
            (r"SELECT e'it\'s;';", r"SELECT e'it\'s;'"),
            (r"SELECT 'a\'; -- b", r"SELECT 'a\'"),
            ("SELECT $$;'$$, $since$ ; $until $since$;", "SELECT $$;'$$, $since$ ; $until $since$"),
            ("SELECT a$b FROM t;", "SELECT a$b FROM t"),
            ("SELECT 'é' ;", "SELECT 'é'"),
        ] {
            assert_eq!(parsed(text), statement);
        }
    }

    #[test]
    fn what_is_not_one_statement_is_refused_with_its_line() {
        for (text, line, message) in [
            ("", None, "holds no query"),
            ("-- only\n/* comments */ ;", None, "holds no query"),
            ("SELECT 1;\n-- next\nSELECT 2", Some(3), "a second statement"),
            ("SELECT\n'a", Some(2), "begins with ' is not closed"),
            ("SELECT \"a", Some(1), "is not closed"),
            ("SELECT $x$ a", Some(1), "begins with $x$ is not closed"),
            ("SELECT 1 /* a /* b */", Some(1), "comment that begins"),
            ("SELECT (1", Some(1), "`(` is not closed"),
            ("SELECT 1\n) UNION (SELECT 2", Some(2), "closes no bracket"),
            ("SELECT $1", Some(1), "unknown parameter `$1`"),
            ("SELECT\n\n$sinc", Some(3), "unknown parameter `$sinc`: write $since or $until"),
        ] {
            let error = QueryText::parse(text).unwrap_err();
            assert!(error.line == line && error.detail.contains(message), "{text}: {error:?}");
        }
    }

    #[test]
    fn the_ends_of_the_window_stand_in_place_of_the_parameters() {
        let query = QueryText::parse("SELECT $since, '$since', $UNTIL + INTERVAL 1 DAY -- $until\n, $since;").unwrap();
        let window = Window { since: UtcMicros::from_civil((2026, 1, 31), 0, 0, 0), until: None };
        assert!(query.names_window() && !QueryText::parse("SELECT '$since'").unwrap().names_window());
        assert_eq!(
            query.bound(window),
            "SELECT CAST('2026-01-31 00:00:00' AS TIMESTAMP), '$since', CAST(NULL AS TIMESTAMP) + INTERVAL 1 DAY -- $until\n, CAST('2026-01-31 00:00:00' AS TIMESTAMP)"
        );
    }
}
