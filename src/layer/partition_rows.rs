//! The rows of one partition while it is merged, in few bytes: a text is not copied into a column, and a number takes
//! the bytes that it needs. Some 80 to 100 bytes a row, where a frame takes 250.
//!
//! Responsible for finding the row of a number. How a row is written is [`super::staged_rows`]'.

use polars::prelude::DataFrame;

use super::{
    LayerError,
    staged_rows::{Record, RecordHead, RowReader, SAME_RECORD, write_flags, write_optional, write_own_part, write_record},
};
use crate::model::{FactBuilder, FactRows, FactSchema, Line, QuantityType, SEQ, UtcMicros};

/// Rows of `fact_order`, each with the number of its record.
#[derive(Clone)]
pub struct PartitionRows {
    quantity: QuantityType,
    /// The number of extra columns.
    extra: usize,
    /// The rows as they are staged.
    text: String,
    /// The records in the text, in its order.
    records: Vec<RecordPlace>,
    rows: Vec<RowPlace>,
}

/// What is asked of a record again and again, and where the rest of it lies.
#[derive(Clone, Copy)]
struct RecordPlace {
    seq: u64,
    created_at: UtcMicros,
    updated_at: Option<UtcMicros>,
    /// The beginning of the order's id.
    order_id: usize,
    /// The end of the order's id, where the other texts begin.
    texts: usize,
}

/// Where a row lies in the text.
#[derive(Clone, Copy)]
struct RowPlace {
    /// The place of its record.
    record: usize,
    /// The beginning of the part that it has for itself.
    own: usize,
    flags: u8,
}

/// A row, and what follows it: its extra columns.
struct ReadRow<'r> {
    line: Line<'r>,
    rest: RowReader<'r>,
}

impl PartitionRows {
    /// No rows, of these columns.
    pub fn new(schema: &FactSchema) -> PartitionRows {
        PartitionRows {
            quantity: schema.quantity(),
            extra: schema.extra().len(),
            text: String::new(),
            records: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// The rows of a frame of the fact's columns and [`SEQ`].
    ///
    /// # Errors
    /// A frame without these columns.
    pub fn of_frame(frame: &DataFrame, schema: &FactSchema) -> Result<PartitionRows, LayerError> {
        let (rows, seq) = (FactRows::new(frame)?, frame.column(SEQ)?.u64()?);
        let mut all = PartitionRows::new(schema);
        for row in 0..rows.len() {
            all.push(&rows.line(row), seq.get(row).unwrap_or_default(), rows.extra(row));
        }
        Ok(all)
    }

    /// The same rows as such a frame, in one chunk.
    ///
    /// # Errors
    /// Errors of Polars.
    pub(super) fn to_frame(&self, schema: &FactSchema) -> Result<DataFrame, LayerError> {
        let mut rows = FactBuilder::new(schema, self.len());
        for row in 0..self.len() {
            rows.at_record(self.seq(row));
            rows.push(&self.line(row), self.extra(row));
        }
        Ok(rows.finish()?)
    }

    /// Makes room.
    pub(super) fn reserve(&mut self, rows: usize, bytes: usize) {
        self.rows.reserve(rows);
        self.text.reserve(bytes);
    }

    /// Appends a row; `seq` is the number of its record, and `extra` are the texts of the schema's extra columns.
    pub fn push<'e>(&mut self, line: &Line<'_>, seq: u64, extra: impl IntoIterator<Item = Option<&'e str>>) {
        let shared = self.records.last().filter(|place| place.seq == seq && self.record(place).is_some_and(|record| record.is_of(line)));
        let same = if shared.is_some() { SAME_RECORD } else { 0 };
        let flags = write_flags(&mut self.text, line, same);
        if same == 0 {
            let start = self.text.len();
            write_record(&mut self.text, line, seq);
            self.push_record(start);
        }
        self.rows.push(RowPlace { record: self.records.len().saturating_sub(1), own: self.text.len(), flags });
        write_own_part(&mut self.text, line);
        let mut extra = extra.into_iter();
        (0..self.extra).for_each(|_| write_optional(&mut self.text, extra.next().flatten()));
    }

    /// Notes the record that begins at a place of the text.
    fn push_record(&mut self, start: usize) {
        let mut reader = RowReader::new(&self.text, start);
        if let Some(head) = reader.record_head() {
            let texts = reader.place();
            self.records.push(RecordPlace::new(&head, texts, 0));
        }
    }

    /// Appends the rows of a segment; `base` is the number of its batch's first record. `None` where the bytes are not
    /// those that were written: then these rows are not to be used.
    pub(super) fn push_segment(&mut self, segment: &[u8], base: u64) -> Option<()> {
        let start = self.text.len();
        self.text.push_str(std::str::from_utf8(segment).ok()?);
        let mut reader = RowReader::new(&self.text, start);
        let mut last: Option<Record<'_>> = None;
        while !reader.is_at_end() {
            let flags = reader.flags()?;
            let record = match last {
                Some(last) if flags & SAME_RECORD != 0 => last,
                _ => {
                    let head = reader.record_head()?;
                    self.records.push(RecordPlace::new(&head, reader.place(), base));
                    *last.insert(Record::new(&head, reader.record_texts()?))
                }
            };
            let own = reader.place();
            reader.own_part(&record, flags, self.quantity)?;
            for _ in 0..self.extra {
                reader.optional()?;
            }
            self.rows.push(RowPlace { record: self.records.len().checked_sub(1)?, own, flags });
        }
        Some(())
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The key of a row; empty texts beyond the end.
    pub fn key(&self, row: usize) -> (&str, &str) {
        let sku = self.rows.get(row).and_then(|place| RowReader::new(&self.text, place.own).text());
        (self.order_id(row), sku.unwrap_or_default())
    }

    /// The order of a row.
    pub fn order_id(&self, row: usize) -> &str {
        self.record_of(row).map(|place| self.order_id_at(place)).unwrap_or_default()
    }

    /// The status of a row.
    pub fn status(&self, row: usize) -> Option<&str> {
        self.record(self.record_of(row)?)?.texts.status
    }

    /// `created_at` of a row, in microseconds.
    pub fn created_at(&self, row: usize) -> i64 {
        self.record_of(row).map(|place| place.created_at.micros()).unwrap_or_default()
    }

    /// `updated_at` of a row, in microseconds: what decides between versions. `None` sorts first, as the contract has
    /// it.
    pub fn updated_at(&self, row: usize) -> Option<i64> {
        self.record_of(row)?.updated_at.map(UtcMicros::micros)
    }

    /// The number of the record of a row.
    pub fn seq(&self, row: usize) -> u64 {
        self.record_of(row).map(|place| place.seq).unwrap_or_default()
    }

    /// A row; beyond the end, one of an empty key.
    pub fn line(&self, row: usize) -> Line<'_> {
        self.read(row).map_or_else(|| Line::of_key("", ""), |read| read.line)
    }

    /// The texts of the extra columns of a row.
    pub fn extra(&self, row: usize) -> impl Iterator<Item = Option<&str>> {
        let mut reader = if self.extra == 0 { None } else { self.read(row).map(|read| read.rest) };
        (0..self.extra).map(move |_| reader.as_mut().and_then(|reader| reader.optional()).flatten())
    }

    fn read(&self, row: usize) -> Option<ReadRow<'_>> {
        let place = self.rows.get(row)?;
        let record = self.record(self.records.get(place.record)?)?;
        let mut rest = RowReader::new(&self.text, place.own);
        let line = rest.own_part(&record, place.flags, self.quantity)?;
        Some(ReadRow { line, rest })
    }

    fn record_of(&self, row: usize) -> Option<&RecordPlace> {
        self.records.get(self.rows.get(row)?.record)
    }

    fn order_id_at(&self, place: &RecordPlace) -> &str {
        self.text.get(place.order_id..place.texts).unwrap_or_default()
    }

    fn record(&self, place: &RecordPlace) -> Option<Record<'_>> {
        let texts = RowReader::new(&self.text, place.texts).record_texts()?;
        Some(Record { created_at: place.created_at, updated_at: place.updated_at, order_id: self.order_id_at(place), texts })
    }
}

impl RecordPlace {
    /// The place of a record whose other texts begin at a place; its number is counted from `base`.
    fn new(head: &RecordHead<'_>, texts: usize, base: u64) -> RecordPlace {
        let RecordHead { seq, created_at, updated_at, order_id } = head;
        RecordPlace {
            seq: base.saturating_add(*seq),
            created_at: *created_at,
            updated_at: *updated_at,
            order_id: texts - order_id.len(),
            texts,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        layer::CutBatch,
        model::{ExtraColumn, ExtraType, Money, UtcMicros},
    };

    /// A line with texts of its own.
    #[derive(Clone, Debug)]
    struct OwnLine {
        /// The number of its record.
        record: u64,
        order_id: String,
        sku: String,
        texts: Vec<Option<String>>,
        units: i64,
        second: i64,
        updated_at: Option<i64>,
        note: Option<String>,
    }

    impl OwnLine {
        fn line(&self) -> Line<'_> {
            let text = |place: usize| self.texts[place].as_deref();
            Line {
                order_id: &self.order_id,
                sku: &self.sku,
                user_id: text(0),
                product_id: text(1),
                status: text(2),
                currency: text(3),
                quantity: self.units.into(),
                unit_price: Money::from_units((-self.units).into()).unwrap(),
                line_total: Money::from_units(self.units.into()).unwrap(),
                price_defaulted: self.units % 2 == 0,
                user_country: text(4),
                product_name: text(5),
                product_category: text(6),
                created_at: UtcMicros::new(self.second * UtcMicros::SECOND).unwrap(),
                updated_at: self.updated_at.and_then(UtcMicros::new),
            }
        }
    }

    fn schema() -> FactSchema {
        FactSchema::new(vec![ExtraColumn { name: "note".into(), kind: ExtraType::Text }])
    }

    fn frame(lines: &[OwnLine]) -> DataFrame {
        let mut builder = FactBuilder::new(&schema(), lines.len());
        for line in lines {
            builder.at_record(line.record);
            builder.push(&line.line(), [line.note.as_deref()]);
        }
        builder.finish().unwrap()
    }

    /// Few values for each, so that rows often share theirs with the row before them.
    fn lines() -> impl Strategy<Value = Vec<OwnLine>> {
        let text = || proptest::option::of("[a-cé]{0,2}");
        let line = (
            (0..3_u64, "[A-C]", "[a-c]{0,3}"),
            proptest::collection::vec(text(), 7),
            (-5_i64..5, 0..4_i64, proptest::option::of(-2_i64..2), text()),
        );
        let line = line.prop_map(|((record, order_id, sku), texts, (units, second, updated_at, note))| OwnLine {
            record,
            order_id,
            sku,
            texts,
            units,
            second,
            updated_at,
            note,
        });
        proptest::collection::vec(line, 0..20)
    }

    /// The same lines as those of records, whose lines share what a record has.
    fn of_records(mut lines: Vec<OwnLine>) -> Vec<OwnLine> {
        lines.sort_by_key(|line| line.record);
        for place in 1..lines.len() {
            let before = lines[place - 1].clone();
            let line = &mut lines[place];
            if line.record == before.record {
                (line.order_id, line.second, line.updated_at) = (before.order_id, before.second, before.updated_at);
                for text in [0, 2, 3, 4] {
                    line.texts[text].clone_from(&before.texts[text]);
                }
            }
        }
        lines
    }

    fn assert_same(rows: &PartitionRows, lines: &[OwnLine], base: u64) {
        assert_eq!((rows.len(), rows.is_empty()), (lines.len(), lines.is_empty()));
        for (row, own) in lines.iter().enumerate() {
            let line = own.line();
            assert_eq!((rows.line(row), rows.seq(row)), (line, own.record + base), "row {row} of {lines:?}");
            assert_eq!(rows.extra(row).collect::<Vec<_>>(), [own.note.as_deref()]);
            assert_eq!((rows.key(row), rows.order_id(row), rows.status(row)), (line.key(), line.order_id, line.status));
            let times = (line.created_at.micros(), line.updated_at.map(UtcMicros::micros));
            assert_eq!((rows.created_at(row), rows.updated_at(row)), times);
        }
        assert_eq!((rows.line(lines.len()), rows.key(lines.len()), rows.seq(lines.len())), (Line::of_key("", ""), ("", ""), 0));
    }

    proptest! {
        #[test]
        fn rows_of_a_frame_are_those_that_were_given(lines in lines()) {
            assert_same(&PartitionRows::of_frame(&frame(&lines), &schema()).unwrap(), &lines, 0);
        }

        #[test]
        fn rows_of_segments_are_those_that_were_staged(lines in lines(), more in lines()) {
            let mut rows = PartitionRows::new(&schema());
            let mut all = Vec::new();
            for (lines, base) in [(of_records(lines), 100), (of_records(more), 200)] {
                let cut = CutBatch::new(&frame(&lines), 3).unwrap();
                for (_, segment) in &cut.segments {
                    rows.push_segment(&segment.bytes, base).unwrap();
                }
                all.extend(lines.into_iter().map(|line| OwnLine { record: line.record + base, ..line }));
            }
            assert_same(&rows, &all, 0);
        }

        #[test]
        fn bytes_that_were_not_written_are_rows_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut rows = PartitionRows::new(&schema());
            if rows.push_segment(&bytes, 0).is_some() {
                for row in 0..rows.len() {
                    prop_assert_eq!((rows.line(row).key(), rows.extra(row).count()), (rows.key(row), 1));
                }
            }
        }
    }

    #[test]
    fn the_rows_of_one_record_share_what_a_record_has() {
        let line = |sku: &str| OwnLine {
            record: 1,
            order_id: "an order with a long id".to_owned(),
            sku: sku.to_owned(),
            texts: vec![Some("a text".to_owned()); 7],
            units: 3,
            second: 7,
            updated_at: Some(5),
            note: None,
        };
        let lines = [line("a"), line("b"), line("c")];
        let rows = PartitionRows::of_frame(&frame(&lines), &schema()).unwrap();
        assert_same(&rows, &lines, 0);
        let one = PartitionRows::of_frame(&frame(&lines[..1]), &schema()).unwrap().text.len();
        assert!(rows.text.len() < 2 * one, "{} bytes for three rows, {one} for one", rows.text.len());
        // A batch with all three: one segment.
        let cut = CutBatch::new(&frame(&lines), 1).unwrap();
        let mut rows = PartitionRows::new(&schema());
        rows.push_segment(&cut.segments[0].1.bytes, 40).unwrap();
        assert_same(&rows, &lines, 40);
    }
}
