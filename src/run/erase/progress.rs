//! How far an erasure has come: what is true of the output if it ends early. Changes nothing.

use std::cell::Cell;

use crate::run::RunError;

/// How far an erasure has come.
#[derive(Default)]
pub(super) struct Progress {
    reached: Cell<Reached>,
}

/// What an erasure has done so far.
#[derive(Clone, Copy)]
enum Reached {
    /// It is not decided. It has changed so many files beside the tables.
    Undecided { files: u64 },
    /// Its commit counts.
    Committed,
}

impl Default for Reached {
    fn default() -> Reached {
        Reached::Undecided { files: 0 }
    }
}

impl Progress {
    /// A file beside the tables is changed.
    pub(super) fn note_file(&self) {
        if let Reached::Undecided { files } = self.reached.get() {
            self.reached.set(Reached::Undecided { files: files + 1 });
        }
    }

    /// The commit counts.
    pub(super) fn note_commit(&self) {
        self.reached.set(Reached::Committed);
    }

    /// The error that ends the erasure, with what is true of the output then. Of other errors than a signal, the log says it.
    pub(super) fn explained(&self, error: RunError) -> RunError {
        match (error, self.reached.get()) {
            (RunError::Interrupted(stop), Reached::Undecided { files: 0 }) => {
                RunError::Unchanged { stop, unchanged: "nothing was changed" }
            }
            (RunError::Interrupted(stop), Reached::Undecided { files }) => RunError::InterruptedErasure { stop, files },
            (error, Reached::Undecided { files: 0 }) => error,
            // It says by itself that the commit counts, or that this is unknown.
            (error, _) if error.may_be_committed() => error,
            (error, Reached::Undecided { files }) => {
                tracing::warn!(
                    files,
                    "the erasure is not decided: the tables still name the users, and only files beside them no longer do; run the same \
                     command again, it does the rest"
                );
                error
            }
            (error, Reached::Committed) => {
                tracing::warn!(
                    "the erasure is committed, and kept versions of files may still name the users: run the same command again, it removes \
                     these"
                );
                error
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cancel::Stop, store::StoreError};

    fn told(progress: &Progress) -> String {
        progress.explained(RunError::Interrupted(Stop::Interrupt)).to_string()
    }

    #[test]
    fn a_signal_is_told_with_what_is_true_then() {
        let progress = Progress::default();
        assert_eq!(told(&progress), "interrupted; nothing was changed");
        progress.note_file();
        progress.note_file();
        let undecided = told(&progress);
        assert!(undecided.contains("still name the users") && undecided.contains(": 2."), "{undecided}");
        assert!(!undecided.contains("nothing was"), "{undecided}");
    }

    #[test]
    fn a_commit_that_is_decided_stays_its_own_error() {
        let progress = Progress::default();
        progress.note_file();
        let decided = || RunError::from(StoreError::Unfinished { run_id: "r1".into(), source: Box::new(StoreError::Interrupted) });
        assert_eq!(progress.explained(decided()).to_string(), decided().to_string());
        assert!(decided().to_string().contains("decided all the same"));
    }
}
