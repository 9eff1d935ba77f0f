//! The decisions by which several writers share one store: commits, their projection and the hint of the newest commit.
//!
//! Nothing here does I/O. `store::commit`, `store::hint`, `store::projection` and `run::merge_all` ask for these decisions
//! and carry them out. The model (`tests/model`) explores the same functions. Knows no bytes and no orders: keys, tags and orders
//! are parameters.
//!
//! ```text
//! open ─▶ merge ─▶ put data ─▶ put commit head+1 if absent ─ done ─▶ Projection ─▶ published
//!           ▲                           │ conflict, unknown
//!           │ MergeAgain                ▼
//!           └──────────────── read it back (after_read_back)
//! ```
//! A writer that lost the number merges again on the new head. [`keys_to_merge_again`] says what it may keep: all of
//! it, where the two commits have nothing in common.
//!
//! Seven rules keep the projection right. The model breaks each of them and finds the damage that follows:
//! 1. A tag is read before the head of the log, and an installation puts what that head wants. The other order lets a slow
//!    writer replace a newer file.
//! 2. A file counts as installed only if it was read after the head that wants it, or put by oneself.
//! 3. A file counts as installed only if it was read or put after the hint that is to be replaced.
//! 4. Tags are content, so earlier bytes bring an earlier tag back, and a sleeping writer may still put its old file. The
//!    hint therefore names each writer that may still sleep; later commands look at its keys again.
//! 5. A name leaves the hint if its writer takes it out, or if the writer was gone before its files were read: then it
//!    can put nothing any more. Files that were read before say nothing about what it has put since. A writer that says
//!    itself that it is done puts nothing any more either.
//! 6. A writer stands in the hint before it commits, and leaves when the hint counts its commit as installed. So a hint
//!    without writers proves that nothing was committed behind it ([`Hint::proves_head`]).
//! 7. An installation has a target: the head at its begin. Newer commits do not move it, or it would never end beside
//!    many writers. A key that a newer commit changes is left to that commit: the hint counts up to the target only.

use std::collections::{BTreeMap, BTreeSet};

/// What became of a conditional put. A put that the store has refused is an error, and no answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Answer<T = ()> {
    /// It was done, and this is there now.
    Done(T),
    /// The condition does not hold. A client repeats a request whose answer was lost, so the object may be one's own.
    Conflict,
    /// The answer was lost: the put was done, was not done, or is still to be done.
    Unknown,
}

impl<T> Answer<T> {
    /// The same answer about another form of what is there.
    pub fn map<U>(self, there: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Answer::Done(put) => Answer::Done(there(put)),
            Answer::Conflict => Answer::Conflict,
            Answer::Unknown => Answer::Unknown,
        }
    }
}

/// What a writer does after it has put its commit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AfterCommit {
    /// The run counts.
    Committed,
    /// Read the commit of that number, see [`after_read_back`].
    ReadBack,
}

/// A commit counts only if the store says so, or if it is read back.
pub fn after_commit<T>(answer: &Answer<T>) -> AfterCommit {
    match answer {
        Answer::Done(_) => AfterCommit::Committed,
        Answer::Conflict | Answer::Unknown => AfterCommit::ReadBack,
    }
}

/// What a writer does after it has read back the number that it tried to take.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AfterReadBack {
    /// It is its own commit: an answer was lost.
    Committed,
    /// The number is still free: put the same commit again.
    PutAgain,
    /// It is another's commit: merge again on the head of the log.
    MergeAgain,
}

/// Decides what becomes of a commit whose number may be taken. `found` is the writer of the commit that has the number.
pub fn after_read_back<R: PartialEq>(own: &R, found: Option<&R>) -> AfterReadBack {
    match found {
        None => AfterReadBack::PutAgain,
        Some(found) if found == own => AfterReadBack::Committed,
        Some(_) => AfterReadBack::MergeAgain,
    }
}

/// The orders of a run that lie at more than one key of the layer, and those keys: the versions there decide together.
#[derive(Debug)]
pub struct SharedOrders<'a, O, K> {
    /// The orders.
    pub orders: &'a O,
    /// The keys.
    pub keys: &'a BTreeSet<K>,
}

/// Of the keys that a run touches, those that it must merge again on a new head. What it has merged at the others may
/// stay.
///
/// `changed` are the keys at which the head differs from what the run merged with. The orders that lie at several keys
/// are those that the run found `before`, and those that it finds `now`.
pub fn keys_to_merge_again<O: PartialEq, K: Ord + Clone>(
    touched: &BTreeSet<K>,
    changed: BTreeSet<K>,
    before: &SharedOrders<'_, O, K>,
    now: &SharedOrders<'_, O, K>,
) -> BTreeSet<K> {
    let mut again = changed;
    let moved_otherwise = before.orders != now.orders || before.keys != now.keys;
    if moved_otherwise || !again.is_disjoint(now.keys) {
        again.extend(now.keys.union(before.keys).filter(|key| touched.contains(*key)).cloned());
    }
    again
}

/// What `state/latest` says beside its copy of a commit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Hint<R: Ord, K: Ord> {
    /// Up to which number commits are installed, except for what `unsettled` names.
    pub number: u64,
    /// Whoever may still put an old file, and its keys. Later commands look at those keys again.
    pub unsettled: BTreeMap<R, BTreeSet<K>>,
    /// Whoever may have committed after `number`, or still may.
    pub writers: BTreeSet<R>,
}

impl<R: Ord, K: Ord> Default for Hint<R, K> {
    fn default() -> Self {
        Hint { number: 0, unsettled: BTreeMap::new(), writers: BTreeSet::new() }
    }
}

impl<R: Ord + Clone, K: Ord + Clone> Hint<R, K> {
    /// The keys at which `curated/` may differ from the commit `head`. Usually none.
    pub fn keys_to_verify(&self, head: u64, log: &impl Log<R, K>) -> BTreeSet<K> {
        let newer = self.newer(head, log).flat_map(|footprint| &footprint.keys);
        self.unsettled.values().flatten().chain(newer).cloned().collect()
    }

    /// Whether `number` is the head of the log, so that nobody needs to look behind it.
    pub fn proves_head(&self) -> bool {
        self.writers.is_empty()
    }

    /// The commits after the hint, up to the head.
    fn newer<'a>(&'a self, head: u64, log: &'a impl Log<R, K>) -> impl Iterator<Item = &'a Footprint<R, K>> {
        (self.number + 1..=head).filter_map(move |number| log.footprint(number))
    }

    fn with(&self, who: &R, keys: impl IntoIterator<Item = K>) -> Self {
        let mut next = self.clone();
        next.unsettled.entry(who.clone()).or_default().extend(keys);
        next
    }
}

/// The writer of a commit, and what it puts or removes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Footprint<R, K> {
    /// The run that made the commit.
    pub run: R,
    /// The keys that it puts or removes.
    pub keys: BTreeSet<K>,
}

/// The commits that the caller has read: at least those from the hint to the head.
pub trait Log<R, K> {
    /// What is in `curated/`: its tag, and whatever tells its content.
    type There;

    /// What a commit changes; `None` for one that is no longer kept, because it was installed long ago.
    fn footprint(&self, number: u64) -> Option<&Footprint<R, K>>;

    /// Whether this is what the catalog of that commit wants at a key. Nothing and a header-only file are the same.
    fn wants(&self, number: u64, key: &K, there: Option<&Self::There>) -> bool;
}

/// A file in `curated/`, as it was read or put.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Seen<T> {
    there: Option<T>,
    /// The head that was known before the file was read or put, at least the target; 0 if a newer hint was read since.
    head_before: u64,
    /// The head that was read after the file was.
    head_after: Option<u64>,
}

/// The next step of a projection. Several keys may be done in parallel.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Step<R: Ord, K: Ord, T> {
    /// Read `state/latest`, then [`Projection::hint_read`].
    ReadHint,
    /// Follow the log to its head, then [`Projection::head_read`].
    ReadHead,
    /// Read what is in `curated/`, then [`Projection::file_read`].
    ReadFiles(BTreeSet<K>),
    /// Put what the head wants, if this (or nothing) is still there, then [`Projection::file_put`] for each.
    Install(BTreeMap<K, Option<T>>),
    /// Put this hint if the last one read is still there, then [`Projection::hint_put`].
    PutHint(Hint<R, K>),
    /// The same, and everything up to the target is in place: a writer may put this hint with the end of its lease.
    Settle(Hint<R, K>),
    /// Everything up to the target is in place.
    Done,
}

/// Brings `curated/` to the head that the log has at the begin. A writer does so after its commit; any other command
/// where [`Projection::next`] finds something to do.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Projection<R: Ord, K: Ord, T> {
    me: R,
    own: Option<u64>,
    hint: Option<Hint<R, K>>,
    /// Those that could put nothing any more when the hint was read.
    gone: BTreeSet<R>,
    head: Option<u64>,
    /// Up to which commit everything is to be in place.
    target: Option<u64>,
    seen: BTreeMap<K, Seen<T>>,
    certain: bool,
}

impl<R: Ord + Clone, K: Ord + Clone, T: Clone> Projection<R, K, T> {
    /// The projection by a command that has committed nothing. `me` must be unique, as a run id is.
    pub fn of_reader(me: R) -> Self {
        let seen = BTreeMap::new();
        Projection { me, own: None, hint: None, gone: BTreeSet::new(), head: None, target: None, seen, certain: true }
    }

    /// The projection by the writer of the commit `number`.
    ///
    /// `files` is what it read in `curated/` before it put the commit. The commit itself proves the head, so the usual run
    /// reads no file and no head again. The hint may be the one that it opened the store with: call [`Projection::hint_read`].
    pub fn of_writer(me: R, number: u64, files: BTreeMap<K, Option<T>>) -> Self {
        let unproved = |there| Seen { there, head_before: 0, head_after: Some(number) };
        let seen = files.into_iter().map(|(key, there)| (key, unproved(there))).collect();
        let head = Some(number);
        Projection { me, own: head, hint: None, gone: BTreeSet::new(), head, target: head, seen, certain: true }
    }

    /// What is to be done next.
    pub fn next(&self, log: &impl Log<R, K, There = T>) -> Step<R, K, T> {
        let Some(hint) = &self.hint else { return Step::ReadHint };
        let target = self.target.filter(|&target| target >= hint.number);
        let (Some(head), Some(target)) = (self.head, target) else { return Step::ReadHead };
        let newer = (target + 1..=head).filter_map(|number| log.footprint(number));
        // Whoever verifies the newer commits looks at their keys, and finds what this writer has put there.
        let superseded: BTreeSet<&K> = newer.flat_map(|footprint| &footprint.keys).collect();
        let (mut read, mut put) = (BTreeSet::new(), BTreeMap::new());
        for key in hint.keys_to_verify(target, log).into_iter().filter(|key| !superseded.contains(key)) {
            match self.seen.get(&key) {
                Some(seen) if !log.wants(target, &key, seen.there.as_ref()) => _ = put.insert(key, seen),
                Some(seen) if seen.head_before >= target => {}
                Some(_) | None => _ = read.insert(key),
            }
        }
        if !read.is_empty() {
            return Step::ReadFiles(read);
        }
        if put.values().any(|seen| seen.head_after != Some(head)) {
            return Step::ReadHead;
        }
        let uncovered: Vec<K> = put.keys().filter(|&key| !self.is_named(hint, key, log)).cloned().collect();
        if !uncovered.is_empty() {
            return Step::PutHint(hint.with(&self.me, uncovered));
        }
        if !put.is_empty() {
            return Step::Install(put.into_iter().map(|(key, seen)| (key, seen.there.clone())).collect());
        }
        let settled = self.settled(hint, target, log);
        if settled == *hint { Step::Done } else { Step::Settle(settled) }
    }

    /// Who installs.
    pub fn me(&self) -> &R {
        &self.me
    }

    /// Whether it is known of each put what became of it.
    pub fn is_certain(&self) -> bool {
        self.certain
    }

    /// Notes that a put of this writer may still arrive: the hint keeps its name.
    pub fn doubt(&mut self) {
        self.certain = false;
    }

    /// The newest commit that is known.
    pub fn head(&self) -> Option<u64> {
        self.head
    }

    /// Whether later commands will look at this key again if this one falls asleep now.
    fn is_named(&self, hint: &Hint<R, K>, key: &K, log: &impl Log<R, K>) -> bool {
        let own = self.own.filter(|&own| own > hint.number).and_then(|own| log.footprint(own));
        let by_commit = own.is_some_and(|footprint| footprint.keys.contains(key));
        by_commit || hint.unsettled.get(&self.me).is_some_and(|keys| keys.contains(key))
    }

    /// The hint once everything up to `target` is verified, except for what newer commits change: it leaves those open.
    /// The other writers stay named: only a writer knows that it is awake.
    fn settled(&self, hint: &Hint<R, K>, target: u64, log: &impl Log<R, K>) -> Hint<R, K> {
        let name = |hint: Hint<R, K>, footprint: &Footprint<R, K>| hint.with(&footprint.run, footprint.keys.iter().cloned());
        let mut next = hint.newer(target, log).fold(hint.clone(), name);
        hint.newer(target, log).for_each(|footprint| _ = next.writers.remove(&footprint.run));
        next.number = target;
        next.unsettled.retain(|who, keys| !keys.is_empty() && !self.gone.contains(who));
        if self.certain {
            next.unsettled.remove(&self.me);
        }
        next
    }

    /// Notes the hint that was read, and which writers and helpers are gone: dead, or asleep for so long that nothing of
    /// them can still arrive. What was seen before says nothing about it: whoever put the hint may have put a file since.
    pub fn hint_read(&mut self, hint: Hint<R, K>, gone: BTreeSet<R>) {
        self.hint = Some(hint);
        self.gone = gone;
        self.seen.values_mut().for_each(|seen| seen.head_before = 0);
    }

    /// Notes the head of the log, read just now. It is the target, unless there is one that the hint has not passed.
    pub fn head_read(&mut self, number: u64) {
        self.head = Some(number);
        let counted = self.hint.as_ref().map_or(0, |hint| hint.number);
        self.target = self.target.filter(|&target| target >= counted).or(self.head);
        self.seen.values_mut().for_each(|seen| seen.head_after = Some(number));
    }

    /// Notes what is in `curated/` at a key, read just now.
    pub fn file_read(&mut self, key: K, there: Option<T>) {
        self.seen.insert(key, Seen { there, head_before: self.head.unwrap_or(0), head_after: None });
    }

    /// Notes what became of an installation.
    pub fn file_put(&mut self, key: K, answer: Answer<T>) {
        // A put whose answer was lost may still arrive, so the hint keeps the name of this writer.
        self.certain &= !matches!(answer, Answer::Unknown);
        match answer {
            Answer::Done(put) => {
                let head_before = self.head.unwrap_or(0);
                self.seen.insert(key, Seen { there: Some(put), head_before, head_after: self.head });
            }
            Answer::Conflict | Answer::Unknown => _ = self.seen.remove(&key),
        }
    }

    /// Notes what became of a hint.
    pub fn hint_put<H>(&mut self, hint: Hint<R, K>, answer: &Answer<H>) {
        self.hint = matches!(answer, Answer::Done(_)).then_some(hint);
    }
}
