//! Revenue a day, by currency. Exact: the sums are those of the commit.

use super::{Currencies, CurrencyOfLayer, day_plot, left_out};
use crate::{
    model::{Dt, currency_name},
    report_html::{
        LayerFacts, PageError,
        numbers::{MONEY, count, counted, money},
        view::{Cell, Column, Figure, Made, Plot, Section, Shape, Table},
    },
};

/// The most currencies that are listed.
const MOST_LISTED: usize = 200;

pub(super) fn section(facts: &LayerFacts, currencies: &Currencies) -> Made {
    let mut section = Section::new("revenue", "Revenue");
    let days = facts.days.all();
    let plots = currencies.shown().iter().map(|currency| plot(facts, &days, currency)).collect::<Result<Vec<_>, _>>()?;
    let codes: Vec<_> = currencies.shown().iter().map(|currency| currency_name(&currency.code)).collect();
    section.figures.push(Figure {
        id: "revenue-a-day".to_owned(),
        shape: Shape::Bars,
        title: "Revenue a day".to_owned(),
        desc: format!("Revenue of each day from {} to {}, for {}.", facts.days.first, facts.days.last, codes.join(", ")),
        plots,
        legend: Vec::new(),
        table: days_table(facts, currencies),
    });
    let mut sums =
        Table::new("Revenue of all days, by currency", vec![Column::text("Currency"), Column::number("Days"), Column::number("Revenue")]);
    for currency in currencies.all.iter().take(MOST_LISTED) {
        let cells = vec![Cell::number(count(currency.days as u64)), Cell::number(money(currency.revenue, currency.decimals))];
        sums.push(currency_name(&currency.code), cells);
    }
    if currencies.all.len() > MOST_LISTED {
        sums.note = format!("{MOST_LISTED} of {}.", counted(currencies.all.len() as u64, "currency"));
    }
    sums.id = "currencies";
    section.tables.push(sums);
    Ok(section)
}

fn plot(facts: &LayerFacts, days: &[Dt], currency: &CurrencyOfLayer) -> Result<Plot, PageError> {
    let value = |dt: Dt| facts.state.partitions.get(&dt)?.revenue.get(&currency.code).copied();
    day_plot(currency_name(&currency.code), days, MONEY, value)
}

fn days_table(facts: &LayerFacts, currencies: &Currencies) -> Table {
    let shown = currencies.shown();
    let mut columns = vec![Column::text("Day")];
    columns.extend(shown.iter().map(|currency| Column::number(currency_name(&currency.code))));
    let mut table = Table::new("Revenue a day", columns);
    for (dt, entry) in facts.state.partitions.iter().rev().filter(|(dt, _)| facts.days.contains(**dt)) {
        let amount = |currency: &CurrencyOfLayer| {
            let units = entry.revenue.get(&currency.code);
            Cell::number(units.map_or(String::new(), |units| money(*units, currency.decimals)))
        };
        table.push(dt.to_string(), shown.iter().map(amount).collect());
    }
    table.note = format!("{}{}{}.", left_out(facts), currencies.note(), counted(table.rows.len() as u64, "day"));
    table
}
