//! The layer as a commit describes it: each partition and dimension with its object, the index, the prices, and the coverage.
//!
//! Stands in every record of the log, so that one read opens the layer. Reads no partition.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::{LayerError, PartitionRows, csv, lineage_runs::is_lineage};
use crate::{
    coverage::{Ledger, OrderSources},
    drift::Shapes,
    model::{CurrencyTotals, Dt, ErasedUsers, FactSchema, FileFormat, LayerIds, QuantityType, add_totals},
    settings::Reconciliation,
    store::{
        self, Commit, FileStamp, Fingerprint, Head, Inlined, Key, ObjectRef, Output, StoreError,
        places::{self, INDEX, SideFact, before_commits},
    },
};

/// What is known of a partition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PartitionEntry {
    /// Its content.
    #[serde(flatten)]
    pub version: ObjectRef,
    /// The modification time of its file when it was committed, in nanoseconds since the epoch; 0 in a bucket.
    #[serde(default)]
    pub modified_ns: u64,
    /// How many rows it has.
    pub rows: u64,
    /// Its revenue by currency, in ten-thousandths.
    #[serde(with = "units_as_text")]
    pub revenue: CurrencyTotals,
    /// The totals of its orders; `None` where no source says them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<SideEntry>,
}

/// What is known of a side fact of one day.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SideEntry {
    /// Its content.
    #[serde(flatten)]
    pub version: ObjectRef,
    /// The modification time of its file, as [`PartitionEntry::modified_ns`].
    #[serde(default)]
    pub modified_ns: u64,
    /// How many rows it has.
    pub rows: u64,
}

impl SideEntry {
    /// Whether a file of this size and time is the one that was committed: enough not to read it.
    pub fn looks_like(&self, bytes: u64, modified_ns: u64) -> bool {
        self.version.bytes == bytes && self.modified_ns == modified_ns
    }
}

impl PartitionEntry {
    /// The format of its file: the end of its object's name tells it.
    pub fn format(&self) -> FileFormat {
        FileFormat::of_name(self.version.object.name()).unwrap_or_default()
    }

    /// The place of its file.
    pub fn key(&self, dt: Dt) -> Key {
        places::partition_file(dt, self.format())
    }

    /// Whether a file of this size and time is the one that was committed: enough not to read it.
    pub fn looks_like(&self, bytes: u64, modified_ns: u64) -> bool {
        self.version.bytes == bytes && self.modified_ns == modified_ns
    }
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

/// The layer, as it stands in a record of the log.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct LayerState {
    /// The names of the extra columns.
    #[serde(default)]
    pub columns: Vec<String>,
    /// The type of quantities.
    #[serde(default)]
    pub quantity: QuantityType,
    /// Which ids its orders have.
    #[serde(default)]
    pub ids: LayerIds,
    /// The zone of local dates; `None` where the layer has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Whether runs have loaded totals of which prices are quotients.
    #[serde(default)]
    pub has_quotients: bool,
    /// The shops whose skus carry their names (`own_skus`).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub own_skus: BTreeSet<String>,
    /// Whether the lines of an order add up to its total, as the last run has it that brought totals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconciliation: Option<Reconciliation>,
    /// The index of orders, the oldest segment first.
    #[serde(default)]
    pub segments: Vec<ObjectRef>,
    /// The last known prices.
    #[serde(default)]
    pub prices: Option<ObjectRef>,
    /// Each partition.
    #[serde(default)]
    pub partitions: BTreeMap<Dt, PartitionEntry>,
    /// The refunds of each day that has some.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refunds: BTreeMap<Dt, SideEntry>,
    /// The index of the days of refunds, by order; the oldest segment first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refund_segments: Vec<ObjectRef>,
    /// Each dimension that has a file, by its name.
    #[serde(default)]
    pub dimensions: BTreeMap<String, ObjectRef>,
    /// What runs have loaded.
    #[serde(default)]
    pub coverage: Ledger,
    /// What the records of each source look like.
    #[serde(default, skip_serializing_if = "Shapes::is_empty")]
    pub shapes: Shapes,
    /// The sources that have brought orders; `None` if that is not known of all commits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_sources: Option<OrderSources>,
    /// The users who were erased.
    #[serde(default, skip_serializing_if = "ErasedUsers::is_empty")]
    pub erased: ErasedUsers,
    /// In a bucket, the content of the tool's own small objects, by their keys: it stands here in place of the objects. So does the
    /// lineage of the latest runs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inlined: BTreeMap<Key, Inlined>,
}

/// What a layer says of the columns of all its partitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LayerColumns {
    names: Vec<String>,
    quantity: QuantityType,
    ids: LayerIds,
    time_zone: Option<String>,
}

impl LayerColumns {
    /// The columns of a schema.
    pub fn of(schema: &FactSchema) -> LayerColumns {
        LayerColumns {
            names: schema.extra().iter().map(|column| column.name.clone()).collect(),
            quantity: schema.quantity(),
            ids: schema.ids(),
            time_zone: schema.time_zone().map(|zone| zone.name().to_owned()),
        }
    }
}

impl LayerState {
    /// The state of a commit.
    ///
    /// # Errors
    /// A record that is damaged.
    pub fn of(output: &Output, commit: &Commit) -> Result<LayerState, StoreError> {
        serde_json::from_str(commit.layer.get()).map_err(|error| StoreError::Record {
            location: format!("commit {} of {}", commit.number, output.location()),
            detail: error.to_string(),
        })
    }

    /// The state as it stands in a record: without the content of objects that it does not name any more.
    ///
    /// # Errors
    /// None in practice: every state is valid JSON.
    pub fn to_record(&self) -> Result<Box<RawValue>, StoreError> {
        let mut state = self.clone();
        let named: BTreeSet<&Key> = self.own_objects().collect();
        state.inlined.retain(|key, _| named.contains(key) || is_lineage(key));
        to_raw_value(&state).map_err(|error| StoreError::Record { location: "the state of the layer".into(), detail: error.to_string() })
    }

    /// Verifies that the orders of the layer have the ids of the schema: those of shops, or of one source. An empty layer has any.
    ///
    /// # Errors
    /// [`LayerError::Shops`].
    pub fn verify_ids(&self, schema: &FactSchema) -> Result<(), LayerError> {
        if self.partitions.is_empty() || self.ids == schema.ids() { Ok(()) } else { Err(LayerError::Shops { stored: self.ids }) }
    }

    /// Verifies that the layer has the columns of the schema. An empty layer has any columns.
    ///
    /// # Errors
    /// [`LayerError::Columns`], [`LayerError::TimeZone`], [`LayerError::Shops`].
    pub fn verify_columns(&self, schema: &FactSchema) -> Result<(), LayerError> {
        self.verify_ids(schema)?;
        let same = self.columns.iter().eq(schema.extra().iter().map(|column| &column.name));
        if self.partitions.is_empty() {
            return Ok(());
        }
        if self.quantity != schema.quantity() {
            return Err(LayerError::Quantity { stored: self.quantity.column().sql(), wanted: schema.quantity().column().sql() });
        }
        if !same {
            return Err(LayerError::columns(self.columns.iter().map(String::as_str), schema));
        }
        let shown = |zone: Option<&str>| zone.unwrap_or("no zone").to_owned();
        let (stored, wanted) = (self.time_zone.as_deref(), schema.time_zone().map(chrono_tz::Tz::name));
        if stored == wanted { Ok(()) } else { Err(LayerError::TimeZone { stored: shown(stored), wanted: shown(wanted) }) }
    }

    /// What it says of the columns of all partitions.
    pub fn layer_columns(&self) -> LayerColumns {
        let LayerState { columns, quantity, ids, time_zone, .. } = self;
        LayerColumns { names: columns.clone(), quantity: *quantity, ids: *ids, time_zone: time_zone.clone() }
    }

    /// Sets what it says of the columns of all partitions.
    pub fn set_columns(&mut self, columns: LayerColumns) {
        let LayerColumns { names, quantity, ids, time_zone } = columns;
        (self.columns, self.quantity, self.ids, self.time_zone) = (names, quantity, ids, time_zone);
    }

    /// Sets the facts of a day. Its totals of orders stay as they are.
    pub fn set_facts(&mut self, dt: Dt, facts: PartitionEntry) {
        let totals = self.partitions.get_mut(&dt).and_then(|entry| entry.totals.take());
        self.partitions.insert(dt, PartitionEntry { totals, ..facts });
    }

    /// The format of the files of its partitions; `None` where it has none.
    pub fn file_format(&self) -> Option<FileFormat> {
        self.partitions.values().next_back().map(PartitionEntry::format)
    }

    /// The format that a run writes: that of the layer, or, where the layer is empty, the one that was asked for.
    ///
    /// # Errors
    /// [`LayerError::FileFormat`] if partitions have another format than the one that was asked for, or several.
    pub fn format_to_write(&self, wanted: Option<FileFormat>) -> Result<FileFormat, LayerError> {
        let stored = self.file_format();
        let wanted = wanted.or(stored).unwrap_or_default();
        match self.partitions.iter().find(|(_, entry)| entry.format() != wanted) {
            None => Ok(wanted),
            Some((&dt, entry)) => Err(LayerError::FileFormat { file: entry.key(dt), wanted }),
        }
    }

    /// The content that stands at a place: of a partition, of a side fact, or of a dimension.
    pub fn version_at(&self, key: &Key) -> Option<&ObjectRef> {
        if let Some(dt) = places::partition_of_key(key) {
            return self.partitions.get(&dt).filter(|entry| entry.key(dt) == *key).map(|entry| &entry.version);
        }
        if let Some((fact, dt)) = SideFact::of_key(key) {
            return self.side(fact, dt).map(|entry| &entry.version);
        }
        let name = key.as_str().strip_prefix("dims/")?.split_once('/')?.0;
        self.dimensions.get(name)
    }

    /// The totals of orders, by partition.
    pub fn order_totals(&self) -> impl Iterator<Item = (Dt, &SideEntry)> {
        self.partitions.iter().filter_map(|(&dt, entry)| Some((dt, entry.totals.as_ref()?)))
    }

    /// A side fact of a day.
    pub fn side(&self, fact: SideFact, dt: Dt) -> Option<&SideEntry> {
        match fact {
            SideFact::OrderTotals => self.partitions.get(&dt)?.totals.as_ref(),
            SideFact::Refunds => self.refunds.get(&dt),
        }
    }

    /// The same, to be changed.
    pub fn side_mut(&mut self, fact: SideFact, dt: Dt) -> Option<&mut SideEntry> {
        match fact {
            SideFact::OrderTotals => self.partitions.get_mut(&dt)?.totals.as_mut(),
            SideFact::Refunds => self.refunds.get_mut(&dt),
        }
    }

    /// Sets a side fact of a day. Totals of orders lie in partitions that have rows: where there is no partition, nothing is set.
    pub fn set_side(&mut self, fact: SideFact, dt: Dt, entry: Option<SideEntry>) {
        match (fact, entry) {
            (SideFact::OrderTotals, entry) => {
                if let Some(partition) = self.partitions.get_mut(&dt) {
                    partition.totals = entry;
                }
            }
            (SideFact::Refunds, Some(entry)) => drop(self.refunds.insert(dt, entry)),
            (SideFact::Refunds, None) => drop(self.refunds.remove(&dt)),
        }
    }

    /// All side facts of all days.
    pub fn sides(&self) -> impl Iterator<Item = (SideFact, Dt, &SideEntry)> {
        let totals = self.order_totals().map(|(dt, entry)| (SideFact::OrderTotals, dt, entry));
        totals.chain(self.refunds.iter().map(|(&dt, entry)| (SideFact::Refunds, dt, entry)))
    }

    /// The days of a side fact.
    pub fn side_days(&self, fact: SideFact) -> impl Iterator<Item = Dt> {
        self.sides().filter(move |(of, ..)| *of == fact).map(|(_, dt, _)| dt)
    }

    /// Whether the layer has a side fact, or has had it: what a warehouse loaded of it may have to go.
    pub fn has_side(&self, fact: SideFact) -> bool {
        let was_mapped = match fact {
            SideFact::OrderTotals => self.reconciliation.is_some(),
            SideFact::Refunds => !self.refund_segments.is_empty(),
        };
        was_mapped || self.side_days(fact).next().is_some()
    }

    /// All objects that the state names.
    pub fn objects(&self) -> impl Iterator<Item = &Key> {
        self.data_objects().chain(self.own_objects())
    }

    /// The objects of partitions, of side facts, and of dimensions.
    pub fn data_objects(&self) -> impl Iterator<Item = &Key> {
        let partitions = self.partitions.values().map(|entry| &entry.version.object);
        let sides = self.sides().map(|(_, _, entry)| &entry.version.object);
        partitions.chain(sides).chain(self.dimensions.values().map(|version| &version.object))
    }

    /// The tool's own objects: the indexes and the prices.
    pub fn own_objects(&self) -> impl Iterator<Item = &Key> {
        self.own_versions().map(|version| &version.object)
    }

    /// The same, with what they hold.
    pub fn own_versions(&self) -> impl Iterator<Item = &ObjectRef> {
        self.segments.iter().chain(&self.refund_segments).chain(&self.prices)
    }

    /// Makes local files of the objects whose content stands in the state.
    fn keep_inlined(&self, output: &Output) -> Result<(), StoreError> {
        self.inlined.iter().try_for_each(|(key, content)| output.keep_inlined(key, content))
    }
}

/// Where the state of an opened layer comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StateOrigin {
    /// The newest commit.
    Log,
    /// The files that versions before commits kept.
    BeforeCommits,
    /// Nowhere: there is none, or, in a folder, it is damaged. It is made again from `curated/`.
    Missing,
}

/// What says which rows a layer has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Truth {
    /// The versions that the newest commit names. The files of `curated/` may be older: they are installed after the commit.
    Log,
    /// The files of `curated/`, as they are: somebody may have edited one.
    Files,
}

/// A layer, opened.
#[derive(Clone, Debug)]
pub struct OpenedLayer {
    /// The newest commit.
    pub head: Option<Head>,
    /// The layer after it.
    pub state: LayerState,
    /// Where the state comes from.
    pub origin: StateOrigin,
}

impl OpenedLayer {
    /// Opens the layer of an output. In a folder, a log that is damaged counts as missing: `curated/` is there.
    ///
    /// # Errors
    /// I/O errors; in a bucket also a damaged record.
    pub fn open(output: &Output) -> Result<OpenedLayer, StoreError> {
        OpenedLayer::with_head(output, store::head(output))
    }

    /// The same, as a run needs it that takes a lease next: see [`store::head_by_hint`].
    ///
    /// # Errors
    /// As [`OpenedLayer::open`].
    pub fn open_by_hint(output: &Output) -> Result<OpenedLayer, StoreError> {
        OpenedLayer::with_head(output, store::head_by_hint(output))
    }

    fn with_head(output: &Output, head: Result<Option<Head>, StoreError>) -> Result<OpenedLayer, StoreError> {
        let opened = head.and_then(|head| {
            let state = head.as_ref().map(|head| LayerState::of(output, &head.commit)).transpose()?;
            Ok(head.zip(state))
        });
        match opened {
            Ok(Some((head, state))) => {
                head.keep_copies(output)?;
                state.keep_inlined(output)?;
                Ok(OpenedLayer { head: Some(head), state, origin: StateOrigin::Log })
            }
            Ok(None) => Ok(match before_commits(output)? {
                Some(state) => OpenedLayer { head: None, state, origin: StateOrigin::BeforeCommits },
                None => OpenedLayer { head: None, state: LayerState::default(), origin: StateOrigin::Missing },
            }),
            Err(StoreError::Record { location, detail }) if output.folder().is_some() => {
                tracing::warn!(record = location, detail, "the log of commits is damaged; the state is made again from curated/");
                Ok(OpenedLayer { head: None, state: LayerState::default(), origin: StateOrigin::Missing })
            }
            Err(error) => Err(error),
        }
    }

    /// What says which rows it has: in a bucket the log, unless there is none.
    pub fn truth(&self, output: &Output) -> Truth {
        if output.folder().is_none() && self.origin == StateOrigin::Log { Truth::Log } else { Truth::Files }
    }

    /// The number of the newest commit; 0 if there is none.
    pub fn number(&self) -> u64 {
        self.head.as_ref().map_or(0, |head| head.commit.number)
    }
}

/// The catalog of versions before commits.
#[derive(Deserialize)]
struct CatalogBeforeCommits {
    version: u32,
    #[serde(default)]
    columns: Vec<String>,
    segments: Vec<String>,
    partitions: BTreeMap<Dt, PartitionBeforeCommits>,
}

#[derive(Deserialize)]
struct PartitionBeforeCommits {
    #[serde(flatten)]
    stamp: FileStamp,
    rows: u64,
    #[serde(with = "units_as_text")]
    revenue: CurrencyTotals,
}

/// The state that versions before commits kept; `None` where there is none that is valid.
fn before_commits(output: &Output) -> Result<Option<LayerState>, StoreError> {
    let Some(text) = output.read(before_commits::CATALOG)? else { return Ok(None) };
    let Some(catalog) = serde_json::from_slice::<CatalogBeforeCommits>(&text).ok().filter(|catalog| catalog.version == 1) else {
        return Ok(None);
    };
    let mut segments = Vec::new();
    for name in &catalog.segments {
        let object = Key::from(INDEX).join(name);
        let Some(bytes) = output.read(&object)? else { return Ok(None) };
        segments.push(ObjectRef::new(object, Fingerprint::of(&bytes)));
    }
    let object = Key::from(before_commits::PRICES);
    let prices = output.read(&object)?.map(|bytes| ObjectRef::new(object, Fingerprint::of(&bytes)));
    let coverage = output.read(before_commits::COVERAGE)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let partition = |(dt, before): (Dt, PartitionBeforeCommits)| {
        let PartitionBeforeCommits { stamp, rows, revenue } = before;
        let FileStamp { bytes, modified_ns, checksum } = stamp;
        let version = found_version(&places::partition_file(dt, FileFormat::default()), Fingerprint { bytes, checksum });
        (dt, PartitionEntry { version, modified_ns, rows, revenue, totals: None })
    };
    let partitions = catalog.partitions.into_iter().map(partition).collect();
    let (columns, dimensions) = (catalog.columns, BTreeMap::new());
    Ok(Some(LayerState { columns, segments, prices, partitions, dimensions, coverage, ..LayerState::default() }))
}

/// The entry of a partition with this canonical CSV, whose file is, or is to be, this object. Without totals.
///
/// # Errors
/// [`LayerError::Partition`] where the content can't be parsed.
pub fn entry_of(csv: &[u8], version: ObjectRef, dt: Dt, schema: &FactSchema) -> Result<PartitionEntry, LayerError> {
    let path = Path::new(version.object.as_str()).to_owned();
    let rows = csv::read_compact(csv, dt, &path, schema)?;
    Ok(PartitionEntry { version, modified_ns: 0, rows: rows.len() as u64, revenue: revenue_of(&rows), totals: None })
}

/// The revenue of rows, by currency.
pub(super) fn revenue_of(rows: &PartitionRows) -> CurrencyTotals {
    let mut revenue = CurrencyTotals::new();
    for line in (0..rows.len()).map(|row| rows.line(row)) {
        add_totals(&mut revenue, line.currency, i128::from(line.line_total.units()));
    }
    revenue
}

/// The entry of a partition whose file no commit may have put.
///
/// # Errors
/// None where the rows do not matter.
pub fn found_entry(key: &Key, bytes: &[u8]) -> PartitionEntry {
    PartitionEntry {
        version: found_version(key, Fingerprint::of(bytes)),
        modified_ns: 0,
        rows: 0,
        revenue: CurrencyTotals::new(),
        totals: None,
    }
}

/// The version of a file that no commit has put: what stood there before commits, or what somebody wrote. Its content names it.
pub(super) fn found_version(key: &Key, content: Fingerprint) -> ObjectRef {
    ObjectRef::new(places::object_of(key, &format!("found-{}", content.checksum), 0), content)
}
