//! `etl config`: every value with who said it, all problems at once.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use serde_json::Value;
use support::{Asked, Ended, Server, Workspace, json, order};

fn with(work: &Workspace, args: &[&str], variables: &[(&str, &str)]) -> Ended {
    support::ended(work.command(args).envs(variables.iter().copied()).output().unwrap())
}

fn messages(ended: &Ended) -> Vec<String> {
    let problems = ended.summary()["problems"].as_array().unwrap().clone();
    problems.iter().map(|problem| problem["message"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn show_tells_each_value_with_who_said_it_and_no_secret() {
    let work = Workspace::new();
    work.write("etl.toml", "orders = \"https://shop.invalid/o\"\nlookback = \"2d\"\n\n[http]\nper_page = 7\n");
    work.write(".env", "ETL_KEEP=3d\nETL_API_TOKEN=hush-hush\n");
    let variables = [("ETL_THREADS", "9"), ("ETL_LOCK_WAIT", "5m"), ("ETL_ALERT_SLACK_URL", "https://slack.invalid/hush-hush")];
    let ended = with(&work, &["config", "show", "--since", "7d"], &variables);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let summary = ended.summary();
    let said = |name: &str| {
        let found = summary["settings"].as_array().unwrap().iter().find(|said| said["name"] == name).unwrap();
        [&found["value"], &found["from"], &found["place"]].map(|value| value.as_str().unwrap_or("-").to_owned())
    };
    assert_eq!(said("since"), ["7d", "flag", "--since"]);
    assert_eq!(said("lock_wait"), ["5m", "variable", "ETL_LOCK_WAIT"]);
    assert_eq!(said("keep"), ["3d", "dot_env", "ETL_KEEP"]);
    assert_eq!(said("http.per_page"), ["7", "file", "etl.toml, line 5"]);
    assert_eq!(said("orders.location"), ["https://shop.invalid/o", "file", "etl.toml, line 1"]);
    assert_eq!(said("http.max_attempts"), ["3", "default", "-"]);
    assert_eq!(said("ETL_API_TOKEN"), ["***", "dot_env", "ETL_API_TOKEN"]);
    assert_eq!(said("ETL_ALERT_SLACK_URL")[0], "***");
    assert_eq!(said("threads")[1], "default", "no variable of this name is read");
    let text = with(&work, &["config", "show", "--since", "7d", "--format", "text"], &variables).stdout;
    let row = text.lines().find(|line| line.starts_with("http.per_page ")).unwrap();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["http.per_page", "7", "etl.toml,", "line", "5"]);
    assert!(!text.contains("hush") && !ended.stdout.contains("hush"), "{text}");
}

#[test]
fn show_tells_what_a_profile_says_and_a_line_over_it() {
    let work = Workspace::new();
    work.write("etl.toml", "source = \"woocommerce\"\nurl = \"https://shop.invalid\"\norders.page_size = 7\n");
    let summary = work.etl(&["config", "show"]).summary();
    let from = |name: &str| {
        let found = summary["settings"].as_array().unwrap().iter().find(|said| said["name"] == name).unwrap();
        (found["value"].as_str().unwrap().to_owned(), found["from"].as_str().unwrap().to_owned())
    };
    assert_eq!(from("orders.page_size"), ("7".into(), "file".into()));
    assert_eq!(from("users.page_size"), ("100".into(), "profile".into()));
    assert_eq!(from("merge"), ("order".into(), "profile".into()));
}

#[test]
fn check_tells_all_problems_at_once_and_does_nothing_else() {
    let server = Server::start(|_: &Asked| json("[]"));
    let work = Workspace::new();
    let toml = format!(
        "orders = {{ location = \"{}\", auth = {{ kind = \"bearer\", scope = 1 }} }}\nlookbak = \"1d\"\n[http]\nper_page = 0\nread_timeout = 5\n",
        server.orders()
    );
    work.write("etl.toml", toml);
    let ended = with(&work, &["config", "check"], &[("ETL_FORMAT", "xml"), ("ETL_CHECK_SCOPE", "half"), ("ETL_OUTPT", "x")]);
    assert_eq!((ended.code, ended.stderr.as_str()), (2, ""), "nothing follows the result");
    let found = messages(&ended);
    for part in [
        "line 1: `orders.auth.scope`: unknown key",
        "line 2: unknown key `lookbak`: did you mean `lookback`?",
        "line 4: `http.per_page`: `0`",
        "line 5: `http.read_timeout`: write a span",
        "ETL_FORMAT: `xml`",
        "ETL_CHECK_SCOPE: `half`",
    ] {
        assert_eq!(found.iter().filter(|message| message.contains(part)).count(), 1, "{part}: {found:#?}");
    }
    assert_eq!(found.len(), 6, "{found:#?}");
    let summary = ended.summary();
    let located = summary["problems"].as_array().unwrap().iter().find(|problem| problem["message"].as_str().unwrap().contains("per_page"));
    assert_eq!((&located.unwrap()["file"], &located.unwrap()["line"]), (&Value::from("etl.toml"), &Value::from(4)));
    assert_eq!(summary["notes"][0], "ETL_OUTPT: nothing reads this variable: did you mean ETL_OUTPUT?");
    assert!(server.asked().is_empty() && !work.path("output").exists());
}

#[test]
fn check_finds_what_only_a_run_would_refuse() {
    let work = Workspace::new();
    work.write("etl.toml", "source = \"shopify\"\nurl = \"https://shop.invalid\"\n[http]\nca_file = \"missing.pem\"\n");
    work.write("checks/two.sql", "SELECT 1; SELECT 2");
    let ended = work.etl(&["config", "check"]);
    let found = messages(&ended);
    for part in ["set ETL_API_KEY", "missing.pem", "two.sql"] {
        assert_eq!(found.iter().filter(|message| message.contains(part)).count(), 1, "{part}: {found:#?}");
    }
    assert_eq!((ended.code, found.len()), (2, 3), "{found:#?}");
    let nothing = Workspace::new();
    let ended = nothing.etl(&["config", "check"]);
    assert!(ended.code == 2 && messages(&ended)[0].contains("no orders source is named"), "{}", ended.stdout);
}

#[test]
fn settings_without_problems_are_told_so() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    let ended = work.etl(&["config", "check", "--orders", "orders.ndjson", "--format", "text"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "no problem found\n"), "{}", ended.stderr);
}
