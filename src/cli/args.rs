//! The command line as it is typed. What it means is `settings`'.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Orders from an HTTP API or files to a checked star schema in dt= partitions.
#[derive(Parser, Debug)]
#[command(name = "etl", version, max_term_width = 100, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
    #[command(flatten)]
    pub(super) display: DisplayArgs,
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// One run over the window: extract, normalize, join, merge, check, publish
    Run(RunArgs),
    /// The same, chunk by chunk; run again after a failure, it continues at the first chunk that is not done
    Backfill(BackfillArgs),
    /// What a run or a backfill would ask for, and why; gaps in what has been loaded
    Plan(PlanArgs),
    /// The checks alone, over the curated layer as it stands
    Check(CheckArgs),
    /// The history of runs: `etl runs show RUN_ID` tells all of one
    Runs(RunsArgs),
    /// Whether the layer is complete and healthy, on one screen
    Status(StatusArgs),
    /// What runs dropped, by run and reason; `etl quarantine replay RUN_ID` loads it once it is mended
    Quarantine(QuarantineArgs),
    /// Who is told of trouble: `etl alerts test` tells them
    Alerts(AlertsArgs),
    /// What would be made of a source: one page is fetched, nothing is written
    Probe(ProbeArgs),
    /// The profiles that ship: `etl sources show NAME` prints one as an etl.toml to start from
    Sources(SourcesArgs),
    /// The layer under the columns that etl.toml names, partition by partition
    Rewrite(RewriteArgs),
    /// The SQL that loads the output into Redshift
    Redshift(RedshiftArgs),
    /// The whole job against an HTTP API embedded in this binary: needs no configuration
    Demo(DemoArgs),
}

/// What a result or a log looks like.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// What the log looks like.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// A line of JSON an event.
    Json,
    /// The same, under the names of the Elastic Common Schema.
    Ecs,
}

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Display")]
pub(super) struct DisplayArgs {
    /// The result on stdout [default: auto: text on a terminal, else one line of JSON] [env: ETL_FORMAT]
    #[arg(long, global = true, value_enum, hide_possible_values = false)]
    pub(super) format: Option<Format>,
    /// The log on stderr [default: auto] [env: ETL_LOG_FORMAT]
    #[arg(long, global = true, value_enum)]
    pub(super) log_format: Option<LogFormat>,
    /// More of the log (-vv: most)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    /// Errors only; no text result on success
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// No progress on stderr
    #[arg(long, global = true)]
    pub(super) no_progress: bool,
}

#[derive(Args, Debug, Clone)]
pub(super) struct ConfigArgs {
    /// Settings file [default: etl.toml, where there is one] [env: ETL_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Where the layer lies [default: output] [env: ETL_OUTPUT]
    #[arg(long, value_name = "DIR")]
    pub(super) output: Option<String>,
}

#[derive(Args, Debug, Clone)]
pub(super) struct JobArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Orders: an http(s) URL, or a file, folder or glob of .json, .ndjson, .jsonl, also .gz or .zst [env: ETL_ORDERS]
    #[arg(long, value_name = "LOCATION")]
    pub(super) orders: Option<String>,
    /// Users: the same, also .csv and .parquet [env: ETL_USERS]
    #[arg(long, value_name = "LOCATION")]
    pub(super) users: Option<String>,
    /// Products: the same, also .csv and .parquet [env: ETL_PRODUCTS]
    #[arg(long, value_name = "LOCATION")]
    pub(super) products: Option<String>,
    /// A profile that ships, for all three sources: see `etl sources` [env: ETL_SOURCE]
    #[arg(long, value_name = "NAME")]
    pub(super) source: Option<String>,
    /// Where the API of the three sources is, for a profile that knows their paths [env: ETL_URL]
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
    /// The time that the window is on: created_at or updated_at [default: created_at] [env: ETL_CURSOR]
    #[arg(long, value_name = "COLUMN")]
    pub(super) cursor: Option<String>,
    /// The window's beginning, on created_at or the --cursor: 2026-01-31, RFC 3339, 7d or 36h ago, or `last`: where the coverage of this source first ends, less --lookback [env: ETL_SINCE]
    #[arg(long, value_name = "WHEN")]
    pub(super) since: Option<String>,
    /// The window's end, exclusive [env: ETL_UNTIL]
    #[arg(long, value_name = "WHEN")]
    pub(super) until: Option<String>,
    /// Everything but publish
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Publish also where less came than the source claims to hold; coverage does not grow then [env: ETL_ALLOW_INCOMPLETE]
    #[arg(long)]
    pub(super) allow_incomplete: bool,
    /// How long to wait where another run holds the output [default: 0s] [env: ETL_LOCK_WAIT]
    #[arg(long, value_name = "SPAN")]
    pub(super) lock_wait: Option<String>,
    /// Your own checks: a folder of .sql files [default: checks/ beside etl.toml, where there is one] [env: ETL_CHECKS]
    #[arg(long, value_name = "DIR")]
    pub(super) checks: Option<String>,
    /// Which partitions the built-in checks look at: changed or full [default: changed] [env: ETL_CHECK_SCOPE]
    #[arg(long, value_name = "SCOPE")]
    pub(super) check_scope: Option<String>,
    /// After a failed check of severity error: abort or publish [default: abort] [env: ETL_ON_CHECK_FAILURE]
    #[arg(long, value_name = "WHAT")]
    pub(super) on_check_failure: Option<String>,
    /// The exit code where there was nothing to publish (99 makes that an Airflow skip) [default: 0] [env: ETL_EMPTY_EXIT_CODE]
    #[arg(long, value_name = "CODE")]
    pub(super) empty_exit_code: Option<String>,
    /// Attempts a request [default: 3] [env: ETL_MAX_ATTEMPTS]
    #[arg(long, value_name = "N")]
    pub(super) max_attempts: Option<String>,
    /// Memory that the run is to make do with, about, such as 1GiB [env: ETL_MEMORY_LIMIT]
    #[arg(long, value_name = "SIZE")]
    pub(super) memory_limit: Option<String>,
    /// Metrics of the run as OpenMetrics text, for node_exporter's textfile collector [env: ETL_METRICS_FILE]
    #[arg(long, value_name = "FILE")]
    pub(super) metrics_file: Option<String>,
    /// Metrics of the run in CloudWatch's Embedded Metric Format, added to a file, or `-` for stdout [env: ETL_METRICS_EMF]
    #[arg(long, value_name = "FILE")]
    pub(super) metrics_emf: Option<String>,
    /// Remove quarantine, manifests and reports of runs older than this [default: they are kept] [env: ETL_RETENTION]
    #[arg(long, value_name = "SPAN")]
    pub(super) retention: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) job: JobArgs,
    /// How far `--since last` goes back behind the end of what was covered [default: 24h] [env: ETL_LOOKBACK]
    #[arg(long, value_name = "SPAN")]
    pub(super) lookback: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct BackfillArgs {
    #[command(flatten)]
    pub(super) job: JobArgs,
    /// How much is loaded at once: 12h, 1d, 1w, 1mo, 1y
    #[arg(long, value_name = "SPAN", default_value = "1d")]
    pub(super) chunk: String,
    /// Load all chunks again, from the first
    #[arg(long, conflicts_with = "gaps")]
    pub(super) restart: bool,
    /// Load what was never loaded, between intervals that were: see `etl plan`
    #[arg(long)]
    pub(super) gaps: bool,
}

/// Which orders a command looks at.
#[derive(Args, Debug)]
pub(super) struct OrdersArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Orders: an http(s) URL, or files [env: ETL_ORDERS]
    #[arg(long, value_name = "LOCATION")]
    pub(super) orders: Option<String>,
    /// A profile that ships: see `etl sources` [env: ETL_SOURCE]
    #[arg(long, value_name = "NAME")]
    pub(super) source: Option<String>,
    /// Where the API is, for a profile that knows its paths [env: ETL_URL]
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    pub(super) which: OrdersArgs,
    /// The time that the window is on: created_at or updated_at [default: created_at] [env: ETL_CURSOR]
    #[arg(long, value_name = "COLUMN")]
    pub(super) cursor: Option<String>,
    /// The beginning of the window [default: last] [env: ETL_SINCE]
    #[arg(long, value_name = "WHEN")]
    pub(super) since: Option<String>,
    /// The end of the window, exclusive [env: ETL_UNTIL]
    #[arg(long, value_name = "WHEN")]
    pub(super) until: Option<String>,
    /// How far `--since last` goes back behind the end of what was covered [default: 24h] [env: ETL_LOOKBACK]
    #[arg(long, value_name = "SPAN")]
    pub(super) lookback: Option<String>,
    /// Plan a backfill too, by chunks of this size: 12h, 1d, 1w, 1mo, 1y
    #[arg(long, value_name = "SPAN")]
    pub(super) chunk: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Your own checks: a folder of .sql files [default: checks/ beside etl.toml, where there is one] [env: ETL_CHECKS]
    #[arg(long, value_name = "DIR")]
    pub(super) checks: Option<String>,
    /// Memory of DuckDB, such as 1GiB [env: ETL_MEMORY_LIMIT]
    #[arg(long, value_name = "SIZE")]
    pub(super) memory_limit: Option<String>,
    /// First make the tool's state (the catalog and the index of orders) anew from curated/ alone
    #[arg(long)]
    pub(super) rebuild_state: bool,
    /// With --rebuild-state: how long to wait where a run holds the output [default: 0s] [env: ETL_LOCK_WAIT]
    #[arg(long, value_name = "SPAN")]
    pub(super) lock_wait: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct RewriteArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// How long to wait where a run holds the output [default: 0s] [env: ETL_LOCK_WAIT]
    #[arg(long, value_name = "SPAN")]
    pub(super) lock_wait: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct ProbeArgs {
    #[command(flatten)]
    pub(super) which: OrdersArgs,
    /// Attempts a request [default: 3] [env: ETL_MAX_ATTEMPTS]
    #[arg(long, value_name = "N")]
    pub(super) max_attempts: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct SourcesArgs {
    #[command(subcommand)]
    pub(super) what: Option<SourcesCommand>,
}

#[derive(Subcommand, Debug)]
pub(super) enum SourcesCommand {
    /// One profile, as an etl.toml
    Show {
        /// Its name
        name: String,
    },
}

#[derive(Args, Debug)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
}

#[derive(Args, Debug)]
pub(super) struct AlertsArgs {
    #[command(subcommand)]
    pub(super) what: AlertsCommand,
}

#[derive(Subcommand, Debug)]
pub(super) enum AlertsCommand {
    /// Sends one alert to everybody who is configured
    Test(ConfigArgs),
}

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct QuarantineArgs {
    #[command(subcommand)]
    pub(super) what: Option<QuarantineCommand>,
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Only what this run dropped
    #[arg(long, value_name = "RUN_ID")]
    pub(super) run: Option<String>,
    /// How many runs, the latest first
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(super) limit: usize,
    /// How many records of each reason are shown
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(super) samples: usize,
}

#[derive(Subcommand, Debug)]
pub(super) enum QuarantineCommand {
    /// The records that a run dropped, as they now stand in its quarantine, through a run of their own
    Replay {
        /// The run that dropped them
        run_id: String,
        #[command(flatten)]
        job: JobArgs,
    },
}

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct RunsArgs {
    #[command(subcommand)]
    pub(super) what: Option<RunsCommand>,
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// How many, the latest first
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(super) limit: usize,
}

#[derive(Subcommand, Debug)]
pub(super) enum RunsCommand {
    /// All that one run said of itself
    Show {
        /// The run, or as much of the beginning of its name as no other has
        run_id: String,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

#[derive(Args, Debug)]
pub(super) struct RedshiftArgs {
    #[command(subcommand)]
    pub(super) what: RedshiftCommand,
}

#[derive(Subcommand, Debug)]
pub(super) enum RedshiftCommand {
    /// The tables
    Ddl(RedshiftSqlArgs),
    /// A full load, in one transaction
    Copy(RedshiftSqlArgs),
    /// What runs have changed, in one transaction
    Merge {
        #[command(flatten)]
        sql: RedshiftSqlArgs,
        /// What this run changed [default: the last one that changed something]
        #[arg(long, value_name = "RUN_ID", conflicts_with = "since_run")]
        run: Option<String>,
        /// What was changed after this run
        #[arg(long, value_name = "RUN_ID")]
        since_run: Option<String>,
    },
}

#[derive(Args, Debug)]
pub(super) struct RedshiftSqlArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Run it over ETL_REDSHIFT_URL (postgresql://user:password@host:5439/db, TLS) instead of printing it
    #[arg(long)]
    pub(super) execute: bool,
}

#[derive(Args, Debug)]
pub(super) struct DemoArgs {
    /// Where the layer of the demo lies
    #[arg(long, value_name = "DIR", default_value = "output/demo")]
    pub(super) output: PathBuf,
}
