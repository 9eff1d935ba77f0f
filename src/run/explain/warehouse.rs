//! What the warehouse holds of an order, beside what the layer holds.

use serde::Serialize;

use super::ExplainRequest;
use crate::{
    cancel::Cancel,
    layer::{RowColumns, StoredRow},
    model::{FACT_COLUMNS, FactType, counted},
    run::RunError,
    settings::Settings,
    warehouse::redshift::{OrderQuery, Session, look_up},
};

/// What the warehouse holds of an order.
#[derive(Clone, Debug, Serialize)]
pub struct WarehouseRows {
    /// Its rows, as the server writes them.
    pub rows: Vec<RowColumns>,
    /// Whether they equal those of the layer.
    pub equals_layer: bool,
    /// What differs, if something does.
    pub differences: Vec<String>,
}

/// Asks the warehouse for the rows of the order.
pub(super) fn ask(
    settings: &Settings,
    request: &ExplainRequest<'_>,
    stored: &[StoredRow],
    cancel: &Cancel,
) -> Result<WarehouseRows, RunError> {
    let query = OrderQuery { order_id: request.order_id, sku: request.sku };
    let session = Session::open(&settings.redshift, &settings.http.network, cancel)?;
    let rows = look_up(&session, settings.redshift.schema.as_deref(), &query)?;
    let rows: Vec<_> = rows.into_iter().map(RowColumns).collect();
    let differences = differences(&rows, stored);
    Ok(WarehouseRows { equals_layer: differences.is_empty(), rows, differences })
}

fn differences(rows: &[RowColumns], stored: &[StoredRow]) -> Vec<String> {
    let mut differences = Vec::new();
    let sku = |row: &RowColumns| row.get("sku").unwrap_or_default().to_owned();
    for row in stored {
        let own = sku(&row.columns);
        let held: Vec<_> = rows.iter().filter(|held| sku(held) == own).collect();
        match held.as_slice() {
            [] => differences.push(format!("sku `{own}`: the warehouse has no row")),
            [held] => differences.extend(row.columns.0.iter().filter_map(|(name, text)| differs(name, text.as_deref(), held, &own))),
            several => differences.push(format!("sku `{own}`: the warehouse has {}", counted(several.len() as u64, "row"))),
        }
    }
    let gone = rows.iter().filter(|held| !stored.iter().any(|row| sku(&row.columns) == sku(held)));
    differences.extend(gone.map(|held| format!("sku `{}`: the layer has no row, and the warehouse has one", sku(held))));
    differences
}

fn differs(name: &str, text: Option<&str>, held: &RowColumns, sku: &str) -> Option<String> {
    if !held.0.iter().any(|(own, _)| own == name) {
        return Some(format!("sku `{sku}`: the warehouse has no column {name}"));
    }
    let kind = FACT_COLUMNS.iter().find(|(own, _)| *own == name).map_or(FactType::Text, |(_, kind)| *kind);
    let (layer, warehouse) = (text.map(|text| plain(text, kind)), held.get(name).map(|text| plain(text, kind)));
    let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "NULL".to_owned());
    (layer != warehouse).then(|| format!("sku `{sku}`, {name}: {} in the layer, {} in the warehouse", shown(&layer), shown(&warehouse)))
}

/// A value in one spelling: servers write `t` for true, and leave out the zeros at the end of a fraction.
fn plain(text: &str, kind: FactType) -> String {
    match (kind, text) {
        (FactType::Boolean, "t") => "true".to_owned(),
        (FactType::Boolean, "f") => "false".to_owned(),
        (FactType::Timestamp, text) if text.contains('.') => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        (_, text) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(pairs: &[(&str, Option<&str>)]) -> RowColumns {
        RowColumns(pairs.iter().map(|(name, text)| ((*name).to_owned(), text.map(str::to_owned))).collect())
    }

    #[test]
    fn equal_values_in_another_spelling_are_equal_and_all_else_is_named() {
        let layer = columns(&[
            ("sku", Some("S")),
            ("price_defaulted", Some("true")),
            ("created_at", Some("2026-01-01 00:00:00.120000")),
            ("status", None),
        ]);
        let stored = StoredRow { dt: "2026-01-01".parse().unwrap(), file: "f".into(), line: 2, columns: layer };
        let same = columns(&[
            ("sku", Some("S")),
            ("price_defaulted", Some("t")),
            ("created_at", Some("2026-01-01 00:00:00.12")),
            ("status", None),
        ]);
        assert_eq!(differences(std::slice::from_ref(&same), std::slice::from_ref(&stored)), [""; 0]);
        let mut other = same.clone();
        other.0[3].1 = Some("paid".into());
        assert_eq!(differences(&[other], std::slice::from_ref(&stored)), ["sku `S`, status: NULL in the layer, paid in the warehouse"]);
        assert_eq!(differences(&[], std::slice::from_ref(&stored)), ["sku `S`: the warehouse has no row"]);
        assert_eq!(differences(&[same.clone(), same.clone()], &[stored]), ["sku `S`: the warehouse has 2 rows"]);
        assert_eq!(differences(&[same], &[]), ["sku `S`: the layer has no row, and the warehouse has one"]);
    }
}
