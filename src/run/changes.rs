//! What runs have changed in the layer, for a warehouse that follows it, and which of their manifests still hold.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{RequestError, RunError};
use crate::{
    layer::{self, LayerState, OpenedLayer},
    model::Dt,
    report::{self, Summary},
    store::{
        Key, Output, StoreError,
        places::{self, SideFact},
    },
    warehouse::redshift::{self, Changes, DayChanges, RunManifest, SideChanges},
};

/// Which runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WhichRuns<'a> {
    /// The last one that changed something.
    Last,
    /// This one.
    One(&'a str),
    /// Those after this one.
    Since(&'a str),
}

/// What these runs have changed, as the output now holds it: a partition that later runs changed again is taken as it is.
/// `url` is the output as the warehouse names it (`redshift.url`).
///
/// # Errors
/// No such run, or I/O errors.
pub(super) fn changes(output: &Output, url: &str, which: WhichRuns<'_>) -> Result<Changes, RunError> {
    let runs = runs(output, which)?;
    let days: BTreeSet<Dt> = runs.iter().flat_map(|run| run.partitions_written.iter().chain(&run.partitions_removed)).copied().collect();
    let opened = OpenedLayer::open(output)?;
    let mut sides = BTreeMap::new();
    for fact in SideFact::ALL {
        let days: BTreeSet<Dt> = runs.iter().flat_map(|run| changed_days(run, fact)).copied().collect();
        if !days.is_empty() {
            let files = layer::side_files(output, &opened, fact)?;
            sides.insert(fact, SideChanges::Days(side_changes(fact, days, |dt| files.contains_key(&dt))));
        }
    }
    let state = opened.state;
    let mut stored = BTreeSet::new();
    for &dt in &days {
        if let Some(entry) = state.partitions.get(&dt)
            && output.still_has(&entry.key(dt))?
        {
            stored.insert(dt);
        }
    }
    let manifests = runs.iter().filter_map(|run| valid_manifest(output, &state, url, &run.run_id).transpose());
    let manifests: Vec<_> = manifests.collect::<Result<_, _>>()?;
    let sources = redshift::sources(&stored, &manifests);
    Ok(Changes { facts: DayChanges { days, stored, sources }, sides })
}

/// The days whose rows of a side fact a run has written or removed.
fn changed_days(run: &Summary, fact: SideFact) -> &[Dt] {
    match fact {
        SideFact::OrderTotals => &run.order_totals_changed,
        SideFact::Refunds => &run.refunds_changed,
    }
}

/// These days of a side fact, of which some are stored.
pub(super) fn side_changes(fact: SideFact, days: BTreeSet<Dt>, is_stored: impl Fn(Dt) -> bool) -> DayChanges {
    let stored: BTreeSet<Dt> = days.iter().copied().filter(|dt| is_stored(*dt)).collect();
    DayChanges { sources: redshift::side_sources(fact, &stored), days, stored }
}

/// The runs, the latest commit first.
pub(super) fn runs(output: &Output, which: WhichRuns<'_>) -> Result<Vec<Summary>, RunError> {
    let unknown = |run_id: &str| RequestError::UnknownRun { run_id: run_id.to_owned(), output: output.location() };
    match which {
        WhichRuns::Last => {
            // Runs that were at work at the same time are committed in another order than they began.
            let has_published = |run: &Result<Summary, StoreError>| run.as_ref().ok().is_none_or(Summary::has_published);
            let latest: Result<Vec<_>, _> = report::recorded_summaries(output)?.filter(has_published).take(AT_WORK_AT_ONCE).collect();
            Ok(latest?.into_iter().max_by_key(|run| run.commit).into_iter().collect())
        }
        WhichRuns::One(run_id) => Ok(vec![report_of(output, run_id)?.ok_or_else(|| unknown(run_id))?]),
        WhichRuns::Since(run_id) => {
            let since = report_of(output, run_id)?.ok_or_else(|| unknown(run_id))?;
            runs_since(output, &since)
        }
    }
}

/// How many runs may have been at work at the same time.
const AT_WORK_AT_ONCE: usize = 64;

/// The report of a run.
fn report_of(output: &Output, run_id: &str) -> Result<Option<Summary>, RunError> {
    Ok(output.read(places::report(run_id))?.and_then(|bytes| Summary::from_json(&bytes).ok()))
}

/// The runs that were committed after a run and changed something.
fn runs_since(output: &Output, since: &Summary) -> Result<Vec<Summary>, RunError> {
    let is_later = |run: &Summary| match (run.commit, since.commit) {
        (Some(run), Some(since)) => run > since,
        // Runs of versions before commits were committed in the order of their names.
        _ => run.run_id > since.run_id,
    };
    let mut later = Vec::new();
    let mut earlier = 0;
    for run in report::recorded_summaries(output)? {
        let run = run?;
        if run.run_id < since.run_id {
            earlier += 1;
        }
        // A run that began earlier may have been committed later, but not one that began long before.
        if earlier > AT_WORK_AT_ONCE {
            break;
        }
        later.extend(Some(run).filter(|run| run.run_id != since.run_id && is_later(run) && run.has_published()));
    }
    later.sort_by(|one, other| (other.commit, &other.run_id).cmp(&(one.commit, &one.run_id)));
    Ok(later)
}

/// A manifest, as far as it is read back.
#[derive(Deserialize)]
struct Manifest {
    entries: Vec<ManifestEntry>,
}

#[derive(Deserialize)]
struct ManifestEntry {
    url: String,
    meta: EntryMeta,
}

#[derive(Deserialize)]
struct EntryMeta {
    content_length: u64,
}

/// The manifest of a run, if the warehouse may load it now: each of its files lies under today's `redshift.url`, and is the content of
/// its partition, of the size that the manifest says.
fn valid_manifest(output: &Output, state: &LayerState, url: &str, run_id: &str) -> Result<Option<RunManifest>, StoreError> {
    let key = places::manifest(run_id);
    let manifest: Option<Manifest> = output.read(&key)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let days = manifest.and_then(|manifest| days_of_manifest(&manifest, state, url));
    Ok(days.map(|days| RunManifest { place: key.to_string(), days }))
}

/// The days of a manifest; `None` if the warehouse may not load it now.
fn days_of_manifest(manifest: &Manifest, state: &LayerState, url: &str) -> Option<BTreeSet<Dt>> {
    let day = |entry: &ManifestEntry| {
        let object = entry.url.strip_prefix(url)?.strip_prefix('/')?;
        let dt = places::partition_of(Key::from(object).folder()?.rsplit('/').next()?)?;
        let version = &state.partitions.get(&dt)?.version;
        (version.object.as_str() == object && version.bytes == entry.meta.content_length).then_some(dt)
    };
    manifest.entries.iter().map(day).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layer::PartitionEntry,
        model::CurrencyTotals,
        run::manifest::{Entry, manifest},
        store::ObjectRef,
    };

    #[test]
    fn a_manifest_is_used_only_while_its_url_and_its_files_are_as_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::new(folder.path().to_owned());
        let dt: Dt = "2026-01-01".parse().unwrap();
        let object = Key::from("data/dt=2026-01-01/r.csv");
        let made = |url: Option<&str>| {
            output.replace(places::manifest("r"), &manifest(&output, url, &[Entry { place: object.clone(), bytes: 4 }])).unwrap();
        };
        let state = |object: &Key, bytes| {
            let version = ObjectRef { object: object.clone(), bytes, checksum: "x".into() };
            let entry = PartitionEntry { version, modified_ns: 0, rows: 1, revenue: CurrencyTotals::new(), totals: None };
            LayerState { partitions: [(dt, entry)].into(), ..LayerState::default() }
        };
        let is_valid = |url: &str, state: &LayerState| valid_manifest(&output, state, url, "r").unwrap().is_some();
        made(None);
        assert!(!is_valid("s3://b/x", &state(&object, 4)), "made before redshift.url was set");
        made(Some("s3://b/x"));
        let valid = valid_manifest(&output, &state(&object, 4), "s3://b/x", "r").unwrap();
        assert_eq!(valid.map(|manifest| manifest.days), Some([dt].into()));
        assert!(!is_valid("s3://b/y", &state(&object, 4)) && !is_valid("s3://b", &state(&object, 4)), "made for another place");
        assert!(!is_valid("s3://b/x", &state(&object, 5)) && !is_valid("s3://b/x", &state(&Key::from("data/dt=2026-01-01/s.csv"), 4)));
        assert!(!is_valid("s3://b/x", &LayerState::default()), "a later run removed it");
        output.replace(places::manifest("r"), b"{").unwrap();
        assert!(!is_valid("s3://b/x", &state(&object, 4)));
    }
}
