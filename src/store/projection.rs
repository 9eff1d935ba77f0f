//! The projection of the log: `curated/` and `dims/`, which plain readers of a prefix see, and the files that tell of a commit.
//!
//! A commit counts before its files are installed. Whoever comes next completes what was cut off: every step may be done twice,
//! by several at once. In a bucket a file is replaced only in the version that was seen, so that a writer that slept can't put an
//! old file over a newer one. In a folder, who installs holds the lock.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    Commit, Condition, Content, Head, Installed, Key, ObjectRef, Output, PutError, Removed, StoreError, Tag,
    commit::{self, InstalledNote, Noted, Told},
    disk,
    folder::create_durably,
    output::at_once,
    places,
};

/// How often an installation is tried again that another writer came between.
const ATTEMPTS: usize = 20;

/// What the newest of some commits wants at a place.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Wanted {
    File(ObjectRef),
    /// No file, or in a store that can't delete under a condition a file without rows.
    Nothing(Option<ObjectRef>),
}

/// Finds the local file with the content of an object.
pub(super) type LocalFile<'a> = dyn Fn(&ObjectRef) -> Option<PathBuf> + Sync + 'a;

/// What the writer of a commit knows, which spares requests.
#[derive(Default)]
pub(super) struct Known<'a> {
    /// The versions of places that the writer has read.
    pub(super) tags: BTreeMap<Key, Tag>,
    /// Places at which nothing was when the writer began.
    pub(super) absent: BTreeSet<Key>,
    /// The version of the manifest of the whole layer, known before the commit was put.
    pub(super) manifest: Option<Tag>,
    /// The local file with the content of an object.
    pub(super) local: Option<&'a LocalFile<'a>>,
}

/// Installs the files of all commits that are not known to be installed.
///
/// # Errors
/// An object that is not whole: nothing is then moved in a folder. I/O errors.
pub(super) fn complete(output: &Output, head: &Head) -> Result<(), StoreError> {
    let mut commits = Vec::new();
    for number in head.installed + 1..head.commit.number {
        // A commit that was removed as too old was installed long ago.
        commits.extend(commit::commit(output, number)?);
    }
    commits.push(head.commit.clone());
    let wanted = wanted(&commits);
    if output.folder().is_some() {
        wanted.values().try_for_each(|wanted| verify_object(output, wanted))?;
    }
    install(output, &wanted, &Known::default(), head.commit.number)?;
    commits.iter().try_for_each(|commit| tell(output, &commit.told))?;
    let manifest = tell_of_layer(output, &commits, None)?;
    let note = InstalledNote { record: head.commit.clone(), replaces: head.hint.number(), manifest, copies: None };
    match commit::note_installed(output, &note, Some(head.hint.clone()))? {
        Noted::Yes => Ok(()),
        Noted::Overtaken => settle(output, &wanted.into_keys().collect(), head.commit.number),
    }
}

/// Installs what commits after a number want at some places. Whoever was overtaken may have put its files after theirs.
///
/// # Errors
/// I/O errors.
pub(super) fn settle(output: &Output, places: &BTreeSet<Key>, mut number: u64) -> Result<(), StoreError> {
    loop {
        let later = commits_after(output, number)?;
        let Some(newest) = later.last().map(|newest| newest.number) else { return Ok(()) };
        let mut wanted = wanted(&later);
        wanted.retain(|key, _| places.contains(key));
        install(output, &wanted, &Known::default(), newest)?;
        tell_of_layer(output, &later, None)?;
        // This writer may have slept again, between its look and its put.
        number = newest;
    }
}

/// The places that a commit changes.
pub(super) fn places_of(commit: &Commit) -> BTreeSet<Key> {
    wanted(std::slice::from_ref(commit)).into_keys().collect()
}

fn commits_after(output: &Output, number: u64) -> Result<Vec<Commit>, StoreError> {
    let mut later = Vec::new();
    while let Some(next) = commit::commit(output, number + 1 + later.len() as u64)? {
        later.push(next);
    }
    Ok(later)
}

/// Installs the files of a commit that its writer has just put. Returns the version of the manifest of the whole layer, if it put that.
///
/// # Errors
/// I/O errors. The commit counts all the same.
pub(super) fn install_own(output: &Output, commit: &Commit, known: &Known<'_>) -> Result<Option<Tag>, StoreError> {
    install(output, &wanted(std::slice::from_ref(commit)), known, commit.number)?;
    tell(output, &commit.told)?;
    tell_of_layer(output, std::slice::from_ref(commit), known.manifest.as_ref())
}

/// What the newest of the commits wants at each place.
fn wanted(commits: &[Commit]) -> BTreeMap<Key, Wanted> {
    let mut wanted = BTreeMap::new();
    for commit in commits {
        wanted.extend(commit.put.iter().map(|Installed { key, version }| (key.clone(), Wanted::File(version.clone()))));
        wanted.extend(commit.remove.iter().map(|Removed { key, empty }| (key.clone(), Wanted::Nothing(empty.clone()))));
    }
    wanted
}

/// Writes the files that tell of one commit alone.
fn tell(output: &Output, told: &[Told]) -> Result<(), StoreError> {
    told.iter().filter(|told| !is_of_layer(told)).try_for_each(|told| output.replace(&told.key, told.text.as_bytes()))
}

/// Whether a file tells of the whole layer: then that of the newest commit belongs there.
fn is_of_layer(told: &Told) -> bool {
    told.key.as_str() == places::WHOLE_MANIFEST
}

/// Writes the file that tells of the whole layer, unless a later commit does. Returns its version, if it is the one of these commits.
/// `known` is a version that was there before the newest of them was put, by its own writer.
fn tell_of_layer(output: &Output, commits: &[Commit], known: Option<&Tag>) -> Result<Option<Tag>, StoreError> {
    let newest = commits.iter().rev().find_map(|commit| Some((commit.number, commit.told.iter().find(|told| is_of_layer(told))?)));
    let Some((number, told)) = newest else { return Ok(None) };
    if output.folder().is_some() {
        return output.replace(&told.key, told.text.as_bytes()).map(|()| None);
    }
    let mut known = known.map(|tag| Condition::Is(tag.clone()));
    for _ in 0..ATTEMPTS {
        let condition = match known.take() {
            Some(condition) => condition,
            None => {
                // The version first, then the log, as for every file that several commits want.
                let there = output.object(&told.key)?;
                if let Some(object) = there.as_ref().filter(|object| object.bytes == told.text.as_bytes()) {
                    return Ok(Some(object.tag.clone()));
                }
                if commits_after(output, number)?.iter().any(|later| later.told.iter().any(is_of_layer)) {
                    return Ok(None);
                }
                there.map_or(Condition::Absent, |object| Condition::Is(object.tag))
            }
        };
        match output.store().put(&told.key, Content::Bytes(told.text.as_bytes()), &condition) {
            Ok(tag) => return Ok(Some(tag)),
            Err(PutError::Io(error)) => return Err(error),
            Err(PutError::Conflict | PutError::Unknown(_)) => {}
        }
    }
    Err(contended(output, &told.key))
}

/// Other writers were first, again and again.
fn contended(output: &Output, key: &Key) -> StoreError {
    StoreError::Refused { location: output.location_of(key), detail: "other writers replace it again and again".to_owned() }
}

fn install(output: &Output, wanted: &BTreeMap<Key, Wanted>, known: &Known<'_>, number: u64) -> Result<(), StoreError> {
    match output.folder() {
        Some(root) => install_in_folder(output, root, wanted),
        None => {
            let wanted: Vec<_> = wanted.iter().collect();
            at_once(&wanted, |(key, wanted)| install_in_bucket(&InBucket { output, known, number }, key, wanted))
        }
    }
}

/// Verifies that the object of a file is whole, before anything is moved.
fn verify_object(output: &Output, wanted: &Wanted) -> Result<(), StoreError> {
    match wanted {
        Wanted::File(version) => output.read_version(version).map(drop),
        Wanted::Nothing(_) => Ok(()),
    }
}

/// Puts the objects in place by renames, and removes what is to be removed.
fn install_in_folder(output: &Output, root: &Path, wanted: &BTreeMap<Key, Wanted>) -> Result<(), StoreError> {
    let mut folders = BTreeSet::new();
    for (key, wanted) in wanted {
        let place = root.join(key);
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

/// What the installation of a file in a bucket works with.
struct InBucket<'a> {
    output: &'a Output,
    known: &'a Known<'a>,
    /// The newest of the commits that are installed.
    number: u64,
}

/// Puts a file in the version that was seen. Where another writer came between, the log tells whose file belongs there.
fn install_in_bucket(context: &InBucket<'_>, key: &Key, wanted: &Wanted) -> Result<(), StoreError> {
    let InBucket { output, known, .. } = context;
    let version = match wanted {
        Wanted::File(version) | Wanted::Nothing(Some(version)) => version,
        Wanted::Nothing(None) => return Ok(()),
    };
    let mut condition = match known.tags.get(key) {
        Some(tag) => Some(Condition::Is(tag.clone())),
        None if known.absent.contains(key) => Some(Condition::Absent),
        None => None,
    };
    for _ in 0..ATTEMPTS {
        let condition = match condition.take() {
            Some(condition) => condition,
            None => {
                // The version first, then the log: a file that a later commit has put meanwhile has another version.
                let there = output.object(key)?;
                if context.is_touched_later(key)? {
                    return Ok(());
                }
                match there {
                    Some(object) if version.is_of(&object.bytes) => return Ok(()),
                    Some(object) => Condition::Is(object.tag),
                    None => Condition::Absent,
                }
            }
        };
        match put_version(output, known, key, version, &condition) {
            Ok(()) => return Ok(()),
            Err(PutError::Io(error)) => return Err(error),
            // The next look tells whether it was done, or whose file it is.
            Err(PutError::Unknown(_) | PutError::Conflict) => {}
        }
    }
    Err(contended(output, key))
}

fn put_version(output: &Output, known: &Known<'_>, key: &Key, version: &ObjectRef, condition: &Condition) -> Result<(), PutError> {
    if let Some(path) = known.local.and_then(|local| local(version)) {
        return output.store().put(key, Content::File(&path), condition).map(drop);
    }
    let bytes = output.read_version(version)?;
    output.store().put(key, Content::Bytes(&bytes), condition).map(drop)
}

impl InBucket<'_> {
    /// Whether a later commit touches the place: its file belongs there, and its own writer, or whoever comes next, installs it.
    fn is_touched_later(&self, key: &Key) -> Result<bool, StoreError> {
        let mut number = self.number + 1;
        while let Some(later) = commit::commit(self.output, number)? {
            if later.put.iter().any(|put| put.key == *key) || later.remove.iter().any(|removed| removed.key == *key) {
                return Ok(true);
            }
            number += 1;
        }
        Ok(false)
    }
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
    for told in commit.told.iter().filter(|told| told.key.as_str() != places::WHOLE_MANIFEST) {
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
