//! The partitions: rows, bytes, revenue.

use super::{Currencies, day_plot, left_out};
use crate::{
    layer::PartitionEntry,
    model::{Dt, currency_name},
    report_html::{
        LayerFacts,
        numbers::{bytes, count, counted, money},
        view::{Cell, Column, Figure, Made, Section, Shape, Table},
    },
};

pub(super) fn section(facts: &LayerFacts, currencies: &Currencies) -> Made {
    let mut section = Section::new("partitions", "Partitions");
    let days = facts.days.all();
    let rows = |dt: Dt| facts.state.partitions.get(&dt).map(|entry| i128::from(entry.rows));
    section.figures.push(Figure {
        id: "rows-a-day".to_owned(),
        shape: Shape::Bars,
        title: "Rows a day".to_owned(),
        desc: format!("Rows of the partition of each day from {} to {}.", facts.days.first, facts.days.last),
        plots: vec![day_plot("", &days, 1, rows)?],
        legend: Vec::new(),
        table: table(facts, currencies),
    });
    Ok(section)
}

fn table(facts: &LayerFacts, currencies: &Currencies) -> Table {
    let columns = vec![Column::text("Partition"), Column::number("Rows"), Column::number("Size"), Column::number("Revenue")];
    let mut table = Table::new("Partitions, the latest first", columns);
    for (dt, entry) in facts.state.partitions.iter().rev().filter(|(dt, _)| facts.days.contains(**dt)) {
        let cells =
            vec![Cell::number(count(entry.rows)), Cell::number(bytes(entry.version.bytes)), Cell::number(revenue(entry, currencies))];
        table.push(format!("dt={dt}"), cells);
    }
    table.note = format!("{}{}.", left_out(facts), counted(table.rows.len() as u64, "partition"));
    table
}

/// The revenue of a partition, in the currencies that have columns.
fn revenue(entry: &PartitionEntry, currencies: &Currencies) -> String {
    let known = currencies.shown().iter().filter_map(|currency| {
        let units = entry.revenue.get(&currency.code)?;
        Some(format!("{} {}", money(*units, currency.decimals), currency_name(&currency.code)))
    });
    let shown: Vec<_> = known.collect();
    let hidden = entry.revenue.len().saturating_sub(shown.len());
    let more = if hidden > 0 { format!(" and {hidden} more") } else { String::new() };
    format!("{}{more}", shown.join(" · "))
}
