//! `state/latest.json`: a copy of the newest record that is known, up to where commits are installed, and notes that spare requests.
//!
//! It is a hint: whatever it says, the log decides. In a bucket, its notes name the runs that are at work. A run stands there
//! before it commits, and leaves when its files are installed. One that others are at work beside leaves earlier: then its name stays,
//! with the mark that it is done. Where nobody stands there, no record is looked for behind the copy.
//! They also name whoever may still put an old file.
//!
//! Responsible for its form and for conditional puts of it. What it says of commits and files is decided in
//! [`protocol`](super::protocol), what it says of leases in `lease`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    Commit, Condition, Content, Inlined, Key, Output, PutError, StoreError, Tag, back_off,
    commit::{BUCKET_FORMAT, Installer, answer_of},
    lease::ListedLease,
    output::is_one_by_one,
    places,
    protocol::{self, Answer},
};
use crate::model::{RunPace, UtcMicros, parse_time_text};

/// What the protocol knows of a hint.
pub(super) type Progress = protocol::Hint<Installer, Key>;

/// How long it is remembered that a run lost its lease while it may have slept: longer than it may sleep before a commit.
const REMEMBERED: i64 = UtcMicros::DAY;

/// How often a change beside those of other writers is tried: some two minutes.
const ATTEMPTS: usize = 250;

/// How often in a row the store may leave open whether it has put the hint.
const LOST_ATTEMPTS: u32 = 3;

/// The longest that a writer waits after a change that another one came before.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How many commits may wait until somebody looks at their files, while other runs are at work.
const MOST_WAITING: u64 = 256;

/// Whoever may still put old files, or commit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Unsettled {
    /// Who it is.
    pub(super) by: Installer,
    /// The files that it may replace by old ones, each with the newest commit that changes it. None: it may have a commit that is not
    /// known to be installed, or may still make one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) files: BTreeMap<Key, u64>,
    /// Whether it has put all its files, knows of each what became of it, and puts nothing any more. It says so itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_done: bool,
}

impl Unsettled {
    /// One that may commit.
    pub(super) fn writer(by: Installer) -> Unsettled {
        Unsettled { by, files: BTreeMap::new(), is_done: false }
    }

    fn is_writer(&self) -> bool {
        self.files.is_empty()
    }
}

/// What stands beside the copy of the record.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(super) struct HintNotes {
    /// The format of the copied record, where the hint has another: versions of `etl` that know only that one would not see the notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    copied_format: Option<u32>,
    /// Up to which number commits are installed, unless that is the copied one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    installed: Option<u64>,
    /// The runs that are at work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) leases: Vec<ListedLease>,
    /// Whoever may still put old files, and the runs that left and may have a commit that is not installed.
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
    /// How long the latest runs of each kind took, the oldest first. Reading their reports would cost a request for each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) paces: BTreeMap<String, Vec<RunPace>>,
}

impl HintNotes {
    /// Whether a run other than this one is at work, as far as leases tell.
    pub(super) fn has_others(&self, run_id: Option<&str>, now: UtcMicros) -> bool {
        self.leases.iter().any(|lease| Some(lease.run_id()) != run_id && lease.is_at_work(now))
    }

    /// Whether a run has left the look at its files to others.
    fn is_left_to_others(&self) -> bool {
        self.unsettled.iter().any(|unsettled| unsettled.is_done)
    }

    /// Whether a run says that it has put all its files.
    pub(super) fn is_done(&self, by: &Installer) -> bool {
        self.unsettled.iter().any(|unsettled| unsettled.is_done && unsettled.by == *by)
    }

    /// Notes that a run has put all its files, and puts nothing any more.
    fn note_done(&mut self, by: &Installer) {
        self.unsettled.iter_mut().filter(|unsettled| unsettled.by == *by).for_each(|unsettled| unsettled.is_done = true);
    }

    /// Whether no run is at work, and none has left anything.
    pub(super) fn are_quiet(&self) -> bool {
        self.leases.is_empty() && self.unsettled.is_empty()
    }

    /// Takes leases from runs that no longer hold them, and returns these leases. Each of the runs may still commit.
    pub(super) fn withdraw(&mut self, now: UtcMicros, is_over: impl Fn(&ListedLease) -> bool) -> Vec<ListedLease> {
        let (over, held): (Vec<_>, Vec<_>) = std::mem::take(&mut self.leases).into_iter().partition(|lease| is_over(lease));
        self.leases = held;
        if !over.is_empty() {
            self.alerts = None;
        }
        let since = now.rfc3339();
        over.iter().for_each(|lease| self.name_writer(Installer { name: lease.run_id().to_owned(), since: since.clone() }));
        over
    }

    /// Lists a lease again that was withdrawn. Its run then need not be named apart from it.
    pub(super) fn list_again(&mut self, lease: ListedLease) {
        self.unsettled.retain(|unsettled| !unsettled.is_writer() || unsettled.by.name != lease.run_id());
        self.leases.push(lease);
    }

    /// Notes how long a run of this kind took.
    pub(super) fn note_pace(&mut self, of_kind: &str, pace: RunPace) {
        let paces = self.paces.entry(of_kind.to_owned()).or_default();
        paces.push(pace);
        paces.drain(..paces.len().saturating_sub(RunPace::COMPARED));
    }

    /// Names a writer that may have a commit that is not known to be installed, or may still make one.
    pub(super) fn name_writer(&mut self, by: Installer) {
        if !self.unsettled.iter().any(|unsettled| unsettled.is_writer() && unsettled.by == by) {
            self.unsettled.push(Unsettled::writer(by));
        }
    }

    /// Forgets the runs that left too long ago to commit any more. Whoever calls it has looked for their commits while they stood here.
    pub(super) fn forget_old(&mut self, now: UtcMicros) {
        let oldest = now.minus(REMEMBERED);
        let is_recent = |by: &Installer| parse_time_text(&by.since).is_some_and(|since| since > oldest);
        self.unsettled.retain(|unsettled| !unsettled.is_writer() || is_recent(&unsettled.by));
    }
}

/// Whether a hint that was changed is to be put.
pub(super) enum Change {
    None,
    Write,
}

/// The hint, as it was read or put.
#[derive(Clone, Default, Debug)]
pub(super) struct Hint {
    commit: Option<Commit>,
    /// All commits up to this number are installed.
    installed: u64,
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
        let mut notes = copied.notes.take().map(|notes| *notes).unwrap_or_default();
        copied.format = notes.copied_format.take().unwrap_or(copied.format);
        // Before the first commit there are only notes.
        let commit = (copied.number > 0).then_some(copied);
        let copied_number = commit.as_ref().map_or(0, |commit| commit.number);
        let installed = notes.installed.take().unwrap_or(copied_number).min(copied_number);
        Ok(Hint { commit, installed, notes, tag })
    }

    /// Changes it, again and again until no other writer comes between. Returns the hint as it is then. `known` spares
    /// the first look.
    ///
    /// # Errors
    /// I/O errors; other writers come between each time.
    pub(super) fn change(
        output: &Output,
        mut known: Option<Hint>,
        mut change: impl FnMut(&mut Hint) -> Change,
    ) -> Result<Hint, StoreError> {
        let mut lost = 0;
        for attempt in 0..ATTEMPTS {
            let mut hint = match known.take() {
                Some(known) => known,
                None => Hint::read(output)?,
            };
            match change(&mut hint) {
                Change::None => return Ok(hint),
                Change::Write => {}
            }
            match hint.put(output) {
                Ok(()) => return Ok(hint),
                Err(PutError::Io(error)) => return Err(error),
                Err(PutError::Conflict) => lost = 0,
                // No other writer is in the way of a store that answers nothing: its own words tell why.
                Err(PutError::Unknown(error)) if lost + 1 >= LOST_ATTEMPTS => return Err(error),
                Err(PutError::Unknown(_)) => lost += 1,
            }
            wait_for_others(attempt);
        }
        Err(Hint::overtaken(output))
    }

    /// Writes into it that a run has put all its files while others are at work, and has left the look at them to those. Its record
    /// is the copy then, unless a newer one is.
    pub(super) fn leave_to_others(&mut self, record: &Commit, copies: Option<&BTreeMap<Key, Inlined>>) {
        let by = record.installer();
        if record.number > self.installed {
            self.notes.name_writer(by.clone());
        }
        self.notes.note_done(&by);
        if self.commit.as_ref().is_none_or(|copied| copied.number < record.number) {
            self.copy(record, self.installed);
            self.notes.copies = copies.cloned().unwrap_or_default();
        }
    }

    /// Whether the files of commits up to a number need no look now: other runs are at work, the last of which looks. Every writer that
    /// has left says that its files are in place.
    pub(super) fn can_wait(&self, newest: u64, now: UtcMicros) -> bool {
        let are_done = self.notes.unsettled.iter().all(|unsettled| unsettled.is_done || !unsettled.is_writer());
        are_done && self.notes.has_others(None, now) && newest.saturating_sub(self.installed) <= MOST_WAITING
    }

    /// Whether the files of commits wait for a look, and no other run is at work.
    pub(super) fn is_left_alone(&self, run_id: &str, now: UtcMicros) -> bool {
        self.notes.is_left_to_others() && !self.notes.has_others(Some(run_id), now)
    }

    /// The error of a writer that others come before each time.
    pub(super) fn overtaken(output: &Output) -> StoreError {
        StoreError::Overtaken { location: output.location_of(&Key::from(places::LATEST)) }
    }

    /// The hint of a folder all of whose commits are installed.
    pub(super) fn of_installed(record: &Commit) -> Hint {
        let mut hint = Hint::default();
        hint.copy(record, record.number);
        hint
    }

    /// The copy of the record.
    pub(super) fn commit(&self) -> Option<&Commit> {
        self.commit.as_ref()
    }

    /// All commits up to this number are installed, except for the files that the notes name.
    pub(super) fn installed(&self) -> u64 {
        self.installed
    }

    /// Says up to where commits are installed, if it has no record that tells it.
    pub(super) fn assume_installed(&mut self, number: u64) {
        if self.commit.is_none() {
            self.installed = number;
        }
    }

    /// Whether it names files that a command looks at again.
    pub(super) fn names_files(&self) -> bool {
        self.notes.unsettled.iter().any(|unsettled| !unsettled.is_writer())
    }

    /// The commits in which the named files are.
    pub(super) fn commits_of_files(&self) -> impl Iterator<Item = u64> {
        self.notes.unsettled.iter().flat_map(|unsettled| unsettled.files.values().copied())
    }

    /// What the protocol knows of it. Leases are not part of it: they come and go, and nothing rests on them.
    pub(super) fn progress(&self) -> Progress {
        let mut progress = Progress { number: self.installed, unsettled: BTreeMap::new(), writers: BTreeSet::new() };
        for unsettled in &self.notes.unsettled {
            if unsettled.is_writer() {
                progress.writers.insert(unsettled.by.clone());
            } else {
                progress.unsettled.insert(unsettled.by.clone(), unsettled.files.keys().cloned().collect());
            }
        }
        progress
    }

    /// Whether the copied record is the newest one: its files are installed, and whoever may commit behind it is named.
    pub(super) fn is_quiet(&self) -> bool {
        let is_installed = |copied: &Commit| copied.names_writers() && copied.number == self.installed;
        let mut progress = self.progress();
        progress.writers.extend(self.notes.leases.iter().map(ListedLease::installer));
        self.commit.as_ref().is_some_and(is_installed) && progress.proves_head()
    }

    /// Copies the record of the newest commit, of which all up to a number are installed.
    fn copy(&mut self, newest: &Commit, installed: u64) {
        // Whoever installs what is left also writes what it tells.
        let told = if installed < newest.number { newest.told.clone() } else { Vec::new() };
        self.commit = Some(Commit { told, notes: None, ..newest.clone() });
        self.installed = installed;
    }

    /// Puts it, if the version that was read is still there.
    ///
    /// # Errors
    /// [`PutError`].
    pub(super) fn put(&mut self, output: &Output) -> Result<(), PutError> {
        let key = Key::from(places::LATEST);
        let mut copied = self.commit.clone().unwrap_or_else(Commit::nothing);
        let mut notes = self.notes.clone();
        notes.installed = (self.commit.is_some() && self.installed != copied.number).then_some(self.installed);
        let says_more = notes.installed.is_some() || !notes.unsettled.is_empty();
        if says_more && copied.format < BUCKET_FORMAT {
            notes.copied_format = Some(copied.format);
            copied.format = BUCKET_FORMAT;
        }
        copied.notes = (notes != HintNotes::default()).then(|| Box::new(notes));
        let text = serde_json::to_vec(&copied)
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

/// Whether a hint took up what an installation says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TakenUp {
    Yes,
    /// Another writer has said something else of commits or files meanwhile.
    Overtaken,
}

/// What an installation says of commits and files.
#[derive(Clone, Debug)]
pub(super) struct HintUpdate {
    /// The newest commit that is known.
    pub(super) newest: Commit,
    /// All commits up to this number are installed.
    pub(super) installed: u64,
    /// Whoever may still put old files, or commit.
    pub(super) unsettled: Vec<Unsettled>,
    /// The writers of commits up to that number.
    pub(super) counted: BTreeSet<Installer>,
    /// What the hint must still say of commits and files.
    pub(super) replaces: Progress,
    /// The version of the manifest of the whole layer, if it is known.
    pub(super) manifest: Option<Tag>,
    /// Small objects of the record that the next run reads, by their places; `None` if the copies of before stay.
    pub(super) copies: Option<BTreeMap<Key, Inlined>>,
}

impl HintUpdate {
    /// Writes it into a hint, unless that says something else of commits and files by now. Leases may have changed meanwhile, and
    /// writers may have been named: they stay, as if they had been named after this.
    pub(super) fn write_to(&self, hint: &mut Hint) -> TakenUp {
        let found = hint.progress();
        let named_since: Vec<Installer> = found.writers.difference(&self.replaces.writers).cloned().collect();
        let is_the_same = (found.number, &found.unsettled) == (self.replaces.number, &self.replaces.unsettled);
        if !is_the_same || !self.replaces.writers.is_subset(&found.writers) {
            return TakenUp::Overtaken;
        }
        let done: Vec<Installer> = hint.notes.unsettled.iter().filter(|unsettled| unsettled.is_done).map(|done| done.by.clone()).collect();
        if hint.commit().is_some_and(|copied| copied.number > self.newest.number) {
            hint.installed = self.installed;
        } else {
            hint.copy(&self.newest, self.installed);
            if let Some(copies) = &self.copies {
                hint.notes.copies.clone_from(copies);
            }
        }
        hint.notes.unsettled.clone_from(&self.unsettled);
        named_since.into_iter().filter(|by| !self.counted.contains(by)).for_each(|by| hint.notes.name_writer(by));
        done.iter().for_each(|by| hint.notes.note_done(by));
        if let Some(manifest) = &self.manifest {
            hint.notes.manifest = Some(manifest.clone());
        }
        TakenUp::Yes
    }

    /// Puts it. What other writers said of leases meanwhile stays. `known` spares the first look; it is then the hint that was put.
    ///
    /// # Errors
    /// I/O errors.
    pub(super) fn put(&self, output: &Output, known: &mut Hint) -> Result<Answer, StoreError> {
        for attempt in 0..ATTEMPTS {
            if self.write_to(known) == TakenUp::Overtaken {
                return Ok(Answer::Conflict);
            }
            match answer_of(known.put(output))? {
                Answer::Conflict => {
                    wait_for_others(attempt);
                    *known = Hint::read(output)?;
                }
                answer => return Ok(answer),
            }
        }
        Ok(Answer::Conflict)
    }
}

/// Waits after a change that another writer came before: not at all after the first.
fn wait_for_others(attempt: usize) {
    if attempt > 0 && !is_one_by_one() {
        back_off(attempt, LONGEST_WAIT);
    }
}

/// Removes the copies of objects and of alerts from the hint: what they hold may be erased.
///
/// # Errors
/// I/O errors.
pub fn forget_copies(output: &Output) -> Result<(), StoreError> {
    if output.folder().is_some() {
        return Ok(());
    }
    let forget = |hint: &mut Hint| {
        if hint.notes.copies.is_empty() && hint.notes.alerts.is_none() {
            return Change::None;
        }
        hint.notes.copies.clear();
        hint.notes.alerts = None;
        Change::Write
    };
    Hint::change(output, None, forget).map(drop)
}
