//! Files and folders of `curated/` that are not partitions, of `order_totals/` and `refunds/` that are not of these facts, and of `dims/`
//! that are not dimensions: a `COPY` of the prefix would load them. Lists folders only.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{CheckError, LayerView, ViewScope};
use crate::{
    model::{DIM_PRODUCT, DIM_USER, Dt},
    store::places::{self, SideFact},
};

/// The entries that are not part of a partition, relative to the output and sorted: in the partitions that a run touches, or in
/// all of `curated/`. And those beside the dimensions.
///
/// # Errors
/// [`CheckError::Layer`] for I/O errors. A missing folder is not an error.
pub(super) fn foreign_entries(view: &LayerView) -> Result<Vec<String>, CheckError> {
    let Some(output) = &view.output else { return Ok(view.foreign.clone()) };
    let mut foreign = Vec::new();
    match view.scope {
        ViewScope::Whole => {
            for path in entries(&output.join(places::CURATED))? {
                match partition(&path) {
                    Some(dt) => add_foreign_of(view, dt, &path, &mut foreign)?,
                    None => foreign.push(path),
                }
            }
        }
        ViewScope::Changed => {
            for dt in view.changed.union(&view.removed) {
                add_foreign_of(view, *dt, &output.join(places::partition_folder(*dt)), &mut foreign)?;
            }
        }
    }
    for fact in SideFact::ALL {
        add_foreign_of_side(view, fact, output, &mut foreign)?;
    }
    for path in entries(&output.join(places::DIMS))? {
        let file =
            [DIM_USER, DIM_PRODUCT].into_iter().map(|spec| places::dimension(&spec)).find(|file| path.ends_with(folder_of(file.as_ref())));
        match file {
            Some(file) => foreign.extend(entries(&path)?.into_iter().filter(|path| !path.ends_with(&file) || path.is_dir())),
            None => foreign.push(path),
        }
    }
    foreign.sort();
    let relative = |path: &PathBuf| path.strip_prefix(output).unwrap_or(path).display().to_string();
    Ok(foreign.iter().map(relative).collect())
}

/// Adds everything beside a side fact of the days that a run touches, or of all.
fn add_foreign_of_side(view: &LayerView, fact: SideFact, output: &Path, foreign: &mut Vec<PathBuf>) -> Result<(), CheckError> {
    let side = view.side(fact);
    let mut days = side.changed.clone();
    if view.scope == ViewScope::Whole {
        for path in entries(&output.join(fact.folder()))? {
            match partition(&path) {
                Some(dt) if side.files.contains_key(&dt) => drop(days.insert(dt)),
                // An empty folder loads nothing: a run that was overtaken may leave one.
                Some(_) => foreign.extend(entries(&path)?),
                None => foreign.push(path),
            }
        }
    }
    for dt in days {
        let own = output.join(fact.file(dt));
        foreign.extend(entries(folder_of(&own))?.into_iter().filter(|path| *path != own || path.is_dir()));
    }
    Ok(())
}

/// The folder of a file.
fn folder_of(file: &Path) -> &Path {
    file.parent().unwrap_or(file)
}

/// The partition of a folder whose name is exactly that of a partition.
fn partition(path: &Path) -> Option<Dt> {
    let name = path.file_name()?.to_str()?;
    places::partition_of(name).filter(|dt| places::partition_folder(*dt).name() == name && path.is_dir())
}

/// Adds everything in a partition's folder but its file. Where no file of it is known, each format is its own.
fn add_foreign_of(view: &LayerView, dt: Dt, folder: &Path, foreign: &mut Vec<PathBuf>) -> Result<(), CheckError> {
    let name_of = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let own = view.facts.get(&dt).and_then(|path| name_of(path));
    let is_own = |name: &str| match &own {
        Some(own) => own == name,
        None => places::partition_format(&places::partition_folder(dt).join(name)).is_some(),
    };
    let is_foreign = |path: &PathBuf| path.is_dir() || !name_of(path).is_some_and(|name| is_own(&name));
    foreign.extend(entries(folder)?.into_iter().filter(is_foreign));
    Ok(())
}

/// The paths in a folder; none where there is no folder. A file in place of the folder is its own only entry.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, CheckError> {
    let failed = |error: io::Error| CheckError::Layer { doing: format!("listing {}", folder.display()), detail: error.to_string() };
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(vec![folder.to_owned()]),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_the_file_of_a_partition_is_foreign() {
        let dir = tempfile::tempdir().unwrap();
        let curated = dir.path().join("curated");
        let put = |name: &str| {
            let path = curated.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        let one = "dt=2026-01-01";
        for name in ["part-00000.csv", "part-00001.csv", ".part-00000.csv.swp", "part-00000.csv.bak", "sub/part-00000.csv"] {
            put(&format!("{one}/{name}"));
        }
        for name in ["dt=2026-01-02/part-00000.csv", "dt=2026-01-03/x", "dt=2026-1-4/part-00000.csv", "notes.txt", "old/part-00000.csv"] {
            put(name);
        }
        let found = |view: &LayerView| {
            let paths = foreign_entries(view).unwrap();
            paths.iter().map(|path| path.strip_prefix("curated/").unwrap().to_owned()).collect::<Vec<_>>()
        };
        let in_one = [".part-00000.csv.swp", "part-00000.csv.bak", "part-00001.csv", "sub"].map(|name| format!("{one}/{name}"));
        let days = |days: &[&str]| days.iter().map(|day| day.parse().unwrap()).collect();
        let mut view = LayerView {
            output: Some(dir.path().to_owned()),
            changed: days(&["2026-01-01", "2026-01-02", "2026-01-09"]),
            ..LayerView::default()
        };
        assert_eq!(found(&view), in_one);
        view.removed = days(&["2026-01-03"]);
        assert_eq!(found(&view)[4..], ["dt=2026-01-03/x"]);
        view.scope = ViewScope::Whole;
        let whole: Vec<_> = in_one.into_iter().chain(["dt=2026-01-03/x", "dt=2026-1-4", "notes.txt", "old"].map(str::to_owned)).collect();
        assert_eq!(found(&view), whole);
    }
}
