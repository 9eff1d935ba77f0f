//! Where the lineage of runs is kept, and for how long. Knows nothing of what a file of lineage holds.
//!
//! ```text
//! state/lineage/SEQUENCE-RUN_ID.lineage     one run; SEQUENCE counts publishes: the order of commits, whatever the clocks say
//! state/lineage/SEQUENCE-RUN_ID.bundle      in a bucket, small ones of several runs, this one the last: {key: content} as JSON
//! the state in the newest record            in a bucket, the small ones since the last bundle: a file each would cost a request
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use super::{LayerError, LayerState, OpenedLayer};
use crate::{
    model::UtcMicros,
    store::{self, Inlined, Key, Output, Staging, StoreError, places},
};

/// How the names of files of lineage end, and those of bundles.
const ENDING: &str = ".lineage";
const BUNDLE: &str = ".bundle";

/// The place of the lineage of a run.
pub(super) fn lineage_file(sequence: u64, run_id: &str) -> Key {
    Key::from(places::LINEAGE).join(format!("{sequence:010}-{run_id}{ENDING}"))
}

/// Whether a key is that of a run's lineage.
pub(super) fn is_lineage(key: &Key) -> bool {
    key.folder() == Some(places::LINEAGE) && key.name().ends_with(ENDING)
}

/// A run whose lineage is kept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LineageRun {
    /// Its place among all publishes.
    pub sequence: u64,
    /// The run.
    pub run_id: String,
    key: Key,
    bytes: u64,
    kept_in: KeptIn,
}

/// Where the lineage of a run is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum KeptIn {
    /// An object, or a file, of its own.
    Object,
    /// A bundle. A local file has the content.
    Bundle(Key),
    /// The newest record. A local file has the content.
    Record,
}

impl LineageRun {
    /// The run of a file; `None` for any other file.
    fn new(key: Key, bytes: u64, kept_in: KeptIn) -> Option<LineageRun> {
        let (sequence, run_id) = key.name().strip_suffix(ENDING)?.split_once('-')?;
        let (sequence, run_id) = (sequence.parse().ok()?, run_id.to_owned());
        Some(LineageRun { sequence, run_id, key, bytes, kept_in })
    }

    /// A local file with its lineage.
    ///
    /// # Errors
    /// I/O errors.
    pub(super) fn local_file(&self, output: &Output) -> Result<PathBuf, StoreError> {
        let fetched = match self.kept_in {
            KeptIn::Object => output.local(&self.key)?,
            KeptIn::Bundle(_) | KeptIn::Record => None,
        };
        Ok(fetched.unwrap_or_else(|| output.at(&self.key)))
    }
}

/// The runs whose lineage is kept, in the order of their commits.
///
/// # Errors
/// I/O errors.
pub fn stored_runs(output: &Output) -> Result<Vec<LineageRun>, LayerError> {
    let mut runs = Vec::new();
    if output.folder().is_none() {
        // Opened, it has left local files of what stands in it. A bundle that is put after that is listed below.
        let inlined = OpenedLayer::open(output)?.state.inlined.into_iter().filter(|(key, _)| is_lineage(key));
        runs.extend(inlined.filter_map(|(key, content)| LineageRun::new(key, content.size(), KeptIn::Record)));
    }
    for listed in output.list(places::LINEAGE)? {
        if !listed.key.name().ends_with(BUNDLE) {
            runs.extend(LineageRun::new(listed.key, listed.bytes, KeptIn::Object));
            continue;
        }
        for (key, content) in read_bundle(output, &listed.key)? {
            output.keep_inlined(&key, &content)?;
            runs.extend(LineageRun::new(key, content.size(), KeptIn::Bundle(listed.key.clone())));
        }
    }
    runs.sort_unstable();
    runs.dedup_by(|later, earlier| later.key == earlier.key);
    Ok(runs)
}

fn read_bundle(output: &Output, bundle: &Key) -> Result<BTreeMap<Key, Inlined>, StoreError> {
    let Some(bytes) = output.read(bundle)? else { return Ok(BTreeMap::new()) };
    Ok(serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        tracing::warn!(bundle = %bundle, %error, "a bundle of lineage is damaged: `etl explain` does not know its runs");
        BTreeMap::new()
    }))
}

fn bundle_bytes(bundle: &Key, contents: &BTreeMap<Key, Inlined>) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(contents).map_err(|error| StoreError::Record { location: bundle.to_string(), detail: error.to_string() })
}

/// In a bucket, takes the staged lineage of a run into the state, if it is small. Where the state has much of it by now, a bundle is
/// staged that takes all of it, so that one run of many pays for one object. What is past its retention is dropped.
///
/// # Errors
/// I/O errors.
pub fn inline_lineage(
    state: &mut LayerState,
    staging: &mut Staging,
    retention: LineageRetention,
    now: UtcMicros,
) -> Result<(), LayerError> {
    let oldest = retention.oldest_run(now);
    let newest = state.inlined.keys().rfind(|key| is_lineage(key));
    // Where even the latest run is too old, the clock may be wrong: then nothing is.
    if newest.is_some_and(|key| run_id_of(key) >= oldest.as_str()) {
        state.inlined.retain(|key, _| !is_lineage(key) || run_id_of(key) >= oldest.as_str());
    }
    for key in staging.keys_in(places::LINEAGE).into_iter().filter(is_lineage) {
        let content = store::read(&staging.staged(&key))?.and_then(|bytes| Inlined::new(&bytes, Inlined::MOST_IN_RECORD));
        if let Some(content) = content {
            staging.unstage(&key);
            state.inlined.insert(key, content);
        }
    }
    let keys: Vec<Key> = state.inlined.keys().filter(|key| is_lineage(key)).cloned().collect();
    let size: u64 = keys.iter().filter_map(|key| state.inlined.get(key)).map(Inlined::size).sum();
    let Some(last) = keys.last().filter(|_| size > Inlined::MOST_IN_RECORD) else { return Ok(()) };
    let bundle = Key::from(places::LINEAGE).join(last.name().replace(ENDING, BUNDLE));
    let contents: BTreeMap<Key, Inlined> = keys.iter().filter_map(|key| state.inlined.remove_entry(key)).collect();
    staging.put(&bundle, &bundle_bytes(&bundle, &contents)?)?;
    Ok(())
}

/// The id of the run of a file of lineage.
fn run_id_of(key: &Key) -> &str {
    key.name().split_once('-').map_or("", |(_, run_id)| run_id)
}

/// How much lineage is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LineageRetention {
    /// That of runs that started at most so long ago.
    pub keep: Duration,
    /// At most so many bytes, those of the latest runs.
    pub max_bytes: u64,
}

impl LineageRetention {
    /// The smallest run id that is still within the retention.
    fn oldest_run(&self, now: UtcMicros) -> String {
        let oldest = now.minus(i64::try_from(self.keep.as_micros()).unwrap_or(i64::MAX));
        oldest.rfc3339().chars().filter(char::is_ascii_alphanumeric).take("20260131T100000".len()).collect()
    }
}

/// What a retention removed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RemovedLineage {
    /// Runs that are too old.
    pub too_old: usize,
    /// Runs beyond the bytes.
    pub beyond_bytes: usize,
}

/// Removes lineage that is past its retention. That of the latest run always stays, and what stands in the newest record until the
/// next one.
///
/// # Errors
/// I/O errors.
pub fn remove_past_retention(output: &Output, retention: LineageRetention, now: UtcMicros) -> Result<RemovedLineage, LayerError> {
    let oldest = retention.oldest_run(now);
    let (mut removed, mut bytes) = (RemovedLineage::default(), 0);
    let mut from_bundles: BTreeMap<Key, BTreeSet<Key>> = BTreeMap::new();
    for (place, run) in stored_runs(output)?.into_iter().rev().enumerate() {
        bytes += run.bytes;
        let is_old = run.run_id < oldest;
        if place == 0 || (!is_old && bytes <= retention.max_bytes) {
            continue;
        }
        match run.kept_in {
            KeptIn::Object => output.remove(&run.key)?,
            KeptIn::Bundle(bundle) => _ = from_bundles.entry(bundle).or_default().insert(run.key),
            KeptIn::Record => continue,
        }
        *(if is_old { &mut removed.too_old } else { &mut removed.beyond_bytes }) += 1;
    }
    for (bundle, runs) in from_bundles {
        let mut contents = read_bundle(output, &bundle)?;
        contents.retain(|key, _| !runs.contains(key));
        if contents.is_empty() {
            output.remove(&bundle)?;
        } else {
            output.replace(&bundle, &bundle_bytes(&bundle, &contents)?)?;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn lineage_goes_by_age_and_by_size_and_the_latest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::new(dir.path().to_owned());
        fs::create_dir_all(output.at(places::LINEAGE)).unwrap();
        let runs = ["20200101T000000000000Z-0000010000", "20260108T000000000000Z-0000010000", "20260109T000000000000Z-0000010000"];
        let put = || {
            for (run, sequence) in runs.iter().zip(1..) {
                fs::write(output.at(places::LINEAGE).join(format!("{sequence:010}-{run}{ENDING}")), [0; 100]).unwrap();
            }
        };
        let kept = || stored_runs(&output).unwrap().iter().map(|run| run.sequence).collect::<Vec<_>>();
        let now = UtcMicros::from_civil((2026, 1, 10), 0, 0, 0).unwrap();
        let remove = |days: u64, max_bytes| {
            put();
            let retention = LineageRetention { keep: Duration::from_secs(days * 86_400), max_bytes };
            remove_past_retention(&output, retention, now).unwrap()
        };
        assert_eq!((remove(30, 1000), kept()), (RemovedLineage { too_old: 1, beyond_bytes: 0 }, vec![2, 3]));
        assert_eq!((remove(10_000, 250), kept()), (RemovedLineage { too_old: 0, beyond_bytes: 1 }, vec![2, 3]));
        assert_eq!((remove(0, 0), kept()), (RemovedLineage { too_old: 2, beyond_bytes: 0 }, vec![3]));
        put();
        let forever = LineageRetention { keep: Duration::MAX, max_bytes: u64::MAX };
        assert_eq!(remove_past_retention(&output, forever, now).unwrap(), RemovedLineage::default());
    }

    #[test]
    fn small_lineage_stands_in_the_state_until_a_bundle_takes_all_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut staging = Staging::create(&Output::new(dir.path().to_owned()), "r").unwrap();
        let mut state = LayerState::default();
        let retention = LineageRetention { keep: Duration::from_secs(30 * 86_400), max_bytes: u64::MAX };
        let now = UtcMicros::from_civil((2026, 1, 10), 0, 0, 0).unwrap();
        let mut add = |state: &mut LayerState, sequence: u64, run_id: &str, size: u64| {
            // Noise does not get smaller.
            let noise = (0..size).map(|place| xxhash_rust::xxh3::xxh3_64(&(place + sequence).to_le_bytes()).to_le_bytes()[0]);
            staging.put(lineage_file(sequence, run_id), &noise.collect::<Vec<u8>>()).unwrap();
            inline_lineage(state, &mut staging, retention, now).unwrap();
            let staged = staging.keys_in(places::LINEAGE);
            staged.iter().for_each(|key| staging.unstage(key));
            staged.into_iter().map(|key| (key.name().to_owned(), store::read(&staging.staged(&key)).unwrap().unwrap())).collect::<Vec<_>>()
        };
        assert_eq!((add(&mut state, 1, "20260101T000000", 150_000), state.inlined.len()), (Vec::new(), 1));
        let bundles = add(&mut state, 2, "20260102T000000", 150_000);
        assert_eq!((bundles.len(), bundles[0].0.as_str()), (1, "0000000002-20260102T000000.bundle"));
        let bundled: BTreeMap<Key, Inlined> = serde_json::from_slice(&bundles[0].1).unwrap();
        assert_eq!(bundled.len(), 2);
        assert_eq!(bundled[&lineage_file(1, "20260101T000000")].bytes().unwrap().len(), 150_000);
        assert!(state.inlined.is_empty());
        // Past its retention, once another run shows that the clock is right.
        let kept = |state: &LayerState| state.inlined.keys().cloned().collect::<Vec<_>>();
        let [old, next, last] = [(3, "20200101T000000"), (4, "20260104T000000"), (5, "20260105T000000")];
        add(&mut state, old.0, old.1, 10);
        add(&mut state, next.0, next.1, 10);
        assert_eq!(kept(&state), [lineage_file(old.0, old.1), lineage_file(next.0, next.1)]);
        add(&mut state, last.0, last.1, 10);
        assert_eq!(kept(&state), [lineage_file(next.0, next.1), lineage_file(last.0, last.1)]);
    }
}
