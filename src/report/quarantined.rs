//! What lies in quarantine, by run and reason, with samples. Changes nothing there.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    model::RunId,
    store::{Output, StoreError, places},
};

/// What a run dropped.
#[derive(Clone, Debug, Serialize)]
pub struct Quarantined {
    /// The run.
    pub run_id: String,
    /// Where it lies, beneath the output.
    pub file: String,
    /// Records and lines that were dropped.
    pub dropped: u64,
    /// By reason.
    pub reasons: BTreeMap<String, u64>,
    /// Some of each reason.
    pub samples: Vec<Sample>,
    /// The runs that have read it again.
    pub replayed_by: Vec<String>,
}

/// One drop, as it lies there.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is a field of a line of the quarantine, under its name")]
pub struct Sample {
    pub reason: String,
    #[serde(default)]
    pub order_id: Option<String>,
    #[serde(default)]
    pub line_index: Option<u64>,
    #[serde(default)]
    pub record: Option<Box<RawValue>>,
    #[serde(default)]
    pub record_base64: Option<String>,
}

/// The runs that have a quarantine, the latest first. A line that is none counts as `unreadable`.
///
/// # Errors
/// I/O errors.
pub fn quarantined(output: &Output, only: Option<&RunId>, limit: usize, samples: usize) -> Result<Vec<Quarantined>, StoreError> {
    let mut found = Vec::new();
    for name in output.names(places::QUARANTINE)?.into_iter().rev() {
        let Some(run_id) = places::run_of_folder(&name).filter(|run_id| only.is_none_or(|only| only.as_str() == *run_id)) else {
            continue;
        };
        let place = places::quarantine(run_id);
        // In a bucket, a run that was never committed may have left its own.
        if output.folder().is_none() && output.read(places::report(run_id))?.is_none() {
            continue;
        }
        let Some(path) = output.local(&place)? else { continue };
        let Ok(file) = File::open(&path) else { continue };
        if found.len() == limit {
            break;
        }
        let mut of_run = Quarantined {
            run_id: run_id.to_owned(),
            file: place.to_string(),
            dropped: 0,
            reasons: BTreeMap::new(),
            samples: Vec::new(),
            replayed_by: Vec::new(),
        };
        for line in BufReader::new(file).split(b'\n') {
            let line = line.map_err(StoreError::io("read", &path))?;
            if line.trim_ascii().is_empty() {
                continue;
            }
            let sample: Option<Sample> = serde_json::from_slice(&line).ok();
            let reason = sample.as_ref().map_or("unreadable", |sample| sample.reason.as_str()).to_owned();
            of_run.dropped += 1;
            let count = of_run.reasons.entry(reason).or_default();
            *count += 1;
            of_run.samples.extend(sample.filter(|_| *count <= samples as u64));
        }
        found.push(of_run);
    }
    let Some(oldest) = found.last().map(|of_run| of_run.run_id.clone()) else { return Ok(found) };
    // A replay comes after the run that it reads again.
    let later = super::recorded_runs(output)?.take_while(|(run, _)| run.run_id > oldest);
    for (run, _) in later.filter(|(run, _)| run.status.is_success()) {
        if let Some(of_run) = found.iter_mut().find(|of_run| run.replay_of.as_deref() == Some(&of_run.run_id)) {
            of_run.replayed_by.push(run.run_id);
        }
    }
    Ok(found)
}
