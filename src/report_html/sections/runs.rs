//! The latest runs: how long each took, and how it ended.

use std::time::Duration;

use super::in_brackets;
use crate::{
    report::{Status, Summary},
    report_html::{
        LayerFacts,
        numbers::{count, counted, instant, short},
        picture::{Bar, Mark, Picture},
        scale::Scale,
        view::{Badge, Cell, Column, Figure, Legend, Made, Plot, Section, Shape, Table, Tick, Ticks, Tone},
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
            columns: ends(&facts.runs),
        }],
        legend: vec![
            Legend::new(Mark::Good, "published or unchanged"),
            Legend::new(Mark::Quiet, "dry run or locked"),
            Legend::new(Mark::Bad, "failed"),
        ],
        table: table(facts),
    });
    Ok(section)
}

/// The labels of the first and the last bar: days, or times of the day if all runs are of one.
fn ends(runs: &[Summary]) -> Ticks {
    let (Some(latest), Some(oldest)) = (runs.first(), runs.last()) else { return Ticks::new() };
    let is_one_day = instant(oldest.started_at).split(' ').next() == instant(latest.started_at).split(' ').next();
    let label = |run: &Summary| {
        let started = instant(run.started_at);
        let (day, time) = started.split_once(' ').unwrap_or((started.as_str(), ""));
        if is_one_day { time.to_owned() } else { day.to_owned() }
    };
    match runs {
        [run] => vec![Tick { at: "50.00".to_owned(), text: instant(run.started_at) }],
        _ => vec![Tick { at: "0.00".to_owned(), text: label(oldest) }, Tick { at: "100.00".to_owned(), text: label(latest) }],
    }
}

/// How many of the runs are shown.
pub(super) fn shown(facts: &LayerFacts) -> String {
    match (facts.runs.len(), facts.runs_recorded) {
        (0, 0) => "No run has been recorded here.".to_owned(),
        (shown, all) if shown >= all => format!("{}, all that are recorded.", counted(shown as u64, "run")),
        (shown, all) => format!("The latest {} of {} that are recorded.", count(shown as u64), counted(all as u64, "run")),
    }
}

fn table(facts: &LayerFacts) -> Table {
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
    ];
    let mut table = Table::new("Runs, the latest first", columns);
    for run in &facts.runs {
        let shop = in_brackets(run.shop.as_deref());
        let undone = if facts.undone.contains_key(&run.run_id) { ", undone" } else { "" };
        let cells = vec![
            Cell::badge(outcome(run.status)),
            Cell::text(instant(run.started_at)),
            Cell::number(format!("{:.2}", run.execution_time_seconds)),
            Cell::text(format!("{}{shop}{undone}", run.command.as_str())),
            Cell::text(window(run)),
            Cell::number(count(run.records.records_read)),
            Cell::number(count(run.records_dropped())),
            Cell::number(count(run.rows_written())),
        ];
        table.push_with(run.run_id.clone(), cells, run.error.clone().unwrap_or_default());
    }
    table.note = "Rows written are new and changed rows that were published: of a run that published nothing there are none.".to_owned();
    table
}

/// The window of a run; "-" for a command that has none, such as an undo.
fn window(run: &Summary) -> String {
    if !run.command.has_window() {
        return "-".to_owned();
    }
    let short = |text: String| text.strip_suffix("T00:00:00Z").map(str::to_owned).unwrap_or(text);
    let (since, until) = (run.since.map(|since| short(since.rfc3339())), run.until.map(|until| short(until.rfc3339())));
    match (since, until) {
        (None, None) => "everything".to_owned(),
        (Some(since), None) => format!("from {since}"),
        (None, Some(until)) => format!("before {until}"),
        (Some(since), Some(until)) => format!("from {since} to before {until}"),
    }
}

/// How long a run took: a millisecond at least, so that each has a bar.
fn milliseconds(run: &Summary) -> i128 {
    let duration = Duration::try_from_secs_f64(run.execution_time_seconds).unwrap_or_default();
    i128::try_from(duration.as_millis()).unwrap_or_default().max(1)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UtcMicros;

    #[test]
    fn the_ends_of_the_axis_are_told_apart() {
        let run = |day, second| Summary::new("r".into(), None, None, UtcMicros::from_civil((2026, 1, day), second, 0, 0).unwrap());
        let shown = |runs: &[Summary]| ends(runs).into_iter().map(|tick| tick.text).collect::<Vec<_>>();
        assert_eq!(shown(&[run(9, 60), run(2, 0)]), ["2026-01-02", "2026-01-09"], "the oldest is to the left");
        assert_eq!(shown(&[run(2, 3_661), run(2, 60), run(2, 0)]), ["00:00:00", "01:01:01"], "all of one day");
        assert_eq!(shown(&[run(2, 0)]), ["2026-01-02 00:00:00"]);
        assert_eq!(shown(&[]), [""; 0]);
    }

    #[test]
    fn a_run_that_took_no_time_has_a_bar() {
        assert_eq!(milliseconds(&Summary::new("r".into(), None, None, UtcMicros::new(0).unwrap())), 1);
    }
}
