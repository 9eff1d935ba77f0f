//! Distinct orders a day, by currency.

use super::{Currencies, CurrencyOfLayer, day_plot, left_out};
use crate::{
    model::{Dt, currency_name},
    report_html::{
        LayerFacts, PageError,
        numbers::{count, counted},
        view::{Cell, Column, Figure, Made, Plot, Section, Shape, Table},
    },
};

/// The most days whose orders could not be counted that are named.
const MOST_NAMED: usize = 5;

pub(super) fn section(facts: &LayerFacts, currencies: &Currencies) -> Made {
    let mut section = Section::new("orders", "Orders");
    let days = facts.days.all();
    let plots = currencies.shown().iter().map(|currency| plot(facts, &days, currency)).collect::<Result<Vec<_>, _>>()?;
    section.figures.push(Figure {
        id: "orders-a-day".to_owned(),
        shape: Shape::Bars,
        title: "Orders a day".to_owned(),
        desc: format!("Distinct orders of each day from {} to {}, by currency.", facts.days.first, facts.days.last),
        plots,
        legend: Vec::new(),
        table: days_table(facts, currencies),
    });
    section.texts.push("An order counts once in each currency that its lines have.".to_owned());
    if !facts.uncounted.is_empty() {
        let named: Vec<_> = facts.uncounted.iter().take(MOST_NAMED).map(|(dt, why)| format!("{dt}: {why}")).collect();
        let days = counted(facts.uncounted.len() as u64, "day");
        section.texts.push(format!("The orders of {days} could not be counted. {}", named.join(" ")));
    }
    Ok(section)
}

fn plot(facts: &LayerFacts, days: &[Dt], currency: &CurrencyOfLayer) -> Result<Plot, PageError> {
    let orders = |dt: Dt| facts.orders.get(&dt)?.get(&currency.code).map(|orders| i128::from(*orders));
    day_plot(currency_name(&currency.code), days, 1, orders)
}

fn days_table(facts: &LayerFacts, currencies: &Currencies) -> Table {
    let shown = currencies.shown();
    let mut columns = vec![Column::text("Day")];
    columns.extend(shown.iter().map(|currency| Column::number(currency_name(&currency.code))));
    let mut table = Table::new("Orders a day", columns);
    for (dt, orders) in facts.orders.iter().rev() {
        let cell = |currency: &CurrencyOfLayer| Cell::number(orders.get(&currency.code).map_or(String::new(), |orders| count(*orders)));
        table.push(dt.to_string(), shown.iter().map(cell).collect());
    }
    table.note = format!("{}{}{}.", left_out(facts), currencies.note(), counted(table.rows.len() as u64, "day"));
    table
}
