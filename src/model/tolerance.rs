//! How many violations a check accepts. Compares whole numbers only: a share is a count of billionths.

/// How many violations a check accepts before it fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tolerance {
    /// Up to this many violations.
    Rows(u64),
    /// Up to this share of the rows of the table, in billionths.
    Share {
        /// The share: 1,000,000,000 is all rows.
        billionths: u64,
    },
}

/// All rows.
const WHOLE: u64 = 1_000_000_000;

impl Default for Tolerance {
    fn default() -> Tolerance {
        Tolerance::Rows(0)
    }
}

impl Tolerance {
    /// A percentage from 0 to 100, such as `0.1`. At most 7 decimals.
    pub fn percent(text: &str) -> Option<Tolerance> {
        share(text, 7)
    }

    /// A fraction from 0 to 1, such as `0.001`. At most 9 decimals.
    pub fn fraction(text: &str) -> Option<Tolerance> {
        share(text, 9)
    }

    /// Whether this many violations of a table of this many rows are accepted.
    pub fn accepts(self, violations: u64, rows: u64) -> bool {
        match self {
            Tolerance::Rows(most) => violations <= most,
            Tolerance::Share { billionths } => u128::from(violations) * u128::from(WHOLE) <= u128::from(rows) * u128::from(billionths),
        }
    }
}

/// A decimal number whose unit is 10^`decimals` billionths.
fn share(text: &str, decimals: u32) -> Option<Tolerance> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    let length = u32::try_from(fraction.len()).ok().filter(|length| *length <= decimals)?;
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(10_u64.pow(decimals))?;
    let fraction = fraction.parse::<u64>().ok()?.checked_mul(10_u64.pow(decimals - length))?;
    whole.checked_add(fraction).filter(|billionths| *billionths <= WHOLE).map(|billionths| Tolerance::Share { billionths })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_read_digit_by_digit_and_compared_exactly() {
        assert_eq!(Tolerance::percent("0.1"), Some(Tolerance::Share { billionths: 1_000_000 }));
        assert_eq!(Tolerance::percent("0.1"), Tolerance::fraction("0.001"));
        assert_eq!(Tolerance::percent("100"), Some(Tolerance::Share { billionths: WHOLE }));
        for text in ["", ".", "1.", ".5", "-1", "1e-3", "100.1", "101", "0.00000001", "18446744073709551616"] {
            assert_eq!(Tolerance::percent(text), None, "{text}");
        }
        let share = Tolerance::percent("0.1").unwrap();
        assert!(share.accepts(1, 1000) && !share.accepts(1, 999) && !share.accepts(2, 1000) && share.accepts(0, 0));
        assert!(Tolerance::Rows(5).accepts(5, 0) && !Tolerance::Rows(5).accepts(6, 1_000_000) && !Tolerance::default().accepts(1, 9));
        assert!(Tolerance::Share { billionths: WHOLE }.accepts(u64::MAX, u64::MAX));
    }
}
