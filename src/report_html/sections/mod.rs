//! The sections of the page, one file each: what they say, in texts, tables and pictures.

mod alerts;
mod changes;
mod checks;
mod coverage;
mod drops;
mod orders;
mod partitions;
mod revenue;
mod runs;
mod sources;
mod summary;
mod totals;

use std::collections::BTreeMap;

use super::{
    LayerFacts, PageError,
    numbers::{Decimals, counted, instant, short},
    picture::{Bar, Mark, Picture},
    scale::{Scale, day_ticks},
    view::{Cell, Page, Plot},
};
use crate::model::Dt;

/// The most currencies that have pictures and columns of their own.
const MOST_CURRENCIES: usize = 3;

/// The whole page.
pub(super) fn page(facts: &LayerFacts) -> Result<Page, PageError> {
    let currencies = Currencies::of(facts);
    let mut sections = Vec::new();
    sections.extend(alerts::section(facts));
    sections.push(revenue::section(facts, &currencies)?);
    sections.push(orders::section(facts, &currencies)?);
    sections.extend(totals::section(facts));
    sections.push(coverage::section(facts)?);
    sections.push(runs::section(facts)?);
    sections.push(checks::section(facts)?);
    sections.push(drops::section(facts));
    sections.push(changes::section(facts));
    sections.push(partitions::section(facts, &currencies)?);
    sections.push(sources::section(facts));
    Ok(Page {
        location: facts.location.clone(),
        made_at: format!("{} UTC", instant(facts.made_at)),
        version: env!("CARGO_PKG_VERSION"),
        verdicts: summary::verdicts(facts),
        notes: summary::notes(facts),
        tiles: summary::tiles(facts, &currencies),
        more_currencies: summary::more_currencies(&currencies),
        sections,
    })
}

/// The currencies of a layer: those with the most days first.
struct Currencies {
    /// Each with the revenue of all days, and how its amounts are written.
    all: Vec<CurrencyOfLayer>,
}

/// A currency of the layer.
struct CurrencyOfLayer {
    code: String,
    /// The revenue of all partitions, in ten-thousandths.
    revenue: i128,
    decimals: Decimals,
    /// On how many days it has rows.
    days: usize,
}

impl Currencies {
    fn of(facts: &LayerFacts) -> Currencies {
        let mut amounts: BTreeMap<&str, Vec<i128>> = BTreeMap::new();
        for entry in facts.state.partitions.values() {
            for (currency, units) in &entry.revenue {
                amounts.entry(currency).or_default().push(*units);
            }
        }
        let of_layer = |(code, amounts): (&str, Vec<i128>)| CurrencyOfLayer {
            code: code.to_owned(),
            revenue: amounts.iter().sum(),
            decimals: Decimals::of(amounts.iter().copied()),
            days: amounts.len(),
        };
        let mut all: Vec<_> = amounts.into_iter().map(of_layer).collect();
        all.sort_by(|one, other| other.days.cmp(&one.days).then_with(|| one.code.cmp(&other.code)));
        Currencies { all }
    }

    /// Those that have pictures and columns.
    fn shown(&self) -> &[CurrencyOfLayer] {
        self.all.get(..MOST_CURRENCIES).unwrap_or(&self.all)
    }

    /// How many have none.
    fn hidden(&self) -> usize {
        self.all.len() - self.shown().len()
    }

    /// What is said where some are left out.
    fn note(&self) -> String {
        match self.hidden() {
            0 => String::new(),
            1 => "One more currency has no column here. ".to_owned(),
            hidden => format!("{} have no column here. ", counted(hidden as u64, "more currency")),
        }
    }
}

/// Whether the shown runs are of shops: their results are told apart then.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shops {
    /// The layer has one source.
    None,
    /// Runs name the shop that they have loaded.
    Named,
}

impl Shops {
    fn of(facts: &LayerFacts) -> Shops {
        if facts.runs.iter().any(|run| run.shop.is_some()) { Shops::Named } else { Shops::None }
    }

    /// The cell of a shop; `None` in a layer of one source. A command of the whole layer, such as an undo, has no shop.
    fn cell(self, shop: Option<&str>) -> Option<Cell> {
        (self == Shops::Named).then(|| Cell::text(shop.unwrap_or("-")))
    }
}

/// The shop of a run in brackets, behind a blank; empty where it has none.
fn in_brackets(shop: Option<&str>) -> String {
    shop.map(|shop| format!(" (shop {shop})")).unwrap_or_default()
}

/// A bar for each day that has a value. `one` is the value that is written as 1.
fn day_plot(label: &str, days: &[Dt], one: i128, value: impl Fn(Dt) -> Option<i128>) -> Result<Plot, PageError> {
    let bars: Vec<Bar> = days.iter().map(|dt| Some((value(*dt)?, Mark::Accent))).collect();
    let scale = Scale::of(bars.iter().flatten().map(|(value, _)| *value));
    Ok(Plot {
        label: label.to_owned(),
        picture: Picture::bars(&bars, scale)?,
        rows: scale.ticks(|mark| short(mark, one)),
        columns: day_ticks(days),
    })
}

/// What a table of days leaves out, in words; empty if nothing.
fn left_out(facts: &LayerFacts) -> String {
    let days = facts.days;
    let mut text = String::new();
    if days.earlier > 0 {
        let are = if days.earlier == 1 { "is" } else { "are" };
        text += &format!("{} {are} not listed. ", counted(days.earlier as u64, "earlier day"));
    }
    if days.later > 0 {
        let are = if days.later == 1 { "is" } else { "are" };
        text += &format!("{}, in the future, {are} not listed. ", counted(days.later as u64, "later day"));
    }
    text
}
