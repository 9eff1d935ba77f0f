//! What no receiver of traces, metrics or lineage may cost a run: a wait at its end that is bounded, and a pause after a failure.

use std::{
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use crate::cancel::Cancel;

/// After a failure, nothing is sent for this long: a backfill of many runs does not wait for a dead receiver each time.
const PAUSE: Duration = Duration::from_secs(300);

/// How long a signal lets the last request take.
const AFTER_SIGNAL: Duration = Duration::from_secs(1);

/// How often a waiting run looks for a signal.
const POLL: Duration = Duration::from_millis(50);

/// Whether a receiver of this process has just failed, and gets nothing for five minutes.
pub(crate) struct Pause(Mutex<Option<Instant>>);

impl Pause {
    pub(crate) const fn new() -> Pause {
        Pause(Mutex::new(None))
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| Instant::now() < until)
    }

    pub(crate) fn begin(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now().checked_add(PAUSE);
    }
}

/// A wait for what a thread tells, for one time-out at most.
pub(crate) struct BoundedWait<'c> {
    begun: Instant,
    timeout: Duration,
    cancel: &'c Cancel,
}

/// What the wait has brought.
pub(crate) enum Waited<T> {
    /// This.
    Told(T),
    /// The thread has ended.
    Ended,
    /// The time is over.
    TimedOut,
}

impl<'c> BoundedWait<'c> {
    pub(crate) fn begin(timeout: Duration, cancel: &'c Cancel) -> BoundedWait<'c> {
        BoundedWait { begun: Instant::now(), timeout, cancel }
    }

    /// Waits for the next thing that the thread tells. After a signal, for a second at most.
    pub(crate) fn next<T>(&self, told: &Receiver<T>) -> Waited<T> {
        loop {
            match told.recv_timeout(POLL) {
                Ok(told) => return Waited::Told(told),
                Err(RecvTimeoutError::Disconnected) => return Waited::Ended,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.begun.elapsed() > self.limit() + POLL {
                return Waited::TimedOut;
            }
        }
    }

    /// How long the wait may take.
    pub(crate) fn limit(&self) -> Duration {
        if self.cancel.is_stopped() { AFTER_SIGNAL.min(self.timeout) } else { self.timeout }
    }

    /// When it has begun.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }
}
