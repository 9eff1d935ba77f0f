//! The projection of the log: `curated/` and `dims/`, which plain readers of a prefix see, and the files that tell of a commit.
//!
//! A commit counts before its files are installed. Whoever comes next completes what was cut off: every step may be done twice,
//! by several at once. In a bucket a file is replaced only in the version that was seen, so that a writer that slept can't put an
//! old file over a newer one. In a folder, who installs holds the lock.
//!
//! Decides nothing about several writers: which files are verified, what is installed and what the hint says is decided
//! in [`protocol`](super::protocol).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use serde::Deserialize;

use super::{
    Commit, Condition, Content, Head, Inlined, Installed, Key, ObjectRef, Output, PutError, Removed, StoreError, Tag,
    commit::{self, Installer, Told},
    disk::{self, Fingerprint},
    folder::create_durably,
    hint::{Hint, HintUpdate, Progress, TakenUp, Unsettled},
    output::at_once,
    places,
    protocol::{Answer, Footprint, Log, Projection, Step},
};
use crate::model::{UtcMicros, span_text};

/// How many steps an installation takes at most while other writers come between. Without them it takes about five.
const MOST_STEPS: usize = 200;

/// How often a file that tells of a commit is tried to be put, while others replace it.
const TELL_ATTEMPTS: usize = 5;

/// What a commit wants at a place.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Wanted {
    File(ObjectRef),
    /// No file, or in a store that can't delete under a condition a file without rows.
    Nothing(Option<ObjectRef>),
    /// A file whose content stands in the record.
    Text(String),
}

/// A file at its place in a bucket.
#[derive(Clone, Debug)]
struct There {
    tag: Tag,
    /// Its content; `None` where only the version is known.
    content: Option<Fingerprint>,
}

impl Wanted {
    /// Whether this is there already. A file whose content is unknown is not.
    fn is_there(&self, there: Option<&There>) -> bool {
        let Some(there) = there else { return matches!(self, Wanted::Nothing(_)) };
        match self {
            // Nothing can be put there.
            Wanted::Nothing(None) => true,
            Wanted::File(version) | Wanted::Nothing(Some(version)) => there.content == Some(version.fingerprint()),
            Wanted::Text(text) => there.content == Some(Fingerprint::of(text.as_bytes())),
        }
    }
}

/// Finds the local file with the content of an object.
pub(super) type LocalFile<'a> = dyn Fn(&ObjectRef) -> Option<PathBuf> + Sync + 'a;

/// What the writer of a commit knows, which spares requests.
pub(super) struct Known<'a> {
    /// The versions of places that the writer has read before its commit; `None` where nothing was.
    pub(super) seen: &'a BTreeMap<Key, Option<Tag>>,
    /// The local file with the content of an object.
    pub(super) local: &'a LocalFile<'a>,
    /// Small objects that the next run reads, by their places; `None` if those of before stay.
    pub(super) copies: Option<BTreeMap<Key, Inlined>>,
}

impl Known<'_> {
    /// The versions of places, with that of the manifest as the hint has it.
    fn files(&self, hint: &Hint) -> BTreeMap<Key, Option<There>> {
        let there = |tag: &Tag| There { tag: tag.clone(), content: None };
        let mut files: BTreeMap<Key, Option<There>> = self.seen.iter().map(|(key, tag)| (key.clone(), tag.as_ref().map(there))).collect();
        if let Some(tag) = &hint.notes.manifest {
            files.entry(Key::from(places::WHOLE_MANIFEST)).or_insert_with(|| Some(there(tag)));
        }
        files
    }
}

/// A commit, as an installation needs it.
#[derive(Debug)]
struct LoggedCommit {
    footprint: Footprint<Installer, Key>,
    wanted: BTreeMap<Key, Wanted>,
    /// The files that tell of this commit alone.
    told: Vec<Told>,
}

impl LoggedCommit {
    fn of(commit: &Commit) -> LoggedCommit {
        let mut wanted = BTreeMap::new();
        wanted.extend(commit.put.iter().map(|Installed { key, version }| (key.clone(), Wanted::File(version.clone()))));
        wanted.extend(commit.remove.iter().map(|Removed { key, empty }| (key.clone(), Wanted::Nothing(empty.clone()))));
        let (of_layer, told): (Vec<Told>, Vec<Told>) = commit.told.iter().cloned().partition(is_of_layer);
        wanted.extend(of_layer.into_iter().map(|Told { key, text }| (key, Wanted::Text(text))));
        let footprint = Footprint { run: commit.installer(), keys: wanted.keys().cloned().collect() };
        LoggedCommit { footprint, wanted, told }
    }
}

/// The commits that an installation has read.
#[derive(Default, Debug)]
struct CommitLog {
    commits: BTreeMap<u64, LoggedCommit>,
}

impl CommitLog {
    fn add(&mut self, commit: &Commit) {
        self.commits.insert(commit.number, LoggedCommit::of(commit));
    }

    /// Reads the commits that are to be verified after a hint, up to the newest one, unless they were read before.
    fn read(&mut self, output: &Output, hint: &Hint, newest: &Commit) -> Result<(), StoreError> {
        // The copy in a hint of a commit that is installed does not say what it told: beside an older hint, the log does.
        if hint.installed() < newest.number && !newest.told.is_empty() {
            self.add(newest);
        }
        let open = (hint.installed() + 1..=newest.number).chain(hint.commits_of_files());
        let missing: BTreeSet<u64> = open.filter(|number| !self.commits.contains_key(number)).collect();
        for number in missing {
            // A commit that was removed as too old was installed long ago.
            if let Some(commit) = commit::commit(output, number)? {
                self.add(&commit);
            }
        }
        Ok(())
    }

    /// What the newest commit up to a number wants at a place.
    fn wanted(&self, number: u64, key: &Key) -> Option<&Wanted> {
        self.commits.range(..=number).rev().find_map(|(_, commit)| commit.wanted.get(key))
    }

    /// Each of the places with the newest commit that changes it.
    fn newest(&self, keys: &BTreeSet<Key>) -> BTreeMap<Key, u64> {
        let newest = |key: &Key| self.commits.iter().rev().find(|(_, commit)| commit.wanted.contains_key(key)).map(|(number, _)| *number);
        keys.iter().filter_map(|key| Some((key.clone(), newest(key)?))).collect()
    }

    /// Writes the files that tell of each of the commits after a number, up to another.
    fn tell(&self, output: &Output, after: u64, up_to: u64) -> Result<(), StoreError> {
        let mut commits = self.commits.iter().filter(|(number, _)| **number > after && **number <= up_to);
        commits.try_for_each(|(_, commit)| tell(output, &commit.told))
    }
}

impl Log<Installer, Key> for CommitLog {
    type There = There;

    fn footprint(&self, number: u64) -> Option<&Footprint<Installer, Key>> {
        self.commits.get(&number).map(|commit| &commit.footprint)
    }

    fn wants(&self, number: u64, key: &Key, there: Option<&There>) -> bool {
        self.wanted(number, key).is_none_or(|wanted| wanted.is_there(there))
    }
}

/// Installs the files of all commits of a folder that are not known to be installed.
///
/// # Errors
/// An object that is not whole: nothing is then moved. I/O errors.
pub(super) fn complete_in_folder(output: &Output, head: &Head) -> Result<(), StoreError> {
    let mut log = CommitLog::default();
    log.read(output, &head.hint, &head.commit)?;
    let number = head.commit.number;
    let keys = head.hint.progress().keys_to_verify(number, &log);
    let wanted: BTreeMap<Key, Wanted> = keys.into_iter().filter_map(|key| Some((key.clone(), log.wanted(number, &key)?.clone()))).collect();
    wanted.values().try_for_each(|wanted| verify_object(output, wanted))?;
    install_in_folder(output, &wanted)?;
    log.tell(output, head.installed(), number)?;
    tell_of_layer(output, &wanted)?;
    put_hint_of_folder(output, &head.commit)
}

/// Notes in a folder that all commits up to this one are installed.
///
/// # Errors
/// I/O errors.
pub(super) fn put_hint_of_folder(output: &Output, record: &Commit) -> Result<(), StoreError> {
    commit::answer_of(Hint::of_installed(record).put(output)).map(drop)
}

/// Installs the files of a commit that its writer has just put, in a folder.
///
/// # Errors
/// I/O errors. The commit counts all the same.
pub(super) fn install_own_in_folder(output: &Output, record: &Commit) -> Result<(), StoreError> {
    let commit = LoggedCommit::of(record);
    install_in_folder(output, &commit.wanted)?;
    tell(output, &commit.told)?;
    tell_of_layer(output, &commit.wanted)
}

/// Installs the files of all commits of a bucket that are not known to be installed, and looks again at files that
/// others may have replaced by old ones. Returns the number of files that it has put.
///
/// # Errors
/// An object that is not whole; I/O errors.
pub(super) fn complete_in_bucket(output: &Output, head: Head) -> Result<usize, StoreError> {
    let mut log = CommitLog::default();
    log.read(output, &head.hint, &head.commit)?;
    let projection = Projection::of_reader(Installer::helper());
    let mut installer = BucketInstaller::new(output, projection, head.commit, log);
    installer.hint_read(head.hint);
    installer.projection.head_read(installer.newest.number);
    installer.finish()?;
    Ok(installer.installed)
}

/// What became of the files of a commit that its writer has installed.
#[derive(Debug)]
pub(super) enum OwnFiles {
    /// They are in place, and the hint says it.
    Told,
    /// They are in place, and this is what the hint is to say.
    ToTell(Box<Settlement>),
    /// They are in place. Other runs are at work: the last of them looks at all.
    LeftToOthers(Box<LeftCommit>),
}

/// A commit whose files are in place, and at which nobody has looked again.
#[derive(Clone, Debug)]
pub(super) struct LeftCommit {
    pub(super) record: Commit,
    /// Small objects that the next run reads, by their places.
    pub(super) copies: Option<BTreeMap<Key, Inlined>>,
}

/// Of so many commits one looks at the files of all, also while other runs are at work.
const LOOKED_EVERY: u64 = 16;

/// How many steps a writer takes for its own files while others come between. Without them it takes one.
const OWN_STEPS: usize = 30;

/// Who else may be at work while a writer installs its files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Beside {
    /// The hint names the runs that are at work.
    NamedRuns,
    /// The writer has no lease: it is named by none either.
    Unknown,
}

/// Installs the files of a commit that its writer has just put, in a bucket. `hint` was read before the commit was put.
///
/// # Errors
/// I/O errors before the files of the commit were all in place. The commit counts all the same.
pub(super) fn install_own_in_bucket(
    output: &Output,
    base: Option<&Head>,
    hint: Hint,
    record: &Commit,
    known: Known<'_>,
    beside: Beside,
) -> Result<OwnFiles, StoreError> {
    let has_others = beside == Beside::NamedRuns && hint.notes.has_others(Some(&record.run_id), UtcMicros::now());
    let mut answers = Answers::AllKnown;
    if has_others && !record.number.is_multiple_of(LOOKED_EVERY) {
        match install_own_alone(output, &hint, record, &known)? {
            Alone::InPlace => return Ok(OwnFiles::LeftToOthers(Box::new(LeftCommit { record: record.clone(), copies: known.copies }))),
            Alone::NotYet(known) => answers = known,
        }
    }
    let mut log = CommitLog::default();
    log.add(record);
    if let Some(base) = base {
        log.read(output, &hint, &base.commit)?;
    }
    let mut projection = Projection::of_writer(record.installer(), record.number, known.files(&hint));
    if answers == Answers::SomeLost {
        projection.doubt();
    }
    let mut installer = BucketInstaller::new(output, projection, record.clone(), log);
    installer.copies = known.copies;
    installer.hint_read(hint);
    match installer.advance(Some(known.local)) {
        Ok(Some(next)) => Ok(OwnFiles::ToTell(Box::new(Settlement { installer, next, record: record.clone() }))),
        Ok(None) => Ok(OwnFiles::Told),
        Err(error) if installer.is_in_place => {
            warn_unsettled(&error);
            Ok(OwnFiles::Told)
        }
        Err(error) => Err(error),
    }
}

/// Whether it is known of each put what became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answers {
    AllKnown,
    SomeLost,
}

/// What came of an installation that looks at no files of others.
enum Alone {
    /// The files are in place, and nothing of this writer can still arrive.
    InPlace,
    NotYet(Answers),
}

/// Installs the files of a commit, and looks at no others: as a writer does that dies before it looks at them. Many writers would
/// otherwise look at each other's files, again and again.
fn install_own_alone(output: &Output, hint: &Hint, record: &Commit, known: &Known<'_>) -> Result<Alone, StoreError> {
    let mut log = CommitLog::default();
    log.add(record);
    let mut projection = Projection::of_writer(record.installer(), record.number, known.files(hint));
    projection.hint_read(Progress { number: record.number - 1, ..Progress::default() }, BTreeSet::new());
    let mut installer = BucketInstaller::new(output, projection, record.clone(), log);
    installer.told = record.number - 1;
    for _ in 0..OWN_STEPS {
        let own = OwnCommit { log: &installer.log, number: record.number };
        match installer.projection.next(&own) {
            Step::ReadFiles(keys) => installer.read_files(keys)?,
            Step::ReadHead => installer.read_head()?,
            Step::Install(files) => installer.install(files, Some(known.local))?,
            Step::Settle(_) if installer.projection.is_certain() => {
                installer.tell(record.number)?;
                return Ok(Alone::InPlace);
            }
            Step::Settle(_) | Step::ReadHint | Step::PutHint(_) | Step::Done => break,
        }
    }
    Ok(Alone::NotYet(if installer.projection.is_certain() { Answers::AllKnown } else { Answers::SomeLost }))
}

/// The log, as if the files of no other commit were to be looked at. What belongs at a place, the whole log says.
struct OwnCommit<'l> {
    log: &'l CommitLog,
    number: u64,
}

impl Log<Installer, Key> for OwnCommit<'_> {
    type There = There;

    fn footprint(&self, number: u64) -> Option<&Footprint<Installer, Key>> {
        self.log.footprint(number).filter(|_| number == self.number)
    }

    fn wants(&self, number: u64, key: &Key, there: Option<&There>) -> bool {
        self.log.wants(number, key, there)
    }
}

/// Looks at the files of all commits that were left to others. What fails is left to the next command.
pub(super) fn complete_what_was_left(output: &Output) {
    let complete = || match commit::head(output)? {
        Some(head) if !head.is_settled() => complete_in_bucket(output, head).map(drop),
        _ => Ok(()),
    };
    if let Err(error) = complete() {
        warn_unsettled(&error);
    }
}

fn warn_unsettled(error: &StoreError) {
    tracing::warn!(%error, "the run is published; later commands look at its files again");
}

/// An installation whose files are in place, and what the hint is to say then. Whoever holds a lease says it at the end of that,
/// which spares a request.
#[derive(Debug)]
pub(super) struct Settlement {
    installer: BucketInstaller,
    next: Progress,
    record: Commit,
}

impl Settlement {
    /// Puts the hint now.
    ///
    /// # Errors
    /// I/O errors, if another writer came between and the files may not be in place any more.
    pub(super) fn put(mut self) -> Result<(), StoreError> {
        match self.installer.put_hint(self.next).and_then(|()| self.installer.finish()) {
            Err(error) if self.installer.is_in_place => {
                warn_unsettled(&error);
                Ok(())
            }
            ended => ended,
        }
    }

    /// Writes it into a hint that is about to be put for another reason.
    pub(super) fn write_to(&self, hint: &mut Hint) -> TakenUp {
        self.installer.update(&self.next).write_to(hint)
    }

    /// The commit, if nothing of its writer can still arrive: then the look at its files may be left to other runs.
    pub(super) fn to_leave(&self) -> Option<LeftCommit> {
        let left = || LeftCommit { record: self.record.clone(), copies: self.installer.copies.clone() };
        self.installer.projection.is_certain().then(left)
    }

    /// The commit.
    pub(super) fn record(&self) -> &Commit {
        &self.record
    }

    /// Goes on where the hint did not take it up: another writer may have put files meanwhile.
    pub(super) fn go_on(mut self) {
        self.installer.projection.hint_put(self.next, &Answer::<()>::Conflict);
        if let Err(error) = self.installer.finish() {
            warn_unsettled(&error);
        }
    }
}

/// Does in a bucket what the protocol says, until everything up to the head of the log is installed.
#[derive(Debug)]
struct BucketInstaller {
    output: Output,
    log: CommitLog,
    projection: Projection<Installer, Key, There>,
    /// The newest commit that was read.
    newest: Commit,
    /// The hint that was read or put last.
    hint: Hint,
    /// The commit that is to be installed.
    own: u64,
    /// Whether that was verified, by this process or by another.
    is_in_place: bool,
    /// Up to where the files that tell of each commit are written.
    told: u64,
    /// The version of the manifest of the whole layer that was read or put last.
    manifest: Option<Tag>,
    /// Small objects of the own commit that the next run reads.
    copies: Option<BTreeMap<Key, Inlined>>,
    /// The number of files that were put.
    installed: usize,
    steps: usize,
    started: Instant,
}

impl BucketInstaller {
    fn new(output: &Output, projection: Projection<Installer, Key, There>, newest: Commit, log: CommitLog) -> BucketInstaller {
        BucketInstaller {
            output: output.clone(),
            log,
            projection,
            own: newest.number,
            newest,
            hint: Hint::default(),
            is_in_place: false,
            told: 0,
            manifest: None,
            copies: None,
            installed: 0,
            steps: 0,
            started: Instant::now(),
        }
    }

    /// Goes on until everything up to the head is in place. Returns what the hint is to say then, unless it does. `local` finds
    /// local files of the own commit.
    fn advance(&mut self, local: Option<&LocalFile<'_>>) -> Result<Option<Progress>, StoreError> {
        while self.steps < MOST_STEPS {
            self.steps += 1;
            match self.projection.next(&self.log) {
                Step::ReadHint => self.read_hint()?,
                Step::ReadHead => self.read_head()?,
                Step::ReadFiles(keys) => self.read_files(keys)?,
                Step::Install(files) => self.install(files, local)?,
                Step::PutHint(next) => self.put_hint(next)?,
                Step::Settle(next) => {
                    self.tell(next.number)?;
                    self.is_in_place = true;
                    return Ok(Some(next));
                }
                Step::Done => return Ok(None),
            }
        }
        Err(Hint::overtaken(&self.output))
    }

    /// Goes on until the hint says that everything up to the head is in place.
    fn finish(&mut self) -> Result<(), StoreError> {
        while let Some(next) = self.advance(None)? {
            self.put_hint(next)?;
        }
        Ok(())
    }

    /// Takes up a hint whose commits were read.
    fn hint_read(&mut self, hint: Hint) {
        let writers = self.log.commits.values().map(|commit| &commit.footprint.run);
        let named = hint.notes.unsettled.iter().map(|unsettled| &unsettled.by);
        // Who is done puts nothing any more, as if it were gone.
        let done = hint.notes.unsettled.iter().filter(|unsettled| unsettled.is_done).map(|unsettled| &unsettled.by);
        let gone = named.chain(writers).filter(|who| who.is_gone()).chain(done).cloned().collect();
        let progress = hint.progress();
        // Where this process is named, the hint says nothing of its files.
        self.is_in_place = progress.number >= self.own && !progress.unsettled.contains_key(self.projection.me());
        self.told = self.told.max(progress.number);
        self.projection.hint_read(progress, gone);
        self.hint = hint;
    }

    /// Reads the hint, then the log.
    fn read_hint(&mut self) -> Result<(), StoreError> {
        let head = commit::head(&self.output)?.unwrap_or_else(|| Head::new(self.newest.clone(), Hint::default()));
        self.log.read(&self.output, &head.hint, &head.commit)?;
        self.hint_read(head.hint);
        self.projection.head_read(head.commit.number);
        self.newest = head.commit;
        Ok(())
    }

    fn read_head(&mut self) -> Result<(), StoreError> {
        while let Some(next) = commit::commit(&self.output, self.newest.number + 1)? {
            self.log.add(&next);
            self.newest = next;
        }
        self.projection.head_read(self.newest.number);
        Ok(())
    }

    fn read_files(&mut self, keys: BTreeSet<Key>) -> Result<(), StoreError> {
        let (output, keys, found) = (&self.output, Vec::from_iter(keys), Mutex::new(Vec::new()));
        at_once(&keys, |key| {
            let object = output.object(key)?;
            let there = object.map(|object| There { content: Some(Fingerprint::of(&object.bytes)), tag: object.tag });
            found.lock().unwrap_or_else(PoisonError::into_inner).push((key.clone(), there));
            Ok(())
        })?;
        for (key, there) in found.into_inner().unwrap_or_else(PoisonError::into_inner) {
            self.note_manifest(&key, there.as_ref());
            self.projection.file_read(key, there);
        }
        Ok(())
    }

    fn install(&mut self, files: BTreeMap<Key, Option<There>>, local: Option<&LocalFile<'_>>) -> Result<(), StoreError> {
        let (files, answers) = (Vec::from_iter(files), Mutex::new(Vec::new()));
        at_once(&files, |(key, there)| {
            let answer = self.put_file(key, there.as_ref(), local)?;
            answers.lock().unwrap_or_else(PoisonError::into_inner).push((key.clone(), answer));
            Ok(())
        })?;
        for (key, answer) in answers.into_inner().unwrap_or_else(PoisonError::into_inner) {
            let put = if let Answer::Done(there) = &answer { Some(there) } else { None };
            self.installed += usize::from(put.is_some());
            self.note_manifest(&key, put);
            self.projection.file_put(key, answer);
        }
        Ok(())
    }

    /// Notes the version of the manifest of the whole layer, if this is it.
    fn note_manifest(&mut self, key: &Key, there: Option<&There>) {
        if key.as_str() == places::WHOLE_MANIFEST {
            self.manifest = there.map(|there| there.tag.clone());
        }
    }

    /// Fails if this process has had its time: later commands no longer look at what it puts.
    fn refuse_if_late(&self) -> Result<(), StoreError> {
        // One clock may stand still while a machine sleeps, the other may be set.
        if !self.projection.me().has_slept() && self.started.elapsed() <= Installer::WORKS_FOR {
            return Ok(());
        }
        let detail = format!(
            "this process has been at its publish for more than {}, so it puts no more files in place: run `etl status`, which puts the rest",
            span_text(Installer::WORKS_FOR)
        );
        Err(StoreError::Refused { location: self.output.location(), detail })
    }

    /// Puts a file in place of what is there.
    fn put_file(&self, key: &Key, there: Option<&There>, local: Option<&LocalFile<'_>>) -> Result<Answer<There>, StoreError> {
        self.refuse_if_late()?;
        let condition = there.map_or(Condition::Absent, |there| Condition::Is(there.tag.clone()));
        let (put, content) = match self.log.wanted(self.newest.number, key) {
            Some(Wanted::File(version) | Wanted::Nothing(Some(version))) => {
                (self.put_version(key, version, &condition, local), version.fingerprint())
            }
            Some(Wanted::Text(text)) => {
                let bytes = text.as_bytes();
                (self.output.store().put(key, Content::Bytes(bytes), &condition), Fingerprint::of(bytes))
            }
            // The protocol does not ask for it.
            Some(Wanted::Nothing(None)) | None => return Ok(Answer::Conflict),
        };
        Ok(commit::answer_of(put)?.map(|tag| There { tag, content: Some(content) }))
    }

    fn put_version(&self, key: &Key, version: &ObjectRef, condition: &Condition, local: Option<&LocalFile<'_>>) -> Result<Tag, PutError> {
        if let Some(path) = local.and_then(|local| local(version)) {
            return self.output.store().put(key, Content::File(&path), condition);
        }
        let bytes = self.output.read_version(version)?;
        self.output.store().put(key, Content::Bytes(&bytes), condition)
    }

    /// Writes the files that tell of each commit up to a number, unless they are written.
    fn tell(&mut self, number: u64) -> Result<(), StoreError> {
        self.log.tell(&self.output, self.told, number)?;
        self.told = self.told.max(number);
        Ok(())
    }

    /// What the hint is to say, in the words of the store.
    fn update(&self, next: &Progress) -> HintUpdate {
        let files = next.unsettled.iter().map(|(by, keys)| Unsettled { files: self.log.newest(keys), ..Unsettled::writer(by.clone()) });
        // One whose commits are all removed has had its time.
        let files = files.filter(|unsettled| !unsettled.files.is_empty());
        let copies = if self.newest.number == self.own { self.copies.clone() } else { None };
        HintUpdate {
            newest: self.newest.clone(),
            installed: next.number,
            unsettled: files.chain(next.writers.iter().cloned().map(Unsettled::writer)).collect(),
            counted: self.log.commits.range(..=next.number).map(|(_, commit)| commit.footprint.run.clone()).collect(),
            replaces: self.hint.progress(),
            manifest: self.manifest.clone(),
            copies,
        }
    }

    fn put_hint(&mut self, next: Progress) -> Result<(), StoreError> {
        let answer = self.update(&next).put(&self.output, &mut self.hint)?;
        // It also names the writers that left since it was read.
        let put = if matches!(answer, Answer::Done(_)) { self.hint.progress() } else { next };
        self.projection.hint_put(put, &answer);
        Ok(())
    }
}

/// Writes the files that tell of one commit alone: its report and its manifest, and not that of the whole layer.
fn tell(output: &Output, told: &[Told]) -> Result<(), StoreError> {
    if output.folder().is_some() {
        // Whoever installs holds the lock.
        return told.iter().try_for_each(|told| output.replace(&told.key, told.text.as_bytes()));
    }
    told.iter().try_for_each(|told| tell_in_bucket(output, told))
}

/// Puts a file that tells of one commit, if nobody has done so. The run or an erasure may have replaced it since: a
/// process that slept must not put the old one over it. Only a report that names no commit is replaced: its run did not
/// know whether it is committed.
fn tell_in_bucket(output: &Output, told: &Told) -> Result<(), StoreError> {
    let mut condition = Condition::Absent;
    let mut lost = None;
    for _ in 0..TELL_ATTEMPTS {
        match output.store().put(&told.key, Content::Bytes(told.text.as_bytes()), &condition) {
            Ok(_) => return Ok(()),
            Err(PutError::Conflict) => {}
            // A client repeats no conditional request by itself. It may have arrived: what is there tells.
            Err(PutError::Unknown(error)) => lost = Some(error),
            Err(PutError::Io(error)) => return Err(error),
        }
        condition = match output.object(&told.key)? {
            Some(there) if is_report(&told.key) && !names_commit(&there.bytes) => Condition::Is(there.tag),
            Some(_) => return Ok(()),
            None => Condition::Absent,
        };
    }
    Err(lost.unwrap_or_else(|| StoreError::Overtaken { location: output.location_of(&told.key) }))
}

fn is_report(key: &Key) -> bool {
    key.folder() == Some(places::REPORTS)
}

/// Whether a report is that of a commit.
fn names_commit(report: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Report {
        commit: Option<u64>,
    }
    serde_json::from_slice::<Report>(report).is_ok_and(|report| report.commit.is_some())
}

/// Whether a file tells of the whole layer: then that of the newest commit belongs there.
fn is_of_layer(told: &Told) -> bool {
    told.key.as_str() == places::WHOLE_MANIFEST
}

/// Writes the file that tells of the whole layer, in a folder.
fn tell_of_layer(output: &Output, wanted: &BTreeMap<Key, Wanted>) -> Result<(), StoreError> {
    wanted.iter().try_for_each(|(key, wanted)| match wanted {
        Wanted::Text(text) => output.replace(key, text.as_bytes()),
        Wanted::File(_) | Wanted::Nothing(_) => Ok(()),
    })
}

/// Verifies that the object of a file is whole, before anything is moved.
fn verify_object(output: &Output, wanted: &Wanted) -> Result<(), StoreError> {
    match wanted {
        Wanted::File(version) => output.read_version(version).map(drop),
        Wanted::Nothing(_) | Wanted::Text(_) => Ok(()),
    }
}

/// Puts the objects in place by renames, and removes what is to be removed. What tells of the layer comes later.
fn install_in_folder(output: &Output, wanted: &BTreeMap<Key, Wanted>) -> Result<(), StoreError> {
    let mut folders = BTreeSet::new();
    for (key, wanted) in wanted {
        let place = output.at(key);
        match wanted {
            Wanted::File(version) => {
                if let Some(folder) = place.parent() {
                    create_durably(folder)?;
                    folders.insert(folder.to_owned());
                }
                put_in_place(output, version, &place)?;
            }
            Wanted::Nothing(_) => {
                disk::remove_file(&place)?;
                if let Some(folder) = place.parent() {
                    // A folder that is not empty stays. A missing folder is not an error.
                    let _ = fs::remove_dir(folder);
                    folders.extend([folder, folder.parent().unwrap_or(folder)].map(Path::to_owned));
                }
            }
            Wanted::Text(_) => {}
        }
    }
    folders.iter().filter(|folder| folder.exists()).try_for_each(|folder| disk::sync(folder))
}

/// Gives an object a second name at its place. Nothing is done where that is its name already: a rename between two names of one
/// file would do nothing, and leave both.
pub(super) fn put_in_place(output: &Output, version: &ObjectRef, place: &Path) -> Result<(), StoreError> {
    let object = output.at(&version.object);
    if disk::is_same_file(&object, place) {
        return Ok(());
    }
    let staging = output.at(places::STAGING);
    create_durably(&staging)?;
    let second = staging.join(format!(".install-{}-{}", std::process::id(), version.checksum));
    disk::second_name(&object, &second)?;
    fs::rename(&second, place).map_err(|error| {
        let _ = fs::remove_file(&second);
        StoreError::io("put in place", place)(error)
    })
}

/// Takes back what was installed of a commit in a folder: each place gets its version before, or none.
///
/// # Errors
/// A version that is not kept, or what the disk refuses: the commit must then be finished.
pub(super) fn take_back(output: &Output, commit: &Commit, before: &dyn Fn(&Key) -> Option<ObjectRef>) -> Result<(), StoreError> {
    let mut folders = BTreeSet::new();
    let places = commit.put.iter().map(|put| &put.key).chain(commit.remove.iter().map(|removed| &removed.key));
    for key in places {
        let place = output.at(key);
        match before(key) {
            Some(version) => {
                if let Some(folder) = place.parent() {
                    create_durably(folder)?;
                }
                put_in_place(output, &version, &place)?;
            }
            None => {
                disk::remove_file(&place)?;
                if let Some(folder) = place.parent() {
                    let _ = fs::remove_dir(folder);
                }
            }
        }
        folders.extend(place.parent().map(Path::to_owned));
    }
    // The manifest of the whole layer is written last, and was not replaced.
    for told in commit.told.iter().filter(|told| !is_of_layer(told)) {
        disk::remove_file(&output.at(&told.key))?;
    }
    folders.iter().filter(|folder| folder.exists()).try_for_each(|folder| disk::sync(folder))?;
    let record = output.at(places::commit(commit.number));
    disk::remove_file(&record)?;
    match disk::sync_parent(&record) {
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        synced => synced,
    }
}
