//! Why there are no statements. All of these are mistakes of the request (exit 2).

use super::Engine;
use crate::model::counted;

/// Why there are no statements.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DdlError {
    /// A location that can't be written into a statement.
    #[error("--location: `{0}`: write s3://bucket/prefix or another URL, or the path of a folder, without control characters")]
    Location(String),
    /// The engine reads only buckets of AWS.
    #[error("{} reads s3:// only, and the output is `{location}`: pass --location s3://bucket/prefix, where the output is copied to", engine_name(*.engine))]
    NotS3 {
        /// The engine.
        engine: Engine,
        /// Where the output is.
        location: String,
    },
    /// A location that the engine takes for a pattern.
    #[error("Spark takes * ? [ ] {{ }} \\ in a path for a pattern, and the output is `{0}`: move the output, or pass --location")]
    Pattern(String),
    /// A schema that is not a name.
    #[error("--schema: `{0}` is not a name")]
    Schema(String),
    /// The name of a column that is too long.
    #[error("column `{name}`: the name has more than {}", counted(*most as u64, "byte"))]
    Column {
        /// The name, shortened.
        name: String,
        /// What is accepted.
        most: usize,
    },
    /// The columns can't be described for another reason.
    #[error("{0}")]
    Columns(String),
}

fn engine_name(engine: Engine) -> &'static str {
    match engine {
        Engine::Duckdb => "DuckDB",
        Engine::Athena => "Athena",
        Engine::Glue => "Glue",
        Engine::Spark => "Spark",
        Engine::Postgres => "PostgreSQL",
    }
}
