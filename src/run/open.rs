//! Opens an output: its folders, its lock, and the work that an interrupted run has left.

use std::time::Duration;

use super::RunError;
use crate::{
    cancel::Cancel,
    model::{RunId, UtcMicros},
    store::{self, Holder, LockError, Output, OutputLock, Recovery, StoreError},
};

/// How a run opens its output.
pub(super) struct Opening<'a> {
    pub(super) output: &'a Output,
    pub(super) started_at: UtcMicros,
    /// How long it waits for another holder.
    pub(super) wait: Duration,
    pub(super) cancel: &'a Cancel,
}

/// An output that a run holds.
pub(super) struct Opened {
    pub(super) lock: OutputLock,
    /// The name of the run: later than that of every earlier holder.
    pub(super) run_id: RunId,
}

impl Opening<'_> {
    /// Takes the output, and finishes or undoes the work of an interrupted run before anything else is done with it. The holders of
    /// an output are named in their order, so that the names of runs sort by commit, even if the clock of a host is behind.
    ///
    /// # Errors
    /// Another run holds it (exit 6), a signal while waiting, I/O errors (exit 5).
    pub(super) fn open(&self, run_id: RunId) -> Result<Opened, RunError> {
        self.output.prepare()?;
        let mut lock = OutputLock::acquire(self.output, &this_holder(&run_id), self.wait, self.cancel).map_err(|error| match error {
            LockError::Interrupted => super::stopped_or(self.cancel, error.into()),
            error => error.into(),
        })?;
        let previous: Option<RunId> = lock.previous().and_then(|holder| holder.run_id.parse().ok());
        let run_id = match previous.filter(|previous| *previous >= run_id) {
            Some(previous) => {
                let later = RunId::after(self.started_at, &previous);
                tracing::warn!(previous = %previous, run_id = %later, "the clock of this host is behind that of the run before; the run is named after it");
                lock.rename(self.output, &this_holder(&later))?;
                later
            }
            None => run_id,
        };
        recover(self.output)?;
        Ok(Opened { lock, run_id })
    }
}

/// This process as the holder of an output, from now on.
fn this_holder(run_id: &RunId) -> Holder {
    Holder { run_id: run_id.to_string(), pid: std::process::id(), host: host(), since: UtcMicros::now().rfc3339() }
}

/// Finishes or undoes the work of an interrupted run, unless a run holds the output. For commands that only read.
///
/// # Errors
/// I/O errors, or a file that was lost.
pub fn recover_unless_held(output: &Output) -> Result<(), RunError> {
    if !store::is_cut_off(output)? {
        return Ok(());
    }
    let holder = this_holder(&RunId::new(UtcMicros::now()));
    match OutputLock::acquire(output, &holder, Duration::ZERO, &Cancel::default()) {
        Ok(_lock) => Ok(recover(output)?),
        Err(LockError::Held { .. }) => Ok(()),
        Err(error) => {
            tracing::warn!(%error, "a run was cut off, and this user can't clear up after it; what follows may be a mix");
            Ok(())
        }
    }
}

fn recover(output: &Output) -> Result<(), StoreError> {
    match store::recover(output)? {
        Recovery::Clean => {}
        Recovery::Finished(run_id) => {
            tracing::warn!(cut_off = %run_id, "a run was cut off while it published; its publish has been finished");
        }
        Recovery::Undone(runs) => {
            tracing::warn!(runs, "what a run that was cut off had staged has been removed; nothing of it was published");
        }
    }
    Ok(())
}

/// The machine's name, for whoever finds the output held.
pub fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "an unknown host".to_owned(), |name| name.trim().to_owned())
}
