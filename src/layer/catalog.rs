//! What is stored: the state of the newest commit, compared with the files of a folder, and the index of orders. All of it can
//! be made again from `curated/`, and is made again where it is missing or damaged.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{
    IndexBuilder, LayerError, LayerState, OpenedLayer, OrderTotalsEntry, PartitionEntry, Segment, StateOrigin, StoredOrderTotals,
    StoredPartition, StoredPartitions,
    index::{self, Entry, SegmentFile},
    state::{found_object, revenue_of},
};
use crate::{
    cancel::Cancel,
    model::{Dt, FactSchema, FileFormat, OrderHash, order_hash},
    store::{
        self, Key, ObjectRef, Output, Staging, StoreError,
        places::{self, INDEX},
    },
};

/// Verifies that the layer has the columns of the schema, as far as its state knows.
///
/// # Errors
/// [`LayerError::Columns`], or I/O errors.
pub fn verify_columns(output: &Output, schema: &FactSchema) -> Result<(), LayerError> {
    OpenedLayer::open(output)?.state.verify_columns(schema)
}

/// The state of the newest commit, compared with the files of a folder.
pub struct Catalog {
    output: Output,
    schema: FactSchema,
    /// The layer as it is stored.
    pub state: LayerState,
    segments: Vec<Segment>,
    /// What each segment is stored as; `None` if it is not stored.
    stored_segments: Vec<Option<ObjectRef>>,
    /// Orders of partitions that were read again, because their files are not those that were committed.
    fresh: IndexBuilder,
    has_fresh: bool,
    is_rebuilt: bool,
    /// Whether a later run would find other sizes and times than the state says.
    has_new_stamps: bool,
    /// Partitions that were read again.
    read_again: Vec<Dt>,
    /// Partitions that the state names, and that are no longer there.
    lost: Vec<Dt>,
    /// Partitions whose totals are not those that were committed, or are gone.
    changed_totals: Vec<Dt>,
    /// Files that no commit has put, with their content.
    found: BTreeMap<Key, ObjectRef>,
    /// The partitions of each order of a partition that was read again, if there are several.
    found_again: BTreeSet<BTreeSet<Dt>>,
}

/// Whether the stored catalog and index are used, or rebuilt from the partitions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoredState {
    /// They are used, if they are there and sound.
    Use,
    /// They are rebuilt.
    Rebuild,
}

/// An index whose bytes are damaged.
#[derive(Debug, thiserror::Error)]
pub enum LookUpError {
    /// It must be rebuilt.
    #[error("the index is damaged")]
    Damaged,
    /// Something else.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

impl Catalog {
    /// Compares the state of a layer with the files of a folder. Partitions that it does not know as they are now are read, strictly.
    /// In a bucket the log alone is the truth.
    ///
    /// # Errors
    /// A partition that can't be parsed, I/O errors.
    pub fn open(
        output: &Output,
        opened: &OpenedLayer,
        schema: &FactSchema,
        scratch: PathBuf,
        cancel: &Cancel,
        wanted: StoredState,
    ) -> Result<Catalog, LayerError> {
        let is_known = wanted == StoredState::Use && opened.origin != StateOrigin::Missing;
        if is_known {
            opened.state.verify_columns(schema)?;
        }
        let segments = if is_known { open_segments(output, &opened.state)? } else { None };
        let is_rebuilt = segments.is_none();
        let segments = segments.unwrap_or_default();
        let known = std::mem::take(&mut opened.state.clone().partitions);
        let mut catalog = Catalog {
            output: output.clone(),
            schema: schema.clone(),
            stored_segments: if is_rebuilt { Vec::new() } else { opened.state.segments.iter().cloned().map(Some).collect() },
            state: LayerState { partitions: BTreeMap::new(), ..opened.state.clone() },
            segments,
            fresh: IndexBuilder::new(scratch),
            has_fresh: false,
            is_rebuilt,
            has_new_stamps: opened.origin != StateOrigin::Log,
            read_again: Vec::new(),
            lost: Vec::new(),
            changed_totals: Vec::new(),
            found: BTreeMap::new(),
            found_again: BTreeSet::new(),
        };
        if output.folder().is_none() && !is_rebuilt && opened.origin == StateOrigin::Log {
            catalog.state.partitions = known;
            return Ok(catalog);
        }
        // A bucket tells no times that could be compared.
        let trusted = if is_rebuilt || output.folder().is_none() { None } else { Some(&known) };
        for (dt, key) in known_files(output, opened)? {
            if cancel.is_stopped() {
                return Err(LayerError::Interrupted);
            }
            match trusted {
                Some(known) => catalog.reconcile(dt, key, known.get(&dt))?,
                None => catalog.read_fresh(dt, key, known.get(&dt))?,
            }
        }
        catalog.find_dimensions()?;
        if opened.origin != StateOrigin::Missing {
            catalog.lost = known.keys().filter(|dt| !catalog.state.partitions.contains_key(dt)).copied().collect();
        }
        Ok(catalog)
    }

    /// Whether the stored state is not what this one is: the next commit should replace it.
    pub fn is_stale(&self) -> bool {
        self.stored_segments.iter().any(Option::is_none)
            || self.has_fresh
            || self.is_rebuilt
            || self.has_new_stamps
            || !self.lost.is_empty()
    }

    /// Whether the state was missing or damaged, or not used: all partitions were read.
    pub fn is_rebuilt(&self) -> bool {
        self.is_rebuilt
    }

    /// Partitions whose files are not those that were committed.
    pub fn read_again(&self) -> &[Dt] {
        &self.read_again
    }

    /// Committed partitions that somebody removed.
    pub fn lost(&self) -> &[Dt] {
        &self.lost
    }

    /// Partitions whose totals somebody changed or removed.
    pub fn changed_totals(&self) -> &[Dt] {
        &self.changed_totals
    }

    /// Files that no commit has put, with their content: the next commit makes objects of them.
    pub fn found(&self) -> &BTreeMap<Key, ObjectRef> {
        &self.found
    }

    /// Sets of partitions that hold rows of one order, of orders in partitions that somebody changed.
    pub fn found_again(&self) -> impl Iterator<Item = &BTreeSet<Dt>> {
        self.found_again.iter()
    }

    /// Compares a file with what was committed: by size and time, then by content.
    fn reconcile(&mut self, dt: Dt, key: Key, known: Option<&PartitionEntry>) -> Result<(), LayerError> {
        let Some((bytes, modified_ns)) = store::size_and_time(&self.output.at(&key))? else {
            // Somebody may have put a file of another format in its place.
            return match file_on_disk(&self.output, dt) {
                Some(other) => self.read_fresh(dt, other, None),
                None => Ok(()),
            };
        };
        if let Some(known) = known.filter(|known| known.looks_like(bytes, modified_ns)) {
            self.note_object(&key, &known.version);
            let totals = if known.totals.is_some() { self.find_totals(dt, known.totals.as_ref())? } else { None };
            self.state.partitions.insert(dt, PartitionEntry { totals, ..known.clone() });
            return Ok(());
        }
        self.read_fresh(dt, key, known)
    }

    /// Files of before commits have no object yet.
    fn note_object(&mut self, key: &Key, version: &ObjectRef) {
        if self.has_new_stamps && version.object.as_str().contains("/found-") {
            self.found.insert(key.clone(), version.clone());
        }
    }

    /// Reads a partition, and takes it as it is.
    fn read_fresh(&mut self, dt: Dt, key: Key, known: Option<&PartitionEntry>) -> Result<(), LayerError> {
        let Some(path) = self.output.local(&key)? else { return Ok(()) };
        let modified_ns = if self.output.folder().is_some() { store::size_and_time(&path)?.map_or(0, |(_, time)| time) } else { 0 };
        let Some(content) = store::read(&path)? else { return Ok(()) };
        let (bytes, checksum) = (content.len() as u64, store::checksum(&content));
        let stored = StoredPartition::parse(content, dt, &path, &self.schema)?;
        let same = known.filter(|known| known.version.bytes == bytes && known.version.checksum == checksum);
        let version = match same {
            Some(known) => known.version.clone(),
            None => ObjectRef { object: found_object(&key, &checksum), bytes, checksum },
        };
        let revenue = revenue_of(&stored.rows);
        self.has_new_stamps = true;
        if same.is_none() {
            self.found.insert(key, version.clone());
        } else {
            self.note_object(&key, &version);
        }
        let totals = self.find_totals(dt, known.and_then(|known| known.totals.as_ref()))?;
        self.state.partitions.insert(dt, PartitionEntry { version, modified_ns, rows: stored.rows.len() as u64, revenue, totals });
        if same.is_some() && !self.is_rebuilt {
            return Ok(());
        }
        if !self.is_rebuilt {
            self.read_again.push(dt);
        }
        self.has_fresh = true;
        let mut last = None;
        for row in 0..stored.rows.len() {
            let order = order_hash(stored.rows.order_id(row));
            if last.replace(order) != Some(order) {
                self.fresh.push_bounded(order, dt)?;
            }
        }
        Ok(())
    }

    /// The totals of a partition, as they are: by size and time those that were committed, else by their content.
    fn find_totals(&mut self, dt: Dt, known: Option<&OrderTotalsEntry>) -> Result<Option<OrderTotalsEntry>, LayerError> {
        let key = places::order_totals_file(dt);
        let stamp = if self.output.folder().is_some() { store::size_and_time(&self.output.at(&key))? } else { None };
        if let (Some(known), Some((bytes, modified_ns))) = (known, stamp)
            && known.looks_like(bytes, modified_ns)
        {
            return Ok(Some(known.clone()));
        }
        let Some(content) = self.output.read(&key)? else {
            if known.is_some() {
                self.has_new_stamps = true;
                self.changed_totals.push(dt);
            }
            return Ok(None);
        };
        let (bytes, checksum) = (content.len() as u64, store::checksum(&content));
        let modified_ns = stamp.map_or(0, |(_, time)| time);
        let rows = StoredOrderTotals::parse(content, dt, &self.output.at(&key))?.rows.len() as u64;
        self.has_new_stamps = true;
        if let Some(known) = known.filter(|known| known.version.bytes == bytes && known.version.checksum == checksum) {
            return Ok(Some(OrderTotalsEntry { modified_ns, ..known.clone() }));
        }
        // In a bucket, a file without rows stands for none.
        if rows == 0 {
            return Ok(None);
        }
        let version = ObjectRef { object: found_object(&key, &checksum), bytes, checksum };
        if !self.is_rebuilt {
            self.changed_totals.push(dt);
        }
        self.found.insert(key, version.clone());
        Ok(Some(OrderTotalsEntry { version, modified_ns, rows }))
    }

    /// Takes the dimensions as they are.
    fn find_dimensions(&mut self) -> Result<(), LayerError> {
        for spec in [crate::model::DIM_USER, crate::model::DIM_PRODUCT] {
            let key = places::dimension(&spec);
            let Some(bytes) = self.output.read(&key)? else {
                self.state.dimensions.remove(spec.name);
                continue;
            };
            if self.state.dimensions.get(spec.name).is_some_and(|known| known.is_of(&bytes)) {
                continue;
            }
            let checksum = store::checksum(&bytes);
            let object = places::object_of(&key, &format!("found-{checksum}"), 0);
            let version = ObjectRef { object, bytes: bytes.len() as u64, checksum };
            self.found.insert(key, version.clone());
            self.state.dimensions.insert(spec.name.to_owned(), version);
        }
        Ok(())
    }

    /// Appends the partitions that an order may lie in.
    ///
    /// # Errors
    /// [`LookUpError::Damaged`] if the index must be rebuilt.
    fn look_up(&mut self, order: OrderHash, homes: &mut Vec<Dt>) -> Result<(), LookUpError> {
        for segment in &mut self.segments {
            if !segment.look_up(order, homes) {
                return Err(LookUpError::Damaged);
            }
        }
        Ok(())
    }

    /// The stored partitions that an order may lie in. After [`Catalog::look_up_orders`], which completes the index.
    ///
    /// # Errors
    /// [`LookUpError::Damaged`] if the index must be rebuilt.
    pub(super) fn homes_of(&mut self, order: OrderHash) -> Result<Vec<Dt>, LookUpError> {
        let mut homes = Vec::new();
        self.look_up(order, &mut homes)?;
        homes.retain(|dt| self.state.partitions.contains_key(dt));
        Ok(homes)
    }

    /// Looks up the orders of a run, by hash. Calls `each` with every order, the partitions that the run brings it to, and those
    /// that store it. Writes the entries that the index does not have yet to `new_file`, and returns their number.
    ///
    /// # Errors
    /// [`LookUpError`].
    pub fn look_up_orders(
        &mut self,
        run: &mut IndexBuilder,
        new_file: &Path,
        mut each: impl FnMut(OrderHash, &[Dt], &[Dt]),
    ) -> Result<u64, LookUpError> {
        // Partitions that were read again are looked up like a segment, so they are written as one first.
        self.settle_fresh(new_file)?;
        self.look_up_again()?;
        let mut known: Vec<Dt> = Vec::new();
        let mut new_entries: Vec<Entry> = Vec::new();
        let mut failed = None;
        let mut orders = index::by_order(run.sorted()?);
        let stream = std::iter::from_fn(|| {
            while new_entries.is_empty() {
                let (order, brought) = match orders.next()? {
                    Ok(homes) => homes,
                    Err(error) => return Some(Err(error)),
                };
                known.clear();
                if let Err(error) = self.look_up(order, &mut known) {
                    failed = Some(error);
                    return None;
                }
                known.sort_unstable();
                known.dedup();
                new_entries.extend(brought.iter().rev().filter(|dt| known.binary_search(dt).is_err()).map(|&dt| (order, dt)));
                known.retain(|dt| self.state.partitions.contains_key(dt));
                each(order, &brought, &known);
            }
            new_entries.pop().map(Ok)
        });
        let written = index::write_segment(new_file, stream)?;
        failed.map_or(Ok(written.count), Err)
    }

    fn settle_fresh(&mut self, new_file: &Path) -> Result<(), LayerError> {
        if !std::mem::take(&mut self.has_fresh) {
            return Ok(());
        }
        let path = new_file.with_extension("fresh");
        index::write_segment(&path, self.fresh.sorted()?)?;
        if let Some(segment) = Segment::open(&path) {
            self.segments.push(segment);
            self.stored_segments.push(None);
        }
        Ok(())
    }

    /// Looks up the orders of partitions that somebody changed: a row may have been copied from another partition.
    fn look_up_again(&mut self) -> Result<(), LookUpError> {
        let Some(fresh) = self.stored_segments.iter().position(Option::is_none) else { return Ok(()) };
        let entries = self.segments[fresh].entries()?;
        for homes in index::by_order(entries) {
            let (order, mut homes) = homes?;
            for segment in self.segments.iter_mut().enumerate().filter(|(place, _)| *place != fresh).map(|(_, segment)| segment) {
                if !segment.look_up(order, &mut homes) {
                    return Err(LookUpError::Damaged);
                }
            }
            let homes: BTreeSet<Dt> = homes.into_iter().filter(|dt| self.state.partitions.contains_key(dt)).collect();
            if homes.len() > 1 {
                self.found_again.insert(homes);
            }
        }
        Ok(())
    }

    /// Stages the next index, with the new entries of the run. Returns its segments. An index that turns out to be damaged is made
    /// again from the partitions.
    ///
    /// # Errors
    /// A partition that can't be parsed, a signal, I/O errors.
    pub fn stage_index(
        &mut self,
        staging: &mut Staging,
        run_id: &str,
        new_file: &Path,
        cancel: &Cancel,
    ) -> Result<Vec<ObjectRef>, LayerError> {
        match self.merge_index(staging, run_id, new_file) {
            Err(error) if is_damage(&error) => {
                tracing::warn!("the index of orders is damaged; it is made again from curated/");
                self.index_again(cancel)?;
                self.merge_index(staging, run_id, new_file)
            }
            merged => merged,
        }
    }

    /// Adds the new entries, and merges segments of like size.
    fn merge_index(&mut self, staging: &mut Staging, run_id: &str, new_file: &Path) -> Result<Vec<ObjectRef>, LayerError> {
        self.settle_fresh(new_file)?;
        let new = Segment::open(new_file).filter(|segment| segment.count() > 0);
        let mut segments: Vec<&Segment> = self.segments.iter().chain(&new).collect();
        let mut stored = self.stored_segments.clone();
        stored.extend(new.iter().map(|_| None));
        let merge_from = merge_from(&segments, &stored);
        let mut kept: Vec<_> = stored[..merge_from].iter().flatten().cloned().collect();
        if merge_from < segments.len() {
            let key = Key::from(INDEX).join(format!("{run_id}.idx"));
            let entries = index::merge_segments(&segments.split_off(merge_from))?;
            let SegmentFile { bytes, checksum, .. } = index::write_segment(&staging.staged(&key), entries)?;
            kept.push(staging.put_written(key, bytes, checksum));
        }
        Ok(kept)
    }

    /// Reads the orders of all stored partitions again, in place of the segments.
    fn index_again(&mut self, cancel: &Cancel) -> Result<(), LayerError> {
        (self.segments, self.stored_segments) = (Vec::new(), Vec::new());
        let format = self.state.file_format().unwrap_or_default();
        let stored = StoredPartitions::new(&self.output, &self.state.partitions, &self.schema, format);
        for &dt in self.state.partitions.keys() {
            if cancel.is_stopped() {
                return Err(LayerError::Interrupted);
            }
            let Some(stored) = stored.load(dt)? else { continue };
            for row in 0..stored.rows.len() {
                self.fresh.push_bounded(order_hash(stored.rows.order_id(row)), dt)?;
            }
        }
        self.has_fresh = true;
        Ok(())
    }
}

/// Whether a segment could not be read because its bytes are wrong.
fn is_damage(error: &LayerError) -> bool {
    matches!(error, LayerError::Store(StoreError::Io { source, .. })
        if matches!(source.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof))
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

/// The segments of the index; `None` where one is missing or damaged.
fn open_segments(output: &Output, state: &LayerState) -> Result<Option<Vec<Segment>>, LayerError> {
    let mut segments = Vec::new();
    for version in &state.segments {
        let path = match output.local_version(&version.object, version) {
            Ok(path) => path,
            // An index that is damaged in a bucket is made again as well.
            Err(StoreError::Refused { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Some(segment) = Segment::open(&path) else { return Ok(None) };
        segments.push(segment);
    }
    Ok(Some(segments))
}

/// What the stored state knows of the partitions of an order.
pub(super) struct IndexedOrder {
    /// The partitions that may hold it. An entry may be stale.
    pub(super) partitions: Vec<Dt>,
    /// Each partition as the last commit left it.
    pub(super) committed: BTreeMap<Dt, PartitionEntry>,
}

/// Asks the stored index for an order; `None` where the state or the index is missing or damaged.
pub(super) fn indexed_order(output: &Output, order: OrderHash) -> Result<Option<IndexedOrder>, LayerError> {
    let opened = OpenedLayer::open(output)?;
    if opened.origin == StateOrigin::Missing {
        return Ok(None);
    }
    let Some(segments) = open_segments(output, &opened.state)? else { return Ok(None) };
    let mut partitions = Vec::new();
    for mut segment in segments {
        if !segment.look_up(order, &mut partitions) {
            return Ok(None);
        }
    }
    Ok(Some(IndexedOrder { partitions, committed: opened.state.partitions }))
}

/// What the last commit said of each partition; nothing where that can't be read.
///
/// # Errors
/// I/O errors.
pub fn published_entries(output: &Output) -> Result<BTreeMap<Dt, PartitionEntry>, LayerError> {
    Ok(OpenedLayer::open(output)?.state.partitions)
}

/// Which commit the layer is of: changes with each.
///
/// # Errors
/// I/O errors.
pub fn generation(output: &Output) -> Result<u64, LayerError> {
    Ok(OpenedLayer::open(output)?.number())
}

/// The file of each partition, by its day: beneath `curated/` in a folder, in a bucket as the newest commit has it.
///
/// # Errors
/// I/O errors.
pub fn stored_partition_files(output: &Output) -> Result<BTreeMap<Dt, Key>, LayerError> {
    partition_files(output, &OpenedLayer::open(output)?)
}

/// The file of each partition of an opened layer. Where somebody has put a file of another format in place of one, that file.
///
/// # Errors
/// I/O errors.
pub fn partition_files(output: &Output, opened: &OpenedLayer) -> Result<BTreeMap<Dt, Key>, LayerError> {
    let mut files = known_files(output, opened)?;
    if output.folder().is_some() {
        for (&dt, key) in files.iter_mut().filter(|(_, key)| !output.at(key).exists()) {
            *key = file_on_disk(output, dt).unwrap_or_else(|| key.clone());
        }
    }
    Ok(files)
}

/// The file of each partition: as the state has it, whether it is there or not.
fn known_files(output: &Output, opened: &OpenedLayer) -> Result<BTreeMap<Dt, Key>, LayerError> {
    let entries = &opened.state.partitions;
    if output.folder().is_none() && opened.origin == StateOrigin::Log {
        return Ok(entries.iter().map(|(&dt, entry)| (dt, entry.key(dt))).collect());
    }
    let curated = Key::from(places::CURATED);
    if output.folder().is_none() {
        let listed = output.list(&curated)?.into_iter().filter(|listed| places::partition_format(&listed.key).is_some());
        return Ok(listed.filter_map(|listed| Some((places::partition_of_key(&listed.key)?, listed.key))).collect());
    }
    let mut files = BTreeMap::new();
    for name in output.names(&curated)? {
        let Some(dt) = places::partition_of(&name) else {
            tracing::warn!(
                path = output.location_of(&curated.join(&name)),
                "not a partition: a warehouse that loads curated/ would load it too"
            );
            continue;
        };
        let key = entries.get(&dt).map(|entry| entry.key(dt)).or_else(|| file_on_disk(output, dt));
        files.insert(dt, key.unwrap_or_else(|| places::partition_file(dt, FileFormat::default())));
    }
    Ok(files)
}

/// The file of a partition in a folder, whatever its format; `None` where there is none.
fn file_on_disk(output: &Output, dt: Dt) -> Option<Key> {
    FileFormat::ALL.into_iter().map(|format| places::partition_file(dt, format)).find(|key| output.at(key).exists())
}
