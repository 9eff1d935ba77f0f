//! What the shown runs did to rows: inserted, updated, superseded, deleted; and what was undone.

use super::runs;
use crate::{
    report::Summary,
    report_html::{
        LayerFacts,
        numbers::{count, counted},
        view::{Cell, Column, Section, Table},
    },
};

/// A count of rows with its name.
type Counted = (&'static str, fn(&Summary) -> u64);

/// What may become of rows and orders.
const KINDS: [Counted; 11] = [
    ("Rows inserted", |run| run.rows.rows_inserted),
    ("Rows updated", |run| run.rows.rows_updated),
    ("Rows moved to another day", |run| run.rows.rows_moved),
    ("Rows unchanged", |run| run.rows.rows_unchanged),
    ("Lines superseded by newer rows of the layer", |run| run.rows.rows_superseded),
    ("Lines dropped as duplicates within a run", |run| run.rows.duplicates_dropped),
    ("Rows removed: a newer version of their order has them no more", |run| run.rows.rows_removed),
    ("Rows deleted: the source no longer has their order", |run| run.rows.rows_deleted),
    ("Rows marked as deleted", |run| run.rows.rows_marked),
    ("Orders deleted", |run| run.deletions.orders_deleted),
    ("Orders marked as deleted", |run| run.deletions.orders_marked),
];

pub(super) fn section(facts: &LayerFacts) -> Section {
    let mut section = Section::new("changes", "Changed, superseded and deleted");
    let shown = runs::shown(facts);
    section.texts.push(format!("{shown} Runs that did not publish, and runs that were undone, count for nothing in the first table."));
    let committed: Vec<_> = facts.standing().into_iter().filter(|run| run.commit.is_some()).collect();
    let mut table = Table::new("What became of rows", vec![Column::text("What"), Column::number("Count"), Column::number("Runs")]);
    for (what, of_run) in KINDS {
        let all: u64 = committed.iter().map(|run| of_run(run)).sum();
        let runs = committed.iter().filter(|run| of_run(run) > 0).count();
        table.push(what, vec![Cell::number(count(all)), Cell::number(count(runs as u64))]);
    }
    section.tables.push(table);
    let noted: Vec<_> = facts.runs.iter().filter_map(|run| Some((run, note(run, facts.undone.get(&run.run_id))?))).collect();
    if !noted.is_empty() {
        let mut table = Table::new("Undone runs and deletions", vec![Column::text("Run"), Column::text("What it did")]);
        noted.into_iter().for_each(|(run, note)| table.push(run.run_id.clone(), vec![Cell::text(note)]));
        section.tables.push(table);
    }
    section
}

/// What a run did that is worth a line of its own, and the run that has undone it.
fn note(run: &Summary, undone_by: Option<&String>) -> Option<String> {
    let deletions = &run.deletions;
    let mut notes = Vec::new();
    notes.extend(run.undoes.as_ref().map(|undone| format!("undid run {undone}")));
    if deletions.orders_deleted > 0 {
        notes.push(format!("deleted {} that the source no longer has", counted(deletions.orders_deleted, "order")));
    }
    if deletions.orders_marked > 0 {
        notes.push(format!("marked {} as deleted", counted(deletions.orders_marked, "order")));
    }
    notes.extend(deletions.deletions_refused.as_ref().map(|why| format!("deleted nothing, although that was asked for: {why}")));
    notes.extend(undone_by.map(|undo| format!("undone since, by run {undo}")));
    (!notes.is_empty()).then(|| notes.join("; "))
}
