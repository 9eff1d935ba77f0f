//! Rows on their way to their partitions, in few bytes: what the rows of one record share is written once, numbers take the
//! bytes that they need. Made by the threads that normalize, read back by those that merge; never stored in the layer.
//!
//! ```text
//! segment = row…                 the rows of one batch that belong to one partition, in source order
//! row     = flags (u8) · [record: seq · created_at · updated_at? · order_id · user_id? · status? · currency? · user_country?]
//!           · sku · product_id? · quantity · unit_price · line_total · product_name? · product_category? · extra…
//! ```
//! `?` has a byte of its own before it: 1 where a value follows. Numbers are LEB128, signed ones in zigzag; texts have their
//! length before them. The record's part is there unless the row before it is of the same record.

use std::collections::HashMap;

use polars::prelude::DataFrame;

use super::{LayerError, lineage};
use crate::model::{Dt, FactRows, Line, Money, OrderHash, Quantity, QuantityType, SEQ, UtcMicros, order_hash};

/// The row is of the record of the row before it.
pub(super) const SAME_RECORD: u8 = 1;
const PRICE_DEFAULTED: u8 = 2;

/// Some rows of one partition.
pub(super) struct Segment {
    pub(super) bytes: Box<[u8]>,
    pub(super) rows: usize,
}

/// A batch of rows, cut by partition.
pub struct CutBatch {
    pub(super) segments: Vec<(Dt, Segment)>,
    /// Each order that a record of the batch brings, in source order.
    pub(super) orders: Vec<BatchOrder>,
    /// What lineage keeps of these orders, one after the other.
    pub(super) lineage: Vec<u8>,
    /// Records that the batch counts up to, with those that have no row.
    pub(super) records: u64,
}

/// An order that a record of a batch brings.
pub(super) struct BatchOrder {
    pub(super) hash: OrderHash,
    /// The place of the record in the batch.
    pub(super) record: u64,
    /// The segment of its partition.
    pub(super) segment: usize,
    /// The place of its first row in the segment.
    pub(super) row: u64,
    /// Where its part of [`CutBatch::lineage`] ends.
    pub(super) lineage_end: usize,
}

impl CutBatch {
    /// Cuts a frame of the fact's columns and [`SEQ`], whose last record has this number. That record may have no row.
    ///
    /// # Errors
    /// A frame without these columns.
    pub fn new(frame: &DataFrame, last_record: u64) -> Result<CutBatch, LayerError> {
        let rows = FactRows::new(frame)?;
        let seq = frame.column(SEQ)?.u64()?;
        let mut segments = SegmentsInMaking::default();
        let (mut orders, mut lineage): (Vec<BatchOrder>, Vec<u8>) = (Vec::new(), Vec::new());
        let mut last = None;
        for row in 0..rows.len() {
            let (line, record) = (rows.line(row), seq.get(row).unwrap_or_default());
            let dt = line.dt();
            let segment = segments.of(dt);
            let encoder = &mut segments.encoders[segment].1;
            if last.replace((record, dt)) != Some((record, dt)) {
                let hash = order_hash(line.order_id);
                orders.push(BatchOrder { hash, record, segment, row: encoder.rows as u64, lineage_end: 0 });
                lineage::write_version(&mut lineage, dt, line.updated_at);
            }
            lineage::write_sku(&mut lineage, line.sku);
            if let Some(order) = orders.last_mut() {
                order.lineage_end = lineage.len();
            }
            encoder.push(&line, record, rows.extra(row));
        }
        let finished = |(dt, encoder): (Dt, Encoder)| (dt, Segment { rows: encoder.rows, bytes: encoder.out.into() });
        Ok(CutBatch { segments: segments.encoders.into_iter().map(finished).collect(), orders, lineage, records: last_record + 1 })
    }
}

/// The segments of a batch while its rows are cut.
#[derive(Default)]
struct SegmentsInMaking {
    encoders: Vec<(Dt, Encoder)>,
    places: HashMap<Dt, usize>,
    last: usize,
}

impl SegmentsInMaking {
    /// The place of a partition's segment. Rows of one partition often follow each other: that costs no look-up.
    fn of(&mut self, dt: Dt) -> usize {
        if self.encoders.get(self.last).is_none_or(|(last, _)| *last != dt) {
            let encoders = &mut self.encoders;
            self.last = *self.places.entry(dt).or_insert_with(|| {
                encoders.push((dt, Encoder::default()));
                encoders.len() - 1
            });
        }
        self.last
    }
}

#[derive(Default)]
struct Encoder {
    out: Vec<u8>,
    rows: usize,
    record: Option<u64>,
}

impl Encoder {
    fn push<'e>(&mut self, line: &Line<'_>, record: u64, extra: impl Iterator<Item = Option<&'e str>>) {
        let same = self.record.replace(record) == Some(record);
        self.rows += 1;
        self.out.push(price_flag(line) | if same { SAME_RECORD } else { 0 });
        if !same {
            write_record(&mut self.out, line, record);
        }
        write_own_part(&mut self.out, line);
        extra.for_each(|text| write_optional(&mut self.out, text));
    }
}

/// The flag of a row whose price is missing in the source.
pub(super) fn price_flag(line: &Line<'_>) -> u8 {
    u8::from(line.price_defaulted) * PRICE_DEFAULTED
}

/// Appends what the rows of a record share.
pub(super) fn write_record(out: &mut Vec<u8>, line: &Line<'_>, seq: u64) {
    write_number(out, seq);
    write_signed(out, line.created_at.micros());
    out.push(u8::from(line.updated_at.is_some()));
    if let Some(updated_at) = line.updated_at {
        write_signed(out, updated_at.micros());
    }
    write_text(out, line.order_id);
    for text in [line.user_id, line.status, line.currency, line.user_country] {
        write_optional(out, text);
    }
}

/// Appends what a row has for itself, without extra columns.
pub(super) fn write_own_part(out: &mut Vec<u8>, line: &Line<'_>) {
    write_text(out, line.sku);
    write_optional(out, line.product_id);
    write_signed(out, line.quantity.units());
    write_signed(out, line.unit_price.units());
    write_signed(out, line.line_total.units());
    write_optional(out, line.product_name);
    write_optional(out, line.product_category);
}

/// Appends a text, its length before it.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    write_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Appends a text that may be missing.
pub(super) fn write_optional(out: &mut Vec<u8>, text: Option<&str>) {
    out.push(u8::from(text.is_some()));
    if let Some(text) = text {
        write_text(out, text);
    }
}

/// Appends a number as LEB128.
pub(super) fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or(0));
}

/// Appends a signed number as LEB128, in zigzag.
pub(super) fn write_signed(out: &mut Vec<u8>, number: i64) {
    write_number(out, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

/// What the rows of a record share.
#[derive(Clone, Copy)]
pub(super) struct Record<'s> {
    pub(super) seq: u64,
    created_at: UtcMicros,
    updated_at: Option<UtcMicros>,
    order_id: &'s str,
    user_id: Option<&'s str>,
    pub(super) status: Option<&'s str>,
    currency: Option<&'s str>,
    user_country: Option<&'s str>,
}

/// The beginning of a record's part: what is looked up of a row without reading all of it.
#[derive(Clone, Copy)]
pub(super) struct RecordHead {
    pub(super) seq: u64,
    pub(super) created_at: UtcMicros,
    pub(super) updated_at: Option<UtcMicros>,
}

impl Record<'_> {
    /// Whether a line has all that the rows of the record share, but for its number.
    pub(super) fn is_of(&self, line: &Line<'_>) -> bool {
        (self.created_at, self.updated_at) == (line.created_at, line.updated_at)
            && (self.order_id, self.user_id) == (line.order_id, line.user_id)
            && (self.status, self.currency, self.user_country) == (line.status, line.currency, line.user_country)
    }
}

/// Reads numbers and texts back; `None` where the bytes are not those that were written.
pub struct Reader<'s>(pub(super) &'s [u8]);

impl<'s> Reader<'s> {
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    pub(super) fn text(&mut self) -> Option<&'s str> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    pub(super) fn optional(&mut self) -> Option<Option<&'s str>> {
        if self.byte()? == 0 { Some(None) } else { self.text().map(Some) }
    }

    /// What a row has for itself, without extra columns, added to what it shares with the rows of its record.
    pub(super) fn own_part(&mut self, shared: &Record<'s>, flags: u8, quantity: QuantityType) -> Option<Line<'s>> {
        Some(Line {
            order_id: shared.order_id,
            user_id: shared.user_id,
            status: shared.status,
            currency: shared.currency,
            user_country: shared.user_country,
            created_at: shared.created_at,
            updated_at: shared.updated_at,
            price_defaulted: flags & PRICE_DEFAULTED != 0,
            sku: self.text()?,
            product_id: self.optional()?,
            quantity: Quantity::of_units(quantity, self.signed()?),
            unit_price: Money::from_units(self.signed()?.into()).ok()?,
            line_total: Money::from_units(self.signed()?.into()).ok()?,
            product_name: self.optional()?,
            product_category: self.optional()?,
        })
    }

    /// What the rows of a record share.
    pub(super) fn record(&mut self) -> Option<Record<'s>> {
        let RecordHead { seq, created_at, updated_at } = self.record_head()?;
        Some(Record {
            seq,
            created_at,
            updated_at,
            order_id: self.text()?,
            user_id: self.optional()?,
            status: self.optional()?,
            currency: self.optional()?,
            user_country: self.optional()?,
        })
    }

    /// The beginning of what the rows of a record share. The id of its order follows.
    pub(super) fn record_head(&mut self) -> Option<RecordHead> {
        Some(RecordHead {
            seq: self.number()?,
            created_at: UtcMicros::new(self.signed()?)?,
            updated_at: if self.byte()? == 0 { None } else { Some(UtcMicros::new(self.signed()?)?) },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layer::PartitionRows,
        model::{ExtraColumn, ExtraType, FactBuilder, FactSchema},
    };

    #[test]
    fn rows_come_back_as_they_were_with_the_number_of_their_record() {
        let schema = FactSchema::new(vec![ExtraColumn { name: "x".into(), kind: ExtraType::Text }]);
        let day = |day| UtcMicros::new(day * UtcMicros::DAY).unwrap();
        let line = |order_id, sku, created_at, units: i64| Line {
            order_id,
            sku,
            user_id: None,
            product_id: Some("p"),
            status: Some("s"),
            currency: None,
            quantity: units.into(),
            unit_price: Money::from_units((-units).into()).unwrap(),
            line_total: Money::from_units(units.into()).unwrap(),
            price_defaulted: units % 2 == 0,
            user_country: Some("DE"),
            product_name: None,
            product_category: Some(""),
            created_at,
            updated_at: (units > 1).then_some(day(9)),
        };
        let most = 999_999_999_999_999_999;
        let lines =
            [line("A", "x", day(0), most), line("A", "y", day(0), 2), line("B", "x", day(-700_000), -most), line("C", "x", day(0), 1)];
        let mut builder = FactBuilder::new(&schema, 4);
        for (record, line) in [1, 1, 2, 300].into_iter().zip(&lines) {
            builder.at_record(record);
            builder.push(line, [Some("e").filter(|_| record != 2)]);
        }
        let cut = CutBatch::new(&builder.finish().unwrap(), 300).unwrap();
        assert_eq!((cut.records, cut.orders.len(), cut.segments.len()), (301, 3, 2));
        for (dt, segment) in &cut.segments {
            let mut rows = PartitionRows::new(&schema);
            rows.push_segment(&segment.bytes, 1000).unwrap();
            let expected: Vec<_> = [1001, 1001, 1002, 1300].into_iter().zip(&lines).filter(|(_, line)| line.dt() == *dt).collect();
            assert_eq!(rows.len(), expected.len());
            for (row, (record, line)) in expected.into_iter().enumerate() {
                assert_eq!((rows.line(row), rows.seq(row)), (*line, record));
                assert_eq!(rows.extra(row).collect::<Vec<_>>(), [(record != 1002).then_some("e")]);
            }
            // Whatever the bytes are, they are rows or refused.
            for cut in 0..segment.bytes.len() {
                let _ = PartitionRows::new(&schema).push_segment(&segment.bytes[..cut], 0);
                let mut damaged = segment.bytes.to_vec();
                damaged[cut] ^= 0xff;
                let _ = PartitionRows::new(&schema).push_segment(&damaged, 0);
            }
        }
    }
}
