//! An output folder, and the listing of its folders.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{StoreError, disk, places};

/// An output folder. The places beneath it are named in [`places`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Output {
    root: PathBuf,
}

impl Output {
    /// The output at a path; nothing is touched.
    pub fn new(root: PathBuf) -> Output {
        Output { root }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path beneath the output.
    pub fn at(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// The facts, and nothing else: what a warehouse loads whole.
    pub fn curated(&self) -> PathBuf {
        self.at(places::CURATED)
    }

    /// The runs' summaries.
    pub fn reports(&self) -> PathBuf {
        self.at(places::REPORTS)
    }

    /// The tool's own.
    pub fn state(&self) -> PathBuf {
        self.at(places::STATE)
    }

    /// Where runs stage what they may publish: beside `curated/`, never beneath it, and on the same disk.
    pub fn staging(&self) -> PathBuf {
        self.at(places::STAGING)
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.at(places::JOURNAL)
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.at(places::LOCK)
    }

    /// Creates the folders that every run needs.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn prepare(&self) -> Result<(), StoreError> {
        for folder in [self.curated(), self.staging(), self.reports()] {
            disk::create_folder(&folder)?;
        }
        Ok(())
    }

    /// The names of a folder's entries, sorted; none where there is no folder.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn names(&self, folder: &Path) -> Result<Vec<String>, StoreError> {
        let entries = match folder.read_dir() {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StoreError::io("list", folder)(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry.map_err(StoreError::io("list", folder))?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }
}
