//! The parts that a run dropped from records it loads: lines and refunds. With `merge = "order"`, a newer version of an order must
//! not remove the stored row of a line that it has and that is malformed. With `repeated_sku = "sum"`, a sum without one of its
//! lines must not replace the whole one. And a refund that is malformed now must not take away what was loaded of it.
//!
//! Knows the numbers of records, and the skus of lines or the ids of refunds; why a part was dropped is `normalize`'s.

use xxhash_rust::xxh3::xxh3_64;

use crate::settings::RepeatedSku;

/// Whether a row has all lines of its sku. With `repeated_sku = "sum"`, one of them may have been dropped: then the sum may
/// be too small. A whole row is the greater one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Wholeness {
    Partial,
    Whole,
}

/// A dropped part: the number of its record in the run, and a hash of its sku or id, if that is valid.
#[derive(Clone, Copy, Debug)]
struct DroppedPart {
    seq: u64,
    id: Option<u64>,
}

/// The dropped parts of a run, in source order: 24 bytes each.
#[derive(Clone, Default, Debug)]
pub struct DroppedParts {
    parts: Vec<DroppedPart>,
}

impl DroppedParts {
    /// Takes the next dropped part: a line with its sku, or a refund with its id.
    pub(super) fn push(&mut self, seq: u64, id: Option<&str>) {
        self.parts.push(DroppedPart { seq, id: id.map(|id| xxh3_64(id.as_bytes())) });
    }

    /// Takes the parts of the next batch, whose records are counted from `base`.
    pub(super) fn absorb(&mut self, other: &DroppedParts, base: u64) {
        self.parts.extend(other.parts.iter().map(|part| DroppedPart { seq: base + part.seq, ..*part }));
    }

    /// Whether no part was dropped.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether a part of this record was dropped.
    pub(super) fn is_of_record(&self, seq: u64) -> bool {
        self.of_record(seq).next().is_some()
    }

    /// Whether a dropped part of this record has this sku or id.
    pub(super) fn has(&self, seq: u64, id: &str) -> bool {
        let mut of_record = self.of_record(seq).peekable();
        of_record.peek().is_some() && {
            let id = xxh3_64(id.as_bytes());
            of_record.any(|part| part.id == Some(id))
        }
    }

    /// Whether the row of a sku has all lines that this record has of it.
    pub(super) fn wholeness(&self, repeated_sku: RepeatedSku, seq: u64, sku: &str) -> Wholeness {
        match repeated_sku {
            RepeatedSku::Sum if self.has(seq, sku) => Wholeness::Partial,
            RepeatedSku::Sum | RepeatedSku::Last => Wholeness::Whole,
        }
    }

    fn of_record(&self, seq: u64) -> impl Iterator<Item = &DroppedPart> {
        let first = if self.parts.is_empty() { 0 } else { self.parts.partition_point(|part| part.seq < seq) };
        self.parts[first..].iter().take_while(move |part| part.seq == seq)
    }

    /// Whether a dropped part of this record may be that of this sku or id. A part without a valid one may be that of any.
    pub(super) fn may_be(&self, seq: u64, id: &str) -> bool {
        let id = xxh3_64(id.as_bytes());
        self.of_record(seq).any(|part| part.id.is_none_or(|own| own == id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_part_is_known_by_its_record_and_id() {
        let mut lines = DroppedParts::default();
        [(3, Some("a")), (3, Some("b")), (7, None)].into_iter().for_each(|(seq, sku)| lines.push(seq, sku));
        assert!(lines.is_of_record(7) && !lines.is_of_record(4) && !lines.is_empty() && DroppedParts::default().is_empty());
        assert!(lines.has(3, "a") && !lines.has(3, "c") && !lines.has(7, "c") && !DroppedParts::default().has(3, "a"));
        let known: Vec<_> =
            [(3, "a"), (3, "b"), (3, "c"), (7, "c"), (4, "a"), (8, "a")].into_iter().map(|(seq, sku)| lines.may_be(seq, sku)).collect();
        assert_eq!(known, [true, true, false, true, false, false]);
        let of = |repeated_sku, sku| lines.wholeness(repeated_sku, 3, sku);
        assert_eq!([of(RepeatedSku::Sum, "a"), of(RepeatedSku::Sum, "c")], [Wholeness::Partial, Wholeness::Whole]);
        assert_eq!(of(RepeatedSku::Last, "a"), Wholeness::Whole, "the last valid line is all that counts");
    }
}
