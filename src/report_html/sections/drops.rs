//! What was dropped, by reason, and samples of it as they lie in quarantine: personal data stands there, too.

use std::collections::BTreeMap;

use super::runs;
use crate::{
    net::redact,
    report::{Quarantined, Sample},
    report_html::{
        LayerFacts,
        numbers::{count, counted},
        view::{Cell, Column, Fold, Section, Table},
    },
};

/// The most characters of a record, as `etl quarantine` shows them.
const LONGEST_RECORD: usize = 100;

pub(super) fn section(facts: &LayerFacts) -> Section {
    let mut section = Section::new("drops", "Dropped records and lines");
    let mut by_reason: BTreeMap<&'static str, (u64, u64)> = BTreeMap::new();
    for run in &facts.runs {
        for (reason, dropped) in run.dropped_by_reason() {
            let (all, runs) = by_reason.entry(reason).or_default();
            *all += dropped;
            *runs += 1;
        }
    }
    section.texts.push(runs::shown(facts));
    let mut table = Table::new("Drops by reason", vec![Column::text("Reason"), Column::number("Dropped"), Column::number("Runs")]);
    for (reason, (dropped, runs)) in by_reason {
        table.push(reason, vec![Cell::number(count(dropped)), Cell::number(count(runs))]);
    }
    if table.rows.is_empty() {
        "None of them has dropped anything.".clone_into(&mut table.note);
    }
    section.push(table);
    section.tables.extend(facts.quarantined.iter().map(samples));
    section
}

fn samples(of_run: &Quarantined) -> Table {
    let columns =
        vec![Column::text("Reason"), Column::number("Dropped"), Column::text("Order"), Column::text("Record, as it was delivered")];
    let mut table = Table::new(format!("Quarantine of run {}", of_run.run_id), columns);
    for (reason, dropped) in &of_run.reasons {
        let mut shown = false;
        for sample in of_run.samples.iter().filter(|sample| sample.reason == *reason) {
            let dropped = if shown { String::new() } else { count(*dropped) };
            let order = sample.order_id.clone().unwrap_or_default();
            table.push(reason.clone(), vec![Cell::number(dropped), Cell::text(order), Cell::code(record(sample))]);
            shown = true;
        }
        if !shown {
            table.push(reason.clone(), vec![Cell::number(count(*dropped)), Cell::text(""), Cell::code("")]);
        }
    }
    let replayed = match of_run.replayed_by.as_slice() {
        [] => String::new(),
        runs => format!(" Replayed by {}.", runs.join(", ")),
    };
    table.fold = Fold::Closed;
    table.note = format!("{} in {}.{replayed}", counted(of_run.dropped, "drop"), of_run.file);
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
