//! Asks before a command changes what nothing brings back. Only somebody at a terminal is asked: scripts go on without a question.

use std::{
    io::{self, IsTerminal, Write},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use super::display::fitted_to_stderr;
use crate::{
    cancel::Cancel,
    run::{RequestError, RunError},
    store::StoreError,
};

/// How often a signal is looked for while the answer is awaited.
const LOOK: Duration = Duration::from_millis(50);

/// Whether somebody sees a question and can answer it.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Shows what a command will do, asks, and returns only if the answer is yes.
///
/// # Errors
/// Another answer, or none ([`RequestError::NotConfirmed`]); a signal; the terminal can't be written to.
pub(super) fn confirm(plan: &str, question: &str, cancel: &Cancel) -> Result<(), RunError> {
    let text = format!("{}\n{question} [y/N] ", fitted_to_stderr(plan));
    let mut terminal = anstream::stderr();
    write!(terminal, "{text}").and_then(|()| terminal.flush()).map_err(StoreError::io("ask on", "the terminal"))?;
    match answer(cancel) {
        Ok(line) if is_yes(&line) => Ok(()),
        Ok(_) => Err(RequestError::NotConfirmed.into()),
        Err(error) => Err(error),
    }
}

/// The line that is typed; empty at the end of the input. A signal ends the wait: a read would go on after it.
fn answer(cancel: &Cancel) -> Result<String, RunError> {
    let (typed, answers) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        // An error is no answer, and so is a reader who is gone.
        let _ = io::stdin().read_line(&mut line);
        let _ = typed.send(line);
    });
    loop {
        match answers.recv_timeout(LOOK) {
            Ok(line) => return Ok(line),
            Err(RecvTimeoutError::Disconnected) => return Ok(String::new()),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(stop) = cancel.stopped() {
                    return Err(RunError::Interrupted(stop));
                }
            }
        }
    }
}

fn is_yes(line: &str) -> bool {
    matches!(line.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for yes in ["y\n", "Y", " yes \r\n", "YES\n"] {
            assert!(is_yes(yes), "{yes:?}");
        }
        for no in ["", "\n", "n\n", "no", "yess", "j\n", "1"] {
            assert!(!is_yes(no), "{no:?}");
        }
    }
}
