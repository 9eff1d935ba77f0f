//! Which days have rows, and which intervals of each source were loaded, as calendars; gaps stand out.

use crate::{
    coverage::{Interval, SourceIdentity},
    model::{Dt, UtcMicros},
    report_html::{
        LayerFacts, PageError, UndoneInterval,
        numbers::{count, counted, instant, percent},
        picture::{Mark, Picture, column, weeks_of_year},
        scale::Civil,
        view::{Cell, Column, Figure, Legend, Made, Plot, Section, Shape, Table, Tick, Ticks},
    },
};

/// The most sources that have a calendar: those that were loaded last.
const MOST_CALENDARS: usize = 6;

/// The most rows of a table of intervals.
const MOST_INTERVALS: usize = 100;

/// The labels of the rows of a calendar: every other day, from Monday.
const WEEKDAYS: [(usize, &str); 3] = [(0, "Mon"), (2, "Wed"), (4, "Fri")];

/// What has become of the intervals of a source.
pub(super) struct OfSource<'f> {
    pub(super) identity: &'f SourceIdentity,
    /// Where the next run continues; `None`: at the beginning.
    pub(super) resume_point: Option<UtcMicros>,
    covered: Vec<Interval>,
    pub(super) gaps: Vec<Interval>,
    /// What was loaded, then undone, and is not loaded since.
    pub(super) undone: Vec<&'f UndoneInterval>,
}

/// The sources that have been loaded, the last one first; then those of which all was undone.
pub(super) fn sources(facts: &LayerFacts) -> Vec<OfSource<'_>> {
    let undone_of =
        |identity: &SourceIdentity| facts.undone_loads.iter().filter(|load| load.place.identity == *identity).collect::<Vec<_>>();
    let of_ledger = facts.ledger.sources.iter().rev().map(|source| OfSource {
        identity: &source.identity,
        resume_point: source.resume_point(),
        covered: source.covered(),
        gaps: source.gaps(),
        undone: undone_of(&source.identity),
    });
    let mut sources: Vec<OfSource<'_>> = of_ledger.collect();
    for load in &facts.undone_loads {
        let identity = &load.place.identity;
        if sources.iter().all(|source| source.identity != identity) {
            sources.push(OfSource { identity, resume_point: None, covered: Vec::new(), gaps: Vec::new(), undone: undone_of(identity) });
        }
    }
    sources
}

pub(super) fn section(facts: &LayerFacts) -> Made {
    let mut section = Section::new("coverage", "Coverage");
    section.figures.push(days_with_rows(facts)?);
    let sources = sources(facts);
    for (place, source) in sources.iter().take(MOST_CALENDARS).enumerate() {
        section.figures.push(of_source(facts, source, place)?);
    }
    if sources.is_empty() {
        section.texts.push("No run has counted for the coverage of a source yet: demos and replays do not.".to_owned());
    }
    let hidden = sources.len().saturating_sub(MOST_CALENDARS);
    if hidden > 0 {
        let hidden = count(hidden as u64);
        section
            .texts
            .push(format!("Sources that were loaded longer ago ({hidden}) have no calendar. The table of sources has their gaps."));
    }
    Ok(section)
}

fn days_with_rows(facts: &LayerFacts) -> Result<Figure, PageError> {
    let days = facts.days.all();
    let has_rows = |dt: Dt| facts.state.partitions.get(&dt).is_some_and(|entry| entry.rows > 0);
    let marked: Vec<_> = days.iter().map(|dt| (*dt, if has_rows(*dt) { Mark::Accent } else { Mark::Bad })).collect();
    let with = days.iter().filter(|dt| has_rows(**dt)).count();
    let mut table =
        Table::new("Days with rows, by month", vec![Column::text("Month"), Column::number("With rows"), Column::text("Without rows")]);
    let month = |dt: &Dt| dt.to_string().rsplit_once('-').map(|(month, _)| month.to_owned()).unwrap_or_default();
    let same_month = |one: &Dt, other: &Dt| month(one) == month(other);
    for days in days.chunk_by(same_month) {
        let without: Vec<_> = days.iter().filter(|dt| !has_rows(**dt)).map(|dt| Civil::of(*dt).day).collect();
        let of_month = days.first().map(month).unwrap_or_default();
        table.push(of_month, vec![Cell::number(count((days.len() - without.len()) as u64)), Cell::text(without.join(", "))]);
    }
    Ok(Figure {
        id: "days-with-rows".to_owned(),
        shape: Shape::Calendar,
        title: "Days with rows".to_owned(),
        desc: format!("{with} of {} from {} to {} with rows.", counted(days.len() as u64, "day"), facts.days.first, facts.days.last),
        plots: years(&marked)?,
        legend: vec![Legend::new(Mark::Accent, "has rows"), Legend::new(Mark::Bad, "no rows")],
        table,
    })
}

fn of_source(facts: &LayerFacts, source: &OfSource<'_>, place: usize) -> Result<Figure, PageError> {
    let OfSource { identity, covered, gaps, undone, .. } = source;
    let undone_places: Vec<Interval> = undone.iter().map(|load| load.place.interval).collect();
    let end = covered.last().into_iter().chain(&undone_places).map(|interval| Dt::of(interval.end.minus(1))).max();
    // What was loaded without rows after the last of them is seen too, as far as a year of days goes.
    let last = end.filter(|end| *end > facts.days.last && end.days() - facts.days.last.days() < 366).unwrap_or(facts.days.last);
    let days = (facts.days.first.days()..=last.days()).filter_map(Dt::from_days);
    let marked: Vec<_> = days.filter_map(|dt| Some((dt, mark_of(dt, covered, gaps, &undone_places)?))).collect();
    let (intervals, holes) = (counted(covered.len() as u64, "interval"), counted(gaps.len() as u64, "gap"));
    let mut desc =
        format!("Windows on {}, profile {}: {intervals} loaded completely, {holes} between them.", identity.cursor, identity.profile);
    let mut legend = vec![Legend::new(Mark::Good, "loaded"), Legend::new(Mark::Warn, "loaded in part"), Legend::new(Mark::Bad, "gap")];
    if !undone.is_empty() {
        desc += &format!(" {} loaded, then undone, and not loaded since.", counted(undone.len() as u64, "interval"));
        legend.push(Legend::new(Mark::Quiet, "undone"));
    }
    Ok(Figure {
        id: format!("coverage-{}", place + 1),
        shape: Shape::Calendar,
        title: format!("Loaded from {}", identity.source),
        desc,
        plots: years(&marked)?,
        legend,
        table: intervals_table(source),
    })
}

fn intervals_table(source: &OfSource<'_>) -> Table {
    let loaded = source.covered.iter().map(|interval| (*interval, "loaded".to_owned()));
    let gaps = source.gaps.iter().map(|gap| (*gap, "gap".to_owned()));
    let undone = source.undone.iter().map(|load| (load.place.interval, format!("undone by run {}", load.undone_by)));
    let mut all: Vec<_> = loaded.chain(gaps).chain(undone).collect();
    all.sort_by(|(one, _), (other, _)| other.cmp(one));
    let columns = vec![Column::text("From (UTC)"), Column::text("To before (UTC)"), Column::text("State")];
    let mut table = Table::new("Intervals, the latest first", columns);
    for (interval, state) in all.iter().take(MOST_INTERVALS) {
        let since = interval.window().since.map_or_else(|| "the beginning".to_owned(), instant);
        table.push(since, vec![Cell::text(instant(interval.end)), Cell::text(state.clone())]);
    }
    if all.len() > MOST_INTERVALS {
        table.note = format!("{MOST_INTERVALS} of {}.", counted(all.len() as u64, "interval"));
    }
    table
}

/// What is known of a day; `None` for a day before or after all that was loaded.
fn mark_of(dt: Dt, covered: &[Interval], gaps: &[Interval], undone: &[Interval]) -> Option<Mark> {
    let start = UtcMicros::new(i64::from(dt.days()).checked_mul(UtcMicros::DAY)?)?;
    let day = Interval::new(start, start.minus(-UtcMicros::DAY))?;
    if covered.iter().any(|interval| interval.within(day) == Some(day)) {
        return Some(Mark::Good);
    }
    if gaps.iter().any(|gap| gap.overlaps(day)) {
        return Some(Mark::Bad);
    }
    if covered.iter().any(|interval| interval.overlaps(day)) {
        return Some(Mark::Warn);
    }
    undone.iter().any(|interval| interval.overlaps(day)).then_some(Mark::Quiet)
}

/// A calendar for each year.
fn years(marked: &[(Dt, Mark)]) -> Result<Vec<Plot>, PageError> {
    let same_year = |(one, _): &(Dt, Mark), (other, _): &(Dt, Mark)| Civil::of(*one).year == Civil::of(*other).year;
    let plot = |days: &[(Dt, Mark)]| -> Result<Plot, PageError> {
        let first = days.first().map(|(dt, _)| *dt);
        let rows = WEEKDAYS.iter().map(|(row, name)| Tick { at: percent(*row as i128 * 2 + 1, 14), text: (*name).to_owned() });
        Ok(Plot {
            label: first.map(|dt| Civil::of(dt).year).unwrap_or_default(),
            picture: Picture::year(days)?,
            rows: rows.collect(),
            columns: first.map(months).unwrap_or_default(),
        })
    };
    marked.chunk_by(same_year).map(plot).collect()
}

/// The labels of the months of a day's year.
fn months(dt: Dt) -> Ticks {
    let year = Civil::of(dt).year;
    let columns = i128::from(weeks_of_year(dt));
    let firsts = (1..=12).filter_map(|month| format!("{year}-{month:02}-01").parse::<Dt>().ok());
    firsts.map(|first| Tick { at: percent(i128::from(column(first)), columns), text: Civil::of(first).month_name().to_owned() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dt(text: &str) -> Dt {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_is_loaded_in_whole_or_in_part_or_lies_in_a_gap() {
        let at = |day, hour: i64| UtcMicros::from_civil((2026, 1, day), hour * 3600, 0, 0).unwrap();
        let interval = |start, end| Interval::new(start, end).unwrap();
        let covered = [interval(UtcMicros::MIN, at(3, 0)), interval(at(5, 12), at(7, 6))];
        let gaps = [interval(at(3, 0), at(5, 12))];
        let undone = [interval(at(4, 0), at(9, 0))];
        let marks: Vec<_> = (1..=9).map(|day| mark_of(dt(&format!("2026-01-{day:02}")), &covered, &gaps, &undone)).collect();
        let (good, bad) = (Some(Mark::Good), Some(Mark::Bad));
        assert_eq!(marks, [good, good, bad, bad, bad, good, Some(Mark::Warn), Some(Mark::Quiet), None]);
    }

    #[test]
    fn each_year_has_a_calendar_of_its_own() {
        let days: Vec<_> = (-3..3).filter_map(|day| Dt::from_days(dt("2026-01-01").days() + day)).map(|dt| (dt, Mark::Good)).collect();
        let labels: Vec<_> = years(&days).unwrap().into_iter().map(|plot| plot.label).collect();
        assert_eq!(labels, ["2025", "2026"]);
        assert_eq!(months(dt("2026-06-01")).len(), 12);
    }
}
