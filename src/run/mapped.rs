//! Records mapped to rows and drops, without users, products and a layer: for `etl test` and `etl run --sample`.

use serde::Serialize;

use super::{RunError, by_settings, shape, stopped_or};
use crate::{
    cancel::Cancel,
    layer::LayerError,
    model::{FactRows, FactSchema, RawRecord, UtcMicros, Window},
    net::Network,
    normalize::{Drop, RecordNormalizer},
    settings::{Location, Settings, SettingsError, Source},
    source::{self, Page, Purpose, Query, SourceCounters},
};

/// The columns that users and products fill: a mapping alone does not.
pub const JOINED_COLUMNS: [&str; 3] = ["user_country", "product_name", "product_category"];

/// A record or line that is dropped.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct MappedDrop {
    /// Why.
    pub reason: &'static str,
    /// The id of its order, if that is valid.
    pub order_id: Option<String>,
    /// Its sku, if it is a line that has a valid one.
    pub sku: Option<String>,
    /// The number of the line in its record, from 0; `None` for a whole record.
    pub line: Option<usize>,
}

impl From<Drop> for MappedDrop {
    fn from(dropped: Drop) -> MappedDrop {
        let line = dropped.line.as_ref().map(|line| line.index);
        MappedDrop { reason: dropped.reason.as_str(), order_id: dropped.order_id, sku: dropped.line.and_then(|line| line.sku), line }
    }
}

/// What a mapping makes of some records.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Mapped {
    /// The columns of the rows.
    pub columns: Vec<String>,
    /// The rows, in the order of the records: the texts that CSV has. `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// What is dropped, in the order of the records.
    pub drops: Vec<MappedDrop>,
    /// How many records were read.
    pub records: u64,
    /// How many of them are outside of the window.
    pub records_out_of_window: u64,
    /// How many records the profile leaves out.
    pub records_skipped: u64,
}

/// Maps records by the settings.
pub(super) struct RecordMapper {
    normalizer: RecordNormalizer,
    schema: FactSchema,
}

impl RecordMapper {
    pub(super) fn new(settings: &Settings, orders: &Source, window: Window) -> RecordMapper {
        let mapping = by_settings::mapping(settings, &orders.profile);
        RecordMapper { normalizer: RecordNormalizer::configured(&mapping, window), schema: settings.schema() }
    }

    /// Nothing yet, with the columns of the rows.
    pub(super) fn nothing(&self) -> Mapped {
        let columns = self.schema.names().filter(|name| !JOINED_COLUMNS.contains(name)).map(str::to_owned).collect();
        Mapped { columns, ..Mapped::default() }
    }

    /// Adds what becomes of some records.
    pub(super) fn add<'a>(&'a self, records: impl Iterator<Item = RawRecord<'a>>, mapped: &mut Mapped) -> Result<(), RunError> {
        let batch = self.normalizer.normalize(records);
        mapped.records += batch.counts.records_read;
        mapped.records_out_of_window += batch.counts.records_out_of_window;
        mapped.records_skipped += batch.counts.records_skipped;
        mapped.drops.extend(batch.drops.into_iter().map(MappedDrop::from));
        let frame = batch.rows.finish().map_err(LayerError::from)?;
        let rows = FactRows::new(&frame).map_err(LayerError::from)?;
        mapped.rows.extend((0..rows.len()).map(|row| texts(&rows, row)));
        Ok(())
    }
}

/// A row without the columns of joins.
fn texts(rows: &FactRows, row: usize) -> Vec<Option<String>> {
    let line = rows.line(row);
    let text = |text: Option<&str>| text.map(str::to_owned);
    let fixed = [
        text(Some(line.order_id)),
        text(Some(line.sku)),
        text(line.user_id),
        text(line.product_id),
        text(line.status),
        text(line.currency),
        Some(line.quantity.to_string()),
        Some(line.unit_price.to_string()),
        Some(line.line_total.to_string()),
        Some(line.price_defaulted.to_string()),
        Some(line.created_at.to_canonical()),
        line.updated_at.map(UtcMicros::to_canonical),
    ];
    fixed.into_iter().chain(rows.extra(row).map(text)).collect()
}

/// Maps the first records of the orders, at most so many, in the window of the settings. Nothing is written. `last` is open here: what was
/// loaded before is not looked at.
///
/// # Errors
/// No orders are named, or the source can't be read.
pub fn sample(settings: &Settings, most: usize, cancel: &Cancel) -> Result<Mapped, RunError> {
    let orders = settings.orders.as_ref().ok_or(SettingsError::NoOrders)?;
    let now = UtcMicros::now();
    let window =
        Window { since: settings.since.and_then(|since| since.instant(now)), until: settings.until.and_then(|until| until.instant(now)) };
    let mapper = RecordMapper::new(settings, orders, window);
    let mut mapped = mapper.nothing();
    read(settings, &orders.location, &Reading { orders, window, most, cancel }, |page, left| {
        mapper.add(page.records().take(left), &mut mapped)
    })?;
    Ok(mapped)
}

/// What is read of a location.
pub(super) struct Reading<'a> {
    /// Whose profile says where the records are.
    pub(super) orders: &'a Source,
    pub(super) window: Window,
    /// The most records.
    pub(super) most: usize,
    pub(super) cancel: &'a Cancel,
}

/// Reads pages of orders until enough records were seen; `each` gets the page, and how many of its records count.
pub(super) fn read(
    settings: &Settings,
    location: &Location,
    reading: &Reading<'_>,
    mut each: impl FnMut(&Page, usize) -> Result<(), RunError>,
) -> Result<(), RunError> {
    let counters = SourceCounters::default();
    let network = Network::new(&settings.http);
    let access = by_settings::access(settings, &network, &counters, reading.cancel);
    let profile = &reading.orders.profile;
    let shape = shape::of_mapped(&by_settings::mapping(settings, profile), profile);
    let query = Query { window: reading.window, cursor: settings.cursor, ..Query::all(reading.orders, &shape) };
    let (mut left, mut outcome) = (reading.most, Ok(()));
    let mut sink = |page: Page| {
        outcome = each(&page, left);
        left = left.saturating_sub(page.records().count());
        outcome.is_ok() && left > 0
    };
    let read = source::read_pages(location, Purpose::Orders, &query, &access, &mut sink);
    outcome?;
    match read {
        // Whoever has enough need not know how the list would have ended.
        Err(error) if left > 0 || reading.cancel.is_stopped() => Err(stopped_or(reading.cancel, error.into())),
        _ => Ok(()),
    }
}
