//! `etl doctor`: each part that the settings name, and whether it works.

use std::fmt::Write;

use serde_json::json;

use super::{
    aligned::aligned,
    args::DoctorArgs,
    display::{Display, Ending},
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
    display.outcome(ending, &json!({ "works": failed.is_none(), "parts": parts }), |out| show(out, &parts));
    Ok(failed.map_or(0, |part| part.exit_code))
}

fn show(out: &mut String, parts: &[Part]) {
    let rows = parts.iter().map(|part| {
        let detail = part.detail.split_whitespace().collect::<Vec<_>>().join(" ");
        [part.part.clone(), part.state.as_str().to_owned(), detail]
    });
    out.push_str(&aligned(&["part", "state", "what was found"], rows));
    let count = |state: PartState| parts.iter().filter(|part| part.state == state).count();
    let _ = match (count(PartState::Fails), count(PartState::Warns)) {
        (0, 0) => writeln!(out, "\nall parts that are used work"),
        (0, warnings) => writeln!(out, "\nall parts that are used work; worth a look: {warnings}"),
        (failed, _) => writeln!(out, "\nparts that do not work: {failed}"),
    };
}
