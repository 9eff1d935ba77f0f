//! A moment on both clocks of a machine: one may stand still while it sleeps, the other may be set.

use std::time::{Duration, Instant, SystemTime};

/// A moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    monotonic: Instant,
    wall: SystemTime,
}

impl Moment {
    pub(super) fn now() -> Moment {
        Moment { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    /// How long ago it was, by the clock that says more.
    pub(super) fn elapsed(self) -> Duration {
        self.monotonic.elapsed().max(self.wall.elapsed().unwrap_or_default())
    }

    /// As if a machine had slept since then: only one of its clocks went on.
    #[cfg(test)]
    pub(super) fn before_sleep(span: Duration) -> Moment {
        Moment { monotonic: Instant::now(), wall: SystemTime::now() - span }
    }
}
