//! A run over what an earlier one dropped, as it now stands in that run's quarantine: mended by hand.

use std::{
    collections::HashSet,
    fs,
    io::{BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    RequestError, RunError,
    job::{self, Observer, Outcome, Request},
};
use crate::{
    cancel::Cancel,
    report::CommandName,
    settings::{Location, Settings, Source},
    store::{Output, StoreError},
};

/// A line of the quarantine, as far as it is read back.
#[derive(Deserialize)]
struct Line {
    record: Option<Box<RawValue>>,
    record_base64: Option<String>,
}

/// A file that is gone with its owner.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The place of a run's quarantine.
pub fn quarantine_file(output: &Output, run_id: &str) -> PathBuf {
    output.at("quarantine").join(format!("run_id={run_id}")).join("records.ndjson")
}

/// Runs the job over the records that `run_id` dropped. A record that stands there several times, once for each line that
/// was dropped, counts once. The window is open, and nothing is added to coverage.
///
/// # Errors
/// No such quarantine, or a line of it that is none; how the run itself ended is the outcome.
pub fn replay(settings: &Settings, run_id: &str, cancel: &Cancel, observer: &dyn Observer) -> Result<Outcome, RunError> {
    let file = quarantine_file(&Output::new(settings.output.clone()), run_id);
    let records = Temporary(std::env::temp_dir().join(format!("etl-replay-{}-{run_id}.ndjson", std::process::id())));
    unwrap_records(&file, run_id, &records.0)?;
    let location = Location::Files(records.0.display().to_string());
    let orders = match &settings.orders {
        Some(orders) => Source { location, ..orders.clone() },
        None => location.into(),
    };
    let settings = Settings { orders: Some(orders), ..settings.clone() };
    let request = Request {
        settings: &settings,
        command: CommandName::Replay,
        replay_of: Some(run_id),
        since: None,
        until: None,
        restart: None,
        cancel,
        observer,
    };
    Ok(job::execute(&request))
}

/// Writes the records of a quarantine as NDJSON, each as it stands there, digit by digit.
fn unwrap_records(file: &Path, run_id: &str, records: &Path) -> Result<(), RunError> {
    let source = fs::File::open(file).map_err(|_| RequestError::NoQuarantine(run_id.to_owned()))?;
    let target = fs::File::create_new(records).map_err(StoreError::io("create", records))?;
    let mut target = BufWriter::new(target);
    let mut seen = HashSet::new();
    for (number, line) in BufReader::new(source).split(b'\n').enumerate() {
        let line = line.map_err(StoreError::io("read", file))?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let wrong = |detail: String| RequestError::DamagedQuarantine { path: file.to_owned(), line: number + 1, detail };
        let mut record = record(&line).map_err(wrong)?;
        // A record that is no JSON may hold line breaks; within JSON they are white space.
        record.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
        if seen.insert(crate::model::order_hash(&String::from_utf8_lossy(&record))) {
            record.push(b'\n');
            target.write_all(&record).map_err(StoreError::io("write", records))?;
        }
    }
    target.flush().map_err(StoreError::io("write", records))?;
    Ok(())
}

fn record(line: &[u8]) -> Result<Vec<u8>, String> {
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
