//! The decisions by which several writers share one store: commits, their projection and the hint of the newest commit.
//!
//! Nothing here does I/O. The model (`tests/model`) explores these decisions. `store::commit` and `store::projection` follow
//! them in code of their own, which the simulation tests; of rule 4, they do not have the hint. Knows no bytes and no
//! orders: keys, tags and order hashes are parameters.
//!
//! ```text
//! open ─▶ merge ─▶ put data ─▶ put commit head+1 if absent ─ done ─▶ Projection ─▶ published
//!           ▲          ▲                │ conflict, unknown
//!           │          │ TakeNext       ▼
//!           └──────────┴─────────── read it back (after_read_back)
//! MergeAgain
//! ```
//! Four rules keep the projection right. The model breaks each of them and finds the stale file that follows:
//! 1. A tag is read before the head of the log, and an installation puts what that head wants. The other order lets a slow
//!    writer replace a newer file.
//! 2. A file counts as installed only if it was read after the head that wants it, or put by oneself.
//! 3. A file counts as installed only if it was read or put after the hint that is to be replaced.
//! 4. Tags are content, so earlier bytes bring an earlier tag back, and a sleeping writer may still put its old file. The
//!    hint therefore names each writer that may still sleep; later commands look at its keys again.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What became of a conditional put.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Answer {
    /// It was done.
    Done,
    /// The condition does not hold. A client repeats a request whose answer was lost, so the object may be one's own.
    Conflict,
    /// The answer was lost: the put was done, was not done, or is still to be done.
    Unknown,
}

/// What a commit depends on and changes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Footprint<R, K, O> {
    /// The run that made the commit.
    pub run: R,
    /// The keys that it puts or removes.
    pub keys: BTreeSet<K>,
    /// The orders that it brings or takes away, also those that lose against a stored version.
    pub orders: BTreeSet<O>,
}

impl<R, K: Ord, O: Ord> Footprint<R, K, O> {
    /// Whether two commits have a key or an order in common, so that the later one must merge again.
    pub fn meets(&self, other: &Self) -> bool {
        !self.keys.is_disjoint(&other.keys) || !self.orders.is_disjoint(&other.orders)
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
pub fn after_commit(answer: Answer) -> AfterCommit {
    match answer {
        Answer::Done => AfterCommit::Committed,
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
    /// Another's commit that shares nothing: take the next number, with the catalog of that commit plus the own changes.
    TakeNext,
    /// Another's commit that shares keys or orders: merge again on the head of the log.
    MergeAgain,
}

/// Decides what becomes of a commit whose number may be taken.
pub fn after_read_back<R: PartialEq, K: Ord, O: Ord>(own: &Footprint<R, K, O>, found: Option<&Footprint<R, K, O>>) -> AfterReadBack {
    match found {
        None => AfterReadBack::PutAgain,
        Some(found) if found.run == own.run => AfterReadBack::Committed,
        Some(found) if own.meets(found) => AfterReadBack::MergeAgain,
        Some(_) => AfterReadBack::TakeNext,
    }
}

/// What `state/latest` says beside its copy of a commit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Hint<R: Ord, K: Ord> {
    /// The number of the copied commit. Its projection is complete, except for what `unsettled` names.
    pub number: u64,
    /// Whoever may still put an old file, and its keys. Later commands look at those keys again.
    pub unsettled: BTreeMap<R, BTreeSet<K>>,
}

impl<R: Ord, K: Ord> Default for Hint<R, K> {
    fn default() -> Self {
        Hint { number: 0, unsettled: BTreeMap::new() }
    }
}

impl<R: Ord + Clone, K: Ord + Clone> Hint<R, K> {
    /// The keys at which `curated/` may differ from the commit `head`. Usually none.
    pub fn keys_to_verify(&self, head: u64, log: &impl Log<R, K>) -> BTreeSet<K> {
        let newer = (self.number + 1..=head).flat_map(|number| log.keys(number));
        self.unsettled.values().flatten().chain(newer).cloned().collect()
    }

    fn with(&self, who: &R, keys: impl IntoIterator<Item = K>) -> Self {
        let mut next = self.clone();
        next.unsettled.entry(who.clone()).or_default().extend(keys);
        next
    }

    /// The hint once everything up to `head` is verified. The other writers stay named: only a writer knows that it is awake.
    fn settled(&self, me: &R, head: u64, certain: bool, log: &impl Log<R, K>) -> Self {
        let mut next =
            (self.number + 1..=head).fold(self.clone(), |hint, number| hint.with(log.run(number), log.keys(number).iter().cloned()));
        next.number = head;
        if certain {
            next.unsettled.remove(me);
        }
        next
    }
}

/// The commits that the caller has read: at least those from the hint to the head.
pub trait Log<R, K> {
    /// What is in `curated/`: its tag, and whatever tells its content.
    type There;

    /// The run of a commit.
    fn run(&self, number: u64) -> &R;

    /// The keys that a commit puts or removes.
    fn keys(&self, number: u64) -> &BTreeSet<K>;

    /// Whether this is what the catalog of that commit wants at a key. Nothing and a header-only file are the same.
    fn wants(&self, number: u64, key: &K, there: Option<&Self::There>) -> bool;
}

/// A file in `curated/`, as it was read or put.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Seen<T> {
    there: Option<T>,
    /// The head that was known before the file was read or put; 0 if a newer hint was read since.
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
    /// Put what the head wants, if this (or nothing) is still there, then [`Projection::file_put`].
    Install(BTreeMap<K, Option<T>>),
    /// Put this hint if the last one read is still there, then [`Projection::hint_put`].
    PutHint(Hint<R, K>),
    /// Everything up to the head is in place.
    Done,
}

/// Brings `curated/` to the head of the log. A writer does so after its commit; any other command where [`Projection::next`]
/// finds something to do.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Projection<R: Ord, K: Ord, T> {
    me: R,
    own: Option<u64>,
    hint: Option<Hint<R, K>>,
    head: Option<u64>,
    seen: BTreeMap<K, Seen<T>>,
    certain: bool,
}

impl<R: Ord + Clone, K: Ord + Clone, T: Clone> Projection<R, K, T> {
    /// The projection by a command that has committed nothing. `me` must be unique, as a run id is.
    pub fn of_reader(me: R) -> Self {
        Projection { me, own: None, hint: None, head: None, seen: BTreeMap::new(), certain: true }
    }

    /// The projection by the writer of the commit `number`.
    ///
    /// `files` is what it read in `curated/` before it put the commit. The commit itself proves the head, so the usual run
    /// reads no file and no head again. The hint may be the one that it opened the store with: call [`Projection::hint_read`].
    pub fn of_writer(me: R, number: u64, files: BTreeMap<K, Option<T>>) -> Self {
        let unproved = |there| Seen { there, head_before: 0, head_after: Some(number) };
        let seen = files.into_iter().map(|(key, there)| (key, unproved(there))).collect();
        Projection { me, own: Some(number), hint: None, head: Some(number), seen, certain: true }
    }

    /// What is to be done next.
    pub fn next(&self, log: &impl Log<R, K, There = T>) -> Step<R, K, T> {
        let Some(hint) = &self.hint else { return Step::ReadHint };
        let Some(head) = self.head.filter(|&head| head >= hint.number) else { return Step::ReadHead };
        let (mut read, mut put) = (BTreeSet::new(), BTreeMap::new());
        for key in hint.keys_to_verify(head, log) {
            match self.seen.get(&key) {
                Some(seen) if !log.wants(head, &key, seen.there.as_ref()) => _ = put.insert(key, seen),
                Some(seen) if seen.head_before >= head => {}
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
        let settled = hint.settled(&self.me, head, self.certain, log);
        if settled == *hint { Step::Done } else { Step::PutHint(settled) }
    }

    /// The newest commit that is known.
    pub fn head(&self) -> Option<u64> {
        self.head
    }

    /// Whether later commands will look at this key again if this one falls asleep now.
    fn is_named(&self, hint: &Hint<R, K>, key: &K, log: &impl Log<R, K>) -> bool {
        let by_commit = self.own.is_some_and(|own| own > hint.number && log.keys(own).contains(key));
        by_commit || hint.unsettled.get(&self.me).is_some_and(|keys| keys.contains(key))
    }

    /// Notes the hint that was read. What was seen before says nothing about it: whoever put it may have put a file since.
    pub fn hint_read(&mut self, hint: Hint<R, K>) {
        self.hint = Some(hint);
        self.seen.values_mut().for_each(|seen| seen.head_before = 0);
    }

    /// Notes the head of the log, read just now.
    pub fn head_read(&mut self, number: u64) {
        self.head = Some(number);
        self.seen.values_mut().for_each(|seen| seen.head_after = Some(number));
    }

    /// Notes what is in `curated/` at a key, read just now.
    pub fn file_read(&mut self, key: K, there: Option<T>) {
        self.seen.insert(key, Seen { there, head_before: self.head.unwrap_or(0), head_after: None });
    }

    /// Notes what became of an installation, and the file that it has put if it was done.
    pub fn file_put(&mut self, key: K, answer: Answer, put: T) {
        match answer {
            Answer::Done => {
                let head_before = self.head.unwrap_or(0);
                self.seen.insert(key, Seen { there: Some(put), head_before, head_after: self.head });
            }
            Answer::Conflict | Answer::Unknown => {
                self.seen.remove(&key);
            }
        }
        // A put whose answer was lost may still arrive, so the hint keeps the name of this writer.
        self.certain &= answer != Answer::Unknown;
    }

    /// Notes what became of a hint.
    pub fn hint_put(&mut self, hint: Hint<R, K>, answer: Answer) {
        self.hint = (answer == Answer::Done).then_some(hint);
    }
}
