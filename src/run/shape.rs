//! What the records of a source look like, out of its profile: the paths of their ids, times and lines.

use crate::{
    model::{DimensionSpec, FieldPath, Level},
    normalize::{LINE_FIELDS, Mapping, RECORD_FIELDS, ReadPaths},
    settings::{FieldRule, Profile},
    source::{PathReading, RecordShape},
};

/// The field of a line that has its sku.
const SKU: &str = "sku";

/// Of orders, without extra columns.
pub(super) fn of_orders(profile: &Profile) -> RecordShape {
    of_mapped(&Mapping::default(), profile)
}

/// Of orders that are mapped by a profile.
pub(super) fn of_mapped(mapping: &Mapping<'_>, profile: &Profile) -> RecordShape {
    let paths = |field: &str| {
        let defaults = RECORD_FIELDS.iter().filter(|(name, _)| *name == field).flat_map(|(_, defaults)| *defaults);
        match profile.fields.get(field) {
            Some(rule) => rule.paths.clone(),
            None => parsed(defaults),
        }
    };
    let missing = |field: &str| profile.fields.get(field).map(|rule| rule.missing.clone()).unwrap_or_default();
    RecordShape {
        id: paths("order_id"),
        missing_ids: missing("order_id"),
        created_at: paths("created_at"),
        missing_times: missing("created_at"),
        currency: paths("currency"),
        lines: paths("lines"),
        of_line: parsed(&["sku", "quantity", "qty"]),
        columns: ReadPaths::of(&Mapping { profile: Some(profile), ..*mapping }).column_names().into_iter().collect(),
        readings: readings(mapping, profile),
        sku: sku_readings(profile),
        ..RecordShape::default()
    }
}

/// What each field of an order counts as missing, by its paths.
fn readings(mapping: &Mapping<'_>, profile: &Profile) -> Vec<PathReading> {
    let of_field = |&(name, defaults): &(&str, &'static [&'static str])| readings_of(profile.fields.get(name), defaults);
    let columns = mapping.columns.iter().filter(|column| column.level == Level::Record).map(|column| &column.rule);
    let amounts = profile.totals.iter().flat_map(|totals| totals.amounts.values()).map(|amount| &amount.field);
    RECORD_FIELDS.iter().flat_map(of_field).chain(columns.chain(amounts).flat_map(readings_of_rule)).collect()
}

/// The same of the sku of a line.
fn sku_readings(profile: &Profile) -> Vec<PathReading> {
    let defaults = LINE_FIELDS.iter().filter(|(name, _)| *name == SKU).flat_map(|(_, defaults)| *defaults);
    readings_of(profile.line_fields.get(SKU), defaults)
}

/// What a field counts as missing, by the paths of its rule, or else by its default ones.
fn readings_of<'p>(rule: Option<&FieldRule>, defaults: impl IntoIterator<Item = &'p &'static str>) -> Vec<PathReading> {
    match rule {
        Some(rule) => readings_of_rule(rule),
        None => parsed(defaults).into_iter().map(|path| PathReading { path, missing: Vec::new() }).collect(),
    }
}

fn readings_of_rule(rule: &FieldRule) -> Vec<PathReading> {
    let missing = |path: &FieldPath| {
        let of_path = rule.own.get(path).into_iter().flat_map(|own| &own.missing);
        rule.missing.iter().chain(of_path).cloned().collect()
    };
    rule.paths.iter().map(|path| PathReading { path: path.clone(), missing: missing(path) }).collect()
}

/// Of users or products. Their list counts by `id` where they have one: several may share the key of the dimension.
pub(super) fn of_dimension(spec: &DimensionSpec, profile: &Profile) -> RecordShape {
    let (key, missing_ids) = match profile.fields.get(spec.key()) {
        Some(rule) => (rule.paths.clone(), rule.missing.clone()),
        None => (parsed(spec.columns.iter().filter(|column| column.name == spec.key()).flat_map(|column| column.from)), Vec::new()),
    };
    RecordShape { id: parsed(&["id"]).into_iter().chain(key).collect(), missing_ids, ..RecordShape::default() }
}

fn parsed<'p>(paths: impl IntoIterator<Item = &'p &'static str>) -> Vec<FieldPath> {
    paths.into_iter().filter_map(|path| path.parse().ok()).collect()
}
