//! `etl erase`: takes users out of the layer, as one commit, and out of what runs have left beside it.
//!
//! The facts keep their rows and their money, and name nobody. First of all, the e-mail addresses of the users are looked for, in the
//! tables, their kept versions and kept records, since a record may name an address alone. What is beside the tables is done before
//! these, while they still say what tells of the users; kept versions go last. Every step may be done twice: an erasure that was cut
//! off is run again, and one of users who were erased before looks at all of it again.

mod addresses;
mod progress;
mod traces;
mod versions;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;

use self::{
    progress::Progress,
    traces::{ChangedReport, ReportChange, Traces},
};
use super::{
    RequestError, RunError, by_settings,
    change::{LayerChange, manifest_of, report_of_change},
    lineage::{Change, tell_change, written_between},
    open::Opened,
    raw, replay,
};
use crate::{
    cancel::Cancel,
    join::{self, RemovedMembers, StoredVersion},
    layer::{self, LayerState, OpenedLayer, StateOrigin, UsersToErase},
    model::{
        AddressOf, DIM_USER, Dt, ErasedUsers, FileFormat, RunId, SHOP_COLUMN, UtcMicros, addresses_in, addresses_of_id, is_withheld,
        shell_quoted,
    },
    normalize::{Mapping, UserIds},
    report::{CommandName, ErasedCounts, Summary},
    settings::{ColumnValue, Settings},
    store::{self, Key, Lease, Output, Staging, StoreError, places},
    warehouse::redshift::{self, ErasedValues},
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
    /// Ids that were not asked for and go with them: each is an e-mail address of theirs, so it is a guest of the same person.
    pub users_with_them: Vec<String>,
    /// Users who stay and have an e-mail address of theirs. Records that name this address alone stay, too.
    pub same_address: Vec<String>,
    /// Rows of `dim_user` that are removed.
    pub dim_user_rows: u64,
    /// Rows of `fact_order` that do not name the users now.
    pub fact_order_rows: u64,
    /// Their partitions.
    pub partitions_written: Vec<Dt>,
    /// Records that are withheld in quarantine.
    pub quarantined_records: u64,
    /// Records that are withheld in `raw/`.
    pub raw_records: u64,
    /// Reports, and files of violating rows, from which values are removed.
    pub reports_changed: u64,
    /// Reports that show nothing of the users, and in which the size of their run's file in `raw/` is corrected.
    pub reports_adjusted: u64,
    /// Copies of damaged records of the log that are removed, since they may show the users.
    pub damaged_records_removed: u64,
    /// Kept versions of files that are removed.
    pub versions_removed: usize,
    /// Extra columns of `fact_order` that are emptied in the rows of these users, since this or an earlier erasure named them.
    pub columns_emptied: Vec<String>,
    /// Extra columns of `fact_order` that stay as they are in the rows of these users, but for cells with an address of theirs.
    pub columns_kept: Vec<String>,
    /// Columns that this erasure is the first to name, and that stay as they are in rows that an earlier one changed: nobody knows any
    /// more whose these rows are.
    pub columns_not_reached: Vec<String>,
    /// The statements that do the same in Redshift.
    pub redshift_sql: Vec<String>,
}

/// The command that erases these users, for a shell.
pub fn erase_command(users: &[String]) -> String {
    let flag = |user: &String| format!(" --user {}", shell_quoted(user));
    format!("etl erase{}", users.iter().map(flag).collect::<String>())
}

/// Erases users. A dry run tells what that would do, and writes nothing.
///
/// # Errors
/// A user is known nowhere, a column is none that can be emptied, there is no layer (exit 2); the output is held; I/O errors; a signal
/// before its commit ([`RunError::Unchanged`], [`RunError::InterruptedErasure`]). After its commit, it is finished.
pub fn erase(request: &EraseRequest<'_>, cancel: &Cancel) -> Result<Erased, RunError> {
    tell_change(request.settings, CommandName::Erase, cancel, |change| {
        let progress = Progress::default();
        erase_users(request, cancel, change, &progress).map_err(|error| progress.explained(error))
    })
}

fn erase_users(request: &EraseRequest<'_>, cancel: &Cancel, told: &mut Change, progress: &Progress) -> Result<Erased, RunError> {
    let output = Output::open(&request.settings.output)?;
    let Opened { lease, layer, run_id } = told.open(&output, request.settings, cancel)?;
    if layer.origin == StateOrigin::Missing {
        let has_partitions = !layer::partition_files(&output, &layer)?.is_empty();
        let place = output.location();
        let refused = if has_partitions { RequestError::UnknownLayer(place) } else { RequestError::NothingToErase(place) };
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
        in_tables: BTreeSet::new(),
        cells: BTreeMap::new(),
        erased: Erased { users: asked.0.len(), ..Erased::default() },
        cancel,
        progress,
    };
    erasure.remember(&asked)?;
    let stored = erasure.stored_members()?;
    erasure.learn_addresses(stored.as_deref())?;
    let mut staging = Staging::create(&output, run_id.as_str())?;
    erasure.members(stored.as_deref(), &mut staging)?;
    erasure.facts(&mut staging)?;
    erasure.beside(Pass::Count)?;
    erasure.refuse_unknown(&asked)?;
    erasure.tell(&asked);
    let has_change = erasure.next != layer.state || erasure.erased.has_change_beside();
    let stale = if has_change { erasure.versions_not_named()? } else { erasure.stale_versions()? };
    erasure.erased.versions_removed = stale.len();
    if settings.dry_run {
        // What was staged is removed with `staging`.
        return Ok(erasure.erased);
    }
    // First of all: an erasure that is cut off after its commit must not leave them.
    store::forget_copies(&output)?;
    erasure.beside(Pass::Write)?;
    if has_change {
        erasure.commit(Commitment { staging, run_id, started_at: told.started_at, lease: &lease })?;
    }
    told.commit = erasure.erased.commit;
    told.written = Some(written_between(&layer.state, &erasure.next));
    versions::remove(&output, &erasure.stale_versions()?)?;
    Ok(erasure.erased)
}

impl Erased {
    /// Whether anything changes.
    pub fn has_change(&self) -> bool {
        self.dim_user_rows + self.fact_order_rows > 0
            || !self.partitions_written.is_empty()
            || self.versions_removed > 0
            || self.has_change_beside()
    }

    /// Whether something changes beside the tables.
    fn has_change_beside(&self) -> bool {
        self.quarantined_records + self.raw_records + self.reports_changed + self.reports_adjusted + self.damaged_records_removed > 0
    }
}

/// A file in quarantine or in `raw/` that a run has left.
struct RunFile<'a> {
    key: Key,
    bytes: Vec<u8>,
    /// The sources that its records may be of.
    sources: Vec<&'a UserIds>,
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

/// The ids that a record has at the places of its sources; none of a record that is no JSON object.
fn ids_in(sources: &[&UserIds], record: &[u8]) -> BTreeSet<String> {
    sources.iter().flat_map(|source| source.of_object(record)).collect()
}

/// The run that has kept a file in `raw/`.
fn run_of_raw(key: &Key) -> Option<String> {
    Some(places::run_of_folder(key.folder()?.rsplit_once('/')?.1)?.to_owned())
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
    /// The ids and addresses that were found anywhere.
    found: BTreeSet<String>,
    /// The ids that were found in `dim_user` and `fact_order`.
    in_tables: BTreeSet<String>,
    /// The texts of extra columns that are emptied since they name an address, by column.
    cells: BTreeMap<String, BTreeSet<String>>,
    erased: Erased,
    cancel: &'a Cancel,
    progress: &'a Progress,
}

impl<'a> Erasure<'a> {
    /// The rows of the users in `dim_user`.
    fn members(&mut self, stored: Option<&[u8]>, staging: &mut Staging) -> Result<(), RunError> {
        let Some(stored) = stored else { return Ok(()) };
        let is_theirs = |user: &str| self.traces.has(user);
        let Some(RemovedMembers { csv, keys, rows, telling }) = join::without_members(&DIM_USER, stored, &is_theirs)? else {
            return Ok(());
        };
        self.next.dimensions.insert(DIM_USER.name.to_owned(), staging.put(places::dimension(&DIM_USER), &csv)?);
        self.erased.dim_user_rows = rows;
        self.traces.telling = telling;
        self.in_tables.extend(keys);
        Ok(())
    }

    /// The file of `dim_user`.
    fn stored_members(&self) -> Result<Option<Vec<u8>>, StoreError> {
        match (self.output.folder(), self.layer.state.dimensions.get(DIM_USER.name)) {
            (Some(_), _) => self.output.read(places::dimension(&DIM_USER)),
            (None, Some(version)) => self.output.read_version(version).map(Some),
            (None, None) => Ok(None),
        }
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
            let whom = UsersToErase { users: &self.traces.ids, remembered: &self.traces.remembered, columns: &columns };
            let Some(partition) = layer::without_users(&csv, dt, &path, &schema, whom)? else { continue };
            // Somebody may have edited the file of a folder.
            if let Some(found_entry) = found_entry {
                self.before.partitions.insert(dt, found_entry);
            }
            let file = layer::encode(format, partition.csv.clone(), &schema, Path::new(key.as_str()))?;
            let version = staging.put(&key, &file)?;
            self.next.set_facts(dt, layer::entry_of(&partition.csv, version, dt, &schema)?);
            self.erased.partitions_written.push(dt);
            self.erased.fact_order_rows += partition.rows;
            self.in_tables.extend(partition.users);
            self.traces.orders.extend(partition.orders);
            let named = partition.cells.values().flatten().flat_map(|text| addresses_in(text));
            self.found.extend(named.filter(|address| self.traces.remembered.address(address).is_some()));
            for (column, texts) in partition.cells {
                self.cells.entry(column).or_default().extend(texts);
            }
        }
        Ok(())
    }

    /// The extra columns that are emptied: those of this request, and of earlier ones.
    fn columns(&self) -> BTreeSet<String> {
        self.layer.state.erased.columns().iter().chain(self.request.columns).cloned().collect()
    }

    /// What runs have left beside the tables: quarantine, kept records, samples in reports, violating rows.
    fn beside(&mut self, pass: Pass) -> Result<(), RunError> {
        let (mut quarantined, mut raw_records, mut reports, mut adjusted) = (0, 0, 0, 0);
        let mut raw_sizes = self.raw_sizes()?;
        for name in self.output.names(places::QUARANTINE)? {
            let Some(RunFile { key, bytes, sources }) = self.file_of_run(&name, places::quarantine)? else { continue };
            let Some(withheld) = self.traces.without_records(&sources, &bytes, &mut self.found) else { continue };
            quarantined += withheld.count;
            self.replace(pass, &key, &withheld.bytes)?;
        }
        for name in self.output.names(places::RAW)? {
            let Some(RunFile { key, bytes, sources }) = self.file_of_run(&name, places::raw_orders)? else { continue };
            let (traces, found) = (&self.traces, &mut self.found);
            let withheld = raw::withhold(&bytes, |record| traces.is_of(&sources, record, found));
            let Some(withheld) = withheld.map_err(|error| self.unreadable(&key, &error))? else { continue };
            raw_records += withheld.records;
            // The size that it will have, so that a preview finds the reports that the erasure changes.
            if let Some(run_id) = run_of_raw(&key) {
                raw_sizes.insert(run_id, withheld.bytes.len() as u64);
            }
            self.replace(pass, &key, &withheld.bytes)?;
        }
        for listed in self.output.list(places::REPORTS)? {
            let Some(file) = self.output.read(&listed.key)? else { continue };
            let is_report = listed.key.folder() == Some(places::REPORTS);
            let changed = if is_report {
                self.traces.without_samples(&file, &raw_sizes)
            } else {
                self.traces.without_rows(&file).map(|withheld| ChangedReport { bytes: withheld.bytes, change: ReportChange::Values })
            };
            let Some(changed) = changed else { continue };
            match changed.change {
                ReportChange::Values => reports += 1,
                ReportChange::RawSize => adjusted += 1,
            }
            self.replace(pass, &listed.key, &changed.bytes)?;
        }
        if let Some(changed) = self.output.read(places::ALERTS)?.and_then(|file| self.traces.without_texts(&file)) {
            reports += 1;
            self.replace(pass, &Key::from(places::ALERTS), &changed)?;
        }
        self.records_of_commits(pass, &raw_sizes)?;
        self.records_set_aside(pass)?;
        (self.erased.quarantined_records, self.erased.raw_records) = (quarantined, raw_records);
        (self.erased.reports_changed, self.erased.reports_adjusted) = (reports, adjusted);
        Ok(())
    }

    /// The reports that stand in the records of commits.
    fn records_of_commits(&self, pass: Pass, raw_sizes: &BTreeMap<String, u64>) -> Result<(), RunError> {
        if pass == Pass::Count {
            return Ok(());
        }
        for number in store::kept_commits(self.output)? {
            let has_changed = store::change_told(self.output, number, |told| {
                let is_report = told.key.folder() == Some(places::REPORTS);
                let changed = is_report.then(|| self.traces.without_samples(told.text.as_bytes(), raw_sizes)).flatten()?;
                String::from_utf8(changed.bytes).ok()
            })?;
            if has_changed {
                self.progress.note_file();
            }
        }
        Ok(())
    }

    /// Copies of damaged records of the log: they can't be changed, so those that may show the users go.
    fn records_set_aside(&mut self, pass: Pass) -> Result<(), RunError> {
        let mut removed = 0;
        for key in store::records_set_aside(self.output)? {
            let may_show = self.output.read(&key)?.is_some_and(|file| self.traces.may_be_told_in(&file));
            if !may_show {
                continue;
            }
            removed += 1;
            if pass == Pass::Write {
                self.output.remove(&key)?;
                self.progress.note_file();
            }
        }
        self.erased.damaged_records_removed = removed;
        Ok(())
    }

    fn replace(&self, pass: Pass, key: &Key, bytes: &[u8]) -> Result<(), RunError> {
        if let Some(stop) = self.cancel.stopped() {
            return Err(RunError::Interrupted(stop));
        }
        if pass == Pass::Write {
            self.output.replace(key, bytes)?;
            self.progress.note_file();
        }
        Ok(())
    }

    /// The file in the folder of a run; `None` if there is none.
    fn file_of_run(&self, folder: &str, key_of: fn(&str) -> Key) -> Result<Option<RunFile<'a>>, StoreError> {
        let Some(run_id) = places::run_of_folder(folder) else { return Ok(None) };
        let key = key_of(run_id);
        let Some(bytes) = self.output.read(&key)? else { return Ok(None) };
        Ok(Some(RunFile { key, bytes, sources: self.sources_of(run_id)? }))
    }

    /// The sources that the records of a run may be of: that of its shop, or all.
    fn sources_of(&self, run_id: &str) -> Result<Vec<&'a UserIds>, StoreError> {
        if let [only] = self.sources {
            return Ok(vec![only]);
        }
        let report = self.output.read(places::report(run_id))?.and_then(|bytes| Summary::from_json(&bytes).ok());
        let shop = report.and_then(|report| report.shop);
        let is_of = |settings: &Settings| shop.is_none() || settings.shop.as_ref().map(|shop| &shop.name) == shop.as_ref();
        let own: Vec<&'a UserIds> =
            self.request.sources.iter().zip(self.sources).filter(|(settings, _)| is_of(settings)).map(|(_, ids)| ids).collect();
        Ok(if own.is_empty() { self.sources.iter().collect() } else { own })
    }

    /// The size of the kept records of each run.
    fn raw_sizes(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        Ok(self.output.list(places::RAW)?.into_iter().filter_map(|listed| Some((run_of_raw(&listed.key)?, listed.bytes))).collect())
    }

    /// Fails if a user is known nowhere.
    fn refuse_unknown(&self, asked: &AskedUsers) -> Result<(), RequestError> {
        let is_found = |form: &String| self.found.contains(form) || self.in_tables.contains(form) || self.layer.state.erased.has(form);
        let addresses_found: BTreeSet<String> = self.in_tables.iter().flat_map(|user| addresses_of_id(user)).collect();
        let is_address_found = |address: &String| self.found.contains(address) || addresses_found.contains(address);
        let is_known =
            |user: &str, forms: &BTreeSet<String>| forms.iter().any(is_found) || addresses_of_id(user).iter().any(is_address_found);
        let unknown: Vec<_> = asked.0.iter().filter(|(user, forms)| !is_known(user, forms)).map(|(user, _)| user.clone()).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let are_addresses = unknown.iter().all(|user| !addresses_of_id(user).is_empty());
        match self.erased.same_address.as_slice() {
            users @ [_, ..] if are_addresses => Err(RequestError::AddressOfUsers { unknown, users: users.to_vec() }),
            _ => Err(RequestError::UnknownUsers(unknown)),
        }
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

    /// Looks for the addresses of the users wherever the layer has them, and remembers these, too. Those that another member has are
    /// not looked for elsewhere: they may name that member.
    fn learn_addresses(&mut self, stored: Option<&[u8]>) -> Result<(), RunError> {
        let mut own = self.addresses_of_members(stored)?;
        own.iter().for_each(|address| self.next.erased.add_address(address, AddressOf::Member));
        let of_orders = self.addresses_of_orders(stored)?;
        of_orders.iter().for_each(|address| self.next.erased.add_address(address, AddressOf::Orders));
        own.extend(of_orders);
        // Where ids are masked, the id of a guest is the mask of an address.
        let masked: BTreeSet<String> =
            own.iter().flat_map(|address| self.sources.iter().filter_map(move |source| source.masked(address))).collect();
        masked.iter().for_each(|user| self.next.erased.add(user));
        self.traces.ids.extend(masked);
        self.traces.remembered = self.next.erased.clone();
        stored.map_or(Ok(()), |stored| self.release_addresses_of_others(stored, &own))
    }

    /// The addresses by which the users were named, and those of all their versions in `dim_user`, also in kept files.
    fn addresses_of_members(&self, stored: Option<&[u8]>) -> Result<BTreeSet<String>, RunError> {
        let mut own: BTreeSet<String> = self.traces.ids.iter().flat_map(|user| addresses_of_id(user)).collect();
        let mut note = |version: &StoredVersion<'_>| {
            if self.traces.ids.contains(version.key) {
                own.extend(version.addresses());
            }
        };
        if let Some(stored) = stored {
            join::each_version(&DIM_USER, stored, &mut note)?;
        }
        for listed in self.output.list(format!("{}/{}", places::DATA, DIM_USER.name).as_str())? {
            if let Some(file) = self.output.read(&listed.key)? {
                join::each_version(&DIM_USER, &file, &mut note)?;
            }
        }
        Ok(own)
    }

    /// The addresses that orders of the users have in quarantine and in `raw/`, and that neither orders of others nor members have.
    fn addresses_of_orders(&self, stored: Option<&[u8]>) -> Result<BTreeSet<String>, RunError> {
        let mut own = BTreeSet::new();
        self.each_record(&mut |sources, record| {
            if self.has_order(&ids_in(sources, record)) {
                own.extend(addresses::addresses_of_customer(record));
            }
        })?;
        own.retain(|address| self.next.erased.address(address).is_none());
        if own.is_empty() {
            return Ok(own);
        }
        self.each_record(&mut |sources, record| {
            let ids = ids_in(sources, record);
            if ids.is_empty() || self.has_order(&ids) {
                return;
            }
            // The address of a guest may be theirs. Another address in its order is not.
            let of_guest: BTreeSet<String> = ids.iter().flat_map(|user| addresses_of_id(user)).collect();
            let of_others = addresses_in(&String::from_utf8_lossy(record));
            own.retain(|address| of_guest.contains(address) || !of_others.contains(address));
        })?;
        if let Some(stored) = stored {
            join::each_version(&DIM_USER, stored, &mut |version| {
                if !self.traces.ids.contains(version.key) && addresses_of_id(version.key).is_empty() {
                    let of_others = version.addresses();
                    own.retain(|address| !of_others.contains(address));
                }
            })?;
        }
        Ok(own)
    }

    /// Whether one of these ids, which an order names, is theirs.
    fn has_order(&self, ids: &BTreeSet<String>) -> bool {
        ids.iter().any(|user| self.traces.ids.contains(user) || (user.contains('@') && self.next.erased.has(user)))
    }

    /// Visits each record in quarantine and in `raw/` that is not withheld, with the sources that it may be of.
    fn each_record(&self, visit: &mut dyn FnMut(&[&UserIds], &[u8])) -> Result<(), RunError> {
        for name in self.output.names(places::QUARANTINE)? {
            let Some(RunFile { bytes, sources, .. }) = self.file_of_run(&name, places::quarantine)? else { continue };
            let records = bytes.split(|byte| *byte == b'\n').filter_map(|line| replay::record(line).ok());
            records.filter(|record| !is_withheld(record)).for_each(|record| visit(&sources, &record));
        }
        for name in self.output.names(places::RAW)? {
            if let Some(stop) = self.cancel.stopped() {
                return Err(RunError::Interrupted(stop));
            }
            let Some(RunFile { key, bytes, sources }) = self.file_of_run(&name, places::raw_orders)? else { continue };
            raw::each_record(&bytes, |record| visit(&sources, record)).map_err(|error| self.unreadable(&key, &error))?;
        }
        Ok(())
    }

    fn unreadable(&self, key: &Key, error: &std::io::Error) -> StoreError {
        StoreError::Refused { location: self.output.location_of(key), detail: error.to_string() }
    }

    /// Looks no further for the addresses that members have who stay. Tells who has one of `own`.
    fn release_addresses_of_others(&mut self, stored: &[u8], own: &BTreeSet<String>) -> Result<(), RunError> {
        let (erased, ids) = (&self.next.erased, &self.traces.ids);
        let mut others: BTreeSet<String> = BTreeSet::new();
        join::each_version(&DIM_USER, stored, &mut |version| {
            if version.is_current && !ids.contains(version.key) && !erased.has(version.key) {
                others.extend(version.addresses().into_iter().filter(|address| erased.address(address).is_some()));
            }
        })?;
        others.iter().for_each(|address| self.traces.remembered.release_address(address));
        let mut same_address = BTreeSet::new();
        let traces = &self.traces;
        join::each_version(&DIM_USER, stored, &mut |version| {
            if version.is_current && !traces.has(version.key) && !version.addresses().is_disjoint(own) {
                same_address.insert(version.key.to_owned());
            }
        })?;
        self.erased.same_address = same_address.into_iter().collect();
        Ok(())
    }

    /// What the result says beside the counts.
    fn tell(&mut self, asked: &AskedUsers) {
        let emptied = self.columns();
        let (gone, kept): (Vec<_>, Vec<_>) = source_columns(self.settings).map(str::to_owned).partition(|column| emptied.contains(column));
        (self.erased.columns_emptied, self.erased.columns_kept) = (gone, kept);
        if self.erased.users_before > 0 {
            let before = self.layer.state.erased.columns();
            self.erased.columns_not_reached = self.request.columns.iter().filter(|column| !before.contains(*column)).cloned().collect();
        }
        let mut users = asked.all();
        self.erased.users_with_them = self.in_tables.difference(&users).cloned().collect();
        users.extend(self.in_tables.iter().cloned());
        let values = ErasedValues { users: &users, columns: &emptied, cells: &self.cells };
        self.erased.redshift_sql = redshift::erase(&self.settings.redshift, &values);
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
        self.progress.note_commit();
        (self.erased.run_id, self.erased.commit) = (Some(run_id.to_string()), Some(number));
        Ok(())
    }
}
