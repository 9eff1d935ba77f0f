//! Whether a run has all records of a source: compares the claimed count with the received one (contract, Completeness).
//!
//! Pure: counts go in, a certificate comes out. The caller decides what a failed certificate means for a run.

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use crate::model::counted;

/// Whether a list was read completely.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum CompletenessStatus {
    /// All records that the source claims to have were received.
    Proven,
    /// The list was read to its end, but there is no evidence that it is complete.
    Unproven,
    /// Fewer records were received than the source claims to have.
    Failed,
}

impl CompletenessStatus {
    /// The name in the summary.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// All statuses.
    pub const ALL: &[CompletenessStatus] = <CompletenessStatus as VariantArray>::VARIANTS;
}

/// The evidence of completeness.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// The number of records that responses or files announce.
    Total,
    /// The response to a count request.
    Count,
    /// The list was followed until a response said that there is no next page.
    Cursor,
    /// Two readings of a list of numbered pages, both to its end, brought the same records.
    SecondReading,
    /// The profile says that one page holds everything.
    Single,
    /// The files were read to their ends.
    File,
}

/// Whether a source was read completely, and the evidence: `completeness` of the summary.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Completeness {
    /// The verdict.
    pub status: CompletenessStatus,
    /// The evidence; `None` if there is none.
    pub by: Option<Evidence>,
    /// The number of records that the source claims to have.
    pub claimed: Option<u64>,
    /// The number of received records, duplicates included.
    pub read: u64,
    /// The number of distinct ids, if they were counted. A record without an id counts by its bytes.
    pub distinct: Option<u64>,
    /// Why it is not proven, if it is not.
    pub why: Option<String>,
}

impl Completeness {
    /// Whether fewer records were received than the source claims to have.
    pub fn is_failed(&self) -> bool {
        self.status == CompletenessStatus::Failed
    }
}

/// How a list ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ListEnd {
    /// The last response said that there is no next page, or the path of the next page in the profile was empty.
    Stated,
    /// The last response has no information about pages, but those before it had.
    Unstated,
    /// A page without records.
    EmptyPage,
    /// The count of the source was reached.
    Counted,
    /// The profile says that one page holds everything.
    Single,
    /// The source ignores the page parameter and sends the same page again.
    NotPaginated,
}

/// The counts that responses claim during one reading of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Claims {
    /// The last claim of the previous reading.
    earlier: Option<u64>,
    first: Option<u64>,
    last: Option<u64>,
    largest: Option<u64>,
    pages: Option<u64>,
    fell: bool,
}

impl Claims {
    /// Whether this number of records satisfies the last claim and does not exceed the largest one.
    pub(super) fn are_met(&self, distinct: u64) -> bool {
        self.last.is_some_and(|claim| distinct >= claim) && self.largest.is_some_and(|largest| distinct <= largest)
    }

    /// The claims at the start of the next reading.
    pub(super) fn again(self) -> Claims {
        Claims { earlier: self.last, ..Claims::default() }
    }

    /// Adds the number of pages that a response claims. If it falls, records disappeared.
    pub(super) fn add_pages(&mut self, pages: Option<u64>) {
        self.fell |= self.pages.zip(pages).is_some_and(|(before, now)| now < before);
        self.pages = pages.or(self.pages);
    }

    /// Adds the number of records that a response claims.
    pub(super) fn add(&mut self, claim: Option<u64>) {
        let Some(claim) = claim else { return };
        self.fell |= self.last.is_some_and(|last| claim < last);
        self.first = self.first.or(Some(claim));
        self.last = Some(claim);
        self.largest = self.largest.max(Some(claim));
    }

    /// The number of records required for completeness: the first claim, or an earlier claim that still holds.
    fn required(&self) -> Option<u64> {
        let lasting = self.earlier.zip(self.last).map(|(earlier, last)| earlier.min(last));
        self.first.max(lasting)
    }
}

/// The facts after a list was read, once or several times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ListRead {
    pub(super) claims: Claims,
    pub(super) by: Evidence,
    pub(super) read: u64,
    /// Distinct records of the last reading only, because records of an earlier reading may have disappeared since.
    pub(super) distinct: u64,
    pub(super) end: ListEnd,
    /// Whether numbers or offsets alone led from page to page. If records disappear meanwhile, others then move past
    /// the reader.
    pub(super) is_by_position: bool,
    /// Whether the reading before this one brought the same records.
    pub(super) was_confirmed: bool,
}

impl ListRead {
    /// Whether to read the list again: it claims or claimed more than was received, or records disappeared while it
    /// was read.
    pub(super) fn should_read_again(&self) -> bool {
        let lacks = self.claims.last.is_some_and(|claim| self.distinct < claim) || self.certify().is_failed();
        lacks || (self.has_shrunk() && self.is_by_position)
    }

    /// Whether a second reading that brings the same records would prove it: its pages are numbered, nothing counts its
    /// records, and its end was reached.
    pub(super) fn may_be_confirmed(&self) -> bool {
        self.is_by_position && self.end == ListEnd::Stated && self.claims.required().is_none() && !self.has_shrunk()
    }

    /// Whether records disappeared from the list while it was read. Ignores a count that is smaller than the records received.
    fn has_shrunk(&self) -> bool {
        self.claims.fell && self.claims.largest.is_none_or(|largest| self.distinct <= largest)
    }

    /// The verdict. Records that are new since the last reading began may be missing.
    pub(super) fn certify(&self) -> Completeness {
        let largest = self.claims.largest;
        let required = self.claims.required();
        let certificate = |status, by, why: Option<String>| Completeness {
            status,
            by,
            // If the list grew meanwhile and all of it was received, the larger count is claimed.
            claimed: self.claims.last.filter(|last| required <= Some(*last) && *last <= self.distinct).or(required),
            read: self.read,
            distinct: Some(self.distinct),
            why,
        };
        let unproven = |why: String| certificate(CompletenessStatus::Unproven, None, Some(why));
        match (required, self.end) {
            (Some(claimed), _) if self.distinct < claimed => certificate(
                CompletenessStatus::Failed,
                Some(self.by),
                Some(format!("the source claims {} and sent {}", counted(claimed, "record"), counted(self.distinct, "different one"))),
            ),
            (Some(_), _) if self.has_shrunk() && self.is_by_position => {
                unproven("records disappeared from the list while it was read: other records may have been skipped".to_owned())
            }
            (Some(claimed), _) if largest.is_some_and(|largest| self.distinct > largest) => {
                unproven(format!("the source claims {} and sent {}", counted(claimed, "record"), counted(self.distinct, "different one")))
            }
            (Some(_), _) => certificate(CompletenessStatus::Proven, Some(self.by), None),
            (None, _) if self.has_shrunk() && self.is_by_position => {
                unproven("pages disappeared from the list while it was read: records may have been skipped".to_owned())
            }
            (None, ListEnd::Stated) if self.is_by_position && self.was_confirmed => {
                certificate(CompletenessStatus::Proven, Some(Evidence::SecondReading), None)
            }
            (None, ListEnd::Stated) if self.is_by_position => unproven(
                "the source does not count its records, and its pages are numbered: if a record disappears meanwhile, another is skipped"
                    .to_owned(),
            ),
            (None, ListEnd::Stated) => certificate(CompletenessStatus::Proven, Some(Evidence::Cursor), None),
            (None, ListEnd::Single) => certificate(CompletenessStatus::Proven, Some(Evidence::Single), None),
            (None, ListEnd::Unstated) => unproven("the last page does not say whether there is a next page".to_owned()),
            (None, ListEnd::EmptyPage) => {
                unproven("the source does not count its records, and the list ended with an empty page".to_owned())
            }
            (None, ListEnd::Counted) => unproven("the source counts its pages, but not its records".to_owned()),
            (None, ListEnd::NotPaginated) => unproven("the source sends the same page for every page number".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(claims: &[u64], distinct: u64, is_by_position: bool) -> ListRead {
        let mut added = Claims::default();
        claims.iter().for_each(|claim| added.add(Some(*claim)));
        let (by, end) = (Evidence::Total, ListEnd::EmptyPage);
        ListRead { claims: added, by, read: distinct, distinct, end, is_by_position, was_confirmed: false }
    }

    fn verdict(claims: &[u64], distinct: u64) -> (bool, &'static str) {
        let read = read(claims, distinct, true);
        (read.should_read_again(), read.certify().status.as_str())
    }

    #[test]
    fn the_count_at_the_start_of_the_reading_is_required() {
        assert_eq!(verdict(&[9, 9], 9), (false, "proven"));
        assert_eq!(verdict(&[9, 9], 8), (true, "failed"));
        assert_eq!(verdict(&[9, 10], 9), (true, "proven"), "the new record is looked for once, and may be missing");
        assert_eq!(verdict(&[9, 10], 10), (false, "proven"));
        assert_eq!(read(&[9, 10], 10, true).certify().claimed, Some(10));
        assert_eq!(verdict(&[9, 8], 9), (true, "unproven"), "a record disappeared: another may have been skipped");
        assert_eq!(verdict(&[15, 15], 30), (false, "unproven"), "the count is not that of the list");
        assert_eq!(verdict(&[15, 15, 7], 37), (false, "unproven"), "the count is that of a page");
        assert_eq!(verdict(&[], 30), (false, "unproven"));
        let mut again = read(&[5, 8], 5, true);
        again.claims = again.claims.again();
        [5, 8].into_iter().for_each(|claim| again.claims.add(Some(claim)));
        assert_eq!(again.certify().status, CompletenessStatus::Failed, "both readings claim 8 at the end");
        assert_eq!(read(&[9, 8], 9, false).certify().status, CompletenessStatus::Proven, "a cursor does not skip");
        let shrunk = read(&[9, 8], 8, false);
        assert_eq!((shrunk.should_read_again(), shrunk.certify().is_failed()), (true, true), "no list fails that was read once");
    }

    #[test]
    fn without_a_claim_the_end_of_the_list_is_the_evidence() {
        let by = |end| ListRead { end, ..read(&[], 3, false) }.certify().by;
        assert_eq!((by(ListEnd::Stated), by(ListEnd::Single)), (Some(Evidence::Cursor), Some(Evidence::Single)));
        let numbered = ListRead { end: ListEnd::Stated, ..read(&[], 3, true) }.certify();
        assert_eq!((numbered.status, numbered.by), (CompletenessStatus::Unproven, None), "pages that are numbered may skip a record");
        let numbered = ListRead { end: ListEnd::Stated, was_confirmed: true, ..read(&[], 3, true) };
        assert_eq!((numbered.may_be_confirmed(), numbered.certify().by), (true, Some(Evidence::SecondReading)));
        assert!(!read(&[], 3, true).may_be_confirmed(), "an empty page may come too early");
        assert!(!ListRead { end: ListEnd::Stated, ..read(&[3], 3, true) }.may_be_confirmed(), "a count says more");
        for end in [ListEnd::Unstated, ListEnd::EmptyPage, ListEnd::NotPaginated] {
            assert_eq!(by(end), None, "{end:?}");
            assert!(ListRead { end, ..read(&[], 3, false) }.certify().why.is_some());
        }
    }
}
