//! The name of a partition.

use std::{fmt, str::FromStr};

use super::{UtcMicros, shown_in_zone, utc};

/// A partition: the UTC date of `created_at`, as days since 1970-01-01 (contract, Words).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Dt(i32);

impl Dt {
    /// The partition that an instant lies in.
    pub fn of(instant: UtcMicros) -> Dt {
        Dt(i32::try_from(instant.micros().div_euclid(UtcMicros::DAY)).unwrap_or(0))
    }

    /// The date that a calendar in a zone shows at an instant.
    pub fn in_zone(instant: UtcMicros, zone: chrono_tz::Tz) -> Dt {
        Dt::of(shown_in_zone(instant, zone).unwrap_or(instant))
    }

    /// Days since 1970-01-01.
    pub fn days(self) -> i32 {
        self.0
    }

    /// The partition of a number of days since 1970-01-01, where it lies in the years 1 to 9999.
    pub fn from_days(days: i32) -> Option<Dt> {
        UtcMicros::new(i64::from(days).checked_mul(UtcMicros::DAY)?).map(|_| Dt(days))
    }
}

impl fmt::Display for Dt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = utc::civil_from_days(i64::from(self.0));
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// Text that is no `YYYY-MM-DD` of the years 1 to 9999.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a date of the form YYYY-MM-DD")]
pub struct NotADate;

impl FromStr for Dt {
    type Err = NotADate;

    fn from_str(text: &str) -> Result<Dt, NotADate> {
        let mut midnight = text.as_bytes().to_vec();
        midnight.extend_from_slice(b" 00:00:00");
        UtcMicros::from_canonical(&midnight).map(Dt::of).ok_or(NotADate)
    }
}

impl serde::Serialize for Dt {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Dt {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Dt, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_named_by_its_date() {
        assert_eq!("2026-01-31".parse::<Dt>().unwrap().to_string(), "2026-01-31");
        assert_eq!("0001-01-01".parse::<Dt>().unwrap().to_string(), "0001-01-01");
        for text in ["2026-1-31", "2026-01-32", "0000-01-01", "../../etc", "2026-01-31 "] {
            assert_eq!(text.parse::<Dt>(), Err(NotADate), "{text}");
        }
    }

    #[test]
    fn a_zone_has_its_own_days() {
        let date = |text: &str, zone| Dt::in_zone(crate::model::parse_time_text(text).unwrap(), zone).to_string();
        let (berlin, new_york) = (chrono_tz::Europe::Berlin, chrono_tz::America::New_York);
        assert_eq!(date("2026-01-31T22:59:59Z", berlin), "2026-01-31");
        assert_eq!(date("2026-01-31T23:00:00Z", berlin), "2026-02-01");
        assert_eq!(date("2026-07-31T22:00:00Z", berlin), "2026-08-01", "in summer one hour earlier");
        assert_eq!(date("2026-01-31T04:59:59Z", new_york), "2026-01-30");
        assert_eq!(date("9999-12-31T23:30:00Z", berlin), "9999-12-31", "there is no later one");
    }

    #[test]
    fn the_last_microsecond_still_belongs_to_its_day() {
        let midnight = UtcMicros::from_civil((2026, 2, 1), 0, 0, 0).unwrap();
        assert_eq!(Dt::of(midnight).to_string(), "2026-02-01");
        assert_eq!(Dt::of(midnight.minus(1)).to_string(), "2026-01-31");
    }
}
