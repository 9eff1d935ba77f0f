//! The number of decimals of a currency's minor unit: 2 for cents, 0 for yen, 3 for thousandths of a dinar.

use iso_currency::Currency;

/// The standard that defines the minor units.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum MinorUnits {
    /// ISO 4217.
    #[default]
    Iso4217,
    /// ISO 4217 with Stripe's exceptions (<https://docs.stripe.com/currencies#special-cases>).
    Stripe,
}

impl MinorUnits {
    /// The decimals of a currency, by its code in upper or lower case. `None` if the currency is unknown or has no minor unit.
    pub fn decimals(self, currency: &str) -> Option<u32> {
        let code = currency.trim().to_ascii_uppercase();
        let exponent = Currency::from_code(&code)?.exponent().map(u32::from)?;
        match (self, code.as_str()) {
            // Stripe uses no decimals for these; ISO 4217 uses two.
            (MinorUnits::Stripe, "MGA") => Some(0),
            // Stripe uses two decimals for these; ISO 4217 uses none.
            (MinorUnits::Stripe, "ISK" | "UGX") => Some(2),
            _ => Some(exponent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_units_depend_on_the_currency() {
        let iso = |code: &str| MinorUnits::Iso4217.decimals(code);
        for (code, decimals) in
            [("eur", 2), ("JPY", 0), (" kwd", 3), ("UGX", 0), ("LYD", 3), ("ISK", 0), ("MGA", 2), ("CLF", 4), ("HUF", 2), ("TWD", 2)]
        {
            assert_eq!(iso(code), Some(decimals), "{code}");
        }
        for code in ["", "XXX", "XAU", "EURO", "E", "BTC"] {
            assert_eq!(iso(code), None, "{code}");
        }
        let stripe = |code: &str| MinorUnits::Stripe.decimals(code);
        assert_eq!(
            [stripe("ugx"), stripe("isk"), stripe("mga"), stripe("bif"), stripe("kwd"), stripe("usd")],
            [Some(2), Some(2), Some(0), Some(0), Some(3), Some(2)]
        );
    }
}
