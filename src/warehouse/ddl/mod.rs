//! The statements that make the layer readable as tables in other engines: DuckDB, Athena, Glue, Spark and PostgreSQL.
//! One file an engine. Columns and types are those of `warehouse::redshift`; Redshift itself is not here.
//!
//! Nothing is opened: who asks says which columns, partitions and files there are. No engine guesses a type, a column or a
//! quoting rule: each statement says all of them.

mod athena;
mod duckdb;
mod error;
mod glue;
mod hive;
mod location;
mod postgres;
mod quote;
mod script;
mod spark;

use std::collections::{BTreeMap, BTreeSet};

pub use error::DdlError;
pub use location::LayerLocation;

use super::redshift::{ColumnKind, DimensionHeaders, LongestTexts, RedshiftError, Table, Tables};
use crate::{
    model::{DIM_PRODUCT, DIM_USER, Dt, FactSchema, FileFormat},
    settings::{BucketScheme, OutputLocation, RedshiftSettings},
    store::places::{self, SideFact},
};

/// The column of the partition. It stands in the names of folders, and in no file.
const DT: &str = "dt";

/// What reads the layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum Engine {
    /// DuckDB: views.
    Duckdb,
    /// Amazon Athena: external tables, and views that give texts their types.
    Athena,
    /// The Glue Data Catalog: commands of the AWS CLI.
    Glue,
    /// Spark SQL: tables over files.
    Spark,
    /// PostgreSQL: tables, and how they are loaded.
    Postgres,
}

/// Where the tables are made, and where their engine finds the files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The schema or database of the tables.
    pub schema: Option<String>,
    /// The output, as the engine sees it.
    pub location: LayerLocation,
    /// The server of the output, if it speaks the protocol of S3 and is not Amazon's.
    pub server: Option<S3Server>,
    /// The format of the files of `fact_order`. All others are CSV.
    pub format: FileFormat,
}

/// A server that speaks the protocol of S3, as an engine finds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct S3Server {
    /// Its host, its port if that is not the one of its scheme, and its path if it has one.
    pub address: String,
    /// Whether it speaks TLS.
    pub has_tls: bool,
    /// Whether the bucket stands in the path of a URL, and not in the name of the host.
    pub path_style: bool,
}

impl S3Server {
    /// That of an output; `None` for a folder, for a bucket of Amazon, and for another vendor's protocol.
    pub fn of(output: &OutputLocation) -> Option<S3Server> {
        let OutputLocation::Bucket(storage) = output else { return None };
        let endpoint = storage.endpoint.as_ref().filter(|_| storage.location.scheme == BucketScheme::S3)?;
        let port = endpoint.port().map(|port| format!(":{port}")).unwrap_or_default();
        let address = format!("{}{port}{}", endpoint.host_str()?, endpoint.path().trim_end_matches('/'));
        Some(S3Server { address, has_tls: endpoint.scheme() == "https", path_style: storage.path_style })
    }
}

impl Target {
    /// The format of a table's files.
    fn format_of(&self, table: &Table) -> FileFormat {
        if is_fact(table) { self.format } else { FileFormat::default() }
    }
}

/// The tables of the layer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layer {
    /// The dimensions, then the facts, then the facts beside the lines.
    tables: Vec<Table>,
    partitions: BTreeSet<Dt>,
    /// The dimensions that have no file yet.
    absent: Vec<&'static str>,
    /// The days of each fact beside the lines that there is.
    sides: BTreeMap<SideFact, BTreeSet<Dt>>,
    today: Dt,
}

impl Layer {
    /// The layer with these columns and partitions. `today` is the UTC date.
    ///
    /// # Errors
    /// [`DdlError::Column`] for a name that is too long.
    pub fn new(schema: &FactSchema, headers: &DimensionHeaders, partitions: BTreeSet<Dt>, today: Dt) -> Result<Layer, DdlError> {
        let settings = RedshiftSettings::default();
        let tables = Tables::new(&settings, schema, headers, &LongestTexts::default()).map_err(|error| match error {
            RedshiftError::Name { name, .. } => DdlError::Column { name, most: crate::model::LONGEST_COLUMN_NAME },
            other => DdlError::Columns(other.to_string()),
        })?;
        let dimensions = [(DIM_USER.name, &headers.users), (DIM_PRODUCT.name, &headers.products)];
        let absent = dimensions.into_iter().filter(|(_, header)| header.is_none()).map(|(name, _)| name).collect();
        Ok(Layer { tables: tables.all().cloned().collect(), partitions, absent, sides: BTreeMap::new(), today })
    }

    /// The same layer with facts beside the lines, and their days.
    #[must_use]
    pub fn with_sides(mut self, sides: BTreeMap<SideFact, BTreeSet<Dt>>) -> Layer {
        self.tables.extend(sides.keys().map(|fact| Table::side(*fact, &LongestTexts::default())));
        self.sides = sides;
        self
    }

    /// The partitions of a table; `None` for a dimension.
    fn days(&self, table: &Table) -> Option<&BTreeSet<Dt>> {
        match side_fact(table) {
            Some(fact) => self.sides.get(&fact),
            None => is_fact(table).then_some(&self.partitions),
        }
    }
}

/// Whether a table is that of the lines.
fn is_fact(table: &Table) -> bool {
    table.name == "fact_order"
}

/// The fact beside the lines that a table is; `None` for any other table.
fn side_fact(table: &Table) -> Option<SideFact> {
    SideFact::ALL.into_iter().find(|fact| fact.table() == table.name)
}

/// Whether the files of a table lie in folders of days.
fn is_partitioned(table: &Table) -> bool {
    is_fact(table) || side_fact(table).is_some()
}

/// The folder of a table, beneath the output.
fn folder(table: &Table) -> String {
    match side_fact(table) {
        Some(fact) => fact.folder().to_owned(),
        None if is_fact(table) => places::CURATED.to_owned(),
        None => format!("{}/{}", places::DIMS, table.name),
    }
}

/// The file of a partition of a table, beneath the output.
fn partition_file(table: &Table, dt: &str, format: FileFormat) -> String {
    format!("{}/{DT}={dt}/{}.{}", folder(table), places::PARTITION_FILE, format.extension())
}

/// The file of a dimension, beneath the output.
fn dimension_file(table: &Table) -> String {
    format!("{}/{}.csv", folder(table), table.name)
}

/// The name of a type in SQL. Engines differ in the names of two.
fn sql_type(kind: ColumnKind, text: &str, timestamp: &str) -> String {
    match kind {
        ColumnKind::Text { .. } => text.to_owned(),
        ColumnKind::Timestamp => timestamp.to_owned(),
        ColumnKind::BigInt | ColumnKind::Decimal { .. } | ColumnKind::Boolean | ColumnKind::Date => kind.to_string(),
    }
}

/// The statements for an engine, as a script.
///
/// # Errors
/// [`DdlError`]: a name or a location that the engine can't use.
pub fn script(engine: Engine, layer: &Layer, target: &Target) -> Result<String, DdlError> {
    if let Some(schema) = target.schema.as_deref().filter(|schema| schema.is_empty() || schema.contains(char::is_control)) {
        return Err(DdlError::Schema(schema.chars().filter(|c| !c.is_control()).collect()));
    }
    match engine {
        Engine::Duckdb => Ok(duckdb::script(layer, target)),
        Engine::Athena => athena::script(layer, target),
        Engine::Glue => glue::script(layer, target),
        Engine::Spark => spark::script(layer, target),
        Engine::Postgres => postgres::script(layer, target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ExtraColumn, ExtraType};

    /// A layer whose names break whatever quotes carelessly.
    pub(super) fn hostile() -> Layer {
        let extra = ExtraColumn { name: "Tax".into(), kind: ExtraType::Decimal { scale: 2 } };
        let names = ["user_id", "inferred", "is_current", "a\"b`c'd; --\nDROP TABLE x", "full name"];
        let headers = DimensionHeaders { users: Some(names.map(str::to_owned).to_vec()), products: None };
        let partitions = ["2026-01-02", "2026-03-29"].map(|day| day.parse().unwrap()).into();
        Layer::new(&FactSchema::new(vec![extra]), &headers, partitions, "2026-03-29".parse().unwrap()).unwrap()
    }

    pub(super) fn target(location: &str, format: FileFormat) -> Target {
        Target { schema: Some("my \"`'schema".into()), location: location.parse().unwrap(), server: None, format }
    }

    const ENGINES: [Engine; 5] = [Engine::Duckdb, Engine::Athena, Engine::Glue, Engine::Spark, Engine::Postgres];

    #[test]
    fn a_comment_is_one_line_and_holds_no_name_of_a_column() {
        for (engine, format) in ENGINES.into_iter().flat_map(|engine| FileFormat::ALL.map(|format| (engine, format))) {
            let script = script(engine, &hostile(), &target("s3://bucket/out", format)).unwrap();
            for line in script.lines().filter(|line| line.starts_with("--") || line.starts_with('#')) {
                assert!(!line.contains("a\"b") && !line.contains("drop table"), "{engine:?}: {line}");
            }
        }
    }

    #[test]
    fn a_schema_that_could_leave_its_line_is_refused() {
        for schema in ["", "a\nb", "a\rb"] {
            let target = Target { schema: Some(schema.into()), ..target("s3://bucket", FileFormat::default()) };
            assert!(matches!(script(Engine::Postgres, &hostile(), &target), Err(DdlError::Schema(_))), "{schema:?}");
        }
    }

    #[test]
    fn facts_beside_the_lines_are_csv_in_folders_of_their_own_and_there_only_if_the_layer_has_them() {
        let sides = SideFact::ALL.map(|fact| (fact, BTreeSet::from(["2026-02-03".parse().unwrap()]))).into();
        let (without, with) = (hostile(), hostile().with_sides(sides));
        for (engine, format) in ENGINES.into_iter().flat_map(|engine| FileFormat::ALL.map(|format| (engine, format))) {
            let target = target("s3://bucket/out", format);
            let (without, with) = (script(engine, &without, &target).unwrap(), script(engine, &with, &target).unwrap());
            for fact in SideFact::ALL {
                assert!(with.contains(fact.table()) && !without.contains(fact.table()), "{engine:?}: {with}");
                // PostgreSQL reads no Parquet: there is no load then.
                if engine != Engine::Postgres || format != FileFormat::Parquet {
                    assert!(with.contains(&format!("s3://bucket/out/{}", fact.folder())), "{engine:?}: {with}");
                }
            }
        }
        let sql = script(Engine::Postgres, &with, &target("/data", FileFormat::default())).unwrap();
        assert!(sql.contains("\"amount\" DECIMAL(18,4) NOT NULL") && sql.contains("/data/refunds/dt=2026-02-03/part-00000.csv"), "{sql}");
        assert_eq!(sql.matches("PRIMARY KEY").count(), 3, "a refund may have no sku, and dim_user keeps versions: {sql}");
    }

    #[test]
    fn files_are_named_by_format_and_compression() {
        let facts = Table::facts(&FactSchema::default(), &LongestTexts::default());
        let names = FileFormat::ALL.map(|format| partition_file(&facts, "2026-01-31", format));
        assert_eq!(names.map(|name| name.replace("curated/dt=2026-01-31/part-00000", "")), [".csv", ".csv.gz", ".csv.zst", ".parquet"]);
    }
}
