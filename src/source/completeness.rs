//! Whether a run has all that a source holds: what the source claims, what came, and what follows from the two (contract,
//! Completeness).
//!
//! Pure: counts go in, a certificate comes out. Who asks, and what a failed one means for a run, is not known here.

use serde::{Deserialize, Serialize};

/// Whether a list was read whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompletenessStatus {
    /// All that the source claims to hold has come.
    Proven,
    /// The list was read to its end, but nothing shows that it was all of it.
    Unproven,
    /// Less came than the source claims to hold.
    Failed,
}

impl CompletenessStatus {
    /// The name in the summary.
    pub fn as_str(self) -> &'static str {
        match self {
            CompletenessStatus::Proven => "proven",
            CompletenessStatus::Unproven => "unproven",
            CompletenessStatus::Failed => "failed",
        }
    }

    /// All of them.
    pub const ALL: [CompletenessStatus; 3] = [CompletenessStatus::Proven, CompletenessStatus::Unproven, CompletenessStatus::Failed];
}

/// What shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// The number of records that responses or files announce.
    Total,
    /// The answer to a request that counts.
    Count,
    /// The list was followed until it said that there is no next page.
    Cursor,
    /// The profile says that one page holds everything.
    Single,
    /// Files were read to their ends.
    File,
}

/// Whether a source was read whole, and what shows it: `completeness` of the summary.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Completeness {
    /// The verdict.
    pub status: CompletenessStatus,
    /// What it rests on; `None` where nothing shows it.
    pub by: Option<Evidence>,
    /// How many records the source claims to hold.
    pub claimed: Option<u64>,
    /// How many records came, repeated ones included.
    pub read: u64,
    /// How many different ids those have, where they were counted. A record without an id counts by its bytes.
    pub distinct: Option<u64>,
    /// Why it is not proven.
    pub why: Option<String>,
}

impl Completeness {
    /// Whether less came than the source claims to hold.
    pub fn is_failed(&self) -> bool {
        self.status == CompletenessStatus::Failed
    }
}

/// How a list ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ListEnd {
    /// The last response said that there is no next page, or said none where its profile names the place.
    Said,
    /// The last response does not speak of pages, where those before it did.
    Silent,
    /// A page without records.
    EmptyPage,
    /// The source's own count was reached.
    Counted,
    /// The profile says that one page holds everything.
    Single,
    /// The source sends the same page whatever it is asked for.
    NotPaginated,
}

/// What responses claimed while a list was read once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Claims {
    /// At the end of the reading before.
    earlier: Option<u64>,
    first: Option<u64>,
    last: Option<u64>,
    largest: Option<u64>,
    pages: Option<u64>,
    fell: bool,
}

impl Claims {
    /// Whether so many records are all that the last response claims, and no more.
    pub(super) fn are_met(&self, distinct: u64) -> bool {
        self.last.is_some_and(|claim| distinct >= claim) && self.largest.is_some_and(|largest| distinct <= largest)
    }

    /// The claims of a reading that follows this one.
    pub(super) fn again(self) -> Claims {
        Claims { earlier: self.last, ..Claims::default() }
    }

    /// Takes the number of pages that a response claims: where it falls, records went.
    pub(super) fn take_pages(&mut self, pages: Option<u64>) {
        self.fell |= self.pages.zip(pages).is_some_and(|(before, now)| now < before);
        self.pages = pages.or(self.pages);
    }

    /// Takes what a response claims.
    pub(super) fn take(&mut self, claim: Option<u64>) {
        let Some(claim) = claim else { return };
        self.fell |= self.last.is_some_and(|last| claim < last);
        self.first = self.first.or(Some(claim));
        self.last = Some(claim);
        self.largest = self.largest.max(Some(claim));
    }

    /// What must have come: what was claimed when the reading began, and what was claimed before it and still is.
    fn required(&self) -> Option<u64> {
        let lasting = self.earlier.zip(self.last).map(|(earlier, last)| earlier.min(last));
        self.first.max(lasting)
    }
}

/// What is known after a list was read, once or several times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ListRead {
    pub(super) claims: Claims,
    pub(super) by: Evidence,
    pub(super) read: u64,
    /// Of the last reading alone: records of an earlier one may have gone since.
    pub(super) distinct: u64,
    pub(super) end: ListEnd,
    /// Whether pages are told apart by a number alone, so that records that go while it is read move others past it.
    pub(super) is_by_position: bool,
}

impl ListRead {
    /// Whether the list should be read once more: less came than it now claims, or records went while it was read.
    pub(super) fn should_read_again(&self) -> bool {
        self.claims.last.is_some_and(|claim| self.distinct < claim) || (self.has_shrunk() && self.is_by_position)
    }

    /// Whether records went from the list while it was read. A count that more records than it have passed does not count the list.
    fn has_shrunk(&self) -> bool {
        self.claims.fell && self.claims.largest.is_none_or(|largest| self.distinct <= largest)
    }

    /// The verdict. What is new since the last reading began may be missing.
    pub(super) fn certify(&self) -> Completeness {
        let largest = self.claims.largest;
        let required = self.claims.required();
        let made = |status, by, why: Option<String>| Completeness {
            status,
            by,
            // What has grown meanwhile and came counts too.
            claimed: self.claims.last.filter(|last| required <= Some(*last) && *last <= self.distinct).or(required),
            read: self.read,
            distinct: Some(self.distinct),
            why,
        };
        let unproven = |why: String| made(CompletenessStatus::Unproven, None, Some(why));
        match (required, self.end) {
            (Some(claimed), _) if self.distinct < claimed => made(
                CompletenessStatus::Failed,
                Some(self.by),
                Some(format!("the source claims {claimed} records and sent {} different ones", self.distinct)),
            ),
            (Some(_), _) if self.has_shrunk() && self.is_by_position => {
                unproven("records went from the list while it was read: others may have moved past the reader".to_owned())
            }
            (Some(claimed), _) if largest.is_some_and(|largest| self.distinct > largest) => {
                unproven(format!("the source claims {claimed} records and sent {} different ones", self.distinct))
            }
            (Some(_), _) => made(CompletenessStatus::Proven, Some(self.by), None),
            (None, _) if self.has_shrunk() && self.is_by_position => {
                unproven("pages went from the list while it was read: records may have moved past the reader".to_owned())
            }
            (None, ListEnd::Said) => made(CompletenessStatus::Proven, Some(Evidence::Cursor), None),
            (None, ListEnd::Single) => made(CompletenessStatus::Proven, Some(Evidence::Single), None),
            (None, ListEnd::Silent) => unproven("the last page says neither that there is more nor that there is not".to_owned()),
            (None, ListEnd::EmptyPage) => {
                unproven("the source does not count its records: the list ended with a page without any".to_owned())
            }
            (None, ListEnd::Counted) => unproven("the source counts its pages, and not its records".to_owned()),
            (None, ListEnd::NotPaginated) => unproven("the source sends the same page whatever it is asked for".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(claims: &[u64], distinct: u64, is_by_position: bool) -> ListRead {
        let mut taken = Claims::default();
        claims.iter().for_each(|claim| taken.take(Some(*claim)));
        ListRead { claims: taken, by: Evidence::Total, read: distinct, distinct, end: ListEnd::EmptyPage, is_by_position }
    }

    fn verdict(claims: &[u64], distinct: u64) -> (bool, &'static str) {
        let read = read(claims, distinct, true);
        (read.should_read_again(), read.certify().status.as_str())
    }

    #[test]
    fn what_is_claimed_when_the_reading_begins_must_have_come() {
        assert_eq!(verdict(&[9, 9], 9), (false, "proven"));
        assert_eq!(verdict(&[9, 9], 8), (true, "failed"));
        assert_eq!(verdict(&[9, 10], 9), (true, "proven"), "the new one is looked for once, and may be missing");
        assert_eq!(verdict(&[9, 10], 10), (false, "proven"));
        assert_eq!(read(&[9, 10], 10, true).certify().claimed, Some(10));
        assert_eq!(verdict(&[9, 8], 9), (true, "unproven"), "one went: another may have been passed over");
        assert_eq!(verdict(&[15, 15], 30), (false, "unproven"), "it does not count what it sends");
        assert_eq!(verdict(&[15, 15, 7], 37), (false, "unproven"), "it counts the records of a page");
        assert_eq!(verdict(&[], 30), (false, "unproven"));
        let mut again = read(&[5, 8], 5, true);
        again.claims = again.claims.again();
        [5, 8].into_iter().for_each(|claim| again.claims.take(Some(claim)));
        assert_eq!(again.certify().status, CompletenessStatus::Failed, "claimed by both readings at their ends");
        assert_eq!(read(&[9, 8], 9, false).certify().status, CompletenessStatus::Proven, "a cursor does not skip");
    }

    #[test]
    fn without_a_claim_the_end_of_the_list_tells() {
        let by = |end| ListRead { end, ..read(&[], 3, false) }.certify().by;
        assert_eq!((by(ListEnd::Said), by(ListEnd::Single)), (Some(Evidence::Cursor), Some(Evidence::Single)));
        for end in [ListEnd::Silent, ListEnd::EmptyPage, ListEnd::NotPaginated] {
            assert_eq!(by(end), None, "{end:?}");
            assert!(ListRead { end, ..read(&[], 3, false) }.certify().why.is_some());
        }
    }
}
