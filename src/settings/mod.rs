//! Flags, environment, `.env` and `etl.toml` become one validated [`Settings`]. The only reader of the environment.
//!
//! Flags beat environment variables (`ETL_*`), which beat `.env`, which beats `etl.toml`, which beats defaults (contract,
//! Command line). Every value remembers where it came from, so that an error names the place to correct.
//!
//! [`SETTINGS`] is the table of settings, from which flags, look-ups and the documentation are derived. Tables of sources and
//! their profiles have readers of their own in `profile`.

mod alerts;
mod aws_profile;
mod bucket_url;
mod column_checks;
mod credentials;
mod deletions;
mod enrich;
mod environment;
mod error;
mod fact_columns;
mod file;
mod file_mode;
mod flags;
mod given;
mod http;
mod known_columns;
mod limits;
mod lineage;
mod location;
mod mapping_cases;
mod masks;
mod merge;
mod metrics;
mod origins;
mod output_location;
mod presentation;
mod problems;
mod profile;
mod proxies;
mod reader;
pub(crate) mod secret;
pub(crate) mod setting;
mod shops;
mod size;
mod source_kind;
mod sources;
mod span;
mod storage;
mod telemetry;
mod toml_schema;
mod toml_tree;
mod unit_slip;
mod value;
mod when;
mod without_effect;

use std::sync::Arc;

pub use alerts::{AlertSettings, Receiver, ReceiverKind};
pub use aws_profile::{AwsKeys, WebIdentity};
pub use bucket_url::{BucketScheme, BucketUrl, BucketUrlError};
pub use column_checks::{CheckedTable, ColumnCheck, ColumnRule};
pub use credentials::{CredentialNames, CredentialVariables, Credentials, NeededCredentials};
pub use deletions::{DeletionLimit, DeletionMode, DeletionSettings};
pub use enrich::EnrichColumns;
pub use environment::DOT_ENV as VARIABLES_FILE;
use environment::Environment;
pub use error::{Origin, SettingsError};
pub use fact_columns::{ColumnValue, FactColumn, LineMoney, schema_of};
pub use file::DEFAULT_FILE as SETTINGS_FILE;
pub use flags::Flags;
pub use given::{GivenOption, GivenOptions};
pub use http::{ClientCertificate, HttpSettings, NetworkSettings, ProxySettings};
pub use limits::Limits;
pub use lineage::{ForeignRun, LineageReceiver, LineageSettings, ParentRun};
pub(crate) use location::query_decoded;
pub use location::{Location, LocationError, MistakenUrl, ObjectPattern, is_loopback, redacted};
pub use mapping_cases::{CaseRecords, Expected, MappingCase, mapping_cases, tests_folder};
pub use masks::{Mask, MaskedColumn, Masks};
pub use merge::{lineage_alone, load, load_shop, load_shops, presentation, telemetry};
pub use metrics::{EmfTarget, MetricsSettings};
pub use origins::{OriginKind, ShownSetting, shown_settings};
pub use output_location::{OutputLocation, refuse_file};
pub use presentation::{ColorMode, LogFormat, Presentation, ResultFormat};
pub use problems::{Examined, Problem, examine};
pub use profile::{
    ASKED_LINES, ASKED_REFUNDS, AmountRule, Auth, BodyTemplate, BulkOperation, BulkPoll, ChildLines, CountRequest, CredentialsIn,
    FieldRule, Filter, Grant, HttpProfile, Inherited, KeyedList, LineLists, ListRequest, MoreRequest, ObjectInPlace, OrderLineKey,
    OrderTotalRules, Pagination, PathRule, Profile, Reconciliation, RecordList, RefundLineRules, RefundRules, RefundSign, SHIPPED,
    ScaleText, Shipped, SkipCandidate, SkipRule, SkipValues, Source, Template, TimeFormat, TimeText, Total, Units, WhichAmounts,
    WhichLists, joined, says_some, shipped,
};
pub use secret::Secret;
pub use setting::{Form, OldNames, SETTINGS, Setting};
pub use shops::{Shop, ShopOrders, Skus};
pub use source_kind::{LINE_CURRENCY, SourceKind};
pub use sources::{credentials_of_profile, no_such_profile, orders_profile, profile_of};
pub use span::{Chunk, parse_span};
pub use storage::{AwsCredentials, AzureCredentials, AzureIdentity, Encryption, GoogleCredentials, StorageCredentials, StorageSettings};
pub use telemetry::{Collector, CollectorHeader, ResourceAttribute, TelemetrySettings};
pub use toml_schema::etl_toml_schema;
pub use toml_tree::{Place, toml_text};
pub use unit_slip::UnitSlip;
use value::ConfiguredValue;
pub use when::When;

use std::{num::NonZero, path::PathBuf, thread, time::Duration};

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use crate::model::{FactSchema, FileFormat, QuantityType};

/// What `--since last` goes back by default.
const DEFAULT_LOOKBACK: Duration = Duration::from_secs(86_400);

/// How long versions that were replaced are kept by default: 7 days.
const DEFAULT_KEEP: Duration = Duration::from_secs(7 * 86_400);

/// Threads that work by default: one per core.
fn default_threads() -> usize {
    thread::available_parallelism().map_or(2, NonZero::get)
}

/// Which partitions the built-in checks of a run look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// It is published anyway; the exit code tells.
    Publish,
}

/// What a change of the shape of the orders' records means for the run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnSchemaChange {
    /// It is told, and remembered.
    #[default]
    Tell,
    /// Nothing is published, unless the change is accepted.
    Freeze,
    /// Nothing is observed.
    Ignore,
}

/// Which time of an order the window is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, IntoStaticStr, schemars::JsonSchema)]
pub enum Cursor {
    /// `created_at`.
    #[default]
    #[serde(rename = "created_at")]
    #[strum(serialize = "created_at")]
    Created,
    /// `updated_at`, or `created_at` of an order without one: edits of old orders are loaded.
    #[serde(rename = "updated_at")]
    #[strum(serialize = "updated_at")]
    Updated,
}

impl Cursor {
    /// The name of the column.
    pub fn column(self) -> &'static str {
        self.into()
    }
}

/// What a newer version of an order replaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, schemars::JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub enum MergeBy {
    /// The rows of its lines: the row of a removed line stays.
    #[default]
    Line,
    /// All rows of the order.
    Order,
}

/// How several lines of one sku in a record become one row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, schemars::JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub enum RepeatedSku {
    /// The later line wins.
    #[default]
    Last,
    /// Quantity and total are added up.
    Sum,
}

/// What a warehouse needs to know about the output, and how it is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RedshiftSettings {
    /// The schema of the tables.
    pub schema: Option<String>,
    /// The location of the output for the warehouse: `s3://bucket/prefix`.
    pub url: Option<String>,
    /// The role that `COPY` reads with.
    pub iam_role: Option<String>,
    /// The region of the bucket, if the cluster is in another.
    pub region: Option<String>,
    /// The connection to the warehouse: `postgresql://user:password@host:5439/db`. From the environment or `.env` only.
    pub connection: Option<Secret>,
    /// A shell command that prints the password, or JSON with user and password. From the environment or `.env` only.
    pub password_command: Option<Secret>,
    /// The time to open a session.
    pub connect_timeout: Duration,
    /// The time that one statement may take.
    pub statement_timeout: Duration,
}

impl Default for RedshiftSettings {
    fn default() -> RedshiftSettings {
        RedshiftSettings {
            schema: None,
            url: None,
            iam_role: None,
            region: None,
            connection: None,
            password_command: None,
            connect_timeout: Duration::from_secs(30),
            statement_timeout: Duration::from_secs(3600),
        }
    }
}

/// How much of what `etl explain` knows of runs is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExplainSettings {
    /// How long.
    pub keep: Duration,
    /// At most so many bytes, those of the latest runs.
    pub max_bytes: u64,
}

impl Default for ExplainSettings {
    fn default() -> ExplainSettings {
        ExplainSettings { keep: Duration::from_secs(90 * 86_400), max_bytes: 1 << 30 }
    }
}

/// Whether the orders' records are kept as they were delivered, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawSettings {
    /// Whether a run keeps them.
    pub is_kept: bool,
    /// How long those of earlier runs stay.
    pub keep: Duration,
}

impl Default for RawSettings {
    fn default() -> RawSettings {
        RawSettings { is_kept: false, keep: Duration::from_secs(30 * 86_400) }
    }
}

/// All settings of a command, validated.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is a flag of the contract, under its name")]
pub struct Settings {
    pub output: OutputLocation,
    /// What the command line said by options: proposed commands repeat it.
    pub given: GivenOptions,
    /// The shop whose sources these are; `None` where there is but one, and where no source is read.
    pub shop: Option<Shop>,
    /// The names of all shops of the layer; none in a layer of one source.
    pub shops: Vec<String>,
    /// Where each shop of the layer reads its orders.
    pub shop_orders: Arc<[ShopOrders]>,
    /// The shipped profile that all three sources start from.
    pub source: Option<String>,
    pub orders: Option<Source>,
    pub users: Option<Source>,
    pub products: Option<Source>,
    /// Users or products that a profile or a table describes, and that nothing names: no run reads them.
    pub unread_members: Vec<SourceKind>,
    pub since: Option<When>,
    pub until: Option<When>,
    pub cursor: Cursor,
    pub merge: MergeBy,
    pub repeated_sku: RepeatedSku,
    /// The type of quantities; `None`: that of the layer, else whole.
    pub quantity: Option<QuantityType>,
    /// The format of the files of partitions; `None`: that of the layer.
    pub file_format: Option<FileFormat>,
    /// Extra columns of `fact_order`, after the fixed ones.
    pub fact_columns: Vec<FactColumn>,
    /// The columns that are masked.
    pub masks: Masks,
    pub lookback: Duration,
    pub dry_run: bool,
    /// Whether a list is published that has fewer records than the source counts.
    pub allow_incomplete: bool,
    /// What becomes of orders that the source no longer has.
    pub deletions: DeletionSettings,
    pub lock_wait: Duration,
    pub empty_exit_code: Option<u8>,
    pub check_scope: CheckScope,
    pub on_check_failure: OnCheckFailure,
    pub checks: Option<PathBuf>,
    /// Checks that are declared without SQL.
    pub column_checks: Vec<ColumnCheck>,
    /// The memory budget of a run, in bytes.
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
    /// Where traces and metrics go by OTLP.
    pub telemetry: Option<TelemetrySettings>,
    /// Where OpenLineage events go.
    pub lineage: Option<LineageSettings>,
    pub alerts: AlertSettings,
    /// How long quarantine, manifests and reports of earlier runs are kept; `None`: for ever.
    pub retention: Option<Duration>,
    pub explain: ExplainSettings,
    /// How long versions that were replaced are kept.
    pub keep: Duration,
    pub redshift: RedshiftSettings,
    /// From how many slipped prices on a run fails; `None` if no price is compared.
    pub unit_slip: Option<UnitSlip>,
    /// What a change of the shape of the orders' records means.
    pub on_schema_change: OnSchemaChange,
    /// Whether a change of shape is accepted that would fail the run.
    pub accept_new_shop: bool,
    pub accept_schema: bool,
    /// The mode of files in quarantine and in `raw/`; `None` as the umask says.
    pub quarantine_mode: Option<u32>,
    pub raw: RawSettings,
    /// Whether a dimension that keeps versions may lose them (`scd = 1`).
    pub drop_history: bool,
}

impl Settings {
    /// Fails if nothing says where the orders are.
    ///
    /// # Errors
    /// Why not: [`SettingsError::NoOrders`], [`SettingsError::NoOrdersOfShop`], [`SettingsError::NoPlace`].
    pub fn require_orders(&self) -> Result<(), SettingsError> {
        match (&self.orders, &self.shop, &self.source) {
            (Some(_), ..) => Ok(()),
            (None, Some(shop), _) => Err(SettingsError::NoOrdersOfShop(shop.name.clone())),
            (None, None, Some(profile)) => Err(SettingsError::NoPlace(profile.clone())),
            (None, None, None) => Err(SettingsError::NoOrders),
        }
    }

    /// The columns of `fact_order`.
    pub fn schema(&self) -> FactSchema {
        schema_of(&self.fact_columns).with_quantity(self.quantity.unwrap_or_default()).with_ids(shops::layer_ids(&self.shops))
    }

    /// Whether a column that is masked is a fixed one, or one that the settings make.
    fn knows_column(&self, name: &str) -> bool {
        let is_name = |known: &str| known.to_lowercase() == name;
        let is_of_users = self.users.iter().any(|users| users.profile.fields.keys().any(|known| is_name(known)));
        masks::fixed_columns().any(is_name) || is_of_users || self.fact_columns.iter().any(|column| is_name(&column.name))
    }

    /// What to say of members that are described and not read; `None` where there are none.
    pub fn unread_note(&self) -> Option<String> {
        let names: Vec<_> = self.unread_members.iter().map(|kind| kind.table()).collect();
        (!names.is_empty()).then(|| format!("{}: {}", names.join(" and "), without_effect::NOT_READ))
    }

    /// Whether prices may be quotients of totals: of several lines, or of the totals of the source.
    pub fn has_quotients(&self) -> bool {
        let of_profile = |field: &str| self.orders.as_ref().is_some_and(|orders| orders.profile.line_fields.contains_key(field));
        self.repeated_sku == RepeatedSku::Sum || of_profile("line_total") || of_profile("discount")
    }

    /// Whether `fact_order` has columns for the money of a line, and the source says none of it.
    pub fn has_unknown_money(&self) -> bool {
        let mut sums = self.fact_columns.iter().filter(|column| column.value == ColumnValue::Sum).peekable();
        sums.peek().is_some() && sums.all(|column| column.rule.paths.is_empty())
    }

    /// Whether the lines of an order add up to its total; `None` where the profile maps no totals.
    pub fn reconciliation(&self) -> Option<Reconciliation> {
        Some(self.orders.as_ref()?.profile.totals.as_ref()?.reconciles)
    }

    /// The settings for a layer: quantities that nothing else says are of the type of the layer.
    #[must_use]
    pub fn with_quantity_of(&self, quantity: QuantityType) -> Settings {
        Settings { quantity: self.quantity.or(Some(quantity)), ..self.clone() }
    }

    /// The defaults, without any flag, variable or file.
    pub fn plain(output: impl Into<OutputLocation>) -> Settings {
        Settings {
            output: output.into(),
            given: GivenOptions::default(),
            shop: None,
            shops: Vec::new(),
            shop_orders: Arc::default(),
            source: None,
            orders: None,
            users: None,
            products: None,
            unread_members: Vec::new(),
            since: None,
            until: None,
            cursor: Cursor::default(),
            merge: MergeBy::default(),
            repeated_sku: RepeatedSku::default(),
            quantity: None,
            file_format: None,
            fact_columns: Vec::new(),
            masks: Masks::default(),
            lookback: DEFAULT_LOOKBACK,
            dry_run: false,
            allow_incomplete: false,
            deletions: DeletionSettings::default(),
            lock_wait: Duration::ZERO,
            empty_exit_code: None,
            check_scope: CheckScope::default(),
            on_check_failure: OnCheckFailure::default(),
            checks: None,
            column_checks: Vec::new(),
            memory_limit: None,
            threads: default_threads(),
            http: HttpSettings::default(),
            limits: Limits::default(),
            enrich: EnrichColumns::default(),
            versioned_users: false,
            versioned_products: false,
            unit_slip: Some(UnitSlip::Standard),
            on_schema_change: OnSchemaChange::default(),
            accept_new_shop: false,
            accept_schema: false,
            quarantine_mode: None,
            raw: RawSettings::default(),
            keep: DEFAULT_KEEP,
            drop_history: false,
            metrics: MetricsSettings::default(),
            telemetry: None,
            lineage: None,
            alerts: AlertSettings::default(),
            retention: None,
            explain: ExplainSettings::default(),
            redshift: RedshiftSettings::default(),
        }
    }
}
