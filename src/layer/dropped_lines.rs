//! The lines that a run dropped from records it loads. With `merge = "order"`, a newer version of an order must not remove the
//! stored row of a line that it has and that is malformed. With `repeated_sku = "sum"`, a sum without one of its lines must not
//! replace the whole one.
//!
//! Knows the numbers of records and the skus of lines; why a line was dropped is `normalize`'s.

use xxhash_rust::xxh3::xxh3_64;

/// A dropped line: the number of its record in the run, and a hash of its sku, if that is valid.
#[derive(Clone, Copy, Debug)]
struct DroppedLine {
    seq: u64,
    sku: Option<u64>,
}

/// The dropped lines of a run, in source order: 24 bytes each.
#[derive(Clone, Default, Debug)]
pub struct DroppedLines {
    lines: Vec<DroppedLine>,
}

impl DroppedLines {
    /// Takes the next dropped line.
    pub(super) fn push(&mut self, seq: u64, sku: Option<&str>) {
        self.lines.push(DroppedLine { seq, sku: sku.map(|sku| xxh3_64(sku.as_bytes())) });
    }

    /// Whether a dropped line of this record has this sku.
    pub(super) fn has(&self, seq: u64, sku: &str) -> bool {
        let mut of_record = self.of_record(seq).peekable();
        of_record.peek().is_some() && {
            let sku = xxh3_64(sku.as_bytes());
            of_record.any(|line| line.sku == Some(sku))
        }
    }

    fn of_record(&self, seq: u64) -> impl Iterator<Item = &DroppedLine> {
        let first = if self.lines.is_empty() { 0 } else { self.lines.partition_point(|line| line.seq < seq) };
        self.lines[first..].iter().take_while(move |line| line.seq == seq)
    }

    /// Whether a dropped line of this record may be the line of this sku. A line without a valid sku may be that of any.
    pub(super) fn may_be(&self, seq: u64, sku: &str) -> bool {
        let sku = xxh3_64(sku.as_bytes());
        self.of_record(seq).any(|line| line.sku.is_none_or(|own| own == sku))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_line_is_known_by_its_record_and_sku() {
        let mut lines = DroppedLines::default();
        [(3, Some("a")), (3, Some("b")), (7, None)].into_iter().for_each(|(seq, sku)| lines.push(seq, sku));
        assert!(lines.has(3, "a") && !lines.has(3, "c") && !lines.has(7, "c") && !DroppedLines::default().has(3, "a"));
        let known: Vec<_> =
            [(3, "a"), (3, "b"), (3, "c"), (7, "c"), (4, "a"), (8, "a")].into_iter().map(|(seq, sku)| lines.may_be(seq, sku)).collect();
        assert_eq!(known, [true, true, false, true, false, false]);
    }
}
