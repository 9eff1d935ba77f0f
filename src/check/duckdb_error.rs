//! DuckDB's words about a query, and the line that they are about. Decides nothing about what follows from them.

use super::{CheckError, CustomCheck};

/// Kinds of errors, as DuckDB's words begin, that come neither of a file nor of memory.
const OF_COMPUTATION: [&str; 5] =
    ["Out of Range Error:", "Conversion Error: Casting value", "Not implemented Error:", "Parser Error:", "INTERNAL Error:"];

/// An error of DuckDB.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct DuckDbError {
    /// What is wrong.
    message: String,
    /// The place in the statement, where DuckDB names it.
    place: Option<StatementPlace>,
}

/// A place in a statement.
#[derive(Clone, PartialEq, Eq, Debug)]
struct StatementPlace {
    /// The line of the statement, counted from 1.
    line: usize,
    /// The text around the place, and a mark under it.
    excerpt: String,
}

impl DuckDbError {
    /// Takes the words apart. DuckDB ends a message with `LINE 3: text`, and a mark in the line below.
    pub(super) fn parse(words: &str) -> DuckDbError {
        let place = words.rfind("\nLINE ").and_then(|at| {
            let (number, rest) = words[at + "\nLINE ".len()..].split_once(": ")?;
            let line = number.parse().ok()?;
            let margin = "LINE ".len() + number.len() + ": ".len();
            let (text, mark) = rest.split_once('\n').unwrap_or((rest, ""));
            let mark = mark.get(margin..).unwrap_or_default().trim_end();
            Some((at, StatementPlace { line, excerpt: format!("  {}\n  {mark}", text.trim_end()) }))
        });
        match place {
            Some((at, place)) => DuckDbError { message: words[..at].trim_end().to_owned(), place: Some(place) },
            None => DuckDbError { message: words.trim_end().to_owned(), place: None },
        }
    }

    /// The error of a built-in query, or of the files that it reads.
    pub(super) fn of_layer(self, doing: &str) -> CheckError {
        let (doing, detail) = (doing.to_owned(), self.message);
        match OF_COMPUTATION.iter().any(|kind| detail.starts_with(kind)) {
            true => CheckError::Query { doing, detail },
            false => CheckError::Layer { doing, detail },
        }
    }

    /// The error of a user's query of some lines, which is the second line and the following ones of the statement.
    pub(super) fn of_custom(self, check: &CustomCheck, lines: usize) -> CheckError {
        let Some(StatementPlace { line, excerpt }) = self.place else { return check.error(None, self.message) };
        let line = line.saturating_sub(1).max(1);
        if line > lines {
            return check.error(Some(lines), format!("the query is not complete: {}", self.message));
        }
        check.error(Some(line), format!("{}\n{excerpt}", self.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_taken_out_of_duckdbs_words() {
        let words = "Binder Error: Referenced column \"statuss\" not found\nCandidate bindings: \"status\"\n\nLINE 12: WHERE statuss = 1\n               ^";
        let error = DuckDbError::parse(words);
        assert_eq!(error.message, "Binder Error: Referenced column \"statuss\" not found\nCandidate bindings: \"status\"");
        assert_eq!(error.place, Some(StatementPlace { line: 12, excerpt: "  WHERE statuss = 1\n        ^".to_owned() }));
        for words in ["Out of Memory Error: x", "a\nLINE many: x", "a\nLINE 3"] {
            assert_eq!(DuckDbError::parse(words), DuckDbError { message: words.to_owned(), place: None });
        }
    }

    #[test]
    fn a_value_that_can_not_be_computed_with_is_no_file_that_can_not_be_read() {
        let of_layer = |words: &str| DuckDbError::parse(words).of_layer("running the built-in checks");
        for words in [
            "Out of Range Error: Overflow on abs(-9223372036854775808)",
            "Conversion Error: Casting value \"1844674.0000\" to type DECIMAL(38,8) failed: value is out of range!",
        ] {
            assert!(matches!(of_layer(words), CheckError::Query { .. }), "{words}");
        }
        for words in
            ["IO Error: No files found", "Out of Memory Error: x", "Conversion Error: CSV Error on Line: 2", "Invalid Input Error: x"]
        {
            assert!(matches!(of_layer(words), CheckError::Layer { .. }), "{words}");
        }
    }
}
