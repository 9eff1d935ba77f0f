//! `etl demo`: the whole job against the embedded API.

use std::{fmt::Write, path::Path};

use super::{args::DemoArgs, display::Display, run::run_and_show};
use crate::{
    cancel::Cancel,
    demo::DemoApi,
    report::{self, AlertKind, CommandName, Summary},
    run::{RequestError, RunError},
    settings::{GivenOptions, Location, LocationError, MistakenUrl, Settings, SettingsError, refuse_file},
    store::{Output, StoreError, places},
};

/// Said before anything else, so that nobody is alarmed.
const BEFOREHAND: &str = "The data of the demo is bad on purpose, so that every rule shows: it has malformed records, a price that is missing, an order without a currency, users and products that nobody knows, and an API that fails once. Expect a retry, dropped records, warnings and an alert.";

/// Said after the commands to go on with: what they show is meant, too.
const AFTERWARDS: &str = "The alert stays open, so that `status` answers \"not healthy\". A `quarantine replay` drops the same records again, with the same alert: nobody has corrected them. All of this is meant, too.";

pub(super) fn run(args: &DemoArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    let text = args.output.to_string_lossy().into_owned();
    if text.contains("://") || MistakenUrl::of(&text).is_some() {
        return Err(SettingsError::flag("--output", &text, "the demo writes into a folder").into());
    }
    refuse_file("--output", &args.output)?;
    refuse_foreign(&args.output)?;
    display.note(BEFOREHAND);
    let api = DemoApi::start().map_err(|error| RunError::Internal(format!("the embedded API can't be started: {error}")))?;
    let location =
        |resource: &str| api.url(resource).parse::<Location>().map_err(|error: LocationError| RunError::Internal(error.to_string()));
    let settings = Settings {
        orders: Some(location("orders")?.into()),
        users: Some(location("users")?.into()),
        products: Some(location("products")?.into()),
        // Every command that the end proposes must look at the demo, and not at the usual output.
        given: GivenOptions::of_output(&args.output.to_string_lossy()),
        ..Settings::plain(args.output.clone())
    };
    Ok(run_and_show(&settings, CommandName::Demo, display, cancel, |out, summary| {
        let output = args.output.display();
        meanings(out, summary);
        let _ = writeln!(
            out,
            "\nLook at it:    head {output}/{}/dt=*/{}.csv\n               head {output}/{}/*/*.csv",
            places::CURATED,
            places::PARTITION_FILE,
            places::DIMS
        );
        for (what, command) in
            [("What it drops: ", "quarantine"), ("Its health:    ", "status"), ("As a page:     ", "report --file report.html")]
        {
            let _ = writeln!(out, "{what}{}", settings.command_line(command));
        }
        let _ = writeln!(out, "{AFTERWARDS}");
        let _ = writeln!(out, "Run it again: nothing changes. Your own orders: etl run --orders URL-or-files");
    }))
}

/// What the findings of the demo mean, each of which is meant.
fn meanings(out: &mut String, summary: &Summary) {
    let _ = writeln!(out, "\nAll of this is meant: the data of the demo is bad on purpose. What it means:");
    for alert in &summary.alerts {
        let _ = writeln!(out, "  alert {}: {}", alert.kind.as_str(), meaning(alert.kind));
    }
    if summary.revenue.contains_key("") {
        let _ = writeln!(out, "  no currency: the revenue of orders that name none. It is never added to that of a currency.");
    }
    if summary.checks.iter().any(|check| !check.passed) {
        let _ = writeln!(out, "  warn: a check of severity warn found rows to look at. The run is published all the same.");
    }
    let _ =
        writeln!(out, "  inferred: orders name a user or product that no source knows. It gets a row, so that a join loses no revenue.");
}

/// What an alert says of the data, and where to look.
fn meaning(kind: AlertKind) -> &'static str {
    match kind {
        AlertKind::DroppedShare => {
            "more than 5 % of the records were dropped (alerts.dropped_percent). Each lies in quarantine, with its reason."
        }
        AlertKind::SlowRun => "this run took far longer than those before it. On a busy machine that says nothing.",
        _ => "docs/operations.md#alerts says what it means.",
    }
}

/// Refuses a folder that holds anything but layers of demos.
fn refuse_foreign(folder: &Path) -> Result<(), RunError> {
    let output = Output::new(folder.to_owned());
    let names = names_in(folder)?;
    let foreign = names.iter().find(|name| !places::FOLDERS.contains(&name.as_str()));
    let refused = |what: String| RunError::from(RequestError::ForeignOutput { folder: folder.to_owned(), what });
    if let Some(name) = foreign {
        return Err(refused(format!("`{name}`, which is not the demo's")));
    }
    let mut runs = report::recorded_summaries(&output)?.peekable();
    if runs.peek().is_none() && !output.names(places::CURATED)?.is_empty() {
        return Err(refused("a layer that no demo has made".to_owned()));
    }
    for run in runs {
        let run = run?;
        if run.command != CommandName::Demo {
            return Err(refused(format!("a layer of `etl {}` (run {})", run.command.as_str(), run.run_id)));
        }
    }
    Ok(())
}

/// The names in a folder; none where there is no folder.
fn names_in(folder: &Path) -> Result<Vec<String>, StoreError> {
    match folder.read_dir() {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(StoreError::Io { action: "list", path: folder.to_owned(), source }),
    }
}
