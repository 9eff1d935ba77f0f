//! Opens an output: its folders, the work that an interrupted run has left, and the lease of a run on its days.

use std::time::Duration;

use super::{RunError, existing::require_layer, lineage::Change};
use crate::{
    cancel::Cancel,
    layer::{OpenedLayer, StateOrigin},
    model::{Dt, RunId, UtcMicros, Window},
    settings::Settings,
    store::{self, Head, Holder, Lease, LockError, Output, Recovery, Scope, StoreError},
};

/// How a command opens its output.
pub(super) struct Opening<'a> {
    pub(super) output: &'a Output,
    pub(super) started_at: UtcMicros,
    /// The days that it may change.
    pub(super) scope: Scope,
    /// How long it waits for another holder.
    pub(super) wait: Duration,
    pub(super) cancel: &'a Cancel,
    /// The layer, as it was read to choose the days.
    pub(super) layer: OpenedLayer,
    pub(super) overtaken: Overtaken,
}

/// What becomes of a commit that another one came before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Overtaken {
    /// It is merged again, on the newer layer.
    MergedAgain,
    /// It is refused, so the layer must be the newest.
    Refused,
}

/// An output whose days a command holds.
pub(super) struct Opened {
    pub(super) lease: Lease,
    /// The name of the run: later than that of every committed run.
    pub(super) run_id: RunId,
    /// The layer, read after the lease was had.
    pub(super) layer: OpenedLayer,
}

impl<'a> Opening<'a> {
    /// Of a command that needs all days, and repeats nothing.
    pub(super) fn of_all_days(
        output: &'a Output,
        started_at: UtcMicros,
        settings: &Settings,
        cancel: &'a Cancel,
        layer: OpenedLayer,
    ) -> Opening<'a> {
        Opening { output, started_at, scope: Scope::default(), wait: settings.lock_wait, cancel, layer, overtaken: Overtaken::Refused }
    }

    /// Takes the days, and reads the layer then. Runs are named later than those that are committed, even if the clock of a host is
    /// behind.
    ///
    /// # Errors
    /// Another run holds days in common (exit 6), a signal while waiting, I/O errors (exit 5).
    pub(super) fn open(self, run_id: RunId) -> Result<Opened, RunError> {
        let known = self.layer.head.as_ref().and_then(|head| head.commit.newest_run_id.parse::<RunId>().ok());
        let run_id = match known.filter(|previous| *previous >= run_id) {
            Some(previous) => {
                let later = RunId::after(self.started_at, &previous);
                tracing::warn!(previous = %previous, run_id = %later, "the clock of this host is behind that of the run before; the run is named after it");
                later
            }
            None => run_id,
        };
        let holder = this_holder(&run_id, self.scope.clone());
        let lease =
            Lease::acquire(self.output, &holder, self.wait, self.cancel, self.layer.head.as_ref()).map_err(|error| match error {
                LockError::Interrupted => super::stopped_or(self.cancel, error.into()),
                error => error.into(),
            })?;
        // If nobody was waited for, the layer is as it was read, most likely: who commits finds out. In a folder a look is cheap.
        let is_newest = || Ok::<_, StoreError>(store::head(self.output)?.map_or(0, |head| head.commit.number) == self.layer.number());
        let spares_look = self.output.folder().is_none() && self.overtaken == Overtaken::MergedAgain;
        let is_fresh = !lease.has_waited() && self.layer.origin == StateOrigin::Log && (spares_look || is_newest()?);
        let layer = if is_fresh { self.layer } else { settled_layer(self.output)? };
        if layer.origin == StateOrigin::Missing {
            store::set_aside_damaged_log(self.output)?;
        }
        Ok(Opened { lease, run_id, layer })
    }
}

impl Change {
    /// Takes all days of an output for the change, which is named then.
    ///
    /// # Errors
    /// As [`Opening::open`]; there is no layer (exit 2).
    pub(super) fn open(&mut self, output: &Output, settings: &Settings, cancel: &Cancel) -> Result<Opened, RunError> {
        let opened = Opening::of_all_days(output, self.started_at, settings, cancel, existing_layer(output)?).open(self.run_id.clone())?;
        self.run_id = opened.run_id.clone();
        Ok(opened)
    }
}

/// The layer of an output that has one, after what was cut off is finished.
///
/// # Errors
/// There is no layer (exit 2); as [`settled_layer`].
pub(super) fn existing_layer(output: &Output) -> Result<OpenedLayer, RunError> {
    let layer = settled_layer(output)?;
    if layer.head.is_none() {
        require_layer(output)?;
    }
    Ok(layer)
}

/// The layer, after the work of an interrupted run is finished or undone.
///
/// # Errors
/// I/O errors; in a bucket also a damaged record.
pub(super) fn settled_layer(output: &Output) -> Result<OpenedLayer, StoreError> {
    if output.folder().is_some() {
        recover(output)?;
        return OpenedLayer::open(output);
    }
    settled(output, OpenedLayer::open(output)?)
}

/// The same for a run that takes a lease next. Where the hint of a bucket names nobody who may have left work, none is looked for.
///
/// # Errors
/// As [`settled_layer`].
pub(super) fn layer_before_lease(output: &Output) -> Result<OpenedLayer, StoreError> {
    if output.folder().is_some() { settled_layer(output) } else { settled(output, OpenedLayer::open_by_hint(output)?) }
}

/// A layer of a bucket, after what was cut off is finished.
fn settled(output: &Output, layer: OpenedLayer) -> Result<OpenedLayer, StoreError> {
    if leaves_no_work(layer.head.as_ref()) {
        return Ok(layer);
    }
    recover(output)?;
    OpenedLayer::open(output)
}

/// Whether a bucket has nothing that the next command should finish.
fn leaves_no_work(head: Option<&Head>) -> bool {
    head.is_none_or(|head| head.is_settled() || head.can_wait())
}

/// This process as the holder of some days, from now on.
fn this_holder(run_id: &RunId, scope: Scope) -> Holder {
    Holder { run_id: run_id.to_string(), pid: std::process::id(), host: host(), since: UtcMicros::now().rfc3339(), scope }
}

/// The days that a run over a window on `created_at` may change.
pub(super) fn scope_of(window: Window) -> Scope {
    let from = window.since.map(|since| Dt::of(since).to_string());
    // A window that ends within a day has that day in it.
    let until = window.until.map(|until| Dt::of(until.minus(1))).and_then(|last| Dt::from_days(last.days() + 1)).map(|dt| dt.to_string());
    Scope { from, until }
}

/// Finishes or undoes the work of an interrupted run. For commands that only read: where this user may not write, it is said.
///
/// # Errors
/// An object that was lost, or a log that can't be read; a bucket that is missing, or can't be reached.
pub fn recover_unless_held(output: &Output) -> Result<(), RunError> {
    if output.folder().is_none() {
        // Where nothing can be read, nothing follows that may be a mix.
        match store::head(output) {
            Ok(head) if leaves_no_work(head.as_ref()) => return Ok(()),
            // Said where the layer is opened.
            Err(StoreError::Record { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
    }
    match recover(output) {
        Ok(()) => Ok(()),
        Err(error @ StoreError::Refused { .. }) => Err(error.into()),
        // A damaged log in a folder is made again by the next run.
        Err(StoreError::Record { .. }) => Ok(()),
        Err(error) => {
            tracing::warn!(%error, "a run may have been cut off, and this user can't clear up after it; what follows may be a mix");
            Ok(())
        }
    }
}

/// Finishes or undoes the work of an interrupted run, and says so.
pub(super) fn recover(output: &Output) -> Result<(), StoreError> {
    match store::recover(output) {
        Ok(Recovery::Clean) => Ok(()),
        // In a bucket it may be at work: whoever comes next helps.
        Ok(Recovery::Finished(run_id)) if output.folder().is_none() => {
            tracing::info!(of_run = %run_id, "files of a committed run were not installed yet; they are now");
            Ok(())
        }
        Ok(Recovery::Finished(run_id)) => {
            tracing::warn!(cut_off = %run_id, "a run was cut off while it published; its publish has been finished");
            Ok(())
        }
        Ok(Recovery::Undone(runs)) => {
            tracing::warn!(runs, "what a run that was cut off had staged has been removed; nothing of it was published");
            Ok(())
        }
        // A damaged log in a folder is said and made again where the layer is opened.
        Err(StoreError::Record { .. }) if output.folder().is_some() => Ok(()),
        Err(error) => Err(error),
    }
}

/// The machine's name, for whoever finds the output held.
pub fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "an unknown host".to_owned(), |name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_the_days_that_it_touches() {
        let at = |day, hour: i64| UtcMicros::from_civil((2026, 1, day), hour * 3600, 0, 0);
        let scope = |since, until| scope_of(Window { since, until });
        assert_eq!(scope(at(1, 0), at(8, 0)), Scope { from: Some("2026-01-01".into()), until: Some("2026-01-08".into()) });
        assert_eq!(scope(at(1, 5), at(8, 5)), Scope { from: Some("2026-01-01".into()), until: Some("2026-01-09".into()) });
        assert_eq!(scope(None, None), Scope::default());
    }
}
