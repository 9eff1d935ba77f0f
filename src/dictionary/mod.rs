//! The data dictionary: the tables of the layer, with type, nullability, meaning and an example of each column; and the texts in which
//! other tools read it. Columns and types are those of `warehouse::redshift`.
//!
//! Nothing is opened: who asks says which columns there are. The statements that create tables are `warehouse`'s.

mod dbml;
mod dbt;
mod markdown;
mod meaning;
mod odcs;
mod yaml;

pub use dbml::dbml;
pub use dbt::dbt;
pub use markdown::markdown;
pub use odcs::odcs;

use meaning::Explained;

use crate::{
    model::{DIM_PRODUCT, DIM_USER, DimensionSpec, ExtraType, LayerIds},
    settings::{RedshiftSettings, Settings},
    store::places::SideFact,
    warehouse::redshift::{self, ColumnKind, Dimension, DimensionHeaders, LongestTexts, RedshiftError, Tables},
};

/// The name of the facts.
const FACT_ORDER: &str = "fact_order";

/// The columns that hold an id before which the name of a shop stands, in a layer of several shops.
const IDS_OF_SHOPS: [&str; 3] = ["order_id", "user_id", "refund_id"];

/// The columns of which that holds for shops with skus of their own.
const SKUS_OF_SHOPS: [&str; 2] = ["sku", "product_id"];

/// The tables of a layer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dictionary {
    /// The schema of the tables in the warehouse, where one is named.
    schema: Option<String>,
    /// The facts, then the dimensions.
    tables: Vec<DocumentedTable>,
}

/// A table.
#[derive(Clone, PartialEq, Eq, Debug)]
struct DocumentedTable {
    name: &'static str,
    meaning: String,
    key: Key,
    columns: Vec<DocumentedColumn>,
    lines: Option<LineReference>,
}

/// Columns that together name a row of `fact_order`, where none of them is NULL. They have the same names there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct LineReference {
    order_id: &'static str,
    sku: &'static str,
}

/// What tells the rows of a table apart.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Key {
    /// One row for each value of this column.
    Column(&'static str),
    /// One row for each pair of these columns.
    Pair(&'static str, &'static str),
    /// One row for each combination of these columns, of which the last may be NULL.
    LastNullable(&'static [&'static str]),
    /// One current row for each value of this column, and earlier versions.
    Current(&'static str),
}

impl Key {
    /// The columns of a primary key. Versions have none: the first one has no beginning. None of them may be NULL.
    fn columns(&self) -> Vec<&'static str> {
        match *self {
            Key::Column(column) => vec![column],
            Key::Pair(first, second) => vec![first, second],
            Key::LastNullable(_) | Key::Current(_) => Vec::new(),
        }
    }
}

/// A column.
#[derive(Clone, PartialEq, Eq, Debug)]
struct DocumentedColumn {
    name: String,
    kind: ExtraType,
    nullability: Nullability,
    meaning: String,
    /// A value as the files have it; `None` where no value would be typical.
    example: Option<String>,
    reference: Option<Reference>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Nullability {
    NeverNull,
    Nullable,
}

impl Nullability {
    fn of_required(column: &redshift::Column) -> Nullability {
        if column.is_required { Nullability::NeverNull } else { Nullability::Nullable }
    }
}

/// Where each value of a column, unless it is NULL, stands in another table too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Reference {
    table: &'static str,
    column: &'static str,
    cardinality: Cardinality,
}

/// How many rows of the one table belong to how many of the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cardinality {
    ManyToOne,
    OneToMany,
    /// The other table keeps versions.
    ManyToMany,
}

impl Dictionary {
    /// The tables that these settings make, with the stored columns of the dimensions. `sides` are the facts beside the lines.
    ///
    /// # Errors
    /// [`RedshiftError::Name`]: the name of a column that no warehouse accepts.
    pub fn new(settings: &Settings, headers: &DimensionHeaders, sides: &[SideFact]) -> Result<Dictionary, RedshiftError> {
        let plain = RedshiftSettings::default();
        let headers = DimensionHeaders {
            users: headers.users.clone().or_else(|| settings.versioned_users.then(|| with_versions(&DIM_USER))),
            products: headers.products.clone().or_else(|| settings.versioned_products.then(|| with_versions(&DIM_PRODUCT))),
        };
        let stored = Tables::new(&plain, &settings.schema(), &headers, &LongestTexts::default())?;
        let mut tables = vec![fact_order(settings, &stored)];
        tables.extend(sides.iter().map(|fact| side_fact(*fact)));
        tables.extend(stored.dimensions.iter().map(dimension));
        if settings.schema().ids() == LayerIds::OfShops {
            name_shop(&mut tables);
        }
        Ok(Dictionary { schema: None, tables })
    }

    /// The same tables, in this schema of the warehouse.
    #[must_use]
    pub fn in_schema(self, schema: Option<String>) -> Dictionary {
        Dictionary { schema, ..self }
    }
}

/// The columns of a dimension that will keep versions.
fn with_versions(spec: &DimensionSpec) -> Vec<String> {
    let fixed = spec.columns.iter().map(|column| column.name);
    fixed.chain(DimensionSpec::FLAGS).map(str::to_owned).collect()
}

fn fact_order(settings: &Settings, stored: &Tables<'_>) -> DocumentedTable {
    let columns = stored.facts.columns.iter().map(|column| {
        let extra = || settings.fact_columns.iter().find(|extra| extra.name.eq_ignore_ascii_case(&column.name));
        let explained = if column.is_extra { extra().map(meaning::of_extra) } else { meaning::of_fact(&column.name, &settings.enrich) };
        let reference = match column.name.as_str() {
            "user_id" => Some(to_dimension(&DIM_USER, stored)),
            "sku" => Some(to_dimension(&DIM_PRODUCT, stored)),
            _ => None,
        };
        documented(column, explained, reference)
    });
    DocumentedTable {
        name: FACT_ORDER,
        meaning:
            "One row for each line of an order, by order_id and sku. Its files lie in folders dt=YYYY-MM-DD, the UTC date of created_at."
                .to_owned(),
        key: Key::Pair("order_id", "sku"),
        columns: columns.collect(),
        lines: None,
    }
}

fn to_dimension(spec: &DimensionSpec, stored: &Tables<'_>) -> Reference {
    let is_versioned = stored.dimensions.iter().any(|dimension| dimension.table.name == spec.name && is_versioned(dimension));
    let cardinality = if is_versioned { Cardinality::ManyToMany } else { Cardinality::ManyToOne };
    Reference { table: spec.name, column: spec.key(), cardinality }
}

/// Whether a member has more rows than one.
fn is_versioned(dimension: &Dimension) -> bool {
    dimension.table.columns.iter().any(|column| column.name == "is_current")
}

fn documented(column: &redshift::Column, explained: Option<Explained>, reference: Option<Reference>) -> DocumentedColumn {
    let Explained { meaning, example } = explained.unwrap_or(Explained { meaning: String::new(), example: None });
    let kind = match column.kind {
        ColumnKind::Text { .. } => ExtraType::Text,
        ColumnKind::BigInt => ExtraType::BigInt,
        ColumnKind::Decimal { scale } => ExtraType::Decimal { scale },
        ColumnKind::Boolean => ExtraType::Boolean,
        ColumnKind::Timestamp => ExtraType::Timestamp,
        ColumnKind::Date => ExtraType::Date,
    };
    // Pieces with decimals have them in the files, too.
    let example = match (column.name.as_str(), kind) {
        ("quantity", ExtraType::Decimal { .. }) => Some("2.5000".to_owned()),
        _ => example,
    };
    DocumentedColumn { name: column.name.clone(), kind, nullability: Nullability::of_required(column), meaning, example, reference }
}

fn side_fact(fact: SideFact) -> DocumentedTable {
    let stored = redshift::Table::side(fact, &LongestTexts::default());
    // An order has several lines, and may have several refunds.
    let (key, cardinality, meaning) = match fact {
        SideFact::OrderTotals => {
            (Key::Column("order_id"), Cardinality::OneToMany, "One row for each order, with the totals that the source says.")
        }
        SideFact::Refunds => (
            Key::LastNullable(&["refund_id", "order_id", "sku"]),
            Cardinality::ManyToMany,
            "One row for each refund and sku of an order, by the day of the refund. order_id and sku name the line in fact_order that was given back.",
        ),
    };
    let lines = Reference { table: FACT_ORDER, column: "order_id", cardinality };
    let columns = stored.columns.iter().map(|column| {
        let reference = (column.name == "order_id").then_some(lines);
        documented(column, meaning::of_side(fact, &column.name), reference)
    });
    DocumentedTable {
        name: stored.name,
        meaning: meaning.to_owned(),
        key,
        columns: columns.collect(),
        lines: (fact == SideFact::Refunds).then_some(LineReference { order_id: "order_id", sku: "sku" }),
    }
}

fn dimension(stored: &Dimension) -> DocumentedTable {
    let table = &stored.table;
    let (member, spec) = if table.name == DIM_USER.name { ("user", DIM_USER) } else { ("product", DIM_PRODUCT) };
    let columns = table.columns.iter().map(|column| documented(column, Some(meaning::of_dimension(spec.name, &column.name)), None));
    let versions = if is_versioned(stored) { ", with its versions (slowly changing dimension, type 2)" } else { "" };
    DocumentedTable {
        name: table.name,
        meaning: format!("One row for each {member}{versions}. A {member} that only orders name has inferred = true."),
        key: if is_versioned(stored) { Key::Current(spec.key()) } else { Key::Column(spec.key()) },
        columns: columns.collect(),
        lines: None,
    }
}

/// In a layer of several shops, the name of the shop stands before ids.
fn name_shop(tables: &mut [DocumentedTable]) {
    for column in tables.iter_mut().flat_map(|table| &mut table.columns) {
        if IDS_OF_SHOPS.contains(&column.name.as_str()) {
            column.meaning += "; the name of its shop stands before it";
            column.example = column.example.take().map(|example| format!("de:{example}"));
        } else if SKUS_OF_SHOPS.contains(&column.name.as_str()) {
            column.meaning += "; the name of its shop stands before it if that shop has own_skus";
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A layer whose users keep versions and have a column with a hostile name.
    pub(super) fn hostile(sides: &[SideFact]) -> Dictionary {
        let names = ["user_id", "inferred", "a\"b|c'd\\`: #\nx", "is_current"];
        let headers = DimensionHeaders { users: Some(names.map(str::to_owned).to_vec()), products: None };
        Dictionary::new(&Settings::plain(std::path::PathBuf::from("output")), &headers, sides).unwrap().in_schema(Some("shop".into()))
    }

    #[test]
    fn every_column_is_explained_and_side_facts_are_there_if_they_are_mapped() {
        let names = |dictionary: &Dictionary| dictionary.tables.iter().map(|table| table.name).collect::<Vec<_>>();
        assert_eq!(names(&hostile(&[])), ["fact_order", "dim_user", "dim_product"]);
        assert_eq!(names(&hostile(&[SideFact::Refunds])), ["fact_order", "fact_refund", "dim_user", "dim_product"]);
        let dictionary = hostile(&SideFact::ALL);
        assert_eq!(names(&dictionary), ["fact_order", "fact_order_total", "fact_refund", "dim_user", "dim_product"]);
        let mut columns = dictionary.tables.iter().flat_map(|table| &table.columns);
        assert!(columns.all(|column| !column.meaning.is_empty()));
    }

    #[test]
    fn a_dimension_with_versions_has_no_unique_column() {
        let dictionary = hostile(&[]);
        let keys: Vec<_> = dictionary.tables.iter().map(|table| table.key.columns()).collect();
        assert_eq!(keys, [&["order_id", "sku"][..], &[], &["sku"]]);
        let references = dictionary.tables[0].columns.iter().filter_map(|column| column.reference);
        let cardinalities: Vec<_> = references.map(|reference| (reference.column, reference.cardinality)).collect();
        assert_eq!(cardinalities, [("sku", Cardinality::ManyToOne), ("user_id", Cardinality::ManyToMany)]);
    }
}
