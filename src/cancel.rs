//! The one switch that stops a run: thrown by a signal, looked at by every stage between two steps of its work.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
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

#[derive(Default, Debug)]
struct Shared {
    stop: AtomicU8,
    notify: Notify,
}

impl Cancel {
    /// Throws the switch; the first signal counts.
    pub fn stop(&self, stop: Stop) {
        let code = if stop == Stop::Interrupt { 1 } else { 2 };
        let _ = self.shared.stop.compare_exchange(0, code, Ordering::SeqCst, Ordering::SeqCst);
        self.shared.notify.notify_waiters();
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
}
