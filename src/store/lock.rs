//! One run at a time on an output. The kernel holds the lock and lets go of it when the process dies, however it dies: a
//! stale lock never needs a hand. What stands in the file only tells who holds it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    thread,
    time::{Duration, Instant, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::{Output, StoreError, disk};
use crate::{cancel::Cancel, model::UtcMicros};

/// How often a waiting run looks again.
const POLL: Duration = Duration::from_millis(100);

/// [`OutputLock::holder`] has the lock for a moment while it looks: a run waits for that in any case.
const LOOK: Duration = Duration::from_millis(40);

/// Who holds an output.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Holder {
    /// The run.
    pub run_id: String,
    /// Its process.
    pub pid: u32,
    /// Its machine.
    pub host: String,
    /// When it took the lock, RFC 3339.
    pub since: String,
}

/// Why the lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run holds it.
    #[error("another run holds {output}: {}; wait for it with --lock-wait", holder.as_ref().map_or("it has not said its name yet".to_owned(), |holder| format!("run {} (process {} on {}, since {})", holder.run_id, holder.pid, holder.host, holder.since)))]
    Held {
        /// The output.
        output: String,
        /// Who it is, where that can be read.
        holder: Option<Holder>,
    },
    /// A signal came while waiting.
    #[error("interrupted while waiting for the output")]
    Interrupted,
    /// The lock file can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct OutputLock {
    file: File,
    /// The holder before, if its entry can be read.
    previous: Option<Holder>,
}

impl OutputLock {
    /// Takes the lock, waiting up to `wait` for it.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn acquire(output: &Output, holder: &Holder, wait: Duration, cancel: &Cancel) -> Result<OutputLock, LockError> {
        let path = output.lock();
        disk::create_folder(&output.state())?;
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(StoreError::io("open", &path))?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", &path)(error).into()),
                Err(TryLockError::WouldBlock) if cancel.is_stopped() => return Err(LockError::Interrupted),
                Err(TryLockError::WouldBlock) if started.elapsed() < wait.max(LOOK) => thread::sleep(POLL.min(wait.max(LOOK))),
                Err(TryLockError::WouldBlock) => {
                    let holder = Some(holder_of(&mut file));
                    return Err(LockError::Held { output: output.root().display().to_string(), holder });
                }
            }
        }
        let previous = read_holder(&mut file).ok();
        write_holder(&mut file, holder).map_err(StoreError::io("write", &path))?;
        Ok(OutputLock { file, previous })
    }

    /// The holder before this one.
    pub fn previous(&self) -> Option<&Holder> {
        self.previous.as_ref()
    }

    /// Renames the holder in the lock file.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn rename(&mut self, output: &Output, holder: &Holder) -> Result<(), StoreError> {
        write_holder(&mut self.file, holder).map_err(StoreError::io("write", output.lock()))
    }

    /// Who holds the output now; `None` if nobody does.
    ///
    /// # Errors
    /// I/O errors. A missing lock file is not an error.
    pub fn holder(output: &Output) -> Result<Option<Holder>, StoreError> {
        let path = output.lock();
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("open", &path)(error)),
        };
        // A shared lock: several commands may look at once, and a run that begins meanwhile waits for them.
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(holder_of(&mut file))),
            Err(TryLockError::Error(error)) => Err(StoreError::io("lock", &path)(error)),
        }
    }
}

/// The holder of a file that is locked. One that has not written its name is unknown, and holds it at the latest since the file was
/// written.
fn holder_of(file: &mut File) -> Holder {
    let unknown = |file: &File| {
        let written = file.metadata().and_then(|metadata| metadata.modified()).ok();
        let micros = written.and_then(|time| i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok());
        let since = micros.and_then(UtcMicros::new).unwrap_or_else(UtcMicros::now);
        Holder { run_id: "unknown".to_owned(), pid: 0, host: "unknown".to_owned(), since: since.rfc3339() }
    };
    read_holder(file).unwrap_or_else(|_| unknown(file))
}

fn read_holder(file: &mut File) -> io::Result<Holder> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

fn write_holder(file: &mut File, holder: &Holder) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&serde_json::to_vec(holder)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(run_id: &str) -> Holder {
        Holder { run_id: run_id.into(), pid: 7, host: "here".into(), since: "2026-01-01T00:00:00Z".into() }
    }

    #[test]
    fn the_second_is_told_who_the_first_is_and_gets_it_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::new(dir.path().to_owned());
        let first = OutputLock::acquire(&output, &holder("one"), Duration::ZERO, &Cancel::default()).unwrap();
        let error = OutputLock::acquire(&output, &holder("two"), Duration::ZERO, &Cancel::default()).unwrap_err();
        assert!(error.to_string().contains("run one (process 7 on here, since 2026-01-01T00:00:00Z)"), "{error}");
        let waiting =
            thread::spawn(move || OutputLock::acquire(&output, &holder("two"), Duration::from_secs(10), &Cancel::default()).map(drop));
        thread::sleep(Duration::from_millis(150));
        drop(first);
        assert!(waiting.join().unwrap().is_ok());
    }

    #[test]
    fn the_holder_is_named_only_while_it_holds_the_output() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::new(dir.path().to_owned());
        assert_eq!(OutputLock::holder(&output).unwrap(), None, "no run has ever been here");
        let lock = OutputLock::acquire(&output, &holder("one"), Duration::ZERO, &Cancel::default()).unwrap();
        assert_eq!(OutputLock::holder(&output).unwrap(), Some(holder("one")));
        std::fs::write(output.lock(), "{").unwrap();
        let unknown = OutputLock::holder(&output).unwrap().unwrap();
        assert_eq!((unknown.run_id.as_str(), unknown.pid), ("unknown", 0), "a holder without a name holds it all the same");
        drop(lock);
        assert_eq!(OutputLock::holder(&output).unwrap(), None, "the file still names it, and the kernel does not");
        assert!(OutputLock::acquire(&output, &holder("two"), Duration::ZERO, &Cancel::default()).is_ok());
    }
}
