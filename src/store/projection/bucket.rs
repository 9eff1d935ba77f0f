//! Installs the files of commits in a bucket. A file is replaced only in the version that was seen, so that a writer
//! that slept can't put an old file over a newer one.
//!
//! Makes the requests that [`protocol`](crate::store::protocol) asks for, one step after the other, and decides none of
//! them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use super::{CommitLog, There, Wanted};
use crate::{
    model::{UtcMicros, span_text},
    store::{
        Commit, Condition, Content, Head, Inlined, Key, ObjectRef, Output, PutError, StoreError, Tag,
        commit::{self, Installer},
        disk::Fingerprint,
        hint::{Hint, HintUpdate, Progress, TakenUp, Unsettled},
        output::at_once,
        places,
        protocol::{Answer, Projection, Step},
    },
};

/// How many steps an installation takes at most while other writers come between. Without them it takes about five.
const MOST_STEPS: usize = 200;

/// Finds the local file with the content of an object.
type LocalFile<'a> = dyn Fn(&ObjectRef) -> Option<PathBuf> + Sync + 'a;

/// What the writer of a commit knows, which spares requests.
pub(in crate::store) struct Known<'a> {
    /// The versions of places that the writer has read before its commit; `None` where nothing was.
    pub(in crate::store) seen: &'a BTreeMap<Key, Option<Tag>>,
    /// The local file with the content of an object.
    pub(in crate::store) local: &'a LocalFile<'a>,
    /// Small objects that the next run reads, by their places; `None` if those of before stay.
    pub(in crate::store) copies: Option<BTreeMap<Key, Inlined>>,
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

/// Installs the files of all commits of a bucket that are not known to be installed, and looks again at files that
/// others may have replaced by old ones. Returns the number of files that it has put.
///
/// # Errors
/// An object that is not whole; I/O errors.
pub(in crate::store) fn complete_in_bucket(output: &Output, head: Head) -> Result<usize, StoreError> {
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
pub(in crate::store) enum OwnFiles {
    /// They are in place, and the hint says it.
    Told,
    /// They are in place, and this is what the hint is to say.
    ToTell(Box<Settlement>),
    /// They are in place. Other runs are at work: the last of them looks at all.
    LeftToOthers(Box<LeftCommit>),
}

/// A commit whose files are in place, and at which nobody has looked again.
#[derive(Clone, Debug)]
pub(in crate::store) struct LeftCommit {
    pub(in crate::store) record: Commit,
    /// Small objects that the next run reads, by their places.
    pub(in crate::store) copies: Option<BTreeMap<Key, Inlined>>,
}

/// Of so many commits one looks at the files of all, also while other runs are at work.
const LOOKED_EVERY: u64 = 16;

/// How many steps a writer takes for its own files while others come between. Without them it takes one.
const OWN_STEPS: usize = 30;

/// Who else may be at work while a writer installs its files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::store) enum Beside {
    /// The hint names the runs that are at work.
    NamedRuns,
    /// The writer has no lease: it is named by none either.
    Unknown,
}

/// Installs the files of a commit that its writer has just put, in a bucket. `hint` was read before the commit was put.
///
/// # Errors
/// I/O errors before the files of the commit were all in place. The commit counts all the same.
pub(in crate::store) fn install_own_in_bucket(
    output: &Output,
    base: Option<&Head>,
    hint: Hint,
    record: &Commit,
    known: Known<'_>,
    beside: Beside,
) -> Result<OwnFiles, StoreError> {
    let has_others = beside == Beside::NamedRuns && hint.notes.has_others(Some(&record.run_id), UtcMicros::now());
    let mut answers = Answers::AllKnown;
    if has_others {
        match install_own_alone(output, &hint, record, &known)? {
            Alone::InPlace => {
                let left = LeftCommit { record: record.clone(), copies: known.copies };
                return look_or_leave(output, base, hint, left);
            }
            Alone::NotYet(known) => answers = known,
        }
    }
    let mut projection = Projection::of_writer(record.installer(), record.number, known.files(&hint));
    if answers == Answers::SomeLost {
        projection.doubt();
    }
    let mut installer = BucketInstaller::new(output, projection, record.clone(), CommitLog::default());
    installer.copies = known.copies;
    installer.begin(base, hint)?;
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

/// Leaves a commit, whose files are in place, to the other runs at work. For some commits it first looks at the files
/// of all; if that fails, the commit is left to the others all the same.
fn look_or_leave(output: &Output, base: Option<&Head>, hint: Hint, left: LeftCommit) -> Result<OwnFiles, StoreError> {
    let record = &left.record;
    if !record.number.is_multiple_of(LOOKED_EVERY) {
        return Ok(OwnFiles::LeftToOthers(Box::new(left)));
    }
    // Whatever the writer has read or put before is read again, as the files of others are.
    let projection = Projection::of_writer(record.installer(), record.number, BTreeMap::new());
    let mut installer = BucketInstaller::new(output, projection, record.clone(), CommitLog::default());
    installer.copies.clone_from(&left.copies);
    let looked = installer.begin(base, hint).and_then(|()| installer.advance(None));
    match looked {
        Ok(Some(next)) => Ok(OwnFiles::ToTell(Box::new(Settlement { installer, next, record: left.record }))),
        Ok(None) => Ok(OwnFiles::Told),
        // Else a put of this writer may still arrive: then it must not say that it is done.
        Err(error) if installer.projection.is_certain() => {
            warn_unsettled(&error);
            Ok(OwnFiles::LeftToOthers(Box::new(left)))
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
        match installer.projection.next(&installer.log) {
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

/// Looks at the files of all commits that were left to others. What fails is left to the next command.
pub(in crate::store) fn complete_what_was_left(output: &Output) {
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
pub(in crate::store) struct Settlement {
    installer: BucketInstaller,
    next: Progress,
    record: Commit,
}

impl Settlement {
    /// Puts the hint now.
    ///
    /// # Errors
    /// I/O errors, if another writer came between and the files may not be in place any more.
    pub(in crate::store) fn put(mut self) -> Result<(), StoreError> {
        match self.installer.put_hint(self.next).and_then(|()| self.installer.finish()) {
            Err(error) if self.installer.is_in_place => {
                warn_unsettled(&error);
                Ok(())
            }
            ended => ended,
        }
    }

    /// Writes it into a hint that is about to be put for another reason.
    pub(in crate::store) fn write_to(&self, hint: &mut Hint) -> TakenUp {
        self.installer.update(&self.next).write_to(hint)
    }

    /// The commit, if nothing of its writer can still arrive: then the look at its files may be left to other runs.
    pub(in crate::store) fn to_leave(&self) -> Option<LeftCommit> {
        let left = || LeftCommit { record: self.record.clone(), copies: self.installer.copies.clone() };
        self.installer.projection.is_certain().then(left)
    }

    /// The commit.
    pub(in crate::store) fn record(&self) -> &Commit {
        &self.record
    }

    /// Goes on where the hint did not take it up: another writer may have put files meanwhile.
    pub(in crate::store) fn go_on(mut self) {
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

    /// Reads the commits that a hint leaves open, up to the own one, and takes up the hint.
    fn begin(&mut self, base: Option<&Head>, hint: Hint) -> Result<(), StoreError> {
        self.log.add(&self.newest);
        if let Some(base) = base {
            self.log.read(&self.output, &hint, &base.commit)?;
        }
        self.hint_read(hint);
        Ok(())
    }

    /// Goes on until everything up to the target is in place. Returns what the hint is to say then, unless it does.
    /// `local` finds local files of the own commit.
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

    /// Goes on until the hint says that everything up to the target is in place.
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
        let put_all = at_once(&files, |(key, there)| {
            let answer = self.put_file(key, there.as_ref(), local)?;
            answers.lock().unwrap_or_else(PoisonError::into_inner).push((key.clone(), answer));
            Ok(())
        });
        // A thread that panicked may have begun a put.
        if matches!(put_all, Err(StoreError::Worker)) {
            self.projection.doubt();
        }
        // Also where one was refused: the answer of another may be lost.
        for (key, answer) in answers.into_inner().unwrap_or_else(PoisonError::into_inner) {
            let put = if let Answer::Done(there) = &answer { Some(there) } else { None };
            self.installed += usize::from(put.is_some());
            self.note_manifest(&key, put);
            self.projection.file_put(key, answer);
        }
        put_all
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
