//! The two dimensions: their columns, and the names of those columns in a source.

/// The type of a column of a dimension, which decides the canonical text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ColumnType {
    /// An id: a text, or a whole number as text.
    Id,
    /// Trimmed text.
    Text,
    /// DECIMAL(18,4), with four decimals.
    Money,
    /// A UTC timestamp.
    Timestamp,
}

impl ColumnType {
    /// The type's name in SQL.
    pub fn sql(self) -> &'static str {
        match self {
            ColumnType::Id | ColumnType::Text => "VARCHAR",
            ColumnType::Money => "DECIMAL(18,4)",
            ColumnType::Timestamp => "TIMESTAMP",
        }
    }
}

/// A fixed column of a dimension.
#[derive(Clone, Copy, Debug)]
pub struct FixedColumn {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: ColumnType,
    /// The names that it may have in a source, in order. A nested value `a.b` is the column `a_b`.
    pub from: &'static [&'static str],
}

/// The bytes that the name of a column may have, as in Redshift.
pub const LONGEST_COLUMN_NAME: usize = 127;

/// A dimension.
#[derive(Clone, Copy, Debug)]
pub struct DimensionSpec {
    /// Its name.
    pub name: &'static str,
    /// The name of its source in settings and messages.
    pub source: &'static str,
    /// Its fixed columns, the key first (contract, Output). `inferred` follows them.
    pub columns: &'static [FixedColumn],
}

impl DimensionSpec {
    /// Columns that a source can't set: the flag of an inferred member, and the columns of versions (`scd = 2`).
    pub const FLAGS: [&'static str; 4] = ["inferred", "valid_from", "valid_to", "is_current"];

    /// The name of its key.
    pub fn key(&self) -> &'static str {
        self.columns[0].name
    }
}

const fn column(name: &'static str, kind: ColumnType, from: &'static [&'static str]) -> FixedColumn {
    FixedColumn { name, kind, from }
}

/// `dim_user`: `user_id, name, email, country, created_at, inferred`, then any extra columns of the source.
pub const DIM_USER: DimensionSpec = DimensionSpec {
    name: "dim_user",
    source: "users",
    columns: &[
        column("user_id", ColumnType::Id, &["user_id", "userId", "id"]),
        column("name", ColumnType::Text, &["name", "username"]),
        column("email", ColumnType::Text, &["email"]),
        column("country", ColumnType::Text, &["country", "country_code", "address_country"]),
        column("created_at", ColumnType::Timestamp, &["created_at", "date"]),
    ],
};

/// `dim_product`: `sku, product_id, name, category, list_price DECIMAL(18,4), inferred`, then any extra columns of the source.
pub const DIM_PRODUCT: DimensionSpec = DimensionSpec {
    name: "dim_product",
    source: "products",
    columns: &[
        column("sku", ColumnType::Id, &["sku", "product_id", "productId", "id"]),
        column("product_id", ColumnType::Id, &["product_id", "productId", "id"]),
        column("name", ColumnType::Text, &["name", "title"]),
        column("category", ColumnType::Text, &["category"]),
        column("list_price", ColumnType::Money, &["list_price", "price"]),
    ],
};
