//! The projection of the log: `curated/` and `dims/`, which plain readers of a prefix see, and the files that tell of a
//! commit.
//!
//! A commit counts before its files are installed. Whoever comes next completes what was cut off: every step may be
//! done twice, by several at once. `folder` and `bucket` install; here is what both share: what each commit wants, and
//! what tells of it.
//!
//! Decides nothing about several writers: which files are verified, what is installed and what the hint says is decided
//! in [`protocol`](super::protocol).

mod bucket;
mod folder;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

pub(super) use bucket::{
    Beside, Known, LeftCommit, OwnFiles, Settlement, complete_in_bucket, complete_what_was_left, install_own_in_bucket,
};
pub(super) use folder::{complete_in_folder, install_own_in_folder, put_hint_of_folder, take_back};

use super::{
    Commit, Condition, Content, Installed, Key, ObjectRef, Output, PutError, Removed, StoreError, Tag,
    commit::{self, Installer, Told},
    disk::Fingerprint,
    hint::Hint,
    places,
    protocol::{Footprint, Log},
};

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
