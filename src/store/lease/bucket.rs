//! Leases in a bucket: they stand in the hint, which is replaced only in the version that was read.
//!
//! A lease is renewed by a thread. Whoever waits takes it over when it has not changed for its life on the waiter's own
//! clock. So no clocks of two machines are compared, with one exception: whoever takes a lease withdraws those that say
//! themselves that they are hours old. Its end also says what the run has installed: one put for both. What that is, is
//! decided in [`protocol`](crate::store::protocol).

use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{AlertsNote, Attempt, HeldLease, Holder, Lease, LeaseKind, ListedLease};
use crate::{
    model::{RunPace, UtcMicros, span_text},
    store::{
        Commit, Output, StoreError,
        commit::Installer,
        hint::{Change, Hint, TakenUp},
        moment::Moment,
        process,
        projection::{self, LeftCommit, OwnFiles, Settlement},
    },
};

/// How long a lease in a bucket lives without being renewed.
const LIFE: Duration = Duration::from_secs(60);

/// What only a lease in a bucket keeps: notes for the end of the lease, and what was known when it was taken.
impl Lease {
    /// What the file of the open alerts says, if that was known when the lease was taken, and no other run was at work.
    pub fn known_alerts(&self) -> Option<&str> {
        let LeaseKind::Bucket(lease) = &self.kind else { return None };
        lease.alerts.as_deref()
    }

    /// Notes what the file of the open alerts says now.
    pub fn note_alerts(&self, note: AlertsNote) {
        self.publish(|publishing| publishing.alerts = note);
    }

    /// How long the latest runs of a kind took, as it was known when the lease was taken; `None` in a folder, where their reports tell
    /// it for nothing.
    pub fn paces(&self, of_kind: &str) -> Option<&[RunPace]> {
        let LeaseKind::Bucket(lease) = &self.kind else { return None };
        Some(lease.paces.get(of_kind).map_or(&[], Vec::as_slice))
    }

    /// Notes how long this run took, for later runs of its kind.
    pub fn note_pace(&self, of_kind: &str, pace: RunPace) {
        self.publish(|publishing| publishing.pace = Some(KindPace { kind: of_kind.to_owned(), pace }));
    }

    /// Notes that the run is about to put this record, and sees to it that the run stands in the hint then. Returns the
    /// hint as this process knows it. What an earlier commit under this lease has installed is told first.
    ///
    /// # Errors
    /// I/O errors. The record must not be put then: nobody would look for it.
    pub(in crate::store) fn begin_commit(&self, record: &Commit) -> Result<Option<Hint>, StoreError> {
        let LeaseKind::Bucket(lease) = &self.kind else { return Ok(None) };
        lease.settle()?;
        let known = lease.stand_in_hint()?;
        lease.publishing().begun = Some(BegunCommit::of(record));
        Ok(known)
    }

    /// Notes that it did not put it, and never will.
    pub(in crate::store) fn abandon_commit(&self) {
        self.publish(|publishing| publishing.begun = None);
    }

    /// Notes what became of the files of its commit. The end of the lease tells it to others.
    pub(in crate::store) fn note_installed(&self, files: OwnFiles) {
        self.publish(|publishing| match files {
            OwnFiles::Told => publishing.begun = None,
            OwnFiles::ToTell(settlement) => (publishing.begun, publishing.settlement) = (None, Some(*settlement)),
            OwnFiles::LeftToOthers(left) => publishing.begun.iter_mut().for_each(|begun| begun.left = Some(left.clone())),
        });
    }

    fn publish(&self, change: impl FnOnce(&mut Publishing)) {
        if let LeaseKind::Bucket(lease) = &self.kind {
            change(&mut lease.publishing());
        }
    }
}

impl AlertsNote {
    /// What the hint says of the file afterwards. Another run may have written it too, unless this one was alone.
    fn write_to(&self, company: Company, known: &mut Option<String>) {
        match (self, company) {
            (AlertsNote::Read(text) | AlertsNote::Written(text), Company::Alone) => *known = Some(text.clone()),
            (AlertsNote::Written(_), Company::Others) | (AlertsNote::Unknown, _) => *known = None,
            (AlertsNote::Read(_), Company::Others) | (AlertsNote::Untouched, _) => {}
        }
    }
}

/// Whether other runs had leases while a run had its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Company {
    Alone,
    Others,
}

/// What a waiter has seen of the leases that it waits for, each since when.
#[derive(Default)]
pub(super) struct Watch {
    seen: Vec<(ListedLease, Instant)>,
}

impl Watch {
    /// Notes the leases that are in the way now. One that was renewed is another one.
    fn look(&mut self, in_the_way: &[ListedLease]) {
        let in_the_way: Vec<ListedLease> = in_the_way.iter().map(ListedLease::of_holder).collect();
        self.seen.retain(|(seen, _)| in_the_way.contains(seen));
        for lease in in_the_way {
            if !self.seen.iter().any(|(seen, _)| *seen == lease) {
                self.seen.push((lease, Instant::now()));
            }
        }
    }

    /// Whether a lease has not changed for its life.
    fn has_expired(&self, lease: &ListedLease) -> bool {
        let lease = lease.of_holder();
        self.seen.iter().any(|(seen, since)| *seen == lease && since.elapsed() >= LIFE)
    }
}

/// The lease of a run in a bucket. A thread renews it.
#[derive(Debug)]
pub(super) struct BucketLease {
    output: Output,
    /// As it was taken.
    own: ListedLease,
    signal: Arc<RenewerSignal>,
    renewer: Option<thread::JoinHandle<()>>,
    /// Apart from what the renewer has: a renewal may take long.
    publishing: Mutex<Publishing>,
    /// What the open alerts were when the lease was taken, if that was known.
    alerts: Option<String>,
    /// How long the runs before took, by their kind.
    paces: BTreeMap<String, Vec<RunPace>>,
}

/// What the thread that renews a lease shares with its owner.
#[derive(Debug)]
struct RenewerSignal {
    state: Mutex<RenewerState>,
    changed: Condvar,
}

#[derive(Debug)]
struct RenewerState {
    is_stopped: bool,
    /// The hint as this process last wrote it.
    known: Option<Hint>,
    company: Company,
    /// When the lease was certainly listed last.
    listed: Moment,
}

impl RenewerState {
    /// Renews the lease. If it was withdrawn, it is listed again: a run stands in the hint before it commits.
    fn renew(&mut self, output: &Output, own: &ListedLease) -> Result<(), StoreError> {
        let mut was_withdrawn = false;
        self.change_hint(output, |hint| {
            let listed = hint.notes.leases.iter_mut().find(|lease| lease.is_of(own));
            was_withdrawn = listed.is_none();
            match listed {
                Some(lease) => lease.renew(),
                None => {
                    let mut again = own.clone();
                    again.renew();
                    hint.notes.list_again(again);
                }
            }
            Change::Write
        })?;
        if was_withdrawn {
            // Whoever has withdrawn it may have been at work since.
            self.company = Company::Others;
            let run_id = own.run_id();
            tracing::warn!(run_id, "another command withdrew the lease of this run, which was not renewed for long; it is listed again");
        }
        self.listed = Moment::now();
        Ok(())
    }

    /// Changes the hint that this process knows. If another writer comes between, the run is no longer alone.
    fn change_hint(&mut self, output: &Output, mut change: impl FnMut(&mut Hint) -> Change) -> Result<(), StoreError> {
        let mut tries = 0;
        let changed = Hint::change(output, self.known.take(), |hint| {
            tries += 1;
            change(hint)
        });
        if tries != 1 || changed.is_err() {
            self.company = Company::Others;
        }
        self.known = Some(changed?);
        Ok(())
    }
}

/// What the holder of a lease has done to the log, and not told yet.
#[derive(Default, Debug)]
struct Publishing {
    /// A record that may be decided, and whose files may not be installed.
    begun: Option<BegunCommit>,
    /// What it has installed.
    settlement: Option<Settlement>,
    alerts: AlertsNote,
    pace: Option<KindPace>,
}

/// How long a run of a kind took.
#[derive(Debug)]
struct KindPace {
    kind: String,
    pace: RunPace,
}

/// A commit that a run has put, or may have put.
#[derive(Debug)]
struct BegunCommit {
    by: Installer,
    number: u64,
    /// The commit, if its files are in place, and the look at them is left to other runs.
    left: Option<Box<LeftCommit>>,
}

impl BegunCommit {
    fn of(record: &Commit) -> BegunCommit {
        BegunCommit { by: record.installer(), number: record.number, left: None }
    }

    /// Names the writer in a hint that does not know its commit: whoever comes next looks for it.
    fn write_to(&self, hint: &mut Hint) {
        if let Some(left) = &self.left {
            hint.leave_to_others(&left.record, left.copies.as_ref());
        } else if self.number > hint.installed() {
            hint.notes.name_writer(self.by.clone());
        }
    }
}

/// How a lease ends for what its run has installed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    /// The hint says all of it, or there is nothing to say.
    Told,
    /// Another writer has come between, and other runs are at work: the last of them looks at all files.
    LeftToOthers,
    /// Another writer has come between: the run looks at its files again.
    Overtaken,
}

/// Writes into a hint what was installed. Where another writer has come between, it names the writer of the commit.
fn write_settlement(settlement: &Settlement, run_id: &str, hint: &mut Hint) -> Ending {
    if settlement.write_to(hint) == TakenUp::Yes {
        return Ending::Told;
    }
    let left = settlement.to_leave().filter(|_| hint.notes.has_others(Some(run_id), UtcMicros::now()));
    let ending = if left.is_some() { Ending::LeftToOthers } else { Ending::Overtaken };
    BegunCommit { left: left.map(Box::new), ..BegunCommit::of(settlement.record()) }.write_to(hint);
    ending
}

impl RenewerSignal {
    fn lock(&self) -> std::sync::MutexGuard<'_, RenewerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a lease in a bucket, unless a run holds days in common that has not expired.
pub(super) fn try_take(output: &Output, holder: &Holder, watch: &mut Watch, known: Option<Hint>) -> Result<Attempt, StoreError> {
    let own = ListedLease::taken(holder.clone());
    let now = UtcMicros::now();
    let (mut held, mut given_up, mut company) = (None, Vec::new(), Company::Others);
    let known = Hint::change(output, known, |hint| {
        let notes = &mut hint.notes;
        // Also those of other days: they would stand there for ever.
        notes.withdraw(now, |lease| process::is_dead(&lease.process));
        given_up = notes.withdraw(now, |lease| lease.is_given_up(now));
        let mut has_news = false;
        for lease in &mut notes.leases {
            has_news |= lease.note_doubt(now);
        }
        let is_in_the_way = |other: &&ListedLease| other.holder.run_id != holder.run_id && other.holder.scope.overlaps(&holder.scope);
        let in_the_way: Vec<ListedLease> = notes.leases.iter().filter(is_in_the_way).cloned().collect();
        watch.look(&in_the_way);
        // One expired lease does not mean that the others have expired.
        if let Some(living) = in_the_way.iter().find(|other| !watch.has_expired(other)) {
            held = Some(living.holder.clone());
            // Else nobody would ever know since when its renewal is not known.
            return if has_news { Change::Write } else { Change::None };
        }
        notes.withdraw(now, |lease| in_the_way.contains(lease));
        held = None;
        notes.forget_old(now);
        notes.leases.retain(|lease| lease.holder.run_id != holder.run_id);
        company = if notes.are_quiet() { Company::Alone } else { Company::Others };
        notes.leases.push(own.clone());
        Change::Write
    })?;
    if let Some(other) = held {
        return Ok(Attempt::Held(other));
    }
    given_up.iter().for_each(warn_given_up);
    Ok(Attempt::Had(LeaseKind::Bucket(Box::new(BucketLease::keep(output.clone(), own, known, company)))))
}

/// The leases that the hint lists and that are held, as far as that can be known at once.
pub(super) fn listed(output: &Output) -> Result<Vec<HeldLease>, StoreError> {
    let (leases, now) = (Hint::read(output)?.notes.leases, UtcMicros::now());
    let held = |lease: ListedLease| HeldLease { silent_for: lease.silent_for(now), holder: lease.holder };
    Ok(leases.into_iter().filter(|lease| !lease.is_dead(now)).map(held).collect())
}

/// Says whose lease was withdrawn because nobody renews it.
fn warn_given_up(ListedLease { holder, renewed_at, .. }: &ListedLease) {
    let Holder { run_id, pid, host, since, .. } = holder;
    let renewed_at = renewed_at.as_deref().unwrap_or("unknown");
    let life = span_text(Installer::GONE_AFTER);
    tracing::warn!(
        %run_id, pid, %host, %since, renewed_at,
        "the lease of this run was not renewed for more than {life}: it is withdrawn. The run is dead, or its machine sleeps"
    );
}

impl BucketLease {
    fn keep(output: Output, own: ListedLease, known: Hint, company: Company) -> BucketLease {
        let alerts = known.notes.alerts.clone().filter(|_| company == Company::Alone);
        let paces = known.notes.paces.clone();
        let state = Mutex::new(RenewerState { is_stopped: false, known: Some(known), company, listed: Moment::now() });
        let signal = Arc::new(RenewerSignal { state, changed: Condvar::new() });
        let renewer = thread::Builder::new().name("lease".into()).spawn({
            let (output, own, signal) = (output.clone(), own.clone(), Arc::clone(&signal));
            move || renew(&output, &own, &signal)
        });
        BucketLease { output, own, signal, renewer: renewer.ok(), publishing: Mutex::default(), alerts, paces }
    }

    /// Sees to it that the run stands in the hint, and returns the hint as it is known. It is looked at only if the
    /// lease may have been withdrawn meanwhile: this process slept, or could not renew it.
    fn stand_in_hint(&self) -> Result<Option<Hint>, StoreError> {
        let mut state = self.signal.lock();
        if state.listed.elapsed() >= LIFE {
            state.known = None;
            state.company = Company::Others;
            state.renew(&self.output, &self.own)?;
        }
        Ok(state.known.clone())
    }

    fn publishing(&self) -> std::sync::MutexGuard<'_, Publishing> {
        self.publishing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells that the files of an earlier commit under this lease are in place. Where that fails, the end of the lease tells it.
    fn tell_what_is_left(&self) -> Result<(), StoreError> {
        let Some(begun) = self.publishing().begun.take_if(|begun| begun.left.is_some()) else { return Ok(()) };
        let told = self.signal.lock().change_hint(&self.output, |hint| {
            begun.write_to(hint);
            Change::Write
        });
        if told.is_err() {
            self.publishing().begun = Some(begun);
        }
        told
    }

    /// Tells what the run has installed so far, and keeps the lease.
    fn settle(&self) -> Result<(), StoreError> {
        self.tell_what_is_left()?;
        let Some(settlement) = self.publishing().settlement.take() else { return Ok(()) };
        let mut taken_up = TakenUp::Overtaken;
        let told = self.signal.lock().change_hint(&self.output, |hint| {
            taken_up = settlement.write_to(hint);
            if taken_up == TakenUp::Yes { Change::Write } else { Change::None }
        });
        if let Err(error) = told {
            tracing::debug!(%error, "what the run has installed could not be told yet");
            taken_up = TakenUp::Overtaken;
        }
        if taken_up == TakenUp::Overtaken {
            settlement.go_on();
            self.signal.lock().known = None;
        }
        Ok(())
    }

    /// Gives the lease back, and tells what the run has installed.
    pub(super) fn release(&mut self) {
        self.signal.lock().is_stopped = true;
        self.signal.changed.notify_all();
        if let Some(renewer) = self.renewer.take() {
            let _ = renewer.join();
        }
        let (known, mut company) = {
            let mut state = self.signal.lock();
            (state.known.take(), state.company)
        };
        let Publishing { begun, settlement, alerts, pace } = std::mem::take(&mut *self.publishing());
        let mut ending = Ending::Told;
        let released = Hint::change(&self.output, known, |hint| {
            hint.notes.leases.retain(|lease| !lease.is_of(&self.own));
            ending = settlement.as_ref().map_or(Ending::Told, |settlement| write_settlement(settlement, self.own.run_id(), hint));
            begun.iter().for_each(|begun| begun.write_to(hint));
            alerts.write_to(company, &mut hint.notes.alerts);
            pace.iter().for_each(|KindPace { kind, pace }| hint.notes.note_pace(kind, *pace));
            // If another writer comes between, this is done again.
            company = Company::Others;
            Change::Write
        });
        let hint = match released {
            Ok(hint) => hint,
            Err(error) => {
                tracing::warn!(
                    %error,
                    "the lease of the run could not be given back; it ends with this process on this machine, elsewhere after {} for who \
                     waits with --lock-wait, and after {} for others",
                    span_text(LIFE),
                    span_text(Installer::GONE_AFTER)
                );
                return;
            }
        };
        // Another writer may have been at work while this one slept: what its commits want comes last.
        settlement.filter(|_| ending == Ending::Overtaken).into_iter().for_each(Settlement::go_on);
        // Who is the last at work looks at the files of all that have left it to others.
        if hint.is_left_alone(self.own.run_id(), UtcMicros::now()) {
            projection::complete_what_was_left(&self.output);
        }
    }
}

/// Renews a lease at a third of its life, until it is released.
fn renew(output: &Output, own: &ListedLease, signal: &RenewerSignal) {
    let mut state = signal.lock();
    loop {
        // The lease may be released before this thread has begun to wait: then nobody wakes it up.
        let waited = signal.changed.wait_timeout_while(state, LIFE / 3, |state| !state.is_stopped);
        (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.is_stopped {
            return;
        }
        if let Err(error) = state.renew(output, own) {
            tracing::debug!(%error, "the lease could not be renewed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::parse_time_text,
        store::{
            LockError,
            counting::CountingStore,
            faulty::Scripted,
            lease::{
                listed::micros_between,
                tests::{acquire, holder, listed},
            },
            memory::MemoryStore,
            places,
            scratch::Scratch,
        },
    };

    #[test]
    fn a_lease_that_is_released_before_its_renewer_waits_is_released_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::with_copies(Arc::new(MemoryStore::default()), Scratch::create_in(dir.path()).unwrap());
        let state = Mutex::new(RenewerState { is_stopped: true, known: None, company: Company::Others, listed: Moment::now() });
        let began = Instant::now();
        renew(&output, &listed("one", None, None), &RenewerSignal { state, changed: Condvar::new() });
        assert!(began.elapsed() < LIFE / 6, "{:?}", began.elapsed());
    }

    fn renewed_ago(lease: ListedLease, ago: Duration) -> ListedLease {
        let renewed_at = UtcMicros::now().minus(i64::try_from(ago.as_micros()).unwrap());
        ListedLease { renewed_at: Some(renewed_at.rfc3339()), ..lease }
    }

    /// A bucket whose hint lists these leases.
    fn bucket_with(store: &Arc<MemoryStore>, leases: Vec<ListedLease>) -> Output {
        let output = Output::with_copies(store.clone(), Scratch::create().unwrap());
        let mut hint = Hint::default();
        hint.notes.leases = leases;
        hint.put(&output).unwrap();
        output
    }

    fn leases_in(output: &Output) -> Vec<String> {
        Hint::read(output).unwrap().notes.leases.iter().map(|lease| lease.run_id().to_owned()).collect()
    }

    fn named_in(output: &Output) -> Vec<String> {
        Hint::read(output).unwrap().notes.unsettled.into_iter().map(|unsettled| unsettled.by.name).collect()
    }

    #[test]
    fn a_lease_that_says_itself_that_it_is_old_is_withdrawn_at_once_whatever_its_days() {
        let (hour, minute) = (Duration::from_secs(3600), Duration::from_secs(60));
        let old = |run_id, from, until| renewed_ago(listed(run_id, from, until), Installer::GONE_AFTER + minute);
        let other_days = renewed_ago(listed("living", Some("2026-03-01"), Some("2026-03-02")), hour);
        let leases = vec![old("dead", None, Some("2026-02-01")), old("dead elsewhere", Some("2026-04-01"), None), other_days];
        let output = bucket_with(&Arc::default(), leases);
        let listed = Lease::listed(&output).unwrap();
        assert_eq!(listed.len(), 1, "status names no dead run");
        assert!(listed[0].silent_for.is_some_and(|silent| silent >= hour), "nor one at work that is silent: {listed:?}");
        assert_eq!(Lease::at_work(&output).unwrap(), None);
        let lease = acquire(&output, &holder("two", Some("2026-01-01"), Some("2026-01-02")), Duration::ZERO).unwrap();
        assert_eq!(leases_in(&output), ["living", "two"]);
        assert_eq!(named_in(&output), ["dead", "dead elsewhere"], "each may still commit");
        drop(lease);
        assert_eq!(leases_in(&output), ["living"]);
    }

    #[test]
    fn a_lease_that_may_only_seem_old_or_does_not_say_its_age_is_watched() {
        let minute = Duration::from_secs(60);
        let young = renewed_ago(listed("one", None, None), Installer::GONE_AFTER - minute);
        // Its clock is ahead.
        let future = ListedLease { renewed_at: Some("2199-01-01T00:00:00Z".into()), ..listed("one", None, None) };
        let unreadable = ListedLease { renewed_at: Some("soon".into()), ..listed("one", None, None) };
        for lease in [young, future, unreadable, listed("one", None, None)] {
            let output = bucket_with(&Arc::default(), vec![lease]);
            let held = acquire(&output, &holder("two", None, None), Duration::ZERO);
            assert!(matches!(held, Err(LockError::Held { holder: Some(holder), .. }) if holder.run_id == "one"));
            assert_eq!(leases_in(&output), ["one"]);
        }
    }

    #[test]
    fn where_nobody_knows_when_a_lease_was_renewed_the_time_since_that_was_found_counts() {
        let says = |renewed_at: &str| ListedLease { renewed_at: Some(renewed_at.to_owned()), ..listed("one", None, None) };
        for lease in [says("2199-01-01T00:00:00Z"), says("soon"), listed("one", None, None)] {
            let output = bucket_with(&Arc::default(), vec![lease]);
            let acquire = || acquire(&output, &holder("two", None, None), Duration::ZERO);
            let doubted_at = || Hint::read(&output).unwrap().notes.leases[0].doubted_at.clone();
            let change = |change: &dyn Fn(&mut ListedLease)| {
                let mut hint = Hint::read(&output).unwrap();
                change(&mut hint.notes.leases[0]);
                hint.put(&output).unwrap();
            };
            assert!(matches!(acquire(), Err(LockError::Held { .. })));
            let noted = doubted_at();
            assert!(noted.is_some());
            assert!(matches!(acquire(), Err(LockError::Held { .. })));
            assert_eq!(doubted_at(), noted, "the first time counts");
            // Its holder lives: from now on it says when it was renewed.
            change(&ListedLease::renew);
            assert!(matches!(acquire(), Err(LockError::Held { .. })));
            assert_eq!(doubted_at(), None);
            let long_ago = UtcMicros::now().minus(i64::try_from(Installer::GONE_AFTER.as_micros()).unwrap() + UtcMicros::SECOND);
            change(&|lease: &mut ListedLease| (lease.renewed_at, lease.doubted_at) = (Some("soon".into()), Some(long_ago.rfc3339())));
            assert_eq!(Lease::listed(&output).unwrap(), [], "status names no dead run");
            let lease = acquire().unwrap();
            assert_eq!((leases_in(&output), named_in(&output)), (vec!["two".to_owned()], vec!["one".to_owned()]));
            drop(lease);
        }
    }

    #[test]
    fn a_lease_says_when_it_was_taken_and_when_it_was_renewed() {
        let output = bucket_with(&Arc::default(), Vec::new());
        let lease = acquire(&output, &holder("one", None, None), Duration::ZERO).unwrap();
        let renewed_at = || {
            let hint = Hint::read(&output).unwrap();
            parse_time_text(hint.notes.leases[0].renewed_at.as_deref().unwrap()).unwrap()
        };
        let taken_at = renewed_at();
        assert!(micros_between(taken_at, UtcMicros::now()) < Duration::from_secs(60).as_micros());
        thread::sleep(Duration::from_millis(5));
        bucket_lease(&lease).signal.lock().renew(&output, &bucket_lease(&lease).own).unwrap();
        assert!(renewed_at().micros() > taken_at.micros());
    }

    fn bucket_lease(lease: &Lease) -> &BucketLease {
        let LeaseKind::Bucket(lease) = &lease.kind else { panic!("not in a bucket") };
        lease
    }

    /// Another command takes the lease from a run that sleeps.
    fn take_away(output: &Output) {
        let mut hint = Hint::read(output).unwrap();
        assert_eq!(hint.notes.withdraw(UtcMicros::now(), |_| true).len(), 1);
        hint.put(output).unwrap();
    }

    #[test]
    fn a_lease_that_was_withdrawn_is_listed_again_when_it_is_renewed() {
        let output = bucket_with(&Arc::default(), Vec::new());
        let lease = acquire(&output, &holder("one", None, None), Duration::ZERO).unwrap();
        take_away(&output);
        assert_eq!((leases_in(&output), named_in(&output)), (Vec::new(), vec!["one".to_owned()]), "the premise");
        bucket_lease(&lease).signal.lock().renew(&output, &bucket_lease(&lease).own).unwrap();
        assert_eq!((leases_in(&output), named_in(&output)), (vec!["one".to_owned()], Vec::new()));
        assert_eq!(bucket_lease(&lease).signal.lock().company, Company::Others);
        drop(lease);
        assert!(Hint::read(&output).unwrap().notes.are_quiet());
    }

    #[test]
    fn a_run_that_slept_stands_in_the_hint_before_it_commits_and_others_spare_the_look() {
        let store = Arc::<MemoryStore>::default();
        bucket_with(&store, Vec::new());
        let counting = CountingStore::over(&store);
        let output = Output::with_copies(counting.clone(), Scratch::create().unwrap());
        let lease = acquire(&output, &holder("one", None, None), Duration::ZERO).unwrap();
        counting.take();
        lease.begin_commit(&Commit::nothing()).unwrap();
        assert_eq!(counting.take().len(), 0, "an increment has few requests");
        take_away(&output);
        bucket_lease(&lease).signal.lock().listed = Moment::before_sleep(LIFE);
        let known = lease.begin_commit(&Commit::nothing()).unwrap().unwrap();
        assert_eq!((known.notes.leases.len(), leases_in(&output)), (1, vec!["one".to_owned()]));
    }

    #[test]
    fn a_run_that_slept_and_can_not_be_listed_again_does_not_commit() {
        let refused = || StoreError::Bucket { action: "put", location: "memory://layer".into(), detail: "a fault of the test".into() };
        let scripted = Scripted::new(&Arc::default()).at(places::LATEST, || None).at(places::LATEST, move || Some(refused().into()));
        let output = Output::with_copies(Arc::new(scripted), Scratch::create().unwrap());
        let lease = acquire(&output, &holder("one", None, None), Duration::ZERO).unwrap();
        bucket_lease(&lease).signal.lock().listed = Moment::before_sleep(LIFE);
        assert!(matches!(lease.begin_commit(&Commit::nothing()), Err(StoreError::Bucket { .. })));
        assert!(bucket_lease(&lease).publishing().begun.is_none());
        // The store takes puts again.
        lease.begin_commit(&Commit::nothing()).unwrap();
        assert_eq!(leases_in(&output), ["one"]);
    }

    #[test]
    fn an_expired_lease_lets_nobody_past_a_living_one() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::with_copies(Arc::new(MemoryStore::default()), Scratch::create_in(dir.path()).unwrap());
        let recent = |run_id, from, until| renewed_ago(listed(run_id, Some(from), Some(until)), Duration::from_secs(60));
        let (dead, living) = (recent("dead", "2026-01-01", "2026-01-06"), recent("living", "2026-01-06", "2026-01-11"));
        let mut hint = Hint::default();
        hint.notes.leases = vec![dead.clone(), living.clone()];
        hint.put(&output).unwrap();
        let long_ago = Instant::now().checked_sub(LIFE).unwrap();
        let attempt = |watch: &mut Watch| try_take(&output, &holder("all", None, None), watch, None).unwrap();

        let mut watch = Watch { seen: vec![(dead.clone(), long_ago)] };
        assert!(matches!(attempt(&mut watch), Attempt::Held(other) if other.run_id == "living"));
        // A lease that was renewed is watched from now on.
        hint.notes.leases[1].renewed = 1;
        hint.put(&output).unwrap();
        let mut watch = Watch { seen: vec![(dead, long_ago), (living.clone(), long_ago)] };
        assert!(matches!(attempt(&mut watch), Attempt::Held(other) if other.run_id == "living"));
        watch.seen.iter_mut().for_each(|(_, since)| *since = long_ago);
        assert!(matches!(attempt(&mut watch), Attempt::Had(_)), "neither has changed for its life");
        assert_eq!(named_in(&output), ["dead", "living"], "each may still commit");
    }
}
