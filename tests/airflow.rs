//! The DAGs of docs/airflow and their package, run by a real Airflow: `airflow dags test`, on SQLite, in a folder of its own. And the
//! package alone, by its own tests.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::support::{self, Server, Workspace, json, order, tool};

/// An Airflow, and the folder that its tasks work in.
struct Airflow {
    program: PathBuf,
    work: Workspace,
}

/// How a DAG run ended: each task's state and how often it was tried, `task|state|tries`.
type Tasks = Vec<String>;

impl Airflow {
    fn start() -> Option<Airflow> {
        let program = tool("ETL_TEST_AIRFLOW", "running the DAGs by a real Airflow 3: its `airflow` program")?;
        let airflow = Airflow { program, work: Workspace::new() };
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_etl"), airflow.work.path("etl")).unwrap();
        let migrated = airflow.command(&airflow.program, &["db", "migrate"]).output().unwrap();
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        Some(airflow)
    }

    /// A program in the folder and the environment of this Airflow.
    fn command(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.work.path("."))
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", self.program.parent().unwrap().display()))
            .env("HOME", self.work.path("."))
            .env("AIRFLOW_HOME", self.work.path("airflow"))
            .env("AIRFLOW__CORE__DAGS_FOLDER", in_project("docs/airflow"))
            .env("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
            .env("AIRFLOW__CORE__UNIT_TEST_MODE", "False")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONPATH", in_project("docs/deploy/python"))
            .env("ETL_HOME", self.work.path("."))
            .stdin(Stdio::null());
        command
    }

    /// `airflow dags test`; what it printed. A task that is tried again waits for minutes: then the run has not done what is
    /// asked of it, and is ended.
    fn test(&self, args: &[&str]) -> String {
        said(self.testing(args))
    }

    fn testing(&self, args: &[&str]) -> Command {
        let airflow = self.program.to_str().unwrap();
        self.command(Path::new("timeout"), &[&["120", airflow, "dags", "test"], args].concat())
    }

    /// A program of Python, with what is installed beside this Airflow; what it printed.
    fn python(&self, program: &str) -> String {
        said(self.command(&self.program.with_file_name("python"), &["-c", program]))
    }

    /// The tasks of the last run, as Airflow's own database has them.
    fn tasks(&self) -> Tasks {
        let program = "import sqlite3, os\n\
            db = sqlite3.connect(os.environ['AIRFLOW_HOME'] + '/airflow.db')\n\
            run = db.execute('SELECT run_id, dag_id FROM dag_run ORDER BY id DESC LIMIT 1').fetchone()\n\
            for row in db.execute('SELECT task_id, map_index, state, try_number FROM task_instance WHERE run_id = ? AND dag_id = ? ORDER BY 1, 2', run): print(*row, sep='|')";
        self.python(program).lines().map(str::to_owned).collect()
    }

    /// The events of all assets in their order: the task that made it, and the days that it names.
    fn asset_events(&self) -> Vec<String> {
        let program = "import json, sqlite3, os\n\
            db = sqlite3.connect(os.environ['AIRFLOW_HOME'] + '/airflow.db')\n\
            for task, extra in db.execute('SELECT source_task_id, extra FROM asset_event ORDER BY id'):\n\
            \x20   extra = json.loads(extra); assert extra['complete'] and len(extra['run_ids']) == len(extra['commits']) > 0, extra\n\
            \x20   print(task, *extra['partitions_written'], sep='|')";
        self.python(program).lines().map(str::to_owned).collect()
    }
}

fn in_project(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn said(mut command: Command) -> String {
    let output = command.output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_day_is_loaded_once_and_a_failing_check_fails_at_once() {
    let Some(airflow) = Airflow::start() else { return };
    let work = &airflow.work;
    work.write("etl.toml", "orders = \"orders.ndjson\"\n");
    let orders = [order("A", "2026-01-01T10:00:00Z", ""), order("B", "2026-01-02T10:00:00Z", "")].join("\n");
    work.write("orders.ndjson", &orders);

    let log = airflow.test(&["orders_etl", "2026-01-02"]);
    assert_eq!(airflow.tasks(), ["load|-1|success|1", "report|-1|success|1"], "{log}");
    assert!(log.contains("'records_processed_count': 1"), "the summary is the XCom: {log}");
    let loaded = work.query("SELECT order_id FROM fact_order");
    assert_eq!(loaded.len(), 1, "one day: {loaded:?}");
    let layer = (work.layer(), work.times());
    let mut events = vec!["load|2026-01-01".to_owned()];
    assert_eq!(airflow.asset_events(), events, "what reads the layer is started: {log}");

    let log = airflow.test(&["orders_etl", "2026-01-02"]);
    assert_eq!(airflow.tasks(), ["load|-1|skipped|1", "report|-1|skipped|0"], "{log}");
    assert_eq!((work.layer(), work.times()), layer, "a rerun changes nothing");
    assert_eq!(airflow.asset_events(), events, "and starts nothing");

    work.write("checks/none.sql", "SELECT * FROM fact_order\n");
    work.write("orders.ndjson", format!("{orders}\n{}", order("C", "2026-01-01T11:00:00Z", "")));
    let log = airflow.test(&["orders_etl", "2026-01-02"]);
    assert_eq!(airflow.tasks(), ["load|-1|failed|1", "report|-1|upstream_failed|0"], "{log}");
    assert!(log.contains("etl ended with 4") && log.contains("Another attempt would not help"), "{log}");
    assert!(log.contains("alert: orders_etl.load failed"), "{log}");
    assert_eq!((work.layer(), work.times(), airflow.asset_events()), (layer.0, layer.1, events.clone()));
    std::fs::remove_file(work.path("checks/none.sql")).unwrap();

    let log = airflow.test(&["orders_etl_backfill", "2026-02-01", "--conf", r#"{"since":"2026-01-01","until":"2026-01-09","days":4}"#]);
    let [loaded, without_news] = ["backfill.load|0|success|1", "backfill.load|1|skipped|1"];
    assert_eq!(airflow.tasks(), [loaded, without_news, "backfill.loaded|-1|success|1", "backfill.windows|-1|success|1"], "{log}");
    events.push("backfill.loaded|2026-01-01|2026-01-02".to_owned());
    assert_eq!(airflow.asset_events(), events, "one event for all windows: {log}");
    assert!(!log.contains("XCom not found"), "a good backfill logs no error: {log}");
    assert_eq!(work.query("SELECT order_id FROM fact_order ORDER BY 1"), ["A", "B", "C"]);

    std::fs::remove_file(work.path("orders.ndjson")).unwrap();
    let said = airflow.python(
        "from airflow.sdk.exceptions import AirflowException, AirflowFailException\n\
        from orders_etl.airflow import EtlOperator\n\
        try: EtlOperator(task_id='x', arguments=['run']).execute({})\n\
        except AirflowFailException: print('FAILS')\n\
        except AirflowException: print('TRIED AGAIN')",
    );
    assert!(said.contains("TRIED AGAIN"), "exit 3 may mend itself: {said}");
}

/// A backfill by shards, over a source that wants a token. The token is that of a connection of Airflow.
const SHARDS: &str = "from datetime import datetime, timezone
from airflow.sdk import DAG
from orders_etl.airflow import Shards, backfill_task_group, layer_asset
with DAG(dag_id='shards', schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), params={'since': '2026-01-01'}):
    backfill_task_group(
        since='{{ params.since }}', until='2026-01-09', split=Shards(2, chunk='4d'), etl_conn_id='shop', outlets=[layer_asset('output')]
    )
";

/// The only block of Python on the page.
fn bash_dag() -> String {
    let page = std::fs::read_to_string(in_project("docs/airflow.md")).unwrap();
    let (_, rest) = page.split_once("```python\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[test]
fn an_output_that_moves_is_another_asset() {
    let Some(airflow) = Airflow::start() else { return };
    let work = &airflow.work;
    work.write("etl.toml", "orders = \"orders.ndjson\"\n");
    work.write("orders.ndjson", order("A", "2026-01-01T10:00:00Z", ""));
    let day = ["orders_etl", "2026-01-02"];
    let log = airflow.test(&day);
    assert_eq!(airflow.tasks(), ["load|-1|success|1", "report|-1|success|1"], "{log}");
    let mut moved = airflow.testing(&day);
    moved.env("ETL_OUTPUT", work.path("moved"));
    let log = said(moved);
    assert_eq!(airflow.tasks(), ["load|-1|success|1", "report|-1|success|1"], "{log}");
    assert_eq!(airflow.asset_events(), ["load|2026-01-01", "load|2026-01-01"], "{log}");
}

#[test]
fn shards_load_with_the_credentials_of_a_connection_and_the_documented_bash_operator_loads_too() {
    const TOKEN: &str = "t0ken-of-the-connection";
    let Some(airflow) = Airflow::start() else { return };
    let server = Server::start(|asked| match asked.header("authorization") {
        Some(value) if value == format!("Bearer {TOKEN}") => {
            json(format!("[{},{}]", order("A", "2026-01-01T10:00:00Z", ""), order("B", "2026-01-06T10:00:00Z", "")))
        }
        _ => support::status(401),
    });
    let work = &airflow.work;
    work.write("etl.toml", format!("orders = \"{}\"\n", server.orders()));
    work.write("dags/shards.py", SHARDS);
    work.write("dags/bash.py", bash_dag());
    let test = |dag: &str, variable: &str, value: &str| {
        let mut command = airflow.testing(&[dag, "2026-01-02"]);
        command.env("AIRFLOW__CORE__DAGS_FOLDER", work.path("dags")).env(variable, value);
        said(command)
    };

    let connection = format!(r#"{{"conn_type":"http","password":"{TOKEN}"}}"#);
    let log = test("shards", "AIRFLOW_CONN_SHOP", &connection);
    assert_eq!(airflow.tasks(), ["backfill.load|0|success|1", "backfill.load|1|success|1", "backfill.loaded|-1|success|1"], "{log}");
    assert_eq!(airflow.asset_events(), ["backfill.loaded|2026-01-01|2026-01-06"], "{log}");
    assert_eq!(work.query("SELECT order_id FROM fact_order ORDER BY 1"), ["A", "B"]);
    assert!(!log.contains(TOKEN), "the token stands in the log");

    std::fs::remove_dir_all(work.path("output")).unwrap();
    let log = test("orders_etl_bash", "ETL_API_TOKEN", TOKEN);
    assert_eq!(airflow.tasks(), ["load|-1|success|1"], "{log}");
    assert_eq!(work.query("SELECT order_id FROM fact_order"), ["A"]);
    let log = test("orders_etl_bash", "ETL_API_TOKEN", TOKEN);
    assert_eq!(airflow.tasks(), ["load|-1|skipped|1"], "{log}");
}

#[test]
fn the_package_holds_by_its_own_tests() {
    let Some(python) = tool("ETL_TEST_PYTHON", "the tests of the Python package: a Python 3") else { return };
    let output = Command::new(python)
        .args(["-m", "unittest", "discover", "-s"])
        .arg(in_project("tests/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("\nOK"), "{said}");
    assert!(!said.contains("Ran 0 tests"), "{said}");
}
