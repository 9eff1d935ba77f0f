//! Which objects a load of some days reads: as few `COPY` statements as a dozen, however many days there are.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    model::Dt,
    store::places::{self, SideFact},
};

/// The most manifests that a load reads.
const MOST_MANIFESTS: usize = 4;

/// The most prefixes that a load reads.
const MOST_PREFIXES: usize = 8;

/// The lengths of the common beginnings of dates that prefixes are widened to: month, year, decade, all.
const WIDENED: [usize; 4] = ["2026-01-".len(), "2026-".len(), "202".len(), 0];

/// What one `COPY` reads, beneath the output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CopySource {
    /// The manifest of a run.
    Manifest(String),
    /// All objects whose names begin so.
    Prefix(String),
}

/// A manifest whose files are all as it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunManifest {
    /// Its place beneath the output.
    pub place: String,
    /// The partitions that it lists.
    pub days: BTreeSet<Dt>,
}

/// The sources for a load of these partitions: manifests (the latest first) while they bring days that no other has, and
/// prefixes for the rest. A prefix may cover other partitions: the load keeps only the rows of its days.
pub fn sources(days: &BTreeSet<Dt>, manifests: &[RunManifest]) -> Vec<CopySource> {
    let mut rest = days.clone();
    let mut chosen = Vec::new();
    for manifest in manifests {
        if manifest.days.is_subset(days) && !manifest.days.is_disjoint(&rest) {
            rest.retain(|day| !manifest.days.contains(day));
            chosen.push(CopySource::Manifest(manifest.place.clone()));
        }
    }
    if chosen.len() > MOST_MANIFESTS {
        chosen.clear();
        rest = days.clone();
    }
    chosen.extend(prefixes(&rest, places::partitions_prefix).map(CopySource::Prefix));
    chosen
}

/// The sources for a load of these days of a side fact: prefixes, since no manifest lists its files.
pub fn side_sources(fact: SideFact, days: &BTreeSet<Dt>) -> Vec<CopySource> {
    prefixes(days, |date| fact.days_prefix(date)).map(CopySource::Prefix).collect()
}

/// Few prefixes that cover all days. `of` makes one of the beginning of a date.
fn prefixes(days: &BTreeSet<Dt>, of: impl Fn(&str) -> String) -> impl Iterator<Item = String> {
    // A whole date names a folder: the slash ends its name.
    let slash = |date: &str| if date.len() == "2026-01-01".len() { "/" } else { "" };
    dates(days).into_iter().map(move |date| of(&date) + slash(&date))
}

/// Few beginnings of dates that all days have. The group of days that saves the most is widened first.
fn dates(days: &BTreeSet<Dt>) -> BTreeSet<String> {
    let mut dates: BTreeSet<String> = days.iter().map(ToString::to_string).collect();
    for length in WIDENED {
        while dates.len() > MOST_PREFIXES {
            let mut groups: BTreeMap<String, usize> = BTreeMap::new();
            for date in &dates {
                *groups.entry(date[..length.min(date.len())].to_owned()).or_default() += 1;
            }
            let Some((widest, _)) = groups.into_iter().filter(|(_, count)| *count > 1).max_by_key(|(_, count)| *count) else { break };
            dates.retain(|date| !date.starts_with(&widest));
            dates.insert(widest);
        }
    }
    dates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(texts: &[&str]) -> BTreeSet<Dt> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn run_of_days(first: &str, count: i32) -> BTreeSet<Dt> {
        let first = first.parse::<Dt>().unwrap().days();
        (first..first + count).filter_map(Dt::from_days).collect()
    }

    fn prefix(text: &str) -> CopySource {
        CopySource::Prefix(text.to_owned())
    }

    #[test]
    fn few_days_are_named_and_many_share_a_prefix() {
        assert_eq!(
            sources(&days(&["2026-01-05", "2026-02-01"]), &[]),
            [prefix("curated/dt=2026-01-05/"), prefix("curated/dt=2026-02-01/")]
        );
        assert_eq!(sources(&run_of_days("2026-01-01", 31), &[]), [prefix("curated/dt=2026-01-")]);
        assert_eq!(sources(&BTreeSet::new(), &[]), []);
        // Three years of days: by year.
        let many = sources(&run_of_days("2024-01-01", 1096), &[]);
        assert!(many.len() <= MOST_PREFIXES && many.contains(&prefix("curated/dt=2025-")), "{many:?}");
        // A month and a lone day: the lone day stays exact.
        let mixed: BTreeSet<_> = run_of_days("2026-03-01", 20).into_iter().chain(days(&["2020-05-05"])).collect();
        assert_eq!(sources(&mixed, &[]), [prefix("curated/dt=2020-05-05/"), prefix("curated/dt=2026-03-")]);
        assert_eq!(side_sources(SideFact::Refunds, &mixed), [prefix("refunds/dt=2020-05-05/"), prefix("refunds/dt=2026-03-")]);
        assert_eq!(side_sources(SideFact::OrderTotals, &BTreeSet::new()), []);
    }

    #[test]
    fn every_day_is_covered_by_a_dozen_of_sources_at_most() {
        for count in [1, 9, 40, 400, 4000] {
            let wanted: BTreeSet<_> = run_of_days("1995-12-30", count).into_iter().filter(|day| day.days() % 3 != 0).collect();
            let found = sources(&wanted, &[]);
            assert!(found.len() <= MOST_PREFIXES, "{found:?}");
            for day in &wanted {
                let object = format!("curated/dt={day}/part-00000.csv");
                let covers = |source: &&CopySource| matches!(source, CopySource::Prefix(prefix) if object.starts_with(prefix.as_str()));
                assert_eq!(found.iter().filter(covers).count(), 1, "{object} by {found:?}");
            }
        }
    }

    #[test]
    fn manifests_are_used_while_they_are_few_and_hold_nothing_else() {
        let manifest = |place: &str, texts: &[&str]| RunManifest { place: place.to_owned(), days: days(texts) };
        let wanted = days(&["2026-01-01", "2026-01-02"]);
        let latest = manifest("b", &["2026-01-02"]);
        let found = sources(&wanted, &[latest.clone(), manifest("a", &["2026-01-02"])]);
        assert_eq!(found, [CopySource::Manifest("b".into()), prefix("curated/dt=2026-01-01/")]);
        assert_eq!(sources(&days(&["2026-01-01"]), &[manifest("a", &["2026-01-01", "2026-01-09"])]), [prefix("curated/dt=2026-01-01/")]);
        let week = run_of_days("2026-01-01", 7);
        let each: Vec<_> = week.iter().map(|day| manifest("m", &[&day.to_string()])).collect();
        assert!(sources(&week, &each).iter().all(|source| matches!(source, CopySource::Prefix(_))));
    }
}
