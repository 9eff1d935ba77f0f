"""`etl` in Airflow 3: an operator, backfills by mapped tasks, and assets that are triggered when the layer changes.

What an exit code means is in `orders_etl.process`; here it becomes a state of a task. What a DAG loads, and when, is said by the DAG.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from airflow.sdk import Asset, BaseHook, BaseOperator, TaskGroup, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow.sdk.log import mask_secret

from orders_etl import find_binary
from orders_etl.process import Ended, LogLine, Outcome, Process, runs_of

__all__ = ["EtlOperator", "Shards", "Windows", "backfill_task_group", "credentials", "layer_asset"]

# Variables that the extra of a connection may set: those of `etl`, of the stores, and of its telemetry and lineage.
_VARIABLE = re.compile(r"(ETL|AWS|AZURE|GOOGLE|OTEL|OPENLINEAGE)_[A-Z0-9_]+")

# What a worker has in its environment for itself, secrets among it.
_OF_AIRFLOW = ("AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_")


def layer_asset(output: str, name: str | None = None) -> Asset:
    """The layer as an asset: `output` is the URL of a bucket, or a folder. DAGs with `schedule=[layer_asset(...)]` start when it changes."""
    uri = output if "://" in output else f"file://{os.path.abspath(output)}"
    return Asset(name=name or f"orders layer in {output}", uri=uri)


def credentials(connection: Any) -> dict[str, str]:
    """The variables that a connection stands for. Its host is not used: the address of the source is a setting.

    A login and a password are basic authentication, a password alone is a bearer token. The extra holds other variables by their names,
    such as `{"ETL_API_KEY": "..."}`.
    """
    found: dict[str, str] = {}
    if connection.login:
        found["ETL_API_USER"] = connection.login
        found["ETL_API_PASSWORD"] = connection.password or ""
    elif connection.password:
        found["ETL_API_TOKEN"] = connection.password
    extra = connection.extra_dejson
    refused = sorted(name for name, value in extra.items() if not _VARIABLE.fullmatch(name) or not isinstance(value, str))
    if refused:
        raise ValueError(
            f"connection {connection.conn_id}: the extra may hold texts named ETL_..., AWS_..., AZURE_..., GOOGLE_..., OTEL_... or"
            f" OPENLINEAGE_..., and has: {', '.join(refused)}"
        )
    found.update(extra)
    return found


class EtlOperator(BaseOperator):
    """Runs `etl` with `arguments`; its result is the XCom, also if the task is skipped or fails.

    - `home`: the folder of etl.toml and .env, where `etl` works. By default ETL_HOME of the worker, else /srv/etl. If the worker has no such
      folder, `etl` works in that of ETL_CONFIG, else in a temporary one; then the output must be a bucket or an absolute path.
    - `env`: more variables of the process. They are shown in the UI: no secrets.
    - `etl_conn_id`: the connection with the credentials, which go into the environment of the process and nowhere else.
    - `binary`: the program. By default `etl` in `home`, else the installed one, else the one on the PATH.
    - `grace`: seconds that a process has to end, before it is killed.
    - `outlets`: assets get an event if the layer changed, with its runs, commits and partitions as `extra`.

    A run that changed nothing is skipped. In a retry it succeeds: an earlier attempt may have published, and have died before it could say so.
    The XCom then has `is_retry`, and the `extra` of events has `complete = false`: partitions of the earlier attempt may be missing there.
    """

    template_fields: Sequence[str] = ("arguments", "home", "env", "etl_conn_id")
    template_fields_renderers = {"env": "json"}
    ui_color = "#e8f0e4"

    def __init__(
        self,
        *,
        arguments: Sequence[str],
        home: str | None = None,
        env: Mapping[str, str] | None = None,
        etl_conn_id: str | None = None,
        binary: str | None = None,
        grace: float = 60.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.arguments = arguments
        self.home = home
        self.env = env
        self.etl_conn_id = etl_conn_id
        self.binary = binary
        self.grace = grace
        self._process: Process | None = None

    def execute(self, context: Any) -> dict[str, Any] | None:
        if isinstance(self.arguments, str):
            raise AirflowFailException("`arguments` is a list of texts, such as ['run', '--since', 'last']")
        # By the worker: the machine that parses the DAG is another one.
        home = self.home or os.environ.get("ETL_HOME") or "/srv/etl"
        environment = self._environment()
        with self._folder(home, environment) as folder:
            command = [self._binary(home), *map(str, self.arguments)]
            self.log.info("runs %s in %s", command, folder)
            self._process = Process(command, environment=environment, folder=folder, grace=self.grace)
            ended = self._process.run(self._log_line)
        return self._conclude(ended, context)

    def on_kill(self) -> None:
        """Airflow ends the task: so is `etl`, which leaves the layer as it was, or all new."""
        if self._process is not None:
            self._process.stop()

    def _log_line(self, line: LogLine) -> None:
        self.log.log(line.level, "%s", line.text)

    def _environment(self) -> dict[str, str]:
        """That of the worker without Airflow's own, then `env`, then the credentials."""
        found = {name: value for name, value in os.environ.items() if not name.startswith(_OF_AIRFLOW)}
        found.update({name: str(value) for name, value in (self.env or {}).items()})
        if self.etl_conn_id:
            try:
                secrets = credentials(BaseHook.get_connection(self.etl_conn_id))
            except ValueError as mistake:
                raise AirflowFailException(str(mistake)) from mistake
            for secret in filter(None, secrets.values()):
                mask_secret(secret)
            found.update(secrets)
        return found

    def _folder(self, home: str, environment: Mapping[str, str]) -> AbstractContextManager[str]:
        if os.path.isdir(home):
            return nullcontext(home)
        config = self._flag("--config") or environment.get("ETL_CONFIG", "")
        if os.path.isabs(config):
            return nullcontext(os.path.dirname(config))
        output = self._flag("--output") or environment.get("ETL_OUTPUT", "")
        if "://" in output or os.path.isabs(output):
            return tempfile.TemporaryDirectory(prefix="etl-")
        raise AirflowFailException(
            f"this worker has no folder {home}: create it, or set ETL_OUTPUT to a bucket or an absolute path."
            " In a temporary folder the output would be lost"
        )

    def _flag(self, name: str) -> str:
        """The value of a flag in the arguments, or an empty text."""
        arguments = [str(argument) for argument in self.arguments]
        for argument, following in zip(arguments, [*arguments[1:], ""]):
            flag, equals, value = argument.partition("=")
            if flag == name:
                return value if equals else following
        return ""

    def _binary(self, home: str) -> str:
        if self.binary:
            return self.binary
        beside = os.path.join(os.path.abspath(home), "etl")
        return beside if os.path.isfile(beside) and os.access(beside, os.X_OK) else find_binary()

    def _conclude(self, ended: Ended, context: Any) -> dict[str, Any] | None:
        """The state of the task."""
        if ended.outcome is Outcome.DONE and ended.status == "dry_run" and self.outlets:
            self._push(ended, context)
            raise AirflowSkipException("a dry run publishes nothing, so it triggers nothing")
        is_retry = self._is_retry(context)
        if ended.outcome is Outcome.NOTHING_NEW and not is_retry:
            self._push(ended, context)
            raise AirflowSkipException("the layer holds all of this already")
        if ended.outcome in (Outcome.DONE, Outcome.NOTHING_NEW):
            if ended.result is None:
                return None
            result = {**ended.result, **({"is_retry": True} if is_retry else {})}
            _tell_assets(self.outlets, _changes([result]), context["outlet_events"] if self.outlets else {})
            return result
        self._push(ended, context)
        why = ended.result.get("error") if ended.result else None
        message = f"etl ended with {ended.code}" + (f": {why}" if why else "")
        if ended.outcome is Outcome.FAIL:
            raise AirflowFailException(f"{message}. Another attempt would not help")
        raise AirflowException(message)

    def _push(self, ended: Ended, context: Any) -> None:
        """The result of a task that does not succeed, where Airflow keeps that of one that does."""
        if ended.result is not None and self.do_xcom_push and "ti" in context:
            context["ti"].xcom_push(key="return_value", value=ended.result)

    def _is_retry(self, context: Any) -> bool:
        """Whether an attempt of the same try failed before; a task that was cleared starts again with its first attempt."""
        instance = context.get("ti")
        if instance is None:
            return False
        first = (instance.max_tries or 0) - (self.retries or 0) + 1
        return bool(instance.try_number > max(first, 1))


def _changes(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the runs of these results changed, for the event of an asset."""
    # A run without news may have a commit too: that of its coverage.
    runs = [run for result in results for run in runs_of(result) if run.get("status") == "published"]
    days = {key: sorted({day for run in runs for day in run.get(key, [])}) for key in ("partitions_written", "partitions_removed")}
    complete = not any(result.get("is_retry") for result in results)
    return {"run_ids": [run["run_id"] for run in runs], "commits": [run["commit"] for run in runs], **days, "complete": complete}


def _tell_assets(outlets: Sequence[Any], changes: Mapping[str, Any], events: Any) -> None:
    """What changed, for whoever an event of an asset starts."""
    for outlet in outlets:
        if isinstance(outlet, Asset):
            events[outlet].extra.update(changes)


@dataclass(frozen=True)
class Windows:
    """A task for each window of whole days. `days` may be a template."""

    days: int | str = 7


@dataclass(frozen=True)
class Shards:
    """A task for each part of the chunks: `etl backfill --shard I/N`. Each continues at its first chunk that is not done."""

    count: int
    chunk: str = "1w"


def cut_windows(since: str, until: str, days: int) -> list[tuple[str, str]]:
    """The days from `since` up to `until`, cut into windows of at most so many days."""
    if days < 1:
        raise ValueError(f"a window has at least one day, and not {days}")
    start, end, found = date.fromisoformat(since), date.fromisoformat(until), []
    if start >= end:
        raise ValueError(f"the range is empty: it begins on {since} and ends before {until}")
    while start < end:
        following = min(start + timedelta(days=days), end)
        found.append((start.isoformat(), following.isoformat()))
        start = following
    return found


def backfill_task_group(
    *,
    since: str,
    until: str,
    split: Windows | Shards = Windows(),
    group_id: str = "backfill",
    parallel: int = 8,
    arguments: Sequence[str] = (),
    outlets: Sequence[Asset] = (),
    **operator: Any,
) -> TaskGroup:
    """Loads the days from `since` up to `until` by mapped tasks, at most `parallel` at once. Both dates may be templates.

    `arguments` are further ones of `etl`, and `operator` those of `EtlOperator`. The last task, `loaded`, sums up what was published, and is
    the one with the `outlets`: an asset gets one event for all tasks. It is skipped if no task has changed anything.
    """
    with TaskGroup(group_id) as group:
        load = EtlOperator.partial(task_id="load", max_active_tis_per_dagrun=parallel, **operator)
        if isinstance(split, Windows):

            @task
            def windows(since: str, until: str, days: int | str) -> list[list[str]]:
                """The arguments of each task."""
                try:
                    cut = cut_windows(since, until, int(days))
                except ValueError as mistake:
                    raise AirflowFailException(str(mistake)) from mistake
                return [["run", "--since", start, "--until", end, *arguments] for start, end in cut]

            mapped = load.expand(arguments=windows(since, until, split.days))
        else:
            parts = [f"{part}/{split.count}" for part in range(split.count)]
            backfill = ["backfill", "--since", since, "--until", until, "--chunk", split.chunk]
            mapped = load.expand(arguments=[[*backfill, "--shard", part, *arguments] for part in parts])

        # A window without news is skipped, and so would be what follows it.
        @task(trigger_rule="none_failed", outlets=list(outlets))
        def loaded(results: Any, outlet_events: Any = None) -> dict[str, Any]:
            """What all tasks published together."""
            # A slice asks for all at once. An iterator asks on until one is missing, and the log has that as an error.
            changes = _changes(results[:])
            if changes["complete"] and not changes["run_ids"]:
                raise AirflowSkipException("the layer holds all of this already")
            _tell_assets(outlets, changes, outlet_events)
            return changes

        loaded(mapped.output)
    return group
