//! WHEN: how the ends of a window are written. Knows no history.

use std::{str::FromStr, time::Duration};

use super::parse_span;
use crate::model::{UtcMicros, parse_time_text};

/// An end of a window as it is written (contract, Command line).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// `2026-01-31` (midnight UTC) or RFC 3339.
    At(UtcMicros),
    /// `7d`, `36h`: an age.
    Ago(Duration),
    /// `last`: the end of the coverage.
    Last,
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<When, String> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("last") {
            return Ok(When::Last);
        }
        if let Some(instant) = parse_time_text(text) {
            return Ok(When::At(instant));
        }
        parse_span(text)
            .map(When::Ago)
            .map_err(|_| "write a date (2026-01-31), a time (2026-01-31T10:00:00Z), an age (7d, 36h) or `last`".to_owned())
    }
}

impl When {
    /// The instant, if it does not depend on the history.
    pub fn instant(self, now: UtcMicros) -> Option<UtcMicros> {
        match self {
            When::At(instant) => Some(instant),
            When::Ago(span) => Some(now.minus(i64::try_from(span.as_micros()).unwrap_or(i64::MAX))),
            When::Last => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_others_are_explained() {
        let at = |text: &str| text.parse::<When>().unwrap();
        assert_eq!(at("2026-01-31"), When::At(UtcMicros::from_civil((2026, 1, 31), 0, 0, 0).unwrap()));
        assert_eq!(at("2026-01-31T02:00:00+02:00"), at("2026-01-31"));
        assert_eq!(at("7d"), When::Ago(Duration::from_secs(7 * 86_400)));
        assert_eq!(at("36h"), When::Ago(Duration::from_secs(36 * 3600)));
        assert_eq!(at("Last"), When::Last);
        for text in ["", "yesterday", "7", "d", "-7d", "2026-02-30", "99999999999999999999d"] {
            assert!(text.parse::<When>().unwrap_err().contains("write a date"), "{text}");
        }
        let now = UtcMicros::from_civil((2026, 1, 31), 0, 0, 0).unwrap();
        assert_eq!(at("24h").instant(now).unwrap().rfc3339(), "2026-01-30T00:00:00Z");
        assert_eq!(at("9999999d").instant(now), Some(UtcMicros::MIN));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,30}") {
            let _ = text.parse::<When>().map(|when| when.instant(UtcMicros::MAX));
        }
    }
}
