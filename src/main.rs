//! The binary: parses the command line, runs the command, and turns its outcome into an exit code.

use std::process::ExitCode;

use clap::Parser;
use orders_etl::cli::{self, Cli};

fn main() -> ExitCode {
    ExitCode::from(cli::run(&Cli::parse()))
}
