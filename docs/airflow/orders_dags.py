"""Orders, loaded each night by `etl`, and backfills by hand. How to set it up: docs/airflow.md.

Three DAGs. `orders_etl` loads the day that has just ended. `orders_etl_backfill` loads a range, week by week, one mapped task each. These
tasks run side by side: on one machine into a folder, on many workers into a bucket. `orders_etl_changed` starts when either has changed the
layer: put what reads it there.

What `etl` says with its exit code decides what Airflow does: see `orders_etl.airflow.EtlOperator`.
"""

from __future__ import annotations

import json
import logging
import os
import urllib.request
from datetime import datetime, timedelta, timezone

from airflow.sdk import DAG, Param, task
from airflow.timetables.interval import CronDataIntervalTimetable
from orders_etl.airflow import EtlOperator, Windows, backfill_task_group, layer_asset

log = logging.getLogger(__name__)

# The folder of etl.toml and .env, on every worker.
HOME = os.environ.get("ETL_HOME", "/srv/etl")

# The layer, as other DAGs know it. Set ETL_OUTPUT for the scheduler and the workers alike, or write the place here: `output` of etl.toml is
# not read, since the machine that parses this file may have none. The asset is named by the place, so that a layer which moves is another one.
LAYER = layer_asset(os.environ.get("ETL_OUTPUT") or os.path.join(HOME, "output"))

# The connection with the credentials of the source; without one, they come from .env or the environment of the worker.
CONNECTION = os.environ.get("ETL_AIRFLOW_CONNECTION") or None

# How many windows of a backfill are loaded at once: parallel windows are parallel requests to the source. The pool limits it as well, across DAGs.
PARALLEL = int(os.environ.get("ETL_BACKFILL_PARALLEL", "8"))
POOL = os.environ.get("ETL_BACKFILL_POOL", "default_pool")

# Another run may work on the same days, or a worker may have died whose lease in a bucket lasts for another minute.
WAIT = ["--lock-wait", "30m"]


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
        arguments=["run", "--since", "{{ data_interval_start.isoformat() }}", "--until", "{{ data_interval_end.isoformat() }}", *WAIT],
        home=HOME,
        etl_conn_id=CONNECTION,
        outlets=[LAYER],
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
    # Side by side: windows without a day in common do not wait for each other, and every commit waits for none.
    backfill_task_group(
        since="{{ params.since }}",
        until="{{ params.until }}",
        split=Windows(days="{{ params.days }}"),
        parallel=PARALLEL,
        arguments=WAIT,
        outlets=[LAYER],
        pool=POOL,
        home=HOME,
        etl_conn_id=CONNECTION,
    )


with DAG(
    dag_id="orders_etl_changed",
    description="What reads the layer, after it has changed",
    schedule=[LAYER],
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["etl"],
    doc_md=__doc__,
):

    @task
    def changed_days(triggering_asset_events=None) -> dict:
        """The partitions that were written or removed. They may be more, unless `complete`: read the whole layer then."""
        events = [event for events in (triggering_asset_events or {}).values() for event in events]
        keys = ("partitions_written", "partitions_removed")
        days = sorted({day for event in events for key in keys for day in event.extra.get(key, [])})
        # By hand, in the UI, an event has no extra.
        complete = bool(events) and all(event.extra.get("complete", False) for event in events)
        log.info("changed: %s, complete: %s", days, complete)
        return {"days": days, "complete": complete}

    changed_days()
