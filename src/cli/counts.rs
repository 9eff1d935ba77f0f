//! How the counts of the command line are read, and what is said of one that can't be used. The numbers of settings are read in
//! `settings`.

use std::{num::NonZero, str::FromStr};

/// Reads a count of at least one: a list of no runs would look like a layer without runs. `things` are what is counted.
pub(super) fn count(things: &'static str) -> impl Fn(&str) -> Result<NonZero<usize>, String> + Clone + Send + Sync + 'static {
    move |text| whole(text).ok_or_else(|| format!("write a whole number of {things}, 1 or more"))
}

/// Reads a count that may be 0, where that means to show none of `things`.
pub(super) fn count_or_none(things: &'static str) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync + 'static {
    move |text| whole(text).ok_or_else(|| format!("write a whole number of {things}, 0 or more"))
}

/// A whole number, written in digits alone.
fn whole<T: FromStr>(text: &str) -> Option<T> {
    let is_written_in_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_written_in_digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_can_not_be_used_says_what_to_write() {
        assert_eq!(count("runs")("20").map(NonZero::get), Ok(20));
        assert_eq!(count_or_none("rows")("0"), Ok(0));
        for text in ["0", "-1", "+1", "x", "1.5", "", " 1", "99999999999999999999999"] {
            assert_eq!(count("days")(text), Err("write a whole number of days, 1 or more".to_owned()), "{text}");
        }
        assert_eq!(count_or_none("rows")("-1"), Err("write a whole number of rows, 0 or more".to_owned()));
    }
}
