//! Ctrl-C and SIGTERM: the first asks the run to stop and undo what it staged, the second ends the process at once.

use std::{io, thread};

use tokio::signal::unix::{SignalKind, signal};

use crate::cancel::{Cancel, Stop};

/// Listens on a thread of its own, as long as the process lives.
pub(super) fn listen(cancel: Cancel) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _guard = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async move {
            loop {
                let stop = tokio::select! {
                    _ = interrupt.recv() => Stop::Interrupt,
                    _ = terminate.recv() => Stop::Terminate,
                };
                if cancel.is_stopped() {
                    std::process::exit(if stop == Stop::Interrupt { 130 } else { 143 });
                }
                cancel.stop(stop);
            }
        });
    })?;
    Ok(())
}
