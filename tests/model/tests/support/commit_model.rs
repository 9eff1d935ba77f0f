//! The commit protocol as a model for `stateright`: every interleaving of writers, readers and faults, within bounds.
//!
//! One step is one request to the store. The decisions are the product's own, from `store::protocol`: it calls the same
//! functions. What is modelled here is the store, the merge of orders, and the faults: a crash between any two
//! requests, and answers that are lost while the request was done, was not done, was repeated by the client, or arrives
//! later. A writer that sleeps is one that takes no step for a while. Of leases, only the names of writers in the hint are
//! modelled: no commit and no file may depend on them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use orders_etl_model::{
    AfterCommit, AfterReadBack, Answer, Footprint, Hint, Log, Projection, SharedOrders, Step, after_commit, after_read_back,
    keys_to_merge_again,
};
use stateright::{Model, Property};

const KEYS: usize = 3;
const ORDERS: usize = 4;
/// Keys: the partitions.
pub const D0: u8 = 0;
pub const D1: u8 = 1;
pub const D2: u8 = 2;
/// Orders. Each has one row.
pub const A: u8 = 0;
pub const B: u8 = 1;
pub const C: u8 = 2;
pub const X: u8 = 3;

/// A file: the version of each order in it, or zero. It is its own tag, as an ETag that is the MD5 of the content.
type Rows = [u8; ORDERS];
const HEADER_ONLY: Rows = [0; ORDERS];
/// The name of an object in `data/`: run, attempt, key.
type Object = (u8, u8, u8);
type Catalog = [Option<(Object, Rows)>; KEYS];
type Print = Footprint<u8, u8>;
type Latest = Hint<u8, u8>;
type Files = BTreeMap<u8, Option<Rows>>;

/// An order, its version, and the partition in which that version lies.
pub type Row = (u8, u8, u8);

/// What an actor does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Loads these orders.
    Load(&'static [Row]),
    /// Undoes the run of that actor, if its partitions are still as it left them.
    Undo(u8),
    /// Commits nothing, and completes what others have begun.
    Reader,
}

/// The protocol, broken on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    Nothing,
    /// The commit is put whatever is there.
    CommitAlways,
    /// A taken number is always another's.
    NoReadBack,
    /// Nothing is merged again.
    SkipRebase,
    /// The next number is taken with the old catalog.
    OldCatalog,
    /// A key is merged again only if it has changed, whatever orders it shares with others.
    OrdersIgnored,
    /// The commit comes before its data.
    CommitBeforeData,
    /// A second attempt writes under the name of the first.
    SameDataName,
    /// Files are installed before the commit.
    InstallBeforeCommit,
    /// Files are installed whatever is there.
    InstallAlways,
    /// A partition that lost its last row is deleted whatever is there.
    DeleteAlways,
    /// The head is not read again after the tag.
    HeadBeforeTags,
    /// A file is read once, not again after the head or the hint.
    LooksCached,
    /// A writer vouches for commits whose keys it has not looked at.
    OwnKeysOnly,
    /// The hint does not name writers that may sleep.
    SleepersForgotten,
    /// A command that helps does not name itself.
    HelpersUnnamed,
    /// A writer takes itself out of the hint although an answer was lost.
    LostAnswerSettled,
    /// A name leaves the hint although its writer may still wake up.
    SleepersGone,
    /// A name leaves the hint because its writer is gone by now, although its files were read before that.
    GoneAfterRead,
    /// A writer commits without standing in the hint.
    WritersUnnamed,
    /// Whoever settles the hint takes all writers out.
    WritersForgotten,
    /// The hint counts newer commits, whose keys were left to them.
    NewerCounted,
    /// Old commits are deleted.
    VacuumDeletes,
}

/// A store, its actors, and how much goes wrong.
#[derive(Clone, Debug)]
pub struct Protocol {
    pub before: &'static [Row],
    pub roles: Vec<Role>,
    pub crashes: u8,
    pub lost: u8,
    /// How many files are read in one step.
    pub at_once: usize,
    pub broken: Broken,
    /// Whether the dead are known to be gone, as after some hours. Otherwise nobody is.
    pub knows_the_dead: bool,
    /// Whether a run brings back earlier bytes. A sleeping writer may then replace a newer file, until the next command.
    pub bytes_return: bool,
    /// What has happened, so that a check that met nothing is seen to be empty.
    pub met: Arc<Mutex<BTreeSet<&'static str>>>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Commit {
    print: Print,
    catalog: Catalog,
    vacuumed: bool,
}

/// A request that changes the store.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Put {
    Data(Vec<(Object, Rows)>),
    Commit(usize, Box<Commit>),
    File { key: u8, expected: Option<Rows>, rows: Rows },
    Hint { expected: Latest, hint: Latest },
}

/// A commit in the making.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Plan {
    attempt: u8,
    number: u64,
    commit: Commit,
    /// The keys that were merged, and the catalog that they were merged with.
    touched: BTreeSet<u8>,
    base: Catalog,
    /// The orders that lie at several keys, and those keys.
    shared_orders: BTreeSet<u8>,
    shared_keys: BTreeSet<u8>,
    /// `state/latest`, and what was in `curated/`, when the merge was made.
    hint: Latest,
    files: Files,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Pc {
    /// With what an earlier attempt has merged.
    Open(Option<Box<Plan>>),
    ReadFiles(Plan),
    PutData(Plan),
    PutCommit(Plan),
    ReadBack(Plan),
    /// With the hint that was read last, and the files that were seen.
    Project(Projection<u8, u8, Rows>, Latest, Files),
    Done,
    Dead,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Actor {
    pc: Pc,
    /// It knows that its commit counts: it will report success.
    published: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    log: Vec<Commit>,
    data: BTreeMap<Object, Rows>,
    hint: Latest,
    curated: [Option<Rows>; KEYS],
    flying: Vec<Put>,
    actors: Vec<Actor>,
    crashes: u8,
    lost: u8,
    /// A file that the head wants was replaced by another.
    regressed: bool,
}

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Answered,
    LostDone,
    LostUndone,
    /// It arrives later.
    LostFlying,
    /// The client sends it twice, and sees the second answer.
    Repeated,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    Go(usize, Fate),
    Crash(usize),
    Land(usize),
    Vacuum,
}

/// The log as the projection of one actor sees it.
struct LogView<'a> {
    log: &'a [Commit],
    /// Only this run's keys, where the protocol is broken so.
    only: Option<u8>,
}

fn commit_of(log: &[Commit], number: u64) -> &Commit {
    &log[number as usize - 1]
}

impl Log<u8, u8> for LogView<'_> {
    type There = Rows;

    fn footprint(&self, number: u64) -> Option<&Print> {
        let print = &commit_of(self.log, number).print;
        self.only.is_none_or(|run| run == print.run).then_some(print)
    }

    fn wants(&self, number: u64, key: &u8, there: Option<&Rows>) -> bool {
        wants(&commit_of(self.log, number).catalog, *key, there)
    }
}

fn wants(catalog: &Catalog, key: u8, there: Option<&Rows>) -> bool {
    match &catalog[key as usize] {
        Some((_, rows)) => there == Some(rows),
        None => there.is_none_or(|rows| *rows == HEADER_ONLY),
    }
}

fn rows_of(catalog: &Catalog) -> [Rows; KEYS] {
    std::array::from_fn(|key| catalog[key].map_or(HEADER_ONLY, |(_, rows)| rows))
}

/// The layer after one row: the greater version wins, an equal one is replaced, and an order lies in one partition.
fn load(layer: &mut [Rows; KEYS], &(order, version, key): &Row) {
    let order = order as usize;
    if layer.iter().any(|rows| rows[order] > version) {
        return;
    }
    layer.iter_mut().for_each(|rows| rows[order] = 0);
    layer[key as usize][order] = version;
}

impl Role {
    /// The layer after this run, or nothing where the run has nothing to do. `before` is the log that it finds.
    fn apply(self, before: &[Commit]) -> Option<[Rows; KEYS]> {
        let mut layer = rows_of(&before.last()?.catalog);
        match self {
            Role::Load(rows) => rows.iter().for_each(|row| load(&mut layer, row)),
            Role::Undo(run) => {
                let undone = before.iter().position(|commit| commit.print.run == run)?;
                let (old, new) = (rows_of(&before[undone - 1].catalog), rows_of(&before[undone].catalog));
                for &key in &before[undone].print.keys {
                    let place = &mut layer[key as usize];
                    if *place != new[key as usize] {
                        return None;
                    }
                    *place = old[key as usize];
                }
            }
            Role::Reader => return None,
        }
        Some(layer)
    }

    /// The keys that the run merges on a layer: where its rows go, and where their orders lie.
    fn touched(self, layer: &[Rows; KEYS]) -> BTreeSet<u8> {
        let Role::Load(rows) = self else { return (0..KEYS as u8).collect() };
        let places = |&(order, _, key): &Row| keys_of(layer, order).into_iter().chain([key]).collect::<Vec<_>>();
        rows.iter().flat_map(places).collect()
    }

    /// The orders of the run that lie elsewhere than where it brings them.
    fn shared_orders(self, layer: &[Rows; KEYS]) -> BTreeSet<u8> {
        let Role::Load(rows) = self else { return BTreeSet::new() };
        rows.iter().filter(|(order, _, key)| keys_of(layer, *order).iter().any(|stored| stored != key)).map(|row| row.0).collect()
    }

    /// The keys of these orders.
    fn keys_of_orders(self, layer: &[Rows; KEYS], orders: &BTreeSet<u8>) -> BTreeSet<u8> {
        let Role::Load(rows) = self else { return BTreeSet::new() };
        let shared = rows.iter().filter(|row| orders.contains(&row.0));
        shared.flat_map(|&(order, _, key)| keys_of(layer, order).into_iter().chain([key])).collect()
    }
}

/// Where an order lies.
fn keys_of(layer: &[Rows; KEYS], order: u8) -> Vec<u8> {
    (0..KEYS as u8).filter(|&key| layer[key as usize][order as usize] > 0).collect()
}

/// The run that made the layer before.
const BEFORE: u8 = 99;

impl Protocol {
    fn met(&self, what: &'static str) {
        self.met.lock().unwrap().insert(what);
    }

    fn first(&self) -> Commit {
        let mut layer = [HEADER_ONLY; KEYS];
        self.before.iter().for_each(|row| load(&mut layer, row));
        let catalog = std::array::from_fn(|key| (layer[key] != HEADER_ONLY).then_some(((BEFORE, 0, key as u8), layer[key])));
        Commit { print: Footprint { run: BEFORE, keys: BTreeSet::new() }, catalog, vacuumed: false }
    }

    /// Those that stand in the hint before they commit. All do so at once: who comes later only makes a hint prove more.
    fn writers(&self) -> BTreeSet<u8> {
        let is_writer = |actor: &usize| self.roles[*actor] != Role::Reader && self.broken != Broken::WritersUnnamed;
        (0..self.roles.len()).filter(is_writer).map(|actor| actor as u8).collect()
    }

    /// Merges on the head of the log. Of what an earlier attempt has merged, it keeps what the protocol lets it keep.
    fn plan(&self, state: &State, run: usize, earlier: Option<&Plan>) -> Option<Plan> {
        let log = &state.log;
        let (head, role) = (log.last()?, self.roles[run]);
        let (old, new) = (rows_of(&head.catalog), role.apply(log)?);
        let attempt = earlier.map_or(0, |earlier| earlier.attempt + 1);
        let named = if self.broken == Broken::SameDataName { 0 } else { attempt };
        let (touched, shared_orders) = (role.touched(&old), role.shared_orders(&old));
        let shared_keys = role.keys_of_orders(&old, &shared_orders);
        let mut plan = Plan {
            attempt,
            number: log.len() as u64 + 1,
            commit: Commit { print: Footprint { run: run as u8, keys: BTreeSet::new() }, catalog: head.catalog, vacuumed: false },
            touched,
            base: head.catalog,
            shared_orders,
            shared_keys,
            hint: state.hint.clone(),
            files: BTreeMap::new(),
        };
        let again = match earlier {
            Some(earlier) if matches!(role, Role::Load(_)) => self.merged_again(&plan, earlier),
            _ => plan.touched.clone(),
        };
        if let (Broken::OldCatalog, Some(earlier)) = (self.broken, earlier) {
            plan.commit.catalog = earlier.base;
        }
        for key in plan.touched.clone() {
            match earlier.filter(|_| !again.contains(&key)) {
                Some(earlier) => self.keep(&mut plan, earlier, key),
                None if old[key as usize] != new[key as usize] => {
                    plan.commit.print.keys.insert(key);
                    let rows = new[key as usize];
                    plan.commit.catalog[key as usize] = (rows != HEADER_ONLY).then_some(((run as u8, named, key), rows));
                }
                None => {}
            }
        }
        Some(plan)
    }

    /// The keys that must be merged again.
    fn merged_again(&self, plan: &Plan, earlier: &Plan) -> BTreeSet<u8> {
        let version = |catalog: &Catalog, key: u8| catalog[key as usize];
        let has_changed = |&key: &u8| !earlier.touched.contains(&key) || version(&plan.base, key) != version(&earlier.base, key);
        let changed: BTreeSet<u8> = plan.touched.iter().copied().filter(has_changed).collect();
        match self.broken {
            Broken::SkipRebase | Broken::OldCatalog => BTreeSet::new(),
            Broken::OrdersIgnored => changed,
            _ => {
                let before = SharedOrders { orders: &earlier.shared_orders, keys: &earlier.shared_keys };
                let now = SharedOrders { orders: &plan.shared_orders, keys: &plan.shared_keys };
                keys_to_merge_again(&plan.touched, changed, &before, &now)
            }
        }
    }

    /// Keeps what an earlier attempt has merged at a key, and the version that it has read there.
    fn keep(&self, plan: &mut Plan, earlier: &Plan, key: u8) {
        self.met("result kept");
        if earlier.commit.print.keys.contains(&key) {
            plan.commit.print.keys.insert(key);
            plan.commit.catalog[key as usize] = earlier.commit.catalog[key as usize];
        }
        if let Some(there) = earlier.files.get(&key) {
            plan.files.insert(key, *there);
        }
    }

    fn view<'a>(&self, log: &'a [Commit], run: usize) -> LogView<'a> {
        LogView { log, only: (self.broken == Broken::OwnKeysOnly).then_some(run as u8) }
    }

    /// Those that can put nothing any more.
    fn gone(&self, state: &State, run: usize) -> BTreeSet<u8> {
        let can_put = |actor: usize| !matches!(state.actors[actor].pc, Pc::Dead | Pc::Done) || !state.flying.is_empty();
        let is_gone = |actor: usize| match self.broken {
            Broken::SleepersGone => actor != run,
            _ => self.knows_the_dead && !can_put(actor),
        };
        (0..state.actors.len()).filter(|&actor| is_gone(actor)).map(|actor| actor as u8).collect()
    }

    /// The request that changes the store, if that is what the actor does next.
    fn request(&self, state: &State, actor: usize) -> Option<Put> {
        match &state.actors[actor].pc {
            Pc::PutData(plan) => {
                let own = plan.commit.print.keys.iter().filter_map(|&key| plan.commit.catalog[key as usize]);
                Some(Put::Data(own.collect()))
            }
            Pc::PutCommit(plan) => Some(Put::Commit(plan.number as usize, Box::new(plan.commit.clone()))),
            Pc::Project(projection, expected, _) => match projection.next(&self.view(&state.log, actor)) {
                Step::Install(files) => {
                    let (key, expected) = files.into_iter().next()?;
                    let head = commit_of(&state.log, projection.head()?);
                    Some(Put::File { key, expected, rows: head.catalog[key as usize].map_or(HEADER_ONLY, |(_, rows)| rows) })
                }
                Step::PutHint(hint) | Step::Settle(hint) => {
                    let mut hint = self.hint(state, actor, expected, hint);
                    if self.broken == Broken::NewerCounted && hint.number > expected.number {
                        hint.number = projection.head()?;
                    }
                    Some(Put::Hint { expected: expected.clone(), hint })
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn hint(&self, state: &State, actor: usize, old: &Latest, mut new: Latest) -> Latest {
        match self.broken {
            Broken::SleepersForgotten if new.number > old.number => new.unsettled.retain(|run, _| old.unsettled.contains_key(run)),
            Broken::GoneAfterRead => {
                let gone = self.gone(state, actor);
                new.unsettled.retain(|run, _| !gone.contains(run));
            }
            Broken::HelpersUnnamed if new.number == old.number => _ = new.unsettled.remove(&(actor as u8)),
            Broken::WritersForgotten => new.writers.clear(),
            _ => {}
        }
        new
    }

    /// What the store makes of a request: whether the condition held.
    fn put(&self, state: &mut State, put: &Put) -> bool {
        match put {
            Put::Data(objects) => state.data.extend(objects.iter().copied()),
            Put::Commit(number, commit) => {
                let place = state.log.get_mut(number - 1);
                match place {
                    None => state.log.push(commit.as_ref().clone()),
                    Some(there) if there.vacuumed || self.broken == Broken::CommitAlways => *there = commit.as_ref().clone(),
                    Some(_) => return false,
                }
            }
            Put::File { key, expected, rows } => {
                let place = &mut state.curated[*key as usize];
                let deletes = *rows == HEADER_ONLY && self.broken == Broken::DeleteAlways;
                if place != expected && self.broken != Broken::InstallAlways && !deletes {
                    return false;
                }
                let head = &state.log[state.log.len() - 1].catalog;
                state.regressed |= wants(head, *key, place.as_ref()) && !wants(head, *key, Some(rows));
                *place = (!deletes).then_some(*rows);
            }
            Put::Hint { expected, hint } => {
                if state.hint != *expected {
                    return false;
                }
                state.hint = hint.clone();
            }
        }
        true
    }

    fn send(&self, state: &mut State, put: &Put, fate: Fate) -> Answer {
        let answer = |done| if done { Answer::Done(()) } else { Answer::Conflict };
        state.lost -= u8::from(fate != Fate::Answered);
        match fate {
            Fate::Answered => answer(self.put(state, put)),
            Fate::Repeated => {
                self.put(state, put);
                answer(self.put(state, put))
            }
            Fate::LostDone => {
                self.put(state, put);
                Answer::Unknown
            }
            Fate::LostUndone => Answer::Unknown,
            Fate::LostFlying => {
                state.flying.push(put.clone());
                Answer::Unknown
            }
        }
    }

    fn project(&self, state: &mut State, actor: usize, plan: &Plan) -> Pc {
        state.actors[actor].published = true;
        let mut projection = Projection::of_writer(actor as u8, plan.number, plan.files.clone());
        projection.hint_read(plan.hint.clone(), self.gone(state, actor));
        Pc::Project(projection, plan.hint.clone(), plan.files.clone())
    }

    fn go(&self, state: &mut State, actor: usize, fate: Fate) -> Pc {
        let put = self.request(state, actor);
        let answer = put.as_ref().map_or(Answer::Done(()), |put| self.send(state, put, fate));
        match state.actors[actor].pc.clone() {
            Pc::Open(earlier) => match self.plan(state, actor, earlier.as_deref()) {
                Some(plan) => self.after_merge(plan),
                None => Pc::Done,
            },
            Pc::ReadFiles(mut plan) => {
                let keys: Vec<u8> = plan.commit.print.keys.iter().copied().filter(|key| !plan.files.contains_key(key)).collect();
                for &key in keys.iter().take(self.at_once) {
                    plan.files.insert(key, state.curated[key as usize]);
                }
                self.after_merge(plan)
            }
            Pc::PutData(plan) if answer == Answer::Unknown => Pc::PutData(plan),
            Pc::PutData(plan) if self.broken == Broken::CommitBeforeData => self.project(state, actor, &plan),
            Pc::PutData(plan) => {
                if self.broken == Broken::InstallBeforeCommit {
                    for &key in &plan.commit.print.keys {
                        state.curated[key as usize] = plan.commit.catalog[key as usize].map(|(_, rows)| rows);
                    }
                }
                Pc::PutCommit(plan)
            }
            Pc::PutCommit(plan) => match after_commit(&answer) {
                AfterCommit::Committed => self.committed(state, actor, plan),
                AfterCommit::ReadBack if self.broken == Broken::NoReadBack => Pc::Open(Some(Box::new(plan))),
                AfterCommit::ReadBack => Pc::ReadBack(plan),
            },
            Pc::ReadBack(plan) => self.read_back(state, actor, plan),
            Pc::Project(projection, hint, seen) => self.project_on(state, actor, (projection, hint, seen), put, answer),
            Pc::Done => Pc::Done,
            Pc::Dead => Pc::Dead,
        }
    }

    fn after_merge(&self, plan: Plan) -> Pc {
        if plan.files.len() < plan.commit.print.keys.len() {
            Pc::ReadFiles(plan)
        } else if self.broken == Broken::CommitBeforeData {
            Pc::PutCommit(plan)
        } else {
            Pc::PutData(plan)
        }
    }

    fn committed(&self, state: &mut State, actor: usize, plan: Plan) -> Pc {
        if self.broken == Broken::CommitBeforeData {
            return Pc::PutData(plan);
        }
        self.project(state, actor, &plan)
    }

    fn read_back(&self, state: &mut State, actor: usize, plan: Plan) -> Pc {
        let found = state.log.get(plan.number as usize - 1);
        match after_read_back(&plan.commit.print.run, found.map(|commit| &commit.print.run)) {
            AfterReadBack::Committed => {
                self.met("own commit read back");
                self.committed(state, actor, plan)
            }
            AfterReadBack::PutAgain => Pc::PutCommit(plan),
            AfterReadBack::MergeAgain => {
                self.met("merged again");
                Pc::Open(Some(Box::new(plan)))
            }
        }
    }

    fn project_on(
        &self,
        state: &mut State,
        actor: usize,
        at: (Projection<u8, u8, Rows>, Latest, Files),
        put: Option<Put>,
        answer: Answer,
    ) -> Pc {
        let (mut projection, mut known, mut seen) = at;
        match put {
            Some(Put::File { key, rows, .. }) => {
                let settled = self.broken == Broken::LostAnswerSettled && answer == Answer::Unknown;
                projection.file_put(key, if settled { Answer::Conflict } else { answer.map(|()| rows) });
                seen.remove(&key);
                if answer == Answer::Done(()) && !self.own(state, actor, key) {
                    self.met("another's file installed");
                }
            }
            Some(Put::Hint { hint, .. }) => {
                if answer == Answer::Done(()) {
                    known = hint.clone();
                }
                // The unnamed helper believes itself named.
                let unnamed = self.broken == Broken::HelpersUnnamed && hint.number == known.number;
                let believed = match projection.next(&self.view(&state.log, actor)) {
                    Step::PutHint(hint) | Step::Settle(hint) if unnamed => hint,
                    _ => hint,
                };
                projection.hint_put(believed, &answer);
            }
            _ => match projection.next(&self.view(&state.log, actor)) {
                Step::ReadHint => {
                    known = state.hint.clone();
                    projection.hint_read(known.clone(), self.gone(state, actor));
                }
                Step::ReadHead => projection.head_read(state.log.len() as u64),
                Step::ReadFiles(keys) => {
                    for key in keys.into_iter().take(self.at_once) {
                        let there = state.curated[key as usize];
                        let cached = if self.broken == Broken::LooksCached { *seen.entry(key).or_insert(there) } else { there };
                        projection.file_read(key, cached);
                    }
                    if let (Broken::HeadBeforeTags, Some(head)) = (self.broken, projection.head()) {
                        projection.head_read(head);
                    }
                }
                _ => return Pc::Done,
            },
        }
        if self.broken != Broken::LooksCached {
            seen.clear();
        }
        Pc::Project(projection, known, seen)
    }

    fn own(&self, state: &State, actor: usize, key: u8) -> bool {
        state.log.iter().any(|commit| commit.print.run == actor as u8 && commit.print.keys.contains(&key))
    }

    /// One more command, with nobody beside it: is `curated/` then the layer of the head?
    fn completed(&self, state: &State) -> bool {
        let mut state = state.clone();
        let me = state.actors.len();
        state.actors.push(Actor { pc: Pc::Project(Projection::of_reader(me as u8), Latest::default(), Files::new()), published: false });
        let mut protocol = Protocol { broken: Broken::Nothing, ..self.clone() };
        protocol.roles.push(Role::Reader);
        for _ in 0..60 {
            state.actors[me].pc = protocol.go(&mut state, me, Fate::Answered);
            if state.actors[me].pc == Pc::Done {
                return in_place(&state);
            }
        }
        false
    }
}

fn ended(state: &State) -> bool {
    state.flying.is_empty() && state.actors.iter().all(|actor| matches!(actor.pc, Pc::Done | Pc::Dead))
}

fn count(state: &State, run: usize) -> usize {
    state.log.iter().filter(|commit| commit.print.run == run as u8).count()
}

/// Every commit is its run, applied to the commit before it: the log is the sequential order.
fn sequential(model: &Protocol, state: &State) -> bool {
    (1..state.log.len()).all(|number| {
        let (before, commit) = (&state.log[..number], &state.log[number]);
        let Some(role) = model.roles.get(commit.print.run as usize) else { return false };
        let old = rows_of(&before[number - 1].catalog);
        role.apply(before).is_some_and(|layer| {
            layer == rows_of(&commit.catalog) && (0..KEYS).all(|key| commit.print.keys.contains(&(key as u8)) || old[key] == layer[key])
        })
    })
}

fn no_publish_lost(_: &Protocol, state: &State) -> bool {
    (0..state.actors.len()).all(|run| count(state, run) <= 1 && (!state.actors[run].published || count(state, run) == 1))
}

fn one_row_per_key(_: &Protocol, state: &State) -> bool {
    state.log.iter().all(|commit| {
        let layer = rows_of(&commit.catalog);
        (0..ORDERS).all(|order| layer.iter().filter(|rows| rows[order] > 0).count() <= 1)
    })
}

fn manifests_whole(_: &Protocol, state: &State) -> bool {
    let entries = state.log.iter().flat_map(|commit| commit.catalog.iter().flatten());
    entries.into_iter().all(|(object, rows)| state.data.get(object) == Some(rows))
}

fn prefix_committed(_: &Protocol, state: &State) -> bool {
    (0..KEYS).all(|key| state.log.iter().any(|commit| wants(&commit.catalog, key as u8, state.curated[key].as_ref())))
}

fn next_command_completes(model: &Protocol, state: &State) -> bool {
    !ended(state) || model.completed(state)
}

/// Where nothing failed, no further command is needed.
fn complete_without_faults(model: &Protocol, state: &State) -> bool {
    !ended(state) || (state.crashes, state.lost) != (model.crashes, model.lost) || in_place(state)
}

fn never_back(model: &Protocol, state: &State) -> bool {
    model.bytes_return || !state.regressed
}

/// Nobody has committed behind a hint without writers.
fn quiet_hint_is_head(_: &Protocol, state: &State) -> bool {
    !state.hint.proves_head() || state.hint.number == state.log.len() as u64
}

fn in_place(state: &State) -> bool {
    let head = &state.log[state.log.len() - 1];
    (0..KEYS).all(|key| wants(&head.catalog, key as u8, state.curated[key].as_ref()))
}

pub const SEQUENTIAL: &str = "the log is a sequential order of its runs";
pub const NOT_LOST: &str = "a run that reports success is in the log once";
pub const ONE_ROW: &str = "an order lies in one partition";
pub const WHOLE: &str = "readers by manifest see whole commits";
pub const COMMITTED: &str = "readers by prefix see committed files";
pub const COMPLETE: &str = "after one more command, curated is the layer of the head";
pub const UNAIDED: &str = "without faults, curated is the layer of the head once all have ended";
pub const NOT_BACK: &str = "no older file replaces a newer one";
pub const PROVEN: &str = "a hint without writers names the newest commit";
pub const ENDS: &str = "every command ends";

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let first = self.first();
        let actor = |role: &Role, run: usize| Actor {
            pc: match role {
                Role::Reader => Pc::Project(Projection::of_reader(run as u8), Latest::default(), Files::new()),
                _ => Pc::Open(None),
            },
            published: false,
        };
        vec![State {
            data: first.catalog.iter().flatten().copied().collect(),
            curated: first.catalog.map(|entry| entry.map(|(_, rows)| rows)),
            log: vec![first],
            hint: Hint { number: 1, unsettled: BTreeMap::new(), writers: self.writers() },
            flying: Vec::new(),
            actors: self.roles.iter().enumerate().map(|(run, role)| actor(role, run)).collect(),
            crashes: self.crashes,
            lost: self.lost,
            regressed: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (actor, is) in state.actors.iter().enumerate() {
            if matches!(is.pc, Pc::Done | Pc::Dead) {
                continue;
            }
            actions.push(Action::Go(actor, Fate::Answered));
            if state.lost > 0 && self.request(state, actor).is_some() {
                let lost = [Fate::LostDone, Fate::LostUndone, Fate::LostFlying, Fate::Repeated];
                actions.extend(lost.map(|fate| Action::Go(actor, fate)));
            }
            if state.crashes > 0 {
                actions.push(Action::Crash(actor));
            }
        }
        actions.extend((0..state.flying.len()).map(Action::Land));
        let old = &state.log[..state.hint.number as usize - 1];
        if self.broken == Broken::VacuumDeletes && old.iter().any(|commit| !commit.vacuumed) {
            actions.push(Action::Vacuum);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Go(actor, fate) => next.actors[actor].pc = self.go(&mut next, actor, fate),
            Action::Crash(actor) => {
                next.actors[actor].pc = Pc::Dead;
                next.crashes -= 1;
            }
            Action::Land(flying) => {
                let put = next.flying.remove(flying);
                if self.put(&mut next, &put) {
                    self.met("late request done");
                }
            }
            Action::Vacuum => {
                let old = next.hint.number as usize - 1;
                next.log[..old].iter_mut().for_each(|commit| commit.vacuumed = true);
            }
        }
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(SEQUENTIAL, sequential),
            Property::always(NOT_LOST, no_publish_lost),
            Property::always(ONE_ROW, one_row_per_key),
            Property::always(WHOLE, manifests_whole),
            Property::always(COMMITTED, prefix_committed),
            Property::always(COMPLETE, next_command_completes),
            Property::always(UNAIDED, complete_without_faults),
            Property::always(NOT_BACK, never_back),
            Property::always(PROVEN, quiet_hint_is_head),
            Property::eventually(ENDS, |_, state| ended(state)),
        ]
    }
}
