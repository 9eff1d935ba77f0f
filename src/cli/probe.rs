//! `etl probe`.

use std::fmt::Write;

use super::{args::ProbeArgs, display::Display, one_source, text::counted};
use crate::{
    cancel::Cancel,
    run::{Found, Probe, RunError, probe},
};

pub(super) fn run(args: &ProbeArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    let settings = one_source(&args.settings.flags, &args.shops)?;
    let found = probe(&settings, cancel)?;
    // Its end is a profile to paste.
    display.script(&found, |out| text(out, &found));
    Ok(0)
}

fn text(out: &mut String, probe: &Probe) {
    let at = probe.records_at.as_deref().unwrap_or("nowhere: no list of objects was found");
    let _ = writeln!(out, "{}\n", probe.location);
    let _ = writeln!(out, "  records     {} looked at, found at: {at}", probe.records);
    let _ = writeln!(out, "  pagination  {}: {}", probe.pagination.kind, probe.pagination.because);
    let _ = writeln!(out, "  complete?   {}", probe.completeness);
    let _ = writeln!(out, "  window      {}\n", probe.window);
    let _ = writeln!(out, "  {:<13} {:<28} {:>9}  first values", "column", "from", "found");
    for found in &probe.columns {
        column(out, found);
    }
    let (rows, records) = (counted(probe.rows, "row"), counted(probe.records as u64, "record"));
    let _ = writeln!(out, "\n  would make  {rows} of {} of {records}", probe.records_processed);
    for row in &probe.sample {
        let _ = writeln!(out, "              {row}");
    }
    if probe.records_skipped > 0 {
        let _ = writeln!(out, "  would skip  {} records, as the profile says", probe.records_skipped);
    }
    for (reason, count) in &probe.dropped {
        let advice = probe.advice.get(reason).copied().unwrap_or_default();
        let _ = writeln!(out, "  would drop  {reason:<20} {count:>5}  {advice}");
    }
    for note in &probe.notes {
        let _ = writeln!(out, "  would lose  {note}");
    }
    match &probe.profile {
        Some(profile) => {
            let _ = writeln!(out, "\nWhat was proposed, for etl.toml (look at each line before you believe it):\n\n{profile}");
            if !probe.is_ready {
                let _ = writeln!(out, "It is not enough: with it, a run would still lose what is said above.");
            }
        }
        None if probe.rows == 0 => {
            let _ = writeln!(out, "\nNothing would be loaded, and nothing more is proposed: say where the fields are (docs/sources.md).");
        }
        None if !probe.is_ready => {
            let _ = writeln!(out, "\nA run would lose what is said above. Nothing more is proposed: see docs/sources.md.");
        }
        None => {
            let _ = writeln!(out, "\nNothing is left to be said: `etl run` loads it, with the same flags.");
        }
    }
}

fn column(out: &mut String, found: &Found) {
    let values = found.values.join(", ");
    let values: String = values.chars().take(60).collect();
    let of = format!("{}/{}", found.found_in, found.of);
    let indent = if found.level == "line" { "  " } else { "" };
    let name = format!("{indent}{}", found.column);
    let _ = match (&found.path, &found.proposed) {
        (Some(path), None) => writeln!(out, "  {name:<13} {path:<28} {of:>9}  {values}"),
        (Some(path), Some(proposal)) => {
            let _ = writeln!(out, "  {name:<13} {path:<28} {of:>9}  {values}");
            writeln!(out, "  {:<13} {:<28} {:>9}  proposed before it: {}", "", format!("? {}", proposal.path), "", proposal.because)
        }
        (None, Some(proposal)) => {
            writeln!(out, "  {name:<13} {:<28} {of:>9}  proposed: {}", format!("? {}", proposal.path), proposal.because)
        }
        (None, None) => writeln!(out, "  {name:<13} {:<28} {of:>9}", "-"),
    };
}
