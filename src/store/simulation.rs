//! The real publish over a store that fails: several runs, undos and readers at once, decided by a seed.
//!
//! The layer is a toy: three days, a few rows, and runs that change them. Everything that commits, installs and recovers is the
//! product's. Whatever happens, the layer is what one sequential order of the committed runs makes of it.
//!
//! `ETL_SIMULATION_SEEDS` says how many seeds are tried. `ETL_SIMULATION_SEED` tries one, and tells what happened.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    AlertsNote, Commit, Condition, Content, DecideError, Head, Holder, Installed, Key, Lease, Listed, LockError, MOST_ATTEMPTS, Names,
    NewCommit, Object, ObjectRef, Output, PutError, Recovery, Scope, Scratch, Staging, Store, StoreError, Tag, commit,
    commit::Installer,
    counting::{CountingStore, Verb},
    faulty::{Actor, Arrival, Change, End, Faults, Random, Scripted, World},
    forget_copies, head, head_by_hint,
    hint::{self, Hint, Unsettled},
    is_publishing,
    memory::MemoryStore,
    output::ONE_BY_ONE,
    places, recover,
};
use crate::{
    cancel::Cancel,
    model::{RunPace, UtcMicros},
};

const DAYS: [&str; 3] = ["2026-01-01", "2026-01-02", "2026-01-03"];
const ROWS: [&str; 2] = ["a", "b"];
const HEADER: &str = "row,value\n";

/// What plain readers see. Changes of it are noted.
const WATCHED: [&str; 2] = ["curated/", places::WHOLE_MANIFEST];

/// The rows of a day.
type Rows = BTreeMap<String, String>;
/// The rows of all days that have some.
type Layer = BTreeMap<Key, Rows>;

/// The layer as a commit has it.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct ToyState {
    partitions: BTreeMap<Key, ObjectRef>,
}

impl ToyState {
    fn of(commit: &Commit) -> ToyState {
        serde_json::from_str(commit.layer.get()).unwrap()
    }
}

/// What a run does to the layer before it.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Effect {
    /// Adds the run's name to a row: the order of all runs that did so can be read from it.
    Append {
        day: Key,
        row: &'static str,
    },
    /// Earlier bytes come back.
    Set {
        day: Key,
        row: &'static str,
        value: &'static str,
    },
    Delete {
        day: Key,
        row: &'static str,
    },
    /// A row moves to another day, as an order does.
    Move {
        row: &'static str,
        from: Key,
        to: Key,
    },
}

impl Effect {
    fn draw(random: &mut Random) -> Effect {
        let day = |random: &mut Random| partition(random.one_of::<&str>(&DAYS));
        let row = *random.one_of(&ROWS);
        match random.below(10) {
            0..4 => Effect::Append { day: day(random), row },
            4..7 => Effect::Set { day: day(random), row, value: random.one_of::<&str>(&["1", "2"]) },
            7..8 => Effect::Delete { day: day(random), row },
            _ => Effect::Move { row, from: day(random), to: day(random) },
        }
    }

    fn days(&self) -> BTreeSet<Key> {
        match self {
            Effect::Append { day, .. } | Effect::Set { day, .. } | Effect::Delete { day, .. } => BTreeSet::from([day.clone()]),
            Effect::Move { from, to, .. } => BTreeSet::from([from.clone(), to.clone()]),
        }
    }

    fn apply(&self, run_id: &str, layer: &mut Layer) {
        match self {
            Effect::Append { day, row } => {
                let value = layer.entry(day.clone()).or_default().entry((*row).to_owned()).or_default();
                value.push('+');
                value.push_str(run_id);
            }
            Effect::Set { day, row, value } => _ = layer.entry(day.clone()).or_default().insert((*row).to_owned(), (*value).to_owned()),
            Effect::Delete { day, row } => _ = layer.get_mut(day).and_then(|rows| rows.remove(*row)),
            Effect::Move { row, from, to } => {
                if let Some(value) = layer.get_mut(from).and_then(|rows| rows.remove(*row)) {
                    layer.entry(to.clone()).or_default().insert((*row).to_owned(), value);
                }
            }
        }
        layer.retain(|_, rows| !rows.is_empty());
    }
}

fn partition(day: &str) -> Key {
    places::partition_file(day.parse().unwrap(), crate::model::FileFormat::default())
}

fn to_bytes(rows: &Rows) -> Vec<u8> {
    let mut text = HEADER.to_owned();
    rows.iter().for_each(|(row, value)| writeln!(text, "{row},{value}").unwrap());
    text.into_bytes()
}

fn from_bytes(bytes: &[u8]) -> Rows {
    let text = std::str::from_utf8(bytes).unwrap();
    text.lines().skip(1).map(|line| line.split_once(',').unwrap()).map(|(row, value)| (row.to_owned(), value.to_owned())).collect()
}

/// How a run reported that it ended.
#[derive(Clone, PartialEq, Eq, Debug)]
enum ReportedEnd {
    Success,
    /// It counts, or may count.
    Unfinished,
    Unknown,
    /// It does not count.
    Failed(String),
}

impl ReportedEnd {
    fn of(result: Result<(), StoreError>) -> ReportedEnd {
        match result {
            Ok(()) => ReportedEnd::Success,
            Err(StoreError::Unfinished { .. }) => ReportedEnd::Unfinished,
            Err(StoreError::UnknownCommit { .. }) => ReportedEnd::Unknown,
            Err(error) => ReportedEnd::Failed(error.to_string()),
        }
    }
}

/// What all actors of a seed write down.
#[derive(Default)]
struct Notes {
    reported: Mutex<BTreeMap<String, ReportedEnd>>,
    violations: Mutex<Vec<String>>,
}

impl Notes {
    fn report(&self, run_id: &str, end: ReportedEnd) {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner).insert(run_id.to_owned(), end);
    }

    fn violation(&self, text: String) {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }
}

/// A run of the toy, as `run::job` wires a real one.
struct Run<'a> {
    output: &'a Output,
    run_id: &'a str,
    effects: &'a [Effect],
}

/// What a run has merged so far.
#[derive(Default)]
struct Merged {
    /// The versions that it was merged with.
    with: BTreeMap<Key, Option<ObjectRef>>,
    /// The new content of days that change; `None` where the last row is gone.
    changed: BTreeMap<Key, Option<ObjectRef>>,
}

impl Merged {
    /// The layer after the run.
    fn applied_to(&self, state: &ToyState) -> ToyState {
        let mut next = state.clone();
        for (key, version) in &self.changed {
            match version {
                Some(version) => next.partitions.insert(key.clone(), version.clone()),
                None => next.partitions.remove(key),
            };
        }
        next
    }
}

/// Where local files lie: in memory where there is such a folder, so that no disk is waited for.
fn local_folder() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if tempfile::tempfile_in(&memory).is_ok() { memory } else { std::env::temp_dir() }
}

fn output_in(store: Arc<dyn Store>) -> Output {
    Output::with_copies(store, Scratch::create_in(&local_folder()).unwrap())
}

fn stage_run(output: &Output, run_id: &str) -> Result<Staging, StoreError> {
    Staging::with_scratch(output, run_id, Scratch::create_in(&local_folder())?)
}

/// The layer, after what was cut off is finished: as `run::open` does it.
fn settled_layer(output: &Output) -> Result<(Option<Head>, ToyState), StoreError> {
    let opened = with_state(head(output)?);
    if opened.0.as_ref().is_none_or(|head| head.is_settled() || head.can_wait()) {
        return Ok(opened);
    }
    recover(output)?;
    Ok(with_state(head(output)?))
}

/// A head, and the layer that its commit has.
fn with_state(head: Option<Head>) -> (Option<Head>, ToyState) {
    let state = head.as_ref().map(|head| ToyState::of(&head.commit)).unwrap_or_default();
    (head, state)
}

impl Run<'_> {
    fn execute(&self) -> Result<(), StoreError> {
        self.execute_under(None)
    }

    /// The same under a lease of its own: with it, the run leaves the look at its files to others that are at work.
    fn execute_with_lease(&self) -> Result<(), StoreError> {
        let base = settled_layer(self.output)?;
        let since = UtcMicros::now().rfc3339();
        // No two runs wait for each other, although they change the same days: nothing may rest on leases.
        let scope = Scope { from: Some(self.run_id.to_owned()), until: Some(format!("{}+", self.run_id)) };
        let holder = Holder { run_id: self.run_id.to_owned(), pid: 7, host: "here".to_owned(), since, scope };
        match Lease::acquire(self.output, &holder, Duration::ZERO, &Cancel::default(), base.0.as_ref()) {
            Ok(lease) => self.execute_under(Some(&lease)),
            Err(LockError::Store(error)) => Err(error),
            Err(error) => Err(StoreError::Refused { location: self.output.location(), detail: error.to_string() }),
        }
    }

    fn execute_under(&self, lease: Option<&Lease>) -> Result<(), StoreError> {
        let mut base = settled_layer(self.output)?;
        let mut staging = stage_run(self.output, self.run_id)?;
        let mut merged = Merged::default();
        for _ in 0..MOST_ATTEMPTS {
            self.merge(&base.1, &mut staging, &mut merged)?;
            let next = merged.applied_to(&base.1);
            let has_changes = !merged.changed.is_empty();
            let by = Committer { lease, ..Committer::of_run(self.run_id) };
            match commit_staged(&mut staging, &base, by, &next, has_changes, Vec::new()) {
                Ok(()) => return Ok(()),
                Err(DecideError::Store(error)) => return Err(error),
                Err(DecideError::Moved) => {}
            }
            base = settled_layer(self.output)?;
            staging.begin_attempt();
        }
        Err(StoreError::Refused { location: self.output.location(), detail: "other runs were committed first".to_owned() })
    }

    /// Merges what was not merged yet with these versions, and all that shares rows with it.
    fn merge(&self, state: &ToyState, staging: &mut Staging, merged: &mut Merged) -> Result<(), StoreError> {
        let is_same = |day: &Key| merged.with.get(day).is_some_and(|with| *with == state.partitions.get(day).cloned());
        let touched: BTreeSet<Key> = self.effects.iter().flat_map(Effect::days).collect();
        let mut again: BTreeSet<Key> = touched.into_iter().filter(|day| !is_same(day)).collect();
        loop {
            let shared = self.effects.iter().map(Effect::days).filter(|days| !days.is_disjoint(&again));
            let more: BTreeSet<Key> = shared.flatten().chain(again.iter().cloned()).collect();
            if more == again {
                break;
            }
            again = more;
        }
        let mut before = Layer::new();
        for day in &again {
            let version = state.partitions.get(day);
            if let Some(bytes) = version.map(|version| self.fetch(staging, day, version)).transpose()? {
                before.insert(day.clone(), from_bytes(&bytes));
            } else {
                staging.saw(day.clone(), None);
            }
            merged.with.insert(day.clone(), version.cloned());
        }
        let mut after = before.clone();
        self.effects.iter().filter(|effect| effect.days().is_subset(&again)).for_each(|effect| effect.apply(self.run_id, &mut after));
        // What was merged before, and stands as it did, is taken up again.
        for (day, change) in merged.changed.iter().filter(|(day, _)| !again.contains(*day)) {
            match change {
                Some(_) => drop(staging.take_up_again(day)),
                None => staging.remove(day.clone()),
            }
        }
        for day in again {
            staging.unstage(&day);
            merged.changed.remove(&day);
            match (before.get(&day), after.get(&day)) {
                (before, after) if before == after => {}
                (_, Some(rows)) => {
                    let version = staging.put(day.clone(), &to_bytes(rows))?;
                    merged.changed.insert(day, Some(version));
                }
                (_, None) => {
                    staging.remove(day.clone());
                    merged.changed.insert(day, None);
                }
            }
        }
        Ok(())
    }

    /// The content of a day: as `layer::stored` reads it.
    fn fetch(&self, staging: &mut Staging, day: &Key, version: &ObjectRef) -> Result<Vec<u8>, StoreError> {
        let installed = self.output.object(day)?;
        let tag: Option<Tag> = installed.as_ref().map(|object| object.tag.clone());
        staging.saw(day.clone(), tag);
        match installed.filter(|object| version.is_of(&object.bytes)) {
            Some(object) => Ok(object.bytes.into()),
            None => self.output.read_version(version),
        }
    }
}

/// Who commits.
#[derive(Clone, Copy)]
struct Committer<'a> {
    run_id: &'a str,
    command: &'a str,
    lease: Option<&'a Lease>,
}

impl<'a> Committer<'a> {
    /// A run without a lease.
    fn of_run(run_id: &'a str) -> Committer<'a> {
        Committer { run_id, command: "run", lease: None }
    }
}

/// Commits what was staged: as `run::publish` and `run::change` do.
fn commit_staged(
    staging: &mut Staging,
    base: &(Option<Head>, ToyState),
    by: Committer<'_>,
    next: &ToyState,
    has_changes: bool,
    kept: Vec<Installed>,
) -> Result<(), DecideError> {
    let Committer { run_id, command, lease } = by;
    let versions = base.1.clone();
    let before = move |key: &Key| versions.partitions.get(key).cloned();
    staging.place(&before, &Cancel::default())?;
    let number = base.0.as_ref().map_or(0, |head| head.commit.number) + 1;
    staging.put(places::report(run_id), format!("{{\"run_id\":\"{run_id}\",\"commit\":{number}}}").as_bytes())?;
    if has_changes {
        staging.put(places::WHOLE_MANIFEST, manifest(next).as_bytes())?;
    }
    let empty = if command == "run" { HEADER } else { "" };
    let removed = staging.removed(|_| Ok(empty.as_bytes().to_vec()))?;
    let commit = NewCommit { remove: removed, ..new_commit(run_id, command, staging, kept, next) };
    staging.decide(base.0.as_ref(), commit, &before, lease).map(drop)
}

/// The commit of what was staged, without files that it removes.
fn new_commit(run_id: &str, command: &str, staging: &Staging, kept: Vec<Installed>, next: &ToyState) -> NewCommit {
    NewCommit {
        run_id: run_id.to_owned(),
        writer: format!("{run_id}@simulation/1"),
        command: command.to_owned(),
        committed_at: UtcMicros::now().rfc3339(),
        reads: Vec::new(),
        put: staging.installed().into_iter().chain(kept).collect(),
        remove: Vec::new(),
        told: staging.told(),
        layer: serde_json::value::to_raw_value(next).unwrap(),
    }
}

/// The objects of a layer, for warehouses.
fn manifest(state: &ToyState) -> String {
    state.partitions.values().fold(String::new(), |text, version| text + &serde_json::to_string(version).unwrap() + "\n")
}

/// Undoes a commit: as `run::undo` does.
fn undo(output: &Output, run_id: &str, random: &mut Random) -> Result<(), StoreError> {
    let refused = |detail: &str| StoreError::Refused { location: output.location(), detail: detail.to_owned() };
    let base = settled_layer(output)?;
    let Some(newest) = base.0.as_ref().map(|head| head.commit.number) else { return Err(refused("no run")) };
    let number = newest - random.one_of(&[0, 0, 0, 1, 2]).min(&(newest - 1));
    let state_of = |number: u64| -> Result<ToyState, StoreError> {
        Ok(commit(output, number)?.map(|commit| ToyState::of(&commit)).unwrap_or_default())
    };
    let Some(undone) = commit(output, number)? else { return Err(refused("no such commit")) };
    let (before, after) = (if number == 1 { ToyState::default() } else { state_of(number - 1)? }, ToyState::of(&undone));
    let touched: BTreeSet<Key> =
        undone.put.iter().map(|put| put.key.clone()).chain(undone.remove.iter().map(|removed| removed.key.clone())).collect();
    if touched.iter().any(|day| base.1.partitions.get(day) != after.partitions.get(day)) {
        return Err(refused("later runs have changed it"));
    }
    let mut staging = stage_run(output, run_id)?;
    let (mut next, mut kept) = (base.1.clone(), Vec::new());
    for day in touched.iter().cloned() {
        match before.partitions.get(&day) {
            Some(version) => {
                output.read_version(version)?;
                next.partitions.insert(day.clone(), version.clone());
                kept.push(Installed { key: day, version: version.clone() });
            }
            None => {
                next.partitions.remove(&day);
                staging.remove(day);
            }
        }
    }
    let command = format!("undo {number}");
    let by = Committer { run_id, command: &command, lease: None };
    match commit_staged(&mut staging, &base, by, &next, !touched.is_empty(), kept) {
        Ok(()) => Ok(()),
        Err(DecideError::Store(error)) => Err(error),
        Err(DecideError::Moved) => Err(refused("another run was committed meanwhile")),
    }
}

/// Reads the layer by its newest commit, and by its manifest: every object is whole. Then finishes what was cut off.
fn read_layer(output: &Output, notes: &Notes) -> Result<(), StoreError> {
    let is_whole = |version: &ObjectRef| {
        if let Err(StoreError::Refused { .. }) = output.read_version(version) {
            notes.violation(format!("a reader misses {}", version.object));
        }
    };
    if let Some(head) = head(output)? {
        ToyState::of(&head.commit).partitions.values().for_each(is_whole);
    }
    let manifest = output.read(places::WHOLE_MANIFEST)?.unwrap_or_default();
    std::str::from_utf8(&manifest).unwrap().lines().for_each(|line| is_whole(&serde_json::from_str(line).unwrap()));
    match recover(output) {
        Err(error @ (StoreError::Refused { .. } | StoreError::Record { .. })) => {
            notes.violation(format!("a reader can't recover: {error}"))
        }
        recovered => drop(recovered?),
    }
    Ok(())
}

/// What the runs of a seed do. Undos are not in it: their commits say what they undid.
type Plans = BTreeMap<String, Vec<Effect>>;

/// What an actor does, one after the other.
#[derive(Clone, Debug)]
enum Act {
    Run(String),
    RunWithLease(String),
    Undo(String, u64),
    Read,
}

fn perform(store: Arc<dyn Store>, acts: &[Act], plans: &Plans, notes: &Notes) {
    let output = output_in(store);
    for act in acts {
        match act {
            Act::Run(run_id) => {
                let run = Run { output: &output, run_id, effects: &plans[run_id] };
                notes.report(run_id, ReportedEnd::of(run.execute()));
            }
            Act::RunWithLease(run_id) => {
                let run = Run { output: &output, run_id, effects: &plans[run_id] };
                notes.report(run_id, ReportedEnd::of(run.execute_with_lease()));
            }
            Act::Undo(run_id, seed) => notes.report(run_id, ReportedEnd::of(undo(&output, run_id, &mut Random::new(*seed)))),
            // An answer that was lost is no violation.
            Act::Read => _ = read_layer(&output, notes),
        }
    }
}

/// What goes wrong in a seed. Every eighth seed has no fault at all: only its order.
fn faults(seed: u64, random: &mut Random) -> Faults {
    let quiet = Faults { goes_on: *random.one_of(&[0, 500, 800, 950]), ..Faults::default() };
    match seed % 8 {
        0 => quiet,
        1 => Faults { sleep: 20, sleep_at_watched: 300, ..quiet },
        2 => Faults { refused: 10, lost: 30, repeated: 30, spell: 300, ..quiet },
        3 => Faults { late: 20, twice: 20, sleep: 20, ..quiet },
        4 => Faults { death: 10, sleep: 20, sleep_at_watched: 200, ..quiet },
        5 => Faults { stale_list: 300, refused: 5, sleep: 20, spell: 200, ..quiet },
        6 => Faults {
            refused: 5,
            lost: 15,
            repeated: 15,
            late: 10,
            twice: 10,
            stale_list: 50,
            death: 5,
            sleep: 20,
            sleep_at_watched: 100,
            spell: 200,
            ..quiet
        },
        _ => Faults { death: 30, lost: 30, late: 10, repeated: 20, ..quiet },
    }
}

/// The acts of several actors. In some seeds most runs are undone, and in half of them runs have leases.
fn draw_actors(random: &mut Random, plans: &mut Plans) -> Vec<Vec<Act>> {
    let have_leases = random.happens(500);
    let (actors, runs) = (2 + random.below(4), *random.one_of(&[3, 6, 8]));
    let mut draw = |actor: u64| {
        let acts = 1 + random.below(4);
        let draw = |act: u64| match random.below(10) {
            kind if kind < runs => {
                let run_id = format!("r{actor}{act}");
                let effects = 1 + random.below(3);
                plans.insert(run_id.clone(), (0..effects).map(|_| Effect::draw(random)).collect());
                if have_leases { Act::RunWithLease(run_id) } else { Act::Run(run_id) }
            }
            9 => Act::Read,
            _ => Act::Undo(format!("u{actor}{act}"), random.next()),
        };
        (0..acts).map(draw).collect()
    };
    (0..actors).map(&mut draw).collect()
}

/// What came of a seed.
#[derive(Default, Debug)]
struct Outcome {
    violations: Vec<String>,
    /// Stale files that copies of puts have left (see the known limits in the docs).
    residual: Vec<String>,
    requests: u64,
    commits: u64,
    trace: Vec<String>,
}

/// Plays a seed.
fn play(seed: u64, traces: bool) -> Outcome {
    let mut random = Random::new(seed);
    let (faults, notes, mut plans) = (faults(seed, &mut random), Notes::default(), Plans::new());
    let store = Arc::new(MemoryStore::default());
    let actors = draw_actors(&mut random, &mut plans);
    // Two layers of three hold something already.
    if random.below(3) > 0 {
        let days = DAYS.iter().map(|day| Effect::Set { day: partition(day), row: "a", value: "1" });
        plans.insert("first".to_owned(), days.collect());
        perform(store.clone(), &[Act::Run("first".to_owned())], &plans, &notes);
    }
    let world = World::new(random.next(), store, faults, &WATCHED, traces);
    let acting: Vec<Actor<'_, ()>> = actors
        .iter()
        .map(|acts| {
            let (plans, notes) = (&plans, &notes);
            let act: Actor<'_, ()> = Box::new(move |store| perform(store, acts, plans, notes));
            act
        })
        .collect();
    let (world, ends) = world.run(acting);
    for end in ends {
        if let End::Panicked(panic) = end {
            notes.violation(format!("a panic: {panic}"));
        }
    }
    let trace = world.trace();
    let mut outcome = judge(&world, &plans, &notes);
    outcome.trace = trace;
    outcome
}

/// Judges what is left at the end, after one command that meets no fault.
fn judge(world: &World, plans: &Plans, notes: &Notes) -> Outcome {
    let output = output_in(world.store.clone());
    let mut outcome = Outcome { requests: world.requests(), ..Outcome::default() };
    // Leases of those that died have ended by then.
    let withdraw = |hint: &mut Hint| {
        hint.notes.withdraw(UtcMicros::now(), |_| true);
        hint::Change::Write
    };
    if let Err(error) = Hint::change(&output, None, withdraw) {
        notes.violation(format!("leases can't be withdrawn: {error}"));
    }
    match recover(&output).and_then(|_| recover(&output)) {
        Ok(Recovery::Clean) => {}
        recovered => notes.violation(format!("a command that meets no fault does not settle the layer: {recovered:?}")),
    }
    // Who is done is named no longer than until somebody has looked.
    match Hint::read(&output) {
        Ok(hint) if hint.notes.unsettled.iter().any(|unsettled| unsettled.is_done) => {
            notes.violation(format!("those that are done stay named: {:?}", hint.notes.unsettled));
        }
        read => drop(read),
    }
    let log = read_log(&output, notes);
    outcome.commits = log.len() as u64;
    judge_order(&output, &log, plans, notes);
    judge_reports(&log, notes);
    judge_projection(world, &output, &log, notes, &mut outcome);
    outcome.violations = notes.violations.lock().unwrap_or_else(PoisonError::into_inner).clone();
    outcome
}

/// The log is a chain from 1 on.
fn read_log(output: &Output, notes: &Notes) -> Vec<Commit> {
    let names = output.names(places::COMMITS).unwrap();
    let numbers: Vec<u64> = names.iter().filter_map(|name| places::commit_number(name)).collect();
    if numbers != (1..=names.len() as u64).collect::<Vec<_>>() {
        notes.violation(format!("the log has gaps: {numbers:?}"));
    }
    let log: Vec<Commit> = numbers.into_iter().map(|number| commit(output, number).unwrap().unwrap()).collect();
    for commit in &log {
        if commit.base + 1 != commit.number {
            notes.violation(format!("commit {} follows on {}", commit.number, commit.base));
        }
    }
    log
}

fn rows_of(output: &Output, state: &ToyState, notes: &Notes) -> Layer {
    let read = |(day, version): (&Key, &ObjectRef)| match output.read_version(version) {
        Ok(bytes) => Some((day.clone(), from_bytes(&bytes))),
        Err(error) => {
            notes.violation(format!("an object of the log: {error}"));
            None
        }
    };
    state.partitions.iter().filter_map(read).collect()
}

/// Each commit is what its run makes of the layer before it.
fn judge_order(output: &Output, log: &[Commit], plans: &Plans, notes: &Notes) {
    let mut layers = vec![Layer::new()];
    for commit in log {
        let mut expected = layers.last().cloned().unwrap_or_default();
        match commit.command.strip_prefix("undo ") {
            None => plans[&commit.run_id].iter().for_each(|effect| effect.apply(&commit.run_id, &mut expected)),
            Some(number) => {
                let number: usize = number.parse().unwrap();
                for day in DAYS.iter().map(|day| partition(day)) {
                    let (before, after) = (layers[number - 1].get(&day), layers[number].get(&day));
                    if before == after {
                        continue;
                    }
                    if expected.get(&day) != after {
                        notes.violation(format!("commit {} undoes {number}, whose {day} a later run has changed", commit.number));
                    }
                    match before {
                        Some(rows) => expected.insert(day, rows.clone()),
                        None => expected.remove(&day),
                    };
                }
            }
        }
        let is = rows_of(output, &ToyState::of(commit), notes);
        if is != expected {
            notes.violation(format!("commit {} of {} is {is:?}, and not {expected:?}", commit.number, commit.run_id));
        }
        // Each commit is judged by the layer that it found.
        layers.push(is);
    }
}

/// What runs said of themselves is what the log says.
fn judge_reports(log: &[Commit], notes: &Notes) {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    log.iter().for_each(|commit| *times.entry(&commit.run_id).or_default() += 1);
    for (run_id, times) in times.iter().filter(|(_, times)| **times > 1) {
        notes.violation(format!("{run_id} is in the log {times} times"));
    }
    let reported = notes.reported.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for (run_id, end) in reported {
        let is_in_log = times.contains_key(run_id.as_str());
        match end {
            ReportedEnd::Success if !is_in_log => notes.violation(format!("{run_id} said success, and is not in the log")),
            ReportedEnd::Unfinished if !is_in_log => notes.violation(format!("{run_id} said that it is decided, and is not in the log")),
            ReportedEnd::Failed(error) if is_in_log => notes.violation(format!("{run_id} said that it failed, and is in the log: {error}")),
            _ => {}
        }
    }
}

/// What plain readers see is the newest commit.
fn judge_projection(world: &World, output: &Output, log: &[Commit], notes: &Notes, outcome: &mut Outcome) {
    let Some(newest) = log.last() else { return };
    for day in DAYS.iter().map(|day| partition(day)) {
        let there = output.read(&day).unwrap();
        if is_wanted(output, log, newest.number, &day, there.as_deref()) {
            continue;
        }
        let found = there.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let text = format!("{day} is not what commit {} wants: {found:?}", newest.number);
        judge_stale(world, output, log, &day, text, notes, outcome);
    }
    let key = Key::new(places::WHOLE_MANIFEST);
    let told = |commit: &Commit| commit.told.iter().find(|told| told.key == key).map(|told| told.text.clone());
    let wanted = log.iter().rev().find_map(told);
    let there = output.read(&key).unwrap().map(|bytes| String::from_utf8(bytes).unwrap());
    if there != wanted {
        let text = format!("{key} is not what the newest commit tells: {there:?}, and not {wanted:?}");
        judge_stale(world, output, log, &key, text, notes, outcome);
    }
    for commit in log {
        for told in commit.told.iter().filter(|told| told.key != key) {
            if output.read(&told.key).unwrap().as_deref() != Some(told.text.as_bytes()) {
                notes.violation(format!("{} of commit {} is not there", told.key, commit.number));
            }
        }
    }
}

/// Whether this is what a commit wants at a place.
fn is_wanted(output: &Output, log: &[Commit], number: u64, key: &Key, there: Option<&[u8]>) -> bool {
    if key.as_str() == places::WHOLE_MANIFEST {
        let told = |commit: &Commit| commit.told.iter().find(|told| told.key == *key).map(|told| told.text.clone());
        return log.iter().filter(|commit| commit.number <= number).rev().find_map(told).as_deref().map(str::as_bytes) == there;
    }
    let state = log.iter().find(|commit| commit.number == number).map(ToyState::of).unwrap_or_default();
    let wanted = state.partitions.get(key).and_then(|version| output.read_version(version).ok());
    let rows = |bytes: Option<&[u8]>| bytes.map(from_bytes).unwrap_or_default();
    rows(wanted.as_deref()) == rows(there)
}

/// A stale file is a known limit, and no violation, if earlier bytes had come back and met the copy of an answered put:
/// nobody knows of that copy.
fn judge_stale(world: &World, output: &Output, log: &[Commit], key: &Key, text: String, notes: &Notes, outcome: &mut Outcome) {
    let Some(change) = world.last_change(key) else { return notes.violation(text) };
    let Change { step, actor, arrival, is_conditional, newest_commit, .. } = change;
    let was_right = is_wanted(output, log, newest_commit, key, change.before.as_deref());
    let is_known = was_right && arrival == Arrival::Copy && is_conditional && came_back(output, log, newest_commit, key);
    let text =
        format!("{text}; put by actor {actor} in step {step} ({arrival:?}, conditional: {is_conditional}), at commit {newest_commit}");
    if is_known { outcome.residual.push(text) } else { notes.violation(text) }
}

/// Whether what a commit wants at a place was wanted before by another, and something else in between.
fn came_back(output: &Output, log: &[Commit], number: u64, key: &Key) -> bool {
    let mut wanted: Vec<Option<Vec<u8>>> = vec![None];
    for commit in log.iter().filter(|commit| commit.number <= number) {
        let now = match commit.told.iter().find(|told| told.key == *key) {
            Some(told) => Some(told.text.clone().into_bytes()),
            None if key.as_str() == places::WHOLE_MANIFEST => continue,
            None => ToyState::of(commit).partitions.get(key).and_then(|version| output.read_version(version).ok()),
        };
        if wanted.last() != Some(&now) {
            wanted.push(now);
        }
    }
    let Some((last, earlier)) = wanted.split_last() else { return false };
    earlier.contains(last)
}

fn seeds() -> u64 {
    std::env::var("ETL_SIMULATION_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000)
}

/// The first digits and words of a violation: what it is, without names.
fn kind_of(violation: &str) -> String {
    violation.chars().map(|letter| if letter.is_ascii_digit() { '#' } else { letter }).take(48).collect()
}

#[test]
fn ten_thousand_seeds_end_in_one_sequential_order() {
    ONE_BY_ONE.set(true);
    if let Some(seed) = std::env::var("ETL_SIMULATION_SEED").ok().and_then(|text| text.parse().ok()) {
        let outcome = play(seed, true);
        println!("{}", outcome.trace.join("\n"));
        assert!(outcome.violations.is_empty(), "seed {seed}: {:#?}", outcome.violations);
        println!("residual: {:#?}", outcome.residual);
        return;
    }
    let (mut failed, mut kinds, mut residual, mut requests, mut commits) = (Vec::new(), BTreeMap::new(), Vec::new(), 0, 0);
    for seed in 0..seeds() {
        let outcome = play(seed, false);
        requests += outcome.requests;
        commits += outcome.commits;
        residual.extend(outcome.residual.into_iter().map(|text| (seed, text)));
        for violation in &outcome.violations {
            let kind: &mut (u64, u64) = kinds.entry(kind_of(violation)).or_insert((0, seed));
            kind.0 += 1;
        }
        if !outcome.violations.is_empty() {
            failed.push((seed, outcome.violations));
        }
    }
    println!("{requests} requests, {commits} commits, {} known stale files", residual.len());
    residual.iter().take(8).for_each(|(seed, text)| println!("known: seed {seed}: {text}"));
    let count = failed.len();
    failed.truncate(5);
    assert!(count == 0, "{count} seeds failed: {kinds:#?}\n{failed:#?}");
}

/// Seeds of a million that once found damage: a copied record, which has no texts, was taken for a whole one.
const FOUND_ONCE: [u64; 5] = [99_642, 241_689, 327_987, 328_270, 495_117];

#[test]
fn seeds_that_found_damage_once_find_none() {
    ONE_BY_ONE.set(true);
    for seed in FOUND_ONCE {
        let outcome = play(seed, false);
        assert!(outcome.violations.is_empty(), "seed {seed}: {:#?}", outcome.violations);
    }
}

/// What a test has of a layer: the store, and what its runs do.
struct Stage {
    store: Arc<MemoryStore>,
}

impl Stage {
    /// A layer with one row on each day.
    fn new() -> Stage {
        ONE_BY_ONE.set(true);
        let stage = Stage { store: Arc::default() };
        stage.run("r1", &DAYS.map(|day| set(day, "1")));
        stage
    }

    fn output(&self) -> Output {
        output_in(self.store.clone())
    }

    fn run(&self, run_id: &str, effects: &[Effect]) {
        Run { output: &self.output(), run_id, effects }.execute().unwrap();
    }

    /// Commits a run whose files nobody has installed yet.
    fn run_cut_off(&self, run_id: &str, effects: &[Effect]) {
        let cut_off = Scripted::new(&self.store).at("curated/", || Some(refused().into()));
        let ended = Run { output: &output_in(Arc::new(cut_off)), run_id, effects }.execute();
        assert!(matches!(ended, Err(StoreError::Unfinished { .. })), "{ended:?}");
    }

    /// Nobody who may commit or put a file is named in the hint.
    #[track_caller]
    fn assert_quiet(&self) {
        let hint = Hint::read(&self.output()).unwrap();
        assert!(hint.is_quiet() && hint.notes.are_quiet(), "{:?}", hint.notes);
    }

    /// What plain readers see is what the newest commit wants, also after one more command.
    fn assert_settled(&self, expected: &[(&str, &str)]) {
        let output = self.output();
        recover(&output).unwrap();
        let newest = head(&output).unwrap().unwrap().commit;
        let state = ToyState::of(&newest);
        for (day, value) in expected {
            let there = output.read(partition(day)).unwrap().unwrap();
            assert!(state.partitions[&partition(day)].is_of(&there), "{day} is {}", String::from_utf8_lossy(&there));
            assert_eq!(from_bytes(&there).get("a").map(String::as_str), Some(*value), "{day}");
        }
        assert_eq!(String::from_utf8(output.read(places::WHOLE_MANIFEST).unwrap().unwrap()).unwrap(), manifest(&state));
    }
}

fn set(day: &str, value: &'static str) -> Effect {
    Effect::Set { day: partition(day), row: "a", value }
}

fn refused() -> StoreError {
    StoreError::Bucket { action: "put", location: "memory://layer".to_owned(), detail: "a fault of the test".to_owned() }
}

/// Undoes the newest commit, as another process does.
fn undo_newest(store: &Arc<MemoryStore>, run_id: &str) {
    // The first number of this seed is that of the newest commit.
    let seed = (0..).find(|&seed| Random::new(seed).below(5) == 0).unwrap();
    undo(&output_in(store.clone()), run_id, &mut Random::new(seed)).unwrap();
}

#[test]
fn the_manifest_of_a_slow_run_does_not_replace_that_of_a_later_run() {
    let stage = Stage::new();
    let (store, other) = (stage.store.clone(), [set(DAYS[1], "2")]);
    let slow = Scripted::new(&stage.store)
        .at(places::WHOLE_MANIFEST, move || {
            Run { output: &output_in(store), run_id: "r3", effects: &other }.execute().unwrap();
            None
        })
        // It does not learn that it was overtaken.
        .at(places::LATEST, || Some(refused().into()));
    Run { output: &output_in(Arc::new(slow)), run_id: "r2", effects: &[set(DAYS[0], "2")] }.execute().unwrap();
    stage.assert_settled(&[(DAYS[0], "2"), (DAYS[1], "2")]);
}

#[test]
fn a_run_that_slept_puts_right_what_it_put_after_an_undo() {
    let stage = Stage::new();
    let store = stage.store.clone();
    let slow = Scripted::new(&stage.store).at("curated/", move || {
        undo_newest(&store, "r3");
        None
    });
    Run { output: &output_in(Arc::new(slow)), run_id: "r2", effects: &[set(DAYS[0], "2")] }.execute().unwrap();
    stage.assert_settled(&[(DAYS[0], "1")]);
}

#[test]
fn so_does_a_run_whose_base_nobody_had_installed() {
    let stage = Stage::new();
    stage.run_cut_off("r2", &[set(DAYS[1], "2")]);
    let store = stage.store.clone();
    let slow = Scripted::new(&stage.store).at("curated/", move || {
        undo_newest(&store, "r4");
        None
    });
    let output = output_in(Arc::new(slow));
    // As if r2 had been committed right after this run had settled the layer.
    let base = with_state(head(&output).unwrap());
    assert!(!base.0.as_ref().unwrap().is_installed());
    let run = Run { output: &output, run_id: "r3", effects: &[set(DAYS[0], "2")] };
    commit_once(&run, &base, Committer::of_run("r3")).unwrap();
    stage.assert_settled(&[(DAYS[0], "1"), (DAYS[1], "2")]);
}

#[test]
fn so_does_a_command_that_finishes_the_publish_of_another() {
    let stage = Stage::new();
    stage.run_cut_off("r2", &[set(DAYS[0], "2")]);
    let store = stage.store.clone();
    let slow = Scripted::new(&stage.store).at("curated/", move || {
        undo_newest(&store, "r3");
        None
    });
    recover(&output_in(Arc::new(slow))).unwrap();
    stage.assert_settled(&[(DAYS[0], "1")]);
}

#[test]
fn a_run_that_sleeps_again_while_it_puts_things_right_looks_again() {
    let stage = Stage::new();
    let (first, second) = (stage.store.clone(), stage.store.clone());
    let slow = Scripted::new(&stage.store)
        .at("curated/", move || {
            undo_newest(&first, "r3");
            None
        })
        .at("curated/", move || {
            undo_newest(&second, "r4");
            None
        });
    Run { output: &output_in(Arc::new(slow)), run_id: "r2", effects: &[set(DAYS[0], "2")] }.execute().unwrap();
    stage.assert_settled(&[(DAYS[0], "2")]);
}

#[test]
fn what_a_run_put_after_an_undo_before_it_died_is_put_right_by_the_next_command() {
    let stage = Stage::new();
    let store = stage.store.clone();
    let slow = Scripted::new(&stage.store)
        .at("curated/", move || {
            undo_newest(&store, "r3");
            None
        })
        // It wakes, puts its file over the bytes that have come back, and can't put them right.
        .at("curated/", || Some(refused().into()));
    let ended = Run { output: &output_in(Arc::new(slow)), run_id: "r2", effects: &[set(DAYS[0], "2")] }.execute();
    assert!(matches!(ended, Err(StoreError::Unfinished { .. })), "{ended:?}");
    let there = stage.output().read(partition(DAYS[0])).unwrap().unwrap();
    assert_eq!(from_bytes(&there).get("a").map(String::as_str), Some("2"), "the stale file that this test is about");
    stage.assert_settled(&[(DAYS[0], "1")]);
}

#[test]
fn a_command_that_helped_and_died_is_looked_after_as_a_writer_is() {
    let stage = Stage::new();
    stage.run_cut_off("r2", &[set(DAYS[0], "2")]);
    let store = stage.store.clone();
    let slow = Scripted::new(&stage.store)
        .at("curated/", move || {
            undo_newest(&store, "r3");
            None
        })
        .at("curated/", || Some(refused().into()));
    let ended = recover(&output_in(Arc::new(slow)));
    assert!(matches!(ended, Err(StoreError::Bucket { .. })), "{ended:?}");
    stage.assert_settled(&[(DAYS[0], "1")]);
}

#[test]
fn a_file_that_is_too_large_to_replace_another_is_refused_before_the_commit() {
    ONE_BY_ONE.set(true);
    let text = to_bytes(&Rows::from([("a".to_owned(), "1".to_owned())]));
    let stage = Stage { store: Arc::new(MemoryStore::replacing_at_most(text.len() as u64)) };
    stage.run("r1", &[set(DAYS[0], "1")]);
    stage.run("r2", &[set(DAYS[0], "2")]);
    let refused = Run { output: &stage.output(), run_id: "r3", effects: &[set(DAYS[0], "333")] }.execute();
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{refused:?}");
    assert_eq!(stage.output().list(places::DATA).unwrap().len(), 2, "not even its object is put");
    // A new file may have any size: it is put in parts.
    stage.run("r4", &[set(DAYS[1], "333")]);
    // Its version is kept. It may not come back over a smaller one.
    stage.run("r5", &[set(DAYS[1], "4")]);
    let seed = (0..).find(|&seed| Random::new(seed).below(5) == 0).unwrap();
    let refused = undo(&stage.output(), "r6", &mut Random::new(seed));
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{refused:?}");
    assert_eq!(head(&stage.output()).unwrap().unwrap().commit.run_id, "r5");
    stage.assert_settled(&[(DAYS[0], "2"), (DAYS[1], "4")]);
}

#[test]
fn what_a_run_has_put_in_any_attempt_is_removed_when_it_says_so() {
    let stage = Stage::new();
    let output = stage.output();
    let objects = || [places::DATA, places::QUARANTINE].map(|folder| output.list(folder).unwrap()).concat();
    let before = objects();
    let mut staging = stage_run(&output, "r2").unwrap();
    for value in ["2", "3"] {
        staging.put(partition(DAYS[0]), &to_bytes(&Rows::from([("a".to_owned(), value.to_owned())]))).unwrap();
        staging.put(places::quarantine("r2"), b"{}").unwrap();
        staging.place(&|_| None, &Cancel::default()).unwrap();
        staging.begin_attempt();
    }
    assert_eq!(objects().len() - before.len(), 3, "an object of each attempt, and the quarantine");
    staging.remove_placed().unwrap();
    assert_eq!(objects(), before);
}

#[test]
fn a_command_that_slept_puts_no_old_report_over_a_newer_one() {
    let stage = Stage::new();
    stage.run_cut_off("r2", &[set(DAYS[0], "2")]);
    let (store, newer) = (stage.store.clone(), br#"{"run_id":"r2","commit":2,"checks":[]}"#);
    let slow = Scripted::new(&stage.store).at("reports/", move || {
        // Another command tells of the commit, and an erasure changes what it told.
        let output = output_in(store);
        recover(&output).unwrap();
        assert!(output.read(places::report("r2")).unwrap().is_some(), "the premise");
        output.replace(places::report("r2"), newer).unwrap();
        None
    });
    recover(&output_in(Arc::new(slow))).unwrap();
    assert_eq!(stage.output().read(places::report("r2")).unwrap().as_deref(), Some(&newer[..]));
    stage.assert_settled(&[(DAYS[0], "2")]);
}

#[test]
fn the_report_of_a_run_that_did_not_know_whether_it_is_committed_is_replaced_by_that_of_its_commit() {
    let stage = Stage::new();
    let output = stage.output();
    stage.run_cut_off("r2", &[set(DAYS[0], "2")]);
    output.put_absent(places::report("r2"), br#"{"run_id":"r2","status":"storage_failed"}"#).unwrap();
    recover(&output).unwrap();
    let told = br#"{"run_id":"r2","commit":2}"#;
    assert_eq!(output.read(places::report("r2")).unwrap().as_deref(), Some(&told[..]));
    // The run is late with its own: that of the commit stays.
    output.put_absent(places::report("r2"), br#"{"run_id":"r2","status":"storage_failed"}"#).unwrap();
    assert_eq!(output.read(places::report("r2")).unwrap().as_deref(), Some(&told[..]));
}

#[test]
fn the_usual_run_names_nobody_and_a_finished_one_leaves_no_name() {
    let stage = Stage::new();
    stage.run("r2", &[set(DAYS[0], "2")]);
    let head = head(&stage.output()).unwrap().unwrap();
    assert!(head.is_installed() && head.hint.notes.unsettled.is_empty(), "{:?}", head.hint.notes);
    // A run that others have helped takes its own name out of the hint.
    let store = stage.store.clone();
    let slow = Scripted::new(&stage.store).at("curated/", move || {
        recover(&output_in(store)).unwrap();
        None
    });
    Run { output: &output_in(Arc::new(slow)), run_id: "r3", effects: &[set(DAYS[0], "1")] }.execute().unwrap();
    let head = crate::store::head(&stage.output()).unwrap().unwrap();
    assert!(head.is_installed() && head.hint.notes.unsettled.is_empty(), "{:?}", head.hint.notes);
}

#[test]
fn a_run_that_may_still_wake_up_stays_named() {
    let stage = Stage::new();
    stage.run_cut_off("r2", &[set(DAYS[0], "2")]);
    recover(&stage.output()).unwrap();
    assert_eq!(recover(&stage.output()).unwrap(), Recovery::Clean, "it is looked at again, and nothing is old");
    let head = head(&stage.output()).unwrap().unwrap();
    let named: Vec<_> = head.hint.notes.unsettled.iter().map(|unsettled| unsettled.by.name.as_str()).collect();
    assert_eq!(named, ["r2@simulation/1"], "the helper is awake, and has taken its own name out");
    assert!(head.is_installed() && !head.is_settled());
}

fn hours_ago(hours: i64) -> String {
    UtcMicros::now().minus(hours * UtcMicros::DAY / 24).rfc3339()
}

#[test]
fn the_files_of_a_run_that_is_gone_are_looked_at_before_its_name_leaves() {
    let stage = Stage::new();
    let output = stage.output();
    let old = output.read(partition(DAYS[0])).unwrap().unwrap();
    stage.run_cut_off("r2", &[set(DAYS[0], "2")]);
    recover(&output).unwrap();
    // Five hours have passed since it began, and the last thing that it has put was an old file.
    output.replace(partition(DAYS[0]), &old).unwrap();
    let mut hint = Hint::read(&output).unwrap();
    hint.notes.unsettled[0].by.since = hours_ago(5);
    hint.put(&output).unwrap();
    assert_eq!(recover(&output).unwrap(), Recovery::Finished("r2".to_owned()));
    assert!(head(&output).unwrap().unwrap().is_settled());
    stage.assert_settled(&[(DAYS[0], "2")]);
}

#[test]
fn a_process_that_slept_for_hours_after_its_commit_installs_nothing() {
    let stage = Stage::new();
    let output = stage.output();
    let base = with_state(head(&output).unwrap());
    let (mut staging, mut merged) = (stage_run(&output, "r2").unwrap(), Merged::default());
    let run = Run { output: &output, run_id: "r2", effects: &[set(DAYS[0], "2")] };
    run.merge(&base.1, &mut staging, &mut merged).unwrap();
    staging.place(&|_| None, &Cancel::default()).unwrap();
    let next = merged.applied_to(&base.1);
    let commit = NewCommit { committed_at: hours_ago(3), ..new_commit("r2", "run", &staging, Vec::new(), &next) };
    let ended = staging.decide(base.0.as_ref(), commit, &|_| None, None);
    assert!(matches!(ended, Err(DecideError::Store(StoreError::Unfinished { .. }))), "{ended:?}");
    let there = output.read(partition(DAYS[0])).unwrap().unwrap();
    assert_eq!(from_bytes(&there).get("a").map(String::as_str), Some("1"));
    assert_eq!(recover(&output).unwrap(), Recovery::Finished("r2".to_owned()), "the next command does");
}

#[test]
fn a_run_whose_record_may_still_arrive_does_not_say_that_it_failed() {
    let stage = Stage::new();
    let lost = Scripted::new(&stage.store)
        .at("state/commits/", || Some(PutError::Unknown(refused())))
        .at("state/commits/", || Some(refused().into()));
    let ended = Run { output: &output_in(Arc::new(lost)), run_id: "r2", effects: &[set(DAYS[0], "2")] }.execute();
    assert!(matches!(ended, Err(StoreError::UnknownCommit { .. })), "{ended:?}");
}

/// A run that takes a lease first, as `run::open` does it. It must not be overtaken.
fn run_with_lease(output: &Output, run_id: &str, effects: &[Effect]) -> Result<(), DecideError> {
    let base = with_state(head_by_hint(output)?);
    let lease = lease_of(output, run_id, base.0.as_ref());
    commit_once(&Run { output, run_id, effects }, &base, Committer { lease: Some(&lease), ..Committer::of_run(run_id) })
}

/// One attempt of a run.
fn commit_once(run: &Run<'_>, base: &(Option<Head>, ToyState), by: Committer<'_>) -> Result<(), DecideError> {
    let (mut staging, mut merged) = (stage_run(run.output, run.run_id)?, Merged::default());
    run.merge(&base.1, &mut staging, &mut merged)?;
    let next = merged.applied_to(&base.1);
    let has_changes = !merged.changed.is_empty();
    commit_staged(&mut staging, base, by, &next, has_changes, Vec::new())
}

fn lease_of(output: &Output, run_id: &str, head: Option<&Head>) -> Lease {
    lease_on(output, run_id, Scope::default(), head)
}

fn lease_on(output: &Output, run_id: &str, scope: Scope, head: Option<&Head>) -> Lease {
    let since = "2026-01-01T00:00:00Z".to_owned();
    let holder = Holder { run_id: run_id.to_owned(), pid: 7, host: "here".to_owned(), since, scope };
    Lease::acquire(output, &holder, Duration::ZERO, &Cancel::default(), head).unwrap()
}

/// Changes the first days of January.
fn appends(days: usize) -> Vec<Effect> {
    (1..=days).map(|day| Effect::Append { day: partition(&format!("2026-01-{day:02}")), row: "a" }).collect()
}

#[test]
fn an_increment_costs_requests_for_its_own_partitions_whatever_the_history() {
    ONE_BY_ONE.set(true);
    for history in [3, 300] {
        let store = Arc::new(MemoryStore::default());
        let output = output_in(store.clone());
        (0..history).for_each(|number| run_with_lease(&output, &format!("h{number:03}"), &appends(30)).unwrap());
        for partitions in [1, 3, 30] {
            let counting = CountingStore::over(&store);
            run_with_lease(&output_in(counting.clone()), &format!("i{partitions:02}"), &appends(partitions)).unwrap();
            let requests = counting.take();
            // The toy has no manifest of a run, which a real one puts.
            assert_eq!(requests.len() + 1, 7 + 3 * partitions, "{partitions} partitions after {history} commits: {requests:#?}");
            assert!(!requests.iter().any(|request| request.is_of(Verb::List, "")), "{requests:#?}");
        }
        assert_eq!(head(&output).unwrap().unwrap().commit.number, history + 3);
    }
}

#[test]
fn the_work_that_a_run_leaves_is_looked_for_and_a_quiet_hint_spares_the_look() {
    let stage = Stage::new();
    let is_installed = |store: &Arc<MemoryStore>| {
        let counting = CountingStore::over(store);
        let head = head_by_hint(&output_in(counting.clone())).unwrap().unwrap();
        (head.commit.number, head.is_installed(), counting.take().len())
    };
    assert_eq!(is_installed(&stage.store), (1, true, 1), "nobody is at work");
    // A run whose files can't be installed ends, and gives its lease back.
    let cut_off = Scripted::new(&stage.store).at("curated/", || Some(refused().into()));
    let ended = run_with_lease(&output_in(Arc::new(cut_off)), "r2", &[set(DAYS[0], "2")]);
    assert!(matches!(ended, Err(DecideError::Store(StoreError::Unfinished { .. }))), "{ended:?}");
    assert_eq!(is_installed(&stage.store), (2, false, 3), "its record, and none behind it");
    recover(&stage.output()).unwrap();
    assert_eq!(is_installed(&stage.store), (2, true, 1), "all is installed");
    // A run at work may commit at any time.
    let lease = lease_of(&stage.output(), "r3", None);
    assert_eq!(is_installed(&stage.store), (2, true, 2));
    stage.run("r4", &[set(DAYS[1], "2")]);
    drop(lease);
    assert_eq!(is_installed(&stage.store), (3, true, 1), "it has not committed");
    // The lease of a run is taken from it while it sleeps: it may still commit.
    let mut hint = Hint::read(&stage.output()).unwrap();
    hint.notes.unsettled.push(Unsettled::writer(Installer { name: "r5".into(), since: UtcMicros::now().rfc3339() }));
    hint.put(&stage.output()).unwrap();
    assert_eq!(is_installed(&stage.store), (3, true, 2));
    run_with_lease(&stage.output(), "r6", &[set(DAYS[2], "2")]).unwrap();
    assert_eq!(is_installed(&stage.store), (4, true, 2), "a commit of another one does not say that it never will");
    stage.assert_settled(&[(DAYS[1], "2"), (DAYS[2], "2")]);
}

#[test]
fn a_run_knows_how_long_the_latest_thirty_of_its_kind_took_and_no_other() {
    let stage = Stage::new();
    let output = stage.output();
    let known_by = |run_id: &str, kind: &str, pace: Option<u64>| {
        let lease = lease_of(&output, run_id, None);
        let known: Vec<_> = lease.paces(kind).unwrap().iter().map(|pace| pace.records).collect();
        pace.iter().for_each(|records| lease.note_pace(kind, RunPace { milliseconds: 1, records: *records }));
        known
    };
    assert_eq!(known_by("first", "run", Some(0)), [0; 0]);
    assert_eq!(known_by("failed", "run", None), [0]);
    assert_eq!(known_by("other", "run de", Some(7)), [0; 0]);
    for records in 1..=31 {
        known_by("next", "run", Some(records));
    }
    assert_eq!(known_by("last", "run", None), (2..=31).collect::<Vec<_>>());
    assert_eq!(known_by("other", "run de", None), [7]);
    // Two at once: the pace of neither is lost.
    let day = |day: &str, next: &str| Scope { from: Some(day.to_owned()), until: Some(next.to_owned()) };
    let leases = [("d", "2026-01-01", "2026-01-02"), ("e", "2026-01-02", "2026-01-03")].map(|(run_id, from, until)| {
        let lease = lease_on(&output, run_id, day(from, until), None);
        lease.note_pace("run us", RunPace { milliseconds: 1, records: 9 });
        lease
    });
    drop(leases);
    assert_eq!(known_by("f", "run us", None), [9, 9]);
}

#[test]
fn the_open_alerts_are_known_to_a_run_if_no_other_one_came_between() {
    let stage = Stage::new();
    let output = stage.output();
    let known_by = |run_id: &str, note: AlertsNote| {
        let lease = lease_of(&output, run_id, None);
        let known = lease.known_alerts().map(str::to_owned);
        lease.note_alerts(note);
        known
    };
    assert_eq!(known_by("a", AlertsNote::Read("none".into())), None, "nobody has said it yet");
    assert_eq!(known_by("b", AlertsNote::Untouched).as_deref(), Some("none"));
    assert_eq!(known_by("c", AlertsNote::Written("one".into())).as_deref(), Some("none"));
    // Two runs at once: the second one writes, and the first one has looked before that.
    let day = |day: &str, next: &str| Scope { from: Some(day.to_owned()), until: Some(next.to_owned()) };
    let first = lease_on(&output, "d", day("2026-01-01", "2026-01-02"), None);
    let second = lease_on(&output, "e", day("2026-01-02", "2026-01-03"), None);
    assert_eq!((first.known_alerts(), second.known_alerts()), (Some("one"), None));
    second.note_alerts(AlertsNote::Written("two".into()));
    drop(second);
    first.note_alerts(AlertsNote::Read("one".into()));
    drop(first);
    assert_eq!(known_by("f", AlertsNote::Read("two".into())), None, "it must look");
    assert_eq!(known_by("g", AlertsNote::Unknown).as_deref(), Some("two"));
    assert_eq!(known_by("h", AlertsNote::Read("three".into())), None);
    forget_copies(&output).unwrap();
    assert_eq!(known_by("i", AlertsNote::Untouched), None, "it may be erased");
}

#[test]
fn a_run_without_a_fault_names_nobody_when_its_lease_has_ended() {
    let stage = Stage::new();
    for (run_id, value) in [("r2", "2"), ("r3", "1")] {
        run_with_lease(&stage.output(), run_id, &[set(DAYS[0], value)]).unwrap();
        stage.assert_quiet();
    }
    stage.assert_settled(&[(DAYS[0], "1")]);
}

#[test]
fn a_run_whose_lease_ends_after_an_undo_puts_its_old_file_right() {
    let stage = Stage::new();
    let store = stage.store.clone();
    // While it sleeps, the bytes of before come back, and others help and settle the hint.
    let slow = Scripted::new(&stage.store).at("curated/", move || {
        undo_newest(&store, "r3");
        None
    });
    run_with_lease(&output_in(Arc::new(slow)), "r2", &[set(DAYS[0], "2")]).unwrap();
    let there = stage.output().read(partition(DAYS[0])).unwrap().unwrap();
    assert_eq!(from_bytes(&there).get("a").map(String::as_str), Some("1"), "put right before the run ends");
    // It has taken its own name out.
    stage.assert_quiet();
    stage.assert_settled(&[(DAYS[0], "1")]);
}

#[test]
fn several_commits_under_one_lease_are_told_one_after_another() {
    let stage = Stage::new();
    let output = stage.output();
    let lease = lease_of(&output, "r2", head_by_hint(&output).unwrap().as_ref());
    for (number, value) in [(2, "2"), (3, "3")] {
        let base = with_state(head(&output).unwrap());
        let run = Run { output: &output, run_id: &format!("r{number}"), effects: &[set(DAYS[0], value)] };
        commit_once(&run, &base, Committer { lease: Some(&lease), ..Committer::of_run("r2") }).unwrap();
        assert_eq!(Hint::read(&output).unwrap().installed(), number - 1, "the one before is told");
    }
    drop(lease);
    let hint = Hint::read(&output).unwrap();
    assert!(hint.installed() == 3 && hint.is_quiet(), "{:?}", hint.notes);
    stage.assert_settled(&[(DAYS[0], "3")]);
}

/// A scope of one day.
fn on_day(day: &str, next: &str) -> Scope {
    Scope { from: Some(day.to_owned()), until: Some(next.to_owned()) }
}

/// A run on a day of its own, with its lease.
struct RunOnDay {
    lease: Lease,
    base: (Option<Head>, ToyState),
}

impl RunOnDay {
    fn begin(output: &Output, run_id: &str, scope: Scope) -> RunOnDay {
        let base = settled_layer(output).unwrap();
        RunOnDay { lease: lease_on(output, run_id, scope, base.0.as_ref()), base }
    }

    fn commit(&mut self, output: &Output, run_id: &str, effects: &[Effect]) {
        let by = Committer { lease: Some(&self.lease), ..Committer::of_run(run_id) };
        let run = Run { output, run_id, effects };
        while let Err(error) = commit_once(&run, &self.base, by) {
            assert!(matches!(error, DecideError::Moved), "{error}");
            self.base = settled_layer(output).unwrap();
        }
    }
}

#[test]
fn a_run_beside_another_leaves_the_look_at_all_files_to_the_last_one() {
    let stage = Stage::new();
    let output = stage.output();
    // A run knows of those that were at work when it took its lease.
    let mut second = RunOnDay::begin(&output, "r3", on_day(DAYS[1], DAYS[2]));
    let mut first = RunOnDay::begin(&output, "r2", on_day(DAYS[0], DAYS[1]));
    first.commit(&output, "r2", &[set(DAYS[0], "2")]);
    drop(first);
    let hint = Hint::read(&output).unwrap();
    assert_eq!((hint.installed(), hint.commit().unwrap().number), (1, 2), "nobody has looked at its files, and it is the copy");
    assert!(!is_publishing(&output).unwrap(), "its files are in place");
    assert_eq!(from_bytes(&output.read(partition(DAYS[0])).unwrap().unwrap())["a"], "2");
    // Whoever begins beside others does not look at them either.
    let counting = CountingStore::over(&stage.store);
    let third = RunOnDay::begin(&output_in(counting.clone()), "r4", on_day(DAYS[2], "2026-01-04"));
    let requests = counting.take();
    assert!(!requests.iter().any(|request| request.is_of(Verb::Get, "curated/")), "{requests:#?}");
    drop(third);
    second.commit(&output, "r3", &[set(DAYS[1], "3")]);
    drop(second);
    stage.assert_quiet();
    stage.assert_settled(&[(DAYS[0], "2"), (DAYS[1], "3"), (DAYS[2], "1")]);
}

/// One run on a day of its own, from its lease to its end.
fn run_on_day(output: &Output, month: u32, day: u32) {
    let (run_id, date) = (format!("r{month:02}{day:02}"), format!("2026-{month:02}-{day:02}"));
    let mut run = RunOnDay::begin(output, &run_id, on_day(&date, &format!("2026-{month:02}-{:02}", day + 1)));
    run.commit(output, &run_id, &[set(&date, "2")]);
}

/// The days of February on which runs were committed whose files nobody has looked at.
const OPEN_DAYS: u32 = 14;

/// A layer with so many of them, and the run at work that they have left it to. The next commit is the sixteenth.
fn layer_left_open() -> (Stage, RunOnDay) {
    let stage = Stage::new();
    let output = stage.output();
    let at_work = RunOnDay::begin(&output, "at work", on_day("2026-12-01", "2026-12-02"));
    (1..=OPEN_DAYS).for_each(|day| run_on_day(&output, 2, day));
    let hint = Hint::read(&output).unwrap();
    assert_eq!((hint.installed(), hint.commit().unwrap().number), (1, 15), "the premise");
    (stage, at_work)
}

/// A store on which one more run, on a day of March, is committed each time that the manifest of the layer is read.
#[derive(Debug)]
struct BusyStore {
    counting: Arc<CountingStore>,
    store: Arc<MemoryStore>,
    days: Mutex<Vec<u32>>,
}

impl BusyStore {
    fn over(stage: &Stage, days: u32) -> BusyStore {
        let (counting, store) = (CountingStore::over(&stage.store), stage.store.clone());
        BusyStore { counting, store, days: Mutex::new((1..=days).collect()) }
    }

    fn commit_another(&self) {
        let day = self.days.lock().unwrap().pop();
        day.into_iter().for_each(|day| run_on_day(&output_in(self.store.clone()), 3, day));
    }
}

impl Store for BusyStore {
    fn location(&self) -> String {
        self.counting.location()
    }

    fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        if key.as_str() == places::WHOLE_MANIFEST {
            self.commit_another();
        }
        self.counting.get(key)
    }

    fn ranges(&self, key: &Key, ranges: &[Range<u64>]) -> Result<Option<Vec<Bytes>>, StoreError> {
        self.counting.ranges(key, ranges)
    }

    fn list(&self, prefix: &Key) -> Result<Vec<Listed>, StoreError> {
        self.counting.list(prefix)
    }

    fn names(&self, prefix: &Key) -> Result<Names, StoreError> {
        self.counting.names(prefix)
    }

    fn put(&self, key: &Key, content: Content<'_>, condition: &Condition) -> Result<Tag, PutError> {
        self.counting.put(key, content, condition)
    }

    fn delete(&self, key: &Key, condition: &Condition) -> Result<(), PutError> {
        self.counting.delete(key, condition)
    }
}

#[test]
fn a_look_at_all_files_reads_each_once_and_ends_although_others_commit_meanwhile() {
    let (stage, at_work) = layer_left_open();
    let busy = BusyStore::over(&stage, 8);
    let counting = busy.counting.clone();
    run_on_day(&output_in(Arc::new(busy)), 2, OPEN_DAYS + 1);
    let requests = counting.take();
    let of_files = |verb: Verb| requests.iter().filter(|request| request.is_of(verb, "curated/")).count();
    let open_files = usize::try_from(OPEN_DAYS + 1).unwrap();
    assert!(of_files(Verb::Get) >= open_files, "the premise: it looks: {requests:#?}");
    assert!(of_files(Verb::Get) < 2 * open_files, "each once: {requests:#?}");
    assert_eq!(of_files(Verb::Put), 1, "its own file: {requests:#?}");
    let hint = Hint::read(&stage.output()).unwrap();
    let newest = hint.commit().unwrap().number;
    assert!(newest > 16, "the premise: others came between, and {newest} is the newest");
    assert_eq!(hint.installed(), 16, "the look counts, up to its own commit");
    drop(at_work);
    stage.assert_quiet();
}

#[test]
fn the_last_run_at_work_puts_right_what_a_look_has_left_to_newer_commits() {
    let (stage, at_work) = layer_left_open();
    run_on_day(&output_in(Arc::new(BusyStore::over(&stage, 8))), 2, OPEN_DAYS + 1);
    let output = stage.output();
    let newest = head(&output).unwrap().unwrap().commit;
    assert!(newest.number > 16 && newest.run_id.starts_with("r03"), "the premise: {}", newest.run_id);
    // As if an old put had arrived late, at a file of the newest commit and at the manifest.
    let file = newest.put.iter().find(|put| put.key.as_str().starts_with("curated/")).unwrap().key.clone();
    output.replace(&file, HEADER.as_bytes()).unwrap();
    output.replace(places::WHOLE_MANIFEST, b"old").unwrap();
    drop(at_work);
    // So the command in `assert_settled` has nothing to do.
    stage.assert_quiet();
    assert_eq!(Hint::read(&output).unwrap().installed(), newest.number);
    stage.assert_settled(&[("2026-02-01", "2"), ("2026-02-15", "2"), ("2026-03-08", "2")]);
}

#[test]
fn a_look_that_fails_is_left_to_the_last_run_at_work() {
    let (stage, at_work) = layer_left_open();
    stage.output().replace(partition("2026-02-01"), HEADER.as_bytes()).unwrap();
    let failing = Scripted::new(&stage.store).at("curated/dt=2026-02-01", || Some(refused().into()));
    run_on_day(&output_in(Arc::new(failing)), 2, OPEN_DAYS + 1);
    assert_eq!(Hint::read(&stage.output()).unwrap().installed(), 1, "the premise: it has failed");
    assert!(!is_publishing(&stage.output()).unwrap(), "its own files are in place");
    drop(at_work);
    stage.assert_quiet();
    stage.assert_settled(&[("2026-02-01", "2"), ("2026-02-15", "2")]);
}

#[test]
fn a_run_whose_look_has_lost_an_answer_does_not_say_that_it_is_done() {
    let (stage, at_work) = layer_left_open();
    for day in ["2026-02-01", "2026-02-02"] {
        stage.output().replace(partition(day), HEADER.as_bytes()).unwrap();
    }
    // Both are put at once: one answer is lost, and the other put is refused.
    let failing = Scripted::new(&stage.store)
        .at("curated/dt=2026-02-01", || Some(PutError::Unknown(refused())))
        .at("curated/dt=2026-02-02", || Some(refused().into()));
    let output = output_in(Arc::new(failing));
    let run = RunOnDay::begin(&output, "r0215", on_day("2026-02-15", "2026-02-16"));
    let by = Committer { lease: Some(&run.lease), ..Committer::of_run("r0215") };
    let ended = commit_once(&Run { output: &output, run_id: "r0215", effects: &[set("2026-02-15", "2")] }, &run.base, by);
    assert!(matches!(ended, Err(DecideError::Store(StoreError::Unfinished { .. }))), "{ended:?}");
    drop(run);
    assert!(is_publishing(&stage.output()).unwrap(), "a put of it may still arrive");
    drop(at_work);
    stage.assert_settled(&[("2026-02-01", "2"), ("2026-02-02", "2"), ("2026-02-15", "2")]);
}

#[test]
fn a_run_that_left_meanwhile_is_not_named_once_its_commit_is_counted_also_if_it_put_no_file() {
    let stage = Stage::new();
    let output = stage.output();
    let mut second = RunOnDay::begin(&output, "r3", on_day(DAYS[1], DAYS[2]));
    let mut first = RunOnDay::begin(&output, "r2", on_day(DAYS[0], DAYS[1]));
    // Its commit has no files; a real run that changes nothing commits what it covers.
    first.commit(&output, "r2", &[]);
    drop(first);
    second.commit(&output, "r3", &[set(DAYS[1], "3")]);
    drop(second);
    stage.assert_quiet();
    stage.assert_settled(&[(DAYS[0], "1"), (DAYS[1], "3")]);
}

#[test]
fn what_a_run_beside_others_did_not_put_is_not_left_to_them() {
    let stage = Stage::new();
    let output = stage.output();
    let other = RunOnDay::begin(&output, "r3", on_day(DAYS[1], DAYS[2]));
    let cut_off = output_in(Arc::new(Scripted::new(&stage.store).at("curated/", || Some(refused().into()))));
    let base = settled_layer(&cut_off).unwrap();
    let lease = lease_on(&cut_off, "r2", on_day(DAYS[0], DAYS[1]), base.0.as_ref());
    let by = Committer { lease: Some(&lease), ..Committer::of_run("r2") };
    let run = Run { output: &cut_off, run_id: "r2", effects: &[set(DAYS[0], "2")] };
    let ended = commit_once(&run, &base, by);
    assert!(matches!(ended, Err(DecideError::Store(StoreError::Unfinished { .. }))), "{ended:?}");
    drop(lease);
    assert!(is_publishing(&output).unwrap());
    // The next command does it at once, although another run is at work.
    assert!(matches!(recover(&output), Ok(Recovery::Finished(_))));
    assert_eq!(from_bytes(&output.read(partition(DAYS[0])).unwrap().unwrap())["a"], "2");
    drop(other);
    stage.assert_settled(&[(DAYS[0], "2")]);
}

#[test]
fn a_hint_of_the_version_before_that_says_more_keeps_the_format_of_its_record() {
    let stage = Stage::new();
    let output = stage.output();
    let mut record = head(&output).unwrap().unwrap().commit;
    record.format = 1;
    let mut hint = Hint::of_installed(&record);
    hint.notes.name_writer(Installer { name: "r5".into(), since: UtcMicros::now().rfc3339() });
    output.remove(places::LATEST).unwrap();
    hint.put(&output).unwrap();
    let text = String::from_utf8(output.read(places::LATEST).unwrap().unwrap()).unwrap();
    assert!(text.contains(r#""format":2"#), "the version before must not trust it: {text}");
    let mut hint = Hint::read(&output).unwrap();
    assert_eq!(hint.commit().unwrap().format, 1);
    hint.notes.unsettled.clear();
    hint.put(&output).unwrap();
    assert!(!Hint::read(&output).unwrap().is_quiet(), "a writer of that version does not stand in the hint");
}
