//! What was dropped, by reason, and samples of it as they lie in quarantine: personal data stands there, too.

use std::collections::BTreeMap;

use super::{Shops, in_brackets, runs};
use crate::{
    model::{DropCounts, Level, Reason},
    net::redact,
    report::{Quarantined, Sample, replayed_runs},
    report_html::{
        LayerFacts,
        numbers::{beneath, count, counted, drops},
        view::{Cell, Column, Fold, Section, Table},
    },
};

/// The most characters of a record, as `etl quarantine` shows them.
const LONGEST_RECORD: usize = 100;

pub(super) fn section(facts: &LayerFacts) -> Section {
    let mut section = Section::new("drops", "Dropped records and lines");
    section.texts.push(runs::shown(facts));
    section.push(by_reason(facts));
    section.texts.extend(facts.quarantined.iter().filter(|of_run| of_run.is_replayed()).map(replayed));
    let waits = facts.quarantined.iter().filter(|of_run| !of_run.is_replayed());
    section.tables.extend(waits.map(|of_run| samples(of_run, &facts.location)));
    section
}

/// How often a reason has dropped something.
#[derive(Clone, Copy, Default)]
struct ReasonCounts {
    /// Records, or lines of them.
    dropped: u64,
    runs: u64,
}

/// How often each reason has dropped something that no replay has read again, as `etl status` counts it.
fn by_reason(facts: &LayerFacts) -> Table {
    let replayed = replayed_runs(&facts.runs);
    let mut left_out = DropCounts::default();
    let mut by_reason: BTreeMap<(&'static str, Option<&str>), ReasonCounts> = BTreeMap::new();
    for run in &facts.runs {
        if replayed.contains(&run.run_id) {
            left_out.absorb(run.drops());
            continue;
        }
        for (reason, dropped) in run.dropped_by_reason() {
            let counts = by_reason.entry((reason, run.shop.as_deref())).or_default();
            counts.dropped += dropped;
            counts.runs += 1;
        }
    }
    let shops = Shops::of(facts);
    let shop_column = (shops == Shops::Named).then(|| Column::text("Shop"));
    let counts = [Column::number("Times dropped"), Column::text("Unit"), Column::number("Runs")];
    let columns = [Column::text("Reason")].into_iter().chain(shop_column).chain(counts);
    let mut table = Table::new("Drops by reason", columns.collect());
    for ((reason, shop), ReasonCounts { dropped, runs }) in by_reason {
        let counts = [Cell::number(count(dropped)), Cell::text(unit(reason, dropped)), Cell::number(count(runs))];
        table.push(reason, shops.cell(shop).into_iter().chain(counts).collect());
    }
    table.note = match table.rows.is_empty() {
        true => "None of them has dropped anything that was not replayed since.".to_owned(),
        false => "Times dropped, in all runs listed: a record that several runs read counts once for each of them.".to_owned(),
    };
    if !left_out.is_none() {
        table.note += &format!(" Not counted, since they were replayed: {}.", drops(left_out));
    }
    if facts.runs_of_status != facts.runs.len() {
        table.note += &format!(" `etl status` counts the latest {}.", counted(facts.runs_of_status as u64, "run"));
    }
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
    let (run_id, shop) = (&of_run.run_id, in_brackets(of_run.shop()));
    format!("Run {run_id}{shop}: {}, replayed by {}.", drops(of_run.drops), of_run.replayed_by.join(", "))
}

/// What a run has dropped. A replay has read what somebody may have mended in the quarantine of another run.
fn samples(of_run: &Quarantined, location: &str) -> Table {
    let replay_of = of_run.run.as_ref().and_then(|run| run.replay_of.as_ref());
    let as_read = if replay_of.is_some() { "Record, as it was replayed" } else { "Record, as it was delivered" };
    let columns =
        vec![Column::text("Reason"), Column::number("Dropped"), Column::text("Unit"), Column::text("Order"), Column::text(as_read)];
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
    let source = replay_of.map(|run| format!(" A replay of what run {run} had dropped.")).unwrap_or_default();
    table.fold = Fold::Closed;
    let shop = of_run.shop().map(|shop| format!(" Of shop {shop}.")).unwrap_or_default();
    table.note = format!("{} in {}.{shop}{source}", drops(of_run.drops), beneath(location, &of_run.file));
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
