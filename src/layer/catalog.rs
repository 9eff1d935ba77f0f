//! What is stored: the state of the newest commit, compared with the files of a folder, and the index of orders.
//!
//! In a folder all of it can be made again from `curated/`, and is made again where it is missing or damaged. In a bucket the log
//! alone is the truth: its index is made again from the versions that the newest commit names, and no file of `curated/` counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{
    IndexBuilder, LayerError, LayerState, OpenedLayer, PartitionEntry, PartitionRows, RefundDays, SideEntry, StateOrigin, StoredPartition,
    StoredPartitions, StoredSide, Truth, index,
    order_index::{OrderIndex, open_segments},
    side_fact::SideRow,
    state::{found_version, revenue_of},
};
use crate::{
    cancel::Cancel,
    model::{Dt, FactSchema, FileFormat, OrderHash, OrderTotal, Refund, order_hash},
    store::{
        self, Fingerprint, Key, ObjectRef, Output, Staging, StoreError,
        places::{self, INDEX, SideFact},
    },
};

/// The state of the newest commit, compared with the files of a folder.
pub struct Catalog {
    output: Output,
    schema: FactSchema,
    /// The layer as it is stored.
    pub state: LayerState,
    /// The partitions of orders. Its fresh entries are of partitions whose files are not those that were committed.
    orders: OrderIndex,
    /// The days of the refunds of orders.
    refund_days: OrderIndex,
    is_rebuilt: bool,
    /// Whether a later run would find other sizes and times than the state says.
    has_new_stamps: bool,
    /// Partitions that were read again.
    read_again: Vec<Dt>,
    /// Partitions that the state names, and that are no longer there.
    lost: Vec<Dt>,
    /// Side facts of days that are not as they were committed, or are gone.
    changed_sides: Vec<(SideFact, Dt)>,
    /// Files that no commit has put, with their content.
    found: BTreeMap<Key, ObjectRef>,
    /// The partitions of each order of a partition that was read again, if there are several.
    found_again: BTreeSet<BTreeSet<Dt>>,
}

/// A table whose partitions are found by order, with an index of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, strum::Display)]
#[strum(serialize_all = "snake_case")]
pub enum IndexedTable {
    /// `fact_order`.
    Orders,
    /// `fact_refund`.
    Refunds,
}

impl IndexedTable {
    /// The place of a segment that a run adds.
    fn segment(self, run_id: &str) -> Key {
        Key::from(INDEX).join(match self {
            IndexedTable::Orders => format!("{run_id}.idx"),
            IndexedTable::Refunds => format!("{run_id}-refunds.idx"),
        })
    }
}

/// Whether the stored catalog and index are used, or rebuilt.
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
    /// In a bucket the log alone is the truth: an index that is missing or damaged is made again from the versions that it names.
    ///
    /// # Errors
    /// Other columns than those of `schema`, a partition that can't be parsed, a signal, I/O errors.
    pub fn open(
        output: &Output,
        opened: &OpenedLayer,
        schema: &FactSchema,
        scratch: PathBuf,
        cancel: &Cancel,
        wanted: StoredState,
    ) -> Result<Catalog, LayerError> {
        let is_known = wanted == StoredState::Use && opened.origin != StateOrigin::Missing;
        let truth = opened.truth(output);
        // A rebuild takes files as they are, whatever the state says of their columns.
        if is_known || truth == Truth::Log {
            opened.state.verify_columns(schema)?;
        }
        let refund_scratch = scratch.join("refunds");
        let orders = if is_known { OrderIndex::open(output, &opened.state.segments, scratch.clone())? } else { None };
        let refund_days = if is_known { OrderIndex::open(output, &opened.state.refund_segments, refund_scratch.clone())? } else { None };
        let (is_rebuilt, are_refund_days_lost) = (orders.is_none(), refund_days.is_none());
        let known = std::mem::take(&mut opened.state.clone().partitions);
        let mut catalog = Catalog {
            output: output.clone(),
            schema: schema.clone(),
            state: LayerState { partitions: BTreeMap::new(), ..opened.state.clone() },
            orders: orders.unwrap_or_else(|| OrderIndex::new(scratch)),
            refund_days: refund_days.unwrap_or_else(|| OrderIndex::new(refund_scratch)),
            is_rebuilt,
            has_new_stamps: opened.origin != StateOrigin::Log,
            read_again: Vec::new(),
            lost: Vec::new(),
            changed_sides: Vec::new(),
            found: BTreeMap::new(),
            found_again: BTreeSet::new(),
        };
        if truth == Truth::Log {
            catalog.state.partitions = known;
            if is_rebuilt {
                catalog.index_again(cancel)?;
            }
            if are_refund_days_lost {
                catalog.index_refunds_again(cancel)?;
            }
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
        catalog.find_refunds(opened)?;
        if are_refund_days_lost || is_rebuilt || catalog.changed_sides.iter().any(|(fact, _)| *fact == SideFact::Refunds) {
            catalog.index_refunds_again(cancel)?;
        }
        catalog.find_dimensions()?;
        if opened.origin != StateOrigin::Missing {
            catalog.lost = known.keys().filter(|dt| !catalog.state.partitions.contains_key(dt)).copied().collect();
        }
        Ok(catalog)
    }

    /// Whether the stored state is not what this one is: the next commit should replace it.
    pub fn is_stale(&self) -> bool {
        self.orders.is_stale() || self.refund_days.is_stale() || self.is_rebuilt || self.has_new_stamps || !self.lost.is_empty()
    }

    /// Whether the state or the index of orders was missing or damaged, or not used: all partitions were read.
    pub fn is_rebuilt(&self) -> bool {
        self.is_rebuilt
    }

    /// Whether all files are those that were committed.
    pub fn is_as_committed(&self) -> bool {
        self.found.is_empty() && self.read_again.is_empty() && self.lost.is_empty() && self.changed_sides.is_empty()
    }

    /// Partitions whose files are not those that were committed.
    pub fn read_again(&self) -> &[Dt] {
        &self.read_again
    }

    /// Committed partitions that somebody removed.
    pub fn lost(&self) -> &[Dt] {
        &self.lost
    }

    /// Side facts of days that somebody changed or removed.
    pub fn changed_sides(&self) -> &[(SideFact, Dt)] {
        &self.changed_sides
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
            return match file_on_disk(&self.output, dt)? {
                Some(other) => self.read_fresh(dt, other, None),
                None => Ok(()),
            };
        };
        if let Some(known) = known.filter(|known| known.looks_like(bytes, modified_ns)) {
            self.note_object(&key, &known.version);
            let totals = if known.totals.is_some() { self.find_side::<OrderTotal>(dt, known.totals.as_ref())? } else { None };
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
        let fingerprint = Fingerprint::of(&content);
        let stored = StoredPartition::parse(content, dt, &path, &self.schema)?;
        let same = known.filter(|known| known.version.fingerprint() == fingerprint);
        let version = match same {
            Some(known) => known.version.clone(),
            None => found_version(&key, fingerprint),
        };
        let revenue = revenue_of(&stored.rows);
        self.has_new_stamps = true;
        if same.is_none() {
            self.found.insert(key, version.clone());
        } else {
            self.note_object(&key, &version);
        }
        let totals = self.find_side::<OrderTotal>(dt, known.and_then(|known| known.totals.as_ref()))?;
        self.state.partitions.insert(dt, PartitionEntry { version, modified_ns, rows: stored.rows.len() as u64, revenue, totals });
        if same.is_some() && !self.is_rebuilt {
            return Ok(());
        }
        if !self.is_rebuilt {
            self.read_again.push(dt);
        }
        push_orders(&mut self.orders, dt, &stored.rows)
    }

    /// The refunds of every day, as they are.
    fn find_refunds(&mut self, opened: &OpenedLayer) -> Result<(), LayerError> {
        let known = std::mem::take(&mut self.state.refunds);
        let mut days: BTreeSet<Dt> = known.keys().copied().collect();
        if self.is_rebuilt || opened.origin != StateOrigin::Log {
            let listed = self.output.list(places::REFUNDS)?;
            days.extend(listed.iter().filter_map(|listed| SideFact::Refunds.day_of_key(&listed.key)));
        }
        for dt in days {
            if let Some(entry) = self.find_side::<Refund>(dt, known.get(&dt))? {
                self.state.refunds.insert(dt, entry);
            }
        }
        Ok(())
    }

    /// The rows of a side fact of a day, as they are: by size and time those that were committed, else by their content.
    fn find_side<R: SideRow>(&mut self, dt: Dt, known: Option<&SideEntry>) -> Result<Option<SideEntry>, LayerError> {
        let key = R::FACT.file(dt);
        let stamp = if self.output.folder().is_some() { store::size_and_time(&self.output.at(&key))? } else { None };
        if let (Some(known), Some((bytes, modified_ns))) = (known, stamp)
            && known.looks_like(bytes, modified_ns)
        {
            return Ok(Some(known.clone()));
        }
        let Some(content) = self.output.read(&key)? else {
            if known.is_some() {
                self.has_new_stamps = true;
                self.changed_sides.push((R::FACT, dt));
            }
            return Ok(None);
        };
        let fingerprint = Fingerprint::of(&content);
        let modified_ns = stamp.map_or(0, |(_, time)| time);
        let rows = StoredSide::<R>::parse(content, dt, &self.output.at(&key))?.rows.len() as u64;
        self.has_new_stamps = true;
        if let Some(known) = known.filter(|known| known.version.fingerprint() == fingerprint) {
            return Ok(Some(SideEntry { modified_ns, ..known.clone() }));
        }
        // In a bucket, a file without rows stands for none.
        if rows == 0 {
            return Ok(None);
        }
        let version = found_version(&key, fingerprint);
        if !self.is_rebuilt {
            self.changed_sides.push((R::FACT, dt));
        }
        self.found.insert(key, version.clone());
        Ok(Some(SideEntry { version, modified_ns, rows }))
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
            let version = found_version(&key, Fingerprint::of(&bytes));
            self.found.insert(key, version.clone());
            self.state.dimensions.insert(spec.name.to_owned(), version);
        }
        Ok(())
    }

    /// The stored partitions that an order may lie in. After [`Catalog::look_up_orders`], which completes the index.
    ///
    /// # Errors
    /// [`LookUpError::Damaged`] if the index must be rebuilt.
    pub(super) fn stored_partitions_of(&mut self, order: OrderHash) -> Result<Vec<Dt>, LookUpError> {
        let mut partitions = Vec::new();
        self.orders.look_up(order, &mut partitions)?;
        partitions.retain(|dt| self.state.partitions.contains_key(dt));
        Ok(partitions)
    }

    /// Looks up the days of the refunds of orders, and adds those of orders that may have some.
    ///
    /// # Errors
    /// [`LookUpError::Damaged`] if the index must be rebuilt.
    pub fn add_refund_days(
        &mut self,
        orders: impl Iterator<Item = Result<OrderHash, LayerError>>,
        into: &mut RefundDays,
    ) -> Result<(), LookUpError> {
        if self.refund_days.is_empty() {
            return Ok(());
        }
        for order in orders {
            let (order, mut days) = (order?, Vec::new());
            self.refund_days.look_up(order, &mut days)?;
            days.retain(|dt| self.state.refunds.contains_key(dt));
            days.sort_unstable();
            days.dedup();
            if !days.is_empty() {
                into.insert(order, days);
            }
        }
        Ok(())
    }

    /// Looks up the refunds of a run, by the orders that they belong to: adds the days on which refunds of its orders are stored, and
    /// writes the entries that the index does not have yet to `new_file`. Returns their number.
    ///
    /// # Errors
    /// [`LookUpError`].
    pub fn look_up_refunds(
        &mut self,
        run: &mut IndexBuilder,
        incoming: &mut IndexBuilder,
        new_file: &Path,
        into: &mut RefundDays,
    ) -> Result<u64, LookUpError> {
        self.refund_days.settle_fresh(new_file)?;
        let orders = index::by_order(run.sorted()?).map(|partitions| partitions.map(|(order, _)| order));
        self.add_refund_days(orders, into)?;
        self.refund_days.write_new(incoming, new_file, |_, _, _| {})
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
        self.orders.settle_fresh(new_file)?;
        self.look_up_again()?;
        let Catalog { orders, state, .. } = self;
        orders.write_new(run, new_file, |order, incoming, known| {
            known.retain(|dt| state.partitions.contains_key(dt));
            each(order, incoming, known);
        })
    }

    /// Looks up the orders of partitions that somebody changed: a row may have been copied from another partition.
    fn look_up_again(&mut self) -> Result<(), LookUpError> {
        let Catalog { orders, state, found_again, .. } = self;
        orders.each_fresh(|partitions| {
            let partitions: BTreeSet<Dt> = partitions.into_iter().filter(|dt| state.partitions.contains_key(dt)).collect();
            if partitions.len() > 1 {
                found_again.insert(partitions);
            }
        })
    }

    /// Stages the next index of a table, with the new entries of the run. Returns its segments. An index that turns out to be damaged
    /// is made again from the partitions.
    ///
    /// # Errors
    /// A partition that can't be parsed, a signal, I/O errors.
    pub fn stage_index(
        &mut self,
        table: IndexedTable,
        staging: &mut Staging,
        run_id: &str,
        new_file: &Path,
        cancel: &Cancel,
    ) -> Result<Vec<ObjectRef>, LayerError> {
        let key = table.segment(run_id);
        match self.index(table).stage(staging, key.clone(), new_file) {
            Err(error) if is_damage(&error) => {
                tracing::warn!("the index of {table} is damaged; it is made again from the stored partitions");
                match table {
                    IndexedTable::Orders => self.index_again(cancel)?,
                    IndexedTable::Refunds => self.index_refunds_again(cancel)?,
                }
                self.index(table).stage(staging, key, new_file)
            }
            staged => staged,
        }
    }

    fn index(&mut self, table: IndexedTable) -> &mut OrderIndex {
        match table {
            IndexedTable::Orders => &mut self.orders,
            IndexedTable::Refunds => &mut self.refund_days,
        }
    }

    /// Reads the orders of all stored partitions again, in the versions that the state names, in place of the segments.
    fn index_again(&mut self, cancel: &Cancel) -> Result<(), LayerError> {
        self.orders.clear();
        let format = self.state.file_format().unwrap_or_default();
        let stored = StoredPartitions::new(&self.output, &self.state, &self.schema, format);
        for (&dt, entry) in &self.state.partitions {
            if cancel.is_stopped() {
                return Err(LayerError::Interrupted);
            }
            // A copy of the whole layer would need as much room as the layer. One that was there before is needed elsewhere.
            let has_copy = self.output.at(entry.key(dt)).exists();
            let partition = stored.load(dt)?;
            if !has_copy {
                stored.forget(dt);
            }
            if let Some(partition) = partition {
                push_orders(&mut self.orders, dt, &partition.rows)?;
            }
        }
        Ok(())
    }

    /// Reads all refunds again, in place of the segments.
    fn index_refunds_again(&mut self, cancel: &Cancel) -> Result<(), LayerError> {
        self.refund_days.clear();
        self.state.refund_segments.clear();
        let stored = StoredPartitions::new(&self.output, &self.state, &self.schema, FileFormat::default());
        for &dt in self.state.refunds.keys() {
            if cancel.is_stopped() {
                return Err(LayerError::Interrupted);
            }
            for refund in stored.load_refunds(dt)?.into_iter().flat_map(|refunds| refunds.rows) {
                self.refund_days.push(order_hash(&refund.order_id), dt)?;
            }
        }
        Ok(())
    }
}

/// Adds the orders of a partition to their index.
fn push_orders(index: &mut OrderIndex, dt: Dt, rows: &PartitionRows) -> Result<(), LayerError> {
    let mut last = None;
    for row in 0..rows.len() {
        let order = order_hash(rows.order_id(row));
        if last.replace(order) != Some(order) {
            index.push(order, dt)?;
        }
    }
    Ok(())
}

/// Whether a segment could not be read because its bytes are wrong.
fn is_damage(error: &LayerError) -> bool {
    matches!(error, LayerError::Store(StoreError::Io { source, .. })
        if matches!(source.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof))
}

/// Asks the stored index for the partitions that may hold an order; `None` where the state or the index is missing or damaged. An entry
/// may be stale.
pub(super) fn indexed_partitions(output: &Output, opened: &OpenedLayer, order: OrderHash) -> Result<Option<Vec<Dt>>, LayerError> {
    if opened.origin == StateOrigin::Missing {
        return Ok(None);
    }
    let Some(segments) = open_segments(output, &opened.state.segments)? else { return Ok(None) };
    let mut partitions = Vec::new();
    for mut segment in segments {
        if !segment.look_up(order, &mut partitions) {
            return Ok(None);
        }
    }
    Ok(Some(partitions))
}

/// What the last commit said of each partition; nothing where that can't be read.
///
/// # Errors
/// I/O errors.
pub fn published_entries(output: &Output) -> Result<BTreeMap<Dt, PartitionEntry>, LayerError> {
    Ok(OpenedLayer::open(output)?.state.partitions)
}

/// The file of each partition, by its day: beneath `curated/` in a folder, in a bucket as the newest commit has it.
///
/// # Errors
/// I/O errors.
pub fn stored_partition_files(output: &Output) -> Result<BTreeMap<Dt, Key>, LayerError> {
    partition_files(output, &OpenedLayer::open(output)?)
}

/// The file of each day of a side fact of an opened layer. In a folder, only of days whose file is there.
///
/// # Errors
/// I/O errors.
pub fn side_files(output: &Output, opened: &OpenedLayer, fact: SideFact) -> Result<BTreeMap<Dt, Key>, LayerError> {
    let mut days: BTreeSet<Dt> = opened.state.side_days(fact).collect();
    // Without a log, the files are the layer, as those of `curated/` are.
    if opened.origin != StateOrigin::Log {
        days.extend(output.names(fact.folder())?.iter().filter_map(|name| places::partition_of(name)));
    }
    let mut files = BTreeMap::new();
    for dt in days {
        let key = fact.file(dt);
        if output.still_has(&key)? {
            files.insert(dt, key);
        }
    }
    Ok(files)
}

/// The file of each partition of an opened layer. Where somebody has put a file of another format in place of one, that file.
///
/// # Errors
/// I/O errors.
pub fn partition_files(output: &Output, opened: &OpenedLayer) -> Result<BTreeMap<Dt, Key>, LayerError> {
    let mut files = known_files(output, opened)?;
    if output.folder().is_some() {
        for (&dt, key) in &mut files {
            if !store::exists(&output.at(&*key))?
                && let Some(other) = file_on_disk(output, dt)?
            {
                *key = other;
            }
        }
    }
    Ok(files)
}

/// The file of each partition: as the state has it, whether it is there or not.
fn known_files(output: &Output, opened: &OpenedLayer) -> Result<BTreeMap<Dt, Key>, LayerError> {
    let entries = &opened.state.partitions;
    if opened.truth(output) == Truth::Log {
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
        let key = match entries.get(&dt) {
            Some(entry) => Some(entry.key(dt)),
            None => file_on_disk(output, dt)?,
        };
        files.insert(dt, key.unwrap_or_else(|| places::partition_file(dt, FileFormat::default())));
    }
    Ok(files)
}

/// The file of a partition in a folder, whatever its format; `None` where there is none.
fn file_on_disk(output: &Output, dt: Dt) -> Result<Option<Key>, StoreError> {
    for format in FileFormat::ALL {
        let key = places::partition_file(dt, format);
        if store::exists(&output.at(&key))? {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        layer,
        model::{Line, UtcMicros},
        store::counting::CountingStore,
    };

    const DAY: i64 = 20_000;

    /// A partition of one order.
    fn partition(order_id: &str) -> Vec<u8> {
        let created_at = UtcMicros::new(DAY * UtcMicros::DAY).unwrap();
        let line = Line { quantity: 1.into(), created_at, ..Line::of_key(order_id, "S") };
        let mut csv = Vec::new();
        layer::write_header(&mut csv, &FactSchema::default());
        layer::write_line(&mut csv, &line, std::iter::empty());
        csv
    }

    #[test]
    fn in_a_bucket_an_index_is_made_again_from_the_log_and_from_no_older_file() {
        let (output, schema) = (Output::in_store(Arc::new(CountingStore::default())).unwrap(), FactSchema::default());
        let dt = Dt::of(UtcMicros::new(DAY * UtcMicros::DAY).unwrap());
        let (key, new) = (places::partition_file(dt, FileFormat::default()), partition("NEW"));
        let version = ObjectRef::new(places::object_of(&key, "r2", 0), Fingerprint::of(&new));
        output.replace(version.object.clone(), &new).unwrap();
        // The file of the commit before: the newest one is not installed yet.
        output.replace(key, &partition("OLD")).unwrap();
        let entry = layer::entry_of(&new, version, dt, &schema).unwrap();
        let lost = ObjectRef::new(Key::from(INDEX).join("r2.idx"), Fingerprint::of(b"lost"));
        let state = LayerState { partitions: BTreeMap::from([(dt, entry)]), segments: vec![lost], ..LayerState::default() };
        let opened = OpenedLayer { head: None, state, origin: StateOrigin::Log };
        for wanted in [StoredState::Use, StoredState::Rebuild] {
            let scratch = tempfile::tempdir().unwrap();
            let fresh = scratch.path().join("fresh");
            let mut catalog = Catalog::open(&output, &opened, &schema, fresh, &Cancel::default(), wanted).unwrap();
            assert!(catalog.is_rebuilt() && catalog.is_stale() && catalog.is_as_committed(), "{wanted:?}");
            assert_eq!(catalog.state.partitions, opened.state.partitions, "{wanted:?}");
            let mut run = IndexBuilder::new(scratch.path().join("run"));
            ["NEW", "OLD"].into_iter().for_each(|order_id| run.push(order_hash(order_id), dt));
            let mut stored = BTreeMap::new();
            let each = |order, _: &[Dt], known: &[Dt]| drop(stored.insert(order, known.to_vec()));
            catalog.look_up_orders(&mut run, &scratch.path().join("new.idx"), each).unwrap();
            assert_eq!(stored, BTreeMap::from([(order_hash("NEW"), vec![dt]), (order_hash("OLD"), Vec::new())]), "{wanted:?}");
        }
    }

    #[test]
    fn in_a_bucket_a_rebuild_refuses_other_columns_than_those_of_the_log() {
        let output = Output::in_store(Arc::new(CountingStore::default())).unwrap();
        let (schema, new) = (FactSchema::default(), partition("NEW"));
        let dt = Dt::of(UtcMicros::new(DAY * UtcMicros::DAY).unwrap());
        let version = found_version(&places::partition_file(dt, FileFormat::default()), Fingerprint::of(&new));
        let entry = layer::entry_of(&new, version, dt, &schema).unwrap();
        let state = LayerState { columns: vec!["channel".into()], partitions: BTreeMap::from([(dt, entry)]), ..LayerState::default() };
        let opened = OpenedLayer { head: None, state, origin: StateOrigin::Log };
        let scratch = tempfile::tempdir().unwrap();
        let refused = Catalog::open(&output, &opened, &schema, scratch.path().into(), &Cancel::default(), StoredState::Rebuild);
        assert!(matches!(refused, Err(LayerError::Columns { .. })));
    }
}
