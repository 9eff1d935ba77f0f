//! `state/latest.json`: a copy of the newest record whose files are installed, with notes beside it that spare requests.
//!
//! It is a hint: whatever it says, the log decides. In a bucket, its notes name the runs that are at work. A run stands there
//! before it commits, and leaves when its files are installed. Where nobody stands there, no record is looked for behind the copy.
//!
//! Responsible for its form and for one conditional put of it. What is noted when is decided by `lease`, `commit` and `projection`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Commit, Condition, Content, Inlined, Key, Output, PutError, StoreError, Tag, lease::ListedLease, places};
use crate::model::{UtcMicros, parse_time_text};

/// How long it is remembered that a run lost its lease while it may have slept: longer than it may sleep before a commit.
const REMEMBERED: i64 = UtcMicros::DAY;

/// A run that left the notes although its commit may not be installed, or is still to come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Unsettled {
    /// The run.
    pub(super) run_id: String,
    /// The number of its commit; `None` if it may still take any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) number: Option<u64>,
    /// When it left, RFC 3339.
    pub(super) since: String,
}

/// What stands beside the copy of the record.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(super) struct HintNotes {
    /// The runs that are at work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) leases: Vec<ListedLease>,
    /// The runs that left, and may have a commit that the copy does not have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) unsettled: Vec<Unsettled>,
    /// The version of the manifest of the whole layer, as its last writer put it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) manifest: Option<Tag>,
    /// Small objects that the next run reads, by their places. They are objects too: these are copies.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) copies: BTreeMap<Key, Inlined>,
    /// What the file of the open alerts says; `None` if a run may have written it since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) alerts: Option<String>,
}

impl HintNotes {
    /// Whether no run is at work, and none has left anything.
    pub(super) fn are_quiet(&self) -> bool {
        self.leases.is_empty() && self.unsettled.is_empty()
    }

    /// Takes leases from runs that no longer hold them.
    pub(super) fn withdraw(&mut self, now: UtcMicros, is_over: impl Fn(&ListedLease) -> bool) {
        let (over, held): (Vec<_>, Vec<_>) = std::mem::take(&mut self.leases).into_iter().partition(|lease| is_over(lease));
        self.leases = held;
        let unsettled = |lease: &ListedLease| Unsettled { run_id: lease.run_id().to_owned(), number: None, since: now.rfc3339() };
        if !over.is_empty() {
            self.alerts = None;
        }
        self.unsettled.extend(over.iter().map(unsettled));
    }

    /// Forgets the runs that left too long ago to commit any more.
    pub(super) fn forget_old(&mut self, now: UtcMicros) {
        let oldest = now.minus(REMEMBERED);
        self.unsettled.retain(|unsettled| parse_time_text(&unsettled.since).is_some_and(|since| since > oldest));
    }
}

/// The hint, as it was read or put.
#[derive(Clone, Default, Debug)]
pub(super) struct Hint {
    commit: Option<Commit>,
    /// What stands beside the copy.
    pub(super) notes: HintNotes,
    /// Its version; `None` if there is no hint.
    tag: Option<Tag>,
}

impl Hint {
    /// Reads it. One that is missing or damaged says nothing.
    ///
    /// # Errors
    /// I/O errors.
    pub(super) fn read(output: &Output) -> Result<Hint, StoreError> {
        let Some(object) = output.object(places::LATEST)? else { return Ok(Hint::default()) };
        let copied = serde_json::from_slice::<Commit>(&object.bytes).ok().filter(Commit::is_readable);
        let tag = Some(object.tag);
        let Some(mut copied) = copied else { return Ok(Hint { tag, ..Hint::default() }) };
        let notes = copied.notes.take().map(|notes| *notes).unwrap_or_default();
        // Before the first commit there are only notes.
        let commit = (copied.number > 0).then_some(copied);
        Ok(Hint { commit, notes, tag })
    }

    /// The copy of the record.
    pub(super) fn commit(&self) -> Option<&Commit> {
        self.commit.as_ref()
    }

    /// The number of the copied record; 0 if there is none.
    pub(super) fn number(&self) -> u64 {
        self.commit.as_ref().map_or(0, |commit| commit.number)
    }

    /// Whether no run can have committed behind the copy: each run stands in the notes before it commits.
    pub(super) fn is_quiet(&self) -> bool {
        self.commit.as_ref().is_some_and(Commit::names_writers) && self.notes.are_quiet()
    }

    /// Copies the record of a commit up to which all files are installed.
    pub(super) fn copy(&mut self, record: &Commit) {
        self.commit = Some(Commit { told: Vec::new(), notes: None, ..record.clone() });
        self.notes.unsettled.retain(|unsettled| unsettled.number.is_none_or(|number| number > record.number));
    }

    /// Puts it, if the version that was read is still there.
    ///
    /// # Errors
    /// [`PutError`].
    pub(super) fn put(&mut self, output: &Output) -> Result<(), PutError> {
        let key = Key::from(places::LATEST);
        let copied = self.commit.clone().unwrap_or_else(Commit::nothing);
        let notes = (self.notes != HintNotes::default()).then(|| Box::new(self.notes.clone()));
        let text = serde_json::to_vec(&Commit { notes, ..copied })
            .map_err(|error| StoreError::Record { location: output.location_of(&key), detail: error.to_string() })?;
        // In a folder, the writer holds the lock.
        let condition = match &self.tag {
            _ if output.folder().is_some() => Condition::Always,
            Some(tag) => Condition::Is(tag.clone()),
            None => Condition::Absent,
        };
        self.tag = Some(output.store().put(&key, Content::Bytes(&text), &condition)?);
        Ok(())
    }
}
