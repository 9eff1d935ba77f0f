"""The package `orders_etl` against a program that stands in for `etl`, and against a stub of Airflow: neither is needed.

Run: python3 -m unittest discover -s tests/python
"""

import json
import logging
import os
import signal
import sys
import tempfile
import textwrap
import time
import types
import unittest
from pathlib import Path
from unittest import mock

PACKAGE = Path(__file__).parents[2] / "docs/deploy/python"
sys.path.insert(0, str(PACKAGE))


class Failed(Exception):
    """AirflowException: may be tried again."""


class FailedForGood(Failed):
    """AirflowFailException."""


class Skipped(Failed):
    """AirflowSkipException."""


class Asset:
    def __init__(self, name, uri):
        self.name, self.uri = name, uri


class BaseOperator:
    def __init__(self, *, task_id, outlets=(), retries=0, do_xcom_push=True):
        self.task_id, self.outlets, self.retries, self.do_xcom_push = task_id, list(outlets), retries, do_xcom_push
        self.log = logging.getLogger("task")


class BaseHook:
    connections = {}

    @classmethod
    def get_connection(cls, name):
        return cls.connections[name]


MASKED = []


def stub_airflow():
    """Modules in the place of Airflow's, whether it is installed or not."""
    sdk = types.ModuleType("airflow.sdk")
    sdk.Asset, sdk.BaseHook, sdk.BaseOperator, sdk.TaskGroup, sdk.task = Asset, BaseHook, BaseOperator, None, None
    exceptions = types.ModuleType("airflow.sdk.exceptions")
    exceptions.AirflowException, exceptions.AirflowFailException, exceptions.AirflowSkipException = Failed, FailedForGood, Skipped
    log = types.ModuleType("airflow.sdk.log")
    log.mask_secret = MASKED.append
    return {"airflow": types.ModuleType("airflow"), "airflow.sdk": sdk, "airflow.sdk.exceptions": exceptions, "airflow.sdk.log": log}


sys.modules.update(stub_airflow())

from orders_etl import BinaryNotFound, find_binary  # noqa: E402
from orders_etl.airflow import EtlOperator, credentials, cut_windows, layer_asset  # noqa: E402
from orders_etl.process import Ended, LogLine, Outcome, Process, runs_of  # noqa: E402

RUN = {"run_id": "R1", "status": "published", "commit": 7, "partitions_written": ["2026-01-01"], "partitions_removed": ["2026-01-02"]}


def connection(login=None, password=None, extra=None):
    return types.SimpleNamespace(conn_id="shop", login=login, password=password, extra_dejson=extra or {}, host="shop.example")


class TaskInstance:
    def __init__(self, try_number=1, max_tries=0):
        self.try_number, self.max_tries, self.pushed = try_number, max_tries, {}

    def xcom_push(self, key, value):
        self.pushed[key] = value


class WithProgram(unittest.TestCase):
    """A folder with a program `etl` in it."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def program(self, body, name="etl"):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!{sys.executable}\nimport json, os, signal, sys, time\n{textwrap.dedent(body)}")
        path.chmod(0o755)
        return str(path)

    def ends(self, code, result):
        return self.program(f"print({json.dumps(result)!r}); sys.exit({code})")


class ProcessTest(WithProgram):
    def run_it(self, body, **options):
        lines = []
        ended = Process([self.program(body)], **options).run(lines.append)
        return ended, lines

    def test_the_last_line_of_stdout_is_the_result_and_all_else_is_the_log(self):
        ended, lines = self.run_it(
            """
            print('{"level":"WARN","message":"slow","timestamp":"T","run_id":null,"page":3,"url":"u"}', file=sys.stderr)
            print("plain", file=sys.stderr)
            print("metrics", flush=True)
            print('{"run_id":"R1"}')
            """
        )
        self.assertEqual(ended, Ended(0, {"run_id": "R1"}))
        self.assertCountEqual(
            lines, [LogLine(logging.WARNING, "slow page=3 url=u"), LogLine(logging.INFO, "plain"), LogLine(logging.INFO, "metrics")]
        )

    def test_the_log_arrives_while_the_process_works(self):
        """It ends only after the first line has arrived."""
        told = self.folder / "told"
        body = f"""
        print("first", file=sys.stderr, flush=True)
        while not os.path.exists({str(told)!r}): time.sleep(0.01)
        """
        ended = Process([self.program(body)], grace=5).run(lambda line: told.touch())
        self.assertEqual(ended.code, 0)

    def test_a_large_result_and_a_large_log_do_not_block_each_other(self):
        ended, lines = self.run_it(
            """
            for _ in range(2000): print("x" * 1000, file=sys.stderr)
            print(json.dumps({"value": "y" * 3_000_000}))
            for _ in range(2000): print("x" * 1000, file=sys.stderr)
            """
        )
        self.assertEqual((len(ended.result["value"]), len(lines)), (3_000_000, 4000))

    def test_a_last_line_that_is_no_object_belongs_to_the_log(self):
        for said in ("words", "[1]", "3"):
            ended, lines = self.run_it(f"print({said!r})")
            self.assertEqual((ended.result, [line.text for line in lines]), (None, [said]))

    def test_a_line_of_the_log_that_only_looks_like_json_is_text(self):
        for said in ("3", "null", '{"level":"LOUD","message":"m"}', '{"message":"m"}', '{"level":[],"message":"m"}'):
            self.assertEqual(LogLine.parse(said), LogLine(logging.INFO, said))

    def test_the_form_of_the_output_wins_over_the_environment(self):
        body = "print(json.dumps({name: os.environ.get(name) for name in ('ETL_FORMAT', 'ETL_EMPTY_EXIT_CODE', 'OTHER', 'PATH')}))"
        ended, _ = self.run_it(body, environment={"ETL_FORMAT": "text", "OTHER": "kept"})
        self.assertEqual(ended.result, {"ETL_FORMAT": "json", "ETL_EMPTY_EXIT_CODE": "99", "OTHER": "kept", "PATH": None})

    SLOW = """
    def ended(*_):
        signals.append(1)
    signals = []
    signal.signal(signal.SIGTERM, ended)
    print("ready", file=sys.stderr, flush=True)
    while not signals: time.sleep(0.01)
    time.sleep(0.3)
    print(json.dumps({"signals": len(signals)}))
    sys.exit(143)
    """

    def test_it_is_asked_to_end_once_however_often_it_is_stopped(self):
        process = Process([self.program(self.SLOW)])

        def stop(line):
            process.stop()
            process.stop()

        ended = process.run(stop)
        self.assertEqual(ended, Ended(143, {"signals": 1}))
        self.assertIs(ended.outcome, Outcome.RETRY)

    def test_an_exception_of_the_caller_ends_the_process_first(self):
        done = self.folder / "done"
        body = self.SLOW.replace("sys.exit(143)", f"open({str(done)!r}, 'w').close()")
        process = Process([self.program(body)])

        def interrupt(line):
            raise KeyboardInterrupt

        with self.assertRaises(KeyboardInterrupt):
            process.run(interrupt)
        self.assertTrue(done.exists(), "it was waited for")

    def test_a_process_that_does_not_end_is_killed_after_the_grace(self):
        body = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', file=sys.stderr, flush=True)\ntime.sleep(60)"
        process = Process([self.program(body)], grace=0.2)
        started = time.monotonic()
        ended = process.run(lambda line: process.stop())
        self.assertEqual((ended.code, ended.outcome), (-signal.SIGKILL, Outcome.RETRY))
        self.assertLess(time.monotonic() - started, 20)

    def test_a_stop_before_the_start_is_kept(self):
        process = Process([self.program("time.sleep(60)")])
        process.stop()
        self.assertEqual(process.run(print).code, -signal.SIGTERM)

    def test_a_child_that_holds_the_pipes_open_is_not_waited_for(self):
        started = time.monotonic()
        ended, _ = self.run_it("print('{}', flush=True)\nif os.fork() == 0: time.sleep(30)")
        self.assertEqual(ended, Ended(0, {}))
        self.assertLess(time.monotonic() - started, 20)

    def test_each_exit_code_asks_for_what_its_page_says(self):
        page = (PACKAGE.parents[1] / "reference/exit-codes.md").read_text()
        self.assertIn("A retry by a scheduler helps with 3, 5, 6, 130 and 143. It does not help with 1, 2 and 4,", page)
        expected = {0: Outcome.DONE, 99: Outcome.NOTHING_NEW, -9: Outcome.RETRY}
        expected.update({code: Outcome.RETRY for code in (3, 5, 6, 130, 143)})
        expected.update({code: Outcome.FAIL for code in (1, 2, 4)})
        self.assertEqual({code: Ended(code, None).outcome for code in expected}, expected)

    def test_the_runs_of_a_result_are_found_in_backfills_and_shops(self):
        shops = {"command": "backfill", "shops": [{"shop": "de", "runs": [{"run_id": "1"}, {"run_id": "2"}]}, {"run_id": "3", "shop": "at"}]}
        self.assertEqual([run["run_id"] for run in runs_of(shops)], ["1", "2", "3"])
        self.assertEqual(list(runs_of({"command": "backfill", "runs": []})), [])


class BinaryTest(WithProgram):
    def test_the_installed_program_wins_over_the_path(self):
        installed, on_path = self.program("", "installed/etl"), self.program("", "path/etl")
        with mock.patch.dict(os.environ, {"PATH": str(self.folder / "path")}):
            with mock.patch("sysconfig.get_path", lambda name, scheme=None: str(self.folder / "installed")):
                self.assertEqual(find_binary(), installed)
            with mock.patch("sysconfig.get_path", lambda name, scheme=None: str(self.folder / "none")):
                self.assertEqual(find_binary(), on_path)

    def test_where_there_is_none_the_error_says_what_to_install(self):
        with mock.patch.dict(os.environ, {"PATH": ""}), mock.patch("sysconfig.get_path", lambda name, scheme=None: str(self.folder)):
            with self.assertRaisesRegex(BinaryNotFound, "pip install orders-etl"):
                find_binary()


class OperatorTest(WithProgram):
    def execute(self, try_number=1, max_tries=None, arguments=("run",), **options):
        options.setdefault("home", str(self.folder))
        operator = EtlOperator(task_id="load", arguments=list(arguments), **options)
        self.instance = TaskInstance(try_number, operator.retries if max_tries is None else max_tries)
        self.events = {asset: types.SimpleNamespace(extra={}) for asset in operator.outlets}
        return operator.execute({"ti": self.instance, "outlet_events": self.events})

    def test_a_run_that_published_returns_its_summary_and_tells_its_assets_what_changed(self):
        # The second chunk is committed for its coverage alone.
        result = {"command": "backfill", "status": "published", "runs": [RUN, {"run_id": "R2", "status": "unchanged", "commit": 8}]}
        self.ends(0, result)
        layer = layer_asset("s3://bucket/output")
        self.assertEqual(self.execute(outlets=[layer]), result)
        days = {"partitions_written": ["2026-01-01"], "partitions_removed": ["2026-01-02"]}
        self.assertEqual(self.events[layer].extra, {"run_ids": ["R1"], "commits": [7], **days, "complete": True})

    def test_a_run_without_news_is_skipped_and_its_summary_is_kept(self):
        unchanged = {"run_id": "R2", "status": "unchanged", "commit": 8}
        self.ends(99, unchanged)
        with self.assertRaises(Skipped):
            self.execute(outlets=[layer_asset("s3://bucket/output")])
        self.assertEqual(self.instance.pushed, {"return_value": unchanged})

    def test_a_retry_without_news_succeeds_since_an_attempt_before_it_may_have_published(self):
        self.ends(99, {"run_id": "R2", "status": "unchanged"})
        layer = layer_asset("s3://bucket/output")
        self.assertEqual(self.execute(try_number=2, retries=3, outlets=[layer])["is_retry"], True)
        self.assertEqual((self.events[layer].extra["run_ids"], self.events[layer].extra["complete"]), ([], False))
        # Cleared after one attempt: Airflow raises `max_tries`, and this is a first attempt again.
        with self.assertRaises(Skipped):
            self.execute(try_number=2, max_tries=4, retries=3)
        self.assertEqual(self.execute(try_number=3, max_tries=4, retries=3)["run_id"], "R2")

    def test_a_dry_run_triggers_no_asset(self):
        self.ends(0, {"run_id": "R3", "status": "dry_run"})
        with self.assertRaises(Skipped):
            self.execute(outlets=[layer_asset("/srv/etl/output")])
        self.assertEqual(self.execute()["status"], "dry_run")

    def test_a_failure_is_final_only_if_no_retry_can_mend_it(self):
        for code, expected in ((1, FailedForGood), (2, FailedForGood), (4, FailedForGood), (3, Failed), (5, Failed), (6, Failed), (143, Failed)):
            self.ends(code, {"error": "the reason"})
            with self.assertRaisesRegex(Failed, f"etl ended with {code}: the reason") as raised:
                self.execute()
            self.assertIs(type(raised.exception), expected, code)
            self.assertEqual(self.instance.pushed, {"return_value": {"error": "the reason"}})

    def test_credentials_reach_the_process_and_nothing_else(self):
        self.program("print(json.dumps(dict(os.environ, arguments=sys.argv[1:])))")
        BaseHook.connections = {"shop": connection(password="s3cret", extra={"ETL_USERS_API_KEY": "k3y"})}
        worker = {"AIRFLOW__CORE__FERNET_KEY": "own", "AIRFLOW_CONN_SHOP": "own", "AWS_REGION": "eu-central-1"}
        with mock.patch.dict(os.environ, worker), self.assertLogs("task") as logs:
            seen = self.execute(etl_conn_id="shop", env={"ETL_SINCE": "last", "ETL_API_TOKEN": "shown"})
            self.assertNotIn("s3cret", json.dumps(dict(os.environ)))
        wanted = {"ETL_API_TOKEN": "s3cret", "ETL_USERS_API_KEY": "k3y", "ETL_SINCE": "last", "AWS_REGION": "eu-central-1"}
        self.assertEqual({name: seen.get(name) for name in wanted}, wanted)
        self.assertFalse([name for name in seen if name.startswith("AIRFLOW")])
        self.assertEqual(seen["arguments"], ["run"])
        self.assertNotIn("s3cret", "".join(logs.output))
        self.assertLessEqual({"s3cret", "k3y"}, set(MASKED))

    def test_what_a_connection_stands_for(self):
        basic = {"ETL_API_USER": "anna", "ETL_API_PASSWORD": "p"}
        self.assertEqual(credentials(connection("anna", "p")), basic)
        self.assertEqual(credentials(connection("anna", "p", {"ETL_API_KEY": "k"})), {**basic, "ETL_API_KEY": "k"})
        self.assertEqual(credentials(connection(password="t")), {"ETL_API_TOKEN": "t"})
        self.assertEqual(credentials(connection()), {})
        for extra in ({"LD_PRELOAD": "x"}, {"PATH": "x"}, {"headers": {}}, {"ETL_API_KEY": 3}):
            with self.assertRaisesRegex(ValueError, next(iter(extra))) as raised:
                credentials(connection(extra={**extra, "ETL_API_TOKEN": "hidden"}))
            self.assertNotIn("hidden", str(raised.exception))

    def test_a_connection_that_can_not_be_used_fails_at_once(self):
        self.ends(0, RUN)
        BaseHook.connections = {"shop": connection(extra={"timeout": "3"})}
        with self.assertRaisesRegex(FailedForGood, "timeout"):
            self.execute(etl_conn_id="shop")

    def test_a_kill_of_the_task_ends_the_process(self):
        self.program(ProcessTest.SLOW)
        operator = EtlOperator(task_id="load", arguments=["run"], home=str(self.folder))
        operator.on_kill()
        handler = logging.Handler()
        handler.emit = lambda record: record.getMessage() == "ready" and operator.on_kill()
        operator.log.addHandler(handler)
        operator.log.setLevel(logging.INFO)
        self.addCleanup(operator.log.removeHandler, handler)
        with self.assertRaisesRegex(Failed, "etl ended with 143"):
            operator.execute({})

    def test_without_its_folder_a_worker_needs_an_output_that_lasts(self):
        program = self.program("print(json.dumps({'folder': os.getcwd()}))")
        with mock.patch.dict(os.environ):
            for name in ("ETL_OUTPUT", "ETL_CONFIG", "ETL_HOME"):
                os.environ.pop(name, None)
            missing = {"home": str(self.folder / "none"), "binary": program}
            relative = {"ETL_OUTPUT": "output", "ETL_CONFIG": "etl.toml"}
            for env, arguments in (({}, ()), (relative, ()), ({}, ("--output", "output")), ({"ETL_OUTPUT": "s3://b"}, ("--output=x",))):
                with self.assertRaisesRegex(FailedForGood, "would be lost"):
                    self.execute(env=env, arguments=["run", *arguments], **missing)
            for env, arguments in (
                ({"ETL_OUTPUT": "s3://bucket"}, ()),
                ({}, ("--output", "/srv/output")),
                ({}, ("--output=gs://bucket",)),
                ({"ETL_OUTPUT": "output"}, ("--output", "/srv/output")),
            ):
                folder = self.execute(env=env, arguments=["run", *arguments], **missing)["folder"]
                self.assertFalse(os.path.exists(folder), "it was temporary")
            for env, arguments, options in (
                ({}, (), {}),
                ({"ETL_CONFIG": str(self.folder / "etl.toml")}, (), missing),
                ({"ETL_CONFIG": "/srv/etl.toml"}, ("--config", str(self.folder / "etl.toml")), missing),
            ):
                folder = self.execute(env=env, arguments=["run", *arguments], **options)["folder"]
                self.assertEqual(os.path.realpath(folder), os.path.realpath(self.folder))

    def test_a_text_in_place_of_a_list_is_refused(self):
        operator = EtlOperator(task_id="load", arguments="run --since last", home=str(self.folder))
        with self.assertRaisesRegex(FailedForGood, "list"):
            operator.execute({})

    def test_a_folder_and_a_bucket_are_addresses_of_assets(self):
        self.assertEqual(layer_asset("/srv/etl/output").uri, "file:///srv/etl/output")
        self.assertEqual(layer_asset("gs://bucket/output", name="orders").uri, "gs://bucket/output")


class WindowsTest(unittest.TestCase):
    def test_windows_cover_the_range_without_overlap(self):
        cut = cut_windows("2026-01-01", "2026-01-09", 4)
        self.assertEqual(cut, [("2026-01-01", "2026-01-05"), ("2026-01-05", "2026-01-09")])
        self.assertEqual(cut_windows("2026-02-27", "2026-03-02", 2)[-1], ("2026-03-01", "2026-03-02"))

    def test_a_window_without_days_and_an_empty_range_are_refused(self):
        for until, days in (("2026-01-09", 0), ("2026-01-09", -1), ("2026-01-01", 4), ("2025-12-31", 4)):
            with self.assertRaises(ValueError):
                cut_windows("2026-01-01", until, days)


if __name__ == "__main__":
    unittest.main()
