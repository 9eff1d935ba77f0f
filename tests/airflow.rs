//! The DAGs of docs/airflow, run by a real Airflow: `airflow dags test`, on SQLite, in a folder of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use support::{Workspace, order, tool};

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
        let dags = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/airflow");
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.work.path("."))
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", self.program.parent().unwrap().display()))
            .env("HOME", self.work.path("."))
            .env("AIRFLOW_HOME", self.work.path("airflow"))
            .env("AIRFLOW__CORE__DAGS_FOLDER", dags)
            .env("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
            .env("AIRFLOW__CORE__UNIT_TEST_MODE", "False")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("ETL_HOME", self.work.path("."))
            .stdin(Stdio::null());
        command
    }

    /// `airflow dags test`; what it printed. A task that is tried again waits for minutes: then the run has not done what is
    /// asked of it, and is ended.
    fn test(&self, args: &[&str]) -> String {
        let airflow = self.program.to_str().unwrap();
        said(self.command(Path::new("timeout"), &[&["120", airflow, "dags", "test"], args].concat()))
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

    let log = airflow.test(&["orders_etl", "2026-01-02"]);
    assert_eq!(airflow.tasks(), ["load|-1|skipped|1", "report|-1|skipped|0"], "{log}");
    assert_eq!((work.layer(), work.times()), layer, "a rerun changes nothing");

    work.write("checks/none.sql", "SELECT * FROM fact_order\n");
    work.write("orders.ndjson", format!("{orders}\n{}", order("C", "2026-01-01T11:00:00Z", "")));
    let log = airflow.test(&["orders_etl", "2026-01-02"]);
    assert_eq!(airflow.tasks(), ["load|-1|failed|1", "report|-1|upstream_failed|0"], "{log}");
    assert!(log.contains("etl ended with 4: another attempt would not help") && log.contains("alert: orders_etl.load failed"), "{log}");
    assert_eq!((work.layer(), work.times()), layer);
    std::fs::remove_file(work.path("checks/none.sql")).unwrap();

    let log = airflow.test(&["orders_etl_backfill", "2026-02-01", "--conf", r#"{"since":"2026-01-01","until":"2026-01-09","days":4}"#]);
    assert_eq!(airflow.tasks(), ["load_window|0|success|1", "load_window|1|skipped|1", "windows|-1|success|1"], "{log}");
    assert_eq!(work.query("SELECT order_id FROM fact_order ORDER BY 1"), ["A", "B", "C"]);

    std::fs::remove_file(work.path("orders.ndjson")).unwrap();
    let said = airflow.python(
        "import importlib.util, os\n\
        from airflow.sdk.exceptions import AirflowException, AirflowFailException\n\
        path = os.environ['AIRFLOW__CORE__DAGS_FOLDER'] + '/orders_etl.py'\n\
        spec = importlib.util.spec_from_file_location('orders_etl', path); dags = importlib.util.module_from_spec(spec); spec.loader.exec_module(dags)\n\
        task = dags.EtlOperator(task_id='x', bash_command='etl run')\n\
        try: task.execute({})\n\
        except AirflowFailException: print('FAILS')\n\
        except AirflowException: print('TRIED AGAIN')",
    );
    assert!(said.contains("TRIED AGAIN"), "exit 3 may mend itself: {said}");
}
