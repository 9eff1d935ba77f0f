//! Questions at a terminal: waits for a line, and asks before a command changes what nothing brings back. Only somebody at a terminal is
//! asked: scripts go on without a question. Knows no answers but yes.

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

/// What a command asks before it goes on.
pub(super) struct Confirmation<'q> {
    /// What it will do.
    pub(super) plan: &'q str,
    /// The question, without the answers.
    pub(super) question: &'q str,
    /// What a signal leaves as it was, such as "nothing was erased".
    pub(super) unchanged: &'static str,
}

/// Shows what a command will do, asks, and returns only if the answer is yes.
///
/// # Errors
/// Another answer, or none ([`RequestError::NotConfirmed`]); a signal; the terminal can't be written to.
pub(super) fn confirm(asked: &Confirmation<'_>, cancel: &Cancel) -> Result<(), RunError> {
    let text = format!("{}\n{} [y/N] ", fitted_to_stderr(asked.plan), fitted_to_stderr(asked.question));
    let mut terminal = anstream::stderr();
    write!(terminal, "{text}").and_then(|()| terminal.flush()).map_err(StoreError::io("ask on", "the terminal"))?;
    match typed_line(asked.unchanged, cancel) {
        Ok(line) if is_yes(&line) => Ok(()),
        Ok(_) => Err(RequestError::NotConfirmed.into()),
        Err(error) => Err(error),
    }
}

/// The line that is typed; empty at the end of the input. A signal ends the wait: a read would go on after it. The caller must not hold
/// the lock of stdin.
///
/// # Errors
/// A signal ([`RunError::Unchanged`]).
pub(super) fn typed_line(unchanged: &'static str, cancel: &Cancel) -> Result<String, RunError> {
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
                    // The terminal has written `^C` behind the question.
                    let _ = writeln!(anstream::stderr());
                    return Err(RunError::Unchanged { stop, unchanged });
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
