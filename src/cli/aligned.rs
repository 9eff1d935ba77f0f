//! Rows of texts as a table that a person reads: a column is as wide as its longest text. Knows no content.

use comfy_table::{Table, presets};

/// The rows beneath a header, with a line for each.
pub(super) fn aligned<R: IntoIterator<Item = String>>(header: &[&str], rows: impl IntoIterator<Item = R>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    let lines = table.trim_fmt();
    // The style has a space before its first column.
    lines.lines().map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line))).collect()
}

/// A text in one line, cut where a table would become too wide.
pub(super) fn in_short(text: &str, longest: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= longest {
        return line;
    }
    line.chars().take(longest.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_stands_at_the_ends_of_lines() {
        let rows = [["a".to_owned(), "first".to_owned()], ["longer".to_owned(), String::new()]];
        let text = aligned(&["n", "what"], rows);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!((lines[0].find("what"), lines[1].find("first"), lines[2]), (Some(8), Some(8), "longer"), "{text}");
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn a_long_text_is_cut_after_whole_characters() {
        assert_eq!((in_short("a\n  b", 9), in_short("äöüß", 3)), ("a b".to_owned(), "äö…".to_owned()));
    }
}
