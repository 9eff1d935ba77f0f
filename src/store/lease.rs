//! Leases: which run works on which days of an output. They spare runs the work of merging twice, and tell who is at work.
//!
//! A lease is courtesy. That no commit is lost is the log's promise, and holds without any lease.
//!
//! In a folder, a lease is a locked file: the kernel lets go of it when the process dies, however it dies. In a bucket, the
//! leases stand in the hint, which is replaced only in the version that was read. A lease there is renewed; whoever waits
//! takes it over when it has not changed for its life on the waiter's own clock. So no clocks of two machines are
//! compared, with one exception: whoever takes a lease withdraws those that say themselves that they are hours old.
//! Its end also says what the run has installed: one put for both. What that is, is decided in [`protocol`](super::protocol).

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::{
    Commit, Head, Output, StoreError,
    commit::Installer,
    folder,
    hint::{Change, Hint, TakenUp},
    moment::Moment,
    places, process,
    projection::{self, LeftCommit, OwnFiles, Settlement},
};
use crate::{
    cancel::Cancel,
    model::{RunPace, UtcMicros, parse_time_text, span_text},
};

/// How often a waiting run looks again, in a folder and in a bucket.
const POLL: Duration = Duration::from_millis(100);
const POLL_BUCKET: Duration = Duration::from_millis(1000);

/// Who looks whether a lease lives has its lock for a moment: a run waits for that in any case.
const LOOK: Duration = Duration::from_millis(40);

/// How long a lease in a bucket lives without being renewed.
const LIFE: Duration = Duration::from_secs(60);

/// How long ago a run that is at work has renewed its lease at most, by the clocks of two machines.
const RENEWED_WITHIN: Duration = Duration::from_secs(120);

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

impl AlertsNote {
    /// What the hint says of the file afterwards. Another run may have written it too, unless this one was alone.
    fn write_to(&self, company: Company, known: &mut Option<String>) {
        match (self, company) {
            (AlertsNote::Read(text) | AlertsNote::Written(text), Company::Alone) => *known = Some(text.clone()),
            (AlertsNote::Written(_), Company::Others) | (AlertsNote::Unknown, _) => *known = None,
            (AlertsNote::Read(_), Company::Others) | (AlertsNote::Untouched, _) => {}
        }
    }
}

/// Whether other runs had leases while a run had its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Company {
    Alone,
    Others,
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
                Some(root) => try_folder(root, holder)?,
                None => try_bucket(output, holder, &mut watch, known.take())?,
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
        if is_at(file, path) { Ok(()) } else { Err(StoreError::StateRemoved { path: path.clone() }) }
    }

    /// The leases on a part of the output now.
    ///
    /// # Errors
    /// I/O errors.
    pub fn listed(output: &Output) -> Result<Vec<HeldLease>, StoreError> {
        match output.folder() {
            Some(root) => Ok(living(root)?.into_iter().map(|holder| HeldLease { holder, silent_for: None }).collect()),
            None => {
                let (leases, now) = (Hint::read(output)?.notes.leases, UtcMicros::now());
                let held = |lease: ListedLease| HeldLease { silent_for: lease.silent_for(now), holder: lease.holder };
                Ok(leases.into_iter().filter(|lease| !lease.is_dead(now)).map(held).collect())
            }
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

    /// What the file of the open alerts says, if that was known when the lease was taken, and no other run was at work.
    pub fn known_alerts(&self) -> Option<&str> {
        let LeaseKind::Bucket(lease) = &self.kind else { return None };
        lease.alerts.as_deref()
    }

    /// Notes what the file of the open alerts says now.
    pub fn note_alerts(&self, note: AlertsNote) {
        self.publish(|publishing| publishing.alerts = note);
    }

    /// How long the latest runs of a kind took, as it was known when the lease was taken; `None` in a folder, where their reports tell
    /// it for nothing.
    pub fn paces(&self, of_kind: &str) -> Option<&[RunPace]> {
        let LeaseKind::Bucket(lease) = &self.kind else { return None };
        Some(lease.paces.get(of_kind).map_or(&[], Vec::as_slice))
    }

    /// Notes how long this run took, for later runs of its kind.
    pub fn note_pace(&self, of_kind: &str, pace: RunPace) {
        self.publish(|publishing| publishing.pace = Some(KindPace { kind: of_kind.to_owned(), pace }));
    }

    /// Notes that the run is about to put this record, and sees to it that the run stands in the hint then. Returns the
    /// hint as this process knows it. What an earlier commit under this lease has installed is told first.
    ///
    /// # Errors
    /// I/O errors. The record must not be put then: nobody would look for it.
    pub(super) fn begin_commit(&self, record: &Commit) -> Result<Option<Hint>, StoreError> {
        let LeaseKind::Bucket(lease) = &self.kind else { return Ok(None) };
        lease.settle()?;
        let known = lease.stand_in_hint()?;
        lease.publishing().begun = Some(BegunCommit::of(record));
        Ok(known)
    }

    /// Notes that it did not put it, and never will.
    pub(super) fn abandon_commit(&self) {
        self.publish(|publishing| publishing.begun = None);
    }

    /// Notes what became of the files of its commit. The end of the lease tells it to others.
    pub(super) fn note_installed(&self, files: OwnFiles) {
        self.publish(|publishing| match files {
            OwnFiles::Told => publishing.begun = None,
            OwnFiles::ToTell(settlement) => (publishing.begun, publishing.settlement) = (None, Some(*settlement)),
            OwnFiles::LeftToOthers(left) => publishing.begun.iter_mut().for_each(|begun| begun.left = Some(left.clone())),
        });
    }

    fn publish(&self, change: impl FnOnce(&mut Publishing)) {
        if let LeaseKind::Bucket(lease) = &self.kind {
            change(&mut lease.publishing());
        }
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

/// Takes a lease in a folder, unless a living run holds days in common. The lock of the list is held meanwhile.
fn try_folder(root: &Path, holder: &Holder) -> Result<Attempt, StoreError> {
    let _lock = lock_list(root)?;
    folder::create_durably(&root.join(places::LEASES))?;
    if let Some(other) = living(root)?.into_iter().find(|other| other.run_id != holder.run_id && other.scope.overlaps(&holder.scope)) {
        return Ok(Attempt::Held(other));
    }
    let path = root.join(places::lease(&holder.run_id));
    let mut file = open_lock(&path)?;
    file.lock().map_err(StoreError::io("lock", &path))?;
    write_holder(&mut file, holder).map_err(StoreError::io("write", &path))?;
    Ok(Attempt::Had(LeaseKind::Folder { file, path }))
}

/// The lock of the list of leases. A run that has written nothing removes it with its folder: then both are made again.
fn lock_list(root: &Path) -> Result<File, StoreError> {
    const TRIES: usize = 100;
    let path = root.join(places::LEASES_LOCK);
    for _ in 0..TRIES {
        folder::create_durably(&root.join(places::STATE))?;
        let lock = match open_lock(&path) {
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        lock.lock().map_err(StoreError::io("lock", &path))?;
        if is_at(&lock, &path) {
            return Ok(lock);
        }
    }
    Err(StoreError::StateRemoved { path })
}

/// Whether an open file still lies at a path.
fn is_at(file: &File, path: &Path) -> bool {
    let is_same = |held: &fs::Metadata| fs::metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (held.dev(), held.ino()));
    file.metadata().is_ok_and(|held| is_same(&held))
}

fn open_lock(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(StoreError::io("open", path))
}

/// The holders of the leases in a folder whose processes live. Leases of dead ones are removed.
fn living(root: &Path) -> Result<Vec<Holder>, StoreError> {
    let folder = root.join(places::LEASES);
    let entries = match folder.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("list", &folder)(error)),
    };
    let mut holders = Vec::new();
    for entry in entries {
        let path = entry.map_err(StoreError::io("list", &folder))?.path();
        match look(&path)? {
            Looked::Gone => {}
            Looked::Alive(holder) => holders.push(holder),
            Looked::Dead => {
                // Another user's file may stay: it is not locked, and counts for nothing.
                let _ = fs::remove_file(&path);
            }
        }
    }
    Ok(holders)
}

enum Looked {
    Gone,
    Dead,
    Alive(Holder),
}

/// Whether the run of a lease lives. A shared lock: several commands may look at once.
fn look(path: &Path) -> Result<Looked, StoreError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Looked::Gone),
        Err(error) => return Err(StoreError::io("open", path)(error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Looked::Dead),
        Err(TryLockError::WouldBlock) => Ok(Looked::Alive(holder_of(&mut file, path))),
        Err(TryLockError::Error(error)) => Err(StoreError::io("lock", path)(error)),
    }
}

/// Whether the run of this name has a lease in a folder, and lives.
pub(super) fn lives(root: &Path, run_id: &str) -> bool {
    matches!(look(&root.join(places::lease(run_id))), Ok(Looked::Alive(_)))
}

/// The holder of a file that is locked. One that has not written its name holds everything at the latest since the file was written.
fn holder_of(file: &mut File, path: &Path) -> Holder {
    let run_id = path.file_stem().map_or("unknown".to_owned(), |name| name.to_string_lossy().into_owned());
    let unknown = |file: &File| {
        let written = file.metadata().and_then(|metadata| metadata.modified()).ok();
        let micros = written.and_then(|time| i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok());
        let since = micros.and_then(UtcMicros::new).unwrap_or_else(UtcMicros::now);
        Holder { run_id, pid: 0, host: "unknown".to_owned(), since: since.rfc3339(), scope: Scope::default() }
    };
    read_holder(file).unwrap_or_else(|_| unknown(file))
}

fn read_holder(file: &mut File) -> io::Result<Holder> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

fn write_holder(file: &mut File, holder: &Holder) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&serde_json::to_vec(holder)?)
}

/// A lease in a bucket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct ListedLease {
    #[serde(flatten)]
    holder: Holder,
    /// What tells this process from any other.
    process: String,
    /// How often it was renewed.
    renewed: u64,
    /// When it was taken or renewed last, RFC 3339, by the clock of its holder. Versions before did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    renewed_at: Option<String>,
    /// When a command first found that `renewed_at` can't be right, RFC 3339, by the clock of that command. A renewal
    /// removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    doubted_at: Option<String>,
}

impl ListedLease {
    /// A lease that this process takes now.
    fn taken(holder: Holder) -> ListedLease {
        ListedLease { holder, process: process::this_process(), renewed: 0, renewed_at: Some(UtcMicros::now().rfc3339()), doubted_at: None }
    }

    fn renew(&mut self) {
        self.renewed += 1;
        self.renewed_at = Some(UtcMicros::now().rfc3339());
        self.doubted_at = None;
    }

    /// The run that holds it.
    pub(super) fn run_id(&self) -> &str {
        &self.holder.run_id
    }

    /// The run that holds it, as one that may commit.
    pub(super) fn installer(&self) -> Installer {
        Installer { name: self.holder.run_id.clone(), since: self.holder.since.clone() }
    }

    /// Whether it is the same as another one, perhaps renewed since.
    fn is_of(&self, other: &ListedLease) -> bool {
        self.holder.run_id == other.holder.run_id && self.process == other.process
    }

    /// Whether nobody holds it any more, as far as that can be known at once.
    fn is_dead(&self, now: UtcMicros) -> bool {
        process::is_dead(&self.process) || self.is_given_up(now)
    }

    /// Whether its holder has not renewed it for so long that it is dead or asleep. The clocks of two machines differ
    /// by less than that. Where it does not say when it was renewed, the time since that was first found counts.
    fn is_given_up(&self, now: UtcMicros) -> bool {
        let alive_at = self.renewal(now).or_else(|| self.doubted_at.as_deref().and_then(parse_time_text));
        alive_at.is_some_and(|alive_at| micros_between(alive_at, now) > Installer::GONE_AFTER.as_micros())
    }

    /// When it was renewed, as it says itself. `None`: it does not say it, or names a time by which no clock can be
    /// ahead.
    fn renewal(&self, now: UtcMicros) -> Option<UtcMicros> {
        self.renewed_at.as_deref().and_then(parse_time_text).filter(|renewed_at| !is_far_ahead(*renewed_at, now))
    }

    /// Notes when it was first found that nobody knows when it was renewed. Returns whether that is new.
    fn note_doubt(&mut self, now: UtcMicros) -> bool {
        let noted = self.doubted_at.as_deref().and_then(parse_time_text).filter(|noted| !is_far_ahead(*noted, now));
        let is_new = self.renewal(now).is_none() && noted.is_none();
        if is_new {
            self.doubted_at = Some(now.rfc3339());
        }
        is_new
    }

    /// Whether its holder seems to be at work: what may wait is left to it then.
    pub(super) fn is_at_work(&self, now: UtcMicros) -> bool {
        let is_recent =
            |renewed_at: UtcMicros| micros_between(renewed_at, now).max(micros_between(now, renewed_at)) <= RENEWED_WITHIN.as_micros();
        !process::is_dead(&self.process) && self.renewal(now).is_some_and(is_recent)
    }

    /// For how long it was not renewed, if that is longer than a run at work leaves it. `None` also where that is not known.
    fn silent_for(&self, now: UtcMicros) -> Option<Duration> {
        let micros = micros_between(self.renewal(now)?, now);
        (micros > RENEWED_WITHIN.as_micros()).then(|| Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)))
    }

    /// The lease as its holder wrote it, without what others have noted there.
    fn of_holder(&self) -> ListedLease {
        ListedLease { doubted_at: None, ..self.clone() }
    }
}

/// Whether a moment lies so far ahead that no clock of a machine explains it.
fn is_far_ahead(moment: UtcMicros, now: UtcMicros) -> bool {
    micros_between(now, moment) > Installer::GONE_AFTER.as_micros()
}

/// The microseconds from one moment to another; 0 if it is an earlier one.
fn micros_between(from: UtcMicros, until: UtcMicros) -> u128 {
    u128::try_from(until.micros().saturating_sub(from.micros())).unwrap_or(0)
}

/// What a waiter has seen of the leases that it waits for, each since when.
#[derive(Default)]
struct Watch {
    seen: Vec<(ListedLease, Instant)>,
}

impl Watch {
    /// Notes the leases that are in the way now. One that was renewed is another one.
    fn look(&mut self, in_the_way: &[ListedLease]) {
        let in_the_way: Vec<ListedLease> = in_the_way.iter().map(ListedLease::of_holder).collect();
        self.seen.retain(|(seen, _)| in_the_way.contains(seen));
        for lease in in_the_way {
            if !self.seen.iter().any(|(seen, _)| *seen == lease) {
                self.seen.push((lease, Instant::now()));
            }
        }
    }

    /// Whether a lease has not changed for its life.
    fn has_expired(&self, lease: &ListedLease) -> bool {
        let lease = lease.of_holder();
        self.seen.iter().any(|(seen, since)| *seen == lease && since.elapsed() >= LIFE)
    }
}

/// The lease of a run in a bucket. A thread renews it.
#[derive(Debug)]
struct BucketLease {
    output: Output,
    /// As it was taken.
    own: ListedLease,
    signal: Arc<RenewerSignal>,
    renewer: Option<thread::JoinHandle<()>>,
    /// Apart from what the renewer has: a renewal may take long.
    publishing: Mutex<Publishing>,
    /// What the open alerts were when the lease was taken, if that was known.
    alerts: Option<String>,
    /// How long the runs before took, by their kind.
    paces: BTreeMap<String, Vec<RunPace>>,
}

/// What the thread that renews a lease shares with its owner.
#[derive(Debug)]
struct RenewerSignal {
    state: Mutex<RenewerState>,
    changed: Condvar,
}

#[derive(Debug)]
struct RenewerState {
    is_stopped: bool,
    /// The hint as this process last wrote it.
    known: Option<Hint>,
    company: Company,
    /// When the lease was certainly listed last.
    listed: Moment,
}

impl RenewerState {
    /// Renews the lease. If it was withdrawn, it is listed again: a run stands in the hint before it commits.
    fn renew(&mut self, output: &Output, own: &ListedLease) -> Result<(), StoreError> {
        let mut was_withdrawn = false;
        self.change_hint(output, |hint| {
            let listed = hint.notes.leases.iter_mut().find(|lease| lease.is_of(own));
            was_withdrawn = listed.is_none();
            match listed {
                Some(lease) => lease.renew(),
                None => {
                    let mut again = own.clone();
                    again.renew();
                    hint.notes.list_again(again);
                }
            }
            Change::Write
        })?;
        if was_withdrawn {
            // Whoever has withdrawn it may have been at work since.
            self.company = Company::Others;
            let run_id = own.run_id();
            tracing::warn!(run_id, "another command withdrew the lease of this run, which was not renewed for long; it is listed again");
        }
        self.listed = Moment::now();
        Ok(())
    }

    /// Changes the hint that this process knows. If another writer comes between, the run is no longer alone.
    fn change_hint(&mut self, output: &Output, mut change: impl FnMut(&mut Hint) -> Change) -> Result<(), StoreError> {
        let mut tries = 0;
        let changed = Hint::change(output, self.known.take(), |hint| {
            tries += 1;
            change(hint)
        });
        if tries != 1 || changed.is_err() {
            self.company = Company::Others;
        }
        self.known = Some(changed?);
        Ok(())
    }
}

/// What the holder of a lease has done to the log, and not told yet.
#[derive(Default, Debug)]
struct Publishing {
    /// A record that may be decided, and whose files may not be installed.
    begun: Option<BegunCommit>,
    /// What it has installed.
    settlement: Option<Settlement>,
    alerts: AlertsNote,
    pace: Option<KindPace>,
}

/// How long a run of a kind took.
#[derive(Debug)]
struct KindPace {
    kind: String,
    pace: RunPace,
}

/// A commit that a run has put, or may have put.
#[derive(Debug)]
struct BegunCommit {
    by: Installer,
    number: u64,
    /// The commit, if its files are in place, and the look at them is left to other runs.
    left: Option<Box<LeftCommit>>,
}

impl BegunCommit {
    fn of(record: &Commit) -> BegunCommit {
        BegunCommit { by: record.installer(), number: record.number, left: None }
    }

    /// Names the writer in a hint that does not know its commit: whoever comes next looks for it.
    fn write_to(&self, hint: &mut Hint) {
        if let Some(left) = &self.left {
            hint.leave_to_others(&left.record, left.copies.as_ref());
        } else if self.number > hint.installed() {
            hint.notes.name_writer(self.by.clone());
        }
    }
}

/// How a lease ends for what its run has installed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    /// The hint says all of it, or there is nothing to say.
    Told,
    /// Another writer has come between, and other runs are at work: the last of them looks at all files.
    LeftToOthers,
    /// Another writer has come between: the run looks at its files again.
    Overtaken,
}

/// Writes into a hint what was installed. Where another writer has come between, it names the writer of the commit.
fn write_settlement(settlement: &Settlement, run_id: &str, hint: &mut Hint) -> Ending {
    if settlement.write_to(hint) == TakenUp::Yes {
        return Ending::Told;
    }
    let left = settlement.to_leave().filter(|_| hint.notes.has_others(Some(run_id), UtcMicros::now()));
    let ending = if left.is_some() { Ending::LeftToOthers } else { Ending::Overtaken };
    BegunCommit { left: left.map(Box::new), ..BegunCommit::of(settlement.record()) }.write_to(hint);
    ending
}

impl RenewerSignal {
    fn lock(&self) -> std::sync::MutexGuard<'_, RenewerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a lease in a bucket, unless a run holds days in common that has not expired.
fn try_bucket(output: &Output, holder: &Holder, watch: &mut Watch, known: Option<Hint>) -> Result<Attempt, StoreError> {
    let own = ListedLease::taken(holder.clone());
    let now = UtcMicros::now();
    let (mut held, mut given_up, mut company) = (None, Vec::new(), Company::Others);
    let known = Hint::change(output, known, |hint| {
        let notes = &mut hint.notes;
        // Also those of other days: they would stand there for ever.
        notes.withdraw(now, |lease| process::is_dead(&lease.process));
        given_up = notes.withdraw(now, |lease| lease.is_given_up(now));
        let mut has_news = false;
        for lease in &mut notes.leases {
            has_news |= lease.note_doubt(now);
        }
        let is_in_the_way = |other: &&ListedLease| other.holder.run_id != holder.run_id && other.holder.scope.overlaps(&holder.scope);
        let in_the_way: Vec<ListedLease> = notes.leases.iter().filter(is_in_the_way).cloned().collect();
        watch.look(&in_the_way);
        // One expired lease does not mean that the others have expired.
        if let Some(living) = in_the_way.iter().find(|other| !watch.has_expired(other)) {
            held = Some(living.holder.clone());
            // Else nobody would ever know since when its renewal is not known.
            return if has_news { Change::Write } else { Change::None };
        }
        notes.withdraw(now, |lease| in_the_way.contains(lease));
        held = None;
        notes.forget_old(now);
        notes.leases.retain(|lease| lease.holder.run_id != holder.run_id);
        company = if notes.are_quiet() { Company::Alone } else { Company::Others };
        notes.leases.push(own.clone());
        Change::Write
    })?;
    if let Some(other) = held {
        return Ok(Attempt::Held(other));
    }
    given_up.iter().for_each(warn_given_up);
    Ok(Attempt::Had(LeaseKind::Bucket(Box::new(BucketLease::keep(output.clone(), own, known, company)))))
}

/// Says whose lease was withdrawn because nobody renews it.
fn warn_given_up(ListedLease { holder, renewed_at, .. }: &ListedLease) {
    let Holder { run_id, pid, host, since, .. } = holder;
    let renewed_at = renewed_at.as_deref().unwrap_or("unknown");
    let life = span_text(Installer::GONE_AFTER);
    tracing::warn!(
        %run_id, pid, %host, %since, renewed_at,
        "the lease of this run was not renewed for more than {life}: it is withdrawn. The run is dead, or its machine sleeps"
    );
}

impl BucketLease {
    fn keep(output: Output, own: ListedLease, known: Hint, company: Company) -> BucketLease {
        let alerts = known.notes.alerts.clone().filter(|_| company == Company::Alone);
        let paces = known.notes.paces.clone();
        let state = Mutex::new(RenewerState { is_stopped: false, known: Some(known), company, listed: Moment::now() });
        let signal = Arc::new(RenewerSignal { state, changed: Condvar::new() });
        let renewer = thread::Builder::new().name("lease".into()).spawn({
            let (output, own, signal) = (output.clone(), own.clone(), Arc::clone(&signal));
            move || renew(&output, &own, &signal)
        });
        BucketLease { output, own, signal, renewer: renewer.ok(), publishing: Mutex::default(), alerts, paces }
    }

    /// Sees to it that the run stands in the hint, and returns the hint as it is known. It is looked at only if the
    /// lease may have been withdrawn meanwhile: this process slept, or could not renew it.
    fn stand_in_hint(&self) -> Result<Option<Hint>, StoreError> {
        let mut state = self.signal.lock();
        if state.listed.elapsed() >= LIFE {
            state.known = None;
            state.company = Company::Others;
            state.renew(&self.output, &self.own)?;
        }
        Ok(state.known.clone())
    }

    fn publishing(&self) -> std::sync::MutexGuard<'_, Publishing> {
        self.publishing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells that the files of an earlier commit under this lease are in place. Where that fails, the end of the lease tells it.
    fn tell_what_is_left(&self) -> Result<(), StoreError> {
        let Some(begun) = self.publishing().begun.take_if(|begun| begun.left.is_some()) else { return Ok(()) };
        let told = self.signal.lock().change_hint(&self.output, |hint| {
            begun.write_to(hint);
            Change::Write
        });
        if told.is_err() {
            self.publishing().begun = Some(begun);
        }
        told
    }

    /// Tells what the run has installed so far, and keeps the lease.
    fn settle(&self) -> Result<(), StoreError> {
        self.tell_what_is_left()?;
        let Some(settlement) = self.publishing().settlement.take() else { return Ok(()) };
        let mut taken_up = TakenUp::Overtaken;
        let told = self.signal.lock().change_hint(&self.output, |hint| {
            taken_up = settlement.write_to(hint);
            if taken_up == TakenUp::Yes { Change::Write } else { Change::None }
        });
        if let Err(error) = told {
            tracing::debug!(%error, "what the run has installed could not be told yet");
            taken_up = TakenUp::Overtaken;
        }
        if taken_up == TakenUp::Overtaken {
            settlement.go_on();
            self.signal.lock().known = None;
        }
        Ok(())
    }

    /// Gives the lease back, and tells what the run has installed.
    fn release(&mut self) {
        self.signal.lock().is_stopped = true;
        self.signal.changed.notify_all();
        if let Some(renewer) = self.renewer.take() {
            let _ = renewer.join();
        }
        let (known, mut company) = {
            let mut state = self.signal.lock();
            (state.known.take(), state.company)
        };
        let Publishing { begun, settlement, alerts, pace } = std::mem::take(&mut *self.publishing());
        let mut ending = Ending::Told;
        let released = Hint::change(&self.output, known, |hint| {
            hint.notes.leases.retain(|lease| !lease.is_of(&self.own));
            ending = settlement.as_ref().map_or(Ending::Told, |settlement| write_settlement(settlement, self.own.run_id(), hint));
            begun.iter().for_each(|begun| begun.write_to(hint));
            alerts.write_to(company, &mut hint.notes.alerts);
            pace.iter().for_each(|KindPace { kind, pace }| hint.notes.note_pace(kind, *pace));
            // If another writer comes between, this is done again.
            company = Company::Others;
            Change::Write
        });
        let hint = match released {
            Ok(hint) => hint,
            Err(error) => {
                tracing::warn!(
                    %error,
                    "the lease of the run could not be given back; it ends with this process on this machine, elsewhere after {} for who \
                     waits with --lock-wait, and after {} for others",
                    span_text(LIFE),
                    span_text(Installer::GONE_AFTER)
                );
                return;
            }
        };
        // Another writer may have been at work while this one slept: what its commits want comes last.
        settlement.filter(|_| ending == Ending::Overtaken).into_iter().for_each(Settlement::go_on);
        // Who is the last at work looks at the files of all that have left it to others.
        if hint.is_left_alone(self.own.run_id(), UtcMicros::now()) {
            projection::complete_what_was_left(&self.output);
        }
    }
}

/// Renews a lease at a third of its life, until it is released.
fn renew(output: &Output, own: &ListedLease, signal: &RenewerSignal) {
    let mut state = signal.lock();
    loop {
        // The lease may be released before this thread has begun to wait: then nobody wakes it up.
        let waited = signal.changed.wait_timeout_while(state, LIFE / 3, |state| !state.is_stopped);
        (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.is_stopped {
            return;
        }
        if let Err(error) = state.renew(output, own) {
            tracing::debug!(%error, "the lease could not be renewed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{counting::CountingStore, faulty::Scripted, memory::MemoryStore, scratch::Scratch};

    fn holder(run_id: &str, from: Option<&str>, until: Option<&str>) -> Holder {
        let scope = Scope { from: from.map(str::to_owned), until: until.map(str::to_owned) };
        Holder { run_id: run_id.into(), pid: 7, host: "here".into(), since: "2026-01-01T00:00:00Z".into(), scope }
    }

    fn acquire(output: &Output, holder: &Holder, wait: Duration) -> Result<Lease, LockError> {
        Lease::acquire(output, holder, wait, &Cancel::default(), None)
    }

    #[test]
    fn scopes_overlap_where_they_have_a_day_in_common() {
        let scope = |from: Option<&str>, until: Option<&str>| holder("x", from, until).scope;
        let (january, february) = (scope(Some("2026-01-01"), Some("2026-02-01")), scope(Some("2026-02-01"), None));
        assert!(!january.overlaps(&february) && !february.overlaps(&january));
        assert!(january.overlaps(&scope(None, None)) && january.overlaps(&scope(Some("2026-01-31"), Some("2026-02-02"))));
        assert!(scope(None, Some("2026-01-02")).overlaps(&january));
    }

    #[test]
    fn the_second_is_told_who_the_first_is_and_gets_it_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::new(dir.path().to_owned());
        let first = acquire(&output, &holder("one", None, None), Duration::ZERO).unwrap();
        let error = acquire(&output, &holder("two", None, None), Duration::ZERO).unwrap_err();
        assert!(error.to_string().contains("run one (process 7 on here, since 2026-01-01T00:00:00Z)"), "{error}");
        let waiting =
            thread::spawn(move || acquire(&output, &holder("two", None, None), Duration::from_secs(10)).map(|lease| lease.has_waited()));
        thread::sleep(Duration::from_millis(150));
        drop(first);
        assert!(waiting.join().unwrap().unwrap());
    }

    #[test]
    fn disjoint_days_are_held_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::new(dir.path().to_owned());
        let _first = acquire(&output, &holder("one", Some("2026-01-01"), Some("2026-01-08")), Duration::ZERO).unwrap();
        let _second = acquire(&output, &holder("two", Some("2026-01-08"), Some("2026-01-15")), Duration::ZERO).unwrap();
        let third = acquire(&output, &holder("three", Some("2026-01-14"), None), Duration::ZERO);
        assert!(matches!(third, Err(LockError::Held { holder: Some(holder), .. }) if holder.run_id == "two"));
        assert_eq!(Lease::listed(&output).unwrap().len(), 2);
    }

    #[test]
    fn a_lease_that_is_released_before_its_renewer_waits_is_released_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::with_copies(Arc::new(MemoryStore::default()), Scratch::create_in(dir.path()).unwrap());
        let state = Mutex::new(RenewerState { is_stopped: true, known: None, company: Company::Others, listed: Moment::now() });
        let began = Instant::now();
        renew(&output, &listed("one", None, None), &RenewerSignal { state, changed: Condvar::new() });
        assert!(began.elapsed() < LIFE / 6, "{:?}", began.elapsed());
    }

    /// A lease of another machine, as a version lists it that does not say when it was renewed.
    fn listed(run_id: &str, from: Option<&str>, until: Option<&str>) -> ListedLease {
        ListedLease { holder: holder(run_id, from, until), process: "elsewhere:7:1".into(), renewed: 0, renewed_at: None, doubted_at: None }
    }

    fn renewed_ago(lease: ListedLease, ago: Duration) -> ListedLease {
        let renewed_at = UtcMicros::now().minus(i64::try_from(ago.as_micros()).unwrap());
        ListedLease { renewed_at: Some(renewed_at.rfc3339()), ..lease }
    }

    /// A bucket whose hint lists these leases.
    fn bucket_with(store: &Arc<MemoryStore>, leases: Vec<ListedLease>) -> Output {
        let output = Output::with_copies(store.clone(), Scratch::create().unwrap());
        let mut hint = Hint::default();
        hint.notes.leases = leases;
        hint.put(&output).unwrap();
        output
    }

    fn leases_in(output: &Output) -> Vec<String> {
        Hint::read(output).unwrap().notes.leases.iter().map(|lease| lease.run_id().to_owned()).collect()
    }

    fn named_in(output: &Output) -> Vec<String> {
        Hint::read(output).unwrap().notes.unsettled.into_iter().map(|unsettled| unsettled.by.name).collect()
    }

    #[test]
    fn a_lease_that_says_itself_that_it_is_old_is_withdrawn_at_once_whatever_its_days() {
        let (hour, minute) = (Duration::from_secs(3600), Duration::from_secs(60));
        let old = |run_id, from, until| renewed_ago(listed(run_id, from, until), Installer::GONE_AFTER + minute);
        let other_days = renewed_ago(listed("living", Some("2026-03-01"), Some("2026-03-02")), hour);
        let leases = vec![old("dead", None, Some("2026-02-01")), old("dead elsewhere", Some("2026-04-01"), None), other_days];
        let output = bucket_with(&Arc::default(), leases);
        let listed = Lease::listed(&output).unwrap();
        assert_eq!(listed.len(), 1, "status names no dead run");
        assert!(listed[0].silent_for.is_some_and(|silent| silent >= hour), "nor one at work that is silent: {listed:?}");
        assert_eq!(Lease::at_work(&output).unwrap(), None);
        let lease = acquire(&output, &holder("two", Some("2026-01-01"), Some("2026-01-02")), Duration::ZERO).unwrap();
        assert_eq!(leases_in(&output), ["living", "two"]);
        assert_eq!(named_in(&output), ["dead", "dead elsewhere"], "each may still commit");
        drop(lease);
        assert_eq!(leases_in(&output), ["living"]);
    }

    #[test]
    fn a_lease_that_may_only_seem_old_or_does_not_say_its_age_is_watched() {
        let minute = Duration::from_secs(60);
        let young = renewed_ago(listed("one", None, None), Installer::GONE_AFTER - minute);
        // Its clock is ahead.
        let future = ListedLease { renewed_at: Some("2199-01-01T00:00:00Z".into()), ..listed("one", None, None) };
        let unreadable = ListedLease { renewed_at: Some("soon".into()), ..listed("one", None, None) };
        for lease in [young, future, unreadable, listed("one", None, None)] {
            let output = bucket_with(&Arc::default(), vec![lease]);
            let held = acquire(&output, &holder("two", None, None), Duration::ZERO);
            assert!(matches!(held, Err(LockError::Held { holder: Some(holder), .. }) if holder.run_id == "one"));
            assert_eq!(leases_in(&output), ["one"]);
        }
    }

    #[test]
    fn where_nobody_knows_when_a_lease_was_renewed_the_time_since_that_was_found_counts() {
        let says = |renewed_at: &str| ListedLease { renewed_at: Some(renewed_at.to_owned()), ..listed("one", None, None) };
        for lease in [says("2199-01-01T00:00:00Z"), says("soon"), listed("one", None, None)] {
            let output = bucket_with(&Arc::default(), vec![lease]);
            let acquire = || acquire(&output, &holder("two", None, None), Duration::ZERO);
            let doubted_at = || Hint::read(&output).unwrap().notes.leases[0].doubted_at.clone();
            let change = |change: &dyn Fn(&mut ListedLease)| {
                let mut hint = Hint::read(&output).unwrap();
                change(&mut hint.notes.leases[0]);
                hint.put(&output).unwrap();
            };
            assert!(matches!(acquire(), Err(LockError::Held { .. })));
            let noted = doubted_at();
            assert!(noted.is_some());
            assert!(matches!(acquire(), Err(LockError::Held { .. })));
            assert_eq!(doubted_at(), noted, "the first time counts");
            // Its holder lives: from now on it says when it was renewed.
            change(&ListedLease::renew);
            assert!(matches!(acquire(), Err(LockError::Held { .. })));
            assert_eq!(doubted_at(), None);
            let long_ago = UtcMicros::now().minus(i64::try_from(Installer::GONE_AFTER.as_micros()).unwrap() + UtcMicros::SECOND);
            change(&|lease: &mut ListedLease| (lease.renewed_at, lease.doubted_at) = (Some("soon".into()), Some(long_ago.rfc3339())));
            assert_eq!(Lease::listed(&output).unwrap(), [], "status names no dead run");
            let lease = acquire().unwrap();
            assert_eq!((leases_in(&output), named_in(&output)), (vec!["two".to_owned()], vec!["one".to_owned()]));
            drop(lease);
        }
    }

    #[test]
    fn a_lease_of_a_version_that_does_not_say_when_it_was_renewed_is_read_as_it_was_written() {
        let text = r#"{"run_id":"one","pid":7,"host":"here","since":"2026-01-01T00:00:00Z","process":"elsewhere:7:1","renewed":0}"#;
        let read: ListedLease = serde_json::from_str(text).unwrap();
        assert_eq!(read, listed("one", None, None));
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }

    #[test]
    fn a_lease_says_when_it_was_taken_and_when_it_was_renewed() {
        let output = bucket_with(&Arc::default(), Vec::new());
        let lease = acquire(&output, &holder("one", None, None), Duration::ZERO).unwrap();
        let renewed_at = || {
            let hint = Hint::read(&output).unwrap();
            parse_time_text(hint.notes.leases[0].renewed_at.as_deref().unwrap()).unwrap()
        };
        let taken_at = renewed_at();
        assert!(micros_between(taken_at, UtcMicros::now()) < Duration::from_secs(60).as_micros());
        thread::sleep(Duration::from_millis(5));
        bucket_lease(&lease).signal.lock().renew(&output, &bucket_lease(&lease).own).unwrap();
        assert!(renewed_at().micros() > taken_at.micros());
    }

    fn bucket_lease(lease: &Lease) -> &BucketLease {
        let LeaseKind::Bucket(lease) = &lease.kind else { panic!("not in a bucket") };
        lease
    }

    /// Another command takes the lease from a run that sleeps.
    fn take_away(output: &Output) {
        let mut hint = Hint::read(output).unwrap();
        assert_eq!(hint.notes.withdraw(UtcMicros::now(), |_| true).len(), 1);
        hint.put(output).unwrap();
    }

    #[test]
    fn a_lease_that_was_withdrawn_is_listed_again_when_it_is_renewed() {
        let output = bucket_with(&Arc::default(), Vec::new());
        let lease = acquire(&output, &holder("one", None, None), Duration::ZERO).unwrap();
        take_away(&output);
        assert_eq!((leases_in(&output), named_in(&output)), (Vec::new(), vec!["one".to_owned()]), "the premise");
        bucket_lease(&lease).signal.lock().renew(&output, &bucket_lease(&lease).own).unwrap();
        assert_eq!((leases_in(&output), named_in(&output)), (vec!["one".to_owned()], Vec::new()));
        assert_eq!(bucket_lease(&lease).signal.lock().company, Company::Others);
        drop(lease);
        assert!(Hint::read(&output).unwrap().notes.are_quiet());
    }

    #[test]
    fn a_run_that_slept_stands_in_the_hint_before_it_commits_and_others_spare_the_look() {
        let store = Arc::<MemoryStore>::default();
        bucket_with(&store, Vec::new());
        let counting = CountingStore::over(&store);
        let output = Output::with_copies(counting.clone(), Scratch::create().unwrap());
        let lease = acquire(&output, &holder("one", None, None), Duration::ZERO).unwrap();
        counting.take();
        lease.begin_commit(&Commit::nothing()).unwrap();
        assert_eq!(counting.take().len(), 0, "an increment has few requests");
        take_away(&output);
        bucket_lease(&lease).signal.lock().listed = Moment::before_sleep(LIFE);
        let known = lease.begin_commit(&Commit::nothing()).unwrap().unwrap();
        assert_eq!((known.notes.leases.len(), leases_in(&output)), (1, vec!["one".to_owned()]));
    }

    #[test]
    fn a_run_that_slept_and_can_not_be_listed_again_does_not_commit() {
        let refused = || StoreError::Bucket { action: "put", location: "memory://layer".into(), detail: "a fault of the test".into() };
        let scripted = Scripted::new(&Arc::default()).at(places::LATEST, || None).at(places::LATEST, move || Some(refused().into()));
        let output = Output::with_copies(Arc::new(scripted), Scratch::create().unwrap());
        let lease = acquire(&output, &holder("one", None, None), Duration::ZERO).unwrap();
        bucket_lease(&lease).signal.lock().listed = Moment::before_sleep(LIFE);
        assert!(matches!(lease.begin_commit(&Commit::nothing()), Err(StoreError::Bucket { .. })));
        assert!(bucket_lease(&lease).publishing().begun.is_none());
        // The store takes puts again.
        lease.begin_commit(&Commit::nothing()).unwrap();
        assert_eq!(leases_in(&output), ["one"]);
    }

    #[test]
    fn an_expired_lease_lets_nobody_past_a_living_one() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::with_copies(Arc::new(MemoryStore::default()), Scratch::create_in(dir.path()).unwrap());
        let recent = |run_id, from, until| renewed_ago(listed(run_id, Some(from), Some(until)), Duration::from_secs(60));
        let (dead, living) = (recent("dead", "2026-01-01", "2026-01-06"), recent("living", "2026-01-06", "2026-01-11"));
        let mut hint = Hint::default();
        hint.notes.leases = vec![dead.clone(), living.clone()];
        hint.put(&output).unwrap();
        let long_ago = Instant::now().checked_sub(LIFE).unwrap();
        let attempt = |watch: &mut Watch| try_bucket(&output, &holder("all", None, None), watch, None).unwrap();

        let mut watch = Watch { seen: vec![(dead.clone(), long_ago)] };
        assert!(matches!(attempt(&mut watch), Attempt::Held(other) if other.run_id == "living"));
        // A lease that was renewed is watched from now on.
        hint.notes.leases[1].renewed = 1;
        hint.put(&output).unwrap();
        let mut watch = Watch { seen: vec![(dead, long_ago), (living.clone(), long_ago)] };
        assert!(matches!(attempt(&mut watch), Attempt::Held(other) if other.run_id == "living"));
        watch.seen.iter_mut().for_each(|(_, since)| *since = long_ago);
        assert!(matches!(attempt(&mut watch), Attempt::Had(_)), "neither has changed for its life");
        assert_eq!(named_in(&output), ["dead", "living"], "each may still commit");
    }

    #[test]
    fn the_holder_is_named_only_while_it_holds_the_output() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::new(dir.path().to_owned());
        assert_eq!(Lease::listed(&output).unwrap(), [], "no run has ever been here");
        let lease = acquire(&output, &holder("one", None, None), Duration::ZERO).unwrap();
        assert_eq!(Lease::at_work(&output).unwrap(), Some(holder("one", None, None)));
        fs::write(output.at(places::lease("one")), "{").unwrap();
        let unknown = Lease::at_work(&output).unwrap().unwrap();
        assert_eq!((unknown.run_id.as_str(), unknown.pid), ("one", 0), "a holder without a name holds it all the same");
        drop(lease);
        assert_eq!(Lease::listed(&output).unwrap(), []);
        assert!(acquire(&output, &holder("two", None, None), Duration::ZERO).is_ok());
    }

    #[test]
    fn a_lease_whose_file_was_removed_is_not_held_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::new(dir.path().to_owned());
        let lease = acquire(&output, &holder("one", None, None), Duration::ZERO).unwrap();
        assert!(lease.verify().is_ok());
        fs::remove_dir_all(output.at(places::STATE)).unwrap();
        assert!(matches!(lease.verify(), Err(StoreError::StateRemoved { .. })));
        let _second = acquire(&output, &holder("one", None, None), Duration::ZERO).unwrap();
        assert!(lease.verify().is_err(), "another file of the same name");
    }
}
