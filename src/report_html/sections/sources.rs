//! The sources that have been loaded, and whether each was read whole.

use super::coverage::sources;
use crate::{
    coverage::{Interval, SourceIdentity},
    report::Summary,
    report_html::{
        LayerFacts,
        numbers::{count, counted, instant},
        view::{Badge, Cell, Column, Section, Table, Tone},
    },
    source::{Completeness, CompletenessStatus},
};

/// The most sources that are listed: those that were loaded last.
const MOST_SOURCES: usize = 100;

pub(super) fn section(facts: &LayerFacts) -> Section {
    let mut section = Section::new("sources", "Sources");
    section.push(coverage(facts));
    section.push(completeness(facts));
    section
}

fn coverage(facts: &LayerFacts) -> Table {
    let columns = vec![
        Column::text("Source"),
        Column::text("Profile"),
        Column::text("Windows on"),
        Column::text("Next run continues at (UTC)"),
        Column::number("Gaps"),
        Column::text("First gap (UTC)"),
        Column::text("Undone (UTC)"),
    ];
    let mut table = Table::new("What has been loaded of each source", columns);
    let sources = sources(facts);
    let all = sources.len();
    for source in sources.iter().take(MOST_SOURCES) {
        let SourceIdentity { source: name, profile, cursor } = source.identity;
        let first = source.gaps.first().map(|gap| words(*gap));
        let undone: Vec<_> = source.undone.iter().map(|load| words(load.place.interval)).collect();
        let cells = vec![
            Cell::text(profile.clone()),
            Cell::text(cursor.clone()),
            Cell::text(source.resume_point.map_or_else(|| "the beginning".to_owned(), instant)),
            Cell::number(count(source.gaps.len() as u64)),
            Cell::text(first.unwrap_or_default()),
            Cell::text(undone.join("; ")),
        ];
        table.push(name.clone(), cells);
    }
    table.note = match all {
        0 => "No source has coverage: demos and replays add none.".to_owned(),
        all if all > MOST_SOURCES => format!("{MOST_SOURCES} of {}, those that were loaded last.", counted(all as u64, "source")),
        _ => String::new(),
    };
    table
}

/// An interval in words.
fn words(interval: Interval) -> String {
    let since = interval.window().since.map_or_else(|| "the beginning".to_owned(), instant);
    format!("{since} to before {}", instant(interval.end))
}

/// The verdicts of the latest run of each source that has some.
fn completeness(facts: &LayerFacts) -> Table {
    let columns = vec![
        Column::text("Source"),
        Column::text("Records of"),
        Column::text("Completeness"),
        Column::number("Read"),
        Column::number("Claimed"),
        Column::text("Why, or by what"),
        Column::text("Run"),
    ];
    let mut table = Table::new("Whether each source was read whole, when it was last read", columns);
    let mut known = Vec::new();
    for run in facts.runs.iter().filter(|run| run.completeness.all().next().is_some()) {
        let name = source_name(run);
        if known.contains(&name) || known.len() == MOST_SOURCES {
            continue;
        }
        for (records, completeness) in run.completeness.all() {
            table.push(name.clone(), verdict(facts, run, records, completeness));
        }
        known.push(name);
    }
    if table.rows.is_empty() {
        table.note = "None of the shown runs has read a source to its end.".to_owned();
    }
    table
}

fn verdict(facts: &LayerFacts, run: &Summary, records: &str, completeness: &Completeness) -> Vec<Cell> {
    let tone = match completeness.status {
        CompletenessStatus::Proven => Tone::Good,
        CompletenessStatus::Unproven => Tone::Warn,
        CompletenessStatus::Failed => Tone::Bad,
    };
    let undone = if facts.undone.contains_key(&run.run_id) { ", undone since" } else { "" };
    let by = completeness.by.and_then(|by| serde_json::to_value(by).ok()).and_then(|by| by.as_str().map(str::to_owned));
    vec![
        Cell::text(records),
        Cell::badge(Badge { tone, text: completeness.status.as_str().to_owned() }),
        Cell::number(count(completeness.read)),
        Cell::number(completeness.claimed.map(count).unwrap_or_default()),
        Cell::text(completeness.why.clone().or(by).unwrap_or_default()),
        Cell::text(format!("{}{undone}", run.run_id)),
    ]
}

/// The source of a run, or, where it counts for none, what it was.
fn source_name(run: &Summary) -> String {
    match (&run.identity, &run.shop) {
        (Some(identity), _) => identity.source.clone(),
        (None, Some(shop)) => format!("{} (shop {shop})", run.command.as_str()),
        (None, None) => run.command.as_str().to_owned(),
    }
}
