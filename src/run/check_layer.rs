//! `etl check`: the checks alone, over the whole layer as it stands; and, where it is asked for, the layer's state made anew.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use super::{RunError, open};
use crate::{
    cancel::Cancel,
    check::{self, CheckResult, CustomCheck, Engine, Expected, LayerView},
    layer::{self, Catalog},
    model::{DIM_PRODUCT, DIM_USER, RunId, UtcMicros},
    settings::{RepeatedSku, Settings},
    store::{self, Output, Staging, places},
};

/// How long a publish that is under way is waited for before the layer is looked at as it is.
const PUBLISH_WAIT: Duration = Duration::from_secs(5);

/// How often a layer that was published to meanwhile is looked at anew.
const ATTEMPTS: usize = 3;

/// Runs all checks over the whole layer. What a run that was cut off has left is finished or undone first; a run that is at
/// work is not waited for, and what it publishes meanwhile is not held against the layer.
///
/// # Errors
/// What keeps the checks from running; what they find is the result.
pub fn check_layer(settings: &Settings, cancel: &Cancel) -> Result<Vec<CheckResult>, RunError> {
    let output = Output::new(settings.output.clone());
    let custom = settings.checks.as_deref().map(check::load_custom).transpose()?.unwrap_or_default();
    for _ in 1..ATTEMPTS {
        settle(&output, cancel)?;
        let before = layer::generation(&output)?;
        let results = check_once(settings, &output, &custom, cancel);
        let sound = results.as_ref().is_ok_and(|results| !results.iter().any(CheckResult::is_failure));
        if sound || (layer::generation(&output)? == before && !store::is_publishing(&output)) {
            return results;
        }
    }
    settle(&output, cancel)?;
    check_once(settings, &output, &custom, cancel)
}

/// Finishes or undoes what was cut off; waits a moment for a publish that is under way.
fn settle(output: &Output, cancel: &Cancel) -> Result<(), RunError> {
    open::recover_unless_held(output)?;
    let started = Instant::now();
    while store::is_publishing(output) && started.elapsed() < PUBLISH_WAIT && !cancel.is_stopped() {
        thread::sleep(Duration::from_millis(10));
        open::recover_unless_held(output)?;
    }
    Ok(())
}

fn check_once(settings: &Settings, output: &Output, custom: &[CustomCheck], cancel: &Cancel) -> Result<Vec<CheckResult>, RunError> {
    layer::verify_columns(output, &settings.schema())?;
    let mut view = LayerView {
        users_configured: settings.users.is_some(),
        products_configured: settings.products.is_some(),
        dim_user: Some(output.at(DIM_USER.file())).filter(|path| path.exists()),
        dim_product: Some(output.at(DIM_PRODUCT.file())).filter(|path| path.exists()),
        scratch: std::env::temp_dir(),
        memory_limit: settings.memory_limit,
        schema: settings.schema(),
        sums_skus: settings.repeated_sku == RepeatedSku::Sum,
        now: Some(UtcMicros::now()),
        ..LayerView::default()
    };
    for dt in layer::partitions_on_disk(output)? {
        let path = output.at(places::partition_file(dt));
        if path.exists() {
            view.facts.insert(dt, path);
            view.changed.insert(dt);
        }
    }
    view.entangled = view.changed.clone();
    let published = layer::published_entries(output)?;
    let expected: BTreeMap<_, _> =
        published.into_iter().map(|(dt, entry)| (dt, Expected { rows: entry.rows, revenue: entry.revenue })).collect();
    view.expected = Some(expected);
    check::run_checks(Engine::start(), &view, custom, cancel).map_err(|error| super::stopped_or(cancel, error.into()))
}

/// Makes the layer's state (the catalog and the index of orders) anew from `curated/` alone. Tells how many partitions
/// that took.
///
/// # Errors
/// The output is held, a partition can't be parsed, or what the disk refuses.
pub fn rebuild_state(settings: &Settings, cancel: &Cancel) -> Result<usize, RunError> {
    let output = Output::new(settings.output.clone());
    let started_at = UtcMicros::now();
    let opened = open::Opening { output: &output, started_at, wait: settings.lock_wait, cancel }.open(RunId::new(started_at))?;
    let run_id = opened.run_id;
    let mut staging = Staging::create(&output, run_id.as_str())?;
    let scratch = staging.scratch();
    let (catalog, _) = Catalog::open(&output, &settings.schema(), scratch.join("fresh"), cancel, true)
        .map_err(|error| super::stopped_or(cancel, error.into()))?;
    let partitions = catalog.partitions.len();
    catalog.stage(&mut staging, run_id.as_str(), &scratch.join("new_entries.idx"))?;
    staging.prepare(cancel).map_err(|error| super::stopped_or(cancel, error.into()))?.commit()?;
    Ok(partitions)
}
