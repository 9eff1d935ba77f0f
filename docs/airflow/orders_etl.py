"""Orders, loaded each night by `etl`, and backfills by hand. How to set it up: docs/airflow.md.

Two DAGs: `orders_etl` loads the day that has just ended; `orders_etl_backfill` loads a range, week by week, one mapped task each. These tasks
run side by side: on one machine into a folder, on many workers into a bucket. The workers then share nothing but the bucket.

What `etl` says with its exit code decides what Airflow does:

    0            success; the summary, the last line that it prints, is the XCom
    99           nothing has changed: the task is skipped (`--empty-exit-code 99`)
    3, 5, 6      the source, the store, another run on the same days: tried again
    others       a mistake, or a check that failed: no attempt more would help, and the task fails at once
"""

from __future__ import annotations

import json
import logging
import os
import urllib.request
from datetime import datetime, timedelta, timezone

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Param, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow.timetables.interval import CronDataIntervalTimetable

log = logging.getLogger(__name__)

# Where etl.toml and .env are, and the output if it is a folder. The binary is looked for there, then on the PATH. A worker on which there is no
# such folder takes its settings from the environment alone (ETL_OUTPUT, ETL_ORDERS, ETL_API_TOKEN, AWS_...), and the binary from the PATH.
HOME = os.environ.get("ETL_HOME", "/srv/etl")

# How many windows of a backfill are loaded at once: parallel windows are parallel requests to the source. The pool limits it as well, across DAGs.
PARALLEL = int(os.environ.get("ETL_BACKFILL_PARALLEL", "8"))
POOL = os.environ.get("ETL_BACKFILL_POOL", "default_pool")

# Exit codes after which another attempt may help.
WORTH_A_RETRY = {3, 5, 6}


class EtlOperator(BashOperator):
    """A BashOperator around `etl`: the summary becomes the XCom, and what no retry can mend fails at once."""

    def __init__(self, *, bash_command: str, **kwargs) -> None:
        kwargs.setdefault("cwd", HOME)
        kwargs.setdefault("append_env", True)
        kwargs.setdefault("skip_on_exit_code", 99)
        kwargs.setdefault("output_processor", json.loads)
        # `exec`: the signal of a task that is killed reaches etl itself, which then leaves the layer as it was.
        super().__init__(bash_command=f'PATH="$PWD:$PATH"; exec {bash_command}', **kwargs)

    def execute(self, context):
        # Looked at here, by the worker: the machine that parses this file is another one. Without a folder, the task gets a temporary one.
        if self.cwd == HOME and not os.path.isdir(HOME):
            self.cwd = None
        try:
            return super().execute(context)
        except AirflowSkipException:
            raise
        except AirflowException as failure:
            process = getattr(self.subprocess_hook, "sub_process", None)
            code = process.returncode if process else None
            # A process that a signal ended (below 0) may be tried again as well: the machine was short of something.
            if code is None or code < 0 or code in WORTH_A_RETRY:
                raise
            raise AirflowFailException(f"etl ended with {code}: another attempt would not help") from failure


def tell(context) -> None:
    """Tells of a task that has failed for good, where ETL_AIRFLOW_WEBHOOK_URL says whom. `etl` tells of what it notices by
    itself; this is for what it can't tell of: a worker that died, a binary that is missing, a time-out."""
    instance = context["ti"]
    message = f"{instance.dag_id}.{instance.task_id} failed at {context.get('logical_date')}: {context.get('exception')}"
    log.error("alert: %s", message)
    url = os.environ.get("ETL_AIRFLOW_WEBHOOK_URL")
    if not url:
        return
    body = json.dumps({"source": "airflow", "dag_id": instance.dag_id, "task_id": instance.task_id, "message": message}).encode()
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    try:
        urllib.request.urlopen(request, timeout=10).close()
    except OSError as error:
        log.warning("the alert could not be delivered: %s", error)


DEFAULTS = {
    "retries": 3,
    "retry_delay": timedelta(minutes=5),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(hours=1),
    "execution_timeout": timedelta(hours=2),
    "on_failure_callback": tell,
}

# `--lock-wait`: another run may work on the same days, or a worker may have died whose lease in a bucket lasts for another minute.
# The log is JSON, and the summary follows it as the last line.
RUN = "etl run --format json --log-format json --no-progress --lock-wait 30m --empty-exit-code 99"


with DAG(
    dag_id="orders_etl",
    description="Orders of the day that has just ended, to the curated layer",
    # A plain cron string has no data interval in Airflow 3: its start and end are the same instant.
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["etl"],
    doc_md=__doc__,
):
    load = EtlOperator(
        task_id="load",
        bash_command=f"{RUN} --since '{{{{ data_interval_start.isoformat() }}}}' --until '{{{{ data_interval_end.isoformat() }}}}'",
    )

    @task
    def report(summary: dict) -> dict:
        """What the run counted, for whoever reads the log or takes the XCom."""
        counts = ("records_processed_count", "records_dropped_count", "execution_time_seconds", "rows_inserted", "rows_updated")
        found = {name: summary[name] for name in counts} | {"revenue": summary["revenue"], "partitions": summary["partitions_written"]}
        log.info("run %s: %s", summary["run_id"], found)
        for alert in summary["alerts"]:
            log.warning("%s: %s", alert["kind"], alert["message"])
        return found

    report(load.output)


with DAG(
    dag_id="orders_etl_backfill",
    description="A range of days, week by week",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    max_active_runs=1,
    default_args=DEFAULTS,
    params={
        "since": Param("2026-01-01", type="string", format="date", description="the first day"),
        "until": Param("2026-02-01", type="string", format="date", description="the day after the last"),
        "days": Param(7, type="integer", minimum=1, description="days that one task loads"),
    },
    tags=["etl"],
    doc_md=__doc__,
):

    @task
    def windows(params: dict | None = None) -> list[dict[str, str]]:
        """The range, cut into windows: each is the environment of one run."""
        since, until = (datetime.fromisoformat(params[name]) for name in ("since", "until"))
        step = timedelta(days=params["days"])
        found = []
        while since < until:
            end = min(since + step, until)
            found.append({"ETL_SINCE": since.date().isoformat(), "ETL_UNTIL": end.date().isoformat()})
            since = end
        return found

    # Side by side: windows without a day in common do not wait for each other, and every commit waits for none.
    EtlOperator.partial(task_id="load_window", bash_command=RUN, max_active_tis_per_dagrun=PARALLEL, pool=POOL).expand(env=windows())
