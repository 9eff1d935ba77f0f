//! A stored partition with other extra columns: the same rows, in the same order.

use std::{collections::BTreeMap, path::Path};

use rust_decimal::Decimal;

use super::{LayerError, csv};
use crate::model::{
    Dt, ExtraColumn, ExtraType, FACT_COLUMNS, FactRows, FactSchema, LOCAL_DATE_COLUMN, LayerIds, Line, Quantity, QuantityType, SHOP_COLUMN,
    UtcMicros,
};

/// The column of quantities, as `values_lost` names it.
pub const QUANTITY: &str = "quantity";

/// A partition with new columns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RewrittenPartition {
    /// Its canonical CSV.
    pub csv: Vec<u8>,
    /// Values that the new columns do not have, by column.
    pub values_lost: BTreeMap<String, u64>,
}

/// A partition with the columns of `schema`; `None` if it has them already. A new column is empty, but for local dates, which are
/// those of the zone of the schema. A column that the schema does not name is left out. A value that does not fit the type of its
/// column becomes empty, and decimals beyond its scale are rounded away: both count as lost.
///
/// # Errors
/// [`LayerError::Partition`] if the file can't be read; [`LayerError::Shops`] if its orders are of no shop, and should be of one.
pub fn rewritten(bytes: &[u8], dt: Dt, path: &Path, schema: &FactSchema) -> Result<Option<RewrittenPartition>, LayerError> {
    let header = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let names: Vec<_> = header.split(|&byte| byte == b',').map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    // A header that is none of ours is what the strict reader says it is.
    let further = csv::further_names(&names).unwrap_or_default();
    // A column more does not make them orders of a shop: their ids are others.
    let is_ours = csv::further_names(&names).is_some();
    if is_ours && schema.ids() == LayerIds::OfShops && further.first().is_none_or(|name| name != SHOP_COLUMN) {
        return Err(LayerError::Shops { stored: LayerIds::OfOneSource });
    }
    let as_text = |name: &String| ExtraColumn { name: name.clone(), kind: ExtraType::Text };
    let stored = FactSchema::new(further.iter().map(as_text).collect());
    let stored = stored.with_quantity(quantity_type(bytes));
    let local_dates = LocalDates::of(schema);
    // The same names; of the same types, or the strict reader says where not.
    if stored.names().eq(schema.names())
        && let Ok(rows) = csv::read_partition(bytes, dt, path, schema)
    {
        let has_its_dates = match &local_dates {
            None => true,
            Some(dates) => dates.are_those_of(&FactRows::new(&rows.finish()?)?),
        };
        if has_its_dates {
            return Ok(None);
        }
    }
    let frame = csv::read_partition(bytes, dt, path, &stored)?.finish()?;
    let rows = FactRows::new(&frame)?;
    let from: Vec<_> =
        schema.extra().iter().map(|column| (stored.extra().iter().position(|old| old.name == column.name), column.kind)).collect();
    let mut out = Vec::with_capacity(bytes.len());
    let mut values_lost: BTreeMap<&str, u64> = BTreeMap::new();
    csv::write_header(&mut out, schema);
    for row in 0..rows.len() {
        let old: Vec<_> = rows.extra(row).collect();
        let mut new: Vec<_> =
            from.iter().map(|&(place, kind)| kind.canonical(place.and_then(|place| old.get(place).copied().flatten())?.into())).collect();
        for (place, column) in stored.extra().iter().enumerate().filter(|(place, _)| old[*place].is_some()) {
            let new = from.iter().position(|(from, _)| *from == Some(place)).and_then(|place| new[place].as_deref());
            if !new.is_some_and(|new| keeps_value(old[place].unwrap_or_default(), new)) {
                *values_lost.entry(&column.name).or_default() += 1;
            }
        }
        let line = rows.line(row);
        // A date of another zone is not lost; what is no date has been counted.
        if let Some(dates) = &local_dates
            && let Some(date) = new.get_mut(dates.place)
        {
            *date = Some(dates.of_order(line.created_at).into());
        }
        let units = line.quantity.units_of(schema.quantity());
        if units.is_none() {
            *values_lost.entry(QUANTITY).or_default() += 1;
        }
        // Only counted: nobody writes a partition that loses quantities.
        let units = units.unwrap_or(line.quantity.units() / 10_000);
        let line = Line { quantity: Quantity::of_units(schema.quantity(), units), ..line };
        csv::write_line(&mut out, &line, new.iter().map(Option::as_deref));
    }
    let values_lost = values_lost.into_iter().map(|(column, lost)| (column.to_owned(), lost)).collect();
    Ok(Some(RewrittenPartition { csv: out, values_lost }))
}

/// The column of local dates.
struct LocalDates {
    /// Its place among the extra columns.
    place: usize,
    zone: chrono_tz::Tz,
}

impl LocalDates {
    fn of(schema: &FactSchema) -> Option<LocalDates> {
        let place = schema.extra().iter().position(|column| column.name == LOCAL_DATE_COLUMN)?;
        Some(LocalDates { place, zone: schema.time_zone()? })
    }

    fn of_order(&self, created_at: UtcMicros) -> String {
        Dt::in_zone(created_at, self.zone).to_string()
    }

    /// Whether rows have the dates of this zone.
    fn are_those_of(&self, rows: &FactRows) -> bool {
        let is_its_date = |row| rows.extra(row).nth(self.place).flatten() == Some(self.of_order(rows.line(row).created_at).as_str());
        (0..rows.len()).all(is_its_date)
    }
}

/// The type of the quantities of a partition: that of its first row.
fn quantity_type(csv: &[u8]) -> QuantityType {
    let place = FACT_COLUMNS.iter().position(|(name, _)| *name == QUANTITY).unwrap_or(0);
    let first = ::csv::Reader::from_reader(csv).into_byte_records().next().and_then(Result::ok);
    let is_decimal = first.is_some_and(|row| row.get(place).is_some_and(|text| text.contains(&b'.')));
    if is_decimal { QuantityType::Decimal } else { QuantityType::Whole }
}

/// Whether the new text has the value of the old one: a number keeps all of its decimals.
fn keeps_value(old: &str, new: &str) -> bool {
    let number = |text: &str| Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text)).ok();
    match (number(old), number(new)) {
        (Some(old), Some(new)) => old == new,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_go_change_their_type_and_the_rows_stay() {
        let column = |name: &str, kind| ExtraColumn { name: name.into(), kind };
        let row = "A,S,,,,EUR,2,1.5000,3.0000,false,,,,2026-01-31 10:00:00,";
        let mut plain = Vec::new();
        csv::write_header(&mut plain, &FactSchema::default());
        plain.extend_from_slice(format!("{row}\n").as_bytes());
        let dt = "2026-01-31".parse().unwrap();
        let rewrite = |bytes: &[u8], schema: &FactSchema| rewritten(bytes, dt, Path::new("x"), schema).unwrap();
        assert_eq!(rewrite(&plain, &FactSchema::default()), None);
        let wide = FactSchema::new(vec![column("a", ExtraType::Text), column("b", ExtraType::Text)]);
        let rewritten_wide = rewrite(&plain, &wide).unwrap();
        assert_eq!(rewritten_wide.values_lost, BTreeMap::new());
        let text = String::from_utf8(rewritten_wide.csv).unwrap();
        assert!(text.lines().next().unwrap().ends_with("updated_at,a,b") && text.ends_with(&format!("{row},,\n")));
        let filled = text.replace(&format!("{row},,"), &format!("{row},7.5,x"));
        let narrow = FactSchema::new(vec![column("a", ExtraType::Decimal { scale: 2 })]);
        let narrowed = rewrite(filled.as_bytes(), &narrow).unwrap();
        assert_eq!(narrowed.values_lost, [("b".to_owned(), 1)].into(), "the column that is gone");
        let text = String::from_utf8(narrowed.csv).unwrap();
        assert!(text.ends_with(&format!("{row},7.50\n")), "{text}");
        let whole = FactSchema::new(vec![column("a", ExtraType::BigInt), column("b", ExtraType::Text)]);
        assert_eq!(rewrite(filled.as_bytes(), &whole).unwrap().values_lost, [("a".to_owned(), 1)].into(), "7.5 is no whole number");
        assert!(rewrite(&rewrite(filled.as_bytes(), &FactSchema::default()).unwrap().csv, &wide).is_some());
        assert!(rewritten(b"not ours\n", dt, Path::new("x"), &wide).is_err());
    }

    #[test]
    fn local_dates_are_filled_and_follow_their_zone() {
        let column = |kind| vec![ExtraColumn { name: LOCAL_DATE_COLUMN.into(), kind }];
        let of = |zone| FactSchema::new(column(ExtraType::Date)).with_time_zone(Some(zone));
        let row = "A,S,,,,EUR,2,1.5000,3.0000,false,,,,2026-01-31 23:30:00,";
        let mut plain = Vec::new();
        csv::write_header(&mut plain, &FactSchema::default());
        plain.extend_from_slice(format!("{row}\n").as_bytes());
        let dt = "2026-01-31".parse().unwrap();
        let rewrite = |bytes: &[u8], schema: &FactSchema| rewritten(bytes, dt, Path::new("x"), schema).unwrap();
        let (berlin, new_york) = (of(chrono_tz::Europe::Berlin), of(chrono_tz::America::New_York));
        let filled = rewrite(&plain, &berlin).unwrap();
        assert!(filled.csv.ends_with(format!("{row},2026-02-01\n").as_bytes()));
        assert_eq!(rewrite(&filled.csv, &berlin), None);
        let moved = rewrite(&filled.csv, &new_york).unwrap();
        assert!(moved.csv.ends_with(format!("{row},2026-01-31\n").as_bytes()));
        assert_eq!(moved.values_lost, BTreeMap::new());
        // A column of this name that held something else.
        let text = String::from_utf8(filled.csv).unwrap().replace(",2026-02-01\n", ",first of the month\n");
        let replaced = rewrite(text.as_bytes(), &berlin).unwrap();
        assert!(replaced.csv.ends_with(format!("{row},2026-02-01\n").as_bytes()));
        assert_eq!(replaced.values_lost, BTreeMap::from([(LOCAL_DATE_COLUMN.to_owned(), 1)]));
    }
}
