//! The layers of settings, merged once: flags over the environment, over `.env`, over `etl.toml`, over defaults.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    BucketScheme, BucketUrl, CheckScope, ColorMode, ConfiguredValue, Cursor, DeletionMode, DeletionSettings, EmfTarget, EnrichColumns,
    Environment, ExplainSettings, FactColumn, Flags, GivenOptions, HttpSettings, Limits, LineMoney, Location, LocationError, LogFormat,
    MergeBy, MetricsSettings, MistakenUrl, OnCheckFailure, OnSchemaChange, Origin, OutputLocation, Presentation, RawSettings,
    RedshiftSettings, RepeatedSku, ResultFormat, Setting, Settings, SettingsError, When, WhichLists, alerts, column_checks, credentials,
    default_threads, fact_columns,
    file::{self, DEFAULT_FILE, Presence},
    file_mode::parse_mode,
    http,
    known_columns::KnownColumns,
    lineage, masks,
    output_location::file_in_place_of,
    reader::typed,
    schema_of, setting,
    shops::{self, Shop, Whose},
    sources::{self, Sources},
    storage,
    telemetry::{self, TelemetrySettings},
    toml_tree::Table,
    unit_slip::UnitSlipSetting,
};
use crate::model::{Compression, FileFormat, QuantityType};

/// All layers above the defaults, and the look-ups over them.
pub(super) struct Layers<'l> {
    pub(super) flags: &'l Flags,
    pub(super) environment: &'l Environment,
    pub(super) file: &'l Table,
    /// The folder of `etl.toml`: paths in the file are relative to it.
    pub(super) folder: PathBuf,
}

impl<'l> Layers<'l> {
    pub(super) fn new(flags: &'l Flags, environment: &'l Environment, file: &'l Table) -> Layers<'l> {
        let folder = Path::new(file.place.file.as_ref()).parent().map(Path::to_owned).unwrap_or_default();
        Layers { flags, environment, file, folder }
    }

    /// The value of a setting on the command line, in the environment or in `.env`.
    pub(super) fn above_file(&self, setting: &Setting) -> Option<ConfiguredValue> {
        let old = setting.old_names().map(|old| old.variable);
        let variables: Vec<&str> = [setting.variable].into_iter().chain(old).collect();
        self.flags.get(setting).or_else(|| self.environment.first_of(&variables))
    }

    /// The value of a setting, from the highest layer that has one.
    pub(super) fn get(&self, setting: &Setting) -> Result<Option<ConfiguredValue>, SettingsError> {
        let in_file = self.file.at(setting.key).map(|node| typed(node, setting.key, setting.form)).transpose()?;
        Ok(self.above_file(setting).or(in_file))
    }

    pub(super) fn text(&self, setting: &Setting) -> Result<Option<String>, SettingsError> {
        Ok(self.get(setting)?.map(|configured| configured.value))
    }

    pub(super) fn whole(&self, setting: &Setting) -> Result<Option<u64>, SettingsError> {
        self.get(setting)?.map(|configured| configured.whole(setting.form)).transpose()
    }

    pub(super) fn number(&self, setting: &Setting) -> Result<Option<f64>, SettingsError> {
        self.get(setting)?.map(|configured| configured.number(setting.form)).transpose()
    }

    pub(super) fn span(&self, setting: &Setting) -> Result<Option<Duration>, SettingsError> {
        self.get(setting)?.map(|configured| configured.span(setting.form)).transpose()
    }

    pub(super) fn yes_no(&self, setting: &Setting) -> Result<Option<bool>, SettingsError> {
        self.get(setting)?.map(|configured| configured.yes_no()).transpose()
    }

    /// What the word of a setting means.
    fn word<T: Copy>(&self, setting: &Setting, meanings: &[(&str, T)]) -> Result<Option<T>, SettingsError> {
        let Some(configured) = self.get(setting)? else { return Ok(None) };
        let word = configured.word(setting.form)?;
        Ok(meanings.iter().find(|(known, _)| *known == word).map(|(_, meaning)| *meaning))
    }

    fn when(&self, setting: &Setting) -> Result<Option<When>, SettingsError> {
        self.get(setting)?.map(|configured| configured.parse()).transpose()
    }

    /// A path; in `etl.toml` it is relative to the file.
    pub(super) fn path(&self, configured: &ConfiguredValue) -> PathBuf {
        let is_in_file = matches!(configured.origin, Origin::File { .. });
        if is_in_file { self.folder.join(&configured.value) } else { PathBuf::from(&configured.value) }
    }

    /// The location of a source; a path in `etl.toml` is relative to the file.
    pub(super) fn location(&self, configured: &ConfiguredValue) -> Result<Location, SettingsError> {
        let refused = |error: LocationError| configured.without_credentials().invalid(error);
        let location: Location = configured.value.trim().parse().map_err(refused)?;
        let is_in_file = matches!(configured.origin, Origin::File { .. });
        Ok(if is_in_file { location.relative_to(&self.folder) } else { location })
    }
}

/// What is known before the settings file is read.
pub(super) struct Surroundings {
    /// The environment, with both `.env` files.
    pub(super) environment: Environment,
    /// The settings file that a flag or a variable names.
    pub(super) config: Option<PathBuf>,
}

impl Surroundings {
    /// The settings file, and whether it must exist.
    pub(super) fn file(&self) -> (&Path, Presence) {
        self.config.as_deref().map_or((Path::new(DEFAULT_FILE), Presence::Optional), |path| (path, Presence::Required))
    }
}

pub(super) fn surroundings(flags: &Flags) -> Result<Surroundings, SettingsError> {
    let mut environment = Environment::read()?;
    let config = flags.get(&setting::CONFIG).or_else(|| environment.get(setting::CONFIG.variable));
    let config = config.map(|configured| PathBuf::from(configured.value));
    if let Some(path) = &config {
        environment.add_folder_of(path)?;
    }
    credentials::hide_all(&environment);
    Ok(Surroundings { environment, config })
}

/// How results and logs look. Needed before anything else can be shown, so it does not read `etl.toml`.
///
/// # Errors
/// [`SettingsError`], which names the place to correct.
pub fn presentation(flags: &Flags) -> Result<Presentation, SettingsError> {
    let Surroundings { environment, .. } = surroundings(flags)?;
    let file = file::parse(DEFAULT_FILE, "")?;
    presentation_of(&Layers::new(flags, &environment, &file))
}

pub(super) fn presentation_of(layers: &Layers<'_>) -> Result<Presentation, SettingsError> {
    let results = [("auto", ResultFormat::Auto), ("text", ResultFormat::Text), ("json", ResultFormat::Json)];
    let logs = [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json), ("ecs", LogFormat::Ecs)];
    let colors = [("auto", ColorMode::Auto), ("always", ColorMode::Always), ("never", ColorMode::Never)];
    Ok(Presentation {
        format: layers.word(&setting::FORMAT, &results)?.unwrap_or_default(),
        log_format: layers.word(&setting::LOG_FORMAT, &logs)?.unwrap_or_default(),
        no_progress: layers.yes_no(&setting::NO_PROGRESS)?.unwrap_or_default(),
        color: layers.word(&setting::COLOR, &colors)?.unwrap_or_default(),
    })
}

/// Where traces and metrics go. Needed before the log starts, so it does not read `etl.toml`.
///
/// # Errors
/// [`SettingsError`], which names the place to correct.
pub fn telemetry(flags: &Flags) -> Result<Option<TelemetrySettings>, SettingsError> {
    Ok(telemetry::read(&surroundings(flags)?.environment))
}

/// The settings of lineage, the network, the profile's name and the dry run, with defaults for all else: what tells receivers of
/// lineage that the settings can't be used as a whole.
///
/// # Errors
/// [`SettingsError`] of one of these: then nobody can be told.
pub fn lineage_alone(flags: &Flags) -> Result<Settings, SettingsError> {
    let Written { environment, file } = written(flags)?;
    let layers = Layers::new(flags, &environment, &file);
    Ok(Settings {
        source: layers.text(&setting::PROFILE)?.map(|name| name.trim().to_owned()),
        dry_run: layers.yes_no(&setting::DRY_RUN)?.unwrap_or_default(),
        http: http::read(&layers)?,
        lineage: lineage::read(&layers)?,
        ..Settings::plain(PathBuf::from(setting::OUTPUT.default))
    })
}

/// What the layers are made of, beside the flags.
pub(super) struct Written {
    pub(super) environment: Environment,
    pub(super) file: Table,
}

pub(super) fn written(flags: &Flags) -> Result<Written, SettingsError> {
    let surroundings = surroundings(flags)?;
    let (path, presence) = surroundings.file();
    let file = file::read(path, presence)?;
    Ok(Written { environment: surroundings.environment, file })
}

/// Merges the layers. Where `etl.toml` has shops, these are the settings of the layer as a whole: they have no source.
///
/// # Errors
/// [`SettingsError`], which names the place to correct.
pub fn load(flags: &Flags) -> Result<Settings, SettingsError> {
    let Written { environment, file } = written(flags)?;
    let layers = Layers::new(flags, &environment, &file);
    let shops = shops::all(&layers)?;
    let Some(shop) = shops.first() else { return settings(&layers, &Whose::OneSource) };
    let whole = settings(&layers, &Whose::AllShops { names: &shop.shops })?;
    Ok(Settings { quantity: whole.quantity.or(shop.quantity), ..whole })
}

/// The settings of each shop that is picked, or of all where none is, in the order of `etl.toml`; without shops, the only ones.
///
/// # Errors
/// [`SettingsError`], which names the place to correct; a shop that is not there; sources of shops that are not told apart.
pub fn load_shops(flags: &Flags, picked: &[String]) -> Result<Vec<Settings>, SettingsError> {
    let Written { environment, file } = written(flags)?;
    of_shops(&Layers::new(flags, &environment, &file), picked)
}

/// The settings of each shop that is picked, or of all where none is; without shops, the only ones.
pub(super) fn of_shops(layers: &Layers<'_>, picked: &[String]) -> Result<Vec<Settings>, SettingsError> {
    let all = shops::all(layers)?;
    if all.is_empty() {
        return match picked.first() {
            None => Ok(vec![settings(layers, &Whose::OneSource)?]),
            Some(name) => Err(SettingsError::flag("--shop", name, "etl.toml has no [[shops]]")),
        };
    }
    shops::refuse_one_source(layers, picked)?;
    if !shops::has_source_above(layers) {
        shops::refuse_same_orders(&all)?;
    }
    shops::tell_unused_variables(layers, &all);
    shops::picked(all, picked)
}

/// The settings of the shop of this name, for a look at what it has loaded; `None` where there is none.
///
/// # Errors
/// [`SettingsError`], which names the place to correct.
pub fn load_shop(flags: &Flags, name: &str) -> Result<Option<Settings>, SettingsError> {
    let Written { environment, file } = written(flags)?;
    let all = shops::all(&Layers::new(flags, &environment, &file))?;
    Ok(all.into_iter().find(|settings| settings.shop.as_ref().is_some_and(|shop| shop.name == name)))
}

/// The format of partitions, if it is asked for.
fn file_format(layers: &Layers<'_>) -> Result<Option<FileFormat>, SettingsError> {
    let csv = FileFormat::Csv(Compression::None);
    let format = layers.word(&setting::FILE_FORMAT, &[("csv", csv), ("parquet", FileFormat::Parquet)])?;
    let words = [("none", Compression::None), ("gzip", Compression::Gzip), ("zstd", Compression::Zstd)];
    let compression = layers.word(&setting::COMPRESSION, &words)?;
    match (format, compression) {
        (Some(FileFormat::Parquet), Some(Compression::Gzip | Compression::Zstd)) => Err(SettingsError::Conflict(
            "`compression` is that of CSV files: Parquet compresses its pages itself. Leave --compression out".into(),
        )),
        (Some(FileFormat::Parquet), _) => Ok(format),
        (_, Some(compression)) => Ok(Some(FileFormat::Csv(compression))),
        (format, None) => Ok(format),
    }
}

/// The settings that these layers say.
pub(super) fn settings(layers: &Layers<'_>, whose: &Whose<'_>) -> Result<Settings, SettingsError> {
    let http = http::read(layers)?;
    let sources = match whose {
        Whose::AllShops { .. } => Sources::default(),
        Whose::OneSource | Whose::Shop { .. } => sources::read(layers, &http, whose)?,
    };
    let until = layers.when(&setting::UNTIL)?;
    if until == Some(When::Last) {
        return Err(SettingsError::Conflict("--until can't be `last`: only the start of a window can follow earlier runs".into()));
    }
    let default = Settings::plain(output(layers, &http)?);
    let checks = layers.get(&setting::CHECKS)?.map(|configured| layers.path(&configured));
    let default_checks = layers.folder.join("checks");
    let profile = sources.orders.as_ref().map(|orders| orders.profile.clone());
    let money = layers.word(&setting::FACT_MONEY, &[("none", LineMoney::None), ("lines", LineMoney::Lines)])?.unwrap_or_default();
    let local_date =
        layers.get(&setting::FACT_TIME_ZONE)?.map(|configured| time_zone(&configured)).transpose()?.map(FactColumn::of_local_date);
    let first = whose.column().into_iter().chain(local_date).chain(money.columns(profile.as_ref()));
    let fact_columns = fact_columns::read(layers.file, first)?;
    let masks = masks::read(layers, &sources, &fact_columns)?;
    let column_checks = column_checks::read(layers.file, &schema_of(&fact_columns))?;
    // The users and products of another shop may have columns of their own.
    if matches!(whose, Whose::OneSource) {
        let known = KnownColumns::of(layers.file, &sources);
        masks.refuse_slips(&known.users, &fact_columns)?;
        known.refuse_slips_of_checks(&column_checks)?;
        known.refuse_slips_of_enrich(layers)?;
    }
    let repeated_sku = layers
        .word(&setting::REPEATED_SKU, &[("last", RepeatedSku::Last), ("sum", RepeatedSku::Sum)])?
        .or_else(|| profile.as_ref()?.repeated_sku)
        .unwrap_or_default();
    let is_line = profile.as_ref().is_some_and(|profile| profile.lines.which == WhichLists::Record);
    if is_line && repeated_sku == RepeatedSku::Sum {
        return Err(SettingsError::Conflict(
            "`repeated_sku = \"sum\"` adds up the lines of one record, and with `orders.fields.lines = \".\"` a record is one line: \
             lines of several records would not be added up. Write `repeated_sku = \"last\"` for these orders"
                .into(),
        ));
    }
    let scd = layers.whole(&setting::SCD)?;
    let keeps_versions = |own: &Setting| Ok::<_, SettingsError>(layers.whole(own)?.or(scd) == Some(2));
    Ok(Settings {
        given: GivenOptions::of(layers.flags),
        shop: whose.shop().cloned(),
        shops: whose.names().to_vec(),
        shop_orders: Arc::default(),
        source: sources.profile,
        orders: sources.orders,
        users: sources.users,
        products: sources.products,
        unread_members: sources.unread,
        cursor: layers
            .word(&setting::CURSOR, &[("created_at", Cursor::Created), ("updated_at", Cursor::Updated)])?
            .or_else(|| profile.as_ref()?.cursor)
            .unwrap_or_default(),
        merge: layers
            .word(&setting::MERGE, &[("line", MergeBy::Line), ("order", MergeBy::Order)])?
            .or_else(|| profile.as_ref()?.merge)
            .unwrap_or_default(),
        repeated_sku,
        quantity: layers
            .word(&setting::FACT_QUANTITY, &[("whole", QuantityType::Whole), ("decimal", QuantityType::Decimal)])?
            .or_else(|| profile.as_ref()?.quantity),
        file_format: file_format(layers)?,
        column_checks,
        fact_columns,
        masks,
        since: layers.when(&setting::SINCE)?,
        until,
        lookback: layers.span(&setting::LOOKBACK)?.unwrap_or(default.lookback),
        dry_run: layers.yes_no(&setting::DRY_RUN)?.unwrap_or(default.dry_run),
        allow_incomplete: layers.yes_no(&setting::ALLOW_INCOMPLETE)?.unwrap_or(default.allow_incomplete),
        deletions: deletions(layers)?,
        lock_wait: layers.span(&setting::LOCK_WAIT)?.unwrap_or(default.lock_wait),
        empty_exit_code: layers.whole(&setting::EMPTY_EXIT_CODE)?.and_then(|code| u8::try_from(code).ok()),
        check_scope: layers
            .word(&setting::CHECK_SCOPE, &[("changed", CheckScope::Changed), ("full", CheckScope::Full)])?
            .unwrap_or_default(),
        on_check_failure: layers
            .word(&setting::ON_CHECK_FAILURE, &[("abort", OnCheckFailure::Abort), ("publish", OnCheckFailure::Publish)])?
            .unwrap_or_default(),
        checks: checks.or_else(|| default_checks.is_dir().then_some(default_checks)),
        memory_limit: layers.get(&setting::MEMORY_LIMIT)?.map(|configured| configured.size(setting::MEMORY_LIMIT.form)).transpose()?,
        threads: layers.whole(&setting::THREADS)?.and_then(|threads| usize::try_from(threads).ok()).unwrap_or_else(default_threads),
        http,
        limits: limits(layers)?,
        enrich: enrich(layers)?,
        versioned_users: keeps_versions(&setting::DIM_USER_SCD)?,
        versioned_products: keeps_versions(&setting::DIM_PRODUCT_SCD)?,
        metrics: metrics(layers, whose.shop())?,
        telemetry: telemetry::read(layers.environment),
        lineage: lineage::read(layers)?,
        alerts: alerts::read(layers)?,
        retention: layers.span(&setting::RETENTION)?,
        explain: explain(layers)?,
        keep: layers.span(&setting::KEEP)?.unwrap_or(default.keep),
        redshift: redshift(layers, &default.output)?,
        unit_slip: match layers.get(&setting::UNIT_SLIP)? {
            Some(configured) => configured.parse::<UnitSlipSetting>()?.0,
            None => default.unit_slip,
        },
        on_schema_change: layers
            .word(
                &setting::SCHEMA_ON_CHANGE,
                &[("tell", OnSchemaChange::Tell), ("freeze", OnSchemaChange::Freeze), ("ignore", OnSchemaChange::Ignore)],
            )?
            .unwrap_or_default(),
        accept_new_shop: layers.yes_no(&setting::ACCEPT_NEW_SHOP)?.unwrap_or_default(),
        accept_schema: layers.yes_no(&setting::ACCEPT_SCHEMA)?.unwrap_or_default(),
        quarantine_mode: layers
            .get(&setting::QUARANTINE_MODE)?
            .map(|configured| parse_mode(&configured.value).map_err(|detail| configured.invalid(detail)))
            .transpose()?,
        raw: raw(layers)?,
        drop_history: layers.yes_no(&setting::DROP_HISTORY)?.unwrap_or_default(),
        ..default
    })
}

/// A zone of the tz database.
fn time_zone(configured: &ConfiguredValue) -> Result<chrono_tz::Tz, SettingsError> {
    configured.value.trim().parse().map_err(|_| configured.invalid("no zone of the tz database: write a name such as Europe/Berlin"))
}

fn output(layers: &Layers<'_>, http: &HttpSettings) -> Result<OutputLocation, SettingsError> {
    let configured = layers.get(&setting::OUTPUT)?;
    if let Some(configured) = &configured
        && let Some(mistaken) = MistakenUrl::of(&configured.value)
    {
        return Err(configured.without_credentials().invalid(mistaken));
    }
    let bucket = configured.as_ref().filter(|configured| BucketUrl::is_meant(&configured.value));
    let bucket = bucket.map(|configured| configured.parse::<BucketUrl>()).transpose()?;
    // `[storage]` is read in any case: a mistake there should not wait for a bucket.
    if let Some(storage) = storage::read(layers, bucket, http)? {
        return Ok(OutputLocation::Bucket(Box::new(storage)));
    }
    folder(layers, configured).map(OutputLocation::Folder)
}

fn folder(layers: &Layers<'_>, configured: Option<ConfiguredValue>) -> Result<PathBuf, SettingsError> {
    let Some(configured) = configured else {
        let folder = PathBuf::from(setting::OUTPUT.default);
        return match file_in_place_of(&folder) {
            Some(file) => Err(SettingsError::Conflict(not_a_folder(file))),
            None => Ok(folder),
        };
    };
    match configured.value.trim() {
        "" => Err(configured.invalid("name a folder")),
        value if value.starts_with('~') => Err(configured.invalid("`~` is expanded by a shell only: write the whole path")),
        _ => {
            let folder = layers.path(&configured);
            match file_in_place_of(&folder) {
                Some(file) => Err(configured.invalid(not_a_folder(file))),
                None => Ok(folder),
            }
        }
    }
}

/// What to say of a file where the folder of the layer is needed.
fn not_a_folder(file: &Path) -> String {
    format!("{} is a file, and the output is a folder, or the URL of a bucket: name another place with --output", file.display())
}

fn deletions(layers: &Layers<'_>) -> Result<DeletionSettings, SettingsError> {
    let modes = [("off", None), ("remove", Some(DeletionMode::Remove)), ("mark", Some(DeletionMode::Mark))];
    let limit = layers.get(&setting::DELETE_LIMIT)?.map(|configured| configured.parse()).transpose()?;
    Ok(DeletionSettings { mode: layers.word(&setting::DELETE_MISSING, &modes)?.flatten(), limit: limit.unwrap_or_default() })
}

fn limits(layers: &Layers<'_>) -> Result<Limits, SettingsError> {
    let default = Limits::default();
    Ok(Limits {
        record_bytes: layers.whole(&setting::RECORD_BYTES)?.unwrap_or(default.record_bytes),
        depth: layers.whole(&setting::DEPTH)?.and_then(|depth| usize::try_from(depth).ok()).unwrap_or(default.depth),
        expansion: layers.whole(&setting::EXPANSION)?.unwrap_or(default.expansion),
    })
}

fn enrich(layers: &Layers<'_>) -> Result<EnrichColumns, SettingsError> {
    let default = EnrichColumns::default();
    let column =
        |setting: &Setting, default: String| Ok::<_, SettingsError>(layers.text(setting)?.map_or(default, |name| name.to_lowercase()));
    Ok(EnrichColumns {
        user_country: column(&setting::USER_COUNTRY, default.user_country)?,
        product_name: column(&setting::PRODUCT_NAME, default.product_name)?,
        product_category: column(&setting::PRODUCT_CATEGORY, default.product_category)?,
    })
}

fn explain(layers: &Layers<'_>) -> Result<ExplainSettings, SettingsError> {
    let default = ExplainSettings::default();
    let max_size = &setting::EXPLAIN_MAX_SIZE;
    Ok(ExplainSettings {
        keep: layers.span(&setting::EXPLAIN_KEEP)?.unwrap_or(default.keep),
        max_bytes: layers.get(max_size)?.map(|configured| configured.size(max_size.form)).transpose()?.unwrap_or(default.max_bytes),
    })
}

fn raw(layers: &Layers<'_>) -> Result<RawSettings, SettingsError> {
    let default = RawSettings::default();
    Ok(RawSettings {
        is_kept: layers.yes_no(&setting::KEEP_RAW)?.unwrap_or(default.is_kept),
        keep: layers.span(&setting::RAW_KEEP)?.unwrap_or(default.keep),
    })
}

/// The place of a file that holds the last run only: each shop has one of its own, `etl.de.prom` in place of `etl.prom`.
fn of_shop(path: PathBuf, shop: Option<&Shop>) -> PathBuf {
    let (Some(shop), Some(stem)) = (shop, path.file_stem()) else { return path };
    let mut name = stem.to_owned();
    name.push(format!(".{}", shop.name));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

fn metrics(layers: &Layers<'_>, shop: Option<&Shop>) -> Result<MetricsSettings, SettingsError> {
    let emf = |configured: ConfiguredValue| match configured.value.as_str() {
        "-" => EmfTarget::Stdout,
        _ => EmfTarget::File(layers.path(&configured)),
    };
    Ok(MetricsSettings {
        file: layers.get(&setting::METRICS_FILE)?.map(|configured| of_shop(layers.path(&configured), shop)),
        emf: layers.get(&setting::METRICS_EMF)?.map(emf),
    })
}

fn redshift(layers: &Layers<'_>, output: &OutputLocation) -> Result<RedshiftSettings, SettingsError> {
    // A bucket of S3 is where the warehouse finds it, too.
    let own_url = match output {
        OutputLocation::Bucket(storage) if storage.location.scheme == BucketScheme::S3 => Some(storage.location.to_string()),
        _ => None,
    };
    let default = RedshiftSettings::default();
    Ok(RedshiftSettings {
        schema: layers.text(&setting::REDSHIFT_SCHEMA)?,
        url: layers.get(&setting::REDSHIFT_LOCATION)?.map(|configured| bucket_url(&configured)).transpose()?.or(own_url),
        iam_role: layers.text(&setting::REDSHIFT_IAM_ROLE)?,
        region: layers.text(&setting::REDSHIFT_REGION)?,
        connection: layers.environment.secret(setting::REDSHIFT_URL.variable),
        password_command: layers.environment.secret(setting::REDSHIFT_PASSWORD_COMMAND.variable),
        connect_timeout: layers.span(&setting::REDSHIFT_CONNECT_TIMEOUT)?.unwrap_or(default.connect_timeout),
        statement_timeout: layers.span(&setting::REDSHIFT_STATEMENT_TIMEOUT)?.unwrap_or(default.statement_timeout),
    })
}

/// `s3://bucket/prefix`, without the slash at its end.
fn bucket_url(configured: &ConfiguredValue) -> Result<String, SettingsError> {
    let url = configured.value.trim().trim_end_matches('/');
    let bucket = url.strip_prefix("s3://").and_then(|path| path.split('/').next());
    if bucket.is_none_or(str::is_empty) {
        return Err(configured.invalid("write s3://bucket/prefix"));
    }
    Ok(url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Form, HttpSettings, SETTINGS};

    fn merged(flags: &Flags, process: &[(&str, &str)], dot_env: &[(&str, &str)], toml: &str) -> Result<Settings, SettingsError> {
        let environment = Environment::of(process, dot_env);
        let file = file::parse("conf/etl.toml", toml)?;
        settings(&Layers::new(flags, &environment, &file), &Whose::OneSource)
    }

    fn flag(setting: &Setting, value: &str) -> Flags {
        Flags::default().with(setting, value)
    }

    #[test]
    fn flags_beat_the_environment_which_beats_dot_env_which_beats_the_file() {
        let lookback = |flags: &Flags, process: &[(&str, &str)], dot_env: &[(&str, &str)], toml| {
            merged(flags, process, dot_env, toml).unwrap().lookback.as_secs()
        };
        let (process, dot_env, toml) = (&[("ETL_LOOKBACK", "2s")][..], &[("ETL_LOOKBACK", "3s")][..], "lookback = \"4s\"");
        assert_eq!(lookback(&flag(&setting::LOOKBACK, "1s"), process, dot_env, toml), 1);
        let none = Flags::default();
        assert_eq!(lookback(&none, process, dot_env, toml), 2);
        assert_eq!(lookback(&none, &[("ETL_LOOKBACK", "")], dot_env, toml), 3);
        assert_eq!(lookback(&none, &[], &[], toml), 4);
        assert_eq!(lookback(&none, &[], &[], ""), 86_400);
    }

    #[test]
    fn paths_in_the_file_are_relative_to_it() {
        let toml =
            "orders = \"o.json\"\noutput = \"out\"\nhttp.ca_file = \"ca.pem\"\nhttp.client_cert = \"c.pem\"\nhttp.client_key = \"/k.pem\"";
        let settings = merged(&flag(&setting::USERS, "u.csv"), &[], &[], toml).unwrap();
        assert_eq!(settings.orders, Some(Location::Files("conf/o.json".into()).into()));
        assert_eq!(settings.users, Some(Location::Files("u.csv".into()).into()));
        assert_eq!(settings.output, PathBuf::from("conf/out").into());
        let network = settings.http.network;
        assert_eq!(network.ca_file, Some(PathBuf::from("conf/ca.pem")));
        let certificate = network.client_certificate.unwrap();
        assert_eq!((certificate.certificate, certificate.key), (PathBuf::from("conf/c.pem"), PathBuf::from("/k.pem")));
    }

    #[test]
    fn an_error_names_the_place_to_correct() {
        let error = |flags: &Flags, process: &[(&str, &str)], toml| merged(flags, process, &[], toml).unwrap_err().to_string();
        let none = Flags::default();
        assert!(error(&flag(&setting::SINCE, "soon"), &[], "").starts_with("--since: `soon`: write a date"));
        assert_eq!(error(&none, &[("ETL_CHECK_SCOPE", "half")], ""), "ETL_CHECK_SCOPE: `half`: write changed or full");
        assert!(error(&none, &[], "[http]\nread_timeout = \"x\"").starts_with("conf/etl.toml, line 2: `http.read_timeout`: `x`: write"));
        assert!(error(&flag(&setting::UNTIL, "last"), &[], "").contains("--until can't be `last`"));
        assert!(error(&flag(&setting::OUTPUT, "ftp://b/x"), &[], "").starts_with("--output: `ftp://b/x`: "));
        assert!(error(&none, &[], "http.client_cert = \"c\"").contains("`http.client_key` is missing"));
        assert!(error(&none, &[], "http.client_key = \"c\"").contains("`http.client_cert` is missing"));
        assert!(error(&none, &[("ETL_DRY_RUN", "maybe")], "").starts_with("ETL_DRY_RUN: `maybe`: write 1, true"));
        assert!(error(&none, &[], "output = 5").ends_with("line 1: `output`: write a text in quotes, not a whole number"));
        assert!(error(&none, &[], "threads = 99999999999999999999").contains("write a whole number from 1 to 1024"));
    }

    /// Each bound of each setting, tried just outside.
    #[test]
    fn values_outside_their_bounds_are_refused_by_name() {
        let mut tried = 0;
        for setting in SETTINGS.iter().filter(|setting| !setting.key.is_empty()) {
            let outside = match setting.form {
                Form::Whole { from, to } => {
                    let below = if from > 0 { (from - 1).to_string() } else { "-1".to_owned() };
                    [below, (u128::from(to) + 1).to_string()]
                }
                Form::Number { from, to } => [(from - 0.5).to_string(), (to * 2.0).to_string()],
                Form::Span { from, to } => {
                    let below = if from.is_zero() { "\"-1s\"".to_owned() } else { "\"0s\"".to_owned() };
                    [below, format!("\"{}s\"", to.as_secs() + 1)]
                }
                Form::Size { from, to } => [format!("\"{}KiB\"", (from >> 10) - 1), format!("\"{}TiB\"", (to >> 40) + 1)],
                Form::Words(_) | Form::WordsOrAlone { .. } => ["\"sometimes\"".to_owned(), "\"\"".to_owned()],
                _ => continue,
            };
            for value in outside {
                let error = merged(&Flags::default(), &[], &[], &format!("{} = {value}", setting.key))
                    .map(drop)
                    .expect_err(&format!("{} = {value}", setting.key))
                    .to_string();
                assert!(error.starts_with(&format!("conf/etl.toml, line 1: `{}`", setting.key)), "{value}: {error}");
                tried += 1;
            }
        }
        assert!(tried > 60, "{tried}");
    }

    /// The defaults of the table are those of the code.
    #[test]
    fn the_documented_defaults_are_the_defaults() {
        let lines = SETTINGS.iter().filter(|setting| !setting.key.is_empty()).filter_map(|setting| {
            let value = match setting.form {
                Form::Whole { .. } | Form::Number { .. } if setting.default.parse::<f64>().is_ok() => setting.default.to_owned(),
                Form::Span { .. } if super::super::parse_span(setting.default).is_ok() => format!("\"{}\"", setting.default),
                Form::Words(words) | Form::WordsOrAlone { words, .. } if words.contains(&setting.default) => {
                    format!("\"{}\"", setting.default)
                }
                Form::YesNo => (setting.default == "yes").to_string(),
                _ => return None,
            };
            Some(format!("{} = {value}\n", setting.key))
        });
        let documented = merged(&Flags::default(), &[], &[], &lines.collect::<String>()).unwrap();
        let plain = merged(&Flags::default(), &[], &[], "").unwrap();
        let without = |settings: Settings| format!("{:?}", Settings { empty_exit_code: None, ..settings });
        assert_eq!(without(documented), without(plain.clone()));
        assert_eq!(format!("{:?}", plain.http), format!("{:?}", HttpSettings::default()));
    }
}
