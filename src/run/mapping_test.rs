//! `etl test`: what the mapping makes of the records of each case, held against what the case expects. No network and no layer.

use serde::Serialize;

use super::{
    RunError,
    mapped::{JOINED_COLUMNS, Mapped, MappedDrop, Reading, RecordMapper, read},
};
use crate::{
    cancel::Cancel,
    model::{ExtraType, FactSchema, FactType, RawRecord, Window, equal_numbers, parse_time_text},
    settings::{CaseRecords, Expected, Location, MappingCase, Settings, SettingsError, Source},
};

/// A value that is not as expected, or a row or drop that is missing or too many.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Difference {
    /// Where: `row 1`, `drop 2`, from 1.
    pub at: String,
    /// The column; `None`: all of it.
    pub column: Option<String>,
    /// What the case expects; `None`: nothing.
    pub expected: Option<String>,
    /// What the mapping makes; `None`: nothing.
    pub found: Option<String>,
}

/// What became of a case.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CaseResult {
    /// The file of the case.
    pub file: String,
    /// Its line.
    pub line: usize,
    /// Its name.
    pub name: String,
    /// The rows that were made.
    pub rows: usize,
    /// The records and lines that were dropped.
    pub drops: usize,
    /// What is not as expected.
    pub differences: Vec<Difference>,
}

/// Runs the cases, in their order. `all` are the settings of each shop, or the only ones.
///
/// # Errors
/// A column or a shop that is not there, a file that can't be read, a signal.
pub fn test_mapping(all: &[Settings], cases: &[MappingCase], cancel: &Cancel) -> Result<Vec<CaseResult>, RunError> {
    cases.iter().map(|case| run_case(settings_of(all, case)?, case, cancel)).collect()
}

/// The settings that map a case.
fn settings_of<'s>(all: &'s [Settings], case: &MappingCase) -> Result<&'s Settings, SettingsError> {
    let shop_of = |settings: &'s Settings| settings.shop.as_ref().map(|shop| shop.name.as_str());
    let found = all.iter().find(|&settings| shop_of(settings) == case.shop.as_deref());
    found.ok_or_else(|| {
        let names: Vec<_> = all.iter().filter_map(shop_of).collect();
        case.error(match names.as_slice() {
            [] => "`case.shop`: etl.toml has no [[shops]]".to_owned(),
            names => format!("`case.shop`: write whose profile maps the records: {}", names.join(", ")),
        })
    })
}

fn run_case(settings: &Settings, case: &MappingCase, cancel: &Cancel) -> Result<CaseResult, RunError> {
    let orders = settings.orders.as_ref().ok_or(SettingsError::NoOrders)?;
    let schema = settings.schema();
    for expected in &case.rows {
        verify_columns(expected, &schema)?;
    }
    let mapped = mapped(settings, orders, case, cancel)?;
    let mut differences = Vec::new();
    compare_rows(&mapped, &case.rows, &schema, &mut differences);
    compare_drops(&mapped.drops, &case.drops, &mut differences);
    Ok(CaseResult {
        file: case.place.file.to_string(),
        line: case.place.line,
        name: case.name.clone(),
        rows: mapped.rows.len(),
        drops: mapped.drops.len(),
        differences,
    })
}

fn mapped(settings: &Settings, orders: &Source, case: &MappingCase, cancel: &Cancel) -> Result<Mapped, RunError> {
    let mapper = RecordMapper::new(settings, orders, Window::default());
    let mut mapped = mapper.nothing();
    match &case.records {
        CaseRecords::Lines(text) => {
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            mapper.add(lines.map(|line| RawRecord::from(line.as_bytes())), &mut mapped)?;
        }
        CaseRecords::File(path) => {
            let location = Location::Files(path.to_string_lossy().into_owned());
            let reading = Reading { orders, window: Window::default(), most: usize::MAX, cancel };
            read(settings, &location, &reading, |page, _| mapper.add(page.records(), &mut mapped))?;
        }
    }
    Ok(mapped)
}

/// How the texts of a column are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Comparison {
    Text,
    /// `9.9` is `9.9000`.
    Number,
    /// Any form of the same time.
    Time,
}

impl Comparison {
    /// That of a column; `None` where there is no such column.
    fn of(schema: &FactSchema, name: &str) -> Option<Comparison> {
        let fixed = schema.fixed().find(|(fixed, _)| *fixed == name).map(|(_, kind)| match kind {
            FactType::Text | FactType::Boolean => Comparison::Text,
            FactType::BigInt | FactType::Money => Comparison::Number,
            FactType::Timestamp => Comparison::Time,
        });
        let extra = || {
            schema.extra().iter().find(|column| column.name == name).map(|column| match column.kind {
                ExtraType::Text | ExtraType::Boolean | ExtraType::Date => Comparison::Text,
                ExtraType::BigInt | ExtraType::Decimal { .. } => Comparison::Number,
                ExtraType::Timestamp => Comparison::Time,
            })
        };
        fixed.or_else(extra)
    }

    /// Whether a value is the one that is expected. An empty text expects NULL.
    fn is_equal(self, expected: &str, found: Option<&str>) -> bool {
        let Some(found) = found else { return expected.is_empty() };
        expected == found
            || match self {
                Comparison::Text => false,
                Comparison::Number => equal_numbers(expected, found),
                Comparison::Time => parse_time_text(expected).is_some_and(|expected| parse_time_text(found) == Some(expected)),
            }
    }
}

fn verify_columns(expected: &Expected, schema: &FactSchema) -> Result<(), SettingsError> {
    for name in expected.values.keys() {
        if JOINED_COLUMNS.contains(&name.as_str()) {
            return Err(expected.error(format!("`{name}` comes from users or products, which a test does not read")));
        }
        if Comparison::of(schema, name).is_none() {
            let known: Vec<_> = schema.names().filter(|name| !JOINED_COLUMNS.contains(name)).collect();
            return Err(expected.error(format!("`{name}` is not a column of fact_order, which has {}", known.join(", "))));
        }
    }
    Ok(())
}

fn compare_rows(mapped: &Mapped, expected: &[Expected], schema: &FactSchema, differences: &mut Vec<Difference>) {
    for number in 0..mapped.rows.len().max(expected.len()) {
        let at = format!("row {}", number + 1);
        match (expected.get(number), mapped.rows.get(number)) {
            (Some(expected), Some(row)) => {
                for (name, value) in &expected.values {
                    let place = mapped.columns.iter().position(|column| column == name);
                    let found = place.and_then(|place| row.get(place)).and_then(Option::as_deref);
                    if !Comparison::of(schema, name).is_some_and(|comparison| comparison.is_equal(value, found)) {
                        differences.push(of_value(&at, name, value, found));
                    }
                }
            }
            (Some(expected), None) => differences.push(Difference { at, column: None, expected: Some(words(expected)), found: None }),
            (None, Some(row)) => {
                let values = mapped.columns.iter().zip(row).filter_map(|(column, value)| Some(format!("{column}={}", value.as_ref()?)));
                let found = values.collect::<Vec<_>>().join(", ");
                differences.push(Difference { at, column: None, expected: None, found: Some(found) });
            }
            (None, None) => {}
        }
    }
}

fn compare_drops(drops: &[MappedDrop], expected: &[Expected], differences: &mut Vec<Difference>) {
    for number in 0..drops.len().max(expected.len()) {
        let at = format!("drop {}", number + 1);
        match (expected.get(number), drops.get(number)) {
            (Some(expected), Some(dropped)) => {
                let line = dropped.line.map(|line| line.to_string());
                for (name, value) in &expected.values {
                    let found = match name.as_str() {
                        "reason" => Some(dropped.reason),
                        "order_id" => dropped.order_id.as_deref(),
                        "sku" => dropped.sku.as_deref(),
                        _ => line.as_deref(),
                    };
                    if !Comparison::Text.is_equal(value, found) {
                        differences.push(of_value(&at, name, value, found));
                    }
                }
            }
            (Some(expected), None) => differences.push(Difference { at, column: None, expected: Some(words(expected)), found: None }),
            (None, Some(dropped)) => {
                let order = dropped.order_id.as_ref().map(|order_id| format!(", order_id={order_id}")).unwrap_or_default();
                let line = dropped.line.map(|line| format!(", line={line}")).unwrap_or_default();
                let found = format!("reason={}{order}{line}", dropped.reason);
                differences.push(Difference { at, column: None, expected: None, found: Some(found) });
            }
            (None, None) => {}
        }
    }
}

fn of_value(at: &str, column: &str, expected: &str, found: Option<&str>) -> Difference {
    let shown = |text: &str| if text.is_empty() { "NULL".to_owned() } else { text.to_owned() };
    Difference {
        at: at.to_owned(),
        column: Some(column.to_owned()),
        expected: Some(shown(expected)),
        found: Some(found.map_or_else(|| "NULL".to_owned(), str::to_owned)),
    }
}

fn words(expected: &Expected) -> String {
    expected.values.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_by_the_type_of_their_column() {
        let schema = FactSchema::default();
        let is_equal = |name: &str, expected: &str, found: Option<&str>| Comparison::of(&schema, name).unwrap().is_equal(expected, found);
        assert!(is_equal("line_total", "9.9", Some("9.9000")) && !is_equal("line_total", "9.91", Some("9.9000")));
        assert!(is_equal("quantity", "2.0", Some("2")) && !is_equal("sku", "2.0", Some("2")));
        assert!(is_equal("created_at", "2026-01-31T02:00:00+02:00", Some("2026-01-31 00:00:00")));
        assert!(is_equal("status", "", None) && !is_equal("status", "", Some("paid")) && !is_equal("status", "paid", None));
        assert_eq!(Comparison::of(&schema, "colour"), None);
    }
}
