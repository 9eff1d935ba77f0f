//! How wide the terminal is, and text that fits it: lines end between words. Not about tables, whose columns give way (`table`).

use std::{
    borrow::Cow,
    io::{self, IsTerminal},
    os::fd::AsFd,
};

use super::text::VALUE_COLUMN;

/// The columns of a terminal that does not say how wide it is.
const USUAL: usize = 80;

/// The columns of the terminal that stdout is; `None` where it is none: any width is right then.
pub(super) fn width() -> Option<usize> {
    width_of(&io::stdout())
}

/// The same of stderr.
pub(super) fn error_width() -> Option<usize> {
    width_of(&io::stderr())
}

fn width_of(stream: &(impl IsTerminal + AsFd)) -> Option<usize> {
    let columns = || rustix::termios::tcgetwinsize(stream).map_or(0, |size| usize::from(size.ws_col));
    stream.is_terminal().then(columns).map(|columns| if columns == 0 { USUAL } else { columns })
}

/// The largest column at which the value of a line with a label begins.
const LABEL_END: usize = 28;

/// Stands for a blank at which no line may end. No text has it: it is no character of Unicode.
const UNBROKEN_BLANK: char = '\u{fdd0}';

/// A path of which nothing goes into another line, whatever the width: it can be copied. [`fitted`] gives it its blanks
/// back.
pub(super) fn unbroken(path: &str) -> String {
    path.chars().map(|letter| if letter == ' ' { UNBROKEN_BLANK } else { letter }).collect()
}

/// The text in lines that fit this width; in its own lines where any width is right.
pub(super) fn fitted(text: &str, width: Option<usize>) -> Cow<'_, str> {
    let fitted = width.map_or(Cow::Borrowed(text), |width| Cow::Owned(wrapped(text, width)));
    if fitted.contains(UNBROKEN_BLANK) { Cow::Owned(fitted.replace(UNBROKEN_BLANK, " ")) } else { fitted }
}

/// Where a line of the log goes on: beneath its message, behind the level.
const LOG_MARGIN: usize = 6;

/// Lines of the log that fit the terminal that stderr is; as they are where it is none.
pub(super) fn fitted_log(text: &str) -> Cow<'_, str> {
    error_width().map_or(Cow::Borrowed(text), |width| Cow::Owned(wrapped_log(text, width)))
}

fn wrapped_log(text: &str, width: usize) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (content, end) = line.strip_suffix('\n').map_or((line, ""), |content| (content, "\n"));
        if columns(content) <= width {
            out.push_str(content);
        } else {
            wrap_beneath(&mut out, content, width, LOG_MARGIN.min(width / 2));
        }
        out.push_str(end);
    }
    out
}

/// The text in lines of at most `width` columns. A line that is too long goes on beneath its value, or two columns to the right.
/// A word is never cut: one that is longer than the line has a line of its own.
fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (content, end) = line.strip_suffix('\n').map_or((line, ""), |content| (content, "\n"));
        if columns(content) <= width {
            out.push_str(content)
        } else {
            wrap_beneath(&mut out, content, width, continuation(content).min(width / 2))
        }
        out.push_str(end);
    }
    out
}

/// Writes a line in lines of at most `width` columns; all but the first begin at `margin`. The last has no line break.
pub(super) fn wrap_beneath(out: &mut String, line: &str, width: usize, margin: usize) {
    let (mut column, mut is_blank) = (0, true);
    for word in words(line) {
        let letters = columns(word.trim_end());
        if !is_blank && letters > 0 && column + letters > width {
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', margin));
            (column, is_blank) = (margin, true);
        }
        out.push_str(word);
        column += columns(word);
        is_blank = is_blank && letters == 0;
    }
    out.truncate(out.trim_end_matches(' ').len());
}

/// The words of a line, each with the blanks behind it. A command is one word, between backquotes or at the end of the line: a line
/// break in it could not be copied.
fn words(line: &str) -> Vec<&str> {
    let command = [": etl ", "# etl "].iter().find_map(|lead| line.find(lead).map(|at| at + 2));
    let is_prose = |text: &str| ["`", "; ", ". ", ", "].iter().any(|mark| text.contains(mark));
    let command = command.filter(|at| !is_prose(line.get(*at..).unwrap_or_default()));
    let (mut words, mut start, mut is_quoted) = (Vec::new(), 0, false);
    for (at, letter) in line.char_indices() {
        match letter {
            '`' => is_quoted = !is_quoted && line.get(at + 1..).is_some_and(|rest| rest.contains('`')),
            ' ' if !is_quoted && command.is_none_or(|command| at < command) => {
                if is_in_path(line.get(start..at).unwrap_or_default(), line.get(at + 1..).unwrap_or_default()) {
                    continue;
                }
                words.extend(line.get(start..=at));
                start = at + 1;
            }
            _ => {}
        }
    }
    words.extend(line.get(start..));
    words
}

/// Whether a blank between two texts is one of a path: it stands within a folder, such as that of `my shop/orders`.
fn is_in_path(before: &str, after: &str) -> bool {
    let next = after.split(' ').next().unwrap_or_default();
    let goes_on = next.starts_with(char::is_alphanumeric) && next.contains('/') && !next.contains("://");
    before.contains('/') && before.ends_with(char::is_alphanumeric) && goes_on
}

/// Where a line goes on that is too long: beneath the value of a line with a label, else two columns to the right.
fn continuation(line: &str) -> usize {
    let plain = without_styles(line);
    let lead = plain.chars().take_while(|letter| *letter == ' ').count();
    let labelled = || {
        let label = plain.trim_start().find("  ")?;
        let value = plain.get(lead + label..)?.chars().take_while(|letter| *letter == ' ').count() + lead + label;
        (value <= LABEL_END).then_some(value)
    };
    match lead {
        2 => labelled().unwrap_or(lead + 2),
        // A row without a label, below one that has it.
        VALUE_COLUMN => VALUE_COLUMN,
        _ => lead + 2,
    }
}

/// The columns that a text takes.
fn columns(text: &str) -> usize {
    without_styles(text).chars().count()
}

/// The text without escape sequences of styles: `ESC [ ... m`.
fn without_styles(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut is_escape = false;
    for letter in text.chars() {
        match (is_escape, letter) {
            (false, '\u{1b}') => is_escape = true,
            (false, _) => plain.push(letter),
            (true, _) => is_escape = !letter.is_ascii_alphabetic(),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_between_words_and_no_word_is_lost() {
        let text = format!("  dropped     1 empty_items, 2 invalid_json {}\nshort\n", "and more ".repeat(20));
        for width in [40, 80, 100] {
            let shown = wrapped(&text, width);
            assert!(shown.lines().all(|line| line.len() <= width), "{shown}");
            assert!(shown.lines().skip(1).take_while(|line| *line != "short").all(|line| line.starts_with("              ")), "{shown}");
            assert_eq!(shown.split_whitespace().collect::<Vec<_>>(), text.split_whitespace().collect::<Vec<_>>());
            assert!(shown.ends_with("\nshort\n"));
        }
        assert_eq!(wrapped("a line that fits\n", 80), "a line that fits\n");
    }

    #[test]
    fn a_row_without_a_label_goes_on_where_one_with_a_label_does() {
        let mut text = String::new();
        super::super::text::row(&mut text, "alerts", &"some words ".repeat(12));
        super::super::text::row(&mut text, "", &"some words ".repeat(12));
        let shown = without_styles(&wrapped(&text, 60));
        let leads: Vec<_> = shown.lines().map(|line| line.len() - line.trim_start().len()).collect();
        assert!(leads.len() > 4, "{shown}");
        assert!(leads.iter().skip(1).all(|lead| *lead == VALUE_COLUMN), "{shown}");
    }

    #[test]
    fn a_command_is_not_broken() {
        let end = "Next: etl quarantine --run 20261127T110700995104Z-0034810009 --output 'my out'";
        assert_eq!(wrapped(end, 40), "Next:\n  etl quarantine --run 20261127T110700995104Z-0034810009 --output 'my out'");
        let quoted = "some words, then `etl runs show --output data` and so on";
        assert_eq!(wrapped(quoted, 30), "some words, then\n  `etl runs show --output data`\n  and so on");
        assert_eq!(wrapped("a ` alone breaks as any other line", 20), "a ` alone breaks as\n  any other line");
        let prose = "it says: etl is a tool, and this is a text of many words";
        assert!(wrapped(prose, 20).lines().all(|line| line.len() <= 20), "{}", wrapped(prose, 20));
    }

    #[test]
    fn a_path_stays_in_one_piece_whatever_its_blanks() {
        let path = "/data/my big shop/all orders.ndjson";
        let text = format!("read from {} (1 file)\n", unbroken(path));
        assert_eq!(fitted(&text, Some(24)), format!("read from\n  {path}\n  (1 file)\n"));
        assert_eq!(fitted(&text, None), format!("read from {path} (1 file)\n"));
        // An error names its path itself.
        let error = format!("can't open {}: no such file or folder", "/data/my shop/of-a-customer/orders.ndjson");
        assert_eq!(wrapped(&error, 30), "can't open\n  /data/my shop/of-a-customer/orders.ndjson:\n  no such file or folder");
        assert_eq!(words("/a, b/c d https://e/f g/h"), ["/a, ", "b/c ", "d ", "https://e/f g/h"]);
    }

    #[test]
    fn a_line_of_the_log_goes_on_beneath_its_message() {
        let line = format!("\u{1b}[33m WARN\u{1b}[0m alert: {}kind=\"dropped_share\"\n", "some words ".repeat(12));
        let shown = wrapped_log(&line, 80);
        assert!(shown.ends_with('\n') && shown.lines().count() > 1, "{shown}");
        assert!(shown.lines().all(|line| columns(line) <= 80), "{shown}");
        assert!(shown.lines().skip(1).all(|line| line.starts_with("      ") && !line.starts_with("       ")), "{shown}");
        assert_eq!(shown.split_whitespace().collect::<Vec<_>>(), line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(wrapped_log(" WARN short\n", 80), " WARN short\n");
    }

    #[test]
    fn a_long_word_has_its_own_line_and_styles_take_no_columns() {
        let url = "https://shop.example/".to_owned() + &"x".repeat(90);
        assert_eq!(wrapped(&format!("read from {url} now"), 40), format!("read from\n  {url}\n  now"));
        let styled = format!("{}aa bb{}", "\u{1b}[1m\u{1b}[31m", "\u{1b}[0m");
        assert_eq!(wrapped(&styled, 5), styled);
        assert_eq!(wrapped("      one two", 9), "      one\n    two");
    }
}
