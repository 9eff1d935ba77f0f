//! Rows on their way to their partitions, in few bytes: what the rows of one record share is written once, numbers take the
//! characters that they need. Made by the threads that normalize, read back by those that merge; never stored in the layer.
//!
//! ```text
//! segment = row…                 the rows of one batch that belong to one partition, in source order
//! row     = flags · [record: seq · created_at · updated_at? · order_id · user_id? · status? · currency? · user_country?]
//!           · sku · product_id? · quantity · unit_price · line_total · product_name? · product_category? · extra…
//! flags   = a character below 64
//! number  = characters below 128: six bits each, the lowest first; the seventh says that another follows; signed ones in zigzag
//! text    = its length in bytes · its bytes
//! text?   = 0 where there is none; otherwise its length plus one · its bytes
//! updated_at? = 0 or 1 · where 1, a number
//! ```
//! The record's part is there unless the row before it is of the same record. A segment is UTF-8 as a whole, so that it is looked at
//! once, and a text in it needs no second look.

use std::collections::HashMap;

use polars::prelude::DataFrame;

use super::{LayerError, lineage};
use crate::model::{Dt, FactRows, Line, Money, OrderHash, Quantity, QuantityType, SEQ, UtcMicros, order_hash};

/// The row is of the record of the row before it.
pub(super) const SAME_RECORD: u8 = 1;
const PRICE_DEFAULTED: u8 = 2;

/// The bits of a number that a character has, and the one that says that another follows.
const LOW_BITS: u64 = 0x3f;
const MORE: u8 = 0x40;

/// Some rows of one partition.
pub(super) struct Segment {
    pub(super) bytes: Box<[u8]>,
    pub(super) rows: usize,
}

/// The bytes of most rows.
const USUAL_ROW_BYTES: usize = 88;

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
        let mut segments = SegmentsInMaking { room: rows.len() * USUAL_ROW_BYTES, ..SegmentsInMaking::default() };
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
        let finished = |(dt, encoder): (Dt, Encoder)| (dt, Segment { rows: encoder.rows, bytes: encoder.out.into_bytes().into() });
        Ok(CutBatch { segments: segments.encoders.into_iter().map(finished).collect(), orders, lineage, records: last_record + 1 })
    }
}

/// The segments of a batch while its rows are cut.
#[derive(Default)]
struct SegmentsInMaking {
    encoders: Vec<(Dt, Encoder)>,
    places: HashMap<Dt, usize>,
    last: usize,
    /// The bytes that the first segment has room for: most batches have rows of one partition, and memory that grows is copied.
    room: usize,
}

impl SegmentsInMaking {
    /// The place of a partition's segment. Rows of one partition often follow each other: that costs no look-up.
    fn of(&mut self, dt: Dt) -> usize {
        if self.encoders.get(self.last).is_none_or(|(last, _)| *last != dt) {
            let encoders = &mut self.encoders;
            self.last = *self.places.entry(dt).or_insert_with(|| {
                encoders.push((dt, Encoder { out: String::with_capacity(std::mem::take(&mut self.room)), ..Encoder::default() }));
                encoders.len() - 1
            });
        }
        self.last
    }
}

#[derive(Default)]
struct Encoder {
    out: String,
    rows: usize,
    record: Option<u64>,
}

impl Encoder {
    fn push<'e>(&mut self, line: &Line<'_>, record: u64, extra: impl Iterator<Item = Option<&'e str>>) {
        let same = self.record.replace(record) == Some(record);
        self.rows += 1;
        write_flags(&mut self.out, line, if same { SAME_RECORD } else { 0 });
        if !same {
            write_record(&mut self.out, line, record);
        }
        write_own_part(&mut self.out, line);
        extra.for_each(|text| write_optional(&mut self.out, text));
    }
}

/// Appends the flags of a row: whether it is of the record of the row before it, and whether its price is missing in the source.
pub(super) fn write_flags(out: &mut String, line: &Line<'_>, record: u8) -> u8 {
    let flags = record | if line.price_defaulted { PRICE_DEFAULTED } else { 0 };
    out.push(char::from(flags));
    flags
}

/// Appends what the rows of a record share.
pub(super) fn write_record(out: &mut String, line: &Line<'_>, seq: u64) {
    write_number(out, seq);
    write_signed(out, line.created_at.micros());
    write_number(out, u64::from(line.updated_at.is_some()));
    if let Some(updated_at) = line.updated_at {
        write_signed(out, updated_at.micros());
    }
    write_text(out, line.order_id);
    for text in [line.user_id, line.status, line.currency, line.user_country] {
        write_optional(out, text);
    }
}

/// Appends what a row has for itself, without extra columns.
pub(super) fn write_own_part(out: &mut String, line: &Line<'_>) {
    write_text(out, line.sku);
    write_optional(out, line.product_id);
    write_signed(out, line.quantity.units());
    write_signed(out, line.unit_price.units());
    write_signed(out, line.line_total.units());
    write_optional(out, line.product_name);
    write_optional(out, line.product_category);
}

/// Appends a text that may be missing.
pub(super) fn write_optional(out: &mut String, text: Option<&str>) {
    write_number(out, text.map_or(0, |text| text.len() as u64 + 1));
    out.push_str(text.unwrap_or_default());
}

fn write_text(out: &mut String, text: &str) {
    write_number(out, text.len() as u64);
    out.push_str(text);
}

fn write_signed(out: &mut String, number: i64) {
    write_number(out, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

fn write_number(out: &mut String, mut number: u64) {
    while number > LOW_BITS {
        out.push(digit(number, MORE));
        number >>= 6;
    }
    out.push(digit(number, 0));
}

/// The character of the lowest six bits of a number.
fn digit(number: u64, more: u8) -> char {
    char::from((number & LOW_BITS).to_le_bytes()[0] | more)
}

/// What the rows of a record share.
#[derive(Clone, Copy)]
pub(super) struct Record<'s> {
    pub(super) created_at: UtcMicros,
    pub(super) updated_at: Option<UtcMicros>,
    pub(super) order_id: &'s str,
    pub(super) texts: RecordTexts<'s>,
}

/// The texts that the rows of a record share, beside the id of their order.
#[derive(Clone, Copy)]
pub(super) struct RecordTexts<'s> {
    user_id: Option<&'s str>,
    pub(super) status: Option<&'s str>,
    currency: Option<&'s str>,
    user_country: Option<&'s str>,
}

/// The beginning of a record's part: what is looked up of a row without reading all of it.
#[derive(Clone, Copy)]
pub(super) struct RecordHead<'s> {
    pub(super) seq: u64,
    pub(super) created_at: UtcMicros,
    pub(super) updated_at: Option<UtcMicros>,
    pub(super) order_id: &'s str,
}

impl<'s> Record<'s> {
    /// A record of its two parts.
    pub(super) fn new(head: &RecordHead<'s>, texts: RecordTexts<'s>) -> Record<'s> {
        Record { created_at: head.created_at, updated_at: head.updated_at, order_id: head.order_id, texts }
    }

    /// Whether a line has all that the rows of the record share, but for its number.
    pub(super) fn is_of(&self, line: &Line<'_>) -> bool {
        let RecordTexts { user_id, status, currency, user_country } = self.texts;
        (self.created_at, self.updated_at) == (line.created_at, line.updated_at)
            && (self.order_id, user_id) == (line.order_id, line.user_id)
            && (status, currency, user_country) == (line.status, line.currency, line.user_country)
    }
}

/// Reads rows back; `None` where the characters are not those that were written.
pub(super) struct RowReader<'s> {
    text: &'s str,
    at: usize,
}

impl<'s> RowReader<'s> {
    /// Reads from a place on.
    pub(super) fn new(text: &'s str, at: usize) -> RowReader<'s> {
        RowReader { text, at }
    }

    /// The place of what is read next.
    pub(super) fn place(&self) -> usize {
        self.at
    }

    /// Whether all is read.
    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    /// The flags of a row.
    pub(super) fn flags(&mut self) -> Option<u8> {
        let flags = *self.text.as_bytes().get(self.at)?;
        self.at += 1;
        Some(flags)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(6) {
            let digit = *self.text.as_bytes().get(self.at)?;
            self.at += 1;
            number |= (u64::from(digit) & LOW_BITS) << shift;
            if digit & MORE == 0 {
                return Some(number);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// The next text, whose length stands before it.
    pub(super) fn text(&mut self) -> Option<&'s str> {
        let length = self.number()?;
        self.bytes(length)
    }

    /// A text that may be missing.
    pub(super) fn optional(&mut self) -> Option<Option<&'s str>> {
        match self.number()? {
            0 => Some(None),
            length => self.bytes(length - 1).map(Some),
        }
    }

    fn bytes(&mut self, length: u64) -> Option<&'s str> {
        let end = self.at.checked_add(usize::try_from(length).ok()?)?;
        let text = self.text.get(self.at..end)?;
        self.at = end;
        Some(text)
    }

    /// What a row has for itself, without extra columns, added to what it shares with the rows of its record.
    pub(super) fn own_part(&mut self, shared: &Record<'s>, flags: u8, quantity: QuantityType) -> Option<Line<'s>> {
        Some(Line {
            order_id: shared.order_id,
            user_id: shared.texts.user_id,
            status: shared.texts.status,
            currency: shared.texts.currency,
            user_country: shared.texts.user_country,
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

    /// The beginning of what the rows of a record share. Its other texts follow.
    pub(super) fn record_head(&mut self) -> Option<RecordHead<'s>> {
        Some(RecordHead {
            seq: self.number()?,
            created_at: UtcMicros::new(self.signed()?)?,
            updated_at: if self.number()? == 0 { None } else { Some(UtcMicros::new(self.signed()?)?) },
            order_id: self.text()?,
        })
    }

    /// The texts that the rows of a record share.
    pub(super) fn record_texts(&mut self) -> Option<RecordTexts<'s>> {
        Some(RecordTexts {
            user_id: self.optional()?,
            status: self.optional()?,
            currency: self.optional()?,
            user_country: self.optional()?,
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
