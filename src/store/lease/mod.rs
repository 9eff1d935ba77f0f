//! Leases: which run works on which days of an output. They spare runs the work of merging twice, and tell who is at
//! work.
//!
//! A lease is courtesy. That no commit is lost is the log's promise, and holds without any lease.
//!
//! Here is what both kinds of output share: who holds which days, and the wait for them. `folder` and `bucket` know how
//! a lease is taken and kept; `listed` is a lease as the hint of a bucket lists it.

mod bucket;
mod folder;
mod listed;

use std::{
    fs::{self, File},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

pub(super) use folder::lives;
pub(super) use listed::ListedLease;

use self::bucket::{BucketLease, Watch};
use super::{Head, Output, StoreError};
use crate::cancel::Cancel;

/// How often a waiting run looks again, in a folder and in a bucket.
const POLL: Duration = Duration::from_millis(100);
const POLL_BUCKET: Duration = Duration::from_millis(1000);

/// Who looks whether a lease lives has its lock for a moment: a run waits for that in any case.
const LOOK: Duration = Duration::from_millis(40);

/// The days that a run may change: `[from, until)` as ISO dates, which sort by time. An open end is `None`.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Scope {
    /// The first day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The day after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

impl Scope {
    /// Whether two scopes have a day in common.
    pub fn overlaps(&self, other: &Scope) -> bool {
        let is_before = |one: &Scope, other: &Scope| one.until.as_ref().zip(other.from.as_ref()).is_some_and(|(until, from)| until <= from);
        !is_before(self, other) && !is_before(other, self)
    }
}

/// A run that has a lease.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Holder {
    /// The run.
    pub run_id: String,
    /// Its process.
    pub pid: u32,
    /// Its machine.
    pub host: String,
    /// When it took the lease, RFC 3339.
    pub since: String,
    /// The days that it may change.
    #[serde(flatten)]
    pub scope: Scope,
}

/// A lease that is listed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldLease {
    /// Who took it.
    pub holder: Holder,
    /// For how long it was not renewed, if that is longer than a run at work leaves it: the run is dead, or its machine sleeps. The
    /// clocks of two machines are compared. Never in a folder, where the kernel tells.
    pub silent_for: Option<Duration>,
}

/// Why a lease was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run holds days that this one needs.
    #[error("another run holds {output}: {}; wait for it with --lock-wait", holder.as_ref().map_or("it has not said its name yet".to_owned(), |holder| format!("run {} (process {} on {}, since {})", holder.run_id, holder.pid, holder.host, holder.since)))]
    Held {
        /// The output.
        output: String,
        /// Who it is, where that can be read.
        holder: Option<Box<Holder>>,
    },
    /// A signal came while waiting.
    #[error("interrupted while waiting for the output")]
    Interrupted,
    /// The lease can't be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a run knows at its end of the file of the open alerts.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum AlertsNote {
    /// It has not looked at it.
    #[default]
    Untouched,
    /// It says this, and the run has left it as it was.
    Read(String),
    /// It says this, since the run has written it.
    Written(String),
    /// The run may have written it.
    Unknown,
}

/// A lease, held until it is dropped.
#[derive(Debug)]
pub struct Lease {
    kind: LeaseKind,
    waited: bool,
}

#[derive(Debug)]
enum LeaseKind {
    Folder { file: File, path: PathBuf },
    Bucket(Box<BucketLease>),
}

impl Lease {
    /// Takes a lease, waiting up to `wait` for other runs with days in common. `head` is what was just read of the log: it spares a
    /// request.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn acquire(output: &Output, holder: &Holder, wait: Duration, cancel: &Cancel, head: Option<&Head>) -> Result<Lease, LockError> {
        let started = Instant::now();
        let mut watch = Watch::default();
        let mut known = head.map(|head| head.hint.clone());
        let mut waited = false;
        loop {
            let attempt = match output.folder() {
                Some(root) => folder::try_take(root, holder)?,
                None => bucket::try_take(output, holder, &mut watch, known.take())?,
            };
            let other = match attempt {
                Attempt::Had(kind) => return Ok(Lease { kind, waited }),
                Attempt::Held(other) => other,
            };
            if cancel.is_stopped() {
                return Err(LockError::Interrupted);
            }
            let (poll, least) = if output.folder().is_some() { (POLL, LOOK) } else { (POLL_BUCKET, Duration::ZERO) };
            if started.elapsed() >= wait.max(least) {
                return Err(LockError::Held { output: output.location(), holder: Some(Box::new(other)) });
            }
            waited = true;
            sleep(poll.min(wait.max(least)), cancel);
        }
    }

    /// Whether the run had to wait: what it read of the layer before may be old.
    pub fn has_waited(&self) -> bool {
        self.waited
    }

    /// Verifies that the lease is still this run's, as far as that can be known without asking others.
    ///
    /// # Errors
    /// Somebody removed the state of the output while the run was at work.
    pub fn verify(&self) -> Result<(), StoreError> {
        let LeaseKind::Folder { file, path } = &self.kind else { return Ok(()) };
        if folder::is_at(file, path) { Ok(()) } else { Err(StoreError::StateRemoved { path: path.clone() }) }
    }

    /// The leases on a part of the output now.
    ///
    /// # Errors
    /// I/O errors.
    pub fn listed(output: &Output) -> Result<Vec<HeldLease>, StoreError> {
        match output.folder() {
            Some(root) => Ok(folder::living(root)?.into_iter().map(|holder| HeldLease { holder, silent_for: None }).collect()),
            None => bucket::listed(output),
        }
    }

    /// The run that has been at work on a part of the output for the longest time; `None` if none is at work.
    ///
    /// # Errors
    /// I/O errors.
    pub fn at_work(output: &Output) -> Result<Option<Holder>, StoreError> {
        let at_work = Lease::listed(output)?.into_iter().filter(|held| held.silent_for.is_none());
        Ok(at_work.map(|held| held.holder).min_by(|one, other| one.since.cmp(&other.since)))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let is_held = self.verify().is_ok();
        match &mut self.kind {
            // A file that stays is not locked any more, and counts for nothing. Another run's file of this name stays.
            LeaseKind::Folder { path, .. } if is_held => drop(fs::remove_file(path)),
            LeaseKind::Folder { .. } => {}
            LeaseKind::Bucket(lease) => lease.release(),
        }
    }
}

fn sleep(span: Duration, cancel: &Cancel) {
    let until = Instant::now() + span;
    while Instant::now() < until && !cancel.is_stopped() {
        thread::sleep(Duration::from_millis(20).min(until.saturating_duration_since(Instant::now())));
    }
}

/// What came of one attempt.
enum Attempt {
    Had(LeaseKind),
    Held(Holder),
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn holder(run_id: &str, from: Option<&str>, until: Option<&str>) -> Holder {
        let scope = Scope { from: from.map(str::to_owned), until: until.map(str::to_owned) };
        Holder { run_id: run_id.into(), pid: 7, host: "here".into(), since: "2026-01-01T00:00:00Z".into(), scope }
    }

    pub(super) fn acquire(output: &Output, holder: &Holder, wait: Duration) -> Result<Lease, LockError> {
        Lease::acquire(output, holder, wait, &Cancel::default(), None)
    }

    /// A lease of another machine, as a version lists it that does not say when it was renewed.
    pub(super) fn listed(run_id: &str, from: Option<&str>, until: Option<&str>) -> ListedLease {
        ListedLease { holder: holder(run_id, from, until), process: "elsewhere:7:1".into(), renewed: 0, renewed_at: None, doubted_at: None }
    }

    #[test]
    fn scopes_overlap_where_they_have_a_day_in_common() {
        let scope = |from: Option<&str>, until: Option<&str>| holder("x", from, until).scope;
        let (january, february) = (scope(Some("2026-01-01"), Some("2026-02-01")), scope(Some("2026-02-01"), None));
        assert!(!january.overlaps(&february) && !february.overlaps(&january));
        assert!(january.overlaps(&scope(None, None)) && january.overlaps(&scope(Some("2026-01-31"), Some("2026-02-02"))));
        assert!(scope(None, Some("2026-01-02")).overlaps(&january));
    }
}
