//! A lease as the hint of a bucket lists it, and what its times and its process tell of its holder.
//!
//! Reads no store and changes no hint. Clocks of two machines are compared only for what lies hours back, or for what a
//! person is told.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Holder;
use crate::{
    model::{UtcMicros, parse_time_text},
    store::{commit::Installer, process},
};

/// How long ago a run that is at work has renewed its lease at most, by the clocks of two machines.
const RENEWED_WITHIN: Duration = Duration::from_secs(120);

/// A lease in a bucket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(in crate::store) struct ListedLease {
    #[serde(flatten)]
    pub(super) holder: Holder,
    /// What tells this process from any other.
    pub(super) process: String,
    /// How often it was renewed.
    pub(super) renewed: u64,
    /// When it was taken or renewed last, RFC 3339, by the clock of its holder. Versions before did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) renewed_at: Option<String>,
    /// When a command first found that `renewed_at` can't be right, RFC 3339, by the clock of that command. A renewal
    /// removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) doubted_at: Option<String>,
}

impl ListedLease {
    /// A lease that this process takes now.
    pub(super) fn taken(holder: Holder) -> ListedLease {
        ListedLease { holder, process: process::this_process(), renewed: 0, renewed_at: Some(UtcMicros::now().rfc3339()), doubted_at: None }
    }

    pub(super) fn renew(&mut self) {
        self.renewed += 1;
        self.renewed_at = Some(UtcMicros::now().rfc3339());
        self.doubted_at = None;
    }

    /// The run that holds it.
    pub(in crate::store) fn run_id(&self) -> &str {
        &self.holder.run_id
    }

    /// The run that holds it, as one that may commit.
    pub(in crate::store) fn installer(&self) -> Installer {
        Installer { name: self.holder.run_id.clone(), since: self.holder.since.clone() }
    }

    /// Whether it is the same as another one, perhaps renewed since.
    pub(super) fn is_of(&self, other: &ListedLease) -> bool {
        self.holder.run_id == other.holder.run_id && self.process == other.process
    }

    /// Whether nobody holds it any more, as far as that can be known at once.
    pub(super) fn is_dead(&self, now: UtcMicros) -> bool {
        process::is_dead(&self.process) || self.is_given_up(now)
    }

    /// Whether its holder has not renewed it for so long that it is dead or asleep. The clocks of two machines differ
    /// by less than that. Where it does not say when it was renewed, the time since that was first found counts.
    pub(super) fn is_given_up(&self, now: UtcMicros) -> bool {
        let alive_at = self.renewal(now).or_else(|| self.doubted_at.as_deref().and_then(parse_time_text));
        alive_at.is_some_and(|alive_at| micros_between(alive_at, now) > Installer::GONE_AFTER.as_micros())
    }

    /// When it was renewed, as it says itself. `None`: it does not say it, or names a time by which no clock can be
    /// ahead.
    fn renewal(&self, now: UtcMicros) -> Option<UtcMicros> {
        self.renewed_at.as_deref().and_then(parse_time_text).filter(|renewed_at| !is_far_ahead(*renewed_at, now))
    }

    /// Notes when it was first found that nobody knows when it was renewed. Returns whether that is new.
    pub(super) fn note_doubt(&mut self, now: UtcMicros) -> bool {
        let noted = self.doubted_at.as_deref().and_then(parse_time_text).filter(|noted| !is_far_ahead(*noted, now));
        let is_new = self.renewal(now).is_none() && noted.is_none();
        if is_new {
            self.doubted_at = Some(now.rfc3339());
        }
        is_new
    }

    /// Whether its holder seems to be at work: what may wait is left to it then.
    pub(in crate::store) fn is_at_work(&self, now: UtcMicros) -> bool {
        let is_recent =
            |renewed_at: UtcMicros| micros_between(renewed_at, now).max(micros_between(now, renewed_at)) <= RENEWED_WITHIN.as_micros();
        !process::is_dead(&self.process) && self.renewal(now).is_some_and(is_recent)
    }

    /// For how long it was not renewed, if that is longer than a run at work leaves it. `None` also where that is not known.
    pub(super) fn silent_for(&self, now: UtcMicros) -> Option<Duration> {
        let micros = micros_between(self.renewal(now)?, now);
        (micros > RENEWED_WITHIN.as_micros()).then(|| Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)))
    }

    /// The lease as its holder wrote it, without what others have noted there.
    pub(super) fn of_holder(&self) -> ListedLease {
        ListedLease { doubted_at: None, ..self.clone() }
    }
}

/// Whether a moment lies so far ahead that no clock of a machine explains it.
fn is_far_ahead(moment: UtcMicros, now: UtcMicros) -> bool {
    micros_between(now, moment) > Installer::GONE_AFTER.as_micros()
}

/// The microseconds from one moment to another; 0 if it is an earlier one.
pub(super) fn micros_between(from: UtcMicros, until: UtcMicros) -> u128 {
    u128::try_from(until.micros().saturating_sub(from.micros())).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::lease::tests::listed;

    #[test]
    fn a_lease_of_a_version_that_does_not_say_when_it_was_renewed_is_read_as_it_was_written() {
        let text = r#"{"run_id":"one","pid":7,"host":"here","since":"2026-01-01T00:00:00Z","process":"elsewhere:7:1","renewed":0}"#;
        let read: ListedLease = serde_json::from_str(text).unwrap();
        assert_eq!(read, listed("one", None, None));
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }
}
