//! What the page is made of: everything that is known of a layer, read by `run::layer_report`. Knows no HTML.

use std::collections::BTreeMap;

use crate::{
    coverage::{Ledger, SourceInterval},
    layer::{LayerState, OrderCounts},
    model::{Dt, ORDER_AMOUNTS, UtcMicros},
    report::{Quarantined, Summary, alert::OpenAlert},
};

/// A layer, as the page shows it.
#[derive(Debug)]
pub struct LayerFacts {
    /// Where it is, without secrets.
    pub location: String,
    /// When this was read.
    pub made_at: UtcMicros,
    /// Whether it is healthy and complete, as `etl status` says.
    pub verdict: Verdict,
    /// The layer, after the newest commit.
    pub state: LayerState,
    /// Files of `curated/` that are not what the commit says.
    pub differing: Vec<DifferingFile>,
    /// The days that are shown.
    pub days: ShownDays,
    /// The orders of the shown days.
    pub orders: BTreeMap<Dt, OrderCounts>,
    /// The totals of orders of the shown days, by currency; none where no source says any.
    pub totals: BTreeMap<String, TotalSums>,
    /// Shown days whose orders could not be counted, and why.
    pub uncounted: BTreeMap<Dt, String>,
    /// What runs have loaded.
    pub ledger: Ledger,
    /// What runs had loaded that were undone since, as far as no run covers it now.
    pub undone_loads: Vec<UndoneInterval>,
    /// The latest runs, the last one first.
    pub runs: Vec<Summary>,
    /// Those of them that were undone, each with the run of its undo.
    pub undone: BTreeMap<String, String>,
    /// Over how many of the latest runs `etl status` counts drops.
    pub runs_of_status: usize,
    /// How many reports of runs there are.
    pub runs_recorded: usize,
    /// What the latest runs with drops have dropped.
    pub quarantined: Vec<Quarantined>,
    /// The alerts that are open.
    pub open_alerts: Vec<OpenAlert>,
}

impl LayerFacts {
    /// The shown runs that were not undone, the last one first.
    pub fn standing(&self) -> Vec<&Summary> {
        self.runs.iter().filter(|run| !self.undone.contains_key(&run.run_id)).collect()
    }
}

/// What an undone run had loaded of a source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UndoneInterval {
    /// The source, and the interval.
    pub place: SourceInterval,
    /// The run that has undone the one that had loaded it.
    pub undone_by: String,
}

/// Whether a layer is healthy and complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The last run succeeded, no check fails, no alert is open.
    pub healthy: bool,
    /// What is missing, in words; `None` if no day is without rows and coverage has no gaps.
    pub missing: Option<&'static str>,
}

/// A file of `curated/` that is not what the commit says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DifferingFile {
    /// It has another size.
    Edited(Dt),
    /// It is not there.
    Missing(Dt),
    /// No commit has put it.
    Unknown(Dt),
}

/// The days that are shown one by one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShownDays {
    /// The first one.
    pub first: Dt,
    /// The last one.
    pub last: Dt,
    /// Partitions before them.
    pub earlier: usize,
    /// Partitions after them: in the future.
    pub later: usize,
}

impl ShownDays {
    /// The latest days of these partitions, at most `most`. Partitions in the future do not count. `None` if there are none.
    pub fn of(partitions: impl DoubleEndedIterator<Item = Dt> + Clone, most: i32, now: UtcMicros) -> Option<ShownDays> {
        let tomorrow = Dt::of(now).days() + 1;
        let newest = partitions.clone().next_back()?;
        let last = partitions.clone().rfind(|dt| dt.days() <= tomorrow).unwrap_or(newest);
        let is_shown = |dt: &Dt| last.days() - dt.days() < most.max(1);
        let first = partitions.clone().find(is_shown)?;
        let earlier = partitions.clone().take_while(|dt| *dt < first).count();
        let later = partitions.filter(|dt| *dt > last).count();
        Some(ShownDays { first, last, earlier, later })
    }

    /// Whether a day is among them.
    pub fn contains(&self, dt: Dt) -> bool {
        self.first <= dt && dt <= self.last
    }

    /// All of them, with and without rows.
    pub fn all(&self) -> Vec<Dt> {
        (self.first.days()..=self.last.days()).filter_map(Dt::from_days).collect()
    }
}

/// The totals of the orders of a currency, added up.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TotalSums {
    /// How many orders.
    pub orders: u64,
    /// Σ of the totals of their lines, in ten-thousandths.
    pub lines: i128,
    /// Each of [`ORDER_AMOUNTS`].
    pub amounts: [AmountSum; ORDER_AMOUNTS.len()],
}

/// One amount of orders, added up.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct AmountSum {
    /// How many orders say it.
    pub orders: u64,
    /// Their sum, in ten-thousandths.
    pub units: i128,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_days_are_shown_and_those_in_the_future_are_counted() {
        let now = UtcMicros::from_civil((2026, 2, 10), 0, 0, 0).unwrap();
        let days = |texts: &[&str]| texts.iter().map(|text| text.parse::<Dt>().unwrap()).collect::<Vec<_>>();
        let partitions = days(&["1970-01-01", "2026-02-01", "2026-02-07", "2026-02-09", "9999-12-31"]);
        let shown = ShownDays::of(partitions.iter().copied(), 5, now).unwrap();
        assert_eq!((shown.first.to_string(), shown.last.to_string()), ("2026-02-07".into(), "2026-02-09".into()));
        assert_eq!((shown.earlier, shown.later, shown.all().len()), (2, 1, 3));
        let far = days(&["9999-12-31"]);
        let shown = ShownDays::of(far.iter().copied(), 5, now).unwrap();
        assert_eq!((shown.first, shown.last, shown.later), (far[0], far[0], 0));
        assert_eq!(ShownDays::of(std::iter::empty::<Dt>().collect::<Vec<_>>().into_iter(), 5, now), None);
    }
}
