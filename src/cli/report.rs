//! `etl report`: the layer as one HTML file, or on stdout.

use std::{fmt::Write, path::Path};

use indicatif::HumanBytes;
use serde_json::json;

use super::{
    args::ReportArgs,
    display::{Display, Ending},
    terminal, text,
};
use crate::{
    cancel::Cancel,
    report_html,
    run::{LayerReportRequest, RunError, layer_facts, recover_unless_held, refuse_inside_layer},
    settings::{self, SettingsError},
    store::{self, Output},
};

pub(super) fn run(args: &ReportArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    refuse_output_as_file(&args.file)?;
    let settings = settings::load(&args.config.flags)?;
    let output = Output::open(&settings.output)?;
    recover_unless_held(&output)?;
    let to_stdout = args.file == Path::new("-");
    if !to_stdout {
        refuse_inside_layer(&output, "--file", &args.file)?;
    }
    let days = i32::try_from(args.days.get()).unwrap_or(i32::MAX);
    let facts = layer_facts(&LayerReportRequest { settings: &settings, runs: args.limit.get(), days, cancel })?;
    let page = report_html::page(&facts).map_err(|error| RunError::Internal(error.to_string()))?;
    if to_stdout {
        display.verbatim(&page);
        return Ok(0);
    }
    store::replace_file(&args.file, page.as_bytes())?;
    let result = json!({
        "report": args.file.display().to_string(),
        "bytes": page.len(),
        "first_dt": facts.days.first,
        "last_dt": facts.days.last,
        "runs": facts.runs.len(),
        "runs_recorded": facts.runs_recorded,
        "days_uncounted": facts.uncounted.len(),
    });
    display.outcome(Ending::Success, &result, |out| {
        let days = format!("dt={} to dt={}", facts.days.first, facts.days.last);
        text::row(out, "report", &format!("{} ({})", terminal::unbroken(&args.file.display().to_string()), HumanBytes(page.len() as u64)));
        text::row(out, "shows", &format!("{days}, {} of {}", facts.runs.len(), text::counted(facts.runs_recorded as u64, "run")));
        if !facts.uncounted.is_empty() {
            let _ = writeln!(
                out,
                "the orders of {} could not be counted: the report says why",
                text::counted(facts.uncounted.len() as u64, "day")
            );
        }
    });
    Ok(0)
}

/// Fails where `-o` names a folder or a bucket: somebody means the output, as `-o` does in every other command.
fn refuse_output_as_file(file: &Path) -> Result<(), SettingsError> {
    let text = file.display().to_string();
    if !file.is_dir() && !text.contains("://") {
        return Ok(());
    }
    let detail = "this is no file. In `etl report`, -o is the file of the page: name the layer with --output";
    Err(SettingsError::flag("-o, --file", &text, detail))
}
