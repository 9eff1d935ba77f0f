//! The binary: parses the command line, runs the command, and turns its outcome into an exit code.

use std::process::ExitCode;

use orders_etl::cli::{self, Cli};

/// Batches of columns are made and dropped by the hundred thousand: this allocator keeps their pages at hand, where the
/// system's gives each back and faults it in anew.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(cli::run(&Cli::read()))
}
