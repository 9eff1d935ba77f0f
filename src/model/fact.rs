//! The columns of `fact_order`, and a frame of them: how rows go in, one by one, and how they are looked at.

use polars::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::{Dt, FactSchema, Money, Quantity, QuantityType, UtcMicros};

/// The type of a column, as every reader of the layer knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FactType {
    /// UTF-8 text.
    Text,
    /// A 64-bit integer.
    BigInt,
    /// DECIMAL(18,4).
    Money,
    /// `true` or `false`.
    Boolean,
    /// A UTC instant without a zone, at microsecond grain.
    Timestamp,
}

impl FactType {
    /// The type's name in SQL that DuckDB, PostgreSQL and Redshift all read.
    pub fn sql(self) -> &'static str {
        match self {
            FactType::Text => "VARCHAR",
            FactType::BigInt => "BIGINT",
            FactType::Money => "DECIMAL(18,4)",
            FactType::Boolean => "BOOLEAN",
            FactType::Timestamp => "TIMESTAMP",
        }
    }
}

/// Name and type of each column of `fact_order`, in the contract's order (contract, Output). Quantities are of the type that the schema says.
pub const FACT_COLUMNS: [(&str, FactType); 15] = [
    ("order_id", FactType::Text),
    ("sku", FactType::Text),
    ("user_id", FactType::Text),
    ("product_id", FactType::Text),
    ("status", FactType::Text),
    ("currency", FactType::Text),
    ("quantity", FactType::BigInt),
    ("unit_price", FactType::Money),
    ("line_total", FactType::Money),
    ("price_defaulted", FactType::Boolean),
    ("user_country", FactType::Text),
    ("product_name", FactType::Text),
    ("product_category", FactType::Text),
    ("created_at", FactType::Timestamp),
    ("updated_at", FactType::Timestamp),
];

/// The name of the column that is there while a run works: the place of a line's record in the source (`UInt64`). Never stored.
pub const SEQ: &str = "seq";

/// An order, for the question which partitions hold it: 64 bits of its id. Two orders that share one cost a
/// partition read in vain, never a wrong row: rows are compared by their whole key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OrderHash(pub u64);

/// The hash of an `order_id`: XXH3, stable over versions and machines, since it is stored.
pub fn order_hash(order_id: &str) -> OrderHash {
    OrderHash(xxh3_64(order_id.as_bytes()))
}

/// One row of `fact_order`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "each is a column of the contract, under its name")]
pub struct Line<'a> {
    pub order_id: &'a str,
    pub sku: &'a str,
    pub user_id: Option<&'a str>,
    pub product_id: Option<&'a str>,
    pub status: Option<&'a str>,
    pub currency: Option<&'a str>,
    pub quantity: Quantity,
    pub unit_price: Money,
    pub line_total: Money,
    pub price_defaulted: bool,
    pub user_country: Option<&'a str>,
    pub product_name: Option<&'a str>,
    pub product_category: Option<&'a str>,
    pub created_at: UtcMicros,
    pub updated_at: Option<UtcMicros>,
}

impl<'a> Line<'a> {
    /// A row with this key and nothing else: no texts, no money, no quantity, at the earliest time.
    pub fn of_key(order_id: &'a str, sku: &'a str) -> Line<'a> {
        Line {
            order_id,
            sku,
            user_id: None,
            product_id: None,
            status: None,
            currency: None,
            quantity: 0.into(),
            unit_price: Money::ZERO,
            line_total: Money::ZERO,
            price_defaulted: false,
            user_country: None,
            product_name: None,
            product_category: None,
            created_at: UtcMicros::MIN,
            updated_at: None,
        }
    }

    /// The grain.
    pub fn key(&self) -> (&'a str, &'a str) {
        (self.order_id, self.sku)
    }

    /// The partition that the row lies in.
    pub fn dt(&self) -> Dt {
        Dt::of(self.created_at)
    }
}

/// Rows of `fact_order` as they come, column by column.
pub struct FactBuilder {
    text: [StringChunkedBuilder; 9],
    quantity: Vec<i64>,
    quantity_type: QuantityType,
    unit_price: Vec<i128>,
    line_total: Vec<i128>,
    price_defaulted: Vec<bool>,
    created_at: Vec<i64>,
    updated_at: Vec<Option<i64>>,
    extra: Vec<StringChunkedBuilder>,
    /// Of each row, the number of its record.
    seq: Vec<u64>,
    records: u64,
}

/// The places of the text columns among [`FACT_COLUMNS`].
const TEXT_COLUMNS: [usize; 9] = [0, 1, 2, 3, 4, 5, 10, 11, 12];

impl FactBuilder {
    /// An empty frame with room for `rows`.
    pub fn new(schema: &FactSchema, rows: usize) -> FactBuilder {
        FactBuilder {
            text: TEXT_COLUMNS.map(|place| StringChunkedBuilder::new(FACT_COLUMNS[place].0.into(), rows)),
            quantity: Vec::with_capacity(rows),
            quantity_type: schema.quantity(),
            unit_price: Vec::with_capacity(rows),
            line_total: Vec::with_capacity(rows),
            price_defaulted: Vec::with_capacity(rows),
            created_at: Vec::with_capacity(rows),
            updated_at: Vec::with_capacity(rows),
            extra: schema.extra().iter().map(|column| StringChunkedBuilder::new(column.name.as_str().into(), rows)).collect(),
            seq: Vec::with_capacity(rows),
            records: 0,
        }
    }

    /// Begins the next record: the rows that follow are its.
    pub fn begin_record(&mut self) {
        self.records += 1;
    }

    /// The number of the record that rows are added to.
    pub fn record(&self) -> u64 {
        self.records
    }

    /// The rows that follow are of the record of this number.
    pub fn at_record(&mut self, number: u64) {
        self.records = number;
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.quantity.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.quantity.is_empty()
    }

    /// Appends a row; `extra` are the texts of the schema's extra columns.
    pub fn push<'e>(&mut self, line: &Line<'_>, extra: impl IntoIterator<Item = Option<&'e str>>) {
        let text = [
            Some(line.order_id),
            Some(line.sku),
            line.user_id,
            line.product_id,
            line.status,
            line.currency,
            line.user_country,
            line.product_name,
            line.product_category,
        ];
        for (column, value) in self.text.iter_mut().zip(text) {
            column.append_option(value);
        }
        // Whoever makes rows for a schema makes quantities of its type.
        self.quantity.push(line.quantity.units_of(self.quantity_type).unwrap_or_default());
        self.unit_price.push(i128::from(line.unit_price.units()));
        self.line_total.push(i128::from(line.line_total.units()));
        self.price_defaulted.push(line.price_defaulted);
        self.created_at.push(line.created_at.micros());
        self.updated_at.push(line.updated_at.map(UtcMicros::micros));
        self.seq.push(self.records);
        let mut extra = extra.into_iter();
        self.extra.iter_mut().for_each(|column| column.append_option(extra.next().flatten()));
    }

    /// The frame: [`FACT_COLUMNS`] as String, Int64, Decimal(18,4), Boolean and Datetime(µs), then the extra columns as String,
    /// in the text that they have in the layer, then [`SEQ`], from 0 or 1 on; one chunk each.
    ///
    /// # Errors
    /// None that a builder can bring about; Polars' own are handed on.
    pub fn finish(self) -> PolarsResult<DataFrame> {
        let height = self.len();
        let [order_id, sku, user_id, product_id, status, currency, user_country, product_name, product_category] =
            self.text.map(|column| column.finish().into_column());
        let money = |name: &str, units: Vec<i128>| {
            Int128Chunked::from_vec(name.into(), units).into_decimal(Money::PRECISION, Money::SCALE).map(IntoColumn::into_column)
        };
        let micros = |column: Int64Chunked| column.into_datetime(TimeUnit::Microseconds, None).into_column();
        let mut columns = vec![
            order_id,
            sku,
            user_id,
            product_id,
            status,
            currency,
            match self.quantity_type {
                QuantityType::Whole => Int64Chunked::from_vec("quantity".into(), self.quantity).into_column(),
                QuantityType::Decimal => money("quantity", self.quantity.into_iter().map(i128::from).collect())?,
            },
            money("unit_price", self.unit_price)?,
            money("line_total", self.line_total)?,
            BooleanChunked::from_slice("price_defaulted".into(), &self.price_defaulted).into_column(),
            user_country,
            product_name,
            product_category,
            micros(Int64Chunked::from_vec("created_at".into(), self.created_at)),
            micros(Int64Chunked::from_slice_options("updated_at".into(), &self.updated_at)),
        ];
        columns.extend(self.extra.into_iter().map(|column| column.finish().into_column()));
        columns.push(UInt64Chunked::from_vec(SEQ.into(), self.seq).into_column());
        DataFrame::new(height, columns)
    }
}

/// The column of quantities.
enum Quantities {
    Whole(Int64Chunked),
    Decimal(Int128Chunked),
}

impl Quantities {
    fn get(&self, i: usize) -> Quantity {
        match self {
            Quantities::Whole(column) => column.get(i).unwrap_or_default().into(),
            Quantities::Decimal(column) => {
                Quantity::of_decimal(column.get(i).and_then(|units| Money::from_units(units).ok()).unwrap_or_default())
            }
        }
    }
}

/// A column of texts in one chunk: a text is found without a look for its chunk.
type Texts = <StringType as PolarsDataType>::Array;

/// The only chunk of a column of texts.
fn one_chunk(column: &StringChunked) -> PolarsResult<Texts> {
    let whole = column.rechunk();
    let chunk = whole.downcast_iter().next().cloned();
    chunk.ok_or_else(|| polars_err!(ComputeError: "the column {} has no chunk", column.name()))
}

/// A frame of `fact_order` looked at row by row. Clones of its columns are counted references.
pub struct FactRows {
    height: usize,
    text: [Texts; 9],
    quantity: Quantities,
    unit_price: Int128Chunked,
    line_total: Int128Chunked,
    price_defaulted: BooleanChunked,
    created_at: Int64Chunked,
    updated_at: Int64Chunked,
    extra: Vec<Texts>,
}

impl FactRows {
    /// The rows of a frame of one chunk; text columns beyond [`FACT_COLUMNS`] are the extra ones.
    ///
    /// # Errors
    /// A column that is missing or of another type.
    pub fn new(frame: &DataFrame) -> PolarsResult<FactRows> {
        let text = |place: usize| one_chunk(frame.column(FACT_COLUMNS[TEXT_COLUMNS[place]].0)?.str()?);
        let extra = frame.columns().iter().skip(FACT_COLUMNS.len()).filter_map(|column| column.str().ok().map(one_chunk));
        let micros = |name: &str| Ok::<_, PolarsError>(frame.column(name)?.datetime()?.physical().clone());
        let units = |name: &str| Ok::<_, PolarsError>(frame.column(name)?.decimal()?.physical().clone());
        Ok(FactRows {
            height: frame.height(),
            text: [text(0)?, text(1)?, text(2)?, text(3)?, text(4)?, text(5)?, text(6)?, text(7)?, text(8)?],
            quantity: match frame.column("quantity")?.i64() {
                Ok(whole) => Quantities::Whole(whole.clone()),
                Err(_) => Quantities::Decimal(units("quantity")?),
            },
            unit_price: units("unit_price")?,
            line_total: units("line_total")?,
            price_defaulted: frame.column("price_defaulted")?.bool()?.clone(),
            created_at: micros("created_at")?,
            updated_at: micros("updated_at")?,
            extra: extra.collect::<PolarsResult<_>>()?,
        })
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.height
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.height == 0
    }

    /// The key of row `i`; empty texts beyond the end.
    pub fn key(&self, i: usize) -> (&str, &str) {
        (self.text[0].get(i).unwrap_or_default(), self.text[1].get(i).unwrap_or_default())
    }

    /// The texts of the extra columns of row `i`.
    pub fn extra(&self, i: usize) -> impl Iterator<Item = Option<&str>> {
        self.extra.iter().map(move |column| column.get(i))
    }

    /// The order of row `i`.
    pub fn order_id(&self, i: usize) -> &str {
        self.text[0].get(i).unwrap_or_default()
    }

    /// The status of row `i`.
    pub fn status(&self, i: usize) -> Option<&str> {
        self.text[4].get(i)
    }

    /// `updated_at` of row `i`: what decides between versions. `None` sorts first, as the contract has it.
    pub fn updated_at(&self, i: usize) -> Option<i64> {
        self.updated_at.get(i)
    }

    /// `created_at` of row `i`.
    pub fn created_at(&self, i: usize) -> i64 {
        self.created_at.get(i).unwrap_or_default()
    }

    /// Row `i`.
    pub fn line(&self, i: usize) -> Line<'_> {
        let money = |column: &Int128Chunked| column.get(i).and_then(|units| Money::from_units(units).ok()).unwrap_or_default();
        Line {
            order_id: self.text[0].get(i).unwrap_or_default(),
            sku: self.text[1].get(i).unwrap_or_default(),
            user_id: self.text[2].get(i),
            product_id: self.text[3].get(i),
            status: self.text[4].get(i),
            currency: self.text[5].get(i),
            user_country: self.text[6].get(i),
            product_name: self.text[7].get(i),
            product_category: self.text[8].get(i),
            quantity: self.quantity.get(i),
            unit_price: money(&self.unit_price),
            line_total: money(&self.line_total),
            price_defaulted: self.price_defaulted.get(i).unwrap_or_default(),
            created_at: UtcMicros::new(self.created_at(i)).unwrap_or(UtcMicros::MIN),
            updated_at: self.updated_at(i).and_then(UtcMicros::new),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_out_as_it_went_in() {
        let line = Line {
            order_id: "A-1",
            sku: "S",
            user_id: None,
            product_id: Some("7"),
            status: Some("a text that is longer than twelve bytes"),
            currency: Some("EUR"),
            quantity: (-3).into(),
            unit_price: Money::from_units(-12_345).unwrap(),
            line_total: Money::from_units(37_035).unwrap(),
            price_defaulted: true,
            user_country: Some("DE"),
            product_name: None,
            product_category: Some("toys"),
            created_at: UtcMicros::MIN,
            updated_at: None,
        };
        let schema = FactSchema::new(vec![crate::model::ExtraColumn { name: "channel".into(), kind: crate::model::ExtraType::Text }]);
        let mut builder = FactBuilder::new(&schema, 1);
        builder.push(&line, [Some("web")]);
        builder.push(&line, []);
        let frame = builder.finish().unwrap();
        let names: Vec<_> = frame.get_column_names().into_iter().map(|name| name.as_str()).collect();
        assert_eq!(names, schema.names().chain([SEQ]).collect::<Vec<_>>());
        let rows = FactRows::new(&frame).unwrap();
        assert_eq!(
            (rows.line(0), rows.extra(0).collect::<Vec<_>>(), rows.extra(1).collect::<Vec<_>>()),
            (line, vec![Some("web")], vec![None])
        );
    }

    #[test]
    fn the_order_hash_is_stored_and_must_never_change() {
        assert_eq!(order_hash("ORD-0000000001"), OrderHash(xxh3_64(b"ORD-0000000001")));
        assert_eq!(order_hash(""), OrderHash(0x2d06_8005_38d3_94c2));
    }
}
