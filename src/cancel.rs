//! The one switch that stops a run: thrown by a signal, looked at by every stage between two steps of its work. A part
//! of a run may have one of its own, which is thrown with it.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

/// The signal that stopped a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// SIGINT: exit 130.
    Interrupt,
    /// SIGTERM: exit 143.
    Terminate,
}

/// The switch. Clones share it.
#[derive(Clone, Default, Debug)]
pub struct Cancel {
    shared: Arc<Shared>,
}

/// What is to be called, each with the number that its guard knows it by.
type Hooks = Vec<(u64, Box<dyn Fn() + Send>)>;

#[derive(Default)]
struct Shared {
    stop: AtomicU8,
    notify: Notify,
    hooks: Mutex<Hooks>,
    next_hook: AtomicU64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("stop", &self.stop).finish_non_exhaustive()
    }
}

/// What is called when the switch is thrown, as long as this lives.
#[must_use]
pub struct Hook {
    cancel: Cancel,
    number: u64,
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.cancel.hooks().retain(|(number, _)| *number != self.number);
    }
}

/// A switch for a part of a run, such as the reading of its source. It is thrown with that of the run, and by itself
/// where nobody needs the rest of the part.
#[must_use]
pub struct PartCancel {
    own: Cancel,
    _with_the_run: Hook,
}

impl PartCancel {
    /// The switch that the part looks at.
    pub fn cancel(&self) -> &Cancel {
        &self.own
    }

    /// Stops the part as SIGTERM would.
    pub fn stop(&self) {
        self.own.stop(Stop::Terminate);
    }
}

impl Cancel {
    /// A switch for a part of the work.
    pub fn part(&self) -> PartCancel {
        let own = Cancel::default();
        let (run, part) = (self.clone(), own.clone());
        let hook = self.when_stopped(move || part.stop(run.stopped().unwrap_or(Stop::Terminate)));
        PartCancel { own, _with_the_run: hook }
    }

    /// Throws the switch; the first signal counts.
    pub fn stop(&self, stop: Stop) {
        let code = if stop == Stop::Interrupt { 1 } else { 2 };
        let _ = self.shared.stop.compare_exchange(0, code, Ordering::SeqCst, Ordering::SeqCst);
        self.shared.notify.notify_waiters();
        self.hooks().iter().for_each(|(_, hook)| hook());
    }

    /// The signal, once there was one.
    pub fn stopped(&self) -> Option<Stop> {
        match self.shared.stop.load(Ordering::SeqCst) {
            0 => None,
            1 => Some(Stop::Interrupt),
            _ => Some(Stop::Terminate),
        }
    }

    /// Whether there was a signal.
    pub fn is_stopped(&self) -> bool {
        self.stopped().is_some()
    }

    /// Has `hook` called when the switch is thrown: for work that can't look at it by itself. At once, where it was thrown
    /// before.
    pub fn when_stopped(&self, hook: impl Fn() + Send + 'static) -> Hook {
        let number = self.shared.next_hook.fetch_add(1, Ordering::Relaxed);
        let mut hooks = self.hooks();
        // Under the lock, so that a signal between the two is not missed.
        if self.is_stopped() {
            hook();
        }
        hooks.push((number, Box::new(hook)));
        drop(hooks);
        Hook { cancel: self.clone(), number }
    }

    /// Waits for the signal.
    pub async fn wait(&self) {
        let notified = self.shared.notify.notified();
        tokio::pin!(notified);
        // Enabled before the look, so that a signal between the two is not missed.
        notified.as_mut().enable();
        if !self.is_stopped() {
            notified.await;
        }
    }

    fn hooks(&self) -> MutexGuard<'_, Hooks> {
        self.shared.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_stops_with_the_run_and_by_itself_without_it() {
        let run = Cancel::default();
        let (one, other) = (run.part(), run.part());
        one.stop();
        assert_eq!((one.cancel().stopped(), other.cancel().stopped(), run.stopped()), (Some(Stop::Terminate), None, None));
        run.stop(Stop::Interrupt);
        assert_eq!((one.cancel().stopped(), other.cancel().stopped()), (Some(Stop::Terminate), Some(Stop::Interrupt)));
        assert_eq!(run.part().cancel().stopped(), Some(Stop::Interrupt));
        drop((one, other));
        assert_eq!(run.hooks().len(), 0);
    }

    #[test]
    fn a_hook_is_called_while_it_lives_also_where_the_switch_was_thrown_before() {
        let calls = Arc::new(AtomicU64::new(0));
        let count = || {
            let calls = calls.clone();
            move || {
                calls.fetch_add(1, Ordering::SeqCst);
            }
        };
        let cancel = Cancel::default();
        drop(cancel.when_stopped(count()));
        let _hook = cancel.when_stopped(count());
        cancel.stop(Stop::Terminate);
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        let _late = cancel.when_stopped(count());
        assert_eq!((calls.load(Ordering::SeqCst), cancel.stopped()), (2, Some(Stop::Terminate)));
    }
}
