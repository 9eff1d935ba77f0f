"""One process of `etl`: its log line by line, its result, how it ended.

Responsible for the pipes, for signals, and for what an exit code asks of a scheduler. Knows no scheduler, and nothing of orders.
"""

from __future__ import annotations

import enum
import json
import logging
import os
import selectors
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

__all__ = ["NOTHING_NEW", "Ended", "LogLine", "Outcome", "Process", "runs_of"]

# The exit code of a run that changed nothing, if ETL_EMPTY_EXIT_CODE asks for it.
NOTHING_NEW = 99

# The source, the store, another run on the same days, SIGINT, SIGTERM: another attempt may help.
_RETRYABLE = frozenset({3, 5, 6, 130, 143})

# The summary has one form, so that the last line of stdout can be read: docs/reference/exit-codes.md.
_PRESENTATION = {"ETL_FORMAT": "json", "ETL_LOG_FORMAT": "json", "ETL_NO_PROGRESS": "yes", "ETL_EMPTY_EXIT_CODE": str(NOTHING_NEW)}

# Seconds between two looks at a process that says nothing.
_POLL = 0.5

_LEVELS = {"TRACE": logging.DEBUG, "DEBUG": logging.DEBUG, "INFO": logging.INFO, "WARN": logging.WARNING, "ERROR": logging.ERROR}


class Outcome(enum.Enum):
    """What an exit code asks of a scheduler."""

    DONE = "done"
    NOTHING_NEW = "nothing new"
    RETRY = "retry"
    FAIL = "fail"


@dataclass(frozen=True)
class LogLine:
    """A line of the log, with a level of `logging`."""

    level: int
    text: str

    @classmethod
    def parse(cls, line: str) -> LogLine:
        """A line of JSON as its message and its fields; any other line as it is."""
        try:
            fields = json.loads(line)
            level, message = _LEVELS[fields.pop("level")], fields.pop("message")
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls(logging.INFO, line)
        fields.pop("timestamp", None)
        return cls(level, " ".join([str(message), *(f"{name}={_text(value)}" for name, value in fields.items() if value is not None)]))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (below 0: the signal that killed it), and its result where it printed one."""

    code: int
    result: dict[str, Any] | None

    @property
    def outcome(self) -> Outcome:
        if self.code == 0:
            return Outcome.DONE
        if self.code == NOTHING_NEW:
            return Outcome.NOTHING_NEW
        return Outcome.RETRY if self.code < 0 or self.code in _RETRYABLE else Outcome.FAIL

    @property
    def status(self) -> str | None:
        """The `status` of the result, such as `published`."""
        return self.result.get("status") if self.result else None


def runs_of(result: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The summary of each run of a result: of a run, of a backfill, of several shops."""
    parts = [*result.get("runs", []), *result.get("shops", [])]
    if not parts and "run_id" in result:
        yield result
    for part in parts:
        yield from runs_of(part)


class Process:
    """`etl` with its arguments. `environment` is all that the process gets; its form of output is added. `run` once, `stop` at any time."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        folder: str | None = None,
        grace: float = 60.0,
    ) -> None:
        self._command = list(command)
        self._environment = {**(os.environ if environment is None else environment), **_PRESENTATION}
        self._folder = folder
        self._grace = grace
        self._child: subprocess.Popen[bytes] | None = None
        self._stop_at: float | None = None
        self._signalled = False

    def run(self, on_line: Callable[[LogLine], None]) -> Ended:
        """Starts it, hands on its log, and waits for its end. If this is cut off by an exception, the process is stopped first."""
        self._child = subprocess.Popen(
            self._command,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A group of its own: a signal to the group of the scheduler would reach it a second time, and end it without undoing anything.
            start_new_session=True,
        )
        pipes = _Pipes(self._child, on_line)
        try:
            if self._stop_at is not None:
                self._terminate()
            self._follow(pipes)
        finally:
            if self._child.poll() is None:
                self.stop()
                self._follow(pipes)
            pipes.close()
        return Ended(self._child.wait(), pipes.result())

    def stop(self) -> None:
        """Asks the process to end (SIGTERM), once: the layer is then as before, or all new. After `grace` seconds it is killed."""
        if self._stop_at is None:
            self._stop_at = time.monotonic() + self._grace
        self._terminate()

    def _terminate(self) -> None:
        if self._child is None or self._signalled:
            return
        # A second signal would end it at once.
        self._signalled = True
        self._child.terminate()

    def _follow(self, pipes: _Pipes) -> None:
        child = self._child
        assert child is not None
        while pipes.are_open():
            said_something = pipes.read(_POLL)
            # A process that it started may hold the pipes open for longer than it lives.
            if not said_something and child.poll() is not None:
                return
            if self._stop_at is not None and time.monotonic() > self._stop_at:
                child.kill()
        child.wait()


class _Pipes:
    """stdout and stderr of a process, read as they come. The last line of stdout is the result; all others are the log."""

    def __init__(self, child: subprocess.Popen[bytes], on_line: Callable[[LogLine], None]) -> None:
        assert child.stdout is not None and child.stderr is not None
        self._on_line = on_line
        self._stdout, self._stderr = child.stdout, child.stderr
        self._rest = {self._stdout.fileno(): b"", self._stderr.fileno(): b""}
        self._last = ""
        self._selector = selectors.DefaultSelector()
        for pipe in (self._stdout, self._stderr):
            self._selector.register(pipe, selectors.EVENT_READ)

    def are_open(self) -> bool:
        return bool(self._selector.get_map())

    def read(self, timeout: float) -> bool:
        """Whether anything came within the time, if only the end of a pipe."""
        ready = self._selector.select(timeout)
        for key, _ in ready:
            block = os.read(key.fd, 1 << 16)
            lines = (self._rest[key.fd] + block).split(b"\n")
            # The last part is a line only at the end.
            self._rest[key.fd] = lines.pop() if block else b""
            for line in lines:
                self._take(key.fd, line.decode("utf-8", "replace"))
            if not block:
                self._selector.unregister(key.fileobj)
        return bool(ready)

    def _take(self, pipe: int, line: str) -> None:
        if not line.strip():
            return
        if pipe == self._stdout.fileno():
            line, self._last = self._last, line
        if line:
            self._on_line(LogLine.parse(line))

    def result(self) -> dict[str, Any] | None:
        """The last line of stdout, if it is an object of JSON; if not, it belongs to the log."""
        try:
            found = json.loads(self._last)
        except ValueError:
            found = None
        if isinstance(found, dict):
            return found
        if self._last:
            self._on_line(LogLine(logging.INFO, self._last))
        return None

    def close(self) -> None:
        self._selector.close()
        self._stdout.close()
        self._stderr.close()
