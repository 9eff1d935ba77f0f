//! What each column means, with an example: the only place that says it. `docs/reference/output.md` is compared with it by a test.

use crate::{
    model::{ExtraType, Level, SHOP_COLUMN},
    settings::{ColumnValue, EnrichColumns, FactColumn},
    store::places::SideFact,
};

/// A column with its meaning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ColumnMeaning {
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
    /// A value as the files of the layer have it.
    pub(super) example: &'static str,
}

const fn column(name: &'static str, meaning: &'static str, example: &'static str) -> ColumnMeaning {
    ColumnMeaning { name, meaning, example }
}

/// `fact_order`.
pub(super) const FACT_ORDER: [ColumnMeaning; 15] = [
    column("order_id", "the order", "A-1020"),
    column("sku", "the product of the line; the key into `dim_product`", "MUG-01"),
    column("user_id", "the customer; the key into `dim_user`", "U9"),
    column("product_id", "the product's other id, as the line has it", "1"),
    column("status", "the order's status, as the source writes it", "paid"),
    column("currency", "the order's currency, as the source writes it", "EUR"),
    column("quantity", "pieces; negative for returns; DECIMAL(18,4) with `fact.quantity = \"decimal\"`", "2"),
    column("unit_price", "the price of one piece", "12.5000"),
    column("line_total", "`quantity` × `unit_price`, or the source's own total of the line", "25.0000"),
    column("price_defaulted", "true if the line has no price, and `unit_price` is therefore 0", "false"),
    column("user_country", "`country` of the user in `dim_user`", "DE"),
    column("product_name", "`name` of the product in `dim_product`", "Mug"),
    column("product_category", "`category` of the product in `dim_product`", "kitchen"),
    column("created_at", "when the order was created, UTC", "2026-01-31 10:00:00"),
    column("updated_at", "when this version of the order was made, UTC", "2026-01-31 12:30:00"),
];

/// `fact_order_total`.
pub(super) const FACT_ORDER_TOTAL: [ColumnMeaning; 12] = [
    column("order_id", "the order; the key", "A-1020"),
    column("currency", "the order's currency, as in `fact_order`", "EUR"),
    column("lines_total", "the sum of `line_total` of the rows that this version of the order brought", "25.0000"),
    column("discount_total", "what the source takes off the lines", "2.5000"),
    column("shipping_total", "shipping and other costs beside the lines", "4.9000"),
    column("tax_total", "tax beside the lines", "4.3700"),
    column("total", "the total of the order, as the source says it", "27.4000"),
    column("refunded_total", "what was paid back", "0.0000"),
    column("paid_total", "what was paid", "27.4000"),
    column("status", "the order's status, as in `fact_order`", "paid"),
    column("created_at", "when the order was created, UTC", "2026-01-31 10:00:00"),
    column("updated_at", "when this version of the order was made, UTC", "2026-01-31 12:30:00"),
];

/// `fact_refund`.
pub(super) const FACT_REFUND: [ColumnMeaning; 7] = [
    column("refund_id", "the refund", "R-77"),
    column("order_id", "its order, as in `fact_order`", "A-1020"),
    column("sku", "what was given back; NULL for what is in no line of the refund", "MUG-01"),
    column("quantity", "how many; NULL where the source does not say it", "2.5000"),
    column("amount", "the money that was given back, positive", "12.5000"),
    column("currency", "its currency, or else that of the order", "EUR"),
    column("created_at", "when it was given back, UTC", "2026-02-03 09:15:00"),
];

/// `dim_user`.
pub(super) const DIM_USER: [ColumnMeaning; 6] = [
    column("user_id", "the user; the key", "U9"),
    column("name", "the name", "Anna"),
    column("email", "the address", "anna@shop.example"),
    column("country", "the country", "DE"),
    column("created_at", "when the user was created, UTC", "2025-06-01 00:00:00"),
    column("inferred", "true if only orders name this user", "false"),
];

/// `dim_product`.
pub(super) const DIM_PRODUCT: [ColumnMeaning; 6] = [
    column("sku", "the product; the key", "MUG-01"),
    column("product_id", "the product's other id", "1"),
    column("name", "the name", "Mug"),
    column("category", "the category", "kitchen"),
    column("list_price", "the price in the catalog", "12.5000"),
    column("inferred", "true if only orders name this product", "false"),
];

/// The columns of `fact_order` that settings add.
pub(super) const OPTIONAL: [ColumnMeaning; 6] = [
    column("shop", "the shop that the order is from, as `[[shops]]` names it", "de"),
    column("local_date", "the date of `created_at` in the zone of `fact.time_zone`", "2026-01-31"),
    column("discount_total", "what was taken off the line, as a positive amount", "2.5000"),
    column("tax_total", "the tax on the line", "4.3700"),
    column("refunded_quantity", "pieces that came back", "0.0000"),
    column("refunded_total", "what was given back for the line", "0.0000"),
];

/// The columns of a dimension that keeps versions.
pub(super) const VERSIONS: [ColumnMeaning; 3] = [
    column("valid_from", "the beginning of this version; NULL for the first one", "2026-01-31 10:00:00"),
    column("valid_to", "its end, which is the beginning of the next version; NULL for the current one", "2026-02-14 08:00:00"),
    column("is_current", "true for one row of each key", "true"),
];

/// What a column is documented by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Explained {
    pub(super) meaning: String,
    /// `None` where no value would be typical.
    pub(super) example: Option<String>,
}

impl From<&ColumnMeaning> for Explained {
    fn from(column: &ColumnMeaning) -> Explained {
        Explained { meaning: column.meaning.to_owned(), example: Some(column.example.to_owned()) }
    }
}

fn named(columns: &[ColumnMeaning], name: &str) -> Option<Explained> {
    columns.iter().find(|column| column.name == name).map(Explained::from)
}

/// A fixed column of `fact_order`, whose enriched columns come from these columns of the dimensions.
pub(super) fn of_fact(name: &str, enrich: &EnrichColumns) -> Option<Explained> {
    let from = match name {
        "user_country" => Some((&enrich.user_country, "user", "dim_user")),
        "product_name" => Some((&enrich.product_name, "product", "dim_product")),
        "product_category" => Some((&enrich.product_category, "product", "dim_product")),
        _ => None,
    };
    let mut explained = named(&FACT_ORDER, name)?;
    if let Some((column, member, dimension)) = from {
        explained.meaning = format!("`{column}` of the {member} in `{dimension}`");
    }
    Some(explained)
}

/// A column of a side fact.
pub(super) fn of_side(fact: SideFact, name: &str) -> Option<Explained> {
    match fact {
        SideFact::OrderTotals => named(&FACT_ORDER_TOTAL, name),
        SideFact::Refunds => named(&FACT_REFUND, name),
    }
}

/// A column of `fact_order` that settings add.
pub(super) fn of_extra(column: &FactColumn) -> Explained {
    let is_added = match column.value {
        ColumnValue::Sum | ColumnValue::LocalDate(_) => true,
        ColumnValue::First => column.name == SHOP_COLUMN && column.rule.paths.is_empty(),
    };
    match named(&OPTIONAL, &column.name) {
        Some(explained) if is_added => explained,
        _ => Explained { meaning: found_at(column), example: example_of(column.kind) },
    }
}

/// Where the source has the value of a column of `[[fact.columns]]`.
fn found_at(column: &FactColumn) -> String {
    let paths: Vec<_> = column.rule.paths.iter().map(|path| format!("`{path}`")).collect();
    let place = match column.level {
        Level::Record => "order",
        Level::Line => "line",
    };
    format!("{} of the {place} in the source", paths.join(", else "))
}

/// A typical value of a type; of a text there is none.
fn example_of(kind: ExtraType) -> Option<String> {
    let example = match kind {
        ExtraType::Text => return None,
        ExtraType::BigInt => "2",
        ExtraType::Boolean => "true",
        ExtraType::Timestamp => "2026-01-31 10:00:00",
        ExtraType::Date => "2026-01-31",
        ExtraType::Decimal { scale } => {
            let zeros = "0".repeat(usize::try_from(scale).unwrap_or_default());
            return Some(if zeros.is_empty() { "0".to_owned() } else { format!("0.{zeros}") });
        }
    };
    Some(example.to_owned())
}

/// A column of a dimension.
pub(super) fn of_dimension(dimension: &str, name: &str) -> Explained {
    let fixed: &[ColumnMeaning] = if dimension == crate::model::DIM_USER.name { &DIM_USER } else { &DIM_PRODUCT };
    let extra = || Explained { meaning: "an extra column of the source".to_owned(), example: None };
    named(fixed, name).or_else(|| named(&VERSIONS, name)).unwrap_or_else(extra)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{self, DimensionSpec, FACT_COLUMNS, LOCAL_DATE_COLUMN, ORDER_TOTAL_COLUMNS, REFUND_COLUMNS};

    fn names(columns: &[ColumnMeaning]) -> Vec<&'static str> {
        columns.iter().map(|column| column.name).collect()
    }

    #[test]
    fn every_column_has_a_meaning_in_the_order_of_the_layer() {
        assert_eq!(names(&FACT_ORDER), FACT_COLUMNS.map(|(name, _)| name));
        assert_eq!(names(&FACT_ORDER_TOTAL), ORDER_TOTAL_COLUMNS.map(|(name, _)| name));
        assert_eq!(names(&FACT_REFUND), REFUND_COLUMNS.map(|(name, _)| name));
        for (spec, meanings) in [(model::DIM_USER, &DIM_USER), (model::DIM_PRODUCT, &DIM_PRODUCT)] {
            let fixed: Vec<_> = spec.columns.iter().map(|column| column.name).chain(["inferred"]).collect();
            assert_eq!(names(meanings), fixed);
        }
        assert_eq!([&["inferred"][..], &names(&VERSIONS)[..]].concat(), DimensionSpec::FLAGS);
        assert_eq!(names(&OPTIONAL)[..2], [SHOP_COLUMN, LOCAL_DATE_COLUMN]);
    }
}
