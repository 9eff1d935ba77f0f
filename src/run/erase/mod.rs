//! `etl erase`: takes users out of the layer, as one commit, and out of what runs have left beside it.
//!
//! The facts keep their rows and their money, and name nobody. What is beside the tables is done first, while the tables still say
//! what tells of the users; kept versions go last. Every step may be done twice: an erasure that was cut off is run again.

mod traces;
mod versions;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;

use self::traces::Traces;
use super::{
    RequestError, RunError, by_settings,
    change::{LayerChange, manifest_of, report_of_change},
    open::{Opened, Opening, settled_layer},
    raw,
};
use crate::{
    cancel::Cancel,
    join::{self, RemovedMembers},
    layer::{self, LayerState, OpenedLayer, StateOrigin, UsersToErase},
    model::{DIM_USER, Dt, ErasedUsers, FileFormat, RunId, SHOP_COLUMN, UtcMicros},
    normalize::{Mapping, UserIds},
    report::{CommandName, ErasedCounts, Summary},
    settings::{ColumnValue, Settings},
    store::{self, Key, Lease, Output, Scope, Staging, StoreError, places},
    warehouse::redshift,
};

/// The command, as its commits name it.
const COMMAND: &str = "erase";

/// The bytes of the key of the hashes that a layer remembers.
const SALT_BYTES: usize = 16;

/// Whom to erase, and where.
pub struct EraseRequest<'a> {
    /// The settings of the layer.
    pub settings: &'a Settings,
    /// Those of each of its sources: of each shop, or the same.
    pub sources: &'a [Settings],
    /// The ids of the users.
    pub users: &'a [String],
    /// Extra columns of `fact_order` that are emptied in the rows of these users.
    pub columns: &'a [String],
}

/// What an erasure did, or would do.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Erased {
    /// Its run; `None` if nothing was committed.
    pub run_id: Option<String>,
    /// Its commit; `None` likewise.
    pub commit: Option<u64>,
    /// How many users were asked for.
    pub users: usize,
    /// How many of them had been erased before.
    pub users_before: usize,
    /// Rows of `dim_user` that are removed.
    pub dim_user_rows: u64,
    /// Rows of `fact_order` that name nobody now.
    pub fact_order_rows: u64,
    /// Their partitions.
    pub partitions_written: Vec<Dt>,
    /// Records that are withheld in quarantine.
    pub quarantined_records: u64,
    /// Records that are withheld in `raw/`.
    pub raw_records: u64,
    /// Reports, and files of violating rows, from which values are removed.
    pub reports_changed: u64,
    /// Kept versions of files that are removed.
    pub versions_removed: usize,
    /// Extra columns of `fact_order` that stay as they are in the rows of these users.
    pub columns_kept: Vec<String>,
    /// The statements that do the same in Redshift.
    pub redshift_sql: Vec<String>,
}

/// Erases users. A dry run tells what that would do, and writes nothing.
///
/// # Errors
/// A user is known nowhere, a column is none that can be emptied, there is no layer (exit 2); the output is held; I/O errors.
pub fn erase(request: &EraseRequest<'_>, cancel: &Cancel) -> Result<Erased, RunError> {
    let output = Output::open(&request.settings.output)?;
    let started_at = UtcMicros::now();
    let wait = request.settings.lock_wait;
    let opening = Opening { output: &output, started_at, scope: Scope::default(), wait, cancel, layer: settled_layer(&output)? };
    let Opened { lease, layer, run_id } = opening.open(RunId::new(started_at))?;
    if layer.origin == StateOrigin::Missing {
        let has_partitions = !layer::partition_files(&output, &layer)?.is_empty();
        let place = output.location();
        let refused = if has_partitions { RequestError::UnknownLayer(place) } else { RequestError::NothingToCheck(place) };
        return Err(refused.into());
    }
    let settings = &request.settings.with_quantity_of(layer.state.quantity);
    layer.state.verify_columns(&settings.schema())?;
    refuse_columns(settings, request.columns)?;
    let sources: Vec<UserIds> = request.sources.iter().map(user_ids).collect();
    let asked = AskedUsers::of(request.users, &sources)?;
    let traces = Traces { ids: asked.all(), ..Traces::default() };
    let mut erasure = Erasure {
        request,
        settings,
        output: &output,
        layer: &layer,
        sources: &sources,
        traces,
        next: layer.state.clone(),
        before: layer.state.clone(),
        found: BTreeSet::new(),
        erased: Erased { users: asked.0.len(), ..Erased::default() },
        cancel,
    };
    let mut staging = Staging::create(&output, run_id.as_str())?;
    erasure.members(&mut staging)?;
    erasure.facts(&mut staging)?;
    erasure.beside(Pass::Count)?;
    erasure.refuse_unknown(&asked)?;
    erasure.remember(&asked)?;
    erasure.tell(&asked);
    let has_change = erasure.next != layer.state;
    let stale = if has_change { erasure.versions_not_named()? } else { erasure.stale_versions()? };
    erasure.erased.versions_removed = stale.len();
    if settings.dry_run {
        // What was staged is removed with `staging`.
        return Ok(erasure.erased);
    }
    erasure.beside(Pass::Write)?;
    if has_change {
        erasure.commit(Commitment { staging, run_id, started_at, lease: &lease })?;
    }
    store::forget_copies(&output)?;
    versions::remove(&output, &erasure.stale_versions()?)?;
    Ok(erasure.erased)
}

/// Whether what stands beside the tables is counted or written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Count,
    Write,
}

/// What a commit takes beside the erasure.
struct Commitment<'a> {
    staging: Staging,
    run_id: RunId,
    started_at: UtcMicros,
    lease: &'a Lease,
}

/// Each user that was asked for, with the forms that its id may have in the layer.
struct AskedUsers(BTreeMap<String, BTreeSet<String>>);

impl AskedUsers {
    fn of(users: &[String], sources: &[UserIds]) -> Result<AskedUsers, RequestError> {
        let forms =
            |user: &str| -> BTreeSet<String> { sources.iter().filter_map(|source| source.masked(user)).chain([user.to_owned()]).collect() };
        let users = users.iter().map(|user| user.trim()).filter(|user| !user.is_empty());
        let asked: BTreeMap<_, _> = users.map(|user| (user.to_owned(), forms(user))).collect();
        if asked.is_empty() { Err(RequestError::NoUsers) } else { Ok(AskedUsers(asked)) }
    }

    fn all(&self) -> BTreeSet<String> {
        self.0.values().flatten().cloned().collect()
    }
}

/// How the users of a source's records are found.
fn user_ids(settings: &Settings) -> UserIds {
    match &settings.orders {
        Some(orders) => UserIds::of(&by_settings::mapping(settings, &orders.profile)),
        None => UserIds::of(&Mapping { shop: settings.shop.as_ref(), masks: Some(&settings.masks), ..Mapping::default() }),
    }
}

/// The extra columns of `fact_order` that hold values of the source: only those can say something of a user.
fn source_columns(settings: &Settings) -> impl Iterator<Item = &str> {
    let of_source = settings.fact_columns.iter().filter(|column| column.value == ColumnValue::First && column.name != SHOP_COLUMN);
    of_source.map(|column| column.name.as_str())
}

/// Fails if a column is none that can be emptied.
fn refuse_columns(settings: &Settings, columns: &[String]) -> Result<(), RequestError> {
    let known: Vec<&str> = source_columns(settings).collect();
    match columns.iter().find(|column| !known.contains(&column.as_str())) {
        Some(column) => Err(RequestError::NoSuchColumn { column: column.clone(), known: known.join(", ") }),
        None => Ok(()),
    }
}

struct Erasure<'a> {
    request: &'a EraseRequest<'a>,
    settings: &'a Settings,
    output: &'a Output,
    /// The layer that was read.
    layer: &'a OpenedLayer,
    sources: &'a [UserIds],
    traces: Traces,
    /// The layer after the erasure.
    next: LayerState,
    /// The layer as it was found.
    before: LayerState,
    /// The ids that were found anywhere.
    found: BTreeSet<String>,
    erased: Erased,
    cancel: &'a Cancel,
}

impl<'a> Erasure<'a> {
    /// The rows of the users in `dim_user`.
    fn members(&mut self, staging: &mut Staging) -> Result<(), RunError> {
        let key = places::dimension(&DIM_USER);
        let stored = match (self.output.folder(), self.layer.state.dimensions.get(DIM_USER.name)) {
            (Some(_), _) => self.output.read(&key)?,
            (None, Some(version)) => Some(self.output.read_version(version)?),
            (None, None) => None,
        };
        let Some(stored) = stored else { return Ok(()) };
        let Some(RemovedMembers { csv, keys, rows, telling }) = join::without_members(&DIM_USER, &stored, &self.traces.ids)? else {
            return Ok(());
        };
        self.next.dimensions.insert(DIM_USER.name.to_owned(), staging.put(&key, &csv)?);
        self.erased.dim_user_rows = rows;
        self.traces.telling = telling;
        self.found.extend(keys);
        Ok(())
    }

    /// The rows of the users in `fact_order`. They stay, and name nobody.
    fn facts(&mut self, staging: &mut Staging) -> Result<(), RunError> {
        let schema = self.settings.schema();
        let columns: BTreeSet<String> = self.columns();
        for (dt, key) in layer::partition_files(self.output, self.layer)? {
            if let Some(stop) = self.cancel.stopped() {
                return Err(RunError::Interrupted(stop));
            }
            let entry = self.layer.state.partitions.get(&dt);
            let bytes = match entry.filter(|_| self.output.folder().is_none()) {
                Some(entry) => Some(self.output.read_version(&entry.version)?),
                None => self.output.read(&key)?,
            };
            let Some(bytes) = bytes else { continue };
            let path = self.output.at(&key);
            let format = FileFormat::of_path(&path);
            let found_entry = entry.is_none_or(|entry| !entry.version.is_of(&bytes)).then(|| layer::found_entry(&key, &bytes));
            let csv = layer::decode_stored(format, bytes, &path)?;
            let whom = UsersToErase { users: &self.traces.ids, columns: &columns };
            let Some(partition) = layer::without_users(&csv, dt, &path, &schema, whom)? else { continue };
            // Somebody may have edited the file of a folder.
            if let Some(found_entry) = found_entry {
                self.before.partitions.insert(dt, found_entry);
            }
            let file = layer::encode(format, partition.csv.clone(), &schema, Path::new(key.as_str()))?;
            let version = staging.put(&key, &file)?;
            self.next.set_facts(dt, layer::entry_of(&partition.csv, version, dt, &schema)?);
            self.erased.partitions_written.push(dt);
            self.erased.fact_order_rows += partition.rows_by_user.values().sum::<u64>();
            self.found.extend(partition.rows_by_user.into_keys());
            self.traces.orders.extend(partition.orders);
        }
        Ok(())
    }

    /// The extra columns that are emptied: those of this request, and of earlier ones.
    fn columns(&self) -> BTreeSet<String> {
        self.layer.state.erased.columns().iter().chain(self.request.columns).cloned().collect()
    }

    /// What runs have left beside the tables: quarantine, kept records, samples in reports, violating rows.
    fn beside(&mut self, pass: Pass) -> Result<(), RunError> {
        let (mut quarantined, mut raw_records, mut reports) = (0, 0, 0);
        for name in self.output.names(places::QUARANTINE)? {
            let Some(run_id) = places::run_of_folder(&name) else { continue };
            let key = places::quarantine(run_id);
            let Some(file) = self.output.read(&key)? else { continue };
            let sources = self.sources_of(run_id)?;
            let Some(withheld) = self.traces.without_records(&sources, &file, &mut self.found) else { continue };
            quarantined += withheld.count;
            self.replace(pass, &key, &withheld.bytes)?;
        }
        for name in self.output.names(places::RAW)? {
            let Some(run_id) = places::run_of_folder(&name) else { continue };
            let key = places::raw_orders(run_id);
            let Some(file) = self.output.read(&key)? else { continue };
            let sources = self.sources_of(run_id)?;
            let (traces, found) = (&self.traces, &mut self.found);
            let withheld = raw::withhold(&file, |record| traces.is_of(&sources, record, found));
            let refused =
                |error: std::io::Error| StoreError::Refused { location: self.output.location_of(&key), detail: error.to_string() };
            let Some(withheld) = withheld.map_err(refused)? else { continue };
            raw_records += withheld.records;
            self.replace(pass, &key, &withheld.bytes)?;
        }
        let raw_sizes = self.raw_sizes()?;
        for listed in self.output.list(places::REPORTS)? {
            let Some(file) = self.output.read(&listed.key)? else { continue };
            let is_report = listed.key.folder() == Some(places::REPORTS);
            let changed = if is_report {
                self.traces.without_samples(&file, &raw_sizes)
            } else {
                self.traces.without_rows(&file).map(|withheld| withheld.bytes)
            };
            let Some(changed) = changed else { continue };
            reports += 1;
            self.replace(pass, &listed.key, &changed)?;
        }
        if let Some(changed) = self.output.read(places::ALERTS)?.and_then(|file| self.traces.without_texts(&file)) {
            reports += 1;
            self.replace(pass, &Key::from(places::ALERTS), &changed)?;
        }
        self.records_of_commits(pass, &raw_sizes)?;
        (self.erased.quarantined_records, self.erased.raw_records, self.erased.reports_changed) = (quarantined, raw_records, reports);
        Ok(())
    }

    /// The reports that stand in the records of commits.
    fn records_of_commits(&self, pass: Pass, raw_sizes: &BTreeMap<String, u64>) -> Result<(), RunError> {
        if pass == Pass::Count {
            return Ok(());
        }
        for number in store::kept_commits(self.output)? {
            store::change_told(self.output, number, |told| {
                let is_report = told.key.folder() == Some(places::REPORTS);
                let changed = is_report.then(|| self.traces.without_samples(told.text.as_bytes(), raw_sizes)).flatten()?;
                String::from_utf8(changed).ok()
            })?;
        }
        Ok(())
    }

    fn replace(&self, pass: Pass, key: &Key, bytes: &[u8]) -> Result<(), RunError> {
        if let Some(stop) = self.cancel.stopped() {
            return Err(RunError::Interrupted(stop));
        }
        match pass {
            Pass::Count => Ok(()),
            Pass::Write => Ok(self.output.replace(key, bytes)?),
        }
    }

    /// The sources that the records of a run may be of: that of its shop, or all.
    fn sources_of(&self, run_id: &str) -> Result<Vec<&'a UserIds>, StoreError> {
        let report = self.output.read(places::report(run_id))?.and_then(|bytes| Summary::from_json(&bytes).ok());
        let shop = report.and_then(|report| report.shop);
        let is_of = |settings: &Settings| shop.is_none() || settings.shop.as_ref().map(|shop| &shop.name) == shop.as_ref();
        let own: Vec<&'a UserIds> =
            self.request.sources.iter().zip(self.sources).filter(|(settings, _)| is_of(settings)).map(|(_, ids)| ids).collect();
        Ok(if own.is_empty() { self.sources.iter().collect() } else { own })
    }

    /// The size of the kept records of each run.
    fn raw_sizes(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let run_of = |key: &Key| Some(places::run_of_folder(key.folder()?.rsplit_once('/')?.1)?.to_owned());
        Ok(self.output.list(places::RAW)?.into_iter().filter_map(|listed| Some((run_of(&listed.key)?, listed.bytes))).collect())
    }

    /// Fails if a user is known nowhere.
    fn refuse_unknown(&self, asked: &AskedUsers) -> Result<(), RequestError> {
        let was_erased = |form: &String| self.layer.state.erased.has(form);
        let is_known = |forms: &BTreeSet<String>| forms.iter().any(|form| self.found.contains(form) || was_erased(form));
        let unknown: Vec<_> = asked.0.iter().filter(|(_, forms)| !is_known(forms)).map(|(user, _)| user.clone()).collect();
        if unknown.is_empty() { Ok(()) } else { Err(RequestError::UnknownUsers(unknown)) }
    }

    /// Remembers the users, so that no later run brings them back.
    fn remember(&mut self, asked: &AskedUsers) -> Result<(), RunError> {
        let was_erased = |forms: &BTreeSet<String>| forms.iter().any(|form| self.layer.state.erased.has(form));
        self.erased.users_before = asked.0.values().filter(|forms| was_erased(forms)).count();
        let mut erased = self.layer.state.erased.clone();
        if !erased.has_salt() {
            let mut salt = [0_u8; SALT_BYTES];
            let failed = |_| RunError::Internal("the system gives no random bytes".to_owned());
            SystemRandom::new().fill(&mut salt).map_err(failed)?;
            erased = ErasedUsers::with_salt(&salt);
        }
        self.traces.ids.iter().for_each(|user| erased.add(user));
        self.request.columns.iter().for_each(|column| erased.add_column(column));
        self.next.erased = erased;
        Ok(())
    }

    /// What the result says beside the counts.
    fn tell(&mut self, asked: &AskedUsers) {
        let emptied = self.columns();
        self.erased.columns_kept = source_columns(self.settings).filter(|column| !emptied.contains(*column)).map(str::to_owned).collect();
        let users: Vec<String> = asked.all().into_iter().collect();
        self.erased.redshift_sql = redshift::erase(&self.settings.redshift, &users, emptied.iter().map(String::as_str));
    }

    /// The kept versions that the layer after the erasure does not name.
    fn versions_not_named(&self) -> Result<Vec<Key>, StoreError> {
        versions::not_named(self.output, &versions::named_by(&self.next))
    }

    /// The kept versions that no commit names from the last erasure on.
    fn stale_versions(&self) -> Result<Vec<Key>, StoreError> {
        let named = versions::named_since_erasure(self.output)?;
        named.map_or(Ok(Vec::new()), |named| versions::not_named(self.output, &named))
    }

    fn commit(&mut self, commitment: Commitment<'_>) -> Result<(), RunError> {
        let Commitment { mut staging, run_id, started_at, lease } = commitment;
        let number = self.layer.number() + 1;
        let written = &self.erased.partitions_written;
        let counts = ErasedCounts {
            users_erased: self.erased.users as u64,
            lines_erased: self.erased.fact_order_rows,
            records_withheld: self.erased.quarantined_records + self.erased.raw_records,
        };
        let summary = report_of_change(CommandName::Erase, &run_id, started_at, written, &[], number);
        let summary = Summary { erased: counts, ..summary };
        manifest_of(self.output, self.settings, &mut staging, &run_id, written, &self.next)?;
        staging.put(places::report(run_id.as_str()), &crate::report::report_bytes(&summary))?;
        let change = LayerChange { output: self.output, base: self.layer, before: &self.before, lease, cancel: self.cancel };
        let committed = change.commit(&mut staging, &run_id, COMMAND, &mut self.next, Vec::new());
        committed.map_err(|error| super::stopped_or(self.cancel, error))?;
        (self.erased.run_id, self.erased.commit) = (Some(run_id.to_string()), Some(number));
        Ok(())
    }
}
