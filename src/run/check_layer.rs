//! `etl check`: the checks alone, over the whole published layer; their SQL and history; and the layer's state, rebuilt.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{
    RequestError, RunError,
    change::{LayerChange, is_empty_partition},
    existing::require_layer,
    ledger, open,
    outside::refuse_inside_layer,
};
use crate::{
    cancel::Cancel,
    check::{self, CheckError, CheckResult, CheckScript, CustomCheck, Engine, Expected, LayerView, SideView, ViewScope},
    layer::{self, Catalog, IndexedTable, LayerColumns, LayerState, OpenedLayer, StateOrigin, StoredState},
    model::{DIM_PRODUCT, DIM_USER, Dt, RunId, UtcMicros, Window},
    report::{self, CheckHistory},
    settings::{Settings, When},
    store::{
        self, Key, Output, Staging,
        places::{self, SideFact},
    },
};

/// How long a publish that is under way is waited for before the layer is looked at as it is.
const PUBLISH_WAIT: Duration = Duration::from_secs(5);

/// How often a layer is checked again because a run has published meanwhile.
const ATTEMPTS: usize = 3;

/// What is to be checked.
pub struct CheckRequest<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// The folder for the rows of failing checks; `None`: they are not kept.
    pub violations: Option<&'a Path>,
    /// The switch that stops the checks.
    pub cancel: &'a Cancel,
}

/// A layer that was checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckedLayer {
    /// The output.
    pub output: String,
    /// The number of its partitions.
    pub partitions: usize,
    /// What the checks found.
    pub results: Vec<CheckResult>,
}

/// Runs all checks over the whole layer. What an interrupted run has left is finished or undone first. A run that is at work is not
/// waited for, and what it publishes meanwhile is not a violation.
///
/// # Errors
/// [`RequestError::NoLayer`] or [`RequestError::NothingToCheck`] for an output without a layer; what keeps the checks from running.
/// What they find is the result.
pub fn check_layer(request: &CheckRequest<'_>) -> Result<CheckedLayer, RunError> {
    let output = Output::open(&request.settings.output)?;
    require_layer(&output)?;
    let settings = &request.settings.with_quantity_of(OpenedLayer::open(&output)?.state.quantity);
    let request = &CheckRequest { settings, violations: request.violations, cancel: request.cancel };
    let cancel = request.cancel;
    let custom = check::load_custom(settings.checks.as_deref(), &settings.column_checks, &settings.schema())?;
    if settings.since == Some(When::Last) && custom.iter().any(CustomCheck::names_window) {
        tracing::warn!("`since = last` has a meaning in a run alone: $since is NULL in these checks");
    }
    for _ in 1..ATTEMPTS {
        settle(&output, cancel)?;
        let before = layer::generation(&output)?;
        let checked = check_once(request, &output, &custom);
        let is_sound = checked.as_ref().is_ok_and(|checked| !checked.results.iter().any(CheckResult::is_failure));
        if is_sound || (layer::generation(&output)? == before && !store::is_publishing(&output)?) {
            return checked;
        }
        if let (Ok(checked), Some(folder)) = (checked, request.violations) {
            remove_files(folder, &checked.results)?;
        }
    }
    settle(&output, cancel)?;
    check_once(request, &output, &custom)
}

/// Removes the rows that an attempt has kept: the layer changed meanwhile.
fn remove_files(folder: &Path, results: &[CheckResult]) -> Result<(), CheckError> {
    for result in results.iter().filter(|result| result.rows_kept.is_some()) {
        let path = folder.join(result.file_name());
        fs::remove_file(&path).map_err(|error| CheckError::Violations { path, detail: error.to_string() })?;
    }
    Ok(())
}

/// The SQL of all checks. Runs nothing, and needs no layer.
///
/// # Errors
/// A user's own check that can't be used.
pub fn check_scripts(settings: &Settings) -> Result<Vec<CheckScript>, RunError> {
    let output = Output::open(&settings.output)?;
    let custom = check::load_custom(settings.checks.as_deref(), &settings.column_checks, &settings.schema())?;
    Ok(check::check_scripts(&whole_layer(settings, &output)?, &custom)?)
}

/// What the checks of the latest runs found.
///
/// # Errors
/// [`RequestError::NoLayer`] for an output without a layer; I/O errors.
pub fn check_history(settings: &Settings, limit: usize) -> Result<CheckHistory, RunError> {
    let output = Output::open(&settings.output)?;
    require_layer(&output)?;
    open::recover_unless_held(&output)?;
    Ok(report::check_history(&output, limit)?)
}

/// Finishes or undoes what was cut off; waits a moment for a publish that is under way.
fn settle(output: &Output, cancel: &Cancel) -> Result<(), RunError> {
    open::recover_unless_held(output)?;
    let started = Instant::now();
    while store::is_publishing(output).unwrap_or(false) && started.elapsed() < PUBLISH_WAIT && !cancel.is_stopped() {
        thread::sleep(Duration::from_millis(10));
        open::recover_unless_held(output)?;
    }
    Ok(())
}

fn check_once(request: &CheckRequest<'_>, output: &Output, custom: &[CustomCheck]) -> Result<CheckedLayer, RunError> {
    let CheckRequest { settings, violations, cancel } = request;
    layer::verify_columns(output, &settings.schema())?;
    let mut view = whole_layer(settings, output)?;
    if view.facts.is_empty() && view.dim_user.is_none() && view.dim_product.is_none() {
        return Err(RequestError::NothingToCheck(output.location()).into());
    }
    refuse_empty_window(settings)?;
    if let Some(folder) = violations {
        refuse_inside_layer(output, "--violations", folder)?;
    }
    view.violations = violations.map(Path::to_owned);
    let mut results =
        check::run_checks(&mut Engine::start(), &view, custom, cancel).map_err(|error| super::stopped_or(cancel, error.into()))?;
    for result in results.iter_mut().filter(|result| result.rows_kept.is_some()) {
        result.file = violations.map(|folder| folder.join(result.file_name()).display().to_string());
    }
    if let Some(folder) = violations {
        remove_stale_files(folder, &results)?;
    }
    Ok(CheckedLayer { output: output.location(), partitions: view.facts.len(), results })
}

/// Fails if the window of `$since` and `$until` holds no instant.
fn refuse_empty_window(settings: &Settings) -> Result<(), RequestError> {
    let now = UtcMicros::now();
    let instant = |when: Option<When>| when.and_then(|when| when.instant(now));
    match (instant(settings.since), instant(settings.until)) {
        (Some(since), Some(until)) if since >= until => Err(RequestError::EmptyWindow { since, until }),
        _ => Ok(()),
    }
}

/// Removes the rows that an earlier call has kept of checks that now pass.
fn remove_stale_files(folder: &Path, results: &[CheckResult]) -> Result<(), CheckError> {
    for result in results.iter().filter(|result| result.rows_kept.is_none()) {
        let path = folder.join(result.file_name());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(CheckError::Violations { path, detail: error.to_string() });
            }
            _ => {}
        }
    }
    Ok(())
}

/// The published layer, all of it.
fn whole_layer(settings: &Settings, output: &Output) -> Result<LayerView, RunError> {
    let now = UtcMicros::now();
    let instant = |when: Option<When>| when.and_then(|when| when.instant(now));
    fetch_whole_layer(output)?;
    let opened = OpenedLayer::open(output)?;
    let state = &opened.state;
    let existing = |key: Key| Some(output.at(key)).filter(|path| path.exists());
    let partitions = layer::stored_partition_files(output)?.into_iter();
    let facts: BTreeMap<_, _> = partitions.filter_map(|(dt, key)| Some((dt, existing(key)?))).collect();
    let published = layer::published_entries(output)?.into_iter();
    let expected: BTreeMap<_, _> = published.map(|(dt, entry)| (dt, Expected { rows: entry.rows, revenue: entry.revenue })).collect();
    let whole_side = |fact: SideFact| -> Result<SideView, RunError> {
        let mut side = SideView::default();
        let mut days: BTreeSet<Dt> = state.side_days(fact).collect();
        // Without a log, the files are the layer, as those of `curated/` are.
        if opened.origin != StateOrigin::Log {
            days.extend(output.names(fact.folder())?.iter().filter_map(|name| places::partition_of(name)));
        }
        for dt in days {
            match existing(fact.file(dt)) {
                Some(path) => drop(side.files.insert(dt, path)),
                None => tracing::warn!(file = %fact.file(dt), "the file is gone: somebody removed it"),
            }
        }
        Ok(SideView { changed: side.files.keys().copied().collect(), ..side })
    };
    // A published partition that somebody removed has no rows, and should have some.
    let partitions: BTreeSet<Dt> = facts.keys().chain(expected.keys()).copied().collect();
    Ok(LayerView {
        changed: partitions.clone(),
        totals: whole_side(SideFact::OrderTotals)?,
        refunds: whole_side(SideFact::Refunds)?,
        totals_severity: settings.reconciliation().or(state.reconciliation).unwrap_or_default().severity(),
        shared_partitions: partitions,
        facts,
        scope: ViewScope::Whole,
        output: output.folder().map(Path::to_owned),
        foreign: foreign_objects(output)?,
        dim_user: existing(places::dimension(&DIM_USER)),
        dim_product: existing(places::dimension(&DIM_PRODUCT)),
        users_configured: settings.users.is_some(),
        products_configured: settings.products.is_some(),
        expected: Some(expected),
        scratch: std::env::temp_dir(),
        memory_limit: settings.memory_limit,
        threads: Some(settings.threads),
        schema: settings.schema(),
        has_quotients: state.has_quotients || settings.has_quotients(),
        window: Window { since: instant(settings.since), until: instant(settings.until) },
        now: Some(now),
        ..LayerView::default()
    })
}

/// Makes local copies of all partitions and dimensions, of an output in a bucket.
fn fetch_whole_layer(output: &Output) -> Result<(), RunError> {
    if output.folder().is_some() {
        return Ok(());
    }
    let state = OpenedLayer::open(output)?.state;
    let partitions = state.partitions.iter().map(|(dt, entry)| (entry.key(*dt), entry.version.clone()));
    let sides = state.sides().map(|(fact, dt, entry)| (fact.file(dt), entry.version.clone()));
    let specs = [DIM_USER, DIM_PRODUCT];
    let dimensions = specs.iter().filter_map(|spec| Some((places::dimension(spec), state.dimensions.get(spec.name)?.clone())));
    let versions: Vec<_> = partitions.chain(sides).chain(dimensions).collect();
    Ok(output.local_versions(&versions)?)
}

/// The objects beneath `curated/`, `order_totals/`, `refunds/` and `dims/` in a bucket that are not of the layer, or not as the layer has
/// them.
fn foreign_objects(output: &Output) -> Result<Vec<String>, RunError> {
    if output.folder().is_some() {
        return Ok(Vec::new());
    }
    let state = OpenedLayer::open(output)?.state;
    let mut foreign = Vec::new();
    let folders = [places::CURATED, places::ORDER_TOTALS, places::REFUNDS, places::DIMS];
    let listed = folders.into_iter().map(|folder| output.list(folder)).collect::<Result<Vec<_>, _>>()?;
    for listed in listed.into_iter().flatten() {
        let is_own = state.version_at(&listed.key).is_some_and(|version| version.bytes == listed.bytes);
        // A partition that has lost its last row may stay as a file of its header alone.
        let may_be_empty = !is_own && state.version_at(&listed.key).is_none() && listed.bytes < LONGEST_HEADER;
        if !(is_own || may_be_empty && is_empty_partition(output, &listed.key)?) {
            foreign.push(listed.key.to_string());
        }
    }
    Ok(foreign)
}

/// Rebuilds the layer's state (the catalog and the index of orders) from `curated/` alone. Returns how many partitions that took.
///
/// # Errors
/// [`RequestError::NoLayer`] for an output without a layer; the output is held; a partition can't be parsed; I/O errors.
pub fn rebuild_state(settings: &Settings, cancel: &Cancel) -> Result<usize, RunError> {
    let output = Output::open(&settings.output)?;
    require_layer(&output)?;
    let started_at = UtcMicros::now();
    store::set_aside_damaged_log(&output)?;
    let layer = open::settled_layer(&output)?;
    let settings = &settings.with_quantity_of(layer.state.quantity);
    layer.state.verify_ids(&settings.schema())?;
    let opening = open::Opening::of_all_days(&output, started_at, settings, cancel, layer);
    let open::Opened { lease, run_id, mut layer } = opening.open(RunId::new(started_at))?;
    let mut staging = Staging::create(&output, run_id.as_str())?;
    let scratch = staging.scratch();
    let stopped = |error: RunError| super::stopped_or(cancel, error);
    layer.state.coverage = ledger::read(&output, &layer)?;
    let mut catalog = Catalog::open(&output, &layer, &settings.schema(), scratch.join("fresh"), cancel, StoredState::Rebuild)
        .map_err(|error| stopped(error.into()))?;
    let segments = catalog.stage_index(IndexedTable::Orders, &mut staging, run_id.as_str(), &scratch.join("new_entries.idx"), cancel)?;
    let refund_segments =
        catalog.stage_index(IndexedTable::Refunds, &mut staging, run_id.as_str(), &scratch.join("new_refund_entries.idx"), cancel)?;
    let mut next = LayerState { segments, refund_segments, prices: None, ..catalog.state.clone() };
    next.set_columns(LayerColumns::of(&settings.schema()));
    let partitions = next.partitions.len();
    catalog.found().iter().for_each(|(key, version)| staging.adopt(key.clone(), version.clone()));
    let change = LayerChange { output: &output, base: &layer, before: &catalog.state, lease: &lease, cancel };
    change.commit(&mut staging, &run_id, "rebuild", &mut next, Vec::new()).map_err(stopped)?;
    Ok(partitions)
}

/// The longest header of a file without rows, in bytes.
const LONGEST_HEADER: u64 = 64 << 10;
