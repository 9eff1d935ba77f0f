//! Taking an output: its folders, its lock, and what a run that was cut off has left.

use std::time::Duration;

use super::RunError;
use crate::{
    cancel::Cancel,
    model::{RunId, UtcMicros},
    store::{self, Holder, LockError, Output, OutputLock, Recovery, StoreError},
};

/// Takes the output for a run, and finishes or undoes what was cut off before anything else is done with it.
///
/// # Errors
/// Another run holds it, a signal came while waiting for that, or what the disk refuses.
pub(super) fn open_output(
    output: &Output,
    run_id: &str,
    since: UtcMicros,
    wait: Duration,
    cancel: &Cancel,
) -> Result<OutputLock, RunError> {
    output.prepare()?;
    let holder = Holder { run_id: run_id.to_owned(), pid: std::process::id(), host: host(), since: since.rfc3339() };
    let lock = OutputLock::acquire(output, &holder, wait, cancel).map_err(|error| match error {
        LockError::Interrupted => super::stopped_or(cancel, error.into()),
        error => error.into(),
    })?;
    recover(output)?;
    Ok(lock)
}

/// For who only reads: finishes or undoes what was cut off, where no run is at work that it could be the work of.
///
/// # Errors
/// What the disk refuses, or a file that was lost.
pub fn recover_unless_held(output: &Output) -> Result<(), RunError> {
    if !store::is_cut_off(output)? {
        return Ok(());
    }
    let now = UtcMicros::now();
    let holder = Holder { run_id: RunId::new(now).as_str().to_owned(), pid: std::process::id(), host: host(), since: now.rfc3339() };
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
