//! `etl init`: the files that a folder needs to load orders. It asks no source, and replaces nothing unless it is told to.

use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{self, IsTerminal, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{
    confirm::typed_line,
    display::{Display, Ending},
    escaped::escaped,
};
use crate::{
    cancel::Cancel,
    model::shell_quoted,
    run::RunError,
    settings::{
        self, BucketUrl, CredentialNames, Location, MistakenUrl, NeededCredentials, SETTINGS_FILE, SettingsError, Shipped, VARIABLES_FILE,
        credentials_of_profile, no_such_profile, shipped, toml_text,
    },
    store::StoreError,
};

/// The file that an editor reads.
const SCHEMA_FILE: &str = "etl.schema.json";

/// The example of a check of one's own.
const CHECK_FILE: &str = "checks/currency_is_known.sql";

const CHECK: &str = "-- severity: warn
-- Each row that a query returns is a violation. This one finds lines of orders without a currency.
SELECT order_id, sku FROM fact_order WHERE currency IS NULL
";

/// The crontab and the DAG of the documentation, and the folder that they name.
const CRONTAB: &str = include_str!("../../docs/deploy/crontab");
const DAG: &str = include_str!("../../docs/airflow/orders_dags.py");
const THEIR_FOLDER: &str = "/srv/etl";

/// So many times somebody is asked for a profile.
const PROFILE_TRIES: usize = 3;

/// The mode of files that hold secrets, and of others, before the umask.
const SECRET_MODE: u32 = 0o600;
const USUAL_MODE: u32 = 0o666;

#[derive(Args, Debug)]
pub(super) struct InitArgs {
    /// Shipped profile: see `etl sources`
    #[arg(long, alias = "source", value_name = "NAME", conflicts_with = "orders")]
    profile: Option<String>,
    /// URL of the API, for a profile
    #[arg(long, value_name = "URL", conflicts_with = "orders")]
    url: Option<String>,
    /// Orders without a profile: an http(s) URL, files, or objects of a bucket
    #[arg(long, value_name = "LOCATION")]
    orders: Option<String>,
    /// The layer: a folder, or s3://, gs:// or az://bucket/prefix [default: output]
    #[arg(long, value_name = "LOCATION")]
    output: Option<String>,
    /// What starts the runs: cron, airflow or none [default: none]
    #[arg(long, value_name = "WHAT", value_enum, hide_possible_values = true)]
    schedule: Option<Schedule>,
    /// Replace files that are there; the values in .env stay
    #[arg(long)]
    force: bool,
}

/// What runs `etl`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Schedule {
    Cron,
    Airflow,
    None,
}

/// What is to be loaded, and where it goes.
struct Choices {
    source: ChosenSource,
    output: String,
    schedule: Schedule,
}

enum ChosenSource {
    /// A shipped profile, and the URL of the API where its own is not meant.
    Profile(&'static Shipped, Option<String>),
    /// Orders without a profile.
    Orders(String),
}

/// A file that is written.
struct NewFile {
    name: &'static str,
    content: String,
    mode: u32,
}

pub(super) fn run(args: &InitArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    let mut typed = || typed_line("nothing was written", cancel);
    let mut questions = Questions { typed: &mut typed, out: &mut anstream::stderr(), is_asking: io::stdin().is_terminal() };
    let choices = choices(args, &mut questions)?;
    let folder = std::env::current_dir().map_err(StoreError::io("find", "the working directory"))?;
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("etl"));
    let files = files(&choices, &folder, &program);
    if !args.force {
        refuse_overwriting(&files)?;
    }
    for file in &files {
        write(file)?;
    }
    let next = ["etl doctor", "etl run --dry-run"];
    let written: Vec<_> = files.iter().map(|file| file.name).collect();
    display.outcome(Ending::Success, &json!({ "written": written, "next": next }), |out| show(out, &choices, &written, next));
    Ok(0)
}

fn show(out: &mut String, choices: &Choices, written: &[&str], next: [&str; 2]) {
    let _ = writeln!(out, "written: {}", written.join(", "));
    let mut steps = String::new();
    if !credentials(&choices.source).is_empty() {
        let _ = writeln!(steps, "Fill in the credentials in {VARIABLES_FILE}.");
    }
    let then = match choices.schedule {
        Schedule::Cron => "Set MAILTO in etl.crontab. When it works, install it:\n    crontab -l | cat - etl.crontab | crontab -\n",
        Schedule::Airflow => "When it works, copy orders_dags.py into the folder of Airflow's DAGs: docs/airflow.md.\n",
        Schedule::None => "",
    };
    steps.push_str(then);
    if !steps.is_empty() {
        let _ = write!(out, "\n{steps}");
    }
    let [first, second] = next;
    let _ = writeln!(out, "\nNext:\n    {first}\n    {second}");
}

/// Lines that are asked for, where somebody is there to answer.
struct Questions<'q> {
    /// Waits for a line; empty at the end of the input.
    typed: &'q mut dyn FnMut() -> Result<String, RunError>,
    out: &'q mut dyn Write,
    is_asking: bool,
}

impl Questions<'_> {
    /// The answer, or what a flag says; `None`: an empty line, or nobody is there.
    fn ask(&mut self, flag: Option<&String>, question: &str) -> Result<Option<String>, RunError> {
        if flag.is_some() || !self.is_asking {
            return Ok(flag.cloned());
        }
        self.say(&format!("{question} "))?;
        let line = (self.typed)()?;
        Ok(Some(line.trim().to_owned()).filter(|line| !line.is_empty()))
    }

    fn say(&mut self, text: &str) -> Result<(), RunError> {
        let said = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        Ok(said.map_err(StoreError::io("ask on", "the terminal"))?)
    }

    /// The name of a shipped profile. A name that none has is asked for again, a few times; the last one is refused by who looks it up.
    fn profile(&mut self, flag: Option<&String>) -> Result<Option<String>, RunError> {
        let question = "Which profile (`etl sources` lists them)? Empty: none";
        let mut name = self.ask(flag, question)?;
        for _ in 1..PROFILE_TRIES {
            let Some(unknown) = name.as_deref().filter(|name| flag.is_none() && shipped(name).is_none()) else { break };
            let unknown = format!("`{}`: {}\n", escaped(unknown), no_such_profile(unknown));
            self.say(&unknown)?;
            name = self.ask(None, question)?;
        }
        Ok(name)
    }
}

fn choices(args: &InitArgs, questions: &mut Questions<'_>) -> Result<Choices, RunError> {
    let source = chosen_source(args, questions)?;
    let output =
        questions.ask(args.output.as_ref(), "Where does the layer go: a folder, or s3://, gs:// or az://bucket/prefix? [output]")?;
    let output = output.unwrap_or_else(|| "output".to_owned());
    verify_output(&output)?;
    let schedule = match args.schedule {
        Some(schedule) => schedule,
        None => match questions.ask(None, "What starts the runs: cron, airflow or none? [none]")? {
            None => Schedule::None,
            Some(word) => {
                Schedule::from_str(&word, true).map_err(|_| SettingsError::flag("--schedule", &word, "write cron, airflow or none"))?
            }
        },
    };
    Ok(Choices { source, output, schedule })
}

fn chosen_source(args: &InitArgs, questions: &mut Questions<'_>) -> Result<ChosenSource, RunError> {
    let profile = match &args.orders {
        Some(_) => None,
        None => questions.profile(args.profile.as_ref())?,
    };
    let Some(name) = profile else {
        let orders = questions.ask(args.orders.as_ref(), "Where are the orders: a URL, files, or objects of a bucket?")?;
        let nothing = || {
            SettingsError::Conflict(
                "say what is to be loaded: --profile NAME --url URL (`etl sources` lists the profiles), or --orders LOCATION".into(),
            )
        };
        let orders = orders.ok_or_else(nothing)?;
        orders.parse::<Location>().map_err(|error| SettingsError::flag("--orders", shown(&orders), error))?;
        return Ok(ChosenSource::Orders(orders));
    };
    let profile =
        shipped(&name).ok_or_else(|| SettingsError::flag("--profile", &name, format!("{}: see `etl sources`", no_such_profile(&name))))?;
    let needs_url = profile.example_url().is_some();
    let question = if needs_url { "What is the URL of your API?" } else { "What is the URL of the API? Empty: that of the profile" };
    let url = questions.ask(args.url.as_ref(), question)?;
    match &url {
        Some(url) => verify_url(profile, url)?,
        None if needs_url => {
            let detail = format!("where is your {name} API? Say so with --url https://...");
            return Err(SettingsError::Conflict(detail).into());
        }
        None => {}
    }
    Ok(ChosenSource::Profile(profile, url))
}

fn verify_url(profile: &Shipped, url: &str) -> Result<(), SettingsError> {
    let bare = |url: &str| url.trim().trim_end_matches('/').to_ascii_lowercase();
    if profile.example_url().is_some_and(|example| bare(example) == bare(url)) {
        return Err(SettingsError::flag("--url", url, "this is the example of the shipped profile: say where your own API is"));
    }
    match url.parse::<Location>() {
        Ok(Location::Http(_)) => Ok(()),
        Ok(Location::Files(_) | Location::Bucket(_)) => Err(SettingsError::flag("--url", url, "not an http(s) URL")),
        Err(error) => Err(SettingsError::flag("--url", shown(url), error)),
    }
}

/// A location as an error may show it: it may hold credentials.
fn shown(location: &str) -> &str {
    if location.contains('@') { "***" } else { location }
}

fn verify_output(output: &str) -> Result<(), SettingsError> {
    if let Some(mistaken) = MistakenUrl::of(output) {
        return Err(SettingsError::flag("--output", shown(output), mistaken));
    }
    if BucketUrl::is_meant(output) {
        return output.parse::<BucketUrl>().map(drop).map_err(|error| SettingsError::flag("--output", output, error));
    }
    if output.starts_with('~') {
        return Err(SettingsError::flag("--output", output, "`~` is expanded by a shell only: write the whole path"));
    }
    settings::refuse_file("--output", Path::new(output))
}

fn files(choices: &Choices, folder: &Path, program: &Path) -> Vec<NewFile> {
    let file = |name, content| NewFile { name, content, mode: USUAL_MODE };
    let schema = serde_json::to_string_pretty(&settings::etl_toml_schema()).unwrap_or_default();
    let mut files = vec![
        file(SETTINGS_FILE, settings_file(choices)),
        NewFile { name: VARIABLES_FILE, content: variables_file(&choices.source), mode: SECRET_MODE },
        file(CHECK_FILE, CHECK.to_owned()),
        file(SCHEMA_FILE, format!("{schema}\n")),
    ];
    match choices.schedule {
        Schedule::Cron => {
            let command = format!("cd {} && {}", in_crontab(folder), in_crontab(program));
            files.push(file("etl.crontab", CRONTAB.replace(&format!("cd {THEIR_FOLDER} && ./etl"), &command)));
        }
        Schedule::Airflow => {
            let folder = toml_text(&folder.display().to_string());
            files.push(file("orders_dags.py", DAG.replace(&format!("\"{THEIR_FOLDER}\""), &folder)));
        }
        Schedule::None => {}
    }
    files
}

/// A path in a line of a crontab, where a `%` is the end of the command.
fn in_crontab(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+@:,".contains(c));
    if is_plain { path } else { shell_quoted(&path).replace('%', "\\%") }
}

fn settings_file(choices: &Choices) -> String {
    let mut text = format!(
        "#:schema ./{SCHEMA_FILE}\n# Settings of etl. `etl config show` tells every value, `etl config check` every mistake.\n# Credentials stand in {VARIABLES_FILE}, and never here.\n\n"
    );
    match &choices.source {
        ChosenSource::Profile(profile, url) => {
            for line in profile.toml.lines().take_while(|line| line.starts_with('#')) {
                let _ = writeln!(text, "{line}");
            }
            let _ = writeln!(text, "profile = {}", toml_text(profile.name));
            if let Some(url) = url {
                let _ = writeln!(text, "url = {}", toml_text(url));
            }
        }
        ChosenSource::Orders(location) => {
            let _ = writeln!(text, "# How their fields are found: `etl probe`. Users and products are the same: users = \"users.csv\"");
            let _ = writeln!(text, "orders = {}", toml_text(location));
        }
    }
    let _ = write!(
        text,
        "output = {}\n\n# Each run goes on where the coverage ends, less the lookback. The first run loads everything.\nsince = \"last\"\n# lookback = \"24h\"\n\n# A column more, and a check without SQL:\n# [[fact.columns]]\n# name = \"channel\"\n# path = \"source.name\"\n#\n# [[checks.column]]\n# column = \"status\"\n# not_null = true\n",
        toml_text(&choices.output)
    );
    text
}

/// The credentials that the source asks for.
fn credentials(source: &ChosenSource) -> NeededCredentials {
    match source {
        ChosenSource::Profile(profile, _) => credentials_of_profile(profile),
        ChosenSource::Orders(_) => NeededCredentials::default(),
    }
}

fn variables_file(source: &ChosenSource) -> String {
    let needed = credentials(source);
    let mut text = String::from(
        "# Credentials, and variables of this machine. Keep this file out of version control.\n# Lines of NAME=value; a `$` stands for itself. An empty variable counts as not set.\n",
    );
    for name in &needed.all {
        let _ = writeln!(text, "{name}=");
    }
    for name in &needed.instead {
        let _ = writeln!(text, "# or a token that you have: {name}=");
    }
    if let (ChosenSource::Orders(_), CredentialNames { token, key, user, password, .. }) = (source, CredentialNames::default()) {
        let _ = writeln!(text, "# If the API asks for credentials: {token}, or {key}, or {user} and {password}.");
    }
    text.push_str("# Receivers of alerts: ETL_ALERT_SLACK_URL and its like. `etl alerts test` sends one to each.\n");
    text
}

fn refuse_overwriting(files: &[NewFile]) -> Result<(), SettingsError> {
    let there: Vec<_> = files.iter().map(|file| file.name).filter(|name| fs::symlink_metadata(name).is_ok()).collect();
    if there.is_empty() {
        return Ok(());
    }
    let verb = if there.len() == 1 { "is" } else { "are" };
    let detail =
        format!("{} {verb} here already, and nothing was written: --force replaces them; the values in .env stay", there.join(", "));
    Err(SettingsError::Conflict(detail))
}

/// Writes a file. The values of variables that are there stay: only names that are missing are added.
fn write(file: &NewFile) -> Result<(), RunError> {
    let path = Path::new(file.name);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(StoreError::io("create the folder", folder))?;
    }
    let mut content = file.content.clone();
    if file.mode == SECRET_MODE && fs::symlink_metadata(path).is_ok() {
        let there = fs::read_to_string(path).map_err(StoreError::io("read", path))?;
        content = with_missing_names(&there, &file.content);
        fs::set_permissions(path, fs::Permissions::from_mode(file.mode)).map_err(StoreError::io("set the mode of", path))?;
    }
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(file.mode).open(path);
    let written = opened.and_then(|mut opened| opened.write_all(content.as_bytes()));
    Ok(written.map_err(StoreError::io("write", path))?)
}

/// The variables that are there, and those of `new` that are not.
fn with_missing_names(there: &str, new: &str) -> String {
    let name_of = |line: &str| line.trim_start().trim_start_matches("export ").split_once('=').map(|(name, _)| name.trim().to_owned());
    let known: Vec<String> = there.lines().filter_map(name_of).collect();
    let missing = new.lines().filter(|line| !line.starts_with('#') && name_of(line).is_some_and(|name| !known.contains(&name)));
    let mut text = there.to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    missing.for_each(|line| {
        let _ = writeln!(text, "{line}");
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(profile: Option<&str>, url: Option<&str>) -> InitArgs {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        InitArgs { profile: owned(profile), url: owned(url), orders: None, output: None, schedule: None, force: false }
    }

    fn answered(args: &InitArgs, answers: &str) -> (Result<Choices, RunError>, String) {
        let (mut lines, mut out) = (answers.lines(), Vec::<u8>::new());
        let mut typed = || -> Result<String, RunError> { Ok(lines.next().unwrap_or_default().to_owned()) };
        let found = choices(args, &mut Questions { typed: &mut typed, out: &mut out, is_asking: true });
        (found, String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_no_flag_says_is_asked_for() {
        let (found, asked) = answered(&args(None, None), "woocommerce\nhttps://shop.example\ns3://bucket/x\ncron\n");
        let found = found.unwrap();
        assert!(
            matches!(&found.source, ChosenSource::Profile(profile, Some(url)) if profile.name == "woocommerce" && url == "https://shop.example")
        );
        assert_eq!((found.output.as_str(), found.schedule), ("s3://bucket/x", Schedule::Cron));
        assert_eq!(asked.matches('?').count(), 4, "{asked}");
        let (found, asked) = answered(&args(Some("fakestore"), None), "\n\n\n");
        let found = found.unwrap();
        assert!(matches!(found.source, ChosenSource::Profile(_, None)) && !asked.contains("Which profile"), "{asked}");
        assert_eq!((found.output.as_str(), found.schedule), ("output", Schedule::None));
        let (found, _) = answered(&args(None, None), "\nexports/*.ndjson\n\n\n");
        assert!(matches!(found.unwrap().source, ChosenSource::Orders(orders) if orders == "exports/*.ndjson"));
    }

    #[test]
    fn a_profile_that_nobody_knows_is_asked_for_again_and_not_for_ever() {
        let (found, asked) = answered(&args(None, None), "shopfy\nfakestor\nfakestore\n\n\n\n");
        assert!(matches!(found.unwrap().source, ChosenSource::Profile(profile, None) if profile.name == "fakestore"), "{asked}");
        assert!(asked.contains("`shopfy`: no such profile (did you mean `shopify`?)\n"), "{asked}");
        let (found, asked) = answered(&args(None, None), "a1\nb2\nc3\nfakestore\n");
        assert!(found.is_err() && asked.matches("Which profile").count() == PROFILE_TRIES, "{asked}");
        let (found, asked) = answered(&args(Some("shopfy"), None), "fakestore\n");
        assert!(found.is_err() && asked.is_empty(), "a flag is not asked for again: {asked}");
    }

    #[test]
    fn answers_that_make_no_sense_are_refused() {
        for (flags, answers, message) in [
            (args(None, None), "", "say what is to be loaded"),
            (args(Some("shopfy"), None), "", "--profile: `shopfy`: no such profile"),
            (args(Some("shopify"), None), "\n", "where is your shopify API?"),
            (args(Some("shopify"), Some("https://your-shop.myshopify.com/")), "", "this is the example"),
            (args(Some("shopify"), Some("orders.json")), "", "not an http(s) URL"),
            (args(Some("fakestore"), None), "\n\nweekly\n", "--schedule: `weekly`"),
            (args(Some("fakestore"), None), "\n~/x\n", "expanded by a shell only"),
        ] {
            let (found, _) = answered(&flags, answers);
            let error = found.map(drop).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn a_folder_with_any_name_is_one_word_of_a_crontab() {
        assert_eq!(in_crontab(Path::new("/srv/etl-2")), "/srv/etl-2");
        assert_eq!(in_crontab(Path::new("/srv/it's 5%")), "'/srv/it'\\''s 5\\%'");
    }

    #[test]
    fn values_that_are_there_stay() {
        let there = "export ETL_API_USER = me\nX=1";
        assert_eq!(
            with_missing_names(there, "# head\nETL_API_USER=\nETL_API_PASSWORD=\n"),
            "export ETL_API_USER = me\nX=1\nETL_API_PASSWORD=\n"
        );
    }
}
