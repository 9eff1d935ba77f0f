//! One pass over a record's bytes: what the fields' paths lead to is captured as slices of the source, the rest is only
//! validated; then the contract's rules turn the captured slices into rows, drops and counts.

use std::{borrow::Cow, collections::HashSet, fmt, sync::Arc};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    fields::{FieldMap, Node},
    scalar::Scalar,
};
use crate::model::{self, Dt, FactBuilder, Line, Money, MoneyError, ParsedMoney, Reason, RevenueByDt, UtcMicros, Window};

/// The fields of a record, as places in [`RECORD_PATHS`].
mod field {
    pub(super) const ORDER_ID: usize = 0;
    pub(super) const CREATED_AT: usize = 1;
    pub(super) const UPDATED_AT: usize = 2;
    pub(super) const USER_ID: usize = 3;
    pub(super) const STATUS: usize = 4;
    pub(super) const CURRENCY: usize = 5;
    pub(super) const LINES: usize = 6;
    pub(super) const SKU: usize = 0;
    pub(super) const PRODUCT_ID: usize = 1;
    pub(super) const QUANTITY: usize = 2;
    pub(super) const PRICE: usize = 3;
}

/// Where the fields of a record are looked for, in order (contract, Orders).
const RECORD_PATHS: [&[&str]; 7] = [
    &["order_id", "id"],
    &["created_at", "date"],
    &["updated_at"],
    &["user_id", "userId", "user.id", "customer.id"],
    &["status"],
    &["currency"],
    &["items", "line_items", "products"],
];

/// Where the fields of a line are looked for, in order (contract, Orders).
const LINE_PATHS: [&[&str]; 4] =
    [&["sku", "product_id", "productId", "id"], &["product_id", "productId"], &["quantity", "qty"], &["price", "unit_price"]];

/// A record or a line that was dropped, on its way to quarantine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drop {
    /// Why.
    pub reason: Reason,
    /// The record's order, as far as it was known.
    pub order_id: Option<String>,
    /// The line's place in the record, from 0.
    pub line_index: Option<usize>,
    /// The whole record: the source's own bytes.
    pub record: Arc<[u8]>,
}

/// What became of a batch of records.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[expect(missing_docs, reason = "each is a count of the contract's summary, under its name")]
pub struct RecordCounts {
    pub records_read: u64,
    pub records_processed: u64,
    pub records_out_of_window: u64,
    /// By reason, in the order of [`Reason::ALL`].
    pub dropped: [u64; Reason::ALL.len()],
    pub lines_read: u64,
    pub prices_defaulted: u64,
    pub prices_rounded: u64,
    pub updated_at_unreadable: u64,
    pub repeated_skus: u64,
}

impl RecordCounts {
    /// Adds all of `other`.
    pub fn absorb(&mut self, other: &RecordCounts) {
        self.records_read += other.records_read;
        self.records_processed += other.records_processed;
        self.records_out_of_window += other.records_out_of_window;
        for (sum, count) in self.dropped.iter_mut().zip(other.dropped) {
            *sum += count;
        }
        self.lines_read += other.lines_read;
        self.prices_defaulted += other.prices_defaulted;
        self.prices_rounded += other.prices_rounded;
        self.updated_at_unreadable += other.updated_at_unreadable;
        self.repeated_skus += other.repeated_skus;
    }

    fn drop(&mut self, reason: Reason) {
        self.dropped[reason as usize] += 1;
    }
}

/// The rows, drops and counts of a batch of records, in source order.
pub struct NormalizedBatch {
    /// The rows, without what the joins add: the columns of [`crate::model::FACT_COLUMNS`].
    pub rows: FactBuilder,
    /// What is to go to quarantine.
    pub drops: Vec<Drop>,
    /// What was counted.
    pub counts: RecordCounts,
    /// Σ `line_total` of the rows, kept apart from them.
    pub revenue: RevenueByDt,
}

/// The default profile, compiled. One serves a whole run, from any number of threads.
pub struct RecordNormalizer {
    record: FieldMap<7>,
    line: FieldMap<4>,
    window: Window,
}

impl RecordNormalizer {
    /// A normalizer for the records of a window.
    pub fn new(window: Window) -> RecordNormalizer {
        RecordNormalizer { record: FieldMap::new(RECORD_PATHS), line: FieldMap::new(LINE_PATHS), window }
    }

    /// Normalizes a batch. Each element is the bytes of one record, valid JSON or not.
    pub fn normalize<'a>(&self, records: impl Iterator<Item = &'a [u8]>) -> NormalizedBatch {
        let mut work = Work {
            normalizer: self,
            captured: Captured::new(self),
            skus: Vec::new(),
            batch: NormalizedBatch {
                rows: FactBuilder::with_capacity(1024),
                drops: Vec::new(),
                counts: RecordCounts::default(),
                revenue: RevenueByDt::default(),
            },
            day: None,
        };
        for record in records {
            work.record(record);
        }
        work.flush_day();
        work.batch
    }
}

/// The slices of one record that the paths lead to.
struct Captured<'a> {
    cells: Vec<Option<&'a str>>,
    /// Of each path that may hold the lines, what it holds.
    lists: Vec<List>,
    /// The cells of all lines, `line_width` each.
    line_cells: Vec<Option<&'a str>>,
    /// Whether each line is an object.
    line_is_object: Vec<bool>,
}

/// What stands where the lines of a record may stand.
#[derive(Clone, Copy, PartialEq)]
enum List {
    Missing,
    NoArray,
    /// The lines from the first to before the second.
    Lines(usize, usize),
}

impl<'a> Captured<'a> {
    fn new(normalizer: &RecordNormalizer) -> Captured<'a> {
        Captured {
            cells: vec![None; normalizer.record.leaves],
            lists: vec![List::Missing; normalizer.record.leaves],
            line_cells: Vec::new(),
            line_is_object: Vec::new(),
        }
    }

    fn clear(&mut self) {
        self.cells.fill(None);
        self.lists.fill(List::Missing);
        self.line_cells.clear();
        self.line_is_object.clear();
    }
}

/// The first of a field's places that holds something.
fn first_present<'a>(candidates: &[usize], cells: &[Option<&'a str>]) -> Scalar<'a> {
    for &leaf in candidates {
        match cells[leaf].map(Scalar::of) {
            None | Some(Scalar::Missing) => {}
            Some(value) => return value,
        }
    }
    Scalar::Missing
}

/// The heading of a record, shared by its rows.
struct Heading<'a> {
    order_id: Cow<'a, str>,
    created_at: UtcMicros,
    updated_at: Option<UtcMicros>,
    user_id: Option<Cow<'a, str>>,
    status: Option<Cow<'a, str>>,
    currency: Option<Cow<'a, str>>,
}

/// The fields of one line that passed every rule.
struct LineValues<'a> {
    sku: Cow<'a, str>,
    product_id: Option<Cow<'a, str>>,
    quantity: i64,
    unit_price: Money,
    line_total: Money,
    price_defaulted: bool,
    price_rounded: bool,
}

/// A day's revenue in one currency, summed until either changes: a map look-up a record would show.
struct DayTotal {
    dt: Dt,
    currency: Option<String>,
    units: i128,
}

struct Work<'n, 'a> {
    normalizer: &'n RecordNormalizer,
    captured: Captured<'a>,
    skus: Vec<Cow<'a, str>>,
    batch: NormalizedBatch,
    day: Option<DayTotal>,
}

impl<'a> Work<'_, 'a> {
    fn record(&mut self, bytes: &'a [u8]) {
        self.batch.counts.records_read += 1;
        if !self.capture(bytes) {
            return self.drop_record(Reason::InvalidJson, None, bytes);
        }
        let fields = &self.normalizer.record.candidates;
        let Some(order_id) = first_present(&fields[field::ORDER_ID], &self.captured.cells).into_id() else {
            return self.drop_record(Reason::MissingOrderId, None, bytes);
        };
        let created_at = match first_present(&fields[field::CREATED_AT], &self.captured.cells) {
            Scalar::Missing => return self.drop_record(Reason::MissingCreatedAt, Some(&order_id), bytes),
            value => instant(&value),
        };
        let Some(created_at) = created_at else {
            return self.drop_record(Reason::InvalidCreatedAt, Some(&order_id), bytes);
        };
        if !self.normalizer.window.contains(created_at) {
            self.batch.counts.records_out_of_window += 1;
            return;
        }
        let heading = self.heading(order_id, created_at);
        let present = fields[field::LINES].iter().map(|&leaf| self.captured.lists[leaf]).find(|list| *list != List::Missing);
        let Some(List::Lines(start, end)) = present.filter(|list| !matches!(list, List::Lines(start, end) if start == end)) else {
            return self.drop_record(Reason::EmptyItems, Some(&heading.order_id), bytes);
        };
        self.lines(&heading, start..end, bytes);
    }

    /// Walks the record; `false` where it is no JSON object.
    fn capture(&mut self, bytes: &'a [u8]) -> bool {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        // The quick walk reads a number where it looks for an object, and so refuses 1e999; the careful one does not.
        [Walk::Quick, Walk::Careful].into_iter().any(|walk| {
            self.captured.clear();
            let mut json = serde_json::Deserializer::from_str(text);
            let place = Place { walk, normalizer: self.normalizer };
            let seed = RecordSeed { place, node: &self.normalizer.record.root, captured: &mut self.captured };
            matches!(seed.deserialize(&mut json), Ok(true)) && json.end().is_ok()
        })
    }

    fn heading(&mut self, order_id: Cow<'a, str>, created_at: UtcMicros) -> Heading<'a> {
        let fields = &self.normalizer.record.candidates;
        let cells = &self.captured.cells;
        let updated_at = match first_present(&fields[field::UPDATED_AT], cells) {
            Scalar::Missing => None,
            value => {
                let updated_at = instant(&value);
                self.batch.counts.updated_at_unreadable += u64::from(updated_at.is_none());
                updated_at
            }
        };
        Heading {
            order_id,
            created_at,
            updated_at,
            user_id: first_present(&fields[field::USER_ID], cells).into_id(),
            status: first_present(&fields[field::STATUS], cells).into_text(),
            currency: first_present(&fields[field::CURRENCY], cells).into_text(),
        }
    }

    fn lines(&mut self, heading: &Heading<'a>, lines: std::ops::Range<usize>, bytes: &'a [u8]) {
        self.batch.counts.lines_read += lines.len() as u64;
        self.skus.clear();
        let mut shared: Option<Arc<[u8]>> = None;
        for (index, line) in lines.enumerate() {
            match self.line(line) {
                Ok(values) => self.row(heading, values),
                Err(reason) => {
                    self.batch.counts.drop(reason);
                    self.batch.drops.push(Drop {
                        reason,
                        order_id: Some(heading.order_id.clone().into_owned()),
                        line_index: Some(index),
                        record: shared.get_or_insert_with(|| bytes.into()).clone(),
                    });
                }
            }
        }
        if self.skus.is_empty() {
            return self.drop_record(Reason::NoValidItems, Some(&heading.order_id), bytes);
        }
        self.batch.counts.records_processed += 1;
        self.batch.counts.repeated_skus += repeated(&self.skus);
    }

    /// The rules of a line, in the contract's order: the first that holds counts.
    fn line(&self, line: usize) -> Result<LineValues<'a>, Reason> {
        let map = &self.normalizer.line;
        if !self.captured.line_is_object[line] {
            return Err(Reason::InvalidLine);
        }
        let cells = &self.captured.line_cells[line * map.leaves..(line + 1) * map.leaves];
        let value = |field: usize| first_present(&map.candidates[field], cells);
        let sku = value(field::SKU).into_id().ok_or(Reason::MissingSku)?;
        let quantity = quantity(&value(field::QUANTITY)).ok_or(Reason::InvalidQuantity)?;
        let price = price(&value(field::PRICE)).map_err(|error| match error {
            MoneyError::NotANumber => Reason::InvalidPrice,
            MoneyError::OutOfRange => Reason::PriceOutOfRange,
        })?;
        let (unit_price, price_rounded) = price.map_or((Money::ZERO, false), |price| (price.money, price.rounded));
        Ok(LineValues {
            sku,
            product_id: value(field::PRODUCT_ID).into_id(),
            quantity,
            unit_price,
            line_total: unit_price.times(quantity).map_err(|_| Reason::PriceOutOfRange)?,
            price_defaulted: price.is_none(),
            price_rounded,
        })
    }

    fn row(&mut self, heading: &Heading<'a>, values: LineValues<'a>) {
        let counts = &mut self.batch.counts;
        counts.prices_defaulted += u64::from(values.price_defaulted);
        counts.prices_rounded += u64::from(values.price_rounded);
        let line = Line {
            order_id: &heading.order_id,
            sku: &values.sku,
            user_id: heading.user_id.as_deref(),
            product_id: values.product_id.as_deref(),
            status: heading.status.as_deref(),
            currency: heading.currency.as_deref(),
            quantity: values.quantity,
            unit_price: values.unit_price,
            line_total: values.line_total,
            price_defaulted: values.price_defaulted,
            user_country: None,
            product_name: None,
            product_category: None,
            created_at: heading.created_at,
            updated_at: heading.updated_at,
        };
        self.batch.rows.push(&line);
        self.add_revenue(line.dt(), line.currency, line.line_total);
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
        self.batch.drops.push(Drop { reason, order_id: order_id.map(str::to_owned), line_index: None, record: bytes.into() });
    }
}

/// How many of the skus stood on an earlier line.
fn repeated(skus: &[Cow<'_, str>]) -> u64 {
    const FEW: usize = 16;
    if skus.len() <= FEW {
        return (1..skus.len()).filter(|&line| skus[..line].contains(&skus[line])).count() as u64;
    }
    let distinct: HashSet<&str> = skus.iter().map(AsRef::as_ref).collect();
    (skus.len() - distinct.len()) as u64
}

/// An instant from a text or a number; `None` where it is neither, or unreadable.
fn instant(value: &Scalar<'_>) -> Option<UtcMicros> {
    match value {
        Scalar::Text(text) => model::parse_time_text(text),
        Scalar::Number(digits) => model::parse_time_number(digits),
        _ => None,
    }
}

/// A whole number, or its text; missing: 1.
fn quantity(value: &Scalar<'_>) -> Option<i64> {
    match value {
        Scalar::Missing => Some(1),
        Scalar::Text(text) => model::parse_whole(text.as_bytes()),
        Scalar::Number(digits) => model::parse_whole(digits.as_bytes()),
        Scalar::Bool(_) | Scalar::Other => None,
    }
}

/// A number, or its text; missing: `None`.
fn price(value: &Scalar<'_>) -> Result<Option<ParsedMoney>, MoneyError> {
    match value {
        Scalar::Missing => Ok(None),
        Scalar::Text(text) => model::parse_money(text.as_bytes()).map(Some),
        Scalar::Number(digits) => model::parse_money(digits.as_bytes()).map(Some),
        Scalar::Bool(_) | Scalar::Other => Err(MoneyError::NotANumber),
    }
}

/// How a value is entered that may be an object.
#[derive(Clone, Copy, PartialEq)]
enum Walk {
    /// At once, whatever it is.
    Quick,
    /// After its extent is known, and only where it begins like an object or array: costs a second look at its bytes.
    Careful,
}

#[derive(Clone, Copy)]
struct Place<'n> {
    walk: Walk,
    normalizer: &'n RecordNormalizer,
}

/// Enters a value that may be an object; tells whether it was one.
struct RecordSeed<'n, 'c, 'a> {
    place: Place<'n>,
    node: &'n Node,
    captured: &'c mut Captured<'a>,
}

/// Enters a line; tells whether it was an object.
struct LineSeed<'n, 'c, 'a> {
    node: &'n Node,
    cells: &'c mut [Option<&'a str>],
}

/// Enters the value of a path that may hold the lines.
struct ListSeed<'n, 'c, 'a> {
    place: Place<'n>,
    captured: &'c mut Captured<'a>,
}

/// What a key leads to, without a copy of the key.
struct KeySeed<'n>(&'n Node);

/// A visitor that takes one shape of value and answers `$other` for all the rest.
macro_rules! other_shapes {
    ($other:expr; $($method:ident: $argument:ty),*) => {
        $(fn $method<E: serde::de::Error>(self, _: $argument) -> Result<Self::Value, E> { Ok($other) })*
        fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> { Ok($other) }
    };
}

impl<'de, 'n> DeserializeSeed<'de> for KeySeed<'n> {
    type Value = Option<&'n super::fields::Child>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'n> Visitor<'_> for KeySeed<'n> {
    type Value = Option<&'n super::fields::Child>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.child(key))
    }
}

/// Enters the value at hand with `seed` where it begins as `opening`, after its extent is known.
fn enter_carefully<'de, S: DeserializeSeed<'de, Value = bool>, E: serde::de::Error>(
    raw: &'de RawValue,
    opening: char,
    seed: S,
) -> Result<bool, E> {
    if !raw.get().starts_with(opening) {
        return Ok(false);
    }
    seed.deserialize(&mut serde_json::Deserializer::from_str(raw.get())).map_err(E::custom)
}

impl<'a> DeserializeSeed<'a> for RecordSeed<'_, '_, 'a> {
    type Value = bool;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for RecordSeed<'_, '_, 'a> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<bool, M::Error> {
        let RecordSeed { place, node, captured } = self;
        let lines = &place.normalizer.record.candidates[field::LINES];
        while let Some(child) = map.next_key_seed(KeySeed(node))? {
            let Some(child) = child else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            match child.leaf {
                Some(leaf) if lines.contains(&leaf) => {
                    captured.lists[leaf] = match place.walk {
                        Walk::Quick => map.next_value_seed(ListSeed { place, captured: &mut *captured })?,
                        Walk::Careful => {
                            let raw: &'a RawValue = map.next_value()?;
                            let seed = ListSeed { place, captured: &mut *captured };
                            seed.deserialize(&mut serde_json::Deserializer::from_str(list_text(raw))).map_err(serde::de::Error::custom)?
                        }
                    };
                }
                Some(leaf) => {
                    let raw: &'a RawValue = map.next_value()?;
                    captured.cells[leaf] = Some(raw.get());
                    if !child.inner.is_empty() {
                        enter_carefully(raw, '{', RecordSeed { place, node: &child.inner, captured: &mut *captured })?;
                    }
                }
                None => {
                    let seed = RecordSeed { place, node: &child.inner, captured: &mut *captured };
                    match place.walk {
                        Walk::Quick => map.next_value_seed(seed)?,
                        Walk::Careful => enter_carefully(map.next_value()?, '{', seed)?,
                    };
                }
            }
        }
        Ok(true)
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut seq: S) -> Result<bool, S::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(false)
    }

    other_shapes!(false; visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);
}

/// A value where lines may stand: as it is where it is an array or null, any other as `0`, which is no array either.
fn list_text(raw: &RawValue) -> &str {
    if raw.get().starts_with(['[', 'n']) { raw.get() } else { "0" }
}

impl<'a> DeserializeSeed<'a> for ListSeed<'_, '_, 'a> {
    type Value = List;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<List, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for ListSeed<'_, '_, 'a> {
    type Value = List;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of lines")
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut seq: S) -> Result<List, S::Error> {
        let map = &self.place.normalizer.line;
        let start = self.captured.line_is_object.len();
        loop {
            let cells = self.captured.line_cells.len();
            self.captured.line_cells.resize(cells + map.leaves, None);
            let seed = LineSeed { node: &map.root, cells: &mut self.captured.line_cells[cells..] };
            let is_object = match self.place.walk {
                Walk::Quick => seq.next_element_seed(seed)?,
                Walk::Careful => seq.next_element::<&'a RawValue>()?.map(|raw| enter_carefully(raw, '{', seed)).transpose()?,
            };
            let Some(is_object) = is_object else {
                self.captured.line_cells.truncate(cells);
                return Ok(List::Lines(start, self.captured.line_is_object.len()));
            };
            self.captured.line_is_object.push(is_object);
        }
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<List, E> {
        Ok(List::Missing)
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<List, M::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(List::NoArray)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<List, E> {
        Ok(if model::clean_text(text).is_none() { List::Missing } else { List::NoArray })
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<List, E> {
        Ok(List::NoArray)
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<List, E> {
        Ok(List::NoArray)
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<List, E> {
        Ok(List::NoArray)
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<List, E> {
        Ok(List::NoArray)
    }
}

impl<'a> DeserializeSeed<'a> for LineSeed<'_, '_, 'a> {
    type Value = bool;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for LineSeed<'_, '_, 'a> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a line")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<bool, M::Error> {
        while let Some(child) = map.next_key_seed(KeySeed(self.node))? {
            match child.and_then(|child| child.leaf) {
                Some(leaf) => self.cells[leaf] = Some(map.next_value::<&'a RawValue>()?.get()),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(true)
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut seq: S) -> Result<bool, S::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(false)
    }

    other_shapes!(false; visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FactRows;

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
    fn the_first_rule_that_holds_counts() {
        assert_eq!(reasons(r#"{"items":[]}"#), ["missing_order_id"]);
        assert_eq!(reasons(r#"{"id":1,"date":"never","items":[]}"#), ["invalid_created_at"]);
        assert_eq!(reasons(&order(r#"[{"qty":"x","price":"y"}]"#)), ["missing_sku", "no_valid_items"]);
        assert_eq!(reasons(&order(r#"[{"sku":"a","qty":"x","price":"y"}]"#)), ["invalid_quantity", "no_valid_items"]);
    }

    #[test]
    fn each_malformed_line_has_its_reason_and_leaves_the_others() {
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
            assert_eq!((batch.drops[0].reason.as_str(), batch.drops[0].line_index), (reason, Some(0)), "{line}");
            assert_eq!((batch.counts.records_processed, batch.counts.lines_read), (1, 2), "{line}");
        }
    }

    #[test]
    fn paths_are_tried_in_order_and_missing_values_passed_over() {
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
    fn money_keeps_every_digit_and_what_is_lost_is_counted() {
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

    #[test]
    fn the_window_is_looked_at_before_the_lines() {
        let window = Window { since: UtcMicros::new(0), until: UtcMicros::new(1) };
        let batch = RecordNormalizer::new(window).normalize([order("[]").as_bytes()].into_iter());
        assert_eq!((batch.counts.records_out_of_window, batch.drops.len()), (1, 0));
    }

    #[test]
    fn the_record_goes_to_quarantine_byte_by_byte() {
        let record = b"{\"order_id\": \"A\xff\"}";
        let batch = RecordNormalizer::new(Window::default()).normalize([&record[..]].into_iter());
        assert_eq!((&*batch.drops[0].record, batch.drops[0].reason), (&record[..], Reason::InvalidJson));
    }

    #[test]
    fn a_key_that_stands_twice_counts_as_its_last() {
        assert_eq!(
            rows(&format!(r#"{{"order_id":"A","order_id":"B",{DATE},"items":[{{"sku":"x"}}],"items":[{{"sku":"a","sku":"b"}}]}}"#)),
            ["B/b/1/0.0000/0.0000"]
        );
    }
}
