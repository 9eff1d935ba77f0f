//! What keeps the output from the warehouse. `run::RunError` maps each to its exit code.

use std::time::Duration;

use super::Difference;
use crate::{
    cancel::Stop,
    model::{counted, shell_word, span_text},
};

/// What keeps the output from the warehouse.
#[derive(Debug, thiserror::Error)]
pub enum RedshiftError {
    /// The location of the output for the warehouse is not configured.
    #[error("where does the warehouse find the output? Say so in etl.toml:\n\n    [redshift]\n    url = \"s3://my-bucket/etl/output\"")]
    NoUrl,
    /// The connection is not configured.
    #[error("how is the warehouse reached? Set ETL_REDSHIFT_URL in the environment or .env: postgresql://user:password@host:5439/database")]
    NoConnection,
    /// `ETL_REDSHIFT_URL` can't be parsed. It is secret, and not shown.
    #[error("ETL_REDSHIFT_URL is not a connection URL: write postgresql://user:password@host:5439/database")]
    Connection,
    /// A parameter of `ETL_REDSHIFT_URL` that has a setting of its own.
    #[error("ETL_REDSHIFT_URL: `{parameter}` is not supported: {instead}")]
    ConnectionParameter {
        /// Its name.
        parameter: String,
        /// What to write instead.
        instead: &'static str,
    },
    /// A name that the warehouse does not accept.
    #[error("`{setting}`: `{name}` is not a name: Redshift accepts names of 1 to {}", counted(crate::model::LONGEST_COLUMN_NAME as u64, "byte"))]
    Name {
        /// The key in `etl.toml`.
        setting: &'static str,
        /// The name, shortened.
        name: String,
    },
    /// The command of `ETL_REDSHIFT_PASSWORD_COMMAND` gave no password.
    #[error("ETL_REDSHIFT_PASSWORD_COMMAND: {0}")]
    PasswordCommand(String),
    /// The warehouse was not reached.
    #[error("the warehouse was not reached: {0}")]
    Unreachable(String),
    /// The warehouse did not accept the connection in time.
    #[error(
        "the warehouse was not reached: no session within {}. Is its port open to this machine? `redshift.connect_timeout` sets the time",
        span_text(*.0)
    )]
    ConnectTimeout(Duration),
    /// A statement took too long; nothing of its transaction stays.
    #[error(
        "the warehouse did not finish a statement within {}, and nothing was changed there. `redshift.statement_timeout` sets the time\n\n    {statement}",
        span_text(*after)
    )]
    StatementTimeout {
        /// The time that it had.
        after: Duration,
        /// The statement's beginning.
        statement: String,
    },
    /// A statement failed; nothing of its transaction stays.
    #[error("the warehouse refused, and nothing was changed there: {detail}\n\n    {statement}")]
    Refused {
        /// The server's words.
        detail: String,
        /// The statement's beginning.
        statement: String,
    },
    /// The connection broke before COMMIT was sent.
    #[error("the connection to the warehouse broke before COMMIT, and nothing was changed there: {detail}\n\n    {statement}")]
    Broken {
        /// Why.
        detail: String,
        /// The statement's beginning.
        statement: String,
    },
    /// The connection broke while COMMIT was in flight.
    #[error(
        "the connection to the warehouse broke after COMMIT was sent: the outcome is unknown. `etl redshift verify` finds out whether the tables were loaded ({0})"
    )]
    CommitUnknown(String),
    /// A table that does not exist.
    #[error(
        "the table {0} does not exist in the warehouse: `etl redshift ddl --execute` creates it. It is looked for in `redshift.schema`, else in the first schema of the search path"
    )]
    MissingTable(String),
    /// An output without partitions. A load of it would empty the warehouse.
    #[error(
        "{0} holds no partition, so there is nothing to load or compare. Name the output of your runs: --output DIR. Or load orders first: etl run --orders LOCATION --output {word}",
        word = shell_word(.0)
    )]
    EmptyLayer(String),
    /// A text that is longer than its column.
    #[error("a text does not fit, and nothing was loaded: {table}.{column} is VARCHAR({limit}), and the longest text has {}: `{example}`\n\n{}", counted(*longest, "byte"), widen(.table, .column, *.longest))]
    TextTooLong {
        /// The table, as SQL names it.
        table: String,
        /// The column, as SQL names it.
        column: String,
        /// The bytes that the column takes.
        limit: u64,
        /// The bytes of the longest text.
        longest: u64,
        /// Its beginning.
        example: String,
    },
    /// A file of the layer that does not read as it should.
    #[error("the layer does not read as it should, while {doing}: {detail}")]
    Layer {
        /// What was read.
        doing: String,
        /// DuckDB's words.
        detail: String,
    },
    /// The warehouse differs from the layer.
    #[error("the warehouse differs from the layer: {0}. `etl redshift verify --repair` loads what differs")]
    Different(Box<Difference>),
    /// A signal came.
    #[error("interrupted; nothing was changed in the warehouse")]
    Interrupted(Stop),
}

fn widen(table: &str, column: &str, longest: u64) -> String {
    let size = super::columns::room(longest);
    format!(
        "    Widen the column and load again: ALTER TABLE {table} ALTER COLUMN {column} TYPE VARCHAR({size})\n    Redshift does not widen columns of keys: create the table again with `etl redshift ddl`."
    )
}
