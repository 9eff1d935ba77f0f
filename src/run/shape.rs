//! What the records of a source look like, out of its profile: the paths of their ids, times and lines.

use crate::{
    model::{DimensionSpec, FieldPath},
    normalize::RECORD_FIELDS,
    settings::Profile,
    source::RecordShape,
};

/// Of orders.
pub(super) fn of_orders(profile: &Profile) -> RecordShape {
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
    }
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
