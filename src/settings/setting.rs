//! The table of settings: of each its flag, variable, key, form, bounds, default and description.
//!
//! The command line, the look-ups of [`super::load`], the known keys of `etl.toml` and the table of docs/configuration.md are
//! derived from it. Not here: profiles of sources, and what a value means to the job.

use std::time::Duration;

/// One setting. An empty name means that the setting has none of that kind.
#[derive(Debug)]
pub struct Setting {
    /// Its flag, with the dashes.
    pub flag: &'static str,
    /// Its variable in the environment and `.env`.
    pub variable: &'static str,
    /// Its key in `etl.toml`, with the tables above it.
    pub key: &'static str,
    /// What its value looks like, and its bounds.
    pub form: Form,
    /// Its default, as the documentation shows it.
    pub default: &'static str,
    /// Its value in the help, such as `DIR`.
    pub value: &'static str,
    /// What it is for.
    pub help: &'static str,
}

impl Setting {
    /// The name of the flag without dashes.
    pub fn id(&self) -> &'static str {
        self.flag.trim_start_matches("--")
    }

    /// The names that it had before.
    pub fn old_names(&self) -> Option<&'static OldNames> {
        OLD_NAMES.iter().find(|old| old.of == self.key)
    }
}

/// Names that a setting had before. They work as ever, and no help shows them.
#[derive(Debug)]
pub struct OldNames {
    /// The key that the setting has now.
    pub of: &'static str,
    /// Its flag, without the dashes.
    pub id: &'static str,
    /// Its variable.
    pub variable: &'static str,
    /// Its key, at the top of `etl.toml` and in the table of a shop.
    pub key: &'static str,
}

/// All names that settings had before.
pub(super) static OLD_NAMES: [OldNames; 1] = [OldNames { of: "profile", id: "source", variable: "ETL_SOURCE", key: "source" }];

/// What a value looks like, and its bounds, which are inclusive.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Form {
    /// Any text.
    Text,
    /// A text that no error shows. From the environment or `.env` only.
    Secret,
    /// A whole number.
    Whole {
        /// The least.
        from: u64,
        /// The greatest.
        to: u64,
    },
    /// A number, perhaps with a fraction.
    Number {
        /// The least.
        from: f64,
        /// The greatest.
        to: f64,
    },
    /// A span of time.
    Span {
        /// The shortest.
        from: Duration,
        /// The longest.
        to: Duration,
    },
    /// An amount of memory, in bytes.
    Size {
        /// The least.
        from: u64,
        /// The greatest.
        to: u64,
    },
    /// A number of lines, a share in percent, or `off`.
    Threshold,
    /// One of some words.
    Words(&'static [&'static str]),
    /// One of some words. Its flag may stand alone, and then means one of them.
    WordsOrAlone {
        /// The words.
        words: &'static [&'static str],
        /// What the flag means without a value.
        alone: &'static str,
    },
    /// Yes or no. Its flag takes no value.
    YesNo,
    /// A table of `etl.toml` with keys of its own.
    Table,
}

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const WEEK: Duration = Duration::from_secs(7 * 86_400);
const CENTURY: Duration = Duration::from_secs(36_525 * 86_400);
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// A time-out: none may be 0.
const TIMEOUT: Form = Form::Span { from: MILLISECOND, to: DAY };
/// A time-out of a whole request or of all its attempts.
const LONG_TIMEOUT: Form = Form::Span { from: MILLISECOND, to: WEEK };
/// A span into the past, which may be 0.
const PAST: Form = Form::Span { from: Duration::ZERO, to: CENTURY };
/// An age, which may not be 0.
const AGE: Form = Form::Span { from: MILLISECOND, to: CENTURY };
const PERCENT: Form = Form::Number { from: 0.0, to: 1_000_000.0 };
const VERSIONS: Form = Form::Whole { from: 1, to: 2 };

/// Bounds of keys in a source's table, which may stand in three tables.
pub(super) mod bounds {
    use super::Form;

    /// `page_size`.
    pub(in super::super) const PAGE_SIZE: Form = super::PER_PAGE.form;
    /// `concurrency`.
    pub(in super::super) const CONCURRENCY: Form = Form::Whole { from: 1, to: 64 };
    /// `requests_per_second`.
    pub(in super::super) const REQUESTS_PER_SECOND: Form = Form::Number { from: 0.001, to: 10_000.0 };
    /// `bulk.poll.interval`.
    pub(in super::super) const BULK_INTERVAL: Form = super::TIMEOUT;
    /// `bulk.poll.timeout`.
    pub(in super::super) const BULK_TIMEOUT: Form = super::LONG_TIMEOUT;
    /// `lookback`.
    pub(in super::super) const LOOKBACK: Form = super::PAST;
    /// `pagination.first`.
    pub(in super::super) const FIRST_PAGE: Form = Form::Whole { from: 0, to: 1_000_000_000 };
    /// `pagination.largest`. Two pages overlap by one record, so that less could not be read at all.
    pub(in super::super) const LARGEST_OFFSET: Form = Form::Whole { from: 2, to: 1_000_000_000_000 };
    /// `scale` of a field.
    pub(in super::super) const DECIMALS: Form = Form::Whole { from: 0, to: 9 };
    /// `max` of a check.
    pub(in super::super) const MOST_VIOLATIONS: Form = Form::Whole { from: 0, to: 1_000_000_000_000 };
    /// `scale` of a column of type decimal.
    pub(in super::super) const COLUMN_SCALE: Form = Form::Whole { from: 0, to: 18 };
}

const NONE: Setting = Setting { flag: "", variable: "", key: "", form: Form::Text, default: "", value: "", help: "" };

macro_rules! settings {
    ($($name:ident = $setting:expr;)*) => {
        $(pub(crate) const $name: Setting = $setting;)*
        /// All settings, in the order of the documentation.
        pub static SETTINGS: &[Setting] = &[$($name),*];
    };
}

settings! {
    CONFIG = Setting { flag: "--config", variable: "ETL_CONFIG", default: "etl.toml, if it exists", value: "FILE", help: "Settings file", ..NONE };
    PROFILE = Setting { flag: "--profile", variable: "ETL_PROFILE", key: "profile", default: "none", value: "NAME",
        help: "Shipped profile for all three sources: see `etl sources`", ..NONE };
    URL = Setting { flag: "--url", variable: "ETL_URL", key: "url", default: "none", value: "URL",
        help: "URL of the API of the three sources, for a profile that knows their paths", ..NONE };
    ORDERS = Setting { flag: "--orders", variable: "ETL_ORDERS", key: "orders", form: Form::Table, default: "none: required", value: "LOCATION",
        help: "Orders: an http(s) URL, or a file, folder or glob of .json, .ndjson, .jsonl, .csv or .parquet; also s3://, gs:// or az://bucket/key" };
    USERS = Setting { flag: "--users", variable: "ETL_USERS", key: "users", form: Form::Table, default: "none", value: "LOCATION",
        help: "Users: a location, as for orders" };
    PRODUCTS = Setting { flag: "--products", variable: "ETL_PRODUCTS", key: "products", form: Form::Table, default: "none", value: "LOCATION",
        help: "Products: a location, as for orders" };
    SHOPS = Setting { key: "shops", form: Form::Table, default: "none", help: "Several shops in one layer, each with sources of its own: see sources.md", ..NONE };
    OUTPUT = Setting { flag: "--output", variable: "ETL_OUTPUT", key: "output", default: "output", value: "LOCATION", help: "The layer: a folder, or s3://, gs:// or az://bucket/prefix", ..NONE };
    FILE_FORMAT = Setting { flag: "--file-format", variable: "ETL_FILE_FORMAT", key: "file_format", form: Form::Words(&["csv", "parquet"]),
        default: "that of the layer, else csv", value: "FORMAT", help: "Format of the files of partitions: csv or parquet; dimensions are always CSV" };
    COMPRESSION = Setting { flag: "--compression", variable: "ETL_COMPRESSION", key: "compression", form: Form::Words(&["none", "gzip", "zstd"]),
        default: "that of the layer, else none", value: "KIND", help: "Compression of CSV partitions: none, gzip or zstd" };
    STORAGE_ENDPOINT = Setting { variable: "ETL_STORAGE_ENDPOINT", key: "storage.endpoint", default: "AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, else the vendor's",
        help: "URL of the server of the bucket, if it is not the vendor's", ..NONE };
    STORAGE_REGION = Setting { variable: "ETL_STORAGE_REGION", key: "storage.region", default: "AWS_REGION or AWS_DEFAULT_REGION",
        help: "Region of the bucket", ..NONE };
    STORAGE_PATH_STYLE = Setting { variable: "ETL_STORAGE_PATH_STYLE", key: "storage.path_style", form: Form::YesNo, default: "where an endpoint is set",
        help: "Name the bucket in the path of a URL, and not in the host", ..NONE };
    STORAGE_ENCRYPTION = Setting { variable: "ETL_STORAGE_ENCRYPTION", key: "storage.encryption", form: Form::Words(&["none", "AES256", "aws:kms"]), default: "none",
        help: "Encryption that S3 is asked for: AES256 or aws:kms; none leaves it to the bucket", ..NONE };
    STORAGE_KMS_KEY_ID = Setting { variable: "ETL_STORAGE_KMS_KEY_ID", key: "storage.kms_key_id", default: "the default key",
        help: "Key of KMS, with `aws:kms`", ..NONE };
    STORAGE_ANONYMOUS = Setting { variable: "ETL_STORAGE_ANONYMOUS", key: "storage.anonymous", form: Form::YesNo, default: "no",
        help: "Sign no request", ..NONE };
    STORAGE_PART_SIZE = Setting { variable: "ETL_STORAGE_PART_SIZE", key: "storage.part_size", form: Form::Size { from: 5 * MIB, to: 5 * 1024 * MIB }, default: "16MiB",
        help: "Size of a part of a large object", ..NONE };
    STORAGE_CONNECT_TIMEOUT = Setting { variable: "ETL_STORAGE_CONNECT_TIMEOUT", key: "storage.connect_timeout", form: TIMEOUT, default: "5s",
        help: "Time to open a connection to the store", ..NONE };
    STORAGE_REQUEST_TIMEOUT = Setting { variable: "ETL_STORAGE_REQUEST_TIMEOUT", key: "storage.request_timeout", form: LONG_TIMEOUT, default: "60s",
        help: "Time for one attempt at a request of the store", ..NONE };
    STORAGE_RETRY_TIMEOUT = Setting { variable: "ETL_STORAGE_RETRY_TIMEOUT", key: "storage.retry_timeout", form: Form::Span { from: MILLISECOND, to: Duration::from_secs(600) }, default: "2m",
        help: "Time for all attempts at a request of the store, nine at most", ..NONE };
    CURSOR = Setting { flag: "--cursor", variable: "ETL_CURSOR", key: "cursor", form: Form::Words(&["created_at", "updated_at"]),
        default: "created_at", value: "COLUMN", help: "The window's time column: created_at or updated_at" };
    SINCE = Setting { flag: "--since", variable: "ETL_SINCE", key: "since", default: "open", value: "WHEN",
        help: "Start of the window: 2026-01-31, RFC 3339, 7d or 36h ago, or `last`: where the coverage of this source first ends, less --lookback", ..NONE };
    UNTIL = Setting { flag: "--until", variable: "ETL_UNTIL", key: "until", default: "open", value: "WHEN", help: "End of the window, exclusive", ..NONE };
    LOOKBACK = Setting { flag: "--lookback", variable: "ETL_LOOKBACK", key: "lookback", form: PAST, default: "24h", value: "SPAN",
        help: "How far `--since last` goes back before the end of the coverage" };
    DRY_RUN = Setting { flag: "--dry-run", variable: "ETL_DRY_RUN", form: Form::YesNo, default: "no", help: "Do everything but publish", ..NONE };
    ALLOW_INCOMPLETE = Setting { flag: "--allow-incomplete", variable: "ETL_ALLOW_INCOMPLETE", key: "allow_incomplete", form: Form::YesNo, default: "no",
        help: "Publish even if the source delivers fewer records than it counts; coverage does not grow then", ..NONE };
    DELETE_MISSING = Setting { flag: "--delete-missing", variable: "ETL_DELETE_MISSING", key: "delete_missing",
        form: Form::WordsOrAlone { words: &["off", "remove", "mark"], alone: "remove" }, default: "off", value: "HOW",
        help: "What becomes of orders that the source no longer has, in a window that is proven complete: off, remove or mark" };
    DELETE_LIMIT = Setting { flag: "--delete-limit", variable: "ETL_DELETE_LIMIT", key: "delete_limit", default: "5%", value: "SHARE",
        help: "Largest share of the stored orders of the window that a run may delete; beyond it nothing is published", ..NONE };
    LOCK_WAIT = Setting { flag: "--lock-wait", variable: "ETL_LOCK_WAIT", key: "lock_wait", form: PAST, default: "0s", value: "SPAN",
        help: "How long to wait for another run that holds the output" };
    EMPTY_EXIT_CODE = Setting { flag: "--empty-exit-code", variable: "ETL_EMPTY_EXIT_CODE", key: "empty_exit_code", form: Form::Whole { from: 0, to: 255 },
        default: "0", value: "CODE", help: "Exit code when there is nothing to publish (99 makes that an Airflow skip)" };
    CHECKS = Setting { flag: "--checks", variable: "ETL_CHECKS", key: "checks.dir", default: "checks/ beside etl.toml, if it exists", value: "DIR",
        help: "Your own checks: a folder of .sql files", ..NONE };
    CHECK_SCOPE = Setting { flag: "--check-scope", variable: "ETL_CHECK_SCOPE", key: "checks.scope", form: Form::Words(&["changed", "full"]),
        default: "changed", value: "SCOPE", help: "Partitions that the built-in checks look at: changed or full" };
    ON_CHECK_FAILURE = Setting { flag: "--on-check-failure", variable: "ETL_ON_CHECK_FAILURE", key: "checks.on_failure", form: Form::Words(&["abort", "publish"]),
        default: "abort", value: "WHAT", help: "After a failed check of severity error: abort or publish" };
    COLUMN_CHECKS = Setting { key: "checks.column", form: Form::Table, default: "none", help: "Checks of columns without SQL: see reference/checks.md", ..NONE };
    UNIT_SLIP = Setting { key: "checks.unit_slip", form: Form::Threshold, default: "3 lines and 1 % of the lines",
        help: "Lines, or percent of the lines, whose prices may be off by a factor of 100 or 1,000 before a run fails; off", ..NONE };
    QUARANTINE_MODE = Setting { key: "quarantine.mode", default: "as the umask says", help: "Mode of the files in quarantine, such as 0600", ..NONE };
    KEEP_RAW = Setting { flag: "--keep-raw", variable: "ETL_KEEP_RAW", key: "keep_raw", form: Form::YesNo, default: "no",
        help: "Keep the records of the orders as they were delivered, in raw/: `etl rebuild --from raw` maps them again", ..NONE };
    RAW_KEEP = Setting { key: "raw.keep", form: AGE, default: "30d", help: "Remove kept records of runs older than this; a shorter `retention` removes them too", ..NONE };
    DROP_HISTORY = Setting { flag: "--drop-history", variable: "ETL_DROP_HISTORY", form: Form::YesNo, default: "no",
        help: "Let scd = 1 remove the old versions of members that the layer keeps", ..NONE };
    SCHEMA_ON_CHANGE = Setting { key: "schema.on_change", form: Form::Words(&["tell", "freeze", "ignore"]), default: "tell",
        help: "After a change of the shape of the orders' records: tell it, freeze (fail the run), or ignore it", ..NONE };
    ACCEPT_SCHEMA = Setting { flag: "--accept-schema", variable: "ETL_ACCEPT_SCHEMA", form: Form::YesNo, default: "no",
        help: "Accept the changes of shape that `schema.on_change = \"freeze\"` fails a run for", ..NONE };
    ACCEPT_NEW_SHOP = Setting { flag: "--accept-new-shop", variable: "ETL_ACCEPT_NEW_SHOP", form: Form::YesNo, default: "no",
        help: "Load a shop for the first time although a loaded one is gone: it is another shop, not the same one renamed", ..NONE };
    MAX_ATTEMPTS = Setting { flag: "--max-attempts", variable: "ETL_MAX_ATTEMPTS", key: "http.max_attempts", form: Form::Whole { from: 1, to: 100 },
        default: "3", value: "N", help: "Attempts per request" };
    MEMORY_LIMIT = Setting { flag: "--memory-limit", variable: "ETL_MEMORY_LIMIT", key: "memory_limit", form: Form::Size { from: 64 * MIB, to: 64 * TIB },
        default: "none", value: "SIZE", help: "Memory budget, such as 1GiB: spills earlier, merges fewer partitions at once; DuckDB gets half" };
    METRICS_FILE = Setting { flag: "--metrics-file", variable: "ETL_METRICS_FILE", key: "metrics.file", default: "none", value: "FILE",
        help: "Metrics of the run as OpenMetrics text, for node_exporter's textfile collector", ..NONE };
    METRICS_EMF = Setting { flag: "--metrics-emf", variable: "ETL_METRICS_EMF", key: "metrics.emf", default: "none", value: "FILE",
        help: "Metrics of the run in CloudWatch's Embedded Metric Format, added to a file, or `-` for stdout", ..NONE };
    RETENTION = Setting { flag: "--retention", variable: "ETL_RETENTION", key: "retention", form: AGE, default: "everything is kept", value: "SPAN",
        help: "Remove quarantine, manifests and reports of runs older than this" };
    KEEP = Setting { flag: "--keep", variable: "ETL_KEEP", key: "keep", form: PAST, default: "7d", value: "SPAN",
        help: "How long versions that a commit replaced are kept, for undo, diff and late readers" };
    EXPLAIN_KEEP = Setting { key: "explain.keep", form: AGE, default: "90d", help: "Remove lineage (what `etl explain` knows of runs) of runs older than this", ..NONE };
    EXPLAIN_MAX_SIZE = Setting { key: "explain.max_size", form: Form::Size { from: MIB, to: 64 * TIB }, default: "1GiB",
        help: "Keep the lineage of the latest runs only, up to this size", ..NONE };
    FORMAT = Setting { flag: "--format", variable: "ETL_FORMAT", form: Form::Words(&["auto", "text", "json"]), default: "auto", value: "FORMAT",
        help: "Result on stdout: text, json, or auto: the summary of work is JSON where stdout is no terminal, an answer is text", ..NONE };
    LOG_FORMAT = Setting { flag: "--log-format", variable: "ETL_LOG_FORMAT", form: Form::Words(&["auto", "text", "json", "ecs"]), default: "auto", value: "FORMAT",
        help: "Log on stderr: text, json, ecs (JSON for the Elastic Common Schema), or auto", ..NONE };
    NO_PROGRESS = Setting { flag: "--no-progress", variable: "ETL_NO_PROGRESS", form: Form::YesNo, default: "no", help: "No progress on stderr", ..NONE };
    COLOR = Setting { flag: "--color", variable: "ETL_COLOR", form: Form::Words(&["auto", "always", "never"]), default: "auto", value: "WHEN",
        help: "Colours: always, never, or auto (on a terminal, unless NO_COLOR is set; CLICOLOR_FORCE forces them)", ..NONE };
    MERGE = Setting { key: "merge", form: Form::Words(&["line", "order"]), default: "line",
        help: "What a newer version of an order replaces: the rows of its lines, or all rows of the order", ..NONE };
    REPEATED_SKU = Setting { key: "repeated_sku", form: Form::Words(&["last", "sum"]), default: "last",
        help: "Several lines of one sku in a record: the last one counts, or their sum", ..NONE };
    FACT_QUANTITY = Setting { key: "fact.quantity", form: Form::Words(&["whole", "decimal"]), default: "that of the profile, else whole",
        help: "Type of `quantity`: a whole number, or DECIMAL(18,4) for what is weighed or measured", ..NONE };
    FACT_MONEY = Setting { key: "fact.money", form: Form::Words(&["none", "lines"]), default: "none",
        help: "`lines` adds columns for the discount, the tax and the refunds of a line, where the profile knows them", ..NONE };
    FACT_TIME_ZONE = Setting { key: "fact.time_zone", form: Form::Text, default: "none",
        help: "Zone such as Europe/Berlin: adds the column `local_date`, the date of `created_at` there", ..NONE };
    FACT_COLUMNS = Setting { key: "fact.columns", form: Form::Table, default: "none", help: "Extra columns of `fact_order`", ..NONE };
    COLUMNS = Setting { key: "columns", form: Form::Table, default: "none", help: "Masks of personal data, by column: see operations.md", ..NONE };
    THREADS = Setting { key: "threads", form: Form::Whole { from: 1, to: 1024 }, default: "one per core", help: "Threads that normalize, merge and check", ..NONE };
    SCD = Setting { key: "scd", form: VERSIONS, default: "1", help: "2 keeps versions of the members of both dimensions", ..NONE };
    DIM_USER_SCD = Setting { key: "dim_user.scd", form: VERSIONS, default: "as scd", help: "The same, for users", ..NONE };
    DIM_PRODUCT_SCD = Setting { key: "dim_product.scd", form: VERSIONS, default: "as scd", help: "The same, for products", ..NONE };
    USER_COUNTRY = Setting { key: "enrich.user_country", default: "country", help: "Column of `dim_user` that a fact carries as `user_country`", ..NONE };
    PRODUCT_NAME = Setting { key: "enrich.product_name", default: "name", help: "Column of `dim_product` that a fact carries as `product_name`", ..NONE };
    PRODUCT_CATEGORY = Setting { key: "enrich.product_category", default: "category",
        help: "Column of `dim_product` that a fact carries as `product_category`", ..NONE };
    PROXY = Setting { variable: "ETL_PROXY", key: "http.proxy", default: "HTTPS_PROXY, HTTP_PROXY or ALL_PROXY",
        help: "Proxy for all requests: http, https, socks5 or socks5h; none (or an empty text) for no proxy", ..NONE };
    CA_FILE = Setting { key: "http.ca_file", default: "none", help: "PEM file of authorities that are trusted beside those of the platform", ..NONE };
    CLIENT_CERT = Setting { key: "http.client_cert", default: "none", help: "PEM file of the client certificate, for servers that ask for one", ..NONE };
    CLIENT_KEY = Setting { key: "http.client_key", default: "none", help: "PEM file of its private key", ..NONE };
    ALLOW_PLAIN = Setting { key: "http.allow_plain", form: Form::YesNo, default: "no",
        help: "Send credentials over plain http to hosts other than this machine", ..NONE };
    CONNECT_TIMEOUT = Setting { key: "http.connect_timeout", form: TIMEOUT, default: "10s", help: "Time to open a connection", ..NONE };
    READ_TIMEOUT = Setting { key: "http.read_timeout", form: TIMEOUT, default: "30s", help: "Time without a byte of the response", ..NONE };
    REQUEST_TIMEOUT = Setting { key: "http.request_timeout", form: LONG_TIMEOUT, default: "5m", help: "Time for one attempt, with its redirects and its body", ..NONE };
    RETRY_TIMEOUT = Setting { key: "http.retry_timeout", form: LONG_TIMEOUT, default: "15m", help: "Time for all attempts at a request, with the waits between them", ..NONE };
    BACKOFF_FIRST = Setting { key: "http.backoff_first", form: Form::Span { from: Duration::ZERO, to: HOUR }, default: "500ms",
        help: "Longest first wait between attempts; it doubles from there", ..NONE };
    BACKOFF_CAP = Setting { key: "http.backoff_cap", form: Form::Span { from: MILLISECOND, to: HOUR }, default: "30s", help: "Longest wait between attempts", ..NONE };
    RETRY_AFTER_CAP = Setting { key: "http.retry_after_cap", form: Form::Span { from: Duration::ZERO, to: DAY }, default: "60s",
        help: "Longest wait that `Retry-After` may ask for", ..NONE };
    PER_PAGE = Setting { key: "http.per_page", form: Form::Whole { from: 1, to: 100_000 }, default: "500", help: "`per_page` of a list in numbered pages", ..NONE };
    MAX_PAGES = Setting { key: "http.max_pages", form: Form::Whole { from: 1, to: 1_000_000_000 }, default: "1000000", help: "Pages that a list may have", ..NONE };
    MAX_REDIRECTS = Setting { key: "http.max_redirects", form: Form::Whole { from: 0, to: 100 }, default: "10", help: "Redirects of one request", ..NONE };
    MAX_BODY = Setting { key: "http.max_body", form: Form::Whole { from: 1, to: TIB }, default: "268435456", help: "Bytes of a body, decompressed", ..NONE };
    RECORD_BYTES = Setting { key: "limits.record_bytes", form: Form::Whole { from: 1, to: 1 << 32 }, default: "67108864",
        help: "Bytes of a record; larger records are dropped", ..NONE };
    DEPTH = Setting { key: "limits.depth", form: Form::Whole { from: 1, to: 10_000 }, default: "128",
        help: "Nested objects and arrays of a record; deeper records are dropped", ..NONE };
    EXPANSION = Setting { key: "limits.expansion", form: Form::Whole { from: 1, to: 1_000_000 }, default: "200",
        help: "Factor by which a compressed file may expand, beyond 256 MiB", ..NONE };
    REDSHIFT_SCHEMA = Setting { key: "redshift.schema", default: "none", help: "Schema of the tables", ..NONE };
    REDSHIFT_LOCATION = Setting { key: "redshift.url", default: "none", help: "Location of the output for the warehouse: s3://bucket/prefix", ..NONE };
    REDSHIFT_IAM_ROLE = Setting { key: "redshift.iam_role", default: "none", help: "Role that COPY reads with", ..NONE };
    REDSHIFT_REGION = Setting { key: "redshift.region", default: "that of the cluster", help: "Region of the bucket", ..NONE };
    REDSHIFT_CONNECT_TIMEOUT = Setting { key: "redshift.connect_timeout", form: TIMEOUT, default: "30s", help: "Time to open a session in the warehouse", ..NONE };
    REDSHIFT_STATEMENT_TIMEOUT = Setting { key: "redshift.statement_timeout", form: LONG_TIMEOUT, default: "1h", help: "Time for one statement in the warehouse", ..NONE };
    SLOW_PERCENT = Setting { key: "alerts.slow_percent", form: PERCENT, default: "200", help: "Percent of the average duration from which a run is slow", ..NONE };
    SLOW_AFTER = Setting { key: "alerts.slow_after", form: PAST, default: "1s", help: "A run that takes less is never slow", ..NONE };
    DROPPED_PERCENT = Setting { key: "alerts.dropped_percent", form: PERCENT, default: "5", help: "Percent of dropped records from which an alert is raised", ..NONE };
    NO_RECORDS = Setting { key: "alerts.no_records", form: Form::YesNo, default: "yes", help: "Raise an alert for a day without rows", ..NONE };
    FRESHNESS = Setting { key: "alerts.freshness", form: AGE, default: "none", help: "Age of the newest row from which an alert is raised", ..NONE };
    ALERT_NAME = Setting { key: "alerts.name", default: "the path of the output",
        help: "Stable name of this pipeline: receivers know its incidents by it, on whichever host it runs", ..NONE };
    STUCK_AFTER = Setting { key: "alerts.stuck_after", form: AGE, default: "6h", help: "Time for which a run may hold the output before it counts as stuck", ..NONE };
    REPEAT = Setting { key: "alerts.repeat", form: AGE, default: "never", help: "Time after which a lasting alert is sent again", ..NONE };
    ALERT_TIMEOUT = Setting { key: "alerts.timeout", form: TIMEOUT, default: "5s", help: "Time for one attempt to send an alert", ..NONE };
    PAGERDUTY_URL = Setting { key: "alerts.pagerduty_url", default: "that of the US", help: "Endpoint of PagerDuty for events", ..NONE };
    ALERT_WEBHOOK_URL = Setting { variable: "ETL_ALERT_WEBHOOK_URL", form: Form::Secret, default: "none", help: "Webhook that receives alerts as JSON", ..NONE };
    ALERT_WEBHOOK_TOKEN = Setting { variable: "ETL_ALERT_WEBHOOK_TOKEN", form: Form::Secret, default: "none", help: "Its bearer token", ..NONE };
    ALERT_SLACK_URL = Setting { variable: "ETL_ALERT_SLACK_URL", form: Form::Secret, default: "none", help: "Incoming webhook of Slack", ..NONE };
    ALERT_TEAMS_URL = Setting { variable: "ETL_ALERT_TEAMS_URL", form: Form::Secret, default: "none", help: "Workflow of Microsoft Teams", ..NONE };
    ALERT_PAGERDUTY_KEY = Setting { variable: "ETL_ALERT_PAGERDUTY_KEY", form: Form::Secret, default: "none", help: "Routing key of PagerDuty", ..NONE };
    LINEAGE_URL = Setting { variable: "OPENLINEAGE_URL", key: "lineage.url", default: "none",
        help: "Server that receives OpenLineage events of runs, such as Marquez: see lineage.md", ..NONE };
    LINEAGE_ENDPOINT = Setting { variable: "OPENLINEAGE_ENDPOINT", key: "lineage.endpoint", default: "api/v1/lineage",
        help: "Path beneath that URL which events are posted to", ..NONE };
    LINEAGE_FILE = Setting { variable: "ETL_LINEAGE_FILE", key: "lineage.file", default: "none",
        help: "File that OpenLineage events are appended to, one a line", ..NONE };
    LINEAGE_NAMESPACE = Setting { variable: "OPENLINEAGE_NAMESPACE", key: "lineage.namespace", default: "orders-etl",
        help: "Namespace of the job in these events", ..NONE };
    LINEAGE_JOB = Setting { variable: "ETL_LINEAGE_JOB", key: "lineage.job", default: "`orders_etl.` and the shop or profile",
        help: "Name of the job in these events", ..NONE };
    LINEAGE_TIMEOUT = Setting { key: "lineage.timeout", form: TIMEOUT, default: "5s", help: "Time to send one event, with all its attempts", ..NONE };
    LINEAGE_DISABLED = Setting { variable: "OPENLINEAGE_DISABLED", form: Form::YesNo, default: "no", help: "Send and write no OpenLineage events", ..NONE };
    LINEAGE_API_KEY = Setting { variable: "OPENLINEAGE_API_KEY", form: Form::Secret, default: "none", help: "Bearer token of that server", ..NONE };
    LINEAGE_PARENT = Setting { variable: "OPENLINEAGE_PARENT_ID", default: "none",
        help: "Run that this one is a part of, as `namespace/job/run`: what Airflow's macro `lineage_parent_id` says", ..NONE };
    LINEAGE_ROOT = Setting { variable: "OPENLINEAGE_ROOT_PARENT_ID", default: "that of the parent",
        help: "Run at the top of all, in the same form", ..NONE };
    MASK_KEY = Setting { variable: "ETL_MASK_KEY", form: Form::Secret, default: "none", help: "Key of `mask = \"hmac\"`, at least 32 bytes", ..NONE };
    REDSHIFT_URL = Setting { variable: "ETL_REDSHIFT_URL", form: Form::Secret, default: "none",
        help: "Connection of `etl redshift --execute`: postgresql://user:password@host:5439/db", ..NONE };
    REDSHIFT_PASSWORD_COMMAND = Setting { variable: "ETL_REDSHIFT_PASSWORD_COMMAND", form: Form::Secret, default: "none",
        help: "Shell command that prints the password, or the JSON of the vendor's temporary credentials", ..NONE };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_name_stands_twice_and_flags_and_variables_agree() {
        for name in [|setting: &Setting| setting.flag, |setting: &Setting| setting.variable, |setting: &Setting| setting.key] {
            let names: Vec<_> = SETTINGS.iter().map(name).filter(|name| !name.is_empty()).collect();
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        }
        for setting in SETTINGS.iter().filter(|setting| !setting.flag.is_empty()) {
            assert_eq!(setting.variable, format!("ETL_{}", setting.id().replace('-', "_").to_uppercase()), "{}", setting.flag);
        }
        for setting in SETTINGS {
            assert!(!setting.help.is_empty() && !setting.default.is_empty(), "{setting:?}");
            assert!(setting.help.split_whitespace().count() <= 25, "{}", setting.help);
        }
    }
}
