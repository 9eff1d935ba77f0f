//! The layer as it was after a run, as far as commits are kept.

use super::{RequestError, RunError, existing::nothing_to_check};
use crate::{
    layer::{LayerState, OpenedLayer},
    model::Dt,
    report::{CommandName, Summary},
    store::{
        self, Commit, Key, ObjectRef, Output, StoreError,
        places::{self, SideFact},
    },
};

/// A commit of a run, with the layer before and after it.
pub(super) struct CommittedRun {
    pub(super) commit: Commit,
    pub(super) before: LayerState,
    pub(super) after: LayerState,
}

impl CommittedRun {
    /// The partitions that it put or removed. One may come twice.
    pub(super) fn partitions(&self) -> impl Iterator<Item = Dt> {
        keys(&self.commit).filter_map(places::partition_of_key)
    }

    /// Whether facts, side facts or dimensions are not as they were before it.
    pub(super) fn has_changed_tables(&self) -> bool {
        self.partitions().next().is_some() || self.sides().next().is_some() || self.before.dimensions != self.after.dimensions
    }

    /// The side facts, with their days, that it put or removed. One may come twice.
    pub(super) fn sides(&self) -> impl Iterator<Item = (SideFact, Dt)> {
        keys(&self.commit).filter_map(SideFact::of_key)
    }
}

/// The places that a commit puts a file at, or removes it from.
pub(super) fn keys(commit: &Commit) -> impl Iterator<Item = &Key> {
    commit.put.iter().map(|put| &put.key).chain(commit.remove.iter().map(|removed| &removed.key))
}

/// The commit of a run. Its own number stands in its report; without one, the kept commits are searched.
///
/// # Errors
/// No such run, a run that was not committed, or one whose commit is no longer kept (exit 2); I/O errors.
pub(super) fn committed_run(output: &Output, run_id: &str) -> Result<CommittedRun, RunError> {
    let number = number_of(output, run_id)?;
    let past = || gone(output, run_id, number);
    let commit = store::commit(output, number)?.filter(|commit| commit.run_id == run_id).ok_or_else(past)?;
    let after = LayerState::of(output, &commit)?;
    let before = match number {
        1 => LayerState::default(),
        _ => LayerState::of(output, &store::commit(output, number - 1)?.ok_or_else(past)?)?,
    };
    Ok(CommittedRun { commit, before, after })
}

fn number_of(output: &Output, run_id: &str) -> Result<u64, RunError> {
    let report = output.read(places::report(run_id))?.and_then(|bytes| Summary::from_json(&bytes).ok());
    if let Some(report) = &report {
        return Ok(report
            .commit
            .ok_or_else(|| RequestError::NotCommitted { run_id: run_id.to_owned(), status: report.status.as_str() })?);
    }
    for number in store::kept_commits(output)?.into_iter().rev() {
        if store::commit(output, number)?.is_some_and(|commit| commit.run_id == run_id) {
            return Ok(number);
        }
    }
    Err(RequestError::UnknownRun { run_id: run_id.to_owned(), output: output.location() }.into())
}

/// Why what a run replaced can't be read any more: an erasure from this commit on has removed it, else `keep` is past.
fn gone(output: &Output, run_id: &str, number: u64) -> RequestError {
    let run_id = run_id.to_owned();
    // What can't be read here must not hide what is told.
    let kept = store::kept_commits(output).unwrap_or_default().into_iter().filter(|kept| *kept >= number);
    let erasure =
        kept.filter_map(|kept| store::commit(output, kept).ok().flatten()).find(|commit| commit.command == CommandName::Erase.as_str());
    match erasure {
        Some(Commit { run_id: erasure, .. }) => RequestError::ErasedSince { run_id, erasure },
        None => RequestError::PastKeep { run_id },
    }
}

/// The content of a version that a run has put or replaced.
///
/// # Errors
/// It is no longer kept (exit 2); I/O errors.
pub(super) fn kept_version(output: &Output, run_id: &str, version: &ObjectRef) -> Result<Vec<u8>, RunError> {
    match output.read(&version.object)? {
        None => Err(gone(output, run_id, number_of(output, run_id)?).into()),
        Some(_) => Ok(output.read_version(version)?),
    }
}

/// The commits after a number, in order.
///
/// # Errors
/// I/O errors; a damaged record.
pub(super) fn commits_after(output: &Output, number: u64) -> Result<Vec<Commit>, StoreError> {
    let mut commits = Vec::new();
    let mut next = number + 1;
    while let Some(commit) = store::commit(output, next)? {
        commits.push(commit);
        next += 1;
    }
    Ok(commits)
}

/// The layer now.
///
/// # Errors
/// There is none (exit 2); I/O errors.
pub(super) fn layer_now(output: &Output) -> Result<OpenedLayer, RunError> {
    let opened = OpenedLayer::open(output)?;
    if opened.head.is_none() {
        return Err(nothing_to_check(output)?.into());
    }
    Ok(opened)
}
