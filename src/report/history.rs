//! The runs before: their summaries, as they lie in `reports/`.

use std::{cmp::Reverse, collections::BTreeMap, path::Path};

use super::Summary;
use crate::{
    model::RunPace,
    net::redact,
    store::{Key, Output, StoreError, places},
};

/// Runs, the last one first, each with the line of JSON that it wrote. Skips a report that is not valid, and one that is gone since it
/// was listed.
///
/// # Errors
/// The reports can't be listed. An item is an error where its report can't be read: it must not be taken for absent.
pub fn recorded_runs(output: &Output) -> Result<impl Iterator<Item = Result<(Summary, String), StoreError>> + use<>, StoreError> {
    let names = output.names(places::REPORTS)?;
    let reports = names.into_iter().rev().filter(|name| Path::new(name).extension().is_some_and(|ending| ending == "json"));
    let output = output.clone();
    Ok(reports.filter_map(move |name| {
        let bytes = output.read(Key::from(places::REPORTS).join(name)).transpose()?;
        bytes.map(|bytes| recorded(&bytes)).transpose()
    }))
}

/// A run and its line, as a report has them; `None` if the report is not valid.
fn recorded(report: &[u8]) -> Option<(Summary, String)> {
    let run = Summary::from_json(report).ok()?;
    Some((run, String::from_utf8_lossy(report).trim().to_owned()))
}

/// The summaries of [`recorded_runs`], without their lines.
///
/// # Errors
/// As those of [`recorded_runs`].
pub fn recorded_summaries(output: &Output) -> Result<impl Iterator<Item = Result<Summary, StoreError>> + use<>, StoreError> {
    Ok(recorded_runs(output)?.map(|run| run.map(|(run, _)| run)))
}

/// The latest run that is wanted.
///
/// # Errors
/// I/O errors, also of a report that is later than that run: it may be of the one that is wanted.
pub fn latest_run(output: &Output, is_wanted: impl Fn(&Summary) -> bool) -> Result<Option<Summary>, StoreError> {
    recorded_summaries(output)?.find(|run| run.as_ref().ok().is_none_or(&is_wanted)).transpose()
}

/// The latest runs, the last one first.
///
/// # Errors
/// I/O errors.
pub fn latest_runs(output: &Output, count: usize) -> Result<Vec<(Summary, String)>, StoreError> {
    recorded_runs(output)?.take(count).collect()
}

/// The runs among these that were undone, each with the run of its undo, in whatever order they come.
pub fn undone_runs<'r>(runs: impl IntoIterator<Item = &'r Summary>) -> BTreeMap<String, String> {
    let mut committed: Vec<&Summary> = runs.into_iter().filter(|run| run.commit.is_some()).collect();
    committed.sort_by_key(|run| Reverse(run.commit));
    let mut undone = BTreeMap::new();
    committed.into_iter().for_each(|run| note_undo(&mut undone, run));
    undone
}

/// Takes the next committed run, the latest first: an undo that was undone itself counts for nothing.
pub(super) fn note_undo(undone: &mut BTreeMap<String, String>, run: &Summary) {
    if let Some(of_run) = run.undoes.as_ref().filter(|_| !undone.contains_key(&run.run_id)) {
        undone.entry(of_run.clone()).or_insert_with(|| run.run_id.clone());
    }
}

/// How long the latest successful runs of the same command and shop as this one took, the last one first: at most
/// [`RunPace::COMPARED`], of the latest `among`.
///
/// # Errors
/// I/O errors.
pub fn latest_paces(output: &Output, like: &Summary, among: usize) -> Result<Vec<RunPace>, StoreError> {
    let is_like = |run: &Summary| run.status.is_success() && run.kind() == like.kind();
    let runs = recorded_summaries(output)?.take(among).filter(|run| run.as_ref().ok().is_none_or(is_like));
    runs.take(RunPace::COMPARED).map(|run| run.map(|run| run.pace())).collect()
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
    use crate::model::UtcMicros;

    #[test]
    fn a_report_that_can_not_be_read_is_an_error_and_a_damaged_one_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::new(folder.path().to_owned());
        let run = Summary::new("r1".to_owned(), None, None, UtcMicros::new(0).unwrap());
        write_report(&output, &run).unwrap();
        output.replace(places::report("r2"), b"{").unwrap();
        assert_eq!(latest_runs(&output, 9).unwrap().len(), 1);
        assert!(latest_paces(&output, &run, 9).is_ok());
        // Memory that is not mapped: nobody can read it, whatever the user may.
        std::os::unix::fs::symlink("/proc/self/mem", output.at(places::report("r3"))).unwrap();
        assert!(latest_runs(&output, 9).is_err() && latest_paces(&output, &run, 9).is_err());
        assert!(latest_runs(&output, 0).is_ok(), "nothing of it was asked for");
    }

    #[test]
    fn a_run_is_undone_until_its_undo_is() {
        let undo = |number: u64, of_run: &str| Summary {
            commit: Some(number),
            undoes: Some(of_run.to_owned()),
            ..Summary::new(format!("r{number}"), None, None, UtcMicros::new(0).unwrap())
        };
        assert_eq!(undone_runs(&[undo(3, "r1")]), BTreeMap::from([("r1".to_owned(), "r3".to_owned())]));
        for runs in [[undo(4, "r3"), undo(3, "r1")], [undo(3, "r1"), undo(4, "r3")]] {
            assert_eq!(undone_runs(&runs), BTreeMap::from([("r3".to_owned(), "r4".to_owned())]), "r1 stands again");
        }
        let again = undone_runs(&[undo(3, "r1"), undo(4, "r3"), undo(5, "r1")]);
        assert_eq!(again["r1"], "r5", "undone once more");
        assert!(undone_runs(&[Summary { commit: None, ..undo(3, "r1") }]).is_empty(), "it was refused");
    }
}
