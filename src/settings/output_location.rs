//! Where the layer is: a folder, or a bucket with how it is reached. Opens nothing, and only looks whether a file stands there.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::{SettingsError, StorageSettings};

/// Where the layer is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OutputLocation {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A bucket.
    Bucket(Box<StorageSettings>),
}

impl OutputLocation {
    /// The folder; `None` if it is a bucket.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            OutputLocation::Folder(folder) => Some(folder),
            OutputLocation::Bucket(_) => None,
        }
    }

    /// The location as it reads from anywhere: an absolute path, or a URL.
    pub fn absolute(&self) -> String {
        match self {
            OutputLocation::Folder(folder) => std::path::absolute(folder).unwrap_or_else(|_| folder.clone()).display().to_string(),
            OutputLocation::Bucket(_) => self.to_string(),
        }
    }

    /// The location of a place beneath it.
    pub fn at(&self, place: impl AsRef<str>) -> String {
        match self {
            OutputLocation::Folder(folder) => folder.join(place.as_ref()).display().to_string(),
            OutputLocation::Bucket(storage) => format!("{}/{}", storage.location, place.as_ref()),
        }
    }
}

/// The file that stands where a folder is needed, or where one above it is.
pub(super) fn file_in_place_of(folder: &Path) -> Option<&Path> {
    folder.ancestors().find(|place| place.exists()).filter(|place| !place.is_dir())
}

/// Fails if a file stands where a flag names a folder.
///
/// # Errors
/// [`SettingsError::Value`].
pub fn refuse_file(flag: &'static str, folder: &Path) -> Result<(), SettingsError> {
    let Some(file) = file_in_place_of(folder) else { return Ok(()) };
    let detail = format!("{} is a file, and a folder is needed there: name another place", file.display());
    Err(SettingsError::flag(flag, &folder.display().to_string(), detail))
}

impl From<PathBuf> for OutputLocation {
    fn from(folder: PathBuf) -> OutputLocation {
        OutputLocation::Folder(folder)
    }
}

impl fmt::Display for OutputLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutputLocation::Folder(folder) => folder.display().fmt(f),
            OutputLocation::Bucket(storage) => storage.location.fmt(f),
        }
    }
}
