//! The two dimensions: their columns, and where a source keeps them.

/// What a column of a dimension holds, and how it is brought to its canonical text.
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
    /// What it holds.
    pub kind: ColumnType,
    /// The source's columns that may hold it, in order. A nested value `a.b` is the column `a_b`.
    pub from: &'static [&'static str],
}

/// The bytes that the name of a column may have, as in Redshift.
pub const LONGEST_COLUMN_NAME: usize = 127;

/// A dimension.
#[derive(Clone, Copy, Debug)]
pub struct DimensionSpec {
    /// Its name.
    pub name: &'static str,
    /// What its source is called in settings and messages.
    pub source: &'static str,
    /// Its fixed columns, the key first (contract, Output). `inferred` follows them.
    pub columns: &'static [FixedColumn],
}

impl DimensionSpec {
    /// Columns that the dimension keeps for itself: the flag of a member that only facts name, and those of versions (`scd = 2`).
    pub const FLAGS: [&'static str; 4] = ["inferred", "valid_from", "valid_to", "is_current"];

    /// The place of its file beneath the output.
    pub fn file(&self) -> String {
        format!("dims/{0}/{0}.csv", self.name)
    }

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
