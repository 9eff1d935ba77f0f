//! Settings as their user meets them: the documented table, the environment, `.env`, bounds, credentials, proxies.

use std::{collections::BTreeSet, path::Path};

use orders_etl::settings::{CredentialVariables, Form, SETTINGS, Setting};

use crate::support::{self, Asked, Ended, Server, Workspace, json, order};

fn docs(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn row(setting: &Setting) -> String {
    let name = |name: &str| if name.is_empty() { " ".to_owned() } else { format!(" `{name}` ") };
    let names = [setting.flag, setting.variable, setting.key].map(name).join("|");
    format!("|{names}| {} | {} |", setting.default, setting.help)
}

#[test]
fn the_table_of_the_documentation_is_the_table_of_the_program() {
    let page = docs("docs/configuration.md");
    let documented: Vec<_> = page
        .lines()
        .skip_while(|line| *line != "| flag | variable | `etl.toml` | default | what |")
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(str::to_owned)
        .collect();
    assert_eq!(documented, SETTINGS.iter().map(row).collect::<Vec<_>>());
    for name in CredentialVariables::ALL.iter().flat_map(|variables| variables.names().all()) {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn every_flag_of_a_setting_is_in_a_help_text_and_says_its_variable() {
    let work = Workspace::new();
    let commands: [&[&str]; 8] =
        [&["run"], &["backfill"], &["plan"], &["check"], &["status"], &["probe"], &["rewrite"], &["quarantine", "replay"]];
    let help: String = commands.iter().map(|command| work.etl(&[*command, &["--help"]].concat()).stdout).collect();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for setting in SETTINGS.iter().filter(|setting| !setting.flag.is_empty()) {
        let value = match setting.form {
            Form::YesNo => String::new(),
            Form::WordsOrAlone { .. } => format!(" [<{}>]", setting.value),
            _ => format!(" <{}>", setting.value),
        };
        assert!(help.contains(&format!("{}{value} {}", setting.flag, setting.help)), "{}", setting.flag);
        assert!(help.contains(&format!("[env: {}]", setting.variable)), "{}", setting.flag);
    }
    let known: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.variable).collect();
    let shown = help.split("[env: ").skip(1).map(|rest| rest.split(']').next().unwrap());
    assert!(shown.clone().count() > 20 && shown.into_iter().all(|variable| known.contains(variable)));
}

fn run_with(work: &Workspace, args: &[&str], variables: &[(&str, &str)]) -> Ended {
    support::ended(work.command(args).envs(variables.iter().copied()).output().unwrap())
}

#[test]
fn both_dot_env_files_are_read_for_every_variable() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    work.write("conf/etl.toml", "");
    work.write("conf/.env", "ETL_FORMAT=text\nETL_LOG_FORMAT=text\nETL_OUTPUT=beside\n");
    let args = ["run", "--orders", "orders.ndjson", "--config", "conf/etl.toml"];
    let ended = work.etl(&args);
    assert!(ended.code == 0 && ended.stdout.starts_with("published") && !ended.stderr.contains('{'), "{}{}", ended.stdout, ended.stderr);
    assert!(work.path("beside/curated").is_dir());
    // The working directory wins, variable by variable; it may name the settings file.
    work.write(".env", "ETL_CONFIG=conf/etl.toml\nETL_FORMAT=json\n");
    let ended = work.etl(&["run", "--orders", "orders.ndjson"]);
    assert_eq!(ended.unchanged()["rows_unchanged"], 1);
    // The environment wins over both, a flag over all.
    let ended = run_with(&work, &["run", "--orders", "orders.ndjson", "--format", "json"], &[("ETL_FORMAT", "text"), ("ETL_OUTPUT", "c")]);
    ended.published();
    assert!(work.path("c/curated").is_dir());
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf8_is_an_error_that_names_it() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    for variable in ["ETL_OUTPUT", "ETL_API_TOKEN", "https_proxy"] {
        let mut command = work.command(&["run", "--orders", "orders.ndjson"]);
        let ended = support::ended(command.env(variable, OsStr::from_bytes(b"s\xe9cret")).output().unwrap());
        assert!(ended.code == 2 && ended.stderr.contains(&format!("{variable}: the value is not valid UTF-8")), "{}", ended.stderr);
        assert!(!ended.stderr.contains("cret"));
    }
    assert!(!work.path("output").exists());
}

#[test]
fn yes_and_no_are_read_in_the_environment() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    let run = |variable: &str, value: &str| run_with(&work, &["run", "--orders", "orders.ndjson"], &[(variable, value)]);
    for yes in ["1", "TRUE", "yes", "On"] {
        run("ETL_DRY_RUN", yes).expect(0, "dry_run");
    }
    run("ETL_DRY_RUN", "off").published();
    assert_eq!(run("ETL_NO_PROGRESS", "0").code, 0);
    for variable in ["ETL_DRY_RUN", "ETL_NO_PROGRESS", "ETL_ALLOW_INCOMPLETE"] {
        let ended = run(variable, "perhaps");
        assert!(ended.code == 2 && ended.stderr.contains(&format!("{variable}: `perhaps`: write 1, true")), "{}", ended.stderr);
    }
    let ended = run("ETL_FORMAT", "xml");
    assert!(ended.code == 2 && ended.stderr.contains("ETL_FORMAT: `xml`: write auto, text or json"), "{}", ended.stderr);
}

#[test]
fn zero_and_absurd_values_are_refused_by_name() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    for setting in [
        "http.per_page = 0",
        "http.max_attempts = 0",
        "http.max_attempts = -3",
        "http.max_pages = 0",
        "http.max_body = 0",
        "http.max_redirects = 101",
        "http.read_timeout = \"0s\"",
        "http.connect_timeout = \"0ms\"",
        "http.request_timeout = \"0s\"",
        "http.retry_timeout = \"0s\"",
        "http.backoff_cap = \"2d\"",
        "limits.depth = 0",
        "limits.record_bytes = 0",
        "limits.expansion = 0",
        "threads = 0",
        "threads = 1025",
        "memory_limit = \"1MiB\"",
        "empty_exit_code = 256",
        "alerts.dropped_percent = -1",
        "alerts.timeout = \"0s\"",
        "scd = 3",
        "retention = \"0s\"",
        "raw.keep = \"0s\"",
    ] {
        let (key, value) = setting.split_once(" = ").unwrap();
        work.write("etl.toml", format!("\n{setting}\n"));
        let ended = work.etl(&["run", "--orders", "orders.ndjson", "--log-format", "text"]);
        let expected = format!("etl.toml, line 2: `{key}`: `{}`: write a", value.trim_matches('"'));
        assert!(ended.code == 2 && ended.stderr.contains(&expected), "{setting}: {}", ended.stderr);
    }
}

/// A server of orders, users and products that shows who asked for what with which `Authorization`.
fn shop() -> Server {
    Server::start(|asked: &Asked| match asked.path.as_str() {
        "/orders" if asked.parameter("page") == "1" || asked.query.is_empty() => json(format!("[{}]", order("A", "2026-01-01", ""))),
        _ => json("[]"),
    })
}

fn token(server: &Server, path: &str) -> Option<String> {
    let asked = server.asked().into_iter().rfind(|asked| asked.path == path).unwrap();
    asked.header("authorization").map(str::to_owned)
}

#[test]
fn a_password_with_a_dollar_is_sent_as_it_stands_in_dot_env() {
    let server = shop();
    let work = Workspace::new();
    work.write(".env", "ETL_API_USER=me\nETL_API_PASSWORD=pa$word${HOME}\n");
    work.etl(&["run", "--orders", &server.orders()]).published();
    // me:pa$word${HOME}
    assert_eq!(token(&server, "/orders").as_deref(), Some("Basic bWU6cGEkd29yZCR7SE9NRX0="));
}

#[test]
fn each_source_gets_its_own_credentials_or_those_of_its_origin() {
    let (first, second) = (shop(), shop());
    let work = Workspace::new();
    let args =
        ["run", "--orders", &first.orders(), "--users", &format!("{}/users", first.url), "--products", &format!("{}/products", second.url)];
    run_with(&work, &args, &[("ETL_API_TOKEN", "common")]);
    assert_eq!(token(&first, "/users").as_deref(), Some("Bearer common"));
    assert_eq!(token(&second, "/products"), None);
    run_with(&work, &args, &[("ETL_API_TOKEN", "common"), ("ETL_USERS_API_TOKEN", "own"), ("ETL_PRODUCTS_API_TOKEN", "other")]);
    assert_eq!(token(&first, "/orders").as_deref(), Some("Bearer common"));
    assert_eq!(token(&first, "/users").as_deref(), Some("Bearer own"));
    assert_eq!(token(&second, "/products").as_deref(), Some("Bearer other"));
}

#[test]
fn credentials_over_plain_http_to_another_machine_are_refused() {
    let work = Workspace::new();
    let args = ["run", "--orders", "http://shop.invalid/orders", "--max-attempts", "1", "--log-format", "text"];
    let ended = run_with(&work, &args, &[("ETL_API_TOKEN", "hush")]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    for part in ["orders: credentials would be sent to shop.invalid over plain http", "`http.allow_plain = true`"] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
    assert!(!ended.stderr.contains("hush"));
    // Without credentials, or where it is allowed, the source is asked (and does not exist).
    run_with(&work, &args, &[]).expect(3, "extract_failed");
    work.write("etl.toml", "http.allow_plain = true\n");
    run_with(&work, &args, &[("ETL_API_TOKEN", "hush")]).expect(3, "extract_failed");
}

#[test]
fn a_proxy_that_cannot_be_used_is_refused_without_its_password() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    let args = ["run", "--orders", "orders.ndjson", "--log-format", "text"];
    let ended = run_with(&work, &args, &[("ETL_PROXY", "ftp://me:hush@proxy:21")]);
    assert!(ended.code == 2 && ended.stderr.contains("ETL_PROXY: proxies of scheme `ftp` are not supported"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("hush"));
    work.write("etl.toml", "[http]\nproxy = \"http://me:hush@proxy:3128\"\n");
    let ended = work.etl(&args);
    assert!(ended.code == 2 && ended.stderr.contains("etl.toml, line 2: `http.proxy`: credentials do not belong"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("hush"));
    work.write("etl.toml", "[http]\nclient_key = \"k.pem\"\n");
    let ended = work.etl(&args);
    assert!(ended.code == 2 && ended.stderr.contains("`http.client_cert` is missing"), "{}", ended.stderr);
}
