//! `etl check`: the checks alone, over the whole published layer; their SQL and history; and the layer's state, rebuilt.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::{
    RequestError, RunError,
    change::{LayerChange, is_empty_partition},
    existing::{nothing_to_check, require_layer},
    ledger, open,
    outside::refuse_inside_layer,
    publish::has_moved,
};
use crate::{
    cancel::Cancel,
    check::{self, CheckError, CheckResult, CheckScript, CustomCheck, Engine, Expected, LayerView, SideView, ViewScope},
    layer::{self, Catalog, IndexedTable, LayerColumns, LayerState, OpenedLayer, StateOrigin, StoredState, Truth},
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

/// How often a layer is looked at that changes meanwhile.
const LOOKS: usize = 10;

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
/// [`RequestError::NoLayer`], [`RequestError::NothingToCheck`] or [`RequestError::NoLayerYet`] for an output without a layer;
/// [`RunError::LayerMoves`] if the layer changed during every look, and the last one found violations; what keeps the checks from
/// running. What they find is the result.
pub fn check_layer(request: &CheckRequest<'_>) -> Result<CheckedLayer, RunError> {
    let output = Output::open(&request.settings.output)?;
    require_layer(&output)?;
    if let Some(folder) = request.violations {
        refuse_inside_layer(&output, "--violations", folder)?;
    }
    refuse_empty_window(request.settings)?;
    let settings = request.settings.with_quantity_of(OpenedLayer::open(&output)?.state.quantity);
    let custom = check::load_custom(settings.checks.as_deref(), &settings.column_checks, &settings.schema())?;
    if settings.since == Some(When::Last) && custom.iter().any(CustomCheck::names_window) {
        tracing::warn!("`since = last` has a meaning in a run alone: $since is NULL in these checks");
    }
    look_until_one_counts(&output, request.cancel, |snapshot| check_once(request, &output, &custom, snapshot))
}

/// What a look at the layer has found.
enum Look<T> {
    /// It holds, whatever was published meanwhile.
    Counts(T),
    /// It counts only if nothing was published meanwhile. Else it says what to take back.
    IfStill { found: T, take_back: Vec<PathBuf> },
    /// It does not count.
    Moved,
}

/// The layer as a look at it begins. All that the look needs to know of it is derived from this one state.
struct Snapshot {
    layer: OpenedLayer,
    /// Whether all its files were in place then.
    is_settled: bool,
}

impl Snapshot {
    fn take(output: &Output) -> Result<Snapshot, RunError> {
        let layer = OpenedLayer::open(output)?;
        // Asked afterwards: what is decided in between has another number. Without a log, nothing is under way.
        let is_settled = layer.origin != StateOrigin::Log || !store::is_publishing(output)?;
        Ok(Snapshot { layer, is_settled })
    }

    /// Whether no file of the layer has changed since, as far as commits tell.
    fn still_stands(&self, output: &Output) -> Result<bool, RunError> {
        Ok(self.is_settled && !has_moved(output, &self.layer)?)
    }
}

/// Looks at the layer again and again, until a look counts.
fn look_until_one_counts<T>(
    output: &Output,
    cancel: &Cancel,
    mut look: impl FnMut(&Snapshot) -> Result<Look<T>, RunError>,
) -> Result<T, RunError> {
    for number in 1..=LOOKS {
        settle(output, cancel)?;
        let snapshot = Snapshot::take(output)?;
        match look(&snapshot) {
            Ok(Look::Counts(found)) => return Ok(found),
            Ok(Look::IfStill { found, take_back }) => {
                if snapshot.still_stands(output)? {
                    return Ok(found);
                }
                take_back.into_iter().try_for_each(remove_file)?;
            }
            Ok(Look::Moved) => {}
            Err(error) if cancel.is_stopped() || !is_of_files(&error) || snapshot.still_stands(output)? => return Err(error),
            Err(error) => tracing::info!(%error, "a look at the layer ended early: it changed meanwhile"),
        }
        tracing::debug!(look = number, "the layer has changed while it was looked at");
    }
    Err(RunError::LayerMoves { location: output.location(), looks: LOOKS })
}

/// Whether an error may come of files that change while they are read.
fn is_of_files(error: &RunError) -> bool {
    match error {
        RunError::Check(error) => !matches!(error, CheckError::Violations { .. }),
        RunError::Layer(_) | RunError::Store(_) => error.exit_code() == 5,
        _ => false,
    }
}

/// Removes the rows that a look has kept: the layer changed meanwhile.
fn remove_file(path: PathBuf) -> Result<(), CheckError> {
    fs::remove_file(&path).map_err(|error| CheckError::Violations { path, detail: error.to_string() })
}

/// The SQL of all checks. Runs nothing, and needs no layer.
///
/// # Errors
/// A user's own check that can't be used.
pub fn check_scripts(settings: &Settings) -> Result<Vec<CheckScript>, RunError> {
    let output = Output::open(&settings.output)?;
    let custom = check::load_custom(settings.checks.as_deref(), &settings.column_checks, &settings.schema())?;
    let opened = OpenedLayer::open(&output)?;
    Ok(check::check_scripts(&whole_layer(settings, &output, &opened, Vec::new())?, &custom)?)
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

/// One look at the layer, which is as the snapshot says.
fn check_once(
    request: &CheckRequest<'_>,
    output: &Output,
    custom: &[CustomCheck],
    snapshot: &Snapshot,
) -> Result<Look<CheckedLayer>, RunError> {
    let CheckRequest { violations, cancel, .. } = *request;
    let opened = &snapshot.layer;
    let settings = &request.settings.with_quantity_of(opened.state.quantity);
    opened.state.verify_columns(&settings.schema())?;
    // The files of a bucket's layer are versions that never change. Only what lies beside them does.
    let foreign = foreign_objects(output, &opened.state)?;
    if !foreign.is_empty() && !snapshot.still_stands(output)? {
        return Ok(Look::Moved);
    }
    let mut view = whole_layer(settings, output, opened, foreign)?;
    if view.facts.is_empty() && view.dim_user.is_none() && view.dim_product.is_none() {
        return Err(nothing_to_check(output)?.into());
    }
    view.violations = violations.map(Path::to_owned);
    let mut results =
        check::run_checks(&mut Engine::start(), &view, custom, cancel).map_err(|error| super::stopped_or(cancel, error.into()))?;
    let kept = |result: &CheckResult| violations.filter(|_| result.rows_kept.is_some()).map(|folder| folder.join(result.file_name()));
    for result in &mut results {
        if let Some(path) = kept(result) {
            result.file = Some(path.display().to_string());
        }
    }
    let is_sound = !results.iter().any(CheckResult::is_failure);
    let take_back = results.iter().filter_map(kept).collect();
    if let Some(folder) = violations {
        remove_stale_files(folder, &results)?;
    }
    let found = CheckedLayer { output: output.location(), partitions: view.facts.len(), results };
    let counts = is_sound || output.folder().is_none();
    Ok(if counts { Look::Counts(found) } else { Look::IfStill { found, take_back } })
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

/// The published layer, all of it, as this state has it. In a bucket, `foreign` are the objects beside it.
fn whole_layer(settings: &Settings, output: &Output, opened: &OpenedLayer, foreign: Vec<String>) -> Result<LayerView, RunError> {
    let now = UtcMicros::now();
    let instant = |when: Option<When>| when.and_then(|when| when.instant(now));
    let state = &opened.state;
    fetch_whole_layer(output, state)?;
    let existing = |key: Key| -> Result<Option<PathBuf>, RunError> {
        let path = output.at(key);
        Ok(if store::exists(&path)? { Some(path) } else { None })
    };
    let mut facts = BTreeMap::new();
    for (dt, key) in layer::partition_files(output, opened)? {
        if let Some(path) = existing(key)? {
            facts.insert(dt, path);
        }
    }
    let published = state.partitions.iter();
    let expected: BTreeMap<_, _> =
        published.map(|(&dt, entry)| (dt, Expected { rows: entry.rows, revenue: entry.revenue.clone() })).collect();
    let whole_side = |fact: SideFact| -> Result<SideView, RunError> {
        let mut side = SideView::default();
        let mut days: BTreeSet<Dt> = state.side_days(fact).collect();
        // Without a log, the files are the layer, as those of `curated/` are.
        if opened.origin != StateOrigin::Log {
            days.extend(output.names(fact.folder())?.iter().filter_map(|name| places::partition_of(name)));
        }
        for dt in days {
            match existing(fact.file(dt))? {
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
        foreign,
        dim_user: existing(places::dimension(&DIM_USER))?,
        dim_product: existing(places::dimension(&DIM_PRODUCT))?,
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

/// Makes local copies of all partitions and dimensions, of an output in a bucket: in the versions that the state names, whatever others
/// publish meanwhile.
fn fetch_whole_layer(output: &Output, state: &LayerState) -> Result<(), RunError> {
    if output.folder().is_some() {
        return Ok(());
    }
    let partitions = state.partitions.iter().map(|(dt, entry)| (entry.key(*dt), entry.version.clone()));
    let sides = state.sides().map(|(fact, dt, entry)| (fact.file(dt), entry.version.clone()));
    let specs = [DIM_USER, DIM_PRODUCT];
    let dimensions = specs.iter().filter_map(|spec| Some((places::dimension(spec), state.dimensions.get(spec.name)?.clone())));
    let versions: Vec<_> = partitions.chain(sides).chain(dimensions).collect();
    Ok(output.local_versions(&versions)?)
}

/// The objects beneath `curated/`, `order_totals/`, `refunds/` and `dims/` in a bucket that are not of the layer, or not as the layer has
/// them.
fn foreign_objects(output: &Output, state: &LayerState) -> Result<Vec<String>, RunError> {
    if output.folder().is_some() {
        return Ok(Vec::new());
    }
    let mut foreign = Vec::new();
    let folders = [places::CURATED, places::ORDER_TOTALS, places::REFUNDS, places::DIMS];
    let listed = folders.into_iter().map(|folder| output.list(folder)).collect::<Result<Vec<_>, _>>()?;
    for listed in listed.into_iter().flatten() {
        let is_own = state.version_at(&listed.key).is_some_and(|version| version.bytes == listed.bytes);
        // A partition that has lost its last row may stay as a file of its header alone.
        let may_be_empty = !is_own && state.version_at(&listed.key).is_none() && listed.bytes < LONGEST_HEADER;
        if !(is_own || may_be_empty && is_empty_or_gone(output, &listed.key)?) {
            foreign.push(listed.key.to_string());
        }
    }
    Ok(foreign)
}

/// Whether a file has no rows, or was removed since it was listed: a vacuum removes files without rows, and commits nothing.
fn is_empty_or_gone(output: &Output, key: &Key) -> Result<bool, RunError> {
    Ok(is_empty_partition(output, key)? || output.object(key.clone())?.is_none())
}

/// What a rebuild of the layer's state has read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RebuiltState {
    /// How many partitions.
    pub partitions: usize,
    /// In which versions.
    pub from: Truth,
}

/// Rebuilds the layer's state. In a folder that is the catalog and the index of orders, from `curated/` alone. In a bucket it is the
/// index, from the versions that the newest commit names.
///
/// # Errors
/// [`RequestError::NoLayer`] for an output without a layer; the output is held; other columns than those of the log; a partition can't
/// be parsed; I/O errors.
pub fn rebuild_state(settings: &Settings, cancel: &Cancel) -> Result<RebuiltState, RunError> {
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
    let rebuilt = RebuiltState { partitions: next.partitions.len(), from: layer.truth(&output) };
    catalog.found().iter().for_each(|(key, version)| staging.adopt(key.clone(), version.clone()));
    let change = LayerChange { output: &output, base: &layer, before: &catalog.state, lease: &lease, cancel };
    change.commit(&mut staging, &run_id, "rebuild", &mut next, Vec::new()).map_err(stopped)?;
    Ok(rebuilt)
}

/// The longest header of a file without rows, in bytes.
const LONGEST_HEADER: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::NewCommit;

    /// An output with one commit.
    fn layer(folder: &Path) -> Output {
        let output = Output::new(folder.to_owned());
        output.prepare().unwrap();
        commit(&output, 1);
        output
    }

    /// A commit without files.
    fn commit(output: &Output, number: u64) {
        let base = store::head(output).unwrap();
        let run_id = format!("r{number}");
        let mut staging = Staging::create(output, &run_id).unwrap();
        staging.place(&|_| None, &Cancel::default()).unwrap();
        let commit = NewCommit {
            writer: run_id.clone(),
            run_id,
            command: "run".into(),
            committed_at: UtcMicros::now().rfc3339(),
            reads: Vec::new(),
            put: Vec::new(),
            remove: Vec::new(),
            told: Vec::new(),
            layer: LayerState::default().to_record().unwrap(),
        };
        staging.decide(base.as_ref(), commit, &|_| None, None).unwrap();
    }

    /// Looks at a layer into which another run publishes during the first looks. Each look finds its number, and keeps rows.
    fn looked_at(publishes: usize, rows: &Path) -> Result<usize, RunError> {
        let folder = tempfile::tempdir().unwrap();
        let output = layer(folder.path());
        let mut looks = 0;
        look_until_one_counts(&output, &Cancel::default(), |snapshot| {
            looks += 1;
            assert_eq!(snapshot.layer.number(), looks as u64, "each look has a state of its own");
            std::fs::write(rows, "rows").unwrap();
            if looks <= publishes {
                commit(&output, looks as u64 + 1);
            }
            Ok(Look::IfStill { found: looks, take_back: vec![rows.to_owned()] })
        })
    }

    #[test]
    fn what_is_found_while_another_run_publishes_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let rows = folder.path().join("rows.csv");
        for publishes in [0, 1, LOOKS - 1] {
            assert_eq!(looked_at(publishes, &rows).unwrap(), publishes + 1);
            assert!(rows.exists(), "the rows of the look that counts stay");
        }
        let refused = looked_at(LOOKS, &rows).unwrap_err();
        assert!(matches!(refused, RunError::LayerMoves { looks: LOOKS, .. }) && refused.exit_code() == 6, "{refused}");
        assert!(!rows.exists(), "the rows of a look that does not count are removed");
    }

    #[test]
    fn an_error_counts_if_nothing_was_published_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let output = layer(folder.path());
        let damaged = || RunError::Check(CheckError::Layer { doing: "reading a file".into(), detail: "it is gone".into() });
        let mut looks = 0;
        let refused = look_until_one_counts(&output, &Cancel::default(), |_| {
            looks += 1;
            if looks == 1 {
                commit(&output, 2);
            }
            Err::<Look<()>, _>(damaged())
        });
        assert_eq!((refused.unwrap_err().exit_code(), looks), (5, 2), "the second look met a layer that stood still");
        let mut looks = 0;
        let refused = look_until_one_counts(&output, &Cancel::default(), |_| {
            looks += 1;
            commit(&output, 3);
            Err::<Look<()>, _>(RequestError::NothingToCheck(output.location()).into())
        });
        assert_eq!((refused.unwrap_err().exit_code(), looks), (2, 1), "a wrong request stays wrong");
    }

    #[test]
    fn what_holds_in_any_case_counts_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let output = layer(folder.path());
        let found = look_until_one_counts(&output, &Cancel::default(), |snapshot| {
            commit(&output, snapshot.layer.number() + 1);
            Ok(Look::Counts(snapshot.layer.number()))
        });
        assert_eq!(found.unwrap(), 1);
    }
}
