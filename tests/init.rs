//! `etl init`: the files of a new folder are ones that the other commands take, and nothing is replaced unasked.

use std::{os::unix::fs::PermissionsExt, process::Command};

use orders_etl::settings::SHIPPED;

use crate::support::{Workspace, order, tool};

fn mode(work: &Workspace, name: &str) -> u32 {
    work.path(name).metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn the_files_of_a_new_folder() {
    let work = Workspace::new();
    let ended = work.etl(&["init", "--profile", "woocommerce", "--url", "https://shop.example", "--schedule", "cron"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{}", ended.stderr);
    let summary = ended.summary();
    let written: Vec<_> = summary["written"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(written, ["etl.toml", ".env", "checks/currency_is_known.sql", "etl.schema.json", "etl.crontab"]);
    assert!(written.iter().all(|name| work.path(name).is_file()));
    assert_eq!(mode(&work, ".env"), 0o600);
    let names: Vec<_> = work.read(".env").lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    assert_eq!(names, ["ETL_API_USER=", "ETL_API_PASSWORD="]);
    let toml = work.read("etl.toml");
    assert!(toml.starts_with("#:schema ./etl.schema.json\n"), "{toml}");
    assert!(work.read("etl.schema.json") == work.etl(&["config", "schema"]).stdout, "the file that the first line names");
    let cron = work.read("etl.crontab");
    let folder = work.path("").canonicalize().unwrap();
    let line = cron.lines().last().unwrap();
    assert!(line.contains(&format!("cd {} && {} run --since last", folder.display(), env!("CARGO_BIN_EXE_etl"))), "{line}");
}

#[test]
fn the_variables_are_those_that_each_profile_asks_for() {
    for shipped in SHIPPED {
        let work = Workspace::new();
        let url = ["--url", "https://shop.example"];
        let more: &[&str] = if shipped.example_url().is_some() { &url } else { &[] };
        let ended = work.etl(&[&["init", "--profile", shipped.name], more].concat());
        assert_eq!(ended.code, 0, "{}: {}", shipped.name, ended.stderr);
        let filled: String = work
            .read(".env")
            .lines()
            .map(|line| match line.strip_suffix('=') {
                Some(name) if !line.starts_with('#') => format!("{name}=filled-in\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        work.write(".env", &filled);
        let ended = work.etl(&["config", "check"]);
        assert_eq!(ended.code, 0, "{}: {}\n{filled}", shipped.name, ended.stdout);
    }
}

#[test]
fn a_folder_of_files_loads_at_once() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", "").replace(r#""currency":"EUR","#, ""));
    let ended = work.etl(&["init", "--orders", "orders.ndjson", "--output", "layer", "--format", "text"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("\n\nNext:\n") && !ended.stdout.contains("\n\n\n"), "{}", ended.stdout);
    let summary = work.etl(&["run"]).published();
    let checks = summary["checks"].as_array().unwrap();
    let own = checks.iter().find(|check| check["name"] == "currency_is_known").unwrap();
    assert_eq!(own["violations"], 1, "{own}");
    assert!(work.path("layer/curated/dt=2026-01-01").is_dir());
}

#[test]
fn nothing_is_replaced_unless_it_is_asked_for_and_values_never() {
    let work = Workspace::new();
    work.write("etl.toml", "orders = \"mine.json\"\n");
    work.write(".env", "ETL_API_USER=me\nETL_X=1");
    std::fs::set_permissions(work.path(".env"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let args = ["init", "--profile", "woocommerce", "--url", "https://shop.example"];
    let ended = work.etl(&args);
    assert!(ended.code == 2 && ended.stderr.contains("etl.toml, .env are here already"), "{}", ended.stderr);
    assert!(!work.path("checks").exists() && work.read("etl.toml") == "orders = \"mine.json\"\n", "nothing was written");
    let ended = work.etl(&[&args[..], &["--force"]].concat());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(work.read("etl.toml").contains("profile = \"woocommerce\""));
    assert_eq!((work.read(".env").as_str(), mode(&work, ".env")), ("ETL_API_USER=me\nETL_X=1\nETL_API_PASSWORD=\n", 0o600));
}

#[test]
fn without_a_terminal_the_flags_must_say_it() {
    let work = Workspace::new();
    let ended = work.etl(&["init"]);
    assert!(ended.code == 2 && ended.stderr.contains("say what is to be loaded: --profile NAME --url URL"), "{}", ended.stderr);
    let ended = work.etl(&["init", "--profile", "shopify"]);
    assert!(ended.code == 2 && ended.stderr.contains("where is your shopify API?"), "{}", ended.stderr);
    assert_eq!(work.path("").read_dir().unwrap().count(), 0);
}

#[test]
fn the_dags_are_python_and_name_the_folder() {
    let work = Workspace::new();
    assert_eq!(work.etl(&["init", "--profile", "fakestore", "--schedule", "airflow"]).code, 0);
    let folder = work.path("").canonicalize().unwrap();
    assert!(work.read("orders_dags.py").contains(&format!("HOME = os.environ.get(\"ETL_HOME\", \"{}\")", folder.display())));
    let Some(python) = tool("ETL_TEST_PYTHON", "compiling the DAGs of etl init") else { return };
    let compiled = Command::new(python).args(["-m", "py_compile"]).arg(work.path("orders_dags.py")).output().unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
}
