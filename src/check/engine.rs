//! DuckDB, started beside whatever a run does before it checks: of a small run, its start is most of the time.

use std::thread::{self, JoinHandle};

use duckdb::{Config, Connection};

use super::CheckError;

/// A DuckDB that is starting, or has.
pub struct Engine(Option<JoinHandle<duckdb::Result<Connection>>>);

impl Engine {
    /// Begins to start it.
    pub fn start() -> Engine {
        Engine(Some(thread::spawn(start)))
    }

    /// Waits until it has started.
    pub(super) fn started(mut self) -> Result<Connection, CheckError> {
        let engine = |detail: &dyn std::fmt::Display| CheckError::Engine(detail.to_string());
        let Some(starting) = self.0.take() else { return Err(engine(&"it was never started")) };
        starting.join().map_err(|_| engine(&"the thread that starts it has died"))?.map_err(|error| engine(&error))
    }
}

/// A process must not end while DuckDB starts in it.
impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(starting) = self.0.take() {
            let _ = starting.join();
        }
    }
}

fn start() -> duckdb::Result<Connection> {
    let config = Config::default()
        .enable_autoload_extension(false)?
        .with("autoinstall_known_extensions", "false")?
        .with("preserve_insertion_order", "false")?;
    let duckdb = Connection::open_in_memory_with_flags(config)?;
    // The first statement makes the catalogs of functions and types.
    duckdb.execute_batch("SELECT 1")?;
    Ok(duckdb)
}
