//! `delete_missing` and `delete_limit`: what becomes of orders that the source no longer has, and how many of them may go in one run.
//!
//! Knows no order: which ones are missing is `layer`'s, and when a run may delete them is `run`'s.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use crate::model::parse_money;

/// Ten-thousandths of a percent of a whole: 100 %.
const WHOLE: u64 = 1_000_000;

/// What becomes of the rows of an order that the source no longer has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum DeletionMode {
    /// They are removed.
    Remove,
    /// They stay, with `status = "deleted"`.
    Mark,
}

impl DeletionMode {
    /// The name in the settings and in the summary.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The largest share of the stored orders of a window that one run may delete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeletionLimit {
    /// In ten-thousandths of a percent: exact, without a float.
    units: u64,
}

impl DeletionLimit {
    /// Whether so many deletions of so many orders are more than the limit.
    pub fn is_exceeded(self, deleted: u64, of: u64) -> bool {
        u128::from(deleted) * u128::from(WHOLE) > u128::from(self.units) * u128::from(of)
    }

    /// The smallest limit in whole percent that allows so many deletions.
    pub fn needed(deleted: u64, of: u64) -> DeletionLimit {
        let percent = (u128::from(deleted) * 100).div_ceil(u128::from(of.max(1))).min(100);
        DeletionLimit { units: u64::try_from(percent).unwrap_or(100) * (WHOLE / 100) }
    }
}

impl Default for DeletionLimit {
    /// 5 %.
    fn default() -> DeletionLimit {
        DeletionLimit { units: 5 * (WHOLE / 100) }
    }
}

impl fmt::Display for DeletionLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.units / (WHOLE / 100), self.units % (WHOLE / 100));
        if rest == 0 {
            return write!(f, "{whole}%");
        }
        let decimals = format!("{rest:04}");
        write!(f, "{whole}.{}%", decimals.trim_end_matches('0'))
    }
}

impl FromStr for DeletionLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<DeletionLimit, String> {
        let percent = text.trim().strip_suffix('%').map(str::trim_end);
        let parsed = percent.and_then(|percent| parse_money(percent.as_bytes()).ok()).filter(|parsed| !parsed.rounded);
        let units = parsed.and_then(|parsed| u64::try_from(parsed.money.units()).ok()).filter(|units| *units <= WHOLE);
        units.map(|units| DeletionLimit { units }).ok_or_else(|| "write a share from 0% to 100%, such as 20%".to_owned())
    }
}

/// What a run does about orders that the source no longer has.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DeletionSettings {
    /// What becomes of them; `None`: nothing is looked for.
    pub mode: Option<DeletionMode>,
    /// How many of them may go in one run.
    pub limit: DeletionLimit,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_share_and_exact() {
        let read = |text: &str| text.parse::<DeletionLimit>();
        for (text, shown) in [("5%", "5%"), (" 20 % ", "20%"), ("0%", "0%"), ("100%", "100%"), ("2.5%", "2.5%"), ("0.05%", "0.05%")] {
            assert_eq!(read(text).unwrap().to_string(), shown, "{text}");
        }
        for text in ["", "5", "%", "101%", "-1%", "a few%", "0.00001%"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(read("5%").unwrap(), DeletionLimit::default());
    }

    #[test]
    fn exactly_the_limit_is_allowed() {
        let five = DeletionLimit::default();
        assert!(!five.is_exceeded(5, 100) && five.is_exceeded(6, 100) && !five.is_exceeded(0, 0));
        assert!(five.is_exceeded(1, 10), "one of ten is ten percent");
        assert!(!"100%".parse::<DeletionLimit>().unwrap().is_exceeded(7, 7) && "0%".parse::<DeletionLimit>().unwrap().is_exceeded(1, 9999));
        for (deleted, of, needed) in [(1, 10, "10%"), (1, 3, "34%"), (7, 7, "100%"), (1, 10_000, "1%"), (1, 0, "100%")] {
            let limit = DeletionLimit::needed(deleted, of);
            assert_eq!(limit.to_string(), needed);
            assert!(of == 0 || !limit.is_exceeded(deleted, of));
        }
    }
}
