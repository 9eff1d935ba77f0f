//! `etl doctor`: each part that the settings name, and whether it works.

use std::fmt::Write;

use serde_json::json;

use super::{
    args::DoctorArgs,
    display::{Display, Ending},
    escaped::in_one_line,
    table::{Column, Table},
    text,
};
use crate::{
    cancel::Cancel,
    run::{Part, PartState, RunError, examine_parts},
    settings,
};

pub(super) fn run(args: &DoctorArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    let all = settings::load_shops(&args.settings.flags, &args.shops)?;
    let parts = examine_parts(&all, cancel)?;
    let failed = parts.iter().find(|part| part.state == PartState::Fails);
    let ending = if failed.is_none() { Ending::Success } else { Ending::Failure };
    display.outcome(ending, &json!({ "works": failed.is_none(), "parts": parts }), |out| show(out, &parts, display.width));
    Ok(failed.map_or(0, |part| part.exit_code))
}

fn show(out: &mut String, parts: &[Part], width: Option<usize>) {
    let mut table = Table::new(&[Column::text("part"), Column::text("state"), Column::text("what was found").wraps(20)]);
    for part in parts {
        table.row([part.part.clone(), part.state.as_str().to_owned(), in_one_line(first_line(&part.detail))]);
    }
    table.show(out, width);
    // The excerpt of a query, or a statement: its lines mean something.
    for part in parts.iter().filter(|part| first_line(&part.detail).len() < part.detail.len()) {
        out.push('\n');
        text::item(out, &format!("{}: {}", part.part, part.detail));
    }
    let count = |state: PartState| parts.iter().filter(|part| part.state == state).count();
    let _ = match (count(PartState::Fails), count(PartState::Warns)) {
        (0, 0) => writeln!(out, "\nall parts that are used work"),
        (0, warnings) => writeln!(out, "\nall parts that are used work; worth a look: {warnings}"),
        (failed, _) => writeln!(out, "\nparts that do not work: {failed}"),
    };
}

/// What a detail says before its first line break.
fn first_line(detail: &str) -> &str {
    detail.lines().next().unwrap_or_default()
}
