//! `checks.unit_slip`: from how many lines on prices that are off by a factor of 100 or 1,000 fail a run.

use std::str::FromStr;

/// The least number of slipped lines that fails a run.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum UnitSlip {
    /// At least three lines, and one percent of the changed lines.
    Standard,
    /// So many lines.
    Lines(u64),
    /// A share of the changed lines, in percent, and at least one line.
    Percent(f64),
}

impl UnitSlip {
    /// The number of slipped lines from which the check fails, of so many changed lines.
    pub fn threshold(self, changed_lines: u64) -> u64 {
        let share = |percent: f64| {
            // Far below the 2^53 up to which this is exact.
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a count of lines, not money"
            )]
            let lines = (changed_lines as f64 * percent / 100.0).ceil() as u64;
            lines.max(1)
        };
        match self {
            UnitSlip::Standard => share(1.0).max(3),
            UnitSlip::Lines(lines) => lines,
            UnitSlip::Percent(percent) => share(percent),
        }
    }
}

/// The value of the setting: `off` compares no price.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct UnitSlipSetting(pub(super) Option<UnitSlip>);

impl FromStr for UnitSlipSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<UnitSlipSetting, String> {
        let text = text.trim();
        if text == "off" {
            return Ok(UnitSlipSetting(None));
        }
        let threshold = match text.strip_suffix('%') {
            Some(percent) => percent.trim().parse().ok().filter(|percent| *percent > 0.0 && *percent <= 100.0).map(UnitSlip::Percent),
            None => text.parse().ok().filter(|lines| *lines > 0).map(UnitSlip::Lines),
        };
        threshold
            .map(|threshold| UnitSlipSetting(Some(threshold)))
            .ok_or_else(|| "write a number of lines, a share such as 2%, or off".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_is_three_lines_and_one_percent() {
        let threshold = |lines| UnitSlip::Standard.threshold(lines);
        assert_eq!((threshold(0), threshold(10), threshold(300), threshold(301), threshold(100_000)), (3, 3, 3, 4, 1000));
        assert_eq!(UnitSlip::Lines(7).threshold(100_000), 7);
        assert_eq!((UnitSlip::Percent(50.0).threshold(3), UnitSlip::Percent(50.0).threshold(0)), (2, 1));
    }

    #[test]
    fn a_threshold_is_lines_a_share_or_off() {
        let read = |text: &str| text.parse::<UnitSlipSetting>().map(|setting| setting.0);
        assert_eq!(read("5"), Ok(Some(UnitSlip::Lines(5))));
        assert_eq!(read(" 2.5 % "), Ok(Some(UnitSlip::Percent(2.5))));
        assert_eq!(read("off"), Ok(None));
        for text in ["", "0", "-1", "0%", "101%", "NaN%", "three"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
