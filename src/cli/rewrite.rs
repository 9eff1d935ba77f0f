//! `etl rewrite`.

use std::fmt::Write;

use super::{args::RewriteArgs, config_flags, display::Display};
use crate::{
    cancel::Cancel,
    run::{RunError, rewrite},
    settings::{self, Flags},
};

pub(super) fn run(args: &RewriteArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    let settings = settings::load(&Flags { lock_wait: args.lock_wait.clone(), ..config_flags(&args.config) })?;
    let done = rewrite(&settings, cancel)?;
    display.result(true, &done, |out| {
        let _ = writeln!(out, "{} partitions rewritten, {} had the columns already", done.rewritten, done.unchanged);
    });
    Ok(0)
}
