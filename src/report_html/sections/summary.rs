//! The head of the page: the verdict, the numbers that matter, and what to know before reading them.

use super::{Currencies, CurrencyOfLayer, in_brackets, runs};
use crate::{
    model::{Dt, currency_name, noun_of},
    report_html::{
        DifferingFile, LayerFacts,
        numbers::{bytes, count, counted, instant, money},
        view::{Badge, Tile, Tone},
    },
};

/// The most days that a note names.
const MOST_NAMED: usize = 5;

/// Whether the layer is healthy and complete.
pub(super) fn verdicts(facts: &LayerFacts) -> Vec<Badge> {
    let badge = |is_good: bool, good: &str, bad: &str| match is_good {
        true => Badge { tone: Tone::Good, text: good.to_owned() },
        false => Badge { tone: Tone::Bad, text: bad.to_owned() },
    };
    let missing = facts.verdict.missing;
    let mut verdicts =
        vec![badge(facts.verdict.healthy, "healthy", "not healthy"), badge(missing.is_none(), "complete", missing.unwrap_or_default())];
    if !facts.open_alerts.is_empty() {
        verdicts.push(Badge { tone: Tone::Warn, text: format!("{} open", counted(facts.open_alerts.len() as u64, "alert")) });
    }
    if let Some(run) = facts.runs.first() {
        let outcome = runs::outcome(run.status);
        verdicts.push(Badge { tone: outcome.tone, text: format!("last run{}: {}", in_brackets(run.shop.as_deref()), outcome.text) });
    }
    verdicts
}

/// The numbers of the layer.
pub(super) fn tiles(facts: &LayerFacts, currencies: &Currencies) -> Vec<Tile> {
    let revenue = |currency: &CurrencyOfLayer| Tile {
        label: format!("Revenue, {}", currency_name(&currency.code)),
        figure: money(currency.revenue, currency.decimals),
        detail: format!("on {}", counted(currency.days as u64, "day")),
    };
    let mut tiles: Vec<_> = currencies.shown().iter().map(revenue).collect();
    let partitions = &facts.state.partitions;
    let rows = partitions.values().map(|entry| entry.rows).sum();
    let size = partitions.values().map(|entry| entry.version.bytes).sum();
    let range = partitions.first_key_value().zip(partitions.last_key_value());
    let range = range.map(|((first, _), (last, _))| format!("{first} to {last}")).unwrap_or_default();
    tiles.push(Tile { label: "Rows".to_owned(), figure: count(rows), detail: bytes(size) });
    tiles.push(Tile { label: "Days with rows".to_owned(), figure: count(partitions.len() as u64), detail: range });
    if let Some(run) = facts.runs.iter().find(|run| run.is_successful_load()) {
        let finished = instant(run.finished_at);
        let (day, time) = finished.split_once(' ').unwrap_or((finished.as_str(), ""));
        tiles.push(Tile {
            label: "Last success".to_owned(),
            figure: day.to_owned(),
            detail: format!("{time} UTC{}", in_brackets(run.shop.as_deref())),
        });
    }
    tiles
}

/// How many currencies have no tile, in words; empty if all have one.
pub(super) fn more_currencies(currencies: &Currencies) -> String {
    match currencies.hidden() as u64 {
        0 => String::new(),
        hidden => format!("and {} more {}", count(hidden), noun_of(hidden, "currency")),
    }
}

/// What the reader must know before the numbers.
pub(super) fn notes(facts: &LayerFacts) -> Vec<String> {
    let of = |pick: fn(&DifferingFile) -> Option<Dt>| facts.differing.iter().filter_map(pick).collect::<Vec<_>>();
    let edited = of(|file| if let DifferingFile::Edited(dt) = file { Some(*dt) } else { None });
    let missing = of(|file| if let DifferingFile::Missing(dt) = file { Some(*dt) } else { None });
    let unknown = of(|file| if let DifferingFile::Unknown(dt) = file { Some(*dt) } else { None });
    let mut notes = Vec::new();
    for (days, what) in [
        (edited, "curated/ has files of another size than the last commit says. This page shows what was committed"),
        (missing, "curated/ lacks files that were committed. This page shows what was committed"),
        (unknown, "curated/ has files that no commit has put. This page does not have their rows"),
    ] {
        if !days.is_empty() {
            notes.push(format!("{what}: {}.", named(&days)));
        }
    }
    notes
}

fn named(days: &[Dt]) -> String {
    let first: Vec<_> = days.iter().take(MOST_NAMED).map(|dt| format!("dt={dt}")).collect();
    let more = days.len().saturating_sub(MOST_NAMED);
    let more = if more > 0 { format!(" and {} more", count(more as u64)) } else { String::new() };
    format!("{}{more}", first.join(", "))
}
