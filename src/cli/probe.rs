//! `etl probe`.

use std::{borrow::Cow, fmt::Write};

use super::{
    args::ProbeArgs,
    display::Display,
    escaped::escaped,
    one_source,
    table::{Column, Table},
    text::{self, counted},
};
use crate::{
    cancel::Cancel,
    run::{Found, Probe, RunError, probe},
    settings::Settings,
};

pub(super) fn run(args: &ProbeArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    let settings = one_source(&args.settings.flags, &args.shops)?;
    let found = probe(&settings, cancel)?;
    // Its end is a profile to paste.
    display.script(&found, |out| {
        let mut looked = String::new();
        show(&mut looked, &found, display.width);
        out.push_str(&display.fitted(&looked));
        if let Some(profile) = &found.profile {
            let _ = writeln!(out, "\nWhat was proposed, for etl.toml (look at each line before you believe it):\n\n{profile}");
        }
        out.push_str(&display.fitted(&closing(&found, &settings)));
    });
    Ok(0)
}

/// What was found, and what a run would make of it.
fn show(out: &mut String, probe: &Probe, width: Option<usize>) {
    let at = probe.records_at.as_deref().unwrap_or("nowhere: no list of objects was found");
    let _ = writeln!(out, "{}\n", probe.location);
    text::row(out, "records", &format!("{} looked at, found at: {at}", probe.records));
    text::row(out, "pagination", &format!("{}: {}", probe.pagination.kind, probe.pagination.because));
    text::row(out, "complete?", &probe.completeness);
    text::row(out, "window", &format!("{}\n", probe.window));
    let titles = [Column::text("  column"), Column::text("from").cut(16), Column::number("found"), Column::text("first values").wraps(24)];
    let mut table = Table::new(&titles);
    probe.columns.iter().for_each(|found| column(&mut table, found));
    table.show(out, width);
    let (rows, records) = (counted(probe.rows, "row"), counted(probe.records as u64, "record"));
    out.push('\n');
    text::row(out, "would make", &format!("{rows} of {} of {records}", probe.records_processed));
    for row in &probe.sample {
        text::row(out, "", &escaped(row));
    }
    if probe.records_skipped > 0 {
        text::row(out, "would skip", &format!("{}, as the profile says", counted(probe.records_skipped, "record")));
    }
    for (reason, count) in &probe.dropped {
        let advice = probe.advice.get(reason).copied().unwrap_or_default();
        text::row(out, "would drop", &format!("{reason:<20} {}  {advice}", text::dropped_for(reason, *count)));
    }
    for note in &probe.notes {
        text::row(out, "would lose", &escaped(note));
    }
}

/// What is left to be said.
fn closing(probe: &Probe, settings: &Settings) -> Cow<'static, str> {
    let said = match &probe.profile {
        Some(_) if !probe.is_ready => "It is not enough: with it, a run would still lose what is said above.\n",
        Some(_) => "",
        None if probe.rows == 0 => "\nNothing would be loaded, and nothing more is proposed: say where the fields are (docs/sources.md).\n",
        None if !probe.is_ready => "\nA run would lose what is said above. Nothing more is proposed: see docs/sources.md.\n",
        None => return format!("\nNothing is left to be said: `{}` loads it.\n", settings.loading_command_line("run")).into(),
    };
    said.into()
}

/// The rows of a column: where its values are, and where they may be.
fn column(table: &mut Table<'_>, found: &Found) {
    let values = found.values.join(", ");
    let values: String = values.chars().take(60).collect();
    let of = format!("{}/{}", found.found_in, found.of);
    let indent = if found.level == "line" { "    " } else { "  " };
    let name = format!("{indent}{}", found.column);
    let row = |name: &str, from: String, of: &str, values: String| [name.to_owned(), from, of.to_owned(), values];
    match (&found.path, &found.proposed) {
        (Some(path), None) => table.row(row(&name, path.clone(), &of, values)),
        (Some(path), Some(proposal)) => {
            table.row(row(&name, path.clone(), &of, values));
            table.row(row("", format!("? {}", proposal.path), "", format!("proposed before it: {}", proposal.because)));
        }
        (None, Some(proposal)) => {
            table.row(row(&name, format!("? {}", proposal.path), &of, format!("proposed: {}", proposal.because)));
        }
        (None, None) => table.row(row(&name, "-".to_owned(), &of, String::new())),
    }
}
