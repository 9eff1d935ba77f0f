//! The command line as it is typed. What a value means is decided in `settings`, whose table also makes the flags.

use std::{marker::PhantomData, num::NonZero, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches, Parser, Subcommand, ValueEnum, builder::NonEmptyStringValueParser};
use clap_complete::Shell;

use super::{
    config::ConfigCommandArgs,
    counts::{count, count_or_none},
    init::InitArgs,
};
use crate::{
    model::{Dt, RunId},
    report::CommandName,
    settings::{Flags, Form, Setting, setting},
    warehouse::ddl::Engine,
};

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
    /// Run once over the window: extract, normalize, join, merge, check and publish
    Run(RunArgs),
    /// Run chunk by chunk; after a failure, a rerun continues at the first chunk that is not done
    Backfill(BackfillArgs),
    /// Show what a run or a backfill would request, and why; show gaps in the coverage
    Plan(PlanArgs),
    /// Run the checks alone, over the published layer
    Check(CheckArgs),
    /// List the runs; `etl runs show RUN_ID` shows one in full
    Runs(RunsArgs),
    /// Say whether the layer is complete and healthy, on one screen
    Status(StatusArgs),
    /// Write the layer as one HTML file: revenue, coverage, runs, checks, drops
    Report(ReportArgs),
    /// Explain one order: its rows, its versions and why each won or lost, its drops and checks
    Explain(ExplainArgs),
    /// List dropped records, by run and reason; `etl quarantine replay RUN_ID` loads corrected ones
    Quarantine(QuarantineArgs),
    /// Test the receivers of alerts: `etl alerts test` sends an alert to each
    Alerts(AlertsArgs),
    /// Show how a source would be read: fetch one page, write nothing
    Probe(ProbeArgs),
    /// Test whether the source, its token, the output, the disk, the clock, the warehouse and the receivers of alerts work; write nothing
    Doctor(DoctorArgs),
    /// Write the files of a new pipeline: etl.toml, .env, a check, and a crontab or a DAG
    Init(InitArgs),
    /// Test the mapping with the records of tests/*.toml; exit 4 if a case fails
    Test(TestArgs),
    /// Show every setting and who said it, check all settings, or print the schema of etl.toml
    Config(ConfigCommandArgs),
    /// List the shipped profiles; `etl sources show NAME` prints one as an etl.toml to start from
    Sources(SourcesArgs),
    /// Put the layer back to what it was before a run
    Undo(UndoArgs),
    /// Show what a run changed, or what changed from one run to another
    Diff(DiffArgs),
    /// List the keys of all rows that changed since a run, for downstream models
    Changes(ChangesArgs),
    /// Remove the versions of files that are past --keep
    Vacuum(VacuumArgs),
    /// Print the statements that make the layer readable in DuckDB, Athena, Spark, Glue or PostgreSQL
    Ddl(DdlArgs),
    /// Describe each column of the layer: a data dictionary, for people and for other tools
    Schema(SchemaArgs),
    /// Take users out of the layer, and out of what runs keep beside it; facts keep their money
    Erase(EraseArgs),
    /// Rewrite all partitions, with the columns that etl.toml names or in another file format
    Rewrite(RewriteArgs),
    /// Map the kept records again, by the profile and the columns of today; ask no source
    Rebuild(RebuildArgs),
    /// Print or run the SQL that loads the output into Redshift
    Redshift(RedshiftArgs),
    /// Run the whole job against an HTTP API embedded in this binary; no configuration is needed
    Demo(DemoArgs),
    /// Print the script by which a shell completes commands and flags
    Completions(CompletionsArgs),
    /// Print the manual of `etl`, or write one page a command
    Man(ManArgs),
}

impl Cli {
    /// The flags of settings, whatever the command.
    pub(super) fn flags(&self) -> Flags {
        let mut display = self.display.settings.flags.clone();
        if self.display.json {
            display.set(&setting::FORMAT, "json".to_owned());
        }
        display.and(&self.command.flags())
    }
}

impl Command {
    /// Whether problems of any setting are its result, and not an error before it.
    pub(super) fn tells_problems(&self) -> bool {
        matches!(self, Command::Config(args) if args.tells_problems())
    }

    /// The name that events of lineage give this command; `None` for one that changes no layer, and for a dry run that its own flag
    /// asks for.
    pub(super) fn changes_layer(&self) -> Option<CommandName> {
        match self {
            Command::Run(args) => args.sample.is_none().then_some(CommandName::Run),
            Command::Backfill(_) => Some(CommandName::Backfill),
            Command::Quarantine(QuarantineArgs { what: Some(QuarantineCommand::Replay { .. }), .. }) => Some(CommandName::Replay),
            Command::Rebuild(_) => Some(CommandName::Rebuild),
            Command::Rewrite(args) => (!args.dry_run).then_some(CommandName::Rewrite),
            Command::Undo(_) => Some(CommandName::Undo),
            Command::Erase(_) => Some(CommandName::Erase),
            _ => None,
        }
    }

    fn flags(&self) -> Flags {
        match self {
            Command::Run(args) => args.flags(),
            Command::Backfill(args) => args.job.flags.clone(),
            Command::Plan(args) => args.settings.flags.clone(),
            Command::Check(args) => args.settings.flags.clone(),
            Command::Runs(args) => args.config().flags.clone(),
            Command::Status(args) => args.config.flags.clone(),
            Command::Report(args) => args.config.flags.clone(),
            Command::Explain(args) => args.config.flags.clone(),
            Command::Quarantine(QuarantineArgs { what: Some(QuarantineCommand::Replay { job, .. }), .. }) => job.flags.clone(),
            Command::Quarantine(args) => args.config.flags.clone(),
            Command::Alerts(AlertsArgs { what: AlertsCommand::Test(config) }) => config.flags.clone(),
            Command::Probe(args) => args.settings.flags.clone(),
            Command::Config(args) => args.flags(),
            Command::Test(args) => args.settings.flags.clone(),
            Command::Doctor(args) => args.settings.flags.clone(),
            Command::Rewrite(args) => args.settings.flags.clone(),
            Command::Rebuild(args) => args.settings.flags.clone(),
            Command::Undo(args) => args.settings.flags.clone(),
            Command::Erase(args) => args.settings.flags.clone(),
            Command::Diff(args) => args.config.flags.clone(),
            Command::Changes(args) => args.config.flags.clone(),
            Command::Vacuum(args) => args.settings.flags.clone(),
            Command::Ddl(args) => args.settings.flags.clone(),
            Command::Schema(args) => args.config.flags.clone(),
            Command::Redshift(args) => args.what.config().flags.clone(),
            Command::Init(_) | Command::Sources(_) | Command::Demo(_) | Command::Completions(_) | Command::Man(_) => Flags::default(),
        }
    }
}

/// Some settings whose flags a command takes.
pub(super) trait SettingSet {
    /// The settings, in the order of the help.
    const SETTINGS: &'static [&'static Setting];
    /// Whether the flags go with every command.
    const SCOPE: Scope = Scope::Command;
}

/// Where flags are accepted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// After the command that has them.
    Command,
    /// Before and after every command.
    Everywhere,
}

/// The flags of a set of settings: clap's arguments are made from the table of settings, and read back by setting.
#[derive(Clone, Debug)]
pub(super) struct SettingArgs<S> {
    pub(super) flags: Flags,
    set: PhantomData<S>,
}

/// The short flag of the output: `-o`.
const OUTPUT_LETTER: char = 'o';

/// The argument of a setting.
fn arg(setting: &'static Setting, scope: Scope) -> Arg {
    let default = match setting.default {
        "none" | "no" | "open" | "none: required" => String::new(),
        default => format!(" [default: {default}]"),
    };
    let arg = Arg::new(setting.id()).long(setting.id()).help(format!("{}{default} [env: {}]", setting.help, setting.variable));
    let arg = arg.global(scope == Scope::Everywhere).aliases(setting.old_names().map(|old| old.id));
    let arg = if setting.flag == setting::OUTPUT.flag { arg.short(OUTPUT_LETTER) } else { arg };
    match setting.form {
        Form::YesNo => arg.action(ArgAction::SetTrue),
        Form::WordsOrAlone { alone, .. } => arg.value_name(setting.value).num_args(0..=1).default_missing_value(alone),
        // The setting says what to write; clap would take it for an unknown flag.
        Form::Whole { .. } | Form::Number { .. } => arg.value_name(setting.value).allow_negative_numbers(true),
        _ => arg.value_name(setting.value),
    }
}

impl<S: SettingSet> Args for SettingArgs<S> {
    fn augment_args(command: clap::Command) -> clap::Command {
        S::SETTINGS.iter().fold(command, |command, setting| command.arg(arg(setting, S::SCOPE)))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        SettingArgs::<S>::augment_args(command)
    }
}

impl<S: SettingSet> FromArgMatches for SettingArgs<S> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<SettingArgs<S>, clap::Error> {
        let mut flags = Flags::default();
        for setting in S::SETTINGS {
            let value = match setting.form {
                Form::YesNo => matches.get_flag(setting.id()).then(|| "true".to_owned()),
                _ => matches.get_one::<String>(setting.id()).cloned(),
            };
            value.into_iter().for_each(|value| flags.set(setting, value));
        }
        Ok(SettingArgs { flags, set: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = SettingArgs::from_arg_matches(matches)?;
        Ok(())
    }
}

macro_rules! setting_sets {
    ($($(#[$doc:meta])* $name:ident: $($setting:ident),* $(; $scope:ident)?;;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug)]
            pub(super) struct $name;
            impl SettingSet for $name {
                const SETTINGS: &'static [&'static Setting] = &[$(&setting::$setting),*];
                $(const SCOPE: Scope = Scope::$scope;)?
            }
        )*
    };
}

setting_sets! {
    /// How results and logs look.
    DisplaySettings: FORMAT, LOG_FORMAT, NO_PROGRESS, COLOR; Everywhere;;
    /// Where the settings and the layer are.
    ConfigSettings: CONFIG, OUTPUT;;
    /// A job over the three sources.
    JobSettings: CONFIG, OUTPUT, ORDERS, USERS, PRODUCTS, PROFILE, URL, CURSOR, SINCE, UNTIL, DRY_RUN, ALLOW_INCOMPLETE, DELETE_MISSING,
        DELETE_LIMIT, LOCK_WAIT, CHECKS, CHECK_SCOPE, ON_CHECK_FAILURE, EMPTY_EXIT_CODE, MAX_ATTEMPTS, MEMORY_LIMIT, METRICS_FILE,
        METRICS_EMF, RETENTION, KEEP, DROP_HISTORY, ACCEPT_SCHEMA, ACCEPT_NEW_SHOP, FILE_FORMAT, COMPRESSION, KEEP_RAW;;
    /// Where a window begins that follows earlier runs.
    LookbackSettings: LOOKBACK;;
    /// What a run or backfill would load.
    PlanSettings: CONFIG, OUTPUT, ORDERS, PROFILE, URL, CURSOR, SINCE, LOOKBACK, UNTIL;;
    /// The checks alone.
    CheckSettings: CONFIG, OUTPUT, CHECKS, SINCE, UNTIL, MEMORY_LIMIT, LOCK_WAIT;;
    /// The layer under other columns or in another format.
    RewriteSettings: CONFIG, OUTPUT, LOCK_WAIT, FILE_FORMAT, COMPRESSION;;
    /// A job over kept records.
    RebuildSettings: CONFIG, OUTPUT, ORDERS, PROFILE, URL, CURSOR, DRY_RUN, LOCK_WAIT, CHECKS, CHECK_SCOPE, ON_CHECK_FAILURE,
        EMPTY_EXIT_CODE, MEMORY_LIMIT, METRICS_FILE, METRICS_EMF, RETENTION, KEEP, DROP_HISTORY;;
    /// The statements for another engine.
    DdlSettings: CONFIG, OUTPUT, FILE_FORMAT, COMPRESSION;;
    /// A change of the layer as a whole.
    ChangeSettings: CONFIG, OUTPUT, DRY_RUN, LOCK_WAIT;;
    /// What is past its time.
    VacuumSettings: CONFIG, OUTPUT, DRY_RUN, LOCK_WAIT, KEEP;;
    /// What maps a record.
    TestSettings: CONFIG, ORDERS, PROFILE, URL, CURSOR;;
    /// What a job needs from outside.
    DoctorSettings: CONFIG, OUTPUT, ORDERS, USERS, PRODUCTS, PROFILE, URL, CHECKS;;
    /// One page of the orders.
    ProbeSettings: CONFIG, OUTPUT, ORDERS, PROFILE, URL, MAX_ATTEMPTS;;
}

/// The flags of a job.
pub(super) type JobArgs = SettingArgs<JobSettings>;
/// The flags of commands that only read settings and the layer.
pub(super) type ConfigArgs = SettingArgs<ConfigSettings>;

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Display")]
pub(super) struct DisplayArgs {
    #[command(flatten)]
    pub(super) settings: SettingArgs<DisplaySettings>,
    /// The result as one line of JSON: the same as --format json
    #[arg(long, global = true, conflicts_with = "format")]
    pub(super) json: bool,
    /// More of the log (-vv: everything)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
    /// Errors only; no text result on success
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
}

#[derive(Args, Debug)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) job: JobArgs,
    #[command(flatten)]
    pub(super) lookback: SettingArgs<LookbackSettings>,
    /// Only this shop of etl.toml; may be given several times
    #[arg(long = "shop", value_name = "NAME")]
    pub(super) shops: Vec<String>,
    /// With --dry-run: what the run would change, row by row
    #[arg(long)]
    pub(super) diff: bool,
    /// With --dry-run: exit 4 if the run would change anything
    #[arg(long)]
    pub(super) fail_if_diff: bool,
    #[command(flatten)]
    pub(super) rows: DiffRows,
    /// Map the first N records alone, and show their rows; writes nothing
    #[arg(
        long,
        value_name = "N",
        value_parser = count("records"),
        allow_negative_numbers = true,
        conflicts_with_all = ["diff", "fail_if_diff"]
    )]
    pub(super) sample: Option<NonZero<usize>>,
}

/// How much `--diff` shows, in each command that has it.
#[derive(Args, Debug)]
pub(super) struct DiffRows {
    /// Number of rows that --diff shows
    #[arg(
        long,
        value_name = "N",
        default_value = "20",
        value_parser = count_or_none("rows"),
        allow_negative_numbers = true,
        requires = "diff"
    )]
    pub(super) limit: usize,
}

impl RunArgs {
    /// Whether the run is compared with the layer.
    pub(super) fn wants_diff(&self) -> bool {
        self.diff || self.fail_if_diff
    }

    /// The flags of settings.
    pub(super) fn flags(&self) -> Flags {
        self.job.flags.clone().and(&self.lookback.flags)
    }
}

#[derive(Args, Debug)]
pub(super) struct BackfillArgs {
    #[command(flatten)]
    pub(super) job: JobArgs,
    /// Only this shop of etl.toml; may be given several times
    #[arg(long = "shop", value_name = "NAME")]
    pub(super) shops: Vec<String>,
    /// Size of a chunk: 12h, 1d, 1w, 1mo, 1y
    #[arg(long, value_name = "SPAN", default_value = "1d")]
    pub(super) chunk: String,
    /// Load all chunks again, from the first
    #[arg(long, conflicts_with = "gaps")]
    pub(super) restart: bool,
    /// Load only the gaps in the coverage: see `etl plan`
    #[arg(long)]
    pub(super) gaps: bool,
    /// Number of chunks that are loaded at once
    #[arg(long, value_name = "N", default_value = "1", value_parser = count("chunks"), allow_negative_numbers = true)]
    pub(super) jobs: NonZero<usize>,
    /// Load only part I of N of the chunks, counted from 0: for several machines at once
    #[arg(long, value_name = "I/N")]
    pub(super) shard: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    pub(super) settings: SettingArgs<PlanSettings>,
    /// Only this shop of etl.toml; may be given several times
    #[arg(long = "shop", value_name = "NAME")]
    pub(super) shops: Vec<String>,
    /// Plan a backfill too, by chunks of this size: 12h, 1d, 1w, 1mo, 1y
    #[arg(long, value_name = "SPAN")]
    pub(super) chunk: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    pub(super) settings: SettingArgs<CheckSettings>,
    /// First rebuild the state of the tool: in a folder from curated/ alone, in a bucket the index of orders from the log
    #[arg(long)]
    pub(super) rebuild_state: bool,
    /// Write the rows that violate a check into this folder, as CHECK.csv
    #[arg(long, value_name = "DIR")]
    pub(super) violations: Option<PathBuf>,
    /// Print the SQL of all checks, and run nothing
    #[arg(long, conflicts_with_all = ["rebuild_state", "violations", "history"])]
    pub(super) show_sql: bool,
    /// What the checks of the latest runs found
    #[arg(long, conflicts_with_all = ["rebuild_state", "violations"])]
    pub(super) history: bool,
    /// Number of runs of the history, the latest first
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        default_value = "20",
        value_parser = count("runs"),
        allow_negative_numbers = true,
        requires = "history"
    )]
    pub(super) limit: NonZero<usize>,
}

#[derive(Args, Debug)]
pub(super) struct RewriteArgs {
    #[command(flatten)]
    pub(super) settings: SettingArgs<RewriteSettings>,
    /// Count what the rewrite would do and lose, and write nothing
    #[arg(long, conflicts_with = "force")]
    pub(super) dry_run: bool,
    /// Lose the values that do not fit the new columns
    #[arg(long)]
    pub(super) force: bool,
}

/// What a layer is rebuilt from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum RebuildFrom {
    /// The records that runs have kept in raw/
    Raw,
}

#[derive(Args, Debug)]
pub(super) struct RebuildArgs {
    /// What to map again: raw, the records that runs have kept
    #[arg(long, value_name = "WHAT", value_enum, hide_possible_values = true)]
    pub(super) from: RebuildFrom,
    #[command(flatten)]
    pub(super) settings: SettingArgs<RebuildSettings>,
    /// The shop of etl.toml whose records are mapped again; needed where it has several
    #[arg(long = "shop", value_name = "NAME")]
    pub(super) shops: Vec<String>,
    /// Records of before a run that kept none, deleted orders, or is of another source, too
    #[arg(long)]
    pub(super) across_gaps: bool,
    /// With --dry-run: what the rebuild would change, row by row
    #[arg(long)]
    pub(super) diff: bool,
    #[command(flatten)]
    pub(super) rows: DiffRows,
}

#[derive(Args, Debug)]
pub(super) struct UndoArgs {
    /// The run; without one, the error names those that can be undone
    #[arg(value_name = "RUN_ID")]
    pub(super) run_id: Option<RunId>,
    #[command(flatten)]
    pub(super) settings: SettingArgs<ChangeSettings>,
}

#[derive(Args, Debug)]
pub(super) struct EraseArgs {
    /// The id of a user, as `dim_user` has it, or before its mask [repeatable]
    #[arg(long = "user", value_name = "ID")]
    pub(super) users: Vec<String>,
    /// A file with one id a line
    #[arg(long, value_name = "FILE")]
    pub(super) users_file: Option<PathBuf>,
    /// An extra column of `fact_order` to empty in the rows of these users, and of those in later runs [repeatable]
    #[arg(long = "column", value_name = "NAME")]
    pub(super) columns: Vec<String>,
    /// Do not ask on a terminal; elsewhere nothing is asked
    #[arg(long)]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) settings: SettingArgs<ChangeSettings>,
}

#[derive(Args, Debug)]
pub(super) struct DiffArgs {
    /// The run
    #[arg(value_name = "RUN_A")]
    pub(super) run_a: RunId,
    /// A later run: what changed between both [default: what RUN_A changed]
    #[arg(value_name = "RUN_B")]
    pub(super) run_b: Option<RunId>,
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Number of rows that are shown
    #[arg(short = 'n', long, value_name = "N", default_value = "20", value_parser = count_or_none("rows"), allow_negative_numbers = true)]
    pub(super) limit: usize,
}

#[derive(Args, Debug)]
pub(super) struct ChangesArgs {
    /// The run: what was committed after it
    #[arg(long, value_name = "RUN_ID")]
    pub(super) since_run: RunId,
    #[command(flatten)]
    pub(super) config: ConfigArgs,
}

#[derive(Args, Debug)]
pub(super) struct VacuumArgs {
    #[command(flatten)]
    pub(super) settings: SettingArgs<VacuumSettings>,
}

#[derive(Args, Debug)]
pub(super) struct DdlArgs {
    /// The engine
    #[arg(value_parser = super::ddl::one_of::<Engine>())]
    pub(super) engine: Engine,
    #[command(flatten)]
    pub(super) settings: SettingArgs<DdlSettings>,
    /// Schema (database) of the tables
    #[arg(long, value_name = "NAME")]
    pub(super) schema: Option<String>,
    /// Where the engine finds the layer [default: the output]
    #[arg(long, value_name = "URL")]
    pub(super) location: Option<String>,
}

/// A text that describes the layer, or the summary of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum SchemaForm {
    /// The data dictionary as Markdown
    Md,
    /// The summary of a run as JSON Schema
    Json,
    /// The tables as DBML, for diagrams
    Dbml,
    /// The tables as a contract of the Open Data Contract Standard
    Odcs,
    /// The tables as the sources.yml of a dbt project
    Dbt,
}

#[derive(Args, Debug)]
pub(super) struct SchemaArgs {
    /// The form
    #[arg(value_name = "FORM", value_enum, default_value = "md")]
    pub(super) form: SchemaForm,
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Schema (database) of the tables in the warehouse, for dbml, odcs and dbt
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(super) schema: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct ProbeArgs {
    #[command(flatten)]
    pub(super) settings: SettingArgs<ProbeSettings>,
    /// Only this shop of etl.toml; may be given several times
    #[arg(long = "shop", value_name = "NAME")]
    pub(super) shops: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct TestArgs {
    #[command(flatten)]
    pub(super) settings: SettingArgs<TestSettings>,
    /// The folder of the cases [default: tests/ beside etl.toml]
    #[arg(long, value_name = "DIR")]
    pub(super) tests: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    pub(super) settings: SettingArgs<DoctorSettings>,
    /// Only this shop of etl.toml; may be given several times
    #[arg(long = "shop", value_name = "NAME")]
    pub(super) shops: Vec<String>,
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

/// Here, `-o` is the file of the page, and not the output.
#[derive(Args, Debug)]
#[command(mut_arg("output", |output| output.short(None)))]
pub(super) struct ReportArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// The file of the page; - is stdout. In this command alone, -o is short for --file, and not for --output
    #[arg(short = 'o', long, value_name = "FILE", default_value = "report.html")]
    pub(super) file: PathBuf,
    /// Number of runs, the latest first
    #[arg(long, value_name = "N", default_value = "50", value_parser = count("runs"), allow_negative_numbers = true)]
    pub(super) limit: NonZero<usize>,
    /// Number of days, the latest first
    #[arg(long, value_name = "N", default_value = "731", value_parser = count("days"), allow_negative_numbers = true)]
    pub(super) days: NonZero<usize>,
}

#[derive(Args, Debug)]
pub(super) struct ExplainArgs {
    /// The order, as `order_id` of `fact_order` has it
    #[arg(value_name = "ORDER_ID")]
    pub(super) order_id: String,
    /// Only the lines of this sku
    #[arg(value_name = "SKU")]
    pub(super) sku: Option<String>,
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Compare with the rows of the warehouse (ETL_REDSHIFT_URL), too
    #[arg(long)]
    pub(super) warehouse: bool,
}

#[derive(Args, Debug)]
pub(super) struct AlertsArgs {
    #[command(subcommand)]
    pub(super) what: AlertsCommand,
}

#[derive(Subcommand, Debug)]
pub(super) enum AlertsCommand {
    /// Send one alert to every configured receiver
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
    pub(super) run: Option<RunId>,
    /// Number of runs, the latest first
    #[arg(short = 'n', long, value_name = "N", default_value = "20", value_parser = count("runs"), allow_negative_numbers = true)]
    pub(super) limit: NonZero<usize>,
    /// Number of records shown per reason
    #[arg(long, value_name = "N", default_value = "3", value_parser = count_or_none("records"), allow_negative_numbers = true)]
    pub(super) samples: usize,
}

#[derive(Subcommand, Debug)]
pub(super) enum QuarantineCommand {
    /// Run the records that a run dropped, as its quarantine now holds them
    Replay {
        /// The run that dropped them
        run_id: RunId,
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
    /// Number of runs, the latest first
    #[arg(short = 'n', long, value_name = "N", default_value = "20", value_parser = count("runs"), allow_negative_numbers = true)]
    pub(super) limit: NonZero<usize>,
}

impl RunsArgs {
    /// The flags of settings, of the command or of its subcommand.
    pub(super) fn config(&self) -> &ConfigArgs {
        match &self.what {
            Some(RunsCommand::Show { config, .. }) => config,
            None => &self.config,
        }
    }
}

#[derive(Subcommand, Debug)]
pub(super) enum RunsCommand {
    /// Everything that one run recorded
    Show {
        /// The run, or an unambiguous beginning of its name
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
    /// The changes of runs, in one transaction
    Merge {
        #[command(flatten)]
        sql: RedshiftSqlArgs,
        /// Changes of this run [default: the last one that changed something]
        #[arg(long, value_name = "RUN_ID", conflicts_with = "since_run")]
        run: Option<RunId>,
        /// Changes after this run
        #[arg(long, value_name = "RUN_ID")]
        since_run: Option<RunId>,
    },
    /// Compare the warehouse with the layer by day and currency; exit 4 where they differ
    Verify(RedshiftVerifyArgs),
}

impl RedshiftCommand {
    /// What all of them take.
    pub(super) fn config(&self) -> &ConfigArgs {
        match self {
            RedshiftCommand::Ddl(sql) | RedshiftCommand::Copy(sql) | RedshiftCommand::Merge { sql, .. } => &sql.config,
            RedshiftCommand::Verify(args) => &args.config,
        }
    }
}

#[derive(Args, Debug)]
pub(super) struct RedshiftVerifyArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// First day that is compared: YYYY-MM-DD [default: all]
    #[arg(long, value_name = "DATE")]
    pub(super) since: Option<Dt>,
    /// Day after the last one that is compared: YYYY-MM-DD [default: all]
    #[arg(long, value_name = "DATE")]
    pub(super) until: Option<Dt>,
    /// Load what differs again, in one transaction, and compare again
    #[arg(long)]
    pub(super) repair: bool,
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
    /// Folder of the demo's layer
    #[arg(short = OUTPUT_LETTER, long, value_name = "DIR", default_value = "output/demo")]
    pub(super) output: PathBuf,
}

#[derive(Args, Debug)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    pub(super) shell: Shell,
}

#[derive(Args, Debug)]
pub(super) struct ManArgs {
    /// Write the pages of all commands into this folder [default: print the page of `etl`]
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}
