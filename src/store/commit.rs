//! The log of commits: numbered records, each put only if its number is free. The appearance of a record is the decision.
//!
//! A record holds the whole catalog after it, so that one read opens the layer. `state/latest.json` is a copy of the newest
//! record, and says up to where files are installed: a hint. A reader also looks for newer records,
//! unless the hint lists no run that may have committed since (`hint`).
//!
//! Decides nothing: [`protocol`](super::protocol) does. Knows no orders: what a layer consists of is a JSON value here.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    Condition, Content, Key, Output, PutError, StoreError,
    disk::{self, Fingerprint},
    hint::{Hint, HintNotes},
    places,
    protocol::{AfterCommit, AfterReadBack, Answer, after_commit, after_read_back},
};
use crate::model::{UtcMicros, parse_time_text};

/// The version of the format in a folder.
const FORMAT: u32 = 1;

/// The version of the format in a bucket: a writer stands in the hint before it commits.
pub(super) const BUCKET_FORMAT: u32 = 2;

/// How many records are looked at where nothing says up to where they are installed.
const UNKNOWN_INSTALLED: u64 = 32;

/// How often a put is tried again of which it is not known whether it was done.
const UNKNOWN_ATTEMPTS: usize = 5;

/// An immutable object: which, and what it holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Its key.
    pub object: Key,
    /// Its size.
    pub bytes: u64,
    /// XXH3 of its content, in hex.
    pub checksum: String,
}

impl ObjectRef {
    /// An object with a content.
    pub fn new(object: Key, Fingerprint { bytes, checksum }: Fingerprint) -> ObjectRef {
        ObjectRef { object, bytes, checksum }
    }

    /// What tells its content.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint { bytes: self.bytes, checksum: self.checksum.clone() }
    }

    /// Whether this is the content of the object.
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        // A content of another size needs no checksum.
        bytes.len() as u64 == self.bytes && disk::checksum(bytes) == self.checksum
    }
}

/// A file that a commit installs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Installed {
    /// Its place.
    pub key: Key,
    /// The object with its content.
    #[serde(flatten)]
    pub version: ObjectRef,
}

/// A file that a commit removes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Removed {
    /// Its place.
    pub key: Key,
    /// What stands there instead in a store that can't delete under a condition: a file without rows.
    pub empty: Option<ObjectRef>,
}

/// A file that tells of a commit. It is written after the commit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Told {
    /// Its place.
    pub key: Key,
    /// Its content.
    pub text: String,
}

/// What a run read of a file before it changed it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Read {
    /// The place.
    pub key: Key,
    /// The checksum of its content.
    pub checksum: String,
}

/// A record of the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Commit {
    /// The version of the format.
    pub(super) format: u32,
    /// Its number, from 1.
    #[serde(rename = "version")]
    pub number: u64,
    /// The run.
    pub run_id: String,
    /// What tells this writer from another with the same run id.
    pub writer: String,
    /// The command of the run.
    pub command: String,
    /// When it was made, RFC 3339, by the clock of the writer.
    pub committed_at: String,
    /// The number of the commit that the run began with.
    pub base: u64,
    /// The greatest id of the runs so far.
    pub newest_run_id: String,
    /// What the run read of files that it may change.
    #[serde(default)]
    pub reads: Vec<Read>,
    /// The files that it installs.
    pub put: Vec<Installed>,
    /// The files that it removes.
    pub remove: Vec<Removed>,
    /// The files that tell of it.
    #[serde(default)]
    pub told: Vec<Told>,
    /// The layer after it.
    pub layer: Box<RawValue>,
    /// In the hint alone: what it says beside its copy of the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) notes: Option<Box<HintNotes>>,
}

impl Commit {
    /// What a hint copies before the first commit.
    pub(super) fn nothing() -> Commit {
        Commit {
            format: BUCKET_FORMAT,
            number: 0,
            run_id: String::new(),
            writer: String::new(),
            command: String::new(),
            committed_at: String::new(),
            base: 0,
            newest_run_id: String::new(),
            reads: Vec::new(),
            put: Vec::new(),
            remove: Vec::new(),
            told: Vec::new(),
            layer: RawValue::NULL.to_owned(),
            notes: None,
        }
    }

    /// Whether this version knows the format of the record.
    pub(super) fn is_readable(&self) -> bool {
        (FORMAT..=BUCKET_FORMAT).contains(&self.format)
    }

    /// Whether its writer stood in the hint before it committed.
    pub(super) fn names_writers(&self) -> bool {
        self.format >= BUCKET_FORMAT
    }

    /// Its writer, as the hint names it.
    pub(super) fn installer(&self) -> Installer {
        Installer { name: self.writer.clone(), since: self.committed_at.clone() }
    }
}

/// Who puts files at their places: the writer of a commit, or a command that helps.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) struct Installer {
    /// A unique name.
    pub(super) name: String,
    /// When it began, RFC 3339, by its own clock.
    pub(super) since: String,
}

impl Installer {
    /// How long it may put files, by its own clocks: a process that slept for longer leaves the rest to the next
    /// command.
    pub(super) const WORKS_FOR: Duration = Duration::from_secs(2 * 3600);

    /// After which time it can put nothing any more, by anybody's clock. The clocks of two machines differ by less than
    /// the rest.
    pub(super) const GONE_AFTER: Duration = Duration::from_secs(4 * 3600);

    /// A command that installs what others have committed.
    pub(super) fn helper() -> Installer {
        let random = RandomState::new().hash_one(std::process::id());
        Installer { name: format!("helper-{}-{random:016x}", std::process::id()), since: UtcMicros::now().rfc3339() }
    }

    /// Whether it has had its time, by the clock of this machine.
    pub(super) fn has_slept(&self) -> bool {
        self.age().is_some_and(|age| age > Installer::WORKS_FOR)
    }

    /// Whether nothing that it has begun can still arrive.
    pub(super) fn is_gone(&self) -> bool {
        self.age().is_none_or(|age| age > Installer::GONE_AFTER)
    }

    /// How long ago it began, by the clock of this machine. `None` if its time can't be read.
    fn age(&self) -> Option<Duration> {
        let since = parse_time_text(&self.since)?;
        let micros = UtcMicros::now().micros().saturating_sub(since.micros());
        Some(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
    }
}

/// What is new in a commit.
#[derive(Clone, Debug)]
pub struct NewCommit {
    /// The run.
    pub run_id: String,
    /// What tells this writer from another with the same run id.
    pub writer: String,
    /// The command of the run.
    pub command: String,
    /// When it is made, RFC 3339.
    pub committed_at: String,
    /// What the run read.
    pub reads: Vec<Read>,
    /// The files that it installs.
    pub put: Vec<Installed>,
    /// The files that it removes.
    pub remove: Vec<Removed>,
    /// The files that tell of it.
    pub told: Vec<Told>,
    /// The layer after it.
    pub layer: Box<RawValue>,
}

impl NewCommit {
    /// The record that follows on `head` in an output.
    pub(super) fn after(self, head: Option<&Commit>, output: &Output) -> Commit {
        let newest = head.map(|head| head.newest_run_id.clone()).unwrap_or_default().max(self.run_id.clone());
        let NewCommit { run_id, writer, command, committed_at, reads, put, remove, told, layer } = self;
        let base = head.map_or(0, |head| head.number);
        Commit {
            format: if output.folder().is_some() { FORMAT } else { BUCKET_FORMAT },
            number: base + 1,
            run_id,
            writer,
            command,
            committed_at,
            base,
            newest_run_id: newest,
            reads,
            put,
            remove,
            told,
            layer,
            notes: None,
        }
    }
}

/// The newest commit, and what is known of the files of the commits.
#[derive(Clone, Debug)]
pub struct Head {
    /// The newest commit.
    pub commit: Commit,
    /// The hint, as it was read.
    pub(super) hint: Hint,
}

impl Head {
    /// All commits up to this number are installed.
    pub(super) fn installed(&self) -> u64 {
        self.hint.installed()
    }

    /// Whether every commit is installed.
    pub fn is_installed(&self) -> bool {
        self.installed() >= self.commit.number
    }

    /// Whether a command has nothing to install, and no file to look at again.
    pub fn is_settled(&self) -> bool {
        self.is_installed() && !self.hint.names_files()
    }

    /// Whether what is to be installed or looked at is left to runs that are at work.
    pub fn can_wait(&self) -> bool {
        self.hint.can_wait(self.commit.number, UtcMicros::now())
    }

    /// Whether the writer of a commit says that its files are in place.
    pub(super) fn is_in_place(&self, commit: &Commit) -> bool {
        commit.number <= self.installed() || self.hint.notes.is_done(&commit.installer())
    }

    /// A head, and the hint that was read before it. A hint without a record does not say up to where commits are installed.
    pub(super) fn new(commit: Commit, mut hint: Hint) -> Head {
        hint.assume_installed(commit.number.saturating_sub(UNKNOWN_INSTALLED));
        Head { commit, hint }
    }

    /// Makes local files of the small objects that are copied beside the hint. Whoever reads one compares its checksum.
    ///
    /// # Errors
    /// I/O errors.
    pub fn keep_copies(&self, output: &Output) -> Result<(), StoreError> {
        self.hint.notes.copies.iter().try_for_each(|(key, content)| output.keep_inlined(key, content))
    }
}

/// Why a record was not put.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Another writer has the number.
    #[error("another run was committed first")]
    Taken,
    /// It is not known whether the record was put.
    #[error("{0}; whether the run was committed is unknown: `etl runs` and the next run tell")]
    Unknown(StoreError),
    /// It was not put.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The newest commit of an output; `None` where there is none.
///
/// # Errors
/// I/O errors; a damaged record.
pub fn head(output: &Output) -> Result<Option<Head>, StoreError> {
    head_from(output, Hint::read(output)?)
}

/// The newest commit of an output, as a run needs it that takes a lease next. Where the hint names nobody who may have committed
/// since, the log is not asked: that spares a request. If the hint was out of date, the run finds its commit number taken and merges again.
///
/// # Errors
/// I/O errors; a damaged record.
pub fn head_by_hint(output: &Output) -> Result<Option<Head>, StoreError> {
    let hint = Hint::read(output)?;
    match hint.commit().filter(|_| hint.is_quiet()).cloned() {
        Some(commit) => Ok(Some(Head::new(commit, hint))),
        None => head_from(output, hint),
    }
}

fn head_from(output: &Output, hint: Hint) -> Result<Option<Head>, StoreError> {
    if let Some(known) = hint.commit().cloned() {
        return Ok(Some(Head::new(newest_from(output, known)?, hint)));
    }
    let names = output.names(places::COMMITS)?;
    let Some(newest) = names.iter().filter_map(|name| places::commit_number(name)).max() else { return Ok(None) };
    let commit = commit(output, newest)?.ok_or_else(|| damaged(output, newest, "it is missing"))?;
    Ok(Some(Head::new(newest_from(output, commit)?, hint)))
}

/// The newest commit, from one that is known on.
fn newest_from(output: &Output, known: Commit) -> Result<Commit, StoreError> {
    let mut newest = known;
    while let Some(next) = commit(output, newest.number + 1)? {
        newest = next;
    }
    Ok(newest)
}

/// The commit of a number; `None` where there is none.
///
/// # Errors
/// I/O errors; a damaged record.
pub fn commit(output: &Output, number: u64) -> Result<Option<Commit>, StoreError> {
    let Some(bytes) = output.read(places::commit(number))? else { return Ok(None) };
    let commit: Commit = serde_json::from_slice(&bytes).map_err(|error| damaged(output, number, &error.to_string()))?;
    if !commit.is_readable() || commit.number != number {
        return Err(damaged(output, number, "it is of another version of etl"));
    }
    Ok(Some(commit))
}

fn damaged(output: &Output, number: u64, detail: &str) -> StoreError {
    StoreError::Record { location: output.location_of(&places::commit(number)), detail: detail.to_owned() }
}

/// The numbers of the commits that are kept, in order.
///
/// # Errors
/// I/O errors.
pub fn kept_commits(output: &Output) -> Result<Vec<u64>, StoreError> {
    let mut numbers: Vec<_> = output.names(places::COMMITS)?.iter().filter_map(|name| places::commit_number(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Changes what the record of a commit tells of it; the layer and the files of the commit stay. Returns whether it told something else.
///
/// # Errors
/// I/O errors; a damaged record.
pub fn change_told(output: &Output, number: u64, change: impl Fn(&Told) -> Option<String>) -> Result<bool, StoreError> {
    let Some(mut record) = commit(output, number)? else { return Ok(false) };
    let mut has_changed = false;
    for told in &mut record.told {
        if let Some(text) = change(told) {
            told.text = text;
            has_changed = true;
        }
    }
    if has_changed {
        let bytes = serde_json::to_vec(&record).map_err(|error| damaged(output, number, &error.to_string()))?;
        output.replace(places::commit(number), &bytes)?;
    }
    Ok(has_changed)
}

/// Removes the record of a commit that is past its time.
///
/// # Errors
/// I/O errors.
pub fn remove_commit(output: &Output, number: u64) -> Result<(), StoreError> {
    output.remove(places::commit(number))
}

/// Sets the records of a log aside that can't be read, and forgets the hint. A sound log stays.
///
/// # Errors
/// I/O errors.
pub fn set_aside_damaged_log(output: &Output) -> Result<(), StoreError> {
    match head(output) {
        Err(StoreError::Record { .. }) => {}
        head => return head.map(drop),
    }
    for listed in output.list(places::COMMITS)? {
        if let Some(bytes) = output.read(&listed.key)? {
            output.replace(Key::from(places::DAMAGED_COMMITS).join(listed.key.name()), &bytes)?;
        }
        output.remove(&listed.key)?;
    }
    output.remove(places::LATEST)
}

/// The copies of records that were set aside.
///
/// # Errors
/// I/O errors.
pub fn records_set_aside(output: &Output) -> Result<Vec<Key>, StoreError> {
    Ok(output.list(places::DAMAGED_COMMITS)?.into_iter().map(|listed| listed.key).collect())
}

/// Puts a record, if its number is free. A record that is there already and is this writer's own was put by a request whose
/// answer was lost.
///
/// # Errors
/// [`AppendError`].
pub fn append(output: &Output, record: &Commit) -> Result<(), AppendError> {
    let text = serde_json::to_vec(record).map_err(|error| damaged(output, record.number, &error.to_string()))?;
    let key = places::commit(record.number);
    // An answer that was lost may be that of a put that is still on its way.
    let mut lost: Option<StoreError> = None;
    for _ in 0..UNKNOWN_ATTEMPTS {
        let answer = match output.store().put(&key, Content::Bytes(&text), &Condition::Absent) {
            Ok(tag) => Answer::Done(tag),
            Err(PutError::Conflict) => Answer::Conflict,
            Err(PutError::Unknown(error)) => {
                lost = Some(error);
                Answer::Unknown
            }
            Err(PutError::Io(error)) => return Err(lost.map_or(AppendError::Store(error), AppendError::Unknown)),
        };
        if after_commit(&answer) == AfterCommit::Committed {
            return Ok(());
        }
        let found = commit(output, record.number).map_err(AppendError::Unknown)?;
        match after_read_back(&record.writer, found.as_ref().map(|found| &found.writer)) {
            AfterReadBack::Committed => return Ok(()),
            AfterReadBack::MergeAgain => return Err(AppendError::Taken),
            AfterReadBack::PutAgain => {}
        }
    }
    Err(lost.map_or(AppendError::Taken, AppendError::Unknown))
}

/// What became of a put, for the protocol.
///
/// # Errors
/// The put was refused: it did not happen.
pub(super) fn answer_of<T>(put: Result<T, PutError>) -> Result<Answer<T>, StoreError> {
    match put {
        Ok(there) => Ok(Answer::Done(there)),
        Err(PutError::Conflict) => Ok(Answer::Conflict),
        Err(PutError::Unknown(_)) => Ok(Answer::Unknown),
        Err(PutError::Io(error)) => Err(error),
    }
}
