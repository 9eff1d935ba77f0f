//! The tables as the layer has them: columns, types, and the size of each text. No SQL but the names of types.

use std::{collections::BTreeMap, fmt};

use crate::{
    model::{ColumnType, DIM_PRODUCT, DIM_USER, DimensionSpec, ExtraType, FactSchema, FactType, Money},
    store::places::SideFact,
};

/// The name of the facts.
pub(super) const FACTS: &str = "fact_order";

/// The sizes that a text column may get, in bytes. The last is the longest that Redshift takes.
const SIZES: [u32; 6] = [64, 256, 1024, 4096, 16_384, 65_535];

/// The size of an extra column that holds no text yet.
const UNSEEN: u32 = 256;

/// The columns of `fact_order` that are never NULL.
const REQUIRED: [&str; 7] = ["order_id", "sku", "quantity", "unit_price", "line_total", "price_defaulted", "created_at"];

/// The columns of a side fact that are never NULL.
fn required_of(fact: SideFact) -> &'static [&'static str] {
    match fact {
        SideFact::OrderTotals => &["order_id", "created_at"],
        SideFact::Refunds => &["refund_id", "order_id", "amount", "created_at"],
    }
}

/// The sizes of the fixed text columns. A longer text in the layer gets a larger column.
fn fixed_size(column: &str) -> Option<u32> {
    match column {
        "order_id" | "refund_id" | "sku" | "user_id" | "product_id" | "country" | "user_country" => Some(256),
        "status" | "currency" => Some(64),
        "name" | "email" | "category" | "product_name" | "product_category" => Some(1024),
        _ => None,
    }
}

/// The size of a column for texts of up to `longest` bytes: the next size that is at least twice as large.
pub(super) fn room(longest: u64) -> u32 {
    let most = SIZES[SIZES.len() - 1];
    SIZES.into_iter().find(|size| u64::from(*size) >= longest.saturating_mul(2)).unwrap_or(most)
}

/// Whether a fixed column is larger than usual, for a text that would not fit.
pub(super) fn is_widened(column: &str, bytes: u32) -> bool {
    fixed_size(column).is_some_and(|fixed| bytes > fixed)
}

/// The size of a text column: the fixed one where there is one and the longest text fits, else room for that text.
fn text_size(fixed: Option<u32>, longest: Option<u64>) -> u32 {
    match (fixed, longest) {
        (Some(fixed), Some(longest)) if longest > u64::from(fixed) => room(longest),
        (Some(fixed), _) => fixed,
        (None, Some(longest)) if longest > 0 => room(longest),
        (None, _) => UNSEEN,
    }
}

/// The type of a column in the warehouse.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ColumnKind {
    /// VARCHAR of this many bytes.
    Text {
        /// At most 65,535.
        bytes: u32,
    },
    /// BIGINT.
    BigInt,
    /// DECIMAL(18, scale).
    Decimal {
        /// The number of decimals.
        scale: u32,
    },
    /// BOOLEAN.
    Boolean,
    /// TIMESTAMP, in UTC.
    Timestamp,
    /// DATE.
    Date,
}

impl fmt::Display for ColumnKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColumnKind::Text { bytes } => write!(f, "VARCHAR({bytes})"),
            ColumnKind::BigInt => f.write_str("BIGINT"),
            ColumnKind::Decimal { scale } => write!(f, "DECIMAL(18,{scale})"),
            ColumnKind::Boolean => f.write_str("BOOLEAN"),
            ColumnKind::Timestamp => f.write_str("TIMESTAMP"),
            ColumnKind::Date => f.write_str("DATE"),
        }
    }
}

/// A column of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    /// Its name, with ASCII letters in lower case: Redshift folds quoted names too.
    pub name: String,
    /// Its type.
    pub kind: ColumnKind,
    /// Whether it is never NULL.
    pub is_required: bool,
    /// Whether a source or `etl.toml` adds it to the fixed columns.
    pub is_extra: bool,
}

/// A table of the layer, with the columns of its files in their order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    /// `fact_order`, the name of a side fact, `dim_user` or `dim_product`.
    pub name: &'static str,
    /// Its columns.
    pub columns: Vec<Column>,
}

/// The bytes of the longest text of each column that was measured.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct LongestTexts {
    by_column: BTreeMap<&'static str, BTreeMap<String, u64>>,
}

impl LongestTexts {
    /// Adds the columns of a table.
    pub fn add(&mut self, table: &'static str, columns: BTreeMap<String, u64>) {
        self.by_column.entry(table).or_default().extend(columns);
    }

    pub(super) fn of(&self, table: &str, column: &str) -> Option<u64> {
        self.by_column.get(table)?.get(column).copied()
    }
}

/// The type of a fixed column; `text` is that of texts.
fn kind_of(kind: FactType, text: ColumnKind) -> ColumnKind {
    match kind {
        FactType::Text => text,
        FactType::BigInt => ColumnKind::BigInt,
        FactType::Money => ColumnKind::Decimal { scale: MONEY_SCALE },
        FactType::Boolean => ColumnKind::Boolean,
        FactType::Timestamp => ColumnKind::Timestamp,
    }
}

impl Table {
    /// A side fact.
    pub fn side(fact: SideFact, longest: &LongestTexts) -> Table {
        let text = |column: &str| ColumnKind::Text { bytes: text_size(fixed_size(column), longest.of(fact.table(), column)) };
        let column = |(name, kind): &(&str, FactType)| Column {
            name: (*name).to_owned(),
            kind: kind_of(*kind, text(name)),
            is_required: required_of(fact).contains(name),
            is_extra: false,
        };
        Table { name: fact.table(), columns: fact.columns().iter().map(column).collect() }
    }

    /// `fact_order`.
    pub fn facts(schema: &FactSchema, longest: &LongestTexts) -> Table {
        let name = FACTS;
        let text = |column: &str, fixed| ColumnKind::Text { bytes: text_size(fixed, longest.of(name, column)) };
        let fixed = schema.fixed().map(|(column, kind)| Column {
            name: column.to_owned(),
            kind: kind_of(kind, text(column, fixed_size(column))),
            is_required: REQUIRED.contains(&column),
            is_extra: false,
        });
        let extra = schema.extra().iter().map(|column| {
            let folded = column.name.to_ascii_lowercase();
            let kind = match column.kind {
                ExtraType::Text => text(&folded, None),
                ExtraType::BigInt => ColumnKind::BigInt,
                ExtraType::Boolean => ColumnKind::Boolean,
                ExtraType::Timestamp => ColumnKind::Timestamp,
                ExtraType::Date => ColumnKind::Date,
                ExtraType::Decimal { scale } => ColumnKind::Decimal { scale },
            };
            Column { name: folded, kind, is_required: false, is_extra: true }
        });
        Table { name, columns: fixed.chain(extra).collect() }
    }

    /// A dimension whose file has these columns.
    fn dimension(spec: &DimensionSpec, header: &[String], longest: &LongestTexts) -> Table {
        let column = |name: &String| {
            let name = name.to_ascii_lowercase();
            let fixed = spec.columns.iter().find(|column| column.name == name);
            let flag = DimensionSpec::FLAGS.contains(&name.as_str());
            let kind = match (name.as_str(), fixed.map(|column| column.kind)) {
                ("inferred" | "is_current", _) => ColumnKind::Boolean,
                ("valid_from" | "valid_to", _) | (_, Some(ColumnType::Timestamp)) => ColumnKind::Timestamp,
                (_, Some(ColumnType::Money)) => ColumnKind::Decimal { scale: MONEY_SCALE },
                (column, fixed) => {
                    ColumnKind::Text { bytes: text_size(fixed.and_then(|_| fixed_size(column)), longest.of(spec.name, column)) }
                }
            };
            let is_required = name == spec.key() || name == "inferred";
            Column { kind, is_required, is_extra: fixed.is_none() && !flag, name }
        };
        Table { name: spec.name, columns: header.iter().map(column).collect() }
    }

    /// Whether a column of this name exists.
    pub(super) fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column.name == name)
    }

    /// The names of its columns.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// The names of its text columns.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().filter(|column| matches!(column.kind, ColumnKind::Text { .. })).map(|column| column.name.as_str())
    }

    /// The names of the text columns whose size depends on what is seen.
    pub fn extra_texts(&self) -> Vec<String> {
        let is_extra = |name: &&str| self.columns.iter().any(|column| column.name == **name && column.is_extra);
        self.texts().filter(is_extra).map(str::to_owned).collect()
    }
}

const MONEY_SCALE: u32 = Money::SCALE as u32;

/// A dimension, as it is stored or would be.
#[derive(Clone, Debug)]
pub struct Dimension {
    pub(super) spec: DimensionSpec,
    /// Its table.
    pub table: Table,
    /// Whether it has a file.
    pub is_stored: bool,
}

impl Dimension {
    /// Whether it keeps versions: a member then has more rows than one.
    pub(super) fn is_versioned(&self) -> bool {
        self.table.has("is_current")
    }
}

/// What the layer holds of a side fact that it has, or has had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SideContent {
    /// Some days have rows.
    Rows,
    /// No day has any: what the warehouse holds of it goes.
    Nothing,
}

/// A side fact that the layer has, or has had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SideTable {
    /// The fact.
    pub fact: SideFact,
    /// Its table.
    pub table: Table,
    pub(super) content: SideContent,
}

/// The tables of the side facts of a layer.
pub(super) fn side_tables(sides: &BTreeMap<SideFact, SideContent>, longest: &LongestTexts) -> Vec<SideTable> {
    sides.iter().map(|(&fact, &content)| SideTable { fact, table: Table::side(fact, longest), content }).collect()
}

/// The headers of the stored dimensions; `None` where a dimension has no file.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct DimensionHeaders {
    /// Of `dim_user`.
    pub users: Option<Vec<String>>,
    /// Of `dim_product`.
    pub products: Option<Vec<String>>,
}

/// Both dimensions.
pub(super) fn dimensions(headers: &DimensionHeaders, longest: &LongestTexts) -> [Dimension; 2] {
    [(DIM_USER, &headers.users), (DIM_PRODUCT, &headers.products)].map(|(spec, stored)| {
        let fixed = || spec.columns.iter().map(|column| column.name.to_owned()).chain(["inferred".to_owned()]).collect::<Vec<_>>();
        let header = stored.clone().unwrap_or_else(fixed);
        Dimension { table: Table::dimension(&spec, &header, longest), is_stored: stored.is_some(), spec }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_column_is_twice_as_large_as_the_longest_text_and_fixed_columns_keep_their_size() {
        let lengths = [None, Some(0), Some(11), Some(33), Some(40_000), Some(65_535)];
        let sizes = |column: &str| lengths.map(|longest| text_size(fixed_size(column), longest));
        assert_eq!(sizes("channel"), [256, 256, 64, 256, 65_535, 65_535]);
        assert_eq!(sizes("status"), [64, 64, 64, 64, 65_535, 65_535]);
        assert_eq!(sizes("order_id"), [256, 256, 256, 256, 65_535, 65_535]);
        assert_eq!(text_size(fixed_size("order_id"), Some(257)), 1024);
    }

    #[test]
    fn a_side_fact_has_the_types_of_the_layer_and_room_for_its_texts() {
        let mut longest = LongestTexts::default();
        longest.add("fact_refund", [("refund_id".to_owned(), 300)].into());
        let shown = |fact: SideFact| {
            let not_null = |column: &Column| if column.is_required { " NOT NULL" } else { "" };
            let columns = Table::side(fact, &longest).columns;
            columns.iter().map(|column| format!("{} {}{}", column.name, column.kind, not_null(column))).collect::<Vec<_>>()
        };
        assert_eq!(
            shown(SideFact::Refunds),
            [
                "refund_id VARCHAR(1024) NOT NULL",
                "order_id VARCHAR(256) NOT NULL",
                "sku VARCHAR(256)",
                "quantity DECIMAL(18,4)",
                "amount DECIMAL(18,4) NOT NULL",
                "currency VARCHAR(64)",
                "created_at TIMESTAMP NOT NULL",
            ]
        );
        assert_eq!(
            shown(SideFact::OrderTotals)[..3],
            ["order_id VARCHAR(256) NOT NULL", "currency VARCHAR(64)", "lines_total DECIMAL(18,4)"]
        );
    }
}
