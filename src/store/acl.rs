//! Access control lists of files (POSIX ACLs), as extended attributes. A file that is staged elsewhere has the list of the folder in
//! which it was made; here it gets the one that it would have at its place.
//!
//! A file system without such lists is the usual case, and no error.

use std::{fs, path::Path};

use rustix::fs::{XattrFlags, getxattr, removexattr, setxattr};

/// The list that a file or a folder has.
const ACCESS: &str = "system.posix_acl_access";
/// The list that new files in a folder get.
const DEFAULT: &str = "system.posix_acl_default";

/// Longer lists are left alone.
const MOST_BYTES: usize = 64 << 10;

/// Gives a staged file the list of the file that it will replace.
pub(super) fn keep(staged: &Path, place: &Path) {
    set(staged, read(place, ACCESS));
}

/// Gives a new file the default list of the folder that it will lie in, or of the nearest one above that exists.
pub(super) fn inherit(staged: &Path, place: &Path) {
    let folder = place.ancestors().skip(1).find(|folder| folder.is_dir());
    set(staged, folder.and_then(|folder| read(folder, DEFAULT)).map(without_execution));
}

fn read(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut list = vec![0; MOST_BYTES];
    let length = getxattr(path, name, &mut list[..]).ok()?;
    list.truncate(length);
    Some(list)
}

/// Sets the list of a file, or removes the one that it has.
fn set(staged: &Path, list: Option<Vec<u8>>) {
    let done = match list {
        Some(list) => setxattr(staged, ACCESS, &list, XattrFlags::empty()),
        None if read(staged, ACCESS).is_some() => {
            let mode = fs::metadata(staged).map(|file| file.permissions());
            let removed = removexattr(staged, ACCESS);
            // The bits of the group were the mask of the list.
            let _ = mode.and_then(|mode| fs::set_permissions(staged, mode));
            removed
        }
        None => return,
    };
    if let Err(error) = done {
        tracing::debug!(path = %staged.display(), %error, "the access control list can't be set");
    }
}

/// A default list as that of a new file: nobody may execute it. Format: version (u32), then entries of tag (u16), permissions (u16)
/// and id (u32), little-endian (Linux, `posix_acl_xattr.h`).
fn without_execution(mut list: Vec<u8>) -> Vec<u8> {
    const VERSION: usize = 4;
    const ENTRY: usize = 8;
    const EXECUTE: u8 = 1;
    /// Owner, mask, others; and the group where there is no mask.
    const CLASSES: [u8; 3] = [0x01, 0x10, 0x20];
    const GROUP: u8 = 0x04;
    let has_mask = list.get(VERSION..).unwrap_or_default().chunks_exact(ENTRY).any(|entry| entry[0] == CLASSES[1]);
    let start = VERSION.min(list.len());
    for entry in list[start..].chunks_exact_mut(ENTRY) {
        if CLASSES.contains(&entry[0]) || (entry[0] == GROUP && !has_mask) {
            entry[2] &= !EXECUTE;
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_is_not_executable_and_named_users_keep_what_they_have() {
        let entry = |tag: u8, permissions: u8| [tag, 0, permissions, 0, 0xff, 0xff, 0xff, 0xff];
        let list = |entries: &[(u8, u8)]| {
            [&[2, 0, 0, 0][..], &entries.iter().flat_map(|(tag, bits)| entry(*tag, *bits)).collect::<Vec<_>>()].concat()
        };
        let default = list(&[(0x01, 7), (0x02, 7), (0x04, 5), (0x10, 7), (0x20, 5)]);
        assert_eq!(without_execution(default), list(&[(0x01, 6), (0x02, 7), (0x04, 5), (0x10, 6), (0x20, 4)]));
        assert_eq!(without_execution(list(&[(0x01, 7), (0x04, 5), (0x20, 5)])), list(&[(0x01, 6), (0x04, 4), (0x20, 4)]));
        assert_eq!(without_execution(Vec::new()), [0; 0]);
    }
}
