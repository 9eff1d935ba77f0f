//! What was dropped, by reason, and samples of it as they lie in quarantine: personal data stands there, too.

use std::collections::BTreeMap;

use super::runs;
use crate::{
    model::{DropCounts, Level, Reason},
    net::redact,
    report::{Quarantined, Replays, Sample, Summary},
    report_html::{
        LayerFacts,
        numbers::{beneath, count, drops},
        view::{Cell, Column, Fold, Section, Table},
    },
};

/// The most characters of a record, as `etl quarantine` shows them.
const LONGEST_RECORD: usize = 100;

pub(super) fn section(facts: &LayerFacts) -> Section {
    let mut section = Section::new("drops", "Dropped records and lines");
    section.texts.push(runs::shown(facts));
    section.push(by_reason(&facts.runs));
    section.texts.extend(facts.quarantined.iter().filter(|of_run| of_run.is_replayed()).map(replayed));
    let waits = facts.quarantined.iter().filter(|of_run| !of_run.is_replayed());
    section.tables.extend(waits.map(|of_run| samples(of_run, &facts.location)));
    section
}

/// What these runs, the latest first, have dropped, without what a later one of them has replayed.
fn by_reason(runs: &[Summary]) -> Table {
    let mut by_reason: BTreeMap<&'static str, (u64, u64)> = BTreeMap::new();
    let (mut replays, mut replayed) = (Replays::default(), DropCounts::default());
    for run in runs {
        if replays.of(&run.run_id).is_empty() {
            for (reason, dropped) in run.dropped_by_reason() {
                let (all, runs) = by_reason.entry(reason).or_default();
                *all += dropped;
                *runs += 1;
            }
        } else {
            replayed.absorb(run.drops());
        }
        replays.note(run);
    }
    let columns = vec![Column::text("Reason"), Column::number("Dropped"), Column::text("Unit"), Column::number("Runs")];
    let mut table = Table::new("Drops by reason", columns);
    for (reason, (dropped, runs)) in by_reason {
        table.push(reason, vec![Cell::number(count(dropped)), Cell::text(unit(reason, dropped)), Cell::number(count(runs))]);
    }
    table.note = match (table.rows.is_empty(), replayed.is_none()) {
        (true, true) => "None of them has dropped anything.".to_owned(),
        (false, true) => String::new(),
        (true, false) => format!("All that they have dropped was replayed: {}.", drops(replayed)),
        (false, false) => format!("Without {} of these runs, which were replayed.", drops(replayed)),
    };
    table
}

/// What a reason drops: records, or lines of them. An unknown reason drops a record.
fn unit(reason: &str, dropped: u64) -> &'static str {
    let level = Reason::ALL.iter().find(|known| known.as_str() == reason).map_or(Level::Record, |known| known.level());
    match (level, dropped) {
        (Level::Record, 1) => "record",
        (Level::Record, _) => "records",
        (Level::Line, 1) => "line",
        (Level::Line, _) => "lines",
    }
}

/// A run whose drops no longer wait.
fn replayed(of_run: &Quarantined) -> String {
    format!("Run {}: {}, replayed by {}.", of_run.run_id, drops(of_run.drops), of_run.replayed_by.join(", "))
}

fn samples(of_run: &Quarantined, location: &str) -> Table {
    let columns = vec![
        Column::text("Reason"),
        Column::number("Dropped"),
        Column::text("Unit"),
        Column::text("Order"),
        Column::text("Record, as it was delivered"),
    ];
    let mut table = Table::new(format!("Quarantine of run {}", of_run.run_id), columns);
    for (reason, dropped) in &of_run.reasons {
        let mut counts = [count(*dropped), unit(reason, *dropped).to_owned()];
        for sample in of_run.samples.iter().filter(|sample| sample.reason == *reason) {
            let [dropped, unit] = std::mem::take(&mut counts);
            let order = sample.order_id.clone().unwrap_or_default();
            table.push(reason.clone(), vec![Cell::number(dropped), Cell::text(unit), Cell::text(order), Cell::code(record(sample))]);
        }
        let [dropped, unit] = counts;
        if !dropped.is_empty() {
            table.push(reason.clone(), vec![Cell::number(dropped), Cell::text(unit), Cell::text(""), Cell::code("")]);
        }
    }
    table.fold = Fold::Closed;
    table.note = format!("{} in {}.", drops(of_run.drops), beneath(location, &of_run.file));
    table
}

/// The beginning of a record.
fn record(sample: &Sample) -> String {
    let record = sample.record.as_ref().map_or_else(|| sample.record_base64.as_deref().unwrap_or_default(), |record| record.get());
    // Before it is cut: a part of a secret would not be found.
    let record = redact::text(record);
    let cut = record.char_indices().nth(LONGEST_RECORD);
    match cut {
        Some((end, _)) => format!("{}…", record.get(..end).unwrap_or_default()),
        None => record.into_owned(),
    }
}
