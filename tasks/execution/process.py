"""Run a worker program: its log goes to files, its events go to the caller, and no process of it outlives the caller.

A launcher, by default torchrun on this machine, starts a program of several processes. They share one standard output
and one log. hpt_core/supervisor.py ends all of them, although torchrun starts each in a new session.
"""

import contextlib
import json
import logging
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel

from hpt_core import errors, supervisor, worker
from hpt_core.artifacts import Cost
from hpt_core.errors import (
    LONGEST_CAUSE,
    PYDANTIC_LINK,
    ConfigError,
    HPTError,
    WorkerError,
    WorkerLost,
    WorkerStopped,
    WorkerTimeout,
    last_error,
)
from hpt_core.files import write_text
from hpt_core.logs import about, fields, parsed, told
from hpt_core.redact import redact, redacted

LOG = logging.getLogger("hpt.worker")

Event = dict[str, Any]
GRACE_S = 5.0
"""Seconds between asking a worker's processes to end and killing them."""
LAST_LINES = 200
"""Log lines kept for the error message of a failed worker. A launcher's own report may be long."""
EVENT = '{"event": '
"""Start of an event's line, after the prefix that a launcher may add (`[rank0]:`)."""
RAISED = re.compile(r"^(?:\[[^\]]*\]:)?\s*((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Exit|Interrupt): .+)")
"""The last line of a traceback."""
OF_LAUNCHER = "torch.distributed.elastic."
"""Module of torchrun's own exceptions, which say that a process failed but not why."""
KILLED = re.compile(r"Signal \d+ \((SIG\w+)\) received by PID")
"""torchrun's report of a process that was ended by a signal."""
VARIABLE = re.compile(r"\$(\w+|\{[^}]*\})")


@dataclass
class WorkerRun:
    """One run of a worker program."""

    stage: str
    """Key of the stage, used in messages."""
    module: str
    """Module to run with `python -m`."""
    spec: BaseModel
    """Written as JSON to `spec_file`, the program's one argument."""
    spec_file: Path
    logs: Sequence[Path]
    """Files to append the worker's log to."""
    timeout_s: float | None = None
    environment: dict[str, str] = field(default_factory=dict)
    launcher: tuple[str, ...] = ()
    """Command that runs `-m MODULE SPEC` in several processes. If empty, one process of this Python runs it."""


def launcher(processes: int, command: str | None = None) -> tuple[str, ...]:
    """The launcher of `processes` processes on this machine; empty for one process.

    `command`, if given, replaces it. Raises ConfigError if the command cannot be parsed, uses a variable that is not
    set, or is not installed.
    """
    if command is None:
        if processes == 1:
            return ()
        return (
            *(sys.executable, "-m", "torch.distributed.run"),
            *("--standalone", "--nproc-per-node", str(processes)),
        )
    where = f"resources.launcher = {command!r}"
    expanded = os.path.expandvars(command)
    if left := VARIABLE.search(expanded):
        raise ConfigError(f"{where}: {left.group()} is not set", "set it in the environment, or write the value")
    try:
        words = tuple(shlex.split(expanded))
    except ValueError as error:
        raise ConfigError(f"{where}: {error}", "close the quotation") from error
    if not words:
        raise ConfigError(f"{where} names no command", "remove it, or give one such as torchrun")
    if shutil.which(words[0]) is None:
        raise ConfigError(f"{where}: there is no command {words[0]!r}", "install it, or give its path")
    return words


class Worker:
    """A running worker program and its supervisor."""

    def __init__(self, job: WorkerRun, stays: bool = False) -> None:
        """Start the program. If it `stays`, it waits for another job when it has finished one."""
        command = supervisor.command("--grace", str(GRACE_S), "--timeout", str(job.timeout_s or 0), "--usage")
        if stays:
            # The time limit is for one job, and this process watches it.
            command = supervisor.command("--grace", str(GRACE_S), "--forward")
        self._stays = stays
        self._process = subprocess.Popen(
            [*command, *_program(job, stays)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            bufsize=1,
            env=worker.ENVIRONMENT | os.environ | job.environment,
            # In a new session, Ctrl-C in the terminal reaches only this process, which then ends the worker cleanly.
            start_new_session=True,
        )
        self._reader = _Reader(self._process)

    @property
    def runs(self) -> bool:
        """Whether the program has not ended."""
        return self._process.poll() is None

    def work(
        self,
        job: WorkerRun,
        on_event: Callable[[Event], None],
        cancelled: threading.Event | None = None,
        another: bool = False,
    ) -> Cost | None:
        """Wait until the worker has finished the job. `another` hands it to a worker that has stayed.

        Returns None if the worker has declined the job. See `run`.
        """
        give_up = time.monotonic() + (job.timeout_s or math.inf)
        with contextlib.ExitStack() as stack:
            logs = [stack.enter_context(LogFile(path)) for path in job.logs]
            _header(logs, job)
            self._reader.take(logs, on_event)
            stack.callback(self._reader.take, (), lambda event: None)
            if another:
                # Only now, so that no line of the job's log and no event of it goes nowhere.
                self._reader.expect()
                with contextlib.suppress(OSError):  # it has ended, which is noticed below
                    self._process.stdin.write(f"{job.spec_file}\n")  # type: ignore[union-attr]
            try:
                while self.runs:
                    if cancelled and cancelled.is_set():
                        raise WorkerStopped(
                            f"{job.stage}: stopped, because the run is ending", "run it again to continue"
                        )
                    if not self._stays:
                        with contextlib.suppress(subprocess.TimeoutExpired):
                            self._process.wait(0.2)
                    elif self._reader.finished(0.2):
                        return self._reader.cost
                    elif time.monotonic() > give_up:
                        raise _timed_out(job)
            except BaseException:
                self.end()
                raise
            self.end()
        if self._reader.declined:
            return None
        if self._process.returncode:
            raise _error(job, self._process.returncode, self._reader)
        return self._reader.cost

    def end(self) -> None:
        """End all its processes."""
        _end(self._process)
        self._reader.join()


def run(job: WorkerRun, on_event: Callable[[Event], None], cancelled: threading.Event | None = None) -> Cost:
    """Run a worker until it ends, and return its cost without wall-clock time.

    Raises the worker's own HPTError if it reported one, WorkerTimeout past the time limit, WorkerLost if a signal ended
    it, and WorkerError for other failures. On any exception in the caller, including KeyboardInterrupt, all processes
    of the worker are ended first. Another thread can set `cancelled` to end the worker.
    """
    write_spec(job.spec_file, job.spec)
    cost = Worker(job).work(job, on_event, cancelled)
    assert cost is not None, "only a worker that stays can decline a job"
    return cost


class Staying:
    """At most one worker that stays between two stages, with what it has loaded."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._for: tuple[str, dict[str, str]] | None = None
        self._locks: contextlib.ExitStack | None = None

    def run(self, job: WorkerRun, on_event: Callable[[Event], None], cancelled: threading.Event | None = None) -> Cost:
        """Run a job in the worker that has stayed if it takes it, else in a new one, which then stays. See `run`."""
        write_spec(job.spec_file, job.spec)
        takes = self._worker is not None and self._worker.runs and self._for == (job.module, job.environment)
        if takes and (cost := self._work(job, on_event, cancelled, another=True)):
            return cost
        self.close()
        self._worker, self._for = Worker(job, stays=True), (job.module, job.environment)
        cost = self._work(job, on_event, cancelled, another=False)
        assert cost is not None, "a new worker declines nothing"
        return cost

    def _work(
        self, job: WorkerRun, on_event: Callable[[Event], None], cancelled: threading.Event | None, another: bool
    ) -> Cost | None:
        assert self._worker is not None
        found = None
        try:
            found = self._worker.work(job, on_event, cancelled, another)
        finally:
            if found is None:
                self._worker = None
        return found

    def take(self) -> contextlib.ExitStack | None:
        """The locks that were held for the worker. The caller holds them now, and gives them back with `hold`."""
        locks, self._locks = self._locks, None
        return locks

    def hold(self, locks: contextlib.ExitStack) -> None:
        """Hold the locks on what the worker uses until it ends. Without a worker, release them."""
        if self._worker is None:
            locks.close()
        else:
            self._locks = locks

    def close(self) -> None:
        """End the worker, and release what is held for it."""
        if self._worker is not None:
            self._worker.end()
            self._worker = None
        if locks := self.take():
            locks.close()


def write_spec(file: Path, spec: BaseModel) -> None:
    """Write a worker's spec. A secret in an address is written as `${NAME}`, which the worker reads from its
    environment. Raises ConfigError for any other secret, which the worker would not get back."""
    plain = spec.model_dump(mode="json", by_alias=True)
    hidden = redacted(plain)
    if hidden != plain and type(spec).model_validate_json(json.dumps(hidden)) != spec:
        raise ConfigError(
            f"{file} would hold a secret, which belongs into no file",
            "set it in the environment, and write $NAME in the address that needs it",
        )
    write_text(file, json.dumps(hidden, indent=2, ensure_ascii=False) + "\n")


def _program(job: WorkerRun, stays: bool) -> list[str]:
    return [
        *(job.launcher or (sys.executable,)),
        "-m",
        job.module,
        *([worker.STAY] if stays else ()),
        str(job.spec_file),
    ]


class LogFile:
    """A log file to append to. A line that cannot be written, as on a full disk, is left out with one warning: the
    worker's own error must not be hidden, and its pipe must be read on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._failed = False

    def __enter__(self) -> "LogFile":
        with self._writing():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Without a buffer, whose lines would fail again when the file is closed.
            self._file = self._path.open("ab", buffering=0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            with self._writing():
                self._file.close()

    def write(self, line: str) -> None:
        """Append a line, as `told` gives it."""
        if self._file:
            with self._writing():
                self._file.write(f"{told(line)}\n".encode())

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not self._failed:
                LOG.warning("cannot write the log %s: %s", self._path, error.strerror or error)
            self._failed = True


def _header(logs: Sequence[LogFile], job: WorkerRun) -> None:
    for log in logs:
        command = f"{shlex.join(job.launcher) if job.launcher else 'python'} -m {job.module} {job.spec_file}"
        log.write(f"--- {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC {job.stage}: {command}")


class _Reader:
    """Reads the worker's pipes in two threads."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.declined = False
        self._finished = threading.Event()
        self._log_finished = threading.Event()
        self.last: deque[str] = deque(maxlen=LAST_LINES)
        self.error: Event | None = None
        self.cost = Cost()
        self._logs: Sequence[LogFile] = ()
        self._on_event: Callable[[Event], None] = lambda event: None
        self._lock = threading.Lock()
        self._fields: dict[str, str] = {}
        """What records of the log are about."""
        self._threads = [
            threading.Thread(target=self._drain, args=(process.stderr, self._line), daemon=True),
            threading.Thread(target=self._drain, args=(process.stdout, self._event), daemon=True),
        ]

    def take(self, logs: Sequence[LogFile], on_event: Callable[[Event], None]) -> None:
        """Where log and events go from now on."""
        with self._lock:
            self._fields = fields()
            self._logs, self._on_event = logs, on_event
        for thread in self._threads:
            if thread.ident is None:
                thread.start()

    def expect(self) -> None:
        """Another job begins."""
        self._finished.clear()
        self._log_finished.clear()

    def finished(self, timeout: float) -> bool:
        """Whether a worker that stays has finished the job, with its log."""
        return self._finished.wait(timeout) and self._log_finished.wait(GRACE_S)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(10)

    @staticmethod
    def _drain(pipe: IO[str], take: Callable[[str], None]) -> None:
        with pipe:
            for line in pipe:
                take(line.rstrip("\n"))

    def _line(self, line: str) -> None:
        if line == worker.END_OF_LOG:
            self._log_finished.set()
            return
        record = parsed(line) or {}
        with self._lock, about(**self._fields):
            for log in self._logs:
                log.write(line)
            if line.strip():
                self.last += (record.get("error") or record.get("message") or redact(line)).splitlines()
            is_warning = " WARNING hpt" in line or (
                record.get("level") == "WARNING" and record.get("logger", "").startswith("hpt")
            )
            LOG.log(logging.WARNING if is_warning else logging.DEBUG, "%s", record.get("message", line))

    def _event(self, line: str) -> None:
        try:
            event = json.loads(line[max(0, line.find(EVENT)) :])
            kind = event.get("event")
        except (ValueError, AttributeError):
            # Printed by a library: it belongs in the log.
            self._line(line)
            return
        if kind == "error":
            # With several ranks, the first error is the cause; the other ranks fail because that rank is gone.
            self.error = self.error or event
        elif kind == "declined":
            self.declined = True
        elif kind in ("usage", "finished"):
            self.cost = Cost(cpu_seconds=event["cpu_seconds"], peak_memory_bytes=event["peak_memory_bytes"])
            if kind == "finished":
                self._finished.set()
        else:
            try:
                with about(**self._fields):
                    self._on_event(event)
            except Exception:
                # If this thread stopped reading, the worker would block on a full pipe.
                LOG.exception("an event could not be shown")


def _end(process: "subprocess.Popen[str]") -> None:
    """Close the pipe, so that the supervisor ends all processes, and wait for it.

    Further interrupts are ignored meanwhile: a service manager signals every process, and so does the supervisor above.
    """
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()  # type: ignore[union-attr]
    while True:
        try:
            process.wait(2 * GRACE_S + 5)
            return
        except subprocess.TimeoutExpired:
            process.kill()
        except BaseException:  # KeyboardInterrupt, or what a handler of SIGTERM raises
            continue


def _error(job: WorkerRun, code: int, reader: _Reader) -> HPTError:
    log = job.logs[0] if job.logs else None
    see = f"see {log}" if log else ""
    if code == supervisor.TIMED_OUT:
        return _timed_out(job)
    if reader.error:
        kind = getattr(errors, str(reader.error.get("type")), WorkerError)
        kind = kind if isinstance(kind, type) and issubclass(kind, HPTError) else WorkerError
        remedy = str(reader.error.get("remedy") or "") or see
        return kind(f"{job.stage}: {reader.error.get('cause')}", remedy)
    name = _killed_by(job, code, reader)
    if name:
        hint = "memory may have run out; " if name == "SIGKILL" else ""
        return WorkerLost(f"{job.stage}: {job.module} was ended by {name}", f"{hint}{see}; run it again to continue")
    raised = (match.group(1) for line in reversed(reader.last) if (match := RAISED.match(line)))
    last = next((line for line in raised if not line.startswith(OF_LAUNCHER)), "") if job.launcher else ""
    last = last or next((line for line in reversed(reader.last) if line.strip()), "no output")
    if PYDANTIC_LINK in last:
        last = last_error(list(reader.last))
    return WorkerError(f"{job.stage}: {job.module} ended with code {code}: {last.strip()[:LONGEST_CAUSE]}", see)


def _timed_out(job: WorkerRun) -> WorkerTimeout:
    return WorkerTimeout(
        f"{job.stage}: ended after its time limit of {job.timeout_s:g} s",
        "raise resources.stage_timeout_s; the work so far is kept",
    )


def _killed_by(job: WorkerRun, code: int, reader: _Reader) -> str:
    """Name of the signal that ended the program, its supervisor or one of its launcher's processes; empty if none
    did."""
    number = -code if code < 0 else code - 128
    if number > 0:
        return signal.Signals(number).name if number in set(signal.Signals) else str(number)
    reports = (match.group(1) for line in reader.last if job.launcher and (match := KILLED.search(line)))
    # Once a process has failed, the launcher ends the others with SIGTERM.
    return next((name for name in reports if name != "SIGTERM"), "")
