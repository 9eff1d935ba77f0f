//! What sources say of their orders as a whole: totals, discounts, shipping, refunds. Only where a source says any.

use crate::{
    model::{ORDER_AMOUNTS, currency_name},
    report_html::{
        LayerFacts, TotalSums,
        numbers::{Decimals, count, money},
        view::{Cell, Column, Section, Table},
    },
};

pub(super) fn section(facts: &LayerFacts) -> Option<Section> {
    if facts.totals.is_empty() {
        return None;
    }
    let mut section = Section::new("totals", "Order totals");
    section.texts.push(format!("Amounts that sources say of whole orders, from {} to {}.", facts.days.first, facts.days.last));
    section.tables.extend(facts.totals.iter().map(|(currency, sums)| table(currency, sums)));
    Some(section)
}

fn table(currency: &str, sums: &TotalSums) -> Table {
    let columns = vec![Column::text("Amount"), Column::number("Orders that say it"), Column::number("Sum")];
    let mut table = Table::new(format!("Order totals, {}", currency_name(currency)), columns);
    let decimals = Decimals::of(sums.amounts.iter().map(|sum| sum.units).chain([sums.lines]));
    table.push("lines", vec![Cell::number(count(sums.orders)), Cell::number(money(sums.lines, decimals))]);
    for (amount, sum) in ORDER_AMOUNTS.iter().zip(&sums.amounts).filter(|(_, sum)| sum.orders > 0) {
        table.push(*amount, vec![Cell::number(count(sum.orders)), Cell::number(money(sum.units, decimals))]);
    }
    table
}
