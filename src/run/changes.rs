//! What runs have changed in the layer, for a warehouse that follows it, and which of their manifests still hold.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{RequestError, RunError};
use crate::{
    model::Dt,
    report::{self, Summary},
    store::{self, Output, places},
    warehouse::redshift::{self, Changes, RunManifest},
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
    let stored: BTreeSet<Dt> = days.iter().copied().filter(|dt| output.at(places::partition_file(*dt)).exists()).collect();
    let manifests: Vec<_> = runs.iter().filter_map(|run| valid_manifest(output, url, &run.run_id)).collect();
    let sources = redshift::sources(&stored, &manifests);
    Ok(Changes { days, stored, sources })
}

/// The runs, the latest first.
fn runs(output: &Output, which: WhichRuns<'_>) -> Result<Vec<Summary>, RunError> {
    let unknown = |run_id: &str| RequestError::UnknownRun(run_id.to_owned());
    let mut recorded = report::recorded_runs(output)?.map(|(run, _)| run);
    match which {
        WhichRuns::Last => Ok(recorded.find(Summary::has_published).into_iter().collect()),
        WhichRuns::One(run_id) => Ok(vec![recorded.find(|run| run.run_id == run_id).ok_or_else(|| unknown(run_id))?]),
        WhichRuns::Since(run_id) => {
            let mut after = Vec::new();
            loop {
                let run = recorded.next().ok_or_else(|| unknown(run_id))?;
                if run.run_id == run_id {
                    return Ok(after);
                }
                after.extend(Some(run).filter(Summary::has_published));
            }
        }
    }
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

/// The manifest of a run, if the warehouse accepts it now: each of its files lies under today's `redshift.url`, exists, and has
/// the size that the manifest says. Redshift refuses a manifest with a missing file or another size.
fn valid_manifest(output: &Output, url: &str, run_id: &str) -> Option<RunManifest> {
    let place = places::manifest(run_id);
    let bytes = store::read(&output.at(&place)).ok()??;
    let manifest: Manifest = serde_json::from_slice(&bytes).ok()?;
    let day = |entry: &ManifestEntry| {
        let relative = Path::new(entry.url.strip_prefix(url)?.strip_prefix('/')?);
        let dt = places::partition_of(relative.parent()?.file_name()?.to_str()?)?;
        let is_partition = relative == places::partition_file(dt);
        let length = |path: PathBuf| path.metadata().ok().map(|file| file.len());
        (is_partition && length(output.at(relative)) == Some(entry.meta.content_length)).then_some(dt)
    };
    let days: Option<BTreeSet<Dt>> = manifest.entries.iter().map(day).collect();
    Some(RunManifest { place: place.display().to_string(), days: days? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::manifest::{Entry, manifest};

    #[test]
    fn a_manifest_is_used_only_while_its_url_and_its_files_are_as_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::new(folder.path().to_owned());
        let dt: Dt = "2026-01-01".parse().unwrap();
        let place = places::partition_file(dt);
        let write = |place: &Path, content: &[u8]| {
            std::fs::create_dir_all(output.at(place).parent().unwrap()).unwrap();
            std::fs::write(output.at(place), content).unwrap();
        };
        write(&place, b"1234");
        let made = |url: Option<&str>| write(&places::manifest("r"), &manifest(&output, url, &[Entry { place: place.clone(), bytes: 4 }]));
        let is_valid = |url: &str| valid_manifest(&output, url, "r").is_some();
        made(None);
        assert!(!is_valid("s3://b/x"), "made before redshift.url was set");
        made(Some("s3://b/x"));
        assert_eq!(valid_manifest(&output, "s3://b/x", "r").map(|manifest| manifest.days), Some([dt].into()));
        assert!(!is_valid("s3://b/y") && !is_valid("s3://b"), "made for another place");
        write(&place, b"12345");
        assert!(!is_valid("s3://b/x"), "a later run changed the partition");
        std::fs::remove_file(output.at(&place)).unwrap();
        assert!(!is_valid("s3://b/x"), "a later run removed it");
        write(&places::manifest("r"), b"{");
        assert!(!is_valid("s3://b/x"));
    }
}
