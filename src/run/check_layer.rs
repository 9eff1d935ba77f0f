//! `etl check`: the checks alone, over the whole layer as it stands.

use std::collections::BTreeMap;

use super::RunError;
use crate::{
    cancel::Cancel,
    check::{self, CheckResult, Expected, LayerView},
    layer,
    model::{DIM_PRODUCT, DIM_USER, UtcMicros},
    settings::Settings,
    store::Output,
};

/// Runs all checks over the whole layer. Takes no lock and changes nothing.
///
/// # Errors
/// What keeps the checks from running; what they find is the result.
pub fn check_layer(settings: &Settings, cancel: &Cancel) -> Result<Vec<CheckResult>, RunError> {
    let output = Output::new(settings.output.clone());
    let custom = settings.checks.as_deref().map(check::load_custom).transpose()?.unwrap_or_default();
    let mut view = LayerView {
        users_configured: settings.users.is_some(),
        products_configured: settings.products.is_some(),
        dim_user: Some(output.at(DIM_USER.file())).filter(|path| path.exists()),
        dim_product: Some(output.at(DIM_PRODUCT.file())).filter(|path| path.exists()),
        scratch: std::env::temp_dir(),
        memory_limit: settings.memory_limit.clone(),
        now: Some(UtcMicros::now()),
        ..LayerView::default()
    };
    for dt in layer::partitions_on_disk(&output)? {
        let path = output.at(layer::partition_file(dt));
        if path.exists() {
            view.facts.insert(dt, path);
            view.changed.insert(dt);
        }
    }
    view.entangled = view.changed.clone();
    let published = layer::published_entries(&output)?;
    let expected: BTreeMap<_, _> =
        published.into_iter().map(|(dt, entry)| (dt, Expected { rows: entry.rows, revenue: entry.revenue })).collect();
    view.expected = Some(expected);
    Ok(check::run_checks(&view, &custom, cancel)?)
}
