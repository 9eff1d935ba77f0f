//! Publishing many files as one step.
//!
//! ```text
//! Staging ──place──▶ (objects are there) ──decide──▶ (the record is there = the run counts) ──▶ installed
//!    │                    │ another run was first: merge again, place, decide        │
//!    │ cut off: nothing counts; the next command in a folder removes it            │ cut off: the next command installs
//! ```
//! A run stages whole files in a local folder. They become immutable objects, then the record of the commit is put, then the
//! files are installed at their places. In a folder, the decision and the installation hold one lock: what the disk refuses after
//! the decision is taken back, so that a failed run leaves everything as before.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::Deserialize;

use super::{
    Commit, Condition, Content, Head, Inlined, Installed, Key, Lease, NewCommit, ObjectRef, Output, PutError, Removed, Scratch, StoreError,
    Tag, atomic,
    commit::{self, AppendError, Told},
    disk::{self, Fingerprint},
    folder::{create_durably, create_missing, entries},
    lease,
    moment::Moment,
    output::at_once,
    places::{self, LOCK, Role},
    projection::{self, Beside, OwnFiles},
};
use crate::cancel::Cancel;

/// A file that a run has staged.
#[derive(Clone, Debug)]
struct StagedFile {
    key: Key,
    version: ObjectRef,
    /// Whether its object is there.
    is_placed: bool,
}

/// What a run has staged so far. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Staging {
    output: Output,
    run_id: String,
    folder: PathBuf,
    scratch: Scratch,
    /// By key.
    files: BTreeMap<Key, StagedFile>,
    /// Files that the attempt before had staged for places of the layer: this one may take them up again.
    earlier: BTreeMap<Key, StagedFile>,
    told: Vec<Told>,
    remove: BTreeSet<Key>,
    /// The objects of this run in a bucket, of all attempts: those that it has put, or has begun to put.
    placed: BTreeSet<Key>,
    /// Versions that stand at their places, and are not objects yet.
    adopted: BTreeMap<Key, ObjectRef>,
    /// The versions of places in a bucket that the run has read.
    seen: BTreeMap<Key, Option<Tag>>,
    /// Small objects that the next run in a bucket reads, by their places; `None` if those of before stay.
    copies: Option<BTreeMap<Key, Inlined>>,
    /// How often the run had to merge again.
    attempt: usize,
    begun: Moment,
    keep: bool,
}

/// How long after the layer was read a run may still commit: less than a vacuum leaves alone.
const LATEST_DECISION: Duration = Duration::from_secs(20 * 3600);

/// Why a commit was not decided.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// Another run was committed since this one read the layer.
    #[error("another run was committed first")]
    Moved,
    /// I/O errors, or a signal before the decision.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Staging {
    /// An empty staging folder for a run.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn create(output: &Output, run_id: &str) -> Result<Staging, StoreError> {
        Staging::with_scratch(output, run_id, Scratch::create()?)
    }

    /// An empty staging folder for a run, which keeps in `scratch` what it will not publish.
    pub(super) fn with_scratch(output: &Output, run_id: &str, scratch: Scratch) -> Result<Staging, StoreError> {
        let folder = match output.folder() {
            Some(root) => root.join(places::STAGING).join(run_id),
            None => scratch.path().join("staging"),
        };
        disk::create_folder(&folder)?;
        Ok(Staging {
            output: output.clone(),
            run_id: run_id.to_owned(),
            folder,
            scratch,
            files: BTreeMap::new(),
            earlier: BTreeMap::new(),
            told: Vec::new(),
            remove: BTreeSet::new(),
            placed: BTreeSet::new(),
            adopted: BTreeMap::new(),
            seen: BTreeMap::new(),
            copies: None,
            attempt: 0,
            begun: Moment::now(),
            keep: false,
        })
    }

    /// Where the run may keep what it will not publish: a local folder outside of the output.
    pub fn scratch(&self) -> PathBuf {
        self.scratch.path().join("run")
    }

    /// Where the file for a place beneath the output is staged.
    pub fn staged(&self, place: impl AsRef<Path>) -> PathBuf {
        self.folder.join("tree").join(place)
    }

    /// Stages the content of a place beneath the output.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn put(&mut self, key: impl Into<Key>, bytes: &[u8]) -> Result<ObjectRef, StoreError> {
        let key = key.into();
        if places::role(&key) == Role::Told {
            let version = ObjectRef::new(key.clone(), Fingerprint::of(bytes));
            self.told.retain(|told| told.key != key);
            self.told.push(Told { key, text: String::from_utf8_lossy(bytes).into_owned() });
            return Ok(version);
        }
        disk::write_staged(&self.staged(&key), bytes)?;
        Ok(self.put_written(key, Fingerprint::of(bytes)))
    }

    /// Takes up a file that was written to [`Staging::staged`] already.
    pub fn put_written(&mut self, key: impl Into<Key>, file: Fingerprint) -> ObjectRef {
        let key = key.into();
        let object = match places::role(&key) {
            Role::Projected => places::object_of(&key, &self.run_id, self.attempt),
            Role::Own | Role::Told => key.clone(),
        };
        let version = ObjectRef::new(object, file);
        self.remove.remove(&key);
        self.files.insert(key.clone(), StagedFile { key, version: version.clone(), is_placed: false });
        version
    }

    /// The version that was staged for a place.
    pub fn version(&self, key: &Key) -> Option<ObjectRef> {
        self.files.get(key).map(|file| file.version.clone())
    }

    /// The places in a folder for which a file was staged.
    pub fn keys_in(&self, folder: &str) -> Vec<Key> {
        self.files.keys().filter(|key| key.folder() == Some(folder)).cloned().collect()
    }

    /// Notes that a place beneath the output is to be empty.
    pub fn remove(&mut self, key: impl Into<Key>) {
        let key = key.into();
        self.files.remove(&key);
        self.remove.insert(key);
    }

    /// Forgets what was staged for a place.
    pub fn unstage(&mut self, key: &Key) {
        self.files.remove(key);
        self.remove.remove(key);
    }

    /// Notes a version that stands at its place without an object, such as a file that somebody edited: it becomes one.
    pub fn adopt(&mut self, key: Key, version: ObjectRef) {
        self.adopted.insert(key, version);
    }

    /// Notes the version of a place in a bucket that the run has read; `None` if nothing was there.
    pub fn saw(&mut self, key: Key, tag: Option<Tag>) {
        self.seen.insert(key, tag);
    }

    /// Copies small objects beside the record, by their places, so that the next run in a bucket needs no requests for them.
    pub fn copy_beside(&mut self, copies: BTreeMap<Key, Inlined>) {
        self.copies = Some(copies);
    }

    /// Whether an object costs requests: to put it, and to read it.
    pub fn is_in_bucket(&self) -> bool {
        self.output.folder().is_none()
    }

    /// Begins another attempt: what is staged from now on is another version. What becomes of a place of the layer is decided anew:
    /// where other runs have emptied it meanwhile, this one may have nothing for it any more. What the attempt before told of itself,
    /// its lineage and the rows that violate checks are those of a commit that was not made.
    pub fn begin_attempt(&mut self) {
        self.told.clear();
        self.copies = None;
        self.remove.clear();
        let violations = places::violations(&self.run_id);
        self.files.retain(|key, _| {
            let folder = key.folder();
            folder != Some(places::LINEAGE) && folder != Some(violations.as_str())
        });
        let (of_layer, own) = std::mem::take(&mut self.files).into_iter().partition(|(key, _)| places::role(key) == Role::Projected);
        (self.earlier, self.files) = (of_layer, own);
        if self.is_late() {
            self.files.values_mut().chain(self.earlier.values_mut()).for_each(|file| file.is_placed = false);
        }
        self.attempt += 1;
        self.begun = Moment::now();
    }

    /// Takes up again what the attempt before had staged for a place of the layer; `None` if it had nothing for it.
    pub fn take_up_again(&mut self, key: &Key) -> Option<ObjectRef> {
        let file = self.earlier.remove(key)?;
        let version = file.version.clone();
        self.remove.remove(key);
        self.files.insert(key.clone(), file);
        Some(version)
    }

    /// Whether the layer was read so long ago that a vacuum may have removed what this run relies on.
    fn is_late(&self) -> bool {
        self.output.folder().is_none() && self.begun.elapsed() > LATEST_DECISION
    }

    /// The files that the commit installs.
    pub fn installed(&self) -> Vec<Installed> {
        let projected = self.files.values().filter(|file| places::role(&file.key) == Role::Projected);
        projected.map(|file| Installed { key: file.key.clone(), version: file.version.clone() }).collect()
    }

    /// The places that the commit empties. `empty` makes the content of a file without rows, for a bucket.
    ///
    /// # Errors
    /// What the store refuses, or `empty` fails with.
    pub fn removed(&mut self, empty: impl Fn(&Key) -> Result<Vec<u8>, StoreError>) -> Result<Vec<Removed>, StoreError> {
        let mut removed = Vec::new();
        for key in self.remove.clone() {
            if places::role(&key) != Role::Projected {
                continue;
            }
            let in_bucket = self.output.folder().is_none();
            let empty = if in_bucket { Some(self.put_empty(&key, &empty(&key)?)?) } else { None };
            removed.push(Removed { key, empty });
        }
        Ok(removed)
    }

    /// Puts the object of a file without rows.
    fn put_empty(&self, key: &Key, bytes: &[u8]) -> Result<ObjectRef, StoreError> {
        let object = places::object_of(key, &format!("{}-empty", self.run_id), self.attempt);
        put_immutable(&self.output, &object, Content::Bytes(bytes))?;
        Ok(ObjectRef::new(object, Fingerprint::of(bytes)))
    }

    /// What is told of the commit.
    pub fn told(&self) -> Vec<Told> {
        self.told.clone()
    }

    /// Makes everything that was staged durable, and sees to it that nothing will keep it from its places: what can be refused is
    /// refused here, before the decision. `before` are the versions that stand at places now.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Interrupted`].
    pub fn place(&mut self, before: &dyn Fn(&Key) -> Option<ObjectRef>, cancel: &Cancel) -> Result<(), StoreError> {
        if cancel.is_stopped() {
            return Err(StoreError::Interrupted);
        }
        if self.output.folder().is_some() {
            self.place_in_folder(before, cancel)?
        } else {
            self.place_in_bucket(before, cancel)?
        }
        self.files.values_mut().for_each(|file| file.is_placed = true);
        Ok(())
    }

    fn unplaced(&self) -> Vec<StagedFile> {
        self.files.values().filter(|file| !file.is_placed).cloned().collect()
    }

    fn place_in_folder(&self, before: &dyn Fn(&Key) -> Option<ObjectRef>, cancel: &Cancel) -> Result<(), StoreError> {
        for (key, version) in &self.adopted {
            self.keep_object(key, version)?;
        }
        let replaced = self.files.keys().filter(|key| places::role(key) == Role::Projected).chain(&self.remove);
        for key in replaced {
            if let Some(version) = before(key) {
                self.keep_object(key, &version)?;
            }
        }
        // Those that hold a file, and those above them: whoever made a folder may have been cut off before its entry was durable.
        let (mut folders, mut above, now) = (BTreeSet::new(), BTreeSet::new(), SystemTime::now());
        let is_within = |folder: &&Path| self.output.folder().is_some_and(|root| folder.starts_with(root));
        let mut make_folder_of = |file: &Path| -> Result<(), StoreError> {
            let Some(folder) = file.parent() else { return Ok(()) };
            above.extend(create_missing(folder)?);
            above.extend(folder.parent().filter(is_within).map(Path::to_owned));
            folders.insert(folder.to_owned());
            Ok(())
        };
        for file in self.unplaced() {
            if cancel.is_stopped() {
                return Err(StoreError::Interrupted);
            }
            let (staged, place) = (self.staged(&file.key), self.output.at(&file.key));
            if place.is_dir() {
                return Err(StoreError::io("put a file at", place)(std::io::ErrorKind::IsADirectory.into()));
            }
            disk::keep_access(&staged, &place)?;
            let opened = File::options().write(true).open(&staged).map_err(StoreError::io("open", &staged))?;
            opened.set_modified(now).map_err(StoreError::io("set the time of", &staged))?;
            opened.sync_all().map_err(StoreError::io("sync", &staged))?;
            make_folder_of(&place)?;
            if places::role(&file.key) == Role::Projected {
                let object = self.output.at(&file.version.object);
                make_folder_of(&object)?;
                disk::second_name(&staged, &object)?;
            }
        }
        for key in &self.remove {
            folders.extend(self.output.at(key).parent().filter(|folder| folder.exists()).map(Path::to_owned));
        }
        folders.iter().try_for_each(|folder| disk::is_writable(folder))?;
        // Each once, however many partitions are new in it.
        above.extend(folders);
        above.iter().try_for_each(|folder| disk::sync(folder))
    }

    /// Sees to it that the version that stands at a place is an object, so that it can be put back.
    fn keep_object(&self, key: &Key, version: &ObjectRef) -> Result<(), StoreError> {
        let (place, object) = (self.output.at(key), self.output.at(&version.object));
        if disk::exists(&object)? || !disk::exists(&place)? {
            return Ok(());
        }
        if let Some(folder) = object.parent() {
            create_durably(folder)?;
        }
        disk::second_name(&place, &object)
    }

    fn place_in_bucket(&mut self, before: &dyn Fn(&Key) -> Option<ObjectRef>, cancel: &Cancel) -> Result<(), StoreError> {
        self.refuse_irreplaceable(&self.installed(), before)?;
        let adopted: Vec<_> = self.adopted.iter().collect();
        at_once(&adopted, |(key, version)| match self.output.read(*key)? {
            Some(bytes) if version.is_of(&bytes) => put_immutable(&self.output, &version.object, Content::Bytes(&bytes)),
            _ => Err(StoreError::Refused { location: self.output.location_of(key), detail: "it changed while it was read".into() }),
        })?;
        let files = self.unplaced();
        self.placed.extend(files.iter().map(|file| file.version.object.clone()));
        at_once(&files, |file| {
            if cancel.is_stopped() {
                return Err(StoreError::Interrupted);
            }
            put_immutable(&self.output, &file.version.object, Content::File(&self.staged(&file.key)))
        })
    }

    /// Removes from a bucket what the run has put there in any of its attempts: it will never commit. In a folder,
    /// `drop` removes what there is.
    ///
    /// # Errors
    /// I/O errors: some of it may stay then.
    pub fn remove_placed(&mut self) -> Result<(), StoreError> {
        let placed = Vec::from_iter(std::mem::take(&mut self.placed));
        at_once(&placed, |object| self.output.remove_object(object))
    }

    /// Fails if a file is too large to replace what stands at its place. After the decision, nobody could install it.
    fn refuse_irreplaceable(&self, installed: &[Installed], before: &dyn Fn(&Key) -> Option<ObjectRef>) -> Result<(), StoreError> {
        let Some(most) = self.output.store().most_replaced() else { return Ok(()) };
        let is_replaced = |key: &Key| before(key).is_some() || matches!(self.seen.get(key), Some(Some(_)));
        let too_large = |installed: &&Installed| installed.version.bytes > most && is_replaced(&installed.key);
        match installed.iter().find(too_large) {
            Some(Installed { key, version }) => {
                Err(StoreError::TooLarge { location: self.output.location_of(key), bytes: version.bytes, most })
            }
            None => Ok(()),
        }
    }

    /// Decides: puts the record that follows on `base`, and installs the files. In a folder all of it is taken back where the disk
    /// refuses after the decision; where it refuses that too, and in a bucket, the next command finishes.
    ///
    /// # Errors
    /// [`DecideError::Moved`] if the layer is no longer that of `base`; I/O errors; a commit of which it is unknown whether it counts.
    pub fn decide(
        &mut self,
        base: Option<&Head>,
        commit: NewCommit,
        before: &dyn Fn(&Key) -> Option<ObjectRef>,
        lease: Option<&Lease>,
    ) -> Result<Commit, DecideError> {
        if self.is_late() {
            return Err(DecideError::Moved);
        }
        let record = commit.after(base.map(|head| &head.commit), &self.output);
        if self.output.folder().is_some() {
            self.decide_in_folder(base, &record, before, lease)?;
        } else {
            self.refuse_irreplaceable(&record.put, before)?;
            self.decide_in_bucket(base, &record, lease)?;
        }
        Ok(record)
    }

    fn decide_in_folder(
        &mut self,
        base: Option<&Head>,
        record: &Commit,
        before: &dyn Fn(&Key) -> Option<ObjectRef>,
        lease: Option<&Lease>,
    ) -> Result<(), DecideError> {
        lease.map_or(Ok(()), Lease::verify)?;
        let _lock = lock(&self.output)?;
        let head = commit::head(&self.output)?;
        if head.as_ref().map_or(0, |head| head.commit.number) != base.map_or(0, |head| head.commit.number) {
            return Err(DecideError::Moved);
        }
        // From here on the staged files may be needed, even where a put reports an error after its rename.
        self.keep = true;
        match commit::append(&self.output, record) {
            Ok(()) => {}
            Err(AppendError::Taken) => {
                self.keep = false;
                return Err(DecideError::Moved);
            }
            Err(AppendError::Store(error) | AppendError::Unknown(error)) => {
                return Err(match disk::exists(&self.output.at(places::commit(record.number))) {
                    Ok(true) => unfinished(record)(error),
                    Ok(false) => {
                        self.keep = false;
                        error
                    }
                    // The record may be there, and need what was staged.
                    Err(_) => StoreError::UnknownCommit { run_id: record.run_id.clone(), source: Box::new(error) },
                }
                .into());
            }
        }
        let installed = self.rename_own(record).and_then(|()| projection::install_own_in_folder(&self.output, record));
        let Err(error) = installed else {
            self.clear_up(record);
            return Ok(());
        };
        match projection::take_back(&self.output, record, before) {
            Ok(()) => {
                self.keep = false;
                self.remove_own();
                Err(error.into())
            }
            Err(refused) => {
                tracing::warn!(error = %refused, "the publish could not be taken back either");
                Err(unfinished(record)(error).into())
            }
        }
    }

    /// Puts the run's own files in place: those that no commit installs.
    fn rename_own(&self, _record: &Commit) -> Result<(), StoreError> {
        for file in self.files.values().filter(|file| places::role(&file.key) == Role::Own) {
            let place = self.output.at(&file.key);
            fs::rename(self.staged(&file.key), &place).map_err(StoreError::io("put in place", &place))?;
            disk::sync_parent(&place)?;
        }
        Ok(())
    }

    /// Removes the run's own files from their places: the run does not count.
    fn remove_own(&self) {
        for file in self.files.values().filter(|file| places::role(&file.key) == Role::Own) {
            let place = self.output.at(&file.key);
            if let Err(error) = disk::remove_file(&place) {
                tracing::warn!(%error, "a file of the run that was taken back stays; it counts for nothing");
            }
            let _ = place.parent().map(fs::remove_dir);
        }
    }

    /// The run is published. What is left undone here, the next command does.
    fn clear_up(&self, record: &Commit) {
        let noted = projection::put_hint_of_folder(&self.output, record);
        if let Err(error) = noted.and_then(|()| disk::remove_folder(&self.folder)) {
            tracing::warn!(%error, "the run is published; the next command clears up after it");
        }
    }

    fn decide_in_bucket(&mut self, base: Option<&Head>, record: &Commit, lease: Option<&Lease>) -> Result<(), DecideError> {
        // Read before the commit is put, as the protocol asks.
        let known = lease.map_or(Ok(None), |lease| lease.begin_commit(record))?;
        let mut hint = known.or_else(|| base.map(|head| head.hint.clone())).unwrap_or_default();
        hint.assume_installed(base.map_or(0, Head::installed));
        match commit::append(&self.output, record) {
            Ok(()) => {}
            Err(AppendError::Unknown(source)) => {
                return Err(StoreError::UnknownCommit { run_id: record.run_id.clone(), source: Box::new(source) }.into());
            }
            Err(AppendError::Taken) => {
                lease.into_iter().for_each(Lease::abandon_commit);
                return Err(DecideError::Moved);
            }
            Err(AppendError::Store(error)) => {
                lease.into_iter().for_each(Lease::abandon_commit);
                return Err(error.into());
            }
        }
        let by_object: BTreeMap<&Key, &StagedFile> = self.files.values().map(|file| (&file.version.object, file)).collect();
        let local = |version: &ObjectRef| by_object.get(&version.object).map(|file| self.staged(&file.key));
        let known = projection::Known { seen: &self.seen, local: &local, copies: self.copies.clone() };
        let beside = if lease.is_some() { Beside::NamedRuns } else { Beside::Unknown };
        let files = projection::install_own_in_bucket(&self.output, base, hint, record, known, beside).map_err(unfinished(record))?;
        match (lease, files) {
            (Some(lease), files) => lease.note_installed(files),
            (None, OwnFiles::ToTell(settlement)) => settlement.put().map_err(unfinished(record))?,
            (None, OwnFiles::Told | OwnFiles::LeftToOthers(_)) => {}
        }
        Ok(())
    }
}

/// Puts an object whose name is used once. One that is there already is this run's own: a request whose answer was lost.
fn put_immutable(output: &Output, key: &Key, content: Content<'_>) -> Result<(), StoreError> {
    match output.store().put(key, content, &Condition::Always) {
        Ok(_) | Err(PutError::Conflict) => Ok(()),
        Err(PutError::Unknown(error) | PutError::Io(error)) => Err(error),
    }
}

/// The lock of a folder's commits: who decides, installs or clears up holds it for that moment.
fn lock(output: &Output) -> Result<File, StoreError> {
    let path = output.at(LOCK);
    if let Some(folder) = path.parent() {
        create_durably(folder)?;
    }
    let file = File::options().write(true).create(true).truncate(false).open(&path).map_err(StoreError::io("open", &path))?;
    file.lock().map_err(StoreError::io("lock", &path))?;
    Ok(file)
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.keep || self.output.folder().is_none() {
            return;
        }
        if let Err(error) = discard(&self.output, &self.folder, &self.run_id, self.attempt) {
            tracing::warn!(%error, "what was staged could not be removed; the next run will");
        }
    }
}

fn unfinished(record: &Commit) -> impl FnOnce(StoreError) -> StoreError {
    let run_id = record.run_id.clone();
    move |source| StoreError::Unfinished { run_id, source: Box::new(source) }
}

/// What the opening of an output found of a run that was cut off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Recovery {
    /// Nothing.
    Clean,
    /// The publish of this run, which counted, was finished.
    Finished(String),
    /// What this many runs had staged, none of which counted, was removed.
    Undone(usize),
}

/// Whether a commit is decided and not installed: under way, or cut off.
///
/// # Errors
/// I/O errors.
pub fn is_publishing(output: &Output) -> Result<bool, StoreError> {
    let Some(head) = commit::head(output)?.filter(|head| !head.is_installed()) else { return Ok(false) };
    if !head.can_wait() {
        return Ok(true);
    }
    // Files that wait for a look are in place.
    for number in head.installed() + 1..=head.commit.number {
        if commit::commit(output, number)?.is_some_and(|commit| !head.is_in_place(&commit)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Finishes or undoes what was cut off. In a folder it waits for a commit that is under way. Staged files of runs that live stay.
///
/// # Errors
/// An object that a commit names and that is not whole (nothing is then moved), or what the store refuses.
pub fn recover(output: &Output) -> Result<Recovery, StoreError> {
    let Some(root) = output.folder() else { return recover_bucket(output) };
    // What single writes left behind that were cut off.
    let written = [places::STATE, places::COMMITS, places::REPORTS, places::MANIFESTS];
    written.into_iter().for_each(|folder| atomic::remove_abandoned(&root.join(folder)));
    let before_commits = finish_before_commits(output, root)?;
    let staged = output.names(places::STAGING)?;
    let is_installed = commit::head(output)?.is_none_or(|head| head.is_installed());
    if is_installed && staged.is_empty() {
        return Ok(before_commits.map_or(Recovery::Clean, Recovery::Finished));
    }
    let _lock = lock(output)?;
    let mut recovery = before_commits.map_or(Recovery::Clean, Recovery::Finished);
    if let Some(head) = commit::head(output)?.filter(|head| !head.is_installed()) {
        recover_own(output, root, &head)?;
        projection::complete_in_folder(output, &head)?;
        recovery = Recovery::Finished(head.commit.run_id);
    }
    let mut undone = 0;
    for name in output.names(places::STAGING)? {
        let leftover = root.join(places::STAGING).join(&name);
        if !leftover.is_dir() {
            disk::remove_file(&leftover)?;
        } else if !lease::lives(root, &name) {
            undone += usize::from(!is_committed(output, &name)?);
            discard_of(output, &leftover, &name)?;
        }
    }
    Ok(match recovery {
        Recovery::Clean if undone > 0 => Recovery::Undone(undone),
        recovery => recovery,
    })
}

/// A publish as versions before commits noted it.
#[derive(Deserialize)]
struct JournalBeforeCommits {
    run_id: String,
    staging: PathBuf,
    put: Vec<PutBeforeCommits>,
    remove: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct PutBeforeCommits {
    path: PathBuf,
}

/// Finishes a publish that a version before commits had decided, and that was cut off. Returns its run.
fn finish_before_commits(output: &Output, root: &Path) -> Result<Option<String>, StoreError> {
    let path = root.join(places::before_commits::JOURNAL);
    let Some(text) = disk::read(&path)? else { return Ok(None) };
    let damaged =
        |error: serde_json::Error| StoreError::Refused { location: path.display().to_string(), detail: format!("damaged: {error}") };
    let journal: JournalBeforeCommits = serde_json::from_slice(&text).map_err(damaged)?;
    let _lock = lock(output)?;
    let tree = root.join(&journal.staging).join("tree");
    for put in &journal.put {
        let (staged, place) = (tree.join(&put.path), root.join(&put.path));
        if !disk::exists(&staged)? {
            continue;
        }
        place.parent().map_or(Ok(()), create_durably)?;
        fs::rename(&staged, &place).map_err(StoreError::io("put in place", &place))?;
        disk::sync_parent(&place)?;
    }
    for removed in &journal.remove {
        let place = root.join(removed);
        disk::remove_file(&place)?;
        let _ = place.parent().map(fs::remove_dir);
    }
    disk::remove_file(&path)?;
    disk::remove_folder(&root.join(&journal.staging))?;
    Ok(Some(journal.run_id))
}

fn recover_bucket(output: &Output) -> Result<Recovery, StoreError> {
    let Some(head) = commit::head(output)?.filter(|head| !head.is_settled()) else { return Ok(Recovery::Clean) };
    // Runs that are at work would come between again and again. The last of them looks at all files.
    if head.can_wait() {
        return Ok(Recovery::Clean);
    }
    let (was_installed, run_id) = (head.is_installed(), head.commit.run_id.clone());
    let installed = projection::complete_in_bucket(output, head)?;
    Ok(if was_installed && installed == 0 { Recovery::Clean } else { Recovery::Finished(run_id) })
}

/// Puts the own files of commits in place that were cut off before that.
fn recover_own(output: &Output, root: &Path, head: &Head) -> Result<(), StoreError> {
    for number in head.installed() + 1..=head.commit.number {
        let Some(commit) = commit::commit(output, number)? else { continue };
        let tree = root.join(places::STAGING).join(&commit.run_id).join("tree");
        let mut folders = vec![tree.clone()];
        while let Some(folder) = folders.pop() {
            for entry in entries(&folder)? {
                let path = entry.path();
                if entry.file_type().map_err(StoreError::io("look at", &path))?.is_dir() {
                    folders.push(path);
                    continue;
                }
                let key = Key::new(path.strip_prefix(&tree).unwrap_or(&path).to_string_lossy());
                if places::role(&key) == Role::Own {
                    let place = output.at(&key);
                    place.parent().map_or(Ok(()), create_durably)?;
                    fs::rename(&path, &place).map_err(StoreError::io("put in place", &place))?;
                    disk::sync_parent(&place)?;
                }
            }
        }
    }
    Ok(())
}

/// Whether a run stands among the latest commits.
fn is_committed(output: &Output, run_id: &str) -> Result<bool, StoreError> {
    let Some(head) = commit::head(output)? else { return Ok(false) };
    let mut commit = Some(head.commit);
    for _ in 0..LATEST_COMMITS {
        let Some(of_run) = commit else { return Ok(false) };
        if of_run.run_id == run_id {
            return Ok(true);
        }
        commit = if of_run.number > 1 { commit::commit(output, of_run.number - 1)? } else { None };
    }
    Ok(false)
}

/// How many commits are searched for a run that has left staged files.
const LATEST_COMMITS: usize = 64;

/// Removes what a run that was cut off has staged. The objects of a run that counts stay.
fn discard_of(output: &Output, staging: &Path, run_id: &str) -> Result<(), StoreError> {
    if is_committed(output, run_id)? {
        return disk::remove_folder(staging);
    }
    discard(output, staging, run_id, MOST_ATTEMPTS)
}

/// How often a run tries to commit. Of many that are at work at once, each attempt lets one through.
pub const MOST_ATTEMPTS: usize = 100;

/// Removes what a run has staged, its objects, and the folders that were made for it and hold nothing.
fn discard(output: &Output, staging: &Path, run_id: &str, attempts: usize) -> Result<(), StoreError> {
    remove_empty_targets(output, &staging.join("tree"), output.root(), &|key| {
        for attempt in (0..=attempts).filter(|_| places::role(key) == Role::Projected) {
            let object = output.at(places::object_of(key, run_id, attempt));
            disk::remove_file(&object)?;
            // A folder that is not empty stays. A missing folder is not an error.
            let _ = object.parent().map(fs::remove_dir);
        }
        Ok(())
    })?;
    disk::remove_folder(staging)
}

/// Of each folder beneath `staged`, removes the one that it stands for, where that is empty; calls `each` for every file.
fn remove_empty_targets(
    output: &Output,
    staged: &Path,
    target: &Path,
    each: &dyn Fn(&Key) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    for entry in entries(staged)? {
        let target = target.join(entry.file_name());
        if entry.file_type().map_err(StoreError::io("look at", entry.path()))?.is_dir() {
            remove_empty_targets(output, &entry.path(), &target, each)?;
        } else if let Ok(key) = target.strip_prefix(output.root()) {
            each(&Key::new(key.to_string_lossy()))?;
        }
    }
    if target != output.root() {
        // A folder that is not empty stays. A missing folder is not an error.
        let _ = fs::remove_dir(target);
    }
    Ok(())
}
