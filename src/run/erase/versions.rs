//! Kept versions that may hold what was erased: objects of partitions and of `dim_user` that no commit since the erasure names.
//!
//! The records of earlier commits stay: a number that is free could be taken by a run that has slept. They hold no row.

use std::collections::BTreeSet;

use super::COMMAND;
use crate::{
    layer::LayerState,
    model::DIM_USER,
    store::{self, Key, Output, StoreError, places},
};

/// The objects that hold rows of facts or users and that none of these names.
///
/// # Errors
/// I/O errors.
pub(super) fn not_named(output: &Output, named: &BTreeSet<Key>) -> Result<Vec<Key>, StoreError> {
    let facts = format!("{}/dt=", places::DATA);
    let users = format!("{}/{}/", places::DATA, DIM_USER.name);
    let holds_rows = |key: &Key| key.as_str().starts_with(&facts) || key.as_str().starts_with(&users);
    let listed = output.list(places::DATA)?.into_iter().map(|listed| listed.key);
    Ok(listed.filter(|key| holds_rows(key) && !named.contains(key)).collect())
}

/// The objects of a state.
pub(super) fn named_by(state: &LayerState) -> BTreeSet<Key> {
    state.data_objects().cloned().collect()
}

/// The objects that the commits from the last erasure on name; `None` if no erasure is among the kept commits.
///
/// # Errors
/// I/O errors; a damaged record.
pub(super) fn named_since_erasure(output: &Output) -> Result<Option<BTreeSet<Key>>, StoreError> {
    let mut named = BTreeSet::new();
    for number in store::kept_commits(output)?.into_iter().rev() {
        let Some(commit) = store::commit(output, number)? else { continue };
        named.extend(named_by(&LayerState::of(output, &commit)?));
        named.extend(commit.remove.into_iter().filter_map(|removed| removed.empty).map(|empty| empty.object));
        if commit.command == COMMAND {
            return Ok(Some(named));
        }
    }
    Ok(None)
}

/// Removes objects.
///
/// # Errors
/// What the store refuses.
pub(super) fn remove(output: &Output, keys: &[Key]) -> Result<(), StoreError> {
    keys.iter().try_for_each(|key| output.remove(key))
}
