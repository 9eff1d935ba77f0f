//! `etl vacuum`: removes what is past `--keep`: old commits, and versions of files that no kept commit names; and what runs have
//! left that is past its retention.

use std::{collections::BTreeSet, time::Duration};

use serde::Serialize;

use super::{
    RunError,
    change::is_empty_partition,
    explain::{self, Clock},
    open::{Opened, Opening, existing_layer},
};
use crate::{
    cancel::Cancel,
    layer::{LayerState, OpenedLayer},
    model::{RunId, UtcMicros, parse_time_text},
    report::{self, CurrentRun, Retention},
    settings::Settings,
    store::{
        self, Key, Listed, Output, StoreError,
        places::{self, SideFact},
    },
};

/// Objects that no commit has ever named may be of a run that is at work: they are left alone for this long.
const AT_WORK: i64 = UtcMicros::DAY;

/// The state of this many commits is kept whole: runs that began with one of them may read it.
const NEWEST: usize = 16;

/// What was removed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Vacuumed {
    /// Records of commits.
    pub commits: usize,
    /// Versions of partitions and dimensions, and the tool's own files.
    pub objects: usize,
    /// Their size.
    pub bytes: u64,
    /// Files of partitions without rows.
    pub empty_partitions: usize,
}

/// Removes what is past its time. A run that is at work loses nothing. A dry run counts, and removes nothing.
///
/// # Errors
/// There is no layer (exit 2); the output is held; I/O errors.
pub fn vacuum(settings: &Settings, cancel: &Cancel) -> Result<Vacuumed, RunError> {
    let output = Output::open(&settings.output)?;
    let started_at = UtcMicros::now();
    let opening = Opening::of_all_days(&output, started_at, settings, cancel, existing_layer(&output)?);
    let Opened { layer, run_id, lease } = opening.open(RunId::new(started_at))?;
    let removal = if settings.dry_run { Removal::Counted } else { Removal::Done };
    let vacuum = Vacuum { output: &output, keep: settings.keep, now: started_at, removal };
    let removed = vacuum.run(&layer)?;
    if removal == Removal::Counted {
        return Ok(removed);
    }
    let run = CurrentRun { run_id: run_id.as_str(), now: started_at };
    report::remove_older(&output, &retention(settings), &run)?;
    if output.folder().is_none() {
        explain::retain_lineage(settings, &output, started_at, Clock::Trusted);
    }
    drop(lease);
    Ok(removed)
}

/// How long what runs have left stays.
pub(super) fn retention(settings: &Settings) -> Retention {
    Retention { all: settings.retention, raw: settings.raw.keep }
}

/// The same in a folder after a run, once a day. What goes wrong is a warning: the run is published.
pub(super) fn vacuum_daily(settings: &Settings, output: &Output, now: UtcMicros) {
    if output.folder().is_none() {
        return;
    }
    let today = now.rfc3339().chars().take("2026-01-31".len()).collect::<String>();
    let is_done = output.read(places::VACUUMED).ok().flatten().is_some_and(|day| day == today.as_bytes());
    if is_done {
        return;
    }
    let vacuumed = OpenedLayer::open(output)
        .and_then(|layer| Vacuum { output, keep: settings.keep, now, removal: Removal::Done }.run(&layer))
        .and_then(|removed| output.replace(places::VACUUMED, today.as_bytes()).map(|()| removed));
    match vacuumed {
        Ok(removed) if removed.objects > 0 => {
            tracing::info!(objects = removed.objects, bytes = removed.bytes, "versions past --keep have been removed");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "versions past --keep could not be removed"),
    }
}

/// Whether what is past its time is removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Removal {
    /// It is.
    Done,
    /// It is counted only.
    Counted,
}

struct Vacuum<'a> {
    output: &'a Output,
    keep: Duration,
    now: UtcMicros,
    removal: Removal,
}

/// What commits name.
#[derive(Default)]
struct Named {
    by_kept: BTreeSet<Key>,
    by_expired: BTreeSet<Key>,
}

impl Vacuum<'_> {
    fn run(&self, layer: &OpenedLayer) -> Result<Vacuumed, StoreError> {
        let mut removed = Vacuumed::default();
        if layer.head.is_none() {
            return Ok(removed);
        }
        let numbers = store::kept_commits(self.output)?;
        let mut named = Named::default();
        let mut expired = Vec::new();
        let mut next_is_kept = true;
        for (place, &number) in numbers.iter().rev().enumerate() {
            let Some(commit) = store::commit(self.output, number)? else { continue };
            let state = LayerState::of(self.output, &commit)?;
            let is_young = parse_time_text(&commit.committed_at).is_none_or(|at| !self.is_past(at));
            // The commit before a kept one is what an undo of that one goes back to.
            if next_is_kept || is_young {
                named.by_kept.extend(state.data_objects().cloned());
                named.by_kept.extend(commit.remove.into_iter().filter_map(|removed| removed.empty).map(|empty| empty.object));
                let own = state.own_objects().cloned();
                if place < NEWEST { named.by_kept.extend(own) } else { named.by_expired.extend(own) }
            } else {
                named.by_expired.extend(state.objects().cloned());
                // The number of a record that is removed could be taken again by a run that has slept: it stays for longer than any sleeps.
                expired.extend(parse_time_text(&commit.committed_at).filter(|at| *at < self.now.minus(2 * AT_WORK)).map(|_| number));
            }
            next_is_kept = is_young;
        }
        for folder in [places::DATA, places::INDEX, places::PRICES] {
            for listed in self.output.list(folder)? {
                if self.is_unused(&listed, &named) {
                    if self.removal == Removal::Done {
                        self.output.remove(&listed.key)?;
                    }
                    removed.objects += 1;
                    removed.bytes += listed.bytes;
                }
            }
        }
        for number in expired {
            if self.removal == Removal::Done {
                store::remove_commit(self.output, number)?;
            }
            removed.commits += 1;
        }
        removed.empty_partitions = match self.removal {
            Removal::Done => remove_empty_partitions(self.output, &layer.state)?,
            Removal::Counted => empty_partitions(self.output, &layer.state)?.len(),
        };
        Ok(removed)
    }

    fn is_past(&self, at: UtcMicros) -> bool {
        at < self.now.minus(i64::try_from(self.keep.as_micros()).unwrap_or(i64::MAX))
    }

    /// Whether no kept commit names an object. One that no commit has ever named may be of a run that is at work.
    fn is_unused(&self, listed: &Listed, named: &Named) -> bool {
        !named.by_kept.contains(&listed.key) && (named.by_expired.contains(&listed.key) || listed.modified < self.now.minus(AT_WORK))
    }
}

/// In a bucket, a partition that lost its last row stays as a file without rows, and so does one whose format was changed. Removes
/// these files, and returns their number.
///
/// # Errors
/// What the store refuses.
pub(super) fn remove_empty_partitions(output: &Output, state: &LayerState) -> Result<usize, StoreError> {
    let empty = empty_partitions(output, state)?;
    empty.iter().try_for_each(|key| output.remove(key))?;
    Ok(empty.len())
}

/// The files of partitions without rows that stand in a bucket; none in a folder.
fn empty_partitions(output: &Output, state: &LayerState) -> Result<Vec<Key>, StoreError> {
    let mut empty = Vec::new();
    if output.folder().is_some() {
        return Ok(empty);
    }
    let sides = SideFact::ALL.into_iter().map(|fact| output.list(fact.folder())).collect::<Result<Vec<_>, _>>()?;
    for listed in output.list(places::CURATED)?.into_iter().chain(sides.into_iter().flatten()) {
        if state.version_at(&listed.key).is_none() && is_empty_partition(output, &listed.key)? {
            empty.push(listed.key);
        }
    }
    Ok(empty)
}
