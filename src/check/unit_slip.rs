//! `fact_unit_slip`: prices of a run that are off by a factor of 100 or 1,000 from the last known price of their sku.
//!
//! The lines are found by the merge, which sees old and new side by side. This decides whether they fail the run.

use std::collections::BTreeMap;

use super::{CheckResult, SAMPLE_ROWS, Severity};
use crate::{
    layer::{RunPrices, SlippedLine},
    settings::UnitSlip,
};

/// The name of the check.
pub const UNIT_SLIP: &str = "fact_unit_slip";

/// The result of the check. It fails from `threshold` slipped lines on. Prices that are off by a factor of 10 alone are a warning
/// from there on: a sale may be nine tenths off.
pub fn unit_slip(prices: &RunPrices, threshold: UnitSlip) -> CheckResult {
    let threshold = threshold.threshold(prices.changed_lines);
    let fails = prices.slipped >= threshold;
    let warns = !fails && prices.suspicious >= threshold;
    let shown = |line: &&SlippedLine| !fails || !line.factor.is_plausible();
    let rows: Vec<_> = prices.lines.iter().filter(shown).collect();
    CheckResult {
        name: UNIT_SLIP.to_owned(),
        severity: if warns { Severity::Warn } else { Severity::Error },
        passed: !fails && !warns,
        violations: if fails { prices.slipped } else { prices.slipped + prices.suspicious },
        sample: rows.iter().take(SAMPLE_ROWS).map(|line| row(line)).collect(),
    }
}

/// A slipped line: column to value.
fn row(line: &SlippedLine) -> BTreeMap<String, Option<String>> {
    let factor: &str = line.factor.into();
    [
        ("dt", Some(line.dt.to_string())),
        ("order_id", Some(line.order_id.clone())),
        ("sku", Some(line.sku.clone())),
        ("currency", line.currency.clone()),
        ("unit_price", Some(line.unit_price.to_string())),
        ("last_price", Some(line.last_price.to_string())),
        ("factor", Some(factor.to_owned())),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}
