//! `etl rebuild`.

use super::{
    args::{RebuildArgs, RebuildFrom},
    display::Display,
    one_source,
    progress::Progress,
    run::{IfDiffers, show, show_with_diff},
    text,
};
use crate::{
    cancel::Cancel,
    run::{Gaps, RebuildRequest, RunError, rebuild},
    settings::SettingsError,
};

pub(super) fn run(args: &RebuildArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    match args.from {
        RebuildFrom::Raw => from_raw(args, display, cancel),
    }
}

fn from_raw(args: &RebuildArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    let settings = one_source(&args.settings.flags, &args.shops)?;
    if args.diff && !settings.dry_run {
        return Err(SettingsError::Conflict("--diff shows what a rebuild would do: add --dry-run".into()).into());
    }
    let progress = Progress::new(display);
    let gaps = if args.across_gaps { Gaps::Across } else { Gaps::StopAt };
    let diff = args.diff.then_some(args.rows.limit);
    let outcome = rebuild(&RebuildRequest { settings: &settings, gaps, diff, cancel, observer: &progress });
    progress.finish();
    let outcome = outcome?;
    if args.diff {
        return Ok(show_with_diff(&outcome, &settings, display, IfDiffers::Succeeds));
    }
    Ok(show(&outcome, &settings, display, |out, summary| text::next_after_drops(out, summary, &settings)))
}
