//! `etl rewrite`.

use std::fmt::Write;

use super::{args::RewriteArgs, display::{Display, Ending}};
use crate::{
    cancel::Cancel,
    run::{RunError, rewrite},
    settings,
};

pub(super) fn run(args: &RewriteArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    let settings = settings::load(&args.settings.flags)?;
    let done = rewrite(&settings, cancel)?;
    display.outcome(Ending::Success, &done, |out| {
        let _ = writeln!(out, "{} partitions rewritten, {} had the columns already", done.rewritten, done.unchanged);
    });
    Ok(0)
}
