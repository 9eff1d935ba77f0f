//! Totals of orders on their way to their partitions, in few bytes, as [`super::staged_rows`] has it for lines. Never stored.
//!
//! ```text
//! row = seq · created_at · updated_at? · order_id · currency? · status? · lines_total? · amount?…
//! ```

use std::collections::BTreeMap;

use super::staged_rows::{Reader, Segment, write_number, write_optional, write_signed, write_text};
use crate::model::{Dt, Money, OrderAmounts, OrderTotal, UtcMicros};

/// The totals of a record of the run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StagedTotal {
    /// The number of its record in the run.
    pub seq: u64,
    /// The row.
    pub total: OrderTotal,
}

/// The totals of a batch, cut by partition.
#[derive(Default)]
pub struct CutTotals {
    pub(super) segments: BTreeMap<Dt, Segment>,
}

impl CutTotals {
    /// Cuts the totals of a batch. Each has the number of its record in the batch.
    pub fn new(totals: impl IntoIterator<Item = StagedTotal>) -> CutTotals {
        let mut by_day: BTreeMap<Dt, Encoded> = BTreeMap::new();
        for staged in totals {
            let encoded = by_day.entry(staged.total.dt()).or_default();
            encoded.rows += 1;
            encode(&mut encoded.bytes, &staged);
        }
        let segment = |(dt, encoded): (Dt, Encoded)| (dt, Segment { rows: encoded.rows, bytes: encoded.bytes.into() });
        CutTotals { segments: by_day.into_iter().map(segment).collect() }
    }
}

/// The rows of a partition while they are cut.
#[derive(Default)]
struct Encoded {
    bytes: Vec<u8>,
    rows: usize,
}

fn encode(out: &mut Vec<u8>, StagedTotal { seq, total }: &StagedTotal) {
    write_number(out, *seq);
    write_signed(out, total.created_at.micros());
    write_optional_signed(out, total.updated_at.map(UtcMicros::micros));
    write_text(out, &total.order_id);
    write_optional(out, total.currency.as_deref());
    write_optional(out, total.status.as_deref());
    total.money().for_each(|money| write_optional_signed(out, money.map(Money::units)));
}

fn write_optional_signed(out: &mut Vec<u8>, number: Option<i64>) {
    out.push(u8::from(number.is_some()));
    if let Some(number) = number {
        write_signed(out, number);
    }
}

/// Appends the rows of a segment; `base` is the number of its batch's first record. `None` where the bytes are not those that were
/// written.
pub(super) fn decode(bytes: &[u8], base: u64, into: &mut Vec<StagedTotal>) -> Option<()> {
    let mut reader = Reader(bytes);
    while !reader.0.is_empty() {
        let seq = base.checked_add(reader.number()?)?;
        let created_at = UtcMicros::new(reader.signed()?)?;
        let updated_at = match optional_signed(&mut reader)? {
            Some(micros) => Some(UtcMicros::new(micros)?),
            None => None,
        };
        let order_id = reader.text()?.to_owned();
        let (currency, status) = (reader.optional()?.map(str::to_owned), reader.optional()?.map(str::to_owned));
        let lines_total = money(&mut reader)?;
        let mut amounts = OrderAmounts::default();
        for amount in &mut amounts {
            *amount = money(&mut reader)?;
        }
        into.push(StagedTotal { seq, total: OrderTotal { order_id, currency, lines_total, amounts, status, created_at, updated_at } });
    }
    Some(())
}

fn optional_signed(reader: &mut Reader<'_>) -> Option<Option<i64>> {
    if reader.byte()? == 0 { Some(None) } else { reader.signed().map(Some) }
}

fn money(reader: &mut Reader<'_>) -> Option<Option<Money>> {
    match optional_signed(reader)? {
        Some(units) => Money::from_units(units.into()).ok().map(Some),
        None => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_come_back_as_they_were_with_the_number_of_their_record() {
        let staged = |seq: u64, order_id: &str, day: i64, units: i128| StagedTotal {
            seq,
            total: OrderTotal {
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
        let cut = CutTotals::new(totals.clone());
        assert_eq!(cut.segments.len(), 2);
        for (dt, segment) in &cut.segments {
            let mut found = Vec::new();
            decode(&segment.bytes, 1000, &mut found).unwrap();
            let expected: Vec<_> = totals.iter().filter(|staged| staged.total.dt() == *dt).cloned().collect();
            let expected: Vec<_> = expected.into_iter().map(|staged| StagedTotal { seq: staged.seq + 1000, ..staged }).collect();
            assert_eq!((found.len(), found), (segment.rows, expected));
            // Whatever the bytes are, they are rows or refused.
            for place in 0..segment.bytes.len() {
                let _ = decode(&segment.bytes[..place], 0, &mut Vec::new());
                let mut damaged = segment.bytes.to_vec();
                damaged[place] ^= 0xff;
                let _ = decode(&damaged, 0, &mut Vec::new());
            }
        }
    }
}
