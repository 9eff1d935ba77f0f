//! The extra columns that a user adds to `fact_order`, after the fixed ones.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Dt, FactType, QuantityType, UtcMicros, decimal, fact::FACT_COLUMNS, parse_time_of_layer};

/// The type of an extra column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExtraType {
    /// UTF-8 text.
    Text,
    /// A 64-bit integer.
    BigInt,
    /// `true` or `false`.
    Boolean,
    /// A UTC instant with microsecond precision.
    Timestamp,
    /// A day of the calendar.
    Date,
    /// DECIMAL(18, scale).
    Decimal {
        /// The number of decimals, at most 18.
        scale: u32,
    },
}

impl fmt::Display for ExtraType {
    /// The type's name in SQL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExtraType::Text => f.write_str("VARCHAR"),
            ExtraType::BigInt => f.write_str("BIGINT"),
            ExtraType::Boolean => f.write_str("BOOLEAN"),
            ExtraType::Timestamp => f.write_str("TIMESTAMP"),
            ExtraType::Date => f.write_str("DATE"),
            ExtraType::Decimal { scale } => write!(f, "DECIMAL(18,{scale})"),
        }
    }
}

impl ExtraType {
    /// The text of a value in the layer; `None` if it is not a valid value of this type. Decimals are rounded half to even.
    pub fn canonical(self, text: Cow<'_, str>) -> Option<Cow<'_, str>> {
        match self {
            ExtraType::Text => Some(text),
            ExtraType::BigInt => decimal::parse_whole(text.as_bytes()).map(|whole| Cow::Owned(whole.to_string())),
            ExtraType::Boolean => match text.to_ascii_lowercase().as_str() {
                "true" | "1" => Some(Cow::Borrowed("true")),
                "false" | "0" => Some(Cow::Borrowed("false")),
                _ => None,
            },
            ExtraType::Timestamp => parse_time_of_layer(&text).map(|time| Cow::Owned(time.to_canonical())),
            ExtraType::Date => {
                let date = text.trim().parse::<Dt>().ok().or_else(|| parse_time_of_layer(&text).map(Dt::of));
                date.map(|date| Cow::Owned(date.to_string()))
            }
            ExtraType::Decimal { scale } => decimal::canonical_decimal(text.as_bytes(), scale).map(Cow::Owned),
        }
    }

    /// Whether a stored text is canonical (see [`ExtraType::canonical`]).
    pub fn is_canonical(self, text: &str) -> bool {
        let canonical = match self {
            // Timestamps have another form in the layer than in sources.
            ExtraType::Timestamp => UtcMicros::from_canonical(text.as_bytes()).map(|time| Cow::Owned(time.to_canonical())),
            _ => self.canonical(Cow::Borrowed(text)),
        };
        canonical.is_some_and(|canonical| canonical == text)
    }
}

/// An extra column.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExtraColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: ExtraType,
}

/// The first extra column of a layer of several shops: the name of the shop.
pub const SHOP_COLUMN: &str = "shop";

/// The extra column of the date of `created_at` in a time zone.
pub const LOCAL_DATE_COLUMN: &str = "local_date";

/// Which ids the orders and customers of a layer have.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerIds {
    /// Those of their only source.
    #[default]
    OfOneSource,
    /// Those of several shops: the name of the shop stands before each.
    OfShops,
}

/// The columns of `fact_order`: the fixed columns of the contract, then the extra columns. Clones share them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct FactSchema {
    extra: Arc<[ExtraColumn]>,
    quantity: QuantityType,
    ids: LayerIds,
    /// The zone of the column [`LOCAL_DATE_COLUMN`]; `None` where there is no such column.
    time_zone: Option<chrono_tz::Tz>,
}

impl FactSchema {
    /// The fixed columns and these extra columns.
    pub fn new(extra: Vec<ExtraColumn>) -> FactSchema {
        FactSchema { extra: extra.into(), ..FactSchema::default() }
    }

    /// The same columns, with quantities of this type.
    #[must_use]
    pub fn with_quantity(self, quantity: QuantityType) -> FactSchema {
        FactSchema { quantity, ..self }
    }

    /// The same columns, of a layer with such ids.
    #[must_use]
    pub fn with_ids(self, ids: LayerIds) -> FactSchema {
        FactSchema { ids, ..self }
    }

    /// The same columns, with the dates of this zone.
    #[must_use]
    pub fn with_time_zone(self, time_zone: Option<chrono_tz::Tz>) -> FactSchema {
        FactSchema { time_zone, ..self }
    }

    /// The zone of local dates; `None` where the layer has none.
    pub fn time_zone(&self) -> Option<chrono_tz::Tz> {
        self.time_zone
    }

    /// Which ids the orders of the layer have.
    pub fn ids(&self) -> LayerIds {
        self.ids
    }

    /// The type of quantities.
    pub fn quantity(&self) -> QuantityType {
        self.quantity
    }

    /// Name and type of the fixed columns.
    pub fn fixed(&self) -> impl Iterator<Item = (&'static str, FactType)> {
        let quantity = self.quantity.column();
        FACT_COLUMNS.iter().map(move |&(name, kind)| (name, if name == "quantity" { quantity } else { kind }))
    }

    /// The extra columns, in their order.
    pub fn extra(&self) -> &[ExtraColumn] {
        &self.extra
    }

    /// Name and SQL type of every column.
    pub fn columns(&self) -> impl Iterator<Item = (&str, String)> {
        let fixed = self.fixed().map(|(name, kind)| (name, kind.sql().to_owned()));
        fixed.chain(self.extra.iter().map(|column| (column.name.as_str(), column.kind.to_string())))
    }

    /// The names of all columns.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        FACT_COLUMNS.iter().map(|(name, _)| *name).chain(self.extra.iter().map(|column| column.name.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_one_text_in_the_layer() {
        let canonical = |kind: ExtraType, text: &'static str| kind.canonical(Cow::Borrowed(text)).map(Cow::into_owned);
        let decimal = |scale| ExtraType::Decimal { scale };
        for (kind, text, expected) in [
            (ExtraType::Text, "a", Some("a")),
            (ExtraType::BigInt, "2.0", Some("2")),
            (ExtraType::BigInt, "2.5", None),
            (ExtraType::Boolean, "TRUE", Some("true")),
            (ExtraType::Boolean, "yes", None),
            (ExtraType::Timestamp, "2026-01-31T01:00:00+01:00", Some("2026-01-31 00:00:00")),
            (ExtraType::Timestamp, "0", None),
            (ExtraType::Timestamp, "1700000000", Some("2023-11-14 22:13:20")),
            (ExtraType::Date, "2026-01-31", Some("2026-01-31")),
            (ExtraType::Date, "2026-01-31T23:30:00-05:00", Some("2026-02-01")),
            (ExtraType::Date, "2026-02-30", None),
            (decimal(2), "-1.005", Some("-1.00")),
            (decimal(2), "-0.001", Some("0.00")),
            (decimal(0), "7.5", Some("8")),
            (decimal(18), "0.1", Some("0.100000000000000000")),
            (decimal(2), "10000000000000000", None),
            (decimal(2), "x", None),
        ] {
            let found = canonical(kind, text);
            assert_eq!(found.as_deref(), expected, "{kind} {text}");
            assert!(found.is_none_or(|found| kind.is_canonical(&found)), "{kind} {text}");
        }
        assert!(!decimal(2).is_canonical("1.5") && !ExtraType::Timestamp.is_canonical("2026-01-31T00:00:00Z"));
        assert!(!ExtraType::Date.is_canonical("2026-01-31 00:00:00") && !ExtraType::Date.is_canonical(" 2026-01-31"));
    }
}
