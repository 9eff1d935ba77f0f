//! Files that a command writes where an option says. They lie outside of the layer: inside, a warehouse may load them, and
//! `etl demo` refuses a folder that holds anything but its own. Writes nothing.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

use super::RequestError;
use crate::{
    settings::{EmfTarget, Settings},
    store::{Output, places},
};

/// Fails for a file or folder that lies inside the layer, however its path is written: relative, through a link, with `..`.
///
/// # Errors
/// [`RequestError::InsideLayer`].
pub fn refuse_inside_layer(output: &Output, option: &'static str, path: &Path) -> Result<(), RequestError> {
    let Some(root) = output.folder() else { return Ok(()) };
    // A folder of the layer may be a link to another disk.
    let folders = places::FOLDERS.iter().map(|name| root.join(name));
    let is_inside = [root.to_owned()].into_iter().chain(folders).any(|folder| is_within(path, &resolved(&absolute(&folder))));
    if is_inside {
        return Err(RequestError::InsideLayer { option, path: path.to_owned(), output: output.location() });
    }
    Ok(())
}

/// Fails if a run would write its metrics into the layer.
///
/// # Errors
/// As [`refuse_inside_layer`].
pub(super) fn refuse_metrics_inside_layer(settings: &Settings, output: &Output) -> Result<(), RequestError> {
    let emf = match &settings.metrics.emf {
        Some(EmfTarget::File(path)) => Some(path),
        Some(EmfTarget::Stdout) | None => None,
    };
    let named = [("--metrics-file", settings.metrics.file.as_ref()), ("--metrics-emf", emf)];
    named
        .into_iter()
        .filter_map(|(option, path)| Some((option, path?)))
        .try_for_each(|(option, path)| refuse_inside_layer(output, option, path))
}

/// Fails if events of lineage would be written into the layer.
///
/// # Errors
/// As [`refuse_inside_layer`].
pub(super) fn refuse_lineage_inside_layer(settings: &Settings) -> Result<(), RequestError> {
    let file = settings.lineage.as_ref().and_then(|lineage| lineage.file.as_deref());
    let (Some(file), Some(folder)) = (file, settings.output.folder()) else { return Ok(()) };
    refuse_inside_layer(&Output::new(folder.to_owned()), "lineage.file", file)
}

/// Whether a path lies in a folder, or is the folder. A link at the end of the path counts as where it lies and as where it leads.
fn is_within(path: &Path, folder: &Path) -> bool {
    let path = absolute(path);
    let own_place = path.parent().zip(path.file_name()).map(|(above, name)| resolved(above).join(name));
    let mut places = own_place.into_iter().chain([resolved(&path)]);
    places.any(|place| place.ancestors().any(|above| is_same(above, folder)))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// An absolute path without links and `..`, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                resolved.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                resolved.push(part);
                resolved = followed(resolved);
            }
        }
    }
    resolved
}

/// Where a path without links above its last part leads. A link to a file that does not exist yet leads to the place of that file.
fn followed(path: PathBuf) -> PathBuf {
    let of_missing = || {
        let target = path.parent()?.join(fs::read_link(&path).ok()?);
        Some(target.parent()?.canonicalize().ok()?.join(target.file_name()?))
    };
    path.canonicalize().ok().or_else(of_missing).unwrap_or(path)
}

/// Whether both are one place: by name, or as the disk tells where two names lead to one folder.
fn is_same(one: &Path, other: &Path) -> bool {
    let on_disk = |path: &Path| fs::metadata(path).ok().map(|place| (place.dev(), place.ino()));
    one == other || on_disk(one).is_some_and(|place| on_disk(other) == Some(place))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_place_in_the_layer_is_refused_however_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for folder in ["layer/reports", "disk", "beside"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        symlink(at("disk"), at("layer/curated")).unwrap();
        symlink(at("layer"), at("link")).unwrap();
        symlink(at("layer/reports/r.html"), at("beside/leads_in.html")).unwrap();
        symlink(at("beside/r.html"), at("layer/leads_out.html")).unwrap();
        let output = Output::new(at("layer"));
        let is_refused = |name: &str| refuse_inside_layer(&output, "--file", &at(name)).is_err();
        for inside in [
            "layer",
            "layer/r.html",
            "layer/reports/r.html",
            "layer/none/yet/r.html",
            "beside/../layer/r.html",
            "layer/none/../r.html",
            "layer/./r.html",
            "link/r.html",
            "disk/dt=2026-01-01/r.html",
            "beside/leads_in.html",
            "layer/leads_out.html",
        ] {
            assert!(is_refused(inside), "{inside}");
        }
        for outside in ["r.html", "beside/r.html", "layers/r.html", "layer/../r.html", "none/r.html"] {
            assert!(!is_refused(outside), "{outside}");
        }
        let missing = Output::new(at("not/yet"));
        assert!(refuse_inside_layer(&missing, "--file", &at("not/yet/r.html")).is_err());
        assert!(refuse_inside_layer(&missing, "--file", &at("not/r.html")).is_ok());
    }
}
