//! The runs before: their summaries, as they lie in `reports/`.

use std::{collections::BTreeMap, path::Path};

use super::Summary;
use crate::{
    model::RunPace,
    net::redact,
    store::{Key, Output, StoreError, places},
};

/// Runs, the last one first, each with the line of JSON that it wrote. Skips a report that is not valid.
///
/// # Errors
/// I/O errors.
pub fn recorded_runs(output: &Output) -> Result<impl Iterator<Item = (Summary, String)> + use<>, StoreError> {
    let names = output.names(places::REPORTS)?;
    let reports = names.into_iter().rev().filter(|name| Path::new(name).extension().is_some_and(|ending| ending == "json"));
    let output = output.clone();
    Ok(reports.filter_map(move |name| {
        let bytes = output.read(Key::from(places::REPORTS).join(name)).ok()??;
        let run = Summary::from_json(&bytes).ok()?;
        Some((run, String::from_utf8_lossy(&bytes).trim().to_owned()))
    }))
}

/// The latest runs, the last one first.
///
/// # Errors
/// I/O errors.
pub fn latest_runs(output: &Output, count: usize) -> Result<Vec<(Summary, String)>, StoreError> {
    Ok(recorded_runs(output)?.take(count).collect())
}

/// The runs that were undone, each with the run of its undo. `latest_first` are runs in the order of [`recorded_runs`]: an undo that
/// was undone itself counts for nothing.
pub fn undone_runs(latest_first: &[Summary]) -> BTreeMap<String, String> {
    let mut undone = BTreeMap::new();
    for run in latest_first.iter().filter(|run| run.status.is_success()) {
        if let Some(of_run) = run.undoes.as_ref().filter(|_| !undone.contains_key(&run.run_id)) {
            undone.insert(of_run.clone(), run.run_id.clone());
        }
    }
    undone
}

/// How long the latest successful runs of the same command and shop as this one took, the last one first: at most `count`, of the
/// latest `among`.
///
/// # Errors
/// I/O errors.
pub fn latest_paces(output: &Output, like: &Summary, count: usize, among: usize) -> Result<Vec<RunPace>, StoreError> {
    let is_like = |run: &Summary| run.status.is_success() && run.kind() == like.kind();
    Ok(recorded_runs(output)?.take(among).map(|(run, _)| run).filter(is_like).take(count).map(|run| run.pace()).collect())
}

/// Writes the report of a run, outside of any publish.
///
/// # Errors
/// I/O errors.
pub fn write_report(output: &Output, summary: &Summary) -> Result<(), StoreError> {
    output.replace(places::report(&summary.run_id), &report_bytes(summary))
}

/// Writes the report of a run that may be committed, unless the one of its commit is there already.
///
/// # Errors
/// I/O errors.
pub fn write_report_unless_told(output: &Output, summary: &Summary) -> Result<(), StoreError> {
    output.put_absent(places::report(&summary.run_id), &report_bytes(summary))
}

/// A report's bytes: the summary, as one line.
pub(crate) fn report_bytes(summary: &Summary) -> Vec<u8> {
    let mut line = redact::json(&serde_json::to_string(summary).unwrap_or_default()).into_owned();
    line.push('\n');
    line.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::UtcMicros, report::Status};

    #[test]
    fn a_run_is_undone_until_its_undo_is() {
        let undo = |run_id: &str, of_run: &str| Summary {
            status: Status::Published,
            undoes: Some(of_run.to_owned()),
            ..Summary::new(run_id.to_owned(), None, None, UtcMicros::new(0).unwrap())
        };
        assert_eq!(undone_runs(&[undo("r3", "r1")]), BTreeMap::from([("r1".to_owned(), "r3".to_owned())]));
        let again = undone_runs(&[undo("r4", "r3"), undo("r3", "r1")]);
        assert_eq!(again, BTreeMap::from([("r3".to_owned(), "r4".to_owned())]), "r1 stands again");
    }
}
