//! Rows of side facts on their way to their partitions, in few bytes, as [`super::leb128`] has it. Never stored.
//!
//! ```text
//! row = seq · what [`SideRow::encode`] writes
//! ```

use std::collections::BTreeMap;

use super::{
    leb128::{Reader, write_number, write_signed},
    side_fact::SideRow,
    staged_rows::Segment,
};
use crate::model::{Dt, Money};

/// A row that a record of the run brings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StagedSide<R> {
    /// The number of its record in the run.
    pub seq: u64,
    /// The row.
    pub row: R,
}

/// The rows of a batch, cut by partition.
pub struct CutSide {
    pub(super) segments: BTreeMap<Dt, Segment>,
}

impl CutSide {
    /// Cuts the rows of a batch. Each has the number of its record in the batch.
    pub fn new<R: SideRow>(rows: impl IntoIterator<Item = StagedSide<R>>) -> CutSide {
        let mut by_day: BTreeMap<Dt, Encoded> = BTreeMap::new();
        for StagedSide { seq, row } in rows {
            let encoded = by_day.entry(row.dt()).or_default();
            encoded.rows += 1;
            write_number(&mut encoded.bytes, seq);
            row.encode(&mut encoded.bytes);
        }
        let segment = |(dt, encoded): (Dt, Encoded)| (dt, Segment { rows: encoded.rows, bytes: encoded.bytes.into() });
        CutSide { segments: by_day.into_iter().map(segment).collect() }
    }
}

/// The rows of a partition while they are cut.
#[derive(Default)]
struct Encoded {
    bytes: Vec<u8>,
    rows: usize,
}

/// Appends a number that may be missing.
pub(super) fn write_optional_signed(out: &mut Vec<u8>, number: Option<i64>) {
    out.push(u8::from(number.is_some()));
    if let Some(number) = number {
        write_signed(out, number);
    }
}

/// Appends the rows of a segment; `base` is the number of its batch's first record. `None` where the bytes are not those that were
/// written.
pub(super) fn decode<R: SideRow>(bytes: &[u8], base: u64, into: &mut Vec<StagedSide<R>>) -> Option<()> {
    let mut reader = Reader(bytes);
    while !reader.0.is_empty() {
        let seq = base.checked_add(reader.number()?)?;
        into.push(StagedSide { seq, row: R::decode(&mut reader)? });
    }
    Some(())
}

/// A number that may be missing.
pub(super) fn optional_signed(reader: &mut Reader<'_>) -> Option<Option<i64>> {
    if reader.byte()? == 0 { Some(None) } else { reader.signed().map(Some) }
}

/// An amount that may be missing.
pub(super) fn optional_money(reader: &mut Reader<'_>) -> Option<Option<Money>> {
    match optional_signed(reader)? {
        Some(units) => Money::from_units(units.into()).ok().map(Some),
        None => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{OrderTotal, UtcMicros};

    #[test]
    fn totals_come_back_as_they_were_with_the_number_of_their_record() {
        let staged = |seq: u64, order_id: &str, day: i64, units: i128| StagedSide {
            seq,
            row: OrderTotal {
                order_id: order_id.to_owned(),
                currency: (seq == 1).then(|| "EUR".to_owned()),
                lines_total: Money::from_units(-units).ok(),
                amounts: [None, Some(Money::ZERO), None, Money::from_units(units).ok(), None, None],
                status: Some(String::new()),
                created_at: UtcMicros::new(day * UtcMicros::DAY).unwrap(),
                updated_at: (seq > 1).then_some(UtcMicros::MIN),
            },
        };
        let totals = [staged(1, "A", 0, 999_999_999_999_999_999), staged(2, "B", -700_000, 5), staged(300, "C", 0, 0)];
        let cut = CutSide::new(totals.clone());
        assert_eq!(cut.segments.len(), 2);
        for (dt, segment) in &cut.segments {
            let mut found = Vec::new();
            decode::<OrderTotal>(&segment.bytes, 1000, &mut found).unwrap();
            let expected: Vec<_> = totals.iter().filter(|staged| staged.row.dt() == *dt).cloned().collect();
            let expected: Vec<_> = expected.into_iter().map(|staged| StagedSide { seq: staged.seq + 1000, ..staged }).collect();
            assert_eq!((found.len(), found), (segment.rows, expected));
            // Whatever the bytes are, they are rows or refused.
            for place in 0..segment.bytes.len() {
                let _ = decode::<OrderTotal>(&segment.bytes[..place], 0, &mut Vec::new());
                let mut damaged = segment.bytes.to_vec();
                damaged[place] ^= 0xff;
                let _ = decode::<OrderTotal>(&damaged, 0, &mut Vec::new());
            }
        }
    }
}
