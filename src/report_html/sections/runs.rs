//! The latest runs: how long each took, and how it ended.

use std::time::Duration;

use crate::{
    report::{Status, Summary},
    report_html::{
        LayerFacts,
        numbers::{count, counted, instant, short},
        picture::{Bar, Mark, Picture},
        scale::Scale,
        view::{Badge, Cell, Column, Figure, Legend, Made, Plot, Section, Shape, Table, Tick, Tone},
    },
};

pub(super) fn section(facts: &LayerFacts) -> Made {
    let mut section = Section::new("runs", "Runs");
    section.texts.push(shown(facts));
    if facts.runs.is_empty() {
        return Ok(section);
    }
    let bars: Vec<Bar> = facts.runs.iter().rev().map(|run| Some((milliseconds(run), Mark::from(tone(run.status))))).collect();
    let scale = Scale::of(bars.iter().flatten().map(|(value, _)| *value));
    let end = |run: Option<&Summary>| run.map(day).unwrap_or_default();
    let columns =
        vec![Tick { at: "0.00".to_owned(), text: end(facts.runs.last()) }, Tick { at: "100.00".to_owned(), text: end(facts.runs.first()) }];
    let failed = facts.runs.iter().filter(|run| tone(run.status) == Tone::Bad).count();
    section.figures.push(Figure {
        id: "run-times".to_owned(),
        shape: Shape::Bars,
        title: "Duration of each run, in seconds".to_owned(),
        desc: format!("{} from the oldest to the latest; {failed} of them failed.", counted(facts.runs.len() as u64, "run")),
        plots: vec![Plot {
            label: String::new(),
            picture: Picture::bars(&bars, scale)?,
            rows: scale.ticks(|mark| short(mark, 1000)),
            columns,
        }],
        legend: vec![
            Legend::new(Mark::Good, "published or unchanged"),
            Legend::new(Mark::Quiet, "dry run or locked"),
            Legend::new(Mark::Bad, "failed"),
        ],
        table: table(&facts.runs),
    });
    Ok(section)
}

/// How many of the runs are shown.
pub(super) fn shown(facts: &LayerFacts) -> String {
    match (facts.runs.len(), facts.runs_recorded) {
        (0, 0) => "No run has been recorded here.".to_owned(),
        (shown, all) if shown >= all => format!("{}, all that are recorded.", counted(shown as u64, "run")),
        (shown, all) => format!("The latest {} of {} that are recorded.", count(shown as u64), counted(all as u64, "run")),
    }
}

fn table(runs: &[Summary]) -> Table {
    let columns = vec![
        Column::text("Run"),
        Column::text("Outcome"),
        Column::text("Started (UTC)"),
        Column::number("Seconds"),
        Column::text("Command"),
        Column::text("Window"),
        Column::number("Records read"),
        Column::number("Dropped"),
        Column::number("Rows written"),
        Column::text("Error"),
    ];
    let mut table = Table::new("Runs, the latest first", columns);
    for run in runs {
        let rows = &run.rows;
        let shop = run.shop.as_ref().map(|shop| format!(" (shop {shop})")).unwrap_or_default();
        let cells = vec![
            Cell::badge(outcome(run.status)),
            Cell::text(instant(run.started_at)),
            Cell::number(format!("{:.2}", run.execution_time_seconds)),
            Cell::text(format!("{}{shop}", run.command.as_str())),
            Cell::text(window(run)),
            Cell::number(count(run.records.records_read)),
            Cell::number(count(run.records_dropped())),
            Cell::number(count(rows.rows_inserted + rows.rows_updated + rows.rows_moved)),
            Cell::text(run.error.clone().unwrap_or_default()),
        ];
        table.push(run.run_id.clone(), cells);
    }
    table
}

fn window(run: &Summary) -> String {
    let short = |text: String| text.strip_suffix("T00:00:00Z").map(str::to_owned).unwrap_or(text);
    let (since, until) = (run.since.map(|since| short(since.rfc3339())), run.until.map(|until| short(until.rfc3339())));
    match (since, until) {
        (None, None) => "everything".to_owned(),
        (Some(since), None) => format!("from {since}"),
        (None, Some(until)) => format!("before {until}"),
        (Some(since), Some(until)) => format!("from {since} to before {until}"),
    }
}

/// The day on which a run started.
fn day(run: &Summary) -> String {
    run.started_at.rfc3339().split('T').next().unwrap_or_default().to_owned()
}

fn milliseconds(run: &Summary) -> i128 {
    let duration = Duration::try_from_secs_f64(run.execution_time_seconds).unwrap_or_default();
    i128::try_from(duration.as_millis()).unwrap_or_default()
}

/// How a run ended, as a word with its tone.
pub(super) fn outcome(status: Status) -> Badge {
    Badge { tone: tone(status), text: status.as_str().replace('_', " ") }
}

fn tone(status: Status) -> Tone {
    match status {
        Status::Published | Status::Unchanged => Tone::Good,
        Status::DryRun | Status::Locked | Status::Unknown => Tone::Plain,
        Status::ExtractFailed
        | Status::ChecksFailed
        | Status::StorageFailed
        | Status::Interrupted
        | Status::InvalidConfiguration
        | Status::InternalError => Tone::Bad,
    }
}
