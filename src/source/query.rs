//! A query of a source: its profile and the window.

use std::fmt;

use reqwest::Url;

use crate::{
    model::{UtcMicros, Window, clock_change_near, shown_in_zone},
    settings::{Credentials, Cursor, Profile, Source, StorageSettings, TimeFormat},
    source::{RecordShape, url_query},
};

/// Says which records a run takes, so that nothing more is asked for the others. The source itself knows no rule.
pub trait RecordFilter: Sync {
    /// Whether a record is taken. What can't be judged is.
    fn takes(&self, record: &[u8]) -> bool;
}

impl fmt::Debug for dyn RecordFilter + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordFilter")
    }
}

/// How much a run does to prove that a list is complete.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Proof {
    /// What one reading shows is enough.
    #[default]
    OneReading,
    /// A list of numbered pages that nothing counts is read twice: if both readings agree, no record was skipped.
    TwoReadings,
}

/// A query of a source.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The profile of the source.
    pub profile: &'a Profile,
    /// The credentials for its requests.
    pub credentials: &'a Credentials,
    /// How its bucket is reached, if it lies in one.
    pub storage: Option<&'a StorageSettings>,
    /// The paths that identify a record.
    pub shape: &'a RecordShape,
    /// The window, sent to the source if the profile has parameters for it. The normalizer checks the window again.
    pub window: Window,
    /// The timestamp that the window applies to.
    pub cursor: Cursor,
    /// The records whose lines and refunds are asked for by requests of their own; `None`: those of all.
    pub filter: Option<&'a dyn RecordFilter>,
    /// How much is done to prove that the list is complete.
    pub proof: Proof,
}

impl<'a> Query<'a> {
    /// A query for all records of a source.
    pub fn all(source: &'a Source, shape: &'a RecordShape) -> Query<'a> {
        Query {
            profile: &source.profile,
            credentials: &source.credentials,
            storage: source.storage.as_ref(),
            shape,
            window: Window::default(),
            cursor: Cursor::Created,
            filter: None,
            proof: Proof::OneReading,
        }
    }

    /// A query for all records of a list that belongs to another query.
    pub(super) fn of(profile: &'a Profile, other: &Query<'a>, shape: &'a RecordShape) -> Query<'a> {
        Query { profile, shape, window: Window::default(), cursor: Cursor::Created, filter: None, proof: Proof::OneReading, ..*other }
    }

    /// Whether a body may itself be a record: the profile names no path inside it for the records.
    pub(super) fn may_be_one_record(&self) -> bool {
        self.profile.records.as_ref().is_none_or(|path| path.steps().is_empty())
    }

    /// The location with the parameters of the profile and the window. Keeps the parameters that the location already has.
    pub(super) fn narrowed(&self, start: &Url) -> Url {
        let filter = &self.profile.http.filter;
        let window_since = self.window.since.or_else(|| filter.earliest.and_then(|earliest| earliest.instant(UtcMicros::now())));
        let (since, until) = match self.cursor {
            Cursor::Created => (&filter.since, &filter.until),
            Cursor::Updated => (&filter.updated_since, &filter.updated_until),
        };
        let mut parameters: Vec<(&str, String)> =
            self.profile.http.query.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        // One second more on both sides: some APIs compare whole seconds, and some exclude the bounds. The normalizer applies
        // the exact window.
        let zone = self.profile.zone;
        if let (Some(parameter), Some(since)) = (since, window_since) {
            let since = since.minus(UtcMicros::SECOND + told_twice(since, filter.format, zone));
            parameters.push((parameter, written(since, filter.format, zone)));
        }
        if let (Some(parameter), Some(until)) = (until, self.window.until) {
            let more = if filter.format == TimeFormat::Date { UtcMicros::DAY } else { UtcMicros::SECOND };
            let until = until.minus(-more - told_twice(until, filter.format, zone));
            parameters.push((parameter, written(until, filter.format, zone)));
        }
        let own = |name: &str| url_query::has(start, name);
        let new = parameters.iter().map(|(name, value)| (*name, value.as_str())).filter(|(name, _)| !own(name));
        url_query::appended(start, new)
    }
}

/// How much more is asked for where clocks are set near a bound: they show an hour twice, so that a text of that hour is of two instants.
/// Zero where texts say their offset.
fn told_twice(bound: UtcMicros, format: TimeFormat, zone: Option<chrono_tz::Tz>) -> i64 {
    match format {
        // Twice: once for what the source takes such a text for, and once for what it is read as here.
        TimeFormat::Naive | TimeFormat::Spaced | TimeFormat::Date => zone.map_or(0, |zone| 2 * clock_change_near(bound, zone)),
        TimeFormat::Rfc3339 | TimeFormat::Rfc3339Millis | TimeFormat::Epoch | TimeFormat::EpochMillis => 0,
    }
}

/// An instant in the format of a parameter, truncated to whole seconds.
fn written(instant: UtcMicros, format: TimeFormat, zone: Option<chrono_tz::Tz>) -> String {
    let whole = instant.minus(instant.micros().rem_euclid(UtcMicros::SECOND));
    let local = || zone.and_then(|zone| shown_in_zone(whole, zone)).unwrap_or(whole).rfc3339().trim_end_matches('Z').to_owned();
    match format {
        TimeFormat::Rfc3339 => whole.rfc3339(),
        TimeFormat::Rfc3339Millis => format!("{}.000Z", whole.rfc3339().trim_end_matches('Z')),
        TimeFormat::Naive => local(),
        TimeFormat::Spaced => local().replace('T', " "),
        TimeFormat::Date => local().get(..10).unwrap_or_default().to_owned(),
        TimeFormat::Epoch => whole.micros().div_euclid(UtcMicros::SECOND).to_string(),
        TimeFormat::EpochMillis => whole.micros().div_euclid(1000).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Filter, HttpProfile, Location};

    #[test]
    fn the_window_is_one_second_wider_and_the_parameters_of_the_location_stay() {
        let at = |day| UtcMicros::from_civil((2026, 1, day), 0, 0, 0);
        let narrowed = |format, cursor, url: &str| {
            let filter = Filter {
                since: Some("from".into()),
                until: Some("to".into()),
                updated_since: Some("changed".into()),
                updated_until: None,
                earliest: None,
                shows: None,
                format,
            };
            let query = [("status".to_owned(), "any".to_owned())].into();
            let profile = Profile { http: HttpProfile { filter, query, ..HttpProfile::default() }, ..Profile::default() };
            let shape = RecordShape::default();
            let source = Source { profile, ..Source::from(Location::Files(String::new())) };
            let query = Query { window: Window { since: at(2), until: at(3) }, cursor, ..Query::all(&source, &shape) };
            query.narrowed(&url.parse().unwrap()).query().unwrap_or_default().replace("%3A", ":")
        };
        let created = |format| narrowed(format, Cursor::Created, "http://h/o");
        assert_eq!(created(TimeFormat::Rfc3339), "status=any&from=2026-01-01T23:59:59Z&to=2026-01-03T00:00:01Z");
        assert_eq!(created(TimeFormat::Naive), "status=any&from=2026-01-01T23:59:59&to=2026-01-03T00:00:01");
        assert_eq!(created(TimeFormat::Date), "status=any&from=2026-01-01&to=2026-01-04");
        assert_eq!(created(TimeFormat::Epoch), "status=any&from=1767311999&to=1767398401");
        assert_eq!(created(TimeFormat::EpochMillis), "status=any&from=1767311999000&to=1767398401000");
        assert_eq!(narrowed(TimeFormat::Date, Cursor::Updated, "http://h/o?status=paid"), "status=paid&changed=2026-01-01");
        let plain = Source::from(Location::Files(String::new()));
        assert_eq!(Query::all(&plain, &RecordShape::default()).narrowed(&"http://h/o?x=1".parse().unwrap()).as_str(), "http://h/o?x=1");
    }

    #[test]
    fn a_bound_near_an_hour_that_clocks_show_twice_is_wider() {
        // In New York, clocks went from 02:00 back to 01:00 at 06:00Z, and from 02:00 on to 03:00 at 07:00Z.
        let zone = Some(chrono_tz::America::New_York);
        let bounds = |month, day, hour: i64, format| {
            let bound = UtcMicros::from_civil((2025, month, day), hour * 3600, 0, 0).unwrap();
            let more = told_twice(bound, format, zone);
            [bound.minus(more), bound.minus(-more)].map(|bound| written(bound, format, zone))
        };
        for hour in [5, 6, 7, 8] {
            let [since, until] = bounds(11, 2, hour, TimeFormat::Naive);
            assert!(since.as_str() < "2025-11-02T01:00:00" || hour > 6, "{hour}: {since}");
            assert!(until.as_str() >= "2025-11-02T02:00:00", "{hour}: {until}");
        }
        assert_eq!(bounds(11, 2, 6, TimeFormat::Spaced), ["2025-11-02 00:00:00", "2025-11-02 03:00:00"]);
        assert_eq!(bounds(3, 9, 7, TimeFormat::Naive), ["2025-03-09T00:00:00", "2025-03-09T05:00:00"]);
        assert_eq!(bounds(11, 3, 6, TimeFormat::Naive), ["2025-11-03T01:00:00", "2025-11-03T01:00:00"]);
        assert_eq!(bounds(11, 2, 6, TimeFormat::Rfc3339), ["2025-11-02T06:00:00Z", "2025-11-02T06:00:00Z"]);
    }
}
