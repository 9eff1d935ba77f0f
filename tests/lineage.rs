//! `OpenLineage` events of real runs: what a file and a server get, by the specification's own schemas; and what a server that fails,
//! hangs or does not exist changes: nothing but one warning.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{Ended, Server, Workspace, check, ended, json, order, status, tool};

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
fn events_never_lie_in_the_layer() {
    let work = Workspace::new();
    let lines = [order("A", "2026-01-01T00:00:00Z", "")];
    let run_id = work.load(&lines, &[]).published()["run_id"].as_str().unwrap().to_owned();
    for file in ["output/events.ndjson", "output/curated/events.ndjson", "./output/../output/reports/events.ndjson"] {
        work.write("etl.toml", format!("[lineage]\nfile = \"{file}\"\n"));
        let before = work.files("");
        let commands =
            [&["run", "--orders", "orders.ndjson"][..], &["run", "--orders", "orders.ndjson", "--dry-run"], &["undo", run_id.as_str()]];
        for args in commands.into_iter().chain([&["rewrite"][..], &["erase", "--user", "U1"]]) {
            let ended = work.etl(&[args, &["--log-format", "text"]].concat());
            assert_eq!(ended.code, 2, "{args:?}: {}", ended.stderr);
            assert!(ended.stderr.contains("lineage.file: ") && ended.stderr.contains("a part of the layer"), "{args:?}: {}", ended.stderr);
        }
        assert_eq!(work.files(""), before, "{file}");
        let problems = work.etl(&["config", "check", "--orders", "orders.ndjson", "--json"]).summary();
        assert!(problems["problems"][0]["message"].as_str().unwrap().contains("part of the layer"), "{problems}");
    }
    work.write("etl.toml", "[lineage]\nfile = \"events.ndjson\"\n");
    work.load(&lines, &[]).unchanged();
    assert_eq!(events(&work, "events.ndjson").len(), 2);
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

/// The events that a command adds to the file.
fn added(work: &Workspace, ended: impl FnOnce() -> Ended) -> (Ended, Vec<Value>) {
    let before = if work.path("events.ndjson").exists() { events(work, "events.ndjson").len() } else { 0 };
    let ended = ended();
    let all = if work.path("events.ndjson").exists() { events(work, "events.ndjson") } else { Vec::new() };
    (ended, all.into_iter().skip(before).collect())
}

/// The rows and files that an event says were written of the table whose name ends so.
#[track_caller]
fn written(event: &Value, table: &str) -> (Option<u64>, Option<u64>) {
    let statistics = &dataset(event, "outputs", table)["outputFacets"]["outputStatistics"];
    (statistics["rowCount"].as_u64(), statistics["fileCount"].as_u64())
}

/// The value of a parameter of the run.
fn parameter<'e>(event: &'e Value, key: &str) -> &'e Value {
    let parameters = event["run"]["facets"]["executionParameters"]["parameters"].as_array().unwrap();
    parameters.iter().find(|parameter| parameter["key"] == key).map_or(&Value::Null, |parameter| &parameter["value"])
}

#[test]
fn commands_that_change_the_layer_tell_what_they_have_written() {
    let work = Workspace::new();
    let settings = "keep_raw = true\n[lineage]\nfile = \"events.ndjson\"\nnamespace = \"shop\"\njob = \"load\"\n";
    work.write("etl.toml", settings);
    work.write("users.csv", "user_id,country\n7,DE\n");
    let users = ["--users", "users.csv"];
    let order_of = |id: &str, day: &str, at: &str| order(id, day, &format!(r#","user_id":"7","updated_at":"{at}""#));
    let first = [order_of("A", "2026-01-01", "2026-01-01T00:00:00Z"), order_of("B", "2026-01-02", "2026-01-02T00:00:00Z")];
    work.load(&first, &users).published();
    let later = [order_of("A", "2026-01-01", "2026-01-03T00:00:00Z"), r#"{"order_id":"C","created_at":"soon"}"#.to_owned()];
    let run_id = work.load(&later, &users).published()["run_id"].as_str().unwrap().to_owned();

    let (rebuilt, told) = added(&work, || work.etl(&["rebuild", "--from", "raw", "--orders", "orders.ndjson"]));
    assert_eq!((types(&told), &told[1]["job"]["name"]), (vec!["START", "COMPLETE"], &"load.rebuild".into()), "{}", rebuilt.stderr);
    assert!(told[1]["inputs"][0]["name"].as_str().unwrap().ends_with("/output/raw"), "{}", told[1]);

    let mended = format!("output/quarantine/run_id={run_id}/records.ndjson");
    work.write(&mended, work.read(&mended).replace("\"soon\"", r#""2026-01-05","items":[{"sku":"S","price":2}]"#));
    let (replayed, told) = added(&work, || work.etl(&["quarantine", "replay", &run_id]));
    replayed.published();
    assert_eq!((types(&told), &told[1]["job"]["name"]), (vec!["START", "COMPLETE"], &"load.replay".into()));
    assert!(told[1]["inputs"][0]["name"].as_str().unwrap().ends_with("/output/quarantine"), "{}", told[1]);
    assert_eq!(written(&told[1], "/curated"), (Some(1), Some(1)));
    work.etl(&["undo", replayed.summary()["run_id"].as_str().unwrap()]);

    let (_, told) = added(&work, || work.etl(&["undo", &run_id, "--dry-run"]));
    assert_eq!(told.len(), 0, "a dry run changes nothing");
    let (undone, told) = added(&work, || work.etl(&["undo", &run_id]));
    assert_eq!((types(&told), &told[1]["job"]["name"]), (vec!["START", "COMPLETE"], &"load.undo".into()), "{}", undone.stderr);
    assert_eq!((written(&told[1], "/curated"), told[1]["inputs"].as_array().map(Vec::len)), ((Some(1), Some(1)), Some(0)));
    let result = undone.summary();
    assert_eq!((parameter(&told[1], "run_id"), parameter(&told[1], "status")), (&result["run_id"], &"published".into()));
    assert_eq!(parameter(&told[1], "commit").as_str(), Some(result["commit"].to_string().as_str()));
    assert_eq!(told[0]["run"]["runId"], told[1]["run"]["runId"]);

    // A new column: both partitions are written again, and the dimensions are not.
    work.write("etl.toml", format!("{settings}[[fact.columns]]\nname = \"note\"\npath = \"note\"\n"));
    let (_, told) = added(&work, || work.etl(&["rewrite", "--dry-run"]));
    assert_eq!(told.len(), 0);
    let (rewritten, told) = added(&work, || work.etl(&["rewrite"]));
    assert_eq!((rewritten.code, rewritten.summary()["rewritten"].as_u64()), (0, Some(2)), "{}", rewritten.stderr);
    assert_eq!((types(&told), &told[1]["job"]["name"]), (vec!["START", "COMPLETE"], &"load.rewrite".into()));
    assert_eq!((written(&told[1], "/curated"), written(&told[1], "dim_user.csv")), ((Some(2), Some(2)), (Some(0), Some(0))));
    let (_, told) = added(&work, || work.etl(&["rewrite"]));
    assert_eq!((parameter(&told[1], "status"), written(&told[1], "/curated")), (&"unchanged".into(), (Some(0), Some(0))));

    let (erased, told) = added(&work, || work.etl(&["erase", "--user", "7"]));
    assert_eq!((types(&told), &told[1]["job"]["name"]), (vec!["START", "COMPLETE"], &"load.erase".into()), "{}", erased.stderr);
    assert_eq!((written(&told[1], "/curated"), written(&told[1], "dim_user.csv").1), ((Some(2), Some(2)), Some(1)));

    let (failed, told) = added(&work, || work.etl(&["erase", "--user", "someone@secret.example"]));
    assert_eq!((failed.code, types(&told)), (2, vec!["START", "FAIL"]), "{}", failed.stderr);
    assert!(!told[1].to_string().contains("secret.example"), "no event names a person: {}", told[1]);
    assert_eq!(told[1]["outputs"][0]["outputFacets"], serde_json::json!({}));
    let (failed, told) = added(&work, || work.etl(&["undo", "20260131T100000123456Z-01a2b30000"]));
    assert_eq!((failed.code, types(&told)), (2, vec!["START", "FAIL"]), "{}", failed.stderr);

    let Some(python) = tool("ETL_TEST_PYTHON", "validating OpenLineage events by jsonschema") else { return };
    assert_eq!(refused(&python, &[work.path("events.ndjson")]), Vec::<String>::new());
}

#[test]
fn settings_that_are_refused_are_told_where_those_of_lineage_can_be_read() {
    let work = Workspace::new();
    work.write("etl.toml", "[lineage]\nfile = \"events.ndjson\"\n");
    work.load(&[order("A", "2026-01-01", "")], &[]).published();
    let orders = ["--orders", "orders.ndjson"];
    for (args, job, said) in [
        (vec!["run", "--profile", "shopify", "--since", "yesterday", "--orders", "orders.ndjson"], "shopify", "--since"),
        (vec!["run"], "orders", "no orders source is named"),
        (vec!["backfill", "--orders", "orders.ndjson", "--chunk", "often"], "orders", "--chunk"),
        (vec!["backfill", "--orders", "orders.ndjson"], "orders", "a backfill needs a beginning"),
        (vec!["rebuild", "--from", "raw", "--orders", "orders.ndjson"], "orders.rebuild", "no kept records"),
        (vec!["undo", "20260131T100000123456Z-01a2b30000", "--lock-wait", "long"], "orders.undo", "--lock-wait"),
        (vec!["erase", "--users-file", "missing.txt"], "orders.erase", "missing.txt"),
    ] {
        let (ended, told) = added(&work, || work.etl(&args));
        assert_eq!((ended.code, types(&told)), (2, vec!["START", "FAIL"]), "{args:?} {}", ended.stderr);
        assert_eq!(told[1]["job"]["name"], format!("orders_etl.{job}"), "{args:?}");
        let message = told[1]["run"]["facets"]["errorMessage"]["message"].as_str().unwrap();
        assert!(message.contains(said), "{args:?} {message}");
        assert_eq!(parameter(&told[1], "status"), "invalid_configuration", "{args:?}");
    }
    // A dry run, a command that changes nothing, and a file that can't be read.
    let (_, told) = added(&work, || work.etl(&[&["run", "--since", "yesterday", "--dry-run"], &orders[..]].concat()));
    assert_eq!(told.len(), 0);
    let (_, told) = added(&work, || work.etl(&["status", "--output", "ftp://bucket/x"]));
    assert_eq!(told.len(), 0);
    work.write("etl.toml", "[lineage]\nfile = \"events.ndjson\"\n[");
    let (ended, told) = added(&work, || work.etl(&["run"]));
    assert_eq!((ended.code, told.len()), (2, 0), "nobody is known");
}

#[test]
fn a_dead_server_is_one_warning_in_a_process_and_the_rest_is_counted() {
    let server = Server::start(|_| status(503));
    let work = Workspace::new();
    work.write("etl.toml", format!("[lineage]\nurl = \"{}\"\ntimeout = \"600ms\"\n", server.url));
    let days = ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"];
    let lines: Vec<_> = days.iter().enumerate().map(|(number, day)| order(&format!("O{number}"), day, "")).collect();
    work.write("orders.ndjson", lines.join("\n"));
    let window = ["--since", "2026-01-01", "--until", "2026-01-04", "--chunk", "1d"];
    let ended = run(&work, &[&["backfill", "--orders", "orders.ndjson", "--log-format", "json"], &window[..]].concat(), &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let lost = |text: &str| -> Vec<Value> {
        let of_text = ended.stderr.lines().filter(|line| line.contains(text));
        of_text.map(|line| serde_json::from_str::<Value>(line).unwrap()["events_lost"].clone()).collect()
    };
    assert_eq!(lost("OpenLineage events did not arrive"), [2], "{}", ended.stderr);
    assert_eq!(lost("OpenLineage: events of all runs that were lost"), [6], "{}", ended.stderr);
    assert!(server.asked().len() <= 6, "the later runs do not wait for it: {}", server.asked().len());
}
