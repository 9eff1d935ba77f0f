//! A run over the records that an earlier run dropped, as its quarantine now holds them: corrected by hand.

use std::{
    collections::HashSet,
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    RequestError, RunError,
    existing::require_layer,
    job::{self, OrdersFrom, Outcome, QuarantineOf, Request},
    lineage::{Job, tell_unbegun},
    observer::Observer,
};
use crate::{
    cancel::Cancel,
    lineage::Datasets,
    model::{RunId, is_withheld},
    report::{self, CommandName, Summary},
    settings::Settings,
    store::{Output, StoreError, places},
};

/// What holds for records that were replayed before.
const REPLAYED: &str =
    "records that it has loaded change nothing, unless they were mended again since; those that it dropped lie in its own quarantine";

/// A line of the quarantine, as far as it is read back.
#[derive(Deserialize)]
struct Line {
    record: Option<Box<RawValue>>,
    record_base64: Option<String>,
}

/// Runs the job over the records that `run_id` dropped. A record that stands there several times, once for each line that
/// was dropped, counts once. The window is open, and nothing is added to coverage. Says at once, before it waits for the output, that
/// another replay has read these records.
///
/// # Errors
/// There is no layer, no such quarantine, or a damaged line of it (exit 2). How the run itself ended is the outcome.
pub fn replay(settings: &Settings, run_id: &RunId, cancel: &Cancel, observer: &dyn Observer) -> Result<Outcome, RunError> {
    let job = Job { settings, command: CommandName::Replay, datasets: Datasets::Kept(places::QUARANTINE) };
    let replayed_by = tell_unbegun(job, cancel, find_quarantine(settings, run_id))?;
    if let Some(latest) = replayed_by.first() {
        tracing::warn!(of_run = %run_id, "the run was replayed before, the last time by run {latest}: {REPLAYED}");
    }
    let request = Request {
        settings,
        command: CommandName::Replay,
        orders: OrdersFrom::Quarantine(QuarantineOf { run_id, replayed_by: &replayed_by }),
        since: None,
        until: None,
        restart: None,
        diff: None,
        cancel,
        observer,
    };
    let outcome = job::execute(&request);
    match outcome.error {
        // The quarantine is at fault, and not the run.
        Some(RunError::Request(error @ (RequestError::NoQuarantine { .. } | RequestError::DamagedQuarantine { .. }))) => Err(error.into()),
        _ => Ok(outcome),
    }
}

/// The runs that have replayed a quarantine that is there, the latest first.
fn find_quarantine(settings: &Settings, run_id: &RunId) -> Result<Vec<String>, RunError> {
    let output = Output::open(&settings.output)?;
    require_layer(&output)?;
    if output.local(places::quarantine(run_id.as_str()))?.is_none() {
        return Err(no_quarantine(&output, run_id).into());
    }
    Ok(report::replays_of(&output, run_id)?)
}

/// Warns if another run has replayed the same quarantine while this one waited for the output. It goes on all the same: the records
/// may have been mended once more since, or mapped by other settings.
///
/// # Errors
/// I/O errors (exit 5).
pub(super) fn warn_if_overtaken(output: &Output, of: QuarantineOf<'_>) -> Result<(), StoreError> {
    let by = report::replays_of(output, of.run_id)?;
    if let Some(latest) = by.iter().find(|replay| !of.replayed_by.contains(replay)) {
        tracing::warn!(of_run = %of.run_id, "while this replay waited, run {latest} has replayed the same run: {REPLAYED}");
    }
    Ok(())
}

fn no_quarantine(output: &Output, run_id: &RunId) -> RequestError {
    RequestError::NoQuarantine { run_id: run_id.to_string(), output: output.location() }
}

/// The shop of a run whose quarantine is to be replayed, as its report says.
///
/// # Errors
/// There is no such report, it names no shop, or the settings do not know it (exit 2); I/O errors.
pub fn shop_of_run(settings: &Settings, run_id: &RunId, cancel: &Cancel) -> Result<String, RunError> {
    let job = Job { settings, command: CommandName::Replay, datasets: Datasets::Kept(places::QUARANTINE) };
    tell_unbegun(job, cancel, find_shop(settings, run_id))
}

fn find_shop(settings: &Settings, run_id: &RunId) -> Result<String, RunError> {
    let output = Output::open(&settings.output)?;
    require_layer(&output)?;
    let report = output.read(places::report(run_id.as_str()))?.and_then(|bytes| Summary::from_json(&bytes).ok());
    let report = report.ok_or_else(|| RequestError::UnknownRun { run_id: run_id.to_string(), output: output.location() })?;
    match report.shop.filter(|shop| settings.shops.contains(shop)) {
        Some(shop) => Ok(shop),
        None => Err(RequestError::NoShopOfRun { run_id: run_id.to_string(), known: settings.shops.join(", ") }.into()),
    }
}

/// The records of a quarantine, as a source of a run.
pub(super) struct UnwrappedQuarantine {
    /// The file that has them.
    pub(super) file: PathBuf,
    /// Lines whose record is withheld, since its user was erased.
    pub(super) withheld: u64,
}

/// Writes the records of a quarantine as NDJSON into the run's scratch folder, each with its own bytes, and only for the owner.
///
/// # Errors
/// No such quarantine, or a damaged line of it (exit 2); I/O errors (exit 5).
pub(super) fn unwrap_quarantine(output: &Output, run_id: &RunId, scratch: &Path) -> Result<UnwrappedQuarantine, RunError> {
    let missing = || no_quarantine(output, run_id);
    let file = output.local(places::quarantine(run_id.as_str()))?.ok_or_else(missing)?;
    let source = fs::File::open(&file).map_err(|_| missing())?;
    fs::create_dir_all(scratch).map_err(StoreError::io("create the folder", scratch))?;
    let records = scratch.join("replay.ndjson");
    let target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&records);
    let mut target = BufWriter::new(target.map_err(StoreError::io("create", &records))?);
    let (mut seen, mut withheld) = (HashSet::new(), 0);
    for (number, line) in BufReader::new(source).split(b'\n').enumerate() {
        let line = line.map_err(StoreError::io("read", &file))?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let wrong = |detail: String| RequestError::DamagedQuarantine { path: file.clone(), line: number + 1, detail };
        let mut record = record(&line).map_err(wrong)?;
        if is_withheld(&record) {
            withheld += 1;
            continue;
        }
        // A record that is not valid JSON may contain line breaks; within JSON they are white space.
        record.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
        if seen.insert(crate::model::order_hash(&String::from_utf8_lossy(&record))) {
            record.push(b'\n');
            target.write_all(&record).map_err(StoreError::io("write", &records))?;
        }
    }
    target.flush().map_err(StoreError::io("write", &records))?;
    Ok(UnwrappedQuarantine { file: records, withheld })
}

/// The record of a line of a quarantine, with its own bytes.
///
/// # Errors
/// What is wrong with the line.
pub(super) fn record(line: &[u8]) -> Result<Vec<u8>, String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| format!("not a line of a quarantine: {error}"))?;
    match (line.record, line.record_base64) {
        // A text is a record that was no JSON; mended, it is some.
        (Some(raw), _) => Ok(serde_json::from_str::<String>(raw.get()).map_or_else(|_| raw.get().as_bytes().to_vec(), String::into_bytes)),
        (None, Some(text)) => STANDARD.decode(text).map_err(|error| format!("record_base64: {error}")),
        (None, None) => Err("neither `record` nor `record_base64`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_came() {
        let record = |line: &str| record(line.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(record(r#"{"reason":"x","record":{"price":1.10}}"#).unwrap(), r#"{"price":1.10}"#);
        assert_eq!(record(r#"{"record":"{\"a\""}"#).unwrap(), "{\"a\"");
        assert_eq!(record(r#"{"record_base64":"eyJhIjoxfQ=="}"#).unwrap(), r#"{"a":1}"#);
        assert!(record(r#"{"reason":"x"}"#).is_err());
        assert!(record("{").is_err());
    }
}
