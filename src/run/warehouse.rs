//! A warehouse that follows the layer: which days and files a load takes, and the comparison of both sides.
//!
//! Knows the output, its runs and its files. The SQL is `warehouse::redshift`'s, and what a person sees is `cli`'s.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{RunError, WhichRuns, changes, existing::require_layer, open};
use crate::{
    cancel::Cancel,
    layer::{self, OpenedLayer},
    model::{DIM_PRODUCT, DIM_USER, DimensionSpec, Dt, FactSchema, FileFormat},
    settings::Settings,
    store::{
        Output, StoreError,
        places::{self, SideFact},
    },
    warehouse::redshift::{
        self, Changes, Comparison, CopySource, DayChanges, DimensionComparison, DimensionHeaders, DimensionTotals, LayerReader,
        LongestTexts, RedshiftError, Session, Side, SideChanges, SideComparison, SideContent, SideTable, StoredColumns, Table, Tables,
    },
};

pub use crate::warehouse::redshift::DayRange;

/// What is printed or run in the warehouse.
#[derive(Clone, Copy, Debug)]
pub enum WarehouseLoad<'a> {
    /// The tables.
    Tables,
    /// All rows.
    Full,
    /// The rows of the days that these runs changed.
    Runs(WhichRuns<'a>),
}

/// What happens to days that differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repair {
    /// They are named.
    No,
    /// They are loaded again.
    Yes,
}

/// What a load did.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Loaded {
    /// The number of statements.
    pub statements: usize,
    /// The tables that the warehouse lacked.
    pub created_tables: Vec<&'static str>,
    /// The columns that were added to the warehouse's tables: `table.column`.
    pub added_columns: Vec<String>,
}

/// The result of a comparison.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// What was found first.
    pub found: Comparison,
    /// What the repair did, and what was found after it; `None` where nothing was repaired.
    pub repaired: Option<Repaired>,
}

/// A repair.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Repaired {
    /// What was loaded.
    pub loaded: Loaded,
    /// What was found after it.
    pub found: Comparison,
}

impl Verified {
    /// What holds now.
    pub fn last(&self) -> &Comparison {
        self.repaired.as_ref().map_or(&self.found, |repaired| &repaired.found)
    }
}

/// A layer and the warehouse that follows it.
pub struct Warehouse<'a> {
    settings: &'a Settings,
    cancel: &'a Cancel,
    output: Output,
    schema: FactSchema,
    /// The format of the files of partitions.
    format: FileFormat,
    headers: DimensionHeaders,
    /// The side facts that the layer has, or has had.
    sides: BTreeMap<SideFact, SideContent>,
}

/// The statements of a load, and what they add to the warehouse.
#[derive(Default)]
struct Load {
    statements: Vec<String>,
    created_tables: Vec<&'static str>,
    added_columns: Vec<String>,
}

impl Load {
    /// Runs it.
    fn execute(self, session: &Session<'_>) -> Result<Loaded, RedshiftError> {
        let Load { statements, created_tables, added_columns } = self;
        session.execute(&statements)?;
        Ok(Loaded { statements: statements.len(), created_tables, added_columns })
    }
}

impl<'a> Warehouse<'a> {
    /// Opens the layer. A publish that was cut off is finished or undone first; a run that is at work is not waited for.
    ///
    /// # Errors
    /// The layer has other columns than `etl.toml` names, or I/O errors.
    pub fn open(settings: &'a Settings, cancel: &'a Cancel) -> Result<Warehouse<'a>, RunError> {
        let output = Output::open(&settings.output)?;
        open::recover_unless_held(&output)?;
        let opened = OpenedLayer::open(&output)?;
        let schema = settings.with_quantity_of(opened.state.quantity).schema();
        opened.state.verify_columns(&schema)?;
        let format = opened.state.format_to_write(None)?;
        let headers = DimensionHeaders { users: header(&output, &DIM_USER)?, products: header(&output, &DIM_PRODUCT)? };
        let mut sides = BTreeMap::new();
        for fact in SideFact::ALL {
            let has_rows = !layer::side_files(&output, &opened, fact)?.is_empty();
            if has_rows || opened.state.has_side(fact) {
                sides.insert(fact, if has_rows { SideContent::Rows } else { SideContent::Nothing });
            }
        }
        Ok(Warehouse { settings, cancel, output, schema, format, headers, sides })
    }

    /// The load as a script. It begins with comments where the tables need columns that a script can't know of.
    ///
    /// # Errors
    /// Something is not configured, no such run, or the layer can't be read.
    pub fn script(&self, load: WarehouseLoad<'_>) -> Result<String, RunError> {
        let changes = self.changes_of(load)?;
        let reader = self.reader()?;
        let has_extra_texts = !Table::facts(&self.schema, &LongestTexts::default()).extra_texts().is_empty();
        let longest = self.measure(&reader, changes.as_ref().filter(|_| !has_extra_texts))?;
        let tables = self.tables(&longest)?;
        // A script can't know whether the warehouse has the tables of side facts: a layer may gain them long after `ddl`.
        let create = |is_loaded: &dyn Fn(SideFact) -> bool| -> Vec<String> {
            tables.sides.iter().filter(|side| is_loaded(side.fact)).map(|side| redshift::create_side(&tables, side)).collect()
        };
        let statements = match (load, &changes) {
            (WarehouseLoad::Tables, _) => return Ok(redshift::script(&redshift::ddl(&tables))),
            (_, None) => redshift::copy(&tables, self.whole_layer(), create(&|_| true))?,
            (_, Some(changes)) => redshift::merge(&tables, changes, create(&|fact| changes.sides.contains_key(&fact)))?,
        };
        Ok(redshift::wanted_columns(&tables) + &redshift::script(&statements))
    }

    /// Runs the load in the warehouse, in one transaction. Columns that its tables lack are added first.
    ///
    /// # Errors
    /// Something is not configured, no such run, the layer can't be read, a text does not fit, or what the warehouse refuses.
    pub fn execute(&self, load: WarehouseLoad<'_>) -> Result<Loaded, RunError> {
        let changes = self.changes_of(load)?;
        let session = self.session()?;
        let reader = self.reader()?;
        let load = match load {
            WarehouseLoad::Tables => {
                let longest = self.measure(&reader, None)?;
                Load { statements: redshift::ddl(&self.tables(&longest)?), ..Load::default() }
            }
            WarehouseLoad::Full | WarehouseLoad::Runs(_) => self.load(&session, &reader, changes.as_ref(), MissingTables::Refuse)?,
        };
        Ok(load.execute(&session)?)
    }

    /// Compares the warehouse with the layer, and repairs it where that is wanted.
    ///
    /// # Errors
    /// As [`Warehouse::execute`]. A difference is a result, not an error.
    pub fn verify(&self, days: DayRange, repair: Repair) -> Result<Verified, RunError> {
        if repair == Repair::Yes && self.settings.redshift.url.is_none() {
            return Err(RedshiftError::NoUrl.into());
        }
        self.refuse_empty()?;
        let session = self.session()?;
        let reader = self.reader()?;
        let found = self.compare(&session, &reader, days)?;
        if repair == Repair::No || found.is_equal() {
            return Ok(Verified { found, repaired: None });
        }
        let changes = self.different(&found)?;
        let mut load = self.load(&session, &reader, Some(&changes), MissingTables::Create)?;
        for undated in self.undated(&found)? {
            let commit = load.statements.len() - 1;
            load.statements.insert(commit, undated);
        }
        let loaded = load.execute(&session)?;
        let repaired = Repaired { loaded, found: self.compare(&session, &reader, days)? };
        Ok(Verified { found, repaired: Some(repaired) })
    }

    /// What a repair loads again: the days that differ.
    fn different(&self, found: &Comparison) -> Result<Changes, RunError> {
        let days: BTreeSet<Dt> = found.days.iter().filter_map(|day| day.dt).collect();
        let stored = self.stored_of(&days)?;
        let mut changes = Changes { facts: DayChanges { sources: redshift::sources(&stored, &[]), days, stored }, ..Changes::default() };
        for fact in self.sides.keys().copied() {
            let days: BTreeSet<Dt> = found.side_days(fact).iter().filter_map(|day| day.dt).collect();
            if !days.is_empty() {
                let files = self.side_files(fact)?;
                let side = changes::side_changes(fact, days, |dt| files.contains_key(&dt));
                changes.sides.insert(fact, SideChanges::Days(side));
            }
        }
        Ok(changes)
    }

    /// The statements that delete rows of no day, where there are any.
    fn undated(&self, found: &Comparison) -> Result<Vec<String>, RedshiftError> {
        let tables = self.tables(&LongestTexts::default())?;
        let facts = redshift::has_undated(&found.days).then_some(&tables.facts);
        let sides = tables.sides.iter().filter(|side| redshift::has_undated(found.side_days(side.fact)));
        let undated = facts.into_iter().chain(sides.map(|side| &side.table));
        Ok(undated.map(|table| redshift::delete_undated(&tables, table)).collect())
    }

    /// The days that a load replaces; `None` for a full load.
    fn changes_of(&self, load: WarehouseLoad<'_>) -> Result<Option<Changes>, RunError> {
        let url = || self.settings.redshift.url.as_deref().ok_or(RedshiftError::NoUrl);
        match load {
            WarehouseLoad::Tables => Ok(None),
            WarehouseLoad::Full => {
                url()?;
                self.refuse_empty()?;
                Ok(None)
            }
            WarehouseLoad::Runs(which) => {
                let url = url()?;
                require_layer(&self.output)?;
                changes::changes(&self.output, url, which).map(Some)
            }
        }
    }

    /// An empty layer is most likely a mistyped folder, and must not empty the warehouse.
    fn refuse_empty(&self) -> Result<(), RunError> {
        if self.partitions()?.is_empty() {
            return Err(RedshiftError::EmptyLayer(self.output.location()).into());
        }
        Ok(())
    }

    /// What holds all facts. In a bucket the manifest of the newest commit: a run that is being installed is then loaded whole. A folder
    /// is copied to where the warehouse reads it, and its prefix is what every copy has.
    fn whole_layer(&self) -> CopySource {
        match self.output.folder() {
            Some(_) => CopySource::Prefix(format!("{}/", places::CURATED)),
            None => CopySource::Manifest(places::WHOLE_MANIFEST.to_owned()),
        }
    }

    /// The statements of a load of some days, or of all. Everything that can be known before it is looked at here.
    fn load(
        &self,
        session: &Session<'_>,
        reader: &LayerReader<'_>,
        changes: Option<&Changes>,
        missing: MissingTables,
    ) -> Result<Load, RunError> {
        let stored = self.stored_columns(session)?;
        let changes = match changes {
            Some(changes) => Some(self.with_whole_sides(changes, &stored)?),
            None => None,
        };
        let changes = changes.as_ref();
        let mut longest = self.measure(reader, changes)?;
        let facts = Table::facts(&self.schema, &longest);
        let lacks_text = |name: &String| !stored.get(facts.name).is_some_and(|table| table.columns.contains_key(name));
        if changes.is_some() && facts.extra_texts().iter().any(lacks_text) {
            // A column that is added must have room for the texts of all days.
            longest = self.measure(reader, None)?;
        }
        let tables = self.tables(&longest)?;
        let mut load = Load::default();
        let mut before = Vec::new();
        if missing == MissingTables::Create && tables.stored().any(|table| !stored.contains_key(table.name)) {
            before = redshift::ddl_statements(&tables);
        }
        for table in tables.stored() {
            let Some(columns) = stored.get(table.name) else {
                let side = tables.sides.iter().find(|side| side.table.name == table.name);
                match (missing, side) {
                    (MissingTables::Refuse, None) => return Err(RedshiftError::MissingTable(tables.qualified(table.name)).into()),
                    // A layer may gain a side fact long after its tables were made.
                    (MissingTables::Refuse, Some(side)) => before.extend(redshift::side_statements(&tables, side)),
                    (MissingTables::Create, _) => {}
                }
                load.created_tables.push(table.name);
                continue;
            };
            before.extend(redshift::additions(&tables, table, columns));
            load.added_columns.extend(redshift::missing_columns(table, columns).map(|column| format!("{}.{}", table.name, column.name)));
            if let Some(text) = redshift::first_misfit(table, columns, &longest) {
                let example = reader.example(table, &paths(&self.files(table.name, changes)?), &text.column)?;
                return Err(text.error(&tables, table, example).into());
            }
        }
        load.statements = match changes {
            Some(changes) => redshift::merge(&tables, changes, before)?,
            None => redshift::copy(&tables, self.whole_layer(), before)?,
        };
        Ok(load)
    }

    /// The same changes, with all rows of each side fact whose table is new in the warehouse, or gets a column.
    fn with_whole_sides(&self, changes: &Changes, stored: &StoredColumns) -> Result<Changes, RedshiftError> {
        let lacks = |side: &SideTable| {
            stored.get(side.table.name).is_none_or(|columns| redshift::missing_columns(&side.table, columns).next().is_some())
        };
        let tables = self.tables(&LongestTexts::default())?;
        let whole = tables.sides.iter().filter(|side| lacks(side)).map(|side| (side.fact, SideChanges::Whole));
        let mut changes = changes.clone();
        changes.sides.extend(whole);
        Ok(changes)
    }

    fn compare(&self, session: &Session<'_>, reader: &LayerReader<'_>, days: DayRange) -> Result<Comparison, RunError> {
        let tables = self.tables(&LongestTexts::default())?;
        let stored = self.stored_columns(session)?;
        let mut comparison = Comparison::default();
        for table in tables.stored() {
            match stored.get(table.name) {
                None => comparison.missing_tables.push(table.name),
                Some(columns) => {
                    let missing = redshift::missing_columns(table, columns).map(|column| format!("{}.{}", table.name, column.name));
                    comparison.missing_columns.extend(missing);
                }
            }
        }
        let facts = &tables.facts;
        let mut partitions = self.partitions()?;
        partitions.retain(|dt, _| days.contains(*dt));
        self.fetch(partitions.keys().copied().collect())?;
        let files: Vec<_> = partitions.into_values().collect();
        let layer = reader.query(facts, &paths(&files), |from| redshift::facts_query(&tables, Side::Layer, from, days))?;
        let warehouse = match stored.get(facts.name) {
            None => Vec::new(),
            Some(columns) => {
                let place = tables.qualified(facts.name);
                session.query(&redshift::facts_query(&tables, Side::Warehouse(columns), &place, days))?
            }
        };
        (comparison.days, comparison.compared) = redshift::compare_days(layer, warehouse);
        for side in &tables.sides {
            let place = tables.qualified(side.table.name);
            let warehouse = match stored.get(side.table.name) {
                None => Vec::new(),
                Some(columns) => session.query(&redshift::side_query(side, Side::Warehouse(columns), &place, days))?,
            };
            comparison.side_facts.insert(side.table.name, self.compare_side(reader, side, days, warehouse)?);
        }
        for table in tables.stored_dimensions().map(|dimension| &dimension.table) {
            let dimension = self.compare_dimension(session, reader, &tables, table, &stored)?;
            comparison.dimensions.insert(table.name, dimension);
        }
        Ok(comparison)
    }

    /// Compares a side fact with the answer of the warehouse.
    fn compare_side(
        &self,
        reader: &LayerReader<'_>,
        side: &SideTable,
        days: DayRange,
        warehouse: Vec<Vec<Option<String>>>,
    ) -> Result<SideComparison, RunError> {
        let mut files = self.side_files(side.fact)?;
        files.retain(|dt, _| days.contains(*dt));
        self.fetch_side(side.fact, files.keys().copied().collect())?;
        let files: Vec<_> = files.into_values().collect();
        let layer = reader.query(&side.table, &paths(&files), |from| redshift::side_query(side, Side::Layer, from, days))?;
        Ok(redshift::compare_side(layer, warehouse))
    }

    fn compare_dimension(
        &self,
        session: &Session<'_>,
        reader: &LayerReader<'_>,
        tables: &Tables<'_>,
        table: &Table,
        stored: &StoredColumns,
    ) -> Result<DimensionComparison, RunError> {
        let file = self.files(table.name, None)?;
        let layer = DimensionTotals::of(reader.query(table, &paths(&file), |from| redshift::dimension_query(table, Side::Layer, from))?);
        let warehouse = match stored.get(table.name) {
            None => None,
            Some(columns) => {
                let sql = redshift::dimension_query(table, Side::Warehouse(columns), &tables.qualified(table.name));
                Some(DimensionTotals::of(session.query(&sql)?))
            }
        };
        Ok(DimensionComparison { equal: warehouse.as_ref() == Some(&layer), layer, warehouse })
    }

    fn tables(&self, longest: &LongestTexts) -> Result<Tables<'a>, RedshiftError> {
        let tables = Tables::new(&self.settings.redshift, &self.schema, &self.headers, longest)?;
        Ok(tables.in_format(self.format).with_sides(&self.sides, longest))
    }

    fn session(&self) -> Result<Session<'a>, RedshiftError> {
        Session::open(&self.settings.redshift, &self.settings.http.network, self.cancel)
    }

    fn reader(&self) -> Result<LayerReader<'a>, RedshiftError> {
        LayerReader::open(self.settings.threads, self.settings.memory_limit, self.cancel)
    }

    fn stored_columns(&self, session: &Session<'_>) -> Result<StoredColumns, RedshiftError> {
        let tables = self.tables(&LongestTexts::default())?;
        Ok(redshift::stored_columns(session.query(&redshift::columns_query(&tables))?))
    }

    /// The longest texts of the stored dimensions, and of what is loaded again of the facts, or of all of them.
    fn measure(&self, reader: &LayerReader<'_>, changes: Option<&Changes>) -> Result<LongestTexts, RunError> {
        let mut longest = LongestTexts::default();
        for table in self.tables(&longest)?.stored() {
            let columns: Vec<_> = table.texts().map(str::to_owned).collect();
            longest.add(table.name, reader.longest(table, &paths(&self.files(table.name, changes)?), &columns)?);
        }
        Ok(longest)
    }

    /// The files of a table; of the facts and the side facts those that are loaded again, or all.
    fn files(&self, table: &str, changes: Option<&Changes>) -> Result<Vec<PathBuf>, RunError> {
        if let Some(spec) = [DIM_USER, DIM_PRODUCT].iter().find(|spec| spec.name == table) {
            return Ok(vec![self.output.at(places::dimension(spec))]);
        }
        if let Some(fact) = SideFact::ALL.into_iter().find(|fact| fact.table() == table) {
            return self.files_of_side(fact, changes);
        }
        let days = changes.map(|changes| &changes.facts.stored);
        let partitions = self.partitions()?;
        let wanted = partitions.iter().filter(|(dt, _)| days.is_none_or(|days| days.contains(dt)));
        self.fetch(wanted.clone().map(|(dt, _)| *dt).collect())?;
        Ok(wanted.map(|(_, path)| path.clone()).collect())
    }

    /// The files of a side fact that are loaded again, or all.
    fn files_of_side(&self, fact: SideFact, changes: Option<&Changes>) -> Result<Vec<PathBuf>, RunError> {
        let mut files = self.side_files(fact)?;
        match changes.map(|changes| changes.sides.get(&fact)) {
            None | Some(Some(SideChanges::Whole)) => {}
            Some(Some(SideChanges::Days(days))) => files.retain(|dt, _| days.stored.contains(dt)),
            Some(None) => files.clear(),
        }
        self.fetch_side(fact, files.keys().copied().collect())?;
        Ok(files.into_values().collect())
    }

    /// The files of a side fact, by day.
    fn side_files(&self, fact: SideFact) -> Result<BTreeMap<Dt, PathBuf>, RunError> {
        let files = layer::side_files(&self.output, &OpenedLayer::open(&self.output)?, fact)?;
        Ok(files.into_iter().map(|(dt, key)| (dt, self.output.at(key))).collect())
    }

    /// Makes local copies of some days of a side fact, of an output in a bucket.
    fn fetch_side(&self, fact: SideFact, days: Vec<Dt>) -> Result<(), RunError> {
        if self.output.folder().is_some() {
            return Ok(());
        }
        let state = OpenedLayer::open(&self.output)?.state;
        let version = |dt: Dt| state.side(fact, dt).map(|entry| (fact.file(dt), entry.version.clone()));
        let versions: Vec<_> = days.into_iter().filter_map(version).collect();
        Ok(self.output.local_versions(&versions)?)
    }

    /// Makes local copies of some partitions, of an output in a bucket.
    fn fetch(&self, days: Vec<Dt>) -> Result<(), RunError> {
        if self.output.folder().is_some() {
            return Ok(());
        }
        let state = OpenedLayer::open(&self.output)?.state;
        let version = |dt: Dt| state.partitions.get(&dt).map(|entry| (entry.key(dt), entry.version.clone()));
        let versions: Vec<_> = days.into_iter().filter_map(version).collect();
        Ok(self.output.local_versions(&versions)?)
    }

    /// The files of all partitions.
    fn partitions(&self) -> Result<BTreeMap<Dt, PathBuf>, RunError> {
        let mut files = BTreeMap::new();
        for (dt, key) in layer::stored_partition_files(&self.output)? {
            if self.output.still_has(&key)? {
                files.insert(dt, self.output.at(key));
            }
        }
        Ok(files)
    }

    /// Those of the days that have a partition.
    fn stored_of(&self, days: &BTreeSet<Dt>) -> Result<BTreeSet<Dt>, RunError> {
        let stored = self.partitions()?;
        Ok(days.iter().copied().filter(|dt| stored.contains_key(dt)).collect())
    }
}

/// What a load does about tables that do not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MissingTables {
    Refuse,
    Create,
}

fn paths(files: &[PathBuf]) -> Vec<&Path> {
    files.iter().map(PathBuf::as_path).collect()
}

/// The columns of a stored dimension; `None` where it has no file.
fn header(output: &Output, spec: &DimensionSpec) -> Result<Option<Vec<String>>, RunError> {
    let Some(path) = output.local(places::dimension(spec))? else { return Ok(None) };
    let read = || csv::Reader::from_path(&path)?.headers().cloned();
    let names = read().map_err(|error| StoreError::io("read", &path)(std::io::Error::other(error)))?;
    Ok(Some(names.iter().map(str::to_owned).collect()))
}
