//! `fact_unit_slip`: prices of a run that are off by a factor of 100 or 1,000 from the last known price of their sku.
//!
//! The lines are found by the merge, which sees old and new side by side. This decides whether they fail the run.

use std::path::Path;

use super::{
    CheckError, CheckResult, SAMPLE_ROWS, Severity,
    violations::{RowLimit, ViolationFile},
};
use crate::{
    layer::{RunPrices, SlippedLine},
    settings::UnitSlip,
};

/// The name of the check.
pub const UNIT_SLIP: &str = "fact_unit_slip";

/// The columns of a violating row.
const COLUMNS: [&str; 7] = ["dt", "order_id", "sku", "currency", "unit_price", "last_price", "factor"];

/// The result of the check. It fails from `threshold` slipped lines on. Prices that are off by a factor of 10 alone are a warning
/// from there on: a sale may be nine tenths off. Slipped lines of a result that does not pass are kept in `folder`.
///
/// # Errors
/// [`CheckError::Violations`].
pub fn unit_slip(prices: &RunPrices, threshold: UnitSlip, folder: Option<&Path>) -> Result<CheckResult, CheckError> {
    let RunPrices { slipped, suspicious, changed_lines, .. } = prices;
    let threshold = threshold.threshold(*changed_lines);
    if slipped.count >= threshold {
        return failing(Severity::Error, slipped.count, &slipped.first.iter().collect::<Vec<_>>(), folder);
    }
    if suspicious.count >= threshold {
        let lines: Vec<_> = slipped.first.iter().chain(&suspicious.first).collect();
        return failing(Severity::Warn, slipped.count + suspicious.count, &lines, folder);
    }
    Ok(CheckResult { violations: slipped.count + suspicious.count, ..CheckResult::new(UNIT_SLIP, Severity::Error) })
}

fn failing(severity: Severity, violations: u64, lines: &[&SlippedLine], folder: Option<&Path>) -> Result<CheckResult, CheckError> {
    let mut lines = lines.to_vec();
    lines.sort_unstable_by(|a, b| (a.dt, &a.order_id, &a.sku).cmp(&(b.dt, &b.order_id, &b.sku)));
    let sample = lines.iter().take(SAMPLE_ROWS).map(|line| COLUMNS.map(str::to_owned).into_iter().zip(values(line)).collect()).collect();
    let mut result = CheckResult { passed: false, violations, sample, ..CheckResult::new(UNIT_SLIP, severity) };
    let Some(folder) = folder else { return Ok(result) };
    let mut file = ViolationFile::open(folder, &result, &COLUMNS.map(str::to_owned), RowLimit::of(&result))?;
    for line in lines {
        file.write(values(line).iter().map(Option::as_deref))?;
    }
    result.rows_kept = Some(file.finish()?);
    Ok(result)
}

/// The values of [`COLUMNS`].
fn values(line: &SlippedLine) -> [Option<String>; COLUMNS.len()] {
    [
        Some(line.dt.to_string()),
        Some(line.order_id.clone()),
        Some(line.sku.clone()),
        line.currency.clone(),
        Some(line.unit_price.to_string()),
        Some(line.last_price.to_string()),
        Some(<&str>::from(line.factor).to_owned()),
    ]
}
