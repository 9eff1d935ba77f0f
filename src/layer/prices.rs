//! The last known price of each sku and currency in the layer, and lines whose price is off by a power of ten.
//!
//! Cents that are loaded as euros look sound line by line. Compared with the last price of the same sku they stand at 100 times it.
//! Responsible for the prices and for finding such lines; how many of them fail a run is `check`'s.
//!
//! ```text
//! file  = magic (8) · entries (u64) · entry… · XXH3 of everything before (u64)          all little-endian
//! entry = hash of sku and currency (u64) · created_at (i64, µs) · unit_price (i64, ten-thousandths), sorted by hash
//! ```

use hashbrown::{HashMap, hash_map::Entry};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{LayerError, StoredPartitions};
use crate::{
    cancel::Cancel,
    model::{Dt, Line, Money},
    store::{self, ObjectRef, Output, Staging, StoreError, places},
};

const MAGIC: &[u8; 8] = b"ETLPRC01";
const HEADER: usize = 16;
const ENTRY: usize = 24;
const CHECKSUM: usize = 8;

/// The most slipped lines of one kind that are kept.
const KEPT_LINES: usize = 100_000;

/// A price and when it was last asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct LastPrice {
    /// `created_at` of its line, in microseconds.
    created_at: i64,
    /// In ten-thousandths.
    units: i64,
}

/// The last known price of each sku and currency.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PriceBook {
    prices: HashMap<u64, LastPrice>,
}

/// The power of ten by which a price differs from the last known one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, strum::IntoStaticStr)]
pub enum SlipFactor {
    /// A thousandth.
    #[strum(serialize = "0.001")]
    Thousandth,
    /// A hundredth.
    #[strum(serialize = "0.01")]
    Hundredth,
    /// A tenth: may be a sale.
    #[strum(serialize = "0.1")]
    Tenth,
    /// Ten times.
    #[strum(serialize = "10")]
    Ten,
    /// A hundred times.
    #[strum(serialize = "100")]
    Hundred,
    /// A thousand times.
    #[strum(serialize = "1000")]
    Thousand,
}

impl SlipFactor {
    /// Whether a price may change by this factor: a sale may take nine tenths off.
    pub fn is_plausible(self) -> bool {
        matches!(self, SlipFactor::Tenth | SlipFactor::Ten)
    }

    /// The factor from one price to another, within ten percent. Zero and a change of sign are no factor.
    fn between(last: i64, new: i64) -> Option<SlipFactor> {
        if last == 0 || new == 0 || (last < 0) != (new < 0) {
            return None;
        }
        let (last, new) = (i128::from(last).abs(), i128::from(new).abs());
        let is_about = |greater: i128, less: i128, factor: i128| (less * factor * 9..=less * factor * 11).contains(&(greater * 10));
        let upward = [(1000, SlipFactor::Thousand), (100, SlipFactor::Hundred), (10, SlipFactor::Ten)];
        let downward = [(1000, SlipFactor::Thousandth), (100, SlipFactor::Hundredth), (10, SlipFactor::Tenth)];
        let of = |greater, less, factors: [(i128, SlipFactor); 3]| {
            factors.into_iter().find(|(factor, _)| is_about(greater, less, *factor)).map(|(_, slip)| slip)
        };
        of(new, last, upward).or_else(|| of(last, new, downward))
    }
}

/// A line whose price differs from the last known one by a power of ten.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlippedLine {
    /// Its partition.
    pub dt: Dt,
    /// Its order.
    pub order_id: String,
    /// Its sku.
    pub sku: String,
    /// Its currency.
    pub currency: Option<String>,
    /// Its price.
    pub unit_price: Money,
    /// The last known price.
    pub last_price: Money,
    /// The factor from the last price to its price.
    pub factor: SlipFactor,
}

/// Lines of one kind: how many there are, and the first of them.
#[derive(Clone, Default, Debug)]
pub struct SlippedLines {
    /// Their number.
    pub count: u64,
    /// The first of them.
    pub first: Vec<SlippedLine>,
}

impl SlippedLines {
    fn absorb(&mut self, other: &SlippedLines) {
        self.count += other.count;
        let room = KEPT_LINES.saturating_sub(self.first.len());
        self.first.extend(other.first.iter().take(room).cloned());
    }
}

/// The prices of a run's lines, in any order.
#[derive(Clone, Default, Debug)]
pub struct RunPrices {
    /// The latest price of each sku and currency: of several at one time the highest, so that the order of lines does not count.
    latest: HashMap<u64, LastPrice>,
    /// Lines that are new or change their row.
    pub changed_lines: u64,
    /// Lines off by a factor of 100 or 1,000.
    pub slipped: SlippedLines,
    /// Lines off by a factor of 10.
    pub suspicious: SlippedLines,
}

fn key(sku: &str, currency: Option<&str>) -> u64 {
    xxh3_64_with_seed(sku.as_bytes(), currency.map_or(0, |currency| xxh3_64(currency.as_bytes())))
}

impl PriceBook {
    /// The stored prices; `None` if they are missing or damaged.
    ///
    /// # Errors
    /// I/O errors (exit 5).
    pub fn read(output: &Output, stored: Option<&ObjectRef>) -> Result<Option<PriceBook>, LayerError> {
        let Some(version) = stored else { return Ok(None) };
        let path = match output.local_version(&version.object, version) {
            Ok(path) => path,
            // One that is damaged in a bucket is made again as well.
            Err(StoreError::Refused { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(store::read(&path)?.filter(|bytes| version.is_of(bytes)).and_then(|bytes| PriceBook::decode(&bytes)))
    }

    /// Whether no price is known.
    pub fn is_empty(&self) -> bool {
        self.prices.is_empty()
    }

    /// The prices of all stored partitions. Reads the whole layer.
    ///
    /// A book that was kept differs in two things. It knows prices of rows that are gone, such as those of deleted orders. And of several
    /// prices at one time it has that of the latest run, where this one has the highest.
    ///
    /// # Errors
    /// A partition that can't be parsed, a signal, I/O errors (exit 5).
    pub fn rebuild(stored: &StoredPartitions<'_>, partitions: impl Iterator<Item = Dt>, cancel: &Cancel) -> Result<PriceBook, LayerError> {
        let mut book = PriceBook::default();
        for dt in partitions {
            if cancel.is_stopped() {
                return Err(LayerError::Interrupted);
            }
            book.offer_partition(stored, dt)?;
        }
        Ok(book)
    }

    /// Offers the prices of a stored partition.
    ///
    /// # Errors
    /// A partition that can't be parsed, I/O errors (exit 5).
    pub fn offer_partition(&mut self, stored: &StoredPartitions<'_>, dt: Dt) -> Result<(), LayerError> {
        let Some(stored) = stored.load(dt)? else { return Ok(()) };
        let mut prices = RunPrices::default();
        (0..stored.rows.len()).for_each(|row| prices.take(&stored.rows.line(row)));
        self.absorb(&prices);
        Ok(())
    }

    /// Takes a price unless a later one is known. Tells whether the book changed.
    fn offer(&mut self, key: u64, price: LastPrice) -> bool {
        match self.prices.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(price);
                true
            }
            Entry::Occupied(mut entry) => {
                let is_later = entry.get().created_at <= price.created_at && *entry.get() != price;
                if is_later {
                    entry.insert(price);
                }
                is_later
            }
        }
    }

    /// Takes the prices of a run. Tells whether the book changed.
    pub fn absorb(&mut self, run: &RunPrices) -> bool {
        run.latest.iter().fold(false, |changed, (&key, &price)| self.offer(key, price) || changed)
    }

    /// Stages the book.
    ///
    /// # Errors
    /// I/O errors (exit 5).
    pub fn stage(&self, staging: &mut Staging, run_id: &str) -> Result<ObjectRef, LayerError> {
        Ok(staging.put(places::prices(run_id), &self.encode())?)
    }

    fn encode(&self) -> Vec<u8> {
        let mut entries: Vec<_> = self.prices.iter().collect();
        entries.sort_unstable_by_key(|(key, _)| **key);
        let mut bytes = Vec::with_capacity(HEADER + entries.len() * ENTRY + CHECKSUM);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&(entries.len() as u64).to_le_bytes());
        for (key, price) in entries {
            bytes.extend_from_slice(&key.to_le_bytes());
            bytes.extend_from_slice(&price.created_at.to_le_bytes());
            bytes.extend_from_slice(&price.units.to_le_bytes());
        }
        bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<PriceBook> {
        let (content, checksum) = bytes.split_last_chunk::<CHECKSUM>()?;
        if xxh3_64(content) != u64::from_le_bytes(*checksum) || !content.starts_with(MAGIC) {
            return None;
        }
        let entry = |bytes: &[u8]| {
            let (key, rest) = bytes.split_first_chunk::<8>()?;
            let (created_at, units) = rest.split_first_chunk::<8>()?;
            let units = i64::from_le_bytes(units.try_into().ok()?);
            Some((u64::from_le_bytes(*key), LastPrice { created_at: i64::from_le_bytes(*created_at), units }))
        };
        let prices = content.get(HEADER..)?.chunks(ENTRY).map(entry).collect::<Option<_>>()?;
        Some(PriceBook { prices })
    }
}

impl LastPrice {
    fn of(line: &Line<'_>) -> LastPrice {
        LastPrice { created_at: line.created_at.micros(), units: line.unit_price.units() }
    }
}

impl RunPrices {
    /// Takes the price of a line that becomes a row.
    pub(super) fn take(&mut self, line: &Line<'_>) {
        // A gift and a refund tell no price.
        if line.unit_price > Money::ZERO && !line.price_defaulted {
            self.offer(key(line.sku, line.currency), LastPrice::of(line));
        }
    }

    fn offer(&mut self, key: u64, price: LastPrice) {
        self.latest.entry(key).and_modify(|last| *last = price.max(*last)).or_insert(price);
    }

    /// Compares the price of a line that is new, or changes its row, with the last known price.
    pub(super) fn compare(&mut self, line: &Line<'_>, known: &PriceBook) {
        let Some(last) = known.prices.get(&key(line.sku, line.currency)) else { return };
        let Some(factor) = SlipFactor::between(last.units, line.unit_price.units()) else { return };
        let lines = if factor.is_plausible() { &mut self.suspicious } else { &mut self.slipped };
        lines.count += 1;
        if lines.first.len() < KEPT_LINES
            && let Ok(last_price) = Money::from_units(last.units.into())
        {
            lines.first.push(SlippedLine {
                dt: line.dt(),
                order_id: line.order_id.to_owned(),
                sku: line.sku.to_owned(),
                currency: line.currency.map(str::to_owned),
                unit_price: line.unit_price,
                last_price,
                factor,
            });
        }
    }

    /// Adds the prices of another partition.
    pub fn absorb(&mut self, other: &RunPrices) {
        other.latest.iter().for_each(|(&key, &price)| self.offer(key, price));
        self.changed_lines += other.changed_lines;
        self.slipped.absorb(&other.slipped);
        self.suspicious.absorb(&other.suspicious);
    }

    /// How many prices and lines it holds.
    pub fn kept(&self) -> usize {
        self.latest.len() + self.slipped.first.len() + self.suspicious.first.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        layer::{self, LayerState},
        model::{FactSchema, FileFormat, UtcMicros},
        store::Fingerprint,
    };

    fn line(sku: &'static str, currency: Option<&'static str>, day: i64, units: i64) -> Line<'static> {
        let price = Money::from_units(units.into()).unwrap();
        Line {
            currency,
            quantity: 1.into(),
            unit_price: price,
            line_total: price,
            created_at: UtcMicros::new(day * UtcMicros::DAY).unwrap(),
            ..Line::of_key("A", sku)
        }
    }

    #[test]
    fn a_factor_is_a_power_of_ten_within_ten_percent() {
        let factor = |last, new| SlipFactor::between(last, new).map(<&str>::from);
        for (last, new, expected) in [
            (100_000, 10_000_000, Some("100")),
            (100_000, 10_900_000, Some("100")),
            (100_000, 9_100_000, Some("100")),
            (100_000, 11_100_000, None),
            (100_000, 5_000_000, None),
            (100_000, 100_000_000, Some("1000")),
            (10_000_000, 100_000, Some("0.01")),
            (10_000_000, 10_000, Some("0.001")),
            (100_000, 1_000_000, Some("10")),
            (100_000, 10_000, Some("0.1")),
            (100_000, 100_000, None),
            (0, 100, None),
            (100, 0, None),
            (-100_000, 10_000_000, None),
            (-100_000, -10_000_000, Some("100")),
            (i64::MIN, i64::MAX, None),
        ] {
            assert_eq!(factor(last, new), expected, "{last} to {new}");
        }
    }

    #[test]
    fn prices_are_those_of_the_latest_line_of_their_sku_and_currency() {
        let mut run = RunPrices::default();
        run.take(&line("S", Some("EUR"), 2, 20_000));
        run.take(&line("S", Some("EUR"), 1, 10_000));
        run.take(&line("S", Some("JPY"), 1, 3_000_000));
        run.take(&line("S", None, 1, 7_000_000));
        let mut book = PriceBook::default();
        assert!(book.absorb(&run));
        assert!(!book.absorb(&run), "the same run twice changes nothing");
        let mut next = RunPrices::default();
        for (line, slips) in [
            (line("S", Some("EUR"), 3, 2_000_000), (1, 0)),
            (line("S", Some("EUR"), 3, 1_000_000), (1, 0)),
            (line("S", Some("JPY"), 3, 3_000_000), (1, 0)),
            (line("S", Some("JPY"), 3, 30_000), (2, 0)),
            (line("T", Some("EUR"), 3, 2_000_000), (2, 0)),
            (line("S", None, 3, 700_000), (2, 1)),
        ] {
            next.compare(&line, &book);
            assert_eq!((next.slipped.count, next.suspicious.count), slips, "{line:?}");
        }
        assert_eq!((next.slipped.first.len(), next.suspicious.first.len()), (2, 1));
    }

    /// The book of a layer with these lines, sorted by order and sku within a day.
    fn rebuilt(lines: &[Line<'_>]) -> PriceBook {
        let dir = tempfile::tempdir().unwrap();
        let (output, schema) = (Output::new(dir.path().to_owned()), FactSchema::default());
        let mut files: BTreeMap<Dt, Vec<u8>> = BTreeMap::new();
        for line in lines {
            let file = files.entry(line.dt()).or_insert_with(|| {
                let mut header = Vec::new();
                layer::write_header(&mut header, &schema);
                header
            });
            layer::write_line(file, line, std::iter::empty());
        }
        let mut state = LayerState::default();
        for (dt, file) in files {
            let version = ObjectRef::new(places::partition_file(dt, FileFormat::default()), Fingerprint::of(&file));
            output.replace(version.object.clone(), &file).unwrap();
            state.partitions.insert(dt, layer::entry_of(&file, version, dt, &schema).unwrap());
        }
        let stored = StoredPartitions::new(&output, &state, &schema, FileFormat::default());
        PriceBook::rebuild(&stored, state.partitions.keys().copied(), &Cancel::default()).unwrap()
    }

    /// The book after these runs.
    fn kept(runs: &[&[Line<'_>]]) -> PriceBook {
        let mut book = PriceBook::default();
        for lines in runs {
            let mut run = RunPrices::default();
            lines.iter().for_each(|line| run.take(line));
            book.absorb(&run);
        }
        book
    }

    #[test]
    fn a_rebuilt_book_is_the_one_that_runs_have_kept_but_for_rows_that_are_gone_and_equal_times() {
        let (old, new, other) = (line("S", Some("EUR"), 1, 10_000), line("S", Some("EUR"), 2, 20_000), line("T", None, 2, 7));
        let layer = [old, new, other];
        assert_eq!(rebuilt(&layer), kept(&[&[old, other], &[new]]));
        assert_eq!(rebuilt(&layer), kept(&[&[new, other], &[old]]), "a late order is not the last price");
        let gone = line("S", Some("EUR"), 3, 30_000);
        assert_ne!(rebuilt(&layer), kept(&[&layer, &[gone]]));
        let less = Line { order_id: "B", ..line("S", Some("EUR"), 2, 15_000) };
        let with_less = [old, new, other, less];
        assert_eq!(rebuilt(&with_less), kept(&[&with_less]));
        assert_ne!(rebuilt(&with_less), kept(&[&layer, &[less]]), "the later run has the last word on one moment");
    }

    #[test]
    fn a_stored_book_comes_back_and_a_damaged_one_does_not() {
        let mut run = RunPrices::default();
        run.take(&line("S", Some("EUR"), 2, 20_000));
        run.take(&line("T", None, -3, -5));
        let mut book = PriceBook::default();
        book.absorb(&run);
        let bytes = book.encode();
        assert_eq!(PriceBook::decode(&bytes), Some(book));
        assert_eq!(PriceBook::decode(&PriceBook::default().encode()), Some(PriceBook::default()));
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            assert_eq!(PriceBook::decode(&damaged), None);
            assert_eq!(PriceBook::decode(&bytes[..place]), None);
        }
    }
}
