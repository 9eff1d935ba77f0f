//! Redshift: the tables, a full load, and what runs have changed, each as statements that may be printed or run.
//!
//! ```text
//! ddl     the tables
//! copy    stage ─▶ swap the content, all in one transaction
//! merge   stage what runs wrote ─▶ rows that left go ─▶ MERGE, all in one transaction
//! ```
//! The statements are of the SQL that Redshift shares with PostgreSQL, but for `COPY ... FROM 's3://...'` and the
//! distribution and sort keys of the tables.

mod ddl;
mod execute;
mod load;
mod look_up;

pub use ddl::ddl;
pub use execute::execute;
pub use load::{Changes, CopySource, copy, merge};
pub use look_up::{OrderQuery, look_up};

use crate::{
    model::{DIM_PRODUCT, DIM_USER, DimensionSpec, FactSchema},
    settings::RedshiftSettings,
};

/// What keeps the output from the warehouse.
#[derive(Debug, thiserror::Error)]
pub enum RedshiftError {
    /// Where the warehouse finds the output.
    #[error("where does the warehouse find the output? Say so in etl.toml:\n\n    [redshift]\n    url = \"s3://my-bucket/etl/output\"")]
    NoUrl,
    /// How the warehouse is reached.
    #[error("how is the warehouse reached? Set ETL_REDSHIFT_URL in the environment or .env: postgresql://user:password@host:5439/database")]
    NoConnection,
    /// What ETL_REDSHIFT_URL says. It is secret, and not shown.
    #[error("ETL_REDSHIFT_URL is not a connection URL: write postgresql://user:password@host:5439/database")]
    Connection,
    /// The warehouse was not reached.
    #[error("the warehouse was not reached: {0}")]
    Unreachable(String),
    /// A statement failed; nothing of its transaction stays.
    #[error("the warehouse refused, and nothing was changed there: {detail}\n\n    {statement}")]
    Refused {
        /// What it said.
        detail: String,
        /// The statement's beginning.
        statement: String,
    },
    /// A signal came.
    #[error("interrupted; nothing was changed in the warehouse")]
    Interrupted,
}

/// The tables as the output has them.
pub struct Tables<'a> {
    settings: &'a RedshiftSettings,
    schema: &'a FactSchema,
    /// The columns of the stored dimensions, where there are some.
    users: Option<Vec<String>>,
    products: Option<Vec<String>>,
}

impl<'a> Tables<'a> {
    /// The tables of an output with these columns; `users` and `products` are those of the stored dimensions, where there are some.
    pub fn new(
        settings: &'a RedshiftSettings,
        schema: &'a FactSchema,
        users: Option<Vec<String>>,
        products: Option<Vec<String>>,
    ) -> Tables<'a> {
        Tables { settings, schema, users, products }
    }

    fn dimensions(&self) -> [Dimension; 2] {
        [(DIM_USER, &self.users), (DIM_PRODUCT, &self.products)].map(|(spec, stored)| {
            let fixed = || spec.columns.iter().map(|column| column.name.to_owned()).chain(["inferred".to_owned()]).collect();
            Dimension { columns: stored.clone().unwrap_or_else(fixed), is_stored: stored.is_some(), spec }
        })
    }

    fn qualified(&self, name: &str) -> String {
        self.settings.schema.as_deref().map_or_else(|| identifier(name), |schema| format!("{}.{}", identifier(schema), identifier(name)))
    }
}

/// A dimension as it is stored.
struct Dimension {
    spec: DimensionSpec,
    columns: Vec<String>,
    is_stored: bool,
}

impl Dimension {
    /// Whether it keeps versions: a member then has more rows than one.
    fn is_versioned(&self) -> bool {
        self.columns.iter().any(|name| name == "is_current")
    }
}

/// A name as an SQL identifier: quoted unless it is plain. Redshift folds names to lower case, quoted ones as well unless told otherwise.
fn identifier(name: &str) -> String {
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Names as a list of identifiers.
fn identifiers<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    names.into_iter().map(identifier).collect::<Vec<_>>().join(", ")
}

/// A text as an SQL literal. Redshift, unlike PostgreSQL since 9.1, reads a backslash in it as an escape.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Statements as a script.
pub fn script(statements: &[String]) -> String {
    statements.iter().map(|statement| format!("{statement};\n")).collect()
}
