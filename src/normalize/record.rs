//! The contract's rules: convert the captured slices of a record to rows, drops and counts.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    amount::amount,
    fields::Field,
    limits,
    mapping::{CompiledMapping, ExtraField, ExtraValue, LineField, Mapping, RecordField, SummedField},
    mask::{DocumentMasks, masked_value},
    observe::{Sampling, observe},
    prefix::IdPrefix,
    refunds::{DifferingRefunds, DistinctRefunds, DroppedRefund, ReadRefund, RefundedOrder, RepeatedRefund},
    scalar::Scalar,
    totals::{RecordRow, lines_total},
    walk::{Captured, Maps},
};
use crate::{
    drift::ObservedShape,
    model::{
        self, Dt, ExtraType, FactBuilder, FactSchema, LONGEST_TEXT, Level, Line, Money, MoneyError, OrderHash, OrderTotal, ParsedMoney,
        Quantity, QuantityType, REFUNDED, RawRecord, Reason, Refund, RevenueByDt, UtcMicros, Window, fitting_text, order_hash,
    },
    settings::{Cursor, Limits, RepeatedSku, Shop},
};

/// A dropped record or line, for quarantine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drop {
    /// Why it was dropped.
    pub reason: Reason,
    /// The id of the order, if the record has a valid one.
    pub order_id: Option<String>,
    /// The line; `None` if the whole record was dropped.
    pub line: Option<LineOfDrop>,
    /// The bytes of the whole record; only the beginning if the record exceeds a limit. Unchanged, unless columns are masked.
    pub record: Arc<[u8]>,
}

/// A dropped line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LineOfDrop {
    /// Its index in the record, from 0.
    pub index: usize,
    /// Its sku, if that is valid.
    pub sku: Option<String>,
    /// The number of its record in the batch: that of [`crate::model::SEQ`].
    pub record_number: u64,
}

/// An order whose list of lines is there, and has no line that counts. The record is dropped as `empty_items`, or skipped where the
/// profile skips all its lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EmptiedOrder {
    /// Its id.
    pub order_id: String,
    /// The day of its creation.
    pub dt: Dt,
    /// When it was last changed.
    pub updated_at: Option<UtcMicros>,
    /// The number of its record in the batch: that of [`crate::model::SEQ`].
    pub record_number: u64,
}

/// The orders of all records of a batch, whatever became of these: processed, dropped, skipped or out of the window.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ReadOrders {
    /// Those of records whose order id is valid, in source order.
    pub orders: Vec<OrderHash>,
    /// The number of records whose order is not known.
    pub unknown: u64,
}

/// The counts of a batch of records. Its JSON is a part of the summary, which adds up the counts of values itself: with
/// those of the dimensions.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "each is a count of the contract's summary, under its name")]
pub struct RecordCounts {
    pub records_read: u64,
    #[serde(rename = "records_processed_count")]
    pub records_processed: u64,
    #[serde(rename = "records_dropped_count")]
    pub records_dropped: u64,
    pub records_out_of_window: u64,
    /// Records that the profile skips; not included in `records_read`.
    pub records_skipped: u64,
    /// By reason, in the order of [`Reason::ALL`].
    #[serde(with = "by_reason")]
    pub dropped: [u64; Reason::ALL.len()],
    pub lines_read: u64,
    pub lines_dropped: u64,
    /// Lines that the profile skips; not included in `lines_read`.
    pub lines_skipped: u64,
    /// Refunds that records with rows list.
    pub refunds_read: u64,
    /// Refunds without an id, a time or an amount that can be read, and announced ones that did not come.
    pub refunds_dropped: u64,
    /// Refunds that the profile skips; not included in `refunds_read`.
    pub refunds_skipped: u64,
    /// Refunds that have the id of another one of their order; `refunds_read` counts them.
    pub refunds_repeated: u64,
    /// Orders whose refunds do not add up to what the order says itself.
    pub refund_totals_differing: u64,
    /// Dropped lines whose quantity has decimals.
    #[serde(skip)]
    pub decimal_quantities: u64,
    /// Dropped lines whose quantity would make the sum of their sku too large (`repeated_sku = "sum"`).
    #[serde(skip)]
    pub quantity_sums_out_of_range: u64,
    /// Dropped lines whose currency is not that of their order, or one of several of an order that has none.
    #[serde(skip)]
    pub other_currencies: u64,
    /// Lines that were added to an earlier line with the same sku (`repeated_sku = "sum"`).
    #[serde(skip)]
    pub lines_summed: u64,
    #[serde(skip)]
    pub prices_defaulted: u64,
    #[serde(skip)]
    pub prices_rounded: u64,
    #[serde(skip)]
    pub updated_at_unreadable: u64,
    #[serde(skip)]
    pub repeated_skus: u64,
    /// Values that are present but invalid: ids, texts, and values of extra columns.
    #[serde(skip)]
    pub values_unreadable: u64,
    /// Texts that were cut at [`LONGEST_TEXT`].
    #[serde(skip)]
    pub texts_cut: u64,
}

/// Drops as an object: each reason that occurred, with how often.
mod by_reason {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use crate::model::Reason;

    type Dropped = [u64; Reason::ALL.len()];

    pub(super) fn serialize<S: Serializer>(dropped: &Dropped, serializer: S) -> Result<S::Ok, S::Error> {
        let occurred: BTreeMap<_, _> =
            Reason::ALL.iter().map(|reason| reason.as_str()).zip(dropped).filter(|(_, count)| **count > 0).collect();
        serializer.collect_map(occurred)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Dropped, D::Error> {
        let counts = BTreeMap::<String, u64>::deserialize(deserializer)?;
        Ok(std::array::from_fn(|place| Reason::ALL.get(place).and_then(|reason| counts.get(reason.as_str())).copied().unwrap_or_default()))
    }
}

impl RecordCounts {
    /// The records and lines that were dropped for a reason.
    pub fn of(&self, reason: Reason) -> u64 {
        self.dropped[reason as usize]
    }

    /// The records that say nothing of the shape of the window's records: others, and what is no JSON or beyond a limit.
    fn without_shape(&self) -> u64 {
        let unread = [Reason::InvalidJson, Reason::RecordTooLarge, Reason::RecordTooDeep].map(|reason| self.of(reason));
        self.records_out_of_window + self.records_skipped + unread.into_iter().sum::<u64>()
    }

    /// Adds all of `other`.
    pub fn absorb(&mut self, other: &RecordCounts) {
        self.records_read += other.records_read;
        self.records_processed += other.records_processed;
        self.records_dropped += other.records_dropped;
        self.records_out_of_window += other.records_out_of_window;
        self.records_skipped += other.records_skipped;
        for (sum, count) in self.dropped.iter_mut().zip(other.dropped) {
            *sum += count;
        }
        self.lines_read += other.lines_read;
        self.lines_dropped += other.lines_dropped;
        self.lines_skipped += other.lines_skipped;
        self.refunds_read += other.refunds_read;
        self.refunds_dropped += other.refunds_dropped;
        self.refunds_skipped += other.refunds_skipped;
        self.refunds_repeated += other.refunds_repeated;
        self.refund_totals_differing += other.refund_totals_differing;
        self.lines_summed += other.lines_summed;
        self.decimal_quantities += other.decimal_quantities;
        self.quantity_sums_out_of_range += other.quantity_sums_out_of_range;
        self.other_currencies += other.other_currencies;
        self.prices_defaulted += other.prices_defaulted;
        self.prices_rounded += other.prices_rounded;
        self.updated_at_unreadable += other.updated_at_unreadable;
        self.repeated_skus += other.repeated_skus;
        self.values_unreadable += other.values_unreadable;
        self.texts_cut += other.texts_cut;
    }

    /// Counts a dropped record or line.
    pub(crate) fn drop(&mut self, reason: Reason) {
        self.dropped[reason as usize] += 1;
        match reason.level() {
            Level::Record => self.records_dropped += 1,
            Level::Line => self.lines_dropped += 1,
        }
    }
}

/// The rows, drops and counts of a batch of records, in source order.
pub struct NormalizedBatch {
    /// The rows before the joins: the columns of the schema, and [`crate::model::SEQ`].
    pub rows: FactBuilder,
    /// The records and lines for quarantine.
    pub drops: Vec<Drop>,
    /// The orders that have lost all their lines.
    pub emptied: Vec<EmptiedOrder>,
    /// The orders of all records; `None` unless the normalizer notes them.
    pub read: Option<ReadOrders>,
    /// The totals of each record that has rows, where the profile maps totals.
    pub totals: Vec<RecordRow<OrderTotal>>,
    /// The refunds of each record that has rows, where the profile maps refunds.
    pub refunds: Vec<RecordRow<Refund>>,
    /// The refunds that these records have, and that can't be read.
    pub dropped_refunds: Vec<DroppedRefund>,
    /// The refunds that a record lists more than once.
    pub repeated_refunds: Vec<RepeatedRefund>,
    /// The orders whose refunds do not add up to what they say of them.
    pub differing_refunds: Vec<DifferingRefunds>,
    /// The counts of the batch.
    pub counts: RecordCounts,
    /// Σ `line_total` of the rows, summed separately for reconciliation.
    pub revenue: RevenueByDt,
    /// The shape of the records that were observed.
    pub shape: ObservedShape,
}

/// A window on a timestamp of the order.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TimestampWindow {
    /// The window.
    pub window: Window,
    /// The timestamp that it applies to.
    pub cursor: Cursor,
}

/// What holds for one batch of records alone.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct BatchRules {
    /// Records count only if they are inside of this window, too.
    pub also_within: TimestampWindow,
    /// The records whose shape is observed.
    pub sampling: Sampling,
}

/// A compiled profile. All threads of a run share one.
pub struct RecordNormalizer {
    pub(super) mapping: CompiledMapping,
    pub(super) maps: Maps,
    /// What stands before the ids of orders and customers.
    ids: IdPrefix,
    /// What stands before skus and ids of products.
    skus: IdPrefix,
    schema: FactSchema,
    cursor: Cursor,
    repeated_sku: RepeatedSku,
    pub(super) limits: Limits,
    window: Window,
    notes_orders: bool,
    /// What is masked in records that are kept; `None` if nothing is.
    kept_masks: Option<DocumentMasks>,
}

impl RecordNormalizer {
    /// A normalizer with the default profile, for the records of a window.
    pub fn new(window: Window) -> RecordNormalizer {
        RecordNormalizer::configured(&Mapping::default(), window)
    }

    /// A normalizer with a configuration, for the records of a window.
    pub fn configured(mapping: &Mapping<'_>, window: Window) -> RecordNormalizer {
        let mut compiled = mapping.compile();
        let maps = Maps {
            lists: compiled.record(RecordField::Lines).leaves.iter().chain(&compiled.asked_lines).copied().collect(),
            asked: compiled.asked_lines,
            record: std::mem::take(&mut compiled.record_trie),
            line: std::mem::take(&mut compiled.line_trie),
            line_lists: mapping.profile.map(|profile| profile.lines).unwrap_or_default(),
        };
        RecordNormalizer {
            maps,
            mapping: compiled,
            ids: IdPrefix::new(mapping.shop.map(Shop::id_prefix)),
            skus: IdPrefix::new(mapping.shop.and_then(Shop::sku_prefix)),
            schema: mapping.schema(),
            cursor: mapping.cursor,
            repeated_sku: mapping.repeated_sku,
            limits: mapping.limits,
            window,
            notes_orders: false,
            kept_masks: DocumentMasks::of_records(mapping),
        }
    }

    /// The same, which also notes the orders of all records.
    #[must_use]
    pub fn noting_orders(self) -> RecordNormalizer {
        RecordNormalizer { notes_orders: true, ..self }
    }

    /// The bytes of a dropped record, as quarantine may keep them.
    fn kept(&self, record: &[u8]) -> Arc<[u8]> {
        match &self.kept_masks {
            None => record.into(),
            Some(masks) => masks.record(record).into(),
        }
    }

    /// Whether a record may have rows: it is neither skipped nor outside of the window. What is malformed may, until it is normalized.
    pub fn may_take(&self, record: &[u8]) -> bool {
        let mut captured = Captured::new(&self.maps);
        if limits::exceeded(record.into(), &self.limits).is_some() || !captured.walk(&self.maps, record) {
            return true;
        }
        if self.mapping.skip.iter().any(|skip| skip.applies(&captured.cells)) {
            return false;
        }
        let instant = |field: RecordField| {
            let field = self.mapping.record(field);
            field.instant(&field.value(&captured.cells))
        };
        let created_at = instant(RecordField::CreatedAt);
        let at = match self.cursor {
            Cursor::Created => created_at,
            Cursor::Updated => instant(RecordField::UpdatedAt).or(created_at),
        };
        at.is_none_or(|at| self.window.contains(at))
    }

    /// Normalizes a batch of records, valid JSON or not.
    pub fn normalize<'a, R: Into<RawRecord<'a>>>(&'a self, records: impl Iterator<Item = R>) -> NormalizedBatch {
        self.normalize_with(records, BatchRules::default())
    }

    /// Normalizes a batch of records by rules of its own, and observes a sample of those of the window.
    pub fn normalize_with<'a, R: Into<RawRecord<'a>>>(
        &'a self,
        records: impl Iterator<Item = R>,
        BatchRules { also_within, sampling }: BatchRules,
    ) -> NormalizedBatch {
        let mut work = Work {
            normalizer: self,
            captured: Captured::new(&self.maps),
            lines: Vec::new(),
            skus: Vec::new(),
            line_totals: Vec::new(),
            summed: Vec::new(),
            summed_at: HashMap::new(),
            batch: NormalizedBatch {
                rows: FactBuilder::new(&self.schema, USUAL_ROWS),
                drops: Vec::new(),
                emptied: Vec::new(),
                read: self.notes_orders.then(ReadOrders::default),
                totals: Vec::new(),
                refunds: Vec::new(),
                dropped_refunds: Vec::new(),
                repeated_refunds: Vec::new(),
                differing_refunds: Vec::new(),
                counts: RecordCounts::default(),
                revenue: RevenueByDt::default(),
                shape: ObservedShape::default(),
            },
            day: None,
            also_within,
        };
        for (place, record) in (0..).zip(records) {
            match sampling.takes(place) {
                true => work.record_and_observe(record.into()),
                false => work.record(record.into()),
            }
        }
        work.flush_day();
        work.batch
    }
}

/// The rows of most batches: that many have room from the beginning.
const USUAL_ROWS: usize = 1 << 14;

/// The fields of a record that all its rows share.
struct Heading<'a> {
    order_id: Cow<'a, str>,
    created_at: UtcMicros,
    updated_at: Option<UtcMicros>,
    user_id: Option<Cow<'a, str>>,
    status: Option<Cow<'a, str>>,
    currency: Option<Cow<'a, str>>,
    /// What the currencies that its lines name mean for it.
    line_currencies: LineCurrencies,
    /// The values of the extra columns, in their order; `None` for columns at the level of the line.
    extra: Vec<Option<Cow<'a, str>>>,
}

/// What currencies of lines mean for their order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LineCurrencies {
    /// A line has that of the order, or none.
    OfOrder,
    /// The order names none and its lines name several: which of them is that of the order, nobody knows.
    Several,
}

/// The fields of one line that passed every rule.
struct LineValues<'a> {
    sku: Cow<'a, str>,
    product_id: Option<Cow<'a, str>>,
    quantity: Quantity,
    price: LinePrice,
    /// Invalid values and cut texts, counted when the line becomes a row.
    losses: Losses,
    /// The index of the captured line, for the extra columns at the level of the line.
    line: usize,
    /// The indices of earlier lines that were added up with it (`repeated_sku = "sum"`).
    summed: Vec<usize>,
}

/// The money of a line.
#[derive(Clone, Copy)]
struct LinePrice {
    unit_price: Money,
    line_total: Money,
    /// Whether the source has neither a price nor a total.
    is_defaulted: bool,
    /// Whether decimals of the source were rounded away.
    is_rounded: bool,
}

/// Counts of values that are lost without dropping their line or record.
#[derive(Clone, Copy, Default)]
struct Losses {
    values_unreadable: u32,
    texts_cut: u32,
}

impl Losses {
    /// The value to keep, cut to fit. `None` if it is missing, or invalid, which is counted.
    fn taken<'a>(&mut self, is_missing: IsMissing, value: Option<Cow<'a, str>>) -> Option<Cow<'a, str>> {
        self.values_unreadable += u32::from(value.is_none() && is_missing == IsMissing::No);
        let value = value?;
        match fitting_text(&value).map(str::len) {
            None => Some(value),
            Some(length) => {
                self.texts_cut += 1;
                Some(cut(value, length))
            }
        }
    }

    fn id<'a>(&mut self, value: Scalar<'a>, prefix: &IdPrefix) -> Option<Cow<'a, str>> {
        self.taken(IsMissing::of(&value), value.into_id().map(|id| prefix.before(id)))
    }

    /// The name of a shop stands before what is masked, so that ids of shops stay apart.
    fn user_id<'a>(&mut self, value: Scalar<'a>, normalizer: &RecordNormalizer) -> Option<Cow<'a, str>> {
        let is_missing = IsMissing::of(&value);
        let id = masked_value(normalizer.mapping.user_mask.as_ref(), value.into_id());
        self.taken(is_missing, id.map(|id| normalizer.ids.before(id)))
    }

    fn text<'a>(&mut self, value: Scalar<'a>) -> Option<Cow<'a, str>> {
        self.taken(IsMissing::of(&value), value.into_text())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum IsMissing {
    Yes,
    No,
}

impl IsMissing {
    fn of(value: &Scalar<'_>) -> IsMissing {
        if matches!(value, Scalar::Missing) { IsMissing::Yes } else { IsMissing::No }
    }
}

fn cut(text: Cow<'_, str>, length: usize) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(..length).unwrap_or_default()),
        Cow::Owned(mut text) => {
            text.truncate(length);
            Cow::Owned(text)
        }
    }
}

/// The revenue of one day and currency, summed until either changes. Avoids one map lookup per record.
struct DayTotal {
    dt: Dt,
    currency: Option<String>,
    units: i128,
}

struct Work<'a> {
    normalizer: &'a RecordNormalizer,
    captured: Captured<'a>,
    /// The places of the current record's lines.
    lines: Vec<usize>,
    skus: Vec<Cow<'a, str>>,
    /// The `line_total` of each of `skus`.
    line_totals: Vec<Money>,
    /// The lines of the current record, one per sku (`repeated_sku = "sum"`).
    summed: Vec<LineValues<'a>>,
    /// The index in `summed` of each sku. A map, because a record may have any number of lines.
    summed_at: HashMap<Cow<'a, str>, usize>,
    batch: NormalizedBatch,
    day: Option<DayTotal>,
    /// A window beside that of the normalizer.
    also_within: TimestampWindow,
}

impl<'a> Work<'a> {
    /// Takes a record, and observes its shape if it is one of the window's.
    fn record_and_observe(&mut self, record: RawRecord<'a>) {
        let before = self.batch.counts.without_shape();
        self.record(record);
        if self.batch.counts.without_shape() == before {
            observe(record.bytes, &mut self.batch.shape);
        }
    }

    fn record(&mut self, record: RawRecord<'a>) {
        // Before any rule: the number of a row's record is its place among all records of the page.
        self.batch.rows.begin_record();
        self.batch.counts.records_read += 1;
        let bytes = record.bytes;
        if let Some(reason) = limits::exceeded(record, &self.normalizer.limits) {
            self.note_order(None);
            return self.drop_record(reason, None, limits::beginning(record));
        }
        if !self.captured.walk(&self.normalizer.maps, bytes) {
            self.note_order(None);
            return self.drop_record(Reason::InvalidJson, None, bytes);
        }
        let order_id = self.field(RecordField::OrderId).into_id().map(|id| self.normalizer.ids.before(id));
        let order_id = order_id.filter(|id| id.len() <= LONGEST_TEXT);
        self.note_order(order_id.as_deref());
        if self.is_skipped() {
            self.batch.counts.records_read -= 1;
            self.batch.counts.records_skipped += 1;
            return;
        }
        let Some(order_id) = order_id else {
            return self.drop_record(Reason::MissingOrderId, None, bytes);
        };
        let created_at = match self.field(RecordField::CreatedAt) {
            Scalar::Missing => return self.drop_record(Reason::MissingCreatedAt, Some(&order_id), bytes),
            value => self.rule(RecordField::CreatedAt).instant(&value),
        };
        let Some(created_at) = created_at else {
            return self.drop_record(Reason::InvalidCreatedAt, Some(&order_id), bytes);
        };
        let (updated_at, unreadable) = match self.field(RecordField::UpdatedAt) {
            Scalar::Missing => (None, false),
            value => {
                let updated_at = self.rule(RecordField::UpdatedAt).instant(&value);
                (updated_at, updated_at.is_none())
            }
        };
        let at = |cursor: Cursor| match cursor {
            Cursor::Created => created_at,
            Cursor::Updated => updated_at.unwrap_or(created_at),
        };
        let is_within = self.normalizer.window.contains(at(self.normalizer.cursor));
        if !is_within || !self.also_within.window.contains(at(self.also_within.cursor)) {
            self.batch.counts.records_out_of_window += 1;
            return;
        }
        self.batch.counts.updated_at_unreadable += u64::from(unreadable);
        let mut lines = std::mem::take(&mut self.lines);
        lines.clear();
        self.captured.lines(&self.normalizer.maps, &mut lines);
        let has_lines = !lines.is_empty();
        self.skip_lines(&mut lines);
        if lines.is_empty() {
            if has_lines {
                // All that it has is left out, and so is the order.
                self.batch.counts.records_read -= 1;
                self.batch.counts.records_skipped += 1;
            } else {
                self.drop_record(Reason::EmptyItems, Some(&order_id), bytes);
            }
            if self.captured.has_list(&self.normalizer.maps) {
                let (dt, record_number) = (Dt::of(created_at), self.batch.rows.record());
                self.batch.emptied.push(EmptiedOrder { order_id: order_id.into_owned(), dt, updated_at, record_number });
            }
        } else {
            let heading = self.heading(order_id, created_at, updated_at, &lines);
            self.lines(&heading, &lines, bytes);
        }
        self.lines = lines;
    }

    /// Notes the order of a record. The rules have no say in it.
    fn note_order(&mut self, order_id: Option<&str>) {
        let Some(read) = &mut self.batch.read else { return };
        match order_id {
            Some(order_id) => read.orders.push(order_hash(order_id)),
            None => read.unknown += 1,
        }
    }

    /// Leaves out the lines that the profile skips, and counts them.
    fn skip_lines(&mut self, lines: &mut Vec<usize>) {
        let rules = &self.normalizer.mapping.skip_lines;
        if rules.is_empty() {
            return;
        }
        let before = lines.len();
        let captured = &self.captured;
        lines.retain(|&line| captured.line(line).is_none_or(|cells| !rules.iter().any(|rule| rule.applies(cells))));
        self.batch.counts.lines_skipped += (before - lines.len()) as u64;
    }

    fn rule(&self, field: RecordField) -> &'a Field {
        self.normalizer.mapping.record(field)
    }

    fn field(&self, field: RecordField) -> Scalar<'a> {
        self.rule(field).value(&self.captured.cells)
    }

    fn is_skipped(&self) -> bool {
        self.normalizer.mapping.skip.iter().any(|skip| skip.applies(&self.captured.cells))
    }

    fn heading(&mut self, order_id: Cow<'a, str>, created_at: UtcMicros, updated_at: Option<UtcMicros>, lines: &[usize]) -> Heading<'a> {
        let mut losses = Losses::default();
        let of_record = |column: &'a ExtraField, losses: &mut Losses| match (column.level, &column.value) {
            (Level::Record, ExtraValue::First { field, kind, mask }) => {
                masked_value(mask.as_ref(), first_value(field, *kind, &self.captured.cells, losses))
            }
            (Level::Record, ExtraValue::LocalDate(zone)) => Some(Cow::Owned(Dt::in_zone(created_at, *zone).to_string())),
            // No column of a record is a sum.
            (Level::Record, ExtraValue::Sum(_)) | (Level::Line, _) => None,
        };
        let user_id = losses.user_id(self.field(RecordField::UserId), self.normalizer);
        let status = losses.text(self.field(RecordField::Status));
        let (currency, line_currencies) = match losses.text(self.field(RecordField::Currency)) {
            Some(currency) => (Some(currency), LineCurrencies::OfOrder),
            None => self.currency_of_lines(lines, &mut losses),
        };
        let heading = Heading {
            order_id,
            created_at,
            updated_at,
            user_id,
            status,
            currency,
            line_currencies,
            extra: self.normalizer.mapping.extra.iter().map(|column| of_record(column, &mut losses)).collect(),
        };
        self.count(losses);
        heading
    }

    /// The currency of an order that names none: that of its lines, if all that name one name the same.
    fn currency_of_lines(&self, lines: &[usize], losses: &mut Losses) -> (Option<Cow<'a, str>>, LineCurrencies) {
        let normalizer = self.normalizer;
        let Some(field) = &normalizer.mapping.line_currency else { return (None, LineCurrencies::OfOrder) };
        let mut named = lines.iter().filter_map(|&line| field.value(self.captured.line(line)?).into_text());
        let Some(first) = named.next() else { return (None, LineCurrencies::OfOrder) };
        match named.all(|other| other.eq_ignore_ascii_case(&first)) {
            true => (losses.taken(IsMissing::No, Some(first)), LineCurrencies::OfOrder),
            false => (None, LineCurrencies::Several),
        }
    }

    fn count(&mut self, losses: Losses) {
        self.batch.counts.values_unreadable += u64::from(losses.values_unreadable);
        self.batch.counts.texts_cut += u64::from(losses.texts_cut);
    }

    fn lines(&mut self, heading: &Heading<'a>, lines: &[usize], bytes: &'a [u8]) {
        self.batch.counts.lines_read += lines.len() as u64;
        self.skus.clear();
        self.line_totals.clear();
        let mut shared: Option<Arc<[u8]>> = None;
        let mut drop_line = |work: &mut Self, index: usize, line: usize, reason: Reason| {
            work.batch.counts.drop(reason);
            work.batch.drops.push(Drop {
                reason,
                order_id: Some(heading.order_id.clone().into_owned()),
                line: Some(LineOfDrop { index, sku: work.sku(line).map(Cow::into_owned), record_number: work.batch.rows.record() }),
                record: shared.get_or_insert_with(|| work.normalizer.kept(bytes)).clone(),
            });
        };
        for (index, &line) in lines.iter().enumerate() {
            let values = self.line(line, heading);
            let taken = match (values, self.normalizer.repeated_sku) {
                (Ok(values), RepeatedSku::Last) => {
                    self.row(heading, values);
                    Ok(())
                }
                (Ok(values), RepeatedSku::Sum) => self.add_up(values),
                (Err(reason), _) => Err(reason),
            };
            if let Err(reason) = taken {
                if reason == Reason::InvalidQuantity {
                    self.count_invalid_quantity(line);
                }
                self.batch.counts.other_currencies += u64::from(reason == Reason::InvalidPrice && self.has_other_currency(line, heading));
                drop_line(self, index, line, reason);
            }
        }
        self.summed_at.clear();
        for values in std::mem::take(&mut self.summed) {
            self.row(heading, values);
        }
        if self.skus.is_empty() {
            return self.drop_record(Reason::NoValidItems, Some(&heading.order_id), bytes);
        }
        self.batch.counts.records_processed += 1;
        let repeated_skus = repeated(&self.skus);
        self.batch.counts.repeated_skus += repeated_skus;
        let refunded = self.total(heading, repeated_skus);
        self.refunds(heading, lines, refunded);
    }

    /// Notes the refunds of the order, where the profile maps them. `refunded` is what the order itself says was paid back.
    fn refunds(&mut self, heading: &Heading<'a>, lines: &[usize], refunded: Option<Money>) {
        let normalizer = self.normalizer;
        let Some(fields) = &normalizer.mapping.refunds else { return };
        let listed = fields.listed(&self.captured.cells);
        // Those that the record says it has and that did not come, or that nobody asked for.
        let missed = fields.announced(&self.captured.cells).saturating_sub(listed.refunds.len() as u64);
        self.batch.counts.refunds_read += missed;
        self.batch.counts.refunds_dropped += missed;
        self.batch.counts.values_unreadable += listed.other_shapes;
        let record_number = self.batch.rows.record();
        if listed.other_shapes > 0 || missed > 0 {
            self.batch.dropped_refunds.push(DroppedRefund { refund_id: None, record_number });
            if listed.refunds.is_empty() {
                return;
            }
        }
        let mut distinct = DistinctRefunds::default();
        if !listed.refunds.is_empty() {
            self.read_refunds(&listed.refunds, heading, lines, &mut distinct);
        }
        self.batch.counts.refunds_repeated += distinct.repeated.len() as u64;
        self.batch.repeated_refunds.append(&mut distinct.repeated);
        let rows = distinct.into_rows();
        let differing = refunded.and_then(|refunded| DifferingRefunds::of(&heading.order_id, heading.currency.as_deref(), refunded, &rows));
        self.batch.counts.refund_totals_differing += u64::from(differing.is_some());
        self.batch.differing_refunds.extend(differing);
        self.batch.refunds.extend(rows.into_iter().map(|row| RecordRow { row, record_number }));
    }

    /// Reads the refunds that a record lists, and counts those that can't be read.
    fn read_refunds(&mut self, listed: &[&'a str], heading: &Heading<'a>, lines: &[usize], distinct: &mut DistinctRefunds) {
        let normalizer = self.normalizer;
        let Some(fields) = &normalizer.mapping.refunds else { return };
        let record_number = self.batch.rows.record();
        let order = RefundedOrder {
            order_id: &heading.order_id,
            currency: heading.currency.as_deref(),
            skus: self.skus_by_line(lines),
            ids: &normalizer.ids,
            sku_prefix: &normalizer.skus,
        };
        let mut captured = fields.captured();
        for &raw in listed {
            let counts = &mut self.batch.counts;
            match fields.read(raw, &mut captured, &order) {
                ReadRefund::Skipped => counts.refunds_skipped += 1,
                ReadRefund::Malformed { refund_id } => {
                    counts.refunds_read += 1;
                    counts.refunds_dropped += 1;
                    self.batch.dropped_refunds.push(DroppedRefund { refund_id, record_number });
                }
                ReadRefund::Rows { rows, unreadable } => {
                    counts.refunds_read += 1;
                    counts.values_unreadable += unreadable;
                    distinct.push(rows);
                }
            }
        }
    }

    /// The sku of each line, by the id that refunds name the line by; none where they name no lines.
    fn skus_by_line(&self, lines: &[usize]) -> HashMap<String, String> {
        let Some(key) = &self.normalizer.mapping.line_key else { return HashMap::new() };
        let entry = |&line: &usize| {
            let id = key.value(self.captured.line(line)?).into_id()?;
            Some((id.into_owned(), self.sku(line)?.into_owned()))
        };
        lines.iter().filter_map(entry).collect()
    }

    /// Notes the totals of the order, where the profile maps them. Returns what the order says was paid back.
    fn total(&mut self, heading: &Heading<'a>, repeated_skus: u64) -> Option<Money> {
        let fields = self.normalizer.mapping.totals.as_ref()?;
        let read = fields.amounts(&self.captured.cells, heading.currency.as_deref());
        let lines_total = lines_total(&self.skus, &self.line_totals, repeated_skus);
        self.batch.counts.values_unreadable += u64::from(read.unreadable) + u64::from(lines_total.is_none());
        let owned = |text: &Option<Cow<'a, str>>| text.as_deref().map(str::to_owned);
        let total = OrderTotal {
            order_id: heading.order_id.clone().into_owned(),
            currency: owned(&heading.currency),
            lines_total,
            amounts: read.amounts,
            status: owned(&heading.status),
            created_at: heading.created_at,
            updated_at: heading.updated_at,
        };
        self.batch.totals.push(RecordRow { row: total, record_number: self.batch.rows.record() });
        read.amounts[REFUNDED]
    }

    /// Adds a line to the earlier line with the same sku (contract, "Which version of a row wins": `repeated_sku = "sum"`).
    /// The fields that are not summed come from the later line.
    fn add_up(&mut self, values: LineValues<'a>) -> Result<(), Reason> {
        let earlier = self.summed_at.get(&values.sku).and_then(|&place| self.summed.get_mut(place));
        let Some(earlier) = earlier else {
            self.summed_at.insert(values.sku.clone(), self.summed.len());
            self.summed.push(values);
            return Ok(());
        };
        let quantity = earlier.quantity.plus(values.quantity).ok_or(Reason::InvalidQuantity)?;
        let units = i128::from(earlier.price.line_total.units()) + i128::from(values.price.line_total.units());
        let line_total = Money::from_units(units).map_err(|_| Reason::PriceOutOfRange)?;
        let price = LinePrice {
            unit_price: quantity.share_of(line_total).map_err(|_| Reason::PriceOutOfRange)?,
            line_total,
            is_defaulted: earlier.price.is_defaulted || values.price.is_defaulted,
            is_rounded: earlier.price.is_rounded || values.price.is_rounded,
        };
        let mut summed = std::mem::take(&mut earlier.summed);
        summed.push(earlier.line);
        *earlier = LineValues { quantity, price, summed, ..values };
        self.batch.counts.lines_summed += 1;
        self.batch.counts.repeated_skus += 1;
        Ok(())
    }

    /// Applies the rules of a line, in the contract's order. The first rule that fails gives the reason.
    fn line(&self, line: usize, heading: &Heading<'a>) -> Result<LineValues<'a>, Reason> {
        let mapping = &self.normalizer.mapping;
        let cells = self.captured.line(line).ok_or(Reason::InvalidLine)?;
        let value = |field: LineField| mapping.line(field).value(cells);
        let sku = self.sku(line).ok_or(Reason::MissingSku)?;
        let kind = self.normalizer.schema.quantity();
        let quantity = quantity(&value(LineField::Quantity), kind).ok_or(Reason::InvalidQuantity)?;
        if self.is_of_other_currency(cells, heading) {
            return Err(Reason::InvalidPrice);
        }
        let price = self.price(cells, quantity, heading.currency.as_deref()).map_err(|error| match error {
            MoneyError::NotANumber => Reason::InvalidPrice,
            MoneyError::OutOfRange => Reason::PriceOutOfRange,
        })?;
        let mut losses = Losses::default();
        let product_id = losses.id(value(LineField::ProductId), &self.normalizer.skus);
        Ok(LineValues { sku, product_id, quantity, price, losses, line, summed: Vec::new() })
    }

    /// The money of a line (contract, Orders: `line_total`): the source's own total is the truth, and `unit_price` its quotient.
    fn price(&self, cells: &[Option<&'a str>], quantity: Quantity, currency: Option<&str>) -> Result<LinePrice, MoneyError> {
        let mapping = &self.normalizer.mapping;
        let money = |field: LineField| amount(mapping.line(field), &mapping.line(field).value(cells), cells, currency);
        let total = money(LineField::LineTotal)?;
        // Beside a total, no price is needed, and what stands at its default paths may be no price: Stripe has an object there.
        let unit = match total {
            Some(_) => money(LineField::UnitPrice).ok().flatten(),
            None => money(LineField::UnitPrice)?,
        };
        let discount = mapping.discount.as_ref().map(|discount| discount.sum(cells, currency)).transpose()?.flatten();
        let is_discount_rounded = discount.is_some_and(|discount| discount.rounded);
        let discount = discount.map(|discount| discount.money).filter(|discount| *discount != Money::ZERO);
        let unit_price = unit.map_or(Money::ZERO, |unit| unit.money);
        let line_total = match total {
            Some(total) => total.money,
            None => quantity.times(unit_price)?,
        };
        let line_total = match discount {
            Some(discount) => Money::from_units(i128::from(line_total.units()) - i128::from(discount.units()))?,
            None => line_total,
        };
        // A line of nothing keeps the price that its source says.
        let is_quotient = (total.is_some() || discount.is_some()) && (!quantity.is_zero() || line_total != Money::ZERO);
        Ok(LinePrice {
            unit_price: if is_quotient { quantity.share_of(line_total)? } else { unit_price },
            line_total,
            is_defaulted: unit.is_none() && total.is_none(),
            is_rounded: is_discount_rounded || total.or(unit).is_some_and(|amount| amount.rounded),
        })
    }

    /// Whether a line says another currency than its order, or than another line of an order that says none: its money
    /// would be added to money of another kind.
    fn is_of_other_currency(&self, cells: &[Option<&'a str>], heading: &Heading<'a>) -> bool {
        let Some(field) = &self.normalizer.mapping.line_currency else { return false };
        let Some(own) = field.value(cells).into_text() else { return false };
        match heading.currency.as_deref() {
            Some(currency) => !own.eq_ignore_ascii_case(currency),
            None => heading.line_currencies == LineCurrencies::Several,
        }
    }

    /// The same, of a captured line.
    fn has_other_currency(&self, line: usize, heading: &Heading<'a>) -> bool {
        self.captured.line(line).is_some_and(|cells| self.is_of_other_currency(cells, heading))
    }

    /// Counts what is wrong with the quantity of a dropped line. One that is valid by itself has made a sum too large;
    /// others may be valid if quantities had decimals.
    fn count_invalid_quantity(&mut self, line: usize) {
        let Some(cells) = self.captured.line(line) else { return };
        let value = self.normalizer.mapping.line(LineField::Quantity).value(cells);
        let is_valid = |kind| quantity(&value, kind).is_some();
        let (is_of_sum, is_decimal) = (is_valid(self.normalizer.schema.quantity()), is_valid(QuantityType::Decimal));
        self.batch.counts.quantity_sums_out_of_range += u64::from(is_of_sum);
        self.batch.counts.decimal_quantities += u64::from(is_decimal && !is_of_sum);
    }

    /// The sku of a captured line, if it is valid.
    fn sku(&self, line: usize) -> Option<Cow<'a, str>> {
        let sku = self.normalizer.mapping.line(LineField::Sku).value(self.captured.line(line)?).into_id();
        let sku = sku.map(|sku| self.normalizer.skus.before(sku));
        sku.filter(|sku| sku.len() <= LONGEST_TEXT)
    }

    fn row(&mut self, heading: &Heading<'a>, values: LineValues<'a>) {
        let mut losses = values.losses;
        let mut extra: Vec<Option<Cow<'_, str>>> = heading.extra.iter().map(|value| value.as_deref().map(Cow::Borrowed)).collect();
        let captured = &self.captured;
        let lines = || std::iter::once(values.line).chain(values.summed.iter().copied());
        let cells = |line| captured.line(line).unwrap_or_default();
        for (value, column) in extra.iter_mut().zip(&self.normalizer.mapping.extra).filter(|(_, column)| column.level == Level::Line) {
            *value = match &column.value {
                ExtraValue::First { field, kind, mask } => {
                    masked_value(mask.as_ref(), first_value(field, *kind, cells(values.line), &mut losses))
                }
                ExtraValue::Sum(field) => summed_value(field, lines().map(cells), heading.currency.as_deref(), &mut losses),
                // That of the record: lines have none of their own.
                ExtraValue::LocalDate(_) => continue,
            };
        }
        self.count(losses);
        let counts = &mut self.batch.counts;
        counts.prices_defaulted += u64::from(values.price.is_defaulted);
        counts.prices_rounded += u64::from(values.price.is_rounded);
        let line = Line {
            order_id: &heading.order_id,
            sku: &values.sku,
            user_id: heading.user_id.as_deref(),
            product_id: values.product_id.as_deref(),
            status: heading.status.as_deref(),
            currency: heading.currency.as_deref(),
            quantity: values.quantity,
            unit_price: values.price.unit_price,
            line_total: values.price.line_total,
            price_defaulted: values.price.is_defaulted,
            user_country: None,
            product_name: None,
            product_category: None,
            created_at: heading.created_at,
            updated_at: heading.updated_at,
        };
        self.batch.rows.push(&line, extra.iter().map(Option::as_deref));
        self.add_revenue(line.dt(), line.currency, line.line_total);
        self.line_totals.push(values.price.line_total);
        self.skus.push(values.sku);
    }

    fn add_revenue(&mut self, dt: Dt, currency: Option<&str>, amount: Money) {
        let units = i128::from(amount.units());
        match &mut self.day {
            Some(day) if day.dt == dt && day.currency.as_deref() == currency => day.units += units,
            _ => {
                self.flush_day();
                self.day = Some(DayTotal { dt, currency: currency.map(str::to_owned), units });
            }
        }
    }

    fn flush_day(&mut self) {
        if let Some(day) = self.day.take() {
            self.batch.revenue.add(day.dt, day.currency.as_deref(), day.units);
        }
    }

    fn drop_record(&mut self, reason: Reason, order_id: Option<&str>, bytes: &[u8]) {
        self.batch.counts.drop(reason);
        self.batch.drops.push(Drop { reason, order_id: order_id.map(str::to_owned), line: None, record: self.normalizer.kept(bytes) });
    }
}

/// The number of lines whose sku is also on an earlier line.
fn repeated(skus: &[Cow<'_, str>]) -> u64 {
    const FEW: usize = 16;
    if skus.len() <= FEW {
        return (1..skus.len()).filter(|&line| skus[..line].contains(&skus[line])).count() as u64;
    }
    let distinct: HashSet<&str> = skus.iter().map(AsRef::as_ref).collect();
    (skus.len() - distinct.len()) as u64
}

/// The value of an extra column, as the text that the layer stores.
fn first_value<'a>(field: &'a Field, kind: ExtraType, cells: &[Option<&'a str>], losses: &mut Losses) -> Option<Cow<'a, str>> {
    let value = field.value(cells);
    let is_missing = IsMissing::of(&value);
    let canonical = match kind {
        ExtraType::Timestamp => field.instant(&value).map(|instant| Cow::Owned(instant.to_canonical())),
        kind => value.into_text().and_then(|text| kind.canonical(text)),
    };
    losses.taken(is_missing, canonical)
}

/// The sum of the amounts of all lines that become one row, as the text that the layer stores. `None` if no line has an amount,
/// or if one of them is invalid, which is counted: a part of a sum is no sum.
fn summed_value<'a: 'c, 'c>(
    field: &SummedField,
    lines: impl Iterator<Item = &'c [Option<&'a str>]>,
    currency: Option<&str>,
    losses: &mut Losses,
) -> Option<Cow<'a, str>> {
    match ParsedMoney::sum(lines.map(|cells| field.sum(cells, currency))) {
        Ok(sum) => sum.map(|sum| Cow::Owned(sum.money.to_string())),
        Err(_) => {
            losses.values_unreadable += 1;
            None
        }
    }
}

/// A number of this type, or a text of one; 1 if it is missing.
fn quantity(value: &Scalar<'_>, kind: QuantityType) -> Option<Quantity> {
    let text = match value {
        Scalar::Missing => "1",
        Scalar::Text(text) => text,
        Scalar::Number(digits) => digits,
        Scalar::Bool(_) | Scalar::Other => return None,
    };
    match kind {
        QuantityType::Whole => model::parse_whole(text.as_bytes()).map(Quantity::from),
        // A quantity that must be rounded would change the money of its line.
        QuantityType::Decimal => {
            let parsed = model::parse_money(text.as_bytes()).ok().filter(|parsed| !parsed.rounded)?;
            Some(Quantity::of_decimal(parsed.money))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::FactRows, settings::Skus};

    fn normalize(records: &[&str]) -> NormalizedBatch {
        RecordNormalizer::new(Window::default()).normalize(records.iter().map(|record| record.as_bytes()))
    }

    fn reasons(record: &str) -> Vec<&'static str> {
        normalize(&[record]).drops.iter().map(|drop| drop.reason.as_str()).collect()
    }

    /// The rows as `order_id/sku/quantity/unit_price/line_total`.
    fn rows(record: &str) -> Vec<String> {
        let frame = normalize(&[record]).rows.finish().unwrap();
        let rows = FactRows::new(&frame).unwrap();
        (0..rows.len())
            .map(|i| rows.line(i))
            .map(|line| format!("{}/{}/{}/{}/{}", line.order_id, line.sku, line.quantity, line.unit_price, line.line_total))
            .collect()
    }

    const DATE: &str = r#""created_at":"2026-01-01""#;

    fn order(lines: &str) -> String {
        format!(r#"{{"order_id":"A",{DATE},"items":{lines}}}"#)
    }

    #[test]
    fn each_malformed_record_has_its_reason() {
        for (record, reason) in [
            ("{\"order_id\":", "invalid_json"),
            ("[]", "invalid_json"),
            ("42", "invalid_json"),
            ("1e999", "invalid_json"),
            ("\"text\"", "invalid_json"),
            ("null", "invalid_json"),
            ("{} {}", "invalid_json"),
            (r#"{"created_at":"2026-01-01","items":[{"sku":"a"}]}"#, "missing_order_id"),
            (r#"{"order_id":" ","created_at":"2026-01-01","items":[{"sku":"a"}]}"#, "missing_order_id"),
            (r#"{"order_id":{"a":1},"created_at":"2026-01-01","items":[{"sku":"a"}]}"#, "missing_order_id"),
            (r#"{"order_id":1.5,"created_at":"2026-01-01","items":[{"sku":"a"}]}"#, "missing_order_id"),
            (r#"{"order_id":"A","items":[{"sku":"a"}]}"#, "missing_created_at"),
            (r#"{"order_id":"A","created_at":null,"items":[{"sku":"a"}]}"#, "missing_created_at"),
            (r#"{"order_id":"A","created_at":"soon","items":[{"sku":"a"}]}"#, "invalid_created_at"),
            (r#"{"order_id":"A","created_at":true,"items":[{"sku":"a"}]}"#, "invalid_created_at"),
            (r#"{"order_id":"A","created_at":"2026-01-01"}"#, "empty_items"),
            (r#"{"order_id":"A","created_at":"2026-01-01","items":[]}"#, "empty_items"),
            (r#"{"order_id":"A","created_at":"2026-01-01","items":{"sku":"a"}}"#, "empty_items"),
            (r#"{"order_id":"A","created_at":"2026-01-01","items":1e999}"#, "empty_items"),
        ] {
            assert_eq!(reasons(record), [reason], "{record}");
        }
    }

    #[test]
    fn the_first_rule_that_fails_gives_the_reason() {
        assert_eq!(reasons(r#"{"items":[]}"#), ["missing_order_id"]);
        assert_eq!(reasons(r#"{"id":1,"date":"never","items":[]}"#), ["invalid_created_at"]);
        assert_eq!(reasons(&order(r#"[{"qty":"x","price":"y"}]"#)), ["missing_sku", "no_valid_items"]);
        assert_eq!(reasons(&order(r#"[{"sku":"a","qty":"x","price":"y"}]"#)), ["invalid_quantity", "no_valid_items"]);
    }

    #[test]
    fn each_malformed_line_has_its_reason_and_the_other_lines_stay() {
        for (line, reason) in [
            ("1", "invalid_line"),
            ("1e999", "invalid_line"),
            ("[{}]", "invalid_line"),
            ("null", "invalid_line"),
            ("{}", "missing_sku"),
            (r#"{"sku":1.5}"#, "missing_sku"),
            (r#"{"sku":"a","quantity":1.5}"#, "invalid_quantity"),
            (r#"{"sku":"a","quantity":"two"}"#, "invalid_quantity"),
            (r#"{"sku":"a","quantity":true}"#, "invalid_quantity"),
            (r#"{"sku":"a","quantity":9223372036854775808}"#, "invalid_quantity"),
            (r#"{"sku":"a","price":"free"}"#, "invalid_price"),
            (r#"{"sku":"a","price":{}}"#, "invalid_price"),
            (r#"{"sku":"a","price":1e14}"#, "price_out_of_range"),
            (r#"{"sku":"a","price":99999999999999,"quantity":2}"#, "price_out_of_range"),
        ] {
            let batch = normalize(&[&order(&format!(r#"[{line},{{"sku":"ok"}}]"#))]);
            assert_eq!(batch.rows.len(), 1, "{line}");
            assert_eq!(batch.drops.len(), 1, "{line}");
            assert_eq!((batch.drops[0].reason.as_str(), batch.drops[0].line.as_ref().map(|line| line.index)), (reason, Some(0)), "{line}");
            assert_eq!((batch.counts.records_processed, batch.counts.lines_read), (1, 2), "{line}");
        }
    }

    #[test]
    fn paths_are_tried_in_order_and_missing_values_are_skipped() {
        assert_eq!(
            rows(r#"{"order_id":null,"id":7,"date":1767225600,"products":[{"id":9,"qty":"2.0","unit_price":"1.5"}]}"#),
            ["7/9/2/1.5000/3.0000"]
        );
        assert_eq!(rows(&order(r#"[{"id":"x","product_id":5,"sku":"","price":null,"unit_price":2}]"#)), ["A/5/1/2.0000/2.0000"]);
        assert_eq!(rows(&format!(r#"{{"order_id":"A",{DATE},"items":null,"line_items":[{{"sku":"a"}}]}}"#)), ["A/a/1/0.0000/0.0000"]);
        for (user, expected) in [
            (r#""user_id":5"#, Some("5")),
            (r#""userId":"u""#, Some("u")),
            (r#""user":{"id":"n"},"customer":{"id":"c"}"#, Some("n")),
            (r#""user":7,"customer":{"id":"c"}"#, Some("c")),
            (r#""user":1e999,"customer":{"id":"c"}"#, Some("c")),
            (r#""user":null"#, None),
        ] {
            let frame = normalize(&[&format!(r#"{{"order_id":"A",{DATE},{user},"items":[{{"sku":"a"}}]}}"#)]).rows.finish().unwrap();
            assert_eq!(FactRows::new(&frame).unwrap().line(0).user_id, expected, "{user}");
        }
    }

    #[test]
    fn money_is_exact_and_rounded_or_defaulted_prices_are_counted() {
        let lines =
            r#"[{"sku":"a","price":0.1,"quantity":3},{"sku":"b","price":"1.00005"},{"sku":"c"},{"sku":"d","price":-4,"quantity":-2}]"#;
        let batch = normalize(&[&order(lines)]);
        assert_eq!((batch.counts.prices_rounded, batch.counts.prices_defaulted), (1, 1));
        // 3 × 0.1 + 1.0000 + 0 + -2 × -4
        let total = 3000 + 10_000 + 80_000;
        assert_eq!(batch.revenue.of("2026-01-01".parse().unwrap()), [(String::new(), total)].into());
    }

    #[test]
    fn a_sku_on_two_lines_is_counted() {
        let many: Vec<_> = (0..40).map(|line| format!(r#"{{"sku":{}}}"#, line % 30)).collect();
        for (lines, expected) in
            [(r#"[{"sku":"a"},{"sku":"a"},{"sku":"b"},{"sku":"a"}]"#.to_owned(), 2), (format!("[{}]", many.join(",")), 10)]
        {
            assert_eq!(normalize(&[&order(&lines)]).counts.repeated_skus, expected);
        }
    }

    #[test]
    fn an_unreadable_updated_at_is_missing_and_counted() {
        let batch = normalize(&[&format!(r#"{{"order_id":"A",{DATE},"updated_at":"later","items":[{{"sku":"a"}}]}}"#)]);
        assert_eq!(batch.counts.updated_at_unreadable, 1);
        assert_eq!(FactRows::new(&batch.rows.finish().unwrap()).unwrap().line(0).updated_at, None);
    }

    fn configured(orders: &str, columns: Vec<crate::settings::FactColumn>, record: &str) -> NormalizedBatch {
        let profile = crate::settings::profile_of(crate::settings::SourceKind::Orders, orders).unwrap();
        let mapping = Mapping { profile: Some(&profile), columns: &columns, ..Mapping::default() };
        RecordNormalizer::configured(&mapping, Window::default()).normalize([record.as_bytes()].into_iter())
    }

    fn shown(batch: NormalizedBatch) -> Vec<String> {
        let frame = batch.rows.finish().unwrap();
        let rows = FactRows::new(&frame).unwrap();
        (0..rows.len())
            .map(|i| {
                let line = rows.line(i);
                let extra: Vec<_> = rows.extra(i).map(|value| value.unwrap_or("-")).collect();
                format!("{}/{}/{}/{}/{}", line.order_id, line.sku, line.unit_price, line.currency.unwrap_or("-"), extra.join("/"))
            })
            .collect()
    }

    #[test]
    fn a_profile_replaces_the_paths_of_some_fields_and_keeps_the_others() {
        let profile = "fields = { order_id = \"head.0.no\", lines = \"body.positions\", currency = { path = \"cur\", default = \"CHF\" } }\nline_fields = { sku = \"article.codes[1]\", unit_price = { path = \"amount\", scale = 2 } }";
        let record = r#"{"head":[{"no":7}],"date":"2026-01-01","body":{"positions":[{"article":{"codes":["x","y"]},"amount":1250},{"article":1e999,"sku":"z"}]}}"#;
        let batch = configured(profile, vec![], record);
        assert_eq!(batch.drops.iter().map(|drop| drop.reason.as_str()).collect::<Vec<_>>(), ["missing_sku"]);
        assert_eq!(shown(batch), ["7/y/12.5000/CHF/"]);
    }

    #[test]
    fn minor_units_depend_on_the_currency_and_times_on_their_format() {
        let profile = "fields.created_at = { path = \"when\", format = \"rfc2822\" }\nline_fields.unit_price = { path = \"amount\", scale = \"currency\" }";
        for (currency, expected) in [("eur", "12.5000"), ("jpy", "1250.0000"), ("kwd", "1.2500")] {
            let record = format!(
                r#"{{"id":1,"when":"Tue, 20 Nov 2012 01:00:00 +0200","currency":"{currency}","items":[{{"sku":"s","amount":1250}}]}}"#
            );
            let batch = configured(profile, vec![], &record);
            assert_eq!(batch.revenue.of("2012-11-19".parse().unwrap()).len(), 1);
            assert_eq!(shown(batch), [format!("1/s/{expected}/{currency}/")]);
        }
    }

    #[test]
    fn skipped_records_count_only_as_skipped() {
        let profile = "skip = [{ path = \"test\", equals = true }, { path = \"meta.internal\" }]";
        for (more, skipped) in
            [("", 0), (r#","test":true"#, 1), (r#","test":"true""#, 1), (r#","test":false"#, 0), (r#","meta":{"internal":0}"#, 1)]
        {
            let record = format!(r#"{{"id":1,"date":"2026-01-01","items":[{{"sku":"s"}}]{more}}}"#);
            let counts = configured(profile, vec![], &record).counts;
            assert_eq!(
                (counts.records_skipped, counts.records_read, counts.records_processed),
                (skipped, 1 - skipped, 1 - skipped),
                "{more}"
            );
        }
    }

    #[test]
    fn extra_columns_are_typed_and_come_from_the_record_or_the_line() {
        let column = |name: &str, level, path: &str, kind| crate::settings::FactColumn {
            name: name.into(),
            level,
            rule: crate::settings::FieldRule { paths: vec![path.parse().unwrap()], ..Default::default() },
            kind,
            value: crate::settings::ColumnValue::First,
        };
        let columns = vec![
            column("tax", Level::Line, "tax.rate", ExtraType::Decimal { scale: 3 }),
            column("channel", Level::Record, "source.name", ExtraType::Text),
            column("gift", Level::Line, "gift", ExtraType::Boolean),
        ];
        let record = r#"{"id":1,"date":"2026-01-01","source":{"name":" web "},"items":[{"sku":"a","tax":{"rate":0.19},"gift":true},{"sku":"b","tax":{"rate":"no"}}]}"#;
        let batch = configured("", columns, record);
        assert_eq!(batch.counts.values_unreadable, 1);
        assert_eq!(shown(batch), ["1/a/0.0000/-/0.190/web/true", "1/b/0.0000/-/-/web/-"]);
    }

    #[test]
    fn the_money_of_a_line_is_summed_over_its_lists_and_over_lines_of_one_sku() {
        let column = |name: &str| crate::settings::FactColumn {
            name: name.into(),
            level: Level::Line,
            rule: crate::settings::FieldRule { paths: vec![name.parse().unwrap()], ..Default::default() },
            kind: ExtraType::Decimal { scale: 4 },
            value: crate::settings::ColumnValue::Sum,
        };
        let columns = [column("off.*.amount"), column("tax")];
        let of = |repeated_sku, lines: &str| {
            let mapping = Mapping { columns: &columns, repeated_sku, ..Mapping::default() };
            let batch = RecordNormalizer::configured(&mapping, Window::default()).normalize([order(lines).as_bytes()].into_iter());
            let unreadable = batch.counts.values_unreadable;
            let frame = batch.rows.finish().unwrap();
            let rows = FactRows::new(&frame).unwrap();
            let extra = |row| rows.extra(row).map(|text| text.unwrap_or("-").to_owned()).collect::<Vec<_>>().join("/");
            ((0..rows.len()).map(extra).collect::<Vec<_>>().join(" "), unreadable)
        };
        let lines =
            r#"[{"sku":"a","off":[{"amount":"0.1"},{"amount":0.2}],"tax":1},{"sku":"b","off":[]},{"sku":"a","off":[{"amount":3}]}]"#;
        assert_eq!(of(RepeatedSku::Sum, lines), ("3.3000/1.0000 -/-".into(), 0));
        assert_eq!(of(RepeatedSku::Last, lines), ("0.3000/1.0000 -/- 3.0000/-".into(), 0));
        // A part of a sum is no sum.
        let lines = r#"[{"sku":"a","off":[{"amount":1},{"amount":"x"}],"tax":1},{"sku":"a","tax":"1e99"}]"#;
        assert_eq!(of(RepeatedSku::Sum, lines), ("-/-".into(), 2));
    }

    #[test]
    fn ids_of_a_shop_carry_its_name_and_it_counts_towards_their_length() {
        let shop = |skus| Shop { name: "de".into(), skus };
        let of = |shop: &Shop, record: &str| {
            let mapping = Mapping { shop: Some(shop), ..Mapping::default() };
            RecordNormalizer::configured(&mapping, Window::default()).normalize([record.as_bytes()].into_iter())
        };
        let ids = |shop: &Shop, record: &str| {
            let frame = of(shop, record).rows.finish().unwrap();
            let rows = FactRows::new(&frame).unwrap();
            let line = rows.line(0);
            [line.order_id, line.user_id.unwrap(), line.sku, line.product_id.unwrap()].join(" ")
        };
        let record = format!(r#"{{"id":1,{DATE},"user_id":7.0,"items":[{{"sku":"S","product_id":2}}]}}"#);
        assert_eq!(ids(&shop(Skus::OfCompany), &record), "de:1 de:7 S 2");
        assert_eq!(ids(&shop(Skus::OfShop), &record), "de:1 de:7 de:S de:2");
        let company = shop(Skus::OfCompany);
        let long = |bytes: usize| format!(r#"{{"id":"{}",{DATE},"items":[{{"sku":"S"}}]}}"#, "x".repeat(bytes));
        assert_eq!(of(&company, &long(LONGEST_TEXT - 3)).rows.len(), 1);
        assert_eq!(of(&company, &long(LONGEST_TEXT - 2)).counts.of(Reason::MissingOrderId), 1);
        // What is dropped, or has lost its lines, is of the same order.
        let line = of(&shop(Skus::OfShop), &format!(r#"{{"id":1,{DATE},"items":[{{"sku":"S","price":"x"}}]}}"#));
        let dropped = &line.drops[0];
        assert_eq!((dropped.order_id.as_deref(), dropped.line.as_ref().unwrap().sku.as_deref()), (Some("de:1"), Some("de:S")));
        assert_eq!(of(&company, &format!(r#"{{"id":1,{DATE},"items":[]}}"#)).emptied[0].order_id, "de:1");
    }

    #[test]
    fn lines_with_the_same_sku_are_summed_if_configured() {
        let mapping = Mapping { repeated_sku: RepeatedSku::Sum, ..Mapping::default() };
        let normalizer = RecordNormalizer::configured(&mapping, Window::default());
        let rows = |lines: &str| {
            let batch = normalizer.normalize([order(lines).as_bytes()].into_iter());
            let counts = (batch.counts.lines_summed, batch.drops.len());
            let frame = batch.rows.finish().unwrap();
            let rows = FactRows::new(&frame).unwrap();
            let shown: Vec<_> = (0..rows.len())
                .map(|i| rows.line(i))
                .map(|l| format!("{}/{}/{}/{}", l.sku, l.quantity, l.unit_price, l.line_total))
                .collect();
            (shown.join(" "), counts)
        };
        assert_eq!(
            rows(r#"[{"sku":"a","price":1,"quantity":2},{"sku":"b"},{"sku":"a","price":2}]"#),
            ("a/3/1.3333/4.0000 b/1/0.0000/0.0000".into(), (1, 0))
        );
        assert_eq!(rows(r#"[{"sku":"a","price":5},{"sku":"a","price":4,"quantity":-1}]"#), ("a/0/0.0000/1.0000".into(), (1, 0)));
        let most = 99_999_999_999_999_u64;
        assert_eq!(
            rows(&format!(r#"[{{"sku":"a","price":{most}}},{{"sku":"a","price":{most}}}]"#)),
            (format!("a/1/{most}.0000/{most}.0000"), (0, 1))
        );
    }

    #[test]
    fn a_sum_of_quantities_that_is_too_large_is_no_quantity_with_decimals() {
        let mapping = Mapping { repeated_sku: RepeatedSku::Sum, ..Mapping::default() };
        let counts = |lines: &str| {
            let record = order(lines);
            let batch = RecordNormalizer::configured(&mapping, Window::default()).normalize([record.as_bytes()].into_iter());
            let counts = &batch.counts;
            (counts.of(Reason::InvalidQuantity), counts.decimal_quantities, counts.quantity_sums_out_of_range)
        };
        let most = i64::MAX;
        assert_eq!(counts(&format!(r#"[{{"sku":"a","quantity":{most}}},{{"sku":"a","quantity":1}}]"#)), (1, 0, 1));
        assert_eq!(counts(r#"[{"sku":"a","quantity":1.5},{"sku":"a","quantity":1}]"#), (1, 1, 0));
        assert_eq!(counts(r#"[{"sku":"a","quantity":"x"},{"sku":"a","quantity":1}]"#), (1, 0, 0));
    }

    #[test]
    fn beside_a_total_no_price_is_needed() {
        let profile = crate::settings::orders_profile("[orders.line_fields]\nline_total = { path = 'sum', scale = 2 }").unwrap();
        let mapping = Mapping { profile: Some(&profile), ..Mapping::default() };
        let normalizer = RecordNormalizer::configured(&mapping, Window::default());
        let of = |line: &str| {
            let record = order(&format!("[{line}]"));
            let batch = normalizer.normalize([record.as_bytes()].into_iter());
            let reasons: Vec<_> = batch.drops.iter().filter(|drop| drop.line.is_some()).map(|drop| drop.reason).collect();
            let frame = batch.rows.finish().unwrap();
            let rows = FactRows::new(&frame).unwrap();
            let row =
                (0..rows.len()).map(|i| rows.line(i)).map(|l| format!("{}/{}/{}", l.unit_price, l.line_total, l.price_defaulted)).next();
            (row, reasons)
        };
        assert_eq!(of(r#"{"sku":"a","quantity":2,"sum":1000,"price":{"id":"p"}}"#), (Some("5.0000/10.0000/false".into()), vec![]));
        assert_eq!(of(r#"{"sku":"a","quantity":2,"price":{"id":"p"}}"#), (None, vec![Reason::InvalidPrice]));
        assert_eq!(of(r#"{"sku":"a","quantity":2,"sum":"ten","price":1}"#), (None, vec![Reason::InvalidPrice]));
        assert_eq!(of(r#"{"sku":"a","quantity":0,"sum":0,"price":3}"#), (Some("3.0000/0.0000/false".into()), vec![]));
    }

    #[test]
    fn a_line_of_another_currency_than_its_order_is_dropped() {
        let profile = crate::settings::orders_profile("[orders.line_fields]\ncurrency = 'cur'").unwrap();
        let mapping = Mapping { profile: Some(&profile), ..Mapping::default() };
        let of = |currency: &str, lines: &str| {
            let record = format!(r#"{{"id":1,{DATE},"currency":{currency},"items":[{lines}]}}"#);
            let batch = RecordNormalizer::configured(&mapping, Window::default()).normalize([record.as_bytes()].into_iter());
            (batch.rows.len(), batch.counts.of(Reason::InvalidPrice), batch.counts.other_currencies)
        };
        let lines =
            r#"{"sku":"a","price":1,"cur":"EUR"},{"sku":"b","price":1,"cur":" usd "},{"sku":"c","price":1},{"sku":"d","price":"x"}"#;
        assert_eq!(of("\"USD\"", lines), (2, 2, 1));
        assert_eq!(of("null", lines), (1, 3, 2), "nobody knows which of them is that of the order");
        let agree = r#"{"sku":"a","price":1,"cur":"EUR"},{"sku":"b","price":1,"cur":" eur "},{"sku":"c","price":1}"#;
        assert_eq!(of("null", agree), (3, 0, 0));
        assert_eq!(of("null", r#"{"sku":"a","price":1},{"sku":"b","price":1,"cur":""}"#), (2, 0, 0), "they name none");
    }

    #[test]
    fn what_stands_in_place_of_a_list_is_never_passed_over() {
        let of = |profile: &str, record: &str| {
            let profile = crate::settings::orders_profile(&format!("[orders]\n{profile}")).unwrap();
            let mapping = Mapping { profile: Some(&profile), ..Mapping::default() };
            let batch = RecordNormalizer::configured(&mapping, Window::default()).normalize([record.as_bytes()].into_iter());
            let frame = batch.rows.finish().unwrap();
            let rows = FactRows::new(&frame).unwrap();
            let totals: Vec<_> = (0..rows.len()).map(|row| rows.line(row).line_total.to_string()).collect();
            (totals.join(" "), batch.drops.iter().map(|drop| drop.reason.as_str()).collect::<Vec<_>>())
        };
        let all = "fields.lines = { all = ['items', 'fees'] }";
        let fees = r#""fees":[{"sku":"f","price":32}]"#;
        assert_eq!(of(all, &format!(r#"{{"id":1,{DATE},"items":{{"sku":"x"}},{fees}}}"#)), (String::new(), vec!["empty_items"]));
        assert_eq!(of(all, &format!(r#"{{"id":1,{DATE},"items":null,{fees}}}"#)), ("32.0000".into(), vec![]));
        let wild = "fields.lines = 'c.*.l'";
        let record = format!(r#"{{"id":1,{DATE},"c":[{{"l":[{{"sku":"a","price":1}}]}},{{"l":{{"sku":"z"}}}}]}}"#);
        assert_eq!(of(wild, &record), (String::new(), vec!["empty_items"]));
        // Nor is what stands around such lists, on the way to every element.
        let around = |c: &str| format!(r#"{{"id":1,{DATE},"c":{c},{fees}}}"#);
        let list = r#"{"l":[{"sku":"a","price":1}]}"#;
        let both = "fields.lines = { all = ['c.*.l', 'fees'] }";
        for c in [list, &format!("[{list},\"x\"]"), &format!("[{list},[{list}]]"), r#"{"data":[]}"#, "\"x\"", "7", "false"] {
            assert_eq!(of(both, &around(c)), (String::new(), vec!["empty_items"]), "{c}");
        }
        for c in ["null", "[]", "{}", "\" \"", "[null,{},[],\"\"]"] {
            assert_eq!(of(both, &around(c)), ("32.0000".into(), vec![]), "{c}");
        }
        assert_eq!(of(both, &around(&format!("[{list},null,{{\"l\":null}}]"))).0, "1.0000 32.0000");
        // A source may write one element as itself: then a path of its own leads to it, and other keys are not looked at.
        let either = "fields.lines = { all = ['c.*.s.*.l', 'c.s.*.l', 'fees'] }";
        for c in [format!(r#"{{"s":[{list}],"n":1}}"#), format!(r#"[{{"s":[{list}],"n":1}}]"#)] {
            assert_eq!(of(either, &around(&c)).0, "1.0000 32.0000", "{c}");
        }
        assert_eq!(of(either, &around(r#"{"s":"x"}"#)), (String::new(), vec!["empty_items"]));
        let discount = "line_fields.discount = 'off.*.amount'";
        let line = |off: &str| format!(r#"{{"id":1,{DATE},"items":[{{"sku":"a","price":10,"off":{off}}}]}}"#);
        for (off, total) in [("[{\"amount\":3},{\"amount\":1}]", "6.0000"), ("[]", "10.0000"), ("null", "10.0000"), ("[{}]", "10.0000")] {
            assert_eq!(of(discount, &line(off)), (total.into(), vec![]), "{off}");
        }
        for off in [r#"{"amount":3}"#, "[2,3]", "\"5\"", "[[{\"amount\":2}]]", "5"] {
            assert_eq!(of(discount, &line(off)).1, ["invalid_price", "no_valid_items"], "{off}");
        }
        let deep = "line_fields.discount = 'off.*.amount.value'";
        for off in [r#"[{"amount":{"value":3}},{"amount":null},{}]"#, r#"[{"amount":{"value":3}},{"amount":[]}]"#] {
            assert_eq!(of(deep, &line(off)), ("7.0000".into(), vec![]), "{off}");
        }
        for off in [r#"[{"amount":{"value":3}},{"amount":4}]"#, r#"[{"amount":[{"value":3}]}]"#, r#"[{"amount":"3"}]"#] {
            assert_eq!(of(deep, &line(off)).1, ["invalid_price", "no_valid_items"], "{off}");
        }
    }

    #[test]
    fn the_window_applies_to_the_configured_timestamp() {
        let window = Window { since: UtcMicros::from_civil((2026, 2, 1), 0, 0, 0), until: None };
        let normalizer = RecordNormalizer::configured(&Mapping { cursor: Cursor::Updated, ..Mapping::default() }, window);
        for (more, out) in [("", 1), (r#","updated_at":"2026-02-01""#, 0), (r#","updated_at":"2026-01-31T23:59:59Z""#, 1)] {
            let record = format!(r#"{{"id":1,"date":"2026-01-01","items":[{{"sku":"s"}}]{more}}}"#);
            assert_eq!(normalizer.normalize([record.as_bytes()].into_iter()).counts.records_out_of_window, out, "{more}");
        }
    }

    #[test]
    fn a_record_must_be_in_both_windows_each_on_its_own_timestamp() {
        let at = |month| UtcMicros::from_civil((2026, month, 1), 0, 0, 0);
        let normalizer = RecordNormalizer::new(Window { since: at(1), until: at(3) });
        let updated_in_april = TimestampWindow { window: Window { since: at(4), until: None }, cursor: Cursor::Updated };
        let record = |created: &str, updated: &str| {
            format!(r#"{{"order_id":"A","created_at":"{created}","updated_at":"{updated}","items":[{{"sku":"a"}}]}}"#)
        };
        for (created, updated, out) in [("2026-02-01", "2026-04-01", 0), ("2026-02-01", "2026-03-31", 1), ("2026-03-01", "2026-04-01", 1)] {
            let record = record(created, updated);
            let counts = normalizer
                .normalize_with([record.as_bytes()].into_iter(), BatchRules { also_within: updated_in_april, ..BatchRules::default() })
                .counts;
            assert_eq!(counts.records_out_of_window, out, "{created} {updated}");
        }
    }

    #[test]
    fn the_order_of_every_record_is_noted_whatever_becomes_of_it() {
        let profile = crate::settings::orders_profile("[orders]\nskip = [{ path = 'test', equals = true }]").unwrap();
        let mapping = Mapping { profile: Some(&profile), limits: Limits { record_bytes: 200, ..Limits::default() }, ..Mapping::default() };
        let window = Window { since: UtcMicros::from_civil((2026, 1, 1), 0, 0, 0), until: None };
        let read =
            |normalizer: RecordNormalizer, records: &[&str]| normalizer.normalize(records.iter().map(|record| record.as_bytes())).read;
        let normalizer = || RecordNormalizer::configured(&mapping, window);
        let known = [
            order(r#"[{"sku":"x"}]"#),
            r#"{"order_id":"no time","items":[{"sku":"x"}]}"#.to_owned(),
            r#"{"order_id":"bad time","created_at":"never"}"#.to_owned(),
            r#"{"order_id":"early","created_at":"2025-12-31","items":[{"sku":"x"}]}"#.to_owned(),
            r#"{"order_id":"empty","created_at":"2026-01-02","items":[]}"#.to_owned(),
            r#"{"order_id":"lines","created_at":"2026-01-02","items":[{}]}"#.to_owned(),
            r#"{"order_id":7,"test":true}"#.to_owned(),
        ];
        let known: Vec<_> = known.iter().map(String::as_str).collect();
        let expected = ["A", "no time", "bad time", "early", "empty", "lines", "7"].map(order_hash).to_vec();
        assert_eq!(read(normalizer().noting_orders(), &known), Some(ReadOrders { orders: expected, unknown: 0 }));
        let large = format!(r#"{{"order_id":"L","note":"{}"}}"#, "x".repeat(200));
        let unknown = ["{", r#"{"created_at":"2026-01-02"}"#, r#"{"test":true}"#, large.as_str()];
        assert_eq!(read(normalizer().noting_orders(), &unknown), Some(ReadOrders { orders: Vec::new(), unknown: 4 }));
        assert_eq!(read(normalizer(), &known), None);
    }

    #[test]
    fn the_window_is_checked_before_the_lines() {
        let window = Window { since: UtcMicros::new(0), until: UtcMicros::new(1) };
        let batch = RecordNormalizer::new(window).normalize([order("[]").as_bytes()].into_iter());
        assert_eq!((batch.counts.records_out_of_window, batch.drops.len()), (1, 0));
    }

    #[test]
    fn quarantine_gets_the_bytes_of_the_record_unchanged() {
        let record = b"{\"order_id\": \"A\xff\"}";
        let batch = RecordNormalizer::new(Window::default()).normalize([&record[..]].into_iter());
        assert_eq!((&*batch.drops[0].record, batch.drops[0].reason), (&record[..], Reason::InvalidJson));
    }

    #[test]
    fn the_last_value_of_a_repeated_key_counts() {
        assert_eq!(
            rows(&format!(r#"{{"order_id":"A","order_id":"B",{DATE},"items":[{{"sku":"x"}}],"items":[{{"sku":"a","sku":"b"}}]}}"#)),
            ["B/b/1/0.0000/0.0000"]
        );
        let user = |users: &str| {
            let record = format!(r#"{{"order_id":"A",{DATE},{users},"items":[{{"sku":"a"}}]}}"#);
            let frame = normalize(&[&record]).rows.finish().unwrap();
            FactRows::new(&frame).unwrap().line(0).user_id.map(str::to_owned)
        };
        assert_eq!(user(r#""user":{"id":1},"user":{"name":"x"}"#), None, "the last object replaces the first one");
        assert_eq!(user(r#""user":{"id":1},"user":7,"customer":{"id":5},"customer":{"id":6}"#).as_deref(), Some("6"));
    }
}
