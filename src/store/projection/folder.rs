//! Installs the files of commits in a folder, and takes back those of a commit that the disk refuses. Who installs
//! holds the lock.
//!
//! An object gets a second name at its place. Decides nothing about which commits are installed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use super::{CommitLog, LoggedCommit, Wanted, is_of_layer, tell};
use crate::store::{Commit, Head, Key, ObjectRef, Output, StoreError, commit::answer_of, disk, folder::create_durably, hint::Hint, places};

/// Installs the files of all commits of a folder that are not known to be installed.
///
/// # Errors
/// An object that is not whole: nothing is then moved. I/O errors.
pub(in crate::store) fn complete_in_folder(output: &Output, head: &Head) -> Result<(), StoreError> {
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
pub(in crate::store) fn put_hint_of_folder(output: &Output, record: &Commit) -> Result<(), StoreError> {
    answer_of(Hint::of_installed(record).put(output)).map(drop)
}

/// Installs the files of a commit that its writer has just put, in a folder.
///
/// # Errors
/// I/O errors. The commit counts all the same.
pub(in crate::store) fn install_own_in_folder(output: &Output, record: &Commit) -> Result<(), StoreError> {
    let commit = LoggedCommit::of(record);
    install_in_folder(output, &commit.wanted)?;
    tell(output, &commit.told)?;
    tell_of_layer(output, &commit.wanted)
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
fn put_in_place(output: &Output, version: &ObjectRef, place: &Path) -> Result<(), StoreError> {
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
pub(in crate::store) fn take_back(output: &Output, commit: &Commit, before: &dyn Fn(&Key) -> Option<ObjectRef>) -> Result<(), StoreError> {
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
