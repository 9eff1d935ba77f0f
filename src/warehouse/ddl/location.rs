//! Where an engine finds the output: a folder or a URL. Opens nothing.

use std::{
    path::{self, Path},
    str::FromStr,
};

use super::DdlError;

/// The output as an engine sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LayerLocation {
    /// A folder, as an absolute path without a slash at its end.
    Folder(String),
    /// A URL without a slash at its end: `s3://bucket/prefix`.
    Url(String),
}

impl LayerLocation {
    /// The location of a folder. A relative path is taken from the working directory.
    ///
    /// # Errors
    /// [`DdlError::Location`] for a path that is not UTF-8, or that has control characters.
    pub fn of_folder(folder: &Path) -> Result<LayerLocation, DdlError> {
        let refused = || DdlError::Location(shown(&folder.to_string_lossy()));
        let absolute = path::absolute(folder).map_err(|_| refused())?;
        let text = absolute.to_str().filter(|text| !text.contains(char::is_control)).ok_or_else(refused)?;
        Ok(LayerLocation::Folder(text.trim_end_matches('/').to_owned()))
    }

    /// The location of something beneath the output.
    pub(super) fn at(&self, place: &str) -> String {
        match self {
            LayerLocation::Folder(root) | LayerLocation::Url(root) => format!("{root}/{place}"),
        }
    }

    /// The same as a URL. Hadoop takes a path in it as it is, without percent-encoding.
    pub(super) fn url_of(&self, place: &str) -> String {
        match self {
            LayerLocation::Folder(_) => format!("file://{}", self.at(place)),
            LayerLocation::Url(_) => self.at(place),
        }
    }

    /// The scheme of a URL, in lower case.
    pub(super) fn scheme(&self) -> Option<String> {
        match self {
            LayerLocation::Folder(_) => None,
            LayerLocation::Url(url) => url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase()),
        }
    }
}

/// A text without control characters, for a message.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

impl FromStr for LayerLocation {
    type Err = DdlError;

    fn from_str(text: &str) -> Result<LayerLocation, DdlError> {
        let refused = || DdlError::Location(shown(text));
        if text.is_empty() || text.contains(char::is_control) {
            return Err(refused());
        }
        match text.split_once("://") {
            None => LayerLocation::of_folder(Path::new(text)),
            Some((scheme, path)) if scheme.eq_ignore_ascii_case("file") && path.starts_with('/') => {
                LayerLocation::of_folder(Path::new(path))
            }
            Some((scheme, rest)) => {
                let is_scheme = !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
                let has_bucket = !rest.trim_matches('/').is_empty();
                if !is_scheme || !has_bucket || scheme.eq_ignore_ascii_case("file") {
                    return Err(refused());
                }
                Ok(LayerLocation::Url(text.trim_end_matches('/').to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_absolute_and_urls_stay() {
        let folder = |text: &str| LayerLocation::Folder(text.to_owned());
        assert_eq!("file:///data/out/".parse(), Ok(folder("/data/out")));
        assert_eq!("/data/out".parse(), Ok(folder("/data/out")));
        assert_eq!("s3://bucket/out//".parse(), Ok(LayerLocation::Url("s3://bucket/out".into())));
        assert_eq!(folder("/a b%").url_of("curated"), "file:///a b%/curated");
        assert!(matches!("out".parse(), Ok(LayerLocation::Folder(path)) if path.starts_with('/') && path.ends_with("/out")));
    }

    #[test]
    fn what_could_leave_its_line_or_is_no_place_is_refused() {
        for text in ["", "s3://", "s3:///", "://x", "a b://x", "file://host/x", "/a\nb", "s3://b/\r", "/a\0"] {
            assert!(matches!(text.parse::<LayerLocation>(), Err(DdlError::Location(_))), "{text:?}");
        }
    }
}
