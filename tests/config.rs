//! `etl config`: every value with who said it, all problems at once, and the schema of `etl.toml` by a validator that is not ours.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use orders_etl::settings::SHIPPED;
use serde_json::Value;

use crate::support::{self, Asked, Ended, Server, Workspace, json, order, tool};

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
    let ended = with(&work, &["config", "show", "--since", "7d", "--json"], &variables);
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
    work.write("etl.toml", "profile = \"woocommerce\"\nurl = \"https://shop.invalid\"\norders.page_size = 7\n");
    let summary = work.etl(&["config", "show", "--json"]).summary();
    let from = |name: &str| {
        let found = summary["settings"].as_array().unwrap().iter().find(|said| said["name"] == name).unwrap();
        (found["value"].as_str().unwrap().to_owned(), found["from"].as_str().unwrap().to_owned())
    };
    assert_eq!(from("orders.page_size"), ("7".into(), "file".into()));
    assert_eq!(from("users.page_size"), ("100".into(), "profile".into()));
    assert_eq!(from("merge"), ("order".into(), "profile".into()));
}

#[test]
fn the_old_names_of_the_profile_still_work() {
    let work = Workspace::new();
    let profile = |args: &[&str], variables: &[(&str, &str)]| {
        let ended = with(&work, &[&["config", "show", "--json"], args].concat(), variables);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let found = ended.summary()["settings"].as_array().unwrap().iter().find(|said| said["name"] == "profile").unwrap().clone();
        [&found["value"], &found["place"]].map(|value| value.as_str().unwrap_or("-").to_owned())
    };
    assert_eq!(profile(&["--source", "shopify"], &[]), ["shopify", "--profile"]);
    assert_eq!(profile(&[], &[("ETL_SOURCE", "shopify")]), ["shopify", "ETL_SOURCE"]);
    assert_eq!(profile(&[], &[("ETL_SOURCE", "shopify"), ("ETL_PROFILE", "magento")]), ["magento", "ETL_PROFILE"]);
    work.write("etl.toml", "source = \"wix\"\n");
    assert_eq!(profile(&[], &[]), ["wix", "etl.toml, line 1"]);
    let help = work.etl(&["run", "--help"]).stdout;
    assert!(help.contains("--profile <NAME>") && !help.contains("--source"), "{help}");
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
    work.write("etl.toml", "profile = \"shopify\"\nurl = \"https://shop.invalid\"\n[http]\nca_file = \"missing.pem\"\n");
    work.write("checks/two.sql", "SELECT 1; SELECT 2");
    let ended = work.etl(&["config", "check"]);
    let found = messages(&ended);
    for part in ["needs credentials", "missing.pem", "two.sql"] {
        assert_eq!(found.iter().filter(|message| message.contains(part)).count(), 1, "{part}: {found:#?}");
    }
    assert_eq!((ended.code, found.len()), (2, 3), "{found:#?}");
    let nothing = Workspace::new();
    let ended = nothing.etl(&["config", "check"]);
    assert!(ended.code == 2 && messages(&ended)[0].contains("no orders source is named"), "{}", ended.stdout);
    assert!(!messages(&ended)[0].contains('\n'), "examples belong to the error alone, and not into a list of problems");
    let doctor = nothing.etl(&["doctor", "--format", "text"]);
    let orders = doctor.stdout.lines().find(|line| line.starts_with("orders ")).unwrap();
    assert!(orders.contains("FAILS") && orders.ends_with("or `orders` in etl.toml"), "{}", doctor.stdout);
}

#[test]
fn a_mask_with_a_slip_in_its_name_is_a_problem_and_other_names_are_noted() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    let toml = |more: &str| format!("orders = 'orders.ndjson'\nusers = 'users.csv'\n{more}");
    work.write("etl.toml", toml("[columns.emial]\nmask = 'omit'\n[columns.phone]\nmask = 'omit'\n"));
    let ended = work.etl(&["config", "check"]);
    let found = messages(&ended);
    assert_eq!((ended.code, found.len()), (2, 1), "{found:#?}");
    assert!(found[0].starts_with("etl.toml, line 3: `columns.emial`: ") && found[0].contains("did you mean `email`?"), "{found:#?}");
    work.write("etl.toml", toml("users.fields.emial = 'emial'\n[columns.emial]\nmask = 'omit'\n").replace("users = ", "users.location = "));
    let mapped = work.etl(&["config", "check"]);
    assert_eq!((mapped.code, mapped.summary()["notes"].as_array().unwrap().len()), (0, 0), "{}", mapped.stdout);
    work.write("etl.toml", toml("[columns.phone]\nmask = 'omit'\n"));
    let noted = work.etl(&["config", "check"]);
    assert!(noted.code == 0 && noted.summary()["notes"][0].as_str().unwrap().starts_with("`columns.phone`: "), "{}", noted.stdout);
}

#[test]
fn what_has_no_effect_is_noted() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    work.write("etl.toml", "[orders]\nlocation = 'orders.ndjson'\npage_size = 7\n[users.fields]\nname = 'n'\n");
    let ended = work.etl(&["config", "check"]);
    let notes = ended.summary()["notes"].clone();
    let note = |place: usize| notes[place].as_str().unwrap_or_default().to_owned();
    assert_eq!((ended.code, notes.as_array().unwrap().len()), (0, 2), "{notes}");
    assert!(note(0).starts_with("`orders.page_size` has no effect") && note(1).starts_with("users: not read"), "{notes}");
}

#[test]
fn settings_without_problems_are_told_so() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    let ended = work.etl(&["config", "check", "--orders", "orders.ndjson", "--format", "text"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "no problem found\n"), "{}", ended.stderr);
}

/// The errors of each file by the schema that the program prints.
fn validated(work: &Workspace, python: &Path, files: &[PathBuf]) -> Vec<Vec<String>> {
    let schema = work.write("schema.json", work.etl(&["config", "schema"]).stdout);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/validate_toml.py");
    let output = Command::new(python).arg(script).arg(schema).args(files).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let errors = |line: &str| {
        let found: Value = serde_json::from_str(line).unwrap();
        found["errors"].as_array().unwrap().iter().map(|error| error.as_str().unwrap().to_owned()).collect()
    };
    let all: Vec<Vec<String>> = lines.lines().map(errors).collect();
    assert_eq!(all.len(), files.len());
    all
}

/// The examples of an etl.toml in a page.
fn examples(page: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(page).unwrap();
    let blocks = text.split("```toml\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "md") {
            found.push(path);
        }
    }
}

#[test]
fn every_profile_and_every_example_of_the_documentation_is_valid_by_the_schema() {
    let Some(python) = tool("ETL_TEST_PYTHON", "validating etl.toml by jsonschema") else { return };
    let work = Workspace::new();
    let mut files: Vec<_> = SHIPPED.iter().map(|shipped| work.write(&format!("shipped/{}.toml", shipped.name), shipped.toml)).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all_pages = vec![root.join("README.md")];
    pages(&root.join("docs"), &mut all_pages);
    for (number, example) in all_pages.iter().flat_map(|page| examples(page)).enumerate() {
        files.push(work.write(&format!("examples/{number}.toml"), example));
    }
    assert!(files.len() > SHIPPED.len() + 15, "{}", files.len());
    for (file, errors) in files.iter().zip(validated(&work, &python, &files)) {
        assert!(errors.is_empty(), "{}\n{errors:#?}", std::fs::read_to_string(file).unwrap());
    }
}

/// An unknown key, or a value of another type, in each table that is read.
const MISTAKES: [&str; 40] = [
    "lookbak = '1h'",
    "[http]\nmax_atempts = 3",
    "http = 5",
    "threads = 'two'",
    "threads = 0",
    "http.read_timeout = 30",
    "http.read_timeout = 'soon'",
    "memory_limit = '1'",
    "merge = 'lines'",
    "alerts.no_records = 'yes'",
    "alerts.slow_percent = '5'",
    "[lineage]\nurll = 'http://marquez:5000'",
    "profile = 'shopfy'",
    "orders = 5",
    "[orders]\nlocaton = 'x'",
    "[orders]\npage_size = 0",
    "[orders]\nquantity = 'some'",
    "[orders]\nrecords = { path = 'a', objct = 'record' }",
    "[users]\nskip = []",
    "[users.fields]\ninferred = 'x'",
    "[orders.fields]\nordr_id = 'x'",
    "[orders.fields]\nstatus = { path = 's', scale = 2 }",
    "[orders.fields]\nlines = { path = 'a', object = 'lines' }",
    "[orders.line_fields]\nunit_price = { path = 'p', scale = 'cents' }",
    "[orders.line_fields]\nunit_price = []",
    "[orders.pagination]\nkind = 'cursor'\npath = 'c'\nfirst = 0",
    "[orders.pagination]\nkind = 'curser'",
    "[orders.auth]\nkind = 'bearer'\nscope = 'x'",
    "[orders.filter]\nformat = 'soon'",
    "[orders.count]\npth = 'x'",
    "[orders.line_request]\npth = 'x'",
    "[orders.totals]\ntotal = 't'\ntotl = 't'",
    "[orders.refunds.request]\npth = 'x'",
    "[orders.refunds]\nlist = 'r'\n[orders.refunds.lines]\nlist = 'l'\nsku = 's'\nsign = 'minus'",
    "[[orders.skip]]\npath = 'a'\nequls = 1",
    "[[shops]]\nname = 'a'\nurll = 'x'",
    "[[fact.columns]]\nname = 'a'\npat = 'b'",
    "[[fact.columns]]\nname = 'a'\npath = 'b'\ntype = 'money'",
    "[[checks.column]]\ncolumn = 'sku'\nuniqe = true",
    "[[checks.column]]\ncolumn = 'sku'\nunique = false",
];

#[test]
fn every_mistake_that_the_reader_refuses_is_invalid_by_the_schema() {
    let Some(python) = tool("ETL_TEST_PYTHON", "validating etl.toml by jsonschema") else { return };
    let work = Workspace::new();
    let mut files = Vec::new();
    for (number, mistake) in MISTAKES.iter().enumerate() {
        work.write("etl.toml", mistake);
        let ended = work.etl(&["config", "check"]);
        assert!(ended.code == 2 && messages(&ended)[0].starts_with("etl.toml, line "), "{mistake}: {}", ended.stdout);
        files.push(work.write(&format!("mistakes/{number}.toml"), mistake));
    }
    for (mistake, errors) in MISTAKES.iter().zip(validated(&work, &python, &files)) {
        assert!(!errors.is_empty(), "{mistake}");
    }
}
