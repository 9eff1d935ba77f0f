//! `OpenLineage` events of real runs: what a file and a server get, by the specification's own schemas; and what a server that fails,
//! hangs or does not exist changes: nothing but one warning.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{Ended, Server, Workspace, check, ended, json, order, status, tool};

const PARENT: &str = "airflow/orders.load/0198c5a2-7b6e-7a3f-9c2d-1f2e3d4c5b6a";

/// The events of a file, one a line.
fn events(work: &Workspace, name: &str) -> Vec<Value> {
    work.read(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["eventType"].as_str().unwrap()).collect()
}

/// The dataset whose name ends so.
fn dataset<'e>(event: &'e Value, side: &str, end: &str) -> &'e Value {
    let datasets = event[side].as_array().unwrap();
    let found = datasets.iter().find(|dataset| dataset["name"].as_str().unwrap().ends_with(end));
    found.unwrap_or_else(|| panic!("no {end} among the {side} of {event}"))
}

/// The assertion of a check, about the table whose name ends so.
fn assertion<'e>(event: &'e Value, table: &str, check: &str) -> &'e Value {
    let assertions = &dataset(event, "inputs", table)["inputFacets"]["dataQualityAssertions"]["assertions"];
    let found = assertions.as_array().unwrap().iter().find(|assertion| assertion["name"] == check);
    found.unwrap_or_else(|| panic!("no {check} in {assertions}"))
}

fn run(work: &Workspace, args: &[&str], variables: &[(&str, &str)]) -> Ended {
    ended(work.command(args).envs(variables.iter().copied()).output().unwrap())
}

/// What is wrong with the events of files, by the schemas of the specification.
fn refused(python: &Path, files: &[PathBuf]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(python);
    command.arg(root.join("tests/support/validate_openlineage.py")).arg(root.join("fixtures/openlineage")).args(files);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<Value> = String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!lines.is_empty());
    lines.iter().filter(|line| !line["errors"].as_array().unwrap().is_empty()).map(Value::to_string).collect()
}

#[test]
fn a_run_and_one_with_nothing_new_tell_their_beginning_and_their_end() {
    let work = Workspace::new();
    let fixture = |name: &str| format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    work.write(
        "conf/etl.toml",
        "[lineage]\nfile = \"events.ndjson\"\nnamespace = \"shop\"\njob = \"load\"\n[columns.email]\nmask = \"domain\"\n",
    );
    let (orders, users, products) = (fixture("orders.ndjson"), fixture("users.csv"), fixture("products.json"));
    let args = [
        "run",
        "--config",
        "conf/etl.toml",
        "--orders",
        orders.as_str(),
        "--users",
        users.as_str(),
        "--products",
        products.as_str(),
        "--since",
        "2020-01-01",
    ];
    let summary = work.etl(&args).published();
    let first = events(&work, "conf/events.ndjson");
    assert_eq!(types(&first), ["START", "COMPLETE"]);
    let (start, complete) = (&first[0], &first[1]);
    assert_eq!(start["run"]["runId"], complete["run"]["runId"]);
    assert_eq!((&complete["job"]["namespace"], &complete["job"]["name"]), (&"shop".into(), &"load".into()));
    assert_eq!(complete["eventTime"], summary["finished_at"]);
    let parameters = complete["run"]["facets"]["executionParameters"]["parameters"].as_array().unwrap();
    let run_id = parameters.iter().find(|parameter| parameter["key"] == "run_id").unwrap();
    assert_eq!(run_id["value"], summary["run_id"]);
    assert_eq!(complete["run"]["facets"]["nominalTime"]["nominalStartTime"], "2020-01-01T00:00:00Z");

    let read = dataset(complete, "inputs", "/fixtures/orders.ndjson");
    assert_eq!(read["inputFacets"]["inputStatistics"]["rowCount"], summary["records_read"]);
    let facts = dataset(complete, "outputs", "/output/curated");
    let written = &facts["outputFacets"]["outputStatistics"];
    let files = work.files("curated");
    let parts = || files.iter().filter(|(name, _)| name.contains("part-"));
    assert_eq!(
        (written["fileCount"].as_u64(), written["rowCount"].as_u64()),
        (Some(parts().count() as u64), Some(work.facts().len() as u64))
    );
    assert_eq!(written["size"].as_u64(), Some(parts().map(|(_, content)| content.len() as u64).sum::<u64>()));
    let header = work.query("SELECT column_name FROM (DESCRIBE fact_order)");
    let fields = facts["facets"]["schema"]["fields"].as_array().unwrap();
    assert!(fields.iter().all(|field| header.iter().any(|column| field["name"] == column.as_str())), "{header:?} {fields:?}");
    let sku = &facts["facets"]["columnLineage"]["fields"]["sku"]["inputFields"][0];
    assert_eq!((&sku["name"], &sku["field"]), (&orders.as_str().into(), &"items.*.sku".into()));
    let email = &dataset(complete, "outputs", "dim_user.csv")["facets"]["columnLineage"]["fields"]["email"]["inputFields"][0];
    assert_eq!((&email["field"], &email["transformations"][0]["masking"]), (&"email".into(), &true.into()));
    let known = assertion(complete, "/curated", "fact_user_known");
    let found = check(&summary, "fact_user_known").unwrap();
    assert_eq!((&known["success"], &known["severity"]), (&found["passed"], &"warn".into()));
    assert_eq!(known["actual"], found["violations"].to_string());
    assert_eq!(assertion(complete, "dim_user.csv", "dim_user_key_unique")["success"], true);
    let text = work.read("conf/events.ndjson");
    assert!(!text.contains("anna@") && !text.contains("Anna"), "no value of a record: {text}");

    work.etl(&args).unchanged();
    let both = events(&work, "conf/events.ndjson");
    assert_eq!(types(&both), ["START", "COMPLETE", "START", "COMPLETE"]);
    assert_ne!(both[0]["run"]["runId"], both[2]["run"]["runId"]);
    let statistics = &dataset(&both[3], "outputs", "/output/curated")["outputFacets"]["outputStatistics"];
    assert_eq!((&statistics["rowCount"], &statistics["fileCount"]), (&0.into(), &0.into()), "nothing was written");

    run(&work, &[&args[..], &["--dry-run"]].concat(), &[]).expect(0, "dry_run");
    run(&work, &args, &[("OPENLINEAGE_DISABLED", "true")]).unchanged();
    assert_eq!(events(&work, "conf/events.ndjson").len(), 4, "neither tells anything");

    let Some(python) = tool("ETL_TEST_PYTHON", "validating OpenLineage events by jsonschema") else { return };
    assert_eq!(refused(&python, &[work.path("conf/events.ndjson")]), Vec::<String>::new());
}

#[test]
fn a_server_gets_events_with_the_key_and_the_parent_and_hears_of_a_source_that_fails() {
    let server = Server::start(|_| status(201));
    let source = Server::start(|_| (400, Vec::new(), b"customer 4711 is not yours".to_vec()));
    let work = Workspace::new();
    work.write("etl.toml", format!("[lineage]\nurl = \"{}\"\nendpoint = \"api/v1/lineage\"\n", server.url));
    let orders = format!("{}?token=hush-hush-hush", source.orders());
    let variables = [("OPENLINEAGE_API_KEY", "lineage-secret"), ("OPENLINEAGE_PARENT_ID", PARENT), ("OPENLINEAGE_NAMESPACE", "air")];
    run(&work, &["run", "--orders", &orders], &variables).expect(3, "extract_failed");
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    for asked in &asked {
        assert_eq!((asked.path.as_str(), asked.header("authorization")), ("/api/v1/lineage", Some("Bearer lineage-secret")));
        assert_eq!(asked.header("content-type"), Some("application/json"));
        assert!(!asked.body.contains("hush") && !asked.body.contains("4711") && !asked.body.contains("lineage-secret"), "{}", asked.body);
    }
    let events: Vec<Value> = asked.iter().map(|asked| serde_json::from_str(&asked.body).unwrap()).collect();
    assert_eq!(types(&events), ["START", "FAIL"]);
    let facets = &events[1]["run"]["facets"];
    assert!(facets["errorMessage"]["message"].as_str().unwrap().contains("extract_failed (exit 3)"), "{facets}");
    assert_eq!(facets["parent"]["run"]["runId"], PARENT.rsplit('/').next().unwrap());
    assert_eq!((&facets["parent"]["job"]["name"], &events[1]["job"]["namespace"]), (&"orders.load".into(), &"air".into()));
    let input = &events[1]["inputs"][0];
    assert!(source.url.starts_with(input["namespace"].as_str().unwrap()), "{input}");
    assert_eq!(events[1]["outputs"][0]["outputFacets"], serde_json::json!({}), "nothing was written");

    let Some(python) = tool("ETL_TEST_PYTHON", "validating OpenLineage events by jsonschema") else { return };
    let lines: Vec<_> = asked.iter().map(|asked| asked.body.clone()).collect();
    assert_eq!(refused(&python, &[work.write("posted.ndjson", lines.join("\n"))]), Vec::<String>::new());
}

#[test]
fn a_failed_check_fails_the_run_unless_it_is_published_all_the_same() {
    let work = Workspace::new();
    work.write("etl.toml", "[lineage]\nfile = \"events.ndjson\"\n[[checks.column]]\ncolumn = \"status\"\nnot_null = true\n");
    let lines = [order("A", "2026-01-01T00:00:00Z", "")];
    let name = {
        let summary = work.load(&lines, &[]).expect(4, "checks_failed");
        let failed = summary["checks"].as_array().unwrap().iter().find(|check| check["passed"] == false).unwrap();
        failed["name"].as_str().unwrap().to_owned()
    };
    work.load(&lines, &["--on-check-failure", "publish"]).expect(4, "checks_failed");
    let events = events(&work, "events.ndjson");
    assert_eq!(types(&events), ["START", "FAIL", "START", "COMPLETE"]);
    for event in [&events[1], &events[3]] {
        let assertion = assertion(event, "/curated", &name);
        assert_eq!((&assertion["success"], &assertion["column"]), (&false.into(), &"status".into()));
        assert_eq!((&assertion["assertion"], &assertion["actual"]), (&"not_null".into(), &"1".into()));
    }
    assert!(events[1]["run"]["facets"]["errorMessage"]["message"].as_str().unwrap().contains(&name));
    let statistics = |event: &Value| dataset(event, "outputs", "/curated")["outputFacets"].clone();
    assert_eq!(statistics(&events[1]), serde_json::json!({}));
    assert_eq!(statistics(&events[3])["outputStatistics"]["rowCount"], 1);
}

#[test]
fn a_server_that_fails_or_hangs_changes_no_exit_code_and_is_one_warning() {
    let refuses = Server::start(|_| status(503));
    let hangs = Server::start(|_| {
        std::thread::sleep(Duration::from_secs(20));
        status(200)
    });
    for (server, tries) in [(&refuses, 2..=6), (&hangs, 1..=6)] {
        let work = Workspace::new();
        work.write("etl.toml", format!("[lineage]\nurl = \"{}\"\ntimeout = \"600ms\"\n", server.url));
        let began = Instant::now();
        let ended = work.load(&[order("A", "2026-01-01T00:00:00Z", "")], &[]);
        ended.published();
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert!(tries.contains(&server.asked().len()), "{}", server.asked().len());
        assert_eq!(ended.stderr.matches("OpenLineage events did not arrive").count(), 1, "{}", ended.stderr);
        assert!(ended.stderr.contains("events_lost"), "{}", ended.stderr);
    }
}

#[test]
fn a_file_or_a_parent_that_is_none_is_a_warning_and_a_url_that_is_none_is_refused() {
    let work = Workspace::new();
    let lines = [order("A", "2026-01-01T00:00:00Z", "")];
    work.write("orders.ndjson", lines.join("\n"));
    let args = ["run", "--orders", "orders.ndjson"];
    let ended = run(&work, &args, &[("ETL_LINEAGE_FILE", "missing/events.ndjson"), ("OPENLINEAGE_PARENT_ID", "dag.task")]);
    ended.published();
    assert!(ended.stderr.contains("OPENLINEAGE_PARENT_ID") && ended.stderr.contains("missing/events.ndjson"), "{}", ended.stderr);
    let ended = run(&work, &args, &[("OPENLINEAGE_URL", "marquez:5000")]);
    assert!(ended.code == 2 && ended.stderr.contains("OPENLINEAGE_URL"), "{}", ended.stderr);
}

#[test]
fn a_source_over_http_is_named_by_its_origin_and_path() {
    let source = Server::start(|asked| match asked.parameter("page") {
        "1" | "" => json(format!("[{}]", order("A", "2026-01-01T00:00:00Z", ""))),
        _ => json("[]"),
    });
    let work = Workspace::new();
    work.write("etl.toml", "[lineage]\nfile = \"events.ndjson\"\n");
    work.etl(&["run", "--orders", &source.orders()]).published();
    let events = events(&work, "events.ndjson");
    let input = &events[1]["inputs"][0];
    assert_eq!(format!("{}/{}", input["namespace"].as_str().unwrap(), input["name"].as_str().unwrap()), source.orders());
}
