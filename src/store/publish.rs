//! Publishing many files as one step.
//!
//! ```text
//! Staging ──prepare──▶ Prepared ──commit──▶ (done)
//!    │                    │                   ▲
//!    │ cut off: nothing   │ journal in place  │
//!    ▼ stands in the      ▼ = the run counts  │
//!  removed by the      cut off: the next command finishes it
//!  next command
//! ```
//! A run stages whole files beside their places. The journal states what is to be put and removed, with checksums; its own
//! appearance, by one rename, is the moment at which the run counts. Until then the next command removes what was staged;
//! from then on it finishes. Every step may be done twice.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{FileStamp, Output, StoreError, disk, places::JOURNAL};
use crate::cancel::Cancel;

/// What a publish does, once it counts. Paths are relative to the output.
#[derive(Debug, Serialize, Deserialize)]
struct Journal {
    run_id: String,
    staging: PathBuf,
    put: Vec<Put>,
    remove: Vec<PathBuf>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Put {
    path: PathBuf,
    bytes: u64,
    checksum: String,
}

/// The files that a run has staged so far. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Staging {
    output: Output,
    run_id: String,
    folder: PathBuf,
    put: Vec<Put>,
    remove: Vec<PathBuf>,
    keep: bool,
}

impl Staging {
    /// An empty staging folder for a run.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn create(output: &Output, run_id: &str) -> Result<Staging, StoreError> {
        let folder = output.staging().join(run_id);
        disk::create_folder(&folder)?;
        Ok(Staging { output: output.clone(), run_id: run_id.to_owned(), folder, put: Vec::new(), remove: Vec::new(), keep: false })
    }

    /// Where the run may keep what it will not publish.
    pub fn scratch(&self) -> PathBuf {
        self.folder.join("scratch")
    }

    /// Where the file for a place beneath the output is staged.
    pub fn staged(&self, place: impl AsRef<Path>) -> PathBuf {
        self.folder.join("tree").join(place)
    }

    /// Stages the content of a place beneath the output, and tells what it will look like there.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn put(&mut self, place: impl AsRef<Path>, bytes: &[u8]) -> Result<FileStamp, StoreError> {
        let staged = self.staged(&place);
        disk::write_staged(&staged, bytes)?;
        self.put_written(place, bytes.len() as u64, disk::checksum(bytes))
    }

    /// Takes up a file that was written to [`Staging::staged`] already.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn put_written(&mut self, place: impl AsRef<Path>, bytes: u64, checksum: String) -> Result<FileStamp, StoreError> {
        let modified_ns = disk::size_and_time(&self.staged(&place))?.map_or(0, |(_, time)| time);
        self.put.push(Put { path: place.as_ref().to_owned(), bytes, checksum: checksum.clone() });
        Ok(FileStamp { bytes, modified_ns, checksum })
    }

    /// Notes that a place beneath the output is to be empty.
    pub fn remove(&mut self, place: impl Into<PathBuf>) {
        self.remove.push(place.into());
    }

    /// Makes everything that was staged durable, and sees to it that nothing will keep it from its places: what can be
    /// refused is refused here, before the decision.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Interrupted`].
    pub fn prepare(self, cancel: &Cancel) -> Result<Prepared, StoreError> {
        let mut staged_folders = BTreeSet::new();
        let mut target_folders = BTreeSet::new();
        for put in &self.put {
            if cancel.is_stopped() {
                return Err(StoreError::Interrupted);
            }
            let (staged, place) = (self.staged(&put.path), self.output.at(&put.path));
            disk::keep_access(&staged, &place)?;
            disk::sync(&staged)?;
            staged_folders.extend(staged.parent().map(Path::to_owned));
            target_folders.extend(place.parent().map(Path::to_owned));
            if place.is_dir() {
                return Err(StoreError::io("put a file at", place)(io::ErrorKind::IsADirectory.into()));
            }
        }
        staged_folders.iter().try_for_each(|folder| disk::sync(folder))?;
        create_durably(&target_folders, self.output.root())?;
        let emptied = self.remove.iter().filter_map(|place| self.output.at(place).parent().map(Path::to_owned));
        target_folders.extend(emptied.filter(|folder| folder.exists()));
        target_folders.iter().try_for_each(|folder| disk::is_writable(folder))?;
        let before = self.keep_old()?;
        Ok(Prepared { staging: self, before })
    }

    /// Keeps a second name for each file that is to be replaced or removed, so that a publish can be taken back.
    fn keep_old(&self) -> Result<Vec<Before>, StoreError> {
        let places = self.put.iter().map(|put| &put.path).chain(&self.remove);
        let kept_in = self.folder.join(OLD);
        disk::create_folder(&kept_in)?;
        let keep = |(number, place): (usize, &PathBuf)| match fs::hard_link(self.output.at(place), kept_in.join(number.to_string())) {
            Ok(()) => Before::Kept,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Before::Absent,
            Err(_) => Before::Unknown,
        };
        Ok(places.enumerate().map(keep).collect())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = discard(&self.output, &self.folder)
        {
            tracing::warn!(%error, "what was staged could not be removed; the next run will");
        }
    }
}

/// A publish of which everything is durable but the decision.
#[derive(Debug)]
pub struct Prepared {
    staging: Staging,
    /// What stood at each place of the journal, put and removed ones in turn.
    before: Vec<Before>,
}

/// The folder of second names beneath a run's staging folder.
const OLD: &str = "old";

/// What stood at a place before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Before {
    Absent,
    /// A file that has a second name now.
    Kept,
    /// A file of a disk that knows no second names.
    Unknown,
}

impl Prepared {
    /// Decides and publishes. Where the disk refuses after the decision, everything is taken back; where it refuses that too,
    /// the next command finishes.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Unfinished`].
    pub fn commit(self) -> Result<(), StoreError> {
        let Prepared { mut staging, before } = self;
        let journal = Journal {
            run_id: std::mem::take(&mut staging.run_id),
            staging: staging.folder.strip_prefix(staging.output.root()).unwrap_or(&staging.folder).to_owned(),
            put: std::mem::take(&mut staging.put),
            remove: std::mem::take(&mut staging.remove),
        };
        let path = staging.output.journal();
        let text = serde_json::to_vec(&journal).map_err(|error| StoreError::Journal { path: path.clone(), detail: error.to_string() })?;
        // From here on the staged files may be needed, even where the write reports an error after its rename.
        staging.keep = true;
        if let Err(error) = disk::replace(&staging.output, JOURNAL, &text) {
            staging.keep = path.exists();
            return Err(if staging.keep { unfinished(&journal)(error) } else { error });
        }
        let Err(error) = finish(&staging.output, &journal) else { return Ok(()) };
        match undo(&staging.output, &journal, &before) {
            Ok(()) => {
                staging.keep = false;
                Err(error)
            }
            Err(refused) => {
                tracing::warn!(error = %refused, "the publish could not be taken back either");
                Err(unfinished(&journal)(error))
            }
        }
    }
}

fn unfinished(journal: &Journal) -> impl FnOnce(StoreError) -> StoreError {
    let run_id = journal.run_id.clone();
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

/// Whether something was cut off, or is at work now: who holds the lock can tell.
///
/// # Errors
/// I/O errors.
pub fn is_cut_off(output: &Output) -> Result<bool, StoreError> {
    Ok(is_publishing(output) || !output.names(&output.staging())?.is_empty())
}

/// Whether a publish is decided and not finished: under way, or cut off.
pub fn is_publishing(output: &Output) -> bool {
    output.journal().exists()
}

/// Finishes or undoes what was cut off. Call it only with the lock held.
///
/// # Errors
/// A file that the journal names and that is not whole (nothing is then moved), or what the disk refuses.
pub fn recover(output: &Output) -> Result<Recovery, StoreError> {
    let path = output.journal();
    let cut_off = match disk::read(&path)? {
        Some(text) => {
            let journal: Journal =
                serde_json::from_slice(&text).map_err(|error| StoreError::Journal { path, detail: error.to_string() })?;
            journal.put.iter().try_for_each(|put| verify_file(output, &journal, put))?;
            finish(output, &journal)?;
            Some(journal.run_id)
        }
        None => None,
    };
    let mut undone = 0;
    for name in output.names(&output.staging())? {
        let leftover = output.staging().join(name);
        if leftover.is_dir() {
            undone += 1;
            discard(output, &leftover)?;
        } else {
            disk::remove_file(&leftover)?;
        }
    }
    Ok(match cut_off {
        Some(run_id) => Recovery::Finished(run_id),
        None if undone > 0 => Recovery::Undone(undone),
        None => Recovery::Clean,
    })
}

/// Removes what a run has staged, and the folders that were made for it and hold nothing.
fn discard(output: &Output, staging: &Path) -> Result<(), StoreError> {
    remove_empty_targets(output, &staging.join("tree"), output.root());
    disk::remove_folder(staging)
}

/// Of each folder beneath `staged`, removes the one that it stands for, where that is empty.
fn remove_empty_targets(output: &Output, staged: &Path, target: &Path) {
    for entry in staged.read_dir().into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty_targets(output, &entry.path(), &target.join(entry.file_name()));
        }
    }
    if target != output.root() {
        // A folder that is not empty stays. A missing folder is not an error.
        let _ = fs::remove_dir(target);
    }
}

/// Verifies that a file of an interrupted publish is whole: its staged copy, or else the published one.
fn verify_file(output: &Output, journal: &Journal, put: &Put) -> Result<(), StoreError> {
    let (staged, place) = (output.at(&journal.staging).join("tree").join(&put.path), output.at(&put.path));
    if is_whole(&staged, put)? {
        return Ok(());
    }
    if !is_whole(&place, put)? {
        return Err(StoreError::Lost { path: place, run_id: journal.run_id.clone(), journal: output.journal() });
    }
    disk::remove_file(&staged)
}

/// Does what a journal says, whatever of it was done before, and removes it.
fn finish(output: &Output, journal: &Journal) -> Result<(), StoreError> {
    let staging = output.at(&journal.staging);
    let mut folders = BTreeSet::new();
    folders.extend(journal.put.iter().filter_map(|put| output.at(&put.path).parent().map(Path::to_owned)));
    create_durably(&folders, output.root())?;
    for put in &journal.put {
        let (staged, place) = (staging.join("tree").join(&put.path), output.at(&put.path));
        match fs::rename(&staged, &place) {
            // Put in place before it was cut off.
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_whole(&place, put)? => {}
            renamed => renamed.map_err(StoreError::io("put in place", &place))?,
        }
    }
    for path in &journal.remove {
        let place = output.at(path);
        disk::remove_file(&place)?;
        if let Some(folder) = place.parent() {
            // A folder that is not empty stays. A missing folder is not an error.
            let _ = fs::remove_dir(folder);
            folders.extend([folder, folder.parent().unwrap_or(folder)].map(Path::to_owned));
        }
    }
    folders.iter().filter(|folder| folder.exists()).try_for_each(|folder| disk::sync(folder))?;
    disk::remove_file(&output.journal())?;
    // Published. What is left undone from here on, the next command does.
    if let Err(error) = disk::sync_parent(&output.journal()).and_then(|()| disk::remove_folder(&staging)) {
        tracing::warn!(%error, "the run is published; the next command clears up after it");
    }
    Ok(())
}

/// Takes back what was done of a journal. Cut off in between, the publish can still be finished: no staged file is lost.
fn undo(output: &Output, journal: &Journal, before: &[Before]) -> Result<(), StoreError> {
    let staging = output.at(&journal.staging);
    let kept = |number: usize| staging.join(OLD).join(number.to_string());
    let mut folders = BTreeSet::new();
    for (number, (put, before)) in journal.put.iter().zip(before).enumerate() {
        let (staged, place) = (staging.join("tree").join(&put.path), output.at(&put.path));
        if staged.exists() {
            continue;
        }
        fs::hard_link(&place, &staged).map_err(StoreError::io("keep", &staged))?;
        match before {
            Before::Kept => fs::rename(kept(number), &place).map_err(StoreError::io("put back", &place))?,
            Before::Absent => disk::remove_file(&place)?,
            Before::Unknown => return Err(StoreError::io("put back", &place)(io::ErrorKind::Unsupported.into())),
        }
        folders.extend(place.parent().map(Path::to_owned));
    }
    for (number, (path, before)) in (journal.put.len()..).zip(journal.remove.iter().zip(before.iter().skip(journal.put.len()))) {
        let place = output.at(path);
        if *before != Before::Kept || place.exists() {
            continue;
        }
        let folder: BTreeSet<_> = place.parent().map(Path::to_owned).into_iter().collect();
        create_durably(&folder, output.root())?;
        folders.extend(folder);
        fs::hard_link(kept(number), &place).map_err(StoreError::io("put back", &place))?;
    }
    folders.iter().try_for_each(|folder| disk::sync(folder))?;
    disk::remove_file(&output.journal())?;
    disk::sync_parent(&output.journal())
}

/// Creates folders so that their entries survive a power cut.
fn create_durably(folders: &BTreeSet<PathBuf>, root: &Path) -> Result<(), StoreError> {
    let mut grown = BTreeSet::new();
    for folder in folders.iter().filter(|folder| !folder.exists()) {
        disk::create_folder(folder)?;
        let created = folder.ancestors().take_while(|ancestor| *ancestor != root);
        grown.extend(created.filter_map(Path::parent).map(Path::to_owned));
    }
    grown.iter().try_for_each(|folder| disk::sync(folder))
}

fn is_whole(place: &Path, put: &Put) -> Result<bool, StoreError> {
    Ok(disk::read(place)?.is_some_and(|bytes| bytes.len() as u64 == put.bytes && disk::checksum(&bytes) == put.checksum))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output() -> (tempfile::TempDir, Output) {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::new(dir.path().join("out"));
        output.prepare().unwrap();
        (dir, output)
    }

    fn content(output: &Output, place: &str) -> Option<String> {
        disk::read(&output.at(place)).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
    }

    fn publish(output: &Output, run_id: &str) -> Prepared {
        let mut staging = Staging::create(output, run_id).unwrap();
        staging.put("curated/dt=1/a.csv", run_id.as_bytes()).unwrap();
        staging.put("curated/dt=2/a.csv", run_id.as_bytes()).unwrap();
        staging.prepare(&Cancel::default()).unwrap()
    }

    /// Writes the journal of a publish and stops there.
    fn decide(output: &Output, prepared: Prepared) -> Journal {
        let mut staging = prepared.staging;
        staging.keep = true;
        let journal = Journal {
            run_id: staging.run_id.clone(),
            staging: staging.folder.strip_prefix(output.root()).unwrap().to_owned(),
            put: std::mem::take(&mut staging.put),
            remove: std::mem::take(&mut staging.remove),
        };
        disk::replace(output, JOURNAL, &serde_json::to_vec(&journal).unwrap()).unwrap();
        journal
    }

    #[test]
    fn a_publish_puts_and_removes_and_leaves_nothing_behind() {
        let (_dir, output) = output();
        publish(&output, "one").commit().unwrap();
        let mut staging = Staging::create(&output, "two").unwrap();
        staging.put("curated/dt=1/a.csv", b"two").unwrap();
        staging.remove("curated/dt=2/a.csv");
        staging.prepare(&Cancel::default()).unwrap().commit().unwrap();
        assert_eq!(content(&output, "curated/dt=1/a.csv").as_deref(), Some("two"));
        assert_eq!(output.names(&output.curated()).unwrap(), ["dt=1"]);
        assert_eq!(output.names(&output.staging()).unwrap(), [""; 0]);
        assert_eq!(recover(&output).unwrap(), Recovery::Clean);
    }

    #[test]
    fn what_was_not_decided_is_undone() {
        let (_dir, output) = output();
        drop(publish(&output, "one"));
        assert_eq!(output.names(&output.staging()).unwrap(), [""; 0], "an error path cleans up after itself");
        std::mem::forget(publish(&output, "two"));
        assert_eq!(recover(&output).unwrap(), Recovery::Undone(1));
        assert_eq!(output.names(&output.curated()).unwrap(), [""; 0]);
    }

    #[test]
    fn what_was_decided_is_finished_wherever_it_was_cut_off() {
        for done in 0..=2 {
            let (_dir, output) = output();
            let journal = decide(&output, publish(&output, "one"));
            for put in &journal.put[..done] {
                disk::create_folder(output.at(&put.path).parent().unwrap()).unwrap();
                fs::rename(output.at(&journal.staging).join("tree").join(&put.path), output.at(&put.path)).unwrap();
            }
            assert_eq!(recover(&output).unwrap(), Recovery::Finished("one".into()));
            assert_eq!(content(&output, "curated/dt=1/a.csv").as_deref(), Some("one"));
            assert_eq!(content(&output, "curated/dt=2/a.csv").as_deref(), Some("one"));
            assert_eq!(recover(&output).unwrap(), Recovery::Clean);
        }
    }

    #[test]
    fn a_lost_or_damaged_file_is_said_and_nothing_is_moved() {
        for damage in [None, Some("two")] {
            let (_dir, output) = output();
            let journal = decide(&output, publish(&output, "one"));
            let staged = output.at(&journal.staging).join("tree").join(&journal.put[1].path);
            damage.map_or_else(|| fs::remove_file(&staged), |damage| fs::write(&staged, damage)).unwrap();
            let error = recover(&output).unwrap_err();
            assert!(matches!(&error, StoreError::Lost { path, .. } if path.ends_with("dt=2/a.csv")), "{error}");
            assert!(output.journal().exists());
            assert_eq!(content(&output, "curated/dt=1/a.csv"), None, "the other file waits");
        }
    }

    #[test]
    fn what_can_be_refused_is_refused_before_the_decision() {
        let (_dir, output) = output();
        disk::create_folder(&output.at("curated/dt=2/a.csv")).unwrap();
        let mut staging = Staging::create(&output, "one").unwrap();
        staging.put("curated/dt=1/a.csv", b"one").unwrap();
        staging.put("curated/dt=2/a.csv", b"one").unwrap();
        let error = staging.prepare(&Cancel::default()).unwrap_err();
        assert!(error.to_string().contains("a folder stands where a file is needed"), "{error}");
        assert!(!output.journal().exists());
        assert_eq!(output.names(&output.curated()).unwrap(), ["dt=2"], "the folder that was made for it is gone again");
    }

    #[test]
    fn what_is_refused_after_the_decision_is_taken_back() {
        let (_dir, output) = output();
        publish(&output, "one").commit().unwrap();
        let mut staging = Staging::create(&output, "two").unwrap();
        staging.put("curated/dt=1/a.csv", b"two").unwrap();
        staging.put("curated/dt=3/a.csv", b"two").unwrap();
        staging.put("curated/dt=4/a.csv", b"two").unwrap();
        staging.remove("curated/dt=2/a.csv");
        let prepared = staging.prepare(&Cancel::default()).unwrap();
        // Between the two steps a folder comes to stand where the third file should.
        disk::create_folder(&output.at("curated/dt=4/a.csv/x")).unwrap();
        let error = prepared.commit().unwrap_err();
        assert!(error.to_string().contains("dt=4"), "{error}");
        fs::remove_dir_all(output.at("curated/dt=4")).unwrap();
        assert_eq!(content(&output, "curated/dt=1/a.csv").as_deref(), Some("one"));
        assert_eq!(content(&output, "curated/dt=2/a.csv").as_deref(), Some("one"));
        assert_eq!(output.names(&output.curated()).unwrap(), ["dt=1", "dt=2"]);
        assert!(!is_cut_off(&output).unwrap());
    }

    #[test]
    fn a_signal_before_the_decision_undoes_everything() {
        let (_dir, output) = output();
        let cancel = Cancel::default();
        cancel.stop(crate::cancel::Stop::Terminate);
        let mut staging = Staging::create(&output, "one").unwrap();
        staging.put("curated/dt=1/a.csv", b"one").unwrap();
        assert!(matches!(staging.prepare(&cancel), Err(StoreError::Interrupted)));
        assert!(!is_cut_off(&output).unwrap());
    }
}
