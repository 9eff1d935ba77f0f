//! What runs have changed in the layer, for a warehouse that follows it.

use super::{RequestError, RunError};
use crate::{
    model::Dt,
    report::{self, RecordedRun},
    store::{Output, places},
    warehouse::redshift::{Changes, CopySource},
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
///
/// # Errors
/// No such run, or what the disk refuses.
pub fn changes(output: &Output, which: WhichRuns<'_>) -> Result<Changes, RunError> {
    let unknown = |run_id: &str| RequestError::UnknownRun(run_id.to_owned());
    let published = |run: &RecordedRun| run.has_published();
    let mut recorded = report::recorded_runs(output)?.map(|(run, _)| run);
    let runs: Vec<RecordedRun> = match which {
        WhichRuns::Last => recorded.find(published).into_iter().collect(),
        WhichRuns::One(run_id) => vec![recorded.find(|run| run.run_id == run_id).ok_or_else(|| unknown(run_id))?],
        WhichRuns::Since(run_id) => {
            let mut after = Vec::new();
            loop {
                let run = recorded.next().ok_or_else(|| unknown(run_id))?;
                if run.run_id == run_id {
                    break;
                }
                after.extend(Some(run).filter(published));
            }
            after
        }
    };
    let mut changes = Changes::default();
    for run in &runs {
        let (written, removed) = (days(&run.partitions_written), days(&run.partitions_removed));
        changes.days.extend(written.iter().chain(&removed));
        let manifest = format!("manifests/{}.manifest", run.run_id);
        let is_there = |dt: &&Dt| output.at(places::partition_file(**dt)).exists();
        if written.iter().all(|dt| is_there(&dt)) && output.at(&manifest).exists() {
            changes.sources.push(CopySource::Manifest(manifest));
        } else {
            changes
                .sources
                .extend(written.iter().filter(is_there).map(|dt| CopySource::Prefix(places::partition_file(*dt).display().to_string())));
        }
    }
    Ok(changes)
}

fn days(texts: &[String]) -> Vec<Dt> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}
