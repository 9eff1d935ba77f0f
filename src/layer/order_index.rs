//! An index of orders, as a layer keeps it: its segments, stored and new, and what was read again. Which table it is of, and when it
//! must be made again, is [`super::Catalog`]'s.

use std::path::{Path, PathBuf};

use super::{
    IndexBuilder, LayerError, LookUpError, Segment,
    index::{self, Entry, SegmentFile},
};
use crate::{
    model::{Dt, OrderHash},
    store::{Inlined, Key, ObjectRef, Output, Staging, StoreError},
};

/// The partitions of a table that may hold an order.
pub(super) struct OrderIndex {
    segments: Vec<Segment>,
    /// What each segment is stored as; `None` if it is not stored.
    stored: Vec<Option<ObjectRef>>,
    /// Entries of partitions that were read again.
    fresh: IndexBuilder,
    has_fresh: bool,
    /// The number of entries that the last look-up of a run has written to its file.
    new_entries: u64,
}

impl OrderIndex {
    /// An index without entries. `scratch` is a folder for those that are read again.
    pub(super) fn new(scratch: PathBuf) -> OrderIndex {
        OrderIndex { segments: Vec::new(), stored: Vec::new(), fresh: IndexBuilder::new(scratch), has_fresh: false, new_entries: 0 }
    }

    /// Opens the stored segments; `None` where one is missing or damaged.
    pub(super) fn open(output: &Output, stored: &[ObjectRef], scratch: PathBuf) -> Result<Option<OrderIndex>, LayerError> {
        let Some(segments) = open_segments(output, stored)? else { return Ok(None) };
        Ok(Some(OrderIndex { segments, stored: stored.iter().cloned().map(Some).collect(), ..OrderIndex::new(scratch) }))
    }

    /// Forgets all entries.
    pub(super) fn clear(&mut self) {
        (self.segments, self.stored) = (Vec::new(), Vec::new());
    }

    /// Takes an entry of a partition that was read again.
    pub(super) fn push(&mut self, order: OrderHash, dt: Dt) -> Result<(), LayerError> {
        self.has_fresh = true;
        self.fresh.push_bounded(order, dt)
    }

    /// Whether the stored segments do not have all entries.
    pub(super) fn is_stale(&self) -> bool {
        self.has_fresh || self.stored.iter().any(Option::is_none)
    }

    /// Whether there is nothing to look up.
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty() && !self.has_fresh
    }

    /// Appends the partitions that an order may lie in.
    ///
    /// # Errors
    /// [`LookUpError::Damaged`] if the index must be made again.
    pub(super) fn look_up(&mut self, order: OrderHash, partitions: &mut Vec<Dt>) -> Result<(), LookUpError> {
        look_up_in(self.segments.iter_mut(), order, partitions)
    }

    /// Makes a segment of the entries of partitions that were read again, so that they are looked up like others.
    pub(super) fn settle_fresh(&mut self, new_file: &Path) -> Result<(), LayerError> {
        if !self.has_fresh {
            return Ok(());
        }
        let path = new_file.with_extension("fresh");
        index::write_segment(&path, self.fresh.sorted()?)?;
        self.segments.push(Segment::open_written(&path)?);
        self.stored.push(None);
        self.has_fresh = false;
        Ok(())
    }

    /// Goes through the orders of partitions that were read again: each with its partitions there, and those that other segments know.
    ///
    /// # Errors
    /// [`LookUpError`].
    pub(super) fn each_fresh(&mut self, mut each: impl FnMut(Vec<Dt>)) -> Result<(), LookUpError> {
        let Some(fresh) = self.stored.iter().position(Option::is_none) else { return Ok(()) };
        let Some(segment) = self.segments.get(fresh) else { return Ok(()) };
        for partitions in index::by_order(segment.entries()?) {
            let (order, mut partitions) = partitions?;
            let others = self.segments.iter_mut().enumerate().filter(|(place, _)| *place != fresh).map(|(_, segment)| segment);
            look_up_in(others, order, &mut partitions)?;
            each(partitions);
        }
        Ok(())
    }

    /// Writes the entries that the index does not have yet to `new_file`, and returns their number. Calls `each` with every order, the
    /// partitions that it is brought to, and those that the index knows, sorted.
    ///
    /// # Errors
    /// [`LookUpError`].
    pub(super) fn write_new(
        &mut self,
        incoming: &mut IndexBuilder,
        new_file: &Path,
        mut each: impl FnMut(OrderHash, &[Dt], &mut Vec<Dt>),
    ) -> Result<u64, LookUpError> {
        let (mut known, mut new_entries): (Vec<Dt>, Vec<Entry>) = (Vec::new(), Vec::new());
        let mut failed = None;
        let mut orders = index::by_order(incoming.sorted()?);
        let stream = std::iter::from_fn(|| {
            while new_entries.is_empty() {
                let (order, days) = match orders.next()? {
                    Ok(partitions) => partitions,
                    Err(error) => return Some(Err(error)),
                };
                known.clear();
                if let Err(error) = self.look_up(order, &mut known) {
                    failed = Some(error);
                    return None;
                }
                known.sort_unstable();
                known.dedup();
                new_entries.extend(days.iter().rev().filter(|dt| known.binary_search(dt).is_err()).map(|&dt| (order, dt)));
                each(order, &days, &mut known);
            }
            new_entries.pop().map(Ok)
        });
        let written = index::write_segment(new_file, stream)?;
        if let Some(error) = failed {
            return Err(error);
        }
        self.new_entries = written.count;
        Ok(written.count)
    }

    /// Adds the new entries, and merges segments of like size. Returns the segments of the next index; `key` is the place of a new one.
    ///
    /// # Errors
    /// I/O errors; [`LayerError::Changed`] where the new entries are no longer there.
    pub(super) fn stage(&mut self, staging: &mut Staging, key: Key, new_file: &Path) -> Result<Vec<ObjectRef>, LayerError> {
        self.settle_fresh(new_file)?;
        let new = if self.new_entries > 0 { Some(Segment::open_written(new_file)?) } else { None };
        let mut segments: Vec<&Segment> = self.segments.iter().chain(&new).collect();
        let mut stored = self.stored.clone();
        stored.extend(new.iter().map(|_| None));
        let mut merge_from = merge_from(&segments, &stored);
        // Of an index in a bucket, at most one segment is an object of its own: each costs a request in every run.
        if staging.is_in_bucket()
            && index::segment_bytes(segments[merge_from..].iter().map(|segment| segment.count()).sum()) > Inlined::MOST_IN_RECORD
        {
            merge_from = 0;
        }
        let mut kept: Vec<_> = stored[..merge_from].iter().flatten().cloned().collect();
        if merge_from < segments.len() {
            let entries = index::merge_segments(&segments.split_off(merge_from))?;
            let SegmentFile { file, .. } = index::write_segment(&staging.staged(&key), entries)?;
            kept.push(staging.put_written(key, file));
        }
        Ok(kept)
    }
}

fn look_up_in<'s>(segments: impl Iterator<Item = &'s mut Segment>, order: OrderHash, partitions: &mut Vec<Dt>) -> Result<(), LookUpError> {
    for segment in segments {
        if !segment.look_up(order, partitions) {
            return Err(LookUpError::Damaged);
        }
    }
    Ok(())
}

/// From which segment on all are to become one: those that are not stored yet, and before them each that is less than twice what
/// follows it. So there are about log2(entries) segments, and each entry is rewritten as often.
fn merge_from(segments: &[&Segment], stored: &[Option<ObjectRef>]) -> usize {
    let mut from = stored.iter().position(Option::is_none).unwrap_or(stored.len());
    if from == stored.len() {
        return from;
    }
    let mut following: u64 = segments[from..].iter().map(|segment| segment.count()).sum();
    while from > 0 && segments[from - 1].count() < 2 * following {
        from -= 1;
        following += segments[from].count();
    }
    from
}

/// The segments of an index; `None` where one is missing or damaged.
pub(super) fn open_segments(output: &Output, stored: &[ObjectRef]) -> Result<Option<Vec<Segment>>, LayerError> {
    let mut segments = Vec::new();
    for version in stored {
        let path = match output.local_version(&version.object, version) {
            Ok(path) => path,
            // An index that is damaged in a bucket is made again as well.
            Err(StoreError::Refused { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Some(segment) = Segment::open(&path)? else { return Ok(None) };
        segments.push(segment);
    }
    Ok(Some(segments))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn entry() -> (OrderHash, Dt) {
        (OrderHash(7), Dt::from_days(1).unwrap())
    }

    #[test]
    fn new_entries_that_cannot_be_read_any_more_are_an_error_and_not_none() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::new(dir.path().join("output"));
        let mut staging = Staging::create(&output, "r").unwrap();
        let (mut index, new_file) = (OrderIndex::new(dir.path().join("fresh")), dir.path().join("new_entries.idx"));
        let mut run = IndexBuilder::new(dir.path().join("run"));
        let (order, dt) = entry();
        run.push(order, dt);
        assert_eq!(index.write_new(&mut run, &new_file, |_, _, _| {}).unwrap(), 1);
        let key = || Key::from("state/index/r.idx");
        assert_eq!(index.stage(&mut staging, key(), &new_file).unwrap().len(), 1);
        fs::remove_file(&new_file).unwrap();
        assert!(matches!(index.stage(&mut staging, key(), &new_file), Err(LayerError::Changed { .. })));
        // It can be opened, and not be read.
        fs::create_dir(&new_file).unwrap();
        assert!(matches!(index.stage(&mut staging, key(), &new_file), Err(LayerError::Store(StoreError::Io { .. }))));
    }

    #[test]
    fn an_index_without_entries_of_a_run_needs_no_file_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut staging = Staging::create(&Output::new(dir.path().join("output")), "r").unwrap();
        let (mut index, new_file) = (OrderIndex::new(dir.path().join("fresh")), dir.path().join("new_entries.idx"));
        assert_eq!(index.stage(&mut staging, Key::from("state/index/r.idx"), &new_file).unwrap(), []);
        let (order, dt) = entry();
        index.push(order, dt).unwrap();
        assert_eq!(index.stage(&mut staging, Key::from("state/index/r.idx"), &new_file).unwrap().len(), 1);
        let mut partitions = Vec::new();
        index.look_up(order, &mut partitions).unwrap();
        assert_eq!(partitions, [dt]);
    }

    #[test]
    fn entries_that_were_read_again_are_tried_again_after_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let (mut index, new_file) = (OrderIndex::new(dir.path().join("fresh")), dir.path().join("new_entries.idx"));
        let (order, dt) = entry();
        index.push(order, dt).unwrap();
        // A folder stands where the file is to be.
        let place = new_file.with_extension("fresh");
        fs::create_dir(&place).unwrap();
        assert!(index.settle_fresh(&new_file).is_err() && index.is_stale());
        fs::remove_dir(&place).unwrap();
        index.settle_fresh(&new_file).unwrap();
        let mut partitions = Vec::new();
        index.look_up(order, &mut partitions).unwrap();
        assert_eq!(partitions, [dt]);
    }
}
