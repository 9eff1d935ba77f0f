//! A store that fails, and a scheduler: several actors share one store in memory, and a seed decides everything else.
//!
//! Every request of an actor waits for its turn, and one actor runs at a time, so that a seed always means the same. What may
//! become of a request: refused before it was done; done, and the answer is lost; done, and the client's own repetition is
//! refused; done later than its answer, or twice; a list that is behind; a long sleep; the death of the actor before or after it.
//!
//! Knows no layer, and judges nothing.

use std::{
    any::Any,
    collections::{BTreeMap, VecDeque},
    fmt,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use bytes::Bytes;

use super::{
    Condition, Content, Key, Listed, Names, Object, PutError, Store, StoreError, Tag,
    memory::{MemoryStore, bytes_of},
    output::ONE_BY_ONE,
};

/// A small generator of random numbers: SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66_D1CE_4E5B)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// One of these.
    pub(super) fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }

    /// Whether something happens that happens in so many of 1,000 cases.
    pub(super) fn happens(&mut self, of_1000: u64) -> bool {
        self.below(1000) < of_1000
    }
}

/// How often something goes wrong, in 1,000 requests.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Faults {
    /// Refused: it was not done, and the answer says so.
    pub(super) refused: u64,
    /// Done or not, the answer is lost.
    pub(super) lost: u64,
    /// Done, and the client repeats it: its own condition does not hold any more.
    pub(super) repeated: u64,
    /// The answer is lost, and the put arrives later.
    pub(super) late: u64,
    /// Done, and a copy of the request arrives later.
    pub(super) twice: u64,
    /// A list is as it was before.
    pub(super) stale_list: u64,
    /// The actor dies before the request, or after it.
    pub(super) death: u64,
    /// The actor sleeps while others make up to 200 requests.
    pub(super) sleep: u64,
    /// The same before it reads or puts an object that is watched.
    pub(super) sleep_at_watched: u64,
    /// In a bad spell of an actor, which begins with a fault: so many of its next requests are refused, lost or late.
    pub(super) spell: u64,
    /// The actor that has just run goes on.
    pub(super) goes_on: u64,
}

/// A put of an object that was watched.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// The step at which it was done.
    pub(super) step: u64,
    /// Whose it was.
    pub(super) actor: usize,
    /// When it arrived.
    pub(super) arrival: Arrival,
    /// Whether it was put under a condition.
    pub(super) is_conditional: bool,
    /// The content before it.
    pub(super) before: Option<Bytes>,
    /// The number of the newest commit then.
    pub(super) newest_commit: u64,
}

/// When a put arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrival {
    /// Before its answer.
    InTime,
    /// After the answer was lost.
    Late,
    /// It is a copy of a put that was answered.
    Copy,
}

/// How an actor ended.
#[derive(Debug)]
pub(super) enum End<T> {
    Returned(T),
    /// The scheduler let it die.
    Died,
    /// A defect of the simulation, or of the product.
    Panicked(String),
}

/// What a put that arrives later will do.
#[derive(Clone, Debug)]
struct LatePut {
    due: u64,
    actor: usize,
    key: Key,
    bytes: Bytes,
    condition: Condition,
    arrival: Arrival,
}

#[derive(Clone, Debug, Default)]
struct ActorState {
    is_done: bool,
    is_dead: bool,
    sleeps_until: u64,
    /// How many of its next requests lie in a bad spell.
    spell: u64,
}

#[derive(Debug)]
struct State {
    random: Random,
    step: u64,
    turn: usize,
    actors: Vec<ActorState>,
    late: Vec<LatePut>,
    /// When each object was first put.
    born: BTreeMap<Key, u64>,
    changes: BTreeMap<Key, Vec<Change>>,
    trace: Option<Vec<String>>,
}

/// The store that all actors share, and the scheduler.
#[derive(Debug)]
pub(super) struct World {
    /// What was really done.
    pub(super) store: Arc<MemoryStore>,
    faults: Faults,
    /// The objects whose changes are noted begin so.
    watched: &'static [&'static str],
    state: Mutex<State>,
    turns: Vec<Condvar>,
}

/// The store as one actor has it.
#[derive(Debug)]
pub(super) struct Faulty {
    world: Arc<World>,
    actor: usize,
}

/// What unwinds the thread of an actor that dies.
struct Death;

/// What an actor does.
pub(super) type Actor<'a, T> = Box<dyn FnOnce(Arc<dyn Store>) -> T + Send + 'a>;

impl World {
    /// A world over a store, before anything happens.
    pub(super) fn new(seed: u64, store: Arc<MemoryStore>, faults: Faults, watched: &'static [&'static str], traces: bool) -> World {
        let state = State {
            random: Random::new(seed),
            step: 0,
            turn: usize::MAX,
            actors: Vec::new(),
            late: Vec::new(),
            born: BTreeMap::new(),
            changes: BTreeMap::new(),
            trace: traces.then(Vec::new),
        };
        World { store, faults, watched, state: Mutex::new(state), turns: Vec::new() }
    }

    /// Lets all actors act until each has ended, and every put has arrived.
    pub(super) fn run<T: Send>(mut self, actors: Vec<Actor<'_, T>>) -> (Arc<World>, Vec<End<T>>) {
        self.turns = actors.iter().map(|_| Condvar::new()).collect();
        self.lock().actors = vec![ActorState::default(); actors.len()];
        let world = Arc::new(self);
        world.pass_on(&mut world.lock());
        let ends = thread::scope(|scope| {
            let threads: Vec<_> = actors
                .into_iter()
                .enumerate()
                .map(|(number, actor)| {
                    let faulty = Faulty { world: world.clone(), actor: number };
                    scope.spawn(move || faulty.act(actor))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let mut state = world.lock();
        while let Some(due) = state.late.iter().map(|put| put.due).min() {
            state.step = state.step.max(due);
            world.arrive(&mut state);
        }
        drop(state);
        (world, ends)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happened, request by request.
    pub(super) fn trace(&self) -> Vec<String> {
        self.lock().trace.clone().unwrap_or_default()
    }

    /// The last change of a watched object.
    pub(super) fn last_change(&self, key: &Key) -> Option<Change> {
        self.lock().changes.get(key).and_then(|changes| changes.last().cloned())
    }

    /// The number of requests.
    pub(super) fn requests(&self) -> u64 {
        self.lock().step
    }

    /// Chooses whose turn is next.
    fn pass_on(&self, state: &mut State) {
        let waiting: Vec<usize> = (0..state.actors.len()).filter(|&actor| !state.actors[actor].is_done).collect();
        let Some(earliest) = waiting.iter().map(|&actor| state.actors[actor].sleeps_until).min() else { return };
        state.step = state.step.max(earliest);
        let awake: Vec<usize> = waiting.into_iter().filter(|&actor| state.actors[actor].sleeps_until <= state.step).collect();
        let goes_on = awake.contains(&state.turn) && state.random.happens(self.faults.goes_on);
        if !goes_on {
            state.turn = *state.random.one_of(&awake);
        }
        self.turns[state.turn].notify_one();
    }

    /// Does what is due.
    fn arrive(&self, state: &mut State) {
        let step = state.step;
        let (due, later) = std::mem::take(&mut state.late).into_iter().partition(|put: &LatePut| put.due <= step);
        state.late = later;
        for put in due {
            let done = self.put(state, put.actor, &put.key, &put.bytes, &put.condition, put.arrival);
            self.note(state, || format!("a late put of {} arrives: {} {:?} -> {done:?}", put.actor, put.key, put.condition));
        }
    }

    fn put(
        &self,
        state: &mut State,
        actor: usize,
        key: &Key,
        bytes: &Bytes,
        condition: &Condition,
        arrival: Arrival,
    ) -> Result<Tag, PutError> {
        let is_watched = self.is_watched(key);
        let before = if is_watched { self.store.get(key)?.map(|object| object.bytes) } else { None };
        let tag = self.store.put(key, Content::Bytes(bytes), condition)?;
        let step = state.step;
        state.born.entry(key.clone()).or_insert(step);
        if is_watched && before.as_ref() != Some(bytes) {
            let newest_commit = self.newest_commit();
            state.changes.entry(key.clone()).or_default().push(Change {
                step,
                actor,
                arrival,
                is_conditional: *condition != Condition::Always,
                before,
                newest_commit,
            });
        }
        Ok(tag)
    }

    fn is_watched(&self, key: &Key) -> bool {
        self.watched.iter().any(|prefix| key.as_str().starts_with(prefix))
    }

    fn newest_commit(&self) -> u64 {
        let names = self.store.names(&Key::new(super::places::COMMITS)).unwrap_or_default();
        names.objects.iter().filter_map(|name| super::places::commit_number(name)).max().unwrap_or(0)
    }

    fn note(&self, state: &mut State, text: impl FnOnce() -> String) {
        let step = state.step;
        if let Some(trace) = &mut state.trace {
            trace.push(format!("{step:5} {}", text()));
        }
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Done,
    Refused,
    LostDone,
    LostUndone,
    Repeated,
    Late,
    Twice,
    Stale,
    DeathBefore,
    DeathAfter,
    DeathLate,
}

impl Fate {
    fn of_put(faults: &Faults, random: &mut Random) -> Fate {
        let chances = [
            (faults.death, [Fate::DeathBefore, Fate::DeathAfter, Fate::DeathLate]),
            (faults.refused, [Fate::Refused; 3]),
            (faults.lost, [Fate::LostDone, Fate::LostDone, Fate::LostUndone]),
            (faults.repeated, [Fate::Repeated; 3]),
            (faults.late, [Fate::Late; 3]),
            (faults.twice, [Fate::Twice; 3]),
        ];
        Fate::draw(&chances, random)
    }

    fn of_read(faults: &Faults, random: &mut Random) -> Fate {
        Fate::draw(&[(faults.death, [Fate::DeathBefore; 3]), (faults.refused, [Fate::Refused; 3])], random)
    }

    fn of_list(faults: &Faults, random: &mut Random) -> Fate {
        Fate::draw(
            &[(faults.death, [Fate::DeathBefore; 3]), (faults.refused, [Fate::Refused; 3]), (faults.stale_list, [Fate::Stale; 3])],
            random,
        )
    }

    fn draw(chances: &[(u64, [Fate; 3])], random: &mut Random) -> Fate {
        for (of_1000, fates) in chances {
            if random.happens(*of_1000) {
                return *random.one_of(fates);
            }
        }
        Fate::Done
    }
}

impl Faulty {
    /// Acts until its end, from its first turn on.
    fn act<T>(self, actor: Actor<'_, T>) -> End<T> {
        ONE_BY_ONE.set(true);
        let (world, number) = (self.world.clone(), self.actor);
        drop(self.wait(world.lock()));
        let end = catch_unwind(AssertUnwindSafe(|| actor(Arc::new(self))));
        let mut state = world.lock();
        state.actors[number].is_done = true;
        world.note(&mut state, || format!("{number} has ended"));
        world.pass_on(&mut state);
        drop(state);
        match end {
            Ok(returned) => End::Returned(returned),
            Err(payload) if payload.is::<Death>() => End::Died,
            Err(payload) => End::Panicked(text_of(&*payload)),
        }
    }

    fn wait<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        while state.turn != self.actor {
            state = self.world.turns[self.actor].wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// Waits for the turn of the next request. `None` if the actor is dead: what its destructors ask for is not done.
    fn next_turn(&self, sleep: u64) -> Option<MutexGuard<'_, State>> {
        let mut state = self.world.lock();
        if state.actors[self.actor].is_dead {
            return None;
        }
        if state.random.happens(sleep) {
            let until = state.step + 5 + state.random.below(195);
            state.actors[self.actor].sleeps_until = until;
            self.world.note(&mut state, || format!("{} sleeps until {until}", self.actor));
        }
        self.world.pass_on(&mut state);
        let mut state = self.wait(state);
        state.step += 1;
        self.world.arrive(&mut state);
        Some(state)
    }

    /// How often the actor sleeps before a request for this object.
    fn sleep_at(&self, key: &Key) -> u64 {
        let faults = &self.world.faults;
        if self.world.is_watched(key) { faults.sleep.max(faults.sleep_at_watched) } else { faults.sleep }
    }

    /// What goes wrong with the next request.
    fn faults(&self, state: &mut State) -> Faults {
        let (faults, actor) = (self.world.faults, &mut state.actors[self.actor]);
        if actor.spell == 0 {
            return faults;
        }
        actor.spell -= 1;
        Faults { refused: faults.spell, lost: faults.spell, late: faults.spell, ..faults }
    }

    /// Notes that a request met a fault.
    fn trouble(&self, state: &mut State) {
        let spell = 1 + state.random.below(6);
        let actor = &mut state.actors[self.actor];
        if self.world.faults.spell > 0 && actor.spell == 0 {
            actor.spell = spell;
        }
    }

    fn die(&self, mut state: MutexGuard<'_, State>, what: &str) -> ! {
        state.actors[self.actor].is_dead = true;
        self.world.note(&mut state, || format!("{} dies: {what}", self.actor));
        drop(state);
        resume_unwind(Box::new(Death))
    }

    fn refused(&self, action: &'static str, key: &Key) -> StoreError {
        StoreError::Bucket { action, location: format!("{}/{key}", self.location()), detail: "a fault of the simulation".to_owned() }
    }

    /// A request that reads.
    fn read<T>(
        &self,
        action: &'static str,
        key: &Key,
        fate: fn(&Faults, &mut Random) -> Fate,
        read: impl FnOnce(&State, Fate) -> Result<T, StoreError>,
        text: impl FnOnce(&T) -> String,
    ) -> Result<T, StoreError> {
        let Some(mut state) = self.next_turn(self.sleep_at(key)) else { return Err(self.refused(action, key)) };
        let faults = self.faults(&mut state);
        let fate = fate(&faults, &mut state.random);
        match fate {
            Fate::DeathBefore => self.die(state, &format!("{action} {key}")),
            Fate::Refused => {
                self.trouble(&mut state);
                self.world.note(&mut state, || format!("{} {action} {key} is refused", self.actor));
                return Err(self.refused(action, key));
            }
            _ => {}
        }
        let read = read(&state, fate)?;
        self.world.note(&mut state, || format!("{} {action} {key} -> {}", self.actor, text(&read)));
        Ok(read)
    }
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic").to_owned()
}

impl Store for Faulty {
    fn location(&self) -> String {
        self.world.store.location()
    }

    fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        let read = |_: &State, _| self.world.store.get(key);
        self.read("read", key, Fate::of_read, read, |object| object.as_ref().map_or("nothing".into(), |object| object.tag.0.clone()))
    }

    fn ranges(&self, key: &Key, ranges: &[Range<u64>]) -> Result<Option<Vec<Bytes>>, StoreError> {
        self.read("read", key, Fate::of_read, |_, _| self.world.store.ranges(key, ranges), |_| "ranges".into())
    }

    fn list(&self, prefix: &Key) -> Result<Vec<Listed>, StoreError> {
        let read = |state: &State, fate| {
            let mut listed = self.world.store.list(prefix)?;
            listed.retain(|listed| fate != Fate::Stale || is_old(state, &listed.key));
            Ok(listed)
        };
        self.read("list", prefix, Fate::of_list, read, |listed| format!("{} objects", listed.len()))
    }

    fn names(&self, prefix: &Key) -> Result<Names, StoreError> {
        let read = |state: &State, fate| {
            let mut names = self.world.store.names(prefix)?;
            names.objects.retain(|name| fate != Fate::Stale || is_old(state, &prefix.join(name)));
            Ok(names)
        };
        self.read("list", prefix, Fate::of_list, read, |names| format!("{:?}", names.objects))
    }

    fn put(&self, key: &Key, content: Content<'_>, condition: &Condition) -> Result<Tag, PutError> {
        let bytes = bytes_of(content)?;
        let (world, actor) = (&self.world, self.actor);
        let Some(mut state) = self.next_turn(self.sleep_at(key)) else { return Err(self.refused("put", key).into()) };
        let mut faults = self.faults(&mut state);
        if world.is_watched(key) {
            faults.death *= 4;
        }
        let mut fate = Fate::of_put(&faults, &mut state.random);
        if fate == Fate::Repeated && *condition == Condition::Always {
            fate = Fate::Twice;
        }
        let step = state.step;
        if matches!(fate, Fate::Late | Fate::Twice | Fate::DeathLate) {
            let due = step + 1 + state.random.below(150);
            let arrival = if fate == Fate::Twice { Arrival::Copy } else { Arrival::Late };
            state.late.push(LatePut { due, actor, key: key.clone(), bytes: bytes.clone(), condition: condition.clone(), arrival });
        }
        let is_done = matches!(fate, Fate::Done | Fate::LostDone | Fate::Repeated | Fate::Twice | Fate::DeathAfter);
        let done = is_done.then(|| world.put(&mut state, actor, key, &bytes, condition, Arrival::InTime));
        world.note(&mut state, || format!("{actor} put {key} {condition:?}: {fate:?} -> {done:?}"));
        if matches!(fate, Fate::DeathBefore | Fate::DeathAfter | Fate::DeathLate) {
            self.die(state, "at this put");
        }
        if matches!(fate, Fate::Refused | Fate::LostDone | Fate::LostUndone | Fate::Late) {
            self.trouble(&mut state);
        }
        match (fate, done) {
            (Fate::LostDone | Fate::LostUndone | Fate::Late, _) => Err(PutError::Unknown(self.refused("put", key))),
            (Fate::Repeated, Some(_)) => Err(PutError::Conflict),
            (_, Some(done)) => done,
            (_, None) => Err(self.refused("put", key).into()),
        }
    }

    fn delete(&self, key: &Key, condition: &Condition) -> Result<(), PutError> {
        let delete = |_: &State, _| Ok(self.world.store.delete(key, condition));
        self.read("delete", key, Fate::of_read, delete, |_| "done".into())?
    }
}

/// Whether a list that is behind shows an object.
fn is_old(state: &State, key: &Key) -> bool {
    const BEHIND: u64 = 30;
    state.born.get(key).is_none_or(|&born| born + BEHIND < state.step)
}

/// What happens at a put, before it is done.
type Scene = Box<dyn FnOnce() -> Option<PutError> + Send>;

/// A store at whose puts something happens, as a test says: whatever others do meanwhile, and perhaps the answer.
pub(super) struct Scripted {
    store: Arc<MemoryStore>,
    /// Each with what the key begins with. Only the first waits for its put.
    scenes: Mutex<VecDeque<(&'static str, Scene)>>,
}

impl Scripted {
    pub(super) fn new(store: &Arc<MemoryStore>) -> Scripted {
        Scripted { store: store.clone(), scenes: Mutex::default() }
    }

    /// Adds what happens at the next put of such a key. `None`: then the put is done; else this is its answer.
    pub(super) fn at(self, prefix: &'static str, scene: impl FnOnce() -> Option<PutError> + Send + 'static) -> Scripted {
        self.scenes.lock().unwrap().push_back((prefix, Box::new(scene)));
        self
    }

    fn next_scene(&self, key: &Key) -> Option<Scene> {
        let mut scenes = self.scenes.lock().unwrap();
        let is_now = scenes.front().is_some_and(|(prefix, _)| key.as_str().starts_with(prefix));
        if is_now { scenes.pop_front().map(|(_, scene)| scene) } else { None }
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted").finish_non_exhaustive()
    }
}

impl Store for Scripted {
    fn location(&self) -> String {
        self.store.location()
    }

    fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.store.get(key)
    }

    fn ranges(&self, key: &Key, ranges: &[Range<u64>]) -> Result<Option<Vec<Bytes>>, StoreError> {
        self.store.ranges(key, ranges)
    }

    fn list(&self, prefix: &Key) -> Result<Vec<Listed>, StoreError> {
        self.store.list(prefix)
    }

    fn names(&self, prefix: &Key) -> Result<Names, StoreError> {
        self.store.names(prefix)
    }

    fn put(&self, key: &Key, content: Content<'_>, condition: &Condition) -> Result<Tag, PutError> {
        match self.next_scene(key).and_then(|scene| scene()) {
            Some(answer) => Err(answer),
            None => self.store.put(key, content, condition),
        }
    }

    fn delete(&self, key: &Key, condition: &Condition) -> Result<(), PutError> {
        self.store.delete(key, condition)
    }
}
