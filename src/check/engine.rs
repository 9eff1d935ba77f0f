//! DuckDB, started and closed beside whatever a run does: of a small run, its start is most of the time.
//!
//! An engine that may not be needed waits a little before it starts: a run that changes nothing asks it nothing.

use std::{
    sync::mpsc::{self, RecvTimeoutError, TryRecvError},
    thread::{self, JoinHandle},
    time::Duration,
};

use duckdb::{Config, Connection};

use super::CheckError;

/// How long an engine waits for word that it is needed. A run that takes longer does not notice that it starts.
const PATIENCE: Duration = Duration::from_millis(20);

/// A DuckDB that is not started yet, is starting, has started, or is closing.
#[derive(Default)]
pub struct Engine {
    starting: Option<Starting>,
    closing: Option<JoinHandle<()>>,
    /// The threads of engines that nobody needs, which may still be starting.
    released: Vec<JoinHandle<StartedEngine>>,
}

/// What a thread has started; `None` if nobody needed it.
type StartedEngine = Option<duckdb::Result<Connection>>;

/// An engine that waits to start, or is starting.
struct Starting {
    thread: JoinHandle<StartedEngine>,
    /// Says that the engine is needed. Once it is gone, nobody needs it.
    needed: mpsc::Sender<()>,
}

impl Starting {
    fn after(patience: Duration) -> Starting {
        let (needed, word) = mpsc::channel();
        Starting { thread: thread::spawn(move || start_if_needed(&word, patience)), needed }
    }
}

impl Engine {
    /// Begins to start it.
    pub fn start() -> Engine {
        Engine::starting_after(Duration::ZERO)
    }

    /// Starts it a little later, or as soon as it is needed.
    pub fn start_later() -> Engine {
        Engine::starting_after(PATIENCE)
    }

    fn starting_after(patience: Duration) -> Engine {
        Engine { starting: Some(Starting::after(patience)), closing: None, released: Vec::new() }
    }

    /// Says that it is needed: it waits no longer.
    pub fn begin(&self) {
        if let Some(Starting { needed, .. }) = &self.starting {
            let _ = needed.send(());
        }
    }

    /// Says that nobody needs it. It ends where it is, and is waited for at the end.
    pub fn release(&mut self) {
        if let Some(Starting { thread, needed }) = self.starting.take() {
            drop(needed);
            self.released.push(thread);
        }
    }

    /// Waits until it has started. Starts it now if it was not begun.
    pub(super) fn started(&mut self) -> Result<Connection, CheckError> {
        let engine = |detail: &dyn std::fmt::Display| CheckError::Engine(detail.to_string());
        let Starting { thread, needed } = self.starting.take().unwrap_or_else(|| Starting::after(Duration::ZERO));
        let _ = needed.send(());
        let started = thread.join().map_err(|_| engine(&"the thread that starts it has died"))?;
        // Dropping the sender tells the thread to stop, so it is kept until the thread has ended.
        drop(needed);
        started.ok_or_else(|| engine(&"it was not started"))?.map_err(|error| engine(&error))
    }

    /// Closes it beside what follows the checks.
    pub(super) fn close(&mut self, duckdb: Connection) {
        self.join_closing();
        self.closing = Some(thread::spawn(move || drop(duckdb)));
    }

    fn join_closing(&mut self) {
        if let Some(closing) = self.closing.take() {
            let _ = closing.join();
        }
    }
}

/// A process must not end while DuckDB starts or closes in it.
impl Drop for Engine {
    fn drop(&mut self) {
        self.release();
        self.join_closing();
        for thread in self.released.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Starts DuckDB, unless word comes before that nobody needs it.
fn start_if_needed(word: &mpsc::Receiver<()>, patience: Duration) -> StartedEngine {
    if word.recv_timeout(patience) == Err(RecvTimeoutError::Disconnected) {
        return None;
    }
    let started = open();
    if word.try_iter().next().is_none() && word.try_recv() == Err(TryRecvError::Disconnected) {
        return None;
    }
    Some(started.and_then(|duckdb| {
        // The first statement makes the catalogs of functions and types.
        duckdb.execute_batch("SELECT 1")?;
        Ok(duckdb)
    }))
}

fn open() -> duckdb::Result<Connection> {
    let config = Config::default()
        .enable_autoload_extension(false)?
        .with("autoinstall_known_extensions", "false")?
        .with("preserve_insertion_order", "false")?;
    Connection::open_in_memory_with_flags(config)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn an_engine_that_nobody_needs_is_not_started() {
        let began = Instant::now();
        let mut engine = Engine::starting_after(LONG);
        engine.release();
        let thread = engine.released.pop().unwrap();
        assert!(thread.join().unwrap().is_none());
        drop(Engine::starting_after(LONG));
        assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
    }

    #[test]
    fn an_engine_that_is_needed_waits_no_longer() {
        let began = Instant::now();
        let mut engine = Engine::starting_after(LONG);
        engine.begin();
        let duckdb = engine.started().unwrap();
        engine.close(duckdb);
        engine.started().unwrap();
        assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
        let mut asked = Engine::starting_after(LONG);
        asked.started().unwrap();
        assert!(began.elapsed() < LONG / 2, "whoever asks it need not say so before: {:?}", began.elapsed());
    }

    #[test]
    fn an_engine_starts_by_itself_after_a_while() {
        let mut engine = Engine::start_later();
        let Starting { thread, needed } = engine.starting.take().unwrap();
        assert!(thread.join().unwrap().unwrap().is_ok());
        drop(needed);
    }
}
