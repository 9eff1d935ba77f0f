//! What lies in quarantine, by run and reason, with samples, and which of it was replayed. Changes nothing there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Summary, history::note_undo};
use crate::{
    model::{DropCounts, Level, RunId},
    store::{self, Key, Output, StoreError, places},
};

/// What a run dropped.
#[derive(Clone, Debug, Serialize)]
pub struct Quarantined {
    /// The run.
    pub run_id: String,
    /// Where it lies, beneath the output.
    pub file: String,
    /// Records and lines that were dropped, together.
    pub dropped: u64,
    /// The same, records and lines apart.
    pub drops: DropCounts,
    /// By reason.
    pub reasons: BTreeMap<String, u64>,
    /// Some of each reason.
    pub samples: Vec<Sample>,
    /// The runs that have read it again, the latest first. What they dropped lies in their own quarantine.
    pub replayed_by: Vec<String>,
    /// The run itself, as its report says; `None` if it has no report that can be read.
    #[serde(skip)]
    pub run: Option<RunOfDrops>,
}

/// What a report says of a run that has dropped something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunOfDrops {
    /// Its shop, in a layer of several.
    pub shop: Option<String>,
    /// The run whose drops it had read again: it is a replay.
    pub replay_of: Option<String>,
}

impl Quarantined {
    /// Whether a run has read it again: nothing here waits for anybody.
    pub fn is_replayed(&self) -> bool {
        !self.replayed_by.is_empty()
    }

    /// The shop of the run, in a layer of several.
    pub fn shop(&self) -> Option<&str> {
        self.run.as_ref()?.shop.as_deref()
    }
}

/// One drop, as it lies there.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is a field of a line of the quarantine, under its name")]
pub struct Sample {
    pub reason: String,
    #[serde(default)]
    pub level: Option<String>,
    #[serde(default)]
    pub order_id: Option<String>,
    #[serde(default)]
    pub line_index: Option<u64>,
    #[serde(default)]
    pub record: Option<Box<RawValue>>,
    #[serde(default)]
    pub record_base64: Option<String>,
}

/// Which quarantines were replayed, as reports tell it: the only record of what a replay did, since it leaves the files as they are.
#[derive(Default, Debug)]
pub struct Replays {
    /// The replays of a run, the latest first.
    by_run: BTreeMap<String, Vec<String>>,
    /// Runs that were undone, each with the run of its undo.
    undone: BTreeMap<String, String>,
}

impl Replays {
    /// Takes the next run of the history, the latest first.
    pub fn note(&mut self, run: &Summary) {
        if !run.has_loaded() || self.undone.contains_key(&run.run_id) {
            return;
        }
        note_undo(&mut self.undone, run);
        let Some(of_run) = &run.replay_of else { return };
        let of_same = self.by_run.entry(of_run.clone()).or_default();
        // A later replay of the same run has read again what this one dropped.
        let later = of_same.clone();
        of_same.push(run.run_id.clone());
        if !later.is_empty() {
            self.by_run.entry(run.run_id.clone()).or_default().extend(later);
        }
    }

    /// The runs that have replayed what a run dropped, the latest first, among those that were noted.
    pub fn of(&self, run_id: &str) -> &[String] {
        self.by_run.get(run_id).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The runs that have replayed what a run dropped, the latest first, as the reports of the runs after it say. Reads these reports alone.
///
/// # Errors
/// I/O errors.
pub fn replays_of(output: &Output, run_id: &RunId) -> Result<Vec<String>, StoreError> {
    let mut replays = Replays::default();
    for run in super::recorded_summaries(output)? {
        let run = run?;
        if run.run_id.as_str() <= run_id.as_str() {
            break;
        }
        replays.note(&run);
    }
    Ok(replays.of(run_id.as_str()).to_vec())
}

/// The runs among these, the latest first, whose drops a later one among them has read again.
pub fn replayed_runs(latest_first: &[Summary]) -> BTreeSet<String> {
    let (mut replays, mut replayed) = (Replays::default(), BTreeSet::new());
    for run in latest_first {
        if !replays.of(&run.run_id).is_empty() {
            replayed.insert(run.run_id.clone());
        }
        replays.note(run);
    }
    replayed
}

/// The runs that have a quarantine, the latest first: at most `limit` that were not replayed, and replayed ones between them. A line
/// that is none counts as `unreadable`.
///
/// # Errors
/// I/O errors.
pub fn quarantined(output: &Output, only: Option<&RunId>, limit: usize, samples: usize) -> Result<Vec<Quarantined>, StoreError> {
    let mut found: Vec<Quarantined> = Vec::new();
    let mut waiting = 0;
    // A replay comes after the run that it reads again.
    let mut reports = super::recorded_summaries(output)?.peekable();
    let mut replays = Replays::default();
    for name in output.names(places::QUARANTINE)?.into_iter().rev() {
        let Some(run_id) = places::run_of_folder(&name).filter(|run_id| only.is_none_or(|only| only.as_str() == *run_id)) else {
            continue;
        };
        if waiting == limit {
            break;
        }
        let place = places::quarantine(run_id);
        // A report that can't be read ends this: it may be of the run, or of a replay.
        while let Some(run) = reports.next_if(|run| run.as_ref().ok().is_none_or(|run| run.run_id.as_str() > run_id)) {
            replays.note(&run?);
        }
        let run = reports.peek().and_then(|run| run.as_ref().ok()).filter(|run| run.run_id == run_id);
        let run = run.map(|run| RunOfDrops { shop: run.shop.clone(), replay_of: run.replay_of.clone() });
        // In a bucket, a run that was never committed may have left its own.
        if run.is_none() && output.folder().is_none() && output.read(places::report(run_id))?.is_none() {
            continue;
        }
        let Some(path) = output.local(&place)? else { continue };
        // Another command may have removed it meanwhile.
        let Some(file) = store::open_file(&path)? else { continue };
        let of_run = read(run_id, &place, file, &path, samples)?;
        let of_run = Quarantined { replayed_by: replays.of(run_id).to_vec(), run, ..of_run };
        waiting += usize::from(!of_run.is_replayed());
        found.push(of_run);
    }
    Ok(found)
}

/// What lies in one quarantine.
fn read(run_id: &str, place: &Key, file: File, path: &Path, samples: usize) -> Result<Quarantined, StoreError> {
    let mut of_run = Quarantined {
        run_id: run_id.to_owned(),
        file: place.to_string(),
        dropped: 0,
        drops: DropCounts::default(),
        reasons: BTreeMap::new(),
        samples: Vec::new(),
        replayed_by: Vec::new(),
        run: None,
    };
    for line in BufReader::new(file).split(b'\n') {
        let line = line.map_err(StoreError::io("read", path))?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let sample: Option<Sample> = serde_json::from_slice(&line).ok();
        let reason = sample.as_ref().map_or("unreadable", |sample| sample.reason.as_str()).to_owned();
        let level = sample.as_ref().and_then(|sample| sample.level.as_deref()).map_or(Level::Record, Level::named);
        of_run.dropped += 1;
        of_run.drops.add(level, 1);
        let count = of_run.reasons.entry(reason).or_default();
        *count += 1;
        of_run.samples.extend(sample.filter(|_| *count <= samples as u64));
    }
    Ok(of_run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::UtcMicros,
        report::{CommandName, Status},
    };

    fn run(run_id: &str, status: Status) -> Summary {
        Summary { status, ..Summary::new(run_id.to_owned(), None, None, UtcMicros::new(0).unwrap()) }
    }

    fn replay(run_id: &str, of_run: &str, status: Status) -> Summary {
        Summary { command: CommandName::Replay, replay_of: Some(of_run.to_owned()), ..run(run_id, status) }
    }

    fn replays(latest_first: &[Summary]) -> Replays {
        let mut replays = Replays::default();
        latest_first.iter().for_each(|run| replays.note(run));
        replays
    }

    #[test]
    fn a_replay_that_has_loaded_something_counts_until_it_is_undone() {
        let [loaded, dry] = [Status::Published, Status::DryRun].map(|status| replays(&[replay("r2", "r1", status)]));
        assert_eq!((loaded.of("r1"), loaded.of("r2").len(), dry.of("r1").len()), (&["r2".to_owned()][..], 0, 0));
        let undo = Summary { command: CommandName::Undo, undoes: Some("r2".to_owned()), ..run("r3", Status::Published) };
        let undone = replays(&[undo.clone(), replay("r2", "r1", Status::Published)]);
        assert!(undone.of("r1").is_empty());
        let redone = Summary { command: CommandName::Undo, undoes: Some("r3".to_owned()), ..run("r4", Status::Published) };
        assert_eq!(replays(&[redone, undo, replay("r2", "r1", Status::Published)]).of("r1"), ["r2"], "the undo was undone");
    }

    #[test]
    fn what_an_earlier_replay_dropped_was_read_again_by_a_later_one() {
        let both = replays(&[replay("r3", "r1", Status::Unchanged), replay("r2", "r1", Status::Published)]);
        assert_eq!(
            (both.of("r1"), both.of("r2"), both.of("r3").len()),
            (&["r3".to_owned(), "r2".to_owned()][..], &["r3".to_owned()][..], 0)
        );
    }
}
