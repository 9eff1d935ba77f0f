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
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{FileStamp, Output, StoreError, disk};

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

    /// Makes everything that was staged durable.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn prepare(self) -> Result<Prepared, StoreError> {
        let mut folders = BTreeSet::new();
        for put in &self.put {
            let staged = self.staged(&put.path);
            disk::sync(&staged)?;
            folders.extend(staged.parent().map(Path::to_owned));
        }
        folders.iter().try_for_each(|folder| disk::sync(folder))?;
        Ok(Prepared { staging: self })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = disk::remove_folder(&self.folder)
        {
            tracing::warn!(%error, "what was staged could not be removed; the next run will");
        }
    }
}

/// A publish of which everything is durable but the decision.
#[derive(Debug)]
pub struct Prepared {
    staging: Staging,
}

impl Prepared {
    /// Decides and publishes. An error after the decision leaves the rest to the next command.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn commit(self) -> Result<(), StoreError> {
        let mut staging = self.staging;
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
        if let Err(error) = disk::write_atomically(&path, &text) {
            staging.keep = path.exists();
            return Err(error);
        }
        finish(&staging.output, &journal)
    }
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

/// Finishes or undoes what was cut off. Call it only with the lock held.
///
/// # Errors
/// A file that the journal names and that is not whole, or what the disk refuses.
pub fn recover(output: &Output) -> Result<Recovery, StoreError> {
    let path = output.journal();
    if let Some(text) = disk::read(&path)? {
        let journal: Journal = serde_json::from_slice(&text).map_err(|error| StoreError::Journal { path, detail: error.to_string() })?;
        finish(output, &journal)?;
        return Ok(Recovery::Finished(journal.run_id));
    }
    let leftovers = output.names(&output.staging())?;
    for name in &leftovers {
        disk::remove_folder(&output.staging().join(name))?;
    }
    Ok(if leftovers.is_empty() { Recovery::Clean } else { Recovery::Undone(leftovers.len()) })
}

/// Does what a journal says, whatever of it was done before, and removes it.
fn finish(output: &Output, journal: &Journal) -> Result<(), StoreError> {
    let staging = output.at(&journal.staging);
    let mut folders = BTreeSet::new();
    for put in &journal.put {
        let (staged, place) = (staging.join("tree").join(&put.path), output.at(&put.path));
        if staged.exists() {
            if let Some(folder) = place.parent() {
                create_durably(folder, output.root())?;
                folders.insert(folder.to_owned());
            }
            fs::rename(&staged, &place).map_err(StoreError::io("put in place", &place))?;
        } else if !is_whole(&place, put)? {
            return Err(StoreError::Lost { path: place, run_id: journal.run_id.clone(), journal: output.journal() });
        }
    }
    for path in &journal.remove {
        let place = output.at(path);
        disk::remove_file(&place)?;
        if let Some(folder) = place.parent() {
            // A folder that still holds something stays; one that is gone is as good.
            let _ = fs::remove_dir(folder);
            folders.extend(folder.parent().map(Path::to_owned));
        }
    }
    folders.iter().filter(|folder| folder.exists()).try_for_each(|folder| disk::sync(folder))?;
    disk::remove_file(&output.journal())?;
    disk::sync_parent(&output.journal())?;
    disk::remove_folder(&staging)
}

/// Creates a folder so that its entry survives a power cut.
fn create_durably(folder: &Path, root: &Path) -> Result<(), StoreError> {
    if folder.exists() {
        return Ok(());
    }
    disk::create_folder(folder)?;
    for created in folder.ancestors().take_while(|ancestor| *ancestor != root) {
        disk::sync_parent(created)?;
    }
    Ok(())
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
        staging.prepare().unwrap()
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
        disk::write_atomically(&output.journal(), &serde_json::to_vec(&journal).unwrap()).unwrap();
        journal
    }

    #[test]
    fn a_publish_puts_and_removes_and_leaves_nothing_behind() {
        let (_dir, output) = output();
        publish(&output, "one").commit().unwrap();
        let mut staging = Staging::create(&output, "two").unwrap();
        staging.put("curated/dt=1/a.csv", b"two").unwrap();
        staging.remove("curated/dt=2/a.csv");
        staging.prepare().unwrap().commit().unwrap();
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
    fn a_lost_file_is_said_and_not_passed_over() {
        let (_dir, output) = output();
        let journal = decide(&output, publish(&output, "one"));
        fs::remove_file(output.at(&journal.staging).join("tree").join(&journal.put[1].path)).unwrap();
        let error = recover(&output).unwrap_err();
        assert!(matches!(&error, StoreError::Lost { path, .. } if path.ends_with("dt=2/a.csv")), "{error}");
        assert!(output.journal().exists());
    }
}
