//! What is stored, as of the last publish: each partition's size, time and checksum, and the index of orders. All of it can
//! be rebuilt from `curated/`, and is rebuilt where it is missing, stale or damaged.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    IndexBuilder, LayerError, Segment, StoredPartition,
    index::{self, Entry},
};
use crate::{
    cancel::Cancel,
    model::{CurrencyTotals, Dt, FactSchema, OrderHash, add_totals, order_hash},
    store::{
        self, FileStamp, Output, Staging,
        places::{self, CATALOG, INDEX},
    },
};

/// What is known of a partition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PartitionEntry {
    /// Its file when it was published.
    #[serde(flatten)]
    pub stamp: FileStamp,
    /// How many rows it has.
    pub rows: u64,
    /// Its revenue by currency, in ten-thousandths.
    #[serde(with = "units_as_text")]
    pub revenue: CurrencyTotals,
}

/// Ten-thousandths as JSON strings: a reader's number may be a float.
mod units_as_text {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::model::CurrencyTotals;

    pub(super) fn serialize<S: Serializer>(totals: &CurrencyTotals, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(totals.iter().map(|(currency, units)| (currency, units.to_string())))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CurrencyTotals, D::Error> {
        let texts = BTreeMap::<String, String>::deserialize(deserializer)?;
        texts.into_iter().map(|(currency, units)| Ok((currency, units.parse().map_err(D::Error::custom)?))).collect()
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Stored {
    version: u32,
    /// The names of the further columns.
    #[serde(default)]
    columns: Vec<String>,
    segments: Vec<String>,
    partitions: BTreeMap<String, PartitionEntry>,
}

const VERSION: u32 = 1;

impl Stored {
    /// Verifies that the layer has the columns of the schema. An empty layer has any columns.
    fn verify_columns(&self, schema: &FactSchema) -> Result<(), LayerError> {
        let same = self.columns.iter().eq(schema.extra().iter().map(|column| &column.name));
        if same || self.partitions.is_empty() { Ok(()) } else { Err(LayerError::columns(self.columns.iter().map(String::as_str), schema)) }
    }
}

/// Verifies that the layer has the columns of the schema, as far as its catalog knows.
///
/// # Errors
/// [`LayerError::Columns`], or what the disk refuses.
pub fn verify_columns(output: &Output, schema: &FactSchema) -> Result<(), LayerError> {
    load(output)?.map_or(Ok(()), |(stored, _)| stored.verify_columns(schema))
}

/// The stored catalog, compared with the files on disk.
pub struct Catalog {
    output: Output,
    schema: FactSchema,
    /// Each partition on disk.
    pub partitions: BTreeMap<Dt, PartitionEntry>,
    segments: Vec<Segment>,
    /// The segments' file names, in the order of `segments`.
    names: Vec<String>,
    /// Orders of partitions that were read again, because their files are not those that the catalog knows.
    fresh: IndexBuilder,
    has_fresh: bool,
    was_missing: bool,
    /// Partitions that were read again.
    read_again: Vec<Dt>,
    /// Partitions that the stored catalog names, and that are no longer on disk.
    lost: Vec<Dt>,
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
    /// Opens the catalog and compares it with `curated/`. Partitions that it does not know as they are now are read, strictly.
    ///
    /// # Errors
    /// A partition that can't be parsed, I/O errors.
    pub fn open(
        output: &Output,
        schema: &FactSchema,
        scratch: PathBuf,
        cancel: &Cancel,
        state: StoredState,
    ) -> Result<Catalog, LayerError> {
        let stored = if state == StoredState::Rebuild { None } else { load(output)? };
        if let Some((stored, _)) = &stored {
            stored.verify_columns(schema)?;
        }
        let (stored, segments) = match stored {
            Some((stored, segments)) => (Some(stored), segments),
            None => (None, Vec::new()),
        };
        let mut catalog = Catalog {
            output: output.clone(),
            schema: schema.clone(),
            partitions: BTreeMap::new(),
            names: stored.as_ref().map(|stored| stored.segments.clone()).unwrap_or_default(),
            segments,
            fresh: IndexBuilder::new(scratch),
            has_fresh: false,
            was_missing: stored.is_none(),
            read_again: Vec::new(),
            lost: Vec::new(),
            found_again: BTreeSet::new(),
        };
        let known = stored.map(|stored| stored.partitions).unwrap_or_default();
        for dt in partitions_on_disk(output)? {
            if cancel.is_stopped() {
                return Err(LayerError::Interrupted);
            }
            catalog.reconcile(dt, known.get(&dt.to_string()))?;
        }
        catalog.lost = known.keys().filter_map(|dt| dt.parse().ok()).filter(|dt| !catalog.partitions.contains_key(dt)).collect();
        Ok(catalog)
    }

    /// Whether the stored catalog is not what this one is: the next publish should replace it.
    pub fn is_stale(&self) -> bool {
        self.names.iter().any(String::is_empty) || self.has_fresh || self.was_missing || !self.lost.is_empty()
    }

    /// Whether the stored catalog was missing or damaged, or not used: all partitions were read.
    pub fn is_rebuilt(&self) -> bool {
        self.was_missing
    }

    /// Partitions whose files are not those that were published.
    pub fn read_again(&self) -> &[Dt] {
        &self.read_again
    }

    /// Published partitions that somebody removed.
    pub fn lost(&self) -> &[Dt] {
        &self.lost
    }

    /// Sets of partitions that hold rows of one order, of orders in partitions that somebody changed.
    pub fn found_again(&self) -> impl Iterator<Item = &BTreeSet<Dt>> {
        self.found_again.iter()
    }

    fn reconcile(&mut self, dt: Dt, known: Option<&PartitionEntry>) -> Result<(), LayerError> {
        let path = self.output.at(places::partition_file(dt));
        let Some((bytes, modified_ns)) = store::size_and_time(&path)? else { return Ok(()) };
        if let Some(known) = known.filter(|known| known.stamp.looks_like(bytes, modified_ns)) {
            self.partitions.insert(dt, known.clone());
            return Ok(());
        }
        let Some(stored) = StoredPartition::load(&self.output, dt, &self.schema)? else { return Ok(()) };
        let checksum = store::checksum(&stored.bytes);
        let same = known.is_some_and(|known| known.stamp.checksum == checksum);
        let stamp = FileStamp { bytes: stored.bytes.len() as u64, modified_ns, checksum };
        let mut revenue = CurrencyTotals::new();
        for line in (0..stored.rows.len()).map(|row| stored.rows.line(row)) {
            add_totals(&mut revenue, line.currency, i128::from(line.line_total.units()));
        }
        self.partitions.insert(dt, PartitionEntry { stamp, rows: stored.rows.len() as u64, revenue });
        if !same {
            self.read_again.push(dt);
            self.has_fresh = true;
            for row in 0..stored.rows.len() {
                self.fresh.push(order_hash(stored.rows.order_id(row)), dt);
            }
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
                known.retain(|dt| self.partitions.contains_key(dt));
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
            self.names.push(String::new());
        }
        Ok(())
    }

    /// Looks up the orders of partitions that somebody changed: a row may have been copied from another partition.
    fn look_up_again(&mut self) -> Result<(), LookUpError> {
        let Some(fresh) = self.names.iter().position(String::is_empty) else { return Ok(()) };
        let entries = self.segments[fresh].entries()?;
        for homes in index::by_order(entries) {
            let (order, mut homes) = homes?;
            for segment in self.segments.iter_mut().enumerate().filter(|(place, _)| *place != fresh).map(|(_, segment)| segment) {
                if !segment.look_up(order, &mut homes) {
                    return Err(LookUpError::Damaged);
                }
            }
            let homes: BTreeSet<Dt> = homes.into_iter().filter(|dt| self.partitions.contains_key(dt)).collect();
            if homes.len() > 1 {
                self.found_again.insert(homes);
            }
        }
        Ok(())
    }

    /// Stages the next catalog with the new entries of the run, and removes the segments that it replaces.
    ///
    /// # Errors
    /// I/O errors.
    pub fn stage(mut self, staging: &mut Staging, run_id: &str, new_file: &Path) -> Result<(), LayerError> {
        self.settle_fresh(new_file)?;
        if let Some(segment) = Segment::open(new_file).filter(|segment| segment.count() > 0) {
            self.segments.push(segment);
            self.names.push(String::new());
        }
        let merge_from = self.merge_from();
        let mut names: Vec<_> = self.names[..merge_from].to_vec();
        if merge_from < self.segments.len() {
            let name = format!("{run_id}.idx");
            let place = Path::new(INDEX).join(&name);
            let staged = staging.staged(&place);
            index::write_segment(&staged, index::merge_segments(&self.segments[merge_from..])?)?;
            let bytes = store::read(&staged)?.unwrap_or_default();
            staging.put_written(&place, bytes.len() as u64, store::checksum(&bytes))?;
            names.push(name);
        }
        let folder = self.output.at(INDEX);
        for name in self.output.names(&folder)?.into_iter().filter(|name| !names.contains(name)) {
            staging.remove(Path::new(INDEX).join(name));
        }
        let partitions = self.partitions.into_iter().map(|(dt, entry)| (dt.to_string(), entry)).collect();
        let columns = self.schema.extra().iter().map(|column| column.name.clone()).collect();
        let stored = Stored { version: VERSION, columns, segments: names, partitions };
        let text = serde_json::to_vec(&stored).unwrap_or_default();
        staging.put(CATALOG, &text)?;
        Ok(())
    }

    /// From which segment on all are to become one: those that are not stored yet, and before them each that is less than
    /// twice what follows it. So there are about log2(entries) segments, and each entry is rewritten as often.
    fn merge_from(&self) -> usize {
        let mut from = self.names.iter().position(String::is_empty).unwrap_or(self.names.len());
        if from == self.names.len() {
            return from;
        }
        let mut following: u64 = self.segments[from..].iter().map(Segment::count).sum();
        while from > 0 && self.segments[from - 1].count() < 2 * following {
            from -= 1;
            following += self.segments[from].count();
        }
        from
    }
}

/// The catalog and its index, where both are whole.
fn load(output: &Output) -> Result<Option<(Stored, Vec<Segment>)>, LayerError> {
    let Some(text) = store::read(&output.at(CATALOG))? else { return Ok(None) };
    let Some(stored) = serde_json::from_slice::<Stored>(&text).ok().filter(|stored| stored.version == VERSION) else { return Ok(None) };
    let segments: Option<Vec<_>> = stored.segments.iter().map(|name| Segment::open(&output.at(INDEX).join(name))).collect();
    Ok(segments.map(|segments| (stored, segments)))
}

/// What the stored state knows of the partitions of an order.
pub(super) struct IndexedOrder {
    /// The partitions that may hold it. An entry may be stale.
    pub(super) partitions: Vec<Dt>,
    /// Each partition as the last publish left it.
    pub(super) published: BTreeMap<Dt, FileStamp>,
}

/// Asks the stored index for an order; `None` where the catalog or the index is missing or damaged.
pub(super) fn indexed_order(output: &Output, order: OrderHash) -> Result<Option<IndexedOrder>, LayerError> {
    let Some((stored, segments)) = load(output)? else { return Ok(None) };
    let mut partitions = Vec::new();
    for mut segment in segments {
        if !segment.look_up(order, &mut partitions) {
            return Ok(None);
        }
    }
    let published = stored.partitions.into_iter().filter_map(|(dt, entry)| Some((dt.parse().ok()?, entry.stamp))).collect();
    Ok(Some(IndexedOrder { partitions, published }))
}

/// What the last publish said of each partition, as it stands in the catalog; nothing where that can't be read.
///
/// # Errors
/// I/O errors.
pub fn published_entries(output: &Output) -> Result<BTreeMap<Dt, PartitionEntry>, LayerError> {
    let Some(text) = store::read(&output.at(CATALOG))? else { return Ok(BTreeMap::new()) };
    let stored = serde_json::from_slice::<Stored>(&text).ok().filter(|stored| stored.version == VERSION).unwrap_or_default();
    Ok(stored.partitions.into_iter().filter_map(|(dt, entry)| Some((dt.parse().ok()?, entry))).collect())
}

/// Stages a catalog in which some partitions are of another time and content, and all else is as it was; for who rewrites
/// partitions without a change to their rows. Where the stored catalog can't be read there is none to be staged: the next
/// run rebuilds it.
///
/// # Errors
/// I/O errors.
pub fn restamp(output: &Output, staging: &mut Staging, stamps: BTreeMap<Dt, FileStamp>, columns: Vec<String>) -> Result<(), LayerError> {
    let Some((mut stored, _)) = load(output)? else { return Ok(()) };
    for (dt, stamp) in stamps {
        if let Some(entry) = stored.partitions.get_mut(&dt.to_string()) {
            entry.stamp = stamp;
        }
    }
    stored.columns = columns;
    staging.put(CATALOG, &serde_json::to_vec(&stored).unwrap_or_default())?;
    Ok(())
}

/// The further columns that the stored catalog names.
///
/// # Errors
/// I/O errors.
pub fn stored_columns(output: &Output) -> Result<Vec<String>, LayerError> {
    Ok(load(output)?.map(|(stored, _)| stored.columns).unwrap_or_default())
}

/// Which publish the layer is of: changes with each that changes the layer.
///
/// # Errors
/// I/O errors.
pub fn generation(output: &Output) -> Result<Option<String>, LayerError> {
    Ok(store::read(&output.at(CATALOG))?.map(|bytes| store::checksum(&bytes)))
}

/// The partitions that have a folder.
///
/// # Errors
/// I/O errors.
pub fn partitions_on_disk(output: &Output) -> Result<Vec<Dt>, LayerError> {
    let mut partitions = Vec::new();
    for name in output.names(&output.curated())? {
        match places::partition_of(&name) {
            Some(dt) => partitions.push(dt),
            None => {
                tracing::warn!(path = %output.curated().join(&name).display(), "not a partition: a warehouse that loads curated/ would load it too")
            }
        }
    }
    Ok(partitions)
}
