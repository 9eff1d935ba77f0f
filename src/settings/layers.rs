//! The layers of settings, merged once.

use std::{
    borrow::Cow,
    collections::HashMap,
    env, fmt, io,
    num::NonZero,
    path::{Path, PathBuf},
    str::FromStr,
    thread,
    time::Duration,
};

use super::{
    CheckScope, Credentials, Cursor, EmfTarget, EnrichColumns, EtlToml, HttpSettings, Limits, Location, LocationError, MergeBy,
    MetricsSettings, OnCheckFailure, RedshiftSettings, RepeatedSku, Secret, Settings, Source, SourceToml, When, alerts, fact_columns, file,
    parse_span,
    size::parse_size,
    sources::{self, Names},
};

/// What `--since last` goes back where nothing is said.
pub(super) const DEFAULT_LOOKBACK: Duration = Duration::from_secs(86_400);

/// Threads that work where nothing is said: one a core.
pub(super) fn default_threads() -> usize {
    thread::available_parallelism().map_or(2, NonZero::get)
}

/// How results and logs look, as far as the environment says. Needed before anything else can be shown.
#[derive(Clone, Debug, Default)]
pub struct Presentation {
    /// `ETL_FORMAT`.
    pub format: Option<String>,
    /// `ETL_LOG_FORMAT`.
    pub log_format: Option<String>,
    /// `ETL_NO_PROGRESS`.
    pub no_progress: bool,
}

/// Reads how things are to be shown from the environment and `.env`.
///
/// # Errors
/// [`SettingsError::DotEnv`].
pub fn presentation() -> Result<Presentation, SettingsError> {
    let environment = Environment::read(None)?;
    let value = |name| environment.get(name).map(|said| said.value);
    Ok(Presentation { format: value("ETL_FORMAT"), log_format: value("ETL_LOG_FORMAT"), no_progress: value("ETL_NO_PROGRESS").is_some() })
}

/// The words of a variable that is set or not.
const YES_OR_NO: [(&str, bool); 4] = [("1", true), ("true", true), ("0", false), ("false", false)];

/// The file that is looked for where none is named.
const DEFAULT_FILE: &str = "etl.toml";

/// What was said on the command line. `None` where nothing was.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "each is a flag of the contract, under its name")]
pub struct Flags {
    pub config: Option<PathBuf>,
    pub output: Option<String>,
    pub source: Option<String>,
    pub url: Option<String>,
    pub orders: Option<String>,
    pub users: Option<String>,
    pub products: Option<String>,
    pub cursor: Option<String>,
    pub since: Option<String>,
    pub until: Option<String>,
    pub lookback: Option<String>,
    pub lock_wait: Option<String>,
    pub empty_exit_code: Option<String>,
    pub checks: Option<String>,
    pub check_scope: Option<String>,
    pub on_check_failure: Option<String>,
    pub max_attempts: Option<String>,
    pub memory_limit: Option<String>,
    pub metrics_file: Option<String>,
    pub metrics_emf: Option<String>,
    pub retention: Option<String>,
    pub dry_run: bool,
    pub allow_incomplete: bool,
}

/// A setting that can't be used: exit 2.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// `etl.toml` can't be read.
    #[error("{}: can't be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `etl.toml` says something that is not understood.
    #[error("{}, line {line}: {detail}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// What is wrong with it.
        detail: String,
    },
    /// `.env` says something that is not understood. Its content may be secret, and is not shown.
    #[error("{}: can't be read as NAME=value lines", path.display())]
    DotEnv {
        /// The file.
        path: PathBuf,
    },
    /// A value that can't be used.
    #[error("{origin}: `{value}`: {detail}")]
    Value {
        /// Where it was said.
        origin: Origin,
        /// What was said.
        value: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Settings that do not go together.
    #[error("{0}")]
    Conflict(String),
    /// A run that the history does not have.
    #[error("no run `{0}` has been recorded here; `etl runs` lists them")]
    UnknownRun(String),
    /// A profile of an API that has no place of its own.
    #[error(
        "where is your {0} API? Say so with --url https://..., ETL_URL, or `url` in etl.toml (or name the orders alone: --orders https://...)"
    )]
    NoPlace(String),
    /// Nothing to load.
    #[error(
        "no orders source is named. Say where the orders are:\n\n    etl run --orders https://shop.example/api/orders --users users.csv --products products.csv\n    etl run --orders 'data/*.ndjson.gz'\n\nor set ETL_ORDERS, or `orders` in etl.toml. To see the whole job at work without any of that: etl demo"
    )]
    NoOrders,
}

/// Where a value was said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// On the command line.
    Flag(&'static str),
    /// In the environment.
    Environment(&'static str),
    /// In `.env`.
    DotEnv(&'static str),
    /// In `etl.toml`.
    File(Cow<'static, str>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(name) => f.write_str(name),
            Origin::Environment(name) => f.write_str(name),
            Origin::DotEnv(name) => write!(f, "{name} in .env"),
            Origin::File(name) => write!(f, "`{name}` in etl.toml"),
        }
    }
}

/// A value with the place it was said in.
pub(super) struct Said {
    pub(super) value: String,
    pub(super) origin: Origin,
}

impl Said {
    /// What `etl.toml` says under a key.
    pub(super) fn in_file(key: &'static str, value: String) -> Said {
        Said { value, origin: Origin::File(key.into()) }
    }

    pub(super) fn invalid(&self, detail: impl fmt::Display) -> SettingsError {
        SettingsError::Value { origin: self.origin.clone(), value: self.value.clone(), detail: detail.to_string() }
    }

    /// A URL as an error may show it: whatever stands where credentials would is left out.
    pub(super) fn without_credentials(&self) -> Said {
        let value = match self.value.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1))) {
            Some((scheme, host)) => format!("{scheme}://***@{host}"),
            None => self.value.clone(),
        };
        Said { value, origin: self.origin.clone() }
    }

    fn parse<T: FromStr<Err: fmt::Display>>(&self) -> Result<T, SettingsError> {
        self.value.trim().parse().map_err(|error| self.invalid(error))
    }

    pub(super) fn span(&self) -> Result<Duration, SettingsError> {
        parse_span(&self.value).map_err(|error| self.invalid(error))
    }

    /// One of some words.
    fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, SettingsError> {
        let found = words.iter().find(|(word, _)| *word == self.value.trim()).map(|(_, meaning)| *meaning);
        found.ok_or_else(|| self.invalid(format!("write {}", words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(" or "))))
    }
}

/// The environment and `.env`, as far as they concern this tool.
pub(super) struct Environment {
    process: HashMap<String, String>,
    dot_env: HashMap<String, String>,
}

impl Environment {
    fn read(config: Option<&Path>) -> Result<Environment, SettingsError> {
        let process = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with("ETL_"))
            .collect();
        let beside = config.and_then(Path::parent).map(|folder| folder.join(".env"));
        let path = [Some(PathBuf::from(".env")), beside].into_iter().flatten().find(|path| path.is_file());
        let mut dot_env = HashMap::new();
        if let Some(path) = path {
            let unreadable = || SettingsError::DotEnv { path: path.clone() };
            for pair in dotenvy::from_path_iter(&path).map_err(|_| unreadable())? {
                let (name, value) = pair.map_err(|_| unreadable())?;
                dot_env.insert(name, value);
            }
        }
        Ok(Environment { process, dot_env })
    }

    /// The value of a variable; an empty one counts as not set.
    pub(super) fn get(&self, name: &'static str) -> Option<Said> {
        let said = |value: &String, origin| (!value.is_empty()).then(|| Said { value: value.clone(), origin });
        let process = self.process.get(name).and_then(|value| said(value, Origin::Environment(name)));
        process.or_else(|| self.dot_env.get(name).and_then(|value| said(value, Origin::DotEnv(name))))
    }

    pub(super) fn secret(&self, name: &'static str) -> Option<Secret> {
        let is_user_name = name.ends_with("_USER") || name.ends_with("_CLIENT_ID");
        self.get(name).map(|said| if is_user_name { Secret::user_name(said.value) } else { Secret::new(said.value) })
    }
}

/// All layers, and the look-ups over them.
pub(super) struct Layers {
    environment: Environment,
    /// The folder of `etl.toml`: paths that stand in it are taken from there.
    folder: PathBuf,
}

impl Layers {
    fn said(&self, flag: (&'static str, Option<&String>), variable: &'static str, file: (&'static str, Option<String>)) -> Option<Said> {
        let from_flag = flag.1.map(|value| Said { value: value.clone(), origin: Origin::Flag(flag.0) });
        let from_file = || file.1.map(|value| Said::in_file(file.0, value));
        from_flag.or_else(|| self.environment.get(variable)).or_else(from_file)
    }

    fn path(&self, said: &Said) -> PathBuf {
        if matches!(said.origin, Origin::File(_)) { self.folder.join(&said.value) } else { PathBuf::from(&said.value) }
    }

    pub(super) fn location(&self, said: Option<Said>) -> Result<Option<Location>, SettingsError> {
        let Some(said) = said else { return Ok(None) };
        let location: Location = said.value.trim().parse().map_err(|error: LocationError| said.without_credentials().invalid(error))?;
        Ok(Some(if matches!(said.origin, Origin::File(_)) { location.relative_to(&self.folder) } else { location }))
    }
}

/// Merges the layers.
///
/// # Errors
/// [`SettingsError`], which names the place to mend.
pub fn load(flags: &Flags) -> Result<Settings, SettingsError> {
    let environment_config = env::var_os("ETL_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    let named = flags.config.clone().or(environment_config);
    let toml = read_file(named.as_deref())?;
    let path = named.unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let layers = Layers { environment: Environment::read(Some(&path))?, folder };
    settings(flags, &layers, toml)
}

fn read_file(named: Option<&Path>) -> Result<EtlToml, SettingsError> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => return Ok(EtlToml::default()),
        Err(source) => return Err(SettingsError::Unreadable { path: path.to_owned(), source }),
    };
    file::parse(&text).map_err(|(line, detail)| SettingsError::File { path: path.to_owned(), line, detail })
}

fn settings(flags: &Flags, layers: &Layers, toml: EtlToml) -> Result<Settings, SettingsError> {
    let said = |flag: &'static str, value: &Option<String>, variable: &'static str, key: &'static str, in_file: Option<String>| {
        layers.said((flag, value.as_ref()), variable, (key, in_file))
    };
    let when = |said: Option<Said>| said.map(|said| said.parse::<When>()).transpose();
    let span = |said: Option<Said>, default: Duration| said.map_or(Ok(default), |said| said.span());
    let since = when(said("--since", &flags.since, "ETL_SINCE", "since", toml.since))?;
    let until_said = said("--until", &flags.until, "ETL_UNTIL", "until", toml.until);
    let until = when(until_said)?;
    if until == Some(When::Last) {
        return Err(SettingsError::Conflict("--until can't be `last`: only a window's beginning can follow on the runs before".into()));
    }
    let named = said("--source", &flags.source, "ETL_SOURCE", "source", toml.source);
    let source_name = named.as_ref().map(|said| said.value.trim().to_owned());
    let shipped = sources::shipped_layer(named)?;
    let url = sources::base_url(said("--url", &flags.url, "ETL_URL", "url", toml.url), shipped.as_ref())?;
    let source = |name: &'static Names, flag: &Option<String>, table: SourceToml| {
        let location = said(name.flag, flag, name.variable, name.table, table.location.clone());
        sources::source(layers, name, location, url.as_ref(), table, shipped.as_ref(), source_name.as_deref())
    };
    let orders = source(&sources::ORDERS, &flags.orders, toml.orders)?;
    let users = source(&sources::USERS, &flags.users, toml.users)?;
    let products = source(&sources::PRODUCTS, &flags.products, toml.products)?;
    let http = http_settings(flags, layers, &toml.http)?;
    let common = credentials(&layers.environment)?;
    let [orders, users, products] = with_credentials([orders, users, products], &common);
    let cursor = said("--cursor", &flags.cursor, "ETL_CURSOR", "cursor", toml.cursor)
        .map_or(Ok(Cursor::Created), |said| said.one_of(&[("created_at", Cursor::Created), ("updated_at", Cursor::Updated)]))?;
    let in_file = |key: &'static str, value: Option<String>| value.map(|value| Said::in_file(key, value));
    let merge = in_file("merge", toml.merge)
        .map_or(Ok(MergeBy::Line), |said| said.one_of(&[("line", MergeBy::Line), ("order", MergeBy::Order)]))?;
    let repeated_sku = in_file("repeated_sku", toml.repeated_sku)
        .map_or(Ok(RepeatedSku::Last), |said| said.one_of(&[("last", RepeatedSku::Last), ("sum", RepeatedSku::Sum)]))?;
    let output = said("--output", &flags.output, "ETL_OUTPUT", "output", toml.output);
    let checks = said("--checks", &flags.checks, "ETL_CHECKS", "checks.dir", toml.checks.dir);
    let default_checks = layers.folder.join("checks");
    let enrich = EnrichColumns::default();
    let versioned = |own: Option<u8>, key: &'static str| match own.or(toml.scd) {
        None | Some(1) => Ok(false),
        Some(2) => Ok(true),
        Some(other) => Err(SettingsError::Value {
            origin: Origin::File(key.into()),
            value: other.to_string(),
            detail: "write 1 (members as they are) or 2 (their versions too)".into(),
        }),
    };
    Ok(Settings {
        output: local_output(output.as_ref(), layers)?,
        source: source_name,
        orders,
        users,
        products,
        cursor,
        merge,
        repeated_sku,
        fact_columns: fact_columns::compile(&toml.fact.columns)
            .map_err(|detail| SettingsError::Conflict(format!("`fact.columns` in etl.toml: {detail}")))?,
        since,
        until,
        lookback: span(said("--lookback", &flags.lookback, "ETL_LOOKBACK", "lookback", toml.lookback), DEFAULT_LOOKBACK)?,
        dry_run: flags.dry_run || layers.environment.get("ETL_DRY_RUN").map_or(Ok(false), |said| said.one_of(&YES_OR_NO))?,
        allow_incomplete: flags.allow_incomplete
            || match layers.environment.get("ETL_ALLOW_INCOMPLETE") {
                Some(said) => said.one_of(&YES_OR_NO)?,
                None => toml.allow_incomplete.unwrap_or(false),
            },
        lock_wait: span(said("--lock-wait", &flags.lock_wait, "ETL_LOCK_WAIT", "lock_wait", toml.lock_wait), Duration::ZERO)?,
        empty_exit_code: said(
            "--empty-exit-code",
            &flags.empty_exit_code,
            "ETL_EMPTY_EXIT_CODE",
            "empty_exit_code",
            toml.empty_exit_code.map(|code| code.to_string()),
        )
        .map(|said| said.parse())
        .transpose()?,
        check_scope: said("--check-scope", &flags.check_scope, "ETL_CHECK_SCOPE", "checks.scope", toml.checks.scope)
            .map_or(Ok(CheckScope::Changed), |said| said.one_of(&[("changed", CheckScope::Changed), ("full", CheckScope::Full)]))?,
        on_check_failure: said(
            "--on-check-failure",
            &flags.on_check_failure,
            "ETL_ON_CHECK_FAILURE",
            "checks.on_failure",
            toml.checks.on_failure,
        )
        .map_or(Ok(OnCheckFailure::Abort), |said| said.one_of(&[("abort", OnCheckFailure::Abort), ("publish", OnCheckFailure::Publish)]))?,
        checks: checks.map(|said| layers.path(&said)).or_else(|| default_checks.is_dir().then_some(default_checks)),
        memory_limit: said("--memory-limit", &flags.memory_limit, "ETL_MEMORY_LIMIT", "memory_limit", toml.memory_limit)
            .map(|said| parse_size(&said.value).map_err(|detail| said.invalid(detail)))
            .transpose()?,
        threads: toml.threads.filter(|threads| *threads > 0).unwrap_or_else(default_threads),
        http,
        limits: limits(&toml.limits),
        enrich: EnrichColumns {
            user_country: toml.enrich.user_country.map_or(enrich.user_country, |name| name.to_lowercase()),
            product_name: toml.enrich.product_name.map_or(enrich.product_name, |name| name.to_lowercase()),
            product_category: toml.enrich.product_category.map_or(enrich.product_category, |name| name.to_lowercase()),
        },
        versioned_users: versioned(toml.dim_user.scd, "dim_user.scd")?,
        versioned_products: versioned(toml.dim_product.scd, "dim_product.scd")?,
        metrics: metrics(flags, layers, &toml.metrics),
        alerts: alerts::alerts(toml.alerts, &layers.environment)?,
        retention: said("--retention", &flags.retention, "ETL_RETENTION", "retention", toml.retention)
            .map(|said| said.span())
            .transpose()?,
        redshift: RedshiftSettings {
            schema: toml.redshift.schema,
            url: toml.redshift.url.map(|url| url.trim_end_matches('/').to_owned()),
            iam_role: toml.redshift.iam_role,
            region: toml.redshift.region,
            connection: layers.environment.secret("ETL_REDSHIFT_URL"),
        },
    })
}

fn metrics(flags: &Flags, layers: &Layers, toml: &super::file::MetricsToml) -> MetricsSettings {
    let file = layers.said(("--metrics-file", flags.metrics_file.as_ref()), "ETL_METRICS_FILE", ("metrics.file", toml.file.clone()));
    let emf = layers.said(("--metrics-emf", flags.metrics_emf.as_ref()), "ETL_METRICS_EMF", ("metrics.emf", toml.emf.clone()));
    MetricsSettings {
        file: file.map(|said| layers.path(&said)),
        emf: emf.map(|said| if said.value == "-" { EmfTarget::Stdout } else { EmfTarget::File(layers.path(&said)) }),
    }
}

fn limits(toml: &super::file::LimitsToml) -> Limits {
    let default = Limits::default();
    Limits {
        record_bytes: toml.record_bytes.unwrap_or(default.record_bytes),
        depth: toml.depth.unwrap_or(default.depth),
        expansion: toml.expansion.unwrap_or(default.expansion),
    }
}

fn local_output(said: Option<&Said>, layers: &Layers) -> Result<PathBuf, SettingsError> {
    match said {
        None => Ok(PathBuf::from("output")),
        Some(said) if said.value.trim().is_empty() => Err(said.invalid("name a folder")),
        Some(said) if said.value.contains("://") => Err(said.invalid("only local folders are written so far")),
        Some(said) => Ok(layers.path(said)),
    }
}

fn http_settings(flags: &Flags, layers: &Layers, toml: &super::file::HttpToml) -> Result<HttpSettings, SettingsError> {
    let default = HttpSettings::default();
    let span = |key: &'static str, value: &Option<String>, default: Duration| {
        value.as_ref().map_or(Ok(default), |value| Said::in_file(key, value.clone()).span())
    };
    let attempts = layers.said(
        ("--max-attempts", flags.max_attempts.as_ref()),
        "ETL_MAX_ATTEMPTS",
        ("http.max_attempts", toml.max_attempts.map(|attempts| attempts.to_string())),
    );
    let max_attempts = match attempts {
        None => default.max_attempts,
        Some(said) => match said.parse()? {
            0 => return Err(said.invalid("at least one attempt is needed")),
            attempts => attempts,
        },
    };
    Ok(HttpSettings {
        max_attempts,
        connect_timeout: span("http.connect_timeout", &toml.connect_timeout, default.connect_timeout)?,
        read_timeout: span("http.read_timeout", &toml.read_timeout, default.read_timeout)?,
        retry_after_cap: span("http.retry_after_cap", &toml.retry_after_cap, default.retry_after_cap)?,
        backoff_first: span("http.backoff_first", &toml.backoff_first, default.backoff_first)?,
        backoff_cap: span("http.backoff_cap", &toml.backoff_cap, default.backoff_cap)?,
        per_page: toml.per_page.unwrap_or(default.per_page),
        max_pages: toml.max_pages.unwrap_or(default.max_pages),
        max_redirects: toml.max_redirects.unwrap_or(default.max_redirects),
        max_body: toml.max_body.unwrap_or(default.max_body),
        ..default
    })
}

/// The sources with the common credentials: those of the orders' origin, or all where the orders are files.
fn with_credentials(sources: [Option<Source>; 3], common: &Credentials) -> [Option<Source>; 3] {
    let origin = |source: &Option<Source>| match source {
        Some(Source { location: Location::Http(url), .. }) => Some(url.origin()),
        _ => None,
    };
    let orders = origin(&sources[0]);
    sources.map(|mut source| {
        let has_them = orders.is_none() || origin(&source) == orders;
        if let Some(source) = source.as_mut().filter(|_| has_them) {
            source.credentials = common.clone();
        }
        source
    })
}

/// Credentials, from the environment or `.env` only.
fn credentials(environment: &Environment) -> Result<Credentials, SettingsError> {
    let bearer = environment.secret("ETL_API_TOKEN");
    let header = environment.get("ETL_API_KEY_HEADER");
    if let Some(said) = &header
        && said.value.parse::<reqwest::header::HeaderName>().is_err()
    {
        return Err(said.invalid("not the name of a header"));
    }
    let header = header.map_or_else(|| "X-API-Key".to_owned(), |said| said.value);
    let basic = match (environment.secret("ETL_API_USER"), environment.secret("ETL_API_PASSWORD")) {
        (Some(user), Some(password)) => Some((user, password)),
        (None, None) => None,
        (Some(_), None) => return Err(SettingsError::Conflict("ETL_API_USER is set, and ETL_API_PASSWORD is not".into())),
        (None, Some(_)) => return Err(SettingsError::Conflict("ETL_API_PASSWORD is set, and ETL_API_USER is not".into())),
    };
    if bearer.is_some() && basic.is_some() {
        return Err(SettingsError::Conflict("ETL_API_TOKEN and ETL_API_USER are both set: a request carries one Authorization".into()));
    }
    let client = match (environment.secret("ETL_OAUTH_CLIENT_ID"), environment.secret("ETL_OAUTH_CLIENT_SECRET")) {
        (Some(id), Some(secret)) => Some((id, secret)),
        (None, None) => None,
        _ => {
            return Err(SettingsError::Conflict(
                "of ETL_OAUTH_CLIENT_ID and ETL_OAUTH_CLIENT_SECRET one is set, and the other is not".into(),
            ));
        }
    };
    let secrets = [bearer.as_ref(), basic.as_ref().map(|(user, _)| user), basic.as_ref().map(|(_, password)| password)];
    let api_key = environment.secret("ETL_API_KEY");
    if secrets.into_iter().chain([api_key.as_ref()]).flatten().any(|secret| secret.expose().bytes().any(|byte| byte.is_ascii_control())) {
        return Err(SettingsError::Conflict("a credential holds a line break or another control character".into()));
    }
    Ok(Credentials { bearer, api_key: api_key.map(|key| (header, key)), basic, client })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(flags: Flags, process: &[(&str, &str)], dot_env: &[(&str, &str)], toml: &str) -> Result<Settings, SettingsError> {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let environment = Environment { process: map(process), dot_env: map(dot_env) };
        settings(&flags, &Layers { environment, folder: "conf".into() }, file::parse(toml).unwrap())
    }

    #[test]
    fn flags_beat_the_environment_which_beats_dot_env_which_beats_the_file() {
        let lookback = |flag: Option<&str>, process: &[(&str, &str)], dot_env: &[(&str, &str)], toml| {
            let flags = Flags { lookback: flag.map(str::to_owned), ..Flags::default() };
            merged(flags, process, dot_env, toml).unwrap().lookback.as_secs()
        };
        let (process, dot_env, toml) = (&[("ETL_LOOKBACK", "2s")][..], &[("ETL_LOOKBACK", "3s")][..], "lookback = \"4s\"");
        assert_eq!(lookback(Some("1s"), process, dot_env, toml), 1);
        assert_eq!(lookback(None, process, dot_env, toml), 2);
        assert_eq!(lookback(None, &[("ETL_LOOKBACK", "")], dot_env, toml), 3);
        assert_eq!(lookback(None, &[], &[], toml), 4);
        assert_eq!(lookback(None, &[], &[], ""), 86_400);
    }

    #[test]
    fn paths_in_the_file_are_taken_from_its_folder() {
        let settings =
            merged(Flags { users: Some("u.csv".into()), ..Flags::default() }, &[], &[], "orders = \"o.json\"\noutput = \"out\"").unwrap();
        assert_eq!(settings.orders, Some(Location::Files("conf/o.json".into()).into()));
        assert_eq!(settings.users, Some(Location::Files("u.csv".into()).into()));
        assert_eq!(settings.output, PathBuf::from("conf/out"));
    }

    #[test]
    fn an_error_names_the_place_to_mend() {
        let error = |flags: Flags, process: &[(&str, &str)], toml| merged(flags, process, &[], toml).unwrap_err().to_string();
        assert!(error(Flags { since: Some("soon".into()), ..Flags::default() }, &[], "").starts_with("--since: `soon`: write a date"));
        assert!(error(Flags::default(), &[("ETL_CHECK_SCOPE", "half")], "").contains("ETL_CHECK_SCOPE: `half`: write changed or full"));
        assert!(error(Flags::default(), &[], "[http]\nread_timeout = \"x\"").contains("`http.read_timeout` in etl.toml: `x`"));
        assert!(error(Flags::default(), &[], "scd = 3").contains("write 1"));
        assert!(error(Flags { until: Some("last".into()), ..Flags::default() }, &[], "").contains("--until can't be `last`"));
        assert!(error(Flags { max_attempts: Some("0".into()), ..Flags::default() }, &[], "").contains("at least one"));
        assert!(error(Flags { output: Some("s3://b/x".into()), ..Flags::default() }, &[], "").contains("only local folders"));
    }

    #[test]
    fn credentials_come_whole_and_one_at_a_time() {
        let credentials = |process: &[(&str, &str)]| {
            merged(Flags::default(), process, &[], "orders = \"http://h/o\"").map(|settings| settings.orders.unwrap().credentials)
        };
        assert_eq!(credentials(&[("ETL_API_TOKEN", "t")]).unwrap().bearer, Some(Secret::new("t".into())));
        assert_eq!(credentials(&[("ETL_API_KEY", "k")]).unwrap().api_key, Some(("X-API-Key".into(), Secret::new("k".into()))));
        assert!(credentials(&[("ETL_API_USER", "u")]).is_err());
        assert!(
            credentials(&[("ETL_API_TOKEN", "hush"), ("ETL_API_USER", "u"), ("ETL_API_PASSWORD", "p")])
                .is_err_and(|error| !error.to_string().contains("hush"))
        );
        assert!(credentials(&[("ETL_API_TOKEN", "a\nb")]).is_err());
        assert!(credentials(&[("ETL_API_KEY_HEADER", "no header")]).is_err());
    }
}
