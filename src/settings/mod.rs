//! Flags, environment, `.env` and `etl.toml` become one validated [`Settings`]. The only reader of the environment.
//!
//! Flags beat environment variables (`ETL_*`), which beat `.env`, which beats `etl.toml`, which beats defaults (contract,
//! Command line). Every value remembers where it came from, so that an error names the place to mend.

mod alerts;
mod enrich;
mod fact_columns;
mod file;
mod http;
mod layers;
mod limits;
mod location;
mod metrics;
mod profile;
pub(crate) mod secret;
mod size;
mod sources;
mod span;
mod when;

pub use alerts::{AlertSettings, Receiver, ReceiverKind};
pub use enrich::EnrichColumns;
pub use fact_columns::{FactColumn, FactColumnToml, schema_of};
pub use file::EtlToml;
pub use http::{ClientCertificate, Credentials, HttpSettings, NetworkSettings, ProxySettings};
pub use layers::{Flags, Presentation, SettingsError, load, presentation};
pub use limits::Limits;
pub(crate) use location::query_decoded;
pub use location::{Location, LocationError, redacted};
pub use metrics::{EmfTarget, MetricsSettings};
pub use profile::{
    Auth, CountRequest, CredentialsIn, FieldRule, Filter, HttpProfile, Pagination, Profile, SHIPPED, ScaleText, Shipped, SkipRule, Source,
    SourceToml, TimeFormat, TimeText, Total, Units, shipped,
};
pub use secret::Secret;
pub use sources::orders_profile;
pub use span::{Chunk, parse_span};
pub use when::When;

use std::{path::PathBuf, time::Duration};

use crate::model::FactSchema;

/// Which partitions the built-in checks of a run look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CheckScope {
    /// Those that the run publishes.
    #[default]
    Changed,
    /// All.
    Full,
}

/// What a failed check of severity `error` means for the run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnCheckFailure {
    /// Nothing is published.
    #[default]
    Abort,
    /// It is published all the same; the exit code says so.
    Publish,
}

/// Which time of an order the window is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Cursor {
    /// `created_at`.
    #[default]
    Created,
    /// `updated_at`, or `created_at` of an order that has none: edits of old orders arrive.
    Updated,
}

impl Cursor {
    /// The column that it is.
    pub fn column(self) -> &'static str {
        match self {
            Cursor::Created => "created_at",
            Cursor::Updated => "updated_at",
        }
    }
}

/// What a newer version of an order replaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MergeBy {
    /// The rows of its lines: a line that it no longer has stays.
    #[default]
    Line,
    /// All rows of the order.
    Order,
}

/// What becomes of a sku that stands on several lines of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RepeatedSku {
    /// The later line wins.
    #[default]
    Last,
    /// Quantity and total are added up.
    Sum,
}

/// What a warehouse needs to know of the output.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RedshiftSettings {
    /// The schema of the tables.
    pub schema: Option<String>,
    /// Where the output lies for the warehouse: `s3://bucket/prefix`.
    pub url: Option<String>,
    /// The role that `COPY` reads with.
    pub iam_role: Option<String>,
    /// The bucket's region, where it is another than the cluster's.
    pub region: Option<String>,
    /// How to reach the warehouse: `postgresql://user:password@host:5439/db`. From the environment or `.env` only.
    pub connection: Option<Secret>,
}

/// All that a command may be told, validated.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is a flag of the contract, under its name")]
pub struct Settings {
    pub output: PathBuf,
    /// The profile that ships and that all three sources start from.
    pub source: Option<String>,
    pub orders: Option<Source>,
    pub users: Option<Source>,
    pub products: Option<Source>,
    pub since: Option<When>,
    pub until: Option<When>,
    pub cursor: Cursor,
    pub merge: MergeBy,
    pub repeated_sku: RepeatedSku,
    /// Further columns of `fact_order`, behind the contract's.
    pub fact_columns: Vec<FactColumn>,
    pub lookback: Duration,
    pub dry_run: bool,
    /// Whether a list of which less came than the source claims is published.
    pub allow_incomplete: bool,
    pub lock_wait: Duration,
    pub empty_exit_code: Option<u8>,
    pub check_scope: CheckScope,
    pub on_check_failure: OnCheckFailure,
    pub checks: Option<PathBuf>,
    /// Bytes that a run is to make do with, about.
    pub memory_limit: Option<u64>,
    pub threads: usize,
    pub http: HttpSettings,
    pub limits: Limits,
    pub enrich: EnrichColumns,
    /// Whether `dim_user` keeps versions (`scd = 2`).
    pub versioned_users: bool,
    /// Whether `dim_product` does.
    pub versioned_products: bool,
    pub metrics: MetricsSettings,
    pub alerts: AlertSettings,
    /// How long quarantine, manifests and reports of earlier runs are kept; for ever where nothing is said.
    pub retention: Option<Duration>,
    pub redshift: RedshiftSettings,
}

impl Settings {
    /// The columns of `fact_order`.
    pub fn schema(&self) -> FactSchema {
        schema_of(&self.fact_columns)
    }

    /// The defaults, from no flag, variable or file.
    pub fn plain(output: PathBuf) -> Settings {
        Settings {
            output,
            source: None,
            orders: None,
            users: None,
            products: None,
            since: None,
            until: None,
            cursor: Cursor::default(),
            merge: MergeBy::default(),
            repeated_sku: RepeatedSku::default(),
            fact_columns: Vec::new(),
            lookback: layers::DEFAULT_LOOKBACK,
            dry_run: false,
            allow_incomplete: false,
            lock_wait: Duration::ZERO,
            empty_exit_code: None,
            check_scope: CheckScope::default(),
            on_check_failure: OnCheckFailure::default(),
            checks: None,
            memory_limit: None,
            threads: layers::default_threads(),
            http: HttpSettings::default(),
            limits: Limits::default(),
            enrich: EnrichColumns::default(),
            versioned_users: false,
            versioned_products: false,
            metrics: MetricsSettings::default(),
            alerts: AlertSettings::default(),
            retention: None,
            redshift: RedshiftSettings::default(),
        }
    }
}
