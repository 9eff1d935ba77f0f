//! The alerts that are open; no section where none is.

use crate::{
    model::parse_time_text,
    report::alert::OpenAlert,
    report_html::{
        LayerFacts,
        numbers::instant,
        view::{Badge, Cell, Column, Section, Table, Tone},
    },
};

/// The message, with the run whose counts it tells where that is not the run that raised the alert.
fn message(alert: &OpenAlert) -> String {
    match alert.run_of_message().filter(|run_id| *run_id != alert.run_id) {
        Some(run_id) => format!("{} (run {run_id})", alert.message),
        None => alert.message.clone(),
    }
}

pub(super) fn section(facts: &LayerFacts) -> Option<Section> {
    if facts.open_alerts.is_empty() {
        return None;
    }
    let columns = ["Alert", "Kind", "Message", "Since (UTC)", "Raised by run"].into_iter().map(Column::text).collect::<Vec<_>>();
    let mut table = Table::new("Open alerts", columns);
    for (place, alert) in facts.open_alerts.iter().enumerate() {
        let tone = if alert.kind.is_critical() { Tone::Bad } else { Tone::Warn };
        let cells = vec![
            Cell::badge(Badge { tone, text: alert.kind.as_str().replace('_', " ") }),
            Cell::text(message(alert)),
            Cell::text(parse_time_text(&alert.since).map_or_else(|| alert.since.clone(), instant)),
            Cell::text(alert.run_id.clone()),
        ];
        table.push((place + 1).to_string(), cells);
    }
    let mut section = Section::new("alerts", "Open alerts");
    section.tables.push(table);
    Some(section)
}
